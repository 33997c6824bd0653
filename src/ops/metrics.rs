//! What is counted, for `/metrics`. One struct, shared; counting is a few relaxed atomic additions without allocation, and
//! every label has few values, whatever clients and upstream send. What has names or is waited for (callers, requests without
//! a response) takes a lock for the time of an addition.
//!
//! ```text
//! proxy --count--> Metrics (measure) --read--> page --text--> GET /metrics
//!                  TokenStore, certificate ----'
//! ```

mod callers;
mod page;
mod text;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use callers::CallerCounters;
use http::{Method, StatusCode};

use crate::clock::unix_now;
pub(crate) use crate::measure::{
    Counter, Gauge, GaugeGuard, Histogram, LabeledCounter, Pending, PendingGuard, SeenStatus, StatusCounter,
};
use crate::net::HandshakeError;

/// The `Content-Type` of [`super::Sources::metrics_page`].
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];
const STATUSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];
/// The values of `kind` of upstream errors: those of `upstream::Fault` and of `proxy::failure`.
const UPSTREAM_KINDS: [&str; 12] = [
    "dns",
    "connect",
    "connect_timeout",
    "egress_proxy",
    "egress_proxy_auth",
    "tls",
    "truncated",
    "closed",
    "timeout",
    "bad_response",
    "internal",
    "other",
];
/// The values of `kind` of refusals: the codes in their bodies, every AADSTS number being `token_unavailable`.
const REFUSAL_KINDS: [&str; 17] = [
    "token_unavailable",
    "invalid_api_key",
    "origin_not_allowed",
    "host_not_allowed",
    "request_not_allowed",
    "overloaded",
    "bad_request",
    "transfer_encoding_not_supported",
    "headers_too_large",
    "uri_too_long",
    "body_too_large",
    "request_timeout",
    "method_not_supported",
    "http_version_not_supported",
    "websocket_not_supported",
    "tls_required",
    "other",
];
/// The statuses by which an upstream says that something is misconfigured or requested too often.
const DENIALS: [u16; 4] = [401, 403, 404, 429];
/// The values of `reason` of retries.
const RETRY_REASONS: [&str; 2] = ["stale_connection", "token_rejected"];
/// The values of `reason` of overloads: those of `server::Overload`.
const OVERLOADS: [&str; 5] = ["connections", "descriptors", "large_heads", "memory", "threads"];

#[derive(Debug)]
pub struct Metrics {
    /// Requests in flight.
    pub in_flight: Gauge,
    /// Responses of unknown length being relayed: event streams.
    pub streams: Gauge,
    pub websockets: Gauge,
    /// Open connections of clients.
    pub connections: Gauge,
    /// Retries of requests to the upstream.
    pub retries: LabeledCounter<2>,
    /// Requests rejected because of a limit or an exhausted resource.
    pub overloads: LabeledCounter<5>,
    /// Requests that got no complete response from the upstream.
    pub upstream_errors: LabeledCounter<12>,
    /// Responses of the upstream, by status.
    pub upstream_responses: StatusCounter,
    /// Requests rejected without sending them to the upstream.
    pub refusals: LabeledCounter<{ REFUSAL_KINDS.len() }>,
    /// TLS handshakes of clients that have failed.
    pub handshake_failures: LabeledCounter<{ HandshakeError::REASONS.len() }>,
    /// Responses that the upstream ended early.
    pub responses_aborted: Counter,
    /// Requests whose client disconnected before the end of the response.
    pub clients_gone: Counter,
    /// Threads that panicked.
    pub panics: Counter,
    /// Requests that were sent to the upstream and have no response yet.
    pub unanswered: Pending,
    /// When the head of the upstream's last response came, in milliseconds after `clock_start`; 0 before the first.
    last_response: AtomicU64,
    clock_start: Instant,
    requests: [[Counter; STATUSES.len()]; METHODS.len()],
    callers: CallerCounters<{ STATUSES.len() }>,
    denials: [Counter; DENIALS.len()],
    first_byte: Histogram,
    duration: Histogram,
    bytes_up: Counter,
    bytes_down: Counter,
    /// Since the Unix epoch.
    started: Duration,
}

/// A request that has ended.
#[derive(Debug)]
pub struct Finished<'a> {
    pub method: &'a Method,
    /// Whose key it had.
    pub caller: Option<&'a Arc<str>>,
    /// The status that the client got; none when it disconnected before.
    pub status: Option<StatusCode>,
    /// From its head to the end.
    pub took: Duration,
    /// From its head to that of the upstream's response; none when there was no such response.
    pub first_byte: Option<Duration>,
    /// Bytes of its body, or of a WebSocket to the upstream.
    pub bytes_up: u64,
    /// Bytes of the response's body, or of a WebSocket to the client.
    pub bytes_down: u64,
    /// It was sent with a credential of the client, not with the token.
    pub has_own_credential: bool,
}

impl Metrics {
    /// Nothing counted yet; the program starts now.
    pub fn new() -> Self {
        Self {
            in_flight: Gauge::default(),
            streams: Gauge::default(),
            websockets: Gauge::default(),
            connections: Gauge::default(),
            retries: LabeledCounter::new(RETRY_REASONS),
            overloads: LabeledCounter::new(OVERLOADS),
            upstream_errors: LabeledCounter::new(UPSTREAM_KINDS),
            upstream_responses: StatusCounter::default(),
            refusals: LabeledCounter::new(REFUSAL_KINDS),
            handshake_failures: LabeledCounter::new(HandshakeError::REASONS),
            responses_aborted: Counter::default(),
            clients_gone: Counter::default(),
            panics: Counter::default(),
            unanswered: Pending::default(),
            last_response: AtomicU64::new(0),
            clock_start: Instant::now(),
            requests: Default::default(),
            callers: CallerCounters::default(),
            denials: Default::default(),
            first_byte: Histogram::default(),
            duration: Histogram::default(),
            bytes_up: Counter::default(),
            bytes_down: Counter::default(),
            started: unix_now(),
        }
    }

    /// The head of a response of the upstream came.
    pub fn mark_response(&self, status: StatusCode) {
        self.upstream_responses.add(status);
        let millis = u64::try_from(self.clock_start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_response.store(millis.max(1), Ordering::Relaxed);
    }

    /// How long ago the head of the upstream's last response came, if one did.
    pub fn since_last_response(&self) -> Option<Duration> {
        let at = Some(self.last_response.load(Ordering::Relaxed)).filter(|millis| *millis > 0)?;
        Some(self.clock_start.elapsed().saturating_sub(Duration::from_millis(at)))
    }

    /// When the program started, since the Unix epoch.
    pub(super) fn started(&self) -> Duration {
        self.started
    }

    pub fn finished(&self, request: &Finished<'_>) {
        let status = request.status.map(|status| status.as_u16());
        let class = status.map_or(STATUSES.len() - 1, |code| usize::from(code / 100).clamp(1, 5) - 1);
        self.requests[method(request.method)][class].add(1);
        if let Some(caller) = request.caller {
            self.callers.add(caller, class);
        }
        self.bytes_up.add(request.bytes_up);
        self.bytes_down.add(request.bytes_down);
        if let Some(first_byte) = request.first_byte {
            self.first_byte.observe(first_byte);
            // Whose credential was denied has to see to it, and that is not us.
            let is_ours = !(request.has_own_credential && matches!(status, Some(401 | 403)));
            let place = DENIALS.iter().position(|denial| is_ours && status == Some(*denial));
            if let Some(place) = place {
                self.denials[place].add(1);
            }
        }
        // A WebSocket's life says nothing about how fast anything is.
        if status != Some(101) {
            self.duration.observe(request.took);
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The place of a method in [`METHODS`].
fn method(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        Method::OPTIONS => 6,
        _ => METHODS.len() - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_once_under_its_classes() {
        let metrics = Metrics::new();
        let caller = "team-a".into();
        let count_by = |has_own_credential: bool, method: &[u8], status: Option<u16>| {
            metrics.finished(&Finished {
                method: &Method::from_bytes(method).unwrap(),
                caller: status.map(|_| &caller),
                status: status.map(|code| StatusCode::from_u16(code).unwrap()),
                took: Duration::from_millis(3),
                first_byte: status.map(|_| Duration::from_millis(2)),
                bytes_up: 5,
                bytes_down: 7,
                has_own_credential,
            });
        };
        let count = |method: &[u8], status| count_by(false, method, status);
        for (name, index) in METHODS.iter().zip(0..) {
            assert_eq!(method(&Method::from_bytes(name.as_bytes()).unwrap()), index);
        }
        count(b"POST", Some(429));
        count(b"POST", Some(999));
        count(b"PROPFIND", None);
        count(b"GET", Some(101));
        assert_eq!(metrics.requests[2][3].value(), 1);
        assert_eq!(metrics.requests[2][4].value(), 1, "a status out of every class is bad news");
        assert_eq!(metrics.requests[7][5].value(), 1);
        assert_eq!(metrics.requests[0][0].value(), 1);
        assert_eq!(metrics.denials[3].value(), 1);
        assert_eq!(metrics.callers.values(), [(caller.clone(), [1, 0, 0, 1, 1, 0])]);
        assert_eq!((metrics.bytes_up.value(), metrics.bytes_down.value()), (20, 28));
        assert_eq!((metrics.first_byte.counts().sum(), metrics.duration.counts().sum()), (3, 3));
        count(b"POST", Some(401));
        count_by(true, b"POST", Some(401));
        count_by(true, b"POST", Some(403));
        assert_eq!([0, 1, 2, 3].map(|index: usize| metrics.denials[index].value()), [1, 0, 0, 1]);
    }
}
