//! What the crate promises, held against GDAL's own reading and against damaged files.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test as the tests do"
)]

mod damage;
mod passes;
mod reading;
mod scene;
mod skipping;
mod windows;
mod writing;
