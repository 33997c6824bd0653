//! The client assertion: a JWT (RFC 7519) in compact serialization (RFC 7515 section 7.1), signed with our key.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rsa::Generate as _;
use serde_json::{Value, json};
use sha2::Sha256;

use super::KeyPair;
use crate::config::Algorithm;
use crate::report::Problem;
use crate::secret::Secret;

/// From `nbf` to `exp`: Entra ID wants "5-10 minutes after nbf at most", and MSAL uses as much.
const LIFETIME_SECONDS: u64 = 600;
/// How long before now it begins. Entra ID tolerates a clock that differs from its own by five minutes, so that ours may be
/// seven minutes ahead; and eight minutes slow even if that tolerance did not apply to `exp`.
const BACKDATED_SECONDS: u64 = 120;

/// What stays the same from one assertion to the next.
#[derive(Debug, Clone)]
pub(super) struct AssertionParams {
    pub(super) algorithm: Algorithm,
    /// Whether `x5c` is added.
    pub(super) send_chain: bool,
    pub(super) client_id: String,
    /// The token endpoint, exactly as it is posted to.
    pub(super) audience: String,
}

/// A signed assertion that is valid at the second `now_unix` (RFC 7523 section 3).
pub(super) fn sign(
    pair: &KeyPair,
    params: &AssertionParams,
    now_unix: u64,
) -> Result<Secret<String>, Problem> {
    let signing_input = format!("{}.{}", encode(&header(pair, params)), encode(&claims(params, now_unix)?));
    // The salt of PS256 is as long as the digest (RFC 7518 section 3.5); both signatures are blinded.
    let signature = match params.algorithm {
        Algorithm::Ps256 => pair.key.pss_sign::<Sha256>(signing_input.as_bytes()),
        Algorithm::Rs256 => pair.key.pkcs1v15_sign::<Sha256>(signing_input.as_bytes()),
    };
    let signature = signature.map_err(|error| {
        Problem::new(format!("the client assertion cannot be signed: {error}"))
            .hint("check the private key: openssl pkey -check -noout -in the certificate file")
    })?;
    let mut assertion = signing_input;
    // Capacity for the rest at once: growing would leave a copy that is not wiped.
    assertion.reserve_exact(1 + signature.len() * 4 / 3 + 1);
    assertion.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut assertion);
    Ok(Secret::new(assertion))
}

/// Entra ID knows the certificate by its thumbprint; which one goes with which algorithm is in Microsoft's page on
/// certificate credentials.
fn header(pair: &KeyPair, params: &AssertionParams) -> Value {
    let certificate = &pair.certificate;
    let mut header = match params.algorithm {
        Algorithm::Ps256 => json!({"alg": "PS256", "typ": "JWT", "x5t#S256": certificate.x5t_s256()}),
        Algorithm::Rs256 => json!({"alg": "RS256", "typ": "JWT", "x5t": certificate.x5t()}),
    };
    if params.send_chain {
        // Standard base64, unlike everything else here (RFC 7515 section 4.1.6).
        header["x5c"] = certificate.chain.iter().map(|der| STANDARD.encode(der)).collect();
    }
    header
}

fn claims(params: &AssertionParams, now: u64) -> Result<Value, Problem> {
    let from = now.saturating_sub(BACKDATED_SECONDS);
    Ok(json!({
        "aud": params.audience,
        "iss": params.client_id,
        "sub": params.client_id,
        "jti": uuid()?,
        "iat": from,
        "nbf": from,
        "exp": from + LIFETIME_SECONDS,
    }))
}

fn encode(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

/// A random UUID (RFC 9562 section 5.4).
fn uuid() -> Result<String, Problem> {
    let mut bytes = <[u8; 16]>::try_generate()
        .map_err(|error| Problem::new(format!("the system provides no random numbers: {error}")))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

#[cfg(test)]
mod tests;
