//! Progress bars, on a terminal only, and messages on standard error.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pitwatch_grid::format_time;
use serde_json::json;

use crate::cli::LogFormat;
use crate::publish;

/// How much a command says on standard error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    /// −1 quiet, 0 normal, 1 and more verbose.
    verbosity: i8,
    format: LogFormat,
}

/// One bar, or nothing.
pub(crate) struct Bar(ProgressBar);

impl Progress {
    pub(crate) fn new(verbosity: i8, format: LogFormat) -> Self {
        Self { verbosity, format }
    }

    /// A bar of `length` steps.
    pub(crate) fn bar(self, what: &str, length: u64) -> Bar {
        let is_shown = self.verbosity >= 0
            && self.format == LogFormat::Text
            && std::io::stderr().is_terminal();
        let target = if is_shown {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(length), target);
        // The template is a constant that a test renders; without it the bar would only look plainer.
        if let Ok(style) = ProgressStyle::with_template("{msg:32} {bar:30} {pos}/{len} {eta}") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        Bar(bar)
    }

    /// Says something unless the command is quiet.
    pub(crate) fn say(self, message: &str) {
        if self.verbosity >= 0 {
            self.write("info", message);
        }
    }

    /// Says something if the command is verbose.
    pub(crate) fn detail(self, message: &str) {
        if self.verbosity > 0 {
            self.write("debug", message);
        }
    }

    /// Says something in any case.
    pub(crate) fn warn(self, message: &str) {
        self.write("warning", message);
    }

    /// Says why the command ends.
    pub(crate) fn fail(self, message: &str) {
        self.write("error", message);
    }

    #[expect(clippy::print_stderr, reason = "the one place that writes messages")]
    fn write(self, level: &str, message: &str) {
        match (self.format, level) {
            (LogFormat::Json, _) => {
                let time = format_time(publish::now());
                eprintln!(
                    "{}",
                    json!({"time": time, "level": level, "message": message})
                );
            }
            (LogFormat::Text, "warning" | "error") => eprintln!("{level}: {message}"),
            (LogFormat::Text, _) => eprintln!("{message}"),
        }
    }
}

impl Bar {
    pub(crate) fn set(&self, position: u64) {
        self.0.set_position(position);
    }

    pub(crate) fn step(&self) {
        self.0.inc(1);
    }

    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
