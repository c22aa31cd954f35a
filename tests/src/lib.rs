//! What the end-to-end tests share: synthetic mirrors whose truth is known ([`Mirror`]), the program as a user starts it
//! ([`pitwatch`]), and its outputs read back with GDAL ([`Run`]).
//!
//! A [`Mirror`] is a static STAC collection of small GeoTIFFs of an imagined savanna, the same format as the demo's; a
//! test breaks one thing in its copy and says what the program must then do.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its input must stop, and the panic says where"
)]

mod bucket;
mod mirror;
mod output;
mod program;

pub use bucket::{BucketServer, KEYS, files_below};
pub use mirror::{
    MONITOR_FROM, Mirror, Pit, Spec, break_blocks, clouded, copy_folder, day, pixels, revisit,
};
pub use output::{Raster, Run, difference, latest, only_run, table};
pub use program::{Finished, binary, path, pitwatch, root, start};
