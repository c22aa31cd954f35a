//! `pitwatch looks`: what was looked at, as a calendar.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use pitwatch_report::LookStatus;
use serde::{Deserialize, Serialize};

use crate::exit::Problem;

/// A row of `looks.csv`, as far as the calendar needs it.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct Row {
    area_id: String,
    datetime: String,
    platform: String,
    relative_orbit: Option<u16>,
    tile: String,
    scene_id: String,
    source: String,
    cloud_cover_percent: Option<f64>,
    expected: String,
    status: String,
    reason: String,
    clear_share: Option<f64>,
}

/// A day of which half of the area was clear is drawn as clear.
const CLEAR_SHARE: f64 = 0.5;

const LEGEND: &str = "  #  used, at least half of the area clear      x  expected, not found in any source
  +  used, less than half clear                 !  found, but not readable
  o  read, nothing clear                        ?  not known whether the satellite was planned to acquire
  q  read, set aside: offset contradicted       .  no pass
  -  found, left out by rule (cloud, replaced)";

impl Row {
    fn status(&self) -> Option<LookStatus> {
        LookStatus::ALL
            .into_iter()
            .find(|status| status.to_string() == self.status)
    }

    fn letter(&self) -> char {
        match self.status() {
            Some(LookStatus::Used) if self.clear_share.unwrap_or(0.0) >= CLEAR_SHARE => '#',
            Some(LookStatus::Used) => '+',
            Some(LookStatus::NotClear) => 'o',
            Some(LookStatus::Quarantined) => 'q',
            Some(LookStatus::LeftOut) => '-',
            Some(LookStatus::Failed) => '!',
            Some(LookStatus::NotFound) => 'x',
            Some(LookStatus::PlanUnknown) | None => '?',
        }
    }
}

/// Reads the looks of a table, of a run, or of the newest run of an output folder.
///
/// # Errors
///
/// If there is no such table, or it is none.
pub(crate) fn read(path: &Path) -> Result<Vec<Row>> {
    let file = file_of(path)?;
    let mut reader = csv::Reader::from_path(&file)
        .with_context(|| format!("cannot read {}", file.display()))
        .context(Problem::Configuration)?;
    reader
        .deserialize()
        .enumerate()
        .map(|(index, row)| {
            row.with_context(|| {
                format!(
                    "{}, line {}: is no row of looks.csv; make it again with pitwatch run",
                    file.display(),
                    index + 2
                )
            })
            .context(Problem::Configuration)
        })
        .collect()
}

fn file_of(path: &Path) -> Result<PathBuf> {
    if path.join("latest.json").is_file() {
        let text = std::fs::read(path.join("latest.json"))?;
        let latest: serde_json::Value = serde_json::from_slice(&text)
            .with_context(|| format!("{} is not JSON", path.join("latest.json").display()))?;
        let run = latest["path"]
            .as_str()
            .ok_or_else(|| anyhow!("{} names no run", path.join("latest.json").display()))?;
        return Ok(path.join(run).join("looks.csv"));
    }
    if path.is_dir() {
        return Ok(path.join("looks.csv"));
    }
    Ok(path.to_owned())
}

/// The calendar of each area: a line a month, a letter a day, and what it adds up to. Of several scenes of a day the one
/// that says most is drawn.
pub(crate) fn text(rows: &[Row]) -> String {
    let mut areas: BTreeMap<&str, BTreeMap<&str, [Option<&Row>; 31]>> = BTreeMap::new();
    for row in rows {
        let (Some(month), Some(day)) = (
            row.datetime.get(..7),
            row.datetime
                .get(8..10)
                .and_then(|day| day.parse::<usize>().ok()),
        ) else {
            continue;
        };
        let months = areas.entry(&row.area_id).or_default();
        let days = months.entry(month).or_insert([None; 31]);
        let rank = |row: &Row| (row.status(), row.clear_share.unwrap_or(0.0));
        if let Some(known) = days.get_mut(day.wrapping_sub(1))
            && known.is_none_or(|known| rank(known) < rank(row))
        {
            *known = Some(row);
        }
    }
    let mut lines = Vec::new();
    for (area, months) in areas {
        lines.push(format!("area {area}"));
        lines.push("           1   5    10   15   20   25   30".into());
        for (month, days) in months {
            let letters: String = days
                .iter()
                .map(|day| day.map_or('.', Row::letter))
                .collect();
            lines.push(format!("  {month}  {letters}"));
        }
        let counts = LookStatus::ALL.into_iter().rev().filter_map(|status| {
            let of_area = rows.iter().filter(|row| row.area_id == area);
            let n = of_area.filter(|row| row.status() == Some(status)).count();
            (n > 0).then(|| format!("{n} {}", status.to_string().replace('_', " ")))
        });
        lines.push(format!(
            "  scenes: {}",
            counts.collect::<Vec<_>>().join(", ")
        ));
    }
    lines.push(LEGEND.into());
    lines.join("\n")
}
