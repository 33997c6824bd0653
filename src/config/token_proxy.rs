//! AKS identity bindings: `AZURE_KUBERNETES_*`, which the azure-workload-identity webhook sets. Token requests go to a proxy
//! in the cluster, trusted by a CA of its own.

use std::path::PathBuf;

use super::env::Env;
use super::url::{self, Url};
use super::value::{self, Parsed};
use crate::report::{Problem, quote};
use crate::secret::Secret;

const URL: &str = "AZURE_KUBERNETES_TOKEN_PROXY";
const CA_FILE: &str = "AZURE_KUBERNETES_CA_FILE";
const CA_DATA: &str = "AZURE_KUBERNETES_CA_DATA";
const SNI: &str = "AZURE_KUBERNETES_SNI_NAME";

/// Where token requests go in place of the authority.
#[derive(Debug)]
pub struct TokenProxy {
    /// `https://host[:port][/path]`, without a slash at its end.
    pub url: String,
    /// What its certificate is checked against.
    pub roots: TokenProxyRoots,
    /// The name that is sent and that the certificate must have, where it is not the URL's host.
    pub server_name: Option<String>,
}

#[derive(Debug)]
pub enum TokenProxyRoots {
    /// Those of all other servers.
    Usual,
    /// `AZURE_KUBERNETES_CA_FILE`, read again when it changes.
    File(PathBuf),
    /// `AZURE_KUBERNETES_CA_DATA`: PEM. Not secret as it should be, but who knows what was put there.
    Pem(Secret<String>),
}

/// The proxy, if there is one; none when something about it is wrong.
pub(super) fn read(env: &mut Env<'_>) -> Option<Option<TokenProxy>> {
    let others: Vec<&str> =
        [CA_FILE, CA_DATA, SNI].into_iter().filter(|name| env.raw(name).is_some()).collect();
    if env.raw(URL).is_none() {
        if others.is_empty() {
            return Some(None);
        }
        env.problem(
            Problem::new(format!("{URL} is not set, but {} is", others.join(" and ")))
                .hint("the azure-workload-identity webhook sets them together: pass all of them on to this container, or none"),
        );
        return None;
    }
    let url = env.optional(URL, base_url);
    let server_name = env.optional(SNI, server_name);
    let file = env.optional(CA_FILE, value::path);
    let pem = env.secret(CA_DATA);
    if others.contains(&CA_FILE) && others.contains(&CA_DATA) {
        env.problem(Problem::new(format!("{CA_FILE} and {CA_DATA} are both set")).hint("set one of them"));
        return None;
    }
    let roots = match (file, pem) {
        (Some(file), _) => TokenProxyRoots::File(file),
        (_, Some(pem)) => TokenProxyRoots::Pem(pem),
        // One that is set and wrong is a problem of its own.
        _ if others.contains(&CA_FILE) => return None,
        _ => TokenProxyRoots::Usual,
    };
    Some(Some(TokenProxy { url: url?, roots, server_name }))
}

fn base_url(value: &str) -> Parsed<String> {
    let url = Url::split(value);
    let hint = "the azure-workload-identity webhook sets it: https://host[:port]";
    if url.userinfo.is_some() || url.has_query || url.has_fragment {
        return Err(Problem::new("has a user name, a query or a fragment").hint(hint));
    }
    let refuse = |what: &str| Problem::new(format!("{what}: {}", quote(value))).hint(hint);
    if url.scheme.as_deref() != Some("https") {
        return Err(refuse("does not begin with https://"));
    }
    let (host, port) = url::host_and_port(url.host).map_err(refuse)?;
    let url = format!("https://{}{}", url::authority(&host, port), url.path.trim_end_matches('/'));
    if url.parse::<http::Uri>().is_err() {
        return Err(refuse("is not a URL"));
    }
    Ok(url)
}

fn server_name(value: &str) -> Parsed<String> {
    match url::host_and_port(value) {
        Ok((host, None)) => Ok(host),
        _ => Err(Problem::new(format!("is not a host name: {}", quote(value)))
            .hint("the azure-workload-identity webhook sets it")),
    }
}
