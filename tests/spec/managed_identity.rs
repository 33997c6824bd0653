//! A managed identity signs in (`AZURE_TOKEN_CREDENTIALS=ManagedIdentityCredential`):
//!
//! - IMDS, App Service and Azure Arc are asked as they want it, system- and user-assigned, without tenant or certificate,
//!   never through the egress proxy and never where a redirect leads;
//! - its token is the application's assertion where a federated credential says so;
//! - AKS identity bindings: token requests go to the cluster's proxy, with its CA and name;
//! - whatever comes in place of a token is named with its cause and the next step, and a usable token stays in use.

use std::path::Path;
use std::time::Duration;

use crate::sim::{
    Assigned, IdentityEndpoints, IdentityOptions, Options, ScriptedResponse, Sim, odd_server_tls,
    other_authority_and_server, replace_file, wait_for,
};
use crate::support::api::{chat, field};
use crate::support::program::{Proxy, environment, run_to_end};

const CHOSEN: (&str, &str) = ("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential");
/// Whatever else a certificate would need is not there.
const NOTHING_ELSE: [(&str, &str); 3] =
    [("AZURE_CLIENT_ID", ""), ("AZURE_TENANT_ID", ""), ("AZURE_CERTIFICATE_PATH", "")];

type Variables = Vec<(&'static str, String)>;

fn all<'a>(platform: &'a Variables, others: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let platform = platform.iter().map(|(name, value)| (*name, value.as_str()));
    let chosen = std::iter::once(CHOSEN);
    chosen.chain(NOTHING_ELSE).chain(platform).chain(others.iter().copied()).collect()
}

fn start(options: IdentityOptions) -> (Sim, IdentityEndpoints) {
    let sim = Sim::start(Options::default());
    let endpoints = sim.identity_endpoints(options);
    (sim, endpoints)
}

/// The directory of Azure Arc's keys, if this user may have it; gone at the end if it was not there before.
struct ArcKeys {
    made: bool,
}

impl ArcKeys {
    const PATH: &'static str = "/var/opt/azcmagent/tokens";

    fn new() -> Option<Self> {
        let made = !Path::new("/var/opt/azcmagent").exists();
        std::fs::create_dir_all(Self::PATH).ok()?;
        let probe = Path::new(Self::PATH).join(".probe");
        std::fs::write(&probe, "").ok()?;
        let _ = std::fs::remove_file(probe);
        Some(Self { made })
    }
}

impl Drop for ArcKeys {
    fn drop(&mut self) {
        if self.made {
            let _ = std::fs::remove_dir(Self::PATH);
            let _ = std::fs::remove_dir("/var/opt/azcmagent");
        }
    }
}

#[test]
fn each_endpoint_gives_the_identity_that_is_meant() {
    let user = Assigned::number(1);
    let (sim, endpoints) = start(IdentityOptions {
        user_assigned: vec![user.clone(), Assigned::number(2)],
        ..IdentityOptions::default()
    });
    let client = ("AZURE_CLIENT_ID", user.client_id.as_str());
    let object = ("AZURE_MANAGED_IDENTITY_OBJECT_ID", user.object_id.as_str());
    let resource = ("AZURE_MANAGED_IDENTITY_RESOURCE_ID", user.resource_id.as_str());
    for platform in [endpoints.imds_env(), endpoints.app_service_env()] {
        for (identity, expected) in [
            (None, "system"),
            (Some(client), &user.client_id),
            (Some(object), &user.client_id),
            (Some(resource), &user.client_id),
        ] {
            let others: Vec<_> = identity.into_iter().collect();
            let variables = all(&platform, &others);
            let proxy = Proxy::start_with(&sim, &variables);
            assert_eq!(chat(&mut proxy.client()).status, 200);
            let last = endpoints.requests().pop().unwrap();
            assert_eq!(last.note, format!("token issued to {expected}"), "{variables:?}");
            let line = proxy.wait_log("auth-proxy starting");
            assert!(
                line.contains("credential=\"managed identity\"") && !line.contains("token_url"),
                "{line}"
            );
            assert!(
                line.contains("because=\"AZURE_TOKEN_CREDENTIALS is set to ManagedIdentityCredential\""),
                "{line}"
            );
            let refreshed = proxy.wait_log("token refreshed");
            // Half of its life, in whole seconds.
            assert!(
                refreshed.contains("lifetime=86") && refreshed.contains("next_refresh_in=43"),
                "{refreshed}"
            );
        }
    }
    assert!(sim.entra.requests().is_empty(), "nobody asks Entra ID");
}

#[test]
fn azure_arc_is_shown_the_content_of_the_file_that_it_names() {
    let Some(_keys) = ArcKeys::new() else {
        eprintln!("skipped: this user cannot make {}", ArcKeys::PATH);
        return;
    };
    let (sim, endpoints) = start(IdentityOptions::default());
    let arc = endpoints.arc_env();
    let proxy = Proxy::start_with(&sim, &all(&arc, &[]));
    assert_eq!(chat(&mut proxy.client()).status, 200);
    let notes: Vec<_> = endpoints.requests().into_iter().map(|request| request.note).collect();
    assert_eq!(notes, ["challenge", "token issued to system"]);
    drop(proxy);

    // An agent that knows no user-assigned identities gives the token of another one.
    let user = Assigned::number(1);
    endpoints.change(|options| options.user_assigned = vec![user.clone()]);
    let client = [("AZURE_CLIENT_ID", user.client_id.as_str())];
    let proxy = Proxy::start_listening(&sim, &all(&arc, &client));
    let line = proxy.wait_log("token refresh failed");
    assert!(line.contains("does not know user-assigned identities"), "{line}");
    drop(proxy);
    endpoints.change(|options| options.arc_knows_user_assigned = true);
    let proxy = Proxy::start_with(&sim, &all(&arc, &client));
    assert_eq!(chat(&mut proxy.client()).status, 200);
}

#[test]
fn azure_arcs_challenge_cannot_name_another_file() {
    let (sim, endpoints) = start(IdentityOptions::default());
    let arc = endpoints.arc_env();
    let secret = sim.dir.join("secret.key");
    std::fs::write(&secret, "hunter2").unwrap();
    let challenge = |realm: &str| {
        ScriptedResponse::status(401).header("WWW-Authenticate", &format!("Basic realm={realm}"))
    };
    for (response, words) in [
        (challenge(secret.to_str().unwrap()), "names a file outside /var/opt/azcmagent/tokens"),
        (challenge("/var/opt/azcmagent/tokens/../../../../etc/hostname.key"), "names a file outside"),
        (challenge("/var/opt/azcmagent/tokens/a.txt"), "without .key"),
        (challenge("/var/opt/azcmagent/tokens/none-of-this-name.key"), "cannot be read"),
        (ScriptedResponse::status(401), "names no key file"),
        (ScriptedResponse::status(200).body("{}"), "responded 200 in place of its challenge"),
    ] {
        endpoints.script([response]);
        let proxy = Proxy::start_listening(&sim, &all(&arc, &[]));
        let line = proxy.wait_log("token refresh failed");
        assert!(line.contains(words) && line.contains("hint="), "{words}: {line}");
    }
    for request in endpoints.requests() {
        assert!(!String::from_utf8_lossy(&request.raw_head).contains("hunter2"));
    }
}

/// The way of a deployment without a secret: the machine's identity vouches for the application.
#[test]
fn its_token_is_the_assertion_of_an_application() {
    let user = Assigned::number(3);
    let (sim, endpoints) =
        start(IdentityOptions { user_assigned: vec![user.clone()], ..IdentityOptions::default() });
    let imds = endpoints.imds_env();
    let mut variables = vec![("AZURE_CERTIFICATE_PATH", "")];
    variables.extend(imds.iter().map(|(name, value)| (*name, value.as_str())));
    variables.push(("AZURE_MANAGED_IDENTITY_CLIENT_ID", &user.client_id));
    let proxy = Proxy::start_with(&sim, &variables);
    assert_eq!(chat(&mut proxy.client()).status, 200);
    let asked = endpoints.requests().pop().unwrap();
    assert!(asked.target().contains("resource=api%3A%2F%2FAzureADTokenExchange&"), "{}", asked.target());
    let request = &sim.entra.requests()[0];
    assert_eq!(request.note, "token issued");
    assert_eq!(field(request, "client_id"), sim.options().client_id);
    let line = proxy.wait_log("auth-proxy starting");
    assert!(line.contains("credential=\"managed identity as federated credential\""), "{line}");
}

/// Without a word about it no endpoint is asked, whatever the platform has set.
#[test]
fn it_is_never_guessed() {
    let (sim, endpoints) = start(IdentityOptions::default());
    for platform in [endpoints.imds_env(), endpoints.app_service_env(), endpoints.arc_env()] {
        let mut variables = NOTHING_ELSE.to_vec();
        variables.extend(platform.iter().map(|(name, value)| (*name, value.as_str())));
        let finished = run_to_end(&["run"], environment(&sim, &variables));
        assert_eq!(finished.status.code(), Some(2));
        assert!(finished.stderr.contains("Missing required Azure AD configuration"), "{}", finished.stderr);
        assert!(
            finished.stderr.contains("AZURE_TOKEN_CREDENTIALS=ManagedIdentityCredential"),
            "{}",
            finished.stderr
        );
    }
    assert!(endpoints.requests().is_empty());
}

/// What the endpoint responds; the message and the hint that it leads to, in log, health and to the client.
#[test]
fn what_comes_in_place_of_a_token_is_named() {
    let user = Assigned::number(1);
    let (sim, endpoints) = start(IdentityOptions {
        system_assigned: false,
        user_assigned: vec![user.clone(), Assigned::number(2)],
        ..IdentityOptions::default()
    });
    let unknown = "cccccccc-2222-4333-8444-555555555555";
    let json = |status: u16, body: &str| {
        ScriptedResponse::status(status).header("Content-Type", "application/json").body(body)
    };
    let html = ScriptedResponse::status(200).header("Content-Type", "text/html").body("<html>hunter2</html>");
    let imds = endpoints.imds_env();
    let app = endpoints.app_service_env();
    let other_header: Variables = vec![app[0].clone(), ("IDENTITY_HEADER", "another".to_owned())];
    let none = "";
    type Row<'a> = (&'a Variables, &'a str, Option<ScriptedResponse>, &'a str, &'a str);
    let rows: Vec<Row<'_>> = vec![
        (&imds, none, None, "IMDS responded 400: this machine has several user-assigned identities", "set AZURE_CLIENT_ID"),
        (&imds, unknown, None, "IMDS responded 400: the identity is not assigned to this machine", "az vm identity assign"),
        (&app, unknown, None, "of App Service responded 400: the identity is not assigned to this app", "az webapp identity assign"),
        (&other_header, none, None, "of App Service responded 403", "IDENTITY_HEADER must be that of this container"),
        (&imds, none, Some(html.clone()), "IMDS's response cannot be used: it is not JSON", "is text/html"),
        (&imds, none, Some(ScriptedResponse::status(200)), "IMDS's response cannot be used: it is empty", "Server: IMDS"),
        (&app, none, Some(html), "cannot be used: it is not JSON", "IDENTITY_ENDPOINT is as Azure set it"),
        (&imds, none, Some(json(200, r#"{"access_token":"a.b.c","expires_on":"12/01/2026 10:11:12 PM"}"#)), "expires_on is not a number of seconds but text like 00/00/0000 00:00:00 aa", "Server: IMDS"),
        (&imds, none, Some(json(200, r#"{"access_token":"a.b.c"}"#)), "expires_in and expires_on are missing", "hint"),
        (&imds, none, Some(json(200, r#"{"expires_in":"3599"}"#)), "access_token is missing", "hint"),
        (&imds, none, Some(json(410, r#"{"error":"gone"}"#)), "IMDS responded 410, gone", "auth-proxy retries"),
        (&imds, none, Some(json(404, r#"{"error":"not_found"}"#)), "IMDS responded 404, not_found", "auth-proxy retries"),
        (&imds, none, Some(json(429, r#"{"error":"too_many"}"#)), "IMDS responded 429, too_many", "auth-proxy waits"),
        (&imds, none, Some(json(500, r#"{"error":"unknown","error_description":"Failed to retrieve token"}"#)), "IMDS responded 500, unknown", "auth-proxy retries"),
        (&imds, none, Some(json(400, r#"{"error":"bad_request_102","error_description":"Required metadata header not specified"}"#)), "the Metadata header did not arrive", "reached directly"),
        (&imds, none, Some(ScriptedResponse::status(403).body("connecting to 169.254.169.254:80: socket: A socket operation was attempted to an unreachable network")), "a proxy on this machine responded in place of IMDS", "a workstation has no managed identity"),
        (&imds, none, Some(ScriptedResponse::status(307).header("Location", "http://127.0.0.1:1/")), "IMDS responded 307", "Server: IMDS"),
        (&app, none, Some(json(500, r#"{"statusCode":500,"message":"x"}"#)), "of App Service responded 500", "check AZURE_SCOPE"),
    ];
    for (platform, identity, response, problem, hint) in rows {
        endpoints.script(response);
        let client = [("AZURE_CLIENT_ID", identity), ("HTTPS_PROXY", "http://127.0.0.1:1")];
        let proxy = Proxy::start_listening(&sim, &all(platform, &client));
        let line = proxy.wait_log("token refresh failed");
        assert!(line.contains(problem) && line.contains(hint), "{problem}; {hint}: {line}");
        assert!(!line.contains("hunter2"), "{line}");
    }
}

#[test]
fn an_endpoint_that_is_not_there_is_named_with_what_blocks_it() {
    let sim = Sim::start(Options::default());
    // Nothing listens on port 1.
    let imds = vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1".to_owned())];
    let proxy = Proxy::start_listening(&sim, &all(&imds, &[]));
    let line = proxy.wait_log("token refresh failed");
    assert!(line.contains("IMDS could not be reached") && line.contains("169.254.169.254/32"), "{line}");
    let health = proxy.health();
    assert_eq!(health.status, 503);
    assert!(health.text().contains("IMDS could not be reached"), "{}", health.text());
    assert!(!line.contains("HTTPS_PROXY"), "{line}");
}

/// An outage: the endpoint goes, the token stays in use, and the endpoint's return is noticed.
#[test]
fn a_usable_token_outlives_the_endpoint() {
    let (sim, endpoints) = start(IdentityOptions { token_lifetime: 8, ..IdentityOptions::default() });
    let imds = endpoints.imds_env();
    let proxy = Proxy::start_with(&sim, &all(&imds, &[]));
    for outage in [
        vec![ScriptedResponse::status(503)],
        vec![ScriptedResponse::status(410)],
        vec![ScriptedResponse::status(200).body("<html>")],
    ] {
        endpoints.script(outage);
        let before = sim.entra.issued().len();
        wait_for("a token after the outage", || {
            assert_eq!(chat(&mut proxy.client()).status, 200);
            std::thread::sleep(Duration::from_millis(50));
            sim.entra.issued().len() > before
        });
    }
    endpoints.server.stop();
    proxy.wait_log("IMDS could not be reached");
    assert_eq!(chat(&mut proxy.client()).status, 200, "the token is still good");
    endpoints.server.restart();
    proxy.wait_log("token refresh recovered");
    assert_eq!(chat(&mut proxy.client()).status, 200);
}

/// The cluster's proxy has a certificate of its own authority, for a name that is not its host.
#[test]
fn identity_bindings_send_token_requests_to_the_clusters_proxy() {
    let sim = Sim::start(Options::default());
    let (ca, server) = other_authority_and_server();
    let token_proxy = sim.entra.token_proxy(odd_server_tls(&server));
    let ca_file = sim.dir.join("cluster-ca.pem");
    std::fs::write(&ca_file, &ca).unwrap();
    let token = sim.dir.join("federated-token");
    std::fs::write(&token, "e30.e30.c2ln").unwrap();
    sim.entra.expect_federated("e30.e30.c2ln");
    let url = format!("https://127.0.0.1:{}/", token_proxy.port());
    let base = [
        ("AZURE_CERTIFICATE_PATH", ""),
        ("AZURE_FEDERATED_TOKEN_FILE", token.to_str().unwrap()),
        ("AZURE_KUBERNETES_TOKEN_PROXY", &url),
        // Never asked, and no way to the cluster's proxy either.
        ("AZURE_AUTHORITY_HOST", "http://127.0.0.1:1"),
        ("HTTPS_PROXY", "http://127.0.0.1:1"),
        ("NO_PROXY", "localhost"),
        // One of the names of its certificate.
        ("AZURE_KUBERNETES_SNI_NAME", "cluster.sim.test"),
    ];
    for roots in
        [("AZURE_KUBERNETES_CA_FILE", ca_file.to_str().unwrap()), ("AZURE_KUBERNETES_CA_DATA", ca.as_str())]
    {
        let variables = [&base[..], &[roots]].concat();
        let proxy = Proxy::start_with(&sim, &variables);
        assert_eq!(chat(&mut proxy.client()).status, 200, "{}", roots.0);
        let checked = run_to_end(&["check"], environment(&sim, &variables));
        assert_eq!(checked.status.code(), Some(0), "{checked:#?}");
    }
    // Through the egress proxy, which is not there, if the name were not the cluster proxy's: it is no loopback address.
    let by_name = format!("https://cluster.sim.test:{}", token_proxy.port());
    let variables = [
        &base[..],
        &[
            ("AZURE_KUBERNETES_CA_FILE", ca_file.to_str().unwrap()),
            ("AZURE_KUBERNETES_TOKEN_PROXY", &by_name),
        ],
    ]
    .concat();
    let hosts = "127.0.0.1 localhost cluster.sim.test\n";
    if let Some(proxy) = Proxy::start_with_hosts(&sim, &variables, hosts) {
        assert_eq!(chat(&mut proxy.client()).status, 200);
    }
    // Another name, and an authority that is not trusted: each says so.
    let file = ("AZURE_KUBERNETES_CA_FILE", ca_file.to_str().unwrap());
    let name = ("AZURE_KUBERNETES_SNI_NAME", "other.example");
    let proxy = Proxy::start_listening(&sim, &[&base[..], &[file, name]].concat());
    let line = proxy.wait_log("token refresh failed");
    assert!(line.contains("TLS handshake") && line.contains("for another name"), "{line}");
    drop(proxy);

    // Replaced by one that is right, while running.
    std::fs::write(&ca_file, std::fs::read(sim.dir.join("ca.pem")).unwrap()).unwrap();
    let proxy = Proxy::start_listening(&sim, &[&base[..], &[file]].concat());
    let line = proxy.wait_log("token refresh failed");
    assert!(line.contains("AZURE_KUBERNETES_CA_FILE") && !line.contains("SSL_CERT_FILE"), "{line}");
    replace_file(&ca_file, &ca);
    proxy.wait_healthy();
    assert!(proxy.wait_log("AZURE_KUBERNETES_CA_FILE changed").contains("certificates=1"));
}

#[test]
fn check_walks_the_same_way() {
    let (sim, endpoints) = start(IdentityOptions::default());
    let imds = endpoints.imds_env();
    let finished = run_to_end(&["check"], environment(&sim, &all(&imds, &[])));
    assert_eq!(finished.status.code(), Some(0), "{finished:#?}");
    for words in [
        "credential         managed identity",
        "because            AZURE_TOKEN_CREDENTIALS is set to ManagedIdentityCredential",
        "identity endpoint  IMDS http://127.0.0.1:",
        "managed identity   system-assigned",
        "skipped  authority: a managed identity needs none",
        "ok       sign-in",
        "ok       upstream",
    ] {
        let found = finished.stdout.lines().any(|line| {
            let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            squeezed(line).contains(&squeezed(words))
        });
        assert!(found, "{words}:\n{}", finished.stdout);
    }
    endpoints.change(|options| options.system_assigned = false);
    let finished = run_to_end(&["check"], environment(&sim, &all(&imds, &[])));
    assert_eq!(finished.status.code(), Some(5), "{finished:#?}");
    assert!(finished.stdout.contains("the identity is not assigned to this machine"), "{}", finished.stdout);
}
