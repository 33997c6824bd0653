//! From the environment to a [`Config`], in the order in which problems are reported.

use std::time::Duration;

use super::allowed_requests::AllowedRequests;
use super::credential;
use super::effective::{Shown as _, ValueSource};
use super::entra::Authority;
use super::env::Env;
use super::listen::{admin_host, admin_port};
use super::value::{self, Parsed};
use super::web_pages::{AllowedHosts, AllowedOrigins};
use super::{BaseUrl, Config, Egress, Environment, Listen, LogFormat, LogLevel, names, scope, tls};
use crate::report::Problem;
use crate::secret::Secret;

/// Shorter keys can be guessed, given time.
const MIN_KEY_LENGTH: usize = 16;

pub(super) fn config(environment: Environment<'_>) -> Result<Config, Vec<Problem>> {
    let mut env = Env::new(environment);

    let authority = env.or("AZURE_AUTHORITY_HOST", Authority::default(), Authority::parse);
    let credential = credential::read(&mut env, &authority);
    let scope = env.optional("AZURE_SCOPE", scope::parse);

    let allow_insecure = env.flag("ALLOW_INSECURE_UPSTREAM");
    let base_url = env.required(
        "API_BASE_URL",
        "the resource's endpoint, https://NAME.openai.azure.com: Azure portal, Keys and Endpoint",
        |value| BaseUrl::parse(value, allow_insecure),
    );
    let rewrite_location = env.flag("REWRITE_LOCATION");

    let listen = Listen::read(&mut env);
    let admin_port = admin_port(&mut env, &listen);
    let admin_host = admin_host(&mut env, &listen);
    let tls = tls::read(&mut env);
    let proxy_api_key = proxy_api_key(&mut env);
    let allowed_origins = env.or("ALLOWED_ORIGINS", AllowedOrigins::default(), AllowedOrigins::parse);
    let allowed_hosts = env.or("ALLOWED_HOSTS", AllowedHosts::default(), AllowedHosts::parse);
    let allowed_requests = AllowedRequests::read(&mut env);
    let proxy_api_keys_file = env.optional("PROXY_API_KEYS_FILE", value::path);
    let ca_file = env.optional("SSL_CERT_FILE", value::path);
    let egress = Egress::read(&mut env);

    let log_level = env.or("LOG_LEVEL", LogLevel::Info, value::log_level);
    let log_format = env.or("LOG_FORMAT", LogFormat::Text, value::log_format);
    let max_connections = env.or("MAX_CONNECTIONS", 1024, |value| {
        let number = value::number(value, 1..=65_536)?;
        usize::try_from(number).map_err(|_| Problem::new("does not fit into this machine's numbers"))
    });
    let connect_timeout = env.or("CONNECT_TIMEOUT", Duration::from_secs(10), value::timeout);
    let read_idle_timeout = env.or("READ_IDLE_TIMEOUT", Duration::from_secs(600), value::timeout);
    let shutdown_grace = env.or("SHUTDOWN_GRACE", Duration::from_secs(25), value::grace);

    if allowed_origins.is_any() && proxy_api_key.is_none() && proxy_api_keys_file.is_none() {
        env.problem(
            Problem::new("ALLOWED_ORIGINS is `*` without PROXY_API_KEY: every web page could use the token")
                .hint("list the origins, such as http://localhost:3000, or set PROXY_API_KEY or PROXY_API_KEYS_FILE"),
        );
    }
    if let Some(base_url) = &base_url {
        if scope.is_none() {
            let default = scope::default(base_url).to_owned();
            env.record("AZURE_SCOPE", default.shown(), ValueSource::Default);
        }
        check_combinations(&mut env, &authority, base_url, &listen);
        if let Some(allowed) = &allowed_requests {
            allowed.check_base_path(base_url, &mut env);
        }
    }

    names::read(&mut env);

    // For what is absent here there is a problem, so the error is never empty.
    let effective = env.effective();
    let notes = env.finish()?;
    let (Some((credential, credential_reason)), Some(base_url)) = (credential, base_url) else {
        return Err(vec![Problem::new("Missing required Azure AD configuration")]);
    };
    Ok(Config {
        credential,
        credential_reason,
        scope: scope.unwrap_or_else(|| scope::default(&base_url).to_owned()),
        base_url,
        rewrite_location,
        listen,
        tls,
        proxy_api_key,
        allowed_origins,
        allowed_hosts,
        allowed_requests,
        proxy_api_keys_file,
        admin_port,
        admin_host,
        ca_file,
        egress,
        log_level,
        log_format,
        max_connections,
        connect_timeout,
        read_idle_timeout,
        shutdown_grace,
        notes,
        effective,
    })
}

/// What is wrong or odd about settings that are right one by one.
fn check_combinations(env: &mut Env<'_>, authority: &Authority, base_url: &BaseUrl, listen: &Listen) {
    if listen.is_reached_by(base_url) {
        env.problem(
            Problem::new(format!("API_BASE_URL leads back to HOST and PORT: {}", base_url.origin()))
                .hint("set it to the upstream, https://NAME.openai.azure.com, or choose another PORT"),
        );
    }
    for note in base_url.notes().into_iter().chain(authority.note(base_url)) {
        env.note(note);
    }
}

/// `PROXY_API_KEY`. Never shown, not even in part.
fn proxy_api_key(env: &mut Env<'_>) -> Option<Secret<String>> {
    let key = env.secret("PROXY_API_KEY")?;
    env.parse("PROXY_API_KEY", key.expose(), check_key)?;
    Some(key)
}

/// Whether a text can be a caller's key: long enough, what every client can send in a header field and no intermediary trims
/// (RFC 9110 section 5.5), and nothing that is forwarded.
pub(super) fn check_key(value: &str) -> Parsed<()> {
    const RANDOM: &str = "use a random one: openssl rand -hex 32";
    if value.bytes().all(|b| b.is_ascii_graphic()) {
        return if value.len() < MIN_KEY_LENGTH {
            let message = format!("is too short: {} characters of at least {MIN_KEY_LENGTH}", value.len());
            Err(Problem::new(message).hint(RANDOM))
        } else if value.starts_with("ek_") {
            let message = "begins with `ek_`, as ephemeral keys of the Realtime API do, which are forwarded";
            Err(Problem::new(message).hint(RANDOM))
        } else {
            Ok(())
        };
    }
    let problem = Problem::new("has characters other than visible ASCII (letters, digits, punctuation)");
    Err(if value.ends_with(['\n', '\r']) {
        problem.hint("it ends in a line break: make the secret with `printf %s`, not with `echo`")
    } else {
        problem.hint("spaces, control characters and letters beyond ASCII do not survive in a header")
    })
}
