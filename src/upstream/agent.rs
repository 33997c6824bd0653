//! The two ureq agents: one for the destination, one for Entra ID, over the same dialler.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, HeaderValue};
use http::{Request, Response};
use ureq::{Agent, Body, SendBody};

use super::connector::{Dialler, NoResolver};
use super::idle::Idle;
use super::resolver::Names;
use super::{Call, answer, roots};
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
    /// Finds the connections of `destination`.
    dialler: Dialler,
    /// Its `Host`, which ureq would make anew for every request.
    host: Option<HeaderValue>,
}

impl Upstream {
    /// Builds TLS configuration and agents.
    ///
    /// # Errors
    ///
    /// `SSL_CERT_FILE` is unusable.
    pub fn new(config: &Arc<Config>) -> Result<Self, Problem> {
        let tls = roots::client_config(config.ca_file.as_deref())?;
        let dialler =
            Dialler { tls, names: Names::default(), config: Arc::clone(config), idle: Idle::new(MAX_IDLE) };
        // A token request every few minutes gains nothing by a kept connection, and one that died unnoticed, while the
        // machine slept for instance, would hold it up for half a minute.
        let fresh = Dialler { idle: Idle::new(0), ..dialler.clone() };
        Ok(Self {
            destination: Agent::with_parts(settings(config.read_idle_timeout), dialler.clone(), NoResolver),
            entra: Agent::with_parts(settings(Duration::from_secs(30)), fresh, NoResolver),
            dialler,
            host: HeaderValue::from_str(config.destination.authority.as_str()).ok(),
        })
    }

    /// Sends a request to the destination, as `call`, on a `fresh` connection if need be.
    ///
    /// # Errors
    ///
    /// ureq's, or a [`Fault`](super::Fault) inside one.
    pub fn send(
        &self,
        mut request: Request<SendBody<'_>>,
        call: &Call,
        fresh: bool,
    ) -> Result<Response<Body>, ureq::Error> {
        // Before ureq is called, and not by it: its main loop and a TLS handshake each take kilobytes of stack, and
        // stack once used stays with the thread.
        call.bring(self.dialler.find(request.uri(), Duration::MAX, fresh)?);
        request.headers_mut().extend(self.host.clone().map(|host| (HOST, host)));
        self.destination.run(request)
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
