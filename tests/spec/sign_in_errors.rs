//! A sign-in that Entra ID refuses does not end the program:
//!
//! - clients, `/health` and the log have its code, what it means and what to do;
//! - it is logged once, and requests cause no attempt;
//! - a new certificate ends it at once, an upload of the old one within fifteen seconds;
//! - a wrong clock is named, and one that is wrong by some minutes does not matter.

use std::time::Duration;

use serde_json::Value;

use crate::sim::{Options, ScriptedResponse, Sim, replace_file, wait_for};
use crate::support::api::{MODELS, chat, granted};
use crate::support::client::Response;
use crate::support::in_process::InProcess;
use crate::support::program::Proxy;
use crate::support::rotation::Pair;

type Variables<'a> = &'a [(&'a str, &'a str)];

/// The error in a 503 that no retry can mend.
#[track_caller]
fn refusal(response: &Response) -> Value {
    let body = response.json();
    assert_eq!(response.status, 503, "{body}");
    assert_eq!(response.header("content-type").as_deref(), Some("application/json"));
    assert_eq!(response.header("x-should-retry").as_deref(), Some("false"));
    let seconds: u64 = response.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(body["error"]["type"], "authentication_error");
    body["error"].clone()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[test]
fn clients_health_and_log_have_the_code_the_cause_and_the_remedy() {
    let sim = Sim::start(Options::default());
    let rows: [(&str, Variables<'_>, &str, &str); 4] = [
        (
            "another tenant",
            &[("AZURE_TENANT_ID", "99999999-0000-4000-8000-000000000000")],
            "AADSTS90002",
            "check AZURE_TENANT_ID",
        ),
        (
            "another client id",
            &[("AZURE_CLIENT_ID", "99999999-0000-4000-8000-000000000000")],
            "AADSTS700016",
            "check AZURE_CLIENT_ID and AZURE_TENANT_ID",
        ),
        (
            "a scope that does not exist",
            &[("AZURE_SCOPE", "https://cognitiveservice.azure.com/.default")],
            "AADSTS500011",
            "check AZURE_SCOPE",
        ),
        ("a certificate that nobody uploaded", &[], "AADSTS700027", "upload the certificate"),
    ];
    for (sentence, variables, code, remedy) in rows {
        if variables.is_empty() {
            sim.entra.unregister_all();
        }
        let mut proxy = Proxy::start_listening(&sim, variables);
        let logged = proxy.wait_log("token refresh failed");
        let error = refusal(&chat(&mut proxy.client()));
        assert_eq!(text(&error, "code"), code, "{sentence}");
        assert!(text(&error, "message").starts_with("auth-proxy cannot sign in to Entra ID: "), "{sentence}");
        assert!(text(&error, "remedy").contains(remedy), "{sentence}: {error}");
        let health = proxy.health();
        assert_eq!(health.status, 503);
        let health = health.json();
        assert_eq!(text(&health, "status"), "unavailable");
        for name in ["code", "remedy", "trace_id", "correlation_id"] {
            assert_eq!(text(&health, name), text(&error, name), "{sentence}");
            let shown = text(&error, name).trim_start_matches("AADSTS");
            assert!(logged.contains(shown), "{sentence}: {name}: {logged}");
        }
        assert!(text(&health, "reason").contains(code) && logged.contains(" error "), "{sentence}");
        assert!(proxy.is_running());
    }
    assert!(sim.azure.requests().is_empty(), "nothing went to the upstream");
}

#[test]
fn a_refused_sign_in_is_logged_once_and_not_repeated_for_requests() {
    let sim = Sim::start(Options::default());
    sim.entra.unregister_all();
    let proxy = Proxy::start_listening(&sim, &[]);
    proxy.wait_log("token refresh failed");
    let mut client = proxy.client();
    for _ in 0..50 {
        assert_eq!(client.get(MODELS).status, 503);
    }
    assert_eq!(sim.entra.requests().len(), 1, "requests cause no sign-in");
    let logged = proxy.log().iter().filter(|line| line.contains("token refresh failed")).count();
    assert_eq!(logged, 1);
}

#[test]
fn a_certificate_that_entra_id_knows_ends_a_refusal_at_once() {
    let sim = Sim::start(Options::default());
    replace_file(&sim.certificate_path(), &Pair::number(0).pem);
    let proxy = Proxy::start_listening(&sim, &[]);
    proxy.wait_log("token refresh failed");
    let known = Pair::uploaded(1, &sim);
    replace_file(&sim.certificate_path(), &known.pem);
    // A minute's pause after a refusal would be longer than the timeout.
    proxy.wait_healthy();
    assert_eq!(chat(&mut proxy.client()).status, 200);
    proxy.wait_log("token refresh recovered");
}

#[test]
fn an_upload_alone_ends_a_refusal_within_fifteen_seconds() {
    let sim = Sim::start(Options::default());
    sim.entra.unregister_all();
    let proxy = InProcess::start(&sim);
    wait_for("the refusal", || proxy.tokens.status().failures == 1);
    let pem = std::fs::read_to_string(sim.certificate_path()).unwrap();
    sim.entra.register(&pem);
    assert_eq!(proxy.client().get(MODELS).status, 503);
    proxy.mock_clock.advance(Duration::from_secs(15));
    wait_for("a token", || proxy.tokens.usable().is_some());
    assert_eq!(chat(&mut proxy.client()).status, 200);
    assert_eq!(granted(&sim), 1);
}

/// Whoever has waited for the attempt gets the token of it.
#[test]
fn a_request_that_comes_shortly_before_the_next_attempt_waits_for_it() {
    let sim = Sim::start(Options::default());
    sim.entra.script([ScriptedResponse::aadsts(700_213)]);
    let proxy = InProcess::start(&sim);
    wait_for("the refusal", || proxy.tokens.status().failures == 1);
    let due = proxy.tokens.status().unavailable.unwrap().retry_after;
    proxy.mock_clock.advance(due - Duration::from_secs(3));
    let mut client = proxy.client();
    client.send("GET", MODELS, &[], b"").unwrap();
    proxy.mock_clock.advance(Duration::from_secs(3));
    assert_eq!(client.response("GET").unwrap().status, 200);
}

#[test]
fn a_wrong_clock_is_named_with_its_error() {
    let sim = Sim::start(Options::default());
    for (offset, expected) in [(3600, "3600 s behind"), (-3600, "3600 s ahead of")] {
        sim.entra.set_clock(offset, 300);
        let proxy = Proxy::start_listening(&sim, &[]);
        let logged = proxy.wait_log("AADSTS700024");
        let error = refusal(&chat(&mut proxy.client()));
        let remedy = text(&error, "remedy");
        // The response may arrive in the next second.
        let near = expected.replace("3600", if offset > 0 { "3599" } else { "3601" });
        assert!(remedy.contains(expected) || remedy.contains(&near), "{remedy}");
        assert!(remedy.contains("this machine's clock, best by NTP"), "{remedy}");
        assert!(logged.contains(remedy), "{logged}");
    }
}

/// MSAL signs in with such clocks. Entra ID takes a difference of five minutes, but promises that for neither end.
#[test]
fn a_clock_that_is_wrong_by_some_minutes_does_not_matter() {
    let sim = Sim::start(Options::default());
    for (offset, tolerance) in [(400, 300), (-400, 300), (400, 0), (-110, 0)] {
        sim.entra.set_clock(offset, tolerance);
        let before = granted(&sim);
        let proxy = Proxy::start(&sim);
        assert_eq!(chat(&mut proxy.client()).status, 200, "{offset}");
        assert_eq!((granted(&sim), sim.entra.requests().len()), (before + 1, before + 1), "{offset}");
    }
}

#[test]
fn a_temporary_failure_may_be_retried() {
    let sim = Sim::start(Options::default());
    sim.entra.script((0..100).map(|_| ScriptedResponse::aadsts(90033)));
    let proxy = Proxy::start_listening(&sim, &[]);
    proxy.wait_log("AADSTS90033");
    let response = proxy.client().get(MODELS);
    let error = &response.json()["error"];
    assert_eq!((response.status, text(error, "code")), (503, "AADSTS90033"));
    assert_eq!(response.header("x-should-retry"), None);
    assert_eq!(proxy.health().json()["code"], "AADSTS90033");
}
