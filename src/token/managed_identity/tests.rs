use std::fs;

use ::http::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use super::*;
use crate::identity::pems;
use crate::token::Class;

const NOW: Duration = Duration::from_secs(1_700_000_000);

fn response(status: u16, headers: &[(&'static str, &str)], body: &str) -> TokenResponse {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_str(value).unwrap());
    }
    TokenResponse { status, headers: map, body: Zeroizing::new(body.as_bytes().to_vec()) }
}

fn identity(endpoint: IdentityEndpoint, user_assigned: Option<UserAssigned>) -> ManagedIdentity {
    let settings = config::ManagedIdentity { endpoint, user_assigned };
    let agent = Agent::new_with_defaults();
    ManagedIdentity::new(agent, Clock::system(), &settings, "https://cognitiveservices.azure.com", false)
}

fn names() -> Names {
    Names { identity: "AZURE_CLIENT_ID", is_user_assigned: false, is_federated: false }
}

#[test]
fn each_service_has_its_own_query() {
    let imds = || IdentityEndpoint::Imds { url: "http://h/metadata/identity/oauth2/token".into() };
    let app = |url: &str| IdentityEndpoint::AppService { url: url.into(), header: Secret::new("x".into()) };
    let arc = || IdentityEndpoint::Arc { url: "http://localhost:40342/token".into() };
    let id = || "i d&".to_owned();
    let resource = "resource=https%3A%2F%2Fcognitiveservices.azure.com";
    let rows = [
        (imds(), None, format!("http://h/metadata/identity/oauth2/token?api-version=2018-02-01&{resource}")),
        (imds(), Some(UserAssigned::Client(id())), format!("&{resource}&client_id=i%20d%26")),
        (imds(), Some(UserAssigned::Object(id())), format!("&{resource}&object_id=i%20d%26")),
        (imds(), Some(UserAssigned::Resource(id())), format!("&{resource}&msi_res_id=i%20d%26")),
        (app("http://h/msi"), None, format!("http://h/msi?api-version=2019-08-01&{resource}")),
        (app("http://h/msi?a=b"), None, format!("http://h/msi?a=b&api-version=2019-08-01&{resource}")),
        (app("http://h/"), Some(UserAssigned::Client(id())), format!("&{resource}&client_id=i%20d%26")),
        (app("http://h/"), Some(UserAssigned::Object(id())), format!("&{resource}&principal_id=i%20d%26")),
        (app("http://h/"), Some(UserAssigned::Resource(id())), format!("&{resource}&mi_res_id=i%20d%26")),
        (arc(), None, format!("http://localhost:40342/token?api-version=2020-06-01&{resource}")),
    ];
    for (endpoint, user_assigned, expected) in rows {
        let identity = identity(endpoint, user_assigned);
        assert!(identity.url.ends_with(&expected), "{expected}: {}", identity.url);
        assert!(!identity.can_renew_early());
    }
}

/// The body; the lifetime in seconds and `refresh_in`, or what the message says.
#[test]
fn what_grants_a_token() {
    let rows = [
        (r#"{"access_token":"a","expires_in":"3599","expires_on":"1"}"#, Ok((3599, None))),
        (r#"{"access_token":"a","expires_in":86399,"token_type":"bearer"}"#, Ok((86_399, None))),
        (r#"{"access_token":"a","expires_on":"1700000600"}"#, Ok((600, None))),
        (r#"{"access_token":"a","expires_on":1700000600,"expires_in":null}"#, Ok((600, None))),
        (r#"{"access_token":"a","expires_in":"86399","refresh_in":"43199"}"#, Ok((86_399, Some(43_199)))),
        // No token lives longer than a day.
        (r#"{"access_token":"a","expires_on":"1800000000"}"#, Ok((86_400, None))),
        (r#"{"access_token":"a","expires_on":"1600000000"}"#, Err("expired on arrival")),
        (r#"{"access_token":"a","expires_in":"0"}"#, Err("expired on arrival")),
        (r#"{"access_token":"a","expires_on":"s3cr3t é"}"#, Err("but text like a0aa0a a")),
        (r#"{"access_token":"a","expires_on":[]}"#, Err("neither text nor a number")),
        (r#"{"access_token":"a","expires_in":"60","token_type":"MAC"}"#, Err("token_type is not Bearer")),
        (r#"{"access_token":"s3cr3t b","expires_in":"60"}"#, Err("characters that no header may have")),
        (r#"{"access_token":["s3cr3t"],"expires_in":"60"}"#, Err("access_token is missing")),
        ("s3cr3t", Err("it is not JSON")),
        ("", Err("it is empty")),
    ];
    for (body, expected) in rows {
        match (success::grant(IdentityService::Imds, &response(200, &[], body), None, NOW), expected) {
            (Ok(grant), Ok((expires_in, refresh_in))) => {
                assert_eq!(grant.expires_in.as_secs(), expires_in, "{body}");
                assert_eq!(grant.refresh_in.map(|it| it.as_secs()), refresh_in, "{body}");
            }
            (Err(error), Err(words)) => {
                assert!(error.summary.contains(words), "{words}: {error:?}");
                assert!(!format!("{error:?}").contains("s3cr3t"), "{error:?}");
                assert_eq!(error.class, Class::Transient);
            }
            (result, _) => panic!("{body}: {result:?}"),
        }
    }
}

/// Which statuses are temporary: each service has its own word for "not now".
#[test]
fn what_is_tried_again_soon() {
    use Class::{Permanent, Transient};
    for (service, transient, permanent) in [
        (IdentityService::Imds, &[404, 408, 410, 429, 500, 503, 302][..], &[400, 401, 403, 405][..]),
        (IdentityService::AppService, &[408, 429, 500, 502, 504], &[400, 401, 403, 404, 410]),
        (IdentityService::Arc, &[408, 429, 500], &[400, 401, 403, 404, 410]),
    ] {
        for (statuses, class) in [(transient, Transient), (permanent, Permanent)] {
            for status in statuses {
                let error = refusal::read(service, &response(*status, &[], "{}"), &names(), &Clock::system());
                assert_eq!(error.class, class, "{service:?} {status}");
                // However often it fails, the endpoint is not asked without a pause.
                assert_eq!(limit_rate(error.clone()).retry_after.is_some(), class == Transient);
                assert!(!error.hints.is_empty(), "{service:?} {status}");
            }
        }
    }
    let asked = response(429, &[("retry-after", "17")], "{}");
    let error = refusal::read(IdentityService::Imds, &asked, &names(), &Clock::system());
    assert_eq!(error.retry_after, Some(Duration::from_secs(17)));
}

/// Service, status and body; what the message says, and what the hints must and must not.
#[test]
fn a_message_is_known_by_its_words_and_its_status() {
    use IdentityService::{AppService, Arc, Imds};
    let federated =
        Names { identity: "AZURE_MANAGED_IDENTITY_CLIENT_ID", is_user_assigned: true, is_federated: true };
    let not_found = r#"{"error":"invalid_request","error_description":"Identity not found"}"#;
    let disabled = r#"{"error":"x","error_description":"AADSTS500014: The service principal is disabled."}"#;
    let rows = [
        (
            Imds,
            400,
            not_found,
            &names(),
            "not assigned to this machine",
            "AZURE_CLIENT_ID",
            "MANAGED_IDENTITY",
        ),
        (
            Imds,
            400,
            not_found,
            &federated,
            "not assigned",
            "AZURE_MANAGED_IDENTITY_CLIENT_ID",
            "system-assigned",
        ),
        (Arc, 400, not_found, &names(), "responded 400, invalid_request", "AZURE_CLIENT_ID", "az vm"),
        (
            Imds,
            400,
            disabled,
            &names(),
            "AADSTS500014",
            "Enterprise applications",
            "check AZURE_SCOPE, which names",
        ),
        (
            Imds,
            500,
            r#"{"error_description":"ESTS is unreachable"}"#,
            &names(),
            "responded 500",
            "retries",
            "workstation",
        ),
        (Imds, 403, "an unreachable network", &names(), "in place of IMDS", "workstation", "az vm"),
        (
            AppService,
            400,
            r#"{"message":"unauthorized_client"}"#,
            &names(),
            "responded 400",
            "",
            "virtual machine",
        ),
        (AppService, 500, "{}", &federated, "responded 500", "AZURE_AUTHORITY_HOST", "AZURE_SCOPE"),
    ];
    for (service, status, body, names, summary, hint, other) in rows {
        let error = refusal::read(service, &response(status, &[], body), names, &Clock::system());
        let hints = error.hints.join("; ");
        assert!(error.summary.contains(summary) && hints.contains(hint), "{body}: {error:?}");
        assert!(!hints.contains(other), "{body}: {error:?}");
    }
    // A proxy's wish is not the endpoint's.
    let proxy = response(503, &[("retry-after", "3600")], "<html>");
    assert_eq!(refusal::read(Imds, &proxy, &names(), &Clock::system()).retry_after, None);
}

/// The challenge of Azure Arc's agent and the file that is there; the key, or what the message says.
#[test]
fn azure_arcs_key() {
    let directory = pems::scratch("arc keys");
    let keys = directory.to_str().unwrap();
    fs::write(directory.join("good.key"), "s3cr3t\n").unwrap();
    fs::write(directory.join("empty.key"), " \n").unwrap();
    fs::write(directory.join("large.key"), "x".repeat(4097)).unwrap();
    fs::write(directory.join("good.txt"), "s3cr3t").unwrap();
    fs::create_dir(directory.join("directory.key")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", directory.join("link.key")).unwrap();
    let realm = |name: &str| format!("Basic realm={keys}/{name}");
    let rows = [
        (realm("good.key"), Ok(())),
        (format!("basic Realm=\"{keys}/good.key\""), Ok(())),
        (realm("empty.key"), Err("holds no key")),
        (realm("large.key"), Err("is larger than 4096 bytes")),
        (realm("none.key"), Err("cannot be read")),
        (realm("link.key"), Err("cannot be read")),
        (realm("directory.key"), Err("cannot be read")),
        (realm("good.txt"), Err("or without .key")),
        (realm("../good.key"), Err("names a file outside")),
        (realm("/good.key"), Err("names a file outside")),
        ("Basic realm=/etc/shadow.key".to_owned(), Err("names a file outside")),
        ("Bearer realm=x".to_owned(), Err("names no key file")),
        ("Basic".to_owned(), Err("names no key file")),
    ];
    for (challenge, expected) in rows {
        let result = arc::key(&response(401, &[("www-authenticate", &challenge)], ""), keys);
        match (result, expected) {
            (Ok(key), Ok(())) => assert_eq!(key.expose(), "s3cr3t"),
            (Err(error), Err(words)) => {
                assert!(error.summary.contains(words), "{challenge}: {error:?}");
                assert!(!error.hints.is_empty() && !format!("{error:?}").contains("s3cr3t"), "{error:?}");
            }
            (result, _) => panic!("{challenge}: {result:?}"),
        }
    }
    assert!(
        arc::key(&response(200, &[], "{}"), keys).unwrap_err().summary.contains("in place of its challenge")
    );
    fs::remove_dir_all(directory).unwrap();
}
