//! The commands on reported figures: `stats import`, `stats list`, `stats check`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand, ValueEnum};
use pitwatch_capacity::{
    Figure, Finding, Limits, Measure, Participant, Publisher, ReportPeriod, in_order_of_vintage,
};
use pitwatch_grid::Day;
use serde_json::{Value, json};

use crate::exit::{DONE, NEW_ALERTS, Problem};
use crate::figures::{self, Key, Row, UNKNOWN};
use crate::progress::Progress;
use crate::say;
use crate::wide::{self, Decimal, Told};

#[derive(Debug, Subcommand)]
pub(crate) enum StatsCommand {
    /// Add tables of reported figures to a store; every vintage is kept, and nothing is added if one row is wrong
    #[command(after_help = "\
Examples:
  pitwatch stats import new.csv --store pipelines/reported.csv
  pitwatch stats import 2022.csv --store reported.csv --period 2022 --source \"Annual Global Summary 2022\" --source-class kp --release-date 2023-07-13
  pitwatch stats import t1.csv --store reported.csv --period 2023-Q1 --measure export --source \"ministry\" --source-class national --release-date unknown --dry-run

A file has the columns of the store (long), or is a public table with a participant a line (wide): docs/statistics.md.
A run compares with the store where its pipeline names it: reported_file = \"reported.csv\".
Each fault is named as FILE:ROW:COLUMN with what to write instead; the command then ends with 3.")]
    Import(ImportArgs),

    /// Print every vintage of the figures; the newest of each publisher has a star
    #[command(after_help = "\
Examples:
  pitwatch stats list pipelines/reported.csv --country CIV
  pitwatch stats list pipelines/reported.csv --country \"DR Congo\" --period 2016 --measure production --json")]
    List(ListArgs),

    /// Set the figures against each other; no imagery is needed
    #[command(after_help = "\
Examples:
  pitwatch stats check pipelines/reported.csv
  pitwatch stats check pipelines/reported.csv --country CIV --opening-stock CIV@2015=6737
  pitwatch stats check pipelines/reported.csv --json --exit-code

Each finding shows its arithmetic. Ends with 0, with --exit-code with 10 if there are findings.")]
    Check(CheckArgs),
}

/// How the rows of a file stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Layout {
    /// The columns of the store
    Long,
    /// A participant a line
    Wide,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DecimalSign {
    /// 1,234.56
    Point,
    /// 1.234,56
    Comma,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// Tables to read
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The table that the figures are added to; made if it is not there
    #[arg(long, value_name = "STORE")]
    store: PathBuf,

    /// How the rows stand [default: by the headings]
    #[arg(long, value_enum, value_name = "LAYOUT")]
    layout: Option<Layout>,

    /// What a wide table is for: 2022, 2022-S1 or 2022-Q3
    #[arg(long, value_name = "PERIOD", value_parser = parse_period)]
    period: Option<ReportPeriod>,

    /// What is counted, where the table does not say it
    #[arg(long, value_name = "MEASURE", value_parser = parse_measure)]
    measure: Option<Measure>,

    /// Where the figures were published
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,

    /// Who stands behind them: kp, national or press
    #[arg(long, value_name = "CLASS", value_parser = parse_publisher)]
    source_class: Option<Publisher>,

    /// Day they were released, or unknown
    #[arg(long, value_name = "YYYY-MM-DD|unknown", value_parser = parse_release)]
    release_date: Option<Release>,

    /// What stands before decimals, where a wide table does not show it
    #[arg(long, value_enum, value_name = "SIGN")]
    decimal: Option<DecimalSign>,

    /// Read and check everything, and write nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Table of reported figures
    #[arg(value_name = "STORE")]
    store: PathBuf,

    /// Only this participant, by code or name
    #[arg(long, value_name = "NAME", value_parser = parse_participant)]
    country: Option<&'static Participant>,

    /// Only this period: 2022, 2022-S1 or 2022-Q3
    #[arg(long, value_name = "PERIOD", value_parser = parse_period)]
    period: Option<ReportPeriod>,

    /// Only this measure: production, export or import
    #[arg(long, value_name = "MEASURE", value_parser = parse_measure)]
    measure: Option<Measure>,

    /// Write the figures as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Table of reported figures
    #[arg(value_name = "STORE")]
    store: PathBuf,

    /// Only this participant, by code or name
    #[arg(long, value_name = "NAME", value_parser = parse_participant)]
    country: Option<&'static Participant>,

    /// First year in which exports are set against production
    #[arg(long, value_name = "YEAR", default_value = "1900")]
    from_year: i32,

    /// Last year in which exports are set against production
    #[arg(long, value_name = "YEAR", default_value = "2199")]
    to_year: i32,

    /// Carats in stock on the first of January, such as CIV@2015=6737; may be given several times
    #[arg(long, value_name = "CODE@YEAR=CARATS", value_parser = parse_stock)]
    opening_stock: Vec<Stock>,

    /// Exports over production, imports and stock from which on they are told
    #[arg(long, value_name = "RATIO", default_value = "1.0", value_parser = parse_limit)]
    export_ratio: f64,

    /// How many times a value per carat must differ to be told, more than 1
    #[arg(long, value_name = "FACTOR", default_value = "2.0", value_parser = parse_factor)]
    value_factor: f64,

    /// Share by which two publishers must differ to be told
    #[arg(long, value_name = "SHARE", default_value = "0.01", value_parser = parse_limit)]
    source_difference: f64,

    /// Share by which a vintage must differ from the one before to be told
    #[arg(long, value_name = "SHARE", default_value = "0.0", value_parser = parse_limit)]
    vintage_change: f64,

    /// Write the findings as JSON
    #[arg(long)]
    json: bool,

    /// Exit with 10 if there are findings
    #[arg(long)]
    exit_code: bool,
}

/// When a table was released; clap needs a name for "said to be unknown".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Release(Option<Day>);

/// What is in stock on the first of January.
#[derive(Debug, Clone, PartialEq)]
struct Stock {
    code: &'static str,
    year: i32,
    carats: f64,
}

fn parse_period(text: &str) -> Result<ReportPeriod, String> {
    ReportPeriod::parse(text).ok_or_else(|| "write 2022, 2022-S1 or 2022-Q3".into())
}

fn parse_measure(text: &str) -> Result<Measure, String> {
    Measure::parse(text).ok_or_else(|| "write production, export or import".into())
}

fn parse_publisher(text: &str) -> Result<Publisher, String> {
    Publisher::parse(text).ok_or_else(|| "write kp, national or press".into())
}

fn parse_release(text: &str) -> Result<Release, String> {
    if text == UNKNOWN {
        return Ok(Release(None));
    }
    text.parse()
        .map(|day| Release(Some(day)))
        .map_err(|_| "write a day as 2024-07-15, or unknown".into())
}

fn parse_participant(text: &str) -> Result<&'static Participant, String> {
    Participant::find(text).ok_or_else(|| figures::unknown_participant(text))
}

fn parse_limit(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|value: &f64| value.is_finite() && *value >= 0.0)
        .ok_or_else(|| "write a number, 0 or more".into())
}

fn parse_factor(text: &str) -> Result<f64, String> {
    parse_limit(text)
        .ok()
        .filter(|factor| *factor > 1.0)
        .ok_or_else(|| "write a number above 1".into())
}

fn parse_stock(text: &str) -> Result<Stock, String> {
    let read = || {
        let (whose, carats) = text.split_once('=')?;
        let (code, year) = whose.split_once('@')?;
        Some(Stock {
            code: Participant::of_code(code)?.code,
            year: year.parse().ok()?,
            carats: parse_limit(carats).ok()?,
        })
    };
    read().ok_or_else(|| "write participant, year and carats as CIV@2015=6737".into())
}

/// Runs one of the commands.
///
/// # Errors
///
/// A configuration problem that names each fault, or a store that cannot be written.
pub(crate) fn run(command: &StatsCommand, progress: Progress) -> Result<u8> {
    match command {
        StatsCommand::Import(args) => import(args, progress),
        StatsCommand::List(args) => list(args),
        StatsCommand::Check(args) => check(args),
    }
}

/// A table on disk.
struct Store {
    text: String,
    rows: Vec<Row>,
}

impl Store {
    fn read(path: &Path) -> Result<Self> {
        let read = || -> Result<Self> {
            let text = fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let rows = figures::parse(path, &text, b',', &figures::Defaults::default())
                .map_err(|faults| anyhow!("{}", faults.join("\n")))?;
            Ok(Self { text, rows })
        };
        read().context(Problem::Configuration)
    }

    /// The store, or an empty one if the file is not there.
    fn read_or_new(path: &Path) -> Result<Self> {
        if path.exists() {
            return Self::read(path);
        }
        Ok(Self {
            text: figures::COLUMNS.join(",") + "\n",
            rows: Vec::new(),
        })
    }

    fn figures(&self) -> Vec<Figure> {
        self.rows.iter().map(|row| row.figure.clone()).collect()
    }
}

/// The file beside the store that an import writes, and that keeps others out meanwhile; gone when dropped.
struct Aside {
    path: PathBuf,
    file: File,
    is_published: bool,
}

impl Aside {
    fn new(store: &Path) -> Result<Self> {
        let mut name = store.as_os_str().to_owned();
        name.push(".importing");
        let path = PathBuf::from(name);
        match File::create_new(&path) {
            Ok(file) => Ok(Self {
                path,
                file,
                is_published: false,
            }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(anyhow!(
                "{} is there: another import is at work, wait for it; if none is, one was killed, and the file can be removed",
                path.display()
            ))
            .context(Problem::Locked),
            Err(error) => Err(anyhow::Error::from(error).context(format!("cannot write {}", path.display())))
                .context(Problem::Configuration),
        }
    }

    /// Puts the text in the place of the store.
    fn publish(mut self, store: &Path, text: &str) -> Result<()> {
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_all())
            .and_then(|()| fs::rename(&self.path, store))
            .with_context(|| format!("cannot write {}", store.display()))?;
        self.is_published = true;
        Ok(())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Once it is the store, a file of this name is another import's.
        if !self.is_published {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn import(args: &ImportArgs, progress: Progress) -> Result<u8> {
    // An import that writes holds the store from before it is read.
    let aside = if args.dry_run {
        None
    } else {
        Some(Aside::new(&args.store)?)
    };
    let store = Store::read_or_new(&args.store)?;
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    for file in &args.files {
        match read_table(file, args) {
            Ok((read, notes)) => {
                for note in notes {
                    progress.warn(&note);
                }
                rows.extend(read);
            }
            Err(wrong) => faults.extend(wrong),
        }
    }
    let added = new_rows(&store, rows, &mut faults);
    if faults.is_empty() {
        faults.extend(impossible(&store, &added));
    }
    if !faults.is_empty() {
        return Err(anyhow!("nothing is imported:\n{}", faults.join("\n")))
            .context(Problem::Configuration);
    }
    let name = args.store.display();
    if added.is_empty() {
        say(&format!(
            "{name}: every figure is there already; nothing is changed"
        ))?;
        return Ok(DONE);
    }
    let Some(aside) = aside else {
        say(&format!(
            "{name}: {} would be added to {}",
            counted(added.len()),
            store.rows.len()
        ))?;
        return Ok(DONE);
    };
    let is_verified = store.text.lines().next().is_some_and(|line| {
        line.trim_end()
            .ends_with(&format!(",{}", figures::VERIFIED))
    });
    // What stands there stays, byte by byte.
    let mut text = store.text.clone();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text += &figures::rows_of(added.iter().map(|row| &row.figure), is_verified)
        .context("cannot write the rows")?;
    aside.publish(&args.store, &text)?;
    say(&format!(
        "{name}: {} added to {}",
        counted(added.len()),
        store.rows.len()
    ))?;
    Ok(DONE)
}

fn counted(n: usize) -> String {
    format!("{n} figure{}", if n == 1 { "" } else { "s" })
}

/// The figures of a file and what is to be said of them, or its faults.
fn read_table(path: &Path, args: &ImportArgs) -> Result<(Vec<Row>, Vec<String>), Vec<String>> {
    let told = |what: &dyn std::fmt::Display| vec![format!("{}: {what}", path.display())];
    let bytes = fs::read(path).map_err(|error| told(&format!("cannot be read: {error}")))?;
    let text = wide::decode(&bytes).map_err(|error| told(&error))?;
    let delimiter = wide::delimiter_of(&text);
    let is_long = match args.layout {
        Some(layout) => layout == Layout::Long,
        None => csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(text.as_bytes())
            .records()
            .next()
            .and_then(Result::ok)
            .is_some_and(|first| figures::is_documented_layout(&first)),
    };
    if is_long {
        let defaults = figures::Defaults {
            period: args.period,
            measure: args.measure,
            source: args.source.clone(),
            publisher: args.source_class,
            release_date: args.release_date.and_then(|release| release.0),
        };
        return Ok((
            figures::parse(path, &text, delimiter, &defaults)?,
            Vec::new(),
        ));
    }
    let (Some(period), Some(source), Some(publisher), Some(release)) = (
        args.period,
        &args.source,
        args.source_class,
        args.release_date,
    ) else {
        let lacking: Vec<&str> = [
            (args.period.is_none(), "--period 2022, 2022-S1 or 2022-Q3"),
            (args.source.is_none(), "--source TEXT"),
            (
                args.source_class.is_none(),
                "--source-class kp, national or press",
            ),
            (
                args.release_date.is_none(),
                "--release-date YYYY-MM-DD or unknown",
            ),
        ]
        .into_iter()
        .filter_map(|(is_lacking, flag)| is_lacking.then_some(flag))
        .collect();
        return Err(told(&format!(
            "a table with a participant a line does not say all that is kept of a figure; give {}",
            lacking.join(", ")
        )));
    };
    let table = wide::parse(
        path,
        &text,
        &Told {
            period,
            measure: args.measure,
            source: source.trim().to_owned(),
            publisher,
            release_date: release.0,
            decimal: args.decimal.map(|sign| match sign {
                DecimalSign::Point => Decimal::Point,
                DecimalSign::Comma => Decimal::Comma,
            }),
        },
    )?;
    Ok((table.rows, table.notes))
}

/// What the store does not have yet; a figure that it has otherwise is a fault.
fn new_rows(store: &Store, rows: Vec<Row>, faults: &mut Vec<String>) -> Vec<Row> {
    let mut held: BTreeMap<Key, Row> = store
        .rows
        .iter()
        .map(|row| (row.key(), row.clone()))
        .collect();
    let mut added = Vec::new();
    for row in rows {
        match held.get(&row.key()) {
            None => {
                let _ = held.insert(row.key(), row.clone());
                added.push(row);
            }
            Some(before) if is_same(&before.figure, &row.figure) => {}
            Some(before) => faults.push(format!(
                "{}: {} {} {} is {}, and {} has {} from the same source and release; a vintage is never overwritten: give the release date of this one (--release-date, or the column release_date), or another source",
                row.place,
                row.figure.participant.code,
                row.figure.measure,
                row.figure.period,
                told(&row.figure),
                before.place,
                told(&before.figure)
            )),
        }
    }
    added
}

#[expect(clippy::float_cmp, reason = "the same digits, not about the same")]
fn is_same(a: &Figure, b: &Figure) -> bool {
    a.carats == b.carats && a.value_usd == b.value_usd && a.publisher == b.publisher
}

fn told(figure: &Figure) -> String {
    let value = figure
        .value_usd
        .map_or_else(String::new, |value| format!(" worth {value} US$"));
    format!("{} ct{value} ({})", figure.carats, figure.publisher)
}

/// New figures that cannot be beside those that are held.
fn impossible(store: &Store, added: &[Row]) -> Vec<String> {
    let mut figures = store.figures();
    let n_held = figures.len();
    figures.extend(added.iter().map(|row| row.figure.clone()));
    pitwatch_capacity::impossible_parts(&figures)
        .into_iter()
        .filter_map(|finding| {
            let new = finding.rows.iter().find_map(|row| added.get(row.checked_sub(n_held)?))?;
            let others: Vec<&str> = finding
                .rows
                .iter()
                .map(|&row| match row.checked_sub(n_held) {
                    Some(row) => &*added[row].place,
                    None => &*store.rows[row].place,
                })
                .filter(|place| *place != new.place)
                .collect();
            Some(format!(
                "{}: {}: impossible: {} (beside {}); correct the figure that is misprinted, or leave it out",
                new.place,
                finding.participant.code,
                finding.arithmetic,
                others.join(", ")
            ))
        })
        .collect()
}

/// Whether each row is the newest vintage of its publisher.
fn newest(figures: &[Figure]) -> Vec<bool> {
    let mut groups: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (row, figure) in figures.iter().enumerate() {
        let key = (
            figure.participant.code,
            figure.period,
            figure.measure,
            figure.publisher,
        );
        groups.entry(key).or_default().push(row);
    }
    let mut is_newest = vec![false; figures.len()];
    for rows in groups.values() {
        if let Some(row) = in_order_of_vintage(figures, rows).pop() {
            is_newest[row] = true;
        }
    }
    is_newest
}

fn list(args: &ListArgs) -> Result<u8> {
    let store = Store::read(&args.store)?;
    let figures = store.figures();
    let is_newest = newest(&figures);
    let mut rows: Vec<(&Row, bool)> = store
        .rows
        .iter()
        .zip(is_newest)
        .filter(|(row, _)| {
            let figure = &row.figure;
            args.country
                .is_none_or(|country| country == figure.participant)
                && args.period.is_none_or(|period| period == figure.period)
                && args.measure.is_none_or(|measure| measure == figure.measure)
        })
        .collect();
    rows.sort_by_key(|(row, _)| {
        let figure = &row.figure;
        (
            figure.participant.code,
            figure.measure,
            figure.period,
            figure.publisher,
            row.line,
        )
    });
    if args.json {
        let figures: Vec<Value> = rows
            .iter()
            .map(|(row, is_newest)| figure_json(row, *is_newest))
            .collect();
        say(&serde_json::to_string_pretty(&figures)?)?;
        return Ok(DONE);
    }
    for (row, is_newest) in &rows {
        let figure = &row.figure;
        say(&format!(
            "{} {}  {:10}  {:7}  {:>14} ct  {:>14}  {:8}  {:10}  row {}: {}",
            if *is_newest { '*' } else { ' ' },
            figure.participant.code,
            figure.measure.as_str(),
            figure.period.to_string(),
            figure.carats,
            figure
                .value_usd
                .map_or_else(|| "-".into(), |value| format!("{value} US$")),
            figure.publisher.as_str(),
            figure
                .release_date
                .map_or_else(|| UNKNOWN.into(), |day| day.to_string()),
            row.line,
            figure.source
        ))?;
    }
    say(&format!(
        "{}; * is the newest vintage of its publisher",
        counted(rows.len())
    ))?;
    Ok(DONE)
}

fn figure_json(row: &Row, is_newest: bool) -> Value {
    let figure = &row.figure;
    json!({
        "participant": figure.participant.code,
        "name": figure.participant.name,
        "period": figure.period.to_string(),
        "measure": figure.measure.as_str(),
        "carats": figure.carats,
        "carats_rounding": figure.carats_rounding,
        "value_usd": figure.value_usd,
        "source": figure.source,
        "source_class": figure.publisher.as_str(),
        "release_date": figure.release_date.map(|day| day.to_string()),
        "note": figure.note,
        "row": row.line,
        "newest": is_newest,
    })
}

fn check(args: &CheckArgs) -> Result<u8> {
    if args.from_year > args.to_year {
        bail!(
            anyhow!(
                "--from-year {} is after --to-year {}",
                args.from_year,
                args.to_year
            )
            .context(Problem::Configuration)
        );
    }
    let mut store = Store::read(&args.store)?;
    store.rows.retain(|row| {
        args.country
            .is_none_or(|country| country == row.figure.participant)
    });
    let limits = Limits {
        export_ratio: args.export_ratio,
        value_factor: args.value_factor,
        source_difference: args.source_difference,
        vintage_change: args.vintage_change,
        opening_stock_ct: args
            .opening_stock
            .iter()
            .map(|stock| ((stock.code.to_owned(), stock.year), stock.carats))
            .collect(),
        years: Some(RangeInclusive::new(args.from_year, args.to_year)),
    };
    let findings = pitwatch_capacity::check(&store.figures(), &limits);
    if args.json {
        let told: Vec<Value> = findings
            .iter()
            .map(|finding| finding_json(finding, &store))
            .collect();
        say(&serde_json::to_string_pretty(&told)?)?;
    } else {
        for finding in &findings {
            say(&finding_text(finding, &store))?;
        }
        say(&format!(
            "{} finding{} in {}",
            findings.len(),
            if findings.len() == 1 { "" } else { "s" },
            counted(store.rows.len())
        ))?;
    }
    Ok(if args.exit_code && !findings.is_empty() {
        NEW_ALERTS
    } else {
        DONE
    })
}

fn lines_of(finding: &Finding, store: &Store) -> Vec<u64> {
    finding
        .rows
        .iter()
        .filter_map(|&row| Some(store.rows.get(row)?.line))
        .collect()
}

fn finding_text(finding: &Finding, store: &Store) -> String {
    let (first, last) = finding.periods;
    let periods = if first == last {
        first.to_string()
    } else {
        format!("{first} to {last}")
    };
    let lines: Vec<String> = lines_of(finding, store)
        .iter()
        .map(ToString::to_string)
        .collect();
    format!(
        "{}: {} ({}), {periods}\n  {}\n  rows {}\n",
        finding.kind.as_str(),
        finding.participant.name,
        finding.participant.code,
        finding.arithmetic,
        lines.join(", ")
    )
}

fn finding_json(finding: &Finding, store: &Store) -> Value {
    let numbers: serde_json::Map<String, Value> = finding
        .numbers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    json!({
        "kind": finding.kind.as_str(),
        "participant": finding.participant.code,
        "name": finding.participant.name,
        "from": finding.periods.0.to_string(),
        "to": finding.periods.1.to_string(),
        "numbers": numbers,
        "arithmetic": finding.arithmetic,
        "rows": lines_of(finding, store),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stock_is_of_a_participant_and_year() {
        let stock = parse_stock("CIV@2015=6737").unwrap();
        assert_eq!((stock.code, stock.year), ("CIV", 2015));
        for wrong in ["CIV=1", "XXX@2015=1", "CIV@2015=-1", "CIV@x=1"] {
            assert!(parse_stock(wrong).is_err(), "{wrong}");
        }
        assert!(parse_factor("1").is_err() && parse_factor("1.5").is_ok());
    }
}
