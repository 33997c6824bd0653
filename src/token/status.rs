//! The state of the token store for clients, `/health` and the metrics.

use std::fmt;
use std::time::Duration;

use super::error::{Class, TokenError};

/// Why there is no token, for the 503's body and for `/health`. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// The state of the store, a few words.
    pub reason: &'static str,
    /// What went wrong, one sentence without a full stop; none while the first attempt is in flight.
    pub summary: Option<String>,
    /// The attempt that is being made, once it takes longer than usual.
    pub waiting: Option<Waiting>,
    /// The number in `AADSTSnnn`.
    pub code: Option<u32>,
    /// Entra ID's support finds the request by this.
    pub trace_id: Option<String>,
    /// As `trace_id`, for several requests.
    pub correlation_id: Option<String>,
    /// What a person can do about it.
    pub remedy: Option<String>,
    /// When the next attempt is due, in whole seconds, at least one.
    pub retry_after: Duration,
    /// Whether retries are useless until a person changes something.
    pub permanent: bool,
}

/// What is being waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Scheme, host and port of the token endpoint.
    pub origin: String,
    /// How long it has been.
    pub so_far: Duration,
}

impl Waiting {
    /// A token request usually takes a fraction of a second: below this there is nothing to say.
    const NOTABLE: Duration = Duration::from_secs(1);

    pub(super) fn new(origin: &str, so_far: Duration) -> Option<Self> {
        (so_far >= Self::NOTABLE).then(|| Self { origin: origin.to_owned(), so_far })
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waiting for the token endpoint {}, {} s so far", self.origin, self.so_far.as_secs())
    }
}

impl Unavailable {
    pub(super) fn new(
        reason: &'static str,
        failure: Option<&TokenError>,
        waiting: Option<Waiting>,
        next_attempt_in: Duration,
    ) -> Self {
        Self {
            reason,
            summary: failure.map(|failure| failure.summary.clone()),
            waiting,
            code: failure.and_then(|failure| failure.code),
            trace_id: failure.and_then(|failure| failure.trace_id.clone()),
            correlation_id: failure.and_then(|failure| failure.correlation_id.clone()),
            remedy: failure
                .filter(|failure| !failure.hints.is_empty())
                .map(|failure| failure.hints.join("; ")),
            retry_after: Duration::from_secs((next_attempt_in.as_secs_f64().ceil() as u64).max(1)),
            permanent: failure.is_some_and(|failure| failure.class == Class::Permanent),
        }
    }
}

/// Reason and summary, and what is being waited for: one sentence without a full stop.
impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)?;
        let mut separator = ": ";
        if let Some(summary) = &self.summary {
            write!(f, "{separator}{summary}")?;
            separator = "; ";
        }
        match &self.waiting {
            Some(waiting) => write!(f, "{separator}{waiting}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Unavailable {}

/// The life of the thread that keeps the token fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefresherState {
    /// It has ended without a shutdown: the process should end too.
    Died,
    Running,
    Starting,
    /// It has ended after a shutdown.
    Stopped,
}

/// A snapshot of the store.
#[derive(Debug, Clone)]
pub struct Status {
    /// Why requests with a token cannot be served, or none when they can.
    pub unavailable: Option<Unavailable>,
    /// How long until the token expires; none when there was never one.
    pub expires_in: Option<Duration>,
    /// How long ago it expired; zero when it has not.
    pub expired_for: Duration,
    /// How long ago the token was requested; none when there was never one.
    pub age: Option<Duration>,
    /// The failure that the last attempt ended in, if it did, even while the old token is good.
    pub last_error: Option<TokenError>,
    /// Token requests that gave a token.
    pub successes: u64,
    /// Attempts that gave none.
    pub failures: u64,
    pub refresher: RefresherState,
    /// How many seconds this machine's clock is ahead of that of Entra ID, or of what responded in its place; none when no
    /// response has given a time.
    pub clock_ahead: Option<i64>,
    /// The attempt that is being made, once it takes longer than usual.
    pub waiting: Option<Waiting>,
}

impl Status {
    /// Whether a request would be served now and in the near future: not during a shutdown, nor without a refresher.
    pub fn ready(&self) -> bool {
        self.unavailable.is_none() && self.refresher == RefresherState::Running
    }

    /// Whether the refresher has ended without a shutdown.
    pub fn has_died(&self) -> bool {
        self.refresher == RefresherState::Died
    }
}
