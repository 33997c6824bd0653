//! Counters, gauges and histograms: relaxed atomics, because each is read on its own. What has begun and not ended
//! ([`Pending`]) takes a lock for the time of a note.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;

use crate::clock::unix_now;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Increments it until the returned guard is dropped, also by a panic.
    #[must_use]
    pub fn inc_guard(&self) -> GaugeGuard<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        GaugeGuard(self)
    }

    pub fn set(&self, value: usize) {
        self.0.store(i64::try_from(value).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Decrements its gauge when it is dropped.
#[derive(Debug)]
pub struct GaugeGuard<'a>(&'a Gauge);

impl Drop for GaugeGuard<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A counter for each of a few label values; an unknown one counts as the last.
#[derive(Debug)]
pub struct LabeledCounter<const N: usize> {
    names: [&'static str; N],
    counters: [Counter; N],
}

impl<const N: usize> LabeledCounter<N> {
    pub fn new(names: [&'static str; N]) -> Self {
        Self { names, counters: std::array::from_fn(|_| Counter::default()) }
    }

    /// One more of this kind.
    pub fn add(&self, kind: &str) {
        let place = self.names.iter().position(|name| *name == kind).unwrap_or(N - 1);
        self.counters[place].add(1);
    }

    pub fn values(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.names.iter().copied().zip(self.counters.iter().map(Counter::value))
    }
}

/// What has begun and not ended, and since when.
#[derive(Debug, Default)]
pub struct Pending(Mutex<Starts>);

#[derive(Debug, Default)]
struct Starts {
    places: Vec<Option<Instant>>,
    free: Vec<usize>,
}

impl Pending {
    /// One begins; it ends when the guard is dropped, also by a panic.
    #[must_use]
    pub fn begin(&self) -> PendingGuard<'_> {
        let mut starts = self.lock();
        let now = Some(Instant::now());
        let place = match starts.free.pop() {
            Some(place) => {
                starts.places[place] = now;
                place
            }
            None => {
                starts.places.push(now);
                starts.places.len() - 1
            }
        };
        PendingGuard { pending: self, place }
    }

    /// How long the oldest has taken so far; none when there is none.
    pub fn oldest(&self) -> Option<Duration> {
        self.lock().places.iter().flatten().min().map(Instant::elapsed)
    }

    /// How many have taken longer than this.
    pub fn older_than(&self, age: Duration) -> usize {
        self.lock().places.iter().flatten().filter(|start| start.elapsed() > age).count()
    }

    fn lock(&self) -> MutexGuard<'_, Starts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that has begun; see [`Pending`].
#[derive(Debug)]
pub struct PendingGuard<'a> {
    pending: &'a Pending,
    place: usize,
}

impl Drop for PendingGuard<'_> {
    fn drop(&mut self) {
        let mut starts = self.pending.lock();
        starts.places[self.place] = None;
        starts.free.push(self.place);
    }
}

/// Responses by their exact status, each with when the last one came. Only statuses that were seen have a value; those
/// outside of 100 to 599 share one.
#[derive(Debug)]
pub struct StatusCounter {
    seen: [StatusSeen; STATUS_COUNT + 1],
}

#[derive(Debug, Default)]
struct StatusSeen {
    count: Counter,
    /// In seconds since the Unix epoch.
    last_unix: AtomicU64,
    /// What the last one that needed attention meant; empty before there was one.
    meaning: Mutex<&'static str>,
}

/// A status and its responses so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenStatus {
    /// None for those out of range.
    pub status: Option<u16>,
    pub count: u64,
    /// In seconds since the Unix epoch.
    pub last_unix: u64,
    /// What [`StatusCounter::explain`] has noted, else empty.
    pub meaning: &'static str,
}

const FIRST_STATUS: u16 = 100;
const STATUS_COUNT: usize = 500;

impl StatusCounter {
    pub fn add(&self, status: StatusCode) {
        let seen = self.of(status);
        seen.last_unix.store(unix_now().as_secs(), Ordering::Relaxed);
        seen.count.add(1);
    }

    /// A response of this status needs attention, and this is what it means.
    pub fn explain(&self, status: StatusCode, meaning: &'static str) {
        *self.of(status).meaning.lock().unwrap_or_else(PoisonError::into_inner) = meaning;
    }

    fn of(&self, status: StatusCode) -> &StatusSeen {
        &self.seen[usize::from(status.as_u16() - FIRST_STATUS).min(STATUS_COUNT)]
    }

    /// Each status that was seen.
    pub fn values(&self) -> impl Iterator<Item = SeenStatus> {
        let statuses = (FIRST_STATUS..).take(STATUS_COUNT).map(Some).chain([None]);
        let seen = statuses.zip(&self.seen).map(|(status, seen)| SeenStatus {
            status,
            count: seen.count.value(),
            last_unix: seen.last_unix.load(Ordering::Relaxed),
            meaning: *seen.meaning.lock().unwrap_or_else(PoisonError::into_inner),
        });
        seen.filter(|seen| seen.count > 0)
    }
}

impl Default for StatusCounter {
    fn default() -> Self {
        Self { seen: std::array::from_fn(|_| StatusSeen::default()) }
    }
}

/// Upper bounds in microseconds and as they are written: from a cached response to the longest reasoning.
pub(crate) const BOUNDS: [(u64, &str); 16] = [
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
    (30_000_000, "30"),
    (60_000_000, "60"),
    (120_000_000, "120"),
    (300_000_000, "300"),
    (600_000_000, "600"),
];

/// Durations, counted by [`BOUNDS`].
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// One for each bound and one for what is above them all; not cumulative.
    buckets: [Counter; BOUNDS.len() + 1],
    micros: Counter,
}

impl Histogram {
    pub(crate) fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let place = BOUNDS.iter().position(|(bound, _)| micros <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[place].add(1);
        self.micros.add(micros);
    }

    /// The counts by bound, not cumulative; the last is above them all.
    pub(crate) fn counts(&self) -> impl Iterator<Item = u64> {
        self.buckets.iter().map(Counter::value)
    }

    /// All durations together, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        Duration::from_micros(self.micros.value()).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_written_as_they_are_and_include_their_own_value() {
        let histogram = Histogram::default();
        for (micros, text) in BOUNDS {
            let seconds: f64 = text.parse().unwrap();
            assert_eq!((seconds * 1e6).round() as u64, micros);
            histogram.observe(Duration::from_micros(micros));
        }
        assert!(BOUNDS.is_sorted());
        histogram.observe(Duration::MAX);
        assert!(histogram.counts().all(|count| count == 1));
    }

    #[test]
    fn the_oldest_is_known_until_it_ends() {
        let pending = Pending::default();
        assert_eq!((pending.oldest(), pending.older_than(Duration::ZERO)), (None, 0));
        let first = pending.begin();
        std::thread::sleep(Duration::from_millis(5));
        let second = pending.begin();
        assert!(pending.oldest() >= Some(Duration::from_millis(5)));
        drop(first);
        let third = pending.begin();
        assert_eq!(pending.lock().places.len(), 2, "a place is taken again");
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(pending.older_than(Duration::ZERO), 2);
        drop((second, third));
        assert_eq!(pending.oldest(), None);
    }

    #[test]
    fn only_statuses_that_were_seen_have_a_value() {
        let responses = StatusCounter::default();
        assert_eq!(responses.values().count(), 0);
        for code in [100, 200, 200, 429, 599, 600, 999] {
            responses.add(StatusCode::from_u16(code).unwrap());
        }
        let found: Vec<_> = responses.values().map(|seen| (seen.status, seen.count)).collect();
        assert_eq!(found, [(Some(100), 1), (Some(200), 2), (Some(429), 1), (Some(599), 1), (None, 2)]);
        assert!(responses.values().all(|seen| seen.last_unix > 1_700_000_000 && seen.meaning.is_empty()));
        responses.explain(StatusCode::TOO_MANY_REQUESTS, "less");
        assert!(responses.values().all(|seen| seen.meaning.is_empty() == (seen.status != Some(429))));
    }

    #[test]
    fn a_guard_decrements_and_an_unknown_label_is_the_last() {
        let gauge = Gauge::default();
        let one = gauge.inc_guard();
        assert_eq!(gauge.value(), 1);
        drop(one);
        assert_eq!(gauge.value(), 0);
        let kinds = LabeledCounter::new(["a", "other"]);
        kinds.add("a");
        kinds.add("never heard of");
        assert_eq!(kinds.values().collect::<Vec<_>>(), [("a", 1), ("other", 1)]);
    }
}
