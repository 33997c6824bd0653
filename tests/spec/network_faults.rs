//! What networks do to connections, at the upstream's side and at Entra ID's, each with the outcome that is expected.
//! `make test-faults` prints the rows, and adds those that take half a minute or more.

mod upstream;
mod egress;
mod entra;
mod openssl;
mod tls;

use std::time::Duration;

use crate::fixture::Proxy;
use crate::sim::{Fault, wait_for};

/// A head that is longer than any that is read.
fn oversized_head() -> Fault {
    Fault::Say(b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 1024], 128)
}

/// Fields without end.
fn endless_fields() -> Fault {
    Fault::Say(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: y\r\n".repeat(1024), 1 << 20)
}

/// 1xx responses without end.
fn endless_1xx_responses() -> Fault {
    Fault::Say(Vec::new(), b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(100), 1 << 20)
}

fn garbage() -> Fault {
    Fault::Say((0..=255).cycle().take(3000).collect(), Vec::new(), 0)
}

/// Threads and connections are given back: nobody is stuck past a timeout.
fn given_back(proxy: &Proxy, threads: u64) {
    wait_for("threads to end", || proxy.threads() <= threads);
}

const SECOND: Duration = Duration::from_secs(1);
