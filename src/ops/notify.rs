//! Notifies the service manager of start and shutdown: `sd_notify(3)`, for units with `Type=notify`.
//!
//! Ready means listening, not signed in. The first request may wait for the token, and an outage of Entra ID, or a
//! certificate that is not uploaded yet, would otherwise become a unit that never starts and says nothing over HTTP.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::log;

/// Where the service manager listens: a path, or `@` and a name in the abstract namespace.
const SOCKET: &str = "NOTIFY_SOCKET";

pub(crate) fn ready() {
    notify("READY=1");
}

pub(crate) fn stopping() {
    notify("STOPPING=1");
}

/// Without a service manager nothing is sent; a failure is logged and has no other effect.
fn notify(state: &str) {
    let Some(socket) = std::env::var_os(SOCKET).filter(|socket| !socket.is_empty()) else { return };
    if let Err(error) = send(&socket, state) {
        let socket = socket.to_string_lossy().into_owned();
        log::warn(
            "cannot notify the service manager",
            &[("state", &state), ("socket", &socket), ("error", &error)],
        );
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(socket)?,
        _ => return Err(io::Error::new(ErrorKind::InvalidInput, "neither a path nor an abstract name")),
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn reaches_a_path() {
        let path = std::env::temp_dir().join(format!("auth-proxy-notify-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let manager = UnixDatagram::bind(&path).unwrap();
        let sent = send(path.as_os_str(), "READY=1");
        let _ = std::fs::remove_file(&path);
        sent.unwrap();
        assert_eq!(received(&manager), "READY=1");
    }

    #[test]
    fn reaches_an_abstract_name() {
        let name = format!("auth-proxy-notify-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(OsStr::new(&format!("@{name}")), "STOPPING=1").unwrap();
        assert_eq!(received(&manager), "STOPPING=1");
    }

    #[test]
    fn a_manager_that_is_gone_is_an_error_and_not_a_wait() {
        for socket in ["/nonexistent/notify", "@auth-proxy-nobody", "vsock:2:1234", "notify"] {
            assert!(send(OsStr::new(socket), "READY=1").is_err(), "{socket}");
        }
    }
}
