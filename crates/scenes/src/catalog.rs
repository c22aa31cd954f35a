use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use geo::Intersects;
use pitwatch_grid::{Band, Day, Period, Region, UtcTime};
use serde::Deserialize;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::item::Item;
use crate::net::Remote;
use crate::scene::{is_remote, names, remove_duplicates, resolve};
use crate::storage::Storage;
use crate::{Error, Excluded, ExclusionReason, Result, Scene};

/// Files of one catalog: an area's ten years have some thousand items. More is a catalog without end.
const MAX_FILES: usize = 200_000;
/// Files that are asked for together.
const FILES_AT_A_TIME: usize = 256;
/// Longest file of a catalog at an address.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Assets of an item; real ones have 20 to 60.
const MAX_ASSETS: usize = 1000;

/// What to look for in a catalog.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query<'a> {
    /// Scenes must touch this; `None` takes all.
    pub region: Option<&'a Region>,
    /// Scenes must be of a day in this; `None` takes all.
    pub period: Option<Period>,
    /// Scenes must not have more cloud than this, 0 to 100. A scene that does not say is taken.
    pub max_cloud_cover_percent: Option<f64>,
    /// Bands to take; none means all.
    pub bands: &'a [Band],
}

/// What a catalog gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The catalog itself.
    pub catalog: CatalogInfo,
    /// Scenes by time, then id: the order of the catalog does not matter.
    pub scenes: Vec<Scene>,
    /// Every item that is no scene, by time, then id.
    pub excluded: Vec<Excluded>,
    /// What a reader of the results should know, one sentence each.
    pub warnings: Vec<String>,
}

/// What a catalog says of itself. Where the root does not say, the first of its children that does is asked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CatalogInfo {
    /// The root's id; its file's name if it has none.
    pub id: String,
    /// SPDX identifier, or `proprietary`, `other` or `various` (STAC collection specification, "license").
    pub license: Option<String>,
    /// The notice that results must carry: `pitwatch:notice`, else `attribution`, else the names of the providers.
    pub notice: Option<String>,
    /// The first of the stated bounding boxes, which is that of the whole (STAC collection specification, "spatial extent").
    pub extent: Option<Region>,
}

/// Reads the scenes of a static catalog.
///
/// - `path`: a `collection.json` or `catalog.json`, a folder that holds one of the two, one item, or a collection of
///   features. Links to items and children are followed; a file is read once, so a circle of links ends.
///
/// Of several products of one acquisition the newest is taken before the limit of cloud cover is applied, so that an older
/// product does not stand in for one that was found too cloudy.
///
/// # Errors
///
/// If a catalog or collection is missing or broken. A broken item is listed in [`Found::excluded`] instead.
///
/// Source: STAC specification 1.0 and 1.1, "catalog", "collection" and "item" with their link relations; a collection of
/// features is an "ItemCollection" of the STAC API specification 1.0.
pub fn read_catalog(path: &Path, query: &Query<'_>) -> Result<Found> {
    let mut walk = Walk::default();
    walk.read(path, query.bands, Way::Disk)?;
    Ok(sift(walk, query).found)
}

/// Reads the scenes of an area's mirror, as [`read_catalog`] does.
///
/// # Errors
///
/// As [`read_catalog`].
pub fn read_mirror(area: &Storage, query: &Query<'_>) -> Result<Found> {
    if let Some(folder) = area.path() {
        return read_catalog(folder, query);
    }
    let mut walk = Walk::default();
    let collection = area.address("collection.json");
    walk.read(Path::new(&collection), query.bands, Way::Mirror(area))?;
    Ok(sift(walk, query).found)
}

/// What a walk found that a query asks for.
pub(crate) struct Sifted {
    pub(crate) found: Found,
    /// When the newest item that is of the region and period was published.
    pub(crate) newest_published: Option<UtcTime>,
}

/// Sorts out what the query does not ask for.
pub(crate) fn sift(walk: Walk, query: &Query<'_>) -> Sifted {
    let mut excluded = walk.excluded;
    let mut candidates = Vec::new();
    for scene in walk.scenes {
        let is_outside = query
            .region
            .is_some_and(|region| !scene.footprint.intersects(region.lonlat()));
        let is_early_or_late = query
            .period
            .is_some_and(|period| !period.contains(Day::of(scene.time)));
        if is_outside {
            excluded.push(scene.exclude(ExclusionReason::OutsideArea));
        } else if is_early_or_late {
            excluded.push(scene.exclude(ExclusionReason::OutsidePeriod));
        } else {
            candidates.push(scene);
        }
    }
    let newest_published = candidates
        .iter()
        .filter_map(|scene| scene.updated.max(scene.created))
        .max();
    let (candidates, superseded) = remove_duplicates(candidates);
    excluded.extend(superseded);
    let mut scenes = Vec::new();
    for scene in candidates {
        match (scene.cloud_cover_percent, query.max_cloud_cover_percent) {
            (Some(cloud_cover_percent), Some(max_cloud_cover_percent))
                if cloud_cover_percent > max_cloud_cover_percent =>
            {
                excluded.push(scene.exclude(ExclusionReason::TooCloudy {
                    cloud_cover_percent,
                    max_cloud_cover_percent,
                }));
            }
            _ => scenes.push(scene),
        }
    }
    scenes.sort_by(|a, b| (a.time, &a.id, &a.item_href).cmp(&(b.time, &b.id, &b.item_href)));
    excluded.sort_by_cached_key(|excluded| {
        let Excluded { id, href, .. } = excluded;
        (
            excluded.time,
            id.clone(),
            href.clone(),
            excluded.reason.to_string(),
        )
    });
    let mut warnings = walk.warnings.into_iter().collect::<Vec<_>>();
    warnings.extend(warnings_of(&scenes, query.bands));
    Sifted {
        found: Found {
            catalog: walk.catalog.unwrap_or_default(),
            scenes,
            excluded,
            warnings,
        },
        newest_published,
    }
}

/// What is worth a word in a set of scenes, once for the set.
fn warnings_of(scenes: &[Scene], bands: &[Band]) -> Vec<String> {
    let n_scenes = scenes.len();
    let mut warnings = Vec::new();
    let mut lacking: BTreeMap<Vec<Band>, usize> = BTreeMap::new();
    let mut unknown: BTreeMap<&str, usize> = BTreeMap::new();
    let mut n_uneven = 0;
    for scene in scenes {
        let missing: Vec<Band> = bands
            .iter()
            .copied()
            .filter(|band| !scene.assets.contains_key(band))
            .collect();
        if !missing.is_empty() {
            *lacking.entry(missing).or_default() += 1;
        }
        if !scene.is_platform_known() {
            *unknown.entry(&scene.platform).or_default() += 1;
        }
        let first = scene.offset();
        if scene
            .assets
            .values()
            .any(|asset| Some(asset.offset) != first)
        {
            n_uneven += 1;
        }
    }
    for (missing, count) in lacking {
        let missing = names(&missing);
        warnings.push(format!(
            "{count} of {n_scenes} scenes have no {missing}: what needs it is not assessed there"
        ));
    }
    for (platform, count) in unknown {
        warnings.push(format!(
            "{count} of {n_scenes} scenes are of platform {platform:?}, which is not known: read as Sentinel-2 all the same"
        ));
    }
    if n_uneven > 0 {
        warnings.push(format!(
            "{n_uneven} of {n_scenes} scenes have bands of different offsets: each band is read with its own"
        ));
    }
    warnings
}

/// What following links has found so far.
#[derive(Default)]
pub(crate) struct Walk {
    catalog: Option<CatalogInfo>,
    scenes: Vec<Scene>,
    excluded: Vec<Excluded>,
    warnings: BTreeSet<String>,
    visited: BTreeSet<PathBuf>,
    reads_addresses: bool,
}

/// How files that do not lie on disk are read.
#[derive(Clone, Copy)]
pub(crate) enum Way<'a> {
    /// Not at all: they are told as not read.
    Disk,
    /// From a source.
    Remote(&'a Runtime, &'a Remote),
    /// From the bucket of a mirror.
    Mirror(&'a Storage),
}

/// A file to read, and whether a catalog said it is an item.
#[derive(Clone)]
struct Next {
    path: PathBuf,
    is_item: bool,
}

#[derive(Deserialize)]
struct Link {
    rel: String,
    href: String,
}

impl Walk {
    /// Follows a catalog's links, level by level; the files of a level that lie at addresses are asked for together.
    ///
    pub(crate) fn read(&mut self, path: &Path, bands: &[Band], way: Way<'_>) -> Result<()> {
        self.reads_addresses = !matches!(way, Way::Disk);
        let root = if is_address(path) {
            path.to_owned()
        } else {
            catalog_file(path)?
        };
        let mut level = vec![Next {
            path: root,
            is_item: false,
        }];
        while !level.is_empty() {
            let mut following = VecDeque::new();
            let mut fresh = Vec::new();
            for next in level {
                let name = if is_address(&next.path) {
                    Ok(next.path.clone())
                } else {
                    fs::canonicalize(&next.path)
                };
                if name
                    .as_ref()
                    .is_ok_and(|name| !self.visited.insert(name.clone()))
                {
                    continue;
                }
                fresh.push(next);
            }
            if self.visited.len() > MAX_FILES {
                return Err(Error::TooLarge {
                    path: path.to_owned(),
                    n_files: MAX_FILES,
                });
            }
            for chunk in fresh.chunks(FILES_AT_A_TIME) {
                let texts = texts_of(chunk, way);
                for (next, text) in chunk.iter().zip(texts) {
                    self.read_text(next.clone(), text, bands, &mut following)?;
                }
            }
            level = following.into();
        }
        Ok(())
    }

    fn read_text(
        &mut self,
        next: Next,
        text: std::io::Result<Vec<u8>>,
        bands: &[Band],
        queue: &mut VecDeque<Next>,
    ) -> Result<()> {
        let text = match text {
            Ok(text) => text,
            Err(error) if next.is_item => {
                let message = error.to_string();
                self.exclude_file(&next.path, ExclusionReason::MissingFile { message });
                return Ok(());
            }
            Err(source) => {
                return Err(Error::Read {
                    path: next.path,
                    source,
                });
            }
        };
        match serde_json::from_slice(&text) {
            Ok(value) => self.read_value(value, next, bands, queue),
            Err(error) if next.is_item => {
                let message = error.to_string();
                self.exclude_file(&next.path, ExclusionReason::Unreadable { message });
                Ok(())
            }
            Err(source) => Err(Error::Parse {
                path: next.path,
                source,
            }),
        }
    }

    /// Reads one text as a file of a catalog; what it links is not followed.
    pub(crate) fn read_bytes(&mut self, path: &Path, bytes: &[u8], bands: &[Band]) -> Result<()> {
        let next = Next {
            path: path.to_owned(),
            is_item: false,
        };
        self.read_text(next, Ok(bytes.to_vec()), bands, &mut VecDeque::new())
    }

    /// Notes from which source all of it came, where the items do not say themselves.
    pub(crate) fn name_source(&mut self, name: &str) {
        for scene in &mut self.scenes {
            name.clone_into(&mut scene.source);
        }
        for excluded in &mut self.excluded {
            name.clone_into(&mut excluded.source);
        }
    }

    fn read_value(
        &mut self,
        mut value: Value,
        next: Next,
        bands: &[Band],
        queue: &mut VecDeque<Next>,
    ) -> Result<()> {
        let Next { path, is_item } = next;
        let kind = value
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        match kind.as_str() {
            "Feature" => {
                self.catalog
                    .get_or_insert_with(|| info_of(&Value::Null, &path));
                self.read_item(value, &path, None, bands);
            }
            "FeatureCollection" => {
                self.hear(&value, &path);
                let features = value.get_mut("features").map(Value::take);
                let Some(Value::Array(features)) = features else {
                    let found = "FeatureCollection without a list of features".into();
                    return Err(Error::NotStac { path, found });
                };
                for (index, feature) in features.into_iter().enumerate() {
                    self.read_item(feature, &path, Some(index), bands);
                }
            }
            // STAC before 1.0 gave catalogs no type.
            "Catalog" | "Collection" | "" if value.get("stac_version").is_some() && !is_item => {
                self.hear(&value, &path);
                let links = value.get_mut("links").map(Value::take).unwrap_or_default();
                let links: Vec<Link> = match serde_json::from_value(links) {
                    Ok(links) => links,
                    Err(source) => return Err(Error::Links { path, source }),
                };
                self.follow(links, &path, queue);
            }
            _ if is_item => {
                let message = format!("its type is {kind:?}, not \"Feature\"");
                self.exclude_file(&path, ExclusionReason::Unreadable { message });
            }
            _ => {
                let found = if kind.is_empty() {
                    "missing".into()
                } else {
                    format!("{kind:?}")
                };
                return Err(Error::NotStac { path, found });
            }
        }
        Ok(())
    }

    fn follow(&mut self, links: Vec<Link>, path: &Path, queue: &mut VecDeque<Next>) {
        let mut n_followed = 0;
        for Link { rel, href } in links {
            let is_item = rel == "item";
            if !is_item && rel != "child" {
                continue;
            }
            n_followed += 1;
            let target = resolve(&href, path);
            if !is_remote(&target) || self.reads_addresses {
                queue.push_back(Next {
                    path: target.into(),
                    is_item,
                });
            } else if is_item {
                self.exclude_file(Path::new(&target), ExclusionReason::NotLocal);
            } else {
                self.warnings.insert(format!(
                    "the catalog {target} lies at an address and is not read; mirror it first"
                ));
            }
        }
        if n_followed == 0 {
            self.warnings.insert(format!(
                "{} links no item and no child: it gives no scene",
                path.display()
            ));
        }
    }

    pub(crate) fn read_item(
        &mut self,
        value: Value,
        path: &Path,
        index: Option<usize>,
        bands: &[Band],
    ) {
        let stated_id = value.get("id").and_then(Value::as_str).map(str::to_owned);
        let n_assets = value
            .get("assets")
            .and_then(Value::as_object)
            .map_or(0, serde_json::Map::len);
        if n_assets > MAX_ASSETS {
            let id = stated_id.unwrap_or_else(|| name_of(path));
            let message = format!("it has {n_assets} assets; {MAX_ASSETS} are read");
            self.excluded
                .push(unread(id, path, ExclusionReason::Unreadable { message }));
            return;
        }
        let item: Item = match serde_json::from_value(value) {
            Ok(item) => item,
            Err(error) => {
                let name = name_of(path);
                let id = stated_id
                    .or_else(|| index.map(|index| format!("{name}, feature {index}")))
                    .unwrap_or(name);
                let reason = ExclusionReason::Unreadable {
                    message: error.to_string(),
                };
                self.excluded.push(unread(id, path, reason));
                return;
            }
        };
        match Scene::from_item(&item, path, bands) {
            Ok(scene) => self.scenes.push(scene),
            Err(reason) => self.excluded.push(Excluded {
                time: item.time(),
                platform: item.platform(),
                baseline: item.baseline().ok().flatten(),
                cloud_cover_percent: item.cloud_cover_percent(),
                relative_orbit: item.relative_orbit(),
                tile: item.tile(),
                ..unread(item.id.clone(), path, reason)
            }),
        }
    }

    fn exclude_file(&mut self, path: &Path, reason: ExclusionReason) {
        self.excluded.push(unread(name_of(path), path, reason));
    }

    /// Takes what a catalog says of itself, where no earlier one has said it.
    fn hear(&mut self, value: &Value, path: &Path) {
        let said = info_of(value, path);
        match &mut self.catalog {
            None => self.catalog = Some(said),
            Some(known) => {
                known.license = known.license.take().or(said.license);
                known.notice = known.notice.take().or(said.notice);
                known.extent = known.extent.take().or(said.extent);
            }
        }
    }
}

/// The bytes of files and addresses, in their order.
fn texts_of(chunk: &[Next], way: Way<'_>) -> Vec<std::io::Result<Vec<u8>>> {
    let (runtime, remote) = match way {
        Way::Disk => return chunk.iter().map(|next| fs::read(&next.path)).collect(),
        Way::Mirror(area) => {
            // The name of what lies elsewhere is none of the mirror's, and so not there.
            let name = |next: &Next| area.name_of(&next.path.to_string_lossy());
            let names: Vec<String> = chunk
                .iter()
                .map(|next| name(next).unwrap_or_default())
                .collect();
            return area.get_all(&names);
        }
        Way::Remote(runtime, remote) => (runtime, remote),
    };
    let ask = |next: &Next| {
        let path = next.path.clone();
        async move {
            if !is_address(&path) {
                return fs::read(&path);
            }
            let bytes = remote.whole(&path.to_string_lossy(), MAX_FILE_BYTES).await;
            bytes
                .map(|bytes| bytes.to_vec())
                .map_err(std::io::Error::other)
        }
    };
    runtime.block_on(futures::future::join_all(chunk.iter().map(ask)))
}

fn is_address(path: &Path) -> bool {
    path.to_str().is_some_and(is_remote)
}

/// The file to start with.
fn catalog_file(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.into());
    }
    ["collection.json", "catalog.json"]
        .into_iter()
        .map(|name| path.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| Error::NoCatalog { path: path.into() })
}

fn unread(id: String, path: &Path, reason: ExclusionReason) -> Excluded {
    Excluded {
        id,
        href: path.display().to_string(),
        time: None,
        platform: None,
        baseline: None,
        cloud_cover_percent: None,
        relative_orbit: None,
        tile: None,
        source: String::new(),
        reason,
    }
}

/// A name for a file that holds none: its own, or its folder's if all are called alike (`S2A_…/item.json`).
fn name_of(path: &Path) -> String {
    let text =
        |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let stem = text(path.file_stem()).unwrap_or_default();
    if ["item", "stac", "index", "collection", "catalog"].contains(&stem.as_str()) {
        text(path.parent().and_then(Path::file_name)).unwrap_or(stem)
    } else {
        stem
    }
}

fn info_of(value: &Value, path: &Path) -> CatalogInfo {
    let text = |name: &str| {
        let text = value.get(name)?.as_str()?;
        (!text.is_empty()).then(|| text.to_owned())
    };
    let providers = || {
        let providers = value.get("providers")?.as_array()?;
        let names: Vec<&str> = providers
            .iter()
            .filter_map(|provider| provider.get("name")?.as_str())
            .collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let bounds = || -> Option<Region> {
        let bounds = value.pointer("/extent/spatial/bbox/0")?.as_array()?;
        let bounds: Vec<f64> = bounds.iter().map(Value::as_f64).collect::<Option<_>>()?;
        match bounds[..] {
            [west, south, east, north] | [west, south, _, east, north, _] => {
                Region::from_bounds(west, south, east, north).ok()
            }
            _ => None,
        }
    };
    CatalogInfo {
        id: text("id").unwrap_or_else(|| name_of(path)),
        license: text("license"),
        notice: text("pitwatch:notice")
            .or_else(|| text("attribution"))
            .or_else(providers),
        extent: bounds(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pitwatch_grid::format_time;
    use serde_json::json;

    use super::*;
    use crate::OffsetGround;

    fn own(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/data/stac")
            .join(name)
    }

    fn read(path: &Path) -> Found {
        read_catalog(path, &Query::default()).unwrap()
    }

    fn only_scene(path: &Path) -> Scene {
        let found = read(path);
        assert_eq!(
            (found.scenes.len(), found.excluded.len()),
            (1, 0),
            "{path:?} {:?}",
            found.excluded
        );
        found.scenes.into_iter().next().unwrap()
    }

    fn reasons(found: &Found) -> BTreeMap<&str, String> {
        found
            .excluded
            .iter()
            .map(|excluded| (excluded.id.as_str(), excluded.reason.to_string()))
            .collect()
    }

    #[test]
    fn items_of_each_shape_become_scenes() {
        use OffsetGround::{AlreadyApplied, AssetMetadata, Baseline, FlagFalse, None};
        for (name, n_bands, offset, ground, baseline, epsg) in [
            ("earth-search-v0", 7, 0, None, "02.14", 32630),
            ("earth-search-v1", 7, 0, AlreadyApplied, "04.00", 32630),
            ("reprocessed", 7, -1000, FlagFalse, "05.10", 32630),
            ("earth-search-c1", 7, -1000, AssetMetadata, "05.09", 32630),
            ("planetary-computer", 7, -1000, Baseline, "04.00", 32630),
            (
                "copernicus-data-space",
                7,
                -1000,
                AssetMetadata,
                "05.11",
                32630,
            ),
            ("stactools", 7, -7000, AssetMetadata, "04.00", 32630),
            ("mirror", 6, 0, AssetMetadata, "", 32630),
        ] {
            let scene = only_scene(&own(&format!("{name}.json")));
            assert_eq!(scene.assets.len(), n_bands, "{name}");
            for asset in scene.assets.values() {
                assert_eq!(
                    (asset.offset.digital_numbers, asset.offset.ground),
                    (offset, ground),
                    "{name}"
                );
                assert!((asset.scale - 1e-4).abs() < 1e-12);
            }
            assert_eq!(
                scene
                    .baseline
                    .map(|baseline| baseline.to_string())
                    .unwrap_or_default(),
                baseline,
                "{name}"
            );
            assert_eq!(scene.epsg, Some(epsg), "{name}");
            assert_eq!(scene.classification.offset.digital_numbers, 0, "{name}");
            for (band, resolution_m) in [
                (Band::Red, 10.0),
                (Band::Nir, 10.0),
                (Band::Nir08, 20.0),
                (Band::Swir16, 20.0),
            ] {
                let geobox = scene.assets[&band].geobox.as_ref().unwrap();
                assert!(
                    (geobox.resolution_m() - resolution_m).abs() < 1e-9,
                    "{name} {band}"
                );
            }
            let classes = scene.classification.geobox.as_ref().unwrap();
            assert!((classes.resolution_m() - 20.0).abs() < 1e-9, "{name}");
            if name != "mirror" {
                assert_eq!(scene.identity.tile, "30PTS", "{name}");
                assert!(scene.identity.pass.starts_with("S2"), "{name}");
            }
        }
    }

    #[test]
    fn geotiff_is_taken_before_jpeg_2000() {
        let scene = only_scene(&own("earth-search-v1.json"));
        assert_eq!(
            scene.assets[&Band::Red].href,
            "https://example.com/v1/B04.tif"
        );
    }

    #[test]
    fn addresses_of_local_rasters_are_absolute() {
        let scene = only_scene(&own("mirror.json"));
        let href = &scene.assets[&Band::Red].href;
        assert!(Path::new(href).is_absolute() && !href.contains(".."));
        assert!(href.ends_with("tests/data/stac/mirror/2019-02-01/B04.tif"));
        assert_eq!(format_time(scene.time), "2019-02-01T10:54:30Z");
    }

    #[test]
    fn a_broken_item_is_excluded_and_the_rest_goes_on() {
        let found = read(&own(""));
        let ids: Vec<&str> = found.scenes.iter().map(|scene| scene.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "mirror-2019-02-01",
                "S2A_30PTS_20210105_0_L2A",
                "S2A_T30PTS_20220401T105413_L2A",
                "S2B_30PTS_20221206_1_L2A",
                "S2A_T30PTS_20230110T105411_L2A",
                "S2B_MSIL2A_20230204T104209_R008_T30PTS_20230204T180000",
                "S2C_MSIL2A_20250308T104031_N0511_R008_T30PTS_20250308T150000",
            ]
        );
        let reasons = reasons(&found);
        for (id, start) in [
            ("S2A_30PTS_20210115_0_L1C", "Level-1C"),
            (
                "S2B_30PTS_20221206_0_L2A",
                "another product of the same acquisition is used: S2B_30PTS_20221206_1_L2A",
            ),
            ("no-geometry", "no geometry"),
            ("no-time", "no time"),
            ("no-classification", "no scene classification"),
            ("no-nir", "no band nir"),
            ("truncated", "no STAC item"),
            ("missing", "the item's file cannot be read"),
            ("elsewhere", "the item lies at an address"),
        ] {
            assert!(reasons[id].starts_with(start), "{id}: {}", reasons[id]);
        }
        assert_eq!(reasons.len(), 9);
        assert_eq!(found.catalog.id, "hand-written");
        assert_eq!(found.catalog.license.as_deref(), Some("MIT OR Apache-2.0"));
        assert_eq!(
            found.catalog.notice.as_deref(),
            Some("No pixels: addresses only")
        );
        assert_eq!(
            found.catalog.extent.unwrap().bounds(),
            [-5.75, 8.04, -4.76, 9.04]
        );
        assert_eq!(found.warnings.len(), 1);
        assert!(found.warnings[0].contains("sentinel-2e"));
    }

    #[test]
    fn a_collection_of_features_is_read_as_a_catalog() {
        let found = read(&own("item-collection.json"));
        assert_eq!(found.scenes.len(), 2);
        assert_eq!(found.scenes[0].platform, "sentinel-2a");
        assert_eq!(found.scenes[1].footprint.0.len(), 2);
        assert_eq!(
            reasons(&found)["item-collection, feature 2"],
            "no STAC item: missing field `id`"
        );
    }

    #[test]
    fn what_is_missing_is_said_once_for_the_set() {
        let query = Query {
            bands: &[Band::Red, Band::Nir, Band::Swir22],
            ..Query::default()
        };
        let found = read_catalog(&own("collection.json"), &query).unwrap();
        let lacking: Vec<_> = found
            .warnings
            .iter()
            .filter(|warning| warning.contains("swir22"))
            .collect();
        assert_eq!(
            lacking,
            ["1 of 7 scenes have no swir22: what needs it is not assessed there"]
        );
        assert!(!found.scenes[0].assets.contains_key(&Band::Blue));
    }

    #[test]
    fn area_period_and_cloud_cover_leave_scenes_out_with_a_reason() {
        let region = Region::from_bounds(179.6, -15.8, 179.9, -15.2).unwrap();
        let query = Query {
            region: Some(&region),
            ..Query::default()
        };
        let far = read_catalog(&own("item-collection.json"), &query).unwrap();
        assert_eq!(far.scenes.len(), 1);
        assert_eq!(reasons(&far)["feature-2018-01-01"], "outside the area");

        let query = Query {
            period: Some(
                Period::new("2021-01-05".parse().unwrap(), "2023-02-04".parse().unwrap()).unwrap(),
            ),
            max_cloud_cover_percent: Some(12.0),
            ..Query::default()
        };
        let found = read_catalog(&own("collection.json"), &query).unwrap();
        assert_eq!(found.scenes.len(), 4);
        let reasons = reasons(&found);
        assert_eq!(reasons["mirror-2019-02-01"], "outside the period");
        assert_eq!(
            reasons["S2B_MSIL2A_20230204T104209_R008_T30PTS_20230204T180000"],
            "cloud cover of 55.2 % is above the limit of 12 %"
        );
    }

    #[test]
    fn an_older_product_does_not_stand_in_for_one_that_is_too_cloudy() {
        let folder = tempfile::tempdir().unwrap();
        let mut features = Vec::new();
        for (name, cloud_cover_percent) in [("earth-search-v1", 10.0), ("reprocessed", 90.0)] {
            let mut item: Value =
                serde_json::from_slice(&fs::read(own(&format!("{name}.json"))).unwrap()).unwrap();
            item["properties"]["eo:cloud_cover"] = cloud_cover_percent.into();
            features.push(item);
        }
        let path = folder.path().join("items.json");
        let collection = json!({ "type": "FeatureCollection", "features": features });
        fs::write(&path, collection.to_string()).unwrap();
        let query = Query {
            max_cloud_cover_percent: Some(50.0),
            ..Query::default()
        };
        assert!(read_catalog(&path, &query).unwrap().scenes.is_empty());
    }

    /// Every rotation and the reverse of the order of links give the same scenes, exclusions and warnings.
    #[test]
    fn the_order_of_items_in_a_catalog_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(own("")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
            }
        }
        fs::create_dir(folder.path().join("nested")).unwrap();
        fs::copy(
            own("nested/catalog.json"),
            folder.path().join("nested/catalog.json"),
        )
        .unwrap();
        let path = folder.path().join("collection.json");
        let mut collection: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let expected = read(&path);
        let mut links = collection["links"].as_array().unwrap().clone();
        for turn in 0..links.len() {
            links.rotate_left(1);
            if turn % 2 == 1 {
                links.reverse();
            }
            collection["links"] = links.clone().into();
            fs::write(&path, collection.to_string()).unwrap();
            assert_eq!(read(&path), expected);
        }
    }

    #[test]
    fn a_catalog_that_cannot_be_read_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let message = |name: &str, text: Option<&str>| {
            let path = folder.path().join(name);
            if let Some(text) = text {
                fs::write(&path, text).unwrap();
            }
            let error = read_catalog(&path, &Query::default()).unwrap_err();
            let message = error.to_string();
            let place = folder.path().display().to_string();
            assert!(message.contains(&place), "{message}");
            message
        };
        assert!(message("absent.json", None).contains("cannot read the catalog"));
        assert!(message("", None).contains("no collection.json"));
        assert!(message("a.json", Some("{")).contains("is not JSON"));
        assert!(message("b.json", Some("{}")).contains("its \"type\" is missing"));
        assert!(message("c.json", Some("[1]")).contains("is not STAC"));
        assert!(message("d.json", Some(r#"{"type":"Topology"}"#)).contains("\"Topology\""));
        assert!(message("e.json", Some(r#"{"type":"FeatureCollection"}"#)).contains("features"));
        assert!(
            message(
                "f.json",
                Some(r#"{"type":"Catalog","stac_version":"1.0.0"}"#)
            )
            .contains("no list of links")
        );
        let child = r#"{"type":"Catalog","stac_version":"1.0.0","links":[{"rel":"child","href":"gone.json"}]}"#;
        assert!(message("g.json", Some(child)).contains("gone.json"));
    }

    #[test]
    fn a_catalog_without_items_gives_no_scene_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.json");
        fs::write(&path, r#"{"stac_version":"0.9.0","id":"empty","links":[]}"#).unwrap();
        let found = read(folder.path());
        assert!(found.scenes.is_empty() && found.warnings[0].contains("gives no scene"));
    }

    /// The published items beside the project, or `None` with a word about it.
    fn published(test: &str) -> Option<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
        if folder.is_dir() {
            Some(folder.join("stac/items"))
        } else {
            eprintln!("SKIP {test}: ../shared/data is absent");
            None
        }
    }

    #[test]
    fn every_published_item_is_a_scene_or_has_a_true_reason() {
        let Some(folder) = published("every_published_item_is_a_scene_or_has_a_true_reason") else {
            return;
        };
        let mut n_scenes = 0;
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let found = read(&path);
            assert!(found.warnings.is_empty(), "{path:?}: {:?}", found.warnings);
            n_scenes += found.scenes.len();
            for scene in &found.scenes {
                assert_eq!(scene.assets.len(), 7, "{path:?} {}", scene.id);
                assert!(scene.baseline.is_some(), "{path:?}");
                assert!(scene.is_platform_known(), "{path:?}");
                assert!(scene.cloud_cover_percent.is_some(), "{path:?}");
                assert_eq!(scene.identity.tile.len(), 5, "{path:?}");
                let has_pass = scene.identity.pass.len() == 19 || scene.identity.pass.len() == 11;
                assert!(has_pass, "{path:?} {}", scene.identity.pass);
                assert!(scene.epsg.is_some(), "{path:?}");
                for (band, asset) in &scene.assets {
                    let geobox = asset.geobox.as_ref().unwrap();
                    let resolution_m = match band {
                        Band::Nir08 | Band::Swir16 | Band::Swir22 => 20.0,
                        _ => 10.0,
                    };
                    assert!(
                        (geobox.resolution_m() - resolution_m).abs() < 1e-9,
                        "{path:?} {band}"
                    );
                }
            }
            for excluded in found.excluded {
                let kind = excluded.reason.to_string();
                *reasons.entry(kind).or_default() += 1;
            }
        }
        let expected = BTreeMap::from([
            (
                "Level-1C, not surface reflectance (Level-2A)".to_owned(),
                11,
            ),
            (
                "product type S2MSI_L3__MCQ, not surface reflectance (Level-2A)".to_owned(),
                1,
            ),
        ]);
        assert_eq!(reasons, expected);
        assert_eq!(n_scenes, 75);
    }

    #[test]
    fn the_offset_of_published_items_follows_their_own_metadata() {
        let Some(folder) = published("the_offset_of_published_items_follows_their_own_metadata")
        else {
            return;
        };
        use OffsetGround::{AlreadyApplied, AssetMetadata, Baseline, FlagFalse, None};
        for (file, n_scenes, number, ground) in [
            (
                "earthsearch-v1__S2B_33TWN_20220226_0_L2A",
                1,
                -1000,
                FlagFalse,
            ),
            (
                "earthsearch-v1__S2B_33TWN_20220130_0_L2A",
                1,
                0,
                AlreadyApplied,
            ),
            ("earthsearch-v1__S2A_33TWN_20161202_0_L2A", 1, 0, FlagFalse),
            (
                "mapchete-eo__S2A_33TWL_20230815_0_L2A",
                1,
                0,
                AlreadyApplied,
            ),
            (
                "mapchete-eo__S2A_OPER_MSI_L2A_TL_2APS_20230603T031757_A041497_T01WCQ",
                1,
                -1000,
                AssetMetadata,
            ),
            ("rustac__item-collection", 10, -1000, AssetMetadata),
            ("rustac__items-page-1", 1, -1000, Baseline),
            ("rustac__two-sentinel-2-items", 2, -1000, Baseline),
            (
                "odc-stac__S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531",
                1,
                0,
                None,
            ),
            (
                "odc-stac__S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531_raster_ext",
                1,
                0,
                None,
            ),
            ("openeo-driver__FeatureCollection", 1, -1000, AssetMetadata),
            (
                "openeo-driver__FeatureCollection_1",
                1,
                -1000,
                AssetMetadata,
            ),
            (
                "stactools-sentinel2__expected_output",
                1,
                -7000,
                AssetMetadata,
            ),
            (
                "stactools-sentinel2__expected_output_9",
                1,
                0,
                AssetMetadata,
            ),
        ] {
            let found = read(&folder.join(format!("{file}.json")));
            assert_eq!(found.scenes.len(), n_scenes, "{file}");
            for asset in found.scenes.iter().flat_map(|scene| scene.assets.values()) {
                assert_eq!(
                    (asset.offset.digital_numbers, asset.offset.ground),
                    (number, ground),
                    "{file}"
                );
            }
            for scene in &found.scenes {
                assert_eq!(scene.classification.offset.digital_numbers, 0, "{file}");
            }
        }
    }

    /// The offset of an asset, as the table beside the published items tells it: a flag that is true, then the stated offset,
    /// then the baseline.
    fn offset_by_the_table(item: &Value, asset: &Value) -> i64 {
        let property = |name: &str| item["properties"].get(name);
        let flag = property("earthsearch:boa_offset_applied")
            .or_else(|| property("sentinel:boa_offset_applied"));
        if flag == Some(&Value::Bool(true)) {
            return 0;
        }
        let stated = |name: &str| {
            let places = [
                format!("/raster:bands/0/{name}"),
                format!("/bands/0/raster:{name}"),
                format!("/bands/0/{name}"),
                format!("/raster:{name}"),
                format!("/{name}"),
            ];
            places
                .iter()
                .find_map(|place| asset.pointer(place)?.as_f64())
        };
        #[expect(clippy::cast_possible_truncation, reason = "at most 10,000")]
        if let Some(offset) = stated("offset") {
            return (offset / stated("scale").unwrap_or(1e-4)).round() as i64;
        }
        let baseline = [
            "s2:processing_baseline",
            "sentinel2:processing_baseline",
            "processing:version",
        ]
        .iter()
        .find_map(|name| property(name)?.as_str()?.parse::<f64>().ok());
        if baseline.is_some_and(|baseline| baseline >= 4.0) {
            -1000
        } else {
            0
        }
    }

    #[test]
    fn the_offset_of_every_published_item_is_that_of_the_table() {
        let Some(folder) = published("the_offset_of_every_published_item_is_that_of_the_table")
        else {
            return;
        };
        let mut n_scenes = 0;
        let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let items = value["features"]
                .as_array()
                .cloned()
                .unwrap_or_else(|| vec![value.clone()]);
            for item in items {
                let mut walk = Walk::default();
                walk.read_item(item.clone(), &path, None, &Band::ALL);
                for scene in walk.scenes {
                    n_scenes += 1;
                    for (band, asset) in &scene.assets {
                        let is_same = |raw: &&Value| {
                            let href = raw["href"].as_str().unwrap_or("-");
                            asset.href.ends_with(href.trim_start_matches(['.', '/']))
                        };
                        let assets = item["assets"].as_object().unwrap();
                        let raw = assets.values().find(is_same).unwrap();
                        let expected = offset_by_the_table(&item, raw);
                        let number = i64::from(asset.offset.digital_numbers);
                        assert_eq!(number, expected, "{path:?} {} {band}", scene.id);
                        *counts.entry(number).or_default() += 1;
                    }
                    assert_eq!(scene.classification.offset.digital_numbers, 0);
                }
            }
        }
        assert_eq!(n_scenes, 75);
        // Each case occurs: applied or none, -0.1, and the one fixture with -0.7.
        assert_eq!(
            counts.keys().copied().collect::<Vec<_>>(),
            [-7000, -1000, 0]
        );
    }

    #[test]
    fn all_published_items_together_lose_only_true_duplicates() {
        let Some(folder) = published("all_published_items_together_lose_only_true_duplicates")
        else {
            return;
        };
        let temporary = tempfile::tempdir().unwrap();
        let mut paths: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        let catalog = |paths: &[PathBuf]| {
            let links: Vec<Value> = paths
                .iter()
                .map(|path| json!({ "rel": "item", "href": path }))
                .collect();
            let path = temporary.path().join("catalog.json");
            let value =
                json!({ "type": "Catalog", "stac_version": "1.0.0", "id": "all", "links": links });
            fs::write(&path, value.to_string()).unwrap();
            read(&path)
        };
        let found = catalog(&paths);
        for excluded in &found.excluded {
            if let ExclusionReason::Superseded { by } = &excluded.reason {
                println!("{} by {by}", excluded.id);
            }
        }
        let ids: Vec<&str> = found.scenes.iter().map(|scene| scene.id.as_str()).collect();
        // One pass over one tile, received in two parts that hardly share ground.
        for id in [
            "S2B_OPER_MSI_L2A_TL_2BPS_20230512T234921_A032288_T01VCG",
            "S2B_OPER_MSI_L2A_TL_2BPS_20230513T005426_A032288_T01VCG",
        ] {
            assert!(ids.contains(&id), "{id}");
        }
        paths.reverse();
        assert_eq!(catalog(&paths), found);
    }
}
