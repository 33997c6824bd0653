//! `ALLOWED_ORIGINS`: what a browser wants to see before a page of another origin may call and read the response (Fetch
//! standard, section 3.3 "CORS protocol").

use std::io;
use std::sync::Arc;
use std::time::Instant;

use http::{Method, StatusCode};

use crate::config::AllowedOrigins;
use crate::fields::{Fields, is};
use crate::net::{Socket, Stream};
use crate::server::{Exchange, Head, Length, Peer};

/// How long a browser may remember what a preflight response says; Chromium takes two hours at most.
const MAX_AGE_SECONDS: &[u8] = b"7200";

/// Whether the browser asks if a request may be sent. It carries no key and no cookie.
pub(super) fn is_preflight(head: &Head) -> bool {
    head.method == Method::OPTIONS
        && head.headers.contains("origin")
        && head.headers.contains("access-control-request-method")
}

/// The request's origin, if it has one and pages of it may call.
pub(super) fn allowed_origin(allowed: &AllowedOrigins, head: &Head) -> Option<Vec<u8>> {
    if allowed.is_empty() {
        return None;
    }
    let mut origins = head.headers.get_all("origin");
    let origin = origins.next().filter(|origin| allowed.allow(origin))?;
    origins.next().is_none().then(|| origin.to_vec())
}

/// Allows what a preflight asks for: the upstream decides about methods and fields. To be called with an exchange that
/// [names the origin](CrossOriginExchange).
pub(super) fn allow(preflight: &Head, exchange: &mut dyn Exchange) {
    let mut headers = Fields::default();
    // Private and local network access: a page of a public site asks for an address of this machine or network.
    for subject in ["method", "headers", "private-network", "local-network"] {
        let Some(asked) = preflight.headers.get(&format!("access-control-request-{subject}")) else {
            continue;
        };
        let subject = if subject == "method" { "methods" } else { subject };
        headers.push(&format!("access-control-allow-{subject}"), asked);
    }
    headers.push("access-control-max-age", MAX_AGE_SECONDS);
    exchange.start(StatusCode::NO_CONTENT, &headers, Length::Empty);
    let _ = exchange.finish();
}

/// An exchange whose response, whatever it is, a page of the request's origin may read.
pub(super) struct CrossOriginExchange<'a> {
    pub(super) exchange: &'a mut dyn Exchange,
    pub(super) origin: Vec<u8>,
}

impl Exchange for CrossOriginExchange<'_> {
    fn start(&mut self, status: StatusCode, headers: &Fields, length: Length) {
        let mut headers = headers.clone();
        // With the upstream's own, cookies would count, and `*` would not mean every field.
        headers.retain(|name, _| !is(name, "access-control-allow-credentials"));
        headers.set("access-control-allow-origin", &self.origin);
        headers.set("access-control-expose-headers", b"*");
        headers.push("vary", b"origin");
        self.exchange.start(status, &headers, length);
    }

    fn read_body(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.exchange.read_body(buffer)
    }

    fn send_continue(&mut self) -> io::Result<Option<Instant>> {
        self.exchange.send_continue()
    }

    fn has_buffered_body(&mut self) -> io::Result<bool> {
        self.exchange.has_buffered_body()
    }

    fn poll_body(&mut self) -> io::Result<bool> {
        self.exchange.poll_body()
    }

    fn peer(&self) -> &Peer {
        self.exchange.peer()
    }

    fn release_head(&mut self) {
        self.exchange.release_head();
    }

    fn client(&self) -> Option<Arc<Socket>> {
        self.exchange.client()
    }

    fn tunnel(&mut self) -> Option<&mut Stream> {
        self.exchange.tunnel()
    }

    fn has_started(&self) -> bool {
        self.exchange.has_started()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.exchange.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.exchange.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.exchange.finish()
    }
}
