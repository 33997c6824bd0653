//! Processor time of the release binary, for `docs/capacity.md`: of a request, of a new connection, of an event of a stream.

use std::thread;

use crate::support::fixture::Fixture;
use crate::support::program::Proxy;
use crate::support::transport::transports;

const CLIENTS: usize = 8;

/// In user space and in the kernel, in clock ticks of 10 ms.
fn ticks(proxy: &Proxy) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", proxy.pid())).unwrap();
    // The name, in parentheses, may have spaces; utime and stime are the 14th and 15th field.
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// What one of `count` takes when each client does its share; prints it.
fn cost(what: &str, max_us: u64, count: usize, client: impl Fn(&Proxy, usize) + Sync) {
    for transport in transports() {
        let fixture = Fixture::over(*transport, true, &[("LOG_LEVEL", "info")]);
        client(&fixture.proxy, 10);
        let before = ticks(&fixture.proxy);
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| client(&fixture.proxy, count / CLIENTS));
            }
        });
        let us = (ticks(&fixture.proxy) - before) * 10_000 / count as u64;
        eprintln!("{count} {what}, clients over {transport:?}: {us} µs each");
        assert!(us < max_us, "{what}, {transport:?}: {us} µs each");
    }
}

#[test]
fn a_request_takes_less_than_a_millisecond_of_cpu() {
    cost("requests", 1000, 8000, |proxy, count| {
        let mut client = proxy.client();
        (0..count).for_each(|_| assert_eq!(client.get("/sim/status/200").status, 200));
    });
}

#[test]
fn a_connection_of_its_own_for_a_request_takes_less_than_five_milliseconds_of_cpu() {
    cost("connections with a request", 5000, 1600, |proxy, count| {
        (0..count).for_each(|_| assert_eq!(proxy.client().get("/sim/status/200").status, 200));
    });
}

#[test]
fn an_event_of_a_stream_takes_less_than_half_a_millisecond_of_cpu() {
    cost("events", 500, 8000, |proxy, count| {
        let response = proxy.client().get(&format!("/sim/sse?events={count}&pause_ms=10"));
        assert!(response.fault.is_none() && response.text().ends_with("data: [DONE]\n\n"));
    });
}
