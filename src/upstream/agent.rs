//! The two ureq agents: one for the destination, one for Entra ID, over the same dialler.

use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;

use super::connector::{Dialler, NoResolver};
use super::idle::Idle;
use super::resolver::Names;
use super::{answer, roots};
use crate::config::Config;
use crate::report::Problem;

/// Each is some kilobytes, and a burst is soon over.
const MAX_IDLE: usize = 256;

/// The way out.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// For the destination: connections pooled, no overall deadline.
    pub destination: Agent,
    /// For Entra ID: a new connection for every request.
    pub entra: Agent,
}

impl Upstream {
    /// Builds TLS configuration and agents.
    ///
    /// # Errors
    ///
    /// `SSL_CERT_FILE` is unusable.
    pub fn new(config: &Arc<Config>) -> Result<Self, Problem> {
        let tls = roots::client_config(config.ca_file.as_deref())?;
        let names = Names::default();
        let agent = |read_idle, max_idle| {
            let (tls, names, config) = (Arc::clone(&tls), names.clone(), Arc::clone(config));
            let dialler = Dialler { tls, names, config, idle: Idle::new(max_idle) };
            Agent::with_parts(settings(read_idle), dialler, NoResolver)
        };
        Ok(Self {
            destination: agent(config.read_idle_timeout, MAX_IDLE),
            // A token request every few minutes gains nothing by a kept connection, and one that died unnoticed,
            // while the machine slept for instance, would hold it up for half a minute.
            entra: agent(Duration::from_secs(30), 0),
        })
    }
}

/// Everything that ureq would do by itself, off.
fn settings(read_idle: Duration) -> ureq::config::Config {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .allow_non_standard_methods(true)
        .proxy(None)
        .user_agent("")
        .accept("")
        .accept_encoding("")
        .max_response_header_size(answer::MAX_HEAD)
        // The dialler keeps them.
        .max_idle_connections(0)
        .timeout_per_read(Some(read_idle))
        .timeout_per_write(Some(read_idle))
        .build()
}
