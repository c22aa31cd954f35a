//! Seasons of which the truth is known: pits are dug, missed and mapped, false objects are added, and the carats are estimated
//! from what was found.

use pitwatch_capacity::{
    AreaEvidence, Distribution, Estimate, Factor, FalseArea, OmittedShare, Overrides, Params,
    Priors, Scope, Season, Site, assess,
};
use pitwatch_grid::Day;
use rand::{RngExt, SeedableRng};
use rand_distr::{Beta, Distribution as _, Poisson, StandardNormal, Triangular};
use rand_pcg::Pcg64;

/// Sizes in hectares, and pits found of those drawn, confirmed tier: `ci`, seed 1, in docs/accuracy.md.
const FOUND: [(f64, f64, u32, u32); 6] = [
    (0.01, 0.015, 0, 43),
    (0.015, 0.04, 12, 47),
    (0.04, 0.1, 32, 48),
    (0.1, 0.3, 30, 47),
    (0.3, 0.8, 29, 38),
    (0.8, 2.0, 26, 36),
];

const DEPOSIT: &str = "creek-flat";
const AREA: &str = "cog-likouala";

/// What the truth has more of than the priors say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shift {
    /// Factor whose true value is a multiple of what the prior draws; `None` = the priors are right.
    pub(crate) factor: Option<Factor>,
    /// The multiple.
    pub(crate) by: f64,
    /// The multiple of the omitted share that the estimate is told; 1 = as measured.
    pub(crate) told_omitted: f64,
    /// Whether the estimate is told the area's own false area.
    pub(crate) knows_false_area: bool,
}

/// How often the truth lay in the interval of 90 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Coverage {
    /// Seasons.
    pub(crate) n: u32,
    /// Share of seasons in which the true carats lay in their interval.
    pub(crate) carats: f64,
    /// Share in which the true hectares lay in theirs.
    pub(crate) hectares: f64,
}

/// Simulates so many seasons and estimates each.
pub(crate) fn coverage(n: u32, draws: usize, shift: Shift) -> Coverage {
    let mut params: Params = toml::from_str(
        r#"
        priors_file = "priors.toml"
        draws = 1000
        seed = 0
        coverage_floor = 0.5
        site_correlation = 0.5
        routes_apart = 5.0
        false_discovery_rate = 0.1
        min_reviewed_points = 300
        max_changed_points_share = 0.1
        replay_days = 365
        min_reviewed_share = 0.5
        min_clear_looks = 2
        lag = { from_months = 0.0, mode_from_months = 0.1, mode_to_months = 0.2, to_months = 0.3, stable_months = 0.0 }
        "#,
    )
    .expect("the table is valid");
    params.draws = draws;
    let file = include_str!("../../../../pipelines/priors.toml");
    let priors = Priors::parse(file, &Overrides::default()).expect("the file is valid");
    let (mut carats, mut hectares) = (0, 0);
    for season in 0..n {
        let mut random = Pcg64::seed_from_u64(u64::from(season));
        params.seed = u64::from(season) + 1_000_000;
        let (truth, evidence) = draw_season(&mut random, &priors, &params, shift);
        let all = assess(&[evidence], &priors, &[], &params).expect("the evidence is valid");
        let area = all
            .iter()
            .find(|assessment| matches!(assessment.scope, Scope::Area(_)))
            .expect("the area is assessed");
        let implied = area.implied.expect("there is a route");
        let ha = area.ground.as_ref().expect("there is imagery").adjusted_ha;
        carats += u32::from((implied.p5..=implied.p95).contains(&truth.carats));
        hectares += u32::from((ha.lo..=ha.hi).contains(&truth.hectares));
    }
    let share = |hits: u32| f64::from(hits) / f64::from(n);
    Coverage {
        n,
        carats: share(carats),
        hectares: share(hectares),
    }
}

struct Truth {
    carats: f64,
    hectares: f64,
}

fn draw_season(
    random: &mut Pcg64,
    priors: &Priors,
    params: &Params,
    shift: Shift,
) -> (Truth, AreaEvidence) {
    let value = |random: &mut Pcg64, factor: Factor| {
        let chosen = priors
            .choose(AREA, Some(DEPOSIT), factor)
            .expect("the prior is there");
        let z: f64 = StandardNormal.sample(random);
        let value = match chosen.prior.distribution {
            Distribution::Lognormal { p5, p95 } => {
                let (low, high): (f64, f64) = (p5.ln(), p95.ln());
                (0.5 * (low + high) + z * (high - low) / (2.0 * 1.644_853_627)).exp()
            }
            Distribution::Triangular { lo, mode, hi } => Triangular::new(lo, hi, mode)
                .expect("the prior is valid")
                .sample(random),
            other => panic!("{other} is not simulated"),
        };
        if shift.factor == Some(factor) {
            value * shift.by
        } else {
            value
        }
    };
    let ct_per_m3 = value(random, Factor::Grade)
        * value(random, Factor::Recovery)
        * value(random, Factor::ExtractedShare);
    let thickness_m = value(random, Factor::GravelThickness);
    let shared: f64 = StandardNormal.sample(random);

    let rate = 5.0 * 16.0_f64.powf(random.random());
    let false_rate = 2.0;
    let day = |text: &str| -> Day { text.parse().expect("a day") };
    let dug = (day("2022-03-01"), day("2022-03-10"));
    let mut truth = Truth {
        carats: 0.0,
        hectares: 0.0,
    };
    let mut sites = Vec::new();
    let log_uniform = |random: &mut Pcg64, lo: f64, hi: f64| lo * (hi / lo).powf(random.random());
    // The share of pits that is found, over sizes that are log-uniform: the odds of a true object.
    let width = (2.0_f64 / 0.01).ln();
    let mean_found: f64 = FOUND
        .iter()
        .map(|(lo, hi, k, n)| (hi / lo).ln() / width * f64::from(*k) / f64::from(*n))
        .sum();
    let odds = rate * mean_found / false_rate;
    let mut report = |random: &mut Pcg64, ha: f64, is_true: bool| {
        let mapped = ha * (1.0 + 0.15 * (random.random::<f64>() + random.random::<f64>() - 1.0));
        let score: f64 = StandardNormal.sample(random);
        let score = score + if is_true { 2.0 } else { 0.0 };
        let ratio = odds * (2.0 * score - 2.0).exp();
        sites.push(Site {
            site_id: format!("site-{}", sites.len()),
            deposit: None,
            area_ha: Estimate {
                value: mapped,
                lo: 0.85 * mapped,
                hi: 1.15 * mapped,
            },
            probability: ratio / (1.0 + ratio),
            dug,
            volume_m3: None,
        });
    };
    let n_pits: f64 = Poisson::new(rate).expect("above 0").sample(random);
    for _ in 0..n_pits as u32 {
        let ha = log_uniform(random, 0.01, 2.0);
        let own: f64 = StandardNormal.sample(random);
        let z =
            params.site_correlation.sqrt() * shared + (1.0 - params.site_correlation).sqrt() * own;
        let dug_share = triangular(normal_cdf(z), 0.25, 0.5, 0.8)
            * if shift.factor == Some(Factor::DugShare) {
                shift.by
            } else {
                1.0
            };
        truth.hectares += ha;
        truth.carats += 1e4 * ha * dug_share * thickness_m * ct_per_m3;
        let class = FOUND
            .iter()
            .find(|(_, hi, _, _)| ha < *hi)
            .unwrap_or(&FOUND[5]);
        if random.random::<f64>() < f64::from(class.2) / f64::from(class.3) {
            report(random, ha, true);
        }
    }
    let n_false: f64 = Poisson::new(false_rate).expect("above 0").sample(random);
    for _ in 0..n_false as u32 {
        let ha = log_uniform(random, 0.05, 0.5);
        report(random, ha, false);
    }
    // Quiet ground of three seasons shows the false area.
    let n_quiet: f64 = Poisson::new(3.0 * false_rate)
        .expect("above 0")
        .sample(random);
    let areas_ha = (0..n_quiet as u32)
        .map(|_| log_uniform(random, 0.05, 0.5))
        .collect();
    let omitted = measured_omission(random, shift.told_omitted);
    let season = Season {
        days: (day("2022-01-01"), day("2022-11-30")),
        observed_share: 1.0,
        n_clear: Some(30),
        sites,
        dykes: Vec::new(),
        omitted_share: Some(omitted),
        min_detectable_ha: Some(0.1),
        false_area: shift.knows_false_area.then(|| FalseArea {
            areas_ha,
            exposure_seasons: 3.0,
            applies_seasons: 1.0,
            is_upper_bound: false,
            sees_new_ground: true,
            smallest_ha: 0.05,
            source: "simulation".into(),
        }),
        sample: None,
    };
    (
        truth,
        AreaEvidence {
            area_id: AREA.into(),
            seasons: vec![season],
            looks: Vec::new(),
        },
    )
}

/// The omitted share as a run of drawn pits would measure it, with its interval.
fn measured_omission(random: &mut Pcg64, told: f64) -> OmittedShare {
    let mut counts = [0.0; 6];
    for (count, (_, _, k, n)) in counts.iter_mut().zip(FOUND) {
        for _ in 0..n {
            *count += f64::from(u8::from(
                random.random::<f64>() < f64::from(k) / f64::from(n),
            ));
        }
    }
    // Log-uniform sizes: the dug area in a class goes with its width.
    let omitted = |p: &[f64]| {
        let all: f64 = FOUND.iter().map(|(lo, hi, _, _)| hi - lo).sum();
        let found: f64 = FOUND
            .iter()
            .zip(p)
            .map(|((lo, hi, _, _), p)| (hi - lo) * p)
            .sum();
        1.0 - found / all
    };
    let mut draws: Vec<f64> = (0..400)
        .map(|_| {
            let p: Vec<f64> = FOUND
                .iter()
                .zip(counts)
                .map(|((_, _, _, n), k)| {
                    Beta::new(k + 0.5, f64::from(*n) - k + 0.5)
                        .expect("above 0")
                        .sample(random)
                })
                .collect();
            omitted(&p)
        })
        .collect();
    draws.sort_by(f64::total_cmp);
    let at = |i: usize| (draws[i] * told).clamp(0.0, 0.98);
    OmittedShare::new(at(200), at(20), at(379)).expect("in order")
}

fn normal_cdf(z: f64) -> f64 {
    0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
}

fn triangular(u: f64, lo: f64, mode: f64, hi: f64) -> f64 {
    if u < (mode - lo) / (hi - lo) {
        lo + (u * (hi - lo) * (mode - lo)).sqrt()
    } else {
        hi - ((1.0 - u) * (hi - lo) * (hi - mode)).sqrt()
    }
}
