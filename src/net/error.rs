//! Why a connection could not be made, or was not kept by TLS. DnsCache hosts and addresses, never what was sent.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::dns::ResolveError;
use super::proxy_auth::ProxyAuthError;
use super::tls_error;

/// What to do about connections that cannot be made.
const NETWORK: &str =
    "check firewall and network policy; if only an egress proxy is allowed, set HTTPS_PROXY";
/// What to do when the system has no more memory for sockets or lookups.
const MEMORY: &str =
    "the system has no memory left for it: raise the memory limit of this container, service or machine";

/// What went wrong on the way to a host, in the order in which it can happen.
#[derive(Debug)]
pub(crate) enum ConnectError {
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
    Timeout {
        /// Host and port.
        host: String,
        /// The limit that passed.
        after: Duration,
    },
    /// The egress proxy could not be connected, or refused or garbled CONNECT.
    EgressProxy {
        /// The proxy's host and port.
        proxy: String,
        /// What is wrong with its response, or why there is none.
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
        /// What names the bundle: `SSL_CERT_FILE`, mostly.
        variable: &'static str,
        /// The bundle that is trusted, if there is one. For the log: callers learn no paths.
        bundle: Option<PathBuf>,
    },
    /// The client that the connection was for hung up meanwhile.
    ClientGone,
}

impl ConnectError {
    /// The kind, as metrics and logs spell it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Resolve { .. } => "dns",
            Self::Connect { .. } => "connect",
            Self::Timeout { .. } => "connect_timeout",
            Self::EgressProxy { .. } => "egress_proxy",
            Self::EgressProxyAuth { .. } => "egress_proxy_auth",
            Self::Tls { .. } => "tls",
            Self::ClientGone => "client_gone",
        }
    }

    /// What an error means that ended a connection to `host` after its handshake, if TLS is what it was about: with TLS 1.3
    /// the server says only then that it wants a client certificate.
    pub(crate) fn after_handshake(host: &str, error: &io::Error) -> Option<Self> {
        let cause = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        tls_error::demands_client_certificate(cause, true).then(|| Self::Tls {
            host: host.to_owned(),
            cause: cause.clone(),
            after_server_hello: true,
            variable: "SSL_CERT_FILE",
            bundle: None,
        })
    }

    /// Whether the certificate of the other side was refused.
    pub(super) fn is_untrusted(&self) -> bool {
        matches!(self, Self::Tls { cause, .. } if tls_error::is_untrusted(cause))
    }

    /// Whether it is for want of a file descriptor, of which one may be free a moment later.
    pub(super) fn lacks_descriptor(&self) -> bool {
        match self {
            Self::Connect { cause, .. } => lacks_descriptor(cause),
            Self::Resolve { cause: ResolveError::Exhausted(cause), .. } => lacks_descriptor(cause),
            _ => false,
        }
    }

    /// What to do about it, where there is something to do.
    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            // Clients get this hint, too: it must not name the host, which is for the log.
            Self::Resolve { cause, .. } => cause.hint().into(),
            Self::Connect { cause, .. } => exhausted(cause).unwrap_or(NETWORK).into(),
            Self::Timeout { .. } => NETWORK.into(),
            Self::EgressProxy { .. } => "check HTTPS_PROXY, and that the proxy allows this host".into(),
            Self::EgressProxyAuth { error, .. } => error.hint().into(),
            Self::Tls { cause, after_server_hello, variable, bundle, .. } => {
                let hint = tls_error::hint(cause, *after_server_hello, bundle.is_some());
                hint.replace("SSL_CERT_FILE", variable)
            }
            Self::ClientGone => return None,
        })
    }
}

/// As `Retry-After` counts them: never too early.
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Whether this process, or the machine, has no more file descriptors.
pub(crate) fn lacks_descriptor(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(error.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::MFILE | Errno::NFILE))
}

/// What to do about an error that says that the system has no more of something; none for every other error.
pub(crate) fn exhausted(error: &io::Error) -> Option<&'static str> {
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

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve { host, cause } => write!(f, "cannot resolve {host}: {cause}"),
            Self::Connect { host, cause } => write!(f, "cannot connect to {host}: {cause}"),
            Self::Timeout { host, after } => {
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
            Self::Tls { host, cause, variable, bundle, .. } => {
                write!(f, "TLS handshake with {host} failed: {cause}")?;
                match (cause, bundle) {
                    (
                        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer),
                        Some(file),
                    ) => {
                        write!(f, ": the CA is not in {variable}={}", file.display())
                    }
                    _ => Ok(()),
                }
            }
            Self::ClientGone => f.write_str("the client disconnected"),
        }
    }
}

impl std::error::Error for ConnectError {}

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
            let error = ConnectError::Connect { host: "api.test:443".into(), cause: errno.into() };
            let hint = error.hint().unwrap();
            assert!(hint.contains(words) && !hint.contains("MAX_CONNECTIONS"), "{error}: {hint}");
            assert!(error.to_string().starts_with("cannot connect to api.test:443: "), "{error}");
        }
    }
}
