//! Requests that were refused before they could be understood or served: one line a second for each reason, however many
//! there are, with the address that most of them came from.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use http::StatusCode;

use crate::config::LogLevel;
use crate::log::{self, Digest, Entry, Value};
use crate::server::{ErrorResponse, Overload, Peer, PeerAddress};

/// Refusals of one reason are logged this often.
const PERIOD: Duration = Duration::from_secs(1);
/// More than there are codes.
const MAX_REASONS: usize = 64;
/// Addresses that are counted apart; of more than that the busiest is most likely among the first.
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
    by_address: HashMap<IpAddr, u64>,
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
        if let PeerAddress::Ip(address) = address
            && (self.by_address.len() < MAX_ADDRESSES || self.by_address.contains_key(&address.ip()))
        {
            *self.by_address.entry(address.ip()).or_default() += 1;
        }
    }

    fn busiest(&self) -> Option<(IpAddr, u64)> {
        self.by_address.iter().max_by_key(|(_, count)| **count).map(|(address, count)| (*address, *count))
    }
}

fn log_entry(entry: &Entry<Reason, Clients>) {
    let Entry { key: Reason { status, code, overload }, count, details: clients } = entry;
    let status = status.as_u16();
    let reason = overload.map(Overload::name);
    let client = clients.last.unwrap_or(PeerAddress::Unknown);
    let busiest =
        clients.busiest().filter(|_| *count > 1).map(|(address, count)| (address.to_string(), count));
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
    let hint = hint.and_then(|(address, of_client)| one_client(address, *of_client, *count));
    fields.extend(hint.iter().map(|hint| ("hint", hint as &dyn Value)));
    let level = if reason.is_some() { LogLevel::Warn } else { LogLevel::Info };
    log::event(level, "request refused", &fields);
}

/// What to look at when most of many refused connections come from one address: a higher limit would be taken, too.
fn one_client(address: &str, of_client: u64, count: u64) -> Option<String> {
    let is_one = count >= 10 && of_client > count / 2;
    is_one.then(|| format!("most of them come from {address}: look there before you raise a limit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_address_is_known_and_addresses_take_bounded_memory() {
        let mut clients = Clients::default();
        assert_eq!(clients.busiest(), None);
        for i in 0..10_000u32 {
            let [_, b, c, d] = i.to_be_bytes();
            clients.add(PeerAddress::Ip(([10, b, c, d], 1000).into()));
            if i % 4 == 0 {
                clients.add(PeerAddress::Ip(([10, 0, 0, 7], 1).into()));
            }
        }
        assert_eq!(clients.busiest(), Some(([10, 0, 0, 7].into(), 2501)));
        assert_eq!(clients.by_address.len(), MAX_ADDRESSES);
    }

    #[test]
    fn one_client_is_named_when_it_sends_most_of_many() {
        for (of_client, count, is_named) in [(9, 9, false), (5, 10, false), (6, 10, true), (444, 444, true)] {
            assert_eq!(
                one_client("10.0.0.7", of_client, count).is_some(),
                is_named,
                "{of_client} of {count}"
            );
        }
    }
}
