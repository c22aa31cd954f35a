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
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;
