//! Checks a client assertion in the strict documented form. Independent of the product: ring verifies, openssl read
//! the certificate, and nothing here knows how the assertion was made.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use serde_json::{Map, Value};

use super::aadsts::AadstsError;
use super::certs::Registered;
use super::clock;
use super::exchange::hex;

/// What the assertion must agree with.
pub struct Expected<'a> {
    pub client_id: &'a str,
    /// The URL that the request was posted to.
    pub audience: &'a str,
    /// Seconds since the epoch, by the server's clock.
    pub now: i64,
    /// Seconds by which clocks may differ.
    pub skew: i64,
    pub certificates: &'a [Registered],
}

/// A good assertion.
pub struct Accepted {
    /// The server remembers it, against replay.
    pub jti: String,
    pub algorithm: String,
}

/// Every rule, in an order that names the most specific error first.
pub fn verify(assertion: &str, expected: &Expected<'_>) -> Result<Accepted, AadstsError> {
    let parts: Vec<&str> = assertion.split('.').collect();
    let [header_text, claims_text, signature_text] = parts[..] else {
        return Err(malformed("JWT must have three parts"));
    };
    let header = object("header", header_text)?;
    let claims = object("claims", claims_text)?;
    let signature = base64url("signature", signature_text)?;

    let algorithm = string(&header, "alg")?;
    let certificate = certificate(&header, algorithm, expected)?;
    let signed = &assertion[..header_text.len() + 1 + claims_text.len()];
    UnparsedPublicKey::new(verification(algorithm)?, &certificate.public_key)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| signature_mismatch(certificate))?;
    let jti = check_claims(&claims, expected)?;
    Ok(Accepted { jti, algorithm: algorithm.to_owned() })
}

fn verification(algorithm: &str) -> Result<&'static dyn VerificationAlgorithm, AadstsError> {
    match algorithm {
        // ring accepts no salt but the length of the digest.
        "PS256" => Ok(&signature::RSA_PSS_2048_8192_SHA256),
        "RS256" => Ok(&signature::RSA_PKCS1_2048_8192_SHA256),
        _ => {
            Err(AadstsError::new(5_002_738, format!("'{algorithm}' is not a supported signature algorithm.")))
        }
    }
}

/// The registered certificate that the header names.
fn certificate<'a>(
    header: &Map<String, Value>,
    algorithm: &str,
    expected: &Expected<'a>,
) -> Result<&'a Registered, AadstsError> {
    verification(algorithm)?;
    let (name, length) = if algorithm == "PS256" { ("x5t#S256", 32) } else { ("x5t", 20) };
    let mut members = BTreeSet::from(["alg", "typ", name]);
    if header.contains_key("x5c") {
        members.insert("x5c");
    }
    members_are("header", header, &members)?;
    if string(header, "typ")? != "JWT" {
        return Err(malformed("header typ must be JWT"));
    }
    let thumbprint = base64url(name, string(header, name)?)?;
    if thumbprint.len() != length {
        return Err(malformed(&format!("{name} holds {} bytes, not {length}", thumbprint.len())));
    }
    let found = expected.certificates.iter().find(|c| c.sha1 == thumbprint || c.sha256 == thumbprint);
    let found = found.ok_or_else(|| key_not_found(&thumbprint))?;
    if let Some(chain) = header.get("x5c") {
        check_chain(chain, found)?;
    }
    Ok(found)
}

/// RFC 7515, 4.1.6: an array of standard base64, the certificate of the key first.
fn check_chain(chain: &Value, leaf: &Registered) -> Result<(), AadstsError> {
    let entries = chain.as_array().filter(|entries| !entries.is_empty());
    let entries = entries.ok_or_else(|| malformed("x5c must be an array with an entry"))?;
    let mut decoded = Vec::new();
    for entry in entries {
        let text = entry.as_str().ok_or_else(|| malformed("x5c holds something that is not a string"))?;
        decoded.push(STANDARD.decode(text).map_err(|error| malformed(&format!("x5c: {error}")))?);
    }
    if decoded[0] != leaf.der {
        return Err(AadstsError::new(
            50012,
            "Authentication failed: the first x5c entry is not the certificate of the key.",
        ));
    }
    Ok(())
}

/// Returns the jti.
fn check_claims(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<String, AadstsError> {
    members_are("claims", claims, &BTreeSet::from(["aud", "exp", "iat", "iss", "jti", "nbf", "sub"]))?;
    let audience = string(claims, "aud")?;
    if audience != expected.audience {
        return Err(malformed(&format!("audience {audience:?} is not {:?}", expected.audience)));
    }
    let (issuer, subject) = (string(claims, "iss")?, string(claims, "sub")?);
    if issuer != expected.client_id || subject != expected.client_id {
        return Err(AadstsError::new(
            700_021,
            format!(
                "Client assertion application identifier doesn't match 'client_id' parameter: iss {issuer:?}, sub {subject:?}."
            ),
        ));
    }
    let (nbf, exp, iat) = (integer(claims, "nbf")?, integer(claims, "exp")?, integer(claims, "iat")?);
    if exp - nbf > 600 || exp <= nbf {
        return Err(AadstsError::new(
            700_024,
            format!("Client assertion lives for {} seconds: 1 to 600 are allowed.", exp - nbf),
        ));
    }
    let (now, skew) = (expected.now, expected.skew);
    if nbf > now + skew || iat > now + skew || exp <= now - skew {
        let date = clock::entra_date;
        return Err(AadstsError::new(
            700_024,
            format!(
                "Client assertion is not within its valid time range. Current time: {}, assertion valid from {}, \
                 expiry time of assertion {}.",
                date(now),
                date(nbf),
                date(exp)
            ),
        ));
    }
    let jti = string(claims, "jti")?;
    if !is_uuid_v4(jti) {
        return Err(malformed(&format!("jti {jti:?} is not a UUID of version 4")));
    }
    Ok(jti.to_owned())
}

fn is_uuid_v4(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [8, 4, 4, 4, 12]
        && parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
        && parts[2].starts_with('4')
        && parts[3].starts_with(['8', '9', 'a', 'b'])
}

fn object(what: &str, text: &str) -> Result<Map<String, Value>, AadstsError> {
    let bytes = base64url(what, text)?;
    let value: Value =
        serde_json::from_slice(&bytes).map_err(|error| malformed(&format!("{what}: {error}")))?;
    let object = value.as_object().ok_or_else(|| malformed(&format!("{what} is not an object")))?;
    // The parser keeps the last of equal names, so each name must stand in the text as often as in the object.
    let text = String::from_utf8_lossy(&bytes);
    if let Some(name) = object.keys().find(|name| text.matches(&format!("\"{name}\":")).count() != 1) {
        return Err(malformed(&format!("{what} names {name} more than once")));
    }
    Ok(object.clone())
}

/// Without padding, and with no bits left over.
fn base64url(what: &str, text: &str) -> Result<Vec<u8>, AadstsError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|error| malformed(&format!("{what} is not unpadded base64url: {error}")))
}

fn members_are(
    what: &str,
    object: &Map<String, Value>,
    expected: &BTreeSet<&str>,
) -> Result<(), AadstsError> {
    let present: BTreeSet<&str> = object.keys().map(String::as_str).collect();
    if present == *expected {
        return Ok(());
    }
    Err(malformed(&format!("{what} has {present:?}, expected {expected:?}")))
}

fn string<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a str, AadstsError> {
    let value = object.get(name).ok_or_else(|| malformed(&format!("{name} is missing")))?;
    value.as_str().ok_or_else(|| malformed(&format!("{name} must be one string, not {value}")))
}

fn integer(object: &Map<String, Value>, name: &str) -> Result<i64, AadstsError> {
    let value = &object[name];
    value.as_i64().ok_or_else(|| malformed(&format!("{name} must be an integer, not {value}")))
}

fn malformed(detail: &str) -> AadstsError {
    AadstsError::new(50027, format!("JWT token is invalid or malformed. ({detail})"))
}

fn key_not_found(thumbprint: &[u8]) -> AadstsError {
    let thumbprint = hex(thumbprint).to_uppercase();
    AadstsError::new(
        700_027,
        format!(
            "The certificate with identifier used to sign the client assertion is not registered on application. \
             [Reason - The key was not found., Thumbprint of key used by client: '{thumbprint}', Please visit the \
             Azure Portal, Graph Explorer or directly use MS Graph to see configured keys.]"
        ),
    )
}

fn signature_mismatch(certificate: &Registered) -> AadstsError {
    let thumbprint = hex(&certificate.sha1).to_uppercase();
    AadstsError::new(
        700_027,
        format!(
            "Client assertion failed signature validation. [Reason - The provided signature value did not match the \
             expected signature value., Thumbprint of key used by client: '{thumbprint}', Found key.]"
        ),
    )
}
