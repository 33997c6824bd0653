//! A fake Entra ID and a fake Azure OpenAI on loopback: they check everything, record everything and respond as a test
//! prescribes. The integration tests use it, and `cargo run --example sim` runs it alone.
//!
//! Nothing here uses code of the product: an assertion made and checked by the same code would agree with itself
//! even when both are wrong.
//!
//! ```text
//! server -> conn (TCP or TLS) -> exchange (head, body, response, record) -> entra | azure
//!                                response: what a test prescribes          tokens: what Entra issued and Azure accepts
//! ```
#![allow(dead_code, unused_imports, reason = "each user of the simulator uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a simulator that cannot go on must end the test"
)]
#![allow(unreachable_pub, reason = "what a test may use says pub, although a test binary exports nothing")]

mod aadsts;
mod assertion;
mod azure;
mod body;
mod certs;
mod clock;
mod conn;
mod egress;
mod entra;
mod exchange;
mod form;
mod head;
mod identity;
mod record;
mod relay;
mod script;
mod server;
mod status;
mod tokens;
mod wait;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub use self::azure::Azure;
pub use self::certs::{Odd, client_pem, issued, material, odd_server, openssl, other_authority_and_server};
pub use self::egress::Egress;
pub use self::entra::Entra;
pub use self::identity::{Assigned, IdentityEndpoints, IdentityOptions};
pub use self::record::{BodyEnd, Log, OnRequest, Request, latin1};
pub use self::relay::{Fault, Relay};
pub use self::script::{ScriptedResponse, Step};
pub use self::server::Server;
pub use self::tokens::Issued;
pub use self::wait::{eventually, timeout, wait_for};

/// How a simulator is set up; `Options::default()` is what most tests want.
#[derive(Clone)]
pub struct Options {
    pub tenant: String,
    pub client_id: String,
    /// TLS for Entra ID; plain HTTP otherwise.
    pub entra_tls: bool,
    /// TLS for Azure OpenAI; plain HTTP otherwise.
    pub azure_tls: bool,
    /// 0 for a free one.
    pub entra_port: u16,
    /// 0 for a free one.
    pub azure_port: u16,
    /// Where Azure listens.
    pub azure_host: Ipv4Addr,
    /// `expires_in` of the tokens.
    pub token_lifetime: u64,
    /// `refresh_in` of the tokens; usually absent.
    pub refresh_in: Option<u64>,
    /// The text of every token; usually each is another.
    pub access_token: Option<String>,
    /// Between the events of a stream.
    pub pause: Duration,
    /// Where the certificates go; a temporary folder, removed at the end, when absent.
    pub dir: Option<PathBuf>,
    /// Called with every request to Azure, as soon as its head is complete.
    pub on_azure_request: Option<OnRequest>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tenant: "72f988bf-0000-4000-8000-2d7cd011db47".into(),
            client_id: "11111111-2222-4333-8444-555555555555".into(),
            entra_tls: true,
            azure_tls: true,
            entra_port: 0,
            azure_port: 0,
            azure_host: Ipv4Addr::LOCALHOST,
            token_lifetime: 3600,
            refresh_in: None,
            access_token: None,
            pause: Duration::ZERO,
            dir: None,
            on_azure_request: None,
        }
    }
}

/// Both servers with their certificates. Everything ends and is removed when it is dropped.
pub struct Sim {
    pub entra: Entra,
    pub azure: Azure,
    /// Holds `ca.pem` and `certificate.pem`.
    pub dir: PathBuf,
    options: Options,
    tokens: Arc<tokens::Tokens>,
}

impl Sim {
    /// Starts both servers.
    pub fn start(options: Options) -> Self {
        let material = material();
        let dir = options.dir.clone().unwrap_or_else(|| temp_dir("auth-proxy-sim"));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("ca.pem"), &material.ca).unwrap();
        std::fs::write(dir.join("certificate.pem"), &material.client).unwrap();
        let tls = tls_config(&material.server);
        let tokens = Arc::new(tokens::Tokens::default());
        let entra_tls = options.entra_tls.then(|| tls.clone());
        let azure_tls = options.azure_tls.then_some(tls);
        let entra = Entra::start(entra_tls, tokens.clone(), &options, material.registered.clone());
        let azure = Azure::start(azure_tls, tokens.clone(), &options);
        Self { entra, azure, dir, options, tokens }
    }

    /// What a proxy needs in its environment to use this simulator, on a free port of its own.
    pub fn env(&self) -> Vec<(String, String)> {
        // A bare host means https.
        let authority = if self.options.entra_tls {
            format!("localhost:{}", self.entra.server.port())
        } else {
            format!("http://localhost:{}", self.entra.server.port())
        };
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        [
            ("AZURE_CLIENT_ID", self.options.client_id.clone()),
            ("AZURE_TENANT_ID", self.options.tenant.clone()),
            ("AZURE_CERTIFICATE_PATH", text(self.certificate_path())),
            ("AZURE_AUTHORITY_HOST", authority),
            ("API_BASE_URL", self.azure_url()),
            ("SSL_CERT_FILE", text(self.dir.join("ca.pem"))),
            ("HOST", "127.0.0.1".to_owned()),
            ("PORT", "0".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Scheme, host and port of the fake Azure OpenAI.
    pub fn azure_url(&self) -> String {
        format!("{}://localhost:{}", self.azure.server.scheme(), self.azure.server.port())
    }

    /// The URL of the token endpoint, which is the audience of every assertion.
    pub fn token_url(&self) -> String {
        let (scheme, port) = (self.entra.server.scheme(), self.entra.server.port());
        format!("{scheme}://localhost:{port}/{}/oauth2/v2.0/token", self.options.tenant)
    }

    /// Starts the endpoints of managed identities, whose tokens Azure accepts, too.
    pub fn identity_endpoints(&self, options: IdentityOptions) -> IdentityEndpoints {
        IdentityEndpoints::start(self.tokens.clone(), options)
    }

    /// The file with which the proxy signs in.
    pub fn certificate_path(&self) -> PathBuf {
        self.dir.join("certificate.pem")
    }

    pub fn options(&self) -> &Options {
        &self.options
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.azure.stop();
        self.entra.stop();
        if self.options.dir.is_none() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
        if !std::thread::panicking() {
            assert_eq!(
                self.entra.overrun(),
                0,
                "requests to entra for which the script had no more responses"
            );
            assert_eq!(
                self.azure.overrun(),
                0,
                "requests to azure for which the script had no more responses"
            );
        }
    }
}

/// Bytes that say where they are: number `i` is `i % 251`, which no power of two divides.
pub fn pattern(from: u64, count: usize) -> Vec<u8> {
    (from..).take(count).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// A new folder that nobody else uses.
pub fn temp_dir(name: &str) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("{name}-{}-{count}", std::process::id()));
    // Left over from an earlier process with the same number, if at all.
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Replaces a file in one step, as a certificate is renewed.
pub fn replace_file(path: &Path, content: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, content).unwrap();
    std::fs::rename(beside, path).unwrap();
}

/// The certificate of both servers, and its key after it.
pub fn server_pem() -> &'static str {
    &material().server
}

/// The authority that signed it.
pub fn server_ca() -> &'static str {
    &material().ca
}

/// What both servers show to TLS clients, for upstreams that a test makes itself.
pub fn server_tls() -> Arc<ServerConfig> {
    tls_config(&material().server)
}

/// The same with a certificate that expired years ago.
pub fn expired_server_tls() -> Arc<ServerConfig> {
    tls_config(&material().expired)
}

/// What a server shows that has such a certificate.
pub fn odd_server_tls(pem: &str) -> Arc<ServerConfig> {
    let (chain, key) = chain_and_key(pem);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = provider.key_provider.load_private_key(key).unwrap();
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    // Not looked at: rustls would refuse some of them here already.
    let shown = rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(chain, key));
    Arc::new(builder.with_no_client_auth().with_cert_resolver(Arc::new(shown)))
}

/// A server that lets nobody in without a certificate of the simulator's authority, in this version of TLS.
pub fn mutual_tls(version: &'static rustls::SupportedProtocolVersion) -> Arc<ServerConfig> {
    let certs::Material { ca, server, .. } = material();
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_pemfile::certs(&mut ca.as_bytes()).map(Result::unwrap));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let (chain, key) = chain_and_key(server);
    let builder = builder.with_client_cert_verifier(verifier.build().unwrap());
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

fn chain_and_key(pem: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = rustls_pemfile::certs(&mut pem.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
    (chain, rustls_pemfile::private_key(&mut pem.as_bytes()).unwrap().unwrap())
}

fn tls_config(pem: &str) -> Arc<ServerConfig> {
    let (chain, key) = chain_and_key(pem);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap())
}
