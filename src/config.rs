//! Settings: from a lookup function to a [`Config`], or all problems at once.

mod allowed_requests;
mod base_url;
mod credential;
mod effective;
mod egress;
mod entra;
mod env;
mod listen;
mod managed_identity;
mod names;
mod no_proxy;
mod parse;
mod scope;
mod settings;
#[cfg(test)]
mod tests;
mod tls;
mod token_proxy;
mod url;
mod value;
mod web_pages;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use allowed_requests::{AllowedRequests, RequestPattern, TargetPattern};
pub use base_url::BaseUrl;
pub(crate) use effective::EffectiveSetting;
pub(crate) use egress::Egress;
pub(crate) use env::Environment;
pub(crate) use listen::Listen;
pub(crate) use managed_identity::UserAssigned;
pub use settings::SETTINGS;
pub(crate) use tls::Probe;
pub(crate) use token_proxy::{TokenProxy, TokenProxyRoots};
pub(crate) use web_pages::{AllowedHosts, AllowedOrigins};

use crate::net::TlsFiles;
use crate::report::Problem;
use crate::secret::Secret;

/// Everything the environment says, parsed. See [`SETTINGS`] for the variables.
#[derive(Debug)]
pub struct Config {
    /// What signs in.
    pub credential: Credential,
    /// Why it is this credential, as `VARIABLE is set`.
    pub credential_reason: String,
    /// `AZURE_SCOPE`, or the one that goes with the upstream's host.
    pub scope: String,
    /// `API_BASE_URL`.
    pub base_url: BaseUrl,
    /// `REWRITE_LOCATION`.
    pub rewrite_location: bool,
    /// `HOST` and `PORT`.
    pub listen: Listen,
    /// `TLS_CERT_FILE`, `TLS_KEY_FILE` and `TLS_CLIENT_CA_FILE`.
    pub tls: Option<TlsFiles>,
    /// `PROXY_API_KEY`.
    pub proxy_api_key: Option<Secret<String>>,
    /// `ALLOWED_ORIGINS`.
    pub allowed_origins: AllowedOrigins,
    /// `ALLOWED_HOSTS`.
    pub allowed_hosts: AllowedHosts,
    /// `ALLOWED_REQUESTS`; none if everything may be requested.
    pub(crate) allowed_requests: Option<AllowedRequests>,
    /// `PROXY_API_KEYS_FILE`.
    pub proxy_api_keys_file: Option<PathBuf>,
    /// `ADMIN_PORT`.
    pub admin_port: Option<u16>,
    /// `ADMIN_HOST`, else `HOST`, else the loopback.
    pub admin_host: String,
    /// `SSL_CERT_FILE`: a PEM bundle used instead of the built-in roots.
    pub ca_file: Option<PathBuf>,
    /// `HTTPS_PROXY` and `NO_PROXY`.
    pub egress: Egress,
    /// `LOG_LEVEL`.
    pub log_level: LogLevel,
    /// `LOG_FORMAT`.
    pub log_format: LogFormat,
    /// `MAX_CONNECTIONS`.
    pub max_connections: usize,
    /// `CONNECT_TIMEOUT`: to resolve, connect and finish the TLS handshake.
    pub connect_timeout: Duration,
    /// `READ_IDLE_TIMEOUT`: how long to wait for data from the upstream.
    pub read_idle_timeout: Duration,
    /// `SHUTDOWN_GRACE`: how long in-flight requests may go on after SIGTERM.
    pub shutdown_grace: Duration,
    /// What is allowed but deserves a warning at start, for example both credentials being configured.
    pub notes: Vec<Problem>,
    /// Every variable of [`SETTINGS`] with the value in force, none of them secret.
    pub effective: Vec<EffectiveSetting>,
}

/// What signs in to Entra ID.
#[derive(Debug)]
pub enum Credential {
    /// An application, with an assertion.
    Application(Application),
    /// The identity of the machine or app that this runs on.
    ManagedIdentity(ManagedIdentity),
}

/// An application (service principal) that proves with an assertion who it is.
#[derive(Debug)]
pub struct Application {
    /// `AZURE_CLIENT_ID`: the application (client) id, the assertion's `iss` and `sub`.
    pub client_id: String,
    /// `https://{authority}/{tenant}/oauth2/v2.0/token`, the URL posted to and the assertion's `aud`.
    pub token_url: String,
    pub assertion: Assertion,
}

/// Where the client assertion comes from.
#[derive(Debug)]
pub enum Assertion {
    /// A certificate with its private key, in a file or a directory; we sign the assertion.
    Certificate {
        /// `AZURE_CERTIFICATE_PATH` or `AZURE_CLIENT_CERTIFICATE_PATH`.
        path: PathBuf,
        /// `AZURE_CLIENT_CERTIFICATE_PASSWORD` or `AZURE_CERTIFICATE_PASSWORD`: opens the file.
        password: Option<Arc<Secret<String>>>,
        /// `AZURE_ASSERTION_ALGORITHM`.
        algorithm: Algorithm,
        /// `AZURE_CLIENT_SEND_CERTIFICATE_CHAIN`: add `x5c`.
        send_chain: bool,
    },
    /// `AZURE_FEDERATED_TOKEN_FILE`: the file's content is the assertion (workload identity).
    FederatedTokenFile {
        /// The file, read again for every token request.
        path: PathBuf,
        /// Where the token request goes in place of the authority: AKS identity bindings.
        token_proxy: Option<TokenProxy>,
    },
    /// A token of a managed identity is the assertion.
    ManagedIdentity {
        identity: ManagedIdentity,
        /// What that token is for: `api://AzureADTokenExchange`.
        resource: &'static str,
    },
}

/// A managed identity, and where its tokens come from.
#[derive(Debug)]
pub struct ManagedIdentity {
    pub endpoint: IdentityEndpoint,
    /// None for the system-assigned one.
    pub user_assigned: Option<UserAssigned>,
}

/// An endpoint of Azure that gives a managed identity's tokens; each `url` lacks only its query.
#[derive(Debug)]
pub enum IdentityEndpoint {
    /// The Instance Metadata Service of virtual machines, scale sets and AKS nodes.
    Imds { url: String },
    /// App Service, Functions, Container Apps.
    AppService {
        url: String,
        /// `IDENTITY_HEADER`.
        header: Secret<String>,
    },
    /// The agent of Azure Arc.
    Arc { url: String },
}

impl Credential {
    /// As the log and `check` name it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Application(Application { assertion: Assertion::Certificate { .. }, .. }) => "certificate",
            Self::Application(Application { assertion: Assertion::FederatedTokenFile { .. }, .. }) => {
                "federated token file"
            }
            Self::Application(Application { assertion: Assertion::ManagedIdentity { .. }, .. }) => {
                "managed identity as federated credential"
            }
            Self::ManagedIdentity(_) => "managed identity",
        }
    }

    /// What is known of it besides its certificate, as names and values for the log and `check`.
    pub fn details(&self) -> Vec<(&'static str, String)> {
        let identity = match self {
            Self::Application(Application { assertion, .. }) => match assertion {
                Assertion::Certificate { .. } => return Vec::new(),
                Assertion::FederatedTokenFile { path, token_proxy } => {
                    let file = ("federated_token_file", path.display().to_string());
                    let proxy = token_proxy.as_ref().map(|proxy| ("token_proxy", proxy.url.clone()));
                    return std::iter::once(file).chain(proxy).collect();
                }
                Assertion::ManagedIdentity { identity, .. } => identity,
            },
            Self::ManagedIdentity(identity) => identity,
        };
        let (service, url) = match &identity.endpoint {
            IdentityEndpoint::Imds { url } => ("IMDS", url),
            IdentityEndpoint::AppService { url, .. } => ("App Service", url),
            IdentityEndpoint::Arc { url } => ("Azure Arc", url),
        };
        let id = identity.user_assigned.as_ref().map_or_else(
            || "system-assigned".to_owned(),
            |(UserAssigned::Client(id) | UserAssigned::Object(id) | UserAssigned::Resource(id))| id.clone(),
        );
        let url = url.split('?').next().unwrap_or_default().to_owned();
        vec![("identity_endpoint", format!("{service} {url}")), ("managed_identity", id)]
    }
}

/// How the assertion is signed (RFC 7518 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PSS with SHA-256 and salt length 32, sent with `x5t#S256`.
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, sent with the SHA-1 `x5t`.
    Rs256,
}

/// How much is logged; each level includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something does not work.
    Error,
    /// It works, but needs attention.
    Warn,
    /// The life of the program and its requests.
    Info,
    /// Decisions and header names.
    Debug,
}

/// A length of time as the settings write it: `30s`, `500ms`, `2m`, or seconds without a unit.
///
/// # Errors
///
/// It is none; the message begins with a verb.
pub(crate) fn duration(text: &str) -> Result<Duration, Problem> {
    value::grace(text)
}

/// Whether a text can be a caller's key.
///
/// # Errors
///
/// It cannot; the message begins with a verb and shows nothing of it.
pub(crate) fn check_key(text: &str) -> Result<(), Problem> {
    parse::check_key(text)
}

impl LogLevel {
    /// The level as the log and `LOG_LEVEL` spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line, for collectors.
    Json,
}

impl Config {
    /// Parses every setting before it returns, so that one run shows every mistake.
    ///
    /// `lookup` gives the value of an environment variable; an empty value means unset.
    ///
    /// # Errors
    ///
    /// All problems found, each naming the variable, what is wrong and what to do; never a secret's value. The one
    /// about absent required settings begins with `Missing required Azure AD configuration`.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        Self::from_environment(Environment { lookup, names: &[] })
    }

    /// As [`Config::from_lookup`], and warns about variables that may be meant as settings.
    ///
    /// # Errors
    ///
    /// As [`Config::from_lookup`].
    pub fn from_environment(environment: Environment<'_>) -> Result<Self, Vec<Problem>> {
        parse::config(environment)
    }

    /// `LOG_FORMAT` alone, for problems with other settings; text if it is itself at fault.
    pub fn log_format(lookup: &dyn Fn(&str) -> Option<String>) -> LogFormat {
        let value = lookup("LOG_FORMAT").unwrap_or_default();
        value::log_format(value.trim()).unwrap_or(LogFormat::Text)
    }

    /// Whether callers must prove who they are.
    pub fn authenticates_callers(&self) -> bool {
        self.proxy_api_key.is_some()
            || self.proxy_api_keys_file.is_some()
            || self.demands_client_certificates()
    }

    /// Where token requests go in place of the authority, if they do.
    pub fn token_proxy(&self) -> Option<&TokenProxy> {
        match &self.application()?.assertion {
            Assertion::FederatedTokenFile { token_proxy, .. } => token_proxy.as_ref(),
            _ => None,
        }
    }

    /// `TLS_CLIENT_CA_FILE` is set: nobody without a certificate gets a request through.
    pub fn demands_client_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|files| files.client_ca.is_some())
    }

    /// The application that signs in; none for a managed identity.
    pub fn application(&self) -> Option<&Application> {
        match &self.credential {
            Credential::Application(application) => Some(application),
            Credential::ManagedIdentity(_) => None,
        }
    }

    /// The scope to try when the upstream says that the token's audience is wrong; none when there is no better guess.
    pub fn other_scope(&self) -> Option<&'static str> {
        scope::other(&self.scope, &self.base_url)
    }
}
