//! What the program signs in with:
//!
//! - a certificate, whose assertion has the documented form; with its chain or as RS256 where that is asked for;
//! - a federated token file, which is read again for every sign-in; an expired one is named;
//! - the log announces the end of a certificate a month, a week and a day before, until it is renewed.

use std::path::Path;

use crate::sim::{Options, ScriptedResponse, Sim, openssl, replace_file, wait_for};
use crate::support::api::{assertion, chat, field, granted};
use crate::support::program::{Proxy, environment, run_to_end};
use crate::support::rotation::{Pair, short_lived, used};

/// In shape a service account's token; Entra ID's word decides.
fn jwt(number: u32) -> String {
    format!("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQifQ.c2lnbmF0dXJl{number}")
}

#[test]
fn the_federated_token_file_is_read_again_for_every_sign_in() {
    let sim = Sim::start(short_lived());
    let file = sim.dir.join("federated-token");
    std::fs::write(&file, jwt(1) + "\n").unwrap();
    sim.entra.expect_federated(&jwt(1));
    let variables = [("AZURE_CERTIFICATE_PATH", ""), ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap())];
    let proxy = Proxy::start_with(&sim, &variables);
    assert_eq!(chat(&mut proxy.client()).status, 200);
    assert_eq!(field(&sim.entra.requests()[0], "client_assertion"), jwt(1));
    let start = proxy.wait_log("auth-proxy starting");
    assert!(start.contains("federated_token_file=") && !start.contains("certificate_sha1"), "{start}");
    std::fs::write(&file, jwt(2)).unwrap();
    sim.entra.expect_federated(&jwt(2));
    wait_for("a token for the new one", || {
        let requests = sim.entra.requests();
        let granted = requests.iter().filter(|request| request.note == "token issued");
        granted.rev().any(|request| field(request, "client_assertion") == jwt(2))
    });
    assert_eq!(chat(&mut proxy.client()).status, 200);
    assert!(!proxy.log().join("\n").contains("c2lnbmF0dXJl"));
}

/// Who signed the assertion has set its times: this machine's clock is not to blame.
#[test]
fn an_expired_token_file_is_named_and_not_the_clock() {
    let sim = Sim::start(Options::default());
    let file = sim.dir.join("federated-token");
    // {"exp":1700000000}
    std::fs::write(&file, "eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjE3MDAwMDAwMDB9.c2lnbmF0dXJl").unwrap();
    let variables = [("AZURE_CERTIFICATE_PATH", ""), ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap())];
    sim.entra.script([ScriptedResponse::aadsts(700_024)]);
    let proxy = Proxy::start_listening(&sim, &variables);
    let logged = proxy.wait_log("aadsts=700024");
    let remedy =
        format!("an expired token file: {} holds a token until 2023-11-14T22:13:20Z;", file.display());
    for text in [logged, proxy.health().text(), proxy.client().get("/openai/v1/models").text()] {
        assert!(text.contains(&remedy) && text.contains("subPath"), "{text}");
        assert!(!text.contains("clock") && !text.contains("NTP"), "{text}");
    }
    drop(proxy);
    // It asks whether Entra ID is there first.
    sim.entra.script([ScriptedResponse::status(200), ScriptedResponse::aadsts(700_024)]);
    let checked = run_to_end(&["check"], environment(&sim, &variables)).stdout;
    assert!(checked.contains(&remedy) && !checked.contains("best by NTP"), "{checked}");
}

#[test]
fn a_certificate_takes_precedence_over_a_token_file_and_the_log_says_so() {
    let sim = Sim::start(Options::default());
    let file = sim.dir.join("federated-token");
    std::fs::write(&file, jwt(1)).unwrap();
    let proxy = Proxy::start_with(&sim, &[("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap())]);
    assert_eq!(assertion(&sim.entra.requests()[0]).0["alg"], "PS256");
    let line = proxy.wait_log("AZURE_FEDERATED_TOKEN_FILE is set as well as a certificate");
    assert!(line.contains(" warn ") && line.contains("the certificate is used"), "{line}");
}

#[test]
fn the_assertion_has_the_documented_form_and_nothing_more() {
    let sim = Sim::start(Options::default());
    let _proxy = Proxy::start(&sim);
    let request = &sim.entra.requests()[0];
    let (header, claims) = assertion(request);
    let names = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&header), ["alg", "typ", "x5t#S256"]);
    assert_eq!(names(&claims), ["aud", "exp", "iat", "iss", "jti", "nbf", "sub"]);
    assert_eq!(claims["aud"], sim.token_url());
    let number = |name: &str| claims[name].as_i64().unwrap();
    assert_eq!((number("exp") - number("nbf"), number("iat")), (600, number("nbf")));
    assert_eq!(request.header("x-ms-lib-capability").as_deref(), Some("retry-after, h429"));
    assert!(request.header("client-request-id").is_some() && request.header("authorization").is_none());
}

#[test]
fn the_certificate_chain_is_sent_when_asked_for() {
    let sim = Sim::start(Options::default());
    let file = |name: &str| sim.dir.join(name).to_str().unwrap().to_owned();
    let (ca, ca_key, csr, key) = (file("issuer.pem"), file("issuer.key"), file("leaf.csr"), file("leaf.key"));
    let new_key = ["-newkey", "rsa:2048", "-nodes", "-sha256"];
    let authority = ["req", "-x509", "-days", "30", "-subj", "/CN=issuer", "-keyout", &ca_key, "-out", &ca];
    openssl(&[&authority[..], &new_key[..]].concat(), b"");
    let request = ["req", "-new", "-subj", "/CN=issued", "-keyout", &key, "-out", &csr];
    openssl(&[&request[..], &new_key[..]].concat(), b"");
    let sign =
        ["x509", "-req", "-days", "30", "-in", &csr, "-CA", &ca, "-CAkey", &ca_key, "-set_serial", "2"];
    let leaf = String::from_utf8(openssl(&sign, b"")).unwrap();
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    let (issuer, ours) = (read(&ca), read(&key) + &leaf);
    sim.entra.register(&ours);
    // The CA of the simulator's servers has issued neither.
    let unrelated = read(&file("ca.pem"));
    std::fs::write(sim.certificate_path(), unrelated + &issuer + &ours).unwrap();
    for asked in ["true", "1", "TRUE"] {
        let _proxy = Proxy::start_with(&sim, &[("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", asked)]);
    }
    let _proxy = Proxy::start_with(&sim, &[("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", "false")]);
    let requests = sim.entra.requests();
    let chains: Vec<usize> =
        requests.iter().map(|request| assertion(request).0["x5c"].as_array().map_or(0, Vec::len)).collect();
    // The simulator has checked that the leaf is the first entry.
    assert_eq!((chains, granted(&sim)), (vec![2, 2, 2, 0], 4));
    let base64: String = issuer.lines().filter(|line| !line.starts_with('-')).collect();
    assert_eq!(assertion(&requests[0]).0["x5c"][1], base64, "the unrelated one is left out");
}

#[test]
fn rs256_comes_with_the_sha1_thumbprint() {
    let sim = Sim::start(Options::default());
    let proxy = Proxy::start_with(&sim, &[("AZURE_ASSERTION_ALGORITHM", "RS256")]);
    let (header, _) = assertion(&sim.entra.requests()[0]);
    assert_eq!(header["alg"], "RS256");
    assert!(header["x5t"].is_string() && header.get("x5t#S256").is_none(), "{header}");
    assert_eq!(chat(&mut proxy.client()).status, 200);
}

/// A certificate with its key that ends in this many days.
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
fn the_end_of_a_certificate_is_announced_a_month_a_week_and_a_day_before() {
    let sim = Sim::start(Options::default());
    for (days, within_days) in [(29, Some(30)), (6, Some(7)), (1, Some(1)), (40, None)] {
        let pem = ends_in(days, &sim.dir);
        sim.entra.register(&pem);
        replace_file(&sim.certificate_path(), &pem);
        let proxy = Proxy::start(&sim);
        let log = proxy.log();
        let announced: Vec<&String> =
            log.iter().filter(|line| line.contains("the certificate expires soon")).collect();
        match within_days {
            None => assert!(announced.is_empty(), "{announced:?}"),
            Some(within_days) => {
                let [line] = announced[..] else { panic!("{days}: {announced:?}") };
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
    let announced = proxy.log().into_iter().filter(|line| line.contains("expires soon")).count();
    assert_eq!(announced, 1, "the old one, at start");
    proxy.wait_log("using the new certificate");
}
