//! Exit codes, which schedulers rely on.

use std::fmt;

/// Done; what is published is complete.
pub(crate) const DONE: u8 = 0;
/// Some scenes or cells failed; the rest is published.
pub(crate) const PARTIAL: u8 = 4;
/// Events are not delivered yet, or never will be without a replay.
pub(crate) const UNDELIVERED: u8 = 7;
/// There are new alerts (only with `--exit-code`).
pub(crate) const NEW_ALERTS: u8 = 10;
/// Stopped by a signal.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why a command ended without a result. Attached to an error as context, it sets the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    /// A pipeline, area or statistics file cannot be used.
    Configuration,
    /// No source of scenes can be reached, or none has a usable scene.
    NoSource,
    /// An output is not valid.
    InvalidOutput,
    /// Another run holds the output folder.
    Locked,
    /// It was asked to stop.
    Interrupted,
}

impl Problem {
    /// The exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Configuration => 3,
            Self::NoSource => 5,
            Self::InvalidOutput => 6,
            Self::Locked => 75,
            Self::Interrupted => INTERRUPTED,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Configuration => "the configuration cannot be used",
            Self::NoSource => "there are no scenes to read",
            Self::InvalidOutput => "an output is not valid",
            Self::Locked => "another run holds the output folder",
            Self::Interrupted => "stopped as asked",
        })
    }
}

/// The exit code of an error: its problem's, or 1 for what is none of them.
pub(crate) fn code_of(error: &anyhow::Error) -> u8 {
    error
        .downcast_ref::<Problem>()
        .map_or(1, |problem| problem.code())
}
