//! Mistakes that end the program at its start: settings, certificate, address. The user sees standard error.
//!
//! Every message of a setting is in the tables of `src/config/tests`, that of a certificate file in `src/identity/keypair/tests.rs`,
//! that of a CA bundle in `src/net/roots.rs`.

use std::net::TcpListener;

use super::{Diagnosis, diagnosis};
use crate::pems;
use crate::sim::{Options, Sim};
use crate::support::program::{environment, run_to_end};

/// A name for the mistake, the variable and the value that cause it, the exit code, and the diagnosis.
const MISTAKES: &[(&str, &str, Value, i32, Diagnosis)] = &[
    (
        "the variables were never passed on",
        "AZURE_CLIENT_ID",
        Value::Is(""),
        2,
        diagnosis("Missing required Azure AD configuration: AZURE_CLIENT_ID", "App registrations"),
    ),
    (
        "the upstream was forgotten",
        "API_BASE_URL",
        Value::Is(""),
        2,
        diagnosis("Missing required Azure AD configuration: API_BASE_URL", "https://"),
    ),
    (
        "the application's name in place of its id",
        "AZURE_CLIENT_ID",
        Value::Is("my-app"),
        2,
        diagnosis("AZURE_CLIENT_ID is not a GUID", "copy the Application (client) ID"),
    ),
    (
        "a placeholder that nothing filled in",
        "AZURE_CLIENT_ID",
        Value::Is("${CLIENT_ID}"),
        2,
        diagnosis("AZURE_CLIENT_ID is not a GUID", "placeholder"),
    ),
    (
        "the README's application",
        "AZURE_CLIENT_ID",
        Value::Is("00000000-0000-0000-0000-000000000000"),
        2,
        diagnosis("AZURE_CLIENT_ID is the placeholder of an example, not an id", "App registrations"),
    ),
    (
        "the README's upstream",
        "API_BASE_URL",
        Value::Is("https://NAME.openai.azure.com"),
        2,
        diagnosis("API_BASE_URL has the placeholder of an example", "Keys and Endpoint"),
    ),
    (
        "the dots of --help",
        "AZURE_TENANT_ID",
        Value::Is("..."),
        2,
        diagnosis("AZURE_TENANT_ID is the placeholder `...`", "replace it with the real value"),
    ),
    (
        "the tenant that is for everybody",
        "AZURE_TENANT_ID",
        Value::Is("common"),
        2,
        diagnosis("`common`, which is for users", "use the Directory (tenant) ID"),
    ),
    (
        "an upstream without its scheme",
        "API_BASE_URL",
        Value::Is("name.openai.azure.com"),
        2,
        diagnosis("API_BASE_URL", "did you mean `https://name.openai.azure.com`"),
    ),
    (
        "the portal's whole target URI",
        "API_BASE_URL",
        Value::Is("https://name.openai.azure.com/openai/deployments/d/chat/completions?api-version=1"),
        2,
        diagnosis("API_BASE_URL has a query", "use only the beginning"),
    ),
    (
        "an upstream in clear",
        "API_BASE_URL",
        Value::Is("http://name.openai.azure.com"),
        2,
        diagnosis(
            "the token would cross the network in clear",
            "use https, or set ALLOW_INSECURE_UPSTREAM=true",
        ),
    ),
    (
        "a scope that is a resource",
        "AZURE_SCOPE",
        Value::Is("https://cognitiveservices.azure.com"),
        2,
        diagnosis("AZURE_SCOPE", "/.default"),
    ),
    (
        "a port that Kubernetes has set for a Service",
        "ADMIN_PORT",
        Value::Is("tcp://10.0.0.1:80"),
        2,
        diagnosis("ADMIN_PORT is not a port number", "enableServiceLinks: false"),
    ),
    (
        "a key for clients from a secret that holds a line break alone",
        "PROXY_API_KEY",
        Value::Is("\n"),
        2,
        diagnosis("PROXY_API_KEY holds nothing but white space", "check the secret it comes from"),
    ),
    (
        "a Secret as a variable where its file's path belongs",
        "AZURE_CERTIFICATE_PATH",
        Value::Is(
            "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n",
        ),
        2,
        diagnosis(
            "AZURE_CERTIFICATE_PATH holds a certificate and key, not the path of a file",
            "mount it as a file",
        ),
    ),
    (
        "the client secret in place of the tenant",
        "AZURE_TENANT_ID",
        Value::Is("abc8Q~Zk3mV-x.9pLq_TrW2sYb7NdEfGhJ~uKiOa"),
        2,
        diagnosis(
            "AZURE_TENANT_ID is neither a GUID nor a domain name (40 characters)",
            "may belong to another variable",
        ),
    ),
    (
        "a CA bundle that is not there",
        "SSL_CERT_FILE",
        Value::Is("/nowhere/ca.pem"),
        2,
        diagnosis("SSL_CERT_FILE /nowhere/ca.pem cannot be read", "hint: "),
    ),
    (
        "a certificate that is not mounted",
        "AZURE_CERTIFICATE_PATH",
        Value::Is("/nowhere/certificate.pem"),
        3,
        diagnosis("certificate file /nowhere/certificate.pem does not exist", "is the volume mounted"),
    ),
    (
        "a directory that docker made for want of a file",
        "AZURE_CERTIFICATE_PATH",
        Value::NewDirectory,
        3,
        diagnosis(
            "is a directory",
            "docker makes an empty directory when the host's side of -v does not exist",
        ),
    ),
    (
        "the certificate without its key",
        "AZURE_CERTIFICATE_PATH",
        Value::Pem("no-key.pem"),
        3,
        diagnosis("has no private key", "one file must hold both"),
    ),
    (
        "the key of another certificate",
        "AZURE_CERTIFICATE_PATH",
        Value::Pem("mismatch.pem"),
        3,
        diagnosis("has a private key that belongs to none of its certificates", "compare the public keys"),
    ),
    (
        "a key with a passphrase",
        "AZURE_CERTIFICATE_PATH",
        Value::Pem("encrypted.pem"),
        3,
        diagnosis(
            "has an encrypted private key (PKCS#8) on line 18, and no password is set",
            "set AZURE_CLIENT_CERTIFICATE_PASSWORD to the password of the key",
        ),
    ),
    (
        "a PFX without its password, under a name that ends in .pem",
        "AZURE_CERTIFICATE_PATH",
        Value::Pem("pfx-named.pem"),
        3,
        diagnosis(
            "is PKCS#12 (PFX) that needs a password, and none is set",
            "set AZURE_CLIENT_CERTIFICATE_PASSWORD to the password it was exported with",
        ),
    ),
    (
        "a certificate that has expired",
        "AZURE_CERTIFICATE_PATH",
        Value::Pem("expired.pem"),
        3,
        diagnosis("has an expired certificate", "renew the certificate and upload it"),
    ),
    (
        "an elliptic curve",
        "AZURE_CERTIFICATE_PATH",
        Value::Pem("ec.pem"),
        3,
        diagnosis("Entra ID takes RSA keys only", "request a certificate with an RSA key"),
    ),
    (
        "line breaks lost in an environment variable",
        "AZURE_CERTIFICATE_PATH",
        Value::Pem("escaped.pem"),
        3,
        diagnosis("has the characters \\n where line breaks should be", "restore the line breaks"),
    ),
    (
        "a port that another program has",
        "PORT",
        Value::TakenPort,
        4,
        diagnosis("cannot listen on HOST=127.0.0.1 PORT=", "choose another PORT"),
    ),
    (
        "an address of another machine",
        "HOST",
        Value::Is("192.0.2.1"),
        4,
        diagnosis("cannot listen on HOST=192.0.2.1", "HOST must be an address of this machine"),
    ),
];

/// The value of a variable.
enum Value {
    /// This.
    Is(&'static str),
    /// The path of one of `tests/data/make.sh`'s files.
    Pem(&'static str),
    /// The path of an empty directory.
    NewDirectory,
    /// A port on which somebody listens.
    TakenPort,
}

#[test]
fn mistakes_that_end_the_start() {
    let sim = Sim::start(Options::default());
    let directory = sim.dir.join("mounted");
    std::fs::create_dir(&directory).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    for (mistake, variable, value, code, expected) in MISTAKES {
        let value = match value {
            Value::Is(value) => (*value).to_owned(),
            Value::Pem(name) => pems::pem(name).to_str().unwrap().to_owned(),
            Value::NewDirectory => directory.to_str().unwrap().to_owned(),
            Value::TakenPort => taken.local_addr().unwrap().port().to_string(),
        };
        let finished = run_to_end(&[], environment(&sim, &[(variable, &value)]));
        let error = finished.stderr.split_once("error: ").map_or("", |(_, error)| error);
        expected.assert_in(error, mistake);
        assert!(error.contains("\n  hint: "), "{mistake}: {error}");
        assert!(!finished.stderr.contains("listening"), "{mistake}: {}", finished.stderr);
        assert_eq!(finished.status.code(), Some(*code), "{mistake}: {error}");
    }
    assert!(sim.entra.requests().is_empty(), "nothing was half started");
}

#[test]
fn the_documentation_shows_the_message_for_missing_variables() {
    let document = std::fs::read_to_string("docs/troubleshooting.md").unwrap();
    let shown = document.split("### Missing configuration\n\n```text\n").nth(1).unwrap();
    let shown = shown.split("```").next().unwrap();
    let sim = Sim::start(Options::default());
    let variables = environment(&sim, &[("API_BASE_URL", "")]).into_iter();
    let finished = run_to_end(&[], variables.filter(|(name, _)| name != "AZURE_CLIENT_ID"));
    assert_eq!(finished.stderr, shown);
    assert_eq!(finished.status.code(), Some(2));
}

#[test]
fn a_federated_token_file_that_cannot_be_used_ends_the_start() {
    let sim = Sim::start(Options::default());
    let path = sim.dir.join("federated");
    let variables = [("AZURE_CERTIFICATE_PATH", ""), ("AZURE_FEDERATED_TOKEN_FILE", path.to_str().unwrap())];
    let start = || {
        let finished = run_to_end(&[], environment(&sim, &variables));
        assert_eq!(finished.status.code(), Some(3), "{}", finished.stderr);
        assert!(finished.stderr.contains("\n  hint: "), "{}", finished.stderr);
        finished.stderr
    };
    assert!(start().contains("does not exist"));
    std::fs::write(&path, "hunter2").unwrap();
    let error = start();
    assert!(error.contains("does not hold a JWT") && !error.contains("hunter2"), "{error}");
    assert!(sim.entra.requests().is_empty());
}
