//! Credentials that the egress proxy refuses are not presented again and again: directories lock an account after a
//! few failed logins. What is known about them holds for every connection through the proxy, whoever needs it.
//!
//! ```text
//!            2xx                    407
//! unknown ─────────> accepted ──────────────┐
//!    │ ^                ^                   v
//!    │ │ one attempt    │ 2xx            refused: no attempt for a minute, then for five
//!    │ └────────────────┼──────────────────┐│
//!    │ 407              └─ one attempt <── pause is over
//!    └────────────────────────────────────> refused
//! ```

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After the first refusal: a person may be at work on it.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// After each one that follows: few enough to stay below what locks an account, or to let a lock run out.
const PAUSE: Duration = Duration::from_secs(300);
/// How many schemes are shown, and the length of each.
const MAX_SCHEMES: usize = 8;
const MAX_SCHEME: usize = 32;

/// Whether the proxy accepts the credentials in `HTTPS_PROXY`. Clones share what is known.
#[derive(Debug, Clone, Default)]
pub(super) struct ProxyAuth(Arc<Gate>);

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<Credentials>,
    /// An attempt that others wait for has ended.
    attempt_ended: Condvar,
}

/// Why a proxy responded 407. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProxyAuthError {
    /// Credentials were presented.
    pub(super) presented: bool,
    /// The schemes that it offers, if Basic is not one of them.
    pub(super) schemes: Vec<String>,
}

/// No attempt is made at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Paused {
    pub(super) error: ProxyAuthError,
    /// When the next one may be made.
    pub(super) retry_in: Duration,
}

#[derive(Debug, Default)]
struct Credentials {
    /// They were accepted, and not refused since.
    accepted: bool,
    /// An attempt is under way that shall show whether they are accepted.
    probing: bool,
    refused: Option<Refused>,
}

#[derive(Debug)]
struct Refused {
    error: ProxyAuthError,
    until: Instant,
}

/// What may be done.
#[derive(Debug, PartialEq, Eq)]
enum Admission {
    /// Connect.
    Open,
    /// Connect, as the only one.
    Probe,
    /// Wait for the only one.
    Wait,
    Paused(Paused),
}

impl Credentials {
    fn admit(&mut self, now: Instant) -> Admission {
        if let Some(paused) = self.paused(now) {
            return Admission::Paused(paused);
        }
        if self.accepted {
            return Admission::Open;
        }
        if std::mem::replace(&mut self.probing, true) { Admission::Wait } else { Admission::Probe }
    }

    fn paused(&self, now: Instant) -> Option<Paused> {
        let refused = self.refused.as_ref().filter(|refused| now < refused.until)?;
        Some(Paused { error: refused.error.clone(), retry_in: refused.until - now })
    }

    fn accept(&mut self, now: Instant) {
        // One that was begun before a refusal says nothing about the credentials as they are now.
        if self.paused(now).is_none() {
            self.accepted = true;
            self.refused = None;
        }
    }

    fn refuse(&mut self, error: ProxyAuthError, now: Instant) -> Paused {
        // Several that were begun together are refused together: that is one refusal.
        if let Some(paused) = self.paused(now) {
            return paused;
        }
        self.accepted = false;
        let retry_in = if self.refused.is_some() { PAUSE } else { FIRST_PAUSE };
        self.refused = Some(Refused { error: error.clone(), until: now + retry_in });
        Paused { error, retry_in }
    }
}

impl ProxyAuth {
    /// Permits one attempt; while it is not known whether the credentials are accepted, after waiting for the outcome
    /// of another one's, until `deadline` at most. None when that passed.
    ///
    /// # Errors
    ///
    /// The proxy has refused them, and nothing is attempted for a while.
    pub(super) fn begin(&self, deadline: Instant) -> Result<Option<Attempt<'_>>, Paused> {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            match state.admit(now) {
                Admission::Open => return Ok(Some(Attempt { auth: self, is_probe: false })),
                Admission::Probe => return Ok(Some(Attempt { auth: self, is_probe: true })),
                Admission::Paused(paused) => return Err(paused),
                Admission::Wait if now >= deadline => return Ok(None),
                Admission::Wait => {
                    let ended = self.0.attempt_ended.wait_timeout(state, deadline - now);
                    state = ended.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Credentials> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection through the proxy that is being made. Dropped without an outcome, it leaves open whether the
/// credentials are accepted.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    auth: &'a ProxyAuth,
    is_probe: bool,
}

impl Attempt<'_> {
    /// The proxy has opened the tunnel.
    pub(super) fn accepted(self) {
        self.auth.lock().accept(Instant::now());
    }

    /// The proxy has responded 407.
    pub(super) fn refused(self, error: ProxyAuthError) -> Paused {
        self.auth.lock().refuse(error, Instant::now())
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            self.auth.lock().probing = false;
            self.auth.0.attempt_ended.notify_all();
        }
    }
}

impl ProxyAuthError {
    /// The error that a 407 stands for, with these values of `Proxy-Authenticate`.
    pub(crate) fn new<'a>(presented: bool, challenges: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut schemes = schemes(challenges);
        if schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic")) {
            schemes.clear();
        }
        schemes.truncate(MAX_SCHEMES);
        Self { presented, schemes }
    }

    /// What to do about it.
    pub(super) fn hint(&self) -> &'static str {
        if !self.schemes.is_empty() {
            "have the proxy offer Basic, or let this host through without credentials"
        } else if self.presented {
            "correct user name and password in HTTPS_PROXY, percent-encoded, and restart; the account may be locked by now"
        } else {
            "set HTTPS_PROXY=http://user:password@host:port, or have the proxy let this host through without credentials"
        }
    }
}

/// What the proxy does, for a sentence that begins with it.
impl fmt::Display for ProxyAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.presented {
            "refuses the credentials in HTTPS_PROXY (407)"
        } else {
            "demands credentials, and HTTPS_PROXY has none (407)"
        })?;
        if !self.schemes.is_empty() {
            write!(f, ": it offers {}; auth-proxy speaks Basic only", self.schemes.join(", "))?;
        }
        Ok(())
    }
}

/// The names of the schemes in the values of `Proxy-Authenticate`, and nothing else of them. RFC 9110 section 11.6.1:
/// challenges and their parameters stand in one list, `Basic realm="a, b", Digest realm="c", nonce="d"`.
fn schemes<'a>(challenges: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for element in challenges.flat_map(elements) {
        let element = element.trim_ascii();
        let (name, rest) = element.split_at(element.iter().take_while(|byte| is_scheme(**byte)).count());
        // `name=value` is a parameter of the challenge before it; a challenge is a name alone, or a name and a space.
        let is_challenge = rest.is_empty() || (rest[0] == b' ' && !rest.trim_ascii_start().starts_with(b"="));
        if let Ok(name) = std::str::from_utf8(name)
            && is_challenge
            && (1..=MAX_SCHEME).contains(&name.len())
            && !names.iter().any(|other| other.eq_ignore_ascii_case(name))
        {
            names.push(name.to_owned());
        }
    }
    names
}

/// In the name of a registered scheme.
fn is_scheme(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

/// What stands between the commas of a list, those in quoted strings apart.
fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    list.split(move |b| {
        quoted ^= *b == b'"' && !escaped;
        escaped = quoted && !escaped && *b == b'\\';
        *b == b',' && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> ProxyAuthError {
        ProxyAuthError { presented: true, schemes: Vec::new() }
    }

    #[derive(Debug)]
    enum Step {
        /// What is permitted now.
        Admit(&'static str),
        Accept,
        /// A refusal, and the seconds for which nothing is attempted then.
        Refuse(u64),
        /// The probe ends, with or without an outcome.
        End,
        /// Seconds pass.
        Pass(u64),
    }
    use Step::{Accept, Admit, End, Pass, Refuse};

    #[test]
    fn refused_credentials_rest_and_are_then_tried_by_one() {
        let rows: [&[Step]; 8] = [
            // Accepted: nobody waits.
            &[Admit("probe"), Admit("wait"), Accept, End, Admit("open"), Admit("open")],
            // Refused: a minute, then five, then five again.
            &[
                Admit("probe"),
                Refuse(60),
                End,
                Admit("paused 60"),
                Pass(59),
                Admit("paused 1"),
                Pass(1),
                Admit("probe"),
                Admit("wait"),
                Refuse(300),
                End,
                Admit("paused 300"),
                Pass(300),
                Admit("probe"),
                Refuse(300),
                End,
            ],
            // A success resets it.
            &[
                Admit("probe"),
                Refuse(60),
                End,
                Pass(60),
                Admit("probe"),
                Accept,
                End,
                Admit("open"),
                Refuse(60),
            ],
            // The password is changed while hundreds of connections are in use: what was begun before is one refusal.
            &[
                Admit("probe"),
                Accept,
                End,
                Admit("open"),
                Admit("open"),
                Admit("open"),
                Refuse(60),
                Pass(1),
                Refuse(59),
                Accept,
                Admit("paused 59"),
            ],
            // No outcome at all, such as no connection: the next one finds out.
            &[Admit("probe"), Admit("wait"), End, Admit("probe"), Admit("wait"), End],
            // The same after a refusal, which stays the first.
            &[
                Admit("probe"),
                Refuse(60),
                End,
                Pass(60),
                Admit("probe"),
                End,
                Admit("probe"),
                Refuse(300),
                End,
            ],
            // Late to come back.
            &[Admit("probe"), Refuse(60), End, Pass(6000), Admit("probe"), Admit("wait")],
            &[Admit("probe"), Accept, Admit("open"), End, Admit("open")],
        ];
        for row in rows {
            let (mut state, mut now) = (Credentials::default(), Instant::now());
            for step in row {
                match step {
                    Admit(expected) => {
                        let found = match state.admit(now) {
                            Admission::Open => "open".to_owned(),
                            Admission::Probe => "probe".to_owned(),
                            Admission::Wait => "wait".to_owned(),
                            Admission::Paused(paused) => format!("paused {}", paused.retry_in.as_secs()),
                        };
                        assert_eq!(found, *expected, "{row:?}");
                    }
                    Accept => state.accept(now),
                    Refuse(pause) => {
                        let paused = state.refuse(error(), now);
                        assert_eq!(paused.retry_in, Duration::from_secs(*pause), "{row:?}");
                    }
                    End => state.probing = false,
                    Pass(seconds) => now += Duration::from_secs(*seconds),
                }
            }
        }
    }

    #[test]
    fn those_who_wait_for_one_attempt_learn_its_outcome() {
        let far = Instant::now() + Duration::from_secs(3600);
        for accepts in [true, false] {
            let auth = ProxyAuth::default();
            let first = auth.begin(far).unwrap().unwrap();
            assert!(auth.begin(Instant::now()).unwrap().is_none(), "a deadline ends the wait");
            std::thread::scope(|scope| {
                let others: Vec<_> = (0..8)
                    .map(|_| scope.spawn(|| auth.begin(far).map(|attempt| attempt.unwrap().is_probe)))
                    .collect();
                if accepts {
                    first.accepted();
                } else {
                    assert_eq!(first.refused(error()).retry_in, FIRST_PAUSE);
                }
                for other in others {
                    let outcome = other.join().unwrap();
                    assert_eq!(outcome.is_ok(), accepts);
                    assert!(!accepts || !outcome.unwrap(), "who comes later does not wait");
                }
            });
        }
    }

    #[test]
    fn schemes_are_named_without_what_belongs_to_them() {
        let rows: [(&[&str], &str); 14] = [
            (&[], ""),
            (&["NTLM", "Negotiate"], "NTLM Negotiate"),
            (&["Negotiate, NTLM"], "Negotiate NTLM"),
            (&["Negotiate YIIabc==, NTLM TlRM="], "Negotiate NTLM"),
            (&["Digest realm=\"a\", nonce=\"b\", qop = \"auth\""], "Digest"),
            (&["Digest realm=\"a, NTLM, \\\", Bearer\", nonce=b", "ntlm", "NTLM"], "Digest ntlm"),
            (&["Digest realm=\"never closed, NTLM"], "Digest"),
            (&[", ,NTLM,,"], "NTLM"),
            (&["realm=\"SECRET\""], ""),
            (&["", "=", "\"NTLM\"", "NT LM=x"], "NT"),
            (&["NTLM\u{1b}[31m", "NT\"LM"], ""),
            (&["averyveryveryveryveryveryverylongname"], ""),
            // Basic is what we speak: the others do not matter.
            (&["NTLM", "basic realm=\"x\""], ""),
            (&["a, b, c, d, e, f, g, h, i, j"], "a b c d e f g h"),
        ];
        for (challenges, expected) in rows {
            let error = ProxyAuthError::new(true, challenges.iter().map(|value| value.as_bytes()));
            assert_eq!(error.schemes.join(" "), expected, "{challenges:?}");
        }
    }

    #[test]
    fn what_is_said_fits_what_was_presented_and_what_is_offered() {
        let rows: [(bool, &[u8], &str, &str); 4] = [
            (
                true,
                b"Basic realm=x",
                "refuses the credentials in HTTPS_PROXY (407)",
                "user name and password",
            ),
            (
                true,
                b"NTLM, Negotiate",
                "refuses the credentials in HTTPS_PROXY (407): it offers NTLM, Negotiate; auth-proxy speaks Basic only",
                "offer Basic",
            ),
            (false, b"", "demands credentials, and HTTPS_PROXY has none (407)", "user:password@"),
            (
                false,
                b"Kerberos",
                "demands credentials, and HTTPS_PROXY has none (407): it offers Kerberos; auth-proxy speaks Basic only",
                "offer Basic",
            ),
        ];
        for (presented, challenge, words, hint) in rows {
            let error = ProxyAuthError::new(presented, std::iter::once(challenge));
            assert_eq!(error.to_string(), words);
            assert!(error.hint().contains(hint), "{}", error.hint());
        }
    }
}
