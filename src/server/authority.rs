//! Who a request says that it is for: `uri-host [ ":" port ]` (RFC 9112 section 3.2, RFC 3986 section 3.2).

use std::net::Ipv6Addr;

/// Characters of a registered name (RFC 3986 section 3.2.2), percent escapes apart. The comma is left out: it is how
/// two fields become one, and in no name.
const IN_NAME: &[u8] = b"-._~!$&'()*+;=";

/// Whether this is a host with or without a port. An empty host is none: no URI of http is without one (RFC 9110
/// section 4.2.1). Neither are user information, a zone or an address of a future IP.
pub(super) fn is_valid(authority: &[u8]) -> bool {
    let (host, port) = match authority.strip_prefix(b"[") {
        Some(bracketed) => {
            let Some(end) = bracketed.iter().position(|b| *b == b']') else { return false };
            let address = str::from_utf8(&bracketed[..end]).ok();
            let is_ip = address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
            (is_ip, &bracketed[end + 1..])
        }
        None => {
            let end = authority.iter().position(|b| *b == b':').unwrap_or(authority.len());
            (is_name(&authority[..end]), &authority[end..])
        }
    };
    host && is_port(port)
}

/// A registered name or an IPv4 address, which looks like one.
fn is_name(name: &[u8]) -> bool {
    let mut rest = name;
    while let Some((byte, behind)) = rest.split_first() {
        rest = match (byte, behind) {
            (b'%', [high, low, behind @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => behind,
            (byte, behind) if byte.is_ascii_alphanumeric() || IN_NAME.contains(byte) => behind,
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
