//! A panic is a bug, and a line in the log.

use std::sync::Arc;

use super::metrics::Metrics;
use crate::log;

/// From now on each panic of any thread is counted and told: where, not what, for the what may hold a request.
pub fn report(metrics: Arc<Metrics>) {
    std::panic::set_hook(Box::new(move |panic| {
        metrics.panics.add(1);
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        log::error(
            "a bug: this thread panicked; what it was doing has failed, everything else goes on",
            &[("at", &place), ("thread", &thread)],
        );
    }));
}
