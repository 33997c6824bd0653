//! The way to Entra ID and to the destination: one TLS configuration, cached names, our own TCP transport under
//! ureq. Everything that ureq would do by itself (redirects, decompression, proxies, headers) is off.

mod agent;
pub mod answer;
mod buffers;
mod call;
mod connector;
mod dial;
mod fault;
mod idle;
pub mod probe;
mod resolver;
mod roots;
mod tls;
mod transport;
mod tunnel_proxy;
mod wire;

pub use agent::Upstream;
pub use call::{Call, Scope};
pub use fault::Fault;
pub use wire::{Ahead, Received, Wire};
