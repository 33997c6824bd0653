//! WebSockets through the proxy: a handshake with our token in it, then bytes that nobody looks at.

mod duplex;
mod endings;
mod handshake;
mod idle;
mod link;
mod ways;

use std::cell::Cell;

use self::link::{ScriptedUpstream, Link};
use crate::client::{Client, Response};
use crate::fixture::Proxy;
use crate::sim::{Options, Sim};

/// The fields of a handshake; the key is the example of RFC 6455, section 1.3.
const ASK: [(&str, &str); 4] = [
    ("Connection", "keep-alive, Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// What grants it.
const GRANT: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A proxy in front of an upstream that the test plays itself.
struct Rig {
    upstream: ScriptedUpstream,
    proxy: Proxy,
    opened: Cell<usize>,
    _sim: Sim,
}

impl Rig {
    fn start(tls: bool) -> Self {
        Self::start_with(tls, &[])
    }

    fn start_with(tls: bool, variables: &[(&str, &str)]) -> Self {
        let (sim, upstream) = (Sim::start(Options::default()), ScriptedUpstream::start(tls));
        let all = [&[("API_BASE_URL", upstream.url())], variables].concat();
        Self { proxy: Proxy::start_with(&sim, &all), upstream, opened: Cell::new(0), _sim: sim }
    }

    /// A tunnel: the application's end and the upstream's.
    fn open(&self) -> (Link, Link) {
        let mut client = self.proxy.client();
        client.send("GET", "/realtime", &ASK, b"").unwrap();
        let mut there = self.upstream.accept();
        there.read_head();
        there.send(GRANT).unwrap();
        assert_eq!(client.response("GET").unwrap().status, 101);
        self.opened.set(self.opened.get() + 1);
        (client.into(), there)
    }
}

/// Asks for a WebSocket.
fn open_websocket(client: &mut Client, target: &str) -> Response {
    client.request("GET", target, &ASK, b"")
}

/// A frame of a client: opcode and payload, masked with zeros.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    [&[0x80 | opcode, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0], payload].concat()
}

/// A frame of a server.
fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    [&[0x80 | opcode, u8::try_from(payload.len()).unwrap()], payload].concat()
}
