use pitwatch_grid::Day;

use crate::harmonic::{self, N_COEFFICIENTS};
use crate::index;
use crate::tile::{N_BANDS, REFLECTANCE_SCALE};

/// The series that are modelled, in this order.
pub(crate) const NDVI: usize = 0;
pub(crate) const BLUE: usize = 1;
pub(crate) const RED: usize = 2;
pub(crate) const SWIR16: usize = 3;
pub(crate) const SWIR22: usize = 4;
pub(crate) const N_SERIES: usize = 5;

/// When a look was taken, and what the seasonal model needs of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LookDate {
    pub(crate) day: Day,
    pub(crate) regressors: [f32; N_COEFFICIENTS],
}

impl LookDate {
    pub(crate) fn of(day: Day) -> Self {
        Self {
            day,
            regressors: harmonic::regressors(day.season_angle()),
        }
    }
}

/// The clear looks at one pixel, oldest first, as a structure of arrays.
///
/// One is made a thread and filled anew for each pixel, so that no pixel allocates.
#[derive(Debug, Default)]
pub(crate) struct Series {
    /// Place in the cube's list of looks.
    pub(crate) look: Vec<u32>,
    /// Place among the looks of the pixel's tile.
    pub(crate) place: Vec<u32>,
    pub(crate) day: Vec<Day>,
    pub(crate) regressors: Vec<[f32; N_COEFFICIENTS]>,
    pub(crate) values: [Vec<f32>; N_SERIES],
    pub(crate) green: Vec<f32>,
    pub(crate) nir: Vec<f32>,
    /// NDVI residuals of the history looks, filled by the fit.
    pub(crate) residual: Vec<f32>,
    pub(crate) scratch: Vec<i32>,
}

impl Series {
    pub(crate) fn clear(&mut self) {
        self.look.clear();
        self.place.clear();
        self.day.clear();
        self.regressors.clear();
        self.values.iter_mut().for_each(Vec::clear);
        self.green.clear();
        self.nir.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.look.len()
    }

    /// Where a look of the cube's list stands here; it must be a clear one.
    pub(crate) fn position(&self, look: u32) -> usize {
        self.look.partition_point(|&other| other < look)
    }
}

/// What one clear look shows of a pixel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight {
    pub(crate) value: [f32; N_SERIES],
    pub(crate) green: f32,
    pub(crate) nir: f32,
}

impl Sight {
    /// What digital numbers of blue, green, red, nir, swir16 and swir22 show.
    pub(crate) fn of(numbers: [i16; N_BANDS]) -> Self {
        let [blue, green, red, nir, swir16, swir22] =
            numbers.map(|number| f32::from(number) * REFLECTANCE_SCALE);
        let mut value = [0.0; N_SERIES];
        value[NDVI] = index::ndvi(red, nir);
        value[BLUE] = blue;
        value[RED] = red;
        value[SWIR16] = swir16;
        value[SWIR22] = swir22;
        Self { value, green, nir }
    }

    /// Bare soil index.
    pub(crate) fn bsi(&self) -> f32 {
        index::bsi(
            self.value[BLUE],
            self.value[RED],
            self.nir,
            self.value[SWIR16],
        )
    }
}

/// The upper median of some values; `scratch` is overwritten.
///
/// # Panics
///
/// If there are no values.
pub(crate) fn median(scratch: &mut Vec<i32>, values: impl Iterator<Item = f32>) -> f32 {
    quantile(scratch, values, 0.5)
}

/// The value below which a share of the values lies (the next one up, no interpolation); `scratch` is overwritten.
///
/// Values are selected by integers of the same order: comparing those takes one instruction where the total order of
/// floating-point numbers takes five.
///
/// # Panics
///
/// If there are no values.
pub(crate) fn quantile(
    scratch: &mut Vec<i32>,
    values: impl Iterator<Item = f32>,
    share: f32,
) -> f32 {
    scratch.clear();
    scratch.extend(values.map(order_key));
    select(scratch, share)
}

fn select(keys: &mut [i32], share: f32) -> f32 {
    let place = ((keys.len() as f32 * share) as usize).min(keys.len() - 1);
    value_of(*keys.select_nth_unstable(place).1)
}

/// An integer that orders as the number does: the bits of a negative one run backwards.
fn order_key(value: f32) -> i32 {
    let bits = value.to_bits().cast_signed();
    bits ^ ((bits >> 31) & i32::MAX)
}

fn value_of(key: i32) -> f32 {
    f32::from_bits((key ^ ((key >> 31) & i32::MAX)).cast_unsigned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn half_of_the_values_lie_below_the_median() {
        let mut scratch = Vec::new();
        assert!((median(&mut scratch, [3.0, 1.0, 2.0].into_iter()) - 2.0).abs() < f32::EPSILON);
        let values = || [4.0, 1.0, 3.0, 2.0].into_iter();
        assert!((quantile(&mut scratch, values(), 1.0) - 4.0).abs() < f32::EPSILON);
    }

    proptest! {
        #[test]
        fn a_key_orders_as_its_number(a in -1e6f32..1e6, b in -1e6f32..1e6) {
            prop_assert_eq!(order_key(a) < order_key(b), a < b);
            prop_assert_eq!(value_of(order_key(a)).to_bits(), a.to_bits());
        }
    }
}
