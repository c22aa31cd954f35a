//! An area's own false alarms: what a replay of its history and its reviewers say.

use std::collections::{BTreeMap, BTreeSet};

use pitwatch_capacity::FalseArea;
use pitwatch_change::Kind;
use pitwatch_grid::LatticePixel;
use pitwatch_sites::{Alert, Known, Review, Tier};

use crate::assess::SEASON_DAYS;
use crate::config::Pipeline;

/// What a replay of the history found in an area.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Replayed {
    /// Hectares of each confirmed object, without those that a reviewer found to be excavation.
    areas_ha: Vec<f64>,
    /// True if nobody has reviewed one of them: it may be true digging.
    is_upper_bound: bool,
    /// Seasons of the whole area in which something could have been confirmed.
    exposure_seasons: f64,
}

/// What reviewers said of one season of an area.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReviewedSeason {
    /// Share of its confirmed alerts that was reviewed, 0 to 1; 0 where there are none.
    pub(crate) share: f64,
    /// Hectares of each that was dismissed.
    pub(crate) dismissed_ha: Vec<f64>,
    /// Seasons of the whole area that were seen: its length times the share that was observed.
    pub(crate) seen_seasons: f64,
}

impl Replayed {
    /// What the alerts of a replay say of an area; `None` if it is too short for anything to be confirmed, or no ground could
    /// be observed.
    ///
    /// - `observable_share`: share of the area that the replay could observe.
    /// - `known`: alerts that were reported before the monitoring period; those that share a pixel with an object of the
    ///   replay are the same ground, and what a reviewer said of them holds.
    pub(crate) fn new(
        alerts: &[Alert],
        observable_share: f64,
        pipeline: &Pipeline,
        known: &[Known],
        reviews: &BTreeMap<String, Review>,
    ) -> Option<Self> {
        // What is first seen later than this cannot be confirmed before the replay ends.
        let days = f64::from(pipeline.replay_days()?) - f64::from(pipeline.change.confirm_days);
        let exposure_seasons = days / f64::from(SEASON_DAYS) * observable_share;
        if exposure_seasons <= 0.0 {
            return None;
        }
        let ground_of = |said: Review| -> BTreeSet<LatticePixel> {
            known
                .iter()
                .filter(|known| known.kind == Kind::Excavation)
                .filter(|known| reviews.get(&known.alert_id) == Some(&said))
                .flat_map(|known| known.pixels.iter().map(|&(at, _)| at))
                .collect()
        };
        let (confirmed, dismissed) = (ground_of(Review::Confirmed), ground_of(Review::Dismissed));
        let touches =
            |alert: &Alert, ground: &BTreeSet<_>| alert.pixels.iter().any(|at| ground.contains(at));
        let counted: Vec<&Alert> = alerts
            .iter()
            .filter(|alert| is_confirmed_excavation(alert))
            .filter(|alert| !touches(alert, &confirmed))
            .collect();
        Some(Self {
            areas_ha: counted.iter().map(|alert| alert.area_ha).collect(),
            is_upper_bound: counted.iter().any(|alert| !touches(alert, &dismissed)),
            exposure_seasons,
        })
    }
}

/// True for what carats may rest on.
pub(crate) fn is_confirmed_excavation(alert: &Alert) -> bool {
    alert.kind == Kind::Excavation && alert.tier == Tier::Confirmed
}

/// The false area of each season of an area; `None` = not measured.
///
/// Counted are the dismissed alerts of the seasons of which at least `min_reviewed_share` is reviewed; where there is no such
/// season, what the replay found. A dismissed alert is taken out by itself, so the rate applies to the share of a season that
/// nobody has reviewed.
///
/// - `smallest_ha`: the smallest object that can be reported.
pub(crate) fn of_seasons(
    replayed: Option<&Replayed>,
    seasons: &[ReviewedSeason],
    min_reviewed_share: f64,
    smallest_ha: f64,
) -> Vec<Option<FalseArea>> {
    let reviewed = || {
        seasons
            .iter()
            .filter(|season| season.share > 0.0 && season.share >= min_reviewed_share)
    };
    let of_reviews: f64 = reviewed()
        .map(|season| season.seen_seasons * season.share)
        .sum();
    let measured = if of_reviews > 0.0 {
        Some(FalseArea {
            areas_ha: reviewed()
                .flat_map(|season| season.dismissed_ha.iter().copied())
                .collect(),
            exposure_seasons: of_reviews,
            applies_seasons: 0.0,
            is_upper_bound: false,
            sees_new_ground: true,
            smallest_ha,
            source: "reviews".to_owned(),
        })
    } else {
        replayed.map(|replayed| FalseArea {
            areas_ha: replayed.areas_ha.clone(),
            exposure_seasons: replayed.exposure_seasons,
            applies_seasons: 0.0,
            is_upper_bound: replayed.is_upper_bound,
            sees_new_ground: false,
            smallest_ha,
            source: "replay of the history".to_owned(),
        })
    };
    seasons
        .iter()
        .map(|season| {
            measured.clone().map(|measured| FalseArea {
                applies_seasons: season.seen_seasons * (1.0 - season.share),
                ..measured
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn season(share: f64, dismissed_ha: &[f64]) -> ReviewedSeason {
        ReviewedSeason {
            share,
            dismissed_ha: dismissed_ha.to_vec(),
            seen_seasons: 0.8,
        }
    }

    fn replay(is_upper_bound: bool) -> Replayed {
        Replayed {
            areas_ha: vec![0.3, 0.2],
            is_upper_bound,
            exposure_seasons: 0.9,
        }
    }

    fn first(replayed: Option<&Replayed>, seasons: &[ReviewedSeason]) -> Option<FalseArea> {
        of_seasons(replayed, seasons, 0.5, 0.02).remove(0)
    }

    #[test]
    fn without_replay_and_reviews_nothing_is_measured() {
        assert_eq!(first(None, &[season(0.0, &[])]), None);
        // Too few are reviewed to speak for the season.
        assert_eq!(first(None, &[season(0.4, &[0.1])]), None);
    }

    #[test]
    fn a_replay_alone_is_an_upper_bound_for_the_whole_season() {
        let measured = first(Some(&replay(true)), &[season(0.0, &[])]).unwrap();
        assert_eq!(measured.areas_ha, [0.3, 0.2]);
        assert_eq!(
            (measured.exposure_seasons, measured.applies_seasons),
            (0.9, 0.8)
        );
        assert!(measured.is_upper_bound && !measured.sees_new_ground);
    }

    #[test]
    fn reviews_take_the_place_of_the_replay() {
        let seasons = [season(0.5, &[0.1]), season(0.0, &[])];
        let measured = of_seasons(Some(&replay(true)), &seasons, 0.5, 0.02);
        let [of_first, of_second] = [0, 1].map(|place| measured[place].clone().unwrap());
        assert_eq!(of_first.areas_ha, [0.1]);
        assert!((of_first.exposure_seasons - 0.4).abs() < 1e-12);
        assert!(!of_first.is_upper_bound && of_first.sees_new_ground);
        // Half of the first season is left to be false, all of the second.
        assert!((of_first.applies_seasons - 0.4).abs() < 1e-12);
        assert!((of_second.applies_seasons - 0.8).abs() < 1e-12);
        let all = first(Some(&replay(false)), &[season(1.0, &[0.1])]).unwrap();
        assert_eq!(all.applies_seasons, 0.0);
    }
}
