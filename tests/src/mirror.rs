//! A savanna that was never there: seasons, seeded noise, clouds, and pits of known place, size and date.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use gdal::DriverManager;
use gdal::raster::{Buffer, GdalType, RasterCreationOptions};
use gdal::spatial_ref::SpatialRef;
use pitwatch_grid::{Crs, Day, GeoBox, Point, Shape, Window};
use serde_json::{Value, json};

/// First day of the monitoring period of the tests.
pub const MONITOR_FROM: &str = "2021-07-01";

/// Bands by STAC name, common name and pixel size in meters.
pub(crate) const BANDS: [(&str, &str, u32); 6] = [
    ("B02", "blue", 10),
    ("B03", "green", 10),
    ("B04", "red", 10),
    ("B08", "nir", 10),
    ("B11", "swir16", 20),
    ("B12", "swir22", 20),
];
/// Reflectance of green savanna, dry savanna, dug ground and cloud, in the order of [`BANDS`].
const GREEN: [f64; 6] = [0.03, 0.06, 0.04, 0.34, 0.20, 0.10];
const DRY: [f64; 6] = [0.07, 0.10, 0.13, 0.28, 0.28, 0.18];
const DUG: [f64; 6] = [0.12, 0.17, 0.24, 0.30, 0.40, 0.34];
const CLOUD: [f64; 6] = [0.50, 0.50, 0.50, 0.52, 0.45, 0.40];
/// Half the width of the noise, in reflectance.
const NOISE: f64 = 0.007;
/// `BOA_ADD_OFFSET` of baseline 04.00 and later, in digital numbers, the other way round.
const OFFSET: f64 = 1000.0;
/// Days from one look to the next, so that 71 looks fill three and a half years.
const REVISIT_DAYS: i32 = 18;

/// A rectangle of newly dug ground, in pixels of 10 m.
#[derive(Debug, Clone)]
pub struct Pit {
    /// First row.
    pub row: usize,
    /// First column.
    pub col: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// First day on which the ground is bare.
    pub opened: Day,
}

impl Pit {
    /// True if the pit covers a pixel in the end.
    #[must_use]
    pub fn covers(&self, row: usize, col: usize) -> bool {
        (self.row..self.row + self.height).contains(&row)
            && (self.col..self.col + self.width).contains(&col)
    }

    /// Its area in hectares.
    #[must_use]
    pub fn area_ha(&self) -> f64 {
        (self.height * self.width) as f64 / 100.0
    }
}

/// What a mirror shows.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Id of the collection.
    pub id: &'static str,
    /// EPSG code of the rasters.
    pub epsg: u32,
    /// Pixels of 10 m; even numbers.
    pub shape: Shape,
    /// West and north edge in meters.
    pub origin: Point,
    /// Day of the first look.
    pub first_day: Day,
    /// Days from one look to the next.
    pub revisit_days: i32,
    /// Looks.
    pub n_looks: usize,
    /// What is dug.
    pub pits: Vec<Pit>,
    /// True if clouds hide the ground at times.
    pub has_clouds: bool,
    /// Seed of noise and clouds.
    pub seed: u64,
}

impl Default for Spec {
    /// 0.77 km² near 9° N, 5° W with one pit of 0.8 ha opened on 2021-11-10.
    fn default() -> Self {
        Self {
            id: "savanna",
            epsg: 32630,
            shape: Shape {
                height: 80,
                width: 96,
            },
            origin: Point {
                x: 250_000.0,
                y: 985_000.0,
            },
            first_day: day("2019-01-05"),
            revisit_days: REVISIT_DAYS,
            n_looks: 71,
            pits: vec![Pit {
                row: 28,
                col: 60,
                height: 8,
                width: 10,
                opened: day("2021-11-10"),
            }],
            has_clouds: true,
            seed: 7,
        }
    }
}

/// A day by its text.
#[must_use]
pub fn day(text: &str) -> Day {
    text.parse().unwrap()
}

/// Days from one look to the next.
#[must_use]
pub fn revisit() -> i32 {
    REVISIT_DAYS
}

impl Spec {
    /// The day of a look.
    #[must_use]
    pub fn day(&self, look: usize) -> Day {
        Day(self.first_day.0 + self.revisit_days * i32::try_from(look).unwrap())
    }

    /// Where the pixels are.
    #[must_use]
    pub fn geobox(&self) -> GeoBox {
        self.geobox_of(10, self.shape)
    }

    fn geobox_of(&self, resolution_m: u32, shape: Shape) -> GeoBox {
        let crs = Crs::from_epsg(self.epsg).unwrap();
        GeoBox::new(crs, self.origin, f64::from(resolution_m), shape).unwrap()
    }

    /// Position between 0 and 1 from a look, a channel and a place; the same everywhere and always.
    fn dice(&self, look: usize, channel: usize, place: usize) -> f64 {
        let mut state = self.seed;
        for part in [look, channel, place] {
            // SplitMix64, <https://doi.org/10.1145/2714064.2660195>.
            state = state
                .wrapping_add(part as u64)
                .wrapping_add(0x9e37_79b9_7f4a_7c15);
            state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            state ^= state >> 31;
        }
        (state >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True if a cloud hides a pixel of 20 m. One look in ten is overcast, three have a cloud from one side.
    #[must_use]
    pub fn is_cloudy(&self, look: usize, row: usize, col: usize) -> bool {
        if !self.has_clouds {
            return false;
        }
        let weather = self.dice(look, 100, 0);
        let reach = self.dice(look, 101, 0);
        let Shape { height, width } = self.shape;
        match weather {
            weather if weather < 0.1 => true,
            weather if weather < 0.2 => (row * 2) as f64 > reach * height as f64,
            weather if weather < 0.3 => (col * 2) as f64 > reach * width as f64,
            weather if weather < 0.4 => ((row + col) as f64) < reach * width as f64,
            _ => false,
        }
    }

    /// Reflectance of all pixels of 10 m of a band at a look, rows from north to south.
    pub(crate) fn reflectance(&self, look: usize, band: usize) -> Vec<f64> {
        let Shape { height, width } = self.shape;
        let day = self.day(look);
        let open: Vec<&Pit> = self.pits.iter().filter(|pit| day >= pit.opened).collect();
        // Greenest about the first of September.
        let green = 0.5 + 0.5 * (day.season_angle() - 4.2).cos();
        let savanna = GREEN[band] * green + DRY[band] * (1.0 - green);
        let is_cloudy = self.clouds(look);
        let mut values = Vec::with_capacity(height * width);
        for row in 0..height {
            for col in 0..width {
                let place = row * width + col;
                if is_cloudy[row / 2 * (width / 2) + col / 2] {
                    values.push(CLOUD[band]);
                    continue;
                }
                let ground = if open.iter().any(|pit| pit.covers(row, col)) {
                    DUG[band]
                } else {
                    savanna * (0.95 + 0.1 * self.dice(1_000_000, band, place))
                };
                values.push(ground + NOISE * (2.0 * self.dice(look, band, place) - 1.0));
            }
        }
        values
    }

    /// Which pixels of 20 m a cloud hides, rows from north to south.
    pub(crate) fn clouds(&self, look: usize) -> Vec<bool> {
        let Shape { height, width } = self.shape;
        let rows = 0..height / 2;
        rows.flat_map(|row| (0..width / 2).map(move |col| self.is_cloudy(look, row, col)))
            .collect()
    }

    fn write(&self, folder: &Path) {
        let mut links = vec![json!({"rel": "root", "href": "./collection.json"})];
        for look in 0..self.n_looks {
            let name = self.day(look).to_string().replace('-', "");
            links.push(json!({"rel": "item", "href": format!("./{name}/item.json"), "type": "application/geo+json"}));
            let folder = folder.join(&name);
            fs::create_dir_all(&folder).unwrap();
            self.write_look(look, &folder);
        }
        let bounds = self.lonlat_bounds();
        let collection = json!({
            "type": "Collection", "stac_version": "1.1.0", "id": self.id,
            "description": "A savanna that was never there, for tests.",
            "license": "MIT",
            "pitwatch:notice": "Synthetic; no data of Copernicus",
            "extent": {
                "spatial": {"bbox": [bounds]},
                "temporal": {"interval": [["2019-01-05T00:00:00Z", null]]},
            },
            "links": links,
        });
        write_json(&folder.join("collection.json"), &collection);
    }

    fn write_look(&self, look: usize, folder: &Path) {
        self.write_part(look, folder, self.geobox().full_window());
        let cloud_cover_percent = self.cloud_cover_percent(look);
        write_json(
            &folder.join("item.json"),
            &self.item(look, cloud_cover_percent),
        );
    }

    /// Cloud cover of a look, 0 to 100.
    pub(crate) fn cloud_cover_percent(&self, look: usize) -> f64 {
        let clouds = self.clouds(look);
        let n_cloudy = clouds.iter().filter(|&&is_cloudy| is_cloudy).count();
        100.0 * n_cloudy as f64 / clouds.len() as f64
    }

    /// Writes the rasters of a part of a look; its edges are even pixels.
    pub(crate) fn write_part(&self, look: usize, folder: &Path, part: Window) {
        let Shape { width, .. } = self.shape;
        let place = self.geobox().window(part);
        let (rows, cols) = (
            part.row..part.row + part.height,
            part.col..part.col + part.width,
        );
        let geobox_of = |resolution_m: u32, shape: Shape| {
            GeoBox::new(
                place.crs().clone(),
                place.origin(),
                f64::from(resolution_m),
                shape,
            )
            .unwrap()
        };
        for (band, (name, _, resolution_m)) in BANDS.iter().enumerate() {
            let step = *resolution_m as usize / 10;
            let shape = Shape {
                height: part.height / step,
                width: part.width / step,
            };
            let reflectance = self.reflectance(look, band);
            let mut values = Vec::with_capacity(shape.n_pixels());
            for row in rows.clone().step_by(step) {
                for col in cols.clone().step_by(step) {
                    let mut sum = 0.0;
                    for row in row..row + step {
                        for col in col..col + step {
                            sum += reflectance[row * width + col];
                        }
                    }
                    values.push(digital_number(sum / (step * step) as f64));
                }
            }
            pixels(
                &folder.join(format!("{name}.tif")),
                &geobox_of(*resolution_m, shape),
                &values,
            );
        }
        let shape = Shape {
            height: part.height / 2,
            width: part.width / 2,
        };
        let clouds = self.clouds(look);
        let mut classes: Vec<u8> = Vec::with_capacity(shape.n_pixels());
        for row in rows.step_by(2) {
            for col in cols.clone().step_by(2) {
                classes.push(if clouds[row / 2 * (width / 2) + col / 2] {
                    9
                } else {
                    4
                });
            }
        }
        pixels(&folder.join("SCL.tif"), &geobox_of(20, shape), &classes);
    }

    fn item(&self, look: usize, cloud_cover_percent: f64) -> Value {
        let day = self.day(look).to_string();
        let satellite = if look.is_multiple_of(2) { 'A' } else { 'B' };
        let Point { x: west, y: north } = self.origin;
        let mut assets = serde_json::Map::new();
        for (name, common_name, resolution_m) in BANDS {
            let step = resolution_m as usize / 10;
            assets.insert(
                name.into(),
                json!({
                    "href": format!("./{name}.tif"),
                    "type": "image/tiff; application=geotiff",
                    "roles": ["data", "reflectance"],
                    "eo:bands": [{"name": name, "common_name": common_name}],
                    "proj:shape": [self.shape.height / step, self.shape.width / step],
                    "proj:transform": [resolution_m, 0, west, 0, -f64::from(resolution_m), north],
                    "raster:bands": [{"data_type": "uint16", "nodata": 0, "scale": 0.0001, "offset": -0.1}],
                }),
            );
        }
        assets.insert(
            "SCL".into(),
            json!({
                "href": "./SCL.tif",
                "type": "image/tiff; application=geotiff",
                "roles": ["data"],
                "proj:shape": [self.shape.height / 2, self.shape.width / 2],
                "proj:transform": [20, 0, west, 0, -20, north],
            }),
        );
        let [west, south, east, north] = self.lonlat_bounds();
        json!({
            "type": "Feature", "stac_version": "1.1.0",
            "stac_extensions": [
                "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
                "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
                "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
            ],
            "id": format!("S2{satellite}_{}_{}", self.id, day.replace('-', "")),
            "collection": self.id,
            "bbox": [west, south, east, north],
            "geometry": {"type": "Polygon", "coordinates": [
                [[west, south], [east, south], [east, north], [west, north], [west, south]]
            ]},
            "properties": {
                "datetime": format!("{day}T10:48:29Z"),
                "platform": format!("sentinel-2{}", satellite.to_ascii_lowercase()),
                "proj:code": format!("EPSG:{}", self.epsg),
                "eo:cloud_cover": cloud_cover_percent,
                "s2:processing_baseline": "05.09",
            },
            "links": [{"rel": "collection", "href": "../collection.json", "type": "application/json"}],
            "assets": assets,
        })
    }

    /// West, south, east, north in degrees.
    #[must_use]
    pub fn lonlat_bounds(&self) -> [f64; 4] {
        let geobox = self.geobox();
        let (a, b) = geobox.bounds();
        let mut bounds = [f64::MAX, f64::MAX, f64::MIN, f64::MIN];
        for (x, y) in [(a.x, a.y), (a.x, b.y), (b.x, a.y), (b.x, b.y)] {
            let lonlat = geobox.crs().lonlat_from_crs(Point { x, y }).unwrap();
            bounds[0] = bounds[0].min(lonlat.x);
            bounds[1] = bounds[1].min(lonlat.y);
            bounds[2] = bounds[2].max(lonlat.x);
            bounds[3] = bounds[3].max(lonlat.y);
        }
        bounds
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the range of u16"
)]
fn digital_number(reflectance: f64) -> u16 {
    (reflectance * 1e4 + OFFSET).round().clamp(1.0, 65_535.0) as u16
}

/// Writes a GeoTIFF of one band in blocks of 32 × 32 pixels, by GDAL; 0 is nodata.
pub fn pixels<T: GdalType + Copy>(path: &Path, geobox: &GeoBox, values: &[T]) {
    let Shape { height, width } = geobox.shape();
    let mut options = RasterCreationOptions::new();
    for (name, value) in [
        ("TILED", "YES"),
        ("BLOCKXSIZE", "32"),
        ("BLOCKYSIZE", "32"),
        ("COMPRESS", "DEFLATE"),
    ] {
        options.set_name_value(name, value).unwrap();
    }
    let mut dataset = DriverManager::get_driver_by_name("GTiff")
        .unwrap()
        .create_with_band_type_with_options::<T, _>(path, width, height, 1, &options)
        .unwrap();
    let crs = SpatialRef::from_epsg(geobox.crs().epsg()).unwrap();
    dataset.set_spatial_ref(&crs).unwrap();
    dataset.set_geo_transform(&geobox.gdal_transform()).unwrap();
    let mut band = dataset.rasterband(1).unwrap();
    band.set_no_data_value(Some(0.0)).unwrap();
    let mut buffer = Buffer::new((width, height), values.to_vec());
    band.write((0, 0), (width, height), &mut buffer).unwrap();
    dataset.close().unwrap();
}

/// Overwrites the pixels of a raster that [`pixels`] wrote; its header stays whole.
pub fn break_blocks(path: &Path) {
    // Tags of TIFF 6.0, section 15.
    const TILE_OFFSETS: u16 = 324;
    const TILE_BYTE_COUNTS: u16 = 325;
    let mut bytes = fs::read(path).unwrap();
    let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let directory = u32_at(4);
    let n_entries = usize::from(u16_at(directory));
    let values = |tag: u16| -> Vec<usize> {
        let mut entries = (0..n_entries).map(|index| directory + 2 + 12 * index);
        let entry = entries.find(|&entry| u16_at(entry) == tag).unwrap();
        let (count, is_short) = (u32_at(entry + 4), u16_at(entry + 2) == 3);
        let size = if is_short { 2 } else { 4 };
        let first = if count * size <= 4 {
            entry + 8
        } else {
            u32_at(entry + 8)
        };
        let value = |at: usize| {
            if is_short {
                usize::from(u16_at(at))
            } else {
                u32_at(at)
            }
        };
        (0..count)
            .map(|index| value(first + size * index))
            .collect()
    };
    let blocks: Vec<_> = values(TILE_OFFSETS)
        .into_iter()
        .zip(values(TILE_BYTE_COUNTS))
        .collect();
    for (offset, length) in blocks {
        bytes[offset..offset + length].fill(0xA5);
    }
    fs::write(path, bytes).unwrap();
}

pub(crate) fn write_json(path: &Path, value: &Value) {
    fs::write(path, serde_json::to_string_pretty(value).unwrap()).unwrap();
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A mirror of a test's own, removed with the value.
#[derive(Debug)]
pub struct Mirror {
    /// What it shows.
    pub spec: Spec,
    folder: tempfile::TempDir,
}

impl Mirror {
    /// A copy of the mirror of [`Spec::default`].
    #[must_use]
    pub fn savanna() -> Self {
        Self::new(Spec::default())
    }

    /// A mirror of a description. Mirrors are made once and kept below the target folder, named after all they rest on.
    #[must_use]
    pub fn new(spec: Spec) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut hash = DefaultHasher::new();
        format!("{spec:?}").hash(&mut hash);
        include_str!("mirror.rs").hash(&mut hash);
        let kept = crate::program::target_folder().join("tmp/mirrors");
        fs::create_dir_all(&kept).unwrap();
        let made = kept.join(format!("{}-{:016x}", spec.id, hash.finish()));
        if !made.exists() {
            let unfinished = tempfile::tempdir_in(&kept).unwrap();
            spec.write(unfinished.path());
            // Another test may have made it meanwhile; it has the same bytes.
            let _ = fs::rename(unfinished.keep(), &made);
        }
        copy_folder(&made, &folder.path().join("mirror"));
        Self { spec, folder }
    }

    /// The folder of the test: the mirror stands in it as `mirror/`, and there is room for pipelines and outputs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The collection's file.
    #[must_use]
    pub fn catalog(&self) -> PathBuf {
        self.folder().join("mirror/collection.json")
    }

    /// A place for outputs.
    #[must_use]
    pub fn out(&self) -> PathBuf {
        self.folder().join("out")
    }

    /// The folder of a look.
    #[must_use]
    pub fn look(&self, look: usize) -> PathBuf {
        let name = self.spec.day(look).to_string().replace('-', "");
        self.folder().join("mirror").join(name)
    }

    /// A file of a look, such as `B04.tif` or `item.json`.
    #[must_use]
    pub fn file(&self, look: usize, name: &str) -> PathBuf {
        self.look(look).join(name)
    }

    /// Id of a look's item.
    #[must_use]
    pub fn id(&self, look: usize) -> String {
        self.read_item(look)["id"].as_str().unwrap().to_owned()
    }

    /// The item of a look.
    #[must_use]
    pub fn read_item(&self, look: usize) -> Value {
        read_json(&self.file(look, "item.json"))
    }

    /// Changes the item of a look.
    pub fn edit_item(&self, look: usize, edit: impl FnOnce(&mut Value)) {
        let mut item = self.read_item(look);
        edit(&mut item);
        write_json(&self.file(look, "item.json"), &item);
    }

    /// Changes the collection.
    pub fn edit_catalog(&self, edit: impl FnOnce(&mut Value)) {
        let mut collection = read_json(&self.catalog());
        edit(&mut collection);
        write_json(&self.catalog(), &collection);
    }

    /// Makes an item of its own of the columns from `first_col` on of a look, as the next tile of the same pass, and links it.
    /// The look's own item stays as it is: the two overlap. Returns the name of the new folder.
    ///
    /// - `first_col`: an even number of pixels of 10 m.
    /// - `tile`: code of the tile, such as `30PUR`.
    pub fn add_tile(&self, look: usize, first_col: usize, tile: &str) -> String {
        let name = format!(
            "{}-{tile}",
            self.spec.day(look).to_string().replace('-', "")
        );
        let folder = self.folder().join("mirror").join(&name);
        fs::create_dir_all(&folder).unwrap();
        let Shape { height, width } = self.spec.shape;
        let part = Window {
            row: 0,
            col: first_col,
            height,
            width: width - first_col,
        };
        self.spec.write_part(look, &folder, part);
        let mut item = self.read_item(look);
        item["id"] = format!("{}_{tile}", self.id(look)).into();
        item["properties"]["grid:code"] = format!("MGRS-{tile}").into();
        item["properties"]["s2:mgrs_tile"] = tile.into();
        let west = self.spec.origin.x + 10.0 * first_col as f64;
        for asset in item["assets"].as_object_mut().unwrap().values_mut() {
            let step = if asset["proj:transform"][0] == 10 {
                1
            } else {
                2
            };
            asset["proj:shape"] = json!([part.height / step, part.width / step]);
            asset["proj:transform"][2] = west.into();
        }
        write_json(&folder.join("item.json"), &item);
        self.edit_catalog(|collection| {
            let href = format!("./{name}/item.json");
            let links = collection["links"].as_array_mut().unwrap();
            links.push(json!({"rel": "item", "href": href, "type": "application/geo+json"}));
        });
        name
    }

    /// The folders of all items, in the order of their names.
    #[must_use]
    pub fn item_folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> = fs::read_dir(self.folder().join("mirror"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.join("item.json").is_file())
            .collect();
        folders.sort();
        folders
    }

    /// The looks of the monitoring period.
    #[must_use]
    pub fn monitoring(&self) -> std::ops::Range<usize> {
        let first = (0..self.spec.n_looks)
            .find(|&look| self.spec.day(look) >= day(MONITOR_FROM))
            .unwrap();
        first..self.spec.n_looks
    }

    /// Writes a pipeline file for the mirror, with the numbers of the pipelines of the project; without areas its extent is the area.
    ///
    /// - `areas`: id and text of the GeoJSON.
    #[must_use]
    pub fn pipeline(&self, areas: &[(&str, &str)]) -> PathBuf {
        let mut text = String::new();
        for (id, geojson) in areas {
            let name = format!("{id}.geojson");
            fs::write(self.folder().join(&name), geojson).unwrap();
            text += &format!("[[areas]]\nid = \"{id}\"\nfile = \"{name}\"\n\n");
        }
        let model = fs::read_to_string(crate::path("pipelines/simbench.toml")).unwrap();
        text += &model
            .replace(
                "catalog = \"from-flag\"",
                "catalog = \"mirror/collection.json\"",
            )
            .replace(
                "monitor_from = \"from-flag\"",
                &format!("monitor_from = \"{MONITOR_FROM}\""),
            );
        let path = self.folder().join("pipeline.toml");
        fs::write(&path, text).unwrap();
        path
    }

    /// A square in longitude and latitude as GeoJSON, by its place in the mirror: shares of the way from west to east and
    /// from south to north, 0 to 1.
    #[must_use]
    pub fn polygon(&self, [from_x, from_y, to_x, to_y]: [f64; 4]) -> String {
        let [west, south, east, north] = self.spec.lonlat_bounds();
        let x = |share: f64| west + share * (east - west);
        let y = |share: f64| south + share * (north - south);
        let (west, south, east, north) = (x(from_x), y(from_y), x(to_x), y(to_y));
        format!(
            r#"{{"type":"Polygon","coordinates":[[[{west},{south}],[{east},{south}],[{east},{north}],[{west},{north}],[{west},{south}]]]}}"#
        )
    }
}

/// Covers a look of a mirror with cloud: in the scene classification, and as white as cloud in blue and red.
pub fn clouded(mirror: &Mirror, look: usize) {
    let white = mirror.spec.geobox_of(10, mirror.spec.shape);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a digital number of 6000"
    )]
    let number = (CLOUD[0] * 10_000.0 + OFFSET) as u16;
    for band in ["B02.tif", "B04.tif"] {
        pixels(
            &mirror.file(look, band),
            &white,
            &vec![number; mirror.spec.shape.n_pixels()],
        );
    }
    let shape = Shape {
        height: mirror.spec.shape.height / 2,
        width: mirror.spec.shape.width / 2,
    };
    let geobox = mirror.spec.geobox_of(20, shape);
    pixels(
        &mirror.file(look, "SCL.tif"),
        &geobox,
        &vec![9_u8; shape.n_pixels()],
    );
}

/// Copies a folder with all that is in it.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
