//! The whole table: defaults, what is missing, simple values, and everything at once.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use super::super::{Config, Listen, LogFormat, LogLevel, SETTINGS};
use super::{BASE, bad, credential_of, good, read, refused};

#[test]
fn without_settings_one_problem_names_all_that_is_missing() {
    for value in [None, Some(""), Some(" \t\n")] {
        // A blank secret or restriction is a problem of its own.
        let others = [
            "PROXY_API_KEY",
            "AZURE_CLIENT_CERTIFICATE_PASSWORD",
            "AZURE_CERTIFICATE_PASSWORD",
            "ALLOWED_REQUESTS",
        ];
        let lookup = |name: &str| value.filter(|_| !others.contains(&name)).map(str::to_owned);
        let problems = Config::from_lookup(&lookup).expect_err("nothing is set");
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert_eq!(
            problems[0].message,
            "Missing required Azure AD configuration: \
             AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_CERTIFICATE_PATH, API_BASE_URL"
        );
        assert_eq!(problems[0].hints.len(), 4);
        assert_eq!(problems[0].hints[0].contains("(set, but empty)"), value.is_some());
    }
    let printed = bad(&[("AZURE_CLIENT_ID", ""), ("API_BASE_URL", " ")]);
    assert!(
        printed.starts_with("Missing required Azure AD configuration: AZURE_CLIENT_ID, API_BASE_URL\n"),
        "{printed}"
    );
    assert!(printed.contains("hint: API_BASE_URL (set, but empty): the resource's endpoint"), "{printed}");
}

#[test]
fn one_run_reports_every_problem() {
    // Of a credential that cannot be chosen nothing is asked for.
    let unset = ["AZURE_TENANT_ID", "AZURE_TOKEN_CREDENTIALS"];
    let changes: Vec<_> = SETTINGS
        .iter()
        .map(|setting| (setting.name, if unset.contains(&setting.name) { "" } else { "\u{7f}" }))
        .collect();
    let problems = read(&changes).expect_err("everything is wrong");
    assert!(problems[0].message.starts_with("Missing required Azure AD configuration: AZURE_TENANT_ID"));
    // Every path is a good path until it is opened, every text may be a password.
    let others = [
        "AZURE_TOKEN_CREDENTIALS",
        "AZURE_CERTIFICATE_PATH",
        "AZURE_CLIENT_CERTIFICATE_PATH",
        "AZURE_CLIENT_CERTIFICATE_PASSWORD",
        "AZURE_CERTIFICATE_PASSWORD",
        "AZURE_FEDERATED_TOKEN_FILE",
        "PROXY_API_KEYS_FILE",
        "TLS_CERT_FILE",
        "TLS_KEY_FILE",
        "TLS_CLIENT_CA_FILE",
        "SSL_CERT_FILE",
        "NO_PROXY",
    ];
    // Those of another credential than the one that is named do not count.
    let counts = |name: &str| !others.contains(&name) && credential_of(name).is_empty();
    for setting in SETTINGS.iter().filter(|setting| counts(setting.name)) {
        assert!(
            problems.iter().any(|problem| problem.message.contains(setting.name)),
            "{}: {problems:#?}",
            setting.name
        );
    }
}

#[test]
fn dots_are_a_placeholder_wherever_they_stand() {
    // A list of names, in which they name nobody.
    for setting in SETTINGS
        .iter()
        .filter(|it| !["NO_PROXY", "IMDS_ENDPOINT", "AZURE_KUBERNETES_CA_DATA"].contains(&it.name))
    {
        let changes = [credential_of(setting.name), &[(setting.name, "...")]].concat();
        let printed = read(&changes);
        let printed: String = printed.unwrap_err().iter().map(|problem| format!("{problem}\n")).collect();
        let expected = format!(
            "{} is the placeholder `...` of an example\n  hint: replace it with the real value",
            setting.name
        );
        assert!(printed.contains(&expected), "{printed}");
    }
}

#[test]
fn the_table_holds_exactly_what_is_asked_for() {
    let table: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.name.to_owned()).collect();
    assert_eq!(table.len(), SETTINGS.len(), "a variable stands twice");
    // Each credential has settings of its own.
    let read_names = RefCell::new(BTreeSet::new());
    for credential in [None, Some("WorkloadIdentityCredential"), Some("ManagedIdentityCredential")] {
        for value in [None, Some("x")] {
            let _ = Config::from_lookup(&|name| {
                read_names.borrow_mut().insert(name.to_owned());
                let is_selection = name == "AZURE_TOKEN_CREDENTIALS";
                credential
                    .filter(|_| is_selection)
                    .or_else(|| value.filter(|_| !is_selection))
                    .map(str::to_owned)
            });
        }
    }
    let mut read_names = read_names.into_inner();
    // Other spellings, and what is read to say that it is not supported.
    for other in ["https_proxy", "no_proxy", "IDENTITY_SERVER_THUMBPRINT", "MSI_ENDPOINT", "MSI_SECRET"] {
        read_names.remove(other);
    }
    assert_eq!(read_names, table);
}

#[test]
fn the_defaults_in_the_table_are_the_defaults() {
    // All but where a value comes from.
    let parsed = |changes: &[(&str, &str)]| {
        let mut config = good(changes);
        config.effective.clear();
        format!("{config:?}")
    };
    let unset = parsed(&[]);
    for setting in SETTINGS.iter().filter(|s| {
        ![
            "required",
            "unset",
            "from API_BASE_URL",
            "as HOST",
            "what is configured",
            "set by Azure",
            "set by AKS",
            "everything",
        ]
        .contains(&s.default)
    }) {
        assert_eq!(parsed(&[(setting.name, setting.default)]), unset, "{}", setting.name);
    }
    for setting in SETTINGS.iter().filter(|s| s.default == "required") {
        assert!(BASE.iter().any(|(name, _)| *name == setting.name), "{}", setting.name);
    }
    let config = good(&[]);
    assert_eq!(config.listen, Listen::Tcp { host: "0.0.0.0".into(), port: 8080 });
    assert_eq!((config.max_connections, config.admin_port), (1024, None));
    assert_eq!((config.log_level, config.log_format), (LogLevel::Info, LogFormat::Text));
    assert_eq!(config.notes, []);
}

#[test]
fn where_to_listen() {
    let rows = [
        ("127.0.0.1", "127.0.0.1"),
        ("::", "::"),
        ("[::1]", "::1"),
        ("FE80::1%eth0", "fe80::1%eth0"),
        ("Localhost", "localhost"),
    ];
    for (value, host) in rows {
        assert_eq!(good(&[("HOST", value)]).listen, Listen::Tcp { host: host.into(), port: 8080 });
    }
    refused(
        "HOST",
        &[
            ("a port", "127.0.0.1:8080", "the port goes into PORT"),
            ("a URL", "http://localhost", "give only the host"),
            ("a star", "*", "use 0.0.0.0 for every IPv4 address"),
            ("a space", "local host", "is neither an IP address nor a host name"),
            ("a bad address", "256.0.0.1", "is neither an IP address nor a host name"),
            ("an empty zone", "fe80::1%", "is neither an IP address nor a host name"),
            ("a path", "/run/proxy.sock", "for a Unix socket write unix: before the path"),
        ],
    );
    for (value, expected) in [("65535", 65535), ("0", 0)] {
        let listen = good(&[("PORT", value)]).listen;
        assert_eq!(listen, Listen::Tcp { host: "0.0.0.0".into(), port: expected });
    }
    refused(
        "PORT",
        &[
            ("too high", "65536", "is not a port number from 0 to 65535: `65536`"),
            ("negative", "-1", "is not a port number"),
            ("a sign", "+80", "is not a port number"),
            ("a list", "80,81", "0 takes a free port"),
            ("a service link", "tcp://10.0.0.1:80", "enableServiceLinks: false"),
            ("digits of another script", "\u{664}\u{664}", "\\u{664}"),
        ],
    );
}

#[test]
fn the_admin_port_is_another_one() {
    assert_eq!(good(&[("ADMIN_PORT", "9090")]).admin_port, Some(9090));
    assert_eq!(good(&[("ADMIN_PORT", "0"), ("PORT", "0")]).admin_port, Some(0));
    refused(
        "ADMIN_PORT",
        &[
            ("the same", "8080", "is the same as PORT: 8080"),
            ("a service link", "tcp://10.0.0.1:80", "a Service of that name"),
        ],
    );
}

#[test]
fn a_unix_socket_to_listen_on() {
    let longest = format!("/{}", "d".repeat(106));
    for (value, path) in [
        ("unix:/run/auth-proxy/proxy.sock", "/run/auth-proxy/proxy.sock"),
        ("UNIX:/run/proxy.sock", "/run/proxy.sock"),
        ("unix:///run/proxy.sock", "/run/proxy.sock"),
        ("unix:/with a blank/ä.sock", "/with a blank/ä.sock"),
        (&format!("unix:{longest}"), &longest),
    ] {
        // Neither a bad PORT nor one that leads back here matters.
        let variables = [("HOST", value), ("PORT", "none"), ("API_BASE_URL", "http://127.0.0.1:8080")];
        assert_eq!(good(&variables).listen, Listen::Unix(path.into()), "{value}");
    }
    refused(
        "HOST",
        &[
            ("no path", "unix:", "is not the absolute path of a Unix socket: ``"),
            ("relative", "unix:proxy.sock", "write HOST=unix:/run/auth-proxy/proxy.sock"),
            ("abstract", "unix:@proxy", "is not the absolute path of a Unix socket"),
            ("a host in a URL", "unix://run/proxy.sock", "is not the absolute path of a Unix socket"),
            ("a directory", "unix:/run/", "names a directory, not a Unix socket in it: `/run/`"),
            ("too long", &format!("unix:{longest}d"), "has a path of 108 bytes"),
            ("too long in bytes", &format!("unix:/{}", "ä".repeat(54)), "has a path of 109 bytes"),
        ],
    );
}

#[test]
fn admin_host_defaults_to_host() {
    let unix = ("HOST", "unix:/run/proxy.sock");
    assert_eq!(good(&[unix]).admin_host, "127.0.0.1", "as a Unix socket, it is for this machine");
    assert_eq!(good(&[unix, ("ADMIN_PORT", "8080")]).admin_port, Some(8080));
    assert_eq!(good(&[("HOST", "127.0.0.1")]).admin_host, "127.0.0.1");
    assert_eq!(good(&[("HOST", "127.0.0.1"), ("ADMIN_HOST", "[::]")]).admin_host, "::");
    refused(
        "ADMIN_HOST",
        &[
            ("a URL", "http://127.0.0.1", "give only the host"),
            ("a Unix socket", "unix:/run/admin.sock", "is a Unix socket, which HOST alone can be"),
        ],
    );
}

#[test]
fn the_api_key_is_never_printed() {
    let key = |value| good(&[("PROXY_API_KEY", value)]).proxy_api_key.map(|secret| secret.expose().clone());
    assert_eq!(key("0123456789abcdef").as_deref(), Some("0123456789abcdef"));
    assert_eq!(key(""), None);
    refused(
        "PROXY_API_KEY",
        &[
            ("blank: it must not leave the port open", " \n", "PROXY_API_KEY holds nothing but white space"),
            ("too short", "hunter2", "PROXY_API_KEY is too short: 7 characters of at least 16"),
            ("one too few", "hunter2-hunter2", "openssl rand -hex 32"),
            ("a line break from echo", "hunter2hunter2hunter2\n", "`printf %s`, not with `echo`"),
            ("a space, which is not trimmed", " hunter2hunter2hunter2", "other than visible ASCII"),
            ("a control character", "hunter2\u{1}hunter2hunter2", "other than visible ASCII"),
            ("beyond ASCII", "hunter2hunter2h\u{fc}nter", "other than visible ASCII"),
            ("an ephemeral key, which would be forwarded", "ek_hunter2hunter2", "begins with `ek_`"),
        ],
    );
}

#[test]
fn the_file_of_keys_is_a_path() {
    let path = |value| good(&[("PROXY_API_KEYS_FILE", value)]).proxy_api_keys_file;
    assert_eq!(path(" /run/secrets/keys "), Some("/run/secrets/keys".into()));
    assert_eq!(path(""), None);
    refused(
        "PROXY_API_KEYS_FILE",
        &[
            (
                "a key in place of the file",
                "3c9d0e5f6a7b8c1d2e3f4a5b6c7d8e9f",
                "holds what looks like an API key, not the path of a file",
            ),
            ("the file's content", "team hunter2hunter2", "does not look like the path of a file"),
        ],
    );
}

#[test]
fn switches() {
    for (value, expected) in
        [("", false), ("true", true), ("TRUE", true), ("1", true), ("0", false), ("False", false)]
    {
        assert_eq!(good(&[("REWRITE_LOCATION", value)]).rewrite_location, expected, "{value}");
    }
    refused("REWRITE_LOCATION", &[("a word", "on", "is neither true nor false: `on`")]);
    refused("ALLOW_INSECURE_UPSTREAM", &[("a number", "2", "use true or false")]);
}

#[test]
fn logging() {
    for (value, expected) in
        [("ERROR", LogLevel::Error), ("Warning", LogLevel::Warn), (" debug ", LogLevel::Debug)]
    {
        assert_eq!(good(&[("LOG_LEVEL", value)]).log_level, expected, "{value}");
    }
    assert_eq!(good(&[("LOG_FORMAT", "JSON")]).log_format, LogFormat::Json);
    refused(
        "LOG_LEVEL",
        &[
            ("more than there is", "trace", "debug is the most verbose"),
            ("another word", "verbose", "use error, warn, info or debug"),
        ],
    );
    refused("LOG_FORMAT", &[("another word", "logfmt", "use text (for people) or json")]);
}

#[test]
fn numbers() {
    assert_eq!(good(&[("MAX_CONNECTIONS", "65536")]).max_connections, 65_536);
    refused(
        "MAX_CONNECTIONS",
        &[
            ("none at all", "0", "is not a whole number from 1 to 65536: `0`"),
            ("too many", "65537", "from 1 to 65536"),
            ("more than fits", "99999999999999999999", "from 1 to 65536"),
            ("a fraction", "1.5", "from 1 to 65536"),
        ],
    );
}

#[test]
fn lengths_of_time() {
    let rows = [
        ("10s", Duration::from_secs(10)),
        ("10", Duration::from_secs(10)),
        ("500ms", Duration::from_millis(500)),
        ("2M", Duration::from_secs(120)),
        ("24h", Duration::from_secs(86_400)),
    ];
    for (value, expected) in rows {
        assert_eq!(good(&[("CONNECT_TIMEOUT", value)]).connect_timeout, expected, "{value}");
        assert_eq!(good(&[("READ_IDLE_TIMEOUT", value)]).read_idle_timeout, expected, "{value}");
        assert_eq!(good(&[("SHUTDOWN_GRACE", value)]).shutdown_grace, expected, "{value}");
    }
    assert_eq!(good(&[("SHUTDOWN_GRACE", "0")]).shutdown_grace, Duration::ZERO);
    for variable in ["CONNECT_TIMEOUT", "READ_IDLE_TIMEOUT"] {
        refused(
            variable,
            &[("zero", "0ms", "is zero"), ("a unit alone", "ms", "is not a length of time: `ms`")],
        );
    }
    refused(
        "SHUTDOWN_GRACE",
        &[
            ("a day", "25h", "is longer than 24h"),
            ("more than fits", "99999999999999999999h", "is longer than 24h"),
            ("milliseconds without their unit", "600000", "write 500ms for milliseconds"),
            ("an unknown unit", "1d", "write 500ms, 10s, 2m or 1h"),
            ("a fraction", "1.5s", "is not a length of time"),
            ("a negative one", "-1s", "is not a length of time"),
            ("two of them", "1m30s", "is not a length of time"),
        ],
    );
}
