//! Entra ID fails in every way it can: nobody notices while the old token is good, and nobody gets an expired one.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::rotation::short_lived;
use super::traffic::Traffic;
use super::{MODELS, chat, every_token_was_good, granted, within};
use crate::fixture::Proxy;
use crate::sim::{ScriptedResponse, Options, Sim, Step, wait_for};

/// The first token lives for ten minutes and is to be replaced after a second; that attempt meets this response.
fn survives(name: &str, response: ScriptedResponse, expected: &str) {
    let sim = Sim::start(Options::default());
    sim.entra.script([ScriptedResponse::token(600).refresh_in(1), response]);
    let proxy = Proxy::start(&sim);
    let traffic = Traffic::start(&proxy, 1, Duration::from_millis(20));
    let told = proxy.wait_log("token refresh failed");
    assert!(told.contains(expected), "{name}: {told}");
    assert_eq!(proxy.health().status, 200, "{name}");
    let good_for = told.split("token_usable_for=").nth(1).unwrap();
    assert!(good_for.starts_with("56"), "{name}: a thirtieth of a minute's margin: {told}");
    proxy.wait_log("token refresh recovered");
    traffic.flows(5);
    traffic.end_without_failure();
    assert_eq!(sim.entra.requests().len(), 3, "{name}");
}

#[test]
fn every_useless_response_keeps_the_old_token() {
    let garbage: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let html = "<!DOCTYPE html><html><title>Sign in</title></html>";
    let json = |text: &str| ScriptedResponse::status(200).header("Content-Type", "application/json").body(text);
    let moved = ScriptedResponse::status(302).header("Location", "https://localhost:1/elsewhere");
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"access_token\":\"x\"";
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
        ("half of it", ScriptedResponse::raw(cut), "failed"),
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
fn retry_after_is_honoured_in_both_forms() {
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
                sim.entra
                    .script([ScriptedResponse::status(429).header("Retry-After", &value).body("Too Many Requests")]);
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
fn past_expiry_there_is_503_and_never_an_expired_token() {
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

/// NEIGHBOURS 1: the first failed refresh must not be the last.
#[test]
fn failures_in_a_row_are_made_up_for() {
    let sim = Sim::start(Options { token_lifetime: 10, refresh_in: Some(1), ..Options::default() });
    sim.entra.script([ScriptedResponse::default_behavior(), ScriptedResponse::status(500), ScriptedResponse::drop_connection()]);
    let proxy = Proxy::start(&sim);
    let traffic = Traffic::start(&proxy, 1, Duration::from_millis(20));
    wait_for("a second token", || granted(&sim) >= 2);
    let second = sim.entra.issued()[1].token.clone();
    wait_for("a request with it", || {
        sim.azure.requests().iter().any(|request| request.bearer().as_deref() == Some(second.as_str()))
    });
    traffic.end_without_failure();
}
