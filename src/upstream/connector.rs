//! A new connection, for ureq: dial, through the egress proxy where one applies, then the TLS handshake.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout};

use super::resolver::Names;
use super::transport::Connection;
use super::wire::Wire;
use super::{Fault, dial, tunnel_proxy};
use crate::config::Config;
use crate::sys::Ready;

/// Connections older than this are not used again, so that a busy one follows DNS, too.
const MAX_AGE: Duration = Duration::from_secs(300);

/// Makes the connections.
#[derive(Debug)]
pub(super) struct Dialler {
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
        let host = details.uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let tls = details.needs_tls();
        let port = details.uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let limit = self.config.connect_timeout.min(*details.timeout.after);
        let wire = self.wire(host, port, tls, Instant::now() + limit).map_err(|fault| match fault {
            Fault::Connect { host, cause } if cause.kind() == std::io::ErrorKind::TimedOut => {
                Fault::ConnectTimeout { host, after: limit }
            }
            fault => fault,
        })?;
        Ok(Some(Connection::new(wire, tls, Instant::now() + MAX_AGE)))
    }
}

impl Dialler {
    fn wire(&self, host: &str, port: u16, tls: bool, deadline: Instant) -> Result<Wire, Fault> {
        let proxy = if tls { self.config.egress.proxy_for(host, port) } else { None };
        let mut socket = match proxy {
            None => dial::dial(&self.names, host, port, deadline)?,
            Some(proxy) => {
                let dialled = dial::dial(&self.names, &proxy.host, proxy.port, deadline);
                let mut socket = dialled.map_err(tunnel_proxy::not_dialled)?;
                tunnel_proxy::connect(&mut socket, proxy, host, port, deadline)?;
                socket
            }
        };
        let tls = if tls { Some(self.handshake(&mut socket, host, port, deadline)?) } else { None };
        Ok(Wire::new(socket, tls))
    }

    fn handshake(
        &self,
        socket: &mut TcpStream,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<Box<ClientConnection>, Fault> {
        let broken = |cause| Fault::Connect { host: format!("{host}:{port}"), cause };
        let refused = |cause| Fault::Tls { host: host.to_owned(), cause };
        let mut tls = self.session(host).map_err(refused)?;
        while tls.is_handshaking() || tls.wants_write() {
            let step = if tls.wants_write() { tls.write_tls(socket) } else { tls.read_tls(socket) };
            match step {
                Ok(0) => {
                    return Err(broken(std::io::Error::new(
                        std::io::ErrorKind::UnexpectedEof,
                        "closed during the TLS handshake",
                    )));
                }
                Ok(_) => {
                    if let Err(error) = tls.process_new_packets() {
                        // The peer learns why from the alert that this sends.
                        let _ = tls.write_tls(socket);
                        return Err(refused(error));
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    let wanted = if tls.wants_write() { Ready::WRITE } else { Ready::READ };
                    dial::wait(socket, wanted, deadline).map_err(|error| {
                        if Fault::inside_io(&error).is_some() { Fault::ClientGone } else { broken(error) }
                    })?;
                }
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(tls)
    }

    // Not part of its caller's frame, which lies below the handshake: the connection is kilobytes, moved by value,
    // and stack once used stays with the thread.
    #[inline(never)]
    fn session(&self, host: &str) -> Result<Box<ClientConnection>, rustls::Error> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| rustls::Error::General("the host is no valid server name".into()))?;
        Ok(Box::new(ClientConnection::new(Arc::clone(&self.tls), name)?))
    }
}

/// ureq resolves for every request, pooled connection or not; the dialler resolves when it dials.
#[derive(Debug)]
pub(super) struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(
        &self,
        _uri: &http::Uri,
        _config: &ureq::config::Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}
