//! One raster file at a time: windows of its own pixels, in few requests, with the blocks that were decoded last at hand.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::future::{BoxFuture, Shared};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use pitwatch_grid::Window;
use pitwatch_scenes::net::{Buffer, Buffers, Remote};

use crate::cog::{Block, BlockBytes, Header, Sample};
use crate::decode::block_pixels;
use crate::error::{Defect, Error, Result};
use crate::scene::Footprint;
use crate::source::{Place, Store, location_from_href, runs};

/// Memory of decoded blocks that is kept for the next ones.
pub(crate) const SPARE_BYTES: usize = 8 << 20;

/// Reads windows of many rasters, many at a time.
///
/// A raster costs one request for its header, and one for each run of neighboring blocks that its windows touch; windows
/// of one raster share its header and its blocks. Blocks are decoded on rayon's threads.
///
/// - `windows`: address of a file, and the window in the file's own pixels, which may reach beyond them. An address is a
///   path, a `file://` URL, or one that `remote` leads to.
/// - `in_work`: windows that are worked on at a time. Requests and bytes in flight are limited by `remote`'s
///   [`Limits`](pitwatch_scenes::net::Limits); with twice as many windows as requests, none waits while blocks are decoded.
/// - `cache_bytes`: decoded blocks that are kept for further windows of their rasters; those in work come on top.
///
/// Returns the digital numbers of each window, `(y, x)` with x contiguous: 0 where the file has no pixel or says nodata, and
/// for a signed raster the bits of its numbers. A window that cannot be read is an error of its own ([`Error::Window`]).
///
/// # Errors
///
/// If the threads that fetch cannot be started.
///
/// # Panics
///
/// If it is called from an asynchronous task.
pub fn read_windows(
    windows: &[(String, Window)],
    remote: Option<&Remote>,
    in_work: usize,
    cache_bytes: usize,
) -> Result<Vec<Result<Vec<u16>>>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("fetch")
        .enable_all()
        .build()
        .map_err(|source| Error::Start { source })?;
    let store = Store::local();
    let cache = BlockCache::new(cache_bytes, &Buffers::new(SPARE_BYTES));
    let open = async |href: &str| {
        let place = match remote {
            Some(remote) if href.contains("://") && !href.starts_with("file://") => {
                Place::Remote(remote.clone(), href.into())
            }
            _ => Place::Stored(store.clone(), location_from_href(href)?),
        };
        let header = Header::read(&place).await?;
        Ok(Raster::new(place, header, cache.clone()))
    };
    // Each file is opened once, and its blocks are given up after its last window.
    let mut files = BTreeMap::new();
    for (href, _) in windows {
        let file = files
            .entry(href.as_str())
            .or_insert_with(|| (open(href).boxed_local().shared(), AtomicUsize::new(0)));
        *file.1.get_mut() += 1;
    }
    let read = async |window: Window, href: &str| {
        let (raster, n_left) = &files[href];
        let raster = raster.clone().await?;
        let area = Footprint {
            row: window.row as i64,
            col: window.col as i64,
            height: window.height as i64,
            width: window.width as i64,
        };
        let plane = raster.read(area, |_| true).await;
        if n_left.fetch_sub(1, Ordering::Relaxed) == 1 {
            raster.forget();
        }
        plane
    };
    let mut planes: Vec<(usize, Result<Vec<u16>>)> = runtime.block_on(
        futures::stream::iter(windows.iter().enumerate())
            .map(|(index, (href, window))| {
                read(*window, href).map(move |plane: std::result::Result<_, Defect>| {
                    let plane = plane.map_err(|defect| Error::Window {
                        href: pitwatch_scenes::net::bare(href),
                        reason: defect.to_string(),
                    });
                    (index, plane)
                })
            })
            .buffer_unordered(in_work.max(1))
            .collect(),
    );
    planes.sort_by_key(|(index, _)| *index);
    Ok(planes.into_iter().map(|(_, plane)| plane).collect())
}

/// Unpacks the first blocks of a file that are in memory already, `span` a side, row by row: what decoding alone takes, for
/// the benchmark. Returns the number of their bytes.
#[doc(hidden)]
pub fn unpack_blocks(path: &str, packed: &[Vec<u8>], span: usize) -> Option<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
    let place = Place::Stored(Store::local(), location_from_href(path).ok()?);
    let header = runtime.block_on(Header::read(&place)).ok()?;
    let mut pixels = Vec::new();
    let mut n_bytes = 0;
    for (index, packed) in packed.iter().enumerate() {
        let (row, col) = (index / span, index % span);
        block_pixels(&header, Block { row, col }, packed, &mut pixels).ok()?;
        n_bytes += std::hint::black_box(&pixels).len();
    }
    Some(n_bytes)
}

/// A raster whose header is read.
#[derive(Debug, Clone)]
pub(crate) struct Raster {
    place: Place,
    pub(crate) header: Arc<Header>,
    cache: BlockCache,
    /// Names it in the cache.
    number: u64,
}

/// A block and the part of an area that it covers.
struct Piece {
    block: Block,
    /// In pixels of the area.
    window: Window,
    /// Place of the part's first pixel in the block.
    row: usize,
    col: usize,
}

impl Raster {
    pub(crate) fn new(place: Place, header: Header, cache: BlockCache) -> Self {
        Self {
            place,
            header: Arc::new(header),
            number: cache.0.n_rasters.fetch_add(1, Ordering::Relaxed),
            cache,
        }
    }

    /// The digital numbers of an area, `(y, x)`: their bits, 0 where there is none or no data.
    ///
    /// - `area`: in the raster's own pixels, beyond which it may reach.
    /// - `is_wanted`: told what part of the area a block covers; what is not wanted stays 0.
    pub(crate) async fn read(
        &self,
        area: Footprint,
        is_wanted: impl Fn(Window) -> bool,
    ) -> std::result::Result<Vec<u16>, Defect> {
        let pieces = self.pieces(area, is_wanted);
        let width = usize::try_from(area.width).unwrap_or(0);
        let mut plane = vec![0; usize::try_from(area.height).unwrap_or(0) * width];
        let mut coming: FuturesUnordered<_> = self
            .blocks(&pieces)?
            .into_iter()
            .map(|(piece, block)| block.map(move |block| (piece, block)))
            .collect();
        while let Some((piece, block)) = coming.next().await {
            match block {
                Ok(block) => self.lay(&block, piece, &mut plane, width),
                Err(defect) => {
                    // It may be there the next time.
                    self.forget();
                    return Err(defect);
                }
            }
        }
        Ok(plane)
    }

    /// Gives up what the cache has of it.
    fn forget(&self) {
        self.cache.lock().forget(self.number);
    }

    /// The most bytes that reading an area takes: its pixels, its packed blocks, blocks in work and blocks that are kept.
    pub(crate) fn bytes_to_read(
        &self,
        area: Footprint,
        is_wanted: impl Fn(Window) -> bool,
    ) -> usize {
        let pieces = self.pieces(area, is_wanted);
        let packed = pieces
            .iter()
            .map(|piece| match self.header.locate(piece.block) {
                Ok(BlockBytes::At(range)) => usize::try_from(range.end - range.start).unwrap_or(0),
                _ => 0,
            });
        let n_pixels = usize::try_from(area.height * area.width).unwrap_or(0);
        let in_work = rayon::current_num_threads() * self.header.largest_block_bytes();
        let kept = self.cache.lock().max_bytes;
        n_pixels * size_of::<u16>() + packed.sum::<usize>() + in_work + kept
    }

    /// Where the blocks of an area are stored, each with the share of its pixels that lies in the area.
    pub(crate) fn stored(
        &self,
        area: Footprint,
        is_wanted: impl Fn(Window) -> bool,
    ) -> std::result::Result<Vec<(Range<u64>, f64)>, Defect> {
        let n_pixels = (self.header.block_height * self.header.block_width) as f64;
        let mut stored = Vec::new();
        for piece in self.pieces(area, is_wanted) {
            if let BlockBytes::At(range) = self.header.locate(piece.block)? {
                let n_covered = (piece.window.height * piece.window.width) as f64;
                stored.push((range, n_covered / n_pixels));
            }
        }
        Ok(stored)
    }

    /// The blocks that have pixels in an area, row by row.
    fn pieces(&self, area: Footprint, is_wanted: impl Fn(Window) -> bool) -> Vec<Piece> {
        let header = &self.header;
        let (height, width) = (header.block_height as i64, header.block_width as i64);
        let whole = Footprint {
            row: 0,
            col: 0,
            height: header.height as i64,
            width: header.width as i64,
        };
        let Some(inside) = area.intersection(whole) else {
            return Vec::new();
        };
        let mut pieces = Vec::new();
        for row in inside.row / height..=(inside.row + inside.height - 1) / height {
            for col in inside.col / width..=(inside.col + inside.width - 1) / width {
                let block = Footprint {
                    row: row * height,
                    col: col * width,
                    height,
                    width,
                };
                let parts = inside
                    .intersection(block)
                    .and_then(|part| Some((part.window_in(area)?, part.window_in(block)?)));
                if let Some((window, in_block)) = parts
                    && is_wanted(window)
                {
                    pieces.push(Piece {
                        block: Block {
                            row: usize::try_from(row).unwrap_or(0),
                            col: usize::try_from(col).unwrap_or(0),
                        },
                        window,
                        row: in_block.row,
                        col: in_block.col,
                    });
                }
            }
        }
        pieces
    }

    /// The blocks of some pieces: from the cache, or on their way. Blocks that were never written are left out.
    fn blocks<'p>(
        &self,
        pieces: &'p [Piece],
    ) -> std::result::Result<Vec<(&'p Piece, Coming)>, Defect> {
        let mut cache = self.cache.lock();
        let mut blocks = Vec::with_capacity(pieces.len());
        let mut absent: Vec<(&Piece, Range<u64>)> = Vec::new();
        for piece in pieces {
            if let Some(block) = cache.get(self.number, piece.block) {
                blocks.push((piece, block));
            } else if let BlockBytes::At(range) = self.header.locate(piece.block)? {
                absent.push((piece, range));
            }
        }
        let ranges: Vec<Range<u64>> = absent.iter().map(|(_, range)| range.clone()).collect();
        let runs: Vec<(Range<u64>, Run)> = runs(&ranges)
            .into_iter()
            .map(|run| {
                let (place, range) = (self.place.clone(), run.clone());
                let fetch = async move { place.range(range).await };
                (run, fetch.boxed().shared())
            })
            .collect();
        for (piece, range) in absent {
            let within =
                |(run, _): &&(Range<u64>, Run)| run.start <= range.start && range.end <= run.end;
            let Some((run, bytes)) = runs.iter().find(within) else {
                return Err(Defect::Fetch("it was not asked for".into()));
            };
            let at = |offset: u64| usize::try_from(offset - run.start).unwrap_or(usize::MAX);
            let block = self.decoded(piece.block, bytes.clone(), at(range.start)..at(range.end));
            cache.put(
                (self.number, piece.block),
                block.clone(),
                self.header.block_bytes(piece.block),
            );
            blocks.push((piece, block));
        }
        Ok(blocks)
    }

    /// A block, once the run that it lies in has come.
    fn decoded(&self, block: Block, run: Run, within: Range<usize>) -> Coming {
        let (header, buffers) = (Arc::clone(&self.header), self.cache.0.buffers.clone());
        let decode = async move {
            let packed = run.await?.slice(within);
            off_thread(move || {
                let mut pixels = buffers.take(header.block_bytes(block));
                block_pixels(&header, block, &packed, &mut pixels)?;
                Ok(Arc::new(pixels))
            })
            .await?
        };
        decode.boxed().shared()
    }

    /// Copies a piece's part of its block into a plane (`width` pixels a row).
    fn lay(&self, pixels: &[u8], piece: &Piece, plane: &mut [u16], width: usize) {
        let header = &self.header;
        let n_bytes = header.sample.n_bytes();
        let nodata = header.nodata.and_then(|nodata| match header.sample {
            Sample::I16 => i16::try_from(nodata).ok().map(i16::cast_unsigned),
            _ => u16::try_from(nodata).ok(),
        });
        let Window {
            row, col, height, ..
        } = piece.window;
        for y in 0..height {
            let start = (piece.row + y) * header.row_bytes() + piece.col * n_bytes;
            let stored = &pixels[start..start + piece.window.width * n_bytes];
            let out = &mut plane[(row + y) * width + col..][..piece.window.width];
            if header.sample == Sample::U8 {
                for (out, &byte) in out.iter_mut().zip(stored) {
                    *out = byte.into();
                }
            } else {
                for (out, &bytes) in out.iter_mut().zip(stored.as_chunks().0) {
                    *out = u16::from_ne_bytes(bytes);
                }
            }
            if let Some(nodata) = nodata.filter(|&nodata| nodata != 0) {
                for out in out {
                    *out = if *out == nodata { 0 } else { *out };
                }
            }
        }
    }
}

/// The bytes of a run of blocks, or what they wait for.
type Run = Shared<BoxFuture<'static, std::result::Result<Bytes, Defect>>>;
/// A decoded block, or what it waits for: its pixels in this machine's byte order, the padding included.
type Coming = Shared<BoxFuture<'static, std::result::Result<Arc<Buffer>, Defect>>>;

/// Decoded blocks of some rasters, those used last, up to a number of bytes. A block that is on its way is there already,
/// so that it is fetched and decoded once.
#[derive(Debug, Clone)]
pub(crate) struct BlockCache(Arc<Shelf>);

#[derive(Debug)]
struct Shelf {
    blocks: Mutex<Blocks>,
    buffers: Buffers,
    n_rasters: AtomicU64,
}

#[derive(Debug, Default)]
struct Blocks {
    /// By raster and block: the block, its bytes, and when it was used last.
    entries: BTreeMap<(u64, Block), (Coming, usize, u64)>,
    n_bytes: usize,
    max_bytes: usize,
    now: u64,
}

impl BlockCache {
    pub(crate) fn new(max_bytes: usize, buffers: &Buffers) -> Self {
        Self(Arc::new(Shelf {
            blocks: Mutex::new(Blocks {
                max_bytes,
                ..Blocks::default()
            }),
            buffers: buffers.clone(),
            n_rasters: AtomicU64::new(0),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Blocks> {
        self.0.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blocks {
    fn get(&mut self, raster: u64, block: Block) -> Option<Coming> {
        self.now += 1;
        let (coming, _, used) = self.entries.get_mut(&(raster, block))?;
        *used = self.now;
        Some(coming.clone())
    }

    fn put(&mut self, key: (u64, Block), block: Coming, n_bytes: usize) {
        self.now += 1;
        self.n_bytes += n_bytes;
        self.entries.insert(key, (block, n_bytes, self.now));
        while self.n_bytes > self.max_bytes {
            let oldest = self.entries.iter().min_by_key(|(_, (_, _, used))| *used);
            let Some(key) = oldest.map(|(key, _)| *key) else {
                break;
            };
            self.remove(key);
        }
    }

    fn forget(&mut self, raster: u64) {
        let keys: Vec<_> = self
            .entries
            .keys()
            .filter(|key| key.0 == raster)
            .copied()
            .collect();
        for key in keys {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: (u64, Block)) {
        if let Some((_, n_bytes, _)) = self.entries.remove(&key) {
            self.n_bytes -= n_bytes;
        }
    }
}

/// Runs work that keeps a processor busy on rayon's threads, while the network goes on.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> std::result::Result<T, Defect> {
    let (done, result) = tokio::sync::oneshot::channel();
    rayon::spawn(move || {
        // The receiver is gone only if the fetch was given up.
        let _ = done.send(work());
    });
    result
        .await
        .map_err(|_| Defect::Open("its decoding was given up".into()))
}
