//! Why `tiny_http` is not the default HTTP server, second part: single requests and what they do to a server built as
//! tiny_http's documentation shows. The first part is `tiny_http_burst`.
//!
//! ```text
//! cargo run --example tiny_http_faults --features tiny_http
//! ```
//!
//! Each fault gets a process of its own, since some end it. See docs/decisions/0001-http-server.md.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example that cannot go on must end")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Longer than anything on the loopback takes.
const TIMEOUT: Duration = Duration::from_secs(2);

type Fault = fn() -> String;

/// What is tried, and the function that tries it and says what it saw.
const FAULTS: [(&str, Fault); 6] = [
    ("Content-Length: 50000000000000, then the client leaves", absurd_length),
    ("one accept that fails for want of descriptors", failed_accept),
    (
        "ten clients one after another that speak HTTP/2 from the first byte (curl --http2-prior-knowledge)",
        http2,
    ),
    ("a head of 64 MiB", endless_head),
    ("half a head, then silence", silent_head),
    ("an upload that ends after 5 of 5000 bytes", short_upload),
];

fn main() {
    if let Some(index) = std::env::args().nth(1) {
        println!("{}", FAULTS[index.parse::<usize>().unwrap()].1());
        return;
    }
    for (index, (what, _)) in FAULTS.iter().enumerate() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let child = child.arg(index.to_string()).stderr(Stdio::null()).output().unwrap();
        let said = String::from_utf8(child.stdout).unwrap();
        let said = if child.status.success() { said.trim() } else { "the process has ended" };
        println!("{what}\n    {said} ({})", child.status);
    }
}

/// A server that responds to every request and reports what it made of the body.
fn start() -> (SocketAddr, Receiver<Result<usize, String>>) {
    let server = tiny_http::Server::http("127.0.0.1:0").unwrap();
    let address = server.server_addr().to_ip().unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for mut request in std::iter::repeat_with(|| server.recv()).map_while(Result::ok) {
            if request.url() == "/upload" {
                let read = request.as_reader().read_to_end(&mut Vec::new());
                let _ = sender.send(read.map_err(|error| error.to_string()));
            }
            let _ = request.respond(tiny_http::Response::from_string("ok"));
        }
        // The listener goes on listening in its thread; only nobody takes what it accepts.
        thread::park();
    });
    (address, receiver)
}

fn connect(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let _ = stream.write_all(bytes);
    stream
}

fn next_request(address: SocketAddr) -> &'static str {
    if TcpStream::connect(address).is_err() {
        return "the next connection is refused";
    }
    let mut stream = connect(address, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    match stream.read(&mut [0; 64]) {
        Ok(1..) => "the next request is served",
        _ => "the next request is not served",
    }
}

fn absurd_length() -> String {
    let (address, _) = start();
    drop(connect(address, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000000000000\r\n\r\n"));
    thread::sleep(TIMEOUT);
    next_request(address).to_owned()
}

fn failed_accept() -> String {
    let (address, _) = start();
    let usual = getrlimit(Resource::Nofile);
    let limit = |current| setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..usual }).unwrap();
    limit(descriptors() as u64 + 1);
    let client = connect(address, b"");
    thread::sleep(TIMEOUT);
    drop(client);
    limit(usual.current.unwrap());
    format!("with descriptors to spare again, {}; the process lives", next_request(address))
}

fn http2() -> String {
    let (address, _) = start();
    let before = (threads(), descriptors());
    for _ in 0..10 {
        drop(connect(address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
        // For each to meet an idle thread, not a queue.
        thread::sleep(TIMEOUT / 20);
    }
    thread::sleep(TIMEOUT);
    let (threads, descriptors) = (threads() - before.0, descriptors() - before.1);
    format!(
        "the clients have left; beside the 4 threads that were idle, {threads} more threads and {descriptors} more descriptors stay"
    )
}

fn endless_head() -> String {
    let (address, _) = start();
    let before = resident_kb();
    let mut client = connect(address, b"GET / HTTP/1.1\r\nX: ");
    let part = [b'x'; 64 * 1024];
    (0..1024).for_each(|_| client.write_all(&part).unwrap());
    thread::sleep(TIMEOUT);
    format!("read to the end and kept: {} MB more memory", (resident_kb() - before) / 1024)
}

fn silent_head() -> String {
    let (address, _) = start();
    let mut client = connect(address, b"GET / HTTP/1.1\r\n");
    client.set_read_timeout(Some(5 * TIMEOUT)).unwrap();
    let closed = client.read(&mut [0]).is_ok();
    format!("after {:?} the connection is {}", 5 * TIMEOUT, if closed { "closed" } else { "still open" })
}

fn short_upload() -> String {
    let (address, receiver) = start();
    let client =
        connect(address, b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\nhello");
    client.shutdown(Shutdown::Write).unwrap();
    match receiver.recv_timeout(TIMEOUT) {
        Ok(Ok(count)) => format!("the server reads a complete body of {count} bytes"),
        other => format!("the server notices: {other:?}"),
    }
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

fn resident_kb() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
