//! A connection, for ureq: one that rests, or a new one: dial, through the egress proxy where one applies, then the TLS
//! handshake.

use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::Uri;
use http::uri::Scheme;
use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout};

use super::idle::{Idle, Origin, Resting};
use super::resolver::Names;
use super::tls::Tls;
use super::transport::Connection;
use super::wire::Wire;
use super::{Call, Fault, dial, tunnel_proxy};
use crate::config::Config;
use crate::sys::Ready;

/// Connections older than this are not used again, so that a busy one follows DNS, too.
const MAX_AGE: Duration = Duration::from_secs(300);

/// Finds the connections or makes them.
#[derive(Debug, Clone)]
pub(super) struct Dialler {
    pub(super) idle: Idle,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) names: Names,
    pub(super) config: Arc<Config>,
}

impl Connector for Dialler {
    type Out = Connection;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _chained: Option<()>,
    ) -> Result<Option<Connection>, ureq::Error> {
        let found = match Call::current().and_then(|call| call.take_connection()) {
            Some(found) => Some(found),
            None => self.find(details.uri, *details.timeout.after, false)?,
        };
        Ok(found.map(|found| Connection::new(found, self.idle.clone())))
    }
}

impl Dialler {
    /// A connection to where `uri` leads: one that rests, unless it shall be `fresh`, or a new one, made within `limit`.
    /// None when the URI has no authority.
    ///
    /// # Errors
    ///
    /// The [`Fault`] that kept it from being made.
    pub(super) fn find(&self, uri: &Uri, limit: Duration, fresh: bool) -> Result<Option<Resting>, Fault> {
        let Some(authority) = uri.authority() else { return Ok(None) };
        let origin = Origin { authority: authority.clone(), tls: uri.scheme() == Some(&Scheme::HTTPS) };
        if fresh {
            // Those that rest are likely as stale as the one that failed.
            self.idle.clear();
        } else if let Some(resting) = self.idle.take(&origin) {
            return Ok(Some(resting));
        }
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let port = authority.port_u16().unwrap_or(if origin.tls { 443 } else { 80 });
        let limit = self.config.connect_timeout.min(limit);
        let now = Instant::now();
        let wire = self.wire(host, port, origin.tls, now + limit).map_err(|fault| match fault {
            Fault::Connect { host, cause } if cause.kind() == std::io::ErrorKind::TimedOut => {
                Fault::ConnectTimeout { host, after: limit }
            }
            fault => fault,
        })?;
        if let Some(call) = Call::current() {
            call.connected();
        }
        let wire = Arc::new(Mutex::new(wire));
        Ok(Some(Resting { wire, origin, retires: now + MAX_AGE, since: now }))
    }

    fn wire(&self, host: &str, port: u16, tls: bool, deadline: Instant) -> Result<Wire, Fault> {
        let proxy = if tls { self.config.egress.proxy_for(host, port) } else { None };
        let socket = match proxy {
            None => dial::dial(&self.names, host, port, deadline)?,
            Some(proxy) => {
                let dialled = dial::dial(&self.names, &proxy.host, proxy.port, deadline);
                let mut socket = dialled.map_err(tunnel_proxy::not_dialled)?;
                tunnel_proxy::connect(&mut socket, proxy, host, port, deadline)?;
                socket
            }
        };
        let mut ahead = Vec::new();
        let tls = if tls { Some(self.handshake(&socket, host, port, &mut ahead, deadline)?) } else { None };
        Ok(Wire::new(socket, tls, ahead))
    }

    fn handshake(
        &self,
        socket: &TcpStream,
        host: &str,
        port: u16,
        ahead: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<Box<Tls>, Fault> {
        let broken = |cause| Fault::Connect { host: format!("{host}:{port}"), cause };
        let refused = |cause| Fault::Tls { host: host.to_owned(), cause };
        let wait = |wanted| {
            let ready = dial::wait(socket, wanted, deadline);
            ready.map(drop).map_err(|error| {
                if Fault::inside_io(&error).is_some() { Fault::ClientGone } else { broken(error) }
            })
        };
        let mut tls = self.session(host).map_err(refused)?;
        loop {
            let opened = tls.open(&mut [], ahead);
            // After a fault, too: the peer learns why from the alert that this sends.
            let flushed = tls.flush(socket);
            opened.map_err(refused)?;
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

    // Not part of its caller's frame, which lies below the handshake: the connection is kilobytes, moved by value,
    // and stack once used stays with the thread.
    #[inline(never)]
    fn session(&self, host: &str) -> Result<Box<Tls>, rustls::Error> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| rustls::Error::General("the host is no valid server name".into()))?;
        Ok(Box::new(Tls::new(UnbufferedClientConnection::new(Arc::clone(&self.tls), name)?)))
    }
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
