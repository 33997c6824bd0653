//! Host names to addresses, cached. A name server that is down does not stop an upstream that is up:
//! the last good result is used while the name is resolved again.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::{ConnectError, exhausted};

/// How long a result is used without a new lookup. The system's resolver does not report the record's own TTL.
const TTL: Duration = Duration::from_secs(30);
/// How long a lookup is waited for when there is an expired result.
const STALE_TIMEOUT: Duration = Duration::from_millis(500);

/// A cache of names. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct DnsCache(Arc<Lookups>);

#[derive(Debug, Default)]
struct Lookups {
    entries: Mutex<HashMap<String, Lookup>>,
    looked_up: Condvar,
}

#[derive(Debug, Default)]
struct Lookup {
    addresses: Vec<IpAddr>,
    /// When the last good result came.
    at: Option<Instant>,
    /// Counts finished lookups, so that a waiter knows its own from an earlier one.
    finished: u64,
    in_flight: bool,
    error: Option<ResolveError>,
    /// The address of the last connection that was good.
    preferred: Option<IpAddr>,
}

impl DnsCache {
    /// The addresses of a host, in the order in which to try them; waits until `deadline` at most.
    pub(super) fn addresses(&self, host: &str, deadline: Instant) -> Result<Vec<IpAddr>, ConnectError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let started = Instant::now();
        let mut entries = self.0.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(host.to_owned()).or_default();
        let known = entry.at.is_some();
        if entry.at.is_some_and(|at| at.elapsed() < TTL) {
            return Ok(entry.candidates());
        }
        let finished = entry.finished;
        if !entry.in_flight {
            match self.look_up(host) {
                Ok(()) => entry.in_flight = true,
                Err(error) => {
                    entry.error = Some(ResolveError::Exhausted(Arc::new(error)));
                    entry.finished += 1;
                }
            }
        }
        let deadline = if known { deadline.min(Instant::now() + STALE_TIMEOUT) } else { deadline };
        loop {
            let entry = entries.entry(host.to_owned()).or_default();
            let left = deadline.saturating_duration_since(Instant::now());
            if entry.finished != finished || !entry.in_flight || left.is_zero() {
                if !entry.addresses.is_empty() {
                    return Ok(entry.candidates());
                }
                let error = if entry.finished == finished { None } else { entry.error.clone() };
                let cause = error.unwrap_or_else(|| ResolveError::NoResponse(started.elapsed()));
                return Err(ConnectError::Resolve { host: host.to_owned(), cause });
            }
            entries = self.0.looked_up.wait_timeout(entries, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Remembers that a connection to this address of the host was good, or forgets it because one was not: others
    /// shall have their turn.
    pub(super) fn record_outcome(&self, host: &str, address: IpAddr, good: bool) {
        let mut entries = self.0.entries.lock().unwrap_or_else(PoisonError::into_inner);
        // Without an entry the host is an address itself.
        let Some(entry) = entries.get_mut(host) else { return };
        if good {
            entry.preferred = Some(address);
        } else if entry.preferred == Some(address) {
            entry.preferred = None;
        }
    }

    /// Asks the system's resolver, which may block for long, on a thread of its own.
    fn look_up(&self, host: &str) -> io::Result<()> {
        let (shared, host) = (Arc::clone(&self.0), host.to_owned());
        let look = move || {
            let result = (host.as_str(), 0).to_socket_addrs();
            let mut entries = shared.entries.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = entries.entry(host).or_default();
            match result.map(|found| found.map(|a| a.ip()).collect::<Vec<_>>()) {
                Ok(found) if !found.is_empty() => {
                    entry.addresses = found;
                    entry.at = Some(Instant::now());
                }
                Ok(_) => entry.error = Some(ResolveError::NoSuchName),
                Err(error) => entry.error = Some(ResolveError::from(error)),
            }
            entry.finished += 1;
            entry.in_flight = false;
            shared.looked_up.notify_all();
        };
        std::thread::Builder::new().name("resolver".into()).stack_size(256 * 1024).spawn(look).map(drop)
    }
}

impl Lookup {
    fn candidates(&self) -> Vec<IpAddr> {
        interleave(&self.addresses, self.preferred)
    }
}

/// The order in which to try addresses (RFC 8305 section 4): the families take turns, so that one that leads nowhere
/// costs one attempt. The resolver's order decides which is first, unless a connection to `preferred` was good before.
fn interleave(addresses: &[IpAddr], preferred: Option<IpAddr>) -> Vec<IpAddr> {
    let Some(first) = preferred.or_else(|| addresses.first().copied()) else { return Vec::new() };
    let mut addresses = addresses.to_vec();
    // Stable: what the resolver has put in front stays in front.
    addresses.sort_by_key(|address| Some(*address) != preferred);
    let (one, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == first.is_ipv4());
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut ordered = Vec::new();
    while one.len() + other.len() > 0 {
        ordered.extend(one.next());
        ordered.extend(other.next());
    }
    ordered
}

/// Why a name could not be resolved.
#[derive(Debug, Clone)]
pub(crate) enum ResolveError {
    /// A name server says that there is none, or none with an address.
    NoSuchName,
    /// No name server responded within this time, which was all there was.
    NoResponse(Duration),
    /// The system has given up: its name servers were silent, or failed.
    ServerFailure,
    /// The system has no descriptors, memory or threads to look it up.
    Exhausted(Arc<io::Error>),
    /// In the system's words.
    Other(String),
}

/// `getaddrinfo` says what happened by a number of its own, of which std leaves the text alone: that of the C library,
/// always in English, because nobody sets a locale. First glibc's texts, then musl's.
impl From<io::Error> for ResolveError {
    fn from(error: io::Error) -> Self {
        // EAI_SYSTEM: the number is the system's.
        if exhausted(&error).is_some() {
            return Self::Exhausted(Arc::new(error));
        }
        let text = error.to_string();
        let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
        match text {
            // EAI_NONAME and EAI_NODATA.
            "Name or service not known" | "No address associated with hostname" => Self::NoSuchName,
            "Name does not resolve" | "Name has no usable address" => Self::NoSuchName,
            // EAI_AGAIN: a timeout, nobody on port 53, or SERVFAIL; which of them is not said. EAI_FAIL: any other
            // error, such as REFUSED.
            "Temporary failure in name resolution" | "Non-recoverable failure in name resolution" => {
                Self::ServerFailure
            }
            "Try again" | "Non-recoverable error" => Self::ServerFailure,
            // EAI_MEMORY.
            "Memory allocation failure" | "Out of memory" => {
                Self::Exhausted(Arc::new(io::ErrorKind::OutOfMemory.into()))
            }
            text => Self::Other(text.to_owned()),
        }
    }
}

impl ResolveError {
    /// What to do about it.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::NoSuchName | Self::Other(_) => {
                "check the spelling of the name in the settings, and DNS inside this container or host"
            }
            Self::NoResponse(_) | Self::ServerFailure => {
                "check DNS inside this container or host: its name servers must be reachable on port 53, UDP and TCP"
            }
            // No error of the system's but that for threads comes here without a hint.
            Self::Exhausted(error) => exhausted(error).unwrap_or(
                "a lookup takes a thread: raise the limit of processes (ulimit -u, TasksMax, pids.max)",
            ),
        }
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchName => f.write_str("there is no such name in DNS"),
            Self::NoResponse(within) => {
                write!(f, "no name server responded within {} ms", within.as_millis())
            }
            Self::ServerFailure => f.write_str("no name server responded, or only with a failure (SERVFAIL)"),
            Self::Exhausted(error) => write!(f, "the system has no resources left to resolve it: {error}"),
            Self::Other(text) => f.write_str(text),
        }
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
        let found = DnsCache::default().addresses("::1", Instant::now()).unwrap();
        assert_eq!(found, ["::1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_name_is_looked_up_once() {
        let names = DnsCache::default();
        let first = names.addresses("localhost", soon()).unwrap();
        assert!(first.iter().all(IpAddr::is_loopback));
        // Already expired: only the cache has it.
        assert_eq!(names.addresses("localhost", Instant::now()).unwrap(), first);
    }

    #[test]
    fn old_addresses_serve_while_lookups_fail() {
        let names = DnsCache::default();
        let old = vec!["127.0.0.9".parse::<IpAddr>().unwrap()];
        names.0.entries.lock().unwrap().insert(
            "no-such-host.invalid".into(),
            Lookup {
                addresses: old.clone(),
                at: Some(Instant::now().checked_sub(TTL * 2).unwrap()),
                ..Lookup::default()
            },
        );
        assert_eq!(names.addresses("no-such-host.invalid", soon()).unwrap(), old);
    }

    #[test]
    fn an_unknown_name_is_a_fault_that_names_it() {
        let fault = DnsCache::default().addresses("no-such-host.invalid", soon()).unwrap_err();
        assert!(fault.to_string().starts_with("cannot resolve no-such-host.invalid: "), "{fault}");
    }

    #[test]
    fn what_the_c_libraries_say_has_its_own_words_and_its_own_remedy() {
        use rustix::io::Errno;
        let said = |text: &str| io::Error::other(format!("failed to lookup address information: {text}"));
        let os = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        let (none, spelling) = ("there is no such name", "spelling");
        let (failed, servers) = ("no name server responded", "port 53");
        let rows = [
            // glibc
            (said("Name or service not known"), none, spelling),
            (said("No address associated with hostname"), none, spelling),
            (said("Temporary failure in name resolution"), failed, servers),
            (said("Non-recoverable failure in name resolution"), failed, servers),
            (said("Memory allocation failure"), "no resources left", "memory"),
            // musl
            (said("Name does not resolve"), none, spelling),
            (said("Name has no usable address"), none, spelling),
            (said("Try again"), failed, servers),
            (said("Non-recoverable error"), failed, servers),
            (said("Out of memory"), "no resources left", "memory"),
            // Both, as EAI_SYSTEM
            (os(Errno::MFILE), "no resources left", "ulimit -n"),
            (os(Errno::NFILE), "no resources left", "fs.file-max"),
            (os(Errno::NOMEM), "no resources left", "memory"),
            (os(Errno::ACCESS), "Permission denied", spelling),
            (said("something new"), "something new", spelling),
        ];
        for (error, words, hint) in rows {
            let text = error.to_string();
            let error = ResolveError::from(error);
            assert!(error.to_string().contains(words), "{text}: {error}");
            assert!(error.hint().contains(hint), "{text}: {}", error.hint());
        }
        let slow = ResolveError::NoResponse(Duration::from_secs(3));
        assert_eq!(slow.to_string(), "no name server responded within 3000 ms");
        assert!(slow.hint().contains(servers));
        let no_thread = ResolveError::Exhausted(Arc::new(os(Errno::AGAIN)));
        assert!(no_thread.hint().contains("TasksMax"));
    }

    /// What the present C library says of a name that cannot exist (RFC 6761 section 6.4) is among those texts.
    #[test]
    fn no_text_of_this_systems_resolver_is_unknown() {
        let fault = DnsCache::default().addresses("no-such-host.invalid", soon()).unwrap_err();
        let ConnectError::Resolve { cause, .. } = fault else { panic!("{fault}") };
        assert!(!matches!(cause, ResolveError::Other(_)), "{cause}");
    }

    #[test]
    fn families_take_turns_and_what_worked_goes_first() {
        let rows = [
            ("", "", ""),
            ("", "1", ""),
            ("1", "", "1"),
            ("1 2 3", "", "1 2 3"),
            ("::1 ::2 1 2", "", "::1 1 ::2 2"),
            ("1 2 ::1 ::2", "", "1 ::1 2 ::2"),
            ("::1 ::2 ::3 1", "", "::1 1 ::2 ::3"),
            ("1 ::1 ::2 ::3", "", "1 ::1 ::2 ::3"),
            // What worked goes first, and its family.
            ("::1 ::2 1 2", "2", "2 ::1 1 ::2"),
            ("::1 ::2 1 2", "::2", "::2 1 ::1 2"),
            ("1 2 3", "3", "3 1 2"),
            // It is gone from DNS: its family still does.
            ("::1 ::2 1 2", "9", "1 ::1 2 ::2"),
            ("::1 ::2", "9", "::1 ::2"),
        ];
        let parse = |text: &str| -> Vec<IpAddr> {
            let address = |word: &str| match word.strip_prefix("::") {
                Some(_) => word.parse().unwrap(),
                None => IpAddr::from([10, 0, 0, word.parse().unwrap()]),
            };
            text.split_whitespace().map(address).collect()
        };
        for (found, preferred, expected) in rows {
            let ordered = interleave(&parse(found), parse(preferred).pop());
            assert_eq!(ordered, parse(expected), "{found:?}, {preferred:?}");
        }
    }

    #[test]
    fn a_connection_that_was_good_is_remembered_until_one_was_not() {
        let names = DnsCache::default();
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        names.0.entries.lock().unwrap().insert(
            "host.test".into(),
            Lookup { addresses: vec![a, b], at: Some(Instant::now()), ..Lookup::default() },
        );
        let order = || names.addresses("host.test", Instant::now()).unwrap();
        assert_eq!(order(), [a, b]);
        names.record_outcome("host.test", b, true);
        assert_eq!(order(), [b, a]);
        // A connection of before, which says nothing about the present one.
        names.record_outcome("host.test", a, false);
        assert_eq!(order(), [b, a]);
        names.record_outcome("host.test", b, false);
        assert_eq!(order(), [a, b]);
        names.record_outcome("10.0.0.1", a, true);
        assert!(!names.0.entries.lock().unwrap().contains_key("10.0.0.1"));
    }
}
