//! Decrypts what a password protects: the encrypted parts of PFX files and PEM keys.
//!
//! ```text
//! PBES2   PBKDF2 (HMAC with SHA-1 or SHA-2) or scrypt; AES or 3DES      RFC 8018, RFC 7914
//! PBES1   the key derivation of PKCS#12, SHA-1; 3DES or RC2             RFC 7292 appendices B and C
//! DEK-Info   one round of MD5; AES or 3DES                              RFC 1421 section 4.6.1.3, as OpenSSL wrote it
//! ```
//!
//! A wrong password and a damaged file look alike and are one fault. Keys and plaintext are wiped.

use aes::cipher::{Block, BlockCipherDecrypt, KeyInit as _};
use aes::{Aes128, Aes192, Aes256};
use des::{TdesEde2, TdesEde3};
use hmac::{Hmac, Mac as _};
use md5::Md5;
use rc2::Rc2;
use rsa::pkcs8::ObjectIdentifier;
use sha1::Sha1;
use sha2::digest::{Digest, DynDigest, Output};
use sha2::{Sha224, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use super::ber::{self, Element, Elements, OCTET_STRING, OID, SEQUENCE};

/// Firefox and OpenSSL's default ask for 600,000 and 2,048; this many take a second.
const MAX_ITERATIONS: u64 = 2_000_000;
/// For all parts of a file and all passwords tried together: a MAC, certificates and key at the maximum.
const MAX_ALL_ITERATIONS: u64 = 4 * MAX_ITERATIONS;
/// What OpenSSL itself allows scrypt, counted as it counts; its default takes half.
const MAX_SCRYPT_BYTES: u64 = 32 * 1024 * 1024;
const MAX_SCRYPT_PASSES: u64 = 16;

/// Why something cannot be decrypted.
#[derive(Debug)]
pub(super) enum Fault {
    /// The password is wrong, or the bytes are damaged: which of the two cannot be known.
    Wrong,
    /// By an algorithm of this name.
    Unsupported(String),
    /// What is inside is something else, as a clause.
    OtherKind(&'static str),
    /// The key derivation asks for this, as a clause.
    TooCostly(String),
}

type Plain = Result<Zeroizing<Vec<u8>>, Fault>;

/// A password in both encodings that key derivations take, and the work done for it.
pub(super) struct Password {
    /// PBES2 and DEK-Info.
    utf8: Zeroizing<Vec<u8>>,
    /// PKCS#12: big-endian UTF-16 with two zero octets behind it (RFC 7292 appendix B.1).
    utf16: Zeroizing<Vec<u8>>,
    /// In iterations; carried over to the next password that is tried with a file.
    pub(super) work: u64,
}

impl Password {
    pub(super) fn new(text: &str) -> Self {
        // Capacity for everything: growing would leave copies that are not wiped.
        let mut utf16 = Zeroizing::new(Vec::with_capacity(2 * text.len() + 2));
        text.encode_utf16().chain([0]).for_each(|unit| utf16.extend_from_slice(&unit.to_be_bytes()));
        Self { utf8: Zeroizing::new(text.as_bytes().to_vec()), utf16, work: 0 }
    }

    /// No password, as Azure Key Vault exports: not even the zero octets.
    pub(super) fn null() -> Self {
        Self { utf8: Zeroizing::default(), utf16: Zeroizing::default(), work: 0 }
    }

    /// The iteration count of a key derivation, if that much work may still be done.
    fn iterations(&mut self, element: Option<Element<'_>>) -> Result<u32, Fault> {
        let count = element.and_then(Element::number).filter(|count| *count > 0).ok_or(Fault::Wrong)?;
        match u32::try_from(count) {
            Ok(few) if count <= MAX_ITERATIONS => self.charge(count).map(|()| few),
            _ => Err(Fault::TooCostly(format!(
                "asks for {count} iterations of its key derivation; at most {MAX_ITERATIONS} are supported"
            ))),
        }
    }

    fn charge(&mut self, work: u64) -> Result<(), Fault> {
        self.work = self.work.saturating_add(work);
        if self.work <= MAX_ALL_ITERATIONS {
            return Ok(());
        }
        Err(Fault::TooCostly(format!(
            "takes more than {MAX_ALL_ITERATIONS} iterations of key derivation, over all its parts and the passwords \
             tried, which is not supported"
        )))
    }
}

#[derive(Clone, Copy)]
enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// Runs generic code with the type that goes with a [`Hash`].
macro_rules! with_hash {
    ($hash:expr, $type:ident => $body:expr) => {
        match $hash {
            Hash::Sha1 => with_hash!(@ Sha1, $type => $body),
            Hash::Sha224 => with_hash!(@ Sha224, $type => $body),
            Hash::Sha256 => with_hash!(@ Sha256, $type => $body),
            Hash::Sha384 => with_hash!(@ Sha384, $type => $body),
            Hash::Sha512 => with_hash!(@ Sha512, $type => $body),
        }
    };
    (@ $hash:ident, $type:ident => $body:expr) => {{
        type $type = $hash;
        $body
    }};
}

/// Decrypts an `EncryptedPrivateKeyInfo` (RFC 5958 section 3) to a `PrivateKeyInfo`.
pub(super) fn pkcs8(encrypted: Element<'_>, password: &mut Password) -> Plain {
    let mut parts = encrypted.inner();
    let algorithm = parts.take(SEQUENCE).ok_or(Fault::Wrong)?;
    let data = parts.next().and_then(Element::octets).ok_or(Fault::Wrong)?;
    sequence(decrypt(algorithm, &data, password)?)
}

/// Decrypts by an algorithm that takes a password.
pub(super) fn decrypt(algorithm: Element<'_>, data: &[u8], password: &mut Password) -> Plain {
    let (oid, mut parameters) = parts(algorithm)?;
    if let Some(cipher) = Cipher::of_pkcs12(oid) {
        let mut parameters = parameters.take(SEQUENCE).ok_or(Fault::Wrong)?.inner();
        let salt = parameters.take(OCTET_STRING).ok_or(Fault::Wrong)?.content;
        let rounds = password.iterations(parameters.next())?;
        let key = pkcs12_key(Hash::Sha1, Purpose::Key, &password.utf16, salt, rounds, cipher.key_length());
        let iv = pkcs12_key(Hash::Sha1, Purpose::Iv, &password.utf16, salt, rounds, cipher.iv_length());
        return cipher.decrypt(&key, &iv, data);
    }
    if oid != oids::PBES2 {
        return Err(unsupported(oid));
    }
    let mut parameters = parameters.take(SEQUENCE).ok_or(Fault::Wrong)?.inner();
    let derivation = parameters.take(SEQUENCE).ok_or(Fault::Wrong)?;
    let (oid, mut iv) = parts(parameters.take(SEQUENCE).ok_or(Fault::Wrong)?)?;
    let cipher = Cipher::of_pbes2(oid).ok_or_else(|| unsupported(oid))?;
    let key = derived_key(derivation, cipher.key_length(), password)?;
    cipher.decrypt(&key, iv.take(OCTET_STRING).ok_or(Fault::Wrong)?.content, data)
}

/// Decrypts the body of a PEM key by its `DEK-Info` line, such as `AES-256-CBC,` and the IV in hexadecimal digits.
pub(super) fn dek_info(line: &str, data: &[u8], password: &Password) -> Plain {
    let (name, iv) = line.split_once(',').ok_or(Fault::Wrong)?;
    let cipher = match name.trim() {
        "AES-128-CBC" => Cipher::Aes128,
        "AES-192-CBC" => Cipher::Aes192,
        "AES-256-CBC" => Cipher::Aes256,
        "DES-EDE3-CBC" => Cipher::TripleDes,
        // Named as a rule says, not as it stands there: a damaged line may hold anything.
        "DES-CBC" => return Err(Fault::Unsupported("DES".to_owned())),
        _ => return Err(Fault::Unsupported("a cipher that its DEK-Info line names".to_owned())),
    };
    let digits = iv.trim().as_bytes().chunks(2);
    let digits = digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
    let iv: Vec<u8> = digits.collect::<Option<_>>().ok_or(Fault::Wrong)?;
    // The salt is the beginning of the IV (EVP_BytesToKey of OpenSSL).
    let salt = iv.get(..8).ok_or(Fault::Wrong)?;
    let mut key = Zeroizing::new(Vec::with_capacity(cipher.key_length() + 16));
    let mut digest = Zeroizing::new(Output::<Md5>::default());
    while key.len() < cipher.key_length() {
        let before: &[u8] = if key.is_empty() { &[] } else { &digest };
        let next =
            Md5::new().chain_update(before).chain_update(&*password.utf8).chain_update(salt).finalize();
        *digest = next;
        key.extend_from_slice(&digest);
    }
    sequence(cipher.decrypt(&key[..cipher.key_length()], &iv, data)?)
}

/// Verifies the MAC of a PFX (RFC 7292 section 4, RFC 9579) in constant time.
pub(super) fn verify_mac(
    mac_data: Element<'_>,
    content: &[u8],
    password: &mut Password,
) -> Result<(), Fault> {
    let mut mac_data = mac_data.inner();
    let mut digest = mac_data.take(SEQUENCE).ok_or(Fault::Wrong)?.inner();
    let (oid, mut parameters) = parts(digest.take(SEQUENCE).ok_or(Fault::Wrong)?)?;
    let expected = digest.take(OCTET_STRING).ok_or(Fault::Wrong)?.content;
    let (hash, key) = if oid == oids::PBMAC1 {
        let mut parameters = parameters.take(SEQUENCE).ok_or(Fault::Wrong)?.inner();
        let derivation = parameters.take(SEQUENCE).ok_or(Fault::Wrong)?;
        let (oid, _) = parts(parameters.take(SEQUENCE).ok_or(Fault::Wrong)?)?;
        let hash = Hash::of_hmac(oid).ok_or_else(|| unsupported(oid))?;
        (hash, derived_key(derivation, hash.length(), password)?)
    } else {
        let hash = Hash::of_digest(oid).ok_or_else(|| unsupported(oid))?;
        let salt = mac_data.take(OCTET_STRING).ok_or(Fault::Wrong)?.content;
        let default = Some(Element { tag: ber::INTEGER, content: &[1] });
        let rounds = password.iterations(if mac_data.is_empty() { default } else { mac_data.next() })?;
        let password = &password.utf16;
        let key = pkcs12_key(hash, Purpose::Mac, password, salt, rounds, hash.length());
        (hash, key)
    };
    let verified = with_hash!(hash, H => {
        let mac = Hmac::<H>::new_from_slice(&key).map_err(|_| Fault::Wrong)?;
        mac.chain_update(content).verify_slice(expected)
    });
    verified.map_err(|_| Fault::Wrong)
}

/// The key that PBKDF2 or scrypt makes; all parameters come from the file.
fn derived_key(derivation: Element<'_>, length: usize, password: &mut Password) -> Plain {
    let (oid, mut parameters) = parts(derivation)?;
    let mut parameters = parameters.take(SEQUENCE).ok_or(Fault::Wrong)?.inner();
    let salt = parameters.take(OCTET_STRING).ok_or(Fault::Wrong)?.content;
    let mut key = Zeroizing::new(vec![0; length]);
    match oid {
        oids::PBKDF2 => {
            let rounds = password.iterations(parameters.next())?;
            let mut hash = Hash::Sha1;
            while !parameters.is_empty() {
                let parameter = parameters.next().ok_or(Fault::Wrong)?;
                if parameter.tag == SEQUENCE {
                    let (oid, _) = parts(parameter)?;
                    hash = Hash::of_hmac(oid).ok_or_else(|| unsupported(oid))?;
                } else if parameter.number() != Some(length as u64) {
                    return Err(Fault::Wrong);
                }
            }
            with_hash!(hash, H => pbkdf2::pbkdf2_hmac::<H>(&password.utf8, salt, rounds, &mut key));
        }
        oids::SCRYPT => {
            let mut number = || parameters.next().and_then(Element::number).ok_or(Fault::Wrong);
            let (cost, block, passes) = (number()?, number()?, number()?);
            if !parameters.is_empty() && parameters.next().and_then(Element::number) != Some(length as u64) {
                return Err(Fault::Wrong);
            }
            // The table of RFC 7914 section 5, the blocks of all passes, and two to work with.
            let blocks = cost.saturating_add(passes).saturating_add(2).saturating_mul(block);
            let bytes = blocks.saturating_mul(128);
            if bytes > MAX_SCRYPT_BYTES || passes > MAX_SCRYPT_PASSES {
                return Err(Fault::TooCostly(format!(
                    "asks for {passes} times {} KiB of memory for its key derivation (scrypt); at most \
                     {MAX_SCRYPT_PASSES} times {} KiB are supported",
                    bytes / 1024,
                    MAX_SCRYPT_BYTES / 1024
                )));
            }
            let few = |number: u64| u32::try_from(number).map_err(|_| Fault::Wrong);
            if cost < 2 || !cost.is_power_of_two() {
                return Err(Fault::Wrong);
            }
            // One block of it takes about as long as one iteration of PBKDF2.
            password.charge(blocks.saturating_mul(passes))?;
            let log = u8::try_from(cost.trailing_zeros()).map_err(|_| Fault::Wrong)?;
            let params = scrypt::Params::new(log, few(block)?, few(passes)?).map_err(|_| Fault::Wrong)?;
            scrypt::scrypt(&password.utf8, salt, &params, &mut key).map_err(|_| Fault::Wrong)?;
        }
        other => return Err(unsupported(other)),
    }
    Ok(key)
}

/// What a key of PKCS#12's own derivation is for (RFC 7292 appendix B.3).
#[derive(Clone, Copy)]
enum Purpose {
    Key = 1,
    Iv = 2,
    Mac = 3,
}

/// RFC 7292 appendix B.2, whose names the comments use.
fn pkcs12_key(
    hash: Hash,
    purpose: Purpose,
    password: &[u8],
    salt: &[u8],
    rounds: u32,
    length: usize,
) -> Zeroizing<Vec<u8>> {
    // One piece of code for all hashes: with the type as a parameter there would be five.
    let mut state: Box<dyn DynDigest> = with_hash!(hash, H => Box::new(H::new()));
    let block = hash.block_length();
    // S and P: salt and password, each repeated up to a multiple of the block; I: both.
    let padded = |length: usize| length.next_multiple_of(block);
    let mut input = Zeroizing::new(Vec::with_capacity(padded(salt.len()) + padded(password.len())));
    for part in [salt, password] {
        input.extend(part.iter().cycle().take(padded(part.len())));
    }
    let mut key = Zeroizing::new(Vec::with_capacity(length));
    // A
    let mut digest = Zeroizing::new(vec![0; hash.length()]);
    loop {
        state.update(&vec![purpose as u8; block]);
        state.update(&input);
        for round in 0..rounds {
            if round > 0 {
                state.update(&digest);
            }
            state.finalize_into_reset(&mut digest).expect("the length is the hash's");
        }
        let missing = length - key.len();
        key.extend(digest.iter().take(missing));
        if key.len() == length {
            return key;
        }
        // I becomes I + B + 1, block by block, where B is A repeated.
        for chunk in input.chunks_mut(block) {
            let mut carry = 1;
            for at in (0..block).rev() {
                let sum = u16::from(chunk[at]) + u16::from(digest[at % digest.len()]) + carry;
                chunk[at] = sum.to_le_bytes()[0];
                carry = sum >> 8;
            }
        }
    }
}

impl Hash {
    fn of_digest(oid: &[u8]) -> Option<Self> {
        Some(match oid {
            b"\x2b\x0e\x03\x02\x1a" => Self::Sha1,
            b"\x60\x86\x48\x01\x65\x03\x04\x02\x04" => Self::Sha224,
            b"\x60\x86\x48\x01\x65\x03\x04\x02\x01" => Self::Sha256,
            b"\x60\x86\x48\x01\x65\x03\x04\x02\x02" => Self::Sha384,
            b"\x60\x86\x48\x01\x65\x03\x04\x02\x03" => Self::Sha512,
            _ => return None,
        })
    }

    fn of_hmac(oid: &[u8]) -> Option<Self> {
        Some(match oid.strip_prefix(b"\x2a\x86\x48\x86\xf7\x0d\x02")? {
            [7] => Self::Sha1,
            [8] => Self::Sha224,
            [9] => Self::Sha256,
            [10] => Self::Sha384,
            [11] => Self::Sha512,
            _ => return None,
        })
    }

    fn length(self) -> usize {
        with_hash!(self, H => <H as Digest>::output_size())
    }

    fn block_length(self) -> usize {
        match self {
            Self::Sha1 | Self::Sha224 | Self::Sha256 => 64,
            Self::Sha384 | Self::Sha512 => 128,
        }
    }
}

#[derive(Clone, Copy)]
enum Cipher {
    Aes128,
    Aes192,
    Aes256,
    TripleDes,
    TwoKeyTripleDes,
    Rc2Of128Bits,
    Rc2Of40Bits,
}

impl Cipher {
    fn of_pbes2(oid: &[u8]) -> Option<Self> {
        Some(match oid {
            b"\x60\x86\x48\x01\x65\x03\x04\x01\x02" => Self::Aes128,
            b"\x60\x86\x48\x01\x65\x03\x04\x01\x16" => Self::Aes192,
            b"\x60\x86\x48\x01\x65\x03\x04\x01\x2a" => Self::Aes256,
            b"\x2a\x86\x48\x86\xf7\x0d\x03\x07" => Self::TripleDes,
            _ => return None,
        })
    }

    /// By the PBES1 algorithms of PKCS#12.
    fn of_pkcs12(oid: &[u8]) -> Option<Self> {
        Some(match oid.strip_prefix(oids::PKCS12_PBE)? {
            [3] => Self::TripleDes,
            [4] => Self::TwoKeyTripleDes,
            [5] => Self::Rc2Of128Bits,
            [6] => Self::Rc2Of40Bits,
            _ => return None,
        })
    }

    fn key_length(self) -> usize {
        match self {
            Self::Rc2Of40Bits => 5,
            Self::Aes128 | Self::TwoKeyTripleDes | Self::Rc2Of128Bits => 16,
            Self::Aes192 | Self::TripleDes => 24,
            Self::Aes256 => 32,
        }
    }

    fn iv_length(self) -> usize {
        match self {
            Self::Aes128 | Self::Aes192 | Self::Aes256 => 16,
            _ => 8,
        }
    }

    /// In CBC mode, with the padding of PKCS#7 (RFC 5652 section 6.3).
    fn decrypt(self, key: &[u8], iv: &[u8], data: &[u8]) -> Plain {
        match self {
            Self::Aes128 => cbc(Aes128::new_from_slice(key), iv, data),
            Self::Aes192 => cbc(Aes192::new_from_slice(key), iv, data),
            Self::Aes256 => cbc(Aes256::new_from_slice(key), iv, data),
            Self::TripleDes => cbc(TdesEde3::new_from_slice(key), iv, data),
            Self::TwoKeyTripleDes => cbc(TdesEde2::new_from_slice(key), iv, data),
            Self::Rc2Of128Bits => cbc::<_, ()>(Ok(Rc2::new_with_eff_key_len(key, 128)), iv, data),
            Self::Rc2Of40Bits => cbc::<_, ()>(Ok(Rc2::new_with_eff_key_len(key, 40)), iv, data),
        }
    }
}

fn cbc<C: BlockCipherDecrypt, E>(cipher: Result<C, E>, iv: &[u8], data: &[u8]) -> Plain {
    let cipher = cipher.map_err(|_| Fault::Wrong)?;
    // One piece of code for all ciphers; only this differs.
    let decrypt_block = |block: &mut [u8]| {
        let block: &mut Block<C> = block.try_into().expect("the length is the cipher's");
        cipher.decrypt_block(block);
    };
    unchain(&decrypt_block, C::block_size(), iv, data)
}

fn unchain(decrypt_block: &dyn Fn(&mut [u8]), size: usize, iv: &[u8], data: &[u8]) -> Plain {
    if iv.len() != size || data.is_empty() || !data.len().is_multiple_of(size) {
        return Err(Fault::Wrong);
    }
    let mut plain = Zeroizing::new(data.to_vec());
    let before = std::iter::once(iv).chain(data.chunks(size));
    for (block, before) in plain.chunks_mut(size).zip(before) {
        decrypt_block(block);
        block.iter_mut().zip(before).for_each(|(byte, mask)| *byte ^= mask);
    }
    // The last byte says how many there are of it.
    let padding = plain.last().copied().unwrap_or_default();
    let count = usize::from(padding);
    let length = plain.len() - count.min(plain.len());
    if !(1..=size).contains(&count) || plain[length..].iter().any(|byte| *byte != padding) {
        return Err(Fault::Wrong);
    }
    plain.truncate(length);
    Ok(plain)
}

/// One sequence and nothing else, as everything is that we decrypt. One wrong password of 256 leaves padding that looks
/// right; what precedes it does not.
pub(super) fn sequence(plain: Zeroizing<Vec<u8>>) -> Plain {
    if ber::only(&plain, SEQUENCE).is_some() { Ok(plain) } else { Err(Fault::Wrong) }
}

/// An `AlgorithmIdentifier`: the algorithm and its parameters.
fn parts(algorithm: Element<'_>) -> Result<(&[u8], Elements<'_>), Fault> {
    let mut parts = algorithm.inner();
    let oid = parts.take(OID).ok_or(Fault::Wrong)?;
    Ok((oid.content, parts))
}

fn unsupported(oid: &[u8]) -> Fault {
    let name = match (oid.strip_prefix(oids::PKCS12_PBE), oid.strip_prefix(oids::PKCS5)) {
        (Some([1 | 2]), _) => "RC4".to_owned(),
        (_, Some([1 | 3 | 10])) => "DES".to_owned(),
        _ => match ObjectIdentifier::from_bytes(oid) {
            Ok(oid) => format!("algorithm {oid}"),
            Err(_) => return Fault::Wrong,
        },
    };
    Fault::Unsupported(name)
}

/// Object identifiers in BER.
mod oids {
    /// 1.2.840.113549.1.5
    pub(super) const PKCS5: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05";
    pub(super) const PBKDF2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c";
    pub(super) const PBES2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d";
    pub(super) const PBMAC1: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0e";
    /// 1.2.840.113549.1.12.1
    pub(super) const PKCS12_PBE: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01";
    /// 1.3.6.1.4.1.11591.4.11
    pub(super) const SCRYPT: &[u8] = b"\x2b\x06\x01\x04\x01\xda\x47\x04\x0b";
}
