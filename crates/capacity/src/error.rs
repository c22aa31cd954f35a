use thiserror::Error;

/// What can go wrong while turning areas into carats.
#[derive(Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A factor outside the range in which it means anything.
    #[error("{factor} is {value}; it must lie {range}")]
    FactorOutOfRange {
        /// The factor: `dug_share`.
        factor: &'static str,
        /// Its value.
        value: f64,
        /// The range, in words.
        range: &'static str,
    },
    /// A priors file, or the user's changes to it, that cannot be used.
    #[error("{message}")]
    Priors {
        /// What is wrong, and what to write instead.
        message: String,
    },
    /// An area with evidence or a report that the priors file does not know.
    #[error("{name} is not in the priors file; add [area.ID] for it")]
    UnknownArea {
        /// The area or country.
        name: String,
    },
    /// A parameter of the table `[capacity]` that cannot be used.
    #[error("[capacity] {key} is {value}; it must lie {range}")]
    Parameter {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// The range, in words.
        range: &'static str,
    },
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;
