//! Every mistake that a user can make is reported with its cause and the next step, where that user looks:
//!
//! - settings, certificate and address, at the start, on standard error ([`start`]);
//! - what only Entra ID can know, in the client's 503, `/health` and the log ([`sign_in`]);
//! - the way to the upstream, and rights that are missing there ([`upstream`]);
//! - how an application calls the proxy ([`clients`]).
//!
//! The tables are the list: each row makes the mistake for real, with the real program.

mod clients;
mod sign_in;
mod start;
mod upstream;

/// What a user must see: the cause, and what to do next.
struct Diagnosis {
    cause: &'static str,
    next: &'static str,
}

const fn diagnosis(cause: &'static str, next: &'static str) -> Diagnosis {
    Diagnosis { cause, next }
}

impl Diagnosis {
    /// Fails unless both are in what the user sees.
    #[track_caller]
    fn assert_in(&self, seen: &str, mistake: &str) {
        assert!(seen.contains(self.cause), "{mistake}: the cause {:?} is not in:\n{seen}", self.cause);
        assert!(seen.contains(self.next), "{mistake}: the next step {:?} is not in:\n{seen}", self.next);
        for secret in ["PRIVATE KEY-----\nMII", "eyJ", "panicked"] {
            assert!(!seen.contains(secret), "{mistake}: {secret:?} in:\n{seen}");
        }
    }
}
