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

mod allowed_requests;
mod callers;
mod cancellation;
mod certificate_forms;
mod clouds;
mod credential_rotation;
mod credentials;
mod early_responses;
mod ephemeral_keys;
mod forwarding;
mod hostile_clients;
mod limits;
mod managed_identity;
mod network_faults;
mod operations;
mod overload;
mod parsers;
mod peer_bugs;
mod requests;
mod responses;
mod retry;
mod runbooks;
mod secrets;
mod shutdown;
mod sign_in_errors;
mod simulator;
mod socket_activation;
mod streaming;
mod structure;
mod tiny_http;
#[cfg(not(feature = "tiny_http"))]
mod tls;
mod token;
mod unbounded_input;
mod unix_socket;
mod upstream_401;
mod upstream_errors;
mod user_errors;
mod web_pages;
mod websocket;
