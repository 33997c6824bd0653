//! What operators see and ask: probes, metrics, logs, commands.

mod admin;
mod exposition;
mod logs;
mod metrics;
