use std::collections::BTreeMap;

use pitwatch_grid::Day;
use rand::RngExt;
use rand_distr::{Distribution as _, Exp, Gamma, Normal, Poisson, StandardNormal};

use crate::draw::{Quantile, column, column_of_interval, normals, stream};
use crate::evidence::{AreaEvidence, FalseArea, Season};
use crate::{Distribution, Error, Factor, Flag, Params, Priors, Result};

/// Square meters in a hectare.
const M2_PER_HA: f64 = 10_000.0;

/// The lag as it is, a month shorter and a month longer.
pub(crate) const N_SHIFTS: usize = 3;

/// The draws of one kind of ground in one area.
pub(crate) struct Field {
    /// Carats in a m³ of gravel in place that is reached: ξ · G · R · s. m³ to ct.
    ct_per_m3: Vec<f64>,
    /// T, m.
    thickness_m: Option<Vec<f64>>,
    /// Gravel in a volume of all that is dug.
    gravel_fraction: Option<Vec<f64>>,
    /// ξ; `None` = everything.
    extracted: Option<Vec<f64>>,
    /// G · R · s alone, for dykes.
    ct_per_m3_dyke: Vec<f64>,
    /// φ as a function of a deviate, and the deviates that the sites share.
    dug_share: Option<(Quantile, Vec<f64>)>,
    columns: Vec<(String, Vec<f64>)>,
    flags: Vec<Flag>,
}

impl Field {
    /// Draws the unknowns of a field once; every site of it uses them.
    pub(crate) fn draw(
        area_id: &str,
        deposit: &str,
        priors: &Priors,
        params: &Params,
    ) -> Result<Self> {
        let n = params.draws;
        let mut columns = Vec::new();
        let mut flags = Vec::new();
        let name = |factor: Factor| {
            let of_area = priors.areas().get(area_id);
            let is_main = of_area.and_then(|area| area.deposit.as_deref()) == Some(deposit);
            if is_main {
                format!("{area_id}: {}", factor.key())
            } else {
                format!("{area_id}: {} of {deposit}", factor.key())
            }
        };
        let mut prior_column = |factor: Factor| -> Option<Vec<f64>> {
            let chosen = priors.choose(area_id, Some(deposit), factor)?;
            flags.extend(priors.flags_of(factor, &chosen));
            let drawn = column(chosen.prior.distribution, params.seed, &name(factor), n);
            columns.push((name(factor), drawn.clone()));
            Some(drawn)
        };
        let missing = |factor: Factor| Error::Priors {
            message: format!(
                "deposit.{deposit}.{} is missing; area {area_id} needs it",
                factor.key()
            ),
        };
        let grade = prior_column(Factor::Grade).ok_or_else(|| missing(Factor::Grade))?;
        let is_recovered = priors
            .deposits()
            .get(deposit)
            .is_some_and(|deposit| deposit.grade_is_recovered);
        let recovery = if is_recovered {
            vec![1.0; n]
        } else {
            prior_column(Factor::Recovery).ok_or_else(|| missing(Factor::Recovery))?
        };
        let diamond_share = prior_column(Factor::DiamondShare).unwrap_or_else(|| vec![1.0; n]);
        let extracted = prior_column(Factor::ExtractedShare);
        let thickness_m = prior_column(Factor::GravelThickness);
        let gravel_fraction = prior_column(Factor::GravelFraction);
        let ct_per_m3_dyke: Vec<f64> = (0..n)
            .map(|i| grade[i] * recovery[i] * diamond_share[i])
            .collect();
        let ct_per_m3 = match &extracted {
            Some(extracted) => (0..n).map(|i| ct_per_m3_dyke[i] * extracted[i]).collect(),
            None => ct_per_m3_dyke.clone(),
        };
        let dug_share = match priors.choose(area_id, Some(deposit), Factor::DugShare) {
            Some(chosen) => {
                flags.extend(priors.flags_of(Factor::DugShare, &chosen));
                let shared = normals(params.seed, &name(Factor::DugShare), n);
                columns.push((name(Factor::DugShare), shared.clone()));
                Some((Quantile::of(chosen.prior.distribution), shared))
            }
            None => None,
        };
        Ok(Self {
            ct_per_m3,
            extracted,
            thickness_m,
            gravel_fraction,
            ct_per_m3_dyke,
            dug_share,
            columns,
            flags,
        })
    }

    /// Carats in a hectare of new digging, `10⁴ · φ · T · ξ · G · R · s`; `None` where thickness or dug share is missing (dykes).
    ///
    /// One unknown site: the dug share has its whole spread.
    pub(crate) fn ct_per_ha(&self) -> Option<Vec<f64>> {
        let thickness = self.thickness_m.as_ref()?;
        let (quantile, shared) = self.dug_share.as_ref()?;
        Some(
            (0..thickness.len())
                .map(|i| M2_PER_HA * quantile.at(shared[i]) * thickness[i] * self.ct_per_m3[i])
                .collect(),
        )
    }
}

/// What the seasons of one area come to in one reporting period.
pub(crate) struct AreaDraws {
    /// Carats, for each shift of the lag.
    pub(crate) carats: [Vec<f64>; N_SHIFTS],
    /// Hectares of excavation in the seasons that feed the period, weighted by the lag.
    pub(crate) adjusted_ha: Vec<f64>,
    /// False hectares of these seasons, weighted likewise; `None` = not measured in one of them.
    pub(crate) false_ha: Option<Vec<f64>>,
    /// Omitted share of the season that feeds the period most.
    pub(crate) omitted: Option<crate::Estimate>,
    /// Hectares as mapped, lo, value, hi, weighted likewise.
    pub(crate) mapped_ha: [f64; 3],
    /// Carats in a hectare of new digging.
    pub(crate) ct_per_ha: Option<Vec<f64>>,
    pub(crate) n_sites: usize,
    pub(crate) is_sample_adjusted: bool,
    /// True if digging may be missing from the sum without a measure of how much.
    pub(crate) is_lower_bound: bool,
    /// True if none was found in any season, and the detection limit is not known either.
    pub(crate) is_blind: bool,
    pub(crate) columns: Vec<(String, Vec<f64>)>,
    pub(crate) flags: Vec<Flag>,
}

impl AreaDraws {
    /// Nothing, in `n` draws.
    fn none(n: usize) -> Self {
        Self {
            carats: std::array::from_fn(|_| vec![0.0; n]),
            adjusted_ha: vec![0.0; n],
            false_ha: Some(vec![0.0; n]),
            omitted: None,
            mapped_ha: [0.0; 3],
            ct_per_ha: None,
            n_sites: 0,
            is_sample_adjusted: false,
            is_lower_bound: false,
            is_blind: false,
            columns: Vec::new(),
            flags: Vec::new(),
        }
    }
}

/// The hectares alone of an area where area gives no carats: what of the draws speaks of carats stays empty.
pub(crate) fn draw_ground(
    evidence: &AreaEvidence,
    period: (Day, Day),
    params: &Params,
) -> Result<AreaDraws> {
    let n = params.draws;
    let area_id = evidence.area_id.as_str();
    let mut draws = AreaDraws::none(n);
    for season in &evidence.seasons {
        let weight = params.lag.mean_share_in(season.days, period);
        if weight <= 0.0 {
            continue;
        }
        let season_ha = draw_season_ha(area_id, season, params)?;
        for (sum, ha) in draws.adjusted_ha.iter_mut().zip(season_ha) {
            *sum += weight * ha;
        }
        for site in &season.sites {
            let weight = params.lag.mean_share_in(site.dug, period);
            let area = site.area_ha;
            for (sum, ha) in draws
                .mapped_ha
                .iter_mut()
                .zip([area.lo, area.value, area.hi])
            {
                *sum += weight * ha;
            }
        }
        draws.n_sites += season.sites.len();
        let ground = SeasonGround::draw(area_id, season, params)?;
        draws.is_sample_adjusted |= ground.sample_ha.is_some();
        draws.false_ha = draws
            .false_ha
            .zip(ground.false_ha)
            .map(|(mut sum, false_ha)| {
                sum.iter_mut()
                    .zip(false_ha)
                    .for_each(|(sum, ha)| *sum += weight * ha);
                sum
            });
        draws.is_blind |= season.sites.is_empty() && season.min_detectable_ha.is_none();
    }
    Ok(draws)
}

/// The pit route of one area: `C = Σ A · p · φ · T · ξ · G · R · s / (1 − o)`, each excavation weighted by the share of it
/// that the lag puts into the period.
pub(crate) fn draw_area(
    evidence: &AreaEvidence,
    deposit: &str,
    period: (Day, Day),
    priors: &Priors,
    params: &Params,
) -> Result<AreaDraws> {
    let n = params.draws;
    let area_id = evidence.area_id.as_str();
    let mut fields: BTreeMap<&str, Field> = BTreeMap::new();
    fields.insert(deposit, Field::draw(area_id, deposit, priors, params)?);
    let sites = || evidence.seasons.iter().flat_map(|season| &season.sites);
    let dykes = evidence.seasons.iter().flat_map(|season| &season.dykes);
    let others = sites()
        .filter_map(|site| site.deposit.as_deref())
        .chain(dykes.map(|dyke| dyke.deposit.as_str()));
    for name in others {
        if !fields.contains_key(name) {
            fields.insert(name, Field::draw(area_id, name, priors, params)?);
        }
    }
    let mut draws = AreaDraws {
        ct_per_ha: fields[deposit].ct_per_ha(),
        ..AreaDraws::none(n)
    };
    let shift = params.lag.stable_months;
    let lags = [
        params.lag,
        params.lag.shifted(-shift),
        params.lag.shifted(shift),
    ];
    let mut heaviest = 0.0;
    for season in &evidence.seasons {
        let season_weights = lags.map(|lag| lag.mean_share_in(season.days, period));
        if season_weights.iter().all(|&weight| weight <= 0.0) {
            continue;
        }
        let weights = |dug: (Day, Day)| lags.map(|lag| lag.mean_share_in(dug, period));
        let is_sampled = sample_of(season, params).is_some();
        draws.is_sample_adjusted |= is_sampled;
        // By kind of ground: hectares (or m³ of gravel) that are dug down to gravel, weighted.
        let mut dug: BTreeMap<&str, [Vec<f64>; N_SHIFTS]> = BTreeMap::new();
        let mut adjusted = vec![0.0; n];
        let ground = SeasonGround::draw(area_id, season, params)?;
        if let Some(sample) = &ground.sample_ha {
            let field = &fields[deposit];
            let found_weights = mean_weights(season, season_weights, &weights);
            let into = dug
                .entry(deposit)
                .or_insert_with(|| std::array::from_fn(|_| vec![0.0; n]));
            for i in 0..n {
                let gravel =
                    gravel_m3_per_ha(field, i, 0.0, params.site_correlation, area_id)? * sample[i];
                for (into, weight) in into.iter_mut().zip(found_weights) {
                    into[i] += weight * gravel;
                }
                adjusted[i] += found_weights[0] * sample[i];
            }
        } else if season.sites.is_empty() && season.dykes.is_empty() {
            draws.flags.push(Flag::NoneFound {
                area_id: area_id.into(),
            });
            match season.min_detectable_ha {
                None => {
                    draws.is_blind = true;
                    draws.is_lower_bound = true;
                }
                Some(limit_ha) => {
                    let exponential = Exp::new(1.0 / limit_ha)
                        .map_err(|_| parameter("min_detectable_ha", limit_ha))?;
                    let mut random = stream(
                        params.seed,
                        &format!("{area_id}/{}/none found", season.days.0),
                    );
                    let field = &fields[deposit];
                    let into = dug
                        .entry(deposit)
                        .or_insert_with(|| std::array::from_fn(|_| vec![0.0; n]));
                    for i in 0..n {
                        let hidden_ha: f64 = exponential.sample(&mut random);
                        let gravel =
                            gravel_m3_per_ha(field, i, 0.0, params.site_correlation, area_id)?
                                * hidden_ha;
                        for (into, weight) in into.iter_mut().zip(season_weights) {
                            into[i] += weight * gravel;
                        }
                        adjusted[i] += season_weights[0] * hidden_ha;
                    }
                }
            }
        } else {
            for site in &season.sites {
                let name = site.deposit.as_deref().unwrap_or(deposit);
                let site_weights = weights(site.dug);
                let into = dug
                    .entry(name)
                    .or_insert_with(|| std::array::from_fn(|_| vec![0.0; n]));
                draw_site(
                    site,
                    &fields[name],
                    &ground,
                    site_weights,
                    params,
                    area_id,
                    season,
                    into,
                    &mut adjusted,
                )?;
            }
        }
        if let Some(missed) = &ground.missed_over_found {
            let all = std::iter::once(&mut adjusted).chain(dug.values_mut().flatten());
            for column in all {
                column
                    .iter_mut()
                    .zip(missed)
                    .for_each(|(value, missed)| *value *= 1.0 + missed);
            }
        }
        for (name, dug) in &dug {
            let field = &fields[name];
            for (carats, dug) in draws.carats.iter_mut().zip(dug) {
                for i in 0..n {
                    carats[i] += dug[i] * field.ct_per_m3[i];
                }
            }
        }
        let has_volume = season.sites.iter().any(|site| site.volume_m3.is_some());
        if !season.dykes.is_empty() || has_volume && !is_sampled {
            draws.flags.push(Flag::MeasuredVolume {
                area_id: area_id.into(),
            });
        }
        for dyke in &season.dykes {
            let dyke_weights = weights(dyke.dug);
            let side = |side: &str, distribution: Distribution| {
                column(
                    distribution,
                    params.seed,
                    &format!("{area_id}/{}/{}/{side}", season.days.0, dyke.name),
                    n,
                )
            };
            let (length, width, depth) = (
                side("length", dyke.length_m),
                side("width", dyke.width_m),
                side("depth", dyke.depth_m),
            );
            let field = &fields[dyke.deposit.as_str()];
            for (carats, weight) in draws.carats.iter_mut().zip(dyke_weights) {
                for i in 0..n {
                    carats[i] += weight * length[i] * width[i] * depth[i] * field.ct_per_m3_dyke[i];
                }
            }
        }
        draws
            .adjusted_ha
            .iter_mut()
            .zip(&adjusted)
            .for_each(|(sum, ha)| *sum += ha);
        draws.n_sites += season.sites.len();
        for site in &season.sites {
            let weight = weights(site.dug)[0];
            for (sum, ha) in draws.mapped_ha.iter_mut().zip([
                site.area_ha.lo,
                site.area_ha.value,
                site.area_ha.hi,
            ]) {
                *sum += weight * ha;
            }
        }
        if season
            .false_area
            .as_ref()
            .is_some_and(|of| of.is_upper_bound)
            && !is_sampled
        {
            draws.flags.push(Flag::FalseAreaIsUpperBound {
                area_id: area_id.into(),
            });
        }
        match (&ground.false_ha, &mut draws.false_ha) {
            (Some(of_season), Some(sum)) => {
                sum.iter_mut()
                    .zip(of_season)
                    .for_each(|(sum, ha)| *sum += season_weights[0] * ha);
            }
            (None, _) if is_sampled => {}
            (None, false_ha) => {
                *false_ha = None;
                draws.flags.push(Flag::FalseAreaNotMeasured {
                    area_id: area_id.into(),
                });
            }
            (Some(_), None) => {}
        }
        if season.omitted_share.is_none() && !is_sampled {
            draws.is_lower_bound = true;
            draws.flags.push(Flag::OmittedShareNotMeasured {
                area_id: area_id.into(),
            });
        }
        let fed = f64::from(season.n_days()) * season_weights[0];
        if !is_sampled && fed > heaviest {
            heaviest = fed;
            draws.omitted = season.omitted_share.map(crate::OmittedShare::estimate);
        }
        if let Some(missed) = ground.missed_over_found {
            draws.columns.push((
                format!("{area_id}: omitted share from {}", season.days.0),
                missed,
            ));
        }
    }
    // Beside a season in which something was found, a blind one makes a lower bound and no more.
    draws.is_blind &= draws.n_sites == 0 && !draws.is_sample_adjusted;
    draws
        .columns
        .push((format!("{area_id}: area"), draws.adjusted_ha.clone()));
    for field in fields.into_values() {
        draws.columns.extend(field.columns);
        draws.flags.extend(field.flags);
    }
    if draws.is_sample_adjusted {
        draws.false_ha = None;
    }
    Ok(draws)
}

fn parameter(key: &'static str, value: f64) -> Error {
    Error::Parameter {
        key,
        value: value.to_string(),
        range: "above 0, and be finite",
    }
}

/// The reviewed sample, if it is large enough to take the place of probability and omitted share.
fn sample_of(season: &Season, params: &Params) -> Option<crate::SampleArea> {
    season
        .sample
        .filter(|sample| sample.n_points >= params.min_reviewed_points)
}

fn mean_weights(
    season: &Season,
    season_weights: [f64; N_SHIFTS],
    weights: &impl Fn((Day, Day)) -> [f64; N_SHIFTS],
) -> [f64; N_SHIFTS] {
    let area: f64 = season.sites.iter().map(|site| site.area_ha.value).sum();
    if area <= 0.0 {
        return season_weights;
    }
    let mut mean = [0.0; N_SHIFTS];
    for site in &season.sites {
        for (mean, weight) in mean.iter_mut().zip(weights(site.dug)) {
            *mean += weight * site.area_ha.value / area;
        }
    }
    mean
}

/// Gravel under a hectare that is disturbed, m³: `10⁴ · φ · T`.
fn gravel_m3_per_ha(
    field: &Field,
    i: usize,
    own: f64,
    correlation: f64,
    area_id: &str,
) -> Result<f64> {
    let (Some(thickness), Some((quantile, shared))) = (&field.thickness_m, &field.dug_share) else {
        return Err(Error::Priors {
            message: format!(
                "area {area_id}: gravel_thickness and dug_share are needed to turn area into gravel"
            ),
        });
    };
    let z = correlation.sqrt() * shared[i] + (1.0 - correlation).sqrt() * own;
    Ok(M2_PER_HA * quantile.at(z) * thickness[i])
}

/// What all objects of a season share.
pub(crate) struct SeasonGround {
    /// False hectares by the area's own measure.
    false_ha: Option<Vec<f64>>,
    /// What each object's chance of being false is multiplied with, so that false area comes to `false_ha`; or, where every
    /// object is certain, the chance itself.
    false_scale: Option<FalseScale>,
    /// o / (1 − o), with the chance of which pits were missed.
    missed_over_found: Option<Vec<f64>>,
    /// Hectares by a reviewed sample.
    sample_ha: Option<Vec<f64>>,
}

enum FalseScale {
    Times(Vec<f64>),
    Share(Vec<f64>),
}

impl SeasonGround {
    fn draw(area_id: &str, season: &Season, params: &Params) -> Result<Self> {
        let n = params.draws;
        let name = |what: &str| format!("{area_id}/{}/{what}", season.days.0);
        if let Some(sample) = sample_of(season, params) {
            let normal = Normal::new(sample.area.0, sample.standard_error.0)
                .map_err(|_| parameter("standard error", sample.standard_error.0))?;
            let mut random = stream(params.seed, &name("sample"));
            let sample_ha = (0..n)
                .map(|_| normal.sample(&mut random).max(0.0))
                .collect();
            return Ok(Self {
                false_ha: None,
                false_scale: None,
                missed_over_found: None,
                sample_ha: Some(sample_ha),
            });
        }
        let mapped_ha: f64 = season.sites.iter().map(|site| site.area_ha.value).sum();
        let expected_ha: f64 = season
            .sites
            .iter()
            .map(|site| (1.0 - site.probability) * site.area_ha.value)
            .sum();
        let false_ha = season
            .false_area
            .as_ref()
            .map(|false_area| -> Result<Vec<f64>> {
                let mut false_ha = draw_false_ha(false_area, params, &name("false area"))?;
                if !false_area.sees_new_ground {
                    for ha in &mut false_ha {
                        *ha = ha.max(expected_ha);
                    }
                }
                Ok(false_ha)
            })
            .transpose()?;
        let false_scale = false_ha
            .as_ref()
            .filter(|_| mapped_ha > 0.0)
            .map(|false_ha| {
                let over = |by: f64| false_ha.iter().map(|ha| ha / by).collect();
                if expected_ha > 0.0 {
                    FalseScale::Times(over(expected_ha))
                } else {
                    FalseScale::Share(over(mapped_ha))
                }
            });
        let missed_over_found = season
            .omitted_share
            .map(|omitted| -> Result<Vec<f64>> {
                let estimate = omitted.estimate();
                // The same unknown in every season of the area: it cancels in the activity index.
                let shares = column_of_interval(
                    (estimate.value, estimate.lo, estimate.hi),
                    (0.0, 0.5 * (estimate.hi + 1.0).min(1.999)),
                    params.seed,
                    &format!("{area_id}/omitted share"),
                    n,
                );
                // Which pits were missed is chance too: with k found, the number missed varies as a gamma of shape k + ½.
                let shape = season.sites.len() as f64 + 0.5;
                let gamma =
                    Gamma::new(shape, 1.0 / shape).map_err(|_| parameter("sites", shape))?;
                let mut random = stream(params.seed, &name("missed"));
                Ok(shares
                    .into_iter()
                    .map(|share| share / (1.0 - share) * gamma.sample(&mut random))
                    .collect())
            })
            .transpose()?;
        Ok(Self {
            false_ha,
            false_scale,
            missed_over_found,
            sample_ha: None,
        })
    }

    fn true_probability(&self, probability: f64, i: usize) -> f64 {
        match &self.false_scale {
            None => probability,
            Some(FalseScale::Times(scale)) => 1.0 - (scale[i] * (1.0 - probability)).min(1.0),
            Some(FalseScale::Share(share)) => 1.0 - share[i].min(1.0),
        }
    }
}

/// False hectares in a season: a Poisson number of objects at a rate known from so many counted (Jeffreys' prior), each of
/// the size of one counted.
fn draw_false_ha(false_area: &FalseArea, params: &Params, name: &str) -> Result<Vec<f64>> {
    let counted = false_area.areas_ha.len();
    let rate = Gamma::new(counted as f64 + 0.5, 1.0 / false_area.exposure_seasons)
        .map_err(|_| parameter("exposure_seasons", false_area.exposure_seasons))?;
    let mut random = stream(params.seed, name);
    Ok((0..params.draws)
        .map(|_| {
            let rate: f64 = rate.sample(&mut random);
            let mean = rate * false_area.applies_seasons;
            let n_false: f64 = Poisson::new(mean.max(f64::MIN_POSITIVE))
                .map_or(0.0, |poisson| poisson.sample(&mut random));
            let mut ha = 0.0;
            let mut left = n_false;
            while left > 0.5 {
                ha += if counted == 0 {
                    false_area.smallest_ha
                } else {
                    false_area.areas_ha[random.random_range(0..counted)]
                };
                left -= 1.0;
            }
            ha
        })
        .collect())
}

/// Draws one object: whether it is excavation, its area, its dug share.
#[expect(
    clippy::too_many_arguments,
    reason = "one call, in the loop over the sites"
)]
fn draw_site(
    site: &crate::evidence::Site,
    field: &Field,
    ground: &SeasonGround,
    weights: [f64; N_SHIFTS],
    params: &Params,
    area_id: &str,
    season: &Season,
    into: &mut [Vec<f64>; N_SHIFTS],
    adjusted: &mut [f64],
) -> Result<()> {
    const UNIT: f64 = 1.0 / (1_u64 << 21) as f64;
    let mut random = stream(
        params.seed,
        &format!("{area_id}/{}/{}", season.days.0, site.site_id),
    );
    let correlation = params.site_correlation;
    let (of_field, of_site) = (correlation.sqrt(), (1.0 - correlation).sqrt());
    let missing = |what: &str| Error::Priors {
        message: format!("area {area_id}: {what} needed to turn what was dug into gravel"),
    };
    let spread = |estimate: crate::Estimate, deviate: f64| {
        // Triangular between the ends, about the value.
        let width = if deviate < 0.0 {
            estimate.value - estimate.lo
        } else {
            estimate.hi - estimate.value
        };
        estimate.value + deviate * width
    };
    let [into0, into1, into2] = into;
    for i in 0..params.draws {
        // One word gives three uniform numbers of 21 bits.
        let word: u64 = random.random();
        let own: f64 = StandardNormal.sample(&mut random);
        let part = |shift: u32| ((word >> shift) & 0x1f_ffff) as f64 * UNIT;
        if part(0) >= ground.true_probability(site.probability, i) {
            continue;
        }
        let deviate = part(21) + part(42) - 1.0;
        let area_ha = spread(site.area_ha, deviate);
        let gravel_m3 = match site.volume_m3 {
            Some(volume) => {
                let fraction = field
                    .gravel_fraction
                    .as_ref()
                    .ok_or_else(|| missing("gravel_fraction is"))?;
                // What was taken out is taken out: ξ, which the carats bring in, does not apply.
                let extracted = field
                    .extracted
                    .as_ref()
                    .map_or(1.0, |extracted| extracted[i]);
                spread(volume, deviate) * fraction[i] / extracted
            }
            None => {
                let (Some(thickness), Some((quantile, shared))) =
                    (&field.thickness_m, &field.dug_share)
                else {
                    return Err(missing("gravel_thickness and dug_share are"));
                };
                M2_PER_HA
                    * area_ha
                    * quantile.at(of_field * shared[i] + of_site * own)
                    * thickness[i]
            }
        };
        adjusted[i] += weights[0] * area_ha;
        into0[i] += weights[0] * gravel_m3;
        into1[i] += weights[1] * gravel_m3;
        into2[i] += weights[2] * gravel_m3;
    }
    Ok(())
}

/// The evidence without false areas that are upper bounds: the objects' probabilities alone count. `None` if there is no such.
pub(crate) fn without_upper_bounds(evidence: &AreaEvidence) -> Option<AreaEvidence> {
    let is_bound = |season: &Season| {
        let false_area = season.false_area.as_ref();
        false_area.is_some_and(|false_area| false_area.is_upper_bound)
    };
    evidence.seasons.iter().any(is_bound).then(|| {
        let mut without = evidence.clone();
        for season in without.seasons.iter_mut().filter(|season| is_bound(season)) {
            season.false_area = None;
        }
        without
    })
}

/// Hectares of excavation in one season, unweighted: what the activity index compares.
pub(crate) fn draw_season_ha(area_id: &str, season: &Season, params: &Params) -> Result<Vec<f64>> {
    let ground = SeasonGround::draw(area_id, season, params)?;
    if let Some(sample_ha) = ground.sample_ha {
        return Ok(sample_ha);
    }
    let mut adjusted = vec![0.0; params.draws];
    if season.sites.is_empty() {
        let Some(limit_ha) = season.min_detectable_ha else {
            return Ok(adjusted);
        };
        let exponential =
            Exp::new(1.0 / limit_ha).map_err(|_| parameter("min_detectable_ha", limit_ha))?;
        let mut random = stream(
            params.seed,
            &format!("{area_id}/{}/none found", season.days.0),
        );
        adjusted
            .iter_mut()
            .for_each(|ha| *ha = exponential.sample(&mut random));
    }
    for site in &season.sites {
        let mut random = stream(
            params.seed,
            &format!("{area_id}/{}/{}/index", season.days.0, site.site_id),
        );
        for (i, sum) in adjusted.iter_mut().enumerate() {
            let [chance, a, b]: [f64; 3] = random.random();
            let width = if a + b < 1.0 {
                site.area_ha.value - site.area_ha.lo
            } else {
                site.area_ha.hi - site.area_ha.value
            };
            if chance < ground.true_probability(site.probability, i) {
                *sum += site.area_ha.value + (a + b - 1.0) * width;
            }
        }
    }
    if let Some(missed) = ground.missed_over_found {
        for (ha, missed) in adjusted.iter_mut().zip(missed) {
            *ha *= 1.0 + missed;
        }
    }
    Ok(adjusted)
}
