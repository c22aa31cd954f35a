use pitwatch_grid::UtcTime;

use crate::{Baseline, Excluded, OffsetCheck, OffsetGround, Scene};

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
    /// The item's id.
    pub scene_id: String,
    /// The item's file or address.
    pub href: String,
    /// Processing baseline.
    pub baseline: Option<Baseline>,
    /// Cloud cover of the whole scene by its catalog, 0 to 100.
    pub cloud_cover_percent: Option<f64>,
    /// The catalog has it and its item could be read.
    pub found: bool,
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

impl Look {
    /// The look of a scene that has not been read yet.
    #[must_use]
    pub fn from_scene(area_id: &str, scene: &Scene) -> Self {
        let offset = scene.offset();
        Self {
            area_id: area_id.into(),
            time: Some(scene.time),
            platform: Some(scene.platform.clone()),
            scene_id: scene.id.clone(),
            href: scene.item_href.clone(),
            baseline: scene.baseline,
            cloud_cover_percent: scene.cloud_cover_percent,
            found: true,
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
            scene_id: excluded.id.clone(),
            href: excluded.href.clone(),
            baseline: excluded.baseline,
            cloud_cover_percent: excluded.cloud_cover_percent,
            found: !excluded.reason.is_failure(),
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
