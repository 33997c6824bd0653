//! `API_BASE_URL`.

use super::{bad, good, notes, read, refused};

#[test]
fn good_base_urls() {
    // value, origin, host, port, TLS, base path
    let rows = [
        (
            "https://name.openai.azure.com",
            "https://name.openai.azure.com",
            "name.openai.azure.com",
            443,
            true,
            "",
        ),
        (
            "HTTPS://Name.OpenAI.azure.com:443/",
            "https://name.openai.azure.com",
            "name.openai.azure.com",
            443,
            true,
            "",
        ),
        (
            "https://h.example:8443/openai/v1///",
            "https://h.example:8443",
            "h.example",
            8443,
            true,
            "/openai/v1",
        ),
        ("https://h.example:80/A%20b/c@d", "https://h.example:80", "h.example", 80, true, "/A%20b/c@d"),
        ("http://localhost:80", "http://localhost", "localhost", 80, false, ""),
        ("http://localhost:443/x", "http://localhost:443", "localhost", 443, false, "/x"),
        ("http://127.1.2.3:9000", "http://127.1.2.3:9000", "127.1.2.3", 9000, false, ""),
        ("http://[0:0::1]:9000/x/", "http://[::1]:9000", "::1", 9000, false, "/x"),
        ("https://[2001:DB8::5]", "https://[2001:db8::5]", "2001:db8::5", 443, true, ""),
        ("https://my_service/a..b/.c", "https://my_service", "my_service", 443, true, "/a..b/.c"),
    ];
    for (value, origin, host, port, tls, path) in rows {
        let base_url = good(&[("API_BASE_URL", value)]).base_url;
        assert_eq!(base_url.origin(), origin, "{value}");
        assert_eq!(base_url.host(), host, "{value}");
        assert_eq!(base_url.port(), port, "{value}");
        assert_eq!(base_url.is_tls(), tls, "{value}");
        assert_eq!(base_url.base_path, path, "{value}");
    }
}

#[test]
fn bad_base_urls() {
    refused(
        "API_BASE_URL",
        &[
            ("no scheme", "name.openai.azure.com", "did you mean `https://name.openai.azure.com`"),
            ("no scheme but a port", "name.example:8443/x", "did you mean `https://name.example:8443/x`"),
            ("half a scheme", "https:/name.example", "does not begin with https://: `https:/name.example`"),
            ("no scheme but a key", "user:hunter2@name.example", "before an `@`"),
            ("another scheme", "wss://name.example", "has a scheme other than https"),
            ("http on the network", "http://name.example", "ALLOW_INSECURE_UPSTREAM=true"),
            ("a name that begins like loopback", "http://localhost.example", "uses http beyond loopback"),
            ("an address that begins like loopback", "http://127.0.0.1.example", "uses http beyond loopback"),
            ("a user", "https://user:hunter2@name.example", "has a user name or password"),
            ("an empty user", "https://@name.example", "has a user name or password"),
            ("a query", "https://name.example/?api-key=hunter2", "clients send api-version themselves"),
            ("an empty query", "https://name.example?", "has a query"),
            ("a fragment", "https://name.example#hunter2", "has a fragment"),
            ("a password with a slash", "https://user:hunter2/x@name.example", "not shown"),
            ("no host", "https:///openai", "has no host"),
            ("port 0", "https://name.example:0", "has a port that is not a number from 1 to 65535"),
            ("a port too high", "https://name.example:65536", "has a port"),
            ("an empty port", "https://name.example:", "has a port"),
            ("a signed port", "https://name.example:+443", "has a port"),
            ("a space", "https://name .example", "characters other than letters"),
            ("a backslash", "https://name.example\\x", "characters other than letters"),
            ("a name beyond ASCII", "https://n\u{e4}me.example", "xn-- form"),
            ("an empty label", "https://name..example", "empty or too long part"),
            ("a number for an address", "http://2130706433", "looks like an IPv4 address"),
            ("a short address", "http://127.1", "looks like an IPv4 address"),
            ("no brackets", "https://2001:db8::5", "IPv6 address without the brackets"),
            ("an open bracket", "https://[::1", "has a `[` without its `]`"),
            ("a zone", "https://[fe80::1%25eth0]", "zones are not supported"),
            ("something after the bracket", "https://[::1]x", "more than a port"),
            ("a dot segment", "https://name.example/a/../b", "has a `.` or `..` segment"),
            ("an escaped dot segment", "https://name.example/%2E%2e/b", "has a `.` or `..` segment"),
            ("a dot at the end", "https://name.example/a/./", "has a `.` or `..` segment"),
            ("an empty segment", "https://name.example//a", "has an empty segment"),
            ("a bad escape", "https://name.example/%zz", "without two hexadecimal digits"),
            ("a cut escape", "https://name.example/a%2", "without two hexadecimal digits"),
            ("a placeholder", "https://name.example/{deployment}", "must be percent-encoded"),
            (
                "a control character, escaped",
                "https://name.example/a\u{1b}[2J",
                "`https://name.example/a\\u{1b}[2J`",
            ),
            ("quotes", "'https://name.example'", "the quotes are part of the value"),
        ],
    );
}

#[test]
fn what_examples_write_is_refused() {
    refused(
        "API_BASE_URL",
        &[
            ("the README's", "https://NAME.openai.azure.com", "has the placeholder of an example where the"),
            ("with a path", "https://NAME.openai.azure.com/openai", "Keys and Endpoint"),
            ("Azure's", "https://YOUR-RESOURCE-NAME.openai.azure.com/openai/v1/", "has the placeholder"),
            ("in small letters", "https://your-resource-name.openai.azure.com", "has the placeholder"),
            ("dots", "...", "is the placeholder `...` of an example"),
            ("one dot, as word processors make it of three", "\u{2026}", "is the placeholder `...`"),
            ("angle brackets", "https://<resource>.openai.azure.com", "characters other than letters"),
        ],
    );
    good(&[("API_BASE_URL", "https://name.openai.azure.com")]);
}

/// Each row: a URL, and what is said of it; nothing for one that is as it should be.
#[test]
fn a_base_path_that_clients_send_too_is_noted() {
    let rows = [
        ("", ""),
        ("/", ""),
        ("/openai", ""),
        ("/api/projects/p", ""),
        ("/openai/v2", ""),
        (
            "/openai/v1",
            "a request for /openai/v1/chat/completions goes to /openai/v1/openai/v1/chat/completions",
        ),
        ("/openai/v1/", "remove /openai/v1, unless clients send paths without it, such as /chat/completions"),
        ("/api/projects/p/openai/v1", "goes to /api/projects/p/openai/v1/openai/v1/chat/completions"),
        ("/v1", "a request for /v1/chat/completions goes to /v1/v1/chat/completions"),
        ("/gateway/v1", "ends in /v1, which precedes every request's path"),
        ("/openai/v1/chat/completions", "remove /chat/completions: it is the path of a request"),
        (
            "/openai/deployments/d/chat/completions",
            "a request for /chat/completions goes to /openai/deployments/d/chat/completions/chat/completions",
        ),
        ("/openai/deployments/d/embeddings", "remove /embeddings: "),
        ("/openai/v1/responses", "remove /responses: "),
    ];
    for (path, expected) in rows {
        let printed = notes(&[("API_BASE_URL", &format!("https://name.openai.azure.com{path}"))]);
        assert!(
            if expected.is_empty() { printed.is_empty() } else { printed.contains(expected) },
            "{path}: {printed}"
        );
        assert!(printed.matches("API_BASE_URL").count() <= 1, "{path}: {printed}");
    }
}

#[test]
fn openais_own_api_is_noted() {
    let printed = notes(&[("API_BASE_URL", "https://api.openai.com")]);
    assert!(printed.contains("accepts its own keys and no Entra ID tokens: api.openai.com"), "{printed}");
    let printed = notes(&[("API_BASE_URL", "https://api.openai.com/v1")]);
    assert!(
        printed.contains("no Entra ID tokens") && printed.contains("/v1/v1/chat/completions"),
        "{printed}"
    );
    assert_eq!(notes(&[("API_BASE_URL", "https://api.openai.com.example")]), "");
}

#[test]
fn long_values_are_truncated() {
    let printed = bad(&[("API_BASE_URL", &format!("https://name.example/{}", "a".repeat(3000)))]);
    assert!(printed.contains("more than 1024 characters"), "{printed}");
    assert!(printed.len() < 400, "{printed}");
    assert!(read(&[("API_BASE_URL", &format!("https://{}.example", "a".repeat(64)))]).is_err());
}

#[test]
fn http_beyond_loopback_must_be_allowed() {
    let changes = [("API_BASE_URL", "http://gateway.internal"), ("ALLOW_INSECURE_UPSTREAM", "True")];
    assert_eq!(good(&changes).base_url.origin(), "http://gateway.internal");
    assert!(notes(&changes).contains("in clear to http://gateway.internal"));
    assert_eq!(notes(&[("API_BASE_URL", "http://localhost:9")]), "");
}

#[test]
fn a_regional_endpoint_is_noted() {
    let printed = notes(&[("API_BASE_URL", "https://westeurope.api.cognitive.microsoft.com/")]);
    assert!(printed.contains("custom subdomain") && printed.contains("API_BASE_URL"), "{printed}");
    assert_eq!(notes(&[("API_BASE_URL", "https://name.cognitiveservices.azure.com")]), "");
}

#[test]
fn a_base_url_that_leads_back_is_refused() {
    let loops = [
        ("http://localhost:8080", "0.0.0.0"),
        ("http://127.0.0.1:8080/x", "127.0.0.1"),
        ("https://[::1]:8080", "::"),
        ("http://127.0.0.1:8080", "::"),
        ("http://127.0.0.1:8080", "localhost"),
        ("http://[::1]:8080", "localhost"),
    ];
    for (url, host) in loops {
        let printed = bad(&[("API_BASE_URL", url), ("HOST", host)]);
        assert!(printed.contains("API_BASE_URL leads back to HOST and PORT: "), "{printed}");
    }
    for (url, host) in [("http://[::1]:8080", "0.0.0.0"), ("http://127.0.0.1:8080", "10.0.0.1")] {
        good(&[("API_BASE_URL", url), ("HOST", host)]);
    }
    good(&[("API_BASE_URL", "http://localhost:8080"), ("PORT", "0")]);
}

#[test]
fn what_is_loopback() {
    for host in ["localhost", "LOCALHOST.", "127.255.0.1", "[::1]", "[::ffff:127.0.0.1]"] {
        assert!(good(&[("API_BASE_URL", &format!("https://{host}"))]).base_url.is_loopback(), "{host}");
    }
    for host in ["128.0.0.1", "localhost.example", "[::2]", "0.0.0.0"] {
        assert!(!good(&[("API_BASE_URL", &format!("https://{host}"))]).base_url.is_loopback(), "{host}");
    }
}
