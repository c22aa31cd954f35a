//! One area ready to be looked at: its scenes found, opened and checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use pitwatch_grid::{Band, Day, GeoBox, Period, Region, UtcTime};
use pitwatch_imagery::{OffsetVerdict, Reader, SceneFiles, Source};
use pitwatch_scenes::storage::Hashes;
use pitwatch_scenes::{
    Excluded, ExclusionReason, Expected, Found, KnownPass, Look, OffsetCheck, Query, Scene,
    Storage, missing_passes,
};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::area;
use crate::config::{AreaSource, Pipeline, is_address};
use crate::exit::Problem;
use crate::progress::Progress;
use crate::record::Record;

/// An area with its scenes, before any pixel is worked on.
pub(crate) struct Watch {
    pub(crate) area_id: String,
    pub(crate) region: Option<Region>,
    pub(crate) geobox: GeoBox,
    pub(crate) reader: Reader,
    /// The scenes of the reader's looks, in their order.
    pub(crate) scenes: Vec<Scene>,
    /// The look that each of them is a part of.
    pub(crate) look_of: Vec<usize>,
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
    /// For each of `scenes`, the hash of what it rests on.
    scene_hashes: Vec<[u8; 32]>,
    pub(crate) catalog: String,
    /// Where it is, if it is a mirror.
    mirror: Option<Storage>,
    /// What the search of the sources found, where the catalog is a mirror.
    pub(crate) record: Option<Record>,
    /// The days that are looked at, as far as the pipeline says.
    period: Option<Period>,
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
    let found = match &source.mirror {
        Some(mirror) => pitwatch_scenes::read_mirror(mirror, &query),
        None => pitwatch_scenes::read_catalog(&source.catalog, &query),
    };
    let found = found.context(Problem::NoSource)?;
    let area_id = source
        .id
        .clone()
        .unwrap_or_else(|| name_of_files(&found.catalog.id));
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

/// The id of a catalog as a part of file names: letters, digits, `-` and `_`, all else a `-`.
fn name_of_files(id: &str) -> String {
    let plain = |letter: char| {
        let is_plain = letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
        if is_plain { letter } else { '-' }
    };
    if id.is_empty() {
        return "area".into();
    }
    id.chars().map(plain).collect()
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
///
/// - `is_checked`: the mirror's files were compared with their checksums already.
/// - `known`: checksums of files that are as they were.
pub(crate) fn open(
    source: &AreaSource,
    pipeline: &Pipeline,
    is_checked: bool,
    known: &Hashes,
    progress: &Progress,
) -> Result<Watch> {
    let Survey {
        area_id,
        region,
        found,
    } = survey(source, pipeline)?;
    let mut found = found;
    let damaged = if is_checked {
        Vec::new()
    } else {
        take_damaged(source, &mut found.scenes, known)?
    };
    let n_found = found.scenes.len();
    let files = found.scenes.iter().map(scene_files).collect();
    let notice = notice_of(&found);
    let bar = progress.bar(&format!("{area_id}: open scenes"), n_found as u64);
    let bands = usable_bands(&found.scenes, pipeline);
    let is_mirror = source.mirror.is_some();
    let (inputs_sha256, hashes) = hash_inputs(
        source.file.as_deref(),
        &found.scenes,
        &bands,
        is_mirror,
        known,
    )?;
    let mirror = source.mirror.as_ref();
    let opened = Reader::open_from(mirror, files, &bands, None, &|n_opened| {
        bar.set(n_opened as u64);
    });
    let (reader, skipped) = opened
        .with_context(|| format!("{area_id}: none of {n_found} scenes can be opened"))
        .context(Problem::NoSource)?;
    bar.finish();

    let hash_of: BTreeMap<(UtcTime, String), [u8; 32]> = found
        .scenes
        .iter()
        .map(|scene| (scene.time, scene.id.clone()))
        .zip(hashes)
        .collect();
    let mut by_id: BTreeMap<(UtcTime, String), Scene> = found
        .scenes
        .into_iter()
        .map(|scene| ((scene.time, scene.id.clone()), scene))
        .collect();
    let mut take = |time: UtcTime, id: &str| by_id.remove(&(time, id.to_owned()));
    let parts = reader
        .looks()
        .iter()
        .enumerate()
        .flat_map(|(index, look)| look.scenes.iter().map(move |scene| (index, scene)));
    let (look_of, scenes): (Vec<usize>, Vec<Scene>) = parts
        .filter_map(|(index, scene)| Some((index, take(scene.time, &scene.id)?)))
        .unzip();
    let scene_hashes = scenes
        .iter()
        .map(|scene| hash_of[&(scene.time, scene.id.clone())])
        .collect();
    let unopened = skipped
        .into_iter()
        .filter_map(|skipped| Some((take(skipped.time, &skipped.id)?, skipped.reason)))
        .chain(damaged)
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
    Ok(Watch {
        area_id,
        region,
        geobox,
        reader,
        scenes,
        look_of,
        excluded: found.excluded,
        unopened,
        offsets,
        quarantined,
        notice,
        warnings,
        inputs_sha256,
        scene_hashes,
        catalog: source.catalog.display().to_string(),
        record: match &source.mirror {
            Some(mirror) => Record::beside(mirror)?,
            None => Record::beside(&Storage::folder(&source.catalog))?,
        },
        mirror: source.mirror.clone(),
        period: pipeline.period,
    })
}

/// Takes out the scenes of a mirror of which a file is not what its item says.
fn take_damaged(
    source: &AreaSource,
    scenes: &mut Vec<Scene>,
    known: &Hashes,
) -> Result<Vec<(Scene, String)>> {
    let Some(mirror) = &source.mirror else {
        return Ok(Vec::new());
    };
    let checked = pitwatch_imagery::check_mirror(mirror, known).context(Problem::NoSource)?;
    let reason_of = |scene: &Scene| {
        // A path of the mirror may be resolved: the folder's name is the same.
        let item = mirror.name_of(&scene.item_href);
        let item = item.unwrap_or_else(|| scene.item_href.clone());
        let folder = Path::new(&item).parent()?.file_name()?.to_string_lossy();
        checked
            .damaged
            .iter()
            .find(|damage| damage.scene == folder)
            .map(|damage| {
                format!(
                    "{}: {}; pitwatch fetch brings it again",
                    damage.file, damage.reason
                )
            })
    };
    let mut damaged = Vec::new();
    scenes.retain(|scene| match reason_of(scene) {
        Some(reason) => {
            damaged.push((scene.clone(), reason));
            false
        }
        None => true,
    });
    Ok(damaged)
}

/// The notice of the imagery's licence: the catalog's, or Copernicus' with the years of its scenes.
fn notice_of(found: &Found) -> String {
    let year = |scene: Option<&Scene>| scene.map(|scene| Day::of(scene.time).year());
    let years = year(found.scenes.first()).zip(year(found.scenes.last()));
    found.catalog.notice.clone().unwrap_or_else(|| match years {
        Some((first, last)) if first != last => {
            format!("Contains modified Copernicus Sentinel data {first}–{last}")
        }
        Some((year, _)) => format!("Contains modified Copernicus Sentinel data {year}"),
        None => "Contains modified Copernicus Sentinel data".into(),
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
        pass: scene.identity.pass.clone(),
        sources: bands.chain([classification]).collect(),
    }
}

/// Hashes what the result rests on: the area, which scenes with which decisions, and the checksums of their files. Returns
/// also what each scene adds to it.
///
/// - `is_mirror`: the files were compared with the checksums that their items state, and are not read again.
fn hash_inputs(
    area_file: Option<&Path>,
    scenes: &[Scene],
    bands: &[Band],
    is_mirror: bool,
    known: &Hashes,
) -> Result<(String, Vec<[u8; 32]>)> {
    let mut all = Sha256::new();
    if let Some(path) = area_file {
        hash_file(&mut all, path)?;
    }
    let hashes: Vec<[u8; 32]> = scenes
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
                let stated = || Some(asset.stated.get("file:checksum")?.as_str()?.to_owned());
                // A file that cannot be read is noted where it is opened; here it only gives the run another name.
                let path = asset.href.strip_prefix("file://").unwrap_or(&asset.href);
                let checksum = stated().filter(|_| is_mirror).unwrap_or_else(|| {
                    // As a mirror's items write it: multihash of SHA-256.
                    known
                        .sha256(Path::new(path))
                        .map_or_else(|_| "unreadable".into(), |(_, sum)| format!("1220{sum}"))
                });
                hash.update(checksum);
            }
            hash.finalize().into()
        })
        .collect();
    for hash in &hashes {
        all.update(hash);
    }
    Ok((hex(&all.finalize()), hashes))
}

/// Adds a file's bytes to a hash, a piece at a time.
fn hash_file(hash: &mut Sha256, path: &Path) -> Result<()> {
    let mut read = || -> std::io::Result<()> {
        let mut file = std::fs::File::open(path)?;
        let mut piece = vec![0; 1 << 16];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(()),
                n_bytes => hash.update(&piece[..n_bytes]),
            }
        }
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

/// SHA-256 of a file as 64 hexadecimal digits.
pub(crate) fn file_sha256(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    hash_file(&mut hash, path)?;
    Ok(hex(&hash.finalize()))
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
    /// What happened to each acquisition that the catalog knows of, in order of time. Files are named as seen from the
    /// catalog's folder, so that the same mirror gives the same bytes wherever it stands.
    ///
    /// - `n_clear`: for each look of the reader, clear pixels in the area; `None` before any pixel was read.
    pub(crate) fn looks(
        &self,
        n_clear: Option<&[u64]>,
        failures: &BTreeMap<String, String>,
        n_pixels: u64,
    ) -> Vec<Look> {
        let mut looks = Vec::new();
        for (scene, &index) in self.scenes.iter().zip(&self.look_of) {
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
            look.failed = true;
            looks.push(look);
        }
        looks.extend(
            self.excluded
                .iter()
                .map(|excluded| Look::from_excluded(&self.area_id, excluded)),
        );
        looks.extend(self.looks_of_record());
        self.tell_missing(&mut looks);
        let folder = self.catalog_folder();
        let prefix = format!("{}/", folder.display());
        for look in &mut looks {
            look.href = match self
                .mirror
                .as_ref()
                .and_then(|mirror| mirror.name_of(&look.href))
            {
                Some(name) => name,
                None => relative(&folder, &look.href),
            };
            look.reason = look.reason.replace(&prefix, "");
        }
        looks.sort_by(|a, b| {
            (a.time, &a.scene_id, &a.tile, &a.source).cmp(&(
                b.time,
                &b.scene_id,
                &b.tile,
                &b.source,
            ))
        });
        looks
    }

    /// For each look of the reader, what it is made of: its scenes with the checksums of their files, and whether they are
    /// set aside.
    pub(crate) fn look_ids(&self) -> Vec<[u8; 32]> {
        let mut ids: Vec<Sha256> = self
            .quarantined
            .iter()
            .map(|&is_quarantined| Sha256::new().chain_update([u8::from(is_quarantined)]))
            .collect();
        for (&look, hash) in self.look_of.iter().zip(&self.scene_hashes) {
            ids[look].update(hash);
        }
        ids.into_iter().map(|id| id.finalize().into()).collect()
    }

    /// SHA-256 of all that the results of the area rest on: the inputs' bytes, what the catalog says of each item, and
    /// the notice.
    pub(crate) fn sha256(&self) -> String {
        let looks = self.looks(None, &BTreeMap::new(), 0);
        let text = format!("{}\n{}\n{looks:?}", self.inputs_sha256, self.notice);
        sha256(text.as_bytes())
    }

    /// The looks of scenes that a search found and that the mirror has not.
    fn looks_of_record(&self) -> Vec<Look> {
        let Some(record) = &self.record else {
            return Vec::new();
        };
        let here = self
            .scenes
            .iter()
            .chain(self.unopened.iter().map(|(scene, _)| scene));
        let is_here: BTreeSet<&str> = here
            .map(|scene| scene.id.as_str())
            .chain(self.excluded.iter().map(|excluded| excluded.id.as_str()))
            .collect();
        let elsewhere = record
            .scenes
            .iter()
            .filter(|scene| !is_here.contains(scene.id.as_str()));
        elsewhere.map(|scene| scene.look(&self.area_id)).collect()
    }

    /// Those of them that could not be had.
    pub(crate) fn failed_of_record(&self) -> Vec<Look> {
        let mut looks = self.looks_of_record();
        looks.retain(|look| look.failed);
        looks
    }

    /// Says of each look that it was to be expected, and adds those that were and are not there.
    fn tell_missing(&self, looks: &mut Vec<Look>) {
        let is_outside = ExclusionReason::OutsideArea.to_string();
        let known: Vec<KnownPass> = looks
            .iter()
            .filter(|look| look.reason != is_outside)
            .filter_map(|look| {
                Some(KnownPass {
                    platform: look.platform.clone()?,
                    relative_orbit: look.relative_orbit?,
                    tile: look.tile.clone()?,
                    time: look.time?,
                })
            })
            .collect();
        let days = || known.iter().map(|pass| Day::of(pass.time));
        let (Some(first), Some(last)) = (days().min(), days().max()) else {
            return;
        };
        // Without a record of a search nothing is known of the days after the last acquisition.
        let searched = self
            .record
            .as_ref()
            .and_then(|record| record.searched_until.as_deref()?.parse().ok());
        let last = searched.map_or(last, |day: Day| last.max(day));
        let incomplete: Vec<&str> = self
            .record
            .iter()
            .flat_map(|record| &record.sources)
            .filter(|source| !source.is_complete)
            .map(|source| source.name.as_str())
            .collect();
        let from = self
            .period
            .map_or(first, |period| period.start().max(first));
        let until = self.period.map_or(last, |period| period.end().min(last));
        let Ok(period) = Period::new(from, until) else {
            return;
        };
        for look in looks.iter_mut() {
            let has_plan = look.tile.is_some()
                && look.relative_orbit.is_some()
                && look
                    .platform
                    .as_deref()
                    .is_some_and(|name| name.starts_with("sentinel-2"));
            look.expected = has_plan.then_some(Expected::Yes);
        }
        let missing = missing_passes(&known, period);
        looks.extend(missing.iter().map(|pass| {
            let mut look = Look::from_missing(&self.area_id, pass);
            if !incomplete.is_empty() {
                look.reason +=
                    &format!("; the search was not complete ({})", incomplete.join(", "));
            }
            look
        }));
    }

    fn catalog_folder(&self) -> PathBuf {
        let path = Path::new(&self.catalog);
        if is_address(path) {
            return path.to_owned();
        }
        let folder = if path.is_dir() {
            path
        } else {
            path.parent().unwrap_or(path)
        };
        fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned())
    }
}

/// The path of a file below a folder; a file elsewhere and an address stay as they are.
fn relative(folder: &Path, href: &str) -> String {
    let path = href.strip_prefix("file://").unwrap_or(href);
    let path = fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
    path.strip_prefix(folder)
        .map_or_else(|_| href.to_owned(), |path| path.display().to_string())
}
