use std::collections::BTreeMap;

use pitwatch_grid::UtcTime;
use serde::{Deserialize, Serialize};

use crate::{DetectionLimit, Error, Result};

/// `manifest.json`: what a run was made of and what it made. The only file that holds the clock's time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Date of the newest look and a hash of inputs, pipeline file and version.
    pub run_id: String,
    /// Version of pitwatch.
    pub version: String,
    /// When the run started, by the clock.
    #[serde(with = "whole_seconds")]
    pub started: UtcTime,
    /// When the run ended, by the clock.
    #[serde(with = "whole_seconds")]
    pub ended: UtcTime,
    /// SHA-256 of the pipeline file's bytes, 64 hex digits.
    pub pipeline_sha256: String,
    /// What was read.
    pub inputs: Vec<InputEntry>,
    /// What was written, by path.
    pub files: Vec<OutputFile>,
    /// Counts by name: `n_alerts`, `n_looks_used`.
    pub summary: BTreeMap<String, u64>,
    /// How small a pit could have been seen, an entry an area. Manifests of before this was written have none.
    #[serde(default)]
    pub detection_limits: Vec<DetectionLimit>,
    /// How sure an alert had to be for false ones to stay within the budget, an entry an area that has one.
    #[serde(default)]
    pub false_alert_budgets: Vec<FalseAlertBudget>,
    /// The run that was published before into the same folder; null for the first. A consumer goes back along it.
    #[serde(default)]
    pub previous_run: Option<String>,
    /// What was left out, and why.
    pub skipped: Vec<Skipped>,
    /// The notice of the imagery's license.
    pub notice: String,
}

/// What a replay of an area's history said of its false alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FalseAlertBudget {
    /// The area.
    pub area_id: String,
    /// Most false alerts of excavation that stand in 100 km² after a year, as the pipeline file sets it.
    pub false_alerts_per_100_km2_year: f64,
    /// First day of the replay.
    pub replay_from: String,
    /// The day after its last.
    pub replay_until: String,
    /// Ground that the replay could observe, square kilometers.
    pub observable_km2: f64,
    /// Alerts of the replay without a least probability that stood at its end; null if it could observe nothing.
    pub n_all: Option<u64>,
    /// Alerts of the replay at the least probability that stood at its end; null if it could observe nothing.
    pub n_alerts: Option<u64>,
    /// Alerts of the replay at the least probability that were taken back before its end and that no budget bounds; null as above.
    pub n_taken_back: Option<u64>,
    /// The least probability of a pit at which an alert is reported.
    pub report_probability: f64,
    /// What the replay cannot see.
    pub caveat: String,
}

/// Something a run read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputEntry {
    /// What it is: `catalog`, `area`, `scene`.
    pub role: String,
    /// Where it was.
    pub href: String,
    /// SHA-256 of its bytes, 64 hex digits, if it was hashed.
    pub sha256: Option<String>,
}

/// A file that a run wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputFile {
    /// Path below the run's folder, with `/`.
    pub path: String,
    /// SHA-256 of its bytes, 64 hex digits.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// Features, lines or records, where the file has any; null for pictures and styles.
    pub rows: Option<u64>,
}

/// Something that was left out of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skipped {
    /// The scene, cell or area.
    pub what: String,
    /// Why, and what to do about it.
    pub reason: String,
}

/// `latest.json`: where the newest complete run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latest {
    /// The run.
    pub run_id: String,
    /// Its folder below the output folder, with `/`.
    pub path: String,
    /// SHA-256 of its manifest's bytes, 64 hex digits.
    pub manifest_sha256: String,
}

impl Manifest {
    /// The text of `manifest.json`: keys in the order of the fields, files by path, one line feed at the end.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut sorted = self.clone();
        sorted.files.sort_by(|a, b| a.path.cmp(&b.path));
        pretty(&sorted)
    }

    /// Reads a `manifest.json`.
    ///
    /// # Errors
    ///
    /// If the text is no manifest.
    pub fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|source| Error::Parse {
            what: "manifest.json",
            source,
        })
    }
}

impl Latest {
    /// The text of `latest.json`: keys in the order of the fields, one line feed at the end.
    #[must_use]
    pub fn to_json(&self) -> String {
        pretty(self)
    }

    /// Reads a `latest.json`.
    ///
    /// # Errors
    ///
    /// If the text is no pointer to a run.
    pub fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|source| Error::Parse {
            what: "latest.json",
            source,
        })
    }
}

pub(crate) fn pretty(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value)
        .expect("texts, numbers and lists of them always have a JSON form");
    text + "\n"
}

/// Times as `YYYY-MM-DDTHH:MM:SSZ`.
mod whole_seconds {
    use pitwatch_grid::{UtcTime, format_time, parse_time};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        time: &UtcTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_time(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<UtcTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_time(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use pitwatch_grid::parse_time;

    use super::*;

    fn manifest() -> Manifest {
        let file = |path: &str, rows| OutputFile {
            path: path.into(),
            sha256: "ab".repeat(32),
            bytes: 1234,
            rows,
        };
        Manifest {
            run_id: "20230509-0123456789ab".into(),
            version: "0.1.0".into(),
            started: parse_time("2023-05-10T00:00:00Z").unwrap(),
            ended: parse_time("2023-05-10T00:00:42Z").unwrap(),
            pipeline_sha256: "cd".repeat(32),
            inputs: vec![InputEntry {
                role: "catalog".into(),
                href: "mirror/collection.json".into(),
                sha256: None,
            }],
            files: vec![file("looks.csv", Some(140)), file("alerts.qml", None)],
            summary: BTreeMap::from([("n_sites".into(), 1), ("n_alerts".into(), 2)]),
            detection_limits: vec![DetectionLimit {
                area_id: "seguela".into(),
                is_measured: false,
                ground: "by construction, not measured".into(),
                min_detectable_ha: Some(0.02),
                min_detectable_ha_lo: None,
                min_detectable_ha_hi: None,
                p_detect: Vec::new(),
                p_detect_provisional: Vec::new(),
                omitted_share: Vec::new(),
            }],
            false_alert_budgets: Vec::new(),
            previous_run: None,
            skipped: vec![Skipped {
                what: "S2A_X".into(),
                reason: "cannot read B04.tif: truncated; fetch it again".into(),
            }],
            notice: "Contains modified Copernicus Sentinel data 2023".into(),
        }
    }

    #[test]
    fn a_manifest_has_a_stable_order_and_can_be_read_back() {
        let text = manifest().to_json();
        insta::assert_snapshot!(text);
        let back = Manifest::from_json(&text).unwrap();
        assert_eq!(back.to_json(), text);
        assert!(Manifest::from_json(&text.replace("version", "versoin")).is_err());
    }

    #[test]
    fn the_pointer_to_the_newest_run_can_be_read_back() {
        let latest = Latest {
            run_id: "20230509-0123456789ab".into(),
            path: "runs/20230509-0123456789ab".into(),
            manifest_sha256: "ab".repeat(32),
        };
        let text = latest.to_json();
        assert!(text.ends_with("}\n"));
        assert_eq!(Latest::from_json(&text).unwrap(), latest);
    }
}
