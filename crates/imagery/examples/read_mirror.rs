//! Reads a folder of scenes, one subfolder a scene, and prints how fast, beside the limit that libdeflate alone sets on
//! one thread: `read_mirror FOLDER [THREADS [REPEATS]]`.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring tool for developers"
)]

use std::path::Path;
use std::time::Instant;

use gdal::Metadata;
use pitwatch_grid::{Band, parse_time};
use pitwatch_imagery::{Reader, SceneFiles, Source};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |index: usize| arguments.get(index).map_or(1, |text| text.parse().unwrap());
    rayon::ThreadPoolBuilder::new()
        .num_threads(number(2))
        .build_global()
        .unwrap();
    let scenes = scenes(Path::new(&arguments[1]));
    let sources: Vec<Source> = scenes
        .iter()
        .flat_map(|scene| scene.sources.clone())
        .collect();
    let n_stored = inflate_alone(&sources);
    let start = Instant::now();
    let (reader, skipped) = Reader::open(scenes, &Band::ALL, None, &|_| ()).unwrap();
    println!(
        "{} looks, {} bands, {} skipped, opened in {:.2} s, {} MiB beside the cube",
        reader.looks().len(),
        reader.bands().len(),
        skipped.len(),
        start.elapsed().as_secs_f64(),
        reader.scratch_bytes() >> 20,
    );
    let extent = reader.extent();
    let none = vec![false; reader.looks().len()];
    for _ in 0..number(3) {
        let start = Instant::now();
        let (cube, failures) = reader.read(&extent, &none).unwrap();
        let seconds = start.elapsed().as_secs_f64();
        let n_cube = 2 * cube.bands().len() * none.len() * extent.shape().n_pixels();
        println!(
            "the whole: {seconds:.2} s, {:.0} MB/s of stored pixels, {:.0} MB/s of cube, {} failures",
            n_stored as f64 * 1e-6 / seconds,
            n_cube as f64 * 1e-6 / seconds,
            failures.len()
        );
    }
    for size in [512, 256] {
        let cells = extent.cells(size);
        let start = Instant::now();
        for &cell in &cells {
            reader.read(&extent.window(cell), &none).unwrap();
        }
        let seconds = start.elapsed().as_secs_f64();
        println!("{} cells of at most {size}: {seconds:.2} s", cells.len());
    }
}

/// Inflates every block of the files once, with the bytes in memory, and nothing else.
fn inflate_alone(sources: &[Source]) -> usize {
    let mut decompressor = libdeflater::Decompressor::new();
    let mut out = Vec::new();
    let (mut n_bytes, mut seconds) = (0, 0.0);
    for source in sources {
        let dataset = gdal::Dataset::open(&source.href).unwrap();
        let band = dataset.rasterband(1).unwrap();
        let (width, height) = band.block_size();
        let (across, down) = (
            band.x_size().div_ceil(width),
            band.y_size().div_ceil(height),
        );
        let bytes = std::fs::read(&source.href).unwrap();
        out.resize(width * height * 2, 0);
        let mut blocks = Vec::new();
        for (row, col) in (0..down).flat_map(|row| (0..across).map(move |col| (row, col))) {
            let item = |name: &str| {
                let value = band.metadata_item(&format!("{name}_{col}_{row}"), "TIFF");
                value.and_then(|value| value.parse::<usize>().ok())
            };
            if let (Some(offset), Some(size)) = (item("BLOCK_OFFSET"), item("BLOCK_SIZE")) {
                blocks.push(&bytes[offset..offset + size]);
            }
        }
        let start = Instant::now();
        for block in blocks {
            n_bytes += decompressor.zlib_decompress(block, &mut out).unwrap();
        }
        seconds += start.elapsed().as_secs_f64();
    }
    println!(
        "libdeflate alone: {:.0} MB in {seconds:.2} s, {:.0} MB/s on one thread",
        n_bytes as f64 * 1e-6,
        n_bytes as f64 * 1e-6 / seconds
    );
    n_bytes
}

fn scenes(folder: &Path) -> Vec<SceneFiles> {
    let mut scenes = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let id = path.file_name().unwrap().to_string_lossy().into_owned();
        let date: String = id.split('_').nth(2).unwrap_or_default().into();
        if !path.is_dir() || date.len() != 8 {
            continue;
        }
        let source = |name: &str, band: Option<Band>| Source {
            href: path.join(name).display().to_string(),
            band,
            offset: 0,
            scale: 1e-4,
        };
        let mut sources = vec![source("SCL.tif", None)];
        for band in Band::ALL {
            let name = format!("{}.tif", band.esa_name());
            if path.join(&name).exists() {
                sources.push(source(&name, Some(band)));
            }
        }
        let (year, month, day) = (&date[..4], &date[4..6], &date[6..]);
        let time = parse_time(&format!("{year}-{month}-{day}T10:48:29Z")).unwrap();
        scenes.push(SceneFiles {
            id,
            time,
            pass: String::new(),
            sources,
        });
    }
    scenes
}
