//! From alerts to assessments: what was seen beside the priors and the reported figures that a pipeline names.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use geo::MultiPolygon;
use pitwatch_capacity::{
    AreaEvidence, Assessment, ChangeDisagreement, Dyke, Estimate, Figure, Measure, MeasuredDepth,
    MeasuredDyke, MonthActivity, MonthLooks, OmittedShare, Params, Participant, Priors,
    ReportPeriod, ReportedAmount, SampleArea, Scope, Season, Site, in_order_of_vintage,
};
use pitwatch_grid::{Day, Region};
use pitwatch_sites::{Alert, Review};

use crate::area;
use crate::config::Pipeline;
use crate::exit::Problem;
use crate::false_area::{self, ReviewedSeason, is_confirmed_excavation};
use crate::figures;
use crate::points::{self, ReviewedPoint, SeasonMap};
use crate::run::AreaResult;
use crate::watch::sha256;

/// Days of a season: the monitoring period is cut into years from its first day on.
pub(crate) const SEASON_DAYS: i32 = 365;

/// Square meters in a hectare.
const M2_PER_HA: f64 = 10_000.0;

/// What the comparison rests on beside imagery.
pub(crate) struct Inputs {
    params: Params,
    priors: Priors,
    reported: Vec<ReportedAmount>,
    points: Vec<ReviewedPoint>,
    size_exponent: Option<f64>,
    /// SHA-256 of the priors file and of the tables of reported figures and reviewed points.
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
    /// What was named in the pipeline and could not be used, and why.
    pub(crate) warnings: Vec<String>,
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

/// Checks a table of reviewed points alone.
///
/// # Errors
///
/// A configuration problem that names each bad row.
pub(crate) fn check_points(path: &Path) -> Result<String> {
    let read = || -> Result<String> {
        let text = fs::read_to_string(path).context("cannot be read")?;
        let points =
            points::parse(path, &text).map_err(|faults| anyhow!("{}", faults.join("\n")))?;
        Ok(format!("{} reviewed points", points.len()))
    };
    read().context(Problem::Configuration)
}

/// Reads the reviewed points that a pipeline names; each must lie in the area that it is of.
fn read_points(path: &Path, pipeline: &Pipeline) -> Result<(Vec<ReviewedPoint>, String)> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the reviewed points {}", path.display()))?;
    let points = points::parse(path, &text).map_err(|faults| anyhow!("{}", faults.join("\n")))?;
    let mut regions = BTreeMap::new();
    for source in &pipeline.areas {
        if let (Some(id), Some(file)) = (&source.id, &source.file) {
            regions.insert(id.as_str(), area::read(file)?);
        }
    }
    let mut faults = Vec::new();
    for point in &points {
        let ReviewedPoint {
            area_id,
            lonlat,
            line,
            ..
        } = point;
        match regions.get(area_id.as_str()) {
            None => faults.push(format!(
                "{}: {area_id:?} is no area of {}; write one of {}",
                figures::place(path, *line, 1),
                pipeline.path.display(),
                regions.keys().copied().collect::<Vec<_>>().join(", ")
            )),
            Some(region) if !region.contains(*lonlat) => faults.push(format!(
                "{}: longitude {}, latitude {} lie outside {area_id}; write the place in degrees, or take the row out",
                figures::place(path, *line, 3),
                lonlat.x,
                lonlat.y
            )),
            Some(_) => {}
        }
    }
    if faults.is_empty() {
        Ok((points, text))
    } else {
        Err(anyhow!("{}", faults.join("\n")))
    }
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
    let (points, points_table) = match &params.points_file {
        Some(file) => read_points(&folder.join(file), pipeline)?,
        None => (Vec::new(), String::new()),
    };
    for (key, dyke) in params.dykes.iter().map(|dyke| ("dykes", dyke)) {
        let is_area = pipeline
            .areas
            .iter()
            .any(|area| area.id.as_ref() == Some(&dyke.area_id));
        if !is_area || !priors.deposits().contains_key(&dyke.deposit) {
            return Err(anyhow!(
                "{}: {key} has {:?} in area {:?} of deposit {:?}; write an area of this pipeline, and a deposit of {}",
                pipeline.path.display(),
                dyke.name,
                dyke.area_id,
                dyke.deposit,
                path.display()
            ));
        }
    }
    let hashes = [&text, &table, &points_table].map(|text| sha256(text.as_bytes()));
    Ok(Some(Inputs {
        params,
        priors,
        reported,
        points,
        size_exponent: pipeline.skill.as_ref().map(|skill| skill.size_exponent),
        sha256: sha256(hashes.concat().as_bytes()),
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
    let mut warnings = Vec::new();
    let evidence: Vec<AreaEvidence> = results
        .iter()
        .filter(|result| inputs.priors.areas().contains_key(&result.watch.area_id))
        .map(|result| evidence_of(inputs, pipeline, result, &mut warnings))
        .collect::<Result<_>>()?;
    for depth in &inputs.params.depths {
        let mut alerts = results.iter().flat_map(|result| &result.alerts);
        if !alerts.any(|alert| alert.alert_id == depth.alert_id) {
            warnings.push(format!(
                "{}: [[capacity.depths]] names the alert {}, which this run does not have: its depth is not used",
                pipeline.path.display(),
                depth.alert_id
            ));
        }
    }
    for dyke in &inputs.params.dykes {
        if dyke
            .days()
            .is_some_and(|days| days.1 < pipeline.monitor_from)
        {
            warnings.push(format!(
                "{}: the dyke {} was dug before the monitoring: it is not used",
                pipeline.path.display(),
                dyke.name
            ));
        }
    }
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
        warnings,
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
fn evidence_of(
    inputs: &Inputs,
    pipeline: &Pipeline,
    result: &AreaResult,
    warnings: &mut Vec<String>,
) -> Result<AreaEvidence> {
    let monitor_from = pipeline.monitor_from;
    let looks = result.watch.reader.looks();
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
    let spans = spans(
        monitor_from,
        pipeline.change.confirm_days,
        &result.n_last_clear,
        n_pixels,
    );
    let mut in_span: Vec<Vec<&Alert>> = vec![Vec::new(); spans.len()];
    for alert in result
        .alerts
        .iter()
        .filter(|alert| is_confirmed_excavation(alert))
    {
        let day = Day::of(alert.end_datetime);
        if let Some(place) = spans.iter().rposition(|span| span.days.0 <= day) {
            in_span[place].push(alert);
        }
    }
    let reviewed: Vec<ReviewedSeason> = spans
        .iter()
        .zip(&in_span)
        .map(|(span, alerts)| {
            let n = |review| alerts.iter().filter(|alert| alert.review == review).count();
            let n_reviewed = n(Review::Confirmed) + n(Review::Dismissed);
            let n_days = f64::from(span.days.1.0 - span.days.0.0 + 1);
            ReviewedSeason {
                share: n_reviewed as f64 / alerts.len().max(1) as f64,
                dismissed_ha: alerts
                    .iter()
                    .filter(|alert| alert.review == Review::Dismissed)
                    .map(|alert| alert.area_ha)
                    .collect(),
                seen_seasons: n_days / f64::from(SEASON_DAYS) * span.observed_share,
            }
        })
        .collect();
    let pixel_ha = result.watch.geobox.pixel_area_m2() / M2_PER_HA;
    let false_areas = false_area::of_seasons(
        result.replayed.as_ref(),
        &reviewed,
        inputs.params.min_reviewed_share,
        pipeline.sites.mmu_excavation_pixels.max(1) as f64 * pixel_ha,
    );
    let samples = samples_of(inputs, result, &spans, &in_span, warnings);
    let mut seasons = Vec::new();
    for (place, span) in spans.iter().enumerate() {
        let (from, until) = span.days;
        let is_in = |day: Day| from <= day && day <= until;
        seasons.push(Season {
            days: span.days,
            observed_share: span.observed_share,
            n_clear: Some(n_clear(&is_in)),
            sites: in_span[place]
                .iter()
                .filter_map(|alert| site_of(alert, &inputs.params.depths))
                .collect(),
            dykes: dykes_of(inputs, &result.watch.area_id, &spans, place),
            omitted_share,
            min_detectable_ha: limit.min_detectable_ha.filter(|_| limit.is_measured),
            false_area: false_areas[place].clone(),
            sample: samples[place],
        });
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

/// A season of digging of one area: its days, and how much of the area was seen in them.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Span {
    days: (Day, Day),
    /// Mean over the days of the share of the area in which digging of that day could have been confirmed by now.
    observed_share: f64,
}

/// The seasons from the first day of monitoring on.
///
/// What a pixel showed for the first time in the `confirm_days` before its newest clear look cannot be confirmed yet, so these
/// days do not count as watched: the last season ends before them, and where clouds cut off parts of the area earlier, a share
/// of it is not observed.
///
/// - `n_last_clear`: of the observable pixels, how many were last seen clear on each day.
/// - `n_pixels`: pixels of the area.
fn spans(
    monitor_from: Day,
    confirm_days: u32,
    n_last_clear: &BTreeMap<Day, u64>,
    n_pixels: f64,
) -> Vec<Span> {
    let until = |day: Day| day.0.saturating_sub_unsigned(confirm_days);
    let last = n_last_clear
        .last_key_value()
        .map_or(i32::MIN, |(&day, _)| until(day));
    let mut spans = Vec::new();
    let mut from = monitor_from.0;
    while from <= last {
        let to = (from + SEASON_DAYS - 1).min(last);
        let n_days = to - from + 1;
        let seen: f64 = n_last_clear
            .iter()
            .map(|(&day, &n)| f64::from((until(day) - from + 1).clamp(0, n_days)) * n as f64)
            .sum();
        spans.push(Span {
            days: (Day(from), Day(to)),
            observed_share: (seen / f64::from(n_days) / n_pixels).min(1.0),
        });
        from = to + 1;
    }
    spans
}

/// A confirmed alert as evidence; `None` if it was dismissed. What a reviewer confirmed is certain.
fn site_of(alert: &Alert, depths: &[MeasuredDepth]) -> Option<Site> {
    let probability = match alert.review {
        Review::Dismissed => return None,
        Review::Confirmed => 1.0,
        Review::Unreviewed => alert.probability,
    };
    Some(Site {
        site_id: alert.alert_id.clone(),
        deposit: None,
        area_ha: Estimate {
            value: alert.area_ha,
            lo: alert.area_ha_lo,
            hi: alert.area_ha_hi,
        },
        probability,
        dug: (Day::of(alert.start_datetime), Day::of(alert.end_datetime)),
        volume_m3: depths
            .iter()
            .find(|depth| depth.alert_id == alert.alert_id)
            .map(|depth| {
                let [lo, value, hi] = depth.depth_m;
                Estimate {
                    value: alert.area_ha * M2_PER_HA * value,
                    lo: alert.area_ha_lo * M2_PER_HA * lo,
                    hi: alert.area_ha_hi * M2_PER_HA * hi,
                }
            }),
    })
}

/// The dyke trenches of an area that were dug, at the latest, in one of its spans.
fn dykes_of(inputs: &Inputs, area_id: &str, spans: &[Span], place: usize) -> Vec<Dyke> {
    let dykes = inputs.params.dykes.iter();
    dykes
        .filter(|dyke| dyke.area_id == area_id)
        .filter_map(MeasuredDyke::evidence)
        .filter(|dyke| {
            let days = |span: &Span| span.days.0 <= dyke.dug.1;
            spans.iter().rposition(days) == Some(place)
        })
        .collect()
}

/// The area that reviewed points give each season; why points are not used becomes a warning.
fn samples_of(
    inputs: &Inputs,
    result: &AreaResult,
    spans: &[Span],
    alerts: &[Vec<&Alert>],
    warnings: &mut Vec<String>,
) -> Vec<Option<SampleArea>> {
    let area_id = &result.watch.area_id;
    let mut by_season: BTreeMap<Day, Vec<&ReviewedPoint>> = BTreeMap::new();
    for point in inputs
        .points
        .iter()
        .filter(|point| point.area_id == *area_id)
    {
        by_season.entry(point.season_from).or_default().push(point);
    }
    let samples = spans
        .iter()
        .zip(alerts)
        .map(|(span, alerts)| {
            let points = by_season.remove(&span.days.0)?;
            let map = SeasonMap {
                geobox: &result.watch.geobox,
                mapped: alerts
                    .iter()
                    .flat_map(|alert| alert.pixels.iter().copied())
                    .collect(),
                n_observable: result.n_observable,
            };
            let params = &inputs.params;
            let sample = points::sample(
                &points,
                &map,
                params.min_reviewed_points,
                params.max_changed_points_share,
            );
            match sample {
                Ok(sample) => Some(sample),
                Err(why) => {
                    warnings.push(format!(
                        "{area_id}, season from {}: no area by sample: {why}",
                        span.days.0
                    ));
                    None
                }
            }
        })
        .collect();
    let starts: Vec<String> = spans.iter().map(|span| span.days.0.to_string()).collect();
    for (from, points) in by_season {
        warnings.push(format!(
            "{area_id}: {} reviewed points are of a season from {from}, which this run does not have; its seasons start on {}",
            points.len(),
            starts.join(", ")
        ));
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_after_which_nothing_can_be_confirmed_are_not_watched() {
        let spans = |n_last_clear: &[(i32, u64)]| {
            let n_last_clear = n_last_clear.iter().map(|&(day, n)| (Day(day), n)).collect();
            spans(Day(1_000), 30, &n_last_clear, 100.0)
        };
        // 80 of 100 pixels are observable; all were last seen 100 days into the second season.
        let all = spans(&[(1_465, 80)]);
        assert_eq!(all[0].days, (Day(1_000), Day(1_364)));
        assert_eq!(all[1].days, (Day(1_365), Day(1_435)));
        assert!(
            all.iter()
                .all(|span| (span.observed_share - 0.8).abs() < 1e-12)
        );
        // Clouds have hidden half of them since the first season ended: the second was seen in half of the area.
        let half = spans(&[(1_394, 40), (1_465, 40)]);
        assert!((half[0].observed_share - 0.8).abs() < 1e-12);
        assert!((half[1].observed_share - 0.4).abs() < 1e-12, "{half:?}");
        // Too early for anything to be confirmed, or nothing seen at all: there is no season.
        assert_eq!(spans(&[(1_029, 80)]), []);
        assert_eq!(spans(&[]), []);
    }

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
