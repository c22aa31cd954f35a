use thiserror::Error;

/// What can go wrong while writing results.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The place to write to refused.
    #[error("cannot write {what}")]
    Write {
        /// What was being written: `alerts.geojson`.
        what: &'static str,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A coordinate or a number in a geometry is not finite, which JSON cannot hold.
    #[error("the outline of {id} has a coordinate that is not finite")]
    InfiniteCoordinate {
        /// The alert or site.
        id: String,
    },
    /// A line of `observations.csv` that its structure does not allow.
    #[error("observations.csv, line {line}: {message}")]
    Observation {
        /// Line of the file, 1 = the header.
        line: usize,
        /// What is wrong, and what to write instead.
        message: String,
    },
    /// A text that is no manifest or pointer to one.
    #[error("cannot read {what}")]
    Parse {
        /// What was being read: `latest.json`.
        what: &'static str,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;
