//! What is learned of a request on its way, for the metrics and the access log.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};

use super::access::{self, Ids, Outcome};
use super::relay::Cut;
use crate::fields::Fields;
use crate::ops::metrics::{Finished, Held, Metrics};
use crate::server::Head;

/// One request, from its head to the end of its answer.
pub(super) struct Record<'a> {
    pub(super) metrics: &'a Metrics,
    pub(super) method: Method,
    /// Without the query.
    pub(super) path: String,
    started: Instant,
    /// When it was handed over to be sent, the last time.
    sent: Instant,
    /// How long it took until the destination's answer began, and the destination's part of that.
    pub(super) answered: Option<Answered>,
    /// Bytes of its body that were read.
    pub(super) bytes_up: u64,
    /// The destination's names for it.
    pub(super) ids: Ids,
    _in_flight: Held<'a>,
}

/// Times until the head of the destination's answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answered {
    /// Since the request's head was there.
    pub(super) first_byte: Duration,
    /// Since the request was handed over to be sent, connection and body included.
    pub(super) upstream: Duration,
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
        let (status, bytes_down) = match outcome {
            Outcome::Relayed(status, relayed) => {
                match &relayed.cut {
                    Some(Cut::Destination(_)) => self.metrics.answers_cut.add(1),
                    Some(Cut::Client(_)) => self.metrics.clients_gone.add(1),
                    None => {}
                }
                (Some(*status), relayed.bytes)
            }
            Outcome::Tunnelled(carried) => (Some(StatusCode::SWITCHING_PROTOCOLS), carried.to_client),
            Outcome::Own(status) => (Some(*status), 0),
            Outcome::ClientGone => {
                self.metrics.clients_gone.add(1);
                (None, 0)
            }
        };
        let bytes_up =
            if let Outcome::Tunnelled(carried) = outcome { carried.to_destination } else { self.bytes_up };
        self.metrics.finished(&Finished {
            method: &self.method,
            status,
            took,
            first_byte: self.answered.map(|answered| answered.first_byte),
            bytes_up,
            bytes_down,
        });
        access::log(&self, outcome, took);
    }
}
