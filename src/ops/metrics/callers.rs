//! Requests by caller. Names come from a file that may change as long as the program runs, so that they are bounded here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Beyond this many names, requests are counted as those of [`OTHER`].
const MAX_NAMES: usize = 1000;
const OTHER: &str = "other";

/// A counter for each of `N` classes, for each caller that was seen.
#[derive(Debug)]
pub(super) struct CallerCounters<const N: usize>(Mutex<BTreeMap<Arc<str>, [u64; N]>>);

impl<const N: usize> Default for CallerCounters<N> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<const N: usize> CallerCounters<N> {
    /// One more request of this caller in this class.
    pub(super) fn add(&self, caller: &Arc<str>, class: usize) {
        let mut callers = self.lock();
        let counts = if callers.contains_key(caller) || callers.len() < MAX_NAMES {
            callers.entry(Arc::clone(caller)).or_insert([0; N])
        } else {
            callers.entry(OTHER.into()).or_insert([0; N])
        };
        counts[class] += 1;
    }

    /// By name.
    pub(super) fn values(&self) -> Vec<(Arc<str>, [u64; N])> {
        self.lock().iter().map(|(caller, counts)| (Arc::clone(caller), *counts)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, [u64; N]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded() {
        let counters = CallerCounters::<2>::default();
        for _ in 0..2 {
            for number in 0..MAX_NAMES + 7 {
                counters.add(&format!("caller-{number:04}").into(), number % 2);
            }
        }
        let values = counters.values();
        assert_eq!(values.len(), MAX_NAMES + 1);
        assert_eq!(values[0], ("caller-0000".into(), [2, 0]));
        assert_eq!(values[MAX_NAMES], ("other".into(), [8, 6]));
    }
}
