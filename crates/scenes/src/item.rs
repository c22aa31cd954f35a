//! A STAC item as catalogs write it, and what its properties mean under all their names.
//!
//! Sources: STAC item specification 1.0 and 1.1; extensions `eo` 1 and 2, `raster` 1 and 2, `projection` 1 and 2,
//! `grid` 1, `mgrs` 1, `sentinel-2` 1, `processing` 1, `product` 0.1 and `eopf` 1; Earth Search v0 (`sentinel:`) and the
//! `sentinel2:` of stactools' first items.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;
use geo::{
    Area, BooleanOps, BoundingRect, Coord, LineString, MapCoords, MultiPolygon, Polygon, Rect,
};
use pitwatch_grid::{Band, Crs, GeoBox, Point, Shape, UtcTime, parse_time};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::{Baseline, ExclusionReason};

/// Prefixes under which the same Sentinel-2 property is found.
const PREFIXES: [&str; 4] = ["s2", "sentinel2", "sentinel", "eopf"];

/// Properties that hold a product's name, such as `S2A_MSIL2A_20221207T102411_N0509_R065_T32TMS_20221207T135807.SAFE`.
const PRODUCT_NAMES: [&str; 3] = ["product_uri", "product_title", "product_id"];

/// Relative orbits of Sentinel-2: its ground track repeats after 143 orbits, which take ten days (Sentinel-2 user handbook).
const N_ORBITS: u64 = 143;

/// A STAC item. Its geometry and assets stay JSON until they are asked for, so that one bad part does not hide the rest.
#[derive(Debug, Deserialize)]
pub(crate) struct Item {
    pub(crate) id: String,
    #[serde(default, deserialize_with = "lenient")]
    collection: Option<String>,
    #[serde(default)]
    geometry: Option<Value>,
    pub(crate) properties: Map<String, Value>,
    pub(crate) assets: BTreeMap<String, Value>,
}

/// What the processing level of a product is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Level {
    /// Surface reflectance, or not stated.
    SurfaceReflectance,
    /// Anything else, by its name.
    Other(String),
}

impl Item {
    /// Text of a property, whatever its prefix.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        PREFIXES.iter().find_map(|prefix| {
            self.properties
                .get(&format!("{prefix}:{name}"))?
                .as_str()
                .filter(|text| !text.is_empty())
        })
    }

    pub(crate) fn plain_text(&self, name: &str) -> Option<&str> {
        self.properties
            .get(name)?
            .as_str()
            .filter(|text| !text.is_empty())
    }

    /// The names the product and the item go by, the product's first.
    fn names(&self) -> impl Iterator<Item = &str> {
        PRODUCT_NAMES
            .iter()
            .filter_map(|name| self.text(name))
            .chain(self.plain_text("identifier"))
            .chain(
                ["tile_id", "granule_id"]
                    .iter()
                    .filter_map(|name| self.text(name)),
            )
            .chain([self.id.as_str()])
    }

    /// `datetime`, or where it is null `start_datetime` (STAC item specification, "datetime").
    pub(crate) fn time(&self) -> Option<UtcTime> {
        ["datetime", "start_datetime"]
            .into_iter()
            .find_map(|name| parse_time(self.plain_text(name)?).ok())
    }

    /// When the item's content was written last: `updated`, else `created`.
    pub(crate) fn published(&self) -> [Option<UtcTime>; 2] {
        ["created", "updated"].map(|name| parse_time(self.plain_text(name)?).ok())
    }

    /// `sentinel-2a`, from `sentinel-2a`, `Sentinel-2A` and `S2A`; where no platform is stated, from the product's name.
    pub(crate) fn platform(&self) -> Option<String> {
        let canonical = |text: &str| {
            let text = text.to_ascii_lowercase().replace([' ', '_'], "-");
            match text.strip_prefix("s2").map(str::as_bytes) {
                Some([letter]) if letter.is_ascii_lowercase() => {
                    format!("sentinel-2{}", char::from(*letter))
                }
                _ => text,
            }
        };
        self.plain_text("platform").map(canonical).or_else(|| {
            let name = self.names().find(|name| is_product_of_a_satellite(name))?;
            Some(canonical(&name[..3]))
        })
    }

    /// `eo:cloud_cover`, 0 to 100.
    pub(crate) fn cloud_cover_percent(&self) -> Option<f64> {
        self.properties.get("eo:cloud_cover")?.as_f64()
    }

    /// The processing baseline from its property, else from the product's name (`N0509`).
    pub(crate) fn baseline(&self) -> Result<Option<Baseline>, ExclusionReason> {
        let stated = PREFIXES.iter().find_map(|prefix| {
            self.properties
                .get(&format!("{prefix}:processing_baseline"))
                .filter(|value| !value.is_null())
        });
        if let Some(value) = stated {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => format!("{:.2}", number.as_f64().unwrap_or(f64::NAN)),
                other => other.to_string(),
            };
            return text
                .parse()
                .map(Some)
                .map_err(|()| ExclusionReason::BadBaseline { text });
        }
        // Other producers number their software under `processing:version`: what is no baseline says nothing.
        Ok(self
            .plain_text("processing:version")
            .and_then(|text| text.parse().ok())
            .or_else(|| {
                let names = self.names().filter(|name| is_product_of_a_satellite(name));
                names
                    .flat_map(|name| name.split(['_', '.']))
                    .filter(|token| token.len() == 5 && token.starts_with('N'))
                    .find_map(|token| token.parse().ok())
            }))
    }

    /// The level by the product's type, the stated level, the product's name, or the collection's.
    pub(crate) fn level(&self) -> Level {
        let product_type = self
            .text("product_type")
            .or_else(|| self.plain_text("product:type"))
            .filter(|text| text.starts_with("S2MSI"));
        if let Some(text) = product_type {
            return if text.starts_with("S2MSI2A") {
                Level::SurfaceReflectance
            } else if text.starts_with("S2MSI1") {
                Level::Other(format!("Level-{}", &text[5..]))
            } else {
                Level::Other(format!("product type {text}"))
            };
        }
        if let Some(text) = self.plain_text("processing:level") {
            return if text.starts_with("L2") {
                Level::SurfaceReflectance
            } else {
                Level::Other(text.replacen('L', "Level-", 1))
            };
        }
        let upper = |text: &str| text.to_ascii_uppercase();
        let is_level_1 = self
            .names()
            .chain(self.collection.as_deref())
            .map(upper)
            .any(|name| {
                name.contains("MSIL1C")
                    || name.split(['_', '-', '.', ' ']).any(|token| token == "L1C")
            });
        if is_level_1 {
            Level::Other("Level-1C".into())
        } else {
            Level::SurfaceReflectance
        }
    }

    /// `earthsearch:boa_offset_applied`, or `sentinel:boa_offset_applied` of Earth Search v0.
    pub(crate) fn is_offset_applied(&self) -> Result<Option<bool>, ExclusionReason> {
        let flag = ["earthsearch", "sentinel"].iter().find_map(|prefix| {
            let name = format!("{prefix}:boa_offset_applied");
            self.properties
                .get_key_value(&name)
                .filter(|(_, value)| !value.is_null())
        });
        match flag {
            None => Ok(None),
            Some((_, Value::Bool(flag))) => Ok(Some(*flag)),
            Some((name, other)) => Err(ExclusionReason::BadFlag {
                name: name.clone(),
                value: other.to_string(),
            }),
        }
    }

    /// The MGRS tile as five characters, `01WCR`.
    pub(crate) fn tile(&self) -> Option<String> {
        ["grid:code", "s2:mgrs_tile"]
            .into_iter()
            .find_map(|name| canonical_tile(self.plain_text(name)?))
            .or_else(|| {
                ["mgrs", "sentinel"].into_iter().find_map(|prefix| {
                    let zone = match self.properties.get(&format!("{prefix}:utm_zone"))? {
                        Value::String(text) => text.clone(),
                        other => other.to_string(),
                    };
                    let band = self.plain_text(&format!("{prefix}:latitude_band"))?;
                    let square = self.plain_text(&format!("{prefix}:grid_square"))?;
                    canonical_tile(&format!("{zone}{band}{square}"))
                })
            })
            .or_else(|| {
                self.names().find_map(|name| {
                    let mut tokens = name.split(['_', '.']);
                    let second = tokens.clone().nth(1);
                    tokens
                        .find(|token| {
                            token.len() == 6
                                && token.starts_with('T')
                                && canonical_tile(token).is_some()
                        })
                        .or(second)
                        .and_then(canonical_tile)
                })
            })
    }

    /// What names the pass of the satellite: its datatake (`S2A_20221207T102411`, without the baseline that the official
    /// identifier ends with), else its absolute orbit (`S2A_A041483`).
    pub(crate) fn pass(&self) -> Option<String> {
        let of_datatake = || {
            let mut tokens = self.text("datatake_id")?.strip_prefix('G')?.split('_');
            let (satellite, start) = (tokens.next()?, tokens.next()?);
            parse_compact_time(start)?;
            Some(format!("{satellite}_{start}"))
        };
        let of_product = |name: &str| {
            let tokens: Vec<&str> = name.split('_').collect();
            let (satellite, start) = (tokens.first()?, tokens.get(2)?);
            (tokens.get(1)?.starts_with("MSIL") && parse_compact_time(start).is_some())
                .then(|| format!("{satellite}_{start}"))
        };
        let of_orbit = |name: &str| {
            let tokens: Vec<&str> = name.split('_').collect();
            let orbit = tokens.iter().find(|token| {
                token.len() == 7
                    && token.starts_with('A')
                    && token[1..].bytes().all(|byte| byte.is_ascii_digit())
            })?;
            is_product_of_a_satellite(name).then(|| format!("{}_{orbit}", tokens[0]))
        };
        of_datatake()
            .or_else(|| self.names().find_map(of_product))
            .or_else(|| self.names().find_map(of_orbit))
    }

    /// When the datastrip began that this product was cut from, `S20221207T102411` in the datastrip's identifier.
    pub(crate) fn datastrip_start(&self) -> Option<UtcTime> {
        self.text("datastrip_id")?
            .split('_')
            .find_map(|token| parse_compact_time(token.strip_prefix('S')?))
    }

    /// The relative orbit, 1 to 143: stated, in the product's name (`R065`), or from the absolute orbit.
    ///
    /// The phases between absolute and relative orbits of Sentinel-2A and 2B are those of the products in the tests' data;
    /// other satellites' are not known here.
    pub(crate) fn relative_orbit(&self) -> Option<u16> {
        let is_orbit = |orbit: &u64| (1..=N_ORBITS).contains(orbit);
        let number = |value: &Value| match value {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        };
        let stated = [
            "sat:relative_orbit",
            "s2:relative_orbit_number",
            "sentinel2:relative_orbit",
        ]
        .iter()
        .find_map(|name| number(self.properties.get(*name)?));
        let in_name = || {
            self.names()
                .filter(|name| is_product_of_a_satellite(name))
                .flat_map(|name| name.split(['_', '.']))
                .filter(|token| token.len() == 4)
                .find_map(|token| token.strip_prefix('R')?.parse::<u64>().ok())
        };
        let from_absolute = || {
            let absolute = ["sat:absolute_orbit", "s2:absolute_orbit_number"]
                .iter()
                .find_map(|name| number(self.properties.get(*name)?))
                .or_else(|| self.text("datatake_id")?.split('_').nth(2)?.parse().ok())
                .or_else(|| self.pass()?.split_once("_A")?.1.parse().ok())?;
            let phase = match self.platform()?.as_str() {
                "sentinel-2a" => 2,
                "sentinel-2b" => 108,
                _ => return None,
            };
            Some((absolute + phase) % N_ORBITS + 1)
        };
        stated
            .filter(is_orbit)
            .or_else(|| in_name().filter(is_orbit))
            .or_else(from_absolute)
            .and_then(|orbit| u16::try_from(orbit).ok())
    }

    /// The EPSG code of the item: `proj:code` ("EPSG:32633") or `proj:epsg`.
    pub(crate) fn epsg(&self) -> Option<u32> {
        epsg_of(
            self.properties.get("proj:code"),
            self.properties.get("proj:epsg"),
        )
    }

    /// The footprint in longitude and latitude; what crosses the antimeridian is cut there.
    pub(crate) fn footprint(&self) -> Result<MultiPolygon<f64>, ExclusionReason> {
        match &self.geometry {
            None | Some(Value::Null) => Err(ExclusionReason::NoGeometry),
            Some(geometry) => read_footprint(geometry),
        }
    }

    /// The best asset of a band: GeoTIFF before JPEG 2000, then the band's own resolution, then the key that sorts first.
    pub(crate) fn asset(&self, wanted: Raster) -> Result<Option<RasterAsset>, ExclusionReason> {
        let mut best: Option<(RasterAsset, [f64; 2])> = None;
        for (key, value) in &self.assets {
            let named = raster_of_key(key);
            if named.is_some_and(|(raster, _)| raster != wanted) {
                continue;
            }
            if named.is_none() && raster_of_bands(value) != Some(wanted) {
                continue;
            }
            let mut asset: RasterAsset =
                serde_json::from_value(value.clone()).map_err(|error| {
                    ExclusionReason::BadAsset {
                        key: key.clone(),
                        message: error.to_string(),
                    }
                })?;
            if let Value::Object(stated) = value {
                asset.stated = stated.clone();
                asset.stated.remove("href");
                asset.stated.remove("alternate");
            }
            let resolution_m = named
                .and_then(|(_, resolution_m)| resolution_m)
                .or_else(|| asset.resolution_m());
            let rank = [
                asset.format_rank(),
                resolution_m.map_or(0.0, |resolution_m| {
                    (resolution_m / wanted.native_resolution_m()).ln().abs()
                }),
            ];
            if best.as_ref().is_none_or(|(_, least)| rank < *least) {
                best = Some((asset, rank));
            }
        }
        Ok(best.map(|(asset, _)| asset))
    }
}

/// A raster a scene is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Raster {
    Band(Band),
    /// The scene classification, SCL.
    Classification,
}

impl Raster {
    fn from_name(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("scl") {
            Some(Self::Classification)
        } else {
            Band::from_name(name).map(Self::Band)
        }
    }

    /// Pixel size in meters as ESA delivers it (Sentinel-2 User Handbook, "spatial resolutions").
    fn native_resolution_m(self) -> f64 {
        match self {
            Self::Band(Band::Blue | Band::Green | Band::Red | Band::Nir) => 10.0,
            Self::Band(Band::Nir08 | Band::Swir16 | Band::Swir22) | Self::Classification => 20.0,
        }
    }
}

/// The raster and the resolution in meters that an asset's key names: `red`, `B04`, `B04_10m`, `red-jp2`, `red_20m`.
fn raster_of_key(key: &str) -> Option<(Raster, Option<f64>)> {
    let key = key.to_ascii_lowercase();
    let key = key.trim_end_matches("-jp2").trim_end_matches("_jp2");
    for (suffix, resolution_m) in [("10m", 10.0), ("20m", 20.0), ("60m", 60.0)] {
        if let Some(name) = key.strip_suffix(suffix) {
            let name = name.trim_end_matches(['_', '-']);
            return Some((Raster::from_name(name)?, Some(resolution_m)));
        }
    }
    Some((Raster::from_name(key)?, None))
}

/// The raster by the only band that an asset of an unknown key lists.
fn raster_of_bands(asset: &Value) -> Option<Raster> {
    let [band] = ["bands", "eo:bands"]
        .into_iter()
        .find_map(|name| asset.get(name)?.as_array())?
        .as_slice()
    else {
        return None;
    };
    ["name", "eo:common_name", "common_name"]
        .into_iter()
        .find_map(|name| Raster::from_name(band.get(name)?.as_str()?))
}

/// An asset that holds one raster. What moves a pixel's value must be readable; the rest is left out where it is not.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RasterAsset {
    pub(crate) href: String,
    #[serde(default, rename = "type", deserialize_with = "lenient")]
    media_type: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    gsd: Option<f64>,
    #[serde(default, rename = "proj:shape", deserialize_with = "lenient")]
    shape: Option<[usize; 2]>,
    #[serde(default, rename = "proj:transform", deserialize_with = "lenient")]
    transform: Option<Vec<f64>>,
    #[serde(default, rename = "proj:epsg", deserialize_with = "lenient")]
    epsg: Option<Value>,
    #[serde(default, rename = "proj:code", deserialize_with = "lenient")]
    code: Option<Value>,
    #[serde(default, rename = "raster:bands")]
    raster_bands: Option<Vec<BandValues>>,
    #[serde(default)]
    bands: Option<Vec<BandValues>>,
    #[serde(flatten)]
    own: BandValues,
    /// The asset as the item states it, but for its address.
    #[serde(skip)]
    pub(crate) stated: Map<String, Value>,
}

/// How a raster's numbers are meant: in `raster:bands`, in `bands`, or for the asset as a whole.
#[derive(Debug, Clone, Deserialize)]
struct BandValues {
    #[serde(default)]
    offset: Option<f64>,
    #[serde(default, rename = "raster:offset")]
    raster_offset: Option<f64>,
    #[serde(default)]
    scale: Option<f64>,
    #[serde(default, rename = "raster:scale")]
    raster_scale: Option<f64>,
    // The specification also allows "nan", which no integer raster holds.
    #[serde(default, deserialize_with = "lenient")]
    nodata: Option<f64>,
}

impl RasterAsset {
    /// What is said of the raster's only band, the nearest first.
    fn values(&self) -> impl Iterator<Item = &BandValues> {
        let first = |bands: &'static str| {
            match bands {
                "raster:bands" => self.raster_bands.as_ref(),
                _ => self.bands.as_ref(),
            }
            .and_then(|bands| bands.first())
        };
        first("raster:bands")
            .into_iter()
            .chain(first("bands"))
            .chain([&self.own])
    }

    /// Offset as stated, in reflectance or digital numbers.
    pub(crate) fn offset(&self) -> Option<f64> {
        self.values()
            .find_map(|values| values.raster_offset.or(values.offset))
    }

    /// Reflectance of one digital number, as stated.
    pub(crate) fn scale(&self) -> Option<f64> {
        self.values()
            .find_map(|values| values.raster_scale.or(values.scale))
    }

    /// The number that stands for no observation.
    pub(crate) fn nodata(&self) -> Option<f64> {
        self.values().find_map(|values| values.nodata)
    }

    /// The EPSG code of this asset, where it differs from the item's.
    pub(crate) fn epsg(&self) -> Option<u32> {
        epsg_of(self.code.as_ref(), self.epsg.as_ref())
    }

    /// The grid of the raster, if shape, transform and system are stated and it is north-up with square pixels.
    pub(crate) fn geobox(&self, item_epsg: Option<u32>) -> Option<GeoBox> {
        let [height, width] = self.shape?;
        let &[a, b, x, d, e, y, ..] = self.transform.as_deref()? else {
            return None;
        };
        // A millionth of a pixel absorbs the rounding of decimal text.
        let is_zero = |value: f64| value.abs() < 1e-6 * a.abs();
        if !(a > 0.0 && is_zero(b) && is_zero(d) && is_zero(a + e)) {
            return None;
        }
        let crs = Crs::from_epsg(self.epsg().or(item_epsg)?).ok()?;
        GeoBox::new(crs, Point { x, y }, a, Shape { height, width }).ok()
    }

    fn resolution_m(&self) -> Option<f64> {
        self.transform
            .as_ref()
            .and_then(|transform| transform.first().copied())
            .or(self.gsd)
            .filter(|resolution_m| *resolution_m > 0.0)
    }

    /// 0 for GeoTIFF, 1 for JPEG 2000, 2 for the rest.
    fn format_rank(&self) -> f64 {
        let href = self.href.to_ascii_lowercase();
        let media_type = self.media_type.as_deref().unwrap_or_default();
        if media_type.contains("tiff") || href.ends_with(".tif") || href.ends_with(".tiff") {
            0.0
        } else if media_type.contains("jp2") || href.ends_with(".jp2") {
            1.0
        } else {
            2.0
        }
    }
}

/// A value if it has the type asked for; `None` where it has not.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

/// True for names that begin with a satellite, `S2A_`.
fn is_product_of_a_satellite(name: &str) -> bool {
    matches!(name.as_bytes(), [b'S', b'2', letter, b'_', ..] if letter.is_ascii_uppercase())
}

fn parse_compact_time(text: &str) -> Option<UtcTime> {
    NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%S")
        .ok()
        .map(|time| time.and_utc())
}

/// `01WCR` from `MGRS-1WCR`, `T01WCR` and `1WCR`.
///
/// Latitude bands are C to X without I and O; squares have no I or O either (Military Grid Reference System).
fn canonical_tile(text: &str) -> Option<String> {
    let text = text.strip_prefix("MGRS-").unwrap_or(text);
    let text = text.strip_prefix('T').unwrap_or(text);
    let n_digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (zone, letters) = text.split_at(n_digits);
    let is_letter = |byte: &u8| byte.is_ascii_uppercase() && !matches!(byte, b'I' | b'O');
    let zone: u8 = zone.parse().ok().filter(|zone| (1..=60).contains(zone))?;
    (letters.len() == 3
        && letters.as_bytes().iter().all(is_letter)
        && (b'C'..=b'X').contains(&letters.as_bytes()[0]))
    .then(|| format!("{zone:02}{letters}"))
}

fn epsg_of(code: Option<&Value>, epsg: Option<&Value>) -> Option<u32> {
    code.and_then(|code| code.as_str()?.strip_prefix("EPSG:")?.parse().ok())
        .or_else(|| u32::try_from(epsg?.as_u64()?).ok())
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "coordinates")]
enum Geometry {
    Polygon(Vec<Vec<Vec<f64>>>),
    MultiPolygon(Vec<Vec<Vec<Vec<f64>>>>),
}

fn read_footprint(geometry: &Value) -> Result<MultiPolygon<f64>, ExclusionReason> {
    let bad = |message: String| ExclusionReason::BadGeometry { message };
    let kind = geometry.get("type").and_then(Value::as_str).unwrap_or("?");
    if kind != "Polygon" && kind != "MultiPolygon" {
        return Err(bad(format!("a {kind} is no polygon")));
    }
    let polygons = match Geometry::deserialize(geometry).map_err(|error| bad(error.to_string()))? {
        Geometry::Polygon(rings) => vec![rings],
        Geometry::MultiPolygon(polygons) => polygons,
    };
    let ring = |positions: Vec<Vec<f64>>| -> Result<LineString<f64>, ExclusionReason> {
        let coordinates = positions.into_iter().map(|position| match position[..] {
            [x, y, ..] if x.abs() <= 180.0 && y.abs() <= 90.0 => Ok(Coord { x, y }),
            [x, y, ..] => Err(bad(format!("({x}, {y}) is no longitude and latitude"))),
            _ => Err(bad("a position has no two coordinates".into())),
        });
        Ok(LineString(coordinates.collect::<Result<_, _>>()?))
    };
    let mut parts = Vec::new();
    for rings in polygons {
        let mut rings = rings.into_iter().map(ring);
        let Some(exterior) = rings.next().transpose()? else {
            continue;
        };
        let interiors = rings.collect::<Result<Vec<_>, _>>()?;
        parts.extend(cut_at_antimeridian(Polygon::new(exterior, interiors)));
    }
    let footprint = MultiPolygon(parts);
    if footprint.unsigned_area() > 0.0 {
        Ok(footprint)
    } else {
        Err(bad("it has no area".into()))
    }
}

/// Cuts a polygon that was written across 180° without a cut, so that it seems to span the globe (RFC 7946, section 3.1.9).
fn cut_at_antimeridian(polygon: Polygon<f64>) -> Vec<Polygon<f64>> {
    let width =
        |polygon: &Polygon<f64>| polygon.bounding_rect().map_or(0.0, |bounds| bounds.width());
    let shifted = |Coord { x, y }: Coord<f64>| Coord {
        x: if x < 0.0 { x + 360.0 } else { x },
        y,
    };
    let unwrapped = polygon.map_coords(shifted);
    if width(&polygon) <= 180.0 || !(0.0 < width(&unwrapped) && width(&unwrapped) < 180.0) {
        return vec![polygon];
    }
    let half = |west: f64, east: f64| {
        let half = Rect::new(Coord { x: west, y: -90.0 }, Coord { x: east, y: 90.0 });
        unwrapped.intersection(&half.to_polygon())
    };
    let east = half(180.0, 360.0).map_coords(|Coord { x, y }| Coord { x: x - 360.0, y });
    half(0.0, 180.0).into_iter().chain(east).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_asset_key_names_its_band() {
        let red = Raster::Band(Band::Red);
        for (key, expected) in [
            ("red", (red, None)),
            ("B04", (red, None)),
            ("b4", (red, None)),
            ("B04_10m", (red, Some(10.0))),
            ("red_20m", (red, Some(20.0))),
            ("red-jp2", (red, None)),
            ("SCL_60m", (Raster::Classification, Some(60.0))),
            ("scl-jp2", (Raster::Classification, None)),
        ] {
            assert_eq!(raster_of_key(key), Some(expected), "{key}");
        }
        for key in [
            "visual",
            "TCI_10m",
            "thumbnail",
            "aot",
            "WVP_10m",
            "nir09",
            "rededge1",
            "10m",
        ] {
            assert_eq!(raster_of_key(key), None, "{key}");
        }
    }

    #[test]
    fn a_tile_has_five_characters_however_it_is_written() {
        for text in ["MGRS-1WCR", "MGRS-01WCR", "T01WCR", "01WCR", "1WCR"] {
            assert_eq!(canonical_tile(text).as_deref(), Some("01WCR"), "{text}");
        }
        for text in ["N0509", "R065", "2APS", "61WCR", "01ICR", "", "TT", "MGRS-"] {
            assert_eq!(canonical_tile(text), None, "{text}");
        }
    }

    fn item(id: &str, properties: Value) -> Item {
        serde_json::from_value(
            serde_json::json!({ "id": id, "properties": properties, "assets": {} }),
        )
        .unwrap()
    }

    #[test]
    fn the_tile_is_read_from_the_names_when_nothing_else_tells() {
        for id in [
            "S2A_33TWN_20190707_1_L2A",
            "S2A_T33TWN_20240422T174753_L2A",
            "S2A_MSIL2A_20190707T095031_N0212_R079_T33TWN_20190707T112352",
            "S2C_OPER_MSI_L2A_TL_2CPS_20230602T025701_A041483_T33TWN",
        ] {
            assert_eq!(
                item(id, serde_json::json!({})).tile().as_deref(),
                Some("33TWN"),
                "{id}"
            );
        }
        assert_eq!(item("T_x", serde_json::json!({})).tile(), None);
    }

    #[test]
    fn the_pass_is_the_same_for_every_baseline() {
        let old = item(
            "a",
            serde_json::json!({ "s2:datatake_id": "GS2B_20180521T100029_006297_N02.06" }),
        );
        let new = item(
            "b",
            serde_json::json!({ "eopf:datatake_id": "GS2B_20180521T100029_006297_N05.00" }),
        );
        let named = item(
            "S2B_MSIL2A_20180521T100029_N0207_R122_T33TWN_20180521T121008",
            serde_json::json!({}),
        );
        assert_eq!(old.pass().as_deref(), Some("S2B_20180521T100029"));
        assert_eq!(old.pass(), new.pass());
        assert_eq!(old.pass(), named.pass());
        let granule = item(
            "S2A_OPER_MSI_L2A_TL_2APS_20230602T025701_A041483_T01WCR",
            serde_json::json!({}),
        );
        assert_eq!(granule.pass().as_deref(), Some("S2A_A041483"));
        assert_eq!(item("demo-2020-01-01", serde_json::json!({})).pass(), None);
    }

    #[test]
    fn the_baseline_is_a_number_under_any_name() {
        for properties in [
            serde_json::json!({ "s2:processing_baseline": "05.10" }),
            serde_json::json!({ "sentinel2:processing_baseline": 5.1 }),
            serde_json::json!({ "processing:version": "05.10" }),
            serde_json::json!({ "s2:product_uri": "S2A_MSIL2A_20221207T102411_N0510_R065_T32TMS_20221207T135807.SAFE" }),
        ] {
            let baseline = item("a", properties).baseline().unwrap();
            assert_eq!(
                baseline,
                Some(Baseline {
                    major: 5,
                    minor: 10
                })
            );
        }
        assert_eq!(
            item(
                "a",
                serde_json::json!({ "processing:version": "sen2cor 2.9" })
            )
            .baseline()
            .unwrap(),
            None
        );
        assert!(
            item(
                "a",
                serde_json::json!({ "s2:processing_baseline": "latest" })
            )
            .baseline()
            .is_err()
        );
    }

    #[test]
    fn a_flag_that_is_no_boolean_is_refused() {
        let flagged = |value: Value| {
            item(
                "a",
                serde_json::json!({ "earthsearch:boa_offset_applied": value }),
            )
            .is_offset_applied()
        };
        assert_eq!(flagged(true.into()).unwrap(), Some(true));
        assert_eq!(flagged(Value::Null).unwrap(), None);
        assert!(flagged("true".into()).is_err());
        let old = item(
            "a",
            serde_json::json!({ "sentinel:boa_offset_applied": false }),
        );
        assert_eq!(old.is_offset_applied().unwrap(), Some(false));
    }

    #[test]
    fn a_platform_has_one_spelling() {
        for text in ["sentinel-2a", "Sentinel-2A", "S2A", "SENTINEL_2A"] {
            let properties = serde_json::json!({ "platform": text });
            assert_eq!(
                item("a", properties).platform().as_deref(),
                Some("sentinel-2a")
            );
        }
        assert_eq!(
            item("S2C_33TWN_20260101_0_L2A", serde_json::json!({}))
                .platform()
                .as_deref(),
            Some("sentinel-2c")
        );
        assert_eq!(item("a", serde_json::json!({})).platform(), None);
    }

    #[test]
    fn a_footprint_across_the_antimeridian_is_cut_there() {
        let geometry = serde_json::json!({ "type": "Polygon", "coordinates": [[[179.0, 60.0], [-179.0, 60.0], [-179.0, 61.0], [179.0, 61.0], [179.0, 60.0]]] });
        let footprint = read_footprint(&geometry).unwrap();
        assert_eq!(footprint.0.len(), 2);
        assert!((footprint.unsigned_area() - 2.0).abs() < 1e-6);
        assert!(
            footprint
                .iter()
                .all(|part| part.bounding_rect().unwrap().width() < 1.1)
        );
    }

    #[test]
    fn what_is_no_footprint_is_refused() {
        for geometry in [
            serde_json::json!({ "type": "Point", "coordinates": [1.0, 2.0] }),
            serde_json::json!({ "type": "Polygon", "coordinates": [] }),
            serde_json::json!({ "type": "Polygon", "coordinates": [[[1.0, 1.0], [1.0, 1.0]]] }),
            serde_json::json!({ "type": "Polygon", "coordinates": [[[500_000.0, 1.0], [1.0, 1.0], [1.0, 2.0]]] }),
            serde_json::json!({ "type": "Polygon", "coordinates": [[[1.0], [1.0], [1.0]]] }),
            serde_json::json!("somewhere"),
        ] {
            assert!(read_footprint(&geometry).is_err(), "{geometry}");
        }
    }

    #[test]
    fn a_raster_that_is_not_north_up_has_no_geobox() {
        let asset = |transform: Value| -> RasterAsset {
            serde_json::from_value(serde_json::json!({ "href": "a.tif", "proj:shape": [10, 20], "proj:transform": transform })).unwrap()
        };
        let north_up = asset(serde_json::json!([
            10, 0, 500_000, 0, -10, 1_000_000, 0, 0, 1
        ]));
        let geobox = north_up.geobox(Some(32630)).unwrap();
        assert_eq!(
            geobox.shape(),
            Shape {
                height: 10,
                width: 20
            }
        );
        assert_eq!(
            geobox.origin(),
            Point {
                x: 500_000.0,
                y: 1_000_000.0
            }
        );
        assert!(north_up.geobox(None).is_none() && north_up.geobox(Some(4326)).is_none());
        for transform in [
            serde_json::json!([10, 1, 0, 0, -10, 0]),
            serde_json::json!([10, 0, 0, 0, 10, 0]),
            serde_json::json!([10, 0, 0, 0, -20, 0]),
            serde_json::json!([10, 0]),
            serde_json::json!("none"),
        ] {
            assert!(asset(transform).geobox(Some(32630)).is_none());
        }
    }

    #[test]
    fn an_offset_is_found_wherever_it_is_stated() {
        for fields in [
            serde_json::json!({ "raster:bands": [{ "offset": -0.1, "scale": 0.0001 }] }),
            serde_json::json!({ "bands": [{ "name": "B04", "raster:offset": -0.1, "raster:scale": 0.0001 }] }),
            serde_json::json!({ "bands": [{ "name": "B04" }], "raster:offset": -0.1, "raster:scale": 0.0001 }),
            serde_json::json!({ "offset": -0.1, "scale": 0.0001 }),
        ] {
            let mut fields = fields;
            fields["href"] = "a.tif".into();
            let asset: RasterAsset = serde_json::from_value(fields).unwrap();
            assert_eq!((asset.offset(), asset.scale()), (Some(-0.1), Some(1e-4)));
        }
        let text = serde_json::json!({ "href": "a.tif", "raster:bands": [{ "offset": "-0.1" }] });
        assert!(serde_json::from_value::<RasterAsset>(text).is_err());
    }
}
