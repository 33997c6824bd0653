//! TLS towards clients: the certificate and key that we present, the authorities whose client certificates we accept, and new sessions with both.
//! The files may be replaced at any time: new connections get what is new, established ones go on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::server::UnbufferedServerConnection;
use rustls::{Error, ServerConfig};
use socket2::Socket;

use super::Stream;
use super::tls::{Session, Tls};
use super::tls_files::{Certificates, DateProblem, Stamps, TlsFiles, Validity, warn_of_dates};
use crate::clock::unix_now;
use crate::files::{self, Stamp};
use crate::log;
use crate::report::Problem;

/// How often the files are looked at, at most: a `stat` of each.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is logged that they cannot be used.
const REMIND_EVERY: Duration = Duration::from_secs(60 * 60);

/// Begins TLS sessions with clients.
#[derive(Debug)]
pub(crate) struct TlsAcceptor {
    files: TlsFiles,
    /// For new connections; established ones keep theirs. A new one begins without sessions to resume, so that every client's
    /// certificate is checked against the new authorities.
    current: Mutex<Current>,
    /// The files have changed and cannot be used.
    is_reload_failing: AtomicBool,
    seen: Mutex<Seen>,
}

/// What new connections get.
#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    /// When its certificate is valid, if that can be read.
    validity: Option<Validity>,
}

/// What is known of the files.
#[derive(Debug)]
struct Seen {
    looked_at: Instant,
    /// The files as they were when they were last read.
    stamps: Stamps,
    /// One of them had been written so shortly before that the stamp alone does not show a change.
    is_racy: bool,
    /// What of their content is in use.
    certificates: Certificates,
    /// What was last found wrong with them, and when it was logged.
    problem: Option<(String, Instant)>,
    /// What is wrong with the certificate's dates and was logged.
    date_problem: Option<DateProblem>,
}

impl TlsAcceptor {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// One of them cannot be used, or they do not fit together.
    pub(crate) fn open(files: &TlsFiles) -> Result<Self, Problem> {
        let (stamps, read) = files.read();
        let (config, certificates) = read?;
        let current = Current { config: Arc::new(config), validity: certificates.validity() };
        let seen = Seen {
            looked_at: Instant::now(),
            is_racy: is_racy(stamps),
            stamps,
            certificates,
            problem: None,
            date_problem: None,
        };
        let acceptor = Self {
            files: files.clone(),
            current: Mutex::new(current),
            is_reload_failing: AtomicBool::new(false),
            seen: Mutex::new(seen),
        };
        acceptor.look_at_dates(&mut lock(&acceptor.seen), unix_now());
        Ok(acceptor)
    }

    /// A client's connection, whose handshake has not begun.
    ///
    /// # Errors
    ///
    /// rustls refuses the configuration.
    pub(crate) fn accept(&self, socket: Arc<Socket>) -> std::io::Result<Stream> {
        let config = Arc::clone(&lock(&self.current).config);
        let tls = session(config).map_err(std::io::Error::other)?;
        Ok(Stream::expecting_tls(socket, tls))
    }

    /// When the certificate that new connections get is valid; none where that cannot be read.
    pub(crate) fn validity(&self) -> Option<Validity> {
        lock(&self.current).validity
    }

    /// Whether the files have changed and cannot be used, so that what they held before outlives their replacement.
    pub(crate) fn is_reload_failing(&self) -> bool {
        self.is_reload_failing.load(Ordering::Relaxed)
    }

    /// Checks the files once a second from now on, on a thread of its own: a file system may hang, and where every connection is
    /// taken none comes that could check them.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(crate) fn watch(self: &Arc<Self>) -> std::io::Result<()> {
        let watched = Arc::downgrade(self);
        let thread = std::thread::Builder::new().name("tls-files".into()).stack_size(256 * 1024);
        let look = move || {
            while let Some(acceptor) = watched.upgrade() {
                acceptor.reload_if_changed();
                drop(acceptor);
                std::thread::sleep(LOOK_EVERY / 4);
            }
        };
        thread.spawn(look).map(drop)
    }

    /// Reads the files again if they have changed.
    fn reload_if_changed(&self) {
        if let Some(mut seen) = files::try_lock(&self.seen)
            && seen.looked_at.elapsed() >= LOOK_EVERY
        {
            seen.looked_at = Instant::now();
            // What was wrong may have been the system's fault, of which a stamp shows nothing.
            if seen.is_racy || seen.problem.is_some() || self.files.stamps() != seen.stamps {
                self.reload(&mut seen);
            }
            self.look_at_dates(&mut seen, unix_now());
        }
    }

    // Not part of its caller's frame: parsing takes much stack, and stack once used stays with the thread.
    #[inline(never)]
    fn reload(&self, seen: &mut Seen) {
        let (stamps, read) = self.files.read();
        (seen.stamps, seen.is_racy) = (stamps, is_racy(stamps));
        let file = self.files.certificate.display();
        let (config, certificates) = match read {
            Ok(read) => read,
            Err(problem) => {
                self.is_reload_failing.store(true, Ordering::Relaxed);
                return seen.report(problem);
            }
        };
        let was_bad = seen.problem.take().is_some();
        self.is_reload_failing.store(false, Ordering::Relaxed);
        if certificates == seen.certificates {
            if was_bad {
                log::info("TLS_CERT_FILE and its key are valid again and unchanged", &[("file", &file)]);
            }
            return;
        }
        *lock(&self.current) = Current { config: Arc::new(config), validity: certificates.validity() };
        log::info("TLS_CERT_FILE, its key or TLS_CLIENT_CA_FILE changed; using them", &[("file", &file)]);
        (seen.certificates, seen.date_problem) = (certificates, None);
    }

    /// Logs what is wrong with the dates of the certificate in use, once, and returns what it has logged.
    fn look_at_dates(&self, seen: &mut Seen, now: Duration) -> Option<DateProblem> {
        let validity = self.validity()?;
        let before = seen.date_problem;
        seen.date_problem = validity.problem(now.as_secs());
        let is_new = seen.date_problem.filter(|_| seen.date_problem != before)?;
        warn_of_dates(&self.files.certificate, validity, is_new);
        Some(is_new)
    }
}

// Not part of its caller's frame: the connection is kilobytes, moved by value.
#[inline(never)]
fn session(config: Arc<ServerConfig>) -> Result<Box<Tls>, Error> {
    Ok(Box::new(Tls::new(Session::Server(UnbufferedServerConnection::new(config)?))))
}

impl Seen {
    fn report(&mut self, problem: Problem) {
        let is_known = |(message, logged): &(String, Instant)| {
            *message == problem.message && logged.elapsed() < REMIND_EVERY
        };
        if self.problem.as_ref().is_some_and(is_known) {
            return;
        }
        let in_use = "new connections get the previous certificate".to_owned();
        let hint = [&[in_use], &*problem.hints].concat().join("; ");
        log::warn(&problem.message, &[("hint", &hint)]);
        self.problem = Some((problem.message, Instant::now()));
    }
}

fn is_racy(stamps: Stamps) -> bool {
    stamps.into_iter().flatten().any(Stamp::is_racy)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
