//! Networks at fault, for the tables of `network_faults` in both test binaries.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::client::Response;
use super::program::Proxy;
use crate::sim::{Egress, Fault, Options, Relay, Sim, wait_for};

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);

/// A head that is longer than any that is read.
pub fn oversized_head() -> Fault {
    Fault::Send(b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 1024], 128)
}

/// Fields without end.
pub fn endless_fields() -> Fault {
    Fault::Send(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: y\r\n".repeat(1024), 1 << 20)
}

/// 1xx responses without end.
pub fn endless_1xx_responses() -> Fault {
    Fault::Send(Vec::new(), b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(100), 1 << 20)
}

pub fn garbage() -> Fault {
    Fault::Send((0..=255).cycle().take(3000).collect(), Vec::new(), 0)
}

/// Threads and connections are given back: nobody is stuck past a timeout.
pub fn wait_threads_end(proxy: &Proxy, threads: u64) {
    wait_for("threads to end", || proxy.threads() <= threads);
}

/// A port that accepts nothing: its queue is full, and the kernel drops what else comes.
pub struct BlackHole {
    listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl BlackHole {
    pub fn new() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub fn at(address: SocketAddr) -> Self {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(0).unwrap();
        let listener: TcpListener = socket.into();
        let address = listener.local_addr().unwrap();
        let fill = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let queue: Vec<TcpStream> = std::iter::from_fn(fill).take(16).collect();
        assert!(queue.len() < 16, "the queue has no end");
        Self { listener, _queue: queue }
    }

    /// How many connections to it are being made.
    pub fn attempts(&self) -> usize {
        let there = format!(":{:04X}", self.listener.local_addr().unwrap().port());
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let is_attempt = |line: &&str| {
            let mut columns = line.split_whitespace().skip(2);
            let (remote, state) = (columns.next().unwrap_or_default(), columns.next());
            // SYN_SENT.
            remote.ends_with(&there) && state == Some("02")
        };
        sockets.lines().filter(is_attempt).count()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }
}

/// What the log says of the first attempt; `None` when there is a token all the same.
pub type LoggedProblem = Option<&'static str>;
pub const TIMED_OUT: LoggedProblem = Some("connecting to the token endpoint timed out");
pub const SILENT: LoggedProblem = Some("the token endpoint did not respond in time");

pub fn token_request_under(name: &str, fault: Fault, tls: bool, expected: LoggedProblem) {
    let sim = Sim::start(Options { entra_tls: tls, azure_tls: false, ..Options::default() });
    let relay = Relay::start(sim.entra.server.port());
    let scheme = sim.entra.server.scheme();
    let authority = format!("{scheme}://localhost:{}", relay.port());
    let timeout = if expected == TIMED_OUT { "1s" } else { "" };
    relay.set(fault);
    let settings = [("AZURE_AUTHORITY_HOST", authority.as_str()), ("CONNECT_TIMEOUT", timeout)];
    let proxy = Proxy::start_listening(&sim, &settings);
    eprintln!("  {name:<40} {scheme} {expected:?}");
    if let Some(expected) = expected {
        let deadline = Instant::now() + 40 * SECOND;
        while !proxy.log().iter().any(|line| line.contains("token refresh failed")) {
            assert!(Instant::now() < deadline, "{name}: no attempt has failed");
            std::thread::sleep(10 * MS);
        }
        let line = proxy.wait_log("token refresh failed");
        assert!(line.contains(&format!("problem=\"{expected}\"")), "{name}: {line}");
        assert_eq!(proxy.health().status, 503, "{name}");
        relay.set(Fault::None);
    }
    wait_for("a token", || proxy.health().status == 200);
    assert_eq!(proxy.client().get("/sim/echo").status, 200, "{name}");
    wait_threads_end(&proxy, 8);
}

pub const OTHER_CREDENTIALS: &str = "Basic b3RoZXI6b3RoZXI=";

/// With TLS at both sides, unless Entra ID is to be reached directly.
pub fn egress_sim(entra_tls: bool) -> Sim {
    // The token is renewed every second.
    Sim::start(Options { entra_tls, refresh_in: Some(1), ..Options::default() })
}

/// Starts the program, with the credentials or without. Names of `sim.test` need the egress proxy; loopback does not.
pub fn start_behind_egress(sim: &Sim, egress: &Egress, credentials: &str) -> Proxy {
    let proxy_url = format!("http://{credentials}127.0.0.1:{}", egress.server.port());
    let base = format!("https://azure.sim.test:{}", sim.azure.server.port());
    let authority = format!("entra.sim.test:{}", sim.entra.server.port());
    let mut settings = vec![("API_BASE_URL", &*base), ("HTTPS_PROXY", &*proxy_url), ("ADMIN_PORT", "0")];
    if sim.entra.server.scheme() == "https" {
        settings.push(("AZURE_AUTHORITY_HOST", &*authority));
    }
    Proxy::start_listening(sim, &settings)
}

pub fn chat_once(proxy: &Proxy) -> Response {
    proxy.client().post_json("/openai/v1/chat/completions", &serde_json::json!({}))
}
