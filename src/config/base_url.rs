//! `API_BASE_URL`: the one origin that the token may go to.

use http::uri::{Authority, Scheme};

use super::url::{self, Url};
use super::value::Parsed;
use crate::http1::authority::without_brackets;
use crate::report::{Problem, is_quotable, quote};

/// Longer base paths are a mistake.
const MAX_PATH_LENGTH: usize = 1024;

/// Endpoints of a region for all its resources (public, US, China).
const REGIONAL_DOMAINS: [&str; 3] =
    [".api.cognitive.microsoft.com", ".api.cognitive.microsoft.us", ".api.cognitive.azure.cn"];

/// What examples write for the name of a resource: ours, and those of Azure's documentation.
const PLACEHOLDERS: [&str; 5] =
    ["NAME", "YOUR-RESOURCE-NAME", "YOUR_RESOURCE_NAME", "your-resource-name", "your_resource_name"];

/// Ends of a base path that clients begin or end their own paths with; the first that fits.
const DOUBLED_SUFFIXES: [&str; 6] =
    ["/chat/completions", "/completions", "/embeddings", "/responses", "/openai/v1", "/v1"];

/// The upstream's origin and base path, parsed from `API_BASE_URL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    /// `https`, or `http` where that is allowed.
    pub scheme: Scheme,
    /// Host and, unless it is the scheme's default, port; never userinfo.
    pub authority: Authority,
    /// The path before every request's path: empty, or `/` and at least one segment, without a trailing slash.
    pub base_path: String,
}

impl BaseUrl {
    /// The host, lower case, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        without_brackets(self.authority.host())
    }

    /// The port, the scheme's default included.
    pub fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or_else(|| if self.is_tls() { 443 } else { 80 })
    }

    /// Whether the connection is https.
    pub fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Scheme, host and port as RFC 6454 section 6.2 writes them: `https://name.openai.azure.com`.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }

    /// Whether the host is this machine: `localhost`, `127.0.0.0/8` or `::1`.
    pub fn is_loopback(&self) -> bool {
        url::is_loopback(self.host())
    }

    pub(super) fn parse(value: &str, allow_insecure: bool) -> Parsed<Self> {
        let url = Url::split(value);
        let problem = |what: &str| Problem::new(format!("{what}: {}", quote(value)));
        if url.userinfo.is_some() {
            return Err(Problem::new("has a user name or password before an `@`")
                .hint("remove it: the access token is the only credential that is sent"));
        }
        if url.has_query {
            return Err(Problem::new("has a query")
                .hint("remove the `?` and what follows it: clients send api-version themselves, and no key is needed")
                .hint("of the portal's Target URI use only the beginning: https://NAME.openai.azure.com"));
        }
        if url.has_fragment {
            return Err(Problem::new("has a fragment").hint("remove the `#` and what follows it"));
        }
        let (scheme, default_port) = match url.scheme.as_deref() {
            Some("https") => (Scheme::HTTPS, 443),
            Some("http") => (Scheme::HTTP, 80),
            Some(_) => return Err(problem("has a scheme other than https").hint("begin it with https://")),
            None => return Err(without_scheme(value, &url)),
        };
        let (host, port) = url::host_and_port(url.host)
            .map_err(|what| problem(what).hint("write it like https://NAME.openai.azure.com"))?;
        if PLACEHOLDERS.contains(&url.host.split('.').next().unwrap_or(url.host)) {
            return Err(problem("has the placeholder of an example where the resource's name belongs")
                .hint("the endpoint is shown in the Azure portal under Keys and Endpoint"));
        }
        if scheme == Scheme::HTTP && !allow_insecure && !url::is_loopback(&host) {
            return Err(problem("uses http beyond loopback, so the token would cross the network in clear")
                .hint("use https, or set ALLOW_INSECURE_UPSTREAM=true if the network in between is yours"));
        }
        let base_path = base_path(url.path).map_err(|what| {
            problem(what).hint("its path precedes every request's path; usually none is needed")
        })?;
        let authority = url::authority(&host, port.filter(|port| *port != default_port))
            .parse()
            .map_err(|_| problem("has a host that no URL can hold"))?;
        Ok(Self { scheme, authority, base_path })
    }

    /// What is allowed, but may surprise.
    pub(super) fn notes(&self) -> Vec<Problem> {
        let mut notes = Vec::new();
        if !self.is_tls() && !self.is_loopback() {
            notes.push(
                Problem::new(format!(
                    "API_BASE_URL is http: the access token crosses the network in clear to {}",
                    self.origin()
                ))
                .hint("use https unless every machine in between is yours"),
            );
        }
        if REGIONAL_DOMAINS.iter().any(|domain| url::is_below(self.host(), domain)) {
            notes.push(
                Problem::new(format!(
                    "API_BASE_URL is a regional endpoint, which accepts keys but no tokens: {}",
                    self.host()
                ))
                .hint("use the resource's custom subdomain: https://NAME.openai.azure.com"),
            );
        }
        if url::is_below(self.host(), ".openai.com") {
            notes.push(
                Problem::new(format!(
                    "API_BASE_URL is OpenAI's own API, which accepts its own keys and no Entra ID tokens: {}",
                    self.host()
                ))
                .hint("use the endpoint of your Azure OpenAI resource: https://NAME.openai.azure.com"),
            );
        }
        notes.extend(self.doubled_path());
        notes
    }

    /// A base path that clients send as well, so that the upstream would get it twice.
    fn doubled_path(&self) -> Option<Problem> {
        let path = &self.base_path;
        let suffix = *DOUBLED_SUFFIXES.iter().find(|suffix| path.ends_with(**suffix))?;
        let is_version = suffix.ends_with("/v1");
        let request = if is_version { format!("{suffix}/chat/completions") } else { suffix.to_owned() };
        let problem = Problem::new(format!(
            "API_BASE_URL ends in {suffix}, which precedes every request's path: a request for {request} goes to \
             {path}{request}"
        ));
        Some(if is_version {
            problem.hint(format!(
                "remove {suffix}, unless clients send paths without it, such as /chat/completions"
            ))
        } else {
            problem
                .hint(format!("remove {suffix}: it is the path of a request, which clients send themselves"))
        })
    }
}

/// The commonest mistake: the portal shows host names too.
fn without_scheme(value: &str, url: &Url<'_>) -> Problem {
    let problem = Problem::new(format!("does not begin with https://: {}", quote(value)));
    if is_quotable(value) && url::host_and_port(url.host).is_ok() {
        problem.hint(format!("did you mean {}", quote(&format!("https://{value}"))))
    } else {
        problem.hint("write the whole endpoint: https://NAME.openai.azure.com")
    }
}

/// The path without trailing slashes. Stricter than RFC 3986 section 3.3: what another reader might normalize away (dot
/// segments, also escaped; empty segments) is rejected, so that the path is what it looks like.
fn base_path(path: &str) -> Result<String, &'static str> {
    let path = path.trim_end_matches('/');
    if path.is_empty() {
        return Ok(String::new());
    }
    if path.len() > MAX_PATH_LENGTH {
        return Err("has a path of more than 1024 characters");
    }
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => after,
            (b'%', _) => return Err("has a `%` without two hexadecimal digits in its path"),
            (b, _) if b.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(b) => after,
            _ => return Err("has characters in its path that must be percent-encoded"),
        };
    }
    for segment in path.split('/').skip(1) {
        match segment.to_ascii_lowercase().replace("%2e", ".").as_str() {
            "" => return Err("has an empty segment (`//`) in its path"),
            "." | ".." => return Err("has a `.` or `..` segment in its path"),
            _ => {}
        }
    }
    Ok(path.to_owned())
}
