//! The name in a client's certificate: who calls.

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::asn1::{Any, ObjectIdentifier};
use x509_cert::der::{Decode as _, Tag, Tagged as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// id-at-commonName.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// RFC 5280 appendix A.1 allows a common name half as many; a SPIFFE ID may be longer.
const MAX_CHARS: usize = 128;

/// The subject's common name, else the first name of a host, a URI or an e-mail address in subjectAltName, as a line of the
/// log can have it. None when there is none of them.
pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let certificate = certificate.tbs_certificate();
    // The last one is the most specific (RFC 4514 section 2.1).
    let common_name = certificate.subject().iter().filter(|part| part.oid == COMMON_NAME).last();
    let common_name = common_name.map(|part| text(&part.value)).filter(|name| !name.trim().is_empty());
    let name = common_name.or_else(|| {
        let (_, names) = certificate.get_extension::<SubjectAltName>().ok()??;
        names.0.iter().find_map(|name| match name {
            GeneralName::DnsName(name)
            | GeneralName::UniformResourceIdentifier(name)
            | GeneralName::Rfc822Name(name) => Some(name.as_str().to_owned()),
            _ => None,
        })
    })?;
    let visible = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    Some(name.chars().take(MAX_CHARS).map(visible).collect())
}

/// The text of a directory string (RFC 5280 section 4.1.2.4).
fn text(value: &Any) -> String {
    let bytes = value.value();
    match value.tag() {
        Tag::BmpString => {
            let units = bytes.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
            String::from_utf16_lossy(&units.collect::<Vec<_>>())
        }
        // By the letter T.61; everybody who wrote one meant Latin-1, as OpenSSL does.
        Tag::TeletexString => bytes.iter().copied().map(char::from).collect(),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::identity::pems;

    #[test]
    fn the_common_name_is_the_callers_and_else_an_alternative_name() {
        let directory = pems::scratch("names of callers");
        let long = "x".repeat(60);
        // subject, subjectAltName, the name
        let rows = [
            ("/CN=billing", "DNS:other.test", Some("billing")),
            ("/O=Contoso/CN=first/CN=second", "", Some("second")),
            ("/CN=B\u{fc}ro \u{1b}[31m", "", Some("B\u{fc}ro \u{fffd}[31m")),
            (
                "/O=Contoso",
                "IP:127.0.0.1,URI:spiffe://cluster/ns/a/sa/b,DNS:a.test",
                Some("spiffe://cluster/ns/a/sa/b"),
            ),
            ("/O=Contoso", "DNS:a.test,URI:spiffe://b", Some("a.test")),
            ("/O=Contoso", "email:a@b.test", Some("a@b.test")),
            ("/O=Contoso", "IP:127.0.0.1", None),
            ("/O=Contoso", "", None),
            (&format!("/CN={long}"), "", Some(&long)),
            (
                "/O=Contoso",
                &format!("URI:spiffe://{}", "y".repeat(200)),
                Some(&format!("spiffe://{}", "y".repeat(119))),
            ),
        ];
        for (subject, alternative, name) in rows {
            let path = directory.join("certificate.der");
            let mut command = Command::new("openssl");
            command
                .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
                .args(["-utf8", "-subj", subject, "-outform", "DER", "-keyout", "/dev/null", "-out"])
                .arg(&path);
            if !alternative.is_empty() {
                command.args(["-addext", &format!("subjectAltName={alternative}")]);
            }
            let output = command.output().unwrap();
            assert!(output.status.success(), "{subject}: {}", String::from_utf8_lossy(&output.stderr));
            let der = CertificateDer::from(std::fs::read(&path).unwrap());
            assert_eq!(of(&der).as_deref(), name, "{subject} {alternative}");
        }
        std::fs::remove_dir_all(directory).unwrap();
        assert_eq!(of(&CertificateDer::from(vec![0x30, 0])), None);
    }
}
