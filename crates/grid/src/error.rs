use thiserror::Error;

/// What can go wrong while placing pixels in space and time.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A coordinate reference system that the projection library does not know.
    #[error("EPSG:{epsg} is not a coordinate reference system that can be projected: {reason}")]
    UnknownCrs {
        /// The EPSG code asked for.
        epsg: u32,
        /// What the projection library said.
        reason: String,
    },
    /// A point outside the domain of a projection.
    #[error("cannot project ({x}, {y}) with EPSG:{epsg}: {reason}")]
    Project {
        /// The EPSG code of the projected system.
        epsg: u32,
        /// First coordinate.
        x: f64,
        /// Second coordinate.
        y: f64,
        /// What the projection library said.
        reason: String,
    },
    /// A geobox without pixels, or with a resolution that is no length.
    #[error(
        "a geobox needs a positive, finite resolution and a finite origin, not {resolution_m} m at ({x}, {y})"
    )]
    InvalidGeoBox {
        /// Pixel size in meters.
        resolution_m: f64,
        /// Left edge.
        x: f64,
        /// Top edge.
        y: f64,
    },
    /// A text that is no date.
    #[error("{text:?} is not a date; write YYYY-MM-DD")]
    InvalidDay {
        /// The text.
        text: String,
    },
    /// A text that is no time.
    #[error("{text:?} is not a time; write RFC 3339, such as 2020-07-01T10:48:29Z")]
    InvalidTime {
        /// The text.
        text: String,
    },
    /// A period that ends before it starts.
    #[error("the period ends on {end}, before it starts on {start}")]
    InvertedPeriod {
        /// First day.
        start: crate::Day,
        /// Last day.
        end: crate::Day,
    },
    /// An area whose geometry cannot be used.
    #[error("{0}")]
    InvalidRegion(String),
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;
