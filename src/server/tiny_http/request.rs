//! A request as tiny_http gives it, judged by our rules before anything is believed.

use std::io::{self, Cursor, Write};
use std::net::SocketAddr;

use ::tiny_http::{HTTPVersion, Request, Response, StatusCode as TinyStatus};
use http::{HeaderName, HeaderValue, StatusCode, Version};

use super::bans::Bans;
use crate::fields::Fields;
use crate::http1::head;
use crate::server::connection::wants_keep_alive;
use crate::server::{Head, Limits, Refusal};

/// The largest Content-Length. What is left of a body when a request ends, tiny_http reads into a buffer of that
/// size: 50,000,000,000,000 bytes cannot be had, and a failed allocation ends the process. This many can be had
/// anywhere, for they are not touched.
const MAX_LENGTH: usize = 1 << 30;
/// As many fields as our own server takes.
const MAX_FIELDS: usize = 128;

/// A request, and its head or what is wrong with it.
pub(super) struct Incoming {
    pub(super) request: Held,
    pub(super) peer: Option<SocketAddr>,
    pub(super) head: Result<Head, Refusal>,
}

impl Incoming {
    /// Judges the requests of each connection in their order: what follows one that broke the rules is refused, too,
    /// even where tiny_http hands out both at once.
    pub(super) fn new(request: Request, limits: &Limits, bans: &Bans) -> Self {
        let peer = request.remote_addr().copied();
        let head = if bans.holds(peer) {
            Err(bad("this connection was refused before"))
        } else if is_endless(&request) {
            let message = "this build's HTTP server (tiny_http) takes request bodies of at most 1 GiB";
            Err(Refusal::request(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message))
        } else {
            head(&request, limits)
        };
        if head.is_err() {
            bans.add(peer);
        }
        Self { request: Held(Some(request)), peer, head }
    }
}

/// A request that must not simply be dropped: that may take as long as its client likes, or end the process. One
/// for which no thread can be had is given up together with its connection.
pub(super) struct Held(Option<Request>);

impl Held {
    /// The request. One whose body is beyond the bound is none of ours: it is given `refusal` here.
    pub(super) fn release(mut self, refusal: Option<&Refusal>) -> Option<Request> {
        let request = self.0.take_if(|request| !is_endless(request));
        if let (Some(refusal), Some(endless)) = (refusal, self.0.take()) {
            park(endless, refusal);
        }
        request
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        std::mem::forget(self.0.take());
    }
}

fn is_endless(request: &Request) -> bool {
    request.body_length().is_some_and(|length| length > MAX_LENGTH)
}

/// Answers a request without touching its body, and leaves its connection to the client: neither reading to an
/// early end nor dropping would be safe. An upgrade is the only way to a writer that leaves the body alone; its
/// answer is the interim one that every client knows, behind which ours fits.
fn park(request: Request, refusal: &Refusal) {
    let interim = Response::new(TinyStatus(100), Vec::new(), io::empty(), None, None);
    let mut stream = request.upgrade("HTTP/1.1", interim);
    let body = refusal.body();
    let mut answer = Cursor::new(Vec::new());
    let _ = write!(
        answer,
        "HTTP/1.1 {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        refusal.status,
        body.len()
    );
    let _ = answer.write_all(&body);
    let _ = stream.write_all(&answer.into_inner());
    let _ = stream.flush();
    std::mem::forget(stream);
}

/// The head, when all is as it should be.
///
/// # Errors
///
/// The refusal that the request deserves; nothing that follows on its connection can be trusted then.
fn head(request: &Request, limits: &Limits) -> Result<Head, Refusal> {
    let version = match request.http_version() {
        HTTPVersion(1, 1) => Version::HTTP_11,
        HTTPVersion(1, 0) => Version::HTTP_10,
        _ => return Err(unsupported_version("only HTTP/1.1 and HTTP/1.0 are supported")),
    };
    let (target, fields) = (request.url(), request.headers());
    let size: usize =
        fields.iter().map(|f| f.field.as_str().as_str().len() + f.value.as_str().len() + 4).sum();
    if size + target.len() > limits.head_bytes || fields.len() > MAX_FIELDS {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(Refusal::request(status, "headers_too_large", "the request head is too large"));
    }
    if !target.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(bad("the request target is malformed"));
    }
    let mut headers = Fields::with_capacity(fields.len(), size);
    for field in fields {
        let (name, value) = (field.field.as_str().as_str(), field.value.as_str().as_bytes());
        if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_bytes(value).is_err() {
            return Err(bad("a header field is malformed"));
        }
        headers.push(name, value);
    }
    let head = head::assemble(request.method().as_str(), target, version, headers)?;
    if version == Version::HTTP_10 && wants_keep_alive(&head) {
        return Err(unsupported_version("keep-alive needs HTTP/1.1 in this build's HTTP server (tiny_http)"));
    }
    if is_upgrade(request) && head.length == crate::server::Length::Unknown {
        // tiny_http does not decode it.
        return Err(bad("a chunked body together with an upgrade"));
    }
    Ok(head)
}

/// tiny_http gives the bare connection for a body, and reads no further request.
pub(super) fn is_upgrade(request: &Request) -> bool {
    connection_names(request, "upgrade")
}

/// tiny_http closes the connection after this request.
pub(super) fn is_last(request: &Request) -> bool {
    is_upgrade(request) || connection_names(request, "close") || *request.http_version() == HTTPVersion(1, 0)
}

/// As tiny_http looks at it: the first field, any part of it.
fn connection_names(request: &Request, option: &str) -> bool {
    let field = request.headers().iter().find(|header| header.field.equiv("Connection"));
    field.is_some_and(|header| header.value.as_str().to_ascii_lowercase().contains(option))
}

fn bad(message: &str) -> Refusal {
    Refusal::request(StatusCode::BAD_REQUEST, "bad_request", message)
}

fn unsupported_version(message: &str) -> Refusal {
    Refusal::request(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "http_version_not_supported", message)
}
