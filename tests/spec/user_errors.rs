//! Every fault that a user can cause is told with its cause and the next step. The tables are the list: each row
//! causes its fault for real, with the real program, and looks where that user would look.

mod clients;
mod upstream;
mod sign_in;
mod start;

/// What a user must be told: the cause, and what to do next.
struct Told {
    cause: &'static str,
    next: &'static str,
}

const fn told(cause: &'static str, next: &'static str) -> Told {
    Told { cause, next }
}

impl Told {
    /// Fails unless both stand in what the user sees.
    #[track_caller]
    fn stands_in(&self, seen: &str, fault: &str) {
        assert!(seen.contains(self.cause), "{fault}: the cause {:?} is not in:\n{seen}", self.cause);
        assert!(seen.contains(self.next), "{fault}: the next step {:?} is not in:\n{seen}", self.next);
        for secret in ["PRIVATE KEY-----\nMII", "eyJ", "panicked"] {
            assert!(!seen.contains(secret), "{fault}: {secret:?} in:\n{seen}");
        }
    }
}

#[test]
fn there_are_enough_of_them() {
    let all = [
        start::FAULTS.len(),
        sign_in::FAULTS.len(),
        upstream::SETTINGS.len(),
        upstream::RESPONSES.len(),
        clients::FAULTS.len(),
    ];
    assert!(all.iter().sum::<usize>() >= 30, "{all:?}");
}
