//! What was found when an area was searched: a file of the mirror, so that a run without a network says the same.

use anyhow::{Context, Result};
use pitwatch_grid::{Day, Period, UtcTime, format_time, parse_time};
use pitwatch_scenes::{Expected, KnownPass, Look, Storage, missing_passes};
use serde::{Deserialize, Serialize};

use crate::exit::Problem;

/// The record's name in an area's folder of the mirror.
pub(crate) const RECORD: &str = "searched.json";

/// Version of the record's form.
const VERSION: u32 = 1;

/// What the sources have of an area.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    pub(crate) area_id: String,
    /// The last day up to the search on which a satellite passed or was to pass; `None` if no pass is known. It is no
    /// later day, so that a search that finds nothing new leaves the same record.
    #[serde(default)]
    pub(crate) searched_until: Option<String>,
    pub(crate) sources: Vec<SourceRecord>,
    /// By time, then id.
    pub(crate) scenes: Vec<SceneRecord>,
}

/// What one source said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SourceRecord {
    pub(crate) name: String,
    /// Items that the source says it has; `None` if it does not say.
    pub(crate) n_matched: Option<u64>,
    pub(crate) n_received: u64,
    /// When the newest of its items was published.
    pub(crate) newest_published: Option<String>,
    /// False if not all of its items could be had.
    pub(crate) is_complete: bool,
    pub(crate) problems: Vec<String>,
}

/// One scene that a source has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SceneRecord {
    pub(crate) id: String,
    pub(crate) source: String,
    /// When the ground was seen; `None` if the item does not say.
    pub(crate) datetime: Option<String>,
    pub(crate) platform: Option<String>,
    pub(crate) relative_orbit: Option<u16>,
    pub(crate) tile: Option<String>,
    pub(crate) processing_baseline: Option<String>,
    pub(crate) cloud_cover_percent: Option<f64>,
    pub(crate) outcome: Outcome,
    /// Why it is not in the mirror; empty if it is.
    pub(crate) reason: String,
}

/// What became of a scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Its pixels are in the mirror.
    Mirrored,
    /// It was not wanted.
    LeftOut,
    /// It could not be read or fetched.
    Failed,
}

impl SceneRecord {
    fn pass(&self) -> Option<KnownPass> {
        Some(KnownPass {
            platform: self.platform.clone()?,
            relative_orbit: self.relative_orbit?,
            tile: self.tile.clone()?,
            time: parse_time(self.datetime.as_deref()?).ok()?,
        })
    }

    /// The look of a scene that is not in the mirror.
    pub(crate) fn look(&self, area_id: &str) -> Look {
        let reason = match self.outcome {
            Outcome::Mirrored => {
                "it was mirrored and is not there any more; run pitwatch fetch".into()
            }
            Outcome::LeftOut | Outcome::Failed => self.reason.clone(),
        };
        Look {
            area_id: area_id.to_owned(),
            time: self
                .datetime
                .as_deref()
                .and_then(|text| parse_time(text).ok()),
            platform: self.platform.clone(),
            relative_orbit: self.relative_orbit,
            tile: self.tile.clone(),
            scene_id: self.id.clone(),
            source: self.source.clone(),
            href: String::new(),
            baseline: self
                .processing_baseline
                .as_deref()
                .and_then(|text| text.parse().ok()),
            cloud_cover_percent: self.cloud_cover_percent,
            expected: None,
            found: true,
            failed: self.outcome != Outcome::LeftOut,
            read: false,
            used: false,
            reason,
            offset_digital_numbers: None,
            offset_ground: None,
            offset_check: None,
            clear_share: None,
        }
    }
}

impl Record {
    /// - `today`: the last day that was searched.
    pub(crate) fn new(
        area_id: &str,
        today: Day,
        sources: Vec<SourceRecord>,
        mut scenes: Vec<SceneRecord>,
    ) -> Self {
        scenes.sort_by(|a, b| {
            (&a.datetime, &a.id, &a.source, &a.reason).cmp(&(
                &b.datetime,
                &b.id,
                &b.source,
                &b.reason,
            ))
        });
        Self {
            version: VERSION,
            area_id: area_id.to_owned(),
            searched_until: last_pass(&scenes, today).map(|day| day.to_string()),
            sources,
            scenes,
        }
    }

    /// The record beside a catalog, if there is one.
    ///
    /// # Errors
    ///
    /// If there is one that cannot be read.
    pub(crate) fn beside(catalog: &Storage) -> Result<Option<Self>> {
        let address = catalog.address(RECORD);
        let text = match catalog.get(RECORD) {
            Ok(text) => text,
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot read {address}"))
                    .context(Problem::NoSource);
            }
        };
        let record: Self = serde_json::from_slice(&text)
            .with_context(|| {
                format!(
                    "{address} is no record of a search; remove it and run pitwatch fetch again"
                )
            })
            .context(Problem::NoSource)?;
        Ok(Some(record))
    }

    /// The record as a file's bytes.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }
}

/// The last day, up to `today`, on which a satellite passed or was to be expected.
fn last_pass(scenes: &[SceneRecord], today: Day) -> Option<Day> {
    let known: Vec<KnownPass> = scenes.iter().filter_map(SceneRecord::pass).collect();
    let last = known.iter().map(|pass| Day::of(pass.time)).max()?;
    let after = Period::new(last, today).ok()?;
    let missing = missing_passes(&known, after);
    let expected = missing
        .iter()
        .filter(|pass| pass.expected == Expected::Yes)
        .map(|pass| Day::of(pass.time));
    expected.max().or(Some(last))
}

/// A time as the record writes it.
pub(crate) fn time_text(time: UtcTime) -> String {
    format_time(time)
}
