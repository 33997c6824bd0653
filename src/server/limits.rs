//! Bounds on everything that a client controls: sizes, numbers, and time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Overload;

/// The bounds, and their defaults.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections served at once.
    pub connections: usize,
    /// What limits them: `MAX_CONNECTIONS`, or a resource of the system.
    pub connections_bound: Overload,
    /// Connections above that which get a 503 response.
    pub overflow: usize,
    /// File descriptors that are for neither of them.
    pub descriptors_besides: usize,
    /// Bytes of a request head.
    pub head_bytes: usize,
    /// Requests at a time whose head is longer than 16 KiB: memory for all connections at once would be too much.
    pub large_heads: usize,
    /// From the first byte of a head to its last.
    pub header_timeout: Duration,
    /// Between two requests of one connection.
    pub keep_alive: Duration,
    /// For the next kilobyte of a request body, or its end.
    pub body_idle_timeout: Duration,
    /// For the client to read the next kilobyte of a response.
    pub write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_bound: Overload::Connections,
            overflow: 256,
            descriptors_besides: 0,
            head_bytes: 64 * 1024,
            large_heads: 64,
            header_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            body_idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
        }
    }
}

impl Limits {
    /// These limits as far as this number of file descriptors is enough for them. Each connection takes one, and one to the upstream; a rejected one
    /// takes its own. With fewer than that, new clients would take those that the clients being served need.
    #[must_use]
    pub(crate) fn with_descriptors(&self, descriptors: Option<u64>) -> Self {
        let mut limits = self.clone();
        let all = descriptors.map_or(usize::MAX, |all| usize::try_from(all).unwrap_or(usize::MAX));
        let spare = all.saturating_sub(self.descriptors_besides);
        if spare / 2 < limits.connections + limits.overflow / 2 {
            limits.overflow = (spare / 8).min(limits.overflow);
            let enough = ((spare - limits.overflow) / 2).max(1);
            if enough < limits.connections {
                (limits.connections, limits.connections_bound) = (enough, Overload::Descriptors);
            }
        }
        limits
    }
}

/// Limits a resource that few clients need at once, and that would be too much if all did.
#[derive(Debug)]
pub(super) struct Semaphore {
    taken: AtomicUsize,
    permits: usize,
}

impl Semaphore {
    pub(super) fn new(permits: usize) -> Self {
        Self { taken: AtomicUsize::new(0), permits }
    }

    /// A permit, which is given back when it is dropped; none when all are taken.
    pub(super) fn acquire(&self) -> Option<Permit<'_>> {
        let permit = Permit(self);
        (self.taken.fetch_add(1, Ordering::Relaxed) < self.permits).then_some(permit)
    }
}

#[derive(Debug)]
pub(super) struct Permit<'a>(&'a Semaphore);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// This many bytes, or the rest, have to move in each window.
const MIN_BYTES: usize = 1024;

/// How fast a client has to send a body and to read a response. A timeout between reads alone is no measure: a client that
/// moves a byte in each would hold a thread and a connection to the upstream for ever.
///
/// One direction of one request. Only the time in which we wait for the client counts.
#[derive(Debug)]
pub(super) struct MinRate {
    window: Duration,
    /// When the current window began.
    started_at: Option<Instant>,
    bytes: usize,
    /// Since when we do not wait for the client.
    paused_at: Option<Instant>,
}

impl MinRate {
    pub(super) fn new(window: Duration) -> Self {
        Self { window, started_at: None, bytes: 0, paused_at: None }
    }

    /// The deadline for the next bytes, now that we wait for them.
    pub(super) fn deadline(&mut self) -> Instant {
        let now = Instant::now();
        let pause = self.paused_at.take().map_or(Duration::ZERO, |paused_at| now - paused_at);
        let started_at = self.started_at.map_or(now, |started_at| started_at + pause);
        self.started_at = Some(started_at);
        started_at + self.window
    }

    /// Records that bytes have moved. Costs nothing while we have not waited yet.
    pub(super) fn record(&mut self, bytes: usize) {
        if self.started_at.is_none() {
            return;
        }
        let now = Instant::now();
        self.paused_at = Some(now);
        self.bytes += bytes;
        if self.bytes >= MIN_BYTES {
            (self.bytes, self.started_at) = (0, Some(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_come_back() {
        let semaphore = Semaphore::new(2);
        let (first, second) = (semaphore.acquire(), semaphore.acquire());
        assert!(first.is_some() && second.is_some() && semaphore.acquire().is_none());
        drop(first);
        assert!(semaphore.acquire().is_some());
        drop(second);
        assert_eq!(semaphore.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_drip_moves_no_deadline_and_a_step_does() {
        let mut rate = MinRate::new(Duration::from_secs(60));
        rate.record(MIN_BYTES);
        let first = rate.deadline();
        rate.record(MIN_BYTES - 1);
        rate.paused_at = None;
        assert_eq!(rate.deadline(), first);
        rate.record(1);
        assert!(rate.deadline() > first);
    }

    #[test]
    fn the_time_in_which_we_do_not_wait_does_not_count() {
        let mut rate = MinRate::new(Duration::from_secs(60));
        let first = rate.deadline();
        rate.record(1);
        rate.paused_at = rate.paused_at.map(|since| since.checked_sub(Duration::from_secs(100)).unwrap());
        assert!(rate.deadline() >= first + Duration::from_secs(100));
    }
}
