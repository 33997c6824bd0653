//! What operators see and use:
//!
//! - three probes with three meanings on `ADMIN_PORT` ([`probes`]);
//! - `/metrics`, and a dashboard, alert rules and documents that name what is there ([`metrics`], [`monitoring`]);
//! - a section of a runbook for each alert ([`runbooks`]);
//! - outages, each with its signal ([`outages`]);
//! - pages for people: the state, the settings in force ([`pages`]);
//! - a log that is enough to find a request again ([`logs`]);
//! - `check`, `wait`, `healthcheck`, `--help` and `--version` ([`check`], [`commands`]);
//! - notifications to systemd ([`service_manager`]).

mod check;
mod commands;
mod exposition;
mod logs;
mod metrics;
mod monitoring;
mod outages;
mod pages;
mod probes;
mod runbooks;
mod service_manager;
