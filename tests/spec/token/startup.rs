//! The port is open before the first token is there.

use std::time::{Duration, Instant};

use super::{MODELS, chat, granted, within};
use crate::client::{Client, Response};
use crate::fixture::Proxy;
use crate::sim::{ScriptedResponse, Options, Sim, wait_for};

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
fn nobody_waits_for_a_token_that_is_not_under_way() {
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
fn it_starts_while_entra_is_away_and_serves_within_five_seconds_of_its_return() {
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
