//! The topsoil of an area, as the barest looks of its history showed it, and what it is around a place.
//!
//! A field shows the soil of its surroundings, a pit what lies below it.

use std::collections::BTreeMap;

use pitwatch_change::Soil;
use pitwatch_grid::LatticePixel;
use serde::Deserialize;

use crate::{Error, Result};

/// Side of the blocks in which soils are added up. Pixels; the distance over which soils are compared is many blocks.
const BLOCK_PIXELS: i64 = 10;
/// Numbers of a soil.
pub(crate) const N_NUMBERS: usize = 4;
/// Soils are added up in whole units of so many to 1, so that sums are the same in any order.
const UNITS: f64 = 10_000.0;
/// Standard deviations beyond which a bell curve's weights, all below 0.05, are left out.
const REACH: f64 = 2.5;

/// What decides how the topsoil around a place is told.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopsoilParams {
    /// Standard deviation of the bell curve by which soils around a place are weighed. Meters.
    pub distance_m: f64,
    /// Standard deviation of a soil's logarithms that is noise and moisture and not another soil.
    pub noise: f64,
    /// How much soil must have been seen, weighed, for half the trust in what it says. Pixels of 100 m².
    pub half_trust_pixels: f64,
}

impl TopsoilParams {
    /// Refuses numbers that say nothing.
    ///
    /// # Errors
    ///
    /// If one is out of its range, with its name.
    pub fn check(&self) -> Result<()> {
        let checked = |name, value: f64, least: f64, most: f64, must| {
            let is_good = (least..=most).contains(&value);
            let refused = Error::Topsoil { name, value, must };
            is_good.then_some(()).ok_or(refused)
        };
        // Beyond a hundred kilometers it is no surroundings, and the search would not end.
        checked(
            "distance_m",
            self.distance_m,
            1.0,
            1e5,
            "between 1 and 100,000 meters",
        )?;
        checked("noise", self.noise, 1e-6, 1e6, "greater than 0")?;
        checked(
            "half_trust_pixels",
            self.half_trust_pixels,
            0.0,
            1e9,
            "0 or more",
        )
    }
}

/// Where a block lies: rows and columns of blocks on the lattice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    /// From north to south.
    pub row: i64,
    /// From west to east.
    pub col: i64,
}

impl Block {
    fn of(at: LatticePixel) -> Self {
        Self {
            row: at.row.div_euclid(BLOCK_PIXELS),
            col: at.col.div_euclid(BLOCK_PIXELS),
        }
    }
}

/// The soils of a block added up, in units of 1/10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SoilSums {
    /// Pixels that showed their soil.
    pub n_pixels: i64,
    /// ln red, ln (red / swir16), ln (blue / red), ln (swir22 / swir16).
    pub sums: [i64; N_NUMBERS],
    /// Their squares.
    pub squares: [i64; N_NUMBERS],
}

impl SoilSums {
    fn plus(&mut self, other: &Self) {
        self.n_pixels += other.n_pixels;
        for k in 0..N_NUMBERS {
            self.sums[k] += other.sums[k];
            self.squares[k] += other.squares[k];
        }
    }
}

/// The topsoil of an area, block by block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topsoil {
    blocks: BTreeMap<Block, SoilSums>,
}

/// The topsoil around a place.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Around {
    mean: [f64; N_NUMBERS],
    /// Above 0 where there is any trust.
    spread: [f64; N_NUMBERS],
    /// 0 where no soil was seen, towards 1 the more there was.
    pub(crate) trust: f64,
}

impl Topsoil {
    /// Adds the soil of a pixel.
    pub fn add(&mut self, at: LatticePixel, soil: &Soil) {
        let Soil {
            red,
            red_over_swir16,
            blue_over_red,
            swir22_over_swir16,
        } = *soil;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "logarithms of reflectance ratios are below 20"
        )]
        let numbers = [red, red_over_swir16, blue_over_red, swir22_over_swir16]
            .map(|number| (f64::from(number) * UNITS).round() as i64);
        self.add_block(
            Block::of(at),
            &SoilSums {
                n_pixels: 1,
                sums: numbers,
                squares: numbers.map(|number| number * number),
            },
        );
    }

    /// Adds sums to a block's.
    pub fn add_block(&mut self, block: Block, sums: &SoilSums) {
        self.blocks.entry(block).or_default().plus(sums);
    }

    /// Adds all of another area's part.
    pub fn merge(&mut self, other: &Self) {
        for (&block, sums) in &other.blocks {
            self.add_block(block, sums);
        }
    }

    /// The blocks in which soil was seen, by row and column.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = (Block, &SoilSums)> {
        self.blocks.iter().map(|(&block, sums)| (block, sums))
    }

    /// The topsoil around each block in which one of some pixels lies.
    pub(crate) fn around(
        &self,
        pixels: impl Iterator<Item = LatticePixel>,
        resolution_m: f64,
        params: &TopsoilParams,
    ) -> AroundBlocks {
        let mut blocks = BTreeMap::new();
        for at in pixels {
            blocks
                .entry(Block::of(at))
                .or_insert_with_key(|&block| self.around_block(block, resolution_m, params));
        }
        AroundBlocks(blocks)
    }

    fn around_block(&self, at: Block, resolution_m: f64, params: &TopsoilParams) -> Around {
        let block_m = BLOCK_PIXELS as f64 * resolution_m;
        let pixel_weight = resolution_m * resolution_m / 100.0;
        let reach_m = REACH * params.distance_m;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "TopsoilParams::check bounds the distance"
        )]
        let reach = (reach_m / block_m) as i64;
        let mut n = 0.0;
        let (mut sums, mut squares) = ([0.0; N_NUMBERS], [0.0; N_NUMBERS]);
        for row in at.row - reach..=at.row + reach {
            let first = Block {
                row,
                col: at.col - reach,
            };
            let last = Block {
                row,
                col: at.col + reach,
            };
            for (block, soil) in self.blocks.range(first..=last) {
                let (rows, cols) = ((block.row - at.row) as f64, (block.col - at.col) as f64);
                let squared = (rows * rows + cols * cols) * block_m * block_m;
                if squared > reach_m * reach_m {
                    continue;
                }
                let weight = (-squared / (2.0 * params.distance_m * params.distance_m)).exp();
                n += weight * soil.n_pixels as f64;
                for k in 0..N_NUMBERS {
                    sums[k] += weight * soil.sums[k] as f64;
                    squares[k] += weight * soil.squares[k] as f64;
                }
            }
        }
        if n == 0.0 {
            return Around::default();
        }
        let mean = sums.map(|sum| sum / n / UNITS);
        let spread = std::array::from_fn(|k| {
            let variance = squares[k] / n / (UNITS * UNITS) - mean[k] * mean[k];
            (variance.max(0.0) + params.noise * params.noise).sqrt()
        });
        let seen = n * pixel_weight;
        Around {
            mean,
            spread,
            trust: seen / (seen + params.half_trust_pixels),
        }
    }
}

impl Around {
    /// How far a ground lies from the topsoil around, times the trust in it: as logarithms of ratios, and in spreads of it.
    ///
    /// - `numbers`: ln red, ln (red / swir16), ln (blue / red), ln (swir22 / swir16); `None` = not known.
    pub(crate) fn differences(&self, numbers: [Option<f64>; N_NUMBERS]) -> [[f64; 2]; N_NUMBERS] {
        std::array::from_fn(|k| {
            let change = numbers[k].map_or(0.0, |number| self.trust * (number - self.mean[k]));
            [
                change,
                if self.trust > 0.0 {
                    change / self.spread[k]
                } else {
                    0.0
                },
            ]
        })
    }
}

/// The topsoil around the blocks of some pixels.
#[derive(Debug, Default)]
pub(crate) struct AroundBlocks(BTreeMap<Block, Around>);

impl AroundBlocks {
    /// What is around a pixel; nothing where it is none of those asked for.
    pub(crate) fn of(&self, at: LatticePixel) -> Around {
        self.0.get(&Block::of(at)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARAMS: TopsoilParams = TopsoilParams {
        distance_m: 250.0,
        noise: 0.03,
        half_trust_pixels: 5.0,
    };

    fn soil(red: f32) -> Soil {
        Soil {
            red: red.ln(),
            red_over_swir16: -0.5,
            blue_over_red: -0.7,
            swir22_over_swir16: -0.1,
        }
    }

    fn at(row: i64, col: i64) -> LatticePixel {
        LatticePixel { row, col }
    }

    fn around(topsoil: &Topsoil, place: LatticePixel) -> Around {
        topsoil
            .around(std::iter::once(place), 10.0, &PARAMS)
            .of(place)
    }

    fn field(rows: std::ops::Range<i64>, red: f32) -> Topsoil {
        let mut topsoil = Topsoil::default();
        for row in rows {
            for col in -20..0 {
                topsoil.add(at(row, col), &soil(red));
            }
        }
        topsoil
    }

    #[test]
    fn ground_of_the_color_of_the_fields_around_is_no_other_soil() {
        let around = around(&field(0..20, 0.15), at(10, 12));
        assert!(around.trust > 0.95);
        let ln = |red: f64| Some(red.ln());
        let same = around.differences([ln(0.15), Some(-0.5), Some(-0.7), Some(-0.1)]);
        assert!(
            same.as_flattened().iter().all(|number| number.abs() < 0.01),
            "{same:?}"
        );
        let other = around.differences([ln(0.3), Some(-0.5), Some(-0.7), None]);
        assert!((other[0][0] / around.trust - 2.0_f64.ln()).abs() < 1e-3);
        // Twice as bright is 23 times the noise.
        assert!((other[0][1] / around.trust - 2.0_f64.ln() / 0.03).abs() < 0.1);
        assert_eq!(other[3], [0.0; 2]);
    }

    #[test]
    fn the_nearer_field_counts_more() {
        let mut topsoil = field(0..20, 0.15);
        topsoil.merge(&field(60..80, 0.3));
        let [near_first, near_second] =
            [at(10, 0), at(70, 0)].map(|place| around(&topsoil, place).mean[0].exp());
        assert!(
            near_first < 0.17 && near_second > 0.27,
            "{near_first} {near_second}"
        );
    }

    #[test]
    fn where_no_soil_was_seen_nothing_is_said() {
        let far = around(&field(0..20, 0.15), at(10, 200));
        assert_eq!(far.trust, 0.0);
        assert_eq!(
            far.differences([Some(0.0); N_NUMBERS]),
            [[0.0; 2]; N_NUMBERS]
        );
    }

    proptest! {
        #[test]
        fn how_the_area_is_cut_changes_nothing(pixels in prop::collection::vec((-60i64..60, -60i64..60, 0.05f32..0.5), 1..80), cut in 0usize..80) {
            let of = |pixels: &[(i64, i64, f32)]| {
                let mut topsoil = Topsoil::default();
                for &(row, col, red) in pixels {
                    topsoil.add(at(row, col), &soil(red));
                }
                topsoil
            };
            let (first, second) = pixels.split_at(cut.min(pixels.len()));
            let mut parts = of(second);
            parts.merge(&of(first));
            prop_assert_eq!(parts, of(&pixels));
        }
    }
}
