//! What to do about a TLS connection that was refused, by either side, in words for somebody who has never read
//! rustls.

use rustls::{AlertDescription, CertificateError, Error};

/// Whether the server's certificate was not accepted: another `SSL_CERT_FILE` might accept it.
pub(super) fn is_untrusted(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(_))
}

/// Whether a CA certificate was presented as the server's own, which `openssl req -x509` makes by default.
pub(super) fn is_ca_as_server(error: &CertificateError) -> bool {
    webpki_name(error) == Some("CaUsedAsEndEntity")
}

/// Whether the server speaks of the certificate that we do not have. It asks for one after its hello, if at all; before,
/// the same alerts are those of a firewall. With TLS 1.3 they come when our handshake has ended: RFC 8446 section
/// 4.4.2.4 has the server abort with `certificate_required` then.
pub(super) fn demands_client_certificate(error: &Error, after_server_hello: bool) -> bool {
    use AlertDescription as A;
    let Error::AlertReceived(alert) = error else { return false };
    match alert {
        A::CertificateRequired | A::NoCertificate => true,
        // TLS 1.2 has no alert of its own for it. RFC 5246 section 7.4.6: "If the client does not send any certificates,
        // the server MAY at its discretion [...] respond with a fatal handshake_failure alert." OpenSSL does.
        A::HandshakeFailure
        | A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateUnknown
        | A::UnknownCA
        | A::AccessDenied => after_server_hello,
        _ => false,
    }
}

/// What to do about it. `has_bundle` when `SSL_CERT_FILE` is set.
pub(super) fn hint(error: &Error, after_server_hello: bool, has_bundle: bool) -> &'static str {
    use AlertDescription as A;
    if demands_client_certificate(error, after_server_hello) {
        return "the server asks for a client certificate, which auth-proxy does not have: have it let this client in \
                without one, or use an address that does not ask for it";
    }
    match error {
        Error::InvalidCertificate(error) => certificate_hint(error, has_bundle),
        Error::InvalidMessage(_) => {
            "the server there does not speak TLS: check scheme and port of the address, and HTTPS_PROXY"
        }
        Error::AlertReceived(A::ProtocolVersion) | Error::PeerIncompatible(_) => {
            "the server has no version or cipher of TLS in common with auth-proxy, which speaks TLS 1.2 and 1.3 with ECDHE: update it"
        }
        Error::AlertReceived(A::HandshakeFailure | A::InsufficientSecurity) => {
            "the server accepts no offered parameters: it must speak TLS 1.2 or 1.3 with ECDHE"
        }
        Error::AlertReceived(A::UnrecognisedName) => {
            "the server does not know this name: check the host in API_BASE_URL or AZURE_AUTHORITY_HOST"
        }
        Error::AlertReceived(A::InternalError) => {
            "the server has failed: see its log; it may have no certificate for this name"
        }
        Error::AlertReceived(_) => {
            "the server, or a firewall that inspects TLS, has aborted the handshake: see its log"
        }
        Error::General(_) | Error::UnsupportedNameType => {
            "check the host in API_BASE_URL or AZURE_AUTHORITY_HOST: a certificate cannot name it"
        }
        _ => {
            "the peer violates the TLS protocol: check whether a firewall or proxy in between alters connections"
        }
    }
}

fn certificate_hint(error: &CertificateError, has_bundle: bool) -> &'static str {
    use CertificateError as C;
    match error {
        C::UnknownIssuer if has_bundle => {
            "the certificate's authority is not trusted: add its CA to the file that SSL_CERT_FILE names, which is reloaded when it changes (private CA or inspecting proxy)"
        }
        C::UnknownIssuer => {
            "the certificate's authority is not trusted: set SSL_CERT_FILE to the CA bundle (private CA or inspecting proxy)"
        }
        C::Expired | C::ExpiredContext { .. } => {
            "the server's certificate has expired, or this machine's clock is ahead"
        }
        C::NotValidYet | C::NotValidYetContext { .. } => {
            "this machine's clock is slow, or the server's certificate is not valid yet"
        }
        C::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "the server's certificate has no name in subjectAltName, and its common name does not count: issue one that has"
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            "the certificate is for another name: check the host in API_BASE_URL or AZURE_AUTHORITY_HOST"
        }
        C::Revoked => "the server's certificate is revoked: it must be replaced there",
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => {
            "the server's certificate is not for servers: issue one with extendedKeyUsage=serverAuth"
        }
        C::BadSignature => {
            "a signature does not fit: if the CA was renewed under its old name, add the new one to the file that SSL_CERT_FILE names; an RSA key must have 2048 bits"
        }
        C::UnsupportedSignatureAlgorithmContext { .. }
        | C::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => UNSUPPORTED_SIGNATURE,
        C::BadEncoding => {
            "the server's certificate cannot be parsed: it must be replaced, or this is another server"
        }
        C::UnhandledCriticalExtension => {
            "the server's certificate has a critical extension that is not understood: issue one without"
        }
        _ if is_ca_as_server(error) => {
            "the server shows a CA certificate as its own (openssl req -x509 makes one): issue one with basicConstraints=CA:FALSE, or add this very certificate to the file that SSL_CERT_FILE names"
        }
        _ => match webpki_name(error) {
            Some("UnsupportedCertVersion") => {
                "a certificate of the server has X.509 version 1: issue one of version 3, with its name in subjectAltName"
            }
            Some("UnsupportedSignatureAlgorithm" | "UnsupportedSignatureAlgorithmForPublicKey") => {
                UNSUPPORTED_SIGNATURE
            }
            _ => {
                "the server's certificate, or one that it was issued by, breaks a rule of X.509: try `openssl verify -x509_strict` on what `openssl s_client -showcerts` shows"
            }
        },
    }
}

const UNSUPPORTED_SIGNATURE: &str = "the server's certificate is signed in a way that is no longer accepted, such as SHA-1: issue one signed with SHA-256 or better";

/// The name of an error that rustls passes on from webpki, which is no dependency of ours.
fn webpki_name(error: &CertificateError) -> Option<&'static str> {
    let text = match error {
        CertificateError::Other(other) => other.to_string(),
        // The two that rustls has deprecated and may yet produce.
        other => format!("{other:?}"),
    };
    [
        "CaUsedAsEndEntity",
        "UnsupportedCertVersion",
        "UnsupportedSignatureAlgorithm",
        "UnsupportedSignatureAlgorithmForPublicKey",
    ]
    .into_iter()
    .find(|name| text == *name)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::ServerName;
    use rustls::{InvalidMessage, OtherError, PeerIncompatible, PeerMisbehaved};

    use super::*;

    /// As rustls passes on an error of webpki: its name is all that it says.
    fn webpki(name: &str) -> Error {
        CertificateError::Other(OtherError(Arc::new(std::io::Error::other(name.to_owned())))).into()
    }

    #[test]
    fn every_refusal_has_its_remedy() {
        use AlertDescription as A;
        use CertificateError as C;
        let alert = Error::AlertReceived;
        let name = |presented: &[&str]| {
            let presented = presented.iter().map(|name| (*name).to_owned()).collect();
            C::NotValidForNameContext { expected: ServerName::try_from("a.test").unwrap(), presented }.into()
        };
        #[allow(deprecated, reason = "rustls may still produce it")]
        let unsupported = C::UnsupportedSignatureAlgorithm;
        let rows: [(Error, &str); 41] = [
            (C::UnknownIssuer.into(), "set SSL_CERT_FILE to the CA bundle"),
            (C::Expired.into(), "clock is ahead"),
            (C::NotValidYet.into(), "clock is slow"),
            (C::NotValidForName.into(), "for another name"),
            (name(&["b.test"]), "for another name"),
            (name(&[]), "subjectAltName"),
            (C::Revoked.into(), "is revoked"),
            (C::InvalidPurpose.into(), "serverAuth"),
            (
                C::InvalidPurposeContext {
                    required: rustls::ExtendedKeyPurpose::ServerAuth,
                    presented: Vec::new(),
                }
                .into(),
                "serverAuth",
            ),
            (C::BadSignature.into(), "SSL_CERT_FILE"),
            (unsupported.into(), "SHA-1"),
            (
                C::UnsupportedSignatureAlgorithmContext {
                    signature_algorithm_id: Vec::new(),
                    supported_algorithms: Vec::new(),
                }
                .into(),
                "SHA-1",
            ),
            (C::BadEncoding.into(), "cannot be parsed"),
            (C::UnhandledCriticalExtension.into(), "critical extension"),
            (webpki("CaUsedAsEndEntity"), "CA:FALSE"),
            (webpki("CaUsedAsEndEntity"), "SSL_CERT_FILE"),
            (webpki("UnsupportedCertVersion"), "version 1"),
            (webpki("NameConstraintViolation"), "openssl verify"),
            (C::ApplicationVerificationFailure.into(), "openssl verify"),
            (alert(A::CertificateRequired), "asks for a client certificate, which auth-proxy does not have"),
            (alert(A::NoCertificate), "asks for a client certificate"),
            (alert(A::BadCertificate), "asks for a client certificate"),
            (alert(A::UnsupportedCertificate), "asks for a client certificate"),
            (alert(A::CertificateUnknown), "asks for a client certificate"),
            (alert(A::UnknownCA), "asks for a client certificate"),
            (alert(A::AccessDenied), "asks for a client certificate"),
            (alert(A::HandshakeFailure), "asks for a client certificate"),
            (alert(A::HandshakeFailure), "TLS 1.2 or 1.3"),
            (alert(A::AccessDenied), "a firewall that inspects TLS"),
            (alert(A::UnknownCA), "a firewall that inspects TLS"),
            (alert(A::InsufficientSecurity), "TLS 1.2 or 1.3"),
            (alert(A::ProtocolVersion), "TLS 1.2 and 1.3"),
            (alert(A::UnrecognisedName), "API_BASE_URL or AZURE_AUTHORITY_HOST"),
            (alert(A::InternalError), "the server has failed"),
            (alert(A::DecodeError), "see its log"),
            (Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon), "TLS 1.2 and 1.3"),
            (Error::PeerMisbehaved(PeerMisbehaved::MissingKeyShare), "in between"),
            (Error::DecryptError, "in between"),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), "does not speak TLS"),
            (Error::General("no name".into()), "check the host"),
            (Error::PeerSentOversizedRecord, "in between"),
        ];
        for (error, words) in rows {
            // All of them without a bundle; alerts about certificates only come after the server's hello.
            let after = words.contains("client certificate");
            let hint = hint(&error, after, false);
            assert!(hint.contains(words), "{error}: {hint}");
        }
        let known = hint(&C::UnknownIssuer.into(), true, true);
        assert!(known.contains("add its CA") && !known.contains("set SSL_CERT_FILE"), "{known}");
    }

    #[test]
    fn only_what_the_server_says_of_our_certificate_is_taken_for_a_demand_for_one() {
        use AlertDescription as A;
        let others = [A::InternalError, A::UserCanceled, A::CloseNotify, A::DecryptError, A::ProtocolVersion];
        for alert in others {
            assert!(!demands_client_certificate(&Error::AlertReceived(alert), true), "{alert:?}");
        }
        assert!(!demands_client_certificate(&CertificateError::UnknownIssuer.into(), true));
        // Nobody has asked for one yet.
        for alert in [A::HandshakeFailure, A::BadCertificate, A::UnknownCA, A::AccessDenied] {
            assert!(!demands_client_certificate(&Error::AlertReceived(alert), false), "{alert:?}");
        }
    }
}
