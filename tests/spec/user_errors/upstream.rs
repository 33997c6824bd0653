//! Faults on the way to the upstream, and rights that are missing there. The user sees the caller's 502, the log,
//! or what `auth-proxy check` makes of the upstream's response, which itself passes unchanged.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::json;

use super::{Told, told};
use crate::fixture::{Proxy, environment, run_to_end};
use crate::sim::{ScriptedResponse, Options, Sim};

type Setting = (&'static str, &'static str, (&'static str, &'static str), &'static str, Told);

/// A name for the fault, `API_BASE_URL`, one more variable, the code of the response, and what is told. `TLS` and
/// `PLAIN` stand for the ports of two simulated upstreams, `WEB` for that of a web server.
pub(super) const SETTINGS: &[Setting] = &[
    (
        "a misspelt name",
        "https://no-such-name.invalid",
        ("", ""),
        "upstream_dns",
        // Where no name server can be asked at all, spelling is no remedy.
        told("cannot resolve no-such-name.invalid", "DNS inside this container or host"),
    ),
    (
        "nobody listens there",
        "https://localhost:1",
        ("", ""),
        "upstream_unreachable",
        told("cannot connect to localhost", "check firewall and network policy"),
    ),
    (
        "a private CA that is not trusted",
        "https://localhost:TLS",
        ("SSL_CERT_FILE", ""),
        "upstream_tls",
        told("TLS handshake with localhost failed", "set SSL_CERT_FILE to the CA bundle"),
    ),
    (
        "https to a port of plain HTTP",
        "https://localhost:WEB",
        ("", ""),
        "upstream_tls",
        told("TLS handshake with localhost failed", "check scheme and port"),
    ),
    (
        "http to a port of TLS",
        "http://localhost:TLS",
        ("", ""),
        "upstream_",
        told("kind=", "scheme of API_BASE_URL"),
    ),
    (
        "an egress proxy that is not there",
        "https://azure.sim.test:TLS",
        ("HTTPS_PROXY", "http://127.0.0.1:1"),
        "upstream_egress_proxy",
        told("egress proxy 127.0.0.1:1", "check HTTPS_PROXY"),
    ),
    (
        "an egress proxy whose name is misspelt",
        "https://azure.sim.test:TLS",
        ("HTTPS_PROXY", "http://no-such-proxy.invalid:3128"),
        "upstream_egress_proxy",
        told("egress proxy no-such-proxy.invalid:3128: cannot resolve its name", "check HTTPS_PROXY"),
    ),
    (
        "patience too short for the model",
        "http://localhost:PLAIN",
        ("READ_IDLE_TIMEOUT", "200ms"),
        "upstream_timeout",
        told("silent for longer than READ_IDLE_TIMEOUT", "raise READ_IDLE_TIMEOUT"),
    ),
];

#[test]
fn errors_on_the_way_to_the_upstream() {
    let plain = Options { entra_tls: false, azure_tls: false, ..Options::default() };
    let (tls, plain) = (Sim::start(Options { entra_tls: false, ..Options::default() }), Sim::start(plain));
    let web = web_server();
    for (fault, base, (variable, value), code, told) in SETTINGS {
        let base = base.replace("TLS", &tls.azure.server.port().to_string());
        let base = base.replace("PLAIN", &plain.azure.server.port().to_string());
        let base = base.replace("WEB", &web.to_string());
        let mut variables = vec![("API_BASE_URL", &*base), ("NO_PROXY", "localhost")];
        variables.extend((!variable.is_empty()).then_some((*variable, *value)));
        let proxy = Proxy::start_with(&plain, &variables);
        let response = proxy.client().get("/sim/slow?ms=60000");
        let code_at_the_client = response.json()["error"]["code"].as_str().unwrap().to_owned();
        assert!(code_at_the_client.starts_with(code), "{fault}: {code_at_the_client}");
        let remedy = response.json()["error"]["remedy"].as_str().unwrap_or_default().to_owned();
        assert!(remedy.contains(told.next), "{fault}: {remedy:?}");
        told.stands_in(&proxy.wait_log("request failed"), fault);
    }
}

/// The port of a server that calls one request bad, as web servers do when they are sent TLS.
fn web_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    port
}

/// A name for the fault, Azure's response to it (status and message), and what `check` tells.
pub(super) const RESPONSES: &[(&str, u16, &str, Told)] = &[
    (
        "the role is not assigned",
        401,
        "The principal `x` lacks the required data action `y` to perform `GET /openai/models` operation.",
        told("signed in, but without the right to it", "assign the role Cognitive Services OpenAI User"),
    ),
    (
        "the scope of another service",
        401,
        "Unauthorized. Access token is missing, invalid, audience is incorrect, or have expired.",
        told("does not accept the token", "set AZURE_SCOPE=https://ai.azure.com/.default"),
    ),
    (
        "a regional endpoint",
        400,
        "Please provide a custom subdomain for token authentication, otherwise API key is required.",
        told("takes keys but no tokens", "set API_BASE_URL to the resource's own name"),
    ),
    (
        "a resource behind a firewall",
        403,
        "Public access is disabled. Please configure private endpoint.",
        told("its network rules block this machine", "use the private endpoint's name and DNS"),
    ),
    (
        "a path that Azure does not have",
        404,
        "Resource not found",
        told("there is no such path", "API_BASE_URL is put in front of every request's path"),
    ),
];

#[test]
fn errors_that_the_upstream_returns() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    for (fault, status, message, told) in RESPONSES {
        let body = json!({"error": {"code": status.to_string(), "message": message}});
        sim.azure.script([ScriptedResponse::status(*status).json(&body)]);
        let finished = run_to_end(&["check"], environment(&sim, &[]));
        told.stands_in(&finished.stdout, fault);
        assert!(finished.stdout.contains(message), "{fault}: {}", finished.stdout);
        assert_eq!(finished.status.code(), Some(6), "{fault}");
    }
}
