//! No value panics, and no secret is printed, whatever variable it was put into.

use std::collections::HashSet;

use super::super::{Config, SETTINGS};
use super::{credential_of, read};

/// What parsers trip over.
const PIECES: [&str; 30] = [
    "://",
    "http",
    "https",
    "@",
    ":",
    "/",
    "//",
    "[",
    "]",
    "::1",
    "%",
    "%2e",
    "%zz",
    ".",
    "..",
    "?",
    "#",
    "*",
    ",",
    " ",
    "\u{0}",
    "\n",
    "\u{e9}",
    "\u{1f600}",
    "0",
    "65536",
    "99999999999999999999",
    "azure.us",
    "ms",
    "/.default",
];

/// Every variable gets texts pieced together at random (always the same ones: xorshift from a fixed seed).
#[test]
fn no_text_panics() {
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
    };
    for _ in 0..4000 {
        let values: Vec<(&str, String)> = SETTINGS
            .iter()
            .map(|setting| (setting.name, (0..next(7)).map(|_| PIECES[next(PIECES.len())]).collect()))
            .collect();
        let changes: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let _ = read(&changes);
        // One at a time as well, so that a good rest lets it through to the end.
        let (name, value) = changes[next(changes.len())];
        if let Ok(config) = read(&[("HTTPS_PROXY", "proxy"), (name, value)]) {
            let _ = config.egress.proxy_for(value, 443);
            let _ = (config.base_url.origin(), config.base_url.port());
        }
    }
}

/// Wherever a credential may stand in a value, whatever else is wrong with it.
#[test]
fn no_secret_is_printed() {
    let shapes = [
        "http://user:hunter2@host:1",
        "https://user:hunter2@host",
        "hunter2@host",
        "user:hunter2@host:port",
        "http://user:hunter2/more@host",
        "http://user:hunter2?more@host",
        "http://user:hunter2#more@host",
        "http://user:hunter2 more@host",
        "http://user:hunter2\n@host",
        "http://us%3aer:hunter2@host",
        "https://host/?api-key=hunter2",
        "host/path?hunter2",
        "https://host/#hunter2",
        "socks5://user:hunter2@host",
        "//user:hunter2@host",
        "'http://user:hunter2@host'",
    ];
    for variable in ["API_BASE_URL", "AZURE_AUTHORITY_HOST", "HTTPS_PROXY", "https_proxy", "NO_PROXY"] {
        for shape in shapes {
            assert_no_secret(&read(&[
                ("HTTPS_PROXY", if variable == "NO_PROXY" { "proxy" } else { "" }),
                (variable, shape),
            ]));
        }
    }
    for key in ["hunter2", "hunter2\n", " hunter2", "\"hunter2\"", "hunter2hunter2hunter2hunter2"] {
        assert_no_secret(&read(&[("PROXY_API_KEY", key)]));
        assert_no_secret(&read(&[("AZURE_CLIENT_ID", key)]));
    }
}

/// Whatever a person, a template or a volume can put into the wrong variable. The second text is what is secret of it.
const SECRETS: [(&str, &str); 11] = [
    (PEM, PEM_BODY),
    (
        "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\\nBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\\n-----END PRIVATE KEY-----\\n",
        PEM_BODY,
    ),
    ("-----BEGIN PRIVATE KEY-----", ""),
    (BASE64_OF_PEM, BASE64_OF_PEM),
    (DER, DER),
    (JWT, JWT),
    ("abc8Q~Zk3mV-x.9pLq_TrW2sYb7NdEfGhJ~uKiOa", "abc8Q~Zk3mV-x.9pLq_TrW2sYb7NdEfGhJ~uKiOa"),
    ("3c9d0e5f6a7b8c1d2e3f4a5b6c7d8e9f", "3c9d0e5f6a7b8c1d2e3f4a5b6c7d8e9f"),
    (
        "8kTzQ2vXw9LmN4bR7cJ1dF6gH3sA5pY0uE8iO2kTzQ2vXw9LmN4bRJQQJ99BKACYeBjFXJ3w3AAABACOGx7Y",
        "8kTzQ2vXw9LmN4bR7cJ1dF6gH3sA5pY0uE8iO2kTzQ2vXw9LmN4bRJQQJ99BKACYeBjFXJ3w3AAABACOGx7Y",
    ),
    ("http://proxyuser:S3cretPassw0rd@proxy.example:3128", "S3cretPassw0rd"),
    ("alice:correct-horse-battery", "correct-horse-battery"),
];
const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n-----END PRIVATE KEY-----\n";
const PEM_BODY: &str = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";
const BASE64_OF_PEM: &str =
    "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JSUV2UUlCQURBTkJna3Foa2lHOXcwQkFRRUZBQVND";
const DER: &str = "MIIJKQIBAzCCCO8GCSqGSIb3DQEHAaCCCOAEggjcMIII2DCCA48GCSqGSIb3DQEHBqCCA4AwggN8AgEAMIIDdQYJKoZIhvcNAQcBMBwGCiqGSIb3DQEMAQYwDgQIzq1n/Rd+xs8CAggAgIIDSPzvQkFaT1dXb3JLZVlNYXRlcmlhbA==";
const JWT: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3ViIjoic3lzdGVtOnNlcnZpY2VhY2NvdW50In0.dGhpcyBpcyBub3QgYSBzaWduYXR1cmUgYnV0IGFzIGxvbmc";

#[test]
fn no_variable_shows_a_secret_that_was_put_into_it() {
    let windows =
        |text: &str| -> HashSet<Vec<u8>> { text.as_bytes().windows(8).map(<[u8]>::to_vec).collect() };
    let lower = ["https_proxy", "no_proxy"];
    for name in SETTINGS.iter().map(|setting| setting.name).chain(lower) {
        for (value, secret) in SECRETS {
            // With a proxy, so that what NO_PROXY means matters; without a certificate, so that the token file does.
            let proxy = if name.eq_ignore_ascii_case("HTTPS_PROXY") { "" } else { "proxy.example" };
            let certificate = if name.contains("CLIENT_CERTIFICATE_PATH") || name.contains("FEDERATED") {
                ""
            } else {
                "c.pem"
            };
            let changes = [("HTTPS_PROXY", proxy), ("AZURE_CERTIFICATE_PATH", certificate)];
            let changes = [&changes, credential_of(name), &[(name, value)]].concat();
            let printed = match read(&changes) {
                Ok(config) => shown(&config),
                Err(problems) => {
                    assert!(problems.iter().all(|problem| problem.message.contains(name)), "{problems:#?}");
                    problems.iter().map(|problem| format!("{problem}\n")).collect()
                }
            };
            let leaked: Vec<_> = windows(secret).intersection(&windows(&printed)).cloned().collect();
            let leaked: Vec<_> = leaked.iter().map(|window| String::from_utf8_lossy(window)).collect();
            assert!(leaked.is_empty(), "{name}={value}\n{leaked:?} in\n{printed}");
            // What every variable but those that are made for it refuses.
            let keeps = [
                "PROXY_API_KEY",
                "AZURE_CLIENT_CERTIFICATE_PASSWORD",
                "AZURE_CERTIFICATE_PASSWORD",
                "NO_PROXY",
                "no_proxy",
                "IDENTITY_HEADER",
                "IMDS_ENDPOINT",
                "AZURE_KUBERNETES_CA_DATA",
            ]
            .contains(&name);
            let fits = secret == "S3cretPassw0rd" && name.eq_ignore_ascii_case("HTTPS_PROXY");
            assert!(keeps || fits || printed.contains(name), "{name}={value} is accepted:\n{printed}");
        }
    }
}

/// Everything of a configuration that start, `check` and the faults of connections show.
fn shown(config: &Config) -> String {
    let proxy = config.egress.proxy.as_ref().map(|proxy| format!("{}:{}", proxy.host, proxy.port));
    let notes: String = config.notes.iter().map(|note| format!("{note}\n")).collect();
    let values =
        (&config.credential, &config.credential_reason, &config.scope, &config.base_url, &config.listen);
    let web_pages = (&config.allowed_origins, &config.allowed_hosts);
    let files = (&config.ca_file, &config.proxy_api_keys_file);
    format!("{notes}{values:?}{web_pages:?}{:?}{files:?}{proxy:?}{:?}", config.admin_host, config.effective)
}

fn assert_no_secret(result: &Result<Config, Vec<crate::report::Problem>>) {
    // `{:?}` shows messages, hints, notes and every field.
    let printed = format!("{result:?}");
    assert!(!printed.contains("hunter2"), "{printed}");
    // "hunter2" in base64 at each of the three offsets, as far as it does not depend on the characters around it.
    for encoded in ["aHVudGVy", "h1bnRlcj", "odW50ZXIy"] {
        assert!(!printed.contains(encoded), "{printed}");
    }
}
