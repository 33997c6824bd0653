//! Clocks that jump and machines that sleep.

use super::*;
use crate::token::{Class, TokenError};

/// Entra ID's response to an assertion whose times come from a clock that is wrong by this many seconds.
fn outside_its_time_range(ahead: i64) -> impl FnOnce() -> Result<Grant, TokenError> + Send + 'static {
    move || {
        let failure = TokenError::new(Class::Permanent, "Entra ID gave no token: AADSTS700024");
        Err(TokenError { code: Some(700_024), date_skew: Some(ahead), ..failure })
    }
}

#[test]
fn a_suspension_is_noticed_at_the_first_wake() {
    let mut t = Stepped::holding("old", 3600);
    t.fixture.advance(3600);
    assert_eq!(t.fixture.bearer(), None, "before the refresher has woken");
    t.fixture.script.then(granted("new", 3600));
    t.refresher.step();
    assert_eq!(t.fixture.bearer().as_deref(), Some("Bearer new"));
}

#[test]
fn a_jump_of_the_wall_clock_that_ends_no_token_changes_nothing() {
    let mut t = Stepped::holding("old", 3600);
    for unix in [1, 1_700_000_000, 1_700_003_000] {
        t.fixture.mock_clock.jump_unix(unix);
        assert_eq!(t.requests_during(secs(10)), 0, "{unix}");
        assert_eq!(t.fixture.bearer().as_deref(), Some("Bearer old"));
    }
}

#[test]
fn after_a_pause_of_the_machine_the_old_token_is_not_sent() {
    let mut t = Stepped::holding("old", 3600);
    t.run(secs(60));
    t.fixture.mock_clock.pause(secs(3600));
    assert_eq!(t.fixture.bearer(), None, "before the refresher has woken");
    let status = t.fixture.store.status();
    assert!(!status.ready() && status.expires_in == Some(Duration::ZERO));
    assert_eq!(status.unavailable.unwrap().retry_after, secs(1), "it is about to be replaced");
    t.fixture.script.then(granted("new", 3600));
    t.refresher.step();
    assert_eq!(t.fixture.bearer().as_deref(), Some("Bearer new"));
    assert_eq!(t.requests_during(secs(3000)), 0, "once");
}

#[test]
fn after_a_pause_that_leaves_a_little_the_token_is_replaced_at_once() {
    let mut t = Stepped::holding("old", 3600);
    t.fixture.mock_clock.pause(secs(3400));
    assert_eq!(t.fixture.bearer().as_deref(), Some("Bearer old"));
    t.fixture.script.then(granted("new", 3600));
    assert_eq!(t.requests_during(secs(1)), 1);
}

#[test]
fn after_a_pause_without_entra_there_is_no_token_until_it_returns() {
    let mut t = Stepped::holding("old", 3600);
    t.fixture.mock_clock.pause(secs(7200));
    for _ in 0..100 {
        t.fixture.script.then(busy);
    }
    let requests = t.requests_during(secs(30));
    assert!((50..90).contains(&requests), "{requests}: at the pace of an outage");
    assert_eq!(t.fixture.bearer(), None);
    t.fixture.script.forget();
    t.fixture.script.then(granted("new", 3600));
    t.run(secs(4));
    assert_eq!(t.fixture.bearer().as_deref(), Some("Bearer new"));
}

/// A wall clock set an hour ahead by mistake looks like a pause until Entra ID says otherwise.
#[test]
fn a_wall_clock_that_entra_calls_wrong_ends_no_token() {
    let mut t = Stepped::holding("old", 3600);
    t.fixture.mock_clock.pause(secs(7200));
    assert_eq!(t.fixture.bearer(), None);
    t.fixture.script.then(outside_its_time_range(7200));
    assert_eq!(t.requests_during(secs(40)), 1, "no storm");
    assert_eq!(t.fixture.bearer().as_deref(), Some("Bearer old"));
    t.fixture.mock_clock.jump_unix(1_700_000_040);
    t.fixture.script.then(granted("new", 3600));
    assert_eq!(t.requests_during(secs(11)), 1);
    assert_eq!(t.fixture.bearer().as_deref(), Some("Bearer new"));
}

#[test]
fn a_wall_clock_that_is_set_right_again_gives_the_token_back() {
    let mut t = Stepped::holding("old", 3600);
    t.fixture.mock_clock.jump_unix(4_000_000_000);
    t.fixture.script.then(down);
    t.refresher.step();
    assert_eq!(t.fixture.bearer(), None);
    t.fixture.mock_clock.jump_unix(1_700_000_001);
    assert_eq!(t.fixture.bearer().as_deref(), Some("Bearer old"));
    // A clock that starts in 1970 and is then set by the network: one early attempt, and that is all.
    let mut t = Stepped::new();
    t.fixture.mock_clock.jump_unix(1);
    t.fixture.script.then(granted("old", 3600));
    t.refresher.step();
    t.fixture.mock_clock.jump_unix(1_700_000_000);
    t.fixture.script.then(granted("new", 3600));
    assert_eq!(t.requests_during(secs(3000)), 1);
    assert_eq!(t.fixture.bearer().as_deref(), Some("Bearer new"));
}

#[test]
fn a_pause_between_request_and_response_counts() {
    let mut t = Stepped::new();
    let mock_clock = Arc::clone(&t.fixture.mock_clock);
    t.fixture.script.then(move || {
        mock_clock.pause(secs(3600));
        granted("late", 3600)()
    });
    t.refresher.step();
    assert_eq!(t.fixture.bearer(), None);
    assert!(t.fixture.store.status().last_error.unwrap().summary.contains("expired when it arrived"));
}
