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
    /// It brings an ephemeral key of the Realtime API, which takes the place of the token.
    pub(super) has_ephemeral_key: bool,
}

impl UpstreamRequest {
    pub(super) fn new(config: &Config, head: Head, websocket: bool) -> Result<Self, Failure> {
        let bad_request =
            |message| Failure::from(ErrorResponse::request(StatusCode::BAD_REQUEST, "bad_request", message));
        let target = target::forwarded(&config.base_url, &head.target).map_err(bad_request)?;
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let public_origin =
            config.rewrite_location.then(|| target::public_origin(scheme, &head.headers)).flatten();
        let mut headers = head.headers;
        let mut has_ephemeral_key = false;
        if headers::has_ephemeral_key(&headers, websocket) && target::is_realtime(&target) {
            has_ephemeral_key = match headers::strip_request_but_ephemeral_keys(&mut headers) {
                0 => false,
                1 => true,
                // Which of them would count is not ours to guess.
                _ => return Err(bad_request("there is more than one ephemeral key (ek_...)")),
            };
        } else {
            headers::strip_request(&mut headers);
        }
        if websocket {
            headers::insert_websocket_upgrade(&mut headers);
        }
        let (method, length) = (head.method, head.length);
        Ok(Self { method, target, headers, length, websocket, public_origin, has_ephemeral_key })
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

    /// What bypasses ureq: the target, and the header lines as they came, then the token, if it is ours that counts.
    pub(super) fn bypass(&self, token: Option<&Token>) -> Bypass {
        const NAME: &[u8] = b"authorization: ";
        let bearer = token.map_or(&b""[..], |token| token.bearer().as_bytes());
        let mut header_lines = Vec::with_capacity(self.headers.size() + NAME.len() + bearer.len() + 2);
        self.headers.write(&mut header_lines);
        if token.is_some() {
            for part in [NAME, bearer, b"\r\n"] {
                header_lines.extend_from_slice(part);
            }
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
