//! An egress proxy that refuses our credentials: it must not see them again and again, for that locks accounts.

use crate::sim::{Egress, eventually};
use crate::support::client::Response;
use crate::support::faults::{OTHER_CREDENTIALS, chat_once, egress_sim, start_behind_egress};

/// `svc:old`, as `HTTPS_PROXY` has it in these tests.
const OLD: &str = "Basic c3ZjOm9sZA==";

/// A 502 that says what is wrong with the credentials, and when the next attempt is.
#[track_caller]
fn assert_refusal(response: &Response, text: &str) {
    let error = &response.json()["error"];
    assert_eq!((response.status, &error["code"]), (502, &"upstream_egress_proxy".into()));
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(text) && message.contains("; the next attempt is in "), "{message}");
    let seconds: u64 = response.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(response.header("x-should-retry").as_deref(), Some("false"));
}

#[test]
fn a_hundred_requests_with_refused_credentials_cause_one_login() {
    let (sim, egress) = (egress_sim(false), Egress::start(Some(OTHER_CREDENTIALS)));
    let proxy = start_behind_egress(&sim, &egress, "svc:old@");
    proxy.wait_healthy();
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..100).map(|_| scope.spawn(|| chat_once(&proxy))).collect();
        for asked in asking {
            assert_refusal(
                &asked.join().unwrap(),
                "the egress proxy refuses the credentials in HTTPS_PROXY (407)",
            );
        }
    });
    assert_refusal(&chat_once(&proxy), "(407)");
    assert_eq!((egress.requests().len(), egress.refused()), (1, 1));
    let line = proxy.wait_log("request failed");
    for text in ["kind=egress_proxy_auth", "egress proxy 127.0.0.1:", "(407)", "user name and password"] {
        assert!(line.contains(text), "{text}: {line}");
    }
    let counted = "auth_proxy_upstream_errors_total{kind=\"egress_proxy_auth\"} 101\n";
    assert!(proxy.admin("/metrics").text().contains(counted), "{}", proxy.admin("/metrics").text());
}

#[test]
fn sign_in_and_requests_share_a_refusal() {
    let (sim, egress) = (egress_sim(true), Egress::start(Some(OLD)));
    let proxy = start_behind_egress(&sim, &egress, "svc:old@");
    proxy.wait_healthy();
    // The password is changed. The next token request meets that; no request has opened a connection yet.
    egress.demand(OTHER_CREDENTIALS, &["NTLM", "Negotiate"]);
    let line = proxy.wait_log("token refresh failed");
    let text = "refuses the credentials in HTTPS_PROXY (407): it offers NTLM, Negotiate; auth-proxy speaks Basic only";
    assert!(line.contains(&format!("problem=\"the egress proxy {text}\"")), "{line}");
    assert!(line.contains(" error "), "a person must act: {line}");
    assert_eq!(proxy.health().status, 200, "the token is still good");
    assert_refusal(&chat_once(&proxy), text);
    assert_eq!(egress.refused(), 1);
}

#[test]
fn health_and_clients_see_that_sign_in_fails_at_the_egress_proxy() {
    let (sim, egress) = (egress_sim(true), Egress::start(Some(OTHER_CREDENTIALS)));
    let proxy = start_behind_egress(&sim, &egress, "svc:old@");
    let text = "the egress proxy refuses the credentials in HTTPS_PROXY (407)";
    let is_reported = |response: &Response| response.text().contains(text);
    let health = eventually(|| Some(proxy.health()).filter(is_reported)).expect("a reason in /health");
    assert_eq!(health.status, 503);
    let response = chat_once(&proxy);
    assert_eq!((response.status, &response.json()["error"]["code"]), (503, &"token_unavailable".into()));
    assert!(is_reported(&response), "{}", response.text());
    for response in [health, response] {
        let seconds: u64 = response.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
    assert_eq!(egress.refused(), 1);
}

/// No account can be locked: the proxy may let us through at any time.
#[test]
fn without_credentials_every_request_is_tried() {
    let (sim, egress) = (egress_sim(false), Egress::start(Some(OTHER_CREDENTIALS)));
    let proxy = start_behind_egress(&sim, &egress, "");
    proxy.wait_healthy();
    for _ in 0..2 {
        let response = chat_once(&proxy);
        assert_eq!((response.status, response.header("retry-after")), (502, None));
        let text = "the egress proxy demands credentials, and HTTPS_PROXY has none (407)";
        assert!(response.text().contains(text), "{}", response.text());
    }
    assert_eq!(egress.refused(), 2);
}
