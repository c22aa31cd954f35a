use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use futures::StreamExt;
use pitwatch_grid::{
    Band, Cube, Day, GeoBox, MISSING_REFLECTANCE, NOT_ACQUIRED, QUARANTINED, READ_FAILED, Shape,
    UtcTime, Window,
};
use pitwatch_scenes::storage::Storage;
use rayon::prelude::*;
use tokio::runtime::Runtime;

use crate::cog::{Block, BlockBytes, largest_packed_bytes};
use crate::decode::{Covered, block_into_plane, class_row, reflectance_row};
use crate::error::{Defect, Error, ReadFailure, Result, SkippedScene};
use crate::scene::{Asset, Footprint, OpenedScene, Scene, Slot, majority_lattice, open_scene};
use crate::source::{Files, Place, SceneFiles};
use crate::warp::Warp;

/// Packed bytes that are fetched together. One such batch is decoded while the next is fetched.
const BATCH_BYTES: usize = 8 << 20;
/// Blocks that are fetched together, so that many small ones do not pile up either.
const BATCH_BLOCKS: usize = 4096;
/// Scenes whose headers, or files whose blocks, are asked for at once.
const FILES_IN_FLIGHT: usize = 16;
/// Threads that wait for the network, and threads that wait for the disk.
const FETCH_THREADS: usize = 2;
const FILE_THREADS: usize = 4;

/// One acquisition, by name and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SceneRef {
    /// The scene's identifier.
    pub id: String,
    /// When it was acquired.
    pub time: UtcTime,
}

/// One pass of a satellite: what is one moment in a cube.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookRef {
    /// The identifier of its first scene.
    pub id: String,
    /// When its first scene was acquired.
    pub time: UtcTime,
    /// Its scenes, in the order in which they fill pixels: those on the lattice first, then by identifier.
    pub scenes: Vec<SceneRef>,
}

/// A scene as a part of a look.
#[derive(Debug)]
struct Part {
    /// The lattice it lies on, if that is not the reader's.
    own_lattice: Option<GeoBox>,
    scene: Scene,
}

/// The opened scenes: what each file's header says, and the threads that fetch.
///
/// It holds no pixel. Its memory is about 1 KiB a file, plus 12 bytes for each block of a file.
#[derive(Debug)]
pub struct Reader {
    runtime: Runtime,
    lattice: GeoBox,
    extent: GeoBox,
    bands: Vec<Band>,
    looks: Vec<LookRef>,
    /// As long as `looks`; each as long as the look's scenes.
    parts: Vec<Vec<Part>>,
}

impl Reader {
    /// Opens the headers of all scenes, many at a time.
    ///
    /// - `scenes`: in any order; a source of a band that is not wanted is not opened.
    /// - `bands`: the bands wanted, in the order that cubes shall have.
    /// - `lattice`: the pixels to read on; `None` takes those of the finest rasters of most scenes.
    /// - `progress`: told how many scenes have been opened so far.
    ///
    /// A scene with a file that cannot be used is left out and returned with the reason; so is one whose pixels lie
    /// on another lattice.
    ///
    /// # Errors
    ///
    /// If no scene is left, or the threads that fetch cannot be started.
    pub fn open(
        scenes: Vec<SceneFiles>,
        bands: &[Band],
        lattice: Option<&GeoBox>,
        progress: &dyn Fn(usize),
    ) -> Result<(Self, Vec<SkippedScene>)> {
        Self::open_from(None, scenes, bands, lattice, progress)
    }

    /// Opens the headers of all scenes, as [`Reader::open`] does, of which some may lie in the bucket of a mirror.
    ///
    /// # Errors
    ///
    /// As [`Reader::open`].
    pub fn open_from(
        mirror: Option<&Storage>,
        scenes: Vec<SceneFiles>,
        bands: &[Band],
        lattice: Option<&GeoBox>,
        progress: &dyn Fn(usize),
    ) -> Result<(Self, Vec<SkippedScene>)> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(FETCH_THREADS)
            .max_blocking_threads(FILE_THREADS)
            .thread_name("fetch")
            .enable_time()
            .build()
            .map_err(|source| Error::Start { source })?;
        let files = Files::new(mirror);

        let opened = runtime.block_on(async {
            let mut outcomes = futures::stream::iter(scenes)
                .map(|scene| open_scene(&files, scene, bands))
                .buffered(FILES_IN_FLIGHT);
            let mut opened = Vec::new();
            while let Some(outcome) = outcomes.next().await {
                opened.push(outcome);
                progress(opened.len());
            }
            opened
        });
        let mut skipped = Vec::new();
        let mut usable = Vec::new();
        for outcome in opened {
            match outcome {
                Ok(scene) => usable.push(scene),
                Err(skip) => skipped.push(skip),
            }
        }
        usable.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));

        let lattice = lattice
            .cloned()
            .or_else(|| majority_lattice(&mut usable, &mut skipped));
        let Some(lattice) = lattice else {
            return Err(nothing_to_read(skipped));
        };
        let mut passes: BTreeMap<String, Vec<(SceneRef, Part)>> = BTreeMap::new();
        for (index, scene) in usable.into_iter().enumerate() {
            let reference = SceneRef {
                id: scene.id.clone(),
                time: scene.time,
            };
            // Scenes that say of no pass are looks of their own.
            let pass = if scene.pass.is_empty() {
                format!(" {index}")
            } else {
                scene.pass.clone()
            };
            match part_of(scene, &lattice, bands.len()) {
                Ok(part) => passes.entry(pass).or_default().push((reference, part)),
                Err(reason) => skipped.push(SkippedScene {
                    id: reference.id,
                    time: reference.time,
                    reason,
                }),
            }
        }
        skipped.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        let mut ordered: Vec<(LookRef, Vec<Part>)> = Vec::new();
        for mut scenes in passes.into_values() {
            scenes.sort_by(|(a, part_a), (b, part_b)| {
                (part_a.own_lattice.is_some(), &a.id, a.time).cmp(&(
                    part_b.own_lattice.is_some(),
                    &b.id,
                    b.time,
                ))
            });
            let (scenes, parts): (Vec<SceneRef>, Vec<Part>) = scenes.into_iter().unzip();
            if let Some(SceneRef { id, time }) = scenes.first().cloned() {
                ordered.push((LookRef { id, time, scenes }, parts));
            }
        }
        ordered.sort_by(|(a, _), (b, _)| (a.time, &a.id).cmp(&(b.time, &b.id)));
        let (looks, mut parts): (Vec<LookRef>, Vec<Vec<Part>>) = ordered.into_iter().unzip();
        let Some(extent) = parts
            .iter()
            .flatten()
            .filter(|part| part.own_lattice.is_none())
            .map(|part| part.scene.footprint)
            .reduce(Footprint::union)
        else {
            return Err(nothing_to_read(skipped));
        };

        let is_present: Vec<bool> = (0..bands.len())
            .map(|slot| {
                parts
                    .iter()
                    .flatten()
                    .any(|part| part.scene.bands[slot].is_some())
            })
            .collect();
        for part in parts.iter_mut().flatten() {
            let mut slots = is_present.iter();
            part.scene.bands.retain(|_| slots.next() == Some(&true));
        }
        let present = bands
            .iter()
            .zip(&is_present)
            .filter(|(_, is_present)| **is_present);
        let reader = Self {
            bands: present.map(|(&band, _)| band).collect(),
            extent: extent.geobox(&lattice),
            runtime,
            lattice,
            looks,
            parts,
        };
        Ok((reader, skipped))
    }

    /// A geobox of the lattice that cubes are read on: the one given, or else one of the scenes' own.
    #[must_use]
    pub fn lattice(&self) -> &GeoBox {
        &self.lattice
    }

    /// The smallest rectangle of the lattice that has all scenes.
    #[must_use]
    pub fn extent(&self) -> GeoBox {
        self.extent.clone()
    }

    /// The time axis of all cubes, by time and identifier.
    #[must_use]
    pub fn looks(&self) -> &[LookRef] {
        &self.looks
    }

    /// The bands of all cubes: those wanted that at least one scene has.
    #[must_use]
    pub fn bands(&self) -> &[Band] {
        &self.bands
    }

    /// The bands that a look has, in order of the reader's bands.
    ///
    /// # Panics
    ///
    /// If there is no such look.
    #[must_use]
    pub fn bands_of(&self, look: usize) -> Vec<Band> {
        let has = |slot: usize| {
            self.parts[look]
                .iter()
                .any(|part| part.scene.bands[slot].is_some())
        };
        self.bands
            .iter()
            .enumerate()
            .filter(|(slot, _)| has(*slot))
            .map(|(_, &band)| band)
            .collect()
    }

    /// Planes of a look that [`Reader::read`] may hold beside its cube, to bring scenes of one look together.
    #[must_use]
    pub fn looks_beside(&self) -> usize {
        let is_simple = |parts: &Vec<Part>| parts.len() == 1 && parts[0].own_lattice.is_none();
        if self.parts.iter().all(is_simple) {
            0
        } else {
            4
        }
    }

    /// The most bytes that one call of [`Reader::read`] takes beside its cube, whatever the number of looks: two
    /// batches of packed blocks, and one decoded block for each thread of rayon's pool.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        let largest = self
            .parts
            .iter()
            .flatten()
            .flat_map(|part| part.scene.assets())
            .map(|asset| asset.header.largest_block_bytes())
            .max()
            .unwrap_or(0);
        let packed = 2 * BATCH_BYTES.max(largest_packed_bytes(largest));
        // A row of digital numbers and of converted pixels is small beside the block it came from.
        let decoded = rayon::current_num_threads() * (largest + largest / 8);
        packed + decoded + self.looks.len() * (self.bands.len() + 4) * size_of::<&mut [i16]>()
    }

    /// Reads all looks over one window.
    ///
    /// - `geobox`: on the reader's lattice; it may reach beyond the scenes.
    /// - `quarantined`: for each look, true if its reflectance shall not be used.
    ///
    /// A pixel's class says why it has no reflectance: outside the scene
    /// ([`NOT_ACQUIRED`](pitwatch_grid::NOT_ACQUIRED)), no data in the scene classification or in any band that the
    /// scene has (0), under a block that cannot be read ([`READ_FAILED`]), or quarantined ([`QUARANTINED`]). A band
    /// that the scene lacks is missing and changes no class.
    ///
    /// # Errors
    ///
    /// If the window does not lie on the lattice.
    ///
    /// # Panics
    ///
    /// If `quarantined` is not as long as [`Reader::looks`], or if it is called from an asynchronous task.
    pub fn read(&self, geobox: &GeoBox, quarantined: &[bool]) -> Result<(Cube, Vec<ReadFailure>)> {
        self.read_looks(geobox, quarantined, 0..self.looks.len())
    }

    /// Reads some of the looks over one window, as [`Reader::read`] reads all of them.
    ///
    /// - `range`: places in [`Reader::looks`]; the cube's first look is the first of them.
    ///
    /// # Errors
    ///
    /// As [`Reader::read`].
    ///
    /// # Panics
    ///
    /// As [`Reader::read`], or if there are no such looks.
    pub fn read_looks(
        &self,
        geobox: &GeoBox,
        quarantined: &[bool],
        range: Range<usize>,
    ) -> Result<(Cube, Vec<ReadFailure>)> {
        assert_eq!(
            quarantined.len(),
            self.looks.len(),
            "one mark of quarantine a look"
        );
        let (looks, parts, quarantined) = (
            &self.looks[range.clone()],
            &self.parts[range.clone()],
            &quarantined[range],
        );
        if !geobox.is_aligned(&self.lattice) {
            return Err(Error::OffLattice {
                window_crs: geobox.crs().to_string(),
                window_resolution_m: geobox.resolution_m(),
                lattice_crs: self.lattice.crs().to_string(),
                lattice_resolution_m: self.lattice.resolution_m(),
            });
        }
        let days = looks.iter().map(|look| Day::of(look.time)).collect();
        let mut cube = Cube::empty(geobox.clone(), days, self.bands.clone());
        let firsts: Vec<Option<&Scene>> = parts
            .iter()
            .map(|parts| {
                Some(
                    &parts
                        .first()
                        .filter(|part| part.own_lattice.is_none())?
                        .scene,
                )
            })
            .collect();
        let mut failures: Vec<ReadFailure> = self
            .read_scenes(&firsts, &self.lattice, quarantined, &mut cube)
            .into_iter()
            .map(|failed| {
                let part = &parts[failed.look][0];
                failure_of(&failed, part, &looks[failed.look].scenes[0].id)
            })
            .collect();
        for (look, parts) in parts.iter().enumerate() {
            for (index, part) in parts.iter().enumerate() {
                let is_read = index == 0 && part.own_lattice.is_none();
                if is_read || (quarantined[look] && part.own_lattice.is_some()) {
                    continue;
                }
                let failed = self.fill_from(part, look, quarantined[look], &mut cube)?;
                let id = &looks[look].scenes[index].id;
                failures.extend(failed.iter().map(|failed| failure_of(failed, part, id)));
            }
        }
        Ok((cube, failures))
    }

    /// Fills the pixels of a look that its earlier scenes left missing.
    fn fill_from(
        &self,
        part: &Part,
        look: usize,
        is_quarantined: bool,
        cube: &mut Cube,
    ) -> Result<Vec<Failed>> {
        let geobox = cube.geobox().clone();
        let lattice = part.own_lattice.as_ref().unwrap_or(&self.lattice);
        let warp = match &part.own_lattice {
            None => None,
            Some(own) => match Warp::new(&geobox, own)? {
                Some(warp) => Some(warp),
                None => return Ok(Vec::new()),
            },
        };
        let source = warp.as_ref().map_or(&geobox, Warp::source);
        if part
            .scene
            .footprint
            .window_in(Footprint::of(source, lattice))
            .is_none()
        {
            return Ok(Vec::new());
        }
        let day = cube.days()[look];
        let mut own = Cube::empty(source.clone(), vec![day], self.bands.clone());
        let failed = self.read_scenes(&[Some(&part.scene)], lattice, &[is_quarantined], &mut own);
        let own = match warp {
            Some(warp) => warp.cube(&own),
            None => own,
        };
        merge(&own, cube, look);
        Ok(failed)
    }

    /// Reads scenes that lie on one lattice, one a look of the cube.
    fn read_scenes(
        &self,
        scenes: &[Option<&Scene>],
        lattice: &GeoBox,
        quarantined: &[bool],
        cube: &mut Cube,
    ) -> Vec<Failed> {
        let shape = cube.geobox().shape();
        let area = Footprint::of(cube.geobox(), lattice);
        let mut planes = planes_by_look(cube, scenes.len(), self.bands.len());
        for ((planes, scene), &is_quarantined) in planes.iter_mut().zip(scenes).zip(quarantined) {
            if let Some(covered) = scene.and_then(|scene| scene.footprint.window_in(area)) {
                planes.covered = Some(covered);
                let class = if is_quarantined { QUARANTINED } else { 0 };
                fill(planes.classes, shape, covered, class);
            }
        }

        let mut failed = Vec::new();
        let mut batches = Batches::new(scenes, area, quarantined);
        let mut coming = batches
            .next_batch(&mut failed)
            .map(|jobs| self.fetch(jobs, scenes));
        while let Some((jobs, fetch)) = coming {
            #[expect(
                clippy::expect_used,
                reason = "the task is not cancelled while the runtime lives"
            )]
            let packed = self
                .runtime
                .block_on(fetch)
                .expect("fetching does not panic");
            coming = batches
                .next_batch(&mut failed)
                .map(|jobs| self.fetch(jobs, scenes));
            decode(scenes, &jobs, packed, shape, &mut planes, &mut failed);
        }

        failed.sort_by_key(|failure| (failure.look, failure.slot, failure.block));
        for failure in &failed {
            planes[failure.look].failed.push(failure.window);
        }
        planes
            .par_iter_mut()
            .zip(scenes)
            .zip(quarantined)
            .filter(|(_, is_quarantined)| !**is_quarantined)
            .for_each(|((planes, scene), _)| {
                if let Some(scene) = scene {
                    planes.settle(scene, shape);
                }
            });
        failed
    }

    /// Starts fetching the blocks of a batch.
    fn fetch(
        &self,
        jobs: Vec<Job>,
        scenes: &[Option<&Scene>],
    ) -> (Vec<Job>, tokio::task::JoinHandle<Packed>) {
        let requests: Vec<(Place, Vec<Range<u64>>)> = jobs
            .iter()
            .filter_map(|job| {
                let asset = scenes[job.look]?.asset(job.slot);
                let ranges = job.pieces.iter().map(|piece| piece.range.clone());
                Some((asset.place.clone(), ranges.collect()))
            })
            .collect();
        let fetch = self.runtime.spawn(async move {
            futures::stream::iter(requests)
                .map(|(place, ranges)| async move { place.ranges(&ranges).await })
                .buffered(FILES_IN_FLIGHT)
                .collect()
                .await
        });
        (jobs, fetch)
    }
}

fn failure_of(failed: &Failed, part: &Part, id: &str) -> ReadFailure {
    ReadFailure {
        scene: id.to_owned(),
        href: part.scene.asset(failed.slot).href.to_string(),
        reason: format!(
            "its block in row {}, column {} cannot be read: {}",
            failed.block.row, failed.block.col, failed.defect
        ),
    }
}

/// Decodes the blocks of a batch into the planes, one file a task.
fn decode(
    scenes: &[Option<&Scene>],
    jobs: &[Job],
    packed: Packed,
    shape: Shape,
    planes: &mut [LookPlanes<'_>],
    failed: &mut Vec<Failed>,
) {
    // The planes are lent to the tasks and come back with them: no two tasks of a batch have the same one.
    let lent: Vec<_> = jobs
        .iter()
        .zip(packed)
        .filter_map(|(job, packed)| {
            let asset = scenes[job.look]?.asset(job.slot);
            Some((job, asset, packed, planes[job.look].lend(job.slot)))
        })
        .collect();
    let done: Vec<_> = lent
        .into_par_iter()
        .map(|(job, asset, packed, mut plane)| {
            let mut failed = Vec::new();
            for (piece, packed) in job.pieces.iter().zip(packed) {
                let outcome = packed.and_then(|packed| {
                    decode_piece(asset, piece, &packed, &mut plane, shape.width)
                });
                if let Err(defect) = outcome {
                    failed.push(Failed {
                        look: job.look,
                        slot: job.slot,
                        block: piece.covered.block,
                        window: piece.covered.window,
                        defect,
                    });
                }
            }
            (job, plane, failed)
        })
        .collect();
    for (job, plane, failures) in done {
        planes[job.look].take_back(job.slot, plane);
        failed.extend(failures);
    }
}

/// A scene on the lattice, or on its own where that is another zone's of the same pixel size.
fn part_of(
    scene: OpenedScene,
    lattice: &GeoBox,
    n_bands: usize,
) -> std::result::Result<Part, String> {
    let own = scene.lattice()?;
    let is_other_zone =
        own.crs() != lattice.crs() && (own.resolution_m() - lattice.resolution_m()).abs() < 1e-9;
    let own_lattice = is_other_zone.then_some(own);
    let scene = scene.placed(own_lattice.as_ref().unwrap_or(lattice), n_bands)?;
    Ok(Part { own_lattice, scene })
}

/// Fills what a look misses with what a scene of the same pass has: seen before unreadable, unreadable before no data, no
/// data before not acquired. Where two scenes saw a pixel, the first keeps it: it is the same light.
fn merge(from: &Cube, cube: &mut Cube, look: usize) {
    let rank = |class: u8| match class {
        NOT_ACQUIRED => 0,
        0 => 1,
        READ_FAILED => 2,
        _ => 3,
    };
    let n_bands = from.bands().len();
    let n_looks = cube.days().len();
    let n_pixels = cube.geobox().shape().n_pixels();
    let (reflectance, classes) = cube.planes_mut();
    let classes = &mut classes[look * n_pixels..(look + 1) * n_pixels];
    let is_better: Vec<bool> = classes
        .iter()
        .zip(from.classes(0))
        .map(|(&here, &there)| rank(there) > rank(here))
        .collect();
    for (index, &class) in from.classes(0).iter().enumerate() {
        if is_better[index] {
            classes[index] = class;
        }
    }
    for band in 0..n_bands {
        let start = (band * n_looks + look) * n_pixels;
        let plane = &mut reflectance[start..start + n_pixels];
        for ((here, &there), &is_better) in
            plane.iter_mut().zip(from.plane(band, 0)).zip(&is_better)
        {
            if is_better {
                *here = there;
            }
        }
    }
}

/// What came of a batch: for each file, each of its blocks.
type Packed = Vec<Vec<std::result::Result<Bytes, Defect>>>;

/// Blocks of one file that are fetched and decoded together.
struct Job {
    look: usize,
    slot: Slot,
    pieces: Vec<Piece>,
}

/// One block, where its bytes are and where its pixels go.
struct Piece {
    range: Range<u64>,
    covered: Covered,
}

/// A block that could not be read.
struct Failed {
    look: usize,
    slot: Slot,
    block: Block,
    window: Window,
    defect: Defect,
}

/// Hands out the blocks that a window needs, a bounded number of bytes at a time, in the order of the looks.
struct Batches<'a> {
    scenes: &'a [Option<&'a Scene>],
    area: Footprint,
    quarantined: &'a [bool],
    /// The file whose blocks come next, and how many of them have been handed out.
    look: usize,
    file: usize,
    n_done: usize,
}

impl<'a> Batches<'a> {
    fn new(scenes: &'a [Option<&'a Scene>], area: Footprint, quarantined: &'a [bool]) -> Self {
        Self {
            scenes,
            area,
            quarantined,
            look: 0,
            file: 0,
            n_done: 0,
        }
    }

    /// The next blocks to fetch; those that cannot be fetched go to `failed`.
    fn next_batch(&mut self, failed: &mut Vec<Failed>) -> Option<Vec<Job>> {
        let (mut n_bytes, mut n_blocks) = (0, 0);
        let mut jobs: Vec<Job> = Vec::new();
        while self.look < self.scenes.len() {
            let Some(scene) = self.scenes[self.look].filter(|_| !self.quarantined[self.look])
            else {
                self.look += 1;
                continue;
            };
            if self.file == scene.bands.len() + 1 {
                (self.look, self.file) = (self.look + 1, 0);
                continue;
            }
            let slot = if self.file < scene.bands.len() {
                Slot::Band(self.file)
            } else {
                Slot::Classes
            };
            let Some(asset) = scene.get(slot) else {
                self.file += 1;
                continue;
            };
            let mut pieces = Vec::new();
            let mut is_full = false;
            for covered in asset
                .blocks_in(scene.footprint, self.area)
                .skip(self.n_done)
            {
                if n_blocks > 0 && (n_bytes >= BATCH_BYTES || n_blocks >= BATCH_BLOCKS) {
                    is_full = true;
                    break;
                }
                match asset.header.locate(covered.block) {
                    Ok(BlockBytes::Sparse) => {}
                    Ok(BlockBytes::At(range)) => {
                        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
                        if n_blocks > 0 && n_bytes + length > BATCH_BYTES {
                            is_full = true;
                            break;
                        }
                        n_bytes += length;
                        n_blocks += 1;
                        pieces.push(Piece { range, covered });
                    }
                    Err(defect) => failed.push(Failed {
                        look: self.look,
                        slot,
                        block: covered.block,
                        window: covered.window,
                        defect,
                    }),
                }
                self.n_done += 1;
            }
            if !pieces.is_empty() {
                jobs.push(Job {
                    look: self.look,
                    slot,
                    pieces,
                });
            }
            if is_full {
                return Some(jobs);
            }
            (self.file, self.n_done) = (self.file + 1, 0);
        }
        (!jobs.is_empty()).then_some(jobs)
    }
}

/// The planes of one look in a cube.
struct LookPlanes<'a> {
    /// By band.
    bands: Vec<&'a mut [i16]>,
    classes: &'a mut [u8],
    covered: Option<Window>,
    failed: Vec<Window>,
}

/// A plane while a task fills it.
enum Plane<'a> {
    Reflectance(&'a mut [i16]),
    Classes(&'a mut [u8]),
}

impl<'a> LookPlanes<'a> {
    fn lend(&mut self, slot: Slot) -> Plane<'a> {
        match slot {
            Slot::Band(band) => Plane::Reflectance(std::mem::take(&mut self.bands[band])),
            Slot::Classes => Plane::Classes(std::mem::take(&mut self.classes)),
        }
    }

    fn take_back(&mut self, slot: Slot, plane: Plane<'a>) {
        match (slot, plane) {
            (Slot::Band(band), Plane::Reflectance(plane)) => self.bands[band] = plane,
            (_, Plane::Classes(plane)) => self.classes = plane,
            (Slot::Classes, Plane::Reflectance(_)) => {}
        }
    }

    /// Brings the classes in line with the reflectance: no data where any band of the scene is missing, and then
    /// nothing at all under the blocks that could not be read.
    fn settle(&mut self, scene: &Scene, shape: Shape) {
        let Some(covered) = self.covered else {
            return;
        };
        for row in covered.row..covered.row + covered.height {
            let start = row * shape.width + covered.col;
            let pixels = start..start + covered.width;
            let classes = &mut self.classes[pixels.clone()];
            for (plane, asset) in self.bands.iter().zip(&scene.bands) {
                if asset.is_some() {
                    for (class, &reflectance) in classes.iter_mut().zip(&plane[pixels.clone()]) {
                        *class = if reflectance == MISSING_REFLECTANCE {
                            0
                        } else {
                            *class
                        };
                    }
                }
            }
        }
        for &window in &self.failed {
            fill(self.classes, shape, window, READ_FAILED);
            for plane in &mut self.bands {
                fill(plane, shape, window, MISSING_REFLECTANCE);
            }
        }
    }
}

/// Decodes a block into its file's plane.
fn decode_piece(
    asset: &Asset,
    piece: &Piece,
    packed: &[u8],
    plane: &mut Plane<'_>,
    width: usize,
) -> std::result::Result<(), Defect> {
    let (header, factor, calibration) = (&asset.header, asset.placing.factor, asset.calibration);
    let covered = piece.covered;
    match plane {
        Plane::Reflectance(plane) => {
            let convert =
                |numbers: &[i32], out: &mut [i16]| reflectance_row(calibration, numbers, out);
            block_into_plane(header, factor, packed, covered, plane, width, convert)
        }
        Plane::Classes(plane) => {
            let convert =
                |numbers: &[i32], out: &mut [u8]| class_row(calibration.nodata, numbers, out);
            block_into_plane(header, factor, packed, covered, plane, width, convert)
        }
    }
}

fn planes_by_look(cube: &mut Cube, n_looks: usize, n_bands: usize) -> Vec<LookPlanes<'_>> {
    let n_pixels = cube.geobox().shape().n_pixels().max(1);
    let (reflectance, classes) = cube.planes_mut();
    let mut looks: Vec<_> = classes
        .chunks_mut(n_pixels)
        .map(|classes| LookPlanes {
            bands: Vec::with_capacity(n_bands),
            classes,
            covered: None,
            failed: Vec::new(),
        })
        .collect();
    for (index, plane) in reflectance.chunks_mut(n_pixels).enumerate() {
        looks[index % n_looks].bands.push(plane);
    }
    looks
}

fn fill<T: Copy>(plane: &mut [T], shape: Shape, window: Window, value: T) {
    for row in window.row..window.row + window.height {
        let start = row * shape.width + window.col;
        plane[start..start + window.width].fill(value);
    }
}

fn nothing_to_read(mut skipped: Vec<SkippedScene>) -> Error {
    skipped.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
    Error::NothingToRead { skipped }
}
