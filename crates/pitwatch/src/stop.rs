//! Being asked to stop: what is in hand is brought to its end, and the next run goes on from there.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, anyhow};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::exit::{INTERRUPTED, Problem};

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on SIGTERM and SIGINT ask to stop; a second one ends the program at once, which loses nothing but work.
///
/// # Errors
///
/// If the system does not allow it.
pub(crate) fn listen() -> Result<()> {
    let asked = ASKED.get_or_init(Arc::default);
    for signal in [SIGTERM, SIGINT] {
        // In this order: the first signal finds the flag not set.
        flag::register_conditional_shutdown(signal, i32::from(INTERRUPTED), Arc::clone(asked))
            .and_then(|_| flag::register(signal, Arc::clone(asked)))
            .context("cannot listen to signals")?;
    }
    Ok(())
}

/// True once the program was asked to stop.
pub(crate) fn is_asked() -> bool {
    ASKED
        .get()
        .is_some_and(|asked| asked.load(Ordering::Relaxed))
}

/// An error of code 130 once the program was asked to stop.
///
/// # Errors
///
/// See above.
pub(crate) fn check() -> Result<()> {
    if is_asked() {
        return Err(anyhow!(
            "what was finished is kept; the next run goes on from there"
        ))
        .context(Problem::Interrupted);
    }
    Ok(())
}
