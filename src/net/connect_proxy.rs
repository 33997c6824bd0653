//! The egress proxy: CONNECT (RFC 9110 section 9.3.6).

use std::io::{self, Read, Write};
use std::net::IpAddr;

use socket2::Socket;

use super::dial::{self, Wait, WaitError};
use super::dns::{DnsCache, ResolveError};
use super::error::{ConnectError, exhausted};
use super::poll::Ready;
use super::proxy_auth::{Paused, ProxyAuth, ProxyAuthError};
use crate::secret::Secret;

/// The longest response to CONNECT that is read.
const MAX_HEAD: usize = 16 * 1024;

/// An HTTP proxy.
#[derive(Debug)]
pub struct ProxyAddress {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The value of `Proxy-Authorization`, when the URL carries userinfo: `Basic` and the encoded credentials
    /// (RFC 7617).
    pub authorization: Option<Secret<String>>,
}

/// The error when the proxy itself could not be connected: another setting mends it, unless it is our own system that
/// has nothing left to connect with.
fn map_dial_error(error: ConnectError, proxy: &ProxyAddress) -> ConnectError {
    let cause = match &error {
        ConnectError::Connect { cause, .. } if exhausted(cause).is_some() => return error,
        ConnectError::Resolve { cause: ResolveError::Exhausted(_), .. } => return error,
        ConnectError::Connect { cause, .. } => format!("cannot connect to it: {cause}"),
        ConnectError::Resolve { cause, .. } => format!("cannot resolve its name: {cause}"),
        _ => return error,
    };
    ConnectError::EgressProxy { proxy: format!("{}:{}", proxy.host, proxy.port), cause }
}

/// Connects to the proxy and asks it for a tunnel to `host:port`; gives the socket, and the proxy's address.
pub(super) fn open(
    dns: &DnsCache,
    auth: &ProxyAuth,
    proxy: &ProxyAddress,
    host: &str,
    port: u16,
    until: Wait<'_>,
) -> Result<(Socket, IpAddr), ConnectError> {
    let name = || format!("{}:{}", proxy.host, proxy.port);
    let refused = |Paused { error, retry_in }| ConnectError::EgressProxyAuth {
        proxy: name(),
        error,
        retry_in: Some(retry_in),
    };
    // Without credentials there is no account to be locked.
    let attempt = match proxy.authorization {
        None => None,
        Some(_) => match auth.begin(until.deadline).map_err(refused)? {
            Some(attempt) => Some(attempt),
            None => {
                let cause = "another connection through it has timed out, too".into();
                return Err(ConnectError::EgressProxy { proxy: name(), cause });
            }
        },
    };
    let dialed = dial::dial(dns, &proxy.host, proxy.port, until);
    let (socket, address) = dialed.map_err(|error| map_dial_error(error, proxy))?;
    match connect(&socket, proxy, host, port, until) {
        Ok(Response { status: 200..=299, .. }) => {
            if let Some(attempt) = attempt {
                attempt.accepted();
            }
            Ok((socket, address))
        }
        Ok(Response { status: 407, error }) => Err(match attempt {
            Some(attempt) => refused(attempt.refused(error)),
            None => ConnectError::EgressProxyAuth { proxy: name(), error, retry_in: None },
        }),
        Ok(Response { status, .. }) => Err(ConnectError::EgressProxy {
            proxy: name(),
            cause: format!("it refused the connection with status {status}"),
        }),
        Err(error) => {
            let failed =
                |error: io::Error| ConnectError::EgressProxy { proxy: name(), cause: error.to_string() };
            Err(error.or_else(failed))
        }
    }
}

/// What a proxy says to CONNECT.
struct Response {
    status: u16,
    /// What it means if the status is 407.
    error: ProxyAuthError,
}

/// Sends CONNECT over `socket`.
fn connect(
    mut socket: &Socket,
    proxy: &ProxyAddress,
    host: &str,
    port: u16,
    until: Wait<'_>,
) -> Result<Response, WaitError> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some(authorization) = &proxy.authorization {
        request.push_str("Proxy-Authorization: ");
        request.push_str(authorization.expose());
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    let request = zeroize::Zeroizing::new(request.into_bytes());
    // A fresh socket takes this little in one go.
    socket.write_all(&request)?;
    receive(socket, proxy.authorization.is_some(), until)
}

/// Reads the proxy's response byte by byte up to its empty line: what follows belongs to the tunnel.
fn receive(mut socket: &Socket, presented: bool, until: Wait<'_>) -> Result<Response, WaitError> {
    let mut head = Vec::with_capacity(256);
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its response is too long").into());
        }
        match socket.read(&mut byte) {
            Ok(0) => {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection").into());
            }
            Ok(_) => head.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                dial::wait(socket, Ready::READ, until)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    // On the heap: this frame may lie below the TLS handshake, and stack once used stays with the thread.
    let mut headers = vec![httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(&head) {
        Ok(httparse::Status::Complete(_)) => {
            let challenges =
                response.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("proxy-authenticate"));
            let error = ProxyAuthError::new(presented, challenges.map(|field| field.value));
            Ok(Response { status: response.code.unwrap_or(0), error })
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "its response is not HTTP").into()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_proxy_that_cannot_be_reached_is_named_unless_the_system_is_at_fault() {
        let proxy = ProxyAddress { host: "proxy.test".into(), port: 3128, authorization: None };
        let connect = |cause: io::Error| ConnectError::Connect { host: "proxy.test:3128".into(), cause };
        let resolve = |cause| ConnectError::Resolve { host: "proxy.test".into(), cause };
        let out_of = || rustix::io::Errno::MFILE.into();
        let rows = [
            (resolve(ResolveError::NoSuchName), "egress_proxy", "cannot resolve its name"),
            (
                resolve(ResolveError::NoResponse(Duration::from_secs(3))),
                "egress_proxy",
                "no name server responded within 3000 ms",
            ),
            (resolve(ResolveError::Exhausted(Arc::new(out_of()))), "dns", "no resources left"),
            (connect(io::ErrorKind::ConnectionRefused.into()), "egress_proxy", "cannot connect to it"),
            (connect(io::ErrorKind::TimedOut.into()), "egress_proxy", "cannot connect to it"),
            (connect(out_of()), "connect", "open files"),
            (ConnectError::ClientGone, "client_gone", ""),
        ];
        for (error, kind, words) in rows {
            let error = map_dial_error(error, &proxy);
            let text = error.to_string();
            assert_eq!(error.kind(), kind, "{text}");
            assert!(text.contains(words), "{text}");
            assert!(kind != "egress_proxy" || text.starts_with("egress proxy proxy.test:3128: "), "{text}");
        }
    }
}
