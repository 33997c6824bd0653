//! Why an exchange with Entra ID or with the upstream failed. Names hosts and addresses, never what was sent.

use std::fmt;
use std::io;

use crate::net::ConnectError;

/// What went wrong, in the order in which it can happen.
#[derive(Debug)]
pub(crate) enum Fault {
    /// There is no connection.
    Connect(ConnectError),
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
    /// The application went away while its response was pending.
    ClientGone,
    /// The application's request body could not be read to its end.
    RequestBody(io::Error),
}

impl Fault {
    /// The kind, as metrics and logs spell it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Connect(error) => error.kind(),
            Self::Truncated(_) => "truncated",
            Self::Closed => "closed",
            Self::BadResponse(_) => "bad_response",
            Self::EarlyResponse => "early_response",
            Self::Internal(_) => "internal",
            Self::ClientGone => "client_gone",
            Self::RequestBody(_) => "request_body",
        }
    }

    /// What an error means that ended a connection to `host` after its handshake.
    pub(super) fn broken_off(host: &str, error: io::Error) -> Self {
        ConnectError::after_handshake(host, &error).map_or(Self::Truncated(error), Self::Connect)
    }

    /// Finds the fault inside an error of ureq's, however it was wrapped.
    pub(crate) fn inside(error: &ureq::Error) -> Option<&Self> {
        match error {
            ureq::Error::Other(inner) => inner.downcast_ref(),
            ureq::Error::Io(io) => Self::inside_io(io),
            _ => None,
        }
    }

    /// The same, in an error of a body reader.
    pub(crate) fn inside_io(error: &io::Error) -> Option<&Self> {
        let inner = error.get_ref()?;
        if let Some(fault) = inner.downcast_ref::<Self>() {
            return Some(fault);
        }
        inner.downcast_ref::<ureq::Error>().and_then(Self::inside)
    }

    /// What to do about it, where there is something to do.
    pub(crate) fn hint(&self) -> Option<String> {
        if let Self::Connect(error) = self { error.hint() } else { None }
    }
}

impl From<ConnectError> for Fault {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::ClientGone => Self::ClientGone,
            error => Self::Connect(error),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Truncated(cause) => write!(f, "the connection ended in the middle of a message: {cause}"),
            Self::Closed => f.write_str("the connection was closed without a response"),
            Self::BadResponse(why) => write!(f, "not a valid response: {why}"),
            Self::EarlyResponse => f.write_str("a response arrived before the request body was sent"),
            Self::Internal(what) => write!(f, "a bug of auth-proxy: {what}"),
            Self::ClientGone => f.write_str("the client disconnected"),
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
    use super::*;

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
