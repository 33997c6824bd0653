//! A connection, for ureq: one that rests, or a new one: dial, through the egress proxy where one applies, then the TLS
//! handshake.

use std::cell::RefCell;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::Scheme;
use http::{Request, Response, Uri};
use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout};
use ureq::{Agent, Body, SendBody};

use super::dial::Wait;
use super::idle::{IdleConnection, IdlePool, Origin};
use super::lease::Lease;
use super::proxy_auth::ProxyAuth;
use super::resolver::Names;
use super::roots::Roots;
use super::tls::Tls;
use super::transport::Connection;
use super::wire::Wire;
use super::{Fault, dial, tunnel_proxy};
use crate::config::Config;
use crate::http1::authority;
use crate::sys::Ready;

/// Connections older than this are not used again, so that a busy one follows DNS, too.
const MAX_AGE: Duration = Duration::from_secs(300);

/// Finds the connections or makes them.
#[derive(Debug, Clone)]
pub(super) struct Dialler {
    pub(super) idle: IdlePool,
    pub(super) roots: Roots,
    pub(super) names: Names,
    pub(super) proxy_auth: ProxyAuth,
    pub(super) config: Arc<Config>,
}

thread_local! {
    /// The lease of the request that this thread is about to hand to ureq, whose connectors get no argument of ours. Filled
    /// by [`run`], emptied by [`Dialler::connect`] below it.
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

impl Connector for Dialler {
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

impl Dialler {
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
        client: Option<&TcpStream>,
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
        let wait = Wait { client, deadline: now + limit };
        let make = |tls: &_| self.wire(host, port, origin.tls.then_some(tls), wait);
        let roots = self.roots.current();
        let made = match make(&roots) {
            // The bundle may have been replaced since it was looked at.
            Err(fault) if fault.is_untrusted() => match self.roots.newer_than(&roots) {
                Some(newer) => make(&newer),
                None => Err(fault),
            },
            made => made,
        };
        let stream = made.map_err(|fault| match fault {
            Fault::Connect { host, cause } if cause.kind() == std::io::ErrorKind::TimedOut => {
                Fault::ConnectTimeout { host, after: limit }
            }
            fault => fault,
        })?;
        let connection = IdleConnection { stream, origin, expires_at: now + MAX_AGE, idle_since: now };
        Ok(Lease::new(connection, false, self.idle.clone()))
    }

    fn wire(
        &self,
        host: &str,
        port: u16,
        tls: Option<&Arc<ClientConfig>>,
        until: Wait<'_>,
    ) -> Result<Wire, Fault> {
        let proxy = if tls.is_some() { self.config.egress.proxy_for(host, port) } else { None };
        let (name, (socket, address)) = match proxy {
            None => (host, dial::dial(&self.names, host, port, until)?),
            Some(proxy) => (
                proxy.host.as_str(),
                tunnel_proxy::open(&self.names, &self.proxy_auth, proxy, host, port, until)?,
            ),
        };
        let mut ahead = Vec::new();
        let handshake = |tls| self.handshake(tls, &socket, host, port, &mut ahead, until);
        let tls = tls.map(handshake).transpose();
        // An address that accepts and then leads nowhere shall not be the first to be tried again. A client that left
        // says nothing about it.
        if !matches!(tls, Err(Fault::ClientGone)) {
            self.names.note_outcome(name, address, tls.is_ok());
        }
        Ok(Wire::new(socket, tls?, ahead))
    }

    fn handshake(
        &self,
        config: &Arc<ClientConfig>,
        socket: &TcpStream,
        host: &str,
        port: u16,
        ahead: &mut Vec<u8>,
        until: Wait<'_>,
    ) -> Result<Box<Tls>, Fault> {
        let broken = |cause| Fault::Connect { host: format!("{host}:{port}"), cause };
        let bundle = || self.roots.file().map(Path::to_owned);
        let refused = |cause, after_server_hello| Fault::Tls {
            host: host.to_owned(),
            cause,
            after_server_hello,
            bundle: bundle(),
        };
        let wait = |wanted| {
            let ready = dial::wait(socket, wanted, until);
            ready.map(drop).map_err(|error| {
                if Fault::inside_io(&error).is_some() { Fault::ClientGone } else { broken(error) }
            })
        };
        let mut tls = session(config, host).map_err(|cause| refused(cause, false))?;
        loop {
            let opened = tls.open(&mut [], ahead);
            // After a fault, too: the peer learns why from the alert that this sends.
            let flushed = tls.flush(socket);
            opened.map_err(|cause| refused(cause, tls.has_server_hello()))?;
            if !flushed.map_err(broken)? {
                wait(Ready::WRITE)?;
                continue;
            }
            if !tls.is_handshaking() {
                return Ok(tls);
            }
            match tls.fill(socket) {
                Ok(0) => {
                    return Err(broken(std::io::Error::new(
                        std::io::ErrorKind::UnexpectedEof,
                        "closed during the TLS handshake",
                    )));
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => wait(Ready::READ)?,
                Err(error) => return Err(broken(error)),
            }
        }
    }
}

// Not part of its caller's frame, which lies below the handshake: the connection is kilobytes, moved by value, and stack
// once used stays with the thread.
#[inline(never)]
fn session(config: &Arc<ClientConfig>, host: &str) -> Result<Box<Tls>, rustls::Error> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| rustls::Error::General("the host is no valid server name".into()))?;
    Ok(Box::new(Tls::new(UnbufferedClientConnection::new(Arc::clone(config), name)?)))
}

/// ureq resolves for every request, pooled connection or not; the dialler resolves when it dials.
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
