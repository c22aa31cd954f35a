//! The seasonal model: a level and two harmonics of the year, fitted by ridge regression.

use wide::f32x4;

pub use crate::lanes::N_LANES;
use crate::lanes::{Lanes, N_PARTS, part, set_part};

/// Number of coefficients of the seasonal model: a level and two harmonics of the year.
pub const N_COEFFICIENTS: usize = 5;

/// The regressors of one day: `[1, cos ωt, sin ωt, cos 2ωt, sin 2ωt]`.
///
/// - `season_angle`: ωt in radians, ω one turn a year.
#[must_use]
pub fn regressors(season_angle: f64) -> [f32; N_COEFFICIENTS] {
    let (sin, cos) = season_angle.sin_cos();
    let (sin2, cos2) = (2.0 * season_angle).sin_cos();
    [1.0, cos as f32, sin as f32, cos2 as f32, sin2 as f32]
}

/// The model's value on one day.
#[inline]
#[must_use]
pub fn predict(coefficients: &[f32; N_COEFFICIENTS], regressors: &[f32; N_COEFFICIENTS]) -> f32 {
    let mut sum = 0.0;
    for k in 0..N_COEFFICIENTS {
        sum += coefficients[k] * regressors[k];
    }
    sum
}

/// Fits several series at once that share their regressors and weights, by ridge regression:
/// `(XᵀWX + R) β = XᵀWy`, with R on the harmonics only. It does so for [`N_LANES`] pixels beside each other, which have
/// nothing to do with each other.
///
/// - `regressors`: one row a look.
/// - `weights`: one a look and pixel, unitless, 0 or more; 0 where a pixel has no value.
/// - `series`: the observed values, each as long as `regressors`; any finite number where a pixel has no value.
/// - `ridge`: penalty on each harmonic's coefficient, in looks (a penalty of 1 weighs as one look).
///
/// Returns one row of coefficients a series; all zero at a pixel that has no look with weight.
///
/// Source: Hoerl and Kennard (1970), <https://doi.org/10.1080/00401706.1970.10488634>; harmonic model of
/// Verbesselt et al. (2012), <https://doi.org/10.1016/j.rse.2012.02.022>.
#[must_use]
pub fn fit<const N: usize>(
    regressors: &[[f32; N_COEFFICIENTS]],
    weights: &[[f32; N_LANES]],
    series: [&[[f32; N_LANES]]; N],
    ridge: f32,
) -> [[[f32; N_LANES]; N_COEFFICIENTS]; N] {
    let mut coefficients = [[[0.0; N_LANES]; N_COEFFICIENTS]; N];
    for place in 0..N_PARTS {
        let (factor, is_definite) = factorize(normal_matrix(regressors, weights, place, ridge));
        for (coefficients, values) in coefficients.iter_mut().zip(series) {
            let right = right_side(regressors, weights, values, place);
            for (lanes, solution) in coefficients.iter_mut().zip(solve(&factor, right)) {
                set_part(lanes, place, solution & is_definite);
            }
        }
    }
    coefficients
}

/// Four of the lanes of a square matrix; only the lower half means anything.
type Matrix = [[f32x4; N_COEFFICIENTS]; N_COEFFICIENTS];

/// XᵀWX + R of four of the lanes.
fn normal_matrix(
    regressors: &[[f32; N_COEFFICIENTS]],
    weights: &[Lanes],
    place: usize,
    ridge: f32,
) -> Matrix {
    let mut normal = [[f32x4::ZERO; N_COEFFICIENTS]; N_COEFFICIENTS];
    for (row, weights) in regressors.iter().zip(weights) {
        let row = row.map(f32x4::splat);
        let weight = part(weights, place);
        for i in 0..N_COEFFICIENTS {
            let weighted = row[i] * weight;
            for j in 0..=i {
                normal[i][j] += weighted * row[j];
            }
        }
    }
    for (k, row) in normal.iter_mut().enumerate().skip(1) {
        row[k] += f32x4::splat(ridge);
    }
    normal
}

/// XᵀWy of four of the lanes.
fn right_side(
    regressors: &[[f32; N_COEFFICIENTS]],
    weights: &[Lanes],
    values: &[Lanes],
    place: usize,
) -> [f32x4; N_COEFFICIENTS] {
    let mut right = [f32x4::ZERO; N_COEFFICIENTS];
    for ((row, weights), values) in regressors.iter().zip(weights).zip(values) {
        let (weight, value) = (part(weights, place), part(values, place));
        for (right, &regressor) in right.iter_mut().zip(row) {
            *right += f32x4::splat(regressor) * weight * value;
        }
    }
    right
}

/// The lower Cholesky factor of a symmetric matrix, and a mask of the lanes in which the matrix is positive definite; in
/// the others the factor is meaningless.
fn factorize(matrix: Matrix) -> (Matrix, f32x4) {
    let mut factor = [[f32x4::ZERO; N_COEFFICIENTS]; N_COEFFICIENTS];
    let mut is_definite = f32x4::ZERO.simd_eq(f32x4::ZERO);
    for i in 0..N_COEFFICIENTS {
        for j in 0..=i {
            let mut sum = matrix[i][j];
            for (left, right) in factor[i][..j].iter().zip(&factor[j][..j]) {
                sum -= *left * *right;
            }
            factor[i][j] = if i == j {
                is_definite &= sum.simd_gt(f32x4::ZERO);
                sum.sqrt()
            } else {
                sum / factor[j][j]
            };
        }
    }
    (factor, is_definite)
}

fn solve(factor: &Matrix, mut right: [f32x4; N_COEFFICIENTS]) -> [f32x4; N_COEFFICIENTS] {
    for i in 0..N_COEFFICIENTS {
        for k in 0..i {
            right[i] -= factor[i][k] * right[k];
        }
        right[i] /= factor[i][i];
    }
    for i in (0..N_COEFFICIENTS).rev() {
        for k in i + 1..N_COEFFICIENTS {
            right[i] -= factor[k][i] * right[k];
        }
        right[i] /= factor[i][i];
    }
    right
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A series that the model can make is found again: rounding of f32 over 60 looks stays below 1e-3.
        #[test]
        fn a_seasonal_series_is_fitted_exactly(truth in prop::array::uniform5(-1.0f32..1.0), phase in 0.0f64..6.0) {
            let rows: Vec<_> = (0..60).map(|t| regressors(phase + f64::from(t) * 0.31)).collect();
            let values: Vec<Lanes> = rows.iter().map(|row| [predict(&truth, row); N_LANES]).collect();
            let [found] = fit(&rows, &[[1.0; N_LANES]; 60], [&values], 0.0);
            for k in 0..N_COEFFICIENTS {
                prop_assert!((found[k][3] - truth[k]).abs() < 1e-3, "{found:?} {truth:?}");
            }
        }

        #[test]
        fn a_look_without_weight_changes_nothing(value in -1.0f32..1.0) {
            let rows: Vec<_> = (0..40).map(|t| regressors(f64::from(t) * 0.31)).collect();
            let mut values: Vec<Lanes> = rows.iter().map(|row| [0.4 + 0.2 * row[1]; N_LANES]).collect();
            let mut weights = [[1.0; N_LANES]; 40];
            weights[7][0] = 0.0;
            let [before] = fit(&rows, &weights, [&values], 0.5);
            values[7][0] = value;
            let [after] = fit(&rows, &weights, [&values], 0.5);
            prop_assert_eq!(before, after);
        }
    }

    #[test]
    fn without_looks_the_model_is_flat() {
        let empty: &[Lanes] = &[];
        assert_eq!(
            fit(&[], &[], [empty], 1.0),
            [[[0.0; N_LANES]; N_COEFFICIENTS]]
        );
    }
}
