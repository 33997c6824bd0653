//! Tests through real sockets, one module per behavior.
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

mod agreement;
mod client;
mod core;
mod corpora;
#[cfg(not(feature = "tiny_http"))]
mod endless;
#[cfg(not(feature = "tiny_http"))]
mod faults;
mod faults_of_users;
mod fixture;
#[cfg(not(feature = "tiny_http"))]
mod hostile;
mod leaks;
mod limits;
mod neighbours;
mod notify;
mod ops;
mod simulator;
mod stopping;
mod tidy;
#[cfg(feature = "tiny_http")]
mod tiny_http;
mod token;
#[cfg(not(feature = "tiny_http"))]
mod websocket;
#[cfg(not(feature = "tiny_http"))]
mod wire;
