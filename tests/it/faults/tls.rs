//! Certificates that must not be trusted, each with its own words and its own remedy, at both sides.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::fixture::Proxy;
use crate::sim::{Egress, Options, Sim, expired_server_tls, server_tls};

/// What is wrong with the server.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Expired,
    WrongName,
    UnknownAuthority,
    NoTls,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Expired, Self::WrongName, Self::UnknownAuthority, Self::NoTls];

    /// What the log says, and what it advises.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Expired => ("certificate expired", "has expired, or this machine's clock is ahead"),
            Self::WrongName => ("not valid for name", "the certificate is for another name"),
            Self::UnknownAuthority => ("UnknownIssuer", "set SSL_CERT_FILE to the CA bundle"),
            Self::NoTls => ("received corrupt message", "does not speak TLS"),
        }
    }

    /// Starts such a server, and gives its port.
    fn start(self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let tls: Option<Arc<ServerConfig>> = match self {
            Self::Expired => Some(expired_server_tls()),
            Self::WrongName | Self::UnknownAuthority => Some(server_tls()),
            Self::NoTls => None,
        };
        // Until the end of the tests: a listener does not tell when nobody will come.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                if let Some(tls) = &tls {
                    let tls = ServerConnection::new(tls.clone()).unwrap();
                    let _ = StreamOwned::new(tls, stream).read(&mut [0; 100]);
                } else {
                    let _ = stream.read(&mut [0; 1024]);
                    let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
                }
            }
        });
        port
    }

    /// The server's address, and the settings that lead to the fault.
    fn url_and_settings(self, egress: &Egress) -> (String, Vec<(&'static str, String)>) {
        let port = self.start();
        match self {
            Self::WrongName => (format!("https://other.test:{port}"), vec![("HTTPS_PROXY", egress.url())]),
            Self::UnknownAuthority => {
                (format!("https://localhost:{port}"), vec![("SSL_CERT_FILE", String::new())])
            }
            _ => (format!("https://localhost:{port}"), Vec::new()),
        }
    }
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
fn the_destinations() {
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
        let (cause, hint) = kind.words();
        assert!(line.contains("kind=tls") && line.contains(cause) && line.contains(hint), "{kind:?}: {line}");
    });
}

#[test]
fn entra_ids() {
    each("AZURE_AUTHORITY_HOST", |sim, kind, settings| {
        let proxy = Proxy::start_listening(sim, settings);
        let line = proxy.wait_log("token refresh failed");
        let (cause, hint) = kind.words();
        assert!(line.contains("there is no trusted TLS connection"), "{kind:?}: {line}");
        assert!(line.contains(cause) && line.contains(hint), "{kind:?}: {line}");
        assert_eq!(proxy.health().status, 503, "{kind:?}");
    });
}
