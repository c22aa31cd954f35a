use std::collections::BTreeSet;

use pitwatch_grid::Day;

use crate::draw::column;
use crate::{Documented, Factor, Flag, Params, Priors, SourceClass};

/// Days in a year, the mean of the Gregorian calendar.
const DAYS_PER_YEAR: f64 = 365.2425;

/// The part of a year that a period is.
fn years(period: (Day, Day)) -> f64 {
    let n_days = f64::from(period.1.0 - period.0.0 + 1);
    // A calendar year is one year, leap or not.
    let years = n_days / DAYS_PER_YEAR;
    if (years - years.round()).abs() * DAYS_PER_YEAR < 1.0 {
        years.round()
    } else {
        years
    }
}

/// Carats of one route, with what went in.
pub(crate) struct RouteDraws {
    pub(crate) carats: Vec<f64>,
    pub(crate) columns: Vec<(String, Vec<f64>)>,
    pub(crate) flags: Vec<Flag>,
    pub(crate) citation: Option<String>,
}

/// Labor: miners × days × gravel per miner-day × grade, for the part of the year that the period is.
///
/// `None` where the priors have no miners, days, gravel per miner-day or grade for the area.
pub(crate) fn labor(
    area_id: &str,
    deposit: Option<&str>,
    period: (Day, Day),
    priors: &Priors,
    params: &Params,
) -> Option<RouteDraws> {
    const FACTORS: [Factor; 4] = [
        Factor::Miners,
        Factor::Days,
        Factor::GravelPerMinerDay,
        Factor::Grade,
    ];
    let mut carats = vec![years(period); params.draws];
    let mut columns = Vec::new();
    let mut flags = Vec::new();
    for factor in FACTORS {
        let chosen = priors.choose(area_id, deposit, factor)?;
        flags.extend(priors.flags_of(factor, &chosen));
        // The same name as in the route of pits: the grade of a field is one unknown.
        let name = format!("{area_id}: {}", factor.key());
        let drawn = column(chosen.prior.distribution, params.seed, &name, params.draws);
        carats
            .iter_mut()
            .zip(&drawn)
            .for_each(|(carats, drawn)| *carats *= drawn);
        columns.push((name, drawn));
    }
    Some(RouteDraws {
        carats,
        columns,
        flags,
        citation: None,
    })
}

/// Published capacities that speak of every year of the period, added up: each entry is another plant or field.
pub(crate) fn documented(
    name: &str,
    entries: &[Documented],
    period: (Day, Day),
    params: &Params,
) -> Option<RouteDraws> {
    let holds = |entry: &&Documented| {
        entry.from_year <= period.0.year() && period.1.year() <= entry.until_year
    };
    let mut carats = vec![0.0; params.draws];
    let mut columns = Vec::new();
    let mut flags = Vec::new();
    let mut citations = BTreeSet::new();
    for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| holds(entry)) {
        let mut product = vec![years(period); params.draws];
        for (key, prior) in [
            ("carats", &entry.carats),
            ("throughput", &entry.throughput),
            ("hours", &entry.hours),
            ("grade per tonne", &entry.grade_per_tonne),
        ] {
            let Some(prior) = prior else { continue };
            let label = format!("{name}: documented {} {key}", index + 1);
            let drawn = column(prior.distribution, params.seed, &label, params.draws);
            product
                .iter_mut()
                .zip(&drawn)
                .for_each(|(product, drawn)| *product *= drawn);
            if prior.class == SourceClass::Placeholder {
                flags.push(Flag::PlaceholderPrior {
                    path: label.clone(),
                });
            }
            if prior.source.trim().is_empty() {
                flags.push(Flag::UnsourcedPrior {
                    path: label.clone(),
                });
            }
            columns.push((label, drawn));
        }
        carats
            .iter_mut()
            .zip(product)
            .for_each(|(carats, product)| *carats += product);
        citations.insert(entry.citation.clone());
    }
    (!columns.is_empty()).then(|| RouteDraws {
        carats,
        columns,
        flags,
        citation: Some(citations.into_iter().collect::<Vec<_>>().join("; ")),
    })
}
