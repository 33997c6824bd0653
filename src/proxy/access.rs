//! The access log: one line per request, its path without the query.

use std::time::Duration;

use http::StatusCode;

use super::record::Record;
use super::relay::{Cut, Relayed};
use super::tunnel::Tunnelled;
use crate::config::LogLevel;
use crate::fields::Fields;
use crate::log::{self, Column, Millis, Value};

/// By these Azure's support finds a request.
const IDS: [(&str, &str); 3] = [
    ("apim-request-id", "apim_request_id"),
    ("x-request-id", "x_request_id"),
    ("x-ms-request-id", "x_ms_request_id"),
];
/// Theirs have 36 characters.
const LONGEST_ID: usize = 128;

/// What became of a request, for the access log.
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

/// The destination's names for a request. Empty when nobody will read them.
#[derive(Debug, Default)]
pub(super) struct Ids([Option<String>; IDS.len()]);

impl Ids {
    pub(super) fn of(answer: &Fields) -> Self {
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

/// Writes the line.
pub(super) fn log(record: &Record<'_>, outcome: &Outcome, took: Duration) {
    if !log::enabled(LogLevel::Info) {
        return;
    }
    let (status, bytes_up, bytes_down, cut) = match outcome {
        Outcome::Relayed(status, relayed) => {
            let cut = relayed.cut.as_ref().map(|why| match why {
                Cut::Destination(error) => format!("destination: {error}"),
                Cut::Client(error) => format!("client: {error}"),
            });
            (Some(status.as_u16()), record.bytes_up, relayed.bytes, cut)
        }
        Outcome::Tunnelled(carried) => (Some(101), carried.to_destination, carried.to_client, None),
        Outcome::Own(status) => (Some(status.as_u16()), record.bytes_up, 0, None),
        Outcome::ClientGone => (None, record.bytes_up, 0, None),
    };
    let status: &dyn Value = match &status {
        Some(status) => status,
        None => &"client_gone",
    };
    let (total, times) = (Millis(took), record.answered.map(|a| (Millis(a.first_byte), Millis(a.upstream))));
    let ids: Vec<_> = record.ids.shown().collect();

    let columns =
        (Column(&record.method, 6), Column(status, 3), Column(&bytes_up, 7), Column(&bytes_down, 7));
    let mut fields: Vec<(&str, &dyn Value)> = Vec::with_capacity(12);
    fields.extend::<[(&str, &dyn Value); 5]>([
        ("method", &columns.0),
        ("status", &columns.1),
        ("bytes_up", &columns.2),
        ("bytes_down", &columns.3),
        ("ms", &total),
    ]);
    if let Some((first_byte, upstream)) = &times {
        fields.extend::<[(&str, &dyn Value); 2]>([("first_byte_ms", first_byte), ("upstream_ms", upstream)]);
    }
    fields.push(("path", &record.path));
    if let Some(cut) = &cut {
        fields.push(("cut", cut));
    }
    fields.extend(ids.iter().map(|(name, id)| (*name, id as &dyn Value)));
    log::info("request", &fields);
}
