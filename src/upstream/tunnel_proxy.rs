//! The egress proxy: CONNECT (RFC 9110 section 9.3.6).

use std::io::{self, Read, Write};
use std::net::TcpStream;

use super::dial::Wait;
use super::{Fault, dial};
use crate::config::ProxyAddress;
use crate::sys::Ready;

/// The longest answer to CONNECT that is read.
const MAX_HEAD: usize = 16 * 1024;

/// The fault when the proxy itself could not be connected: another setting mends it.
pub(super) fn not_dialled(fault: Fault) -> Fault {
    match fault {
        Fault::Connect { host, cause } => {
            Fault::EgressProxy { proxy: host, cause: format!("cannot connect to it: {cause}") }
        }
        fault => fault,
    }
}

/// Asks the proxy on the other end of `socket` for a tunnel to `host:port`.
pub(super) fn connect(
    socket: &mut TcpStream,
    proxy: &ProxyAddress,
    host: &str,
    port: u16,
    until: Wait<'_>,
) -> Result<(), Fault> {
    let refused =
        |cause: String| Fault::EgressProxy { proxy: format!("{}:{}", proxy.host, proxy.port), cause };
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
    socket.write_all(&request).map_err(|error| refused(error.to_string()))?;
    match answer(socket, until) {
        Ok(200..=299) => Ok(()),
        Ok(407) => Err(refused("it demands other credentials (407)".into())),
        Ok(status) => Err(refused(format!("it refused the connection with status {status}"))),
        Err(error) if Fault::inside_io(&error).is_some() => Err(Fault::ClientGone),
        Err(error) => Err(refused(error.to_string())),
    }
}

/// Reads the proxy's answer byte by byte up to its empty line: what follows belongs to the tunnel.
fn answer(socket: &mut TcpStream, until: Wait<'_>) -> io::Result<u16> {
    let mut head = Vec::with_capacity(256);
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its answer is too long"));
        }
        match socket.read(&mut byte) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection")),
            Ok(_) => head.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                dial::wait(socket, Ready::READ, until)?;
            }
            Err(error) => return Err(error),
        }
    }
    // On the heap: this frame may lie below the TLS handshake, and stack once used stays with the thread.
    let mut headers = vec![httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(&head) {
        Ok(httparse::Status::Complete(_)) => Ok(response.code.unwrap_or(0)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "its answer is not HTTP")),
    }
}
