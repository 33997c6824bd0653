//! The main job, on whichever HTTP server the build has: requests go in without a credential and reach the
//! upstream with one; responses come back as they were given.

mod bodies;
mod crowd;
mod requests;
mod streams;

use std::net::SocketAddr;

use crate::client::{Client, Response};
use crate::fixture::Proxy;
use crate::sim::{Options, Sim};

const CHAT: &str = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";

/// A proxy with its simulator. The proxy ends first.
struct Pair {
    proxy: Proxy,
    sim: Sim,
}

impl Pair {
    fn start() -> Self {
        let sim = Sim::start(Options::default());
        Self { proxy: Proxy::start(&sim), sim }
    }

    /// Behind an upstream without TLS: for load, where handshakes would be the most of it.
    fn start_plain() -> Self {
        let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
        Self { proxy: Proxy::start(&sim), sim }
    }

    /// With this behind the upstream's origin in `API_BASE_URL`.
    fn start_at(base_path: &str) -> Self {
        let sim = Sim::start(Options::default());
        let url = format!("{}{base_path}", sim.azure_url());
        Self { proxy: Proxy::start_with(&sim, &[("API_BASE_URL", &url)]), sim }
    }

    fn client(&self) -> Client {
        self.proxy.client()
    }

    fn address(&self) -> SocketAddr {
        self.proxy.address()
    }
}

/// The data of each event.
fn events(response: &Response) -> Vec<String> {
    let text = response.text();
    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
}
