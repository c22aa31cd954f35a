use std::collections::{BTreeMap, BTreeSet};

use pitwatch_grid::Day;
use rand::RngExt;

use crate::activity::relative_signal;
use crate::draw::{benjamini_hochberg, quantiles, rank_correlation, stream};
use crate::evidence::AreaEvidence;
use crate::pits::{AreaDraws, Field, N_SHIFTS, draw_area, draw_ground, without_upper_bounds};
use crate::routes::{RouteDraws, documented, labor};
use crate::{
    Assessment, Comparison, Error, Estimate, Factor, Flag, Ground, Params, Priors, Quantiles,
    RelativeSignal, ReportedAmount, Result, Route, RouteEstimate, Scope, Sensitivity, Verdict,
};

/// The two-sided error probability beyond an interval of 90 %.
const ALPHA: f64 = 0.10;

/// Coverage from which on a period was watched as a whole, to the percent that is printed.
const WHOLE: f64 = 0.995;

/// Draws that the ranking of unknowns is made from: it needs no more, and sorting is slow.
const N_RANKED: usize = 10_000;

/// Compares what the evidence and the priors imply with what was reported.
///
/// One assessment for each reported amount, and one for each area and country with evidence in each of the periods that were
/// reported for its country, or, where nothing was, the calendar year in which each season ends. Ordered by scope and period.
///
/// # Errors
///
/// If a parameter or the evidence is outside its range, an area or country is not in the priors file, or a prior that a
/// route needs is missing.
pub fn assess(
    evidence: &[AreaEvidence],
    priors: &Priors,
    reported: &[ReportedAmount],
    params: &Params,
) -> Result<Vec<Assessment>> {
    params.check()?;
    for area in evidence {
        area.check()?;
        if !priors.areas().contains_key(&area.area_id) {
            return Err(Error::UnknownArea {
                name: area.area_id.clone(),
            });
        }
    }
    for amount in reported {
        check_reported(amount)?;
    }
    let by_id: BTreeMap<&str, &AreaEvidence> = evidence
        .iter()
        .map(|area| (area.area_id.as_str(), area))
        .collect();
    let mut candidates = Vec::new();
    for (scope, period, amount) in tasks(&by_id, priors, reported)? {
        candidates.push(Candidate::draw(
            &scope, period, amount, &by_id, priors, params,
        )?);
    }
    Ok(judge(candidates, params))
}

fn check_reported(amount: &ReportedAmount) -> Result<()> {
    for (factor, value) in [
        ("reported carats", amount.carats),
        ("rounding of reported carats", amount.carats_rounding),
        (
            "reported carats of the period before",
            amount.previous_carats.unwrap_or(0.0),
        ),
    ] {
        if !(value.is_finite() && value >= 0.0) {
            return Err(Error::FactorOutOfRange {
                factor,
                value,
                range: "at 0 or above, and be finite",
            });
        }
    }
    if amount.period.1 < amount.period.0 {
        return Err(Error::FactorOutOfRange {
            factor: "period",
            value: f64::from(amount.period.1.0),
            range: "with its last day at or after its first",
        });
    }
    Ok(())
}

/// Draws of the unknowns, by name.
type Columns = Vec<(String, Vec<f64>)>;

type Task<'a> = (Scope, (Day, Day), Option<&'a ReportedAmount>);

fn tasks<'a>(
    by_id: &BTreeMap<&str, &AreaEvidence>,
    priors: &Priors,
    reported: &'a [ReportedAmount],
) -> Result<Vec<Task<'a>>> {
    let country_of = |scope: &Scope| match scope {
        Scope::Country(country) => Ok(country.clone()),
        Scope::Area(id) => match priors.areas().get(id) {
            Some(area) => Ok(area.country.clone()),
            None => Err(Error::UnknownArea { name: id.clone() }),
        },
    };
    let mut tasks: Vec<Task<'a>> = Vec::new();
    let mut periods: BTreeMap<String, BTreeSet<(Day, Day)>> = BTreeMap::new();
    for amount in reported {
        let country = country_of(&amount.scope)?;
        periods.entry(country).or_default().insert(amount.period);
        tasks.push((amount.scope.clone(), amount.period, Some(amount)));
    }
    let mut silent = BTreeSet::new();
    for (id, area) in by_id {
        let country = country_of(&Scope::Area((*id).to_owned()))?;
        let of_seasons = || {
            area.seasons
                .iter()
                .filter_map(|season| calendar_year(season.days.1))
                .collect()
        };
        let of_area: BTreeSet<(Day, Day)> =
            periods.get(&country).cloned().unwrap_or_else(of_seasons);
        for period in of_area {
            silent.insert((Scope::Area((*id).to_owned()), period));
            silent.insert((Scope::Country(country.clone()), period));
        }
    }
    for (scope, period) in silent {
        if !tasks.iter().any(|task| task.0 == scope && task.1 == period) {
            tasks.push((scope, period, None));
        }
    }
    tasks.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    Ok(tasks)
}

fn calendar_year(day: Day) -> Option<(Day, Day)> {
    let year = day.year();
    Some((
        format!("{year:04}-01-01").parse().ok()?,
        format!("{year:04}-12-31").parse().ok()?,
    ))
}

/// An assessment before the verdict, which needs the error probabilities of the whole run.
struct Candidate {
    assessment: Assessment,
    /// For each shift of the lag: that a report as high, and as low, is compatible with what was implied.
    errors: Option<[(f64, f64); N_SHIFTS]>,
    /// What forbids any verdict.
    refused: Vec<String>,
    /// What is said of any verdict.
    notes: Vec<String>,
    /// What makes the implied carats a lower bound: only "below" can still be said.
    lower_bound: Vec<String>,
    /// True if the false area of a field was not measured: what was mapped may be false alarms, and "below" cannot be said.
    is_false_area_unknown: bool,
    /// True if the carats of the verdict's route rest on a prior that nobody has backed.
    rests_on_placeholder: bool,
    /// True where the verdict rests on imagery: then the relative signal must agree.
    relative_needed: bool,
}

impl Candidate {
    fn draw(
        scope: &Scope,
        period: (Day, Day),
        amount: Option<&ReportedAmount>,
        by_id: &BTreeMap<&str, &AreaEvidence>,
        priors: &Priors,
        params: &Params,
    ) -> Result<Self> {
        let country = match scope {
            Scope::Country(country) => country.clone(),
            Scope::Area(id) => priors
                .areas()
                .get(id)
                .map(|area| area.country.clone())
                .ok_or_else(|| Error::UnknownArea { name: id.clone() })?,
        };
        let listed: Vec<&str> = priors
            .areas()
            .iter()
            .filter(|(id, area)| match scope {
                Scope::Area(wanted) => *id == wanted,
                Scope::Country(_) => area.country == country,
            })
            .map(|(id, _)| id.as_str())
            .collect();
        let is_country = matches!(scope, Scope::Country(_));
        let mut flags = BTreeSet::new();
        let mut refused = Vec::new();
        let mut lower_bound = Vec::new();

        // Pits.
        let mut pits: Vec<AreaDraws> = Vec::new();
        let mut most: [Vec<f64>; N_SHIFTS] = std::array::from_fn(|_| vec![0.0; params.draws]);
        let mut watched_areas: Vec<&AreaEvidence> = Vec::new();
        // Areas where area gives no carats: their hectares and their change from season to season are told all the same.
        let mut ground_alone: Vec<(AreaDraws, &AreaEvidence)> = Vec::new();
        let mut n_watched = 0;
        let mut why_not = Vec::new();
        for id in &listed {
            let watched = by_id.get(id).copied();
            n_watched += usize::from(watched.is_some());
            match (why_not_by_area(id, priors), watched) {
                (Some(reason), watched) => {
                    let watched =
                        watched.filter(|area| params.lag.watched_share(&days(area), period) > 0.0);
                    if let Some(area) = watched {
                        ground_alone.push((draw_ground(area, period, params)?, area));
                    }
                    why_not.push(format!("{id}: {reason}"));
                    flags.insert(Flag::LeftOut {
                        area_id: (*id).to_owned(),
                        reason,
                    });
                }
                (None, Some(area)) => {
                    let deposit = priors.areas()[*id].deposit.as_deref().unwrap_or_default();
                    let draws = draw_area(area, deposit, period, priors, params)?;
                    if params.lag.watched_share(&days(area), period) > 0.0 {
                        add_most(&mut most, &draws, area, deposit, period, priors, params)?;
                        pits.push(draws);
                        watched_areas.push(area);
                    } else {
                        let reason = "no season that feeds the period was watched.".to_owned();
                        flags.insert(Flag::LeftOut {
                            area_id: (*id).to_owned(),
                            reason,
                        });
                    }
                }
                (None, None) if !by_id.is_empty() => {
                    let reason = "it was not watched.".to_owned();
                    flags.insert(Flag::LeftOut {
                        area_id: (*id).to_owned(),
                        reason,
                    });
                }
                (None, None) => {}
            }
        }

        // The other routes.
        let labors: Vec<RouteDraws> = listed
            .iter()
            .filter_map(|id| {
                labor(
                    id,
                    priors.areas()[*id].deposit.as_deref(),
                    period,
                    priors,
                    params,
                )
            })
            .collect();
        let is_labor_whole = !listed.is_empty() && labors.len() == listed.len();
        let mut documents: Vec<RouteDraws> = Vec::new();
        if is_country {
            documents.extend(documented(
                &country,
                priors.country_documented(&country),
                period,
                params,
            ));
        }
        if documents.is_empty() {
            let of_areas: Vec<RouteDraws> = listed
                .iter()
                .filter_map(|id| documented(id, &priors.areas()[*id].documented, period, params))
                .collect();
            if of_areas.len() == listed.len() {
                documents = of_areas;
            }
        }

        let has_pits = !pits.is_empty();
        let watched_share = has_pits.then(|| {
            let shares = watched_areas
                .iter()
                .map(|area| params.lag.watched_share(&days(area), period));
            shares.fold(f64::INFINITY, f64::min)
        });
        let observed_share = watched_areas
            .iter()
            .map(|area| observed(area, period, params))
            .fold(f64::INFINITY, f64::min);
        let coverage = watched_share.map(|watched| watched * observed_share);
        // Of a period that was hardly watched no carats are stated: what was not seen is not nothing.
        let is_covered = coverage.is_some_and(|coverage| coverage >= params.coverage_floor);

        // Best first: what was seen, what was published, what was supposed.
        let is_placeholder = |flag: &Flag| matches!(flag, Flag::PlaceholderPrior { .. });
        let mut rests_on_placeholder = false;
        let mut routes = Vec::new();
        let mut best: Option<(Route, [Vec<f64>; N_SHIFTS], Columns)> = None;
        flags.extend(pits.iter().flat_map(|area| area.flags.iter().cloned()));
        if is_covered {
            let carats: [Vec<f64>; N_SHIFTS] = std::array::from_fn(|shift| {
                sum(pits.iter().map(|area| &area.carats[shift]), params.draws)
            });
            push_route(&mut routes, Route::Pits, &carats[0], None);
            rests_on_placeholder = pits.iter().flat_map(|area| &area.flags).any(is_placeholder);
            let columns = pits
                .iter_mut()
                .flat_map(|area| std::mem::take(&mut area.columns))
                .collect();
            best = Some((Route::Pits, carats, columns));
        }
        for (route, draws) in [
            (Route::Documented, documents),
            (
                Route::Labor,
                if is_labor_whole { labors } else { Vec::new() },
            ),
        ] {
            if draws.is_empty() {
                continue;
            }
            let carats = sum(draws.iter().map(|area| &area.carats), params.draws);
            let citations: Vec<&str> = draws
                .iter()
                .filter_map(|area| area.citation.as_deref())
                .collect();
            push_route(
                &mut routes,
                route,
                &carats,
                (!citations.is_empty()).then(|| citations.join("; ")),
            );
            flags.extend(draws.iter().flat_map(|area| area.flags.iter().cloned()));
            if best.is_none() {
                rests_on_placeholder = draws
                    .iter()
                    .flat_map(|area| &area.flags)
                    .any(is_placeholder);
                let columns = draws.into_iter().flat_map(|area| area.columns).collect();
                best = Some((route, std::array::from_fn(|_| carats.clone()), columns));
            }
        }
        let medians = || {
            routes
                .iter()
                .map(|route: &RouteEstimate| route.carats.p50)
                .filter(|median| *median > 0.0)
        };
        let (least, greatest) = (
            medians().fold(f64::INFINITY, f64::min),
            medians().fold(0.0, f64::max),
        );
        if greatest > least * params.routes_apart {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates"
            )]
            let ratio_rounded = (greatest / least).round() as u64;
            flags.insert(Flag::RoutesApart { ratio_rounded });
        }

        // What the ground says.
        let (alone, alone_areas): (Vec<AreaDraws>, Vec<&AreaEvidence>) =
            ground_alone.into_iter().unzip();
        let has_ground_alone = !has_pits && !alone.is_empty();
        let ground = if has_ground_alone {
            let observed_share = alone_areas
                .iter()
                .map(|area| observed(area, period, params))
                .fold(f64::INFINITY, f64::min);
            Some(ground_of(
                &alone,
                &alone_areas,
                observed_share,
                period,
                params,
            ))
        } else {
            has_pits.then(|| ground_of(&pits, &watched_areas, observed_share, period, params))
        };
        let fields_watched_share =
            (is_country && !listed.is_empty()).then(|| n_watched as f64 / listed.len() as f64);
        if let Some(coverage) = coverage.filter(|coverage| *coverage < params.coverage_floor) {
            refused.push(format!(
                "Of the digging that feeds the period {:.0} % was watched and observed; the floor is {:.0} %.",
                100.0 * coverage,
                100.0 * params.coverage_floor
            ));
        }
        let notes: Vec<String> = coverage
            .filter(|&coverage| is_covered && coverage < WHOLE)
            .map(|coverage| {
                format!(
                    "Of the digging that feeds the period {:.0} % was watched and observed; what was implied is of that part alone.",
                    100.0 * coverage
                )
            })
            .into_iter()
            .collect();
        if has_pits && pits.iter().any(|area| area.is_blind) {
            refused.push("No object was found and the detection limit was not measured.".into());
        }
        if has_pits && pits.iter().any(|area| area.is_lower_bound) {
            lower_bound.push("Omitted share not measured: lower bound.".into());
        }
        let is_false_area_unknown = has_pits && pits.iter().any(|area| area.false_ha.is_none());
        if has_pits && pits.len() < listed.len() {
            lower_bound.push(format!(
                "{} of the country's {} listed fields enter the sum: lower bound.",
                pits.len(),
                listed.len()
            ));
        }

        let ct_per_ha = ct_per_ha(&pits, &listed, priors, params)?;
        let reported_change = amount.and_then(|amount| {
            let before = amount.previous_carats.filter(|before| *before > 0.0)?;
            Some(amount.carats / before)
        });
        let relative = if has_pits {
            relative_signal(&watched_areas, period, reported_change, params)?
        } else if has_ground_alone {
            relative_signal(&alone_areas, period, reported_change, params)?
        } else {
            None
        };

        let mut errors = None;
        let mut comparison = None;
        if let Some(amount) = amount {
            let needed = ct_per_ha.as_ref().and_then(|ct_per_ha| {
                let needed: Vec<f64> = ct_per_ha.iter().map(|ct| amount.carats / ct).collect();
                quantiles(&needed)
            });
            if let (Some(needed), Some(ground)) = (needed, ground.as_ref().filter(|_| has_pits)) {
                let false_ha = ground.false_ha.map_or(0.0, |ha| ha.value);
                if false_ha > needed.p50 {
                    refused.push(format!(
                        "False-alarm area: {false_ha:.2} ha are expected to be false, more than the {:.2} ha that the report would need.",
                        needed.p50
                    ));
                }
            }
            let compared = best.as_ref().map(|(route, carats, _)| {
                let most = if *route == Route::Pits { &most } else { carats };
                compare(amount, carats, most, coverage.unwrap_or(1.0), params)
            });
            errors = compared.as_ref().map(|compared| compared.errors);
            let of_base = compared.as_ref().map(|compared| compared.errors[0]);
            comparison = Some(Comparison {
                reported: amount.clone(),
                route: best.as_ref().map(|(route, _, _)| *route),
                ratio: compared.and_then(|compared| compared.ratio),
                p_above: of_base.map(|(high, _)| 1.0 - high),
                p_below: of_base.map(|(_, low)| 1.0 - low),
                q: None,
                p_two_sided: of_base.map(two_sided),
                hectares_needed: needed,
                is_stable: false,
            });
        }
        if best.is_none() {
            refused.extend(why_not);
            if refused.is_empty() {
                refused.push(
                    "No route applies: no imagery, no published capacity, no miners' figures."
                        .into(),
                );
            }
        }
        let sensitivity = best
            .as_ref()
            .map(|(_, carats, columns)| rank(&carats[0], columns))
            .unwrap_or_default();
        let assessment = Assessment {
            scope: scope.clone(),
            country,
            area_ids: if has_pits {
                watched_areas
                    .iter()
                    .map(|area| area.area_id.clone())
                    .collect()
            } else {
                listed.iter().map(|id| (*id).to_owned()).collect()
            },
            period,
            digging: ground.is_some().then(|| params.lag.digging_days(period)),
            watched_share,
            fields_watched_share,
            implied: routes.first().map(|route| route.carats),
            routes,
            ground,
            relative,
            comparison,
            verdict: Verdict::NotAssessable,
            reasons: Vec::new(),
            flags: flags.into_iter().collect(),
            sensitivity,
        };
        Ok(Self {
            assessment,
            errors,
            refused,
            notes,
            lower_bound,
            is_false_area_unknown,
            rests_on_placeholder,
            relative_needed: has_pits,
        })
    }
}

/// Why area gives no carats in an area; `None` where it does.
fn why_not_by_area(id: &str, priors: &Priors) -> Option<String> {
    let area = priors.areas().get(id)?;
    if let Some(reason) = &area.not_by_area {
        return Some(reason.clone());
    }
    let Some(deposit) = area.deposit.as_deref() else {
        return Some("the priors name no kind of ground.".into());
    };
    let has_share = priors
        .choose(id, Some(deposit), Factor::DiamondShare)
        .is_some();
    (area.is_gold_dominated && !has_share)
        .then(|| "most pits are dug for gold, and there is no prior of the diamond share.".into())
}

fn days(area: &AreaEvidence) -> Vec<(Day, Day)> {
    area.seasons.iter().map(|season| season.days).collect()
}

/// Observed share of the seasons that feed the period, by the weight of their days.
fn observed(area: &AreaEvidence, period: (Day, Day), params: &Params) -> f64 {
    let (mut all, mut seen) = (0.0, 0.0);
    for season in &area.seasons {
        let n_days = f64::from(season.days.1.0 - season.days.0.0 + 1);
        let weight = params.lag.mean_share_in(season.days, period) * n_days;
        all += weight;
        seen += weight * season.observed_share;
    }
    if all > 0.0 { seen / all } else { 0.0 }
}

fn sum<'a>(columns: impl Iterator<Item = &'a Vec<f64>>, n_draws: usize) -> Vec<f64> {
    let mut total = vec![0.0; n_draws];
    for column in columns {
        total
            .iter_mut()
            .zip(column)
            .for_each(|(total, value)| *total += value);
    }
    total
}

fn push_route(
    routes: &mut Vec<RouteEstimate>,
    route: Route,
    carats: &[f64],
    citation: Option<String>,
) {
    if let Some(carats) = quantiles(carats) {
        routes.push(RouteEstimate {
            route,
            carats,
            citation,
        });
    }
}

fn ground_of(
    pits: &[AreaDraws],
    areas: &[&AreaEvidence],
    observed_share: f64,
    period: (Day, Day),
    params: &Params,
) -> Ground {
    let estimate = |q: Quantiles| Estimate {
        value: q.p50,
        lo: q.p5,
        hi: q.p95,
    };
    let none = Estimate {
        value: 0.0,
        lo: 0.0,
        hi: 0.0,
    };
    let adjusted = sum(pits.iter().map(|area| &area.adjusted_ha), params.draws);
    let false_columns: Option<Vec<&Vec<f64>>> =
        pits.iter().map(|area| area.false_ha.as_ref()).collect();
    let false_ha =
        false_columns.and_then(|columns| quantiles(&sum(columns.into_iter(), params.draws)));
    let [lo, value, hi] =
        std::array::from_fn(|end| pits.iter().map(|area| area.mapped_ha[end]).sum());
    let n_clear = areas
        .iter()
        .flat_map(|area| &area.seasons)
        .filter(|season| params.lag.mean_share_in(season.days, period) > 0.0)
        .map(|season| season.n_clear)
        .min()
        .flatten();
    Ground {
        mapped_ha: Estimate { value, lo, hi },
        adjusted_ha: quantiles(&adjusted).map_or(none, estimate),
        false_ha: false_ha.map(estimate),
        omitted_share: match pits {
            [area] => area.omitted,
            _ => None,
        },
        is_sample_adjusted: pits.iter().any(|area| area.is_sample_adjusted),
        n_sites: pits.iter().map(|area| area.n_sites).sum(),
        observed_share,
        n_clear,
    }
}

/// Carats in a hectare of new digging of an area, or of the fields of a country as they were dug; where nothing was seen, each
/// field that area speaks of counts alike.
fn ct_per_ha(
    pits: &[AreaDraws],
    listed: &[&str],
    priors: &Priors,
    params: &Params,
) -> Result<Option<Vec<f64>>> {
    let mut total = vec![0.0; params.draws];
    let mut weights = vec![0.0; params.draws];
    let mut add = |ct_per_ha: &[f64], weight: &dyn Fn(usize) -> f64| {
        for i in 0..ct_per_ha.len() {
            total[i] += weight(i) * ct_per_ha[i];
            weights[i] += weight(i);
        }
    };
    for area in pits {
        if let Some(ct_per_ha) = &area.ct_per_ha {
            // A tiny weight for a draw in which nothing was dug.
            add(ct_per_ha, &|i| area.adjusted_ha[i].max(1e-9));
        }
    }
    if pits.is_empty() {
        for id in listed
            .iter()
            .filter(|id| why_not_by_area(id, priors).is_none())
        {
            let deposit = priors.areas()[*id].deposit.as_deref().unwrap_or_default();
            if let Some(ct_per_ha) = Field::draw(id, deposit, priors, params)?.ct_per_ha() {
                add(&ct_per_ha, &|_| 1.0);
            }
        }
    }
    if weights.first().is_none_or(|weight| *weight <= 0.0) {
        return Ok(None);
    }
    total
        .iter_mut()
        .zip(weights)
        .for_each(|(total, weight)| *total /= weight);
    Ok(Some(total))
}

/// Adds the most carats that an area may have yielded to the sum of the areas before it.
///
/// Where the false area is an upper bound, these are the greater of the carats with it and of those that the objects'
/// probabilities alone give: what a replay wrongly takes for false must not make a report seem too high.
fn add_most(
    most: &mut [Vec<f64>; N_SHIFTS],
    draws: &AreaDraws,
    area: &AreaEvidence,
    deposit: &str,
    period: (Day, Day),
    priors: &Priors,
    params: &Params,
) -> Result<()> {
    let mut alone = None;
    if let Some(without) = without_upper_bounds(area) {
        alone = Some(draw_area(&without, deposit, period, priors, params)?.carats);
    }
    for (shift, most) in most.iter_mut().enumerate() {
        for (i, most) in most.iter_mut().enumerate() {
            let carats = draws.carats[shift][i];
            *most += alone
                .as_ref()
                .map_or(carats, |alone| carats.max(alone[shift][i]));
        }
    }
    Ok(())
}

struct Compared {
    errors: [(f64, f64); N_SHIFTS],
    ratio: Option<Estimate>,
}

/// The reported figure, anywhere within its rounding, against the draws.
///
/// For "above" the draws are raised by the share that was not watched or not observed; for "below" they are taken as they
/// are: either way the ground that nobody saw speaks for the report. So does `most`, the draws for "above".
fn compare(
    amount: &ReportedAmount,
    carats: &[Vec<f64>; N_SHIFTS],
    most: &[Vec<f64>; N_SHIFTS],
    coverage: f64,
    params: &Params,
) -> Compared {
    let mut random = stream(params.seed, "rounding");
    let figures: Vec<f64> = (0..params.draws)
        .map(|_| {
            let within: f64 = random.random();
            (amount.carats + (2.0 * within - 1.0) * amount.carats_rounding).max(0.0)
        })
        .collect();
    let n = params.draws as f64;
    let errors = std::array::from_fn(|shift| {
        let (mut n_high, mut n_low) = (1.0, 1.0);
        for ((figure, carats), most) in figures.iter().zip(&carats[shift]).zip(&most[shift]) {
            if coverage <= 0.0 || *figure <= most / coverage {
                n_high += 1.0;
            }
            if figure >= carats {
                n_low += 1.0;
            }
        }
        (n_high / (n + 1.0), n_low / (n + 1.0))
    });
    let ratios: Vec<f64> = figures
        .iter()
        .zip(&carats[0])
        .filter(|(figure, carats)| **figure > 0.0 || **carats > 0.0)
        .map(|(figure, carats)| figure / carats)
        .collect();
    Compared {
        errors,
        ratio: quantiles(&ratios).map(|q| Estimate {
            value: q.p50,
            lo: q.p5,
            hi: q.p95,
        }),
    }
}

fn two_sided((high, low): (f64, f64)) -> f64 {
    (2.0 * high.min(low)).min(1.0)
}

/// Which unknowns move the carats: Spearman's rank correlation of each with them.
fn rank(carats: &[f64], columns: &[(String, Vec<f64>)]) -> Vec<Sensitivity> {
    let n = carats.len().min(N_RANKED);
    let correlations: Vec<(&str, f64)> = columns
        .iter()
        .filter_map(|(name, column)| {
            Some((name.as_str(), rank_correlation(&column[..n], &carats[..n])?))
        })
        .collect();
    let squares: f64 = correlations.iter().map(|(_, r)| r * r).sum();
    let mut ranked: Vec<Sensitivity> = correlations
        .into_iter()
        .map(|(factor, rank_correlation)| Sensitivity {
            factor: factor.to_owned(),
            rank_correlation,
            share: if squares > 0.0 {
                rank_correlation.powi(2) / squares
            } else {
                0.0
            },
        })
        .collect();
    ranked.sort_by(|a, b| {
        b.share
            .total_cmp(&a.share)
            .then_with(|| a.factor.cmp(&b.factor))
    });
    ranked
}

fn judge(candidates: Vec<Candidate>, params: &Params) -> Vec<Assessment> {
    let corrected: [Vec<f64>; N_SHIFTS] = std::array::from_fn(|shift| {
        let raw: Vec<f64> = candidates
            .iter()
            .filter_map(|candidate| Some(two_sided(candidate.errors?[shift])))
            .collect();
        benjamini_hochberg(&raw)
    });
    let mut place = 0;
    candidates
        .into_iter()
        .map(|candidate| {
            let Candidate {
                mut assessment,
                errors,
                refused,
                notes,
                lower_bound,
                is_false_area_unknown,
                rests_on_placeholder,
                relative_needed,
            } = candidate;
            let of_run: Option<[f64; N_SHIFTS]> =
                errors.map(|_| std::array::from_fn(|shift| corrected[shift][place]));
            place += usize::from(errors.is_some());
            let verdict_of = |shift: usize| {
                let (Some(errors), Some(q)) = (errors, of_run) else {
                    return (Verdict::NotAssessable, vec![]);
                };
                if !refused.is_empty() {
                    return (Verdict::NotAssessable, vec![]);
                }
                let relative = relative_needed.then_some(assessment.relative);
                verdict(
                    errors[shift],
                    q[shift],
                    relative,
                    &lower_bound,
                    Doubts {
                        is_false_area_unknown,
                        rests_on_placeholder,
                    },
                    params,
                )
            };
            let (verdict, why) = verdict_of(0);
            let is_stable = (1..N_SHIFTS).all(|shift| verdict_of(shift).0 == verdict);
            let mut reasons = Vec::new();
            match &mut assessment.comparison {
                None => reasons.push("No figure is held for the period.".into()),
                Some(comparison) => {
                    comparison.q = of_run.map(|q| q[0]);
                    comparison.is_stable = is_stable;
                    reasons.extend(arithmetic(comparison, assessment.implied));
                }
            }
            reasons.extend(refused);
            reasons.extend(why);
            reasons.extend(lower_bound);
            reasons.extend(notes);
            if let Some(share) = assessment.fields_watched_share {
                reasons.push(format!(
                    "{:.0} % of the country's listed fields were watched.",
                    100.0 * share
                ));
            }
            assessment.verdict = verdict;
            assessment.reasons = reasons;
            assessment
        })
        .collect()
}

/// What forbids to call a report outside.
#[derive(Debug, Clone, Copy)]
struct Doubts {
    is_false_area_unknown: bool,
    rests_on_placeholder: bool,
}

fn verdict(
    errors: (f64, f64),
    q: f64,
    relative: Option<Option<RelativeSignal>>,
    lower_bound: &[String],
    doubts: Doubts,
    params: &Params,
) -> (Verdict, Vec<String>) {
    let outside = two_sided(errors) <= ALPHA;
    let is_above = errors.0 < errors.1;
    let not_assessable = |reason: String| (Verdict::NotAssessable, vec![reason]);
    if !lower_bound.is_empty() && (!outside || is_above) {
        return not_assessable(
            "What was implied is a lower bound: only a report below it could be judged.".into(),
        );
    }
    if !outside {
        return (
            Verdict::Within,
            vec!["The report lies within the interval of 90 %.".into()],
        );
    }
    if q > params.false_discovery_rate {
        return not_assessable(format!(
            "The report lies outside the interval of 90 %, but not after correction for the number of comparisons \
             (q = {q:.3}, above {}).",
            params.false_discovery_rate
        ));
    }
    if doubts.rests_on_placeholder {
        return not_assessable(
            "The report lies outside the interval of 90 %, but what was implied rests on placeholders, which nobody has \
             backed."
                .into(),
        );
    }
    if doubts.is_false_area_unknown && !is_above {
        return not_assessable(
            "The report lies below the interval of 90 %, but the area's own false alarms were not measured: \
             what was mapped may be among them."
                .into(),
        );
    }
    let side = if is_above { "above" } else { "below" };
    let mut reasons = vec![format!(
        "The report lies {side} the interval of 90 % (q = {q:.3})."
    )];
    if let Some(relative) = relative {
        let Some((signal, change)) =
            relative.and_then(|signal| Some((signal, signal.reported_change?)))
        else {
            return not_assessable(format!(
                "The report lies {side} the interval of 90 %, but there is no season or report before to compare the change with."
            ));
        };
        let agrees = if is_above {
            change >= signal.index.lo
        } else {
            change <= signal.index.hi
        };
        let words = format!(
            "Reported changed by {change:.2}, digging by {:.2} ({:.2} to {:.2})",
            signal.index.value, signal.index.lo, signal.index.hi
        );
        if !agrees {
            return not_assessable(format!(
                "The report lies {side} the interval of 90 %, but the relative signal points the other way. {words}."
            ));
        }
        reasons.push(format!(
            "{words}: the relative signal does not speak against it."
        ));
    }
    (
        if is_above {
            Verdict::Above
        } else {
            Verdict::Below
        },
        reasons,
    )
}

/// The comparison in words.
fn arithmetic(comparison: &Comparison, implied: Option<Quantiles>) -> Vec<String> {
    let reported = &comparison.reported;
    let mut sentences = Vec::new();
    if let (Some(implied), Some(ratio), Some(route)) = (implied, comparison.ratio, comparison.route)
    {
        // Over nothing dug there is no upper end.
        let number = |value: f64| {
            if value.is_finite() {
                format!("{value:.2}")
            } else {
                "without limit".to_owned()
            }
        };
        sentences.push(format!(
            "Reported {} {:.0} ct over implied {:.0} ct ({:.0} to {:.0}; {}) is {} ({} to {}).",
            reported.measure,
            reported.carats,
            implied.p50,
            implied.p5,
            implied.p95,
            route.label(),
            number(ratio.value),
            number(ratio.lo),
            number(ratio.hi)
        ));
    }
    if let Some(needed) = comparison.hectares_needed {
        sentences.push(format!(
            "The report would need {:.1} ha of new digging ({:.1} to {:.1}).",
            needed.p50, needed.p5, needed.p95
        ));
    }
    sentences
}
