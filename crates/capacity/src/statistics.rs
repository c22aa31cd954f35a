//! Checks of reported figures that need no imagery: each finding shows its arithmetic.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;

use pitwatch_grid::Day;

use crate::Participant;

/// Fewest other periods for which a median of values per carat is taken; with fewer the period before is compared.
const MIN_PERIODS_OF_MEDIAN: usize = 3;

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// Mined.
    Production,
    /// Shipped to other participants.
    Export,
    /// Received from other participants.
    Import,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Production, Self::Export, Self::Import];

    /// Reads `production`, `export` or `import`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|measure| measure.as_str() == text)
    }

    /// As the tables write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Export => "export",
            Self::Import => "import",
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Who stands behind a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Publisher {
    /// The Kimberley Process, also where the press repeats it.
    Kp,
    /// An authority of the participant.
    National,
    /// The press, without an official source.
    Press,
}

impl Publisher {
    /// All of them, the most official first.
    pub const ALL: [Self; 3] = [Self::Kp, Self::National, Self::Press];

    /// Reads `kp`, `national` or `press`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|publisher| publisher.as_str() == text)
    }

    /// As the column `source_class` writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kp => "kp",
            Self::National => "national",
            Self::Press => "press",
        }
    }
}

impl fmt::Display for Publisher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Which part of a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Part {
    Year,
    Half(u8),
    Quarter(u8),
}

/// A year, half-year or quarter: `2022`, `2022-S1`, `2022-Q3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReportPeriod {
    year: i32,
    part: Part,
}

impl ReportPeriod {
    /// Reads `2022`, `2022-S1` or `2022-Q3`; years from 1900 to 2199.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (year, part) = match text.split_once('-') {
            None => (text, Part::Year),
            Some((year, "S1")) => (year, Part::Half(1)),
            Some((year, "S2")) => (year, Part::Half(2)),
            Some((year, "Q1")) => (year, Part::Quarter(1)),
            Some((year, "Q2")) => (year, Part::Quarter(2)),
            Some((year, "Q3")) => (year, Part::Quarter(3)),
            Some((year, "Q4")) => (year, Part::Quarter(4)),
            Some(_) => return None,
        };
        if year.len() != 4 || !year.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let year = year
            .parse()
            .ok()
            .filter(|year| (1900..2200).contains(year))?;
        Some(Self { year, part })
    }

    /// Calendar year.
    #[must_use]
    pub fn year(self) -> i32 {
        self.year
    }

    /// First and last day.
    #[must_use]
    pub fn days(self) -> (Day, Day) {
        let (first, n_months) = match self.part {
            Part::Year => (1, 12),
            Part::Half(half) => (6 * u32::from(half) - 5, 6),
            Part::Quarter(quarter) => (3 * u32::from(quarter) - 2, 3),
        };
        let day = |year: i32, month: u32| -> Day {
            format!("{year}-{month:02}-01")
                .parse()
                .expect("years from 1900 to 2200 and months from 1 to 12 are days")
        };
        let next = first + n_months;
        let end = if next > 12 {
            day(self.year + 1, next - 12)
        } else {
            day(self.year, next)
        };
        (day(self.year, first), Day(end.0 - 1))
    }

    /// The period of the same length before.
    #[must_use]
    pub fn before(self) -> Self {
        let (year, part) = match self.part {
            Part::Year => (self.year - 1, Part::Year),
            Part::Half(1) => (self.year - 1, Part::Half(2)),
            Part::Half(half) => (self.year, Part::Half(half - 1)),
            Part::Quarter(1) => (self.year - 1, Part::Quarter(4)),
            Part::Quarter(quarter) => (self.year, Part::Quarter(quarter - 1)),
        };
        Self { year, part }
    }

    fn is_as_long_as(self, other: Self) -> bool {
        std::mem::discriminant(&self.part) == std::mem::discriminant(&other.part)
    }

    /// The ways to cut the period into reported ones: halves and quarters of a year, quarters of a half.
    fn cuts(self) -> Vec<Vec<Self>> {
        let of = |parts: &[Part]| {
            let year = self.year;
            parts.iter().map(|&part| Self { year, part }).collect()
        };
        match self.part {
            Part::Year => vec![
                of(&[Part::Half(1), Part::Half(2)]),
                of(&[1, 2, 3, 4].map(Part::Quarter)),
            ],
            Part::Half(half) => vec![of(&[2 * half - 1, 2 * half].map(Part::Quarter))],
            Part::Quarter(_) => Vec::new(),
        }
    }
}

impl fmt::Display for ReportPeriod {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Part::Year => write!(formatter, "{}", self.year),
            Part::Half(half) => write!(formatter, "{}-S{half}", self.year),
            Part::Quarter(quarter) => write!(formatter, "{}-Q{quarter}", self.year),
        }
    }
}

/// One reported figure of one vintage.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Whose figure it is.
    pub participant: &'static Participant,
    /// The period it is for.
    pub period: ReportPeriod,
    /// What it counts.
    pub measure: Measure,
    /// Carats, 0 or more.
    pub carats: f64,
    /// Half the last digit printed, in carats: the figure lies within ± this.
    pub carats_rounding: f64,
    /// Value in US dollars; `None` = not told, which is not 0.
    pub value_usd: Option<f64>,
    /// Where it was published.
    pub source: String,
    /// Who stands behind it.
    pub publisher: Publisher,
    /// Day it was released; `None` = not known.
    pub release_date: Option<Day>,
    /// What else is to be known of it.
    pub note: String,
}

/// The figures of one participant, period and measure, oldest vintage first.
///
/// `rows` are places in `figures`, in the order of import. A figure without a release date is as old as the newest one imported
/// before it; of figures of the same age the one imported later is newer.
#[must_use]
pub fn in_order_of_vintage(figures: &[Figure], rows: &[usize]) -> Vec<usize> {
    let mut newest = None;
    let mut dated: Vec<(Option<Day>, usize)> = rows
        .iter()
        .map(|&row| {
            let date = figures[row].release_date.or(newest);
            newest = newest.max(date);
            (date, row)
        })
        .collect();
    dated.sort_unstable();
    dated.into_iter().map(|(_, row)| row).collect()
}

/// From where on a difference is told. None of these is a finding of the scheme: its own questionnaire names no threshold in the
/// parts that could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Exports over production, imports and stock, unitless.
    pub export_ratio: f64,
    /// Value per carat over what it is compared with, or the reverse; unitless, above 1.
    pub value_factor: f64,
    /// Difference of two publishers over the smaller figure, unitless.
    pub source_difference: f64,
    /// Change from one vintage to the next over the earlier one, unitless.
    pub vintage_change: f64,
    /// Carats in stock on the first of January of a year, by participant's code and year.
    pub opening_stock_ct: BTreeMap<(String, i32), f64>,
    /// Years in which exports are set against production; `None` = all.
    pub years: Option<RangeInclusive<i32>>,
}

/// What is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingKind {
    /// More was exported than was produced, imported and in stock.
    ExportsAboveProduction,
    /// A value per carat far from that of the same goods, or of other periods.
    ValuePerCaratJump,
    /// A quarter or half, or their sum, above the period they are parts of.
    PartsAboveWhole,
    /// All parts are held, and their sum is below the whole.
    PartsBelowWhole,
    /// Two publishers tell different figures.
    SourcesDiffer,
    /// A later vintage tells another figure.
    VintageChanged,
}

impl FindingKind {
    /// As it is written in files: `exports_above_production`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExportsAboveProduction => "exports_above_production",
            Self::ValuePerCaratJump => "value_per_carat_jump",
            Self::PartsAboveWhole => "parts_above_whole",
            Self::PartsBelowWhole => "parts_below_whole",
            Self::SourcesDiffer => "sources_differ",
            Self::VintageChanged => "vintage_changed",
        }
    }
}

/// One thing to ask a participant about.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// Whose figures.
    pub participant: &'static Participant,
    /// First and last period.
    pub periods: (ReportPeriod, ReportPeriod),
    /// The numbers, each with its unit in its name: `exports_ct`.
    pub numbers: Vec<(&'static str, f64)>,
    /// How it comes about, in figures.
    pub arithmetic: String,
    /// Places of the figures it rests on.
    pub rows: Vec<usize>,
}

type Series = (&'static str, Measure, Publisher);

/// The newest vintage of each participant, measure, publisher and period.
struct Newest<'a> {
    figures: &'a [Figure],
    rows: BTreeMap<Series, BTreeMap<ReportPeriod, usize>>,
}

/// Carats of a period as they are held, or as the sum of its parts.
#[derive(Debug, Clone, Default)]
struct Amount {
    carats: f64,
    rounding: f64,
    rows: Vec<usize>,
}

impl Amount {
    fn sum<'a>(amounts: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = Self::default();
        for amount in amounts {
            sum.carats += amount.carats;
            sum.rounding += amount.rounding;
            sum.rows.extend(&amount.rows);
        }
        sum
    }
}

impl<'a> Newest<'a> {
    fn of(figures: &'a [Figure]) -> Self {
        let mut rows: BTreeMap<Series, BTreeMap<ReportPeriod, usize>> = BTreeMap::new();
        for (key, group) in vintages(figures) {
            let (code, measure, publisher, period) = key;
            if let Some(&newest) = group.last() {
                let series = rows.entry((code, measure, publisher)).or_default();
                let _ = series.insert(period, newest);
            }
        }
        Self { figures, rows }
    }

    fn get(&self, series: Series, period: ReportPeriod) -> Option<usize> {
        self.rows.get(&series)?.get(&period).copied()
    }

    fn held(&self, series: Series, period: ReportPeriod) -> Option<Amount> {
        let row = self.get(series, period)?;
        let figure = &self.figures[row];
        Some(Amount {
            carats: figure.carats,
            rounding: figure.carats_rounding,
            rows: vec![row],
        })
    }

    /// Of a year as it is held, else as the sum of its halves or quarters if all are held.
    fn annual(&self, series: Series, year: i32) -> Option<Amount> {
        let part = Part::Year;
        let period = ReportPeriod { year, part };
        self.held(series, period).or_else(|| {
            period.cuts().into_iter().find_map(|parts| {
                let amounts: Option<Vec<Amount>> =
                    parts.iter().map(|&part| self.held(series, part)).collect();
                amounts.map(|amounts| Amount::sum(&amounts))
            })
        })
    }

    fn years(&self) -> BTreeSet<i32> {
        self.rows
            .values()
            .flat_map(|periods| periods.keys())
            .map(|period| period.year)
            .collect()
    }
}

type Key = (&'static str, Measure, Publisher, ReportPeriod);

/// The vintages of each figure, oldest first.
fn vintages(figures: &[Figure]) -> BTreeMap<Key, Vec<usize>> {
    let mut groups: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
    for (row, figure) in figures.iter().enumerate() {
        let key = (
            figure.participant.code,
            figure.measure,
            figure.publisher,
            figure.period,
        );
        groups.entry(key).or_default().push(row);
    }
    for rows in groups.values_mut() {
        *rows = in_order_of_vintage(figures, rows);
    }
    groups
}

/// All checks, sorted by participant, kind and period.
///
/// `figures` stand in the order of import.
#[must_use]
pub fn check(figures: &[Figure], limits: &Limits) -> Vec<Finding> {
    let newest = Newest::of(figures);
    let mut findings = exports_above_production(&newest, limits);
    findings.extend(value_per_carat_jumps(figures, limits));
    findings.extend(parts_and_wholes(&newest));
    findings.extend(sources_that_differ(&newest, limits));
    findings.extend(changed_vintages(figures, limits));
    findings.sort_by_key(|finding| (finding.participant.code, finding.kind, finding.periods));
    findings
}

/// Quarters and halves above the period they are parts of, alone or summed: such figures cannot be.
///
/// A part is set against the newest figure of its own publisher; where that has none for the whole, against the largest of the
/// other publishers'. Sums are taken within one publisher. What rounding explains is no finding.
#[must_use]
pub fn impossible_parts(figures: &[Figure]) -> Vec<Finding> {
    let mut findings = parts_and_wholes(&Newest::of(figures));
    findings.retain(|finding| finding.kind == FindingKind::PartsAboveWhole);
    findings
}

fn parts_and_wholes(newest: &Newest<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (&series, periods) in &newest.rows {
        let wholes: BTreeSet<ReportPeriod> = periods
            .keys()
            .flat_map(|period| {
                let year = period.year;
                [Part::Year, Part::Half(1), Part::Half(2)].map(|part| ReportPeriod { year, part })
            })
            .collect();
        for whole in wholes {
            for parts in whole.cuts() {
                findings.extend(parts_of_one_whole(newest, series, whole, &parts));
            }
        }
    }
    findings
}

fn parts_of_one_whole(
    newest: &Newest<'_>,
    series: Series,
    whole: ReportPeriod,
    parts: &[ReportPeriod],
) -> Vec<Finding> {
    let (code, measure, publisher) = series;
    let own = newest.held(series, whole);
    let reference = own.clone().map(|amount| (publisher, amount)).or_else(|| {
        Publisher::ALL
            .into_iter()
            .filter_map(|other| Some((other, newest.held((code, measure, other), whole)?)))
            .max_by(|(_, a), (_, b)| a.carats.total_cmp(&b.carats))
    });
    let Some((reference_of, reference)) = reference else {
        return Vec::new();
    };
    let held: Vec<(ReportPeriod, Amount)> = parts
        .iter()
        .filter_map(|&part| Some((part, newest.held(series, part)?)))
        .collect();
    let Some(&whole_row) = reference.rows.first() else {
        return Vec::new();
    };
    let participant = newest.figures[whole_row].participant;
    let finding = |kind, periods, part: &Amount, arithmetic| Finding {
        kind,
        participant,
        periods,
        numbers: vec![("parts_ct", part.carats), ("whole_ct", reference.carats)],
        arithmetic,
        rows: [&part.rows[..], &reference.rows].concat(),
    };
    let mut findings: Vec<Finding> = held
        .iter()
        .filter(|(_, part)| part.carats - part.rounding > reference.carats + reference.rounding)
        .map(|(period, part)| {
            let arithmetic = format!(
                "{measure} {period} ({publisher}) is {} ct, {whole} as a whole ({reference_of}) {} ct: {} ct more than the whole, and rounding explains {} ct",
                number(part.carats),
                number(reference.carats),
                number(part.carats - reference.carats),
                number(part.rounding + reference.rounding)
            );
            finding(FindingKind::PartsAboveWhole, (*period, *period), part, arithmetic)
        })
        .collect();
    if own.is_some() && findings.is_empty() && held.len() > 1 {
        let sum = Amount::sum(held.iter().map(|(_, amount)| amount));
        let tolerance = sum.rounding + reference.rounding;
        let difference = sum.carats - reference.carats;
        let kind = if difference > tolerance {
            Some(FindingKind::PartsAboveWhole)
        } else if difference < -tolerance && held.len() == parts.len() {
            Some(FindingKind::PartsBelowWhole)
        } else {
            None
        };
        if let (Some(kind), Some((first, _)), Some((last, _))) = (kind, held.first(), held.last()) {
            let terms: Vec<String> = held.iter().map(|(_, part)| number(part.carats)).collect();
            let names: Vec<String> = held.iter().map(|(period, _)| period.to_string()).collect();
            let arithmetic = format!(
                "{measure} ({publisher}) {}: {} = {} ct, {whole} as a whole {} ct: {} ct {}, and rounding explains {} ct",
                names.join(" + "),
                terms.join(" + "),
                number(sum.carats),
                number(reference.carats),
                number(difference.abs()),
                if difference > 0.0 {
                    "too many"
                } else {
                    "lacking"
                },
                number(tolerance)
            );
            findings.push(finding(kind, (*first, *last), &sum, arithmetic));
        }
    }
    findings
}

/// Exports, production and imports of one year.
struct Balance {
    year: i32,
    exports: Amount,
    production: Amount,
    imports: Option<Amount>,
}

fn exports_above_production(newest: &Newest<'_>, limits: &Limits) -> Vec<Finding> {
    let codes: BTreeSet<&'static str> = newest.rows.keys().map(|(code, ..)| *code).collect();
    let years: Vec<i32> = newest
        .years()
        .into_iter()
        .filter(|year| {
            limits
                .years
                .as_ref()
                .is_none_or(|years| years.contains(year))
        })
        .collect();
    let mut findings = Vec::new();
    for code in codes {
        let balances = |pick: &dyn Fn(Measure, i32) -> Option<Amount>| -> Vec<Balance> {
            years
                .iter()
                .filter_map(|&year| {
                    Some(Balance {
                        year,
                        exports: pick(Measure::Export, year)?,
                        production: pick(Measure::Production, year)?,
                        imports: pick(Measure::Import, year),
                    })
                })
                .collect()
        };
        let mut of_publishers: Vec<(String, Vec<Balance>)> = Publisher::ALL
            .into_iter()
            .map(|publisher| {
                let pick = |measure, year| newest.annual((code, measure, publisher), year);
                (publisher.to_string(), balances(&pick))
            })
            .filter(|(_, balances)| !balances.is_empty())
            .collect();
        if of_publishers.is_empty() {
            // No publisher tells both: the most official figure of each.
            let pick = |measure, year| {
                Publisher::ALL
                    .into_iter()
                    .find_map(|publisher| newest.annual((code, measure, publisher), year))
            };
            of_publishers.push(("publishers mixed".into(), balances(&pick)));
        }
        for (publisher, balances) in of_publishers {
            for run in balances.chunk_by(|a, b| a.year + 1 == b.year) {
                findings.extend(exports_of_run(newest, code, &publisher, run, limits));
            }
        }
    }
    findings
}

/// Consecutive years of one participant: all of them if their exports are too many, else the first years that need most stock.
fn exports_of_run(
    newest: &Newest<'_>,
    code: &'static str,
    publisher: &str,
    run: &[Balance],
    limits: &Limits,
) -> Option<Finding> {
    let first = run.first()?;
    let stock = limits
        .opening_stock_ct
        .get(&(code.to_owned(), first.year))
        .copied();
    let excess = |run: &[Balance]| {
        let exports = Amount::sum(run.iter().map(|year| &year.exports));
        let production = Amount::sum(run.iter().map(|year| &year.production));
        let imports = Amount::sum(run.iter().filter_map(|year| year.imports.as_ref()));
        let had = production.carats + imports.carats + stock.unwrap_or(0.0);
        let tolerance = exports.rounding + production.rounding + imports.rounding;
        let is_above =
            exports.carats - had > tolerance && exports.carats >= limits.export_ratio * had;
        (exports, production, imports, had, is_above)
    };
    let lacking = |n: usize| {
        let (exports, _, _, had, _) = excess(&run[..n]);
        exports.carats - had
    };
    // The first of the years that need most.
    let most = (1..=run.len())
        .rev()
        .max_by(|&a, &b| lacking(a).total_cmp(&lacking(b)))?;
    let n = [run.len(), most]
        .into_iter()
        .find(|&n| excess(&run[..n]).4)?;
    let told = &run[..n];
    let last = told.last()?;
    let (exports, production, imports, had, _) = excess(told);
    let terms = |amounts: &[&Amount]| -> String {
        let carats: Vec<String> = amounts.iter().map(|amount| number(amount.carats)).collect();
        match &carats[..] {
            [one] => one.clone(),
            all => format!(
                "{} = {}",
                all.join(" + "),
                number(Amount::sum(amounts.iter().copied()).carats)
            ),
        }
    };
    let all = |pick: fn(&Balance) -> &Amount| -> String {
        terms(&told.iter().map(pick).collect::<Vec<_>>())
    };
    let known: Vec<&Amount> = told
        .iter()
        .filter_map(|year| year.imports.as_ref())
        .collect();
    let imports_told = match known.len() {
        0 => "imports not held".to_owned(),
        count => format!(
            "imports {} ct{}",
            terms(&known),
            if count < told.len() {
                format!(" (held for {count} of {} years)", told.len())
            } else {
                String::new()
            }
        ),
    };
    let stock_told = stock.map_or_else(
        || format!("stock on {}-01-01 not known, counted as 0", first.year),
        |stock| format!("stock on {}-01-01 {} ct", first.year, number(stock)),
    );
    let ratio = exports.carats / had;
    let years = if first.year == last.year {
        first.year.to_string()
    } else {
        format!("{} to {}", first.year, last.year)
    };
    let mut arithmetic = format!(
        "{publisher}, {years}: exports {} ct; production {} ct; {imports_told}; {stock_told}; {} / {} = {}, {} ct more than there was",
        all(|year| &year.exports),
        all(|year| &year.production),
        number(exports.carats),
        number(had),
        if had > 0.0 {
            format!("{ratio:.2}")
        } else {
            "no ratio".into()
        },
        number(exports.carats - had)
    );
    let needed = lacking(most.min(n)).max(lacking(n));
    if needed > exports.carats - had {
        let by = run.get(most - 1).map_or(last.year, |year| year.year);
        arithmetic += &format!("; by the end of {by} {} ct were lacking", number(needed));
    }
    let mut numbers = vec![
        ("exports_ct", exports.carats),
        ("production_ct", production.carats),
    ];
    if !known.is_empty() {
        numbers.push(("imports_ct", imports.carats));
    }
    if let Some(stock) = stock {
        numbers.push(("opening_stock_ct", stock));
    }
    if had > 0.0 {
        numbers.push(("ratio", ratio));
    }
    numbers.push(("lacking_ct", exports.carats - had));
    let rows = [exports.rows, production.rows, imports.rows].concat();
    let year = |year| ReportPeriod {
        year,
        part: Part::Year,
    };
    Some(Finding {
        kind: FindingKind::ExportsAboveProduction,
        participant: newest.figures[*rows.first()?].participant,
        periods: (year(first.year), year(last.year)),
        numbers,
        arithmetic,
        rows,
    })
}

fn value_per_carat_jumps(figures: &[Figure], limits: &Limits) -> Vec<Finding> {
    // Of each participant, measure and period the newest figure that has a value, whoever published it.
    let mut groups: BTreeMap<(&'static str, Measure, ReportPeriod), Vec<usize>> = BTreeMap::new();
    for (row, figure) in figures.iter().enumerate() {
        if figure.value_usd.is_some() && figure.carats > 0.0 {
            let key = (figure.participant.code, figure.measure, figure.period);
            groups.entry(key).or_default().push(row);
        }
    }
    let rows: BTreeMap<_, usize> = groups
        .into_iter()
        .filter_map(|(key, rows)| Some((key, in_order_of_vintage(figures, &rows).pop()?)))
        .collect();
    let per_carat = |row: usize| figures[row].value_usd.unwrap_or(f64::NAN) / figures[row].carats;
    let is_far = |a: f64, b: f64| (a / b).max(b / a) >= limits.value_factor;
    let shown = |row: usize| {
        let figure = &figures[row];
        format!(
            "{} {}: {} US$ / {} ct = {} US$/ct ({})",
            figure.measure,
            figure.period,
            number(figure.value_usd.unwrap_or(f64::NAN)),
            number(figure.carats),
            number(per_carat(row)),
            figure.publisher
        )
    };
    let times = |a: f64, b: f64| format!("{:.2} times", (a / b).max(b / a));
    let mut findings = Vec::new();
    for (&(code, measure, period), &row) in &rows {
        let own = per_carat(row);
        let mut tell =
            |against: &'static str, reference: f64, arithmetic: String, others: Vec<usize>| {
                if is_far(own, reference) {
                    findings.push(Finding {
                        kind: FindingKind::ValuePerCaratJump,
                        participant: figures[row].participant,
                        periods: (period, period),
                        numbers: vec![("value_usd_per_ct", own), (against, reference)],
                        arithmetic,
                        rows: [vec![row], others].concat(),
                    });
                }
            };
        let export = (measure == Measure::Production)
            .then(|| rows.get(&(code, Measure::Export, period)))
            .flatten();
        if let Some(&export) = export {
            let reference = per_carat(export);
            let arithmetic = format!(
                "{}; {}: {} apart",
                shown(row),
                shown(export),
                times(own, reference)
            );
            tell("export_usd_per_ct", reference, arithmetic, vec![export]);
        }
        let others: Vec<usize> = rows
            .iter()
            .filter(|((other, counted, when), _)| {
                *other == code
                    && *counted == measure
                    && *when != period
                    && when.is_as_long_as(period)
            })
            .map(|(_, &row)| row)
            .collect();
        if others.len() >= MIN_PERIODS_OF_MEDIAN {
            let reference = median(others.iter().map(|&row| per_carat(row)).collect());
            let arithmetic = format!(
                "{}; the median of its {} other periods is {} US$/ct: {} apart",
                shown(row),
                others.len(),
                number(reference),
                times(own, reference)
            );
            tell("median_usd_per_ct", reference, arithmetic, others);
        } else if let Some(&before) = rows.get(&(code, measure, period.before())) {
            let reference = per_carat(before);
            let arithmetic = format!(
                "{}; {}: {} apart",
                shown(row),
                shown(before),
                times(own, reference)
            );
            tell("before_usd_per_ct", reference, arithmetic, vec![before]);
        }
    }
    findings
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    match (values.get(n / 2), values.get((n.max(1) - 1) / 2)) {
        (Some(a), Some(b)) => f64::midpoint(*a, *b),
        _ => f64::NAN,
    }
}

fn sources_that_differ(newest: &Newest<'_>, limits: &Limits) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (&(code, measure, publisher), periods) in &newest.rows {
        for other in Publisher::ALL
            .into_iter()
            .filter(|&other| other > publisher)
        {
            for (&period, &row) in periods {
                let Some(other_row) = newest.get((code, measure, other), period) else {
                    continue;
                };
                let (a, b) = (&newest.figures[row], &newest.figures[other_row]);
                let difference = (a.carats - b.carats).abs();
                let least = a.carats.min(b.carats);
                if difference <= a.carats_rounding + b.carats_rounding
                    || difference <= limits.source_difference * least
                {
                    continue;
                }
                let who = if other == Publisher::Press {
                    "two figures"
                } else {
                    "two official figures"
                };
                findings.push(Finding {
                    kind: FindingKind::SourcesDiffer,
                    participant: a.participant,
                    periods: (period, period),
                    numbers: vec![("carats_ct", a.carats), ("other_carats_ct", b.carats)],
                    arithmetic: format!(
                        "{who} for {measure} {period}: {} ct ({publisher}: {}) and {} ct ({other}: {}); {} / {} = {:.2}",
                        number(a.carats),
                        a.source,
                        number(b.carats),
                        b.source,
                        number(b.carats),
                        number(a.carats),
                        b.carats / a.carats
                    ),
                    rows: vec![row, other_row],
                });
            }
        }
    }
    findings
}

fn changed_vintages(figures: &[Figure], limits: &Limits) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ((_, measure, publisher, period), rows) in vintages(figures) {
        for pair in rows.windows(2) {
            let &[from, to] = pair else { continue };
            let (a, b) = (&figures[from], &figures[to]);
            let difference = b.carats - a.carats;
            if difference.abs() <= a.carats_rounding + b.carats_rounding
                || difference.abs() <= limits.vintage_change * a.carats
            {
                continue;
            }
            let released = |figure: &Figure| {
                figure.release_date.map_or_else(
                    || "released on a day not known".into(),
                    |day| format!("released {day}"),
                )
            };
            let share = if a.carats > 0.0 {
                format!(" = {:+.1} %", 100.0 * difference / a.carats)
            } else {
                String::new()
            };
            findings.push(Finding {
                kind: FindingKind::VintageChanged,
                participant: a.participant,
                periods: (period, period),
                numbers: vec![("before_ct", a.carats), ("after_ct", b.carats)],
                arithmetic: format!(
                    "{measure} {period} ({publisher}): {} ct ({}, {}), then {} ct ({}, {}): {} ct{share}",
                    number(a.carats),
                    a.source,
                    released(a),
                    number(b.carats),
                    b.source,
                    released(b),
                    signed(difference)
                ),
                rows: vec![from, to],
            });
        }
    }
    findings
}

fn signed(value: f64) -> String {
    format!("{}{}", if value > 0.0 { "+" } else { "" }, number(value))
}

/// A number with its thousands apart and up to two decimals: `70,677.35`.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return "not known".into();
    }
    let text = format!("{:.2}", value.abs());
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    let mut written = String::new();
    if value < 0.0 {
        written.push('-');
    }
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            written.push(',');
        }
        written.push(digit);
    }
    let decimals = decimals.trim_end_matches('0');
    if !decimals.is_empty() {
        written.push('.');
        written.push_str(decimals);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            export_ratio: 1.0,
            value_factor: 2.0,
            source_difference: 0.01,
            vintage_change: 0.0,
            opening_stock_ct: BTreeMap::new(),
            years: None,
        }
    }

    fn figure(period: &str, measure: Measure, carats: f64) -> Figure {
        Figure {
            participant: Participant::of_code("CIV").unwrap(),
            period: ReportPeriod::parse(period).unwrap(),
            measure,
            carats,
            carats_rounding: 0.5,
            value_usd: None,
            source: "a table".into(),
            publisher: Publisher::Kp,
            release_date: None,
            note: String::new(),
        }
    }

    fn kinds(findings: &[Finding]) -> Vec<FindingKind> {
        findings.iter().map(|finding| finding.kind).collect()
    }

    fn of(finding: &Finding, name: &str) -> f64 {
        let number = finding.numbers.iter().find(|(what, _)| *what == name);
        number.unwrap().1
    }

    #[test]
    fn periods_are_years_halves_and_quarters() {
        let days = |text: &str| {
            let (from, until) = ReportPeriod::parse(text).unwrap().days();
            format!("{from} {until}")
        };
        assert_eq!(days("2024"), "2024-01-01 2024-12-31");
        assert_eq!(days("2024-S2"), "2024-07-01 2024-12-31");
        assert_eq!(days("2024-Q1"), "2024-01-01 2024-03-31");
        for text in ["2024", "2024-S1", "2024-Q4"] {
            assert_eq!(ReportPeriod::parse(text).unwrap().to_string(), text);
        }
        for text in ["24", "2024-Q5", "2024-q1", "+024", "2024-S3", "1066", ""] {
            assert_eq!(ReportPeriod::parse(text), None, "{text}");
        }
    }

    #[test]
    fn exports_above_production_show_the_sum_and_the_stock_that_lacks() {
        let figures = [
            figure("2015", Measure::Production, 100.0),
            figure("2015", Measure::Export, 160.0),
            figure("2016", Measure::Production, 100.0),
            figure("2016", Measure::Export, 90.0),
        ];
        let findings = check(&figures, &limits());
        assert_eq!(kinds(&findings), [FindingKind::ExportsAboveProduction]);
        let found = &findings[0];
        assert!((of(found, "ratio") - 1.25).abs() < 1e-12);
        assert!((of(found, "lacking_ct") - 50.0).abs() < 1e-12);
        for part in [
            "160 + 90 = 250 ct",
            "100 + 100 = 200 ct",
            "250 / 200 = 1.25",
            "not known, counted as 0",
            "imports not held",
            "by the end of 2015 60 ct were lacking",
        ] {
            assert!(
                found.arithmetic.contains(part),
                "{part}: {}",
                found.arithmetic
            );
        }
        // 60 ct in stock are enough, 59 are within the rounding of the first year's two figures.
        for (stock, is_found) in [(60.0, false), (59.0, false), (58.0, true)] {
            let mut limits = limits();
            limits.opening_stock_ct = BTreeMap::from([(("CIV".into(), 2015), stock)]);
            assert_eq!(!check(&figures, &limits).is_empty(), is_found, "{stock}");
        }
    }

    #[test]
    fn a_year_that_is_lacking_ends_a_window_and_is_not_zero() {
        let figures = [
            figure("2015", Measure::Production, 100.0),
            figure("2015", Measure::Export, 50.0),
            figure("2016", Measure::Export, 500.0),
            figure("2017", Measure::Production, 10.0),
            figure("2017", Measure::Export, 20.0),
        ];
        let findings = check(&figures, &limits());
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].periods.0.to_string(), "2017");
    }

    #[test]
    fn a_year_of_trade_is_the_sum_of_its_quarters() {
        let mut figures = vec![figure("2016", Measure::Production, 100.0)];
        for quarter in 1..4 {
            figures.push(figure(&format!("2016-Q{quarter}"), Measure::Export, 50.0));
        }
        assert!(check(&figures, &limits()).is_empty(), "a quarter lacks");
        figures.push(figure("2016-Q4", Measure::Export, 50.0));
        let findings = check(&figures, &limits());
        assert!((of(&findings[0], "ratio") - 2.0).abs() < 1e-12);
        // What came from elsewhere may go on.
        figures.push(figure("2016", Measure::Import, 100.0));
        assert!(check(&figures, &limits()).is_empty());
    }

    #[test]
    fn a_part_above_its_whole_cannot_be() {
        let mut quarter = figure("2019-Q1", Measure::Production, 5_628.4);
        quarter.publisher = Publisher::Press;
        let mut year = figure("2019", Measure::Production, 3_989.0);
        year.publisher = Publisher::National;
        let findings = impossible_parts(&[year.clone(), quarter.clone()]);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].rows, [1, 0]);
        assert!(
            findings[0].arithmetic.contains("5,628.4 ct")
                && findings[0].arithmetic.contains("1,639.4 ct more"),
            "{}",
            findings[0].arithmetic
        );
        // The publisher's own year goes before others.
        let mut own = figure("2019", Measure::Production, 9_000.0);
        own.publisher = Publisher::Press;
        assert!(impossible_parts(&[year, quarter, own]).is_empty());
    }

    #[test]
    fn parts_are_summed_and_rounding_is_allowed_for() {
        let quarters = |carats: [f64; 4]| -> Vec<Figure> {
            let mut figures = vec![figure("2019", Measure::Export, 100.0)];
            for (index, carats) in carats.into_iter().enumerate() {
                figures.push(figure(
                    &format!("2019-Q{}", index + 1),
                    Measure::Export,
                    carats,
                ));
            }
            figures
        };
        // Five figures, each within half a carat: 2.5 ct.
        assert!(check(&quarters([25.0, 25.0, 25.0, 27.0]), &limits()).is_empty());
        let above = check(&quarters([25.0, 25.0, 25.0, 28.0]), &limits());
        assert_eq!(kinds(&above), [FindingKind::PartsAboveWhole]);
        assert!(above[0].arithmetic.contains("25 + 25 + 25 + 28 = 103 ct"));
        let below = check(&quarters([25.0, 25.0, 25.0, 22.0]), &limits());
        assert_eq!(kinds(&below), [FindingKind::PartsBelowWhole]);
        assert!(impossible_parts(&quarters([25.0, 25.0, 25.0, 22.0])).is_empty());
        // Three quarters below the year are no finding: the fourth is not held.
        assert!(check(&quarters([25.0, 25.0, 25.0, 22.0])[..4], &limits()).is_empty());
    }

    #[test]
    fn a_value_per_carat_is_set_against_exports_and_other_years() {
        let valued = |period: &str, measure, value: f64| Figure {
            value_usd: Some(value),
            ..figure(period, measure, 10.0)
        };
        let same_year = [
            valued("2019", Measure::Production, 560.0),
            valued("2019", Measure::Export, 2_600.0),
        ];
        let findings = check(&same_year, &limits());
        assert_eq!(kinds(&findings), [FindingKind::ValuePerCaratJump]);
        assert!(findings[0].arithmetic.contains("4.64 times apart"));
        let years = [
            valued("2016", Measure::Production, 100.0),
            valued("2017", Measure::Production, 110.0),
            valued("2018", Measure::Production, 90.0),
            valued("2019", Measure::Production, 210.0),
        ];
        let findings = check(&years, &limits());
        assert_eq!(findings.len(), 1);
        assert!((of(&findings[0], "median_usd_per_ct") - 10.0).abs() < 1e-12);
        // Two years: only the year before can be compared with.
        let findings = check(&years[2..], &limits());
        assert!((of(&findings[0], "before_usd_per_ct") - 9.0).abs() < 1e-12);
    }

    #[test]
    fn vintages_are_ordered_by_release_and_else_by_import() {
        let released = |day: Option<&str>, carats| Figure {
            release_date: day.map(|day| day.parse().unwrap()),
            ..figure("2019", Measure::Production, carats)
        };
        let figures = [
            released(Some("2024-07-01"), 10.0),
            released(None, 20.0),
            released(Some("2023-07-01"), 30.0),
        ];
        assert_eq!(in_order_of_vintage(&figures, &[0, 1, 2]), [2, 0, 1]);
        let findings = check(&figures[1..], &limits());
        assert_eq!(kinds(&findings), [FindingKind::VintageChanged]);
        assert!(
            findings[0].arithmetic.contains("+10 ct = +50.0 %"),
            "{}",
            findings[0].arithmetic
        );
    }

    #[test]
    fn two_official_figures_are_shown_as_such() {
        let mut national = figure("2016", Measure::Production, 13_500_000.0);
        national.publisher = Publisher::National;
        let figures = [figure("2016", Measure::Production, 23_207_000.0), national];
        let findings = check(&figures, &limits());
        assert_eq!(kinds(&findings), [FindingKind::SourcesDiffer]);
        assert!(
            findings[0].arithmetic.contains("two official figures")
                && findings[0]
                    .arithmetic
                    .contains("13,500,000 / 23,207,000 = 0.58"),
            "{}",
            findings[0].arithmetic
        );
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        for (value, text) in [
            (70_677.35, "70,677.35"),
            (56.382, "56.38"),
            (1_000_000.0, "1,000,000"),
            (-12.5, "-12.5"),
            (0.0, "0"),
            (f64::INFINITY, "not known"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
