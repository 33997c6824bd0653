//! Who may pass: exactly one bearer token that Entra ID issued, and no trace of any other credential. In the Realtime API an
//! ephemeral key that was minted here may stand in its place.

use serde_json::{Value, json};

use super::realtime::{EphemeralKeys, KEY_SUBPROTOCOL};
use crate::sim::form;
use crate::sim::head::Head;
use crate::sim::tokens::Tokens;

/// Where an API key can hide.
const KEY_HEADERS: [&str; 4] = ["api-key", "x-api-key", "ocp-apim-subscription-key", "proxy-authorization"];
const KEY_PARAMETERS: [&str; 3] = ["api-key", "authorization", "subscription-key"];
/// Azure responds 431 above this many headers of one's own.
const CUSTOM_HEADERS: usize = 10;

/// The response to a request that may not pass.
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) body: Value,
    /// For the record, in plain words.
    pub(super) reason: String,
}

pub(super) fn check(
    head: &Head,
    path: &str,
    query: &str,
    tokens: &Tokens,
    ephemeral_keys: &EphemeralKeys,
) -> Result<(), Refused> {
    let custom = head.headers.iter().filter(|(name, _)| is_custom(name)).count();
    if custom > CUSTOM_HEADERS {
        let text = format!("{custom} custom headers, more than {CUSTOM_HEADERS}");
        return Err(Refused {
            status: 431,
            body: json!({"error": {"code": "431", "message": &text}}),
            reason: text,
        });
    }
    if let Some(place) = foreign_credential(head, query) {
        return Err(wrong_key(format!("a credential in {place}")));
    }
    let values = head.values("authorization");
    let offered = keys_offered(head);
    if path.starts_with("/openai/v1/realtime")
        && (!offered.is_empty() || values[..].iter().any(|it| it.contains("ek_")))
    {
        let bearers = values.iter().map(|value| value.strip_prefix("Bearer ").unwrap_or(value).to_owned());
        let keys: Vec<String> = bearers.chain(offered).collect();
        let [key] = &keys[..] else { return Err(unauthorized(format!("{} credentials", keys.len()))) };
        return if ephemeral_keys.contains(key) {
            Ok(())
        } else {
            Err(wrong_key("an unknown ephemeral key".into()))
        };
    }
    if path == "/openai/v1/realtime/calls" {
        return Err(unauthorized("this endpoint wants an ephemeral key".into()));
    }
    let [value] = &values[..] else {
        return Err(unauthorized(format!("{} Authorization headers", values.len())));
    };
    let Some(token) = value.strip_prefix("Bearer ") else {
        return Err(unauthorized("the Authorization header is not a bearer token".into()));
    };
    tokens.check(token, audience(path)).map_err(|reason| unauthorized(reason.into()))
}

/// Foundry projects have an audience of their own.
fn audience(path: &str) -> &'static str {
    if path.contains("/api/projects/") {
        "https://ai.azure.com"
    } else {
        "https://cognitiveservices.azure.com"
    }
}

fn foreign_credential(head: &Head, query: &str) -> Option<String> {
    let header = KEY_HEADERS.iter().find(|name| !head.values(name).is_empty());
    if let Some(name) = header {
        return Some(format!("header {name}"));
    }
    if keys_offered(head).iter().any(|key| !key.starts_with("ek_")) {
        return Some("a WebSocket subprotocol".into());
    }
    let names = form::pairs(query.as_bytes());
    let found = names.iter().find(|(name, _)| KEY_PARAMETERS.contains(&name.to_ascii_lowercase().as_str()));
    found.map(|(name, _)| format!("query parameter {name}"))
}

/// The keys in WebSocket subprotocols.
fn keys_offered(head: &Head) -> Vec<String> {
    let offers = head.values("sec-websocket-protocol").join(",");
    let offers = offers.split(',').map(|offer| offer.trim().to_owned());
    offers.filter_map(|offer| offer.strip_prefix(KEY_SUBPROTOCOL).map(str::to_owned)).collect()
}

fn is_custom(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("x-") || matches!(name.as_str(), "via" | "forwarded")
}

fn wrong_key(reason: String) -> Refused {
    let body = json!({"error": {"code": "401", "message":
        "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an \
         active subscription and use a correct regional API endpoint for your resource."}});
    Refused { status: 401, body, reason }
}

fn unauthorized(reason: String) -> Refused {
    let body = json!({"statusCode": 401, "message":
        "Unauthorized. Access token is missing, invalid, audience is incorrect (https://cognitiveservices.azure.com), \
         or have expired."});
    Refused { status: 401, body, reason }
}
