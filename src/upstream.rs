//! The way to Entra ID and to the destination: one TLS configuration, cached names, our own TCP transport under
//! ureq. Everything that ureq would do by itself (redirects, decompression, proxies, headers) is off.

mod agent;
mod buffers;
mod connector;
mod fault;
mod idle;
mod lease;
pub mod probe;
mod transport;

pub use agent::Upstream;
pub(crate) use fault::Fault;
pub use lease::{Bypass, EarlyResponse, Lease};
