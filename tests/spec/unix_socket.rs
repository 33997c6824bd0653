//! `HOST=unix:/path`:
//!
//! - the socket is for our user and group, and the log says which process called;
//! - a path that a killed instance left is taken over, one that is in use or no socket is left alone;
//! - it is removed at the end;
//! - `healthcheck` and `wait` find the program there.
//!
//! What else is promised to clients is checked on every transport, where it is promised.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sim::{Options, Sim, wait_for};
use crate::support::program::{Finished, Proxy, environment, run_to_end};
use crate::support::transport::{Endpoint, Transport};

/// A directory that everybody may enter, so that only the socket's own mode keeps somebody out.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("auth-proxy-it-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    fn host(&self, name: &str) -> String {
        format!("unix:{}", self.0.join(name).display())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn sim() -> Sim {
    Sim::start(Options { azure_tls: false, ..Options::default() })
}

fn path(proxy: &Proxy) -> &Path {
    let Endpoint::Unix(path) = proxy.endpoint() else { panic!("{:?} is no Unix socket", proxy.endpoint()) };
    path
}

/// Starts it where it cannot listen.
fn refused(sim: &Sim, host: &str) -> Finished {
    let finished = run_to_end(&[], environment(sim, &[("HOST", host)]));
    assert_eq!(finished.status.code(), Some(4), "{host}: {}", finished.stderr);
    finished
}

#[test]
fn the_socket_is_for_our_user_and_group_and_is_removed_at_the_end() {
    let (sim, directory) = (sim(), Directory::new("mode"));
    let mut proxy = Proxy::start_with(&sim, &[("HOST", &directory.host("proxy.sock")), ("PORT", "none")]);
    let file = fs::symlink_metadata(path(&proxy)).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o660);
    let log = proxy.log().join("\n");
    assert!(log.contains(&format!(" listening address={}\n", directory.host("proxy.sock"))), "{log}");
    assert!(!log.contains("beyond loopback"), "{log}");
    proxy.signal("TERM");
    assert_eq!(proxy.wait_exit().code(), Some(0));
    assert!(!path(&proxy).exists());
}

#[test]
fn the_log_has_the_process_that_called() {
    let sim = sim();
    let proxy = Proxy::start_over(Transport::Unix, &sim, &[]);
    let own = fs::metadata("/proc/self").unwrap();
    let (uid, gid) = {
        use std::os::unix::fs::MetadataExt as _;
        (own.uid(), own.gid())
    };
    let who = format!("client=unix client_uid={uid} client_gid={gid} client_pid={}", std::process::id());
    assert_eq!(proxy.client().get("/sim/echo").status, 200);
    let line = proxy.wait_log(" info  request ");
    assert!(line.contains(&format!(" {who} outcome=completed ")), "{line}");

    proxy.raw().send("no request\r\n\r\n").unwrap();
    let line = proxy.wait_log(" request refused ");
    assert!(line.contains(&format!(" request refused {who} status=400 code=")), "{line}");
}

/// Connects as another user and says what came of it.
fn connect_as(uid: u32, gid: u32, path: &Path) -> String {
    let script = "
import os, socket, sys
uid, gid, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
os.setgroups([]); os.setgid(gid); os.setuid(uid)
client = socket.socket(socket.AF_UNIX)
try:
    client.connect(path)
except PermissionError:
    print('refused')
else:
    client.sendall(b'GET /sim/echo HTTP/1.0\\r\\n\\r\\n')
    print(client.recv(12).decode())
";
    let (uid, gid) = (uid.to_string(), gid.to_string());
    let output = Command::new("python3").args(["-c", script, &uid, &gid]).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_kernel_refuses_other_users() {
    use std::os::unix::fs::MetadataExt as _;
    let own = fs::metadata("/proc/self").unwrap();
    if own.uid() != 0 {
        eprintln!("SKIPPED: only root can be another user");
        return;
    }
    let (sim, directory) = (sim(), Directory::new("users"));
    let proxy = Proxy::start_with(&sim, &[("HOST", &directory.host("proxy.sock"))]);
    assert_eq!(connect_as(65534, 65534, path(&proxy)), "refused");
    assert_eq!(connect_as(65534, own.gid(), path(&proxy)), "HTTP/1.1 200", "our group may");
    let line = proxy.wait_log(" info  request ");
    assert!(line.contains(&format!(" client_uid=65534 client_gid={} ", own.gid())), "{line}");
}

#[test]
fn a_killed_instances_socket_is_taken_over_and_a_live_ones_is_not() {
    let (sim, directory) = (sim(), Directory::new("takeover"));
    let host = directory.host("proxy.sock");
    let mut first = Proxy::start_with(&sim, &[("HOST", &host)]);
    let finished = refused(&sim, &host);
    let expected =
        format!("error: cannot listen on HOST={host}: another program listens there\n  hint: stop the");
    assert!(finished.stderr.contains(&expected), "{}", finished.stderr);
    assert_eq!(first.health().status, 200, "it does not notice");

    first.signal("KILL");
    first.wait_exit();
    assert!(path(&first).exists());
    let mut second = Proxy::start_with(&sim, &[("HOST", &host)]);
    assert_eq!(second.client().get("/sim/echo").status, 200);

    // One that starts while another drains is on the path before that one ends.
    let mut stream = second.client();
    stream.send("GET", "/sim/sse?events=20&pause_ms=50", &[], b"").unwrap();
    wait_for("the stream", || sim.azure.requests().len() == 2);
    second.signal("TERM");
    wait_for("the path to be free", || !path(&second).exists());
    let third = Proxy::start_with(&sim, &[("HOST", &host)]);
    assert!(stream.response("GET").unwrap().fault.is_none());
    assert_eq!(second.wait_exit().code(), Some(0));
    assert_eq!(third.health().status, 200, "its socket is not removed by the one before it");
}

#[test]
fn a_path_that_cannot_be_used_is_named_with_a_remedy() {
    let (sim, directory) = (sim(), Directory::new("foreign"));
    fs::write(directory.0.join("file"), "mine").unwrap();
    fs::create_dir(directory.0.join("directory")).unwrap();
    for (host, expected) in [
        (directory.host("file"), "hint: choose another path, or remove what is there"),
        (directory.host("directory"), "what is there is not a socket"),
        (directory.host("nowhere/proxy.sock"), "systemd does it with RuntimeDirectory="),
        (directory.host("file/proxy.sock"), "hint: choose a path in a directory"),
        ("unix:/sys/proxy.sock".to_owned(), "must be allowed to write to the directory /sys"),
    ] {
        let stderr = refused(&sim, &host).stderr;
        assert!(stderr.contains(&format!("error: cannot listen on HOST={host}: ")), "{stderr}");
        assert!(stderr.contains(expected), "{expected} in {stderr}");
    }
    assert_eq!(fs::read_to_string(directory.0.join("file")).unwrap(), "mine");
}

#[test]
fn healthcheck_and_wait_find_it() {
    let (sim, directory) = (sim(), Directory::new("commands"));
    let host = directory.host("proxy.sock");
    let run = |arguments: &[&str]| run_to_end(arguments, environment(&sim, &[("HOST", &host)]));
    let finished = run(&["healthcheck"]);
    assert_eq!(finished.status.code(), Some(1));
    assert!(
        finished.stderr.contains(&format!("not ready: no response from {host}: ")),
        "{}",
        finished.stderr
    );
    let _proxy = Proxy::start_with(&sim, &[("HOST", &host)]);
    for arguments in [&["healthcheck"][..], &["wait", "--max", "20s"]] {
        let finished = run(arguments);
        assert_eq!(finished.status.code(), Some(0), "{arguments:?}: {}", finished.stderr);
    }
}

#[test]
fn probes_and_metrics_stay_on_a_port_of_the_loopback() {
    let sim = sim();
    let proxy = Proxy::start_over(Transport::Unix, &sim, &[("ADMIN_PORT", "0")]);
    assert!(proxy.admin_address().ip().is_loopback());
    assert_eq!(proxy.admin("/readyz").status, 200);
}
