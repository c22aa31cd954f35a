//! Several pixels at once, one a lane.
//!
//! Loops over looks that add something up are written with vectors of the crate `wide`: from plain loops over arrays the
//! compiler makes vectors of looks instead of lanes, with a step for each lane to gather them.

use wide::{bytemuck, f32x4, i16x8, i16x16, i32x4};

/// Pixels that are worked on at once: two vectors of 16-bit integers on any x86-64.
pub const N_LANES: usize = 16;

/// A number a pixel.
pub(crate) type Lanes = [f32; N_LANES];

/// −1 where a pixel has a value, else 0.
pub(crate) type Mask = [i16; N_LANES];

/// Looks that are counted in 16 bits before the sum moves on to wider ones.
const N_COUNTED: usize = i16::MAX as usize;

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

/// The number of looks at which each lane's mask is set.
pub(crate) fn count(masks: &[Mask]) -> [u32; N_LANES] {
    count_set(masks.iter().map(|mask| i16x16::new(*mask)))
}

/// How often each lane is −1 rather than 0.
#[inline(always)]
fn count_set(masks: impl ExactSizeIterator<Item = i16x16>) -> [u32; N_LANES] {
    let mut total = [0; N_LANES];
    let mut add = |count: i16x16| {
        for (total, count) in total.iter_mut().zip(count.to_array()) {
            *total += u32::from(count.cast_unsigned());
        }
    };
    let mut count = i16x16::ZERO;
    let mut n_counted = 0;
    for mask in masks {
        if n_counted == N_COUNTED {
            add(count);
            count = i16x16::ZERO;
            n_counted = 0;
        }
        count -= mask;
        n_counted += 1;
    }
    add(count);
    total
}

/// Medians and quantiles of series of several pixels, some looks masked.
///
/// Values are found by bisection over integers of the same order, 16 bits at a time: a step counts the keys below a bound,
/// which needs no branch and does not depend on how many looks each pixel has. One is made a thread and used again, so
/// that no pixel allocates.
#[derive(Debug, Default)]
pub(crate) struct Quantiles {
    /// How many values each lane has.
    n: [u32; N_LANES],
    /// The upper 16 bits of the values, or the whole of 16-bit values.
    upper: Keys,
    /// The lower 16 bits of those values that share the upper ones with the value sought.
    lower: Keys,
}

impl Quantiles {
    /// Sets the values: one row a look, those that count masked by −1. None may be NaN.
    pub(crate) fn set(&mut self, values: &[Lanes], masks: &[Mask]) {
        self.n = count(masks);
        self.upper.clear();
        for (values, mask) in values.iter().zip(masks) {
            let keys: [i32x4; N_PARTS] =
                std::array::from_fn(|part| order_keys(self::part(values, part)) >> 16);
            self.upper.push(narrow(keys), i16x16::new(*mask));
        }
    }

    /// As [`Quantiles::set`], for values of 16 bits.
    pub(crate) fn set_integers(&mut self, values: &[[i16; N_LANES]], masks: &[Mask]) {
        self.n = count(masks);
        self.upper.clear();
        for (values, mask) in values.iter().zip(masks) {
            self.upper.push(i16x16::new(*values), i16x16::new(*mask));
        }
    }

    /// Where in ascending order the value lies below which a share of each lane's values lies (the next one up).
    fn places(&self, share: f32) -> [u32; N_LANES] {
        self.n
            .map(|n| ((n as f32 * share) as u32).min(n.saturating_sub(1)))
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
            self.lower
                .push(narrow(lower) ^ half, keys.simd_eq(i16x16::new(upper)));
        }
        let (lower, _) = self.lower.select(place);
        std::array::from_fn(|lane| {
            let lower = (lower[lane] ^ i16::MIN).cast_unsigned();
            value_of((i32::from(upper[lane]) << 16) | i32::from(lower))
        })
    }

    /// As [`Quantiles::quantile`], for values of 16 bits.
    pub(crate) fn quantile_of_integers(&self, share: f32) -> [i16; N_LANES] {
        self.upper.select(self.places(share)).0
    }
}

/// One integer a look and lane, some of them absent.
#[derive(Debug, Default)]
struct Keys {
    keys: Vec<i16x16>,
    least: i16x16,
    greatest: i16x16,
}

impl Keys {
    /// The key where there is no value: no bound lies above it, so it is never counted.
    const ABSENT: i16x16 = i16x16::splat(i16::MAX);

    fn clear(&mut self) {
        self.keys.clear();
        self.least = Self::ABSENT;
        self.greatest = i16x16::splat(i16::MIN);
    }

    #[inline(always)]
    fn push(&mut self, keys: i16x16, mask: i16x16) {
        let keys = (keys & mask) | (Self::ABSENT & !mask);
        self.keys.push(keys);
        self.least = self.least.min(keys);
        // Flipped, what is absent is the least of all instead.
        self.greatest = self.greatest.max(keys ^ !mask);
    }

    /// The key at each lane's place in ascending order, and its place among the keys that equal it.
    fn select(&self, place: [u32; N_LANES]) -> ([i16; N_LANES], [u32; N_LANES]) {
        // The key sought is `low` or above and below `high`.
        let mut low = self.least.to_array().map(i32::from);
        let mut high = self.greatest.to_array().map(|key| i32::from(key) + 1);
        let mut n_below = [0; N_LANES];
        loop {
            let mut widest = 0;
            let mut middle = [0; N_LANES];
            for lane in 0..N_LANES {
                widest = widest.max(high[lane] - low[lane]);
                middle[lane] = ((low[lane] + high[lane]) >> 1) as i16;
            }
            if widest <= 1 {
                break;
            }
            let bound = i16x16::new(middle);
            let n = count_set(self.keys.iter().map(|keys| keys.simd_lt(bound)));
            for lane in 0..N_LANES {
                let middle = i32::from(middle[lane]);
                let is_above = n[lane] <= place[lane];
                low[lane] = if is_above { middle } else { low[lane] };
                n_below[lane] = if is_above { n[lane] } else { n_below[lane] };
                high[lane] = if is_above { high[lane] } else { middle };
            }
        }
        (
            low.map(|key| key as i16),
            std::array::from_fn(|lane| place[lane] - n_below[lane]),
        )
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
                std::array::from_fn(|lane| -i16::from(lanes[lane].1)),
            )
        });
        prop::collection::vec(row, 1..60)
    }

    proptest! {
        #[test]
        fn a_quantile_is_the_value_at_its_place_in_order(looks in looks(), share in 0.0f32..=1.0) {
            let (values, masks): (Vec<Lanes>, Vec<Mask>) = looks.into_iter().unzip();
            let integers: Vec<[i16; N_LANES]> = values.iter().map(|row| row.map(|value| (value * 5.0) as i16)).collect();
            let mut quantiles = Quantiles::default();
            quantiles.set(&values, &masks);
            let found = quantiles.quantile(&values, share);
            quantiles.set_integers(&integers, &masks);
            let found_integers = quantiles.quantile_of_integers(share);
            for lane in 0..N_LANES {
                let seen = || (0..values.len()).filter(|&t| masks[t][lane] != 0);
                let mut sorted: Vec<f32> = seen().map(|t| values[t][lane]).collect();
                sorted.sort_by(f32::total_cmp);
                let mut sorted_integers: Vec<i16> = seen().map(|t| integers[t][lane]).collect();
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
