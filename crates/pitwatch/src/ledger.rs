//! The ledger: one SQLite file in the output folder that holds runs, looks, alerts, sites, reviews and the outbox.
//!
//! It is written by whoever holds the output folder's lock (`publish::lock`), in one transaction a run; anybody may read
//! it at any time (write-ahead log). How a run's folder, the ledger and `latest.json` stay together stands in `publish.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use pitwatch_grid::{Day, LatticePixel, UtcTime, format_time, parse_time};
use pitwatch_report::{Event, LookRow};
use pitwatch_sites::{Alert, Review};
use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use serde_json::Value;

use crate::changes::{AlertRow, AssessmentRow, SiteRow, Standing, State};
use crate::exit::Problem;

/// The file's name in the output folder.
pub(crate) const FILE: &str = "ledger.sqlite";
/// Each step brings a ledger from the version of its place to the next; a file's version is its `user_version`.
const MIGRATIONS: [&str; 4] = [
    include_str!("ledger.v1.sql"),
    include_str!("ledger.v2.sql"),
    include_str!("ledger.v3.sql"),
    include_str!("ledger.v4.sql"),
];
/// What SQLite keeps in the header of a ledger: the letters `pitw`.
const APPLICATION_ID: i64 = 0x7069_7477;
/// Bytes of a pixel in column `pixels` of an alert.
const PIXEL_BYTES: usize = 12;
/// How long a writer waits for another.
const BUSY: Duration = Duration::from_secs(10);

/// The version of ledgers that this program writes.
pub(crate) const VERSION: i64 = MIGRATIONS.len() as i64;

/// A ledger that is open.
pub(crate) struct Ledger {
    connection: Connection,
    /// True if it was made just now.
    pub(crate) is_new: bool,
}

/// A run to be entered.
pub(crate) struct RunEntry<'a> {
    pub(crate) run_id: &'a str,
    pub(crate) previous_run: Option<&'a str>,
    pub(crate) pipeline_sha256: &'a str,
    pub(crate) manifest_sha256: &'a str,
    pub(crate) started: UtcTime,
    pub(crate) ended: UtcTime,
    pub(crate) exit_code: u8,
    pub(crate) looks: &'a [LookRow],
    /// Of areas that were searched, up to when what each source published is in this run.
    pub(crate) watermarks: Vec<(&'a str, &'a BTreeMap<String, UtcTime>)>,
    pub(crate) state: &'a State,
    pub(crate) events: &'a [Event],
}

/// A run that is in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownRun {
    pub(crate) run_id: String,
    pub(crate) previous_run: Option<String>,
    pub(crate) manifest_sha256: String,
}

/// The newest acquisition of an area and status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewestLook {
    pub(crate) area_id: String,
    pub(crate) status: String,
    pub(crate) n: u64,
    pub(crate) newest: UtcTime,
}

impl Ledger {
    /// The path of an output folder's ledger.
    pub(crate) fn path(out: &Path) -> PathBuf {
        out.join(FILE)
    }

    /// Opens the ledger of an output folder whose lock is held; makes it if there is none, and brings an older one up to date.
    ///
    /// # Errors
    ///
    /// If it is damaged, of a newer version, or cannot be written.
    pub(crate) fn open(out: &Path) -> Result<Self> {
        let path = Self::path(out);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let mut ledger = Self {
            connection,
            is_new: false,
        };
        let version = ledger.check(&path)?;
        ledger
            .migrate(version)
            .with_context(|| format!("cannot write {}", path.display()))?;
        ledger.is_new = version == 0;
        Ok(ledger)
    }

    /// Opens a ledger that is there, without making or changing it, but for what other commands write into it.
    ///
    /// # Errors
    ///
    /// If there is none, or it is damaged or of another version.
    pub(crate) fn open_existing(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)
            .with_context(|| {
                format!(
                    "cannot open {}: is it the ledger of a folder that runs publish into?",
                    path.display()
                )
            })
            .context(Problem::Configuration)?;
        let ledger = Self {
            connection,
            is_new: false,
        };
        let version = ledger.check(path)?;
        if version == 0 {
            return Err(anyhow!("{} is no ledger of pitwatch", path.display()))
                .context(Problem::Configuration);
        }
        if version < VERSION {
            return Err(anyhow!(
                "{} is a ledger of version {version}; the next run brings it to version {VERSION}",
                path.display()
            ))
            .context(Problem::Configuration);
        }
        Ok(ledger)
    }

    /// The connection, for the commands that write reviews and deliveries.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Sets what SQLite keeps a connection, checks the file, and returns its version.
    fn check(&self, path: &Path) -> Result<i64> {
        let damaged = |what: &str| {
            anyhow!(
                "{} is damaged ({what}); put a backup in its place with `pitwatch restore BACKUP OUT --overwrite`, or move \
                 it away with its -wal and -shm files, and the next run starts a new one",
                path.display()
            )
        };
        let read = || -> rusqlite::Result<(i64, i64, Vec<String>)> {
            self.connection.busy_timeout(BUSY)?;
            self.connection.pragma_update(None, "foreign_keys", true)?;
            self.connection.pragma_update(None, "synchronous", "FULL")?;
            let version = self
                .connection
                .pragma_query_value(None, "user_version", |row| row.get(0))?;
            let mut statement = self.connection.prepare("PRAGMA quick_check(5)")?;
            let said = statement.query_map([], |row| row.get(0))?;
            let said = said.collect::<rusqlite::Result<_>>()?;
            let application =
                self.connection
                    .pragma_query_value(None, "application_id", |row| row.get(0))?;
            Ok((version, application, said))
        };
        let (version, application, said) = match read() {
            Ok(read) => read,
            Err(error)
                if matches!(
                    error.sqlite_error_code(),
                    Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt)
                ) =>
            {
                return Err(damaged(&error.to_string())).context(Problem::InvalidOutput);
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        if said != ["ok"] {
            return Err(damaged(&said.join("; "))).context(Problem::InvalidOutput);
        }
        if version != 0 && application != APPLICATION_ID {
            return Err(anyhow!("{} is no ledger of pitwatch", path.display()))
                .context(Problem::Configuration);
        }
        if version > VERSION {
            return Err(anyhow!(
                "{} is a ledger of version {version}, and this pitwatch knows versions up to {VERSION}; use the pitwatch \
                 that wrote it, or a newer one",
                path.display()
            ))
            .context(Problem::Configuration);
        }
        Ok(version)
    }

    fn migrate(&mut self, version: i64) -> Result<()> {
        let mode: String =
            self.connection
                .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if mode != "wal" {
            bail!("the file system does not allow a write-ahead log (journal mode {mode})");
        }
        for (step, sql) in MIGRATIONS.iter().enumerate() {
            let from = step as i64;
            if from < version {
                continue;
            }
            let transaction = self.connection.transaction()?;
            transaction.execute_batch(sql)?;
            transaction.pragma_update(None, "user_version", from + 1)?;
            transaction.commit()?;
        }
        Ok(())
    }

    /// The run published last.
    pub(crate) fn newest_run(&self) -> Result<Option<KnownRun>> {
        let sql =
            "SELECT run_id, previous_run, manifest_sha256 FROM runs ORDER BY seq DESC LIMIT 1";
        let mut statement = self.connection.prepare(sql)?;
        Ok(statement.query_row([], known_run).optional()?)
    }

    /// A run by its name.
    pub(crate) fn run(&self, run_id: &str) -> Result<Option<KnownRun>> {
        let sql = "SELECT run_id, previous_run, manifest_sha256 FROM runs WHERE run_id = ?1";
        let mut statement = self.connection.prepare(sql)?;
        Ok(statement.query_row([run_id], known_run).optional()?)
    }

    /// All runs, oldest first.
    pub(crate) fn runs(&self) -> Result<Vec<KnownRun>> {
        let sql = "SELECT run_id, previous_run, manifest_sha256 FROM runs ORDER BY seq";
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([], known_run)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Enters runs that were in the folder before the ledger, oldest first: they have no events, and no alert of theirs is known.
    pub(crate) fn import(&mut self, runs: &[(KnownRun, String)]) -> Result<()> {
        let transaction = self.connection.transaction()?;
        for (run, pipeline_sha256) in runs {
            transaction.execute(
                "INSERT INTO runs (run_id, pipeline_sha256, manifest_sha256, state) VALUES (?1, ?2, ?3, 'imported')",
                params![run.run_id, pipeline_sha256, run.manifest_sha256],
            )?;
        }
        Ok(transaction.commit()?)
    }

    /// Notes whose folder is about to be put in place.
    pub(crate) fn intend(&self, run_id: &str) -> Result<()> {
        self.connection
            .execute(
                "INSERT OR REPLACE INTO pending (one, run_id) VALUES (1, ?1)",
                [run_id],
            )
            .context("cannot write the ledger")?;
        Ok(())
    }

    /// The run whose folder was being put in place when the program was stopped.
    pub(crate) fn intended(&self) -> Result<Option<String>> {
        let mut statement = self.connection.prepare("SELECT run_id FROM pending")?;
        Ok(statement.query_row([], |row| row.get(0)).optional()?)
    }

    /// Takes back what [`intend`](Self::intend) noted.
    pub(crate) fn give_up(&self) -> Result<()> {
        self.connection.execute("DELETE FROM pending", [])?;
        Ok(())
    }

    /// Everything that is known of alerts, sites and assessments.
    pub(crate) fn state(&self) -> Result<State> {
        let mut state = State::default();
        let mut statement = self.connection.prepare(
            "SELECT alert_id, area_id, revision, standing, alert_datetime, first_row, first_col, feature, told, first_run, \
             last_run, epsg, pixels FROM alerts",
        )?;
        for row in statement.query_map([], alert_row)? {
            let row = row?;
            state.alerts.insert(row.alert_id.clone(), row);
        }
        let sql = "SELECT site_id, area_id, revision, state, feature, last_run FROM sites";
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            Ok(SiteRow {
                site_id: row.get(0)?,
                area_id: row.get(1)?,
                revision: unsigned(row, 2)?,
                state: row.get(3)?,
                feature: json_at(row, 4)?,
                last_run: row.get(5)?,
            })
        })?;
        for row in rows {
            let row = row?;
            state.sites.insert(row.site_id.clone(), row);
        }
        let sql = "SELECT subject, revision, verdict, row, last_run FROM assessments";
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            Ok(AssessmentRow {
                subject: row.get(0)?,
                revision: unsigned(row, 1)?,
                verdict: row.get(2)?,
                row: json_at(row, 3)?,
                last_run: row.get(4)?,
            })
        })?;
        for row in rows {
            let row = row?;
            state.assessments.insert(row.subject.clone(), row);
        }
        Ok(state)
    }

    /// Up to when what each source published of an area is in published runs, by area and source.
    pub(crate) fn watermarks(&self) -> Result<BTreeMap<String, BTreeMap<String, UtcTime>>> {
        let sql = "SELECT area_id, source, published_until FROM watermarks";
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            let until: String = row.get(2)?;
            let until = parse_time(&until).map_err(|_| unreadable(2, "a time"))?;
            Ok((row.get(0)?, row.get(1)?, until))
        })?;
        let mut watermarks: BTreeMap<String, BTreeMap<String, UtcTime>> = BTreeMap::new();
        for row in rows {
            let (area_id, source, until) = row?;
            watermarks.entry(area_id).or_default().insert(source, until);
        }
        Ok(watermarks)
    }

    /// How many acquisitions there are of each area and status, and the newest of them.
    pub(crate) fn newest_looks(&self) -> Result<Vec<NewestLook>> {
        let sql =
            "SELECT area_id, status, count(*), max(datetime) FROM looks GROUP BY area_id, status";
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            let newest: String = row.get(3)?;
            Ok(NewestLook {
                area_id: row.get(0)?,
                status: row.get(1)?,
                n: unsigned(row, 2)?,
                newest: parse_time(&newest).map_err(|_| unreadable(3, "a time"))?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// How many alerts there are of each standing.
    pub(crate) fn n_alerts(&self) -> Result<Vec<(String, u64)>> {
        self.counts("SELECT standing, count(*) FROM alerts GROUP BY standing")
    }

    /// How many events for endpoints there are of each state.
    pub(crate) fn n_deliveries(&self) -> Result<Vec<(String, u64)>> {
        self.counts("SELECT state, count(*) FROM deliveries GROUP BY state")
    }

    fn counts(&self, sql: &str) -> Result<Vec<(String, u64)>> {
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, unsigned(row, 1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The lines of a run's events, in order.
    pub(crate) fn lines(&self, run_id: &str) -> Result<Vec<String>> {
        let sql = "SELECT body FROM events WHERE run_id = ?1 ORDER BY seq";
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([run_id], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The review that holds for each alert that has one.
    pub(crate) fn reviews(&self) -> Result<BTreeMap<String, Review>> {
        let sql = "SELECT alert_id, review FROM reviews ORDER BY id";
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            let review = match row.get::<_, String>(1)?.as_str() {
                "confirmed" => Review::Confirmed,
                "dismissed" => Review::Dismissed,
                _ => Review::Unreviewed,
            };
            Ok((row.get::<_, String>(0)?, review))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Enters a run: its row, looks, state and events, all or nothing.
    ///
    /// # Errors
    ///
    /// If it cannot be written; then nothing of it is in the ledger.
    pub(crate) fn commit(&mut self, run: &RunEntry<'_>) -> Result<()> {
        self.enter(run).context("cannot write the ledger")
    }

    fn enter(&mut self, run: &RunEntry<'_>) -> Result<()> {
        let transaction = self.connection.transaction()?;
        // Not an upsert: one that finds the row uses up a seq all the same.
        let is_known = transaction.execute(
            "UPDATE runs SET manifest_sha256 = ?2, state = 'published', started_at = ?3, ended_at = ?4, exit_code = ?5
             WHERE run_id = ?1",
            params![
                run.run_id,
                run.manifest_sha256,
                format_time(run.started),
                format_time(run.ended),
                run.exit_code
            ],
        )? > 0;
        if !is_known {
            transaction.execute(
                "INSERT INTO runs (run_id, previous_run, pipeline_sha256, manifest_sha256, state, started_at, ended_at, exit_code)
                 VALUES (?1, ?2, ?3, ?4, 'published', ?5, ?6, ?7)",
                params![
                    run.run_id,
                    run.previous_run,
                    run.pipeline_sha256,
                    run.manifest_sha256,
                    format_time(run.started),
                    format_time(run.ended),
                    run.exit_code
                ],
            )?;
        }
        for look in run.looks {
            transaction
                .prepare(
                    "INSERT OR REPLACE INTO looks (area_id, datetime, platform, tile, scene_id, status, reason, run_id)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    look.area_id,
                    format_time(look.datetime),
                    look.platform.as_deref().unwrap_or_default(),
                    look.tile.as_deref().unwrap_or_default(),
                    look.scene_id.as_deref().unwrap_or_default(),
                    look.status.to_string(),
                    look.reason,
                    run.run_id
                ])?;
        }
        for row in run.state.alerts.values() {
            transaction
                .prepare(
                    "INSERT OR REPLACE INTO alerts (alert_id, area_id, revision, standing, alert_datetime, first_row, first_col,
                     feature, told, first_run, last_run, epsg, pixels)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                )?
                .execute(params![
                    row.alert_id,
                    row.area_id,
                    signed(row.revision)?,
                    row.standing.name(),
                    format_time(row.alert_datetime),
                    row.first_row,
                    row.first_col,
                    row.feature.to_string(),
                    row.told.to_string(),
                    row.first_run,
                    row.last_run,
                    row.epsg,
                    blob(&row.pixels)
                ])?;
        }
        for row in run.state.sites.values() {
            transaction
                .prepare(
                    "INSERT OR REPLACE INTO sites (site_id, area_id, revision, state, feature, last_run)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    row.site_id,
                    row.area_id,
                    signed(row.revision)?,
                    row.state,
                    row.feature.to_string(),
                    row.last_run
                ])?;
        }
        for row in run.state.assessments.values() {
            transaction
                .prepare(
                    "INSERT OR REPLACE INTO assessments (subject, revision, verdict, row, last_run)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    row.subject,
                    signed(row.revision)?,
                    row.verdict,
                    row.row.to_string(),
                    row.last_run
                ])?;
        }
        for event in run.events {
            transaction
                .prepare(
                    "INSERT INTO events (event_id, run_id, subject, revision, type, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    event.id(),
                    run.run_id,
                    event.subject,
                    signed(event.revision)?,
                    event.event_type.name(),
                    event.to_json()?
                ])?;
        }
        let by_source = run
            .watermarks
            .iter()
            .flat_map(|(area_id, sources)| sources.iter().map(move |source| (area_id, source)));
        for (area_id, (source, until)) in by_source {
            transaction.execute(
                "INSERT OR REPLACE INTO watermarks (area_id, source, published_until) VALUES (?1, ?2, ?3)",
                params![area_id, source, format_time(*until)],
            )?;
        }
        transaction.execute("DELETE FROM pending", [])?;
        Ok(transaction.commit()?)
    }

    /// Copies the ledger as it is at this moment into a new file, while runs may go on.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub(crate) fn copy_to(&self, path: &Path) -> Result<()> {
        let mut copy = Connection::open(path)?;
        let backup = rusqlite::backup::Backup::new(&self.connection, &mut copy)?;
        // All pages at once: a writer waits the little while, and no copy starts over.
        backup.run_to_completion(i32::MAX, Duration::from_millis(50), None)?;
        drop(backup);
        // One file without a log beside it.
        copy.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
        copy.close().map_err(|(_, error)| error)?;
        Ok(())
    }

    /// Everything that SQLite can check: pages, indexes, foreign keys.
    ///
    /// # Errors
    ///
    /// With what is wrong.
    pub(crate) fn check_fully(&self) -> Result<()> {
        let mut statement = self.connection.prepare("PRAGMA integrity_check(5)")?;
        let said = statement.query_map([], |row| row.get::<_, String>(0))?;
        let said = said.collect::<rusqlite::Result<Vec<_>>>()?;
        if said != ["ok"] {
            bail!("{}", said.join("; "));
        }
        let mut statement = self.connection.prepare("PRAGMA foreign_key_check")?;
        let orphans = statement.query_map([], |row| row.get::<_, String>(0))?;
        let orphans = orphans.collect::<rusqlite::Result<Vec<_>>>()?;
        if let Some(table) = orphans.first() {
            bail!(
                "{} rows name a row that is not there, the first in the table {table}",
                orphans.len()
            );
        }
        Ok(())
    }
}

/// Gives alerts the reviews of the ledger.
pub(crate) fn apply_reviews(reviews: &BTreeMap<String, Review>, alerts: &mut [Alert]) {
    for alert in alerts {
        if let Some(&review) = reviews.get(&alert.alert_id) {
            alert.review = review;
        }
    }
}

/// The reviews of areas as text, for the name of a run; empty if there are none.
pub(crate) fn named_reviews<'a>(
    reviews: &BTreeMap<String, Review>,
    area_ids: impl Iterator<Item = &'a str> + Clone,
) -> String {
    reviews
        .iter()
        .filter(|(alert_id, _)| {
            area_ids.clone().any(|area| {
                alert_id
                    .strip_prefix(area)
                    .is_some_and(|rest| rest.starts_with('-'))
            })
        })
        .map(|(alert_id, review)| format!("\nreview {alert_id} {review:?}"))
        .collect()
}

fn known_run(row: &Row<'_>) -> rusqlite::Result<KnownRun> {
    Ok(KnownRun {
        run_id: row.get(0)?,
        previous_run: row.get(1)?,
        manifest_sha256: row.get(2)?,
    })
}

fn alert_row(row: &Row<'_>) -> rusqlite::Result<AlertRow> {
    let standing: String = row.get(3)?;
    let alert_datetime: String = row.get(4)?;
    Ok(AlertRow {
        alert_id: row.get(0)?,
        area_id: row.get(1)?,
        revision: unsigned(row, 2)?,
        standing: Standing::from_name(&standing).ok_or_else(|| unreadable(3, "a standing"))?,
        alert_datetime: parse_time(&alert_datetime).map_err(|_| unreadable(4, "a time"))?,
        first_row: row.get(5)?,
        first_col: row.get(6)?,
        feature: json_at(row, 7)?,
        told: json_at(row, 8)?,
        first_run: row.get(9)?,
        last_run: row.get(10)?,
        epsg: row.get(11)?,
        pixels: pixels(&row.get::<_, Option<Vec<u8>>>(12)?.unwrap_or_default())
            .ok_or_else(|| unreadable(12, "pixels"))?,
    })
}

/// Column `pixels` of an alert, as `ledger.v3.sql` says.
fn blob(pixels: &[(LatticePixel, Day)]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(pixels.len() * PIXEL_BYTES);
    for (at, day) in pixels {
        // A place that no 32 bits hold lies on no planet's lattice; without pixels its outline stands for it.
        bytes.extend(i32::try_from(at.row).ok()?.to_le_bytes());
        bytes.extend(i32::try_from(at.col).ok()?.to_le_bytes());
        bytes.extend(day.0.to_le_bytes());
    }
    Some(bytes)
}

/// `None` if the bytes are not whole pixels.
fn pixels(bytes: &[u8]) -> Option<Vec<(LatticePixel, Day)>> {
    let (pixels, rest) = bytes.as_chunks::<PIXEL_BYTES>();
    let value = |pixel: &[u8; PIXEL_BYTES], at: usize| {
        i32::from_le_bytes([pixel[at], pixel[at + 1], pixel[at + 2], pixel[at + 3]])
    };
    rest.is_empty().then(|| {
        let pixel = |pixel| {
            let (row, col) = (value(pixel, 0).into(), value(pixel, 4).into());
            (LatticePixel { row, col }, Day(value(pixel, 8)))
        };
        pixels.iter().map(pixel).collect()
    })
}

fn json_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Value> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|_| unreadable(column, "JSON"))
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| unreadable(column, "a count"))
}

fn signed(revision: u64) -> Result<i64> {
    i64::try_from(revision).context("a revision is too large")
}

fn unreadable(column: usize, what: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        column,
        Type::Text,
        format!("the ledger holds something that is not {what}").into(),
    )
}
