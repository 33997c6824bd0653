//! What is learned of a request on its way, and what became of it: counted for the metrics, and one line in the access
//! log, its path without the query.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};

use super::relay::{Cut, Relayed};
use super::tunnel::Tunnelled;
use crate::config::LogLevel;
use crate::fields::Fields;
use crate::log::{self, Millis, Value};
use crate::ops::metrics::{Finished, Held, Metrics};
use crate::server::Head;

/// By these Azure's support finds a request.
const IDS: [(&str, &str); 3] = [
    ("apim-request-id", "apim_request_id"),
    ("x-request-id", "x_request_id"),
    ("x-ms-request-id", "x_ms_request_id"),
];
/// Theirs have 36 characters.
const LONGEST_ID: usize = 128;

/// One request, from its head to the end of its answer.
pub(super) struct Record<'a> {
    metrics: &'a Metrics,
    pub(super) method: Method,
    /// Without the query.
    pub(super) path: String,
    started: Instant,
    /// When it was handed over to be sent, the last time.
    sent: Instant,
    answered: Option<Answered>,
    /// Bytes of its body that were read.
    pub(super) bytes_up: u64,
    ids: Ids,
    _in_flight: Held<'a>,
}

/// Times until the head of the destination's answer.
struct Answered {
    /// Since the request's head was there.
    first_byte: Duration,
    /// Since the request was handed over to be sent, connection and body included.
    upstream: Duration,
}

/// What became of a request.
pub(super) enum Outcome {
    /// The destination's answer was passed on.
    Relayed(StatusCode, Relayed),
    /// A WebSocket was opened and has ended.
    Tunnelled(Tunnelled),
    /// One of ours: the status.
    Own(StatusCode),
    /// The client left before there was an answer.
    ClientGone,
}

impl<'a> Record<'a> {
    /// A request begins.
    pub(super) fn begin(head: &Head, metrics: &'a Metrics) -> Self {
        let now = Instant::now();
        Self {
            metrics,
            method: head.method.clone(),
            path: head.path().to_owned(),
            started: now,
            sent: now,
            answered: None,
            bytes_up: 0,
            ids: Ids::default(),
            _in_flight: metrics.in_flight.hold(),
        }
    }

    /// It is handed over to be sent.
    pub(super) fn sending(&mut self) {
        self.sent = Instant::now();
    }

    /// The head of the destination's answer is there.
    pub(super) fn answered(&mut self, head: &Fields) {
        let now = Instant::now();
        self.ids = Ids::of(head);
        self.answered = Some(Answered { first_byte: now - self.started, upstream: now - self.sent });
    }

    /// It has ended.
    pub(super) fn end(self, outcome: &Outcome) {
        let took = self.started.elapsed();
        let (status, bytes_up, bytes_down, cut) = match outcome {
            Outcome::Relayed(status, relayed) => {
                (Some(*status), self.bytes_up, relayed.bytes, relayed.cut.as_ref())
            }
            Outcome::Tunnelled(carried) => {
                (Some(StatusCode::SWITCHING_PROTOCOLS), carried.to_destination, carried.to_client, None)
            }
            Outcome::Own(status) => (Some(*status), self.bytes_up, 0, None),
            Outcome::ClientGone => (None, self.bytes_up, 0, None),
        };
        match (status, cut) {
            (_, Some(Cut::Destination(_))) => self.metrics.answers_cut.add(1),
            (_, Some(Cut::Client(_))) | (None, _) => self.metrics.clients_gone.add(1),
            (Some(_), None) => {}
        }
        let first_byte = self.answered.as_ref().map(|answered| answered.first_byte);
        let finished = Finished { method: &self.method, status, took, first_byte, bytes_up, bytes_down };
        self.metrics.finished(&finished);
        if log::enabled(LogLevel::Info) {
            self.log(&finished, cut);
        }
    }

    /// Writes the line.
    fn log(&self, finished: &Finished<'_>, cut: Option<&Cut>) {
        let status = finished.status.map(|status| status.as_u16());
        let status: &dyn Value = match &status {
            Some(status) => status,
            None => &"client_gone",
        };
        let total = Millis(finished.took);
        let times = self.answered.as_ref().map(|it| (Millis(it.first_byte), Millis(it.upstream)));
        let cut = cut.map(|why| match why {
            Cut::Destination(error) => format!("destination: {error}"),
            Cut::Client(error) => format!("client: {error}"),
        });
        let ids: Vec<_> = self.ids.shown().collect();

        let mut fields: Vec<(&str, &dyn Value)> = Vec::with_capacity(12);
        fields.extend::<[(&str, &dyn Value); 5]>([
            ("method", &self.method),
            ("status", status),
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
        fields.push(("path", &self.path));
        if let Some(cut) = &cut {
            fields.push(("cut", cut));
        }
        fields.extend(ids.iter().map(|(name, id)| (*name, id as &dyn Value)));
        log::info("request", &fields);
    }
}

/// The destination's names for a request. Empty when nobody will read them.
#[derive(Default)]
struct Ids([Option<String>; IDS.len()]);

impl Ids {
    fn of(answer: &Fields) -> Self {
        if !log::enabled(LogLevel::Info) {
            return Self::default();
        }
        let text = |id| std::str::from_utf8(id).ok().map(str::to_owned);
        Self(IDS.map(|(field, _)| answer.get(field).filter(|id| id.len() <= LONGEST_ID).and_then(text)))
    }

    fn shown(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let ids = IDS.iter().zip(&self.0);
        ids.filter_map(|((_, name), id)| Some((*name, id.as_deref()?)))
    }
}
