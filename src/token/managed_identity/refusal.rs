//! Why an identity endpoint gave no token, and what to do: by service, status and the words of its message.

use serde_json::Value;

use super::{IdentityService, Names};
use crate::clock::Clock;
use crate::report::excerpt;
use crate::token::http::TokenResponse;
use crate::token::remedies;
use crate::token::response::{self, parse_retry_after};
use crate::token::{Class, TokenError};

/// Enough of a plain-text message to recognize it.
const MAX_MESSAGE: usize = 4096;

/// A message that is known: words in it (lower case), for which services, with which status if not any error, what it means,
/// what to do.
struct Known {
    words: &'static str,
    services: &'static [IdentityService],
    status: Option<u16>,
    meaning: &'static str,
    hints: &'static [&'static str],
}

const ALL: &[IdentityService] = &[IdentityService::Imds, IdentityService::AppService, IdentityService::Arc];
const SCOPE: &str = "check AZURE_SCOPE, which names the resource, and that it is one of this cloud";

const KNOWN: &[Known] = &[
    Known {
        words: "multiple user assigned identities",
        services: ALL,
        status: None,
        meaning: "this machine has several user-assigned identities",
        hints: &["set AZURE_CLIENT_ID to the client ID of the one to use"],
    },
    Known {
        words: "no user assigned or delegated managed identity found",
        services: ALL,
        status: None,
        meaning: "the identity is not assigned to this app",
        hints: &[
            "assign it: az webapp identity assign, az functionapp identity assign or az containerapp identity assign",
            "AZURE_CLIENT_ID must be the client ID of an identity that is assigned; unset it for the system-assigned one",
        ],
    },
    Known {
        words: "identity not found",
        services: &[IdentityService::Imds],
        status: None,
        meaning: "the identity is not assigned to this machine",
        hints: &[
            "assign it: az vm identity assign; an identity that was made again needs the machine to be started again",
            "AZURE_CLIENT_ID must be the client ID of an identity that is assigned, not its object ID and not that of an app registration; unset it for the system-assigned one",
            "on AKS only the node pool's identity is reachable this way: use workload identity",
        ],
    },
    Known {
        words: "bad_request_102",
        services: ALL,
        status: None,
        meaning: "the Metadata header did not arrive",
        hints: &["a proxy in between removes it: IMDS must be reached directly"],
    },
    Known {
        words: "invalid_resource",
        services: ALL,
        status: None,
        meaning: "the resource of the scope is not valid",
        hints: &[SCOPE],
    },
    Known {
        words: "unknown_source",
        services: &[IdentityService::Imds],
        status: None,
        meaning: "it was not asked from a virtual machine of Azure",
        hints: &["run auth-proxy on the machine or pod that has the identity"],
    },
    Known {
        words: "unauthorized_client",
        services: &[IdentityService::Imds],
        status: None,
        meaning: "it was not asked from a virtual machine of Azure",
        hints: &["run auth-proxy on the machine or pod that has the identity"],
    },
    Known {
        words: "unreachable",
        services: &[IdentityService::Imds],
        status: Some(403),
        meaning: "a proxy on this machine responded in place of IMDS, as Docker Desktop's does",
        hints: &["a workstation has no managed identity: use a certificate there"],
    },
];

/// The error in a response with another status than 200.
pub(super) fn read(
    service: IdentityService,
    response: &TokenResponse,
    names: &Names,
    clock: &Clock,
) -> TokenError {
    let TokenResponse { status, headers, body } = response;
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| json.get(name).and_then(Value::as_str);
    let error = text("error").filter(|error| response::is_short_and_plain(error));
    let message = text("error_description").or_else(|| text("message"));
    // Only looked through: what is no JSON may be anything.
    let all = String::from_utf8_lossy(&body[..body.len().min(MAX_MESSAGE)]).to_ascii_lowercase();
    let known = KNOWN.iter().find(|row| {
        row.services.contains(&service)
            && row.status.is_none_or(|of| of == *status)
            && all.contains(row.words)
    });
    // Entra ID's own error, passed on.
    let code = message.and_then(response::aadsts_number);
    let remedy = code.and_then(remedies::lookup);
    let class = class(service, *status);
    let now = i64::try_from(clock.unix().as_secs()).unwrap_or(i64::MAX);
    // That of a proxy in between must not stop us for long.
    let is_believed = *status == 429 || json.is_object();
    let requested = headers.get("retry-after").and_then(|value| value.to_str().ok());
    let requested =
        requested.and_then(|text| parse_retry_after(text, response::date(headers).unwrap_or(now)));
    let reason = match (remedy, known, error) {
        (Some(remedy), ..) => format!(": AADSTS{}, {}", remedy.code, remedy.meaning),
        (None, Some(known), _) => format!(": {}", known.meaning),
        (None, None, Some(error)) => format!(", {error}"),
        (None, None, None) => String::new(),
    };
    let hints = match (remedy, known) {
        (Some(remedy), _) => vec![remedy.action.to_owned()],
        (None, Some(known)) => known.hints.iter().map(|hint| names.fit(hint)).collect(),
        (None, None) => hints(service, response, json.is_object(), names),
    };
    TokenError {
        status: Some(*status),
        code,
        error: error.map(str::to_owned),
        hints,
        detail: message.map(excerpt),
        correlation_id: text("correlation_id").and_then(response::id_prefix),
        retry_after: requested.filter(|_| is_believed),
        ..TokenError::new(class, format!("{} responded {status}{reason}", service.name()))
    }
}

/// IMDS documents 404 and 410 as passing ("IMDS is going through updates … within 70 seconds"), 429 and 5xx as well; the
/// others mean the first by what it says.
fn class(service: IdentityService, status: u16) -> Class {
    match status {
        404 | 410 if service == IdentityService::Imds => Class::Transient,
        408 | 429 => Class::Transient,
        400..=499 => Class::Permanent,
        _ => Class::Transient,
    }
}

fn hints(service: IdentityService, response: &TokenResponse, is_json: bool, names: &Names) -> Vec<String> {
    let fixed = |text: &str| vec![names.fit(text)];
    match (service, response.status) {
        (_, 429) => fixed("none, it is asked too often; auth-proxy waits"),
        (IdentityService::Imds, 404 | 410 | 500..) if is_json => {
            fixed("none, IMDS is being updated or busy; auth-proxy retries")
        }
        (IdentityService::AppService, 500..) if is_json => {
            fixed(&format!("auth-proxy retries; if it goes on, {SCOPE}"))
        }
        (IdentityService::AppService, 401 | 403) => fixed(
            "IDENTITY_HEADER must be that of this container: pass it on as Azure set it, and start again after it was rotated",
        ),
        (IdentityService::Arc, 401 | 403) => {
            fixed("the agent did not accept its key; auth-proxy gets a new challenge each time")
        }
        (_, 400..=499) if is_json && names.is_user_assigned => fixed(
            "check the id of the identity (AZURE_CLIENT_ID), and that it is assigned here; then AZURE_SCOPE",
        ),
        (_, 400..=499) if is_json => fixed(
            "check that a system-assigned identity is switched on here, or set AZURE_CLIENT_ID; then AZURE_SCOPE",
        ),
        _ => vec![describe_sender(service, response)],
    }
}

/// What was received in place of the service's JSON, and which server sent it.
pub(super) fn describe_sender(service: IdentityService, response: &TokenResponse) -> String {
    let received = response::describe_content(&response.headers);
    match service {
        IdentityService::Imds => format!(
            "the response {received}; the real IMDS sends JSON and `Server: IMDS`: check whether a proxy or \
             aad-pod-identity responds at 169.254.169.254"
        ),
        IdentityService::AppService => {
            format!("the response {received}: check that IDENTITY_ENDPOINT is as Azure set it")
        }
        IdentityService::Arc => {
            format!("the response {received}: check that IDENTITY_ENDPOINT is the agent's")
        }
    }
}

/// An error without a response, with what it means for this service: none of them is behind a firewall of the network or an
/// egress proxy.
pub(super) fn unreachable(service: IdentityService, error: TokenError) -> TokenError {
    let hints: &[&str] = match service {
        IdentityService::Imds => &[
            "is this a virtual machine, scale set or AKS node of Azure? elsewhere use another credential",
            "allow egress to 169.254.169.254/32 port 80: network policies, podLinkLocalAccess of AKS and firewalls on the machine block it; containers may need the host's network",
            "try, on the host and in the container: curl -sH Metadata:true --noproxy '*' 'http://169.254.169.254/metadata/instance?api-version=2021-02-01'",
        ],
        IdentityService::AppService => &[
            "IDENTITY_ENDPOINT is not reachable from this container: see that the identity is switched on for it",
        ],
        IdentityService::Arc => {
            &["is the agent running? systemctl status himdsd; in a container use the host's network"]
        }
    };
    if !error.is_unreachable || error.summary.starts_with("the TLS handshake") {
        return error;
    }
    TokenError { hints: hints.iter().copied().map(str::to_owned).collect(), ..error }
}
