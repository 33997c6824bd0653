//! What a message may repeat of a value that a person has set.
//!
//! Any variable can hold any secret by a mix-up: the key itself where its file's path belongs, a client secret in the
//! field below. So a message quotes only what looks like what people mean to show, and describes the rest: its length,
//! and what it seems to be.

/// The longest value that is quoted. Names, URLs and paths are shorter; keys in PEM or base64 are not.
const MAX_LENGTH: usize = 255;
/// How many characters of it are shown.
const MAX_SHOWN: usize = 100;
/// The longest word that is quoted, below what any password policy takes.
const MAX_WORD: usize = 7;
/// A run of letters and digits as long as this is a key or a digest (32 hexadecimal digits and more).
const KEY_LENGTH: usize = 32;
/// Below this, names that programs make up (pods, containers, resources) look no different from secrets.
const RANDOM_LENGTH: usize = 16;

/// A name, an address, a URL or a path for a message: between backticks, everything but visible ASCII escaped (which
/// also shows the zero-width space that came with copy and paste), cut when long. Or, when it could be a secret or
/// hold one, what can be said of it.
pub(crate) fn quote(value: &str) -> String {
    if is_quotable(value) { in_backticks(value) } else { describe(value) }
}

/// As [`quote`], for a value that stands by itself: not between backticks, not cut.
pub(crate) fn visible(value: &str) -> String {
    if is_quotable(value) { printable(value, MAX_LENGTH) } else { describe(value) }
}

/// As [`quote`], for a value that should be a word or a number, such as a switch, a duration or a level: those are short,
/// and nothing is lost with a longer one.
pub(crate) fn quote_word(value: &str) -> String {
    if value.chars().count() <= MAX_WORD { in_backticks(value) } else { describe(value) }
}

/// Whether a value may stand in a message as a name, an address, a URL or a path.
pub(crate) fn is_quotable(value: &str) -> bool {
    // Only absolute paths have spaces; passphrases have some, too.
    let is_one_word = value.starts_with('/') || !value.contains(char::is_whitespace);
    value.len() <= MAX_LENGTH
        && is_one_word
        && !value.contains(['\n', '\r'])
        && secret_kind(value).is_none()
        && !may_hold_credential(value)
        && (is_absolute_path(value) || !value.split(['/', '\\', ':', ',', '=', ' ']).any(is_random))
}

/// Whether a value begins with a slash, a word and a slash, as base64 does by chance in one of 36,000. What programs
/// name (temporary directories, volumes, pods) looks made by chance, too.
fn is_absolute_path(value: &str) -> bool {
    let first = value.strip_prefix('/').and_then(|rest| rest.split_once('/'));
    first.is_some_and(|(word, _)| word.len() >= 3 && word.bytes().all(|b| b.is_ascii_lowercase()))
}

/// What kind of secret a value holds or looks like; none where that is unknown.
pub(crate) fn secret_kind(value: &str) -> Option<&'static str> {
    // RFC 7468 section 2; a template may have made the line breaks into the characters `\n`, or dropped all but one line.
    if value.contains("-----BEGIN ") || value.contains("-----END ") {
        return Some(match (value.contains("CERTIFICATE-----"), value.contains("PRIVATE KEY-----")) {
            (true, true) => "a certificate and key",
            (true, false) => "a certificate",
            (false, true) => "a private key",
            (false, false) => "PEM text",
        });
    }
    let text: String = value.chars().filter(|c| !c.is_whitespace()).collect();
    let text = text.replace("\\n", "");
    // `-----BEGIN` in base64; and a DER sequence of 128 bytes or more, which certificates, keys and PFX files are.
    let is_base64 = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=-_".contains(&b));
    if is_base64 && (text.starts_with("LS0tLS1CRUdJT") || is_der_in_base64(&text)) {
        return Some("a certificate or key in base64");
    }
    // RFC 7519: three parts in base64url, the first of which begins with `{"`.
    let is_base64url = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b));
    if text.starts_with("eyJ") && text.split('.').count() == 3 && text.split('.').all(is_base64url) {
        return Some("a token (JWT)");
    }
    if is_client_secret(text.as_bytes()) {
        return Some("what looks like a client secret");
    }
    let is_key = text.len() >= KEY_LENGTH && text.bytes().all(|b| b.is_ascii_alphanumeric());
    is_key.then_some("what looks like an API key")
}

/// Entra ID's own form: three characters, a digit, `Q~`, and 31 to 34 more.
fn is_client_secret(text: &[u8]) -> bool {
    (37..=40).contains(&text.len())
        && text[3].is_ascii_digit()
        && &text[4..6] == b"Q~"
        && text.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(b))
}

fn is_der_in_base64(text: &str) -> bool {
    text.len() > 160 && ["MII", "MIH", "MIG"].iter().any(|start| text.starts_with(start))
}

/// Whether a part of it may be a password: `user:password`, userinfo and queries of URLs. The `@` counts wherever it
/// stands: a password with an unescaped `/` would look like a path.
fn may_hold_credential(value: &str) -> bool {
    let (scheme, rest) = value.split_once("://").unwrap_or(("", value));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // What follows the colon of a port is digits.
    let has_pair = |text: &str| text.split(':').skip(1).any(|part| !part.bytes().all(|b| b.is_ascii_digit()));
    value.contains(['@', '?', '#'])
        || has_pair(scheme)
        || has_pair(path)
        || !is_address(authority) && has_pair(authority)
}

/// An IP address with or without brackets and port, roughly: pieces as short as those of one.
fn is_address(text: &str) -> bool {
    text.split([':', '[', ']']).all(|part| {
        part.len() <= 4 && part.bytes().all(|b| b.is_ascii_hexdigit())
            || part.len() <= 15 && part.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    })
}

/// Whether a part of a value looks made by chance: one long run of letters and digits, or cases and digits that change
/// all the time. GUIDs have too few of either.
fn is_random(part: &str) -> bool {
    let runs = part.split(|c: char| !c.is_ascii_alphanumeric());
    let length = |run: &str| run.len();
    if runs.clone().any(|run| length(run) >= KEY_LENGTH || length(run) >= RANDOM_LENGTH && changes(run) >= 4)
    {
        return true;
    }
    let letters: usize = runs.clone().map(length).sum();
    let changes: usize = runs.map(changes).sum();
    let has = |class: fn(&u8) -> bool| part.as_bytes().iter().any(class);
    letters >= RANDOM_LENGTH
        && changes * 4 >= letters
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_digit)
}

/// How often the kind of character changes. A capital letter before small ones is no change: words begin like that.
fn changes(run: &str) -> usize {
    #[derive(PartialEq, Eq)]
    enum Class {
        Lower,
        Upper,
        Digit,
    }
    let class = |b: u8| match b {
        b'0'..=b'9' => Class::Digit,
        b'A'..=b'Z' => Class::Upper,
        _ => Class::Lower,
    };
    let pairs = run.as_bytes().windows(2).map(|pair| (class(pair[0]), class(pair[1])));
    pairs.filter(|(one, next)| one != next && (one, next) != (&Class::Upper, &Class::Lower)).count()
}

fn in_backticks(value: &str) -> String {
    format!("`{}`", printable(value, MAX_SHOWN))
}

/// The beginning, with escapes for everything but visible ASCII.
fn printable(value: &str, max_chars: usize) -> String {
    let mut shown = String::new();
    for (at, c) in value.chars().enumerate() {
        if at == max_chars {
            shown.push_str("...");
            break;
        }
        match c {
            ' '..='~' => shown.push(c),
            _ => shown.extend(c.escape_default()),
        }
    }
    shown
}

fn describe(value: &str) -> String {
    let length = value.chars().count();
    match secret_kind(value) {
        Some(kind) => format!("(not shown: {kind}, {length} characters)"),
        None if may_hold_credential(value) => {
            format!("(not shown: it may hold a credential, {length} characters)")
        }
        None => format!("(not shown: {length} characters)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What people set and want to read in the message about it.
    const QUOTED: [&str; 43] = [
        "",
        "cert.pem",
        "certs/certificate.pem",
        "/certs/certificate.pem",
        "/with blank/id.pem",
        "/nowhere/ca.pem",
        "/run/credentials/auth-proxy.service/certificate.pem",
        "/var/run/secrets/azure/tokens/azure-identity-token",
        "/mnt/secrets-store/my-cert-3f9a2b/tls.pem",
        "/certs/..2026_11_28_02_00_00.123456789/tls.crt",
        "/var/lib/kubelet/pods/3f2c9d7e-6f6b-4b47-9a39-0c3f6c1b2d10/volumes/kubernetes.io~secret/cert/tls.pem",
        "/tmp/tmp.X7dk29Qm1z8Kq4Ls/certificate.pem",
        "/data/pems-617aad2a1ad0ac20/absent.pem",
        "/certs/3c9d0e5f6a7b8c1d2e3f4a5b6c7d8e9f/tls.pem",
        "/data/Auth Proxy (copy)/Certificate 2026.pem",
        "https://name.openai.azure.com",
        "https://name.openai.azure.com/openai/deployments/gpt-4o-mini/chat/completions",
        "name.example:8443/x",
        "https:/name.example",
        "https://cog-x7k2m4q3zrtyu.openai.azure.com",
        "https://OpenAI-Prod-2026-EastUS2.openai.azure.com",
        "ftp://login.microsoftonline.com",
        "'https://name.example'",
        "https://name.example/a\u{1b}[2J",
        "https://name\u{200b}.example",
        "http://127.0.0.1:8080",
        "https://[2001:db8::5]:8443/x",
        "2001:db8::5",
        "fe80::1",
        "127.0.0.1:8080",
        "256.0.0.1",
        "localhost",
        "auth-proxy-7d9c5b6f4-x2k9p",
        "litellm-auth-proxy-7d9c5b6f4-x2k9p",
        "3f2a9b8c7d6e",
        "ip-10-0-0-1.eu-west-1.compute.internal",
        "https://cognitiveservices.azure.com",
        "https://ai.azure.com/.Default",
        "api://11111111-2222-3333-4444-555555555555/access_as_user",
        "cognitiveservices",
        "contoso.onmicrosoft.com",
        "*",
        "--verbose",
    ];

    /// What a mix-up puts in their place.
    const DESCRIBED: [(&str, &str); 31] = [
        ("-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----", "a certificate,"),
        ("-----BEGIN PRIVATE KEY-----\\nMIIE\\n-----END PRIVATE KEY-----", "a private key,"),
        ("-----BEGIN RSA PRIVATE KEY----- MIIE -----END RSA PRIVATE KEY-----", "a private key,"),
        ("-----BEGIN CERTIFICATE-----", "a certificate,"),
        (
            "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\nMIIC",
            "a certificate and key,",
        ),
        ("-----BEGIN PKCS7-----\nMIIC", "PEM text,"),
        ("LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JSUV2", "a certificate or key in base64,"),
        ("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0t\nLS0tCk1JSUM=", "a certificate or key in base64,"),
        ("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl", "a token (JWT),"),
        ("abc8Q~Zk3mV-x.9pLq_TrW2sYb7NdEfGhJ~uKiOa", "what looks like a client secret,"),
        ("abc8Q~Zk3mV-x.9pLq_TrW2sYb7NdEfGhJ~uK", "what looks like a client secret,"),
        ("3c9d0e5f6a7b8c1d2e3f4a5b6c7d8e9f", "what looks like an API key,"),
        ("0123456789abcdef0123456789abcdef", "what looks like an API key,"),
        (
            "8kTzQ2vXw9LmN4bR7cJ1dF6gH3sA5pY0uE8iO2kTzQ2vXw9LmN4bRJQQJ99BKACYeBjFXJ3w3AAABACOGx7Yd",
            "what looks like an API key,",
        ),
        ("https://3c9d0e5f6a7b8c1d2e3f4a5b6c7d8e9f", "(not shown: 40 characters)"),
        ("q2hGxT8JkQ1vLmN4bR7cJw==", "(not shown: 24 characters)"),
        ("certs/q2hGxT8JkQ1vLmN4bR7cJw==.pem", "(not shown: 34 characters)"),
        ("/q2hGxT8JkQ1vLmN4bR7cJw==", "(not shown: 25 characters)"),
        ("/q2h/GxT8JkQ1vLmN4bR7cJ9w==", "(not shown: 27 characters)"),
        ("x7k2m4q3zrtyu9b1", "(not shown: 16 characters)"),
        ("sk-4xT9.qZ7k-Lw2P~e8Rv_B5nY", "(not shown: 27 characters)"),
        ("correct horse battery staple", "(not shown: 28 characters)"),
        ("one\ntwo", "(not shown: 7 characters)"),
        ("name:password", "it may hold a credential,"),
        ("name:correct-horse", "it may hold a credential,"),
        ("name:12345x", "it may hold a credential,"),
        ("http://user:password@proxy.example:3128", "it may hold a credential,"),
        ("http://user:pass/word@proxy.example", "it may hold a credential,"),
        ("https://name.example/?api-key=hunter2", "it may hold a credential,"),
        ("https://name.example#hunter2", "it may hold a credential,"),
        ("https://name.example:https", "it may hold a credential,"),
    ];

    #[test]
    fn what_people_mean_to_show_is_quoted() {
        for value in QUOTED {
            let shown = quote(value);
            assert!(shown.starts_with('`') && shown.ends_with('`'), "{value}: {shown}");
            let cut = value.len() > MAX_SHOWN || !value.bytes().all(|b| matches!(b, b' '..=b'~'));
            assert!(cut || shown == format!("`{value}`"), "{value}: {shown}");
        }
        let long = format!("/{}", "directory/".repeat(25));
        assert_eq!(quote(&long), format!("`{}...`", &long[..100]));
        assert_eq!(quote("a\u{1b}[2J\u{200b}"), "`a\\u{1b}[2J\\u{200b}`");
    }

    #[test]
    fn what_may_be_a_secret_is_described() {
        for (value, expected) in DESCRIBED {
            let shown = quote(value);
            assert!(shown.contains(expected), "{value}: {shown}");
            assert!(shown.ends_with(&format!("{} characters)", value.chars().count())), "{value}: {shown}");
            assert!(!shown.contains('`'), "{value}: {shown}");
        }
        let der = format!("MIIJKQIBAzCC{}", "Zx9+/".repeat(200));
        assert!(quote(&der).contains("a certificate or key in base64"), "{}", quote(&der));
        let long = format!("/{}", "directory/".repeat(26));
        assert_eq!(quote(&long), "(not shown: 261 characters)");
    }

    #[test]
    fn a_word_is_quoted_while_it_is_shorter_than_a_password() {
        for word in ["", "yes", "verbose", "65536", "1m30s", "-1s", "a\nb", "\u{664}\u{664}"] {
            assert!(quote_word(word).starts_with('`'), "{word}");
        }
        for (word, _) in DESCRIBED.iter().filter(|(value, _)| value.len() > 7) {
            assert!(quote_word(word).starts_with("(not shown: "), "{word}");
        }
        assert_eq!(quote_word("password"), "(not shown: 8 characters)");
    }
}
