//! From a source's files to the mirror: only the blocks that the area's cells need, digital numbers untouched.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use pitwatch_grid::{Band, Crs, GeoBox, Point, Region, Shape, Window};
use pitwatch_scenes::net::{Buffers, Remote};
use pitwatch_scenes::storage::unfinished;
use pitwatch_scenes::{Asset as Named, Scene};
use tokio::sync::Semaphore;

use crate::cog::{Header, Sample};
use crate::error::{Defect, Error, Result};
use crate::jp2::Jp2;
use crate::mirror::{Mirror, Stored, agrees_with, file_error, inputs_of};
use crate::raster::{BlockCache, Raster, SPARE_BYTES, off_thread};
use crate::scene::Footprint;
use crate::source::{Place, Store, location_from_href};
use crate::tiff::{Depth, TiffWriter};

/// Side of a cell, in meters: 512 pixels of 10 m. Cells are counted from the reference system's origin.
pub const CELL_M: f64 = 5120.0;
/// Pixels of the finest bands, in meters.
const FINEST_M: f64 = 10.0;
/// Version of what is written; another one is fetched anew.
const FORM: &str = "1";
/// Digital number of "no observation" in Sentinel-2's products.
const NODATA: i32 = 0;
/// Rows of cells that are in memory at a time.
const CELL_ROWS_AT_A_TIME: usize = 4;
/// Longest JPEG 2000 file that is downloaded: a band of 10,980 × 10,980 pixels takes some 130 MB.
const MAX_JP2_BYTES: u64 = 1 << 30;
/// Units of the semaphore that counts memory.
const BYTES_PER_PERMIT: usize = 1 << 16;

/// How fetching goes. None of it moves a result.
#[derive(Debug, Clone, Copy)]
pub struct FetchOptions {
    /// Scenes in flight.
    pub scenes_in_flight: usize,
    /// Bytes of pixels in memory.
    pub memory_bytes: usize,
    /// Most bytes that the area's part of the mirror may take.
    pub disk_limit: Option<u64>,
    /// Once it says so no more scenes are begun; those in flight are brought to their end.
    pub is_stopped: fn() -> bool,
}

/// What became of a scene.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchOutcome {
    /// It was fetched.
    Fetched {
        /// The source it came from.
        source: String,
        /// Length of its files.
        n_bytes: u64,
    },
    /// It was there already.
    Kept,
    /// It has no pixel in the area's cells.
    OutsideCells,
    /// It is not in the mirror.
    Failed {
        /// What each source said.
        reason: String,
        /// True if the disk's limit was the reason.
        is_disk_limit: bool,
    },
}

/// What became of the scenes, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FetchReport {
    /// One a scene, as they were given; fewer if the fetch was stopped.
    pub outcomes: Vec<FetchOutcome>,
    /// Bytes that the limit of the disk lacked for the scenes that were left out, estimated from those that were fetched.
    pub n_bytes_lacking: u64,
}

/// Of which ground what is wanted, and the way to it.
pub(crate) struct Ground<'a> {
    region: &'a Region,
    bands: &'a [Band],
    remotes: &'a BTreeMap<String, Remote>,
    store: Store,
    /// The area's cells in each reference system met so far.
    cells: Mutex<BTreeMap<u32, Arc<Cells>>>,
}

/// What all scenes of a fetch share.
struct Work<'a> {
    ground: Ground<'a>,
    buffers: Buffers,
    mirror: Arc<Mirror>,
    /// Names of the folders that were there at the start, complete or not.
    folders: BTreeSet<String>,
    /// What each scene that was there at the start rests on, by the name of its folder.
    inputs: BTreeMap<String, String>,
    memory: Semaphore,
    memory_permits: usize,
    disk_limit: Option<u64>,
    disk_used: AtomicU64,
}

/// Cells by row and column, counted from the reference system's origin; rows count down from it.
struct Cells(Vec<(i64, i64)>);

/// Where a raster's part of the mirror lies.
pub(crate) struct Plan {
    /// The raster in the mirror: a rectangle of cells.
    pub(crate) geobox: GeoBox,
    /// Pixels a side of a cell.
    pub(crate) tile: usize,
    /// For each cell of the rectangle, row by row: is it wanted?
    pub(crate) wanted: Vec<bool>,
    n_cols: usize,
}

/// A raster to read from.
enum Opened {
    Cog(Raster),
    Jp2(Jp2),
}

/// Why one source did not give a scene.
enum Trouble {
    Source(String),
    Disk(Error),
    DiskLimit,
}

/// Brings scenes into a mirror.
///
/// Each scene stays in its own reference system. Of each wanted band and the scene classification one raster is written:
/// the smallest rectangle of cells that has those which hold a pixel of the region and of the raster, with every other cell
/// left out. A scene that is there from the same product, for the same cells and bands, is kept. Where a source fails, the
/// scene's alternatives are tried in their order.
///
/// - `bands`: wanted; those that a scene lacks are left out.
/// - `remotes`: the way to the files of each source, by its name. Files on disk need none.
/// - `progress`: told how many scenes are done.
///
/// # Errors
///
/// If the mirror cannot be written at all: the disk is full, or the folder read-only. What was complete before stays.
///
/// # Panics
///
/// If it is called from an asynchronous task.
pub fn fetch(
    mirror: &Arc<Mirror>,
    region: &Region,
    scenes: &[Scene],
    bands: &[Band],
    remotes: &BTreeMap<String, Remote>,
    options: &FetchOptions,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<FetchReport> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("fetch")
        .enable_all()
        .build()
        .map_err(|source| Error::Start { source })?;
    let memory_permits = (options.memory_bytes / BYTES_PER_PERMIT).max(1);
    let listing = mirror.list()?;
    let n_bytes = listing
        .iter()
        .filter(|(folder, _)| !folder.is_empty())
        .flat_map(|(_, files)| files.values())
        .sum();
    let work = Work {
        mirror: Arc::clone(mirror),
        inputs: mirror.inputs(&listing),
        folders: listing.into_keys().collect(),
        ground: Ground::new(region, bands, remotes),
        buffers: Buffers::new(SPARE_BYTES),
        memory: Semaphore::new(memory_permits.min(Semaphore::MAX_PERMITS)),
        memory_permits,
        disk_limit: options.disk_limit,
        disk_used: AtomicU64::new(n_bytes),
    };
    let mut outcomes = Vec::new();
    let mut refused = None;
    runtime.block_on(async {
        let begun = scenes.iter().take_while(|_| !(options.is_stopped)());
        let mut coming = futures::stream::iter(begun.enumerate())
            .map(|(index, scene)| work.scene(scene).map(move |outcome| (index, outcome)))
            .buffer_unordered(options.scenes_in_flight.max(1));
        while let Some((index, outcome)) = coming.next().await {
            match outcome {
                Ok(outcome) => outcomes.push((index, outcome)),
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
            progress(outcomes.len());
        }
    });
    if let Some(error) = refused {
        return Err(error);
    }
    outcomes.sort_by_key(|(index, _)| *index);
    let outcomes: Vec<FetchOutcome> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    let fetched: Vec<u64> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            FetchOutcome::Fetched { n_bytes, .. } => Some(*n_bytes),
            _ => None,
        })
        .collect();
    let n_lacking = outcomes
        .iter()
        .filter(|outcome| {
            matches!(
                outcome,
                FetchOutcome::Failed {
                    is_disk_limit: true,
                    ..
                }
            )
        })
        .count() as u64;
    let mean = fetched.iter().sum::<u64>() / (fetched.len() as u64).max(1);
    Ok(FetchReport {
        outcomes,
        n_bytes_lacking: n_lacking * mean,
    })
}

impl<'a> Ground<'a> {
    pub(crate) fn new(
        region: &'a Region,
        bands: &'a [Band],
        remotes: &'a BTreeMap<String, Remote>,
    ) -> Self {
        Self {
            region,
            bands,
            remotes,
            store: Store::local(),
            cells: Mutex::default(),
        }
    }

    /// The rasters to bring, by their names in the mirror.
    pub(crate) fn rasters<'s>(&self, scene: &'s Scene) -> Vec<(String, &'s Named)> {
        let bands = scene
            .assets
            .iter()
            .filter(|(band, _)| self.bands.contains(band));
        bands
            .map(|(band, asset)| (band.common_name().to_owned(), asset))
            .chain([("scl".to_owned(), &scene.classification)])
            .collect()
    }

    pub(crate) fn place(&self, scene: &Scene, href: &str) -> std::result::Result<Place, Defect> {
        if !href.contains("://") || href.starts_with("file://") {
            return Ok(Place::Stored(self.store.clone(), location_from_href(href)?));
        }
        match self.remotes.get(&scene.source) {
            Some(remote) => Ok(Place::Remote(remote.clone(), href.into())),
            None => Err(Defect::Open("no source leads there".into())),
        }
    }

    /// Which cells of a raster are wanted, and where its part of the mirror lies; `None` if there is none.
    pub(crate) fn plan(&self, grid: &GeoBox) -> std::result::Result<Option<Plan>, Defect> {
        let resolution = grid.resolution_m();
        let tile = (CELL_M / resolution).round();
        let is_even =
            (tile * resolution - CELL_M).abs() < 1e-6 && tile >= 16.0 && tile % 16.0 == 0.0;
        let (x, y) = (grid.origin().x / resolution, grid.origin().y / resolution);
        let is_on_lattice = (x - x.round()).abs() < 0.01 && (y - y.round()).abs() < 0.01;
        if !is_even || !is_on_lattice {
            return Err(Defect::Georeference(format!(
                "its pixels of {resolution} m do not lie on the lattice of cells of {CELL_M} m"
            )));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "16 to 512"
        )]
        let tile = tile as usize;
        let (min, max) = grid.bounds();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "coordinates are bounded when a file is opened"
        )]
        let cell = |coordinate: f64| (coordinate / CELL_M) as i64;
        let rows =
            cell((-max.y / CELL_M).floor() * CELL_M)..cell((-min.y / CELL_M).ceil() * CELL_M);
        let cols = cell((min.x / CELL_M).floor() * CELL_M)..cell((max.x / CELL_M).ceil() * CELL_M);
        let cells = self.cells(grid.crs())?;
        let within: Vec<(i64, i64)> = cells
            .0
            .iter()
            .copied()
            .filter(|(row, col)| rows.contains(row) && cols.contains(col))
            .collect();
        let bounds = |of: &dyn Fn(&(i64, i64)) -> i64| {
            Some((within.iter().map(of).min()?, within.iter().map(of).max()?))
        };
        let (Some((top, bottom)), Some((left, right))) =
            (bounds(&|cell| cell.0), bounds(&|cell| cell.1))
        else {
            return Ok(None);
        };
        let count = |from: i64, to: i64| usize::try_from(to - from + 1).unwrap_or(0);
        let (n_rows, n_cols) = (count(top, bottom), count(left, right));
        let mut wanted = vec![false; n_rows * n_cols];
        for (row, col) in within {
            wanted[(count(top, row) - 1) * n_cols + count(left, col) - 1] = true;
        }
        let geobox = GeoBox::new(
            grid.crs().clone(),
            Point {
                x: left as f64 * CELL_M,
                y: -top as f64 * CELL_M,
            },
            resolution,
            Shape {
                height: n_rows * tile,
                width: n_cols * tile,
            },
        )
        .map_err(|error| Defect::Georeference(error.to_string()))?;
        Ok(Some(Plan {
            geobox,
            tile,
            wanted,
            n_cols,
        }))
    }

    /// The cells that hold a pixel of 10 m of the region.
    fn cells(&self, crs: &Crs) -> std::result::Result<Arc<Cells>, Defect> {
        let mut known = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cells) = known.get(&crs.epsg()) {
            return Ok(Arc::clone(cells));
        }
        let refused = |error: pitwatch_grid::Error| Defect::Georeference(error.to_string());
        let origin = Point { x: 0.0, y: 0.0 };
        let one = Shape {
            height: 1,
            width: 1,
        };
        let lattice = GeoBox::new(crs.clone(), origin, FINEST_M, one).map_err(refused)?;
        let geobox = self.region.geobox(&lattice).map_err(refused)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "512"
        )]
        let size = (CELL_M / FINEST_M) as usize;
        let mut cells = Vec::new();
        for window in geobox.cells(size) {
            let cell = geobox.window(window);
            if self.region.mask(&cell).map_err(refused)?.contains(&true) {
                #[expect(clippy::cast_possible_truncation, reason = "coordinates on the Earth")]
                let index = |coordinate: f64| (coordinate / CELL_M).floor() as i64;
                // The middle of a pixel, so that no rounding at the edge decides.
                let half = FINEST_M / 2.0;
                cells.push((
                    index(-(cell.origin().y - half)),
                    index(cell.origin().x + half),
                ));
            }
        }
        let cells = Arc::new(Cells(cells));
        known.insert(crs.epsg(), Arc::clone(&cells));
        Ok(cells)
    }
}

impl Work<'_> {
    /// One scene, from the first of its sources that gives it.
    async fn scene(&self, scene: &Scene) -> Result<FetchOutcome> {
        let candidates: Vec<&Scene> = std::iter::once(scene).chain(&scene.alternatives).collect();
        // A scene that came from a later source is kept too.
        for candidate in &candidates {
            let stored = self.inputs.get(&Mirror::scene_name(&candidate.id));
            let is_same = stored == Some(&self.inputs_of(candidate));
            if is_same {
                return Ok(FetchOutcome::Kept);
            }
        }
        let mut reasons = Vec::new();
        for candidate in candidates {
            match self.bring(candidate).await {
                Ok(Some(n_bytes)) => {
                    return Ok(FetchOutcome::Fetched {
                        source: candidate.source.clone(),
                        n_bytes,
                    });
                }
                Ok(None) => return Ok(FetchOutcome::OutsideCells),
                Err(Trouble::Disk(error)) => return Err(error),
                Err(Trouble::DiskLimit) => {
                    return Ok(FetchOutcome::Failed {
                        reason: "not fetched: the limit of the disk is reached".into(),
                        is_disk_limit: true,
                    });
                }
                Err(Trouble::Source(reason)) if candidate.source.is_empty() => reasons.push(reason),
                Err(Trouble::Source(reason)) => {
                    reasons.push(format!("{}: {reason}", candidate.source))
                }
            }
        }
        Ok(FetchOutcome::Failed {
            reason: reasons.join("; "),
            is_disk_limit: false,
        })
    }

    /// What a scene in the mirror rests on, as a hash.
    fn inputs_of(&self, scene: &Scene) -> String {
        let mut parts = BTreeMap::from([
            ("form".to_owned(), FORM.to_owned()),
            ("id".to_owned(), scene.id.clone()),
            ("source".to_owned(), scene.source.clone()),
            (
                "region".to_owned(),
                format!("{:?}", self.ground.region.lonlat()),
            ),
            ("baseline".to_owned(), format!("{:?}", scene.baseline)),
            (
                "updated".to_owned(),
                format!("{:?}", scene.updated.or(scene.created)),
            ),
        ]);
        for (name, asset) in self.ground.rasters(scene) {
            parts.insert(
                format!("raster {name}"),
                format!(
                    "{} {:?} {}",
                    pitwatch_scenes::net::bare(&asset.href),
                    asset.offset,
                    asset.scale
                ),
            );
        }
        inputs_of(&parts)
    }

    /// Brings a scene from one source; `None` if it has no pixel in the cells.
    async fn bring(&self, scene: &Scene) -> std::result::Result<Option<u64>, Trouble> {
        if self.is_full() {
            return Err(Trouble::DiskLimit);
        }
        if self.folders.contains(&Mirror::scene_name(&scene.id)) {
            // Left by work that was interrupted, or of a product that is replaced.
            self.clear(&scene.id).await?;
        }
        let folder = self
            .mirror
            .make_workplace(&scene.id)
            .map_err(Trouble::Disk)?;
        let rasters = self.ground.rasters(scene);
        let done = join_all(
            rasters
                .iter()
                .map(|(name, asset)| self.raster(scene, name, asset, &folder)),
        )
        .await;
        let mut stored = Vec::new();
        let mut first_trouble = None;
        for outcome in done {
            match outcome {
                Ok(Some(raster)) => stored.push(raster),
                Ok(None) => {}
                Err(trouble) => {
                    // What the disk says goes before what a source says.
                    if first_trouble.is_none() || !matches!(trouble, Trouble::Source(_)) {
                        first_trouble = Some(trouble);
                    }
                }
            }
        }
        let is_whole = stored.len() == rasters.len();
        if first_trouble.is_some() || !is_whole {
            // What stays is no part of the mirror, for want of an item.
            let _ = self.clear(&scene.id).await;
            self.give_disk(stored.iter().map(|raster| raster.n_bytes).sum());
        }
        match first_trouble {
            Some(trouble) => Err(trouble),
            None if stored.is_empty() => Ok(None),
            None if !is_whole => Err(Trouble::Source(
                "its rasters do not cover the same ground".into(),
            )),
            None => {
                let n_bytes = stored.iter().map(|raster| raster.n_bytes).sum();
                let (named, inputs) = (scene.clone(), self.inputs_of(scene));
                self.in_mirror(move |mirror| mirror.write_item(&named, &stored, &inputs))
                    .await?;
                Ok(Some(n_bytes))
            }
        }
    }

    /// Removes what there is of a scene.
    async fn clear(&self, scene_id: &str) -> std::result::Result<(), Trouble> {
        let name = Mirror::scene_name(scene_id);
        self.in_mirror(move |mirror| mirror.remove(&name)).await
    }

    /// Runs work that waits for the mirror's disk or store, while the network goes on.
    async fn in_mirror<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Mirror) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, Trouble> {
        let mirror = Arc::clone(&self.mirror);
        let done = tokio::task::spawn_blocking(move || work(&mirror)).await;
        done.map_err(|error| {
            let source = std::io::Error::other(error);
            Trouble::Disk(file_error("write to", Path::new("the mirror"))(source))
        })?
        .map_err(Trouble::Disk)
    }

    fn is_full(&self) -> bool {
        self.disk_limit
            .is_some_and(|limit| self.disk_used.load(Ordering::Relaxed) >= limit)
    }

    /// Counts a file that was written; false if the limit has no room for it.
    fn take_disk(&self, n_bytes: u64) -> bool {
        let used = self.disk_used.fetch_add(n_bytes, Ordering::Relaxed) + n_bytes;
        let has_room = self.disk_limit.is_none_or(|limit| used <= limit);
        if !has_room {
            self.give_disk(n_bytes);
        }
        has_room
    }

    fn give_disk(&self, n_bytes: u64) {
        self.disk_used.fetch_sub(n_bytes, Ordering::Relaxed);
    }

    /// Brings one raster; `None` if it has no pixel in the cells.
    async fn raster(
        &self,
        scene: &Scene,
        name: &str,
        asset: &Named,
        folder: &Path,
    ) -> std::result::Result<Option<Stored>, Trouble> {
        let address = pitwatch_scenes::net::bare(&asset.href);
        let trouble = |defect: Defect| Trouble::Source(format!("{address}: {defect}"));
        let place = self.ground.place(scene, &asset.href).map_err(trouble)?;
        let opened = self.open(&place, asset, folder, name).await;
        let (opened, grid, depth) = opened.map_err(|error| match error {
            OpenError::Defect(defect) => trouble(defect),
            OpenError::Disk(error) => Trouble::Disk(error),
        })?;
        let Some(plan) = self.ground.plan(&grid).map_err(trouble)? else {
            return Ok(None);
        };
        let part = unfinished(&folder.join(format!("{name}.tif")));
        let written = self.write(&plan, &opened, &grid, depth, &part).await;
        if let Opened::Jp2(jp2) = &opened {
            let _ = fs::remove_file(jp2.path());
        }
        match written {
            Ok(n_bytes) if !self.take_disk(n_bytes) => {
                let _ = fs::remove_file(&part);
                Err(Trouble::DiskLimit)
            }
            Ok(_) => {
                let (scene_id, name) = (scene.id.clone(), name.to_owned());
                self.in_mirror(move |mirror| {
                    mirror.put_raster(&scene_id, &name, plan.geobox, &part)
                })
                .await
                .map(Some)
            }
            Err(error) => {
                let _ = fs::remove_file(&part);
                Err(match error {
                    OpenError::Defect(defect) => trouble(defect),
                    OpenError::Disk(error) => Trouble::Disk(error),
                })
            }
        }
    }

    /// Opens a raster by what it is, not by its name.
    async fn open(
        &self,
        place: &Place,
        asset: &Named,
        folder: &Path,
        name: &str,
    ) -> std::result::Result<(Opened, GeoBox, Depth), OpenError> {
        let header = match Header::read(place).await {
            Ok(header) => header,
            Err(Defect::NotTiff) => return self.open_other(place, asset, folder, name).await,
            Err(defect) => return Err(defect.into()),
        };
        let shape = Shape {
            height: header.height,
            width: header.width,
        };
        let grid = grid_of(header.epsg, header.origin, header.resolution_m, shape)?;
        let depth = match header.sample {
            Sample::U8 => Depth::U8,
            Sample::U16 => Depth::U16,
            Sample::I16 => Depth::I16,
        };
        // The blocks that reach into the next rows of cells are needed again.
        let cache = BlockCache::new(header.block_row_bytes(), &self.buffers);
        let raster = Raster::new(place.clone(), header, cache);
        Ok((Opened::Cog(raster), grid, depth))
    }

    async fn open_other(
        &self,
        place: &Place,
        asset: &Named,
        folder: &Path,
        name: &str,
    ) -> std::result::Result<(Opened, GeoBox, Depth), OpenError> {
        let head = place.head(12).await?;
        if !Jp2::is(&head.bytes) {
            let is_page = head.bytes.first() == Some(&b'<');
            let what = if is_page {
                "it is a web page, no image"
            } else {
                "it is neither TIFF nor JPEG 2000"
            };
            return Err(Defect::Unsupported(what.into()).into());
        }
        let path = match place {
            Place::Stored(..) => None,
            Place::Remote(remote, href) => {
                let path = folder.join(format!("{name}.jp2.part"));
                remote
                    .download(href, &path, MAX_JP2_BYTES)
                    .await
                    .map_err(|error| Defect::Fetch(error.message))?;
                Some(path)
            }
        };
        let path = match (path, place) {
            (Some(path), _) => path,
            (None, Place::Stored(_, location)) => PathBuf::from(format!("/{location}")),
            (None, Place::Remote(..)) => {
                return Err(Defect::Open("it was not downloaded".into()).into());
            }
        };
        let is_own = matches!(place, Place::Remote(..));
        let checksum = asset.stated.get("file:checksum").cloned();
        let jp2 = off_thread(move || {
            let agrees = checksum
                .as_ref()
                .and_then(|checksum| checksum.as_str())
                .map_or(Ok(true), |checksum| agrees_with(&path, checksum));
            match agrees {
                Ok(true) => Jp2::open(&path, is_own),
                Ok(false) => Err(Defect::Fetch(
                    "its bytes are not those of its checksum".into(),
                )),
                Err(error) => Err(Defect::Open(error.to_string())),
            }
        })
        .await??;
        let grid = jp2.grid().clone();
        let depth = jp2.depth();
        Ok((Opened::Jp2(jp2), grid, depth))
    }

    /// Writes the wanted cells of a raster, some rows of cells at a time. Returns the file's length.
    async fn write(
        &self,
        plan: &Plan,
        opened: &Opened,
        grid: &GeoBox,
        depth: Depth,
        part: &Path,
    ) -> std::result::Result<u64, OpenError> {
        let disk = |error: std::io::Error| OpenError::Disk(file_error("write", part)(error));
        let Shape { height, width } = plan.geobox.shape();
        let source = Footprint::of(grid, &plan.geobox);
        let strips = |n_rows: usize| {
            let starts = (0..height).step_by(n_rows);
            starts.map(move |start| start..(start + n_rows).min(height))
        };
        // In the raster's own pixels.
        let area = |rows: &Range<usize>| Footprint {
            row: rows.start as i64 - source.row,
            col: -source.col,
            height: rows.len() as i64,
            width: width as i64,
        };
        let most_bytes = |n_rows: usize| {
            let bytes = strips(n_rows).map(|rows| match opened {
                Opened::Cog(raster) => {
                    raster.bytes_to_read(area(&rows), |window| plan.touches(window, rows.start))
                }
                // Digital numbers, and what they are made of.
                Opened::Jp2(_) => rows.len() * width * 6,
            });
            (bytes.max().unwrap_or(0) + TiffWriter::bytes(plan.tile)) / BYTES_PER_PERMIT + 1
        };
        // As many rows of cells at a time as the limit has room for. The memory is held until the raster is written, since
        // blocks are kept from rows to rows.
        let (n_rows, permits) = (1..=CELL_ROWS_AT_A_TIME)
            .rev()
            .map(|n_cells| (n_cells * plan.tile, most_bytes(n_cells * plan.tile)))
            .find(|(_, permits)| *permits <= self.memory_permits)
            .unwrap_or((plan.tile, self.memory_permits));
        let _memory = self
            .memory
            .acquire_many(u32::try_from(permits).unwrap_or(u32::MAX))
            .await;
        let mut writer =
            TiffWriter::create(part, &plan.geobox, depth, plan.tile, NODATA).map_err(disk)?;
        for rows in strips(n_rows) {
            let plane = match opened {
                Opened::Cog(raster) => {
                    let is_wanted = |window| plan.touches(window, rows.start);
                    raster.read(area(&rows), is_wanted).await?
                }
                Opened::Jp2(jp2) => {
                    let jp2 = jp2.clone();
                    let wanted = Window {
                        row: rows.start,
                        col: 0,
                        height: rows.len(),
                        width,
                    };
                    let geobox = plan.geobox.window(wanted);
                    off_thread(move || jp2.read(&geobox)).await??
                }
            };
            let (tile, n_cols) = (plan.tile, plan.n_cols);
            let wanted = plan.wanted[rows.start / tile * n_cols..rows.end / tile * n_cols].to_vec();
            let (moved, outcome) = off_thread(move || {
                let mut writer = writer;
                let outcome = write_cells(&mut writer, &plane, width, tile, n_cols, &wanted);
                (writer, outcome)
            })
            .await?;
            writer = moved;
            outcome.map_err(disk)?;
        }
        off_thread(move || writer.finish()).await?.map_err(disk)
    }
}

impl Plan {
    /// True if a window of the rows from `first_row` on touches a wanted cell.
    pub(crate) fn touches(&self, window: Window, first_row: usize) -> bool {
        let rows = (first_row + window.row) / self.tile
            ..=(first_row + window.row + window.height - 1) / self.tile;
        let cols = window.col / self.tile..=(window.col + window.width - 1) / self.tile;
        rows.into_iter()
            .any(|row| cols.clone().any(|col| self.wanted[row * self.n_cols + col]))
    }
}

fn write_cells(
    writer: &mut TiffWriter,
    plane: &[u16],
    width: usize,
    tile: usize,
    n_cols: usize,
    wanted: &[bool],
) -> std::io::Result<()> {
    for (index, &is_wanted) in wanted.iter().enumerate() {
        if is_wanted {
            let first = index / n_cols * tile * width + index % n_cols * tile;
            writer.tile(&plane[first..], width)?;
        } else {
            writer.skip();
        }
    }
    Ok(())
}

/// What can go wrong with one raster: with its source, or with the disk.
enum OpenError {
    Defect(Defect),
    Disk(Error),
}

impl From<Defect> for OpenError {
    fn from(defect: Defect) -> Self {
        Self::Defect(defect)
    }
}

pub(crate) fn grid_of(
    epsg: u32,
    origin: Point,
    resolution_m: f64,
    shape: Shape,
) -> std::result::Result<GeoBox, Defect> {
    Crs::from_epsg(epsg)
        .and_then(|crs| GeoBox::new(crs, origin, resolution_m, shape))
        .map_err(|error| Defect::Georeference(error.to_string()))
}
