//! One cell of an area: read, detect, keep the result on disk until all cells are gathered.
//!
//! A cell is the unit of work. Its result file is written to a temporary name and renamed, and it is a function of the
//! observations and the pipeline file alone, so a run that was killed goes on with the cells that are missing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use pitwatch_change::{
    ChangedPixel, Finding, Ground, Kind, Memory, N_GREEN_LEVELS, N_GROUND_NUMBERS, PixelState,
    PixelVerdict, Records, Soil, mask,
};
use pitwatch_grid::{Cube, Day, GeoBox, LatticePixel, Region, Window};
use pitwatch_imagery::Reader;
use pitwatch_report::byte_from_reflectance;
use pitwatch_sites::{Block, SoilSums, Topsoil};

use crate::config::Pipeline;
use crate::memo::{Kept, Memos, NewFit};

/// Bytes that the verdict on a pixel and its soil take while its block is worked on: in its row, and in the map the rows become.
const VERDICT_BYTES: usize = 2 * (size_of::<PixelVerdict>() + size_of::<Option<Soil>>());
/// Bytes that the memory of a pixel takes with the usual numbers of looks for a decision and a picture, copies beside it.
const MEMORY_BYTES: usize = 512;

/// The result of a cell, `(y, x)`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CellResult {
    pub(crate) state: Vec<u8>,
    pub(crate) clear_looks: Vec<u16>,
    pub(crate) last_clear_date: Vec<i32>,
    /// Three planes each.
    pub(crate) before_rgb: Vec<u8>,
    pub(crate) after_rgb: Vec<u8>,
    pub(crate) changed: Vec<ChangedPixel>,
    /// The topsoil of the area's pixels.
    pub(crate) topsoil: Topsoil,
    /// What was found in the last part of the history, monitored as a replay; empty where nothing asks for it.
    pub(crate) replayed: Vec<ChangedPixel>,
    /// How many pixels of the area the replay could observe.
    pub(crate) n_replayed: u64,
    /// For each look, how many pixels of the area it saw clear.
    pub(crate) n_clear: Vec<u64>,
    /// What could not be read: scene and reason.
    pub(crate) failures: BTreeMap<String, String>,
}

/// What all cells of an area share.
pub(crate) struct CellWork<'a> {
    pub(crate) reader: &'a Reader,
    pub(crate) quarantined: &'a [bool],
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) region: Option<&'a Region>,
    pub(crate) geobox: &'a GeoBox,
    /// Bytes that the cube and the verdicts of one block may take.
    pub(crate) block_bytes: usize,
    /// Where result files are.
    pub(crate) folder: &'a Path,
    /// What is kept for the next run.
    pub(crate) memos: Option<&'a Memos>,
}

/// The first day of the replay of the history.
pub(crate) fn replay_from(monitor_from: Day, replay_days: u32) -> Day {
    Day(monitor_from.0.saturating_sub_unsigned(replay_days))
}

/// Bytes that a pixel takes while its block is worked on.
pub(crate) fn bytes_per_pixel(n_looks: usize, n_bands: usize) -> usize {
    Cube::n_bytes(1, n_looks, n_bands) + VERDICT_BYTES
}

/// Cuts a window in halves, the longer side first, until each part has at most `max_pixels`.
pub(crate) fn blocks(window: Window, max_pixels: usize) -> Vec<Window> {
    let Window {
        row,
        col,
        height,
        width,
    } = window;
    if window.shape().n_pixels() <= max_pixels.max(1) {
        return vec![window];
    }
    let (first, second) = if height >= width {
        let half = height / 2;
        (
            Window {
                height: half,
                ..window
            },
            Window {
                row: row + half,
                height: height - half,
                ..window
            },
        )
    } else {
        let half = width / 2;
        (
            Window {
                width: half,
                ..window
            },
            Window {
                col: col + half,
                width: width - half,
                ..window
            },
        )
    };
    let mut parts = blocks(first, max_pixels);
    parts.extend(blocks(second, max_pixels));
    parts
}

/// Adds failures, one reason a scene: the first by its text, so that it does not depend on how the work is cut.
pub(crate) fn merge_failures(
    all: &mut BTreeMap<String, String>,
    more: impl IntoIterator<Item = (String, String)>,
) {
    for (scene, reason) in more {
        match all.entry(scene) {
            Entry::Vacant(entry) => {
                entry.insert(reason);
            }
            Entry::Occupied(mut entry) if reason < *entry.get() => {
                entry.insert(reason);
            }
            Entry::Occupied(_) => {}
        }
    }
}

impl CellWork<'_> {
    /// Makes the result file of a cell, if it is not there yet.
    pub(crate) fn make(&self, cell: Window) -> Result<()> {
        let path = self.path(cell);
        if path.exists() && self.read(cell).is_ok() {
            return Ok(());
        }
        let result = self.detect(cell)?;
        let temporary = path.with_extension("tmp");
        fs::write(&temporary, result.to_bytes())
            .with_context(|| format!("cannot write {}", temporary.display()))?;
        fs::rename(&temporary, &path)
            .with_context(|| format!("cannot rename {}", temporary.display()))
    }

    /// Reads the result file of a cell.
    pub(crate) fn read(&self, cell: Window) -> Result<CellResult> {
        let path = self.path(cell);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        CellResult::from_bytes(&bytes, cell.shape().n_pixels())
            .ok_or_else(|| anyhow!("{} is damaged", path.display()))
    }

    /// A cell that could not be worked on: not observable, which is not the same as no change.
    pub(crate) fn failed(&self, cell: Window, reason: String) -> Result<CellResult> {
        let geobox = self.geobox.window(cell);
        let mut result = CellResult::new(cell.shape().n_pixels(), self.reader.looks().len());
        let inside = self.inside(&geobox)?;
        for (index, state) in result.state.iter_mut().enumerate() {
            if inside[index] {
                *state = PixelState::ReadFailed as u8;
                result.clear_looks[index] = 0;
                result.last_clear_date[index] = 0;
            }
        }
        result.failures.insert(
            format!("cell at row {}, column {}", cell.row, cell.col),
            reason,
        );
        Ok(result)
    }

    fn path(&self, cell: Window) -> PathBuf {
        let Window {
            row,
            col,
            height,
            width,
        } = cell;
        self.folder
            .join(format!("{row}_{col}_{height}x{width}.cell"))
    }

    fn detect(&self, cell: Window) -> Result<CellResult> {
        // Where the memory of a cell would take most of the room, blocks go before it.
        let memory_bytes = cell.shape().n_pixels() * MEMORY_BYTES;
        let memos = self.memos.filter(|_| 2 * memory_bytes <= self.block_bytes);
        if let Some(memos) = memos
            && let Some(kept) = memos.read(cell, &self.pipeline.change)
            && let Some(result) = self.go_on(cell, kept, memos, self.block_bytes - memory_bytes)?
        {
            return Ok(result);
        }
        let block_bytes = self.block_bytes - memos.map_or(0, |_| memory_bytes);
        let mut new = memos.map(|memos| NewMemo::new(memos, cell));
        let result = self.detect_all(cell, block_bytes, new.as_mut())?;
        // What could not be read may be readable at another time.
        if let Some(new) = new.filter(|_| result.failures.is_empty()) {
            // A memo that cannot be written costs the next run time and nothing else.
            let _ = new.finish(&result);
        }
        Ok(result)
    }

    /// The result of a cell from its memo and the looks that are new; `None` if it cannot be had so.
    fn go_on(
        &self,
        cell: Window,
        kept: Kept,
        memos: &Memos,
        bytes: usize,
    ) -> Result<Option<CellResult>> {
        let Kept {
            mut memory,
            mut fit,
            n_clear,
            topsoil,
            replayed,
            n_replayed,
        } = kept;
        let looks = self.reader.looks();
        let n_kept = n_clear.len();
        let is_history = |look: usize| Day::of(looks[look].time) < self.pipeline.monitor_from;
        if n_kept < looks.len() && is_history(n_kept) {
            return Ok(None);
        }
        let geobox = self.geobox.window(cell);
        let inside = self.inside(&geobox)?;
        let mut result = CellResult::new(cell.shape().n_pixels(), looks.len());
        result.n_clear[..n_kept].copy_from_slice(&n_clear);
        result.topsoil = topsoil;
        result.replayed = replayed;
        result.n_replayed = n_replayed;
        let n_bands = self.reader.bands().len();
        let look_bytes = Cube::n_bytes(cell.shape().n_pixels(), 1, n_bands);
        let n_at_a_time = (bytes / look_bytes)
            .saturating_sub(self.reader.looks_beside())
            .max(1);
        let mut first = n_kept;
        while first < looks.len() {
            let range = first..looks.len().min(first + n_at_a_time);
            first = range.end;
            let (cube, failures) =
                self.reader
                    .read_looks(&geobox, self.quarantined, range.clone())?;
            if !failures.is_empty() {
                return Ok(None);
            }
            count_clear(&cube, &inside, &mut result.n_clear[range]);
            let mut record = |pixel: usize, record: &mut [f32]| fit.record(pixel, record);
            let stepped = memory.step(&cube, &self.pipeline.change, &mut record);
            if stepped.is_err() {
                return Ok(None);
            }
        }
        let origin = geobox.lattice_origin();
        let verdicts = memory.verdicts(&self.pipeline.change);
        for (place, verdict) in verdicts.enumerate().filter(|&(place, _)| inside[place]) {
            let at = LatticePixel {
                row: origin.row + (place / cell.width) as i64,
                col: origin.col + (place % cell.width) as i64,
            };
            result.set(place, at, &verdict);
        }
        if n_kept < looks.len() {
            // As above.
            let _ = memos.write(cell, &memory, fit.checksum(), &result);
        }
        Ok(Some(result))
    }

    /// Which pixels of a window are of the area.
    fn inside(&self, geobox: &GeoBox) -> Result<Vec<bool>> {
        Ok(match self.region {
            Some(region) => region.mask(geobox)?,
            None => vec![true; geobox.shape().n_pixels()],
        })
    }

    /// The result of a cell from all looks.
    fn detect_all(
        &self,
        cell: Window,
        block_bytes: usize,
        mut new: Option<&mut NewMemo>,
    ) -> Result<CellResult> {
        let n_looks = self.reader.looks().len();
        let mut result = CellResult::new(cell.shape().n_pixels(), n_looks);
        let n_held = n_looks + self.reader.looks_beside();
        let per_pixel = bytes_per_pixel(n_held, self.reader.bands().len());
        let kept_per_pixel = new
            .as_ref()
            .map_or(0, |_| MEMORY_BYTES + Records::n_bytes(n_looks));
        for block in blocks(cell, block_bytes / (per_pixel + kept_per_pixel)) {
            let geobox = self.geobox.window(block);
            let (cube, failures) = self.reader.read(&geobox, self.quarantined)?;
            let failures = failures.into_iter().map(|failure| {
                let reason = format!("{}: {}", failure.href, failure.reason);
                (failure.scene, reason)
            });
            merge_failures(&mut result.failures, failures);
            let inside = self.inside(&geobox)?;
            count_clear(&cube, &inside, &mut result.n_clear);
            let origin = geobox.lattice_origin();
            // Row and column in the block of each pixel of the area.
            let places = || {
                (0..inside.len())
                    .filter(|&index| inside[index])
                    .map(|index| (index, index / block.width, index % block.width))
            };
            let at = |row: usize, col: usize| LatticePixel {
                row: origin.row + row as i64,
                col: origin.col + col as i64,
            };
            let monitor_from = self.pipeline.monitor_from;
            let replay_from = self
                .pipeline
                .replay_days()
                .map(|days| replay_from(monitor_from, days));
            // Without a look before it there is nothing to replay on, which `n_replayed` says.
            if let Some(from) = replay_from.filter(|&from| cube.days().first() < Some(&from)) {
                let map = pitwatch_change::detect_until(
                    &cube,
                    from,
                    Some(monitor_from),
                    &self.pipeline.change,
                )?;
                for (index, row, col) in places() {
                    let verdict = &map.pixels[index];
                    result.n_replayed += u64::from(verdict.state.is_observable());
                    result.replayed.extend(verdict.changes(at(row, col)));
                }
            }
            let (row, col) = (block.row - cell.row, block.col - cell.col);
            let map = match &mut new {
                None => pitwatch_change::detect(&cube, monitor_from, &self.pipeline.change)?,
                Some(new) => {
                    let (memory, records) = Memory::of(&cube, monitor_from, &self.pipeline.change)?;
                    let map = memory.map(&geobox, &records, &self.pipeline.change);
                    new.add(&memory, &records, block, row, col);
                    map
                }
            };
            for (index, in_row, in_col) in places() {
                let place = (row + in_row) * cell.width + (col + in_col);
                let at = at(in_row, in_col);
                result.set(place, at, &map.pixels[index]);
                if let Some(soil) = &map.soils[index] {
                    result.topsoil.add(at, soil);
                }
            }
        }
        // The findings of a pixel are in order of time already.
        result.changed.sort_by_key(|pixel| pixel.at);
        result.replayed.sort_by_key(|pixel| pixel.at);
        Ok(result)
    }
}

/// Adds to the looks of a cube how many pixels of the area they saw clear.
fn count_clear(cube: &Cube, inside: &[bool], n_clear: &mut [u64]) {
    for (time, n_clear) in n_clear.iter_mut().enumerate() {
        let is_clear = |(&class, &inside): (&u8, &bool)| {
            inside && mask::observation(class) == mask::Observation::Clear
        };
        *n_clear += cube
            .classes(time)
            .iter()
            .zip(inside)
            .filter(|&pixel| is_clear(pixel))
            .count() as u64;
    }
}

/// The memo of a cell while its blocks are worked on.
struct NewMemo<'a> {
    memos: &'a Memos,
    cell: Window,
    /// The cell's memory and its fit's file, from the first block on; `None` again once a file cannot be written.
    begun: Option<(Memory, NewFit)>,
    is_lost: bool,
}

impl<'a> NewMemo<'a> {
    fn new(memos: &'a Memos, cell: Window) -> Self {
        Self {
            memos,
            cell,
            begun: None,
            is_lost: false,
        }
    }

    /// Adds a block that begins at a row and a column of the cell.
    fn add(&mut self, memory: &Memory, records: &Records, block: Window, row: usize, col: usize) {
        let width = self.cell.width;
        let mut add = || -> std::io::Result<()> {
            let (whole, fit) = match &mut self.begun {
                Some(begun) => begun,
                None => {
                    let fit = self.memos.new_fit(self.cell, memory.n_history())?;
                    let whole = Memory::for_parts(self.cell.shape().n_pixels(), memory);
                    self.begun.insert((whole, fit))
                }
            };
            whole.place(memory, |pixel| {
                (row + pixel / block.width) * width + col + pixel % block.width
            });
            fit.write(records, block, row, col)
        };
        if !self.is_lost && add().is_err() {
            self.is_lost = true;
            self.begun = None;
        }
    }

    fn finish(self, result: &CellResult) -> std::io::Result<()> {
        let Some((memory, fit)) = self.begun else {
            return Ok(());
        };
        let fit_checksum = self.memos.finish_fit(self.cell, fit, &memory)?;
        self.memos.write(self.cell, &memory, fit_checksum, result)?;
        self.memos.remove_other_fits(self.cell, fit_checksum);
        Ok(())
    }
}

impl CellResult {
    /// A cell that lies outside the area.
    fn new(n_pixels: usize, n_looks: usize) -> Self {
        Self {
            state: vec![PixelState::Outside as u8; n_pixels],
            clear_looks: vec![u16::MAX; n_pixels],
            last_clear_date: vec![-1; n_pixels],
            before_rgb: vec![0; 3 * n_pixels],
            after_rgb: vec![0; 3 * n_pixels],
            changed: Vec::new(),
            topsoil: Topsoil::default(),
            replayed: Vec::new(),
            n_replayed: 0,
            n_clear: vec![0; n_looks],
            failures: BTreeMap::new(),
        }
    }

    fn set(&mut self, place: usize, at: LatticePixel, verdict: &PixelVerdict) {
        let n_pixels = self.state.len();
        self.state[place] = verdict.state as u8;
        self.clear_looks[place] = verdict.n_clear.min(u16::MAX - 1);
        self.last_clear_date[place] = verdict.last_clear.map_or(0, |Day(day)| day);
        for channel in 0..3 {
            self.before_rgb[channel * n_pixels + place] =
                byte_from_reflectance(verdict.before_rgb[channel]);
            self.after_rgb[channel * n_pixels + place] =
                byte_from_reflectance(verdict.after_rgb[channel]);
        }
        self.changed.extend(verdict.changes(at));
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(self.state.len() * 17 + 1024));
        out.bytes(&self.state);
        out.all(&self.clear_looks, |value| value.to_le_bytes());
        out.all(&self.last_clear_date, |value| value.to_le_bytes());
        out.bytes(&self.before_rgb);
        out.bytes(&self.after_rgb);
        out.u64(self.n_clear.len() as u64);
        out.all(&self.n_clear, |value| value.to_le_bytes());
        out.changed(&self.changed);
        out.topsoil(&self.topsoil);
        out.changed(&self.replayed);
        out.u64(self.n_replayed);
        out.u64(self.failures.len() as u64);
        for (scene, reason) in &self.failures {
            for text in [scene, reason] {
                out.u64(text.len() as u64);
                out.bytes(text.as_bytes());
            }
        }
        out.bytes(MAGIC);
        out.0
    }

    /// `None` if the file is cut short or has anything after its end.
    fn from_bytes(bytes: &[u8], n_pixels: usize) -> Option<Self> {
        let mut read = Parser(bytes);
        let state = read.take(n_pixels)?.to_vec();
        let clear_looks = read.all(n_pixels, u16::from_le_bytes)?;
        let last_clear_date = read.all(n_pixels, i32::from_le_bytes)?;
        let before_rgb = read.take(3 * n_pixels)?.to_vec();
        let after_rgb = read.take(3 * n_pixels)?.to_vec();
        let n_looks = read.u64()?;
        let n_clear = read.all(n_looks, u64::from_le_bytes)?;
        let changed = read.changed()?;
        let topsoil = read.topsoil()?;
        let replayed = read.changed()?;
        let n_replayed = read.one(u64::from_le_bytes)?;
        let mut failures = BTreeMap::new();
        for _ in 0..read.u64()? {
            let mut text = || -> Option<String> {
                let length = read.u64()?;
                String::from_utf8(read.take(length)?.to_vec()).ok()
            };
            let (scene, reason) = (text()?, text()?);
            failures.insert(scene, reason);
        }
        let is_whole = read.0 == MAGIC;
        is_whole.then_some(Self {
            state,
            clear_looks,
            last_clear_date,
            before_rgb,
            after_rgb,
            changed,
            topsoil,
            replayed,
            n_replayed,
            n_clear,
            failures,
        })
    }
}

/// Ends every result file, so that one cut short is known.
const MAGIC: &[u8] = b"pitwatch cell 6\n";

pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    pub(crate) fn changed(&mut self, changed: &[ChangedPixel]) {
        self.u64(changed.len() as u64);
        for pixel in changed {
            let finding = &pixel.finding;
            self.bytes(&pixel.at.row.to_le_bytes());
            self.bytes(&pixel.at.col.to_le_bytes());
            self.bytes(&[finding.kind as u8]);
            let looks = [
                finding.confirmed_look,
                finding.retracted_look,
                finding.greened_look,
                finding.stayed_bare_look,
                finding.core_look,
                Some(finding.alert_look),
                Some(finding.last_look_before),
                Some(finding.first_look_after),
            ];
            let looks = looks.iter().chain(&finding.greener_looks);
            looks.for_each(|look| self.bytes(&look.unwrap_or(u32::MAX).to_le_bytes()));
            for ground in [&finding.at_alert, &finding.at_confirmation] {
                self.all(&ground.to_numbers(), f32::to_le_bytes);
            }
            self.bytes(&pixel.n_clear_history.to_le_bytes());
            self.bytes(&pixel.n_clear.to_le_bytes());
        }
    }

    pub(crate) fn topsoil(&mut self, topsoil: &Topsoil) {
        let blocks = topsoil.blocks();
        self.u64(blocks.len() as u64);
        for (Block { row, col }, soil) in blocks {
            self.all(&[row, col, soil.n_pixels], i64::to_le_bytes);
            self.all(&soil.sums, i64::to_le_bytes);
            self.all(&soil.squares, i64::to_le_bytes);
        }
    }

    /// A list without its length.
    pub(crate) fn all<T: Copy, const N: usize>(
        &mut self,
        values: &[T],
        bytes: impl Fn(T) -> [u8; N],
    ) {
        values.iter().for_each(|&value| self.bytes(&bytes(value)));
    }
}

pub(crate) struct Parser<'a>(pub(crate) &'a [u8]);

impl<'a> Parser<'a> {
    pub(crate) fn take(&mut self, n_bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n_bytes)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn changed(&mut self) -> Option<Vec<ChangedPixel>> {
        let n_changed = self.u64()?;
        let mut changed = Vec::new();
        for _ in 0..n_changed {
            let at = LatticePixel {
                row: self.one(i64::from_le_bytes)?,
                col: self.one(i64::from_le_bytes)?,
            };
            let kind = if self.one(u8::from_le_bytes)? == Kind::Excavation as u8 {
                Kind::Excavation
            } else {
                Kind::Cleared
            };
            let looks = self.all(8 + N_GREEN_LEVELS, u32::from_le_bytes)?;
            let some = |k: usize| (looks[k] != u32::MAX).then_some(looks[k]);
            let at_alert = self.ground()?;
            let finding = Finding {
                confirmed_look: some(0),
                retracted_look: some(1),
                greened_look: some(2),
                stayed_bare_look: some(3),
                core_look: some(4),
                greener_looks: std::array::from_fn(|level| some(8 + level)),
                at_confirmation: self.ground()?,
                ..Finding::new(kind, looks[5], (looks[6], looks[7]), at_alert)
            };
            let n_clear_history = self.one(u16::from_le_bytes)?;
            let n_clear = self.one(u16::from_le_bytes)?;
            changed.push(ChangedPixel {
                at,
                finding,
                n_clear_history,
                n_clear,
            });
        }
        Some(changed)
    }

    pub(crate) fn topsoil(&mut self) -> Option<Topsoil> {
        let mut topsoil = Topsoil::default();
        for _ in 0..self.u64()? {
            let mut one = || self.one(i64::from_le_bytes);
            let (row, col, n_pixels) = (one()?, one()?, one()?);
            let mut four = || Some([one()?, one()?, one()?, one()?]);
            let (sums, squares) = (four()?, four()?);
            let soil = SoilSums {
                n_pixels,
                sums,
                squares,
            };
            topsoil.add_block(Block { row, col }, &soil);
        }
        Some(topsoil)
    }

    fn ground(&mut self) -> Option<Ground> {
        let numbers = self.all(N_GROUND_NUMBERS, f32::from_le_bytes)?;
        Some(Ground::from_numbers(numbers.first_chunk()?))
    }

    pub(crate) fn one<T, const N: usize>(&mut self, value: impl Fn([u8; N]) -> T) -> Option<T> {
        Some(value(self.take(N)?.try_into().ok()?))
    }

    pub(crate) fn u64(&mut self) -> Option<usize> {
        usize::try_from(self.one(u64::from_le_bytes)?).ok()
    }

    pub(crate) fn all<T, const N: usize>(
        &mut self,
        length: usize,
        value: impl Fn([u8; N]) -> T,
    ) -> Option<Vec<T>> {
        let bytes = self.take(length.checked_mul(N)?)?;
        Some(
            bytes
                .chunks_exact(N)
                .filter_map(|chunk| chunk.try_into().ok())
                .map(value)
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_result() -> CellResult {
        let mut result = CellResult::new(6, 3);
        let seen = Ground {
            ndvi_before: 0.6,
            ndvi_after: 0.1,
            wet_share: 0.01,
            ..Ground::default()
        };
        let finding = Finding {
            core_look: Some(2),
            stayed_bare_look: Some(2),
            greener_looks: [Some(2), None, None, None, None],
            ..Finding::new(Kind::Excavation, 2, (0, 1), seen)
        };
        let retracted = Finding {
            retracted_look: Some(1),
            ..Finding::new(Kind::Excavation, 1, (0, 1), seen)
        };
        let verdict = PixelVerdict {
            state: PixelState::Provisional,
            n_clear_history: 40,
            n_clear: 12,
            last_clear: Some(Day(18_000)),
            before_rgb: [300, 500, 200],
            after_rgb: [2000, 1500, 900],
            finding: Some(finding),
            retracted: vec![retracted],
        };
        result.set(
            4,
            LatticePixel {
                row: -98_490,
                col: 20_521,
            },
            &verdict,
        );
        let soil = Soil {
            red: -1.5,
            red_over_swir16: -0.4,
            blue_over_red: -0.7,
            swir22_over_swir16: -0.1,
        };
        result.topsoil.add(
            LatticePixel {
                row: -98_490,
                col: 20_521,
            },
            &soil,
        );
        result.n_clear[1] = 5;
        result.replayed = result.changed[..1].to_vec();
        result.n_replayed = 4;
        result
            .failures
            .insert("S2A_1".into(), "block 3 is cut short".into());
        result
    }

    #[test]
    fn a_result_comes_back_from_its_file() {
        let result = some_result();
        assert_eq!(CellResult::from_bytes(&result.to_bytes(), 6), Some(result));
    }

    #[test]
    fn a_file_cut_short_anywhere_is_made_again() {
        let bytes = some_result().to_bytes();
        for length in 0..bytes.len() {
            assert_eq!(
                CellResult::from_bytes(&bytes[..length], 6),
                None,
                "{length} of {} bytes",
                bytes.len()
            );
        }
    }

    #[test]
    fn blocks_cover_a_window_once() {
        let window = Window {
            row: 3,
            col: 5,
            height: 37,
            width: 90,
        };
        for max_pixels in [1, 7, 100, 5000] {
            let parts = blocks(window, max_pixels);
            assert_eq!(
                parts
                    .iter()
                    .map(|part| part.shape().n_pixels())
                    .sum::<usize>(),
                37 * 90
            );
            assert!(
                parts
                    .iter()
                    .all(|part| part.shape().n_pixels() <= max_pixels)
            );
            let overlap = |a: &Window| {
                parts
                    .iter()
                    .filter(|b| a.intersection(**b).is_some())
                    .count()
            };
            assert!(max_pixels == 1 || parts.iter().all(|part| overlap(part) == 1));
        }
    }
}
