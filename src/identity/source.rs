//! The certificate in use: read again before every assertion, replaced when the new one is good, kept when not.
//!
//! ```text
//! read the file --same--> nothing, as long as the certificate is valid
//!       |--------good--> the new pair is used; logged if the certificate is another one
//!       '--------bad---> the old pair stays in use; logged at once and every hour, until the file is good again
//!
//! Entra ID --token----> the pair before is forgotten
//!          '-unknown--> an error at first; from then on the pair before serves after each refusal of the new one, until
//!                       that is uploaded
//! ```

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::assertion::{self, AssertionParams};
use super::certificate_files::CertificateFiles;
use super::{AssertionSource, Certificate, KeyPair};
use crate::clock::{Clock, Moment};
use crate::config::Algorithm;
use crate::log::{self, rfc3339};
use crate::report::Problem;
use crate::secret::Secret;

const DAY_SECONDS: u64 = 24 * 60 * 60;
/// How many days before its expiry a certificate is warned about, each once.
const REMINDER_DAYS: [u64; 3] = [30, 7, 1];
/// A bad file is logged again this often: who looks at the log later than that should see it, too.
const REPEAT_AFTER: Duration = Duration::from_secs(60 * 60);
/// The number of messages remembered; beyond it they are logged again, because memory must be bounded.
const MAX_WARNED: usize = 32;

/// Signs assertions with the certificate in a file or directory, which may be replaced at any time.
///
/// A file that is missing, half written or wrong leaves the previous certificate in use. That one is used even when it has
/// expired, because our clock may be wrong: Entra ID decides, and its response is logged with a remedy.
pub struct CertificateSource {
    files: CertificateFiles,
    params: AssertionParams,
    clock: Clock,
    pair: KeyPair,
    /// Entra ID has granted a token for it.
    is_accepted: bool,
    previous: Option<PreviousPair>,
    current: CurrentCertificate,
    /// Messages logged since the file was last good.
    already_warned: Vec<String>,
    /// What is wrong with the file, while the previous certificate is used instead.
    fault: Option<Fault>,
    /// The last of [`REMINDER_DAYS`] given for the certificate in use.
    reminded: Option<u64>,
}

/// The last pair that Entra ID has accepted, while it has not accepted the new one.
struct PreviousPair {
    pair: KeyPair,
    /// Entra ID has refused the new one before.
    is_needed: bool,
    /// When it was last logged that this one signs in; none while it does not.
    logged_at: Option<Moment>,
}

struct Fault {
    problem: Problem,
    logged_at: Moment,
}

impl CertificateSource {
    /// Loads the certificate. `password` opens the file, `client_id` is the assertion's issuer and subject, `token_url` its audience.
    ///
    /// # Errors
    ///
    /// At start every problem is an error: there is no previous certificate to keep.
    pub fn open(
        path: &Path,
        password: Option<Arc<Secret<String>>>,
        algorithm: Algorithm,
        send_chain: bool,
        client_id: &str,
        token_url: &str,
        clock: Clock,
    ) -> Result<Self, Problem> {
        let mut files = CertificateFiles::new(path, password);
        let (pair, notes) = files.load(clock.unix().as_secs())?;
        let current = CurrentCertificate::new(&pair.certificate);
        let params = AssertionParams {
            algorithm,
            send_chain,
            client_id: client_id.to_owned(),
            audience: token_url.to_owned(),
        };
        let mut source = Self {
            files,
            params,
            clock,
            pair,
            is_accepted: false,
            previous: None,
            current,
            already_warned: Vec::new(),
            fault: None,
            reminded: None,
        };
        let mut notices = source.new_notes(notes);
        notices.extend(source.reminder());
        notices.iter().for_each(Notice::log);
        Ok(source)
    }

    /// The certificate in use.
    pub fn certificate(&self) -> &Certificate {
        &self.pair.certificate
    }

    /// A handle on the certificate in use, for other threads.
    pub fn current(&self) -> CurrentCertificate {
        self.current.clone()
    }

    /// Reads the file again; what is worth a line in the log.
    fn refresh(&mut self) -> Vec<Notice> {
        let now = self.clock.unix().as_secs();
        let valid = self.pair.certificate.not_before_unix..=self.pair.certificate.not_after_unix;
        // With a remark that may be over by now, it is looked at again.
        let is_undisputed = self.already_warned.is_empty() && self.fault.is_none();
        if valid.contains(&now) && is_undisputed && self.files.is_as_loaded() {
            return self.reminder().into_iter().collect();
        }
        let mut notices = match self.files.load(now) {
            Ok((pair, notes)) => {
                let renewed = pair.certificate.sha256 != self.pair.certificate.sha256;
                // Also with the same leaf: the rest of its chain may have changed.
                let before = std::mem::replace(&mut self.pair, pair);
                if renewed {
                    self.reminded = None;
                    self.keep(before);
                }
                let in_use = self.in_use();
                self.current.publish(&in_use);
                // A note that still applies was logged already; everything else may be logged again when it comes back.
                self.already_warned.retain(|message| notes.iter().any(|note| note.message == *message));
                let was_bad = self.fault.take().is_some();
                self.current.mark_reload(self.is_on_previous());
                let certificate = Arc::clone(&self.pair.certificate);
                let change = match (renewed, was_bad) {
                    (true, _) => Some(Notice::Renewed(certificate)),
                    (false, true) => Some(Notice::GoodAgain(certificate)),
                    (false, false) => None,
                };
                change.into_iter().chain(self.new_notes(notes)).collect()
            }
            Err(problem) => {
                self.current.mark_reload(true);
                if self.is_new(&problem) {
                    vec![self.still_in_use(problem)]
                } else {
                    self.repeated_fault().into_iter().collect()
                }
            }
        };
        notices.extend(self.reminder());
        notices
    }

    /// Keeps the pair that was in use until now, if Entra ID has accepted it; else the one before stays.
    fn keep(&mut self, before: KeyPair) {
        if std::mem::take(&mut self.is_accepted) {
            self.previous = Some(PreviousPair { pair: before, is_needed: false, logged_at: None });
        }
        let is_back = |it: &PreviousPair| it.pair.certificate.sha256 == self.pair.certificate.sha256;
        if self.previous.as_ref().is_some_and(is_back) {
            self.previous = None;
            self.is_accepted = true;
        }
    }

    fn is_on_previous(&self) -> bool {
        self.previous.as_ref().is_some_and(|previous| previous.logged_at.is_some())
    }

    /// The certificate that the last token was got with, or the next one will be.
    fn in_use(&self) -> Arc<Certificate> {
        let previous = self.previous.as_ref().filter(|previous| previous.logged_at.is_some());
        Arc::clone(&previous.map_or(&self.pair, |previous| &previous.pair).certificate)
    }

    /// The notice of a bad file, which counts as logged now.
    fn still_in_use(&mut self, problem: Problem) -> Notice {
        self.fault = Some(Fault { problem: problem.clone(), logged_at: self.clock.now() });
        Notice::StillInUse(problem, Arc::clone(&self.pair.certificate))
    }

    /// The notice of a bad file again, when it was last logged long ago.
    fn repeated_fault(&mut self) -> Option<Notice> {
        let now = self.clock.now();
        let fault = self.fault.as_ref().filter(|fault| now.since(fault.logged_at) >= REPEAT_AFTER)?;
        let problem = fault.problem.clone();
        Some(self.still_in_use(problem))
    }

    fn new_notes(&mut self, notes: Vec<Problem>) -> Vec<Notice> {
        notes.into_iter().filter(|note| self.is_new(note)).map(Notice::Note).collect()
    }

    /// Whether this was not logged since the file was last good. Hints are not compared: they may contain the time.
    fn is_new(&mut self, problem: &Problem) -> bool {
        if self.already_warned.contains(&problem.message) {
            return false;
        }
        if self.already_warned.len() == MAX_WARNED {
            self.already_warned.clear();
        }
        self.already_warned.push(problem.message.clone());
        true
    }

    /// The reminder that is due, if it was not logged yet.
    fn reminder(&mut self) -> Option<Notice> {
        let left = self.pair.certificate.seconds_left(self.clock.unix().as_secs());
        let due = REMINDER_DAYS.into_iter().filter(|days| left <= days * DAY_SECONDS).min()?;
        // An expired certificate is an error of the file, which was logged.
        if left == 0 || self.reminded.is_some_and(|given| given <= due) {
            return None;
        }
        self.reminded = Some(due);
        Some(Notice::Expires { days: due, certificate: Arc::clone(&self.pair.certificate) })
    }
}

impl AssertionSource for CertificateSource {
    fn assertion(&mut self) -> Result<Secret<String>, Problem> {
        self.refresh().iter().for_each(Notice::log);
        assertion::sign(&self.pair, &self.params, self.clock.unix().as_secs())
    }

    fn accepted(&mut self) {
        self.is_accepted = true;
        if self.previous.take().is_some_and(|previous| previous.logged_at.is_some()) {
            self.current.publish(&self.pair.certificate);
            self.current.mark_reload(self.fault.is_some());
            Notice::Accepted(Arc::clone(&self.pair.certificate)).log();
        }
    }

    fn fallback(&mut self) -> Option<Secret<String>> {
        let now = self.clock.unix().as_secs();
        let previous = self.previous.as_mut()?;
        // The first time it is an error, for somebody to see.
        if !std::mem::replace(&mut previous.is_needed, true)
            || previous.pair.certificate.seconds_left(now) == 0
        {
            return None;
        }
        assertion::sign(&previous.pair, &self.params, now).ok()
    }

    fn fell_back(&mut self) {
        let now = self.clock.now();
        let Some(previous) = &mut self.previous else { return };
        if previous.logged_at.is_none_or(|at| now.since(at) >= REPEAT_AFTER) {
            previous.logged_at = Some(now);
            let in_use = Arc::clone(&previous.pair.certificate);
            self.current.publish(&in_use);
            self.current.mark_reload(true);
            Notice::Unknown { new: Arc::clone(&self.pair.certificate), in_use }.log();
        }
    }

    fn changed(&mut self) -> bool {
        // Tokens may live for a day, and then no assertion is made for as long.
        self.repeated_fault().iter().for_each(Notice::log);
        if self.is_on_previous() {
            self.fell_back();
        }
        self.files.changed()
    }
}

/// A handle on the certificate in use for other threads: the log, `check`, the metrics.
#[derive(Debug, Clone)]
pub struct CurrentCertificate(Arc<Published>);

#[derive(Debug)]
struct Published {
    certificate: Mutex<Arc<Certificate>>,
    is_reload_failing: AtomicBool,
}

impl CurrentCertificate {
    fn new(certificate: &Arc<Certificate>) -> Self {
        let certificate = Mutex::new(Arc::clone(certificate));
        Self(Arc::new(Published { certificate, is_reload_failing: AtomicBool::new(false) }))
    }

    /// Whether its file has changed since and cannot be used, so that this certificate outlives its replacement.
    pub fn is_reload_failing(&self) -> bool {
        self.0.is_reload_failing.load(Ordering::Relaxed)
    }

    fn mark_reload(&self, is_failing: bool) {
        self.0.is_reload_failing.store(is_failing, Ordering::Relaxed);
    }

    /// The certificate that the next assertion will be signed for.
    pub fn certificate(&self) -> Arc<Certificate> {
        // Only ever a pointer is stored under the lock: a panic cannot leave it half done.
        Arc::clone(&self.0.certificate.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn publish(&self, certificate: &Arc<Certificate>) {
        *self.0.certificate.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(certificate);
    }
}

#[derive(Debug)]
enum Notice {
    /// The certificate in use expires within this many days.
    Expires { days: u64, certificate: Arc<Certificate> },
    /// The file cannot be used; this certificate stays in use.
    StillInUse(Problem, Arc<Certificate>),
    /// Entra ID does not know the new certificate; the one before stays in use.
    Unknown { new: Arc<Certificate>, in_use: Arc<Certificate> },
    /// Entra ID knows it now.
    Accepted(Arc<Certificate>),
    /// The file is good, with a remark.
    Note(Problem),
    /// The file is good again, and its certificate is the one that was in use all the time.
    GoodAgain(Arc<Certificate>),
    /// This certificate is in use from now on.
    Renewed(Arc<Certificate>),
}

impl Notice {
    fn log(&self) {
        match self {
            Self::Expires { days, certificate } => log::warn(
                "the certificate expires soon; renew it",
                &[
                    ("within_days", days),
                    ("subject", &certificate.subject),
                    ("certificate_sha1", &certificate.sha1_hex()),
                    ("certificate_expires", &rfc3339(certificate.not_after_unix)),
                ],
            ),
            Self::StillInUse(problem, certificate) => log::warn(
                &problem.message,
                &[
                    ("hint", &problem.hints.join("; ")),
                    ("still_in_use", &certificate.sha1_hex()),
                    ("certificate_expires", &rfc3339(certificate.not_after_unix)),
                ],
            ),
            Self::Unknown { new, in_use } => log::warn(
                "Entra ID does not know the new certificate; signing in with the previous one",
                &[
                    (
                        "hint",
                        &"upload the new certificate to the app registration; it is tried at every sign-in",
                    ),
                    ("subject", &new.subject),
                    ("certificate_sha1", &new.sha1_hex()),
                    ("still_in_use", &in_use.sha1_hex()),
                    ("certificate_expires", &rfc3339(in_use.not_after_unix)),
                ],
            ),
            Self::Accepted(certificate) => log::info(
                "Entra ID accepts the new certificate",
                &[("subject", &certificate.subject), ("certificate_sha1", &certificate.sha1_hex())],
            ),
            Self::Note(problem) => log::warn(&problem.message, &[("hint", &problem.hints.join("; "))]),
            Self::GoodAgain(certificate) => log::info(
                "the certificate file is good again; its certificate is the one in use",
                &[("subject", &certificate.subject), ("certificate_sha1", &certificate.sha1_hex())],
            ),
            Self::Renewed(certificate) => log::info(
                "using the new certificate",
                &[
                    ("subject", &certificate.subject),
                    ("certificate_sha1", &certificate.sha1_hex()),
                    ("certificate_sha256", &certificate.sha256_hex()),
                    ("certificate_expires", &rfc3339(certificate.not_after_unix)),
                ],
            ),
        }
    }
}

#[cfg(test)]
mod tests;
