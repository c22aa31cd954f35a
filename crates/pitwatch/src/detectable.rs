//! From counts of pits found to intervals, the minimum detectable area and the omitted share.

use crate::inject::Dice;

/// 95 % point of the standard normal distribution: all intervals are of 90 %, equal-tailed.
const Z_95: f64 = 1.644_853_626_951_472_7;
/// Share of the draws below and above an interval.
const TAIL: f64 = 0.05;
/// Draws that an interval rests on; its ends move by about 0.3 % of the draws' rank.
const N_DRAWS: usize = 4000;

/// How many of the pits of a size class were found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SizeClass {
    /// Least and greatest area, in square meters.
    pub(crate) edges_m2: [f64; 2],
    /// Pits that could be assessed.
    pub(crate) n: usize,
    /// Pits that were found.
    pub(crate) n_detected: usize,
}

/// A value with its interval of 90 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Interval {
    pub(crate) value: f64,
    pub(crate) lo: f64,
    pub(crate) hi: f64,
}

/// A share of `n` with its interval of 90 %; `None` if `n` is 0.
///
/// Source: Wilson (1927), <https://doi.org/10.1080/01621459.1927.10502953>, recommended for small n by Brown, Cai and
/// DasGupta (2001), <https://doi.org/10.1214/ss/1009213286>.
pub(crate) fn share(n_detected: usize, n: usize) -> Option<Interval> {
    if n == 0 {
        return None;
    }
    let (total, value) = (n as f64, n_detected as f64 / n as f64);
    let z2 = Z_95 * Z_95;
    let middle = (value + z2 / (2.0 * total)) / (1.0 + z2 / total);
    let half = Z_95 / (1.0 + z2 / total)
        * (value * (1.0 - value) / total + z2 / (4.0 * total * total)).sqrt();
    // None and all are known exactly; rounding must not move them.
    let lo = if n_detected == 0 {
        0.0
    } else {
        (middle - half).max(0.0)
    };
    let hi = if n_detected == n {
        1.0
    } else {
        (middle + half).min(1.0)
    };
    Some(Interval { value, lo, hi })
}

/// The smallest area at which pits are found with a probability, in square meters; infinite = at no size that was drawn.
///
/// The shares found are made to rise with size (isotonic regression) and joined by straight lines over the logarithm of
/// area between the classes' geometric centers. Nothing is assumed of the curve, so a share that levels off below the
/// target never reaches it. Where the smallest class reaches it, its center is returned.
/// The interval has the same of draws from each class' posterior under Jeffreys' prior, Beta(k + ½, n − k + ½).
///
/// Classes without pits are left out; `None` if none has any.
///
/// Sources: Ayer et al. (1955), <https://doi.org/10.1214/aoms/1177728423> (isotonic regression); Brown, Cai and DasGupta
/// (2001), <https://doi.org/10.1214/ss/1009213286> (Jeffreys' interval).
pub(crate) fn min_detectable_m2(
    classes: &[SizeClass],
    target: f64,
    dice: &mut Dice,
) -> Option<Interval> {
    let classes: Vec<SizeClass> = classes
        .iter()
        .copied()
        .filter(|class| class.n > 0)
        .collect();
    if classes.is_empty() {
        return None;
    }
    let centers: Vec<f64> = classes
        .iter()
        .map(|class| f64::midpoint(class.edges_m2[0].ln(), class.edges_m2[1].ln()))
        .collect();
    let weights: Vec<f64> = classes.iter().map(|class| class.n as f64).collect();
    let area_of = |shares: &[f64]| crossing(&centers, &isotonic(shares, &weights), target);
    let observed: Vec<f64> = classes
        .iter()
        .map(|class| class.n_detected as f64 / class.n as f64)
        .collect();
    let draws = (0..N_DRAWS).map(|_| {
        let shares: Vec<f64> = classes.iter().map(|class| posterior(class, dice)).collect();
        area_of(&shares)
    });
    let (lo, hi) = ends(draws.collect());
    Some(Interval {
        value: area_of(&observed),
        lo,
        hi,
    })
}

/// The share of the dug area that is not found, where the number of pits of area A goes with A⁻ᵃ between the least and
/// the greatest size drawn: Σ W · (1 − P), with W a class' share of the area.
///
/// The interval has draws from each class' posterior under Jeffreys' prior. `None` if a class has no pit.
///
/// - `exponent`: a; 1 is log-uniform, the distribution within the classes.
pub(crate) fn omitted_share(
    classes: &[SizeClass],
    exponent: f64,
    dice: &mut Dice,
) -> Option<Interval> {
    if classes.is_empty() || classes.iter().any(|class| class.n == 0) {
        return None;
    }
    let areas: Vec<f64> = classes
        .iter()
        .map(|class| area_between(class.edges_m2, exponent))
        .collect();
    let total: f64 = areas.iter().sum();
    let omitted = |shares: &mut dyn Iterator<Item = f64>| -> f64 {
        areas
            .iter()
            .zip(shares)
            .map(|(area, share)| area / total * (1.0 - share))
            .sum()
    };
    let draws =
        (0..N_DRAWS).map(|_| omitted(&mut classes.iter().map(|class| posterior(class, dice))));
    let (lo, hi) = ends(draws.collect());
    let value = omitted(
        &mut classes
            .iter()
            .map(|class| class.n_detected as f64 / class.n as f64),
    );
    // The posterior of a class of which all or none were found lies to one side of what was observed.
    Some(Interval {
        value,
        lo: lo.min(value),
        hi: hi.max(value),
    })
}

/// ∫ A · A⁻ᵃ dA.
fn area_between([from, to]: [f64; 2], exponent: f64) -> f64 {
    let power = 2.0 - exponent;
    if power.abs() < 1e-9 {
        (to / from).ln()
    } else {
        (to.powf(power) - from.powf(power)) / power
    }
}

/// A draw from Beta(k + ½, n − k + ½): x / (x + y) of two gamma variates, each a sum of exponentials and half a squared
/// normal, which has shape ½.
fn posterior(class: &SizeClass, dice: &mut Dice) -> f64 {
    let mut gamma = |n: usize| {
        let normal = dice.normal();
        (0..n).map(|_| dice.exponential()).sum::<f64>() + normal * normal / 2.0
    };
    let (found, missed) = (gamma(class.n_detected), gamma(class.n - class.n_detected));
    if found + missed > 0.0 {
        found / (found + missed)
    } else {
        0.5
    }
}

/// The rising values that are nearest to `values` in weighted squares: neighbours that fall are pooled.
fn isotonic(values: &[f64], weights: &[f64]) -> Vec<f64> {
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for (&value, &weight) in values.iter().zip(weights) {
        pools.push((value, weight, 1));
        while let [.., (a, weight_a, n_a), (b, weight_b, n_b)] = pools[..] {
            if a <= b {
                break;
            }
            pools.truncate(pools.len() - 2);
            let weight = weight_a + weight_b;
            pools.push(((a * weight_a + b * weight_b) / weight, weight, n_a + n_b));
        }
    }
    pools
        .into_iter()
        .flat_map(|(value, _, n)| std::iter::repeat_n(value, n))
        .collect()
}

/// e to the place at which rising values reach a target, with straight lines between the places.
fn crossing(places: &[f64], values: &[f64], target: f64) -> f64 {
    let Some(first) = values.iter().position(|&value| value >= target) else {
        return f64::INFINITY;
    };
    if first == 0 {
        return places[0].exp();
    }
    let (before, after) = (values[first - 1], values[first]);
    let share = (target - before) / (after - before);
    (places[first - 1] + share * (places[first] - places[first - 1])).exp()
}

/// The values below and above which the tails lie.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a length"
)]
fn ends(mut draws: Vec<f64>) -> (f64, f64) {
    draws.sort_unstable_by(f64::total_cmp);
    let last = draws.len() - 1;
    let at = |share: f64| draws[(share * last as f64).round() as usize];
    (at(TAIL), at(1.0 - TAIL))
}

/// The upper middle value; `None` of none.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(found: &[(usize, usize)]) -> Vec<SizeClass> {
        let edges = [100.0, 200.0, 400.0, 800.0, 1600.0];
        found
            .iter()
            .enumerate()
            .map(|(index, &(n_detected, n))| SizeClass {
                edges_m2: [edges[index], edges[index + 1]],
                n,
                n_detected,
            })
            .collect()
    }

    /// Brown, Cai and DasGupta's formula worked by hand for 8 of 10 at z = 1.6449: 0.541 to 0.931.
    #[test]
    fn the_interval_of_a_share_is_wilsons() {
        let Interval { value, lo, hi } = share(8, 10).unwrap();
        assert!((value - 0.8).abs() < 1e-12);
        assert!(
            (lo - 0.5407).abs() < 2e-3 && (hi - 0.9310).abs() < 2e-3,
            "{lo} to {hi}"
        );
        assert_eq!(share(0, 0), None);
        assert_eq!(share(0, 5).unwrap().lo, 0.0);
        assert_eq!(share(5, 5).unwrap().hi, 1.0);
    }

    #[test]
    fn the_detectable_area_lies_where_the_share_crosses() {
        let mut dice = Dice::new(1, &[]);
        let found = min_detectable_m2(
            &classes(&[(0, 50), (30, 50), (50, 50), (50, 50)]),
            0.8,
            &mut dice,
        )
        .unwrap();
        // Half way from 0.6 at 283 m² to 1.0 at 566 m², over the logarithm.
        assert!((found.value - 400.0).abs() < 1.0, "{found:?}");
        assert!(
            found.lo < found.value && found.value < found.hi && found.hi < 700.0,
            "{found:?}"
        );
    }

    #[test]
    fn a_share_that_levels_off_below_the_target_never_reaches_it() {
        let mut dice = Dice::new(1, &[]);
        let found = min_detectable_m2(
            &classes(&[(5, 50), (30, 50), (35, 50), (34, 50)]),
            0.8,
            &mut dice,
        )
        .unwrap();
        assert!(found.value.is_infinite() && found.hi.is_infinite());
        assert_eq!(min_detectable_m2(&classes(&[(0, 0)]), 0.8, &mut dice), None);
    }

    #[test]
    fn shares_are_pooled_until_they_rise() {
        assert_eq!(
            isotonic(&[0.2, 0.6, 0.4, 0.9], &[1.0; 4]),
            [0.2, 0.5, 0.5, 0.9]
        );
        assert_eq!(isotonic(&[0.9, 0.3, 0.3], &[1.0; 3]), [0.5; 3]);
    }

    #[test]
    fn what_is_omitted_weighs_by_area() {
        let mut dice = Dice::new(1, &[]);
        let half = classes(&[(0, 40), (0, 40), (40, 40), (40, 40)]);
        // Log-uniform: area goes with size, 300 of 1500 m² are in the first two classes.
        let flat = omitted_share(&half, 1.0, &mut dice).unwrap();
        assert!((flat.value - 0.2).abs() < 1e-9);
        // A⁻²: every doubling has the same area.
        let steep = omitted_share(&half, 2.0, &mut dice).unwrap();
        assert!((steep.value - 0.5).abs() < 1e-9);
        assert!(
            steep.lo < 0.5 && 0.5 < steep.hi && steep.hi - steep.lo < 0.1,
            "{steep:?}"
        );
        assert_eq!(
            omitted_share(&classes(&[(1, 1), (0, 0)]), 1.0, &mut dice),
            None
        );
    }

    #[test]
    fn draws_have_the_posteriors_mean() {
        let mut dice = Dice::new(3, &[]);
        let class = SizeClass {
            edges_m2: [1.0, 2.0],
            n: 10,
            n_detected: 7,
        };
        let mean = (0..20_000)
            .map(|_| posterior(&class, &mut dice))
            .sum::<f64>()
            / 20_000.0;
        assert!((mean - 7.5 / 11.0).abs() < 0.004, "{mean}");
    }
}
