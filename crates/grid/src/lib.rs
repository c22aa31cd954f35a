//! Where and when a pixel is: the vocabulary that all stages share.
//!
//! Nothing comes in and nothing goes out but values: a [`GeoBox`] places pixels on the ground, a [`Window`] is a
//! rectangle of them, a [`Cube`] holds one window's looks through time, a [`Period`] is a span of days.
//! No file is opened and no clock is read here.
//!
//! ```
//! use pitwatch_grid::{Crs, GeoBox, Point, Shape, Window};
//!
//! let geobox = GeoBox::new(Crs::from_epsg(32630)?, Point { x: 205_000.0, y: 985_000.0 }, 10.0, Shape { height: 400, width: 400 })?;
//! let corner = geobox.window(Window { row: 10, col: 20, height: 2, width: 2 });
//! assert_eq!(corner.origin(), Point { x: 205_200.0, y: 984_900.0 });
//! # Ok::<(), pitwatch_grid::Error>(())
//! ```

mod band;
mod crs;
mod cube;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod geobox;
mod geojson;
mod period;
mod region;
mod window;

pub use band::Band;
pub use crs::Crs;
pub use cube::{Cube, MISSING_REFLECTANCE, NOT_ACQUIRED, QUARANTINED, READ_FAILED};
pub use error::{Error, Result};
pub use geobox::{GeoBox, LatticePixel};
pub use period::{Day, Period, UtcTime, format_time, parse_time};
pub use region::Region;
pub use window::{Point, Shape, Window};
