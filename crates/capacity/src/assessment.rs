use pitwatch_grid::Day;

/// What an assessment speaks of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// One area, by its id: `civ-seguela`.
    Area(String),
    /// The areas of one country, by its ISO 3166-1 alpha-3 code: `CIV`.
    Country(String),
}

/// How carats were estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// From newly dug ground on imagery.
    Pits,
    /// From miners, days, gravel moved and grade.
    Labor,
    /// A published capacity or plant throughput: documented, not seen.
    Documented,
}

impl Route {
    /// The name that outputs print.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pits => "pits",
            Self::Labor => "labor",
            Self::Documented => "documented, not seen",
        }
    }
}

/// Five quantiles of a distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantiles {
    /// 5 % lie below.
    pub p5: f64,
    /// 10 % lie below.
    pub p10: f64,
    /// Half lies below.
    pub p50: f64,
    /// 90 % lie below.
    pub p90: f64,
    /// 95 % lie below.
    pub p95: f64,
}

/// A value with the ends of its interval of 90 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The median.
    pub value: f64,
    /// 5 % lie below.
    pub lo: f64,
    /// 95 % lie below.
    pub hi: f64,
}

/// What one route says of the reporting period.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteEstimate {
    /// The route.
    pub route: Route,
    /// Carats of the reporting period.
    pub carats: Quantiles,
    /// Where a documented capacity was published; `None` for the other routes.
    pub citation: Option<String>,
}

/// What the reported figure is, as far as a verdict can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Reported lies within what was implied.
    Within,
    /// Reported exceeds what was implied.
    Above,
    /// Reported falls short of what was implied.
    Below,
    /// The evidence does not allow a verdict; the reasons say why.
    NotAssessable,
}

impl Verdict {
    /// The words that outputs print.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Within => "within",
            Self::Above => "above",
            Self::Below => "below",
            Self::NotAssessable => "not assessable",
        }
    }
}

/// A reported figure of one vintage, to be compared.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportedAmount {
    /// Whom the figure speaks of.
    pub scope: Scope,
    /// First and last day of the period it is for.
    pub period: (Day, Day),
    /// Carats.
    pub carats: f64,
    /// Half the last digit printed, in carats: the figure lies within ± this.
    pub carats_rounding: f64,
    /// `production`, `exports`, `sales`.
    pub measure: String,
    /// Where it was published.
    pub source: String,
    /// `kp`, `national`, `press`.
    pub source_class: String,
    /// Day it was released; `None` = not known.
    pub release_date: Option<Day>,
    /// Vintages that are held of this figure.
    pub n_vintages: usize,
    /// Carats reported by the same source for the period of the same length before; `None` = not held.
    pub previous_carats: Option<f64>,
}

/// The change of digging from the season before, in which grade cancels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RelativeSignal {
    /// Adjusted area of this season over that of the season before; unitless.
    pub index: Estimate,
    /// Reported carats over those of the period before; unitless, `None` = not held.
    pub reported_change: Option<f64>,
    /// Whether the index's interval excludes 1: only then may a direction be stated.
    pub is_change: bool,
}

/// The reported figure against what was implied.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The figure.
    pub reported: ReportedAmount,
    /// The route that the verdict rests on; `None` = no route gave a number.
    pub route: Option<Route>,
    /// Reported over implied; unitless. `None` = nothing implied.
    pub ratio: Option<Estimate>,
    /// Probability that the reported figure exceeds what was implied, 0 to 1.
    pub p_above: Option<f64>,
    /// Probability that it falls short, 0 to 1.
    pub p_below: Option<f64>,
    /// The two-sided error probability of calling it outside, corrected by Benjamini and Hochberg over the run, 0 to 1.
    pub q: Option<f64>,
    /// The same before the correction.
    pub p_two_sided: Option<f64>,
    /// Hectares of new digging that the reported figure would need, once everything dug is seen.
    pub hectares_needed: Option<Quantiles>,
    /// Whether the verdict is the same with the lag a month shorter and a month longer.
    pub is_stable: bool,
}

/// How strongly one unknown moves the result.
#[derive(Debug, Clone, PartialEq)]
pub struct Sensitivity {
    /// The unknown, with its area: `civ-seguela: grade`.
    pub factor: String,
    /// Spearman's rank correlation with the implied carats, −1 to 1.
    pub rank_correlation: f64,
    /// Its square over the sum of squares: the share of the spread that it accounts for, 0 to 1.
    pub share: f64,
}

/// Something a reader must know of a number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    /// A prior that is a placeholder: nobody has backed it.
    PlaceholderPrior {
        /// Its path in the file: `deposit.high-terrace.grade`.
        path: String,
    },
    /// A prior without a source.
    UnsourcedPrior {
        /// Its path.
        path: String,
    },
    /// A prior outside the plausible range of its factor.
    ImplausiblePrior {
        /// Its path.
        path: String,
        /// The range, in words.
        range: String,
    },
    /// A prior that the user replaced.
    OverriddenPrior {
        /// Its path.
        path: String,
        /// What it was, in words.
        was: String,
        /// What it is, in words.
        is: String,
    },
    /// Two routes whose medians lie more than the stated factor apart: doubt the parameters first.
    RoutesApart {
        /// The greater median over the lesser.
        ratio_rounded: u64,
    },
    /// The omitted share was not measured: the implied carats are a lower bound.
    OmittedShareNotMeasured {
        /// The area.
        area_id: String,
    },
    /// The area's own false area was not measured.
    FalseAreaNotMeasured {
        /// The area.
        area_id: String,
    },
    /// The false area is an upper bound: the replay may have found true digging.
    FalseAreaIsUpperBound {
        /// The area.
        area_id: String,
    },
    /// Volumes rest on depths or trenches that were measured.
    MeasuredVolume {
        /// The area.
        area_id: String,
    },
    /// No object was found: what may be there lies below the detection limit.
    NoneFound {
        /// The area.
        area_id: String,
    },
    /// The diamond share has no source: the number is an upper bound.
    UpperBoundNoDiamondShare {
        /// The area.
        area_id: String,
    },
    /// A watched area that did not enter the sum, with the reason.
    LeftOut {
        /// The area.
        area_id: String,
        /// Why, as a sentence.
        reason: String,
    },
}

impl Flag {
    /// The flag as a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::PlaceholderPrior { path } => format!("{path} is a placeholder."),
            Self::UnsourcedPrior { path } => format!("{path} has no source."),
            Self::ImplausiblePrior { path, range } => {
                format!("{path} reaches outside the plausible range, {range}.")
            }
            Self::OverriddenPrior { path, was, is } => {
                format!("{path} was replaced by the user: {was} became {is}.")
            }
            Self::RoutesApart { ratio_rounded } => {
                format!(
                    "The routes lie {ratio_rounded} times apart: doubt the parameters before the report."
                )
            }
            Self::OmittedShareNotMeasured { area_id } => {
                format!("{area_id}: omitted share not measured: lower bound.")
            }
            Self::FalseAreaNotMeasured { area_id } => {
                format!(
                    "{area_id}: the false area was not measured; the objects' probabilities alone count."
                )
            }
            Self::FalseAreaIsUpperBound { area_id } => {
                format!(
                    "{area_id}: the false area is an upper bound: all that a replay of the history found is taken for false, true digging too."
                )
            }
            Self::MeasuredVolume { area_id } => {
                format!(
                    "{area_id}: volumes rest on measured depths or dyke trenches, whose sources the pipeline file names."
                )
            }
            Self::NoneFound { area_id } => {
                format!(
                    "{area_id}: no object was found; what may be there lies below the detection limit."
                )
            }
            Self::UpperBoundNoDiamondShare { area_id } => {
                format!("{area_id}: the share of pits dug for diamonds is not known: upper bound.")
            }
            Self::LeftOut { area_id, reason } => format!("{area_id} is not in the sum: {reason}"),
        }
    }
}

/// The mapped ground that an assessment rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Ground {
    /// Hectares as mapped, before any factor, with the ends of the edge's uncertainty. 0 = looked and none found.
    pub mapped_ha: Estimate,
    /// Hectares of excavation after commission and omission.
    pub adjusted_ha: Estimate,
    /// Hectares that are false alarms as measured; `None` = not measured.
    pub false_ha: Option<Estimate>,
    /// The omitted share; `None` = not measured, or dropped because the area was adjusted by a reviewed sample.
    pub omitted_share: Option<Estimate>,
    /// Whether a reviewed sample gave the area (Olofsson), so that probability and omitted share were dropped.
    pub is_sample_adjusted: bool,
    /// Objects.
    pub n_sites: usize,
    /// Share of the area that was observed, 0 to 1.
    pub observed_share: f64,
    /// Clear looks in the season, median over the area; `None` = not known.
    pub n_clear: Option<u32>,
}

/// What the evidence of one area or country and one reporting period amounts to.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// Whom it speaks of.
    pub scope: Scope,
    /// The country, ISO 3166-1 alpha-3.
    pub country: String,
    /// The areas that entered.
    pub area_ids: Vec<String>,
    /// First and last day of the reporting period.
    pub period: (Day, Day),
    /// First and last day of the digging that feeds the period; `None` without imagery.
    pub digging: Option<(Day, Day)>,
    /// Share of that digging, weighted by the lag, that was monitored, 0 to 1; `None` without imagery.
    pub watched_share: Option<f64>,
    /// Of a country: share of its listed fields that were watched, 0 to 1; `None` for an area.
    pub fields_watched_share: Option<f64>,
    /// What each route says, best first; empty where none applies.
    pub routes: Vec<RouteEstimate>,
    /// The carats that the verdict rests on: those of the first route.
    pub implied: Option<Quantiles>,
    /// The mapped ground; `None` without imagery.
    pub ground: Option<Ground>,
    /// The change from the season before; `None` = one season only.
    pub relative: Option<RelativeSignal>,
    /// Against the reported figure; `None` = nothing was reported, or not held.
    pub comparison: Option<Comparison>,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, one sentence each.
    pub reasons: Vec<String>,
    /// What a reader must know of the numbers; sorted, without repeats.
    pub flags: Vec<Flag>,
    /// The unknowns that matter, the strongest first.
    pub sensitivity: Vec<Sensitivity>,
}

/// What one month of one area looked like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MonthState {
    /// New digging was dated to it.
    Active,
    /// At least two clear looks and no new digging above the detection limit; never "no mining".
    Inactive,
    /// Too few clear looks to tell, or the detection limit is not known.
    NotObservable,
}

/// One month of one area.
#[derive(Debug, Clone, PartialEq)]
pub struct MonthActivity {
    /// The area.
    pub area_id: String,
    /// Year.
    pub year: i32,
    /// Month, 1 to 12.
    pub month: u32,
    /// What it looked like.
    pub state: MonthState,
    /// Clear looks, median over the area.
    pub n_clear: u32,
    /// Hectares of the objects dated to it.
    pub mapped_ha: f64,
    /// Detection limit in hectares; `None` = not measured.
    pub min_detectable_ha: Option<f64>,
}

/// A participant whose reported and visible change disagree: a line for the statistics group's yearly questionnaire.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeDisagreement {
    /// The country or area.
    pub scope: Scope,
    /// The reporting period.
    pub period: (Day, Day),
    /// Reported carats and those of the period before.
    pub reported_carats: (f64, f64),
    /// Reported over the period before; unitless.
    pub reported_change: f64,
    /// Digging over the season before; unitless.
    pub visible_change: Estimate,
    /// The arithmetic in words.
    pub sentence: String,
}
