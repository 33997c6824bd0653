//! Why a client's TLS handshake has failed, in words for whoever runs the proxy.

use std::{fmt, io};

use rustls::{AlertDescription, CertificateError, Error};

#[derive(Debug)]
pub enum HandshakeError {
    /// What rustls found wrong, or the alert by which the client has broken it off.
    Tls(Error),
    /// The client left in the middle.
    Closed,
    /// The client left without having sent a byte, as port checks do.
    Silent,
    /// It took longer than a request's head may take.
    TimedOut,
    /// Records without end.
    TooLong,
    /// The socket's.
    Io(io::Error),
}

impl HandshakeError {
    /// The values of [`HandshakeError::reason`].
    pub const REASONS: [&str; 7] = [
        "certificate_rejected",
        "closed",
        "no_client_certificate",
        "no_common_parameters",
        "timeout",
        "untrusted_client",
        "other",
    ];

    /// As the metric names it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Tls(Error::NoCertificatesPresented) => "no_client_certificate",
            Self::Tls(Error::InvalidCertificate(_)) => "untrusted_client",
            Self::Tls(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => "no_common_parameters",
            Self::Tls(Error::AlertReceived(alert)) if rejects_certificate(*alert) => "certificate_rejected",
            Self::Closed | Self::Silent | Self::Io(_) => "closed",
            Self::TimedOut => "timeout",
            Self::Tls(_) | Self::TooLong => "other",
        }
    }

    /// As an error of the socket, for a client's side.
    pub(crate) fn into_io(self) -> io::Error {
        match self {
            Self::Io(error) => error,
            Self::Tls(error) => io::Error::new(io::ErrorKind::InvalidData, error),
            Self::Closed | Self::Silent => {
                io::Error::new(io::ErrorKind::UnexpectedEof, "closed during the TLS handshake")
            }
            Self::TimedOut => io::ErrorKind::TimedOut.into(),
            Self::TooLong => io::Error::new(io::ErrorKind::InvalidData, "a TLS handshake without end"),
        }
    }

    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        use CertificateError as C;
        Some(match self {
            Self::Tls(Error::NoCertificatesPresented) => {
                "TLS_CLIENT_CA_FILE demands a client certificate: give the client one that was issued by its CA"
            }
            Self::Tls(Error::InvalidCertificate(error)) => match error {
                C::UnknownIssuer => {
                    "the client's certificate must be issued by a CA in TLS_CLIENT_CA_FILE; it must send its intermediates, too"
                }
                C::Expired | C::ExpiredContext { .. } => {
                    "renew the client's certificate, or correct this machine's clock"
                }
                C::NotValidYet | C::NotValidYetContext { .. } => {
                    "this machine's clock or the issuer's is wrong"
                }
                C::InvalidPurpose | C::InvalidPurposeContext { .. } => {
                    "the client's certificate is not for clients: issue one with extendedKeyUsage=clientAuth"
                }
                _ => {
                    "issue another certificate to the client: X.509 version 3, signed with SHA-256 or better"
                }
            },
            Self::Tls(Error::NoApplicationProtocol) => {
                "auth-proxy speaks HTTP/1.1: let the client offer `http/1.1` (ALPN), or nothing"
            }
            Self::Tls(Error::PeerIncompatible(_)) => {
                "auth-proxy speaks TLS 1.2 and 1.3 with ECDHE and AES-GCM or ChaCha20: update the client"
            }
            Self::Tls(Error::AlertReceived(alert)) if rejects_certificate(*alert) => {
                "let the client trust the CA that issued TLS_CERT_FILE, use a host name that the certificate has, and put its intermediates into the file"
            }
            _ => return None,
        })
    }
}

/// The client says that it does not accept our certificate.
fn rejects_certificate(alert: AlertDescription) -> bool {
    use AlertDescription as A;
    matches!(
        alert,
        A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::UnrecognisedName
    )
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(Error::NoCertificatesPresented) => f.write_str("the client sent no certificate"),
            Self::Tls(Error::InvalidCertificate(error)) => {
                write!(f, "the client's certificate is not accepted: {error}")
            }
            Self::Tls(Error::NoApplicationProtocol) => {
                f.write_str("the client offers other protocols than http/1.1 only")
            }
            Self::Tls(Error::PeerIncompatible(error)) => {
                write!(f, "no TLS version, cipher or group in common: {error:?}")
            }
            Self::Tls(Error::AlertReceived(alert)) if rejects_certificate(*alert) => {
                write!(f, "the client does not accept our certificate: alert {alert:?}")
            }
            Self::Tls(Error::AlertReceived(alert)) => write!(f, "the client sent the alert {alert:?}"),
            Self::Tls(error) => write!(f, "the client violates the TLS protocol: {error}"),
            Self::Closed => f.write_str("the client closed the connection"),
            Self::Silent => f.write_str("the client closed the connection without sending anything"),
            Self::TimedOut => f.write_str("the client took too long"),
            Self::TooLong => f.write_str("the client sent too much"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustls::{InvalidMessage, PeerIncompatible};

    use super::*;

    #[test]
    fn every_failure_has_its_reason_and_those_that_can_be_cured_a_hint() {
        use AlertDescription as A;
        use CertificateError as C;
        use HandshakeError as H;
        let tls = H::Tls;
        let bad = |error: C| tls(error.into());
        // failure, reason, a word of the cause, one of the hint
        let rows = [
            (
                tls(Error::NoCertificatesPresented),
                "no_client_certificate",
                "no certificate",
                "issued by its CA",
            ),
            (bad(C::UnknownIssuer), "untrusted_client", "not accepted", "TLS_CLIENT_CA_FILE"),
            (bad(C::Expired), "untrusted_client", "not accepted", "renew"),
            (bad(C::NotValidYet), "untrusted_client", "not accepted", "clock"),
            (bad(C::InvalidPurpose), "untrusted_client", "not accepted", "clientAuth"),
            (bad(C::BadSignature), "untrusted_client", "not accepted", "SHA-256"),
            (tls(Error::NoApplicationProtocol), "no_common_parameters", "http/1.1", "ALPN"),
            (
                tls(PeerIncompatible::NoCipherSuitesInCommon.into()),
                "no_common_parameters",
                "in common",
                "TLS 1.2 and 1.3",
            ),
            (tls(Error::AlertReceived(A::UnknownCA)), "certificate_rejected", "UnknownCA", "TLS_CERT_FILE"),
            (tls(Error::AlertReceived(A::BadCertificate)), "certificate_rejected", "our", "TLS_CERT_FILE"),
            (tls(Error::AlertReceived(A::InternalError)), "other", "InternalError", ""),
            (tls(InvalidMessage::InvalidContentType.into()), "other", "violates", ""),
            (H::Closed, "closed", "closed", ""),
            (H::Silent, "closed", "without sending", ""),
            (H::TimedOut, "timeout", "too long", ""),
            (H::TooLong, "other", "too much", ""),
            (H::Io(io::ErrorKind::ConnectionReset.into()), "closed", "reset", ""),
        ];
        for (error, reason, cause, hint) in rows {
            assert_eq!(error.reason(), reason, "{error:?}");
            assert!(H::REASONS.contains(&reason), "{reason}");
            assert!(error.to_string().contains(cause), "{error}");
            assert_eq!(error.hint().is_some(), !hint.is_empty(), "{error:?}");
            assert!(error.hint().unwrap_or_default().contains(hint), "{error:?}");
        }
    }
}
