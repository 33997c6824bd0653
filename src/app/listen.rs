//! The sockets to listen on, and how many connections there is room for.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};

use super::StartFault;
use crate::config::Config;
use crate::log;
use crate::ops::admin;
use crate::report::Problem;
use crate::server::Limits;

/// What we need besides connections: standard streams, pipes, listener, files, token requests, with room to spare.
const DESCRIPTORS_OF_OURS: usize = 24;

/// Binds to a host and a port, each with the variable that sets it.
pub(super) fn bind<L>(
    (host_variable, host): (&str, &str),
    (variable, port): (&str, u16),
    bind: impl FnOnce(&[SocketAddr]) -> io::Result<L>,
) -> Result<L, StartFault> {
    let failed = |error: io::Error| {
        let problem =
            Problem::new(format!("cannot listen on {host_variable}={host} {variable}={port}: {error}"));
        StartFault::Listen(match error.kind() {
            ErrorKind::AddrInUse => problem.hint(format!(
                "another program has this port: choose another {variable}, or 0 for a free one"
            )),
            ErrorKind::PermissionDenied => {
                problem.hint(format!("ports below 1024 need a privilege: choose a higher {variable}"))
            }
            ErrorKind::AddrNotAvailable => {
                problem.hint(format!("{host_variable} must be an address of this machine, 0.0.0.0 or ::"))
            }
            _ => problem.hint(format!(
                "{host_variable} is an IPv4 address, an IPv6 address or a name of this machine"
            )),
        })
    };
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs().map_err(failed)?.collect();
    bind(&addresses).map_err(failed)
}

/// Says so when callers from elsewhere need no key.
pub(super) fn warn_if_open(config: &Config) {
    let host = (config.listen.host.as_str(), config.listen.port);
    let local = host.to_socket_addrs().is_ok_and(|mut all| all.all(|address| address.ip().is_loopback()));
    if !local && config.proxy_api_key.is_none() {
        log::warn(
            "anyone who reaches this port can call the destination with our token",
            &[(
                "hint",
                &"set HOST=127.0.0.1 when the application shares this host or pod, or set PROXY_API_KEY",
            )],
        );
    }
}

/// As many connections as asked for and as there are descriptors for: each takes one, and one to the destination.
pub(super) fn limits(config: &Config, descriptors: Option<u64>) -> Limits {
    let limits = Limits { connections: config.max_connections, ..Limits::default() };
    let descriptors = descriptors.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    let administration = config.admin_port.map_or(0, |_| admin::DESCRIPTORS);
    let spare = descriptors.saturating_sub(DESCRIPTORS_OF_OURS + administration);
    if spare / 2 >= limits.connections + limits.overflow / 2 {
        return limits;
    }
    let overflow = (spare / 8).min(limits.overflow);
    let connections = ((spare - overflow) / 2).clamp(1, limits.connections);
    if connections < limits.connections {
        log::warn(
            "fewer connections than MAX_CONNECTIONS: too few file descriptors",
            &[
                ("descriptors", &descriptors),
                ("connections", &connections),
                ("hint", &"raise ulimit -n (LimitNOFILE)"),
            ],
        );
    }
    Limits { connections, overflow, ..limits }
}
