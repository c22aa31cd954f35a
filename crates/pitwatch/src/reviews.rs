//! What reviewers say of alerts: entered one by one, or edited in an exported layer and read back row by row.

use std::collections::BTreeMap;
use std::iter::Sum;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use pitwatch_grid::{UtcTime, format_time};
use pitwatch_sites::Review;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::deliver::log_access;
use crate::detectable;
use crate::exit::Problem;
use crate::ledger::Ledger;

/// The columns that a reviewer edits, and the one by which it is known what they had before them.
const COLUMNS: [&str; 5] = ["alert_id", "review", "reason", "reviewer", "review_id"];

/// How many alerts were reviewed, and what was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reviewed {
    pub(crate) n_confirmed: u64,
    pub(crate) n_dismissed: u64,
}

impl Reviewed {
    fn of<'a>(reviews: impl Iterator<Item = &'a Review>) -> Self {
        let mut reviewed = Self::default();
        for review in reviews {
            match review {
                Review::Confirmed => reviewed.n_confirmed += 1,
                Review::Dismissed => reviewed.n_dismissed += 1,
                Review::Unreviewed => {}
            }
        }
        reviewed
    }

    /// Of the alerts of one area; of each the review that holds.
    pub(crate) fn of_area(reviews: &BTreeMap<String, Review>, area_id: &str) -> Self {
        Self::of(reviews.iter().filter_map(|(alert_id, review)| {
            // As in the name of a run: an alert's name is its area's, '-' and more.
            let rest = alert_id.strip_prefix(area_id)?;
            rest.starts_with('-').then_some(review)
        }))
    }

    /// The share of reviewed alerts that were confirmed, with its interval of 90 % (Wilson); `None` if none is reviewed.
    pub(crate) fn precision(&self) -> Option<detectable::Interval> {
        let n = self.n_confirmed + self.n_dismissed;
        detectable::share(
            usize::try_from(self.n_confirmed).ok()?,
            usize::try_from(n).ok()?,
        )
    }

    pub(crate) fn to_text(self) -> String {
        match self.precision() {
            None => "cannot tell: no alert is reviewed".to_owned(),
            Some(share) => format!(
                "{:.2} ({:.2} to {:.2}, 90 %): {} of {} reviewed alerts are confirmed",
                share.value,
                share.lo,
                share.hi,
                self.n_confirmed,
                self.n_confirmed + self.n_dismissed
            ),
        }
    }
}

impl Sum for Reviewed {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            n_confirmed: sum.n_confirmed + one.n_confirmed,
            n_dismissed: sum.n_dismissed + one.n_dismissed,
        })
    }
}

impl Serialize for Reviewed {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let share = self.precision();
        let mut fields = serializer.serialize_struct("Reviewed", 5)?;
        fields.serialize_field("n_confirmed", &self.n_confirmed)?;
        fields.serialize_field("n_dismissed", &self.n_dismissed)?;
        fields.serialize_field("precision", &share.map(|share| share.value))?;
        fields.serialize_field("precision_lo", &share.map(|share| share.lo))?;
        fields.serialize_field("precision_hi", &share.map(|share| share.hi))?;
        fields.end()
    }
}

fn word(review: Review) -> &'static str {
    match review {
        Review::Unreviewed => "unreviewed",
        Review::Confirmed => "confirmed",
        Review::Dismissed => "dismissed",
    }
}

fn review_of(word: &str) -> Option<Review> {
    match word.to_ascii_lowercase().as_str() {
        "" | "unreviewed" => Some(Review::Unreviewed),
        "confirmed" => Some(Review::Confirmed),
        "dismissed" => Some(Review::Dismissed),
        _ => None,
    }
}

/// A review that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Held {
    #[serde(rename = "review_id")]
    pub(crate) id: i64,
    pub(crate) review: String,
    pub(crate) reason: String,
    pub(crate) reviewer: String,
    pub(crate) reviewed_at: String,
}

const HELD: &str = "SELECT id, review, reason, reviewer, reviewed_at FROM reviews WHERE alert_id = ?1 ORDER BY id DESC";

fn held_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Held> {
    Ok(Held {
        id: row.get(0)?,
        review: row.get(1)?,
        reason: row.get(2)?,
        reviewer: row.get(3)?,
        reviewed_at: row.get(4)?,
    })
}

fn held(connection: &Connection, alert_id: &str) -> Result<Option<Held>> {
    let mut statement = connection.prepare(HELD)?;
    Ok(statement.query_row([alert_id], held_row).optional()?)
}

fn is_alert(connection: &Connection, alert_id: &str) -> Result<bool> {
    let mut statement = connection.prepare("SELECT 1 FROM alerts WHERE alert_id = ?1")?;
    Ok(statement.exists([alert_id])?)
}

/// An alert as it is listed: no place.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Listed {
    pub(crate) alert_id: String,
    pub(crate) area_id: String,
    pub(crate) standing: String,
    pub(crate) kind: Value,
    pub(crate) cause: Value,
    pub(crate) area_ha: Value,
    pub(crate) alert_datetime: String,
    #[serde(flatten)]
    pub(crate) held: Option<Held>,
}

impl Listed {
    pub(crate) fn review(&self) -> &str {
        self.held.as_ref().map_or("unreviewed", |held| &held.review)
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = format!(
            "{}  {}  {}  {}  {} ha  {}",
            self.alert_id,
            self.standing,
            self.kind.as_str().unwrap_or("-"),
            self.alert_datetime.get(..10).unwrap_or_default(),
            self.area_ha,
            self.review()
        );
        if let Some(held) = &self.held {
            text += &format!("  by {} on {}", held.reviewer, held.reviewed_at);
            if !held.reason.is_empty() {
                text += &format!(": {}", held.reason);
            }
        }
        text
    }
}

/// All alerts that were ever published, by name, and what was said of all.
///
/// # Errors
///
/// If the folder has no ledger.
pub(crate) fn list(out: &Path) -> Result<(Vec<Listed>, Reviewed)> {
    let mut ledger = Ledger::open_existing(&Ledger::path(out))?;
    let reviewed = Reviewed::of(ledger.reviews()?.values());
    let connection = ledger.connection();
    let mut statement = connection.prepare(
        "SELECT alert_id, area_id, standing, alert_datetime, feature FROM alerts ORDER BY area_id, alert_id",
    )?;
    let rows = statement.query_map([], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get::<_, String>(4)?,
        ))
    })?;
    let mut listed = Vec::new();
    for row in rows {
        let (alert_id, area_id, standing, alert_datetime, feature) = row?;
        let feature = parsed(&feature)?;
        let property = |name: &str| feature["properties"][name].clone();
        listed.push(Listed {
            held: held(connection, &alert_id)?,
            kind: property("kind"),
            cause: property("cause"),
            area_ha: property("area_ha"),
            alert_id,
            area_id,
            standing,
            alert_datetime,
        });
    }
    Ok((listed, reviewed))
}

fn parsed(feature: &str) -> Result<Value> {
    serde_json::from_str(feature)
        .context("the ledger holds a feature that is not JSON")
        .context(Problem::InvalidOutput)
}

/// All that the ledger knows of an alert: feature, reviews, events.
///
/// # Errors
///
/// If there is no such alert.
pub(crate) fn show(out: &Path, alert_id: &str) -> Result<Value> {
    let mut ledger = Ledger::open_existing(&Ledger::path(out))?;
    let connection = ledger.connection();
    let found = connection
        .query_row(
            "SELECT standing, revision, first_run, last_run, feature FROM alerts WHERE alert_id = ?1",
            [alert_id],
            |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, String>(3)?,
                    row.get::<_, String>(4)?,
                ))
            },
        )
        .optional()?;
    let Some((standing, revision, first_run, last_run, feature)) = found else {
        return Err(no_alert(alert_id));
    };
    let reviews: Vec<Held> = connection
        .prepare(HELD)?
        .query_map([alert_id], held_row)?
        .collect::<rusqlite::Result<_>>()?;
    let events: Vec<Value> = connection
        .prepare("SELECT seq, revision, type, run_id, event_id FROM events WHERE subject = ?1 ORDER BY seq")?
        .query_map([alert_id], |row| {
            Ok(json!({
                "seq": row.get::<_, i64>(0)?,
                "revision": row.get::<_, i64>(1)?,
                "type": row.get::<_, String>(2)?,
                "run_id": row.get::<_, String>(3)?,
                "event_id": row.get::<_, String>(4)?,
            }))
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(json!({
        "alert_id": alert_id,
        "standing": standing,
        "revision": revision,
        "first_run": first_run,
        "last_run": last_run,
        "reviews": reviews,
        "events": events,
        "feature": parsed(&feature)?,
    }))
}

fn no_alert(alert_id: &str) -> anyhow::Error {
    anyhow!("there is no alert {alert_id:?}; `pitwatch alerts list` names them")
        .context(Problem::Configuration)
}

/// Enters one review for each of some alerts, or for none if one of them is not known.
///
/// # Errors
///
/// If an alert is not known, or a dismissal has no reason.
pub(crate) fn say(
    out: &Path,
    alert_ids: &[String],
    review: Review,
    reason: &str,
    reviewer: &str,
    now: UtcTime,
) -> Result<()> {
    if review == Review::Dismissed && reason.trim().is_empty() {
        return Err(anyhow!("a dismissal needs a reason; write --reason \"…\""))
            .context(Problem::Configuration);
    }
    let mut ledger = Ledger::open_existing(&Ledger::path(out))?;
    let transaction = ledger
        .connection()
        .transaction_with_behavior(TransactionBehavior::Immediate)?;
    for alert_id in alert_ids {
        if !is_alert(&transaction, alert_id)? {
            return Err(no_alert(alert_id));
        }
        enter(&transaction, alert_id, review, reason, reviewer, now)?;
    }
    Ok(transaction.commit()?)
}

fn enter(
    connection: &Connection,
    alert_id: &str,
    review: Review,
    reason: &str,
    reviewer: &str,
    now: UtcTime,
) -> Result<()> {
    connection.execute(
        "INSERT INTO reviews (alert_id, review, reason, reviewer, reviewed_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![alert_id, word(review), reason.trim(), reviewer.trim(), format_time(now)],
    )?;
    Ok(())
}

/// Makes the layer that reviewers edit, notes who took it, and returns its GeoJSON and the number of alerts.
///
/// All alerts that were ever published, with exact places. `review`, `reason` and `reviewer` are to be edited;
/// `review_id` says which review of the ledger was the newest, and stays.
///
/// # Errors
///
/// If the folder has no ledger.
pub(crate) fn export(out: &Path, person: &str, object: &str) -> Result<(String, usize)> {
    let mut ledger = Ledger::open_existing(&Ledger::path(out))?;
    let transaction = ledger
        .connection()
        .transaction_with_behavior(TransactionBehavior::Immediate)?;
    let rows: Vec<(String, String, String)> = transaction
        .prepare("SELECT alert_id, standing, feature FROM alerts ORDER BY area_id, alert_id")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut features = Vec::new();
    for (alert_id, standing, feature) in rows {
        let mut feature = parsed(&feature)?;
        let held = held(&transaction, &alert_id)?;
        if let Some(properties) = feature["properties"].as_object_mut() {
            let text = |get: fn(&Held) -> &String| {
                // Never null: readers would guess another type for an empty column.
                Value::from(held.as_ref().map(get).cloned().unwrap_or_default())
            };
            let review = text(|held| &held.review);
            let review = if review == "unreviewed" {
                "".into()
            } else {
                review
            };
            properties.insert("standing".into(), standing.into());
            properties.insert("review".into(), review);
            properties.insert("reason".into(), text(|held| &held.reason));
            properties.insert("reviewer".into(), text(|held| &held.reviewer));
            let id = held.as_ref().map_or(0, |held| held.id);
            properties.insert("review_id".into(), id.into());
        }
        features.push(feature.to_string());
    }
    log_access(&transaction, person, "export", object, features.len())?;
    transaction.commit()?;
    let text = format!(
        "{{\"type\":\"FeatureCollection\",\"name\":\"reviews\",\"features\":[\n{}\n]}}\n",
        features.join(",\n")
    );
    Ok((text, features.len()))
}

/// The style of the exported layer: that of alerts, with `review` as a choice and all other columns but three locked.
pub(crate) fn style() -> String {
    const FORM: &str = r#"<fieldConfiguration><field name="review"><editWidget type="ValueMap"><config><Option type="Map"><Option name="map" type="List"><Option type="Map"><Option name="not reviewed" type="QString" value=""/></Option><Option type="Map"><Option name="confirmed" type="QString" value="confirmed"/></Option><Option type="Map"><Option name="dismissed" type="QString" value="dismissed"/></Option></Option></Option></config></editWidget></field></fieldConfiguration><editable><field name="alert_id" editable="0"/><field name="review_id" editable="0"/><field name="review" editable="1"/><field name="reason" editable="1"/><field name="reviewer" editable="1"/></editable>"#;
    let style = pitwatch_report::alerts_qml();
    match style.rfind("</qgis>") {
        Some(end) => format!("{}{FORM}{}", &style[..end], &style[end..]),
        None => style,
    }
}

/// A row that was not taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Refused {
    /// `feature 3`, `line 4`.
    pub(crate) row: String,
    pub(crate) alert_id: String,
    pub(crate) column: String,
    /// What is unclear, and what to write.
    pub(crate) message: String,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Imported {
    pub(crate) n_imported: u64,
    /// Rows that say what the ledger has already.
    pub(crate) n_unchanged: u64,
    pub(crate) refused: Vec<Refused>,
}

/// A row of a file: where it stands, and its columns as text, empty where there is nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    place: String,
    values: BTreeMap<&'static str, String>,
}

impl Row {
    fn get(&self, column: &'static str) -> &str {
        self.values.get(column).map_or("", String::as_str)
    }
}

/// Reads a file of reviews, and enters each row that is clear.
///
/// # Errors
///
/// If the file cannot be read at all. A row that is unclear is refused, and is no error.
pub(crate) fn import(out: &Path, file: &Path, now: UtcTime) -> Result<Imported> {
    let rows = std::fs::read_to_string(file)
        .context("cannot read the file of reviews")
        .and_then(|text| rows(&text))
        .with_context(|| file.display().to_string())
        .context(Problem::Configuration)?;
    let mut ledger = Ledger::open_existing(&Ledger::path(out))?;
    let transaction = ledger
        .connection()
        .transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut imported = Imported::default();
    let mut seen: BTreeMap<&str, &Row> = BTreeMap::new();
    for row in &rows {
        let alert_id = row.get("alert_id");
        let first = *seen.entry(alert_id).or_insert(row);
        let judged = if !std::ptr::eq(first, row) && first.values == row.values {
            Ok(None)
        } else if !std::ptr::eq(first, row) && !alert_id.is_empty() {
            Err((
                "alert_id",
                format!(
                    "{} is about the same alert and says something else; leave one of them",
                    first.place
                ),
            ))
        } else {
            let is_known = is_alert(&transaction, alert_id)?;
            judge(row, is_known, held(&transaction, alert_id)?.as_ref())
        };
        match judged {
            Ok(None) => imported.n_unchanged += 1,
            Ok(Some(review)) => {
                enter(
                    &transaction,
                    alert_id,
                    review,
                    row.get("reason"),
                    row.get("reviewer"),
                    now,
                )?;
                imported.n_imported += 1;
            }
            Err((column, message)) => imported.refused.push(Refused {
                row: row.place.clone(),
                alert_id: alert_id.to_owned(),
                column: column.to_owned(),
                message,
            }),
        }
    }
    transaction.commit()?;
    Ok(imported)
}

/// What a row says of its alert; `None` if the ledger has it already. The error names the column and what to write.
fn judge(
    row: &Row,
    is_known: bool,
    held: Option<&Held>,
) -> std::result::Result<Option<Review>, (&'static str, String)> {
    let refuse = |column, message: &str| Err((column, message.to_owned()));
    if row.get("alert_id").is_empty() {
        return refuse(
            "alert_id",
            "is empty; write the alert's name, or remove the row",
        );
    }
    if !is_known {
        return refuse(
            "alert_id",
            "there is no such alert; `pitwatch alerts list` names them",
        );
    }
    let (reason, reviewer) = (row.get("reason"), row.get("reviewer"));
    let Some(review) = review_of(row.get("review")) else {
        return Err((
            "review",
            format!(
                "{:?} is no review; write confirmed, dismissed or nothing",
                row.get("review")
            ),
        ));
    };
    let is_said = match held {
        None => review == Review::Unreviewed && reason.is_empty() && reviewer.is_empty(),
        Some(held) => {
            held.review == word(review) && held.reason == reason && held.reviewer == reviewer
        }
    };
    if is_said {
        return Ok(None);
    }
    if review == Review::Unreviewed && held.is_none_or(|held| held.review == "unreviewed") {
        return refuse(
            "review",
            "is empty, but reason or reviewer is not; write confirmed or dismissed, or empty all three",
        );
    }
    if reviewer.is_empty() {
        return refuse("reviewer", "is empty; write who reviewed it");
    }
    if review == Review::Dismissed && reason.is_empty() {
        return refuse("reason", "is empty; a dismissal needs one");
    }
    let base = row.get("review_id");
    let base = match (base, held) {
        ("", None) => 0,
        ("", Some(held)) => {
            return Err((
                "review_id",
                format!(
                    "is not there, and {} reviewed the alert on {} ({}); export again and edit that file",
                    held.reviewer, held.reviewed_at, held.review
                ),
            ));
        }
        (text, _) => match text.parse::<f64>() {
            Ok(number) if number >= 0.0 && number.fract() == 0.0 => number as i64,
            _ => {
                return Err((
                    "review_id",
                    format!("{text:?} is not what was exported; leave this column as it is"),
                ));
            }
        },
    };
    match held {
        Some(held) if held.id != base => Err((
            "review",
            format!(
                "{} reviewed the alert on {} ({}), after this file was exported; export again and decide",
                held.reviewer, held.reviewed_at, held.review
            ),
        )),
        None if base != 0 => Err((
            "review_id",
            "is not of this ledger; export from this folder and edit that file".to_owned(),
        )),
        _ => Ok(Some(review)),
    }
}

/// The rows of a GeoJSON file or a table with a header.
fn rows(text: &str) -> Result<Vec<Row>> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{') {
        features(text)
    } else {
        records(text)
    }
}

fn features(text: &str) -> Result<Vec<Row>> {
    let json: Value = serde_json::from_str(text).context("is not JSON")?;
    let Some(features) = json["features"].as_array() else {
        bail!("is no FeatureCollection; give the file that `pitwatch alerts export` wrote, edited");
    };
    let empty = Map::new();
    let rows = features.iter().enumerate().map(|(index, feature)| {
        let properties = feature["properties"].as_object().unwrap_or(&empty);
        let values = COLUMNS.map(|column| {
            let text = match properties.get(column) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.trim().to_owned(),
                Some(other) => other.to_string(),
            };
            (column, text)
        });
        Row {
            place: format!("feature {}", index + 1),
            values: values.into(),
        }
    });
    Ok(rows.collect())
}

fn records(text: &str) -> Result<Vec<Row>> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let header = reader.headers()?.clone();
    let place_of = |column: &str| header.iter().position(|name| name == column);
    for column in COLUMNS {
        // Without review_id only alerts that nobody reviewed yet can be reviewed, and the row says so.
        if place_of(column).is_none() && column != "review_id" {
            bail!(
                "has no column {column}; write a header with alert_id, review, reason, reviewer, or give the edited GeoJSON"
            );
        }
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        let values = COLUMNS.map(|column| {
            let value = place_of(column).and_then(|place| record.get(place));
            (column, value.unwrap_or_default().to_owned())
        });
        rows.push(Row {
            place: format!("line {line}"),
            values: values.into(),
        });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(review: &str, reason: &str, reviewer: &str, review_id: &str) -> Row {
        let values = [
            ("alert_id", "a-1"),
            ("review", review),
            ("reason", reason),
            ("reviewer", reviewer),
            ("review_id", review_id),
        ];
        Row {
            place: "feature 1".into(),
            values: values
                .map(|(column, text)| (column, text.to_owned()))
                .into(),
        }
    }

    fn held(id: i64, review: &str) -> Held {
        Held {
            id,
            review: review.into(),
            reason: "seen".into(),
            reviewer: "ada".into(),
            reviewed_at: "2026-01-01T00:00:00Z".into(),
        }
    }

    #[test]
    fn a_clear_row_is_taken_over() {
        let confirmed = held(4, "confirmed");
        for (row, held, expected) in [
            (
                row("confirmed", "", "ada", "0"),
                None,
                Some(Review::Confirmed),
            ),
            (
                row("Dismissed", "a field", "ada", ""),
                None,
                Some(Review::Dismissed),
            ),
            (row("", "", "", "0"), None, None),
            (row("confirmed", "seen", "ada", "4"), Some(&confirmed), None),
            // The file is old, and says what the ledger has.
            (row("confirmed", "seen", "ada", "3"), Some(&confirmed), None),
            (
                row("dismissed", "a field", "bob", "4"),
                Some(&confirmed),
                Some(Review::Dismissed),
            ),
            (
                row("", "seen", "ada", "4.0"),
                Some(&confirmed),
                Some(Review::Unreviewed),
            ),
        ] {
            assert_eq!(judge(&row, true, held), Ok(expected), "{row:?}");
        }
    }

    #[test]
    fn an_unclear_row_is_refused_by_its_column() {
        let confirmed = held(4, "confirmed");
        for (row, is_known, held, column) in [
            (row("confirmed", "", "ada", "0"), false, None, "alert_id"),
            (row("maybe", "", "ada", "0"), true, None, "review"),
            (row("dismissed", "", "ada", "0"), true, None, "reason"),
            (row("dismissed", "a field", "", "0"), true, None, "reviewer"),
            (row("", "a field", "", "0"), true, None, "review"),
            (row("confirmed", "", "ada", "7"), true, None, "review_id"),
            (row("confirmed", "", "ada", "four"), true, None, "review_id"),
            (
                row("dismissed", "a field", "bob", "3"),
                true,
                Some(&confirmed),
                "review",
            ),
            (
                row("dismissed", "a field", "bob", ""),
                true,
                Some(&confirmed),
                "review_id",
            ),
        ] {
            assert_eq!(
                judge(&row, is_known, held).unwrap_err().0,
                column,
                "{row:?}"
            );
        }
    }

    #[test]
    fn both_kinds_of_file_give_the_same_rows() {
        let json = r#"{"type":"FeatureCollection","features":[{"type":"Feature","geometry":null,"properties":
            {"alert_id":"a-1","review":"dismissed","reason":"a field, \"old\"","reviewer":null,"review_id":4,"kind":"excavation"}}]}"#;
        let table = "\u{feff}kind,alert_id,review,reason,reviewer,review_id\nexcavation,a-1,dismissed,\"a field, \"\"old\"\"\",,4\n";
        let (from_json, from_table) = (rows(json).unwrap(), rows(table).unwrap());
        assert_eq!(from_json[0].values, from_table[0].values);
        assert_eq!(
            (&*from_json[0].place, &*from_table[0].place),
            ("feature 1", "line 2")
        );
        assert!(rows("alert_id,review\na,b\n").is_err());
        assert!(rows("{}").is_err());
    }

    #[test]
    fn precision_is_of_what_is_reviewed() {
        let review = |name: &str, review| (name.to_owned(), review);
        let reviews = BTreeMap::from([
            review("a-1", Review::Confirmed),
            review("a-2", Review::Dismissed),
            review("a-3", Review::Unreviewed),
            review("a-4", Review::Confirmed),
            review("a-5", Review::Confirmed),
            review("ab-1", Review::Dismissed),
        ]);
        let reviewed = Reviewed::of_area(&reviews, "a");
        assert_eq!((reviewed.n_confirmed, reviewed.n_dismissed), (3, 1));
        // Wilson, z = 1.644854: (0.75 + z²/8 ± z √(0.1875/4 + z²/64)) / (1 + z²/4).
        let share = reviewed.precision().unwrap();
        assert!((share.value - 0.75).abs() < 1e-12);
        assert!(
            (share.lo - 0.3562).abs() < 5e-4 && (share.hi - 0.9421).abs() < 5e-4,
            "{share:?}"
        );
        assert_eq!(Reviewed::default().precision(), None);
        assert_eq!(
            Reviewed::default().to_text(),
            "cannot tell: no alert is reviewed"
        );
        let json = serde_json::to_value(Reviewed::default()).unwrap();
        assert_eq!(json["precision"], Value::Null);
    }

    #[test]
    fn the_style_ends_once() {
        assert_eq!(style().matches("</qgis>").count(), 1);
        assert!(style().contains("ValueMap"));
    }
}
