use std::sync::atomic::Ordering;

use super::*;
use crate::token::test_kit::{Fixture, busy, down, granted, refused, secs, throttled};

mod clocks;
mod outages;
mod permanent;
mod thread;

/// A fixture with a refresher that the test drives step by step.
struct Stepped {
    fixture: Fixture,
    refresher: Refresher,
}

impl Stepped {
    fn new() -> Self {
        let fixture = Fixture::new();
        let mut refresher = Refresher::new(Arc::clone(&fixture.store), fixture.credential());
        refresher.jitter = || 0.5;
        Self { fixture, refresher }
    }

    /// One that holds this token for so long.
    fn holding(token: &'static str, lifetime: u64) -> Self {
        let mut stepped = Self::new();
        stepped.fixture.script.then(granted(token, lifetime));
        stepped.refresher.step();
        assert_eq!(stepped.fixture.bearer(), Some(format!("Bearer {token}")));
        stepped
    }

    /// Lets time pass as the loop does: sleeps from wake to wake.
    fn run(&mut self, time: Duration) {
        let clock = self.fixture.store.clock().clone();
        let end = clock.now().after(time);
        loop {
            let wake = self.refresher.step().min(end);
            assert!(wake.since(clock.now()) <= secs(10), "slept too long to notice a suspension");
            if clock.now() == end {
                return;
            }
            // A set clock has whole milliseconds.
            self.fixture.mock_clock.advance(wake.since(clock.now()).max(Duration::from_millis(1)));
        }
    }

    fn requests_during(&mut self, time: Duration) -> u64 {
        let before = self.fixture.script.requests();
        self.run(time);
        self.fixture.script.requests() - before
    }
}

#[test]
fn a_refresh_that_fails_once_is_made_up_for() {
    let mut t = Stepped::holding("old", 3600);
    t.fixture.script.then(down);
    t.fixture.script.then(granted("new", 3600));
    t.run(secs(3269));
    assert_eq!(
        t.fixture.script.requests(),
        1,
        "five minutes before the end, less the jitter, and not sooner"
    );
    t.run(secs(2));
    assert_eq!(t.fixture.script.requests(), 3);
    assert_eq!(t.fixture.bearer().as_deref(), Some("Bearer new"));
    let status = t.fixture.store.status();
    assert_eq!((status.successes, status.failures, status.last_error), (2, 1, None));
}

#[test]
fn each_attempt_signs_a_fresh_assertion() {
    let mut t = Stepped::new();
    t.fixture.script.then(down);
    t.fixture.script.then(down);
    t.fixture.script.then(granted("new", 3600));
    t.run(secs(5));
    assert_eq!(t.fixture.file.assertions.load(Ordering::SeqCst), 3);
}

#[test]
fn an_expired_token_with_failing_refreshes_is_not_usable() {
    let mut t = Stepped::holding("old", 60);
    for _ in 0..100 {
        t.fixture.script.then(down);
    }
    t.run(secs(53));
    let status = t.fixture.store.status();
    assert!(status.unavailable.is_none() && status.last_error.is_some(), "good until its margin");
    t.run(secs(1));
    let unavailable = t.fixture.store.status().unavailable.expect("it has expired");
    assert_eq!(
        unavailable.to_string(),
        "the access token has expired: the token endpoint could not be reached"
    );
    assert!(!unavailable.permanent);
    assert_eq!(t.fixture.bearer(), None);
    t.fixture.script.forget();
}

#[test]
fn while_stuck_the_file_is_checked_every_two_seconds() {
    let mut t = Stepped::new();
    t.fixture.script.then(refused);
    let wake = t.refresher.step();
    assert_eq!(wake.since(t.fixture.store.clock().now()), secs(2));
}

#[test]
fn a_new_file_is_proven_soon_while_the_old_token_serves() {
    let mut t = Stepped::holding("old", 3600);
    t.run(secs(60));
    t.fixture.file.changed.store(true, Ordering::SeqCst);
    t.fixture.script.then(refused);
    assert_eq!(t.requests_during(secs(13)), 1);
    assert_eq!(t.fixture.bearer().as_deref(), Some("Bearer old"));
    assert_eq!(t.requests_during(secs(19)), 0, "once per change");
}

#[test]
fn a_file_that_cannot_be_read_costs_no_request() {
    let mut t = Stepped::new();
    t.fixture.file.broken.store(true, Ordering::SeqCst);
    assert_eq!(t.requests_during(secs(200)), 0);
    let unavailable = t.fixture.store.obtain(secs(1)).unwrap_err();
    assert_eq!(unavailable.to_string(), "there is no access token yet: the file is empty");
    assert_eq!(unavailable.remedy.as_deref(), Some("fill it"));
    t.fixture.file.broken.store(false, Ordering::SeqCst);
    t.fixture.file.changed.store(true, Ordering::SeqCst);
    t.fixture.script.then(granted("new", 3600));
    assert_eq!(t.requests_during(secs(2)), 1);
}

#[test]
fn a_thousand_rejects_in_a_minute_cause_one_token_request() {
    let mut t = Stepped::holding("old", 3600);
    let token = t.fixture.store.usable().unwrap();
    t.run(secs(61));
    t.fixture.script.then(granted("new", 3600));
    let mut expected_newer = 0;
    for _ in 0..1000 {
        let held = t.fixture.store.usable().unwrap();
        expected_newer += u32::from(t.fixture.store.reject(&held));
        t.run(Duration::from_millis(60));
    }
    assert_eq!((expected_newer, t.fixture.script.requests()), (1, 2));
    assert!(t.fixture.store.reject(&token), "the newer one is there");
    assert_eq!(t.fixture.store.newer_than(&token, Duration::ZERO).unwrap().bearer(), "Bearer new");
}

#[test]
fn requests_without_a_token_cause_none() {
    let requests_made = [0, 1000].map(|requests| {
        let mut t = Stepped::new();
        for _ in 0..10 {
            t.fixture.script.then(refused);
        }
        for _ in 0..requests {
            // The clock stands still meanwhile: a longer wait would only take longer.
            t.fixture.store.obtain(Duration::from_micros(1)).unwrap_err();
            t.run(Duration::from_millis(5));
        }
        t.run(secs(50) - Duration::from_millis(5) * requests);
        t.fixture.script.forget();
        t.fixture.script.requests()
    });
    assert_eq!(requests_made[0], requests_made[1]);
}

#[test]
fn a_panic_is_a_failed_attempt() {
    let mut t = Stepped::holding("old", 3600);
    t.run(secs(3269));
    t.fixture.script.then(|| panic!("on purpose, by a test"));
    t.fixture.script.then(granted("new", 3600));
    t.run(secs(5));
    assert_eq!(t.fixture.bearer().as_deref(), Some("Bearer new"));
    assert_eq!(t.fixture.store.status().failures, 1);
}

#[test]
fn a_token_that_expires_on_its_way_keeps_the_old_one() {
    let mut t = Stepped::holding("old", 3600);
    t.run(secs(3269));
    t.fixture.advance(1);
    let mock_clock = Arc::clone(&t.fixture.mock_clock);
    t.fixture.script.then(move || {
        mock_clock.advance(secs(55));
        granted("late", 60)()
    });
    t.refresher.step();
    assert_eq!(t.fixture.bearer().as_deref(), Some("Bearer old"));
    assert!(t.fixture.store.status().last_error.unwrap().summary.contains("expired when it arrived"));
}

#[test]
fn expiry_counts_from_before_the_request() {
    let mut t = Stepped::new();
    let mock_clock = Arc::clone(&t.fixture.mock_clock);
    t.fixture.script.then(move || {
        mock_clock.advance(secs(20));
        granted("slow", 100)()
    });
    t.refresher.step();
    assert_eq!(t.fixture.store.status().expires_in, Some(secs(80)));
    let until_refresh = t.fixture.store.next_attempt().since(t.fixture.store.clock().now());
    assert_eq!(until_refresh, secs(30), "and so does half of the lifetime");
}

/// A credential that gives the same token until it is due, as managed identities do.
struct WithoutEarlyRenewal(Box<dyn Credential>);

impl Credential for WithoutEarlyRenewal {
    fn sign_in(&mut self) -> Result<Grant, TokenError> {
        self.0.sign_in()
    }

    fn origin(&self) -> &str {
        self.0.origin()
    }

    fn can_renew_early(&self) -> bool {
        false
    }
}

#[test]
fn a_reject_asks_for_nothing_where_the_same_token_would_come_again() {
    for can_renew_early in [true, false] {
        let fixture = Fixture::new();
        let credential = fixture.credential();
        let credential = if can_renew_early {
            credential
        } else {
            Box::new(WithoutEarlyRenewal(credential)) as Box<dyn Credential>
        };
        let mut refresher = Refresher::new(Arc::clone(&fixture.store), credential);
        fixture.script.then(granted("first", 3600));
        refresher.step();
        fixture.advance(61);
        let held = fixture.store.usable().unwrap();
        assert_eq!(fixture.store.reject(&held), can_renew_early);
    }
}

#[test]
#[should_panic(expected = "the token endpoint's script was empty: 1 unexpected token requests")]
fn an_empty_script_is_a_loud_failure() {
    Stepped::new().refresher.step();
}
