//! From a request without a credential to the upstream's response: who may call, which header fields are forwarded, the
//! token, retries.

mod access_log;
mod allowed_requests;
mod api_key;
mod callers;
mod cors;
mod debug_log;
mod failure;
mod forward;
pub mod headers;
mod refusal_log;
mod relay;
mod request_body;
mod retry;
pub mod target;
mod trace_context;
mod tunnel;
mod upstream_errors;
mod upstream_request;
pub(crate) mod web_pages;

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use self::access_log::{FailedRequest, RequestOutcome, RequestStats};
pub use self::callers::Callers;
pub(crate) use self::callers::{DEFAULT_CALLER, is_name as is_caller_name, line as caller_line};
use self::cors::CrossOriginExchange;
use self::failure::Failure;
pub(crate) use self::refusal_log::RefusalLog;
use self::upstream_errors::UpstreamErrorLog;
use crate::config::Config;
use crate::log::{self, Throttle};
use crate::ops::health;
use crate::ops::metrics::Metrics;
use crate::server::{ErrorResponse, Exchange, HandshakeError, Head, Overload, Peer, Service};
use crate::token::TokenStore;
use crate::upstream::Upstream;

/// One client that does not trust our certificate may try without end.
static HANDSHAKE_LOG: Throttle = Throttle::every(Duration::from_secs(1));

/// What requests are served with.
pub struct Proxy {
    config: Arc<Config>,
    /// None when anybody may call.
    callers: Option<Callers>,
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
        callers: Option<Callers>,
        upstream: Upstream,
        tokens: Arc<TokenStore>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let upstream_errors = Arc::new(UpstreamErrorLog::new(config.other_scope()));
        Self { config, callers, upstream, tokens, metrics, refusal_log: Arc::default(), upstream_errors }
    }

    /// What happened and is not logged yet, because there may be more of it.
    pub(crate) fn pending_logs(&self) -> PendingLogs {
        PendingLogs(Arc::clone(&self.refusal_log), Arc::clone(&self.upstream_errors))
    }

    /// Responds to a request: the order of the checks that come before it is forwarded.
    fn respond(&self, head: Head, exchange: &mut dyn Exchange) {
        let checked = self.check_web_page(&head, exchange.peer());
        if checked.is_ok() && is_health(&head) {
            health::respond(&self.tokens, exchange);
            return;
        }
        if checked.is_ok() && !self.config.allowed_origins.is_empty() && cors::is_preflight(&head) {
            cors::allow(&head, exchange);
            return;
        }
        let mut stats = RequestStats::begin(&head, exchange.peer(), &self.metrics);
        let outcome = checked.map_err(Failure::from).and_then(|()| self.forward(head, exchange, &mut stats));
        let outcome = match outcome {
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

    /// As [`web_pages::check`]. A page does not know the key: where one is required, only preflights, which never carry
    /// one, are checked. A client certificate is no such thing: a browser that has one presents it for any page.
    fn check_web_page(&self, head: &Head, peer: &Peer) -> Result<(), ErrorResponse> {
        let config = &self.config;
        if self.callers.is_some() {
            let is_ours = !config.allowed_origins.is_empty() && cors::is_preflight(head);
            return if is_ours {
                web_pages::check_origin(&config.allowed_origins, &head.headers)
            } else {
                Ok(())
            };
        }
        web_pages::check(config, head, peer).map_err(|mut response| {
            response.message.push_str(", or set PROXY_API_KEY");
            response
        })
    }

    /// Lets a page of an allowed origin read the response that `respond` sends, whatever it is.
    fn with_cors(
        &self,
        head: Head,
        exchange: &mut dyn Exchange,
        respond: impl FnOnce(Head, &mut dyn Exchange),
    ) {
        match cors::allowed_origin(&self.config.allowed_origins, &head) {
            Some(origin) => respond(head, &mut CrossOriginExchange { exchange, origin }),
            None => respond(head, exchange),
        }
    }

    /// Counts a request that got no response from the upstream.
    fn count_failure(&self, response: &ErrorResponse, kind: &'static str) {
        match kind {
            failure::REFUSED => self.metrics.refusals.add(&response.code),
            // Its code is an AADSTS number: too many values for a label.
            failure::NO_TOKEN => self.metrics.refusals.add(kind),
            _ => self.metrics.upstream_errors.add(kind),
        }
    }
}

/// Every other request to this path is forwarded.
fn is_health(head: &Head) -> bool {
    head.path() == health::PATH && matches!(head.method, Method::GET | Method::HEAD)
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

    /// Logs everything: the program ends.
    pub(crate) fn finish(&self) {
        self.0.finish();
        self.1.finish();
    }

    /// For refusals elsewhere.
    pub(crate) fn refusals(&self) -> Arc<RefusalLog> {
        Arc::clone(&self.0)
    }
}

impl Service for Proxy {
    fn serve(&self, head: Head, exchange: &mut dyn Exchange) {
        self.with_cors(head, exchange, |head, exchange| self.respond(head, exchange));
    }

    fn reject_overloaded(&self, head: Head, by: Overload, exchange: &mut dyn Exchange) {
        self.with_cors(head, exchange, |head, exchange| {
            let response = match self.check_web_page(&head, exchange.peer()) {
                Ok(()) if is_health(&head) => return health::respond(&self.tokens, exchange),
                Ok(()) => ErrorResponse::overloaded(by),
                Err(forbidden) => forbidden,
            };
            self.refused(&response, exchange.peer());
            response.send(exchange);
        });
    }

    fn refused(&self, response: &ErrorResponse, peer: &Peer) {
        self.metrics.refusals.add(&response.code);
        if let Some(overload) = response.overload {
            self.metrics.overloads.add(overload.name());
        }
        self.refusal_log.record(response, peer);
    }

    fn handshake_failed(&self, error: &HandshakeError, peer: &Peer) {
        // A port check, as load balancers do all day.
        if matches!(error, HandshakeError::Silent) {
            return;
        }
        let (reason, cause, hint) = (error.reason(), error.to_string(), error.hint());
        self.metrics.handshake_failures.add(reason);
        if let Some(suppressed) = HANDSHAKE_LOG.allow() {
            let mut fields: Vec<(&str, &dyn log::Value)> = peer.address.log_fields().collect();
            fields.extend::<[(&str, &dyn log::Value); 3]>([
                ("reason", &reason),
                ("cause", &cause),
                ("suppressed", &suppressed),
            ]);
            fields.extend(hint.iter().map(|hint| ("hint", hint as &dyn log::Value)));
            log::info("TLS handshake failed", &fields);
        }
    }
}
