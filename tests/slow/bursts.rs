//! A measurement: bursts of connections, all of them served. `make shipped`.

use std::time::Duration;

use crate::support::fixture::Fixture;
use crate::support::load::{BURST, burst};

/// As many as docs/decisions/0001-http-server.md reports of tiny_http.
#[test]
fn a_hundred_bursts_are_all_served() {
    let fixture = Fixture::plain();
    let mut times: Vec<Duration> =
        (0..100).map(|_| burst(fixture.proxy.endpoint(), "/sim/status/200")).collect();
    times.sort();
    eprintln!(
        "{BURST} connections at once, 100 bursts: all served in 100; until the last response: median {:?}, slowest {:?}; {} threads, {} kB",
        times[50],
        times[99],
        fixture.proxy.threads(),
        fixture.proxy.rss_kb()
    );
}
