//! `AZURE_SCOPE`: what the token is for. Client credentials take one form only: a resource and `/.default`.

use super::BaseUrl;
use super::entra::is_guid;
use super::url;
use super::value::Parsed;
use crate::report::{Problem, is_quotable, quote};

/// What every Azure OpenAI resource takes.
const COGNITIVE_SERVICES: &str = "https://cognitiveservices.azure.com/.default";
/// What is written at the end of a scope, and not in it.
const SUFFIX: &str = "/.default";

/// Scopes of one cloud that are taken for one another: resources take the first, Foundry projects only the second.
const PAIRS: [[&str; 2]; 2] = [
    [COGNITIVE_SERVICES, "https://ai.azure.com/.default"],
    ["https://cognitiveservices.azure.us/.default", "https://ai.azure.us/.default"],
];

pub(super) fn parse(value: &str) -> Parsed<String> {
    let like = format!("write it like {COGNITIVE_SERVICES}");
    if value.contains(char::is_whitespace) {
        return Err(Problem::new(format!("holds more than one scope: {}", quote(value)))
            .hint("a token is for one resource: give one scope that ends in /.default"));
    }
    if !value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:/".contains(&b)) {
        return Err(Problem::new(format!("has characters that no scope has: {}", quote(value))).hint(like));
    }
    match value.strip_suffix(SUFFIX) {
        Some(resource) if !resource.is_empty() => Ok(value.to_owned()),
        Some(_) => {
            Err(Problem::new(format!("has no resource before /.default: {}", quote(value))).hint(like))
        }
        None => {
            let problem = Problem::new(format!("does not end in /.default: {}", quote(value)));
            Err(match suggestion(value) {
                Some(scope) if is_quotable(value) => problem.hint(format!("did you mean {}", quote(&scope))),
                _ => problem.hint(like),
            })
        }
    }
}

/// The scope that was probably meant. Each one is a scope that Entra ID gives tokens for, provided that the resource in it
/// exists.
fn suggestion(value: &str) -> Option<String> {
    let value = value.trim_end_matches('/');
    // Entra ID compares the suffix letter by letter, as we do.
    if let Some((resource, last)) = value.rsplit_once('/')
        && last.eq_ignore_ascii_case(".default")
    {
        return (!resource.is_empty()).then(|| format!("{resource}{SUFFIX}"));
    }
    let Some((scheme, rest)) = value.split_once("://") else {
        // An application's id; a name that is short for a resource; a host.
        return match value {
            _ if is_guid(value) => Some(format!("{value}{SUFFIX}")),
            _ if !value.contains(['/', '.']) => Some(COGNITIVE_SERVICES.to_owned()),
            _ => microsoft(value.split('/').next().unwrap_or(value)),
        };
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if let Some(scope) = microsoft(authority) {
        return Some(scope);
    }
    // What other resources are called is up to their owners, paths included, but these are permissions.
    let last = path.rsplit('/').next().unwrap_or(path);
    let is_permission =
        ["user_impersonation", "access_as_user", "default"].contains(&last) || last.contains('.');
    let resource = if is_permission || is_guid(authority) && !path.is_empty() {
        value.strip_suffix(last)?.trim_end_matches('/')
    } else {
        value
    };
    (!authority.is_empty()).then(|| format!("{scheme}://{}{SUFFIX}", &resource[scheme.len() + 3..]))
}

/// Microsoft's own resources have no path, and those of Cognitive Services are all called the same.
fn microsoft(authority: &str) -> Option<String> {
    let host = authority.to_ascii_lowercase();
    let domain = ["azure.com", "azure.us", "azure.cn", "microsoft.com", "microsoft.us"]
        .into_iter()
        .find(|domain| url::is_below(&host, &format!(".{domain}")))?;
    let is_ours = ["openai", "cognitiveservices", "services.ai", "api.cognitive"].iter().any(|service| {
        let name = format!("{service}.{domain}");
        host == name || url::is_below(&host, &format!(".{name}"))
    });
    Some(match domain {
        _ if !is_ours => format!("https://{host}{SUFFIX}"),
        "azure.us" | "microsoft.us" => format!("https://cognitiveservices.azure.us{SUFFIX}"),
        "azure.cn" => format!("https://cognitiveservices.azure.cn{SUFFIX}"),
        _ => COGNITIVE_SERVICES.to_owned(),
    })
}

/// The scope that goes with an upstream: by cloud, and for Foundry projects by path.
pub(super) fn default(base_url: &BaseUrl) -> &'static str {
    let host = base_url.host();
    let path = base_url.base_path.to_ascii_lowercase();
    let of_pair = usize::from(
        path.starts_with("/api/projects/")
            && [".services.ai.azure.com", ".services.ai.azure.us"].iter().any(|it| url::is_below(host, it)),
    );
    if url::is_below(host, ".azure.us") {
        PAIRS[1][of_pair]
    } else if url::is_below(host, ".azure.cn") {
        "https://cognitiveservices.azure.cn/.default"
    } else {
        PAIRS[0][of_pair]
    }
}

/// What to try when the upstream says that the token's audience is wrong: the usual one, or else the other one of its
/// cloud.
pub(super) fn other(scope: &str, base_url: &BaseUrl) -> Option<&'static str> {
    let usual = default(base_url);
    match PAIRS.into_iter().find(|pair| pair.contains(&usual)) {
        Some([one, other]) if scope == one => Some(other),
        Some([one, other]) if scope == other => Some(one),
        _ => (scope != usual).then_some(usual),
    }
}
