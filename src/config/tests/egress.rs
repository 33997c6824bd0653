//! `HTTPS_PROXY` and `NO_PROXY`.

use super::{bad, good, notes, refused};

#[test]
fn good_proxies() {
    let rows = [
        ("http://proxy.example:3128", "proxy.example", 3128, None),
        ("http://Proxy.example/", "proxy.example", 80, None),
        ("proxy.example:8080", "proxy.example", 8080, None),
        ("http://[2001:db8::5]:3128", "2001:db8::5", 3128, None),
        ("http://user:pass@10.0.0.1:3128", "10.0.0.1", 3128, Some("Basic dXNlcjpwYXNz")),
        ("user:p%40s%2Fs@proxy", "proxy", 80, Some("Basic dXNlcjpwQHMvcw==")),
        ("http://user@proxy", "proxy", 80, Some("Basic dXNlcjo=")),
        ("http://user:a:b@proxy", "proxy", 80, Some("Basic dXNlcjphOmI=")),
        ("http://user:100%@proxy", "proxy", 80, Some("Basic dXNlcjoxMDAl")),
        ("http://@proxy", "proxy", 80, None),
    ];
    for (value, host, port, authorization) in rows {
        let proxy = good(&[("HTTPS_PROXY", value)]).egress.proxy.expect(value);
        assert_eq!((proxy.host.as_str(), proxy.port), (host, port), "{value}");
        assert_eq!(
            proxy.authorization.as_ref().map(|secret| secret.expose().as_str()),
            authorization,
            "{value}"
        );
    }
}

#[test]
fn bad_proxies() {
    refused(
        "HTTPS_PROXY",
        &[
            ("TLS to the proxy", "https://user:hunter2@proxy", "is an https:// proxy; only http:// proxies"),
            ("SOCKS", "socks5h://user:hunter2@proxy", "is a SOCKS proxy; only http:// proxies"),
            ("another scheme", "hunter2://proxy", "is not an http:// URL"),
            ("a path", "http://user:hunter2@proxy/pac", "has more than a host and a port"),
            ("a password with a slash", "http://user:9/hunter2@proxy:3128", "percent-encode"),
            ("a password with a question mark", "http://user:hunter2?x@proxy", "percent-encode"),
            ("a port that is none", "http://user:hunter2@proxy:port", "has a port that is not a number"),
            ("no host", "http://user:hunter2@", "has no host"),
            ("a line break in the password", "http://user:hunter2%0a@proxy", "has control characters"),
            ("a colon in the user name", "http://us%3Aer:hunter2@proxy", "has a user name with a colon"),
        ],
    );
}

#[test]
fn lower_case_names_are_read_and_upper_case_wins() {
    let config = good(&[("https_proxy", "lower"), ("no_proxy", "direct.example")]);
    assert!(config.egress.proxy_for("direct.example", 443).is_none());
    assert_eq!(config.egress.proxy_for("other.example", 443).map(|proxy| proxy.host.as_str()), Some("lower"));
    let config = good(&[("https_proxy", "lower"), ("HTTPS_PROXY", "upper")]);
    assert_eq!(config.egress.proxy.map(|proxy| proxy.host).as_deref(), Some("upper"));
    assert!(bad(&[("https_proxy", "socks5://x")]).starts_with("https_proxy is a SOCKS proxy"));
}

#[test]
fn what_goes_through_the_proxy() {
    // NO_PROXY, host, port, reached directly
    let rows = [
        ("", "name.openai.azure.com", 443, false),
        ("*", "name.openai.azure.com", 443, true),
        ("a.example, *", "name.openai.azure.com", 443, true),
        ("a.example", "A.Example", 443, true),
        ("A.EXAMPLE", "a.example.", 443, true),
        ("a.example", "b.a.example", 443, true),
        ("a.example", "ba.example", 443, false),
        ("a.example", "a.example.com", 443, false),
        (".a.example", "a.example", 443, true),
        (".a.example", "b.a.example", 443, true),
        ("*.a.example", "b.a.example", 443, true),
        ("x y.example\ta.example", "a.example", 443, true),
        ("a.example:8443", "a.example", 8443, true),
        ("a.example:8443", "b.a.example", 8443, true),
        ("a.example:8443", "a.example", 443, false),
        ("10.1.2.3", "10.1.2.3", 443, true),
        ("10.1.2.3:8443", "10.1.2.3", 443, false),
        ("0.0.1", "10.0.0.1", 443, false),
        ("10.0.0.0/8", "10.200.0.1", 443, true),
        ("10.0.0.0/8", "11.0.0.1", 443, false),
        ("10.0.0.0/8", "::ffff:10.1.1.1", 443, true),
        ("10.0.0.0/8", "10.example", 443, false),
        ("0.0.0.0/0", "8.8.8.8", 443, true),
        ("0.0.0.0/0", "2001:db8::1", 443, false),
        ("192.168.1.128/25", "192.168.1.127", 443, false),
        ("2001:db8::/32", "2001:db8:ffff::1", 443, true),
        ("2001:db8::/32", "[2001:db8:ffff::1]", 443, true),
        ("2001:db8::/32", "2001:db9::1", 443, false),
        ("::/0", "2001:db9::1", 443, true),
        ("[2001:db8::1]:8443", "2001:db8::1", 8443, true),
        ("2001:db8::1", "2001:db8:0::1", 443, true),
        ("", "localhost", 443, true),
        ("", "127.0.0.9", 443, true),
        ("", "[::1]", 443, true),
        ("", "", 443, false),
    ];
    for (no_proxy, host, port, direct) in rows {
        let egress = good(&[("HTTPS_PROXY", "proxy"), ("NO_PROXY", no_proxy)]).egress;
        assert_eq!(egress.proxy_for(host, port).is_none(), direct, "NO_PROXY={no_proxy} {host}:{port}");
    }
    assert!(good(&[]).egress.proxy_for("name.openai.azure.com", 443).is_none());
}

#[test]
fn entries_of_another_dialect_are_noted_and_ignored() {
    for entry in ["10.0.0.0/33", "192.168.0.*", "http://a.example", "10.0.0.0/", "/8", "."] {
        let printed = notes(&[("HTTPS_PROXY", "proxy"), ("NO_PROXY", &format!("ok.example,{entry}"))]);
        assert!(
            printed.starts_with(&format!("NO_PROXY has an invalid entry, which is ignored: `{entry}`")),
            "{printed}"
        );
        assert_eq!(notes(&[("NO_PROXY", entry)]), "", "without a proxy it does not matter");
    }
    // No port: as likely a user name and a password.
    let printed = notes(&[("HTTPS_PROXY", "proxy"), ("NO_PROXY", "ok.example,a.example:x")]);
    assert!(
        printed.contains("which is ignored: (not shown: it may hold a credential, 11 characters)"),
        "{printed}"
    );
}
