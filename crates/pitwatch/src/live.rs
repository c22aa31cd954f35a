//! Live areas: search the sources, bring what is new into the mirror, and note what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use pitwatch_grid::{Day, Region, UtcTime};
use pitwatch_imagery::{Estimate, FetchOptions, FetchOutcome, FetchReport, Mirror};
use pitwatch_report::Skipped;
use pitwatch_scenes::net::{Limits, Net, Remote, S3Keys, Traffic};
use pitwatch_scenes::storage::{Hashes, Listing};
use pitwatch_scenes::{
    Excluded, ExclusionReason, Query, Scene, Search, SigningConfig, Since, Source, SourceConfig,
    SourceKind, Storage,
};
use serde::Deserialize;

use crate::area;
use crate::config::{self, AreaSource, Pipeline, SourceEntry};
use crate::exit::Problem;
use crate::progress::Progress;
use crate::record::{Outcome, RECORD, Record, SceneRecord, SourceRecord, time_text};
use crate::{stop, told};

/// How imagery is fetched; none of it moves a result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NetworkOptions {
    pub(crate) connections: usize,
    pub(crate) memory_bytes: usize,
    pub(crate) disk_limit: Option<u64>,
    /// The last day that a source can have something of.
    pub(crate) today: Day,
}

/// What became of an area's mirror.
#[derive(Debug, Default)]
pub(crate) struct Refreshed {
    pub(crate) area_id: String,
    pub(crate) n_scenes: usize,
    pub(crate) n_fetched: usize,
    pub(crate) n_kept: usize,
    pub(crate) n_damaged: usize,
    /// True if the mirror's files were compared with their checksums, and what was damaged is removed.
    pub(crate) is_checked: bool,
    pub(crate) traffic: Traffic,
    pub(crate) n_bytes_lacking: u64,
    /// Sources that failed.
    pub(crate) failed_sources: Vec<Skipped>,
    /// Scenes that could not be had; the rest is in the mirror.
    pub(crate) failed_scenes: Vec<Skipped>,
    /// Up to when what each source published is known, of those that told all they were asked for.
    pub(crate) watermarks: BTreeMap<String, UtcTime>,
    pub(crate) warnings: Vec<String>,
}

impl Refreshed {
    /// Why no scene is in the mirror although some were found: the first one's reason stands for those that have it too.
    pub(crate) fn why_nothing_came(&self) -> Option<String> {
        let first = self.failed_scenes.first()?;
        (self.n_fetched + self.n_kept == 0).then(|| {
            format!(
                "{}: no scene could be fetched; the first, {}: {}",
                self.area_id, first.what, first.reason
            )
        })
    }

    /// What became of it, for a reader.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!(
            "{}: {} scenes: {} fetched, {} were there, {} failed; {} requests, {:.1} MB",
            self.area_id,
            self.n_scenes,
            self.n_fetched,
            self.n_kept,
            self.failed_scenes.len(),
            self.traffic.requests,
            self.traffic.bytes as f64 / 1e6
        );
        if self.n_bytes_lacking > 0 {
            text += &format!(
                "; the limit of the disk is reached: about {:.1} MB more are needed",
                self.n_bytes_lacking as f64 / 1e6
            );
        }
        text
    }
}

/// The sources of a pipeline, ready to be asked, with the limits they share.
pub(crate) struct Sources {
    net: Net,
    pub(crate) sources: Vec<Source>,
}

/// Keys of an S3 account in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    access_key_id: String,
    secret_access_key: String,
}

impl Sources {
    /// Opens the sources of a pipeline.
    ///
    /// # Errors
    ///
    /// If one is described in a way that cannot be used.
    pub(crate) fn open(pipeline: &Pipeline, options: &NetworkOptions) -> Result<Self> {
        let limits = Limits {
            connections: options.connections,
            bytes_in_flight: (options.memory_bytes / 4).max(1 << 20),
            ..limits_from_environment()
        };
        let net = Net::new(limits);
        let mut sources = Vec::new();
        for entry in &pipeline.sources {
            let source = config_of(entry)
                .and_then(|config| Ok(config.open(&net)?))
                .with_context(|| format!("{}: source {:?}", pipeline.path.display(), entry.name))
                .context(Problem::Configuration)?;
            sources.push(source);
        }
        Ok(Self { net, sources })
    }

    /// The ways to the sources' files, by their names.
    fn remotes(&self) -> BTreeMap<String, Remote> {
        self.sources
            .iter()
            .map(|source| (source.name().to_owned(), source.remote().clone()))
            .collect()
    }

    /// Searches for the scenes of an area.
    ///
    /// # Errors
    ///
    /// If no source can be searched.
    pub(crate) fn search(
        &self,
        region: &Region,
        pipeline: &Pipeline,
        options: &NetworkOptions,
        since: &BTreeMap<String, Since>,
        progress: &Progress,
    ) -> Result<Search> {
        let query = Query {
            region: Some(region),
            period: pipeline.period,
            max_cloud_cover_percent: Some(pipeline.max_cloud_cover_percent),
            bands: &pipeline.bands,
        };
        pitwatch_scenes::search(&self.sources, &query, options.today, since, &|what| {
            progress.say(what)
        })
        .context(Problem::NoSource)
    }
}

/// Waiting times of the network, shorter where a test says so: `PITWATCH_RETRY_MS` is the first pause.
fn limits_from_environment() -> Limits {
    let limits = Limits::default();
    match std::env::var("PITWATCH_RETRY_MS")
        .ok()
        .and_then(|text| text.parse().ok())
    {
        Some(pause) => Limits {
            first_delay: Duration::from_millis(pause),
            max_delay: Duration::from_millis(pause * 4),
            stall_timeout: Duration::from_millis((pause * 20).max(1000)),
            connect_timeout: Duration::from_secs(2),
            ..limits
        },
        None => limits,
    }
}

/// A source as the pipeline file describes it: what it does not say is that of the known source of its name.
fn config_of(entry: &SourceEntry) -> Result<SourceConfig> {
    let mut config = match (SourceConfig::known(&entry.name), entry.kind, &entry.url) {
        (Some(known), ..) => known,
        (None, Some(kind), Some(url)) => SourceConfig::new(&entry.name, kind_of(kind), url),
        (None, _, None) => return Err(anyhow!("has no url; write where it is")),
        (None, None, _) => {
            return Err(anyhow!(
                "has no kind; write \"stac-api\", \"static\" or \"safe\""
            ));
        }
    };
    if let Some(kind) = entry.kind {
        config.kind = kind_of(kind);
    }
    if let Some(url) = &entry.url {
        config.url.clone_from(url);
    }
    if let Some(collections) = &entry.collections {
        config.collections.clone_from(collections);
    }
    if let Some(hosts) = &entry.hosts {
        config.access.hosts.clone_from(hosts);
    }
    config.access.allow_private = entry.allow_private.unwrap_or(config.access.allow_private);
    config.access.allow_http = entry.allow_http.unwrap_or(config.access.allow_http);
    if let Some(token_url) = &entry.token_url {
        config.signing = SigningConfig::PlanetaryComputer {
            token_url: token_url.clone(),
        };
    }
    if let Some(property) = &entry.published_property {
        config.published_property = Some(property.clone());
    }
    let is_s3 = matches!(config.signing, SigningConfig::S3 { .. });
    if is_s3 || entry.s3_endpoint.is_some() || entry.s3_region.is_some() {
        let (endpoint, region) = match config.signing {
            SigningConfig::S3 {
                endpoint, region, ..
            } => (endpoint, region),
            _ => (None, "us-east-1".to_owned()),
        };
        config.signing = SigningConfig::S3 {
            endpoint: entry.s3_endpoint.clone().or(endpoint),
            region: entry.s3_region.clone().unwrap_or(region),
            keys: keys_of(entry)?,
        };
    }
    Ok(config)
}

fn kind_of(kind: config::SourceKind) -> SourceKind {
    match kind {
        config::SourceKind::StacApi => SourceKind::StacApi,
        config::SourceKind::Static => SourceKind::Static,
        config::SourceKind::Safe => SourceKind::Safe,
    }
}

/// Keys from the environment, `PITWATCH_NAME_ACCESS_KEY` and `PITWATCH_NAME_SECRET_KEY`, else from the file that is named.
fn keys_of(entry: &SourceEntry) -> Result<Option<S3Keys>> {
    let name: String = entry
        .name
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    let variable = |what: &str| std::env::var(format!("PITWATCH_{name}_{what}_KEY")).ok();
    if let (Some(access_key_id), Some(secret_access_key)) = (variable("ACCESS"), variable("SECRET"))
    {
        return Ok(Some(S3Keys {
            access_key_id,
            secret_access_key,
        }));
    }
    let Some(path) = &entry.s3_keys_file else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the file of keys {}", path.display()))?;
    // What the parser says would quote the line, and with it a key.
    let keys: KeysFile = toml::from_str(&text).map_err(|_| {
        anyhow!(
            "{}: write access_key_id = \"…\" and secret_access_key = \"…\"",
            path.display()
        )
    })?;
    Ok(Some(S3Keys {
        access_key_id: keys.access_key_id,
        secret_access_key: keys.secret_access_key,
    }))
}

/// What bringing an area's mirror up to date would take.
#[derive(Debug)]
pub(crate) struct FetchPlan {
    pub(crate) area_id: String,
    pub(crate) region: Region,
    pub(crate) search: Search,
    pub(crate) estimate: Estimate,
    /// Requests and bytes that searching took.
    pub(crate) searched: Traffic,
}

/// Searches for an area's scenes and estimates what fetching them would take; nothing is written.
///
/// # Errors
///
/// If the area file cannot be used, or no source answers.
pub(crate) fn plan(
    source: &AreaSource,
    pipeline: &Pipeline,
    options: &NetworkOptions,
    progress: &Progress,
) -> Result<FetchPlan> {
    let (area_id, region) = area_of(source)?;
    let sources = Sources::open(pipeline, options)?;
    let search = sources
        .search(&region, pipeline, options, &BTreeMap::new(), progress)
        .with_context(|| area_id.clone())?;
    let searched = sources.net.traffic();
    progress.say(&format!("{area_id}: reading some headers"));
    let listing = match &source.mirror {
        Some(area) => area.list().unwrap_or_default(),
        None => Listing::default(),
    };
    let kept: BTreeSet<String> = listing
        .into_iter()
        .filter(|(scene, files)| files.contains_key(&format!("{scene}.json")))
        .map(|(scene, _)| scene)
        .collect();
    let estimate = pitwatch_imagery::estimate(
        &|id| kept.contains(&pitwatch_imagery::escaped(id)),
        &region,
        &search.found.scenes,
        &pipeline.bands,
        &sources.remotes(),
    )?;
    Ok(FetchPlan {
        area_id,
        region,
        search,
        estimate,
        searched,
    })
}

fn area_of(source: &AreaSource) -> Result<(String, Region)> {
    let area_id = source.id.clone().unwrap_or_default();
    let region = source
        .file
        .as_deref()
        .map(area::read)
        .transpose()?
        .ok_or_else(|| anyhow!("{area_id}: an area that is searched for needs a file"))
        .context(Problem::Configuration)?;
    Ok((area_id, region))
}

/// Brings an area's mirror up to date.
///
/// - `watermarks`: up to when what each source published is in published runs; such sources are asked for what is new. Without
///   them all is asked for.
/// - `known`: checksums of its files that are as they were.
///
/// # Errors
///
/// If the area file cannot be used, the mirror is held or cannot be written, or there is nothing in it and no source
/// answers.
pub(crate) fn refresh(
    source: &AreaSource,
    pipeline: &Pipeline,
    options: &NetworkOptions,
    watermarks: Option<&BTreeMap<String, UtcTime>>,
    known: &Hashes,
    progress: &Progress,
) -> Result<Refreshed> {
    let (area_id, region) = area_of(source)?;
    let root = root_of(pipeline)?;
    let mirror = Arc::new(Mirror::open(root, &area_id).map_err(locked_or_refused)?);
    let mut refreshed = Refreshed {
        area_id: area_id.clone(),
        ..Refreshed::default()
    };
    let sources = Sources::open(pipeline, options)?;
    let kept = told::read(&mirror, sources.sources.iter().map(Source::name));
    let since = match (pipeline.renewal, watermarks) {
        (Some(renewal), Some(watermarks)) => told::since(&kept, watermarks, renewal, options.today),
        _ => BTreeMap::new(),
    };
    let search = match sources.search(&region, pipeline, options, &since, progress) {
        Ok(search) => search,
        Err(error) if mirror.storage().get("collection.json").is_ok() => {
            refreshed.failed_sources.push(Skipped {
                what: format!("search for {area_id}"),
                reason: format!("{error:#}; the mirror is used as it is"),
            });
            refreshed.traffic = sources.net.traffic();
            return Ok(refreshed);
        }
        Err(error) => return Err(error.context(area_id)).context(Problem::NoSource),
    };
    refreshed.warnings.clone_from(&search.found.warnings);
    for report in &search.sources {
        refreshed
            .failed_sources
            .extend(report.problems.iter().map(|problem| Skipped {
                what: format!("source {} for {area_id}", report.name),
                reason: problem.clone(),
            }));
    }
    progress.detail(&format!("{area_id}: checking the mirror"));
    let checked = mirror.check(known)?;
    for damage in &checked.damaged {
        refreshed.n_damaged += 1;
        refreshed.warnings.push(format!(
            "{}: {}; it is fetched again",
            damage.file, damage.reason
        ));
        mirror.remove(&damage.scene)?;
    }
    refreshed.is_checked = true;
    let scenes = &search.found.scenes;
    let remotes = sources.remotes();
    let bar = progress.bar(&format!("{area_id}: fetch"), scenes.len() as u64);
    let fetch_options = FetchOptions {
        scenes_in_flight: options.connections,
        memory_bytes: options.memory_bytes / 2,
        disk_limit: options.disk_limit,
        is_stopped: stop::is_asked,
    };
    let report = pitwatch_imagery::fetch(
        &mirror,
        &region,
        scenes,
        &pipeline.bands,
        &remotes,
        &fetch_options,
        &|n_done| bar.set(n_done as u64),
    );
    bar.finish();
    let report = report.context("the mirror cannot be written; what was complete is kept")?;
    stop::check()?;
    note(
        &mirror,
        &search,
        &report,
        &region,
        options.today,
        &mut refreshed,
    )?;
    told::write(&mirror, &kept, &search.sources, options.today)?;
    refreshed.watermarks = search
        .sources
        .iter()
        .filter(|report| report.is_complete)
        .filter_map(|report| Some((report.name.clone(), report.newest_published?)))
        .collect();
    refreshed.traffic = sources.net.traffic();
    Ok(refreshed)
}

/// Writes the collection and the record of an area, and counts.
fn note(
    mirror: &Mirror,
    search: &Search,
    report: &FetchReport,
    region: &Region,
    today: Day,
    refreshed: &mut Refreshed,
) -> Result<()> {
    let mut records: Vec<SceneRecord> = Vec::new();
    for (scene, outcome) in search.found.scenes.iter().zip(&report.outcomes) {
        refreshed.n_scenes += 1;
        let (outcome, reason) = match outcome {
            FetchOutcome::Fetched { .. } => {
                refreshed.n_fetched += 1;
                (Outcome::Mirrored, String::new())
            }
            FetchOutcome::Kept => {
                refreshed.n_kept += 1;
                (Outcome::Mirrored, String::new())
            }
            FetchOutcome::OutsideCells => {
                (Outcome::LeftOut, "no pixel in the area's cells".to_owned())
            }
            FetchOutcome::Failed { reason, .. } => {
                refreshed.failed_scenes.push(Skipped {
                    what: format!("scene {}", scene.id),
                    reason: reason.clone(),
                });
                (Outcome::Failed, reason.clone())
            }
        };
        records.push(scene_record(scene, outcome, reason));
    }
    let is_of_area = |excluded: &&Excluded| {
        !matches!(
            excluded.reason,
            ExclusionReason::OutsideArea | ExclusionReason::OutsidePeriod
        )
    };
    let is_had: BTreeSet<(Option<String>, Option<String>)> = records
        .iter()
        .map(|record| (record.datetime.clone(), record.tile.clone()))
        .collect();
    for excluded in search.found.excluded.iter().filter(is_of_area) {
        let record = excluded_record(excluded);
        // What one source cannot give is no loss where another did.
        if record.outcome == Outcome::Failed
            && record.tile.is_some()
            && is_had.contains(&(record.datetime.clone(), record.tile.clone()))
        {
            continue;
        }
        if record.outcome == Outcome::Failed {
            refreshed.failed_scenes.push(Skipped {
                what: format!("scene {}", record.id),
                reason: record.reason.clone(),
            });
        }
        records.push(record);
    }
    let sources = search
        .sources
        .iter()
        .map(|source| SourceRecord {
            name: source.name.clone(),
            n_matched: source.n_matched,
            n_received: source.n_received,
            newest_published: source.newest_published.map(time_text),
            is_complete: source.is_complete,
            problems: source.problems.clone(),
        })
        .collect();
    refreshed.n_bytes_lacking = report.n_bytes_lacking;
    let years = search.found.scenes.first().zip(search.found.scenes.last());
    let notice =
        match years.map(|(first, last)| (Day::of(first.time).year(), Day::of(last.time).year())) {
            Some((first, last)) if first != last => {
                format!("Contains modified Copernicus Sentinel data {first}–{last}")
            }
            Some((year, _)) => format!("Contains modified Copernicus Sentinel data {year}"),
            None => "Contains modified Copernicus Sentinel data".into(),
        };
    mirror.write(
        RECORD,
        &Record::new(&refreshed.area_id, today, sources, records).to_bytes()?,
    )?;
    let title = format!("Mirror of {}", refreshed.area_id);
    mirror.write_collection(&title, region.bounds(), &notice)?;
    Ok(())
}

fn scene_record(scene: &Scene, outcome: Outcome, reason: String) -> SceneRecord {
    SceneRecord {
        id: scene.id.clone(),
        source: scene.source.clone(),
        datetime: Some(time_text(scene.time)),
        platform: Some(scene.platform.clone()),
        relative_orbit: scene.relative_orbit,
        tile: Some(scene.identity.tile.clone()).filter(|tile| !tile.is_empty()),
        processing_baseline: scene.baseline.map(|baseline| baseline.to_string()),
        cloud_cover_percent: scene.cloud_cover_percent,
        outcome,
        reason,
    }
}

fn excluded_record(excluded: &Excluded) -> SceneRecord {
    SceneRecord {
        id: excluded.id.clone(),
        source: excluded.source.clone(),
        datetime: excluded.time.map(time_text),
        platform: excluded.platform.clone(),
        relative_orbit: excluded.relative_orbit,
        tile: excluded.tile.clone(),
        processing_baseline: excluded.baseline.map(|baseline| baseline.to_string()),
        cloud_cover_percent: excluded.cloud_cover_percent,
        outcome: if excluded.reason.is_failure() {
            Outcome::Failed
        } else {
            Outcome::LeftOut
        },
        reason: excluded.reason.to_string(),
    }
}

fn root_of(pipeline: &Pipeline) -> Result<&Storage> {
    pipeline
        .mirror
        .as_ref()
        .ok_or_else(|| anyhow!("what is fetched needs a place: give --mirror PATH"))
        .context(Problem::Configuration)
}

pub(crate) fn locked_or_refused(error: pitwatch_imagery::Error) -> anyhow::Error {
    let problem = match error {
        pitwatch_imagery::Error::MirrorLocked { .. } => Problem::Locked,
        _ => Problem::Configuration,
    };
    anyhow::Error::new(error).context(problem)
}

/// The areas of a mirror by name: its folders, or the place itself if it holds a collection.
///
/// # Errors
///
/// If there is none.
pub(crate) fn areas_of(mirror: &Path) -> Result<Vec<(String, Storage)>> {
    let place = config::open_mirror(mirror).context(Problem::Configuration)?;
    if place.get("collection.json").is_ok() {
        let address = place.address("");
        let name = address.rsplit('/').next().unwrap_or_default().to_owned();
        return Ok(vec![(name, place)]);
    }
    let names = place
        .folders()
        .with_context(|| format!("cannot list {}", place.address("")))
        .context(Problem::Configuration)?;
    if names.is_empty() {
        return Err(anyhow!(
            "{} holds no area; give the place that pitwatch fetch wrote",
            place.address("")
        ))
        .context(Problem::Configuration);
    }
    let areas = names.into_iter();
    Ok(areas
        .map(|name| {
            let area = place.join(&name);
            (name, area)
        })
        .collect())
}
