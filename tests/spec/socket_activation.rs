//! Sockets that a service manager bound and gives (`LISTEN_FDS`):
//!
//! - they replace `HOST` and `PORT`, several of both kinds are served, and `ADMIN_PORT` is bound as ever;
//! - they stay the service manager's: no file is removed, and who connects after the end waits for the next instance;
//! - a descriptor that cannot be served is named with a remedy.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::sim::{Options, Sim, eventually, timeout};
use crate::support::client::{Client, Raw};
use crate::support::program::{
    Proxy, environment, is_tiny_http, not_on_tiny_http, program, with_environment,
};

/// Becomes the program, with these descriptors from 3 on: a socket of its own, bound here, or the one that is standard input.
const LAUNCHER: &str = "
import fcntl, os, socket, sys
program, names, *wanted = sys.argv[1:]
opened = []
for kind in wanted:
    if kind == 'tcp':
        given = socket.create_server(('127.0.0.1', 0))
    elif kind == 'stdin':
        given = socket.socket(fileno=0)
    elif kind == 'datagram':
        given = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    elif kind == 'connected':
        given, other = socket.socketpair()
    elif kind == 'file':
        given = open('/dev/null')
    else:
        given = socket.socket(socket.AF_UNIX)
        given.bind(kind)
        given.listen()
    opened.append((given, fcntl.fcntl(given.fileno(), fcntl.F_DUPFD, 100)))
for number, (given, descriptor) in enumerate(opened):
    os.dup2(descriptor, 3 + number)
variables = {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': str(len(opened)), 'LISTEN_FDNAMES': names}
os.execve(program, [program], os.environ | variables)
";

fn sim() -> Sim {
    Sim::start(Options { azure_tls: false, ..Options::default() })
}

fn launcher(environment: &[(String, String)], names: &str, wanted: &[&str]) -> Command {
    let mut command = with_environment(Command::new("python3"), environment.to_vec());
    command.env("PATH", std::env::var_os("PATH").unwrap());
    command.args(["-c", LAUNCHER]).arg(program()).arg(names).args(wanted);
    command
}

#[test]
fn several_sockets_replace_host_and_port() {
    if not_on_tiny_http("the server of tiny_http takes addresses alone") {
        return;
    }
    let sim = sim();
    let path = sim.dir.join("given.sock");
    // Nothing listens there: the directory does not exist.
    let variables = [("HOST", "unix:/nonexistent/proxy.sock"), ("ADMIN_PORT", "0")];
    let environment = environment(&sim, &variables);
    let wanted = ["tcp", path.to_str().unwrap()];
    let mut proxy = Proxy::launch(launcher(&environment, "web.socket:local", &wanted), &environment);
    proxy.wait_healthy();
    let unix = proxy.wait_log(&format!(" listening address=unix:{}", path.display()));
    assert!(unix.ends_with(" socket_activation=local"), "{unix}");
    let tcp = proxy.wait_log(" listening address=127.0.0.1:");
    assert!(tcp.ends_with(" socket_activation=web.socket"), "{tcp}");

    assert_eq!(proxy.client().get("/sim/echo").status, 200);
    assert_eq!(Client::new(Raw::try_connect_unix(&path).unwrap()).get("/sim/echo").status, 200);
    proxy.wait_log(" client=unix client_uid=");
    assert_eq!(proxy.admin("/readyz").status, 200);

    proxy.signal("TERM");
    assert_eq!(proxy.wait_exit().code(), Some(0));
    assert!(Path::new(&path).exists(), "who bound it removes it");
}

#[test]
fn a_client_that_comes_between_two_instances_waits_for_the_next() {
    if not_on_tiny_http("the server of tiny_http takes addresses alone") {
        return;
    }
    let sim = sim();
    let manager = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = manager.local_addr().unwrap();
    let environment = environment(&sim, &[]);
    let launch = || {
        let mut command = launcher(&environment, "", &["stdin"]);
        command.stdin(OwnedFd::from(manager.try_clone().unwrap()));
        let proxy = Proxy::launch(command, &environment);
        proxy.wait_healthy();
        proxy
    };
    let mut first = launch();
    assert_eq!(first.address(), address);
    assert_eq!(first.client().get("/sim/echo").status, 200);
    first.signal("TERM");
    assert_eq!(first.wait_exit().code(), Some(0));

    let mut waiting = Client::connect(address);
    waiting.send("GET", "/sim/echo", &[], b"").unwrap();
    let second = launch();
    assert_eq!(waiting.response("GET").unwrap().status, 200);
    assert!(second.log().iter().any(|line| line.ends_with(" socket_activation=unknown")));
}

/// Starts it with what it cannot serve; what it says.
fn refused(environment: &[(String, String)], wanted: &[&str]) -> String {
    let mut child = launcher(environment, "a:b", wanted).stdout(Stdio::null()).spawn().unwrap();
    let status = eventually(|| child.try_wait().unwrap()).expect("it ends");
    let stderr = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert_eq!(status.code(), Some(4), "{stderr}");
    stderr
}

#[test]
fn descriptors_that_cannot_be_served_are_named_with_a_remedy() {
    let sim = sim();
    let environment = environment(&sim, &[]);
    if is_tiny_http() {
        let stderr = refused(&environment, &["tcp"]);
        assert!(
            stderr.contains("socket activation (LISTEN_FDS) is not possible in a build with"),
            "{stderr}"
        );
    }
    for (wanted, expected) in [
        (&["datagram"][..], "descriptor 3 (a) of socket activation: it is not a stream socket"),
        (&["tcp", "connected"], "descriptor 4 (b) of socket activation: it does not listen"),
        (&["file"], "descriptor 3 (a) of socket activation: it is not a socket"),
    ] {
        let stderr = refused(&environment, wanted);
        let expected =
            format!("error: cannot serve {expected}\n  hint: the .socket unit must have ListenStream=");
        assert!(stderr.contains(&expected), "{stderr}");
    }
}

/// The variables are another process's, as those of a parent that did not unset them.
#[test]
fn sockets_for_another_process_are_left_alone() {
    let sim = sim();
    let variables = [("LISTEN_FDS", "1"), ("LISTEN_PID", "1")];
    let proxy = Proxy::start_with(&sim, &variables);
    assert!(!proxy.wait_log(" listening address=").contains("socket_activation"));
    let mut client = proxy.raw();
    client.send("GET /health HTTP/1.0\r\n\r\n").unwrap();
    assert!(client.read_to_end(timeout()).0.starts_with(b"HTTP/1.1 200 "));
}
