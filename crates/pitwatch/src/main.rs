//! The program: reads the command line and the pipeline file, runs the line, owns the clock and the files on disk.

mod alerts;
mod area;
mod assess;
mod calendar;
mod cell;
mod changes;
mod cli;
mod config;
mod deliver;
mod detectable;
mod exit;
mod false_area;
mod figures;
mod inject;
mod ledger;
mod live;
mod memo;
mod metrics;
mod places;
mod plan;
mod points;
mod progress;
mod public;
mod publish;
mod record;
mod reviews;
mod run;
mod schedule;
mod skill;
mod stats;
mod stop;
mod told;
mod upkeep;
mod validate;
mod watch;
mod webhook;
mod wide;

use std::io::Write;
use std::process::ExitCode;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use serde_json::json;

use crate::cli::{
    Cli, Command, DoctorArgs, FetchArgs, InputArgs, LineArgs, LooksArgs, MirrorCommand,
    NetworkArgs, RunArgs, SkillArgs, ValidateArgs,
};
use crate::config::{Overrides, Pipeline};
use crate::exit::{DONE, NEW_ALERTS, PARTIAL, Problem};
use crate::live::NetworkOptions;
use crate::progress::Progress;
use crate::run::{Options, Outcome};
use pitwatch_scenes::storage::Hashes;

/// Most memory for bytes in flight when a plan is made.
const PLAN_MEMORY_BYTES: usize = 256 << 20;

fn main() -> ExitCode {
    let started = publish::now();
    let cli = Cli::parse();
    let progress = Progress::new(cli.verbosity(), cli.log_format);
    let result = match &cli.command {
        Command::Run(args) if args.dry_run => {
            let line = &args.line;
            let network = (!line.offline).then_some(&line.network);
            show_plan(&line.input, network, started, line.json, progress)
        }
        Command::Run(args) => run_pipeline(args, started, progress),
        Command::Watch(args) => schedule::watch(args, progress),
        Command::Plan(args) => {
            let network = (!args.offline).then_some(&args.network);
            show_plan(&args.input, network, started, args.json, progress)
        }
        Command::Skill(args) => measure_skill(args, progress),
        Command::Validate(args) => validate_paths(args),
        Command::Fetch(args) => fetch_areas(args, started, progress),
        Command::Mirror(command) => tend_mirror(command),
        Command::Looks(args) => show_looks(args),
        Command::Alerts(command) => alerts::run(command, started, progress),
        Command::Reviews(command) => alerts::run_reviews(command, started),
        Command::Stats(command) => stats::run(command, progress),
        Command::Doctor(args) => examine(args),
        Command::Backup(args) => {
            upkeep::backup(&args.out, &args.file, args.overwrite).map(|()| DONE)
        }
        Command::Restore(args) => {
            upkeep::restore(&args.file, &args.out, args.overwrite).map(|()| DONE)
        }
        Command::Completions { shell } => {
            clap_complete::generate(
                *shell,
                &mut Cli::command(),
                "pitwatch",
                &mut std::io::stdout(),
            );
            Ok(DONE)
        }
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            progress.fail(&format!("{error:#}"));
            ExitCode::from(exit::code_of(&error))
        }
    }
}

fn pipeline_of(input: &InputArgs) -> Result<Pipeline> {
    let overrides = Overrides {
        catalog: input.catalog.clone(),
        monitor_from: input.monitor_from,
        mirror: input.mirror.clone(),
        sources: input.sources.clone(),
    };
    config::read(&input.pipeline, &overrides)
}

fn run_pipeline(args: &RunArgs, started: pitwatch_grid::UtcTime, progress: Progress) -> Result<u8> {
    stop::listen()?;
    let jobs = start_threads(args.line.work.jobs)?;
    run_once(
        &args.line,
        jobs,
        args.since.is_some(),
        args.exit_code,
        started,
        progress,
    )
}

/// Runs a pipeline, says what came of it, and writes the metrics.
///
/// - `tells_new`: whether new alerts show in the exit code.
fn run_once(
    line: &LineArgs,
    jobs: usize,
    only_if_new: bool,
    tells_new: bool,
    started: pitwatch_grid::UtcTime,
    progress: Progress,
) -> Result<u8> {
    let run = || -> Result<u8> {
        let pipeline = pipeline_of(&line.input)?;
        let options = Options {
            out: line.out.clone(),
            cell_pixels: line.work.cell_size as usize,
            memory_bytes: line.work.memory_limit,
            jobs,
            only_if_new,
            started,
            network: (!line.offline)
                .then(|| network_options(&line.network, line.work.memory_limit, started)),
        };
        let outcome = run::run(&pipeline, &options, &progress)?;
        if line.json {
            say(&serde_json::to_string_pretty(&summary_json(&outcome))?)?;
        } else {
            say(&summary_text(&outcome))?;
        }
        Ok(if !outcome.failed.is_empty() {
            PARTIAL
        } else if tells_new && outcome.n_new_alerts > 0 {
            NEW_ALERTS
        } else {
            DONE
        })
    };
    let result = run();
    if let Some(path) = &line.metrics_file {
        let code = match &result {
            Ok(code) => *code,
            Err(error) => exit::code_of(error),
        };
        // That a run cannot be counted is no reason to count it as failed.
        if let Err(error) = metrics::write(path, &line.out, code, started) {
            progress.warn(&format!("{error:#}"));
        }
    }
    result
}

/// Starts the threads that pixels are worked on with, and returns how many there are.
fn start_threads(jobs: Option<u16>) -> Result<usize> {
    let jobs = jobs.map_or_else(
        || available_parallelism().map_or(1, usize::from),
        usize::from,
    );
    rayon::ThreadPoolBuilder::new()
        .num_threads(jobs)
        .build_global()
        .context("cannot start the threads")?;
    Ok(jobs)
}

fn measure_skill(args: &SkillArgs, progress: Progress) -> Result<u8> {
    let pipeline = pipeline_of(&args.input)?;
    let _ = start_threads(args.jobs)?;
    let options = skill::Options {
        n_pits: args.pits as usize,
        seed: args.seed,
        memory_bytes: args.memory_limit,
    };
    let measured = skill::measure(&pipeline, &options, &progress)?;
    if let Some(path) = &args.out {
        skill::write(path, &measured.file)?;
        progress.detail(&format!("wrote {}", path.display()));
    }
    if args.json {
        say(measured.file.to_json().trim_end())?;
    } else {
        for area in &measured.file.areas {
            say(&format!("{}\n", area.to_text()))?;
        }
    }
    Ok(if measured.is_partial { PARTIAL } else { DONE })
}

fn network_options(
    args: &NetworkArgs,
    memory_bytes: usize,
    started: pitwatch_grid::UtcTime,
) -> NetworkOptions {
    NetworkOptions {
        connections: usize::from(args.connections),
        memory_bytes,
        disk_limit: args.disk_limit.map(|limit| limit as u64),
        today: pitwatch_grid::Day::of(started),
    }
}

fn fetch_areas(
    args: &FetchArgs,
    started: pitwatch_grid::UtcTime,
    progress: Progress,
) -> Result<u8> {
    let pipeline = pipeline_of(&args.input)?;
    let options = network_options(&args.network, args.memory_limit, started);
    let live: Vec<_> = pipeline
        .areas
        .iter()
        .filter(|area| area.mirror.is_some())
        .collect();
    if live.is_empty() {
        return Err(anyhow::anyhow!(
            "{}: no area is fetched; write sources = [\"earth-search\"] under [scenes] and name no catalog",
            pipeline.path.display()
        ))
        .context(Problem::Configuration);
    }
    stop::listen()?;
    let mut results = Vec::new();
    let mut is_partial = false;
    for source in &live {
        stop::check()?;
        match live::refresh(
            source,
            &pipeline,
            &options,
            None,
            &Hashes::default(),
            &progress,
        ) {
            Ok(refreshed) => {
                for warning in &refreshed.warnings {
                    progress.warn(warning);
                }
                for skipped in refreshed
                    .failed_sources
                    .iter()
                    .chain(&refreshed.failed_scenes)
                {
                    progress.warn(&format!("{}: {}", skipped.what, skipped.reason));
                }
                is_partial |=
                    !refreshed.failed_sources.is_empty() || !refreshed.failed_scenes.is_empty();
                if !args.json {
                    say(&refreshed.to_text())?;
                }
                results.push(json!({
                    "area_id": refreshed.area_id,
                    "n_scenes": refreshed.n_scenes,
                    "n_fetched": refreshed.n_fetched,
                    "n_kept": refreshed.n_kept,
                    "n_damaged": refreshed.n_damaged,
                    "n_failed": refreshed.failed_scenes.len(),
                    "n_requests": refreshed.traffic.requests,
                    "n_bytes": refreshed.traffic.bytes,
                    "n_bytes_lacking": refreshed.n_bytes_lacking,
                    "failed": refreshed.failed_sources.iter().chain(&refreshed.failed_scenes)
                        .map(|skipped| json!({"what": skipped.what, "reason": skipped.reason})).collect::<Vec<_>>(),
                }));
            }
            Err(error) if live.len() == 1 || stop::is_asked() => return Err(error),
            Err(error) => {
                progress.warn(&format!("{error:#}"));
                is_partial = true;
            }
        }
    }
    if results.is_empty() {
        return Err(anyhow::anyhow!("no area could be fetched")).context(Problem::NoSource);
    }
    if args.json {
        say(&serde_json::to_string_pretty(&results)?)?;
    }
    Ok(if is_partial { PARTIAL } else { DONE })
}

fn tend_mirror(command: &MirrorCommand) -> Result<u8> {
    let (args, is_check) = match command {
        MirrorCommand::Verify(args) => (args, true),
        MirrorCommand::Prune(args) => (args, false),
    };
    let mut results = Vec::new();
    let mut is_damaged = false;
    for (name, area) in live::areas_of(&args.mirror)? {
        if is_check {
            let checked = pitwatch_imagery::check_mirror(&area, &Hashes::default())?;
            is_damaged |= !checked.damaged.is_empty();
            let damaged: Vec<_> = checked
                .damaged
                .iter()
                .map(|damage| json!({"file": damage.file, "reason": damage.reason}))
                .collect();
            if !args.json {
                for damage in &checked.damaged {
                    say(&format!("DAMAGED {}: {}", damage.file, damage.reason))?;
                }
                say(&format!(
                    "{name}: {} scenes, {} files, {:.1} MB, {} damaged",
                    checked.n_scenes,
                    checked.n_files,
                    checked.n_bytes as f64 / 1e6,
                    checked.damaged.len()
                ))?;
            }
            results.push(json!({
                "area_id": name, "n_scenes": checked.n_scenes, "n_files": checked.n_files,
                "n_bytes": checked.n_bytes, "damaged": damaged,
            }));
        } else {
            let mirror = pitwatch_imagery::Mirror::open_area(area, &name)
                .map_err(live::locked_or_refused)?;
            let removed = mirror.prune()?;
            if !args.json {
                for path in &removed {
                    say(&format!("removed {path}"))?;
                }
                say(&format!("{name}: {} removed", removed.len()))?;
            }
            results.push(json!({ "area_id": name, "removed": removed }));
        }
    }
    if args.json {
        say(&serde_json::to_string_pretty(&results)?)?;
    }
    if is_damaged {
        return Err(anyhow::anyhow!(
            "the mirror is damaged; pitwatch fetch brings what is damaged again"
        ))
        .context(Problem::InvalidOutput);
    }
    Ok(DONE)
}

fn examine(args: &DoctorArgs) -> Result<u8> {
    let checks = upkeep::doctor(&args.out)?;
    if args.json {
        say(&serde_json::to_string_pretty(&checks)?)?;
    } else {
        for check in &checks {
            say(&check.to_text())?;
        }
    }
    let is_broken = checks
        .iter()
        .any(|check| check.health == upkeep::Health::Broken);
    Ok(if is_broken {
        Problem::InvalidOutput.code()
    } else {
        DONE
    })
}

fn show_looks(args: &LooksArgs) -> Result<u8> {
    let rows = calendar::read(&args.path)?;
    if args.json {
        say(&serde_json::to_string_pretty(&rows)?)?;
    } else {
        say(&calendar::text(&rows))?;
    }
    Ok(DONE)
}

fn summary_json(outcome: &Outcome) -> serde_json::Value {
    let failed: Vec<_> = outcome
        .failed
        .iter()
        .map(|skipped| json!({"what": skipped.what, "reason": skipped.reason}))
        .collect();
    json!({
        "run_id": outcome.run_id,
        "folder": outcome.folder.display().to_string(),
        "unchanged": outcome.is_unchanged,
        "n_alerts": outcome.alerts.len(),
        "n_new_alerts": outcome.n_new_alerts,
        "summary": outcome.summary,
        "precision": outcome.reviewed,
        "detection_limits": outcome.detection_limits,
        "failed": failed,
    })
}

fn summary_text(outcome: &Outcome) -> String {
    if outcome.is_unchanged {
        return format!(
            "run {} is published already: {}",
            outcome.run_id,
            outcome.folder.display()
        );
    }
    let count = |name: &str| outcome.summary.get(name).copied().unwrap_or(0);
    let observable = 100.0 * count("n_pixels_observable") as f64 / count("n_pixels").max(1) as f64;
    let mut lines = vec![
        format!("run {}: {}", outcome.run_id, outcome.folder.display()),
        format!(
            "  looked at   {} looks, {} of them used, {} more expected and not found; {observable:.1} % of the area was seen often enough",
            count("n_looks"),
            count("n_looks_used"),
            count("n_looks_not_found")
        ),
        format!(
            "  excavation  {} confirmed, {} provisional",
            count("n_excavation_confirmed"),
            count("n_excavation_provisional")
        ),
        format!(
            "  cleared     {} confirmed, {} provisional",
            count("n_cleared_confirmed"),
            count("n_cleared_provisional")
        ),
        format!(
            "  alerts      {}, of which {} are new since the run before",
            outcome.alerts.len(),
            outcome.n_new_alerts
        ),
        format!("  precision   {}", outcome.reviewed.to_text()),
    ];
    lines.extend(outcome.detection_limits.iter().map(|limit| {
        let area = |value: Option<f64>, none: &str| {
            value.map_or_else(|| none.to_owned(), |ha| format!("{ha:.3} ha"))
        };
        let smallest = area(limit.min_detectable_ha, "no size that was tried");
        let interval = if limit.is_measured {
            let (lo, hi) = (limit.min_detectable_ha_lo, limit.min_detectable_ha_hi);
            let above = "above the sizes tried";
            format!(" ({} to {})", area(lo, above), area(hi, above))
        } else {
            String::new()
        };
        format!(
            "  smallest    {}: {smallest}{interval}, {}",
            limit.area_id, limit.ground
        )
    }));
    if !outcome.failed.is_empty() {
        lines.push(format!(
            "  failed      {} (all in manifest.json):",
            outcome.failed.len()
        ));
        lines.extend(
            outcome
                .failed
                .iter()
                .take(5)
                .map(|skipped| format!("    {}: {}", skipped.what, skipped.reason)),
        );
    }
    lines.join("\n")
}

fn show_plan(
    input: &InputArgs,
    network: Option<&NetworkArgs>,
    started: pitwatch_grid::UtcTime,
    json: bool,
    progress: Progress,
) -> Result<u8> {
    let options = network.map(|args| network_options(args, PLAN_MEMORY_BYTES, started));
    let plans = plan::plan(&pipeline_of(input)?, options.as_ref(), &progress)?;
    if json {
        say(&serde_json::to_string_pretty(&plans)?)?;
    } else {
        for plan in &plans {
            say(&plan.to_text())?;
        }
    }
    Ok(DONE)
}

fn validate_paths(args: &ValidateArgs) -> Result<u8> {
    let verdicts: Vec<_> = args
        .paths
        .iter()
        .map(|path| validate::validate(path))
        .collect();
    if args.json {
        say(&serde_json::to_string_pretty(&verdicts)?)?;
    } else {
        for verdict in &verdicts {
            let word = if verdict.is_valid { "ok   " } else { "WRONG" };
            say(&format!(
                "{word} {} {}: {}",
                verdict.kind, verdict.path, verdict.message
            ))?;
        }
    }
    let worst = verdicts
        .iter()
        .filter_map(|verdict| verdict.problem)
        .map(exit::Problem::code)
        .max();
    Ok(worst.unwrap_or(DONE))
}

/// Writes a result to standard output.
fn say(text: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        // A reader that has seen enough (head) is no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}
