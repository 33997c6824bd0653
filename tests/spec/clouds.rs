//! Sovereign and private clouds, and an egress proxy:
//!
//! - the authority is a host or a URL, the tenant an id or a domain, the scope follows from `API_BASE_URL`;
//! - token and API requests alike go through `HTTPS_PROXY`, unless `NO_PROXY` names the host;
//! - wrong credentials for the egress proxy are reported and not shown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::sim::{Egress, Options, Sim};
use crate::support::program::{Proxy, environment};

use crate::support::api::{MODELS, chat};

#[test]
fn the_authority_is_a_host_or_a_url_with_or_without_a_slash() {
    let sim = Sim::start(Options::default());
    let port = sim.entra.server.port();
    for authority in [
        format!("localhost:{port}"),
        format!("https://localhost:{port}"),
        format!("https://localhost:{port}/"),
        format!(" https://LOCALHOST:{port}// "),
    ] {
        let proxy = Proxy::start_with(&sim, &[("AZURE_AUTHORITY_HOST", &authority)]);
        assert_eq!(chat(&mut proxy.client()).status, 200, "{authority:?}");
    }
}

#[test]
fn the_tenant_may_be_a_domain() {
    let sim = Sim::start(Options { tenant: "contoso.onmicrosoft.com".into(), ..Options::default() });
    let proxy = Proxy::start(&sim);
    assert_eq!(chat(&mut proxy.client()).status, 200);
    assert_eq!(sim.entra.requests()[0].path(), "/contoso.onmicrosoft.com/oauth2/v2.0/token");
}

#[test]
fn the_scope_follows_from_the_base_url() {
    let sim = Sim::start(Options::default());
    // Port 1: nothing is ever sent there, only the sign-in is looked at.
    let rows = [
        ("https://name.openai.azure.com:1", "", "https://cognitiveservices.azure.com"),
        ("https://name.openai.azure.us:1", "", "https://cognitiveservices.azure.us"),
        ("https://name.services.ai.azure.com:1", "", "https://cognitiveservices.azure.com"),
        ("https://name.services.ai.azure.com:1/api/projects/p", "", "https://ai.azure.com"),
        ("https://name.services.ai.azure.us:1/api/projects/p", "", "https://ai.azure.us"),
        ("https://name.openai.azure.com:1", "https://ai.azure.com/.default", "https://ai.azure.com"),
    ];
    for (base, scope, audience) in rows {
        let _proxy = Proxy::start_with(&sim, &[("API_BASE_URL", base), ("AZURE_SCOPE", scope)]);
        assert_eq!(sim.entra.issued().last().unwrap().audience, audience, "{base} {scope}");
    }
}

#[test]
fn a_foundry_project_is_reached_below_its_path() {
    let sim = Sim::start(Options::default());
    let base = sim.azure_url() + "/api/projects/p/";
    let scope = ("AZURE_SCOPE", "https://ai.azure.com/.default");
    let proxy = Proxy::start_with(&sim, &[("API_BASE_URL", &base), scope]);
    assert_eq!(chat(&mut proxy.client()).status, 200);
    assert_eq!(sim.azure.requests()[0].path(), "/api/projects/p/openai/v1/chat/completions");
}

/// Both servers under names that only the egress proxy resolves.
fn behind_egress<'a>(sim: &Sim, more: &[(&'a str, &'a str)]) -> Vec<(String, String)> {
    let authority = format!("entra.sim.test:{}", sim.entra.server.port());
    let base = format!("https://azure.sim.test:{}", sim.azure.server.port());
    let own = [("AZURE_AUTHORITY_HOST", authority.as_str()), ("API_BASE_URL", base.as_str())];
    environment(sim, &[&own[..], more].concat())
}

#[test]
fn https_proxy_applies_to_token_and_api_requests() {
    let sim = Sim::start(Options::default());
    let basic = format!("Basic {}", STANDARD.encode("user:p@ss"));
    let egress = Egress::start(Some(&basic));
    let url = format!("http://user:p%40ss@127.0.0.1:{}", egress.server.port());
    let proxy = Proxy::spawn(behind_egress(&sim, &[("HTTPS_PROXY", &url)]));
    proxy.wait_healthy();
    assert_eq!(chat(&mut proxy.client()).status, 200);
    let targets: Vec<String> = egress.requests().iter().map(|request| request.target()).collect();
    let expected = [("entra", sim.entra.server.port()), ("azure", sim.azure.server.port())]
        .map(|(name, port)| format!("{name}.sim.test:{port}"));
    assert_eq!(targets, expected);
}

#[test]
fn wrong_credentials_for_the_egress_proxy_are_reported_and_not_shown() {
    let sim = Sim::start(Options::default());
    let egress = Egress::start(Some("Basic other"));
    let url = format!("http://user:p%40ss@127.0.0.1:{}", egress.server.port());
    let proxy = Proxy::spawn(behind_egress(&sim, &[("HTTPS_PROXY", &url)]));
    let line = proxy.wait_log("token refresh failed");
    assert!(line.contains("the egress proxy refuses the credentials in HTTPS_PROXY (407)"), "{line}");
    let output = proxy.log().join("\n") + &proxy.health().text();
    for secret in ["p%40ss", "p@ss", &STANDARD.encode("user:p@ss")] {
        assert!(!output.contains(secret), "{secret}: {output}");
    }
}

#[test]
fn no_proxy_applies_to_token_and_api_requests() {
    let sim = Sim::start(Options::default());
    let egress = Egress::start(None);
    let (url, entra, both) = (egress.url(), "entra.sim.test", "other.test, .sim.test");
    for (no_proxy, seen) in [(entra, 0), (both, 0)] {
        let variables = [("HTTPS_PROXY", url.as_str()), ("NO_PROXY", no_proxy), ("CONNECT_TIMEOUT", "2s")];
        let proxy = Proxy::spawn(behind_egress(&sim, &variables));
        // The name resolves nowhere else: the sign-in was tried directly.
        let line = proxy.wait_log("token refresh failed");
        assert!(line.contains("entra.sim.test"), "{line}");
        assert_eq!(egress.requests().len(), seen, "{no_proxy}");
    }
    // The sign-in goes through it, the upstream does not.
    let variables =
        [("https_proxy", url.as_str()), ("no_proxy", "azure.sim.test"), ("CONNECT_TIMEOUT", "2s")];
    let proxy = Proxy::spawn(behind_egress(&sim, &variables));
    proxy.wait_healthy();
    let response = proxy.client().get(MODELS);
    assert!(matches!(response.status, 502 | 504), "{}", response.text());
    assert_eq!(egress.requests().len(), 1);
}
