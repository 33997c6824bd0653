//! What a well-behaved server never does, and what the records say about ill-behaved peers.

use std::net::SocketAddr;
use std::time::Duration;

use crate::sim::{BodyEnd, Egress, Options, ScriptedResponse, Sim, Step, timeout, wait_for};
use crate::support::client::{Client, Ended, Raw};

const HALF: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";

fn tls_client(sim: &Sim) -> Raw {
    Raw::connect_tls(sim.azure.server.port(), &std::fs::read_to_string(sim.dir.join("ca.pem")).unwrap())
}

fn plain() -> (Sim, SocketAddr) {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let address = SocketAddr::from(([127, 0, 0, 1], sim.azure.server.port()));
    (sim, address)
}

#[test]
fn connections_end_in_every_way() {
    let sim = Sim::start(Options::default());
    let write = || Step::Write(HALF.to_vec());
    let rows = [
        (vec![write()], Ended::Closed),
        (vec![write(), Step::Close], Ended::Closed),
        (vec![write(), Step::ShutdownWrite, Step::WaitForPeerClose], Ended::Closed),
        (vec![write(), Step::CloseWithoutNotify], Ended::Aborted),
        (vec![write(), Step::Pause(Duration::from_millis(50)), Step::Reset], Ended::Aborted),
    ];
    for (steps, ended) in rows {
        sim.azure.script([ScriptedResponse::steps(steps.clone())]);
        let mut raw = tls_client(&sim);
        raw.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let (bytes, how) = raw.read_to_end(timeout());
        assert_eq!((bytes.as_slice(), how), (HALF, ended), "{steps:?}");
    }
    sim.azure.script([ScriptedResponse::silence()]);
    let mut raw = tls_client(&sim);
    raw.send("GET /silent HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(raw.read_to_end(Duration::from_millis(50)), (Vec::new(), Ended::Waiting));
    assert_eq!(sim.azure.request_to("/silent").peer_closed, None);
    drop(raw);
    assert!(sim.azure.finished_request_to("/silent").peer_closed.is_some());
}

#[test]
fn plain_connections_are_reset_and_kept() {
    let (sim, address) = plain();
    let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
    sim.azure.script([
        ScriptedResponse::steps([Step::Write(whole.clone()), Step::KeepAlive]),
        ScriptedResponse::drop_connection(),
    ]);
    let mut client = Client::connect(address);
    assert_eq!(client.get("/").status, 200);
    client.send("GET", "/", &[], b"").unwrap();
    assert_eq!(client.raw.read_to_end(timeout()), (Vec::new(), Ended::Aborted));
    assert_eq!(sim.azure.server.accepted(), 1);
}

#[test]
fn connections_are_reset_the_idle_ones_or_all() {
    let (sim, address) = plain();
    let unused = Raw::connect(address);
    sim.azure.script([ScriptedResponse::status(200), ScriptedResponse::silence()]);
    let mut idle = Client::connect(address);
    assert_eq!(idle.get("/idle").status, 200);
    let mut busy = Client::connect(address);
    busy.send("GET", "/busy", &[], b"").unwrap();
    sim.azure.request_to("/busy");
    wait_for("the idle connection to be reset", || sim.azure.server.reset_connections(true) == 1);
    assert_eq!(idle.raw.read_to_end(timeout()).1, Ended::Aborted);
    let open = [unused, busy.raw].map(|mut raw| {
        assert_eq!(raw.read_to_end(Duration::from_millis(50)).1, Ended::Waiting);
        raw
    });
    assert_eq!(sim.azure.server.reset_connections(false), 2);
    for mut raw in open {
        assert_eq!(raw.read_to_end(timeout()).1, Ended::Aborted);
    }
}

#[test]
fn an_early_response_does_not_wait_for_the_body() {
    let (sim, address) = plain();
    sim.azure.script([ScriptedResponse::status(413).body("big").early()]);
    let mut client = Client::connect(address);
    client.raw.send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nstart").unwrap();
    let response = client.response("POST").unwrap();
    assert_eq!((response.status, response.text().as_str()), (413, "big"));
    assert_eq!(sim.azure.finished_request_to("/early").body_end, BodyEnd::Pending);
}

#[test]
fn uploads_are_recorded_as_they_come_and_as_they_end() {
    let (sim, address) = plain();
    let authorization = format!("Authorization: Bearer {}", sim.entra.issue());
    let mut raw = Raw::connect(address);
    raw.send(format!(
        "POST /sim/upload HTTP/1.1\r\nHost: a\r\n{authorization}\r\nContent-Length: 10\r\n\r\nhalf!"
    ))
    .unwrap();
    wait_for("five bytes", || sim.azure.request_to("/sim/upload").body_length == 5);
    assert_eq!(sim.azure.request_to("/sim/upload").body_end, BodyEnd::Pending);
    drop(raw);
    wait_for("the end", || sim.azure.request_to("/sim/upload").body_end == BodyEnd::Truncated);

    let mut raw = Raw::connect(address);
    let head = format!(
        "POST /sim/upload HTTP/1.1\r\nHost: a\r\n{authorization}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    raw.send(head.clone() + "3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n").unwrap();
    wait_for("a chunked body", || sim.azure.request_to("/sim/upload").body_end == BodyEnd::Clean);
    let request = sim.azure.request_to("/sim/upload");
    assert_eq!(
        (request.body.as_slice(), request.trailers),
        (&b"abcde"[..], vec![("X-Sum".to_owned(), b"5".to_vec())])
    );

    let mut raw = Raw::connect(address);
    raw.send(head + "3\r\nabcX\r\n").unwrap();
    wait_for("a broken body", || {
        matches!(sim.azure.request_to("/sim/upload").body_end, BodyEnd::Malformed(_))
    });
}

#[test]
fn doubtful_framing_is_refused_and_named() {
    let (sim, address) = plain();
    let heads = [
        "Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Host: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
        "Host: a\r\nContent-Length: +1\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: a\r\nX-Bad : 1\r\n",
        "Host: a\r\nX-Fold: 1\n 2\r\n",
        "",
    ];
    for head in heads {
        let mut raw = Raw::connect(address);
        raw.send(format!("POST / HTTP/1.1\r\n{head}\r\n")).unwrap();
        let (response, _) = raw.read_to_end(timeout());
        assert!(response.starts_with(b"HTTP/1.1 400 "), "{head:?}");
        let request = sim.azure.requests().pop().unwrap();
        assert!(matches!(request.body_end, BodyEnd::Malformed(_)) && !request.note.is_empty(), "{head:?}");
    }
}

#[test]
fn a_silenced_server_accepts_and_sends_nothing() {
    let (sim, address) = plain();
    sim.azure.server.set_silent(true);
    let mut raw = Raw::connect(address);
    raw.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(raw.read_to_end(Duration::from_millis(50)), (Vec::new(), Ended::Waiting));
    sim.azure.server.set_silent(false);
    assert_eq!(Client::connect(address).get("/sim/echo").status, 401);
    wait_for("one connection fewer", || {
        sim.azure.server.close_connections();
        sim.azure.server.open() == 0
    });
}

#[test]
fn an_egress_proxy_leads_names_to_loopback() {
    let (sim, egress) = (Sim::start(Options::default()), Egress::start(Some("Basic dTpw")));
    let address = SocketAddr::from(([127, 0, 0, 1], egress.server.port()));
    let target = format!("azure.sim.test:{}", sim.azure.server.port());
    let mut refused = Client::connect(address);
    assert_eq!(refused.request("CONNECT", &target, &[], b"").status, 407);
    let mut raw = Raw::connect(address);
    raw.send(format!(
        "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Basic dTpw\r\n\r\n"
    ))
    .unwrap();
    assert_eq!(raw.read_some(timeout()).unwrap(), b"HTTP/1.1 200 Connection established\r\n\r\n");
    let ca = std::fs::read_to_string(sim.dir.join("ca.pem")).unwrap();
    assert_eq!(Client::new(raw.into_tls("azure.sim.test", &ca)).get("/sim/echo").status, 401);
    assert_eq!(egress.requests()[1].target(), target);
}

/// A frame of a client: opcode and payload, masked with zeros.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    [&[0x80 | opcode, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0], payload].concat()
}

#[test]
fn a_websocket_opens_echoes_and_closes() {
    let (sim, address) = plain();
    let mut client = Client::connect(address);
    let authorization = format!("Bearer {}", sim.entra.issue());
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Connection", "keep-alive, Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        // The example of RFC 6455, section 1.3.
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Protocol", "other, realtime"),
    ];
    let response = client.request("GET", "/openai/v1/realtime?model=m", &headers, b"");
    assert_eq!(response.status, 101);
    assert_eq!(response.header("sec-websocket-accept").unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(response.header("sec-websocket-protocol").unwrap(), "realtime");
    let create = frame(1, br#"{"type":"response.create"}"#);
    let frames = [create, frame(9, b"are you there"), frame(1, b"plain words"), frame(8, &[0x03, 0xe8])];
    client.raw.send(frames.concat()).unwrap();
    let mut bytes = client.take_inbox();
    let (rest, ended) = client.raw.read_to_end(timeout());
    bytes.extend(rest);
    let text = String::from_utf8_lossy(&bytes);
    for part in [
        "session.created",
        "response.output_text.delta",
        "response.done",
        "\u{d}are you there",
        "\u{b}plain words",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert!(bytes.ends_with(&[0x88, 2, 0x03, 0xe8]), "the close comes back");
    assert_eq!(ended, Ended::Closed);
    let refused = Client::connect(address).request("GET", "/sim/ws", &headers[..1], b"");
    assert_eq!(refused.status, 426);
}
