use wide::f32x4;

use crate::harmonic::{self, N_COEFFICIENTS};
use crate::index;
use crate::lanes::{self, Lanes, Mask, N_LANES, N_PARTS, Quantiles, part, set_part};
use crate::series::{BLUE, N_SERIES, NDVI, RED, SWIR16, SWIR22, Series};
use crate::tile::{REFLECTANCE_SCALE, TileHistory};
use crate::{Params, Soil};

/// A normal distribution's standard deviation over its median absolute deviation.
///
/// Source: Rousseeuw and Croux (1993), <https://doi.org/10.1080/01621459.1993.10476408>.
const SIGMA_PER_MAD: f32 = 1.4826;

/// What a pixel's history period says of it.
#[derive(Debug, Clone)]
pub(crate) struct History {
    /// The seasonal model of each series.
    pub(crate) coefficients: [[f32; N_COEFFICIENTS]; N_SERIES],
    /// Robust scale of each series' residuals.
    pub(crate) scale: [f32; N_SERIES],
    /// Lower and upper end of each series' own range, tails cut off.
    pub(crate) range: [[f32; 2]; N_SERIES],
    pub(crate) median_ndvi: f32,
    /// Robust scale of the NDVI residuals of the looks in which a canopy is in leaf; the year's where there are too few.
    pub(crate) canopy_scale: f32,
    /// Share of the looks that were water.
    pub(crate) water_share: f32,
    /// Share of the looks that were at least partly water.
    pub(crate) wet_share: f32,
    /// Mean reflectance of the looks with the lowest NDVI, a share `range_tail` of all: blue, red, nir, swir16, swir22.
    pub(crate) barest: [f32; 5],
}

/// Numbers of a [`History`].
pub(crate) const N_HISTORY_NUMBERS: usize = N_SERIES * (N_COEFFICIENTS + 3) + 9;

impl History {
    /// Writes its numbers to the start of a record.
    pub(crate) fn write_numbers(&self, record: &mut [f32]) {
        let series = self.coefficients.as_flattened().iter();
        let numbers = series
            .chain(&self.scale)
            .chain(self.range.as_flattened())
            .chain(&self.barest)
            .chain([
                &self.median_ndvi,
                &self.canopy_scale,
                &self.water_share,
                &self.wet_share,
            ]);
        for (place, &number) in record.iter_mut().zip(numbers) {
            *place = number;
        }
    }

    /// Reads them, and returns what follows them.
    pub(crate) fn from_numbers(record: &[f32]) -> Option<(Self, &[f32])> {
        let (numbers, rest) = record.split_first_chunk::<N_HISTORY_NUMBERS>()?;
        let (models, numbers) = numbers.split_first_chunk::<{ N_SERIES * N_COEFFICIENTS }>()?;
        let (scale, numbers) = numbers.split_first_chunk()?;
        let (range, numbers) = numbers.split_first_chunk::<{ 2 * N_SERIES }>()?;
        let (barest, numbers) = numbers.split_first_chunk()?;
        let &[median_ndvi, canopy_scale, water_share, wet_share] = numbers else {
            return None;
        };
        let history = Self {
            coefficients: std::array::from_fn(|k| {
                std::array::from_fn(|j| models[k * N_COEFFICIENTS + j])
            }),
            scale: *scale,
            range: std::array::from_fn(|k| [range[2 * k], range[2 * k + 1]]),
            median_ndvi,
            canopy_scale,
            water_share,
            wet_share,
            barest: *barest,
        };
        Some((history, rest))
    }

    /// The soil that the barest looks showed; `None` where they did not, or where the ground was bare or water throughout.
    pub(crate) fn soil(&self, params: &Params) -> Option<Soil> {
        let [blue, red, nir, swir16, swir22] = self.barest;
        let is_ground = index::ndvi(red, nir) < params.soil_ndvi
            && index::bsi(blue, red, nir, swir16) > params.ground_bsi
            && red > params.ground_red;
        let is_land =
            self.median_ndvi >= params.history_ndvi && self.water_share <= params.water_share;
        let ln_ratio =
            |a: f32, b: f32| (a.max(params.noise_visible) / b.max(params.noise_visible)).ln();
        (is_ground && is_land).then(|| Soil {
            red: red.ln(),
            red_over_swir16: ln_ratio(red, swir16),
            blue_over_red: ln_ratio(blue, red),
            swir22_over_swir16: if swir22 > 0.0 {
                ln_ratio(swir22, swir16)
            } else {
                0.0
            },
        })
    }

    /// What each series should be on a day with these regressors.
    pub(crate) fn expected(&self, regressors: &[f32; N_COEFFICIENTS]) -> [f32; N_SERIES] {
        std::array::from_fn(|k| harmonic::predict(&self.coefficients[k], regressors))
    }

    /// How far a value lies outside the history's own range, in units of the residuals' scale; 0 inside.
    pub(crate) fn excess(&self, series: usize, value: f32) -> f32 {
        let [low, high] = self.range[series];
        ((low - value).max(value - high) / self.scale[series]).max(0.0)
    }
}

/// What the history period says of the pixels of a tile, one a lane.
///
/// One is made a thread and filled anew for each tile, so that no pixel allocates.
#[derive(Debug, Default)]
pub(crate) struct TileFit {
    coefficients: [[Lanes; N_COEFFICIENTS]; N_SERIES],
    scale: [Lanes; N_SERIES],
    range: [[Lanes; 2]; N_SERIES],
    median_ndvi: Lanes,
    canopy_scale: Lanes,
    /// NDVI residuals of the history looks; any number where a pixel is not seen.
    residual: Vec<Lanes>,
    /// 1 where a pixel is seen, else 0.
    seen: Vec<Lanes>,
    weight: Vec<Lanes>,
    in_leaf: Vec<Mask>,
    scales: Scales,
}

impl TileFit {
    /// Fits the history of the pixels of a tile.
    ///
    /// The seasonal model of all series is fitted by iteratively reweighted least squares with Huber's weights of the
    /// larger of the NDVI and the red residual: cloud brightens red, shadow and fire lower NDVI.
    ///
    /// Source: Huber (1964), <https://doi.org/10.1214/aoms/1177703732>.
    pub(crate) fn fill(&mut self, looks: &TileHistory, params: &Params) {
        let TileHistory {
            regressors,
            masks,
            series: observed,
            integers,
        } = *looks;
        let Self {
            residual,
            seen,
            weight,
            in_leaf,
            scales,
            ..
        } = self;
        let floor = [
            params.noise_ndvi,
            params.noise_visible,
            params.noise_visible,
            params.noise_swir,
            params.noise_swir,
        ];

        seen.clear();
        seen.extend(
            masks
                .iter()
                .map(|mask| mask.to_array().map(|is_seen| f32::from(-is_seen))),
        );
        weight.clone_from(seen);
        // The weights rest on NDVI and red alone; the other series are fitted once, with the last weights.
        for _ in 0..params.robust_passes {
            let pair = harmonic::fit(
                regressors,
                weight,
                [NDVI, RED].map(|k| observed[k]),
                params.ridge,
            );
            weight.fill([0.0; N_LANES]);
            for (k, coefficients) in [NDVI, RED].into_iter().zip(&pair) {
                residuals(observed[k], regressors, coefficients, residual);
                let scale = scales.of(residual, masks, floor[k]);
                for (weight, residual) in weight.iter_mut().zip(residual.iter()) {
                    for place in 0..N_PARTS {
                        let distance = part(residual, place).abs() / part(&scale, place);
                        set_part(weight, place, part(weight, place).fast_max(distance));
                    }
                }
            }
            // What was the larger distance becomes the weight.
            let huber = f32x4::splat(params.huber);
            for (weight, seen) in weight.iter_mut().zip(seen.iter()) {
                for place in 0..N_PARTS {
                    let distance = part(weight, place);
                    let less = distance.simd_gt(huber).select(huber / distance, f32x4::ONE);
                    set_part(weight, place, less * part(seen, place));
                }
            }
        }
        self.coefficients = harmonic::fit(regressors, weight, observed, params.ridge);

        // NDVI last: its residuals are kept.
        for k in [BLUE, RED, SWIR16, SWIR22, NDVI] {
            residuals(observed[k], regressors, &self.coefficients[k], residual);
            self.scale[k] = scales.of(residual, masks, floor[k]);
        }
        // NDVI varies less in leaf than over the year, with its snow and its thaw.
        let canopy_ndvi = f32x4::splat(params.canopy_ndvi);
        in_leaf.clear();
        in_leaf.extend(masks.iter().zip(residual.iter()).zip(observed[NDVI]).map(
            |((&mask, residual), value)| {
                mask & lanes::mask_of(std::array::from_fn(|place| {
                    (part(value, place) - part(residual, place)).simd_gt(canopy_ndvi)
                }))
            },
        ));
        let is_enough = lanes::count(in_leaf.iter().copied())
            .to_array()
            .map(|n| i64::from(n) >= i64::from(params.min_clear_history));
        self.canopy_scale = self.scale[NDVI];
        if is_enough.contains(&true) {
            let in_leaf = scales.of(residual, in_leaf, floor[NDVI]);
            for lane in 0..N_LANES {
                if is_enough[lane] {
                    self.canopy_scale[lane] = in_leaf[lane];
                }
            }
        }

        let tails = [params.range_tail, 1.0 - params.range_tail];
        let quantiles = &mut scales.quantiles;
        for k in [BLUE, RED, SWIR16, SWIR22] {
            // Reflectance orders as its digital numbers do.
            quantiles.set_integers(integers[k], masks);
            self.range[k] = tails.map(|share| {
                quantiles
                    .quantile_of_integers(share)
                    .to_array()
                    .map(|value| f32::from(value) * REFLECTANCE_SCALE)
            });
        }
        quantiles.set(observed[NDVI], masks);
        self.range[NDVI] = tails.map(|share| quantiles.quantile(observed[NDVI], share));
        self.median_ndvi = quantiles.quantile(observed[NDVI], 0.5);
    }

    /// What the history says of one of the pixels, of which `series` has the clear looks, the first `n` of them history.
    ///
    /// NDVI residuals are left in `series.residual`.
    pub(crate) fn history(
        &self,
        lane: usize,
        series: &mut Series,
        n: usize,
        params: &Params,
    ) -> History {
        series.residual.clear();
        series.residual.extend(
            series.place[..n]
                .iter()
                .map(|&place| self.residual[place as usize][lane]),
        );
        let n_water = (0..n)
            .filter(|&t| {
                is_water(
                    series.values[SWIR16][t],
                    series.green[t],
                    series.nir[t],
                    params,
                )
            })
            .count();
        let n_wet = (0..n)
            .filter(|&t| {
                is_partly_water(
                    series.values[BLUE][t],
                    series.values[SWIR16][t],
                    series.green[t],
                    series.nir[t],
                    params,
                )
            })
            .count();
        let lowest_ndvi = self.range[NDVI][0][lane];
        let mut barest = [0.0; 5];
        let mut n_barest = 0.0;
        for t in (0..n).filter(|&t| series.values[NDVI][t] <= lowest_ndvi) {
            let look = [
                series.values[BLUE][t],
                series.values[RED][t],
                series.nir[t],
                series.values[SWIR16][t],
                series.values[SWIR22][t],
            ];
            for (sum, value) in barest.iter_mut().zip(look) {
                *sum += value;
            }
            n_barest += 1.0;
        }
        History {
            // The lower end of the range is a look's own value, so there is one at least.
            barest: barest.map(|sum| sum / n_barest),
            wet_share: n_wet as f32 / n as f32,
            coefficients: self.coefficients.map(|row| row.map(|lanes| lanes[lane])),
            scale: self.scale.map(|lanes| lanes[lane]),
            range: self.range.map(|ends| ends.map(|lanes| lanes[lane])),
            median_ndvi: self.median_ndvi[lane],
            canopy_scale: self.canopy_scale[lane],
            water_share: n_water as f32 / n as f32,
        }
    }
}

/// Writes what was observed less what is modelled.
fn residuals(
    observed: &[Lanes],
    regressors: &[[f32; N_COEFFICIENTS]],
    coefficients: &[Lanes; N_COEFFICIENTS],
    out: &mut Vec<Lanes>,
) {
    out.clear();
    out.extend(observed.iter().zip(regressors).map(|(values, row)| {
        let mut residuals = [0.0; N_LANES];
        for place in 0..N_PARTS {
            let mut sum = f32x4::ZERO;
            for (coefficients, &regressor) in coefficients.iter().zip(row) {
                sum += part(coefficients, place) * f32x4::splat(regressor);
            }
            set_part(&mut residuals, place, part(values, place) - sum);
        }
        residuals
    }));
}

/// Robust scales of residuals.
#[derive(Debug, Default)]
struct Scales {
    quantiles: Quantiles,
    absolute: Vec<Lanes>,
}

impl Scales {
    fn of(&mut self, residuals: &[Lanes], masks: &[Mask], floor: f32) -> Lanes {
        self.absolute.clear();
        self.absolute.extend(residuals.iter().map(|row| {
            let mut absolute = [0.0; N_LANES];
            for place in 0..N_PARTS {
                set_part(&mut absolute, place, part(row, place).abs());
            }
            absolute
        }));
        self.quantiles.set(&self.absolute, masks);
        self.quantiles
            .quantile(&self.absolute, 0.5)
            .map(|median| (SIGMA_PER_MAD * median).max(floor))
    }
}

/// True for open water, turbid or clear: dark in the shortwave infrared, green above near infrared
/// (McFeeters' NDWI above zero).
///
/// Source: McFeeters (1996), <https://doi.org/10.1080/01431169608948714>.
pub(crate) fn is_water(swir16: f32, green: f32, nir: f32, params: &Params) -> bool {
    swir16 < params.water_swir16 && green > nir
}

/// True if about a third of the pixel or more is water beside bright ground: NDWI above `wet_ndwi`, shortwave infrared not
/// far above near infrared (char is dark too, but not there), and neither snow nor cloud, which are bright in blue.
///
/// Source: McFeeters (1996), <https://doi.org/10.1080/01431169608948714>, mixed linearly with dry sand.
fn is_partly_water(blue: f32, swir16: f32, green: f32, nir: f32, params: &Params) -> bool {
    let ndwi = (green - nir) / (green + nir).max(f32::EPSILON);
    ndwi > params.wet_ndwi && swir16 < params.wet_swir16_over_nir * nir && blue < params.wet_blue
}
