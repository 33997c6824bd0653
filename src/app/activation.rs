//! Sockets that the service manager bound and gives to us: `sd_listen_fds(3)`, a unit's `ListenStream=`. They replace `HOST`
//! and `PORT`.

use socket2::{Domain, Type};

use crate::net::Socket;
use crate::report::Problem;

/// The first descriptor that is given.
const FIRST_DESCRIPTOR: usize = 3;

/// A socket that listens already, and its name in `LISTEN_FDNAMES`: the unit's unless that has a `FileDescriptorName=`.
pub(super) struct GivenSocket {
    pub(super) socket: Socket,
    pub(super) name: String,
}

/// Takes what is given to this process, if anything. To be called once, before anything else is opened: these descriptors
/// are ours because the environment says so.
///
/// # Errors
///
/// The environment is malformed, or one of them cannot be served.
pub(super) fn take() -> Result<Vec<GivenSocket>, Problem> {
    let given = sd_listen_fds::get().map_err(|_| {
        Problem::new("LISTEN_PID or LISTEN_FDS is not a number")
            .hint("a service manager sets both; unset them to listen on HOST and PORT")
    })?;
    let sockets = given.into_iter().enumerate().map(|(number, (name, descriptor))| {
        let name = name.unwrap_or_else(|| "unknown".to_owned());
        let socket = Socket::from(descriptor.into_std());
        match obstacle(&socket) {
            None => Ok(GivenSocket { socket, name }),
            Some(obstacle) => Err(Problem::new(format!(
                "cannot serve descriptor {} ({name}) of socket activation: {obstacle}",
                FIRST_DESCRIPTOR + number
            ))
            .hint("the .socket unit must have ListenStream= with a port or a path, and Accept=no")),
        }
    });
    sockets.collect()
}

/// Why this is not a socket to serve.
fn obstacle(socket: &Socket) -> Option<&'static str> {
    match (socket.r#type(), socket.domain()) {
        (Err(_), _) | (_, Err(_)) => Some("it is not a socket"),
        (Ok(kind), _) if kind != Type::STREAM => Some("it is not a stream socket"),
        (_, Ok(domain)) if ![Domain::IPV4, Domain::IPV6, Domain::UNIX].contains(&domain) => {
            Some("it is neither a TCP nor a Unix socket")
        }
        _ if !socket.is_listener().unwrap_or(false) => Some("it does not listen"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::{TcpListener, UdpSocket};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use super::*;

    #[test]
    fn only_listening_stream_sockets_can_be_served() {
        let path = std::env::temp_dir().join(format!("auth-proxy given {}.sock", std::process::id()));
        let rows: [(OwnedFd, Option<&str>); 6] = [
            (TcpListener::bind("127.0.0.1:0").unwrap().into(), None),
            (UnixListener::bind(&path).unwrap().into(), None),
            (File::open("/dev/null").unwrap().into(), Some("it is not a socket")),
            (UdpSocket::bind("127.0.0.1:0").unwrap().into(), Some("it is not a stream socket")),
            (UnixDatagram::unbound().unwrap().into(), Some("it is not a stream socket")),
            (UnixStream::pair().unwrap().0.into(), Some("it does not listen")),
        ];
        std::fs::remove_file(path).unwrap();
        for (descriptor, expected) in rows {
            let socket = Socket::from(descriptor);
            assert_eq!(obstacle(&socket), expected, "{socket:?}");
        }
    }
}
