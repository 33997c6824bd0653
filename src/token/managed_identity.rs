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
use ureq::http::{HeaderValue, Request};
use zeroize::Zeroizing;

use super::credential::Credential;
use super::http::{self, TIMEOUT, TokenResponse, USER_AGENT};
use super::{Class, Grant, TokenError};
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

/// How the settings are called that a hint names.
struct Names {
    /// The variable that names the identity, or would.
    identity: &'static str,
    is_user_assigned: bool,
    /// It signs in for an application, and must be user-assigned.
    is_federated: bool,
}

impl Names {
    fn of(identity: &config::ManagedIdentity, is_federated: bool) -> Self {
        let name = match &identity.user_assigned {
            Some(UserAssigned::Object(_)) => "AZURE_MANAGED_IDENTITY_OBJECT_ID",
            Some(UserAssigned::Resource(_)) => "AZURE_MANAGED_IDENTITY_RESOURCE_ID",
            _ if is_federated => "AZURE_MANAGED_IDENTITY_CLIENT_ID",
            _ => "AZURE_CLIENT_ID",
        };
        Self { identity: name, is_user_assigned: identity.user_assigned.is_some(), is_federated }
    }

    /// A hint with the right names in it.
    fn fit(&self, hint: &str) -> String {
        let scope = if self.is_federated { "AZURE_AUTHORITY_HOST" } else { "AZURE_SCOPE" };
        let hint = hint.replace("AZURE_CLIENT_ID", self.identity).replace("AZURE_SCOPE", scope);
        if self.is_federated { hint.replace(OR_SYSTEM_ASSIGNED, "") } else { hint }
    }
}

/// The end of hints that does not hold for a federated identity.
const OR_SYSTEM_ASSIGNED: &str = "; unset it for the system-assigned one";

/// A managed identity of this machine, pod or app.
pub(super) struct ManagedIdentity {
    agent: Agent,
    clock: Clock,
    service: IdentityService,
    /// `IDENTITY_HEADER` of App Service.
    header: Option<Secret<String>>,
    /// What hints call the settings.
    names: Names,
    /// Name and value of the parameter that says which identity; none for the system-assigned one.
    user_assigned: Option<(&'static str, String)>,
    /// With its query.
    url: String,
    origin: String,
}

impl ManagedIdentity {
    /// `agent` must make direct connections: these endpoints are never reached through a proxy. `resource` is the scope
    /// without its `/.default`.
    pub(super) fn new(
        agent: Agent,
        clock: Clock,
        identity: &config::ManagedIdentity,
        resource: &str,
        is_federated: bool,
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
            names: Names::of(identity, is_federated),
            user_assigned,
            url,
            origin: endpoint.splitn(4, '/').take(3).collect::<Vec<_>>().join("/"),
        }
    }

    /// One GET; with the content of the key file, if Azure Arc has asked for it.
    fn get(&self, key: Option<&Secret<String>>) -> Result<TokenResponse, TokenError> {
        let mut request = Request::get(&self.url)
            .header("metadata", "true")
            .header("accept", "application/json")
            .header("user-agent", USER_AGENT);
        if let Some(header) = &self.header {
            request = request.header("x-identity-header", sensitive(header.expose()));
        }
        if let Some(key) = key {
            let value = Zeroizing::new(format!("Basic {}", key.expose()));
            request = request.header("authorization", sensitive(&value));
        }
        let request = request.body("").map_err(|error| TokenError::transient(error.to_string()))?;
        log::debug("token request", &[("url", &self.url.split('?').next().unwrap_or_default())]);
        http::send(&self.agent, request, TIMEOUT, self.service.name())
            .map_err(|error| refusal::unreachable(self.service, error))
    }

    /// One token request; Azure Arc wants two of them.
    fn request(&self) -> Result<Grant, TokenError> {
        let refused =
            |response: &TokenResponse| refusal::read(self.service, response, &self.names, &self.clock);
        let mut response = self.get(None)?;
        if self.service == IdentityService::Arc {
            match response.status {
                401 | 200 => {}
                _ => return Err(refused(&response)),
            }
            let key = arc::key(&response, arc::KEYS)?;
            response = self.get(Some(&key))?;
        }
        if response.status != 200 {
            return Err(refused(&response));
        }
        success::grant(self.service, &response, self.user_assigned.as_ref(), self.clock.unix())
    }
}

/// These endpoints limit how often they may be asked.
const MIN_RETRY_AFTER: Duration = Duration::from_secs(1);

/// No attempt follows a temporary error at once, whatever it was: each asks the endpoint on this machine again.
pub(super) fn limit_rate(error: TokenError) -> TokenError {
    let retry_after = match error.class {
        Class::Transient => Some(error.retry_after.unwrap_or_default().max(MIN_RETRY_AFTER)),
        Class::Permanent => error.retry_after,
    };
    TokenError { retry_after, ..error }
}

impl Credential for ManagedIdentity {
    fn sign_in(&mut self) -> Result<Grant, TokenError> {
        self.request().map_err(limit_rate)
    }

    fn origin(&self) -> &str {
        &self.origin
    }

    /// The same token comes again until it is about to expire.
    fn can_renew_early(&self) -> bool {
        false
    }
}

/// A header's value that no log shows; settings and key file were checked to fit.
fn sensitive(value: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
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
