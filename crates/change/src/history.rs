use crate::Params;
use crate::harmonic::{self, N_COEFFICIENTS};
use crate::series::{BLUE, N_SERIES, NDVI, RED, SWIR16, SWIR22, Series, median, quantiles};

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

impl History {
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

/// Fits the history of a pixel: the first `n` looks of the series.
///
/// The seasonal model of all series is fitted by iteratively reweighted least squares with Huber's weights of the
/// larger of the NDVI and the red residual: cloud brightens red, shadow and fire lower NDVI. NDVI residuals stay in
/// `series.residual`.
///
/// Source: Huber (1964), <https://doi.org/10.1214/aoms/1177703732>.
pub(crate) fn fit(series: &mut Series, n: usize, params: &Params) -> History {
    let Series {
        regressors,
        values,
        green,
        nir,
        residual,
        weight,
        scratch,
        ..
    } = series;
    let regressors = &regressors[..n];
    let observed: [&[f32]; N_SERIES] = std::array::from_fn(|k| &values[k][..n]);
    let floor = [
        params.noise_ndvi,
        params.noise_visible,
        params.noise_visible,
        params.noise_swir,
        params.noise_swir,
    ];

    let residuals = |k: usize, coefficients: &[f32; N_COEFFICIENTS], out: &mut Vec<f32>| {
        out.clear();
        out.extend(
            observed[k]
                .iter()
                .zip(regressors)
                .map(|(value, row)| value - harmonic::predict(coefficients, row)),
        );
    };
    let mut scale = |k: usize, residuals: &mut dyn Iterator<Item = f32>| {
        (SIGMA_PER_MAD * median(scratch, residuals.map(f32::abs))).max(floor[k])
    };

    weight.clear();
    weight.resize(n, 1.0);
    // The weights rest on NDVI and red alone; the other series are fitted once, with the last weights.
    for _ in 0..params.robust_passes {
        let pair = harmonic::fit(
            regressors,
            weight,
            [NDVI, RED].map(|k| observed[k]),
            params.ridge,
        );
        weight.fill(0.0);
        for (k, coefficients) in [NDVI, RED].into_iter().zip(&pair) {
            residuals(k, coefficients, residual);
            let scale = scale(k, &mut residual.iter().copied());
            for (weight, residual) in weight.iter_mut().zip(residual.iter()) {
                *weight = weight.max(residual.abs() / scale);
            }
        }
        // What was the larger distance becomes the weight.
        for weight in weight.iter_mut() {
            *weight = if *weight > params.huber {
                params.huber / *weight
            } else {
                1.0
            };
        }
    }
    let coefficients = harmonic::fit(regressors, weight, observed, params.ridge);

    let mut scales = floor;
    // NDVI last: its residuals are kept.
    for k in [BLUE, RED, SWIR16, SWIR22, NDVI] {
        residuals(k, &coefficients[k], residual);
        scales[k] = scale(k, &mut residual.iter().copied());
    }
    // NDVI varies less in leaf than over the year, with its snow and its thaw.
    let is_in_leaf = |&(residual, value): &(&f32, &f32)| value - residual > params.canopy_ndvi;
    let in_leaf = || {
        residual
            .iter()
            .zip(observed[NDVI])
            .filter(is_in_leaf)
            .map(|(&residual, _)| residual)
    };
    let is_enough = in_leaf().count() >= params.min_clear_history as usize;
    let canopy_scale = if is_enough {
        scale(NDVI, &mut in_leaf())
    } else {
        scales[NDVI]
    };

    let tails = [params.range_tail, 1.0 - params.range_tail];
    let range = observed.map(|values| quantiles(scratch, values.iter().copied(), tails));
    let median_ndvi = median(scratch, observed[NDVI].iter().copied());
    let n_water = (0..n)
        .filter(|&t| is_water(observed[SWIR16][t], green[t], nir[t], params))
        .count();
    let n_wet = (0..n)
        .filter(|&t| {
            is_partly_water(
                observed[BLUE][t],
                observed[SWIR16][t],
                green[t],
                nir[t],
                params,
            )
        })
        .count();
    let mut barest = [0.0; 5];
    let mut n_barest = 0.0;
    for t in (0..n).filter(|&t| observed[NDVI][t] <= range[NDVI][0]) {
        let look = [
            observed[BLUE][t],
            observed[RED][t],
            nir[t],
            observed[SWIR16][t],
            observed[SWIR22][t],
        ];
        for (sum, value) in barest.iter_mut().zip(look) {
            *sum += value;
        }
        n_barest += 1.0;
    }
    // The lower end of the range is a look's own value, so there is one at least.
    let barest = barest.map(|sum| sum / n_barest);
    History {
        coefficients,
        scale: scales,
        range,
        median_ndvi,
        canopy_scale,
        water_share: n_water as f32 / n as f32,
        wet_share: n_wet as f32 / n as f32,
        barest,
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
