//! Why a connection to Entra ID or to the destination failed. Names hosts and addresses, never what was sent.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::proxy_auth::ProxyAuthError;
pub use super::resolver::ResolveError;
use super::tls_error;

/// What to do about connections that cannot be made.
const NETWORK: &str = "check firewall and network policy; behind an egress proxy set HTTPS_PROXY";
/// What to do when the system has no more memory for sockets or lookups.
const MEMORY: &str =
    "the system has no memory left for it: raise the memory limit of this container, service or machine";

/// A fault on the way to a host, in the order in which they can happen.
#[derive(Debug)]
pub enum Fault {
    /// The name could not be resolved.
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        cause: ResolveError,
    },
    /// No address accepted a connection.
    Connect {
        /// Host and port.
        host: String,
        /// What the first address that failed said.
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
    /// The egress proxy demands other credentials (407).
    EgressProxyAuth {
        /// The proxy's host and port.
        proxy: String,
        /// What it demands.
        error: ProxyAuthError,
        /// How long no connection through it is attempted with the same credentials.
        retry_in: Option<Duration>,
    },
    /// The TLS handshake failed.
    Tls {
        /// The host whose certificate was checked.
        host: String,
        /// What rustls said.
        cause: rustls::Error,
        /// It was said after the server's hello.
        after_server_hello: bool,
        /// The bundle that is trusted, if `SSL_CERT_FILE` names one. For the log: callers learn no paths.
        bundle: Option<PathBuf>,
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
            Self::EgressProxyAuth { .. } => "egress_proxy_auth",
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

    /// What an error means that ended a connection to `host` after its handshake: with TLS 1.3 the server says only then
    /// that it wants a client certificate.
    pub(super) fn broken_off(host: &str, error: io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner.filter(|cause| tls_error::demands_client_certificate(cause, true)) {
            Some(cause) => {
                let (host, cause) = (host.to_owned(), cause.clone());
                Self::Tls { host, cause, after_server_hello: true, bundle: None }
            }
            None => Self::Truncated(error),
        }
    }

    /// Whether the certificate of the other side was refused.
    pub(super) fn is_untrusted(&self) -> bool {
        matches!(self, Self::Tls { cause, .. } if tls_error::is_untrusted(cause))
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
            Self::Resolve { cause, .. } => cause.hint().into(),
            Self::Connect { cause, .. } => exhausted(cause).unwrap_or(NETWORK).into(),
            Self::ConnectTimeout { .. } => NETWORK.into(),
            Self::EgressProxy { .. } => "check HTTPS_PROXY, and that the proxy allows this host".into(),
            Self::EgressProxyAuth { error, .. } => error.hint().into(),
            Self::Tls { cause, after_server_hello, bundle, .. } => {
                tls_error::hint(cause, *after_server_hello, bundle.is_some()).into()
            }
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

/// As `Retry-After` counts them: never too early.
pub fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// What to do about an error that says that the system has no more of something; none for every other error.
pub(super) fn exhausted(error: &io::Error) -> Option<&'static str> {
    use rustix::io::Errno;
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE) => {
            Some("each connection takes two file descriptors: raise ulimit -n (LimitNOFILE)")
        }
        Some(Errno::NFILE) => Some("all file descriptors of this machine are in use: raise fs.file-max"),
        Some(Errno::NOMEM | Errno::NOBUFS) => Some(MEMORY),
        _ => (error.kind() == io::ErrorKind::OutOfMemory).then_some(MEMORY),
    }
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
            Self::EgressProxyAuth { proxy, error, retry_in } => {
                write!(f, "egress proxy {proxy} {error}")?;
                match retry_in.map(whole_seconds) {
                    Some(seconds) => write!(f, "; the next attempt is in {seconds} s"),
                    None => Ok(()),
                }
            }
            Self::Tls { host, cause, bundle, .. } => {
                write!(f, "TLS handshake with {host} failed: {cause}")?;
                match (cause, bundle) {
                    (
                        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer),
                        Some(file),
                    ) => {
                        write!(f, ": the CA is not in SSL_CERT_FILE={}", file.display())
                    }
                    _ => Ok(()),
                }
            }
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

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn what_the_system_has_no_more_of_is_not_taken_for_a_fault_of_the_network() {
        let rows = [
            (Errno::MFILE, "ulimit -n"),
            (Errno::NFILE, "fs.file-max"),
            (Errno::NOMEM, "memory limit"),
            (Errno::NOBUFS, "memory limit"),
            (Errno::CONNREFUSED, "firewall"),
            (Errno::NETUNREACH, "firewall"),
            (Errno::HOSTUNREACH, "firewall"),
        ];
        for (errno, words) in rows {
            let fault = Fault::Connect { host: "api.test:443".into(), cause: errno.into() };
            let hint = fault.hint().unwrap();
            assert!(hint.contains(words) && !hint.contains("MAX_CONNECTIONS"), "{fault}: {hint}");
            assert!(fault.to_string().starts_with("cannot connect to api.test:443: "), "{fault}");
        }
    }

    #[test]
    fn a_broken_connection_is_a_matter_of_tls_if_the_server_wants_a_certificate() {
        let alert = |alert| io::Error::new(io::ErrorKind::InvalidData, rustls::Error::AlertReceived(alert));
        let rows = [
            (alert(rustls::AlertDescription::CertificateRequired), "tls"),
            (alert(rustls::AlertDescription::InternalError), "truncated"),
            (io::ErrorKind::ConnectionReset.into(), "truncated"),
            (io::ErrorKind::UnexpectedEof.into(), "truncated"),
        ];
        for (error, kind) in rows {
            let fault = Fault::broken_off("api.test", error);
            assert_eq!(fault.kind(), kind, "{fault}");
            assert!(kind != "tls" || fault.to_string().contains("api.test"), "{fault}");
        }
    }
}
