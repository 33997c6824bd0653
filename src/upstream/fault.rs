//! Why a connection to Entra ID or to the destination failed. Names hosts and addresses, never what was sent.

use std::fmt;
use std::io;
use std::time::Duration;

/// A fault on the way to a host, in the order in which they can happen.
#[derive(Debug)]
pub enum Fault {
    /// The name could not be resolved.
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        cause: String,
    },
    /// No address accepted a connection.
    Connect {
        /// Host and port.
        host: String,
        /// What the last address tried said.
        cause: io::Error,
    },
    /// Connection or handshake took longer than `CONNECT_TIMEOUT`.
    ConnectTimeout {
        /// Host and port.
        host: String,
        /// The limit that passed.
        after: Duration,
    },
    /// The egress proxy could not be connected, or refused or garbled CONNECT.
    EgressProxy {
        /// The proxy's host and port.
        proxy: String,
        /// What it answered, or why it did not.
        cause: String,
    },
    /// The TLS handshake failed.
    Tls {
        /// The host whose certificate was checked.
        host: String,
        /// What rustls said.
        cause: rustls::Error,
    },
    /// The peer ended the connection in the middle of a message: no TLS close_notify, or a reset.
    Truncated(io::Error),
    /// The peer closed the connection in order, before a response came.
    Closed,
    /// What came is no response of HTTP/1.1, and why.
    BadResponse(String),
    /// A response came while the request body was being sent: it is to be read, and the rest of the body not to be sent.
    EarlyResponse,
    /// What should not happen: a bug of ours.
    Internal(String),
    /// The application went away while its answer was pending.
    ClientGone,
    /// The application's request body could not be read to its end.
    RequestBody(io::Error),
}

impl Fault {
    /// The kind, as metrics and logs spell it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Resolve { .. } => "dns",
            Self::Connect { .. } => "connect",
            Self::ConnectTimeout { .. } => "connect_timeout",
            Self::EgressProxy { .. } => "egress_proxy",
            Self::Tls { .. } => "tls",
            Self::Truncated(_) => "truncated",
            Self::Closed => "closed",
            Self::BadResponse(_) => "bad_answer",
            Self::EarlyResponse => "early_response",
            Self::Internal(_) => "internal",
            Self::ClientGone => "client_gone",
            Self::RequestBody(_) => "request_body",
        }
    }

    /// Finds the fault inside an error of ureq's, however it was wrapped.
    pub fn inside(error: &ureq::Error) -> Option<&Self> {
        match error {
            ureq::Error::Other(inner) => inner.downcast_ref(),
            ureq::Error::Io(io) => Self::inside_io(io),
            _ => None,
        }
    }

    /// The same, in an error of a body reader.
    pub fn inside_io(error: &io::Error) -> Option<&Self> {
        let inner = error.get_ref()?;
        if let Some(fault) = inner.downcast_ref::<Self>() {
            return Some(fault);
        }
        inner.downcast_ref::<ureq::Error>().and_then(Self::inside)
    }

    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            // Callers are told, too: the name is for the log.
            Self::Resolve { .. } => {
                "check the spelling of the name in the settings, and DNS inside this container or host".into()
            }
            Self::Connect { cause, .. } if is_out_of_descriptors(cause) => {
                "each connection takes two file descriptors: raise ulimit -n (LimitNOFILE)".into()
            }
            Self::Connect { .. } | Self::ConnectTimeout { .. } => {
                "check firewall and network policy; behind an egress proxy set HTTPS_PROXY".into()
            }
            Self::EgressProxy { .. } => "check HTTPS_PROXY, and that the proxy allows this host".into(),
            Self::Tls { cause, .. } => tls_hint(cause)?.into(),
            Self::Truncated(_)
            | Self::Closed
            | Self::BadResponse(_)
            | Self::EarlyResponse
            | Self::Internal(_)
            | Self::ClientGone
            | Self::RequestBody(_) => return None,
        };
        Some(text)
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// What to do about a refused certificate, by kind, or about a handshake that is none.
fn tls_hint(error: &rustls::Error) -> Option<&'static str> {
    use rustls::CertificateError as C;
    let certificate = match error {
        rustls::Error::InvalidCertificate(certificate) => certificate,
        rustls::Error::InvalidMessage(_) => {
            return Some(
                "what answers does not speak TLS: check scheme and port of the address, and HTTPS_PROXY",
            );
        }
        _ => return None,
    };
    Some(match certificate {
        C::UnknownIssuer => {
            "the certificate's authority is not trusted: set SSL_CERT_FILE to the CA bundle (private CA or inspecting proxy)"
        }
        C::Expired | C::ExpiredContext { .. } => {
            "the server's certificate has expired, or this machine's clock is ahead"
        }
        C::NotValidYet | C::NotValidYetContext { .. } => {
            "this machine's clock is behind, or the server's certificate starts later"
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            "the certificate is for another name: check the host in API_BASE_URL or AZURE_AUTHORITY_HOST"
        }
        _ => return None,
    })
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve { host, cause } => write!(f, "cannot resolve {host}: {cause}"),
            Self::Connect { host, cause } => write!(f, "cannot connect to {host}: {cause}"),
            Self::ConnectTimeout { host, after } => {
                write!(f, "no connection to {host} within {} ms", after.as_millis())
            }
            Self::EgressProxy { proxy, cause } => write!(f, "egress proxy {proxy}: {cause}"),
            Self::Tls { host, cause } => write!(f, "TLS handshake with {host} failed: {cause}"),
            Self::Truncated(cause) => write!(f, "the connection ended in the middle of a message: {cause}"),
            Self::Closed => f.write_str("the connection was closed without a response"),
            Self::BadResponse(why) => write!(f, "what came is no response: {why}"),
            Self::EarlyResponse => f.write_str("a response came before the request body was sent"),
            Self::Internal(what) => write!(f, "a bug of auth-proxy: {what}"),
            Self::ClientGone => f.write_str("the application went away"),
            Self::RequestBody(cause) => write!(f, "the request body ended early: {cause}"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for ureq::Error {
    fn from(fault: Fault) -> Self {
        Self::Other(Box::new(fault))
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::other(fault)
    }
}
