use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::manifest::pretty;
use crate::{Error, Result};

/// `skill.json`: what was found of pits of known size and date that were drawn into copies of an area's own looks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkillFile {
    /// Version of pitwatch that measured it.
    pub version: String,
    /// One entry an area.
    pub areas: Vec<AreaSkill>,
}

/// What was found of the pits of one area.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AreaSkill {
    /// The area.
    pub area_id: String,
    /// What it was measured on.
    pub measured_on: MeasuredOn,
    /// Pits that were drawn.
    pub n_pits: usize,
    /// Of these, pits on ground that is not observable: neither for nor against.
    pub n_not_observable: usize,
    /// Of these, pits on ground that was alerted without them: neither for nor against.
    pub n_alerted_before: usize,
    /// Pits that count.
    pub n_assessed: usize,
    /// Pits that were alerted at all.
    pub provisional: TierSkill,
    /// Pits whose alert was confirmed.
    pub confirmed: TierSkill,
    /// Every pit, in the order in which they were drawn.
    pub pits: Vec<PitRow>,
    /// The notice of the imagery's license.
    pub notice: String,
}

/// What a skill was measured on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredOn {
    /// SHA-256 of the tables `[change]` and `[sites]`, 64 hex digits.
    pub detection_sha256: String,
    /// SHA-256 of the table `[skill]`, 64 hex digits.
    pub skill_sha256: String,
    /// SHA-256 of the area and its observations, as in `manifest.json`.
    pub inputs_sha256: String,
    /// Bands that the looks have.
    pub bands: Vec<String>,
    /// Looks, history and monitoring period together.
    pub n_looks: usize,
    /// Day of the first look.
    pub first_look: String,
    /// First day of the monitoring period.
    pub monitor_from: String,
    /// Day of the last look.
    pub last_look: String,
    /// First day on which a pit was opened.
    pub opened_from: String,
    /// Last day on which a pit may have been opened.
    pub opened_until: String,
    /// Seed of the pits.
    pub seed: u64,
    /// Different windows that pits were drawn into.
    pub n_windows: usize,
    /// Times that the same ground was used; above 1 the pits share their looks, and the intervals are too narrow.
    pub n_rounds: usize,
}

/// What was found at one tier. Intervals are of 90 %.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierSkill {
    /// By size, smallest first.
    pub by_size: Vec<DetectionRate>,
    /// By quarter of the year in which the pit was opened.
    pub by_season: Vec<DetectionRate>,
    /// By both.
    pub by_size_and_season: Vec<DetectionRate>,
    /// Days from the first spadeful to the look that decided, median over the pits found; null = none was.
    pub median_delay_days: Option<f64>,
    /// Mapped area over dug area of the pits found; null = none was.
    pub mapped_over_dug: Option<f64>,
    /// The smallest area that is found with a stated probability.
    pub min_detectable: MinDetectable,
    /// The share of dug area that is not found, for each stated distribution of sizes.
    pub omitted_share: Vec<OmittedShare>,
}

/// How many pits of one kind were found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectionRate {
    /// Least area in hectares.
    pub from_ha: f64,
    /// Greatest area in hectares.
    pub to_ha: f64,
    /// Quarter of the year, such as `Jan-Mar`; null = all.
    pub season: Option<String>,
    /// Pits that count.
    pub n: usize,
    /// Pits found.
    pub n_detected: usize,
    /// Their share; null = no pit counts.
    pub p: Option<f64>,
    /// Lower end of its interval.
    pub p_lo: Option<f64>,
    /// Upper end of its interval.
    pub p_hi: Option<f64>,
}

/// The smallest area that is found with a stated probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinDetectable {
    /// The probability.
    pub probability: f64,
    /// The area in hectares; null = not reached at any size that was drawn, or not measured.
    pub ha: Option<f64>,
    /// Lower end of its interval; null as above.
    pub ha_lo: Option<f64>,
    /// Upper end of its interval; null = above the sizes that were drawn.
    pub ha_hi: Option<f64>,
    /// `measured`, `at most` (the smallest size drawn is found as often), `not reached`, `not measured`.
    pub verdict: String,
}

/// The share of dug area that is not found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OmittedShare {
    /// a: the number of pits of area A goes with A⁻ᵃ between the least and greatest size drawn; 1 is log-uniform.
    pub size_exponent: f64,
    /// The share, 0 to 1; null = a size class has no pit that counts.
    pub share: Option<f64>,
    /// Lower end of its interval.
    pub share_lo: Option<f64>,
    /// Upper end of its interval.
    pub share_hi: Option<f64>,
}

/// One pit that was drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PitRow {
    /// Lattice row of its first core pixel.
    pub row: i64,
    /// Lattice column of its first core pixel.
    pub col: i64,
    /// Its area in hectares.
    pub area_ha: f64,
    /// The day on which digging began.
    pub opened: String,
    /// `not observable`, `alerted before`, `missed`, `provisional`, `confirmed`.
    pub outcome: String,
    /// Days from then to the alert.
    pub alert_days: Option<i32>,
    /// Days from then to the confirmation.
    pub confirmed_days: Option<i32>,
}

/// How small a pit could have been seen in an area: part of a manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectionLimit {
    /// The area.
    pub area_id: String,
    /// True if pits were drawn into the area's own looks and counted.
    pub is_measured: bool,
    /// What the numbers rest on, or why they are not measured.
    pub ground: String,
    /// Hectares: the smallest area confirmed with the stated probability, or the smallest object reported by construction;
    /// null = measured, and reached at no size that was drawn.
    pub min_detectable_ha: Option<f64>,
    /// Lower end of its interval.
    pub min_detectable_ha_lo: Option<f64>,
    /// Upper end of its interval.
    pub min_detectable_ha_hi: Option<f64>,
    /// By size, confirmed; empty if not measured.
    pub p_detect: Vec<DetectionRate>,
    /// By size, alerted at all; empty if not measured.
    pub p_detect_provisional: Vec<DetectionRate>,
    /// Share of dug area that is not confirmed, for each stated distribution of sizes; empty if not measured.
    pub omitted_share: Vec<OmittedShare>,
}

impl SkillFile {
    /// The text of `skill.json`: keys in the order of the fields, one line feed at the end.
    #[must_use]
    pub fn to_json(&self) -> String {
        pretty(self)
    }

    /// Reads a `skill.json`.
    ///
    /// # Errors
    ///
    /// If the text is none.
    pub fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|source| Error::Parse {
            what: "skill.json",
            source,
        })
    }
}

impl AreaSkill {
    /// Tables for a reader, both tiers, without a line feed at the end.
    #[must_use]
    pub fn to_text(&self) -> String {
        let on = &self.measured_on;
        let mut text = format!(
            "{}: {} pits drawn into {} windows of {} looks ({} to {}), seed {}\n  {} count; {} lie on ground that is not observable, {} on ground that was alerted without them\n  opened {} to {}; intervals are of 90 %",
            self.area_id,
            self.n_pits,
            on.n_windows,
            on.n_looks,
            on.first_look,
            on.last_look,
            on.seed,
            self.n_assessed,
            self.n_not_observable,
            self.n_alerted_before,
            on.opened_from,
            on.opened_until,
        );
        if on.n_rounds > 1 {
            let _ = write!(
                text,
                "\n  the same ground was used {} times: the intervals are too narrow",
                on.n_rounds
            );
        }
        for (name, tier) in [
            ("confirmed", &self.confirmed),
            ("provisional, or confirmed", &self.provisional),
        ] {
            let _ = write!(text, "\n\n  {name}\n{}", tier.to_text());
        }
        text
    }
}

impl TierSkill {
    fn to_text(&self) -> String {
        let mut text = format!(
            "  {:>13}  {:>4}  {:>5}  {:>5}  {:>12}",
            "size (ha)", "n", "found", "P", "interval"
        );
        for season in &self.by_season {
            let _ = write!(
                text,
                "  {:>7}",
                season.season.as_deref().unwrap_or_default()
            );
        }
        for size in &self.by_size {
            let seasons = self
                .by_size_and_season
                .iter()
                .filter(|rate| rate.from_ha.total_cmp(&size.from_ha).is_eq());
            let label = format!("{:.3}-{:.3}", size.from_ha, size.to_ha);
            text += &line(
                &label,
                size.n,
                size.n_detected,
                [size.p, size.p_lo, size.p_hi],
                seasons,
            );
        }
        let sum =
            |count: &dyn Fn(&DetectionRate) -> usize| self.by_size.iter().map(count).sum::<usize>();
        let (n, n_detected) = (sum(&|rate| rate.n), sum(&|rate| rate.n_detected));
        text += &line("all", n, n_detected, [None; 3], self.by_season.iter());
        let limit = &self.min_detectable;
        let area = |value: Option<f64>| {
            value.map_or_else(
                || "above the sizes drawn".into(),
                |ha| format!("{ha:.3} ha"),
            )
        };
        let of = format!("  minimum detectable area at P {:.2}: ", limit.probability);
        text += "\n";
        text += &match limit.verdict.as_str() {
            "not measured" => format!("{of}not measured"),
            verdict => format!(
                "{of}{} (90 %: {} to {})",
                match verdict {
                    "not reached" => "not reached at any size drawn".into(),
                    "at most" => format!("at most {}", area(limit.ha)),
                    _ => area(limit.ha),
                },
                area(limit.ha_lo),
                area(limit.ha_hi)
            ),
        };
        for omitted in &self.omitted_share {
            let sizes = if omitted.size_exponent.total_cmp(&1.0).is_eq() {
                "log-uniform sizes".to_owned()
            } else {
                format!(
                    "sizes by a power law of exponent -{}",
                    omitted.size_exponent
                )
            };
            let _ = write!(text, "\n  share of dug area omitted, {sizes}: ");
            text += &match (omitted.share, omitted.share_lo, omitted.share_hi) {
                (Some(share), Some(lo), Some(hi)) => {
                    format!("{share:.2} (90 %: {lo:.2} to {hi:.2})")
                }
                _ => "not measured: a size class has no pit that counts".into(),
            };
        }
        if let Some(days) = self.median_delay_days {
            let _ = write!(text, "\n  median delay: {days:.0} days");
        }
        if let Some(ratio) = self.mapped_over_dug {
            let _ = write!(
                text,
                "\n  mapped area over dug area of the pits found: {ratio:.2}"
            );
        }
        text
    }
}

fn line<'a>(
    label: &str,
    n: usize,
    n_detected: usize,
    [p, lo, hi]: [Option<f64>; 3],
    seasons: impl Iterator<Item = &'a DetectionRate>,
) -> String {
    let share = p.map_or_else(String::new, |p| format!("{p:.2}"));
    let interval = lo
        .zip(hi)
        .map_or_else(String::new, |(lo, hi)| format!("{lo:.2} to {hi:.2}"));
    let mut text = format!("\n  {label:>13}  {n:>4}  {n_detected:>5}  {share:>5}  {interval:>12}");
    for rate in seasons {
        let cell = format!("{}/{}", rate.n_detected, rate.n);
        let _ = write!(text, "  {cell:>7}");
    }
    text
}
