//! Speed of the Monte Carlo from sites to carats: 100,000 draws on one core.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use pitwatch_capacity::{
    AreaEvidence, Estimate, FalseArea, OmittedShare, Overrides, Params, Priors, Season, Site,
    assess,
};
use pitwatch_grid::Day;

const PARAMS: &str = r#"
priors_file = "priors.toml"
draws = 100000
seed = 1
coverage_floor = 0.5
site_correlation = 0.5
routes_apart = 5.0
false_discovery_rate = 0.1
min_reviewed_points = 300
max_changed_points_share = 0.1
replay_days = 365
min_reviewed_share = 0.5
min_clear_looks = 2
lag = { from_months = 0.0, mode_from_months = 4.0, mode_to_months = 6.0, to_months = 12.0, stable_months = 1.0 }
"#;

fn area(n_sites: usize) -> AreaEvidence {
    let first = Day(18_900);
    let sites = (0..n_sites)
        .map(|k| Site {
            site_id: format!("site-{k}"),
            deposit: None,
            area_ha: Estimate {
                value: 0.5,
                lo: 0.4,
                hi: 0.6,
            },
            probability: 0.9,
            dug: (Day(first.0 + 10), Day(first.0 + 30)),
            volume_m3: None,
        })
        .collect();
    AreaEvidence {
        area_id: "civ-seguela".into(),
        seasons: vec![Season {
            days: (first, Day(first.0 + 364)),
            observed_share: 0.9,
            n_clear: Some(30),
            sites,
            dykes: Vec::new(),
            omitted_share: OmittedShare::new(0.2, 0.1, 0.3).ok(),
            min_detectable_ha: Some(0.1),
            false_area: Some(FalseArea {
                areas_ha: vec![0.2],
                exposure_seasons: 2.0,
                applies_seasons: 1.0,
                is_upper_bound: false,
                sees_new_ground: true,
                smallest_ha: 0.1,
                source: "bench".into(),
            }),
            sample: None,
        }],
        looks: Vec::new(),
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let params: Params = toml::from_str(PARAMS).expect("the table is valid");
    let file = include_str!("../pipelines/priors.toml");
    let priors = Priors::parse(file, &Overrides::default()).expect("the file is valid");
    let mut group = criterion.benchmark_group("assess_100000_draws");
    for n_sites in [50, 1_000] {
        // One area and its country: two assessments of the same sites.
        let evidence = [area(n_sites)];
        group.bench_function(format!("{n_sites}_sites"), |bencher| {
            bencher.iter(|| {
                assess(black_box(&evidence), &priors, &[], &params).expect("the evidence is valid")
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
