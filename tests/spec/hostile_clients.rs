//! The real program under clients that mean it harm, one at a time: it lives, stays small, and serves others.

use std::time::Duration;

use crate::client::{Ended, Raw};
use crate::fixture::Proxy;
use crate::sim::{Options, Sim, patience, wait_for};

/// More than it ever takes in a debug build, far less than any of these clients sends.
const MAX_RSS_KB: u64 = 64 * 1024;

fn start() -> (Sim, Proxy) {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let proxy = Proxy::start(&sim);
    (sim, proxy)
}

fn unharmed(proxy: &mut Proxy) {
    assert!(proxy.is_running());
    assert_eq!(proxy.client().get("/sim/echo").status, 200);
    assert!(proxy.rss_kb() < MAX_RSS_KB, "RSS is {} kB", proxy.rss_kb());
}

#[test]
fn an_absurd_content_length_and_a_disconnect() {
    let (_sim, mut proxy) = start();
    let mut client = Raw::connect(proxy.address());
    client
        .send("POST /sim/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000000000\r\n\r\nsome bytes")
        .unwrap();
    assert_eq!(proxy.client().get("/sim/echo").status, 200);
    drop(client);
    unharmed(&mut proxy);
}

#[test]
fn a_head_of_a_hundred_megabytes() {
    let (_sim, mut proxy) = start();
    let mut client = Raw::connect(proxy.address());
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX: ").unwrap();
    let filler = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while sent < 100 && client.send(&filler).is_ok() {
        sent += 1;
    }
    assert!(sent < 100, "it was all read");
    unharmed(&mut proxy);
}

#[test]
fn an_endless_chunk_size() {
    let (_sim, mut proxy) = start();
    let mut client = Raw::connect(proxy.address());
    client.send("POST /sim/upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let zeros = vec![b'0'; 64 * 1024];
    while client.send(&zeros).is_ok() {}
    unharmed(&mut proxy);
}

#[test]
fn a_flood_of_pipelined_requests() {
    let (_sim, mut proxy) = start();
    let mut client = Raw::connect(proxy.address());
    let many = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10_000);
    let mut reader = client.tcp().try_clone().unwrap();
    let drain = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()).unwrap_or(0));
    for _ in 0..4 {
        client.send(&many).unwrap();
    }
    client.send("GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    assert!(drain.join().unwrap() > 40_000 * 100);
    unharmed(&mut proxy);
}

#[test]
fn http2_prefaces() {
    let (_sim, mut proxy) = start();
    let (threads, fds) = (proxy.threads(), proxy.fds());
    for i in 0..200 {
        let mut client = Raw::connect(proxy.address());
        client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        if i % 50 == 0 {
            let (response, ended) = client.read_to_end(patience());
            assert!(response.starts_with(b"HTTP/1.1 505 "));
            assert_eq!(ended, Ended::Closed);
        }
    }
    unharmed(&mut proxy);
    wait_for("threads and descriptors to be given back", || {
        proxy.threads() <= threads + 8 && proxy.fds() <= fds + 8
    });
}

#[test]
fn resets_before_accept() {
    let (_sim, mut proxy) = start();
    for _ in 0..500 {
        Raw::connect(proxy.address()).reset();
    }
    unharmed(&mut proxy);
}

#[test]
fn more_connections_than_descriptors() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let mut proxy = Proxy::start(&sim);
    limit_descriptors(proxy.pid(), 64);
    for _ in 0..3 {
        let crowd: Vec<Raw> = (0..200).map(|_| Raw::connect(proxy.address())).collect();
        drop(crowd);
        wait_for("service after the crowd", || {
            let mut client = Raw::connect(proxy.address());
            let asked = client.send("GET /sim/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            asked.is_ok() && client.read_to_end(Duration::from_secs(5)).0.starts_with(b"HTTP/1.1 200 ")
        });
    }
    wait_for("descriptors to be given back", || proxy.fds() < 40);
    unharmed(&mut proxy);
}

/// Lowers the limit of a process that runs: it did not know when it started.
fn limit_descriptors(pid: u32, limit: u32) {
    let status = std::process::Command::new("prlimit")
        .args(["--pid", &pid.to_string(), &format!("--nofile={limit}:{limit}")])
        .status();
    assert!(status.unwrap().success());
}
