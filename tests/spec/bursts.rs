//! Many connections at once: every one gets a response.

use std::net::SocketAddr;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use super::Pair;
use crate::client::Client;

const CROWD: usize = 64;

/// Opens connections at once, keeps them all open and uses them all together, twice. Gives the time until the
/// last response of the first round.
fn burst(address: SocketAddr, target: &'static str) -> Duration {
    let start = Arc::new(Barrier::new(CROWD));
    let threads: Vec<_> = (0..CROWD)
        .map(|number| {
            let start = Arc::clone(&start);
            thread::spawn(move || {
                start.wait();
                let begin = Instant::now();
                let mut client = Client::connect(address);
                let target = format!("{target}?n={number}");
                let status = client.get(&target).status;
                let took = begin.elapsed();
                // Nobody leaves before everybody has a response: a place that became free would help the others.
                start.wait();
                assert_eq!((status, client.get(&target).status), (200, 200));
                took
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
}

#[test]
fn connections_opened_at_once_all_get_a_response() {
    let pair = Pair::start_plain();
    for _ in 0..if cfg!(feature = "tiny_http") { 5 } else { 20 } {
        burst(pair.address(), "/sim/status/200");
    }
}

/// With tiny_http's server most of them wait behind busy threads, until a connection to ourselves rescues them.
#[test]
fn a_burst_is_served_within_a_second_beside_a_long_stream() {
    let pair = Pair::start_plain();
    let mut stream = pair.client();
    stream.send("GET", "/sim/sse?events=100000&pause_ms=20", &[], b"").unwrap();
    assert!(!stream.raw.read_some(crate::sim::patience()).unwrap().is_empty());
    let times: Vec<Duration> = (0..5).map(|_| burst(pair.address(), "/health")).collect();
    let slowest = times.iter().max().unwrap();
    assert!(*slowest < Duration::from_secs(1), "{times:?}");
}

/// As often as it was measured for the server that was not taken.
#[test]
#[ignore = "a measurement, for the release binary: make shipped"]
fn a_hundred_bursts() {
    let pair = Pair::start_plain();
    let mut times: Vec<Duration> = (0..100).map(|_| burst(pair.address(), "/sim/status/200")).collect();
    times.sort();
    eprintln!(
        "{CROWD} connections at once, 100 bursts: all served in 100; until the last response: median {:?}, slowest {:?}; {} threads, {} kB",
        times[50],
        times[99],
        pair.proxy.threads(),
        pair.proxy.rss_kb()
    );
}
