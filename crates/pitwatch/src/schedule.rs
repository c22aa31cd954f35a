//! Runs at set times, in the foreground: for those who have no scheduler.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use croner::Cron;
use croner::parser::{CronParser, Seconds};
use pitwatch_grid::{UtcTime, format_time};

use crate::cli::WatchArgs;
use crate::deliver::{self, Delivered};
use crate::exit::{self, DONE, Problem};
use crate::progress::Progress;
use crate::{pipeline_of, publish, run_once, say, start_threads, stop, webhook};

/// How often the clock is looked at while nothing is to do; a machine that slept goes on at the next time.
const NAP: Duration = Duration::from_millis(500);

/// Runs a pipeline at the times of a cron expression until it is asked to stop.
///
/// A run that fails is told, and the next one comes at its time. What passes while a run goes on is left out.
///
/// # Errors
///
/// If the expression, the pipeline or the file of endpoints cannot be used when it begins, or it is asked to stop within a run.
pub(crate) fn watch(args: &WatchArgs, progress: Progress) -> Result<u8> {
    let cron = parse(&args.cron)?;
    let _ = pipeline_of(&args.line.input)?;
    if let Some(file) = &args.deliver {
        for endpoint in webhook::read(file)? {
            endpoint.signer()?;
        }
    }
    stop::listen()?;
    let jobs = start_threads(args.line.work.jobs)?;
    let mut is_now = args.now;
    loop {
        if !is_now {
            let next = next_time(&cron, publish::now())?;
            progress.say(&format!("the next run is at {}", format_time(next)));
            while publish::now() < next {
                if stop::is_asked() {
                    progress.say("stopped as asked");
                    return Ok(DONE);
                }
                let left = (next - publish::now()).to_std().unwrap_or_default();
                sleep(left.min(NAP));
            }
        }
        is_now = false;
        match run_once(&args.line, jobs, true, false, publish::now(), progress) {
            Ok(DONE) => {}
            Ok(code) => progress.warn(&format!("the run ended with {code}")),
            Err(error) if stop::is_asked() => return Err(error),
            Err(error) => {
                let code = exit::code_of(&error);
                progress.fail(&format!("the run ended with {code}: {error:#}"));
            }
        }
        if let Some(file) = &args.deliver {
            match deliver::deliver(&args.line.out, file, progress) {
                Ok(delivered) => delivered
                    .iter()
                    .map(Delivered::to_text)
                    .try_for_each(|text| say(&text))?,
                Err(error) => progress.fail(&format!("the delivery failed: {error:#}")),
            }
        }
    }
}

fn parse(text: &str) -> Result<Cron> {
    CronParser::builder()
        .seconds(Seconds::Optional)
        .build()
        .parse(text)
        .map_err(|error| {
            anyhow!("--cron {text:?}: {error}; write minute, hour, day of the month, month, day of the week, such as \"0 3 * * *\"")
        })
        .context(Problem::Configuration)
}

fn next_time(cron: &Cron, now: UtcTime) -> Result<UtcTime> {
    cron.find_next_occurrence(&now, false)
        .map_err(|error| anyhow!("--cron: {error}; it names no time to come"))
        .context(Problem::Configuration)
}

#[cfg(test)]
mod tests {
    use pitwatch_grid::parse_time;

    use super::*;

    #[test]
    fn times_are_those_of_the_expression_in_utc() {
        let next = |cron: &str, now: &str| {
            let next = next_time(&parse(cron).unwrap(), parse_time(now).unwrap()).unwrap();
            format_time(next)
        };
        let now = "2026-02-28T03:00:00Z";
        assert_eq!(next("0 3 * * *", now), "2026-03-01T03:00:00Z");
        assert_eq!(next("30 4 * * MON,THU", now), "2026-03-02T04:30:00Z");
        assert_eq!(next("0 0 1 */2 *", now), "2026-03-01T00:00:00Z");
        assert_eq!(next("*/10 * * * * *", now), "2026-02-28T03:00:10Z");
        for wrong in ["", "at three", "61 3 * * *", "0 3 * *", "0 0 3 * * * * *"] {
            let error = parse(wrong).unwrap_err();
            assert_eq!(exit::code_of(&error), 3, "{wrong}");
        }
        // 30 February.
        assert!(next_time(&parse("0 0 30 2 *").unwrap(), parse_time(now).unwrap()).is_err());
    }
}
