//! Tables of reported figures in the documented layout: what `reported_file` names, and what `pitwatch stats` keeps.

use std::collections::BTreeMap;
use std::path::Path;

use pitwatch_capacity::{Figure, Measure, Participant, Publisher, ReportPeriod};
use pitwatch_grid::Day;

/// The columns, in their order.
pub(crate) const COLUMNS: [&str; 10] = [
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

/// An eleventh column that may stand: `yes`, or `no` for a figure that nobody looked up.
pub(crate) const VERIFIED: &str = "verified";

/// What a release date says that is not known.
pub(crate) const UNKNOWN: &str = "unknown";

/// Column of the carats, from 1.
const CARATS_COLUMN: usize = 4;

/// A figure and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) figure: Figure,
    /// `FILE:ROW:COLUMN`.
    pub(crate) place: String,
    /// Line of the file, from 1.
    pub(crate) line: u64,
}

/// By what one figure is told from another: participant, period, measure, source, release date.
pub(crate) type Key = (&'static str, ReportPeriod, Measure, String, Option<Day>);

impl Row {
    pub(crate) fn key(&self) -> Key {
        let figure = &self.figure;
        (
            figure.participant.code,
            figure.period,
            figure.measure,
            figure.source.clone(),
            figure.release_date,
        )
    }
}

/// What is taken where a row leaves it empty.
#[derive(Debug, Clone, Default)]
pub(crate) struct Defaults {
    pub(crate) period: Option<ReportPeriod>,
    pub(crate) measure: Option<Measure>,
    pub(crate) source: Option<String>,
    pub(crate) publisher: Option<Publisher>,
    pub(crate) release_date: Option<Day>,
}

/// `FILE:ROW:COLUMN`, both from 1.
pub(crate) fn place(path: &Path, line: u64, column: usize) -> String {
    format!("{}:{line}:{column}", path.display())
}

/// True if a file's first row has the names of the layout.
pub(crate) fn is_documented_layout(first: &csv::StringRecord) -> bool {
    first
        .iter()
        .take(3)
        .map(str::trim)
        .eq(["participant", "period", "measure"])
}

/// Reads a table; on failure all faults.
pub(crate) fn parse(
    path: &Path,
    text: &str,
    delimiter: u8,
    defaults: &Defaults,
) -> Result<Vec<Row>, Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .from_reader(text.as_bytes());
    let headers = match reader.headers() {
        Ok(headers) => headers.clone(),
        Err(error) => return Err(vec![format!("{}: {error}", place(path, 1, 1))]),
    };
    let is_verified = headers.get(COLUMNS.len()).map(str::trim) == Some(VERIFIED);
    let n_columns = COLUMNS.len() + usize::from(is_verified);
    if headers.len() != n_columns
        || headers
            .iter()
            .map(str::trim)
            .take(COLUMNS.len())
            .ne(COLUMNS)
    {
        return Err(vec![format!(
            "{}: the columns must be {}, and {VERIFIED} may follow",
            place(path, 1, 1),
            COLUMNS.join(",")
        )]);
    }
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    let mut lines: BTreeMap<Key, u64> = BTreeMap::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(1, csv::Position::line);
                faults.push(format!("{}: {error}", place(path, line, 1)));
                continue;
            }
        };
        let line = record.position().map_or(1, csv::Position::line);
        if record.len() != n_columns {
            faults.push(format!(
                "{}: the row has {} fields, the headings are {n_columns}; put a text with commas into quotes",
                place(path, line, 1),
                record.len()
            ));
            continue;
        }
        match figure_of(&record, defaults) {
            Ok(figure) => {
                let row = Row {
                    figure,
                    place: place(path, line, CARATS_COLUMN),
                    line,
                };
                if let Some(before) = lines.insert(row.key(), line) {
                    faults.push(format!(
                        "{}: participant, period, measure, source and release date are those of row {before}; take one of the rows out, or write the release date that tells them apart",
                        place(path, line, 1)
                    ));
                }
                rows.push(row);
            }
            Err(wrong) => faults.extend(
                wrong
                    .into_iter()
                    .map(|(column, message)| format!("{}: {message}", place(path, line, column))),
            ),
        }
    }
    if faults.is_empty() {
        Ok(rows)
    } else {
        Err(faults)
    }
}

/// The figure of a row, or each column that is wrong and what to write.
fn figure_of(
    record: &csv::StringRecord,
    defaults: &Defaults,
) -> Result<Figure, Vec<(usize, String)>> {
    let mut faults = Vec::new();
    let index = |name: &str| {
        COLUMNS
            .iter()
            .position(|column| *column == name)
            .unwrap_or(COLUMNS.len())
    };
    let field = |name: &str| record.get(index(name)).unwrap_or("").trim();
    let mut wrong = |name: &str, what: &str| {
        faults.push((
            index(name) + 1,
            format!("{name} is {:?}; {what}", field(name)),
        ));
    };
    let participant = Participant::find(field("participant"));
    if participant.is_none() {
        wrong("participant", &unknown_participant(field("participant")));
    }
    let period = match (field("period"), defaults.period) {
        ("", Some(period)) => Some(period),
        (text, _) => ReportPeriod::parse(text),
    };
    if period.is_none() {
        wrong("period", "write 2022, 2022-S1 or 2022-Q3");
    }
    let measure = match (field("measure"), defaults.measure) {
        ("", Some(measure)) => Some(measure),
        (text, _) => Measure::parse(text),
    };
    if measure.is_none() {
        wrong("measure", "write production, export or import");
    }
    let publisher = match (field("source_class"), defaults.publisher) {
        ("", Some(publisher)) => Some(publisher),
        (text, _) => Publisher::parse(text),
    };
    if publisher.is_none() {
        wrong("source_class", "write kp, national or press");
    }
    let mut number = |name: &str| {
        let value = field(name)
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite() && *value >= 0.0);
        if value.is_none() {
            wrong(
                name,
                "write a number, 0 or more, with a decimal point and nothing between the thousands; a figure that is missing is no row",
            );
        }
        value
    };
    let carats = number("carats");
    let carats_rounding = number("carats_rounding");
    let value_usd = match field("value_usd") {
        "" => None,
        _ => number("value_usd"),
    };
    let source = match (field("source"), &defaults.source) {
        ("", Some(source)) => source.as_str(),
        (text, _) => text,
    };
    if source.is_empty() {
        wrong("source", "say where the figure stands");
    }
    let release_date = match field("release_date") {
        "" => defaults.release_date,
        UNKNOWN => None,
        text => {
            let day = text.parse::<Day>().ok();
            if day.is_none() {
                wrong(
                    "release_date",
                    "write a day as 2024-07-15, or nothing if it is not known",
                );
            }
            day
        }
    };
    match record.get(COLUMNS.len()).map(str::trim) {
        None | Some("yes") => {}
        Some("no") => faults.push((
            COLUMNS.len() + 1,
            "verified is \"no\"; look the figure up and write yes, or take the row out: nobody can be held to a figure from memory".into(),
        )),
        Some(text) => faults.push((COLUMNS.len() + 1, format!("verified is {text:?}; write yes or no"))),
    }
    match (
        participant,
        period,
        measure,
        publisher,
        carats,
        carats_rounding,
    ) {
        (
            Some(participant),
            Some(period),
            Some(measure),
            Some(publisher),
            Some(carats),
            Some(carats_rounding),
        ) if faults.is_empty() => Ok(Figure {
            participant,
            period,
            measure,
            carats,
            carats_rounding,
            value_usd,
            source: source.to_owned(),
            publisher,
            release_date,
            note: field("note").to_owned(),
        }),
        _ => {
            faults.sort();
            Err(faults)
        }
    }
}

/// What to write instead of a name that nobody has.
pub(crate) fn unknown_participant(text: &str) -> String {
    if text.trim().eq_ignore_ascii_case("congo") {
        return "there are two: write COD (Democratic Republic of the Congo) or COG (Republic of the Congo)".into();
    }
    match Participant::nearest(text) {
        Some((participant, name)) => format!("no participant has this name; the nearest is {name:?} ({})", participant.code),
        None => "no participant has this name; write the three letters of ISO 3166-1, such as CIV, or the name in English, French, Portuguese or Spanish".into(),
    }
}

/// Figures as rows of the layout, without headings.
pub(crate) fn rows_of<'a>(
    figures: impl Iterator<Item = &'a Figure>,
    is_verified: bool,
) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for figure in figures {
        let mut fields = vec![
            figure.participant.code.to_owned(),
            figure.period.to_string(),
            figure.measure.to_string(),
            figure.carats.to_string(),
            figure
                .value_usd
                .map_or_else(String::new, |value| value.to_string()),
            figure.source.clone(),
            figure.publisher.to_string(),
            figure
                .release_date
                .map_or_else(String::new, |day| day.to_string()),
            figure.carats_rounding.to_string(),
            figure.note.clone(),
        ];
        if is_verified {
            fields.push("yes".into());
        }
        writer.write_record(&fields)?;
    }
    let bytes = writer
        .into_inner()
        .map_err(|error| csv::Error::from(std::io::Error::from(error.error().kind())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(rows: &str) -> Result<Vec<Row>, Vec<String>> {
        let text = format!("{}\n{rows}", COLUMNS.join(","));
        parse(Path::new("reported.csv"), &text, b',', &Defaults::default())
    }

    #[test]
    fn each_fault_is_named_with_its_row_and_column() {
        for (row, column, part) in [
            ("Ivory,2022,production,1,,x,kp,,0.5,", 1, "participant"),
            ("Congo,2022,production,1,,x,kp,,0.5,", 1, "there are two"),
            ("CIV,2022-Q5,production,1,,x,kp,,0.5,", 2, "period"),
            ("CIV,2022,sold,1,,x,kp,,0.5,", 3, "measure"),
            ("CIV,2022,production,-1,,x,kp,,0.5,", 4, "carats"),
            ("CIV,2022,production,,,x,kp,,0.5,", 4, "missing is no row"),
            ("CIV,2022,production,\"3,969\",,x,kp,,0.5,", 4, "carats"),
            ("CIV,2022,production,1,-5,x,kp,,0.5,", 5, "value_usd"),
            ("CIV,2022,production,1,,,kp,,0.5,", 6, "source"),
            ("CIV,2022,production,1,,x,rumor,,0.5,", 7, "source_class"),
            ("CIV,2022,production,1,,x,kp,July,0.5,", 8, "release_date"),
            ("CIV,2022,production,1,,x,kp,,,", 9, "carats_rounding"),
            ("CIV,2022,production,1,,x", 1, "fields"),
        ] {
            let faults = read(row).unwrap_err();
            assert_eq!(faults.len(), 1, "{faults:?}");
            let place = format!("reported.csv:2:{column}: ");
            assert!(
                faults[0].starts_with(&place) && faults[0].contains(part),
                "{faults:?}"
            );
        }
        assert!(read("").unwrap().is_empty());
        let twice = "CIV,2022,production,1,,x,kp,,0.5,\nCIV,2022,production,2,,x,kp,,0.5,\n";
        let faults = read(twice).unwrap_err();
        assert!(
            faults[0].contains("reported.csv:3:1") && faults[0].contains("row 2"),
            "{faults:?}"
        );
    }

    #[test]
    fn the_starter_table_is_read_whole() {
        let text = include_str!("../../../pipelines/reported.csv");
        let rows = parse(Path::new("reported.csv"), text, b',', &Defaults::default()).unwrap();
        assert_eq!(rows.len(), text.lines().count() - 1);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            carats in 0.0..1e9_f64,
            value in proptest::option::of(0.0..1e12_f64),
            day in proptest::option::of(0..40_000_i32),
            source in "[ -~é]{0,20}x",
            note in "[a-z,\"\n]{0,10}x",
        ) {
            let figure = Figure {
                participant: Participant::of_code("CIV").unwrap(),
                period: ReportPeriod::parse("2022-Q3").unwrap(),
                measure: Measure::Export,
                carats,
                carats_rounding: 0.5,
                value_usd: value,
                source: source.trim().to_owned(),
                publisher: Publisher::National,
                release_date: day.map(Day),
                note: note.trim().to_owned(),
            };
            let rows = rows_of([&figure].into_iter(), false).unwrap();
            prop_assert_eq!(&read(&rows).unwrap()[0].figure, &figure);
        }
    }
}
