//! Memory of the release binary: `make shipped`.

use std::thread;
use std::time::Duration;

use crate::sim::{latin1, material, pattern, timeout, wait_for};
use crate::support::client::Raw;
use crate::support::fixture::Fixture;
use crate::support::load::{both_ways, idle_websockets};
use crate::support::transport::transports;

#[test]
fn a_gibibyte_each_way_needs_no_memory() {
    both_ways(1 << 30);
}

#[test]
fn a_thousand_idle_websockets_over_tls_cost_less_than_64_mb() {
    let pem = std::env::temp_dir().join(format!("auth-proxy-tls-{}.pem", std::process::id()));
    std::fs::write(&pem, &material().server).unwrap();
    let path = pem.to_str().unwrap();
    idle_websockets(1000, 60_000, &[("TLS_CERT_FILE", path), ("TLS_KEY_FILE", path)]);
    std::fs::remove_file(pem).unwrap();
}

#[test]
fn a_thousand_idle_websockets_cost_less_than_64_mb() {
    // And 4 MB for the program itself.
    idle_websockets(1000, 60_000, &[]);
}

/// At a time.
const CONNECTIONS: usize = 500;

/// Opens all of them at once, each in the middle of what `begin` sends and awaits, and prints what one costs.
fn cost(what: &str, max_kb: usize, begin: impl Fn(&mut Raw) + Sync) {
    for transport in transports() {
        let fixture = Fixture::over(*transport, true, &[("LOG_LEVEL", "info")]);
        assert_eq!(fixture.client().get("/sim/status/200").status, 200);
        let idle = fixture.proxy.rss_kb();
        let clients: Vec<Raw> = thread::scope(|scope| {
            let opened = || {
                let mut client = fixture.proxy.raw();
                begin(&mut client);
                client
            };
            let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(opened)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        // What is on its way to the upstream has arrived when nothing changes any more.
        let mut all = 0;
        wait_for("the memory in use to stay", || {
            thread::sleep(Duration::from_millis(500));
            std::mem::replace(&mut all, fixture.proxy.rss_kb()) == all
        });
        drop(clients);
        let each = usize::try_from(all - idle).unwrap() / CONNECTIONS;
        eprintln!("{CONNECTIONS} {what}, clients over {transport:?}: {each} KiB each, {all} KiB in all");
        assert!(each <= max_kb, "{what}, {transport:?}: {each} KiB each");
    }
}

#[test]
fn an_open_stream_costs_at_most_50_kib() {
    cost("streams", 50, |client| {
        client.send("GET /sim/sse?events=1000&pause_ms=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        assert!(latin1(&client.read_some(timeout()).unwrap()).starts_with("HTTP/1.1 200 "));
    });
}

/// Twice as much as a stream: its buffers wait in the middle of what ureq does.
#[test]
fn an_upload_that_pauses_costs_at_most_112_kib() {
    let piece = pattern(0, 64 * 1024);
    cost("uploads", 112, |client| {
        client
            .send("POST /sim/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n")
            .unwrap();
        (0..8).for_each(|_| client.send(&piece).unwrap());
    });
}
