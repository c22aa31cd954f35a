//! The program: reads the command line and the pipeline file, runs the line, owns the clock and the files on disk.

mod area;
mod cell;
mod cli;
mod config;
mod exit;
mod plan;
mod progress;
mod publish;
mod run;
mod validate;
mod watch;

use std::io::Write;
use std::process::ExitCode;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};
use serde_json::json;

use crate::cli::{Cli, Command, InputArgs, PlanArgs, RunArgs, ValidateArgs};
use crate::config::{Overrides, Pipeline};
use crate::exit::{DONE, NEW_ALERTS, PARTIAL};
use crate::progress::Progress;
use crate::run::{Options, Outcome};

fn main() -> ExitCode {
    let started = publish::now();
    let cli = Cli::parse();
    let progress = Progress::new(cli.verbosity());
    let result = match &cli.command {
        Command::Run(args) if args.dry_run => show_plan(&args.input, args.json),
        Command::Run(args) => run_pipeline(args, started, progress),
        Command::Plan(PlanArgs { input, json, .. }) => show_plan(input, *json),
        Command::Validate(args) => validate_paths(args),
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
    };
    config::read(&input.pipeline, &overrides)
}

fn run_pipeline(args: &RunArgs, started: pitwatch_grid::UtcTime, progress: Progress) -> Result<u8> {
    let pipeline = pipeline_of(&args.input)?;
    let jobs = args.work.jobs.map_or_else(
        || available_parallelism().map_or(1, usize::from),
        usize::from,
    );
    rayon::ThreadPoolBuilder::new()
        .num_threads(jobs)
        .build_global()
        .context("cannot start the threads")?;
    let options = Options {
        out: args.out.clone(),
        cell_pixels: args.work.cell_size as usize,
        memory_bytes: args.work.memory_limit,
        jobs,
        only_if_new: args.since.is_some(),
        started,
    };
    let outcome = run::run(&pipeline, &options, &progress)?;
    if args.json {
        say(&serde_json::to_string_pretty(&summary_json(&outcome))?)?;
    } else {
        say(&summary_text(&outcome))?;
    }
    Ok(if !outcome.failed.is_empty() {
        PARTIAL
    } else if args.exit_code && outcome.n_new_alerts > 0 {
        NEW_ALERTS
    } else {
        DONE
    })
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
            "  looked at   {} looks, {} of them used; {observable:.1} % of the area was seen often enough",
            count("n_looks"),
            count("n_looks_used")
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
    ];
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

fn show_plan(input: &InputArgs, json: bool) -> Result<u8> {
    let plans = plan::plan(&pipeline_of(input)?)?;
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
