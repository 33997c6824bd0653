//! auth-proxy signs in to Microsoft Entra ID with a certificate and adds the bearer token to every request for
//! Azure OpenAI. Everything else passes through unchanged.
//!
//! Folders are the stages of the flow, here in reading order:
//!
//! ```text
//! START    environment -> config -> identity -> upstream -> token (thread) -> server (threads)
//! TOKEN    credential: certificate -> assertion --POST--> Entra ID, or managed identity --GET--> IMDS ; Token -> store (one writer)
//! REQUEST  application -> server -> proxy::forward (reads the store, filters headers) -> ureq -> Azure OpenAI
//!                         relay <- response ; Upgrade -> proxy::tunnel ; GET /health -> ops
//! STOP     SIGTERM -> not ready -> no new connections -> in-flight requests finish, or the deadline -> exit
//! ```
//!
//! `docs/architecture.md` walks along one request, and says where to look.
//!
//! Three layers, of which each knows only what is below it:
//!
//! ```text
//! THE PROXY  server, upstream, proxy; token, identity; ops, check, log
//! MESSAGES   http1: heads, framing, chunks, the same rules for both sides; no sockets, no threads, no settings
//! BYTES      net: one Stream for both sides, DNS, dialing, CONNECT, TLS, poll
//! ```
//!
//! Invariants, held by `tests/spec/structure.rs`:
//!
//! - `server` and `proxy::headers` know no tokens and no settings; `identity` knows no HTTP.
//! - Only `upstream`, `token` (those who ask for one) and `proxy::forward` name ureq; only `net` names rustls and `TcpStream`.
//! - Only the refresher writes the token store. Only `cli` and `log` print.
//! - One thread serves one connection from its first byte to its last. A thread keeps the stack that it has touched, so that
//!   what needs much of it and is soon over (a TLS handshake, the head of a response) is a function of its own, which is not
//!   inlined: its frame lies beside ureq's main loop, not below it.
//!
//! Nothing but [`run`] is public; [`testing`] is for the tests.

mod app;
mod check;
mod cli;
mod clock;
mod config;
mod files;
mod http1;
mod identity;
mod log;
mod measure;
mod net;
mod ops;
mod process;
mod proxy;
mod report;
mod secret;
mod server;
mod summary;
pub mod testing;
mod token;
mod upstream;
mod version;

pub use cli::run;
pub(crate) use http1::fields;
