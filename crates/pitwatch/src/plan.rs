//! What a run would read and write, without doing it.

use anyhow::Result;
use pitwatch_grid::{Day, Region};
use pitwatch_report::RASTER_NAMES;
use serde::Serialize;

use crate::config::Pipeline;
use crate::watch::{self, Survey};

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
    rasters: Vec<String>,
}

/// Plans every area of a pipeline.
///
/// # Errors
///
/// If an area file or catalog cannot be used, or an area has no scene.
pub(crate) fn plan(pipeline: &Pipeline) -> Result<Vec<AreaPlan>> {
    pipeline
        .areas
        .iter()
        .map(|source| {
            Ok(plan_area(
                &source.catalog.display().to_string(),
                pipeline,
                watch::survey(source, pipeline)?,
            ))
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
    let epsg = scenes
        .iter()
        .find_map(|scene| scene.epsg)
        .map_or_else(|| "EPSG".into(), |epsg| epsg.to_string());
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
        lines.push(format!("  would read  {} files", self.n_files_to_read));
        lines.push(format!("  excluded    {} items", self.n_excluded));
        lines.extend(
            self.excluded
                .iter()
                .map(|(id, reason)| format!("    {id}: {reason}")),
        );
        lines.push("  would write alerts.geojson, alerts.qml, sites.geojson, sites.qml, looks.csv, manifest.json and".into());
        lines.extend(self.rasters.iter().map(|raster| format!("    {raster}")));
        lines.join("\n")
    }
}
