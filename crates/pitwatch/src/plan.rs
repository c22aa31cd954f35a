//! What a run would read and write, without doing it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use anyhow::Result;
use pitwatch_grid::{Day, Region};
use pitwatch_report::RASTER_NAMES;
use serde::Serialize;

use crate::config::Pipeline;
use crate::live::{self, NetworkOptions};
use crate::progress::Progress;
use crate::watch::{self, Survey};

/// Items left out that are named to a reader.
const MAX_EXCLUDED: usize = 20;

/// What a run would do in one area.
#[derive(Debug, Serialize)]
pub(crate) struct AreaPlan {
    area_id: String,
    catalog: String,
    bounds_degrees: Option<[f64; 4]>,
    n_scenes: usize,
    n_history: usize,
    n_monitoring: usize,
    first_look: String,
    last_look: String,
    bands: Vec<String>,
    missing_bands: Vec<String>,
    n_files_to_read: usize,
    n_excluded: usize,
    excluded: Vec<(String, String)>,
    /// What fetching would take; `None` if the scenes are on disk already, or the mirror is used as it is.
    fetch: Option<FetchPlan>,
    rasters: Vec<String>,
}

/// What fetching an area's scenes would take, from the headers of some of them.
#[derive(Debug, Serialize)]
struct FetchPlan {
    sources: Vec<SourcePlan>,
    n_scenes_to_fetch: usize,
    n_scenes_in_mirror: usize,
    n_requests: u64,
    n_bytes: u64,
    n_bytes_on_disk: u64,
    /// At the speed with which the pixels of one scene came; `None` if none did.
    duration_seconds: Option<u64>,
    n_scenes_sampled: usize,
    problems: Vec<String>,
}

/// How a source answered the search.
#[derive(Debug, Serialize)]
struct SourcePlan {
    name: String,
    n_received: u64,
    is_complete: bool,
    problems: Vec<String>,
}

/// Plans every area of a pipeline.
///
/// # Errors
///
/// If an area file or catalog cannot be used, or an area has no scene.
///
/// - `network`: how to ask the sources of live areas; without it the mirror is planned with as it is.
pub(crate) fn plan(
    pipeline: &Pipeline,
    network: Option<&NetworkOptions>,
    progress: &Progress,
) -> Result<Vec<AreaPlan>> {
    pipeline
        .areas
        .iter()
        .map(|source| {
            let address = source.catalog.display().to_string();
            let Some(network) = network.filter(|_| source.mirror.is_some()) else {
                return Ok(plan_area(
                    &address,
                    pipeline,
                    watch::survey(source, pipeline)?,
                ));
            };
            let found = live::plan(source, pipeline, network, progress)?;
            let survey = Survey {
                area_id: found.area_id,
                region: Some(found.region),
                found: found.search.found,
            };
            let mut plan = plan_area(&address, pipeline, survey);
            let estimate = found.estimate;
            plan.fetch = Some(FetchPlan {
                sources: found
                    .search
                    .sources
                    .into_iter()
                    .map(|source| SourcePlan {
                        name: source.name,
                        n_received: source.n_received,
                        is_complete: source.is_complete,
                        problems: source.problems,
                    })
                    .collect(),
                n_scenes_to_fetch: estimate.n_scenes,
                n_scenes_in_mirror: estimate.n_kept,
                n_requests: estimate.n_requests + found.searched.requests,
                n_bytes: estimate.n_bytes + found.searched.bytes,
                n_bytes_on_disk: estimate.n_bytes_on_disk,
                duration_seconds: estimate.duration.map(|duration| duration.as_secs()),
                n_scenes_sampled: estimate.n_sampled,
                problems: estimate.problems,
            });
            Ok(plan)
        })
        .collect()
}

fn plan_area(catalog: &str, pipeline: &Pipeline, survey: Survey) -> AreaPlan {
    let scenes = &survey.found.scenes;
    let n_history = scenes
        .iter()
        .filter(|scene| Day::of(scene.time) < pipeline.monitor_from)
        .count();
    let has =
        |band: &pitwatch_grid::Band| scenes.iter().any(|scene| scene.assets.contains_key(band));
    let (bands, missing): (Vec<pitwatch_grid::Band>, Vec<_>) =
        pipeline.bands.iter().partition(|band| has(band));
    // The reference system of most scenes is that of the results; of two with as many the smaller code.
    let mut n_scenes_of: BTreeMap<u32, usize> = BTreeMap::new();
    for epsg in scenes.iter().filter_map(|scene| scene.epsg) {
        *n_scenes_of.entry(epsg).or_default() += 1;
    }
    let epsg = n_scenes_of
        .iter()
        .max_by_key(|&(&epsg, &n_scenes)| (n_scenes, Reverse(epsg)))
        .map_or_else(|| "EPSG".into(), |(epsg, _)| epsg.to_string());
    let day = |scene: Option<&pitwatch_scenes::Scene>| {
        scene.map_or_else(String::new, |scene| Day::of(scene.time).to_string())
    };
    AreaPlan {
        catalog: catalog.to_owned(),
        bounds_degrees: survey.region.as_ref().map(Region::bounds),
        n_scenes: scenes.len(),
        n_history,
        n_monitoring: scenes.len() - n_history,
        first_look: day(scenes.first()),
        last_look: day(scenes.last()),
        n_files_to_read: scenes.iter().map(|scene| scene.assets.len() + 1).sum(),
        bands: bands.iter().map(ToString::to_string).collect(),
        missing_bands: missing.iter().map(ToString::to_string).collect(),
        n_excluded: survey.found.excluded.len(),
        excluded: survey
            .found
            .excluded
            .iter()
            .map(|excluded| (excluded.id.clone(), excluded.reason.to_string()))
            .collect(),
        fetch: None,
        rasters: RASTER_NAMES
            .map(|name| format!("rasters/{}_{epsg}_{name}.tif", survey.area_id))
            .to_vec(),
        area_id: survey.area_id,
    }
}

impl AreaPlan {
    /// The plan for a reader.
    pub(crate) fn to_text(&self) -> String {
        let mut lines = vec![
            format!("area {}", self.area_id),
            format!("  catalog     {}", self.catalog),
            format!(
                "  looks       {} ({} history, {} monitoring), {} to {}",
                self.n_scenes, self.n_history, self.n_monitoring, self.first_look, self.last_look
            ),
            format!("  bands       {}", self.bands.join(", ")),
        ];
        if !self.missing_bands.is_empty() {
            lines.push(format!(
                "  missing     {} (that evidence will not be used)",
                self.missing_bands.join(", ")
            ));
        }
        match &self.fetch {
            Some(fetch) => lines.extend(fetch.lines()),
            None => lines.push(format!("  would read  {} files", self.n_files_to_read)),
        }
        lines.push(format!("  excluded    {} items", self.n_excluded));
        lines.extend(
            self.excluded
                .iter()
                .take(MAX_EXCLUDED)
                .map(|(id, reason)| format!("    {id}: {reason}")),
        );
        if self.n_excluded > MAX_EXCLUDED {
            lines.push(format!(
                "    and {} more; --json lists them",
                self.n_excluded - MAX_EXCLUDED
            ));
        }
        lines.push("  would write alerts.geojson, alerts.qml, sites.geojson, sites.qml, looks.csv, manifest.json and".into());
        lines.extend(self.rasters.iter().map(|raster| format!("    {raster}")));
        lines.join("\n")
    }
}

impl FetchPlan {
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for source in &self.sources {
            let complete = if source.is_complete {
                ""
            } else {
                ", not all that it has"
            };
            lines.push(format!(
                "  searched    {}: {} items{complete}",
                source.name, source.n_received
            ));
            lines.extend(
                source
                    .problems
                    .iter()
                    .map(|problem| format!("    {problem}")),
            );
        }
        lines.push(format!(
            "  would fetch {} scenes; {} are in the mirror",
            self.n_scenes_to_fetch, self.n_scenes_in_mirror
        ));
        if self.n_scenes_to_fetch > 0 {
            lines.push(format!("  requests    {}", self.n_requests));
            lines.push(format!(
                "  bytes       {} to receive, {} on disk",
                size(self.n_bytes),
                size(self.n_bytes_on_disk)
            ));
            lines.push(match self.duration_seconds {
                Some(seconds) => format!(
                    "  time        {} at the speed of the scene that was tried, and the time to look at it",
                    time(seconds)
                ),
                None => "  time        cannot tell: no scene could be tried".into(),
            });
            lines.push(format!(
                "  estimated   from the headers of {} scenes",
                self.n_scenes_sampled
            ));
        }
        lines.extend(
            self.problems
                .iter()
                .map(|problem| format!("    cannot read {problem}")),
        );
        lines
    }
}

fn size(n_bytes: u64) -> String {
    let bytes = n_bytes as f64;
    if bytes < 1e9 {
        format!("{:.1} MB", bytes / 1e6)
    } else {
        format!("{:.1} GB", bytes / 1e9)
    }
}

fn time(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{:.1} h", seconds as f64 / 3600.0),
    }
}
