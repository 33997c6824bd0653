//! From a request without a credential to the destination's answer.

mod access;
mod caller;
mod decisions;
mod failure;
mod forward;
pub mod headers;
mod outgoing;
mod record;
mod relay;
pub mod target;
mod tunnel;
mod upload;

pub use forward::Proxy;
