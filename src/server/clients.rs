//! Which addresses clients come from, so that the one with most of them can be named: a limit that one client has used up is
//! not to be raised.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::PeerAddress;

/// Of fewer than this it says nothing that most come from one address.
const MANY: u64 = 10;

/// Counts by address.
#[derive(Debug, Default)]
pub(crate) struct AddressCounts(HashMap<IpAddr, u64>);

impl AddressCounts {
    /// Counts one more. A new address beyond `max_addresses` is left out: the busiest is most likely among the first.
    pub(crate) fn add(&mut self, address: IpAddr, max_addresses: usize) {
        if self.0.len() < max_addresses || self.0.contains_key(&address) {
            *self.0.entry(address).or_default() += 1;
        }
    }

    fn remove(&mut self, address: IpAddr) {
        if let Some(count) = self.0.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&address);
            }
        }
    }

    /// The address with the most, and how many.
    pub(crate) fn busiest(&self) -> Option<(IpAddr, u64)> {
        self.0.iter().max_by_key(|(_, count)| **count).map(|(address, count)| (*address, *count))
    }
}

/// What to look at when most of many come from one address.
pub(crate) fn dominant_client_hint(address: IpAddr, of_client: u64, count: u64) -> Option<String> {
    let is_one = count >= MANY && of_client > count / 2;
    is_one.then(|| format!("most of them come from {address}: look there before you raise a limit"))
}

/// The connections that are open now, by address.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenConnections(Arc<Mutex<AddressCounts>>);

impl OpenConnections {
    /// Counts a connection until the guard is dropped.
    pub(super) fn enter(&self, peer: PeerAddress) -> Option<OpenConnection> {
        let PeerAddress::Ip(address) = peer else { return None };
        self.lock().add(address.ip(), usize::MAX);
        Some(OpenConnection { all: self.clone(), address: address.ip() })
    }

    /// The address with the most, and how many; none without connections over IP.
    pub(crate) fn busiest(&self) -> Option<(IpAddr, u64)> {
        self.lock().busiest()
    }

    fn lock(&self) -> MutexGuard<'_, AddressCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one open connection until it is dropped.
#[derive(Debug)]
pub(super) struct OpenConnection {
    all: OpenConnections,
    address: IpAddr,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.all.lock().remove(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn the_busiest_address_is_known_and_addresses_take_bounded_memory() {
        let mut counts = AddressCounts::default();
        assert_eq!(counts.busiest(), None);
        for i in 0..10_000u32 {
            let [_, b, c, d] = i.to_be_bytes();
            counts.add([10, b, c, d].into(), 256);
            if i % 4 == 0 {
                counts.add(address(7), 256);
            }
        }
        assert_eq!(counts.busiest(), Some((address(7), 2501)));
        assert_eq!(counts.0.len(), 256);
    }

    #[test]
    fn a_connection_counts_until_it_ends() {
        let open = OpenConnections::default();
        let enter = |last, port| open.enter(PeerAddress::Ip((address(last), port).into()));
        let (first, second, third) = (enter(1, 1), enter(2, 1), enter(2, 2));
        assert!(open.enter(PeerAddress::Unknown).is_none());
        assert_eq!(open.busiest(), Some((address(2), 2)));
        drop((second, third));
        assert_eq!(open.busiest(), Some((address(1), 1)));
        drop(first);
        assert_eq!(open.busiest(), None);
    }

    #[test]
    fn one_client_is_named_when_it_has_most_of_many() {
        for (of_client, count, is_named) in [(9, 9, false), (5, 10, false), (6, 10, true), (444, 444, true)] {
            let hint = dominant_client_hint(address(7), of_client, count);
            assert_eq!(hint.is_some(), is_named, "{of_client} of {count}");
        }
    }
}
