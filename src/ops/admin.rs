//! `ADMIN_PORT`: probes and metrics on a listener of their own. It needs no key, so that it must not show anything
//! confidential, and it responds until the process ends.
//!
//! Three probes with three meanings, as Kubernetes asks for them:
//!
//! - `/livez`: the process responds. If not, it should be restarted; so it depends on nothing outside.
//!
//! And `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};

use super::health;
use super::metrics::{self, Sources};
use crate::config::Config;
use crate::fields::Fields;
use crate::log;
use crate::proxy::web_pages;
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
    config: Arc<Config>,
}

impl Admin {
    /// Reports these. To be created when the other listener is bound.
    pub(crate) fn new(sources: Sources, config: Arc<Config>) -> Self {
        Self { sources, config }
    }
}

impl Service for Admin {
    fn serve(&self, head: Head, exchange: &mut dyn Exchange) {
        if let Err(response) = web_pages::check(&self.config, &head, exchange.peer()) {
            self.refused(&response, exchange.peer());
            response.send(exchange);
            return;
        }
        let respond = match head.path() {
            "/livez" => live,
            "/metrics" => metrics,
            "/readyz" => {
                |admin: &Self, exchange: &mut dyn Exchange| health::respond(&admin.sources.tokens, exchange)
            }
            "/startupz" => |admin: &Self, exchange: &mut dyn Exchange| {
                health::respond_started(&admin.sources.tokens, exchange)
            },
            _ => not_found,
        };
        if matches!(head.method, Method::GET | Method::HEAD) {
            respond(self, exchange);
        } else {
            refuse_method(exchange);
        }
    }

    /// Responses come from memory: a connection beyond the limit is served like the others.
    fn reject_overloaded(&self, head: Head, _: Overload, exchange: &mut dyn Exchange) {
        self.serve(head, exchange);
    }

    fn refused(&self, response: &ErrorResponse, peer: &Peer) {
        self.sources.metrics.refusals.add(&response.code);
        let (client, status) = (&peer.address, response.status.as_u16());
        let fields: log::LogFields<'_> =
            &[("client", &client), ("status", &status), ("code", &response.code), ("why", &response.message)];
        log::info("request refused", fields);
    }
}

fn live(_: &Admin, exchange: &mut dyn Exchange) {
    health::send_ok(exchange);
}

fn metrics(admin: &Admin, exchange: &mut dyn Exchange) {
    let headers = Fields::from([("content-type", metrics::CONTENT_TYPE)]);
    send_full(exchange, StatusCode::OK, &headers, admin.sources.page().as_bytes());
}

fn not_found(_: &Admin, exchange: &mut dyn Exchange) {
    let message = "ADMIN_PORT serves /livez, /readyz, /startupz and /metrics";
    ErrorResponse::request(StatusCode::NOT_FOUND, "not_found", message).send(exchange);
}

fn refuse_method(exchange: &mut dyn Exchange) {
    let message = "ADMIN_PORT accepts GET and HEAD only";
    let response = ErrorResponse::request(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
    let mut headers = response.headers();
    headers.push("allow", b"GET, HEAD");
    send_full(exchange, response.status, &headers, &response.body());
}
