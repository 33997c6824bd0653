//! From a request without a credential to the upstream's response: who may call, which header fields are forwarded, the
//! token, retries.

mod access_log;
mod api_key;
mod debug_log;
mod failure;
mod forward;
pub mod headers;
mod relay;
mod request_body;
mod retry;
pub mod target;
mod tunnel;
mod upstream_request;

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use self::access_log::{FailedRequest, RequestOutcome, RequestStats};
use self::failure::Failure;
use crate::config::Config;
use crate::log::{self, Throttle};
use crate::ops::health;
use crate::ops::metrics::Metrics;
use crate::server::{ErrorResponse, Exchange, HandshakeError, Head, Overload, Peer, Service};
use crate::token::TokenStore;
use crate::upstream::Upstream;

/// Every connection above the limit is rejected; that there are some is logged once a second.
static OVERLOAD_LOG: Throttle = Throttle::every(Duration::from_secs(1));
/// One client that does not trust our certificate may try without end.
static HANDSHAKE_LOG: Throttle = Throttle::every(Duration::from_secs(1));

/// What requests are served with.
pub struct Proxy {
    config: Arc<Config>,
    upstream: Upstream,
    tokens: Arc<TokenStore>,
    metrics: Arc<Metrics>,
}

impl Proxy {
    /// A proxy to the upstream that `config` names.
    pub fn new(
        config: Arc<Config>,
        upstream: Upstream,
        tokens: Arc<TokenStore>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { config, upstream, tokens, metrics }
    }

    /// Counts a request that got no response from the upstream.
    fn count_failure(&self, response: &ErrorResponse, kind: &'static str) {
        match (response.kind, kind) {
            // Its code is an AADSTS number: too many values for a label.
            ("authentication_error", _) => self.metrics.refusals.add("token_unavailable"),
            (_, failure::REFUSED) => self.metrics.refusals.add(&response.code),
            _ => self.metrics.upstream_errors.add(kind),
        }
    }
}

impl Service for Proxy {
    fn serve(&self, head: Head, exchange: &mut dyn Exchange) {
        if head.path() == health::PATH && matches!(head.method, Method::GET | Method::HEAD) {
            health::respond(&self.tokens, exchange);
            return;
        }
        let mut stats = RequestStats::begin(&head, exchange.peer(), &self.metrics);
        let outcome = match self.forward(head, exchange, &mut stats) {
            Ok(outcome) => outcome,
            Err(Failure::ClientGone) => RequestOutcome::ClientGone,
            Err(Failure::Refused { response, kind, cause, hint }) => {
                self.count_failure(&response, kind);
                response.send(exchange);
                let (status, upstream) = (response.status, self.config.base_url.authority.to_string());
                RequestOutcome::Failed(FailedRequest { status, upstream, kind, cause, hint })
            }
        };
        stats.finish(&outcome);
    }

    fn reject_overloaded(&self, head: Head, by: Overload, exchange: &mut dyn Exchange) {
        if head.path() == health::PATH {
            health::respond(&self.tokens, exchange);
        } else {
            let response = ErrorResponse::overloaded(by);
            self.refused(&response, exchange.peer());
            response.send(exchange);
        }
    }

    fn refused(&self, response: &ErrorResponse, peer: &Peer) {
        self.metrics.refusals.add(&response.code);
        let (client, status) = (&peer.address, response.status.as_u16());
        let (code, why) = (&response.code, &response.message);
        let Some(overload) = response.overload else {
            let fields: log::LogFields<'_> =
                &[("client", &client), ("status", &status), ("code", code), ("why", why)];
            log::info("request refused", fields);
            return;
        };
        let reason = overload.name();
        self.metrics.overloads.add(reason);
        if let Some(suppressed) = OVERLOAD_LOG.allow() {
            let fields: log::LogFields<'_> = &[
                ("client", &client),
                ("status", &status),
                ("code", code),
                ("reason", &reason),
                ("why", why),
                ("suppressed", &suppressed),
            ];
            log::warn("request refused", fields);
        }
    }

    fn handshake_failed(&self, error: &HandshakeError, peer: &Peer) {
        // A port check, as load balancers do all day.
        if matches!(error, HandshakeError::Silent) {
            return;
        }
        let (reason, cause, hint) = (error.reason(), error.to_string(), error.hint());
        self.metrics.handshake_failures.add(reason);
        if let Some(suppressed) = HANDSHAKE_LOG.allow() {
            let mut fields: Vec<(&str, &dyn log::Value)> = vec![
                ("client", &peer.address),
                ("reason", &reason),
                ("cause", &cause),
                ("suppressed", &suppressed),
            ];
            fields.extend(hint.iter().map(|hint| ("hint", hint as &dyn log::Value)));
            log::info("TLS handshake failed", &fields);
        }
    }
}
