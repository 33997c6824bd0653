//! What the system lets this process have, and what it has used. Where `/proc` is not mounted, what comes from there is
//! unknown.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Raises the soft limit of open descriptors to the hard one: each connection takes two. Returns the limit then
/// in force; `None` means unlimited.
pub(crate) fn raise_descriptor_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// The soft limit of open descriptors; `None` means unlimited.
pub(crate) fn descriptor_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// The processor time that this process has used.
pub(crate) fn cpu_time() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), u32::try_from(used.tv_nsec).unwrap_or(0))
}

/// Resident memory in bytes.
pub(crate) fn resident_bytes() -> Option<u64> {
    let kilobytes: u64 = status("VmRSS:")?;
    Some(kilobytes * 1024)
}

pub(crate) fn threads() -> Option<u64> {
    status("Threads:")
}

/// The number of open descriptors.
pub(crate) fn open_descriptors() -> Option<usize> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?;
    // One of them is the directory itself.
    Some(open.count().saturating_sub(1))
}

/// The number after this name in proc_pid_status(5).
fn status(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptor_limit_is_raised_to_the_hard_one() {
        raise_descriptor_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
