//! One request, from its head to the end of its answer.

use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http::{Method, Response, StatusCode};
use ureq::Body;

use super::access::Outcome;
use super::decisions::{self, Arrived};
use super::failure::{self, Failure};
use super::outgoing::Outgoing;
use super::record::Record;
use super::upload::{Kept, Upload};
use super::{caller, headers, relay, target, tunnel};
use crate::config::Config;
use crate::fields::Fields;
use crate::log::{self, Throttle};
use crate::ops::health;
use crate::ops::metrics::Metrics;
use crate::server::{Exchange, Head, Length, Refusal, Service};
use crate::token::{Token, TokenStore};
use crate::upstream::{Call, Scope, Upstream};

/// How long a request waits for a token that is on its way.
const TOKEN_WAIT: Duration = Duration::from_secs(5);
/// How long one that was answered with 401 waits for a newer token.
const NEWER_TOKEN_WAIT: Duration = Duration::from_secs(10);

/// Every connection above the cap is refused; that there are some is told once a second.
static CROWD: Throttle = Throttle::every(Duration::from_secs(1));

/// What requests are served with.
pub struct Proxy {
    config: Arc<Config>,
    upstream: Upstream,
    tokens: Arc<TokenStore>,
    metrics: Arc<Metrics>,
}

impl Proxy {
    /// A proxy to the destination that `config` names.
    pub fn new(
        config: Arc<Config>,
        upstream: Upstream,
        tokens: Arc<TokenStore>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { config, upstream, tokens, metrics }
    }

    /// Answers a request that is for the destination.
    fn forward(
        &self,
        head: Head,
        exchange: &mut dyn Exchange,
        record: &mut Record<'_>,
    ) -> Result<Outcome, Failure> {
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
        let arrived = Arrived::look(&head);
        let request = Outgoing::new(&self.config, head, websocket)?;
        if let Some(arrived) = arrived {
            arrived.tell(&request, &record.path);
        }
        let mut token = self.token(&record.path)?;
        let mut kept = Kept::new(request.length);
        let (mut retried, mut replayed, mut renewed) = (false, false, false);
        loop {
            let held = exchange.body_at_hand();
            let scope = Scope::enter(exchange.client(), request.lines(&token), request.size, held);
            let call = scope.call();
            call.send_before(self.tokens.clock().clone(), token.usable_until());
            let mut upload = Upload::new(exchange, Rc::clone(call), &mut kept, request.length);
            record.sending();
            decisions::sending(&record.path, held);
            let answer = request.send(&self.upstream, call, &mut upload, retried);
            record.bytes_up = kept.read();
            match answer {
                Err(error) if !renewed && failure::is_too_late(&error) && kept.can_resume() => {
                    renewed = true;
                    self.metrics.repetitions.add("token_expired");
                    decisions::again(&record.path, "connecting took until the token had expired");
                    token = self.token(&record.path)?;
                }
                Err(error) => {
                    let again = failure::is_disconnect(&error)
                        && call.stale_connection()
                        && (call.nothing_sent() || request.is_idempotent())
                        && kept.can_resume();
                    if retried || !again {
                        return Err(failure::from_ureq(&error));
                    }
                    retried = true;
                    self.metrics.repetitions.add("stale_connection");
                    decisions::again(&record.path, "the idle connection was closed by the destination");
                }
                Ok(response) => {
                    // With no rights to the model a 401 comes, too: a new token is asked for within limits.
                    if response.status() == StatusCode::UNAUTHORIZED
                        && self.tokens.reject(&token)
                        && kept.is_whole()
                        && !std::mem::replace(&mut replayed, true)
                        && let Some(newer) = self.tokens.newer_than(&token, NEWER_TOKEN_WAIT)
                    {
                        token = newer;
                        self.metrics.repetitions.add("token_rejected");
                        decisions::again(&record.path, "401, and there is a newer token");
                        continue;
                    }
                    drop(kept);
                    let headers = call.take_answer();
                    record.answered(&headers);
                    decisions::answered(&record.path, response.status(), &headers);
                    return self.pass_on(&request, response, headers, call, exchange);
                }
            }
        }
    }

    /// The token, if need be after waiting for it.
    fn token(&self, path: &str) -> Result<Arc<Token>, Failure> {
        if let Some(token) = self.tokens.usable() {
            return Ok(token);
        }
        decisions::waiting(path);
        self.tokens.obtain(TOKEN_WAIT).map_err(|unavailable| failure::no_token(&unavailable).into())
    }

    /// Counts a request that the destination has not answered.
    fn count_failure(&self, refusal: &Refusal, kind: &'static str) {
        match (refusal.kind, kind) {
            // Its code is an AADSTS number, of which there are too many.
            ("authentication_error", _) => self.metrics.refusals.add("token_unavailable"),
            (_, failure::REFUSED) => self.metrics.refusals.add(&refusal.code),
            _ => self.metrics.upstream_errors.add(kind),
        }
    }

    /// Sends the destination's answer on.
    fn pass_on(
        &self,
        request: &Outgoing,
        response: Response<Body>,
        mut headers: Fields,
        call: &Call,
        exchange: &mut dyn Exchange,
    ) -> Result<Outcome, Failure> {
        let (status, version) = (response.status(), response.version());
        let body = response.into_body();
        if self.config.rewrite_location {
            target::rewrite_locations(&mut headers, &self.config.destination, request.own_origin.as_deref());
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            drop(body);
            if !request.websocket {
                return Err(failure::bad_answer("it switched protocols without being asked".into()));
            }
            let _open = self.metrics.websockets.hold();
            return open_tunnel(headers, call, exchange);
        }
        let Some(length) = relay::length(&request.method, version, status, &headers) else {
            return Err(failure::bad_answer("its Transfer-Encoding is not chunked alone".into()));
        };
        let _open = (length == Length::Unknown).then(|| self.metrics.streams.hold());
        let relayed = relay::relay(status, headers, body.into_reader(), length, call, exchange);
        Ok(Outcome::Relayed(status, relayed))
    }
}

impl Service for Proxy {
    fn serve(&self, head: Head, exchange: &mut dyn Exchange) {
        if head.path() == health::PATH && matches!(head.method, Method::GET | Method::HEAD) {
            health::answer(&self.tokens, exchange);
            return;
        }
        let mut record = Record::begin(&head, &self.metrics);
        let outcome = match self.forward(head, exchange, &mut record) {
            Ok(outcome) => outcome,
            Err(Failure::ClientGone) => Outcome::ClientGone,
            Err(Failure::Refused { refusal, kind, cause, hint }) => {
                let status = refusal.status.as_u16();
                let mut fields: Vec<(&str, &dyn log::Value)> = vec![
                    ("method", &record.method),
                    ("path", &record.path),
                    ("status", &status),
                    ("destination", &self.config.destination.authority),
                    ("kind", &kind),
                    ("cause", &cause),
                ];
                fields.extend(hint.as_ref().map(|hint| ("hint", hint as &dyn log::Value)));
                log::warn("request failed", &fields);
                self.count_failure(&refusal, kind);
                refusal.send(exchange);
                Outcome::Own(refusal.status)
            }
        };
        record.end(&outcome);
    }

    fn turn_away(&self, head: Head, exchange: &mut dyn Exchange) {
        if head.path() == health::PATH {
            health::answer(&self.tokens, exchange);
        } else {
            let refusal = Refusal::too_many_connections();
            self.refused(&refusal);
            refusal.send(exchange);
        }
    }

    fn refused(&self, refusal: &Refusal) {
        self.metrics.refusals.add(&refusal.code);
        let crowd = refusal.status == StatusCode::SERVICE_UNAVAILABLE;
        let Some(untold) = (if crowd { CROWD.pass() } else { Some(0) }) else { return };
        let status = refusal.status.as_u16();
        let mut fields: Vec<(&str, &dyn log::Value)> =
            vec![("status", &status), ("code", &refusal.code), ("why", &refusal.message)];
        if untold > 0 {
            fields.push(("untold", &untold));
        }
        log::info("request refused", &fields);
    }
}

fn open_tunnel(mut fields: Fields, call: &Call, exchange: &mut dyn Exchange) -> Result<Outcome, Failure> {
    let (Some(wire), Some(client)) = (call.wire(), exchange.client()) else {
        return Err(failure::bad_answer("there is no connection to tunnel".into()));
    };
    if !headers::names_websocket(&fields) {
        return Err(failure::bad_answer("it switched to a protocol that was not asked for".into()));
    }
    headers::strip_response(&mut fields, false);
    headers::insert_websocket_upgrade(&mut fields);
    exchange.start(StatusCode::SWITCHING_PROTOCOLS, &fields, Length::Empty);
    let mut carried = tunnel::Tunnelled::default();
    if exchange.flush().is_ok() {
        let mut wire = wire.lock().unwrap_or_else(PoisonError::into_inner);
        tunnel::run(&client, exchange.take_ahead(), &mut wire, &mut carried);
    }
    Ok(Outcome::Tunnelled(carried))
}
