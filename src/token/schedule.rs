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

/// The first pause once no token is left and no connection can be made; it doubles with every failure. Hundreds of
/// replicas share one way out, which is what is out of order.
const UNREACHED_PAUSE: Duration = Duration::from_millis(500);
/// The longest of them, for the same five seconds.
const LONGEST_UNREACHED_PAUSE: Duration = Duration::from_secs(4);

/// The first pause when only a person can help; it doubles with every failure, as long as a token is left.
const PERMANENT_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PERMANENT_PAUSE: Duration = Duration::from_secs(300);
/// The same once no token is left. What was made in Entra ID a moment ago is known everywhere after some minutes
/// only, and until then its errors look permanent.
const STUCK_PAUSE: Duration = Duration::from_secs(15);
/// An attempt so long before the token's end is in time to be of use: a connection, a handshake and Entra ID take a
/// second or two.
const IN_TIME: Duration = Duration::from_secs(5);

/// `Retry-After` is obeyed for longer than this only as long as there is a token.
const LONGEST_WAIT_WITHOUT_TOKEN: Duration = Duration::from_secs(60);

/// What jitter leaves of a pause at least: it may draw zero.
const LEAST_OF_A_PAUSE: f64 = 0.125;
/// The same of pauses that should stay long.
const LEAST_OF_A_LONG_PAUSE: f64 = 0.5;

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
pub(super) struct FailureContext {
    pub(super) class: Class,
    /// There was no connection to send the request on.
    pub(super) unreached: bool,
    /// Failures of this class in a row, this one included; counted anew when the token has run out.
    pub(super) failures: u32,
    /// How long the present token stays usable; zero when there is none.
    pub(super) time_left: Duration,
    /// How long the attempt took.
    pub(super) took: Duration,
    /// What Entra ID asked for.
    pub(super) retry_after: Option<Duration>,
}

/// How long to wait before the next attempt. Whatever the last error was, one comes before the token's end in time to
/// be of use, one at its end, and then one at least every fifteen seconds.
pub(super) fn retry_in(context: FailureContext, jitter: f64) -> Duration {
    let before = context.failures.saturating_sub(1);
    // The jitter comes last: below a limit that holds for all, replicas would otherwise act in step.
    let jittered = |longest: Duration| longest.mul_f64(jitter.max(LEAST_OF_A_PAUSE));
    let spread =
        |longest: Duration| longest.mul_f64(LEAST_OF_A_LONG_PAUSE + (1.0 - LEAST_OF_A_LONG_PAUSE) * jitter);
    // From the beginning of the attempt: one that waited in vain for long has been pause enough.
    let from_its_start = |pause: Duration| pause.saturating_sub(context.took).max(SHORTEST_OUTAGE_PAUSE);
    let time_left = context.time_left;
    let pause = match context.class {
        Class::Permanent if time_left.is_zero() => from_its_start(spread(STUCK_PAUSE)),
        Class::Transient if time_left.is_zero() && context.unreached => {
            from_its_start(spread(doubled(UNREACHED_PAUSE, before).min(LONGEST_UNREACHED_PAUSE)))
        }
        Class::Transient if time_left.is_zero() => {
            let longest = doubled(OUTAGE_PAUSE, before / OUTAGE_FAILURES).min(LONGEST_OUTAGE_PAUSE);
            from_its_start(jittered(longest))
        }
        // Half of what is left, and half of that, until what is left is just enough: a few attempts, the last of
        // them at the end.
        Class::Permanent => {
            let latest = (time_left / 2).max(IN_TIME);
            spread(doubled(PERMANENT_PAUSE, before).min(LONGEST_PERMANENT_PAUSE).min(latest)).min(time_left)
        }
        Class::Transient => {
            let latest = (time_left / 4).max(SHORTEST_PAUSE);
            jittered(doubled(PAUSE, before).min(LONGEST_PAUSE).min(latest)).min(time_left)
        }
    };
    pause.max(forbidden_for(context.retry_after, time_left))
}

/// How long `Retry-After` forbids every attempt: all of what was asked for, unless the token runs out meanwhile, and
/// then until shortly before that, or for a minute if that is later.
pub(super) fn forbidden_for(retry_after: Option<Duration>, time_left: Duration) -> Duration {
    let longest = LONGEST_WAIT_WITHOUT_TOKEN.max(time_left.saturating_sub(IN_TIME));
    retry_after.unwrap_or_default().min(longest)
}

fn doubled(first: Duration, times: u32) -> Duration {
    first * (1 << times.min(16))
}

#[cfg(test)]
mod tests;
