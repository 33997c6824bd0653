//! The token is there before it is needed, and an expired one is never sent:
//!
//! - requests wait for the first token, for five seconds at most, and only while a sign-in is under way;
//! - while Entra ID fails, in whatever way, the token that is left serves; after it there is 503;
//! - `Retry-After` of Entra ID is honored; a failed refresh is not the last one;
//! - after a stopped process or a paused machine no expired token is sent, and the first request gets a new one.

use std::collections::HashSet;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::sim::{Options, ScriptedResponse, Sim, Step, wait_for};
use crate::support::api::{CHAT, MODELS, chat, every_token_was_good, granted, within};
use crate::support::client::{Client, Response};
use crate::support::in_process::InProcess;
use crate::support::program::Proxy;
use crate::support::rotation::short_lived;
use crate::support::traffic::Traffic;

/// A 503 as OpenAI's SDKs read it.
#[track_caller]
fn unavailable(response: &Response, code: &str) -> String {
    let body = response.json();
    assert_eq!(response.status, 503, "{body}");
    assert_eq!(response.header("content-type").as_deref(), Some("application/json"));
    let error = &body["error"];
    assert_eq!((&error["type"], &error["code"]), (&"authentication_error".into(), &code.into()), "{body}");
    assert!(error["param"].is_null());
    error["message"].as_str().unwrap().to_owned()
}

fn timed(client: &mut Client) -> (Response, Duration) {
    let started = Instant::now();
    let response = client.get(MODELS);
    (response, started.elapsed())
}

#[test]
fn requests_wait_for_the_first_token() {
    let sim = Sim::start(Options::default());
    sim.entra.script([ScriptedResponse::default_behavior().delay(Duration::from_millis(1500))]);
    let proxy = Proxy::start_listening(&sim, &[]);
    let health = proxy.health();
    let reason = health.json()["reason"].as_str().unwrap().to_owned();
    assert!(health.status == 503 && reason.starts_with("there is no access token yet"), "{reason}");
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let mut client = proxy.client();
            std::thread::spawn(move || chat(&mut client).status)
        })
        .collect();
    assert!(sim.azure.requests().is_empty());
    for waiting in waiting {
        assert_eq!(waiting.join().unwrap(), 200);
    }
    assert_eq!((granted(&sim), sim.entra.requests().len()), (1, 1), "one sign-in for all of them");
}

#[test]
fn requests_wait_five_seconds_and_no_longer() {
    let sim = Sim::start(Options::default());
    sim.entra.script([ScriptedResponse::silence()]);
    let proxy = Proxy::start_listening(&sim, &[]);
    let (response, took) = timed(&mut proxy.client());
    let message = unavailable(&response, "token_unavailable");
    let origin = format!("https://localhost:{}", sim.entra.server.port());
    let waiting = format!("there is no access token yet: waiting for the token endpoint {origin}, ");
    assert!(message.contains(&waiting) && message.ends_with(" s so far"), "{message}");
    let health = proxy.health().json();
    assert!(health["reason"].as_str().unwrap().starts_with(&waiting), "{health}");
    assert_eq!(response.header("retry-after").as_deref(), Some("1"));
    assert_eq!(response.header("x-should-retry"), None, "it may well work next time");
    assert!((4500..7000).contains(&took.as_millis()), "{took:?}");
    assert!(sim.azure.requests().is_empty());
}

#[test]
fn requests_do_not_wait_when_no_sign_in_is_under_way() {
    let sim = Sim::start(Options::default());
    let throttled = ScriptedResponse::status(429).header("Retry-After", "30").body("Too Many Requests");
    sim.entra.strict_script([throttled]);
    let proxy = Proxy::start_listening(&sim, &[]);
    proxy.wait_log("token refresh failed");
    let (response, took) = timed(&mut proxy.client());
    let message = unavailable(&response, "token_unavailable");
    assert!(message.contains("the token endpoint responded 429"), "{message}");
    let seconds: u64 = response.header("retry-after").unwrap().parse().unwrap();
    assert!((25..=30).contains(&seconds), "{seconds}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    let health = proxy.health();
    assert_eq!((health.status, health.header("cache-control").as_deref()), (503, Some("no-store")));
}

#[test]
fn it_starts_while_entra_id_is_down_and_serves_within_five_seconds_of_its_return() {
    let sim = Sim::start(Options::default());
    sim.entra.stop();
    let mut proxy = Proxy::start_listening(&sim, &[]);
    wait_for("a few attempts", || {
        proxy.log().iter().filter(|line| line.contains("token refresh failed")).count() >= 3
    });
    let health = proxy.health();
    let reason = health.json()["reason"].as_str().unwrap().to_owned();
    assert!(reason.ends_with("the token endpoint could not be reached"), "{reason}");
    assert!(proxy.is_running());
    sim.entra.restart();
    let took = within(Duration::from_secs(5), "health", || proxy.health().status == 200);
    assert_eq!(chat(&mut proxy.client()).status, 200, "after {took:?}");
    proxy.wait_log("token refresh recovered");
}

/// The first token lives for ten minutes and is to be replaced after a second; that attempt meets this response.
fn survives(name: &str, response: ScriptedResponse, expected: &str) {
    let sim = Sim::start(Options::default());
    sim.entra.script([ScriptedResponse::token(600).refresh_in(1), response]);
    let proxy = Proxy::start(&sim);
    let traffic = Traffic::start(&proxy, 1, Duration::from_millis(20));
    let line = proxy.wait_log("token refresh failed");
    assert!(line.contains(expected), "{name}: {line}");
    assert_eq!(proxy.health().status, 200, "{name}");
    let good_for = line.split("token_usable_for=").nth(1).unwrap();
    assert!(good_for.starts_with("56"), "{name}: a thirtieth of a minute's margin: {line}");
    proxy.wait_log("token refresh recovered");
    traffic.flows(5);
    traffic.end_without_failure();
    assert_eq!(sim.entra.requests().len(), 3, "{name}");
}

#[test]
fn every_useless_response_keeps_the_old_token() {
    let garbage: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let html = "<!DOCTYPE html><html><title>Sign in</title></html>";
    let json =
        |text: &str| ScriptedResponse::status(200).header("Content-Type", "application/json").body(text);
    let moved = ScriptedResponse::status(302).header("Location", "https://localhost:1/elsewhere");
    let truncated = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"access_token\":\"x\"";
    let rows = [
        ("503", ScriptedResponse::status(503).body("Service Unavailable"), "responded 503"),
        ("500 with HTML", ScriptedResponse::status(500).body(html), "responded 500"),
        ("its own transient error", ScriptedResponse::aadsts(90033), "AADSTS90033"),
        (
            "a sign-in page",
            ScriptedResponse::status(200).header("Content-Type", "text/html").body(html),
            "it is not JSON",
        ),
        ("garbage", ScriptedResponse::status(200).body(garbage), "it is not JSON"),
        ("nothing", ScriptedResponse::status(200), "it is empty"),
        ("half of it", ScriptedResponse::raw(truncated), "failed"),
        ("JSON of another kind", json("[1,2]"), "token_type is not Bearer"),
        ("no token", json(r#"{"token_type":"Bearer","expires_in":3600}"#), "access_token is missing"),
        ("100 KB", ScriptedResponse::status(200).body("x".repeat(100_000)), "larger than 64 KiB"),
        ("expired on arrival", ScriptedResponse::token(0), "expired on arrival"),
        ("a redirect", moved, "responded 302"),
        ("no HTTP", ScriptedResponse::raw("SSH-2.0-OpenSSH_9.7\r\n"), "failed"),
        ("a close", ScriptedResponse::steps([Step::Close]), "failed"),
        ("a reset", ScriptedResponse::drop_connection(), "failed"),
    ];
    std::thread::scope(|scope| {
        for (name, response, expected) in rows {
            scope.spawn(move || survives(name, response, expected));
        }
    });
}

#[test]
fn retry_after_is_honored_in_both_forms() {
    let in_three_seconds = || {
        let then = std::time::SystemTime::now() + Duration::from_secs(4);
        let unix = then.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        http_date(unix)
    };
    std::thread::scope(|scope| {
        for by_date in [false, true] {
            scope.spawn(move || {
                let sim = Sim::start(Options::default());
                sim.entra.script([ScriptedResponse::token(600).refresh_in(1)]);
                let proxy = Proxy::start(&sim);
                let value = if by_date { in_three_seconds() } else { "3".into() };
                sim.entra.script([ScriptedResponse::status(429)
                    .header("Retry-After", &value)
                    .body("Too Many Requests")]);
                let traffic = Traffic::start(&proxy, 1, Duration::from_millis(20));
                wait_for("a second token", || granted(&sim) == 2);
                traffic.end_without_failure();
                let requests = sim.entra.requests();
                let [_, throttled, again] = &requests[..] else { panic!("{} requests", requests.len()) };
                let pause = again.at - throttled.at;
                assert!((2900..6000).contains(&pause.as_millis()), "by date {by_date}: {pause:?}");
            });
        }
    });
}

/// `date` of GNU and busybox alike print this.
fn http_date(unix: u64) -> String {
    let out = std::process::Command::new("date")
        .args(["-u", "-d", &format!("@{unix}"), "+%a, %d %b %Y %H:%M:%S GMT"])
        .env("LC_ALL", "C")
        .output();
    String::from_utf8(out.unwrap().stdout).unwrap().trim().to_owned()
}

#[test]
fn a_token_response_that_never_comes_costs_no_request() {
    let sim = Sim::start(Options::default());
    sim.entra.script([ScriptedResponse::token(600).refresh_in(1), ScriptedResponse::silence()]);
    let proxy = Proxy::start(&sim);
    let traffic = Traffic::start(&proxy, 2, Duration::from_millis(10));
    wait_for("a request that hangs", || sim.entra.requests().len() == 2);
    traffic.flows(50);
    traffic.end_without_failure();
    assert_eq!(proxy.health().status, 200);
}

/// A connection that has died unnoticed must not hold up the next attempt.
#[test]
fn every_token_request_has_a_connection_of_its_own() {
    let sim = Sim::start(short_lived());
    sim.entra.script([ScriptedResponse::default_behavior(), ScriptedResponse::aadsts(90033)]);
    let _proxy = Proxy::start(&sim);
    wait_for("three tokens", || granted(&sim) >= 3);
    let connections: Vec<u64> = sim.entra.requests().iter().map(|request| request.connection).collect();
    let different: HashSet<u64> = connections.iter().copied().collect();
    assert_eq!(different.len(), connections.len(), "{connections:?}");
}

#[test]
fn past_the_expiry_there_is_503_and_never_an_expired_token() {
    let sim = Sim::start(Options { token_lifetime: 2, ..Options::default() });
    let proxy = Proxy::start(&sim);
    let traffic = Traffic::start(&proxy, 4, Duration::from_millis(5));
    traffic.flows(50);
    sim.entra.stop();
    proxy.wait_health(503);
    let health = proxy.health().json();
    assert_eq!(health["reason"], "the access token has expired: the token endpoint could not be reached");
    let response = proxy.client().get(MODELS);
    assert_eq!((response.status, response.header("x-should-retry")), (503, None));
    assert_eq!(response.json()["error"]["code"], "token_unavailable");
    let (_, failed) = {
        let before = traffic.served();
        sim.entra.restart();
        let returned = Instant::now();
        within(Duration::from_secs(5), "a request that is served", || traffic.served() > before);
        let took = returned.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
        traffic.end()
    };
    assert!(failed.iter().all(|failure| failure.starts_with("503 ")), "{failed:#?}");
    assert_eq!(chat(&mut proxy.client()).status, 200);
    every_token_was_good(&sim);
}

/// The first failed refresh must not be the last.
#[test]
fn failed_refreshes_in_a_row_cost_no_request() {
    let sim = Sim::start(Options { token_lifetime: 10, refresh_in: Some(1), ..Options::default() });
    sim.entra.script([
        ScriptedResponse::default_behavior(),
        ScriptedResponse::status(500),
        ScriptedResponse::drop_connection(),
    ]);
    let proxy = Proxy::start(&sim);
    let traffic = Traffic::start(&proxy, 1, Duration::from_millis(20));
    wait_for("a second token", || granted(&sim) >= 2);
    let second = sim.entra.issued()[1].token.clone();
    wait_for("a request with it", || {
        sim.azure.requests().iter().any(|request| request.bearer().as_deref() == Some(second.as_str()))
    });
    traffic.end_without_failure();
}

/// Waits until every token so far has expired.
fn all_expired(sim: &Sim) {
    let last = sim.entra.issued().iter().map(|issued| issued.expires).max().unwrap();
    within(Duration::from_secs(10), "the tokens to expire", || Instant::now() > last);
}

#[test]
fn a_process_stopped_past_the_expiry_serves_the_first_request_with_a_new_token() {
    let sim = Sim::start(short_lived());
    let proxy = Proxy::start(&sim);
    let mut kept = proxy.client();
    for _ in 0..2 {
        // A connection that rests in the pool. Nothing is being sent when it stops: that could not be taken back.
        assert_eq!(chat(&mut kept).status, 200);
        proxy.signal("STOP");
        all_expired(&sim);
        // These are in their sockets when the program wakes.
        let mut clients: Vec<_> = (0..8).map(|_| proxy.client()).collect();
        clients.push(kept);
        for client in &mut clients {
            client.send("GET", MODELS, &[], b"").unwrap();
        }
        proxy.signal("CONT");
        for client in &mut clients {
            assert_eq!(client.response("GET").unwrap().status, 200);
        }
        assert_eq!(proxy.health().status, 200);
        kept = clients.pop().unwrap();
    }
    every_token_was_good(&sim);
}

#[test]
fn a_process_stopped_past_the_expiry_responds_503_without_entra_id() {
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
fn a_paused_machine_does_not_send_the_expired_token() {
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
fn a_connection_made_past_the_expiry_carries_the_next_token() {
    let sim = Sim::start(Options { token_lifetime: 2, ..Options::default() });
    // Accepts at once, but lets no byte through before the test opens it.
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
    client.send("POST", CHAT, &[], body.as_bytes()).unwrap();
    arrivals.recv_timeout(Duration::from_secs(10)).unwrap();
    all_expired_of(&sim, sim.entra.issued().len());
    open.send(()).unwrap();
    assert_eq!(client.response("POST").unwrap().status, 200);
    every_token_was_good(&sim);
    let requests = sim.azure.requests();
    assert_eq!((requests.len(), requests[0].body.as_slice()), (1, body.as_bytes()));
}

/// Waits until this many tokens, the first ones, have expired.
fn all_expired_of(sim: &Sim, count: usize) {
    let last = sim.entra.issued()[..count].iter().map(|issued| issued.expires).max().unwrap();
    within(Duration::from_secs(10), "the tokens to expire", || Instant::now() > last);
}
