//! When to act, as pure functions of durations. Randomness comes in as a number in [0, 1).

use std::time::Duration;

use super::error::Class;

/// From here on a lifetime is long enough to throw half of it away.
const LONG: Duration = Duration::from_secs(7200);
/// Below this five minutes before the end would leave too little of the lifetime.
const SHORT: Duration = Duration::from_secs(1200);
/// How long before its end a token of ordinary lifetime is replaced.
const AHEAD: Duration = Duration::from_secs(300);
/// Spreads the refreshes of replicas that started together.
const SPREAD: Duration = Duration::from_secs(60);

/// The first pause while a token is left; it doubles with every failure.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// However little time the token has left.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);

/// The first pause once no token is left: requests wait five seconds for one, so that these must hold more attempts
/// than are likely to fail all.
const OUTAGE_PAUSE: Duration = Duration::from_millis(400);
/// So many failures double it: five seconds' worth, then ten, then twenty.
const OUTAGE_FAILURES: u32 = 25;
/// The longest of them: requests are to be served within five seconds of Entra ID's return.
const LONGEST_OUTAGE_PAUSE: Duration = Duration::from_secs(3);
/// However long the attempt took.
const SHORTEST_OUTAGE_PAUSE: Duration = Duration::from_millis(50);

/// The first pause when only a person can help.
const PERMANENT_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PERMANENT_PAUSE: Duration = Duration::from_secs(300);

/// What jitter leaves of a pause at least: it may draw zero.
const LEAST_OF_A_PAUSE: f64 = 0.125;

/// How long before its expiry a token is no longer sent: it must outlive its way to the destination, and our
/// clock may be slow.
pub(super) fn margin(expires_in: Duration) -> Duration {
    Duration::from_secs(30).min(expires_in / 10)
}

/// How long after its request a token is due for replacement. The token is still usable then, by another margin:
/// the refresh itself takes time, and nobody should wait for it.
pub(super) fn refresh_after(expires_in: Duration, refresh_in: Option<Duration>, jitter: f64) -> Duration {
    let latest = expires_in - 2 * margin(expires_in);
    match refresh_in {
        Some(told) => told.max(Duration::from_secs(1)).min(latest),
        None if expires_in >= LONG || expires_in < SHORT => expires_in / 2,
        None => expires_in - AHEAD - SPREAD.mul_f64(jitter),
    }
}

/// The situation after a failed attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setback {
    pub(super) class: Class,
    /// Failures of this class in a row, this one included; counted anew when the token has run out.
    pub(super) failures: u32,
    /// How long the present token stays usable; zero when there is none.
    pub(super) time_left: Duration,
    /// How long the attempt took.
    pub(super) took: Duration,
    /// What Entra ID asked for.
    pub(super) retry_after: Option<Duration>,
}

/// How long to wait before the next attempt.
pub(super) fn retry_in(setback: Setback, jitter: f64) -> Duration {
    let before = setback.failures.saturating_sub(1);
    // The jitter comes last: below a limit that holds for all, replicas would otherwise act in step.
    let jittered = |longest: Duration| longest.mul_f64(jitter.max(LEAST_OF_A_PAUSE));
    let pause = match setback.class {
        Class::Permanent => doubled(PERMANENT_PAUSE, before).min(LONGEST_PERMANENT_PAUSE),
        Class::Transient if setback.time_left.is_zero() => {
            let longest = doubled(OUTAGE_PAUSE, before / OUTAGE_FAILURES).min(LONGEST_OUTAGE_PAUSE);
            // From the beginning of the attempt: one that waited in vain for long has been pause enough.
            jittered(longest).saturating_sub(setback.took).max(SHORTEST_OUTAGE_PAUSE)
        }
        Class::Transient => {
            let latest = (setback.time_left / 4).max(SHORTEST_PAUSE);
            jittered(doubled(PAUSE, before).min(LONGEST_PAUSE).min(latest))
        }
    };
    pause.max(setback.retry_after.unwrap_or_default())
}

fn doubled(first: Duration, times: u32) -> Duration {
    first * (1 << times.min(16))
}

#[cfg(test)]
mod tests;
