//! No secret is shown, whatever goes wrong:
//!
//! - keys, tokens, assertions, passwords, bodies, queries and header values are in no log line, not at debug level either;
//! - an assertion that an error of Entra ID repeats is not shown;
//! - a secret that somebody put into the wrong variable is not shown.

use std::collections::HashSet;
use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use auth_proxy::testing::SETTINGS;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::json;

use crate::sim::{Egress, Options, ScriptedResponse, Sim, Step, client_pem, latin1, openssl, wait_for};
use crate::support::client::Client;
use crate::support::program::{Proxy, environment, run_to_end};
use crate::support::secrets::key_lines;

use crate::support::api::{CHAT, MODELS, chat, field};
use crate::support::rotation::{Pair, used};

const CLIENT_KEY: &str = "clients-key+/0123456789abcdef";
const CLIENT_KEY_ESCAPED: &str = "clients-key%2B%2f0123456789abcdef";
const FOREIGN_KEY: &str = "sk-foreign-key-0123456789";
const QUERY: &str = "query-value-0123456789";
const BODY: &str = "body-text-0123456789";
const RESPONSE: &str = "response-text-0123456789";
const HEADER: &str = "header-value-0123456789";
const PROXY_PASSWORD: &str = "proxy-p@ssword-0123456789";

/// The secret in base64, whatever stands before it, and with escapes.
fn encodings(secret: &str) -> Vec<String> {
    // Three alignments, each without the characters that adjacent bytes share.
    let mut encodings: Vec<String> = (0..3)
        .map(|shift| {
            let text = STANDARD_NO_PAD.encode("x".repeat(shift) + secret);
            text[(shift * 8).div_ceil(6)..text.len() - 1].to_owned()
        })
        .collect();
    let escape = |byte| -> String {
        match byte {
            b'+' | b'/' | b'@' | b'=' => format!("%{byte:02X}"),
            byte => char::from(byte).into(),
        }
    };
    encodings.push(secret.bytes().map(escape).collect());
    encodings.push(encodings[3].to_lowercase());
    encodings
}

/// Requests of every kind, with a secret wherever a secret can be.
fn traffic(sim: &Sim, proxy: &Proxy) {
    let chat = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": BODY}]}).to_string();
    let ask = |client: &mut Client, target: &str, headers: &[(&str, &str)]| {
        let common =
            [("Cookie", HEADER), ("OpenAI-Organization", HEADER), ("Content-Type", "application/json")];
        client.request("POST", target, &[headers, &common].concat(), chat.as_bytes())
    };
    let (bearer, foreign) = (format!("Bearer {CLIENT_KEY}"), format!("Bearer {FOREIGN_KEY}"));
    let mut client = proxy.client();
    for key in [CLIENT_KEY, CLIENT_KEY_ESCAPED] {
        let target = format!("{CHAT}?q={QUERY}&api-key={key}&subscription-key={FOREIGN_KEY}");
        assert_eq!(ask(&mut client, &target, &[("api-key", FOREIGN_KEY)]).status, 200);
    }
    assert_eq!(ask(&mut client, CHAT, &[("Authorization", &bearer), ("api-key", FOREIGN_KEY)]).status, 200);
    assert_eq!(ask(&mut client, CHAT, &[("Authorization", &foreign)]).status, 401);
    // What the upstream responds, in whole or in half.
    let error = json!({"error": {"message": RESPONSE}});
    let responses = [
        ScriptedResponse::status(500).header("Set-Cookie", RESPONSE).json(&error),
        ScriptedResponse::status(401).json(&error),
        ScriptedResponse::status(307).header("Location", &format!("https://x.test/?{RESPONSE}")),
        ScriptedResponse::raw(format!("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{RESPONSE}")),
        ScriptedResponse::raw(format!("{RESPONSE}\r\n\r\n")),
        ScriptedResponse::raw(format!("HTTP/1.1 200 OK\r\nX: {RESPONSE}\u{1}\r\n\r\n")),
        ScriptedResponse::raw(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n{RESPONSE}")),
        ScriptedResponse::drop_connection(),
    ];
    for response in responses {
        sim.azure.script([response]);
        let _ = ask(&mut proxy.client(), &format!("{CHAT}?q={QUERY}"), &[("api-key", CLIENT_KEY)]);
    }
    // Requests that nobody can make sense of.
    let heads = [
        format!("GET {MODELS}?q={QUERY}\u{1} HTTP/1.1\r\nHost: localhost\r\napi-key: {CLIENT_KEY}\r\n\r\n"),
        format!(
            "GET http://x.test/{QUERY}?{QUERY} HTTP/1.1\r\nHost: localhost\r\napi-key: {CLIENT_KEY}\r\n\r\n"
        ),
        format!("GET {MODELS}#{QUERY} HTTP/1.1\r\nHost: localhost\r\napi-key: {CLIENT_KEY}\r\n\r\n"),
        format!(
            "GET {MODELS} HTTP/1.1\r\nHost: localhost\r\nBad Name: {HEADER}\r\napi-key: {CLIENT_KEY}\r\n\r\n"
        ),
        format!("GET {MODELS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {HEADER}\r\n\r\n"),
        format!("{HEADER} {MODELS} HTTP/1.1 {HEADER}\r\n\r\n"),
        format!(
            "GET /openai/v1/realtime?model=m&api-key={CLIENT_KEY}&q={QUERY} HTTP/1.1\r\nHost: localhost\r\nConnection: \
             Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \
             dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: realtime, openai-insecure-api-key.{FOREIGN_KEY}\r\n\r\n"
        ),
        format!(
            "POST {CHAT}?{QUERY} HTTP/1.1\r\nHost: localhost\r\napi-key: {CLIENT_KEY}\r\nContent-Length: 900\r\n\r\n{BODY}"
        ),
        format!(
            "POST {CHAT} HTTP/1.1\r\nHost: localhost\r\napi-key: {CLIENT_KEY}\r\nTransfer-Encoding: chunked\r\n\r\n{BODY}"
        ),
    ];
    for head in heads {
        let mut client = proxy.client();
        client.raw.send(head).unwrap();
        let _ = client.raw.socket().shutdown(std::net::Shutdown::Write);
        let _ = client.raw.read_to_end(Duration::from_secs(2));
    }
}

/// Sign-ins that fail, each response with something in it that must not be shown.
fn script_failed_sign_ins(sim: &Sim) {
    let token = |text: &str| {
        let json = json!({"token_type": "Bearer", "expires_in": 3600, "access_token": text});
        ScriptedResponse::status(200).json(&json)
    };
    let described = json!({
        "error": "invalid_request", "error_codes": [90033],
        "error_description": format!("AADSTS90033: no {} here", "eyJhbGciOi".repeat(20)),
    });
    sim.entra.script([
        ScriptedResponse::token(12).refresh_in(1),
        token(&format!("{RESPONSE}\n")),
        ScriptedResponse::status(503).body(RESPONSE),
        ScriptedResponse::status(400).json(&described),
        ScriptedResponse::status(200).body(format!("{{\"access_token\":\"{RESPONSE}\"")),
        ScriptedResponse::steps([Step::Close]),
    ]);
}

fn no_secret_is_logged(format: &str) {
    let sim = Sim::start(Options { token_lifetime: 3, refresh_in: Some(1), ..Options::default() });
    let first = fs::read_to_string(sim.certificate_path()).unwrap();
    let basic = STANDARD.encode(format!("user:{PROXY_PASSWORD}"));
    let egress = Egress::start(Some(&format!("Basic {basic}")));
    let escaped = PROXY_PASSWORD.replace('@', "%40");
    let authority = format!("entra.sim.test:{}", sim.entra.server.port());
    let base = format!("https://azure.sim.test:{}", sim.azure.server.port());
    script_failed_sign_ins(&sim);
    let proxy = Proxy::spawn(environment(
        &sim,
        &[
            ("AZURE_AUTHORITY_HOST", &authority),
            ("API_BASE_URL", &base),
            ("HTTPS_PROXY", &format!("http://user:{escaped}@127.0.0.1:{}", egress.server.port())),
            ("PROXY_API_KEY", CLIENT_KEY),
            ("LOG_LEVEL", "debug"),
            ("LOG_FORMAT", format),
        ],
    ));
    proxy.wait_healthy();
    traffic(&sim, &proxy);
    // A file whose key is damaged, then one that is whole.
    let pair = Pair::uploaded(0, &sim);
    fs::write(sim.certificate_path(), pair.pem.replacen("MII", "MI!", 1)).unwrap();
    proxy.wait_log("still_in_use");
    wait_for("the scripted trouble to be over", || sim.entra.script_left() == 0);
    fs::write(sim.certificate_path(), &pair.pem).unwrap();
    used(&sim, pair);

    let mut secrets: Vec<String> = [
        CLIENT_KEY,
        CLIENT_KEY_ESCAPED,
        FOREIGN_KEY,
        QUERY,
        BODY,
        RESPONSE,
        HEADER,
        PROXY_PASSWORD,
        &basic,
        &escaped,
    ]
    .map(str::to_owned)
    .to_vec();
    secrets.extend([&first, &pair.pem].into_iter().flat_map(|pem| key_lines(pem)));
    for issued in sim.entra.issued() {
        secrets.extend(issued.token.split('.').skip(1).map(str::to_owned));
    }
    for request in sim.entra.requests() {
        secrets.extend(field(&request, "client_assertion").split('.').skip(1).map(str::to_owned));
    }
    // What is in a header or a query can turn up encoded.
    let encoded: Vec<String> = secrets.iter().flat_map(|secret| encodings(secret)).collect();
    secrets.extend(encoded);
    secrets.push("eyJ".into());
    assert!(secrets.len() > 60 && secrets.iter().all(|secret| secret.len() > 2));
    let log = proxy.log();
    for line in &log {
        let leaked: Vec<&String> = secrets.iter().filter(|secret| line.contains(secret.as_str())).collect();
        assert!(leaked.is_empty(), "{leaked:?} in {line}");
    }
    let all = log.join("\n");
    for expected in ["debug", "token request", "request failed", CHAT, "token refresh failed", "AADSTS90033"]
    {
        assert!(all.contains(expected), "the search is in vain, there is no {expected:?}:\n{all}");
    }
}

#[test]
fn no_secret_is_logged_in_text_or_json() {
    std::thread::scope(|scope| {
        for format in ["text", "json"] {
            scope.spawn(move || no_secret_is_logged(format));
        }
    });
}

#[test]
fn an_assertion_that_comes_back_in_an_error_is_not_shown() {
    let sim = Sim::start(Options::default());
    let jwt = format!("eyJhbGciOiJSUzI1NiJ9.{}.{}", "eyJzdWIi".repeat(40), "c2lnbmF0dXJl".repeat(28));
    let file = sim.dir.join("federated-token");
    fs::write(&file, &jwt).unwrap();
    let refusal = json!({
        "error": "invalid_client", "error_codes": [50027], "trace_id": jwt, "correlation_id": jwt,
        "error_description": format!("AADSTS50027: '{jwt}' ({jwt}) \"{jwt}\" Trace ID: {jwt}"),
    });
    sim.entra.script([ScriptedResponse::status(401).json(&refusal)]);
    let variables = [
        ("AZURE_CERTIFICATE_PATH", ""),
        ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap()),
        ("LOG_LEVEL", "debug"),
    ];
    let proxy = Proxy::start_listening(&sim, &variables);
    proxy.wait_log("AADSTS50027");
    let output = proxy.log().join("\n") + &proxy.health().text() + &chat(&mut proxy.client()).text();
    for secret in ["eyJzdWIi", "c2lnbmF0dXJl", "eyJhbGci"] {
        assert!(!output.contains(secret), "{output}");
    }
}

/// A secret that got into a variable by a mix-up: the value, and what of it must not be seen.
struct Misplaced {
    value: String,
    secret: String,
}

impl Misplaced {
    fn whole(value: &str) -> Self {
        Self { value: value.to_owned(), secret: value.to_owned() }
    }

    fn part(value: String, secret: &str) -> Self {
        Self { value, secret: secret.to_owned() }
    }
}

/// Every kind of secret that people handle beside this program.
fn misplaced(sim: &Sim) -> Vec<Misplaced> {
    let pem = client_pem("misplaced");
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let file = sim.dir.join("misplaced.pem");
    fs::write(&file, &pem).unwrap();
    let file = file.to_str().unwrap();
    let pfx = openssl(&["pkcs12", "-export", "-passout", "pass:", "-in", file], b"");
    let key = openssl(&["pkey", "-in", file, "-outform", "DER"], b"");
    let part = |text: &str| STANDARD.encode(text).replace('+', "-").replace('/', "_").replace('=', "");
    let jwt = [
        r#"{"alg":"RS256"}"#,
        r#"{"sub":"system:serviceaccount:default:litellm-production"}"#,
        &pem[40..400],
    ];
    vec![
        Misplaced::part(pem.clone(), &body),
        Misplaced::part(pem.replace('\n', "\\n"), &body),
        // What is left of it where lines are variables.
        Misplaced::part(pem.lines().nth(1).unwrap().to_owned(), &body),
        Misplaced::whole(&STANDARD.encode(&pem)),
        Misplaced::whole(&STANDARD.encode(pfx)),
        Misplaced::whole(&STANDARD.encode(key)),
        Misplaced::whole(&jwt.map(part).join(".")),
        Misplaced::whole("abc8Q~Zk3mV-x.9pLq_TrW2sYb7NdEfGhJ~uKiOa"),
        Misplaced::whole("3c9d0e5f6a7b8c1d2e3f4a5b6c7d8e9f"),
        Misplaced::whole(
            "8kTzQ2vXw9LmN4bR7cJ1dF6gH3sA5pY0uE8iO2kTzQ2vXw9LmN4bRJQQJ99BKACYeBjFXJ3w3AAABACOGx7Y",
        ),
        Misplaced::part("http://user:S3cretPassw0rd@127.0.0.1:1".to_owned(), "S3cretPassw0rd"),
        Misplaced::part("alice:correct-horse-battery".to_owned(), "correct-horse-battery"),
    ]
}

/// One setting after the other, and both spellings of those that have two.
#[test]
fn a_secret_in_the_wrong_variable_is_not_shown() {
    let sim = Sim::start(Options::default());
    // So that a start ends, where it does not mind the value.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().port().to_string();
    let kinds = misplaced(&sim);
    let names: Vec<&str> =
        SETTINGS.iter().map(|setting| setting.name).chain(["https_proxy", "no_proxy"]).collect();
    let windows =
        |text: &str| -> HashSet<Vec<u8>> { text.as_bytes().windows(8).map(<[u8]>::to_vec).collect() };
    std::thread::scope(|scope| {
        for names in names.chunks(names.len().div_ceil(4)) {
            let (sim, taken, kinds) = (&sim, &taken, &kinds);
            scope.spawn(move || {
                for (name, Misplaced { value, secret }) in
                    names.iter().flat_map(|name| kinds.iter().map(move |kind| (name, kind)))
                {
                    let mut variables = vec![("PORT", taken.as_str())];
                    // What hides the value, or keeps it from mattering.
                    match *name {
                        "AZURE_CLIENT_CERTIFICATE_PATH" | "AZURE_FEDERATED_TOKEN_FILE" => {
                            variables.push(("AZURE_CERTIFICATE_PATH", ""))
                        }
                        "IDENTITY_ENDPOINT"
                        | "IDENTITY_HEADER"
                        | "IMDS_ENDPOINT"
                        | "AZURE_POD_IDENTITY_AUTHORITY_HOST" => {
                            variables.push(("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential"));
                            if *name == "IDENTITY_HEADER" {
                                variables.push(("IDENTITY_ENDPOINT", "http://127.0.0.1:1/"));
                            }
                        }
                        "AZURE_KUBERNETES_CA_FILE"
                        | "AZURE_KUBERNETES_CA_DATA"
                        | "AZURE_KUBERNETES_SNI_NAME"
                        | "AZURE_KUBERNETES_TOKEN_PROXY" => {
                            variables.push(("AZURE_TOKEN_CREDENTIALS", "WorkloadIdentityCredential"));
                            variables.push(("AZURE_FEDERATED_TOKEN_FILE", "token"));
                            variables.push(("AZURE_KUBERNETES_TOKEN_PROXY", "https://127.0.0.1:1"));
                        }
                        "NO_PROXY" | "no_proxy" => variables.push(("HTTPS_PROXY", "http://127.0.0.1:1")),
                        _ => {}
                    }
                    variables.push((*name, value.as_str()));
                    let secret = windows(secret);
                    for arguments in [&[][..], &["check"], &["check", "--json"]] {
                        let ran = run_to_end(arguments, environment(sim, &variables));
                        let output = ran.stdout + &ran.stderr;
                        let leaked: Vec<_> =
                            windows(&output).intersection(&secret).map(|text| latin1(text)).collect();
                        assert!(leaked.is_empty(), "{name}={value}, {arguments:?}: {leaked:?} in\n{output}");
                        // It was refused by name, or this variable takes any text.
                        let takes = [
                            "PROXY_API_KEY",
                            "AZURE_CLIENT_CERTIFICATE_PASSWORD",
                            "AZURE_CERTIFICATE_PASSWORD",
                            "NO_PROXY",
                            "no_proxy",
                            "HTTPS_PROXY",
                            "https_proxy",
                            "IDENTITY_HEADER",
                            "IMDS_ENDPOINT",
                            // A certificate is what it should have, and one of these has one.
                            "AZURE_KUBERNETES_CA_DATA",
                        ]
                        .contains(name);
                        let refused = ran.status.code() == Some(2) && output.contains(name);
                        assert!(
                            refused || takes && !output.is_empty(),
                            "{name}={value}, {arguments:?}: {output}"
                        );
                        assert!(!output.contains("panicked"), "{name}={value}, {arguments:?}: {output}");
                    }
                }
            });
        }
    });
}
