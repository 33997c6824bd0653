//! `/config`: the settings in force as JSON, for whoever asks for help. It shows no secret, whatever variable that was put
//! into: a value is either known to be none or described ([`crate::config`]).

use serde_json::{Value, json};

use super::Sources;
use crate::config::Config;
use crate::log::rfc3339;
use crate::report::visible;
use crate::version;

/// The page `/config`.
pub(super) fn render(sources: &Sources) -> String {
    let settings = sources.config.effective.iter().map(|setting| {
        let mut shown = json!({"value": setting.value, "source": setting.source.name()});
        if !setting.is_used {
            shown["used"] = false.into();
        }
        (setting.name.to_owned(), shown)
    });
    let page = json!({
        "version": version::VERSION,
        "commit": version::COMMIT,
        "target": version::target(),
        "server": version::SERVER,
        "settings": settings.collect::<serde_json::Map<_, _>>(),
        "derived": derived(sources),
    });
    format!("{page:#}\n")
}

/// What follows from the settings and from the system.
fn derived(sources: &Sources) -> Value {
    let config = &*sources.config;
    let mut derived = json!({
        "credential": config.credential.name(),
        "because": config.credential_reason,
        "scope": visible(&config.scope),
        "upstream": upstream(config),
        "route": route(config),
        "limits": {
            "connections": sources.limits.connections,
            "lowered_by": sources.limits.lowered_by(),
            "descriptors": sources.limits.descriptors,
            "memory_bytes": sources.limits.memory,
        },
    });
    for (name, value) in config.credential.details() {
        derived[name] = value.into();
    }
    if let Some(application) = config.application() {
        derived["client_id"] = application.client_id.as_str().into();
        derived["token_url"] = application.token_url.as_str().into();
    }
    if let Some(current) = &sources.certificate {
        let certificate = current.certificate();
        derived["certificate_sha1"] = certificate.sha1_hex().into();
        derived["certificate_expires"] = rfc3339(certificate.not_after_unix).into();
    }
    derived
}

/// The upstream's base URL.
pub(super) fn upstream(config: &Config) -> String {
    visible(&format!("{}{}", config.base_url.origin(), config.base_url.base_path))
}

/// How the upstream is reached.
pub(super) fn route(config: &Config) -> String {
    let base_url = &config.base_url;
    config.egress.route(base_url.host(), base_url.port()).describe(base_url.is_tls())
}
