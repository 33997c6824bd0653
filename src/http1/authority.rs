//! Which authority a request is for: `uri-host [ ":" port ]` (RFC 9112 section 3.2, RFC 3986 section 3.2).

use std::net::Ipv6Addr;

/// Characters of a registered name (RFC 3986 section 3.2.2), percent escapes apart. The comma is left out: it is how
/// two fields become one, and in no name.
const IN_NAME: &[u8] = b"-._~!$&'()*+;=";

/// Whether this is a host with or without a port. An empty host is none: no URI of http is without one (RFC 9110
/// section 4.2.1). Neither are user information, a zone or an address of a future IP.
pub(crate) fn is_valid(authority: &[u8]) -> bool {
    let (host, port) = split(authority);
    let is_host = match host {
        [b'[', address @ .., b']'] => str::from_utf8(address).is_ok_and(|a| a.parse::<Ipv6Addr>().is_ok()),
        name => is_name(name),
    };
    is_host && is_port(port)
}

/// Whether two valid authorities are the same: "the scheme and host are case-insensitive", and "If the port is equal to
/// the default port for a scheme, the normal form is to omit the port subcomponent" (RFC 9110 section 4.2.3).
pub(crate) fn is_equivalent(one: &[u8], other: &[u8], default_port: u16) -> bool {
    let normal = |authority| {
        let (host, port) = split(authority);
        let port = port.strip_prefix(b":").and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
        (host.to_ascii_lowercase(), port.unwrap_or(default_port))
    };
    normal(one) == normal(other)
}

/// The host of a valid authority, in brackets if it came so.
pub(crate) fn host(authority: &[u8]) -> &[u8] {
    split(authority).0
}

/// The host without the brackets that an IPv6 address has in an authority.
pub(crate) fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// The host, in brackets if it came so, and the rest: empty, or a colon and what should be a port.
fn split(authority: &[u8]) -> (&[u8], &[u8]) {
    let bracket = authority.iter().position(|b| *b == b']').filter(|_| authority.starts_with(b"["));
    let end = match bracket {
        Some(bracket) => bracket + 1,
        None => authority.iter().position(|b| *b == b':').unwrap_or(authority.len()),
    };
    authority.split_at(end)
}

/// A registered name or an IPv4 address, which looks like one.
fn is_name(name: &[u8]) -> bool {
    let mut rest = name;
    while let Some((byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => after,
            (byte, after) if byte.is_ascii_alphanumeric() || IN_NAME.contains(byte) => after,
            _ => return false,
        };
    }
    !name.is_empty()
}

/// Nothing, a colon alone, or a colon and a port that TCP has.
fn is_port(rest: &[u8]) -> bool {
    let Some(digits) = rest.strip_prefix(b":") else { return rest.is_empty() };
    let port = || str::from_utf8(digits).ok()?.parse::<u16>().ok();
    digits.is_empty() || digits.iter().all(u8::is_ascii_digit) && port().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_or_without_a_port() {
        for good in [
            "a",
            "a.b.",
            "a_b-c~d",
            "a:80",
            "a:",
            "a:0080",
            "a:65535",
            "127.0.0.1:8080",
            "%41%2f",
            "!$&'()*+;=",
            "[::1]",
            "[::1]:8080",
            "[1:2:3:4:5:6:7:8]",
            "[::ffff:127.0.0.1]:",
        ] {
            assert!(is_valid(good.as_bytes()), "{good}");
        }
    }

    #[test]
    fn the_default_port_and_the_case_make_no_difference() {
        for (one, other, port, same) in [
            ("h", "H", 80, true),
            ("h:80", "h", 80, true),
            ("h", "h:80", 80, true),
            ("h:", "h:080", 80, true),
            ("h:443", "h", 443, true),
            ("h:80", "h", 443, false),
            ("h:81", "h", 80, false),
            ("[::1]:80", "[::1]", 80, true),
            ("[::1]", "[::2]", 80, false),
            ("a", "b", 80, false),
        ] {
            assert_eq!(is_equivalent(one.as_bytes(), other.as_bytes(), port), same, "{one} {other}");
        }
    }

    #[test]
    fn brackets_come_off_in_pairs() {
        for (host, bare) in
            [("[::1]", "::1"), ("::1", "::1"), ("a.b", "a.b"), ("[::1", "[::1"), ("::1]", "::1]")]
        {
            assert_eq!(without_brackets(host), bare);
        }
    }

    #[test]
    fn what_is_none() {
        for bad in [
            "",
            ":",
            ":80",
            "a:b",
            "a:+1",
            "a:-1",
            "a:65536",
            "a:1:2",
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "a,b",
            "u@a",
            "u:p@a",
            "a\\b",
            "a\"",
            "<a>",
            "a|b",
            "\u{e9}",
            "%",
            "%4",
            "%zz",
            "::1",
            "[",
            "[]",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "[::1]80",
            "[a]",
            "[1.2.3.4]",
            "[fe80::1%25eth0]",
            "[v1.a]",
            "[[::1]]",
            "]",
            "a[::1]",
        ] {
            assert!(!is_valid(bad.as_bytes()), "{bad}");
        }
    }
}
