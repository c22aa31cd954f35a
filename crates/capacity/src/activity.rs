use std::collections::BTreeMap;

use pitwatch_grid::Day;

use crate::draw::quantiles;
use crate::evidence::{AreaEvidence, Season};
use crate::pits::{draw_season_ha, without_upper_bounds};
use crate::{
    Assessment, ChangeDisagreement, Estimate, MonthActivity, MonthState, Params, RelativeSignal,
    Result,
};

/// The season that feeds a period most, and the one before it.
fn season_pair(evidence: &AreaEvidence, period: (Day, Day), params: &Params) -> Option<[usize; 2]> {
    let weights = evidence
        .seasons
        .iter()
        .map(|season| f64::from(season.n_days()) * params.lag.mean_share_in(season.days, period));
    let (latest, weight) = weights
        .enumerate()
        .max_by(|(i, a), (j, b)| a.total_cmp(b).then(i.cmp(j)))?;
    (weight > 0.0 && latest > 0).then(|| [latest, latest - 1])
}

/// The change of digging between the season that feeds the period most and the one before: the sum of the areas' hectares of
/// excavation of the one over that of the other. Grade, thickness and dug share cancel.
///
/// Where one of the two is shorter, as the last season of a run is, the other is cut to its first days.
///
/// `None` where one of the areas has one season only, or a season without objects and without a detection limit.
pub(crate) fn relative_signal(
    areas: &[&AreaEvidence],
    period: (Day, Day),
    reported_change: Option<f64>,
    params: &Params,
) -> Result<Option<RelativeSignal>> {
    // What may hold true digging is no measure of what was false in one season more than in the other.
    let without: Vec<Option<AreaEvidence>> = areas
        .iter()
        .map(|area| without_upper_bounds(area))
        .collect();
    let areas = areas
        .iter()
        .zip(&without)
        .map(|(area, without)| without.as_ref().unwrap_or(area));
    let is_blind = |season: &Season| {
        season.sites.is_empty() && season.sample.is_none() && season.min_detectable_ha.is_none()
            || season.observed_share < params.coverage_floor
    };
    let mut sums = [vec![0.0; params.draws], vec![0.0; params.draws]];
    for area in areas {
        let Some(pair) = season_pair(area, period, params) else {
            return Ok(None);
        };
        let n_days = |index: usize| area.seasons[index].n_days();
        let shorter = n_days(pair[0]).min(n_days(pair[1]));
        for (sum, index) in sums.iter_mut().zip(pair) {
            let season = &area.seasons[index];
            if is_blind(season) {
                return Ok(None);
            }
            // A part is compared with the same part; a reviewed sample is of the whole and cannot be cut.
            let part;
            let season = if season.n_days() > shorter {
                if season.sample.is_some() {
                    return Ok(None);
                }
                part = season.first_days(shorter);
                &part
            } else {
                season
            };
            let season_ha = draw_season_ha(&area.area_id, season, params)?;
            sum.iter_mut()
                .zip(season_ha)
                .for_each(|(sum, ha)| *sum += ha);
        }
    }
    let [now, before] = sums;
    // Draws in which both seasons come to nothing say nothing of their ratio.
    let ratios: Vec<f64> = now
        .iter()
        .zip(&before)
        .filter(|(now, before)| **now > 0.0 || **before > 0.0)
        .map(|(now, before)| now / before)
        .collect();
    Ok(quantiles(&ratios).map(|q| RelativeSignal {
        index: Estimate {
            value: q.p50,
            lo: q.p5,
            hi: q.p95,
        },
        reported_change,
        is_change: q.p5 > 1.0 || q.p95 < 1.0,
    }))
}

/// Activity by area and month.
///
/// A month is active if new digging was first seen in it; inactive only with at least `min_clear_looks` clear looks and a
/// known detection limit, and if no digging that was seen later may have begun in it; else not observable. Inactive never
/// means that there was no mining.
#[must_use]
pub fn month_activity(evidence: &[AreaEvidence], params: &Params) -> Vec<MonthActivity> {
    let key = |day: Day| (day.year(), day.month());
    let mut months = Vec::new();
    for area in evidence {
        let mut by_month: BTreeMap<(i32, u32), u32> = BTreeMap::new();
        for looks in &area.looks {
            by_month.insert((looks.year, looks.month), looks.n_clear);
        }
        for season in &area.seasons {
            for site in &season.sites {
                by_month.entry(key(site.dug.1)).or_insert(0);
            }
        }
        let last_watched = area.seasons.last().map(|season| season.days.1);
        for (&(year, month), &n_clear) in &by_month {
            let sites = || area.seasons.iter().flat_map(|season| &season.sites);
            let dated = || sites().filter(|site| key(site.dug.1) == (year, month));
            let mapped_ha = dated().map(|site| site.area_ha.value).sum();
            let may_have_begun = sites()
                .any(|site| key(site.dug.0) <= (year, month) && (year, month) < key(site.dug.1));
            let min_detectable_ha = area
                .seasons
                .iter()
                .find(|season| {
                    key(season.days.0) <= (year, month) && (year, month) <= key(season.days.1)
                })
                .and_then(|season| season.min_detectable_ha);
            // What was dug after the last day of a season cannot have been confirmed yet.
            let is_watched = last_watched.is_some_and(|last| (year, month) < key(Day(last.0 + 1)));
            let state = if dated().next().is_some() {
                MonthState::Active
            } else if n_clear >= params.min_clear_looks
                && min_detectable_ha.is_some()
                && is_watched
                && !may_have_begun
            {
                MonthState::Inactive
            } else {
                MonthState::NotObservable
            };
            months.push(MonthActivity {
                area_id: area.area_id.clone(),
                year,
                month,
                state,
                n_clear,
                mapped_ha,
                min_detectable_ha,
            });
        }
    }
    months
}

/// The participants and areas whose reported and visible change disagree, either way, with the arithmetic: the reported
/// change lies outside the interval of 90 % of the visible one.
#[must_use]
pub fn change_disagreements(assessments: &[Assessment]) -> Vec<ChangeDisagreement> {
    assessments
        .iter()
        .filter_map(|assessment| {
            let signal = assessment.relative?;
            let reported = &assessment.comparison.as_ref()?.reported;
            let (now, before) = (reported.carats, reported.previous_carats?);
            let change = signal.reported_change?;
            let Estimate { value, lo, hi } = signal.index;
            if (lo..=hi).contains(&change) {
                return None;
            }
            let than = if change > hi { "more" } else { "less" };
            Some(ChangeDisagreement {
                scope: assessment.scope.clone(),
                period: assessment.period,
                reported_carats: (now, before),
                reported_change: change,
                visible_change: signal.index,
                sentence: format!(
                    "Reported {} went from {before:.0} to {now:.0} ct, {now:.0} / {before:.0} = {change:.2}; visible digging \
                     changed by {value:.2} ({lo:.2} to {hi:.2}): reported changed by {than} than what was seen.",
                    reported.measure
                ),
            })
        })
        .collect()
}
