//! What is kept of each pixel between two runs, so that a new look costs one step.
//!
//! Pixels stand sixteen a tile, as they are worked on. What the history says and every look needs is beside what moves with
//! a look; what few pixels need stands apart: the whole fit with the history's residuals in [`Records`], and what runs or
//! stands at a pixel in a map. A look is taken in by all pixels of a tile at once; only where the cheap conditions that any
//! evidence must meet are met, or something runs already, a pixel is followed by the same code as in `detect`.

use pitwatch_grid::{Cube, Day, GeoBox};
use rayon::prelude::*;
use wide::f32x4;

use crate::detect::{Unseen, Work, last, looks, picture, short_history};
use crate::harmonic::N_COEFFICIENTS;
use crate::history::{History, N_HISTORY_NUMBERS};
use crate::index;
use crate::lanes::{self, Integers, Lanes, MAX_LOOKS, Mask, N_LANES, N_PARTS};
use crate::monitor::{Followed, Recent, RecentLook, Seen, follow, lowest_of_season};
use crate::series::{BLUE, LookDate, NDVI, RED, SWIR16, SWIR22, Series, Sight};
use crate::tile::{Looks, N_BANDS, REFLECTANCE_SCALE, Tile};
use crate::{ChangeMap, Error, Kind, Params, PixelState, PixelVerdict, Result, Soil};

/// Numbers of the fit that every look needs: the models of blue, red and NDVI, NDVI's scale and that of the canopy.
pub(crate) type Fit = [Lanes; 17];
const BLUE_MODEL: usize = 0;
const RED_MODEL: usize = 5;
const NDVI_MODEL: usize = 10;
const NDVI_SCALE: usize = 15;
const CANOPY_SCALE: usize = 16;

/// Integers of the same: digital numbers of blue, red, swir16 and swir22 outside which a color may be new, the picture
/// before, clear looks in the history, and [`FOLLOWED`] or the code of the state that keeps a pixel from being followed.
pub(crate) type Bounds = [Integers; 13];
const LOWEST: usize = 0;
const GREATEST: usize = 4;
const BEFORE_RGB: usize = 8;
const N_HISTORY: usize = 11;
const BASE: usize = 12;

const FOLLOWED: i16 = 0;

/// What moves with each look.
pub(crate) type Live = [Integers; 9];
const N_CLEAR: usize = 0;
/// How many of the deciding looks are there, and where the next one goes.
const N_RECENT: usize = 1;
const SLOT: usize = 2;
/// Last clear look; −1 = none.
const LAST_CLEAR: usize = 3;
/// Last look that was not residual cloud.
const BEFORE: usize = 4;
/// −1 where something runs or stands that every look moves.
const ACTIVE: usize = 5;
/// Why the ground was not seen, counted until the clear looks are enough.
const CLOUDED: usize = 6;
const NOT_ACQUIRED: usize = 7;
const FAILED: usize = 8;

/// One of the deciding looks: digital numbers, the look, and the clear look before it. Where nothing is followed they decide
/// nothing and are the picture alone.
pub(crate) type Deciding = [Integers; N_BANDS + 2];

/// What follows from one of the deciding looks and the fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shown {
    ndvi: Lanes,
    expected: Lanes,
    /// Bits of conditions below.
    flags: Integers,
}

/// Bright in red.
const IS_RED: i16 = 1;
/// Bare by the bare soil index.
const IS_BARE: i16 = 2;
/// Dark in the shortwave infrared.
const IS_DARK: i16 = 4;
/// A band so far outside its own range that with others it may make a new color.
const IS_COLOR: i16 = 8;

/// The number of looks whose median is found for sixteen pixels at once.
const USUAL_LOOKS: usize = 3;

/// A record's residual of a look that did not see the ground: a NaN that no computation gives.
const UNSEEN: u32 = u32::MAX;

/// What is kept of the pixels of a window: the part of the fit that each look needs, and where monitoring stands.
///
/// Taking looks in one by one gives what [`detect`](crate::detect) gives on all of them, bit for bit.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    pub(crate) n_pixels: usize,
    pub(crate) n_history: usize,
    pub(crate) dates: Vec<LookDate>,
    pub(crate) n_deciding: usize,
    pub(crate) tiles: Vec<TileState>,
    /// `n_deciding` a tile.
    pub(crate) looks: Vec<DecidingLook>,
    /// What runs, stands or was taken back, in order of the pixels.
    pub(crate) watched: Vec<(u32, Followed)>,
}

/// The whole fit of each pixel and its NDVI residuals in the history, a record of numbers a pixel. Few looks at few pixels
/// need one.
#[derive(Debug, Clone, PartialEq)]
pub struct Records {
    /// Numbers of a record.
    pub(crate) n_numbers: usize,
    pub(crate) numbers: Vec<f32>,
}

impl Records {
    /// Numbers of a record where the history has so many looks.
    #[must_use]
    pub fn n_numbers(n_history: usize) -> usize {
        N_HISTORY_NUMBERS + n_history
    }

    /// The record of a pixel.
    ///
    /// # Panics
    ///
    /// If there is no such pixel.
    #[must_use]
    pub fn of(&self, pixel: usize) -> &[f32] {
        &self.numbers[pixel * self.n_numbers..(pixel + 1) * self.n_numbers]
    }

    fn soil(&self, pixel: usize, params: &Params) -> Option<Soil> {
        let (history, _) = History::from_numbers(self.of(pixel))?;
        history.soil(params)
    }

    /// Reads a record, as [`Memory::step`] wants it read.
    pub fn read(&self, pixel: usize, record: &mut [f32]) -> bool {
        record.copy_from_slice(self.of(pixel));
        true
    }
}

/// What is kept of a tile, the deciding looks apart.
///
/// All of it lies in a row, and so do the deciding looks: a processor reads ahead of sixteen rows of memory or so, and an array
/// for each kind of number would make more.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TileState {
    pub(crate) live: Live,
    pub(crate) bounds: Bounds,
    pub(crate) fit: Fit,
}

impl TileState {
    /// Of pixels that no look has shown.
    const EMPTY: Self = {
        let mut bounds = [Integers::ZERO; size_of::<Bounds>() / size_of::<Integers>()];
        bounds[BASE] = Integers::splat(PixelState::NotAcquired as i16);
        let mut live = [Integers::ZERO; size_of::<Live>() / size_of::<Integers>()];
        live[LAST_CLEAR] = Integers::splat(-1);
        Self {
            live,
            bounds,
            fit: [[0.0; N_LANES]; size_of::<Fit>() / size_of::<Lanes>()],
        }
    };
}

/// One of the deciding looks, and what follows from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct DecidingLook {
    pub(crate) numbers: Deciding,
    pub(crate) shown: Shown,
}

impl DecidingLook {
    pub(crate) const NONE: Self = Self {
        numbers: [Integers::ZERO; N_BANDS + 2],
        shown: Shown {
            ndvi: [0.0; N_LANES],
            expected: [0.0; N_LANES],
            flags: Integers::ZERO,
        },
    };
}

/// What a thread makes of a tile.
struct TileMemory {
    state: TileState,
    looks: Vec<DecidingLook>,
    watched: Vec<(u32, Followed)>,
}

impl Memory {
    /// Fits the history of a cube and follows its looks, as [`detect`](crate::detect) does, and keeps where that ends.
    ///
    /// # Errors
    ///
    /// As [`detect`](crate::detect).
    pub fn of(cube: &Cube, monitor_from: Day, params: &Params) -> Result<(Self, Records)> {
        let looks = looks(cube, monitor_from, None, params)?;
        let n_pixels = cube.geobox().shape().n_pixels();
        let n_numbers = Records::n_numbers(looks.n_history);
        let mut numbers = vec![f32::from_bits(UNSEEN); n_pixels * n_numbers];
        let tiles: Vec<TileMemory> = numbers
            .par_chunks_mut(N_LANES * n_numbers)
            .enumerate()
            .map_init(Work::default, |work, (tile, records)| {
                remember(&looks, tile * N_LANES, work, params, records)
            })
            .collect();
        let mut memory = Self::empty(n_pixels, looks.n_history, looks.dates.clone(), params);
        for tile in tiles {
            memory.tiles.push(tile.state);
            memory.looks.extend(tile.looks);
            memory.watched.extend(tile.watched);
        }
        memory.show_all(params);
        Ok((memory, Records { n_numbers, numbers }))
    }

    pub(crate) fn empty(
        n_pixels: usize,
        n_history: usize,
        dates: Vec<LookDate>,
        params: &Params,
    ) -> Self {
        Self {
            n_pixels,
            n_history,
            dates,
            n_deciding: params.median_looks as usize,
            tiles: Vec::new(),
            looks: Vec::new(),
            watched: Vec::new(),
        }
    }

    /// A memory of so many pixels, to be filled with those of its parts by [`Memory::place`].
    ///
    /// - `part`: any of them.
    #[must_use]
    pub fn for_parts(n_pixels: usize, part: &Self) -> Self {
        let n_tiles = n_pixels.div_ceil(N_LANES);
        Self {
            n_pixels,
            n_history: part.n_history,
            dates: part.dates.clone(),
            n_deciding: part.n_deciding,
            tiles: vec![TileState::EMPTY; n_tiles],
            looks: vec![DecidingLook::NONE; n_tiles * part.n_deciding],
            watched: Vec::new(),
        }
    }

    /// Takes in the pixels of a part.
    ///
    /// - `place_of`: where a pixel of the part stands in the whole.
    ///
    /// # Panics
    ///
    /// If the part was made of other looks, or a place lies outside.
    pub fn place(&mut self, part: &Self, place_of: impl Fn(usize) -> usize) {
        assert!(
            part.dates.len() == self.dates.len() && part.n_history == self.n_history,
            "parts of one memory have the same looks"
        );
        for pixel in 0..part.n_pixels {
            let place = place_of(pixel);
            let (from, lane) = (pixel / N_LANES, pixel % N_LANES);
            let (to, to_lane) = (place / N_LANES, place % N_LANES);
            let looks = of_tile(&part.looks, from, part.n_deciding).iter();
            for (from, to) in looks.zip(of_tile_mut(&mut self.looks, to, part.n_deciding)) {
                copy_integers(&from.numbers, lane, &mut to.numbers, to_lane);
                to.shown.ndvi[to_lane] = from.shown.ndvi[lane];
                to.shown.expected[to_lane] = from.shown.expected[lane];
                to.shown.flags.as_mut_array()[to_lane] = from.shown.flags.as_array()[lane];
            }
            let (from, to) = (&part.tiles[from], &mut self.tiles[to]);
            copy_numbers(&from.fit, lane, &mut to.fit, to_lane);
            copy_integers(&from.bounds, lane, &mut to.bounds, to_lane);
            copy_integers(&from.live, lane, &mut to.live, to_lane);
        }
        for (pixel, followed) in &part.watched {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a window has fewer than 2^32 pixels"
            )]
            let place = place_of(*pixel as usize) as u32;
            self.watched.push((place, followed.clone()));
        }
        self.watched.sort_by_key(|&(pixel, _)| pixel);
    }

    /// The days of the looks it has taken in.
    pub fn days(&self) -> impl ExactSizeIterator<Item = Day> + '_ {
        self.dates.iter().map(|date| date.day)
    }

    /// How many of them are history.
    #[must_use]
    pub fn n_history(&self) -> usize {
        self.n_history
    }

    /// Takes in the looks of a cube, which come after those it has.
    ///
    /// - `record`: reads the record of a pixel ([`Records`]); false if it cannot.
    ///
    /// # Errors
    ///
    /// If a band is missing, a look is older than the last one or does not belong to the monitoring, there are more than
    /// 32,767 looks, the window is another one, or a record cannot be read. The memory is then of no use any more.
    pub fn step(
        &mut self,
        cube: &Cube,
        params: &Params,
        record: &mut dyn FnMut(usize, &mut [f32]) -> bool,
    ) -> Result<()> {
        let last = self.dates.last().map(|date| date.day);
        let looks = Looks::new(cube, Day(i32::MIN), None, params)?;
        let is_later = cube
            .days()
            .first()
            .is_none_or(|&first| last.is_none_or(|last| last <= first));
        if cube.geobox().shape().n_pixels() != self.n_pixels || !is_later {
            return Err(Error::OtherLooks);
        }
        let n_looks = self.dates.len() + cube.days().len();
        if n_looks > MAX_LOOKS {
            return Err(Error::TooManyLooks {
                n_looks,
                most: MAX_LOOKS,
            });
        }
        let mut numbers = vec![0.0; Records::n_numbers(self.n_history)];
        let mut scratch = Scratch {
            recent: Recent::new(self.n_deciding),
            keys: Vec::new(),
        };
        for (time, &date) in looks.dates.iter().enumerate() {
            self.dates.push(date);
            let regressors = date.regressors.map(|regressor| [regressor; N_LANES]);
            // The first of those watched that no pixel before it is left for.
            let mut next = 0;
            let (mut new, mut is_one_gone) = (Vec::new(), false);
            for tile in 0..self.tiles.len() {
                let mut asked = self.step_tile(&looks, time, tile, &regressors, params);
                while asked != 0 {
                    let lane = asked.trailing_zeros() as usize;
                    asked &= asked - 1;
                    let pixel = tile * N_LANES + lane;
                    let rest = self.watched[next..].iter();
                    next += rest
                        .take_while(|&&(watched, _)| (watched as usize) < pixel)
                        .count();
                    let known = self.watched.get(next);
                    let known = known
                        .filter(|&&(watched, _)| watched as usize == pixel)
                        .map(|_| next);
                    if known.is_some_and(|known| self.step_confirmed(tile, lane, known, params)) {
                        continue;
                    }
                    if !record(pixel, &mut numbers) {
                        return Err(Error::Record { pixel });
                    }
                    let followed =
                        self.step_pixel(tile, lane, known, &numbers, &mut scratch, params);
                    is_one_gone |= known.is_some_and(|known| !self.watched[known].1.is_kept());
                    new.extend(followed.filter(Followed::is_kept).map(|followed| {
                        #[expect(
                            clippy::cast_possible_truncation,
                            reason = "a window has fewer than 2^32 pixels"
                        )]
                        let pixel = pixel as u32;
                        (pixel, followed)
                    }));
                }
            }
            if is_one_gone {
                self.watched.retain(|(_, followed)| followed.is_kept());
            }
            if !new.is_empty() {
                self.watched.append(&mut new);
                self.watched.sort_by_key(|&(pixel, _)| pixel);
            }
        }
        Ok(())
    }

    /// Takes one look in at the pixels of a tile; returns a bit for each of them that must be followed on its own.
    #[inline(always)]
    fn step_tile(
        &mut self,
        looks: &Looks,
        time: usize,
        tile: usize,
        regressors: &[Lanes; N_COEFFICIENTS],
        params: &Params,
    ) -> u32 {
        let TileState { live, bounds, fit } = &mut self.tiles[tile];
        let first = tile * N_LANES;
        count_unseen(live, looks, time, first, self.n_pixels, params);
        let Some((seen, bands)) = looks.seen(time, first) else {
            return 0;
        };
        #[expect(clippy::cast_possible_truncation, reason = "at most MAX_LOOKS looks")]
        let look = Integers::splat((self.dates.len() - 1) as i16);
        live[N_CLEAR] -= seen;
        live[LAST_CLEAR] = seen.select(look, live[LAST_CLEAR]);
        let followed = seen & bounds[BASE].simd_eq(Integers::splat(FOLLOWED));
        let pushed = seen & !residual_cloud(fit, regressors, &bands, followed, params);
        if !pushed.any() {
            return 0;
        }
        let [blue, green, red, nir, swir16, swir22] = bands;
        let new = [blue, green, red, nir, swir16, swir22, look, live[BEFORE]];
        let shown = Shown::of(fit, bounds, regressors, &bands, params);
        let looks = of_tile_mut(&mut self.looks, tile, self.n_deciding);
        for (slot, old) in looks.iter_mut().enumerate() {
            let here = pushed & is_slot(live[SLOT], slot);
            if here.any() {
                for (old, new) in old.numbers.iter_mut().zip(new) {
                    *old = here.select(new, *old);
                }
                old.shown.replace(&shown, here);
            }
        }
        let next = live[SLOT] - pushed;
        live[SLOT] = next & !is_slot(next, self.n_deciding);
        live[BEFORE] = pushed.select(look, live[BEFORE]);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "Params::check holds it below 16"
        )]
        let enough = Integers::splat(self.n_deciding as i16);
        live[N_RECENT] = (live[N_RECENT] - pushed).min(enough);
        let decided = pushed & followed & live[N_RECENT].simd_eq(enough);
        let asked = match looks.as_array() {
            Some(looks) => decided & (live[ACTIVE] | may_change(fit, looks, params)),
            None => decided,
        };
        asked.to_bitmask()
    }

    /// Follows one pixel of confirmed excavation, where nothing but its green is left to see; false if it is none.
    ///
    /// - `known`: its place among those watched.
    #[inline(always)]
    fn step_confirmed(&mut self, tile: usize, lane: usize, known: usize, params: &Params) -> bool {
        #[expect(clippy::cast_possible_truncation, reason = "at most MAX_LOOKS looks")]
        let look = (self.dates.len() - 1) as u32;
        let looks = of_tile(&self.looks, tile, self.n_deciding);
        let (Some(date), [a, b, c]) = (self.dates.last(), looks) else {
            return false;
        };
        let watch = &mut self.watched[known].1.excavation;
        if !watch.is_confirmed() {
            return false;
        }
        let median = |value: &dyn Fn(&Shown) -> f32| {
            let (a, b, c) = (value(&a.shown), value(&b.shown), value(&c.shown));
            a.min(b).max(a.max(b).min(c))
        };
        let ndvi = median(&|look| look.ndvi[lane]);
        let expected = median(&|look| look.expected[lane]);
        let residual = median(&|look| look.ndvi[lane] - look.expected[lane]);
        watch.step_green(look, date.day, ndvi, expected, residual, params);
        true
    }

    /// Follows one pixel to the look that its tile has just taken in; returns what it shows if it is not watched yet.
    ///
    /// - `known`: its place among those watched.
    fn step_pixel(
        &mut self,
        tile: usize,
        lane: usize,
        known: Option<usize>,
        numbers: &[f32],
        scratch: &mut Scratch,
        params: &Params,
    ) -> Option<Followed> {
        let &LookDate { day, .. } = self.dates.last()?;
        let (history, residuals) = History::from_numbers(numbers)?;
        let live = &mut self.tiles[tile].live;
        let looks = of_tile(&self.looks, tile, self.n_deciding);
        let oldest = usize::try_from(live[SLOT].as_array()[lane]).unwrap_or(0);
        let Scratch { recent, keys } = scratch;
        recent.looks.clear();
        for k in 0..self.n_deciding {
            let slot = (oldest + k) % self.n_deciding;
            let numbers = looks[slot].numbers.map(|row| row.as_array()[lane]);
            let [blue, green, red, nir, swir16, swir22, look, before] = numbers;
            let sight = Sight::of([blue, green, red, nir, swir16, swir22]);
            let look = u32::from(look.cast_unsigned());
            let expected = history.expected(&self.dates[look as usize].regressors);
            recent.looks.push(RecentLook {
                look,
                before: u32::from(before.cast_unsigned()),
                seen: Seen::of(&sight, &expected),
            });
        }
        let seen = Seen::median(&recent.looks);
        let mut other = None;
        let followed = match known {
            Some(known) => &mut self.watched[known].1,
            None => other.insert(Followed::new(params)),
        };
        let dates = &self.dates;
        let mut lowest = |now: Day| {
            let looks = dates
                .iter()
                .zip(residuals)
                .filter(|(_, residual)| residual.to_bits() != UNSEEN)
                .map(|(date, &residual)| (date.day, residual));
            lowest_of_season(keys, looks, now, params)
        };
        #[expect(clippy::cast_possible_truncation, reason = "at most MAX_LOOKS looks")]
        let look = (dates.len() - 1) as u32;
        followed.step(look, day, recent, &seen, &history, &mut lowest, params);
        live[ACTIVE].as_mut_array()[lane] = -i16::from(!followed.is_idle());
        other
    }

    /// The verdicts in order of the pixels, as [`detect`](crate::detect) gives them.
    pub fn verdicts<'a>(&'a self, params: &'a Params) -> impl Iterator<Item = PixelVerdict> + 'a {
        (0..self.tiles.len()).flat_map(|tile| self.verdicts_of(tile, params))
    }

    /// The verdicts, worked out on all threads.
    ///
    /// - `records`: of the same pixels.
    ///
    /// # Panics
    ///
    /// If the geobox has another number of pixels.
    #[must_use]
    pub fn map(&self, geobox: &GeoBox, records: &Records, params: &Params) -> ChangeMap {
        assert_eq!(
            geobox.shape().n_pixels(),
            self.n_pixels,
            "the window of the memory"
        );
        let pixels = (0..self.tiles.len())
            .into_par_iter()
            .flat_map_iter(|tile| self.verdicts_of(tile, params))
            .collect();
        ChangeMap {
            geobox: geobox.clone(),
            pixels,
            soils: (0..self.n_pixels)
                .map(|pixel| records.soil(pixel, params))
                .collect(),
        }
    }

    /// The verdicts on the pixels of a tile.
    fn verdicts_of(&self, tile: usize, params: &Params) -> impl Iterator<Item = PixelVerdict> + '_ {
        let TileState { live, bounds, .. } = &self.tiles[tile];
        let after = self.picture(tile);
        let first = tile * N_LANES;
        let n_before = self
            .watched
            .partition_point(|&(pixel, _)| (pixel as usize) < first);
        let watched = &self.watched[n_before..];
        let count = |row: Integers, lane: usize| row.as_array()[lane].cast_unsigned();
        let min_clear = params.min_clear_monitoring;
        (first..(first + N_LANES).min(self.n_pixels)).map(move |pixel| {
            let lane = pixel - first;
            let rgb = |rows: &[Integers]| std::array::from_fn(|k| count(rows[k], lane));
            let last_clear = usize::try_from(live[LAST_CLEAR].as_array()[lane]).ok();
            let mut verdict = PixelVerdict {
                state: PixelState::Stable,
                n_clear_history: count(bounds[N_HISTORY], lane),
                n_clear: count(live[N_CLEAR], lane),
                last_clear: last_clear.map(|look| self.dates[look].day),
                before_rgb: rgb(&bounds[BEFORE_RGB..]),
                after_rgb: rgb(&after),
                finding: None,
                retracted: Vec::new(),
            };
            let base = u8::try_from(bounds[BASE].as_array()[lane]).ok();
            let base = base
                .and_then(PixelState::from_code)
                .unwrap_or(PixelState::Outside);
            verdict.state = match base {
                // The code of what is followed.
                PixelState::Outside | PixelState::BareHistory
                    if u32::from(verdict.n_clear) < min_clear =>
                {
                    let unseen = Unseen {
                        clouded: count(live[CLOUDED], lane).into(),
                        not_acquired: count(live[NOT_ACQUIRED], lane).into(),
                        failed: count(live[FAILED], lane).into(),
                    };
                    unseen.state()
                }
                PixelState::Outside => {
                    let followed = watched
                        .iter()
                        .take_while(|&&(watched, _)| watched as usize <= pixel)
                        .last()
                        .filter(|&&(watched, _)| watched as usize == pixel);
                    if let Some((_, followed)) = followed {
                        (verdict.finding, verdict.retracted) = followed.clone().findings();
                    }
                    match verdict.finding {
                        None => PixelState::Stable,
                        Some(finding) if finding.kind == Kind::Cleared => PixelState::Cleared,
                        Some(finding) if finding.confirmed_look.is_some() => PixelState::Confirmed,
                        Some(_) => PixelState::Provisional,
                    }
                }
                base => base,
            };
            verdict
        })
    }

    /// Median red, green and blue of the deciding looks; 0 = none.
    fn picture(&self, tile: usize) -> [Integers; 3] {
        let looks = of_tile(&self.looks, tile, self.n_deciding);
        let n_recent = self.tiles[tile].live[N_RECENT];
        let mut picture = [Integers::ZERO; 3];
        let mut values = Vec::with_capacity(self.n_deciding);
        // The places of red, green and blue.
        for (band, out) in [2, 1, 0].into_iter().zip(&mut picture) {
            for lane in 0..N_LANES {
                let n = usize::try_from(n_recent.as_array()[lane]).unwrap_or(0);
                if n > 0 {
                    values.clear();
                    // Until the ring is full its places are filled in order.
                    values.extend(
                        looks[..n]
                            .iter()
                            .map(|look| look.numbers[band].as_array()[lane]),
                    );
                    let (_, middle, _) = values.select_nth_unstable(n / 2);
                    out.as_mut_array()[lane] = (*middle).max(1);
                }
            }
        }
        picture
    }

    /// Works out what follows from all deciding looks.
    pub(crate) fn show_all(&mut self, params: &Params) {
        for (index, DecidingLook { numbers, shown }) in self.looks.iter_mut().enumerate() {
            let [blue, green, red, nir, swir16, swir22, look, _] = *numbers;
            let mut regressors = [[0.0; N_LANES]; N_COEFFICIENTS];
            for (lane, &look) in look.as_array().iter().enumerate() {
                let row = self.dates[usize::from(look.cast_unsigned())].regressors;
                for (lanes, value) in regressors.iter_mut().zip(row) {
                    lanes[lane] = value;
                }
            }
            let TileState { bounds, fit, .. } = &self.tiles[index / self.n_deciding];
            let bands = [blue, green, red, nir, swir16, swir22];
            *shown = Shown::of(fit, bounds, &regressors, &bands, params);
        }
    }
}

/// What following a pixel on its own needs, made once.
struct Scratch {
    recent: Recent,
    keys: Vec<i32>,
}

/// Counts why the ground was not seen, at pixels that were not seen often enough yet.
#[inline(always)]
fn count_unseen(
    live: &mut Live,
    looks: &Looks,
    time: usize,
    first: usize,
    n_pixels: usize,
    params: &Params,
) {
    let enough = i16::try_from(params.min_clear_monitoring).map(Integers::splat);
    let is_short =
        |n_clear: Integers| enough.map_or(Mask::splat(-1), |enough| n_clear.simd_lt(enough));
    let short = is_short(live[N_CLEAR]);
    if !short.any() {
        return;
    }
    for lane in 0..N_LANES.min(n_pixels - first) {
        if short.as_array()[lane] != 0 {
            let mut unseen = Unseen::default();
            unseen.count(looks.observation(time, first + lane));
            let counts = [
                (CLOUDED, unseen.clouded),
                (NOT_ACQUIRED, unseen.not_acquired),
                (FAILED, unseen.failed),
            ];
            for (row, count) in counts {
                live[row].as_mut_array()[lane] += i16::from(count > 0);
            }
        }
    }
}

#[inline(always)]
fn is_slot(slots: Integers, slot: usize) -> Mask {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "Params::check holds it below 100"
    )]
    slots.simd_eq(Integers::splat(slot as i16))
}

/// What a tile has of so many a tile.
#[inline(always)]
fn of_tile<T>(all: &[T], tile: usize, n: usize) -> &[T] {
    &all[tile * n..(tile + 1) * n]
}

#[inline(always)]
fn of_tile_mut<T>(all: &mut [T], tile: usize, n: usize) -> &mut [T] {
    &mut all[tile * n..(tile + 1) * n]
}

/// The reflectance of digital numbers.
#[inline(always)]
fn reflectance(numbers: Integers) -> [f32x4; N_PARTS] {
    lanes::floats(numbers).map(|part| part * f32x4::splat(REFLECTANCE_SCALE))
}

/// A model's value, as [`crate::harmonic::predict`] adds it up.
#[inline(always)]
fn predicted(fit: &Fit, model: usize, regressors: &[Lanes; N_COEFFICIENTS], place: usize) -> f32x4 {
    let mut sum = f32x4::ZERO;
    for (coefficients, regressors) in fit[model..model + N_COEFFICIENTS].iter().zip(regressors) {
        sum += lanes::part(coefficients, place) * lanes::part(regressors, place);
    }
    sum
}

/// Where among some pixels a look that is said to be clear is haze or cloud, as `monitor.rs` has it.
#[inline(always)]
fn residual_cloud(
    fit: &Fit,
    regressors: &[Lanes; N_COEFFICIENTS],
    bands: &[Integers; N_BANDS],
    among: Mask,
    params: &Params,
) -> Mask {
    let value = reflectance(bands[0]);
    let excess: [f32x4; N_PARTS] =
        std::array::from_fn(|place| value[place] - predicted(fit, BLUE_MODEL, regressors, place));
    let is_blue = excess.map(|blue| blue.simd_gt(f32x4::splat(params.cloud_blue_excess)));
    let among = among & lanes::mask_of(is_blue);
    if !among.any() {
        return Mask::ZERO;
    }
    let value = reflectance(bands[2]);
    let is_white = std::array::from_fn(|place| {
        let red = value[place] - predicted(fit, RED_MODEL, regressors, place);
        excess[place].simd_gt(f32x4::splat(params.cloud_whiteness) * red)
    });
    among & lanes::mask_of(is_white)
}

impl Shown {
    #[inline(always)]
    fn of(
        fit: &Fit,
        bounds: &Bounds,
        regressors: &[Lanes; N_COEFFICIENTS],
        bands: &[Integers; N_BANDS],
        params: &Params,
    ) -> Self {
        let [blue, _, red, nir, swir16, swir22] = *bands;
        let is_color = [blue, red, swir16, swir22]
            .iter()
            .enumerate()
            .map(|(k, &numbers)| {
                numbers.simd_lt(bounds[LOWEST + k]) | numbers.simd_gt(bounds[GREATEST + k])
            })
            .fold(Mask::ZERO, |all, one| all | one);
        let [blue, red, nir, swir16] = [blue, red, nir, swir16].map(reflectance);
        let ndvi: [f32x4; N_PARTS] =
            std::array::from_fn(|place| index::ndvi_of_four(red[place], nir[place]));
        let expected: [f32x4; N_PARTS] =
            std::array::from_fn(|place| predicted(fit, NDVI_MODEL, regressors, place));
        let is_bare = std::array::from_fn(|place| {
            index::bsi_of_four(blue[place], red[place], nir[place], swir16[place])
                .simd_gt(f32x4::splat(params.ground_bsi))
        });
        let is_red = red.map(|red| red.simd_gt(f32x4::splat(params.ground_red)));
        let is_dark = swir16.map(|swir16| swir16.simd_lt(f32x4::splat(params.water_swir16)));
        Self {
            ndvi: lanes::join(ndvi),
            expected: lanes::join(expected),
            flags: (lanes::mask_of(is_red) & Integers::splat(IS_RED))
                | (lanes::mask_of(is_bare) & Integers::splat(IS_BARE))
                | (lanes::mask_of(is_dark) & Integers::splat(IS_DARK))
                | (is_color & Integers::splat(IS_COLOR)),
        }
    }

    /// Takes the pixels of a mask from another.
    #[inline(always)]
    fn replace(&mut self, new: &Self, here: Mask) {
        self.flags = here.select(new.flags, self.flags);
        let wide = lanes::wide_mask(here);
        for (place, here) in wide.into_iter().enumerate() {
            for (old, new) in [
                (&mut self.ndvi, &new.ndvi),
                (&mut self.expected, &new.expected),
            ] {
                let value = here.select(lanes::part(new, place), lanes::part(old, place));
                lanes::set_part(old, place, value);
            }
        }
    }
}

/// Where the last three looks may make evidence of a change: conditions that each kind of evidence of `monitor.rs` implies.
///
/// More than half of the looks lie beyond a bound where their median does, so conditions on bands are kept a bit a look.
#[inline(always)]
fn may_change(fit: &Fit, looks: &[DecidingLook; USUAL_LOOKS], params: &Params) -> Mask {
    let looks = looks.each_ref().map(|look| &look.shown);
    let [a, b, c] = looks;
    let most = (a.flags & b.flags) | (c.flags & (a.flags | b.flags));
    let has = |bits: i16| (most & Integers::splat(bits)).simd_eq(Integers::splat(bits));
    let mut is_drop = [f32x4::ZERO; N_PARTS];
    let mut is_low = [f32x4::ZERO; N_PARTS];
    let mut is_arrived = [f32x4::ZERO; N_PARTS];
    let mut is_not_greener = [f32x4::ZERO; N_PARTS];
    let mut is_lost = [f32x4::ZERO; N_PARTS];
    for place in 0..N_PARTS {
        let ndvi = looks.map(|look| lanes::part(&look.ndvi, place));
        let expected = looks
            .each_ref()
            .map(|look| lanes::part(&look.expected, place));
        let residual: [f32x4; USUAL_LOOKS] = std::array::from_fn(|k| ndvi[k] - expected[k]);
        let [ndvi, expected, residual] = [ndvi, expected, residual].map(median_of_three);
        let drop = -residual;
        let scale = lanes::part(&fit[NDVI_SCALE], place);
        is_drop[place] = drop.simd_gt(f32x4::splat(params.departure_ndvi) * scale);
        is_low[place] = ndvi.simd_lt(f32x4::splat(params.ground_ndvi));
        let way = expected - f32x4::splat(params.bare_ndvi);
        // Not so strict that rounding could matter.
        is_arrived[place] = drop.simd_gt(f32x4::splat(0.999 * params.arrival_share) * way);
        is_not_greener[place] = drop.simd_gt(f32x4::splat(-params.color_greening) * scale);
        let lost = expected - ndvi;
        is_lost[place] = expected.simd_gt(f32x4::splat(params.canopy_ndvi))
            & lost.simd_gt(f32x4::splat(params.cleared_drop))
            & lost.simd_gt(
                f32x4::splat(params.cleared_departure) * lanes::part(&fit[CANOPY_SCALE], place),
            );
    }
    let [is_drop, is_low, is_arrived, is_not_greener, is_lost] =
        [is_drop, is_low, is_arrived, is_not_greener, is_lost].map(lanes::mask_of);
    let is_ground = has(IS_RED | IS_BARE) & is_low;
    is_lost
        | (is_drop & has(IS_DARK))
        | (is_ground & ((is_drop & is_arrived) | (is_not_greener & has(IS_COLOR))))
}

#[inline(always)]
fn median_of_three([a, b, c]: [f32x4; 3]) -> f32x4 {
    a.fast_min(b).fast_max(a.fast_max(b).fast_min(c))
}

fn copy_numbers(from: &[Lanes], lane: usize, to: &mut [Lanes], to_lane: usize) {
    for (from, to) in from.iter().zip(to) {
        to[to_lane] = from[lane];
    }
}

fn copy_integers(from: &[Integers], lane: usize, to: &mut [Integers], to_lane: usize) {
    for (from, to) in from.iter().zip(to) {
        to.as_mut_array()[to_lane] = from.as_array()[lane];
    }
}

/// Fits the history of a tile's pixels, follows their looks, and keeps where that ends.
///
/// - `records`: those of its pixels, all unseen yet.
fn remember(
    looks: &Looks,
    first: usize,
    work: &mut Work,
    params: &Params,
    records: &mut [f32],
) -> TileMemory {
    work.fill(looks, first, params);
    let Work { tile, fit, series } = work;
    let n_pixels = looks.cube.geobox().shape().n_pixels();
    let mut memory = TileMemory {
        state: TileState::EMPTY,
        looks: vec![DecidingLook::NONE; params.median_looks as usize],
        watched: Vec::new(),
    };
    let n_numbers = Records::n_numbers(looks.n_history);
    let n_here = N_LANES.min(n_pixels - first);
    for lane in 0..n_here {
        let index = first + lane;
        let n = tile.gather(lane, &looks.dates, series);
        let set = |row: &mut Integers, value: i16| row.as_mut_array()[lane] = value;
        let short = |count: usize| i16::try_from(count).unwrap_or(i16::MAX);
        let live = &mut memory.state.live;
        let n_clear = series.len() - n;
        set(&mut live[N_CLEAR], short(n_clear));
        let last_clear = series.look.last().map_or(-1, |&look| short(look as usize));
        set(&mut live[LAST_CLEAR], last_clear);
        if n_clear < params.min_clear_monitoring as usize {
            let unseen = crate::detect::unseen(looks, index, looks.n_history..looks.dates.len());
            set(&mut live[CLOUDED], short(unseen.clouded as usize));
            set(&mut live[NOT_ACQUIRED], short(unseen.not_acquired as usize));
            set(&mut live[FAILED], short(unseen.failed as usize));
        }
        let bounds = &mut memory.state.bounds;
        set(&mut bounds[N_HISTORY], short(n));
        let before_rgb = picture(series, last(0..n, params.picture_looks));
        for (k, value) in before_rgb.into_iter().enumerate() {
            set(&mut bounds[BEFORE_RGB + k], value.cast_signed());
        }
        let is_short = n < params.min_clear_history as usize;
        let history = (!is_short).then(|| fit.history(lane, series, n, params));
        let Some(history) = history.filter(|history| history.median_ndvi >= params.history_ndvi)
        else {
            let base = if is_short {
                short_history(looks, index)
            } else {
                PixelState::BareHistory
            };
            set(&mut bounds[BASE], base as i16);
            let looks = last(n..series.len(), params.median_looks).map(|t| (t, 0));
            memory.decide_by(tile, series, lane, looks);
            continue;
        };
        set(&mut bounds[BASE], FOLLOWED);
        for (k, [lowest, greatest]) in color_bounds(&history, params).into_iter().enumerate() {
            set(&mut bounds[LOWEST + k], lowest);
            set(&mut bounds[GREATEST + k], greatest);
        }
        for (model, series) in [(BLUE_MODEL, BLUE), (RED_MODEL, RED), (NDVI_MODEL, NDVI)] {
            for (k, &coefficient) in history.coefficients[series].iter().enumerate() {
                memory.state.fit[model + k][lane] = coefficient;
            }
        }
        memory.state.fit[NDVI_SCALE][lane] = history.scale[NDVI];
        memory.state.fit[CANOPY_SCALE][lane] = history.canopy_scale;
        let record = &mut records[lane * n_numbers..(lane + 1) * n_numbers];
        history.write_numbers(record);
        for (&look, &residual) in series.look[..n].iter().zip(&series.residual) {
            record[N_HISTORY_NUMBERS + look as usize] = residual;
        }

        let (followed, recent) = follow(series, n, &history, params);
        let newest = recent.looks.last().map(|look| look.look);
        let before = newest.or(series.look[..n].last().copied()).unwrap_or(0);
        set(&mut live[BEFORE], short(before as usize));
        set(&mut live[ACTIVE], -i16::from(!followed.is_idle()));
        if followed.is_kept() {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a window has fewer than 2^32 pixels"
            )]
            memory.watched.push((index as u32, followed));
        }
        let looks = recent.looks.iter();
        let looks = looks.map(|recent| (series.position(recent.look), recent.before));
        memory.decide_by(tile, series, lane, looks);
    }
    memory
}

impl TileMemory {
    /// Sets the deciding looks of a pixel, oldest first.
    ///
    /// - `looks`: their places in the series, and the clear look before each.
    fn decide_by(
        &mut self,
        tile: &Tile,
        series: &Series,
        lane: usize,
        looks: impl ExactSizeIterator<Item = (usize, u32)>,
    ) {
        let set = |row: &mut Integers, value: i16| row.as_mut_array()[lane] = value;
        let short = |count: usize| i16::try_from(count).unwrap_or(i16::MAX);
        set(&mut self.state.live[N_RECENT], short(looks.len()));
        set(
            &mut self.state.live[SLOT],
            short(looks.len() % self.looks.len()),
        );
        for ((t, before), out) in looks.zip(&mut self.looks) {
            let numbers = tile.numbers(series.place[t], lane);
            let look = short(series.look[t] as usize);
            let numbers = numbers.into_iter().chain([look, short(before as usize)]);
            for (row, number) in out.numbers.iter_mut().zip(numbers) {
                set(row, number);
            }
        }
    }
}

/// Digital numbers of blue, red, swir16 and swir22 outside which one of them must lie where the color is new.
///
/// A distance over four bands is at most twice the greatest of them; rounding is left room.
fn color_bounds(history: &History, params: &Params) -> [[i16; 2]; 4] {
    [BLUE, RED, SWIR16, SWIR22].map(|k| {
        let least = 0.495 * params.departure_color * history.scale[k];
        let [low, high] = history.range[k];
        #[expect(
            clippy::cast_possible_truncation,
            reason = "rounded, and what lies outside the integers is brought to their ends"
        )]
        let number = |value: f32| (value / REFLECTANCE_SCALE).round() as i16;
        [
            number(low - least).saturating_add(2),
            number(high + least).saturating_sub(2),
        ]
    })
}

#[cfg(test)]
mod tests {
    use pitwatch_grid::{
        Band, Crs, MISSING_REFLECTANCE, NOT_ACQUIRED, Point, QUARANTINED, READ_FAILED, Shape,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::detect;

    const BANDS: [Band; 6] = [
        Band::Blue,
        Band::Green,
        Band::Red,
        Band::Nir,
        Band::Swir16,
        Band::Swir22,
    ];
    const FIRST: i32 = 17_700;
    const N_HISTORY_LOOKS: usize = 80;
    const N_LOOKS: usize = 150;

    /// The numbers of every pipeline.
    fn params() -> Params {
        let table: toml::Table = include_str!("../../../pipelines/simbench.toml")
            .parse()
            .unwrap();
        table["change"].clone().try_into().unwrap()
    }

    struct Dice(u64);

    impl Dice {
        /// SplitMix64, <https://doi.org/10.1145/2714064.2660195>.
        fn bits(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = self.0;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bits ^ (bits >> 31)
        }

        fn below(&mut self, n: u64) -> u64 {
            self.bits() % n
        }

        fn unit(&mut self) -> f32 {
            (self.bits() >> 40) as f32 / (1 << 24) as f32
        }
    }

    /// Grounds of which each pixel shows one after the other, with all that can hide them.
    fn cube(seed: u64, shape: Shape, bands: &[Band]) -> Cube {
        const GROUNDS: [[f32; 6]; 8] = [
            [0.03, 0.06, 0.03, 0.40, 0.18, 0.08],
            [0.08, 0.11, 0.14, 0.24, 0.32, 0.22],
            [0.10, 0.15, 0.25, 0.31, 0.42, 0.36],
            [0.20, 0.22, 0.25, 0.27, 0.30, 0.30],
            [0.07, 0.11, 0.10, 0.05, 0.02, 0.01],
            [0.03, 0.04, 0.05, 0.08, 0.15, 0.14],
            [0.02, 0.03, 0.02, 0.45, 0.15, 0.06],
            [0.45, 0.45, 0.46, 0.50, 0.40, 0.30],
        ];
        let mut dice = Dice(seed);
        let geobox = GeoBox::new(
            Crs::from_epsg(32630).unwrap(),
            Point { x: 0.0, y: 0.0 },
            10.0,
            shape,
        )
        .unwrap();
        let mut day = FIRST;
        let days: Vec<Day> = (0..N_LOOKS)
            .map(|_| {
                day += dice.below(14) as i32;
                Day(day)
            })
            .collect();
        let mut cube = Cube::empty(geobox, days.clone(), bands.to_vec());
        for pixel in 0..shape.n_pixels() {
            let hidden = [0.02, 0.2, 0.3, 0.9, 0.99];
            let [hidden, hidden_later] = [(); 2].map(|()| hidden[dice.below(5) as usize]);
            // Most often by cloud, by the edge of the scenes, or by what cannot be read.
            let reason = [20, 0, 1][dice.below(3) as usize];
            let noise = [0.002, 0.006, 0.03][dice.below(3) as usize];
            let evergreen = dice.below(3) == 0;
            let mut ground = None;
            for (time, day) in days.iter().enumerate() {
                let is_history = time < N_HISTORY_LOOKS;
                if dice.below(if is_history { 60 } else { 12 }) == 0 {
                    ground = (dice.below(3) > 0).then(|| dice.below(7) as usize);
                }
                let season = 0.5 - 0.5 * (day.season_angle().cos() as f32);
                let leaf = if evergreen { 1.0 } else { 0.1 + 0.8 * season };
                let mut spectrum: [f32; 6] = match ground {
                    Some(ground) => GROUNDS[ground],
                    None => {
                        std::array::from_fn(|k| leaf * GROUNDS[0][k] + (1.0 - leaf) * GROUNDS[1][k])
                    }
                };
                let mut class = 4 + dice.below(4) as u8;
                if dice.unit() < if is_history { hidden } else { hidden_later } {
                    match [reason, dice.below(12)][dice.below(2) as usize] {
                        0 => class = NOT_ACQUIRED,
                        1 => class = READ_FAILED,
                        2 => class = QUARANTINED,
                        3 => class = dice.below(12) as u8,
                        // Haze that is called clear.
                        4 => spectrum = spectrum.map(|value| value + 0.06),
                        _ => {
                            class = 8 + dice.below(2) as u8;
                            if dice.below(4) > 0 {
                                spectrum = GROUNDS[7];
                            }
                        }
                    }
                }
                for (band, value) in spectrum.into_iter().enumerate().take(bands.len()) {
                    let value = value + noise * (2.0 * dice.unit() - 1.0);
                    cube.plane_mut(band, time)[pixel] = if dice.below(200) == 0 {
                        MISSING_REFLECTANCE
                    } else {
                        (value * 10_000.0).round() as i16
                    };
                }
                cube.classes_mut(time)[pixel] = class;
            }
        }
        cube
    }

    /// Some looks of a cube.
    fn part(cube: &Cube, looks: std::ops::Range<usize>) -> Cube {
        let days = cube.days()[looks.clone()].to_vec();
        let mut cut = Cube::empty(cube.geobox().clone(), days, cube.bands().to_vec());
        for (to, from) in looks.enumerate() {
            for band in 0..cube.bands().len() {
                cut.plane_mut(band, to)
                    .copy_from_slice(cube.plane(band, from));
            }
            cut.classes_mut(to).copy_from_slice(cube.classes(from));
        }
        cut
    }

    fn monitor_from(cube: &Cube) -> Day {
        cube.days()[N_HISTORY_LOOKS]
    }

    /// All bits of a map, signs of zeros too.
    fn text(map: &ChangeMap) -> Vec<String> {
        map.pixels
            .iter()
            .map(|pixel| format!("{pixel:?}"))
            .collect()
    }

    const SHAPE: Shape = Shape {
        height: 5,
        width: 13,
    };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn looks_taken_in_later_give_what_all_looks_give(
            seed in any::<u64>(),
            cuts in prop::collection::vec(0usize..=N_LOOKS - N_HISTORY_LOOKS, 1..5),
            n_bands in 5usize..=6,
            median_looks in prop_oneof![4 => Just(3u32), 1 => 1u32..6],
            picture_looks in 1u32..7,
            min_clear_monitoring in prop_oneof![Just(3u32), 1u32..30],
            departure_color in prop_oneof![Just(5.0f32), 0.5f32..5.0],
        ) {
            let params = Params { median_looks, picture_looks, min_clear_monitoring, departure_color, ..params() };
            let whole = cube(seed, SHAPE, &BANDS[..n_bands]);
            let from = monitor_from(&whole);
            let n_history = whole.days().partition_point(|&day| day < from);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| (n_history + cut).min(N_LOOKS)).collect();
            cuts.sort_unstable();
            let (mut memory, records) = Memory::of(&part(&whole, 0..cuts[0]), from, &params).unwrap();
            let mut done = cuts[0];
            let mut ends = cuts[1..].to_vec();
            // The last look alone.
            ends.extend([N_LOOKS - 1, N_LOOKS]);
            for end in ends {
                let early = memory.map(whole.geobox(), &records, &params);
                let expected = detect(&part(&whole, 0..done), from, &params).unwrap();
                prop_assert_eq!(text(&early), text(&expected));
                memory = Memory::from_bytes(&memory.fit_bytes(), &memory.live_bytes(), &params).expect("whole bytes");
                if end > done {
                    memory.step(&part(&whole, done..end), &params, &mut |pixel, record| records.read(pixel, record)).unwrap();
                    done = end;
                }
            }
            let expected = detect(&whole, from, &params).unwrap();
            prop_assert_eq!(text(&memory.map(whole.geobox(), &records, &params)), text(&expected));
        }

        #[test]
        fn one_by_one_gives_what_all_looks_give(seed in any::<u64>()) {
            let params = params();
            let whole = cube(seed, SHAPE, &BANDS);
            let from = monitor_from(&whole);
            let n_history = whole.days().partition_point(|&day| day < from);
            let (mut memory, records) = Memory::of(&part(&whole, 0..n_history), from, &params).unwrap();
            for look in n_history..N_LOOKS {
                memory.step(&part(&whole, look..look + 1), &params, &mut |pixel, record| records.read(pixel, record)).unwrap();
            }
            let expected = detect(&whole, from, &params).unwrap();
            prop_assert_eq!(text(&memory.map(whole.geobox(), &records, &params)), text(&expected));
        }
    }

    #[test]
    fn damaged_bytes_are_known() {
        let params = params();
        let cube = cube(5, SHAPE, &BANDS);
        let (memory, records) = Memory::of(&cube, monitor_from(&cube), &params).unwrap();
        let (fit, live) = (memory.fit_bytes(), memory.live_bytes());
        assert_eq!(fit.len(), Memory::n_fit_bytes(SHAPE.n_pixels()));
        assert_eq!(
            Memory::from_bytes(&fit, &live, &params).as_ref(),
            Some(&memory)
        );
        let mut record = Vec::new();
        records.write_bytes(7..8, &mut record);
        let mut numbers = vec![0.0; records.of(7).len()];
        assert!(Records::read_bytes(&record, &mut numbers));
        assert_eq!(format!("{numbers:?}"), format!("{:?}", records.of(7)));
        for place in 0..40 {
            let damage = |bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                let at = place * (bytes.len() - 1) / 39;
                bytes[at] ^= 1 << (place % 8);
                bytes
            };
            assert_eq!(Memory::from_bytes(&damage(&fit), &live, &params), None);
            assert_eq!(Memory::from_bytes(&fit, &damage(&live), &params), None);
            assert_eq!(
                Memory::from_bytes(&fit, &live[..place * live.len() / 40], &params),
                None
            );
            assert!(!Records::read_bytes(&damage(&record), &mut numbers));
        }
    }

    /// The cubes of these tests show all states and kinds of findings.
    #[test]
    fn the_tests_show_every_state() {
        let mut n = [0; 10];
        let (mut n_retracted, mut n_green) = (0, 0);
        for seed in 0..8 {
            let cube = cube(seed, SHAPE, &BANDS);
            for pixel in detect(&cube, monitor_from(&cube), &params())
                .unwrap()
                .pixels
            {
                n[pixel.state as usize] += 1;
                n_retracted += pixel.retracted.len();
                n_green += usize::from(pixel.finding.is_some_and(|finding| {
                    finding.greened_look.or(finding.stayed_bare_look).is_some()
                }));
            }
        }
        assert!(
            n[1..].iter().all(|&n| n > 2) && n_retracted > 10 && n_green > 10,
            "{n:?} {n_retracted} {n_green}"
        );
    }

    /// A picture is found among digital numbers here and among reflectances in `detect`.
    #[test]
    fn every_digital_number_comes_back_from_its_reflectance() {
        for number in i16::MIN..=i16::MAX {
            let value = f32::from(number) * REFLECTANCE_SCALE / REFLECTANCE_SCALE;
            assert_eq!(
                value.round().clamp(1.0, 65_535.0) as i32,
                i32::from(number.max(1))
            );
        }
    }
}
