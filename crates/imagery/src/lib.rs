//! The second stage: the pixels of the scenes over a piece of ground, and the rasters of the results.
//!
//! The files of scenes come in ([`SceneFiles`]); a [`Reader`] opens their headers once and then hands out one
//! [`Cube`](pitwatch_grid::Cube) a window, all looks of all bands on the scenes' own lattice, with what could not be
//! read and why. Results go out through a [`RasterWriter`], which makes cloud-optimised GeoTIFFs. No other stage
//! opens a raster file.
//!
//! ```
//! use pitwatch_grid::{parse_time, Band, Crs, GeoBox, Point, Shape};
//! use pitwatch_imagery::{PixelType, RasterSpec, RasterWriter, Reader, SceneFiles, Source};
//!
//! let folder = tempfile::tempdir()?;
//! let geobox = GeoBox::new(Crs::from_epsg(32630)?, Point { x: 205_000.0, y: 985_000.0 }, 10.0, Shape { height: 2, width: 2 })?;
//! let mut sources = Vec::new();
//! for (name, band, value) in [("B04.tif", Some(Band::Red), 1_300), ("SCL.tif", None, 4)] {
//!     let path = folder.path().join(name);
//!     let mut raster = RasterWriter::create(&path, RasterSpec::new(geobox.clone(), PixelType::U16, 1))?;
//!     raster.write::<u16>(0, geobox.full_window(), &[value; 4])?;
//!     raster.finish()?;
//!     sources.push(Source { href: path.display().to_string(), band, offset: if band.is_some() { -1_000 } else { 0 }, scale: 1e-4 });
//! }
//! let scene = SceneFiles { id: "S2A_30PTR_20200219".into(), time: parse_time("2020-02-19T10:48:29Z")?, pass: String::new(), sources };
//!
//! let (reader, skipped) = Reader::open(vec![scene], &[Band::Red], None, &|_| ())?;
//! assert!(skipped.is_empty());
//! let (cube, failures) = reader.read(&reader.extent(), &[false])?;
//! assert!(failures.is_empty());
//! assert_eq!(cube.plane(0, 0), [300; 4]);
//! assert_eq!(cube.classes(0), [4; 4]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cog;
mod decode;
mod error;
mod estimate;
mod fetch;
#[doc(hidden)]
pub mod fuzz;
mod jp2;
mod mirror;
mod offset_check;
mod raster;
mod read;
mod scene;
mod source;
mod tiff;
mod warp;
mod write;

pub use error::{Error, ReadFailure, Result, SkippedScene};
pub use estimate::{Estimate, estimate};
pub use fetch::{CELL_M, FetchOptions, FetchOutcome, FetchReport, fetch};
pub use mirror::{Checked, Damage, Mirror, check as check_mirror, escaped};
pub use offset_check::{OffsetCheckParams, OffsetVerdict, Sample, check_offsets, sample};
pub use raster::read_windows;
#[doc(hidden)]
pub use raster::unpack_blocks;
pub use read::{LookRef, Reader, SceneRef};
pub use source::{SceneFiles, Source};
pub use write::{OverviewResampling, PaletteEntry, Pixel, PixelType, RasterSpec, RasterWriter};
