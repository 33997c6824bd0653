use std::collections::HashMap;

use super::*;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One statement, and a true one.
#[test]
fn how_often_entra_is_asked_is_documented() {
    let statement = format!(
        "While there is no usable token, Entra ID is asked again at most {} s after a response without one (twice as \
         long after every {OUTAGE_FAILURES_PER_DOUBLING} failures, up to {} s), at most {} s after a connection that could not be \
         made (twice as long after every failure, up to {} s), and at most {} s after an error that a person must mend.",
        FIRST_OUTAGE_PAUSE.as_secs_f64(),
        MAX_OUTAGE_PAUSE.as_secs(),
        FIRST_UNREACHABLE_PAUSE.as_secs_f64(),
        MAX_UNREACHABLE_PAUSE.as_secs(),
        STUCK_PAUSE.as_secs(),
    );
    let page = include_str!("../../../docs/troubleshooting.md");
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(page.contains(&statement), "docs/troubleshooting.md lacks: {statement}");
}

#[test]
fn the_margin_is_half_a_minute_or_a_tenth() {
    for (expires_in, expected) in [(3599, 30_000), (300, 30_000), (299, 29_900), (60, 6_000), (1, 100)] {
        assert_eq!(margin(secs(expires_in)), Duration::from_millis(expected), "{expires_in}");
    }
}

#[test]
fn refresh_times() {
    let rows: [(&str, u64, Option<u64>, f64, f64); 13] = [
        ("an hour: five minutes before", 3599, None, 0.0, 3299.0),
        ("an hour: less the jitter", 3599, None, 0.5, 3269.0),
        ("ninety minutes", 5400, None, 0.0, 5100.0),
        ("just below two hours", 7199, None, 0.0, 6899.0),
        ("two hours: half-life", 7200, None, 0.9, 3600.0),
        ("a day: half-life", 86_400, None, 0.9, 43_200.0),
        ("twenty minutes: five minutes before", 1200, None, 0.0, 900.0),
        ("just below twenty minutes: half-life", 1199, None, 0.9, 599.5),
        ("a minute: half-life", 60, None, 0.9, 30.0),
        ("retry_after", 86_400, Some(43_000), 0.9, 43_000.0),
        ("retry_after too early", 3600, Some(0), 0.9, 1.0),
        ("retry_after too late", 3600, Some(9999), 0.9, 3540.0),
        ("retry_after too late for a second", 1, Some(9999), 0.9, 0.8),
    ];
    for (name, expires_in, refresh_in, jitter, expected) in rows {
        let planned = refresh_after(secs(expires_in), refresh_in.map(secs), jitter);
        assert_eq!(planned, Duration::from_secs_f64(expected), "{name}");
    }
}

#[test]
fn the_token_is_still_usable_when_its_refresh_is_planned() {
    let retry_after = [None, Some(0), Some(1), Some(30), Some(3570), Some(3600), Some(100_000)];
    for expires_in in (1..1300).chain((1300..100_000).step_by(97)).map(secs) {
        let usable_for = expires_in - margin(expires_in);
        for refresh_in in retry_after {
            for jitter in [0.0, 0.5, 0.999_999] {
                let planned = refresh_after(expires_in, refresh_in.map(secs), jitter);
                assert!(planned < usable_for, "{expires_in:?} {refresh_in:?} {jitter}: {planned:?}");
                assert!(!planned.is_zero());
            }
        }
    }
}

/// A failure that met a response, the first of its kind, over at once.
fn context(class: Class, failures: u32, time_left: Duration) -> FailureContext {
    FailureContext {
        class,
        is_unreachable: false,
        failures,
        time_left,
        took: Duration::ZERO,
        retry_after: None,
    }
}

#[track_caller]
fn pauses(name: &str, context: FailureContext, jitter: f64, millis: u64) {
    let pause = retry_in(context, jitter).as_secs_f64();
    assert!((pause - millis as f64 / 1000.0).abs() < 0.001, "{name}: {pause}");
}

#[test]
fn pauses_after_transient_failures() {
    let hour = secs(3600);
    let rows = [
        ("first", 1, hour, None, 0.999_999, 1000),
        ("second", 2, hour, None, 0.5, 1000),
        ("third", 3, hour, None, 0.999_999, 4000),
        ("seventh: the most", 7, hour, None, 0.999_999, 60_000),
        ("after a night", u32::MAX, hour, None, 0.5, 30_000),
        ("jitter draws zero", 9, hour, None, 0.0, 7500),
        ("a quarter of the time left", 9, secs(40), None, 0.999_999, 10_000),
        ("hardly any time left", 9, Duration::from_millis(400), None, 0.999_999, 200),
        ("at its end", 9, Duration::from_millis(30), None, 0.999_999, 30),
        ("no token", 1, Duration::ZERO, None, 0.5, 200),
        ("no token, jitter draws zero", 1, Duration::ZERO, None, 0.0, 50),
        ("no token for a while", 25, Duration::ZERO, None, 0.999_999, 400),
        ("no token for longer", 26, Duration::ZERO, None, 0.999_999, 800),
        ("no token for much longer", 51, Duration::ZERO, None, 0.999_999, 1600),
        ("no token: the most", 76, Duration::ZERO, None, 0.999_999, 3000),
        ("no token in the morning", u32::MAX, Duration::ZERO, None, 0.5, 1500),
        ("Retry-After", 1, hour, Some(17), 0.5, 17_000),
        ("retry_after to wait beyond the token's end", 1, secs(4), Some(17), 0.5, 17_000),
        ("retry_after to wait without a token", 1, Duration::ZERO, Some(17), 0.5, 17_000),
        ("retry_after to come back sooner than planned", 7, hour, Some(1), 0.5, 30_000),
    ];
    for (name, failures, time_left, retry_after, jitter, millis) in rows {
        let context = FailureContext {
            retry_after: retry_after.map(secs),
            ..context(Class::Transient, failures, time_left)
        };
        pauses(name, context, jitter, millis);
    }
}

#[test]
fn pauses_without_a_connection() {
    let rows = [
        ("first", 1, 0, 0, 0.999_999, 500),
        ("second", 2, 0, 0, 0.999_999, 1000),
        ("third", 3, 0, 0, 0.5, 1500),
        ("fourth: the most", 4, 0, 0, 0.999_999, 4000),
        ("jitter draws zero", 4, 0, 0, 0.0, 2000),
        ("in the morning", u32::MAX, 0, 0, 0.5, 3000),
        ("it took a second", 4, 0, 1, 0.999_999, 3000),
        ("it took long enough", 4, 0, 10, 0.999_999, 50),
        ("while there is a token, as after any other", 3, 3600, 10, 0.999_999, 4000),
    ];
    for (name, failures, time_left, took, jitter, millis) in rows {
        let context = context(Class::Transient, failures, secs(time_left));
        pauses(name, FailureContext { is_unreachable: true, took: secs(took), ..context }, jitter, millis);
    }
}

#[test]
fn an_attempt_that_took_long_has_been_pause_enough_while_there_is_no_token() {
    let rows = [
        (secs(0), secs(1), None, 2000),
        (secs(0), secs(10), None, 50),
        (secs(0), secs(10), Some(7), 7000),
        (secs(40), secs(10), None, 6667),
    ];
    for (time_left, took, retry_after, millis) in rows {
        let context = FailureContext {
            took,
            retry_after: retry_after.map(secs),
            ..context(Class::Transient, 100, time_left)
        };
        // Two thirds of ten seconds, or all of three.
        let jitter = if time_left.is_zero() { 0.999_999 } else { 2.0 / 3.0 };
        pauses(&format!("{time_left:?} {took:?} {retry_after:?}"), context, jitter, millis);
    }
}

#[test]
fn pauses_after_permanent_failures() {
    let rows = [
        ("first", 1, 86_400, None, 0.999_999, 60_000),
        ("second", 2, 86_400, None, 0.999_999, 120_000),
        ("third", 3, 86_400, None, 0.999_999, 240_000),
        ("fourth: the most", 4, 86_400, None, 0.999_999, 300_000),
        ("after a night", u32::MAX, 86_400, None, 0.5, 225_000),
        ("jitter draws zero", 1, 86_400, None, 0.0, 30_000),
        ("Retry-After", 1, 86_400, Some(90), 0.999_999, 90_000),
        ("half of what is left", 4, 200, None, 0.999_999, 100_000),
        ("just in time", 4, 9, None, 0.999_999, 5000),
        ("at its end", 4, 2, None, 0.0, 2000),
        ("no token", 1, 0, None, 0.999_999, 15_000),
        ("no token in the morning", u32::MAX, 0, None, 0.999_999, 15_000),
        ("no token, jitter draws zero", 4, 0, None, 0.0, 7500),
    ];
    for (name, failures, time_left, retry_after, jitter, millis) in rows {
        let context = FailureContext {
            retry_after: retry_after.map(secs),
            ..context(Class::Permanent, failures, secs(time_left))
        };
        pauses(name, context, jitter, millis);
    }
    let slow = FailureContext { took: secs(20), ..context(Class::Permanent, 9, secs(0)) };
    pauses("it took long enough", slow, 0.999_999, 50);
}

#[test]
fn retry_after_is_obeyed_as_long_as_no_request_suffers() {
    let rows = [
        ("with a token: all of it", 3600, 86_400, 3600),
        ("up to shortly before the token's end", 3600, 600, 595),
        ("which is later than what was asked for", 300, 600, 300),
        ("a minute, when the token ends sooner", 3600, 40, 60),
        ("and when there is none", 3600, 0, 60),
        ("or less", 17, 0, 17),
    ];
    for (name, retry_after, time_left, expected) in rows {
        let (retry_after, time_left) = (Some(secs(retry_after)), secs(time_left));
        assert_eq!(forbidden_for(retry_after, time_left), secs(expected), "{name}");
        for class in [Class::Transient, Class::Permanent] {
            let context = FailureContext { retry_after, ..context(class, 1, time_left) };
            assert!(retry_in(context, 0.0) >= secs(expected), "{name} {class:?}");
        }
    }
    assert_eq!(forbidden_for(None, secs(600)), Duration::ZERO);
}

/// The rule that everything else serves: no request fails that a token could have served.
#[test]
fn whatever_the_error_was_there_is_an_attempt_in_time_before_the_tokens_end_and_one_at_it() {
    for class in [Class::Transient, Class::Permanent] {
        for (is_unreachable, jitter) in [(false, 0.0), (false, 0.5), (true, 0.999_999)] {
            for (lifetime, retry_after) in [
                (11, None),
                (60, None),
                (270, None),
                (3570, None),
                (86_370, None),
                (270, Some(3600)),
                (3570, Some(7200)),
            ] {
                let name = format!("{class:?} {is_unreachable} {jitter} {lifetime} {retry_after:?}");
                let mut time_left = secs(lifetime);
                let (mut failures, mut in_time) = (0, 0);
                while !time_left.is_zero() {
                    failures += 1;
                    let context = FailureContext {
                        is_unreachable,
                        retry_after: retry_after.map(secs),
                        ..context(class, failures, time_left)
                    };
                    let pause = retry_in(context, jitter);
                    if retry_after.is_none() {
                        assert!(pause <= time_left, "{name}: {pause:?} of {time_left:?}");
                    }
                    time_left = time_left.saturating_sub(pause);
                    in_time += u32::from((LAST_ATTEMPT_LEAD..=2 * LAST_ATTEMPT_LEAD).contains(&time_left));
                }
                assert!(in_time > 0, "{name}: none in time");
                assert!(class == Class::Transient || failures < 700, "{name}: {failures} attempts");
                let stuck = FailureContext { is_unreachable, ..context(class, failures, time_left) };
                assert!(retry_in(stuck, jitter) <= secs(15), "{name}");
            }
        }
    }
}

/// The probability that no request that waits for a token from now on gets one: `failures` have been, `left` remains of
/// the wait, an attempt takes `takes` and fails with `chance`, but with certainty while Entra ID is away.
struct Wait {
    chance: f64,
    away: Duration,
    takes: Duration,
    known: HashMap<(u32, u128), f64>,
}

impl Wait {
    const LENGTH: Duration = Duration::from_secs(5);
    const TIME_STEP: Duration = Duration::from_millis(5);

    fn in_vain(&mut self, failures: u32, now: Duration) -> f64 {
        let now = now.as_millis() / Self::TIME_STEP.as_millis();
        if let Some(known) = self.known.get(&(failures, now)) {
            return *known;
        }
        let context =
            FailureContext { took: self.takes, ..context(Class::Transient, failures, Duration::ZERO) };
        let drawn = 16;
        let mut sum = 0.0;
        for draw in 0..drawn {
            let begins = Self::TIME_STEP * u32::try_from(now).unwrap()
                + retry_in(context, (f64::from(draw) + 0.5) / f64::from(drawn));
            let ends = begins + self.takes;
            sum += if ends >= Self::LENGTH {
                1.0
            } else {
                let fails = if begins < self.away { 1.0 } else { self.chance };
                fails * self.in_vain(failures + 1, ends)
            };
        }
        let in_vain = sum / f64::from(drawn);
        self.known.insert((failures, now), in_vain);
        in_vain
    }
}

#[test]
fn with_three_in_ten_attempts_failing_no_request_waits_in_vain() {
    let millis = Duration::from_millis;
    for (away, takes, bound) in [
        (millis(0), millis(10), 1e-10),
        (millis(0), millis(50), 1e-10),
        (millis(0), millis(200), 1e-8),
        (millis(1000), millis(10), 1e-8),
        (millis(1000), millis(50), 1e-8),
    ] {
        let mut wait = Wait { chance: 0.3, away, takes, known: HashMap::new() };
        let in_vain = wait.in_vain(1, Duration::ZERO);
        assert!(in_vain < bound, "{away:?} {takes:?}: {in_vain:e}");
    }
}
