//! From alerts to assessments: what was seen beside the priors and the reported figures that a pipeline names.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use geo::MultiPolygon;
use pitwatch_capacity::{
    AreaEvidence, Assessment, ChangeDisagreement, Estimate, Figure, Measure, MonthActivity,
    MonthLooks, OmittedShare, Params, Participant, Priors, ReportPeriod, ReportedAmount, Scope,
    Season, Site, in_order_of_vintage,
};
use pitwatch_change::Kind;
use pitwatch_grid::{Day, Region};
use pitwatch_sites::Tier;

use crate::config::Pipeline;
use crate::exit::Problem;
use crate::figures;
use crate::run::AreaResult;
use crate::watch::sha256;

/// Days of a season: the monitoring period is cut into years from its first day on.
const SEASON_DAYS: i32 = 365;

/// What the comparison rests on beside imagery.
pub(crate) struct Inputs {
    params: Params,
    priors: Priors,
    reported: Vec<ReportedAmount>,
    size_exponent: Option<f64>,
    /// SHA-256 of the priors file and of the table of reported figures.
    pub(crate) sha256: String,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Assessed {
    pub(crate) assessments: Vec<Assessment>,
    /// Of each assessment; `None` for a country.
    pub(crate) outlines: Vec<Option<MultiPolygon<f64>>>,
    /// Of each assessment, as people write it.
    pub(crate) names: Vec<String>,
    pub(crate) months: Vec<MonthActivity>,
    pub(crate) disagreements: Vec<ChangeDisagreement>,
}

/// Reads what the table `[capacity]` names; `None` if the pipeline has no such table.
///
/// # Errors
///
/// A configuration problem that names the file and what to write instead.
pub(crate) fn read(pipeline: &Pipeline) -> Result<Option<Inputs>> {
    read_files(pipeline).context(Problem::Configuration)
}

/// True for a file of priors: it has the table `[plausible]`, which no pipeline has.
pub(crate) fn is_priors(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| {
        text.parse::<toml::Table>()
            .map_or(text.contains("\n[plausible]"), |table| {
                table.contains_key("plausible")
            })
    })
}

/// Checks a file of priors alone.
///
/// # Errors
///
/// A configuration problem that says what to write instead.
pub(crate) fn check_priors(path: &Path) -> Result<String> {
    let read = || -> Result<String> {
        let text = fs::read_to_string(path).context("cannot be read")?;
        let priors = Priors::parse(&text, &pitwatch_capacity::Overrides::default())?;
        Ok(format!(
            "version {}, {} deposits, {} areas",
            priors.version(),
            priors.deposits().len(),
            priors.areas().len()
        ))
    };
    read().context(Problem::Configuration)
}

/// Checks a table of reported figures alone.
///
/// # Errors
///
/// A configuration problem that names each bad row.
pub(crate) fn check_reported(path: &Path) -> Result<String> {
    let read = || -> Result<String> {
        let text = fs::read_to_string(path).context("cannot be read")?;
        let amounts = parse_reported(path, &text)?;
        Ok(format!("{} figures to compare with", amounts.len()))
    };
    read().context(Problem::Configuration)
}

fn read_files(pipeline: &Pipeline) -> Result<Option<Inputs>> {
    let Some(params) = pipeline.capacity.clone() else {
        return Ok(None);
    };
    let folder = pipeline.path.parent().unwrap_or(Path::new("."));
    let path = folder.join(&params.priors_file);
    let text = fs::read_to_string(&path)
        .with_context(|| format!("cannot read the priors {}", path.display()))?;
    let priors = Priors::parse(&text, &params.priors)
        .with_context(|| format!("the priors {}", path.display()))?;
    let unknown = pipeline
        .areas
        .iter()
        .filter_map(|area| area.id.as_ref())
        .find(|id| !priors.areas().contains_key(*id));
    if let Some(id) = unknown {
        return Err(anyhow!(
            "{}: the area {id} is not there; add a table [area.{id}], or take [capacity] out of {}",
            path.display(),
            pipeline.path.display()
        ));
    }
    let (reported, table) = match &pipeline.reported_file {
        Some(path) => {
            let table = fs::read_to_string(path)
                .with_context(|| format!("cannot read the reported figures {}", path.display()))?;
            (parse_reported(path, &table)?, table)
        }
        None => (Vec::new(), String::new()),
    };
    Ok(Some(Inputs {
        params,
        priors,
        reported,
        size_exponent: pipeline.skill.as_ref().map(|skill| skill.size_exponent),
        sha256: sha256(
            format!("{}{}", sha256(text.as_bytes()), sha256(table.as_bytes())).as_bytes(),
        ),
    }))
}

/// Reads a table of reported figures; all faults are told at once.
fn parse_reported(path: &Path, text: &str) -> Result<Vec<ReportedAmount>> {
    let rows = figures::parse(path, text, b',', &figures::Defaults::default())
        .map_err(|faults| anyhow!("{}", faults.join("\n")))?;
    let figures: Vec<Figure> = rows.into_iter().map(|row| row.figure).collect();
    // Figures of one period and measure are vintages, or official figures that differ: the comparison takes the newest, and
    // says how many there are.
    let mut groups: BTreeMap<(&str, ReportPeriod, Measure), Vec<usize>> = BTreeMap::new();
    for (row, figure) in figures.iter().enumerate() {
        let key = (figure.participant.code, figure.period, figure.measure);
        groups.entry(key).or_default().push(row);
    }
    let newest: BTreeMap<_, (&Figure, usize)> = groups
        .into_iter()
        .filter_map(|(key, rows)| {
            let row = in_order_of_vintage(&figures, &rows).pop()?;
            Some((key, (&figures[row], rows.len())))
        })
        .collect();
    Ok(newest
        .iter()
        .map(|(&(code, period, measure), &(figure, n_vintages))| {
            let before = newest.get(&(code, period.before(), measure));
            ReportedAmount {
                scope: Scope::Country(code.to_owned()),
                period: period.days(),
                carats: figure.carats,
                carats_rounding: figure.carats_rounding,
                measure: measure.to_string(),
                source: figure.source.clone(),
                source_class: figure.publisher.to_string(),
                release_date: figure.release_date,
                n_vintages,
                previous_carats: before.map(|(before, _)| before.carats),
            }
        })
        .collect())
}

/// Assesses the areas of a run against what was reported for periods that end in the monitoring period or after it.
///
/// # Errors
///
/// If a prior that a route needs is missing.
pub(crate) fn assess(
    inputs: &Inputs,
    pipeline: &Pipeline,
    results: &[AreaResult],
) -> Result<Assessed> {
    let evidence: Vec<AreaEvidence> = results
        .iter()
        .filter(|result| inputs.priors.areas().contains_key(&result.watch.area_id))
        .map(|result| evidence_of(inputs, pipeline.monitor_from, result))
        .collect::<Result<_>>()?;
    let countries: Vec<&str> = evidence
        .iter()
        .filter_map(|area| inputs.priors.areas().get(&area.area_id))
        .map(|area| area.country.as_str())
        .collect();
    let reported: Vec<ReportedAmount> = inputs
        .reported
        .iter()
        .filter(|amount| {
            let Scope::Country(country) = &amount.scope else {
                return true;
            };
            amount.measure == "production"
                && countries.contains(&country.as_str())
                && amount.period.1 >= pipeline.monitor_from
        })
        .cloned()
        .collect();
    let assessments =
        pitwatch_capacity::assess(&evidence, &inputs.priors, &reported, &inputs.params)
            .context("the comparison with reported figures")
            .context(Problem::Configuration)?;
    let find = |id: &str| results.iter().find(|result| result.watch.area_id == id);
    let outlines = assessments
        .iter()
        .map(|assessment| match &assessment.scope {
            Scope::Area(id) => find(id)
                .and_then(|result| result.watch.region.as_ref())
                .map(|region| Region::lonlat(region).clone()),
            Scope::Country(_) => None,
        })
        .collect();
    let names = assessments
        .iter()
        .map(|assessment| match &assessment.scope {
            Scope::Area(id) => area_name(pipeline, id).unwrap_or_else(|| id.clone()),
            Scope::Country(iso3) => Participant::of_code(iso3)
                .map_or_else(|| iso3.clone(), |participant| participant.name.to_owned()),
        })
        .collect();
    Ok(Assessed {
        months: pitwatch_capacity::month_activity(&evidence, &inputs.params),
        disagreements: pitwatch_capacity::change_disagreements(&assessments),
        outlines,
        names,
        assessments,
    })
}

/// The name that an area's own file gives it.
fn area_name(pipeline: &Pipeline, id: &str) -> Option<String> {
    let source = pipeline
        .areas
        .iter()
        .find(|area| area.id.as_deref() == Some(id))?;
    let text = fs::read_to_string(source.file.as_ref()?).ok()?;
    let json: serde_json::Value = serde_json::from_str(&text).ok()?;
    let name = json.pointer("/features/0/properties/name")?.as_str()?;
    Some(name.to_owned())
}

/// What a run saw of one area: confirmed excavation, season by season.
fn evidence_of(inputs: &Inputs, monitor_from: Day, result: &AreaResult) -> Result<AreaEvidence> {
    let looks = result.watch.reader.looks();
    let last = looks
        .last()
        .map_or(monitor_from, |look| Day::of(look.time).max(monitor_from));
    let n_pixels = result.n_pixels.max(1) as f64;
    let limit = &result.detection_limit;
    let omitted_share = limit
        .omitted_share
        .iter()
        .find(|omitted| Some(omitted.size_exponent) == inputs.size_exponent)
        .and_then(|omitted| Some((omitted.share?, omitted.share_lo?, omitted.share_hi?)))
        .map(|(value, lo, hi)| OmittedShare::new(value, lo, hi))
        .transpose()?;
    // The mean over the area: a median would need the counts of every pixel and month.
    let n_clear = |is_in: &dyn Fn(Day) -> bool| -> u32 {
        let share: f64 = looks
            .iter()
            .zip(&result.n_clear)
            .filter(|(look, _)| is_in(Day::of(look.time)))
            .map(|(_, &n)| n as f64 / n_pixels)
            .sum();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most the number of looks"
        )]
        let whole = share.floor() as u32;
        whole
    };
    let mut seasons = Vec::new();
    let mut from = monitor_from;
    while from <= last {
        let until = Day((from.0 + SEASON_DAYS - 1).min(last.0));
        let is_in = |day: Day| from <= day && day <= until;
        let sites = result
            .alerts
            .iter()
            .filter(|alert| alert.kind == Kind::Excavation && alert.tier == Tier::Confirmed)
            .filter(|alert| is_in(Day::of(alert.end_datetime)))
            .map(|alert| Site {
                site_id: alert.alert_id.clone(),
                deposit: None,
                area_ha: Estimate {
                    value: alert.area_ha,
                    lo: alert.area_ha_lo,
                    hi: alert.area_ha_hi,
                },
                probability: alert.probability,
                dug: (Day::of(alert.start_datetime), Day::of(alert.end_datetime)),
                volume_m3: None,
            })
            .collect();
        seasons.push(Season {
            days: (from, until),
            observed_share: result.n_observable as f64 / n_pixels,
            n_clear: Some(n_clear(&is_in)),
            sites,
            dykes: Vec::new(),
            omitted_share,
            min_detectable_ha: limit.min_detectable_ha.filter(|_| limit.is_measured),
            false_area: None,
            sample: None,
        });
        from = Day(until.0 + 1);
    }
    let mut months: Vec<(i32, u32)> = looks
        .iter()
        .map(|look| Day::of(look.time))
        .filter(|&day| day >= monitor_from)
        .map(|day| (day.year(), day.month()))
        .collect();
    months.dedup();
    Ok(AreaEvidence {
        area_id: result.watch.area_id.clone(),
        seasons,
        looks: months
            .into_iter()
            .map(|(year, month)| MonthLooks {
                year,
                month,
                n_clear: n_clear(&|day| {
                    day >= monitor_from && (day.year(), day.month()) == (year, month)
                }),
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_starter_table_is_read_whole() {
        let text = include_str!("../../../pipelines/reported.csv");
        let amounts = parse_reported(Path::new("reported.csv"), text).unwrap();
        let of = |iso3: &str, year: i32, measure: &str| {
            amounts
                .iter()
                .find(|amount| {
                    amount.scope == Scope::Country(iso3.into())
                        && amount.period.0.year() == year
                        && amount.measure == measure
                })
                .unwrap()
        };
        assert!((of("CIV", 2022, "production").carats - 3968.88).abs() < 1e-9);
        assert_eq!(of("CIV", 2022, "production").n_vintages, 2);
        assert_eq!(of("CIV", 2023, "production").previous_carats, Some(3968.88));
        assert_eq!(of("COD", 2016, "production").n_vintages, 2);
        assert!(
            !text.contains("5628"),
            "the misprint of 2019 is not among them"
        );
    }
}
