//! What a run keeps of each cell for the next one, so that a new look is all that has to be read.
//!
//! ```text
//! OUT/memo/AREA/CELL.CHECKSUM.fit   what the history says of each pixel, and its records; made by a full run
//! OUT/memo/AREA/CELL.memo           where monitoring stands, of which looks, and the fit it goes with
//! ```
//!
//! A memo saves time and moves no result. It is used where all that it rests on is what it was and its looks are the first
//! ones of the area; otherwise, or where it is damaged or gone, the cell is worked out from all looks. Files are written to
//! a temporary name and renamed, the fit first, so that whoever is stopped leaves the old memo or the new one.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use pitwatch_change::{ChangedPixel, Memory, Params, Records, checksum};
use pitwatch_grid::Window;
use pitwatch_sites::Topsoil;

use crate::cell::{CellResult, Parser, Writer};

/// Ends every memo; the number changes with what its bytes mean.
const MAGIC: &[u8] = b"pitwatch memo 2\n";

/// What names an observation or what a memo rests on: SHA-256.
pub(crate) type Id = [u8; 32];

/// The memos of an area.
#[derive(Debug)]
pub(crate) struct Memos {
    folder: PathBuf,
    /// What all of them rest on beside the looks and the cell.
    rests_on: Id,
    /// The looks of the area, in order.
    looks: Vec<Id>,
}

/// The memo of one cell, read.
pub(crate) struct Kept {
    pub(crate) memory: Memory,
    pub(crate) fit: FitFile,
    /// For each of its looks, how many pixels of the area it saw clear.
    pub(crate) n_clear: Vec<u64>,
    pub(crate) topsoil: Topsoil,
    pub(crate) replayed: Vec<ChangedPixel>,
    pub(crate) n_replayed: u64,
}

/// The file of a cell's fit, of which records are read one by one.
pub(crate) struct FitFile {
    file: File,
    checksum: u64,
    first_record: u64,
    n_record_bytes: usize,
    buffer: Vec<u8>,
}

/// A fit that is being written.
pub(crate) struct NewFit {
    file: File,
    temporary: PathBuf,
    first_record: u64,
    n_record_bytes: usize,
    width: usize,
    buffer: Vec<u8>,
}

impl Memos {
    pub(crate) fn new(folder: PathBuf, rests_on: Id, looks: Vec<Id>) -> Self {
        Self {
            folder,
            rests_on,
            looks,
        }
    }

    /// The memo of a cell, if it is whole and of the first looks of the area.
    pub(crate) fn read(&self, cell: Window, params: &Params) -> Option<Kept> {
        let bytes = fs::read(self.memo_path(cell)).ok()?;
        let (bytes, sum) = bytes.split_last_chunk()?;
        if checksum(bytes) != u64::from_le_bytes(*sum) {
            return None;
        }
        let mut read = Parser(bytes.strip_suffix(MAGIC)?);
        if read.take(self.rests_on.len())? != self.rests_on {
            return None;
        }
        let fit_checksum = read.one(u64::from_le_bytes)?;
        let n_looks = read.u64()?;
        let looks = read.take(n_looks.checked_mul(size_of::<Id>())?)?;
        if self.looks.get(..n_looks)?.as_flattened() != looks {
            return None;
        }
        let n_clear = read.all(n_looks, u64::from_le_bytes)?;
        let topsoil = read.topsoil()?;
        let replayed = read.changed()?;
        let n_replayed = read.one(u64::from_le_bytes)?;
        let (mut fit, fit_bytes) = FitFile::open(&self.fit_path(cell, fit_checksum), cell)?;
        if checksum(&fit_bytes) != fit_checksum {
            return None;
        }
        let memory = Memory::from_bytes(&fit_bytes, read.0, params)?;
        if memory.days().len() != n_looks {
            return None;
        }
        fit.checksum = fit_checksum;
        fit.n_record_bytes = Records::n_bytes(memory.n_history());
        Some(Kept {
            memory,
            fit,
            n_clear,
            topsoil,
            replayed,
            n_replayed,
        })
    }

    /// Writes the memo of a cell; its fit is there.
    ///
    /// - `result`: of it is kept what no later look changes.
    pub(crate) fn write(
        &self,
        cell: Window,
        memory: &Memory,
        fit_checksum: u64,
        result: &CellResult,
    ) -> std::io::Result<()> {
        let n_looks = memory.days().len();
        let mut out = Writer(Vec::new());
        out.bytes(&self.rests_on);
        out.bytes(&fit_checksum.to_le_bytes());
        out.u64(n_looks as u64);
        out.bytes(self.looks[..n_looks].as_flattened());
        out.all(&result.n_clear[..n_looks], u64::to_le_bytes);
        out.topsoil(&result.topsoil);
        out.changed(&result.replayed);
        out.u64(result.n_replayed);
        out.bytes(&memory.live_bytes());
        out.bytes(MAGIC);
        let sum = checksum(&out.0);
        out.bytes(&sum.to_le_bytes());
        let path = self.memo_path(cell);
        let temporary = path.with_extension("tmp");
        fs::write(&temporary, &out.0)?;
        fs::rename(&temporary, &path)
    }

    /// Starts the fit of a cell.
    pub(crate) fn new_fit(&self, cell: Window, n_history: usize) -> std::io::Result<NewFit> {
        fs::create_dir_all(&self.folder)?;
        let temporary = self.folder.join(format!("{}.fit-tmp", name(cell)));
        Ok(NewFit {
            file: File::create(&temporary)?,
            temporary,
            first_record: Memory::n_fit_bytes(cell.shape().n_pixels()) as u64,
            n_record_bytes: Records::n_bytes(n_history),
            width: cell.width,
            buffer: Vec::new(),
        })
    }

    /// Brings the fit of a cell to its name; returns its checksum.
    pub(crate) fn finish_fit(
        &self,
        cell: Window,
        mut new: NewFit,
        memory: &Memory,
    ) -> std::io::Result<u64> {
        let bytes = memory.fit_bytes();
        let sum = checksum(&bytes);
        new.file.seek(SeekFrom::Start(0))?;
        new.file.write_all(&bytes)?;
        fs::rename(&new.temporary, self.fit_path(cell, sum))?;
        Ok(sum)
    }

    /// Removes the fits of a cell that its memo does not name.
    pub(crate) fn remove_other_fits(&self, cell: Window, fit_checksum: u64) {
        let kept = self.fit_path(cell, fit_checksum);
        let start = format!("{}.", name(cell));
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_fit = path.extension().is_some_and(|ending| ending == "fit");
            let is_of_cell = entry.file_name().to_string_lossy().starts_with(&start);
            if is_fit && is_of_cell && path != kept {
                // One that stays takes room and is used by nobody.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn memo_path(&self, cell: Window) -> PathBuf {
        self.folder.join(format!("{}.memo", name(cell)))
    }

    fn fit_path(&self, cell: Window, fit_checksum: u64) -> PathBuf {
        self.folder
            .join(format!("{}.{fit_checksum:016x}.fit", name(cell)))
    }
}

fn name(cell: Window) -> String {
    let Window {
        row,
        col,
        height,
        width,
    } = cell;
    format!("{row}_{col}_{height}x{width}")
}

impl FitFile {
    /// Opens a fit and reads what every look needs of it.
    fn open(path: &Path, cell: Window) -> Option<(Self, Vec<u8>)> {
        let mut file = File::open(path).ok()?;
        let n_bytes = Memory::n_fit_bytes(cell.shape().n_pixels());
        let mut bytes = vec![0; n_bytes];
        file.read_exact(&mut bytes).ok()?;
        let opened = Self {
            file,
            checksum: 0,
            first_record: n_bytes as u64,
            n_record_bytes: 0,
            buffer: Vec::new(),
        };
        Some((opened, bytes))
    }

    pub(crate) fn checksum(&self) -> u64 {
        self.checksum
    }

    /// Reads the record of a pixel; false if it cannot be read or is damaged.
    pub(crate) fn record(&mut self, pixel: usize, record: &mut [f32]) -> bool {
        self.buffer.resize(self.n_record_bytes, 0);
        let place = self.first_record + pixel as u64 * self.n_record_bytes as u64;
        let mut read = || {
            self.file.seek(SeekFrom::Start(place))?;
            self.file.read_exact(&mut self.buffer)
        };
        read().is_ok() && Records::read_bytes(&self.buffer, record)
    }
}

impl NewFit {
    /// Writes the records of a block of the cell.
    ///
    /// - `row`, `col`: where it begins in the cell.
    pub(crate) fn write(
        &mut self,
        records: &Records,
        block: Window,
        row: usize,
        col: usize,
    ) -> std::io::Result<()> {
        for line in 0..block.height {
            self.buffer.clear();
            let first = line * block.width;
            records.write_bytes(first..first + block.width, &mut self.buffer);
            let pixel = ((row + line) * self.width + col) as u64;
            let place = self.first_record + pixel * self.n_record_bytes as u64;
            self.file.seek(SeekFrom::Start(place))?;
            self.file.write_all(&self.buffer)?;
        }
        Ok(())
    }
}
