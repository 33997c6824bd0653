//! Names to addresses, remembered. A name server that is slow or gone does not stop a destination that is up:
//! the last good answer is used while a new one is looked for.

use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Fault;

/// How long an answer is used without asking again. The system's resolver does not tell the record's own time.
const FRESH: Duration = Duration::from_secs(30);
/// How long a lookup is waited for when an old answer is at hand.
const PATIENCE_WITH_OLD: Duration = Duration::from_millis(500);

/// A cache of names. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    entries: Mutex<HashMap<String, Entry>>,
    looked_up: Condvar,
}

#[derive(Debug, Default)]
struct Entry {
    addresses: Vec<IpAddr>,
    /// When the last good answer came.
    at: Option<Instant>,
    /// Counts finished lookups, so that a waiter knows its own from an earlier one.
    finished: u64,
    looking: bool,
    error: String,
}

impl Names {
    /// The addresses of a host; waits until `deadline` at most.
    pub(super) fn addresses(&self, host: &str, deadline: Instant) -> Result<Vec<IpAddr>, Fault> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let mut entries = self.0.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(host.to_owned()).or_default();
        let known = entry.at.is_some();
        if entry.at.is_some_and(|at| at.elapsed() < FRESH) {
            return Ok(entry.addresses.clone());
        }
        let finished = entry.finished;
        if !entry.looking {
            entry.looking = self.look_up(host);
            if !entry.looking {
                entry.error = "the system gives no thread to look it up".into();
                entry.finished += 1;
            }
        }
        let deadline = if known { deadline.min(Instant::now() + PATIENCE_WITH_OLD) } else { deadline };
        loop {
            let entry = entries.entry(host.to_owned()).or_default();
            let left = deadline.saturating_duration_since(Instant::now());
            if entry.finished != finished || !entry.looking || left.is_zero() {
                if !entry.addresses.is_empty() {
                    return Ok(entry.addresses.clone());
                }
                let cause = if entry.finished == finished { "no answer in time" } else { &entry.error };
                return Err(Fault::Resolve { host: host.to_owned(), cause: cause.to_owned() });
            }
            entries = self.0.looked_up.wait_timeout(entries, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Asks the system's resolver, which may block for long, on a thread of its own. False when there is none.
    fn look_up(&self, host: &str) -> bool {
        let (shared, host) = (Arc::clone(&self.0), host.to_owned());
        let look = move || {
            let answer = (host.as_str(), 0).to_socket_addrs();
            let mut entries = shared.entries.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = entries.entry(host).or_default();
            match answer.map(|found| found.map(|a| a.ip()).collect::<Vec<_>>()) {
                Ok(found) if !found.is_empty() => {
                    entry.addresses = found;
                    entry.at = Some(Instant::now());
                }
                Ok(_) => entry.error = "no addresses".into(),
                Err(error) => entry.error = error.to_string(),
            }
            entry.finished += 1;
            entry.looking = false;
            shared.looked_up.notify_all();
        };
        std::thread::Builder::new().name("resolver".into()).stack_size(256 * 1024).spawn(look).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn an_address_needs_no_lookup() {
        let found = Names::default().addresses("::1", Instant::now()).unwrap();
        assert_eq!(found, ["::1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_name_is_looked_up_once() {
        let names = Names::default();
        let first = names.addresses("localhost", soon()).unwrap();
        assert!(first.iter().all(IpAddr::is_loopback));
        // Already expired: only the cache can answer.
        assert_eq!(names.addresses("localhost", Instant::now()).unwrap(), first);
    }

    #[test]
    fn an_old_answer_serves_while_lookups_fail() {
        let names = Names::default();
        let old = vec!["127.0.0.9".parse::<IpAddr>().unwrap()];
        names.0.entries.lock().unwrap().insert(
            "no-such-host.invalid".into(),
            Entry {
                addresses: old.clone(),
                at: Some(Instant::now().checked_sub(FRESH * 2).unwrap()),
                ..Entry::default()
            },
        );
        assert_eq!(names.addresses("no-such-host.invalid", soon()).unwrap(), old);
    }

    #[test]
    fn an_unknown_name_is_a_fault_that_names_it() {
        let fault = Names::default().addresses("no-such-host.invalid", soon()).unwrap_err();
        assert!(fault.to_string().starts_with("cannot resolve no-such-host.invalid: "), "{fault}");
    }
}
