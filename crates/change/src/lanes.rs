//! Several pixels at once, one a lane.
//!
//! Loops over looks that add something up are written with vectors of the crate `wide`: from plain loops over arrays the
//! compiler makes vectors of looks instead of lanes, with a step for each lane to gather them.

use wide::{bytemuck, f32x4, i16x8, i16x16, i32x4, i32x8};

/// Pixels that are worked on at once: two vectors of 16-bit integers on any x86-64.
pub const N_LANES: usize = 16;

/// A number a pixel.
pub(crate) type Lanes = [f32; N_LANES];

/// A 16-bit integer a pixel.
pub(crate) type Integers = i16x16;

/// −1 where a pixel has a value, else 0.
pub(crate) type Mask = i16x16;

/// Most looks that can be counted in 16 bits: four centuries of the present revisit.
pub(crate) const MAX_LOOKS: usize = i16::MAX as usize;

/// Vectors of four numbers that make up all lanes.
pub(crate) const N_PARTS: usize = N_LANES / 4;

/// Four of the lanes.
#[inline(always)]
pub(crate) fn part(lanes: &Lanes, part: usize) -> f32x4 {
    f32x4::new(lanes.as_chunks().0[part])
}

/// Sets four of the lanes.
#[inline(always)]
pub(crate) fn set_part(lanes: &mut Lanes, part: usize, values: f32x4) {
    lanes.as_chunks_mut().0[part] = values.to_array();
}

/// All lanes of their parts.
#[inline(always)]
pub(crate) fn join(parts: [f32x4; N_PARTS]) -> Lanes {
    bytemuck::cast(parts)
}

/// Integers as numbers.
#[inline(always)]
pub(crate) fn floats(values: Integers) -> [f32x4; N_PARTS] {
    let [low, high]: [i16x8; 2] = bytemuck::cast(values);
    let [a, b]: [i32x4; 2] = bytemuck::cast(i32x8::from_i16x8(low));
    let [c, d]: [i32x4; 2] = bytemuck::cast(i32x8::from_i16x8(high));
    [a, b, c, d].map(|part| part.round_float())
}

/// The number of looks, at most [`MAX_LOOKS`], at which each lane's mask is set.
#[inline(always)]
pub(crate) fn count(masks: impl Iterator<Item = Mask>) -> Integers {
    let mut count = Integers::ZERO;
    for mask in masks {
        count += mask;
    }
    Integers::ZERO - count
}

/// The mask of four times four comparisons.
#[inline(always)]
pub(crate) fn mask_of(is_true: [f32x4; N_PARTS]) -> Mask {
    narrow(is_true.map(bytemuck::cast))
}

/// A mask as four masks of four numbers.
#[inline(always)]
pub(crate) fn wide_mask(mask: Mask) -> [f32x4; N_PARTS] {
    let [low, high]: [i16x8; 2] = bytemuck::cast(mask);
    let parts = [i32x8::from_i16x8(low), i32x8::from_i16x8(high)];
    bytemuck::cast(parts)
}

/// Medians and quantiles of series of several pixels, some looks masked.
///
/// Values are found by bisection over integers of the same order, 16 bits at a time: a step counts the keys below a bound,
/// which needs no branch and does not depend on how many looks each pixel has. One is made a thread and used again, so
/// that no pixel allocates.
#[derive(Debug, Default)]
pub(crate) struct Quantiles {
    /// How many values each lane has.
    n: Integers,
    /// The upper 16 bits of the values, or the whole of 16-bit values.
    upper: Keys,
    /// The lower 16 bits of those values that share the upper ones with the value sought.
    lower: Keys,
}

impl Quantiles {
    /// Sets the values: one row a look, at most [`MAX_LOOKS`]. None may be NaN.
    pub(crate) fn set(&mut self, values: &[Lanes], masks: &[Mask]) {
        self.n = count(masks.iter().copied());
        self.upper.clear();
        for (values, mask) in values.iter().zip(masks) {
            let keys: [i32x4; N_PARTS] =
                std::array::from_fn(|part| order_keys(self::part(values, part)) >> 16);
            self.upper.push(narrow(keys), *mask);
        }
    }

    /// As [`Quantiles::set`], for values of 16 bits.
    pub(crate) fn set_integers(&mut self, values: &[Integers], masks: &[Mask]) {
        self.n = count(masks.iter().copied());
        self.upper.clear();
        for (values, mask) in values.iter().zip(masks) {
            self.upper.push(*values, *mask);
        }
    }

    /// Where in ascending order the value lies below which a share of each lane's values lies (the next one up).
    fn places(&self, share: f32) -> Integers {
        let place = |n: i16| ((f32::from(n) * share) as i16).min(n - 1).max(0);
        Integers::new(self.n.to_array().map(place))
    }

    /// The value of each lane below which a share of its values lies; any number in a lane that has none.
    ///
    /// - `values`: as given to [`Quantiles::set`].
    pub(crate) fn quantile(&mut self, values: &[Lanes], share: f32) -> Lanes {
        let (upper, place) = self.upper.select(self.places(share));
        self.lower.clear();
        // Taking off half of the range lets the order of signed integers be that of the bits.
        let half = i16x16::splat(i16::MIN);
        for (&keys, values) in self.upper.keys.iter().zip(values) {
            let lower: [i32x4; N_PARTS] =
                std::array::from_fn(|part| (order_keys(self::part(values, part)) << 16) >> 16);
            self.lower.push(narrow(lower) ^ half, keys.simd_eq(upper));
        }
        let (lower, _) = self.lower.select(place);
        let (upper, lower) = (upper.to_array(), (lower ^ half).to_array());
        std::array::from_fn(|lane| {
            let lower = i32::from(lower[lane].cast_unsigned());
            value_of((i32::from(upper[lane]) << 16) | lower)
        })
    }

    /// As [`Quantiles::quantile`], for values of 16 bits.
    pub(crate) fn quantile_of_integers(&self, share: f32) -> Integers {
        self.upper.select(self.places(share)).0
    }
}

/// One integer a look and lane, some of them absent.
#[derive(Debug, Default)]
struct Keys {
    keys: Vec<Integers>,
    n: Integers,
    least: Integers,
    greatest: Integers,
}

impl Keys {
    /// The key where there is no value: no bound lies above it, so it is never counted.
    const ABSENT: Integers = Integers::splat(i16::MAX);

    fn clear(&mut self) {
        self.keys.clear();
        self.n = Integers::ZERO;
        self.least = Self::ABSENT;
        self.greatest = Integers::splat(i16::MIN);
    }

    #[inline(always)]
    fn push(&mut self, keys: Integers, mask: Mask) {
        let keys = (keys & mask) | (Self::ABSENT & !mask);
        self.keys.push(keys);
        self.n -= mask;
        self.least = self.least.min(keys);
        // Flipped, what is absent is the least of all instead.
        self.greatest = self.greatest.max(keys ^ !mask);
    }

    /// The key at each lane's place in ascending order, and its place among the keys that equal it.
    fn select(&self, place: Integers) -> (Integers, Integers) {
        // The key sought lies between these or is one of them.
        let (mut low, mut high) = (self.least, self.greatest);
        // How many keys lie below `low`, and up to `high`.
        let (mut n_below, mut n_up_to) = (Integers::ZERO, self.n);
        let one = Integers::splat(1);
        loop {
            let is_open = low.simd_lt(high) & (n_up_to - n_below).simd_gt(one);
            if !is_open.any() {
                break;
            }
            // The mean rounded up, without overflow.
            let bound = (low | high) - ((low ^ high) >> 1);
            let n = count(self.keys.iter().map(|keys| keys.simd_lt(bound)));
            let is_below = n.simd_gt(place);
            high = is_below.select(bound - one, high);
            n_up_to = is_below.select(n, n_up_to);
            low = is_below.select(low, bound);
            n_below = is_below.select(n_below, n);
        }
        // Where one key is left it is the least that is not below.
        let mut key = Self::ABSENT;
        for &keys in &self.keys {
            key = key.min(keys.simd_lt(low).select(Self::ABSENT, keys));
        }
        (key, place - n_below)
    }
}

/// The lower 16 bits of integers that fit them.
#[inline(always)]
fn narrow(keys: [i32x4; N_PARTS]) -> i16x16 {
    let [a, b, c, d] = keys;
    bytemuck::cast([
        i16x8::from_i32x8_saturate(bytemuck::cast([a, b])),
        i16x8::from_i32x8_saturate(bytemuck::cast([c, d])),
    ])
}

/// [`order_key`] of four numbers.
#[inline(always)]
fn order_keys(values: f32x4) -> i32x4 {
    let bits: i32x4 = bytemuck::cast(values);
    bits ^ ((bits >> 31) & i32x4::splat(i32::MAX))
}

/// An integer that orders as the number does: the bits of a negative one run backwards.
#[cfg(test)]
fn order_key(value: f32) -> i32 {
    let bits = value.to_bits().cast_signed();
    bits ^ ((bits >> 31) & i32::MAX)
}

#[inline(always)]
fn value_of(key: i32) -> f32 {
    f32::from_bits((key ^ ((key >> 31) & i32::MAX)).cast_unsigned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Some values of each lane, drawn from few or from many different ones.
    fn looks() -> impl Strategy<Value = Vec<(Lanes, Mask)>> {
        let value = prop_oneof![-2.0f32..2.0, (-3i16..3).prop_map(f32::from), 0.5f32..0.5001];
        let lane = (value, prop::bool::weighted(0.6));
        let row = prop::collection::vec(lane, N_LANES).prop_map(|lanes| {
            (
                std::array::from_fn(|lane| lanes[lane].0),
                Mask::new(std::array::from_fn(|lane| -i16::from(lanes[lane].1))),
            )
        });
        prop::collection::vec(row, 1..60)
    }

    proptest! {
        #[test]
        fn a_quantile_is_the_value_at_its_place_in_order(looks in looks(), share in 0.0f32..=1.0) {
            let (values, masks): (Vec<Lanes>, Vec<Mask>) = looks.into_iter().unzip();
            let integers: Vec<Integers> = values.iter().map(|row| Integers::new(row.map(|value| (value * 5.0) as i16))).collect();
            let mut quantiles = Quantiles::default();
            quantiles.set(&values, &masks);
            let found = quantiles.quantile(&values, share);
            quantiles.set_integers(&integers, &masks);
            let found_integers = quantiles.quantile_of_integers(share).to_array();
            for lane in 0..N_LANES {
                let seen = || (0..values.len()).filter(|&t| masks[t].to_array()[lane] != 0);
                let mut sorted: Vec<f32> = seen().map(|t| values[t][lane]).collect();
                sorted.sort_by(f32::total_cmp);
                let mut sorted_integers: Vec<i16> = seen().map(|t| integers[t].to_array()[lane]).collect();
                sorted_integers.sort_unstable();
                if !sorted.is_empty() {
                    let place = ((sorted.len() as f32 * share) as usize).min(sorted.len() - 1);
                    prop_assert_eq!(found[lane].to_bits(), sorted[place].to_bits());
                    prop_assert_eq!(found_integers[lane], sorted_integers[place]);
                }
            }
        }

        #[test]
        fn a_key_orders_as_its_number(a in -1e6f32..1e6, b in -1e6f32..1e6) {
            prop_assert_eq!(order_key(a) < order_key(b), a < b);
            prop_assert_eq!(value_of(order_key(a)).to_bits(), a.to_bits());
        }
    }
}
