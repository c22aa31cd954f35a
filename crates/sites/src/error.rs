use thiserror::Error;

/// What can go wrong while making objects of changed pixels.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A finding names a look that the area's list of looks does not have.
    #[error(
        "the pixel at lattice row {row}, column {col} refers to look {look}, but the area has {n_looks} looks"
    )]
    UnknownLook {
        /// Lattice row of the pixel.
        row: i64,
        /// Lattice column of the pixel.
        col: i64,
        /// The look it names.
        look: u32,
        /// How many looks there are.
        n_looks: usize,
    },
    /// Two findings for one pixel: the cells handed over overlap.
    #[error(
        "the pixel at lattice row {row}, column {col} has two findings; cells must not overlap"
    )]
    DuplicatePixel {
        /// Lattice row of the pixel.
        row: i64,
        /// Lattice column of the pixel.
        col: i64,
    },
    /// A distance between alerts that is no length.
    #[error("site_distance_m is {distance_m}; it must be zero or more, and finite")]
    InvalidSiteDistance {
        /// The distance given, in meters.
        distance_m: f64,
    },
    /// A number of the topsoil's table out of its range.
    #[error("{name} is {value}; it must be {must}")]
    Topsoil {
        /// The key in the pipeline file.
        name: &'static str,
        /// The number given.
        value: f64,
        /// What to write instead.
        must: &'static str,
    },
    /// Bounds of a feature in the wrong order.
    #[error(
        "[sites.causes] least.{name} is {least} and greatest.{name} is {greatest}; the least must not be above the greatest"
    )]
    FeatureBounds {
        /// The feature.
        name: &'static str,
        /// The number given as its least.
        least: f64,
        /// The number given as its greatest.
        greatest: f64,
    },
    /// An outline that cannot be brought to longitude and latitude.
    #[error("cannot place the outline of an object on the globe")]
    Project(#[source] pitwatch_grid::Error),
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;
