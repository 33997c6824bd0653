//! More connections than are served, or many at once:
//!
//! - those above `MAX_CONNECTIONS` get 503 with `Retry-After`, which they can read whatever they have sent, and `/health`
//!   goes on responding;
//! - clients that connect and stay silent cannot hide a probe, and a burst closes no connection without a response;
//! - idle connections are closed for new ones, one by one;
//! - 64 connections opened at once are all served, within a second also beside a long stream;
//! - a client that reads its response in drips is disconnected.

use std::time::Duration;

use auth_proxy::testing::Limits;

use crate::limits::{Server, short};
use crate::sim::{Options, Sim, latin1, timeout, wait_for};
use crate::support::client::{Ended, Raw};
use crate::support::fixture::Fixture;
use crate::support::load::burst;
use crate::support::program::{Proxy, is_tiny_http};
use crate::support::transport::transports;

#[test]
fn connections_above_the_cap_get_503_and_probes_get_200() {
    for server in Server::each(&Limits { connections: 2, ..Limits::default() }) {
        let (mut first, mut second) = (server.client(), server.client());
        assert_eq!((first.get("/").status, second.get("/").status), (200, 200));
        for _ in 0..20 {
            let refused = server.client().request("POST", "/", &[], b"body");
            assert_eq!(refused.status, 503);
            assert_eq!(refused.header("retry-after").as_deref(), Some("1"));
            assert_eq!(refused.header("connection").as_deref(), Some("close"));
            assert_eq!(refused.json()["error"]["code"], "overloaded");
            assert_eq!(server.client().get("/health").text(), "ok");
            // Those who were there first do not notice.
            assert_eq!(first.get("/").status, 200);
        }
        drop(second);
        wait_for("another connection to be served", || server.client().get("/").status == 200);
    }
}

#[test]
fn silent_connections_above_the_cap_do_not_hide_a_probe() {
    for server in Server::each(&Limits { connections: 1, overflow: 8, ..Limits::default() }) {
        let mut first = server.client();
        assert_eq!(first.get("/").status, 200);
        let silent: Vec<Raw> = (0..40).map(|_| server.raw()).collect();
        assert_eq!(server.client().get("/health").text(), "ok");
        let mut refused = silent.into_iter().next().unwrap();
        let (response, _) = refused.read_to_end(timeout());
        assert!(response.starts_with(b"HTTP/1.1 503 "));
    }
}

#[test]
fn a_burst_above_the_cap_closes_no_connection_without_a_response() {
    for server in Server::each(&Limits { connections: 1, overflow: 4, ..Limits::default() }) {
        let mut first = server.client();
        assert_eq!(first.get("/").status, 200);
        let burst: Vec<Raw> = (0..100)
            .map(|_| {
                let mut client = server.raw();
                client.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
                client
            })
            .collect();
        for mut client in burst {
            let (response, ended) = client.read_to_end(timeout());
            assert!(response.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&response));
            assert_eq!(ended, Ended::Closed);
        }
    }
}

#[test]
fn a_503_above_the_cap_can_be_read_whatever_the_client_has_sent() {
    for server in Server::each(&Limits { connections: 1, ..Limits::default() }) {
        let mut first = server.client();
        assert_eq!(first.get("/").status, 200);
        let head = "GET / HTTP/1.1\r\nHost: localhost\r\n";
        for sent in [
            // The rest of a head that was refused for its length: unread, it would turn the end into a reset.
            format!("{head}X: {}", "x".repeat(200_000)),
            // The rest of a body.
            format!("{head}Content-Length: 200000\r\n\r\n{}", "x".repeat(200_000)),
            // A head that never ends is refused when its time is over.
            head.to_owned(),
        ] {
            let mut refused = server.raw();
            refused.send(sent).unwrap();
            let (response, ended) = refused.read_to_end(timeout());
            assert!(
                response.starts_with(b"HTTP/1.1 503 ") && response.ends_with(b"}"),
                "{}",
                latin1(&response)
            );
            assert_eq!(ended, Ended::Closed);
            // Its side is still open, so that this is not a reset either.
            refused.send("X").unwrap();
        }
    }
}

/// Three quarters may stay; those above go, and no more of them.
#[test]
fn idle_connections_are_closed_one_by_one_for_new_ones() {
    for server in Server::each(&Limits { connections: 8, ..Limits::default() }) {
        let mut clients: Vec<_> = (0..8).map(|_| server.client()).collect();
        for client in &mut clients {
            assert_eq!(client.get("/").status, 200);
        }
        wait_for("two to be closed", || server.running.connections() == 6);
        let responses = clients.iter_mut().map(|client| client.try_get("/").is_some_and(|r| r.status == 200));
        let kept = responses.filter(|served| *served).count();
        assert_eq!(kept, 6);
    }
}

/// A large head takes memory until its request was sent, not as long as its response streams.
#[test]
fn streams_with_large_heads_are_not_limited_by_the_memory_for_heads() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let proxy = Proxy::start(&sim);
    let cookie = format!("Cookie: {}\r\n", "c".repeat(20_000));
    let streams: Vec<Raw> = (0..70)
        .map(|_| {
            let mut client = proxy.raw();
            let target = "/sim/sse?events=1000&pause_ms=50";
            client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n")).unwrap();
            let first = client.read_some(timeout()).unwrap();
            assert!(first.starts_with(b"HTTP/1.1 200 "), "{}", latin1(&first));
            client
        })
        .collect();
    assert_eq!(streams.len(), 70);
}

/// It reads a little now and then, while bytes always wait for it.
#[test]
fn a_client_that_reads_its_response_in_drips_is_disconnected() {
    for server in Server::each(&short()) {
        let mut client = server.raw();
        client.socket().set_recv_buffer_size(4096).unwrap();
        client.send("GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        wait_for("the response to begin", || server.running.connections() == 1);
        let mut byte = [0];
        wait_for("it to be given up", || {
            let _ = std::io::Read::read(&mut { client.socket() }, &mut byte);
            server.running.connections() == 0
        });
    }
}

#[test]
fn connections_opened_at_once_all_get_a_response() {
    for transport in transports() {
        let fixture = Fixture::over(*transport, false, &[]);
        for _ in 0..if is_tiny_http() { 5 } else { 20 } {
            burst(fixture.proxy.endpoint(), "/sim/status/200");
        }
    }
}

/// With tiny_http's server most of them wait for busy threads, until the server connects to itself.
#[test]
fn a_burst_is_served_within_a_second_beside_a_long_stream() {
    for transport in transports() {
        let fixture = Fixture::over(*transport, false, &[]);
        let mut stream = fixture.client();
        stream.send("GET", "/sim/sse?events=100000&pause_ms=20", &[], b"").unwrap();
        assert!(!stream.raw.read_some(timeout()).unwrap().is_empty());
        let times: Vec<Duration> = (0..5).map(|_| burst(fixture.proxy.endpoint(), "/health")).collect();
        let slowest = times.iter().max().unwrap();
        assert!(*slowest < Duration::from_secs(1), "{times:?}");
    }
}
