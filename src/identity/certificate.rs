//! A certificate's public data: subject, validity, and the thumbprints by which Entra ID knows it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::certificate::{CertificateInner, Profile};
use x509_cert::der::asn1::{Any, ObjectIdentifier};
use x509_cert::der::{self, Decode as _, Tag, Tagged as _};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;

use super::ber::{self, OCTET_STRING, SEQUENCE};

/// Real chains have two to four certificates.
const MAX_CHAIN: usize = 10;

/// A certificate with the rest of its chain. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The subject's distinguished name (RFC 4514).
    pub subject: String,
    /// The issuer's distinguished name (RFC 4514).
    pub issuer: String,
    /// Valid from, in seconds since the Unix epoch (RFC 5280 section 4.1.2.5).
    pub not_before_unix: u64,
    /// Valid until, in seconds since the Unix epoch (RFC 5280 section 4.1.2.5).
    pub not_after_unix: u64,
    /// SHA-1 of the DER bytes: the thumbprint that the portal shows.
    pub sha1: [u8; 20],
    /// SHA-256 of the DER bytes.
    pub sha256: [u8; 32],
    /// The size of the RSA key.
    pub key_bits: usize,
    /// The DER bytes: this certificate, then each the issuer of the one before, as far as the file has them.
    pub chain: Vec<Vec<u8>>,
}

impl Certificate {
    /// The SHA-1 thumbprint as the Entra portal shows it: hexadecimal, upper case.
    pub fn sha1_hex(&self) -> String {
        hex(&self.sha1)
    }

    /// The SHA-256 thumbprint: hexadecimal, upper case.
    pub fn sha256_hex(&self) -> String {
        hex(&self.sha256)
    }

    /// `x5t` (RFC 7515 section 4.1.7): the SHA-1 thumbprint, base64url without padding.
    pub fn x5t(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.sha1)
    }

    /// `x5t#S256` (RFC 7515 section 4.1.8): the SHA-256 thumbprint, base64url without padding.
    pub fn x5t_s256(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.sha256)
    }

    /// The seconds that are left at `now_unix`; zero once it has expired.
    pub fn seconds_left(&self, now_unix: u64) -> u64 {
        self.not_after_unix.saturating_sub(now_unix)
    }
}

/// RFC 5280 section 4.1.2.2: "CAs MUST NOT use serialNumber values longer than 20 octets". Some private ones do, and Entra
/// ID does not check it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct AnySerialNumber;

impl Profile for AnySerialNumber {
    fn check_serial_number(_: &SerialNumber<Self>) -> der::Result<()> {
        Ok(())
    }
}

/// One certificate of the file, parsed as far as it takes to choose among them.
pub(super) struct ParsedCertificate {
    inner: CertificateInner<AnySerialNumber>,
    der: Vec<u8>,
}

impl ParsedCertificate {
    /// None when the bytes are not one X.509 certificate.
    pub(super) fn from_der(der: Vec<u8>) -> Option<Self> {
        let inner = CertificateInner::from_der(&der).ok()?;
        Some(Self { inner, der })
    }

    /// The public key's bits: for RSA, an `RSAPublicKey` in DER (RFC 8017 appendix A.1.1), which has one encoding
    /// per key and so can be compared as bytes.
    pub(super) fn public_key(&self) -> &[u8] {
        self.inner.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes()
    }

    pub(super) fn subject(&self) -> String {
        name(self.inner.tbs_certificate().subject())
    }

    pub(super) fn not_before(&self) -> u64 {
        self.inner.tbs_certificate().validity().not_before.to_unix_duration().as_secs()
    }

    pub(super) fn not_after(&self) -> u64 {
        self.inner.tbs_certificate().validity().not_after.to_unix_duration().as_secs()
    }

    pub(super) fn is_valid_at(&self, unix: u64) -> bool {
        (self.not_before()..=self.not_after()).contains(&unix)
    }

    /// Whether this one is the issuer of the other: by name, and by key identifier where both have one (RFC 5280 sections
    /// 4.1.2.4 and 4.2.1.1). Entra ID verifies the signature.
    fn certifies(&self, other: &Self) -> bool {
        self.inner.tbs_certificate().subject() == other.inner.tbs_certificate().issuer()
            && match (self.key_id(), other.issuers_key_id()) {
                (Some(ours), Some(wanted)) => ours == wanted,
                _ => true,
            }
    }

    /// `SubjectKeyIdentifier`.
    fn key_id(&self) -> Option<&[u8]> {
        Some(ber::only(self.extension("2.5.29.14")?, OCTET_STRING)?.content)
    }

    /// `keyIdentifier` of `AuthorityKeyIdentifier`, the first element if it is there.
    fn issuers_key_id(&self) -> Option<&[u8]> {
        const KEY_IDENTIFIER: u8 = 0x80;
        let identifier = ber::only(self.extension("2.5.29.35")?, SEQUENCE)?;
        Some(identifier.inner().take(KEY_IDENTIFIER)?.content)
    }

    fn extension(&self, oid: &str) -> Option<&[u8]> {
        let oid = ObjectIdentifier::new(oid).ok()?;
        let extension = self.inner.tbs_certificate().extensions()?.iter().find(|it| it.extn_id == oid)?;
        Some(extension.extn_value.as_bytes())
    }

    /// Makes it the leaf of a chain, with its issuers in order (RFC 7515 section 4.1.6: "each subsequent certificate being
    /// the one used to certify the previous one"). What of the others does not belong to it is dropped.
    pub(super) fn into_leaf(self, key_bits: usize, mut others: Vec<Self>, now: u64) -> Certificate {
        let mut chain = vec![self];
        while let Some(last) = chain.last()
            && chain.len() < MAX_CHAIN
            // The root is its own issuer.
            && !last.certifies(last)
        {
            // Of an issuer that was renewed for the same key, the one that is valid and lasts.
            let issuers = others.iter().enumerate().filter(|(_, other)| other.certifies(last));
            let Some((at, _)) = issuers.max_by_key(|(_, one)| (one.is_valid_at(now), one.not_after())) else {
                break;
            };
            // Taken out of the others, so that a circle ends.
            chain.push(others.swap_remove(at));
        }
        let mut chain = chain.into_iter();
        chain.next().expect("it begins with this one").describe(key_bits, chain.map(|issuer| issuer.der))
    }

    fn describe(self, key_bits: usize, others: impl Iterator<Item = Vec<u8>>) -> Certificate {
        Certificate {
            subject: self.subject(),
            issuer: name(self.inner.tbs_certificate().issuer()),
            not_before_unix: self.not_before(),
            not_after_unix: self.not_after(),
            sha1: Sha1::digest(&self.der).into(),
            sha256: Sha256::digest(&self.der).into(),
            key_bits,
            chain: std::iter::once(self.der).chain(others).collect(),
        }
    }
}

/// RFC 4514: the last part first.
fn name(name: &Name) -> String {
    let mut parts: Vec<String> =
        name.iter_rdn().map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+")).collect();
    parts.reverse();
    if parts.is_empty() { "(no subject)".to_owned() } else { parts.join(",") }
}

/// As x509-cert writes it, which shows the older kinds of text as hexadecimal digits.
fn attribute(attribute: &AttributeTypeAndValue) -> String {
    let value = old_text(&attribute.value).and_then(|text| Any::new(Tag::Utf8String, text.into_bytes()).ok());
    match value {
        Some(value) => AttributeTypeAndValue { oid: attribute.oid, value }.to_string(),
        None => attribute.to_string(),
    }
}

/// The text of a value that is neither UTF-8 nor ASCII by its kind (X.680).
fn old_text(value: &Any) -> Option<String> {
    let bytes = value.value();
    match value.tag() {
        // Two octets for each character, the high one first.
        Tag::BmpString if bytes.len().is_multiple_of(2) => {
            let units = bytes.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
            String::from_utf16(&units.collect::<Vec<_>>()).ok()
        }
        // By the letter T.61; everybody who wrote one meant Latin-1, as OpenSSL does.
        Tag::TeletexString | Tag::NumericString | Tag::VisibleString => {
            Some(bytes.iter().copied().map(char::from).collect())
        }
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of an older edition of Microsoft's page on certificate credentials.
    #[test]
    fn the_documented_thumbprint_comes_out() {
        let mut sha1 = [0; 20];
        for (byte, pair) in
            sha1.iter_mut().zip("84E05C1D98BCE3A5421D225B140B36E86A3D5534".as_bytes().chunks(2))
        {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        }
        let certificate = Certificate {
            subject: String::new(),
            issuer: String::new(),
            not_before_unix: 0,
            not_after_unix: 100,
            sha1,
            sha256: [0xff; 32],
            key_bits: 2048,
            chain: Vec::new(),
        };
        assert_eq!(certificate.x5t(), "hOBcHZi846VCHSJbFAs26Go9VTQ");
        assert_eq!(certificate.sha1_hex(), "84E05C1D98BCE3A5421D225B140B36E86A3D5534");
        assert_eq!(certificate.sha256_hex(), "FF".repeat(32));
        assert_eq!(certificate.x5t_s256(), "_".repeat(42) + "8");
        assert_eq!((certificate.seconds_left(40), certificate.seconds_left(101)), (60, 0));
    }
}
