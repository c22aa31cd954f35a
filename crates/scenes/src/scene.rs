use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use chrono::TimeDelta;
use geo::{Area, BooleanOps, MultiPolygon};
use pitwatch_grid::{Band, GeoBox, UtcTime};
use serde_json::{Map, Value};

use crate::item::{Item, Level, Raster, RasterAsset};
use crate::offset::{DEFAULT_SCALE, Stated, decide};
use crate::{Baseline, Offset, OffsetGround};

/// Bands without which nothing can be said of the ground.
const REQUIRED_BANDS: [Band; 2] = [Band::Red, Band::Nir];

/// The satellites known when this was written. Any other is read the same way, with a warning.
const KNOWN_PLATFORMS: [&str; 4] = ["sentinel-2a", "sentinel-2b", "sentinel-2c", "sentinel-2d"];

/// The property of a mirror's item that names the source it came from.
pub const SOURCE_PROPERTY: &str = "pitwatch:source";

/// How far apart the starts of one datastrip may be stated. Two parts of one pass in one tile are 7 s apart or more in
/// the items seen (S2B, tile 01VCG, 2023-05-12).
const SAME_START: TimeDelta = TimeDelta::seconds(2);

/// Shared ground, as a part of the ground that either covers, from which two footprints are one.
const SAME_FOOTPRINT_SHARE: f64 = 0.9;

/// Shared ground, as a part of the smaller footprint, from which a product of another baseline repeats it. A pass is cut
/// into other datastrips when it is reprocessed; neighboring parts of one processing share only their ends.
const REPEATED_SHARE: f64 = 0.5;

/// One acquisition over one tile.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// The item's id.
    pub id: String,
    /// The item's file; for an item of a collection of features, that collection's file.
    pub item_href: String,
    /// When the ground was seen.
    pub time: UtcTime,
    /// The satellite, such as `sentinel-2a`; `unknown` if the item does not say.
    pub platform: String,
    /// What makes two items the same acquisition.
    pub identity: Identity,
    /// Processing baseline.
    pub baseline: Option<Baseline>,
    /// Cloud cover of the whole scene by its catalog, 0 to 100.
    pub cloud_cover_percent: Option<f64>,
    /// Where the scene has pixels, longitude and latitude in degrees, WGS 84; cut at the antimeridian.
    pub footprint: MultiPolygon<f64>,
    /// EPSG code of the rasters' reference system.
    pub epsg: Option<u32>,
    /// The rasters of the wanted bands that the scene has.
    pub assets: BTreeMap<Band, Asset>,
    /// The scene classification (SCL).
    pub classification: Asset,
    /// When the item was first published.
    pub created: Option<UtcTime>,
    /// When the item was last changed.
    pub updated: Option<UtcTime>,
    /// Relative orbit, 1 to 143.
    pub relative_orbit: Option<u16>,
    /// The source it was found in, by its name; empty for a catalog on disk that does not say.
    pub source: String,
    /// The same acquisition in sources that are asked later, in their order.
    pub alternatives: Vec<Scene>,
    /// The item's properties as it states them.
    pub properties: Map<String, Value>,
}

/// One raster of a scene.
#[derive(Debug, Clone, PartialEq)]
pub struct Asset {
    /// Where it lies: an absolute path, or an address (`https://`, `s3://`).
    pub href: String,
    /// What is added to its digital numbers. Always 0 for a raster of classes.
    pub offset: Offset,
    /// Reflectance of one digital number, after the offset; 1 for a raster of classes.
    pub scale: f64,
    /// Its grid, if the item states it and it is north-up with square pixels.
    pub geobox: Option<GeoBox>,
    /// The digital number that stands for no observation, before the offset.
    pub nodata: Option<f64>,
    /// The asset as the item states it, but for its address.
    pub stated: Map<String, Value>,
}

/// What two items share if they show the same acquisition: the pass of the satellite, the tile, and the part of it.
///
/// A pass is one datatake. Where its downlink was split, one tile is delivered in two parts that cover different ground,
/// and both are kept. The sequence number of Earth Search's ids (`_0_`, `_1_`) does not tell a part from a reprocessed
/// product, so it is not used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Satellite and start of the datatake (`S2A_20221207T102411`), else satellite and absolute orbit (`S2A_A041483`),
    /// else platform and time.
    pub pass: String,
    /// MGRS tile (`33TWN`), else the red raster's reference system and corner, else empty.
    pub tile: String,
    /// Start of the datastrip the product was cut from, else the time of the item.
    pub part: UtcTime,
}

/// An item that did not become a scene.
#[derive(Debug, Clone, PartialEq)]
pub struct Excluded {
    /// The item's id; where it cannot be read, the name of its file.
    pub id: String,
    /// The item's file or address.
    pub href: String,
    /// When the ground was seen, if the item says.
    pub time: Option<UtcTime>,
    /// The satellite, if the item says.
    pub platform: Option<String>,
    /// Processing baseline, if the item says.
    pub baseline: Option<Baseline>,
    /// Cloud cover of the whole scene by its catalog, 0 to 100.
    pub cloud_cover_percent: Option<f64>,
    /// Relative orbit, 1 to 143, if it can be told.
    pub relative_orbit: Option<u16>,
    /// MGRS tile, if the item says.
    pub tile: Option<String>,
    /// The source it was found in, as [`Scene::source`].
    pub source: String,
    /// Why.
    pub reason: ExclusionReason,
}

/// Why an item did not become a scene. The text is what `looks.csv` carries.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ExclusionReason {
    /// The catalog links a file that cannot be read.
    MissingFile {
        /// What the file system said.
        message: String,
    },
    /// The catalog links an address; only files are read.
    NotLocal,
    /// The file or feature is no STAC item.
    Unreadable {
        /// What is wrong with it.
        message: String,
    },
    /// Neither `datetime` nor `start_datetime` is a time.
    NoTime,
    /// No geometry.
    NoGeometry,
    /// A geometry that is no footprint.
    BadGeometry {
        /// What is wrong with it.
        message: String,
    },
    /// Not surface reflectance: Level-1C, a mosaic.
    WrongLevel {
        /// The level or product type.
        level: String,
    },
    /// A processing baseline that cannot be read, so that the offset is unknown.
    BadBaseline {
        /// As stated.
        text: String,
    },
    /// An offset flag that is neither true nor false.
    BadFlag {
        /// The property.
        name: String,
        /// As stated.
        value: String,
    },
    /// An asset that cannot be read.
    BadAsset {
        /// The asset's key.
        key: String,
        /// What is wrong with it.
        message: String,
    },
    /// An offset that no raster can have.
    BadOffset {
        /// The band.
        band: Band,
        /// What is wrong with it.
        message: String,
    },
    /// No scene classification, so that clouds cannot be told from ground.
    NoClassification,
    /// Red or near infrared is missing.
    MissingBands {
        /// Those of the two that are missing.
        bands: Vec<Band>,
    },
    /// The footprint does not touch the area.
    OutsideArea,
    /// The acquisition's day is not in the period.
    OutsidePeriod,
    /// A newer or equal product of the same acquisition is used.
    Superseded {
        /// Id of the scene that is used.
        by: String,
    },
    /// More cloud than the limit.
    TooCloudy {
        /// Cloud cover, 0 to 100.
        cloud_cover_percent: f64,
        /// The limit.
        max_cloud_cover_percent: f64,
    },
}

impl ExclusionReason {
    /// True if something is broken or missing that could have been a scene; false if the item is left out by rule.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        !matches!(
            self,
            Self::WrongLevel { .. }
                | Self::OutsideArea
                | Self::OutsidePeriod
                | Self::Superseded { .. }
                | Self::TooCloudy { .. }
        )
    }
}

impl fmt::Display for ExclusionReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingFile { message } => {
                write!(formatter, "the item's file cannot be read: {message}")
            }
            Self::NotLocal => formatter
                .write_str("the item lies at an address; only files are read, so mirror it first"),
            Self::Unreadable { message } => write!(formatter, "no STAC item: {message}"),
            Self::NoTime => {
                formatter.write_str("no time: neither datetime nor start_datetime can be read")
            }
            Self::NoGeometry => formatter.write_str("no geometry"),
            Self::BadGeometry { message } => write!(formatter, "no usable geometry: {message}"),
            Self::WrongLevel { level } => {
                write!(formatter, "{level}, not surface reflectance (Level-2A)")
            }
            Self::BadBaseline { text } => write!(
                formatter,
                "the processing baseline {text:?} is no number such as 05.09"
            ),
            Self::BadFlag { name, value } => {
                write!(formatter, "{name} is {value}, neither true nor false")
            }
            Self::BadAsset { key, message } => {
                write!(formatter, "asset {key} cannot be read: {message}")
            }
            Self::BadOffset { band, message } => {
                write!(formatter, "the offset of band {band}: {message}")
            }
            Self::NoClassification => formatter.write_str("no scene classification (SCL)"),
            Self::MissingBands { bands } => write!(formatter, "no band {}", names(bands)),
            Self::OutsideArea => formatter.write_str("outside the area"),
            Self::OutsidePeriod => formatter.write_str("outside the period"),
            Self::Superseded { by } => write!(
                formatter,
                "another product of the same acquisition is used: {by}"
            ),
            Self::TooCloudy {
                cloud_cover_percent,
                max_cloud_cover_percent,
            } => write!(
                formatter,
                "cloud cover of {cloud_cover_percent:.1} % is above the limit of {max_cloud_cover_percent} %"
            ),
        }
    }
}

/// Bands as a list in words: `red, nir`.
pub(crate) fn names(bands: &[Band]) -> String {
    let names: Vec<&str> = bands.iter().map(|band| band.common_name()).collect();
    names.join(", ")
}

impl Scene {
    /// The offset that stands for the scene: that of the red band, else of the first band it has.
    #[must_use]
    pub fn offset(&self) -> Option<Offset> {
        self.assets
            .get(&Band::Red)
            .or_else(|| self.assets.values().next())
            .map(|asset| asset.offset)
    }

    /// True if the satellite is one of Sentinel-2's known ones.
    #[must_use]
    pub fn is_platform_known(&self) -> bool {
        KNOWN_PLATFORMS.contains(&self.platform.as_str())
    }

    /// A scene of an item, or why there is none.
    ///
    /// - `path`: the item's file; its relative addresses start there.
    /// - `bands`: those to take; none means all.
    pub(crate) fn from_item(
        item: &Item,
        path: &Path,
        bands: &[Band],
    ) -> Result<Self, ExclusionReason> {
        let time = item.time().ok_or(ExclusionReason::NoTime)?;
        if let Level::Other(level) = item.level() {
            return Err(ExclusionReason::WrongLevel { level });
        }
        let footprint = item.footprint()?;
        let baseline = item.baseline()?;
        let is_applied = item.is_offset_applied()?;
        let epsg = item.epsg();

        let classification = item
            .asset(Raster::Classification)?
            .ok_or(ExclusionReason::NoClassification)?;
        let mut missing = Vec::new();
        for band in REQUIRED_BANDS {
            if item.asset(Raster::Band(band))?.is_none() {
                missing.push(band);
            }
        }
        if !missing.is_empty() {
            return Err(ExclusionReason::MissingBands { bands: missing });
        }
        let wanted = if bands.is_empty() { &Band::ALL } else { bands };
        let mut assets = BTreeMap::new();
        for &band in wanted {
            if let Some(raster) = item.asset(Raster::Band(band))? {
                let stated = Stated {
                    is_applied,
                    offset: raster.offset(),
                    scale: raster.scale(),
                    baseline,
                };
                let offset = decide(stated)
                    .map_err(|message| ExclusionReason::BadOffset { band, message })?;
                let scale = raster
                    .scale()
                    .filter(|scale| *scale > 0.0 && *scale < 1.0)
                    .unwrap_or(DEFAULT_SCALE);
                assets.insert(band, to_asset(&raster, path, epsg, offset, scale));
            }
        }
        let none = Offset {
            digital_numbers: 0,
            ground: OffsetGround::None,
        };
        let red = item.asset(Raster::Band(Band::Red))?;
        let platform = item.platform().unwrap_or_else(|| "unknown".into());
        let place = || {
            let geobox = red.as_ref()?.geobox(epsg)?;
            let origin = geobox.origin();
            Some(format!("{} {} {}", geobox.crs(), origin.x, origin.y))
        };
        let identity = Identity {
            pass: item
                .pass()
                .unwrap_or_else(|| format!("{platform} {}", pitwatch_grid::format_time(time))),
            tile: item.tile().or_else(place).unwrap_or_default(),
            part: item.datastrip_start().unwrap_or(time),
        };
        let [created, updated] = item.published();
        Ok(Self {
            id: item.id.clone(),
            item_href: path.display().to_string(),
            time,
            platform,
            identity,
            baseline,
            cloud_cover_percent: item.cloud_cover_percent(),
            footprint,
            epsg: red.as_ref().and_then(RasterAsset::epsg).or(epsg),
            assets,
            classification: to_asset(&classification, path, epsg, none, 1.0),
            created,
            updated,
            relative_orbit: item.relative_orbit(),
            source: item
                .plain_text(SOURCE_PROPERTY)
                .unwrap_or_default()
                .to_owned(),
            alternatives: Vec::new(),
            properties: item.properties.clone(),
        })
    }

    /// What is told of this scene when it is left out.
    pub(crate) fn exclude(self, reason: ExclusionReason) -> Excluded {
        Excluded {
            id: self.id,
            href: self.item_href,
            time: Some(self.time),
            platform: Some(self.platform),
            baseline: self.baseline,
            cloud_cover_percent: self.cloud_cover_percent,
            relative_orbit: self.relative_orbit,
            tile: Some(self.identity.tile).filter(|tile| !tile.is_empty()),
            source: self.source,
            reason,
        }
    }
}

fn to_asset(
    raster: &RasterAsset,
    path: &Path,
    epsg: Option<u32>,
    offset: Offset,
    scale: f64,
) -> Asset {
    Asset {
        href: resolve(&raster.href, path),
        offset,
        scale,
        geobox: raster.geobox(epsg),
        nodata: raster.nodata(),
        stated: raster.stated.clone(),
    }
}

/// An address as it stands, or the path that a relative one means from the file that holds it, without `.` and `..`.
pub(crate) fn resolve(href: &str, file: &Path) -> String {
    let local = href.strip_prefix("file://").unwrap_or(href);
    if is_remote(local) {
        return local.into();
    }
    // From an address a relative one leads to an address.
    if let Some(base) = file.to_str().filter(|file| is_remote(file)) {
        return url::Url::parse(base)
            .and_then(|base| base.join(href))
            .map_or_else(|_| href.to_owned(), Into::into);
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    let joined = folder.join(local);
    // Without a current folder the path stays relative.
    let absolute = std::path::absolute(&joined).unwrap_or(joined);
    let mut clean = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean.display().to_string()
}

/// True for `https://…`, `s3://…` and the like.
pub(crate) fn is_remote(href: &str) -> bool {
    href.contains("://")
}

/// Leaves one scene of each acquisition: the newest baseline, then the one published last, then the one whose id sorts last
/// (product names end with the time of processing).
pub(crate) fn remove_duplicates(scenes: Vec<Scene>) -> (Vec<Scene>, Vec<Excluded>) {
    let mut groups: BTreeMap<(String, String), Vec<Scene>> = BTreeMap::new();
    for scene in scenes {
        let Identity { pass, tile, .. } = scene.identity.clone();
        groups.entry((pass, tile)).or_default().push(scene);
    }
    let mut excluded = Vec::new();
    let mut kept = Vec::new();
    for mut group in groups.into_values() {
        group.sort_by(|a, b| preference(b, a));
        let first_of_group = kept.len();
        for scene in group {
            let better = kept[first_of_group..]
                .iter()
                .find(|better| is_same_part(better, &scene))
                .map(|better: &Scene| better.id.clone());
            match better {
                Some(by) => excluded.push(scene.exclude(ExclusionReason::Superseded { by })),
                None => kept.push(scene),
            }
        }
    }
    (kept, excluded)
}

/// Moves scenes of later sources beside the same acquisition of an earlier one.
///
/// - `by_source`: the scenes of each source, without duplicates, in the order in which the sources are asked.
pub(crate) fn merge_sources(by_source: Vec<Vec<Scene>>) -> Vec<Scene> {
    let mut merged: Vec<Scene> = Vec::new();
    let mut places: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
    for scenes in by_source {
        let n_before = merged.len();
        for scene in scenes {
            let key = (scene.identity.pass.clone(), scene.identity.tile.clone());
            let places = places.entry(key).or_default();
            let same = places
                .iter()
                .copied()
                .find(|&place| place < n_before && is_same_part(&merged[place], &scene));
            match same {
                Some(place) => merged[place].alternatives.push(scene),
                None => {
                    places.push(merged.len());
                    merged.push(scene);
                }
            }
        }
    }
    merged
}

fn preference(a: &Scene, b: &Scene) -> Ordering {
    let key = |scene: &Scene| (scene.baseline, scene.updated.or(scene.created));
    key(a)
        .cmp(&key(b))
        .then_with(|| a.id.cmp(&b.id))
        .then_with(|| a.item_href.cmp(&b.item_href))
}

/// True if two products of one pass and tile show the same ground.
fn is_same_part(a: &Scene, b: &Scene) -> bool {
    if (a.identity.part - b.identity.part).abs() <= SAME_START {
        return true;
    }
    let shared = a.footprint.intersection(&b.footprint).unsigned_area();
    let (area_a, area_b) = (a.footprint.unsigned_area(), b.footprint.unsigned_area());
    shared >= SAME_FOOTPRINT_SHARE * (area_a + area_b - shared)
        || (a.baseline != b.baseline && shared >= REPEATED_SHARE * area_a.min(area_b))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(id: &str, west: f64, east: f64, properties: Value) -> Item {
        let mut item = json!({
            "id": id,
            "geometry": { "type": "Polygon", "coordinates": [[[west, 8.0], [east, 8.0], [east, 9.0], [west, 9.0], [west, 8.0]]] },
            "properties": { "datetime": "2022-03-01T10:48:29Z", "platform": "sentinel-2a", "grid:code": "MGRS-30PTS" },
            "assets": { "red": { "href": "./B04.tif" }, "nir": { "href": "B08.tif" }, "scl": { "href": "SCL.tif" } },
        });
        for (key, value) in properties.as_object().unwrap() {
            item["properties"][key] = value.clone();
        }
        serde_json::from_value(item).unwrap()
    }

    fn scene(id: &str, west: f64, east: f64, properties: Value) -> Scene {
        Scene::from_item(
            &item(id, west, east, properties),
            Path::new("/m/i/item.json"),
            &[],
        )
        .unwrap()
    }

    fn product(id: &str, baseline: &str, datastrip: &str) -> Scene {
        scene(
            id,
            -6.0,
            -5.0,
            json!({
                "s2:datatake_id": format!("GS2A_20220301T104821_034938_N{baseline}"),
                "s2:datastrip_id": format!("S2A_OPER_MSI_L2A_DS_VGS4_20220301T140000_S{datastrip}_N{baseline}"),
                "s2:processing_baseline": baseline,
            }),
        )
    }

    fn kept(scenes: Vec<Scene>) -> Vec<String> {
        let mut ids: Vec<_> = remove_duplicates(scenes)
            .0
            .into_iter()
            .map(|scene| scene.id)
            .collect();
        ids.sort();
        ids
    }

    #[test]
    fn the_newest_baseline_of_an_acquisition_wins() {
        let scenes = vec![
            product("b", "04.00", "20220301T105822"),
            product("c", "05.10", "20220301T105823"),
            product("a", "05.09", "20220301T105822"),
        ];
        let (kept, excluded) = remove_duplicates(scenes);
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].id, "c");
        assert_eq!(excluded.len(), 2);
        assert!(
            excluded
                .iter()
                .all(|excluded| excluded.reason == ExclusionReason::Superseded { by: "c".into() })
        );
    }

    #[test]
    fn of_one_baseline_the_one_published_last_wins_then_the_last_id() {
        let mut early = product("z", "04.00", "20220301T105822");
        early.created = Some("2022-03-02T00:00:00Z".parse().unwrap());
        let mut late = product("a", "04.00", "20220301T105822");
        late.updated = Some("2022-03-03T00:00:00Z".parse().unwrap());
        assert_eq!(kept(vec![early.clone(), late]), ["a"]);
        let mut twin = early.clone();
        twin.id = "y".into();
        assert_eq!(kept(vec![twin, early]), ["z"]);
    }

    #[test]
    fn two_parts_of_one_pass_in_one_tile_are_both_kept() {
        let part = |id: &str, west, east, time: &str| {
            scene(
                id,
                west,
                east,
                json!({ "s2:datatake_id": "GS2A_20220301T104821_034938_N04.00", "s2:processing_baseline": "04.00", "datetime": time }),
            )
        };
        let north = part(
            "S2A_30PTS_20220301_0_L2A",
            -6.0,
            -5.4,
            "2022-03-01T10:58:32Z",
        );
        let south = part(
            "S2A_30PTS_20220301_1_L2A",
            -5.5,
            -5.0,
            "2022-03-01T10:58:39Z",
        );
        assert_eq!(kept(vec![north.clone(), south.clone()]).len(), 2);
        // Reprocessed in one piece, it replaces both.
        let mut whole = part(
            "S2A_30PTS_20220301_2_L2A",
            -6.0,
            -5.0,
            "2022-03-01T10:58:10Z",
        );
        whole.baseline = Some("05.00".parse().unwrap());
        assert_eq!(
            kept(vec![north, whole, south]),
            ["S2A_30PTS_20220301_2_L2A"]
        );
    }

    #[test]
    fn the_same_ground_received_twice_is_one_acquisition() {
        let first = product("a", "04.00", "20220301T105822");
        let second = product("b", "04.00", "20220301T110105");
        assert_eq!(kept(vec![first, second]), ["b"]);
    }

    #[test]
    fn neighboring_tiles_of_one_pass_are_two_acquisitions() {
        let take = json!({ "s2:datatake_id": "GS2A_20220301T104821_034938_N04.00" });
        let mut other = take.clone();
        other["grid:code"] = "MGRS-30PTT".into();
        assert_eq!(
            kept(vec![
                scene("a", -6.0, -5.0, take),
                scene("b", -6.0, -5.0, other)
            ])
            .len(),
            2
        );
    }

    #[test]
    fn without_a_datatake_platform_and_time_decide() {
        let a = scene("a", -6.0, -5.0, json!({}));
        let b = scene("b", -6.0, -5.0, json!({}));
        let later = scene(
            "c",
            -6.0,
            -5.0,
            json!({ "datetime": "2022-03-06T10:48:29Z" }),
        );
        let other = scene("d", -6.0, -5.0, json!({ "platform": "sentinel-2b" }));
        assert_eq!(kept(vec![a, b, later, other]), ["b", "c", "d"]);
    }

    #[test]
    fn a_relative_address_starts_at_the_file_that_holds_it() {
        let file = Path::new("/m/i/item.json");
        assert_eq!(resolve("./B04.tif", file), "/m/i/B04.tif");
        assert_eq!(resolve("../x/B04.tif", file), "/m/x/B04.tif");
        assert_eq!(resolve("/data/B04.tif", file), "/data/B04.tif");
        assert_eq!(resolve("file:///data/B04.tif", file), "/data/B04.tif");
        for address in ["s3://bucket/B04.jp2", "https://example.com/B04.tif"] {
            assert_eq!(resolve(address, file), address);
        }
    }

    fn reason(change: impl Fn(&mut Value)) -> ExclusionReason {
        let mut item = json!({
            "id": "a",
            "geometry": { "type": "Polygon", "coordinates": [[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]] },
            "properties": { "datetime": null, "start_datetime": "2022-03-01T10:48:29Z", "s2:product_type": "S2MSI2A" },
            "assets": { "B04": { "href": "B04.tif" }, "B08": { "href": "B08.tif" }, "SCL": { "href": "SCL.tif" } },
        });
        change(&mut item);
        let item: Item = serde_json::from_value(item).unwrap();
        Scene::from_item(&item, Path::new("/i.json"), &[]).unwrap_err()
    }

    #[test]
    fn each_lack_has_its_own_reason() {
        let reasons = [
            reason(|item| item["properties"]["start_datetime"] = Value::Null),
            reason(|item| item["geometry"] = Value::Null),
            reason(|item| item["geometry"]["type"] = "Point".into()),
            reason(|item| item["properties"]["s2:product_type"] = "S2MSI1C".into()),
            reason(|item| item["assets"]["SCL"] = json!({ "title": "no address" })),
            reason(|item| drop(item["assets"].as_object_mut().unwrap().remove("SCL"))),
            reason(|item| drop(item["assets"].as_object_mut().unwrap().remove("B08"))),
            reason(|item| {
                item["assets"]["B04"]["raster:bands"] = json!([{ "offset": -0.1, "scale": 0 }])
            }),
        ];
        let texts: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        for (text, start) in texts.iter().zip([
            "no time",
            "no geometry",
            "no usable geometry",
            "Level-1C",
            "asset SCL cannot be read",
            "no scene classification",
            "no band nir",
            "the offset of band red",
        ]) {
            assert!(text.starts_with(start), "{text}");
        }
    }

    #[test]
    fn a_scene_has_the_wanted_bands_it_can_give() {
        let item = item("a", -6.0, -5.0, json!({}));
        let scene =
            Scene::from_item(&item, Path::new("/i.json"), &[Band::Red, Band::Swir22]).unwrap();
        assert_eq!(scene.assets.keys().collect::<Vec<_>>(), [&Band::Red]);
    }
}
