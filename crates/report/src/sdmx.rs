use std::collections::BTreeSet;
use std::io::Write;

use pitwatch_capacity::{Assessment, Estimate, Quantiles, ReportedAmount, Route, Scope};
use pitwatch_grid::Day;

use crate::assessment::frequency_and_period;
use crate::geojson::rounded;
use crate::looks::quoted;
use crate::{Error, Result};

/// `structure.xml`: the data structure of `observations.csv`, SDMX-ML 3.0.
pub const STRUCTURE_XML: &str = include_str!("structure.xml");

/// The dataflow that the rows belong to.
const DATAFLOW: &str = "PITWATCH:DF_PITWATCH(1.0.0)";

/// The columns of `observations.csv`: those of SDMX-CSV 2.0, the dimensions, the measure, the attributes.
///
/// Source: SDMX-CSV 2.0 field guide (SDMX 3.0).
const COLUMNS: [&str; 15] = [
    "STRUCTURE",
    "STRUCTURE_ID",
    "ACTION",
    "FREQ",
    "REF_AREA",
    "SITE",
    "INDICATOR",
    "SOURCE",
    "STAT",
    "VINTAGE",
    "TIME_PERIOD",
    "OBS_VALUE",
    "UNIT_MEASURE",
    "OBS_STATUS",
    "LAST_UPDATE",
];

/// The codes of the columns that have a list, as in [`STRUCTURE_XML`]; a test compares them.
const CODES: [(&str, &[&str]); 6] = [
    ("FREQ", &["A", "S", "Q", "M"]),
    (
        "INDICATOR",
        &[
            "AREA_DIST",
            "PROD_CT",
            "EXPORT_CT",
            "IMPORT_CT",
            "VALUE_USD",
            "ACTIVITY_INDEX",
        ],
    ),
    ("SOURCE", &["EO", "DOC", "LAB", "KP", "NAT", "PRESS"]),
    ("STAT", &["EST", "P05", "P10", "P50", "P90", "P95"]),
    ("UNIT_MEASURE", &["HA", "CT", "USD", "PT"]),
    ("OBS_STATUS", &["A", "E", "P", "M", "B"]),
];

/// How many of the columns, from the fourth on, make a row's key.
const N_DIMENSIONS: usize = 8;

/// Writes `observations.csv`, SDMX-CSV 2.0: what was implied and what was reported, a row a number, sorted by key.
///
/// An assessment whose period is no calendar year, half, quarter or month has no row. Where imagery was to say something
/// and could not, the median is there as `NaN` with the status `M`: missing is not zero.
///
/// - `last_look`: day of the newest look.
///
/// # Errors
///
/// If `out` refuses, or a row breaks the structure (as [`check_observations`] says).
pub fn write_observations_csv(
    out: &mut impl Write,
    assessments: &[Assessment],
    last_look: Option<Day>,
) -> Result<()> {
    let mut rows = BTreeSet::new();
    for assessment in assessments {
        add_rows(&mut rows, assessment, last_look);
    }
    let mut text = COLUMNS.join(",") + "\n";
    for row in rows {
        text += &format!("dataflow,{DATAFLOW},I,{row}\n");
    }
    check_observations(&text)?;
    out.write_all(text.as_bytes())
        .map_err(|source| Error::Write {
            what: "observations.csv",
            source,
        })
}

fn add_rows(rows: &mut BTreeSet<String>, assessment: &Assessment, last_look: Option<Day>) {
    let Some((frequency, period)) = frequency_and_period(assessment.period) else {
        return;
    };
    let site = match &assessment.scope {
        Scope::Area(id) => id.as_str(),
        Scope::Country(_) => "_T",
    };
    let updated = last_look.map_or_else(String::new, |day| day.to_string());
    let mut add = |indicator: &str, source: &str, stat: &str, vintage: &str, value: Option<f64>| {
        let unit = match indicator {
            "AREA_DIST" => "HA",
            "ACTIVITY_INDEX" => "PT",
            "VALUE_USD" => "USD",
            _ => "CT",
        };
        let status = match (value, stat) {
            (None, _) => "M",
            (Some(_), "EST") => "A",
            (Some(_), _) => "E",
        };
        let value = value.map_or_else(|| "NaN".into(), |value| rounded(value, 4).to_string());
        rows.insert(format!(
            "{frequency},{},{},{indicator},{source},{stat},{vintage},{period},{value},{unit},{status},{updated}",
            assessment.country,
            quoted(site)
        ));
    };
    for estimate in &assessment.routes {
        let source = match estimate.route {
            Route::Pits => "EO",
            Route::Labor => "LAB",
            Route::Documented => "DOC",
        };
        let Quantiles {
            p5,
            p10,
            p50,
            p90,
            p95,
        } = estimate.carats;
        for (stat, value) in [
            ("P05", p5),
            ("P10", p10),
            ("P50", p50),
            ("P90", p90),
            ("P95", p95),
        ] {
            add("PROD_CT", source, stat, "_Z", Some(value));
        }
    }
    if !assessment.routes.iter().any(|e| e.route == Route::Pits) {
        add("PROD_CT", "EO", "P50", "_Z", None);
    }
    let mut add_estimate = |indicator: &str, estimate: Option<Estimate>| match estimate {
        Some(Estimate { value, lo, hi }) => {
            add(indicator, "EO", "P05", "_Z", Some(lo));
            add(indicator, "EO", "P50", "_Z", Some(value));
            add(indicator, "EO", "P95", "_Z", Some(hi));
        }
        None => add(indicator, "EO", "P50", "_Z", None),
    };
    add_estimate(
        "AREA_DIST",
        assessment.ground.as_ref().map(|ground| ground.adjusted_ha),
    );
    add_estimate(
        "ACTIVITY_INDEX",
        assessment.relative.map(|relative| relative.index),
    );
    if let Some(comparison) = &assessment.comparison {
        let reported = &comparison.reported;
        let vintage = reported
            .release_date
            .map_or_else(|| "_U".into(), |day| day.to_string());
        if let (Some(indicator), Some(source)) = (indicator_of(reported), source_of(reported)) {
            add(indicator, source, "EST", &vintage, Some(reported.carats));
        }
    }
}

/// Sales are no flow of the structure: they have no row.
fn indicator_of(reported: &ReportedAmount) -> Option<&'static str> {
    match reported.measure.as_str() {
        "production" => Some("PROD_CT"),
        "exports" | "export" => Some("EXPORT_CT"),
        "imports" | "import" => Some("IMPORT_CT"),
        _ => None,
    }
}

fn source_of(reported: &ReportedAmount) -> Option<&'static str> {
    match reported.source_class.as_str() {
        "kp" => Some("KP"),
        "national" => Some("NAT"),
        "press" => Some("PRESS"),
        _ => None,
    }
}

/// Checks the text of an `observations.csv` against its structure: columns, codes, periods, numbers, required
/// attributes, repeated keys. Readers of SDMX do not.
///
/// # Errors
///
/// The first line that breaks it.
pub fn check_observations(text: &str) -> Result<()> {
    let fault = |line: usize, message: String| Err(Error::Observation { line, message });
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    if header != COLUMNS.join(",") {
        return fault(1, format!("the header must be {}", COLUMNS.join(",")));
    }
    let mut keys = BTreeSet::new();
    for (index, line) in lines.enumerate() {
        let number = index + 2;
        let fields = fields(line);
        if fields.len() != COLUMNS.len() {
            return fault(
                number,
                format!("{} fields instead of {}", fields.len(), COLUMNS.len()),
            );
        }
        let field = |name: &str| {
            let place = COLUMNS.iter().position(|column| *column == name);
            place.map_or("", |place| fields[place].as_str())
        };
        if field("STRUCTURE") != "dataflow"
            || field("STRUCTURE_ID") != DATAFLOW
            || field("ACTION") != "I"
        {
            return fault(number, format!("must begin with dataflow,{DATAFLOW},I"));
        }
        for (column, codes) in CODES {
            if !codes.contains(&field(column)) {
                return fault(
                    number,
                    format!(
                        "{column} is {:?}; write one of {}",
                        field(column),
                        codes.join(", ")
                    ),
                );
            }
        }
        let is_country = field("REF_AREA").len() == 3
            && field("REF_AREA").bytes().all(|b| b.is_ascii_uppercase());
        if !is_country {
            return fault(
                number,
                format!(
                    "REF_AREA is {:?}; write the three letters of ISO 3166-1",
                    field("REF_AREA")
                ),
            );
        }
        if field("SITE").is_empty() {
            return fault(
                number,
                "SITE is empty; write _T for the whole country".into(),
            );
        }
        let is_day = |text: &str| text.parse::<Day>().is_ok();
        let vintage = field("VINTAGE");
        if !(matches!(vintage, "_U" | "_Z") || is_day(vintage)) {
            return fault(
                number,
                format!("VINTAGE is {vintage:?}; write a day, _U or _Z"),
            );
        }
        if !is_period(field("FREQ"), field("TIME_PERIOD")) {
            return fault(
                number,
                format!(
                    "TIME_PERIOD is {:?}, which is none of frequency {}",
                    field("TIME_PERIOD"),
                    field("FREQ")
                ),
            );
        }
        let is_missing = field("OBS_VALUE") == "NaN";
        let is_number = field("OBS_VALUE").parse::<f64>().is_ok_and(f64::is_finite);
        if is_missing != (field("OBS_STATUS") == "M") || !(is_missing || is_number) {
            return fault(
                number,
                format!(
                    "OBS_VALUE is {:?} with status {}; a number, or NaN with status M",
                    field("OBS_VALUE"),
                    field("OBS_STATUS")
                ),
            );
        }
        if !(field("LAST_UPDATE").is_empty() || is_day(field("LAST_UPDATE"))) {
            return fault(
                number,
                format!("LAST_UPDATE is {:?}; write a day", field("LAST_UPDATE")),
            );
        }
        if !keys.insert(fields[3..3 + N_DIMENSIONS].to_vec()) {
            return fault(number, "the same key stands in an earlier line".into());
        }
    }
    Ok(())
}

fn is_period(frequency: &str, period: &str) -> bool {
    let is_year = |text: &str| text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit());
    let part = |mark: &str, most: u32| {
        period.split_once(mark).is_some_and(|(year, rest)| {
            is_year(year)
                && rest
                    .parse::<u32>()
                    .is_ok_and(|part| (1..=most).contains(&part))
        })
    };
    match frequency {
        "A" => is_year(period),
        "S" => part("-S", 2),
        "Q" => part("-Q", 4),
        "M" => part("-", 12) && period.len() == 7,
        _ => false,
    }
}

/// The fields of a line of CSV; a field may be quoted and hold commas, not line breaks.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => {
                field.push('"');
                letters.next();
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    fields.push(field);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::tests::seguela_2022;

    fn written() -> String {
        let mut out = Vec::new();
        write_observations_csv(&mut out, &[seguela_2022()], Some(Day(19_717))).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn implied_and_reported_are_rows_of_one_table() {
        let text = written();
        let row = |part: &str| text.lines().any(|line| line.contains(part));
        assert!(row("A,CIV,civ-seguela,PROD_CT,EO,P50,_Z,2022,"), "{text}");
        assert!(
            row("A,CIV,civ-seguela,PROD_CT,KP,EST,_U,2022,3969,CT,A,2023-12-26"),
            "{text}"
        );
        assert!(row("ACTIVITY_INDEX,EO,P50,_Z,2022,NaN,PT,M"), "{text}");
    }

    #[test]
    fn the_codes_are_those_of_the_structure() {
        for (column, codes) in CODES {
            let list = STRUCTURE_XML
                .split(&format!("<str:Codelist id=\"CL_{column}\""))
                .nth(1)
                .unwrap();
            let list = list.split("</str:Codelist>").next().unwrap();
            let found: Vec<&str> = list
                .split("<str:Code id=\"")
                .skip(1)
                .map(|rest| rest.split('"').next().unwrap())
                .collect();
            assert_eq!(found, codes, "{column}");
        }
        for column in &COLUMNS[3..] {
            assert!(
                STRUCTURE_XML.contains(&format!("id=\"{column}\"")),
                "{column}"
            );
        }
    }

    #[test]
    fn each_fault_is_named_with_its_line() {
        let good = written();
        for (from, to, part) in [
            (",CT,A,", ",CT,X,", "OBS_STATUS"),
            (",2022,3969,", ",2022-13,3969,", "TIME_PERIOD"),
            (",3969,CT", ",,CT", "OBS_VALUE"),
            (",_U,", ",unknown,", "VINTAGE"),
            (
                "A,CIV,civ-seguela,PROD_CT,KP",
                "A,CI,civ-seguela,PROD_CT,KP",
                "REF_AREA",
            ),
            ("A,CIV,civ-seguela,PROD_CT,KP", "A,CIV,,PROD_CT,KP", "SITE"),
            (",KP,EST,", ",XX,EST,", "SOURCE"),
            ("STRUCTURE,", "", "header"),
            (",2023-12-26\n", ",26.12.2023\n", "LAST_UPDATE"),
            (",CT,A,", ",CT,", "fields"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            let message = check_observations(&bad).unwrap_err().to_string();
            assert!(
                message.contains(part) && message.contains("line"),
                "{message}"
            );
        }
        let twice = format!("{good}{}\n", good.lines().last().unwrap());
        assert!(check_observations(&twice).is_err());
        assert!(check_observations(&good).is_ok());
    }
}
