//! What operators see and ask: probes, metrics, logs, commands.

mod admin;
mod check;
mod commands;
mod exposition;
mod logs;
mod metrics;
mod monitoring;
