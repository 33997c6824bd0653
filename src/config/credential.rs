//! Which credential signs in: the one that `AZURE_TOKEN_CREDENTIALS` names, or the one that is configured.
//!
//! ```text
//! AZURE_TOKEN_CREDENTIALS      with                                 credential
//! (unset), prod                a certificate                        certificate
//!                              else a federated token file          federated token file (workload identity)
//! (unset)                      else AZURE_MANAGED_IDENTITY_*_ID     managed identity as federated credential
//! prod                         else that and AZURE_CLIENT_ID        managed identity as federated credential
//! (unset)                      none of them                         a problem: managed identity is never guessed
//! prod                         none of them                         managed identity
//! EnvironmentCredential                                             certificate
//! WorkloadIdentityCredential                                        federated token file
//! ManagedIdentityCredential    AZURE_CLIENT_ID beside               managed identity as federated credential
//!                              AZURE_MANAGED_IDENTITY_*_ID
//!                              else                                 managed identity
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::effective::Shown;
use super::entra::{self, Authority};
use super::env::Env;
use super::managed_identity::{self, UserAssigned};
use super::token_proxy;
use super::value::{self, Parsed};
use super::{Algorithm, Application, Assertion, Credential};
use crate::report::{Problem, quote};
use crate::secret::Secret;

const SELECTION: &str = "AZURE_TOKEN_CREDENTIALS";
const CERTIFICATE: [&str; 2] = ["AZURE_CERTIFICATE_PATH", "AZURE_CLIENT_CERTIFICATE_PATH"];
const PASSWORD: [&str; 2] = ["AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_CERTIFICATE_PASSWORD"];
const FEDERATED: &str = "AZURE_FEDERATED_TOKEN_FILE";

/// `AZURE_TOKEN_CREDENTIALS`, with the names of azure-identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Selection {
    /// It is unset.
    Configured,
    Production,
    Environment,
    WorkloadIdentity,
    ManagedIdentity,
}

const SELECTIONS: [(&str, Selection); 4] = [
    ("prod", Selection::Production),
    ("EnvironmentCredential", Selection::Environment),
    ("WorkloadIdentityCredential", Selection::WorkloadIdentity),
    ("ManagedIdentityCredential", Selection::ManagedIdentity),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Certificate,
    FederatedTokenFile,
    ManagedIdentity,
    FederatedManagedIdentity,
}

/// The credential, and why it is this one; none when something about it is missing or wrong.
pub(super) fn read(env: &mut Env<'_>, authority: &Authority) -> Option<(Credential, String)> {
    let chosen = env.optional(SELECTION, selection);
    if chosen.is_none() && env.raw(SELECTION).is_some() {
        // What else is missing depends on it.
        return None;
    }
    let selection = chosen.unwrap_or(Selection::Configured);
    let user_assigned = managed_identity::user_assigned(env);
    let kind = kind(env, selection);
    let credential = if kind == Kind::ManagedIdentity {
        let client_id = env.optional("AZURE_CLIENT_ID", entra::client_id).map(UserAssigned::Client);
        managed_identity::read(env, user_assigned.or(client_id)).map(Credential::ManagedIdentity)
    } else {
        application(env, kind, user_assigned, authority).map(Credential::Application)
    };
    Some((credential?, reason(env, kind, selection)))
}

fn kind(env: &Env<'_>, selection: Selection) -> Kind {
    let is_set = |name: &str| env.raw(name).is_some();
    let names_identity = managed_identity::NAMES.into_iter().any(is_set);
    match selection {
        Selection::Environment => Kind::Certificate,
        Selection::WorkloadIdentity => Kind::FederatedTokenFile,
        Selection::ManagedIdentity if names_identity && is_set("AZURE_CLIENT_ID") => {
            Kind::FederatedManagedIdentity
        }
        Selection::ManagedIdentity => Kind::ManagedIdentity,
        _ if CERTIFICATE.into_iter().any(is_set) => Kind::Certificate,
        _ if is_set(FEDERATED) => Kind::FederatedTokenFile,
        Selection::Production if !(names_identity && is_set("AZURE_CLIENT_ID")) => Kind::ManagedIdentity,
        _ if names_identity => Kind::FederatedManagedIdentity,
        // Nothing is configured: the certificate is what is reported as missing.
        _ => Kind::Certificate,
    }
}

/// For the log, as `… because …`.
fn reason(env: &Env<'_>, kind: Kind, selection: Selection) -> String {
    if selection != Selection::Configured {
        return format!("{SELECTION} is set to {}", env.raw(SELECTION).unwrap_or_default().trim());
    }
    let mut names = match kind {
        Kind::Certificate => CERTIFICATE.iter(),
        Kind::FederatedTokenFile => [FEDERATED].iter(),
        Kind::ManagedIdentity | Kind::FederatedManagedIdentity => managed_identity::NAMES.iter(),
    };
    let name = names.find(|name| env.raw(name).is_some());
    format!("{} is set", name.copied().unwrap_or_default())
}

impl Shown for Selection {
    fn shown(&self) -> String {
        let known = SELECTIONS.into_iter().find(|(_, selection)| selection == self);
        known.map(|(name, _)| name).unwrap_or_default().to_owned()
    }
}

fn selection(value: &str) -> Parsed<Selection> {
    let known = SELECTIONS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(value));
    known.map(|(_, selection)| selection).ok_or_else(|| {
        let developer = ["dev", "AzureCli", "AzureDeveloperCli", "AzurePowerShell", "VisualStudioCode", "InteractiveBrowser"];
        let is_developer = developer.iter().any(|name| {
            value.eq_ignore_ascii_case(name) || value.eq_ignore_ascii_case(&format!("{name}Credential"))
        });
        let problem = if is_developer {
            Problem::new(format!("selects a developer's sign-in, which auth-proxy does not have: {}", quote(value)))
        } else {
            Problem::new(format!("is not a credential that auth-proxy knows: {}", quote(value)))
        };
        problem.hint("use EnvironmentCredential (a certificate), WorkloadIdentityCredential (a federated token file), ManagedIdentityCredential, or prod for the first of them that is configured")
    })
}

/// The application that signs in, and where its assertions come from.
fn application(
    env: &mut Env<'_>,
    kind: Kind,
    user_assigned: Option<UserAssigned>,
    authority: &Authority,
) -> Option<Application> {
    let client_hint = match kind {
        Kind::FederatedManagedIdentity => {
            "the Application (client) ID of the application that the identity signs in for; for the identity's own token set \
             AZURE_TOKEN_CREDENTIALS=ManagedIdentityCredential"
        }
        _ => "the Application (client) ID: Entra admin center, App registrations, your app, Overview",
    };
    let client_id = env.required("AZURE_CLIENT_ID", client_hint, entra::client_id);
    let tenant = env.required(
        "AZURE_TENANT_ID",
        "the Directory (tenant) ID on the same page, or a domain such as contoso.onmicrosoft.com",
        entra::tenant,
    );
    let assertion = match kind {
        Kind::FederatedManagedIdentity => managed_identity::read(env, user_assigned).map(|identity| {
            Assertion::ManagedIdentity { identity, resource: authority.token_exchange_audience() }
        }),
        kind => from_file(env, kind),
    };
    Some(Application {
        client_id: client_id?,
        token_url: authority.token_url(&tenant?),
        assertion: assertion?,
    })
}

/// The certificate under either name, or the federated token file.
fn from_file(env: &mut Env<'_>, kind: Kind) -> Option<Assertion> {
    let [preferred, alias] = CERTIFICATE.map(|name| env.optional(name, value::path));
    let federated = env.optional(FEDERATED, value::path);
    let send_chain = env.flag("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN");
    let algorithm = env.or("AZURE_ASSERTION_ALGORITHM", Algorithm::Ps256, value::algorithm);
    if kind == Kind::FederatedTokenFile {
        env.mark_unused(&CERTIFICATE);
        env.mark_unused(&["AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", "AZURE_ASSERTION_ALGORITHM"]);
        let token_proxy = token_proxy::read(env);
        if env.raw(FEDERATED).is_none() {
            env.missing(
                FEDERATED,
                "the file with the federated token; on AKS the azure-workload-identity webhook sets it: pods want the label azure.workload.identity/use: \"true\"",
            );
        }
        return Some(Assertion::FederatedTokenFile { path: federated?, token_proxy: token_proxy? });
    }
    env.mark_unused(&[FEDERATED]);
    if let (Some(one), Some(other)) = (&preferred, &alias)
        && one != other
    {
        env.problem(different_files(one, other));
    }
    if CERTIFICATE.into_iter().all(|name| env.raw(name).is_none()) {
        env.missing(
            "AZURE_CERTIFICATE_PATH",
            "a PEM or PFX file with the certificate (uploaded under App registrations, your app, Certificates & \
             secrets) and its private key; for workload identity set AZURE_FEDERATED_TOKEN_FILE instead, for managed identity \
             AZURE_TOKEN_CREDENTIALS=ManagedIdentityCredential",
        );
    }
    let password = certificate_password(env).map(Arc::new);
    let path: PathBuf = preferred.or(alias)?;
    if federated.is_some() && env.raw(SELECTION).is_none() {
        env.note(which_credential(&path));
    }
    Some(Assertion::Certificate { path, password, algorithm, send_chain })
}

/// What opens the certificate's file, under either name. One line break at the end is no part of it: files that secrets are
/// mounted from have one, and no tool takes a password of two lines.
fn certificate_password(env: &mut Env<'_>) -> Option<Secret<String>> {
    let [preferred, alias] = PASSWORD.map(|name| {
        let value = env.secret(name)?;
        let line = value.expose().strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        let line = line.unwrap_or(value.expose());
        env.parse(name, line, |line| Ok(Secret::new(line.to_owned())))
    });
    if let (Some(one), Some(other)) = (&preferred, &alias)
        && one != other
    {
        let [name, other_name] = PASSWORD;
        let problem = Problem::new(format!("{name} and {other_name} are different passwords"));
        env.problem(problem.hint("they mean the same: set one of them"));
    }
    preferred.or(alias)
}

fn different_files(one: &Path, other: &Path) -> Problem {
    Problem::new(format!(
        "AZURE_CERTIFICATE_PATH and AZURE_CLIENT_CERTIFICATE_PATH name different files: {} and {}",
        quote(&one.to_string_lossy()),
        quote(&other.to_string_lossy())
    ))
    .hint("they mean the same: set one of them")
}

fn which_credential(path: &Path) -> Problem {
    Problem::new(format!(
        "AZURE_FEDERATED_TOKEN_FILE is set as well as a certificate; the certificate is used: {}",
        quote(&path.to_string_lossy())
    ))
    .hint("unset AZURE_CERTIFICATE_PATH and AZURE_CLIENT_CERTIFICATE_PATH to use workload identity")
}
