use std::path::PathBuf;

use pitwatch_grid::UtcTime;
use thiserror::Error;

/// What can go wrong with imagery as a whole. What is wrong with one scene or one tile is a [`SkippedScene`] or a
/// [`ReadFailure`] instead, and ends nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The threads that fetch could not be started.
    #[error("cannot start the threads that fetch imagery")]
    Start {
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// No scene is left to read.
    #[error("none of the {} scenes can be read{}", skipped.len(), first_reason(skipped))]
    NothingToRead {
        /// Every scene, with the reason.
        skipped: Vec<SkippedScene>,
    },
    /// A window that does not lie on the scenes' pixels.
    #[error(
        "a window in {window_crs} with pixels of {window_resolution_m} m does not lie on the scenes' lattice ({lattice_crs}, {lattice_resolution_m} m)"
    )]
    OffLattice {
        /// Reference system asked for.
        window_crs: String,
        /// Pixel size asked for, in meters.
        window_resolution_m: f64,
        /// Reference system of the scenes.
        lattice_crs: String,
        /// Pixel size of the scenes, in meters.
        lattice_resolution_m: f64,
    },
    /// A window of a raster that cannot be read.
    #[error("cannot read {href}: {reason}")]
    Window {
        /// Address of the file, without its query string.
        href: String,
        /// Why, in words.
        reason: String,
    },
    /// A result raster that GDAL cannot make.
    #[error("cannot {doing} {}", path.display())]
    Gdal {
        /// What was being done.
        doing: &'static str,
        /// The raster.
        path: PathBuf,
        /// What GDAL said.
        #[source]
        source: gdal::errors::GdalError,
    },
    /// A result file that the file system refuses.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A mirror that another process writes.
    #[error("the mirror {} is held by another fetch{}; wait for it, or give another --mirror", path.display(), in_brackets(holder))]
    MirrorLocked {
        /// The area's part of the mirror.
        path: PathBuf,
        /// Who holds it, and what to do if that process is dead; empty where the operating system lets go by itself.
        holder: String,
    },
    /// A description of a result raster that contradicts itself, or pixels that do not fit it.
    #[error("cannot write {}: {reason}", path.display())]
    Raster {
        /// The raster.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
}

/// The outcome of reading or writing imagery.
pub type Result<T> = std::result::Result<T, Error>;

/// A scene that takes no part, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedScene {
    /// The scene's identifier.
    pub id: String,
    /// When it was acquired.
    pub time: UtcTime,
    /// Why, in words, with the address of the file.
    pub reason: String,
}

/// A tile of a scene's file that could not be read. Its pixels are marked in the cube.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReadFailure {
    /// The scene's identifier.
    pub scene: String,
    /// Address of the file.
    pub href: String,
    /// Why, in words, with the tile's place in the file. The same for every window that touches the tile.
    pub reason: String,
}

/// What is wrong with one file, or with one of its tiles. The address of the file stands beside it.
#[derive(Debug, Clone, PartialEq, Error)]
pub(crate) enum Defect {
    #[error("{scheme} addresses are read by fetching alone; bring the scene into a mirror")]
    Remote { scheme: String },
    #[error("it is not a path of a file: {0}")]
    Address(String),
    #[error("it cannot be opened: {0}")]
    Open(String),
    #[error("it is no TIFF file")]
    NotTiff,
    #[error("it is truncated: bytes {start} to {end} are needed, and it has {size}")]
    Truncated { start: u64, end: u64, size: u64 },
    #[error("its header is damaged: {0}")]
    Header(&'static str),
    #[error("{0}; convert it with gdal_translate -of COG -co COMPRESS=DEFLATE")]
    Unsupported(String),
    #[error("{0}")]
    Georeference(String),
    #[error("it cannot be fetched: {0}")]
    Fetch(String),
    #[error("it does not decompress: {0}")]
    Decompress(String),
    #[error("it decompresses to {got} bytes instead of {expected}")]
    Size { got: usize, expected: usize },
}

fn in_brackets(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(" ({text})")
    }
}

fn first_reason(skipped: &[SkippedScene]) -> String {
    skipped.first().map_or_else(String::new, |scene| {
        format!("; the first, {}: {}", scene.id, scene.reason)
    })
}
