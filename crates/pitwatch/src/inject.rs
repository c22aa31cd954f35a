//! Pits of known place, size and date, drawn into the looks of a window: what detection is measured with.
//!
//! A pit grows from one point at its faces, faster where the ground is softer, until its area is reached. It is drawn on
//! a grid five times finer than the pixels, so each pixel has the share of it that is dug by a day, seen through the blur
//! of the optics and a little beside its place; bands of 20 m have pixels of their own. A look that saw the ground sees a
//! linear mixture of what it saw and of dug ground.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use pitwatch_change::mask;
use pitwatch_grid::{Band, Cube, Day, LatticePixel, MISSING_REFLECTANCE, Shape, Window};
use serde::Deserialize;

/// Parts of a pixel's side on the fine grid: one part is 2 m, and a pixel has 25 of them.
const FINE: i64 = 5;
/// Parts of a pixel.
const PARTS: f64 = (FINE * FINE) as f64;
/// Reflectance is held × 10,000 in a [`Cube`].
const REFLECTANCE_SCALE: f64 = 1e-4;
/// Side of a pixel of the short-wave infrared bands and of B8A, in meters (Sentinel-2 User Handbook, table of spectral bands).
const COARSE_M: f64 = 20.0;
/// Places that are tried for a pit before its window is full.
const TRIES: usize = 60;
/// Pixels along the edge of a window that no pit touches: what is blurred beyond it would be lost.
const EDGE_PIXELS: usize = 3;
/// Covered share from which a pixel is the pit's core.
const CORE_COVER: f64 = 0.5;
/// The same where no pixel is covered so far.
const THIN_CORE_COVER: f64 = 0.2;
/// Softness changes over this share of the pit's radius: large enough for lobes, small enough for several of them.
const LOBE_SHARE: f64 = 0.5;
/// Least such length, in parts of the fine grid: half a pixel.
const LEAST_LOBE: f64 = 2.5;

/// Which pits are drawn, and where: the table `[skill]` of a pipeline file. None of it has a default.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {
    /// Dry dug ground: surface reflectance, 0 to 1, of blue, green, red, nir, swir16 and swir22.
    pub(crate) spectra: Vec<[f64; 6]>,
    /// What a spectrum is multiplied with, least and greatest: moisture, roughness and shade in the pit. Unitless.
    pub(crate) brightness: [f64; 2],
    /// Share of a pit's outline that is laid bare, least and greatest; the rest keeps what grew there.
    pub(crate) bare_share: [f64; 2],
    /// Standard deviation of the optics' blur, in pixels of the band.
    pub(crate) blur_pixels: f64,
    /// Standard deviation of a look's place in either direction, in meters.
    pub(crate) registration_m: f64,
    /// Standard deviation of what changes from look to look, as a share of the reflectance.
    pub(crate) noise_relative: f64,
    /// The same in reflectance, for each band by itself.
    pub(crate) noise_absolute: f64,
    /// Edges of the size classes, ascending, in square meters.
    pub(crate) size_edges_m2: Vec<f64>,
    /// Greatest ratio of a pit's length to its width, 1 or more.
    pub(crate) elongation: f64,
    /// Standard deviation of the logarithm of the resistance to digging, unitless.
    pub(crate) roughness: f64,
    /// Days from the first spadeful to the whole area, least and greatest.
    pub(crate) growth_days: [f64; 2],
    /// No pit is opened in so many days before the last look.
    pub(crate) days_before_end: u32,
    /// Side of a window, in pixels.
    pub(crate) window_pixels: usize,
    /// Pits drawn into a window at a time.
    pub(crate) pits_per_window: usize,
    /// Least number of untouched pixels between two pits.
    pub(crate) gap_pixels: usize,
    /// The probability of detection that the minimum detectable area is stated for, 0 to 1.
    pub(crate) target_probability: f64,
    /// a of the second stated distribution of sizes, in which the number of pits of area A goes with A⁻ᵃ.
    pub(crate) size_exponent: f64,
}

impl Params {
    /// Checks that each number lies in its range; returns the key that does not, with what to write.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let is_range =
            |[least, greatest]: [f64; 2]| 0.0 < least && least <= greatest && greatest.is_finite();
        let checks = [
            (
                "spectra",
                !self.spectra.is_empty()
                    && self
                        .spectra
                        .iter()
                        .flatten()
                        .all(|value| (0.0..=1.0).contains(value)),
                "rows of six reflectances, 0 to 1: [blue, green, red, nir, swir16, swir22], at least one",
            ),
            (
                "brightness",
                is_range(self.brightness) && self.brightness[1] <= 2.0,
                "[least, greatest], above 0 and at most 2",
            ),
            (
                "bare_share",
                is_range(self.bare_share) && self.bare_share[1] <= 1.0,
                "[least, greatest], above 0 and at most 1",
            ),
            (
                "blur_pixels",
                (0.0..=1.0).contains(&self.blur_pixels),
                "pixels, 0 to 1",
            ),
            (
                "registration_m",
                (0.0..=20.0).contains(&self.registration_m),
                "meters, 0 to 20",
            ),
            (
                "noise_relative",
                (0.0..=1.0).contains(&self.noise_relative),
                "a share, 0 to 1",
            ),
            (
                "noise_absolute",
                (0.0..=1.0).contains(&self.noise_absolute),
                "a reflectance, 0 to 1",
            ),
            (
                "size_edges_m2",
                self.size_edges_m2.len() >= 2
                    && self.size_edges_m2[0] > 0.0
                    && self.size_edges_m2.windows(2).all(|pair| pair[0] < pair[1])
                    && self.size_edges_m2.iter().all(|edge| *edge <= 1e6),
                "two or more areas in square meters, ascending, above 0 and at most 1e6",
            ),
            (
                "elongation",
                (1.0..=10.0).contains(&self.elongation),
                "a ratio, 1 to 10",
            ),
            ("roughness", (0.0..=2.0).contains(&self.roughness), "0 to 2"),
            (
                "growth_days",
                is_range(self.growth_days),
                "[least, greatest] in days, above 0",
            ),
            (
                "days_before_end",
                self.days_before_end <= 36_500,
                "days, at most 36500",
            ),
            (
                "window_pixels",
                (16..=512).contains(&self.window_pixels),
                "pixels, 16 to 512",
            ),
            (
                "pits_per_window",
                (1..=1000).contains(&self.pits_per_window),
                "1 to 1000",
            ),
            (
                "gap_pixels",
                (3..=100).contains(&self.gap_pixels),
                "pixels, 3 to 100; pits that are closer share pixels of 20 m",
            ),
            (
                "target_probability",
                0.0 < self.target_probability && self.target_probability < 1.0,
                "a probability above 0 and below 1",
            ),
            (
                "size_exponent",
                (-10.0..=10.0).contains(&self.size_exponent),
                "-10 to 10; 1 is log-uniform, 2 gives each doubling of size the same area",
            ),
        ];
        match checks.into_iter().find(|(_, is_good, _)| !is_good) {
            Some((key, _, remedy)) => Err((key, format!("{key} is out of range; write {remedy}"))),
            None => Ok(()),
        }
    }

    /// Number of size classes.
    pub(crate) fn n_classes(&self) -> usize {
        self.size_edges_m2.len() - 1
    }
}

/// A generator of numbers that is the same on every machine and in every version.
///
/// Source: SplitMix64, Steele, Lea and Flood (2014), <https://doi.org/10.1145/2714064.2660195>.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// A generator of its own for each seed and each list of parts.
    pub(crate) fn new(seed: u64, parts: &[u64]) -> Self {
        let mut dice = Self(seed);
        for &part in parts {
            dice.0 = dice.bits() ^ part;
        }
        dice
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut state = self.0;
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^ (state >> 31)
    }

    /// Uniform, 0 or more and below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform between two values.
    fn between(&mut self, [least, greatest]: [f64; 2]) -> f64 {
        least + (greatest - least) * self.unit()
    }

    /// Uniform among the first `n` whole numbers; 0 if there is none.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of n lies below n"
    )]
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((self.unit() * n as f64) as usize).min(n.saturating_sub(1))
    }

    /// Exponential with mean 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// Normal with mean 0 and standard deviation 1 (Box and Muller 1958, <https://doi.org/10.1214/aoms/1177706645>).
    pub(crate) fn normal(&mut self) -> f64 {
        (2.0 * self.exponential()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// A list in another order (Fisher and Yates).
    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last + 1));
        }
    }
}

/// A pit in a window.
#[derive(Debug, Clone)]
pub(crate) struct Pit {
    /// Its area when it is whole, in square meters.
    pub(crate) area_m2: f64,
    /// Its size class.
    pub(crate) class: usize,
    /// The day before which nothing is dug.
    pub(crate) opened: Day,
    growth_days: f64,
    bare_share: f64,
    /// Reflectance of its ground, 0 to 1, as in [`Params::spectra`].
    spectrum: [f64; 6],
    /// Rows and columns of its parts in the window's fine grid, in the order in which they are dug.
    parts: Vec<Part>,
    dice: Dice,
}

/// Pixels of a window by their place, with the share of each.
type Shares = Vec<(usize, f64)>;

/// A row and a column, of a part or of a pixel.
type Part = (i64, i64);

/// A pixel that a pit touches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PitPixel {
    /// Row in the window.
    pub(crate) row: usize,
    /// Column in the window.
    pub(crate) col: usize,
    /// Share of it that lies in the pit in the end, 0 to 1.
    pub(crate) cover: f64,
}

impl Pit {
    /// The pixels it touches, by row and column.
    pub(crate) fn pixels(&self) -> Vec<PitPixel> {
        let mut counts: BTreeMap<Part, f64> = BTreeMap::new();
        for &(row, col) in &self.parts {
            *counts
                .entry((row.div_euclid(FINE), col.div_euclid(FINE)))
                .or_default() += 1.0 / PARTS;
        }
        counts
            .into_iter()
            .filter_map(|((row, col), cover)| {
                Some(PitPixel {
                    row: usize::try_from(row).ok()?,
                    col: usize::try_from(col).ok()?,
                    cover,
                })
            })
            .collect()
    }

    /// The pixels by which it is known: those that are covered by half, or by a fifth where there is none, or else the
    /// one that is covered most.
    pub(crate) fn core(&self) -> Vec<PitPixel> {
        let pixels = self.pixels();
        for least in [CORE_COVER, THIN_CORE_COVER] {
            // A millionth absorbs the rounding of a sum.
            let core: Vec<PitPixel> = pixels
                .iter()
                .copied()
                .filter(|pixel| pixel.cover >= least - 1e-6)
                .collect();
            if !core.is_empty() {
                return core;
            }
        }
        // The first of those covered most.
        pixels
            .into_iter()
            .rev()
            .max_by(|a, b| a.cover.total_cmp(&b.cover))
            .into_iter()
            .collect()
    }

    /// The number of its parts that are dug on a day: the same number each day.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length"
    )]
    fn n_dug(&self, day: Day) -> usize {
        let growth = (f64::from(day.0 - self.opened.0) / self.growth_days).clamp(0.0, 1.0);
        (growth * self.parts.len() as f64).floor() as usize
    }
}

/// What pits are drawn with.
pub(crate) struct Sample<'a> {
    pub(crate) params: &'a Params,
    pub(crate) pixel_m2: f64,
    /// First and last day on which a pit may be opened.
    pub(crate) opened: [Day; 2],
}

impl Sample<'_> {
    /// Draws pits for a window, of the classes given; those that find no place are left out.
    ///
    /// - `inside`: for each pixel of the window, `(y, x)`, whether it belongs to the area.
    /// - `classes`: size classes of the pits; the largest is placed first.
    pub(crate) fn draw(
        &self,
        shape: Shape,
        inside: &[bool],
        classes: &[usize],
        dice: &mut Dice,
    ) -> Vec<Pit> {
        let mut classes = classes.to_vec();
        classes.sort_unstable_by_key(|&class| Reverse(class));
        // Pixels on which no other pit may lie.
        let mut is_taken: Vec<bool> = inside.iter().map(|&inside| !inside).collect();
        let mut pits = Vec::new();
        for class in classes {
            let edges = [
                self.params.size_edges_m2[class].ln(),
                self.params.size_edges_m2[class + 1].ln(),
            ];
            let area_m2 = dice.between(edges).exp();
            let parts = blob(area_m2 / self.pixel_m2, self.params, dice);
            let Some(parts) = place(&parts, shape, &is_taken, dice) else {
                continue;
            };
            let [first, last] = self.opened;
            let n_days = usize::try_from(last.0 - first.0 + 1).unwrap_or(1);
            let opened = Day(first.0 + i32::try_from(dice.below(n_days)).unwrap_or(0));
            let brightness = dice.between(self.params.brightness);
            let spectrum = self.params.spectra[dice.below(self.params.spectra.len())];
            let pit = Pit {
                area_m2: parts.len() as f64 / PARTS * self.pixel_m2,
                class,
                opened,
                growth_days: dice.between(self.params.growth_days),
                bare_share: dice.between(self.params.bare_share),
                spectrum: spectrum.map(|value| (value * brightness).min(1.0)),
                parts,
                dice: Dice::new(dice.bits(), &[]),
            };
            take(&mut is_taken, shape, &pit.pixels(), self.params.gap_pixels);
            pits.push(pit);
        }
        pits
    }
}

/// The parts of a pit in the order in which they are dug, as rows and columns of the fine grid around its first part.
///
/// The next part is the one that digging reaches first from what is dug already: first-passage growth, of which the area
/// is exact and the outline irregular. The ground's resistance is log-normal and changes over half of the pit's radius.
///
/// - `area_pixels`: its area in pixels; rounded to whole parts, at least one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a pit has far fewer than 2^31 parts"
)]
fn blob(area_pixels: f64, params: &Params, dice: &mut Dice) -> Vec<(i64, i64)> {
    let n_parts = (area_pixels * PARTS).round().max(1.0) as usize;
    let radius = (n_parts as f64 / std::f64::consts::PI).sqrt();
    let mut ground = Ground {
        seed: dice.bits(),
        lobe: (radius * LOBE_SHARE).max(LEAST_LOBE),
        roughness: params.roughness,
        corners: HashMap::new(),
        known: HashMap::new(),
    };
    // Steps along the pit's axis count less than steps across it; the product stays 1, and so does the area.
    let stretch = dice.between([1.0, params.elongation]).sqrt();
    let (sin, cos) = (std::f64::consts::PI * dice.unit()).sin_cos();
    let length = |d_row: i64, d_col: i64| {
        let (y, x) = (d_row as f64, d_col as f64);
        ((x * cos + y * sin) / stretch).hypot((y * cos - x * sin) * stretch)
    };
    let mut reached: HashMap<(i64, i64), f64> = HashMap::from([((0, 0), 0.0)]);
    // Times are not negative, so their bits are in their order.
    let mut faces = BinaryHeap::from([Reverse((0_u64, 0_i64, 0_i64))]);
    let mut parts = Vec::with_capacity(n_parts);
    while let Some(Reverse((bits, row, col))) = faces.pop() {
        let time = f64::from_bits(bits);
        if reached.get(&(row, col)).is_some_and(|&best| best < time) {
            continue;
        }
        parts.push((row, col));
        if parts.len() == n_parts {
            break;
        }
        let own = ground.resistance(row, col);
        for (d_row, d_col) in [
            (-1, -1),
            (-1, 0),
            (-1, 1),
            (0, -1),
            (0, 1),
            (1, -1),
            (1, 0),
            (1, 1),
        ] {
            let next = (row + d_row, col + d_col);
            let resistance = f64::midpoint(own, ground.resistance(next.0, next.1));
            let arrival = time + length(d_row, d_col) * resistance;
            if reached.get(&next).is_none_or(|&best| arrival < best) {
                reached.insert(next, arrival);
                faces.push(Reverse((arrival.to_bits(), next.0, next.1)));
            }
        }
    }
    parts
}

/// How hard the ground is to dig: log-normal, from normal values on a coarse grid with straight lines between them.
struct Ground {
    seed: u64,
    /// Distance over which it changes, in parts.
    lobe: f64,
    roughness: f64,
    /// The values of the coarse grid that were asked for so far.
    corners: HashMap<(i64, i64), f64>,
    /// The resistance of parts that were asked for so far.
    known: HashMap<(i64, i64), f64>,
}

impl Ground {
    fn resistance(&mut self, row: i64, col: i64) -> f64 {
        if let Some(&known) = self.known.get(&(row, col)) {
            return known;
        }
        let (y, x) = (row as f64 / self.lobe, col as f64 / self.lobe);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a pit has far fewer than 2^31 parts"
        )]
        let (top, left) = (y.floor() as i64, x.floor() as i64);
        let (down, right) = (y - y.floor(), x - x.floor());
        let mut line =
            |row: i64| self.corner(row, left) * (1.0 - right) + self.corner(row, left + 1) * right;
        let value = line(top) * (1.0 - down) + line(top + 1) * down;
        let resistance = (self.roughness * value).exp();
        self.known.insert((row, col), resistance);
        resistance
    }

    fn corner(&mut self, row: i64, col: i64) -> f64 {
        let seed = self.seed;
        *self.corners.entry((row, col)).or_insert_with(|| {
            Dice::new(seed, &[row.cast_unsigned(), col.cast_unsigned()]).normal()
        })
    }
}

/// Finds a place in a window where a pit touches nothing that is taken, nor the window's edge.
fn place(parts: &[Part], shape: Shape, is_taken: &[bool], dice: &mut Dice) -> Option<Vec<Part>> {
    let is_free = |&(row, col): &Part| -> Option<bool> {
        let (row, col) = (
            usize::try_from(row.div_euclid(FINE)).ok()?,
            usize::try_from(col.div_euclid(FINE)).ok()?,
        );
        let is_within = (EDGE_PIXELS..shape.height.saturating_sub(EDGE_PIXELS)).contains(&row)
            && (EDGE_PIXELS..shape.width.saturating_sub(EDGE_PIXELS)).contains(&col);
        Some(is_within && !is_taken[row * shape.width + col])
    };
    for _ in 0..TRIES {
        let row = (dice.below(shape.height) as i64) * FINE
            + dice.below(FINE.unsigned_abs() as usize) as i64;
        let col = (dice.below(shape.width) as i64) * FINE
            + dice.below(FINE.unsigned_abs() as usize) as i64;
        let placed = || {
            parts
                .iter()
                .map(|&(part_row, part_col)| (row + part_row, col + part_col))
        };
        if placed().all(|part| is_free(&part) == Some(true)) {
            return Some(placed().collect());
        }
    }
    None
}

/// Marks a pit's pixels and those around it.
fn take(is_taken: &mut [bool], shape: Shape, pixels: &[PitPixel], gap: usize) {
    for pixel in pixels {
        for row in pixel.row.saturating_sub(gap)..(pixel.row + gap + 1).min(shape.height) {
            let first = row * shape.width + pixel.col.saturating_sub(gap);
            let end = row * shape.width + (pixel.col + gap + 1).min(shape.width);
            is_taken[first..end].fill(true);
        }
    }
}

/// Draws pits into a cube: `seen = (1 − f) · seen + f · ground`, with f the share of the pixel that is dug and bare.
///
/// Only looks that saw the ground change; cloud hides a pit as it hides the ground. Classes stay as they are. Pixels of
/// 20 m lie on even multiples of 10 m from the reference system's origin.
pub(crate) fn inject(cube: &mut Cube, pits: &[Pit], params: &Params) {
    let resolution_m = cube.geobox().resolution_m();
    #[expect(clippy::cast_possible_truncation, reason = "a pixel is a few meters")]
    let step = (COARSE_M / resolution_m).round().max(1.0) as i64;
    let optics = [1, step].map(|step| Optics::new(cube, step, params.blur_pixels));
    // A look's place is known to whole parts.
    let registration = params.registration_m / resolution_m * FINE as f64;
    let (days, bands) = (cube.days().to_vec(), cube.bands().to_vec());
    for pit in pits {
        let mut known: HashMap<(usize, Part), [Shares; 2]> = HashMap::new();
        for (time, &day) in days.iter().enumerate() {
            let n_dug = pit.n_dug(day);
            if n_dug == 0 {
                continue;
            }
            let mut dice = Dice::new(pit.dice.0, &[time as u64]);
            #[expect(clippy::cast_possible_truncation, reason = "a few parts")]
            let mut shift = || (registration * dice.normal()).round() as i64;
            let shift = (shift(), shift());
            let shares = known.entry((n_dug, shift)).or_insert_with(|| {
                [0, 1].map(|kind: usize| optics[kind].shares(&pit.parts[..n_dug], shift))
            });
            let classes = cube.classes(time).to_vec();
            let is_seen =
                |index: usize| mask::observation(classes[index]) == mask::Observation::Clear;
            let haze = 1.0 + params.noise_relative * dice.normal();
            for (slot, &band) in bands.iter().enumerate() {
                let (place, is_coarse) = place_of(band);
                let ground = (pit.spectrum[place] * haze + params.noise_absolute * dice.normal())
                    .clamp(0.0, 1.0);
                let plane = cube.plane_mut(slot, time);
                for &(index, share) in &shares[usize::from(is_coarse)] {
                    if is_seen(index) {
                        plane[index] = mixed(plane[index], share * pit.bare_share, ground);
                    }
                }
            }
        }
    }
}

/// What a look sees where a share of a pixel is dug; a missing value stays missing.
#[expect(
    clippy::cast_possible_truncation,
    reason = "clamped to the range of i16"
)]
fn mixed(seen: i16, share: f64, ground: f64) -> i16 {
    if seen == MISSING_REFLECTANCE {
        return seen;
    }
    let value = (1.0 - share) * f64::from(seen) + share * ground / REFLECTANCE_SCALE;
    value
        .round()
        .clamp(f64::from(i16::MIN + 1), f64::from(i16::MAX)) as i16
}

/// A band's place in a spectrum, and whether its pixels are of 20 m. B8A lies within B08 and takes its value.
fn place_of(band: Band) -> (usize, bool) {
    match band {
        Band::Blue => (0, false),
        Band::Green => (1, false),
        Band::Red => (2, false),
        Band::Nir => (3, false),
        Band::Nir08 => (3, true),
        Band::Swir16 => (4, true),
        Band::Swir22 => (5, true),
    }
}

/// How a band sees the parts of a pit.
struct Optics {
    window: Window,
    /// Lattice place of the window's first pixel.
    origin: LatticePixel,
    /// Pixels of the window along a side of the band's own pixel.
    step: i64,
    /// For a part at each place along the band's pixel, the share of it that each pixel from [`REACH`] before to
    /// [`REACH`] after sees.
    weights: Vec<[f64; WIDTH]>,
}

/// Pixels of a band on either side that a part is blurred into: more than four standard deviations of what is allowed
/// for Sentinel-2, and two of the most that a pipeline may say.
const REACH: i64 = 2;
/// Pixels that see a part, along one side.
const WIDTH: usize = 2 * REACH.unsigned_abs() as usize + 1;

impl Optics {
    fn new(cube: &Cube, step: i64, blur_pixels: f64) -> Self {
        let n_parts = step * FINE;
        Self {
            window: cube.geobox().full_window(),
            origin: cube.geobox().lattice_origin(),
            step,
            weights: (0..n_parts)
                .map(|part| weights((part as f64 + 0.5) / n_parts as f64, blur_pixels))
                .collect(),
        }
    }

    /// The share of each pixel of the window, by its place, that is seen as dug; pixels of a coarse band that are not
    /// whole in the window are seen as far as they are.
    ///
    /// - `shift`: how far beside its place the look sees the pit, in parts.
    fn shares(&self, parts: &[Part], shift: Part) -> Shares {
        let side = self.step * FINE;
        let on_lattice = parts.iter().map(|&(row, col)| {
            (
                row + shift.0 + self.origin.row * FINE,
                col + shift.1 + self.origin.col * FINE,
            )
        });
        let on_lattice: Vec<Part> = on_lattice.collect();
        let blocks = on_lattice
            .iter()
            .map(|&(row, col)| (row.div_euclid(side), col.div_euclid(side)));
        let range = |values: &mut dyn Iterator<Item = i64>| {
            values.fold((i64::MAX, i64::MIN), |(least, greatest), value| {
                (least.min(value), greatest.max(value))
            })
        };
        let rows = range(&mut blocks.clone().map(|(row, _)| row));
        let cols = range(&mut blocks.map(|(_, col)| col));
        if rows.0 > rows.1 {
            return Vec::new();
        }
        let length =
            |(least, greatest): (i64, i64)| usize::try_from(greatest - least).unwrap_or(0) + WIDTH;
        let (height, width) = (length(rows), length(cols));
        let mut seen = vec![0.0; height * width];
        let part_share = 1.0 / (side * side) as f64;
        let place = |value: i64, least: i64| {
            let block = usize::try_from(value.div_euclid(side) - least).unwrap_or(0);
            (
                block,
                &self.weights[usize::try_from(value.rem_euclid(side)).unwrap_or(0)],
            )
        };
        for (row, col) in on_lattice {
            let ((row, row_weights), (col, col_weights)) = (place(row, rows.0), place(col, cols.0));
            for (down, row_weight) in row_weights.iter().enumerate() {
                let line = &mut seen[(row + down) * width + col..][..WIDTH];
                for (share, col_weight) in line.iter_mut().zip(col_weights) {
                    *share += row_weight * col_weight * part_share;
                }
            }
        }
        let mut shares = Vec::new();
        for (index, &share) in seen.iter().enumerate().filter(|&(_, &share)| share > 0.0) {
            let block = (
                rows.0 - REACH + (index / width) as i64,
                cols.0 - REACH + (index % width) as i64,
            );
            shares.extend(self.pixels(block).map(|pixel| (pixel, share)));
        }
        shares
    }

    /// The pixels of the window in a pixel of the band.
    fn pixels(&self, (block_row, block_col): Part) -> impl Iterator<Item = usize> + use<> {
        let (step, origin, window) = (self.step, self.origin, self.window);
        let rows = block_row * step - origin.row..(block_row + 1) * step - origin.row;
        rows.flat_map(move |row| {
            let cols = block_col * step - origin.col..(block_col + 1) * step - origin.col;
            cols.filter_map(move |col| {
                let (row, col) = (usize::try_from(row).ok()?, usize::try_from(col).ok()?);
                (row < window.height && col < window.width).then_some(row * window.width + col)
            })
        })
    }
}

/// The shares of a point that pixels around it see through a normal blur; they add up to 1.
///
/// - `at`: the point's place in its own pixel, 0 to 1.
/// - `deviation`: standard deviation of the blur, in pixels.
fn weights(at: f64, deviation: f64) -> [f64; WIDTH] {
    /// Steps of the sum, and how far it goes, in standard deviations.
    const N_STEPS: i32 = 400;
    const REACH_DEVIATIONS: f64 = 4.0;
    let mut weights = [0.0; WIDTH];
    for step in 0..N_STEPS {
        let z = (f64::from(2 * step + 1) / f64::from(N_STEPS) - 1.0) * REACH_DEVIATIONS;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to the list"
        )]
        let pixel =
            ((at + z * deviation).floor() + REACH as f64).clamp(0.0, WIDTH as f64 - 1.0) as usize;
        weights[pixel] += (-z * z / 2.0).exp();
    }
    let total: f64 = weights.iter().sum();
    weights.map(|weight| weight / total)
}

#[cfg(test)]
mod tests {
    use pitwatch_grid::{Crs, GeoBox, Point};

    use super::*;

    /// The numbers of every pipeline.
    fn params() -> Params {
        let table: toml::Table = include_str!("../../../pipelines/demo.toml")
            .parse()
            .unwrap();
        table["skill"].clone().try_into().unwrap()
    }

    const SHAPE: Shape = Shape {
        height: 64,
        width: 64,
    };
    const BANDS: [Band; 4] = [Band::Blue, Band::Red, Band::Swir16, Band::Swir22];
    const OPENED: Day = Day(18_000);

    fn geobox() -> GeoBox {
        GeoBox::new(
            Crs::from_epsg(32630).unwrap(),
            Point {
                x: 205_000.0,
                y: 985_000.0,
            },
            10.0,
            SHAPE,
        )
        .unwrap()
    }

    fn pits(params: &Params, n: usize, seed: u64) -> Vec<Pit> {
        let sample = Sample {
            params,
            pixel_m2: 100.0,
            opened: [OPENED, OPENED],
        };
        let classes: Vec<usize> = (0..n).map(|index| index % params.n_classes()).collect();
        sample.draw(
            SHAPE,
            &vec![true; SHAPE.n_pixels()],
            &classes,
            &mut Dice::new(seed, &[]),
        )
    }

    /// Clear green ground of reflectance 0.05 on the day before the opening, on it, half way and a year later.
    fn green() -> Cube {
        let days = [-1, 0, 10, 365].map(|day| Day(OPENED.0 + day)).to_vec();
        let mut cube = Cube::empty(geobox(), days, BANDS.to_vec());
        for time in 0..4 {
            cube.classes_mut(time).fill(4);
            for band in 0..BANDS.len() {
                cube.plane_mut(band, time).fill(500);
            }
        }
        cube
    }

    /// Without noise, with white ground, so that a share of a pixel can be read off.
    fn plain() -> Params {
        Params {
            spectra: vec![[1.0; 6]],
            brightness: [1.0, 1.0],
            noise_relative: 0.0,
            noise_absolute: 0.0,
            bare_share: [1.0, 1.0],
            blur_pixels: 0.0,
            registration_m: 0.0,
            growth_days: [20.0, 20.0],
            ..params()
        }
    }

    #[test]
    fn the_parameters_of_the_pipelines_are_in_range_and_a_wrong_one_is_named() {
        assert_eq!(params().check(), Ok(()));
        let wrong = Params {
            size_edges_m2: vec![400.0, 100.0],
            ..params()
        };
        assert_eq!(wrong.check().unwrap_err().0, "size_edges_m2");
        let wrong = Params {
            brightness: [0.9, 0.5],
            ..params()
        };
        assert_eq!(wrong.check().unwrap_err().0, "brightness");
    }

    #[test]
    fn the_area_of_a_pit_is_that_of_its_pixels_shares() {
        let params = params();
        for seed in 0..20 {
            for pit in pits(&params, 6, seed) {
                let shares: f64 = pit.pixels().iter().map(|pixel| pixel.cover).sum();
                assert!((shares * 100.0 - pit.area_m2).abs() < 1e-6);
                let [from, to] = [
                    params.size_edges_m2[pit.class],
                    params.size_edges_m2[pit.class + 1],
                ];
                // Areas are rounded to parts of 4 m².
                assert!(
                    (from - 2.0..=to + 2.0).contains(&pit.area_m2),
                    "{}",
                    pit.area_m2
                );
                assert!(pit.pixels().iter().all(|pixel| pixel.cover <= 1.0 + 1e-9));
            }
        }
    }

    #[test]
    fn a_pit_grows_from_nothing_to_its_area_at_an_even_pace() {
        for pit in pits(&plain(), 6, 3) {
            let area = |days: i32| pit.n_dug(Day(OPENED.0 + days)) as f64 * 4.0;
            assert_eq!((area(-1), area(0)), (0.0, 0.0));
            assert!((area(10) - pit.area_m2 / 2.0).abs() <= 4.0);
            assert!((area(20) - pit.area_m2).abs() < 1e-6);
            assert_eq!(area(365), area(20));
            // What is dug is one piece at any time.
            for (index, part) in pit.parts.iter().enumerate().skip(1) {
                let touches =
                    |other: &Part| (other.0 - part.0).abs().max((other.1 - part.1).abs()) == 1;
                assert!(pit.parts[..index].iter().any(touches));
            }
        }
    }

    #[test]
    fn blur_and_misregistration_move_area_and_lose_none() {
        for (blur_pixels, registration_m) in [(0.44, 0.0), (0.0, 5.0), (0.44, 3.0)] {
            let params = Params {
                blur_pixels,
                registration_m,
                ..plain()
            };
            let pits = pits(&params, 6, 3);
            let mut cube = green();
            inject(&mut cube, &pits, &params);
            let dug: f64 = pits.iter().map(|pit| pit.area_m2).sum();
            for band in 0..BANDS.len() {
                // Rounding to reflectance of 0.0001 in some thousand pixels, and tails beyond the window.
                let seen = area_of(&cube, band, 3);
                assert!(
                    (seen / dug - 1.0).abs() < 0.01,
                    "{blur_pixels} {registration_m} {band}: {seen} of {dug}"
                );
            }
            assert_eq!(area_of(&cube, 0, 0), 0.0);
        }
    }

    #[test]
    fn the_weights_of_a_blur_are_those_of_a_normal_distribution() {
        // From the middle of a pixel to its edge are 0.5 / 0.44 = 1.136 standard deviations: Φ(1.136) − Φ(−1.136) = 0.744.
        let weights = weights(0.5, 0.44);
        assert!((weights[2] - 0.744).abs() < 0.01, "{weights:?}");
        assert!((weights[1] - weights[3]).abs() < 1e-9);
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn pits_keep_their_distance_from_each_other_and_stay_inside() {
        let params = params();
        let pits: Vec<Vec<PitPixel>> = pits(&params, 12, 5).iter().map(Pit::pixels).collect();
        assert!(pits.len() >= 8, "{}", pits.len());
        for (index, pit) in pits.iter().enumerate() {
            for other in &pits[index + 1..] {
                for (a, b) in pit.iter().flat_map(|a| other.iter().map(move |b| (a, b))) {
                    assert!(a.row.abs_diff(b.row).max(a.col.abs_diff(b.col)) > params.gap_pixels);
                }
            }
        }
        let sample = Sample {
            params: &params,
            pixel_m2: 100.0,
            opened: [OPENED, OPENED],
        };
        let none = sample.draw(
            SHAPE,
            &vec![false; SHAPE.n_pixels()],
            &[0, 1],
            &mut Dice::new(1, &[]),
        );
        assert!(none.is_empty());
    }

    #[test]
    fn the_same_seed_draws_the_same_pits() {
        let text = |seed| format!("{:?}", pits(&params(), 6, seed));
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
    }

    /// White ground on 0.05: the rise over 0.95 is the share.
    fn area_of(cube: &Cube, band: usize, time: usize) -> f64 {
        let shares = cube
            .plane(band, time)
            .iter()
            .map(|&value| (f64::from(value) - 500.0) / 9500.0);
        shares.sum::<f64>() * 100.0
    }

    #[test]
    fn a_look_sees_the_mixture_of_ground_and_pit() {
        let params = plain();
        let mut cube = green();
        let pits = pits(&params, 6, 3);
        inject(&mut cube, &pits, &params);
        let dug: f64 = pits.iter().map(|pit| pit.area_m2).sum();
        for band in 0..BANDS.len() {
            assert_eq!(area_of(&cube, band, 0), 0.0, "the day before");
            assert_eq!(area_of(&cube, band, 1), 0.0, "the first day");
            assert!(
                (area_of(&cube, band, 2) / dug - 0.5).abs() < 0.02,
                "half way"
            );
            // Bands of 20 m see the same area, spread over their pixels.
            assert!(
                (area_of(&cube, band, 3) / dug - 1.0).abs() < 1e-3,
                "{band}: {} of {dug}",
                area_of(&cube, band, 3)
            );
        }
        for pixel in pits.iter().flat_map(Pit::pixels) {
            let seen = cube.plane(1, 3)[pixel.row * SHAPE.width + pixel.col];
            assert!((f64::from(seen) - 500.0 - 9500.0 * pixel.cover).abs() <= 0.5);
        }
    }

    /// The window's first pixel lies on an even row and column of the lattice, so pixels of 20 m start there.
    #[test]
    fn bands_of_20_m_see_the_mean_over_their_own_pixel() {
        let params = plain();
        let mut cube = green();
        inject(&mut cube, &pits(&params, 6, 3), &params);
        for (row, col) in (0..SHAPE.height)
            .step_by(2)
            .flat_map(|row| (0..SHAPE.width).step_by(2).map(move |col| (row, col)))
        {
            let of = |band: usize| {
                [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(down, right)| {
                    f64::from(cube.plane(band, 3)[(row + down) * SHAPE.width + col + right])
                })
            };
            let mean = of(1).iter().sum::<f64>() / 4.0;
            assert!(
                of(2).iter().all(|&value| (value - mean).abs() <= 1.0),
                "{row} {col}"
            );
        }
    }

    #[test]
    fn cloud_and_missing_values_stay_as_they_are() {
        let params = plain();
        let mut cube = green();
        cube.classes_mut(3).fill(9);
        cube.plane_mut(0, 2).fill(MISSING_REFLECTANCE);
        let before = cube.clone();
        inject(&mut cube, &pits(&params, 6, 3), &params);
        assert_eq!(cube.all_classes(), before.all_classes());
        assert_eq!(cube.plane(1, 3), before.plane(1, 3));
        assert_eq!(cube.plane(0, 2), before.plane(0, 2));
        assert_ne!(cube.plane(1, 2), before.plane(1, 2));
    }
}
