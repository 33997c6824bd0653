//! What operators ask for: is it healthy, how is it doing, stop.

pub(crate) mod admin;
pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod notify;

use std::sync::Arc;

use metrics::Metrics;

use crate::log;

/// A panic is a bug. From now on each one of any thread is counted and told: where, not what, for the what may hold a
/// request.
pub fn report_panics(metrics: Arc<Metrics>) {
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
