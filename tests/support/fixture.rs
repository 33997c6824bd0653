//! The program beside its simulator, for tests that compare what each side of it sees.

use std::io::Read as _;

use socket2::Socket;

use super::client::{Client, Raw, Response};
use super::program::Proxy;
use super::transport::{Transport, transports};
use crate::sim::{Options, Request, Sim, timeout};

/// A simulator and a proxy that uses it. The proxy ends first.
pub struct Fixture {
    pub proxy: Proxy,
    pub sim: Sim,
}

impl Fixture {
    /// The upstream without TLS.
    pub fn plain() -> Self {
        Self::with(false, &[])
    }

    /// The upstream with TLS.
    pub fn tls() -> Self {
        Self::with(true, &[])
    }

    pub fn with(azure_tls: bool, variables: &[(&str, &str)]) -> Self {
        Self::over(Transport::Tcp, azure_tls, variables)
    }

    /// Every kind of upstream, and every transport of the client.
    pub fn each() -> impl Iterator<Item = Self> {
        let kinds = transports().iter().map(|transport| (*transport, false)).chain([(Transport::Tcp, true)]);
        kinds.map(|(transport, azure_tls)| {
            eprintln!("  client: {transport:?}, upstream with TLS: {azure_tls}");
            Self::over(transport, azure_tls, &[])
        })
    }

    /// Clients come on this transport.
    pub fn over(transport: Transport, azure_tls: bool, variables: &[(&str, &str)]) -> Self {
        let sim = Sim::start(Options { azure_tls, ..Options::default() });
        let proxy = Proxy::start_over(transport, &sim, variables);
        sim.azure.log().clear();
        Self { proxy, sim }
    }

    /// With this path after the upstream's origin in `API_BASE_URL`.
    pub fn at_base_path(path: &str) -> Self {
        let sim = Sim::start(Options::default());
        let url = format!("{}{path}", sim.azure_url());
        Self { proxy: Proxy::start_with(&sim, &[("API_BASE_URL", &url)]), sim }
    }

    /// Host and port, as the upstream finds them in `Host`.
    pub fn authority(&self) -> String {
        format!("localhost:{}", self.sim.azure.server.port())
    }

    pub fn client(&self) -> Client {
        self.proxy.client()
    }

    /// What the upstream has seen since the last call.
    pub fn seen(&self) -> Vec<Request> {
        let seen = self.sim.azure.requests();
        self.sim.azure.log().clear();
        seen
    }
}

/// Name and value of each header field, in lower case, sorted by name; values of one name stay in order.
pub fn fields<'a>(headers: impl IntoIterator<Item = &'a (String, Vec<u8>)>) -> Vec<String> {
    let mut fields: Vec<(String, String)> = headers
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), crate::sim::latin1(value)))
        .collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields.into_iter().map(|(name, value)| format!("{name}: {value}")).collect()
}

/// Checks that this is an error of ours, in OpenAI's shape, and returns its code.
#[track_caller]
pub fn error_code(response: &Response) -> String {
    assert_eq!(response.fault, None, "an error of ours is complete");
    assert_eq!(response.header("content-type").as_deref(), Some("application/json"));
    let error = &response.json()["error"];
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
    assert!(error["type"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
    error["code"].as_str().unwrap_or_else(|| panic!("no code in {error}")).to_owned()
}

pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default()
}

/// The socket of a connection without TLS.
pub fn socket(client: &Client) -> &Socket {
    match &client.raw {
        Raw::Plain(socket) => socket,
        Raw::Tls(_) => panic!("what is on this socket is TLS"),
    }
}

/// Waits for exactly this many bytes.
pub fn read_exactly(mut socket: &Socket, count: usize) -> Vec<u8> {
    socket.set_read_timeout(Some(timeout())).unwrap();
    let mut bytes = vec![0; count];
    socket.read_exact(&mut bytes).unwrap();
    bytes
}
