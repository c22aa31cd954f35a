//! A few pixels of a cube beside each other, look by look: what the fit works on.

use pitwatch_grid::{Band, Cube, Day, MISSING_REFLECTANCE, NOT_ACQUIRED};
use wide::f32x4;

use crate::harmonic::N_COEFFICIENTS;
use crate::index;
use crate::lanes::{self, Integers, Lanes, Mask, N_LANES};
use crate::mask::{Observation, may_be_bright_ground, observation};
use crate::series::{BLUE, LookDate, N_SERIES, RED, SWIR16, SWIR22, Series};
use crate::{Error, Params, REQUIRED_BANDS, Result};

/// Reflectance is held × 10,000 in a [`Cube`].
pub(crate) const REFLECTANCE_SCALE: f32 = 1e-4;

/// The bands of a tile, in this order.
pub(crate) const N_BANDS: usize = 6;

/// A cube, and where in it are the bands and the looks that are worked on.
pub(crate) struct Looks<'a> {
    pub(crate) cube: &'a Cube,
    /// Places of blue, green, red, nir and swir16.
    pub(crate) bands: [usize; N_BANDS - 1],
    /// Place of swir22. Where it is not given it is 0 in all looks: it then departs from nothing.
    pub(crate) swir22: Option<usize>,
    pub(crate) dates: Vec<LookDate>,
    /// −1 for each class that shows the ground, else 0.
    pub(crate) clear: [i16; 256],
    /// −1 for each class of cloud that bright bare ground is taken for, else 0.
    pub(crate) bright: [i16; 256],
    pub(crate) tailings: Tailings,
    pub(crate) n_history: usize,
}

impl<'a> Looks<'a> {
    /// All looks of a cube, or those before the day `until`.
    ///
    /// # Errors
    ///
    /// If a required band is missing.
    pub(crate) fn new(
        cube: &'a Cube,
        monitor_from: Day,
        until: Option<Day>,
        params: &Params,
    ) -> Result<Self> {
        let mut bands = [0; REQUIRED_BANDS.len()];
        for (place, band) in bands.iter_mut().zip(REQUIRED_BANDS) {
            *place = cube.band_index(band).ok_or(Error::MissingBand {
                band: band.common_name(),
            })?;
        }
        let dates: Vec<LookDate> = cube
            .days()
            .iter()
            .take_while(|&&day| until.is_none_or(|until| day < until))
            .map(|&day| LookDate::of(day))
            .collect();
        Ok(Self {
            cube,
            bands,
            swir22: cube.band_index(Band::Swir22),
            n_history: dates.partition_point(|date| date.day < monitor_from),
            dates,
            clear: std::array::from_fn(|class| {
                -i16::from(u8::try_from(class).map(observation) == Ok(Observation::Clear))
            }),
            bright: std::array::from_fn(|class| {
                -i16::from(u8::try_from(class).is_ok_and(may_be_bright_ground))
            }),
            tailings: Tailings::new(params),
        })
    }

    /// Which of the pixels of a tile a look shows, and the digital numbers of its bands; `None` if it shows none of them.
    #[inline(always)]
    pub(crate) fn seen(&self, time: usize, first: usize) -> Option<(Mask, [Integers; N_BANDS])> {
        let classes = part(self.cube.classes(time), first, NOT_ACQUIRED);
        let mut mask = Mask::new(classes.map(|class| self.clear[usize::from(class)]));
        let bright = Mask::new(classes.map(|class| self.bright[usize::from(class)]));
        if !(mask | bright).any() {
            return None;
        }
        let band = |band| {
            Integers::new(part(
                self.cube.plane(band, time),
                first,
                MISSING_REFLECTANCE,
            ))
        };
        let [blue, green, red, nir, swir16] = self.bands.map(band);
        let swir22 = self.swir22.map_or(Integers::ZERO, band);
        if bright.any() {
            mask |= bright & self.tailings.are_bare(blue, red);
        }
        let bands: [Integers; N_BANDS] = [blue, green, red, nir, swir16, swir22];
        for values in bands {
            mask &= !values.simd_eq(Integers::splat(MISSING_REFLECTANCE));
        }
        mask.any().then_some((mask, bands))
    }

    /// What a look says of a pixel.
    pub(crate) fn observation(&self, time: usize, index: usize) -> Observation {
        let seen = observation(self.cube.classes(time)[index]);
        let is_missing = || {
            let is_missing = |band| self.cube.plane(band, time)[index] == MISSING_REFLECTANCE;
            self.bands.into_iter().chain(self.swir22).any(is_missing)
        };
        if seen == Observation::Clear && is_missing() {
            Observation::NoData
        } else {
            seen
        }
    }
}

/// What tells bright bare ground from cloud, in the units of a [`Cube`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tailings {
    /// Greatest blue over red, × 2¹⁵.
    whiteness: Integers,
    /// Digital number that red must exceed.
    red: Integers,
}

impl Tailings {
    pub(crate) fn new(params: &Params) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "Params::check holds both below 1"
        )]
        let integers = |value: f32| Integers::splat(value.round() as i16);
        Self {
            whiteness: integers(params.tailings_whiteness * 32_768.0),
            red: integers(params.tailings_red / REFLECTANCE_SCALE),
        }
    }

    /// Where ground of these digital numbers is too bright in red and too dark in blue for cloud.
    #[inline(always)]
    pub(crate) fn are_bare(self, blue: Integers, red: Integers) -> Mask {
        red.simd_gt(self.red) & red.mul_scale_round(self.whiteness).simd_gt(blue)
    }
}

/// The looks at [`N_LANES`] pixels beside each other that show at least one of them.
///
/// One is made a thread and filled anew for each tile, so that no pixel allocates.
#[derive(Debug, Default)]
pub(crate) struct Tile {
    /// Places in the cube's list of looks, ascending.
    looks: Vec<u32>,
    /// Which pixels each look shows.
    masks: Vec<Mask>,
    /// Digital numbers of blue, green, red, nir, swir16 and swir22.
    bands: [Vec<Integers>; N_BANDS],
    /// How many of the looks are history.
    n_history: usize,
    /// Of the history, the regressors and the series that are modelled; 0 where a pixel is not seen.
    regressors: Vec<[f32; N_COEFFICIENTS]>,
    series: [Vec<Lanes>; N_SERIES],
}

/// The history looks of a [`Tile`]; all slices are of the same length.
pub(crate) struct TileHistory<'a> {
    pub(crate) regressors: &'a [[f32; N_COEFFICIENTS]],
    pub(crate) masks: &'a [Mask],
    /// The series that are modelled; 0 where a pixel is not seen.
    pub(crate) series: [&'a [Lanes]; N_SERIES],
    /// Digital numbers of the same; NDVI's are empty.
    pub(crate) integers: [&'a [Integers]; N_SERIES],
}

impl Tile {
    /// Fills the tile with the pixels from `first` on; what lies behind the last pixel is not seen.
    pub(crate) fn fill(&mut self, looks: &Looks, first: usize) {
        self.looks.clear();
        self.masks.clear();
        self.bands.iter_mut().for_each(Vec::clear);
        self.regressors.clear();
        self.series.iter_mut().for_each(Vec::clear);
        for (time, date) in looks.dates.iter().enumerate() {
            if time == looks.n_history {
                self.n_history = self.looks.len();
            }
            let Some((mask, bands)) = looks.seen(time, first) else {
                continue;
            };
            let [blue, _, red, nir, swir16, swir22] = bands;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "an area has far fewer than 2^32 looks"
            )]
            self.looks.push(time as u32);
            self.masks.push(mask);
            for (all, values) in self.bands.iter_mut().zip(bands) {
                all.push(values);
            }
            if time < looks.n_history {
                self.regressors.push(date.regressors);
                let reflectance = |values: Integers| {
                    lanes::floats(values & mask).map(|part| part * f32x4::splat(REFLECTANCE_SCALE))
                };
                let (red, nir) = (reflectance(red), reflectance(nir));
                let ndvi = std::array::from_fn(|part| index::ndvi_of_four(red[part], nir[part]));
                let modelled = [
                    ndvi,
                    reflectance(blue),
                    red,
                    reflectance(swir16),
                    reflectance(swir22),
                ];
                for (all, values) in self.series.iter_mut().zip(modelled) {
                    all.push(lanes::join(values));
                }
            }
        }
        if looks.n_history == looks.dates.len() {
            self.n_history = self.looks.len();
        }
    }

    /// Digital numbers of one of the pixels at a place among the tile's looks.
    pub(crate) fn numbers(&self, place: u32, lane: usize) -> [i16; N_BANDS] {
        std::array::from_fn(|band| self.bands[band][place as usize].as_array()[lane])
    }

    /// The looks before the monitoring.
    pub(crate) fn history(&self) -> TileHistory<'_> {
        let n = self.n_history;
        let [blue, _, red, _, swir16, swir22] = self.bands.each_ref().map(|band| &band[..n]);
        TileHistory {
            regressors: &self.regressors,
            masks: &self.masks[..n],
            series: self.series.each_ref().map(Vec::as_slice),
            integers: [&[], blue, red, swir16, swir22],
        }
    }

    /// Fills a series with the clear looks at one of the pixels; returns how many of them are history.
    pub(crate) fn gather(&self, lane: usize, dates: &[LookDate], series: &mut Series) -> usize {
        series.clear();
        // Each look is written and the next one over it where the pixel was not seen: that needs no branch.
        series.place.resize(self.masks.len(), 0);
        let mut n_seen = 0;
        for (mask, look) in self.masks.iter().zip(0..) {
            series.place[n_seen] = look;
            n_seen += usize::from(mask.as_array()[lane] != 0);
        }
        series.place.truncate(n_seen);
        let places = &series.place;
        let n = places.partition_point(|&place| (place as usize) < self.n_history);
        let band = |band: usize, out: &mut Vec<f32>| {
            out.extend(places.iter().map(|&place| {
                f32::from(self.bands[band][place as usize].as_array()[lane]) * REFLECTANCE_SCALE
            }));
        };
        band(0, &mut series.values[BLUE]);
        band(1, &mut series.green);
        band(2, &mut series.values[RED]);
        band(3, &mut series.nir);
        band(4, &mut series.values[SWIR16]);
        band(5, &mut series.values[SWIR22]);
        let [ndvi, _, red, ..] = &mut series.values;
        ndvi.extend(
            red.iter()
                .zip(&series.nir)
                .map(|(&red, &nir)| index::ndvi(red, nir)),
        );
        series
            .look
            .extend(places.iter().map(|&place| self.looks[place as usize]));
        series
            .day
            .extend(series.look.iter().map(|&look| dates[look as usize].day));
        series.regressors.extend(
            series
                .look
                .iter()
                .map(|&look| dates[look as usize].regressors),
        );
        n
    }
}

/// The values of a tile's pixels; `missing` behind the end of the plane.
#[inline(always)]
fn part<T: Copy>(plane: &[T], first: usize, missing: T) -> [T; N_LANES] {
    match plane[first..].first_chunk() {
        Some(part) => *part,
        None => std::array::from_fn(|lane| plane.get(first + lane).copied().unwrap_or(missing)),
    }
}
