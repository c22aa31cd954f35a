//! The first stage: which scenes there are.
//!
//! In comes a static [STAC](https://github.com/radiantearth/stac-spec) catalog on disk, an area, a period and a limit of
//! cloud cover. Out comes one [`Scene`] for each acquisition over each tile, with where its rasters lie and what must be
//! added to their digital numbers, and one [`Excluded`] for each item that did not become a scene, with the reason.
//! Items are read as Earth Search, Planetary Computer, Copernicus Data Space and stactools write them.
//! Files are read here, pixels are not; a remote address is kept as it stands and never asked.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use pitwatch_grid::Band;
//! use pitwatch_scenes::{Query, read_catalog};
//!
//! let query = Query { region: None, period: None, max_cloud_cover_percent: Some(80.0), bands: &[Band::Red, Band::Nir] };
//! let found = read_catalog(Path::new("mirror/collection.json"), &query)?;
//! for scene in &found.scenes {
//!     println!("{} {} {}", scene.time, scene.id, scene.assets[&Band::Red].href);
//! }
//! for excluded in &found.excluded {
//!     println!("{}: {}", excluded.id, excluded.reason);
//! }
//! # Ok::<(), pitwatch_scenes::Error>(())
//! ```

mod catalog;
#[doc(hidden)]
pub mod fuzz;
mod item;
pub mod net;
mod offset;
mod passes;
mod safe;
mod scene;
mod search;
mod source;
pub mod storage;

mod error;
mod look;

pub use catalog::{CatalogInfo, Found, Query, read_catalog, read_mirror};
pub use error::{Error, Result};
pub use look::{Expected, Look};
pub use offset::{Baseline, Offset, OffsetCheck, OffsetGround};
pub use passes::{KnownPass, Pass, missing_passes};
pub use scene::{Asset, Excluded, ExclusionReason, Identity, SOURCE_PROPERTY, Scene};
pub use search::{Search, Since, SourceReport, Told, search};
pub use source::{KNOWN_SOURCES, SigningConfig, Source, SourceConfig, SourceKind};
pub use storage::Storage;
