//! Ways to the upstream, and whole conversations over them.

use serde_json::{Value, json};

use crate::sim::{Egress, Options, Sim, timeout};
use crate::support::client::{Client, Ended};
use crate::support::program::Proxy;
use crate::support::tunnel::{ASK, Link, frame, open_websocket, server_frame};

/// The next event of a server.
fn next(link: &mut Link) -> Value {
    let length = match link.read_exactly(2)[1] {
        126 => u16::from_be_bytes(link.read_exactly(2).try_into().unwrap()).into(),
        length => usize::from(length),
    };
    serde_json::from_slice(&link.read_exactly(length)).unwrap()
}

/// One turn of the realtime API.
fn converse(client: Client) {
    let mut link = Link::from(client);
    assert_eq!(next(&mut link)["type"], "session.created");
    link.send(frame(1, json!({"type": "response.create"}).to_string().as_bytes())).unwrap();
    let mut text = String::new();
    loop {
        let event = next(&mut link);
        text.push_str(event["delta"].as_str().unwrap_or_default());
        if event["type"] == "response.done" {
            break;
        }
    }
    assert_eq!(text, "Hello in realtime.");
    link.send(frame(8, &[0x03, 0xe8])).unwrap();
    assert_eq!(link.read_to_end(timeout()), (server_frame(8, &[0x03, 0xe8]), Ended::Closed));
}

#[test]
fn a_realtime_conversation_directly_and_through_an_egress_proxy() {
    for tls in [false, true] {
        let sim = Sim::start(Options { azure_tls: tls, ..Options::default() });
        let proxy = Proxy::start(&sim);
        let mut client = proxy.client();
        assert_eq!(open_websocket(&mut client, "/openai/v1/realtime?model=m").status, 101);
        converse(client);
    }

    let (sim, egress) = (Sim::start(Options::default()), Egress::start(Some("Basic dTpw")));
    // A name that nobody else resolves: loopback is always reached directly.
    let port = sim.azure.server.port();
    let base = format!("https://azure.sim.test:{port}");
    let egress_url = format!("http://u:p@127.0.0.1:{}", egress.server.port());
    let proxy = Proxy::start_with(&sim, &[("API_BASE_URL", &base), ("HTTPS_PROXY", &egress_url)]);
    let mut client = proxy.client();
    assert_eq!(open_websocket(&mut client, "/openai/v1/realtime?model=m").status, 101);
    converse(client);
    let connects: Vec<String> = egress.requests().iter().map(|request| request.target()).collect();
    assert_eq!(connects, [format!("azure.sim.test:{port}")]);
    let handshake = sim.azure.request_to("/openai/v1/realtime");
    assert_eq!(handshake.header("host").unwrap(), format!("azure.sim.test:{port}"));
    assert_eq!(handshake.header("proxy-authorization"), None);
}

#[test]
fn an_egress_proxy_that_refuses_is_a_502() {
    let (sim, egress) = (Sim::start(Options::default()), Egress::start(Some("Basic dTpw")));
    let base = format!("https://azure.sim.test:{}", sim.azure.server.port());
    let proxy = Proxy::start_with(&sim, &[("API_BASE_URL", &base), ("HTTPS_PROXY", &egress.url())]);
    let mut client = proxy.client();
    let refused = open_websocket(&mut client, "/openai/v1/realtime?model=m");
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (502, &json!("upstream_egress_proxy")));
    assert!(sim.azure.requests().is_empty());
}

#[test]
fn clients_send_their_key_in_a_subprotocol_or_in_the_query() {
    let sim = Sim::start(Options::default());
    let proxy = Proxy::start_with(&sim, &[("PROXY_API_KEY", "a-key-of-sixteen-or-more")]);
    let offer = |key: &str| {
        let offers = format!("realtime, openai-insecure-api-key.{key}");
        let fields = [&ASK[..], &[("Sec-WebSocket-Protocol", &*offers)]].concat();
        proxy.client().request("GET", "/openai/v1/realtime", &fields, b"").status
    };
    assert_eq!(offer("a-key-of-sixteen-or-more"), 101);
    assert_eq!(offer("another-key-of-that-size"), 401);
    let ask = |target: &str| open_websocket(&mut proxy.client(), target).status;
    assert_eq!(ask("/openai/v1/realtime?api-key=a-key-of-sixteen-or-more"), 101);
    assert_eq!(ask("/openai/v1/realtime?api-key=another-key-of-that-size"), 401);
    assert_eq!(ask("/openai/v1/realtime"), 401);
    assert_eq!(sim.azure.requests().len(), 2, "who may not call reaches nobody");
}
