//! auth-proxy signs in to Microsoft Entra ID with a certificate and adds the bearer token to every request for
//! Azure OpenAI. Everything else passes through unchanged.
//!
//! Folders are the stages of the flow, here in reading order:
//!
//! ```text
//! START    environment -> config -> identity -> upstream -> token (thread) -> server (threads)
//! TOKEN    certificate -> assertion -> entra --POST--> Entra ID ; Token -> store (one writer)
//! REQUEST  application -> server -> proxy::forward (reads the store, filters headers) -> ureq -> Azure OpenAI
//!                         relay <- response ; Upgrade -> proxy::tunnel ; GET /health -> ops
//! STOP     SIGTERM -> not ready -> no new connections -> in-flight requests finish, or the deadline -> exit
//! ```
//!
//! `docs/architecture.md` walks along one request, and says where to look.
//!
//! Invariants, held by `tests/it/tidy.rs`:
//!
//! - `server` and `proxy::headers` know no tokens and no settings; `identity` knows no HTTP.
//! - Only `upstream`, `token::entra` and `proxy::forward` name ureq; only `upstream` names rustls.
//! - Only the refresher writes the token store. Only `cli` and `log` print.
//! - One thread serves one connection from its first byte to its last.

mod app;
mod check;
mod cli;
mod clock;
mod config;
mod files;
mod http1;
mod identity;
mod log;
mod net;
mod ops;
mod process;
mod proxy;
mod report;
mod secret;
mod server;
pub mod testing;
mod token;
mod upstream;
mod version;

pub use cli::run;
pub(crate) use http1::fields;
