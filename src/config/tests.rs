//! What the environment may say, as tables: each row is a sentence.

mod allowed_requests;
mod base_url;
mod credential;
mod effective;
mod egress;
mod entra;
mod hostile;
mod names;
mod scope;
mod tls;
mod web_pages;
mod whole;

use std::collections::HashMap;

use super::Config;
use crate::report::Problem;

/// The least that starts.
const BASE: [(&str, &str); 4] = [
    ("AZURE_CLIENT_ID", "11111111-2222-3333-4444-555555555555"),
    ("AZURE_TENANT_ID", "contoso.onmicrosoft.com"),
    ("AZURE_CERTIFICATE_PATH", "cert.pem"),
    ("API_BASE_URL", "https://name.openai.azure.com"),
];

/// The base with these variables on top; an empty value takes one away.
fn read(changes: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
    let variables: HashMap<_, _> = BASE.iter().chain(changes).copied().collect();
    Config::from_lookup(&|name| variables.get(name).map(|value| (*value).to_owned()))
}

/// What makes the settings of other credentials than the certificate count.
fn credential_of(setting: &str) -> &'static [(&'static str, &'static str)] {
    let is_platforms = setting.starts_with("IDENTITY_") || setting == "IMDS_ENDPOINT";
    if is_platforms || setting == "AZURE_POD_IDENTITY_AUTHORITY_HOST" {
        return if setting == "IDENTITY_HEADER" {
            &[
                ("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential"),
                ("IDENTITY_ENDPOINT", "http://127.0.0.1/"),
            ]
        } else {
            &[("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")]
        };
    }
    if setting.starts_with("AZURE_KUBERNETES_") {
        return &[
            ("AZURE_TOKEN_CREDENTIALS", "WorkloadIdentityCredential"),
            ("AZURE_FEDERATED_TOKEN_FILE", "token"),
            ("AZURE_KUBERNETES_TOKEN_PROXY", "https://10.0.0.1"),
        ];
    }
    &[]
}

/// A configuration that must be right.
fn good(changes: &[(&str, &str)]) -> Config {
    read(changes).unwrap_or_else(|problems| panic!("{changes:?}: {problems:#?}"))
}

/// The only problem of a configuration that must be wrong, as it is printed.
fn bad(changes: &[(&str, &str)]) -> String {
    let problems = read(changes).expect_err(&format!("{changes:?} is accepted"));
    assert_eq!(problems.len(), 1, "{changes:?}: {problems:#?}");
    problems[0].to_string()
}

/// The notes of a configuration that must be right, as they are printed.
fn notes(changes: &[(&str, &str)]) -> String {
    good(changes).notes.iter().map(|note| format!("{note}\n")).collect()
}

/// Each row: a sentence, the value, and what the message says (message and hints together).
fn refused(variable: &str, rows: &[(&str, &str, &str)]) {
    for (sentence, value, expected) in rows {
        let printed = bad(&[(variable, value)]);
        assert!(printed.starts_with(&format!("{variable} ")), "{sentence}: {printed}");
        assert!(printed.contains(expected), "{sentence}: {printed}");
        assert!(printed.contains("hint: "), "{sentence}: no remedy: {printed}");
        assert!(!printed.contains("hunter2"), "{sentence}: a secret is shown: {printed}");
    }
}
