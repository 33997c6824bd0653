//! `AZURE_CLIENT_ID`, `AZURE_TENANT_ID`, `AZURE_AUTHORITY_HOST`: who signs in, and where.

use super::BaseUrl;
use super::effective::Shown;
use super::url::{self, Url};
use super::value::Parsed;
use crate::report::{Problem, quote, secret_kind, visible};

const PUBLIC_AUTHORITY: &str = "login.microsoftonline.com";

/// `AZURE_CLIENT_ID`. A value that is no GUID is not shown: people paste the client secret here.
pub(super) fn client_id(value: &str) -> Parsed<String> {
    if is_guid(value) {
        return if is_placeholder(value) { Err(placeholder(value)) } else { Ok(value.to_owned()) };
    }
    let length = value.chars().count();
    let problem = Problem::new(format!(
        "is not a GUID (8-4-4-4-12 hexadecimal digits, 36 characters with hyphens); this value has {length}"
    ));
    Err(if value.contains(['$', '<', '{', '}']) {
        problem.hint("it looks like a placeholder that nothing has filled in, or a GUID in braces")
    } else {
        problem.hint(
            "copy the Application (client) ID of the app registration, not its name, secret or secret ID",
        )
    })
}

/// `AZURE_TENANT_ID`: a GUID or a domain name. Becomes a path segment of the token URL.
pub(super) fn tenant(value: &str) -> Parsed<String> {
    if ["common", "organizations", "consumers"].iter().any(|name| name.eq_ignore_ascii_case(value)) {
        return Err(Problem::new(format!(
            "is {}, which is for users; a program signs in to one tenant",
            quote(value)
        ))
        .hint("use the Directory (tenant) ID of the app registration"));
    }
    if is_placeholder(value) {
        return Err(placeholder(value));
    }
    if is_guid(value) || is_domain(value) {
        return Ok(value.to_owned());
    }
    // Not quoted: as part of a URL it could be shown everywhere, so that whatever has no dot is refused, and an API key
    // or a client secret is no more than that.
    let length = value.chars().count();
    Err(Problem::new(format!("is neither a GUID nor a domain name ({length} characters)"))
        .hint("use the Directory (tenant) ID, or a domain such as contoso.onmicrosoft.com"))
}

/// A domain name of two labels or more (RFC 1123 section 2.1), the last of which is no number. Empty labels would allow
/// `..`, which changes the path.
fn is_domain(value: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let last = value.rsplit('.').next().unwrap_or(value);
    let is_top_level = last.bytes().all(|b| b.is_ascii_alphabetic()) || last.starts_with("xn--");
    value.len() <= 253
        && value.contains('.')
        && value.split('.').all(is_label)
        && is_top_level
        && secret_kind(value).is_none()
}

/// Where to sign in, from `AZURE_AUTHORITY_HOST`.
pub(super) struct Authority {
    scheme: &'static str,
    host: String,
}

impl Default for Authority {
    fn default() -> Self {
        Self { scheme: "https", host: PUBLIC_AUTHORITY.to_owned() }
    }
}

impl Shown for Authority {
    fn shown(&self) -> String {
        match self.scheme {
            "https" => visible(&self.host),
            scheme => visible(&format!("{scheme}://{}", self.host)),
        }
    }
}

impl Authority {
    /// A host, a host and port, or an https URL without a path (Azure SDKs take both; AKS adds a slash).
    pub(super) fn parse(value: &str) -> Parsed<Self> {
        let url = Url::split(value);
        let refuse = |what: &str| Problem::new(format!("{what}: {}", quote(value)));
        if url.userinfo.is_some() {
            return Err(
                Problem::new("has a user name before an `@`").hint("remove it: the certificate signs in")
            );
        }
        if url.has_query || url.has_fragment {
            return Err(
                Problem::new("has a query or a fragment").hint("remove the `?` or `#` and what follows it")
            );
        }
        if !url.path.trim_end_matches('/').is_empty() {
            return Err(refuse("has a path").hint("give only the host; the tenant goes into AZURE_TENANT_ID"));
        }
        let (host, port) = url::host_and_port(url.host)
            .map_err(|what| refuse(what).hint(format!("write a host name such as {PUBLIC_AUTHORITY}")))?;
        let (scheme, default_port) = match url.scheme.as_deref() {
            None | Some("https") => ("https", 443),
            Some("http") if url::is_loopback(&host) => ("http", 80),
            Some("http") => {
                return Err(
                    refuse("uses http beyond loopback, where the token could be read").hint("use https")
                );
            }
            Some(_) => {
                return Err(refuse("has a scheme other than https").hint("use https, or omit the scheme"));
            }
        };
        let host = url::authority(&host, port.filter(|port| *port != default_port));
        Ok(Self { scheme, host })
    }

    /// The v2.0 token endpoint, which is also the assertion's audience.
    pub(super) fn token_url(&self, tenant: &str) -> String {
        format!("{}://{}/{tenant}/oauth2/v2.0/token", self.scheme, self.host)
    }

    /// The audience of assertions that another program signs, which each cloud spells its own way.
    pub(super) fn token_exchange_audience(&self) -> &'static str {
        match self.host.as_str() {
            "login.microsoftonline.us" => "api://AzureADTokenExchangeUSGov",
            "login.partner.microsoftonline.cn" | "login.chinacloudapi.cn" => {
                "api://AzureADTokenExchangeChina"
            }
            _ => "api://AzureADTokenExchange",
        }
    }

    /// An upstream in one cloud and a sign-in at another fit together in tests alone.
    pub(super) fn note(&self, base_url: &BaseUrl) -> Option<Problem> {
        let sovereign = match base_url.host() {
            host if url::is_below(host, ".azure.us") => "login.microsoftonline.us",
            host if url::is_below(host, ".azure.cn") => "login.partner.microsoftonline.cn",
            _ => return None,
        };
        (self.host == PUBLIC_AUTHORITY).then(|| {
            Problem::new(format!(
                "API_BASE_URL is in a sovereign cloud, AZURE_AUTHORITY_HOST is the public {PUBLIC_AUTHORITY}"
            ))
            .hint(format!("usually it needs AZURE_AUTHORITY_HOST={sovereign}"))
        })
    }
}

/// 8-4-4-4-12 hexadecimal digits (RFC 9562 section 4).
pub(super) fn is_guid(value: &str) -> bool {
    value.len() == 36
        && value.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// A GUID of one digit alone, as examples have them.
fn is_placeholder(value: &str) -> bool {
    let mut digits = value.bytes().filter(|b| *b != b'-');
    let first = digits.next();
    is_guid(value) && digits.all(|digit| Some(digit) == first)
}

fn placeholder(value: &str) -> Problem {
    Problem::new(format!("is the placeholder of an example, not an id: {}", quote(value)))
        .hint("Entra admin center, App registrations, your app, Overview has both ids")
}
