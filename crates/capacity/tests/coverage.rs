//! The interval of 90 % holds the truth about nine times in ten where the priors are right, and less where they are not.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    unreachable_pub,
    reason = "a simulation that the example shares"
)]

#[path = "../examples/coverage/simulation.rs"]
mod simulation;

use pitwatch_capacity::Factor;
use simulation::{Shift, coverage};

const RIGHT: Shift = Shift {
    factor: None,
    by: 1.0,
    told_omitted: 1.0,
    knows_false_area: true,
};

#[test]
fn the_interval_covers_the_truth_of_1000_seasons() {
    let coverage = coverage(1_000, 2_000, RIGHT);
    assert!((0.87..=0.93).contains(&coverage.carats), "{coverage:?}");
}

#[test]
fn a_grade_twice_as_high_costs_coverage() {
    let coverage = coverage(
        500,
        2_000,
        Shift {
            factor: Some(Factor::Grade),
            by: 2.0,
            ..RIGHT
        },
    );
    assert!(coverage.carats < 0.86, "{coverage:?}");
}
