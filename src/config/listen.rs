//! `HOST` and `PORT`: where to listen.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use super::BaseUrl;
use super::effective::Shown;
use super::env::Env;
use super::url;
use super::value::{self, Parsed};
use crate::http1::authority::without_brackets;
use crate::report::{Problem, quote};

/// What begins a `HOST` that is the path of a Unix socket.
const UNIX: &str = "unix:";
/// The longest path of a Unix socket: `sun_path` has 108 bytes, the last of which is a NUL (unix(7)).
const MAX_UNIX_PATH_BYTES: usize = 107;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// `HOST` and `PORT`, resolved when the listener is bound.
    Tcp {
        /// An IPv4 address, an IPv6 address (without brackets) or a name.
        host: String,
        /// The port; 0 takes a free one.
        port: u16,
    },
    /// `HOST=unix:/path`; `PORT` means nothing then.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl Listen {
    pub(super) fn read(env: &mut Env<'_>) -> Self {
        match env.or("HOST", Host::Network(String::from("0.0.0.0")), Host::parse) {
            Host::Network(host) => Self::Tcp { host, port: env.or("PORT", 8080, value::port) },
            Host::Unix(path) => Self::Unix(path),
        }
    }

    /// Whether requests to this base URL would come back here. Only the certain cases: a name may resolve to anything.
    pub(super) fn is_reached_by(&self, base_url: &BaseUrl) -> bool {
        let Self::Tcp { host, port } = self else { return false };
        let every_address = match host.parse() {
            Ok(IpAddr::V4(address)) => address.is_unspecified() && !base_url.host().contains(':'),
            Ok(IpAddr::V6(address)) => address.is_unspecified(),
            Err(_) => false,
        };
        // `localhost` is listened on at both of its addresses.
        let is_of_localhost = host == "localhost" && ["127.0.0.1", "::1"].contains(&base_url.host());
        *port == base_url.port()
            && base_url.is_loopback()
            && (every_address || is_of_localhost || host == base_url.host())
    }
}

/// `ADMIN_PORT`, another port than `PORT`.
pub(super) fn admin_port(env: &mut Env<'_>, listen: &Listen) -> Option<u16> {
    env.optional("ADMIN_PORT", |text| match (value::port(text)?, listen) {
        (same @ 1.., Listen::Tcp { port, .. }) if same == *port => {
            Err(Problem::new(format!("is the same as PORT: {port}"))
                .hint("choose another one, or 0 for a free one"))
        }
        (port, _) => Ok(port),
    })
}

/// `ADMIN_HOST`: a proxy on the loopback of a pod is still asked from the node.
pub(super) fn admin_host(env: &mut Env<'_>, listen: &Listen) -> String {
    let default = match listen {
        Listen::Tcp { host, .. } => host.clone(),
        Listen::Unix(_) => String::from("127.0.0.1"),
    };
    env.or("ADMIN_HOST", default, |value| match Host::parse(value)? {
        Host::Network(host) => Ok(host),
        Host::Unix(_) => {
            Err(Problem::new(format!("is a Unix socket, which HOST alone can be: {}", quote(value)))
                .hint("kubelet and Prometheus reach an address: use 127.0.0.1 for this machine only"))
        }
    })
}

/// What `HOST` says.
enum Host {
    Network(String),
    Unix(PathBuf),
}

impl Shown for Host {
    fn shown(&self) -> String {
        match self {
            Self::Network(host) => host.shown(),
            Self::Unix(path) => format!("{UNIX}{}", path.shown()),
        }
    }
}

impl Host {
    fn parse(value: &str) -> Parsed<Self> {
        match value.get(..UNIX.len()) {
            Some(prefix) if prefix.eq_ignore_ascii_case(UNIX) => {
                unix_path(&value[UNIX.len()..]).map(Self::Unix)
            }
            _ => host(value).map(Self::Network),
        }
    }
}

fn unix_path(path: &str) -> Parsed<PathBuf> {
    // A URL, as `DOCKER_HOST` has it: `unix:///run/proxy.sock`.
    let path = path.strip_prefix("//").unwrap_or(path);
    let example = "write HOST=unix:/run/auth-proxy/proxy.sock, for example";
    if !path.starts_with('/') {
        let problem = Problem::new(format!("is not the absolute path of a Unix socket: {}", quote(path)));
        return Err(problem.hint(example));
    }
    if path.ends_with('/') {
        let problem = Problem::new(format!("names a directory, not a Unix socket in it: {}", quote(path)));
        return Err(problem.hint(example));
    }
    if path.len() > MAX_UNIX_PATH_BYTES {
        let message = format!("has a path of {} bytes; a Unix socket has one of at most 107", path.len());
        return Err(
            Problem::new(message).hint("choose a shorter one, such as unix:/run/auth-proxy/proxy.sock")
        );
    }
    Ok(path.into())
}

fn host(value: &str) -> Parsed<String> {
    let bare = without_brackets(value);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    // A link-local address needs its zone (RFC 4007 section 11), which the system's resolver understands.
    if let Some((address, zone)) = bare.split_once('%')
        && let Ok(address) = address.parse::<Ipv6Addr>()
        && !zone.is_empty()
        && zone.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    {
        return Ok(format!("{address}%{zone}"));
    }
    url::host_name(value).map_err(|_| {
        let problem = Problem::new(format!("is neither an IP address nor a host name: {}", quote(value)));
        if value == "*" {
            problem.hint("use 0.0.0.0 for every IPv4 address, :: for every address")
        } else if value.starts_with('/') {
            problem.hint(format!("for a Unix socket write {UNIX} before the path"))
        } else if value.contains(':') {
            problem.hint("give only the host; the port goes into PORT")
        } else {
            problem.hint("use 0.0.0.0 for every address, 127.0.0.1 for this machine only")
        }
    })
}
