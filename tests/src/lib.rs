//! What the end-to-end tests share: synthetic mirrors whose truth is known ([`Mirror`]), the program as a user starts it
//! ([`pitwatch`]), its outputs read back with GDAL ([`Run`]), and servers on loopback ([`Server`]).
//!
//! A [`Mirror`] is a static STAC collection of small GeoTIFFs of an imagined savanna, the same format as the demo's; a
//! test breaks one thing in its copy and says what the program must then do.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its input must stop, and the panic says where"
)]

mod bucket;
mod live;
mod mirror;
mod output;
mod program;
mod server;
mod servers;

pub use bucket::{BucketServer, KEYS, files_below};
pub use live::{Case, Catalog, Form, Live, Paging, S3_KEYS, TOKEN, Tile, World};
pub use mirror::{
    MONITOR_FROM, Mirror, Pit, Spec, break_blocks, clouded, copy_folder, day, pixels, revisit,
};
pub use output::{Raster, Run, difference, files_of, latest, only_run, sha256, table};
pub use program::{Finished, binary, command, path, pitwatch, pitwatch_with, root, start};
pub use server::{Counts, Fault, Reply, Request, Server};
pub use servers::{ReadBy, S3, StacApi, has_servers};
