//! What a WebSocket costs while nobody speaks.

use super::link::Link;
use super::{Rig, frame};
use crate::sim::wait_for;

/// Opens so many over TLS, one message each way, and checks what they add to the proxy's memory.
fn cost(count: usize, most_kb: u64) {
    let rig = Rig::start_with(true, &[("MAX_CONNECTIONS", "4096")]);
    // Threads, agents and the like that come with the first.
    let first = rig.open();
    let (before, threads) = (rig.proxy.rss_kb(), rig.proxy.threads());
    let mut open: Vec<(Link, Link)> = Vec::with_capacity(count);
    for _ in 0..count {
        let (mut client, mut there) = rig.open();
        let message = frame(1, &[b'm'; 100]);
        client.send(&message).unwrap();
        assert_eq!(there.read_exactly(message.len()), message);
        there.send(&message).unwrap();
        assert_eq!(client.read_exactly(message.len()), message);
        open.push((client, there));
    }
    // Buffers are kept for the moment after a message.
    let added = || rig.proxy.rss_kb().saturating_sub(before);
    wait_for("buffers to be given back", || added() < most_kb);
    let (fds, threads) = (rig.proxy.fds(), rig.proxy.threads() - threads);
    eprintln!("{count} idle WebSockets: {} KB and {threads} threads more, {fds} descriptors", added());
    drop(open);
    drop(first);
    wait_for("every connection to be given back", || rig.proxy.fds() < fds - count);
    assert_eq!(rig.proxy.client().get("/health").status, 200);
}

#[test]
fn a_hundred_idle_websockets_stay_small() {
    // Frames of a debug build are twice as large as those of the release; with buffers kept it would be 18 MB.
    cost(100, 16_000);
}

#[test]
#[ignore = "for the release binary: make shipped"]
fn a_thousand_idle_websockets_cost_less_than_64_mb() {
    // And 4 MB for the program itself.
    cost(1000, 60_000);
}
