//! The two ureq agents: one for the upstream, one for Entra ID, over the same dialer.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, HeaderName, HeaderValue};
use http::{Method, Request, Response, Uri};
use ureq::{Agent, Body, SendBody};

use super::Fault;
use super::connector::{self, Dialer, NoResolver};
use super::idle::IdlePool;
use super::lease::{self, Lease};
use crate::config::{Config, TokenProxy, TokenProxyRoots};
use crate::net::Socket;
use crate::net::connect::Network;
use crate::report::Problem;

/// Each is some kilobytes, and a burst is soon over.
const MAX_IDLE: usize = 256;

/// The HTTP agents, one for the upstream and one for Entra ID.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// For the upstream: connections pooled, no overall deadline.
    pub api: Agent,
    /// For Entra ID, or the cluster's token proxy: a new connection for every request.
    pub entra: Agent,
    /// For the endpoints of managed identities: the same, and never through the egress proxy.
    pub direct: Agent,
    /// Finds the connections of `api`.
    dialer: Dialer,
    /// Its origin, and `/`.
    base: Uri,
    /// Its `Host`, which ureq would make again for every request.
    host: Option<HeaderValue>,
}

impl Upstream {
    /// Builds TLS configuration and agents.
    ///
    /// # Errors
    ///
    /// `SSL_CERT_FILE` is unusable.
    pub fn new(config: &Arc<Config>) -> Result<Self, Problem> {
        let dialer = Dialer {
            network: Network::new("SSL_CERT_FILE", config.ca_file.as_deref())?,
            is_direct: false,
            config: Arc::clone(config),
            idle: IdlePool::new(MAX_IDLE),
        };
        // A token request every few minutes gains nothing by a kept connection, and one that died unnoticed, while the
        // machine slept for instance, would hold it up for half a minute.
        let fresh = Dialer { idle: IdlePool::new(0), ..dialer.clone() };
        let direct = Dialer { is_direct: true, ..fresh.clone() };
        let entra = match config.token_proxy() {
            Some(proxy) => Dialer { network: token_proxy(proxy, &direct.network)?, ..direct.clone() },
            None => fresh,
        };
        Ok(Self {
            api: Agent::with_parts(settings(config.read_idle_timeout), dialer.clone(), NoResolver),
            entra: Agent::with_parts(settings(Duration::from_secs(30)), entra, NoResolver),
            direct: Agent::with_parts(settings(Duration::from_secs(30)), direct, NoResolver),
            dialer,
            base: base(config)?,
            host: HeaderValue::from_str(config.base_url.authority.as_str()).ok(),
        })
    }

    /// A connection for one request of the client on `client`, whose hang-up ends the wait for it: an idle one, or a
    /// `fresh` one if need be.
    ///
    /// # Errors
    ///
    /// The [`Fault`] that kept it from being made.
    // Before ureq is called, and not by it: its main loop and a TLS handshake each take kilobytes of stack, and stack once
    // used stays with the thread.
    pub(crate) fn acquire(&self, client: Option<&Socket>, fresh: bool) -> Result<Lease, Fault> {
        self.dialer.acquire(&self.base, Duration::MAX, client, fresh)
    }

    /// Sends a request of this method on a leased connection and waits for its response, whose head the lease holds. ureq
    /// frames the body as `framing` says.
    ///
    /// # Errors
    ///
    /// ureq's, or a `Fault` inside one.
    pub fn send(
        &self,
        lease: &Lease,
        method: &Method,
        framing: Option<(HeaderName, HeaderValue)>,
        body: SendBody<'_>,
    ) -> Result<Body, ureq::Error> {
        let mut request = Request::new(body);
        *request.method_mut() = method.clone();
        // The target that is sent is the lease's.
        *request.uri_mut() = self.base.clone();
        let headers = request.headers_mut();
        headers.reserve(2);
        headers.extend(framing);
        headers.extend(self.host.clone().map(|host| (HOST, host)));
        connector::run(&self.api, request, lease).map(Response::into_body)
    }

    /// Reads the response that came before the request was sent, of which nothing more is sent.
    ///
    /// # Errors
    ///
    /// As [`Upstream::send`].
    pub fn receive_early(&self, lease: &Lease, method: &Method) -> Result<Body, ureq::Error> {
        // Nothing of this request is sent; ureq has to know only whether its response may have a body.
        let method = if *method == Method::HEAD { Method::HEAD } else { Method::GET };
        self.send(lease, &method, None, SendBody::none())
    }

    /// Ends idle connections whose time is over.
    pub fn close_expired(&self) {
        self.dialer.idle.close_expired();
    }
}

/// The network in which the cluster's token proxy is known.
fn token_proxy(proxy: &TokenProxy, network: &Network) -> Result<Network, Problem> {
    let network = match &proxy.roots {
        TokenProxyRoots::Usual => network.clone(),
        TokenProxyRoots::File(file) => Network::new("AZURE_KUBERNETES_CA_FILE", Some(file))?,
        TokenProxyRoots::Pem(pem) => {
            Network::with_roots("AZURE_KUBERNETES_CA_DATA", pem.expose().as_bytes())?
        }
    };
    Ok(network.with_server_name(proxy.server_name.as_deref()))
}

fn base(config: &Config) -> Result<Uri, Problem> {
    let base_url = &config.base_url;
    Uri::builder()
        .scheme(base_url.scheme.clone())
        .authority(base_url.authority.clone())
        .path_and_query("/")
        .build()
        .map_err(|error| Problem::new(format!("API_BASE_URL {} is not a URL: {error}", base_url.origin())))
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
        .max_response_header_size(lease::MAX_HEAD)
        // The dialer keeps them.
        .max_idle_connections(0)
        .timeout_per_read(Some(read_idle))
        .timeout_per_write(Some(read_idle))
        .build()
}
