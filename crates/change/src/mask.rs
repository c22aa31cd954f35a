//! The mask rule: which looks show the ground.

use pitwatch_grid::{NOT_ACQUIRED, QUARANTINED, READ_FAILED};

/// What one look says about one pixel: the ground, or why not. "Not seen" is never "no change".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    /// The ground was seen.
    Clear,
    /// Cloud or cirrus (SCL 8, 9, 10).
    Cloud,
    /// Cloud shadow or dark area (SCL 2, 3).
    Shadow,
    /// Snow or ice (SCL 11).
    Snow,
    /// The scene covers the pixel but holds no data, or a saturated one (SCL 0, 1).
    NoData,
    /// No scene covers the pixel.
    NotAcquired,
    /// The scene could not be read here.
    ReadFailed,
    /// The scene's reflectance cannot be trusted.
    Quarantined,
}

/// The mask rule: what a class code of a [`Cube`](pitwatch_grid::Cube) means.
///
/// Clear are vegetation (4), bare (5), water (6) and unclassified (7), as in the Sentinel-2 Level-2A Algorithm
/// Theoretical Basis Document's table of the scene classification. Dark areas (2) are taken as shadow, because
/// topographic and cloud shadow share that class.
#[must_use]
pub fn observation(class: u8) -> Observation {
    match class {
        4..=7 => Observation::Clear,
        2 | 3 => Observation::Shadow,
        8..=10 => Observation::Cloud,
        11 => Observation::Snow,
        NOT_ACQUIRED => Observation::NotAcquired,
        READ_FAILED => Observation::ReadFailed,
        QUARANTINED => Observation::Quarantined,
        _ => Observation::NoData,
    }
}

/// True for the classes of cloud that bright bare ground is taken for: cloud of medium and high probability (SCL 8, 9).
///
/// Both rest on brightness; cirrus (SCL 10) is found in a band of its own. Source: Louis et al., Sentinel-2 Level-2A
/// Algorithm Theoretical Basis Document, scene classification.
#[must_use]
pub fn may_be_bright_ground(class: u8) -> bool {
    matches!(class, 8 | 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ground_is_clear() {
        let clear: Vec<u8> = (0..=255)
            .filter(|&class| observation(class) == Observation::Clear)
            .collect();
        assert_eq!(clear, [4, 5, 6, 7]);
    }

    #[test]
    fn the_reasons_stay_apart() {
        assert_eq!(observation(NOT_ACQUIRED), Observation::NotAcquired);
        assert_eq!(observation(READ_FAILED), Observation::ReadFailed);
        assert_eq!(observation(QUARANTINED), Observation::Quarantined);
        assert_eq!(observation(0), Observation::NoData);
    }
}
