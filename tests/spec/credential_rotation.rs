//! The certificate is replaced while requests flow, without a restart and without a failed request:
//!
//! - a mounted Secret that kubelet swaps, a file that is renamed over it, and one that is written in place are all noticed;
//! - a file that is missing, half written or does not match its key changes nothing until it is good, and one warning says why;
//! - a new certificate is used within seconds, although the old token lives on;
//! - one that Entra ID does not know yet costs no request: the one before signs in until it is uploaded.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::sim::{Options, Sim, replace_file, wait_for};
use crate::support::api::{chat, within};
use crate::support::program::Proxy;
use crate::support::rotation::{Pair, Volume, short_lived, used};
use crate::support::traffic::Traffic;

fn count(proxy: &Proxy, text: &str) -> usize {
    proxy.log().iter().filter(|line| line.contains(text)).count()
}

#[test]
fn a_mounted_secret_that_kubelet_swaps_is_reloaded() {
    let sim = Sim::start(short_lived());
    let volume = Volume::new(sim.dir.join("volume"), &fs::read_to_string(sim.certificate_path()).unwrap());
    let file = volume.file();
    let proxy = Proxy::start_with(&sim, &[("AZURE_CERTIFICATE_PATH", file.to_str().unwrap())]);
    let traffic = Traffic::start(&proxy, 2, Duration::from_millis(20));
    for (number, version) in ["..2026_02", "..2026_03"].into_iter().enumerate() {
        let pair = Pair::uploaded(number, &sim);
        volume.publish(version, &pair.pem);
        proxy.wait_log(&format!("certificate_sha1={}", pair.sha1));
        used(&sim, pair);
    }
    traffic.end_without_failure();
    assert_eq!((count(&proxy, " warn "), count(&proxy, "using the new certificate")), (0, 2));
}

#[test]
fn a_file_renamed_over_the_certificate_is_reloaded() {
    let sim = Sim::start(short_lived());
    let proxy = Proxy::start(&sim);
    let traffic = Traffic::start(&proxy, 2, Duration::from_millis(20));
    let pair = Pair::uploaded(0, &sim);
    replace_file(&sim.certificate_path(), &pair.pem);
    used(&sim, pair);
    sim.entra.register_only(&pair.pem);
    traffic.flows(50);
    traffic.end_without_failure();
    assert_eq!(count(&proxy, " warn "), 0);
}

#[test]
fn a_file_written_in_place_is_reloaded_also_after_it_was_removed() {
    let sim = Sim::start(short_lived());
    let proxy = Proxy::start(&sim);
    let traffic = Traffic::start(&proxy, 2, Duration::from_millis(20));
    let pair = Pair::uploaded(0, &sim);
    fs::write(sim.certificate_path(), &pair.pem).unwrap();
    used(&sim, pair);
    fs::remove_file(sim.certificate_path()).unwrap();
    let warning = proxy.wait_log("does not exist");
    assert!(warning.contains(&format!("still_in_use={}", pair.sha1)), "{warning}");
    let pair = Pair::uploaded(1, &sim);
    fs::write(sim.certificate_path(), &pair.pem).unwrap();
    used(&sim, pair);
    traffic.end_without_failure();
}

/// What is written instead of the new file, the old one being known as well.
type Broken = fn(&str, &str) -> String;

/// The file is left bad for a few refreshes: the old pair stays in use, and one warning says why.
#[test]
fn a_bad_file_changes_nothing_until_it_is_good() {
    fn certificate(pem: &str) -> &str {
        &pem[pem.find("-----BEGIN CERTIFICATE").unwrap()..]
    }
    fn key(pem: &str) -> &str {
        &pem[..pem.find("-----BEGIN CERTIFICATE").unwrap()]
    }
    let rows: [(&str, Broken, &str); 5] = [
        ("half written", |new, _| new[..new.len() / 2].to_owned(), "END"),
        ("empty", |_, _| String::new(), "is empty"),
        ("a new key with the old certificate", |new, old| key(new).to_owned() + certificate(old), "key"),
        ("an old key with the new certificate", |new, old| key(old).to_owned() + certificate(new), "key"),
        ("a certificate whose key comes later", |new, _| certificate(new).to_owned(), "key"),
    ];
    std::thread::scope(|scope| {
        for (name, broken, expected) in rows {
            scope.spawn(move || bad_file(name, broken, expected));
        }
    });
}

fn bad_file(name: &str, broken: Broken, expected: &str) {
    let sim = Sim::start(short_lived());
    let first = fs::read_to_string(sim.certificate_path()).unwrap();
    let proxy = Proxy::start(&sim);
    let traffic = Traffic::start(&proxy, 1, Duration::from_millis(20));
    let pair = Pair::uploaded(0, &sim);
    fs::write(sim.certificate_path(), broken(&pair.pem, &first)).unwrap();
    let warning = proxy.wait_log("still_in_use=");
    assert!(warning.contains(expected) && warning.contains("hint="), "{name}: {warning}");
    assert!(warning.contains(sim.certificate_path().to_str().unwrap()), "{name}: {warning}");
    let tokens = sim.entra.issued().len();
    wait_for("more tokens for the old certificate", || sim.entra.issued().len() >= tokens + 2);
    assert_eq!(proxy.health().status, 200, "{name}");
    assert_eq!(count(&proxy, " warn "), 1, "{name}: logged once: {:#?}", proxy.log());
    fs::write(sim.certificate_path(), &pair.pem).unwrap();
    used(&sim, pair);
    traffic.end_without_failure();
    assert_eq!(count(&proxy, "using the new certificate"), 1, "{name}");
}

/// With an hour's token nothing but the change itself makes it look.
#[test]
fn a_new_certificate_is_used_within_seconds_while_the_old_token_serves() {
    let sim = Sim::start(Options::default());
    let proxy = Proxy::start(&sim);
    assert_eq!(chat(&mut proxy.client()).status, 200);
    let pair = Pair::uploaded(0, &sim);
    replace_file(&sim.certificate_path(), &pair.pem);
    within(Duration::from_secs(15), "a second token", || sim.entra.issued().len() == 2);
    used(&sim, pair);
    proxy.wait_log("credential file changed; reloading");
}

#[test]
fn a_new_certificate_that_entra_id_does_not_know_costs_no_request() {
    let sim = Sim::start(Options { token_lifetime: 600, refresh_in: Some(1), ..Options::default() });
    let proxy = Proxy::start(&sim);
    let traffic = Traffic::start(&proxy, 2, Duration::from_millis(20));
    let pair = Pair::number(2);
    replace_file(&sim.certificate_path(), &pair.pem);
    let line = proxy.wait_log("AADSTS700027");
    assert!(line.contains("upload the certificate") && line.contains("token_usable_for="), "{line}");
    traffic.flows(50);
    assert_eq!(proxy.health().status, 200);
    sim.entra.register(&pair.pem);
    // Uploaded now; the file is touched so that nobody has to wait for the minute to pass.
    touch(&sim.certificate_path());
    used(&sim, pair);
    traffic.end_without_failure();
}

/// As cert-manager renews one: nobody has uploaded it yet.
#[test]
fn the_certificate_before_signs_in_until_the_new_one_is_uploaded() {
    let sim = Sim::start(Options { token_lifetime: 600, refresh_in: Some(1), ..Options::default() });
    let proxy = Proxy::start_with(&sim, &[("ADMIN_PORT", "0"), ("LOG_LEVEL", "info")]);
    let traffic = Traffic::start(&proxy, 2, Duration::from_millis(20));
    let failing = || {
        let page = proxy.admin("/metrics").text();
        ["credential_reload_failing", "token_refresh_failing"]
            .map(|name| page.contains(&format!("\nauth_proxy_{name} 1\n")))
    };
    let pair = Pair::number(3);
    replace_file(&sim.certificate_path(), &pair.pem);
    proxy.wait_log("AADSTS700027");
    assert_eq!(failing(), [false, true], "the first refusal is an error");
    // So that nobody has to wait for the minute to pass.
    touch(&sim.certificate_path());
    let line = proxy.wait_log("Entra ID does not know the new certificate");
    for text in [" warn ", "hint=\"upload", &format!("certificate_sha1={} still_in_use=", pair.sha1)] {
        assert!(line.contains(text), "{text:?} is missing in {line}");
    }
    let issued = sim.entra.issued().len();
    wait_for("more tokens", || sim.entra.issued().len() > issued + 1);
    assert_eq!(failing(), [true, false]);
    sim.entra.register(&pair.pem);
    proxy.wait_log("Entra ID accepts the new certificate");
    used(&sim, pair);
    assert_eq!(failing(), [false, false]);
    assert_eq!(count(&proxy, "Entra ID does not know the new certificate"), 1);
    traffic.end_without_failure();
}

fn touch(path: &Path) {
    let content = fs::read_to_string(path).unwrap();
    replace_file(path, &content);
}
