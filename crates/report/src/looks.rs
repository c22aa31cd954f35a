use std::fmt;
use std::io::Write;

use pitwatch_grid::{Band, UtcTime, format_time};

use crate::{Error, Result};

/// The columns of `looks.csv`, in their order.
pub const LOOK_COLUMNS: [&str; 20] = [
    "area_id",
    "datetime",
    "platform",
    "relative_orbit",
    "tile",
    "scene_id",
    "source",
    "processing_baseline",
    "cloud_cover_percent",
    "expected",
    "status",
    "found",
    "read",
    "used",
    "reason",
    "offset_digital_numbers",
    "offset_ground",
    "offset_check",
    "clear_share",
    "href",
];

/// What became of an expected acquisition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LookStatus {
    /// No source has it, and the satellite may not have been planned to acquire.
    PlanUnknown,
    /// It was expected, and no source has it.
    NotFound,
    /// A source has it, and it could not be read.
    Failed,
    /// A source has it, and it was left out by rule: too cloudy, replaced by another product.
    LeftOut,
    /// It was read, and set aside because its pixels contradict its offset.
    Quarantined,
    /// It was read, and nothing of the area was clear.
    NotClear,
    /// Detection took its clear pixels into account.
    Used,
}

impl LookStatus {
    /// All, from what says least to what says most.
    pub const ALL: [Self; 7] = [
        Self::PlanUnknown,
        Self::NotFound,
        Self::Failed,
        Self::LeftOut,
        Self::Quarantined,
        Self::NotClear,
        Self::Used,
    ];
}

impl fmt::Display for LookStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::PlanUnknown => "plan_unknown",
            Self::NotFound => "not_found",
            Self::Failed => "failed",
            Self::LeftOut => "left_out",
            Self::Quarantined => "quarantined",
            Self::NotClear => "not_clear",
            Self::Used => "used",
        })
    }
}

/// One expected acquisition over an area: found, read and used, or why not. What is not known is `None`, an empty field.
#[derive(Debug, Clone, PartialEq)]
pub struct LookRow {
    /// The area.
    pub area_id: String,
    /// When it was, or should have been, acquired.
    pub datetime: UtcTime,
    /// The satellite: `sentinel-2b`.
    pub platform: Option<String>,
    /// The satellite's relative orbit, 1 to 143.
    pub relative_orbit: Option<u16>,
    /// The MGRS tile, `29PQK`.
    pub tile: Option<String>,
    /// The scene's name in its catalog.
    pub scene_id: Option<String>,
    /// The source that it was found in, by the name that the pipeline file gives it.
    pub source: Option<String>,
    /// Version of the processing that made the scene: `05.09`.
    pub processing_baseline: Option<String>,
    /// Cloud cover of the whole scene as its catalog says, 0 to 100.
    pub cloud_cover_percent: Option<f64>,
    /// Whether the satellite was expected to pass, by what it delivered in the 60 days around: `yes`, `plan unknown`;
    /// `None` if its orbit is not known.
    pub expected: Option<String>,
    /// What became of it, in one word.
    pub status: LookStatus,
    /// True if a catalog had it.
    pub is_found: bool,
    /// True if its pixels were read.
    pub is_read: bool,
    /// True if detection used them.
    pub is_used: bool,
    /// Why not, in words; or what is unusual.
    pub reason: Option<String>,
    /// What is added to the digital numbers of each band, in digital numbers. Written as one number if all bands share
    /// it, else as `red=-1000;nir=0`.
    pub offset_digital_numbers: Vec<(Band, f64)>,
    /// What the offset was decided from.
    pub offset_ground: Option<String>,
    /// What the pixels said of it: agrees, contradicts, cannot tell.
    pub offset_check: Option<String>,
    /// Clear pixels of the area divided by all pixels of the area, 0 to 1.
    pub clear_share: Option<f64>,
    /// Where the scene came from.
    pub href: Option<String>,
}

/// Writes `looks.csv`: a header and one line a row, in the order given.
///
/// UTF-8 without a byte order mark, commas, quotes as in RFC 4180 §2, lines end in a line feed; `true` and `false`; times as
/// `YYYY-MM-DDTHH:MM:SSZ`; a value that is not known or not finite is an empty field.
///
/// # Errors
///
/// If `out` refuses.
pub fn write_looks_csv(out: &mut impl Write, rows: &[LookRow]) -> Result<()> {
    let refused = |source| Error::Write {
        what: "looks.csv",
        source,
    };
    writeln!(out, "{}", LOOK_COLUMNS.join(",")).map_err(refused)?;
    for row in rows {
        let fields = fields(row).map(|field| quoted(&field));
        writeln!(out, "{}", fields.join(",")).map_err(refused)?;
    }
    Ok(())
}

fn fields(row: &LookRow) -> [String; LOOK_COLUMNS.len()] {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    [
        row.area_id.clone(),
        format_time(row.datetime),
        text(&row.platform),
        row.relative_orbit
            .map_or_else(String::new, |orbit| orbit.to_string()),
        text(&row.tile),
        text(&row.scene_id),
        text(&row.source),
        text(&row.processing_baseline),
        decimal(row.cloud_cover_percent),
        text(&row.expected),
        row.status.to_string(),
        row.is_found.to_string(),
        row.is_read.to_string(),
        row.is_used.to_string(),
        text(&row.reason),
        offsets(&row.offset_digital_numbers),
        text(&row.offset_ground),
        text(&row.offset_check),
        decimal(row.clear_share),
        text(&row.href),
    ]
}

/// A number with up to four decimals.
pub(crate) fn decimal(value: Option<f64>) -> String {
    match value {
        Some(value) if value.is_finite() => ((value * 1e4).round() / 1e4 + 0.0).to_string(),
        _ => String::new(),
    }
}

fn offsets(offsets: &[(Band, f64)]) -> String {
    match offsets {
        [] => String::new(),
        [(_, first), rest @ ..] if rest.iter().all(|(_, other)| other == first) => {
            decimal(Some(*first))
        }
        _ => offsets
            .iter()
            .map(|(band, offset)| format!("{band}={}", decimal(Some(*offset))))
            .collect::<Vec<_>>()
            .join(";"),
    }
}

/// A field as RFC 4180 §2 writes it: in quotes where it must be, quotes doubled.
pub(crate) fn quoted(field: &str) -> String {
    if field.contains(['"', ',', '\r', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use pitwatch_grid::parse_time;

    use super::*;

    fn rows() -> Vec<LookRow> {
        let used = LookRow {
            area_id: "seguela".into(),
            datetime: parse_time("2023-05-04T10:48:29.123Z").unwrap(),
            platform: Some("sentinel-2b".into()),
            relative_orbit: Some(8),
            tile: Some("29PQK".into()),
            scene_id: Some("S2B_29PQK_20230504_0_L2A".into()),
            source: Some("earth-search".into()),
            processing_baseline: Some("05.09".into()),
            cloud_cover_percent: Some(12.345_678),
            expected: Some("yes".into()),
            status: LookStatus::Used,
            is_found: true,
            is_read: true,
            is_used: true,
            reason: None,
            offset_digital_numbers: vec![(Band::Red, -1000.0), (Band::Nir, -1000.0)],
            offset_ground: Some("the item's raster:bands".into()),
            offset_check: Some("agrees".into()),
            clear_share: Some(0.5),
            href: Some("scenes/a,b.json".into()),
        };
        let missing = LookRow {
            platform: None,
            relative_orbit: None,
            tile: None,
            scene_id: None,
            source: None,
            expected: None,
            status: LookStatus::NotFound,
            processing_baseline: None,
            cloud_cover_percent: Some(f64::NAN),
            is_found: false,
            is_read: false,
            is_used: false,
            reason: Some("no catalog has it, \"late\"\nor lost".into()),
            offset_digital_numbers: Vec::new(),
            offset_ground: None,
            offset_check: None,
            clear_share: None,
            href: None,
            ..used.clone()
        };
        let mixed = LookRow {
            offset_digital_numbers: vec![(Band::Red, -1000.0), (Band::Nir, 0.0)],
            ..used.clone()
        };
        vec![used, missing, mixed]
    }

    #[test]
    fn looks_are_written_as_a_table() {
        let mut out = Vec::new();
        write_looks_csv(&mut out, &rows()).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }

    #[test]
    fn without_looks_there_is_a_header() {
        let mut out = Vec::new();
        write_looks_csv(&mut out, &[]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 1);
    }
}
