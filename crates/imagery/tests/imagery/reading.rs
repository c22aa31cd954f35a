use pitwatch_grid::{
    Band, Cube, GeoBox, MISSING_REFLECTANCE, NOT_ACQUIRED, Point, QUARANTINED, Shape, Window,
};
use pitwatch_imagery::{Reader, SceneFiles};

use crate::scene::{Tif, by_gdal, ground, scene, source, time};

const BANDS: [Band; 3] = [Band::Red, Band::Nir, Band::Swir16];

pub(crate) fn open(scenes: Vec<SceneFiles>) -> Reader {
    let (reader, skipped) = Reader::open(scenes, &BANDS, None, &|_| ()).unwrap();
    assert_eq!(skipped, []);
    reader
}

pub(crate) fn read(reader: &Reader, geobox: &GeoBox) -> Cube {
    let (cube, failures) = reader
        .read(geobox, &vec![false; reader.looks().len()])
        .unwrap();
    assert_eq!(failures, []);
    cube
}

/// What a band's plane and the classes must be, from GDAL's reading of the files: each 10 m pixel takes the pixel of
/// the file at its center.
fn assert_as_gdal(cube: &Cube, look: usize, files: &SceneFiles, offset: i32) {
    let Shape { height, width } = cube.geobox().shape();
    let mut missing = vec![false; height * width];
    let at = |(pixels, across): &(Vec<i32>, usize), factor: usize, index: usize| {
        pixels[index / width / factor * across + index % width / factor]
    };
    let finest = by_gdal(&files.sources[2].href).1;
    for source in &files.sources {
        let file = by_gdal(&source.href);
        let factor = finest.div_ceil(file.1);
        if let Some(band) = source.band {
            let plane = cube.plane(cube.band_index(band).unwrap(), look);
            for index in 0..height * width {
                let expected = match at(&file, factor, index) {
                    0 => MISSING_REFLECTANCE,
                    number => i16::try_from((number + offset).clamp(-32_767, 32_767)).unwrap(),
                };
                missing[index] |= expected == MISSING_REFLECTANCE;
                assert_eq!(plane[index], expected, "{} at {index}", source.href);
            }
        }
    }
    let file = by_gdal(&files.sources[0].href);
    let factor = finest.div_ceil(file.1);
    for (index, is_missing) in missing.into_iter().enumerate() {
        let expected = if is_missing {
            0
        } else {
            at(&file, factor, index)
        };
        assert_eq!(i32::from(cube.classes(look)[index]), expected);
    }
}

#[test]
fn files_of_every_layout_are_read_as_gdal_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let deflate = |size: usize, predictor: &str| {
        Tif::default()
            .blocks(size)
            .option("COMPRESS", "DEFLATE")
            .option("PREDICTOR", predictor)
    };
    let mut layouts = Vec::new();
    for size in [128, 256, 512, 1024] {
        layouts.push(deflate(size, "1"));
        layouts.push(deflate(size, "2"));
    }
    layouts.push(Tif {
        overviews: vec![2, 4],
        ..deflate(128, "2")
    });
    layouts.push(deflate(128, "2").option("ENDIANNESS", "BIG"));
    layouts.push(deflate(128, "1").option("ENDIANNESS", "BIG"));
    layouts.push(deflate(128, "2").option("BIGTIFF", "YES"));
    layouts.push(Tif::default().blocks(256));
    layouts.push(Tif::default());
    layouts.push(Tif::default().option("COMPRESS", "LZW"));
    layouts.push(
        Tif::default()
            .blocks(256)
            .option("COMPRESS", "LZW")
            .option("PREDICTOR", "2"),
    );
    layouts.push(
        Tif::default()
            .option("COMPRESS", "DEFLATE")
            .option("BLOCKYSIZE", "37"),
    );
    let layouts = layouts.into_iter().zip(1..);
    let scenes: Vec<_> = layouts
        .map(|(tif, day)| scene(folder.path(), day, &tif))
        .collect();
    let reader = open(scenes.clone());
    assert_eq!(reader.bands(), [Band::Red, Band::Swir16]);
    let cube = read(&reader, &reader.extent());
    for (look, files) in scenes.iter().enumerate() {
        assert_as_gdal(&cube, look, files, 0);
    }
}

#[test]
fn every_pixel_type_is_read_as_gdal_reads_it_with_its_offset() {
    let folder = tempfile::tempdir().unwrap();
    let tif = Tif::default()
        .blocks(128)
        .option("COMPRESS", "DEFLATE")
        .option("PREDICTOR", "2");
    let mut scenes: Vec<_> = (1..=3).map(|day| scene(folder.path(), day, &tif)).collect();
    let pixels = ground(tif.height, tif.width, 9, 60_000);
    let path = |look: usize| std::path::PathBuf::from(&scenes[look].sources[2].href);
    tif.write(&path(0), pixels.clone());
    tif.write(
        &path(1),
        pixels
            .iter()
            .map(|pixel| pixel.wrapping_mul(31).cast_signed())
            .collect::<Vec<i16>>(),
    );
    tif.write(
        &path(2),
        pixels
            .iter()
            .map(|pixel| u8::try_from(pixel % 256).unwrap())
            .collect::<Vec<u8>>(),
    );
    for scene in &mut scenes {
        scene.sources[1].offset = -1_000;
        scene.sources[2].offset = -1_000;
    }
    let reader = open(scenes.clone());
    let cube = read(&reader, &reader.extent());
    for (look, files) in scenes.iter().enumerate() {
        assert_as_gdal(&cube, look, files, -1_000);
    }
}

#[test]
fn a_block_that_was_never_written_is_no_data() {
    let folder = tempfile::tempdir().unwrap();
    let tif = Tif::default()
        .blocks(128)
        .option("COMPRESS", "DEFLATE")
        .option("SPARSE_OK", "TRUE");
    let files = scene(folder.path(), 1, &tif);
    let path = std::path::Path::new(&files.sources[2].href);
    let dataset = tif.start::<u16>(path);
    let mut buffer = gdal::raster::Buffer::new((128, 128), vec![700_u16; 128 * 128]);
    let mut band = dataset.rasterband(1).unwrap();
    band.write((128, 0), (128, 128), &mut buffer).unwrap();
    dataset.close().unwrap();
    let reader = open(vec![files.clone()]);
    let cube = read(&reader, &reader.extent());
    assert_as_gdal(&cube, 0, &files, 0);
    assert_eq!(cube.plane(0, 0)[0], MISSING_REFLECTANCE);
    assert_eq!(cube.plane(0, 0)[128], 700);
}

#[test]
fn a_pixel_outside_a_scene_was_not_acquired() {
    let folder = tempfile::tempdir().unwrap();
    let tif = Tif::default().blocks(128);
    let east = Tif {
        x: tif.x + 1_000.0,
        ..tif.clone()
    };
    let reader = open(vec![
        scene(folder.path(), 1, &tif),
        scene(folder.path(), 2, &east),
    ]);
    assert_eq!(
        reader.extent().shape(),
        Shape {
            height: 300,
            width: 433
        }
    );
    let wide = GeoBox::new(
        reader.lattice().crs().clone(),
        Point {
            x: tif.x - 50.0,
            y: tif.y + 30.0,
        },
        10.0,
        Shape {
            height: 400,
            width: 500,
        },
    )
    .unwrap();
    let cube = read(&reader, &wide);
    for (look, (first, end)) in [(5, 338), (105, 438)].into_iter().enumerate() {
        for row in 0..400 {
            for col in 0..500 {
                let is_inside = (3..303).contains(&row) && (first..end).contains(&col);
                let class = cube.classes(look)[row * 500 + col];
                assert_eq!(class != NOT_ACQUIRED, is_inside, "{look} {row} {col}");
                if !is_inside {
                    assert_eq!(cube.plane(0, look)[row * 500 + col], MISSING_REFLECTANCE);
                }
            }
        }
    }
}

/// Each window is read on its own, with coarse pixels and blocks cut anywhere.
#[test]
fn windows_sewn_together_equal_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let tif = Tif::default()
        .blocks(128)
        .option("COMPRESS", "DEFLATE")
        .option("PREDICTOR", "2");
    let reader = open((1..=3).map(|day| scene(folder.path(), day, &tif)).collect());
    let whole = read(&reader, &reader.extent());
    let Shape { height, width } = reader.extent().shape();
    for (down, across) in [(61, 77), (128, 128), (1, 333), (299, 2)] {
        for row in (0..height).step_by(down) {
            for col in (0..width).step_by(across) {
                let window = Window {
                    row,
                    col,
                    height: down.min(height - row),
                    width: across.min(width - col),
                };
                let part = read(&reader, &reader.extent().window(window));
                for look in 0..3 {
                    for y in 0..window.height {
                        let (start, own) = ((row + y) * width + col, y * window.width);
                        let there = start..start + window.width;
                        let here = own..own + window.width;
                        for band in 0..whole.bands().len() {
                            assert_eq!(
                                part.plane(band, look)[here.clone()],
                                whole.plane(band, look)[there.clone()]
                            );
                        }
                        assert_eq!(part.classes(look)[here], whole.classes(look)[there]);
                    }
                }
            }
        }
    }
}

#[test]
fn a_quarantined_look_has_no_reflectance_where_it_was_acquired() {
    let folder = tempfile::tempdir().unwrap();
    let tif = Tif::default().blocks(128);
    let reader = open((1..=2).map(|day| scene(folder.path(), day, &tif)).collect());
    let (cube, failures) = reader.read(&reader.extent(), &[true, false]).unwrap();
    assert_eq!(failures, []);
    assert!(cube.classes(0).iter().all(|&class| class == QUARANTINED));
    assert!(
        cube.plane(0, 0)
            .iter()
            .all(|&pixel| pixel == MISSING_REFLECTANCE)
    );
    assert!(cube.classes(1).iter().all(|&class| class <= 11));
}

#[test]
fn a_band_that_a_scene_lacks_changes_no_class() {
    let folder = tempfile::tempdir().unwrap();
    let tif = Tif::default().blocks(128);
    let mut scenes: Vec<_> = (1..=2).map(|day| scene(folder.path(), day, &tif)).collect();
    let files = scenes[0].clone();
    scenes[0].sources.remove(1);
    let reader = open(scenes);
    assert_eq!(reader.bands_of(0), [Band::Red]);
    assert_eq!(reader.bands_of(1), [Band::Red, Band::Swir16]);
    let cube = read(&reader, &reader.extent());
    assert!(
        cube.plane(1, 0)
            .iter()
            .all(|&pixel| pixel == MISSING_REFLECTANCE)
    );
    let red = by_gdal(&files.sources[2].href).0;
    for (&class, &number) in cube.classes(0).iter().zip(&red) {
        assert_eq!(class == 0, number == 0);
    }
}

#[test]
fn looks_are_in_order_of_time_then_name() {
    let folder = tempfile::tempdir().unwrap();
    let tif = Tif {
        height: 20,
        width: 20,
        ..Tif::default()
    };
    let mut scenes: Vec<_> = [3, 1, 2].map(|day| scene(folder.path(), day, &tif)).into();
    scenes[0].time = time(1);
    let seen = std::cell::Cell::new(0);
    let (reader, _) = Reader::open(scenes, &BANDS, None, &|n| seen.set(n)).unwrap();
    let names: Vec<_> = reader.looks().iter().map(|look| look.id.as_str()).collect();
    assert_eq!(names, ["S2A_01", "S2A_03", "S2A_02"]);
    assert_eq!(seen.get(), 3);
}

/// A pixel-is-point file gives the center of its first pixel where others give the corner.
#[test]
fn a_file_that_is_placed_by_pixel_centers_lies_where_gdal_puts_it() {
    let folder = tempfile::tempdir().unwrap();
    let tif = Tif::default().blocks(128);
    let files = scene(folder.path(), 1, &tif);
    let mut dataset = tif.start::<u16>(std::path::Path::new(&files.sources[2].href));
    gdal::Metadata::set_metadata_item(&mut dataset, "AREA_OR_POINT", "Point", "").unwrap();
    dataset.close().unwrap();
    let reader = open(vec![files]);
    assert_eq!(reader.extent().origin(), Point { x: tif.x, y: tif.y });
}

#[test]
fn the_real_scene_is_read_as_gdal_reads_it() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(
        "../../../shared/data/cogs/sentinel-s2-l2a-cogs/29/R/KH/2020/2/S2A_29RKH_20200219_0_L2A",
    );
    if !folder.is_dir() {
        eprintln!("SKIP the_real_scene_is_read_as_gdal_reads_it: ../shared/data is absent");
        return;
    }
    let files = SceneFiles {
        id: "S2A_29RKH_20200219_0_L2A".into(),
        time: time(19),
        pass: String::new(),
        sources: vec![
            source(&folder.join("SCL.tif"), None),
            source(&folder.join("B11.tif"), Some(Band::Swir16)),
            source(&folder.join("B04.tif"), Some(Band::Red)),
        ],
    };
    let reader = open(vec![files.clone()]);
    assert_as_gdal(&read(&reader, &reader.extent()), 0, &files, 0);
}

#[test]
fn memory_beside_the_cube_does_not_grow_with_the_looks() {
    let folder = tempfile::tempdir().unwrap();
    let tif = Tif::default().blocks(128);
    let few = open((1..=2).map(|day| scene(folder.path(), day, &tif)).collect());
    let many = open(
        (1..=20)
            .map(|day| scene(folder.path(), day, &tif))
            .collect(),
    );
    assert!(many.scratch_bytes() - few.scratch_bytes() < 4 << 10);
    assert!(many.scratch_bytes() < 32 << 20);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let tif = Tif::default().blocks(128).option("COMPRESS", "DEFLATE");
    let reader = open((1..=5).map(|day| scene(folder.path(), day, &tif)).collect());
    std::fs::write(
        folder.path().join("03_B04.tif"),
        &std::fs::read(folder.path().join("03_B04.tif")).unwrap()[..60_000],
    )
    .unwrap();
    let read_with = |n_threads: usize| {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(n_threads);
        let pool = threads.build().unwrap();
        pool.install(|| reader.read(&reader.extent(), &[false; 5]).unwrap())
    };
    let one = read_with(1);
    assert!(!one.1.is_empty());
    for n_threads in [2, 7] {
        assert!(read_with(n_threads) == one);
    }
}

/// Cells are read side by side from one reader.
#[test]
fn a_reader_is_shared_by_threads() {
    let folder = tempfile::tempdir().unwrap();
    let reader = open(vec![scene(folder.path(), 1, &Tif::default())]);
    let extent = reader.extent();
    std::thread::scope(|scope| {
        for cell in extent.cells(64) {
            let (reader, geobox) = (&reader, extent.window(cell));
            scope.spawn(move || read(reader, &geobox));
        }
    });
}

#[test]
fn the_nodata_value_of_a_file_is_missing_too() {
    let folder = tempfile::tempdir().unwrap();
    let tif = Tif {
        nodata: Some(-9_999.0),
        ..Tif::default().blocks(128)
    };
    let files = scene(folder.path(), 1, &tif);
    let mut pixels = vec![500_i16; tif.height * tif.width];
    pixels[..3].copy_from_slice(&[-9_999, 0, -20]);
    tif.write(std::path::Path::new(&files.sources[2].href), pixels);
    let reader = open(vec![files]);
    let cube = read(&reader, &reader.extent());
    let missing = MISSING_REFLECTANCE;
    assert_eq!(cube.plane(0, 0)[..4], [missing, missing, -20, 500]);
}
