//! Windows of rasters on disk and behind a server.

use std::path::Path;

use gdal::raster::GdalType;
use pitwatch_grid::Window;
use pitwatch_imagery::{Error, read_windows};
use pitwatch_scenes::net::{Access, Limits, Net, Remote, Signing};
use pitwatch_tests::{Fault, Server};
use tempfile::tempdir;

use crate::scene::{Tif, classes, ground};

const CACHE_BYTES: usize = 1 << 20;

fn window(row: usize, col: usize, height: usize, width: usize) -> Window {
    Window {
        row,
        col,
        height,
        width,
    }
}

fn remote(server: &Server) -> Remote {
    let access = Access {
        hosts: vec![server.host()],
        allow_private: true,
        allow_http: true,
    };
    let limits = Limits {
        attempts: 1,
        ..Limits::default()
    };
    Net::new(limits).remote(access, Signing::none()).unwrap()
}

/// The window of a raster of `width` pixels a row; 0 beyond it.
fn cut(pixels: &[u16], width: usize, window: Window) -> Vec<u16> {
    let at = |row: usize, col: usize| {
        let pixel = pixels.get(row * width + col).filter(|_| col < width);
        pixel.copied().unwrap_or(0)
    };
    (window.row..window.row + window.height)
        .flat_map(|row| (window.col..window.col + window.width).map(move |col| (row, col)))
        .map(|(row, col)| at(row, col))
        .collect()
}

#[test]
fn a_chip_in_one_row_of_blocks_takes_two_requests() {
    let folder = tempdir().unwrap();
    let tif = Tif {
        height: 1024,
        width: 1024,
        ..Tif::default()
    };
    let pixels = ground(1024, 1024, 3, 9_000);
    let tif = tif.blocks(128).option("COMPRESS", "DEFLATE");
    tif.write(&folder.path().join("red.tif"), pixels.clone());
    let server = Server::folder(folder.path());
    let href = format!("{}/red.tif", server.url());

    // Three blocks in a row.
    let chip = window(400, 500, 100, 200);
    let read = read_windows(
        &[(href.clone(), chip)],
        Some(&remote(&server)),
        1,
        CACHE_BYTES,
    );
    assert_eq!(read.unwrap().remove(0).unwrap(), cut(&pixels, 1024, chip));
    assert_eq!(server.counts().n_requests, 2, "{:?}", server.log());
    // The header, and three blocks of 32 KiB at most.
    assert!(server.counts().n_bytes <= (16 << 10) + 3 * (32 << 10));

    // The same blocks again, and one of them twice: nothing more is asked for.
    server.reset_counts();
    let chips = [chip, window(410, 510, 10, 10), window(390, 640, 60, 100)];
    let work: Vec<_> = chips.iter().map(|&chip| (href.clone(), chip)).collect();
    let read = read_windows(&work, Some(&remote(&server)), 2, CACHE_BYTES).unwrap();
    for (plane, chip) in read.into_iter().zip(chips) {
        assert_eq!(plane.unwrap(), cut(&pixels, 1024, chip));
    }
    assert_eq!(server.counts().n_requests, 2, "{:?}", server.log());
}

#[test]
fn a_window_that_cannot_be_read_costs_no_other() {
    let folder = tempdir().unwrap();
    let pixels = ground(300, 333, 3, 9_000);
    for name in ["whole.tif", "broken.tif"] {
        let tif = Tif::default().blocks(64).option("COMPRESS", "DEFLATE");
        tif.write(&folder.path().join(name), pixels.clone());
    }
    let server = Server::folder(folder.path());
    // The header comes, the blocks do not.
    server.fault("broken.tif bytes=0-", 1, Fault::Flip(1 << 20));
    server.fault("broken.tif", 9, Fault::Status(500, Vec::new()));
    let href = |name: &str| (format!("{}/{name}", server.url()), window(100, 0, 50, 50));
    let work = [href("absent.tif"), href("whole.tif"), href("broken.tif")];
    let read = read_windows(&work, Some(&remote(&server)), 3, CACHE_BYTES).unwrap();
    for (index, name) in [(0, "absent.tif"), (2, "broken.tif")] {
        let Err(Error::Window { href, .. }) = &read[index] else {
            panic!("{name} is read");
        };
        assert!(href.ends_with(name));
    }
    assert_eq!(
        *read[1].as_ref().unwrap(),
        cut(&pixels, 333, window(100, 0, 50, 50))
    );
}

#[test]
fn a_window_has_the_digital_numbers_whatever_their_form() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("raster.tif");
    let pixels = ground(300, 333, 5, 60_000);
    let deflate = Tif::default().blocks(64).option("COMPRESS", "DEFLATE");
    for tif in [
        Tif::default(),
        Tif::default().blocks(64),
        Tif::default().blocks(64).option("ENDIANNESS", "BIG"),
        Tif::default().option("COMPRESS", "LZW"),
        deflate.clone(),
        deflate.clone().option("PREDICTOR", "2"),
        deflate
            .clone()
            .option("PREDICTOR", "2")
            .option("ENDIANNESS", "BIG"),
    ] {
        check(&path, &tif, pixels.clone(), &pixels);
    }
    let classes = classes(300, 333);
    let wide: Vec<u16> = classes.iter().map(|&class| class.into()).collect();
    check(&path, &deflate, classes.clone(), &wide);
    check(
        &path,
        &deflate.clone().option("PREDICTOR", "2"),
        classes,
        &wide,
    );
    // Of signed rasters the bits; another nodata is 0.
    let signed: Vec<i16> = pixels.iter().map(|&bits| bits.cast_signed()).collect();
    let nodata = pixels[77].cast_signed();
    let tif = Tif {
        nodata: Some(nodata.into()),
        ..deflate
    };
    let bits = |&number: &i16| {
        if number == nodata {
            0
        } else {
            number.cast_unsigned()
        }
    };
    let expected: Vec<u16> = signed.iter().map(bits).collect();
    check(&path, &tif, signed, &expected);
}

/// Writes a raster of 300 × 333 pixels and reads windows of it, with a cache for all blocks and for none.
fn check<T: GdalType + Copy>(path: &Path, tif: &Tif, pixels: Vec<T>, expected: &[u16]) {
    tif.write(path, pixels);
    let windows = [
        window(0, 0, 300, 333),
        window(60, 61, 70, 3),
        window(290, 320, 40, 40),
        window(400, 0, 2, 2),
    ];
    let work = windows.map(|window| (path.to_str().unwrap().to_owned(), window));
    for cache_bytes in [CACHE_BYTES, 0] {
        let read = read_windows(&work, None, 2, cache_bytes).unwrap();
        for (plane, window) in read.into_iter().zip(windows) {
            let plane = plane.unwrap();
            assert!(
                plane == cut(expected, 333, window),
                "{window:?} with {:?}",
                tif.options
            );
        }
    }
}
