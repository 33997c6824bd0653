//! Time as a value: the system's, or one that a test sets.
//!
//! Deadlines are measured on the boot clock, which, unlike `Instant`, goes on while the machine is suspended.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// A reading of the boot clock: time since some fixed instant, never going back, suspended time included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// The moment `later` after this one; saturates instead of overflowing.
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }

    /// The moment `earlier` before this one; saturates at the clock's zero.
    #[must_use]
    pub fn before(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(earlier))
    }

    /// How long from `earlier` to this moment; zero when `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// One instant on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// On the boot clock.
    pub boot: Moment,
    /// On the wall clock, as seconds since the Unix epoch.
    pub unix: Duration,
}

/// Where the time comes from. Clones share the same source.
#[derive(Clone)]
pub struct Clock(TimeSource);

#[derive(Clone)]
enum TimeSource {
    System,
    Mock(Arc<MockClock>),
}

impl Clock {
    /// The system's clocks.
    pub fn system() -> Self {
        Self(TimeSource::System)
    }

    /// A clock that stands still until [`MockClock::advance`] moves it, for tests.
    pub fn mock(clock: Arc<MockClock>) -> Self {
        Self(TimeSource::Mock(clock))
    }

    /// Now on the boot clock (`CLOCK_BOOTTIME`).
    pub fn now(&self) -> Moment {
        match &self.0 {
            TimeSource::System => {
                let now = clock_gettime(ClockId::Boottime);
                Moment(Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0)))
            }
            TimeSource::Mock(clock) => Moment(Duration::from_millis(clock.boot.load(Ordering::SeqCst))),
        }
    }

    pub fn reading(&self) -> Reading {
        // The wall clock first: a process that is stopped in between takes itself for older, not for younger.
        let unix = self.unix();
        Reading { boot: self.now(), unix }
    }

    /// Now on the boot clock, put forward by the time since `then` that only the wall clock knows of: the boot clock
    /// of a virtual machine stands still while that is paused, its wall clock is set afterwards.
    pub fn now_including_suspend(&self, then: Reading) -> Moment {
        // The boot clock first, for the same reason.
        let now = self.now();
        let passed = self.unix().saturating_sub(then.unix);
        now.after(passed.saturating_sub(now.since(then.boot)))
    }

    /// Now on the wall clock, as seconds since the Unix epoch.
    pub fn unix(&self) -> Duration {
        match &self.0 {
            TimeSource::System => unix_now(),
            TimeSource::Mock(clock) => Duration::from_millis(clock.unix.load(Ordering::SeqCst)),
        }
    }
}

/// What the system's wall clock says, since the Unix epoch.
pub(crate) fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            TimeSource::System => "Clock(system)",
            TimeSource::Mock(_) => "Clock(set)",
        })
    }
}

/// A clock that a test sets, in milliseconds.
#[derive(Debug)]
pub struct MockClock {
    boot: AtomicU64,
    unix: AtomicU64,
}

impl MockClock {
    /// A clock that shows `unix` seconds since the epoch.
    pub fn at_unix(unix: u64) -> Arc<Self> {
        Arc::new(Self { boot: AtomicU64::new(1_000_000), unix: AtomicU64::new(unix * 1000) })
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.boot.fetch_add(millis, Ordering::SeqCst);
        self.unix.fetch_add(millis, Ordering::SeqCst);
    }

    /// Sets the wall clock alone, as an operator or NTP does.
    pub fn jump_unix(&self, unix: u64) {
        self.unix.store(unix * 1000, Ordering::SeqCst);
    }

    /// Lets time pass on the wall clock alone: a virtual machine was paused, and its clock was set afterwards.
    pub fn pause(&self, time: Duration) {
        self.unix.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mock_clock_moves_only_when_advanced() {
        let mock_clock = MockClock::at_unix(1_700_000_000);
        let clock = Clock::mock(Arc::clone(&mock_clock));
        let start = clock.now();
        assert_eq!(clock.now(), start);
        mock_clock.advance(Duration::from_secs(5));
        assert_eq!(clock.now().since(start), Duration::from_secs(5));
        assert_eq!(clock.unix(), Duration::from_secs(1_700_000_005));
        mock_clock.jump_unix(1);
        assert_eq!(clock.now().since(start), Duration::from_secs(5));
    }

    #[test]
    fn the_clock_that_went_further_counts() {
        let mock_clock = MockClock::at_unix(1_700_000_000);
        let clock = Clock::mock(Arc::clone(&mock_clock));
        let then = clock.reading();
        let passed = || clock.now_including_suspend(then).since(then.boot);
        mock_clock.advance(Duration::from_secs(5));
        assert_eq!(passed(), Duration::from_secs(5));
        mock_clock.pause(Duration::from_secs(60));
        assert_eq!(passed(), Duration::from_secs(65));
        mock_clock.jump_unix(1);
        assert_eq!(passed(), Duration::from_secs(5), "a wall clock set back takes nothing away");
        mock_clock.jump_unix(u64::MAX / 1000);
        assert!(passed() > Duration::from_secs(1_000_000_000));
    }

    #[test]
    fn the_system_clock_goes_forward() {
        let clock = Clock::system();
        let start = clock.now();
        assert!(clock.now() >= start);
        assert_eq!(start.since(start.after(Duration::from_secs(1))), Duration::ZERO);
    }
}
