//! What takes long, or is promised of the release binary alone: `make shipped`, `make soak`, `make test-faults`. Plain
//! `cargo test` leaves it out; `cargo test --locked --test slow NAME` runs one of them.
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

mod bursts;
mod cpu;
mod memory;
mod network_faults;
mod soak;
