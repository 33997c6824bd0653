//! Every form with a password, and every form without PEM: what opens, and what is said of the rest.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::slice::from_ref;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::identity::ber::{self, SEQUENCE};
use crate::identity::decrypt::{self, Fault, Password};
use crate::identity::pems::{self, pem};
use crate::identity::pfx;
use crate::identity::pfx_writer::{Cipher, KEY_VAULT, Mac, Shape, write};
use crate::identity::{KeyPair, from_file};
use crate::report::Problem;

/// 2027-01-15.
const NOW: u64 = 1_800_000_000;
/// What make.sh encrypts with.
const SECRET: &str = "secret";

fn file(name: &str) -> Vec<u8> {
    fs::read(pem(name)).unwrap()
}

fn read(bytes: &[u8], password: Option<&str>) -> Result<KeyPair, Problem> {
    from_file(bytes, Path::new("/etc/id.pfx"), password, NOW).map(|(pair, notes)| {
        assert!(notes.is_empty(), "{notes:?}");
        pair
    })
}

#[track_caller]
fn opens(what: &str, bytes: &[u8], password: Option<&str>) -> KeyPair {
    let pair = read(bytes, password).unwrap_or_else(|problem| panic!("{what}: {problem}"));
    assert_eq!(pair.certificate.chain[0], der("leaf.crt"), "{what}");
    pair
}

#[track_caller]
fn fails(what: &str, bytes: &[u8], password: Option<&str>, message: &str) -> Problem {
    let problem = read(bytes, password).expect_err(what);
    assert_eq!(problem.message, format!("certificate file /etc/id.pfx {message}"), "{what}");
    assert!(!problem.hints.is_empty(), "{what}: {problem}");
    problem
}

fn openssl(arguments: &str, name: &str) -> Vec<u8> {
    let out = Command::new("openssl").args(arguments.split(' ')).arg(pem(name)).output().unwrap();
    assert!(out.status.success(), "openssl {arguments} {name}");
    out.stdout
}

fn der(name: &str) -> Vec<u8> {
    openssl("x509 -outform DER -in", name)
}

/// PKCS#8.
fn key(name: &str) -> Vec<u8> {
    openssl("pkcs8 -topk8 -nocrypt -outform DER -in", name)
}

const WRONG: &str = "that does not open: the password is wrong or the file is damaged";

/// Made by openssl with this password.
const OPENSSL: &[(&str, &str)] = &[
    ("pfx.pfx", SECRET),
    ("pfx-named.pem", SECRET),
    ("pfx-base64.pem", SECRET),
    ("pfx-legacy.pfx", SECRET),
    ("pfx-descert.pfx", SECRET),
    ("pfx-nomac.pfx", SECRET),
    ("pfx-legacy-nomac.pfx", SECRET),
    ("pfx-rc2-40.pfx", SECRET),
    ("pfx-rc2-128.pfx", SECRET),
    ("pfx-2des.pfx", SECRET),
    ("pfx-aes128-sha224.pfx", SECRET),
    ("pfx-aes128.pfx", SECRET),
    ("pfx-aes192.pfx", SECRET),
    ("pfx-aes256.pfx", SECRET),
    ("pfx-des3-pbes2.pfx", SECRET),
    ("pfx-windows-aes.pfx", SECRET),
    ("pfx-windows-3des.pfx", SECRET),
    ("pfx-macos.pfx", SECRET),
    ("pfx-plain-certs.pfx", SECRET),
    ("pfx-unicode.pfx", "pä ß€"),
    ("pfx-unicode-legacy.pfx", "pä ß€"),
    ("encrypted.pem", SECRET),
    ("encrypted-sha1.pem", SECRET),
    ("encrypted-sha224.pem", SECRET),
    ("encrypted-sha384.pem", SECRET),
    ("encrypted-sha512.pem", SECRET),
    ("encrypted-des3.pem", SECRET),
    ("encrypted-scrypt.pem", SECRET),
    ("encrypted-pbes1-3des.pem", SECRET),
    ("encrypted-pbes1-rc2.pem", SECRET),
    ("dek-info.pem", SECRET),
    ("dek-info-aes128.pem", SECRET),
    ("dek-info-aes192.pem", SECRET),
    ("dek-info-aes256.pem", SECRET),
    ("dek-info-des3.pem", SECRET),
];
/// Made by openssl without a password, or with an empty one.
const OPEN: &[&str] = &[
    "pfx-plain.pfx",
    "pfx-empty.pfx",
    "pfx-empty-legacy.pfx",
    "pfx-empty-nomac.pfx",
    "pfx-base64-one-line.txt",
];

#[test]
fn what_openssl_writes_opens_with_its_password_only() {
    for (name, password) in OPENSSL {
        let content = file(name);
        opens(name, &content, Some(password));
        for (given, facts) in [
            (Some("hunter2-hunter2"), [WRONG, WRONG]),
            (None, ["that needs a password, and none is set", ", and no password is set"]),
        ] {
            let problem = read(&content, given).expect_err(name);
            assert!(facts.iter().any(|fact| problem.message.ends_with(fact)), "{name}: {problem}");
            let hint = "AZURE_CLIENT_CERTIFICATE_PASSWORD";
            assert!(problem.hints[0].contains(hint), "{name}: {problem}");
            assert!(!problem.to_string().contains("hunter2"), "{problem}");
        }
    }
    for name in OPEN {
        opens(name, &file(name), None);
        // A password that is set and not needed does no harm.
        opens(name, &file(name), Some(SECRET));
    }
    let problem =
        fails("base64", &file("pfx-base64.pem"), Some("hunter2"), &format!("is PKCS#12 (PFX) {WRONG}"));
    assert!(problem.hints[1].ends_with("base64 -d /etc/id.pfx | openssl pkcs12 -noout"), "{problem}");
    let large = STANDARD.encode([&[0x30, 0x83, 1, 0, 0, 2, 1, 3][..], &[0; 65_533]].concat());
    fails("a large one", large.as_bytes(), Some("hunter2"), &format!("is PKCS#12 (PFX) {WRONG}"));
    opens("a key that is not encrypted", &file("key-first.pem"), Some(SECRET));
}

#[test]
fn the_chain_of_a_pfx_is_complete() {
    for name in ["pfx.pfx", "pfx-legacy.pfx"] {
        let pair = opens(name, &file(name), Some(SECRET));
        assert_eq!(pair.certificate.chain, [der("leaf.crt"), der("ca.crt")], "{name}");
    }
}

#[test]
fn what_other_programs_write_opens() {
    let (keys, certificates) = ([key("leaf.key")], [der("ca.crt"), der("leaf.crt")]);
    let windows = Shape { password: Some(SECRET), ..KEY_VAULT };
    let firefox = Shape { cipher: Cipher::Aes, mac: Some(Mac::Sha256), ber: true, ..windows };
    let shapes = [
        ("Key Vault", KEY_VAULT),
        ("Key Vault without a MAC", Shape { mac: None, ..KEY_VAULT }),
        ("an empty password", Shape { password: Some(""), ..KEY_VAULT }),
        ("an empty password without a MAC", Shape { password: Some(""), mac: None, ..KEY_VAULT }),
        ("no password, AES", Shape { cipher: Cipher::Aes, mac: Some(Mac::Sha256), ..KEY_VAULT }),
        ("Windows, TripleDES-SHA1", windows),
        ("Windows, AES256-SHA256", Shape { cipher: Cipher::Aes, mac: Some(Mac::Sha256), ..windows }),
        ("Firefox", firefox),
        ("BER without a MAC", Shape { mac: None, ..firefox }),
        ("BER with RC2", Shape { cipher: Cipher::Rc2, mac: Some(Mac::Sha1), ..firefox }),
        ("BER without a password", Shape { ber: true, ..KEY_VAULT }),
        ("RFC 9579", Shape { cipher: Cipher::Aes, mac: Some(Mac::Pbmac1), ..windows }),
    ];
    for (what, shape) in shapes {
        let content = write(shape, &keys, &certificates);
        let pair = opens(what, &content, shape.password.filter(|password| !password.is_empty()));
        assert_eq!(pair.certificate.chain, [der("leaf.crt"), der("ca.crt")], "{what}");
        // With an empty password, one that is set is not needed; else it must be the right one.
        let other = read(&content, Some("hunter2"));
        assert_eq!(other.is_ok(), shape.password.is_none_or(str::is_empty), "{what}: {other:?}");
    }
}

/// openssl itself reads what the writer of these tests writes: else it would show little.
#[test]
fn openssl_reads_what_the_writer_writes() {
    let directory = pems::scratch("writer");
    let path = directory.join("id.pfx");
    let windows = Shape { password: Some(SECRET), ..KEY_VAULT };
    for shape in [
        windows,
        Shape { cipher: Cipher::Aes, mac: Some(Mac::Sha256), ..windows },
        Shape { cipher: Cipher::Aes, mac: Some(Mac::Sha256), ber: true, ..windows },
    ] {
        fs::write(&path, write(shape, &[key("leaf.key")], &[der("leaf.crt")])).unwrap();
        let arguments = ["pkcs12", "-passin", "pass:secret", "-nodes", "-in"];
        let out = Command::new("openssl").args(arguments).arg(&path).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success() && text.contains("BEGIN PRIVATE KEY"), "{out:?}");
    }
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn key_and_certificate_are_paired_by_the_public_key() {
    let (leaf, other) = (key("leaf.key"), key("other.key"));
    let (all, certificate) = ([der("other.crt"), der("ca.crt"), der("leaf.crt")], [der("leaf.crt")]);
    let pair = opens("three certificates", &write(KEY_VAULT, from_ref(&leaf), &all), None);
    assert_eq!(pair.certificate.chain, [der("leaf.crt"), der("ca.crt")]);
    opens("the key twice", &write(KEY_VAULT, &[leaf.clone(), leaf.clone()], &all), None);
    let none = "has a private key that belongs to none of its certificates: CN=auth-proxy test";
    fails("another key", &write(KEY_VAULT, from_ref(&other), &certificate), None, none);
    let two = write(KEY_VAULT, &[leaf.clone(), other], &certificate);
    fails("two keys", &two, None, "has more than one private key");
    fails("no key", &write(KEY_VAULT, &[], &certificate), None, "has no private key");
    let damaged = write(KEY_VAULT, from_ref(&leaf), &[b"not one".to_vec()]);
    fails("no X.509", &damaged, None, "has a certificate that is not an X.509 certificate");
    fails("no certificate", &write(KEY_VAULT, &[leaf], &[]), None, "has a private key but no certificate");
}

/// File; its message after the file's name; a part of one of its hints.
const FAULTS: &[(&str, &str, &str)] = &[
    ("pfx-nokeys.pfx", "has no private key", "export it again with its private key"),
    ("pfx-nocerts.pfx", "has a private key but no certificate", "export it again with its certificate"),
    ("pfx-ec.pfx", "has a private key of kind EC; Entra ID takes RSA keys only", "RSA key of 2048 bits"),
    (
        "pfx-rc4.pfx",
        "is PKCS#12 (PFX) that is encrypted with RC4, which is not supported",
        "openssl pkcs12 -in /etc/id.pfx -out /etc/id.new.pem -nodes",
    ),
    (
        "encrypted-rc4.pem",
        "has an encrypted private key (PKCS#8) on line 18 that is encrypted with RC4, which is not supported",
        "add -provider legacy",
    ),
    (
        "encrypted-md5-des.pem",
        "has an encrypted private key (PKCS#8) on line 18 that is encrypted with DES, which is not supported",
        "openssl pkey -in /etc/id.pfx",
    ),
    (
        "dek-info-des.pem",
        "has an encrypted private key (DEK-Info) on line 18 that is encrypted with DES, which is not supported",
        "openssl pkey -in /etc/id.pfx",
    ),
    (
        "encrypted-many.pem",
        "has an encrypted private key (PKCS#8) on line 18 that asks for 2000001 iterations of its key derivation; at \
         most 2000000 are supported",
        "openssl pkey -in /etc/id.pfx",
    ),
];

#[test]
fn what_does_not_open_says_why_and_shows_nothing() {
    for (name, message, hint) in FAULTS {
        // What a PEM file is encrypted with stands outside of what is encrypted.
        let password = if name.ends_with(".pem") { "hunter2" } else { SECRET };
        let problem = fails(name, &file(name), Some(password), message);
        assert!(problem.hints.iter().any(|line| line.contains(hint)), "{problem}\n  lacks: {hint}");
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }
}

/// Of every byte that can be wrong: it is reported, or does not matter (a name, a certificate's signature).
#[test]
fn a_damaged_pfx_shows_nothing_and_ends_nothing() {
    let shape = Shape { iterations: 3, ..KEY_VAULT };
    let leaf = key("leaf.key");
    let (bare, whole) = (Shape { mac: None, ..shape }, write(shape, from_ref(&leaf), &[der("leaf.crt")]));
    for content in [whole.clone(), write(bare, &[leaf], &[der("leaf.crt")])] {
        for at in (0..content.len()).step_by(3) {
            let mut damaged = content.clone();
            damaged[at] ^= 0x11;
            for bytes in [&damaged[..], &content[..at]] {
                if let Err(problem) = read(bytes, Some("hunter2")) {
                    assert!(!problem.hints.is_empty(), "byte {at}: {problem}");
                    let shown = problem.to_string();
                    assert!(shown.is_ascii() && !shown.contains("hunter2"), "byte {at}: {shown}");
                }
            }
        }
    }
    // With a MAC, nothing of what it covers can be changed unnoticed.
    for at in 60..whole.len() - 80 {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        assert!(read(&damaged, None).is_err(), "byte {at}");
    }
}

#[test]
fn work_is_bounded() {
    let (keys, certificates) = ([key("leaf.key")], [der("leaf.crt")]);
    // Written with few iterations, then the number is changed: three octets each, in MAC, key and certificates.
    let few = write(Shape { iterations: 0x1_0203, ..KEY_VAULT }, &keys, &certificates);
    let number = |digits: [u8; 3]| [&[2, 3][..], &digits].concat();
    let at = few.windows(5).position(|five| five == number([1, 2, 3])).unwrap();
    for (digits, count) in [([0x7f, 0xff, 0xff], 8_388_607), ([0x1e, 0x84, 0x81], 2_000_001)] {
        let mut many = few.clone();
        for at in (at..few.len() - 4).filter(|at| few[*at..*at + 5] == number([1, 2, 3])) {
            many[at..at + 5].copy_from_slice(&number(digits));
        }
        let problem = read(&many, None).unwrap_err();
        let fact = format!("asks for {count} iterations of its key derivation; at most 2000000");
        assert!(problem.message.contains(&fact), "{problem}");
    }
    // Each part within its limit. The last password opens the file: three MACs, the key, and the certificates.
    let last = write(Shape { password: Some(""), iterations: 1000, ..KEY_VAULT }, &keys, &certificates);
    for (before, fits) in [(0, true), (7_995_000, true), (7_995_001, false), (7_997_001, false)] {
        let mut work = before;
        match pfx::open(&last, Some(SECRET), &mut work) {
            Ok(_) => assert!(fits && work == before + 5000, "{before}: {work}"),
            Err(Fault::TooCostly(clause)) => {
                assert!(
                    !fits && clause.starts_with("takes more than 8000000 iterations"),
                    "{before}: {clause}"
                );
            }
            Err(other) => panic!("{before}: {other:?}"),
        }
    }
    // A table of 16 MiB is charged as much as it takes, to what the file has left.
    let encrypted = openssl("pkcs8 -topk8 -scrypt -outform DER -passout pass:secret -in", "leaf.key");
    let encrypted = ber::only(&encrypted, SEQUENCE).unwrap();
    let mut password = Password::new(SECRET);
    assert!(decrypt::pkcs8(encrypted, &mut password).is_ok());
    assert_eq!(password.work, (16384 + 1 + 2) * 8);
    password.work = 7_900_000;
    assert!(matches!(decrypt::pkcs8(encrypted, &mut password), Err(Fault::TooCostly(_))));
    // openssl writes no scrypt beyond 32 MiB, so that its numbers are changed in the file: a cost of 16384, blocks of 8.
    let scrypt = openssl("pkcs8 -topk8 -scrypt -outform DER -passout pass:secret -in", "leaf.key");
    let at = scrypt.windows(7).position(|seven| seven == [2, 2, 0x40, 0, 2, 1, 8]).unwrap();
    for (numbers, fact) in [
        (
            b"\x02\x02\x40\x00\x02\x01\x7f\x02\x01\x01",
            "asks for 1 times 260143 KiB of memory for its key derivation (scrypt)",
        ),
        (b"\x02\x02\x60\x00\x02\x01\x08\x02\x01\x01", WRONG),
        // A small table, and much beside it.
        (
            b"\x02\x01\x01\x02\x02\x7f\xff\x02\x01\x10",
            "asks for 16 times 77821 KiB of memory for its key derivation (scrypt)",
        ),
    ] {
        let mut changed = scrypt.clone();
        changed[at..at + 10].copy_from_slice(numbers);
        let (key, certificate) = (STANDARD.encode(&changed), STANDARD.encode(der("leaf.crt")));
        let text = format!(
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\n{key}\n-----END ENCRYPTED PRIVATE KEY-----\n\
             -----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n"
        );
        let problem = read(text.as_bytes(), Some(SECRET)).unwrap_err();
        assert!(problem.message.contains(fact), "{problem}");
    }
}
