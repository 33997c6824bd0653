//! The service manager hears that the program is ready, and that it stops.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::sim::{Options, ScriptedResponse, Sim, timeout};
use crate::support::program::Proxy;

#[test]
fn the_service_manager_gets_ready_before_the_first_token_and_stopping_at_sigterm() {
    let name = format!("auth-proxy-it-notify-{}", std::process::id());
    let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    manager.set_read_timeout(Some(timeout())).unwrap();
    let receives = |state: &str| {
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).unwrap();
        assert_eq!(String::from_utf8_lossy(&buffer[..length]), state);
    };

    let sim = Sim::start(Options::default());
    sim.entra.script([ScriptedResponse::silence()]);
    let mut proxy = Proxy::start_listening(&sim, &[("NOTIFY_SOCKET", &format!("@{name}"))]);
    receives("READY=1");
    assert_eq!(proxy.health().status, 503, "ready means listening, not signed in");
    proxy.signal("TERM");
    receives("STOPPING=1");
    assert_eq!(proxy.wait_exit().code(), Some(0));
}

#[test]
fn a_service_manager_that_is_gone_is_a_warning() {
    let sim = Sim::start(Options::default());
    let proxy = Proxy::start_with(&sim, &[("NOTIFY_SOCKET", "/nonexistent/notify")]);
    proxy.wait_log("cannot notify the service manager");
}
