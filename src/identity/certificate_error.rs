//! Everything that can be wrong with the content of a certificate file: the message, and what to do about it.
//!
//! Nothing here ever holds a byte of a private key: errors carry labels, line numbers, dates and public names.

use std::path::{Path, PathBuf};

use crate::log::rfc3339;
use crate::report::{Problem, shell_quoted};

/// The smallest key that Entra ID accepts (it rejects a smaller one with AADSTS50032).
pub(super) const MIN_KEY_BITS: usize = 2048;
/// The largest key that the rsa crate accepts; a signature with it already takes a good fraction of a second.
pub(super) const MAX_KEY_BITS: usize = 8192;

/// What is wrong with the content, without the file's name.
#[derive(Debug)]
pub(super) enum CertificateError {
    BadBase64 {
        label: String,
        line: usize,
    },
    BadCertificate {
        line: Option<usize>,
    },
    BadKey {
        line: Option<usize>,
    },
    Expired {
        subject: String,
        not_after: u64,
        now: u64,
    },
    LineBreaks {
        line: usize,
        escaped: bool,
    },
    Locked {
        form: LockedForm,
        obstacle: Obstacle,
    },
    /// With the key's file, if that is not the certificates'.
    Mismatch {
        subjects: Vec<String>,
        key_file: Option<PathBuf>,
    },
    MultiPrime {
        line: Option<usize>,
    },
    NoBegin {
        label: String,
        line: usize,
    },
    NoBlock(DetectedFormat),
    NoCertificate(PresentInstead),
    NoEnd {
        label: String,
        line: usize,
    },
    NoKey(PresentInstead),
    NotRsa {
        kind: String,
    },
    NotYetValid {
        subject: String,
        not_before: u64,
        now: u64,
    },
    OpenSsh {
        line: usize,
    },
    TooLarge {
        bits: usize,
    },
    TwoKeys {
        lines: Option<(usize, usize)>,
    },
    Weak {
        bits: usize,
    },
}

/// What is encrypted.
#[derive(Debug, Clone, Copy)]
pub(super) enum LockedForm {
    DekInfo { line: usize },
    Pfx,
    PfxInBase64,
    Pkcs8 { line: usize },
}

/// Why it does not open.
#[derive(Debug)]
pub(super) enum Obstacle {
    NoPassword,
    /// What its key derivation asks for or what is in it, as a clause.
    Unusable(String),
    /// The name of what it is encrypted with.
    Unsupported(String),
    WrongPassword,
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
    Pfx,
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
            Self::BadCertificate { line: Some(line) } => {
                error(format!("has a CERTIFICATE block on line {line} that is not an X.509 certificate"))
                    .hint(format!("inspect it: openssl x509 -in {file} -noout -text"))
            }
            Self::BadCertificate { line: None } => {
                error("has a certificate that is not an X.509 certificate".to_owned())
                    .hint(format!("inspect it: openssl pkcs12 -in {file} -nokeys"))
            }
            Self::BadKey { line } => {
                error(format!("has a private key{} that is not a valid RSA key", on_line(line)))
                    .hint(format!("check it: openssl pkey -in {file} -check -noout"))
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
            Self::Locked { form, obstacle } => locked(form, obstacle, path, &file, &out),
            Self::Mismatch { subjects, key_file } => {
                let subjects = subjects.join("; ");
                let (message, key) = match key_file {
                    None => (format!("has a private key that belongs to none of its certificates: {subjects}"), file.clone()),
                    Some(key) => {
                        let shown = key.display();
                        (format!("has no certificate for the private key in {shown}: {subjects}"), shell_quoted(&key))
                    }
                };
                error(message).hint("use the private key the certificate was issued for").hint(format!(
                    "compare the public keys: openssl pkey -in {key} -pubout; openssl x509 -in {file} -noout -pubkey"
                ))
            }
            Self::MultiPrime { line } => {
                error(format!("has an RSA key of more than two primes{}, which is not supported", on_line(line)))
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
                    PresentInstead::Pfx => problem.hint("export it again with its certificate"),
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
                    PresentInstead::Pfx => problem
                        .hint("export it again with its private key; in Windows the key must be exportable")
                        .hint("in Azure Key Vault the key is in the secret of the certificate's name, not in the certificate"),
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
            Self::TwoKeys { lines } => {
                let lines = lines.map(|(first, second)| format!(": on line {first} and on line {second}"));
                error(format!("has more than one private key{}", lines.unwrap_or_default()))
                    .hint("leave only the key that belongs to the certificate registered with the application")
            }
            Self::Weak { bits } => {
                error(format!("has an RSA key of {bits} bits; Entra ID wants {MIN_KEY_BITS} or more (AADSTS50032)"))
                    .hint("request a certificate with an RSA key of 2048 bits or more")
            }
        }
    }
}

/// Where a key's block begins, if the file has lines.
fn on_line(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!(" on line {line}"))
}

fn locked(form: LockedForm, obstacle: Obstacle, path: &Path, file: &str, out: &str) -> Problem {
    let what = match form {
        LockedForm::DekInfo { line } => format!("has an encrypted private key (DEK-Info) on line {line}"),
        LockedForm::Pfx | LockedForm::PfxInBase64 => "is PKCS#12 (PFX)".to_owned(),
        LockedForm::Pkcs8 { line } => format!("has an encrypted private key (PKCS#8) on line {line}"),
    };
    let problem = |rest: &str| Problem::new(format!("certificate file {} {what}{rest}", path.display()));
    // openssl reads no PFX in base64.
    let openssl = match form {
        LockedForm::PfxInBase64 => format!("base64 -d {file} | openssl pkcs12"),
        LockedForm::Pfx => format!("openssl pkcs12 -in {file}"),
        LockedForm::DekInfo { .. } | LockedForm::Pkcs8 { .. } => format!("openssl pkey -in {file}"),
    };
    let is_pfx = matches!(form, LockedForm::Pfx | LockedForm::PfxInBase64);
    match obstacle {
        Obstacle::NoPassword if is_pfx => problem(" that needs a password, and none is set")
            .hint("set AZURE_CLIENT_CERTIFICATE_PASSWORD to the password it was exported with")
            .hint("if it has none, the file is damaged: copy it again from its source"),
        Obstacle::NoPassword => problem(", and no password is set")
            .hint("set AZURE_CLIENT_CERTIFICATE_PASSWORD to the password of the key"),
        Obstacle::WrongPassword => {
            problem(" that does not open: the password is wrong or the file is damaged")
                .hint("AZURE_CLIENT_CERTIFICATE_PASSWORD must be the password of this file; white space counts, a line break at its end does not")
                .hint(format!("try the password by hand: {openssl} -noout"))
        }
        Obstacle::Unusable(clause) => with_openssl(problem(&format!(" that {clause}")), is_pfx, &openssl, file, out),
        Obstacle::Unsupported(name) => with_openssl(
            problem(&format!(" that is encrypted with {name}, which is not supported")),
            is_pfx,
            &openssl,
            file,
            out,
        ),
    }
}

/// How openssl opens what we do not.
fn with_openssl(problem: Problem, is_pfx: bool, openssl: &str, file: &str, out: &str) -> Problem {
    if is_pfx {
        problem
            .hint(format!("convert it: {openssl} -out {out} -nodes"))
            .hint("if openssl reports `unsupported`, the file has an older format: add -legacy")
    } else {
        problem
            .hint(format!("decrypt it: {openssl} -out {out} && openssl x509 -in {file} >> {out}"))
            .hint("if openssl reports `unsupported`, the file has an older format: add -provider legacy -provider default")
    }
    .hint("keep the result readable for this program alone, for example in a Kubernetes secret")
}

/// Key and certificate often come in two files; how to make one of them.
fn both(problem: Problem) -> Problem {
    problem
        .hint("one file must hold both: cat tls.crt tls.key > identity.pem")
        .hint("or name a directory with both, as the volume of a kubernetes.io/tls Secret is: tls.crt and tls.key")
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
            .hint("if it is a secret of Azure Key Vault, it is not whole: download it again")
            .hint(format!(
                "if it is a certificate: (echo -----BEGIN CERTIFICATE-----; cat {file}; echo -----END CERTIFICATE-----) > \
                 {out}, and append the private key to {out}"
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
            .hint("it should hold a certificate and its private key, both in PEM form, or be a PFX"),
        DetectedFormat::JavaKeyStore => pem("a Java key store").hint(format!(
            "convert it to a PFX, and set AZURE_CLIENT_CERTIFICATE_PASSWORD: keytool -importkeystore -srckeystore {file} \
             -destkeystore {out}.pfx -deststoretype PKCS12"
        )),
        DetectedFormat::KubernetesSecret => pem("the manifest of a Kubernetes Secret")
            .hint("mount the Secret as a volume and name the file in it, or the directory with tls.crt and tls.key")
            .hint(format!(
                "or decode it: grep -o 'LS0tLS1[A-Za-z0-9+/=]*' {file} | while read -r block; do echo \"$block\" | \
                 base64 -d; done > {out}"
            )),
        DetectedFormat::Pkcs7 => pem("PKCS#7 in DER form, which holds certificates and no private key").hint(format!(
            "convert it: openssl pkcs7 -inform DER -in {file} -print_certs -out {out}, and append the private key to \
             {out}"
        )),
        DetectedFormat::Pfx => pem("PKCS#12 (PFX)")
            .hint("in a directory tls.crt and tls.key are PEM; a PFX holds both: name it in AZURE_CERTIFICATE_PATH"),
        DetectedFormat::Unknown => Problem::new(format!("certificate file {name} has no PEM block in it"))
            .hint("it should hold a -----BEGIN CERTIFICATE----- and a -----BEGIN PRIVATE KEY----- block"),
        DetectedFormat::Utf16(encoding) => pem("UTF-16 text, as PowerShell's > writes it")
            .hint(format!("convert it: iconv -f {encoding} -t UTF-8 {file} > {out}"))
            .hint("in PowerShell: Set-Content -Encoding ascii"),
    }
}
