use super::*;
use crate::clock::MockClock;
use crate::token::{Class, Grant};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn store() -> (Arc<MockClock>, Arc<TokenStore>) {
    let mock_clock = MockClock::at_unix(1_700_000_000);
    let store = TokenStore::new(Clock::mock(Arc::clone(&mock_clock)));
    store.mark_running();
    (mock_clock, store)
}

fn publish(store: &TokenStore, text: &str, lifetime: u64) {
    let requested = store.clock().reading();
    store.begin("https://login.test");
    store.publish(
        Token::new(Grant::new(text, secs(lifetime), None).unwrap(), requested),
        requested.boot.after(secs(lifetime / 2)),
    );
}

fn fail(store: &TokenStore, class: Class, next_in: Duration) {
    store.begin("https://login.test");
    store.record_failure(&TokenError::new(class, "it failed"));
    store.fail(store.clock().now().after(next_in));
}

#[test]
fn a_token_is_usable_until_its_margin() {
    for (lifetime, last) in [(3600, 3569), (60, 53)] {
        let (mock_clock, store) = store();
        publish(&store, "x", lifetime);
        mock_clock.advance(secs(last));
        let token = store.usable().unwrap();
        assert_eq!(token.age(store.clock().now()), secs(last));
        mock_clock.advance(secs(1));
        assert!(store.usable().is_none(), "{lifetime}");
        assert!(store.status().expires_in.unwrap() > Duration::ZERO);
        mock_clock.jump_unix(1);
        assert!(store.usable().is_none(), "a wall clock set back revives nothing");
        mock_clock.advance(secs(lifetime));
        let status = store.status();
        assert_eq!(status.expires_in, Some(Duration::ZERO));
        assert_eq!(status.expired_for, secs(last + 1), "its end does not move with the clock");
    }
}

#[test]
fn who_need_not_wait_does_not() {
    let (_, store) = store();
    let started = Instant::now();
    fail(&store, Class::Permanent, secs(60));
    let unavailable = store.obtain(secs(5)).unwrap_err();
    assert_eq!(unavailable.retry_after, secs(60));
    assert_eq!(unavailable.summary.as_deref(), Some("it failed"));
    assert!(unavailable.permanent);
    fail(&store, Class::Transient, Duration::from_millis(6001));
    assert_eq!(store.obtain(secs(5)).unwrap_err().retry_after, secs(7), "rounded up");
    publish(&store, "x", 3600);
    store.obtain(secs(5)).unwrap();
    assert!(started.elapsed() < secs(1));
}

#[test]
fn who_waits_gets_the_token_when_it_comes() {
    let (_, store) = store();
    store.begin("https://login.test");
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..8).map(|_| scope.spawn(|| store.obtain(secs(5)).unwrap())).collect();
        std::thread::sleep(Duration::from_millis(20));
        // A failure that will be retried soon does not end the wait.
        fail(&store, Class::Transient, secs(1));
        publish(&store, "x", 3600);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap().bearer(), "Bearer x");
        }
    });
}

/// The error may have passed: what was created a moment ago looks like a permanent error at first.
#[test]
fn whatever_the_last_error_was_an_attempt_that_is_due_soon_is_waited_for() {
    for class in [Class::Transient, Class::Permanent] {
        let (_, store) = store();
        std::thread::scope(|scope| {
            fail(&store, class, secs(4));
            let waiter = scope.spawn(|| store.obtain(secs(5)));
            let begun = Instant::now();
            while !waiter.is_finished() && begun.elapsed() < Duration::from_millis(50) {
                std::thread::yield_now();
            }
            assert!(!waiter.is_finished(), "{class:?}");
            // It fails again, and the next one is not soon enough: that ends the wait at once.
            fail(&store, class, secs(11));
            assert_eq!(waiter.join().unwrap().unwrap_err().retry_after, secs(11));
            fail(&store, class, secs(4));
            let waiter = scope.spawn(|| store.obtain(secs(5)));
            publish(&store, "x", 60);
            assert_eq!(waiter.join().unwrap().unwrap().bearer(), "Bearer x");
        });
    }
}

#[test]
fn what_is_being_waited_for_is_said_once_it_takes_long() {
    let (mock_clock, store) = store();
    let reason = |store: &TokenStore| store.status().unavailable.unwrap().to_string();
    store.begin("https://login.test");
    mock_clock.advance(Duration::from_millis(999));
    assert_eq!(reason(&store), "there is no access token yet");
    mock_clock.advance(secs(11));
    let waiting = "waiting for the token endpoint https://login.test, 11 s so far";
    assert_eq!(reason(&store), format!("there is no access token yet: {waiting}"));
    assert_eq!(store.obtain(Duration::ZERO).unwrap_err().to_string(), reason(&store));
    fail(&store, Class::Transient, secs(1));
    assert_eq!(reason(&store), "there is no access token yet: it failed", "the attempt is over");
    store.begin("https://login.test");
    mock_clock.advance(secs(11));
    assert_eq!(reason(&store), format!("there is no access token yet: it failed; {waiting}"));
    publish(&store, "x", 3600);
    assert!(store.status().unavailable.is_none());
}

#[test]
fn a_wait_is_bounded() {
    let (_, store) = store();
    let started = Instant::now();
    let unavailable = store.obtain(Duration::from_millis(50)).unwrap_err();
    assert_eq!(unavailable.to_string(), "there is no access token yet");
    assert_eq!((unavailable.retry_after, unavailable.permanent), (secs(1), false));
    assert!((Duration::from_millis(50)..secs(2)).contains(&started.elapsed()));
}

#[test]
fn the_end_ends_every_wait() {
    let (_, store) = store();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| store.obtain(secs(60)));
        std::thread::sleep(Duration::from_millis(20));
        store.stop();
        assert_eq!(waiter.join().unwrap().unwrap_err().reason, "the proxy is stopping");
    });
    assert!(started.elapsed() < secs(10));
    store.mark_died();
    assert!(!store.has_died(), "it was stopped");
}

#[test]
fn rejects_that_ask_for_nothing() {
    let (mock_clock, store) = store();
    publish(&store, "x", 3600);
    let token = store.usable().unwrap();
    mock_clock.advance(secs(60));
    assert!(!store.reject(&token), "too recent");
    assert!(store.newer_than(&token, secs(5)).is_none(), "and nothing to wait for");
    fail(&store, Class::Transient, secs(30));
    mock_clock.advance(secs(1));
    assert!(!store.reject(&token), "attempts have their schedule");
    publish(&store, "y", 3600);
    assert!(store.reject(&token), "there is a newer one");
    assert!(!store.is_due());
}

#[test]
fn a_reject_asks_once_a_minute() {
    let (mock_clock, store) = store();
    publish(&store, "x", 36_000);
    let token = store.usable().unwrap();
    mock_clock.advance(secs(61));
    assert!(store.reject(&token) && store.is_due());
    assert!(store.reject(&token), "the same one is still to come");
    store.begin("https://login.test");
    assert!(store.reject(&token) && !store.is_due(), "it is in flight");
    store.record_failure(&TokenError::transient("it failed"));
    store.fail(store.clock().now().after(secs(1)));
    assert!(store.newer_than(&token, secs(5)).is_none(), "it came to nothing");
    publish(&store, "y", 36_000);
    let token = store.usable().unwrap();
    mock_clock.advance(secs(61));
    assert!(store.reject(&token), "another minute, another chance");
    store.stop();
    assert!(!store.reject(&token) && store.newer_than(&token, secs(5)).is_none());
}
