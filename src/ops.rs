//! What operators ask for: is it healthy, how is it doing, stop.

pub mod admin;
pub mod health;
pub mod metrics;
pub mod notify;
pub mod panics;
