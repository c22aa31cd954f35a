use pitwatch_grid::{Band, Day, GeoBox, MISSING_REFLECTANCE, Window};
use pitwatch_scenes::OffsetCheck;
use rayon::prelude::*;
use serde::Deserialize;

use crate::error::Result;
use crate::read::Reader;

/// Side of a block of the sample, in pixels.
const BLOCK_PIXELS: usize = 64;
/// Blocks along either side of an area.
const BLOCKS_A_SIDE: usize = 3;
/// Every how many-th pixel of a block is kept in either direction, ...
const SPACING: usize = 4;
/// ... unless that leaves fewer pixels than these.
const FEWEST_PIXELS: usize = 500;
/// Reflectance of one unit of a cube.
const UNIT: f32 = 1e-4;
/// Days of a year.
const YEAR_DAYS: f32 = 365.2425;
/// How often the looks are compared, each time without those that the last comparison contradicted.
const PASSES: usize = 3;

/// A fixed sample of an area's pixels through time.
///
/// It rests on the area's geobox alone: cells, threads and memory do not change it. 600 looks in seven bands take
/// about 20 MB.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    days: Vec<Day>,
    bands: Vec<Band>,
    n_pixels: usize,
    /// `(band, time, pixel)`, as in a [`Cube`](pitwatch_grid::Cube).
    values: Vec<i16>,
    /// `(time, pixel)`.
    classes: Vec<u8>,
}

/// Reads the sample of an area: at most nine blocks of 64 × 64 pixels, evenly spread, of which every fourth pixel in
/// either direction is kept, or more of a small area.
///
/// - `area`: on the reader's lattice. Ground in its corners that is not to be watched tells of an offset as well.
///
/// One block is in memory at a time, beside the sample. What could not be read is left out without a word: reading
/// the area says it.
///
/// # Errors
///
/// If the area does not lie on the reader's lattice.
pub fn sample(reader: &Reader, area: &GeoBox) -> Result<Sample> {
    let blocks = blocks(area);
    let spacing = spacing(&blocks);
    let n_pixels = blocks.iter().map(|&block| n_kept(block, spacing)).sum();
    let n_looks = reader.looks().len();
    let mut sample = Sample {
        days: reader
            .looks()
            .iter()
            .map(|look| Day::of(look.time))
            .collect(),
        bands: reader.bands().to_vec(),
        n_pixels,
        values: vec![MISSING_REFLECTANCE; reader.bands().len() * n_looks * n_pixels],
        classes: vec![0; n_looks * n_pixels],
    };
    let none_quarantined = vec![false; n_looks];
    let mut first = 0;
    for block in blocks {
        let (cube, _) = reader.read(&area.window(block), &none_quarantined)?;
        let kept = first..first + n_kept(block, spacing);
        for look in 0..n_looks {
            let classes = &mut sample.classes[look * n_pixels..][kept.clone()];
            thin(cube.classes(look), block.width, spacing, classes);
            for band in 0..sample.bands.len() {
                let values = &mut sample.values[(band * n_looks + look) * n_pixels..][kept.clone()];
                thin(cube.plane(band, look), block.width, spacing, values);
            }
        }
        first = kept.end;
    }
    Ok(sample)
}

/// The numbers that move a verdict on an offset. None has a default.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OffsetCheckParams {
    /// What an offset that is wrong moves all bands by, unitless reflectance: 0.1, the 1000 digital numbers of
    /// `BOA_ADD_OFFSET` at 1e-4 each. Source: Sentinel-2 Products Specification Document, processing baseline 04.00.
    pub step: f32,
    /// How far a band's shift may lie from the step and still count as it, unitless reflectance; about what weather
    /// and season move a median by.
    pub step_tolerance: f32,
    /// The same for the near infrared bands, which the seasons of plants move most.
    pub step_tolerance_nir: f32,
    /// A shift of this or more, in any band but near infrared, keeps a look from agreeing; unitless reflectance.
    pub agreeing_shift: f32,
    /// Half width of the season in which looks of any year are compared, in days.
    pub season_days: f32,
    /// Fewest other clear looks of the season that a pixel must have to be compared. Looks.
    pub min_reference_looks: usize,
    /// Fewest compared pixels in each band, and fewest valid ones for the dark tail. Pixels.
    pub min_pixels: usize,
    /// Least share of a look's valid pixels that must be compared, 0 to 1: the few clear ones between clouds are
    /// often thinly clouded.
    pub min_clear_share: f32,
    /// Fewest bands that must be compared; with fewer, a season could pass for a step. Bands.
    pub min_bands: usize,
    /// Share of the valid pixels that is the dark tail, 0 to 1.
    pub tail_share: f32,
    /// Lowest dark tail that atmospheric correction makes of right pixels, unitless reflectance, slightly negative. A
    /// tail below it is that of an offset taken twice; one below it plus the step refutes that an offset is left in.
    pub lowest_tail: f32,
    /// A dark tail above this refutes that an offset was taken twice, unitless reflectance. Near zero, because the
    /// few right looks among many with the offset left in are darker by the step as well, and shade is nearly black.
    pub refuting_twice_tail: f32,
    /// Least excess of red over blue, in the dark tail, of bare ground; unitless reflectance. Shade, water and
    /// vegetation lie below it, and those are dark.
    pub bare_redness: f32,
}

impl OffsetCheckParams {
    /// Least dark tail of a look whose offset is left in, unitless reflectance.
    fn left_in_tail(&self) -> f32 {
        self.step + self.lowest_tail
    }
}

/// What the pixels of one look say of its offset.
#[derive(Debug, Clone, PartialEq)]
pub struct OffsetVerdict {
    /// Whether they fit it.
    pub check: OffsetCheck,
    /// Why, in a sentence, with the numbers.
    pub ground: String,
}

/// Compares each look with the other looks of its season, to find reflectance whose offset was left in or taken twice.
///
/// Two tests are made. The *step*: in each band the median, over the pixels that are clear (SCL 4 to 7), of the
/// reflectance minus the pixel's own reference, which is its median over the other looks of the season. A wrong
/// offset moves all bands by the same step; haze moves blue most, seasons move near infrared against red, fire and
/// water move infrared most. The *dark tail*: the reflectance below which 1 % of the valid pixels lie, of whatever
/// class, in blue or red, whichever is darker. With the offset left in, nothing is darker than about 0.1; with it
/// taken twice, dark ground is negative.
///
/// A look *contradicts* its offset if every band, a short-wave infrared one among them, moved by the step in one
/// direction and the dark tail does not refute it. It *agrees* if the bands moved little and the dark tail lies
/// between the bounds. Else it *cannot tell*.
///
/// Wrong looks do not serve as a reference if the dark tail gives them away (negative; or bright and, unlike bare
/// ground, not redder than blue) or once they are contradicted; among the rest they must be the minority of their
/// season. So dark ground allows most looks to be wrong. **Limits:** where even the darkest ground is bare, such a
/// majority passes for right: its looks, and the right ones, cannot tell. Looks that are all wrong cannot tell, because
/// they lack a reference. Looks of ground with no pixel darker than 0.09 cannot show that they were shifted twice. Looks
/// in thin cloud or cloud shadow that the classification missed cannot tell.
///
/// One verdict a look, in order of time; the same on any number of threads.
#[must_use]
pub fn check_offsets(sample: &Sample, params: &OffsetCheckParams) -> Vec<OffsetVerdict> {
    let tails: Vec<Option<DarkTail>> = (0..sample.days.len())
        .into_par_iter()
        .map(|look| dark_tail(sample, look, params))
        .collect();
    let mut is_reference: Vec<bool> = tails
        .iter()
        .map(|tail| tail.as_ref().is_some_and(|tail| tail.is_plausible(params)))
        .collect();
    let mut verdicts = Vec::new();
    for _ in 0..PASSES {
        let shifts = shifts(sample, &is_reference, params);
        verdicts = shifts
            .iter()
            .zip(&tails)
            .map(|(shift, tail)| judge(shift, *tail, params))
            .collect();
        let mut n_news = 0;
        for (is_reference, verdict) in is_reference.iter_mut().zip(&verdicts) {
            if *is_reference && verdict.check == OffsetCheck::Contradicts {
                *is_reference = false;
                n_news += 1;
            }
        }
        if n_news == 0 {
            break;
        }
    }
    verdicts
}

/// How dark the darkest valid pixels of a look are, unitless reflectance.
#[derive(Debug, Clone, Copy, PartialEq)]
struct DarkTail {
    /// The darker of blue and red.
    level: f32,
    /// Red minus blue; `None` if one is missing.
    redness: Option<f32>,
    /// Valid pixels, in the band that has more.
    n_valid: usize,
}

impl DarkTail {
    /// False if the tail alone makes a wrong offset likely. Haze and snow look alike; they serve no reference either.
    fn is_plausible(self, params: &OffsetCheckParams) -> bool {
        let is_bare = self
            .redness
            .is_some_and(|redness| redness >= params.bare_redness);
        let may_be_left_in = self.level >= params.left_in_tail() && !is_bare;
        self.level >= params.lowest_tail && !may_be_left_in
    }
}

/// How one look lies to the other looks of its season.
#[derive(Debug, Clone, PartialEq)]
struct Shift {
    /// Bands that could be compared, with the median shift of their pixels, unitless reflectance.
    bands: Vec<(Band, f32)>,
    /// Pixels compared, in the band that has fewest.
    n_pixels: usize,
    /// Looks that could serve as a reference.
    n_looks: usize,
}

fn judge(shift: &Shift, tail: Option<DarkTail>, params: &OffsetCheckParams) -> OffsetVerdict {
    let cannot_tell = |ground| OffsetVerdict {
        check: OffsetCheck::CannotTell,
        ground,
    };
    let Some(tail) = tail else {
        return cannot_tell(format!(
            "fewer than {} valid pixels in blue or red",
            params.min_pixels
        ));
    };
    let tail_percent = params.tail_share * 100.0;
    let tail_text = format!("the darkest {tail_percent} % lie below {:+.3}", tail.level);
    if shift.bands.len() < params.min_bands {
        return cannot_tell(format!(
            "fewer than {} clear pixels, or pixels with {} clear looks of the season to compare with, of {} looks; {tail_text}",
            params.min_pixels, params.min_reference_looks, shift.n_looks
        ));
    }
    if (shift.n_pixels as f32) < params.min_clear_share * tail.n_valid as f32 {
        return cannot_tell(format!(
            "only {} of {} valid pixels are clear and can be compared; {tail_text}",
            shift.n_pixels, tail.n_valid
        ));
    }
    let tail = tail.level;
    let is_infrared = |band| matches!(band, Band::Nir | Band::Nir08);
    let is_step = |sign: f32| {
        shift.bands.iter().all(|&(band, shift)| {
            let tolerance = if is_infrared(band) {
                params.step_tolerance_nir
            } else {
                params.step_tolerance
            };
            (shift * sign - params.step).abs() <= tolerance
        })
    };
    let has_moved = shift
        .bands
        .iter()
        .any(|&(band, shift)| !is_infrared(band) && shift.abs() >= params.agreeing_shift);

    let has_short_wave = shift
        .bands
        .iter()
        .any(|(band, _)| matches!(band, Band::Swir16 | Band::Swir22));
    let (check, why) = if !has_short_wave && (is_step(1.0) || is_step(-1.0)) {
        let why = "all bands moved by the step, but thin cloud does so too where short-wave infrared is missing";
        (OffsetCheck::CannotTell, why)
    } else if is_step(1.0) {
        if tail < params.left_in_tail() {
            let why =
                "all bands are brighter by the step, but dark pixels refute an offset left in";
            (OffsetCheck::CannotTell, why)
        } else {
            let why = "all bands are brighter by the step: the offset was left in";
            (OffsetCheck::Contradicts, why)
        }
    } else if is_step(-1.0) {
        if tail > params.refuting_twice_tail {
            let why = "all bands are darker by the step, but no pixel is dark enough for an offset taken twice";
            (OffsetCheck::CannotTell, why)
        } else {
            let why = "all bands are darker by the step: the offset was taken twice";
            (OffsetCheck::Contradicts, why)
        }
    } else if has_moved {
        let why = "the bands moved, but not all by the step";
        (OffsetCheck::CannotTell, why)
    } else if tail < params.lowest_tail {
        let why = "the bands hardly moved, but the dark pixels are negative";
        (OffsetCheck::CannotTell, why)
    } else if tail >= params.left_in_tail() {
        let why =
            "the bands hardly moved, but without dark pixels all looks could be shifted alike";
        (OffsetCheck::CannotTell, why)
    } else {
        let why = "the bands hardly moved and the dark pixels are dark";
        (OffsetCheck::Agrees, why)
    };
    let bands: Vec<String> = shift
        .bands
        .iter()
        .map(|(band, shift)| format!("{band} {shift:+.3}"))
        .collect();
    OffsetVerdict {
        check,
        ground: format!(
            "{why} ({} in {} clear pixels against {} looks of the season; {tail_text})",
            bands.join(", "),
            shift.n_pixels,
            shift.n_looks
        ),
    }
}

/// The dark tail of a look; `None` if it has too few valid pixels in blue and in red.
fn dark_tail(sample: &Sample, look: usize, params: &OffsetCheckParams) -> Option<DarkTail> {
    let tail_of = |wanted: Band| {
        let band = sample.bands.iter().position(|&band| band == wanted)?;
        let valid = sample.values(band, look).iter().zip(sample.classes(look));
        let mut values: Vec<i16> = valid
            .filter(|&(&value, &class)| value != MISSING_REFLECTANCE && class != NO_DATA)
            .map(|(&value, _)| value)
            .collect();
        if values.is_empty() || values.len() < params.min_pixels {
            return None;
        }
        let place = (values.len() as f32 * params.tail_share) as usize;
        let place = place.min(values.len() - 1);
        let n_valid = values.len();
        let level = f32::from(*values.select_nth_unstable(place).1) * UNIT;
        Some((level, n_valid))
    };
    match (tail_of(Band::Blue), tail_of(Band::Red)) {
        (Some((blue, n_blue)), Some((red, n_red))) => Some(DarkTail {
            level: blue.min(red),
            redness: Some(red - blue),
            n_valid: n_blue.max(n_red),
        }),
        (one, other) => one.or(other).map(|(level, n_valid)| DarkTail {
            level,
            redness: None,
            n_valid,
        }),
    }
}

/// The shift of every look against those that may serve as a reference.
fn shifts(sample: &Sample, is_reference: &[bool], params: &OffsetCheckParams) -> Vec<Shift> {
    let n_looks = sample.days.len();
    let references: Vec<Vec<usize>> = (0..n_looks)
        .map(|look| {
            let is_other = |&other: &usize| {
                other != look
                    && is_reference[other]
                    && season_distance(sample.days[look], sample.days[other]) <= params.season_days
            };
            (0..n_looks).filter(is_other).collect()
        })
        .collect();
    let mut shifts: Vec<Shift> = references
        .iter()
        .map(|references| Shift {
            bands: Vec::new(),
            n_pixels: usize::MAX,
            n_looks: references.len(),
        })
        .collect();

    // One band at a time, so that little is held beside the sample.
    let mut of_pixels = vec![MISSING_REFLECTANCE; sample.n_pixels * n_looks];
    for (band_index, &band) in sample.bands.iter().enumerate() {
        of_pixels
            .par_chunks_mut(n_looks.max(1))
            .enumerate()
            .for_each_init(
                || (Vec::new(), Vec::new()),
                |(series, scratch), (pixel, out)| {
                    series.clear();
                    series.extend((0..n_looks).map(|look| sample.clear(band_index, look, pixel)));
                    shift_pixel(
                        series,
                        &references,
                        params.min_reference_looks,
                        scratch,
                        out,
                    );
                },
            );
        let of_looks: Vec<Option<(f32, usize)>> = (0..n_looks)
            .into_par_iter()
            .map(|look| {
                let all = of_pixels.iter().skip(look).step_by(n_looks);
                let mut compared: Vec<i16> = all
                    .copied()
                    .filter(|&shift| shift != MISSING_REFLECTANCE)
                    .collect();
                (!compared.is_empty() && compared.len() >= params.min_pixels)
                    .then(|| (median(&mut compared) * UNIT, compared.len()))
            })
            .collect();
        for (shift, of_look) in shifts.iter_mut().zip(of_looks) {
            if let Some((of_band, n_pixels)) = of_look {
                shift.bands.push((band, of_band));
                shift.n_pixels = shift.n_pixels.min(n_pixels);
            }
        }
    }
    shifts
}

/// Writes to `out` how far one pixel lies, at each look, from its median over that look's references.
///
/// - `series`: reflectance × 10,000, one a look; [`MISSING_REFLECTANCE`] where it is not clear.
/// - `references`: for each look the places of its references in `series`.
/// - `out`: reflectance × 10,000, as long as `series`; every element is written, [`MISSING_REFLECTANCE`] where the
///   look is not clear or fewer than `min_reference_looks` of its references are.
fn shift_pixel(
    series: &[i16],
    references: &[Vec<usize>],
    min_reference_looks: usize,
    scratch: &mut Vec<i16>,
    out: &mut [i16],
) {
    for ((&value, references), out) in series.iter().zip(references).zip(out) {
        *out = MISSING_REFLECTANCE;
        if value == MISSING_REFLECTANCE {
            continue;
        }
        scratch.clear();
        let values = references.iter().map(|&look| series[look]);
        scratch.extend(values.filter(|&value| value != MISSING_REFLECTANCE));
        if !scratch.is_empty() && scratch.len() >= min_reference_looks {
            let shift = f32::from(value) - median(scratch);
            // A cast from a float saturates; the lowest number means missing.
            *out = (shift.round() as i16).max(-i16::MAX);
        }
    }
}

/// The median, the middle of the two halves for an even count; reorders its input.
///
/// # Panics
///
/// If `values` is empty.
fn median(values: &mut [i16]) -> f32 {
    let half = values.len() / 2;
    let is_odd = values.len() % 2 == 1;
    let (below, &mut upper, _) = values.select_nth_unstable(half);
    match below.iter().max() {
        Some(&lower) if !is_odd => f32::midpoint(f32::from(lower), f32::from(upper)),
        _ => f32::from(upper),
    }
}

/// Days between two days of the year, whatever the years.
fn season_distance(one: Day, other: Day) -> f32 {
    let apart = (one.0 - other.0).unsigned_abs() as f32 % YEAR_DAYS;
    apart.min(YEAR_DAYS - apart)
}

/// Code of the scene classification for no data.
const NO_DATA: u8 = 0;

impl Sample {
    fn values(&self, band: usize, look: usize) -> &[i16] {
        let start = (band * self.days.len() + look) * self.n_pixels;
        &self.values[start..start + self.n_pixels]
    }

    fn classes(&self, look: usize) -> &[u8] {
        &self.classes[look * self.n_pixels..(look + 1) * self.n_pixels]
    }

    /// The reflectance of a pixel if it is clear: vegetation, bare, water or unclassified (SCL 4 to 7).
    fn clear(&self, band: usize, look: usize, pixel: usize) -> i16 {
        if (4..=7).contains(&self.classes(look)[pixel]) {
            self.values(band, look)[pixel]
        } else {
            MISSING_REFLECTANCE
        }
    }
}

/// The blocks of an area's sample, row by row.
fn blocks(area: &GeoBox) -> Vec<Window> {
    let shape = area.shape();
    let mut blocks = Vec::new();
    for (row, height) in cuts(shape.height) {
        for (col, width) in cuts(shape.width) {
            blocks.push(Window {
                row,
                col,
                height,
                width,
            });
        }
    }
    blocks
}

/// Where the blocks along one side of an area start and how long they are, in pixels.
fn cuts(length: usize) -> Vec<(usize, usize)> {
    let n_blocks = length.div_ceil(BLOCK_PIXELS).min(BLOCKS_A_SIDE);
    (0..n_blocks)
        .map(|block| {
            let start = block * length / n_blocks;
            let share = (block + 1) * length / n_blocks - start;
            let kept = share.min(BLOCK_PIXELS);
            (start + (share - kept) / 2, kept)
        })
        .collect()
}

/// Every how many-th pixel of these blocks is kept.
fn spacing(blocks: &[Window]) -> usize {
    let suffices = |&spacing: &usize| {
        let n_pixels: usize = blocks.iter().map(|&block| n_kept(block, spacing)).sum();
        n_pixels >= FEWEST_PIXELS
    };
    (2..=SPACING).rev().find(suffices).unwrap_or(1)
}

fn n_kept(block: Window, spacing: usize) -> usize {
    block.height.div_ceil(spacing) * block.width.div_ceil(spacing)
}

/// Keeps every `spacing`-th pixel of every `spacing`-th row.
fn thin<T: Copy>(plane: &[T], width: usize, spacing: usize, out: &mut [T]) {
    let rows = plane.chunks(width).step_by(spacing);
    let kept = rows.flat_map(|row| row.iter().step_by(spacing));
    for (out, &value) in out.iter_mut().zip(kept) {
        *out = value;
    }
}

#[cfg(test)]
mod tests {
    use pitwatch_grid::{Crs, Point, Shape, parse_time};

    use crate::{PixelType, RasterSpec, RasterWriter, SceneFiles, Source};

    use super::*;

    const PARAMS: OffsetCheckParams = OffsetCheckParams {
        step: 0.1,
        step_tolerance: 0.04,
        step_tolerance_nir: 0.07,
        agreeing_shift: 0.05,
        season_days: 45.0,
        min_reference_looks: 5,
        min_pixels: 50,
        min_clear_share: 0.15,
        min_bands: 3,
        tail_share: 0.01,
        lowest_tail: -0.03,
        refuting_twice_tail: -0.01,
        bare_redness: 0.02,
    };
    const BANDS: [Band; 6] = [
        Band::Blue,
        Band::Green,
        Band::Red,
        Band::Nir,
        Band::Swir16,
        Band::Swir22,
    ];
    const N_PIXELS: usize = 500;
    const YEARS: i32 = 4;
    const LOOKS_A_YEAR: i32 = 50;
    const STEP: i16 = 1_000;

    /// Reflectance × 10,000 in the order of [`BANDS`], in the green and in the dormant season.
    #[derive(Clone, Copy)]
    struct Cover {
        green: [f32; 6],
        dormant: [f32; 6],
    }

    const FOREST: Cover = Cover {
        green: [200.0, 400.0, 220.0, 3_500.0, 1_500.0, 700.0],
        dormant: [300.0, 500.0, 500.0, 2_000.0, 1_800.0, 1_000.0],
    };
    const SAVANNA: Cover = Cover {
        green: [450.0, 750.0, 600.0, 2_800.0, 2_200.0, 1_300.0],
        dormant: [700.0, 1_100.0, 1_500.0, 2_500.0, 3_500.0, 2_800.0],
    };
    const WATER: Cover = Cover {
        green: [500.0, 700.0, 500.0, 200.0, 60.0, 40.0],
        dormant: [700.0, 900.0, 900.0, 400.0, 80.0, 50.0],
    };
    const DESERT: Cover = Cover {
        green: [1_300.0, 2_000.0, 2_800.0, 3_500.0, 4_500.0, 4_200.0],
        dormant: [1_300.0, 2_000.0, 2_800.0, 3_500.0, 4_500.0, 4_200.0],
    };
    const SNOW: [f32; 6] = [7_000.0, 6_900.0, 6_800.0, 6_000.0, 1_000.0, 800.0];

    /// A seeded stream of numbers in 0 to 1 (Knuth's 64-bit linear congruence).
    struct Noise(u64);

    impl Noise {
        fn next(&mut self) -> f32 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 40) as f32 / (1_u32 << 24) as f32
        }

        /// About normal, with a standard deviation of 1.
        fn normal(&mut self) -> f32 {
            (0..12).map(|_| self.next()).sum::<f32>() - 6.0
        }
    }

    /// A right series: seasons, noise, clouds and their shadows, some of them missed by the classification.
    fn series(seed: u64, covers: &[Cover], has_snow: bool) -> Sample {
        let mut noise = Noise(seed);
        let n_looks = (YEARS * LOOKS_A_YEAR) as usize;
        let days: Vec<Day> = (0..YEARS * LOOKS_A_YEAR)
            .map(|look| Day(17_167 + look * 365 / LOOKS_A_YEAR))
            .collect();
        let tone: Vec<f32> = (0..N_PIXELS).map(|_| 0.8 + 0.4 * noise.next()).collect();
        let mut sample = Sample {
            bands: BANDS.to_vec(),
            n_pixels: N_PIXELS,
            values: vec![MISSING_REFLECTANCE; BANDS.len() * n_looks * N_PIXELS],
            classes: vec![0; n_looks * N_PIXELS],
            days,
        };
        for look in 0..n_looks {
            let season = sample.days[look].season_angle();
            let greenness = (0.5 - 0.5 * season.cos()) as f32;
            let is_snowy = has_snow && greenness < 0.15;
            let cloudy = if noise.next() < 0.3 {
                1.0
            } else {
                noise.next()
            };
            let weather = 1.0 + 0.03 * noise.normal();
            for pixel in 0..N_PIXELS {
                let cover = covers[pixel % covers.len()];
                let sky = noise.next();
                let (class, light, haze) = if sky < 0.8 * cloudy {
                    let missed = noise.next() < 0.03;
                    (if missed { 4 } else { 9 }, 1.0, 3_000.0)
                } else if sky < cloudy {
                    let missed = noise.next() < 0.03;
                    (if missed { 4 } else { 3 }, 0.4, 0.0)
                } else if is_snowy {
                    (if noise.next() < 0.2 { 4 } else { 11 }, 1.0, 0.0)
                } else {
                    (4, 1.0, 0.0)
                };
                sample.classes[look * N_PIXELS + pixel] = class;
                for (band, &snow) in SNOW.iter().enumerate() {
                    let ground = if is_snowy {
                        snow
                    } else {
                        cover.green[band] * greenness + cover.dormant[band] * (1.0 - greenness)
                    };
                    let value = ground * tone[pixel] * weather * light + haze;
                    let value = value * (1.0 + 0.04 * noise.normal()) + 40.0 * noise.normal();
                    sample.values[(band * n_looks + look) * N_PIXELS + pixel] = value as i16;
                }
            }
        }
        sample
    }

    fn forest() -> Sample {
        series(1, &[FOREST], false)
    }

    /// Changes every pixel of a look: band, value, new value.
    fn change(sample: &mut Sample, look: usize, new: impl Fn(usize, i16) -> i16) {
        let n_looks = sample.days.len();
        for band in 0..sample.bands.len() {
            let start = (band * n_looks + look) * sample.n_pixels;
            for value in &mut sample.values[start..start + sample.n_pixels] {
                *value = new(band, *value);
            }
        }
    }

    fn shift(sample: &mut Sample, look: usize, by: i16) {
        change(sample, look, |_, value| value + by);
    }

    fn n_clear(sample: &Sample, look: usize) -> usize {
        let classes = sample.classes(look).iter();
        classes.filter(|&&class| class == 4).count()
    }

    fn checks(sample: &Sample) -> Vec<OffsetCheck> {
        let verdicts = check_offsets(sample, &PARAMS);
        verdicts.iter().map(|verdict| verdict.check).collect()
    }

    fn count(checks: &[OffsetCheck], check: OffsetCheck) -> usize {
        checks.iter().filter(|&&other| other == check).count()
    }

    /// A look of the growing season without clouds.
    fn clear_look(sample: &Sample) -> usize {
        let summer = |&look: &usize| (150..240).contains(&sample.days[look].ordinal());
        let looks = (0..sample.days.len()).filter(summer);
        looks.max_by_key(|&look| n_clear(sample, look)).unwrap()
    }

    fn climates() -> Vec<(&'static str, Sample)> {
        vec![
            ("forest", forest()),
            ("dry savanna", series(2, &[SAVANNA], false)),
            ("water-rich", series(3, &[SAVANNA, WATER, FOREST], false)),
            ("snow in winter", series(4, &[FOREST], true)),
        ]
    }

    #[test]
    fn a_right_series_is_never_contradicted() {
        for (climate, sample) in climates() {
            let verdicts = check_offsets(&sample, &PARAMS);
            let checks: Vec<_> = verdicts.iter().map(|verdict| verdict.check).collect();
            assert_eq!(count(&checks, OffsetCheck::Contradicts), 0, "{climate}");
            let mut n_clear_looks = 0;
            let mut n_agreeing = 0;
            for (look, verdict) in verdicts.iter().enumerate() {
                if n_clear(&sample, look) > N_PIXELS / 3 {
                    n_clear_looks += 1;
                    n_agreeing += usize::from(verdict.check == OffsetCheck::Agrees);
                }
            }
            // Dry seasons are bright: there the rest cannot tell.
            let fewest = if climate == "dry savanna" { 0.6 } else { 0.9 };
            let share = n_agreeing as f32 / n_clear_looks as f32;
            assert!(
                share >= fewest,
                "{climate}: {n_agreeing} of {n_clear_looks}"
            );
        }
    }

    #[test]
    fn one_wrong_scene_is_found_in_any_climate() {
        for (climate, right) in climates() {
            for (by, word) in [(STEP, "left in"), (-STEP, "twice")] {
                let mut sample = right.clone();
                let look = clear_look(&sample);
                shift(&mut sample, look, by);
                let verdicts = check_offsets(&sample, &PARAMS);
                let verdict = &verdicts[look];
                assert_eq!(
                    verdict.check,
                    OffsetCheck::Contradicts,
                    "{climate}: {verdict:?}"
                );
                assert!(verdict.ground.contains(word), "{climate}: {verdict:?}");
                let checks: Vec<_> = verdicts.iter().map(|verdict| verdict.check).collect();
                assert_eq!(count(&checks, OffsetCheck::Contradicts), 1, "{climate}");
            }
        }
    }

    /// Shifts the chosen looks; all of them with enough clear pixels, and no others, must be contradicted.
    fn all_are_found(mut sample: Sample, by: i16, is_chosen: impl Fn(usize) -> bool) {
        let n_looks = sample.days.len();
        for look in (0..n_looks).filter(|&look| is_chosen(look)) {
            shift(&mut sample, look, by);
        }
        for (look, verdict) in check_offsets(&sample, &PARAMS).iter().enumerate() {
            let is_found = verdict.check == OffsetCheck::Contradicts;
            if !is_chosen(look) || n_clear(&sample, look) > N_PIXELS / 3 {
                assert_eq!(
                    is_found,
                    is_chosen(look),
                    "look {look} by {by}: {verdict:?}"
                );
            }
        }
    }

    #[test]
    fn a_third_of_the_scenes_may_be_wrong() {
        for (_, sample) in climates() {
            for by in [STEP, -STEP] {
                all_are_found(sample.clone(), by, |look| look % 3 == 0);
            }
        }
    }

    #[test]
    fn a_run_of_wrong_scenes_after_a_date_is_found() {
        for (_, sample) in climates() {
            for by in [STEP, -STEP] {
                all_are_found(sample.clone(), by, |look| look >= 140);
            }
        }
    }

    #[test]
    fn on_dark_ground_most_scenes_may_be_wrong() {
        for by in [STEP, -STEP] {
            all_are_found(forest(), by, |look| look % 5 < 3);
            all_are_found(forest(), by, |look| look >= 95);
        }
    }

    #[test]
    fn a_wrong_majority_on_bare_ground_makes_no_right_scene_wrong() {
        for by in [STEP, -STEP] {
            let mut sample = series(5, &[SAVANNA, DESERT], false);
            for look in (0..sample.days.len()).filter(|look| look % 4 != 0) {
                shift(&mut sample, look, by);
            }
            let checks = checks(&sample);
            let right = checks.iter().step_by(4).copied().collect::<Vec<_>>();
            assert_eq!(count(&right, OffsetCheck::Contradicts), 0, "by {by}");
        }
    }

    #[test]
    fn a_series_that_is_wrong_throughout_cannot_tell() {
        for by in [STEP, -STEP] {
            let mut sample = forest();
            for look in 0..sample.days.len() {
                shift(&mut sample, look, by);
            }
            let checks = checks(&sample);
            assert_eq!(count(&checks, OffsetCheck::CannotTell), checks.len());
        }
    }

    #[test]
    fn ground_without_dark_pixels_is_not_taken_for_an_offset() {
        let checks = checks(&series(6, &[DESERT], false));
        assert_eq!(count(&checks, OffsetCheck::Contradicts), 0);
    }

    #[test]
    fn haze_is_not_an_offset() {
        // Aerosol scatters blue most and hardly reaches short-wave infrared.
        for strength in [0.5, 1.0, 2.0] {
            let haze = [600.0, 450.0, 300.0, 120.0, 40.0, 20.0].map(|haze| haze * strength);
            for (climate, mut sample) in climates() {
                let look = clear_look(&sample);
                change(&mut sample, look, |band, value| value + haze[band] as i16);
                let check = checks(&sample)[look];
                assert_ne!(check, OffsetCheck::Contradicts, "{climate}, {strength}");
            }
        }
    }

    #[test]
    fn burnt_wet_or_snowy_ground_is_not_an_offset() {
        let burnt = [300.0, 350.0, 400.0, 900.0, 1_600.0, 1_500.0];
        let bare = [900.0, 1_400.0, 2_000.0, 2_800.0, 3_600.0, 3_000.0];
        let flooded = [600.0, 800.0, 900.0, 500.0, 100.0, 60.0];
        for (climate, right) in climates() {
            for cover in [burnt, bare, flooded, SNOW] {
                let mut sample = right.clone();
                let look = clear_look(&sample);
                change(&mut sample, look, |band, value| {
                    cover[band] as i16 + value / 10
                });
                let check = checks(&sample)[look];
                assert_ne!(check, OffsetCheck::Contradicts, "{climate}");
            }
        }
    }

    #[test]
    fn dark_pixels_refute_a_step_up() {
        let mut sample = forest();
        let look = clear_look(&sample);
        change(&mut sample, look, |_, value| value + STEP);
        let start = N_PIXELS * look;
        let n_looks = sample.days.len();
        for band in 0..BANDS.len() {
            sample.values[band * n_looks * N_PIXELS + start..][..N_PIXELS / 20].fill(200);
        }
        let verdict = &check_offsets(&sample, &PARAMS)[look];
        assert_eq!(verdict.check, OffsetCheck::CannotTell);
        assert!(verdict.ground.contains("refute"), "{verdict:?}");
    }

    #[test]
    fn thin_cloud_is_not_an_offset_though_short_wave_infrared_is_missing() {
        let mut sample = forest();
        let look = clear_look(&sample);
        let per_band = sample.days.len() * N_PIXELS;
        sample.values.truncate(4 * per_band);
        sample.bands.truncate(4);
        shift(&mut sample, look, STEP);
        let verdict = &check_offsets(&sample, &PARAMS)[look];
        assert_eq!(verdict.check, OffsetCheck::CannotTell);
        assert!(verdict.ground.contains("short-wave"), "{verdict:?}");
    }

    #[test]
    fn a_gap_in_the_clouds_cannot_tell() {
        let mut sample = forest();
        let look = clear_look(&sample);
        sample.classes[look * N_PIXELS..(look + 1) * N_PIXELS - 70].fill(9);
        shift(&mut sample, look, STEP);
        assert_eq!(checks(&sample)[look], OffsetCheck::CannotTell);
    }

    #[test]
    fn a_cloudy_look_cannot_tell() {
        let mut sample = forest();
        let look = clear_look(&sample);
        sample.classes[look * N_PIXELS..(look + 1) * N_PIXELS].fill(9);
        shift(&mut sample, look, STEP);
        assert_eq!(checks(&sample)[look], OffsetCheck::CannotTell);
    }

    #[test]
    fn too_few_looks_cannot_tell() {
        let whole = forest();
        let n_looks = PARAMS.min_reference_looks;
        let n_all = whole.days.len();
        let mut few = Sample {
            days: whole.days[..n_looks].to_vec(),
            bands: BANDS.to_vec(),
            n_pixels: N_PIXELS,
            values: Vec::new(),
            classes: whole.classes[..n_looks * N_PIXELS].to_vec(),
        };
        for band in 0..BANDS.len() {
            let start = band * n_all * N_PIXELS;
            let looks = &whole.values[start..start + n_looks * N_PIXELS];
            few.values.extend_from_slice(looks);
        }
        shift(&mut few, 2, STEP);
        assert_eq!(checks(&few), vec![OffsetCheck::CannotTell; n_looks]);
        let none = Sample {
            days: Vec::new(),
            values: Vec::new(),
            classes: Vec::new(),
            ..few
        };
        assert!(checks(&none).is_empty());
    }

    #[test]
    fn the_ground_tells_the_numbers() {
        let mut sample = forest();
        let look = clear_look(&sample);
        shift(&mut sample, look, STEP);
        let verdict = &check_offsets(&sample, &PARAMS)[look];
        for part in [
            "blue +0.",
            "swir22 +0.",
            "clear pixels",
            "looks of the season",
            "darkest 1 %",
        ] {
            assert!(verdict.ground.contains(part), "{verdict:?}");
        }
    }

    #[test]
    fn the_season_runs_over_new_year() {
        let day = |text: &str| text.parse::<Day>().unwrap();
        let distance = |one, other| season_distance(day(one), day(other));
        assert!((distance("2019-12-30", "2022-01-02") - 3.0).abs() < 1.0);
        assert!((distance("2019-06-01", "2015-06-01")).abs() < 1.0);
        assert!(distance("2019-01-01", "2019-07-02") > 181.0);
    }

    #[test]
    fn an_even_median_lies_in_the_middle() {
        assert!((median(&mut [5, 1, 3]) - 3.0).abs() < f32::EPSILON);
        assert!((median(&mut [4, 1, 3, 2]) - 2.5).abs() < f32::EPSILON);
        assert!((median(&mut [7]) - 7.0).abs() < f32::EPSILON);
    }

    fn area(height: usize, width: usize) -> GeoBox {
        let origin = Point {
            x: 205_000.0,
            y: 985_000.0,
        };
        let shape = Shape { height, width };
        GeoBox::new(Crs::from_epsg(32630).unwrap(), origin, 10.0, shape).unwrap()
    }

    #[test]
    fn the_sample_is_spread_over_the_area_and_bounded() {
        for (height, width, n_blocks, n_expected) in [
            (5_000, 3_000, 9, 9 * 256),
            (192, 192, 9, 9 * 256),
            (100, 100, 4, 676),
            (64, 64, 1, 1_024),
            (20, 20, 1, 400),
            (1, 5_000, 3, 192),
        ] {
            let blocks = blocks(&area(height, width));
            let spacing = spacing(&blocks);
            let n_pixels: usize = blocks.iter().map(|&block| n_kept(block, spacing)).sum();
            let label = format!("{height} × {width}");
            assert_eq!((blocks.len(), n_pixels), (n_blocks, n_expected), "{label}");
            for (index, block) in blocks.iter().enumerate() {
                assert!(block.row + block.height <= height && block.col + block.width <= width);
                let later = &blocks[index + 1..];
                assert!(
                    later
                        .iter()
                        .all(|other| block.intersection(*other).is_none())
                );
            }
        }
        assert_eq!(cuts(900), [(118, 64), (418, 64), (718, 64)]);
    }

    #[test]
    fn the_sample_holds_the_pixels_of_the_area() {
        let folder = tempfile::tempdir().unwrap();
        let (height, width) = (70, 300);
        let geobox = area(height, width);
        let mut sources = Vec::new();
        for (name, band) in [("B04.tif", Some(Band::Red)), ("SCL.tif", None)] {
            let path = folder.path().join(name);
            let spec = RasterSpec::new(geobox.clone(), PixelType::U16, 1);
            let mut raster = RasterWriter::create(&path, spec).unwrap();
            let pixels: Vec<u16> = (0..height * width)
                .map(|pixel| match band {
                    Some(_) => 1 + pixel as u16,
                    None => 4,
                })
                .collect();
            raster.write(0, geobox.full_window(), &pixels).unwrap();
            raster.finish().unwrap();
            sources.push(Source {
                href: path.display().to_string(),
                band,
                offset: 0,
                scale: 1e-4,
            });
        }
        let scene = SceneFiles {
            id: "S2A_30PTR_20200219".into(),
            time: parse_time("2020-02-19T10:48:29Z").unwrap(),
            pass: String::new(),
            sources,
        };
        let (reader, _) = Reader::open(vec![scene], &[Band::Red], None, &|_| ()).unwrap();
        let sample = sample(&reader, &geobox).unwrap();

        let mut expected = Vec::new();
        for block in blocks(&geobox) {
            for row in (block.row..block.row + block.height).step_by(SPACING) {
                for col in (block.col..block.col + block.width).step_by(SPACING) {
                    expected.push((1 + row * width + col) as i16);
                }
            }
        }
        assert_eq!(sample.values, expected);
        assert_eq!(sample.classes, vec![4; expected.len()]);
        assert_eq!(sample.days, ["2020-02-19".parse::<Day>().unwrap()]);
    }
}
