//! Entra ID is away, for a moment or for hours.

use std::sync::atomic::AtomicU32;

use super::*;
use crate::token::Class;
use crate::token::test_kit::TokenResult;

#[test]
fn an_hour_without_entra_costs_no_request_while_the_token_is_good() {
    let mut t = Stepped::holding("old", 86_400);
    t.run(secs(43_199));
    for _ in 0..1000 {
        t.fixture.script.then(down);
    }
    let clock = t.fixture.store.clock().clone();
    let end = clock.now().after(secs(3600));
    while clock.now() < end {
        t.run(secs(7));
        assert_eq!(t.fixture.bearer().as_deref(), Some("Bearer old"));
    }
    let requests = t.fixture.script.requests();
    assert!((60..300).contains(&requests), "backs off: {requests} requests in an hour");
    assert!(t.fixture.store.status().last_error.is_some());
    t.fixture.script.forget();
}

#[test]
fn down_past_expiry_it_recovers_within_five_seconds_of_the_return() {
    let jitters: [fn() -> f64; 3] = [|| 0.0, || 0.5, || 0.999];
    let returns = [0, 1, 2, 3, 300];
    let failures: [fn() -> TokenResult; 2] = [down, busy];
    let rows = returns.into_iter().flat_map(|back| jitters.map(|jitter| (back, jitter)));
    for ((back_after, jitter), failure) in rows.flat_map(|row| failures.map(|failure| (row, failure))) {
        let mut t = Stepped::holding("old", 600);
        t.refresher.jitter = jitter;
        let return_at = t.fixture.store.clock().now().after(secs(600 + back_after));
        for _ in 0..4000 {
            let clock = t.fixture.store.clock().clone();
            t.fixture
                .script
                .then(move || if clock.now() < return_at { failure() } else { granted("new", 3600)() });
        }
        t.run(secs(599 + back_after));
        assert_eq!(t.fixture.bearer(), None);
        t.run(secs(6));
        assert_eq!(t.fixture.bearer().as_deref(), Some("Bearer new"), "{back_after}");
        t.fixture.script.forget();
    }
}

#[test]
fn an_hour_without_token_and_entra_makes_a_bounded_number_of_requests() {
    static DRAWN: AtomicU32 = AtomicU32::new(0);
    // The golden ratio's multiples spread evenly.
    let even = || (f64::from(DRAWN.fetch_add(1, Ordering::SeqCst)) * 0.618_034).fract();
    type Row = (fn() -> TokenResult, fn() -> f64, std::ops::Range<u64>, std::ops::Range<u64>);
    let rows: [Row; 7] = [
        (busy, even, 20..30, 2000..2700),
        (busy, || 0.0, 50..60, 9000..10_500),
        (busy, || 0.999, 12..15, 1150..1350),
        (down, even, 4..7, 1150..1300),
        (down, || 0.0, 5..7, 1700..1900),
        (down, || 0.999, 4..5, 880..920),
        (refused, even, 1..2, 300..360),
    ];
    for (failure, jitter, five_seconds, hour) in rows {
        let mut t = Stepped::new();
        t.refresher.jitter = jitter;
        for _ in 0..hour.end {
            t.fixture.script.then(failure);
        }
        let at_once = t.requests_during(secs(5));
        assert!(five_seconds.contains(&at_once), "{at_once} in five seconds, not {five_seconds:?}");
        let requests = at_once + t.requests_during(secs(3595));
        assert!(hour.contains(&requests), "{requests} in an hour, not {hour:?}");
        t.fixture.script.forget();
    }
}

#[test]
fn a_token_that_runs_out_makes_attempts_more_frequent_again() {
    let rows: [(fn() -> TokenResult, _); 2] = [(busy, 20), (down, 4)];
    for (failure, least) in rows {
        let mut t = Stepped::holding("old", 3600);
        for _ in 0..200 {
            t.fixture.script.then(failure);
        }
        t.run(secs(3569));
        assert!(
            t.fixture.bearer().is_some() && t.fixture.script.requests() > 26,
            "it fails for long already"
        );
        let requests = t.requests_during(secs(6));
        assert_eq!(t.fixture.bearer(), None);
        assert!(requests >= least, "{requests}: too few for those who wait five seconds");
        t.fixture.script.forget();
    }
}

#[test]
fn an_outage_is_logged_now_and_then_and_a_permanent_error_once() {
    let rows = [
        (Class::Permanent, None, LogLevel::Error),
        (Class::Permanent, Some(7200), LogLevel::Debug),
        (Class::Transient, None, LogLevel::Warn),
        (Class::Transient, Some(59), LogLevel::Debug),
        (Class::Transient, Some(60), LogLevel::Warn),
    ];
    for (class, logged, expected) in rows {
        assert_eq!(failure_level(class, logged.map(secs)), expected, "{class:?} {logged:?}");
    }
    let mut t = Stepped::new();
    for _ in 0..600 {
        t.fixture.script.then(down);
    }
    let mut logged = Vec::new();
    for _ in 0..1500 {
        t.run(Duration::from_millis(100));
        logged.extend(t.refresher.streak.as_ref().map(|streak| streak.logged_at));
    }
    logged.dedup();
    assert!((3..=4).contains(&logged.len()), "{} lines in two and a half minutes", logged.len());
    t.fixture.script.forget();
}

#[test]
fn a_retry_after_that_still_runs_is_honoured() {
    let mut t = Stepped::holding("old", 60);
    t.fixture.script.then(throttled(50));
    t.run(secs(30));
    assert_eq!(t.fixture.script.requests(), 2);
    t.fixture.file.changed.store(true, Ordering::SeqCst);
    assert_eq!(t.requests_during(secs(49)), 0, "neither expiry nor a new file ends the wait");
    assert_eq!(t.fixture.store.status().unavailable.map(|why| why.retry_after), Some(secs(1)));
    t.fixture.script.then(granted("new", 3600));
    assert_eq!(t.requests_during(secs(1)), 1);
}

#[test]
fn a_long_retry_after_is_obeyed_for_a_minute_once_there_is_no_token() {
    // How long the token lives at half of whose life it comes, and how long it is obeyed.
    for (lifetime, obeyed) in [(None, 60), (Some(60), 60), (Some(1199), 564)] {
        let mut t = lifetime.map_or_else(Stepped::new, |lifetime| Stepped::holding("old", lifetime));
        t.fixture.script.then(throttled(86_400));
        t.run(Duration::from_millis(lifetime.unwrap_or(0) * 500));
        assert!(t.fixture.store.status().last_error.is_some(), "{lifetime:?}");
        assert_eq!(t.requests_during(secs(obeyed - 1)), 0, "{lifetime:?}");
        t.fixture.script.then(granted("new", 3600));
        assert_eq!(t.requests_during(secs(2)), 1, "{lifetime:?}");
    }
}
