use crate::{Band, Day, GeoBox};

/// The reflectance of a pixel that holds none (no data, outside the scene, not read).
pub const MISSING_REFLECTANCE: i16 = i16::MIN;

/// Class code, beside SCL's 0 to 11, of a pixel that lies outside what the scene covers.
pub const NOT_ACQUIRED: u8 = 250;
/// Class code, beside SCL's 0 to 11, of a pixel whose scene could not be read here.
pub const READ_FAILED: u8 = 251;
/// Class code, beside SCL's 0 to 11, of a pixel whose scene's reflectance cannot be trusted.
pub const QUARANTINED: u8 = 252;

/// The looks at one window through time: reflectance in several bands and the scene classification.
///
/// Reflectance is surface reflectance × 10,000 with the processing baseline's offset removed, layout
/// `(band, time, y, x)` with x contiguous, [`MISSING_REFLECTANCE`] where there is none. Classes are the codes of the
/// scene classification (0 no data, 1 saturated, 2 dark, 3 shadow, 4 vegetation, 5 bare, 6 water, 7 unclassified,
/// 8 and 9 cloud, 10 cirrus, 11 snow; Sentinel-2 Level-2A Algorithm Theoretical Basis Document, table of SCL) and
/// this crate's own [`NOT_ACQUIRED`], [`READ_FAILED`] and [`QUARANTINED`]; layout `(time, y, x)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Cube {
    geobox: GeoBox,
    days: Vec<Day>,
    bands: Vec<Band>,
    reflectance: Vec<i16>,
    classes: Vec<u8>,
}

impl Cube {
    /// A cube of `days` looks, none of them acquired yet.
    ///
    /// - `days`: acquisition day of each look, ascending; two looks may share a day.
    /// - `bands`: each once, in the order of the first axis.
    ///
    /// # Panics
    ///
    /// If the days are not ascending.
    #[must_use]
    pub fn empty(geobox: GeoBox, days: Vec<Day>, bands: Vec<Band>) -> Self {
        assert!(days.is_sorted(), "the looks of a cube are in order of time");
        let n_pixels = geobox.shape().n_pixels();
        let reflectance = vec![MISSING_REFLECTANCE; bands.len() * days.len() * n_pixels];
        let classes = vec![NOT_ACQUIRED; days.len() * n_pixels];
        Self {
            geobox,
            days,
            bands,
            reflectance,
            classes,
        }
    }

    /// Bytes that a cube of this size takes.
    #[must_use]
    pub fn n_bytes(n_pixels: usize, n_looks: usize, n_bands: usize) -> usize {
        n_pixels * n_looks * (2 * n_bands + 1)
    }

    /// Where the pixels are.
    #[must_use]
    pub fn geobox(&self) -> &GeoBox {
        &self.geobox
    }

    /// Acquisition days, ascending.
    #[must_use]
    pub fn days(&self) -> &[Day] {
        &self.days
    }

    /// Bands, in the order of the first axis.
    #[must_use]
    pub fn bands(&self) -> &[Band] {
        &self.bands
    }

    /// The place of a band on the first axis.
    #[must_use]
    pub fn band_index(&self, band: Band) -> Option<usize> {
        self.bands.iter().position(|&other| other == band)
    }

    /// One band of one look, `(y, x)`.
    #[must_use]
    pub fn plane(&self, band: usize, time: usize) -> &[i16] {
        let n_pixels = self.geobox.shape().n_pixels();
        let start = (band * self.days.len() + time) * n_pixels;
        &self.reflectance[start..start + n_pixels]
    }

    /// One band of one look, `(y, x)`, to be filled.
    #[must_use]
    pub fn plane_mut(&mut self, band: usize, time: usize) -> &mut [i16] {
        let n_pixels = self.geobox.shape().n_pixels();
        let start = (band * self.days.len() + time) * n_pixels;
        &mut self.reflectance[start..start + n_pixels]
    }

    /// The classes of one look, `(y, x)`.
    #[must_use]
    pub fn classes(&self, time: usize) -> &[u8] {
        let n_pixels = self.geobox.shape().n_pixels();
        &self.classes[time * n_pixels..(time + 1) * n_pixels]
    }

    /// The classes of one look, `(y, x)`, to be filled.
    #[must_use]
    pub fn classes_mut(&mut self, time: usize) -> &mut [u8] {
        let n_pixels = self.geobox.shape().n_pixels();
        &mut self.classes[time * n_pixels..(time + 1) * n_pixels]
    }

    /// All reflectance, `(band, time, y, x)`.
    #[must_use]
    pub fn reflectance(&self) -> &[i16] {
        &self.reflectance
    }

    /// All classes, `(time, y, x)`.
    #[must_use]
    pub fn all_classes(&self) -> &[u8] {
        &self.classes
    }

    /// All planes at once, to be filled in parallel: reflectance `(band, time, y, x)` and classes `(time, y, x)`.
    #[must_use]
    pub fn planes_mut(&mut self) -> (&mut [i16], &mut [u8]) {
        (&mut self.reflectance, &mut self.classes)
    }
}
