//! Requests that were refused before they could be understood or served: one line a second for each reason, however many
//! there are, with the address that most of them came from.

use std::time::{Duration, Instant};

use http::StatusCode;

use crate::config::LogLevel;
use crate::log::{self, Digest, Entry, Value};
use crate::server::{AddressCounts, ErrorResponse, Overload, Peer, PeerAddress, dominant_client_hint};

/// Refusals of one reason are logged this often.
const PERIOD: Duration = Duration::from_secs(1);
/// More than there are codes.
const MAX_REASONS: usize = 64;
/// Addresses that are counted apart.
const MAX_ADDRESSES: usize = 256;

/// What was refused and not logged yet.
#[derive(Debug)]
pub(crate) struct RefusalLog(Digest<Reason, Clients>);

/// Nothing in it is the client's choice, as a part of the message may be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reason {
    status: StatusCode,
    code: String,
    overload: Option<Overload>,
}

/// Who was refused.
#[derive(Debug, Default)]
struct Clients {
    last: Option<PeerAddress>,
    last_message: String,
    by_address: AddressCounts,
}

impl Default for RefusalLog {
    fn default() -> Self {
        Self(Digest::new(PERIOD, MAX_REASONS))
    }
}

impl RefusalLog {
    /// Logs a refusal at once, or with others a second after the last one of its reason.
    pub(crate) fn record(&self, response: &ErrorResponse, peer: &Peer) {
        let reason =
            Reason { status: response.status, code: response.code.clone(), overload: response.overload };
        let entry = self.0.add(reason, Instant::now(), |clients| {
            clients.add(peer.address);
            clients.last_message.clone_from(&response.message);
        });
        if let Some(entry) = entry {
            log_entry(&entry);
        }
    }

    /// Logs all that was not logged yet.
    pub(crate) fn finish(&self) {
        self.0.rest(Instant::now()).iter().for_each(log_entry);
    }

    /// Logs what has waited for its second to pass. To be called every second.
    pub(crate) fn flush(&self) {
        self.0.due(Instant::now()).iter().for_each(log_entry);
    }
}

impl Clients {
    fn add(&mut self, address: PeerAddress) {
        self.last = Some(address);
        if let PeerAddress::Ip(address) = address {
            self.by_address.add(address.ip(), MAX_ADDRESSES);
        }
    }
}

fn log_entry(entry: &Entry<Reason, Clients>) {
    let Entry { key: Reason { status, code, overload }, count, details: clients } = entry;
    let status = status.as_u16();
    let reason = overload.map(Overload::name);
    let client = clients.last.unwrap_or(PeerAddress::Unknown);
    let busiest = clients.by_address.busiest().filter(|_| *count > 1);
    let mut fields: Vec<(&str, &dyn Value)> = match &busiest {
        Some((address, _)) => vec![("client", address)],
        None => client.log_fields().collect(),
    };
    fields.extend::<[(&str, &dyn Value); 2]>([("status", &status), ("code", code)]);
    fields.extend(reason.iter().map(|reason| ("reason", reason as &dyn Value)));
    fields.push(("why", &clients.last_message));
    if *count > 1 {
        fields.push(("count", count));
        fields.extend(busiest.iter().map(|(_, count)| ("count_of_client", count as &dyn Value)));
    }
    let hint = busiest.as_ref().filter(|_| overload.is_some());
    let hint = hint.and_then(|(address, of_client)| dominant_client_hint(*address, *of_client, *count));
    fields.extend(hint.iter().map(|hint| ("hint", hint as &dyn Value)));
    let level = if reason.is_some() { LogLevel::Warn } else { LogLevel::Info };
    log::event(level, "request refused", &fields);
}
