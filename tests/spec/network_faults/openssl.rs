//! What a server of OpenSSL refuses, which says it with other alerts than rustls does, at both sides.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::sim::{Options, Sim, server_pem};
use crate::support::program::Proxy;

/// A server of the `openssl` command, ended with the test.
struct OpensslServer {
    child: Child,
    port: u16,
}

impl OpensslServer {
    fn start(pem: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-www", "-cert"])
            .arg(pem)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|line| line.strip_prefix("ACCEPT 127.0.0.1:")?.parse().ok());
        // A pipe that nobody reads would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { port: port.expect("openssl s_server says where it listens"), child }
    }
}

impl Drop for OpensslServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A name for what it wants, its arguments, what the log says, and what it advises.
type Row = (&'static str, &'static [&'static str], &'static str, &'static str);

const CLIENT_CERTIFICATE: &str = "the server asks for a client certificate, which auth-proxy does not have";

const ROWS: [Row; 6] = [
    // RFC 5246 has no alert for a certificate that is missing.
    ("our certificate, TLS 1.2", &["-Verify", "1", "-tls1_2"], "HandshakeFailure", CLIENT_CERTIFICATE),
    ("our certificate, TLS 1.3", &["-Verify", "1", "-tls1_3"], "CertificateRequired", CLIENT_CERTIFICATE),
    (
        "TLS 1.1",
        &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"],
        "ProtocolVersion",
        "which speaks TLS 1.2 and 1.3 with ECDHE: update it",
    ),
    (
        "a cipher without ECDHE",
        &["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"],
        "HandshakeFailure",
        "it must speak TLS 1.2 or 1.3 with ECDHE",
    ),
    (
        "a group that nobody else has",
        &["-tls1_3", "-groups", "brainpoolP512r1:X448"],
        "HandshakeFailure",
        "it must speak TLS 1.2 or 1.3 with ECDHE",
    ),
    (
        "another name",
        &["-servername", "other.test", "-servername_fatal"],
        "UnrecognisedName",
        "check the host in API_BASE_URL or AZURE_AUTHORITY_HOST",
    ),
];

fn each(side: &str, check: impl Fn(&Sim, &Row, &[(&str, &str)])) {
    let sim = Sim::start(Options { entra_tls: false, azure_tls: false, ..Options::default() });
    let pem = sim.dir.join("server.pem");
    std::fs::write(&pem, server_pem()).unwrap();
    for row in &ROWS {
        let (name, arguments, ..) = row;
        // The same certificate for the other name, which is never shown.
        let second = ["-cert2", pem.to_str().unwrap(), "-key2", pem.to_str().unwrap()];
        let second = if arguments[0] == "-servername" { &second[..] } else { &[] };
        let server = OpensslServer::start(&pem, &[arguments, second].concat());
        eprintln!("  {side} {name}");
        check(&sim, row, &[(side, &format!("https://localhost:{}", server.port))]);
    }
}

#[test]
fn handshakes_that_an_upstream_of_openssl_refuses() {
    each("API_BASE_URL", |sim, (name, _, cause, hint), settings| {
        let proxy = Proxy::start_with(sim, settings);
        // One whose body is there, and one that is still being sent when the refusal comes.
        for body in [&b"{}"[..], &vec![b'x'; 1 << 20]] {
            let response = proxy.client().request("POST", "/openai/v1/responses", &[], body);
            let error = &response.json()["error"];
            assert_eq!((response.status, &error["code"]), (502, &"upstream_tls".into()), "{name}");
            assert_eq!(response.header("x-should-retry").as_deref(), Some("false"), "{name}");
            assert!(error["remedy"].as_str().unwrap().contains(hint), "{name}: {error}");
        }
        let line = proxy.wait_log("request failed");
        for text in ["kind=tls", "TLS handshake with localhost failed: ", cause, hint] {
            assert!(line.contains(text), "{name}: {text:?} is not in {line}");
        }
    });
}

#[test]
fn handshakes_that_an_authority_of_openssl_refuses() {
    each("AZURE_AUTHORITY_HOST", |sim, (name, _, cause, hint), settings| {
        let proxy = Proxy::start_listening(sim, settings);
        let line = proxy.wait_log("token refresh failed");
        for text in [
            "the TLS handshake with the token endpoint failed",
            "TLS handshake with localhost failed: ",
            cause,
            hint,
        ] {
            assert!(line.contains(text), "{name}: {text:?} is not in {line}");
        }
        let health = proxy.health();
        assert_eq!(health.status, 503, "{name}");
        assert!(health.text().contains(hint), "{name}: {}", health.text());
    });
}
