//! Prints how often the interval of 90 % holds the truth, as the table of docs/capacity.md:
//!
//! `cargo run --release -p pitwatch-capacity --example coverage`
#![allow(
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a table, from a simulation"
)]

mod simulation;

use pitwatch_capacity::Factor;
use simulation::{Shift, coverage};

fn main() {
    let right = Shift {
        factor: None,
        by: 1.0,
        told_omitted: 1.0,
        knows_false_area: true,
    };
    let off = |factor, by| Shift {
        factor: Some(factor),
        by,
        ..right
    };
    println!("| the truth | seasons | carats | hectares |");
    println!("| --- | --- | --- | --- |");
    for (name, shift) in [
        ("as the priors say", right),
        (
            "false area not measured, probabilities alone",
            Shift {
                knows_false_area: false,
                ..right
            },
        ),
        ("grade × 2", off(Factor::Grade, 2.0)),
        ("grade × ½", off(Factor::Grade, 0.5)),
        ("gravel thickness × 2", off(Factor::GravelThickness, 2.0)),
        ("gravel thickness × ½", off(Factor::GravelThickness, 0.5)),
        ("dug share × ½", off(Factor::DugShare, 0.5)),
        ("recovery × ½", off(Factor::Recovery, 0.5)),
        (
            "omitted share told as 0",
            Shift {
                told_omitted: 0.0,
                ..right
            },
        ),
        (
            "omitted share told × 2",
            Shift {
                told_omitted: 2.0,
                ..right
            },
        ),
    ] {
        let coverage = coverage(2_000, 4_000, shift);
        println!(
            "| {name} | {} | {:.3} | {:.3} |",
            coverage.n, coverage.carats, coverage.hectares
        );
    }
}
