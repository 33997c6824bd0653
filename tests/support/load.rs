//! Load that the specification applies in small doses and the slow tests in large ones.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use ring::digest;

use super::client::Client;
use super::fixture::Fixture;
use super::transport::Endpoint;
use super::tunnel::{Link, TunnelFixture, frame};
use crate::sim::{latin1, pattern, timeout, wait_for};

/// Downloads so much and checks every byte.
fn download(fixture: &Fixture, count: u64, chunked: bool) {
    let mut client = fixture.client();
    let query = if chunked { "?chunked=1" } else { "" };
    client.raw.send(format!("GET /sim/bytes/{count}{query} HTTP/1.0\r\n\r\n")).unwrap();
    let mut bytes = Vec::new();
    let head = loop {
        bytes.extend(client.raw.read_some(timeout()).unwrap());
        if let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break bytes.drain(..end + 4).collect::<Vec<_>>();
        }
    };
    assert!(latin1(&head).starts_with("HTTP/1.1 200 "));
    let expected = pattern(0, 251 + 64 * 1024);
    let mut at = 0_u64;
    // With TLS, the end is close_notify, or this is an error.
    while !bytes.is_empty() || at == 0 {
        for piece in bytes.chunks(64 * 1024) {
            let phase = usize::try_from(at % 251).unwrap();
            assert!(piece == &expected[phase..phase + piece.len()], "other bytes around {at}");
            at += piece.len() as u64;
        }
        bytes = client.raw.read_some(timeout()).unwrap();
    }
    assert_eq!(at, count);
}

fn upload(fixture: &Fixture, count: u64, chunked: bool) {
    let mut client = fixture.client();
    let framing =
        if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {count}") };
    client.raw.send(format!("POST /sim/upload HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n")).unwrap();
    let piece = pattern(0, 251 * 256);
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut left = count;
    while left > 0 {
        let data = &piece[..piece.len().min(usize::try_from(left).unwrap())];
        hash.update(data);
        if chunked {
            let chunk = [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
            client.raw.send(&chunk).unwrap();
        } else {
            client.raw.send(data).unwrap();
        }
        left -= data.len() as u64;
    }
    if chunked {
        client.raw.send("0\r\n\r\n").unwrap();
    }
    let response = client.response("POST").unwrap().json();
    let sum: String = hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((response["bytes"].as_u64(), response["sha256"].as_str()), (Some(count), Some(sum.as_str())));
}

pub fn both_ways(count: u64) {
    both_ways_through(&Fixture::tls(), count);
}

/// The same through this proxy.
pub fn both_ways_through(fixture: &Fixture, count: u64) {
    for chunked in [false, true] {
        download(fixture, count, chunked);
        upload(fixture, count, chunked);
    }
    let peak = fixture.proxy.peak_rss_kb();
    eprintln!("{count} bytes up and down, twice: RSS at most {peak} kB");
    // What is promised is the release's; a debug build has larger frames.
    let shipped = !cfg!(debug_assertions) || std::env::var_os("AUTH_PROXY_BIN").is_some();
    let limit = if shipped { 20 * 1024 } else { 40 * 1024 };
    assert!(peak < limit, "RSS went up to {peak} kB");
}

/// Connections of a burst.
pub const BURST: usize = 64;

/// Opens connections at once, keeps them all open and uses them all together, twice. Gives the time until the
/// last response of the first round.
pub fn burst(endpoint: &Endpoint, target: &'static str) -> Duration {
    let start = Arc::new(Barrier::new(BURST));
    let threads: Vec<_> = (0..BURST)
        .map(|number| {
            let (start, endpoint) = (Arc::clone(&start), endpoint.clone());
            thread::spawn(move || {
                start.wait();
                let begin = Instant::now();
                let mut client = Client::new(endpoint.connect());
                let target = format!("{target}?n={number}");
                let status = client.get(&target).status;
                let took = begin.elapsed();
                // Nobody leaves before everybody has a response: a thread that became free would help the others.
                start.wait();
                assert_eq!((status, client.get(&target).status), (200, 200));
                took
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
}

/// Opens this many over TLS, one message each way, and checks what they add to the proxy's memory.
pub fn idle_websockets(count: usize, max_kb: u64, variables: &[(&str, &str)]) {
    let fixture = TunnelFixture::start_with(true, &[&[("MAX_CONNECTIONS", "4096")], variables].concat());
    // Threads, agents and the like that come with the first.
    let first = fixture.open();
    let (before, threads) = (fixture.proxy.rss_kb(), fixture.proxy.threads());
    let mut open: Vec<(Link, Link)> = Vec::with_capacity(count);
    for _ in 0..count {
        let (mut client, mut there) = fixture.open();
        let message = frame(1, &[b'm'; 100]);
        client.send(&message).unwrap();
        assert_eq!(there.read_exactly(message.len()), message);
        there.send(&message).unwrap();
        assert_eq!(client.read_exactly(message.len()), message);
        open.push((client, there));
    }
    // Buffers are kept for the moment after a message.
    let added = || fixture.proxy.rss_kb().saturating_sub(before);
    wait_for("buffers to be given back", || added() < max_kb);
    let (fds, threads) = (fixture.proxy.fds(), fixture.proxy.threads() - threads);
    eprintln!("{count} idle WebSockets: {} KB and {threads} threads more, {fds} descriptors", added());
    drop(open);
    drop(first);
    wait_for("every connection to be given back", || fixture.proxy.fds() < fds - count);
    assert_eq!(fixture.proxy.client().get("/health").status, 200);
}
