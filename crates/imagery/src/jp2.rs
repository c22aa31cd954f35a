//! JPEG 2000, as Copernicus Data Space and `.SAFE` products have it, through GDAL's OpenJPEG driver and no other.

use std::path::{Path, PathBuf};

use gdal::{Dataset, DatasetOptions, GdalOpenFlags};
use pitwatch_grid::{Crs, GeoBox, Point, Shape};

use crate::error::Defect;
use crate::scene::Footprint;
use crate::tiff::Depth;

/// The signature box of a JP2 file, and the start of a bare codestream (ISO/IEC 15444-1, annexes I and A).
const SIGNATURES: [&[u8]; 2] = [b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"];
/// Pixels along a side before the number is taken for damage.
const MAX_SIDE: usize = 1 << 16;

/// A file on disk. It is opened for each reading, since GDAL's handles may not be shared between threads.
#[derive(Debug, Clone)]
pub(crate) struct Jp2 {
    path: PathBuf,
    is_own: bool,
    grid: GeoBox,
    depth: Depth,
}

impl Jp2 {
    /// True for the first bytes of a JPEG 2000 file.
    pub(crate) fn is(head: &[u8]) -> bool {
        SIGNATURES
            .iter()
            .any(|signature| head.starts_with(signature))
    }

    /// Reads what the file is.
    ///
    /// - `is_own`: it was downloaded for this, and is removed afterwards.
    pub(crate) fn open(path: &Path, is_own: bool) -> Result<Self, Defect> {
        let dataset = dataset(path)?;
        let (width, height) = dataset.raster_size();
        if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
            return Err(Defect::Header("a side of no sane length"));
        }
        let epsg = dataset
            .spatial_ref()
            .ok()
            .and_then(|reference| u32::try_from(reference.auth_code().ok()?).ok())
            .ok_or_else(|| Defect::Georeference("it has no EPSG code".into()))?;
        let transform = dataset
            .geo_transform()
            .map_err(|_| Defect::Georeference("it has no place".into()))?;
        let [x, pixel_width, skew_x, y, skew_y, pixel_height] = transform;
        if skew_x != 0.0 || skew_y != 0.0 || (pixel_width + pixel_height).abs() > 1e-9 {
            return Err(Defect::Georeference(
                "it is not north-up with square pixels".into(),
            ));
        }
        let grid = Crs::from_epsg(epsg)
            .and_then(|crs| GeoBox::new(crs, Point { x, y }, pixel_width, Shape { height, width }))
            .map_err(|error| Defect::Georeference(error.to_string()))?;
        let band = dataset
            .rasterband(1)
            .map_err(|error| Defect::Open(error.to_string()))?;
        let depth = match band.band_type() {
            gdal::raster::GdalDataType::UInt8 => Depth::U8,
            gdal::raster::GdalDataType::UInt16 => Depth::U16,
            other => return Err(Defect::Unsupported(format!("its pixels are {other}"))),
        };
        Ok(Self {
            path: path.to_owned(),
            is_own,
            grid,
            depth,
        })
    }

    pub(crate) fn grid(&self) -> &GeoBox {
        &self.grid
    }

    pub(crate) fn depth(&self) -> Depth {
        self.depth
    }

    /// The downloaded file; an empty path if the file is somebody else's.
    pub(crate) fn path(&self) -> &Path {
        if self.is_own {
            &self.path
        } else {
            Path::new("")
        }
    }

    /// The digital numbers of a window of the file's lattice, `(y, x)`; 0 outside the file.
    pub(crate) fn read(&self, geobox: &GeoBox) -> Result<Vec<u16>, Defect> {
        let Shape { height, width } = geobox.shape();
        let mut plane = vec![0; height * width];
        let area = Footprint::of(geobox, &self.grid);
        let own = Footprint::of(&self.grid, &self.grid);
        let (Some(inside), Some(target)) = (area.window_in(own), own.window_in(area)) else {
            return Ok(plane);
        };
        let refused = |error: gdal::errors::GdalError| Defect::Decompress(error.to_string());
        let dataset = dataset(&self.path)?;
        let band = dataset.rasterband(1).map_err(refused)?;
        let size = (inside.width, inside.height);
        #[expect(clippy::cast_possible_wrap, reason = "at most 65,536")]
        let start = (inside.col as isize, inside.row as isize);
        let pixels = band
            .read_as::<u16>(start, size, size, None)
            .map_err(refused)?;
        for (row, pixels) in pixels.data().chunks(inside.width).enumerate() {
            let first = (target.row + row) * width + target.col;
            plane[first..first + inside.width].copy_from_slice(pixels);
        }
        Ok(plane)
    }
}

fn dataset(path: &Path) -> Result<Dataset, Defect> {
    let options = DatasetOptions {
        open_flags: GdalOpenFlags::GDAL_OF_RASTER | GdalOpenFlags::GDAL_OF_READONLY,
        allowed_drivers: Some(&["JP2OpenJPEG"]),
        // No file beside it is looked at.
        sibling_files: Some(&[]),
        ..DatasetOptions::default()
    };
    Dataset::open_ex(path, options).map_err(|error| Defect::Open(error.to_string()))
}
