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
    assert_eq!(step(3)["tenant"], "simulated");
    assert!(step(3)["expires"].as_str().unwrap().starts_with("20"), "{report:#}");
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
fn the_settings_step_shows_what_concerns_callers_and_the_network() {
    let sim = Sim::start(Options::default());
    let variables = [
        ("PROXY_API_KEY", "k3y-of-c4llers-0123"),
        ("ALLOWED_REQUESTS", "POST /openai/v1/*, GET /openai/v1/models"),
        ("ALLOWED_HOSTS", "proxy.example"),
        ("HTTPS_PROXY", "http://user:hunter2@proxy.example:3128"),
        ("NO_PROXY", "10.0.0.0/8"),
        ("READ_IDLE_TIMEOUT", "2m"),
    ];
    let finished = check(&sim, &variables);
    assert_steps(&finished, OK, 0);
    for expected in [
        "callers            must present PROXY_API_KEY\n",
        "allowed requests   POST /openai/v1/*, GET /openai/v1/models\n",
        "allowed origins    none\n",
        "allowed hosts      proxy.example\n",
        "egress proxy       proxy.example:3128\n",
        "no proxy           10.0.0.0/8\n",
        "read idle timeout  120s\n",
    ] {
        assert!(finished.stdout.contains(expected), "{expected}: {}", finished.stdout);
    }
    assert!(!finished.stdout.contains("k3y-of") && !finished.stdout.contains("hunter2"), "{finished:?}");
    let finished = check(&sim, &[("PROXY_API_KEY", "sh0rt-k3y")]);
    assert_eq!(finished.status.code(), Some(2), "{finished:?}");
    assert!(finished.stdout.contains("PROXY_API_KEY is too short: 9 characters"), "{}", finished.stdout);
    assert!(!finished.stdout.contains("sh0rt"), "{finished:?}");
}

/// Nothing is listened on, so the port may be taken.
#[test]
fn check_works_beside_the_running_program() {
    let sim = Sim::start(Options::default());
    let proxy = Proxy::start(&sim);
    let port = proxy.address().port().to_string();
    assert_steps(&check(&sim, &[("PORT", &port)]), OK, 0);
    assert_eq!(proxy.health().status, 200);
}

#[test]
fn check_requests_models_below_the_base_path_and_says_what_clients_must_leave_out() {
    let sim = Sim::start(Options::default());
    for base in ["/openai", "/openai/v1"] {
        let finished = check(&sim, &[("API_BASE_URL", &(sim.azure_url() + base))]);
        assert_steps(&finished, OK, 0);
        let targets: Vec<String> = sim.azure.requests().iter().map(|request| request.target()).collect();
        let doubled = format!("{base}/openai/v1/models");
        assert_eq!(targets[targets.len() - 2..], ["/openai/v1/models", &doubled]);
        let origin = sim.azure_url();
        let note = format!(
            "GET {origin}{doubled} returned 404: clients must leave out {base}, or set API_BASE_URL to {origin}\n"
        );
        assert!(finished.stdout.contains(&note), "{note}: {}", finished.stdout);
        // Where both paths are there, there is nothing to say.
        sim.azure.script([list(), list()]);
        let finished = check(&sim, &[("API_BASE_URL", &(sim.azure_url() + base))]);
        assert_steps(&finished, OK, 0);
        assert!(!finished.stdout.contains("leave out"), "{}", finished.stdout);
    }
}

fn list() -> ScriptedResponse {
    ScriptedResponse::status(200).json(&json!({"object": "list", "data": []}))
}

#[test]
fn check_finds_the_base_path_that_works() {
    let not_found = || ScriptedResponse::status(404).json(&json!({"error": {"code": "404", "message": "x"}}));
    let usual = "/openai/v1/models";
    let without = "clients must request /v1/models and its like, without /openai";
    // The path of API_BASE_URL; what is requested first; the only target with a list of models; the remedy.
    for (base, first, works, remedy) in [
        ("/openai/deployments/x", "/openai/deployments/x/openai/v1/models", usual, "ORIGIN"),
        ("/openai/v1/chat/completions", "/openai/v1/chat/completions/openai/v1/models", usual, "ORIGIN"),
        ("/portal", "/portal/openai/v1/models", usual, "ORIGIN"),
        ("/v1", "/v1/models", usual, "ORIGIN"),
        ("/llm/openai/v1", "/llm/openai/v1/models", usual, "ORIGIN"),
        (
            "/llm/openai/deployments/x",
            "/llm/openai/deployments/x/openai/v1/models",
            "/llm/openai/v1/models",
            "ORIGIN/llm",
        ),
        ("", usual, "/openai/openai/v1/models", "ORIGIN/openai"),
        ("", usual, "/v1/models", without),
        ("/llm", "/llm/openai/v1/models", "/llm/v1/models", without),
    ] {
        let sim = Sim::start(Options::default());
        for path in [usual, "/v1/models", "/openai/openai/v1/models", "/llm/v1/models", "/portal/v1/models"] {
            // A page that is there for every path is no list of models.
            sim.azure.at(path, ScriptedResponse::status(200).body("<!doctype html>"));
        }
        sim.azure.at(first, not_found());
        sim.azure.at(works, list());
        let finished = check(&sim, &[("API_BASE_URL", &(sim.azure_url() + base))]);
        assert_steps(&finished, ["ok", "ok", "ok", "ok", "failed"], 6);
        let origin = sim.azure_url();
        let problem = format!("failed   upstream: GET {origin}{first} returned 404: there is no such path\n");
        let remedy = match remedy.strip_prefix("ORIGIN") {
            Some(base) => format!("set API_BASE_URL to {origin}{base}"),
            None => remedy.to_owned(),
        };
        let expected = format!("{problem}           hint: GET {origin}{works} works: {remedy}\n");
        assert!(finished.stdout.contains(&expected), "{base}: {expected}: {}", finished.stdout);
        assert_eq!(
            finished.stdout.matches("hint:").count(),
            1,
            "one that works is enough: {}",
            finished.stdout
        );
    }
}

#[test]
fn check_says_which_paths_were_tried_in_vain() {
    let sim = Sim::start(Options::default());
    for path in ["/openai/v1/models", "/v1/models", "/openai/openai/v1/models"] {
        sim.azure.at(path, ScriptedResponse::status(404));
    }
    let finished = check(&sim, &[]);
    assert_steps(&finished, ["ok", "ok", "ok", "ok", "failed"], 6);
    let note = "note: tried, too: /v1/models (404), /openai/openai/v1/models (404)\n";
    assert!(finished.stdout.contains(note), "{}", finished.stdout);
    assert!(finished.stdout.contains("a gateway may have no list of models"), "{}", finished.stdout);
    // A server that leaves in the middle ends the attempts, not the report.
    sim.azure.script([ScriptedResponse::status(404), ScriptedResponse::drop_connection()]);
    let before = sim.azure.requests().len();
    let finished = check(&sim, &[]);
    assert_steps(&finished, ["ok", "ok", "ok", "ok", "failed"], 6);
    assert!(finished.stdout.contains("there is no such path"), "{}", finished.stdout);
    assert_eq!(sim.azure.requests().len() - before, 2);
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
    let coded = |status, code: &str, message: &str| {
        ScriptedResponse::status(status).json(&json!({"error": {"code": code, "message": message}}))
    };
    let deployment = "The API deployment for this resource does not exist.";
    let moved = ScriptedResponse::status(302).header("Location", "https://login.example/x?y=1");
    let rows = [
        (error(401, denied), "signed in, but not authorized", role),
        (coded(401, "PermissionDenied", denied), "signed in, but not authorized", role),
        (error(401, "Access denied due to invalid subscription key"), "requires a key", "own name"),
        (error(403, closed), "network rules", "private endpoint"),
        (error(403, "no"), "not allowed to do this", role),
        (coded(403, "AccessDenied", "Virtual Network/Firewall rules."), "network rules", "under Networking"),
        (coded(404, "DeploymentNotFound", deployment), "no deployment of this name", "of this resource"),
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
    assert_eq!(sim.azure.requests().len(), 10, "nothing is repeated, followed or tried otherwise");
    sim.azure.script([ScriptedResponse::status(429)]);
    let finished = check(&sim, &[]);
    assert_steps(&finished, OK, 0);
    assert!(finished.stdout.contains("limits the request rate"));
}

const COGNITIVE: &str = "https://cognitiveservices.azure.com/.default";
const AI: &str = "https://ai.azure.com/.default";

/// A 401 with one of the texts that Azure and its gateways have for it.
fn refused(message: &str) -> ScriptedResponse {
    ScriptedResponse::status(401).json(&json!({"error": {"code": "401", "message": message}}))
}

#[test]
fn check_tries_the_other_audience_and_suggests_it_if_it_is_accepted() {
    let sim = Sim::start(Options::default());
    let audience = "The access token is from wrong issuer or its audience is incorrect.";
    // The responses to the first token and to the second; what is to be set, besides the scope.
    let denied = "The principal `x` lacks the required data action `y` to perform `GET /openai/models`.";
    for (scope, other, second, hints) in [
        ("", AI, list(), 1),
        (AI, COGNITIVE, list(), 1),
        ("https://ai.azure.us/.default", COGNITIVE, list(), 1),
        ("", AI, ScriptedResponse::status(429), 1),
        ("", AI, refused(denied), 2),
    ] {
        for message in [audience, "Unauthorized"] {
            sim.azure.script([refused(message), second.clone()]);
            let tokens = sim.entra.issued().len();
            let finished = check(&sim, &[("AZURE_SCOPE", scope)]);
            assert_steps(&finished, ["ok", "ok", "ok", "ok", "failed"], 6);
            let hint =
                format!("hint: set AZURE_SCOPE={other} (tried: the upstream accepts a token for it)\n");
            assert!(finished.stdout.contains(&hint), "{scope}: {}", finished.stdout);
            assert_eq!(finished.stdout.matches("hint:").count(), hints, "{}", finished.stdout);
            let role = finished.stdout.contains("Cognitive Services OpenAI User");
            assert_eq!(role, hints == 2, "{}", finished.stdout);
            // Each token went to the upstream once.
            let issued = sim.entra.issued().split_off(tokens);
            let audiences: Vec<_> =
                issued.iter().map(|issued| format!("{}/.default", issued.audience)).collect();
            assert_eq!(audiences, [if scope.is_empty() { COGNITIVE } else { scope }, other]);
            let requests = sim.azure.requests();
            for (issued, request) in issued.iter().zip(&requests[requests.len() - 2..]) {
                assert_eq!(request.bearer().as_ref(), Some(&issued.token));
            }
        }
    }
    // Nothing is scripted: the simulator itself takes one audience and not the other.
    let finished = check(&sim, &[("AZURE_SCOPE", AI)]);
    let hint = format!("hint: set AZURE_SCOPE={COGNITIVE} (tried: ");
    assert!(finished.stdout.contains(&hint), "{}", finished.stdout);
}

#[test]
fn check_does_not_suggest_an_audience_that_is_refused_or_cannot_be_had() {
    let sim = Sim::start(Options::default());
    let audience = "audience is incorrect";
    let (grant, denied) = (ScriptedResponse::default_behavior, ScriptedResponse::aadsts(500_011));
    let tried = format!("note: tried a token for {AI}, too: ");
    // The responses of Entra ID (the first is to the authority step) and of the upstream; what is said of the second attempt.
    for (entra, azure, note) in [
        (vec![], vec![refused(audience), refused(audience)], format!("{tried}it returned 401: ")),
        (vec![], vec![refused(audience), ScriptedResponse::status(502)], format!("{tried}it returned 502: ")),
        (vec![], vec![refused(audience), ScriptedResponse::drop_connection()], tried.clone()),
        (
            vec![grant(), grant(), denied],
            vec![refused(audience)],
            format!("note: tried {AI}, too: Entra ID gave no token: AADSTS500011"),
        ),
    ] {
        sim.entra.script(entra);
        sim.azure.script(azure);
        let finished = check(&sim, &[]);
        assert_steps(&finished, ["ok", "ok", "ok", "ok", "failed"], 6);
        assert!(finished.stdout.contains(&note), "{note}: {}", finished.stdout);
        assert!(!finished.stdout.contains("set AZURE_SCOPE="), "{}", finished.stdout);
        for expected in ["hint: check AZURE_SCOPE", "hint: check that the resource belongs to the tenant"] {
            assert!(finished.stdout.contains(expected), "{expected}: {}", finished.stdout);
        }
        assert_eq!((sim.azure.script_left(), sim.entra.script_left()), (0, 0));
    }
}

/// Scripts read it: what was there stays.
#[test]
fn the_json_of_a_failed_step_has_message_hints_and_notes() {
    let sim = Sim::start(Options::default());
    let finished = run_to_end(&["check", "--json"], environment(&sim, &[("AZURE_SCOPE", AI)]));
    assert_eq!(finished.status.code(), Some(6), "{finished:?}");
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!((report["ok"].as_bool(), report["exit_code"].as_u64()), (Some(false), Some(6)));
    let statuses: Vec<&str> =
        report["steps"].as_array().unwrap().iter().map(|step| step["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["ok", "ok", "ok", "ok", "failed"]);
    let problem = &report["steps"][4]["problems"][0];
    assert!(problem["message"].as_str().unwrap().contains(" returned 401: "), "{problem:#}");
    assert!(problem["hints"][0].as_str().unwrap().starts_with("set AZURE_SCOPE="), "{problem:#}");
    assert_eq!(problem["notes"][0], format!("AZURE_SCOPE is {AI}"));
    let settings = report["steps"][0]["details"].as_object().unwrap();
    for name in [
        "upstream",
        "credential",
        "because",
        "token_url",
        "client_id",
        "scope",
        "listen",
        "callers",
        "allowed_origins",
        "allowed_hosts",
        "rewrite_location",
        "egress_proxy",
        "no_proxy",
        "trusted_roots",
        "connect_timeout",
        "read_idle_timeout",
        "shutdown_grace",
        "max_connections",
    ] {
        assert!(settings.contains_key(name), "{name}: {settings:#?}");
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
