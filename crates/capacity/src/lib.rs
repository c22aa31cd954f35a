//! Carats that the mapped digging could have yielded: the fifth stage.
//!
//! Mapped areas and what is known of a deposit come in; carats go out. So far this is the pit form alone, for single values:
//!
//! ```
//! use pitwatch_capacity::{Carats, Hectares, PitFactors, carats_from_pits};
//!
//! let factors = PitFactors {
//!     probability: 0.9, dug_share: 0.5, gravel_thickness_m: 0.5, extracted_share: 0.8,
//!     grade_ct_per_m3: 0.6, recovery: 1.0, diamond_share: 1.0, omitted_share: 0.1,
//! };
//! let Carats(carats) = carats_from_pits(Hectares(1.0), &factors)?;
//! assert!((carats - 1200.0).abs() < 1e-9);
//! # Ok::<(), pitwatch_capacity::Error>(())
//! ```

mod activity;
mod assessment;
mod compare;
mod draw;
mod error;
mod evidence;
mod lag;
mod olofsson;
mod params;
mod participant;
mod pit;
mod pits;
mod prior;
mod routes;
mod statistics;

pub use activity::{change_disagreements, month_activity};
pub use assessment::{
    Assessment, ChangeDisagreement, Comparison, Estimate, Flag, Ground, MonthActivity, MonthState,
    Quantiles, RelativeSignal, ReportedAmount, Route, RouteEstimate, Scope, Sensitivity, Verdict,
};
pub use compare::assess;
pub use error::{Error, Result};
pub use evidence::{AreaEvidence, Dyke, FalseArea, MonthLooks, Season, Site};
pub use lag::Lag;
pub use olofsson::{SampleArea, Stratum, sample_area};
pub use params::{MeasuredDepth, MeasuredDyke, Params};
pub use participant::{Participant, without_accents};
pub use pit::{Carats, Hectares, OmittedShare, PitFactors, carats_from_pits};
pub use prior::{
    AreaPriors, Chosen, CountryPriors, Deposit, Distribution, Documented, Factor, Overrides,
    Plausible, Prior, Priors, SourceClass,
};
pub use statistics::{
    Figure, Finding, FindingKind, Limits, Measure, Publisher, ReportPeriod, check,
    impossible_parts, in_order_of_vintage,
};
