//! Certificates that must not be trusted, each with its own cause and remedy, at both sides: the table of what the log says.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::pems;
use crate::sim::{
    Egress, Odd, Options, ScriptedResponse, Sim, Step, expired_server_tls, mutual_tls, odd_server,
    odd_server_tls, other_authority_and_server, replace_file, server_pem, server_tls, temp_dir, wait_for,
};
use crate::support::program::Proxy;

/// What is wrong with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Expired,
    WrongName,
    UnknownAuthority,
    /// The bundle has others.
    NotInBundle,
    NoTls,
    Odd(Odd),
    /// It wants one of ours, in TLS 1.2 or 1.3: within the handshake or after it.
    ClientCertificate(u8),
    /// It responds to everything with this alert (RFC 8446 section 6).
    Alert(u8),
}

impl Kind {
    const ALL: [Self; 16] = [
        Self::Expired,
        Self::WrongName,
        Self::UnknownAuthority,
        Self::NotInBundle,
        Self::NoTls,
        Self::Odd(Odd::WrongPurpose),
        Self::Odd(Odd::Sha1),
        Self::Odd(Odd::Version1),
        Self::Odd(Odd::OtherKeyOfTheAuthority),
        Self::Odd(Odd::SelfSigned),
        Self::ClientCertificate(2),
        Self::ClientCertificate(3),
        Self::Alert(40),
        Self::Alert(70),
        Self::Alert(80),
        Self::Alert(112),
    ];

    /// What the log says, and what it advises.
    fn expected_log(self) -> (&'static str, &'static str) {
        match self {
            Self::Expired => ("certificate expired", "has expired, or this machine's clock is ahead"),
            Self::WrongName => ("not valid for name", "the certificate is for another name"),
            Self::UnknownAuthority => ("UnknownIssuer", "set SSL_CERT_FILE to the CA bundle"),
            Self::NotInBundle => {
                ("the CA is not in SSL_CERT_FILE=/", "add its CA to the file that SSL_CERT_FILE names")
            }
            Self::NoTls => ("received corrupt message", "does not speak TLS"),
            Self::Odd(Odd::WrongPurpose) => ("server authentication", "extendedKeyUsage=serverAuth"),
            Self::Odd(Odd::Sha1) => ("UnsupportedSignatureAlgorithm", "such as SHA-1"),
            Self::Odd(Odd::Version1) => ("UnsupportedCertVersion", "has X.509 version 1"),
            Self::Odd(Odd::OtherKeyOfTheAuthority) => (
                "BadSignature",
                "if the CA was renewed under its old name, add the new one to the file that SSL",
            ),
            Self::Odd(_) => ("CaUsedAsEndEntity", "basicConstraints=CA:FALSE"),
            Self::ClientCertificate(_) => (
                "received fatal alert: CertificateRequired",
                "the server asks for a client certificate, which auth-proxy does not have",
            ),
            Self::Alert(40) => ("HandshakeFailure", "it must speak TLS 1.2 or 1.3"),
            Self::Alert(70) => ("ProtocolVersion", "no version or cipher of TLS in common"),
            Self::Alert(80) => ("InternalError", "it may have no certificate for this name"),
            Self::Alert(_) => ("UnrecognisedName", "the server does not know this name"),
        }
    }

    /// Starts such a server, and gives its port.
    fn start(self) -> u16 {
        match self {
            Self::Expired => serve(expired_server_tls()),
            Self::WrongName | Self::UnknownAuthority | Self::NotInBundle => serve(server_tls()),
            Self::NoTls => serve_bytes(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec()),
            Self::Odd(odd) => serve(odd_server_tls(&odd_server(odd))),
            Self::ClientCertificate(minor) => serve(mutual_tls(if minor == 2 { &TLS12 } else { &TLS13 })),
            Self::Alert(alert) => serve_bytes(vec![21, 3, 3, 0, 2, 2, alert]),
        }
    }

    /// The server's address, and the settings that lead to the fault.
    fn url_and_settings(self, egress: &Egress) -> (String, Vec<(&'static str, String)>) {
        let port = self.start();
        let here = format!("https://localhost:{port}");
        match self {
            Self::WrongName => (format!("https://other.test:{port}"), vec![("HTTPS_PROXY", egress.url())]),
            Self::UnknownAuthority => (here, vec![("SSL_CERT_FILE", String::new())]),
            Self::NotInBundle => (here, vec![("SSL_CERT_FILE", unrelated_ca())]),
            _ => (here, Vec::new()),
        }
    }
}

/// The path of a bundle with an authority that has issued nothing here.
fn unrelated_ca() -> String {
    pems::pem("ca.crt").to_str().unwrap().to_owned()
}

/// Serves every connection until the end of the tests: a listener cannot know when nobody will come any more.
fn each_connection(serve: impl Fn(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(serve));
    port
}

/// A server that responds to one request of each client whose handshake succeeds.
fn serve(tls: Arc<ServerConfig>) -> u16 {
    each_connection(move |stream| {
        let mut tls = StreamOwned::new(ServerConnection::new(tls.clone()).unwrap(), stream);
        if tls.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {
            let _ = tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
        // What the client has yet to read must not be lost by a reset.
        let _ = tls.sock.shutdown(Shutdown::Write);
        while tls.sock.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {}
    })
}

fn serve_bytes(response: Vec<u8>) -> u16 {
    each_connection(move |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&response);
    })
}

fn each(side: &'static str, check: impl Fn(&Sim, Kind, &[(&str, &str)])) {
    for kind in Kind::ALL {
        let sim = Sim::start(Options { entra_tls: false, azure_tls: false, ..Options::default() });
        let egress = Egress::start(None);
        let (url, mut settings) = kind.url_and_settings(&egress);
        settings.push((side, url));
        let settings: Vec<(&str, &str)> =
            settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        eprintln!("  {side} {kind:?}");
        check(&sim, kind, &settings);
    }
}

#[test]
fn certificates_of_upstreams() {
    each("API_BASE_URL", |sim, kind, settings| {
        let proxy = Proxy::start_with(sim, settings);
        let response = proxy.client().get("/openai/v1/models");
        assert_eq!(
            (response.status, &response.json()["error"]["code"]),
            (502, &"upstream_tls".into()),
            "{kind:?}"
        );
        assert_eq!(response.header("x-should-retry").as_deref(), Some("false"), "{kind:?}");
        let line = proxy.wait_log("request failed");
        let (cause, hint) = kind.expected_log();
        assert!(line.contains("kind=tls") && line.contains(cause) && line.contains(hint), "{kind:?}: {line}");
        let host = if kind == Kind::WrongName { "other.test" } else { "localhost" };
        assert!(line.contains(&format!("TLS handshake with {host} failed: ")), "{kind:?}: {line}");
        let remedy = response.json()["error"]["remedy"].as_str().unwrap().to_owned();
        assert!(remedy.contains(hint), "{kind:?}: {remedy}");
        assert!(
            !response.text().contains(".pem") && !response.text().contains(".crt"),
            "{}",
            response.text()
        );
    });
}

#[test]
fn certificates_of_entra_id() {
    each("AZURE_AUTHORITY_HOST", |sim, kind, settings| {
        let proxy = Proxy::start_listening(sim, settings);
        let line = proxy.wait_log("token refresh failed");
        let (cause, hint) = kind.expected_log();
        assert!(line.contains("the TLS handshake with the token endpoint failed"), "{kind:?}: {line}");
        assert!(line.contains(cause) && line.contains(hint), "{kind:?}: {line}");
        let health = proxy.health();
        assert_eq!(health.status, 503, "{kind:?}");
        assert!(health.text().contains(hint), "{kind:?}: {}", health.text());
        assert!(!health.text().contains(".pem") && !health.text().contains(".crt"), "{}", health.text());
    });
}

/// curl does so, too; what else a certificate must be is asked of it all the same.
#[test]
fn a_self_signed_certificate_in_the_bundle_is_trusted() {
    let sim = Sim::start(Options { entra_tls: false, azure_tls: false, ..Options::default() });
    let egress = Egress::start(None);
    let dir = temp_dir("auth-proxy-bundle");
    let own = odd_server(Odd::SelfSigned);
    // Its certificate, with which somebody else signs.
    let (certificate, _) = own.split_once("-----BEGIN PRIVATE").unwrap();
    let (_, key) = server_pem().split_once("-----BEGIN PRIVATE").unwrap();
    let stolen = format!("{certificate}-----BEGIN PRIVATE{key}");
    let alike = odd_server(Odd::SelfSigned);
    let nameless = odd_server(Odd::SelfSignedNameless);
    let expired = odd_server(Odd::SelfSignedExpired);
    let for_clients = odd_server(Odd::SelfSignedWrongPurpose);
    // What the server shows, and for whom, what the bundle has, and why it is refused.
    type Row<'a> = (&'a str, (&'a str, &'a str), &'a str, Option<&'a str>);
    let rows: [Row<'_>; 8] = [
        ("it has signed itself", (&own, "localhost"), &own, None),
        ("its issuer is not there", (server_pem(), "localhost"), server_pem(), None),
        ("another name", (&own, "other.test"), &own, Some("the certificate is for another name")),
        ("no name", (&nameless, "localhost"), &nameless, Some("subjectAltName")),
        ("expired", (&expired, "localhost"), &expired, Some("has expired")),
        ("for clients", (&for_clients, "localhost"), &for_clients, Some("extendedKeyUsage=serverAuth")),
        ("without its key", (&stolen, "localhost"), &own, Some("a signature does not fit")),
        ("the names of a trusted one", (&alike, "localhost"), &own, Some("add this very certificate")),
    ];
    for (name, (pem, host), trusted, refused) in rows {
        let bundle = dir.join("bundle.pem");
        // Whatever else a file holds, only its certificates are read.
        std::fs::write(&bundle, trusted).unwrap();
        let url = format!("https://{host}:{}", serve(odd_server_tls(pem)));
        let settings = [
            ("API_BASE_URL", &*url),
            ("SSL_CERT_FILE", bundle.to_str().unwrap()),
            ("HTTPS_PROXY", &egress.url()),
        ];
        let response = Proxy::start_with(&sim, &settings).client().get("/openai/v1/models");
        match refused {
            None => assert_eq!((response.status, response.text().as_str()), (200, "ok"), "{name}"),
            Some(cause) => {
                assert_eq!(response.status, 502, "{name}");
                assert!(response.text().contains(cause), "{name}: {}", response.text());
            }
        }
    }
    std::fs::remove_dir_all(dir).unwrap();
}

/// Nobody has to restart anything, or to wait.
#[test]
fn a_replaced_bundle_applies_to_the_next_request() {
    for entra_tls in [false, true] {
        let sim = Sim::start(Options { entra_tls, ..Options::default() });
        let bundle = sim.dir.join("bundle.pem");
        let good = std::fs::read_to_string(sim.dir.join("ca.pem")).unwrap();
        std::fs::copy(unrelated_ca(), &bundle).unwrap();
        let proxy = Proxy::start_listening(&sim, &[("SSL_CERT_FILE", bundle.to_str().unwrap())]);
        if entra_tls {
            proxy.wait_log("token refresh failed");
        } else {
            proxy.wait_healthy();
            assert_eq!(proxy.client().get("/sim/echo").status, 502);
        }
        let unrelated = std::fs::read_to_string(&bundle).unwrap();
        replace_file(&bundle, &format!("{unrelated}{good}"));
        if entra_tls {
            proxy.wait_healthy();
        }
        assert_eq!(proxy.client().get("/sim/echo").status, 200);
        let line = proxy.wait_log("SSL_CERT_FILE changed");
        assert!(line.contains("bundle.pem") && line.contains("certificates=2"), "{line}");
        // A file that is no good changes nothing, for connections that are open and for new ones.
        replace_file(&bundle, "");
        assert_eq!(proxy.client().get("/sim/echo").status, 200);
        sim.azure.server.close_connections();
        wait_for("a new connection", || proxy.client().get("/sim/echo").status == 200);
    }
}

/// A server that has changed over to another authority, and the bundle that follows it: at both sides, with nothing
/// restarted, and nothing interrupted.
#[test]
fn an_authority_is_replaced_while_streams_go_on() {
    let (new_ca, new_server) = other_authority_and_server();
    let (old, new) = (server_tls(), odd_server_tls(&new_server));
    let sim = Sim::start(Options { refresh_in: Some(1), ..Options::default() });
    let bundle = sim.dir.join("bundle.pem");
    std::fs::copy(sim.dir.join("ca.pem"), &bundle).unwrap();
    let proxy = Proxy::start_with(&sim, &[("SSL_CERT_FILE", bundle.to_str().unwrap())]);
    let show = |tls: &Arc<ServerConfig>| {
        for server in [&sim.azure.server, &sim.entra.server] {
            server.set_tls(Arc::clone(tls));
        }
    };
    let count = |text: &str| proxy.log().iter().filter(|line| line.contains(text)).count();
    // Each over a new connection.
    let once = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    sim.azure.at("/openai/once", ScriptedResponse::raw(once));
    let ask = || proxy.client().get("/openai/once").status;
    let last_piece = Arc::new(AtomicU64::new(0));
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsta".to_vec();
    let steps = [Step::Write(head), Step::Await(Arc::clone(&last_piece), 1), Step::Write(b"ble".to_vec())];
    sim.azure.script([ScriptedResponse::steps(steps)]);
    let mut stream = proxy.client();
    stream.send("GET", "/openai/v1/x", &[], b"").unwrap();
    sim.azure.request_to("/openai/v1/x");

    show(&new);
    assert_eq!(ask(), 502);
    wait_for("the token side to meet it", || count("token refresh failed") > 0);
    replace_file(&bundle, &new_ca);
    let issued = sim.entra.issued().len();
    assert_eq!(ask(), 200);
    wait_for("a token over the new connection", || sim.entra.issued().len() > issued);
    proxy.wait_log("SSL_CERT_FILE changed");

    // What is no good changes nothing, and is logged once, however often it is looked at.
    replace_file(&bundle, "-----BEGIN CERTIFICATE-----\nno certificate");
    show(&old);
    for _ in 0..3 {
        assert_eq!(ask(), 502);
    }
    let line = proxy.wait_log("holds no usable certificate");
    assert!(line.contains("stay trusted") && line.contains("certificates=1"), "{line}");
    show(&new);
    assert_eq!(ask(), 200, "those from before are in use");
    assert_eq!(count("holds no usable certificate"), 1);

    // It is mended: with what it had, and with what is needed.
    replace_file(&bundle, &new_ca);
    show(&old);
    assert_eq!(ask(), 502);
    proxy.wait_log("SSL_CERT_FILE is valid again");
    assert_eq!(count("SSL_CERT_FILE changed"), 1);
    let old_ca = std::fs::read_to_string(sim.dir.join("ca.pem")).unwrap();
    replace_file(&bundle, &format!("{old_ca}{new_ca}"));
    assert_eq!(ask(), 200);
    wait_for("the log", || count("SSL_CERT_FILE changed") == 2);

    last_piece.store(1, Ordering::SeqCst);
    let response = stream.response("GET").unwrap();
    assert_eq!((response.status, response.text().as_str(), response.fault), (200, "stable", None));
}
