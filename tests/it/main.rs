//! Tests through real sockets, one module per behaviour.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test says what it expects by failing loudly")]
#![allow(dead_code, reason = "client and fixture offer more than the tests of the day use")]
#![allow(
    unreachable_pub,
    reason = "pub says what other modules may use, although a test binary exports nothing"
)]

#[path = "../sim/mod.rs"]
mod sim;

#[path = "../data/pems.rs"]
mod pems;

#[path = "../../fuzz/checks/lib.rs"]
mod checks;

mod client;
mod corpora;
mod fixture;
mod hostile;
mod limits;
mod neighbours;
mod simulator;
mod stopping;
mod token;
#[cfg(not(feature = "tiny_http"))]
mod websocket;
mod wire;
