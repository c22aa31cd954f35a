//! Files of made-up scenes, written by GDAL.

use std::path::{Path, PathBuf};

use gdal::raster::{Buffer, GdalType, RasterCreationOptions};
use gdal::spatial_ref::SpatialRef;
use gdal::{Dataset, DriverManager};
use pitwatch_grid::{Band, UtcTime, parse_time};
use pitwatch_imagery::{SceneFiles, Source};

/// A raster to be written by GDAL.
#[derive(Clone)]
pub(crate) struct Tif {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) resolution_m: f64,
    pub(crate) epsg: u32,
    pub(crate) nodata: Option<f64>,
    pub(crate) options: Vec<(&'static str, String)>,
    pub(crate) overviews: Vec<i32>,
}

impl Default for Tif {
    fn default() -> Self {
        Self {
            height: 300,
            width: 333,
            x: 205_000.0,
            y: 985_000.0,
            resolution_m: 10.0,
            epsg: 32630,
            nodata: Some(0.0),
            options: Vec::new(),
            overviews: Vec::new(),
        }
    }
}

impl Tif {
    /// Half as many pixels of twice the size.
    pub(crate) fn coarse(&self) -> Self {
        Self {
            height: self.height.div_ceil(2),
            width: self.width.div_ceil(2),
            resolution_m: self.resolution_m * 2.0,
            ..self.clone()
        }
    }

    pub(crate) fn blocks(mut self, size: usize) -> Self {
        for (name, value) in [
            ("TILED", "YES"),
            ("BLOCKXSIZE", &size.to_string()),
            ("BLOCKYSIZE", &size.to_string()),
        ] {
            self.options.push((name, value.to_owned()));
        }
        self
    }

    pub(crate) fn option(mut self, name: &'static str, value: &str) -> Self {
        self.options.push((name, value.to_owned()));
        self
    }

    pub(crate) fn write<T: GdalType + Copy>(&self, path: &Path, pixels: Vec<T>) {
        let mut dataset = self.start::<T>(path);
        let size = (self.width, self.height);
        let mut band = dataset.rasterband(1).unwrap();
        band.write((0, 0), size, &mut Buffer::new(size, pixels))
            .unwrap();
        if !self.overviews.is_empty() {
            dataset
                .build_overviews("NEAREST", &self.overviews, &[])
                .unwrap();
        }
        dataset.close().unwrap();
    }

    pub(crate) fn start<T: GdalType>(&self, path: &Path) -> Dataset {
        let mut options = RasterCreationOptions::new();
        for (name, value) in &self.options {
            options.set_name_value(name, value).unwrap();
        }
        let mut dataset = DriverManager::get_driver_by_name("GTiff")
            .unwrap()
            .create_with_band_type_with_options::<T, _>(path, self.width, self.height, 1, &options)
            .unwrap();
        let system = SpatialRef::from_epsg(self.epsg).unwrap();
        dataset.set_spatial_ref(&system).unwrap();
        let (x, y, side) = (self.x, self.y, self.resolution_m);
        dataset
            .set_geo_transform(&[x, side, 0.0, y, 0.0, -side])
            .unwrap();
        if self.nodata.is_some() {
            let mut band = dataset.rasterband(1).unwrap();
            band.set_no_data_value(self.nodata).unwrap();
        }
        dataset
    }
}

/// Seeded numbers in 0..2^31 (Lehmer's generator: Park and Miller 1988).
pub(crate) fn noise(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed % 2_147_483_646 + 1;
    move || {
        state = state * 48_271 % 2_147_483_647;
        state
    }
}

/// Smooth ground with noise and a tenth of nodata, within 0..`top`.
pub(crate) fn ground(height: usize, width: usize, seed: u64, top: u64) -> Vec<u16> {
    let mut next = noise(seed);
    (0..height * width)
        .map(|index| {
            let slope = (index / width + index % width) as u64 * top / (height + width) as u64;
            let number = if next().is_multiple_of(10) {
                0
            } else {
                (slope + next() % 50) % top
            };
            u16::try_from(number).unwrap()
        })
        .collect()
}

/// Classes 1 to 11 in patches.
pub(crate) fn classes(height: usize, width: usize) -> Vec<u8> {
    let class = |index: usize| u8::try_from((index / width / 7 + index % width / 5) % 11).unwrap();
    (0..height * width).map(|index| class(index) + 1).collect()
}

pub(crate) fn source(path: &Path, band: Option<Band>) -> Source {
    Source {
        href: path.to_str().unwrap().to_owned(),
        band,
        offset: 0,
        scale: 1e-4,
    }
}

pub(crate) fn time(day: u32) -> UtcTime {
    parse_time(&format!("2020-02-{day:02}T10:48:29Z")).unwrap()
}

/// A scene of red at 10 m and short-wave infrared and classes at 20 m, as `tif` says.
pub(crate) fn scene(folder: &Path, day: u32, tif: &Tif) -> SceneFiles {
    let path = |name: &str| -> PathBuf { folder.join(format!("{day:02}_{name}.tif")) };
    let coarse = tif.coarse();
    let seed = u64::from(day);
    tif.write(&path("B04"), ground(tif.height, tif.width, seed, 10_000));
    coarse.write(
        &path("B11"),
        ground(coarse.height, coarse.width, seed + 100, 10_000),
    );
    coarse.write(&path("SCL"), classes(coarse.height, coarse.width));
    SceneFiles {
        id: format!("S2A_{day:02}"),
        time: time(day),
        pass: String::new(),
        sources: vec![
            source(&path("SCL"), None),
            source(&path("B11"), Some(Band::Swir16)),
            source(&path("B04"), Some(Band::Red)),
        ],
    }
}

/// The first band of a file, as GDAL reads it.
pub(crate) fn by_gdal(path: &str) -> (Vec<i32>, usize) {
    let dataset = Dataset::open(path).unwrap();
    let band = dataset.rasterband(1).unwrap();
    let buffer = band.read_band_as::<i32>().unwrap();
    let width = buffer.width();
    (buffer.into_shape_and_vec().1, width)
}
