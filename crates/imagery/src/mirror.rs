//! The mirror: a static STAC catalog an area, with small rasters clipped to the area's cells.
//!
//! ```text
//! MIRROR/AREA/collection.json          written last
//! MIRROR/AREA/SCENE/SCENE.json         written after the scene's rasters: a scene without it is not there
//! MIRROR/AREA/SCENE/red.tif … scl.tif
//! ```
//!
//! Files are written under a temporary name and renamed. What is written depends on the scene and the area alone, not on
//! the order of work or on what was interrupted.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use geo::{BoundingRect, MultiPolygon};
use md5::Md5;
use pitwatch_grid::{GeoBox, Shape, format_time};
use pitwatch_scenes::net::bare;
use pitwatch_scenes::{SOURCE_PROPERTY, Scene};
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Ending of files that are not complete.
const UNFINISHED: &str = "part";
/// Longest name of a scene's folder, below what file systems take (255) with an ending.
const MAX_NAME: usize = 160;
/// Multihash of SHA-256: its code 0x12 and length 0x20 (<https://multiformats.io/multihash/>; STAC `file` extension 2.1).
const MULTIHASH: &str = "1220";

/// One area's part of a mirror, held for writing until it is dropped.
#[derive(Debug)]
pub struct Mirror {
    folder: PathBuf,
    area_id: String,
    /// Held open, and so locked.
    _lock: File,
}

/// A file of a mirror that is not what its item says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// The scene's folder.
    pub scene: PathBuf,
    /// The file.
    pub file: PathBuf,
    /// What is wrong.
    pub reason: String,
}

/// What a check of a mirror found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// Scenes.
    pub n_scenes: usize,
    /// Files of theirs that were read.
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
    /// - `root`: the mirror's folder.
    ///
    /// # Errors
    ///
    /// If another process holds it, or the folder cannot be written.
    pub fn open(root: &Path, area_id: &str) -> Result<Self> {
        let folder = root.join(escaped(area_id));
        fs::create_dir_all(&folder).map_err(file_error("make the folder", &folder))?;
        let path = folder.join(".lock");
        let lock = File::create(&path).map_err(file_error("write", &path))?;
        lock.try_lock().map_err(|_| Error::MirrorLocked {
            path: folder.clone(),
        })?;
        Ok(Self {
            folder,
            area_id: area_id.to_owned(),
            _lock: lock,
        })
    }

    /// The area's folder: a catalog that can be read.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of a scene.
    pub(crate) fn scene_folder(&self, scene_id: &str) -> PathBuf {
        self.folder.join(escaped(scene_id))
    }

    /// Bytes that the area's part takes.
    ///
    /// # Errors
    ///
    /// If it cannot be listed.
    pub fn n_bytes(&self) -> Result<u64> {
        let mut sum = 0;
        for scene in folders(&self.folder)? {
            for file in files(&scene)? {
                sum += fs::metadata(&file).map_or(0, |meta| meta.len());
            }
        }
        Ok(sum)
    }

    /// Writes a file of the area's folder, whole or not at all.
    ///
    /// # Errors
    ///
    /// If the disk refuses.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        write_whole(&self.folder.join(escaped(name)), bytes)
    }

    /// The scene's item as it lies in the mirror.
    pub(crate) fn item(&self, scene_id: &str) -> Option<Value> {
        let path = item_path(&self.scene_folder(scene_id))?;
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// Removes a scene, so that it is fetched anew.
    ///
    /// # Errors
    ///
    /// If it cannot be removed.
    pub fn remove(&self, scene: &Path) -> Result<()> {
        // The item goes first: without it the rest is nothing.
        if let Some(item) = item_path(scene)
            && item.exists()
        {
            fs::remove_file(&item).map_err(file_error("remove", &item))?;
        }
        fs::remove_dir_all(scene).map_err(file_error("remove", scene))
    }

    /// Writes a scene's item, which makes it a part of the mirror.
    pub(crate) fn write_item(&self, scene: &Scene, rasters: &[Stored], inputs: &str) -> Result<()> {
        let folder = self.scene_folder(&scene.id);
        let item = item_of(&self.area_id, scene, rasters, inputs);
        let Some(path) = item_path(&folder) else {
            return Err(Error::Raster {
                path: folder,
                reason: "a scene without a name".into(),
            });
        };
        write_whole(&path, &pretty(&item)?)
    }

    /// Writes the collection of all scenes that are there.
    ///
    /// - `notice`: what results must carry.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read or written.
    pub fn write_collection(&self, title: &str, bounds: [f64; 4], notice: &str) -> Result<()> {
        let mut items: Vec<(String, String, String)> = Vec::new();
        for folder in folders(&self.folder)? {
            let Some(item) = item_path(&folder).and_then(|path| fs::read(path).ok()) else {
                continue;
            };
            let Ok(item) = serde_json::from_slice::<Value>(&item) else {
                continue;
            };
            let text = |pointer: &str| {
                item.pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let name = folder
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
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
            // A percent sign of a file's name is one in an address too.
            let name = name.replace('%', "%25");
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
        write_whole(&self.folder.join("collection.json"), &pretty(&collection)?)
    }

    /// Reads every file and compares it with what its item says.
    ///
    /// # Errors
    ///
    /// If the folder cannot be listed.
    pub fn check(&self) -> Result<Checked> {
        check(&self.folder)
    }

    /// Removes what no item names: files of interrupted work and scenes that were never completed. Returns their names.
    ///
    /// # Errors
    ///
    /// If something cannot be removed.
    pub fn prune(&self) -> Result<Vec<PathBuf>> {
        let mut removed = Vec::new();
        for scene in folders(&self.folder)? {
            let item = item_path(&scene).filter(|path| path.exists());
            let Some(item) = item else {
                fs::remove_dir_all(&scene).map_err(file_error("remove", &scene))?;
                removed.push(scene);
                continue;
            };
            let named: Vec<PathBuf> = rasters_of(&item)
                .map(|rasters| rasters.into_iter().map(|raster| raster.0).collect())
                .unwrap_or_default();
            for file in files(&scene)? {
                if file != item && !named.contains(&file) {
                    fs::remove_file(&file).map_err(file_error("remove", &file))?;
                    removed.push(file);
                }
            }
        }
        for file in files(&self.folder)? {
            if file
                .extension()
                .is_some_and(|extension| extension == UNFINISHED)
            {
                fs::remove_file(&file).map_err(file_error("remove", &file))?;
                removed.push(file);
            }
        }
        Ok(removed)
    }
}

/// Reads every file of an area's mirror and compares it with what its item says, without holding the mirror.
///
/// # Errors
///
/// If the folder cannot be listed.
pub fn check(folder: &Path) -> Result<Checked> {
    let scenes = folders(folder)?;
    let checked: Vec<Checked> = scenes.par_iter().map(|scene| check_scene(scene)).collect();
    let mut all = Checked::default();
    for one in checked {
        all.n_scenes += one.n_scenes;
        all.n_files += one.n_files;
        all.n_bytes += one.n_bytes;
        all.damaged.extend(one.damaged);
    }
    all.damaged.sort();
    Ok(all)
}

fn check_scene(scene: &Path) -> Checked {
    let mut checked = Checked::default();
    let Some(item) = item_path(scene).filter(|path| path.exists()) else {
        // Work that was interrupted: no part of the mirror.
        return checked;
    };
    checked.n_scenes = 1;
    let mut damaged = |file: &Path, reason: String| {
        checked.damaged.push(Damage {
            scene: scene.to_owned(),
            file: file.to_owned(),
            reason,
        });
    };
    match rasters_of(&item) {
        Err(reason) => damaged(&item, reason),
        Ok(rasters) => {
            for (file, n_bytes, sha256) in rasters {
                match hash(&file) {
                    Err(error) => damaged(&file, format!("it cannot be read: {error}")),
                    Ok((length, _)) if length != n_bytes => {
                        damaged(&file, format!("it has {length} bytes instead of {n_bytes}"));
                    }
                    Ok((_, found)) if found != sha256 => {
                        damaged(&file, "its bytes are not those of its checksum".into());
                    }
                    Ok((length, _)) => {
                        checked.n_files += 1;
                        checked.n_bytes += length;
                    }
                }
            }
        }
    }
    checked
}

/// The files that an item names, with length and SHA-256.
fn rasters_of(item: &Path) -> std::result::Result<Vec<(PathBuf, u64, String)>, String> {
    let text = fs::read(item).map_err(|error| format!("it cannot be read: {error}"))?;
    let value: Value =
        serde_json::from_slice(&text).map_err(|error| format!("it is no JSON: {error}"))?;
    let assets = value
        .get("assets")
        .and_then(Value::as_object)
        .ok_or("it has no assets")?;
    let folder = item.parent().unwrap_or(Path::new(""));
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
                    Ok((folder.join(name), n_bytes, sha256.to_owned()))
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

/// A name as a part of a path: letters, digits, `-`, `_` and dots that do not lead; all else as `%` and two digits. A name
/// that would be too long ends in its checksum.
pub(crate) fn escaped(name: &str) -> String {
    let mut safe = String::new();
    for (index, byte) in name.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphanumeric()
            || byte == b'-'
            || byte == b'_'
            || (byte == b'.' && index > 0);
        if is_plain {
            safe.push(char::from(byte));
        } else {
            safe.push_str(&format!("%{byte:02X}"));
        }
    }
    if safe.is_empty() {
        safe.push_str("%00");
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
fn item_path(scene: &Path) -> Option<PathBuf> {
    let name = scene.file_name()?.to_string_lossy().into_owned();
    Some(scene.join(format!("{name}.json")))
}

/// The folders of a folder, by name; none if it is not there. Hidden ones are not meant.
fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = entries(folder)?;
    found.retain(|path| path.is_dir());
    Ok(found)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = entries(folder)?;
    found.retain(|path| path.is_file());
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(file_error("list", folder)(error)),
    };
    let mut found = Vec::new();
    for entry in listed {
        let path = entry.map_err(file_error("list", folder))?.path();
        let is_hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !is_hidden {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Where a file is written before it is complete.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(UNFINISHED);
    path.with_file_name(name)
}

/// Gives a complete file its name.
pub(crate) fn complete(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(file_error("write", to))
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = unfinished(path);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&part);
        file_error("write", path)(error)
    })?;
    complete(&part, path)
}

/// Length and SHA-256 of a file.
pub(crate) fn hash(path: &Path) -> std::io::Result<(u64, String)> {
    hash_with::<Sha256>(path)
}

/// False if a file's bytes contradict its checksum, a hexadecimal multihash (<https://multiformats.io/multihash/>) of
/// SHA-256 or MD5. One of another kind says nothing.
pub(crate) fn agrees_with(path: &Path, checksum: &str) -> std::io::Result<bool> {
    let checksum = checksum.to_ascii_lowercase();
    Ok(if let Some(digest) = checksum.strip_prefix("1220") {
        hash_with::<Sha256>(path)?.1 == digest
    } else if let Some(digest) = checksum.strip_prefix("d50110") {
        hash_with::<Md5>(path)?.1 == digest
    } else {
        true
    })
}

fn hash_with<D: Digest>(path: &Path) -> std::io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hash = D::new();
    let mut piece = vec![0; 1 << 16];
    let mut length = 0;
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((length, hex(&hash.finalize()))),
            n => {
                length += n as u64;
                hash.update(&piece[..n]);
            }
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
