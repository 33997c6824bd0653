//! Commands that look at a proxy from outside.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::report::Problem;

/// A health check answers from memory; slower than this is not healthy.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks the proxy that runs in the same container, with the same environment, for its `/health`.
///
/// # Errors
///
/// It does not answer, or says that it is not ready, and why.
pub fn healthcheck(lookup: &dyn Fn(&str) -> Option<String>) -> Result<(), Problem> {
    let setting = |name, default: &str| {
        lookup(name)
            .map(|v| v.trim().to_owned())
            .filter(|v| !v.is_empty())
            .unwrap_or_else(|| default.to_owned())
    };
    let (host, port) = (setting("HOST", "0.0.0.0"), setting("PORT", "8080"));
    let address = format!("{host}:{port}");
    let failed =
        |cause: &dyn std::fmt::Display| Problem::new(format!("no answer from {address}/health: {cause}"));

    let port: u16 = port.parse().map_err(|_| failed(&"PORT is not a port"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut addresses = (host, port).to_socket_addrs().map_err(|error| failed(&error))?;
    let address = addresses.next().map(reachable).ok_or_else(|| failed(&"HOST has no address"))?;
    let answer = ask(address).map_err(|error| failed(&error))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.split(' ').nth(1) == Some("200") {
        return Ok(());
    }
    Err(Problem::new(format!("not ready: {}", body.trim())))
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

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
