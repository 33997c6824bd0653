//! Connections that broke the rules. tiny_http cannot close them: it goes on to read what follows, which may be
//! the rest of a body taken for a request. Whatever it finds is refused.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The same address and port may be another connection some day.
const TERM: Duration = Duration::from_secs(60);
/// Expired ones are thrown out when there are this many; more than these a client has no ports for.
const TIDY: usize = 1024;

/// Peers refused, each known by its address and port: behind one address there may be many applications.
#[derive(Debug, Default)]
pub(super) struct Bans(Mutex<HashMap<SocketAddr, Instant>>);

impl Bans {
    pub(super) fn add(&self, peer: Option<SocketAddr>) {
        let Some(peer) = peer else { return };
        let mut bans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if bans.len() >= TIDY {
            bans.retain(|_, since| since.elapsed() < TERM);
        }
        bans.insert(peer, Instant::now());
    }

    pub(super) fn holds(&self, peer: Option<SocketAddr>) -> bool {
        let Some(peer) = peer else { return false };
        let bans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bans.get(&peer).is_some_and(|since| since.elapsed() < TERM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_is_for_one_connection() {
        let bans = Bans::default();
        let (bad, good) = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 2)));
        bans.add(Some(bad));
        bans.add(None);
        assert!(bans.holds(Some(bad)));
        assert!(!bans.holds(Some(good)) && !bans.holds(None));
    }
}
