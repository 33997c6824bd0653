//! Why `tiny_http` is not the default HTTP server: bursts of keep-alive connections, as the connection pools of SDKs
//! open them, and how many of them get no response while the others stay open.
//!
//! ```text
//! cargo run --release --example tiny_http_burst --features tiny_http [-- BURSTS]
//! ```
//!
//! Three servers in turn: tiny_http as its documentation shows it, our default server, and tiny_http with what
//! `--features tiny_http` puts around it. See docs/decisions/0001-http-server.md.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example that cannot go on must end")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use auth_proxy::testing::{
    Exchange, Fields, Limits, Overload, RequestHead as Head, Service, Shutdown, send_full,
};
use http::StatusCode;

/// Connections per burst.
const SIZES: [usize; 4] = [8, 16, 32, 64];
/// A connection without a response by then counts as unserved.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Long enough for the threads of a new server to have gone to rest.
const QUIET: Duration = Duration::from_millis(100);

/// A server's name, and how it is started.
type Server = (&'static str, fn() -> Started);

fn main() {
    let bursts = std::env::args().nth(1).map_or(20, |text| text.parse().expect("how many bursts"));
    println!("{bursts} bursts each; a connection is unserved after {TIMEOUT:?}\n");
    println!(
        "{:<28}{:>12}{:>22}{:>26}{:>12}{:>12}",
        "server", "connections", "bursts with a loss", "connections unserved", "median", "slowest"
    );
    let servers: [Server; 3] = [
        ("tiny_http as documented", plain_tiny_http),
        ("ours (the default)", ours),
        ("ours, --features tiny_http", ours_over_tiny_http),
    ];
    for (name, start) in servers {
        for size in SIZES {
            let results: Vec<Burst> = (0..bursts).map(|_| burst_on(start(), size)).collect();
            let losses = results.iter().filter(|burst| burst.unserved > 0).count();
            let unserved: usize = results.iter().map(|burst| burst.unserved).sum();
            let mut times: Vec<Duration> = results.iter().map(|burst| burst.last_response).collect();
            times.sort();
            println!(
                "{name:<28}{size:>12}{:>22}{:>26}{:>12}{:>12}",
                format!("{losses} of {bursts}"),
                format!("{unserved} of {}", size * bursts),
                milliseconds(times[times.len() / 2]),
                milliseconds(times[times.len() - 1]),
            );
        }
        println!();
    }
    println!("median, slowest: from the first connection of a burst to its last response");
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// Where a server listens, and how to end it.
type Started = (SocketAddr, Box<dyn FnOnce()>);

/// The server of tiny_http's documentation: several threads take requests and respond to them.
fn plain_tiny_http() -> Started {
    let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").unwrap());
    let address = server.server_addr().to_ip().unwrap();
    let threads = 8;
    for _ in 0..threads {
        let server = Arc::clone(&server);
        thread::spawn(move || {
            while let Ok(request) = server.recv() {
                let _ = request.respond(tiny_http::Response::from_string("ok"));
            }
        });
    }
    (address, Box::new(move || (0..threads).for_each(|_| server.unblock())))
}

/// Responds "ok".
struct Hello;

impl Service for Hello {
    fn serve(&self, _head: Head, exchange: &mut dyn Exchange) {
        send_full(exchange, StatusCode::OK, &Fields::default(), b"ok");
    }

    fn reject_overloaded(&self, head: Head, _: Overload, exchange: &mut dyn Exchange) {
        self.serve(head, exchange);
    }
}

fn ours() -> Started {
    let listener = auth_proxy::testing::Listener::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))]).unwrap();
    let address = listener.address().unwrap();
    let stop = Arc::new(Shutdown::new().unwrap());
    let mut running = listener.serve(Arc::new(Hello), Limits::default(), Arc::clone(&stop)).unwrap();
    let end = move || {
        stop.trigger();
        running.drain(Instant::now() + TIMEOUT);
    };
    (address, Box::new(end))
}

fn ours_over_tiny_http() -> Started {
    let listener =
        auth_proxy::testing::tiny_http::Listener::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))]).unwrap();
    let address = listener.address().unwrap();
    let stop = Arc::new(Shutdown::new().unwrap());
    let mut running = listener.serve(Arc::new(Hello), Limits::default(), Arc::clone(&stop)).unwrap();
    let end = move || {
        stop.trigger();
        running.drain(Instant::now() + TIMEOUT);
    };
    (address, Box::new(end))
}

struct Burst {
    unserved: usize,
    last_response: Duration,
}

/// A burst on a server that has had nothing to do for a while.
fn burst_on((address, end): Started, size: usize) -> Burst {
    burst(address, 1);
    thread::sleep(QUIET);
    let result = burst(address, size);
    end();
    result
}

/// Opens connections at once, as a pool does for requests that come together, sends a request on each, and counts
/// the responses. All stay open until the end.
fn burst(address: SocketAddr, size: usize) -> Burst {
    let (start, end) = (Arc::new(Barrier::new(size + 1)), Arc::new(Barrier::new(size)));
    let threads: Vec<_> = (0..size)
        .map(|_| {
            let (start, end) = (Arc::clone(&start), Arc::clone(&end));
            thread::spawn(move || {
                start.wait();
                let begin = Instant::now();
                let mut connection = TcpStream::connect(address).unwrap();
                connection.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
                let served = is_served(&connection).then(|| begin.elapsed());
                end.wait();
                served
            })
        })
        .collect();
    start.wait();
    let responses: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    Burst {
        unserved: responses.iter().filter(|response| response.is_none()).count(),
        last_response: responses.into_iter().flatten().max().unwrap_or_default(),
    }
}

fn is_served(mut connection: &TcpStream) -> bool {
    connection.set_read_timeout(Some(TIMEOUT)).unwrap();
    match connection.read(&mut [0; 1024]) {
        Ok(n) => n > 0,
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
            false
        }
    }
}
