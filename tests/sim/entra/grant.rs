//! Judges a token request: endpoint, form, and then the assertion.

use super::EntraState;
use crate::sim::aadsts::AadstsError;
use crate::sim::assertion::{self, Expected};
use crate::sim::clock;
use crate::sim::exchange::Exchange;
use crate::sim::form;
use crate::sim::record::latin1;

/// The resources that exist in this cloud.
const RESOURCES: [&str; 4] = [
    "https://cognitiveservices.azure.com",
    "https://cognitiveservices.azure.us",
    "https://ai.azure.com",
    "https://ai.azure.us",
];

/// Returns the scope of a good request.
pub(super) fn judge(
    exchange: &Exchange<'_>,
    body: &[u8],
    scheme: &str,
    state: &mut EntraState,
    is_exchanged: &dyn Fn(&str) -> bool,
) -> Result<String, AadstsError> {
    let head = &exchange.head;
    let invalid = |text: String| Err(AadstsError::new(9_002_313, format!("Invalid request. {text}")));
    if head.method != "POST" {
        return invalid(format!("Method {}.", head.method));
    }
    let target = latin1(&head.target);
    // MSAL puts an id into the query; it is not in the assertion's audience.
    let target = target.split('?').next().unwrap_or_default().to_owned();
    if target != format!("/{}/oauth2/v2.0/token", state.tenant) {
        return Err(AadstsError::new(90002, format!("Tenant not found: {target}")));
    }
    let media_type = head.value("content-type");
    let plain = media_type.split(';').next().unwrap_or_default().trim();
    if !plain.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return invalid(format!("Content-Type {media_type:?}."));
    }
    let fields = form::pairs(body);
    let field = |name: &str| -> Result<&str, AadstsError> {
        let values: Vec<&str> = fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
        match values[..] {
            [value] => Ok(value),
            [] => Err(AadstsError::new(
                900_144,
                format!("The request body must contain the following parameter: '{name}'."),
            )),
            _ => Err(AadstsError::new(9_002_313, format!("Invalid request. '{name}' came more than once."))),
        }
    };
    let known = ["grant_type", "client_assertion_type", "client_id", "scope", "client_assertion"];
    // MSAL sends more than that.
    let is_msal = head.value("user-agent").contains("azsdk");
    let unknown = fields.iter().find(|(name, _)| !is_msal && !known.contains(&name.as_str()));
    if let Some((name, _)) = unknown {
        return invalid(format!("Unexpected parameter {name:?}."));
    }
    if field("grant_type")? != "client_credentials" {
        return Err(AadstsError::new(70003, "The app requested an unsupported grant type."));
    }
    if field("client_assertion_type")? != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
        return Err(AadstsError::new(50027, "client_assertion_type is not jwt-bearer."));
    }
    if field("client_id")? != state.client_id {
        return Err(AadstsError::typical(700_016));
    }
    let scope = field("scope")?.to_owned();
    let Some(resource) = scope.strip_suffix("/.default") else { return Err(AadstsError::typical(1_002_012)) };
    if !RESOURCES.contains(&resource) {
        return Err(AadstsError::new(
            500_011,
            format!("The resource principal named {resource} was not found in the tenant."),
        ));
    }
    let assertion = field("client_assertion")?;
    if state.federated.as_deref() == Some(assertion) || is_exchanged(assertion) {
        return Ok(scope);
    }
    let audience = format!("{}://{}{target}", scheme, head.value("host"));
    let accepted = assertion::verify(
        assertion,
        &Expected {
            client_id: &state.client_id,
            audience: &audience,
            now: clock::unix() + state.clock_offset,
            skew: state.skew,
            certificates: &state.certificates,
        },
    )?;
    if !state.seen.insert(accepted.jti) {
        return Err(AadstsError::new(50027, "JWT token is invalid or malformed. (jti was used before)"));
    }
    Ok(scope)
}
