//! For operators: health, metrics, the pages on `ADMIN_PORT`, notification of the service manager.

pub(crate) mod admin;
mod config_page;
pub(crate) mod health;
mod html;
pub(crate) mod metrics;
pub(crate) mod notify;
mod status_page;
pub(crate) mod watch;

use std::sync::Arc;

use metrics::Metrics;

use crate::config::Config;
use crate::identity::CurrentCertificate;
use crate::log;
use crate::net::TlsAcceptor;
use crate::server::{OpenConnections, Overload};
use crate::token::TokenStore;

/// What the pages on `ADMIN_PORT` show, all of it without secrets.
pub(crate) struct Sources {
    pub config: Arc<Config>,
    pub metrics: Arc<Metrics>,
    /// The token, and how its refreshes went.
    pub tokens: Arc<TokenStore>,
    /// The certificate in use, if it is one that signs in.
    pub certificate: Option<CurrentCertificate>,
    /// TLS towards clients, if they are served with it.
    pub tls: Option<Arc<TlsAcceptor>>,
    /// The open connections by the addresses of their clients.
    pub clients: OpenConnections,
    pub limits: EffectiveLimits,
}

/// From this part of a limit on somebody should see to it.
const NEAR_LIMIT: f64 = 0.8;

/// Whether little is left of a limit.
fn is_near(used: u64, limit: u64) -> bool {
    used as f64 >= NEAR_LIMIT * limit as f64
}

/// How many connections are served at a time, and what the system allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EffectiveLimits {
    pub connections: usize,
    /// Why there are not more: `MAX_CONNECTIONS`, or what has lowered it.
    pub connections_bound: Overload,
    /// File descriptors; none where they are unlimited.
    pub descriptors: Option<u64>,
    /// Memory in bytes; none where it is unlimited.
    pub memory: Option<u64>,
}

impl EffectiveLimits {
    /// What has lowered `MAX_CONNECTIONS`, if something has.
    fn lowered_by(&self) -> Option<&'static str> {
        let bound = self.connections_bound;
        (bound != Overload::Connections).then(|| bound.name())
    }
}

/// Counts and logs each panic of any thread from now on, because each is a bug: where it happened, not its message, which
/// may contain a part of a request.
pub fn report_panics(metrics: Arc<Metrics>) {
    std::panic::set_hook(Box::new(move |panic| {
        metrics.panics.add(1);
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        log::error(
            "internal error, a bug of auth-proxy: a thread panicked; the other threads go on",
            &[("at", &place), ("thread", &thread)],
        );
    }));
}
