//! Several scenes of one pass: tiles that overlap, parts of one tile, and tiles of two zones.

use std::path::Path;

use pitwatch_grid::{Band, Crs, GeoBox, MISSING_REFLECTANCE, NOT_ACQUIRED, Point, Shape};
use pitwatch_imagery::{Reader, SceneFiles};

use crate::scene::{Tif, source, time};

/// Reflectance × 10,000 of the ground at a longitude and latitude, smooth over some hundred meters.
fn ground(lonlat: Point) -> f64 {
    3000.0 + 900.0 * (lonlat.x * 900.0).sin() + 700.0 * (lonlat.y * 1100.0).cos()
}

/// Class of the ground: stripes of 0.02 degrees from north to south.
fn class(lonlat: Point) -> u8 {
    if (lonlat.x * 50.0).floor() as i64 % 2 == 0 {
        4
    } else {
        5
    }
}

fn lonlat(geobox: &GeoBox, row: usize, col: usize) -> Point {
    let corner = geobox.crs_from_pixel(row, col);
    let half = geobox.resolution_m() / 2.0;
    let center = Point {
        x: corner.x + half,
        y: corner.y - half,
    };
    geobox.crs().lonlat_from_crs(center).unwrap()
}

fn geobox(epsg: u32, x: f64, y: f64, height: usize, width: usize) -> GeoBox {
    GeoBox::new(
        Crs::from_epsg(epsg).unwrap(),
        Point { x, y },
        10.0,
        Shape { height, width },
    )
    .unwrap()
}

/// A scene of a pass on its own grid, rows and columns outside `seen` without data.
fn tile(
    folder: &Path,
    name: &str,
    pass: &str,
    place: &GeoBox,
    seen: &dyn Fn(usize, usize) -> bool,
) -> SceneFiles {
    let Shape { height, width } = place.shape();
    let tif = Tif {
        epsg: place.crs().epsg(),
        x: place.origin().x,
        y: place.origin().y,
        width,
        height,
        ..Tif::default()
    };
    let (mut red, mut classes) = (Vec::new(), Vec::new());
    for row in 0..height {
        for col in 0..width {
            let there = lonlat(place, row, col);
            let is_seen = seen(row, col);
            red.push(if is_seen {
                ground(there).round() as u16
            } else {
                0
            });
            classes.push(if is_seen { class(there) } else { 0 });
        }
    }
    let path = |band: &str| folder.join(format!("{name}_{band}.tif"));
    tif.write(&path("B04"), red);
    Tif {
        resolution_m: 10.0,
        ..tif
    }
    .write(&path("SCL"), classes);
    SceneFiles {
        id: name.to_owned(),
        time: time(1),
        pass: pass.to_owned(),
        sources: vec![
            source(&path("SCL"), None),
            source(&path("B04"), Some(Band::Red)),
        ],
    }
}

/// Reads an area and compares it with the ground: the largest error, and how many pixels are missing or of a wrong class.
fn compare(scenes: Vec<SceneFiles>, area: &GeoBox) -> (f64, usize, usize) {
    let (reader, skipped) = Reader::open(scenes, &[Band::Red], Some(area), &|_| ()).unwrap();
    assert!(skipped.is_empty(), "{skipped:?}");
    assert_eq!(reader.looks().len(), 1, "one pass is one look");
    let (cube, failures) = reader.read(area, &[false]).unwrap();
    assert!(failures.is_empty(), "{failures:?}");
    let width = area.shape().width;
    let (mut worst, mut n_missing, mut n_wrong) = (0.0_f64, 0, 0);
    for (index, (&red, &found)) in cube.plane(0, 0).iter().zip(cube.classes(0)).enumerate() {
        let there = lonlat(area, index / width, index % width);
        if red == MISSING_REFLECTANCE || found == 0 || found == NOT_ACQUIRED {
            n_missing += 1;
        } else {
            worst = worst.max((f64::from(red) - ground(there)).abs());
            n_wrong += usize::from(found != class(there));
        }
    }
    (worst, n_missing, n_wrong)
}

#[test]
fn an_area_across_two_zones_has_no_seam() {
    let folder = tempfile::tempdir().unwrap();
    // 6 degrees west, 8.2 north; the tiles overlap by about 1 km.
    let scenes = || {
        vec![
            tile(
                folder.path(),
                "west",
                "S2A_1",
                &geobox(32629, 826_000.0, 909_000.0, 400, 500),
                &|_, _| true,
            ),
            tile(
                folder.path(),
                "east",
                "S2A_1",
                &geobox(32630, 168_800.0, 908_800.0, 400, 500),
                &|_, _| true,
            ),
        ]
    };
    for area in [
        geobox(32629, 828_000.0, 908_000.0, 200, 500),
        geobox(32630, 167_000.0, 907_800.0, 200, 400),
    ] {
        let (worst, n_missing, n_wrong) = compare(scenes(), &area);
        assert_eq!(n_missing, 0, "{}", area.crs());
        // Rounding, and the cubic kernel on a field of some hundred meters' period.
        assert!(worst < 15.0, "{worst} {}", area.crs());
        // A stripe's edge lies within a pixel: the nearest one may be on its other side.
        let n_pixels = area.shape().n_pixels();
        assert!(
            n_wrong * 500 < n_pixels,
            "{n_wrong} of {n_pixels} {}",
            area.crs()
        );
    }
}

#[test]
fn tiles_of_one_zone_and_parts_of_one_tile_are_one_look() {
    let folder = tempfile::tempdir().unwrap();
    let area = geobox(32630, 205_000.0, 985_000.0, 300, 300);
    let scenes = vec![
        // The west with a wedge of nothing, the east in two parts of a split downlink.
        tile(
            folder.path(),
            "a",
            "S2B_2",
            &geobox(32630, 204_000.0, 986_000.0, 500, 300),
            &|row, col| col < 250 - row / 10,
        ),
        tile(
            folder.path(),
            "b",
            "S2B_2",
            &geobox(32630, 206_000.0, 986_000.0, 500, 300),
            &|row, _| row < 200,
        ),
        tile(
            folder.path(),
            "c",
            "S2B_2",
            &geobox(32630, 206_000.0, 986_000.0, 500, 300),
            &|row, _| row >= 195,
        ),
    ];
    let (worst, n_missing, n_wrong) = compare(scenes.clone(), &area);
    assert_eq!((n_missing, n_wrong), (0, 0));
    assert!(worst <= 0.5, "{worst}");
    // The order in which they come does not matter.
    let read = |scenes: Vec<SceneFiles>| {
        let (reader, _) = Reader::open(scenes, &[Band::Red], Some(&area), &|_| ()).unwrap();
        let (cube, _) = reader.read(&area, &[false]).unwrap();
        (
            cube.reflectance().to_vec(),
            cube.all_classes().to_vec(),
            reader.looks()[0].id.clone(),
        )
    };
    let turned: Vec<SceneFiles> = scenes.iter().rev().cloned().collect();
    assert_eq!(read(scenes), read(turned));
}

#[test]
fn what_the_first_scene_cannot_give_comes_from_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let place = geobox(32630, 205_000.0, 985_000.0, 300, 300);
    let scenes = vec![
        tile(folder.path(), "a", "S2B_3", &place, &|_, _| true),
        tile(folder.path(), "b", "S2B_3", &place, &|_, _| true),
    ];
    let broken = scenes[0].sources[1].href.clone();
    let bytes = std::fs::read(&broken).unwrap();
    std::fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();
    let (reader, skipped) = Reader::open(scenes, &[Band::Red], None, &|_| ()).unwrap();
    let (cube, failures) = reader.read(&place, &[false]).unwrap();
    assert!(!failures.is_empty() || !skipped.is_empty());
    assert!(
        cube.plane(0, 0)
            .iter()
            .all(|&red| red != MISSING_REFLECTANCE)
    );
}

#[test]
fn passes_that_differ_stay_apart() {
    let folder = tempfile::tempdir().unwrap();
    let place = geobox(32630, 205_000.0, 985_000.0, 64, 64);
    let scenes = vec![
        tile(folder.path(), "a", "S2A_1", &place, &|_, _| true),
        tile(folder.path(), "b", "S2B_1", &place, &|_, _| true),
        tile(folder.path(), "c", "", &place, &|_, _| true),
        tile(folder.path(), "d", "", &place, &|_, _| true),
    ];
    let (reader, _) = Reader::open(scenes, &[Band::Red], None, &|_| ()).unwrap();
    assert_eq!(reader.looks().len(), 4);
}
