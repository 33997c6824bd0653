//! What the settings amount to, by name: the log has it at start, `check` in its first step. Whatever changes how the program
//! behaves has its line here; nothing here is secret.

use std::time::Duration;

use serde_json::Value;

use crate::config::Config;
use crate::log::{self, Seconds};
use crate::proxy::Callers;
use crate::report::{is_quotable, visible};

/// What is known by a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fact {
    Text(String),
    Number(usize),
    Flag(bool),
    Time(Duration),
    /// The log has their number, `check` what they are.
    List(Vec<String>),
}

pub(crate) type Facts = Vec<(&'static str, Fact)>;

/// What signs in, and for which upstream.
pub(crate) fn sign_in(config: &Config) -> Facts {
    let base_url = format!("{}{}", config.base_url.origin(), config.base_url.base_path);
    let mut facts = vec![
        ("upstream", visible(&base_url).into()),
        ("credential", config.credential.name().into()),
        ("because", config.credential_reason.as_str().into()),
    ];
    if let Some(application) = config.application() {
        facts.push(("token_url", application.token_url.as_str().into()));
        facts.push(("client_id", application.client_id.as_str().into()));
    }
    facts.push(("scope", visible(&config.scope).into()));
    facts
}

/// Who may call, and what for.
pub(crate) fn callers(config: &Config, callers: Option<&Callers>) -> Facts {
    let mut facts: Facts = vec![
        ("callers", describe_callers(config, callers).into()),
        ("tls", Fact::Flag(config.tls.is_some())),
    ];
    if let Some(files) = &config.tls {
        facts.push(("tls_certificate", files.certificate.display().to_string().into()));
        let client_ca = files.client_ca.as_ref();
        facts.extend(client_ca.map(|file| ("tls_client_ca", file.display().to_string().into())));
    }
    facts.push(("allowed_origins", list(config.allowed_origins.entries())));
    facts.push(("allowed_hosts", list(config.allowed_hosts.entries())));
    if let Some(allowed) = &config.allowed_requests {
        let patterns: Vec<String> = allowed.0.iter().map(ToString::to_string).collect();
        facts.push(("allowed_requests", list(&patterns)));
    }
    facts.extend(config.admin_port.map(|port| ("admin_port", Fact::Number(port.into()))));
    facts.push(("rewrite_location", Fact::Flag(config.rewrite_location)));
    facts
}

/// How the upstream and Entra ID are reached, and how long anything may take.
pub(crate) fn network(config: &Config) -> Facts {
    let proxy = config.egress.proxy.as_ref();
    let roots = config.ca_file.as_ref().map_or_else(|| "built-in".into(), |file| file.display().to_string());
    let egress_proxy =
        proxy.map_or_else(|| "none".into(), |proxy| format!("{}:{}", visible(&proxy.host), proxy.port));
    vec![
        ("egress_proxy", egress_proxy.into()),
        ("no_proxy", list(&config.egress.no_proxy)),
        ("trusted_roots", roots.into()),
        ("connect_timeout", Fact::Time(config.connect_timeout)),
        ("read_idle_timeout", Fact::Time(config.read_idle_timeout)),
        ("shutdown_grace", Fact::Time(config.shutdown_grace)),
    ]
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

/// The facts as fields of an event.
pub(crate) fn fields(facts: &Facts) -> Vec<(&str, &dyn log::Value)> {
    facts.iter().map(|(name, fact)| (*name, fact as &dyn log::Value)).collect()
}

/// What somebody has put there by mistake may be a secret.
fn list(elements: &[String]) -> Fact {
    let shown = |element: &String| {
        if element.split([' ', '/']).all(is_quotable) { element.clone() } else { "(not shown)".to_owned() }
    };
    Fact::List(elements.iter().map(shown).collect())
}

impl From<&str> for Fact {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Fact {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl log::Value for Fact {
    fn write(&self, out: &mut dyn std::fmt::Write) -> std::fmt::Result {
        match self {
            Self::Text(text) => text.write(out),
            Self::Number(number) => number.write(out),
            Self::Flag(flag) => flag.write(out),
            Self::Time(time) => Seconds(*time).write(out),
            Self::List(elements) => elements.len().write(out),
        }
    }

    fn is_number(&self) -> bool {
        !matches!(self, Self::Text(_))
    }

    fn unit(&self) -> &'static str {
        if matches!(self, Self::Time(_)) { "s" } else { "" }
    }
}

/// As `check` has it. Times are written as settings are.
impl From<Fact> for Value {
    fn from(fact: Fact) -> Self {
        match fact {
            Fact::Text(text) => text.into(),
            Fact::Number(number) => number.into(),
            Fact::Flag(flag) => flag.into(),
            Fact::Time(time) if time.subsec_millis() > 0 => format!("{}ms", time.as_millis()).into(),
            Fact::Time(time) => format!("{}s", time.as_secs()).into(),
            Fact::List(elements) => elements.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "3c9d0e5f6a7b8c1d2e3f4a5b6c7d8e9f";

    /// Each row: settings, and what is to be found for them, in the log's notation and in that of `check`.
    #[test]
    fn facts_are_those_of_the_settings_and_never_secret() {
        type Row<'a> = (&'a [(&'a str, &'a str)], &'a [(&'a str, &'a str, &'a str)]);
        let rows: &[Row<'_>] = &[
            (
                &[],
                &[
                    ("callers", "need no key", "\"need no key\""),
                    ("tls", "false", "false"),
                    ("tls_certificate", "", ""),
                    ("allowed_origins", "0", "[]"),
                    ("allowed_hosts", "0", "[]"),
                    ("allowed_requests", "", ""),
                    ("admin_port", "", ""),
                    ("rewrite_location", "false", "false"),
                    ("egress_proxy", "none", "\"none\""),
                    ("no_proxy", "0", "[]"),
                    ("trusted_roots", "built-in", "\"built-in\""),
                    ("connect_timeout", "10", "\"10s\""),
                    ("read_idle_timeout", "600", "\"600s\""),
                    ("shutdown_grace", "25", "\"25s\""),
                ],
            ),
            (
                &[
                    ("PROXY_API_KEY", KEY),
                    ("ALLOWED_ORIGINS", "https://app.example,http://localhost:3000"),
                    ("ALLOWED_HOSTS", "proxy.example"),
                    ("ALLOWED_REQUESTS", "POST /openai/v1/*, * /openai/v1/models, OPTIONS *"),
                    ("ADMIN_PORT", "9090"),
                    ("REWRITE_LOCATION", "true"),
                    ("HTTPS_PROXY", "http://user:s3cr3t@proxy.example:3128"),
                    ("NO_PROXY", "a.example,10.0.0.0/8"),
                    ("SSL_CERT_FILE", "/etc/ca.pem"),
                    ("CONNECT_TIMEOUT", "1500ms"),
                ],
                &[
                    ("callers", "must present PROXY_API_KEY", "\"must present PROXY_API_KEY\""),
                    ("allowed_origins", "2", r#"["https://app.example","http://localhost:3000"]"#),
                    ("allowed_hosts", "1", r#"["proxy.example"]"#),
                    ("allowed_requests", "3", r#"["POST /openai/v1/*","* /openai/v1/models","OPTIONS *"]"#),
                    ("admin_port", "9090", "9090"),
                    ("rewrite_location", "true", "true"),
                    ("egress_proxy", "proxy.example:3128", "\"proxy.example:3128\""),
                    ("no_proxy", "2", r#"["a.example","10.0.0.0/8"]"#),
                    ("trusted_roots", "/etc/ca.pem", "\"/etc/ca.pem\""),
                    ("connect_timeout", "1.5", "\"1500ms\""),
                ],
            ),
            // The settings refuse it in the other build.
            #[cfg(not(feature = "tiny_http"))]
            (
                &[
                    ("TLS_CERT_FILE", "/etc/tls.crt"),
                    ("TLS_KEY_FILE", "/etc/tls.key"),
                    ("TLS_CLIENT_CA_FILE", "/etc/clients.pem"),
                ],
                &[
                    ("callers", "must present a certificate", "\"must present a certificate\""),
                    ("tls", "true", "true"),
                    ("tls_certificate", "/etc/tls.crt", "\"/etc/tls.crt\""),
                    ("tls_client_ca", "/etc/clients.pem", "\"/etc/clients.pem\""),
                ],
            ),
            // A key in the wrong variable.
            (
                &[("ALLOWED_REQUESTS", &format!("POST /openai/{KEY}")), ("HTTPS_PROXY", "proxy.example")],
                &[
                    ("allowed_requests", "1", "[\"(not shown)\"]"),
                    ("egress_proxy", "proxy.example:80", "\"proxy.example:80\""),
                ],
            ),
        ];
        for (settings, expected) in rows {
            let lookup = |name: &str| {
                let value = match name {
                    "AZURE_CLIENT_ID" | "AZURE_TENANT_ID" => "11111111-2222-4333-8444-555555555555",
                    "AZURE_CERTIFICATE_PATH" => "/certificate.pem",
                    "API_BASE_URL" => "https://name.openai.azure.com",
                    _ => settings.iter().find(|(set, _)| *set == name)?.1,
                };
                Some(value.to_owned())
            };
            let config = Config::from_lookup(&lookup).unwrap();
            let keys = Callers::open(&config).unwrap();
            let facts = [sign_in(&config), callers(&config, keys.as_ref()), network(&config)].concat();
            for (name, in_log, in_check) in *expected {
                let fact = facts.iter().find(|(known, _)| known == name).map(|(_, fact)| fact.clone());
                let mut text = String::new();
                if let Some(fact) = &fact {
                    log::Value::write(fact, &mut text).unwrap();
                }
                let json = fact.map(|fact| Value::from(fact).to_string()).unwrap_or_default();
                assert_eq!((text.as_str(), json.as_str()), (*in_log, *in_check), "{name}");
            }
            assert!(!format!("{facts:?}").contains(KEY) && !format!("{facts:?}").contains("s3cr3t"));
        }
    }
}
