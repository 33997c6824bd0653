//! One request on tiny_http: its head checked by our rules, its body counted, its response framed by us.

use std::io::{self, Write};
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use ::tiny_http::{Request, Response, StatusCode as TinyStatus};
use http::{StatusCode, Version};

use super::ServerState;
use crate::fields::Fields;
use crate::http1::head::{self, Scan};
use crate::net::{Socket, Stream};
use crate::server::connection::wants_keep_alive;
use crate::server::limits::MinRate;
use crate::server::response_writer::{ResponseSink, ResponseWriter};
use crate::server::{ErrorResponse, Exchange, Head, Length, Overload, Peer, PeerAddress};

/// The largest Content-Length. What is left of a body when a request ends, tiny_http reads into a buffer of that
/// size: 50,000,000,000,000 bytes cannot be had, and a failed allocation ends the process. This many can be had
/// anywhere, for they are not touched.
const MAX_LENGTH: usize = 1 << 30;
/// Sent in place of a chunk size: every client sees that the response was truncated.
const INVALID_CHUNK_SIZE: &[u8] = b"cut short\r\n\r\n";

/// The head, put together again from what tiny_http gives of it, and read as our own server reads it.
///
/// # Errors
///
/// The error response that the request deserves; nothing that follows on its connection can be trusted then.
pub(super) fn head(request: &Request, state: &ServerState) -> Result<Head, ErrorResponse> {
    if state.is_banned(request) {
        return Err(bad("this connection was refused before"));
    }
    if is_endless(request) {
        let message = "this build's HTTP server (tiny_http) accepts request bodies of at most 1 GiB";
        return Err(ErrorResponse::request(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message));
    }
    let mut text = format!("{} {} HTTP/{}\r\n", request.method(), request.url(), request.http_version());
    for field in request.headers() {
        text.extend([field.field.as_str().as_str(), ": ", field.value.as_str(), "\r\n"]);
    }
    text.push_str("\r\n");
    let read = head::read_request(text.as_bytes(), &mut Scan::default(), state.limits.head_bytes)?;
    let (head, _) = read
        .filter(|(_, length)| *length == text.len())
        .ok_or_else(|| bad("the request head is malformed"))?;
    if head.version == Version::HTTP_10 && wants_keep_alive(&head) {
        let message = "keep-alive needs HTTP/1.1 in this build's HTTP server (tiny_http)";
        return Err(ErrorResponse::request(
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            "http_version_not_supported",
            message,
        ));
    }
    // tiny_http decodes chunks by rules of its own: it takes what is no size for one, and the end of the connection within a
    // chunk for the end of the body.
    if head.length == Length::Unknown {
        let message =
            "this build's HTTP server (tiny_http) accepts no chunked request bodies: send a Content-Length";
        return Err(ErrorResponse::request(StatusCode::LENGTH_REQUIRED, "length_required", message));
    }
    Ok(head)
}

pub(super) fn respond(
    request: Request,
    head: Result<Head, ErrorResponse>,
    state: &ServerState,
    under_pressure: bool,
) {
    let mut exchange = TinyExchange {
        left: Some(request.body_length().unwrap_or_default()),
        is_endless: is_endless(&request),
        peer: Peer {
            address: request.remote_addr().map_or(PeerAddress::Unknown, |address| PeerAddress::Ip(*address)),
            is_loopback_listener: state.is_loopback_listener,
            certificate_name: None,
        },
        request: Some(request),
        response: match &head {
            Ok(head) => {
                let close = !wants_keep_alive(head) || closes(head);
                ResponseWriter::new(head, close, &state.limits)
            }
            Err(_) => ResponseWriter::for_error(state.limits.write_timeout),
        },
        writer: Box::new(io::sink()),
        state,
    };
    match head {
        Ok(head) if under_pressure => {
            state.service.reject_overloaded(head, Overload::Connections, &mut exchange)
        }
        Ok(head) => state.service.serve(head, &mut exchange),
        Err(response) => {
            state.service.refused(&response, &exchange.peer);
            response.send(&mut exchange);
        }
    }
}

fn is_endless(request: &Request) -> bool {
    request.body_length().is_some_and(|length| length > MAX_LENGTH)
}

/// Whether tiny_http closes the connection after this request. It searches the first field for these words.
fn closes(head: &Head) -> bool {
    let options = head.headers.get("connection").unwrap_or_default().to_ascii_lowercase();
    let names = |option: &[u8]| options.windows(option.len()).any(|part| part == option);
    head.version == Version::HTTP_10 || names(b"close") || names(b"upgrade")
}

fn bad(message: &str) -> ErrorResponse {
    ErrorResponse::request(StatusCode::BAD_REQUEST, "bad_request", message)
}

struct TinyExchange<'a> {
    /// Until the response begins.
    request: Option<Request>,
    /// Bytes of the body to come; none when where the next request begins is not known.
    left: Option<usize>,
    /// The body must be neither read nor dropped.
    is_endless: bool,
    peer: Peer,
    response: ResponseWriter,
    /// Once the response has begun.
    writer: Box<dyn Write + Send>,
    state: &'a ServerState,
}

impl TinyExchange<'_> {
    fn ban(&self) {
        if let PeerAddress::Ip(address) = self.peer.address {
            self.state.ban(address);
        }
    }
}

impl Exchange for TinyExchange<'_> {
    fn read_body(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (Some(request), Some(left)) = (&mut self.request, self.left) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let max = buffer.len().min(left);
        if max == 0 {
            return Ok(0);
        }
        // Unless the read succeeds, it is not known where the next request begins.
        self.left = None;
        // The first call sends 100 Continue to those who wait for it.
        match request.as_reader().read(&mut buffer[..max]).map_err(timed_out)? {
            // tiny_http reports a truncated upload as complete.
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.left = Some(left - n);
                Ok(n)
            }
        }
    }

    fn send_continue(&mut self) -> io::Result<Option<Instant>> {
        if let (Some(1..), Some(request)) = (self.left, &mut self.request) {
            request.as_reader();
        }
        Ok(Some(Instant::now() + self.state.limits.keep_alive))
    }

    fn has_buffered_body(&mut self) -> io::Result<bool> {
        Ok(self.left == Some(0))
    }

    fn peer(&self) -> &Peer {
        &self.peer
    }

    fn client(&self) -> Option<Arc<Socket>> {
        None
    }

    fn tunnel(&mut self) -> Option<&mut Stream> {
        None
    }

    /// The rest of the body is read before the response: tiny_http gives no writer before that.
    fn start(&mut self, status: StatusCode, headers: &Fields, length: Length) {
        let mut buffer = [0; 16 * 1024];
        while !self.is_endless && matches!(self.read_body(&mut buffer), Ok(1..)) {}
        let Some(request) = self.request.take() else { return };
        if self.left != Some(0) {
            // Before the reader is given back: what follows may be parsed at once.
            self.ban();
            self.response.close_after();
        }
        if self.state.shutdown.is_triggered() {
            self.response.close_after();
        }
        self.response.start(status, headers, length);
        self.writer = if self.is_endless {
            // An upgrade is the only way to a writer that leaves the body alone. It sends a response of its own first: 100,
            // which every client ignores, so that ours may follow.
            let interim = Response::new(TinyStatus(100), Vec::new(), io::empty(), None, None);
            request.upgrade("HTTP/1.1", interim)
        } else {
            request.into_writer()
        };
    }

    fn has_started(&self) -> bool {
        self.response.has_started()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.response.write(&mut self.writer, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.response.flush(&mut self.writer)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.response.finish(&mut self.writer)
    }
}

/// An unfinished response must not look complete, and nothing may follow it.
impl Drop for TinyExchange<'_> {
    fn drop(&mut self) {
        if !self.response.is_finished() {
            self.ban();
        }
        if self.response.is_chunked() {
            let _ = self.writer.write_all(INVALID_CHUNK_SIZE).and_then(|()| self.writer.flush());
        }
        if self.is_endless {
            mem::forget(self.request.take());
            mem::forget(mem::replace(&mut self.writer, Box::new(io::sink())));
        }
    }
}

impl ResponseSink for Box<dyn Write + Send> {
    fn send(&mut self, parts: [&[u8]; 3], _rate: &mut MinRate) -> io::Result<()> {
        // In one piece it bypasses tiny_http's buffer, and leaves in one packet.
        self.write_all(&parts.concat()).and_then(|()| self.flush()).map_err(timed_out)
    }
}

/// The error of a socket whose timeout has passed.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}
