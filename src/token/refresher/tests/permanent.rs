//! Errors that are permanent, or look so.

use std::sync::Mutex;

use super::*;
use crate::token::test_kit::TokenResult;

#[test]
fn without_a_token_a_permanent_error_is_retried_every_fifteen_seconds() {
    let mut t = Stepped::new();
    for _ in 0..6 {
        t.fixture.script.then(refused);
    }
    // The jitter is set to draw the middle: three quarters.
    let found: Vec<u64> = [0, 11, 1, 10, 1, 35].map(|time| t.requests_during(secs(time))).to_vec();
    assert_eq!(found, [1, 0, 1, 0, 1, 3]);
    let unavailable = t.fixture.store.obtain(secs(1)).unwrap_err();
    assert_eq!((unavailable.code, unavailable.permanent), (Some(700_016), true));
    assert_eq!(unavailable.trace_id.as_deref(), Some("trace"));
    assert_eq!(unavailable.correlation_id.as_deref(), Some("correlation"));
    assert_eq!(unavailable.remedy.as_deref(), Some("check AZURE_CLIENT_ID"));
}

#[test]
fn a_permanent_error_is_logged_once_and_a_new_file_ends_it_at_once() {
    let mut t = Stepped::new();
    for _ in 0..100 {
        t.fixture.script.then(refused);
    }
    t.run(secs(719));
    let clock = t.fixture.store.clock().clone();
    let since_logged =
        |t: &Stepped| clock.now().since(t.refresher.streak.as_ref().unwrap().logged_at.unwrap());
    assert_eq!(since_logged(&t), secs(719), "the first one");
    t.fixture.file.changed.store(true, Ordering::SeqCst);
    t.refresher.step();
    assert_eq!(since_logged(&t), secs(0), "and what became of the new file");
    t.fixture.script.forget();
    t.fixture.file.changed.store(true, Ordering::SeqCst);
    t.fixture.script.then(granted("new", 3600));
    t.refresher.step();
    assert_eq!(t.fixture.bearer().as_deref(), Some("Bearer new"));
}

/// Entra ID as a function of the age of the token that it granted last.
struct FlakyEntra {
    t: Stepped,
}

impl FlakyEntra {
    /// Tokens of this lifetime; `refuses` says at which age of one there is no other, and how that is put.
    fn new(
        lifetime: u64,
        refresh_in: Option<u64>,
        failure: fn() -> TokenResult,
        refuses: impl Fn(Duration) -> bool + Clone + Send + 'static,
    ) -> Self {
        let t = Stepped::new();
        let clock = t.fixture.store.clock().clone();
        let granted = Arc::new(Mutex::new(None));
        for _ in 0..20_000 {
            let (clock, granted, refuses) = (clock.clone(), Arc::clone(&granted), refuses.clone());
            t.fixture.script.then(move || {
                let now = clock.now();
                let mut last = granted.lock().unwrap();
                if last.is_some_and(|last| refuses(now.since(last))) {
                    return failure();
                }
                *last = Some(now);
                Ok(Grant::new("x", secs(lifetime), refresh_in.map(secs)).unwrap())
            });
        }
        Self { t }
    }

    /// How long there is no token in the time that passes.
    fn without_a_token(&mut self, time: u64) -> Duration {
        let store = Arc::clone(&self.t.fixture.store);
        let end = store.clock().now().after(secs(time));
        let mut without = Duration::ZERO;
        while store.clock().now() < end {
            let wake = self.t.refresher.step().min(end);
            let sleep = wake.since(store.clock().now()).max(Duration::from_millis(1));
            without += sleep.saturating_sub(store.usable_for());
            self.t.fixture.mock_clock.advance(sleep);
        }
        without
    }
}

/// The rule: no request fails that a token could have served.
#[test]
fn an_error_for_half_of_each_tokens_life_leaves_no_gap() {
    let rows = [
        ("as it was found", 300, Some(10), 10, 195),
        ("the same by half-life", 300, None, 100, 250),
        ("until shortly before its end", 300, Some(115), 115, 262),
        ("from the beginning", 300, Some(1), 0, 150),
        ("a minute", 60, None, 15, 45),
        ("an hour", 3600, None, 1700, 3500),
        ("an hour, to be renewed soon", 3600, Some(1), 0, 1800),
        ("a day", 86_400, None, 43_100, 86_300),
    ];
    for (name, lifetime, refresh_in, from, until) in rows {
        for jitter in [|| 0.0, || 0.5, || 0.999] as [fn() -> f64; 3] {
            let failures: [fn() -> TokenResult; 4] = [refused, busy, down, long_retry_after];
            // What was asked for is obeyed for a minute in any case, which may be longer than such a token lives.
            let short = if lifetime < 120 { 3 } else { 4 };
            for failure in &failures[..short] {
                let failure = *failure;
                let mut flaky = FlakyEntra::new(lifetime, refresh_in, failure, move |age| {
                    (secs(from)..secs(until)).contains(&age)
                });
                flaky.t.refresher.jitter = jitter;
                flaky.t.refresher.step();
                let lives = if lifetime > 3600 { 1 } else { 4 };
                let without = flaky.without_a_token(lives * lifetime);
                let jitter = jitter();
                assert!(
                    without <= Duration::from_millis(5 * lives),
                    "{name}, {without:?}, jitter {jitter}: {:?}",
                    failure()
                );
                assert!(flaky.t.fixture.store.status().failures >= lives, "{name}: nothing was refused");
                assert!(flaky.t.fixture.store.status().successes > lives, "{name}");
                flaky.t.fixture.script.forget();
            }
        }
    }
}

/// An error that says to stay away for longer than the token lives.
fn long_retry_after() -> TokenResult {
    refused().map_err(|error| TokenError { retry_after: Some(secs(3600)), ..error })
}

#[test]
fn an_error_beyond_the_tokens_end_costs_what_it_lasts_and_little_more() {
    for (after_the_end, limit) in [(0, 1), (1, 16), (7, 22), (60, 75), (600, 615)] {
        let mut flaky = FlakyEntra::new(300, Some(10), refused, move |age| {
            (secs(10)..secs(270 + after_the_end)).contains(&age)
        });
        flaky.t.refresher.step();
        let without = flaky.without_a_token(280 + after_the_end + 20);
        assert!((secs(after_the_end)..=secs(limit)).contains(&without), "{after_the_end}: {without:?}");
        assert!(flaky.t.fixture.bearer().is_some());
        flaky.t.fixture.script.forget();
    }
}

#[test]
fn a_token_that_ends_sooner_than_planned_for_is_made_up_for_at_once() {
    let rows: [(fn() -> TokenResult, u64); 3] = [(refused, 0), (down, 0), (long_retry_after, 60)];
    for (failure, forbidden) in rows {
        let mut t = Stepped::holding("old", 86_400);
        t.run(secs(43_199));
        t.fixture.script.then(failure);
        t.run(secs(1));
        assert_eq!((t.fixture.script.requests(), t.fixture.bearer().is_some()), (2, true));
        // A virtual machine: its boot clock stands still meanwhile.
        t.fixture.mock_clock.pause(secs(86_400));
        t.fixture.script.then(granted("new", 3600));
        assert_eq!(t.requests_during(secs(1)), u64::from(forbidden == 0));
        t.run(secs(forbidden));
        assert_eq!(t.fixture.bearer().as_deref(), Some("Bearer new"));
    }
}

#[test]
fn a_file_that_became_good_again_unnoticed_is_tried_within_fifteen_seconds() {
    let mut t = Stepped::new();
    t.fixture.file.broken.store(true, Ordering::SeqCst);
    t.run(secs(200));
    t.fixture.file.broken.store(false, Ordering::SeqCst);
    t.fixture.script.then(granted("new", 3600));
    assert_eq!(t.requests_during(secs(15)), 1);
}
