//! A world whose scenes lie behind servers, as the public catalogs have them: real tile ids and collection names, files of
//! whole tiles of which only the part that a test looks at has pixels.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use gdal::DriverManager;
use gdal::raster::{Buffer, GdalType, RasterCreationOptions};
use gdal::spatial_ref::SpatialRef;
use pitwatch_grid::{Day, Point, Shape};
use serde_json::{Map, Value, json};

use crate::mirror::{BANDS, Pit, Spec, day};
use crate::program::Finished;
use crate::server::{Reply, Request, Server};

/// Side of a tile of Sentinel-2 in meters.
const TILE_M: usize = 109_800;
/// Pixels a side of a block of the public COGs.
const BLOCK: &str = "1024";
/// The token that stands for one of Planetary Computer's.
pub const TOKEN: &str = "se=2030&sp=rl&sig=SECRETTOKEN";
/// The keys that stand for those of Copernicus Data Space.
pub const S3_KEYS: (&str, &str) = ("SECRETACCESSKEY", "SECRETSECRETKEY");

/// A tile of Sentinel-2.
#[derive(Debug, Clone, Copy)]
pub struct Tile {
    /// Its MGRS name.
    pub name: &'static str,
    /// Its west edge in meters.
    pub west: u32,
    /// Its north edge in meters.
    pub north: u32,
}

/// How a catalog writes its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Earth Search v1, `sentinel-2-l2a`: the offset is taken off the pixels already.
    EarthSearch,
    /// Planetary Computer: product names as ids, the offset is in the pixels and the item does not say so.
    PlanetaryComputer,
    /// Copernicus Data Space: JPEG 2000 in S3, which a cut of the tile stands for.
    Cdse,
}

/// How a catalog goes on to its next page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paging {
    /// A POST whose body is the whole query with `next`.
    BodyNext,
    /// A POST whose body has `page`, to be merged.
    BodyPage,
    /// A GET with the whole query and a token.
    GetToken,
    /// A POST whose body is the whole query with a token.
    PostToken,
    /// A POST whose body has a token, to be merged.
    PostTokenMerge,
    /// Its links are lost, though there is more.
    NoLink,
}

/// Scenes of tiles over one cut of ground.
#[derive(Debug, Clone)]
pub struct World {
    /// What the cut shows.
    pub spec: Spec,
    /// The tiles over it.
    pub tiles: Vec<Tile>,
    /// Which satellites pass, one look after another.
    pub satellites: Vec<char>,
    /// Their relative orbit.
    pub relative_orbit: u16,
    /// The files, by form and then as their addresses have them.
    folder: PathBuf,
}

/// A catalog that can be searched.
#[derive(Debug)]
pub struct Catalog {
    /// Its items; those of its files' addresses that start with `BASE` get the server's own address.
    items: Mutex<Vec<Value>>,
    paging: Paging,
    has_count: bool,
    max_page: usize,
    /// What was asked, request by request.
    asked: Mutex<Vec<Map<String, Value>>>,
}

/// The catalogs of a world behind one server.
#[derive(Debug)]
pub struct Live {
    /// The server.
    pub server: Server,
    /// The catalogs by the names of their sources.
    pub catalogs: BTreeMap<&'static str, Arc<Catalog>>,
}

impl World {
    /// 8.2 × 8.2 km of Tortiya across the border of 30PSQ and 30PTQ, every ten days from June 2023 to June 2025.
    #[must_use]
    pub fn tortiya() -> Self {
        let spec = Spec {
            id: "civ-tortiya",
            epsg: 32630,
            shape: Shape {
                height: 820,
                width: 820,
            },
            origin: Point {
                x: 205_000.0,
                y: 973_200.0,
            },
            ..Spec::season()
        };
        Self::new(
            spec,
            &[
                Tile {
                    name: "30PSQ",
                    west: 99_960,
                    north: 1_000_020,
                },
                Tile {
                    name: "30PTQ",
                    west: 199_980,
                    north: 1_000_020,
                },
            ],
            &['A'],
            51,
        )
    }

    /// 8.2 × 8.2 km of Séguéla across the border of 29NQJ and 29PQK.
    #[must_use]
    pub fn seguela() -> Self {
        let spec = Spec {
            id: "civ-seguela",
            epsg: 32629,
            shape: Shape {
                height: 820,
                width: 820,
            },
            origin: Point {
                x: 760_000.0,
                y: 903_200.0,
            },
            seed: 11,
            first_day: day("2023-06-07"),
            ..Spec::season()
        };
        Self::new(
            spec,
            &[
                Tile {
                    name: "29NQJ",
                    west: 699_960,
                    north: 900_000,
                },
                Tile {
                    name: "29PQK",
                    west: 699_960,
                    north: 1_000_020,
                },
            ],
            &['A'],
            94,
        )
    }

    /// 8.2 × 8.2 km of Marange across the border of 36KUD and 36KVD.
    #[must_use]
    pub fn marange() -> Self {
        let spec = Spec {
            id: "zwe-marange",
            epsg: 32736,
            shape: Shape {
                height: 820,
                width: 820,
            },
            origin: Point {
                x: 405_000.0,
                y: 7_824_200.0,
            },
            seed: 13,
            ..Spec::season()
        };
        Self::new(
            spec,
            &[
                Tile {
                    name: "36KUD",
                    west: 300_000,
                    north: 7_900_020,
                },
                Tile {
                    name: "36KVD",
                    west: 399_960,
                    north: 7_900_020,
                },
            ],
            &['B'],
            92,
        )
    }

    /// 1.2 × 1 km across the border of 30PSQ and 30PTQ at some looks, two satellites in turn every five days.
    #[must_use]
    pub fn small(n_looks: usize) -> Self {
        let spec = Spec {
            id: "small",
            epsg: 32630,
            shape: Shape {
                height: 100,
                width: 120,
            },
            origin: Point {
                x: 209_200.0,
                y: 973_200.0,
            },
            first_day: day("2024-01-03"),
            revisit_days: 5,
            n_looks,
            pits: Vec::new(),
            has_clouds: false,
            seed: 3,
        };
        Self::new(
            spec,
            &[
                Tile {
                    name: "30PSQ",
                    west: 99_960,
                    north: 1_000_020,
                },
                Tile {
                    name: "30PTQ",
                    west: 199_980,
                    north: 1_000_020,
                },
            ],
            &['A', 'B'],
            51,
        )
    }

    /// Looks every five days: a year of history, then `n_steps` looks in which four pits are dug one after another.
    #[must_use]
    pub fn year(n_steps: usize) -> Self {
        let mut spec = Self::small(0).spec;
        let until = spec.first_day.0 + 365;
        let pit = |row, col, height, width, opened_after: i32| Pit {
            row,
            col,
            height,
            width,
            opened: Day(until + opened_after),
        };
        spec.id = "year";
        spec.n_looks = Self::YEAR_HISTORY + n_steps;
        spec.pits = vec![
            pit(20, 30, 6, 8, 8),
            pit(26, 36, 8, 6, 33),
            pit(60, 80, 10, 10, 21),
            pit(80, 14, 5, 9, 120),
        ];
        spec.has_clouds = true;
        let model = Self::small(0);
        // The eastern tile alone holds the area.
        Self::new(
            spec,
            &model.tiles[1..],
            &model.satellites,
            model.relative_orbit,
        )
    }

    /// Looks before the monitoring of [`World::year`].
    pub const YEAR_HISTORY: usize = 73;

    /// A world of a description; its files are made once and kept below the target folder, named after all they rest on.
    #[must_use]
    pub fn new(spec: Spec, tiles: &[Tile], satellites: &[char], relative_orbit: u16) -> Self {
        let mut hash = DefaultHasher::new();
        format!("{spec:?} {tiles:?} {satellites:?} {relative_orbit}").hash(&mut hash);
        include_str!("mirror.rs").hash(&mut hash);
        include_str!("live.rs").hash(&mut hash);
        let kept = crate::program::target_folder().join("tmp/worlds");
        fs::create_dir_all(&kept).unwrap();
        let world = Self {
            folder: kept.join(format!("{}-{:016x}", spec.id, hash.finish())),
            spec,
            tiles: tiles.to_vec(),
            satellites: satellites.to_vec(),
            relative_orbit,
        };
        world.make(Form::EarthSearch);
        world
    }

    /// The cut as an area: its polygon, half a hundred meters within its edges.
    #[must_use]
    pub fn polygon(&self) -> String {
        let geobox = self.spec.geobox();
        let (min, max) = geobox.bounds();
        let inset = 50.0;
        let (x, y) = (
            [min.x + inset, max.x - inset],
            [min.y + inset, max.y - inset],
        );
        let corners: Vec<String> = [
            (x[0], y[0]),
            (x[1], y[0]),
            (x[1], y[1]),
            (x[0], y[1]),
            (x[0], y[0]),
        ]
        .iter()
        .map(|&(x, y)| {
            let lonlat = geobox.crs().lonlat_from_crs(Point { x, y }).unwrap();
            format!("[{:.6},{:.6}]", lonlat.x, lonlat.y)
        })
        .collect();
        format!(
            r#"{{"type":"Polygon","coordinates":[[{}]]}}"#,
            corners.join(",")
        )
    }

    /// Writes the files of a form, unless they are there.
    fn make(&self, form: Form) {
        let made = self.folder.join(form.name());
        if made.exists() {
            return;
        }
        let parent = self.folder.parent().unwrap();
        let unfinished = tempfile::tempdir_in(parent).unwrap();
        let next = Mutex::new(0..self.spec.n_looks);
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism()
                .map_or(2, usize::from)
                .min(8)
            {
                scope.spawn(|| {
                    loop {
                        let look = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some(look) = look else { break };
                        self.write_look(look, form, unfinished.path());
                    }
                });
            }
        });
        fs::create_dir_all(&self.folder).unwrap();
        // Another test may have made it meanwhile; it has the same bytes.
        let _ = fs::rename(unfinished.keep(), &made);
    }

    fn write_look(&self, look: usize, form: Form, folder: &Path) {
        let Shape { height, width } = self.spec.shape;
        let offset = if form == Form::EarthSearch {
            0.0
        } else {
            1000.0
        };
        for (band, (name, _, resolution_m)) in BANDS.iter().enumerate() {
            let step = *resolution_m as usize / 10;
            let reflectance = self.spec.reflectance(look, band);
            let mut values: Vec<u16> = Vec::with_capacity(height * width / step / step);
            for row in (0..height).step_by(step) {
                for col in (0..width).step_by(step) {
                    let mut sum = 0.0;
                    for row in row..row + step {
                        for col in col..col + step {
                            sum += reflectance[row * width + col];
                        }
                    }
                    // Rounded before the offset is put on, so that the forms agree to the last digit.
                    let number = (sum / (step * step) as f64 * 1e4).round().max(1.0) + offset;
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "clamped"
                    )]
                    values.push(number.clamp(1.0, 65_535.0) as u16);
                }
            }
            for tile in &self.tiles {
                let path = folder.join(self.path(look, tile, form, name));
                self.write_tile(&path, tile, step, &values, form);
            }
        }
        let classes: Vec<u8> = self
            .spec
            .clouds(look)
            .iter()
            .map(|&is_cloudy| if is_cloudy { 9 } else { 4 })
            .collect();
        for tile in &self.tiles {
            let path = folder.join(self.path(look, tile, form, "SCL"));
            self.write_tile(&path, tile, 2, &classes, form);
        }
    }

    /// Writes the part of the cut that lies in a tile into a raster of the whole tile. Of JPEG 2000 only the part is written.
    fn write_tile<T: GdalType + Copy + Default>(
        &self,
        path: &Path,
        tile: &Tile,
        step: usize,
        values: &[T],
        form: Form,
    ) {
        let resolution_m = step * 10;
        let Shape { height, width } = Shape {
            height: self.spec.shape.height / step,
            width: self.spec.shape.width / step,
        };
        #[expect(clippy::cast_possible_truncation, reason = "coordinates on the Earth")]
        let to_pixels = |meters: f64| (meters / resolution_m as f64).round() as i64;
        let first_row = to_pixels(f64::from(tile.north) - self.spec.origin.y);
        let first_col = to_pixels(self.spec.origin.x - f64::from(tile.west));
        let size = (TILE_M / resolution_m) as i64;
        let rows = (-first_row).max(0)..(size - first_row).min(height as i64);
        let cols = (-first_col).max(0)..(size - first_col).min(width as i64);
        let index = |position: i64| usize::try_from(position).unwrap();
        let mut part: Vec<T> = Vec::new();
        for row in rows.clone() {
            let start = index(row) * width;
            part.extend_from_slice(&values[start + index(cols.start)..start + index(cols.end)]);
        }
        let shape = (index(cols.end - cols.start), index(rows.end - rows.start));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let at = (first_col + cols.start, first_row + rows.start);
        let transform = |(col, row): (i64, i64)| {
            let resolution = resolution_m as f64;
            let x = f64::from(tile.west) + col as f64 * resolution;
            let y = f64::from(tile.north) - row as f64 * resolution;
            [x, resolution, 0.0, y, 0.0, -resolution]
        };
        let crs = SpatialRef::from_epsg(self.spec.epsg).unwrap();
        let options = |pairs: &[(&str, &str)]| {
            let mut options = RasterCreationOptions::new();
            for (name, value) in pairs {
                options.set_name_value(name, value).unwrap();
            }
            options
        };
        let mut buffer = Buffer::new(shape, part);
        if form == Form::Cdse {
            let memory = DriverManager::get_driver_by_name("MEM").unwrap();
            let mut dataset = memory
                .create_with_band_type::<T, _>("", shape.0, shape.1, 1)
                .unwrap();
            dataset.set_spatial_ref(&crs).unwrap();
            dataset.set_geo_transform(&transform(at)).unwrap();
            dataset
                .rasterband(1)
                .unwrap()
                .write((0, 0), shape, &mut buffer)
                .unwrap();
            let options = options(&[("QUALITY", "100"), ("REVERSIBLE", "YES")]);
            let driver = DriverManager::get_driver_by_name("JP2OpenJPEG").unwrap();
            dataset.create_copy(&driver, path, &options).unwrap();
            return;
        }
        let options = options(&[
            ("TILED", "YES"),
            ("BLOCKXSIZE", BLOCK),
            ("BLOCKYSIZE", BLOCK),
            ("COMPRESS", "DEFLATE"),
            ("PREDICTOR", "2"),
            ("ZLEVEL", "1"),
            ("SPARSE_OK", "TRUE"),
        ]);
        let mut dataset = DriverManager::get_driver_by_name("GTiff")
            .unwrap()
            .create_with_band_type_with_options::<T, _>(path, index(size), index(size), 1, &options)
            .unwrap();
        dataset.set_spatial_ref(&crs).unwrap();
        dataset.set_geo_transform(&transform((0, 0))).unwrap();
        let mut band = dataset.rasterband(1).unwrap();
        band.set_no_data_value(Some(0.0)).unwrap();
        let at = (
            isize::try_from(at.0).unwrap(),
            isize::try_from(at.1).unwrap(),
        );
        band.write(at, shape, &mut buffer).unwrap();
        dataset.close().unwrap();
    }

    /// The satellite of a look, `A` or `B`.
    #[must_use]
    pub fn satellite(&self, look: usize) -> char {
        self.satellites[look % self.satellites.len()]
    }

    fn compact_time(&self, look: usize) -> String {
        format!(
            "{}T104829",
            self.spec.day(look).to_string().replace('-', "")
        )
    }

    /// Name of the product of a look and tile.
    fn product(&self, look: usize, tile: &Tile) -> String {
        let (satellite, time) = (self.satellite(look), self.compact_time(look));
        let day = &time[..8];
        format!(
            "S2{satellite}_MSIL2A_{time}_N0511_R{:03}_T{}_{day}T152000",
            self.relative_orbit, tile.name
        )
    }

    /// Id of an item.
    #[must_use]
    pub fn id(&self, look: usize, tile: &Tile, form: Form) -> String {
        let satellite = self.satellite(look);
        match form {
            Form::EarthSearch => {
                let day = self.spec.day(look).to_string().replace('-', "");
                format!("S2{satellite}_{}_{day}_0_L2A", tile.name)
            }
            Form::PlanetaryComputer => {
                let product = self.product(look, tile);
                // Without the baseline, as Planetary Computer writes it.
                product.replacen("_N0511", "", 1)
            }
            Form::Cdse => self.product(look, tile),
        }
    }

    /// Path of a file below its form's folder, as the public buckets have it.
    fn path(&self, look: usize, tile: &Tile, form: Form, name: &str) -> String {
        let day = self.spec.day(look).to_string();
        let (year, month) = (&day[..4], &day[5..7]);
        let (zone, band, square) = (&tile.name[..2], &tile.name[2..3], &tile.name[3..]);
        let resolution_m = BANDS
            .iter()
            .find(|band| band.0 == name)
            .map_or(20, |band| band.2);
        let time = self.compact_time(look);
        match form {
            Form::EarthSearch => format!(
                "sentinel-s2-l2a-cogs/{zone}/{band}/{square}/{year}/{}/{}/{name}.tif",
                month.trim_start_matches('0'),
                self.id(look, tile, form)
            ),
            Form::PlanetaryComputer => format!(
                "sentinel2-l2/{zone}/{band}/{square}/{year}/{month}/{}/{}.SAFE/GRANULE/L2A/IMG_DATA/R{resolution_m}m/T{}_{time}_{name}_{resolution_m}m.tif",
                &day[8..],
                self.product(look, tile),
                tile.name
            ),
            Form::Cdse => format!(
                "eodata/Sentinel-2/MSI/L2A/{year}/{month}/{}/{}.SAFE/GRANULE/L2A/IMG_DATA/R{resolution_m}m/T{}_{time}_{name}_{resolution_m}m.jp2",
                &day[8..],
                self.product(look, tile),
                tile.name
            ),
        }
    }

    /// The item of a look and tile.
    #[must_use]
    pub fn item(&self, look: usize, tile: &Tile, form: Form) -> Value {
        let id = self.id(look, tile, form);
        let day = self.spec.day(look).to_string();
        let satellite = self.satellite(look);
        let product = self.product(look, tile);
        let time = self.compact_time(look);
        let mut assets = Map::new();
        let scl = ("SCL", "scl", 20);
        for (name, common_name, resolution_m) in BANDS.into_iter().chain([scl]) {
            let path = self.path(look, tile, form, name);
            let href = match form {
                Form::EarthSearch => format!("BASE/files/earth-search/{path}"),
                Form::PlanetaryComputer => format!("BASE/blob/sentinel2l2a01/{path}"),
                Form::Cdse => format!("s3://{path}"),
            };
            let size = TILE_M / resolution_m as usize;
            let mut asset = json!({
                "href": href,
                "type": match form {
                    Form::Cdse => "image/jp2",
                    _ => "image/tiff; application=geotiff; profile=cloud-optimized",
                },
                "roles": ["data", "reflectance"],
                "proj:shape": [size, size],
                "proj:transform": [resolution_m, 0, tile.west, 0, -f64::from(resolution_m), tile.north],
            });
            if name != "SCL" {
                asset["eo:bands"] = json!([{"name": name, "common_name": common_name}]);
            }
            if form == Form::EarthSearch && name != "SCL" {
                asset["raster:bands"] = json!([{
                    "nodata": 0, "data_type": "uint16", "spatial_resolution": resolution_m, "scale": 0.0001, "offset": -0.1,
                }]);
            }
            let key = match form {
                Form::EarthSearch => common_name.to_owned(),
                Form::PlanetaryComputer => name.to_owned(),
                Form::Cdse => format!("{name}_{resolution_m}m"),
            };
            assets.insert(key, asset);
        }
        let [west, south, east, north] = self.lonlat_bounds(tile);
        let absolute_orbit = 20_000 + look;
        let mut properties = json!({
            "datetime": format!("{day}T10:52:{:02}Z", 10 + self.tiles.iter().position(|other| other.name == tile.name).unwrap_or(0)),
            "platform": format!("sentinel-2{}", satellite.to_ascii_lowercase()),
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            "eo:cloud_cover": self.spec.cloud_cover_percent(look),
            "s2:product_type": "S2MSI2A",
            "s2:processing_baseline": "05.11",
            "s2:product_uri": format!("{product}.SAFE"),
            "s2:datatake_id": format!("GS2{satellite}_{time}_{absolute_orbit:06}_N05.11"),
            "s2:datastrip_id": format!("S2{satellite}_OPER_MSI_L2A_DS_2{satellite}PS_{}T152000_S{time}_N05.11", &time[..8]),
            "created": format!("{day}T18:00:00Z"),
            "updated": format!("{day}T18:00:00Z"),
        });
        let collection = "sentinel-2-l2a";
        match form {
            Form::EarthSearch => {
                properties["proj:code"] = json!(format!("EPSG:{}", self.spec.epsg));
                properties["grid:code"] = json!(format!("MGRS-{}", tile.name));
                properties["earthsearch:boa_offset_applied"] = json!(true);
            }
            Form::PlanetaryComputer => {
                properties["proj:epsg"] = json!(self.spec.epsg);
                properties["s2:mgrs_tile"] = json!(tile.name);
                properties["sat:relative_orbit"] = json!(self.relative_orbit);
            }
            Form::Cdse => {
                properties["proj:code"] = json!(format!("EPSG:{}", self.spec.epsg));
                properties["grid:code"] = json!(format!("MGRS-{}", tile.name));
                properties["sat:relative_orbit"] = json!(self.relative_orbit);
            }
        }
        json!({
            "type": "Feature", "stac_version": "1.0.0", "id": id, "collection": collection,
            "bbox": [west, south, east, north],
            "geometry": {"type": "Polygon", "coordinates": [
                [[west, south], [east, south], [east, north], [west, north], [west, south]]
            ]},
            "properties": properties,
            "links": [{
                "rel": "self", "type": "application/geo+json",
                "href": format!("BASE/{}/collections/{collection}/items/{id}", form.name()),
            }],
            "assets": assets,
        })
    }

    /// West, south, east and north edge of a tile in degrees.
    fn lonlat_bounds(&self, tile: &Tile) -> [f64; 4] {
        let crs = pitwatch_grid::Crs::from_epsg(self.spec.epsg).unwrap();
        let (west, north) = (f64::from(tile.west), f64::from(tile.north));
        let mut bounds = [f64::MAX, f64::MAX, f64::MIN, f64::MIN];
        for x in [west, west + TILE_M as f64] {
            for y in [north, north - TILE_M as f64] {
                let lonlat = crs.lonlat_from_crs(Point { x, y }).unwrap();
                bounds[0] = bounds[0].min(lonlat.x);
                bounds[1] = bounds[1].min(lonlat.y);
                bounds[2] = bounds[2].max(lonlat.x);
                bounds[3] = bounds[3].max(lonlat.y);
            }
        }
        bounds
    }

    /// All items of a form, by look and then tile.
    #[must_use]
    pub fn items(&self, form: Form) -> Vec<Value> {
        self.make(form);
        (0..self.spec.n_looks)
            .flat_map(|look| {
                self.tiles
                    .iter()
                    .map(move |tile| self.item(look, tile, form))
            })
            .collect()
    }

    /// Writes the products of all looks and tiles as ESA packs them, as `PRODUCT.SAFE` below a folder.
    pub fn write_products(&self, folder: &Path) {
        self.make(Form::Cdse);
        for look in 0..self.spec.n_looks {
            for tile in &self.tiles {
                let name = self.product(look, tile);
                let product = folder.join(format!("{name}.SAFE"));
                let raster = self.file(look, tile, Form::Cdse, "B04");
                let granule = raster.ancestors().nth(3).unwrap();
                crate::mirror::copy_folder(granule, &product.join("GRANULE/L2A"));
                let day = self.spec.day(look);
                let [west, south, east, north] = self.lonlat_bounds(tile);
                let offsets: String = (0..13)
                    .map(|band| {
                        format!("<BOA_ADD_OFFSET band_id=\"{band}\">-1000</BOA_ADD_OFFSET>")
                    })
                    .collect();
                let metadata = format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                     <n1:Level-2A_User_Product xmlns:n1=\"https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd\">\n\
                     <PRODUCT_START_TIME>{day}T10:48:29.024Z</PRODUCT_START_TIME><PRODUCT_TYPE>S2MSI2A</PRODUCT_TYPE>\n\
                     <PROCESSING_BASELINE>05.11</PROCESSING_BASELINE><GENERATION_TIME>{day}T15:20:00.000000Z</GENERATION_TIME>\n\
                     <Datatake datatakeIdentifier=\"GS2{satellite}_{time}_{orbit:06}_N05.11\"><SPACECRAFT_NAME>Sentinel-2{satellite}</SPACECRAFT_NAME></Datatake>\n\
                     <BOA_QUANTIFICATION_VALUE unit=\"none\">10000</BOA_QUANTIFICATION_VALUE>{offsets}\n\
                     <Cloud_Coverage_Assessment>{cloud}</Cloud_Coverage_Assessment>\n\
                     <EXT_POS_LIST>{north} {west} {north} {east} {south} {east} {south} {west} {north} {west}</EXT_POS_LIST>\n\
                     </n1:Level-2A_User_Product>\n",
                    satellite = self.satellite(look),
                    time = self.compact_time(look),
                    orbit = 20_000 + look,
                    cloud = self.spec.cloud_cover_percent(look),
                );
                fs::write(product.join("MTD_MSIL2A.xml"), metadata).unwrap();
                let tile = format!(
                    "<Tile><HORIZONTAL_CS_CODE>EPSG:{}</HORIZONTAL_CS_CODE></Tile>\n",
                    self.spec.epsg
                );
                fs::write(product.join("GRANULE/L2A/MTD_TL.xml"), tile).unwrap();
            }
        }
    }

    /// The file of an item's band.
    #[must_use]
    pub fn file(&self, look: usize, tile: &Tile, form: Form, name: &str) -> PathBuf {
        self.folder
            .join(form.name())
            .join(self.path(look, tile, form, name))
    }
}

impl Spec {
    /// What the live areas of the tests share: a pit of 4 ha across the border of the tiles and two smaller ones.
    fn season() -> Self {
        let pit = |row, col, height, width, opened: &str| Pit {
            row,
            col,
            height,
            width,
            opened: day(opened),
        };
        Self {
            first_day: day("2023-06-04"),
            revisit_days: 10,
            n_looks: 74,
            pits: vec![
                pit(320, 462, 20, 30, "2024-12-05"),
                pit(600, 150, 12, 14, "2024-12-20"),
                pit(100, 700, 10, 10, "2025-01-10"),
            ],
            ..Self::default()
        }
    }
}

impl Form {
    /// The name of the known source that writes items this way.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EarthSearch => "earth-search",
            Self::PlanetaryComputer => "planetary-computer",
            Self::Cdse => "cdse",
        }
    }

    fn paging(self) -> Paging {
        match self {
            Self::EarthSearch => Paging::BodyNext,
            Self::PlanetaryComputer => Paging::PostToken,
            Self::Cdse => Paging::GetToken,
        }
    }
}

impl Catalog {
    /// A catalog of items.
    ///
    /// - `has_count`: whether it says how many items match.
    /// - `max_page`: items of a page, whatever is asked for.
    #[must_use]
    pub fn new(items: Vec<Value>, paging: Paging, has_count: bool, max_page: usize) -> Self {
        Self {
            items: Mutex::new(items),
            paging,
            has_count,
            max_page,
            asked: Mutex::default(),
        }
    }

    /// What was asked since the last time, search by search.
    #[must_use]
    pub fn asked(&self) -> Vec<Map<String, Value>> {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the items.
    pub fn edit(&self, edit: impl FnOnce(&mut Vec<Value>)) {
        edit(&mut self.items.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The answer to a search at `url`, by POST or GET.
    #[must_use]
    pub fn search(&self, url: &str, base: &str, request: &Request) -> Reply {
        let query: Map<String, Value> = if request.method == "POST" {
            match serde_json::from_slice(&request.body) {
                Ok(query) => query,
                Err(_) => return Reply::status(400),
            }
        } else {
            query_of(&request.query)
        };
        let text = |name: &str| query.get(name).and_then(Value::as_str).unwrap_or_default();
        let numbers = |name: &str| -> Vec<f64> {
            match query.get(name) {
                Some(Value::Array(values)) => values.iter().filter_map(Value::as_f64).collect(),
                Some(Value::String(text)) => text
                    .split(',')
                    .filter_map(|part| part.parse().ok())
                    .collect(),
                _ => Vec::new(),
            }
        };
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(query.clone());
        let bbox = numbers("bbox");
        let published_from = query
            .get("query")
            .and_then(|query| query["updated"]["gte"].as_str());
        let (from, until) = text("datetime").split_once('/').unwrap_or(("", "9"));
        let limit = query
            .get("limit")
            .and_then(|limit| limit.as_u64().or_else(|| limit.as_str()?.parse().ok()))
            .map_or(10, |limit| usize::try_from(limit).unwrap())
            .min(self.max_page);
        let is_wanted = |item: &&Value| {
            let time = item["properties"]["datetime"].as_str().unwrap_or_default();
            let own: Vec<f64> = item["bbox"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_f64)
                .collect();
            let is_near = bbox.len() != 4
                || own.len() != 4
                || (own[0] <= bbox[2]
                    && bbox[0] <= own[2]
                    && own[1] <= bbox[3]
                    && bbox[1] <= own[3]);
            let updated = item["properties"]["updated"].as_str().unwrap_or_default();
            // Times of one form compare as texts.
            from <= time
                && time <= until
                && is_near
                && published_from.is_none_or(|from| from <= updated)
        };
        let items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        // Newest first, as the public catalogs answer.
        let mut matching: Vec<&Value> = items.iter().filter(is_wanted).collect();
        matching.reverse();
        let start: usize = ["next", "token"]
            .iter()
            .find_map(|name| text(name).strip_prefix("from:")?.parse().ok())
            .or_else(|| {
                let page = query.get("page")?.as_u64()?;
                Some((usize::try_from(page).unwrap() - 1) * limit)
            })
            .unwrap_or(0);
        let end = (start + limit).min(matching.len());
        let page: Vec<Value> = matching[start.min(end)..end]
            .iter()
            .map(|item| {
                let text = item.to_string().replace("BASE/", &format!("{base}/"));
                serde_json::from_str(&text).unwrap()
            })
            .collect();
        let token = format!("from:{end}");
        let with = |name: &str, value: Value| {
            let mut whole = query.clone();
            whole.remove("token");
            whole.insert(name.into(), value);
            whole
        };
        let post =
            |body: Value| json!({"rel": "next", "method": "POST", "href": url, "body": body});
        let merge = |body: Value| {
            let mut link = post(body);
            link["merge"] = json!(true);
            link
        };
        let mut links = vec![json!({"rel": "root", "href": url})];
        if end < matching.len() {
            match self.paging {
                Paging::BodyNext => links.push(post(with("next", json!(token)).into())),
                Paging::BodyPage => links.push(merge(json!({"page": start / limit + 2}))),
                Paging::PostToken => links.push(post(with("token", json!(token)).into())),
                Paging::PostTokenMerge => links.push(merge(json!({"token": token}))),
                Paging::GetToken => {
                    let mut href = format!("{url}?token={token}");
                    for (name, value) in &query {
                        let text = match value {
                            Value::Array(values) => {
                                let parts: Vec<String> = values
                                    .iter()
                                    .map(|value| {
                                        value
                                            .as_str()
                                            .map_or_else(|| value.to_string(), str::to_owned)
                                    })
                                    .collect();
                                parts.join(",")
                            }
                            Value::String(text) => text.clone(),
                            other => other.to_string(),
                        };
                        if name != "token" {
                            let _ = write!(href, "&{name}={text}");
                        }
                    }
                    links.push(json!({"rel": "next", "method": "GET", "href": href}));
                }
                Paging::NoLink => {}
            }
        }
        let mut answer = json!({
            "type": "FeatureCollection", "features": page, "links": links, "numberReturned": end - start.min(end),
        });
        if self.has_count {
            answer["numberMatched"] = json!(matching.len());
        }
        Reply::json(&answer)
    }
}

impl Live {
    /// Serves worlds as the sources of the given forms have them: Earth Search's counts its items, Planetary Computer's
    /// does not and wants tokens, Copernicus Data Space's wants signed requests.
    ///
    /// - `empty`: forms of catalogs that have nothing.
    #[must_use]
    pub fn new(worlds: &[&World], forms: &[Form], empty: &[Form]) -> Self {
        let mut catalogs = BTreeMap::new();
        for form in forms.iter().chain(empty).copied() {
            let items: Vec<Value> = if forms.contains(&form) {
                worlds.iter().flat_map(|world| world.items(form)).collect()
            } else {
                Vec::new()
            };
            let has_count = form != Form::PlanetaryComputer;
            catalogs.insert(
                form.name(),
                Arc::new(Catalog::new(items, form.paging(), has_count, 100)),
            );
        }
        let folders: Vec<PathBuf> = worlds.iter().map(|world| world.folder.clone()).collect();
        Self {
            server: serve(catalogs.clone(), folders),
            catalogs,
        }
    }

    /// A file of sources that leads to the server under the names of the known sources.
    #[must_use]
    pub fn sources(&self) -> String {
        let (url, host) = (self.server.url(), self.server.host());
        let mut text = String::new();
        for name in self.catalogs.keys() {
            let _ = write!(
                text,
                "[[source]]\nname = \"{name}\"\nurl = \"{url}/{name}\"\nhosts = [\"{host}\"]\nallow_http = true\nallow_private = true\n"
            );
            if *name == "planetary-computer" {
                let _ = writeln!(text, "token_url = \"{url}/token\"");
            }
            if *name == "cdse" {
                let _ = writeln!(text, "s3_endpoint = \"{url}\"");
            }
            text.push('\n');
        }
        text
    }
}

/// A pipeline over worlds and their catalogs, in a folder of its own.
#[derive(Debug)]
pub struct Case {
    /// The catalogs.
    pub live: Live,
    /// The pipeline file.
    pub pipeline: PathBuf,
    /// The file of sources.
    pub sources: PathBuf,
    folder: tempfile::TempDir,
}

impl Case {
    /// The numbers of a pipeline file of the project, over the worlds, from the sources of the forms in their order.
    #[must_use]
    pub fn new(worlds: &[&World], forms: &[Form], model: &str) -> Self {
        Self::with(worlds, forms, &[], model)
    }

    /// As [`Case::new`], with sources beside them that have nothing.
    #[must_use]
    pub fn with(worlds: &[&World], forms: &[Form], empty: &[Form], model: &str) -> Self {
        let live = Live::new(worlds, forms, empty);
        let folder = tempfile::tempdir().unwrap();
        let mut text = String::new();
        for world in worlds {
            let id = world.spec.id;
            fs::write(folder.path().join(format!("{id}.geojson")), world.polygon()).unwrap();
            let _ = write!(
                text,
                "[[areas]]\nid = \"{id}\"\nfile = \"{id}.geojson\"\n\n"
            );
        }
        let model = fs::read_to_string(crate::path(model)).unwrap();
        let mut rest = model[model.find("[scenes]").unwrap()..].to_owned();
        // Where no prior is known of a world, nothing is compared.
        let priors = fs::read_to_string(crate::path("pipelines/priors.toml")).unwrap();
        let is_known = |world: &&World| priors.contains(&format!("[area.{}]", world.spec.id));
        if !worlds.iter().all(is_known) {
            let (from, until) = (rest.find("[capacity]"), rest.find("[skill]"));
            rest.replace_range(from.unwrap()..until.unwrap(), "");
        } else {
            text.insert_str(0, "reported_file = \"reported.csv\"\n\n");
        }
        let names: Vec<String> = forms
            .iter()
            .chain(empty)
            .map(|form| format!("{:?}", form.name()))
            .collect();
        for line in rest.lines() {
            if line.starts_with("sources = ") {
                let _ = writeln!(text, "sources = [{}]", names.join(", "));
            } else {
                text += line;
                text.push('\n');
            }
        }
        let (pipeline, sources) = (
            folder.path().join("pipeline.toml"),
            folder.path().join("sources.toml"),
        );
        fs::write(&pipeline, text).unwrap();
        // What the model names beside itself.
        for name in ["priors.toml", "reported.csv"] {
            let from = crate::path(&format!("pipelines/{name}"));
            fs::copy(from, folder.path().join(name)).unwrap();
        }
        fs::write(&sources, live.sources()).unwrap();
        Self {
            live,
            pipeline,
            sources,
            folder,
        }
    }

    /// Changes the pipeline file's text.
    pub fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(&self.pipeline).unwrap();
        assert!(text.contains(from), "{from:?} is not in the pipeline file");
        fs::write(&self.pipeline, text.replace(from, to)).unwrap();
    }

    /// The folder of the test.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The mirror.
    #[must_use]
    pub fn mirror(&self) -> PathBuf {
        self.folder().join("mirror")
    }

    /// The mirror's files but for what sources told, which names the day of the search.
    #[must_use]
    pub fn mirrored(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = crate::files_of(&self.mirror());
        files.retain(|name, _| !name.ends_with(".json.gz"));
        files
    }

    /// A command of the program on the pipeline, the sources and the mirror, with short pauses between attempts.
    #[must_use]
    pub fn command(&self, name: &str, rest: &[&str]) -> Command {
        let mut command = crate::program::command(&[&name, &self.pipeline]);
        command
            .arg("--sources")
            .arg(&self.sources)
            .arg("--mirror")
            .arg(self.mirror())
            .args(rest)
            .env("PITWATCH_RETRY_MS", "2")
            .env("PITWATCH_CDSE_ACCESS_KEY", S3_KEYS.0)
            .env("PITWATCH_CDSE_SECRET_KEY", S3_KEYS.1);
        command
    }

    /// Runs a command of the program until it ends.
    #[must_use]
    pub fn run(&self, name: &str, rest: &[&str]) -> Finished {
        self.command(name, rest).output().unwrap().into()
    }
}

fn serve(catalogs: BTreeMap<&'static str, Arc<Catalog>>, folders: Vec<PathBuf>) -> Server {
    Server::start(move |request| {
        let host = request.headers.get("host").map_or("", String::as_str);
        let base = format!("http://{host}");
        let parts: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        let file = |form: &str, path: &str| {
            let found = folders
                .iter()
                .map(|folder| folder.join(form).join(path))
                .find(|path| path.is_file());
            found.map_or_else(|| Reply::status(404), Reply::File)
        };
        match parts[..] {
            ["files", form, ..] => {
                let prefix = format!("/files/{form}/");
                file(form, request.path.strip_prefix(&prefix).unwrap_or_default())
            }
            // What stands for `https://ACCOUNT.blob.core.windows.net/CONTAINER/`.
            ["blob", account, ..] => {
                if !request.query.contains("sig=SECRETTOKEN") {
                    return Reply::status(403);
                }
                let prefix = format!("/blob/{account}/");
                let path = request.path.strip_prefix(&prefix).unwrap_or_default();
                file("planetary-computer", path)
            }
            ["eodata", ..] => {
                let is_signed =
                    request.query.contains(S3_KEYS.0) && request.query.contains("X-Amz-Signature=");
                if is_signed {
                    file("cdse", request.path.trim_start_matches('/'))
                } else {
                    Reply::status(403)
                }
            }
            ["token", ..] => {
                let expiry = chrono::Utc::now() + chrono::TimeDelta::minutes(45);
                Reply::json(&json!({
                    "msft:expiry": expiry.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
                    "token": TOKEN,
                }))
            }
            [name, "search"] => match catalogs.get(name) {
                Some(catalog) => catalog.search(&format!("{base}/{name}/search"), &base, request),
                None => Reply::status(404),
            },
            _ => Reply::status(404),
        }
    })
}

fn query_of(text: &str) -> Map<String, Value> {
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| {
            (
                name.to_owned(),
                json!(
                    value
                        .replace("%2F", "/")
                        .replace("%3A", ":")
                        .replace("%2C", ",")
                ),
            )
        })
        .collect()
}
