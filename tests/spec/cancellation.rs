//! When the client leaves, the request to the upstream ends within a second, so that nobody pays for a response that nobody
//! reads: before the response, within it, and while the connection to the upstream is being made; whether the client closes,
//! half-closes or resets its connection.

use std::time::{Duration, Instant};

use crate::sim::{Options, ScriptedResponse, Sim, Step, eventually, timeout, wait_for};
use crate::support::client::Client;
use crate::support::faults::BlackHole;
use crate::support::fixture::Fixture;
use crate::support::program::Proxy;
use crate::support::transport::transports;

const SOON: Duration = Duration::from_secs(1);
const GET: &str = "GET /openai/v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n";
const POST: &str = "POST /openai/v1/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody";

#[derive(Clone, Copy, Debug)]
enum Leaving {
    /// It closes its socket.
    Close,
    /// It ends its side and goes on listening, which counts as leaving.
    HalfClose,
    Reset,
}

impl Leaving {
    const ALL: [Self; 3] = [Self::Close, Self::HalfClose, Self::Reset];

    /// What must be kept open until the end of the test.
    fn leave(self, mut client: Client) -> Option<Client> {
        match self {
            Self::Close => drop(client),
            Self::HalfClose => {
                client.raw.end();
                return Some(client);
            }
            Self::Reset => client.raw.reset(),
        }
        None
    }
}

/// How often the upstream may see it late before it counts: a busy machine is late once, a proxy that does not
/// watch its client always.
const TRIES: usize = 3;

/// Sends a request, waits until `ready`, leaves, and checks that the upstream sees it in time.
fn leaves(fixture: &Fixture, request: &str, response: &ScriptedResponse, ready: impl Fn(&mut Client)) {
    for leaving in Leaving::ALL {
        eprintln!("  {} {leaving:?} {request:.4}", fixture.sim.azure_url());
        let mut late = Vec::new();
        while late.len() < TRIES {
            fixture.seen();
            fixture.sim.azure.script([response.clone()]);
            let mut client = fixture.client();
            client.raw.send(request).unwrap();
            fixture.sim.azure.request_to("/openai/v1/x");
            ready(&mut client);
            let left = Instant::now();
            let _kept = leaving.leave(client);
            let closed = fixture.sim.azure.log().wait("closing", |all| all.first()?.peer_closed);
            assert_eq!(fixture.sim.azure.requests().len(), 1, "it is not tried again");
            if closed - left < SOON {
                break;
            }
            late.push(closed - left);
        }
        assert!(late.len() < TRIES, "it took {late:?}");
    }
}

fn each(response: &ScriptedResponse, ready: impl Fn(&mut Client)) {
    for fixture in Fixture::each() {
        for request in [GET, POST] {
            leaves(&fixture, request, response, &ready);
        }
    }
}

#[test]
fn a_client_that_leaves_before_the_response_ends_the_request() {
    each(&ScriptedResponse::silence(), |_| ());
}

#[test]
fn a_client_that_leaves_after_a_1xx_response_ends_the_request() {
    let steps = [Step::Write(b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec()), Step::WaitForPeerClose];
    each(&ScriptedResponse::steps(steps), |_| ());
}

#[test]
fn a_client_that_leaves_a_silent_stream_ends_it() {
    for head in
        ["Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "Content-Length: 99\r\n\r\nhello", "\r\nhello"]
    {
        let bytes = format!("HTTP/1.1 200 OK\r\n{head}").into_bytes();
        each(&ScriptedResponse::steps([Step::Write(bytes), Step::WaitForPeerClose]), |client| {
            let mut seen = Vec::new();
            while !seen.windows(5).any(|bytes| bytes == b"hello") {
                seen.extend(client.raw.read_some(timeout()).unwrap());
            }
        });
    }
}

#[test]
fn a_client_that_leaves_a_flowing_stream_ends_it() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n".to_vec();
    let flow = ScriptedResponse::steps([Step::Write(head), Step::Repeat(vec![b'x'; 64 * 1024], 1 << 24)]);
    for fixture in Fixture::each() {
        for leaving in [Leaving::Close, Leaving::Reset] {
            fixture.seen();
            fixture.sim.azure.script([flow.clone()]);
            let mut client = fixture.client();
            client.raw.send(GET).unwrap();
            client.raw.read_some(timeout()).unwrap();
            let left = Instant::now();
            leaving.leave(client);
            let closed = fixture.sim.azure.log().wait("closing", |all| all.first()?.peer_closed);
            assert!(closed - left < SOON, "it took {:?}", closed - left);
        }
    }
}

#[test]
fn a_client_that_leaves_ends_an_attempt_to_connect() {
    for transport in transports() {
        let sim = Sim::start(Options::default());
        let hole = BlackHole::new();
        let variables = [("API_BASE_URL", &*hole.url()), ("CONNECT_TIMEOUT", "60s")];
        let proxy = Proxy::start_over(*transport, &sim, &variables);
        for (i, leaving) in Leaving::ALL.into_iter().enumerate() {
            let mut client = proxy.client();
            client.raw.send(GET).unwrap();
            wait_for("the attempt to connect", || hole.attempts() == 1);
            let left = Instant::now();
            let _kept = leaving.leave(client);
            let gone = || proxy.log().iter().filter(|line| line.contains("status=499")).count();
            eventually(|| (gone() == i + 1).then_some(())).expect("the end of the call");
            assert!(left.elapsed() < SOON, "it took {:?}", left.elapsed());
        }
    }
}

#[test]
fn a_client_that_leaves_ends_a_tls_handshake() {
    let fixture = Fixture::tls();
    fixture.sim.azure.server.set_silent(true);
    let mut client = fixture.client();
    client.raw.send(GET).unwrap();
    wait_for("the connection", || fixture.sim.azure.server.open() == 1);
    let left = Instant::now();
    drop(client);
    wait_for("its end", || fixture.sim.azure.server.open() == 0);
    assert!(left.elapsed() < SOON, "it took {:?}", left.elapsed());
}
