use std::path::Path;

use pitwatch_grid::{Band, Cube, MISSING_REFLECTANCE, READ_FAILED, Window};
use pitwatch_imagery::{ReadFailure, Reader, SceneFiles};

use crate::reading::open;
use crate::scene::{Tif, noise, scene};

fn tif() -> Tif {
    Tif::default()
        .blocks(128)
        .option("COMPRESS", "DEFLATE")
        .option("PREDICTOR", "2")
}

/// Overwrites the middle of a block's bytes, found by its place in the file's list of blocks.
fn spoil_block(path: &Path, block: usize) {
    let dataset = gdal::Dataset::open(path).unwrap();
    let band = dataset.rasterband(1).unwrap();
    let across = band.x_size().div_ceil(128);
    let (col, row) = (block % across, block / across);
    let item = |name: &str| -> usize {
        let item = format!("{name}_{col}_{row}");
        let value = gdal::Metadata::metadata_item(&band, &item, "TIFF").unwrap();
        value.parse().unwrap()
    };
    let (offset, length) = (item("BLOCK_OFFSET"), item("BLOCK_SIZE"));
    let mut bytes = std::fs::read(path).unwrap();
    for byte in &mut bytes[offset + length / 2..offset + length / 2 + 8] {
        *byte ^= 0xff;
    }
    std::fs::write(path, bytes).unwrap();
}

fn read(reader: &Reader) -> (Cube, Vec<ReadFailure>) {
    reader
        .read(&reader.extent(), &vec![false; reader.looks().len()])
        .unwrap()
}

#[test]
fn a_damaged_block_loses_the_pixels_under_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    let scenes: Vec<SceneFiles> = (1..=2)
        .map(|day| scene(folder.path(), day, &tif()))
        .collect();
    let sound = open(scenes.clone());
    let (before, _) = read(&sound);

    // Block 4 of red is row 1, column 1: pixels 128 to 255. Block 1 of the classes is column 1, 128 pixels of 20 m
    // from column 256 of 10 m.
    spoil_block(Path::new(&scenes[1].sources[2].href), 4);
    spoil_block(Path::new(&scenes[1].sources[0].href), 1);
    let reader = open(scenes);
    let (after, failures) = read(&reader);
    assert_eq!(failures.len(), 2);
    assert!(failures.iter().all(|failure| failure.scene == "S2A_02"));
    assert!(failures[0].href.ends_with("02_B04.tif"), "{failures:?}");
    assert!(
        failures[0]
            .reason
            .starts_with("its block in row 1, column 1 cannot be read: "),
        "{failures:?}"
    );
    assert_eq!(before.plane(0, 0), after.plane(0, 0));
    assert_eq!(before.classes(0), after.classes(0));
    for row in 0..300 {
        for col in 0..333 {
            let pixel = row * 333 + col;
            let is_red = (128..256).contains(&row) && (128..256).contains(&col);
            let is_classes = row < 256 && col >= 256;
            if is_red || is_classes {
                assert_eq!(after.classes(1)[pixel], READ_FAILED);
                assert_eq!(after.plane(0, 1)[pixel], MISSING_REFLECTANCE);
                assert_eq!(after.plane(1, 1)[pixel], MISSING_REFLECTANCE);
            } else {
                assert_eq!(after.classes(1)[pixel], before.classes(1)[pixel]);
                assert_eq!(after.plane(0, 1)[pixel], before.plane(0, 1)[pixel]);
                assert_eq!(after.plane(1, 1)[pixel], before.plane(1, 1)[pixel]);
            }
        }
    }

    // A window that touches the block gives the same words.
    let window = Window {
        row: 200,
        col: 200,
        height: 10,
        width: 10,
    };
    let (_, part) = reader
        .read(&reader.extent().window(window), &[false; 2])
        .unwrap();
    assert_eq!(part, failures[..1]);
}

#[test]
fn a_truncated_file_keeps_the_blocks_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let scenes = vec![scene(folder.path(), 1, &tif())];
    let (before, _) = read(&open(scenes.clone()));
    let path = Path::new(&scenes[0].sources[2].href);
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..bytes.len() * 3 / 4]).unwrap();
    let (after, failures) = read(&open(scenes));
    assert!(!failures.is_empty());
    assert!(
        failures
            .iter()
            .all(|failure| failure.reason.contains("it is truncated")),
        "{failures:?}"
    );
    let lost = after
        .classes(0)
        .iter()
        .filter(|&&c| c == READ_FAILED)
        .count();
    assert!(lost > 0 && lost < after.classes(0).len() / 2, "{lost}");
    for (pixel, &class) in after.classes(0).iter().enumerate() {
        if class != READ_FAILED {
            assert_eq!(class, before.classes(0)[pixel]);
            assert_eq!(after.plane(0, 0)[pixel], before.plane(0, 0)[pixel]);
        }
    }
}

/// A file that vanishes or changes after its header was read.
#[test]
fn a_file_that_vanishes_fails_where_it_lay() {
    let folder = tempfile::tempdir().unwrap();
    let scenes = vec![
        scene(folder.path(), 1, &tif()),
        scene(folder.path(), 2, &tif()),
    ];
    let reader = open(scenes.clone());
    std::fs::remove_file(&scenes[0].sources[2].href).unwrap();
    let (cube, failures) = read(&reader);
    assert_eq!(failures.len(), 9);
    assert!(cube.classes(0).iter().all(|&class| class == READ_FAILED));
    assert!(cube.classes(1).iter().all(|&class| class <= 11));
}

/// Flips or cuts a real small file at 200 seeded places. The pixels are guarded by checksums, so a change there is
/// either without effect or reported; a change in the header may move or rename the raster, but never panics.
#[test]
fn damage_anywhere_never_panics_nor_changes_a_pixel_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let small = Tif {
        height: 150,
        width: 170,
        ..tif()
    };
    for (day, layout) in [
        (1, small.clone()),
        (2, small.clone().option("BIGTIFF", "YES")),
        (3, small.option("ENDIANNESS", "BIG")),
    ] {
        let files = scene(folder.path(), day, &layout);
        let good = scene(folder.path(), day + 10, &layout);
        let scenes = vec![files.clone(), good];
        let path = Path::new(&files.sources[2].href);
        let bytes = std::fs::read(path).unwrap();
        let (sound, _) = read(&open(scenes.clone()));
        let reader = open(scenes.clone());
        let (lattice, extent) = (reader.lattice().clone(), reader.extent());
        let start = first_block(path);

        let mut next = noise(day.into());
        let mut outcomes = [0; 4];
        for trial in 0..200 {
            let mut damaged = bytes.clone();
            // Half of the places lie in the header, which is a small part of the file.
            let size = if trial % 2 == 0 { start } else { bytes.len() };
            let place = usize::try_from(next()).unwrap() % size;
            let is_cut = trial % 10 == 0;
            if is_cut {
                damaged.truncate(place);
            } else {
                damaged[place] ^= u8::try_from(next() % 255 + 1).unwrap();
            }
            std::fs::write(path, damaged).unwrap();
            let (reader, skipped) = Reader::open(
                scenes.clone(),
                &[Band::Red, Band::Nir, Band::Swir16],
                Some(&lattice),
                &|_| (),
            )
            .unwrap();
            if !skipped.is_empty() {
                assert!(skipped[0].reason.contains("B04.tif"), "{skipped:?}");
                outcomes[0] += 1;
                continue;
            }
            let (cube, failures) = reader.read(&extent, &[false; 2]).unwrap();
            assert_eq!(cube.plane(0, 1), sound.plane(0, 1));
            assert_eq!(cube.classes(1), sound.classes(1));
            if !failures.is_empty() {
                assert!(cube.classes(0).contains(&READ_FAILED));
                outcomes[1] += 1;
            } else if cube == sound {
                outcomes[2] += 1;
            } else {
                assert!(place < start, "byte {place} changed pixels in silence");
                outcomes[3] += 1;
            }
        }
        assert!(
            outcomes[..3].iter().all(|&count| count > 0),
            "skipped, failed, same, moved: {outcomes:?}"
        );
        std::fs::write(path, bytes).unwrap();
    }
}

/// Where the first block of a file starts; the header lies before it.
fn first_block(path: &Path) -> usize {
    let dataset = gdal::Dataset::open(path).unwrap();
    let band = dataset.rasterband(1).unwrap();
    let offset = |item: &str| {
        gdal::Metadata::metadata_item(&band, item, "TIFF")
            .unwrap()
            .parse::<usize>()
            .unwrap()
    };
    [
        "BLOCK_OFFSET_0_0",
        "BLOCK_OFFSET_1_0",
        "BLOCK_OFFSET_0_1",
        "BLOCK_OFFSET_1_1",
    ]
    .map(offset)
    .into_iter()
    .min()
    .unwrap()
}
