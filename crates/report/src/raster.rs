use pitwatch_change::PixelState;

use crate::style::{CLEARED_RGB, CONFIRMED_RGB, PROVISIONAL_RGB};

/// How coarser overviews of a raster are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overviews {
    /// The nearest pixel.
    Nearest,
    /// The mean of the pixels that hold data.
    Average,
    /// The most frequent value.
    Mode,
}

/// The color and the meaning of one value of a class raster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaletteEntry {
    /// The value.
    pub value: u8,
    /// Red, green, blue and opacity.
    pub rgba: [u8; 4],
    /// What the value means.
    pub label: &'static str,
}

/// All about a raster of results but its pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct RasterLayer {
    /// The name, part of the file's: `state`.
    pub name: &'static str,
    /// What the values mean, with their unit.
    pub description: String,
    /// The value of pixels without data; may be NaN.
    pub nodata: Option<f64>,
    /// Colors of the values; empty if the values are no classes.
    pub palette: Vec<PaletteEntry>,
    /// Names and values for the file's header.
    pub tags: Vec<(String, String)>,
    /// How overviews are made.
    pub overviews: Overviews,
}

/// The rasters of a run, in the order of [`raster_layers`].
pub const RASTER_NAMES: [&str; 8] = [
    "state",
    "alert_date",
    "confirmed_date",
    "confidence",
    "clear_looks",
    "last_clear_date",
    "before_rgb",
    "after_rgb",
];

/// The eight rasters of a run: `state`, `alert_date`, `confirmed_date`, `confidence`, `clear_looks`, `last_clear_date`,
/// `before_rgb` and `after_rgb`.
///
/// - `notice`: the notice of the imagery's license.
#[must_use]
pub fn raster_layers(run_id: &str, notice: &str) -> [RasterLayer; 8] {
    let classes = PixelState::ALL
        .map(|state| format!("{} {}", state as u8, state_label(state)))
        .join(", ");
    let date = |what: &str| {
        format!(
            "{what}, in days since 1970-01-01 UTC (int32); 0 = watched, none; -1 = outside or not observable"
        )
    };
    let picture = |period: &str| {
        format!(
            "red, green and blue surface reflectance, median of the last clear looks of the {period} period \
             (uint8); 1 to 255 = 0 to {BRIGHTEST_REFLECTANCE}, linear; 0 = none"
        )
    };
    let dates_are = |description| (description, Some(-1.0), Overviews::Nearest);
    RASTER_NAMES.map(|name| {
        let (description, nodata, overviews) = match name {
            "state" => (
                format!("what is known of the pixel (uint8): {classes}"),
                Some(f64::from(PixelState::Outside as u8)),
                Overviews::Mode,
            ),
            "alert_date" => dates_are(date(
                "day of the look at which the evidence of excavation was complete",
            )),
            "confirmed_date" => dates_are(date(
                "day of the look at which excavation was confirmed",
            )),
            "confidence" => (
                "probability of excavation, 0 to 1 (float32); NaN = outside or not observable".into(),
                Some(f64::NAN),
                Overviews::Average,
            ),
            "clear_looks" => (
                "number of clear looks in the monitoring period (uint16); 65535 = outside".into(),
                Some(f64::from(u16::MAX)),
                Overviews::Nearest,
            ),
            "last_clear_date" => dates_are(
                "day of the last clear look, in days since 1970-01-01 UTC (int32); 0 = never seen clear; -1 = outside"
                    .into(),
            ),
            "before_rgb" => (picture("history"), Some(0.0), Overviews::Average),
            _ => (picture("monitoring"), Some(0.0), Overviews::Average),
        };
        RasterLayer {
            name,
            tags: tags(&description, run_id, notice),
            description,
            nodata,
            palette: if name == "state" {
                state_palette()
            } else {
                Vec::new()
            },
            overviews,
        }
    })
}

fn tags(description: &str, run_id: &str, notice: &str) -> Vec<(String, String)> {
    [
        ("TIFFTAG_COPYRIGHT", notice),
        ("TIFFTAG_IMAGEDESCRIPTION", description),
        (
            "TIFFTAG_SOFTWARE",
            concat!("pitwatch ", env!("CARGO_PKG_VERSION")),
        ),
        ("PITWATCH_RUN_ID", run_id),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn state_palette() -> Vec<PaletteEntry> {
    PixelState::ALL
        .map(|state| PaletteEntry {
            value: state as u8,
            rgba: state_color(state),
            label: state_label(state),
        })
        .to_vec()
}

fn state_label(state: PixelState) -> &'static str {
    match state {
        PixelState::Outside => "outside the area",
        PixelState::Stable => "no change",
        PixelState::Cleared => "cleared ground",
        PixelState::Provisional => "excavation (provisional)",
        PixelState::Confirmed => "excavation (confirmed)",
        PixelState::BareHistory => "bare or water before",
        PixelState::ShortHistory => "not observable: history too short",
        PixelState::Clouded => "not observable: clouded",
        PixelState::NotAcquired => "not observable: no scene",
        PixelState::ReadFailed => "not observable: not readable",
    }
}

/// Changes have the colors of the alerts, grounds that were watched are light, grounds that were not are blue or gray.
fn state_color(state: PixelState) -> [u8; 4] {
    let opaque = |[red, green, blue]: [u8; 3]| [red, green, blue, 255];
    match state {
        PixelState::Outside => [0, 0, 0, 0],
        PixelState::Stable => opaque([226, 236, 218]),
        PixelState::Cleared => opaque(CLEARED_RGB),
        PixelState::Provisional => opaque(PROVISIONAL_RGB),
        PixelState::Confirmed => opaque(CONFIRMED_RGB),
        PixelState::BareHistory => opaque([214, 196, 170]),
        PixelState::ShortHistory => opaque([158, 154, 200]),
        PixelState::Clouded => opaque([189, 201, 225]),
        PixelState::NotAcquired => opaque([150, 150, 150]),
        PixelState::ReadFailed => opaque([82, 82, 82]),
    }
}

/// Surface reflectance shown as the brightest value: vegetation and most soils lie below.
const BRIGHTEST_REFLECTANCE: f64 = 0.3;
/// Reflectance is held as surface reflectance times this.
const REFLECTANCE_SCALE: f64 = 10_000.0;

/// The byte that shows a reflectance in `before_rgb` and `after_rgb`.
///
/// Linear from 1 at reflectance 0 to 255 at reflectance 0.3 and above; 0 is kept for pixels without data.
///
/// - `reflectance`: surface reflectance × 10,000; 0 = none, as in
///   [`PixelVerdict`](pitwatch_change::PixelVerdict).
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "1 to 255 by construction"
)]
pub fn byte_from_reflectance(reflectance: u16) -> u8 {
    if reflectance == 0 {
        return 0;
    }
    let share = f64::from(reflectance) / REFLECTANCE_SCALE / BRIGHTEST_REFLECTANCE;
    1 + (share.min(1.0) * 254.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reflectance_is_stretched_and_zero_stays_nodata() {
        assert_eq!(byte_from_reflectance(0), 0);
        assert_eq!(byte_from_reflectance(1), 1);
        assert_eq!(byte_from_reflectance(1500), 128);
        assert_eq!(byte_from_reflectance(3000), 255);
        assert_eq!(byte_from_reflectance(u16::MAX), 255);
    }

    #[test]
    fn each_state_has_a_color_and_a_label_of_its_own() {
        let palette = &raster_layers("run", "notice")[0].palette;
        assert_eq!(palette.len(), PixelState::ALL.len());
        for (index, entry) in palette.iter().enumerate() {
            assert_eq!(usize::from(entry.value), index);
            for other in &palette[..index] {
                assert_ne!(entry.rgba, other.rgba);
                assert_ne!(entry.label, other.label);
            }
        }
    }

    #[test]
    fn every_raster_carries_notice_and_meaning() {
        for (layer, name) in raster_layers("run", "the notice").iter().zip(RASTER_NAMES) {
            assert_eq!(layer.name, name);
            let tag = |name: &str| {
                &layer
                    .tags
                    .iter()
                    .find(|(other, _)| other == name)
                    .unwrap()
                    .1
            };
            assert_eq!(tag("TIFFTAG_COPYRIGHT"), "the notice");
            assert_eq!(tag("TIFFTAG_IMAGEDESCRIPTION"), &layer.description);
            assert_eq!(tag("PITWATCH_RUN_ID"), "run");
            assert!(layer.description.is_ascii(), "TIFF texts are ASCII");
        }
    }
}
