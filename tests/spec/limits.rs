//! Limits of the server, made small enough to reach, in-process with a service that echoes:
//!
//! - a head has a deadline, a body may not pause for too long, an idle connection is closed;
//! - a client that reads nothing is disconnected, and a response that is aborted never looks complete;
//! - a panic ends one connection, is logged once and counted, and shows nothing of the request;
//! - a response survives whatever the client sends after its last request.
//!
//! Heads, fields and chunk lines without end are in `unbounded_input`, too many connections in `overload`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use auth_proxy::testing::{
    ErrorResponse, Exchange, Fields, Length, Limits, ListenAddress, Listener, Metrics, Overload,
    RequestHead as Head, ServerHandle, Service, Shutdown, send_full,
};
use http::StatusCode;

use crate::sim::{timeout, wait_for};
use crate::support::client::{Client, Ended, Raw};
use crate::support::transport::Endpoint;

/// Responds with the request's body; `/big` with many bytes, `/late` without having waited for it, `/panic` not at all.
struct Echo;

impl Service for Echo {
    fn serve(&self, head: Head, exchange: &mut dyn Exchange) {
        match head.path() {
            "/panic" => panic!("expected in this test: {}", head.target),
            "/late" => {
                ErrorResponse::request(StatusCode::REQUEST_TIMEOUT, "request_timeout", "late").send(exchange);
            }
            "/big" => {
                exchange.start(StatusCode::OK, &Fields::default(), Length::Unknown);
                let bytes = [b'x'; 16 * 1024];
                for _ in 0..64 * 1024 {
                    if exchange.write(&bytes).is_err() {
                        return;
                    }
                }
                let _ = exchange.finish();
            }
            _ => {
                let (mut body, mut buffer) = (Vec::new(), [0; 1024]);
                loop {
                    match exchange.read_body(&mut buffer) {
                        Ok(0) => break,
                        Ok(n) => body.extend_from_slice(&buffer[..n]),
                        Err(_) => return,
                    }
                }
                send_full(exchange, StatusCode::OK, &Fields::default(), &body);
            }
        }
    }

    fn reject_overloaded(&self, head: Head, by: Overload, exchange: &mut dyn Exchange) {
        if head.path() == "/health" {
            send_full(exchange, StatusCode::OK, &Fields::default(), b"ok");
        } else {
            ErrorResponse::overloaded(by).send(exchange);
        }
    }
}

pub struct Server {
    endpoint: Endpoint,
    stop: Arc<Shutdown>,
    pub running: ServerHandle,
}

impl Server {
    pub fn start(limits: Limits) -> Self {
        let listener = Listener::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        Self::serve(Endpoint::Tcp(listener.address().unwrap()), listener, limits)
    }

    /// One on TCP and one on a Unix socket.
    pub fn each(limits: &Limits) -> [Self; 2] {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("auth-proxy-it-{}-{number}.sock", std::process::id()));
        let listener = Listener::bind_unix(&path).unwrap();
        [Self::start(limits.clone()), Self::serve(Endpoint::Unix(path), listener, limits.clone())]
    }

    fn serve(endpoint: Endpoint, listener: Listener, limits: Limits) -> Self {
        let stop = Arc::new(Shutdown::new().unwrap());
        let running = listener.serve(Arc::new(Echo), limits, Arc::clone(&stop)).unwrap();
        Self { endpoint, stop, running }
    }

    pub fn raw(&self) -> Raw {
        self.endpoint.connect()
    }

    pub fn client(&self) -> Client {
        Client::new(self.raw())
    }

    fn assert_serves(&self) {
        assert_eq!(self.client().request("POST", "/", &[], b"alive").body, b"alive");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.trigger();
        self.running.drain(Instant::now() + timeout());
    }
}

/// Every timeout is 200 ms.
pub fn short() -> Limits {
    let short = Duration::from_millis(200);
    Limits {
        header_timeout: short,
        keep_alive: short,
        body_idle_timeout: short,
        write_timeout: short,
        ..Limits::default()
    }
}

/// A machine without IPv6 has one, which is served all the same.
#[test]
fn both_addresses_of_a_loopback_name_are_served_until_the_shutdown() {
    let both = ["[::1]:0".parse().unwrap(), "127.0.0.1:0".parse().unwrap()];
    let listener = Listener::bind(&both).unwrap();
    let ip = |address| if let ListenAddress::Ip(address) = address { Some(address) } else { None };
    let addresses: Vec<_> = listener.addresses().into_iter().filter_map(ip).collect();
    let stop = Arc::new(Shutdown::new().unwrap());
    // Clients that wait in a backlog, and clients that come later.
    let early: Vec<Client> = addresses.iter().map(|address| Client::connect(*address)).collect();
    let mut running = listener.serve(Arc::new(Echo), Limits::default(), Arc::clone(&stop)).unwrap();
    let late = addresses.iter().map(|address| Client::connect(*address));
    for mut client in early.into_iter().chain(late) {
        assert_eq!(client.request("POST", "/", &[], b"alive").body, b"alive");
    }
    stop.trigger();
    assert!(running.drain(Instant::now() + timeout()));
    for address in addresses {
        assert!(std::net::TcpStream::connect(address).is_err(), "{address} is still listened on");
    }
}

#[test]
fn a_head_that_drips_gets_408_at_its_deadline() {
    let server = Server::start(short());
    let mut client = server.raw();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n").unwrap();
    let start = Instant::now();
    // A byte now and then does not help: it is a deadline, not a pause.
    while start.elapsed() < Duration::from_millis(150) {
        client.send("X").unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    let (response, ended) = client.read_to_end(timeout());
    assert!(response.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&response));
    assert_eq!(ended, Ended::Closed);
    server.assert_serves();
}

#[test]
fn an_idle_connection_is_closed_without_a_response() {
    let server = Server::start(short());
    let mut idle = server.raw();
    assert_eq!(idle.read_to_end(timeout()), (Vec::new(), Ended::Closed));
    let mut kept = server.client();
    assert_eq!(kept.get("/").status, 200);
    assert!(kept.response("GET").is_err());
}

#[test]
fn bytes_after_the_last_request_do_not_destroy_its_response() {
    let server = Server::start(Limits::default());
    let mut client = server.raw();
    let last = "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlast";
    // More than one read takes in.
    let more = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(4000);
    client.send(format!("{last}{more}")).unwrap();
    let (response, ended) = client.read_to_end(timeout());
    assert!(response.ends_with(b"\r\n\r\nlast"), "{}", String::from_utf8_lossy(&response));
    assert_eq!(ended, Ended::Closed);
}

#[test]
fn a_body_that_pauses_too_long_ends_the_request() {
    let server = Server::start(short());
    let mut client = server.raw();
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc").unwrap();
    let (response, _) = client.read_to_end(timeout());
    assert_eq!(response, b"");
}

#[test]
fn a_response_that_did_not_wait_for_the_body_closes_the_connection() {
    let server = Server::start(Limits::default());
    let mut client = server.raw();
    client.send("POST /late HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc").unwrap();
    let response = client.read_to_end(timeout()).0;
    assert!(response.starts_with(b"HTTP/1.1 408 "));
    assert!(String::from_utf8_lossy(&response).contains("\r\nconnection: close\r\n"));
}

#[test]
fn a_client_that_reads_nothing_is_disconnected() {
    let server = Server::start(short());
    let mut client = server.raw();
    client.send("GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    wait_for("the response to begin", || server.running.connections() == 1);
    wait_for("the response to be abandoned", || server.running.connections() == 0);
    // A reset, so that the system does not keep for minutes what nobody reads.
    let (read, ended) = client.read_to_end(timeout());
    assert_eq!(ended, Ended::Aborted);
    assert!(!read.ends_with(b"0\r\n\r\n"), "an aborted response looks complete");
}

#[test]
fn a_panic_ends_one_connection_only() {
    let server = Server::start(Limits::default());
    let mut other = server.client();
    assert_eq!(other.get("/").status, 200);
    let mut client = server.raw();
    client.send("GET /panic HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(client.read_to_end(timeout()).0, b"");
    wait_for("the panic to be counted", || server.running.panics() == 1);
    assert_eq!(other.get("/").status, 200);
}

/// In a process of its own, this test once more: what reports panics is there for all threads.
#[test]
fn a_panic_is_logged_once_and_counted_without_the_request() {
    const ALONE: &str = "AUTH_PROXY_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        let metrics = Arc::new(Metrics::new());
        auth_proxy::testing::report_panics(Arc::clone(&metrics));
        let server = Server::start(Limits::default());
        let mut client = server.raw();
        client.send("GET /panic?hunter2 HTTP/1.1\r\nHost: localhost\r\nX: hunter3\r\n\r\n").unwrap();
        assert_eq!(client.read_to_end(timeout()).0, b"");
        wait_for("the panic to be counted", || metrics.panics.value() == 1);
        server.assert_serves();
        assert_eq!(metrics.panics.value(), 1);
        return;
    }
    let name = "limits::a_panic_is_logged_once_and_counted_without_the_request";
    let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
    let ran = alone.args(["--exact", name, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let (output, log) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && output.contains("1 passed"), "{output}{log}");
    let logged: Vec<&str> = log.lines().filter(|line| line.contains("panic")).collect();
    assert_eq!(logged.len(), 1, "{log}");
    assert!(logged[0].contains("limits.rs:") && logged[0].contains("thread=connection"), "{}", logged[0]);
    assert!(!log.contains("hunter") && !log.contains("expected in this test"), "{log}");
}

#[test]
fn a_shutdown_closes_idle_connections_and_the_listener_at_once() {
    let mut server = Server::start(Limits::default());
    let mut idle = server.client();
    assert_eq!(idle.get("/").status, 200);
    server.stop.trigger();
    assert!(server.running.drain(Instant::now() + timeout()));
    assert!(idle.response("GET").is_err());
    assert!(std::net::TcpStream::connect(server.endpoint.address()).is_err());
}
