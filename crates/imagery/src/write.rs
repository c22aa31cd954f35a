use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Once;

use gdal::errors::GdalError;
use gdal::raster::{
    Buffer, ColorEntry, ColorInterpretation, ColorTable, GdalType, RasterCreationOptions,
};
use gdal::spatial_ref::SpatialRef;
use gdal::{Dataset, DriverManager, Metadata};
use pitwatch_grid::{GeoBox, Window};

use crate::error::{Error, Result};

/// Pixels along a side of a block of a result raster.
const BLOCK_SIZE: &str = "512";
/// Megabytes of pixels that GDAL keeps before it writes them.
const GDAL_CACHE_MB: &str = "32";

/// What the pixels of a result raster are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PixelType {
    /// `u8`.
    U8,
    /// `u16`.
    U16,
    /// `i32`.
    I32,
    /// `f32`.
    F32,
}

/// How the pixels of an overview come from those it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverviewResampling {
    /// One of them. For dates and counts.
    Nearest,
    /// The most frequent of them. For classes.
    Mode,
    /// Their mean. For pictures and probabilities.
    Average,
}

/// The color and the meaning of one value of a class raster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaletteEntry {
    /// The pixel's value.
    pub value: u8,
    /// Red, green, blue, alpha. TIFF has no place for alpha: only the nodata value is seen through.
    pub rgba: [u8; 4],
    /// What the value means. It becomes the band's metadata item `class_VALUE`.
    pub name: String,
}

/// What a result raster is, before it has pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct RasterSpec {
    /// Where its pixels are.
    pub geobox: GeoBox,
    /// What its pixels are.
    pub pixel_type: PixelType,
    /// How many bands it has. Three bands of `u8` are red, green and blue.
    pub n_bands: usize,
    /// The value of a pixel that holds nothing; pixels that are never written have it (else 0).
    pub nodata: Option<f64>,
    /// Colors of the values; only for one band of `u8`.
    pub palette: Vec<PaletteEntry>,
    /// Metadata of the file: `TIFFTAG_COPYRIGHT` and the like become TIFF tags.
    pub tags: Vec<(String, String)>,
    /// What each band is; as many as there are bands, or none.
    pub descriptions: Vec<String>,
    /// How overviews are made.
    pub overviews: OverviewResampling,
}

impl RasterSpec {
    /// A raster without nodata, palette, tags or descriptions, its overviews the nearest pixel.
    #[must_use]
    pub fn new(geobox: GeoBox, pixel_type: PixelType, n_bands: usize) -> Self {
        Self {
            geobox,
            pixel_type,
            n_bands,
            nodata: None,
            palette: Vec::new(),
            tags: Vec::new(),
            descriptions: Vec::new(),
            overviews: OverviewResampling::Nearest,
        }
    }
}

/// A number that a result raster can hold: `u8`, `u16`, `i32`, `f32`.
pub trait Pixel: GdalType + Copy + sealed::Sealed {
    /// The type of raster that holds it.
    const TYPE: PixelType;
}

impl Pixel for u8 {
    const TYPE: PixelType = PixelType::U8;
}
impl Pixel for u16 {
    const TYPE: PixelType = PixelType::U16;
}
impl Pixel for i32 {
    const TYPE: PixelType = PixelType::I32;
}
impl Pixel for f32 {
    const TYPE: PixelType = PixelType::F32;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u16 {}
    impl Sealed for i32 {}
    impl Sealed for f32 {}
}

/// Writes a cloud-optimised GeoTIFF window by window, in bounded memory.
///
/// The pixels go to an intermediate file beside the raster. [`RasterWriter::finish`] makes the raster of it, under a
/// temporary name, and renames it into place, so that the path never holds half a raster. The same pixels give the
/// same bytes, in whatever order they were written. A writer that is dropped unfinished leaves no file.
#[derive(Debug)]
pub struct RasterWriter {
    spec: RasterSpec,
    files: Files,
    dataset: Option<Dataset>,
}

impl RasterWriter {
    /// Starts a raster.
    ///
    /// - `path`: of the finished raster; its folder exists.
    ///
    /// # Errors
    ///
    /// If `spec` contradicts itself, or the file cannot be made.
    pub fn create(path: &Path, spec: RasterSpec) -> Result<Self> {
        quiet_gdal();
        check(path, &spec)?;
        let files = Files::of(path);
        let dataset = start(&files.pixels, &spec).map_err(|source| Error::Gdal {
            doing: "start",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            spec,
            files,
            dataset: Some(dataset),
        })
    }

    /// Writes a window of a band.
    ///
    /// - `band`: from 0.
    /// - `window`: in pixels of the raster's geobox.
    /// - `values`: `(y, x)`, x contiguous, as many as the window has pixels.
    ///
    /// # Errors
    ///
    /// If the values are not of the raster's type or number, the window reaches outside it, or the disk is full.
    pub fn write<T: Pixel>(&mut self, band: usize, window: Window, values: &[T]) -> Result<()> {
        let path = &self.files.target;
        let refuse = |reason: String| {
            Err(Error::Raster {
                path: path.clone(),
                reason,
            })
        };
        if T::TYPE != self.spec.pixel_type {
            return refuse(format!(
                "it holds {:?}, not {:?}",
                self.spec.pixel_type,
                T::TYPE
            ));
        }
        if band >= self.spec.n_bands || values.len() != window.shape().n_pixels() {
            return refuse(format!(
                "{} values do not fill the window {window:?} of band {band}",
                values.len()
            ));
        }
        let all = self.spec.geobox.full_window();
        if window.row + window.height > all.height || window.col + window.width > all.width {
            return refuse(format!("the window {window:?} reaches outside it"));
        }
        let (Ok(row), Ok(col)) = (isize::try_from(window.row), isize::try_from(window.col)) else {
            return refuse(format!("the window {window:?} reaches outside it"));
        };
        let Some(dataset) = &mut self.dataset else {
            return refuse("it is finished".into());
        };
        if values.is_empty() {
            return Ok(());
        }
        let size = (window.width, window.height);
        // GDAL's safe interface takes an owned buffer.
        let mut buffer = Buffer::new(size, values.to_vec());
        dataset
            .rasterband(band + 1)
            .and_then(|mut band| band.write((col, row), size, &mut buffer))
            .map_err(|source| Error::Gdal {
                doing: "write pixels of",
                path: path.clone(),
                source,
            })
    }

    /// Makes the raster of what was written, and puts it into place.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn finish(mut self) -> Result<()> {
        let gdal_error = |doing: &'static str, source: GdalError| Error::Gdal {
            doing,
            path: self.files.target.clone(),
            source,
        };
        if let Some(dataset) = self.dataset.take() {
            dataset
                .close()
                .map_err(|source| gdal_error("write pixels of", source))?;
        }
        optimise(&self.files, &self.spec).map_err(|source| gdal_error("optimise", source))?;
        let file_error = |doing: &'static str, source: std::io::Error| Error::File {
            doing,
            path: self.files.target.clone(),
            source,
        };
        File::open(&self.files.optimised)
            .and_then(|file| file.sync_all())
            .map_err(|source| file_error("flush", source))?;
        fs::rename(&self.files.optimised, &self.files.target)
            .map_err(|source| file_error("put into place", source))?;
        File::open(&self.files.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| file_error("flush the folder of", source))
    }
}

impl Drop for RasterWriter {
    fn drop(&mut self) {
        // What GDAL still has to write goes to a file that is removed next; its complaints do not matter.
        drop(self.dataset.take());
        self.files.remove_intermediate();
    }
}

/// The paths of a raster in the making.
#[derive(Debug)]
struct Files {
    folder: PathBuf,
    target: PathBuf,
    pixels: PathBuf,
    optimised: PathBuf,
}

impl Files {
    fn of(path: &Path) -> Self {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Self {
            pixels: folder.join(format!(".{name}.pixels.tif")),
            optimised: folder.join(format!(".{name}.cog.tif")),
            target: path.to_owned(),
            folder,
        }
    }

    fn remove_intermediate(&self) {
        let mut overviews = self.optimised.clone().into_os_string();
        overviews.push(".ovr.tmp");
        for path in [&self.pixels, &self.optimised, &PathBuf::from(overviews)] {
            // A file that is not there needs no removal, and there is nobody to tell of one that stays.
            let _ = fs::remove_file(path);
        }
    }
}

fn check(path: &Path, spec: &RasterSpec) -> Result<()> {
    let reason = if path.file_name().is_none() {
        "its path names no file"
    } else if spec.geobox.shape().n_pixels() == 0 || spec.n_bands == 0 {
        "it has no pixels"
    } else if !spec.palette.is_empty() && (spec.n_bands != 1 || spec.pixel_type != PixelType::U8) {
        "a palette needs one band of u8"
    } else if !spec.palette.is_empty() && spec.overviews == OverviewResampling::Average {
        "classes of a palette have no average"
    } else if !spec.descriptions.is_empty() && spec.descriptions.len() != spec.n_bands {
        "it needs as many descriptions as bands"
    } else {
        return Ok(());
    };
    Err(Error::Raster {
        path: path.to_owned(),
        reason: reason.into(),
    })
}

/// Makes the intermediate file: blocks that are written in place, so that its size does not depend on the order.
fn start(path: &Path, spec: &RasterSpec) -> std::result::Result<Dataset, GdalError> {
    let mut options = RasterCreationOptions::new();
    for (name, value) in [
        ("TILED", "YES"),
        ("BLOCKXSIZE", BLOCK_SIZE),
        ("BLOCKYSIZE", BLOCK_SIZE),
        ("SPARSE_OK", "TRUE"),
        ("BIGTIFF", "IF_SAFER"),
        ("INTERLEAVE", "BAND"),
    ] {
        options.set_name_value(name, value)?;
    }
    let is_picture = spec.n_bands == 3 && spec.pixel_type == PixelType::U8;
    if is_picture {
        options.set_name_value("PHOTOMETRIC", "RGB")?;
    }
    let driver = DriverManager::get_driver_by_name("GTiff")?;
    let shape = spec.geobox.shape();
    let (width, height, n_bands) = (shape.width, shape.height, spec.n_bands);
    let mut dataset = match spec.pixel_type {
        PixelType::U8 => driver
            .create_with_band_type_with_options::<u8, _>(path, width, height, n_bands, &options),
        PixelType::U16 => driver
            .create_with_band_type_with_options::<u16, _>(path, width, height, n_bands, &options),
        PixelType::I32 => driver
            .create_with_band_type_with_options::<i32, _>(path, width, height, n_bands, &options),
        PixelType::F32 => driver
            .create_with_band_type_with_options::<f32, _>(path, width, height, n_bands, &options),
    }?;
    dataset.set_spatial_ref(&SpatialRef::from_epsg(spec.geobox.crs().epsg())?)?;
    dataset.set_geo_transform(&spec.geobox.gdal_transform())?;
    for (name, value) in &spec.tags {
        dataset.set_metadata_item(name, value, "")?;
    }
    for index in 0..n_bands {
        let mut band = dataset.rasterband(index + 1)?;
        if spec.nodata.is_some() {
            band.set_no_data_value(spec.nodata)?;
        }
        if is_picture {
            band.set_color_interpretation(match index {
                0 => ColorInterpretation::RedBand,
                1 => ColorInterpretation::GreenBand,
                _ => ColorInterpretation::BlueBand,
            })?;
        }
        if let Some(description) = spec.descriptions.get(index) {
            band.set_description(description)?;
        }
        if !spec.palette.is_empty() {
            let mut colors = ColorTable::default();
            for entry in &spec.palette {
                let [red, green, blue, alpha] = entry.rgba.map(i16::from);
                colors.set_color_entry(
                    u16::from(entry.value),
                    &ColorEntry::rgba(red, green, blue, alpha),
                );
                band.set_metadata_item(&format!("class_{}", entry.value), &entry.name, "")?;
            }
            band.set_color_table(&colors);
        }
    }
    Ok(dataset)
}

/// Makes the cloud-optimised raster of the intermediate one.
fn optimise(files: &Files, spec: &RasterSpec) -> std::result::Result<(), GdalError> {
    let pixels = Dataset::open(&files.pixels)?;
    let mut options = RasterCreationOptions::new();
    let predictor = if spec.pixel_type == PixelType::U8 {
        "NO"
    } else {
        "YES"
    };
    let overviews = match spec.overviews {
        OverviewResampling::Nearest => "NEAREST",
        OverviewResampling::Mode => "MODE",
        OverviewResampling::Average => "AVERAGE",
    };
    for (name, value) in [
        ("COMPRESS", "DEFLATE"),
        ("PREDICTOR", predictor),
        ("BLOCKSIZE", BLOCK_SIZE),
        ("OVERVIEW_RESAMPLING", overviews),
        ("BIGTIFF", "IF_SAFER"),
        ("NUM_THREADS", "1"),
    ] {
        options.set_name_value(name, value)?;
    }
    let driver = DriverManager::get_driver_by_name("COG")?;
    pixels
        .create_copy(&driver, &files.optimised, &options)?
        .close()
}

/// Settings of GDAL that hold for the whole process, made once: errors are returned and not printed, little memory
/// is kept, and no file is written beside a raster.
pub(crate) fn quiet_gdal() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gdal::config::set_error_handler(|_, _, _| ());
        for (name, value) in [("GDAL_CACHEMAX", GDAL_CACHE_MB), ("GDAL_PAM_ENABLED", "NO")] {
            // The names and values have no zero byte, which is all that can be wrong with them.
            let _ = gdal::config::set_config_option(name, value);
        }
    });
}
