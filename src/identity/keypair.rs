//! The certificate and its private key, found in one file.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rsa::PrivateKey;
use rsa::pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPublicKey as _, RsaPrivateKeyRef, Version};
use rsa::pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};
use x509_cert::der::Decode as _;

use super::certificate::{Certificate, ParsedCertificate};
use super::certificate_error::{CertificateError, MAX_KEY_BITS, MIN_KEY_BITS};
#[cfg(test)]
use super::file;
use super::pem::{self, Der, Key};
use crate::report::Problem;

/// What the file is called in messages.
pub(super) const FILE_KIND: &str = "certificate file";
/// A key with a chain of four certificates is 10 KB.
pub(super) const MAX_FILE_BYTES: u64 = 1024 * 1024;
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

/// [`from_pem`] of a file.
#[cfg(test)]
pub(crate) fn load(path: &Path, now_unix: u64) -> Result<(KeyPair, Vec<Problem>), Problem> {
    from_pem(&file::read(FILE_KIND, path, MAX_FILE_BYTES)?, path, now_unix)
}

/// Parses a PEM file that holds one RSA private key and its certificate, in any order, with or without the rest of the
/// chain. `now` is the Unix time at which the certificate must be valid, `path` is for the messages. The second part of the
/// result is what deserves a warning although the file can be used.
///
/// # Errors
///
/// Why the file cannot be used, with a remedy.
pub fn from_pem(bytes: &[u8], path: &Path, now: u64) -> Result<(KeyPair, Vec<Problem>), Problem> {
    match parse(bytes, now) {
        Ok((pair, notes)) => Ok((pair, notes.into_iter().map(|note| note.into_problem(path)).collect())),
        Err(error) => Err(error.into_problem(path)),
    }
}

fn parse(bytes: &[u8], now: u64) -> Result<(KeyPair, Vec<CertificateError>), CertificateError> {
    let contents = pem::contents(bytes)?;
    let (key, key_bits) = private_key(&contents.key)?;
    let public = key
        .as_public_key()
        .to_pkcs1_der()
        .map_err(|_| CertificateError::BadKey { line: contents.key.line() })?;

    let mut notes = Vec::new();
    let mut parsed = Vec::new();
    for Der { line, bytes } in contents.certificates {
        match ParsedCertificate::from_der(bytes) {
            Some(certificate) => parsed.push(certificate),
            None => notes.push(CertificateError::BadCertificate { line }),
        }
    }
    let (ours, mut others): (Vec<_>, Vec<_>) =
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
    others.dedup_by(|one, before| one.der() == before.der());
    let chain = others.into_iter().map(|other| other.der().to_vec());
    let certificate = Arc::new(leaf.into_leaf(key_bits, chain));
    Ok((KeyPair { certificate, key }, notes))
}

/// The RSA key and its size, which is checked first: validating an absurdly large key takes minutes.
fn private_key(key: &Key) -> Result<(PrivateKey, usize), CertificateError> {
    let bad_key = || CertificateError::BadKey { line: key.line() };
    let pkcs1 = match key {
        Key::Pkcs1 { der, .. } => der.as_slice(),
        Key::Pkcs8 { der, .. } => {
            let info = PrivateKeyInfoRef::from_der(der).map_err(|_| bad_key())?;
            if info.algorithm.oid != rsa::pkcs1::ALGORITHM_OID {
                return Err(CertificateError::NotRsa { kind: kind(info.algorithm.oid) });
            }
            info.private_key.as_bytes()
        }
    };
    let parts = RsaPrivateKeyRef::from_der(pkcs1).map_err(|_| bad_key())?;
    if parts.version() == Version::Multi {
        return Err(CertificateError::MultiPrime { line: key.line() });
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
