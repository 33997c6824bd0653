//! The process itself, under the names that every Prometheus client uses. Where `/proc` is not mounted, what comes
//! from there is left out.

use std::time::Duration;

use super::text::Text;
use crate::process;

pub(super) fn write(text: &mut Text, started: Duration) {
    let help = "Start time of the process since unix epoch in seconds.";
    text.single("process_start_time_seconds", "gauge", help, started.as_secs_f64());
    let help = "Total user and system CPU time spent in seconds.";
    text.single("process_cpu_seconds_total", "counter", help, process::cpu_time().as_secs_f64());
    if let Some(bytes) = resident_bytes() {
        text.single("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", bytes);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // One of them is the directory itself.
        let open = open.count().saturating_sub(1);
        text.single("process_open_fds", "gauge", "Number of open file descriptors.", open);
    }
    if let Some(limit) = process::descriptor_limit() {
        text.single("process_max_fds", "gauge", "Maximum number of open file descriptors.", limit);
    }
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}
