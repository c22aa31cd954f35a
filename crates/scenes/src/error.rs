use std::path::PathBuf;

use thiserror::Error;

/// What can go wrong while reading a catalog. A broken item is no error: it becomes an [`Excluded`](crate::Excluded).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A catalog, collection or item collection cannot be opened.
    #[error(
        "cannot read the catalog {}; give the path of a collection.json, catalog.json or item, or of a folder that holds one of the first two",
        path.display()
    )]
    Read {
        /// The file, as it was asked for or linked.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// A folder without a catalog.
    #[error("no collection.json and no catalog.json in {}; name the file instead of the folder, or write one of the two", path.display())]
    NoCatalog {
        /// The folder.
        path: PathBuf,
    },
    /// A catalog that is no JSON.
    #[error("the catalog {} is not JSON; fetch or write it again", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where the text breaks off.
        #[source]
        source: serde_json::Error,
    },
    /// JSON that is nothing of STAC.
    #[error(
        "{} is not STAC: its \"type\" is {found}; expected Catalog, Collection, Feature or FeatureCollection",
        path.display()
    )]
    NotStac {
        /// The file.
        path: PathBuf,
        /// The `type` found.
        found: String,
    },
    /// A catalog that does not end.
    #[error("the catalog {} links more than {n_files} files; name a smaller part of it", path.display())]
    TooLarge {
        /// The catalog.
        path: PathBuf,
        /// How many are read.
        n_files: usize,
    },
    /// An address that no mirror can lie at, or a store that cannot be reached that way.
    #[error("the mirror {address} cannot be used: {message}")]
    Storage {
        /// The address, without keys and query string.
        address: String,
        /// What is wrong and what to write instead.
        message: String,
    },
    /// No source could be searched.
    #[error("no source could be searched: {message}")]
    NoSource {
        /// What each said.
        message: String,
    },
    /// The threads that search could not be started.
    #[error("cannot start the threads that search")]
    Start {
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// A folder of products that cannot be listed.
    #[error("cannot list the products in {}; give a folder that holds .SAFE folders", path.display())]
    Products {
        /// The folder.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// A catalog whose links cannot be followed.
    #[error("the catalog {} has no list of links; fetch or write it again", path.display())]
    Links {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        #[source]
        source: serde_json::Error,
    },
}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;
