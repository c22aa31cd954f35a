//! What sources told when an area was searched: kept in the mirror, so that the next search asks for what is new alone.
//!
//! The watermark up to which nothing needs to be told again is the ledger's, and moves with a run's transaction. These files
//! may be ahead of it or gone; a source is then asked for more than is needed, never for less.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use chrono::TimeDelta;
use libdeflater::{CompressionLvl, Compressor, Decompressor};
use pitwatch_grid::{Day, UtcTime, parse_time};
use pitwatch_imagery::{Mirror, escaped};
use pitwatch_scenes::{Since, SourceReport, Told};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Renewal;
use crate::record::time_text;

/// Version of the files' form.
const VERSION: u32 = 1;
/// Longest answer that is kept: some 50,000 items.
const MAX_BYTES: usize = 1 << 30;

/// What a source told, as it stands in the mirror.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    version: u32,
    /// The day on which all of the period was asked for; what came since was asked for by its publication.
    searched_fully: String,
    /// When the newest of the items was published.
    published_until: String,
    question: Value,
    items: BTreeMap<String, Value>,
}

fn name(source: &str) -> String {
    format!("searched.{}.json.gz", escaped(source))
}

/// What each of the sources told, as far as it is there and whole.
pub(crate) fn read<'a>(
    mirror: &Mirror,
    sources: impl Iterator<Item = &'a str>,
) -> BTreeMap<String, Kept> {
    let one = |source: &str| {
        let bytes = mirror.storage().get(&name(source)).ok()?;
        let kept: Kept = serde_json::from_slice(&unpacked(&bytes)?).ok()?;
        (kept.version == VERSION).then(|| (source.to_owned(), kept))
    };
    sources.filter_map(one).collect()
}

/// The bytes of a gzip file; its last four bytes give their number (RFC 1952, § 2.3.1).
fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    let (_, length) = bytes.split_last_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    if length > MAX_BYTES {
        return None;
    }
    let mut text = vec![0; length];
    let n = Decompressor::new().gzip_decompress(bytes, &mut text).ok()?;
    (n == length).then_some(text)
}

fn packed(text: &[u8]) -> Result<Vec<u8>> {
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut bytes = vec![0; compressor.gzip_compress_bound(text.len())];
    let n = compressor.gzip_compress(text, &mut bytes)?;
    bytes.truncate(n);
    Ok(bytes)
}

/// What need not be told again.
///
/// - `watermarks`: up to when what each source published is in published runs.
/// - `today`: a source is asked for all again once the last time is `full_search_days` ago: items may be taken away, or be
///   published with an earlier date than the overlap reaches.
pub(crate) fn since(
    kept: &BTreeMap<String, Kept>,
    watermarks: &BTreeMap<String, UtcTime>,
    renewal: Renewal,
    today: Day,
) -> BTreeMap<String, Since> {
    let one = |(source, kept): (&String, &Kept)| {
        let watermark = *watermarks.get(source)?;
        let until = watermark.min(parse_time(&kept.published_until).ok()?);
        let searched_fully: Day = kept.searched_fully.parse().ok()?;
        let is_recent =
            (0..i32::from(renewal.full_search_days)).contains(&(today.0 - searched_fully.0));
        let since = Since {
            told: Told {
                question: kept.question.clone(),
                items: kept.items.clone(),
            },
            published_from: until - TimeDelta::days(i64::from(renewal.overlap_days)),
        };
        is_recent.then(|| (source.clone(), since))
    };
    kept.iter().filter_map(one).collect()
}

/// Keeps what the sources told; of one that did not tell all, what was kept before stays.
///
/// # Errors
///
/// If the mirror cannot be written.
pub(crate) fn write(
    mirror: &Mirror,
    before: &BTreeMap<String, Kept>,
    reports: &[SourceReport],
    today: Day,
) -> Result<()> {
    for report in reports.iter().filter(|report| report.is_complete) {
        let (Some(told), Some(until)) = (&report.told, report.newest_published) else {
            continue;
        };
        let searched_fully = match (report.published_from, before.get(&report.name)) {
            (Some(_), Some(before)) => before.searched_fully.clone(),
            _ => today.to_string(),
        };
        let kept = Kept {
            version: VERSION,
            searched_fully,
            published_until: time_text(until),
            question: told.question.clone(),
            items: told.items.clone(),
        };
        if before.get(&report.name) == Some(&kept) {
            continue;
        }
        let text = serde_json::to_vec(&kept)?;
        let name = name(&report.name);
        if text.len() > MAX_BYTES {
            continue;
        }
        mirror
            .write(&name, &packed(&text)?)
            .with_context(|| format!("cannot write {}", mirror.storage().address(&name)))?;
    }
    Ok(())
}
