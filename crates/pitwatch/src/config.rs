//! The pipeline file: what to run, and every number that moves a result.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use pitwatch_grid::{Band, Day, Period};
use pitwatch_scenes::Storage;
use serde::Deserialize;

use crate::exit::Problem;

/// What a value is written as that must come from a flag.
const FROM_FLAG: &str = "from-flag";

/// A pipeline file as it is written. The tables carry the stages' names, in their order.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// What `pitwatch skill` wrote for this pipeline.
    skill_file: Option<PathBuf>,
    /// Reported figures to compare with.
    reported_file: Option<PathBuf>,
    #[serde(default)]
    areas: Vec<AreaEntry>,
    scenes: ScenesTable,
    imagery: ImageryTable,
    change: pitwatch_change::Params,
    sites: pitwatch_sites::Params,
    /// How carats are estimated and compared; a run does without it.
    capacity: Option<pitwatch_capacity::Params>,
    /// How detection is measured; a run does without it.
    skill: Option<crate::inject::Params>,
    /// What is told to whom.
    report: Option<ReportTable>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportTable {
    public: Option<pitwatch_report::PublicParams>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct AreaEntry {
    id: String,
    file: PathBuf,
    catalog: Option<PathBuf>,
    places: Option<PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenesTable {
    catalog: Option<PathBuf>,
    #[serde(default)]
    sources: Vec<String>,
    #[serde(default)]
    source: Vec<SourceEntry>,
    bands: Vec<String>,
    max_cloud_cover_percent: f64,
    history_from: Option<String>,
    monitor_from: String,
    monitor_until: Option<String>,
    publication_overlap_days: Option<u16>,
    full_search_days: Option<u16>,
}

/// How a search goes that asks for what is new alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Renewal {
    /// How far before the watermark items are asked for again.
    pub(crate) overlap_days: u16,
    /// After how many days all of the period is asked for again.
    pub(crate) full_search_days: u16,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageryTable {
    mirror: Option<PathBuf>,
    offset_check: pitwatch_imagery::OffsetCheckParams,
}

/// A source of scenes that the pipeline file or a file of sources describes, or what of a known one is different.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceEntry {
    pub(crate) name: String,
    pub(crate) kind: Option<SourceKind>,
    /// Root of the API, or of the catalog; a path is relative to the file that names it.
    pub(crate) url: Option<String>,
    pub(crate) collections: Option<Vec<String>>,
    /// Hosts that may be asked beside the one of `url`: `example.org`, `*.example.org`, `example.org:8080`.
    pub(crate) hosts: Option<Vec<String>>,
    pub(crate) allow_private: Option<bool>,
    pub(crate) allow_http: Option<bool>,
    /// Where Planetary Computer's tokens come from.
    pub(crate) token_url: Option<String>,
    pub(crate) s3_endpoint: Option<String>,
    pub(crate) s3_region: Option<String>,
    /// A file with `access_key_id` and `secret_access_key`; the environment goes before it.
    pub(crate) s3_keys_file: Option<PathBuf>,
    /// The property that says when an item was published, where the API can be asked by it.
    pub(crate) published_property: Option<String>,
}

/// How a source is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SourceKind {
    /// A STAC API with `/search`.
    StacApi,
    /// A static catalog at an address or a path.
    Static,
    /// A folder of `.SAFE` products.
    Safe,
}

/// A file of sources, for those who reach the catalogs another way than the pipeline file says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourcesFile {
    #[serde(default)]
    source: Vec<SourceEntry>,
}

/// What the command line says instead of the pipeline file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    pub(crate) catalog: Option<PathBuf>,
    pub(crate) monitor_from: Option<Day>,
    pub(crate) mirror: Option<PathBuf>,
    pub(crate) sources: Option<PathBuf>,
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
    /// Sources by name, in the order in which they are asked.
    pub(crate) sources: Vec<SourceEntry>,
    /// How `--since last` searches; `None` searches the whole period each time.
    pub(crate) renewal: Option<Renewal>,
    /// Where what is fetched is kept.
    pub(crate) mirror: Option<Storage>,
    pub(crate) offset_check: pitwatch_imagery::OffsetCheckParams,
    pub(crate) change: pitwatch_change::Params,
    pub(crate) sites: pitwatch_sites::Params,
    /// How detection is measured; `None` where the file has no table `[skill]`.
    pub(crate) skill: Option<crate::inject::Params>,
    /// What the public is told; `None` where the file has no table `[report.public]`: nothing.
    pub(crate) public: Option<pitwatch_report::PublicParams>,
    /// The measured skill that runs use.
    pub(crate) skill_file: Option<PathBuf>,
    /// How carats are estimated and compared; `None` where the file has no table `[capacity]`.
    pub(crate) capacity: Option<pitwatch_capacity::Params>,
    /// The table of reported figures.
    pub(crate) reported_file: Option<PathBuf>,
    /// SHA-256 of the tables `[change]` and `[sites]`, comments and order apart.
    pub(crate) detection_sha256: String,
    /// SHA-256 of the table `[skill]`, comments and order apart.
    pub(crate) skill_sha256: String,
}

impl Pipeline {
    /// How much of the history, its last part, is replayed, in days; `None` where nothing asks for it.
    pub(crate) fn replay_days(&self) -> Option<u32> {
        let of_budget = self.sites.budget.map(|budget| budget.replay_days);
        of_budget.or(self.capacity.as_ref().map(|capacity| capacity.replay_days))
    }
}

/// One area of a pipeline.
#[derive(Debug, Clone)]
pub(crate) struct AreaSource {
    /// The name in the pipeline file; `None` takes the catalog's.
    pub(crate) id: Option<String>,
    /// The area's GeoJSON; `None` takes the extent of the catalog's scenes.
    pub(crate) file: Option<PathBuf>,
    /// The catalog on disk that is read; for a live area, path or address of its part of the mirror.
    pub(crate) catalog: PathBuf,
    /// Its part of the mirror, which is filled from the pipeline's sources; `None` for an area that is not live.
    pub(crate) mirror: Option<Storage>,
    /// Villages and rivers around it.
    pub(crate) places: Option<PathBuf>,
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
pub(crate) fn check(path: &Path) -> Result<Pipeline> {
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
        ..Overrides::default()
    };
    read_file(path, &overrides).context(Problem::Configuration)
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
    let renewal = match (scenes.publication_overlap_days, scenes.full_search_days) {
        (Some(overlap_days), Some(full_search_days)) => Some(Renewal {
            overlap_days,
            full_search_days,
        }),
        (None, None) => None,
        (overlap, _) => {
            let (there, lacking) = if overlap.is_some() {
                ("publication_overlap_days", "full_search_days")
            } else {
                ("full_search_days", "publication_overlap_days")
            };
            return Err(anyhow!(
                "{}: {there} needs {lacking} beside it; write both, or none to search the whole period each time",
                at(there)
            ));
        }
    };
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

    let sites = &file.sites;
    let refused = |error| {
        let place = match &error {
            pitwatch_sites::Error::Topsoil { name, .. }
            | pitwatch_sites::Error::FeatureBounds { name, .. } => at(name),
            _ => path.display().to_string(),
        };
        anyhow!("{place}: {error}")
    };
    sites.topsoil.check().map_err(refused)?;
    sites.causes.check().map_err(refused)?;
    for (key, value) in [
        ("report_probability", sites.report_probability),
        ("confirm_probability", sites.confirm_probability),
        ("retract_probability", sites.retract_probability),
        ("probability_cleared", sites.probability_cleared),
    ] {
        if !(0.0..=1.0).contains(&value) {
            return Err(anyhow!(
                "{}: {key} is a probability, 0 to 1, not {value}",
                at(key)
            ));
        }
    }
    if sites.retract_probability > sites.confirm_probability {
        return Err(anyhow!(
            "{}: retract_probability is at most confirm_probability, {}, or what is confirmed would be taken back at once",
            at("retract_probability"),
            sites.confirm_probability
        ));
    }
    if sites.join_days < 0 {
        return Err(anyhow!(
            "{}: join_days is a number of days, 0 or more, not {}",
            at("join_days"),
            sites.join_days
        ));
    }
    if let Some(budget) = sites.budget {
        let key = "false_alerts_per_100_km2_year";
        let value = budget.false_alerts_per_100_km2_year;
        if !(value.is_finite() && value >= 0.0) {
            return Err(anyhow!(
                "{}: {key} is a number of alerts, 0 or more, not {value}",
                at(key)
            ));
        }
        if budget.replay_days == 0 {
            return Err(anyhow!(
                "{}: replay_days is at least 1; 365 replays one cycle of seasons",
                at("replay_days")
            ));
        }
    }

    if let Some(capacity) = &file.capacity {
        capacity
            .check()
            .map_err(|error| anyhow!("{}: {error}", at("[capacity]")))?;
        if let Some(budget) = sites.budget
            && budget.replay_days != capacity.replay_days
        {
            return Err(anyhow!(
                "{}: the history is replayed once; write the same replay_days in [sites.budget] ({}) and in [capacity] ({})",
                path.display(),
                budget.replay_days,
                capacity.replay_days
            ));
        }
    }
    if let Some(Err((key, message))) = file.skill.as_ref().map(crate::inject::Params::check) {
        return Err(anyhow!("{}: {message}", at(key)));
    }
    let public = file.report.as_ref().and_then(|report| report.public);
    if let Some(Err((key, message))) = public.as_ref().map(pitwatch_report::PublicParams::check) {
        return Err(anyhow!("{}: {message}", at(key)));
    }
    let tables: toml::Table = text.parse().with_context(|| path.display().to_string())?;
    let sha256_of = |names: &[&str]| -> Result<String> {
        let mut named = String::new();
        for name in names {
            if let Some(table) = tables.get(*name) {
                named += &toml::to_string(table).with_context(|| at(&format!("[{name}]")))?;
            }
        }
        Ok(crate::watch::sha256(named.as_bytes()))
    };

    let sources = sources(&file, overrides, folder, &at)?;
    let mirror = match (&overrides.mirror, &file.imagery.mirror) {
        (Some(mirror), _) => Some(mirror.clone()),
        (None, Some(mirror)) => Some(relative_to(folder, mirror)),
        (None, None) => None,
    };
    let mirror = mirror.as_deref().map(open_mirror).transpose()?;
    let areas = areas(&file, overrides, folder, mirror.as_ref(), &sources, &at)?;
    let scenes = file.scenes;
    Ok(Pipeline {
        path: path.to_owned(),
        areas,
        bands,
        max_cloud_cover_percent: scenes.max_cloud_cover_percent,
        period,
        monitor_from,
        sources,
        renewal,
        mirror,
        offset_check: file.imagery.offset_check,
        change: file.change,
        sites: file.sites,
        skill: file.skill,
        public,
        skill_file: file.skill_file.map(|path| folder.join(path)),
        capacity: file.capacity,
        reported_file: file.reported_file.map(|path| folder.join(path)),
        detection_sha256: sha256_of(&["change", "sites"])?,
        skill_sha256: sha256_of(&["skill"])?,
        text,
    })
}

/// A mirror by its path or address; how an object store is reached stands in the environment.
///
/// # Errors
///
/// If it is an address that no mirror can lie at.
pub(crate) fn open_mirror(place: &Path) -> Result<Storage> {
    let variables: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    Ok(Storage::open(place, &variables)?)
}

/// True for `https://…`, `s3://…` and the like.
pub(crate) fn is_address(path: &Path) -> bool {
    path.to_string_lossy().contains("://")
}

/// A path as seen from a folder; an address as it stands.
fn relative_to(folder: &Path, path: &Path) -> PathBuf {
    if is_address(path) {
        path.to_owned()
    } else {
        folder.join(path)
    }
}

/// The sources to ask, in their order; what a file of sources says of one goes before the pipeline file's own entry.
fn sources(
    file: &File,
    overrides: &Overrides,
    folder: &Path,
    at: &dyn Fn(&str) -> String,
) -> Result<Vec<SourceEntry>> {
    if let Some(address) = overrides.catalog.as_deref().filter(|path| is_address(path)) {
        let url = address.to_string_lossy().into_owned();
        let is_file = url.split(['?', '#']).next().is_some_and(|path| {
            Path::new(path)
                .extension()
                .is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
        });
        return Ok(vec![SourceEntry {
            name: "catalog".into(),
            kind: Some(if is_file {
                SourceKind::Static
            } else {
                SourceKind::StacApi
            }),
            // Who types an address knows where it leads.
            allow_private: Some(true),
            allow_http: Some(url.starts_with("http://")),
            url: Some(url),
            ..SourceEntry::default()
        }]);
    }
    let mut told = Vec::new();
    if let Some(path) = &overrides.sources {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the file of sources {}", path.display()))?;
        let parsed: SourcesFile = toml::from_str(&text)
            .map_err(|error| anyhow!("{}: {}", path.display(), error.to_string().trim_end()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        told.extend(
            parsed
                .source
                .into_iter()
                .map(|entry| entry.seen_from(folder)),
        );
    }
    let own = file.scenes.source.iter().cloned();
    told.extend(own.map(|entry| entry.seen_from(folder)));
    let mut sources: Vec<SourceEntry> = Vec::new();
    for name in &file.scenes.sources {
        if sources.iter().any(|source| source.name == *name) {
            return Err(anyhow!(
                "{}: the source {name:?} stands twice",
                at("sources")
            ));
        }
        let entry = told.iter().find(|entry| entry.name == *name).cloned();
        let is_known = pitwatch_scenes::SourceConfig::known(name).is_some();
        if entry.as_ref().is_none_or(|entry| entry.kind.is_none()) && !is_known {
            return Err(anyhow!(
                "{}: {name:?} is no known source; write one of {}, or describe it in a [[scenes.source]] with its kind and url",
                at("sources"),
                pitwatch_scenes::KNOWN_SOURCES.join(", ")
            ));
        }
        sources.push(entry.unwrap_or_else(|| SourceEntry {
            name: name.clone(),
            ..SourceEntry::default()
        }));
    }
    Ok(sources)
}

impl SourceEntry {
    /// With its paths as seen from the folder of the file that names them.
    fn seen_from(mut self, folder: &Path) -> Self {
        self.url = self.url.map(|url| {
            relative_to(folder, Path::new(&url))
                .to_string_lossy()
                .into_owned()
        });
        self.s3_keys_file = self.s3_keys_file.map(|path| folder.join(path));
        self
    }
}

/// Areas with the place of their scenes: a flag goes before the area's own entry, that before `[scenes]`.
fn areas(
    file: &File,
    overrides: &Overrides,
    folder: &Path,
    mirror: Option<&Storage>,
    sources: &[SourceEntry],
    at: &dyn Fn(&str) -> String,
) -> Result<Vec<AreaSource>> {
    type Place = (PathBuf, Option<Storage>);
    let catalog_of = |id: Option<&str>, own: Option<&PathBuf>| -> Result<Place> {
        let in_mirror = || -> Result<Place> {
            let id = id.ok_or_else(|| {
                anyhow!(
                    "{}: scenes are searched for areas only; name one in [[areas]] with its file",
                    path_of(at)
                )
            })?;
            let mirror = mirror.ok_or_else(|| {
                anyhow!(
                    "{}: what is fetched needs a place; write mirror = \"PATH\" under [imagery], or give --mirror PATH or --mirror s3://BUCKET/PREFIX",
                    path_of(at)
                )
            })?;
            let area = mirror.join(id);
            let catalog = match area.path() {
                Some(folder) => folder.to_owned(),
                None => area.address("").into(),
            };
            Ok((catalog, Some(area)))
        };
        match &overrides.catalog {
            Some(catalog) if is_address(catalog) => return in_mirror(),
            Some(catalog) => return Ok((catalog.clone(), None)),
            None => {}
        }
        match own.or(file.scenes.catalog.as_ref()) {
            Some(catalog) if catalog.as_os_str() == FROM_FLAG => Err(anyhow!(
                "{}: catalog must come from the flag --catalog PATH",
                at("catalog")
            )),
            Some(catalog) => Ok((folder.join(catalog), None)),
            None if !sources.is_empty() => in_mirror(),
            None => Err(anyhow!(
                "{}: no scenes are named; write sources = [\"earth-search\"] or catalog = \"PATH\" under [scenes], or a catalog in the area's entry",
                path_of(at)
            )),
        }
    };
    if file.areas.is_empty() {
        let (catalog, mirror) = catalog_of(None, None)?;
        return Ok(vec![AreaSource {
            id: None,
            file: None,
            catalog,
            mirror,
            places: None,
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
        let (catalog, mirror) = catalog_of(Some(&entry.id), entry.catalog.as_ref())?;
        areas.push(AreaSource {
            id: Some(entry.id.clone()),
            file: Some(folder.join(&entry.file)),
            catalog,
            mirror,
            places: entry.places.as_ref().map(|path| folder.join(path)),
        });
    }
    Ok(areas)
}

/// The pipeline file, and the line of its scenes.
fn path_of(at: &dyn Fn(&str) -> String) -> String {
    at("[scenes]")
}
