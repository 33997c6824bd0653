//! The upstream responds 401:
//!
//! - it is forwarded byte for byte;
//! - a newer token is requested only if that may help, once a minute at most;
//! - a small request is then retried once, on the same connection; a large one is not.

use std::time::Duration;

use crate::sim::{Options, ScriptedResponse, Sim, wait_for};
use crate::support::api::{CHAT, MODELS, chat, granted};
use crate::support::in_process::InProcess;
use crate::support::program::Proxy;

const DENIED: &str = r#"{ "error":  {"code":"PermissionDenied","message":"The principal `x` lacks the required data action `Microsoft.CognitiveServices/accounts/OpenAI/deployments/chat/completions/action` to perform `POST` operation."}}"#;
const MINUTE: Duration = Duration::from_secs(61);

fn denied() -> ScriptedResponse {
    ScriptedResponse::status(401).header("Content-Type", "application/json").body(DENIED)
}

/// One with a token that is older than a minute.
fn aged(sim: &Sim) -> InProcess {
    let proxy = InProcess::start(sim);
    wait_for("a token", || proxy.tokens.usable().is_some());
    proxy.mock_clock.advance(MINUTE);
    proxy
}

#[test]
fn a_401_is_forwarded_unchanged() {
    let sim = Sim::start(Options::default());
    let proxy = Proxy::start(&sim);
    let response = ScriptedResponse::status(401)
        .header("WWW-Authenticate", "Bearer error=\"insufficient_scope\"")
        .header("WWW-Authenticate", "Basic realm=\"x\"")
        .header("apim-request-id", "caf\u{e9}")
        .header("x-should-retry", "true")
        .header("Content-Type", "application/json;odd")
        .body("{ \"statusCode\": 401,\t\"message\": \"\u{fc}\" }\n\n");
    sim.azure.script([response]);
    let response = chat(&mut proxy.client());
    assert_eq!(response.status, 401);
    assert_eq!(response.body, "{ \"statusCode\": 401,\t\"message\": \"\u{fc}\" }\n\n".as_bytes());
    let challenges = ["Bearer error=\"insufficient_scope\"", "Basic realm=\"x\""];
    assert_eq!(response.header_values("www-authenticate"), challenges);
    for (name, value) in [
        ("apim-request-id", "caf\u{e9}"),
        ("x-should-retry", "true"),
        ("content-type", "application/json;odd"),
    ] {
        assert_eq!(response.header(name).as_deref(), Some(value));
    }
    assert_eq!(sim.entra.requests().len(), 1, "the token is too recent to be doubted");
    assert_eq!(sim.azure.requests().len(), 1);
}

#[test]
fn a_thousand_denials_cause_no_token_request() {
    let sim = Sim::start(Options::default());
    sim.azure.at(CHAT, denied());
    let proxy = Proxy::start(&sim);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = proxy.client();
                for _ in 0..250 {
                    let response = chat(&mut client);
                    assert_eq!((response.status, response.text().as_str()), (401, DENIED));
                }
            });
        }
    });
    assert_eq!(sim.entra.requests().len(), 1);
    assert_eq!(sim.azure.requests().len(), 1000, "nothing was repeated");
    assert_eq!(proxy.health().status, 200);
}

#[test]
fn a_thousand_denials_of_an_older_token_cause_one_token_request_a_minute() {
    let sim = Sim::start(Options { token_lifetime: 86_400, ..Options::default() });
    sim.azure.at(CHAT, denied());
    let proxy = aged(&sim);
    for minute in 1..=3 {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut client = proxy.client();
                    for _ in 0..85 {
                        assert_eq!(chat(&mut client).text(), DENIED);
                    }
                });
            }
        });
        assert_eq!(granted(&sim), 1 + minute);
        proxy.mock_clock.advance(MINUTE);
    }
    let repeated = sim.azure.requests().len() - 3 * 4 * 85;
    assert!(repeated <= 3 * 4, "each may have been repeated once, by those under way: {repeated}");
}

#[test]
fn a_small_request_is_retried_with_the_newer_token() {
    let sim = Sim::start(Options::default());
    let proxy = aged(&sim);
    sim.azure.revoke_tokens();
    let mut client = proxy.client();
    assert_eq!(chat(&mut client).status, 200);
    let requests = sim.azure.requests();
    let [first, second] = &requests[..] else { panic!("{} requests", requests.len()) };
    assert_eq!((first.status, second.status), (Some(401), Some(200)));
    assert_eq!((&first.body, &first.target), (&second.body, &second.target));
    assert_ne!(first.bearer(), second.bearer());
    assert_eq!(granted(&sim), 2);

    // Without a body and with one of unknown length, too.
    for _ in 0..2 {
        proxy.mock_clock.advance(MINUTE);
        sim.azure.revoke_tokens();
        assert_eq!(client.get(MODELS).status, 200);
        proxy.mock_clock.advance(MINUTE);
        sim.azure.revoke_tokens();
        let body = "4\r\n{\"mo\r\n1c\r\ndel\":\"gpt-4o\",\"messages\":[]}\r\n0\r\n\r\n";
        let head = format!("POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.raw.send(head + body).unwrap();
        assert_eq!(client.response("POST").unwrap().status, 200);
    }
    assert_eq!(granted(&sim), 6);
}

#[test]
fn a_large_request_is_not_retried_and_the_next_one_is_served() {
    let sim = Sim::start(Options::default());
    let proxy = aged(&sim);
    sim.azure.revoke_tokens();
    let mut client = proxy.client();
    let body = "x".repeat(64 * 1024 + 1);
    let response = client.request("POST", CHAT, &[("Content-Type", "application/json")], body.as_bytes());
    assert_eq!(response.status, 401);
    assert!(response.text().contains("Access token is missing, invalid"), "{}", response.text());
    assert_eq!(sim.azure.requests().len(), 1);
    wait_for("the refresh that it asked for", || granted(&sim) == 2);
    wait_for("the token", || proxy.tokens.status().successes == 2);
    assert_eq!(chat(&mut client).status, 200);
}

#[test]
fn a_refresh_that_fails_leaves_the_401_as_it_is() {
    let sim = Sim::start(Options::default());
    let proxy = aged(&sim);
    sim.azure.revoke_tokens();
    sim.entra.stop();
    let mut client = proxy.client();
    for _ in 0..3 {
        assert_eq!(chat(&mut client).status, 401);
    }
    assert_eq!(sim.azure.requests().len(), 3);
    assert_eq!(proxy.tokens.status().failures, 1, "its own schedule holds while attempts fail");
    assert!(proxy.tokens.usable().is_some(), "the old token stays: the upstream may be wrong");
}

#[test]
fn a_request_is_retried_once_at_most() {
    let sim = Sim::start(Options::default());
    let proxy = aged(&sim);
    sim.azure.at(CHAT, denied());
    assert_eq!(chat(&mut proxy.client()).text(), DENIED);
    assert_eq!((sim.azure.requests().len(), granted(&sim)), (2, 2));
}

#[test]
fn a_client_that_leaves_during_the_wait_for_a_newer_token_ends_its_request() {
    let sim = Sim::start(Options::default());
    let proxy = aged(&sim);
    sim.azure.revoke_tokens();
    sim.entra.script([ScriptedResponse::silence()]);
    let mut client = proxy.client();
    client.send("POST", CHAT, &[("Content-Type", "application/json")], b"{}").unwrap();
    wait_for("the token request", || sim.entra.requests().len() == 2);
    assert_eq!(proxy.metrics.in_flight.value(), 1);
    drop(client);
    wait_for("the end of the request", || proxy.metrics.in_flight.value() == 0);
    assert_eq!(proxy.metrics.clients_gone.value(), 1);
    assert_eq!(proxy.tokens.status().failures, 0, "the token request still waits");
}

/// The 401 is read to its end, so that the connection can be used again.
#[test]
fn a_retry_uses_the_same_connection() {
    let sim = Sim::start(Options::default());
    let proxy = aged(&sim);
    sim.azure.revoke_tokens();
    assert_eq!(chat(&mut proxy.client()).status, 200);
    let requests = sim.azure.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].connection, requests[1].connection);
}
