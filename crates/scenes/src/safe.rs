//! Products as ESA packs them: `.SAFE` folders, their metadata read as if a catalog had listed them.
//!
//! Source: Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD), "Level-2A product".

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pitwatch_grid::Band;
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::{Value, json};

use crate::catalog::Walk;
use crate::{Error, Result};

/// Bands that are read, by ESA's name, STAC's name, the folder of their own resolution, and pixel size.
const RASTERS: [(&str, &str, &str); 10] = [
    ("B02", "blue", "R10m"),
    ("B03", "green", "R10m"),
    ("B04", "red", "R10m"),
    ("B08", "nir", "R10m"),
    ("B05", "rededge1", "R20m"),
    ("B06", "rededge2", "R20m"),
    ("B07", "rededge3", "R20m"),
    ("B8A", "nir08", "R20m"),
    ("B11", "swir16", "R20m"),
    ("B12", "swir22", "R20m"),
];
/// `band_id` of the metadata, 0 to 12, in the order of the bands.
const BAND_IDS: [&str; 13] = [
    "B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12",
];
/// Longest metadata file; real ones have 50 to 500 kB.
const MAX_METADATA_BYTES: u64 = 16 << 20;

/// Reads every product of a folder. What is broken in one becomes an excluded item.
pub(crate) fn read_folder(folder: &Path, bands: &[Band], walk: &mut Walk) -> Result<()> {
    let refused = |source| Error::Products {
        path: folder.to_owned(),
        source,
    };
    let mut products = Vec::new();
    for entry in fs::read_dir(folder).map_err(refused)? {
        let path = entry.map_err(refused)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "SAFE")
            && path.is_dir()
        {
            products.push(path);
        }
    }
    products.sort();
    for product in products {
        let item = read_product(&product);
        walk.read_item(item, &product.join("MTD_MSIL2A.xml"), None, bands);
    }
    Ok(())
}

/// A product as an item. What cannot be read is missing in it, and is told when the item is read.
fn read_product(product: &Path) -> Value {
    let name = product
        .file_stem()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let metadata = elements(&product.join("MTD_MSIL2A.xml"));
    let granule = granule_of(product);
    let tile = granule
        .as_deref()
        .map(|granule| elements(&granule.join("MTD_TL.xml")))
        .unwrap_or_default();
    let first = |elements: &[Element], name: &str| {
        elements
            .iter()
            .find(|element| element.name == name)
            .map(|element| element.text.clone())
    };
    let mut properties = serde_json::Map::new();
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            properties.insert(name.to_owned(), value.into());
        }
    };
    put(
        "datetime",
        first(&metadata, "DATASTRIP_SENSING_START")
            .or_else(|| first(&metadata, "PRODUCT_START_TIME")),
    );
    put("s2:product_uri", Some(format!("{name}.SAFE")));
    put(
        "s2:processing_baseline",
        first(&metadata, "PROCESSING_BASELINE"),
    );
    put("s2:product_type", first(&metadata, "PRODUCT_TYPE"));
    put("created", first(&metadata, "GENERATION_TIME"));
    put("s2:datastrip_id", first(&tile, "DATASTRIP_ID"));
    put("platform", first(&metadata, "SPACECRAFT_NAME"));
    if let Some(datatake) = metadata
        .iter()
        .find_map(|element| element.attributes.get("datatakeIdentifier"))
    {
        properties.insert("s2:datatake_id".into(), datatake.clone().into());
    }
    if let Some(percent) =
        first(&metadata, "Cloud_Coverage_Assessment").and_then(|text| text.parse::<f64>().ok())
    {
        properties.insert("eo:cloud_cover".into(), percent.into());
    }
    if let Some(code) = first(&tile, "HORIZONTAL_CS_CODE") {
        properties.insert("proj:code".into(), code.into());
    }
    let quantification = first(&metadata, "BOA_QUANTIFICATION_VALUE")
        .and_then(|text| text.parse::<f64>().ok())
        .filter(|value| *value > 0.0)
        .unwrap_or(10_000.0);
    let offsets: BTreeMap<&str, f64> = metadata
        .iter()
        .filter(|element| element.name == "BOA_ADD_OFFSET")
        .filter_map(|element| {
            let id: usize = element.attributes.get("band_id")?.parse().ok()?;
            Some((*BAND_IDS.get(id)?, element.text.parse().ok()?))
        })
        .collect();
    let mut assets = serde_json::Map::new();
    if let Some(granule) = &granule {
        for (band, common, folder) in RASTERS {
            if let Some(path) = raster_of(&granule.join("IMG_DATA").join(folder), band) {
                let mut stated = json!({ "scale": 1.0 / quantification, "nodata": 0 });
                if let Some(offset) = offsets.get(band) {
                    stated["offset"] = json!(offset / quantification);
                }
                assets.insert(
                    common.to_owned(),
                    json!({ "href": path, "type": "image/jp2", "raster:bands": [stated] }),
                );
            }
        }
        if let Some(path) = raster_of(&granule.join("IMG_DATA").join("R20m"), "SCL") {
            assets.insert("scl".into(), json!({ "href": path, "type": "image/jp2" }));
        }
    }
    json!({
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": first(&metadata, "EXT_POS_LIST").and_then(|text| footprint(&text)),
        "properties": properties,
        "assets": assets,
    })
}

/// The only granule of a product.
fn granule_of(product: &Path) -> Option<PathBuf> {
    let mut granules: Vec<PathBuf> = fs::read_dir(product.join("GRANULE"))
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .collect();
    granules.sort();
    granules.into_iter().next()
}

/// The raster of a band: `T29PQK_20230504T105619_B04_10m.jp2`.
fn raster_of(folder: &Path, band: &str) -> Option<String> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path
                .file_stem()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            name.split('_').any(|token| token == band)
        })
        .collect();
    paths.sort();
    paths
        .into_iter()
        .next()
        .map(|path| path.display().to_string())
}

/// A footprint of latitudes and longitudes in turn, `8.1 -6.2 8.2 -6.2 …`.
fn footprint(text: &str) -> Option<Value> {
    let numbers: Vec<f64> = text
        .split_whitespace()
        .map(|number| number.parse().ok())
        .collect::<Option<_>>()?;
    let ring: Vec<[f64; 2]> = numbers
        .chunks_exact(2)
        .map(|pair| [pair[1], pair[0]])
        .collect();
    (ring.len() >= 4).then(|| json!({ "type": "Polygon", "coordinates": [ring] }))
}

/// An element with a text or attributes, without its namespace.
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
    text: String,
}

/// The elements of a file in their order; those before the place where it breaks.
fn elements(path: &Path) -> Vec<Element> {
    let is_long = fs::metadata(path).map_or(true, |meta| meta.len() > MAX_METADATA_BYTES);
    let text = if is_long {
        String::new()
    } else {
        fs::read_to_string(path).unwrap_or_default()
    };
    let mut reader = Reader::from_str(&text);
    let mut found: Vec<Element> = Vec::new();
    loop {
        match reader.read_event() {
            Ok(Event::Start(start) | Event::Empty(start)) => {
                let local = |name: &[u8]| {
                    let name = String::from_utf8_lossy(name).into_owned();
                    name.rsplit(':').next().unwrap_or_default().to_owned()
                };
                let attributes = start
                    .attributes()
                    .flatten()
                    .map(|attribute| {
                        (
                            local(attribute.key.as_ref()),
                            String::from_utf8_lossy(&attribute.value).into_owned(),
                        )
                    })
                    .collect();
                found.push(Element {
                    name: local(start.name().as_ref()),
                    attributes,
                    text: String::new(),
                });
            }
            Ok(Event::Text(text)) => {
                // The text of an element comes before any other element starts.
                if let Some(last) = found.last_mut().filter(|last| last.text.is_empty()) {
                    String::from_utf8_lossy(&text)
                        .trim()
                        .clone_into(&mut last.text);
                }
            }
            Ok(Event::Eof) | Err(_) => return found,
            Ok(_) => {}
        }
    }
}
