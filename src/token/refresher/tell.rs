//! What the refresher logs. Never a token.

use std::time::Duration;

use crate::config::LogLevel;
use crate::log::{self, Seconds, Value};
use crate::token::{Class, TokenError};

/// An outage is told of this often; attempts may fail several times a second.
const REPEAT: Duration = Duration::from_secs(10);

pub(super) fn file_changed() {
    log::info("the certificate or token file has changed, asking for a token with it", &[]);
}

/// `failures` were before it.
pub(super) fn success(expires_in: Duration, next_in: Duration, failures: Option<u32>) {
    let (lifetime, next) = (Seconds(expires_in), Seconds(next_in));
    let mut fields: Vec<(&str, &dyn Value)> = vec![("lifetime", &lifetime), ("next_refresh_in", &next)];
    if let Some(failures) = &failures {
        fields.push(("failures_before", failures));
    }
    log::info(if failures.is_some() { "token refresh works again" } else { "token refreshed" }, &fields);
}

/// How loudly to tell of a failure that was told so long ago, if it was. A permanent one is told once, until it
/// becomes another.
pub(super) fn level(class: Class, told: Option<Duration>) -> LogLevel {
    match (class, told) {
        (Class::Permanent, None) => LogLevel::Error,
        (Class::Permanent, Some(_)) => LogLevel::Debug,
        (Class::Transient, Some(ago)) if ago < REPEAT => LogLevel::Debug,
        (Class::Transient, _) => LogLevel::Warn,
    }
}

pub(super) fn failure(level: LogLevel, failure: &TokenError, next_in: Duration, time_left: Duration) {
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
