//! From a request without a credential to the destination's answer.

mod access_log;
mod caller;
mod decisions;
mod failure;
mod forward;
pub mod headers;
mod relay;
mod request_body;
mod retry;
pub mod target;
mod tunnel;
mod upstream_request;

pub use forward::Proxy;
