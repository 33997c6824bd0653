//! What the store holds under its lock, and what follows from it.

use std::sync::Arc;
use std::time::Duration;

use super::{RefresherState, Token, TokenError, Unavailable, Waiting};
use crate::clock::{Clock, Moment};

/// Entra ID refuses assertions when a clock is wrong by minutes; a difference below this is none.
const CLOCK_IS_AHEAD: i64 = 60;

/// An attempt to get a token that is not over.
#[derive(Debug)]
pub(super) struct InFlight {
    /// Scheme, host and port of the token endpoint.
    pub(super) origin: String,
    pub(super) since: Moment,
}

#[derive(Debug)]
pub(super) struct StoreState {
    pub(super) token: Option<Arc<Token>>,
    /// How the last attempt failed, if it did.
    pub(super) failure: Option<TokenError>,
    /// The attempt that is being made, if one is.
    pub(super) in_flight: Option<InFlight>,
    pub(super) next_attempt: Moment,
    /// A refresh was requested and has not begun.
    pub(super) is_forced: bool,
    /// Whether a refresh before the token is due gives another one.
    pub(super) can_be_forced: bool,
    pub(super) successes: u64,
    pub(super) failures: u64,
    pub(super) refresher: RefresherState,
    /// How many seconds this machine's clock is ahead of the last sender's that gave its time.
    pub(super) clock_ahead: Option<i64>,
}

impl StoreState {
    pub(super) fn new(next_attempt: Moment) -> Self {
        Self {
            token: None,
            failure: None,
            in_flight: None,
            next_attempt,
            is_forced: false,
            can_be_forced: true,
            successes: 0,
            failures: 0,
            refresher: RefresherState::Starting,
            clock_ahead: None,
        }
    }

    pub(super) fn finish_attempt(&mut self, next_attempt: Moment) {
        self.in_flight = None;
        self.next_attempt = next_attempt;
    }

    pub(super) fn is_due(&self, clock: &Clock) -> bool {
        self.is_due_within(clock, Duration::ZERO)
    }

    fn is_due_within(&self, clock: &Clock, time: Duration) -> bool {
        // The wall clock alone may hasten one attempt; after a failure the pauses are measured on the boot clock, so that a
        // wrong wall clock cannot cause attempts without pauses.
        let now = if self.failure.is_some() { clock.now() } else { self.token_time(clock) };
        self.is_forced || self.next_attempt <= now.after(time)
    }

    /// Now, for the token's expiry. The wall clock of a machine that was paused puts it forward; one that Entra ID has just
    /// called wrong does not.
    pub(super) fn token_time(&self, clock: &Clock) -> Moment {
        let skew = self.failure.as_ref().and_then(|failure| failure.date_skew);
        match &self.token {
            Some(token) if skew.is_none_or(|ahead| ahead < CLOCK_IS_AHEAD) => {
                clock.now_including_suspend(token.requested())
            }
            _ => clock.now(),
        }
    }

    /// The first reason stays.
    pub(super) fn mark_stopped(&mut self, reason: RefresherState) {
        if self.is_alive() {
            self.refresher = reason;
        }
    }

    /// Whether the refresher is running, or will be.
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.refresher, RefresherState::Starting | RefresherState::Running)
    }

    pub(super) fn attempt_within(&self, clock: &Clock, time: Duration) -> bool {
        self.is_alive() && (self.in_flight.is_some() || self.is_due_within(clock, time))
    }

    /// How long the token may still be sent; zero when there is none.
    pub(super) fn usable_for(&self, clock: &Clock) -> Duration {
        let now = self.token_time(clock);
        self.token.as_ref().map_or(Duration::ZERO, |token| token.usable_for(now))
    }

    pub(super) fn usable(&self, clock: &Clock) -> Option<&Arc<Token>> {
        self.token.as_ref().filter(|token| !token.usable_for(self.token_time(clock)).is_zero())
    }

    pub(super) fn newer_than(&self, token: &Arc<Token>, clock: &Clock) -> Option<Arc<Token>> {
        self.usable(clock).filter(|held| !Arc::ptr_eq(held, token)).cloned()
    }

    pub(super) fn unavailable(&self, clock: &Clock) -> Unavailable {
        let reason = match self.refresher {
            RefresherState::Died => "the token refresher has stopped",
            RefresherState::Stopped => "the proxy is stopping",
            _ if self.token.is_some() => "the access token has expired",
            _ => "there is no access token yet",
        };
        let due = self.in_flight.is_some() || self.is_due(clock);
        let wait = if due { Duration::ZERO } else { self.next_attempt.since(clock.now()) };
        Unavailable::new(reason, self.failure.as_ref(), self.waiting(clock), wait)
    }

    /// The attempt that is being made, once it takes longer than usual.
    pub(super) fn waiting(&self, clock: &Clock) -> Option<Waiting> {
        let attempt = self.in_flight.as_ref()?;
        Waiting::new(&attempt.origin, clock.now().since(attempt.since))
    }
}
