//! Requests to the proxy that runs with the same environment: in the same container, pod or unit.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::config::Listen;
use crate::net::{self, SockAddr};
use crate::report::{Problem, excerpt};

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A health check is served from memory; slower than this is not healthy.
const TIMEOUT: Duration = Duration::from_secs(3);
/// More than any response of ours.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;
/// Between two requests of `wait`.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Requests its `/health`, where `HOST` and `PORT` say.
///
/// # Errors
///
/// There is no response, or it says that the proxy is not ready, and why.
pub(crate) fn healthcheck(lookup: Lookup<'_>) -> Result<(), Problem> {
    probe(&listen(lookup)?)
        .map_err(|problem| Problem { message: format!("not ready: {}", problem.message), ..problem })
}

/// Requests it until it is healthy, for so long at most.
///
/// # Errors
///
/// The last response, or why there was none.
pub(crate) fn wait(lookup: Lookup<'_>, max_wait: Duration) -> Result<(), Problem> {
    let listen = listen(lookup)?;
    let deadline = Instant::now() + max_wait;
    loop {
        let Err(problem) = probe(&listen) else { return Ok(()) };
        if Instant::now() + POLL_INTERVAL >= deadline {
            let message = format!("not ready within {} s: {}", max_wait.as_secs_f64(), problem.message);
            return Err(Problem { message, ..problem });
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn listen(lookup: Lookup<'_>) -> Result<Listen, Problem> {
    let listen = Listen::from_lookup(lookup).map_err(|problems| {
        problems.into_iter().next().unwrap_or_else(|| Problem::new("HOST or PORT is wrong"))
    })?;
    if matches!(listen, Listen::Tcp { port: 0, .. }) {
        return Err(Problem::new("PORT is 0, so the port to probe is unknown")
            .hint("give the proxy and this command the same PORT"));
    }
    Ok(listen)
}

fn probe(listen: &Listen) -> Result<(), Problem> {
    let failed = |probed: &str, cause: &dyn std::fmt::Display| {
        Problem::new(format!("no response from {probed}: {cause}"))
            .hint("is auth-proxy running? if not, see its log; HOST and PORT must match the server's")
    };
    let addresses = addresses(listen).map_err(|error| failed(&format!("{listen}/health"), &error))?;
    // The proxy may listen on fewer than the name has: not every machine has IPv6.
    let mut exchanged = Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "HOST has no address"));
    let mut probed = Vec::new();
    for (name, address) in addresses {
        probed.push(name);
        exchanged = exchange(&address);
        if exchanged.is_ok() {
            break;
        }
    }
    let probed = probed.join(", ");
    let response = exchanged.map_err(|error| failed(&probed, &error))?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    match head.split(' ').nth(1) {
        Some("200") => Ok(()),
        Some("503") => Err(reason(body)),
        _ => Err(failed(&probed, &"the server there is not auth-proxy")),
    }
}

/// Where it may listen, each with its name for messages.
fn addresses(listen: &Listen) -> io::Result<Vec<(String, SockAddr)>> {
    match listen {
        Listen::Tcp { host, port } => {
            let addresses = (&**host, *port).to_socket_addrs()?.map(reachable);
            Ok(addresses.map(|address| (format!("{address}/health"), address.into())).collect())
        }
        Listen::Unix(path) => Ok(vec![(listen.to_string(), SockAddr::unix(path)?)]),
    }
}

/// The response's reason, and what to do.
fn reason(body: &str) -> Problem {
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |name: &str| json.get(name).and_then(Value::as_str);
    let problem = Problem::new(text("reason").map_or_else(|| excerpt(body), str::to_owned));
    match text("remedy") {
        Some(remedy) => problem.hint(remedy),
        None => problem,
    }
}

/// Listening everywhere includes here.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn exchange(address: &SockAddr) -> io::Result<String> {
    let deadline = Instant::now() + TIMEOUT;
    let mut stream = net::connect_blocking(address, TIMEOUT)?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let (mut response, mut buffer) = (Vec::new(), [0; 4096]);
    // Another program that responds there may do so a byte at a time, or without end.
    while response.len() < MAX_RESPONSE_BYTES {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => response.extend_from_slice(&buffer[..n]),
            // The error on Linux when the timeout has passed.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&response).into_owned())
}
