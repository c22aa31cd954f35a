//! What the public is told of a run: one file with coarse, late counts, apart from everything exact.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use pitwatch_report::event_id;
use serde::Serialize;
use serde_json::Value;

use crate::webhook::PUBLIC_TYPE;

/// The file's path in a run's folder; the folder it lies in has nothing else.
pub(crate) const FILE: &str = "public/cells.geojson";

/// The public file of a run.
pub(crate) fn path(out: &Path, run_id: &str) -> PathBuf {
    out.join("runs").join(run_id).join(FILE)
}

/// What public endpoints get for a run, with its id: the public file in an envelope that names no run and no day.
///
/// - `completed`: the run's last event, of which only the source is taken.
/// - `revision`: place among what public endpoints get.
///
/// # Errors
///
/// If the run's public file is not there any more, or is none.
pub(crate) fn event(
    out: &Path,
    run_id: &str,
    completed: &str,
    revision: u64,
) -> Result<(String, String)> {
    #[derive(Serialize)]
    struct Envelope<'a> {
        specversion: &'a str,
        id: &'a str,
        source: &'a str,
        #[serde(rename = "type")]
        event_type: &'a str,
        subject: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<String>,
        revision: u64,
        datacontenttype: &'a str,
        data: &'a Value,
    }
    let text = std::fs::read_to_string(path(out, run_id))
        .context("the run's public file cannot be read")?;
    let data: Value = serde_json::from_str(&text).context("the run's public file is not JSON")?;
    let completed: Value = serde_json::from_str(completed).context("the event is not JSON")?;
    let Some(source) = completed["source"].as_str() else {
        bail!("the event has no source");
    };
    let id = event_id(&format!("public/{source}"), revision);
    let body = serde_json::to_string(&Envelope {
        specversion: "1.0",
        id: &id,
        source,
        event_type: PUBLIC_TYPE,
        subject: "public",
        time: data["confirmed_before"]
            .as_str()
            .map(|month| format!("{month}-01T00:00:00Z")),
        revision,
        datacontenttype: "application/geo+json",
        data: &data,
    })?;
    Ok((id, body))
}
