//! The certificate and its private key, found in one file or two.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rsa::PrivateKey;
use rsa::pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPublicKey as _, RsaPrivateKeyRef, Version};
use rsa::pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};
use x509_cert::der::Decode as _;

use super::certificate::{Certificate, ParsedCertificate};
use super::certificate_error::{CertificateError, MAX_KEY_BITS, MIN_KEY_BITS};
use super::contents::{self, Der, Encoding, Key};
use super::pem;
use crate::report::Problem;

/// How far this machine's clock may be slow against the issuer's.
const MAX_SKEW_SECONDS: u64 = 5 * 60;

/// A certificate and its private key. The key cannot be copied or printed, and is wiped when dropped.
pub struct KeyPair {
    /// The public half.
    pub certificate: Arc<Certificate>,
    pub(super) key: PrivateKey,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({}, key hidden)", self.certificate.sha1_hex())
    }
}

/// Parses a file in any of the forms that people have: PEM with one RSA private key and its certificate, in any order, with
/// or without the rest of the chain, a PFX, or the base64 text of one. `now` is the Unix time at which the certificate must
/// be valid, `path` is for the messages. The second part of the result is what deserves a warning although the file can be
/// used.
///
/// # Errors
///
/// Why the file cannot be used, with a remedy.
pub fn from_file(bytes: &[u8], path: &Path, password: Option<&str>, now: u64) -> Loaded {
    let parsed = contents::read(bytes, password).and_then(|contents| {
        let key = private_key(&contents.key)?;
        pair(key, None, contents.certificates, now)
    });
    in_words(parsed, path)
}

/// Parses two PEM files: the certificates of one, the key of the other.
pub(super) fn from_two_files(
    (certificates, certificates_path): (&[u8], &Path),
    (key, key_path): (&[u8], &Path),
    password: Option<&str>,
    now: u64,
) -> Loaded {
    let certificates = pem::blocks(certificates).and_then(|blocks| blocks.certificates());
    let certificates = certificates.map_err(|error| error.into_problem(certificates_path))?;
    let key = pem::blocks(key).and_then(|blocks| private_key(&blocks.key(password)?));
    let key = key.map_err(|error| error.into_problem(key_path))?;
    in_words(pair(key, Some(key_path), certificates, now), certificates_path)
}

/// The pair and what deserves a warning, or why there is none.
pub(super) type Loaded = Result<(KeyPair, Vec<Problem>), Problem>;

fn in_words(parsed: Result<(KeyPair, Vec<CertificateError>), CertificateError>, path: &Path) -> Loaded {
    match parsed {
        Ok((pair, notes)) => Ok((pair, notes.into_iter().map(|note| note.into_problem(path)).collect())),
        Err(error) => Err(error.into_problem(path)),
    }
}

/// Finds the key's certificate among all, by the public key.
fn pair(
    (key, key_bits): (PrivateKey, usize),
    key_path: Option<&Path>,
    certificates: Vec<Der>,
    now: u64,
) -> Result<(KeyPair, Vec<CertificateError>), CertificateError> {
    let public = key.as_public_key().to_pkcs1_der().map_err(|_| CertificateError::BadKey { line: None })?;

    let mut notes = Vec::new();
    let mut parsed = Vec::new();
    for Der { line, bytes } in certificates {
        match ParsedCertificate::from_der(bytes) {
            Some(certificate) => parsed.push(certificate),
            None => notes.push(CertificateError::BadCertificate { line }),
        }
    }
    let (ours, others): (Vec<_>, Vec<_>) =
        parsed.into_iter().partition(|certificate| certificate.public_key() == public.as_bytes());
    // Renewed for the same key, the file may hold old and new: prefer one that is valid, and of those the one that expires
    // last. The others are no part of the chain.
    let rank = |one: &ParsedCertificate| {
        (one.is_valid_at(now), one.is_valid_at(now + MAX_SKEW_SECONDS), one.not_after())
    };
    let Some(leaf) = ours.into_iter().max_by_key(rank) else {
        // Without a match, a certificate that cannot be read is the better explanation.
        return Err(notes.pop().unwrap_or_else(|| CertificateError::Mismatch {
            subjects: others.iter().map(ParsedCertificate::subject).collect(),
            key_file: key_path.map(Path::to_owned),
        }));
    };
    if leaf.not_after() < now {
        return Err(CertificateError::Expired { subject: leaf.subject(), not_after: leaf.not_after(), now });
    }
    if leaf.not_before() > now {
        let error =
            CertificateError::NotYetValid { subject: leaf.subject(), not_before: leaf.not_before(), now };
        if leaf.not_before() > now + MAX_SKEW_SECONDS {
            return Err(error);
        }
        notes.push(error);
    }
    let certificate = Arc::new(leaf.into_leaf(key_bits, others, now));
    Ok((KeyPair { certificate, key }, notes))
}

/// The RSA key and its size, which is checked first: validating an absurdly large key takes minutes.
fn private_key(key: &Key) -> Result<(PrivateKey, usize), CertificateError> {
    let bad_key = || CertificateError::BadKey { line: key.line };
    let pkcs1 = match key.encoding {
        Encoding::Pkcs1 => key.der.as_slice(),
        Encoding::Pkcs8 => {
            let info = PrivateKeyInfoRef::from_der(&key.der).map_err(|_| bad_key())?;
            if info.algorithm.oid != rsa::pkcs1::ALGORITHM_OID {
                return Err(CertificateError::NotRsa { kind: kind(info.algorithm.oid) });
            }
            info.private_key.as_bytes()
        }
    };
    let parts = RsaPrivateKeyRef::from_der(pkcs1).map_err(|_| bad_key())?;
    if parts.version() == Version::Multi {
        return Err(CertificateError::MultiPrime { line: key.line });
    }
    let bits = bits(parts.modulus.as_bytes());
    match bits {
        ..MIN_KEY_BITS => Err(CertificateError::Weak { bits }),
        MIN_KEY_BITS..=MAX_KEY_BITS => Ok((PrivateKey::from_pkcs1_der(pkcs1).map_err(|_| bad_key())?, bits)),
        _ => Err(CertificateError::TooLarge { bits }),
    }
}

/// How many bits a number has that is written without leading zero bytes, as DER does.
fn bits(number: &[u8]) -> usize {
    let unused = number.first().map_or(0, |first| first.leading_zeros() as usize);
    number.len() * 8 - unused
}

/// The kind of key that an algorithm identifier means (RFC 5480, RFC 8410, RFC 8017, RFC 3279).
fn kind(algorithm: ObjectIdentifier) -> String {
    match algorithm.to_string().as_str() {
        "1.2.840.10045.2.1" => "EC".to_owned(),
        "1.2.840.10040.4.1" => "DSA".to_owned(),
        "1.2.840.113549.1.1.10" => "RSASSA-PSS".to_owned(),
        "1.3.101.112" => "Ed25519".to_owned(),
        "1.3.101.113" => "Ed448".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests;
