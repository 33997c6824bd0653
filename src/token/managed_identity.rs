//! Managed identity: a GET to an endpoint on this machine or link, which signs in itself. Azure decides who may ask, so
//! there is nothing to prove; Azure Arc's agent alone wants to see the content of a file that only some users can read.
//!
//! | endpoint | request | the identity |
//! | --- | --- | --- |
//! | IMDS | `Metadata: true` | `client_id`, `object_id`, `msi_res_id` |
//! | App Service, Functions, Container Apps | `X-IDENTITY-HEADER` | `client_id`, `principal_id`, `mi_res_id` |
//! | Azure Arc | `Metadata: true`, then also `Authorization: Basic` and the file's content | as IMDS |

mod arc;
mod refusal;
mod success;

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::Agent;
use ureq::http::Request;

use super::credential::Credential;
use super::http::{self, TIMEOUT, TokenResponse, USER_AGENT};
use super::{Grant, TokenError};
use crate::clock::Clock;
use crate::config::{self, IdentityEndpoint, UserAssigned};
use crate::log;
use crate::secret::Secret;

/// What a query's value percent-encodes (RFC 3986 section 3.4).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Which service gives the tokens; each has its own rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdentityService {
    Imds,
    AppService,
    Arc,
}

impl IdentityService {
    /// As messages call it.
    fn name(self) -> &'static str {
        match self {
            Self::Imds => "IMDS",
            Self::AppService => "the identity endpoint of App Service",
            Self::Arc => "the Azure Arc agent",
        }
    }

    fn api_version(self) -> &'static str {
        match self {
            Self::Imds => "2018-02-01",
            Self::AppService => "2019-08-01",
            Self::Arc => "2020-06-01",
        }
    }
}

/// A managed identity of this machine, pod or app.
pub(super) struct ManagedIdentity {
    agent: Agent,
    clock: Clock,
    service: IdentityService,
    /// `IDENTITY_HEADER` of App Service.
    header: Option<Secret<String>>,
    /// Name and value of the parameter that says which identity; none for the system-assigned one.
    user_assigned: Option<(&'static str, String)>,
    /// With its query.
    url: String,
    origin: String,
    timeout: Duration,
    /// Where Azure Arc's agent puts its keys.
    arc_keys: &'static str,
}

impl ManagedIdentity {
    /// `agent` must make direct connections: these endpoints are never reached through a proxy. `resource` is the scope
    /// without its `/.default`.
    pub(super) fn new(
        agent: Agent,
        clock: Clock,
        identity: &config::ManagedIdentity,
        resource: &str,
    ) -> Self {
        let (service, endpoint, header) = match &identity.endpoint {
            IdentityEndpoint::Imds { url } => (IdentityService::Imds, url, None),
            IdentityEndpoint::AppService { url, header } => (IdentityService::AppService, url, Some(header)),
            IdentityEndpoint::Arc { url } => (IdentityService::Arc, url, None),
        };
        let user_assigned = identity.user_assigned.as_ref().map(|identity| parameter(service, identity));
        let separator = if endpoint.contains('?') { '&' } else { '?' };
        let encode = |text| utf8_percent_encode(text, ENCODED);
        let mut url = format!(
            "{endpoint}{separator}api-version={}&resource={}",
            service.api_version(),
            encode(resource)
        );
        if let Some((name, id)) = &user_assigned {
            url.push_str(&format!("&{name}={}", encode(id)));
        }
        Self {
            agent,
            clock,
            service,
            header: header.map(|header| Secret::new(header.expose().clone())),
            user_assigned,
            url,
            origin: endpoint.splitn(4, '/').take(3).collect::<Vec<_>>().join("/"),
            timeout: TIMEOUT,
            arc_keys: arc::KEYS,
        }
    }

    /// One GET; with the content of the key file, if Azure Arc has asked for it.
    fn get(&self, key: Option<&Secret<String>>) -> Result<TokenResponse, TokenError> {
        let mut request = Request::get(&self.url)
            .header("metadata", "true")
            .header("accept", "application/json")
            .header("user-agent", USER_AGENT);
        if let Some(header) = &self.header {
            request = request.header("x-identity-header", header.expose());
        }
        if let Some(key) = key {
            request = request.header("authorization", format!("Basic {}", key.expose()));
        }
        let request = request.body("").map_err(|error| TokenError::transient(error.to_string()))?;
        log::debug("token request", &[("url", &self.url)]);
        http::send(&self.agent, request, self.timeout, self.service.name())
            .map_err(|error| refusal::unreachable(self.service, error))
    }
}

impl Credential for ManagedIdentity {
    fn sign_in(&mut self) -> Result<Grant, TokenError> {
        let response = match self.service {
            IdentityService::Arc => {
                let challenge = self.get(None)?;
                let key = arc::key(&challenge, self.arc_keys)?;
                self.get(Some(&key))?
            }
            _ => self.get(None)?,
        };
        if response.status != 200 {
            return Err(refusal::read(self.service, &response, self.user_assigned.is_some(), &self.clock));
        }
        success::grant(self.service, &response, self.user_assigned.as_ref(), self.clock.unix())
    }

    fn origin(&self) -> &str {
        &self.origin
    }

    /// The same token comes again until it is about to expire.
    fn can_renew_early(&self) -> bool {
        false
    }
}

/// Name and value of the parameter that means this identity.
fn parameter(service: IdentityService, identity: &UserAssigned) -> (&'static str, String) {
    match (identity, service) {
        (UserAssigned::Client(id), _) => ("client_id", id.clone()),
        (UserAssigned::Object(id), IdentityService::AppService) => ("principal_id", id.clone()),
        (UserAssigned::Object(id), _) => ("object_id", id.clone()),
        (UserAssigned::Resource(id), IdentityService::AppService) => ("mi_res_id", id.clone()),
        (UserAssigned::Resource(id), _) => ("msi_res_id", id.clone()),
    }
}

#[cfg(test)]
mod tests;
