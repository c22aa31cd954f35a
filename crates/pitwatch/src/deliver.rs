//! Pushes events to endpoints: at least once, each subject's in order, over as many starts of the program as it takes.
//!
//! An event is pending for an endpoint until an attempt succeeded or the last one failed. The result of each attempt is on
//! the disk before the next begins, so whoever stops the program loses no event; the one that was on its way is sent
//! again, with the same id. Later events of a subject wait for the earlier ones.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use chrono::TimeDelta;
use pitwatch_grid::{UtcTime, format_time, parse_time};
use pitwatch_report::EventType;
use pitwatch_scenes::net::{Limits, Net, NetError, Receipt, Remote, Signing};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;

use crate::exit::Problem;
use crate::ledger::Ledger;
use crate::progress::Progress;
use crate::public;
use crate::publish;
use crate::webhook::{self, Endpoint, Feed, Signer};

/// Seconds before each attempt, counted from the failure of the one before: about three days in all.
///
/// Source: Standard Webhooks 1.0.0, "Deliverability and reliability", the example of a schedule.
const SCHEDULE_SECONDS: [u32; 10] = [
    0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400,
];
/// A pause is longer or shorter by up to this share, so that what failed together does not come back together.
const JITTER: f64 = 0.2;
/// `Retry-After` is obeyed up to this: a receiver that asks for more is asked again the next day.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);
/// Failures in a row after which an endpoint is left alone until the next start.
const MAX_FAILURES_IN_A_ROW: u32 = 3;

/// What became of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Delivered {
    pub(crate) endpoint: String,
    pub(crate) feed: String,
    /// Delivered by this start.
    pub(crate) n_delivered: u64,
    /// Attempts of this start that failed.
    pub(crate) n_failed: u64,
    /// Not delivered yet, after this start.
    pub(crate) n_pending: u64,
    /// Given up, by this start or before.
    pub(crate) n_dead: u64,
    /// When the next attempt is due.
    pub(crate) next_at: Option<String>,
    /// Why nothing is sent to it.
    pub(crate) disabled_reason: Option<String>,
    pub(crate) last_error: Option<String>,
}

impl Delivered {
    /// True if nothing is left to do.
    pub(crate) fn is_done(&self) -> bool {
        self.n_pending == 0 && self.n_dead == 0
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = format!(
            "{} ({}): {} delivered, {} failed, {} pending, {} dead",
            self.endpoint, self.feed, self.n_delivered, self.n_failed, self.n_pending, self.n_dead
        );
        if let Some(reason) = &self.disabled_reason {
            text +=
                &format!("; disabled: {reason}; `pitwatch alerts enable` lets it be asked again");
        } else if let Some(next_at) = &self.next_at {
            text += &format!("; next attempt at {next_at}");
        }
        if let Some(error) = self.last_error.as_ref().filter(|_| !self.is_done()) {
            text += &format!("; last error: {error}");
        }
        text
    }
}

/// Holds the deliveries of an output folder; runs go on meanwhile.
fn lock(out: &Path) -> Result<File> {
    let path = out.join(".deliver.lock");
    let file = File::create(&path)
        .with_context(|| {
            format!(
                "cannot write {}: is {} a folder that runs publish into?",
                path.display(),
                out.display()
            )
        })
        .context(Problem::Configuration)?;
    file.try_lock()
        .map_err(|_| {
            anyhow!(
                "{} is held by another delivery; wait for it",
                path.display()
            )
        })
        .context(Problem::Locked)?;
    Ok(file)
}

/// Sends to each endpoint what is due.
///
/// # Errors
///
/// If the file of endpoints or a secret cannot be used, another delivery holds the folder, or the ledger cannot be written.
/// That an endpoint fails is no error.
pub(crate) fn deliver(out: &Path, file: &Path, progress: Progress) -> Result<Vec<Delivered>> {
    let endpoints = webhook::read(file)?;
    let signers = endpoints
        .iter()
        .map(Endpoint::signer)
        .collect::<Result<Vec<_>>>()?;
    let _lock = lock(out)?;
    let mut ledger = Ledger::open_existing(&Ledger::path(out))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the network")?;
    let net = Net::new(Limits::default());
    let mut delivered = Vec::new();
    for (endpoint, signer) in endpoints.iter().zip(&signers) {
        let mut courier = Courier {
            out,
            endpoint,
            signer,
            connection: ledger.connection(),
            runtime: &runtime,
            remote: net.remote(endpoint.access(), Signing::none())?,
            progress,
            n_delivered: 0,
            n_failed: 0,
        };
        courier.take_up()?;
        courier.send()?;
        delivered.push(courier.state()?);
    }
    Ok(delivered)
}

/// Delivers to one endpoint.
struct Courier<'a> {
    out: &'a Path,
    endpoint: &'a Endpoint,
    signer: &'a Signer,
    connection: &'a mut Connection,
    runtime: &'a Runtime,
    remote: Remote,
    progress: Progress,
    n_delivered: u64,
    n_failed: u64,
}

/// An event that is pending.
struct Due {
    event_id: String,
    seq: i64,
    subject: String,
    /// Attempts made so far.
    attempt: u32,
    next_at: Option<String>,
}

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Attempt {
    status: Option<u16>,
    verdict: Verdict,
    message: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Delivered,
    /// Failed; the next attempt comes at this time.
    Failed(UtcTime),
    /// Failed, and it was the last attempt.
    Dead,
    /// The endpoint is gone (410).
    Disabled,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed(_) => "failed",
            Self::Dead => "dead",
            Self::Disabled => "disabled",
        }
    }
}

impl Courier<'_> {
    /// Makes the events beyond the endpoint's cursor pending, those that it wants.
    fn take_up(&mut self) -> Result<()> {
        let name = &self.endpoint.name;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            "INSERT INTO endpoints (name) VALUES (?1) ON CONFLICT DO NOTHING",
            [name],
        )?;
        let cursor: i64 = transaction.query_row(
            "SELECT cursor FROM endpoints WHERE name = ?1",
            [name],
            |row| row.get(0),
        )?;
        let new: Vec<(i64, String, String, String)> = transaction
            .prepare("SELECT seq, event_id, type, run_id FROM events WHERE seq > ?1 ORDER BY seq")?
            .query_map([cursor], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        let Some((newest, ..)) = new.last() else {
            return Ok(());
        };
        let newest = *newest;
        let now = format_time(publish::now());
        for (_, event_id, event_type, run_id) in &new {
            let is_wanted = self.endpoint.wants(event_type)
                && (self.endpoint.feed == Feed::Group || public::path(self.out, run_id).is_file());
            if is_wanted {
                transaction.execute(
                    "INSERT INTO deliveries (event_id, endpoint, state, next_at) VALUES (?1, ?2, 'pending', ?3)
                     ON CONFLICT DO NOTHING",
                    params![event_id, name, now],
                )?;
            }
        }
        transaction.execute(
            "UPDATE endpoints SET cursor = ?2 WHERE name = ?1",
            params![name, newest],
        )?;
        Ok(transaction.commit()?)
    }

    fn pending(&self) -> Result<Vec<Due>> {
        let mut statement = self.connection.prepare(
            "SELECT d.event_id, e.seq, e.subject, d.attempt, d.next_at FROM deliveries d
             JOIN events e ON e.event_id = d.event_id
             WHERE d.endpoint = ?1 AND d.state = 'pending' ORDER BY e.seq",
        )?;
        let is_public = self.endpoint.feed == Feed::Public;
        let rows = statement.query_map([&self.endpoint.name], |row| {
            Ok(Due {
                event_id: row.get(0)?,
                seq: row.get(1)?,
                // All that a public endpoint gets is about one thing.
                subject: if is_public {
                    String::new()
                } else {
                    row.get(2)?
                },
                attempt: row.get(3)?,
                next_at: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn disabled_reason(&self) -> Result<Option<String>> {
        Ok(self
            .connection
            .query_row(
                "SELECT coalesce(disabled_reason, 'no reason is known') FROM endpoints WHERE name = ?1 AND disabled = 1",
                [&self.endpoint.name],
                |row| row.get(0),
            )
            .optional()?)
    }

    /// Sends what is due, in the order of the ledger; what waits for an earlier event of its subject is not due.
    fn send(&mut self) -> Result<()> {
        if self.disabled_reason()?.is_some() {
            return Ok(());
        }
        let mut waiting = BTreeSet::new();
        let mut n_in_a_row = 0;
        for due in self.pending()? {
            if waiting.contains(&due.subject) {
                continue;
            }
            if !is_due(due.next_at.as_deref(), publish::now()) {
                waiting.insert(due.subject);
                continue;
            }
            let (attempt, asks_for_rest) = self.attempt(&due)?;
            publish::crash_at("sent");
            self.record(&due, &attempt)?;
            publish::crash_at("recorded");
            match attempt.verdict {
                Verdict::Delivered => {
                    n_in_a_row = 0;
                    self.n_delivered += 1;
                    continue;
                }
                Verdict::Dead => {}
                Verdict::Failed(_) => {
                    waiting.insert(due.subject.clone());
                }
                Verdict::Disabled => {}
            }
            self.n_failed += 1;
            n_in_a_row += 1;
            self.progress.warn(&format!(
                "endpoint {}: event {} (seq {}), attempt {}: {}",
                self.endpoint.name,
                due.event_id,
                due.seq,
                due.attempt + 1,
                attempt.message.as_deref().unwrap_or("failed")
            ));
            if attempt.verdict == Verdict::Disabled
                || asks_for_rest
                || n_in_a_row >= MAX_FAILURES_IN_A_ROW
            {
                break;
            }
        }
        Ok(())
    }

    /// Makes one attempt; true beside it if the receiver asks to be left alone.
    fn attempt(&mut self, due: &Due) -> Result<(Attempt, bool)> {
        let (id, body) = match self.message(due)? {
            Ok(message) => message,
            Err(why) => {
                let attempt = Attempt {
                    status: None,
                    verdict: Verdict::Dead,
                    message: Some(why),
                };
                return Ok((attempt, false));
            }
        };
        let body = body.into_bytes();
        let now = publish::now();
        let signed = self.signer.headers(&id, now.timestamp(), &body)?;
        let mut headers = vec![("content-type", "application/cloudevents+json".to_owned())];
        headers.extend(signed);
        let answer = self.runtime.block_on(self.remote.hand_over(
            self.endpoint.url.as_str(),
            &headers,
            body,
            self.endpoint.timeout,
        ));
        let retry_after = answer.as_ref().ok().and_then(|receipt| receipt.retry_after);
        let attempt = judge(&due.event_id, due.attempt, &answer, publish::now());
        let is_failure = matches!(attempt.verdict, Verdict::Failed(_) | Verdict::Dead);
        Ok((attempt, is_failure && retry_after.is_some()))
    }

    /// Id and body of what is sent, or why there is nothing to send.
    fn message(&self, due: &Due) -> Result<std::result::Result<(String, String), String>> {
        let (run_id, body): (String, String) = self.connection.query_row(
            "SELECT run_id, body FROM events WHERE event_id = ?1",
            [&due.event_id],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        if self.endpoint.feed == Feed::Group {
            return Ok(Ok((due.event_id.clone(), body)));
        }
        let revision: i64 = self.connection.query_row(
            "SELECT count(*) FROM events WHERE type = ?1 AND seq <= ?2",
            params![EventType::RunCompleted.name(), due.seq],
            |row| row.get(0),
        )?;
        Ok(
            public::event(self.out, &run_id, &body, revision.unsigned_abs())
                .map_err(|error| format!("{error:#}")),
        )
    }

    /// Writes what an attempt came to, all or nothing, to the disk.
    fn record(&mut self, due: &Due, attempt: &Attempt) -> Result<()> {
        let name = &self.endpoint.name;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            "INSERT INTO attempts (attempted_at, endpoint, event_id, attempt, status, outcome, message)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                format_time(publish::now()),
                name,
                due.event_id,
                due.attempt + 1,
                attempt.status,
                attempt.verdict.name(),
                attempt.message
            ],
        )?;
        let (state, n_attempts, next_at) = match attempt.verdict {
            Verdict::Delivered => ("delivered", due.attempt + 1, None),
            Verdict::Failed(next_at) => ("pending", due.attempt + 1, Some(format_time(next_at))),
            Verdict::Dead => ("dead", due.attempt + 1, None),
            // Nothing is wrong with the event: it is sent when the endpoint is enabled.
            Verdict::Disabled => ("pending", due.attempt, due.next_at.clone()),
        };
        transaction.execute(
            "UPDATE deliveries SET state = ?3, attempt = ?4, next_at = ?5, last_error = ?6
             WHERE endpoint = ?1 AND event_id = ?2",
            params![
                name,
                due.event_id,
                state,
                n_attempts,
                next_at,
                attempt.message
            ],
        )?;
        if attempt.verdict == Verdict::Disabled {
            transaction.execute(
                "UPDATE endpoints SET disabled = 1, disabled_reason = ?2 WHERE name = ?1",
                params![name, attempt.message],
            )?;
        }
        transaction
            .commit()
            .context("cannot write the ledger; what was sent last will be sent again")
    }

    fn state(&self) -> Result<Delivered> {
        let name = &self.endpoint.name;
        let (n_pending, n_dead, next_at): (i64, i64, Option<String>) = self.connection.query_row(
            "SELECT count(*) FILTER (WHERE state = 'pending'), count(*) FILTER (WHERE state = 'dead'),
             min(next_at) FILTER (WHERE state = 'pending') FROM deliveries WHERE endpoint = ?1",
            [name],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        let last_error = self
            .connection
            .query_row(
                "SELECT message FROM attempts WHERE endpoint = ?1 AND message IS NOT NULL ORDER BY id DESC LIMIT 1",
                [name],
                |row| row.get(0),
            )
            .optional()?;
        Ok(Delivered {
            endpoint: name.clone(),
            feed: self.endpoint.feed.to_string(),
            n_delivered: self.n_delivered,
            n_failed: self.n_failed,
            n_pending: n_pending.unsigned_abs(),
            n_dead: n_dead.unsigned_abs(),
            next_at,
            disabled_reason: self.disabled_reason()?,
            last_error,
        })
    }
}

/// A time that cannot be read is due: better once too early than never.
fn is_due(next_at: Option<&str>, now: UtcTime) -> bool {
    next_at
        .and_then(|text| parse_time(text).ok())
        .is_none_or(|next_at| next_at <= now)
}

/// What an answer means; `n_before` attempts were made before this one.
fn judge(
    event_id: &str,
    n_before: u32,
    answer: &std::result::Result<Receipt, NetError>,
    now: UtcTime,
) -> Attempt {
    let (status, message, retry_after) = match answer {
        Ok(receipt) if (200..300).contains(&receipt.status) => {
            return Attempt {
                status: Some(receipt.status),
                verdict: Verdict::Delivered,
                message: None,
            };
        }
        Ok(receipt) if receipt.status == 410 => {
            return Attempt {
                status: Some(receipt.status),
                verdict: Verdict::Disabled,
                message: Some("the endpoint is gone (410)".to_owned()),
            };
        }
        Ok(receipt) => {
            let what = match receipt.status {
                300..400 => {
                    "a redirect, which is not followed: write the new address into the file of endpoints"
                }
                400..500 => "the receiver refuses it",
                _ => "the receiver failed",
            };
            (
                Some(receipt.status),
                format!("{what} ({})", receipt.status),
                receipt.retry_after,
            )
        }
        Err(error) => (error.status, error.message.clone(), None),
    };
    let verdict = match pause_before(event_id, n_before + 1) {
        None => Verdict::Dead,
        Some(pause) => {
            let pause = pause.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER));
            let pause = TimeDelta::from_std(pause).unwrap_or(TimeDelta::MAX);
            now.checked_add_signed(pause)
                .map_or(Verdict::Dead, Verdict::Failed)
        }
    };
    Attempt {
        status,
        verdict,
        message: Some(message),
    }
}

/// The pause before an attempt, the first being number 0; `None` if the schedule has no such attempt.
///
/// The jitter is drawn from a hash of event and attempt: the same event has the same schedule wherever it is computed.
fn pause_before(event_id: &str, attempt: u32) -> Option<Duration> {
    let seconds = f64::from(*SCHEDULE_SECONDS.get(attempt as usize)?);
    let hash = Sha256::digest(format!("{event_id}/{attempt}"));
    let drawn = hash
        .iter()
        .take(4)
        .fold(0, |drawn, &byte| drawn << 8 | u32::from(byte));
    let share = f64::from(drawn) / f64::from(u32::MAX);
    Some(Duration::from_secs_f64(
        seconds * (1.0 + JITTER * (2.0 * share - 1.0)),
    ))
}

/// Which events an endpoint gets again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replay {
    /// Those that were given up.
    Dead,
    /// All from this seq on.
    From(i64),
}

/// Makes events pending again for an endpoint, with their ids, and returns how many.
///
/// # Errors
///
/// If the endpoint is not known, or a delivery is going on.
pub(crate) fn replay(out: &Path, endpoint: &str, what: Replay, person: &str) -> Result<u64> {
    let _lock = lock(out)?;
    let mut ledger = Ledger::open_existing(&Ledger::path(out))?;
    let transaction = ledger
        .connection()
        .transaction_with_behavior(TransactionBehavior::Immediate)?;
    known_endpoint(&transaction, endpoint)?;
    let now = format_time(publish::now());
    let n = match what {
        Replay::Dead => transaction.execute(
            "UPDATE deliveries SET state = 'pending', attempt = 0, next_at = ?2 WHERE endpoint = ?1 AND state = 'dead'",
            params![endpoint, now],
        )?,
        Replay::From(seq) => {
            // Taken up anew by the next delivery, by what the file of endpoints then says.
            transaction.execute(
                "DELETE FROM deliveries WHERE endpoint = ?1 AND event_id IN (SELECT event_id FROM events WHERE seq >= ?2)",
                params![endpoint, seq],
            )?;
            transaction.execute(
                "UPDATE endpoints SET cursor = min(cursor, ?2 - 1) WHERE name = ?1",
                params![endpoint, seq],
            )?;
            let n: i64 = transaction.query_row(
                "SELECT count(*) FROM events WHERE seq >= ?1",
                [seq],
                |row| row.get(0),
            )?;
            usize::try_from(n)?
        }
    };
    log_access(&transaction, person, "replay", endpoint, n)?;
    transaction.commit()?;
    Ok(n as u64)
}

/// Lets an endpoint be asked again that said it was gone.
///
/// # Errors
///
/// If the endpoint is not known, or a delivery is going on.
pub(crate) fn enable(out: &Path, endpoint: &str, person: &str) -> Result<()> {
    let _lock = lock(out)?;
    let mut ledger = Ledger::open_existing(&Ledger::path(out))?;
    let transaction = ledger
        .connection()
        .transaction_with_behavior(TransactionBehavior::Immediate)?;
    known_endpoint(&transaction, endpoint)?;
    transaction.execute(
        "UPDATE endpoints SET disabled = 0, disabled_reason = NULL WHERE name = ?1",
        [endpoint],
    )?;
    log_access(&transaction, person, "enable", endpoint, 0)?;
    Ok(transaction.commit()?)
}

fn known_endpoint(connection: &Connection, endpoint: &str) -> Result<()> {
    let names: Vec<String> = connection
        .prepare("SELECT name FROM endpoints ORDER BY name")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    if names.iter().any(|name| name == endpoint) {
        return Ok(());
    }
    Err(anyhow!(
        "nothing was ever sent to an endpoint {endpoint:?}; known are: {}",
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    ))
    .context(Problem::Configuration)
}

/// Notes who got exact places, or decided who gets them.
pub(crate) fn log_access(
    connection: &Connection,
    person: &str,
    action: &str,
    object: &str,
    n: usize,
) -> Result<()> {
    connection.execute(
        "INSERT INTO accesses (accessed_at, person, action, object, n) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            format_time(publish::now()),
            person,
            action,
            object,
            i64::try_from(n)?
        ],
    )?;
    Ok(())
}

/// A line of the log of attempts and accesses.
#[derive(Debug, Serialize)]
pub(crate) struct LogLine {
    pub(crate) at: String,
    /// The endpoint, or the person.
    pub(crate) who: String,
    /// `delivered`, `failed`, `dead`, `disabled`; or `export`, `replay`, `enable`.
    pub(crate) what: String,
    /// The event, the file or the endpoint.
    pub(crate) object: String,
    pub(crate) attempt: Option<u32>,
    pub(crate) status: Option<u16>,
    /// Alerts exported or events replayed.
    pub(crate) n: Option<i64>,
    pub(crate) message: Option<String>,
}

impl LogLine {
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{}  {}  {}  {}", self.at, self.who, self.what, self.object);
        if let Some(attempt) = self.attempt {
            text += &format!("  attempt {attempt}");
        }
        if let Some(status) = self.status {
            text += &format!("  {status}");
        }
        if let Some(n) = self.n {
            text += &format!("  {n}");
        }
        if let Some(message) = &self.message {
            text += &format!("  {message}");
        }
        text
    }
}

/// Who got what, and when, oldest first.
///
/// # Errors
///
/// If the folder has no ledger.
pub(crate) fn log(out: &Path) -> Result<Vec<LogLine>> {
    let mut ledger = Ledger::open_existing(&Ledger::path(out))?;
    let connection = ledger.connection();
    let mut statement = connection.prepare(
        "SELECT attempted_at AS at, endpoint, outcome, event_id, attempt, status, NULL, message, id, 0 AS kind FROM attempts
         UNION ALL SELECT accessed_at, person, action, object, NULL, NULL, n, NULL, id, 1 FROM accesses
         ORDER BY at, kind, id",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(LogLine {
            at: row.get(0)?,
            who: row.get(1)?,
            what: row.get(2)?,
            object: row.get(3)?,
            attempt: row.get(4)?,
            status: row.get(5)?,
            n: row.get(6)?,
            message: row.get(7)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UtcTime {
        parse_time(text).unwrap()
    }

    fn receipt(status: u16, retry_after: Option<u64>) -> std::result::Result<Receipt, NetError> {
        Ok(Receipt {
            status,
            retry_after: retry_after.map(Duration::from_secs),
        })
    }

    #[test]
    fn the_schedule_takes_about_three_days() {
        let sum: u32 = SCHEDULE_SECONDS.iter().sum();
        // 5 s + 5 min + 30 min + 2 h + 5 h + 10 h + 14 h + 20 h + 24 h.
        assert_eq!(sum, 5 + 35 * 60 + 75 * 3600);
        assert_eq!(pause_before("x", 0), Some(Duration::ZERO));
        assert_eq!(pause_before("x", 10), None);
    }

    #[test]
    fn a_pause_is_within_a_fifth_of_the_schedule_and_always_the_same() {
        let mut shares = Vec::new();
        for event in 0..200 {
            for attempt in 1..10 {
                let id = format!("event {event}");
                let pause = pause_before(&id, attempt).unwrap();
                assert_eq!(Some(pause), pause_before(&id, attempt));
                let share = pause.as_secs_f64() / f64::from(SCHEDULE_SECONDS[attempt as usize]);
                assert!((0.8..=1.2).contains(&share), "{share}");
                shares.push(share);
            }
        }
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        // A uniform draw of width 0.4 has a standard deviation of 0.115, its mean over 1800 one of 0.0027.
        assert!((mean - 1.0).abs() < 4.0 * 0.0027, "{mean}");
    }

    #[test]
    fn only_2xx_is_success_and_410_disables() {
        let now = at("2026-01-01T00:00:00Z");
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(
                judge("x", 0, &receipt(status, None), now).verdict,
                Verdict::Delivered
            );
        }
        assert_eq!(
            judge("x", 0, &receipt(410, None), now).verdict,
            Verdict::Disabled
        );
        for status in [199, 301, 302, 307, 400, 401, 404, 429, 500, 503] {
            let attempt = judge("x", 0, &receipt(status, None), now);
            assert!(matches!(attempt.verdict, Verdict::Failed(_)), "{status}");
            assert_eq!(attempt.status, Some(status));
            assert_eq!(
                judge("x", 8, &receipt(status, None), now).verdict,
                Verdict::Failed(now + TimeDelta::from_std(pause_before("x", 9).unwrap()).unwrap())
            );
            assert_eq!(
                judge("x", 9, &receipt(status, None), now).verdict,
                Verdict::Dead
            );
        }
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_pause_of_up_to_a_day() {
        let now = at("2026-01-01T00:00:00Z");
        let next = |asked| match judge("x", 0, &receipt(503, Some(asked)), now).verdict {
            Verdict::Failed(next) => (next - now).num_seconds(),
            other => panic!("{other:?}"),
        };
        assert_eq!(next(3600), 3600);
        assert_eq!(next(10_000_000), 86_400);
        // Not a shorter one: 5 s and a fifth.
        assert!((4..=6).contains(&next(0)));
    }

    #[test]
    fn a_time_that_cannot_be_read_is_due() {
        let now = at("2026-01-01T00:00:00Z");
        assert!(is_due(None, now) && is_due(Some("soon"), now));
        assert!(is_due(Some("2026-01-01T00:00:00Z"), now));
        assert!(!is_due(Some("2026-01-01T00:00:01Z"), now));
    }
}
