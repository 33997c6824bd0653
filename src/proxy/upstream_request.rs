//! The request for the upstream, except the token.

use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::failure::Failure;
use super::{headers, target};
use crate::config::Config;
use crate::fields::{Fields, is};
use crate::server::{ErrorResponse, Head, Length};
use crate::token::Token;
use crate::upstream::Bypass;

pub(super) struct UpstreamRequest {
    pub(super) method: Method,
    target: String,
    headers: Fields,
    pub(super) length: Length,
    /// It asks for a WebSocket.
    pub(super) websocket: bool,
    /// The origin that the client used, when locations are to be rewritten.
    pub(super) public_origin: Option<String>,
}

impl UpstreamRequest {
    pub(super) fn new(config: &Config, head: Head, websocket: bool) -> Result<Self, Failure> {
        let target = target::forwarded(&config.base_url, &head.target).map_err(|message| {
            Failure::from(ErrorResponse::request(StatusCode::BAD_REQUEST, "bad_request", message))
        })?;
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let public_origin =
            config.rewrite_location.then(|| target::public_origin(scheme, &head.headers)).flatten();
        let mut headers = head.headers;
        headers::strip_request(&mut headers);
        if websocket {
            headers::insert_websocket_upgrade(&mut headers);
        }
        Ok(Self { method: head.method, target, headers, length: head.length, websocket, public_origin })
    }

    /// Whether a field of this name is forwarded.
    pub(super) fn passes(&self, name: &str) -> bool {
        self.headers.contains(name)
            || self.framing().is_some_and(|(framing, _)| is(name.as_bytes(), framing.as_str()))
    }

    /// How the body is framed, for ureq.
    pub(super) fn framing(&self) -> Option<(HeaderName, HeaderValue)> {
        headers::framing(&self.method, self.length)
    }

    /// What bypasses ureq: the target, and the header lines as they came, then the token.
    pub(super) fn bypass(&self, token: &Token) -> Bypass {
        const NAME: &[u8] = b"authorization: ";
        let bearer = token.bearer().as_bytes();
        let mut header_lines = Vec::with_capacity(self.headers.size() + NAME.len() + bearer.len() + 2);
        self.headers.write(&mut header_lines);
        for part in [NAME, bearer, b"\r\n"] {
            header_lines.extend_from_slice(part);
        }
        Bypass { target: self.target.clone(), header_lines }
    }

    /// Frees what only sending needs.
    pub(super) fn release_head(&mut self) {
        (self.target, self.headers) = Default::default();
    }

    /// RFC 9110 section 9.2.2.
    pub(super) fn is_idempotent(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
    }
}
