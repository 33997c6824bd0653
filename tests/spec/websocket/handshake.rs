//! What the upstream sees of a handshake, and what the application gets when it is refused.

use crate::sim::{Options, ScriptedResponse, Sim, timeout};
use crate::support::client::Client;
use crate::support::program::Proxy;
use crate::support::tunnel::{ASK, GRANT, Link, TunnelFixture, frame, open_websocket};

#[test]
fn the_handshake_has_our_bearer_token_and_no_other_credential() {
    let sim = Sim::start(Options::default());
    let proxy = Proxy::start_with(&sim, &[("ALLOWED_ORIGINS", "https://app.test")]);
    let fields = [
        &ASK[..],
        &[
            ("Authorization", "Bearer of-the-application"),
            ("api-key", "K"),
            ("Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key.K"),
            ("Sec-WebSocket-Protocol", "OpenAI-Insecure-Api-Key.K,openai-beta.realtime-v1"),
            ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
            ("Sec-WebSocket-Of-Tomorrow", "a  b,c"),
            ("Origin", "https://app.test"),
        ],
    ];
    let target = "/openai/v1/realtime?api-key=K&model=gpt-realtime&x=%41&Authorization=Bearer%20K";
    let mut client = proxy.client();
    let response = client.request("GET", target, &fields.concat(), b"");

    assert_eq!(response.status, 101, "{:?}", sim.azure.requests().pop().map(|request| request.note));
    assert_eq!(response.header("connection").unwrap(), "Upgrade");
    assert_eq!(response.header("upgrade").unwrap(), "websocket");
    assert_eq!(response.header("sec-websocket-accept").unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(response.header("sec-websocket-protocol").unwrap(), "realtime");
    assert!(response.header("apim-request-id").is_some(), "other fields of the 101 pass");
    assert_eq!(response.header("content-length"), None);

    let request = sim.azure.request_to("/openai/v1/realtime");
    assert_eq!(request.target(), "/openai/v1/realtime?model=gpt-realtime&x=%41");
    assert_eq!(request.bearer().unwrap(), sim.entra.issued()[0].token);
    assert_eq!(request.header("sec-websocket-protocol").unwrap(), "realtime, openai-beta.realtime-v1");
    for (name, value) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
        ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
        ("sec-websocket-of-tomorrow", "a  b,c"),
        ("origin", "https://app.test"),
    ] {
        assert_eq!(request.header(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(request.headers.len(), 7 + 3, "and host, authorization, protocol: {:?}", request.headers);
    assert!(!proxy.log().join("\n").contains("model=gpt"), "no query in the log");
}

#[test]
fn subprotocols_without_a_key_pass_byte_for_byte() {
    let fixture = TunnelFixture::start(false);
    let offers = ["realtime,openai-beta.realtime-v1 ,  third", "in-a-line-of-its-own"];
    let fields = [&ASK[..], &offers.map(|offer| ("Sec-WebSocket-Protocol", offer))].concat();
    let mut client = fixture.proxy.client();
    client.send("GET", "/?", &fields, b"").unwrap();
    let mut there = fixture.upstream.accept();
    let head = there.read_head();
    let values: Vec<&str> = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-protocol"))
        .map(|(_, value)| value)
        .collect();
    assert_eq!(values, offers);
    assert!(head.starts_with("GET /? HTTP/1.1\r\n"), "{head}");

    // A key alone: no offer is left, so no field either.
    let only_key = [&ASK[..], &[("Sec-WebSocket-Protocol", "openai-insecure-api-key.K")]].concat();
    let mut client = fixture.proxy.client();
    client.send("GET", "/", &only_key, b"").unwrap();
    let head = fixture.upstream.accept().read_head();
    assert!(!head.to_ascii_lowercase().contains("sec-websocket-protocol"), "{head}");
}

#[test]
fn refused_handshakes_are_ordinary_responses_on_a_connection_that_stays_open() {
    let sim = Sim::start(Options::default());
    let proxy = Proxy::start(&sim);
    let mut client = proxy.client();
    for (status, name, value, body) in [
        (401, "www-authenticate", "Bearer realm=x", "who are you"),
        (404, "x-ms-region", "Sweden", "not here"),
        (426, "sec-websocket-version", "13", ""),
        (400, "content-type", "text/plain", "OperationNotSupported"),
        (302, "location", "https://elsewhere.test/", "moved"),
        (429, "retry-after", "7", "slow down"),
        (503, "retry-after-ms", "20", "later"),
    ] {
        sim.azure.script([ScriptedResponse::status(status).header(name, value).body(body)]);
        let refused = open_websocket(&mut client, "/openai/v1/realtime?model=m");
        assert_eq!((refused.status, refused.text().as_str()), (status, body));
        assert_eq!(refused.header(name).as_deref(), Some(value));
        assert_eq!(refused.header("upgrade"), None, "nothing is switched");
    }
    assert_eq!(client.get("/sim/echo").status, 200);
    assert_eq!(open_websocket(&mut client, "/sim/ws").status, 101, "the same connection, after all of this");
    assert_eq!(sim.azure.server.accepted(), 1, "the upstream's connection was kept, too");
}

#[test]
fn a_request_that_is_no_websocket_handshake_is_served_without_an_upgrade() {
    let sim = Sim::start(Options::default());
    let proxy = Proxy::start(&sim);
    let websocket = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    let h2c = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAA")];
    let not_named = [("Connection", "keep-alive"), ("Upgrade", "websocket")];
    for (method, version, fields, body) in [
        ("GET", "1.1", &h2c[..], ""),
        ("POST", "1.1", &h2c, "a body"),
        ("GET", "1.0", &websocket, ""),
        ("POST", "1.1", &websocket, "a body"),
        ("GET", "1.1", &not_named, ""),
    ] {
        let mut client = proxy.client();
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length =
            if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head =
            format!("{method} /sim/echo HTTP/{version}\r\nHost: localhost\r\n{fields}{length}\r\n{body}");
        client.raw.send(&head).unwrap();
        let response = client.response(method).unwrap();
        assert_eq!((response.status, response.header("upgrade")), (200, None), "{head}");
        assert_eq!(response.json()["body"], body, "{head}");
        let names = sim.azure.request_to("/sim/echo").header_names();
        for gone in ["connection", "upgrade", "http2-settings"] {
            assert!(!names.iter().any(|name| name == gone), "{gone} in {names:?} after {head}");
        }
    }
}

#[test]
fn a_101_that_was_not_requested_is_a_502() {
    let fixture = TunnelFixture::start(false);
    let foreign = GRANT.replace("websocket", "h2c");
    let nameless = GRANT.replace("Upgrade: websocket\r\n", "");
    for (fields, grant) in
        [(&ASK[..0], GRANT), (&ASK[..], &foreign), (&ASK[..], &nameless), (&[("Upgrade", "h2c")], &foreign)]
    {
        let mut client = fixture.proxy.client();
        client.send("GET", "/", fields, b"").unwrap();
        let mut there = fixture.upstream.accept();
        there.read_head();
        there.send(grant).unwrap();
        let response = client.response("GET").unwrap();
        assert_eq!(response.status, 502, "{fields:?} {grant}");
        assert_eq!(response.json()["error"]["code"], "upstream_bad_response");
        // Our token opened this connection: nothing of the application's may follow on it.
        let (bytes, _) = there.read_to_end(timeout());
        assert!(bytes.is_empty(), "{bytes:?}");
    }
}

#[test]
fn bytes_in_the_same_segment_as_a_head_belong_to_the_tunnel() {
    for (fixture, name) in TunnelFixture::each() {
        let head: String = ASK.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let ask = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{head}\r\n");
        let early = [frame(1, b"sent before the response"), frame(9, b"ping")].concat();
        let mut client: Client = fixture.proxy.client();
        client.raw.send([ask.as_bytes(), &early].concat()).unwrap();

        let mut there = fixture.upstream.accept();
        there.read_head();
        there.send(["HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n", GRANT, "welcome"].concat()).unwrap();
        assert_eq!(there.read_exactly(early.len()), early, "{name}");
        assert_eq!(client.response("GET").unwrap().status, 101);
        let mut client = Link::from(client);
        assert_eq!(client.read_exactly(7), b"welcome", "{name}");
        client.send("more").unwrap();
        assert_eq!(there.read_exactly(4), b"more");
    }
}

#[test]
fn a_101_that_comes_byte_by_byte_is_understood() {
    let fixture = TunnelFixture::start(true);
    let mut client = fixture.proxy.client();
    client.send("GET", "/", &ASK, b"").unwrap();
    let mut there = fixture.upstream.accept();
    there.read_head();
    for byte in GRANT.bytes().chain(*b"x") {
        there.send([byte]).unwrap();
    }
    assert_eq!(client.response("GET").unwrap().status, 101);
    assert_eq!(Link::from(client).read_exactly(1), b"x");
}

#[test]
fn an_upstream_that_leaves_during_the_handshake_is_a_502() {
    let fixture = TunnelFixture::start(false);
    for sent in ["", "HTTP/1.1 101 Switching Prot", &GRANT[..GRANT.len() - 2]] {
        let mut client = fixture.proxy.client();
        client.send("GET", "/", &ASK, b"").unwrap();
        let mut there = fixture.upstream.accept();
        there.read_head();
        there.send(sent).unwrap();
        drop(there);
        // An idempotent request on a new connection is not repeated.
        assert_eq!(client.response("GET").unwrap().status, 502, "{sent:?}");
    }
}

#[test]
fn an_unreachable_upstream_is_a_502() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sim = Sim::start(Options::default());
    let url = format!("http://{closed}");
    let proxy = Proxy::start_with(&sim, &[("API_BASE_URL", &url)]);
    let mut client = proxy.client();
    assert_eq!(open_websocket(&mut client, "/").status, 502);
    assert_eq!(client.get("/health").status, 200);
}
