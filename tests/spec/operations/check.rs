//! `auth-proxy check`: every step with its remedy, one exit code for each kind of fault, and never a secret.

use serde_json::{Value, json};

use crate::sim::{Egress, Options, ScriptedResponse, Sim, temp_dir};
use crate::support::program::{Finished, Proxy, environment, run_to_end};

fn check(sim: &Sim, variables: &[(&str, &str)]) -> Finished {
    let finished = run_to_end(&["check"], environment(sim, variables));
    let output = format!("{}{}", finished.stdout, finished.stderr);
    for issued in sim.entra.issued() {
        let secret = issued.token.rsplit('.').next().unwrap();
        assert!(!output.contains(secret) && !output.contains("eyJ"), "the token is shown: {output}");
    }
    finished
}

/// The first words of each step's line.
fn steps(finished: &Finished) -> Vec<String> {
    let heads = finished.stdout.lines().filter(|line| !line.starts_with(' '));
    let words = |line: &str| {
        line.split([':', ' ']).filter(|word| !word.is_empty()).take(2).collect::<Vec<_>>().join(" ")
    };
    heads.map(words).collect()
}

#[track_caller]
fn assert_steps(finished: &Finished, outcomes: [&str; 5], code: i32) {
    let names = ["settings", "certificate", "authority", "sign-in", "upstream"];
    let expected: Vec<_> =
        outcomes.iter().zip(names).map(|(outcome, name)| format!("{outcome} {name}")).collect();
    assert_eq!(steps(finished), expected, "{finished:#?}");
    assert_eq!(finished.status.code(), Some(code), "{finished:#?}");
}

const OK: [&str; 5] = ["ok"; 5];

#[test]
fn five_good_steps_are_reported_as_text_and_as_json() {
    let sim = Sim::start(Options::default());
    let finished = check(&sim, &[("LOG_LEVEL", "info")]);
    assert_steps(&finished, OK, 0);
    assert_eq!(finished.stderr, "");
    let key = "RSA, 2048 bits, belongs to this certificate";
    for expected in ["CN=auth-proxy test", key, "agrees with the authority's"] {
        assert!(finished.stdout.contains(expected), "{expected}: {}", finished.stdout);
    }
    let request = &sim.azure.requests()[0];
    assert_eq!((request.method.as_str(), request.target().as_str()), ("GET", "/openai/v1/models"));

    let finished = run_to_end(&["check", "--json"], environment(&sim, &[("LOG_FORMAT", "json")]));
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!((report["ok"].as_bool(), report["exit_code"].as_u64()), (Some(true), Some(0)));
    let step = |index: usize| report["steps"][index]["details"].clone();
    assert_eq!(step(1)["thumbprint_sha1"].as_str().unwrap().len(), 40);
    assert_eq!(step(1)["thumbprint_sha256"].as_str().unwrap().len(), 64);
    assert!(step(1)["days_left"].as_u64().unwrap() > 0);
    assert_eq!(step(3)["lifetime_seconds"], 3600);
    assert_eq!(step(3)["application"], sim.options().client_id);
    assert_eq!(step(3)["audience"], "https://cognitiveservices.azure.com");
    assert_eq!(step(3)["roles"], json!([]));
    assert_eq!(step(4)["status"], 200);
}

#[test]
fn a_misspelled_setting_is_reported_by_check_and_at_the_start() {
    let sim = Sim::start(Options::default());
    let variables = [("PROXY_APIKEY", "hunter2hunter2"), ("AZURE_CLIENT_SECRET", "hunter2hunter2")];
    let expected = [
        "PROXY_APIKEY is set, but is not a setting and has no effect",
        "did you mean PROXY_API_KEY?",
        "AZURE_CLIENT_SECRET is set, but is not used",
    ];
    let finished = check(&sim, &variables);
    assert_steps(&finished, OK, 0);
    let proxy = Proxy::start_with(&sim, &variables);
    for text in expected {
        assert_eq!(finished.stdout.matches(text).count(), 1, "{text}: {}", finished.stdout);
        assert_eq!(proxy.log().iter().filter(|line| line.contains(text)).count(), 1, "{:#?}", proxy.log());
    }
    assert!(!(finished.stdout + &proxy.log().join("\n")).contains("hunter2"));
    let warned = proxy.wait_log("PROXY_APIKEY");
    assert!(warned.contains(" warn "), "{warned}");
}

#[test]
fn check_requests_models_below_the_base_path() {
    let sim = Sim::start(Options::default());
    for base in ["/openai", "/openai/v1"] {
        assert_steps(&check(&sim, &[("API_BASE_URL", &(sim.azure_url() + base))]), OK, 0);
        assert_eq!(sim.azure.requests().pop().unwrap().target(), "/openai/v1/models");
    }
}

#[test]
fn check_reports_all_wrong_settings_together() {
    let sim = Sim::start(Options::default());
    let finished = check(&sim, &[("PORT", "x"), ("AZURE_CLIENT_ID", ""), ("SSL_CERT_FILE", "")]);
    assert_eq!(finished.status.code(), Some(2));
    assert_eq!(finished.stdout.matches("failed   settings: ").count(), 2, "{}", finished.stdout);
    assert_eq!(finished.stdout.matches("skipped ").count(), 4);
    let finished = check(&sim, &[("SSL_CERT_FILE", "/does/not/exist")]);
    assert_eq!(finished.status.code(), Some(2));
    assert!(sim.entra.requests().is_empty());
}

#[test]
fn check_tests_the_authority_although_the_certificate_is_bad() {
    let sim = Sim::start(Options::default());
    let finished = check(&sim, &[("AZURE_CERTIFICATE_PATH", "/does/not/exist")]);
    assert_steps(&finished, ["ok", "failed", "ok", "skipped", "skipped"], 3);
    assert!(finished.stdout.contains("certificate file /does/not/exist does not exist\n           hint: "));
}

#[test]
fn check_works_with_workload_identity() {
    let sim = Sim::start(Options::default());
    let dir = temp_dir("check");
    let file = dir.join("token");
    std::fs::write(&file, "e30.e30.c2lnbmF0dXJl").unwrap();
    sim.entra.expect_federated("e30.e30.c2lnbmF0dXJl");
    let path = file.to_str().unwrap();
    let finished = check(&sim, &[("AZURE_CERTIFICATE_PATH", ""), ("AZURE_FEDERATED_TOKEN_FILE", path)]);
    assert_steps(&finished, OK, 0);
    assert!(finished.stdout.contains(path) && !finished.stdout.contains("c2lnbmF0dXJl"));
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn check_explains_an_authority_that_cannot_be_reached_or_refuses() {
    let sim = Sim::start(Options::default());
    let finished = check(&sim, &[("AZURE_AUTHORITY_HOST", "localhost:1")]);
    assert_steps(&finished, ["ok", "ok", "failed", "skipped", "skipped"], 5);
    assert!(finished.stdout.contains("hint: check firewall and network policy"), "{}", finished.stdout);
    sim.entra.script([ScriptedResponse::default_behavior(), ScriptedResponse::aadsts(700_027)]);
    let finished = check(&sim, &[]);
    assert_steps(&finished, ["ok", "ok", "ok", "failed", "skipped"], 5);
    for expected in ["AADSTS700027", "hint: upload the certificate", "trace id "] {
        assert!(finished.stdout.contains(expected), "{expected}: {}", finished.stdout);
    }
}

#[test]
fn check_reports_a_wrong_clock_before_it_is_refused() {
    let sim = Sim::start(Options::default());
    sim.entra.set_clock(-100, 0);
    let finished = check(&sim, &[]);
    assert!(finished.stdout.contains(" s ahead of the authority's: set it (NTP)"), "{}", finished.stdout);
}

#[test]
fn check_explains_what_the_upstream_responds() {
    let sim = Sim::start(Options::default());
    let error = |status, message: &str| {
        ScriptedResponse::status(status).json(&json!({"error": {"message": message}}))
    };
    let denied = "The principal `x` lacks the required data action `y` to perform `GET /openai/models`.";
    let role = "Cognitive Services OpenAI User";
    let closed = "Public access is disabled. Please configure private endpoint.";
    let subdomain = "Please provide a custom subdomain for token authentication";
    let moved = ScriptedResponse::status(302).header("Location", "https://login.example/x?y=1");
    let rows = [
        (error(401, denied), "signed in, but not authorized", role),
        (
            error(401, "The access token is from wrong issuer or its audience is incorrect."),
            "does not accept the token; the token's audience may be wrong",
            "hint: set AZURE_SCOPE=https://ai.azure.com/.default",
        ),
        (error(401, "Unauthorized"), "does not accept the token", "check AZURE_SCOPE"),
        (error(401, "Access denied due to invalid subscription key"), "requires a key", "own name"),
        (error(403, closed), "network rules", "private endpoint"),
        (error(403, "no"), "not allowed to do this", role),
        (error(404, "Resource not found"), "no such path", "the path of API_BASE_URL precedes"),
        (error(400, subdomain), "keys only, no tokens", "own name"),
        (moved, "a redirect to login.example", "the API itself"),
        (ScriptedResponse::status(502).body("<html>"), "has failed", "retry"),
    ];
    for (response, meaning, remedy) in rows {
        sim.azure.script([response.header("apim-request-id", "r-1")]);
        let finished = check(&sim, &[]);
        assert_steps(&finished, ["ok", "ok", "ok", "ok", "failed"], 6);
        assert!(finished.stdout.contains(meaning) && finished.stdout.contains(remedy), "{}", finished.stdout);
        assert!(!finished.stdout.contains("y=1"), "{}", finished.stdout);
    }
    assert_eq!(sim.azure.requests().len(), 10, "nothing is repeated or followed");
    sim.azure.script([ScriptedResponse::status(429)]);
    let finished = check(&sim, &[]);
    assert_steps(&finished, OK, 0);
    assert!(finished.stdout.contains("limits the request rate"));
}

#[test]
fn check_suggests_the_other_audience() {
    let sim = Sim::start(Options::default());
    let refusal =
        || ScriptedResponse::status(401).json(&json!({"error": {"message": "audience is incorrect"}}));
    let cognitive = "https://cognitiveservices.azure.com/.default";
    for (scope, other) in [
        ("", "https://ai.azure.com/.default"),
        ("https://ai.azure.com/.default", cognitive),
        ("https://ai.azure.us/.default", cognitive),
    ] {
        sim.azure.script([refusal()]);
        let finished = check(&sim, &[("AZURE_SCOPE", scope)]);
        assert_eq!(finished.status.code(), Some(6), "{finished:?}");
        let hint = format!("hint: set AZURE_SCOPE={other}\n");
        assert!(finished.stdout.contains(&hint), "{scope}: {}", finished.stdout);
    }
}

#[test]
fn check_explains_an_upstream_that_cannot_be_reached_or_trusted() {
    let sim = Sim::start(Options { entra_tls: false, ..Options::default() });
    let failed = ["ok", "ok", "ok", "ok", "failed"];
    let finished = check(&sim, &[("API_BASE_URL", "https://localhost:1")]);
    assert_steps(&finished, failed, 6);
    let finished = check(&sim, &[("API_BASE_URL", "https://no-such-host.invalid")]);
    assert_steps(&finished, failed, 6);
    assert!(finished.stdout.contains("cannot resolve no-such-host.invalid"), "{}", finished.stdout);
    let finished = check(&sim, &[("SSL_CERT_FILE", "")]);
    assert_steps(&finished, failed, 6);
    assert!(finished.stdout.contains("set SSL_CERT_FILE"), "{}", finished.stdout);
    sim.azure.script([ScriptedResponse::drop_connection()]);
    assert_steps(&check(&sim, &[]), failed, 6);
}

#[test]
fn check_uses_and_names_the_egress_proxy() {
    let sim = Sim::start(Options::default());
    let egress = Egress::start(None);
    let authority = format!("entra.sim.test:{}", sim.entra.server.port());
    let base = format!("https://azure.sim.test:{}", sim.azure.server.port());
    let url = egress.url();
    let variables = [("AZURE_AUTHORITY_HOST", &*authority), ("API_BASE_URL", &base), ("HTTPS_PROXY", &url)];
    let finished = check(&sim, &variables);
    assert_steps(&finished, OK, 0);
    let way = format!("through the egress proxy 127.0.0.1:{}", egress.server.port());
    assert_eq!(finished.stdout.matches(&way).count(), 2, "{}", finished.stdout);
    // The simulator's own addresses are on the loopback.
    let finished = check(&sim, &[("HTTPS_PROXY", &url)]);
    assert_steps(&finished, OK, 0);
    let way = "direct (loopback is never proxied)";
    assert_eq!(finished.stdout.matches(way).count(), 2, "{}", finished.stdout);
}
