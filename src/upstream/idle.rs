//! Connections that rest between two requests. Not ureq's pool: that walks over all of them, and asks a socket whether it
//! is still open, while every other request waits for its lock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::uri::Authority;

use super::Wire;

/// Well under the four minutes after which Azure's load balancer drops idle connections silently.
const MAX_IDLE_AGE: Duration = Duration::from_secs(60);

/// Where a connection leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) authority: Authority,
    pub(super) tls: bool,
}

/// A connection that somebody may use.
#[derive(Debug)]
pub(super) struct Resting {
    pub(super) wire: Arc<Mutex<Wire>>,
    pub(super) origin: Origin,
    /// When it is too old to be used again, so that a busy connection follows DNS, too.
    pub(super) retires: Instant,
    /// When it was put here.
    pub(super) since: Instant,
}

/// The connections that rest; the last one to come is the first to go. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Idle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    resting: Mutex<VecDeque<Resting>>,
}

impl Idle {
    /// Nothing rests, and never more than `most` connections will.
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Shared { most, resting: Mutex::default() }))
    }

    /// A connection to `origin` that has nothing to say.
    pub(super) fn take(&self, origin: &Origin) -> Option<Resting> {
        loop {
            let found = self.with(|all| {
                let newest = all.iter().rposition(|resting| resting.origin == *origin);
                newest.and_then(|i| all.remove(i))
            })?;
            let now = Instant::now();
            let young = now < found.retires && now.saturating_duration_since(found.since) < MAX_IDLE_AGE;
            if young && found.wire.lock().unwrap_or_else(PoisonError::into_inner).is_quiet() {
                return Some(found);
            }
        }
    }

    /// Lets a connection rest. The one that has rested longest ends if it has done so for too long, or they are too many.
    pub(super) fn put(&self, resting: Resting) {
        let ended = self.with(|all| {
            let now = resting.since;
            all.push_back(resting);
            let oldest = all.front().map(|oldest| now.saturating_duration_since(oldest.since));
            if all.len() > self.0.most || oldest > Some(MAX_IDLE_AGE) { all.pop_front() } else { None }
        });
        // Its socket is closed with the lock released.
        drop(ended);
    }

    /// Ends all of them.
    pub(super) fn clear(&self) {
        drop(self.with(std::mem::take));
    }

    fn with<T>(&self, work: impl FnOnce(&mut VecDeque<Resting>) -> T) -> T {
        work(&mut self.0.resting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// A connection, and its other end.
    fn connection(listener: &TcpListener) -> (Arc<Mutex<Wire>>, TcpStream) {
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        near.set_nonblocking(true).unwrap();
        (Arc::new(Mutex::new(Wire::new(near, None, Vec::new()))), listener.accept().unwrap().0)
    }

    #[test]
    fn the_newest_quiet_connection_to_the_origin_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let idle = Idle::new(3);
        let origin = Origin { authority: Authority::from_static("a:1"), tls: false };
        let other = Origin { tls: true, ..origin.clone() };
        let now = Instant::now();
        let put = |origin: &Origin, since, retires| {
            let (wire, far) = connection(&listener);
            idle.put(Resting { wire: Arc::clone(&wire), origin: origin.clone(), retires, since });
            (wire, far)
        };
        let later = now + Duration::from_secs(600);
        let (too_many, _far) = put(&origin, now, later);
        let (quiet, _far) = put(&origin, now, later);
        let (_closed, far) = put(&origin, now, later);
        let (elsewhere, _far) = put(&other, now, later);
        assert_eq!(Arc::strong_count(&too_many), 1, "three may rest");
        drop(far);
        let found = idle.take(&origin).unwrap();
        assert!(Arc::ptr_eq(&found.wire, &quiet));
        assert!(idle.take(&origin).is_none());

        let _retired = put(&origin, now, now);
        let long_ago = now.checked_sub(MAX_IDLE_AGE * 2).unwrap();
        let _old = put(&origin, long_ago, later);
        assert!(idle.take(&origin).is_none());

        idle.clear();
        assert_eq!(Arc::strong_count(&elsewhere), 1);
        assert!(idle.take(&other).is_none());
    }
}
