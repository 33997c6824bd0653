//! How fast a client has to send what we wait for, and to take what waits for it. A pause alone is no measure: a client
//! that moves a byte in each would hold a thread and a connection to the upstream for ever.

use std::time::{Duration, Instant};

/// This many bytes, or the rest, have to move in each window.
const STEP: usize = 1024;

/// The rate of one direction of one request. Only the time in which somebody waits for the client counts.
#[derive(Debug)]
pub(super) struct MinRate {
    window: Duration,
    /// When the current window began.
    started_at: Option<Instant>,
    /// Bytes that have moved since.
    bytes: usize,
    /// Since when nobody waits for the client.
    paused_at: Option<Instant>,
}

impl MinRate {
    pub(super) fn new(window: Duration) -> Self {
        Self { window, started_at: None, bytes: 0, paused_at: None }
    }

    /// Until when more has to move, now that somebody waits.
    pub(super) fn deadline(&mut self) -> Instant {
        let now = Instant::now();
        let pause = self.paused_at.take().map_or(Duration::ZERO, |paused_at| now - paused_at);
        let started_at = self.started_at.map_or(now, |started_at| started_at + pause);
        self.started_at = Some(started_at);
        started_at + self.window
    }

    /// Notes that bytes have moved. Costs nothing while nobody has waited yet.
    pub(super) fn record(&mut self, bytes: usize) {
        if self.started_at.is_none() {
            return;
        }
        let now = Instant::now();
        self.paused_at = Some(now);
        self.bytes += bytes;
        if self.bytes >= STEP {
            (self.bytes, self.started_at) = (0, Some(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drip_moves_no_deadline_and_a_step_does() {
        let mut rate = MinRate::new(Duration::from_secs(60));
        rate.record(STEP);
        let first = rate.deadline();
        rate.record(STEP - 1);
        rate.paused_at = None;
        assert_eq!(rate.deadline(), first);
        rate.record(1);
        assert!(rate.deadline() > first);
    }

    #[test]
    fn the_time_in_which_nobody_waits_does_not_count() {
        let mut rate = MinRate::new(Duration::from_secs(60));
        let first = rate.deadline();
        rate.record(1);
        rate.paused_at = rate.paused_at.map(|since| since.checked_sub(Duration::from_secs(100)).unwrap());
        assert!(rate.deadline() >= first + Duration::from_secs(100));
    }
}
