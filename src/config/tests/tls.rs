//! `TLS_CERT_FILE`, `TLS_KEY_FILE`, `TLS_CLIENT_CA_FILE`.

#[cfg(not(feature = "tiny_http"))]
use std::collections::HashMap;
#[cfg(not(feature = "tiny_http"))]
use std::path::Path;

#[cfg(not(feature = "tiny_http"))]
use super::super::Probe;
#[cfg(not(feature = "tiny_http"))]
use super::good;
use super::{bad, read};

const CERTIFICATE: (&str, &str) = ("TLS_CERT_FILE", "/tls/tls.crt");
const KEY: (&str, &str) = ("TLS_KEY_FILE", "/tls/tls.key");
const CLIENT_CA: (&str, &str) = ("TLS_CLIENT_CA_FILE", "/tls/ca.crt");

#[test]
#[cfg(not(feature = "tiny_http"))]
fn a_certificate_and_its_key_are_tls_and_authorities_demand_certificates() {
    assert_eq!(good(&[]).tls, None);
    let files = good(&[CERTIFICATE, KEY]).tls.unwrap();
    assert_eq!((&*files.certificate, &*files.key), (Path::new("/tls/tls.crt"), Path::new("/tls/tls.key")));
    assert_eq!(files.client_ca, None);
    let config = good(&[CERTIFICATE, KEY, CLIENT_CA]);
    assert!(config.demands_client_certificates());
    assert_eq!(config.tls.unwrap().client_ca.as_deref(), Some(Path::new("/tls/ca.crt")));
}

#[test]
fn a_part_of_them_is_refused() {
    for (set, expected) in [
        (&[CERTIFICATE][..], "TLS_CERT_FILE is set, but TLS_KEY_FILE is not\n  hint: "),
        (&[KEY], "TLS_KEY_FILE is set, but TLS_CERT_FILE is not\n  hint: "),
        (&[CLIENT_CA], "TLS_CLIENT_CA_FILE is set, but TLS_CERT_FILE is not\n  hint: "),
        (&[CLIENT_CA, KEY], "TLS_KEY_FILE is set, but TLS_CERT_FILE is not\n  hint: "),
    ] {
        let printed = bad(set);
        assert!(printed.starts_with(expected), "{printed}");
    }
    // What a file holds is no path, and is not shown.
    let pem = "-----BEGIN PRIVATE KEY-----\nhunter2";
    let printed = read(&[CERTIFICATE, ("TLS_KEY_FILE", pem)]).unwrap_err();
    let printed: String = printed.iter().map(ToString::to_string).collect();
    assert!(printed.contains("TLS_KEY_FILE holds a private key, not the path of a file"), "{printed}");
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[test]
#[cfg(feature = "tiny_http")]
fn the_tiny_http_build_refuses_them() {
    let printed = bad(&[CERTIFICATE, KEY]);
    assert!(printed.contains("this build's HTTP server (tiny_http) cannot do TLS"), "{printed}");
}

#[test]
#[cfg(not(feature = "tiny_http"))]
fn who_asks_the_program_does_so_where_it_can() {
    let probe = |set: &[(&str, &str)]| {
        let set: HashMap<_, _> = set.iter().copied().collect();
        Probe::from_lookup(&|name| set.get(name).map(|value| (*value).to_owned()))
    };
    let plain = probe(&[("HOST", "127.0.0.1"), ("PORT", "8081")]).unwrap();
    assert_eq!(
        (plain.listen.to_string().as_str(), plain.path, plain.tls),
        ("127.0.0.1:8081", "/health", None)
    );
    let tls = probe(&[CERTIFICATE, KEY]).unwrap();
    assert_eq!((tls.listen.to_string().as_str(), tls.path), ("0.0.0.0:8080", "/health"));
    assert_eq!(tls.tls.unwrap().certificate, Path::new("/tls/tls.crt"));
    let admin = ("ADMIN_PORT", "9090");
    let mutual = probe(&[CERTIFICATE, KEY, CLIENT_CA, admin, ("ADMIN_HOST", "127.0.0.2")]).unwrap();
    assert_eq!(mutual.listen.to_string(), "127.0.0.2:9090");
    assert_eq!((mutual.path, mutual.tls), ("/readyz", None));
    let without = probe(&[CERTIFICATE, KEY, CLIENT_CA]).unwrap_err();
    assert!(without[0].to_string().contains("hint: set ADMIN_PORT"), "{without:?}");
    assert!(probe(&[CERTIFICATE]).unwrap_err()[0].message.starts_with("TLS_CERT_FILE is set, but"));
}
