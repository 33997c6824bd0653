//! Certificate files: any bytes are loaded or refused with a remedy, and no message shows what could be a key.

use std::path::Path;

use auth_proxy::testing::{KeyPair, Problem, from_file};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// 2027-01-15: the certificates of tests/data/make.sh are valid.
const NOW: u64 = 1_800_000_000;
/// As much of a line of base64 as would be a leak.
const WINDOW: usize = 12;

/// `data` is a file; or, when it begins with a zero byte, blocks in DER form, so that what is within the base64 can
/// be changed byte by byte.
pub fn check(data: &[u8]) {
    let written;
    let file = if data.first() == Some(&0) {
        written = write(data);
        &written[..]
    } else {
        data
    };
    match from_file(file, Path::new("file.pem"), Some("secret"), NOW) {
        Ok((pair, notes)) => {
            check_pair(&pair);
            notes.iter().for_each(|note| check_problem(note, file));
        }
        Err(problem) => check_problem(&problem, file),
    }
}

/// `\0KEY`, `\0RSA` or `\0CRT`, then DER, and again.
fn write(data: &[u8]) -> Vec<u8> {
    let mut file = String::new();
    let mut rest = data;
    while !rest.is_empty() {
        let label = match rest.get(..4) {
            Some(b"\0KEY") => "PRIVATE KEY",
            Some(b"\0RSA") => "RSA PRIVATE KEY",
            _ => "CERTIFICATE",
        };
        let der = rest.get(4..).unwrap_or_default();
        let is_mark = |four: &[u8]| [b"\0KEY", b"\0RSA", b"\0CRT"].iter().any(|mark| four == *mark);
        let (der, after) = der.split_at(der.windows(4).position(is_mark).unwrap_or(der.len()));
        rest = after;
        file += &format!("-----BEGIN {label}-----\n");
        for line in STANDARD.encode(der).as_bytes().chunks(64) {
            file += std::str::from_utf8(line).expect("base64 is ASCII");
            file.push('\n');
        }
        file += &format!("-----END {label}-----\n");
    }
    file.into_bytes()
}

fn check_pair(pair: &KeyPair) {
    let certificate = &pair.certificate;
    assert!((2048..=8192).contains(&certificate.key_bits), "{} bits", certificate.key_bits);
    assert!(
        !certificate.chain.is_empty() && !certificate.subject.is_empty() && !certificate.issuer.is_empty()
    );
    assert!(certificate.not_after_unix >= NOW && certificate.not_before_unix <= NOW + 300);
    assert_eq!(certificate.sha1_hex().len(), 40);
    assert!(format!("{pair:?}").ends_with("key hidden)"));
}

fn check_problem(problem: &Problem, file: &[u8]) {
    assert!(problem.message.starts_with("certificate file file.pem "), "{problem}");
    assert!(!problem.hints.is_empty(), "no remedy: {problem}");
    let text = problem.to_string();
    for window in text.as_bytes().windows(WINDOW).filter(|window| looks_secret(window)) {
        let is_shown = file.windows(WINDOW).any(|piece| piece == window);
        assert!(!is_shown, "shows {}: {text}", String::from_utf8_lossy(window));
    }
}

/// Base64 as it comes from random bytes; no words of ours look so.
fn looks_secret(window: &[u8]) -> bool {
    let has = |class: fn(&u8) -> bool| window.iter().any(class);
    window.iter().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(b))
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_digit)
}
