//! The pipeline file: what to run, and every number that moves a result.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use pitwatch_grid::{Band, Day, Period};
use serde::Deserialize;

use crate::exit::Problem;

/// What a value is written as that must come from a flag.
const FROM_FLAG: &str = "from-flag";

/// A pipeline file as it is written. The tables carry the stages' names, in their order.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    areas: Vec<AreaEntry>,
    scenes: ScenesTable,
    imagery: ImageryTable,
    change: pitwatch_change::Params,
    sites: pitwatch_sites::Params,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct AreaEntry {
    id: String,
    file: PathBuf,
    catalog: Option<PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenesTable {
    catalog: Option<PathBuf>,
    bands: Vec<String>,
    max_cloud_cover_percent: f64,
    history_from: Option<String>,
    monitor_from: String,
    monitor_until: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageryTable {
    offset_check: pitwatch_imagery::OffsetCheckParams,
}

/// What the command line says instead of the pipeline file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    pub(crate) catalog: Option<PathBuf>,
    pub(crate) monitor_from: Option<Day>,
}

/// A pipeline that can run: the file, with the flags' values in place.
#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    pub(crate) path: PathBuf,
    /// The file's bytes, for the hash that names a run.
    pub(crate) text: String,
    /// Areas and where their scenes are. An area without a file is the catalog's extent.
    pub(crate) areas: Vec<AreaSource>,
    pub(crate) bands: Vec<Band>,
    pub(crate) max_cloud_cover_percent: f64,
    pub(crate) period: Option<Period>,
    pub(crate) monitor_from: Day,
    pub(crate) offset_check: pitwatch_imagery::OffsetCheckParams,
    pub(crate) change: pitwatch_change::Params,
    pub(crate) sites: pitwatch_sites::Params,
}

/// One area of a pipeline.
#[derive(Debug, Clone)]
pub(crate) struct AreaSource {
    /// The name in the pipeline file; `None` takes the catalog's.
    pub(crate) id: Option<String>,
    /// The area's GeoJSON; `None` takes the extent of the catalog's scenes.
    pub(crate) file: Option<PathBuf>,
    pub(crate) catalog: PathBuf,
}

/// Reads a pipeline file and puts the flags' values in place.
///
/// # Errors
///
/// A configuration problem that names the file, the line and what to write instead.
pub(crate) fn read(path: &Path, overrides: &Overrides) -> Result<Pipeline> {
    read_file(path, overrides).context(Problem::Configuration)
}

/// Checks a pipeline file alone: values that must come from a flag may stand as they are.
pub(crate) fn check(path: &Path) -> Result<()> {
    let file = read_text(path)
        .and_then(|text| parse(path, &text))
        .context(Problem::Configuration)?;
    let catalogs = file.areas.iter().map(|area| &area.catalog);
    let is_catalog_from_flag = catalogs
        .chain([&file.scenes.catalog])
        .flatten()
        .any(|catalog| catalog.as_os_str() == FROM_FLAG);
    let overrides = Overrides {
        catalog: is_catalog_from_flag.then(|| PathBuf::from(FROM_FLAG)),
        monitor_from: (file.scenes.monitor_from == FROM_FLAG).then_some(Day(0)),
    };
    read_file(path, &overrides)
        .map(|_| ())
        .context(Problem::Configuration)
}

fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the pipeline file {}", path.display()))
}

fn parse(path: &Path, text: &str) -> Result<File> {
    toml::from_str(text)
        .map_err(|error| anyhow!("{}: {}", path.display(), error.to_string().trim_end()))
}

fn read_file(path: &Path, overrides: &Overrides) -> Result<Pipeline> {
    let text = read_text(path)?;
    let file = parse(path, &text)?;
    let at = |key: &str| -> String {
        let is_key = |line: &str| {
            line.split('=')
                .next()
                .is_some_and(|name| name.trim() == key)
        };
        match text.lines().position(is_key) {
            Some(line) => format!("{}, line {}", path.display(), line + 1),
            None => path.display().to_string(),
        }
    };
    let folder = path.parent().unwrap_or(Path::new("."));

    let scenes = &file.scenes;
    let day = |key: &str, value: &str| {
        value
            .parse::<Day>()
            .with_context(|| format!("{}: {key}", at(key)))
    };
    let monitor_from = match overrides.monitor_from {
        Some(day) => day,
        None if scenes.monitor_from == FROM_FLAG => {
            return Err(anyhow!(
                "{}: monitor_from must come from the flag --monitor-from YYYY-MM-DD",
                at("monitor_from")
            ));
        }
        None => day("monitor_from", &scenes.monitor_from)?,
    };
    let history_from = scenes
        .history_from
        .as_deref()
        .map(|value| day("history_from", value))
        .transpose()?;
    let monitor_until = scenes
        .monitor_until
        .as_deref()
        .map(|value| day("monitor_until", value))
        .transpose()?;
    let period = match (history_from, monitor_until) {
        (None, None) => None,
        (from, until) => {
            let period = Period::new(
                from.unwrap_or(Day(i32::MIN / 2)),
                until.unwrap_or(Day(i32::MAX / 2)),
            );
            Some(period.with_context(|| at("monitor_until"))?)
        }
    };
    if period.is_some_and(|period| !period.contains(monitor_from)) {
        return Err(anyhow!(
            "{}: monitor_from {monitor_from} must lie between history_from and monitor_until",
            at("monitor_from")
        ));
    }

    let mut bands = Vec::new();
    for name in &scenes.bands {
        let band = Band::from_name(name).ok_or_else(|| {
            let known = Band::ALL.map(|band| band.common_name()).join(", ");
            anyhow!(
                "{}: {name:?} is no band; write some of {known}",
                at("bands")
            )
        })?;
        if bands.contains(&band) {
            return Err(anyhow!(
                "{}: {name:?} stands twice; write each band once",
                at("bands")
            ));
        }
        bands.push(band);
    }
    if let Some(missing) = pitwatch_change::REQUIRED_BANDS
        .iter()
        .find(|band| !bands.contains(band))
    {
        return Err(anyhow!(
            "{}: detection needs the band {missing}; add it",
            at("bands")
        ));
    }
    if !(0.0..=100.0).contains(&scenes.max_cloud_cover_percent) {
        let value = scenes.max_cloud_cover_percent;
        return Err(anyhow!(
            "{}: max_cloud_cover_percent is a percentage, 0 to 100, not {value}",
            at("max_cloud_cover_percent")
        ));
    }
    file.change.check().map_err(|error| {
        let place = match &error {
            pitwatch_change::Error::Parameter { name, .. } => at(name),
            _ => path.display().to_string(),
        };
        anyhow!("{place}: {error}")
    })?;
    if !(file.sites.site_distance_m.is_finite() && file.sites.site_distance_m >= 0.0) {
        return Err(anyhow!(
            "{}: site_distance_m is a distance in meters, 0 or more",
            at("site_distance_m")
        ));
    }

    let areas = areas(&file, overrides, folder, &at)?;
    let scenes = file.scenes;
    Ok(Pipeline {
        path: path.to_owned(),
        areas,
        bands,
        max_cloud_cover_percent: scenes.max_cloud_cover_percent,
        period,
        monitor_from,
        offset_check: file.imagery.offset_check,
        change: file.change,
        sites: file.sites,
        text,
    })
}

/// Areas with the place of their scenes: a flag goes before the area's own entry, that before `[scenes]`.
fn areas(
    file: &File,
    overrides: &Overrides,
    folder: &Path,
    at: &dyn Fn(&str) -> String,
) -> Result<Vec<AreaSource>> {
    let catalog_of = |own: Option<&PathBuf>| -> Result<PathBuf> {
        if let Some(catalog) = &overrides.catalog {
            return Ok(catalog.clone());
        }
        match own.or(file.scenes.catalog.as_ref()) {
            Some(catalog) if catalog.as_os_str() == FROM_FLAG => Err(anyhow!(
                "{}: catalog must come from the flag --catalog PATH",
                at("catalog")
            )),
            Some(catalog) => Ok(folder.join(catalog)),
            None => Err(anyhow!(
                "{}: no catalog is named; write catalog = \"PATH\" under [scenes] or in the area's entry",
                at("scenes")
            )),
        }
    };
    if file.areas.is_empty() {
        return Ok(vec![AreaSource {
            id: None,
            file: None,
            catalog: catalog_of(None)?,
        }]);
    }
    let mut areas: Vec<AreaSource> = Vec::new();
    for entry in &file.areas {
        let is_name = |id: &str| {
            !id.is_empty()
                && id
                    .chars()
                    .all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_')
        };
        if !is_name(&entry.id) {
            return Err(anyhow!(
                "{}: the area id {:?} names files; write it with letters, digits, - and _",
                at("id"),
                entry.id
            ));
        }
        if areas.iter().any(|area| area.id.as_ref() == Some(&entry.id)) {
            return Err(anyhow!(
                "{}: the area id {:?} stands twice",
                at("id"),
                entry.id
            ));
        }
        let catalog = catalog_of(entry.catalog.as_ref())?;
        areas.push(AreaSource {
            id: Some(entry.id.clone()),
            file: Some(folder.join(&entry.file)),
            catalog,
        });
    }
    Ok(areas)
}
