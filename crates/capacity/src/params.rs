use serde::Deserialize;

use crate::{Error, Lag, Overrides, Result};

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
    /// The user's values in place of the priors file's.
    #[serde(default)]
    pub priors: Overrides,
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
