//! The specification of auth-proxy: a file for each promise, held by the built program against the simulator.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test says what it expects by failing loudly")]
#![allow(dead_code, reason = "client and fixtures offer more than the tests of the day use")]
#![allow(
    unreachable_pub,
    reason = "pub says what other modules may use, although a test binary exports nothing"
)]

#[path = "../sim/mod.rs"]
mod sim;

#[path = "../support/mod.rs"]
mod support;

#[path = "../data/pems.rs"]
mod pems;

#[path = "../data/pfx_writer.rs"]
mod pfx_writer;

#[path = "../../fuzz/checks/lib.rs"]
mod checks;

#[cfg(not(feature = "tiny_http"))]
mod cancellation;
mod certificate_forms;
mod client_auth;
mod clouds;
mod credential_rotation;
mod credentials;
#[cfg(not(feature = "tiny_http"))]
mod early_responses;
mod forwarding;
#[cfg(not(feature = "tiny_http"))]
mod hostile_clients;
mod limits;
mod managed_identity;
#[cfg(not(feature = "tiny_http"))]
mod network_faults;
mod operations;
mod overload;
mod parsers;
mod peer_bugs;
#[cfg(not(feature = "tiny_http"))]
mod requests;
#[cfg(not(feature = "tiny_http"))]
mod responses;
#[cfg(not(feature = "tiny_http"))]
mod retry;
mod secrets;
mod shutdown;
mod sign_in_errors;
mod simulator;
mod streaming;
mod structure;
#[cfg(feature = "tiny_http")]
mod tiny_http;
#[cfg(not(feature = "tiny_http"))]
mod tls;
mod token;
#[cfg(not(feature = "tiny_http"))]
mod unbounded_input;
mod upstream_401;
#[cfg(not(feature = "tiny_http"))]
mod upstream_errors;
mod user_errors;
#[cfg(not(feature = "tiny_http"))]
mod websocket;
