//! The HTTP/1.1 server: it turns connections into requests and hands each to a [`Service`], on the thread that
//! serves the connection. It knows no tokens and no settings.
//!
//! [`Head`] and [`Exchange`] are the seam: all that the rest of the program sees of a server. Ours is the default;
//! `tiny_http.rs` offers the same over the crate of that name.

mod authority;
pub mod body;
mod connection;
pub mod head;
pub mod input;
mod listener;
mod overflow;
mod pace;
mod pool;
mod refusal;
mod respond;
mod room;
mod serving;
mod stop;
#[cfg(feature = "tiny_http")]
pub mod tiny_http;

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode, Version};

pub use listener::{Listener, Running};
pub use refusal::{Refusal, send_whole};
pub use stop::Stop;

use crate::fields::Fields;

/// A request's head.
#[derive(Debug)]
pub struct Head {
    /// The method, standard or not; never CONNECT or TRACE.
    pub method: Method,
    /// The request target in origin form, byte for byte: it begins with a slash.
    pub target: String,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// Every field, as it came.
    pub headers: Fields,
    /// How the body is framed.
    pub length: Length,
}

impl Head {
    /// The path: the target up to its query. Up to a fragment, too, which no target may have: what stands there is as
    /// private as a query.
    pub fn path(&self) -> &str {
        self.target.split(['?', '#']).next().unwrap_or_default()
    }
}

/// How long a message body is (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// There is none; whatever the headers say is about another message (HEAD, 304).
    Empty,
    /// So many bytes.
    Known(u64),
    /// Known when it ends: chunked, or, towards an HTTP/1.0 client, until the connection closes.
    Unknown,
}

/// One request being answered.
pub trait Exchange {
    /// Reads from the request body; 0 at its end.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when the client left in the middle, `InvalidData` when its framing is wrong, `TimedOut` when
    /// it paused too long.
    fn read_body(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Invites a client that waits for `100 Continue` to send its body (RFC 9110 section 10.1.1), and says until
    /// when its next bytes are waited for.
    ///
    /// # Errors
    ///
    /// The client's connection broke.
    fn expect_body(&mut self) -> io::Result<Option<Instant>>;

    /// Body bytes are at hand, so that the next read does not wait.
    fn body_at_hand(&self) -> bool;

    /// The client's connection is readable: takes in what came, where it may be framing without a byte of the body,
    /// and says whether the next read of the body will not wait.
    ///
    /// # Errors
    ///
    /// As [`Exchange::read_body`].
    fn receive_body(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    /// The client's connection, to watch for its hang-up and to tunnel; none where the server hides it.
    fn client(&self) -> Option<Arc<TcpStream>>;

    /// Bytes the client sent behind the request, which belong to a tunnel.
    fn take_ahead(&mut self) -> Vec<u8>;

    /// Begins the answer. The head leaves with the first [`Exchange::write`] or [`Exchange::flush`]. Framing and
    /// connection fields are the server's own: `headers` holds none of them, except with [`Length::Empty`], where
    /// `Content-Length` may speak of a body that is not sent, and with 101, where all are sent as they are.
    fn start(&mut self, status: StatusCode, headers: &Fields, length: Length);

    /// The answer has begun; another can no longer be given.
    fn started(&self) -> bool;

    /// Sends bytes of the answer's body at once.
    ///
    /// # Errors
    ///
    /// The client's connection broke, or it did not read for too long.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Sends what was begun.
    ///
    /// # Errors
    ///
    /// As [`Exchange::write`].
    fn flush(&mut self) -> io::Result<()>;

    /// Ends the answer properly. One that is not finished reaches the client as a broken transfer.
    ///
    /// # Errors
    ///
    /// As [`Exchange::write`].
    fn finish(&mut self) -> io::Result<()>;
}

/// What answers requests.
pub trait Service: Send + Sync + 'static {
    /// Answers one request.
    fn serve(&self, head: Head, exchange: &mut dyn Exchange);

    /// Answers one request of a connection too many, at once and from memory: nothing here may wait.
    fn turn_away(&self, head: Head, exchange: &mut dyn Exchange);

    /// Learns that the server itself has refused a connection's request, which could not be understood.
    fn refused(&self, _refusal: &Refusal) {}
}

/// Bounds on everything that a client controls.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections served at once.
    pub connections: usize,
    /// Connections above that which are answered with a refusal.
    pub overflow: usize,
    /// Bytes of a request head.
    pub head_bytes: usize,
    /// Requests at a time whose head is longer than 16 KiB: memory for all connections at once would be too much.
    pub large_heads: usize,
    /// From the first byte of a head to its last.
    pub head_time: Duration,
    /// Between two requests of one connection.
    pub keep_alive: Duration,
    /// For the next kilobyte of a request body, or its end.
    pub body_idle: Duration,
    /// How long a client may read nothing of an answer.
    pub write_stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            overflow: 256,
            head_bytes: 64 * 1024,
            large_heads: 64,
            head_time: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            body_idle: Duration::from_secs(60),
            write_stall: Duration::from_secs(60),
        }
    }
}
