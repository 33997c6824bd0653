//! Hostile clients, one kind at a time: the program goes on running, stays small and serves others. Heads and chunk sizes
//! without end are in `unbounded_input`.

use std::time::Duration;

use crate::sim::{Options, Sim, timeout, wait_for};
use crate::support::client::{Ended, Raw};
use crate::support::program::Proxy;
use crate::support::transport::transports;

/// More than it ever takes in a debug build, far less than any of these clients sends.
const MAX_RSS_KB: u64 = 64 * 1024;

/// A proxy for each transport that clients come on.
fn each() -> impl Iterator<Item = (Sim, Proxy)> {
    transports().iter().map(|transport| {
        eprintln!("  {transport:?}");
        let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
        let proxy = Proxy::start_over(*transport, &sim, &[]);
        (sim, proxy)
    })
}

fn assert_unharmed(proxy: &mut Proxy) {
    assert!(proxy.is_running());
    assert_eq!(proxy.client().get("/sim/echo").status, 200);
    assert!(proxy.rss_kb() < MAX_RSS_KB, "RSS is {} kB", proxy.rss_kb());
}

#[test]
fn an_absurd_content_length_and_a_disconnect_do_no_harm() {
    for (_sim, mut proxy) in each() {
        let mut client = proxy.raw();
        client
            .send("POST /sim/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000000000000\r\n\r\nsome bytes")
            .unwrap();
        assert_eq!(proxy.client().get("/sim/echo").status, 200);
        drop(client);
        assert_unharmed(&mut proxy);
    }
}

#[test]
fn a_flood_of_pipelined_requests_is_served() {
    for (_sim, mut proxy) in each() {
        let mut client = proxy.raw();
        // With TLS, the handshake is over before somebody else reads from the socket.
        client.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        assert!(client.read_some(timeout()).unwrap().starts_with(b"HTTP/1.1 200 "));
        let many = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(10_000);
        let mut reader = client.socket().try_clone().unwrap();
        let drain = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()).unwrap_or(0));
        for _ in 0..4 {
            client.send(&many).unwrap();
        }
        client.send("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        assert!(drain.join().unwrap() > 40_000 * 100);
        assert_unharmed(&mut proxy);
    }
}

#[test]
fn http2_prefaces_get_505_and_leave_nothing_open() {
    for (_sim, mut proxy) in each() {
        let (threads, fds) = (proxy.threads(), proxy.fds());
        for i in 0..200 {
            let mut client = proxy.raw();
            client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
            if i % 50 == 0 {
                let (response, ended) = client.read_to_end(timeout());
                assert!(response.starts_with(b"HTTP/1.1 505 "));
                assert_eq!(ended, Ended::Closed);
            }
        }
        assert_unharmed(&mut proxy);
        wait_for("threads and descriptors to be given back", || {
            proxy.threads() <= threads + 8 && proxy.fds() <= fds + 8
        });
    }
}

#[test]
fn resets_before_accept_do_no_harm() {
    for (_sim, mut proxy) in each() {
        for _ in 0..500 {
            proxy.raw().reset();
        }
        assert_unharmed(&mut proxy);
    }
}

#[test]
fn more_connections_than_descriptors_are_survived() {
    for (_sim, mut proxy) in each() {
        limit_descriptors(proxy.pid(), 64);
        for _ in 0..3 {
            let connections: Vec<Raw> = (0..200).map(|_| proxy.raw()).collect();
            drop(connections);
            wait_for("service after the burst", || {
                let mut client = proxy.raw();
                let asked =
                    client.send("GET /sim/echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
                asked.is_ok() && client.read_to_end(Duration::from_secs(5)).0.starts_with(b"HTTP/1.1 200 ")
            });
        }
        wait_for("descriptors to be given back", || proxy.fds() < 40);
        assert_unharmed(&mut proxy);
    }
}

/// Lowers the limit of a process that runs: it did not know when it started.
fn limit_descriptors(pid: u32, limit: u32) {
    let status = std::process::Command::new("prlimit")
        .args(["--pid", &pid.to_string(), &format!("--nofile={limit}:{limit}")])
        .status();
    assert!(status.unwrap().success());
}
