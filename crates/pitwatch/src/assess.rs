//! From alerts to assessments: what was seen beside the priors and the reported figures that a pipeline names.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use geo::MultiPolygon;
use pitwatch_capacity::{
    AreaEvidence, Assessment, ChangeDisagreement, Estimate, MonthActivity, MonthLooks,
    OmittedShare, Params, Priors, ReportedAmount, Scope, Season, Site,
};
use pitwatch_change::Kind;
use pitwatch_grid::{Day, Region};
use pitwatch_sites::Tier;

use crate::config::Pipeline;
use crate::exit::Problem;
use crate::run::AreaResult;
use crate::watch::sha256;

/// Days of a season: the monitoring period is cut into years from its first day on.
const SEASON_DAYS: i32 = 365;

/// The columns of a table of reported figures, in their order.
const REPORTED_COLUMNS: [&str; 10] = [
    "participant",
    "period",
    "measure",
    "carats",
    "value_usd",
    "source",
    "source_class",
    "release_date",
    "carats_rounding",
    "note",
];

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
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let headers = reader
        .headers()
        .with_context(|| format!("{}, line 1", path.display()))?;
    if headers.iter().ne(REPORTED_COLUMNS) {
        return Err(anyhow!(
            "{}, line 1: the columns must be {}",
            path.display(),
            REPORTED_COLUMNS.join(",")
        ));
    }
    let (mut amounts, mut faults) = (Vec::new(), Vec::new());
    for (index, record) in reader.records().enumerate() {
        let row = index + 2;
        let amount = record
            .map_err(|error| error.to_string())
            .and_then(|record| amount_of(&record));
        match amount {
            Ok(amount) => amounts.push(amount),
            Err(fault) => faults.push(format!("row {row}: {fault}")),
        }
    }
    if !faults.is_empty() {
        return Err(anyhow!("{}: {}", path.display(), faults.join("; ")));
    }
    // Figures of one period and measure are vintages, or official figures that differ: the comparison takes the last row, and
    // says how many there are.
    let mut counts: BTreeMap<(Scope, (Day, Day), String), usize> = BTreeMap::new();
    let key =
        |amount: &ReportedAmount| (amount.scope.clone(), amount.period, amount.measure.clone());
    for amount in &amounts {
        *counts.entry(key(amount)).or_default() += 1;
    }
    let mut last: BTreeMap<(Scope, (Day, Day), String), ReportedAmount> = BTreeMap::new();
    for mut amount in amounts {
        amount.n_vintages = counts.get(&key(&amount)).copied().unwrap_or(1);
        last.insert(key(&amount), amount);
    }
    let carats: BTreeMap<(Scope, Day, String), f64> = last
        .values()
        .map(|amount| {
            let (scope, period, measure) = key(amount);
            ((scope, period.1, measure), amount.carats)
        })
        .collect();
    Ok(last
        .into_values()
        .map(|mut amount| {
            let before = (
                amount.scope.clone(),
                Day(amount.period.0.0 - 1),
                amount.measure.clone(),
            );
            amount.previous_carats = carats.get(&before).copied();
            amount
        })
        .collect())
}

fn amount_of(record: &csv::StringRecord) -> Result<ReportedAmount, String> {
    let field = |name: &str| {
        let place = REPORTED_COLUMNS.iter().position(|column| *column == name);
        place
            .and_then(|place| record.get(place))
            .unwrap_or("")
            .trim()
    };
    let number = |name: &str| {
        field(name)
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite() && *value >= 0.0)
            .ok_or_else(|| {
                format!(
                    "{name} is {:?}; write a number, 0 or more, with a decimal point",
                    field(name)
                )
            })
    };
    let participant = field("participant");
    if participant.len() != 3 || !participant.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(format!(
            "participant is {participant:?}; write the three letters of ISO 3166-1, such as CIV"
        ));
    }
    if !["production", "export", "import"].contains(&field("measure")) {
        return Err(format!(
            "measure is {:?}; write production, export or import",
            field("measure")
        ));
    }
    if !["kp", "national", "press"].contains(&field("source_class")) {
        return Err(format!(
            "source_class is {:?}; write kp, national or press",
            field("source_class")
        ));
    }
    if field("source").is_empty() {
        return Err("source is empty; say where the figure stands".into());
    }
    let release_date = match field("release_date") {
        "" => None,
        text => Some(text.parse::<Day>().map_err(|_| {
            format!("release_date is {text:?}; write a day as 2024-07-15, or nothing")
        })?),
    };
    Ok(ReportedAmount {
        scope: Scope::Country(participant.to_owned()),
        period: period_of(field("period"))?,
        carats: number("carats")?,
        carats_rounding: number("carats_rounding")?,
        measure: field("measure").to_owned(),
        source: field("source").to_owned(),
        source_class: field("source_class").to_owned(),
        release_date,
        n_vintages: 1,
        previous_carats: None,
    })
}

/// First and last day of `2022`, `2022-S1` or `2022-Q3`.
fn period_of(text: &str) -> Result<(Day, Day), String> {
    let wrong = || format!("period is {text:?}; write 2022, 2022-S1 or 2022-Q3");
    let (year, first, n_months) = match text.split_once('-') {
        None => (text, 1, 12),
        Some((year, "S1")) => (year, 1, 6),
        Some((year, "S2")) => (year, 7, 6),
        Some((year, "Q1")) => (year, 1, 3),
        Some((year, "Q2")) => (year, 4, 3),
        Some((year, "Q3")) => (year, 7, 3),
        Some((year, "Q4")) => (year, 10, 3),
        Some(_) => return Err(wrong()),
    };
    let year: i32 = year
        .parse()
        .ok()
        .filter(|year| (1900..2200).contains(year))
        .ok_or_else(wrong)?;
    let day = |year: i32, month: i32| {
        format!("{year}-{month:02}-01")
            .parse::<Day>()
            .map_err(|_| wrong())
    };
    let next = first + n_months;
    let end = if next > 12 {
        day(year + 1, next - 12)?
    } else {
        day(year, next)?
    };
    Ok((day(year, first)?, Day(end.0 - 1)))
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
            Scope::Country(iso3) => iso3.clone(),
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

    fn parse(rows: &str) -> Result<Vec<ReportedAmount>> {
        let text = format!("{}\n{rows}", REPORTED_COLUMNS.join(","));
        parse_reported(Path::new("reported.csv"), &text)
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

    #[test]
    fn each_fault_is_named_with_its_row() {
        for (row, part) in [
            ("Ivory,2022,production,1,,x,kp,,0.5,", "participant"),
            ("CIV,2022-Q5,production,1,,x,kp,,0.5,", "period"),
            ("CIV,2022,sold,1,,x,kp,,0.5,", "measure"),
            ("CIV,2022,production,-1,,x,kp,,0.5,", "carats"),
            ("CIV,2022,production,\"3,969\",,x,kp,,0.5,", "carats"),
            ("CIV,2022,production,1,,,kp,,0.5,", "source"),
            ("CIV,2022,production,1,,x,rumor,,0.5,", "source_class"),
            ("CIV,2022,production,1,,x,kp,July,0.5,", "release_date"),
        ] {
            let message = parse(row).unwrap_err().to_string();
            assert!(
                message.contains("row 2") && message.contains(part),
                "{message}"
            );
        }
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn periods_are_years_halves_and_quarters() {
        let days = |text: &str| {
            let (from, until) = period_of(text).unwrap();
            format!("{from} {until}")
        };
        assert_eq!(days("2024"), "2024-01-01 2024-12-31");
        assert_eq!(days("2024-S2"), "2024-07-01 2024-12-31");
        assert_eq!(days("2024-Q1"), "2024-01-01 2024-03-31");
    }
}
