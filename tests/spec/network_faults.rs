//! What networks do to connections, each fault with the outcome that is expected at the client and in the log:
//!
//! - slow, cut, reset and silent connections to the upstream ([`upstream`]) and to Entra ID ([`entra`]);
//! - servers whose certificates or TLS cannot be trusted ([`certificates`], [`openssl`]);
//! - an egress proxy that refuses the credentials ([`egress`]).
//!
//! `make test-faults` prints the rows; those that take half a minute or more are in `tests/slow/network_faults.rs`.

mod certificates;
mod egress;
mod entra;
mod openssl;
mod upstream;
