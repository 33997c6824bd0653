use std::collections::HashMap;

use super::*;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
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
        ("told", 86_400, Some(43_000), 0.9, 43_000.0),
        ("told too early", 3600, Some(0), 0.9, 1.0),
        ("told too late", 3600, Some(9999), 0.9, 3540.0),
        ("told too late for a second", 1, Some(9999), 0.9, 0.8),
    ];
    for (name, expires_in, refresh_in, jitter, expected) in rows {
        let planned = refresh_after(secs(expires_in), refresh_in.map(secs), jitter);
        assert_eq!(planned, Duration::from_secs_f64(expected), "{name}");
    }
}

#[test]
fn the_token_is_still_usable_when_its_refresh_is_planned() {
    let told = [None, Some(0), Some(1), Some(30), Some(3570), Some(3600), Some(100_000)];
    for expires_in in (1..1300).chain((1300..100_000).step_by(97)).map(secs) {
        let usable_for = expires_in - margin(expires_in);
        for refresh_in in told {
            for jitter in [0.0, 0.5, 0.999_999] {
                let planned = refresh_after(expires_in, refresh_in.map(secs), jitter);
                assert!(planned < usable_for, "{expires_in:?} {refresh_in:?} {jitter}: {planned:?}");
                assert!(!planned.is_zero());
            }
        }
    }
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
        ("no token", 1, Duration::ZERO, None, 0.5, 200),
        ("no token, jitter draws zero", 1, Duration::ZERO, None, 0.0, 50),
        ("no token for a while", 25, Duration::ZERO, None, 0.999_999, 400),
        ("no token for longer", 26, Duration::ZERO, None, 0.999_999, 800),
        ("no token for much longer", 51, Duration::ZERO, None, 0.999_999, 1600),
        ("no token: the most", 76, Duration::ZERO, None, 0.999_999, 3000),
        ("no token in the morning", u32::MAX, Duration::ZERO, None, 0.5, 1500),
        ("told to wait", 1, hour, Some(17), 0.5, 17_000),
        ("told to wait beyond the token's end", 1, secs(4), Some(17), 0.5, 17_000),
        ("told to wait without a token", 1, Duration::ZERO, Some(17), 0.5, 17_000),
        ("told to come back sooner than planned", 7, hour, Some(1), 0.5, 30_000),
    ];
    for (name, failures, time_left, told, jitter, millis) in rows {
        let setback = Setback {
            class: Class::Transient,
            failures,
            time_left,
            took: secs(0),
            retry_after: told.map(secs),
        };
        let pause = retry_in(setback, jitter).as_secs_f64();
        assert!((pause - millis as f64 / 1000.0).abs() < 0.001, "{name}: {pause}");
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
    for (time_left, took, told, millis) in rows {
        let setback =
            Setback { class: Class::Transient, failures: 100, time_left, took, retry_after: told.map(secs) };
        // Two thirds of ten seconds, or all of three.
        let jitter = if time_left.is_zero() { 0.999_999 } else { 2.0 / 3.0 };
        let pause = retry_in(setback, jitter).as_secs_f64();
        assert!((pause - millis as f64 / 1000.0).abs() < 0.001, "{time_left:?} {took:?} {told:?}: {pause}");
    }
}

#[test]
fn pauses_after_permanent_failures() {
    let rows =
        [(1, None, 60), (2, None, 120), (3, None, 240), (4, None, 300), (99, None, 300), (1, Some(90), 90)];
    for (failures, told, expected) in rows {
        for time_left in [secs(0), secs(4), secs(3600)] {
            let setback = Setback {
                class: Class::Permanent,
                failures,
                time_left,
                took: secs(9),
                retry_after: told.map(secs),
            };
            assert_eq!(retry_in(setback, 0.3), secs(expected), "{failures} {told:?}");
        }
    }
}

/// How likely it is that nobody who waits for a token from now on gets one: `failures` have been, `left` remains of
/// the wait, an attempt takes `takes` and fails with `chance`, but with certainty while Entra ID is away.
struct Wait {
    chance: f64,
    away: Duration,
    takes: Duration,
    known: HashMap<(u32, u128), f64>,
}

impl Wait {
    const LENGTH: Duration = Duration::from_secs(5);
    const STEP: Duration = Duration::from_millis(5);

    fn in_vain(&mut self, failures: u32, now: Duration) -> f64 {
        let now = now.as_millis() / Self::STEP.as_millis();
        if let Some(known) = self.known.get(&(failures, now)) {
            return *known;
        }
        let setback = Setback {
            class: Class::Transient,
            failures,
            time_left: Duration::ZERO,
            took: self.takes,
            retry_after: None,
        };
        let drawn = 16;
        let mut sum = 0.0;
        for draw in 0..drawn {
            let begins = Self::STEP * u32::try_from(now).unwrap()
                + retry_in(setback, (f64::from(draw) + 0.5) / f64::from(drawn));
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
fn with_three_in_ten_attempts_failing_nobody_waits_in_vain() {
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
