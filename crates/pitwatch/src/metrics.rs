//! Figures of a run for Prometheus' textfile collector.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use pitwatch_grid::UtcTime;

use crate::exit::{DONE, NEW_ALERTS};
use crate::ledger::Ledger;
use crate::publish;
use crate::upkeep::LOOKED;

const SUCCESS: &str = "pitwatch_last_success_timestamp_seconds";
const SECONDS_PER_HOUR: f64 = 3600.0;

/// One figure with its explanation; values by their labels.
struct Figure {
    name: &'static str,
    help: &'static str,
    values: Vec<(String, f64)>,
}

/// Replaces the file of metrics after a run into a folder, whatever became of the run.
///
/// Source of the form: Prometheus, "Exposition formats", text format 0.0.4; node_exporter, "Textfile collector": the file is
/// renamed into place, and its lines have no time of their own.
///
/// # Errors
///
/// If it cannot be written.
pub(crate) fn write(path: &Path, out: &Path, code: u8, started: UtcTime) -> Result<()> {
    let ended = publish::now();
    let before = fs::read_to_string(path).unwrap_or_default();
    let mut figures = of_run(code, started, ended, &before);
    let ledger = Ledger::path(out);
    // Without a ledger nothing was published, which is not the same as nothing found.
    if ledger.exists() {
        figures.extend(of_ledger(&Ledger::open_existing(&ledger)?, ended)?);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // The collector reads names that end in .prom alone.
    let temporary = path.with_file_name(format!(".{name}.tmp"));
    fs::write(&temporary, text(&figures))
        .and_then(|()| fs::rename(&temporary, path))
        .with_context(|| format!("cannot write the metrics {}", path.display()))
}

fn seconds(time: UtcTime) -> f64 {
    time.timestamp_millis() as f64 / 1000.0
}

fn of_run(code: u8, started: UtcTime, ended: UtcTime, before: &str) -> Vec<Figure> {
    let one = |value: f64| vec![(String::new(), value)];
    let is_success = [DONE, NEW_ALERTS].contains(&code);
    let last_success = if is_success {
        Some(seconds(ended))
    } else {
        before
            .lines()
            .find_map(|line| line.strip_prefix(SUCCESS)?.trim().parse().ok())
    };
    vec![
        Figure {
            name: "pitwatch_last_run_timestamp_seconds",
            help: "When the newest run ended, whatever became of it.",
            values: one(seconds(ended)),
        },
        Figure {
            name: "pitwatch_last_run_exit_code",
            help: "Exit code of the newest run.",
            values: one(f64::from(code)),
        },
        Figure {
            name: "pitwatch_last_run_duration_seconds",
            help: "How long the newest run took.",
            values: one(seconds(ended) - seconds(started)),
        },
        Figure {
            name: SUCCESS,
            help: "When the newest run ended that lacked nothing.",
            values: last_success.map_or_else(Vec::new, one),
        },
    ]
}

fn of_ledger(ledger: &Ledger, now: UtcTime) -> Result<Vec<Figure>> {
    let looks = ledger.newest_looks()?;
    let by_area = |value: &dyn Fn(UtcTime) -> f64, status: &[&str]| -> Vec<(String, f64)> {
        let mut newest: BTreeMap<&str, UtcTime> = BTreeMap::new();
        for look in looks
            .iter()
            .filter(|look| status.contains(&look.status.as_str()))
        {
            let time = newest.entry(&look.area_id).or_insert(look.newest);
            *time = look.newest.max(*time);
        }
        let label = |(area, &time): (&&str, &UtcTime)| (labels(&[("area", area)]), value(time));
        newest.iter().map(label).collect()
    };
    let counts = |label: &str, counts: Vec<(String, u64)>| {
        counts
            .into_iter()
            .map(|(name, n)| (labels(&[(label, &name)]), n as f64))
            .collect()
    };
    Ok(vec![
        Figure {
            name: "pitwatch_area_last_look_timestamp_seconds",
            help: "Newest acquisition of an area whose pixels were read, clear or not.",
            values: by_area(&seconds, &LOOKED),
        },
        Figure {
            name: "pitwatch_area_last_clear_look_timestamp_seconds",
            help: "Newest acquisition of an area with a clear pixel.",
            values: by_area(&seconds, &LOOKED[..1]),
        },
        Figure {
            name: "pitwatch_area_hours_since_last_look",
            help: "Hours from the newest acquisition that was read to the end of the newest run.",
            values: by_area(
                &|time| (seconds(now) - seconds(time)) / SECONDS_PER_HOUR,
                &LOOKED,
            ),
        },
        Figure {
            name: "pitwatch_looks",
            help: "Acquisitions in the ledger by area and status.",
            values: looks
                .iter()
                .map(|look| {
                    let labels = labels(&[("area", &look.area_id), ("status", &look.status)]);
                    (labels, look.n as f64)
                })
                .collect(),
        },
        Figure {
            name: "pitwatch_alerts",
            help: "Alerts in the ledger by standing.",
            values: counts("standing", ledger.n_alerts()?),
        },
        Figure {
            name: "pitwatch_deliveries",
            help: "Events for endpoints by state.",
            values: counts("state", ledger.n_deliveries()?),
        },
    ])
}

fn labels(labels: &[(&str, &str)]) -> String {
    let quoted: Vec<String> = labels
        .iter()
        .map(|(name, value)| {
            let value = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            format!("{name}=\"{value}\"")
        })
        .collect();
    format!("{{{}}}", quoted.join(","))
}

fn text(figures: &[Figure]) -> String {
    let mut text = String::new();
    for Figure { name, help, values } in figures {
        if values.is_empty() {
            continue;
        }
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in values {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    }
    text
}
