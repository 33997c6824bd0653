//! What the log says, and that it says it once.

use super::*;

/// Where `leaf.crt` and `other.crt` end: 2049-12-31T23:59:59Z.
const END: u64 = 2_524_607_999;

#[test]
fn an_error_is_logged_once_and_again_after_a_good_file() {
    let mut fixture = Fixture::new("once");
    let no_key = "has no private key";
    let expired = "has an expired certificate: CN=auth-proxy expired was valid until 2021-01-01T00:00:00Z";
    fixture.move_over("no-key.pem");
    assert_eq!(fixture.after_refresh(), kept(no_key));
    fixture.move_over("expired.pem");
    assert_eq!(fixture.after_refresh(), kept(expired));
    fixture.move_over("no-key.pem");
    assert_eq!(fixture.after_refresh(), kept_silently());
    // The hint with the time in it makes it no other fault.
    fixture.mock_clock.advance(Duration::from_secs(60));
    fixture.move_over("expired.pem");
    assert_eq!(fixture.after_refresh(), kept_silently());
    fixture.move_over("key-first.pem");
    assert_eq!(fixture.after_refresh(), good_again());
    assert_eq!(fixture.after_refresh(), kept_silently());
    fixture.move_over("no-key.pem");
    assert_eq!(fixture.after_refresh(), kept(no_key));
}

/// Whoever looks at the log or the metrics hours later finds it, too.
#[test]
fn a_bad_file_is_logged_every_hour_and_shown_until_it_is_good() {
    let mut fixture = Fixture::new("hourly");
    let current = fixture.source.current();
    assert!(!current.is_reload_failing());
    let no_key = "has no private key";
    fixture.move_over("no-key.pem");
    assert_eq!(fixture.after_refresh(), kept(no_key));
    assert!(current.is_reload_failing());
    fixture.mock_clock.advance(Duration::from_secs(59 * 60));
    assert_eq!(fixture.after_refresh(), kept_silently());
    fixture.mock_clock.advance(Duration::from_secs(60));
    assert_eq!(fixture.after_refresh(), kept(no_key));
    assert_eq!(fixture.after_refresh(), kept_silently());
    // Between two assertions, too.
    fixture.mock_clock.advance(Duration::from_secs(60 * 60));
    assert!(!fixture.source.changed());
    assert_eq!(fixture.source.fault.as_ref().unwrap().logged_at, fixture.source.clock.now());
    assert!(current.is_reload_failing());
    fixture.move_over("key-first.pem");
    assert_eq!(fixture.after_refresh(), good_again());
    assert!(!current.is_reload_failing());
}

#[test]
fn expiry_is_announced_three_times_and_once_each() {
    let mut fixture = Fixture::new("expiry");
    let mut announced = Vec::new();
    for (left, reminder) in [
        (31 * DAY_SECONDS, None),
        (30 * DAY_SECONDS, Some("expires 30")),
        (29 * DAY_SECONDS, None),
        (7 * DAY_SECONDS, Some("expires 7")),
        (2 * DAY_SECONDS, None),
        (DAY_SECONDS, Some("expires 1")),
        (60, None),
    ] {
        fixture.mock_clock.jump_unix(END - left);
        let (_, notices) = fixture.after_refresh();
        assert_eq!(notices, Vec::from_iter(reminder), "{left} seconds before the end");
        announced.extend(notices);
    }
    assert_eq!(announced.len(), 3);
    // The next certificate ends at the same time, and has its own reminders.
    fixture.move_over("other.pem");
    let (_, notices) = fixture.after_refresh();
    assert_eq!(notices, ["renewed: CN=auth-proxy other", "expires 1"]);
}

#[test]
fn starting_late_announces_only_the_nearest_threshold() {
    let mut fixture = Fixture::new("late");
    fixture.mock_clock.jump_unix(END - 5 * DAY_SECONDS);
    fixture.source = open(&fixture.file, &fixture.mock_clock).unwrap();
    assert_eq!(fixture.source.reminded, Some(7));
    assert_eq!(fixture.after_refresh(), kept_silently());
}

#[test]
fn an_expired_certificate_goes_on_signing_until_a_new_one_comes() {
    let mut fixture = Fixture::new("expired");
    let before = thumbprint(&mut fixture.source);
    fixture.mock_clock.jump_unix(END + 1);
    assert_eq!(
        fixture.after_refresh(),
        kept("has an expired certificate: CN=auth-proxy test was valid until 2049-12-31T23:59:59Z")
    );
    assert_eq!(thumbprint(&mut fixture.source), before);
    assert_eq!(fixture.after_refresh(), kept_silently());
    fixture.move_over("leaf-2060.pem");
    assert!(fixture.source.changed());
    let (_, notices) = fixture.after_refresh();
    assert_eq!(notices, ["renewed: CN=auth-proxy test"]);
    assert_ne!(thumbprint(&mut fixture.source), before);
}

#[test]
fn a_certificate_from_the_near_future_is_noted_once() {
    let directory = pems::scratch("future");
    let file = directory.join("id.pem");
    fs::copy(pem("future.pem"), &file).unwrap();
    // Four minutes before 2048-01-01.
    let mock_clock = MockClock::at_unix(2_461_449_600 - 240);
    let mut source = open(&file, &mock_clock).unwrap();
    assert_eq!(source.already_warned.len(), 1, "logged at start");
    assert!(source.refresh().is_empty());
    mock_clock.advance(Duration::from_secs(300));
    assert!(source.refresh().is_empty());
    assert!(source.already_warned.is_empty(), "forgotten when it is over");
    fs::remove_dir_all(directory).unwrap();
}
