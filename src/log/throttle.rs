//! Events that many clients can cause: one in each period is logged, the others are counted.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Throttle {
    period: Duration,
    state: Mutex<ThrottleState>,
}

#[derive(Debug)]
struct ThrottleState {
    logged_at: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// A throttle that has seen nothing yet.
    pub(crate) const fn every(period: Duration) -> Self {
        Self { period, state: Mutex::new(ThrottleState { logged_at: None, suppressed: 0 }) }
    }

    /// If this event is to be logged, how many were suppressed since the last that was.
    pub(crate) fn allow(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.logged_at.is_some_and(|logged_at| logged_at.elapsed() < self.period) {
            state.suppressed += 1;
            return None;
        }
        state.logged_at = Some(Instant::now());
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_logged_and_the_next_one_knows_of_the_others() {
        let throttle = Throttle::every(Duration::from_secs(3600));
        assert_eq!(throttle.allow(), Some(0));
        assert_eq!((throttle.allow(), throttle.allow()), (None, None));
        throttle.state.lock().unwrap().logged_at = None;
        assert_eq!(throttle.allow(), Some(2));
    }
}
