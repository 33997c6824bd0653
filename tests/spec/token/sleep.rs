//! Time that passes without us: a stopped process, a connection that takes longer than the token lives.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::in_process::InProcess;
use super::rotation::short_lived;
use super::{MODELS, chat, every_token_was_good, granted, within};
use crate::fixture::Proxy;
use crate::sim::{Options, Sim};

/// Waits until every token so far has expired.
fn all_expired(sim: &Sim) {
    let last = sim.entra.issued().iter().map(|issued| issued.expires).max().unwrap();
    within(Duration::from_secs(10), "the tokens to expire", || Instant::now() > last);
}

#[test]
fn after_a_stop_across_expiry_the_first_request_is_served_with_a_new_token() {
    let sim = Sim::start(short_lived());
    let proxy = Proxy::start(&sim);
    let mut kept = proxy.client();
    for _ in 0..2 {
        // A connection that rests in the pool. Nothing is being sent when it stops: that could not be taken back.
        assert_eq!(chat(&mut kept).status, 200);
        proxy.signal("STOP");
        all_expired(&sim);
        // These are in their sockets when the program wakes.
        let mut crowd: Vec<_> = (0..8).map(|_| proxy.client()).collect();
        crowd.push(kept);
        for client in &mut crowd {
            client.send("GET", MODELS, &[], b"").unwrap();
        }
        proxy.signal("CONT");
        for client in &mut crowd {
            assert_eq!(client.response("GET").unwrap().status, 200);
        }
        assert_eq!(proxy.health().status, 200);
        kept = crowd.pop().unwrap();
    }
    every_token_was_good(&sim);
}

#[test]
fn after_a_stop_without_entra_there_is_503() {
    let sim = Sim::start(short_lived());
    let proxy = Proxy::start(&sim);
    let mut client = proxy.client();
    assert_eq!(chat(&mut client).status, 200);
    proxy.signal("STOP");
    sim.entra.stop();
    all_expired(&sim);
    proxy.signal("CONT");
    assert_eq!(proxy.health().status, 503);
    assert_eq!(chat(&mut client).status, 503);
    sim.entra.restart();
    within(Duration::from_secs(5), "health", || proxy.health().status == 200);
    assert_eq!(chat(&mut client).status, 200);
    every_token_was_good(&sim);
}

/// Its boot clock stands still meanwhile; the wall clock is set afterwards.
#[test]
fn after_a_pause_of_the_machine_the_old_token_is_not_sent() {
    let sim = Sim::start(Options::default());
    let proxy = InProcess::start(&sim);
    assert_eq!(chat(&mut proxy.client()).status, 200);
    sim.azure.revoke_tokens();
    proxy.mock_clock.pause(Duration::from_secs(7200));
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let mut client = proxy.client();
            std::thread::spawn(move || chat(&mut client).status)
        })
        .collect();
    for waiting in waiting {
        assert_eq!(waiting.join().unwrap(), 200);
    }
    assert_eq!(granted(&sim), 2, "one sign-in for all of them");
    assert_eq!(sim.azure.requests().len(), 5, "nothing was sent twice");
    every_token_was_good(&sim);

    sim.entra.stop();
    proxy.mock_clock.pause(Duration::from_secs(7200));
    assert_eq!(proxy.client().get("/health").status, 503);
    assert_eq!(chat(&mut proxy.client()).status, 503);
    assert_eq!(sim.azure.requests().len(), 5);
}

#[test]
fn a_connection_that_takes_longer_than_the_token_lives_carries_the_next_one() {
    let sim = Sim::start(Options { token_lifetime: 2, ..Options::default() });
    // Accepts at once, but lets no byte through before it is told to.
    let gate = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("https://localhost:{}", gate.local_addr().unwrap().port());
    let (arrived, arrivals) = mpsc::channel();
    let (open, opened) = mpsc::channel::<()>();
    let port = sim.azure.server.port();
    std::thread::spawn(move || {
        for (number, client) in gate.incoming().map_while(Result::ok).enumerate() {
            let _ = arrived.send(());
            if number == 0 {
                let _ = opened.recv();
            }
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    let proxy = Proxy::start_with(&sim, &[("API_BASE_URL", &base)]);
    let mut client = proxy.client();
    let body = r#"{"model":"gpt-4o","messages":[]}"#;
    client.send("POST", super::CHAT, &[], body.as_bytes()).unwrap();
    arrivals.recv_timeout(Duration::from_secs(10)).unwrap();
    all_expired_of(&sim, sim.entra.issued().len());
    open.send(()).unwrap();
    assert_eq!(client.response("POST").unwrap().status, 200);
    every_token_was_good(&sim);
    let requests = sim.azure.requests();
    assert_eq!((requests.len(), requests[0].body.as_slice()), (1, body.as_bytes()));
}

/// Waits until the first so many tokens have expired.
fn all_expired_of(sim: &Sim, count: usize) {
    let last = sim.entra.issued()[..count].iter().map(|issued| issued.expires).max().unwrap();
    within(Duration::from_secs(10), "the tokens to expire", || Instant::now() > last);
}
