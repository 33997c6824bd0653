//! The way to Entra ID and to the destination: one TLS configuration, cached names, our own TCP transport under
//! ureq. Everything that ureq would do by itself (redirects, decompression, proxies, headers) is off.

mod agent;
mod buffers;
mod connector;
mod dial;
mod fault;
mod idle;
mod lease;
pub mod probe;
mod proxy_auth;
mod resolver;
mod roots;
mod tls;
mod tls_error;
mod transport;
mod tunnel_proxy;
mod verifier;
mod wire;

pub use agent::Upstream;
pub use fault::{Fault, ResolveError, whole_seconds};
pub use lease::{Bypass, EarlyResponse, Lease};
pub use proxy_auth::ProxyAuthError;
pub use wire::{Received, Wire};
