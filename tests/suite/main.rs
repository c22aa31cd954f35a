//! End-to-end tests of pitwatch: the program as a user starts it, on mirrors whose truth is known.

#![expect(
    clippy::unwrap_used,
    reason = "in a test, what cannot go on must stop, and the panic says where"
)]

mod assess;
mod bad_input;
mod bucket;
mod command_line;
mod deliver;
mod demo;
mod faults;
mod files;
mod finding;
mod layering;
mod ledger;
mod live;
mod memo;
mod pipelines;
mod reviews;
mod same_bytes;
mod schedule;
mod servers;
mod sites;
mod skill;
mod sources;
mod stats;
mod unseen;
