//! One area ready to be looked at: its scenes found, opened and checked.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use pitwatch_grid::{Band, Day, GeoBox, Region, UtcTime};
use pitwatch_imagery::{OffsetVerdict, Reader, SceneFiles, Source};
use pitwatch_scenes::{Excluded, Look, OffsetCheck, Query, Scene};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::area;
use crate::config::{AreaSource, Pipeline};
use crate::exit::Problem;
use crate::progress::Progress;

/// An area with its scenes, before any pixel is worked on.
pub(crate) struct Watch {
    pub(crate) area_id: String,
    pub(crate) region: Option<Region>,
    pub(crate) geobox: GeoBox,
    pub(crate) reader: Reader,
    /// The scenes of the reader's looks, in their order.
    pub(crate) scenes: Vec<Scene>,
    /// What the catalog has that did not become a look.
    pub(crate) excluded: Vec<Excluded>,
    /// Scenes that could not be opened: id and reason.
    pub(crate) unopened: Vec<(Scene, String)>,
    pub(crate) offsets: Vec<OffsetVerdict>,
    pub(crate) quarantined: Vec<bool>,
    pub(crate) notice: String,
    pub(crate) warnings: Vec<String>,
    /// SHA-256 of the area file, the items and the bytes of all files read.
    pub(crate) inputs_sha256: String,
    pub(crate) catalog: String,
}

/// What of an area can be told without reading pixels.
pub(crate) struct Survey {
    pub(crate) area_id: String,
    pub(crate) region: Option<Region>,
    pub(crate) found: pitwatch_scenes::Found,
}

/// Finds the scenes of an area.
///
/// # Errors
///
/// If the area file cannot be used, the catalog cannot be read, or no scene is left.
pub(crate) fn survey(source: &AreaSource, pipeline: &Pipeline) -> Result<Survey> {
    let region = source.file.as_deref().map(area::read).transpose()?;
    let query = Query {
        region: region.as_ref(),
        period: pipeline.period,
        max_cloud_cover_percent: Some(pipeline.max_cloud_cover_percent),
        bands: &pipeline.bands,
    };
    let found =
        pitwatch_scenes::read_catalog(&source.catalog, &query).context(Problem::NoSource)?;
    let area_id = source
        .id
        .clone()
        .unwrap_or_else(|| found.catalog.id.clone());
    if found.scenes.is_empty() {
        return Err(anyhow!(
            "{}: {}",
            source.catalog.display(),
            why_none(&found.excluded)
        ))
        .context(Problem::NoSource);
    }
    Ok(Survey {
        area_id,
        region,
        found,
    })
}

/// Why a catalog gave no scene, by how many items for which reason.
fn why_none(excluded: &[Excluded]) -> String {
    if excluded.is_empty() {
        return "the catalog has no items".into();
    }
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for excluded in excluded {
        *reasons.entry(excluded.reason.to_string()).or_default() += 1;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let listed: Vec<String> = reasons
        .iter()
        .take(3)
        .map(|(reason, count)| format!("{count} × {reason}"))
        .collect();
    format!(
        "none of its {} items can be used: {}",
        excluded.len(),
        listed.join("; ")
    )
}

/// Opens the scenes of an area and checks their offsets against the pixels.
///
/// # Errors
///
/// If no scene can be opened, or none lies in the history period.
pub(crate) fn open(source: &AreaSource, pipeline: &Pipeline, progress: &Progress) -> Result<Watch> {
    let Survey {
        area_id,
        region,
        found,
    } = survey(source, pipeline)?;
    let n_found = found.scenes.len();
    let files = found.scenes.iter().map(scene_files).collect();
    let bar = progress.bar(&format!("{area_id}: open scenes"), n_found as u64);
    let bands = usable_bands(&found.scenes, pipeline);
    let opened = Reader::open(files, &bands, None, &|n_opened| bar.set(n_opened as u64));
    let (reader, skipped) = opened
        .with_context(|| format!("{area_id}: none of {n_found} scenes can be opened"))
        .context(Problem::NoSource)?;
    bar.finish();

    let mut by_id: BTreeMap<(UtcTime, String), Scene> = found
        .scenes
        .into_iter()
        .map(|scene| ((scene.time, scene.id.clone()), scene))
        .collect();
    let mut take = |time: UtcTime, id: &str| by_id.remove(&(time, id.to_owned()));
    let scenes: Vec<Scene> = reader
        .looks()
        .iter()
        .filter_map(|look| take(look.time, &look.id))
        .collect();
    let unopened = skipped
        .into_iter()
        .filter_map(|skipped| Some((take(skipped.time, &skipped.id)?, skipped.reason)))
        .collect();

    let monitor_from = pipeline.monitor_from;
    if !scenes
        .iter()
        .any(|scene| Day::of(scene.time) < monitor_from)
    {
        let first = scenes
            .first()
            .map_or_else(|| "none".into(), |scene| Day::of(scene.time).to_string());
        return Err(anyhow!(
            "{area_id}: the history is too short: no look before monitor_from {monitor_from} (the first is of {first}); choose a later day or add older scenes"
        ))
        .context(Problem::Configuration);
    }
    let geobox = match &region {
        Some(region) => region.geobox(reader.lattice())?,
        None => reader.extent(),
    };
    let sample = pitwatch_imagery::sample(&reader, &geobox)?;
    let offsets = pitwatch_imagery::check_offsets(&sample, &pipeline.offset_check);
    let quarantined = offsets
        .iter()
        .map(|verdict| verdict.check == OffsetCheck::Contradicts)
        .collect();
    let mut warnings = found.warnings;
    for band in pipeline
        .bands
        .iter()
        .filter(|band| !reader.bands().contains(band))
    {
        warnings.push(format!(
            "{area_id}: the scenes have no {band} band; its evidence is missing"
        ));
    }
    let inputs_sha256 = hash_inputs(source.file.as_deref(), &scenes, &bands)?;
    let years = scenes
        .first()
        .zip(scenes.last())
        .map(|(first, last)| (Day::of(first.time).year(), Day::of(last.time).year()));
    let notice = found.catalog.notice.unwrap_or_else(|| match years {
        Some((first, last)) if first != last => {
            format!("Contains modified Copernicus Sentinel data {first}–{last}")
        }
        Some((year, _)) => format!("Contains modified Copernicus Sentinel data {year}"),
        None => "Contains modified Copernicus Sentinel data".into(),
    });
    Ok(Watch {
        area_id,
        region,
        geobox,
        reader,
        scenes,
        excluded: found.excluded,
        unopened,
        offsets,
        quarantined,
        notice,
        warnings,
        inputs_sha256,
        catalog: source.catalog.display().to_string(),
    })
}

/// The wanted bands that detection can count on: those it must have, and those that every scene has.
///
/// A band that some scenes lack would make a look's evidence depend on which scene gave it.
fn usable_bands(scenes: &[Scene], pipeline: &Pipeline) -> Vec<Band> {
    let is_required = |band: &Band| pitwatch_change::REQUIRED_BANDS.contains(band);
    let is_everywhere = |band: &Band| scenes.iter().all(|scene| scene.assets.contains_key(band));
    pipeline
        .bands
        .iter()
        .copied()
        .filter(|band| is_required(band) || is_everywhere(band))
        .collect()
}

fn scene_files(scene: &Scene) -> SceneFiles {
    let bands = scene.assets.iter().map(|(&band, asset)| Source {
        href: asset.href.clone(),
        band: Some(band),
        offset: asset.offset.digital_numbers,
        scale: asset.scale,
    });
    let classification = Source {
        href: scene.classification.href.clone(),
        band: None,
        offset: 0,
        scale: scene.classification.scale,
    };
    SceneFiles {
        id: scene.id.clone(),
        time: scene.time,
        sources: bands.chain([classification]).collect(),
    }
}

/// Hashes what the result rests on: the area, which scenes with which decisions, and the bytes of their files.
fn hash_inputs(area_file: Option<&Path>, scenes: &[Scene], bands: &[Band]) -> Result<String> {
    let mut all = Sha256::new();
    if let Some(path) = area_file {
        all.update(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    let hashes: Vec<Result<[u8; 32]>> = scenes
        .par_iter()
        .map(|scene| {
            let mut hash = Sha256::new();
            hash.update(format!(
                "{} {}",
                scene.id,
                pitwatch_grid::format_time(scene.time)
            ));
            let assets = scene
                .assets
                .iter()
                .filter(|(band, _)| bands.contains(band))
                .map(|(_, asset)| asset);
            for asset in assets.chain([&scene.classification]) {
                hash.update(format!(
                    " {} {} ",
                    asset.offset.digital_numbers, asset.scale
                ));
                let path = asset.href.strip_prefix("file://").unwrap_or(&asset.href);
                hash.update(std::fs::read(path).with_context(|| format!("cannot read {path}"))?);
            }
            Ok(hash.finalize().into())
        })
        .collect();
    for hash in hashes {
        all.update(hash?);
    }
    Ok(hex(&all.finalize()))
}

/// Hexadecimal digits of bytes, lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of bytes as 64 hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

impl Watch {
    /// What happened to each acquisition that the catalog knows of, in order of time.
    ///
    /// - `n_clear`: for each look of the reader, clear pixels in the area; `None` before any pixel was read.
    pub(crate) fn looks(
        &self,
        n_clear: Option<&[u64]>,
        failures: &BTreeMap<String, String>,
        n_pixels: u64,
    ) -> Vec<Look> {
        let mut looks = Vec::new();
        for (index, scene) in self.scenes.iter().enumerate() {
            let mut look = Look::from_scene(&self.area_id, scene);
            let verdict = &self.offsets[index];
            look.offset_check = Some(verdict.check);
            look.read = true;
            look.used = !self.quarantined[index];
            if self.quarantined[index] {
                look.reason = format!("quarantined: {}", verdict.ground);
            } else if let Some(reason) = failures.get(&scene.id) {
                look.reason = format!("partly unreadable: {reason}");
            } else if verdict.check == OffsetCheck::CannotTell {
                look.reason = format!("offset not checked: {}", verdict.ground);
            }
            if let Some(n_clear) = n_clear {
                look.clear_share = Some(n_clear[index] as f64 / n_pixels.max(1) as f64);
                look.used &= n_clear[index] > 0;
                if !look.used && look.reason.is_empty() {
                    look.reason = "no clear pixel in the area".into();
                }
            }
            looks.push(look);
        }
        for (scene, reason) in &self.unopened {
            let mut look = Look::from_scene(&self.area_id, scene);
            look.reason.clone_from(reason);
            looks.push(look);
        }
        looks.extend(
            self.excluded
                .iter()
                .map(|excluded| Look::from_excluded(&self.area_id, excluded)),
        );
        looks.sort_by(|a, b| (a.time, &a.scene_id).cmp(&(b.time, &b.scene_id)));
        looks
    }
}
