//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use pitwatch_grid::Day;

use crate::alerts::{AlertsCommand, ReviewsCommand};
use crate::stats::StatsCommand;

/// Satellite monitoring of mining areas: newly dug ground from Sentinel-2, drawn in QGIS.
#[derive(Debug, Parser)]
#[command(name = "pitwatch", version, propagate_version = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Say more on standard error
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,

    /// Say nothing on standard error but warnings and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// How messages on standard error are written; json is a line each with time, level and message
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Cli {
    /// −1 quiet, 0 normal, 1 and more verbose.
    pub(crate) fn verbosity(&self) -> i8 {
        if self.quiet {
            -1
        } else {
            i8::try_from(self.verbose).unwrap_or(i8::MAX)
        }
    }
}

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    something else went wrong, such as a full disk
  2    the command line is not understood
  3    a pipeline, area or statistics file cannot be used
  4    some scenes or cells failed; the rest is published
  5    no source of scenes can be reached, or none has a usable scene
  6    an output is not valid
  7    events are not delivered yet, or were given up (alerts deliver)
  10   there are new alerts, or findings of stats check (only with --exit-code)
  75   another run holds the output folder or the mirror
  130  interrupted

Results go to standard output, messages and progress to standard error. NO_COLOR is respected.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look for newly dug ground and publish what is found
    #[command(after_help = "\
Examples:
  pitwatch run pipelines/demo.toml --out out/demo
  pitwatch run pipelines/simbench.toml --catalog scene/obs/cogs/collection.json --monitor-from 2022-07-01 --out out/scene
  pitwatch run pipelines/demo.toml --out out/demo --memory-limit 600MiB --jobs 1
  pitwatch run pipelines/cote-divoire-north.toml --out out/north --since last --metrics-file /var/lib/node_exporter/pitwatch.prom

A run that was killed goes on with the cells that are missing. SIGTERM and SIGINT let it finish the cell in hand; a second one
ends it at once. The same mirror and pipeline file give the same bytes in
every file but the manifest, whatever --memory-limit, --jobs and --cell-size.")]
    Run(RunArgs),

    /// Run at set times in the foreground, for those who have no scheduler
    #[command(after_help = "\
Examples:
  pitwatch watch pipelines/cote-divoire-north.toml --out out/north --cron \"0 3 * * *\" --now
  pitwatch watch pipelines/marange.toml --out out/marange --cron \"30 4 * * MON,THU\" --deliver endpoints.toml

Times are UTC. Each run is as with `run --since last`; one that fails is told, and the next one comes at its time. A time that
passes while a run goes on is left out.")]
    Watch(WatchArgs),

    /// Fetch the imagery of a pipeline's areas into their mirror, without looking at it
    #[command(after_help = "\
Examples:
  pitwatch fetch pipelines/cote-divoire-north.toml --mirror mirror
  pitwatch fetch pipelines/marange.toml --mirror mirror --disk-limit 50GiB --connections 64

Only the cells of the area are kept. A fetch that was stopped goes on where it was, and the mirror then has the same bytes
as one made in one go. What is there and whole is not fetched again; what is damaged is.
Keys are taken from the environment or from a file that the pipeline names: see docs/data.md.
A mirror may lie in object storage: --mirror s3://BUCKET/PREFIX, with AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and,
for a store that is not Amazon's, AWS_ENDPOINT_URL in the environment.")]
    Fetch(FetchArgs),

    /// Check or tidy what was fetched
    #[command(subcommand)]
    Mirror(MirrorCommand),

    /// Print which passes of the satellites were expected, found, read and used, as a calendar
    #[command(after_help = "\
Examples:
  pitwatch looks out/seguela
  pitwatch looks out/seguela/runs/20240131a1b2c3d4e5f6/looks.csv
  pitwatch looks out/seguela --json")]
    Looks(LooksArgs),

    /// Show what a run would read and write, and what fetching would take; nothing is written
    #[command(after_help = "\
Examples:
  pitwatch plan pipelines/demo.toml
  pitwatch plan pipelines/cote-divoire-north.toml --json

For areas that are fetched the sources are searched, the headers of some scenes are read, and the pixels of one, to tell
requests, bytes, disk and time.")]
    Plan(PlanArgs),

    /// Measure how small a pit is found: draw pits into copies of an area's own looks, detect, and count
    #[command(after_help = "\
Examples:
  pitwatch skill pipelines/demo.toml
  pitwatch skill pipelines/marange.toml --mirror mirror --pits 600 --out pipelines/marange.skill.json
  pitwatch skill pipelines/demo.toml --seed 2 --json

Which pits are drawn stands in the pipeline's table [skill]. No source is asked: what is in the mirror is looked at.
A run uses the file of --out where the pipeline file names it, above its first table: skill_file = \"marange.skill.json\".
The same mirror, pipeline file, --pits and --seed give the same bytes, whatever --jobs.")]
    Skill(SkillArgs),

    /// Check files: pipelines and priors (.toml), reported figures (.csv), areas (.geojson), measured skill (skill.json), catalogs and items (.json or a folder), outputs of runs (a folder)
    #[command(after_help = "\
Examples:
  pitwatch validate pipelines/demo.toml aoi/demo-forest.geojson
  pitwatch validate pipelines/demo/forest out/demo")]
    Validate(ValidateArgs),

    /// List, review, export and deliver alerts
    #[command(subcommand)]
    Alerts(AlertsCommand),

    /// Read back what reviewers wrote
    #[command(subcommand)]
    Reviews(ReviewsCommand),

    /// Import, list and check reported production and trade
    #[command(subcommand)]
    Stats(StatsCommand),

    /// Check an output folder: ledger, runs, pointer, leftovers, free disk; nothing is changed
    #[command(after_help = "\
Examples:
  pitwatch doctor out/seguela
  pitwatch doctor out/seguela --json

Each finding says what to do about it. Ends with 6 if something is broken.")]
    Doctor(DoctorArgs),

    /// Copy the ledger of an output folder into a file, while runs may go on
    #[command(after_help = "Example:\n  pitwatch backup out/seguela seguela.ledger.sqlite")]
    Backup(BackupArgs),

    /// Put a copy of a ledger in its place
    #[command(
        after_help = "Example:\n  pitwatch restore seguela.ledger.sqlite out/seguela --overwrite"
    )]
    Restore(RestoreArgs),

    /// Write a completion script for a shell to standard output
    #[command(
        after_help = "Example:\n  pitwatch completions bash > /etc/bash_completion.d/pitwatch"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// What goes before the pipeline file's own values.
#[derive(Debug, Args)]
pub(crate) struct InputArgs {
    /// The pipeline file
    #[arg(value_name = "PIPELINE")]
    pub(crate) pipeline: PathBuf,

    /// STAC catalog, collection or folder to read instead of the pipeline file's; an address is searched and mirrored
    /// (one that ends in .json as a static catalog, any other as the root of a STAC API)
    #[arg(long, value_name = "PATH|URL")]
    pub(crate) catalog: Option<PathBuf>,

    /// Where what is fetched is kept, instead of the pipeline file's: a folder, or s3://, gs:// or az:// with BUCKET/PREFIX
    #[arg(long, value_name = "PATH|URL")]
    pub(crate) mirror: Option<PathBuf>,

    /// File of `[[source]]` entries that go before the pipeline file's own, such as a proxy's address
    #[arg(long, value_name = "FILE")]
    pub(crate) sources: Option<PathBuf>,

    /// First day of the monitoring period instead of the pipeline file's; the looks before it are the history
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_day)]
    pub(crate) monitor_from: Option<Day>,
}

/// How the work is done; none of it moves a result.
#[derive(Debug, Args)]
pub(crate) struct WorkArgs {
    /// Most memory to take, such as 600MiB or 2GiB
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = parse_size)]
    pub(crate) memory_limit: usize,

    /// Cells and threads at a time [default: the machine's cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,

    /// Pixels a side of a cell, the unit of work
    #[arg(long, value_name = "PIXELS", default_value = "512", value_parser = clap::value_parser!(u32).range(16..=8192))]
    pub(crate) cell_size: u32,
}

/// How imagery is fetched; none of it moves a result.
#[derive(Debug, Clone, Args)]
pub(crate) struct NetworkArgs {
    /// Requests at a time
    #[arg(long, value_name = "N", default_value = "32", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) connections: u16,

    /// Most space that the mirror of one area may take, such as 50GiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) disk_limit: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    /// Most memory to take, such as 600MiB or 2GiB
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_size)]
    pub(crate) memory_limit: usize,

    /// Write the summary as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MirrorCommand {
    /// Read every file of a mirror and compare it with its checksum
    #[command(after_help = "Example:\n  pitwatch mirror verify mirror")]
    Verify(MirrorArgs),

    /// Remove what no item names: files of stopped runs, products that newer ones replaced
    #[command(after_help = "Example:\n  pitwatch mirror prune mirror")]
    Prune(MirrorArgs),
}

#[derive(Debug, Args)]
pub(crate) struct MirrorArgs {
    /// The mirror, a folder or an address such as s3://BUCKET/PREFIX, or one area's part of it
    #[arg(value_name = "MIRROR")]
    pub(crate) mirror: PathBuf,

    /// Write the findings as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LooksArgs {
    /// Output folder of runs, one run's folder, or a looks.csv
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,

    /// Write the looks as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Output folder of runs
    #[arg(value_name = "OUT")]
    pub(crate) out: PathBuf,

    /// Write the findings as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Output folder of runs
    #[arg(value_name = "OUT")]
    pub(crate) out: PathBuf,

    /// The copy
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Replace FILE if it exists
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The copy
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Output folder of runs
    #[arg(value_name = "OUT")]
    pub(crate) out: PathBuf,

    /// Replace the ledger that is there
    #[arg(long)]
    pub(crate) overwrite: bool,
}

/// What a run reads and writes, and how.
#[derive(Debug, Args)]
pub(crate) struct LineArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,

    /// Folder for the results; runs/RUN_ID and latest.json are made in it
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,

    #[command(flatten)]
    pub(crate) work: WorkArgs,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    /// Ask no source: look at what the mirror has
    #[arg(long)]
    pub(crate) offline: bool,

    /// Figures for Prometheus, for its textfile collector; replaced at the end of each run, also of one that failed
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics_file: Option<PathBuf>,

    /// Write the summary as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) line: LineArgs,

    /// `last`: ask the sources for what they published since the newest published run, and do nothing if it already rests on
    /// the same inputs
    #[arg(long, value_name = "WHEN", value_parser = ["last"])]
    pub(crate) since: Option<String>,

    /// Show what would be done, as `plan`, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Exit with 10 if there are alerts that the run published before did not have
    #[arg(long)]
    pub(crate) exit_code: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(crate) line: LineArgs,

    /// When to run, UTC: minute, hour, day of the month, month, day of the week; a first field more is seconds
    #[arg(long, value_name = "CRON")]
    pub(crate) cron: String,

    /// Run once at the start, too
    #[arg(long)]
    pub(crate) now: bool,

    /// File of `[[endpoint]]` entries to which events are delivered after each run
    #[arg(long, value_name = "FILE")]
    pub(crate) deliver: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,

    #[command(flatten)]
    pub(crate) network: NetworkArgs,

    /// Ask no source: plan with what the mirror has
    #[arg(long)]
    pub(crate) offline: bool,

    /// Write the plan as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SkillArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,

    /// Pits to draw in each area
    #[arg(long, value_name = "N", default_value = "200", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) pits: u32,

    /// Which pits: another seed draws others
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seed: u64,

    /// File for what was measured, which a pipeline can name
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Most memory to take, such as 600MiB or 2GiB
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = parse_size)]
    pub(crate) memory_limit: usize,

    /// Threads [default: the machine's cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,

    /// Write what was measured as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Files and folders to check
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,

    /// Write the findings as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_day(text: &str) -> Result<Day, String> {
    text.parse::<Day>().map_err(|error| error.to_string())
}

/// Bytes of `600MiB`, `2GiB`, `500MB` or a plain number.
fn parse_size(text: &str) -> Result<usize, String> {
    let digits = text.len()
        - text
            .trim_start_matches(|letter: char| letter.is_ascii_digit())
            .len();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        _ => {
            return Err(format!(
                "{unit:?} is no unit of size; write it as 600MiB or 2GiB"
            ));
        }
    };
    let number: usize = number
        .parse()
        .map_err(|_| "write a whole number with its unit, such as 600MiB".to_owned())?;
    number
        .checked_mul(factor)
        .filter(|&size| size > 0)
        .ok_or_else(|| "must be more than 0 and fit this machine".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("600MiB"), Ok(600 << 20));
        assert_eq!(parse_size("2 GB"), Ok(2_000_000_000));
        assert_eq!(parse_size("1024"), Ok(1024));
        for wrong in ["", "0", "lots", "5 parsecs", "-1"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
