//! The HTTP/1.1 server: it turns connections into requests and calls a [`Service`] for each, on the thread that serves the
//! connection. It knows no tokens and no settings.
//!
//! [`Head`] and [`Exchange`] are the seam: all that the rest of the program sees of a server. Ours is the default;
//! `tiny_http.rs` offers the same over the crate of that name.

pub(crate) mod body;
mod clients;
mod connection;
mod error_response;
mod exchange;
pub(crate) mod input;
mod limits;
mod listener;
mod listening_socket;
mod overflow;
mod peer;
mod response_writer;
mod shutdown;
mod thread_pool;
#[cfg(feature = "tiny_http")]
pub mod tiny_http;
mod unix_socket;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;

pub(crate) use clients::{AddressCounts, OpenConnections, dominant_client_hint};
pub use error_response::{ErrorResponse, Overload, send_full};
pub use limits::Limits;
pub use listener::{Listener, ServerHandle};
pub use listening_socket::ListenAddress;
pub use peer::{Credentials, Peer, PeerAddress};
pub use shutdown::Shutdown;

use crate::fields::Fields;
pub(crate) use crate::http1::framing::Length;
pub(crate) use crate::http1::head::RequestHead as Head;
pub(crate) use crate::net::HandshakeError;
use crate::net::{Socket, Stream};

/// One request, and the response to it.
pub trait Exchange {
    /// Reads from the request body; 0 at its end.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the client left in the middle, `InvalidData` when its framing is wrong, `TimedOut` when
    /// it paused too long.
    fn read_body(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Sends 100 to a client that waits for it before it sends its body (RFC 9110 section 10.1.1), and says until when
    /// its next bytes are waited for.
    ///
    /// # Errors
    ///
    /// The client's connection broke.
    fn send_continue(&mut self) -> io::Result<Option<Instant>>;

    /// Bytes of the body or its end were received, so that the next read does not wait.
    ///
    /// # Errors
    ///
    /// `InvalidData` when what was received is malformed: nothing needs to be sent of such a request.
    fn has_buffered_body(&mut self) -> io::Result<bool>;

    /// The client's connection is readable: reads what was received, which may be framing without a byte of the body, and
    /// returns whether the next read of the body will not wait.
    ///
    /// # Errors
    ///
    /// As [`Exchange::read_body`].
    fn poll_body(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    /// Who sends the request.
    fn peer(&self) -> &Peer;

    /// The request head's memory was freed: another large head may be read.
    fn release_head(&mut self) {}

    /// The client's socket, to watch for its hang-up; none where the server does not expose it.
    fn client(&self) -> Option<Arc<Socket>>;

    /// The client's connection for a tunnel, with what it sent after the request; none where the server does not expose it.
    fn tunnel(&mut self) -> Option<&mut Stream>;

    /// Begins the response. The head leaves with the first [`Exchange::write`] or [`Exchange::flush`]. Framing and
    /// connection fields are the server's own: `headers` holds none of them, except with [`Length::Empty`], where
    /// `Content-Length` may describe a body that is not sent, and with 101, where all are sent as they are.
    fn start(&mut self, status: StatusCode, headers: &Fields, length: Length);

    /// The response has begun; another can no longer be sent.
    fn has_started(&self) -> bool;

    /// Sends bytes of the response's body at once.
    ///
    /// # Errors
    ///
    /// The client's connection broke, or it did not read for too long.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Sends what is buffered.
    ///
    /// # Errors
    ///
    /// As [`Exchange::write`].
    fn flush(&mut self) -> io::Result<()>;

    /// Ends the response properly. One that is not finished reaches the client as a broken transfer.
    ///
    /// # Errors
    ///
    /// As [`Exchange::write`].
    fn finish(&mut self) -> io::Result<()>;
}

/// Produces the response to each request.
pub trait Service: Send + Sync + 'static {
    fn serve(&self, head: Head, exchange: &mut dyn Exchange);

    /// Responds to one request of a connection that exceeds a limit, at once and from memory: nothing here may wait.
    fn reject_overloaded(&self, head: Head, by: Overload, exchange: &mut dyn Exchange);

    /// Called when the server itself has rejected a connection's request, which could not be understood.
    fn refused(&self, _response: &ErrorResponse, _peer: &Peer) {}

    /// Called when a client's TLS handshake has failed, so that there was no request.
    fn handshake_failed(&self, _error: &HandshakeError, _peer: &Peer) {}
}
