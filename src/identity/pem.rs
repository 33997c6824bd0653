//! Reads a PEM file (RFC 7468): its blocks, decoded and decrypted.
//!
//! rustls-pemfile decodes each block, but does not see the file: it would lose the first block after a BOM, skip `ENCRYPTED
//! PRIVATE KEY`, fail at DEK-Info and join two blocks where an END line is missing. So the blocks are cut out here, and
//! each is decoded alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pemfile::Item;
use zeroize::{Zeroize, Zeroizing};

use super::ber::{self, SEQUENCE};
use super::certificate_error::{CertificateError, LockedForm, PresentInstead};
use super::contents::{Der, Encoding, Key, detect, trim};
use super::decrypt::{self, Fault, Password};

/// An RSA key of 8192 bits is 6.4 KB of PEM.
const KEY_CAPACITY: usize = 8 * 1024;

/// The blocks of a file, those of keys apart.
pub(super) struct Blocks {
    keys: Vec<Block>,
    others: Vec<Block>,
}

/// Cuts a file into its blocks, of which there is at least one.
pub(super) fn blocks(file: &[u8]) -> Result<Blocks, CertificateError> {
    let file = unquoted(file);
    let blocks = cut(file)?;
    if blocks.is_empty() {
        return Err(CertificateError::NoBlock(detect(file)));
    }
    let (keys, others) = blocks.into_iter().partition(|block| block.label.ends_with("PRIVATE KEY"));
    Ok(Blocks { keys, others })
}

impl Blocks {
    /// The only private key.
    pub(super) fn key(&self, password: Option<&str>) -> Result<Key, CertificateError> {
        match self.keys.as_slice() {
            [] => Err(CertificateError::NoKey(present_instead(&self.others))),
            [key] => key.private_key(password),
            [first, second, ..] => Err(CertificateError::TwoKeys { lines: Some((first.line, second.line)) }),
        }
    }

    /// The certificates in file order, at least one.
    pub(super) fn certificates(&self) -> Result<Vec<Der>, CertificateError> {
        let mut certificates = Vec::new();
        for block in &self.others {
            if let Some(Item::X509Certificate(der)) = block.decode()? {
                certificates.push(Der { line: Some(block.line), bytes: der.as_ref().to_vec() });
            }
        }
        if certificates.is_empty() {
            return Err(CertificateError::NoCertificate(present_instead(&self.others)));
        }
        Ok(certificates)
    }
}

/// One block: what stands between a BEGIN and an END line.
struct Block {
    label: String,
    line: usize,
    /// RFC 1421 headers say that the body is encrypted (`Proc-Type: 4,ENCRYPTED`): what `DEK-Info` says of it.
    dek_info: Option<String>,
    /// The block with lines trimmed and without headers, as rustls-pemfile needs it.
    text: Zeroizing<Vec<u8>>,
}

impl Block {
    fn begin(label: String, line: usize) -> Self {
        // Capacity for the largest key: growing would leave copies that are not wiped.
        let capacity = if label.ends_with("PRIVATE KEY") { KEY_CAPACITY } else { 0 };
        let mut block =
            Self { label, line, dek_info: None, text: Zeroizing::new(Vec::with_capacity(capacity)) };
        block.push(format!("-----BEGIN {}-----", block.plain_label()).as_bytes());
        block
    }

    fn end(&mut self) {
        self.push(format!("-----END {}-----", self.plain_label()).as_bytes());
    }

    /// RFC 7468 section 5.1 names two older labels: "a valid exception may be for backwards compatibility".
    fn plain_label(&self) -> &str {
        match self.label.as_str() {
            "X509 CERTIFICATE" | "X.509 CERTIFICATE" => "CERTIFICATE",
            label => label,
        }
    }

    fn push(&mut self, line: &[u8]) {
        self.text.extend_from_slice(line);
        self.text.push(b'\n');
    }

    /// The block decoded; none for a kind that rustls-pemfile does not know.
    fn decode(&self) -> Result<Option<Item>, CertificateError> {
        // The library's error is dropped: it may quote the line.
        match rustls_pemfile::read_one_from_slice(&self.text) {
            Ok(decoded) => Ok(decoded.map(|(item, _rest)| item)),
            Err(_) => Err(CertificateError::BadBase64 { label: self.label.clone(), line: self.line }),
        }
    }

    fn private_key(&self, password: Option<&str>) -> Result<Key, CertificateError> {
        match self.label.as_str() {
            "ENCRYPTED PRIVATE KEY" => {
                return self.decrypted(LockedForm::Pkcs8 { line: self.line }, Encoding::Pkcs8, password);
            }
            "RSA PRIVATE KEY" if self.dek_info.is_some() => {
                return self.decrypted(LockedForm::DekInfo { line: self.line }, Encoding::Pkcs1, password);
            }
            "PRIVATE KEY" | "RSA PRIVATE KEY" => {}
            "OPENSSH PRIVATE KEY" => return Err(self.openssh()),
            other => {
                let kind = other.trim_end_matches("PRIVATE KEY").trim_end();
                return Err(CertificateError::NotRsa { kind: kind.to_owned() });
            }
        }
        let line = Some(self.line);
        match self.decode()? {
            Some(Item::Pkcs1Key(mut key)) => {
                let der = Zeroizing::new(key.secret_pkcs1_der().to_vec());
                key.zeroize();
                Ok(Key { line, encoding: Encoding::Pkcs1, der })
            }
            Some(Item::Pkcs8Key(mut key)) => {
                let der = Zeroizing::new(key.secret_pkcs8_der().to_vec());
                key.zeroize();
                Ok(Key { line, encoding: Encoding::Pkcs8, der })
            }
            _ => Err(CertificateError::BadKey { line }),
        }
    }

    fn decrypted(
        &self,
        form: LockedForm,
        encoding: Encoding,
        password: Option<&str>,
    ) -> Result<Key, CertificateError> {
        let body = self
            .body()
            .ok_or_else(|| CertificateError::BadBase64 { label: self.label.clone(), line: self.line })?;
        let locked = |fault| CertificateError::locked(form, fault, password.is_some());
        let mut password = Password::new(password.ok_or_else(|| locked(Fault::Wrong))?);
        let decrypted = match &self.dek_info {
            Some(line) => decrypt::dek_info(line, &body, &password),
            None => {
                let encrypted = ber::only(&body, SEQUENCE).ok_or(Fault::Wrong);
                encrypted.and_then(|encrypted| decrypt::pkcs8(encrypted, &mut password))
            }
        };
        Ok(Key { line: Some(self.line), encoding, der: decrypted.map_err(locked)? })
    }

    /// What the base64 stands for, whatever it is; none when it is damaged.
    fn body(&self) -> Option<Zeroizing<Vec<u8>>> {
        // Capacity for all of it: growing would leave copies that are not wiped.
        let mut body = Zeroizing::new(Vec::with_capacity(self.text.len()));
        for line in self.text.split(|&byte| byte == b'\n').filter(|line| !line.starts_with(b"-----")) {
            body.extend_from_slice(line);
        }
        STANDARD.decode(&*body).ok().map(Zeroizing::new)
    }
}

impl Block {
    /// What kind of key OpenSSH's own form holds: its public half is in the clear, the passphrase or not.
    fn openssh(&self) -> CertificateError {
        let bytes = self.body().unwrap_or_default();
        // Cipher, key derivation, its options, a count, then the public key, which begins with its kind.
        let kind = bytes.strip_prefix(b"openssh-key-v1\0").and_then(|mut rest| {
            for _ in 0..3 {
                rest = string(rest)?.1;
            }
            let (public, _) = string(rest.get(4..)?)?;
            Some(string(public)?.0)
        });
        match kind {
            Some(b"ssh-rsa") => CertificateError::OpenSsh { line: self.line },
            Some(b"ssh-ed25519") => CertificateError::NotRsa { kind: "Ed25519".to_owned() },
            Some(kind) if kind.starts_with(b"ecdsa-sha2-") => {
                CertificateError::NotRsa { kind: "EC".to_owned() }
            }
            _ => CertificateError::NotRsa { kind: "OPENSSH".to_owned() },
        }
    }
}

/// A string as SSH writes it (RFC 4251 section 5): its length in four octets, then itself; and what is after it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// A file as a JSON or shell string holds it: the quotes around it are no part of it.
fn unquoted(file: &[u8]) -> &[u8] {
    match trim(file) {
        [quote @ (b'"' | b'\''), inner @ ..] if inner.trim_ascii_start().starts_with(b"-----BEGIN ") => {
            inner.strip_suffix(&[*quote]).unwrap_or(inner)
        }
        _ => file,
    }
}

/// Cuts a file into blocks. Text between blocks (Bag Attributes, comments) is skipped, as are indentation, a BOM at the
/// start of any line, and a missing line break between two joined files.
fn cut(file: &[u8]) -> Result<Vec<Block>, CertificateError> {
    let newline = if file.contains(&b'\n') { b'\n' } else { b'\r' };
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in (1..).zip(file.split(|&byte| byte == newline)) {
        let mut line = trim(line);
        while !line.is_empty() {
            let (this, rest) = split_boundary(line);
            line = rest;
            match (boundary(this), open.take()) {
                (PemLine::Begin(label), None) => open = Some(Block::begin(label, number)),
                (PemLine::Begin(_), Some(block)) => return Err(block.unfinished()),
                (PemLine::End(label), Some(mut block)) if label == block.label => {
                    block.end();
                    blocks.push(block);
                }
                (PemLine::End(_), Some(block)) => return Err(block.unfinished()),
                (PemLine::End(label), None) => return Err(CertificateError::NoBegin { label, line: number }),
                // The last line of a file that is half written.
                (PemLine::Truncated, Some(block)) => return Err(block.unfinished()),
                (PemLine::Truncated, None) => {
                    return Err(CertificateError::NoEnd { label: "last".to_owned(), line: number });
                }
                (PemLine::Broken, _) => {
                    return Err(CertificateError::LineBreaks {
                        line: number,
                        escaped: this.windows(2).any(|two| two == b"\\n"),
                    });
                }
                (PemLine::Text, Some(mut block)) => {
                    if !this.contains(&b':') {
                        block.push(this);
                    } else if let Some(line) = this.strip_prefix(b"DEK-Info:") {
                        block.dek_info = Some(String::from_utf8_lossy(line).into_owned());
                    } else if this.ends_with(b"ENCRYPTED") {
                        block.dek_info.get_or_insert_default();
                    }
                    open = Some(block);
                }
                (PemLine::Text, None) => {}
            }
        }
    }
    match open {
        Some(block) => Err(block.unfinished()),
        None => Ok(blocks),
    }
}

impl Block {
    fn unfinished(&self) -> CertificateError {
        CertificateError::NoEnd { label: self.label.clone(), line: self.line }
    }
}

enum PemLine {
    Begin(String),
    End(String),
    /// A boundary with more on its line: the line breaks were lost.
    Broken,
    /// A boundary that stops before its closing dashes.
    Truncated,
    Text,
}

fn boundary(line: &[u8]) -> PemLine {
    let (rest, begins) = match (line.strip_prefix(b"-----BEGIN "), line.strip_prefix(b"-----END ")) {
        (Some(rest), _) => (rest, true),
        (_, Some(rest)) => (rest, false),
        _ => return PemLine::Text,
    };
    // Labels in use are upper-case words, `X9.42 DH PARAMETERS` the oddest (RFC 7468 section 3 allows more); anything
    // else could be part of a key and must not be shown.
    let is_label = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b" .-".contains(b);
    let label = rest.strip_suffix(b"-----").filter(|label| {
        label.len() <= 64 && label.iter().all(is_label) && !label.windows(2).any(|two| two == b"--")
    });
    match label.map(|label| String::from_utf8_lossy(label).into_owned()) {
        Some(label) if begins => PemLine::Begin(label),
        Some(label) => PemLine::End(label),
        None if rest.windows(5).any(|five| five == b"-----") => PemLine::Broken,
        None => PemLine::Truncated,
    }
}

/// `-----END A----------BEGIN B-----` as two lines; any other line as it is.
fn split_boundary(line: &[u8]) -> (&[u8], &[u8]) {
    const JOINT: &[u8] = b"----------BEGIN ";
    let joint = line.windows(JOINT.len()).position(|window| window == JOINT);
    match joint {
        Some(at) if line.starts_with(b"-----END ") => line.split_at(at + 5),
        _ => (line, &[]),
    }
}

/// What the file contains instead, for the message that says what is missing.
fn present_instead(blocks: &[Block]) -> PresentInstead {
    let has = |label: &str| blocks.iter().any(|block| block.label == label);
    if has("PKCS7") || has("PKCS #7 SIGNED DATA") || has("CMS") {
        PresentInstead::Pkcs7
    } else if has("TRUSTED CERTIFICATE") {
        PresentInstead::TrustedCertificate
    } else if has("CERTIFICATE REQUEST") || has("NEW CERTIFICATE REQUEST") {
        PresentInstead::Request
    } else if has("PUBLIC KEY") {
        PresentInstead::PublicKey
    } else {
        PresentInstead::Nothing
    }
}
