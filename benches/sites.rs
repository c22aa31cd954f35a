//! Speed of making objects and their outlines from changed pixels.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use pitwatch_benches::{changed_pixels, geobox, sites_params, times};
use pitwatch_grid::Shape;
use pitwatch_sites::{find_alerts, find_sites};

const N_LOOKS: usize = 140;
/// Height and width of the area, in pixels.
const SIDE: usize = 1_024;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let params = sites_params();
    let area = geobox(Shape {
        height: SIDE,
        width: SIDE,
    });
    let looks = times(N_LOOKS);
    let mut group = criterion.benchmark_group("vectorise");
    for n_pixels in [2_000, 40_000] {
        let pixels = changed_pixels(&area, N_LOOKS as u32, n_pixels, 1);
        let find = || {
            find_alerts("bench", &area, &looks, black_box(&pixels), &params)
                .expect("the area can be projected")
                .alerts
        };
        let alerts = find();
        let size = format!("{n_pixels}px_{}objects", alerts.len());
        group.throughput(Throughput::Elements(n_pixels as u64));
        group.bench_function(format!("find_alerts/{size}"), |bencher| bencher.iter(find));
        group.bench_function(format!("find_sites/{size}"), |bencher| {
            bencher.iter_batched(
                || alerts.clone(),
                |mut alerts| {
                    let sites = find_sites(&area, &mut alerts, &params).expect("as for the alerts");
                    (alerts, sites)
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
    criterion.final_summary();
}
