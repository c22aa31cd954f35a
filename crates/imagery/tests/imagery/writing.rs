use std::path::Path;

use gdal::raster::ColorInterpretation;
use gdal::{Dataset, Metadata};
use pitwatch_grid::{Crs, GeoBox, Point, Shape, Window};
use pitwatch_imagery::{
    Error, OverviewResampling, PaletteEntry, Pixel, PixelType, RasterSpec, RasterWriter,
};

fn geobox(height: usize, width: usize) -> GeoBox {
    let origin = Point {
        x: 205_000.0,
        y: 985_000.0,
    };
    GeoBox::new(
        Crs::from_epsg(32630).unwrap(),
        origin,
        10.0,
        Shape { height, width },
    )
    .unwrap()
}

fn states() -> RasterSpec {
    let entry = |value, rgba, name: &str| PaletteEntry {
        value,
        rgba,
        name: name.into(),
    };
    RasterSpec {
        nodata: Some(255.0),
        palette: vec![
            entry(1, [220, 220, 220, 255], "stable"),
            entry(3, [215, 48, 39, 255], "changed"),
            entry(255, [0, 0, 0, 0], "not monitored"),
        ],
        tags: vec![
            (
                "TIFFTAG_COPYRIGHT".into(),
                "Contains modified Copernicus Sentinel data".into(),
            ),
            ("PIPELINE".into(), "demo".into()),
        ],
        descriptions: vec!["state".into()],
        overviews: OverviewResampling::Mode,
        ..RasterSpec::new(geobox(700, 1_300), PixelType::U8, 1)
    }
}

/// Writes all pixels in windows of `size`, in order or backwards.
fn write<T: Pixel>(
    path: &Path,
    spec: &RasterSpec,
    size: usize,
    is_backwards: bool,
    pixel: impl Fn(usize, usize, usize) -> T,
) {
    let mut writer = RasterWriter::create(path, spec.clone()).unwrap();
    let mut cells = spec.geobox.cells(size);
    if is_backwards {
        cells.reverse();
    }
    for band in 0..spec.n_bands {
        for &window in &cells {
            let values: Vec<T> = (0..window.height)
                .flat_map(|row| (0..window.width).map(move |col| (row, col)))
                .map(|(row, col)| pixel(band, window.row + row, window.col + col))
                .collect();
            writer.write(band, window, &values).unwrap();
        }
    }
    writer.finish().unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn is_cog(path: &Path) -> bool {
    let dataset = Dataset::open(path).unwrap();
    dataset
        .metadata_item("LAYOUT", "IMAGE_STRUCTURE")
        .as_deref()
        == Some("COG")
}

#[test]
fn a_class_raster_keeps_its_palette_tags_and_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.tif");
    let state = |row: usize, col: usize| {
        if (row / 30 + col / 40).is_multiple_of(3) {
            3
        } else {
            1_u8
        }
    };
    write(&path, &states(), 512, false, |_, row, col| state(row, col));
    assert_eq!(names(folder.path()), ["state.tif"]);
    assert!(is_cog(&path));

    let dataset = Dataset::open(&path).unwrap();
    assert_eq!(dataset.raster_size(), (1_300, 700));
    assert_eq!(
        dataset.geo_transform().unwrap(),
        geobox(700, 1_300).gdal_transform()
    );
    assert_eq!(dataset.spatial_ref().unwrap().auth_code().unwrap(), 32630);
    assert_eq!(
        dataset.metadata_item("TIFFTAG_COPYRIGHT", "").as_deref(),
        Some("Contains modified Copernicus Sentinel data")
    );
    assert_eq!(
        dataset.metadata_item("PIPELINE", "").as_deref(),
        Some("demo")
    );
    let band = dataset.rasterband(1).unwrap();
    assert_eq!(band.description().unwrap(), "state");
    assert_eq!(band.no_data_value(), Some(255.0));
    assert_eq!(band.block_size(), (512, 512));
    assert_eq!(band.overview_count().unwrap(), 2);
    assert_eq!(
        band.color_interpretation(),
        ColorInterpretation::PaletteIndex
    );
    assert_eq!(
        band.metadata_item("class_3", "").as_deref(),
        Some("changed")
    );
    let color = band.color_table().unwrap().entry_as_rgb(3).unwrap();
    assert_eq!((color.r, color.g, color.b), (215, 48, 39));
    let pixels = band.read_band_as::<u8>().unwrap();
    for (index, &pixel) in pixels.data().iter().enumerate() {
        assert_eq!(pixel, state(index / 1_300, index % 1_300));
    }
}

#[test]
fn every_pixel_type_comes_back() {
    fn comes_back<T: Pixel + PartialEq + std::fmt::Debug>(
        folder: &Path,
        pixel: impl Fn(usize, usize, usize) -> T,
    ) {
        let path = folder.join(format!("{:?}.tif", T::TYPE));
        let spec = RasterSpec::new(geobox(530, 77), T::TYPE, 2);
        write(&path, &spec, 100, false, &pixel);
        assert!(is_cog(&path));
        let dataset = Dataset::open(&path).unwrap();
        for band in 0..2 {
            let pixels = dataset
                .rasterband(band + 1)
                .unwrap()
                .read_band_as::<T>()
                .unwrap();
            for (index, value) in pixels.data().iter().enumerate() {
                assert_eq!(*value, pixel(band, index / 77, index % 77));
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    comes_back(folder.path(), |band, row, col| {
        u8::try_from((band + row + col) % 256).unwrap()
    });
    comes_back(folder.path(), |band, row, col| {
        u16::try_from(band + row * col).unwrap()
    });
    comes_back(folder.path(), |band, row, col| {
        i32::try_from(band + row * 100_000 + col).unwrap() - 1_000_000
    });
    comes_back(folder.path(), |band, row, col| {
        (band + row) as f32 / (col + 1) as f32
    });
    let n_files = names(folder.path()).len();
    assert_eq!(n_files, 4);
}

#[test]
fn a_picture_is_red_green_and_blue() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("after_rgb.tif");
    let spec = RasterSpec {
        nodata: Some(0.0),
        overviews: OverviewResampling::Average,
        ..RasterSpec::new(geobox(600, 600), PixelType::U8, 3)
    };
    write(&path, &spec, 512, false, |band, row, _| {
        u8::try_from(band * 80 + row % 50 + 1).unwrap()
    });
    let dataset = Dataset::open(&path).unwrap();
    for (index, color) in [
        ColorInterpretation::RedBand,
        ColorInterpretation::GreenBand,
        ColorInterpretation::BlueBand,
    ]
    .into_iter()
    .enumerate()
    {
        let band = dataset.rasterband(index + 1).unwrap();
        assert_eq!(band.color_interpretation(), color);
        assert_eq!(band.overview_count().unwrap(), 1);
    }
}

#[test]
fn the_same_pixels_give_the_same_bytes_however_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let date = |_, row: usize, col: usize| i32::try_from(18_000 + row / 9 + col / 7).unwrap();
    let spec = RasterSpec {
        nodata: Some(-1.0),
        ..RasterSpec::new(geobox(1_100, 900), PixelType::I32, 1)
    };
    let mut files = Vec::new();
    for (name, size, is_backwards) in [("a", 512, false), ("b", 512, true), ("c", 130, false)] {
        let path = folder.path().join(format!("{name}.tif"));
        write(&path, &spec, size, is_backwards, date);
        files.push(std::fs::read(&path).unwrap());
    }
    assert!(files[0] == files[1] && files[0] == files[2]);
}

#[test]
fn pixels_that_are_never_written_are_nodata() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("confidence.tif");
    let spec = RasterSpec {
        nodata: Some(f64::NAN),
        ..RasterSpec::new(geobox(600, 600), PixelType::F32, 1)
    };
    let mut writer = RasterWriter::create(&path, spec).unwrap();
    let window = Window {
        row: 10,
        col: 520,
        height: 2,
        width: 2,
    };
    writer.write(0, window, &[0.5_f32; 4]).unwrap();
    writer.finish().unwrap();
    let dataset = Dataset::open(&path).unwrap();
    let pixels = dataset
        .rasterband(1)
        .unwrap()
        .read_band_as::<f32>()
        .unwrap();
    let written = pixels.data().iter().filter(|value| !value.is_nan());
    assert_eq!(written.copied().collect::<Vec<_>>(), [0.5; 4]);
}

#[test]
fn an_unfinished_raster_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.tif");
    std::fs::write(&path, "yesterday's").unwrap();
    let mut writer = RasterWriter::create(&path, states()).unwrap();
    let window = Window {
        row: 0,
        col: 0,
        height: 1,
        width: 2,
    };
    writer.write(0, window, &[1_u8, 3]).unwrap();
    assert!(names(folder.path()).len() > 1);
    drop(writer);
    assert_eq!(names(folder.path()), ["state.tif"]);
    assert_eq!(std::fs::read(&path).unwrap(), b"yesterday's");
}

#[test]
fn what_cannot_be_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.tif");
    let refused = |spec: RasterSpec| RasterWriter::create(&path, spec).unwrap_err();
    assert!(matches!(
        refused(RasterSpec {
            overviews: OverviewResampling::Average,
            ..states()
        }),
        Error::Raster { .. }
    ));
    assert!(matches!(
        refused(RasterSpec {
            pixel_type: PixelType::U16,
            ..states()
        }),
        Error::Raster { .. }
    ));
    let nowhere = folder.path().join("absent/state.tif");
    let error = RasterWriter::create(&nowhere, states()).unwrap_err();
    assert!(error.to_string().contains("absent/state.tif"), "{error}");

    let mut writer = RasterWriter::create(&path, states()).unwrap();
    let window = |height, width| Window {
        row: 0,
        col: 0,
        height,
        width,
    };
    assert!(writer.write(0, window(1, 1), &[1_u16]).is_err());
    assert!(writer.write(1, window(1, 1), &[1_u8]).is_err());
    assert!(writer.write(0, window(1, 2), &[1_u8]).is_err());
    assert!(writer.write(0, window(1, 1_301), &[1_u8; 1_301]).is_err());
    drop(writer);
    assert_eq!(names(folder.path()), [""; 0]);
}
