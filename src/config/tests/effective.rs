//! The settings in force: where each value comes from, and that none of them is secret.

use super::super::effective::ValueSource;
use super::super::{EffectiveSetting, SETTINGS};
use super::{credential_of, good};

fn effective(changes: &[(&str, &str)], name: &str) -> EffectiveSetting {
    good(changes).effective.into_iter().find(|it| it.name == name).unwrap()
}

#[test]
fn every_setting_is_there_once_in_the_order_of_the_table() {
    let names: Vec<_> = good(&[]).effective.iter().map(|it| it.name).collect();
    assert_eq!(names, SETTINGS.iter().map(|it| it.name).collect::<Vec<_>>());
}

/// The table is what people read, the value in force is what the code has.
#[test]
fn a_default_in_force_is_the_one_in_the_table() {
    for setting in SETTINGS {
        let expected = match setting.default {
            "required" | "set by Azure" | "set by AKS" => continue,
            "what is configured" | "everything" => "unset",
            "from API_BASE_URL" => "https://cognitiveservices.azure.com/.default",
            "as HOST" => "0.0.0.0",
            default => default,
        };
        let shown = effective(credential_of(setting.name), setting.name);
        assert_eq!((shown.value.as_str(), shown.source), (expected, ValueSource::Default), "{setting:?}");
        assert!(shown.is_used, "{setting:?}");
    }
}

#[test]
fn a_value_is_shown_as_it_was_understood() {
    let rows = [
        ("LOG_LEVEL", " Warning ", "warn"),
        ("LOG_FORMAT", "JSON", "json"),
        ("CONNECT_TIMEOUT", "2m", "120s"),
        ("READ_IDLE_TIMEOUT", "90", "90s"),
        ("SHUTDOWN_GRACE", "1500ms", "1500ms"),
        ("MAX_CONNECTIONS", "0100", "100"),
        ("HOST", "[::1]", "::1"),
        ("REWRITE_LOCATION", "1", "true"),
        ("AZURE_ASSERTION_ALGORITHM", "rs256", "RS256"),
        ("AZURE_AUTHORITY_HOST", "https://Login.Microsoftonline.us/", "login.microsoftonline.us"),
        ("AZURE_TOKEN_CREDENTIALS", "environmentcredential", "EnvironmentCredential"),
        ("API_BASE_URL", "https://Name.openai.azure.com/a/", "https://name.openai.azure.com/a"),
        ("HTTPS_PROXY", "http://user:hunter2@Proxy.example:3128/", "http://proxy.example:3128"),
        ("HTTPS_PROXY", "[2001:db8::5]", "http://[2001:db8::5]:80"),
        ("NO_PROXY", "A.example, 10.0.0.0/8", "a.example,10.0.0.0/8"),
        ("NO_PROXY", "x7k2m4q3zrtyu9b1,b", "b"),
        ("SSL_CERT_FILE", "/etc/ssl/ca.pem", "/etc/ssl/ca.pem"),
        ("PROXY_API_KEY", "hunter2-hunter2-hunter2", "set"),
        ("ALLOWED_REQUESTS", " POST  /a/*,* /b", "POST /a/*,* /b"),
        ("ALLOWED_ORIGINS", "HTTPS://App.example:443", "https://app.example"),
        ("ALLOWED_HOSTS", "*.Proxy.example", ".proxy.example"),
        ("HOST", "unix:///run/p.sock", "unix:/run/p.sock"),
        ("AZURE_CLIENT_CERTIFICATE_PASSWORD", "hunter2", "set"),
        ("AZURE_CERTIFICATE_PASSWORD", "hunter2", "set"),
    ];
    for (name, value, expected) in rows {
        let shown = effective(&[(name, value)], name);
        let expected = (expected, ValueSource::Environment, true);
        assert_eq!((shown.value.as_str(), shown.source, shown.is_used), expected, "{name}={value}");
    }
    let lower = effective(&[("https_proxy", "user:hunter2@proxy.example")], "HTTPS_PROXY");
    assert_eq!((lower.value.as_str(), lower.source), ("http://proxy.example:80", ValueSource::Environment));
    let host = effective(&[("HOST", "127.0.0.1")], "ADMIN_HOST");
    assert_eq!((host.value.as_str(), host.source), ("127.0.0.1", ValueSource::Default));
}

/// Nothing has checked their values.
#[test]
fn variables_of_another_credential_are_set_and_not_used() {
    for setting in SETTINGS.iter().filter(|setting| !credential_of(setting.name).is_empty()) {
        let shown = effective(&[(setting.name, "hunter2")], setting.name);
        let expected = ("set", ValueSource::Environment, false);
        assert_eq!((shown.value.as_str(), shown.source, shown.is_used), expected, "{}", setting.name);
    }
    let managed = |name: &str, value: &str, shown: &str| {
        let found = effective(&[credential_of(name), &[(name, value)]].concat(), name);
        assert_eq!((found.value.as_str(), found.is_used), (shown, true), "{name}");
    };
    managed("IDENTITY_HEADER", "hunter2", "set");
    managed("AZURE_KUBERNETES_CA_DATA", "hunter2", "set");
    managed("AZURE_KUBERNETES_SNI_NAME", "aks.example", "aks.example");
}
