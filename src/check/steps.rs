//! The steps, each with the function that a start uses, or the one that requests use.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use serde_json::{Value, json};

use super::{Details, claims, diagnosis};
use crate::clock::Clock;
use crate::config::{Application, Config, Environment, LogLevel};
use crate::log::{self, rfc3339};
use crate::net::TlsAcceptor;
use crate::proxy::{Callers, target};
use crate::report::Problem;
use crate::token::{self, Grant, OpenCredential, TokenError, response};
use crate::upstream::{Upstream, probe};

type Result<T> = std::result::Result<(T, Details), Vec<Problem>>;

/// How long one request may take altogether.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// Within this, clocks agree: a `Date` has whole seconds, and the response took some time to arrive.
const MAX_CLOCK_SKEW_SECONDS: i64 = 5;

pub(super) fn settings(environment: Environment<'_>) -> Result<(Arc<Config>, Upstream)> {
    let config = Arc::new(Config::from_environment(environment)?);
    // The parts would log their own events at `info`; here the steps say it.
    let level = if config.log_level == LogLevel::Info { LogLevel::Warn } else { config.log_level };
    log::init(level, config.log_format);
    let upstream = Upstream::new(&config).map_err(|problem| vec![problem])?;
    let callers = Callers::open(&config).map_err(|problem| vec![problem])?;
    let tls = config.tls.as_ref().map(TlsAcceptor::open);
    tls.transpose().map_err(|problem| vec![problem])?;
    let mut details = vec![
        ("upstream", format!("{}{}", config.base_url.origin(), config.base_url.base_path).into()),
        ("credential", config.credential.name().into()),
        ("because", config.credential_reason.clone().into()),
    ];
    if let Some(application) = config.application() {
        details.push(("token_url", application.token_url.clone().into()));
        details.push(("client_id", application.client_id.clone().into()));
    }
    details.extend([
        ("scope", config.scope.clone().into()),
        ("listen", config.listen.to_string().into()),
        ("callers", describe_callers(&config, callers.as_ref()).into()),
    ]);
    if let Some(files) = &config.tls {
        details.push(("tls_certificate", files.certificate.display().to_string().into()));
    }
    if let Some(file) = &config.ca_file {
        details.push(("trusted_roots", file.display().to_string().into()));
    }
    for note in &config.notes {
        details.push(("note", note.on_one_line().into()));
    }
    Ok(((config, upstream), details))
}

/// How callers prove who they are.
fn describe_callers(config: &Config, callers: Option<&Callers>) -> String {
    match (callers, config.demands_client_certificates()) {
        (None, false) => "need no key".to_owned(),
        (None, true) => "must present a certificate".to_owned(),
        (Some(callers), false) => callers.summary(),
        (Some(callers), true) => format!("{}, and a certificate", callers.summary()),
    }
}

pub(super) fn certificate(config: &Config, upstream: &Upstream, clock: &Clock) -> Result<OpenCredential> {
    let opened = token::open(config, upstream, clock).map_err(|problem| vec![problem])?;
    let details = match &opened.certificate {
        Some(current) => {
            let certificate = current.certificate();
            vec![
                ("subject", certificate.subject.clone().into()),
                ("issuer", certificate.issuer.clone().into()),
                ("thumbprint_sha1", certificate.sha1_hex().into()),
                ("thumbprint_sha256", certificate.sha256_hex().into()),
                ("expires", rfc3339(certificate.not_after_unix).into()),
                ("days_left", (certificate.seconds_left(clock.unix().as_secs()) / 86_400).into()),
                ("key", format!("RSA, {} bits, belongs to this certificate", certificate.key_bits).into()),
            ]
        }
        None => config.credential.details().into_iter().map(|(name, value)| (name, value.into())).collect(),
    };
    Ok((opened, details))
}

/// Whether Entra ID can be reached, and whether our clocks agree. Any response will do: the next step signs in.
pub(super) fn authority(
    application: &Application,
    config: &Config,
    upstream: &Upstream,
    clock: &Clock,
) -> Result<()> {
    let token_url = &application.token_url;
    let metadata = match token_url.strip_suffix("/oauth2/v2.0/token") {
        Some(tenant) => format!("{tenant}/v2.0/.well-known/openid-configuration"),
        None => token_url.clone(),
    };
    let Ok(uri) = metadata.parse() else {
        return Err(vec![Problem::new(format!("{metadata} is not a URL"))]);
    };
    let response = probe::get(&upstream.entra, &uri, None, STEP_TIMEOUT).map_err(|problem| vec![problem])?;
    let mut details = vec![
        ("asked", metadata.clone().into()),
        ("way", describe_route(config, &uri)),
        ("status", response.status.into()),
        ("milliseconds", milliseconds(response.took)),
    ];
    if response.status != 200 {
        details.push(("note", "reachable; the sign-in step tests the rest".into()));
    }
    if let Some(seconds_ahead) = seconds_ahead(&response.headers, clock) {
        let clock = match seconds_ahead {
            _ if seconds_ahead.abs() <= MAX_CLOCK_SKEW_SECONDS => "agrees with the authority's".to_owned(),
            0.. => format!("{seconds_ahead} s ahead of the authority's: set it (NTP)"),
            _ => format!("{} s behind the authority's clock: set it (NTP)", -seconds_ahead),
        };
        details.push(("clock", clock.into()));
    }
    Ok(((), details))
}

/// Gets one token. Its claims are shown, never the token.
pub(super) fn sign_in(mut opened: OpenCredential) -> Result<Grant> {
    let grant = opened.credential.sign_in().map_err(|error| vec![refused(error)])?;
    let mut details = vec![("lifetime_seconds", grant.expires_in.as_secs().into())];
    details.extend(claims::of(grant.bearer()));
    Ok((grant, details))
}

/// How the upstream responds to our token, at a path that every Azure OpenAI resource has.
pub(super) fn upstream(config: &Config, upstream: &Upstream, grant: &Grant) -> Result<()> {
    let base = &config.base_url.base_path;
    let path = if base.ends_with("/v1") {
        "/models"
    } else if base.ends_with("/openai") {
        "/v1/models"
    } else {
        "/openai/v1/models"
    };
    let Some(uri) = target::join(&config.base_url, path) else {
        return Err(vec![Problem::new(format!("API_BASE_URL and {path} do not make a URL"))]);
    };
    let response = probe::get(&upstream.api, &uri, Some(grant.bearer()), STEP_TIMEOUT)
        .map_err(|problem| vec![problem])?;
    let note = diagnosis::explain(&response, &uri, config).map_err(|problem| vec![problem])?;
    let mut details = vec![
        ("asked", uri.to_string().into()),
        ("way", describe_route(config, &uri)),
        ("status", response.status.into()),
        ("milliseconds", milliseconds(response.took)),
    ];
    details.extend(note.map(|note| ("note", note.into())));
    Ok(((), details))
}

fn refused(error: TokenError) -> Problem {
    let TokenError { summary, detail, hints, trace_id, correlation_id, .. } = error;
    let mut problem = Problem { hints, ..Problem::new(summary) };
    // The ids have a line of their own.
    if let Some(detail) = detail.as_deref().and_then(|detail| detail.split(" Trace ID:").next()) {
        problem = problem.note(format!("its message: {detail}"));
    }
    if let (Some(trace), Some(correlation)) = (trace_id, correlation_id) {
        problem =
            problem.note(format!("for Entra ID's support: trace id {trace}, correlation id {correlation}"));
    }
    problem
}

/// How this is reached.
fn describe_route(config: &Config, uri: &http::Uri) -> Value {
    let route = config.egress.route(uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(443));
    route.describe(uri.scheme_str() == Some("https")).into()
}

/// How many seconds our clock is ahead of theirs.
fn seconds_ahead(headers: &HeaderMap, clock: &Clock) -> Option<i64> {
    Some(i64::try_from(clock.unix().as_secs()).ok()? - response::date(headers)?)
}

fn milliseconds(took: Duration) -> Value {
    json!(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_says_why_the_egress_proxy_is_bypassed() {
        let (proxy, loopback) =
            ("http://user:secret@proxy.example:3128", "direct (loopback is never proxied)");
        // HTTPS_PROXY, NO_PROXY, what is asked
        let rows = [
            ("", "", "https://a.example/", "direct"),
            ("", "", "http://127.0.0.1:80/", "direct"),
            ("", "a.example", "https://a.example/", "direct"),
            (proxy, "", "https://a.example/x", "through the egress proxy proxy.example:3128"),
            (proxy, "b.example", "https://a.example:8443/", "through the egress proxy proxy.example:3128"),
            (proxy, "", "https://localhost:8443/", loopback),
            (proxy, "", "http://127.0.0.1/", loopback),
            (proxy, "", "https://[::1]/", loopback),
            (proxy, "*", "https://localhost/", loopback),
            (proxy, "a.example", "https://a.example/", "direct (NO_PROXY names it)"),
            (proxy, "a.example:8443", "https://a.example:8443/", "direct (NO_PROXY names it)"),
            (proxy, "", "http://a.example/", "direct (HTTPS_PROXY is for https alone)"),
        ];
        for (https_proxy, no_proxy, uri, expected) in rows {
            let lookup = |name: &str| {
                let value = match name {
                    "AZURE_CLIENT_ID" | "AZURE_TENANT_ID" => "11111111-2222-4333-8444-555555555555",
                    "AZURE_CERTIFICATE_PATH" => "/certificate.pem",
                    "API_BASE_URL" => "https://name.openai.azure.com",
                    "HTTPS_PROXY" => https_proxy,
                    "NO_PROXY" => no_proxy,
                    _ => "",
                };
                Some(value.to_owned())
            };
            let config = Config::from_lookup(&lookup).unwrap();
            assert_eq!(
                describe_route(&config, &uri.parse().unwrap()),
                expected,
                "{https_proxy} {no_proxy} {uri}"
            );
        }
    }
}
