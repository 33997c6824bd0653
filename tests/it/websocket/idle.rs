//! What a WebSocket costs while nobody speaks.

use super::link::Link;
use super::{Rig, frame};
use crate::sim::wait_for;

/// Opens so many over TLS, one message each way, and gives the kilobytes that each one added to the proxy.
fn cost_of_one(count: usize) -> u64 {
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
    let after = rig.proxy.rss_kb();
    let (fds, with) = (rig.proxy.fds(), rig.proxy.threads());
    eprintln!(
        "{count} idle WebSockets: {} KB more, {} KB in all, {} threads, {fds} descriptors",
        after - before,
        after,
        with - threads
    );
    drop(open);
    drop(first);
    wait_for("every connection to be given back", || rig.proxy.fds() < fds - count);
    assert_eq!(rig.proxy.client().get("/health").status, 200);
    after.saturating_sub(before) / count as u64
}

#[test]
fn a_hundred_idle_websockets_stay_small() {
    let kb = cost_of_one(100);
    assert!(kb < 64, "{kb} KB each");
}

#[test]
#[ignore = "for the release build: cargo test --release --test it a_thousand_idle -- --ignored --nocapture"]
fn a_thousand_idle_websockets_cost_less_than_64_mb() {
    let kb = cost_of_one(1000);
    assert!(kb < 64, "{kb} KB each");
}
