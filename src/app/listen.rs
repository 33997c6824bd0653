//! The sockets to listen on, and how many connections the system's limits allow.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
#[cfg(not(feature = "tiny_http"))]
use std::path::Path;
use std::sync::Arc;

use super::{StartError, system};
use crate::config::{Config, Listen};
use crate::log;
use crate::net::Socket;
use crate::ops::admin::{self, Admin};
use crate::report::Problem;
#[cfg(feature = "tiny_http")]
use crate::server::tiny_http;
use crate::server::{Limits, ListenAddress, Listener, Overload, Shutdown};

/// Descriptors besides those of connections: standard streams, pipes, listener, files, token requests, with some to spare.
const DESCRIPTORS_OF_OURS: usize = 24;

/// What a connection takes at most while it is served, counted in memory that is touched: 96 KiB for an upload that has sent
/// half a megabyte and pauses, while ureq holds its buffers (tests/slow/memory.rs). A stream takes less than half.
const MEMORY_PER_CONNECTION: usize = 104 * 1024;
/// What a connection with TLS takes more: its session, and records on their way.
const MEMORY_PER_TLS_SESSION: usize = 8 * 1024;
/// Memory besides that of connections: 3 MiB when idle, 2.3 MiB of large buffers for bodies, and rejected connections.
const MEMORY_OF_OURS: usize = 8 << 20;
/// Served with however little memory: so few need less besides, and fit into the 6 MiB that docker requires at least.
const MIN_CONNECTIONS: usize = 16;

/// What is served: the sockets of the service manager if it gives some, else what `HOST` and `PORT` name.
#[cfg(not(feature = "tiny_http"))]
pub(super) fn bind(config: &Config, given: Vec<Socket>) -> Result<Listener, StartError> {
    if !given.is_empty() {
        return Listener::inherit(given).map_err(|error| system("the options of the sockets given", &error));
    }
    match &config.listen {
        Listen::Tcp { host, port } => bind_tcp(("HOST", host), ("PORT", *port), Listener::bind),
        Listen::Unix(path) => Listener::bind_unix(path).map_err(|error| unix_problem(path, &error)),
    }
}

/// As the other of this name, for a server that takes addresses alone.
#[cfg(feature = "tiny_http")]
pub(super) fn bind(config: &Config, given: Vec<Socket>) -> Result<tiny_http::Listener, StartError> {
    let refused = |what: &str| {
        let problem = Problem::new(format!("{what} is not possible in a build with --features tiny_http"));
        Err(StartError::Listen(problem.hint("use the default build, or set HOST and PORT to an address")))
    };
    match &config.listen {
        _ if !given.is_empty() => refused("socket activation (LISTEN_FDS)"),
        Listen::Tcp { host, port } => bind_tcp(("HOST", host), ("PORT", *port), tiny_http::Listener::bind),
        Listen::Unix(path) => refused(&format!("HOST=unix:{}", path.display())),
    }
}

#[cfg(not(feature = "tiny_http"))]
fn unix_problem(path: &Path, error: &io::Error) -> StartError {
    let directory = path.parent().unwrap_or(path).display();
    let problem = Problem::new(format!("cannot listen on HOST=unix:{}: {error}", path.display()));
    StartError::Listen(problem.hint(match error.kind() {
        ErrorKind::AddrInUse => "stop the other program, or choose another path".to_owned(),
        ErrorKind::AlreadyExists => "choose another path, or remove what is there".to_owned(),
        ErrorKind::NotFound => {
            format!("create the directory {directory}; systemd does it with RuntimeDirectory=")
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            format!("the user of auth-proxy must be allowed to write to the directory {directory}")
        }
        _ => format!("choose a path in a directory that can hold Unix sockets, other than {directory}"),
    }))
}

/// Binds to a host and a port, each with the variable that sets it.
fn bind_tcp<L>(
    (host_variable, host): (&str, &str),
    (variable, port): (&str, u16),
    bind: impl FnOnce(&[SocketAddr]) -> io::Result<L>,
) -> Result<L, StartError> {
    let failed = |error: io::Error| {
        let problem =
            Problem::new(format!("cannot listen on {host_variable}={host} {variable}={port}: {error}"));
        StartError::Listen(match error.kind() {
            ErrorKind::AddrInUse => problem.hint(format!(
                "another program uses this port: choose another {variable}, or 0 for a free one"
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

/// The bound listener on `ADMIN_PORT`, which does not serve yet. Always the built-in server's, whatever serves `PORT`.
pub(super) struct Administration(Listener);

impl Administration {
    /// Binds when `ADMIN_PORT` is set.
    pub(super) fn bind(config: &Config) -> Result<Option<Self>, StartError> {
        let host = ("ADMIN_HOST", config.admin_host.as_str());
        let bound = config.admin_port.map(|port| bind_tcp(host, ("ADMIN_PORT", port), Listener::bind));
        Ok(bound.transpose()?.map(Self))
    }

    /// Starts to serve. It has a shutdown of its own that is never triggered: probes get responses until the process ends.
    pub(super) fn serve(self, admin: Admin) -> Result<(), StartError> {
        let addresses = self.0.addresses();
        let never = Arc::new(Shutdown::new().map_err(|error| system("a pipe", &error))?);
        self.0
            .serve(Arc::new(admin), admin::limits(), never)
            .map_err(|error| system("the administration thread", &error))?;
        for address in &addresses {
            log::info("listening for administration", &[("address", address)]);
        }
        Ok(())
    }
}

/// Warns when clients on other machines may call without proving who they are.
pub(super) fn warn_if_open(config: &Config, addresses: &[ListenAddress]) {
    if !addresses.iter().all(ListenAddress::is_local) && !config.authenticates_callers() {
        let hint = "set PROXY_API_KEY or PROXY_API_KEYS_FILE, or TLS_CLIENT_CA_FILE, \
             or, when the application shares this host or pod, HOST=127.0.0.1 or HOST=unix:/path";
        log::warn(
            "listening beyond loopback without API keys or client certificates: anyone who can reach this port can use the token",
            &[("hint", &hint)],
        );
    }
}

/// As many connections as configured and as the system's limits allow, with a warning when that is fewer.
pub(super) fn limits(config: &Config, descriptors: Option<u64>, memory: Option<u64>) -> Limits {
    let administration = config.admin_port.map_or(0, |_| admin::DESCRIPTORS);
    let configured = Limits {
        connections: config.max_connections,
        descriptors_besides: DESCRIPTORS_OF_OURS + administration,
        ..Limits::default()
    };
    let of_tls = config.tls.as_ref().map_or(0, |_| MEMORY_PER_TLS_SESSION);
    let memory_per_connection = MEMORY_PER_CONNECTION + of_tls;
    let limits = bounded(&configured, descriptors, memory, memory_per_connection);
    let connections = &limits.connections;
    match limits.connections_bound {
        Overload::Descriptors => log::warn(
            "MAX_CONNECTIONS lowered: too few file descriptors",
            &[
                ("descriptors", &descriptors.unwrap_or(u64::MAX)),
                ("connections", connections),
                ("hint", &"raise ulimit -n (LimitNOFILE)"),
            ],
        ),
        Overload::Memory => log::warn(
            "MAX_CONNECTIONS lowered: too little memory",
            &[
                ("memory_bytes", &memory.unwrap_or(u64::MAX)),
                ("connections", connections),
                (
                    "hint",
                    &format!(
                        "raise the memory limit (docker --memory, limits.memory, MemoryMax): {} KiB for each connection and \
                         {} MiB besides; or lower MAX_CONNECTIONS",
                        memory_per_connection / 1024,
                        MEMORY_OF_OURS >> 20
                    ),
                ),
            ],
        ),
        _ => {}
    }
    limits
}

/// The limits asked for, lowered to what these descriptors and this memory (in bytes) are enough for.
fn bounded(
    configured: &Limits,
    descriptors: Option<u64>,
    memory: Option<u64>,
    memory_per_connection: usize,
) -> Limits {
    let mut limits = configured.with_descriptors(descriptors);
    let memory = memory.map(|it| usize::try_from(it).unwrap_or(usize::MAX));
    let enough = memory
        .map_or(usize::MAX, |it| it.saturating_sub(MEMORY_OF_OURS) / memory_per_connection)
        .max(MIN_CONNECTIONS);
    if enough < limits.connections {
        (limits.connections, limits.connections_bound) = (enough, Overload::Memory);
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn there_are_as_many_connections_as_there_is_room_for() {
        use Overload::{Connections, Descriptors, Memory};
        // MAX_CONNECTIONS, descriptors, memory; connections, what keeps them from being more.
        let rows = [
            (1024, None, None, 1024, Connections),
            (1024, Some(65_536), Some(512 * MIB), 1024, Connections),
            (65_536, Some(1 << 20), None, 65_536, Connections),
            // Descriptors alone.
            (1024, Some(1024), None, 437, Descriptors),
            (1024, Some(64), None, 17, Descriptors),
            (1024, Some(3), None, 1, Descriptors),
            (1, Some(0), None, 1, Connections),
            (100, Some(300), None, 100, Connections),
            // Memory alone.
            (1024, None, Some(32 * MIB), 236, Memory),
            (236, None, Some(32 * MIB), 236, Connections),
            (237, None, Some(32 * MIB), 236, Memory),
            (1024, None, Some(112 * MIB), 1024, Connections),
            (1024, None, Some(112 * MIB - 1), 1023, Memory),
            (1024, None, Some(192 * MIB), 1024, Connections),
            (65_536, None, Some(192 * MIB), 1811, Memory),
            (1024, None, Some(8 * MIB), 16, Memory),
            (1024, None, Some(9 * MIB), 16, Memory),
            (1024, None, Some(0), 16, Memory),
            (16, None, Some(0), 16, Connections),
            (1, None, Some(0), 1, Connections),
            (1024, None, Some(u64::MAX), 1024, Connections),
            // The lower of both.
            (1024, Some(64), Some(32 * MIB), 17, Descriptors),
            (1024, Some(40), Some(0), 7, Descriptors),
            (1024, Some(1024), Some(16 * MIB), 78, Memory),
        ];
        for (max, descriptors, memory, connections, bound) in rows {
            let configured =
                Limits { connections: max, descriptors_besides: DESCRIPTORS_OF_OURS, ..Limits::default() };
            let limits = bounded(&configured, descriptors, memory, MEMORY_PER_CONNECTION);
            assert_eq!(
                (limits.connections, limits.connections_bound),
                (connections, bound),
                "{max} {descriptors:?} {memory:?}"
            );
            let needed = 2 * limits.connections + limits.overflow + DESCRIPTORS_OF_OURS;
            assert!(
                descriptors.is_none_or(|it| needed as u64 <= it.max(DESCRIPTORS_OF_OURS as u64 + 2)),
                "{max} {descriptors:?}"
            );
        }
    }
}
