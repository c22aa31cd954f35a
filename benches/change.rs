//! Speed of `change::detect` and of the seasonal fit alone.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use pitwatch_benches::{change_params, cube, days, patchy_cube, pools};
use pitwatch_change::Memory;
use pitwatch_change::harmonic::{self, N_LANES};
use pitwatch_grid::{Cube, Shape};

/// Height and width of the cube, in pixels.
const SIDE: usize = 128;
/// All looks, and those of them that are history: a series of two years and one of four.
const LOOKS: [(usize, usize); 2] = [(140, 74), (280, 180)];

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    detect(&mut criterion);
    fit(&mut criterion);
    step(&mut criterion);
    criterion.final_summary();
}

/// Elements are pixels times looks, clouded ones included.
fn detect(criterion: &mut Criterion) {
    let params = change_params();
    let shape = Shape {
        height: SIDE,
        width: SIDE,
    };
    let mut group = criterion.benchmark_group("detect");
    for (n_looks, n_history) in LOOKS {
        let monitor_from = days(n_looks)[n_history];
        let cube = cube(shape, n_looks, monitor_from, 1);
        group.throughput(Throughput::Elements((shape.n_pixels() * n_looks) as u64));
        for (threads, pool) in pools() {
            let id = BenchmarkId::new(threads, format!("{SIDE}x{SIDE}px_{n_looks}looks_6bands"));
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    pool.install(|| {
                        pitwatch_change::detect(black_box(&cube), monitor_from, &params)
                    })
                    .expect("the cube has all bands")
                });
            });
        }
    }
    group.finish();
}

/// One least-squares fit of five series at the pixels that are fitted at once; elements are pixels times looks.
fn fit(criterion: &mut Criterion) {
    const N_LOOKS: usize = 74;
    let regressors: Vec<_> = days(N_LOOKS)
        .iter()
        .map(|day| harmonic::regressors(day.season_angle()))
        .collect();
    let values: [Vec<[f32; N_LANES]>; 5] = std::array::from_fn(|series| {
        let level = 0.1 * (1 + series) as f32;
        regressors
            .iter()
            .map(|row| [level + 0.1 * row[1]; N_LANES])
            .collect()
    });
    let weights = vec![[1.0; N_LANES]; N_LOOKS];
    let mut group = criterion.benchmark_group("fit");
    group.throughput(Throughput::Elements((N_LANES * N_LOOKS) as u64));
    group.bench_function(format!("{N_LANES}px_{N_LOOKS}looks_5series"), |bencher| {
        bencher.iter(|| {
            let series = values.each_ref().map(Vec::as_slice);
            harmonic::fit(black_box(&regressors), black_box(&weights), series, 1.0)
        });
    });
    group.finish();
}

/// Monitoring of one new look on a fit in memory, and the verdicts after it; elements are pixels, clouded ones included.
///
/// Times are processor times of one thread. Three years of looks, the last one the new one. The largest window is that of a
/// cell, and what is kept of it does not fit the caches; what is kept of the smaller ones does.
fn step(criterion: &mut Criterion) {
    const N_LOOKS: usize = 219;
    const N_HISTORY: usize = 146;
    /// Cubes below each other in a window.
    const N_CUBES: [usize; 3] = [1, 4, 16];
    let params = change_params();
    let shape = Shape {
        height: SIDE,
        width: SIDE,
    };
    let n_pixels = shape.n_pixels();
    let monitor_from = days(N_LOOKS)[N_HISTORY];
    let mut group = criterion.benchmark_group("step");
    for patch in [1, 16] {
        let whole = patchy_cube(shape, N_LOOKS, monitor_from, 1, patch);
        let (part, records) = Memory::of(&looks(&whole, 0, N_LOOKS - 1, 1), monitor_from, &params)
            .expect("the cube has all bands");
        for n_cubes in N_CUBES {
            let mut memory = Memory::for_parts(n_cubes * n_pixels, &part);
            for cube in 0..n_cubes {
                memory.place(&part, |pixel| cube * n_pixels + pixel);
            }
            let new = looks(&whole, N_LOOKS - 1, N_LOOKS, n_cubes);
            let mut read =
                |pixel: usize, record: &mut [f32]| records.read(pixel % n_pixels, record);
            group.throughput(Throughput::Elements((n_cubes * n_pixels) as u64));
            let case = format!("{}px_clouds_of_{patch}px", n_cubes * n_pixels);
            group.bench_function(BenchmarkId::new("look", &case), |bencher| {
                bencher.iter_custom(|n| {
                    (0..n)
                        .map(|_| {
                            let mut memory = memory.clone();
                            let began = processor_time();
                            memory
                                .step(black_box(&new), &params, &mut read)
                                .expect("the look comes after the others");
                            processor_time() - began
                        })
                        .sum()
                });
            });
            group.bench_function(BenchmarkId::new("verdicts", &case), |bencher| {
                bencher.iter_custom(|n| {
                    (0..n)
                        .map(|_| {
                            let began = processor_time();
                            black_box(memory.verdicts(&params).count());
                            processor_time() - began
                        })
                        .sum()
                });
            });
        }
    }
    group.finish();
}

/// Processor time of this thread.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = Duration::from_secs(time.tv_sec.unsigned_abs());
    seconds + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}

/// Some looks of a cube, repeated southwards.
fn looks(whole: &Cube, from: usize, until: usize, n_times: usize) -> Cube {
    let shape = whole.geobox().shape();
    let geobox = pitwatch_benches::geobox(Shape {
        height: shape.height * n_times,
        ..shape
    });
    let mut cube = Cube::empty(
        geobox,
        whole.days()[from..until].to_vec(),
        whole.bands().to_vec(),
    );
    for time in from..until {
        for band in 0..whole.bands().len() {
            let plane = cube.plane_mut(band, time - from);
            for part in plane.chunks_mut(shape.n_pixels()) {
                part.copy_from_slice(whole.plane(band, time));
            }
        }
        for part in cube.classes_mut(time - from).chunks_mut(shape.n_pixels()) {
            part.copy_from_slice(whole.classes(time));
        }
    }
    cube
}
