//! Writes PFX files that openssl cannot write: without a password as Azure Key Vault does it, without a MAC, in BER as
//! Firefox does it, with several keys. Shares no code with the program: ring hashes, the openssl command encrypts.

use std::io::Write as _;
use std::process::{Command, Stdio};

use ring::{digest, hmac, pbkdf2};

/// How to write it.
#[derive(Clone, Copy)]
pub(crate) struct Shape<'a> {
    /// None is no password at all, unlike an empty one.
    pub(crate) password: Option<&'a str>,
    pub(crate) cipher: Cipher,
    pub(crate) iterations: u32,
    pub(crate) mac: Option<Mac>,
    /// Lengths that are not known beforehand, octet strings in pieces.
    pub(crate) ber: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cipher {
    /// PBE-SHA1-3DES.
    TripleDes,
    /// PBE-SHA1-RC2-128.
    Rc2,
    /// PBES2 with PBKDF2, HMAC-SHA256 and AES-256-CBC.
    Aes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mac {
    Sha1,
    Sha256,
    /// RFC 9579: PBKDF2 makes the key.
    Pbmac1,
}

/// As Azure Key Vault exports a certificate.
pub(crate) const KEY_VAULT: Shape<'static> =
    Shape { password: None, cipher: Cipher::TripleDes, iterations: 2000, mac: Some(Mac::Sha1), ber: false };

/// Keys in PKCS#8 and certificates, in DER. Keys first, as Windows has them.
pub(crate) fn write(shape: Shape<'_>, keys: &[Vec<u8>], certificates: &[Vec<u8>]) -> Vec<u8> {
    let mut bags = Vec::new();
    for key in keys {
        let (algorithm, encrypted) = encrypt(shape, key);
        let shrouded = shape.sequence(&[algorithm, shape.element(0x04, &encrypted)]);
        bags.extend(shape.bag(2, &shrouded));
    }
    let mut public = Vec::new();
    for certificate in certificates {
        let x509 = oid("1.2.840.113549.1.9.22.1");
        let wrapped = shape.element(0xa0, &shape.element(0x04, certificate));
        public.extend(shape.bag(3, &shape.sequence(&[x509, wrapped])));
    }
    let keys = shape.element(0x30, &bags);
    let keys = shape.content_info("1.2.840.113549.1.7.1", &shape.octets(&keys));
    let (algorithm, encrypted) = encrypt(shape, &shape.element(0x30, &public));
    // `[0] IMPLICIT OCTET STRING`, in pieces or not.
    let content = if shape.ber {
        shape.element(0xa0, &shape.pieces(&encrypted))
    } else {
        shape.element(0x80, &encrypted)
    };
    let info = shape.sequence(&[oid("1.2.840.113549.1.7.1"), algorithm, content]);
    let public = shape.content_info("1.2.840.113549.1.7.6", &shape.sequence(&[vec![2, 1, 0], info]));
    let safe = shape.sequence(&[keys, public]);
    let mut parts = vec![vec![2, 1, 3], shape.content_info("1.2.840.113549.1.7.1", &shape.octets(&safe))];
    parts.extend(shape.mac.map(|mac| shape.mac_data(mac, &safe)));
    shape.sequence(&parts)
}

impl Shape<'_> {
    fn element(self, tag: u8, content: &[u8]) -> Vec<u8> {
        if self.ber && tag & 0x20 != 0 {
            return [&[tag, 0x80], content, &[0, 0]].concat();
        }
        let length = content.len();
        let length = match length {
            0..0x80 => vec![length as u8],
            0x80..0x100 => vec![0x81, length as u8],
            _ => vec![0x82, (length >> 8) as u8, length as u8],
        };
        [&[tag], &length[..], content].concat()
    }

    fn sequence(self, parts: &[Vec<u8>]) -> Vec<u8> {
        self.element(0x30, &parts.concat())
    }

    fn pieces(self, octets: &[u8]) -> Vec<u8> {
        octets.chunks(100).flat_map(|piece| self.element(0x04, piece)).collect()
    }

    fn octets(self, octets: &[u8]) -> Vec<u8> {
        if self.ber { self.element(0x24, &self.pieces(octets)) } else { self.element(0x04, octets) }
    }

    fn content_info(self, kind: &str, content: &[u8]) -> Vec<u8> {
        self.sequence(&[oid(kind), self.element(0xa0, content)])
    }

    fn bag(self, kind: u8, value: &[u8]) -> Vec<u8> {
        self.sequence(&[oid(&format!("1.2.840.113549.1.12.10.1.{kind}")), self.element(0xa0, value)])
    }

    fn number(self, number: u32) -> Vec<u8> {
        let bytes = number.to_be_bytes();
        let digits = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        // A first bit would be a sign.
        let sign: &[u8] = if digits.first().is_some_and(|first| first & 0x80 == 0) { &[] } else { &[0] };
        self.element(0x02, &[sign, digits].concat())
    }

    /// UTF-16 with its end, or nothing.
    fn utf16(self) -> Vec<u8> {
        let units = self.password.map(|text| text.encode_utf16().chain([0]).collect::<Vec<_>>());
        units.unwrap_or_default().iter().flat_map(|unit| unit.to_be_bytes()).collect()
    }

    fn pbkdf2_parameters(self, length: u32) -> Vec<u8> {
        let prf = self.sequence(&[oid("1.2.840.113549.2.9"), vec![5, 0]]);
        let rest = [self.element(0x04, SALT), self.number(self.iterations), self.number(length), prf];
        self.sequence(&[oid("1.2.840.113549.1.5.12"), self.sequence(&rest)])
    }

    fn pbkdf2(self) -> [u8; 32] {
        let mut key = [0; 32];
        let rounds = self.iterations.try_into().unwrap();
        let password = self.password.unwrap_or_default().as_bytes();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, SALT, password, &mut key);
        key
    }

    fn mac_data(self, mac: Mac, safe: &[u8]) -> Vec<u8> {
        let (algorithm, hash, key) = match mac {
            Mac::Sha1 => (
                self.sequence(&[oid("1.3.14.3.2.26"), vec![5, 0]]),
                hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                derive(&digest::SHA1_FOR_LEGACY_USE_ONLY, 3, &self.utf16(), self.iterations, 20),
            ),
            Mac::Sha256 => (
                self.sequence(&[oid("2.16.840.1.101.3.4.2.1"), vec![5, 0]]),
                hmac::HMAC_SHA256,
                derive(&digest::SHA256, 3, &self.utf16(), self.iterations, 32),
            ),
            Mac::Pbmac1 => {
                let scheme = self.sequence(&[oid("1.2.840.113549.2.9"), vec![5, 0]]);
                let parameters = self.sequence(&[self.pbkdf2_parameters(32), scheme]);
                let algorithm = self.sequence(&[oid("1.2.840.113549.1.5.14"), parameters]);
                (algorithm, hmac::HMAC_SHA256, self.pbkdf2().to_vec())
            }
        };
        let tag = hmac::sign(&hmac::Key::new(hash, &key), safe);
        let info = self.sequence(&[algorithm, self.element(0x04, tag.as_ref())]);
        self.sequence(&[info, self.element(0x04, SALT), self.number(self.iterations)])
    }
}

/// The same everywhere: nothing is protected here.
const SALT: &[u8] = b"saltSALT";

/// The algorithm with its parameters, and the encrypted bytes.
fn encrypt(shape: Shape<'_>, plain: &[u8]) -> (Vec<u8>, Vec<u8>) {
    if shape.cipher == Cipher::Aes {
        let iv = [7; 16];
        let aes = shape.sequence(&[oid("2.16.840.1.101.3.4.1.42"), shape.element(0x04, &iv)]);
        let parameters = shape.sequence(&[shape.pbkdf2_parameters(32), aes]);
        let algorithm = shape.sequence(&[oid("1.2.840.113549.1.5.13"), parameters]);
        return (algorithm, openssl_enc("-aes-256-cbc", &shape.pbkdf2(), &iv, plain));
    }
    let (number, length, name) = match shape.cipher {
        Cipher::TripleDes => (3, 24, "-des-ede3-cbc"),
        _ => (5, 16, "-rc2-cbc"),
    };
    let parameters = shape.sequence(&[shape.element(0x04, SALT), shape.number(shape.iterations)]);
    let algorithm = shape.sequence(&[oid(&format!("1.2.840.113549.1.12.1.{number}")), parameters]);
    let sha1 = &digest::SHA1_FOR_LEGACY_USE_ONLY;
    let key = derive(sha1, 1, &shape.utf16(), shape.iterations, length);
    let iv = derive(sha1, 2, &shape.utf16(), shape.iterations, 8);
    (algorithm, openssl_enc(name, &key, &iv, plain))
}

/// RFC 7292 appendix B.2, step by step.
fn derive(
    hash: &'static digest::Algorithm,
    id: u8,
    password: &[u8],
    iterations: u32,
    length: usize,
) -> Vec<u8> {
    let v = hash.block_len();
    let stretched = |text: &[u8]| -> Vec<u8> {
        let length = v * text.len().div_ceil(v);
        (0..length).map(|at| text[at % text.len()]).collect()
    };
    let mut i = [stretched(SALT), stretched(password)].concat();
    let mut key = Vec::new();
    while key.len() < length {
        let mut a = digest::digest(hash, &[&vec![id; v], &i[..]].concat());
        for _ in 1..iterations {
            a = digest::digest(hash, a.as_ref());
        }
        key.extend_from_slice(a.as_ref());
        for block in i.chunks_mut(v) {
            // The block as one number, plus B and 1; what does not fit is dropped.
            let mut sum = 1;
            for at in (0..v).rev() {
                sum += u32::from(block[at]) + u32::from(a.as_ref()[at % a.as_ref().len()]);
                block[at] = (sum % 256) as u8;
                sum /= 256;
            }
        }
    }
    key.truncate(length);
    key
}

fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u32> = dotted.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut content = vec![(arcs[0] * 40 + arcs[1]) as u8];
    for arc in &arcs[2..] {
        let groups = (1..5).rev().filter(|group| arc >> (7 * group) != 0);
        content.extend(groups.map(|group| (arc >> (7 * group)) as u8 | 0x80));
        content.push((arc & 0x7f) as u8);
    }
    [&[0x06, content.len() as u8], &content[..]].concat()
}

fn openssl_enc(cipher: &str, key: &[u8], iv: &[u8], plain: &[u8]) -> Vec<u8> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let run = |providers: &[&str]| {
        let mut child = Command::new("openssl")
            .args(["enc", cipher, "-K", &hex(key), "-iv", &hex(iv)])
            .args(providers)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the openssl command");
        // A command that refuses its arguments may be gone already.
        let _ = child.stdin.take().unwrap().write_all(plain);
        child.wait_with_output().unwrap()
    };
    // openssl 3 has RC2 in a provider of its own, openssl 1.1 knows no providers.
    let providers = ["-provider", "legacy", "-provider", "default"];
    let output = [&providers[..], &[]].into_iter().map(run).find(|output| output.status.success());
    output.expect("openssl enc encrypts").stdout
}
