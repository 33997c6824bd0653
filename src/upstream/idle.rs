//! Connections between two requests. Not ureq's pool: that walks over all of them, and asks a socket whether it is still
//! open, while every other request waits for its lock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::uri::Authority;

use crate::net::Stream;

/// Well under the four minutes after which Azure's load balancer drops idle connections silently.
const MAX_IDLE_AGE: Duration = Duration::from_secs(60);

/// Where a connection leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) authority: Authority,
    pub(super) tls: bool,
}

/// A connection that nobody uses.
#[derive(Debug)]
pub(super) struct IdleConnection {
    pub(super) stream: Stream,
    pub(super) origin: Origin,
    /// When it is too old to be used again, so that a busy connection follows DNS, too.
    pub(super) expires_at: Instant,
    /// When it was put here.
    pub(super) idle_since: Instant,
}

/// The idle connections; the last one to come is the first to go. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct IdlePool(Arc<Connections>);

#[derive(Debug)]
struct Connections {
    max_idle: usize,
    idle: Mutex<VecDeque<IdleConnection>>,
}

impl IdlePool {
    /// No connection is idle, and never more than `max_idle` will be.
    pub(super) fn new(max_idle: usize) -> Self {
        Self(Arc::new(Connections { max_idle, idle: Mutex::default() }))
    }

    /// A connection to `origin` on which nothing has come since its last response.
    pub(super) fn acquire(&self, origin: &Origin) -> Option<IdleConnection> {
        loop {
            let mut found = self.with(|all| {
                let newest = all.iter().rposition(|connection| connection.origin == *origin);
                newest.and_then(|i| all.remove(i))
            })?;
            if !found.is_over(Instant::now()) && found.stream.is_reusable() {
                return Some(found);
            }
        }
    }

    /// Takes a connection back. If they are too many, the one that has been idle longest ends.
    pub(super) fn put(&self, connection: IdleConnection) {
        let ended = self.with(|all| {
            all.push_back(connection);
            if all.len() > self.0.max_idle { all.pop_front() } else { None }
        });
        // Its socket is closed with the lock released.
        drop(ended);
    }

    /// Ends those whose time is over. To be called now and then: a burst may leave many that nobody asks for again.
    pub(super) fn close_expired(&self) {
        let now = Instant::now();
        let ended: VecDeque<IdleConnection> = self.with(|all| {
            let (over, kept) = std::mem::take(all).into_iter().partition(|one| one.is_over(now));
            *all = kept;
            over
        });
        drop(ended);
    }

    /// Ends all of them.
    pub(super) fn clear(&self) {
        drop(self.with(std::mem::take));
    }

    fn with<T>(&self, work: impl FnOnce(&mut VecDeque<IdleConnection>) -> T) -> T {
        work(&mut self.0.idle.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl IdleConnection {
    fn is_over(&self, now: Instant) -> bool {
        now >= self.expires_at || now.saturating_duration_since(self.idle_since) >= MAX_IDLE_AGE
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::net::{self, Socket};

    fn is_closed(mut far: &Socket) -> bool {
        far.set_nonblocking(true).unwrap();
        matches!(far.read(&mut [0]), Ok(0))
    }

    #[test]
    fn the_newest_quiet_connection_to_the_origin_is_acquired() {
        let pool = IdlePool::new(3);
        let origin = Origin { authority: Authority::from_static("a:1"), tls: false };
        let other = Origin { tls: true, ..origin.clone() };
        let now = Instant::now();
        let put = |origin: &Origin, idle_since, expires_at| {
            let (stream, far) = net::pair();
            pool.put(IdleConnection { stream, origin: origin.clone(), expires_at, idle_since });
            far
        };
        let later = now + Duration::from_secs(600);
        let too_many = put(&origin, now, later);
        let quiet = put(&origin, now, later);
        let closed = put(&origin, now, later);
        let elsewhere = put(&other, now, later);
        assert!(is_closed(&too_many), "three may be idle");
        drop(closed);
        let found = pool.acquire(&origin).unwrap();
        assert_eq!(
            found.stream.socket().local_addr().unwrap().as_socket(),
            quiet.peer_addr().unwrap().as_socket()
        );
        assert!(pool.acquire(&origin).is_none());

        let _expired = put(&origin, now, now);
        let long_ago = now.checked_sub(MAX_IDLE_AGE * 2).unwrap();
        let _old = put(&origin, long_ago, later);
        assert!(pool.acquire(&origin).is_none());

        pool.clear();
        assert!(is_closed(&elsewhere));
        assert!(pool.acquire(&other).is_none());
    }

    #[test]
    fn a_connection_ends_when_its_time_is_over_whoever_asks_for_others() {
        let pool = IdlePool::new(9);
        let origin = Origin { authority: Authority::from_static("a:1"), tls: false };
        let now = Instant::now();
        let later = now + Duration::from_secs(600);
        let ages = [(Duration::ZERO, now), (MAX_IDLE_AGE, later), (Duration::ZERO, later)];
        let ends = ages.map(|(age, expires_at)| {
            let (stream, far) = net::pair();
            let idle_since = now.checked_sub(age).unwrap();
            pool.put(IdleConnection { stream, origin: origin.clone(), expires_at, idle_since });
            far
        });
        pool.close_expired();
        assert_eq!(ends.each_ref().map(is_closed), [true, true, false]);
    }
}
