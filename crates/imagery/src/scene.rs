//! A scene's files, opened and placed on the lattice.

use std::sync::Arc;

use futures::future::join_all;
use pitwatch_grid::{Band, Crs, GeoBox, Point, Shape, UtcTime, Window};

use crate::cog::{Block, Header};
use crate::decode::{Calibration, Covered, Placing};
use crate::error::{Defect, SkippedScene};
use crate::source::{Files, Place, SceneFiles, Source};

/// Digital numbers that no offset reaches; it keeps sums far from overflow.
const MAX_OFFSET: u32 = 1 << 20;
/// Share of a pixel by which a corner may miss the lattice: coordinates are written as decimal text.
const LATTICE_TOLERANCE: f64 = 0.01;

/// The files of a look.
#[derive(Debug)]
pub(crate) struct Scene {
    /// Where its finest raster lies, in lattice pixels.
    pub(crate) footprint: Footprint,
    /// By band, in the order of the reader's bands; `None` where the scene lacks one.
    pub(crate) bands: Vec<Option<Asset>>,
    pub(crate) classes: Asset,
}

/// A rectangle of lattice pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footprint {
    pub(crate) row: i64,
    pub(crate) col: i64,
    pub(crate) height: i64,
    pub(crate) width: i64,
}

/// One file.
#[derive(Debug)]
pub(crate) struct Asset {
    pub(crate) href: Box<str>,
    pub(crate) place: Place,
    pub(crate) header: Arc<Header>,
    pub(crate) placing: Placing,
    pub(crate) calibration: Calibration,
}

/// Which file of a scene: a band by its place, or the classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    Band(usize),
    Classes,
}

impl Scene {
    pub(crate) fn assets(&self) -> impl Iterator<Item = &Asset> {
        self.bands.iter().flatten().chain([&self.classes])
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Asset> {
        match slot {
            Slot::Band(band) => self.bands[band].as_ref(),
            Slot::Classes => Some(&self.classes),
        }
    }

    /// The file of a job, which exists because the job was made from it.
    pub(crate) fn asset(&self, slot: Slot) -> &Asset {
        self.get(slot).unwrap_or(&self.classes)
    }
}

impl Asset {
    /// The blocks that have pixels in an area, row by row, each with the part of the area it covers.
    ///
    /// - `footprint`: the scene's; a coarse file may reach a little beyond it, and what lies there was not acquired.
    pub(crate) fn blocks_in(
        &self,
        footprint: Footprint,
        area: Footprint,
    ) -> impl Iterator<Item = Covered> + use<'_> {
        let header = &self.header;
        let across = header.width.div_ceil(header.block_width);
        let down = header.height.div_ceil(header.block_height);
        let along = |first: i64, start: i64, length: i64, block: usize, n_blocks: usize| {
            let block = (block * self.placing.factor) as i64;
            let clamp = |lattice: i64| usize::try_from(lattice.max(0)).unwrap_or(0).min(n_blocks);
            clamp((start - first).div_euclid(block))
                ..clamp((start + length - first + block - 1).div_euclid(block))
        };
        let Placing { row, col, .. } = self.placing;
        let rows = along(row, area.row, area.height, header.block_height, down);
        let cols = along(col, area.col, area.width, header.block_width, across);
        rows.flat_map(move |row| cols.clone().map(move |col| Block { row, col }))
            .filter_map(move |block| self.covered(block, footprint, area))
    }

    /// The part of an area and a footprint that a block covers, without the block's padding.
    fn covered(&self, block: Block, footprint: Footprint, area: Footprint) -> Option<Covered> {
        let header = &self.header;
        let factor = self.placing.factor;
        let first_row = block.row * header.block_height;
        let first_col = block.col * header.block_width;
        let whole = Footprint {
            row: self.placing.row + (first_row * factor) as i64,
            col: self.placing.col + (first_col * factor) as i64,
            height: (header.block_height.min(header.height - first_row) * factor) as i64,
            width: (header.block_width.min(header.width - first_col) * factor) as i64,
        };
        let window = whole.intersection(footprint)?.window_in(area)?;
        let offset = |window: usize, area: i64, placing: i64| {
            usize::try_from(window as i64 + area - placing).ok()
        };
        Some(Covered {
            block,
            window,
            row: offset(window.row, area.row, self.placing.row)?,
            col: offset(window.col, area.col, self.placing.col)?,
        })
    }
}

impl Footprint {
    /// A geobox in pixels of a lattice that it is aligned with.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "coordinates are bounded when a file is opened"
    )]
    pub(crate) fn of(geobox: &GeoBox, lattice: &GeoBox) -> Self {
        let resolution = lattice.resolution_m();
        let Shape { height, width } = geobox.shape();
        Self {
            row: ((lattice.origin().y - geobox.origin().y) / resolution).round() as i64,
            col: ((geobox.origin().x - lattice.origin().x) / resolution).round() as i64,
            height: height as i64,
            width: width as i64,
        }
    }

    pub(crate) fn geobox(self, lattice: &GeoBox) -> GeoBox {
        let resolution = lattice.resolution_m();
        let length = |length: i64| usize::try_from(length).unwrap_or(0);
        let origin = Point {
            x: lattice.origin().x + self.col as f64 * resolution,
            y: lattice.origin().y - self.row as f64 * resolution,
        };
        let shape = Shape {
            height: length(self.height),
            width: length(self.width),
        };
        #[expect(clippy::expect_used, reason = "made of a valid one")]
        GeoBox::new(lattice.crs().clone(), origin, resolution, shape)
            .expect("a whole number of pixels from a valid origin is valid")
    }

    pub(crate) fn intersection(self, other: Self) -> Option<Self> {
        let (row, col) = (self.row.max(other.row), self.col.max(other.col));
        let height = (self.row + self.height).min(other.row + other.height) - row;
        let width = (self.col + self.width).min(other.col + other.width) - col;
        (height > 0 && width > 0).then_some(Self {
            row,
            col,
            height,
            width,
        })
    }

    /// The smallest rectangle that has both.
    pub(crate) fn union(self, other: Self) -> Self {
        let (row, col) = (self.row.min(other.row), self.col.min(other.col));
        Self {
            row,
            col,
            height: (self.row + self.height).max(other.row + other.height) - row,
            width: (self.col + self.width).max(other.col + other.width) - col,
        }
    }

    /// The part of an area that this covers, in the area's pixels.
    pub(crate) fn window_in(self, area: Self) -> Option<Window> {
        let common = self.intersection(area)?;
        Some(Window {
            row: usize::try_from(common.row - area.row).ok()?,
            col: usize::try_from(common.col - area.col).ok()?,
            height: usize::try_from(common.height).ok()?,
            width: usize::try_from(common.width).ok()?,
        })
    }
}

/// A scene whose headers are read, not yet placed on the lattice.
pub(crate) struct OpenedScene {
    pub(crate) id: String,
    pub(crate) time: UtcTime,
    pub(crate) pass: String,
    /// By the place of the band among those wanted; the classes last.
    pub(crate) files: Vec<(Slot, Source, Place, Header)>,
}

impl OpenedScene {
    /// The file with the smallest pixels; the first of several.
    fn finest(&self) -> Option<&(Slot, Source, Place, Header)> {
        let bands = self
            .files
            .iter()
            .filter(|(slot, ..)| *slot != Slot::Classes);
        bands.min_by(|a, b| a.3.resolution_m.total_cmp(&b.3.resolution_m))
    }

    pub(crate) fn lattice(&self) -> std::result::Result<GeoBox, String> {
        let Some((_, source, _, header)) = self.finest() else {
            return Err("it has none of the bands wanted".into());
        };
        let place = || {
            let crs = Crs::from_epsg(header.epsg)?;
            let shape = Shape {
                height: header.height,
                width: header.width,
            };
            GeoBox::new(crs, header.origin, header.resolution_m, shape)
        };
        place().map_err(|error| format!("{}: {error}", source.href))
    }

    /// The scene on a lattice, or why it does not lie on it.
    pub(crate) fn placed(
        self,
        lattice: &GeoBox,
        n_bands: usize,
    ) -> std::result::Result<Scene, String> {
        let own = self.lattice()?;
        let finest = self.finest().map(|(slot, ..)| *slot);
        let finest_href = self
            .finest()
            .map_or_else(String::new, |(_, source, ..)| source.href.clone());
        let mut footprint = None;
        let mut bands: Vec<Option<Asset>> = (0..n_bands).map(|_| None).collect();
        let mut classes = None;
        for (slot, source, place, header) in self.files {
            let placing =
                placing(&header, lattice).map_err(|reason| format!("{}: {reason}", source.href))?;
            if Some(slot) == finest {
                if placing.factor != 1 {
                    return Err(format!(
                        "{}: its finest pixels have {} m, and {} m are read",
                        source.href,
                        header.resolution_m,
                        lattice.resolution_m()
                    ));
                }
                footprint = Some(Footprint::of(&own, lattice));
            }
            let asset = Asset {
                href: source.href.into(),
                place,
                placing,
                calibration: Calibration {
                    offset: source.offset,
                    // The division of decimal fractions leaves 0.9999999; a factor that is 1 is 1.
                    #[expect(clippy::cast_possible_truncation, reason = "a small factor")]
                    factor: {
                        let factor = source.scale * 1e4;
                        if (factor - 1.0).abs() < 1e-6 {
                            1.0
                        } else {
                            factor as f32
                        }
                    },
                    nodata: header.nodata,
                },
                header: Arc::new(header),
            };
            match slot {
                Slot::Band(band) => bands[band] = Some(asset),
                Slot::Classes => classes = Some(asset),
            }
        }
        let (Some(footprint), Some(classes)) = (footprint, classes) else {
            return Err("it has no scene classification".into());
        };
        for asset in bands.iter().flatten().chain([&classes]) {
            let factor = asset.placing.factor;
            let own = Footprint {
                row: asset.placing.row,
                col: asset.placing.col,
                height: (asset.header.height * factor) as i64,
                width: (asset.header.width * factor) as i64,
            };
            if own.window_in(footprint).is_none() {
                return Err(format!(
                    "{}: it lies elsewhere than {finest_href}",
                    asset.href
                ));
            }
            // Where a side is no whole number of coarse pixels, a coarse file is cut a little shorter or longer.
            let margin = factor as i64;
            let is_near = |a: i64, b: i64| (a - b).abs() < margin.max(1);
            if !(is_near(own.row, footprint.row)
                && is_near(own.col, footprint.col)
                && is_near(own.row + own.height, footprint.row + footprint.height)
                && is_near(own.col + own.width, footprint.col + footprint.width))
            {
                return Err(format!(
                    "{}: it has another size than {finest_href}: {} by {} pixels of {} m",
                    asset.href, asset.header.width, asset.header.height, asset.header.resolution_m
                ));
            }
        }
        Ok(Scene {
            footprint,
            bands,
            classes,
        })
    }
}

/// Opens the files of a scene that are wanted.
pub(crate) async fn open_scene(
    files: &Files,
    scene: SceneFiles,
    bands: &[Band],
) -> std::result::Result<OpenedScene, SkippedScene> {
    let SceneFiles {
        id,
        time,
        pass,
        sources,
    } = scene;
    let mut wanted: Vec<(Slot, Source)> = Vec::new();
    for source in sources {
        let slot = match source.band {
            None => Some(Slot::Classes),
            Some(band) => bands
                .iter()
                .position(|&other| other == band)
                .map(Slot::Band),
        };
        if let Some(slot) = slot
            && wanted.iter().all(|(other, _)| *other != slot)
        {
            wanted.push((slot, source));
        }
    }
    wanted.sort_by_key(|(slot, _)| *slot);
    let skip = |reason: String| SkippedScene {
        id: id.clone(),
        time,
        reason,
    };
    if wanted.last().is_none_or(|(slot, _)| *slot != Slot::Classes) {
        return Err(skip("it has no scene classification".into()));
    }
    if wanted.len() == 1 {
        return Err(skip("it has none of the bands wanted".into()));
    }
    let opened = join_all(wanted.into_iter().map(|(slot, source)| async move {
        match open_source(files, &source).await {
            Ok((place, header)) => Ok((slot, source, place, header)),
            Err(defect) => Err(format!("{}: {defect}", source.href)),
        }
    }));
    let files = opened
        .await
        .into_iter()
        .collect::<std::result::Result<Vec<_>, _>>();
    match files {
        Ok(files) => Ok(OpenedScene {
            id,
            time,
            pass,
            files,
        }),
        Err(reason) => Err(skip(reason)),
    }
}

async fn open_source(
    files: &Files,
    source: &Source,
) -> std::result::Result<(Place, Header), Defect> {
    let place = files.place(&source.href)?;
    if !(source.scale.is_finite() && source.scale > 0.0)
        || source.offset.unsigned_abs() > MAX_OFFSET
    {
        return Err(Defect::Unsupported(format!(
            "its scale {} or offset {} is not sane",
            source.scale, source.offset
        )));
    }
    let header = Header::read(&place).await?;
    Ok((place, header))
}

/// The lattice that most scenes lie on; the earliest scene's of several. Scenes without one are taken out.
pub(crate) fn majority_lattice(
    scenes: &mut Vec<OpenedScene>,
    skipped: &mut Vec<SkippedScene>,
) -> Option<GeoBox> {
    let mut lattices: Vec<(GeoBox, usize)> = Vec::new();
    scenes.retain(|scene| match scene.lattice() {
        Ok(lattice) => {
            match lattices
                .iter_mut()
                .find(|(other, _)| other.is_aligned(&lattice))
            {
                Some((_, count)) => *count += 1,
                None => lattices.push((lattice, 1)),
            }
            true
        }
        Err(reason) => {
            skipped.push(SkippedScene {
                id: scene.id.clone(),
                time: scene.time,
                reason,
            });
            false
        }
    });
    let most = lattices.iter().map(|(_, count)| *count).max()?;
    lattices
        .into_iter()
        .find(|(_, count)| *count == most)
        .map(|(lattice, _)| lattice)
}

/// Where a raster lies on a lattice, or why it does not.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "coordinates and resolutions are bounded when a file is opened"
)]
fn placing(header: &Header, lattice: &GeoBox) -> std::result::Result<Placing, Defect> {
    let refuse = |reason: String| Err(Defect::Georeference(reason));
    if header.epsg != lattice.crs().epsg() {
        return refuse(format!(
            "it is in EPSG:{}, and {} is read",
            header.epsg,
            lattice.crs()
        ));
    }
    let resolution = lattice.resolution_m();
    let factor = header.resolution_m / resolution;
    let is_whole = |number: f64| (number - number.round()).abs() < LATTICE_TOLERANCE;
    // Pixels a little too large would drift off the lattice within a raster: their size has no tolerance to speak of.
    if (factor - factor.round()).abs() > 1e-9 || factor.round() < 1.0 || factor > 1e4 {
        return refuse(format!(
            "its pixels of {} m are no multiple of {resolution} m",
            header.resolution_m
        ));
    }
    let col = (header.origin.x - lattice.origin().x) / resolution;
    let row = (lattice.origin().y - header.origin.y) / resolution;
    if !is_whole(col) || !is_whole(row) {
        return refuse(format!(
            "its corner ({}, {}) does not lie on the lattice of the other scenes",
            header.origin.x, header.origin.y
        ));
    }
    Ok(Placing {
        row: row.round() as i64,
        col: col.round() as i64,
        factor: factor.round() as usize,
    })
}
