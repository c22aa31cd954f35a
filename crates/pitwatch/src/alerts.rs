//! The commands on published alerts: `alerts` and `reviews`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand};
use pitwatch_grid::UtcTime;
use pitwatch_sites::Review;
use serde_json::json;

use crate::deliver::{self, Replay};
use crate::exit::{DONE, Problem, UNDELIVERED};
use crate::progress::Progress;
use crate::{reviews, say};

/// Who reviews, where no flag says it.
const REVIEWER_VARIABLE: &str = "PITWATCH_REVIEWER";

#[derive(Debug, Subcommand)]
pub(crate) enum AlertsCommand {
    /// List all alerts that were ever published, with their reviews and the running precision
    #[command(after_help = "\
Examples:
  pitwatch alerts list out/seguela
  pitwatch alerts list out/seguela --review unreviewed --json")]
    List(ListArgs),

    /// Print all that is known of an alert: feature, reviews, events
    #[command(after_help = "Example:\n  pitwatch alerts show out/seguela seguela-20240131-12-34")]
    Show(ShowArgs),

    /// Record that alerts are what they say
    #[command(after_help = "\
Example:
  pitwatch alerts confirm out/seguela ALERT_ID --reviewer ada --reason \"pit seen on the image of 3 March\"

The reviewer is taken from --reviewer or PITWATCH_REVIEWER. Another review of the same alert goes before it; none is removed.")]
    Confirm(ReviewArgs),

    /// Record that alerts are not what they say; nothing more is told of them
    #[command(after_help = "\
Example:
  pitwatch alerts dismiss out/seguela ALERT_ID --reviewer ada --reason \"burnt field\"

The next run tells the dismissal. The alert, its history and its files stay.")]
    Dismiss(ReviewArgs),

    /// Write all alerts as a layer whose columns review, reason and reviewer can be edited, with its QGIS style
    #[command(after_help = "\
Example:
  pitwatch alerts export out/seguela --file review.geojson --reviewer ada
  (edit review, reason, reviewer in QGIS, save)
  pitwatch reviews import out/seguela review.geojson

The file has exact places. Who took it is noted: pitwatch alerts log.")]
    Export(ExportArgs),

    /// Push the events that are due to the endpoints
    #[command(after_help = "\
Examples:
  pitwatch alerts deliver out/seguela --endpoints /etc/pitwatch/endpoints.toml
  pitwatch alerts deliver out/seguela --endpoints endpoints.toml --json

Start it after each run and every few minutes. Ends with 0 if everything is delivered, with 7 if something is pending or was
given up. docs/delivery.md describes the file of endpoints and what receivers get.")]
    Deliver(DeliverArgs),

    /// Let an endpoint get events again, with the same ids
    #[command(after_help = "\
Examples:
  pitwatch alerts replay out/seguela --endpoint group --dead
  pitwatch alerts replay out/seguela --endpoint group --from 1200

They are sent by the next `pitwatch alerts deliver`.")]
    Replay(ReplayArgs),

    /// Let an endpoint be asked again that answered 410 (gone)
    #[command(after_help = "Example:\n  pitwatch alerts enable out/seguela --endpoint group")]
    Enable(EnableArgs),

    /// Print who got what: attempts of delivery, exports, replays
    #[command(after_help = "Example:\n  pitwatch alerts log out/seguela --json")]
    Log(LogArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReviewsCommand {
    /// Read an edited export, or a table with alert_id, review, reason, reviewer, back into the ledger
    #[command(after_help = "\
Examples:
  pitwatch reviews import out/seguela review.geojson
  pitwatch reviews import out/seguela review.csv --json

review is confirmed, dismissed or empty. Each row that is unclear is refused with its column and what to write, the others are
imported; the command then ends with 3.")]
    Import(ImportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Output folder of runs
    #[arg(value_name = "OUT")]
    out: PathBuf,

    /// Only alerts with this review
    #[arg(long, value_name = "WORD", value_parser = ["unreviewed", "confirmed", "dismissed"])]
    review: Option<String>,

    /// Write the alerts as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Output folder of runs
    #[arg(value_name = "OUT")]
    out: PathBuf,

    /// The alert
    #[arg(value_name = "ALERT_ID")]
    alert_id: String,
}

#[derive(Debug, Args)]
pub(crate) struct ReviewArgs {
    /// Output folder of runs
    #[arg(value_name = "OUT")]
    out: PathBuf,

    /// The alerts
    #[arg(value_name = "ALERT_ID", required = true)]
    alert_ids: Vec<String>,

    /// Why; a dismissal needs one
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,

    /// Who reviewed it [default: PITWATCH_REVIEWER]
    #[arg(long, value_name = "NAME")]
    reviewer: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Output folder of runs
    #[arg(value_name = "OUT")]
    out: PathBuf,

    /// The GeoJSON file; a style of the same name with .qml is written beside it
    #[arg(long, value_name = "FILE")]
    file: PathBuf,

    /// Who takes it [default: PITWATCH_REVIEWER]
    #[arg(long, value_name = "NAME")]
    reviewer: Option<String>,

    /// Replace FILE if it exists
    #[arg(long)]
    overwrite: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DeliverArgs {
    /// Output folder of runs
    #[arg(value_name = "OUT")]
    out: PathBuf,

    /// File of `[[endpoint]]` entries
    #[arg(long, value_name = "FILE")]
    endpoints: PathBuf,

    /// Write what became of each endpoint as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Output folder of runs
    #[arg(value_name = "OUT")]
    out: PathBuf,

    /// Name of the endpoint
    #[arg(long, value_name = "NAME")]
    endpoint: String,

    /// The events that were given up
    #[arg(long, required_unless_present = "from", conflicts_with = "from")]
    dead: bool,

    /// All events from this number on: seq in the table events of the ledger, 1 for all
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(i64).range(1..))]
    from: Option<i64>,

    /// Who decides it [default: PITWATCH_REVIEWER]
    #[arg(long, value_name = "NAME")]
    reviewer: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct EnableArgs {
    /// Output folder of runs
    #[arg(value_name = "OUT")]
    out: PathBuf,

    /// Name of the endpoint
    #[arg(long, value_name = "NAME")]
    endpoint: String,

    /// Who decides it [default: PITWATCH_REVIEWER]
    #[arg(long, value_name = "NAME")]
    reviewer: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Output folder of runs
    #[arg(value_name = "OUT")]
    out: PathBuf,

    /// Write the log as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Output folder of runs
    #[arg(value_name = "OUT")]
    out: PathBuf,

    /// GeoJSON or CSV
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Write what was done as JSON
    #[arg(long)]
    json: bool,
}

/// The reviewer of the flag or the environment.
fn reviewer(flag: Option<&str>) -> Result<String> {
    named(flag).ok_or_else(|| {
        anyhow!("who does this? write --reviewer NAME, or set {REVIEWER_VARIABLE}")
            .context(Problem::Configuration)
    })
}

fn named(flag: Option<&str>) -> Option<String> {
    flag.map(str::to_owned)
        .or_else(|| std::env::var(REVIEWER_VARIABLE).ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
}

/// Runs a command on alerts, and returns the exit code.
pub(crate) fn run(command: &AlertsCommand, now: UtcTime, progress: Progress) -> Result<u8> {
    match command {
        AlertsCommand::List(args) => list(args),
        AlertsCommand::Show(args) => {
            let shown = reviews::show(&args.out, &args.alert_id)?;
            say(&serde_json::to_string_pretty(&shown)?)?;
            Ok(DONE)
        }
        AlertsCommand::Confirm(args) => review(args, Review::Confirmed, now),
        AlertsCommand::Dismiss(args) => review(args, Review::Dismissed, now),
        AlertsCommand::Export(args) => export(args),
        AlertsCommand::Deliver(args) => send(args, progress),
        AlertsCommand::Replay(args) => {
            let what = args.from.map_or(Replay::Dead, Replay::From);
            let person = reviewer(args.reviewer.as_deref())?;
            let n = deliver::replay(&args.out, &args.endpoint, what, &person)?;
            say(&format!(
                "{n} events are looked at again by the next delivery to {}",
                args.endpoint
            ))?;
            Ok(DONE)
        }
        AlertsCommand::Enable(args) => {
            let person = reviewer(args.reviewer.as_deref())?;
            deliver::enable(&args.out, &args.endpoint, &person)?;
            Ok(DONE)
        }
        AlertsCommand::Log(args) => {
            let lines = deliver::log(&args.out)?;
            if args.json {
                say(&serde_json::to_string_pretty(&lines)?)?;
            } else {
                lines.iter().try_for_each(|line| say(&line.to_text()))?;
            }
            Ok(DONE)
        }
    }
}

fn list(args: &ListArgs) -> Result<u8> {
    let (mut alerts, reviewed) = reviews::list(&args.out)?;
    alerts.retain(|alert| {
        args.review
            .as_ref()
            .is_none_or(|review| review == alert.review())
    });
    if args.json {
        let json = json!({ "precision": reviewed, "alerts": alerts });
        say(&serde_json::to_string_pretty(&json)?)?;
    } else {
        alerts.iter().try_for_each(|alert| say(&alert.to_text()))?;
        say(&format!("precision  {}", reviewed.to_text()))?;
    }
    Ok(DONE)
}

fn review(args: &ReviewArgs, review: Review, now: UtcTime) -> Result<u8> {
    let reviewer = reviewer(args.reviewer.as_deref())?;
    reviews::say(
        &args.out,
        &args.alert_ids,
        review,
        &args.reason,
        &reviewer,
        now,
    )?;
    Ok(DONE)
}

fn export(args: &ExportArgs) -> Result<u8> {
    let person = reviewer(args.reviewer.as_deref())?;
    let style = args.file.with_extension("qml");
    if args.file.exists() && !args.overwrite {
        return Err(anyhow!(
            "{} exists; give another --file, or --overwrite",
            args.file.display()
        ))
        .context(Problem::Configuration);
    }
    let (text, n_alerts) = reviews::export(&args.out, &person, &args.file.display().to_string())?;
    write(&args.file, &text)?;
    write(&style, &reviews::style())?;
    say(&format!("{n_alerts} alerts in {}", args.file.display()))?;
    Ok(DONE)
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn send(args: &DeliverArgs, progress: Progress) -> Result<u8> {
    let delivered = deliver::deliver(&args.out, &args.endpoints, progress)?;
    if args.json {
        say(&serde_json::to_string_pretty(&delivered)?)?;
    } else {
        delivered
            .iter()
            .try_for_each(|endpoint| say(&endpoint.to_text()))?;
    }
    Ok(if delivered.iter().all(deliver::Delivered::is_done) {
        DONE
    } else {
        UNDELIVERED
    })
}

/// Runs a command on reviews, and returns the exit code.
pub(crate) fn run_reviews(command: &ReviewsCommand, now: UtcTime) -> Result<u8> {
    let ReviewsCommand::Import(args) = command;
    let imported = reviews::import(&args.out, &args.file, now)?;
    if args.json {
        say(&serde_json::to_string_pretty(&imported)?)?;
    } else {
        for refused in &imported.refused {
            say(&format!(
                "REFUSED {}, {}, column {}: {}",
                refused.row, refused.alert_id, refused.column, refused.message
            ))?;
        }
        say(&format!(
            "{} imported, {} unchanged, {} refused",
            imported.n_imported,
            imported.n_unchanged,
            imported.refused.len()
        ))?;
    }
    Ok(if imported.refused.is_empty() {
        DONE
    } else {
        Problem::Configuration.code()
    })
}
