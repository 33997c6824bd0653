//! From a host and a port to a connection: dial, through an egress proxy where one applies, then the TLS handshake.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use socket2::Socket;

pub(crate) use super::dial::Wait;
use super::dns::DnsCache;
use super::error::ConnectError;
use super::poll::Ready;
use super::proxy_auth::ProxyAuth;
use super::roots::Roots;
use super::tls::{Session, Tls};
use super::{ProxyAddress, Stream, connect_proxy, dial};
use crate::report::Problem;

/// How long a connection that is to be made waits for a file descriptor. Those of refused clients are free after two seconds.
const DESCRIPTOR_PATIENCE: Duration = Duration::from_secs(5);
const DESCRIPTOR_RETRY: Duration = Duration::from_millis(10);
static AWAITING: AtomicUsize = AtomicUsize::new(0);

/// What all connections share: resolved names, trusted roots, and what is known of the egress proxy. Clones share it, too.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    dns: DnsCache,
    roots: Roots,
    proxy_auth: ProxyAuth,
    /// What servers are asked for and have to be named, where it is not their host.
    server_name: Option<Arc<str>>,
}

impl Network {
    /// Trusts Mozilla's roots, or those in the `bundle` that an environment variable names.
    ///
    /// # Errors
    ///
    /// That file is unusable.
    pub(crate) fn new(variable: &'static str, bundle: Option<&Path>) -> Result<Self, Problem> {
        Ok(Self::trusting(Roots::load(variable, bundle)?))
    }

    /// Trusts the certificates in this PEM text, the value of a variable.
    ///
    /// # Errors
    ///
    /// There is none in it.
    pub(crate) fn with_roots(variable: &'static str, pem: &[u8]) -> Result<Self, Problem> {
        Ok(Self::trusting(Roots::of_pem(variable, pem)?))
    }

    /// The same, for servers that are asked for by this name and must have it.
    pub(crate) fn with_server_name(self, name: Option<&str>) -> Self {
        Self { server_name: name.map(Arc::from), ..self }
    }

    fn trusting(roots: Roots) -> Self {
        Self { dns: DnsCache::default(), roots, proxy_auth: ProxyAuth::default(), server_name: None }
    }

    /// Makes a connection to `host` (an IPv6 address without brackets), with TLS or without, through `proxy` if there is one.
    ///
    /// # Errors
    ///
    /// What kept it from being made.
    pub(crate) fn connect(
        &self,
        host: &str,
        port: u16,
        tls: bool,
        proxy: Option<&ProxyAddress>,
        until: Wait<'_>,
    ) -> Result<Stream, ConnectError> {
        let make = |tls: Option<&_>| self.make(host, port, tls, proxy, until);
        with_descriptor(until, || {
            if !tls {
                return make(None);
            }
            let trusted = self.roots.current();
            match make(Some(&trusted)) {
                // The bundle may have been replaced since it was looked at.
                Err(error) if error.is_untrusted() => match self.roots.newer_than(&trusted) {
                    Some(newer) => make(Some(&newer)),
                    None => Err(error),
                },
                made => made,
            }
        })
    }

    fn make(
        &self,
        host: &str,
        port: u16,
        tls: Option<&Arc<ClientConfig>>,
        proxy: Option<&ProxyAddress>,
        until: Wait<'_>,
    ) -> Result<Stream, ConnectError> {
        let (name, (socket, address)) = match proxy {
            None => (host, dial::dial(&self.dns, host, port, until)?),
            Some(proxy) => (
                proxy.host.as_str(),
                connect_proxy::open(&self.dns, &self.proxy_auth, proxy, host, port, until)?,
            ),
        };
        let Some(tls) = tls else {
            self.dns.record_outcome(name, address, true);
            return Ok(Arc::new(socket).into());
        };
        let mut read_ahead = Vec::new();
        let tls = self.handshake(tls, &socket, host, port, &mut read_ahead, until);
        // An address that accepts and then leads nowhere shall not be the first to be tried again. A client that left
        // says nothing about it.
        if !matches!(tls, Err(ConnectError::ClientGone)) {
            self.dns.record_outcome(name, address, tls.is_ok());
        }
        Ok(Stream::with_tls(socket, tls?, read_ahead))
    }

    fn handshake(
        &self,
        config: &Arc<ClientConfig>,
        socket: &Socket,
        host: &str,
        port: u16,
        read_ahead: &mut Vec<u8>,
        until: Wait<'_>,
    ) -> Result<Box<Tls>, ConnectError> {
        let broken = |cause| ConnectError::Connect { host: format!("{host}:{port}"), cause };
        let bundle = || self.roots.file().map(Path::to_owned);
        let refused = |cause, after_server_hello| ConnectError::Tls {
            host: host.to_owned(),
            cause,
            after_server_hello,
            variable: self.roots.variable(),
            bundle: bundle(),
        };
        let wait =
            |wanted| dial::wait(socket, wanted, until).map(drop).map_err(|error| error.or_else(broken));
        let mut tls = session(config, self.server_name.as_deref().unwrap_or(host))
            .map_err(|cause| refused(cause, false))?;
        loop {
            let opened = tls.decrypt(&mut [], read_ahead);
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
                    let kind = io::ErrorKind::UnexpectedEof;
                    return Err(broken(io::Error::new(kind, "closed during the TLS handshake")));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(Ready::READ)?,
                Err(error) => return Err(broken(error)),
            }
        }
    }
}

/// Makes a connection, again and again for a while as long as there is no file descriptor for it.
fn with_descriptor(
    until: Wait<'_>,
    make: impl Fn() -> Result<Stream, ConnectError>,
) -> Result<Stream, ConnectError> {
    let give_up = until.deadline.min(Instant::now() + DESCRIPTOR_PATIENCE);
    let mut waiting = None;
    loop {
        match make() {
            Err(error) if error.lacks_descriptor() && Instant::now() < give_up => {
                waiting.get_or_insert_with(AwaitsDescriptor::begin);
                dial::pause(DESCRIPTOR_RETRY, until.client)?;
            }
            made => return made,
        }
    }
}

/// Whether a connection that is to be made lacks a file descriptor: whoever could take one should leave it.
pub(crate) fn awaits_descriptor() -> bool {
    AWAITING.load(Ordering::Relaxed) > 0
}

/// Counts as one of them until it is dropped.
struct AwaitsDescriptor;

impl AwaitsDescriptor {
    fn begin() -> Self {
        AWAITING.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for AwaitsDescriptor {
    fn drop(&mut self) {
        AWAITING.fetch_sub(1, Ordering::Relaxed);
    }
}

// Not part of its caller's frame, which lies below the handshake: the connection is kilobytes, moved by value, and stack
// once used stays with the thread.
#[inline(never)]
fn session(config: &Arc<ClientConfig>, host: &str) -> Result<Box<Tls>, rustls::Error> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| rustls::Error::General("the host is not a valid server name".into()))?;
    Ok(Box::new(Tls::new(Session::Client(UnbufferedClientConnection::new(Arc::clone(config), name)?))))
}
