//! Everything that can be wrong with the content of a certificate file: the message, and what to do about it.
//!
//! Nothing here ever holds a byte of a private key: errors carry labels, line numbers, dates and public names.

use std::path::Path;

use crate::log::rfc3339;
use crate::report::{Problem, shell_quoted};

/// The smallest key that Entra ID accepts (it rejects a smaller one with AADSTS50032).
pub(super) const MIN_KEY_BITS: usize = 2048;
/// The largest key that the rsa crate accepts; a signature with it already takes a good fraction of a second.
pub(super) const MAX_KEY_BITS: usize = 8192;

/// What is wrong with the content, without the file's name.
#[derive(Debug)]
pub(super) enum CertificateError {
    BadBase64 { label: String, line: usize },
    BadCertificate { line: usize },
    BadKey { line: usize },
    Encrypted { line: usize, traditional: bool },
    Expired { subject: String, not_after: u64, now: u64 },
    LineBreaks { line: usize, escaped: bool },
    Mismatch { subjects: Vec<String> },
    MultiPrime { line: usize },
    NoBegin { label: String, line: usize },
    NoBlock(DetectedFormat),
    NoCertificate(PresentInstead),
    NoEnd { label: String, line: usize },
    NoKey(PresentInstead),
    NotRsa { kind: String },
    NotYetValid { subject: String, not_before: u64, now: u64 },
    OpenSsh { line: usize },
    TooLarge { bits: usize },
    TwoKeys { first: usize, second: usize },
    Weak { bits: usize },
}

/// What a file without PEM blocks seems to be.
#[derive(Debug, Clone, Copy)]
pub(super) enum DetectedFormat {
    Base64OfDer,
    Base64OfPem,
    DerCertificate,
    DerKey,
    Empty,
    JavaKeyStore,
    KubernetesSecret,
    Pfx,
    Pkcs7,
    Unknown,
    /// With the name that iconv has for it.
    Utf16(&'static str),
}

/// What the file contains instead of what is missing.
#[derive(Debug, Clone, Copy)]
pub(super) enum PresentInstead {
    Nothing,
    Pkcs7,
    PublicKey,
    Request,
    TrustedCertificate,
}

impl CertificateError {
    /// The message and hints for the file `path`.
    pub(super) fn into_problem(self, path: &Path) -> Problem {
        let name = path.display();
        let (file, out) = (shell_quoted(path), shell_quoted(&path.with_extension("new.pem")));
        let error = |text: String| Problem::new(format!("certificate file {name} {text}"));
        match self {
            Self::BadBase64 { label, line } => {
                error(format!("has a damaged {label} block: the base64 that begins on line {line} cannot be decoded"))
                    .hint("copy the file again from its source; an editor or a template may have changed it")
            }
            Self::BadCertificate { line } => {
                error(format!("has a CERTIFICATE block on line {line} that is not an X.509 certificate"))
                    .hint(format!("inspect it: openssl x509 -in {file} -noout -text"))
            }
            Self::BadKey { line } => {
                error(format!("has a private key on line {line} that is not a valid RSA key"))
                    .hint(format!("check it: openssl pkey -in {file} -check -noout"))
            }
            Self::Encrypted { line, traditional } => {
                let (kind, tool) =
                    if traditional { ("DEK-Info", "openssl rsa") } else { ("PKCS#8", "openssl pkey") };
                error(format!("has an encrypted private key ({kind}) on line {line}; there is no setting for a passphrase"))
                    .hint(format!("decrypt it: {tool} -in {file} -out {out} && openssl x509 -in {file} >> {out}"))
                    .hint("keep the result readable for this program alone, for example in a Kubernetes secret")
            }
            Self::Expired { subject, not_after, now } => {
                error(format!("has an expired certificate: {subject} was valid until {}", rfc3339(not_after)))
                    .hint("renew the certificate and upload it to the app registration under Certificates & secrets")
                    .hint(clock(now))
            }
            Self::LineBreaks { line, escaped: true } => {
                error(format!("has the characters \\n where line breaks should be, on line {line}"))
                    .hint(format!("restore the line breaks: printf '%b' \"$(cat {file})\" > {out}"))
            }
            Self::LineBreaks { line, escaped: false } => {
                error(format!("has lost its line breaks: a BEGIN or END line has more on it, on line {line}")).hint(
                    "write it with its line breaks: quote the shell variable (\"$PEM\"), use a block scalar (|) in YAML",
                )
            }
            Self::Mismatch { subjects } => {
                error(format!("has a private key that belongs to none of its certificates: {}", subjects.join("; ")))
                    .hint("use the private key the certificate was issued for")
                    .hint(format!(
                        "compare the public keys: openssl pkey -in {file} -pubout; openssl x509 -in {file} -noout -pubkey"
                    ))
            }
            Self::MultiPrime { line } => {
                error(format!("has an RSA key of more than two primes on line {line}, which is not supported"))
                    .hint("request a certificate with a key of two primes: openssl genpkey -algorithm RSA -pkeyopt \
                           rsa_keygen_bits:2048")
            }
            Self::NoBegin { label, line } => error(format!("has END {label} on line {line} without its BEGIN line"))
                .hint("copy the file again from its source, including its first line"),
            Self::NoBlock(format) => not_pem(format, path, &file, &out),
            Self::NoCertificate(present) => {
                let problem = error("has a private key but no certificate".to_owned());
                match present {
                    PresentInstead::Request => problem.hint("it has a certificate request: use the issued certificate"),
                    PresentInstead::Pkcs7 => problem.hint(format!(
                        "its certificates are in a PKCS#7 block; take them out: openssl pkcs7 -in {file} -print_certs \
                         -out {out} && openssl pkey -in {file} >> {out}"
                    )),
                    PresentInstead::TrustedCertificate => {
                        problem.hint(format!("TRUSTED CERTIFICATE is OpenSSL's own form: openssl x509 -in {file}"))
                    }
                    PresentInstead::Nothing | PresentInstead::PublicKey => both(problem),
                }
            }
            Self::NoEnd { label, line } => {
                error(format!("is cut off: the {label} block that begins on line {line} has no END line"))
                    .hint("copy the file again, including its last line; replace it in one step (mv, not >)")
            }
            Self::NoKey(present) => {
                let problem = error("has no private key".to_owned());
                match present {
                    PresentInstead::Pkcs7 => problem.hint(format!(
                        "it has a PKCS#7 block, which holds certificates only: openssl pkcs7 -in {file} -print_certs \
                         -out {out}, and append the private key to {out}"
                    )),
                    PresentInstead::PublicKey => both(problem.hint("it has a public key, which cannot sign")),
                    _ => both(problem),
                }
            }
            Self::NotRsa { kind } => error(format!("has a private key of kind {kind}; Entra ID takes RSA keys only"))
                .hint("request a certificate with an RSA key of 2048 bits or more")
                .hint("for a test: openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=auth-proxy \
                       -keyout key.pem -out cert.pem && cat cert.pem key.pem > identity.pem"),
            Self::NotYetValid { subject, not_before, now } => {
                error(format!("has a certificate from the future: {subject} is valid from {}", rfc3339(not_before)))
                    .hint(clock(now))
            }
            Self::OpenSsh { line } => {
                error(format!("has a private key in OpenSSH's own form on line {line}"))
                    .hint("it is an RSA key: ssh-keygen -p -m PEM -f FILE rewrites a file that holds nothing else")
                    .hint(format!(
                        "convert it: (umask 077; sed -n '/BEGIN OPENSSH/,/END OPENSSH/p' {file} > {out}) && \
                         ssh-keygen -p -m PEM -N '' -f {out} && openssl x509 -in {file} >> {out}"
                    ))
            }
            Self::TooLarge { bits } => error(format!("has an RSA key of {bits} bits; at most {MAX_KEY_BITS} are supported"))
                .hint("2048 to 4096 bits are usual"),
            Self::TwoKeys { first, second } => {
                error(format!("has more than one private key: on line {first} and on line {second}"))
                    .hint("leave only the key that belongs to the certificate registered with the application")
            }
            Self::Weak { bits } => {
                error(format!("has an RSA key of {bits} bits; Entra ID wants {MIN_KEY_BITS} or more (AADSTS50032)"))
                    .hint("request a certificate with an RSA key of 2048 bits or more")
            }
        }
    }
}

/// Key and certificate often come in two files; how to make one of them.
fn both(problem: Problem) -> Problem {
    problem
        .hint("one file must hold both: cat tls.crt tls.key > identity.pem")
        .hint("cert-manager: additionalOutputFormats CombinedPEM puts both into tls-combined.pem")
}

fn clock(now: u64) -> String {
    format!("this machine's clock says {}; if that is wrong, set it (NTP)", rfc3339(now))
}

fn not_pem(format: DetectedFormat, path: &Path, file: &str, out: &str) -> Problem {
    let name = path.display();
    let pem = |kind: &str| Problem::new(format!("certificate file {name} is {kind}, not PEM"));
    match format {
        DetectedFormat::Base64OfDer => pem("base64 without BEGIN and END lines")
            .hint(format!(
                "if it is a secret of Azure Key Vault: base64 -d {file} > {out}.pfx && \
                 openssl pkcs12 -in {out}.pfx -out {out} -nodes"
            )),
        DetectedFormat::Base64OfPem => pem("PEM in base64 once more")
            .hint(format!("decode it: base64 -d {file} > {out}"))
            .hint("Kubernetes: put the file into stringData, or encode it once only under data"),
        DetectedFormat::DerCertificate => pem("a certificate in DER form, without a private key").hint(format!(
            "convert it: openssl x509 -inform DER -in {file} -out {out}, and append the private key to {out}"
        )),
        DetectedFormat::DerKey => pem("a private key in DER form, without a certificate").hint(format!(
            "convert it: openssl pkey -inform DER -in {file} -out {out}, and append the certificate to {out}"
        )),
        DetectedFormat::Empty => Problem::new(format!("certificate file {name} is empty"))
            .hint("it should hold a certificate and its private key, both in PEM form"),
        DetectedFormat::JavaKeyStore => pem("a Java key store").hint(format!(
            "convert it: keytool -importkeystore -srckeystore {file} -destkeystore {out}.pfx -deststoretype PKCS12 \
             && openssl pkcs12 -in {out}.pfx -out {out} -nodes"
        )),
        DetectedFormat::KubernetesSecret => pem("the manifest of a Kubernetes Secret")
            .hint("mount the Secret as a volume and name the file in it, not the manifest")
            .hint(format!(
                "or decode it: grep -o 'LS0tLS1[A-Za-z0-9+/=]*' {file} | while read -r block; do echo \"$block\" | \
                 base64 -d; done > {out}"
            )),
        DetectedFormat::Pkcs7 => pem("PKCS#7 in DER form, which holds certificates and no private key").hint(format!(
            "convert it: openssl pkcs7 -inform DER -in {file} -print_certs -out {out}, and append the private key to \
             {out}"
        )),
        DetectedFormat::Pfx => {
            pem("PKCS#12 (PFX)").hint(format!("convert it: openssl pkcs12 -in {file} -out {out} -nodes"))
                .hint("if openssl reports `unsupported`, the file has an older format: add -legacy")
        }
        DetectedFormat::Unknown => Problem::new(format!("certificate file {name} has no PEM block in it"))
            .hint("it should hold a -----BEGIN CERTIFICATE----- and a -----BEGIN PRIVATE KEY----- block"),
        DetectedFormat::Utf16(encoding) => pem("UTF-16 text, as PowerShell's > writes it")
            .hint(format!("convert it: iconv -f {encoding} -t UTF-8 {file} > {out}"))
            .hint("in PowerShell: Set-Content -Encoding ascii"),
    }
}
