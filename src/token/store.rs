//! The token, published through a `Mutex` by its one writer, the refresher.
//!
//! Readers hold the lock for a clone of an `Arc`. A token is complete before it is stored; a failed attempt stores its
//! error beside the old token, never instead of it.

mod state;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use state::{InFlight, StoreState};

use super::bearer::Token;
use super::error::TokenError;
use super::status::{RefresherState, Status, Unavailable, Waiting};
use crate::clock::{Clock, Moment};
use crate::measure::Histogram;

/// A 401 of the upstream causes a refresh only when the present token is older.
const MIN_AGE_TO_REJECT: Duration = Duration::from_secs(60);
/// How often a waiting request checks whether its client is still connected.
const WANTED_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// The refresher wakes at least this often: its timer stands still while the machine is suspended.
const MAX_SLEEP: Duration = Duration::from_secs(10);

/// Where the proxy finds the token, and the refresher is woken.
#[derive(Debug)]
pub struct TokenStore {
    clock: Clock,
    /// How long attempts to sign in take, with or without success.
    attempts: Histogram,
    state: Mutex<StoreState>,
    /// For requests that wait for a token: the state has changed.
    changed: Condvar,
    /// For the refresher: there is something to do.
    wake_refresher: Condvar,
}

impl TokenStore {
    /// An empty store whose first attempt is due now.
    pub fn new(clock: Clock) -> Arc<Self> {
        let state = Mutex::new(StoreState::new(clock.now()));
        let (changed, wake_refresher) = (Condvar::new(), Condvar::new());
        Arc::new(Self { clock, attempts: Histogram::default(), state, changed, wake_refresher })
    }

    /// The clock that tokens live by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The token, if it may be sent. To be called as late as possible before sending.
    pub fn usable(&self) -> Option<Arc<Token>> {
        let state = self.lock();
        // The clock is read last: a process that was stopped while it waited for the lock must not trust its past.
        state.usable(&self.clock).cloned()
    }

    /// The token, if need be after waiting: at most `max_wait`, and only while a refresh is in flight or due
    /// within that time.
    ///
    /// # Errors
    ///
    /// There is none; the error says why and when to retry.
    pub fn obtain(&self, max_wait: Duration) -> Result<Arc<Token>, Unavailable> {
        self.obtain_while(max_wait, || true)
    }

    /// As [`TokenStore::obtain`], while `is_wanted`.
    ///
    /// # Errors
    ///
    /// As there, and when it is no longer wanted.
    pub fn obtain_while(
        &self,
        max_wait: Duration,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Arc<Token>, Unavailable> {
        let started = Instant::now();
        let mut state = self.lock();
        loop {
            if let Some(token) = state.usable(&self.clock) {
                return Ok(Arc::clone(token));
            }
            let left = max_wait.saturating_sub(started.elapsed());
            if left.is_zero() || !state.attempt_within(&self.clock, left) {
                return Err(state.unavailable(&self.clock));
            }
            if state.is_due(&self.clock) {
                // After a suspension its timer may still be running although the attempt is due.
                self.wake_refresher.notify_one();
            }
            state = self.wait_for_change(state, left);
            if !is_wanted() {
                return Err(state.unavailable(&self.clock));
            }
        }
    }

    /// The upstream has responded 401 to this token: requests a refresh in the background, unless the token is new or one
    /// was requested a moment ago. A 401 may also mean missing rights, which no new token cures.
    ///
    /// Returns whether a newer token is available or on its way: see [`TokenStore::newer_than`].
    pub fn reject(&self, token: &Arc<Token>) -> bool {
        let mut state = self.lock();
        if state.newer_than(token, &self.clock).is_some() {
            return true;
        }
        if !state.is_alive() || !state.can_be_forced {
            return false;
        }
        if state.in_flight.is_some() || state.is_forced {
            return true;
        }
        // While attempts fail, their own schedule applies. Both conditions also keep forced refreshes a minute apart: the
        // last one has left a new token or a failure.
        if token.age(self.clock.now()) <= MIN_AGE_TO_REJECT || state.failure.is_some() {
            return false;
        }
        state.is_forced = true;
        self.wake_refresher.notify_one();
        true
    }

    /// A usable token other than this one, waiting at most `max_wait` for the refresh that is requested or in flight.
    pub fn newer_than(&self, token: &Arc<Token>, max_wait: Duration) -> Option<Arc<Token>> {
        self.newer_than_while(token, max_wait, || true)
    }

    /// As [`TokenStore::newer_than`], while `is_wanted`.
    pub fn newer_than_while(
        &self,
        token: &Arc<Token>,
        max_wait: Duration,
        is_wanted: impl Fn() -> bool,
    ) -> Option<Arc<Token>> {
        let started = Instant::now();
        let mut state = self.lock();
        loop {
            if let Some(newer) = state.newer_than(token, &self.clock) {
                return Some(newer);
            }
            let left = max_wait.saturating_sub(started.elapsed());
            let is_expected = state.in_flight.is_some() || state.is_forced;
            if left.is_zero() || !is_expected || !state.is_alive() || !is_wanted() {
                return None;
            }
            state = self.wait_for_change(state, left);
        }
    }

    /// Waits until the state has changed, for this long at most, and no longer than until the next check of `is_wanted`.
    fn wait_for_change<'a>(
        &'a self,
        state: MutexGuard<'a, StoreState>,
        left: Duration,
    ) -> MutexGuard<'a, StoreState> {
        let wait = self.changed.wait_timeout(state, left.min(WANTED_CHECK_INTERVAL));
        wait.unwrap_or_else(PoisonError::into_inner).0
    }

    /// For `/health`, `/readyz` and the metrics.
    pub fn status(&self) -> Status {
        let state = self.lock();
        let now = state.token_time(&self.clock);
        Status {
            unavailable: state.usable(&self.clock).is_none().then(|| state.unavailable(&self.clock)),
            expires_in: state.token.as_ref().map(|token| token.expires_in(now)),
            expired_for: state.token.as_ref().map(|token| token.expired_for(now)).unwrap_or_default(),
            age: state.token.as_ref().map(|token| token.age(now)),
            last_error: state.failure.clone(),
            successes: state.successes,
            failures: state.failures,
            refresher: state.refresher,
            clock_ahead: state.clock_ahead,
            waiting: state.waiting(&self.clock),
        }
    }

    /// A refresh before the present token is due gives the same token again, so that [`TokenStore::reject`] requests none.
    pub(super) fn forbid_forced_refresh(&self) {
        self.lock().can_be_forced = false;
    }

    /// How long attempts to sign in took, with or without success.
    pub(crate) fn attempts(&self) -> &Histogram {
        &self.attempts
    }

    /// Whether the refresher has ended without a shutdown. Nothing will renew the token: the process should end.
    pub fn has_died(&self) -> bool {
        self.lock().refresher == RefresherState::Died
    }

    /// Ends the refresher and every wait for a token. The token stays usable for requests in flight.
    pub fn stop(&self) {
        self.lock().mark_stopped(RefresherState::Stopped);
        self.wake_refresher.notify_all();
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, StoreState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the refresher alone.
impl TokenStore {
    pub(super) fn mark_running(&self) {
        let mut state = self.lock();
        if state.refresher == RefresherState::Starting {
            state.refresher = RefresherState::Running;
        }
    }

    pub(super) fn mark_died(&self) {
        let mut state = self.lock();
        state.in_flight = None;
        state.mark_stopped(RefresherState::Died);
        self.changed.notify_all();
    }

    pub(super) fn is_due(&self) -> bool {
        self.lock().is_due(&self.clock)
    }

    /// How long the token may still be sent; zero when there is none.
    pub(super) fn usable_for(&self) -> Duration {
        self.lock().usable_for(&self.clock)
    }

    pub(super) fn next_attempt(&self) -> Moment {
        self.lock().next_attempt
    }

    pub(super) fn plan(&self, next_attempt: Moment) {
        self.lock().next_attempt = next_attempt;
        self.changed.notify_all();
    }

    /// An attempt begins, at `origin`.
    pub(super) fn begin(&self, origin: &str) {
        let mut state = self.lock();
        state.in_flight = Some(InFlight { origin: origin.to_owned(), since: self.clock.now() });
        state.is_forced = false;
    }

    pub(super) fn publish(&self, token: Token, next_attempt: Moment) {
        let mut state = self.lock();
        self.observe_attempt(&state);
        state.clock_ahead = token.clock_ahead().or(state.clock_ahead);
        state.token = Some(Arc::new(token));
        state.failure = None;
        state.successes += 1;
        state.finish_attempt(next_attempt);
        self.changed.notify_all();
    }

    /// The attempt has failed. Returns how long the token may still be sent, now that this is known of our clock.
    pub(super) fn record_failure(&self, failure: &TokenError) -> Duration {
        let mut state = self.lock();
        self.observe_attempt(&state);
        state.clock_ahead = failure.clock_ahead.or(state.clock_ahead);
        state.failure = Some(failure.clone());
        state.failures += 1;
        state.usable_for(&self.clock)
    }

    fn observe_attempt(&self, state: &StoreState) {
        if let Some(attempt) = &state.in_flight {
            self.attempts.observe(self.clock.now().since(attempt.since));
        }
    }

    /// The attempt is over, without a token.
    pub(super) fn fail(&self, next_attempt: Moment) {
        self.lock().finish_attempt(next_attempt);
        self.changed.notify_all();
    }

    /// Sleeps until `wake`, a forced refresh or the end. Returns whether to go on.
    pub(super) fn sleep(&self, wake: Moment) -> bool {
        let state = self.lock();
        let pause = wake.since(self.clock.now()).min(MAX_SLEEP);
        if !state.is_alive() || state.is_due(&self.clock) || pause.is_zero() {
            return state.is_alive();
        }
        self.wake_refresher.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0.is_alive()
    }
}

#[cfg(test)]
mod tests;
