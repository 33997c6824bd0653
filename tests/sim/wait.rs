//! Waiting for a condition instead of for a time.

use std::time::{Duration, Instant};

/// How long a test waits for something that must happen: `TEST_TIMEOUT_MS`, or half a minute: the machine may be busy with other things.
pub fn timeout() -> Duration {
    let given = std::env::var("TEST_TIMEOUT_MS").ok().and_then(|text| text.parse().ok());
    Duration::from_millis(given.unwrap_or(30_000))
}

/// Asks again and again until there is a result; `None` at the timeout.
pub fn eventually<T>(mut find: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + timeout();
    loop {
        if let Some(found) = find() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Waits until this is true; panics with these words at the timeout.
#[track_caller]
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let happened = eventually(|| condition().then_some(()));
    assert!(happened.is_some(), "waited {:?} in vain for: {what}", timeout());
}
