//! Newly cleared and newly dug ground: the third stage.
//!
//! A [`Cube`](pitwatch_grid::Cube) comes in; a [`ChangeMap`] goes out, with what is known of each pixel, the clear
//! looks it rests on and the change found, if any. No file is opened.

mod error;
mod map;

pub use error::{Error, Result};
pub use map::{ChangeMap, ChangedPixel, Finding, Kind, PixelState, PixelVerdict};
