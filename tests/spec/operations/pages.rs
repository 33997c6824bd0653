//! The pages on `ADMIN_PORT` for people: `/`, the state, and `/config`, the settings in force. They need no key, so that no
//! secret is on them; they load nothing, run nothing and change nothing.

use std::fs;
use std::net::TcpListener;

use auth_proxy::testing::SETTINGS;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::sim::{Options, ScriptedResponse, Sim, client_pem, openssl, timeout, wait_for};
use crate::support::client::{Client, Raw, Response};
use crate::support::program::{Proxy, environment};
use crate::support::secrets::key_lines;

const KEY: &str = "callers-key-0123456789";
const PASSWORD: &str = "S3cretPassw0rd";
const ADMIN: (&str, &str) = ("ADMIN_PORT", "0");

fn plain() -> Sim {
    Sim::start(Options { azure_tls: false, ..Options::default() })
}

/// The page `/`, which is checked as a document, too.
#[track_caller]
fn status_page(proxy: &Proxy) -> String {
    let response = proxy.admin("/");
    check_document(&response);
    response.text()
}

/// Nothing is loaded, nothing runs, and the one style sheet is the one that the policy allows.
#[track_caller]
fn check_document(response: &Response) {
    assert_eq!(response.status, 200);
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(response.header(name).as_deref(), Some(value), "{name}");
    }
    let page = response.text();
    let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    let hash = STANDARD.encode(Sha256::digest(style));
    assert_eq!(
        response.header("content-security-policy").unwrap(),
        format!(
            "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        )
    );
    // Text has neither `<` nor `>`, so that these are all tags.
    for tag in page.split('<').skip(1).map(|part| part.split('>').next().unwrap().to_lowercase()) {
        let name = tag.split_whitespace().next().unwrap();
        assert!(!["script", "img", "iframe", "object", "form", "base"].contains(&name), "<{tag}> in {page}");
        for attribute in tag.split_whitespace().skip(1).filter_map(|it| it.split_once('=')) {
            let (name, value) = (attribute.0, attribute.1.trim_matches('"'));
            assert!(!name.starts_with("on") && !["style", "src"].contains(&name), "<{tag}> in {page}");
            let is_own = ["/config", "/metrics", "/readyz"].contains(&value) || value.starts_with("data:");
            assert!(name != "href" || is_own, "<{tag}> in {page}");
        }
    }
    assert_eq!(page.matches("<style").count(), 1);
    assert!(page.starts_with("<!doctype html>\n<html lang=\"en\">") && page.ends_with("</html>\n"), "{page}");
    assert!(page.contains("<meta http-equiv=\"refresh\" content=\"10\">"), "{page}");
}

/// What is red.
fn urgent(page: &str) -> Vec<String> {
    let parts = page.split("class=\"act\">").skip(1);
    parts.map(|part| part.split('<').next().unwrap().to_owned()).collect()
}

#[track_caller]
fn shows(page: &str, texts: &[&str]) {
    for text in texts {
        assert!(page.contains(text), "no {text:?} in {page}");
    }
}

#[test]
fn a_healthy_program_shows_what_it_is_and_nothing_red() {
    let sim = plain();
    let proxy = Proxy::start_with(&sim, &[ADMIN]);
    let page = status_page(&proxy);
    let thumbprint = openssl(&["x509", "-outform", "DER"], &fs::read(sim.certificate_path()).unwrap());
    let thumbprint = String::from_utf8(openssl(&["dgst", "-sha1", "-r"], &thumbprint)).unwrap();
    let thumbprint = thumbprint.split(' ').next().unwrap().to_uppercase();
    shows(
        &page,
        &[
            "<title>auth-proxy: ready</title>",
            "<h1>auth-proxy is ready</h1>",
            "certificate, because AZURE_CERTIFICATE_PATH is set",
            &sim.options().client_id,
            &sim.token_url(),
            &thumbprint,
            " days left",
            "old, expires in 59 min",
            &sim.azure_url(),
            "No response yet.",
            "<th scope=\"row\">client connections<td class=\"number\">0<td>1024</tr>",
            "<th scope=\"row\">WebSockets<td class=\"number\">0<td>1024</tr>",
            "<th scope=\"row\">file descriptors<td class=\"number\">",
            "<th scope=\"row\">threads<td class=\"number\">",
            "None since the start.",
            env!("CARGO_PKG_VERSION"),
        ],
    );
    assert_eq!(urgent(&page), Vec::<String>::new());
}

#[test]
fn the_upstreams_statuses_and_what_is_open_are_shown() {
    let sim = plain();
    let proxy = Proxy::start_with(&sim, &[ADMIN]);
    let mut client = proxy.client();
    for status in [200, 200, 403, 429, 429, 500] {
        assert_eq!(client.get(&format!("/sim/status/{status}")).status, status);
    }
    let mut stream = Raw::connect(proxy.address());
    stream.send("GET /sim/sse?events=1000&pause_ms=20 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(!stream.read_some(timeout()).unwrap().is_empty());
    wait_for("the stream on the page", || {
        status_page(&proxy).contains(">event streams<td class=\"number\">1<td>1024<")
    });
    let page = status_page(&proxy);
    for (status, count) in [(200, 3), (403, 1), (429, 2), (500, 1)] {
        shows(
            &page,
            &[&format!("<th scope=\"row\">{status}<td class=\"number\">{count}<td class=\"number\">")],
        );
    }
    let urgent = urgent(&page);
    assert_eq!(urgent.len(), 2, "{urgent:?}");
    assert!(
        urgent.iter().any(|text| text.starts_with("the deployment&#39;s rate limit is reached")),
        "{urgent:?}"
    );
    let allowed = "signed in, but not allowed to do this";
    assert!(urgent.iter().any(|text| text.starts_with(allowed)), "{urgent:?}");
}

/// Red is what somebody here must act on: not an outage of Azure's, nor a client whose own credential is refused.
#[test]
fn an_error_status_means_what_azure_says_of_it() {
    let sim = plain();
    let proxy = Proxy::start_with(&sim, &[ADMIN]);
    let own = [("Authorization", "Bearer ek_0123456789abcdef")];
    assert_eq!(proxy.client().request("POST", "/openai/v1/realtime/calls", &own, b"").status, 401);
    let error = |status: u16, code: &str, message: &str| {
        ScriptedResponse::status(status)
            .json(&serde_json::json!({"error": {"code": code, "message": message}}))
    };
    sim.azure.script([error(503, "ServiceUnavailable", "busy")]);
    assert_eq!(proxy.client().get("/openai/v1/models").status, 503);
    let page = status_page(&proxy);
    assert_eq!(urgent(&page), Vec::<String>::new());
    shows(&page, &["<th scope=\"row\">401<td", "<td>it, or a gateway before it, has failed</tr>"]);

    sim.azure.script([error(401, "PermissionDenied", "lacks the required data action")]);
    assert_eq!(proxy.client().get("/openai/v1/models").status, 401);
    let page = status_page(&proxy);
    assert_eq!(urgent(&page), ["signed in, but not authorized"]);
    shows(&page, &["assign the role Cognitive Services OpenAI User"]);
}

#[test]
fn without_a_token_the_page_says_why_and_what_to_do() {
    let sim = plain();
    let client_id = "22222222-3333-4444-8555-666666666667";
    let proxy = Proxy::start_listening(&sim, &[ADMIN, ("AZURE_CLIENT_ID", client_id)]);
    proxy.wait_log("token refresh failed");
    assert_eq!(proxy.client().get("/openai/v1/models").status, 503);
    let line = proxy.wait_log("request failed");
    let remedy = "hint=\"check AZURE_CLIENT_ID and AZURE_TENANT_ID";
    assert!(line.contains(" kind=token_unavailable ") && line.contains(remedy), "{line}");
    let page = status_page(&proxy);
    shows(
        &page,
        &[
            "<title>auth-proxy: not ready</title>",
            "<h1>auth-proxy is <span class=\"act\">not ready</span></h1>",
            "there is no access token yet: ",
            "<th scope=\"row\">code<td>AADSTS700016</tr>",
            "<th scope=\"row\">what to do<td>check AZURE_CLIENT_ID and AZURE_TENANT_ID",
            "<th scope=\"row\">trace id<td>",
            "<th scope=\"row\">token<td>none yet</tr>",
            // The same from the log.
            "<td class=\"nowrap\">AADSTS700016<td class=\"act\">token refresh failed: ",
        ],
    );
}

#[test]
fn an_outage_is_red_until_it_is_over_and_then_a_problem_of_the_past() {
    let sim = plain();
    sim.entra.stop();
    let proxy = Proxy::start_listening(&sim, &[ADMIN]);
    proxy.wait_log("token refresh failed");
    let page = status_page(&proxy);
    assert_eq!(urgent(&page)[0], "not ready");
    shows(&page, &["there is no access token yet: "]);
    sim.entra.restart();
    proxy.wait_healthy();
    let page = status_page(&proxy);
    shows(&page, &["<h1>auth-proxy is ready</h1>", "token refresh failed: "]);
    assert_eq!(urgent(&page), Vec::<String>::new(), "nobody needs to do anything");
}

#[test]
fn a_certificate_that_expires_soon_is_red_and_a_bad_new_file_is_a_problem() {
    let sim = Sim::start(Options {
        token_lifetime: 3,
        refresh_in: Some(1),
        azure_tls: false,
        ..Options::default()
    });
    let (key, file) = (sim.dir.join("short.key"), sim.dir.join("short.pem"));
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    // What a name may hold, and a page must escape.
    let subject = "/CN=<img src=x onerror=alert(1)>";
    let request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", subject];
    openssl(&[&request[..], &["-keyout", &path(&key), "-out", &path(&file)]].concat(), b"");
    let pem = fs::read_to_string(&key).unwrap() + &fs::read_to_string(&file).unwrap();
    fs::write(&file, &pem).unwrap();
    sim.entra.register(&pem);
    let proxy = Proxy::start_with(&sim, &[ADMIN, ("AZURE_CERTIFICATE_PATH", &path(&file))]);
    let page = status_page(&proxy);
    shows(
        &page,
        &[
            "CN=\\&lt;img src=x onerror=alert(1)\\&gt;",
            "the certificate expires soon; renew it: within_days=7",
        ],
    );
    // Two days, less the time since then.
    let expiry = urgent(&page).remove(0);
    assert!(
        ["2 days left, renew it", "1 day left, renew it"].iter().any(|left| expiry.ends_with(left)),
        "{expiry}"
    );
    fs::write(&file, "rubbish").unwrap();
    proxy.wait_log("still_in_use=");
    let page = status_page(&proxy);
    shows(&page, &["<h1>auth-proxy is ready</h1>", "still_in_use="]);
    for line in key_lines(&pem) {
        assert!(!page.contains(&line), "{page}");
    }
}

/// Equal ones are counted, the log's level does not matter, and no request's path is shown.
#[test]
fn problems_are_those_of_the_log_whatever_it_prints() {
    let sim = plain();
    sim.azure.stop();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let proxy = Proxy::start_silent(&sim, &[("ADMIN_PORT", &port), ("LOG_LEVEL", "error")]);
    for number in 0..3 {
        assert_eq!(proxy.client().get(&format!("/a-path-{number}?q=a-query")).status, 502);
    }
    let admin = ([127, 0, 0, 1], port.parse().unwrap()).into();
    wait_for("three problems on the page", || {
        Client::connect(admin).get("/").text().contains("\n3 times since\n")
    });
    let page = Client::connect(admin).get("/");
    check_document(&page);
    shows(&page.text(), &["<td class=\"nowrap\">connect<td>request failed: ", "failures<td>connect 3"]);
    for text in ["a-path", "a-query"] {
        assert!(!page.text().contains(text), "{}", page.text());
    }
    assert_eq!(proxy.log(), Vec::<String>::new());
}

#[test]
fn while_requests_drain_the_page_says_so_and_nothing_is_red() {
    let sim = plain();
    let proxy = Proxy::start_with(&sim, &[ADMIN, ("SHUTDOWN_GRACE", "20s")]);
    let mut stream = Raw::connect(proxy.address());
    stream.send("GET /sim/sse?events=1000&pause_ms=20 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(!stream.read_some(timeout()).unwrap().is_empty());
    proxy.signal("TERM");
    proxy.wait_log("stopping");
    wait_for("the shutdown on the page", || status_page(&proxy).contains("<td>the proxy is stopping</tr>"));
    assert_eq!(urgent(&status_page(&proxy)), Vec::<String>::new());
}

#[test]
fn pages_are_read_with_get_and_head_alone() {
    let sim = plain();
    let proxy = Proxy::start_with(&sim, &[ADMIN]);
    let mut client = Client::connect(proxy.admin_address());
    for path in ["/", "/?refresh", "/config"] {
        let head = client.request("HEAD", path, &[], b"");
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        let get = client.get(path);
        for name in ["content-type", "content-security-policy", "cache-control", "x-content-type-options"] {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let response = client.request(method, path, &[], b"");
            assert_eq!((response.status, response.header("allow").as_deref()), (405, Some("GET, HEAD")));
        }
    }
    assert!(sim.azure.requests().is_empty());
}

#[test]
fn config_has_every_setting_where_it_comes_from_and_what_follows() {
    let sim = plain();
    let proxy = Proxy::start_with(
        &sim,
        &[ADMIN, ("PROXY_API_KEY", KEY), ("CONNECT_TIMEOUT", "2m"), ("HOST", "localhost")],
    );
    let response = proxy.admin("/config");
    assert_eq!(response.header("content-type").as_deref(), Some("application/json"));
    assert_eq!(response.header("cache-control").as_deref(), Some("no-store"));
    let page = response.json();
    let settings = page["settings"].as_object().unwrap();
    assert_eq!(settings.len(), SETTINGS.len());
    // These tests set the level themselves.
    let mut set = vec!["LOG_LEVEL".to_owned(), "PROXY_API_KEY".to_owned(), "CONNECT_TIMEOUT".to_owned()];
    set.extend(environment(&sim, &[ADMIN]).into_iter().map(|(name, _)| name));
    for setting in SETTINGS {
        let shown = &settings[setting.name];
        assert!(shown["value"].as_str().is_some_and(|value| !value.is_empty()), "{}: {shown}", setting.name);
        let is_set = set.iter().any(|name| name == setting.name);
        assert_eq!(shown["source"], if is_set { "environment" } else { "default" }, "{}", setting.name);
    }
    let value = |name: &str| settings[name]["value"].as_str().unwrap();
    assert_eq!((value("PROXY_API_KEY"), value("CONNECT_TIMEOUT")), ("set", "120s"));
    assert_eq!((value("ADMIN_HOST"), value("AZURE_CERTIFICATE_PASSWORD")), ("localhost", "unset"));
    assert_eq!(value("AZURE_SCOPE"), "https://cognitiveservices.azure.com/.default");
    assert_eq!(page["version"], env!("CARGO_PKG_VERSION"));
    assert!(page["target"].as_str().unwrap().contains("linux"), "{page}");
    let derived = &page["derived"];
    assert_eq!((&derived["credential"], &derived["route"]), (&"certificate".into(), &"direct".into()));
    assert_eq!(derived["because"], "AZURE_CERTIFICATE_PATH is set");
    assert_eq!(derived["token_url"], sim.token_url());
    assert_eq!(derived["upstream"], sim.azure_url());
    assert_eq!(
        (&derived["limits"]["connections"], &derived["limits"]["lowered_by"]),
        (&1024.into(), &().into())
    );
    assert!(derived["limits"]["descriptors"].as_u64().is_none_or(|limit| limit > 1024), "{page}");
}

/// Each variable that takes any text, or takes none because another credential signs in.
#[test]
fn no_secret_is_on_any_page() {
    let sim = plain();
    let proxy_url = format!("http://user:{PASSWORD}@127.0.0.1:9");
    let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl";
    let key = "3c9d0e5f6a7b8c1d2e3f4a5b6c7d8e9f";
    let pem = client_pem("somebody");
    let variables = [
        ADMIN,
        ("PROXY_API_KEY", KEY),
        ("AZURE_CLIENT_CERTIFICATE_PASSWORD", PASSWORD),
        ("AZURE_CERTIFICATE_PASSWORD", PASSWORD),
        ("HTTPS_PROXY", proxy_url.as_str()),
        ("NO_PROXY", &format!("{key},user:{PASSWORD},{jwt}")),
        ("IDENTITY_HEADER", key),
        ("IDENTITY_ENDPOINT", jwt),
        ("IMDS_ENDPOINT", key),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", &proxy_url),
        ("AZURE_KUBERNETES_TOKEN_PROXY", jwt),
        ("AZURE_KUBERNETES_CA_FILE", &pem),
        ("AZURE_KUBERNETES_CA_DATA", &pem),
        ("AZURE_KUBERNETES_SNI_NAME", key),
        ("AZURE_FEDERATED_TOKEN_FILE", PASSWORD),
        ("API_BASE_URL", &format!("{}/{key}", sim.azure_url())),
        ("LOG_LEVEL", "debug"),
    ];
    let proxy = Proxy::start_with(&sim, &variables);
    // What clients and upstream send, too.
    let headers = [("api-key", KEY), ("cookie", PASSWORD)];
    // In a code, too, Azure may repeat what somebody has sent.
    sim.azure.script([
        ScriptedResponse::status(401).body(format!("{{\"error\":\"{jwt}\"}}")),
        ScriptedResponse::status(403).json(&serde_json::json!({"error": {"code": jwt}})),
    ]);
    for status in [401, 403] {
        let response = proxy.client().request("POST", &format!("/x?key={key}"), &headers, jwt.as_bytes());
        assert_eq!(response.status, status);
    }
    assert_eq!(proxy.client().get(&format!("/x?key={key}")).status, 401);
    sim.azure.stop();
    assert_eq!(
        proxy.client().request("POST", &format!("/x?key={key}"), &headers, jwt.as_bytes()).status,
        502
    );
    let mut secrets = vec![KEY.to_owned(), PASSWORD.to_owned(), key.to_owned(), "eyJ".to_owned()];
    secrets.push(STANDARD.encode(format!("user:{PASSWORD}")));
    secrets.extend(key_lines(&pem));
    secrets.extend(key_lines(&fs::read_to_string(sim.certificate_path()).unwrap()));
    for path in ["/", "/config", "/metrics", "/readyz"] {
        let page = proxy.admin(path).text();
        for secret in &secrets {
            assert!(!page.contains(secret.as_str()), "{secret} on {path}: {page}");
        }
    }
    for line in proxy.log() {
        for secret in secrets.iter().filter(|secret| !line.contains("path=") || *secret != key) {
            assert!(!line.contains(secret.as_str()), "{secret} in {line}");
        }
    }
    let config = proxy.admin("/config").json();
    for unused in ["IDENTITY_HEADER", "AZURE_FEDERATED_TOKEN_FILE"] {
        assert_eq!(config["settings"][unused]["value"], "set", "{unused}");
        assert_eq!(config["settings"][unused]["used"], false, "{unused}");
    }
    assert_eq!(config["settings"]["HTTPS_PROXY"]["value"], "http://127.0.0.1:9");
}
