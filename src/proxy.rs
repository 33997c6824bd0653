//! From a request without a credential to the upstream's response: who may call, which header fields are forwarded, the
//! token, retries.

mod access_log;
mod api_key;
mod debug_log;
mod failure;
mod forward;
pub mod headers;
mod refusal_log;
mod relay;
mod request_body;
mod retry;
pub mod target;
mod tunnel;
mod upstream_errors;
mod upstream_request;

use std::sync::Arc;

use http::Method;

use self::access_log::{FailedRequest, RequestOutcome, RequestStats};
use self::failure::Failure;
use self::refusal_log::RefusalLog;
use self::upstream_errors::UpstreamErrorLog;
use crate::config::Config;
use crate::ops::health;
use crate::ops::metrics::Metrics;
use crate::server::{ErrorResponse, Exchange, Head, Overload, Peer, Service};
use crate::token::TokenStore;
use crate::upstream::Upstream;

/// What requests are served with.
pub struct Proxy {
    config: Arc<Config>,
    upstream: Upstream,
    tokens: Arc<TokenStore>,
    metrics: Arc<Metrics>,
    refusal_log: Arc<RefusalLog>,
    upstream_errors: Arc<UpstreamErrorLog>,
}

impl Proxy {
    /// A proxy to the upstream that `config` names.
    pub fn new(
        config: Arc<Config>,
        upstream: Upstream,
        tokens: Arc<TokenStore>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let upstream_errors = Arc::new(UpstreamErrorLog::new(config.other_scope()));
        Self { config, upstream, tokens, metrics, refusal_log: Arc::default(), upstream_errors }
    }

    /// What happened and is not logged yet, because there may be more of it.
    pub(crate) fn pending_logs(&self) -> PendingLogs {
        PendingLogs(Arc::clone(&self.refusal_log), Arc::clone(&self.upstream_errors))
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

/// What is logged together once a period.
#[derive(Default)]
pub(crate) struct PendingLogs(Arc<RefusalLog>, Arc<UpstreamErrorLog>);

impl PendingLogs {
    /// Logs what is due. To be called every second.
    pub(crate) fn flush(&self) {
        self.0.flush();
        self.1.flush();
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
        if let Some(overload) = response.overload {
            self.metrics.overloads.add(overload.name());
        }
        self.refusal_log.record(response, peer);
    }
}
