//! Certificates in the forms that people have them:
//!
//! - a PFX with its password, a PFX from Azure Key Vault without one, its base64 text, a PEM file with an encrypted key, and
//!   the directory of a kubernetes.io/tls Secret all sign in;
//! - each is replaced without a restart, and a bad new file changes nothing;
//! - a password that is missing or wrong is said, and neither it nor a key is shown.

use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::pfx_writer::{KEY_VAULT, write};
use crate::sim::{Options, Sim, openssl, wait_for};
use crate::support::api::chat;
use crate::support::program::{Proxy, environment, run_to_end};
use crate::support::rotation::{Pair, short_lived, used};
use crate::support::traffic::Traffic;

const PASSWORD: &str = "correct horse battery";

fn pfx(pair: &Pair) -> Vec<u8> {
    openssl(&["pkcs12", "-export", "-passout", &format!("pass:{PASSWORD}")], pair.pem.as_bytes())
}

/// As Azure Key Vault exports it: encrypted with no password at all.
fn key_vault(pair: &Pair) -> Vec<u8> {
    let key = openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"], pair.pem.as_bytes());
    let certificate = openssl(&["x509", "-outform", "DER"], pair.pem.as_bytes());
    write(KEY_VAULT, &[key], &[certificate])
}

fn base64_text(pair: &Pair) -> Vec<u8> {
    STANDARD.encode(key_vault(pair)).into_bytes()
}

fn encrypted_pem(pair: &Pair) -> Vec<u8> {
    let password = format!("pass:{PASSWORD}");
    let key = openssl(&["pkcs8", "-topk8", "-passout", &password], pair.halves().0.as_bytes());
    [pair.halves().1.as_bytes(), &key].concat()
}

fn traditional_pem(pair: &Pair) -> Vec<u8> {
    let arguments = ["pkey", "-traditional", "-aes256", "-passout", &format!("pass:{PASSWORD}")];
    [&openssl(&arguments, pair.halves().0.as_bytes()), pair.halves().1.as_bytes()].concat()
}

/// A form, how a certificate is written in it, and whether it has a password.
type Form = (&'static str, fn(&Pair) -> Vec<u8>, bool);
const FORMS: [Form; 5] = [
    ("certificate.pfx", pfx, true),
    ("key-vault.pfx", key_vault, false),
    ("key-vault.base64", base64_text, false),
    ("encrypted.pem", encrypted_pem, true),
    ("traditional.pem", traditional_pem, true),
];

/// In one step, as everybody should.
fn replace(file: &Path, content: &[u8]) {
    let draft = file.with_extension("draft");
    fs::write(&draft, content).unwrap();
    fs::rename(draft, file).unwrap();
}

fn warnings(proxy: &Proxy) -> Vec<String> {
    proxy.log().into_iter().filter(|line| line.contains(" warn ")).collect()
}

#[test]
fn every_form_signs_in_and_is_replaced_while_a_bad_file_changes_nothing() {
    std::thread::scope(|scope| {
        for form in FORMS {
            scope.spawn(move || signs_in_and_is_replaced(form));
        }
    });
}

fn signs_in_and_is_replaced((name, written, has_password): Form) {
    let sim = Sim::start(short_lived());
    let file = sim.dir.join(name);
    let (first, second) = (Pair::uploaded(0, &sim), Pair::uploaded(1, &sim));
    replace(&file, &written(first));
    // As a variable has it that comes from a file.
    let password = if has_password { format!("{PASSWORD}\n") } else { String::new() };
    let variables = [
        ("AZURE_CERTIFICATE_PATH", file.to_str().unwrap()),
        ("AZURE_CLIENT_CERTIFICATE_PASSWORD", password.as_str()),
    ];
    let proxy = Proxy::start_with(&sim, &variables);
    used(&sim, first);
    let traffic = Traffic::start(&proxy, 1, Duration::from_millis(20));

    let whole = written(second);
    replace(&file, &whole[..whole.len() / 2]);
    let warning = proxy.wait_log("still_in_use=");
    assert!(
        warning.contains(&format!("still_in_use={}", first.sha1)) && warning.contains("hint="),
        "{warning}"
    );
    let tokens = sim.entra.issued().len();
    wait_for("more tokens for the old certificate", || sim.entra.issued().len() >= tokens + 2);

    replace(&file, &whole);
    used(&sim, second);
    traffic.end_without_failure();
    assert_eq!(warnings(&proxy).len(), 1, "{name}: {:#?}", proxy.log());
    proxy.wait_log(&format!("certificate_sha1={}", second.sha1));
}

/// cert-manager and External Secrets write it, kubelet swaps it; by hand the files change one after the other.
#[test]
fn a_directory_with_tls_crt_and_tls_key_signs_in_and_is_replaced() {
    let sim = Sim::start(short_lived());
    let directory = sim.dir.join("tls");
    fs::create_dir(&directory).unwrap();
    let write = |pair: &Pair, name: &str| {
        let (key, certificate) = pair.halves();
        replace(&directory.join(name), if name == "tls.key" { key } else { certificate }.as_bytes());
    };
    let (first, second) = (Pair::uploaded(0, &sim), Pair::uploaded(1, &sim));
    write(first, "tls.key");
    write(first, "tls.crt");
    fs::write(directory.join("ca.crt"), "what cert-manager adds").unwrap();
    let proxy = Proxy::start_with(&sim, &[("AZURE_CERTIFICATE_PATH", directory.to_str().unwrap())]);
    used(&sim, first);
    let traffic = Traffic::start(&proxy, 1, Duration::from_millis(20));
    write(second, "tls.crt");
    let warning = proxy.wait_log("has no certificate for the private key in");
    assert!(warning.contains(&format!("still_in_use={}", first.sha1)), "{warning}");
    write(second, "tls.key");
    used(&sim, second);
    traffic.end_without_failure();
    assert_eq!(warnings(&proxy).len(), 1, "{:#?}", proxy.log());
}

#[test]
fn a_password_under_its_other_name_opens_too() {
    let sim = Sim::start(Options::default());
    let file = sim.dir.join("certificate.pfx");
    let pair = Pair::uploaded(2, &sim);
    fs::write(&file, pfx(pair)).unwrap();
    let path = file.to_str().unwrap();
    let variables = [
        ("AZURE_CERTIFICATE_PATH", ""),
        ("AZURE_CLIENT_CERTIFICATE_PATH", path),
        ("AZURE_CERTIFICATE_PASSWORD", PASSWORD),
    ];
    let proxy = Proxy::start_with(&sim, &variables);
    assert_eq!(chat(&mut proxy.client()).status, 200);
    used(&sim, pair);
}

/// A file, how it is written, the passwords under both names, the exit code, what is said and what to do.
type Refused = (&'static str, fn(&Pair) -> Vec<u8>, &'static [&'static str], i32, &'static str, &'static str);

#[test]
fn a_missing_a_wrong_and_a_contradictory_password_are_said() {
    let sim = Sim::start(Options::default());
    let pair = Pair::number(0);
    let rows: [Refused; 6] = [
        (
            "a.pfx",
            pfx,
            &[""],
            3,
            "is PKCS#12 (PFX) that needs a password, and none is set",
            "set AZURE_CLIENT",
        ),
        ("a.pem", encrypted_pem, &[""], 3, ", and no password is set", "set AZURE_CLIENT"),
        ("b.pfx", pfx, &["Tr0ub4dor&3"], 3, "does not open: the password is wrong", "openssl pkcs12 -in"),
        (
            "b.pem",
            encrypted_pem,
            &["Tr0ub4dor&3"],
            3,
            "does not open: the password is wrong",
            "openssl pkey -in",
        ),
        (
            "c.pem",
            traditional_pem,
            &["Tr0ub4dor&3"],
            3,
            "does not open: the password is wrong",
            "openssl pkey -in",
        ),
        ("c.pfx", pfx, &[PASSWORD, "Tr0ub4dor&3"], 2, "are different passwords", "set one of them"),
    ];
    for (name, written, passwords, code, fact, hint) in rows {
        let file = sim.dir.join(name);
        fs::write(&file, written(pair)).unwrap();
        let names = ["AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_CERTIFICATE_PASSWORD"];
        let mut variables = vec![("AZURE_CERTIFICATE_PATH", file.to_str().unwrap())];
        variables.extend(names.into_iter().zip(passwords.iter().copied()));
        for arguments in [&[][..], &["check"]] {
            let finished = run_to_end(arguments, environment(&sim, &variables));
            let shown = finished.stdout + &finished.stderr;
            assert!(shown.contains(fact) && shown.contains(hint), "{name} {arguments:?}: {shown}");
            assert!(!shown.contains("Tr0ub4dor") && !shown.contains("horse"), "{name}: {shown}");
            if arguments.is_empty() {
                assert_eq!(finished.status.code(), Some(code), "{name}: {shown}");
            }
        }
    }
}
