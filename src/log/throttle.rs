//! Events that a crowd can cause: one now and then is told, the others are counted.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets one event through in each period.
#[derive(Debug)]
pub struct Throttle {
    period: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    told: Option<Instant>,
    untold: u64,
}

impl Throttle {
    /// A throttle that has seen nothing yet.
    pub const fn every(period: Duration) -> Self {
        Self { period, state: Mutex::new(State { told: None, untold: 0 }) }
    }

    /// When this event is to be told: how many were not since the last that was.
    pub fn pass(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.told.is_some_and(|told| told.elapsed() < self.period) {
            state.untold += 1;
            return None;
        }
        state.told = Some(Instant::now());
        Some(std::mem::take(&mut state.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_told_and_the_next_one_knows_of_the_others() {
        let throttle = Throttle::every(Duration::from_secs(3600));
        assert_eq!(throttle.pass(), Some(0));
        assert_eq!((throttle.pass(), throttle.pass()), (None, None));
        throttle.state.lock().unwrap().told = None;
        assert_eq!(throttle.pass(), Some(2));
    }
}
