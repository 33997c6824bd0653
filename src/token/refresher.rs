//! Keeps the token fresh: a step that decides and acts, and a loop around it that only a shutdown ends.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::bearer::{Grant, Token};
use super::error::{Class, TokenError};
use super::schedule::{self, FailureContext};
use super::{Credential, TokenStore, random};
use crate::clock::{Clock, Moment, Reading};
use crate::config::LogLevel;
use crate::log::{self, Seconds, Value};

/// How often the credential file is checked for changes: a `stat`.
const FILE_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// The same while nothing but a new file may help.
const FILE_CHECK_INTERVAL_STUCK: Duration = Duration::from_secs(2);
/// After a change of the file, while the old token is still usable: tries the new certificate soon, but not at once,
/// because files are often written one after another.
const NEW_FILE_SIGN_IN_DELAY: Duration = Duration::from_secs(3);

/// An outage is logged this often; attempts may fail several times a second.
const OUTAGE_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The one writer of the [`TokenStore`].
pub struct Refresher {
    store: Arc<TokenStore>,
    clock: Clock,
    credential: Box<dyn Credential>,
    jitter: fn() -> f64,
    streak: Option<FailureStreak>,
    /// No attempt before this, whatever happens meanwhile: Entra ID's `Retry-After`.
    not_before: Moment,
}

struct FailureStreak {
    last: TokenError,
    /// How many in a row were of the same class, with or without a usable token throughout.
    failures: u32,
    /// Whether a token was still usable.
    had_token: bool,
    /// When the last of them ended.
    at: Moment,
    /// When one of them was last logged above `debug`; none when the next one is logged in any case.
    logged_at: Option<Moment>,
}

impl Refresher {
    pub fn new(store: Arc<TokenStore>, credential: Box<dyn Credential>) -> Self {
        let clock = store.clock().clone();
        let not_before = clock.now();
        if !credential.can_renew_early() {
            store.forbid_forced_refresh();
        }
        Self { store, clock, credential, jitter: random::unit, streak: None, not_before }
    }

    /// Starts the thread `token-refresher`. It ends after [`TokenStore::stop`], once an attempt in flight is over;
    /// should it end otherwise, [`TokenStore::has_died`] says so.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn spawn(self) -> io::Result<JoinHandle<()>> {
        Builder::new().name("token-refresher".into()).spawn(move || self.run())
    }

    fn run(mut self) {
        let guard = ExitGuard(Arc::clone(&self.store));
        guard.0.mark_running();
        loop {
            let wake = self.step();
            if !self.store.sleep(wake) {
                return;
            }
        }
    }

    /// Does what is due and returns when to check again.
    pub(super) fn step(&mut self) -> Moment {
        self.check_credential_file();
        self.reschedule_after_early_expiry();
        if self.store.is_due() {
            self.refresh();
        }
        let stuck = self.streak.as_ref().is_some_and(|streak| streak.last.class == Class::Permanent);
        let next_check =
            self.clock.now().after(if stuck { FILE_CHECK_INTERVAL_STUCK } else { FILE_CHECK_INTERVAL });
        self.store.next_attempt().min(next_check)
    }

    fn check_credential_file(&mut self) {
        if !catch_panic(|| self.credential.changed()).unwrap_or(false) {
            return;
        }
        let attempt = match &mut self.streak {
            Some(streak) => {
                // The next failure is logged even if it is the same: an operator who replaced the file wants to see the
                // result.
                streak.logged_at = None;
                self.clock.now().max(self.not_before)
            }
            // The last attempt gave a token: there is time to wait until all files are written.
            None => self.clock.now().after(NEW_FILE_SIGN_IN_DELAY),
        };
        // A change may only hasten the next attempt, or files that keep changing would postpone it for ever.
        if attempt < self.store.next_attempt() {
            log::info("credential file changed; reloading", &[]);
            self.store.plan(attempt);
        }
    }

    /// The schedule was made for the token's announced end. A machine that was suspended meanwhile finds the token expired
    /// sooner: then the next attempt is due now, or as soon as `Retry-After` allows without a token.
    fn reschedule_after_early_expiry(&mut self) {
        let Some(streak) = self.streak.as_ref().filter(|streak| streak.had_token) else { return };
        if !self.store.usable_for().is_zero() {
            return;
        }
        // With a usable token `Retry-After` was obeyed in full; without one it is limited, from the failure on.
        let forbidden = schedule::forbidden_for(streak.last.retry_after, Duration::ZERO);
        self.not_before = self.not_before.min(streak.at.after(forbidden));
        let attempt = self.clock.now().max(self.not_before);
        if attempt < self.store.next_attempt() {
            self.store.plan(attempt);
        }
    }

    fn refresh(&mut self) {
        self.store.begin(self.credential.origin());
        let requested = self.clock.reading();
        let outcome = catch_panic(|| self.credential.sign_in())
            .unwrap_or_else(|| {
                Err(TokenError::transient("internal error in the token refresh, a bug of auth-proxy"))
            })
            .and_then(|grant| self.check_still_valid(grant, requested));
        match outcome {
            Ok(grant) => self.accept(grant, requested),
            Err(failure) => self.schedule_retry(failure, requested),
        }
    }

    /// The machine may have been suspended between request and response.
    fn check_still_valid(&self, grant: Grant, requested: Reading) -> Result<Grant, TokenError> {
        let passed = self.clock.now_including_suspend(requested).since(requested.boot);
        if passed < grant.expires_in - schedule::margin(grant.expires_in) {
            return Ok(grant);
        }
        Err(TokenError::transient("the token had expired when it arrived"))
    }

    fn accept(&mut self, grant: Grant, requested: Reading) {
        let next_in = schedule::refresh_after(grant.expires_in, grant.refresh_in, (self.jitter)());
        let expires_in = grant.expires_in;
        self.not_before = requested.boot;
        self.store.publish(Token::new(grant, requested), requested.boot.after(next_in));
        log_success(expires_in, next_in, self.streak.take().map(|streak| streak.failures));
    }

    fn schedule_retry(&mut self, failure: TokenError, requested: Reading) {
        let now = self.clock.now();
        let before = self.streak.take();
        // How long the token is usable depends on what the failure says about our clock.
        let time_left = self.store.record_failure(&failure);
        let had_token = !time_left.is_zero();
        let failures = match &before {
            Some(streak) if (streak.last.class, streak.had_token) == (failure.class, had_token) => {
                streak.failures.saturating_add(1)
            }
            _ => 1,
        };
        let (class, is_unreachable, retry_after) =
            (failure.class, failure.is_unreachable, failure.retry_after);
        let took = now.since(requested.boot);
        let context = FailureContext { class, is_unreachable, failures, time_left, took, retry_after };
        let next_in = schedule::retry_in(context, (self.jitter)());
        self.not_before = now.after(schedule::forbidden_for(retry_after, time_left));
        self.store.fail(now.after(next_in));
        let logged_at =
            before.filter(|streak| streak.last.same_as(&failure)).and_then(|streak| streak.logged_at);
        let level = failure_level(class, logged_at.map(|logged_at| now.since(logged_at)));
        log_failure(level, &failure, next_in, time_left);
        let logged_at = logged_at.filter(|_| level == LogLevel::Debug).or(Some(now));
        self.streak = Some(FailureStreak { last: failure, failures, had_token, at: now, logged_at });
    }
}

/// Logs that there is a new token, never the token itself; `failures` were before it.
fn log_success(expires_in: Duration, next_in: Duration, failures: Option<u32>) {
    let (lifetime, next) = (Seconds(expires_in), Seconds(next_in));
    let mut fields: Vec<(&str, &dyn Value)> = vec![("lifetime", &lifetime), ("next_refresh_in", &next)];
    if let Some(failures) = &failures {
        fields.push(("failures_before", failures));
    }
    log::info(if failures.is_some() { "token refresh recovered" } else { "token refreshed" }, &fields);
}

/// The level for a failure that was last logged so long ago, if it was. A permanent one is logged once, until it becomes
/// another.
fn failure_level(class: Class, logged_ago: Option<Duration>) -> LogLevel {
    match (class, logged_ago) {
        (Class::Permanent, None) => LogLevel::Error,
        (Class::Permanent, Some(_)) => LogLevel::Debug,
        (Class::Transient, Some(ago)) if ago < OUTAGE_LOG_INTERVAL => LogLevel::Debug,
        (Class::Transient, _) => LogLevel::Warn,
    }
}

fn log_failure(level: LogLevel, failure: &TokenError, next_in: Duration, time_left: Duration) {
    let (next, left) = (Seconds(next_in), Seconds(time_left));
    let hints = (!failure.hints.is_empty()).then(|| failure.hints.join("; "));
    let optional: [(&str, Option<&dyn Value>); 8] = [
        ("status", some(&failure.status)),
        ("error", some(&failure.error)),
        ("aadsts", some(&failure.code)),
        ("hint", some(&hints)),
        ("detail", some(&failure.detail)),
        ("trace_id", some(&failure.trace_id)),
        ("correlation_id", some(&failure.correlation_id)),
        ("client_request_id", some(&failure.request_id)),
    ];
    let mut fields: Vec<(&str, &dyn Value)> =
        vec![("problem", &failure.summary), ("next_attempt_in", &next), ("token_usable_for", &left)];
    fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    log::event(level, "token refresh failed", &fields);
}

fn some<T: Value>(value: &Option<T>) -> Option<&dyn Value> {
    value.as_ref().map(|value| value as &dyn Value)
}

/// Nothing that a step calls may end the loop. The panic hook has logged it already.
fn catch_panic<T>(call: impl FnOnce() -> T) -> Option<T> {
    // The next attempt reads everything again.
    catch_unwind(AssertUnwindSafe(call)).ok()
}

/// Marks the refresher as died when its thread ends, also by a panic.
struct ExitGuard(Arc<TokenStore>);

impl Drop for ExitGuard {
    fn drop(&mut self) {
        self.0.mark_died();
    }
}

#[cfg(test)]
mod tests;
