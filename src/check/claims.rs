//! What an access token says about itself, for a person: a few claims, never the token. Nothing is verified: that is up to
//! the upstream, and a token need not be a JWT at all.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use serde_json::Value;
use zeroize::Zeroizing;

use super::Details;
use crate::log::rfc3339;

/// Claims of Entra ID's access tokens, of version 1 and 2, and what they are called here.
const CLAIMS: [(&str, &str); 6] = [
    ("aud", "audience"),
    ("appid", "application"),
    ("azp", "application"),
    ("oid", "principal"),
    ("tid", "tenant"),
    ("roles", "roles"),
];

/// No date of RFC 3339 is later.
const END_OF_YEAR_9999: u64 = 253_402_300_800;

pub(super) fn of(bearer: &HeaderValue) -> Details {
    let Some(claims) = payload(bearer) else {
        return vec![("token", "is opaque (not a JWT)".into())];
    };
    let known = CLAIMS.iter().filter_map(|(claim, name)| Some((*name, claims.get(*claim)?.clone())));
    let mut details: Details = known.filter(|(_, value)| is_plain(value)).collect();
    let expires = claims.get("exp").and_then(Value::as_u64).filter(|expires| *expires < END_OF_YEAR_9999);
    details.extend(expires.map(|expires| ("expires", rfc3339(expires).into())));
    if claims.get("roles").is_none() {
        details.push(("roles", Value::Array(Vec::new())));
        details.push((
            "note",
            "permissions on a resource are not in the token: the upstream looks them up".into(),
        ));
    }
    details
}

/// The second part of a JWT (RFC 7519 section 3).
fn payload(bearer: &HeaderValue) -> Option<Value> {
    let token = bearer.to_str().ok()?.strip_prefix("Bearer ")?;
    let payload = Zeroizing::new(URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?);
    serde_json::from_slice(&payload).ok()
}

/// A text or a list of texts.
fn is_plain(value: &Value) -> bool {
    value.is_string() || value.as_array().is_some_and(|list| list.iter().all(Value::is_string))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(claims: &str) -> HeaderValue {
        HeaderValue::from_str(&format!("Bearer e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))).unwrap()
    }

    #[test]
    fn known_claims_are_shown_and_others_are_not() {
        let claims = r#"{"aud":"a","azp":"b","tid":"t","roles":["r"],"oid":7,"email":"x","exp":1764374400}"#;
        let details = of(&bearer(claims));
        let names: Vec<_> = details.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["audience", "application", "tenant", "roles", "expires"]);
        assert_eq!(details[4].1, "2025-11-29T00:00:00Z");
        for expires in ["253402300800", "18446744073709551615", "-1", "1e300", "\"2025\""] {
            let details = of(&bearer(&format!(r#"{{"exp":{expires},"roles":[]}}"#)));
            assert_eq!(details.len(), 1, "{expires}: {details:?}");
        }
        assert_eq!(of(&bearer("{}"))[0].0, "roles");
        for opaque in ["Bearer opaque", "Bearer a.!.b", "Bearer a.e30x.b"] {
            assert_eq!(of(&HeaderValue::from_static(opaque))[0].0, "token", "{opaque}");
        }
    }
}
