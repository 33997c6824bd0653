//! A connection for a request: an idle one, or a new one. And the slot in which ureq finds it.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::Scheme;
use http::{Request, Response, Uri};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout};
use ureq::{Agent, Body, SendBody};

use super::Fault;
use super::idle::{IdleConnection, IdlePool, Origin};
use super::lease::Lease;
use super::transport::Connection;
use crate::config::Config;
use crate::http1::authority;
use crate::net::connect::{Network, Wait};
use crate::net::{ConnectError, Socket};

/// Connections older than this are not used again, so that a busy one follows DNS, too.
const MAX_AGE: Duration = Duration::from_secs(300);

/// Finds the connections or makes them.
#[derive(Debug, Clone)]
pub(super) struct Dialer {
    pub(super) idle: IdlePool,
    pub(super) network: Network,
    /// Never through the egress proxy.
    pub(super) is_direct: bool,
    pub(super) config: Arc<Config>,
}

thread_local! {
    /// The lease of the request that this thread is about to pass to ureq, whose connectors get no argument of ours. Filled
    /// by [`run`], emptied by [`Dialer::connect`] below it.
    static SLOT: RefCell<Option<Lease>> = const { RefCell::new(None) };
}

/// Lets ureq run a request on this connection.
pub(super) fn run(
    agent: &Agent,
    request: Request<SendBody<'_>>,
    lease: &Lease,
) -> Result<Response<Body>, ureq::Error> {
    SLOT.set(Some(lease.clone()));
    let response = agent.run(request);
    SLOT.take();
    response
}

impl Connector for Dialer {
    type Out = Connection;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _chained: Option<()>,
    ) -> Result<Option<Connection>, ureq::Error> {
        let lease = match SLOT.take() {
            Some(lease) => lease,
            // A token request, or a question of `check`.
            None => self.acquire(details.uri, *details.timeout.after, None, false)?,
        };
        Ok(Some(Connection::new(lease)))
    }
}

impl Dialer {
    /// A connection to where `uri` leads: an idle one, unless it shall be `fresh`, or a new one, made within `limit`. The
    /// hang-up of `client` ends the wait for it.
    ///
    /// # Errors
    ///
    /// The [`Fault`] that kept it from being made.
    pub(super) fn acquire(
        &self,
        uri: &Uri,
        limit: Duration,
        client: Option<&Socket>,
        fresh: bool,
    ) -> Result<Lease, Fault> {
        let Some(authority) = uri.authority() else {
            return Err(Fault::Internal("a request without an authority".into()));
        };
        let origin = Origin { authority: authority.clone(), tls: uri.scheme() == Some(&Scheme::HTTPS) };
        if fresh {
            // The others are likely as stale as the one that failed.
            self.idle.clear();
        } else if let Some(connection) = self.idle.acquire(&origin) {
            return Ok(Lease::new(connection, true, self.idle.clone()));
        }
        let host = authority::without_brackets(authority.host());
        let port = authority.port_u16().unwrap_or(if origin.tls { 443 } else { 80 });
        let limit = self.config.connect_timeout.min(limit);
        let now = Instant::now();
        let until = Wait { client, deadline: now + limit };
        let is_proxied = origin.tls && !self.is_direct;
        let proxy = if is_proxied { self.config.egress.proxy_for(host, port) } else { None };
        let made = self.network.connect(host, port, origin.tls, proxy, until);
        let stream = made.map_err(|error| match error {
            ConnectError::Connect { host, cause } if cause.kind() == std::io::ErrorKind::TimedOut => {
                ConnectError::Timeout { host, after: limit }
            }
            error => error,
        })?;
        let connection = IdleConnection { stream, origin, expires_at: now + MAX_AGE, idle_since: now };
        Ok(Lease::new(connection, false, self.idle.clone()))
    }
}

/// ureq resolves for every request, pooled connection or not; the dialer resolves when it dials.
#[derive(Debug)]
pub(super) struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(
        &self,
        _uri: &Uri,
        _config: &ureq::config::Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}
