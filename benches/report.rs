//! Speed of writing the alerts as GeoJSON, into memory.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use pitwatch_benches::{changed_pixels, geobox, sites_params, times};
use pitwatch_grid::Shape;
use pitwatch_report::write_alerts_geojson;
use pitwatch_sites::{Topsoil, find_alerts, follow};

const N_LOOKS: usize = 140;
const N_PIXELS: usize = 20_000;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let params = sites_params();
    let area = geobox(Shape {
        height: 1_024,
        width: 1_024,
    });
    let pixels = changed_pixels(&area, N_LOOKS as u32, N_PIXELS, 1);
    let mut alerts = find_alerts(
        "bench",
        &area,
        &times(N_LOOKS),
        &pixels,
        &Topsoil::default(),
        &params,
    )
    .expect("the area can be projected")
    .alerts;
    follow(
        "bench",
        &area,
        &[],
        &mut alerts,
        &[],
        &BTreeMap::new(),
        &params,
    )
    .expect("as for the alerts");
    let write = |out: &mut Vec<u8>| {
        out.clear();
        let notice = "Contains modified Copernicus Sentinel data 2019–2020";
        write_alerts_geojson(out, black_box(&alerts), "20201125-0123456789ab", notice)
            .expect("memory takes all bytes");
    };
    let mut out = Vec::new();
    write(&mut out);

    let mut group = criterion.benchmark_group("write_alerts_geojson");
    group.throughput(Throughput::Bytes(out.len() as u64));
    let size = format!("{}alerts_{N_PIXELS}px", alerts.len());
    group.bench_function(size, |bencher| bencher.iter(|| write(&mut out)));
    group.finish();
    criterion.final_summary();
}
