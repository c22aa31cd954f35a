//! Speed of `change::detect` and of the seasonal fit alone.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use pitwatch_benches::{change_params, cube, days, pools};
use pitwatch_change::harmonic::{self, N_LANES};
use pitwatch_grid::Shape;

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
