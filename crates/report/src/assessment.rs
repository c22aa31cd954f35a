use std::io::Write;

use geo::MultiPolygon;
use pitwatch_capacity::{
    Assessment, ChangeDisagreement, Estimate, MonthActivity, MonthState, Quantiles, Route, Scope,
};
use pitwatch_grid::Day;
use serde_json::{Value, json};

use crate::geojson::{Feature, Header, number, rounded, write_collection};
use crate::looks::quoted;
use crate::{Error, Result};

/// Decimals of carats.
const CARAT_DECIMALS: i32 = 1;
/// Decimals of hectares.
const AREA_DECIMALS: i32 = 4;
/// Decimals of ratios, shares and probabilities.
const SHARE_DECIMALS: i32 = 4;
/// Between the parts of a text column: QGIS reads lists badly, so there are none.
pub(crate) const SEPARATOR: &str = " | ";

/// The columns of `assessments.csv` and `assessments.geojson`, in their order; what is not known is empty, or null.
pub const ASSESSMENT_COLUMNS: [&str; 56] = [
    "assessment_id",
    "scope",
    "area_id",
    "country",
    "area_ids",
    "period",
    "period_from",
    "period_until",
    "digging_from",
    "digging_until",
    "watched_share",
    "fields_watched_share",
    "verdict",
    "route",
    "implied_ct_p05",
    "implied_ct_p10",
    "implied_ct_p50",
    "implied_ct_p90",
    "implied_ct_p95",
    "all_routes",
    "reported_ct",
    "reported_measure",
    "reported_source",
    "reported_source_class",
    "reported_release_date",
    "reported_n_vintages",
    "ratio",
    "ratio_lo",
    "ratio_hi",
    "p_above",
    "p_below",
    "p_two_sided",
    "q_two_sided",
    "is_stable",
    "needed_ha_p05",
    "needed_ha_p50",
    "needed_ha_p95",
    "mapped_ha",
    "mapped_ha_lo",
    "mapped_ha_hi",
    "adjusted_ha",
    "adjusted_ha_lo",
    "adjusted_ha_hi",
    "false_ha",
    "omitted_share",
    "omitted_share_lo",
    "omitted_share_hi",
    "is_sample_adjusted",
    "n_objects",
    "observed_share",
    "activity_index",
    "activity_index_lo",
    "activity_index_hi",
    "reasons",
    "flags",
    "sensitivity",
];

/// The name of an assessment: what it speaks of and its period, `civ-seguela/2022`.
#[must_use]
pub fn assessment_id(assessment: &Assessment) -> String {
    let scope = match &assessment.scope {
        Scope::Area(id) | Scope::Country(id) => id,
    };
    format!("{scope}/{}", period_name(assessment.period))
}

/// A reporting period as SDMX writes it: `2022`, `2022-S1`, `2022-Q3`, `2022-07`; any other as its days.
///
/// Source: SDMX 3.0 technical notes, section on time and date format.
#[must_use]
pub fn period_name((from, until): (Day, Day)) -> String {
    frequency_and_period((from, until))
        .map_or_else(|| format!("{from}/{until}"), |(_, period)| period)
}

/// Frequency and name of a reporting period that is a calendar year, half, quarter or month.
pub(crate) fn frequency_and_period((from, until): (Day, Day)) -> Option<(char, String)> {
    let next = Day(until.0 + 1);
    let is_month_start = |day: Day| day.to_string().ends_with("-01");
    if !is_month_start(from) || !is_month_start(next) {
        return None;
    }
    let (year, first) = (from.year(), from.month());
    let months = (next.year() - year) * 12 + i32::try_from(next.month()).ok()?
        - i32::try_from(first).ok()?;
    match (months, first) {
        (12, 1) => Some(('A', year.to_string())),
        (6, 1 | 7) => Some(('S', format!("{year}-S{}", first / 6 + 1))),
        (3, 1 | 4 | 7 | 10) => Some(('Q', format!("{year}-Q{}", first / 3 + 1))),
        (1, _) => Some(('M', format!("{year}-{first:02}"))),
        _ => None,
    }
}

/// Writes `assessments.csv`: a header and one line an assessment, in the order given.
///
/// Format as of [`write_looks_csv`](crate::write_looks_csv).
///
/// # Errors
///
/// If `out` refuses.
pub fn write_assessments_csv(out: &mut impl Write, assessments: &[Assessment]) -> Result<()> {
    let refused = |source| Error::Write {
        what: "assessments.csv",
        source,
    };
    writeln!(out, "{}", ASSESSMENT_COLUMNS.join(",")).map_err(refused)?;
    for assessment in assessments {
        let fields = values(assessment).map(|value| match value {
            Value::Null => String::new(),
            Value::String(text) => quoted(&text),
            other => other.to_string(),
        });
        writeln!(out, "{}", fields.join(",")).map_err(refused)?;
    }
    Ok(())
}

/// Writes `assessments.geojson`: the assessments of single areas on the areas' outlines, flat, one feature a line.
///
/// - `outlines`: of each assessment, longitude and latitude; `None` leaves it out, as those of countries are.
///
/// # Errors
///
/// If `out` refuses, or a coordinate is not finite.
pub fn write_assessments_geojson(
    out: &mut impl Write,
    assessments: &[Assessment],
    outlines: &[Option<MultiPolygon<f64>>],
    run_id: &str,
    notice: &str,
) -> Result<()> {
    let ids: Vec<String> = assessments.iter().map(assessment_id).collect();
    let features = assessments
        .iter()
        .zip(outlines)
        .zip(&ids)
        .filter_map(|((assessment, outline), id)| {
            Some(Feature {
                id,
                outline: outline.as_ref()?,
                values: values(assessment),
            })
        })
        .collect();
    write_collection(
        out,
        &Header {
            file: "assessments.geojson",
            name: "assessments",
            run_id,
            notice,
        },
        &ASSESSMENT_COLUMNS,
        features,
    )
}

/// The columns of an assessment as one object of flat properties, for its event.
#[must_use]
pub fn assessment_properties(assessment: &Assessment) -> Value {
    let columns = ASSESSMENT_COLUMNS.map(str::to_owned);
    Value::Object(columns.into_iter().zip(values(assessment)).collect())
}

fn values(assessment: &Assessment) -> [Value; ASSESSMENT_COLUMNS.len()] {
    let text = |text: String| {
        if text.is_empty() {
            Value::Null
        } else {
            json!(text)
        }
    };
    let some = |value: Option<f64>, decimals| value.map_or(Value::Null, |v| number(v, decimals));
    let area_id = match &assessment.scope {
        Scope::Area(id) => json!(id),
        Scope::Country(_) => Value::Null,
    };
    let implied = |quantile: fn(&Quantiles) -> f64| {
        some(assessment.implied.as_ref().map(quantile), CARAT_DECIMALS)
    };
    let compared = assessment.comparison.as_ref();
    let reported = compared.map(|comparison| &comparison.reported);
    let ratio = compared.and_then(|comparison| comparison.ratio);
    let needed = |quantile: fn(&Quantiles) -> f64| {
        let needed = compared.and_then(|comparison| comparison.hectares_needed.as_ref());
        some(needed.map(quantile), AREA_DECIMALS)
    };
    let ground = assessment.ground.as_ref();
    let omitted = ground.and_then(|ground| ground.omitted_share);
    let index = assessment.relative.map(|relative| relative.index);
    let of = |estimate: Option<Estimate>, part: fn(Estimate) -> f64, decimals| {
        some(estimate.map(part), decimals)
    };
    let mapped = ground.map(|ground| ground.mapped_ha);
    let adjusted = ground.map(|ground| ground.adjusted_ha);
    let false_ha = ground.and_then(|ground| ground.false_ha);
    let value = |estimate: Estimate| estimate.value;
    let lo = |estimate: Estimate| estimate.lo;
    let hi = |estimate: Estimate| estimate.hi;
    let day = |day: Option<Day>| day.map_or(Value::Null, |day| json!(day.to_string()));
    let verdict_route = compared
        .and_then(|comparison| comparison.route)
        .or(assessment.routes.first().map(|estimate| estimate.route));
    [
        json!(assessment_id(assessment)),
        json!(match assessment.scope {
            Scope::Area(_) => "area",
            Scope::Country(_) => "country",
        }),
        area_id,
        json!(assessment.country),
        text(assessment.area_ids.join(SEPARATOR)),
        json!(period_name(assessment.period)),
        json!(assessment.period.0.to_string()),
        json!(assessment.period.1.to_string()),
        day(assessment.digging.map(|(from, _)| from)),
        day(assessment.digging.map(|(_, until)| until)),
        some(assessment.watched_share, SHARE_DECIMALS),
        some(assessment.fields_watched_share, SHARE_DECIMALS),
        json!(assessment.verdict.label()),
        verdict_route.map_or(Value::Null, |route| json!(route.label())),
        implied(|q| q.p5),
        implied(|q| q.p10),
        implied(|q| q.p50),
        implied(|q| q.p90),
        implied(|q| q.p95),
        text(
            assessment
                .routes
                .iter()
                .map(|estimate| {
                    let Quantiles { p5, p50, p95, .. } = estimate.carats;
                    let [p5, p50, p95] = [p5, p50, p95].map(|v| rounded(v, CARAT_DECIMALS));
                    let cited = estimate
                        .citation
                        .as_ref()
                        .map_or_else(String::new, |citation| format!(" ({citation})"));
                    format!(
                        "{}: {p50} ct ({p5} to {p95}){cited}",
                        estimate.route.label()
                    )
                })
                .collect::<Vec<_>>()
                .join(SEPARATOR),
        ),
        some(reported.map(|reported| reported.carats), 2),
        reported.map_or(Value::Null, |reported| json!(reported.measure)),
        reported.map_or(Value::Null, |reported| json!(reported.source)),
        reported.map_or(Value::Null, |reported| json!(reported.source_class)),
        day(reported.and_then(|reported| reported.release_date)),
        reported.map_or(Value::Null, |reported| json!(reported.n_vintages)),
        of(ratio, value, SHARE_DECIMALS),
        of(ratio, lo, SHARE_DECIMALS),
        of(ratio, hi, SHARE_DECIMALS),
        some(compared.and_then(|c| c.p_above), SHARE_DECIMALS),
        some(compared.and_then(|c| c.p_below), SHARE_DECIMALS),
        some(compared.and_then(|c| c.p_two_sided), SHARE_DECIMALS),
        some(compared.and_then(|c| c.q), SHARE_DECIMALS),
        compared.map_or(Value::Null, |comparison| json!(comparison.is_stable)),
        needed(|q| q.p5),
        needed(|q| q.p50),
        needed(|q| q.p95),
        of(mapped, value, AREA_DECIMALS),
        of(mapped, lo, AREA_DECIMALS),
        of(mapped, hi, AREA_DECIMALS),
        of(adjusted, value, AREA_DECIMALS),
        of(adjusted, lo, AREA_DECIMALS),
        of(adjusted, hi, AREA_DECIMALS),
        of(false_ha, value, AREA_DECIMALS),
        of(omitted, value, SHARE_DECIMALS),
        of(omitted, lo, SHARE_DECIMALS),
        of(omitted, hi, SHARE_DECIMALS),
        ground.map_or(Value::Null, |ground| json!(ground.is_sample_adjusted)),
        ground.map_or(Value::Null, |ground| json!(ground.n_sites)),
        some(ground.map(|ground| ground.observed_share), SHARE_DECIMALS),
        of(index, value, SHARE_DECIMALS),
        of(index, lo, SHARE_DECIMALS),
        of(index, hi, SHARE_DECIMALS),
        text(assessment.reasons.join(SEPARATOR)),
        text(
            assessment
                .flags
                .iter()
                .map(pitwatch_capacity::Flag::sentence)
                .collect::<Vec<_>>()
                .join(SEPARATOR),
        ),
        text(
            assessment
                .sensitivity
                .iter()
                .map(|one| format!("{} {:.2}", one.factor, one.share))
                .collect::<Vec<_>>()
                .join(SEPARATOR),
        ),
    ]
}

/// The columns of `activity.csv`, in their order.
pub const ACTIVITY_COLUMNS: [&str; 6] = [
    "area_id",
    "month",
    "state",
    "n_clear",
    "mapped_ha",
    "min_detectable_ha",
];

/// The word for a month's state in files.
fn month_word(state: MonthState) -> &'static str {
    match state {
        MonthState::Active => "active",
        MonthState::Inactive => "inactive",
        MonthState::NotObservable => "not observable",
    }
}

/// Writes `activity.csv`: one line an area and month, in the order given.
///
/// `inactive` is "no new digging above the detection limit in at least two clear looks", never "no mining".
///
/// # Errors
///
/// If `out` refuses.
pub fn write_activity_csv(out: &mut impl Write, months: &[MonthActivity]) -> Result<()> {
    let refused = |source| Error::Write {
        what: "activity.csv",
        source,
    };
    writeln!(out, "{}", ACTIVITY_COLUMNS.join(",")).map_err(refused)?;
    for month in months {
        // Where nothing could be seen, no area was: an empty field, not 0.
        let mapped_ha = match month.state {
            MonthState::NotObservable => String::new(),
            _ => rounded(month.mapped_ha, AREA_DECIMALS).to_string(),
        };
        writeln!(
            out,
            "{},{}-{:02},{},{},{mapped_ha},{}",
            quoted(&month.area_id),
            month.year,
            month.month,
            month_word(month.state),
            month.n_clear,
            month
                .min_detectable_ha
                .map_or_else(String::new, |ha| rounded(ha, AREA_DECIMALS).to_string())
        )
        .map_err(refused)?;
    }
    Ok(())
}

/// The columns of `questionnaire.csv`, in their order.
pub const QUESTIONNAIRE_COLUMNS: [&str; 9] = [
    "scope",
    "period",
    "reported_ct",
    "reported_ct_before",
    "reported_change",
    "visible_change",
    "visible_change_lo",
    "visible_change_hi",
    "arithmetic",
];

/// Writes `questionnaire.csv`: participants whose reported change and visible change disagree, in either direction.
///
/// # Errors
///
/// If `out` refuses.
pub fn write_questionnaire_csv(out: &mut impl Write, rows: &[ChangeDisagreement]) -> Result<()> {
    let refused = |source| Error::Write {
        what: "questionnaire.csv",
        source,
    };
    writeln!(out, "{}", QUESTIONNAIRE_COLUMNS.join(",")).map_err(refused)?;
    for row in rows {
        let (Scope::Area(scope) | Scope::Country(scope)) = &row.scope;
        let (now, before) = row.reported_carats;
        let share = |value| rounded(value, SHARE_DECIMALS);
        writeln!(
            out,
            "{},{},{},{},{},{},{},{},{}",
            quoted(scope),
            period_name(row.period),
            rounded(now, 2),
            rounded(before, 2),
            share(row.reported_change),
            share(row.visible_change.value),
            share(row.visible_change.lo),
            share(row.visible_change.hi),
            quoted(&row.sentence)
        )
        .map_err(refused)?;
    }
    Ok(())
}

/// True for routes that rest on imagery.
pub(crate) fn is_seen(route: Route) -> bool {
    matches!(route, Route::Pits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::tests::seguela_2022;

    #[test]
    fn calendar_periods_have_the_names_of_sdmx() {
        for (from, until, name) in [
            ("2022-01-01", "2022-12-31", "2022"),
            ("2022-01-01", "2022-06-30", "2022-S1"),
            ("2022-07-01", "2022-12-31", "2022-S2"),
            ("2022-04-01", "2022-06-30", "2022-Q2"),
            ("2022-10-01", "2022-12-31", "2022-Q4"),
            ("2024-02-01", "2024-02-29", "2024-02"),
            ("2022-11-01", "2023-10-31", "2022-11-01/2023-10-31"),
            ("2022-02-01", "2022-07-31", "2022-02-01/2022-07-31"),
        ] {
            let period = (from.parse().unwrap(), until.parse().unwrap());
            assert_eq!(period_name(period), name);
        }
    }

    #[test]
    fn a_table_has_a_field_a_column_and_leaves_what_is_not_known_empty() {
        let mut out = Vec::new();
        write_assessments_csv(&mut out, &[seguela_2022()]).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].split(',').count(), ASSESSMENT_COLUMNS.len());
        assert!(lines[1].starts_with("civ-seguela/2022,area,civ-seguela,CIV,civ-seguela,2022,"));
        assert!(
            lines[1].contains(",within,pits,1190.0,1540.0,3941.0,10020.0,12880.0,"),
            "{text}"
        );
        // No season before: the three columns of the index are empty.
        assert!(lines[1].contains(",0.93,,,,"), "{text}");
    }

    #[test]
    fn areas_are_drawn_and_countries_are_not() {
        let ring = vec![(-6.8, 8.0), (-6.5, 8.0), (-6.5, 8.3), (-6.8, 8.0)];
        let square = MultiPolygon::new(vec![geo::Polygon::new(ring.into(), Vec::new())]);
        let country = Assessment {
            scope: Scope::Country("CIV".into()),
            ..seguela_2022()
        };
        let mut out = Vec::new();
        write_assessments_geojson(
            &mut out,
            &[country, seguela_2022()],
            &[None, Some(square)],
            "20221229-0123456789ab",
            "notice",
        )
        .unwrap();
        let json: Value = serde_json::from_slice(&out).unwrap();
        let features = json["features"].as_array().unwrap();
        assert_eq!(features.len(), 1);
        let properties = features[0]["properties"].as_object().unwrap();
        assert_eq!(properties["verdict"], "within");
        assert!(
            properties
                .values()
                .all(|value| !value.is_object() && !value.is_array())
        );
        assert!(!properties.contains_key("activity_index"));
    }

    #[test]
    fn a_month_that_was_not_seen_has_no_area() {
        let month = |state, mapped_ha| MonthActivity {
            area_id: "civ-seguela".into(),
            year: 2022,
            month: 3,
            state,
            n_clear: 1,
            mapped_ha,
            min_detectable_ha: None,
        };
        let mut out = Vec::new();
        let months = [
            month(MonthState::NotObservable, 0.0),
            month(MonthState::Active, 0.25),
        ];
        write_activity_csv(&mut out, &months).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "area_id,month,state,n_clear,mapped_ha,min_detectable_ha\n\
             civ-seguela,2022-03,not observable,1,,\n\
             civ-seguela,2022-03,active,1,0.25,\n"
        );
    }
}
