use std::fmt::Write;

use pitwatch_capacity::{Assessment, Estimate, Flag, Quantiles, Scope, Verdict};
use pitwatch_grid::Day;

use crate::assessment::{is_seen, period_name};

/// What a page says beside its assessment.
#[derive(Debug, Clone, Copy)]
pub struct PageContext<'a> {
    /// The area's or country's name, as people write it.
    pub name: &'a str,
    /// The run.
    pub run_id: &'a str,
    /// Day of the newest look; `None` without imagery.
    pub last_look: Option<Day>,
    /// The smallest pit that could have been seen, in hectares; `None` = not measured.
    pub min_detectable_ha: Option<f64>,
    /// True if it was measured; without a size then no size that was tried is found often enough.
    pub is_limit_measured: bool,
    /// The notice of the imagery's license.
    pub notice: &'a str,
}

/// A page of Markdown on one comparison, for a reader who knows neither imagery nor statistics: verdict, number, range and date
/// come first, then what was looked at, what could not be seen, the arithmetic and the sources.
#[must_use]
pub fn comparison_page(assessment: &Assessment, context: &PageContext<'_>) -> String {
    let mut page = String::new();
    let mut line = |text: &str| {
        page.push_str(text);
        page.push('\n');
    };
    let period = period_name(assessment.period);
    line(&format!("# {}, {period}", context.name));
    line("");
    line(&format!("**{}**", headline(assessment)));
    line("");
    line(&answer(assessment, context));
    line("");
    if assessment.verdict != Verdict::NotAssessable {
        line("Nothing here says who dug, who sold, or why the two differ.");
        line("");
    }
    line("## Why");
    line("");
    for reason in &assessment.reasons {
        line(&format!("- {reason}"));
    }
    line("");
    line("## The numbers");
    line("");
    line("| what | value | 90 % range |");
    line("|---|---|---|");
    for row in rows(assessment, context) {
        line(&row);
    }
    line("");
    let open: Vec<String> = assessment.flags.iter().map(Flag::sentence).collect();
    if !open.is_empty() {
        line("## What these numbers rest on that is not sure");
        line("");
        for sentence in open {
            line(&format!("- {sentence}"));
        }
        line("");
    }
    if !assessment.sensitivity.is_empty() {
        line("## Which unknown matters most");
        line("");
        for one in &assessment.sensitivity {
            line(&format!(
                "- {}: {:.0} % of the spread",
                one.factor,
                100.0 * one.share
            ));
        }
        line("");
    }
    line("## Where this comes from");
    line("");
    if let Some(comparison) = &assessment.comparison {
        let reported = &comparison.reported;
        let released = reported
            .release_date
            .map_or_else(|| "on a day not known".into(), |day| format!("on {day}"));
        line(&format!(
            "- Reported figure: {} ({}), released {released}; {} held of it.",
            reported.source,
            reported.source_class,
            counted(reported.n_vintages, "vintage")
        ));
    }
    for citation in assessment
        .routes
        .iter()
        .filter_map(|route| route.citation.as_ref())
    {
        line(&format!("- Published capacity: {citation}."));
    }
    line(&format!(
        "- Run {}{}. The formulae stand in docs/capacity.md; every value can be changed and the run repeated.",
        context.run_id,
        context
            .last_look
            .map_or_else(String::new, |day| format!(", newest look {day}"))
    ));
    if !context.notice.is_empty() {
        line(&format!("- {}.", context.notice.trim_end_matches('.')));
    }
    page
}

/// The verdict as a sentence.
fn headline(assessment: &Assessment) -> &'static str {
    match assessment.verdict {
        Verdict::Within => "The reported carats fit what was dug: within.",
        Verdict::Above => "More carats were reported than the digging could have yielded: above.",
        Verdict::Below => "Fewer carats were reported than the digging implies: below.",
        Verdict::NotAssessable => "Cannot tell: not assessable.",
    }
}

/// Number, range and date in two sentences.
fn answer(assessment: &Assessment, context: &PageContext<'_>) -> String {
    let mut text = String::new();
    let is_seen = assessment
        .routes
        .first()
        .is_some_and(|first| is_seen(first.route));
    if let Some(Quantiles { p5, p50, p95, .. }) = assessment.implied {
        let [p5, p50, p95] = [p5, p50, p95].map(rough);
        if is_seen {
            let _ = write!(
                text,
                "What was newly dug could have yielded about **{p50} carats**, and with a probability of 90 % between {p5} and {p95}."
            );
        } else {
            let label = assessment.routes.first().map_or("", |r| r.route.label());
            let _ = write!(
                text,
                "The capacity ({label}) is about **{p50} carats**, with a probability of 90 % between {p5} and {p95}."
            );
        }
    } else {
        text.push_str("How many carats the digging could have yielded cannot be said.");
    }
    match &assessment.comparison {
        Some(comparison) => {
            let reported = &comparison.reported;
            let _ = write!(
                text,
                " Reported as {} were **{} carats**.",
                reported.measure,
                grouped(reported.carats.round())
            );
            if let Some(Quantiles { p5, p50, p95, .. }) = comparison.hectares_needed {
                let _ = write!(
                    text,
                    " That many would need about {} hectares of new digging ({} to {}).",
                    rough(p50),
                    rough(p5),
                    rough(p95)
                );
            }
        }
        None => text.push_str(" No reported figure is held for this period."),
    }
    if let Some(day) = context.last_look {
        let _ = write!(text, " The imagery ends on {day}.");
    }
    text
}

fn rows(assessment: &Assessment, context: &PageContext<'_>) -> Vec<String> {
    let mut rows = Vec::new();
    let mut row = |what: &str, value: String, range: String| {
        rows.push(format!("| {what} | {value} | {range} |"));
    };
    let range = |e: Estimate| format!("{} to {}", rough(e.lo), rough(e.hi));
    let unknown = || "not measured".to_owned();
    // First the change of digging, in which the grade cancels; then carats.
    if let Some(relative) = assessment.relative {
        row(
            "digging over the season before",
            rough(relative.index.value),
            range(relative.index),
        );
        if let Some(change) = relative.reported_change {
            row(
                "reported over the period before",
                rough(change),
                String::new(),
            );
        }
    }
    for route in &assessment.routes {
        row(
            &format!("carats implied ({})", route.route.label()),
            rough(route.carats.p50),
            format!("{} to {}", rough(route.carats.p5), rough(route.carats.p95)),
        );
    }
    if let Some(comparison) = &assessment.comparison {
        row(
            &format!("carats reported ({})", comparison.reported.measure),
            grouped(comparison.reported.carats.round()),
            String::new(),
        );
        if let Some(ratio) = comparison.ratio {
            row("reported over implied", rough(ratio.value), range(ratio));
        }
        if let (Some(above), Some(below)) = (comparison.p_above, comparison.p_below) {
            row(
                "probability that reported exceeds implied, falls short",
                format!("{above:.2}, {below:.2}"),
                String::new(),
            );
        }
        if let (Some(raw), Some(q)) = (comparison.p_two_sided, comparison.q) {
            row(
                "chance of so odd a figure, corrected for all comparisons of the run",
                format!("{raw:.3}, {q:.3}"),
                String::new(),
            );
        }
    }
    if let Some(ground) = &assessment.ground {
        row(
            &format!("hectares mapped, {}", counted(ground.n_sites, "object")),
            rough(ground.mapped_ha.value),
            range(ground.mapped_ha),
        );
        row(
            "hectares after false alarms and misses",
            rough(ground.adjusted_ha.value),
            range(ground.adjusted_ha),
        );
        row(
            "hectares of false alarms to expect",
            ground.false_ha.map_or_else(unknown, |e| rough(e.value)),
            ground.false_ha.map_or_else(String::new, range),
        );
        if !ground.is_sample_adjusted {
            row(
                "share of the digging that is missed",
                ground
                    .omitted_share
                    .map_or_else(unknown, |e| rough(e.value)),
                ground.omitted_share.map_or_else(String::new, range),
            );
        }
        row(
            "smallest pit that is found, hectares",
            match context.min_detectable_ha {
                Some(ha) => rough(ha),
                None if context.is_limit_measured => "no size that was tried".to_owned(),
                None => unknown(),
            },
            String::new(),
        );
        row(
            "share of the area that was seen often enough",
            format!("{:.0} %", 100.0 * ground.observed_share),
            String::new(),
        );
    }
    if let Some(share) = assessment.watched_share {
        row(
            "share of the digging season that was watched",
            format!("{:.0} %", 100.0 * share),
            String::new(),
        );
    }
    if let (Scope::Country(_), Some(share)) = (&assessment.scope, assessment.fields_watched_share) {
        row(
            "share of the country's fields that were watched",
            format!("{:.0} %", 100.0 * share),
            String::new(),
        );
    }
    rows
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// A number to two digits, three above a hundred, with its thousands apart: what an estimate bears.
fn rough(value: f64) -> String {
    if !value.is_finite() {
        return "not known".into();
    }
    if value == 0.0 {
        return "0".into();
    }
    let size = value.abs().log10().floor();
    let digits = if size >= 2.0 { 2.0 } else { 1.0 };
    let step = 10f64.powf(size - digits);
    let rounded = (value / step).round() * step;
    if rounded.abs() >= 100.0 {
        grouped(rounded)
    } else {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most some twenty decimals"
        )]
        let decimals = (digits - size).clamp(0.0, 20.0) as usize;
        let text = format!("{rounded:.decimals$}");
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        }
    }
}

/// A whole number with its thousands apart: `3,969`.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 {
        text.insert(0, '-');
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use pitwatch_capacity::{
        Comparison, Ground, ReportedAmount, Route, RouteEstimate, Sensitivity,
    };

    use super::*;

    /// Côte d'Ivoire's reported production of 2022 against 3.5 hectares in Séguéla, as an example with round numbers.
    pub(crate) fn seguela_2022() -> Assessment {
        let carats = Quantiles {
            p5: 1_190.0,
            p10: 1_540.0,
            p50: 3_941.0,
            p90: 10_020.0,
            p95: 12_880.0,
        };
        let estimate = |value, lo, hi| Estimate { value, lo, hi };
        let scope = Scope::Area("civ-seguela".into());
        let period = ("2022-01-01".parse().unwrap(), "2022-12-31".parse().unwrap());
        Assessment {
            scope: scope.clone(),
            country: "CIV".into(),
            area_ids: vec!["civ-seguela".into()],
            period,
            digging: Some(("2021-11-01".parse().unwrap(), "2022-10-31".parse().unwrap())),
            watched_share: Some(0.97),
            fields_watched_share: None,
            routes: vec![RouteEstimate {
                route: Route::Pits,
                carats,
                citation: None,
            }],
            implied: Some(carats),
            ground: Some(Ground {
                mapped_ha: estimate(3.2, 2.6, 3.8),
                adjusted_ha: estimate(3.5, 2.4, 4.9),
                false_ha: Some(estimate(0.4, 0.0, 1.2)),
                omitted_share: Some(estimate(0.3, 0.22, 0.4)),
                is_sample_adjusted: false,
                n_sites: 21,
                observed_share: 0.93,
                n_clear: Some(14),
            }),
            relative: None,
            comparison: Some(Comparison {
                reported: ReportedAmount {
                    scope,
                    period,
                    carats: 3_969.0,
                    carats_rounding: 0.5,
                    measure: "production".into(),
                    source: "national figure".into(),
                    source_class: "kp".into(),
                    release_date: None,
                    n_vintages: 1,
                    previous_carats: None,
                },
                route: Some(Route::Pits),
                ratio: Some(estimate(1.007, 0.31, 3.3)),
                p_above: Some(0.51),
                p_below: Some(0.49),
                q: Some(0.98),
                p_two_sided: Some(0.98),
                hectares_needed: Some(Quantiles {
                    p5: 1.08,
                    p10: 1.4,
                    p50: 3.49,
                    p90: 9.0,
                    p95: 11.6,
                }),
                is_stable: true,
            }),
            verdict: Verdict::Within,
            reasons: vec!["The reported figure lies within the 90 % interval.".into()],
            flags: vec![Flag::PlaceholderPrior {
                path: "deposit.seguela.dug_share".into(),
            }],
            sensitivity: vec![Sensitivity {
                factor: "civ-seguela: grade".into(),
                rank_correlation: 0.7,
                share: 0.55,
            }],
        }
    }

    fn context() -> PageContext<'static> {
        PageContext {
            name: "Séguéla",
            run_id: "20221229-0123456789ab",
            last_look: Some("2022-12-29".parse().unwrap()),
            min_detectable_ha: None,
            is_limit_measured: false,
            notice: "Contains modified Copernicus Sentinel data 2022",
        }
    }

    #[test]
    fn a_lay_reader_finds_verdict_number_range_and_date_first() {
        insta::assert_snapshot!(comparison_page(&seguela_2022(), &context()));
    }

    #[test]
    fn what_cannot_be_told_has_no_number() {
        let assessment = Assessment {
            verdict: Verdict::NotAssessable,
            routes: Vec::new(),
            implied: None,
            comparison: None,
            ..seguela_2022()
        };
        let page = comparison_page(&assessment, &context());
        assert!(page.contains("Cannot tell"), "{page}");
        assert!(page.contains("cannot be said"), "{page}");
        assert!(!page.contains("carats implied"), "{page}");
    }

    #[test]
    fn numbers_have_as_many_digits_as_they_bear() {
        for (value, text) in [
            (3_941.0, "3,940"),
            (1_137.4, "1,140"),
            (12.34, "12"),
            (3.49, "3.5"),
            (0.0312, "0.031"),
            (0.0, "0"),
            (99.96, "100"),
            (1_234_567.0, "1,230,000"),
            (f64::NAN, "not known"),
        ] {
            assert_eq!(rough(value), text, "{value}");
        }
        assert_eq!(grouped(3_969.0), "3,969");
    }
}
