//! Speed of making objects and their outlines from changed pixels.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use pitwatch_benches::{changed_pixels, geobox, sites_params, times};
use pitwatch_change::Kind;
use pitwatch_grid::{Day, LatticePixel, Shape, parse_time};
use pitwatch_sites::{Known, Tier, Topsoil, find_alerts, follow};

const N_LOOKS: usize = 140;
/// Height and width of the area, in pixels.
const SIDE: usize = 1_024;

/// Objects of ten years in an area of this many pixels a side, 900 km².
const N_KNOWN: usize = 50_000;
const KNOWN_SIDE: u64 = 3_000;

/// Objects of 4 × 3 pixels at random places and days of ten years, one in twenty of them taken back.
fn ten_years(origin: LatticePixel) -> Vec<Known> {
    // xorshift64*: Vigna (2016), https://doi.org/10.1145/2845077
    let mut state = 20_261_126_u64;
    let mut below = |n: u64| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        i64::try_from(state.wrapping_mul(0x2545_F491_4F6C_DD1D) % n).expect("n is small")
    };
    let begin = parse_time("2016-01-01T10:48:29Z").expect("a time");
    (0..N_KNOWN)
        .map(|number| {
            let first_pixel = LatticePixel {
                row: origin.row + below(KNOWN_SIDE),
                col: origin.col + below(KNOWN_SIDE),
            };
            let time = begin + Duration::from_secs(86_400 * below(3_650).unsigned_abs());
            let at = |index: i64| LatticePixel {
                row: first_pixel.row + index / 4,
                col: first_pixel.col + index % 4,
            };
            Known {
                alert_id: format!("bench-{number}"),
                kind: Kind::Excavation,
                tier: Tier::Confirmed,
                first_pixel,
                area_ha: [0.12, 0.085, 0.155],
                start_datetime: time,
                end_datetime: time,
                alert_datetime: time,
                is_retracted: number % 20 == 0,
                pixels: (0..12).map(|index| (at(index), Day::of(time))).collect(),
            }
        })
        .collect()
}

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
            find_alerts(
                "bench",
                &area,
                &looks,
                black_box(&pixels),
                &Topsoil::default(),
                &params,
            )
            .expect("the area can be projected")
            .alerts
        };
        let alerts = find();
        let size = format!("{n_pixels}px_{}objects", alerts.len());
        group.throughput(Throughput::Elements(n_pixels as u64));
        group.bench_function(format!("find_alerts/{size}"), |bencher| bencher.iter(find));
        group.bench_function(format!("follow/{size}"), |bencher| {
            bencher.iter_batched(
                || alerts.clone(),
                |mut alerts| {
                    let sites = follow(
                        "bench",
                        &area,
                        &[],
                        &mut alerts,
                        &[],
                        &BTreeMap::new(),
                        &params,
                    )
                    .expect("as for the alerts");
                    (alerts, sites)
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();

    let known = ten_years(area.lattice_origin());
    let mut group = criterion.benchmark_group("follow_ten_years");
    group.throughput(Throughput::Elements(N_KNOWN as u64));
    group.bench_function(format!("{N_KNOWN}objects_900km2"), |bencher| {
        bencher.iter(|| {
            let clear = BTreeMap::new();
            follow(
                "bench",
                &area,
                black_box(&known),
                &mut [],
                &[],
                &clear,
                &params,
            )
            .expect("the area can be projected")
        });
    });
    group.finish();
    criterion.final_summary();
}
