use std::fmt;

use pitwatch_grid::UtcTime;

use crate::{Baseline, Excluded, OffsetCheck, OffsetGround, Pass, Scene};

/// One acquisition over one area, seen or not: a row of `looks.csv`.
///
/// This crate fills what the catalog says; reading fills `read`, `used`, `offset_check` and `clear_share`.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// The area.
    pub area_id: String,
    /// When the ground was seen; `None` if the item has no time.
    pub time: Option<UtcTime>,
    /// The satellite, such as `sentinel-2a`; `None` if the item does not say.
    pub platform: Option<String>,
    /// Relative orbit, 1 to 143.
    pub relative_orbit: Option<u16>,
    /// MGRS tile.
    pub tile: Option<String>,
    /// The item's id; empty for a pass that no source has.
    pub scene_id: String,
    /// The source it was found in; empty for a catalog on disk that does not say.
    pub source: String,
    /// The item's file or address.
    pub href: String,
    /// Processing baseline.
    pub baseline: Option<Baseline>,
    /// Cloud cover of the whole scene by its catalog, 0 to 100.
    pub cloud_cover_percent: Option<f64>,
    /// Whether the pass was to be expected; `None` if its orbit is not known.
    pub expected: Option<Expected>,
    /// The catalog has it and its item could be read.
    pub found: bool,
    /// Something is broken or missing that could have been seen; false if it is left out by rule.
    pub failed: bool,
    /// Its pixels over the area were read.
    pub read: bool,
    /// Detection took them into account.
    pub used: bool,
    /// Why it was not found, read or used; empty if it was.
    pub reason: String,
    /// What is added to the red band's digital numbers.
    pub offset_digital_numbers: Option<i32>,
    /// What the offset rests on.
    pub offset_ground: Option<OffsetGround>,
    /// What the pixels say about the offset; `None` until they are read.
    pub offset_check: Option<OffsetCheck>,
    /// Clear pixels among the area's, 0 to 1; `None` until they are read.
    pub clear_share: Option<f64>,
}

/// Whether a satellite was to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The satellite delivered this orbit in the 60 days around.
    Yes,
    /// It did not, so that it may not have been planned to.
    PlanUnknown,
}

impl fmt::Display for Expected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Yes => "yes",
            Self::PlanUnknown => "plan unknown",
        })
    }
}

impl Look {
    /// The look of a pass that no source has.
    #[must_use]
    pub fn from_missing(area_id: &str, pass: &Pass) -> Self {
        Self {
            area_id: area_id.into(),
            time: Some(pass.time),
            platform: Some(pass.platform.clone()),
            relative_orbit: Some(pass.relative_orbit),
            tile: Some(pass.tile.clone()).filter(|tile| !tile.is_empty()),
            scene_id: String::new(),
            source: String::new(),
            href: String::new(),
            baseline: None,
            cloud_cover_percent: None,
            expected: Some(pass.expected),
            found: false,
            failed: false,
            read: false,
            used: false,
            reason: match pass.expected {
                Expected::Yes => "expected, not found".into(),
                Expected::PlanUnknown => {
                    "not found; the satellite delivered nothing of this orbit in the 60 days around"
                        .into()
                }
            },
            offset_digital_numbers: None,
            offset_ground: None,
            offset_check: None,
            clear_share: None,
        }
    }

    /// The look of a scene that has not been read yet.
    #[must_use]
    pub fn from_scene(area_id: &str, scene: &Scene) -> Self {
        let offset = scene.offset();
        Self {
            area_id: area_id.into(),
            time: Some(scene.time),
            platform: Some(scene.platform.clone()),
            relative_orbit: scene.relative_orbit,
            tile: Some(scene.identity.tile.clone()).filter(|tile| !tile.is_empty()),
            scene_id: scene.id.clone(),
            source: scene.source.clone(),
            href: scene.item_href.clone(),
            baseline: scene.baseline,
            cloud_cover_percent: scene.cloud_cover_percent,
            expected: None,
            found: true,
            failed: false,
            read: false,
            used: false,
            reason: String::new(),
            offset_digital_numbers: offset.map(|offset| offset.digital_numbers),
            offset_ground: offset.map(|offset| offset.ground),
            offset_check: None,
            clear_share: None,
        }
    }

    /// The look of an item that did not become a scene.
    #[must_use]
    pub fn from_excluded(area_id: &str, excluded: &Excluded) -> Self {
        Self {
            area_id: area_id.into(),
            time: excluded.time,
            platform: excluded.platform.clone(),
            relative_orbit: excluded.relative_orbit,
            tile: excluded.tile.clone(),
            scene_id: excluded.id.clone(),
            source: excluded.source.clone(),
            href: excluded.href.clone(),
            baseline: excluded.baseline,
            cloud_cover_percent: excluded.cloud_cover_percent,
            expected: None,
            found: !excluded.reason.is_failure(),
            failed: excluded.reason.is_failure(),
            read: false,
            used: false,
            reason: excluded.reason.to_string(),
            offset_digital_numbers: None,
            offset_ground: None,
            offset_check: None,
            clear_share: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ExclusionReason;

    #[test]
    fn an_excluded_item_is_a_look_with_its_reason() {
        let excluded = Excluded {
            id: "a".into(),
            href: "a.json".into(),
            time: None,
            platform: None,
            baseline: None,
            cloud_cover_percent: Some(12.0),
            relative_orbit: None,
            tile: None,
            source: String::new(),
            reason: ExclusionReason::OutsidePeriod,
        };
        let look = Look::from_excluded("kono", &excluded);
        assert!(look.found && !look.read && !look.used);
        assert_eq!(look.reason, "outside the period");
        let broken = Excluded {
            reason: ExclusionReason::NoTime,
            ..excluded
        };
        assert!(!Look::from_excluded("kono", &broken).found);
    }
}
