//! When to act, as pure functions of durations. Randomness comes in as a number in [0, 1).

use std::time::Duration;

use super::error::Class;

/// From here on a lifetime is long enough to replace the token after half of it.
const LONG_LIFETIME: Duration = Duration::from_secs(7200);
/// Below this five minutes before the end would leave too little of the lifetime.
const SHORT_LIFETIME: Duration = Duration::from_secs(1200);
/// How long before its end a token of ordinary lifetime is replaced.
const REFRESH_AHEAD: Duration = Duration::from_secs(300);
/// Spreads the refreshes of replicas that started together.
const REFRESH_SPREAD: Duration = Duration::from_secs(60);

/// The first pause while a token is left; it doubles with every failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// However little time the token has left.
const MIN_PAUSE: Duration = Duration::from_millis(200);

/// The first pause once no token is left: requests wait five seconds for one, so that these must hold more attempts
/// than are likely to fail all.
const FIRST_OUTAGE_PAUSE: Duration = Duration::from_millis(400);
/// This many failures double it. The jitter scales a pause by 1/2 on average, so that 25 pauses of at most 0.4 s take 5 s,
/// of 0.8 s 10 s, of 1.6 s 20 s.
const OUTAGE_FAILURES_PER_DOUBLING: u32 = 25;
/// The longest of them: requests are to be served within five seconds of Entra ID's return.
const MAX_OUTAGE_PAUSE: Duration = Duration::from_secs(3);
/// However long the attempt took.
const MIN_OUTAGE_PAUSE: Duration = Duration::from_millis(50);

/// The first pause once no token is left and no connection can be made; it doubles with every failure. Hundreds of replicas
/// may share one network path or egress proxy that has failed.
const FIRST_UNREACHABLE_PAUSE: Duration = Duration::from_millis(500);
/// The longest of them, for the same five seconds.
const MAX_UNREACHABLE_PAUSE: Duration = Duration::from_secs(4);

/// The first pause when only a person can help; it doubles with every failure, as long as a token is left.
const FIRST_PERMANENT_PAUSE: Duration = Duration::from_secs(60);
const MAX_PERMANENT_PAUSE: Duration = Duration::from_secs(300);
/// The same once no token is left. What was made in Entra ID a moment ago is known everywhere after some minutes
/// only, and until then its errors look permanent.
const STUCK_PAUSE: Duration = Duration::from_secs(15);
/// An attempt this long before the token's end is early enough: a connection, a handshake and Entra ID take a second or
/// two.
const LAST_ATTEMPT_LEAD: Duration = Duration::from_secs(5);

/// `Retry-After` is obeyed for longer than this only as long as there is a token.
const MAX_RETRY_AFTER_WITHOUT_TOKEN: Duration = Duration::from_secs(60);

/// What jitter leaves of a pause at least: it may draw zero.
const MIN_JITTER: f64 = 0.125;
/// The same of pauses that should stay long.
const MIN_LONG_PAUSE_JITTER: f64 = 0.5;

/// How long before its expiry a token is no longer sent: the upstream must receive it in time, and our clock may be slow.
pub(super) fn margin(expires_in: Duration) -> Duration {
    Duration::from_secs(30).min(expires_in / 10)
}

/// How long after its request a token is due for replacement. The token is still usable then, by another margin: the
/// refresh itself takes time, and no request should wait for it.
pub(super) fn refresh_after(expires_in: Duration, refresh_in: Option<Duration>, jitter: f64) -> Duration {
    let latest = expires_in - 2 * margin(expires_in);
    match refresh_in {
        Some(refresh_in) => refresh_in.max(Duration::from_secs(1)).min(latest),
        None if expires_in >= LONG_LIFETIME || expires_in < SHORT_LIFETIME => expires_in / 2,
        None => expires_in - REFRESH_AHEAD - REFRESH_SPREAD.mul_f64(jitter),
    }
}

/// The situation after a failed attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct FailureContext {
    pub(super) class: Class,
    /// There was no connection to send the request on.
    pub(super) is_unreachable: bool,
    /// Failures of this class in a row, this one included; counted from zero when the token has run out.
    pub(super) failures: u32,
    /// How long the present token stays usable; zero when there is none.
    pub(super) time_left: Duration,
    /// How long the attempt took.
    pub(super) took: Duration,
    /// `Retry-After`.
    pub(super) retry_after: Option<Duration>,
}

/// How long to wait before the next attempt. Whatever the last error was, one comes before the token's end in time to
/// be of use, one at its end, and then one at least every fifteen seconds.
pub(super) fn retry_in(context: FailureContext, jitter: f64) -> Duration {
    let before = context.failures.saturating_sub(1);
    // The jitter comes last: below a limit that holds for all, replicas would otherwise act in step.
    let jittered = |longest: Duration| longest.mul_f64(jitter.max(MIN_JITTER));
    let spread =
        |longest: Duration| longest.mul_f64(MIN_LONG_PAUSE_JITTER + (1.0 - MIN_LONG_PAUSE_JITTER) * jitter);
    // Measured from the beginning of the attempt: one that failed after a long time has been pause enough.
    let from_its_start = |pause: Duration| pause.saturating_sub(context.took).max(MIN_OUTAGE_PAUSE);
    let time_left = context.time_left;
    let pause = match context.class {
        Class::Permanent if time_left.is_zero() => from_its_start(spread(STUCK_PAUSE)),
        Class::Transient if time_left.is_zero() && context.is_unreachable => {
            from_its_start(spread(doubled(FIRST_UNREACHABLE_PAUSE, before).min(MAX_UNREACHABLE_PAUSE)))
        }
        Class::Transient if time_left.is_zero() => {
            let longest =
                doubled(FIRST_OUTAGE_PAUSE, before / OUTAGE_FAILURES_PER_DOUBLING).min(MAX_OUTAGE_PAUSE);
            from_its_start(jittered(longest))
        }
        // Half of what is left, and half of that, until what is left is just enough: a few attempts, the last of
        // them at the end.
        Class::Permanent => {
            let latest = (time_left / 2).max(LAST_ATTEMPT_LEAD);
            spread(doubled(FIRST_PERMANENT_PAUSE, before).min(MAX_PERMANENT_PAUSE).min(latest)).min(time_left)
        }
        Class::Transient => {
            let latest = (time_left / 4).max(MIN_PAUSE);
            jittered(doubled(FIRST_PAUSE, before).min(MAX_PAUSE).min(latest)).min(time_left)
        }
    };
    pause.max(forbidden_for(context.retry_after, time_left))
}

/// How long `Retry-After` forbids every attempt: for its whole value, unless the token runs out meanwhile, and then until
/// shortly before that, or for a minute if that is later.
pub(super) fn forbidden_for(retry_after: Option<Duration>, time_left: Duration) -> Duration {
    let longest = MAX_RETRY_AFTER_WITHOUT_TOKEN.max(time_left.saturating_sub(LAST_ATTEMPT_LEAD));
    retry_after.unwrap_or_default().min(longest)
}

fn doubled(first: Duration, times: u32) -> Duration {
    first * (1 << times.min(16))
}

#[cfg(test)]
mod tests;
