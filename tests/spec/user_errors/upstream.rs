//! Mistakes on the way to the upstream, and rights that are missing there. The user sees the client's 502 or 504, the log, or
//! what `auth-proxy check` makes of the upstream's response, which itself passes unchanged. Certificates that are not trusted
//! are in `network_faults::certificates`.

use serde_json::json;

use super::{Diagnosis, diagnosis};
use crate::sim::{Options, ScriptedResponse, Sim};
use crate::support::program::{Proxy, environment, run_to_end};

type Setting = (&'static str, &'static str, (&'static str, &'static str), &'static str, Diagnosis);

/// A name for the mistake, `API_BASE_URL`, one more variable, the code of the response, and the diagnosis. `TLS` and
/// `PLAIN` stand for the ports of two simulated upstreams.
const SETTINGS: &[Setting] = &[
    (
        "a misspelled name",
        "https://no-such-name.invalid",
        ("", ""),
        "upstream_dns",
        // Where no name server can be asked at all, spelling is no remedy.
        diagnosis("cannot resolve no-such-name.invalid", "DNS inside this container or host"),
    ),
    (
        "nobody listens there",
        "https://localhost:1",
        ("", ""),
        "upstream_unreachable",
        diagnosis("cannot connect to localhost", "check firewall and network policy"),
    ),
    (
        "http to a port of TLS",
        "http://localhost:TLS",
        ("", ""),
        "upstream_",
        diagnosis("kind=", "scheme of API_BASE_URL"),
    ),
    (
        "an egress proxy that is not there",
        "https://azure.sim.test:TLS",
        ("HTTPS_PROXY", "http://127.0.0.1:1"),
        "upstream_egress_proxy",
        diagnosis("egress proxy 127.0.0.1:1", "check HTTPS_PROXY"),
    ),
    (
        "an egress proxy whose name is misspelled",
        "https://azure.sim.test:TLS",
        ("HTTPS_PROXY", "http://no-such-proxy.invalid:3128"),
        "upstream_egress_proxy",
        diagnosis("egress proxy no-such-proxy.invalid:3128: cannot resolve its name", "check HTTPS_PROXY"),
    ),
    (
        "a timeout that is too short for the model",
        "http://localhost:PLAIN",
        ("READ_IDLE_TIMEOUT", "200ms"),
        "upstream_timeout",
        diagnosis("no data within READ_IDLE_TIMEOUT", "raise READ_IDLE_TIMEOUT"),
    ),
];

#[test]
fn errors_on_the_way_to_the_upstream() {
    let plain = Options { entra_tls: false, azure_tls: false, ..Options::default() };
    let (tls, plain) = (Sim::start(Options { entra_tls: false, ..Options::default() }), Sim::start(plain));
    for (mistake, base, (variable, value), code, expected) in SETTINGS {
        let base = base.replace("TLS", &tls.azure.server.port().to_string());
        let base = base.replace("PLAIN", &plain.azure.server.port().to_string());
        let mut variables = vec![("API_BASE_URL", &*base), ("NO_PROXY", "localhost")];
        variables.extend((!variable.is_empty()).then_some((*variable, *value)));
        let proxy = Proxy::start_with(&plain, &variables);
        let response = proxy.client().get("/sim/slow?ms=60000");
        let status = if *code == "upstream_timeout" { 504 } else { 502 };
        assert_eq!((response.status, response.header("x-should-retry")), (status, None), "{mistake}");
        let code_at_the_client = response.json()["error"]["code"].as_str().unwrap().to_owned();
        assert!(code_at_the_client.starts_with(code), "{mistake}: {code_at_the_client}");
        let remedy = response.json()["error"]["remedy"].as_str().unwrap_or_default().to_owned();
        assert!(remedy.contains(expected.next), "{mistake}: {remedy:?}");
        expected.assert_in(&proxy.wait_log("request failed"), mistake);
    }
}

/// A name for the mistake, Azure's response to it (status and message), and what `check` reports.
const REFUSALS: &[(&str, u16, &str, Diagnosis)] = &[
    (
        "the role is not assigned",
        401,
        "The principal `x` lacks the required data action `y` to perform `GET /openai/models` operation.",
        diagnosis("signed in, but not authorized", "assign the role Cognitive Services OpenAI User"),
    ),
    (
        "a token that is refused whichever of the usual scopes it is for",
        401,
        "Unauthorized. Access token is missing, invalid, audience is incorrect, or have expired.",
        diagnosis("does not accept the token", "check AZURE_SCOPE: its host must be the audience"),
    ),
    (
        "a regional endpoint",
        400,
        "Please provide a custom subdomain for token authentication, otherwise API key is required.",
        diagnosis("accepts keys only, no tokens", "set API_BASE_URL to the resource's own name"),
    ),
    (
        "a resource behind a firewall",
        403,
        "Public access is disabled. Please configure private endpoint.",
        diagnosis("its network rules block this machine", "use the private endpoint's name and DNS"),
    ),
    (
        "a path that Azure does not have",
        404,
        "Resource not found",
        diagnosis("there is no such path", "the path of API_BASE_URL precedes every request's path"),
    ),
];

#[test]
fn errors_that_the_upstream_returns() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    for (mistake, status, message, expected) in REFUSALS {
        let body = json!({"error": {"code": status.to_string(), "message": message}});
        sim.azure.script([ScriptedResponse::status(*status).json(&body)]);
        let finished = run_to_end(&["check"], environment(&sim, &[]));
        expected.assert_in(&finished.stdout, mistake);
        assert!(finished.stdout.contains(message), "{mistake}: {}", finished.stdout);
        assert_eq!(finished.status.code(), Some(6), "{mistake}");
    }
}
