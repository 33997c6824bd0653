//! Bytes: connections, and what it takes to make them. It knows no messages, no tokens and no settings.
//!
//! A [`Stream`] is a connection on either side, and never waits: whoever uses it waits with [`poll`] for its socket and for
//! whatever else matters to them, such as the hang-up of the other side.
//!
//! ```text
//!  to a host: connect -> dns -> dial (RFC 8305) -> connect_proxy (CONNECT) -> tls (roots, verifier) -> Stream
//!  a client:  accept -> acceptor (TLS, if it is configured; the handshake is its first bytes) -------------> Stream
//! ```

mod acceptor;
pub(crate) mod buffers;
mod certificate_name;
pub(crate) mod connect;
mod connect_proxy;
mod dial;
mod dns;
mod error;
mod handshake_error;
mod pinned;
pub(crate) mod poll;
mod proxy_auth;
mod roots;
mod stream;
mod tls;
mod tls_error;
mod tls_files;
mod verifier;

/// A connection, and its other end, which blocks, but no longer than any test may take.
#[cfg(test)]
pub(crate) fn pair() -> (Stream, Socket) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let patience = std::time::Duration::from_secs(20);
    let far = connect_blocking(&listener.local_addr().unwrap().into(), patience).unwrap();
    far.set_read_timeout(Some(patience)).unwrap();
    let near = Socket::from(listener.accept().unwrap().0);
    near.set_nonblocking(true).unwrap();
    (std::sync::Arc::new(near).into(), far)
}

/// A TCP socket or a Unix one, and its address.
pub(crate) use socket2::{SockAddr, Socket};

pub(crate) use acceptor::TlsAcceptor;
pub(crate) use connect::awaits_descriptor;
pub(crate) use connect_proxy::ProxyAddress;
pub(crate) use dial::connect_blocking;
#[cfg(test)]
pub(crate) use dns::ResolveError;
pub(crate) use error::{ConnectError, exhausted, lacks_descriptor, whole_seconds};
pub(crate) use handshake_error::HandshakeError;
pub(crate) use pinned::PinnedCertificate;
#[cfg(test)]
pub(crate) use proxy_auth::ProxyAuthError;
pub(crate) use stream::{Received, Stream};
pub(crate) use tls_files::{DateProblem, TlsFiles};
