//! At SIGTERM:
//!
//! - the program is not ready at once and accepts no new connections;
//! - requests in flight finish within `SHUTDOWN_GRACE`, those that do not are aborted and never look complete;
//! - the exit code is 0 when everything finished, 1 when something was aborted; a second signal ends it at once.

use crate::sim::{Options, Sim, latin1, timeout, wait_for};
use crate::support::client::Ended;
use crate::support::program::{Proxy, not_on_tiny_http};
use crate::support::transport::{Transport, transports};

fn start(transport: Transport, variables: &[(&str, &str)]) -> (Sim, Proxy) {
    eprintln!("  {transport:?}");
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let proxy = Proxy::start_over(transport, &sim, variables);
    (sim, proxy)
}

/// A proxy with this grace period for each transport that clients come on.
fn each(grace: &'static str) -> impl Iterator<Item = (Sim, Proxy)> {
    transports().iter().map(move |transport| start(*transport, &[("SHUTDOWN_GRACE", grace)]))
}

#[test]
fn streams_that_end_within_the_grace_period_are_complete() {
    for (sim, mut proxy) in each("20s") {
        let streams: Vec<_> = (0..20)
            .map(|_| {
                let mut client = proxy.client();
                std::thread::spawn(move || client.get("/sim/sse?events=6&pause_ms=100"))
            })
            .collect();
        wait_for("the streams to be open", || sim.azure.requests().len() == 20);
        let mut idle = proxy.client();
        assert_eq!(idle.get("/sim/echo").status, 200);
        proxy.signal("TERM");
        proxy.wait_log("stopping");
        wait_for("the listener to close", || proxy.endpoint().try_connect().is_err());
        for stream in streams {
            let response = stream.join().unwrap();
            assert_eq!(response.status, 200);
            assert!(response.fault.is_none(), "{:?}", response.fault);
            assert!(response.text().ends_with("data: [DONE]\n\n"));
        }
        assert_eq!(proxy.wait_exit().code(), Some(0));
    }
}

#[test]
fn a_stream_longer_than_the_grace_period_is_aborted() {
    for (_sim, mut proxy) in each("300ms") {
        let mut client = proxy.raw();
        client.send("GET /sim/sse?events=1000&pause_ms=50 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        assert!(!client.read_some(timeout()).unwrap().is_empty());
        proxy.signal("TERM");
        assert_eq!(proxy.wait_exit().code(), Some(1));
        let (rest, _) = client.read_to_end(timeout());
        assert!(!rest.ends_with(b"0\r\n\r\n"), "an aborted stream looks complete");
    }
}

#[test]
fn a_response_that_the_grace_period_ends_does_not_look_complete() {
    if not_on_tiny_http("tiny_http hides its sockets: the system closes them in order") {
        return;
    }
    // A Unix socket has no reset: there, an end without framing is an end.
    for transport in transports().iter().filter(|transport| **transport != Transport::Unix) {
        let (_sim, mut proxy) = start(*transport, &[("SHUTDOWN_GRACE", "300ms")]);
        let mut client = proxy.raw();
        // HTTP/1.0 has no framing for a stream but the end of the connection.
        client.send("GET /sim/sse?events=1000&pause_ms=50 HTTP/1.0\r\n\r\n").unwrap();
        assert!(!client.read_some(timeout()).unwrap().is_empty());
        proxy.signal("TERM");
        assert_eq!(proxy.wait_exit().code(), Some(1));
        assert_eq!(client.read_to_end(timeout()).1, Ended::Aborted);
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (sim, mut proxy) in each("60s") {
        let mut client = proxy.raw();
        client.send("GET /sim/slow?ms=60000 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        wait_for("the request to be served", || !sim.azure.requests().is_empty());
        proxy.signal("INT");
        proxy.wait_log("stopping");
        proxy.signal("TERM");
        assert_eq!(proxy.wait_exit().code(), Some(1));
    }
}

#[test]
fn an_idle_program_stops_with_success() {
    for (_sim, mut proxy) in each("60s") {
        let mut idle = proxy.client();
        assert_eq!(idle.get("/health").status, 200);
        proxy.signal("TERM");
        assert_eq!(proxy.wait_exit().code(), Some(0));
    }
}

/// It stood in the backlog, or had just connected, when the signal came.
#[test]
fn a_first_request_that_comes_just_after_the_signal_is_served() {
    if not_on_tiny_http("tiny_http closes connections as it likes") {
        return;
    }
    for (_sim, mut proxy) in each("20s") {
        let mut clients: Vec<_> = (0..20).map(|_| proxy.client()).collect();
        proxy.signal("TERM");
        proxy.wait_log("stopping");
        // All before any response is read: they have a second to come.
        clients.iter_mut().for_each(|client| client.send("GET", "/sim/echo", &[], b"").unwrap());
        for client in &mut clients {
            assert_eq!(client.response("GET").unwrap().status, 200);
        }
        assert_eq!(proxy.wait_exit().code(), Some(0));
    }
}

#[test]
fn a_503_sent_at_the_signal_can_be_read() {
    if not_on_tiny_http("tiny_http hides its connections") {
        return;
    }
    for transport in transports() {
        let (sim, mut proxy) = start(*transport, &[("MAX_CONNECTIONS", "1")]);
        // The fixture's own connection may be there a moment longer.
        let mut served = None;
        wait_for("the one connection", || {
            let mut client = proxy.client();
            let is_served = client.get("/sim/echo").status == 200;
            served = Some(client).filter(|_| is_served);
            is_served
        });
        served.as_mut().unwrap().send("GET", "/sim/sse?events=5&pause_ms=100", &[], b"").unwrap();
        wait_for("the stream", || sim.azure.requests().len() == 2);
        let refused: Vec<_> = (0..20)
            .map(|_| {
                let mut client = proxy.raw();
                // The rest of the body would turn the end of the program into a reset.
                let head = "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n";
                client.send([head.as_bytes(), &[b'x'; 100_000]].concat()).unwrap();
                client
            })
            .collect();
        proxy.signal("TERM");
        for mut client in refused {
            let (response, ended) = client.read_to_end(timeout());
            assert!(
                response.starts_with(b"HTTP/1.1 503 ") && response.ends_with(b"}"),
                "{}",
                latin1(&response)
            );
            assert_eq!(ended, Ended::Closed);
        }
        assert_eq!(proxy.wait_exit().code(), Some(0));
    }
}
