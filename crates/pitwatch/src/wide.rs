//! The public tables of reported figures: a participant a line, volume, value and value per carat of production, imports and
//! exports side by side, with titles, units, footnotes and totals around them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pitwatch_capacity::{Figure, Measure, Participant, Publisher, ReportPeriod, without_accents};
use pitwatch_grid::Day;

use crate::figures::{Row, place, unknown_participant};

/// What the table itself does not say.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) period: ReportPeriod,
    pub(crate) measure: Option<Measure>,
    pub(crate) source: String,
    pub(crate) publisher: Publisher,
    pub(crate) release_date: Option<Day>,
    pub(crate) decimal: Option<Decimal>,
}

/// What stands before the decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decimal {
    /// `1,234.56`
    Point,
    /// `1.234,56`
    Comma,
}

/// What was read, and what was passed over.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    pub(crate) notes: Vec<String>,
}

/// The text of a file: UTF-8 with or without a mark, else Windows-1252.
pub(crate) fn decode(bytes: &[u8]) -> Result<String, String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) || bytes.contains(&0) {
        return Err("the text is UTF-16 or no text; save it as CSV in UTF-8".into());
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => bytes.iter().map(|&byte| windows_1252(byte)).collect(),
    }
}

/// Source: <https://encoding.spec.whatwg.org/#windows-1252>, without the five codes that stand for no sign.
fn windows_1252(byte: u8) -> Result<char, String> {
    const HIGH: [char; 32] = [
        '€', '\0', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\0', 'Ž', '\0', '\0',
        '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\0', 'ž', 'Ÿ',
    ];
    let sign = match byte {
        0x80..=0x9f => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    };
    if sign == '\0' {
        Err("the text is neither UTF-8 nor Windows-1252; save it as CSV in UTF-8".into())
    } else {
        Ok(sign)
    }
}

/// The delimiter: what the documented layout's headings are apart by, else that of comma, semicolon and tab which most lines have
/// equally often. What stands in quotes does not count.
pub(crate) fn delimiter_of(text: &str) -> u8 {
    const DELIMITERS: [u8; 3] = [b'\t', b';', b','];
    if let Some(rest) = text.trim_start().strip_prefix("participant") {
        let next = rest.as_bytes().first().copied();
        if let Some(delimiter) = next.filter(|byte| DELIMITERS.contains(byte)) {
            return delimiter;
        }
    }
    let mut is_quoted = false;
    let mut n_lines: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for line in text.lines() {
        let mut counts = [0; DELIMITERS.len()];
        for byte in line.bytes() {
            is_quoted ^= byte == b'"';
            for (count, delimiter) in counts.iter_mut().zip(DELIMITERS) {
                *count += usize::from(!is_quoted && byte == delimiter);
            }
        }
        for (index, count) in counts.into_iter().enumerate() {
            if count > 0 {
                *n_lines.entry((index, count)).or_default() += 1;
            }
        }
    }
    let most = n_lines.iter().rev().max_by_key(|(_, n)| **n);
    most.and_then(|((index, _), _)| DELIMITERS.get(*index).copied())
        .unwrap_or(b',')
}

/// What a column counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Quantity {
    Volume,
    Value,
    PerCarat,
}

impl Quantity {
    fn name(self) -> &'static str {
        match self {
            Self::Volume => "volume",
            Self::Value => "value",
            Self::PerCarat => "value per carat",
        }
    }
}

/// Lower case, no accents, every kind of space a plain one.
fn plain(text: &str) -> String {
    let spaced: String = text
        .chars()
        .map(|letter| if letter.is_whitespace() { ' ' } else { letter })
        .collect();
    without_accents(spaced.trim())
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
}

/// The one measure that a plain text names.
fn measure_in(text: &str) -> Option<Measure> {
    let mut named = [
        ("produc", Measure::Production),
        ("export", Measure::Export),
        ("import", Measure::Import),
    ]
    .into_iter()
    .filter(|(word, _)| text.contains(word));
    let (_, measure) = named.next()?;
    named.next().is_none().then_some(measure)
}

fn names_carats(text: &str) -> bool {
    ["carat", "quilate", "kilate"]
        .iter()
        .any(|word| text.contains(word))
        || words(text).any(|word| ["ct", "cts"].contains(&word))
}

fn names_dollars(text: &str) -> bool {
    text.contains('$')
        || words(text)
            .any(|word| word == "usd" || word.starts_with("dollar") || word.starts_with("dolar"))
}

fn names_value(text: &str) -> bool {
    ["value", "valeur", "valor"]
        .iter()
        .any(|word| text.contains(word))
        || names_dollars(text)
}

fn quantity_in(text: &str) -> Option<Quantity> {
    let per_carat = [
        "/ct",
        "/ ct",
        "/carat",
        "/quilate",
        "/kilate",
        "per ct",
        "per carat",
        "par carat",
        "por quilate",
        "por kilate",
        "por carat",
    ];
    if per_carat.iter().any(|word| text.contains(word)) {
        Some(Quantity::PerCarat)
    } else if names_value(text) {
        Some(Quantity::Value)
    } else if text.contains("volum") || names_carats(text) {
        Some(Quantity::Volume)
    } else {
        None
    }
}

fn is_certificates(text: &str) -> bool {
    text.contains("certific") || words(text).any(|word| word == "kpc" || word == "kpcs")
}

fn is_participant_heading(text: &str) -> bool {
    words(text).any(|word| {
        [
            "participant",
            "participants",
            "participante",
            "participantes",
            "country",
            "countries",
            "pays",
            "pais",
            "paises",
        ]
        .contains(&word)
    })
}

/// How many single ones a unit is: thousand or million.
fn factor_in(text: &str) -> Option<f64> {
    let is =
        |stems: &[&str]| words(text).any(|word| stems.iter().any(|stem| word.starts_with(stem)));
    if is(&["million", "milhoes", "milhao", "millon"]) {
        Some(1e6)
    } else if is(&["thousand", "millier", "milhar"])
        || words(text).any(|word| ["mil", "miles", "000"].contains(&word))
    {
        Some(1e3)
    } else {
        None
    }
}

fn is_total(name: &str) -> bool {
    let name: String = plain(name)
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let name = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    [
        "total",
        "totals",
        "totaux",
        "totales",
        "grandtotal",
        "totalgeneral",
        "world",
        "worldtotal",
        "totalworld",
        "global",
        "globaltotal",
        "totalglobal",
        "monde",
        "totalmondial",
        "mundo",
        "totalmundial",
        "totalmonde",
    ]
    .contains(&name)
}

/// A text without the marks that lead to a footnote: `*`, `†`, `¹`, `(1)`.
fn without_marks(text: &str) -> &str {
    let mut rest = text.trim();
    loop {
        let mut next = rest
            .trim_end_matches(|sign: char| "*†‡§#¹²³⁴⁵⁶⁷⁸⁹⁰".contains(sign))
            .trim_end();
        for (open, close) in [('(', ')'), ('[', ']')] {
            let mark = next
                .strip_suffix(close)
                .and_then(|inner| inner.rsplit_once(open))
                .filter(|(before, mark)| {
                    !before.is_empty()
                        && mark.len() <= 2
                        && mark.chars().all(|sign| sign.is_ascii_alphanumeric())
                });
            if let Some((before, _)) = mark {
                next = before.trim_end();
            }
        }
        if next == rest {
            return rest;
        }
        rest = next;
    }
}

/// The name of a participant without its marks; no name ends in a digit.
fn name_of(cell: &str) -> &str {
    without_marks(cell)
        .trim_end_matches(|sign: char| sign.is_ascii_digit())
        .trim_end()
}

/// A cell of numbers as it stands.
fn number_text(cell: &str) -> &str {
    let text = without_marks(cell);
    let text = ["US$", "USD", "$"]
        .iter()
        .find_map(|sign| text.strip_prefix(sign))
        .unwrap_or(text);
    text.trim()
}

/// Missing is not zero.
fn is_missing(cell: &str) -> bool {
    let text = plain(number_text(cell));
    matches!(
        text.as_str(),
        "" | "-"
            | "–"
            | "—"
            | "−"
            | "--"
            | "n/a"
            | "na"
            | "n.a."
            | "n.a"
            | "nd"
            | "n.d."
            | "n/d"
            | ".."
            | "..."
            | "…"
    )
}

fn is_group_sign(sign: char) -> bool {
    sign.is_whitespace() || sign == '\'' || sign == '’'
}

fn looks_numeric(cell: &str) -> bool {
    let text = number_text(cell);
    text.chars().any(|sign| sign.is_ascii_digit())
        && text
            .chars()
            .all(|sign| sign.is_ascii_digit() || is_group_sign(sign) || ",.-−()".contains(sign))
}

/// What a number tells of its decimals: where neither can be told from the other, `Err`.
fn decimal_in(text: &str) -> Result<Option<Decimal>, ()> {
    let count = |sign: char| text.matches(sign).count();
    let last = |sign: char| text.rfind(sign);
    match (count(','), count('.')) {
        (0, 0) => Ok(None),
        (1.., 1..) => Ok(Some(if last('.') > last(',') {
            Decimal::Point
        } else {
            Decimal::Comma
        })),
        (2.., 0) => Ok(Some(Decimal::Point)),
        (0, 2..) => Ok(Some(Decimal::Comma)),
        (commas, _) => {
            let (sign, as_decimal) = if commas == 1 {
                (',', Decimal::Comma)
            } else {
                ('.', Decimal::Point)
            };
            let (before, after) = text.split_once(sign).unwrap_or((text, ""));
            let digits = before.chars().filter(char::is_ascii_digit).count();
            let is_grouped = before.chars().any(is_group_sign);
            if after.len() != 3 || digits > 3 || digits == 0 || before == "0" || is_grouped {
                Ok(Some(as_decimal))
            } else {
                Err(())
            }
        }
    }
}

/// A number and how many decimals it has.
fn parse_number(cell: &str, decimal: Decimal) -> Result<(f64, usize), String> {
    let text = number_text(cell);
    let wrong = |what: &str| Err(format!("{:?} {what}", cell.trim()));
    if text.starts_with(['-', '−']) || (text.starts_with('(') && text.ends_with(')')) {
        return wrong(
            "is below zero or a footnote's mark alone; write 0 or more, or leave the cell empty",
        );
    }
    let (point, group) = match decimal {
        Decimal::Point => ('.', ','),
        Decimal::Comma => (',', '.'),
    };
    let (whole, decimals) = text.split_once(point).unwrap_or((text, ""));
    let is_group = |sign: char| sign == group || is_group_sign(sign);
    let signs: BTreeSet<char> = whole.chars().filter(|&sign| is_group(sign)).collect();
    let pieces: Vec<&str> = whole.split(is_group).collect();
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_grouped_well = pieces.len() == 1
        || (signs.len() == 1
            && pieces.iter().enumerate().all(|(index, piece)| {
                piece.len() == 3 || (index == 0 && (1..=3).contains(&piece.len()))
            }));
    if !is_grouped_well
        || !pieces.iter().all(|piece| all_digits(piece))
        || !all_digits(decimals)
        || text.is_empty()
    {
        return wrong(&format!(
            "is no number in this file's writing, in which decimals follow a {}; write it as {}, or leave the cell empty",
            if decimal == Decimal::Point {
                "point"
            } else {
                "comma"
            },
            if decimal == Decimal::Point {
                "1,234.56"
            } else {
                "1.234,56"
            },
        ));
    }
    format!("{}.{decimals}0", pieces.concat())
        .parse::<f64>()
        .map(|value| (value, decimals.len()))
        .or_else(|_| wrong("is no number"))
}

/// A number of thousands or millions in single ones; whole where its decimals say so, without the noise of binary fractions.
fn in_single_ones(value: f64, n_decimals: usize, factor: f64) -> f64 {
    let single = value * factor;
    let is_whole = i32::try_from(n_decimals).is_ok_and(|n| 10f64.powi(n) <= factor);
    if is_whole { single.round() } else { single }
}

/// A column that is read.
#[derive(Debug)]
struct Column {
    index: usize,
    measure: Measure,
    quantity: Quantity,
    factor: f64,
    /// Most decimals that one of its cells has.
    n_decimals: usize,
}

impl Column {
    /// Half of the last digit printed, in single carats or dollars.
    fn rounding(&self) -> f64 {
        0.5 * self.factor / 10f64.powi(i32::try_from(self.n_decimals).unwrap_or(0))
    }

    fn name(&self) -> String {
        format!("{} of {}", self.quantity.name(), self.measure)
    }
}

/// Cells of one line by measure and quantity, with where they stand.
type Cells = BTreeMap<(Measure, Quantity), (f64, usize)>;

struct Line<'a> {
    number: u64,
    cells: &'a csv::StringRecord,
}

impl Line<'_> {
    fn cell(&self, index: usize) -> &str {
        self.cells.get(index).unwrap_or("")
    }

    fn n_filled(&self) -> usize {
        self.cells
            .iter()
            .filter(|cell| !cell.trim().is_empty())
            .count()
    }
}

/// Reads a public table; on failure all faults.
pub(crate) fn parse(path: &Path, text: &str, told: &Told) -> Result<Table, Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter_of(text))
        .flexible(true)
        .has_headers(false)
        .from_reader(text.as_bytes());
    let records: Vec<csv::StringRecord> = reader
        .records()
        .collect::<Result<_, _>>()
        .map_err(|error| vec![format!("{}: {error}", path.display())])?;
    let lines: Vec<Line<'_>> = records
        .iter()
        .map(|cells| Line {
            number: cells.position().map_or(1, csv::Position::line),
            cells,
        })
        .collect();
    let table = Reading { path, told, lines };
    table.read()
}

struct Reading<'a> {
    path: &'a Path,
    told: &'a Told,
    lines: Vec<Line<'a>>,
}

impl Reading<'_> {
    fn at(&self, line: &Line<'_>, index: usize) -> String {
        place(self.path, line.number, index + 1)
    }

    fn read(&self) -> Result<Table, Vec<String>> {
        let headings = self.headings().ok_or_else(|| {
            vec![format!(
                "{}: no line has headings such as Volume (cts), Value (US$) or US$/ct; docs/statistics.md shows the layouts that are read",
                self.path.display()
            )]
        })?;
        let (titles, rest) = self.lines.split_at(headings.start);
        let (headings, body) = rest.split_at(headings.len());
        let mut faults = self.period_faults(&self.lines[..titles.len() + headings.len()]);
        let mut notes = Vec::new();
        let names = self.name_column(headings, body);
        let columns = self.columns(titles, headings, body, names, &mut faults, &mut notes);
        if !faults.is_empty() {
            return Err(faults);
        }
        self.body(body, names, columns, notes)
    }

    /// The lines with the headings: from the first that names a measure or a quantity beside its first cell to the last in a row.
    fn headings(&self) -> Option<std::ops::Range<usize>> {
        let is_heading = |line: &Line<'_>| {
            let names = line.cells.iter().enumerate().any(|(index, cell)| {
                let text = plain(cell);
                (measure_in(&text).is_some() || quantity_in(&text).is_some())
                    && (index > 0 || line.n_filled() > 1)
            });
            names && !line.cells.iter().any(looks_numeric)
        };
        let start = self.lines.iter().position(is_heading)?;
        let n = self.lines[start..]
            .iter()
            .take_while(|line| is_heading(line))
            .count();
        let range = start..start + n;
        let has_quantity = self.lines[range.clone()].iter().any(|line| {
            line.cells
                .iter()
                .any(|cell| quantity_in(&plain(cell)).is_some())
        });
        has_quantity.then_some(range)
    }

    /// What titles and headings say of the period must not contradict what the user says.
    fn period_faults(&self, titles: &[Line<'_>]) -> Vec<String> {
        let period = self.told.period.to_string();
        let (is_half, is_quarter) = (period.contains('S'), period.contains('Q'));
        let mut years = BTreeSet::new();
        let mut faults = Vec::new();
        for line in titles {
            for (index, cell) in line.cells.iter().enumerate() {
                let text = plain(cell);
                years.extend(
                    words(&text)
                        .filter(|word| word.len() == 4)
                        .filter_map(|word| word.parse::<i32>().ok())
                        .filter(|year| (1990..2100).contains(year)),
                );
                let has = |parts: &[&str], whole: &[&str]| {
                    parts.iter().any(|part| text.contains(part))
                        || words(&text).any(|word| whole.contains(&word))
                };
                let says_quarter = has(
                    &["quarter", "trimest"],
                    &["q1", "q2", "q3", "q4", "t1", "t2", "t3", "t4"],
                );
                let says_half = has(
                    &["semest", "semi-annual", "half"],
                    &["s1", "s2", "h1", "h2"],
                );
                let says_year = !says_half && has(&["annual", "annuel", "anual"], &[]);
                let is_contradiction = (says_quarter && !is_quarter)
                    || (says_half && !is_half && !says_quarter)
                    || (says_year && !says_quarter && (is_half || is_quarter));
                if is_contradiction {
                    faults.push(format!(
                        "{}: {:?} is not of the period {period}; give --period 2022, 2022-S1 or 2022-Q3 as the table is",
                        self.at(line, index),
                        cell.trim()
                    ));
                }
            }
        }
        if !years.is_empty() && !years.contains(&self.told.period.year()) {
            let years: Vec<String> = years.iter().map(ToString::to_string).collect();
            faults.push(format!(
                "{}: titles and headings speak of {}, --period of {period}; give the period that the table is for",
                place(self.path, titles.first().map_or(1, |line| line.number), 1),
                years.join(", ")
            ));
        }
        faults
    }

    /// The column that is headed so, else the one with most names.
    fn name_column(&self, headings: &[Line<'_>], body: &[Line<'_>]) -> usize {
        let headed = headings.iter().find_map(|line| {
            line.cells
                .iter()
                .position(|cell| is_participant_heading(&plain(cell)))
        });
        let n_names = |index: usize| {
            body.iter()
                .filter(|line| Participant::find(name_of(line.cell(index))).is_some())
                .count()
        };
        headed.unwrap_or_else(|| {
            let width = self
                .lines
                .iter()
                .map(|line| line.cells.len())
                .max()
                .unwrap_or(0);
            (0..width)
                .rev()
                .max_by_key(|&index| n_names(index))
                .unwrap_or(0)
        })
    }

    fn columns(
        &self,
        titles: &[Line<'_>],
        headings: &[Line<'_>],
        body: &[Line<'_>],
        names: usize,
        faults: &mut Vec<String>,
        notes: &mut Vec<String>,
    ) -> Vec<Column> {
        let (carat_factor, value_factor) = self.units(titles, body, faults);
        let has_dollars = titles
            .iter()
            .any(|line| line.cells.iter().any(|cell| names_dollars(&plain(cell))));
        let title_measure = {
            let named: BTreeSet<Measure> = titles
                .iter()
                .flat_map(|line| line.cells.iter())
                .filter_map(|cell| measure_in(&plain(cell)))
                .collect();
            if named.len() == 1 {
                named.first().copied()
            } else {
                None
            }
        };
        let width = self
            .lines
            .iter()
            .map(|line| line.cells.len())
            .max()
            .unwrap_or(0);
        let mut columns: Vec<Column> = Vec::new();
        for index in (0..width).filter(|&index| index != names) {
            if !body.iter().any(|line| looks_numeric(line.cell(index))) {
                continue;
            }
            // A heading stands for the empty cells to its right, too.
            let texts: Vec<String> = headings
                .iter()
                .map(|line| {
                    let filled = (names + 1..=index)
                        .rev()
                        .map(|index| line.cell(index))
                        .find(|cell| !cell.trim().is_empty());
                    plain(if index < names {
                        line.cell(index)
                    } else {
                        filled.unwrap_or("")
                    })
                })
                .collect();
            let text = texts.join(" ");
            let heading = headings
                .first()
                .map_or_else(String::new, |line| self.at(line, index));
            if texts.iter().any(|text| is_certificates(text)) {
                notes.push(format!("{heading}: certificates are not read"));
                continue;
            }
            let Some(quantity) = texts.iter().rev().find_map(|text| quantity_in(text)) else {
                notes.push(format!("{heading}: the column {text:?} is not read"));
                continue;
            };
            let measure = texts
                .iter()
                .rev()
                .find_map(|text| measure_in(text))
                .or(self.told.measure)
                .or(title_measure);
            let Some(measure) = measure else {
                faults.push(format!("{heading}: neither headings nor title say whether this is production, export or import; give --measure"));
                continue;
            };
            if quantity == Quantity::Value && !has_dollars && !names_dollars(&text) {
                faults.push(format!("{heading}: the value has no currency; write US$ into the heading if it is in US dollars, or take the column out"));
            }
            if let Some(before) = columns
                .iter()
                .find(|column| (column.measure, column.quantity) == (measure, quantity))
            {
                faults.push(format!(
                    "{heading}: {} stands in column {} already; take one of them out",
                    before.name(),
                    before.index + 1
                ));
                continue;
            }
            // A line above may tell the unit of another quantity.
            let own_factor = texts
                .iter()
                .rev()
                .filter(|text| quantity_in(text).is_none_or(|other| other == quantity))
                .find_map(|text| factor_in(text));
            let factor = match quantity {
                Quantity::Volume => own_factor.or(carat_factor),
                Quantity::Value => own_factor.or(value_factor),
                Quantity::PerCarat => None,
            };
            columns.push(Column {
                index,
                measure,
                quantity,
                factor: factor.unwrap_or(1.0),
                n_decimals: 0,
            });
        }
        if faults.is_empty()
            && !columns
                .iter()
                .any(|column| column.quantity == Quantity::Volume)
        {
            faults.push(format!("{}: no column of volumes in carats is found; docs/statistics.md shows the layouts that are read", self.path.display()));
        }
        columns
    }

    /// Factors of carats and of values that the titles tell.
    fn units(
        &self,
        titles: &[Line<'_>],
        body: &[Line<'_>],
        faults: &mut Vec<String>,
    ) -> (Option<f64>, Option<f64>) {
        let (mut carats, mut value) = (None, None);
        for line in titles {
            for (index, cell) in line.cells.iter().enumerate() {
                let text = [" and ", " et ", " e ", " y "]
                    .iter()
                    .fold(plain(cell), |text, word| text.replace(word, ";"));
                for segment in text.split([',', ';', '(', ')', ':']) {
                    // "120 million carats" is an amount, "million carats" a unit.
                    let named: Vec<&str> = words(segment).collect();
                    let is_amount = named.windows(2).any(|pair| {
                        pair[0].bytes().all(|byte| byte.is_ascii_digit())
                            && factor_in(pair[1]).is_some()
                    });
                    let Some(factor) = factor_in(segment).filter(|_| !is_amount) else {
                        continue;
                    };
                    match (names_carats(segment) || segment.contains("volum"), names_value(segment)) {
                        (true, false) => carats = Some(factor),
                        (false, true) => value = Some(factor),
                        _ => faults.push(format!(
                            "{}: {:?} does not say of what; write the unit as \"volume in thousand carats; value in million US$\", or into the headings",
                            self.at(line, index),
                            cell.trim()
                        )),
                    }
                }
            }
        }
        // A unit below the table would be missed, and every figure be wrong.
        for line in body
            .iter()
            .filter(|line| !line.cells.iter().skip(1).any(looks_numeric))
        {
            for (index, cell) in line.cells.iter().enumerate() {
                let text = plain(cell);
                let named: Vec<&str> = words(&text).collect();
                let is_unit = named.windows(2).any(|pair| {
                    ["in", "en", "em"].contains(&pair[0]) && factor_in(pair[1]).is_some()
                });
                if is_unit {
                    faults.push(format!(
                        "{}: {:?} seems to tell a unit; write it above the table or into the headings, or take the line out",
                        self.at(line, index),
                        cell.trim()
                    ));
                }
            }
        }
        (carats, value)
    }

    /// How decimals are written, from all numbers of the table.
    fn decimal(&self, body: &[Line<'_>], columns: &[Column]) -> Result<Decimal, String> {
        if let Some(decimal) = self.told.decimal {
            return Ok(decimal);
        }
        let mut seen: BTreeMap<&'static str, String> = BTreeMap::new();
        for line in body {
            for column in columns {
                let cell = line.cell(column.index);
                if is_missing(cell) || !looks_numeric(cell) {
                    continue;
                }
                let kind = match decimal_in(number_text(cell)) {
                    Ok(None) => continue,
                    Ok(Some(Decimal::Point)) => "point",
                    Ok(Some(Decimal::Comma)) => "comma",
                    Err(()) => "ambiguous",
                };
                let _ = seen.entry(kind).or_insert_with(|| {
                    format!("{}: {:?}", self.at(line, column.index), cell.trim())
                });
            }
        }
        match (seen.get("point"), seen.get("comma"), seen.get("ambiguous")) {
            (Some(point), Some(comma), _) => Err(format!(
                "{point} has a decimal point, {comma} a decimal comma; write all numbers the same way, or give --decimal point or --decimal comma"
            )),
            (None, Some(_), _) => Ok(Decimal::Comma),
            (None, None, Some(ambiguous)) => Err(format!(
                "{ambiguous} can have thousands or decimals, and no other number tells which; give --decimal point (1,234.56) or --decimal comma (1.234,56)"
            )),
            _ => Ok(Decimal::Point),
        }
    }

    fn body(
        &self,
        body: &[Line<'_>],
        names: usize,
        mut columns: Vec<Column>,
        mut notes: Vec<String>,
    ) -> Result<Table, Vec<String>> {
        let decimal = self.decimal(body, &columns).map_err(|fault| vec![fault])?;
        let mut faults = Vec::new();
        let mut of_participants: Vec<(&Line<'_>, &'static Participant, Cells)> = Vec::new();
        let mut totals: Vec<(&Line<'_>, Cells)> = Vec::new();
        let mut n_missing: BTreeMap<(Measure, Quantity), usize> = BTreeMap::new();
        for line in body.iter().filter(|line| line.n_filled() > 0) {
            let name = name_of(line.cell(names));
            let participant = Participant::find(name);
            let has_numbers = columns
                .iter()
                .any(|column| looks_numeric(line.cell(column.index)));
            let has_cells = columns
                .iter()
                .any(|column| !line.cell(column.index).trim().is_empty());
            let is_mark = {
                let first = line
                    .cells
                    .iter()
                    .find(|cell| !cell.trim().is_empty())
                    .map_or_else(String::new, plain);
                first.starts_with(['*', '†', '‡', '(', '[', '¹', '²', '³'])
                    || ["note", "source", "fonte", "fuente", "nota"]
                        .iter()
                        .any(|word| first.starts_with(word))
            };
            if participant.is_none() && !is_total(name) {
                if !has_numbers && (is_mark || !has_cells) {
                    continue;
                }
                let what = if name.is_empty() {
                    "the line has numbers and no name; write whose they are".into()
                } else {
                    format!("participant is {name:?}; {}", unknown_participant(name))
                };
                faults.push(format!("{}: {what}", self.at(line, names)));
            }
            let mut cells = Cells::new();
            for column in &mut columns {
                let cell = line.cell(column.index);
                let key = (column.measure, column.quantity);
                if is_missing(cell) {
                    *n_missing.entry(key).or_default() += usize::from(participant.is_some());
                    continue;
                }
                match parse_number(cell, decimal) {
                    Ok((value, n_decimals)) => {
                        column.n_decimals = column.n_decimals.max(n_decimals);
                        let value = in_single_ones(value, n_decimals, column.factor);
                        let _ = cells.insert(key, (value, column.index));
                    }
                    Err(what) => faults.push(format!(
                        "{}: {}: {what}",
                        self.at(line, column.index),
                        column.name()
                    )),
                }
            }
            match participant {
                Some(participant) => of_participants.push((line, participant, cells)),
                None if is_total(name) => totals.push((line, cells)),
                None => {}
            }
        }
        let mut lines: BTreeMap<&'static str, u64> = BTreeMap::new();
        for (line, participant, _) in &of_participants {
            if let Some(before) = lines.insert(participant.code, line.number) {
                faults.push(format!(
                    "{}: {} stands on row {before} already; take one of the lines out",
                    self.at(line, names),
                    participant.name
                ));
            }
        }
        // Sums and ratios of numbers that could not be read would accuse the wrong cell.
        if faults.is_empty() {
            for (line, cells) in &totals {
                self.check_total(
                    line,
                    cells,
                    &of_participants,
                    &columns,
                    &n_missing,
                    &mut faults,
                    &mut notes,
                );
            }
            for (line, cells) in of_participants
                .iter()
                .map(|(line, _, cells)| (line, cells))
                .chain(totals.iter().map(|(line, cells)| (line, cells)))
            {
                self.check_per_carat(line, cells, &columns, &mut faults);
            }
        }
        let rows = self.rows(&of_participants, &columns, &mut faults, &mut notes);
        if faults.is_empty() && rows.is_empty() {
            faults.push(format!(
                "{}: no line of a participant has a volume",
                self.path.display()
            ));
        }
        if faults.is_empty() {
            Ok(Table { rows, notes })
        } else {
            Err(faults)
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "what one total is checked against"
    )]
    fn check_total(
        &self,
        line: &Line<'_>,
        total: &Cells,
        of_participants: &[(&Line<'_>, &'static Participant, Cells)],
        columns: &[Column],
        n_missing: &BTreeMap<(Measure, Quantity), usize>,
        faults: &mut Vec<String>,
        notes: &mut Vec<String>,
    ) {
        for column in columns
            .iter()
            .filter(|column| column.quantity != Quantity::PerCarat)
        {
            let key = (column.measure, column.quantity);
            let Some(&(total, index)) = total.get(&key) else {
                continue;
            };
            let values: Vec<f64> = of_participants
                .iter()
                .filter_map(|(_, _, cells)| cells.get(&key))
                .map(|(value, _)| *value)
                .collect();
            let sum: f64 = values.iter().sum();
            let tolerance = column.rounding() * (values.len() + 1) as f64;
            // Sums of binary fractions are a little off themselves.
            let slack = tolerance + 1e-12 * sum.abs().max(total.abs());
            let missing = n_missing.get(&key).copied().unwrap_or(0);
            let arithmetic = format!(
                "the total {} of {} is {} than the sum of its {} numbers, {}; rounding explains {}",
                show(total),
                column.name(),
                if sum > total {
                    format!("{} less", show(sum - total))
                } else {
                    format!("{} more", show(total - sum))
                },
                values.len(),
                show(sum),
                show(tolerance)
            );
            if sum - total > slack || (total - sum > slack && missing == 0) {
                faults.push(format!("{}: {arithmetic}; correct the number that is wrong, or take the line of totals out", self.at(line, index)));
            } else if total - sum > slack {
                notes.push(format!(
                    "{}: {arithmetic}; {missing} participants have none",
                    self.at(line, index)
                ));
            }
        }
    }

    fn check_per_carat(
        &self,
        line: &Line<'_>,
        cells: &Cells,
        columns: &[Column],
        faults: &mut Vec<String>,
    ) {
        for measure in Measure::ALL {
            let get = |quantity| cells.get(&(measure, quantity)).copied();
            let rounding = |quantity| {
                columns
                    .iter()
                    .find(|column| (column.measure, column.quantity) == (measure, quantity))
                    .map_or(0.0, Column::rounding)
            };
            let (Some((carats, _)), Some((value, _)), Some((per_carat, index))) = (
                get(Quantity::Volume),
                get(Quantity::Value),
                get(Quantity::PerCarat),
            ) else {
                continue;
            };
            let (of_carats, of_value, of_ratio) = (
                rounding(Quantity::Volume),
                rounding(Quantity::Value),
                rounding(Quantity::PerCarat),
            );
            if carats <= of_carats {
                continue;
            }
            let least = (value - of_value) / (carats + of_carats) - of_ratio;
            let most = (value + of_value) / (carats - of_carats) + of_ratio;
            if per_carat < least * (1.0 - 1e-9) || per_carat > most * (1.0 + 1e-9) {
                faults.push(format!(
                    "{}: {measure}: {} US$ / {} ct = {:.2} US$/ct, the table says {}; one of the three is wrong: correct it, or take the column of values per carat out",
                    self.at(line, index),
                    show(value),
                    show(carats),
                    value / carats,
                    show(per_carat)
                ));
            }
        }
    }

    fn rows(
        &self,
        of_participants: &[(&Line<'_>, &'static Participant, Cells)],
        columns: &[Column],
        faults: &mut Vec<String>,
        notes: &mut Vec<String>,
    ) -> Vec<Row> {
        let mut rows = Vec::new();
        for column in columns
            .iter()
            .filter(|column| column.quantity == Quantity::Volume)
        {
            let measure = column.measure;
            let mut missing = Vec::new();
            for (line, participant, cells) in of_participants {
                let value = cells.get(&(measure, Quantity::Value));
                let Some(&(carats, index)) = cells.get(&(measure, Quantity::Volume)) else {
                    match value {
                        Some((value, index)) if *value > 0.0 => faults.push(format!(
                            "{}: a value of {} {measure} without a volume; write the carats, or leave both empty",
                            self.at(line, *index),
                            show(*value)
                        )),
                        _ => missing.push(participant.code),
                    }
                    continue;
                };
                rows.push(Row {
                    place: self.at(line, index),
                    line: line.number,
                    figure: Figure {
                        participant,
                        period: self.told.period,
                        measure,
                        carats,
                        carats_rounding: column.rounding(),
                        value_usd: value.map(|(value, _)| *value),
                        source: self.told.source.clone(),
                        publisher: self.told.publisher,
                        release_date: self.told.release_date,
                        note: String::new(),
                    },
                });
            }
            if !missing.is_empty() {
                notes.push(format!("{}: no {measure} is told for {}; missing is not zero, and nothing is kept of them", self.path.display(), missing.join(", ")));
            }
        }
        rows
    }
}

/// A number as it would be typed, without the noise of binary sums.
fn show(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told() -> Told {
        Told {
            period: ReportPeriod::parse("2022").unwrap(),
            measure: None,
            source: "a table".into(),
            publisher: Publisher::Kp,
            release_date: None,
            decimal: None,
        }
    }

    fn read(text: &str) -> Result<Table, Vec<String>> {
        parse(Path::new("t.csv"), text, &told())
    }

    fn carats(table: &Table) -> Vec<(&'static str, Measure, f64)> {
        table
            .rows
            .iter()
            .map(|row| {
                (
                    row.figure.participant.code,
                    row.figure.measure,
                    row.figure.carats,
                )
            })
            .collect()
    }

    fn one_fault(text: &str) -> String {
        let faults = read(text).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults.into_iter().next().unwrap()
    }

    const HEAD: &str =
        "Participant;Production volume (cts);Production value (US$);Production US$/ct\n";

    #[test]
    fn groups_of_headings_stand_for_the_cells_to_their_right() {
        let table = read(
            "Annual Global Summary: 2022 production, imports and exports\n\
             ,Production,,,Import,,,Export,,,KPC\n\
             Participant,\"Volume, cts\",\"Value, US$\",US$/ct,\"Volume, cts\",\"Value, US$\",US$/ct,\"Volume, cts\",\"Value, US$\",US$/ct,issued\n\
             Angola*,\"1,000.50\",\"100,050.00\",100.00,-,-,-,\"1,500.00\",\"150,000.00\",100.00,12\n\
             Botswana (1),500.25,50025.00,100.00,0.00,0.00,,n/a,,,3\n\
             TOTAL,\"1,500.75\",\"150,075.00\",100.00,0.00,0.00,,\"1,500.00\",\"150,000.00\",100.00,15\n\
             * estimated, for the second half\n\
             (1) preliminary\n",
        )
        .unwrap();
        assert_eq!(
            carats(&table),
            [
                ("AGO", Measure::Production, 1000.5),
                ("BWA", Measure::Production, 500.25),
                ("BWA", Measure::Import, 0.0),
                ("AGO", Measure::Export, 1500.0),
            ]
        );
        assert!((table.rows[0].figure.carats_rounding - 0.005).abs() < 1e-12);
        assert_eq!(table.rows[0].figure.value_usd, Some(100_050.0));
        assert_eq!(table.rows[0].place, "t.csv:4:2");
        let notes = table.notes.join("\n");
        assert!(
            notes.contains("no import is told for AGO") && notes.contains("certificates"),
            "{notes}"
        );
    }

    #[test]
    fn each_language_and_way_to_write_numbers_is_read() {
        for (text, wanted) in [
            (
                "Pays;Production\n;Volume (carats);Valeur (US$)\nCôte d’Ivoire¹;3\u{202f}904,50;1\u{a0}000,5\n",
                3904.5,
            ),
            (
                "País\tProdução: volume (quilates)\tProdução: valor (US$)\nCosta do Marfim\t3.904,50\t1.000,50\n",
                3904.5,
            ),
            (
                "País;Producción: volumen (quilates);Valor de la producción (US$)\nCosta de Marfil;3904,5;\n",
                3904.5,
            ),
            (
                "Country,Production (cts)\nCOTE D'IVOIRE,\"3'904.5\"\n",
                3904.5,
            ),
            (
                "Production in thousand carats\nCountry,Volume\nIvory Coast,3.9045\n",
                3904.5,
            ),
            (
                "Country,\"Production, '000 cts\"\nIvory Coast,3.9045\n",
                3904.5,
            ),
        ] {
            let table = read(text).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
            assert_eq!(table.rows.len(), 1, "{text}");
            assert_eq!(table.rows[0].figure.participant.code, "CIV");
            assert!(
                (table.rows[0].figure.carats - wanted).abs() < 1e-9,
                "{text}"
            );
        }
    }

    #[test]
    fn a_number_that_can_be_two_is_not_guessed() {
        let text = format!("{HEAD}Angola;1,234;;\n");
        assert!(one_fault(&text).contains("--decimal"));
        for (decimal, wanted) in [(Decimal::Point, 1234.0), (Decimal::Comma, 1.234)] {
            let told = Told {
                decimal: Some(decimal),
                ..told()
            };
            let table = parse(Path::new("t.csv"), &text, &told).unwrap();
            assert!((table.rows[0].figure.carats - wanted).abs() < 1e-12);
        }
        let mixed = format!("{HEAD}Angola;1,5;;\nBotswana;1.25;;\n");
        assert!(one_fault(&mixed).contains("decimal comma"));
        let ungrouped = format!("{HEAD}Angola;1,23,456.5;;\n");
        assert!(one_fault(&ungrouped).contains("t.csv:2:2"));
    }

    #[test]
    fn every_fault_is_told_with_its_cell() {
        let faults = read(&format!(
            "{HEAD}Angolia;10.50;;\nBotswana;-3.00;;\nCanada;12%;;\nGhana;1.00;;\nGHA;2.00;;\nCongo;5.00;;\n;7.00;;\n"
        ))
        .unwrap_err();
        let all = faults.join("\n");
        assert_eq!(faults.len(), 6, "{all}");
        for part in [
            "t.csv:2:1: participant is \"Angolia\"; no participant has this name; the nearest is \"Angola\" (AGO)",
            "t.csv:3:2: volume of production: \"-3.00\" is below zero",
            "t.csv:4:2: volume of production: \"12%\" is no number",
            "t.csv:6:1: Ghana stands on row 5",
            "t.csv:7:1: participant is \"Congo\"; there are two",
            "t.csv:8:1: the line has numbers and no name",
        ] {
            assert!(all.contains(part), "{part}: {all}");
        }
    }

    #[test]
    fn totals_and_values_per_carat_must_fit() {
        // Three numbers to a hundredth: the sum may be 0.02 off.
        let table =
            |total: &str| format!("{HEAD}Angola;10.00;;\nBotswana;20.00;;\nTotal;{total};;\n");
        assert!(read(&table("30.01")).is_ok());
        let fault = one_fault(&table("30.02"));
        assert!(
            fault.contains("t.csv:4:2: the total 30.02")
                && fault.contains("sum of its 2 numbers, 30"),
            "{fault}"
        );
        assert!(one_fault(&table("29.00")).contains("1 less"));
        // Who has no number may be in the total.
        let missing = format!("{HEAD}Angola;10.00;;\nBotswana;-;;\nTotal;30.00;;\n");
        assert!(read(&missing).unwrap().notes.join("\n").contains("20 more"));
        let per_carat = format!("{HEAD}Angola;10.00;1000.00;110.00\n");
        let fault = one_fault(&per_carat);
        assert!(
            fault.contains("t.csv:2:4") && fault.contains("1000 US$ / 10 ct = 100.00 US$/ct"),
            "{fault}"
        );
    }

    #[test]
    fn titles_and_units_must_fit_what_is_asked() {
        let with = |title: &str| format!("{title}\n{HEAD}Angola;10.00;;\n");
        assert!(one_fault(&with("Production in 2021")).contains("2021"));
        assert!(one_fault(&with("First quarter of 2022")).contains("is not of the period 2022"));
        assert!(one_fault(&with("In thousands")).contains("does not say of what"));
        let amount = read(&with("Production of 2022: 120.2 million carats")).unwrap();
        assert_eq!(carats(&amount), [("AGO", Measure::Production, 10.0)]);
        assert!(read(&with("Annual Global Summary 2022 (as of 15 July 2023)")).is_ok());
        let heading = "Country,Production 2021 (cts)\nAngola,10.00\n";
        assert!(one_fault(heading).contains("speak of 2021"));
        // A title that was cut at its comma is taken for headings; its unit is that of the volumes alone.
        let cut = read("Production, volume in thousand carats\nCountry,Production volume,Production value (US$)\nAngola,1.50,30.25\n").unwrap();
        let figure = &cut.rows[0].figure;
        assert_eq!((figure.carats, figure.value_usd), (1500.0, Some(30.25)));
        let below = format!("{HEAD}Angola;10.00;;\nVolumes in thousand carats\n");
        assert!(one_fault(&below).contains("seems to tell a unit"));
        let no_currency = "Country,Production volume (cts),Production value\nAngola,10.00,5.00\n";
        assert!(one_fault(no_currency).contains("currency"));
        let no_measure = "Country,Volume (cts)\nAngola,10.00\n";
        assert!(one_fault(no_measure).contains("--measure"));
        assert!(one_fault("Angola,10.00\n").contains("no line has headings"));
        let no_volume = format!("{HEAD}Angola;;10.00;\n");
        assert!(
            one_fault(&no_volume).contains("no column of volumes")
                || one_fault(&no_volume).contains("without a volume")
        );
    }

    #[test]
    fn thousands_and_millions_are_whole() {
        assert_ne!((1.005 * 1e3_f64).to_string(), "1005", "there is noise");
        assert_eq!(in_single_ones(1.005, 3, 1e3).to_string(), "1005");
        assert_eq!(in_single_ones(0.5, 1, 1.0).to_string(), "0.5");
    }

    #[test]
    fn the_delimiter_is_what_lines_have_equally_often() {
        for (text, delimiter) in [
            (
                "participant,period,measure\nx,\"a; b\",c; d\ny; z,1,2\n",
                b',',
            ),
            ("a;b;c\nx;1 234,56;2,5\ny;3,1;4\n", b';'),
            ("title, and more; more\na\tb\nx\t1,5\n", b'\t'),
            ("a,b\n\"x;y\nz\",\"1,5\"\n", b','),
            ("nothing\n", b','),
        ] {
            assert_eq!(delimiter_of(text), delimiter, "{text}");
        }
    }

    #[test]
    fn old_encodings_are_read() {
        assert_eq!(decode(b"\xef\xbb\xbfC\xc3\xb4te").unwrap(), "Côte");
        assert_eq!(decode(b"C\xf4te d\x92Ivoire").unwrap(), "Côte d’Ivoire");
        assert!(decode(b"\xff\xfeC\x00").is_err());
        assert!(decode(b"\xf4\x81").is_err());
    }

    proptest! {
        #[test]
        fn a_number_is_read_back_however_it_is_written(
            hundredths in 0..1_000_000_000_000_u64,
            group in proptest::sample::select(vec!["", ",", ".", " ", "\u{a0}", "\u{202f}", "'"]),
            is_point in any::<bool>(),
            mark in proptest::sample::select(vec!["", "*", " (1)", "¹"]),
        ) {
            let (point, decimal) = if is_point { (".", Decimal::Point) } else { (",", Decimal::Comma) };
            prop_assume!(point != group);
            let whole = (hundredths / 100).to_string();
            let mut written = String::new();
            for (place, digit) in whole.chars().enumerate() {
                if place > 0 && (whole.len() - place) % 3 == 0 {
                    written.push_str(group);
                }
                written.push(digit);
            }
            let written = format!("{written}{point}{:02}{mark}", hundredths % 100);
            prop_assert_eq!(decimal_in(number_text(&written)), Ok(Some(decimal)), "{}", &written);
            let (value, n_decimals) = parse_number(&written, decimal).unwrap();
            prop_assert_eq!((value, n_decimals), (hundredths as f64 / 100.0, 2));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "([A-Za-z0-9é,;.\"\n\t*() $/-]|Angola|Volume|cts|US\\$|Production|Total){0,80}") {
            let _ = read(&text);
            let _ = read(&format!("{HEAD}{text}"));
        }
    }
}
