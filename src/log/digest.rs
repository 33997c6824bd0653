//! Events of which many may come at once: the first of a kind is logged at once, those that follow together, once a period.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Counts events by kind `K`, and keeps of each kind what `D` makes of them.
#[derive(Debug)]
pub(crate) struct Digest<K, D> {
    period: Duration,
    /// What comes beyond that many kinds at a time is not kept.
    max_kinds: usize,
    kinds: Mutex<Vec<Kind<K, D>>>,
}

#[derive(Debug)]
struct Kind<K, D> {
    key: K,
    logged_at: Instant,
    /// Since then.
    count: u64,
    details: D,
}

/// What is to be logged of a kind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry<K, D> {
    pub(crate) key: K,
    /// How many events it stands for.
    pub(crate) count: u64,
    pub(crate) details: D,
}

impl<K: PartialEq + Clone, D: Default> Digest<K, D> {
    pub(crate) fn new(period: Duration, max_kinds: usize) -> Self {
        Self { period, max_kinds, kinds: Mutex::default() }
    }

    /// Adds an event. It is returned if it is to be logged now, with those that came since the last one that was.
    pub(crate) fn add(&self, key: K, now: Instant, add: impl FnOnce(&mut D)) -> Option<Entry<K, D>> {
        let mut kinds = self.lock();
        if let Some(kind) = kinds.iter_mut().find(|kind| kind.key == key) {
            kind.count += 1;
            add(&mut kind.details);
            return kind.is_due(self.period, now).then(|| kind.take(now));
        }
        if kinds.len() >= self.max_kinds {
            return None;
        }
        let mut kind = Kind { key, logged_at: now, count: 1, details: D::default() };
        add(&mut kind.details);
        let entry = kind.take(now);
        kinds.push(kind);
        Some(entry)
    }

    /// How many kinds of the present ones are like this.
    pub(crate) fn count(&self, is_like: impl Fn(&K) -> bool) -> usize {
        self.lock().iter().filter(|kind| is_like(&kind.key)).count()
    }

    /// What has waited for its period to pass. A kind of which nothing has come for a whole period is over: its next event
    /// is logged at once.
    pub(crate) fn due(&self, now: Instant) -> Vec<Entry<K, D>> {
        let mut kinds = self.lock();
        kinds.retain(|kind| kind.count > 0 || !kind.is_due(self.period, now));
        let due = kinds.iter_mut().filter(|kind| kind.is_due(self.period, now));
        due.map(|kind| kind.take(now)).collect()
    }

    /// All that was not logged yet: there will be no more.
    pub(crate) fn rest(&self, now: Instant) -> Vec<Entry<K, D>> {
        let mut kinds = self.lock();
        kinds.iter_mut().filter(|kind| kind.count > 0).map(|kind| kind.take(now)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Kind<K, D>>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone, D: Default> Kind<K, D> {
    fn is_due(&self, period: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.logged_at) >= period
    }

    fn take(&mut self, now: Instant) -> Entry<K, D> {
        self.logged_at = now;
        let (count, details) = (std::mem::take(&mut self.count), std::mem::take(&mut self.details));
        Entry { key: self.key.clone(), count, details }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_is_logged_at_once_and_the_others_once_a_period() {
        let digest: Digest<&str, Vec<u32>> = Digest::new(PERIOD, 2);
        let start = Instant::now();
        let add = |key, number, now| {
            let entry = digest.add(key, now, |numbers| numbers.push(number));
            entry.map(|entry| (entry.count, entry.details))
        };
        assert_eq!(add("a", 1, start), Some((1, vec![1])));
        assert_eq!(add("a", 2, start + PERIOD / 2), None);
        assert_eq!(add("b", 3, start + PERIOD / 2), Some((1, vec![3])), "a kind of its own");
        assert_eq!(add("c", 4, start + PERIOD / 2), None, "there is no room for a third");
        assert!(digest.due(start + PERIOD / 2).is_empty());
        assert_eq!(digest.due(start + PERIOD), [Entry { key: "a", count: 1, details: vec![2] }]);
        assert_eq!(add("a", 5, start + PERIOD), None);
        // What comes late takes along what has waited.
        assert_eq!(add("a", 6, start + 2 * PERIOD), Some((2, vec![5, 6])));
        assert!(digest.due(start + 4 * PERIOD).is_empty(), "both are over");
        assert_eq!(add("c", 7, start + 4 * PERIOD), Some((1, vec![7])));
        assert_eq!(add("c", 8, start + 4 * PERIOD), None);
        assert_eq!(digest.rest(start + 4 * PERIOD), [Entry { key: "c", count: 1, details: vec![8] }]);
        assert!(digest.rest(start + 9 * PERIOD).is_empty());
    }
}
