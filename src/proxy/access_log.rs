//! What is measured of a request and how it ended: counted for the metrics, and one line in the access log, its path
//! without the query.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};

use super::failure::abort_cause;
use super::relay::{Aborted, Relayed};
use super::trace_context;
use super::tunnel::Tunnelled;
use crate::config::LogLevel;
use crate::fields::Fields;
use crate::log::{self, Millis, Value};
use crate::ops::metrics::{Finished, GaugeGuard, Metrics, PendingGuard};
use crate::server::{Head, Peer, PeerAddress};

/// Azure's support finds a request by these. In `x-request-id` a client may name it, too.
const ID_FIELDS: [(&str, &str); 3] = [
    ("apim-request-id", "apim_request_id"),
    ("x-request-id", "x_request_id"),
    ("x-ms-request-id", "x_ms_request_id"),
];
/// Azure's have 36 characters.
const MAX_ID_BYTES: usize = 128;

/// One request, from its head to the end of its response.
pub(super) struct RequestStats<'a> {
    metrics: &'a Metrics,
    client: PeerAddress,
    /// Whose key it has, once that is known.
    pub(super) caller: Option<Arc<str>>,
    /// The trace that it is a part of, as its client says.
    trace_id: Option<String>,
    pub(super) method: Method,
    /// Without the query.
    pub(super) path: String,
    started: Instant,
    /// When it was last handed to ureq.
    sent: Instant,
    response_times: Option<ResponseTimes>,
    /// Bytes read of its body.
    pub(super) bytes_up: u64,
    /// It brings its own credential, so that the token has no part in how it goes.
    pub(super) has_ephemeral_key: bool,
    ids: RequestIds,
    /// Azure's code of an error response.
    pub(super) upstream_code: Option<String>,
    /// Until the upstream's response begins.
    unanswered: Option<PendingGuard<'a>>,
    _in_flight: GaugeGuard<'a>,
}

/// Times until the head of the upstream's response.
struct ResponseTimes {
    /// Since the request's head was received.
    first_byte: Duration,
    /// Since the request was handed to ureq, connecting and sending the body included.
    upstream: Duration,
}

pub(super) enum RequestOutcome {
    /// The upstream's response was relayed.
    Relayed(StatusCode, Relayed),
    /// A WebSocket was opened and has closed.
    Tunnelled(Tunnelled),
    /// An error response of our own.
    Failed(FailedRequest),
    /// The client disconnected before there was a response.
    ClientGone,
}

/// Why the client got an error response of our own.
pub(super) struct FailedRequest {
    pub(super) status: StatusCode,
    /// Host and port of the upstream.
    pub(super) upstream: String,
    pub(super) kind: &'static str,
    pub(super) cause: String,
    pub(super) hint: Option<String>,
}

/// What is logged as the status of a request whose client disconnected before there was a response, as nginx does.
const CLIENT_CLOSED_REQUEST: u16 = 499;

impl<'a> RequestStats<'a> {
    pub(super) fn begin(head: &Head, peer: &Peer, metrics: &'a Metrics) -> Self {
        let now = Instant::now();
        Self {
            metrics,
            client: peer.address,
            caller: None,
            trace_id: trace_context::trace_id(&head.headers).filter(|_| is_logged()).map(str::to_owned),
            method: head.method.clone(),
            path: head.path().to_owned(),
            started: now,
            sent: now,
            response_times: None,
            bytes_up: 0,
            has_ephemeral_key: false,
            ids: RequestIds::of_client(&head.headers),
            upstream_code: None,
            unanswered: None,
            _in_flight: metrics.in_flight.inc_guard(),
        }
    }

    /// Called when the request is handed to ureq.
    pub(super) fn mark_sent(&mut self) {
        self.sent = Instant::now();
    }

    /// Called when the whole request was read: from now on the upstream is waited for, and nobody else.
    pub(super) fn mark_awaiting(&mut self) {
        self.unanswered.get_or_insert_with(|| self.metrics.unanswered.begin());
    }

    /// Called when the head of the upstream's response was received.
    pub(super) fn mark_response(&mut self, status: StatusCode, head: &Fields) {
        let now = Instant::now();
        self.unanswered = None;
        self.metrics.mark_response(status);
        self.ids.add_upstream(head);
        self.response_times =
            Some(ResponseTimes { first_byte: now - self.started, upstream: now - self.sent });
    }

    /// The id by which Azure's support finds the request, if the response had one.
    pub(super) fn apim_request_id(&self) -> Option<&str> {
        self.ids.entries().find(|(name, _)| *name == "apim_request_id").map(|(_, id)| id)
    }

    /// Counts and logs the request.
    pub(super) fn finish(self, outcome: &RequestOutcome) {
        let took = self.started.elapsed();
        let (status, bytes_up, bytes_down, aborted_by) = match outcome {
            RequestOutcome::Relayed(status, relayed) => {
                (Some(*status), self.bytes_up, relayed.bytes, relayed.aborted_by.as_ref())
            }
            RequestOutcome::Tunnelled(transferred) => {
                (Some(StatusCode::SWITCHING_PROTOCOLS), transferred.to_upstream, transferred.to_client, None)
            }
            RequestOutcome::Failed(failed) => (Some(failed.status), self.bytes_up, 0, None),
            RequestOutcome::ClientGone => (None, self.bytes_up, 0, None),
        };
        match (status, aborted_by) {
            (_, Some(Aborted::Upstream(_))) => self.metrics.responses_aborted.add(1),
            (_, Some(Aborted::Client(_))) | (None, _) => self.metrics.clients_gone.add(1),
            (Some(_), None) => {}
        }
        let first_byte = self.response_times.as_ref().map(|times| times.first_byte);
        let (method, caller) = (&self.method, self.caller.as_ref());
        let finished = Finished {
            method,
            caller,
            status,
            took,
            first_byte,
            bytes_up,
            bytes_down,
            has_own_credential: self.has_ephemeral_key,
        };
        self.metrics.finished(&finished);
        let level = match (outcome, aborted_by) {
            (RequestOutcome::Failed(_), _) | (_, Some(Aborted::Upstream(_))) => LogLevel::Warn,
            _ => LogLevel::Info,
        };
        if log::enabled(level) {
            self.log(level, &finished, outcome, aborted_by);
        }
    }

    /// Writes the one line of this request.
    fn log(
        &self,
        level: LogLevel,
        finished: &Finished<'_>,
        outcome: &RequestOutcome,
        aborted_by: Option<&Aborted>,
    ) {
        let status = finished.status.map_or(CLIENT_CLOSED_REQUEST, |status| status.as_u16());
        let (message, name, side) = match (outcome, aborted_by) {
            (RequestOutcome::Failed(_), _) => ("request failed", "failed", None),
            (RequestOutcome::ClientGone, _) | (_, Some(Aborted::Client(_))) => {
                ("request", "aborted_by_client", Some("client"))
            }
            (_, Some(Aborted::Upstream(_))) => ("request", "aborted_by_upstream", Some("upstream")),
            _ => ("request", "completed", None),
        };
        let total = Millis(finished.took);
        let times =
            self.response_times.as_ref().map(|times| (Millis(times.first_byte), Millis(times.upstream)));
        let ids: Vec<_> = self.ids.entries().collect();
        let caller = self.caller.as_deref();

        let mut fields: Vec<(&str, &dyn Value)> = Vec::with_capacity(19);
        fields.extend::<[(&str, &dyn Value); 5]>([
            ("method", &self.method),
            ("status", &status),
            ("bytes_up", &finished.bytes_up),
            ("bytes_down", &finished.bytes_down),
            ("ms", &total),
        ]);
        if let Some((first_byte, upstream)) = &times {
            fields.extend::<[(&str, &dyn Value); 2]>([
                ("first_byte_ms", first_byte),
                ("upstream_ms", upstream),
            ]);
        }
        fields.extend(self.upstream_code.iter().map(|code| ("upstream_code", code as &dyn Value)));
        fields.extend(self.client.log_fields());
        if self.has_ephemeral_key {
            fields.push(("credential", &"ephemeral_key"));
        }
        fields.extend(caller.iter().map(|caller| ("caller", caller as &dyn Value)));
        fields.extend(self.trace_id.iter().map(|id| ("trace_id", id as &dyn Value)));
        fields.push(("outcome", &name));
        fields.push(("path", &self.path));
        fields.extend(side.iter().map(|side| ("aborted_by", side as &dyn Value)));
        let cause = aborted_by.map(|(Aborted::Upstream(error) | Aborted::Client(error))| abort_cause(error));
        fields.extend(cause.iter().map(|cause| ("cause", cause as &dyn Value)));
        if let RequestOutcome::Failed(failed) = outcome {
            fields.extend::<[(&str, &dyn Value); 3]>([
                ("upstream", &failed.upstream),
                ("kind", &failed.kind),
                ("cause", &failed.cause),
            ]);
            fields.extend(failed.hint.as_ref().map(|hint| ("hint", hint as &dyn Value)));
        }
        fields.extend(ids.iter().map(|(name, id)| (*name, id as &dyn Value)));
        log::event(level, message, &fields);
    }
}

/// The ids by which others know a request. Empty when no line of it will be logged.
#[derive(Default)]
struct RequestIds([Option<String>; ID_FIELDS.len()]);

impl RequestIds {
    /// The client's `x-request-id`, for when the upstream gives none.
    fn of_client(head: &Fields) -> Self {
        Self(ID_FIELDS.map(|(field, _)| if field == "x-request-id" { id(head, field) } else { None }))
    }

    /// Those of the upstream's response.
    fn add_upstream(&mut self, head: &Fields) {
        for ((field, _), known) in ID_FIELDS.iter().zip(&mut self.0) {
            *known = id(head, field).or_else(|| known.take());
        }
    }

    fn entries(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let ids = ID_FIELDS.iter().zip(&self.0);
        ids.filter_map(|((_, name), id)| Some((*name, id.as_deref()?)))
    }
}

fn id(head: &Fields, field: &str) -> Option<String> {
    let id = head.get(field).filter(|id| is_logged() && !id.is_empty() && id.len() <= MAX_ID_BYTES)?;
    std::str::from_utf8(id).ok().map(str::to_owned)
}

/// Some line of a request may be logged: that of an aborted response is, at `warn`, too.
fn is_logged() -> bool {
    log::enabled(LogLevel::Warn)
}
