//! The mirror: a static STAC catalog an area, with small rasters clipped to the area's cells.
//!
//! ```text
//! MIRROR/AREA/collection.json          written last
//! MIRROR/AREA/SCENE/SCENE.json         written after the scene's rasters: a scene without it is not there
//! MIRROR/AREA/SCENE/red.tif … scl.tif
//! ```
//!
//! A file is there whole or not at all. What is written depends on the scene and the area alone, not on the order of work
//! or on what was interrupted.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use geo::{BoundingRect, MultiPolygon};
use md5::Md5;
use pitwatch_grid::{GeoBox, Shape, format_time};
use pitwatch_scenes::net::bare;
use pitwatch_scenes::storage::{Hashes, Listing, Lock, Locking, Storage, hash_file};
use pitwatch_scenes::{SOURCE_PROPERTY, Scene};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Ending of files that are not complete.
const UNFINISHED: &str = ".part";
/// Longest name of a scene's folder, below what file systems take (255) with an ending.
const MAX_NAME: usize = 160;
/// Multihash of SHA-256: its code 0x12 and length 0x20 (<https://multiformats.io/multihash/>; STAC `file` extension 2.1).
const MULTIHASH: &str = "1220";
/// Multihash of MD5: its code 0xd5 as a varint and length 0x10.
const MULTIHASH_MD5: &str = "d50110";
/// Name of the collection.
const COLLECTION: &str = "collection.json";

/// One area's part of a mirror, held for writing until it is dropped.
#[derive(Debug)]
pub struct Mirror {
    storage: Storage,
    area_id: String,
    lock: Lock,
    /// Where rasters are made that go to a bucket; in a folder they are made in place.
    workshop: Option<tempfile::TempDir>,
}

/// A file of a mirror that is not what its item says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// The name of the scene's folder.
    pub scene: String,
    /// Path or address of the file.
    pub file: String,
    /// What is wrong.
    pub reason: String,
}

/// What a check of a mirror found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// Scenes.
    pub n_scenes: usize,
    /// Files of theirs that are whole.
    pub n_files: usize,
    /// Their bytes.
    pub n_bytes: u64,
    /// Files that are damaged or missing.
    pub damaged: Vec<Damage>,
}

/// A raster as it lies in the mirror.
pub(crate) struct Stored {
    /// `red` or `scl`.
    pub(crate) name: String,
    pub(crate) geobox: GeoBox,
    pub(crate) n_bytes: u64,
    /// SHA-256, 64 hexadecimal digits.
    pub(crate) sha256: String,
}

impl Mirror {
    /// Opens an area's part of a mirror for writing, and makes it where there is none.
    ///
    /// # Errors
    ///
    /// If another process holds it, or it cannot be written.
    pub fn open(root: &Storage, area_id: &str) -> Result<Self> {
        Self::open_area(root.join(&escaped(area_id)), area_id)
    }

    /// As [`Mirror::open`], by where the area's part is.
    ///
    /// # Errors
    ///
    /// As [`Mirror::open`].
    pub fn open_area(storage: Storage, area_id: &str) -> Result<Self> {
        let lock = storage.lock().map_err(|locking| match locking {
            Locking::Held(holder) => Error::MirrorLocked {
                path: storage.address("").into(),
                holder,
            },
            Locking::Refused(source) => at("write to", &storage, "")(source),
        })?;
        let workshop = match storage.path() {
            Some(_) => None,
            None => Some(tempfile::tempdir().map_err(|source| Error::File {
                doing: "make a folder in",
                path: std::env::temp_dir(),
                source,
            })?),
        };
        Ok(Self {
            storage,
            area_id: area_id.to_owned(),
            lock,
            workshop,
        })
    }

    /// Where the area's part is: a catalog that can be read.
    #[must_use]
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The name of a scene's folder.
    pub(crate) fn scene_name(scene_id: &str) -> String {
        escaped(scene_id)
    }

    /// A folder of this machine to make a scene's rasters in.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub(crate) fn make_workplace(&self, scene_id: &str) -> Result<PathBuf> {
        let root = match (&self.workshop, self.storage.path()) {
            (Some(workshop), _) => workshop.path(),
            (None, Some(folder)) => folder,
            (None, None) => Path::new("."),
        };
        let folder = root.join(escaped(scene_id));
        fs::create_dir_all(&folder).map_err(file_error("make the folder", &folder))?;
        Ok(folder)
    }

    /// Lengths of its files, by folder and name.
    pub(crate) fn list(&self) -> Result<Listing> {
        self.storage.list().map_err(at("list", &self.storage, ""))
    }

    /// Writes a file of the area's folder, whole or not at all.
    ///
    /// # Errors
    ///
    /// If the disk or the store refuses.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.put(&escaped(name), bytes)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.check_lock()?;
        let put = self.storage.put(name, bytes);
        put.map_err(at("write", &self.storage, name))
    }

    fn check_lock(&self) -> Result<()> {
        if self.lock.is_held() {
            Ok(())
        } else {
            Err(Error::MirrorLocked {
                path: self.storage.address("").into(),
                holder: "it was taken over while the store could not be reached".into(),
            })
        }
    }

    /// What each scene that is there rests on, by the name of its folder.
    pub(crate) fn inputs(&self, listing: &Listing) -> BTreeMap<String, String> {
        let items = items_of(&self.storage, listing).into_iter();
        items
            .filter_map(|(scene, item)| {
                let inputs = item
                    .ok()?
                    .pointer("/properties/pitwatch:inputs")?
                    .as_str()?
                    .to_owned();
                Some((scene, inputs))
            })
            .collect()
    }

    /// Removes a scene, by the name of its folder, so that it is fetched anew.
    ///
    /// # Errors
    ///
    /// If it cannot be removed.
    pub fn remove(&self, scene: &str) -> Result<()> {
        self.check_lock()?;
        // The item goes first: without it the rest is nothing.
        let item = item_name(scene);
        let removed = self.storage.remove(&item);
        removed.map_err(at("remove", &self.storage, &item))?;
        let removed = self.storage.remove_folder(scene);
        removed.map_err(at("remove", &self.storage, scene))?;
        if let Some(workshop) = &self.workshop {
            let _ = fs::remove_dir_all(workshop.path().join(scene));
        }
        Ok(())
    }

    /// Moves a raster that is complete to its place.
    ///
    /// - `from`: a file of the scene's workplace.
    pub(crate) fn put_raster(
        &self,
        scene_id: &str,
        name: &str,
        geobox: GeoBox,
        from: &Path,
    ) -> Result<Stored> {
        self.check_lock()?;
        let (n_bytes, sha256) = hash_file(from).map_err(file_error("read", from))?;
        let file = format!("{}/{name}.tif", escaped(scene_id));
        let put = self.storage.put_file(&file, from);
        put.map_err(at("write", &self.storage, &file))?;
        Ok(Stored {
            name: name.to_owned(),
            geobox,
            n_bytes,
            sha256,
        })
    }

    /// Writes a scene's item, which makes it a part of the mirror.
    pub(crate) fn write_item(&self, scene: &Scene, rasters: &[Stored], inputs: &str) -> Result<()> {
        let item = item_of(&self.area_id, scene, rasters, inputs);
        self.put(&item_name(&escaped(&scene.id)), &pretty(&item)?)
    }

    /// Writes the collection of all scenes that are there.
    ///
    /// - `notice`: what results must carry.
    ///
    /// # Errors
    ///
    /// If the mirror cannot be read or written.
    pub fn write_collection(&self, title: &str, bounds: [f64; 4], notice: &str) -> Result<()> {
        let mut items: Vec<(String, String, String)> = Vec::new();
        for (name, item) in items_of(&self.storage, &self.list()?) {
            let Ok(item) = item else {
                continue;
            };
            let text = |pointer: &str| {
                item.pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            items.push((text("/properties/datetime"), text("/id"), name));
        }
        items.sort();
        let interval = match (items.first(), items.last()) {
            (Some((first, ..)), Some((last, ..))) => json!([first, last]),
            _ => json!([null, null]),
        };
        let mut links = vec![
            json!({ "rel": "root", "href": "./collection.json", "type": "application/json" }),
            json!({
                "rel": "license",
                "href": "https://sentinel.esa.int/documents/247904/690755/Sentinel_Data_Legal_Notice",
            }),
        ];
        links.extend(items.iter().map(|(_, id, name)| {
            json!({ "rel": "item", "href": format!("./{name}/{name}.json"), "type": "application/geo+json", "title": id })
        }));
        let collection = json!({
            "type": "Collection",
            "stac_version": "1.0.0",
            "id": self.area_id,
            "title": title,
            "description": "Sentinel-2 Level-2A over the cells of one area, digital numbers as published",
            "license": "proprietary",
            "pitwatch:notice": notice,
            "extent": { "spatial": { "bbox": [bounds] }, "temporal": { "interval": [interval] } },
            "links": links,
        });
        self.put(COLLECTION, &pretty(&collection)?)
    }

    /// Compares every file with what its item says, and reads those that are not known to be as they were.
    ///
    /// # Errors
    ///
    /// If the mirror cannot be listed.
    pub fn check(&self, known: &Hashes) -> Result<Checked> {
        check(&self.storage, known)
    }

    /// Removes what no item names: files of interrupted work and scenes that were never completed. Returns their paths or
    /// addresses.
    ///
    /// # Errors
    ///
    /// If something cannot be removed.
    pub fn prune(&self) -> Result<Vec<String>> {
        let mut unwanted: Vec<String> = Vec::new();
        let mut removed = Vec::new();
        let listing = self.list()?;
        let items: BTreeMap<String, _> = items_of(&self.storage, &listing).into_iter().collect();
        for (folder, files) in &listing {
            if folder.is_empty() {
                let of_work = files.keys().filter(|name| name.ends_with(UNFINISHED));
                unwanted.extend(of_work.cloned());
                continue;
            }
            let Some(item) = items.get(folder) else {
                self.remove(folder)?;
                removed.push(self.storage.address(folder));
                continue;
            };
            let named: Vec<String> = item
                .as_ref()
                .map_err(Clone::clone)
                .and_then(rasters_of)
                .map(|rasters| rasters.into_iter().map(|raster| raster.0).collect())
                .unwrap_or_default();
            let own = item_name(folder);
            let files = files.keys().map(|name| format!("{folder}/{name}"));
            unwanted.extend(files.filter(|file| {
                *file != own && !named.iter().any(|name| *file == format!("{folder}/{name}"))
            }));
        }
        for name in unwanted {
            let gone = self.storage.remove(&name);
            gone.map_err(at("remove", &self.storage, &name))?;
            removed.push(self.storage.address(&name));
        }
        removed.sort();
        Ok(removed)
    }
}

/// Compares every file of an area's mirror with what its item says, without holding the mirror.
///
/// - `known`: checksums of files that are not read where they are as they were; none reads all.
///
/// # Errors
///
/// If it cannot be listed.
pub fn check(area: &Storage, known: &Hashes) -> Result<Checked> {
    let listing = area.list().map_err(at("list", area, ""))?;
    let mut checked = Checked::default();
    let mut files: Vec<(String, String, u64, String)> = Vec::new();
    // A folder without an item is work that was interrupted: no part of the mirror.
    for (scene, item) in items_of(area, &listing) {
        checked.n_scenes += 1;
        match item.and_then(|item| rasters_of(&item)) {
            Err(reason) => checked.damaged.push(Damage {
                file: area.address(&item_name(&scene)),
                scene,
                reason,
            }),
            Ok(rasters) => files.extend(rasters.into_iter().map(|(name, n_bytes, sha256)| {
                (scene.clone(), format!("{scene}/{name}"), n_bytes, sha256)
            })),
        }
    }
    let names: Vec<String> = files.iter().map(|file| file.1.clone()).collect();
    for ((scene, name, n_bytes, sha256), found) in
        files.into_iter().zip(area.hash_all(&names, known))
    {
        let reason = match found {
            Err(error) => format!("it cannot be read: {error}"),
            Ok((length, _)) if length != n_bytes => {
                format!("it has {length} bytes instead of {n_bytes}")
            }
            Ok((_, found)) if found != sha256 => "its bytes are not those of its checksum".into(),
            Ok((length, _)) => {
                checked.n_files += 1;
                checked.n_bytes += length;
                continue;
            }
        };
        checked.damaged.push(Damage {
            scene,
            file: area.address(&name),
            reason,
        });
    }
    checked.damaged.sort();
    Ok(checked)
}

/// The items of the scenes that are there, by the name of their folder, or what is wrong with one.
fn items_of(
    area: &Storage,
    listing: &Listing,
) -> Vec<(String, std::result::Result<Value, String>)> {
    let has_item = |(folder, files): &(&String, &BTreeMap<String, u64>)| {
        !folder.is_empty() && files.contains_key(&format!("{folder}.json"))
    };
    let scenes = listing
        .iter()
        .filter(has_item)
        .map(|(folder, _)| folder.clone());
    let scenes: Vec<String> = scenes.collect();
    let names: Vec<String> = scenes.iter().map(|scene| item_name(scene)).collect();
    let parse = |text: std::io::Result<Vec<u8>>| {
        let text = text.map_err(|error| format!("it cannot be read: {error}"))?;
        serde_json::from_slice(&text).map_err(|error| format!("it is no JSON: {error}"))
    };
    let items = area.get_all(&names).into_iter().map(parse);
    scenes.into_iter().zip(items).collect()
}

/// The files that an item names, with length and SHA-256.
fn rasters_of(item: &Value) -> std::result::Result<Vec<(String, u64, String)>, String> {
    let assets = item
        .get("assets")
        .and_then(Value::as_object)
        .ok_or("it has no assets")?;
    assets
        .values()
        .map(|asset| {
            let name = asset
                .get("href")
                .and_then(Value::as_str)
                .and_then(|href| href.strip_prefix("./"));
            let name = name.filter(|name| !name.contains(['/', '\\']) && *name != "..");
            let n_bytes = asset.get("file:size").and_then(Value::as_u64);
            let sha256 = asset
                .get("file:checksum")
                .and_then(Value::as_str)
                .and_then(|text| text.strip_prefix(MULTIHASH));
            match (name, n_bytes, sha256) {
                (Some(name), Some(n_bytes), Some(sha256)) => {
                    Ok((name.to_owned(), n_bytes, sha256.to_owned()))
                }
                _ => Err("an asset of it has no address, length or checksum".to_owned()),
            }
        })
        .collect()
}

fn item_of(area_id: &str, scene: &Scene, rasters: &[Stored], inputs: &str) -> Value {
    let mut properties = scene.properties.clone();
    properties.values_mut().for_each(hide_queries);
    properties.insert("datetime".into(), format_time(scene.time).into());
    // Where the item states milliseconds they are kept: the identity of an acquisition may rest on them.
    if let Some(stated) = scene
        .properties
        .get("datetime")
        .filter(|stated| stated.is_string())
    {
        properties.insert("datetime".into(), stated.clone());
    }
    properties.insert(SOURCE_PROPERTY.into(), scene.source.clone().into());
    properties.insert("pitwatch:source_href".into(), bare(&scene.item_href).into());
    properties.insert("pitwatch:inputs".into(), inputs.into());
    if !scene.identity.tile.is_empty()
        && !properties.contains_key("grid:code")
        && scene.identity.tile.len() == 5
    {
        properties.insert(
            "grid:code".into(),
            format!("MGRS-{}", scene.identity.tile).into(),
        );
    }
    if let Some(raster) = rasters.first() {
        properties.insert("proj:code".into(), raster.geobox.crs().to_string().into());
        properties.insert("proj:epsg".into(), raster.geobox.crs().epsg().into());
    }
    let mut assets = Map::new();
    for raster in rasters {
        let band = scene
            .assets
            .iter()
            .find(|(band, _)| band.common_name() == raster.name)
            .map(|(_, asset)| asset);
        let source = band.unwrap_or(&scene.classification);
        let mut asset = Map::new();
        for (name, value) in &source.stated {
            // What is said of the numbers still holds; what is said of the file does not.
            let is_of_numbers = [
                "raster:bands",
                "bands",
                "eo:bands",
                "raster:offset",
                "raster:scale",
                "offset",
                "scale",
                "nodata",
                "gsd",
            ]
            .contains(&name.as_str());
            if is_of_numbers {
                let mut value = value.clone();
                hide_queries(&mut value);
                asset.insert(name.clone(), value);
            }
        }
        let Shape { height, width } = raster.geobox.shape();
        let [x, pixel_width, _, y, _, pixel_height] = raster.geobox.gdal_transform();
        asset.insert("href".into(), format!("./{}.tif", raster.name).into());
        asset.insert(
            "type".into(),
            "image/tiff; application=geotiff; profile=cloud-optimized".into(),
        );
        asset.insert("roles".into(), json!(["data"]));
        asset.insert("proj:shape".into(), json!([height, width]));
        asset.insert(
            "proj:transform".into(),
            json!([pixel_width, 0.0, x, 0.0, pixel_height, y]),
        );
        asset.insert("file:size".into(), raster.n_bytes.into());
        asset.insert(
            "file:checksum".into(),
            format!("{MULTIHASH}{}", raster.sha256).into(),
        );
        asset.insert("pitwatch:source_href".into(), bare(&source.href).into());
        if let Some(band) = band {
            asset.insert(
                "pitwatch:offset_digital_numbers".into(),
                band.offset.digital_numbers.into(),
            );
            asset.insert(
                "pitwatch:offset_ground".into(),
                band.offset.ground.to_string().into(),
            );
        }
        assets.insert(raster.name.clone(), asset.into());
    }
    let bounds = scene.footprint.bounding_rect().map_or(json!(null), |rect| {
        json!([rect.min().x, rect.min().y, rect.max().x, rect.max().y])
    });
    json!({
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [
            "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
            "https://stac-extensions.github.io/file/v2.1.0/schema.json",
        ],
        "id": scene.id,
        "collection": area_id,
        "geometry": geometry(&scene.footprint),
        "bbox": bounds,
        "properties": properties,
        "links": [
            { "rel": "root", "href": "../collection.json", "type": "application/json" },
            { "rel": "parent", "href": "../collection.json", "type": "application/json" },
            { "rel": "collection", "href": "../collection.json", "type": "application/json" },
        ],
        "assets": assets,
    })
}

/// Takes query strings out of addresses, since signatures stand in them.
fn hide_queries(value: &mut Value) {
    match value {
        Value::String(text) if text.contains("://") => *text = bare(text),
        Value::Array(values) => values.iter_mut().for_each(hide_queries),
        Value::Object(values) => values.values_mut().for_each(hide_queries),
        _ => {}
    }
}

fn geometry(footprint: &MultiPolygon<f64>) -> Value {
    let polygons: Vec<Value> = footprint
        .iter()
        .map(|polygon| {
            let rings = std::iter::once(polygon.exterior()).chain(polygon.interiors());
            let rings: Vec<Vec<[f64; 2]>> = rings
                .map(|ring| ring.coords().map(|coord| [coord.x, coord.y]).collect())
                .collect();
            json!(rings)
        })
        .collect();
    json!({ "type": "MultiPolygon", "coordinates": polygons })
}

/// A name as a part of a path: letters, digits, `-`, `_` and dots that do not lead; all else as `=` and two
/// hexadecimal digits, which neither a file system nor an address takes for anything else. A name that would be too long
/// ends in its checksum.
pub fn escaped(name: &str) -> String {
    let mut safe = String::new();
    for (index, byte) in name.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphanumeric()
            || byte == b'-'
            || byte == b'_'
            || (byte == b'.' && index > 0);
        if is_plain {
            safe.push(char::from(byte));
        } else {
            safe.push_str(&format!("={byte:02X}"));
        }
    }
    if safe.is_empty() {
        safe.push_str("=00");
    }
    if safe.len() > MAX_NAME {
        let sum = hex(&Sha256::digest(name.as_bytes()));
        safe.truncate(MAX_NAME - 17);
        safe.push('-');
        safe.push_str(&sum[..16]);
    }
    safe
}

/// The item of a scene's folder, which bears its name.
fn item_name(scene: &str) -> String {
    format!("{scene}/{scene}.json")
}

/// False if a file's bytes contradict its checksum, a hexadecimal multihash (<https://multiformats.io/multihash/>) of
/// SHA-256 or MD5. One of another kind says nothing.
pub(crate) fn agrees_with(path: &Path, checksum: &str) -> std::io::Result<bool> {
    let checksum = checksum.to_ascii_lowercase();
    Ok(if let Some(digest) = checksum.strip_prefix(MULTIHASH) {
        digest_of::<Sha256>(path)? == digest
    } else if let Some(digest) = checksum.strip_prefix(MULTIHASH_MD5) {
        digest_of::<Md5>(path)? == digest
    } else {
        true
    })
}

fn digest_of<D: Digest>(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = D::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&piece[..n]),
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pretty(value: &Value) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| Error::Raster {
        path: PathBuf::new(),
        reason: error.to_string(),
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

pub(crate) fn file_error<'a>(
    doing: &'static str,
    path: &'a Path,
) -> impl Fn(std::io::Error) -> Error + 'a {
    move |source| Error::File {
        doing,
        path: path.to_owned(),
        source,
    }
}

fn at<'a>(
    doing: &'static str,
    storage: &'a Storage,
    name: &'a str,
) -> impl Fn(std::io::Error) -> Error + 'a {
    move |source| Error::File {
        doing,
        path: storage.address(name).into(),
        source,
    }
}

/// What a raster's offset rests on, by band, for a mirror's reader.
pub(crate) fn inputs_of(parts: &BTreeMap<String, String>) -> String {
    let mut hash = Sha256::new();
    for (name, value) in parts {
        hash.update(format!("{name}={value}\n"));
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_its_folder() {
        assert_eq!(
            escaped("S2A_29PQK_20240101_0_L2A"),
            "S2A_29PQK_20240101_0_L2A"
        );
        for name in [
            "../x",
            "a/b",
            "..",
            ".",
            "",
            "a\\b",
            "a\0b",
            "C:x",
            "ä ö",
            &"x".repeat(4000),
        ] {
            let safe = escaped(name);
            assert!(
                !safe.contains(['/', '\\', '\0', ':'])
                    && !safe.starts_with('.')
                    && !safe.is_empty(),
                "{safe}"
            );
            assert!(safe.len() <= MAX_NAME);
            assert_eq!(Path::new(&safe).components().count(), 1);
        }
        assert_ne!(escaped("a/b"), escaped("a_b"));
        assert_ne!(escaped(&"x".repeat(4000)), escaped(&"x".repeat(4001)));
    }
}
