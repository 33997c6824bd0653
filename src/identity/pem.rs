//! From the bytes of a PEM file (RFC 7468) to one private key and the certificates, decoded.
//!
//! rustls-pemfile decodes each block, but does not see the file: it would lose the first block behind a BOM, pass
//! over `ENCRYPTED PRIVATE KEY`, trip over DEK-Info and join two blocks where an END line is missing. So the blocks
//! are cut out here, and each is handed over alone.

use rustls_pemfile::Item;
use zeroize::{Zeroize, Zeroizing};

use super::faults::{Fault, Found, Looks};

const BOM: &[u8] = b"\xef\xbb\xbf";
/// An RSA key of 8192 bits is 6.4 KB of PEM.
const ROOM_FOR_A_KEY: usize = 8 * 1024;

/// What a certificate file holds.
pub(super) struct Contents {
    pub(super) key: Key,
    /// In file order, at least one.
    pub(super) certificates: Vec<Der>,
}

/// A private key in one of the two encodings that an RSA key comes in.
pub(super) enum Key {
    /// `RSA PRIVATE KEY` (RFC 8017 appendix A.1.2).
    Pkcs1 { line: usize, der: Zeroizing<Vec<u8>> },
    /// `PRIVATE KEY` (RFC 5958), of whatever kind.
    Pkcs8 { line: usize, der: Zeroizing<Vec<u8>> },
}

impl Key {
    /// The line on which its block begins.
    pub(super) fn line(&self) -> usize {
        match self {
            Self::Pkcs1 { line, .. } | Self::Pkcs8 { line, .. } => *line,
        }
    }
}

/// A certificate's bytes and the line on which its block begins.
pub(super) struct Der {
    pub(super) line: usize,
    pub(super) bytes: Vec<u8>,
}

/// Finds exactly one private key and at least one certificate.
pub(super) fn contents(file: &[u8]) -> Result<Contents, Fault> {
    let blocks = blocks(file)?;
    if blocks.is_empty() {
        return Err(Fault::NoBlock(looks(file)));
    }
    let (keys, others): (Vec<_>, Vec<_>) =
        blocks.into_iter().partition(|block| block.label.ends_with("PRIVATE KEY"));
    let key = match keys.as_slice() {
        [] => return Err(Fault::NoKey(found(&others))),
        [key] => key.private_key()?,
        [first, second, ..] => return Err(Fault::TwoKeys { first: first.line, second: second.line }),
    };
    let mut certificates = Vec::new();
    for block in &others {
        if let Some(Item::X509Certificate(der)) = block.decode()? {
            certificates.push(Der { line: block.line, bytes: der.as_ref().to_vec() });
        }
    }
    if certificates.is_empty() {
        return Err(Fault::NoCertificate(found(&others)));
    }
    Ok(Contents { key, certificates })
}

/// One block: what stands between a BEGIN and an END line.
struct Block {
    label: String,
    line: usize,
    /// RFC 1421 headers say that the body is encrypted (`Proc-Type: 4,ENCRYPTED`, `DEK-Info`).
    encrypted: bool,
    /// The block again with lines trimmed and without headers, as rustls-pemfile likes it.
    text: Zeroizing<Vec<u8>>,
}

impl Block {
    fn begin(label: String, line: usize) -> Self {
        // Room for the largest key: growing would leave copies of it behind.
        let room = if label.ends_with("PRIVATE KEY") { ROOM_FOR_A_KEY } else { 0 };
        let mut block =
            Self { label, line, encrypted: false, text: Zeroizing::new(Vec::with_capacity(room)) };
        block.push(format!("-----BEGIN {}-----", block.label).as_bytes());
        block
    }

    fn push(&mut self, line: &[u8]) {
        self.text.extend_from_slice(line);
        self.text.push(b'\n');
    }

    /// The block decoded; none for a kind that rustls-pemfile does not know.
    fn decode(&self) -> Result<Option<Item>, Fault> {
        // The error is not passed on: it may quote the line.
        match rustls_pemfile::read_one_from_slice(&self.text) {
            Ok(decoded) => Ok(decoded.map(|(item, _rest)| item)),
            Err(_) => Err(Fault::BadBase64 { label: self.label.clone(), line: self.line }),
        }
    }

    fn private_key(&self) -> Result<Key, Fault> {
        match self.label.as_str() {
            "ENCRYPTED PRIVATE KEY" => return Err(Fault::Encrypted { line: self.line, traditional: false }),
            _ if self.encrypted => return Err(Fault::Encrypted { line: self.line, traditional: true }),
            "PRIVATE KEY" | "RSA PRIVATE KEY" => {}
            other => {
                let kind = other.trim_end_matches("PRIVATE KEY").trim_end();
                return Err(Fault::NotRsa { kind: kind.to_owned() });
            }
        }
        match self.decode()? {
            Some(Item::Pkcs1Key(mut key)) => {
                let der = Zeroizing::new(key.secret_pkcs1_der().to_vec());
                key.zeroize();
                Ok(Key::Pkcs1 { line: self.line, der })
            }
            Some(Item::Pkcs8Key(mut key)) => {
                let der = Zeroizing::new(key.secret_pkcs8_der().to_vec());
                key.zeroize();
                Ok(Key::Pkcs8 { line: self.line, der })
            }
            _ => Err(Fault::BadKey { line: self.line }),
        }
    }
}

/// Cuts a file into blocks. Text between blocks (Bag Attributes, comments) is passed over, as are indentation, a BOM
/// at the start of any line, and a missing line break between two joined files.
fn blocks(file: &[u8]) -> Result<Vec<Block>, Fault> {
    let newline = if file.contains(&b'\n') { b'\n' } else { b'\r' };
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in (1..).zip(file.split(|&byte| byte == newline)) {
        let mut line = trim(line);
        while !line.is_empty() {
            let (this, rest) = split_boundary(line);
            line = rest;
            match (boundary(this), open.take()) {
                (Line::Begin(label), None) => open = Some(Block::begin(label, number)),
                (Line::Begin(_), Some(block)) => return Err(block.unfinished()),
                (Line::End(label), Some(mut block)) if label == block.label => {
                    block.push(this);
                    blocks.push(block);
                }
                (Line::End(_), Some(block)) => return Err(block.unfinished()),
                (Line::End(label), None) => return Err(Fault::NoBegin { label, line: number }),
                // The last line of a file that is half written.
                (Line::Cut, Some(block)) => return Err(block.unfinished()),
                (Line::Cut, None) => return Err(Fault::NoEnd { label: "last".to_owned(), line: number }),
                (Line::Broken, _) => {
                    return Err(Fault::LineBreaks {
                        line: number,
                        escaped: this.windows(2).any(|two| two == b"\\n"),
                    });
                }
                (Line::Text, Some(mut block)) => {
                    if !this.contains(&b':') {
                        block.push(this);
                    } else if this.starts_with(b"DEK-Info") || this.ends_with(b"ENCRYPTED") {
                        block.encrypted = true;
                    }
                    open = Some(block);
                }
                (Line::Text, None) => {}
            }
        }
    }
    match open {
        Some(block) => Err(block.unfinished()),
        None => Ok(blocks),
    }
}

impl Block {
    fn unfinished(&self) -> Fault {
        Fault::NoEnd { label: self.label.clone(), line: self.line }
    }
}

enum Line {
    Begin(String),
    End(String),
    /// A boundary with more on its line: the line breaks were lost on the way.
    Broken,
    /// A boundary that stops before its closing dashes.
    Cut,
    Text,
}

fn boundary(line: &[u8]) -> Line {
    let (rest, begins) = match (line.strip_prefix(b"-----BEGIN "), line.strip_prefix(b"-----END ")) {
        (Some(rest), _) => (rest, true),
        (_, Some(rest)) => (rest, false),
        _ => return Line::Text,
    };
    // Labels are upper-case words (RFC 7468 section 3); anything else could be part of a key and must not be shown.
    let label = rest.strip_suffix(b"-----").filter(|label| {
        label.len() <= 64 && label.iter().all(|&b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ')
    });
    match label.map(|label| String::from_utf8_lossy(label).into_owned()) {
        Some(label) if begins => Line::Begin(label),
        Some(label) => Line::End(label),
        None if rest.windows(5).any(|five| five == b"-----") => Line::Broken,
        None => Line::Cut,
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

fn trim(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii_start();
    line.strip_prefix(BOM).unwrap_or(line).trim_ascii()
}

/// What else stands in the file, for the fault that says what is missing.
fn found(blocks: &[Block]) -> Found {
    let has = |label: &str| blocks.iter().any(|block| block.label == label);
    if has("TRUSTED CERTIFICATE") {
        Found::TrustedCertificate
    } else if has("CERTIFICATE REQUEST") || has("NEW CERTIFICATE REQUEST") {
        Found::Request
    } else if has("PUBLIC KEY") {
        Found::PublicKey
    } else {
        Found::Nothing
    }
}

/// What a file without any PEM block seems to be.
fn looks(file: &[u8]) -> Looks {
    let text = trim(file);
    match file {
        _ if text.is_empty() => return Looks::Empty,
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Looks::Utf16,
        [0xfe, 0xed, 0xfe, 0xed, ..] => return Looks::JavaKeyStore,
        // A DER sequence: X.690 section 8.1.3 says how long its length is; the kind shows in the first element.
        [0x30, length, rest @ ..] => {
            let skip = if length & 0x80 == 0 { 0 } else { usize::from(length & 0x7f) };
            return match rest.get(skip..) {
                Some([0x02, 0x01, 0x03, ..]) => Looks::Pfx,
                Some([0x02, 0x01, 0x00, ..]) => Looks::DerKey,
                _ => Looks::DerCertificate,
            };
        }
        _ => {}
    }
    // The base64 of `-----BEGIN`, and of a DER sequence with a two-byte length.
    if text.starts_with(b"LS0tLS1CRUdJ") {
        Looks::Base64OfPem
    } else if text.starts_with(b"MII") {
        Looks::Base64OfDer
    } else {
        Looks::Unknown
    }
}
