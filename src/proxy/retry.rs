//! What to do after an attempt to send a request that failed: one table.

/// Why an attempt gave no response to relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// A reused connection ended before a byte of a response: most likely the upstream closed it while it was idle.
    StaleConnection,
    /// 401, and a newer token is available or on its way.
    TokenRejected,
    Otherwise,
}

/// How much of the request body can be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replay {
    /// All of it.
    Complete,
    /// What was read so far; the client still has the rest.
    SoFar,
    /// More was read than was kept.
    Lost,
}

/// The attempt that failed, and what was done before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    /// Not a byte of the request was written to the connection.
    pub(super) is_unsent: bool,
    /// "A client SHOULD NOT automatically retry a request with a non-idempotent method" (RFC 9110 section 9.2.2).
    pub(super) is_idempotent: bool,
    pub(super) replay: Replay,
    /// It was already sent on a fresh connection.
    pub(super) is_retry: bool,
    /// It was already sent with a newer token.
    pub(super) is_replay: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryAction {
    /// Give the client the error, or the response.
    GiveUp,
    /// Wait for a newer token, then send it again with that.
    ReplayWithNewerToken,
    /// Send it on a new connection.
    RetryOnFreshConnection,
}

/// As RFC 9110 section 9.2.2 has it: what was not sent at all may be retried whatever its method is; what was sent, only if
/// the method is idempotent.
///
/// | failed | body | what was sent | | before | next |
/// | --- | --- | --- | --- | --- | --- |
/// | any | lost | | | | give up |
/// | stale connection | so far or complete | nothing | any method | no retry | retry on a fresh connection |
/// | stale connection | so far or complete | something | idempotent | no retry | retry on a fresh connection |
/// | token rejected | complete | | | no replay | replay with a newer token |
/// | otherwise | | | | | give up |
pub(super) fn decide(failed: Failed, attempt: Attempt) -> RetryAction {
    let Attempt { is_unsent, is_idempotent, replay, is_retry, is_replay } = attempt;
    match (failed, replay) {
        (_, Replay::Lost) => RetryAction::GiveUp,
        (Failed::StaleConnection, _) if !is_retry && (is_unsent || is_idempotent) => {
            RetryAction::RetryOnFreshConnection
        }
        // A response was received, so the upstream has stopped reading: a body of which the client still has a part cannot
        // continue on another attempt.
        (Failed::TokenRejected, Replay::Complete) if !is_replay => RetryAction::ReplayWithNewerToken,
        _ => RetryAction::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row() {
        use Failed::{Otherwise, StaleConnection, TokenRejected};
        use Replay::{Complete, Lost, SoFar};
        use RetryAction::{GiveUp, ReplayWithNewerToken, RetryOnFreshConnection};
        let attempt = |is_unsent, is_idempotent, replay, is_retry, is_replay| Attempt {
            is_unsent,
            is_idempotent,
            replay,
            is_retry,
            is_replay,
        };
        for (failed, attempt, next) in [
            (StaleConnection, attempt(true, true, Complete, false, false), RetryOnFreshConnection),
            (StaleConnection, attempt(true, false, Complete, false, false), RetryOnFreshConnection),
            (StaleConnection, attempt(true, false, SoFar, false, false), RetryOnFreshConnection),
            (StaleConnection, attempt(false, true, SoFar, false, false), RetryOnFreshConnection),
            (StaleConnection, attempt(false, true, Complete, false, true), RetryOnFreshConnection),
            (StaleConnection, attempt(false, false, Complete, false, false), GiveUp),
            (StaleConnection, attempt(true, true, Complete, true, false), GiveUp),
            (StaleConnection, attempt(true, true, Lost, false, false), GiveUp),
            (TokenRejected, attempt(false, false, Complete, false, false), ReplayWithNewerToken),
            (TokenRejected, attempt(false, true, Complete, true, false), ReplayWithNewerToken),
            (TokenRejected, attempt(false, true, Complete, false, true), GiveUp),
            (TokenRejected, attempt(false, true, SoFar, false, false), GiveUp),
            (TokenRejected, attempt(false, true, Lost, false, false), GiveUp),
            (Otherwise, attempt(true, true, Complete, false, false), GiveUp),
        ] {
            assert_eq!(decide(failed, attempt), next, "{failed:?} {attempt:?}");
        }
    }
}
