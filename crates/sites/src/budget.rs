//! How sure an alert must be for false ones to stay within a budget.

use pitwatch_change::ChangedPixel;
use pitwatch_grid::{GeoBox, UtcTime};
use serde::Deserialize;

use crate::{Found, Params, Result, Topsoil, find_alerts};

/// The user's bound on false alerts. The threshold that keeps it follows from the area's own history.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Most false alerts of excavation, of either tier, that stand in 100 km² after a year.
    pub false_alerts_per_100_km2_year: f64,
    /// How much of the history, its last part, is left out of it and monitored instead. Days.
    pub replay_days: u32,
}

/// What a replay of the history gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Replay {
    /// Least probability of a pit at which an alert is reported, so that the replay stays within the budget.
    pub report_probability: f64,
    /// Alerts of the replay at that probability that stood at its end.
    pub n_alerts: usize,
    /// Those that were taken back before it; no budget bounds them.
    pub n_taken_back: usize,
    /// Alerts of the replay without a least probability that stood at its end.
    pub n_all: usize,
}

/// Halvings of the interval 0 to 1 in which the probability is sought: it is found to a thousandth.
const N_HALVINGS: u32 = 10;

/// The least probability of a pit at which a replay of the history has no more alerts than a budget allows.
///
/// Counted are the alerts that stand at its end: what later looks took back is no accusation any more.
/// All that the replay finds is taken for false: what was dug in those days makes the answer too strict, and change that
/// had not occurred before, such as new fields, makes it too lax.
///
/// - `pixels`: the findings of the replay, of the whole area.
/// - `topsoil`: the area's.
/// - `n_allowed`: how many alerts may be reported in the replay's area and time.
///
/// # Errors
///
/// As [`find_alerts`].
pub fn replay(
    geobox: &GeoBox,
    looks: &[UtcTime],
    pixels: &[ChangedPixel],
    topsoil: &Topsoil,
    params: &Params,
    n_allowed: f64,
) -> Result<Replay> {
    let n_alerts = |report_probability: f64| -> Result<(usize, usize)> {
        let params = Params {
            report_probability,
            ..*params
        };
        let Found {
            alerts,
            retractions,
        } = find_alerts("replay", geobox, looks, pixels, topsoil, &params)?;
        let n_standing = alerts
            .iter()
            .filter(|alert| alert.evidence.is_some())
            .count();
        let n_taken_back = retractions
            .iter()
            .filter(|back| back.is_alert && back.kind == pitwatch_change::Kind::Excavation)
            .count();
        Ok((n_standing, n_taken_back))
    };
    let (n_all, n_taken_back) = n_alerts(0.0)?;
    if n_all as f64 <= n_allowed {
        return Ok(Replay {
            report_probability: 0.0,
            n_alerts: n_all,
            n_taken_back,
            n_all,
        });
    }
    let (mut too_lax, mut strict) = (0.0, 1.0);
    for _ in 0..N_HALVINGS {
        let middle = f64::midpoint(too_lax, strict);
        if n_alerts(middle)?.0 as f64 <= n_allowed {
            strict = middle;
        } else {
            too_lax = middle;
        }
    }
    let (n_alerts, n_taken_back) = n_alerts(strict)?;
    Ok(Replay {
        report_probability: strict,
        n_alerts,
        n_taken_back,
        n_all,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::tests::{geobox, looks, params, pixel};

    #[test]
    fn the_likeliest_alerts_are_kept_as_far_as_the_budget_goes() {
        // Five objects that are ever brighter: the odds of a field against a pit are exp(−4 · brightening), so P(pit) is
        // 0.50, 0.73, 0.88, 0.95 and 0.98.
        let mut params = params();
        params.causes.field.intercept = 0.0;
        params.causes.field.weights.brightening = -4.0;
        let pixels: Vec<ChangedPixel> = (0..15i16)
            .map(|k| {
                let mut pixel = pixel(4 * i64::from(k / 3), i64::from(k % 3), 2);
                pixel.finding.at_alert.brightening = 0.25 * f32::from(k / 3);
                pixel
            })
            .collect();
        let replay = |n_allowed: f64| {
            replay(
                &geobox(),
                &looks(),
                &pixels,
                &Topsoil::default(),
                &params,
                n_allowed,
            )
            .unwrap()
        };
        let two = replay(2.0);
        assert_eq!((two.n_all, two.n_alerts), (5, 2));
        assert!((0.88..0.953).contains(&two.report_probability), "{two:?}");
        assert_eq!((replay(0.0).n_alerts, replay(4.9).n_alerts), (0, 4));
        let all = replay(5.0);
        assert_eq!((all.n_alerts, all.report_probability), (5, 0.0));
    }
}
