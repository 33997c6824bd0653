//! From the bytes of a certificate file, in whatever form people have it, to one private key and the certificates.
//!
//! ```text
//! PFX, or its base64 text ──> pfx ──┐
//! PEM ──────────────────────> pem ──┴──> Contents      what is encrypted: decrypt
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::certificate_error::{CertificateError, DetectedFormat, LockedForm, Obstacle, PresentInstead};
use super::decrypt::Fault;
use super::{pem, pfx};

/// `-----BEGI` in base64.
const BASE64_OF_BEGIN: &[u8] = b"LS0tLS1CRUdJ";
/// The object identifier of PKCS#7's signed data (RFC 2315 section 14) in DER.
const SIGNED_DATA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";

/// What a certificate file holds.
pub(super) struct Contents {
    pub(super) key: Key,
    /// In file order, at least one.
    pub(super) certificates: Vec<Der>,
}

/// A private key, of whatever kind, not encrypted.
pub(super) struct Key {
    /// The line on which its block begins, in a PEM file.
    pub(super) line: Option<usize>,
    pub(super) encoding: Encoding,
    pub(super) der: Zeroizing<Vec<u8>>,
}

/// The two encodings in which an RSA key comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// `RSA PRIVATE KEY` (RFC 8017 appendix A.1.2).
    Pkcs1,
    /// `PRIVATE KEY` (RFC 5958), of whatever kind.
    Pkcs8,
}

/// A certificate's bytes and the line on which its block begins, in a PEM file.
pub(super) struct Der {
    pub(super) line: Option<usize>,
    pub(super) bytes: Vec<u8>,
}

/// Finds exactly one private key and at least one certificate.
pub(super) fn read(file: &[u8], password: Option<&str>) -> Result<Contents, CertificateError> {
    match detect(file) {
        DetectedFormat::Pfx => read_pfx(file, password, LockedForm::Pfx),
        DetectedFormat::Base64OfDer => {
            match decoded(file).filter(|der| matches!(detect(der), DetectedFormat::Pfx)) {
                Some(der) => read_pfx(&der, password, LockedForm::PfxInBase64),
                None => read_pem(file, password),
            }
        }
        _ => read_pem(file, password),
    }
}

fn read_pem(file: &[u8], password: Option<&str>) -> Result<Contents, CertificateError> {
    let blocks = pem::blocks(file)?;
    Ok(Contents { key: blocks.key(password)?, certificates: blocks.certificates()? })
}

fn read_pfx(file: &[u8], password: Option<&str>, form: LockedForm) -> Result<Contents, CertificateError> {
    let bags = pfx::open(file, password, &mut 0)
        .map_err(|fault| CertificateError::locked(form, fault, password.is_some()))?;
    let mut keys = bags.keys.into_iter();
    let der = keys.next().ok_or(CertificateError::NoKey(PresentInstead::Pfx))?;
    // Some programs write a key once for each certificate that it has.
    if keys.any(|other| other != der) {
        return Err(CertificateError::TwoKeys { lines: None });
    }
    if bags.certificates.is_empty() {
        return Err(CertificateError::NoCertificate(PresentInstead::Pfx));
    }
    let certificates = bags.certificates.into_iter().map(|bytes| Der { line: None, bytes }).collect();
    Ok(Contents { key: Key { line: None, encoding: Encoding::Pkcs8, der }, certificates })
}

impl CertificateError {
    /// What a fault of decryption means for a person.
    pub(super) fn locked(form: LockedForm, fault: Fault, password_is_set: bool) -> Self {
        let obstacle = match fault {
            Fault::Wrong if password_is_set => Obstacle::WrongPassword,
            Fault::Wrong => Obstacle::NoPassword,
            Fault::Unsupported(name) => Obstacle::Unsupported(name),
            Fault::OtherKind(clause) => Obstacle::Unusable(clause.to_owned()),
            Fault::TooCostly(clause) => Obstacle::Unusable(clause),
        };
        Self::Locked { form, obstacle }
    }
}

/// The bytes that a text of base64 stands for, line breaks and quotes apart.
fn decoded(file: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // Capacity for all of it: growing would leave copies that are not wiped.
    let mut text = Zeroizing::new(Vec::with_capacity(file.len()));
    text.extend(base64_text(file).iter().filter(|byte| !byte.is_ascii_whitespace()));
    STANDARD.decode(&*text).ok().map(Zeroizing::new)
}

/// Without a BOM and without the quotes of a JSON or shell string.
fn base64_text(file: &[u8]) -> &[u8] {
    let text = trim(file);
    match text {
        [quote @ (b'"' | b'\''), inner @ ..] => inner.strip_suffix(&[*quote]).unwrap_or(text),
        _ => text,
    }
}

pub(super) fn trim(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii_start();
    line.strip_prefix(UTF8_BOM).unwrap_or(line).trim_ascii()
}

/// The format of a file, PEM apart.
pub(super) fn detect(file: &[u8]) -> DetectedFormat {
    let text = trim(file);
    match file {
        _ if text.is_empty() => return DetectedFormat::Empty,
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return DetectedFormat::Utf16("UTF-16"),
        [b'-', 0, b'-', 0, ..] => return DetectedFormat::Utf16("UTF-16LE"),
        [0, b'-', 0, b'-', ..] => return DetectedFormat::Utf16("UTF-16BE"),
        [0xfe, 0xed, 0xfe, 0xed, ..] => return DetectedFormat::JavaKeyStore,
        // A DER sequence: X.690 section 8.1.3 says how long its length is; the kind shows in the first element.
        [0x30, length, rest @ ..] => {
            let skip = if length & 0x80 == 0 { 0 } else { usize::from(length & 0x7f) };
            return match rest.get(skip..) {
                Some([0x02, 0x01, 0x03, ..]) => DetectedFormat::Pfx,
                Some(rest) if rest.starts_with(SIGNED_DATA) => DetectedFormat::Pkcs7,
                Some([0x02, 0x01, 0x00, ..]) => DetectedFormat::DerKey,
                _ => DetectedFormat::DerCertificate,
            };
        }
        _ => {}
    }
    // The base64 of `-----BEGIN`, and of a sequence with a length of two or three octets or, in BER, without one.
    if text.starts_with(BASE64_OF_BEGIN) {
        DetectedFormat::Base64OfPem
    } else if text.windows(BASE64_OF_BEGIN.len()).any(|window| window == BASE64_OF_BEGIN) {
        DetectedFormat::KubernetesSecret
    } else if [&b"MII"[..], b"MIM", b"MIA"].iter().any(|start| base64_text(file).starts_with(start)) {
        DetectedFormat::Base64OfDer
    } else {
        DetectedFormat::Unknown
    }
}

#[cfg(test)]
mod tests;
