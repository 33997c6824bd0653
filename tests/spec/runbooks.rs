//! The operational runbooks of `docs/runbooks` are carried out: the steps of each page, in their order, against the program and
//! the simulator. What a step says is seen stands on the page alone and is looked for here:
//!
//! - `auth_proxy_NAME VALUE`, also `> VALUE`: a metric;
//! - `/readyz 503`: a path, of `PORT` for `/health` and else of `ADMIN_PORT`, and its status;
//! - anything else: a line of the log since the step before, which has the parts between `…` in this order.

use std::fs;
use std::time::Duration;

use crate::sim::{
    Assigned, IdentityOptions, Options, ScriptedResponse, Sim, issued, material, other_authority_and_server,
    replace_file, wait_for,
};
use crate::support::api::{MODELS, chat};
use crate::support::client::Raw;
use crate::support::program::{Proxy, environment, run_to_end};
use crate::support::rotation::{Pair, used};
use crate::support::traffic::Traffic;

/// A page, and how far it has been carried out.
struct Runbook {
    /// What is seen at each step.
    steps: Vec<Vec<String>>,
    done: usize,
    /// Of which process, and how many lines of its log belong to the steps before.
    logged: (u32, usize),
}

impl Runbook {
    fn open(file: &str) -> Self {
        let path = format!("{}/docs/runbooks/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(path).unwrap();
        let mut steps: Vec<Vec<String>> = Vec::new();
        for line in text.lines() {
            if line.starts_with(&format!("{}. ", steps.len() + 1)) {
                steps.push(Vec::new());
            } else if line.starts_with("   Seen") {
                steps.last_mut().unwrap().extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
            }
        }
        assert!(steps.len() > 2 && steps.iter().all(|step| !step.is_empty()), "{file}: {steps:?}");
        Self { steps, done: 0, logged: (0, 0) }
    }

    /// Waits until this process shows what the next step says. That step was carried out just now.
    #[track_caller]
    fn seen(&mut self, proxy: &Proxy) {
        let before = if self.logged.0 == proxy.pid() { self.logged.1 } else { 0 };
        let number = self.done + 1;
        for what in &self.steps[self.done] {
            wait_for(&format!("step {number}: {what}"), || shows(proxy, what, before));
        }
        self.done = number;
        self.logged = (proxy.pid(), proxy.log().len());
    }
}

impl Drop for Runbook {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.done, self.steps.len(), "steps that were not carried out");
        }
    }
}

fn shows(proxy: &Proxy, what: &str, before: usize) -> bool {
    if what.starts_with("auth_proxy_") {
        return metric(proxy, what);
    }
    if what.starts_with('/') {
        let (path, status) = what.split_once(' ').unwrap();
        let response = if path == "/health" { proxy.health() } else { proxy.admin(path) };
        return response.status.to_string() == status;
    }
    let has_parts = |line: &String| {
        let rest = what.split(" … ").try_fold(line.as_str(), |rest, part| Some(rest.split_once(part)?.1));
        rest.is_some()
    };
    proxy.log().iter().skip(before).any(has_parts)
}

/// `NAME{LABELS} VALUE` or `NAME{LABELS} > VALUE`; a name alone, or in an expression, must be there.
fn metric(proxy: &Proxy, what: &str) -> bool {
    let page = proxy.admin("/metrics").text();
    let mut parts = what.split(' ');
    let name = parts.next().unwrap();
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok());
    let Some(value) = value else { return false };
    match (parts.next(), parts.next().map(str::parse::<f64>)) {
        (Some(">"), Some(Ok(least))) => value > least,
        (Some(exact), None) => exact.parse() == Ok(value),
        _ => true,
    }
}

fn sim() -> Sim {
    Sim::start(Options { azure_tls: false, ..Options::default() })
}

const ADMIN: (&str, &str) = ("ADMIN_PORT", "0");
const INFO: (&str, &str) = ("LOG_LEVEL", "info");

fn start(sim: &Sim, variables: &[(&str, &str)]) -> Proxy {
    Proxy::start_with(sim, &[&[ADMIN, INFO], variables].concat())
}

#[test]
fn rotates_the_certificate() {
    let mut page = Runbook::open("rotate-certificate.md");
    let sim = sim();
    let proxy = start(&sim, &[]);
    let traffic = Traffic::start(&proxy, 2, Duration::from_millis(20));
    let pair = Pair::uploaded(0, &sim);
    page.seen(&proxy);
    replace_file(&sim.certificate_path(), &pair.pem);
    used(&sim, pair);
    page.seen(&proxy);
    sim.entra.register_only(&pair.pem);
    page.seen(&proxy);

    replace_file(&sim.certificate_path(), &pair.pem[..pair.pem.len() / 2]);
    page.seen(&proxy);
    replace_file(&sim.certificate_path(), &pair.pem);
    page.seen(&proxy);

    let renewed = Pair::number(1);
    replace_file(&sim.certificate_path(), &renewed.pem);
    page.seen(&proxy);
    sim.entra.register(&renewed.pem);
    replace_file(&sim.certificate_path(), &renewed.pem);
    page.seen(&proxy);
    traffic.end_without_failure();
}

#[test]
fn changes_the_credential() {
    let mut page = Runbook::open("change-credential.md");
    let sim = sim();
    let proxy = start(&sim, &[]);
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQifQ.c2lnbmF0dXJl";
    let file = sim.dir.join("federated-token");
    fs::write(&file, token).unwrap();
    sim.entra.expect_federated(token);
    let identity = Assigned::number(1);
    let endpoints = sim.identity_endpoints(IdentityOptions {
        user_assigned: vec![identity.clone()],
        ..IdentityOptions::default()
    });
    page.seen(&proxy);

    let token_file = ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap());
    let workload = [token_file, ("AZURE_CERTIFICATE_PATH", ""), ADMIN, INFO];
    let imds = endpoints.imds_env();
    let imds = imds.iter().map(|(name, value)| (*name, value.as_str()));
    let managed: Vec<_> = imds
        .chain([
            ("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential"),
            ("AZURE_CLIENT_ID", identity.client_id.as_str()),
            ("AZURE_TENANT_ID", ""),
            ("AZURE_CERTIFICATE_PATH", ""),
            ADMIN,
            INFO,
        ])
        .collect();
    for (variables, credential) in [(&workload[..], "federated token file"), (&managed, "managed identity")] {
        let check = run_to_end(&["check"], environment(&sim, variables));
        assert!(check.status.success() && check.stdout.contains(credential), "{check:?}");
    }
    page.seen(&proxy);
    drop(proxy);
    for variables in [&workload[..], &managed] {
        let proxy = Proxy::start_with(&sim, variables);
        assert_eq!(chat(&mut proxy.client()).status, 200);
        page.seen(&proxy);
    }
    page.seen(&start(&sim, &[token_file]));
    let proxy = Proxy::start_with(&sim, &workload);
    sim.entra.unregister_all();
    fs::remove_file(sim.certificate_path()).unwrap();
    page.seen(&proxy);
}

/// The file of callers, with the lines that `hash-key` makes of these keys.
fn callers(sim: &Sim, keys: &[&str]) -> String {
    let path = sim.dir.join("callers");
    let mut text = String::new();
    for key in keys {
        let script = "printf %s \"$KEY\" | \"$PROGRAM\" hash-key team-a";
        let made = std::process::Command::new("sh")
            .args(["-c", script])
            .env("KEY", key)
            .env("PROGRAM", crate::support::program::program())
            .output()
            .unwrap();
        text += std::str::from_utf8(&made.stdout).unwrap();
    }
    replace_callers(&path, &text);
    path.to_str().unwrap().to_owned()
}

fn replace_callers(path: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o640)).unwrap();
    fs::rename(beside, path).unwrap();
}

fn models(proxy: &Proxy, key: &str) -> u16 {
    proxy.client().request("GET", MODELS, &[("api-key", key)], b"").status
}

const OLD: &str = "old-key-of-team-a-0123456789";
const NEW: &str = "new-key-of-team-a-0123456789";

#[test]
fn rotates_a_callers_key() {
    let mut page = Runbook::open("rotate-caller-keys.md");
    let sim = sim();
    let file = callers(&sim, &[OLD]);
    let proxy = start(&sim, &[("PROXY_API_KEYS_FILE", &file)]);
    assert_eq!(models(&proxy, OLD), 200);
    callers(&sim, &[OLD, NEW]);
    wait_for("the new key", || models(&proxy, OLD) == 200 && models(&proxy, NEW) == 200);
    page.seen(&proxy);
    assert_eq!(models(&proxy, NEW), 200);
    page.seen(&proxy);
    callers(&sim, &[NEW]);
    wait_for("the old key to be refused", || models(&proxy, OLD) == 401);
    page.seen(&proxy);
    assert_eq!((models(&proxy, OLD), models(&proxy, NEW)), (401, 200));
    page.seen(&proxy);
    replace_callers(file.as_ref(), "team-a in clear\n");
    wait_for("the file to be looked at", || {
        assert_eq!(models(&proxy, NEW), 200);
        proxy.log().iter().any(|line| line.contains("is not a name"))
    });
    page.seen(&proxy);
}

#[test]
fn rotates_the_tls_certificate() {
    let mut page = Runbook::open("rotate-tls-certificate.md");
    let sim = sim();
    let file = |name: &str| sim.dir.join(name);
    let put = |name: &str, text: &str| {
        replace_file(&file(name), text);
        file(name).to_str().unwrap().to_owned()
    };
    let (certificate, key) = (put("tls.crt", &material().server), put("tls.key", &material().server));
    let proxy = start(&sim, &[("TLS_CERT_FILE", &certificate), ("TLS_KEY_FILE", &key)]);
    let mut established = proxy.client();
    assert_eq!(established.get(MODELS).status, 200);
    let second = issued("/CN=localhost", false, false);
    put("tls.crt", &second);
    put("tls.key", &second);
    let changed = "changed; using them";
    wait_for("the new pair", || {
        assert_eq!(proxy.client().get(MODELS).status, 200);
        proxy.log().iter().any(|line| line.contains(changed))
    });
    assert_eq!(established.get(MODELS).status, 200, "an open connection goes on");
    page.seen(&proxy);
    page.seen(&proxy);
    let (other, _) = other_authority_and_server();
    let mut stranger = Raw::connect(proxy.address()).into_tls("localhost", &other);
    assert!(stranger.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").is_err());
    page.seen(&proxy);
    let before = proxy.log().len();
    put("tls.key", &issued("/CN=localhost", false, false));
    wait_for("the file to be looked at", || {
        assert_eq!(proxy.client().get(MODELS).status, 200);
        proxy.log().iter().skip(before).any(|line| line.contains("is not the key"))
    });
    page.seen(&proxy);
    let port = proxy.address().port().to_string();
    let variables = [("TLS_CERT_FILE", certificate.as_str()), ("TLS_KEY_FILE", &key), ("PORT", &port)];
    assert!(run_to_end(&["healthcheck"], environment(&sim, &variables)).status.success());
}

#[test]
fn upgrades_and_rolls_back() {
    let mut page = Runbook::open("upgrade.md");
    let sim = sim();
    let mut old = start(&sim, &[]);
    let check = run_to_end(&["check"], environment(&sim, &[]));
    assert!(check.status.success(), "{check:?}");
    page.seen(&old);

    let mut client = old.client();
    let stream = std::thread::spawn(move || client.get("/sim/sse?events=30&pause_ms=100"));
    wait_for("the stream", || sim.azure.requests().iter().any(|it| it.target().starts_with("/sim/sse")));
    old.signal("TERM");
    page.seen(&old);
    let response = stream.join().unwrap();
    assert!(response.fault.is_none() && response.text().ends_with("data: [DONE]\n\n"));
    assert_eq!(old.wait_exit().code(), Some(0));

    let new = start(&sim, &[]);
    page.seen(&new);

    let mut old = start(&sim, &[("SHUTDOWN_GRACE", "300ms")]);
    let mut client = old.client();
    let stream = std::thread::spawn(move || client.get("/sim/sse?events=1000&pause_ms=50"));
    wait_for("the stream", || sim.azure.requests().iter().any(|it| it.target().contains("events=1000")));
    old.signal("TERM");
    page.seen(&old);
    let response = stream.join().unwrap();
    assert!(response.fault.is_some(), "it does not look complete");
    assert_eq!(old.wait_exit().code(), Some(1));

    page.seen(&start(&sim, &[]));
}

#[test]
fn lives_through_an_outage_of_entra_id() {
    let mut page = Runbook::open("entra-outage.md");
    let sim = Sim::start(Options {
        azure_tls: false,
        token_lifetime: 10,
        refresh_in: Some(1),
        ..Options::default()
    });
    let proxy = start(&sim, &[]);
    sim.entra.stop();
    page.seen(&proxy);
    wait_for("the token to end", || proxy.health().status == 503);
    let refused = proxy.client().get(MODELS);
    assert_eq!((refused.status, refused.header("retry-after").is_some()), (503, true));
    assert_eq!(refused.json()["error"]["code"], "token_unavailable");
    page.seen(&proxy);
    sim.entra.set_lifetime(3600, None);
    sim.entra.restart();
    page.seen(&proxy);
    assert_eq!(chat(&mut proxy.client()).status, 200);
}

#[test]
fn finds_out_whose_requests_spend_the_quota() {
    let mut page = Runbook::open("quota.md");
    let sim = sim();
    let file = callers(&sim, &[NEW]);
    let proxy = start(&sim, &[("PROXY_API_KEYS_FILE", &file)]);
    let error = serde_json::json!({"error": {"code": "429", "message": "exceeded token rate limit"}});
    let throttled = ScriptedResponse::status(429).header("retry-after", "7").json(&error);
    sim.azure.script(std::iter::repeat_n(throttled, 3));
    for _ in 0..3 {
        let response = proxy.client().request("GET", MODELS, &[("api-key", NEW)], b"");
        assert_eq!((response.status, response.header("retry-after").as_deref()), (429, Some("7")));
    }
    // Both steps look at the same requests.
    page.seen(&proxy);
    page.logged = (0, 0);
    page.seen(&proxy);
    assert_eq!(models(&proxy, NEW), 200);
    page.seen(&proxy);
}
