//! Pitwatch's part of `benches/peers/run.py`: makes the cube, hands it to the peers as files, and times `change::detect` on it.
//!
//! usage: `peers_cube SIDE FOLDER`. Writes a cube of SIDE × SIDE pixels and 140 looks, 74 of them history, to FOLDER:
//! `reflectance.npy` `(band, time, y, x)`, `classes.npy` `(time, y, x)`, `days.npy`. Then, for each line on standard input,
//! runs detection once on one thread and prints its CPU seconds and how many pixels have an alert.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use pitwatch_benches::{change_params, cube, days};
use pitwatch_grid::{Cube, Shape};
use rayon::ThreadPoolBuilder;
use rustix::time::{ClockId, clock_gettime};

/// Looks, and those of them that are history.
const N_LOOKS: usize = 140;
const N_HISTORY: usize = 74;
const SEED: u64 = 1;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [side, folder] = arguments.as_slice() else {
        return Err("usage: peers_cube SIDE FOLDER".into());
    };
    let side = side.parse()?;
    let shape = Shape {
        height: side,
        width: side,
    };
    let monitor_from = days(N_LOOKS)[N_HISTORY];
    let cube = cube(shape, N_LOOKS, monitor_from, SEED);
    write(&cube, Path::new(folder))?;
    println!("{N_HISTORY}");

    let params = change_params();
    let pool = ThreadPoolBuilder::new().num_threads(1).build()?;
    for line in std::io::stdin().lines() {
        line?;
        let start = cpu_s();
        let map = pool.install(|| pitwatch_change::detect(&cube, monitor_from, &params))?;
        let spent = cpu_s() - start;
        let n_alerts = map.pixels.iter().filter(|p| p.finding.is_some()).count();
        println!("{spent} {n_alerts}");
    }
    Ok(())
}

fn write(cube: &Cube, folder: &Path) -> std::io::Result<()> {
    let Shape { height, width } = cube.geobox().shape();
    let (n_bands, n_looks) = (cube.bands().len(), cube.days().len());
    let reflectance = cube.reflectance().iter().flat_map(|v| v.to_le_bytes());
    let days = cube.days().iter().flat_map(|day| day.0.to_le_bytes());
    write_npy(
        &folder.join("reflectance.npy"),
        "<i2",
        &[n_bands, n_looks, height, width],
        reflectance,
    )?;
    write_npy(
        &folder.join("classes.npy"),
        "|u1",
        &[n_looks, height, width],
        cube.all_classes().iter().copied(),
    )?;
    write_npy(&folder.join("days.npy"), "<i4", &[n_looks], days)
}

/// Writes an array in C order.
///
/// Source: NPY format, version 1.0, <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.
fn write_npy(
    path: &Path,
    kind: &str,
    shape: &[usize],
    bytes: impl Iterator<Item = u8>,
) -> std::io::Result<()> {
    const PREFIX_BYTES: usize = 10;
    const ALIGNMENT_BYTES: usize = 64;
    let shape: String = shape.iter().map(|n| format!("{n},")).collect();
    let mut header = format!("{{'descr':'{kind}','fortran_order':False,'shape':({shape})}}");
    while !(PREFIX_BYTES + header.len() + 1).is_multiple_of(ALIGNMENT_BYTES) {
        header.push(' ');
    }
    header.push('\n');
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&(header.len() as u16).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for byte in bytes {
        file.write_all(&[byte])?;
    }
    file.flush()
}

/// CPU time of this process so far, user and system, in seconds.
fn cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
