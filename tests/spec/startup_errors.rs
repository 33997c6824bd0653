//! What cannot work ends the program at once: a message, an exit code, and nothing half started.

use std::net::TcpListener;
use std::path::Path;

use crate::fixture::{Finished, environment, run_to_end};
use crate::pems;
use crate::sim::{Options, Sim};

type Variables<'a> = &'a [(&'a str, &'a str)];

/// Runs it with these variables on top and expects this exit code.
#[track_caller]
fn ends(sim: &Sim, variables: &[(&str, &str)], code: i32) -> Finished {
    let finished = run_to_end(&[], environment(sim, variables));
    let said = &finished.stderr;
    assert_eq!(finished.status.code(), Some(code), "{variables:?}: {said}");
    assert!(said.contains("error: ") && said.contains("  hint: "), "{variables:?}: {said}");
    for word in ["panicked", "listening", "RUST_BACKTRACE"] {
        assert!(!said.contains(word), "{variables:?}: {said}");
    }
    assert!(sim.entra.requests().is_empty(), "{variables:?}: it asked for a token already");
    finished
}

#[test]
fn settings_that_are_wrong_end_it_with_2() {
    let sim = Sim::start(Options::default());
    let file = |name: &str, content: &str| {
        let path = sim.dir.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (empty, garbage) = (file("empty", ""), file("garbage", "no certificate\n"));
    let rows: [(&str, Variables<'_>, &str); 17] = [
        (
            "no client id",
            &[("AZURE_CLIENT_ID", "")],
            "Missing required Azure AD configuration: AZURE_CLIENT_ID",
        ),
        ("no certificate", &[("AZURE_CERTIFICATE_PATH", "")], "configuration: AZURE_CERTIFICATE_PATH"),
        ("no upstream", &[("API_BASE_URL", "")], "configuration: API_BASE_URL"),
        ("a tenant with a slash", &[("AZURE_TENANT_ID", "contoso/../evil")], "AZURE_TENANT_ID "),
        ("a tenant of everybody", &[("AZURE_TENANT_ID", "common")], "AZURE_TENANT_ID "),
        ("a client id that is a name", &[("AZURE_CLIENT_ID", "my-app")], "AZURE_CLIENT_ID is not a GUID"),
        (
            "http for the sign-in",
            &[("AZURE_AUTHORITY_HOST", "http://login.example.com")],
            "AZURE_AUTHORITY_HOST uses http",
        ),
        (
            "http for the upstream",
            &[("API_BASE_URL", "http://name.example.com")],
            "API_BASE_URL uses http",
        ),
        ("no URL", &[("API_BASE_URL", "https://:443:/")], "API_BASE_URL "),
        (
            "a host alone",
            &[("API_BASE_URL", "name.openai.azure.com")],
            "did you mean `https://name.openai.azure.com`",
        ),
        (
            "a scope without /.default",
            &[("AZURE_SCOPE", "https://cognitiveservices.azure.com")],
            "AZURE_SCOPE ",
        ),
        ("a port that is none", &[("PORT", "http")], "PORT is not a port number"),
        (
            "a blank key for callers",
            &[("PROXY_API_KEY", "  \n")],
            "PROXY_API_KEY holds nothing but white space",
        ),
        ("no roots", &[("SSL_CERT_FILE", "/nowhere/ca.pem")], "SSL_CERT_FILE /nowhere/ca.pem cannot be read"),
        (
            "roots without end",
            &[("SSL_CERT_FILE", "/dev/zero")],
            "SSL_CERT_FILE /dev/zero is larger than 16 MiB",
        ),
        ("an empty file of roots", &[("SSL_CERT_FILE", &empty)], "holds no usable certificate"),
        ("no roots in it", &[("SSL_CERT_FILE", &garbage)], "holds no usable certificate"),
    ];
    for (sentence, variables, expected) in rows {
        let said = ends(&sim, variables, 2).stderr;
        assert!(said.contains(expected), "{sentence}: {said}");
    }
}

#[test]
fn one_run_reports_every_wrong_setting() {
    let sim = Sim::start(Options::default());
    let wrong = [("AZURE_CLIENT_ID", ""), ("AZURE_TENANT_ID", "a b"), ("PORT", "x"), ("LOG_LEVEL", "loud")];
    let said = ends(&sim, &wrong, 2).stderr;
    assert!(said.starts_with("error: Missing required Azure AD configuration: AZURE_CLIENT_ID"), "{said}");
    for (name, _) in wrong {
        assert!(said.contains(name), "{name}: {said}");
    }
}

/// NEIGHBOURS 10: each file has a message with its name and a remedy.
#[test]
fn certificate_files_that_cannot_be_used_end_it_with_3() {
    let sim = Sim::start(Options::default());
    let rows = [
        ("bad-base64.pem", "base64"),
        ("bad-certificate.pem", "certificate"),
        ("bad-key.pem", "key"),
        ("blank.pem", "is empty"),
        ("dek-info.pem", "openssl"),
        ("ec.pem", "RSA"),
        ("ec-sec1.pem", "RSA"),
        ("ed25519.pem", "RSA"),
        ("empty.pem", "is empty"),
        ("encrypted.pem", "openssl"),
        ("escaped.pem", "line breaks"),
        ("expired.pem", "expired"),
        ("future.pem", "2048-01-01"),
        ("garbage.pem", "PEM"),
        ("huge.pem", "bits"),
        ("mismatch.pem", "key"),
        ("no-begin.pem", "BEGIN"),
        ("no-cert.pem", "certificate"),
        ("no-end.pem", "END"),
        ("no-key.pem", "private key"),
        ("one-line.pem", "line breaks"),
        ("pem-base64.pem", "base64"),
        ("pfx-base64.pem", "base64"),
        ("pfx-named.pem", "openssl pkcs12"),
        ("pss.pem", "RSA"),
        ("public-key.pem", "private key"),
        ("request.pem", "certificate"),
        ("truncated.pem", "END"),
        ("two-keys.pem", "two"),
        ("utf16.pem", "UTF-16"),
        ("weak.pem", "1024"),
    ];
    for (name, expected) in rows {
        is_refused(&sim, &pems::pem(name), expected);
    }
    is_refused(&sim, Path::new("/nowhere/certificate.pem"), "does not exist");
    is_refused(&sim, &sim.dir, "is a directory");
    is_refused(&sim, Path::new("/dev/null"), "is not a regular file");
}

#[track_caller]
fn is_refused(sim: &Sim, path: &Path, expected: &str) {
    let path = path.to_str().unwrap();
    let said = ends(sim, &[("AZURE_CERTIFICATE_PATH", path)], 3).stderr;
    let problem = &said[said.find("error: ").unwrap()..];
    assert!(problem.contains(path), "{path}: {said}");
    assert!(problem.to_lowercase().contains(&expected.to_lowercase()), "{path}: {expected:?}: {said}");
    assert!(!said.contains("PRIVATE KEY-----\nMII"), "{path}: {said}");
}

#[test]
fn a_federated_token_file_that_cannot_be_used_ends_it_with_3() {
    let sim = Sim::start(Options::default());
    let path = sim.dir.join("federated");
    let file = path.to_str().unwrap();
    let variables = [("AZURE_CERTIFICATE_PATH", ""), ("AZURE_FEDERATED_TOKEN_FILE", file)];
    assert!(ends(&sim, &variables, 3).stderr.contains("does not exist"));
    std::fs::write(&path, "hunter2").unwrap();
    let said = ends(&sim, &variables, 3).stderr;
    assert!(said.contains("does not hold a JWT") && !said.contains("hunter2"), "{said}");
}

#[test]
fn an_address_that_cannot_be_listened_on_ends_it_with_4() {
    let sim = Sim::start(Options::default());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = ends(&sim, &[("PORT", &port)], 4).stderr;
    assert!(said.contains(&format!("cannot listen on HOST=127.0.0.1 PORT={port}")), "{said}");
    assert!(said.contains("another program has this port"), "{said}");
    let said = ends(&sim, &[("HOST", "192.0.2.1")], 4).stderr;
    assert!(said.contains("HOST must be an address of this machine"), "{said}");
}
