//! Refusals as Entra ID words them.

use serde_json::{Value, json};

use super::clock;

/// Why a token request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AadstsError {
    pub code: u32,
    pub text: String,
}

impl AadstsError {
    pub fn new(code: u32, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// The refusal with this number, in typical words.
    pub fn typical(code: u32) -> Self {
        Self::new(code, typical_text(code))
    }

    /// Status and `error` that go with the number.
    pub fn class(&self) -> (u16, &'static str) {
        match self.code {
            90033 | 90024 | 90006 | 90090 | 50033 | 90012 => (503, "temporarily_unavailable"),
            90055 | 50196 => (429, "temporarily_unavailable"),
            700_016 | 7_000_112 | 70001 | 700_030 | 7_000_229 => (400, "unauthorized_client"),
            90002 | 900_144 | 90014 | 9_002_313 | 90023 | 900_382 | 90038 => (400, "invalid_request"),
            70003 => (400, "unsupported_grant_type"),
            500_011 | 50001 => (400, "invalid_resource"),
            70011 | 1_002_012 | 28002 | 700_022 => (400, "invalid_scope"),
            53003 | 530_032 => (400, "access_denied"),
            _ => (401, "invalid_client"),
        }
    }

    /// The body of the response.
    pub fn body(&self, now: i64, trace_id: &str, correlation_id: &str) -> Value {
        let timestamp = clock::entra_date(now);
        json!({
            "error": self.class().1,
            "error_description": format!(
                "AADSTS{}: {} Trace ID: {trace_id} Correlation ID: {correlation_id} Timestamp: {timestamp}",
                self.code, self.text
            ),
            "error_codes": [self.code],
            "timestamp": timestamp,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": format!("https://login.microsoftonline.com/error?code={}", self.code),
        })
    }
}

fn typical_text(code: u32) -> &'static str {
    match code {
        700_027 => {
            "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found., Thumbprint of key used by client: '84E05C1D98BCE3A5421D225B140B36E86A3D5534', Please visit the Azure Portal.]"
        }
        700_024 => {
            "Client assertion is not within its valid time range. Current time: 2026-11-23T22:00:00.0000000Z, assertion valid from 2026-11-23T21:00:00.0000000Z, expiry time of assertion 2026-11-23T21:10:00.0000000Z."
        }
        1_000_502 => "The provided certificate is not within its specified validity period.",
        700_016 => {
            "Application with identifier '00000000-0000-0000-0000-000000000000' was not found in the directory 'Contoso'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant."
        }
        7_000_229 => "The client application is missing service principal in the tenant.",
        7_000_112 => "Application is disabled.",
        90002 => {
            "Tenant 'contoso' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud."
        }
        500_011 => {
            "The resource principal named https://cognitiveservices.example was not found in the tenant named Contoso."
        }
        70011 => {
            "The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid."
        }
        1_002_012 => {
            "The provided value for scope is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."
        }
        53003 => {
            "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance."
        }
        90033 => "A transient error has occurred. Please try again.",
        90055 => "The tenant is throttled.",
        50196 => {
            "The server terminated an operation because it encountered a client request loop. Please contact your app vendor."
        }
        7_000_215 => "Invalid client secret provided.",
        _ => "The request was refused.",
    }
}
