//! Every file of `tests/data/make.sh`: what is made of it, or what is said about it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::identity::load;
use crate::identity::pems::{self, pem};

/// 2027-01-15: all the valid certificates are valid then.
const NOW: u64 = 1_800_000_000;
/// 2048-01-01, from when on the one of `future.pem` is valid.
const FUTURE: u64 = 2_461_449_600;

fn loaded(name: &str) -> KeyPair {
    match load(&pem(name), NOW) {
        Ok((pair, notes)) => {
            assert!(notes.is_empty(), "{name}: {notes:?}");
            pair
        }
        Err(problem) => panic!("{name}: {problem}"),
    }
}

fn load_with(path: &Path, password: Option<&str>) -> Result<(KeyPair, Vec<Problem>), Problem> {
    from_file(&fs::read(path).unwrap(), path, password, NOW)
}

fn refused(name: &str) -> Problem {
    load(&pem(name), NOW).expect_err(name)
}

/// A certificate of make.sh in DER form, decoded by openssl.
fn der(name: &str) -> Vec<u8> {
    let out =
        Command::new("openssl").args(["x509", "-outform", "DER", "-in"]).arg(pem(name)).output().unwrap();
    assert!(out.status.success());
    out.stdout
}

#[test]
fn every_good_form_gives_the_same_pair() {
    let leaf = der("leaf.crt");
    for name in [
        "key-first.pem",
        "cert-first.pem",
        "pkcs1.pem",
        "bom.pem",
        "bom-twice.pem",
        "crlf.pem",
        "indented.pem",
        "joined.pem",
        "bag-attributes.pem",
        "chain-ca-first.pem",
        "renewed.pem",
        "renewed-first.pem",
        "doubled.pem",
        "dh-parameters.pem",
        "x509-certificate.pem",
        "x-509-certificate.pem",
        "quoted.pem",
        "quoted-singly.pem",
    ] {
        assert_eq!(loaded(name).certificate.chain[0], leaf, "{name}");
    }
}

#[test]
fn line_ends_of_every_system_are_read() {
    let unix = fs::read(pem("cert-first.pem")).unwrap();
    let old_mac: Vec<u8> = unix.iter().map(|&byte| if byte == b'\n' { b'\r' } else { byte }).collect();
    assert!(from_file(&old_mac, Path::new("x"), None, NOW).is_ok());
}

#[test]
fn the_certificate_is_described_as_openssl_does() {
    let certificate = loaded("key-first.pem").certificate;
    assert_eq!(certificate.subject, "CN=auth-proxy test");
    assert_eq!(certificate.issuer, "CN=auth-proxy test CA");
    assert_eq!(certificate.not_before_unix, 1_704_067_200, "2024-01-01T00:00:00Z");
    assert_eq!(certificate.not_after_unix, 2_524_607_999, "2049-12-31T23:59:59Z");
    assert_eq!(certificate.key_bits, 2048);
    for (digest, ours) in [("-sha1", certificate.sha1_hex()), ("-sha256", certificate.sha256_hex())] {
        let out = Command::new("openssl")
            .args(["x509", "-noout", "-fingerprint", digest, "-in"])
            .arg(pem("leaf.crt"))
            .output()
            .unwrap();
        let theirs = String::from_utf8(out.stdout).unwrap();
        assert_eq!(theirs.trim().rsplit('=').next().unwrap().replace(':', ""), ours);
    }
}

#[test]
fn a_year_beyond_2050_is_understood() {
    assert_eq!(loaded("leaf-2060.pem").certificate.not_after_unix, 2_840_140_800, "2060-01-01T00:00:00Z");
}

#[test]
fn the_chain_is_the_leafs_issuers_and_nothing_else() {
    let three = ["deep.crt", "intermediate.crt", "ca.crt"].map(der);
    assert_eq!(loaded("chain-of-three.pem").certificate.chain, three);
    // The root does not certify the leaf, so that it does not follow it.
    assert_eq!(loaded("chain-with-a-gap.pem").certificate.chain, [der("deep.crt")]);

    assert_eq!(loaded("chain-ca-first.pem").certificate.chain, [der("leaf.crt"), der("ca.crt")]);
    assert_eq!(loaded("bag-attributes.pem").certificate.chain, [der("leaf.crt"), der("ca.crt")]);
    // Neither the expired certificate of the same key nor a copy is a part of it.
    for name in ["renewed.pem", "renewed-first.pem", "doubled.pem"] {
        assert_eq!(loaded(name).certificate.chain, [der("leaf.crt"), der("ca.crt")], "{name}");
    }
}

#[test]
fn what_older_authorities_wrote_is_read() {
    assert_eq!(loaded("long-serial.pem").certificate.chain, [der("long-serial.crt")]);
    for name in ["bmp.pem", "teletex.pem"] {
        assert_eq!(loaded(name).certificate.subject, "CN=Zoë\\, Straße", "{name}");
    }
}

#[test]
fn a_stray_broken_certificate_is_noted_and_left_out() {
    let (pair, notes) = load(&pem("bad-extra-certificate.pem"), NOW).unwrap();
    assert_eq!(pair.certificate.chain, [der("leaf.crt")]);
    assert_eq!(notes.len(), 1);
    assert!(notes[0].message.contains("is not an X.509 certificate"), "{}", notes[0]);
}

/// File; its message after the file's name; a part of one of its hints.
const FAULTS: &[(&str, &str, &str)] = &[
    ("empty.pem", "is empty", "PEM form"),
    ("blank.pem", "is empty", "PEM form"),
    ("garbage.pem", "has no PEM block in it", "BEGIN CERTIFICATE"),
    (
        "pfx.pfx",
        "is PKCS#12 (PFX) that needs a password, and none is set",
        "set AZURE_CLIENT_CERTIFICATE_PASSWORD",
    ),
    ("pfx-named.pem", "is PKCS#12 (PFX) that needs a password, and none is set", "the file is damaged"),
    (
        "pfx-base64.pem",
        "is PKCS#12 (PFX) that needs a password, and none is set",
        "AZURE_CLIENT_CERTIFICATE_PASSWORD",
    ),
    ("certificate-base64.pem", "is base64 without BEGIN and END lines, not PEM", "append the private key"),
    ("pem-base64.pem", "is PEM in base64 once more, not PEM", "stringData"),
    (
        "certificate.der",
        "is a certificate in DER form, without a private key, not PEM",
        "openssl x509 -inform DER",
    ),
    ("key.der", "is a private key in DER form, without a certificate, not PEM", "openssl pkey -inform DER"),
    ("utf16.pem", "is UTF-16 text, as PowerShell's > writes it, not PEM", "iconv -f UTF-16"),
    ("escaped.pem", "has the characters \\n where line breaks should be, on line 1", "printf '%b'"),
    ("utf16-le.pem", "is UTF-16 text, as PowerShell's > writes it, not PEM", "iconv -f UTF-16LE"),
    ("utf16-be.pem", "is UTF-16 text, as PowerShell's > writes it, not PEM", "iconv -f UTF-16BE"),
    ("escaped-quoted.pem", "has the characters \\n where line breaks should be, on line 1", "printf '%b'"),
    ("secret.yaml", "is the manifest of a Kubernetes Secret, not PEM", "mount the Secret"),
    ("pkcs7.pem", "has a private key but no certificate", "openssl pkcs7 -in "),
    ("pkcs7-alone.pem", "has no private key", "append the private key"),
    (
        "pkcs7.der",
        "is PKCS#7 in DER form, which holds certificates and no private key, not PEM",
        "openssl pkcs7 -inform DER",
    ),
    ("openssh.pem", "has a private key in OpenSSH's own form on line 1", "ssh-keygen -p -m PEM -f FILE"),
    (
        "openssh-ed25519.pem",
        "has a private key of kind Ed25519; Entra ID takes RSA keys only",
        "RSA key of 2048 bits",
    ),
    (
        "multi-prime.pem",
        "has an RSA key of more than two primes on line 1, which is not supported",
        "a key of two primes",
    ),
    (
        "one-line.pem",
        "has lost its line breaks: a BEGIN or END line has more on it, on line 1",
        "block scalar",
    ),
    ("truncated.pem", "is cut off: the PRIVATE KEY block that begins on line 18 has no END line", "mv"),
    ("no-end.pem", "is cut off: the CERTIFICATE block that begins on line 1 has no END line", "last line"),
    ("no-begin.pem", "has END CERTIFICATE on line 16 without its BEGIN line", "first line"),
    (
        "bad-base64.pem",
        "has a damaged CERTIFICATE block: the base64 that begins on line 1 cannot be decoded",
        "copy the file again",
    ),
    (
        "bad-certificate.pem",
        "has a CERTIFICATE block on line 29 that is not an X.509 certificate",
        "openssl x509",
    ),
    ("bad-key.pem", "has a private key on line 1 that is not a valid RSA key", "openssl pkey -in"),
    ("no-key.pem", "has no private key", "cat tls.crt tls.key"),
    ("public-key.pem", "has no private key", "public key, which cannot sign"),
    ("two-keys.pem", "has more than one private key: on line 1 and on line 29", "leave only the key"),
    ("no-cert.pem", "has a private key but no certificate", "CombinedPEM"),
    ("request.pem", "has a private key but no certificate", "certificate request"),
    (
        "mismatch.pem",
        "has a private key that belongs to none of its certificates: CN=auth-proxy other; CN=auth-proxy test CA",
        "openssl pkey -in",
    ),
    ("ec.pem", "has a private key of kind EC; Entra ID takes RSA keys only", "rsa:2048"),
    ("ec-sec1.pem", "has a private key of kind EC; Entra ID takes RSA keys only", "RSA key of 2048 bits"),
    (
        "ed25519.pem",
        "has a private key of kind Ed25519; Entra ID takes RSA keys only",
        "RSA key of 2048 bits",
    ),
    ("pss.pem", "has a private key of kind RSASSA-PSS; Entra ID takes RSA keys only", "RSA key of 2048 bits"),
    (
        "weak.pem",
        "has an RSA key of 1024 bits; Entra ID wants 2048 or more (AADSTS50032)",
        "2048 bits or more",
    ),
    ("huge.pem", "has an RSA key of 16384 bits; at most 8192 are supported", "2048 to 4096"),
    (
        "encrypted.pem",
        "has an encrypted private key (PKCS#8) on line 18, and no password is set",
        "set AZURE_CLIENT_CERTIFICATE_PASSWORD",
    ),
    (
        "dek-info.pem",
        "has an encrypted private key (DEK-Info) on line 18, and no password is set",
        "set AZURE_CLIENT_CERTIFICATE_PASSWORD",
    ),
    (
        "expired.pem",
        "has an expired certificate: CN=auth-proxy expired was valid until 2021-01-01T00:00:00Z",
        "this machine's clock says 2027-01-15T08:00:00Z",
    ),
    (
        "future.pem",
        "has a certificate from the future: CN=auth-proxy future is valid from 2048-01-01T00:00:00Z",
        "NTP",
    ),
];

#[test]
fn every_error_has_its_message_and_remedy() {
    for (name, message, hint) in FAULTS {
        let problem = refused(name);
        assert_eq!(problem.message, format!("certificate file {} {message}", pem(name).display()));
        assert!(problem.hints.iter().any(|line| line.contains(hint)), "{problem}\n  lacks: {hint}");
    }
}

#[test]
fn no_message_shows_any_of_the_key() {
    let keys =
        ["leaf.key", "other.key", "weak.key", "ec.key", "ed25519.key"].map(|key| fs::read(pem(key)).unwrap());
    for (name, ..) in FAULTS {
        let shown = format!("{:?}", refused(name));
        for line in keys.iter().flat_map(|key| key.split(|&byte| byte == b'\n')) {
            let piece = String::from_utf8_lossy(&line[..line.len().min(12)]);
            assert!(piece.len() < 12 || piece.starts_with("-----") || !shown.contains(&*piece), "{shown}");
        }
    }
    let pair = format!("{:?}", loaded("key-first.pem"));
    assert!(pair.len() < 80 && pair.ends_with("key hidden)"), "{pair}");
}

#[test]
fn a_file_truncated_at_any_byte_is_reported_as_cut_off() {
    let whole = fs::read(pem("cert-first.pem")).unwrap();
    // Without its last newline and the dash before it, the END line is not whole.
    for length in 1..whole.len() - 1 {
        let problem = from_file(&whole[..length], Path::new("cut.pem"), None, NOW).expect_err("not whole");
        let facts = ["is cut off: ", "has no private key", "has no PEM block in it"];
        assert!(facts.iter().any(|fact| problem.message.contains(fact)), "{length} bytes: {problem}");
        assert!(!problem.hints.is_empty(), "{length} bytes");
    }
}

#[test]
fn a_file_damaged_at_any_byte_never_ends_the_program() {
    let whole = fs::read(pem("cert-first.pem")).unwrap();
    for at in (0..whole.len()).step_by(5) {
        let mut damaged = whole.clone();
        damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
        match from_file(&damaged, Path::new("damaged.pem"), None, NOW) {
            // A certificate's signature is not ours to check.
            Ok((pair, _)) => assert_eq!(pair.certificate.key_bits, 2048, "byte {at}"),
            Err(problem) => assert!(!problem.hints.is_empty(), "byte {at}: {problem}"),
        }
    }
}

#[test]
fn within_five_minutes_the_future_is_a_skewed_clock() {
    let path = pem("future.pem");
    let (_, notes) = load(&path, FUTURE).unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    let (_, notes) = load(&path, FUTURE - 300).unwrap();
    assert!(notes[0].message.contains("from the future"), "{notes:?}");
    assert!(load(&path, FUTURE - 301).is_err());
}

#[test]
fn the_last_second_of_validity_counts() {
    assert!(load(&pem("expired.pem"), 1_609_459_200).is_ok());
    assert!(load(&pem("expired.pem"), 1_609_459_201).is_err());
}

/// OpenSSH itself writes the file and converts it, where it is installed.
#[test]
fn a_key_of_openssh_is_converted_by_the_printed_command() {
    let directory = pems::scratch("openssh");
    let (key, file) = (directory.join("key"), directory.join("id.pem"));
    fs::copy(pem("leaf.key"), &key).unwrap();
    // Writes OpenSSH's own form by default.
    let written = Command::new("ssh-keygen").args(["-q", "-p", "-P", "", "-N", "", "-f"]).arg(&key).status();
    if let Ok(status) = written {
        assert!(status.success());
        fs::write(&file, [fs::read(pem("leaf.crt")).unwrap(), fs::read(&key).unwrap()].concat()).unwrap();
        let problem = load(&file, NOW).unwrap_err();
        assert!(problem.message.contains("in OpenSSH's own form on line 18"), "{problem}");
        let command = problem.hints.iter().find_map(|hint| hint.strip_prefix("convert it: ")).unwrap();
        let out = Command::new("sh").arg("-c").arg(command).output().unwrap();
        assert!(out.status.success(), "{command}\n{}", String::from_utf8_lossy(&out.stderr));
        let (pair, _) = load(&file.with_extension("new.pem"), NOW).unwrap();
        assert_eq!(pair.certificate.chain[0], der("leaf.crt"));
    }
    fs::remove_dir_all(directory).unwrap();
}

/// The commands in the hints are run as they stand, in a directory whose name needs quoting; only the passphrase,
/// which openssl would ask for, is put in.
#[test]
fn the_printed_remedies_work() {
    let directory = pems::scratch("it's a remedy");
    for (name, hint) in [
        ("pfx-rc4.pfx", "convert it: "),
        ("encrypted-rc4.pem", "decrypt it: "),
        ("dek-info-des.pem", "decrypt it: "),
        ("pem-base64.pem", "decode it: "),
        ("escaped.pem", "restore the line breaks: "),
        ("utf16.pem", "convert it: "),
        ("utf16-le.pem", "convert it: "),
        ("utf16-be.pem", "convert it: "),
        ("escaped-quoted.pem", "restore the line breaks: "),
        ("secret.yaml", "or decode it: "),
        ("pkcs7.pem", "its certificates are in a PKCS#7 block; take them out: "),
    ] {
        let file = directory.join(name);
        fs::copy(pem(name), &file).unwrap();
        let problem = load_with(&file, Some("secret")).expect_err(name);
        let hint = problem.hints.iter().find_map(|line| line.strip_prefix(hint));
        // These need openssl's older algorithms, as the hint after it says.
        let is_old = problem.hints.iter().any(|hint| hint.starts_with("if openssl reports `unsupported`"));
        let old = if is_old { "-provider legacy -provider default " } else { "" };
        let command = ["pkcs12", "pkey"].iter().fold(hint.expect(name).to_owned(), |command, tool| {
            command.replace(&format!("openssl {tool} "), &format!("openssl {tool} {old}-passin pass:secret "))
        });
        let out = Command::new("sh").arg("-c").arg(&command).output().unwrap();
        assert!(out.status.success(), "{command}\n{}", String::from_utf8_lossy(&out.stderr));
        let remedied: PathBuf = file.with_extension("new.pem");
        let (pair, _) = load(&remedied, NOW).unwrap_or_else(|problem| panic!("{command}\n{problem}"));
        assert_eq!(pair.certificate.chain[0], der("leaf.crt"), "{command}");
        fs::remove_file(remedied).unwrap();
    }
    fs::remove_dir_all(directory).unwrap();
}
