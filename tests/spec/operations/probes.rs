//! `ADMIN_PORT`: three probes with three meanings, which need no key and outlive SIGTERM.

use std::net::TcpStream;

use crate::sim::{Options, Sim, timeout, wait_for};
use crate::support::client::{Client, Raw};
use crate::support::program::{Proxy, environment, run_to_end};

fn plain() -> Sim {
    Sim::start(Options { azure_tls: false, ..Options::default() })
}

#[test]
fn live_started_and_ready_are_three_probes() {
    let sim = plain();
    sim.entra.stop();
    let proxy =
        Proxy::start_listening(&sim, &[("ADMIN_PORT", "0"), ("PROXY_API_KEY", "a-key-of-16-characters")]);
    proxy.wait_log("token refresh failed");
    assert_eq!(proxy.admin("/livez").status, 200);
    for probe in ["/startupz", "/readyz"] {
        let response = proxy.admin(probe);
        assert_eq!(
            (response.status, response.json()["status"].as_str()),
            (503, Some("unavailable")),
            "{probe}"
        );
        let reason = response.json()["reason"].as_str().unwrap().to_owned();
        assert!(reason.starts_with("there is no access token yet: "), "{reason}");
        assert!(response.header("retry-after").is_some());
    }
    sim.entra.restart();
    wait_for("readiness", || proxy.admin("/readyz").status == 200);
    for probe in ["/livez", "/startupz", "/readyz"] {
        let response = proxy.admin(probe);
        assert_eq!((response.status, response.text().as_str()), (200, r#"{"status":"ok"}"#), "{probe}");
        assert_eq!(response.header("cache-control").as_deref(), Some("no-store"));
    }
}

#[test]
fn other_paths_and_methods_are_refused_and_nothing_is_forwarded() {
    let sim = plain();
    let proxy = Proxy::start_with(&sim, &[("ADMIN_PORT", "0")]);
    let mut client = Client::connect(proxy.admin_address());
    for path in ["/index.html", "/config/", "/health", "/openai/v1/models", "/livez/", "/readyz%20"] {
        let response = client.get(path);
        assert_eq!(response.status, 404, "{path}");
        assert_eq!(response.json()["error"]["code"], "not_found", "{path}");
    }
    let response = client.request("POST", "/livez", &[], b"");
    assert_eq!((response.status, response.header("allow").as_deref()), (405, Some("GET, HEAD")));
    assert_eq!(client.request("HEAD", "/livez?verbose", &[], b"").status, 200);
    assert!(sim.azure.requests().is_empty());
    // The probes are no secret paths of the other port: there they belong to the upstream.
    assert_eq!(proxy.client().get("/livez").status, 404);
    assert_eq!(sim.azure.requests().len(), 1);
}

#[test]
fn the_admin_port_responds_while_requests_drain_and_closes_with_the_process() {
    let sim = plain();
    let mut proxy = Proxy::start_with(&sim, &[("ADMIN_PORT", "0"), ("SHUTDOWN_GRACE", "20s")]);
    let admin = proxy.admin_address();
    let mut kept = Client::connect(admin);
    assert_eq!(kept.get("/readyz").status, 200);
    let mut stream = Raw::connect(proxy.address());
    stream.send("GET /sim/sse?events=8&pause_ms=150 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(!stream.read_some(timeout()).unwrap().is_empty());
    proxy.signal("TERM");
    proxy.wait_log("stopping");
    wait_for("the readiness to end", || proxy.admin("/readyz").status == 503);
    assert_eq!(kept.get("/readyz").json()["reason"], "the proxy is stopping");
    assert_eq!(kept.get("/livez").status, 200);
    assert_eq!(kept.get("/startupz").status, 200, "the latch is not taken back");
    assert!(stream.read_to_end(timeout()).0.ends_with(b"0\r\n\r\n"));
    assert_eq!(proxy.wait_exit().code(), Some(0));
    assert!(TcpStream::connect(admin).is_err());
}

#[test]
fn the_admin_port_responds_when_the_proxy_port_is_full() {
    let sim = plain();
    let proxy = Proxy::start_with(&sim, &[("ADMIN_PORT", "0"), ("MAX_CONNECTIONS", "1")]);
    let mut busy = Raw::connect(proxy.address());
    busy.send("GET /sim/slow?ms=60000 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    wait_for("the only place to be taken", || proxy.client().get("/sim/echo").status == 503);
    // More than the admin port serves at a time.
    let mut clients: Vec<Client> = (0..24).map(|_| Client::connect(proxy.admin_address())).collect();
    for client in &mut clients {
        assert_eq!(client.get("/livez").status, 200);
    }
}

#[test]
fn the_admin_port_listens_on_host_unless_admin_host_is_set() {
    let sim = plain();
    let host =
        |variables: &[(&str, &str)]| Proxy::start_with(&sim, variables).admin_address().ip().to_string();
    assert_eq!(host(&[("ADMIN_PORT", "0")]), "127.0.0.1");
    assert_eq!(host(&[("ADMIN_PORT", "0"), ("ADMIN_HOST", "127.0.0.2")]), "127.0.0.2");
}

#[test]
fn a_port_in_use_ends_the_start_and_names_the_variable() {
    let sim = plain();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let ended = run_to_end(&[], environment(&sim, &[("ADMIN_PORT", &port)]));
    assert_eq!(ended.status.code(), Some(4));
    assert!(ended.stderr.contains(&format!("HOST=127.0.0.1 ADMIN_PORT={port}")), "{}", ended.stderr);
    assert!(ended.stderr.contains("choose another ADMIN_PORT"), "{}", ended.stderr);
}
