//! The seasonal model: a level and two harmonics of the year, fitted by ridge regression.

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
/// `(XᵀWX + R) β = XᵀWy`, with R on the harmonics only.
///
/// - `regressors`: one row a look.
/// - `weights`: one a look, unitless, 0 or more.
/// - `series`: the observed values, each as long as `regressors`.
/// - `ridge`: penalty on each harmonic's coefficient, in looks (a penalty of 1 weighs as one look).
///
/// Returns one row of coefficients a series; all zero if there is no look with weight.
///
/// Source: Hoerl and Kennard (1970), <https://doi.org/10.1080/00401706.1970.10488634>; harmonic model of
/// Verbesselt et al. (2012), <https://doi.org/10.1016/j.rse.2012.02.022>.
#[must_use]
pub fn fit<const N: usize>(
    regressors: &[[f32; N_COEFFICIENTS]],
    weights: &[f32],
    series: [&[f32]; N],
    ridge: f32,
) -> [[f32; N_COEFFICIENTS]; N] {
    let mut normal = [[0.0f32; N_COEFFICIENTS]; N_COEFFICIENTS];
    let mut right = [[0.0f32; N_COEFFICIENTS]; N];
    for (t, (row, &weight)) in regressors.iter().zip(weights).enumerate() {
        let weighted = row.map(|value| value * weight);
        for i in 0..N_COEFFICIENTS {
            for j in 0..=i {
                normal[i][j] += weighted[i] * row[j];
            }
        }
        for (right, values) in right.iter_mut().zip(series) {
            for k in 0..N_COEFFICIENTS {
                right[k] += weighted[k] * values[t];
            }
        }
    }
    for (k, row) in normal.iter_mut().enumerate().skip(1) {
        row[k] += ridge;
    }
    match cholesky(&normal) {
        Some(factor) => right.map(|right| solve(&factor, right)),
        None => [[0.0; N_COEFFICIENTS]; N],
    }
}

/// The lower Cholesky factor of a symmetric matrix given by its lower half, or `None` if it is not positive definite.
fn cholesky(
    matrix: &[[f32; N_COEFFICIENTS]; N_COEFFICIENTS],
) -> Option<[[f32; N_COEFFICIENTS]; N_COEFFICIENTS]> {
    let mut factor = [[0.0f32; N_COEFFICIENTS]; N_COEFFICIENTS];
    for i in 0..N_COEFFICIENTS {
        for j in 0..=i {
            let mut sum = matrix[i][j];
            for (left, right) in factor[i][..j].iter().zip(&factor[j][..j]) {
                sum -= left * right;
            }
            if i == j {
                if sum <= 0.0 {
                    return None;
                }
                factor[i][i] = sum.sqrt();
            } else {
                factor[i][j] = sum / factor[j][j];
            }
        }
    }
    Some(factor)
}

fn solve(
    factor: &[[f32; N_COEFFICIENTS]; N_COEFFICIENTS],
    mut right: [f32; N_COEFFICIENTS],
) -> [f32; N_COEFFICIENTS] {
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
            let values: Vec<f32> = rows.iter().map(|row| predict(&truth, row)).collect();
            let [found] = fit(&rows, &vec![1.0; 60], [&values], 0.0);
            for k in 0..N_COEFFICIENTS {
                prop_assert!((found[k] - truth[k]).abs() < 1e-3, "{found:?} {truth:?}");
            }
        }

        #[test]
        fn a_look_without_weight_changes_nothing(value in -1.0f32..1.0) {
            let rows: Vec<_> = (0..40).map(|t| regressors(f64::from(t) * 0.31)).collect();
            let mut values: Vec<f32> = rows.iter().map(|row| 0.4 + 0.2 * row[1]).collect();
            let mut weights = vec![1.0; 40];
            weights[7] = 0.0;
            let [before] = fit(&rows, &weights, [&values], 0.5);
            values[7] = value;
            let [after] = fit(&rows, &weights, [&values], 0.5);
            prop_assert_eq!(before, after);
        }
    }

    #[test]
    fn without_looks_the_model_is_flat() {
        let empty: &[f32] = &[];
        assert_eq!(fit(&[], &[], [empty], 1.0), [[0.0; N_COEFFICIENTS]]);
    }
}
