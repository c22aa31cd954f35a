use pitwatch_grid::Day;
use serde::Deserialize;

use crate::{Distribution, Dyke, Error, Lag, Overrides, Result};

/// The table `[capacity]` of a pipeline.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The priors file, as the pipeline names it; reading it is the program's work.
    pub priors_file: String,
    /// Draws of the Monte Carlo.
    pub draws: usize,
    /// Its seed: the same seed gives the same bytes.
    pub seed: u64,
    /// Least share of the digging that feeds a period that must have been watched and observed, 0 to 1.
    pub coverage_floor: f64,
    /// Correlation of the dug share between the sites of one area, 0 (each its own) to 1 (one unknown).
    pub site_correlation: f64,
    /// Factor between the medians of two routes above which the parameters are doubted.
    pub routes_apart: f64,
    /// Corrected error probability up to which a figure is called outside, 0 to 1.
    pub false_discovery_rate: f64,
    /// Least number of reviewed points at which an area adjusted by a sample takes the place of probability and omitted share.
    pub min_reviewed_points: u32,
    /// Greatest share of the reviewed points that the map may show in another stratum than the one they were drawn in, 0 to 1.
    pub max_changed_points_share: f64,
    /// The table of reviewed points, as the pipeline names it; reading it is the program's work. `None` = there is none.
    pub points_file: Option<String>,
    /// How much of the history, its last part, is monitored as a replay to see the area's own false alarms. Days.
    pub replay_days: u32,
    /// Least share of a season's confirmed alerts that must be reviewed for the dismissed ones to measure false area, 0 to 1.
    pub min_reviewed_share: f64,
    /// Least number of clear looks at which a month without new digging is called inactive.
    pub min_clear_looks: u32,
    /// From digging to reporting.
    pub lag: Lag,
    /// Depths of alerts that were measured on the ground or from the air: their volume takes the place of area and thickness.
    #[serde(default)]
    pub depths: Vec<MeasuredDepth>,
    /// New parts of open dyke trenches, which are no pits in gravel.
    #[serde(default)]
    pub dykes: Vec<MeasuredDyke>,
    /// The user's values in place of the priors file's.
    #[serde(default)]
    pub priors: Overrides,
}

/// The mean depth of an alert's ground as it was measured.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredDepth {
    /// The alert.
    pub alert_id: String,
    /// Lower end, value, upper end, m.
    pub depth_m: [f64; 3],
    /// How it was measured, by whom, when.
    pub source: String,
}

/// The new part of a dyke trench as it was measured.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredDyke {
    /// The area it lies in.
    pub area_id: String,
    /// Its name.
    pub name: String,
    /// Its kind of ground in the priors, for grade and recovery.
    pub deposit: String,
    /// Least, likeliest and greatest length of the new part, m.
    pub length_m: [f64; 3],
    /// Least, likeliest and greatest width, m.
    pub width_m: [f64; 3],
    /// Least, likeliest and greatest depth that was added, m.
    pub depth_m: [f64; 3],
    /// First and last day between which it was dug, YYYY-MM-DD.
    pub dug: [String; 2],
    /// How it was measured, by whom, when.
    pub source: String,
}

impl MeasuredDyke {
    /// The days between which it was dug; `None` if they are none or out of order.
    #[must_use]
    pub fn days(&self) -> Option<(Day, Day)> {
        let [first, last] = &self.dug;
        let days: (Day, Day) = (first.parse().ok()?, last.parse().ok()?);
        (days.0 <= days.1).then_some(days)
    }

    /// The trench as evidence; `None` if its days are none.
    #[must_use]
    pub fn evidence(&self) -> Option<Dyke> {
        let side = |[lo, mode, hi]: [f64; 3]| Distribution::Triangular { lo, mode, hi };
        Some(Dyke {
            name: self.name.clone(),
            deposit: self.deposit.clone(),
            length_m: side(self.length_m),
            width_m: side(self.width_m),
            depth_m: side(self.depth_m),
            dug: self.days()?,
        })
    }
}

impl Params {
    /// Checks every number.
    ///
    /// # Errors
    ///
    /// If one lies outside the range in which it means anything.
    pub fn check(&self) -> Result<()> {
        let refuse = |key, value: String, range| Err(Error::Parameter { key, value, range });
        if !(1_000..=10_000_000).contains(&self.draws) {
            return refuse("draws", self.draws.to_string(), "between 1000 and 10000000");
        }
        for (key, value) in [
            ("coverage_floor", self.coverage_floor),
            ("site_correlation", self.site_correlation),
            ("false_discovery_rate", self.false_discovery_rate),
            ("max_changed_points_share", self.max_changed_points_share),
            ("min_reviewed_share", self.min_reviewed_share),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return refuse(key, value.to_string(), "between 0 and 1");
            }
        }
        if !(self.routes_apart.is_finite() && self.routes_apart >= 1.0) {
            return refuse(
                "routes_apart",
                self.routes_apart.to_string(),
                "at 1 or above",
            );
        }
        if self.min_reviewed_points < 2 {
            return refuse(
                "min_reviewed_points",
                self.min_reviewed_points.to_string(),
                "at 2 or above",
            );
        }
        if self.replay_days == 0 {
            return refuse(
                "replay_days",
                "0".to_owned(),
                "at 1 or above; 365 is one cycle of seasons",
            );
        }
        let sizes = self
            .depths
            .iter()
            .map(|depth| ("depths", depth.depth_m))
            .chain(self.dykes.iter().flat_map(|dyke| {
                [dyke.length_m, dyke.width_m, dyke.depth_m].map(|size| ("dykes", size))
            }));
        for (key, size) in sizes {
            let [lo, value, hi] = size;
            if !(lo > 0.0 && lo <= value && value < hi && hi.is_finite()) {
                return refuse(
                    key,
                    format!("{size:?}"),
                    "three numbers above 0 in order, in meters",
                );
            }
        }
        let sources = self.depths.iter().map(|depth| ("depths", &depth.source));
        let more = self.dykes.iter().map(|dyke| ("dykes", &dyke.source));
        for (key, source) in sources.chain(more) {
            if source.trim().is_empty() {
                return refuse(key, "without a source".to_owned(), "with a source");
            }
        }
        if let Some(dyke) = self.dykes.iter().find(|dyke| dyke.days().is_none()) {
            return refuse(
                "dykes",
                format!("{:?}", dyke.dug),
                "two days YYYY-MM-DD in order",
            );
        }
        if !self.lag.is_valid() {
            return refuse(
                "lag",
                format!("{:?}", self.lag),
                "in order: from, mode_from, mode_to, to; and stable_months at 0 or above",
            );
        }
        Ok(())
    }
}
