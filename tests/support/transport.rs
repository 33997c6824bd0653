//! The ways on which clients reach the program. What it promises to clients holds on each of them.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::client::Raw;
use super::program::is_tiny_http;
use crate::sim::{Sim, server_ca, server_pem};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Unix,
    Tls,
}

/// Those that tests are repeated on.
pub fn transports() -> &'static [Transport] {
    if is_tiny_http() { &[Transport::Tcp] } else { &[Transport::Tcp, Transport::Unix, Transport::Tls] }
}

impl Transport {
    /// The variables with which a program listens there, its files beside those of this simulator.
    pub fn variables(self, sim: &Sim) -> Vec<(&'static str, String)> {
        let file = |name: &str| sim.dir.join(name).to_str().unwrap().to_owned();
        match self {
            Self::Tcp => Vec::new(),
            Self::Unix => vec![("HOST", format!("unix:{}", file("proxy.sock")))],
            Self::Tls => {
                std::fs::write(sim.dir.join("server.pem"), server_pem()).unwrap();
                vec![("TLS_CERT_FILE", file("server.pem")), ("TLS_KEY_FILE", file("server.pem"))]
            }
        }
    }

    /// Where such a program listens, given what its log says.
    pub fn endpoint(self, address: &str) -> Option<Endpoint> {
        Some(match (self, address.strip_prefix("unix:")) {
            (_, Some(path)) => Endpoint::Unix(path.into()),
            (Self::Tls, None) => Endpoint::Tls(address.parse().ok()?),
            (_, None) => Endpoint::Tcp(address.parse().ok()?),
        })
    }
}

/// Where a program listens, and what it speaks there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// With the certificate of the simulator's servers.
    Tls(SocketAddr),
}

impl Endpoint {
    pub fn try_connect(&self) -> io::Result<Raw> {
        match self {
            Self::Tcp(address) => Raw::try_connect(*address),
            Self::Unix(path) => Raw::try_connect_unix(path),
            Self::Tls(address) => Ok(Raw::try_connect(*address)?.into_tls("localhost", server_ca())),
        }
    }

    pub fn connect(&self) -> Raw {
        self.try_connect().unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    /// The address; panics for a Unix socket.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Tcp(address) | Self::Tls(address) => *address,
            Self::Unix(path) => panic!("{path:?} is no address"),
        }
    }
}
