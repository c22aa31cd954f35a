//! Are the files right: pipelines, areas, catalogs and the outputs of runs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use pitwatch_report::{Latest, Manifest, SkillFile};
use pitwatch_scenes::Query;
use serde::Serialize;

use crate::exit::Problem;
use crate::watch::sha256;
use crate::{area, assess, config, places, points};

/// What is said of one path.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) path: String,
    pub(crate) kind: &'static str,
    pub(crate) is_valid: bool,
    pub(crate) message: String,
    #[serde(skip)]
    pub(crate) problem: Option<Problem>,
}

/// Checks one path by what it is.
pub(crate) fn validate(path: &Path) -> Verdict {
    let (kind, result) = check(path);
    let (is_valid, message, problem) = match result {
        Ok(message) => (true, message, None),
        Err(error) => (
            false,
            format!("{error:#}"),
            Some(
                error
                    .downcast_ref::<Problem>()
                    .copied()
                    .unwrap_or(Problem::Configuration),
            ),
        ),
    };
    Verdict {
        path: path.display().to_string(),
        kind,
        is_valid,
        message,
        problem,
    }
}

fn check(path: &Path) -> (&'static str, Result<String>) {
    let extension = path.extension().and_then(|extension| extension.to_str());
    if !path.exists() {
        let missing = anyhow!("there is no such file or folder").context(Problem::Configuration);
        return ("path", Err(missing));
    }
    match extension {
        Some("toml") if assess::is_priors(path) => ("priors", assess::check_priors(path)),
        Some("csv") if points::is_points(&fs::read_to_string(path).unwrap_or_default()) => {
            ("reviewed points", assess::check_points(path))
        }
        Some("csv") => ("reported figures", assess::check_reported(path)),
        Some("toml") => (
            "pipeline",
            config::check(path).and_then(|pipeline| {
                assess::read(&pipeline)?;
                for area in &pipeline.areas {
                    places::read(area)?;
                }
                Ok("can be run".into())
            }),
        ),
        Some("geojson") if is_output(path) => ("output", run_folder(path.parent().unwrap_or(path))),
        Some("geojson") if is_named(path, "places.geojson") => ("places", places::check(path)),
        Some("geojson") => (
            "area",
            area::read(path).map(|region| format!("bounds {:?} degrees", region.bounds())),
        ),
        Some("json") if is_named(path, "skill.json") => ("measured skill", measured_skill(path)),
        _ if path.join("latest.json").exists() => ("outputs", outputs(path)),
        _ if path.join("manifest.json").exists() => ("output", run_folder(path)),
        _ => ("catalog", catalog(path)),
    }
}

fn is_output(path: &Path) -> bool {
    path.parent()
        .is_some_and(|folder| folder.join("manifest.json").exists())
}

/// True if a file's name ends so.
fn is_named(path: &Path, ending: &str) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().ends_with(ending))
}

/// What `pitwatch skill` wrote: `skill.json`, or a name that ends so.
fn measured_skill(path: &Path) -> Result<String> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file = SkillFile::from_json(&text)?;
    let areas: Vec<String> = file
        .areas
        .iter()
        .map(|area| format!("{}: {} pits count", area.area_id, area.n_assessed))
        .collect();
    Ok(areas.join(", "))
}

fn catalog(path: &Path) -> Result<String> {
    let found =
        pitwatch_scenes::read_catalog(path, &Query::default()).context(Problem::NoSource)?;
    let broken: Vec<_> = found
        .excluded
        .iter()
        .filter(|excluded| excluded.reason.is_failure())
        .collect();
    if let Some(first) = broken.first() {
        return Err(anyhow!(
            "{} items cannot be used, the first: {}: {}",
            broken.len(),
            first.id,
            first.reason
        ))
        .context(Problem::NoSource);
    }
    Ok(format!(
        "{} scenes, {} items left out by rule",
        found.scenes.len(),
        found.excluded.len()
    ))
}

/// An output folder: `latest.json` must point to a whole run.
fn outputs(out: &Path) -> Result<String> {
    let check = || -> Result<PathBuf> {
        let path = out.join("latest.json");
        let latest = Latest::from_json(
            &fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?,
        )?;
        let folder = out.join(&latest.path);
        let manifest = folder.join("manifest.json");
        let bytes =
            fs::read(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
        if sha256(&bytes) != latest.manifest_sha256 {
            bail!(
                "{} is not the manifest that latest.json names; run again",
                manifest.display()
            );
        }
        Ok(folder)
    };
    run_folder(&check().context(Problem::InvalidOutput)?)
}

/// A run's folder: every file of the manifest is there with its bytes.
pub(crate) fn run_folder(folder: &Path) -> Result<String> {
    let check = || -> Result<String> {
        let path = folder.join("manifest.json");
        let manifest = Manifest::from_json(
            &fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?,
        )?;
        for file in &manifest.files {
            let path = folder.join(&file.path);
            let bytes =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            if sha256(&bytes) != file.sha256 {
                bail!(
                    "{} has changed since the run; run again, or restore it",
                    path.display()
                );
            }
            if file.path.ends_with(".geojson") {
                let json: serde_json::Value = serde_json::from_slice(&bytes)
                    .with_context(|| format!("{} is not JSON", path.display()))?;
                let n_features = json
                    .get("features")
                    .and_then(serde_json::Value::as_array)
                    .map(|features| features.len() as u64);
                if n_features != file.rows {
                    bail!(
                        "{} has {n_features:?} features, the manifest says {:?}",
                        path.display(),
                        file.rows
                    );
                }
            }
        }
        Ok(format!(
            "run {}, {} files as the manifest says",
            manifest.run_id,
            manifest.files.len()
        ))
    };
    check().context(Problem::InvalidOutput)
}
