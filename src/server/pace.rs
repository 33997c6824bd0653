//! How fast a request body has to come. A pause alone is no measure: a client that sends a byte in each would hold a
//! thread and a connection to the destination for ever.

use std::time::{Duration, Instant};

/// So much of it, or the rest, has to come in each `body_idle` that it is waited for.
const STEP: usize = 1024;

/// The pace of one body.
#[derive(Debug)]
pub(super) struct Pace {
    idle: Duration,
    /// When the current step began.
    since: Option<Instant>,
    /// Bytes that came since.
    bytes: usize,
    /// Since when nobody waits for the client: the destination takes its time.
    resting: Option<Instant>,
}

impl Pace {
    pub(super) fn new(idle: Duration) -> Self {
        Self { idle, since: None, bytes: 0, resting: None }
    }

    /// Until when more has to come, now that somebody waits.
    pub(super) fn deadline(&mut self) -> Instant {
        let now = Instant::now();
        let rest = self.resting.take().map_or(Duration::ZERO, |resting| now - resting);
        let since = self.since.map_or(now, |since| since + rest);
        self.since = Some(since);
        since + self.idle
    }

    /// So many bytes came.
    pub(super) fn came(&mut self, bytes: usize) {
        let now = Instant::now();
        self.resting = Some(now);
        self.bytes += bytes;
        if self.bytes >= STEP {
            (self.bytes, self.since) = (0, Some(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drip_moves_no_deadline_and_a_step_does() {
        let mut pace = Pace::new(Duration::from_secs(60));
        let first = pace.deadline();
        pace.came(STEP - 1);
        pace.resting = None;
        assert_eq!(pace.deadline(), first);
        pace.came(1);
        assert!(pace.deadline() > first);
    }

    #[test]
    fn the_time_that_the_destination_takes_does_not_count() {
        let mut pace = Pace::new(Duration::from_secs(60));
        let first = pace.deadline();
        pace.came(1);
        pace.resting = pace.resting.map(|since| since.checked_sub(Duration::from_secs(100)).unwrap());
        assert!(pace.deadline() >= first + Duration::from_secs(100));
    }
}
