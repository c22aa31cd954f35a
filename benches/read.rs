//! Speed of reading a mirror into a cube, against its limit and against GDAL, in the same run on the same files.
//!
//! - `pitwatch`: `Reader::read`, headers opened before; blocks are fetched from files, inflated, brought to 10 m, freed of
//!   their offset and laid into a cube.
//! - `libdeflater`: only inflates the same blocks, which are in memory: the limit.
//! - `gdal`: reads the same window of the same files, opened before, at 10 m by nearest neighbour, its block cache empty.
//!
//! Bytes are those of the pixels as stored, the same number for all three. The files are in the system's cache.

use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use gdal::raster::{Buffer, GdalType, RasterCreationOptions, ResampleAlg};
use gdal::spatial_ref::SpatialRef;
use gdal::{Dataset, DriverManager};
use libdeflater::Decompressor;
use pitwatch_benches::{BANDS, CLEAR, CLOUDED, Random, days, geobox, ground, pools, times};
use pitwatch_grid::{Band, Day, GeoBox, Shape};
use pitwatch_imagery::{Reader, SceneFiles, Source};
use rayon::prelude::*;

/// Height and width of the area, in pixels of 10 m.
const SIDE: usize = 512;
const N_LOOKS: usize = 24;
/// Height and width of a block of a file, in pixels.
const BLOCK: usize = 256;
/// What processing baseline 04.00 and later add to digital numbers.
const OFFSET: i32 = -1_000;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    read(&mut criterion);
    criterion.final_summary();
}

fn read(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let area = geobox(Shape {
        height: SIDE,
        width: SIDE,
    });
    let scenes = write_mirror(folder.path(), &area);
    let paths: Vec<String> = scenes
        .iter()
        .flat_map(|scene| scene.sources.iter().map(|source| source.href.clone()))
        .collect();
    let tiles: Vec<Tile> = paths.iter().flat_map(|path| tiles(path)).collect();
    let n_bytes: usize = tiles.iter().map(|tile| tile.n_bytes).sum();
    let mut datasets: Vec<Dataset> = paths
        .iter()
        .map(|path| Dataset::open(path).expect("GDAL opens what it wrote"))
        .collect();

    let mut group = criterion.benchmark_group("read");
    group.throughput(Throughput::BytesDecimal(n_bytes as u64));
    let size = format!("{SIDE}x{SIDE}px_{N_LOOKS}looks_6bands");
    for (threads, pool) in pools() {
        let (reader, skipped) = pool
            .install(|| Reader::open(scenes.clone(), &BANDS, None, &|_| ()))
            .expect("the mirror opens");
        assert!(skipped.is_empty());
        let is_quarantined = [false; N_LOOKS];
        group.bench_function(
            BenchmarkId::new(format!("pitwatch/{threads}"), &size),
            |bencher| {
                bencher.iter(|| {
                    pool.install(|| reader.read(&area, &is_quarantined))
                        .expect("the window is on the lattice")
                });
            },
        );
        group.bench_function(
            BenchmarkId::new(format!("libdeflater/{threads}"), &size),
            |bencher| {
                bencher.iter(|| {
                    pool.install(|| {
                        tiles.par_iter().for_each_init(
                            || (Decompressor::new(), vec![0; BLOCK * BLOCK * 2]),
                            |(decompressor, pixels), tile| {
                                let inflated = decompressor
                                    .zlib_decompress(&tile.packed, &mut pixels[..tile.n_bytes]);
                                assert_eq!(inflated, Ok(tile.n_bytes));
                            },
                        );
                    });
                });
            },
        );
        group.bench_function(
            BenchmarkId::new(format!("gdal/{threads}"), &size),
            |bencher| {
                bencher.iter_custom(|n_times| {
                    let mut took = Duration::ZERO;
                    for _ in 0..n_times {
                        // Empties the block cache, so that each time decodes.
                        for dataset in &mut datasets {
                            dataset.flush_cache().expect("nothing is to be written");
                        }
                        let start = Instant::now();
                        let planes: Vec<Buffer<u16>> = pool.install(|| {
                            datasets
                                .par_iter_mut()
                                .map(|dataset| gdal_plane(dataset))
                                .collect()
                        });
                        took += start.elapsed();
                        assert_eq!(planes.len(), paths.len());
                    }
                    took
                });
            },
        );
    }
    group.finish();
}

fn gdal_plane(dataset: &Dataset) -> Buffer<u16> {
    dataset
        .rasterband(1)
        .and_then(|band| {
            let resampling = Some(ResampleAlg::NearestNeighbour);
            band.read_as((0, 0), band.size(), (SIDE, SIDE), resampling)
        })
        .expect("GDAL reads what it wrote")
}

/// One block as it lies in a file.
struct Tile {
    packed: Vec<u8>,
    /// Bytes of its pixels.
    n_bytes: usize,
}

/// All blocks of a file, found by what GDAL says of them.
fn tiles(path: &str) -> Vec<Tile> {
    let file = std::fs::read(path).expect("the file was written");
    let dataset = Dataset::open(path).expect("GDAL opens what it wrote");
    let band = dataset.rasterband(1).expect("one band");
    let (width, height) = band.size();
    let n_bytes = BLOCK * BLOCK * usize::from(band.band_type().bits()) / 8;
    let number = |key: String| -> usize {
        use gdal::Metadata;
        band.metadata_item(&key, "TIFF")
            .and_then(|text| text.parse().ok())
            .expect("a block's place")
    };
    let mut tiles = Vec::new();
    for row in 0..height.div_ceil(BLOCK) {
        for col in 0..width.div_ceil(BLOCK) {
            let start = number(format!("BLOCK_OFFSET_{col}_{row}"));
            let length = number(format!("BLOCK_SIZE_{col}_{row}"));
            tiles.push(Tile {
                packed: file[start..start + length].to_vec(),
                n_bytes,
            });
        }
    }
    tiles
}

/// Writes scenes with four bands at 10 m, two bands and the classes at 20 m.
fn write_mirror(folder: &Path, area: &GeoBox) -> Vec<SceneFiles> {
    let mut random = Random::new(1);
    let mut scenes = Vec::new();
    for (day, time) in days(N_LOOKS).into_iter().zip(times(N_LOOKS)) {
        let id = format!("S2A_30PTR_{day}");
        let clouds = Clouds::new(&mut random);
        let mut sources = Vec::new();
        for (slot, band) in BANDS.into_iter().enumerate() {
            let step = if matches!(band, Band::Swir16 | Band::Swir22) {
                2
            } else {
                1
            };
            let path = folder.join(format!("{id}_{band}.tif"));
            let pixels = reflectance(day, slot, step, &clouds, &mut random);
            write_cog(&path, area, step, pixels);
            sources.push(Source {
                href: path.display().to_string(),
                band: Some(band),
                offset: OFFSET,
                scale: 1e-4,
            });
        }
        let path = folder.join(format!("{id}_scl.tif"));
        let classes = places(2).map(|at| if clouds.hide(at) { CLOUDED } else { CLEAR });
        write_cog(&path, area, 2, classes.collect());
        sources.push(Source {
            href: path.display().to_string(),
            band: None,
            offset: 0,
            scale: 1.0,
        });
        scenes.push(SceneFiles {
            id,
            time,
            pass: String::new(),
            sources,
        });
    }
    scenes
}

/// Row and column, in pixels of 10 m, of every `step`-th pixel.
fn places(step: usize) -> impl Iterator<Item = (usize, usize)> {
    let along = move || (0..SIDE).step_by(step);
    along().flat_map(move |row| along().map(move |col| (row, col)))
}

/// Round clouds over two fifths of the area or so.
struct Clouds(Vec<(f64, f64, f64)>);

impl Clouds {
    fn new(random: &mut Random) -> Self {
        let side = SIDE as f64;
        let cloud = |_| {
            let radius = side * (0.05 + 0.15 * random.uniform());
            (side * random.uniform(), side * random.uniform(), radius)
        };
        Self((0..8).map(cloud).collect())
    }

    fn hide(&self, (row, col): (usize, usize)) -> bool {
        let is_under =
            |&(y, x, radius): &(f64, f64, f64)| (row as f64 - y).hypot(col as f64 - x) < radius;
        self.0.iter().any(is_under)
    }
}

/// Digital numbers of one band, with noise that packs about as well as real scenes do.
fn reflectance(
    day: Day,
    slot: usize,
    step: usize,
    clouds: &Clouds,
    random: &mut Random,
) -> Vec<u16> {
    const NOISE: f64 = 0.02;
    let [clear, clouded] = [false, true].map(|is_clouded| ground(day, false, is_clouded)[slot]);
    places(step)
        .map(|at| {
            let relief = 1.0 + 0.1 * (at.0 as f64 / 40.0).sin() * (at.1 as f64 / 60.0).cos();
            let value = if clouds.hide(at) { clouded } else { clear };
            let noisy = value * relief * (1.0 + NOISE * random.normal());
            (noisy - f64::from(OFFSET)) as u16
        })
        .collect()
}

fn write_cog<T: Copy + GdalType>(path: &Path, area: &GeoBox, step: usize, pixels: Vec<T>) {
    let side = SIDE / step;
    let write = || -> gdal::errors::Result<()> {
        let memory = DriverManager::get_driver_by_name("MEM")?;
        let mut dataset = memory.create_with_band_type::<T, _>("", side, side, 1)?;
        let mut transform = area.gdal_transform();
        transform[1] *= step as f64;
        transform[5] *= step as f64;
        dataset.set_geo_transform(&transform)?;
        dataset.set_spatial_ref(&SpatialRef::from_epsg(area.crs().epsg())?)?;
        let mut band = dataset.rasterband(1)?;
        band.set_no_data_value(Some(0.0))?;
        band.write((0, 0), (side, side), &mut Buffer::new((side, side), pixels))?;
        let mut options = RasterCreationOptions::new();
        options.set_name_value("COMPRESS", "DEFLATE")?;
        options.set_name_value("PREDICTOR", "YES")?;
        options.set_name_value("BLOCKSIZE", &BLOCK.to_string())?;
        let cog = DriverManager::get_driver_by_name("COG")?;
        dataset.create_copy(&cog, path, &options)?;
        Ok(())
    };
    write().expect("GDAL writes into a temporary folder");
}
