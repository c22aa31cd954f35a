//! Newly cleared and newly dug ground: the third stage.
//!
//! A [`Cube`](pitwatch_grid::Cube) comes in; a [`ChangeMap`] goes out, with what is known of each pixel, the clear
//! looks it rests on and the change found, if any. No file is opened.
//!
//! The mask rule is in `mask.rs`, the alert rule in `monitor.rs`, the numbers of both in [`Params`].

mod detect;
mod error;
pub mod harmonic;
mod history;
pub mod index;
mod lanes;
mod map;
pub mod mask;
mod memory;
mod memory_bytes;
mod monitor;
mod params;
mod series;
mod tile;

pub use detect::{REQUIRED_BANDS, detect, detect_until};
pub use error::{Error, Result};
pub use map::{
    ChangeMap, ChangedPixel, Finding, Ground, Kind, N_GREEN_LEVELS, N_GROUND_NUMBERS, PixelState,
    PixelVerdict, Soil,
};
pub use memory::{Memory, Records};
pub use memory_bytes::checksum;
pub use params::Params;
