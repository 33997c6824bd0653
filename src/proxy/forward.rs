//! One request, from its head to the end of its answer.

use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use ureq::{Body, SendBody};

use super::failure::{self, Failure};
use super::relay::{self, Cut, Relayed};
use super::upload::{Kept, Upload};
use super::{caller, headers, target, tunnel};
use crate::config::Config;
use crate::log;
use crate::ops::health;
use crate::server::{Exchange, Head, Length, Refusal, Service};
use crate::token::{Token, TokenStore};
use crate::upstream::{Call, Scope, Upstream};

/// How long a request waits for a token that is on its way.
const TOKEN_WAIT: Duration = Duration::from_secs(5);
/// How long one that was answered with 401 waits for a newer token.
const NEWER_TOKEN_WAIT: Duration = Duration::from_secs(10);

/// What requests are served with.
pub struct Proxy {
    config: Arc<Config>,
    upstream: Upstream,
    tokens: Arc<TokenStore>,
}

/// What became of a request, for the access log.
enum Outcome {
    /// The destination's answer was passed on.
    Relayed(StatusCode, Relayed),
    /// A WebSocket was opened and has ended.
    Tunnelled(tunnel::Tunnelled),
    /// One of ours: the status.
    Own(StatusCode),
    /// The client left before there was an answer.
    ClientGone,
}

impl Proxy {
    /// A proxy to the destination that `config` names.
    pub fn new(config: Arc<Config>, upstream: Upstream, tokens: Arc<TokenStore>) -> Self {
        Self { config, upstream, tokens }
    }

    /// Answers a request that is for the destination.
    fn forward(&self, head: Head, exchange: &mut dyn Exchange) -> Result<Outcome, Failure> {
        if let Some(key) = &self.config.proxy_api_key {
            caller::check(key.expose(), &head)?;
        }
        let websocket = headers::asks_for_websocket(&head);
        if websocket && exchange.client().is_none() {
            let message = "this build's HTTP server (tiny_http) cannot carry WebSockets";
            return Err(
                Refusal::request(StatusCode::NOT_IMPLEMENTED, "websocket_not_supported", message).into()
            );
        }
        let request = Outgoing::new(&self.config, head, websocket)?;
        let mut token = self.tokens.obtain(TOKEN_WAIT).map_err(|u| failure::no_token(&u))?;
        let mut kept = Kept::new(request.length);
        let (mut retried, mut replayed) = (false, false);
        loop {
            let scope = Scope::enter(exchange.client(), request.size, exchange.body_at_hand());
            let call = scope.call();
            let mut upload = Upload::new(exchange, Rc::clone(call), &mut kept, request.length);
            match request.send(&self.upstream, &token, &mut upload, retried) {
                Err(error) => {
                    let again = call.stale_connection()
                        && (call.nothing_sent() || request.is_idempotent())
                        && kept.can_resume();
                    if retried || !again {
                        return Err(failure::from_ureq(&error));
                    }
                    retried = true;
                }
                Ok(response) => {
                    if response.status() == StatusCode::UNAUTHORIZED
                        && self.tokens.reject(&token)
                        && !replayed
                    {
                        replayed = true;
                        let newer = if kept.is_whole() {
                            self.tokens.newer_than(&token, NEWER_TOKEN_WAIT)
                        } else {
                            None
                        };
                        if let Some(newer) = newer {
                            token = newer;
                            continue;
                        }
                    }
                    drop(kept);
                    return self.pass_on(&request, response, call, exchange);
                }
            }
        }
    }

    /// Sends the destination's answer on.
    fn pass_on(
        &self,
        request: &Outgoing,
        response: Response<Body>,
        call: &Call,
        exchange: &mut dyn Exchange,
    ) -> Result<Outcome, Failure> {
        let (mut parts, body) = response.into_parts();
        if self.config.rewrite_location {
            target::rewrite_locations(
                &mut parts.headers,
                &self.config.destination,
                request.own_origin.as_deref(),
            );
        }
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            drop(body);
            return open_tunnel(parts.headers, call, exchange);
        }
        let Some(length) = relay::length(&request.method, &parts) else {
            return Err(failure::bad_answer("its Transfer-Encoding is not chunked alone".into()));
        };
        let status = parts.status;
        let relayed = relay::relay(parts, body.into_reader(), length, call, exchange);
        Ok(Outcome::Relayed(status, relayed))
    }
}

impl Service for Proxy {
    fn serve(&self, head: Head, exchange: &mut dyn Exchange) {
        if head.path() == health::PATH && matches!(head.method, Method::GET | Method::HEAD) {
            health::answer(&self.tokens, exchange);
            return;
        }
        let started = Instant::now();
        let (method, path) = (head.method.clone(), head.path().to_owned());
        let outcome = match self.forward(head, exchange) {
            Ok(outcome) => outcome,
            Err(Failure::ClientGone) => Outcome::ClientGone,
            Err(Failure::Refused { refusal, kind, cause, hint }) => {
                let hint = hint.unwrap_or_default();
                log::warn(
                    "request failed",
                    &[
                        ("method", &method),
                        ("path", &path),
                        ("status", &refusal.status.as_u16()),
                        ("kind", &kind),
                        ("cause", &cause),
                        ("hint", &hint),
                    ],
                );
                refusal.send(exchange);
                Outcome::Own(refusal.status)
            }
        };
        log_access(&method, &path, &outcome, started.elapsed());
    }
}

/// A request as the destination shall get it, the token apart.
struct Outgoing {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    length: Length,
    /// The most bytes that its head takes.
    size: usize,
    /// Where the caller reached us, when locations shall be rewritten.
    own_origin: Option<String>,
}

impl Outgoing {
    fn new(config: &Config, head: Head, websocket: bool) -> Result<Self, Failure> {
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
        headers::frame_request(&mut headers, &head.method, head.length);
        let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        let size = fields + head.target.len() + config.destination.base_path.len() + HEAD_ROOM;
        Ok(Self { method: head.method, uri, headers, length: head.length, size, own_origin })
    }

    fn send(
        &self,
        upstream: &Upstream,
        token: &Token,
        upload: &mut Upload<'_>,
        fresh_connection: bool,
    ) -> Result<Response<Body>, ureq::Error> {
        match self.length {
            Length::Empty | Length::Known(0) => self.run(upstream, token, SendBody::none(), fresh_connection),
            _ => self.run(upstream, token, SendBody::from_reader(upload), fresh_connection),
        }
    }

    fn run(
        &self,
        upstream: &Upstream,
        token: &Token,
        body: SendBody<'_>,
        fresh_connection: bool,
    ) -> Result<Response<Body>, ureq::Error> {
        let mut headers = self.headers.clone();
        headers.insert(AUTHORIZATION, token.bearer().clone());
        let mut request = http::Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        if fresh_connection {
            // Drops the idle connections too, which are likely as stale as the one that failed.
            request = upstream.destination.configure_request(request).max_idle_age(Duration::ZERO).build();
        }
        upstream.destination.run(request)
    }

    /// RFC 9110 section 9.2.2.
    fn is_idempotent(&self) -> bool {
        matches!(
            self.method,
            Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
        )
    }
}

/// Room for the request line, Host, and a token, which may be 10 KB long.
const HEAD_ROOM: usize = 24 * 1024;

fn open_tunnel(mut fields: HeaderMap, call: &Call, exchange: &mut dyn Exchange) -> Result<Outcome, Failure> {
    let (Some(wire), Some(client)) = (call.wire(), exchange.client()) else {
        return Err(failure::bad_answer("it switched protocols without being asked".into()));
    };
    headers::strip_response(&mut fields);
    headers::insert_websocket_upgrade(&mut fields);
    exchange.start(StatusCode::SWITCHING_PROTOCOLS, &fields, Length::Empty);
    let mut carried = tunnel::Tunnelled::default();
    if exchange.flush().is_ok() {
        let mut wire = wire.lock().unwrap_or_else(PoisonError::into_inner);
        // A broken connection is an end like any other: both sides see it.
        let _ = tunnel::run(&client, exchange.take_ahead(), &mut wire, &mut carried);
    }
    Ok(Outcome::Tunnelled(carried))
}

fn log_access(method: &Method, path: &str, outcome: &Outcome, took: Duration) {
    let ms = format!("{:.1}", took.as_secs_f64() * 1000.0);
    let request: [(&str, &dyn std::fmt::Display); 2] = [("method", method), ("path", &path)];
    let mut fields = request.to_vec();
    let (status, bytes, cut, to_destination);
    match outcome {
        Outcome::Relayed(code, relayed) => {
            status = code.as_u16();
            fields.push(("status", &status));
            fields.push(("bytes", &relayed.bytes));
            if let Some(why) = &relayed.cut {
                cut = match why {
                    Cut::Destination(error) => format!("destination: {error}"),
                    Cut::Client(error) => format!("client: {error}"),
                };
                fields.push(("cut", &cut));
            }
        }
        Outcome::Tunnelled(carried) => {
            status = 101;
            (to_destination, bytes) = (carried.to_destination, carried.to_client);
            fields.extend::<[(&str, &dyn std::fmt::Display); 3]>([
                ("status", &status),
                ("bytes_up", &to_destination),
                ("bytes_down", &bytes),
            ]);
        }
        Outcome::Own(code) => {
            status = code.as_u16();
            fields.push(("status", &status));
        }
        Outcome::ClientGone => fields.push(("status", &"client_gone")),
    }
    fields.push(("ms", &ms));
    log::info("request", &fields);
}
