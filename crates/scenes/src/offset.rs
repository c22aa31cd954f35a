use std::fmt;
use std::str::FromStr;

/// The processing baseline from which surface reflectance is stored shifted.
///
/// Source: Sentinel-2 Products Specification Document, `BOA_ADD_OFFSET`, processing baseline 04.00 of 2022-01-25.
const SHIFTED_SINCE: Baseline = Baseline { major: 4, minor: 0 };

/// What baseline 04.00 and later must be shifted by, in digital numbers. Source: as [`SHIFTED_SINCE`].
const BASELINE_OFFSET: i32 = -1000;

/// Reflectance of one digital number where a catalog states none: `1 / QUANTIFICATION_VALUE`.
///
/// Source: Sentinel-2 Products Specification Document, `BOA_QUANTIFICATION_VALUE`.
pub(crate) const DEFAULT_SCALE: f64 = 1e-4;

/// The largest number a 16-bit raster holds: an offset beyond it is a mistake.
const LARGEST_DIGITAL_NUMBER: f64 = 65_535.0;

/// What is added to a band's digital numbers before they are scaled to reflectance, and why.
///
/// A digital number of 0 is nodata, before any offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Offset {
    /// Added to each digital number; -1000 since processing baseline 04.00.
    pub digital_numbers: i32,
    /// What the number rests on.
    pub ground: OffsetGround,
}

/// What an [`Offset`] rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OffsetGround {
    /// The item's flag says that the pixels are already shifted.
    AlreadyApplied,
    /// The item's flag says that they are not, and the item states the offset.
    FlagFalse,
    /// No flag; the asset states the offset.
    AssetMetadata,
    /// No offset is stated; the processing baseline is 04.00 or later.
    Baseline,
    /// Nothing asks for an offset: an earlier baseline, or a raster of classes.
    None,
}

impl OffsetGround {
    /// The word that tables carry. It does not change between versions.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyApplied => "already_applied",
            Self::FlagFalse => "flag_false",
            Self::AssetMetadata => "asset_metadata",
            Self::Baseline => "baseline",
            Self::None => "none",
        }
    }
}

impl fmt::Display for OffsetGround {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What a scene's pixels say about the offset its metadata states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OffsetCheck {
    /// The pixels fit the stated offset.
    Agrees,
    /// They fit another one: the scene is quarantined.
    Contradicts,
    /// Too few clear pixels to say: the metadata is trusted.
    CannotTell,
}

impl OffsetCheck {
    /// The word that tables carry. It does not change between versions.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agrees => "agrees",
            Self::Contradicts => "contradicts",
            Self::CannotTell => "cannot_tell",
        }
    }
}

impl fmt::Display for OffsetCheck {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A processing baseline of Sentinel-2, ordered as a number: 05.10 is after 05.09.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Baseline {
    /// Before the point.
    pub major: u16,
    /// After the point, 0 to 99.
    pub minor: u16,
}

impl fmt::Display for Baseline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:02}.{:02}", self.major, self.minor)
    }
}

impl FromStr for Baseline {
    type Err = ();

    /// Reads `05.09`, and `N0509` as product names have it. `5.1` is 05.10: a number that lost its last zero.
    fn from_str(text: &str) -> Result<Self, ()> {
        let text = text.trim();
        let text = text.strip_prefix('N').unwrap_or(text);
        let (major, minor) = match text.split_once('.') {
            Some(halves) => halves,
            None if text.len() == 4 && text.is_ascii() => text.split_at(2),
            None => return Err(()),
        };
        let number = |digits: &str| -> Result<u16, ()> {
            if (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
                digits.parse().map_err(|_| ())
            } else {
                Err(())
            }
        };
        Ok(Self {
            major: number(major)?,
            minor: number(minor)? * if minor.len() == 1 { 10 } else { 1 },
        })
    }
}

/// What an item says that bears on the offset of one band.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stated {
    /// `earthsearch:boa_offset_applied`: the pixels are already shifted.
    pub(crate) is_applied: Option<bool>,
    /// The band's offset, in reflectance, or in digital numbers if it is 1 or more.
    pub(crate) offset: Option<f64>,
    /// Reflectance of one digital number.
    pub(crate) scale: Option<f64>,
    /// Processing baseline.
    pub(crate) baseline: Option<Baseline>,
}

/// Decides the offset of one band from its item's own metadata, never from the date.
///
/// A true flag comes first (Earth Search v1 states -0.1 even for pixels it has shifted), then the stated offset,
/// then the baseline. The message of a failure completes "the offset of band red: …".
pub(crate) fn decide(stated: Stated) -> Result<Offset, String> {
    if stated.is_applied == Some(true) {
        return Ok(Offset {
            digital_numbers: 0,
            ground: OffsetGround::AlreadyApplied,
        });
    }
    if let Some(offset) = stated.offset {
        return Ok(Offset {
            digital_numbers: digital_numbers(offset, stated.scale)?,
            ground: if stated.is_applied.is_some() {
                OffsetGround::FlagFalse
            } else {
                OffsetGround::AssetMetadata
            },
        });
    }
    Ok(match stated.baseline {
        Some(baseline) if baseline >= SHIFTED_SINCE => Offset {
            digital_numbers: BASELINE_OFFSET,
            ground: OffsetGround::Baseline,
        },
        _ => Offset {
            digital_numbers: 0,
            ground: OffsetGround::None,
        },
    })
}

/// An offset in digital numbers. Reflectance lies in 0 to 1, so an offset of 1 or more is in digital numbers already.
fn digital_numbers(offset: f64, scale: Option<f64>) -> Result<i32, String> {
    let scale = scale.unwrap_or(DEFAULT_SCALE);
    if scale <= 0.0 {
        return Err(format!("a scale of {scale} is no reflectance"));
    }
    let number = if offset.abs() >= 1.0 {
        offset
    } else {
        // A scale of 1 or more cannot go with an offset in reflectance.
        offset / if scale < 1.0 { scale } else { DEFAULT_SCALE }
    }
    .round();
    if number.abs() > LARGEST_DIGITAL_NUMBER {
        return Err(format!(
            "{offset} at a scale of {scale} is {number} digital numbers, more than 16 bits hold"
        ));
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a whole number of at most 16 bits after the check"
    )]
    Ok(number as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(stated: Stated) -> (i32, OffsetGround) {
        let offset = decide(stated).unwrap();
        (offset.digital_numbers, offset.ground)
    }

    fn baseline(text: &str) -> Option<Baseline> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_true_flag_is_never_shifted_twice() {
        let stated = Stated {
            is_applied: Some(true),
            offset: Some(-0.1),
            scale: Some(1e-4),
            baseline: baseline("05.09"),
        };
        assert_eq!(decided(stated), (0, OffsetGround::AlreadyApplied));
    }

    #[test]
    fn a_false_flag_takes_the_offset_of_the_item() {
        let stated = Stated {
            is_applied: Some(false),
            offset: Some(-0.1),
            scale: Some(1e-4),
            baseline: baseline("04.00"),
        };
        assert_eq!(decided(stated), (-1000, OffsetGround::FlagFalse));
        let zero = Stated {
            offset: Some(0.0),
            ..stated
        };
        assert_eq!(decided(zero), (0, OffsetGround::FlagFalse));
    }

    #[test]
    fn a_false_flag_without_an_offset_leaves_it_to_the_baseline() {
        let stated = Stated {
            is_applied: Some(false),
            baseline: baseline("04.00"),
            ..Stated::default()
        };
        assert_eq!(decided(stated), (-1000, OffsetGround::Baseline));
        let earlier = Stated {
            baseline: baseline("03.01"),
            ..stated
        };
        assert_eq!(decided(earlier), (0, OffsetGround::None));
    }

    #[test]
    fn an_offset_without_a_flag_is_applied_whatever_it_is() {
        for (offset, number) in [(-0.1, -1000), (-0.7, -7000), (0.0, 0), (-1000.0, -1000)] {
            let stated = Stated {
                offset: Some(offset),
                scale: Some(1e-4),
                baseline: baseline("05.10"),
                ..Stated::default()
            };
            assert_eq!(decided(stated), (number, OffsetGround::AssetMetadata));
        }
    }

    #[test]
    fn the_scale_of_the_band_turns_reflectance_into_digital_numbers() {
        for (scale, number) in [
            (Some(2e-4), -500),
            (None, -1000),
            (Some(1.0), -1000),
            (Some(1e-4), -1000),
        ] {
            let stated = Stated {
                offset: Some(-0.1),
                scale,
                ..Stated::default()
            };
            assert_eq!(decided(stated).0, number, "{scale:?}");
        }
    }

    #[test]
    fn the_baseline_alone_decides_at_04_00() {
        for (text, number, ground) in [
            ("03.01", 0, OffsetGround::None),
            ("04.00", -1000, OffsetGround::Baseline),
            ("05.12", -1000, OffsetGround::Baseline),
        ] {
            let stated = Stated {
                baseline: baseline(text),
                ..Stated::default()
            };
            assert_eq!(decided(stated), (number, ground));
        }
        assert_eq!(decided(Stated::default()), (0, OffsetGround::None));
    }

    #[test]
    fn an_offset_that_no_raster_can_hold_is_refused() {
        for (offset, scale) in [(-0.1, 0.0), (-0.1, -1e-4), (-0.1, 1e-9), (-1e9, 1e-4)] {
            let stated = Stated {
                offset: Some(offset),
                scale: Some(scale),
                ..Stated::default()
            };
            assert!(decide(stated).is_err(), "{offset} {scale}");
        }
    }

    #[test]
    fn baselines_are_ordered_as_numbers() {
        let parse = |text: &str| text.parse::<Baseline>().unwrap();
        assert!(parse("05.10") > parse("05.09") && parse("05.09") > parse("5.00"));
        assert_eq!(parse("N0509").to_string(), "05.09");
        assert_eq!(parse("5.1"), parse("05.10"));
        for text in ["", "v1", "1.2.3", "N05", "sen2cor", "05.", ".09", "+5.09"] {
            assert!(text.parse::<Baseline>().is_err(), "{text}");
        }
    }
}
