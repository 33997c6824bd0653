//! Reads PFX (PKCS#12, RFC 7292): private keys and certificates in one file, mostly encrypted with a password.
//!
//! ```text
//! PFX { AuthenticatedSafe { ContentInfo ... }, MAC }      ContentInfo: SafeContents as they are, or encrypted
//! SafeContents { bag ... }                                bag: a key, an encrypted key, a certificate, or SafeContents
//! ```
//!
//! docs/decisions/0002-own-pfx-reader.md says why this is our own.

use zeroize::Zeroizing;

use super::ber::{self, CONTEXT_0, Element, Elements, INTEGER, MAX_DEPTH, OID, SEQUENCE};
use super::decrypt::{self, Fault, Password};

/// PKCS#7's data and encryptedData (RFC 2315 section 14).
const DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
const ENCRYPTED_DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x06";
/// Of all its kinds, the last number apart.
const PKCS7: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07";
/// The kinds of bags (RFC 7292 appendix D), the last number apart.
const BAG: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01";
const X509_CERTIFICATE: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x16\x01";

/// What a PFX holds, in its order, which means nothing.
#[derive(Default)]
pub(super) struct Bags {
    /// `PrivateKeyInfo` in DER (RFC 5958).
    pub(super) keys: Vec<Zeroizing<Vec<u8>>>,
    pub(super) certificates: Vec<Vec<u8>>,
}

/// Opens a PFX. Without a password, or when the given one does not open it, the two forms of an empty one are tried: no
/// octets at all, which Azure Key Vault writes, and the two zero octets that RFC 7292 asks for. Key Vault drops the password
/// of a file that was imported, so that one may be set and not needed. `work` is what was done already, in iterations.
pub(super) fn open(file: &[u8], password: Option<&str>, work: &mut u64) -> Result<Bags, Fault> {
    let given = password.map(Password::new);
    for mut password in given.into_iter().chain([Password::null(), Password::new("")]) {
        password.work = *work;
        let opened = open_with(file, &mut password);
        *work = password.work;
        match opened {
            Err(Fault::Wrong) => {}
            result => return result,
        }
    }
    Err(Fault::Wrong)
}

fn open_with(file: &[u8], password: &mut Password) -> Result<Bags, Fault> {
    let mut parts = ber::only(file, SEQUENCE).ok_or(Fault::Wrong)?.inner();
    parts.take(INTEGER).ok_or(Fault::Wrong)?;
    let (kind, content) = content_info(parts.next())?;
    if kind != DATA {
        return Err(other_kind(kind));
    }
    let safe = content.octets().ok_or(Fault::Wrong)?;
    if !parts.is_empty() {
        decrypt::verify_mac(parts.take(SEQUENCE).ok_or(Fault::Wrong)?, &safe, password)?;
    }
    let mut bags = Bags::default();
    let mut infos = ber::only(&safe, SEQUENCE).ok_or(Fault::Wrong)?.inner();
    while !infos.is_empty() {
        let (kind, content) = content_info(infos.next())?;
        let contents = match kind {
            DATA => content.octets().ok_or(Fault::Wrong)?,
            ENCRYPTED_DATA => encrypted_data(content, password)?,
            other => return Err(other_kind(other)),
        };
        bags.read(ber::only(&contents, SEQUENCE).ok_or(Fault::Wrong)?.inner(), password, MAX_DEPTH)?;
    }
    Ok(bags)
}

/// Content that no password opens, by the last number of its kind (RFC 2315 section 14).
fn other_kind(kind: &[u8]) -> Fault {
    let clause = match kind.strip_prefix(PKCS7) {
        Some([2]) => "is signed with a key instead of protected by a password, which is not supported",
        Some([3 | 4]) => return Fault::Unsupported("a public key".to_owned()),
        _ => "has content of a kind that is not supported",
    };
    Fault::OtherKind(clause)
}

/// `ContentInfo`: its kind and its content (RFC 2315 section 7).
fn content_info(element: Option<Element<'_>>) -> Result<(&[u8], Element<'_>), Fault> {
    let mut parts = element.filter(|element| element.tag == SEQUENCE).ok_or(Fault::Wrong)?.inner();
    let kind = parts.take(OID).ok_or(Fault::Wrong)?;
    let content = parts.take(CONTEXT_0).and_then(|content| content.inner().next()).ok_or(Fault::Wrong)?;
    Ok((kind.content, content))
}

/// `EncryptedData` with `EncryptedContentInfo` (RFC 2315 sections 13 and 10.1).
fn encrypted_data(data: Element<'_>, password: &mut Password) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let mut parts = data.inner();
    parts.take(INTEGER).ok_or(Fault::Wrong)?;
    let mut info = parts.take(SEQUENCE).ok_or(Fault::Wrong)?.inner();
    info.take(OID).ok_or(Fault::Wrong)?;
    let algorithm = info.take(SEQUENCE).ok_or(Fault::Wrong)?;
    let octets = info.next().and_then(Element::octets).ok_or(Fault::Wrong)?;
    decrypt::sequence(decrypt::decrypt(algorithm, &octets, password)?)
}

impl Bags {
    fn read(&mut self, mut bags: Elements<'_>, password: &mut Password, depth: usize) -> Result<(), Fault> {
        while !bags.is_empty() {
            let (kind, value) = content_info(bags.next())?;
            match kind.strip_prefix(BAG) {
                Some([1]) => self.keys.push(whole(SEQUENCE, value)),
                Some([2]) => self.keys.push(decrypt::pkcs8(value, password)?),
                Some([3]) => {
                    let mut parts = value.inner();
                    let kind = parts.take(OID).ok_or(Fault::Wrong)?;
                    let wrapped = parts.take(CONTEXT_0).ok_or(Fault::Wrong)?;
                    let certificate = wrapped.inner().next().and_then(Element::octets).ok_or(Fault::Wrong)?;
                    if kind.content == X509_CERTIFICATE {
                        self.certificates.push(certificate.to_vec());
                    }
                }
                Some([6]) => self.read(value.inner(), password, depth.checked_sub(1).ok_or(Fault::Wrong)?)?,
                // Revocation lists and secrets of other kinds.
                _ => {}
            }
        }
        Ok(())
    }
}

/// The element with a header again, as DER has it.
fn whole(tag: u8, element: Element<'_>) -> Zeroizing<Vec<u8>> {
    let length = element.content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|digit| **digit == 0).count()..];
    let mut der = Zeroizing::new(Vec::with_capacity(element.content.len() + 10));
    der.push(tag);
    match length {
        [] => der.push(0),
        [short @ 0..0x80] => der.push(*short),
        // At most eight octets.
        long => {
            der.push(0x80 | long.len().to_le_bytes()[0]);
            der.extend_from_slice(long);
        }
    }
    der.extend_from_slice(element.content);
    der
}
