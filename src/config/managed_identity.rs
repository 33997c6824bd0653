//! Managed identity: which of Azure's local endpoints gives its tokens, and which identity is meant. The variables are those
//! that the platform sets and azure-identity reads, in its order.

use std::path::Path;

use super::effective::{SET, ValueSource};
use super::entra;
use super::env::Env;
use super::url::{self, Url};
use super::value::Parsed;
use super::{IdentityEndpoint, ManagedIdentity};
use crate::report::{Problem, quote};

/// What names a user-assigned identity, where `AZURE_CLIENT_ID` names the application or is not known.
pub(super) const NAMES: [&str; 3] = [
    "AZURE_MANAGED_IDENTITY_CLIENT_ID",
    "AZURE_MANAGED_IDENTITY_OBJECT_ID",
    "AZURE_MANAGED_IDENTITY_RESOURCE_ID",
];
const IMDS: &str = "http://169.254.169.254";
const IMDS_PATH: &str = "/metadata/identity/oauth2/token";
/// Azure Arc's agent, and where it listens; its variables reach services only after the machine was started again.
const ARC_AGENT: &str = "/opt/azcmagent/bin/himds";
const ARC_ENDPOINT: &str = "http://127.0.0.1:40342/metadata/identity/oauth2/token";
/// A resource id of Azure has 36 + 64 + 128 characters and fixed words.
const MAX_RESOURCE_ID: usize = 512;

/// A user-assigned identity, by one of its ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserAssigned {
    Client(String),
    Object(String),
    /// `/subscriptions/…/userAssignedIdentities/NAME`.
    Resource(String),
}

/// The identity that one of [`NAMES`] names.
pub(super) fn user_assigned(env: &mut Env<'_>) -> Option<UserAssigned> {
    let [client, object, resource] = NAMES;
    let set: Vec<&str> = NAMES.into_iter().filter(|name| env.raw(name).is_some()).collect();
    if set.len() > 1 {
        env.problem(
            Problem::new(format!("{} are set: they all name the managed identity", set.join(" and ")))
                .hint("set one of them"),
        );
    }
    let client = env.optional(client, entra::client_id).map(UserAssigned::Client);
    let object = env.optional(object, object_id).map(UserAssigned::Object);
    let resource = env.optional(resource, resource_id).map(UserAssigned::Resource);
    client.or(object).or(resource)
}

/// The endpoint of this machine. Nothing is probed: that managed identity is meant was said.
pub(super) fn read(env: &mut Env<'_>, user_assigned: Option<UserAssigned>) -> Option<ManagedIdentity> {
    let is_set = |env: &Env<'_>, name: &str| env.raw(name).is_some();
    let refuse = |env: &mut Env<'_>, what: &str, variables: &str| {
        env.problem(Problem::new(format!("managed identity of {what} is not supported ({variables})")).hint(
            "use a certificate or workload identity there; App Service, Functions, Container Apps, virtual \
                 machines, AKS and Azure Arc are supported",
        ));
    };
    let is_arc = is_set(env, "IMDS_ENDPOINT");
    if is_set(env, "IDENTITY_HEADER") && !is_set(env, "IDENTITY_ENDPOINT") {
        env.problem(
            Problem::new("IDENTITY_HEADER is set without IDENTITY_ENDPOINT")
                .hint("App Service and Container Apps set both: pass IDENTITY_ENDPOINT on to this container")
                .hint("elsewhere unset IDENTITY_HEADER"),
        );
        return None;
    }
    let endpoint = if is_set(env, "IDENTITY_ENDPOINT") {
        let url = env.optional("IDENTITY_ENDPOINT", endpoint_url);
        if is_set(env, "IDENTITY_HEADER") && is_set(env, "IDENTITY_SERVER_THUMBPRINT") {
            refuse(env, "Service Fabric", "IDENTITY_SERVER_THUMBPRINT is set");
            return None;
        }
        if let Some(header) = env.secret("IDENTITY_HEADER") {
            env.parse("IDENTITY_HEADER", header.expose(), header_value)?;
            IdentityEndpoint::AppService { url: url?, header }
        } else if is_arc {
            let url = url?;
            // Its challenge asks for the content of a local file.
            if !url::is_loopback(&host(&url)) {
                env.problem(
                    Problem::new(format!(
                        "IDENTITY_ENDPOINT is not on this machine, as Azure Arc's agent is: {}",
                        quote(&url)
                    ))
                    .hint(format!("Azure Arc sets it to {ARC_ENDPOINT}")),
                );
                return None;
            }
            // Its presence is what counts.
            env.record("IMDS_ENDPOINT", SET.to_owned(), ValueSource::Environment);
            IdentityEndpoint::Arc { url }
        } else {
            env.problem(
                Problem::new("IDENTITY_ENDPOINT is set without IDENTITY_HEADER")
                    .hint("App Service and Container Apps set both: pass IDENTITY_HEADER on to this container, and see that the identity is switched on for it")
                    .hint("Azure Arc sets IDENTITY_ENDPOINT and IMDS_ENDPOINT; elsewhere unset IDENTITY_ENDPOINT"),
            );
            return None;
        }
    } else if is_set(env, "MSI_ENDPOINT") {
        if is_set(env, "MSI_SECRET") {
            refuse(env, "Azure Machine Learning", "MSI_ENDPOINT and MSI_SECRET are set");
        } else {
            refuse(env, "Cloud Shell", "MSI_ENDPOINT is set");
        }
        return None;
    } else if Path::new(ARC_AGENT).exists() {
        IdentityEndpoint::Arc { url: ARC_ENDPOINT.to_owned() }
    } else {
        let host = env.or("AZURE_POD_IDENTITY_AUTHORITY_HOST", IMDS.to_owned(), imds_host);
        IdentityEndpoint::Imds { url: format!("{}{IMDS_PATH}", host.trim_end_matches('/')) }
    };
    Some(ManagedIdentity { endpoint, user_assigned })
}

/// A URL without a credential; plain http beyond loopback is usual here (`http://172.16.2.6:8081/msi/token`).
fn endpoint_url(value: &str) -> Parsed<String> {
    checked_url(value, "it is set by Azure: unset it elsewhere")
}

fn checked_url(value: &str, hint: &str) -> Parsed<String> {
    let url = Url::split(value);
    let refuse = |what: &str| Problem::new(format!("{what}: {}", quote(value))).hint(hint);
    if url.userinfo.is_some() {
        return Err(Problem::new("has a user name before an `@`").hint(hint));
    }
    if !matches!(url.scheme.as_deref(), Some("http" | "https")) || url.has_fragment {
        return Err(refuse("is not a URL with http:// or https://"));
    }
    url::host_and_port(url.host).map_err(refuse)?;
    match value.parse::<http::Uri>() {
        Ok(_) => Ok(value.to_owned()),
        Err(_) => Err(refuse("is not a URL")),
    }
}

/// As [`endpoint_url`], without a query: a path is appended.
fn imds_host(value: &str) -> Parsed<String> {
    let hint = "give only http://host:port; unset it for the real IMDS";
    if Url::split(value).has_query {
        return Err(Problem::new("has a query").hint(hint));
    }
    checked_url(value, hint)
}

fn object_id(value: &str) -> Parsed<String> {
    if entra::is_guid(value) {
        return Ok(value.to_owned());
    }
    Err(Problem::new(format!("is not a GUID ({} characters)", value.chars().count()))
        .hint("az identity show --query principalId -o tsv: the object (principal) id of the identity"))
}

fn host(url: &str) -> String {
    url::host_and_port(Url::split(url).host).map(|(host, _)| host).unwrap_or_default()
}

fn header_value(value: &str) -> Parsed<()> {
    if value.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(Problem::new("has characters that no header may have").hint("pass it on as Azure set it"))
    }
}

fn resource_id(value: &str) -> Parsed<String> {
    let is_plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.()".contains(&b));
    let lower = value.to_ascii_lowercase();
    if lower.starts_with("/subscriptions/")
        && lower.contains("/providers/microsoft.managedidentity/userassignedidentities/")
        && is_plain
        && value.len() <= MAX_RESOURCE_ID
    {
        return Ok(value.to_owned());
    }
    Err(Problem::new(format!("is not the resource id of a user-assigned identity: {}", quote(value))).hint(
        "az identity show --query id -o tsv: /subscriptions/…/resourceGroups/…/providers/Microsoft.ManagedIdentity/userAssignedIdentities/NAME",
    ))
}
