//! A request on its way out: what ureq is given.

use http::{Method, Request, Response, StatusCode, Uri};
use ureq::{Body, SendBody};

use super::failure::Failure;
use super::upload::Upload;
use super::{headers, target};
use crate::config::Config;
use crate::fields::{Fields, is};
use crate::server::{Head, Length, Refusal};
use crate::token::Token;
use crate::upstream::{Call, Upstream};

/// A request as the destination shall get it, the token apart.
pub(super) struct Outgoing {
    pub(super) method: Method,
    uri: Uri,
    /// What passes of the fields that came.
    headers: Fields,
    pub(super) length: Length,
    /// It asks for a WebSocket.
    pub(super) websocket: bool,
    /// The most bytes that its head takes, those fields apart.
    pub(super) size: usize,
    /// Where the caller reached us, when locations shall be rewritten.
    pub(super) own_origin: Option<String>,
}

impl Outgoing {
    pub(super) fn new(config: &Config, head: Head, websocket: bool) -> Result<Self, Failure> {
        let Some(uri) = target::join(&config.destination, &head.target) else {
            let message = "the request target has characters that no URI may have";
            return Err(Refusal::request(StatusCode::BAD_REQUEST, "bad_request", message).into());
        };
        let own_origin = config.rewrite_location.then(|| target::own_origin(&head.headers)).flatten();
        let mut headers = head.headers;
        headers::strip_request(&mut headers);
        if websocket {
            headers::insert_websocket_upgrade(&mut headers);
        }
        let size = head.target.len() + config.destination.base_path.len() + HEAD_ROOM;
        Ok(Self { method: head.method, uri, headers, length: head.length, websocket, size, own_origin })
    }

    /// Whether a field of this name is among those that pass.
    pub(super) fn passes(&self, name: &str) -> bool {
        let framing = headers::framing(&self.method, self.length);
        self.headers.contains(name)
            || framing.is_some_and(|(framing, _)| is(name.as_bytes(), framing.as_str()))
    }

    /// The lines of its head that pass ureq by: the fields as they came, and the token.
    pub(super) fn lines(&self, token: &Token) -> Vec<u8> {
        const NAME: &[u8] = b"authorization: ";
        let bearer = token.bearer().as_bytes();
        let mut lines = Vec::with_capacity(self.headers.size() + NAME.len() + bearer.len() + 2);
        self.headers.write(&mut lines);
        for part in [NAME, bearer, b"\r\n"] {
            lines.extend_from_slice(part);
        }
        lines
    }

    /// Sends it, on a `fresh` connection if need be.
    pub(super) fn send(
        &self,
        upstream: &Upstream,
        call: &Call,
        upload: &mut Upload<'_>,
        fresh: bool,
    ) -> Result<Response<Body>, ureq::Error> {
        match self.length {
            Length::Empty | Length::Known(0) => upstream.send(self.with(SendBody::none()), call, fresh),
            _ => upstream.send(self.with(SendBody::from_reader(upload)), call, fresh),
        }
    }

    fn with<'a>(&self, body: SendBody<'a>) -> Request<SendBody<'a>> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        // `Host` and the framing.
        request.headers_mut().reserve(2);
        request.headers_mut().extend(headers::framing(&self.method, self.length));
        request
    }

    /// RFC 9110 section 9.2.2.
    pub(super) fn is_idempotent(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
    }
}

/// Room for what else ureq writes of a head: method, version, Host, the framing.
const HEAD_ROOM: usize = 1024;
