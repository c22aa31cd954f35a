use thiserror::Error;

/// What can go wrong while looking for change.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A band that detection cannot do without.
    #[error("the cube has no {band} band; detection needs red, nir and swir16")]
    MissingBand {
        /// Common name of the band.
        band: &'static str,
    },
    /// No look lies in the history period.
    #[error(
        "no look lies before {monitor_from}; the history period is empty, so nothing can be compared"
    )]
    NoHistory {
        /// First day of the monitoring period.
        monitor_from: pitwatch_grid::Day,
    },
    /// More looks than can be counted.
    #[error("the cube has {n_looks} looks; at most {most} can be compared")]
    TooManyLooks {
        /// Looks of the cube.
        n_looks: usize,
        /// What is allowed.
        most: usize,
    },
    /// Looks that do not follow those of a memory, or another window.
    #[error("the looks do not follow those that the memory has, or lie in another window")]
    OtherLooks,
    /// What is kept of a pixel cannot be read.
    #[error("the record of pixel {pixel} cannot be read")]
    Record {
        /// Place in the window.
        pixel: usize,
    },
    /// A parameter outside its range.
    #[error("{name} must be {range}, not {value}")]
    Parameter {
        /// Name in the pipeline file.
        name: &'static str,
        /// The value given.
        value: f64,
        /// What is allowed.
        range: &'static str,
    },
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;
