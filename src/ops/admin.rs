//! `ADMIN_PORT`: probes, metrics and pages for people, on a listener of their own. It needs no key, so that it must not show
//! anything confidential; it only shows, and it responds until the process ends.
//!
//! Three probes with three meanings, as Kubernetes asks for them:
//!
//! - `/livez`: the process responds. If not, it should be restarted; so it depends on nothing outside.
//! - `/startupz`: there was a token; for good.
//! - `/readyz`: there is a usable token, as `/health` says.
//!
//! `/metrics` is for Prometheus, `/` ([`super::status_page`]) and `/config` ([`super::config_page`]) are for people.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};

use super::{Sources, config_page, health, metrics, status_page};
use crate::fields::Fields;
use crate::proxy::{RefusalLog, web_pages};
use crate::server::{ErrorResponse, Exchange, Head, Limits, Overload, Peer, Service, send_full};

/// The descriptors that this takes at most: connections, those above the cap, listener and pipes.
pub(crate) const DESCRIPTORS: usize = 2 * CONNECTIONS + 8;

/// Probes of one node and a few scrapers.
const CONNECTIONS: usize = 16;

/// The limits of this listener, small: it must cost little and still respond when the other one is overloaded.
pub(crate) fn limits() -> Limits {
    Limits {
        connections: CONNECTIONS,
        overflow: CONNECTIONS,
        head_bytes: 16 * 1024,
        header_timeout: Duration::from_secs(5),
        body_idle_timeout: Duration::from_secs(5),
        write_timeout: Duration::from_secs(5),
        ..Limits::default()
    }
}

/// The service on `ADMIN_PORT`.
pub(crate) struct Admin {
    sources: Sources,
    refusals: Arc<RefusalLog>,
}

impl Admin {
    /// Reports these. To be created when the other listener is bound.
    pub(crate) fn new(sources: Sources, refusals: Arc<RefusalLog>) -> Self {
        Self { sources, refusals }
    }
}

impl Service for Admin {
    fn serve(&self, head: Head, exchange: &mut dyn Exchange) {
        if let Err(response) = web_pages::check(&self.sources.config, &head, exchange.peer()) {
            self.refused(&response, exchange.peer());
            response.send(exchange);
            return;
        }
        if !matches!(head.method, Method::GET | Method::HEAD) {
            refuse_method(exchange);
            return;
        }
        let sources = &self.sources;
        match head.path() {
            "/" => send_page(exchange, "text/html; charset=utf-8", &status_page::render(sources)),
            "/config" => send_page(exchange, "application/json", &config_page::render(sources)),
            "/livez" => health::send_ok(exchange),
            "/metrics" => send_page(exchange, metrics::CONTENT_TYPE, &sources.metrics_page()),
            "/readyz" => health::respond(&sources.tokens, exchange),
            "/startupz" => health::respond_started(&sources.tokens, exchange),
            _ => not_found(exchange),
        }
    }

    /// Responses come from memory: a connection beyond the limit is served like the others.
    fn reject_overloaded(&self, head: Head, _: Overload, exchange: &mut dyn Exchange) {
        self.serve(head, exchange);
    }

    fn refused(&self, response: &ErrorResponse, peer: &Peer) {
        if response.overload.is_none() {
            self.sources.metrics.refusals.add(&response.code);
            self.refusals.record(response, peer);
            return;
        }
        // No application is concerned, and MAX_CONNECTIONS is not the limit.
        let message = format!("too many connections to ADMIN_PORT: it serves {CONNECTIONS} at a time");
        self.refusals.record(&ErrorResponse { message, overload: None, ..response.clone() }, peer);
    }
}

/// A page of this moment that nothing may keep, embed or take for something else. The policy is that of the one page with
/// a style sheet; the others need less.
fn send_page(exchange: &mut dyn Exchange, content_type: &str, page: &str) {
    let headers = Fields::from([
        ("content-type", content_type),
        ("cache-control", "no-store"),
        ("content-security-policy", &status_page::CONTENT_SECURITY_POLICY),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ]);
    send_full(exchange, StatusCode::OK, &headers, page.as_bytes());
}

fn not_found(exchange: &mut dyn Exchange) {
    let message = "ADMIN_PORT serves /, /config, /livez, /metrics, /readyz and /startupz";
    ErrorResponse::request(StatusCode::NOT_FOUND, "not_found", message).send(exchange);
}

fn refuse_method(exchange: &mut dyn Exchange) {
    let message = "ADMIN_PORT accepts GET and HEAD only";
    let response = ErrorResponse::request(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
    let mut headers = response.headers();
    headers.push("allow", b"GET, HEAD");
    send_full(exchange, response.status, &headers, &response.body());
}
