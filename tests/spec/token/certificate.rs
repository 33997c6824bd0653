//! The end of a certificate is announced, and a renewal ends the announcements.

use std::path::Path;

use crate::fixture::Proxy;
use crate::sim::{Options, Sim, openssl, replace_file};

use super::rotation::{Pair, short_lived, used};

/// A certificate with its key that ends in so many days.
fn ends_in(days: u32, dir: &Path) -> String {
    let key = Pair::number(0).halves().0;
    let file = dir.join("short.key");
    std::fs::write(&file, key).unwrap();
    let (file, days) = (file.to_str().unwrap(), days.to_string());
    let certificate =
        openssl(&["req", "-x509", "-key", file, "-sha256", "-subj", "/CN=ends soon", "-days", &days], b"");
    key.to_owned() + &String::from_utf8(certificate).unwrap()
}

#[test]
fn its_end_is_announced_a_month_a_week_and_a_day_before() {
    let sim = Sim::start(Options::default());
    for (days, within_days) in [(29, Some(30)), (6, Some(7)), (1, Some(1)), (40, None)] {
        let pem = ends_in(days, &sim.dir);
        sim.entra.register(&pem);
        replace_file(&sim.certificate_path(), &pem);
        let proxy = Proxy::start(&sim);
        let log = proxy.log();
        let told: Vec<&String> =
            log.iter().filter(|line| line.contains("the certificate expires soon")).collect();
        match within_days {
            None => assert!(told.is_empty(), "{told:?}"),
            Some(within_days) => {
                let [line] = told[..] else { panic!("{days}: {told:?}") };
                for expected in [
                    &format!("within_days={within_days} "),
                    "CN=ends soon",
                    "certificate_sha1=",
                    "certificate_expires=20",
                ] {
                    assert!(line.contains(expected), "{days}: {expected}: {line}");
                }
            }
        }
        let start = proxy.wait_log("auth-proxy starting");
        assert!(start.contains("certificate_sha1=") && start.contains("certificate_expires=20"), "{start}");
    }
}

#[test]
fn a_renewed_certificate_is_not_announced() {
    let sim = Sim::start(short_lived());
    let pem = ends_in(6, &sim.dir);
    sim.entra.register(&pem);
    replace_file(&sim.certificate_path(), &pem);
    let proxy = Proxy::start(&sim);
    let pair = Pair::uploaded(1, &sim);
    replace_file(&sim.certificate_path(), &pair.pem);
    used(&sim, pair);
    let told = proxy.log().into_iter().filter(|line| line.contains("expires soon")).count();
    assert_eq!(told, 1, "the old one, at start");
    proxy.wait_log("using the new certificate");
}
