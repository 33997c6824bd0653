//! Requests to Entra ID and to the API that we forward to: connections, and ureq on top of them.
//!
//! ureq frames each message and drives it: it writes the request's head and body in the right order, asks for the body as it is
//! wanted, waits for the response, returns the response's body, and bounds each wait. Everything that it would do by itself
//! is off: redirects, decompression, proxies, cookies, header fields of its own, name resolution, its pool.
//!
//! What travels beside it, in the [`Lease`] of the request's connection, and why:
//!
//! ```text
//!  proxy::forward --- method, framing, body ---> ureq --- first lines, body ---> transport --> Stream --> upstream
//!        |                                        ^ |                              ^  |
//!        |                                        | '----- "HTTP/1.1 200" <--------'  |  http1 reads the head,
//!        '--- Lease: target, header lines ------- | -------------------------------->'  decodes the body
//!                    response's status, fields <--'
//! ```
//!
//! - The request's target and header fields, as the client spelled them ([`Bypass`]): ureq's maps lose spelling and order of
//!   names, and cost a fifth of a request's instructions (78,600 with the fields beside it, 99,950 through it) and 23 of 68
//!   allocations.
//! - The response's head and the framing of its body: ureq is lax where a proxy must not be (it takes what comes after a cut
//!   body for its end, reads a length twice, accepts white space where smuggling begins), so `http1` reads both first, with
//!   the rules that the server has for requests. ureq gets a status line, and a body that ends when `http1` says so.
//! - The connection itself: it is acquired before ureq is called, because ureq's main loop and a TLS handshake each take
//!   kilobytes of stack, which stay with the thread (46 KiB for each open stream, and 38 with the one after the other). The
//!   pool is ours: ureq's walks over all idle connections under one lock, and asks each socket whether it is open.
//! - What else happens while the request is on its way: an early response, and the client's hang-up. ureq would send all of a
//!   body before it looks for a response, and never look at the client.
//!
//! ureq's `Connector` gets no argument of ours, so that one thread-local slot passes it the lease (`connector.rs`): it is
//! filled right before ureq runs and emptied by the first call below it. Token requests and `check` have no lease beforehand;
//! for those the connector acquires one.

mod agent;
mod buffers;
mod connector;
pub(crate) mod diagnosis;
mod fault;
mod idle;
mod lease;
pub(crate) mod probe;
mod transport;

pub use agent::Upstream;
pub(crate) use fault::Fault;
pub(crate) use lease::{Bypass, EarlyResponse, Lease};
