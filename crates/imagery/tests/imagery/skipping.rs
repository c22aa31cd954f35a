use pitwatch_grid::{Band, Crs, GeoBox, Point, Shape};
use pitwatch_imagery::{Error, Reader, SceneFiles};

use crate::scene::{Tif, ground, scene};

/// Two good scenes and one that `spoil` has changed: why is it skipped?
fn reason_of(spoil: impl Fn(&mut SceneFiles)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let tif = Tif::default().blocks(128).option("COMPRESS", "DEFLATE");
    let mut scenes: Vec<_> = (1..=3).map(|day| scene(folder.path(), day, &tif)).collect();
    spoil(&mut scenes[0]);
    let href = scenes[0].sources.last().unwrap().href.clone();
    let (reader, skipped) =
        Reader::open(scenes, &[Band::Red, Band::Swir16], None, &|_| ()).unwrap();
    assert_eq!(reader.looks().len(), 2);
    assert_eq!((skipped.len(), skipped[0].id.as_str()), (1, "S2A_01"));
    skipped[0].reason.replace(&href, "FILE")
}

fn red(files: &SceneFiles) -> &std::path::Path {
    std::path::Path::new(&files.sources[2].href)
}

fn rewritten(tif: Tif) -> impl Fn(&mut SceneFiles) {
    move |files| tif.write(red(files), ground(tif.height, tif.width, 1, 9_000))
}

#[test]
fn a_scene_with_a_bad_file_is_skipped_and_the_reason_names_the_file() {
    let good = Tif::default().blocks(128);
    let reasons = [
        (
            reason_of(|files| std::fs::remove_file(red(files)).unwrap()),
            "FILE: it cannot be opened: there is no such file",
        ),
        (
            reason_of(|files| std::fs::write(red(files), "not a raster").unwrap()),
            "FILE: it is no TIFF file",
        ),
        (
            reason_of(|files| {
                let bytes = std::fs::read(red(files)).unwrap();
                std::fs::write(red(files), &bytes[..100]).unwrap();
            }),
            "is truncated",
        ),
        (
            reason_of(|files| std::fs::write(red(files), "").unwrap()),
            "FILE: it is no TIFF file",
        ),
        (
            reason_of(|files| files.sources[2].href = "https://example.org/B04.tif".into()),
            "FILE: https addresses are read by fetching alone; bring the scene into a mirror",
        ),
        (
            reason_of(|files| drop(files.sources.remove(0))),
            "it has no scene classification",
        ),
        (
            reason_of(|files| files.sources.truncate(1)),
            "it has none of the bands wanted",
        ),
        (
            reason_of(|files| {
                good.write::<f32>(red(files), vec![0.5; good.height * good.width]);
            }),
            "FILE: its pixels are 32-bit floating-point numbers",
        ),
        (
            reason_of(rewritten(good.clone().option("COMPRESS", "ZSTD"))),
            "FILE: its compression ZSTD is not supported; convert it with gdal_translate",
        ),
        (
            reason_of(rewritten(Tif {
                epsg: 32631,
                ..good.clone()
            })),
            "it is in EPSG:32630, and EPSG:32631 is read",
        ),
        (
            reason_of(rewritten(Tif {
                epsg: 4326,
                ..good.clone()
            })),
            "FILE: it has no projected reference system",
        ),
        (
            reason_of(rewritten(Tif {
                x: good.x + 3.0,
                ..good.clone()
            })),
            "does not lie on the lattice",
        ),
        (
            reason_of(rewritten(Tif {
                resolution_m: 15.0,
                ..good.clone()
            })),
            "are no multiple of 10 m",
        ),
        (
            reason_of(rewritten(Tif {
                resolution_m: 20.0,
                ..good.clone()
            })),
            "FILE: its finest pixels have 20 m, and 10 m are read",
        ),
        (
            reason_of(rewritten(Tif {
                x: good.x + 1e5,
                ..good.clone()
            })),
            "it lies elsewhere than FILE",
        ),
    ];
    for (reason, expected) in reasons {
        assert!(reason.contains(expected), "{reason}\n{expected}");
    }
}

#[test]
fn a_lattice_that_is_given_decides() {
    let folder = tempfile::tempdir().unwrap();
    let tif = Tif::default();
    let elsewhere = GeoBox::new(
        Crs::from_epsg(32631).unwrap(),
        Point { x: 0.0, y: 0.0 },
        10.0,
        Shape {
            height: 1,
            width: 1,
        },
    )
    .unwrap();
    let other = Tif {
        epsg: 32631,
        ..tif.clone()
    };
    let scenes = vec![
        scene(folder.path(), 1, &tif),
        scene(folder.path(), 2, &tif),
        scene(folder.path(), 3, &other),
    ];
    let (reader, skipped) = Reader::open(scenes, &[Band::Red], Some(&elsewhere), &|_| ()).unwrap();
    assert_eq!(reader.lattice(), &elsewhere);
    // Those of another zone are resampled to it.
    assert_eq!((reader.looks().len(), skipped.len()), (3, 0));
}

#[test]
fn no_usable_scene_is_an_error_that_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let files = scene(folder.path(), 1, &Tif::default());
    std::fs::remove_file(red(&files)).unwrap();
    let error = Reader::open(vec![files], &[Band::Red], None, &|_| ()).unwrap_err();
    assert!(matches!(&error, Error::NothingToRead { skipped } if skipped.len() == 1));
    assert!(
        error.to_string().contains("there is no such file"),
        "{error}"
    );
    assert!(Reader::open(vec![], &[Band::Red], None, &|_| ()).is_err());
}

#[test]
fn a_window_off_the_lattice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let files = scene(folder.path(), 1, &Tif::default());
    let (reader, _) = Reader::open(vec![files], &[Band::Red], None, &|_| ()).unwrap();
    let shifted = GeoBox::new(
        reader.lattice().crs().clone(),
        Point {
            x: 205_005.0,
            y: 985_000.0,
        },
        10.0,
        Shape {
            height: 4,
            width: 4,
        },
    )
    .unwrap();
    assert!(matches!(
        reader.read(&shifted, &[false]),
        Err(Error::OffLattice { .. })
    ));
}
