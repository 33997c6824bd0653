//! Requests to the proxy that runs with the same environment: in the same container, pod or unit.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::config::{Listen, Probe};
use crate::net::poll::{self, Ready};
use crate::net::{self, HandshakeError, PinnedCertificate, Received, SockAddr, Stream};
use crate::report::{Problem, excerpt};

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A health check is served from memory; slower than this is not healthy.
const TIMEOUT: Duration = Duration::from_secs(3);
/// More than any response of ours.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;
/// Between two requests of `wait`.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Longer than a running program may take to see that its certificate was replaced.
const RELOAD_TIME: Duration = Duration::from_millis(1500);

/// Requests its `/health`, once.
///
/// # Errors
///
/// There is no response, or it says that the proxy is not ready, and why.
pub(crate) fn healthcheck(lookup: Lookup<'_>) -> Result<(), Problem> {
    let target = target(lookup)?;
    probe(&target)
        .map_err(|problem| Problem { message: format!("not ready: {}", problem.message), ..problem })
}

/// Requests it until it is healthy, for so long at most.
///
/// # Errors
///
/// The last response, or why there was none.
pub(crate) fn wait(lookup: Lookup<'_>, max_wait: Duration) -> Result<(), Problem> {
    let target = target(lookup)?;
    let deadline = Instant::now() + max_wait;
    loop {
        let Err(problem) = probe(&target) else { return Ok(()) };
        if Instant::now() + POLL_INTERVAL >= deadline {
            let message = format!("not ready within {} s: {}", max_wait.as_secs_f64(), problem.message);
            return Err(Problem { message, ..problem });
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn target(lookup: Lookup<'_>) -> Result<Probe, Problem> {
    let target = Probe::from_lookup(lookup).map_err(|problems| {
        problems.into_iter().next().unwrap_or_else(|| Problem::new("HOST or PORT is wrong"))
    })?;
    if matches!(target.listen, Listen::Tcp { port: 0, .. }) {
        let variable = if target.path == "/readyz" { "ADMIN_PORT" } else { "PORT" };
        return Err(Problem::new(format!("{variable} is 0, so the port to probe is unknown"))
            .hint(format!("give the proxy and this command the same {variable}")));
    }
    Ok(target)
}

fn probe(target: &Probe) -> Result<(), Problem> {
    let Probe { listen, path, variables, tls } = target;
    let failed = |probed: &str, cause: &dyn std::fmt::Display| {
        Problem::new(format!("no response from {probed}: {cause}"))
            .hint(format!("is auth-proxy running? if not, see its log; {variables} must match the server's"))
    };
    // Read again each time: it may have been replaced.
    let certificate = tls.as_ref().map(PinnedCertificate::load).transpose()?;
    let unchecked = certificate.as_ref().and_then(|it| it.unchecked.as_ref());
    let addresses = addresses(listen, path).map_err(|error| failed(&format!("{listen}{path}"), &error))?;
    // The proxy may listen on fewer than the name has: not every machine has IPv6.
    let mut exchanged = Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "HOST has no address"));
    let mut probed = Vec::new();
    for (name, address) in addresses {
        probed.push(name);
        exchanged = exchange(&address, path, certificate.as_ref());
        if matches!(&exchanged, Err(error) if error.kind() == io::ErrorKind::InvalidData) {
            // Another certificate than the file's: it may have been replaced a moment ago.
            std::thread::sleep(RELOAD_TIME);
            exchanged = exchange(&address, path, certificate.as_ref());
        }
        if exchanged.is_ok() {
            break;
        }
    }
    let probed = probed.join(", ");
    let response = exchanged.map_err(|error| match unchecked {
        // Perhaps it has not started because of them.
        Some(problem) => failed(&probed, &error).hint(problem.to_string()),
        None => failed(&probed, &error),
    })?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    match head.split(' ').nth(1) {
        Some("200") => Ok(()),
        Some("503") => Err(reason(body)),
        Some("400") if body.contains("tls_required") => Err(Problem::new(format!("{probed} speaks TLS"))
            .hint("give the proxy and this command the same TLS_CERT_FILE and TLS_KEY_FILE")),
        _ => Err(failed(&probed, &"the server there is not auth-proxy")),
    }
}

/// Where it may listen, each with its name for messages.
fn addresses(listen: &Listen, path: &str) -> io::Result<Vec<(String, SockAddr)>> {
    match listen {
        Listen::Tcp { host, port } => {
            let addresses = (&**host, *port).to_socket_addrs()?.map(reachable);
            Ok(addresses.map(|address| (format!("{address}{path}"), address.into())).collect())
        }
        Listen::Unix(socket) => Ok(vec![(listen.to_string(), SockAddr::unix(socket)?)]),
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

fn exchange(address: &SockAddr, path: &str, certificate: Option<&PinnedCertificate>) -> io::Result<String> {
    let deadline = Instant::now() + TIMEOUT;
    let socket = net::connect_blocking(address, TIMEOUT)?;
    socket.set_nonblocking(true)?;
    let mut stream = match certificate {
        None => Stream::from(Arc::new(socket)),
        Some(certificate) => certificate.connect(socket)?,
    };
    while let Some(wanted) = stream.poll_handshake().map_err(HandshakeError::into_io)? {
        poll::wait_one(stream.socket(), wanted, Some(deadline))?;
    }
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut left = request.as_bytes();
    while !left.is_empty() || !stream.flush()? {
        let sent = stream.send(left)?;
        left = &left[sent..];
        if sent == 0 {
            poll::wait_one(stream.socket(), Ready::WRITE, Some(deadline))?;
        }
    }
    let (mut response, mut buffer) = (Vec::new(), [0; 4096]);
    // Another program that responds there may do so a byte at a time, or without end.
    while response.len() < MAX_RESPONSE_BYTES && Instant::now() < deadline {
        match stream.receive(&mut buffer)? {
            Received::Eof => return Ok(String::from_utf8_lossy(&response).into_owned()),
            Received::Bytes(count) => response.extend_from_slice(&buffer[..count]),
            Received::WouldBlock => drop(poll::wait_one(stream.socket(), Ready::READ, Some(deadline))?),
        }
    }
    if response.len() < MAX_RESPONSE_BYTES {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(String::from_utf8_lossy(&response).into_owned())
}
