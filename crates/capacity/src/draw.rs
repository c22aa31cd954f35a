use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution as _, StandardNormal};
use rand_pcg::Pcg64Mcg;

use crate::prior::Z95;
use crate::{Distribution, Quantiles};

/// Cells of the table that turns a standard normal deviate into a value.
const N_CELLS: usize = 2_048;

/// The table spans so many standard deviations either way; beyond lie 2 in 10⁹ draws, which get the end's value.
const TABLE_Z: f64 = 6.0;

/// A stream of random numbers that depends on the seed and the name of what is drawn alone.
///
/// One name has the same numbers whatever else is drawn, so that changing one prior moves that prior and nothing else.
pub(crate) fn stream(seed: u64, name: &str) -> Pcg64Mcg {
    // FNV-1a over the name, started from the seed.
    let hash = name
        .bytes()
        .fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    Pcg64Mcg::seed_from_u64(hash)
}

/// The standard normal distribution function.
pub(crate) fn normal_cdf(z: f64) -> f64 {
    0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
}

/// A distribution as a function of a standard normal deviate, so that draws can be correlated.
#[derive(Debug, Clone)]
pub(crate) struct Quantile {
    values: Vec<f64>,
}

impl Quantile {
    pub(crate) fn of(distribution: Distribution) -> Self {
        let beta = match distribution {
            Distribution::Beta { alpha, beta } => beta_cdf(alpha, beta),
            _ => Vec::new(),
        };
        let values = (0..=N_CELLS)
            .map(|cell| {
                let z = TABLE_Z * (2.0 * cell as f64 / N_CELLS as f64 - 1.0);
                exact(distribution, z, &beta)
            })
            .collect();
        Self { values }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the table"
    )]
    pub(crate) fn at(&self, z: f64) -> f64 {
        let position =
            ((z + TABLE_Z) * (N_CELLS as f64 / (2.0 * TABLE_Z))).clamp(0.0, N_CELLS as f64 - 1e-6);
        let cell = position as usize;
        let (low, high) = (self.values[cell], self.values[cell + 1]);
        low + (high - low) * (position - cell as f64)
    }
}

fn exact(distribution: Distribution, z: f64, beta: &[f64]) -> f64 {
    match distribution {
        Distribution::Lognormal { p5, p95 } => {
            let (low, high) = (p5.ln(), p95.ln());
            (0.5 * (low + high) + z * (high - low) / (2.0 * Z95)).exp()
        }
        Distribution::Triangular { lo, mode, hi } => {
            let u = normal_cdf(z);
            if u < (mode - lo) / (hi - lo) {
                lo + (u * (hi - lo) * (mode - lo)).sqrt()
            } else {
                hi - ((1.0 - u) * (hi - lo) * (hi - mode)).sqrt()
            }
        }
        Distribution::Uniform { lo, hi } => lo + normal_cdf(z) * (hi - lo),
        Distribution::Beta { .. } => {
            let u = normal_cdf(z);
            let last = beta.len() - 1;
            let cell = beta.partition_point(|&cdf| cdf < u).clamp(1, last);
            let (low, high) = (beta[cell - 1], beta[cell]);
            let within = if high > low {
                ((u - low) / (high - low)).clamp(0.0, 1.0)
            } else {
                0.5
            };
            (cell as f64 - 1.0 + within) / last as f64
        }
        Distribution::Fixed(value) => value,
    }
}

/// The beta distribution function at equal steps from 0 to 1, by the midpoint rule.
fn beta_cdf(alpha: f64, beta: f64) -> Vec<f64> {
    const N: usize = 20_000;
    let mut sum = 0.0;
    let mut cdf = Vec::with_capacity(N + 1);
    cdf.push(0.0);
    let log_density = |x: f64| (alpha - 1.0) * x.ln() + (beta - 1.0) * (1.0 - x).ln();
    let mode = if alpha > 1.0 && beta > 1.0 {
        (alpha - 1.0) / (alpha + beta - 2.0)
    } else {
        0.5
    };
    let top = log_density(mode);
    for step in 0..N {
        let x = (step as f64 + 0.5) / N as f64;
        sum += (log_density(x) - top).exp();
        cdf.push(sum);
    }
    cdf.iter_mut().for_each(|value| *value /= sum);
    cdf
}

/// Standard normal deviates by name.
pub(crate) fn normals(seed: u64, name: &str, n_draws: usize) -> Vec<f64> {
    let mut random = stream(seed, name);
    (0..n_draws)
        .map(|_| StandardNormal.sample(&mut random))
        .collect()
}

/// Draws of one distribution by name.
pub(crate) fn column(
    distribution: Distribution,
    seed: u64,
    name: &str,
    n_draws: usize,
) -> Vec<f64> {
    let quantile = Quantile::of(distribution);
    let mut column = normals(seed, name, n_draws);
    column.iter_mut().for_each(|z| *z = quantile.at(*z));
    column
}

/// Draws of a value known by its median and the ends of its interval of 90 %: its distribution function is linear between
/// 5, 50 and 95 %, and goes on as steeply beyond, no further than `least` and `greatest`.
pub(crate) fn column_of_interval(
    (value, lo, hi): (f64, f64, f64),
    (least, greatest): (f64, f64),
    seed: u64,
    name: &str,
    n_draws: usize,
) -> Vec<f64> {
    let mut random = stream(seed, name);
    (0..n_draws)
        .map(|_| {
            let u: f64 = random.random();
            let drawn = if u < 0.5 {
                value - (value - lo) * (0.5 - u) / 0.45
            } else {
                value + (hi - value) * (u - 0.5) / 0.45
            };
            drawn.clamp(least, greatest)
        })
        .collect()
}

/// The five quantiles; `None` without draws.
pub(crate) fn quantiles(draws: &[f64]) -> Option<Quantiles> {
    let mut sorted = draws.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in the sorted draws"
    )]
    let at = |share: f64| {
        let place = share * last as f64;
        let low = sorted[place.floor() as usize];
        let high = sorted[place.ceil() as usize];
        if low == high {
            low
        } else {
            low + (high - low) * place.fract()
        }
    };
    Some(Quantiles {
        p5: at(0.05),
        p10: at(0.10),
        p50: at(0.50),
        p90: at(0.90),
        p95: at(0.95),
    })
}

/// Spearman's rank correlation, in which equal values have their mean rank; `None` where one side does not vary.
pub(crate) fn rank_correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (&a, &b) in a.iter().zip(&b) {
        ab += (a - mean) * (b - mean);
        aa += (a - mean).powi(2);
        bb += (b - mean).powi(2);
    }
    (aa > 0.0 && bb > 0.0).then(|| ab / (aa * bb).sqrt())
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&i, &j| values[i].total_cmp(&values[j]).then(i.cmp(&j)));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let mut end = start + 1;
        while end < order.len() && values[order[end]] == values[order[start]] {
            end += 1;
        }
        let rank = (start + end - 1) as f64 / 2.0;
        order[start..end].iter().for_each(|&i| ranks[i] = rank);
        start = end;
    }
    ranks
}

/// The error probabilities corrected for their number, in the order given: Benjamini and Hochberg 1995,
/// <https://doi.org/10.1111/j.2517-6161.1995.tb02031.x>.
pub(crate) fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&i, &j| p[i].total_cmp(&p[j]).then(i.cmp(&j)));
    let mut q = vec![0.0; p.len()];
    let mut least: f64 = 1.0;
    for (rank, &i) in order.iter().enumerate().rev() {
        least = least.min(p[i] * p.len() as f64 / (rank + 1) as f64);
        q[i] = least;
    }
    q
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantile_functions_have_their_values() {
        let lognormal = Quantile::of(Distribution::Lognormal { p5: 0.3, p95: 1.9 });
        assert!((lognormal.at(-Z95) - 0.3).abs() < 1e-5);
        assert!((lognormal.at(Z95) - 1.9).abs() < 1e-4);
        let triangular = Quantile::of(Distribution::Triangular {
            lo: 0.25,
            mode: 0.5,
            hi: 0.8,
        });
        // Above the mode: 0.8 − √(0.5 · 0.55 · 0.3) = 0.51277.
        assert!((triangular.at(0.0) - 0.512_77).abs() < 1e-5);
        // Beta(2, 1) has the distribution function x².
        let beta = Quantile::of(Distribution::Beta {
            alpha: 2.0,
            beta: 1.0,
        });
        assert!((beta.at(0.0) - 0.5_f64.sqrt()).abs() < 1e-4);
        assert_eq!(Quantile::of(Distribution::Fixed(3.0)).at(9.0), 3.0);
    }

    #[test]
    fn a_name_has_its_own_numbers() {
        assert_eq!(normals(1, "a", 5), normals(1, "a", 5));
        assert_ne!(normals(1, "a", 5), normals(1, "b", 5));
        assert_ne!(normals(1, "a", 5), normals(2, "a", 5));
    }

    #[test]
    fn an_interval_is_drawn_with_its_ends() {
        let draws = column_of_interval((0.2, 0.1, 0.5), (0.0, 1.0), 1, "o", 100_000);
        let Quantiles { p5, p50, p95, .. } = quantiles(&draws).unwrap();
        assert!((p5 - 0.1).abs() < 0.002 && (p50 - 0.2).abs() < 0.002 && (p95 - 0.5).abs() < 0.005);
    }

    /// By hand: 0.01·4, 0.02·4/2, 0.03·4/3, 0.5: all three lowest come to 0.04.
    #[test]
    fn corrected_probabilities_by_hand() {
        let q = benjamini_hochberg(&[0.5, 0.01, 0.03, 0.02]);
        for (q, expected) in q.iter().zip([0.5, 0.04, 0.04, 0.04]) {
            assert!((q - expected).abs() < 1e-12);
        }
        assert!(benjamini_hochberg(&[]).is_empty());
    }

    #[test]
    fn rank_correlation_ignores_the_scale() {
        let a = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(rank_correlation(&a, &[1.0, 10.0, 100.0, 1000.0]), Some(1.0));
        assert_eq!(rank_correlation(&a, &[4.0, 3.0, 2.0, 1.0]), Some(-1.0));
        assert_eq!(rank_correlation(&a, &[1.0; 4]), None);
    }
}
