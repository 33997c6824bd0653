//! For operators: health, metrics, notification of the service manager.

pub(crate) mod admin;
pub(crate) mod health;
pub(crate) mod metrics;
pub(crate) mod notify;
pub(crate) mod watch;

use std::sync::Arc;

use metrics::Metrics;

use crate::log;

/// Counts and logs each panic of any thread from now on, because each is a bug: where it happened, not its message, which
/// may contain a part of a request.
pub fn report_panics(metrics: Arc<Metrics>) {
    std::panic::set_hook(Box::new(move |panic| {
        metrics.panics.add(1);
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        log::error(
            "internal error, a bug of auth-proxy: a thread panicked; only its own request is affected",
            &[("at", &place), ("thread", &thread)],
        );
    }));
}
