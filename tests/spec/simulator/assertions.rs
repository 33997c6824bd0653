//! The fake Entra ID accepts what the openssl command signs, and nothing less.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::sim::{Options, ScriptedResponse, Sim, client_pem, openssl, replace_file};
use crate::support::client::{Client, Raw, Response};

/// What goes into a token request; a test changes what it is about.
struct Attempt {
    header: Value,
    claims: Value,
    digest_options: Vec<&'static str>,
    fields: Vec<(&'static str, String)>,
}

impl Attempt {
    /// A request with which nothing is wrong.
    fn good(sim: &Sim) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let client = &sim.options().client_id;
        let path = sim.certificate_path();
        let der = openssl(&["x509", "-in", path.to_str().unwrap(), "-outform", "DER"], b"");
        let sha256 = openssl(&["dgst", "-sha256", "-binary"], &der);
        Self {
            header: json!({"alg": "PS256", "typ": "JWT", "x5t#S256": URL_SAFE_NO_PAD.encode(sha256)}),
            claims: json!({"aud": sim.token_url(), "iss": client, "sub": client, "jti": uuid(),
                "nbf": now, "iat": now, "exp": now + 300}),
            digest_options: vec!["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"],
            fields: vec![
                ("grant_type", "client_credentials".into()),
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".into()),
                ("client_id", client.clone()),
                ("scope", "https://cognitiveservices.azure.com/.default".into()),
            ],
        }
    }

    fn assertion(&self, sim: &Sim) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&self.header), part(&self.claims));
        let key = sim.certificate_path();
        let arguments =
            [&["dgst", "-sha256", "-sign", key.to_str().unwrap()], &self.digest_options[..]].concat();
        let signature = openssl(&arguments, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn post(&self, sim: &Sim) -> Response {
        self.post_assertion(sim, &self.assertion(sim))
    }

    fn post_assertion(&self, sim: &Sim, assertion: &str) -> Response {
        let mut fields = self.fields.clone();
        fields.push(("client_assertion", assertion.to_owned()));
        let encode =
            |text: &str| text.replace('%', "%25").replace('+', "%2B").replace('=', "%3D").replace('&', "%26");
        let form: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let (_, path) =
            sim.token_url().split_once("//localhost").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let (port, path) = path[1..].split_once('/').unwrap();
        let ca = std::fs::read_to_string(sim.dir.join("ca.pem")).unwrap();
        let mut client =
            Client::new(Raw::connect_tls(port.parse().unwrap(), &ca)).with_host(&format!("localhost:{port}"));
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        client.request("POST", &format!("/{path}"), &headers, form.join("&").as_bytes())
    }
}

fn uuid() -> String {
    let hex = String::from_utf8(openssl(&["rand", "-hex", "16"], b"")).unwrap();
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

/// The refusal's number and text.
#[track_caller]
fn refused(response: &Response, status: u16, code: u32, text: &str) {
    let body = response.json();
    let description = body["error_description"].as_str().unwrap();
    assert_eq!((response.status, &body["error_codes"]), (status, &json!([code])), "{description}");
    assert!(description.starts_with(&format!("AADSTS{code}: ")), "{description}");
    assert!(description.contains(text), "{description}");
    for name in ["error", "timestamp", "trace_id", "correlation_id"] {
        assert!(body[name].is_string(), "{name} is missing in {body}");
    }
}

#[test]
fn an_assertion_signed_by_openssl_is_accepted() {
    let sim = Sim::start(Options::default());
    let response = Attempt::good(&sim).post(&sim);
    let body = response.json();
    assert_eq!(response.status, 200, "{body}");
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(3600)));
    assert_eq!(sim.entra.issued()[0].token, body["access_token"].as_str().unwrap());
    assert_eq!(sim.entra.requests()[0].note, "token issued");
}

#[test]
fn rs256_with_the_sha1_thumbprint_is_accepted() {
    let sim = Sim::start(Options::default());
    let mut attempt = Attempt::good(&sim);
    let path = sim.certificate_path();
    let der = openssl(&["x509", "-in", path.to_str().unwrap(), "-outform", "DER"], b"");
    let sha1 = openssl(&["dgst", "-sha1", "-binary"], &der);
    attempt.header = json!({"alg": "RS256", "typ": "JWT", "x5t": URL_SAFE_NO_PAD.encode(sha1), "x5c": [STANDARD.encode(der)]});
    attempt.digest_options.clear();
    assert_eq!(attempt.post(&sim).status, 200);
}

#[test]
fn a_tampered_assertion_is_refused() {
    let sim = Sim::start(Options::default());
    let attempt = Attempt::good(&sim);
    let assertion = attempt.assertion(&sim);
    let signature = assertion.rsplit('.').next().unwrap();
    let mut other = attempt.claims.clone();
    other["jti"] = json!(uuid());
    let claims = URL_SAFE_NO_PAD.encode(other.to_string());
    let header = assertion.split('.').next().unwrap();
    let response = attempt.post_assertion(&sim, &format!("{header}.{claims}.{signature}"));
    refused(&response, 401, 700_027, "did not match the expected signature value");
}

#[test]
fn a_wrong_salt_length_is_refused() {
    let sim = Sim::start(Options::default());
    let mut attempt = Attempt::good(&sim);
    attempt.digest_options[3] = "rsa_pss_saltlen:20";
    refused(&attempt.post(&sim), 401, 700_027, "did not match");
}

#[test]
fn a_replayed_assertion_is_refused() {
    let sim = Sim::start(Options::default());
    let attempt = Attempt::good(&sim);
    assert_eq!(attempt.post(&sim).status, 200);
    refused(&attempt.post(&sim), 401, 50027, "jti was used before");
}

/// Each row: which claim or header member, its wrong value, and the refusal.
#[test]
fn every_wrong_claim_has_its_refusal() {
    let sim = Sim::start(Options::default());
    let other_host = sim.token_url().replace("localhost", "127.0.0.1");
    let now = Attempt::good(&sim).claims["nbf"].as_i64().unwrap();
    let claims = [
        ("aud", json!(other_host), 50027, "audience"),
        ("aud", json!([sim.token_url()]), 50027, "must be one string"),
        ("iss", json!("somebody-else"), 700_021, "client_id"),
        ("sub", json!("somebody-else"), 700_021, "client_id"),
        ("jti", json!("1"), 50027, "not a UUID"),
        ("nbf", json!(now + 120), 700_024, "not within its valid time range"),
        ("exp", json!(now - 1), 700_024, "lives for"),
        ("exp", json!(now + 3600), 700_024, "lives for"),
        ("iat", json!(now as f64 + 0.5), 50027, "must be an integer"),
        ("exp", json!((now + 300).to_string()), 50027, "must be an integer"),
        ("extra", json!(1), 50027, "expected"),
    ];
    for (name, value, code, text) in claims {
        let mut attempt = Attempt::good(&sim);
        attempt.claims[name] = value;
        refused(&attempt.post(&sim), 401, code, text);
    }
    let headers = [
        ("alg", json!("ES256"), 5_002_738, "not a supported signature algorithm"),
        ("typ", json!("jwt"), 50027, "typ"),
        ("kid", json!("x"), 50027, "expected"),
        ("x5t#S256", json!(URL_SAFE_NO_PAD.encode([7; 32])), 700_027, "The key was not found"),
        ("x5t#S256", json!(URL_SAFE_NO_PAD.encode([7; 20])), 50027, "holds 20 bytes"),
        ("x5t#S256", json!(URL_SAFE.encode([7; 32])), 50027, "not unpadded base64url"),
        ("x5c", json!(["AAAA"]), 50012, "x5c"),
        ("x5c", json!("AAAA"), 50027, "x5c must be an array"),
    ];
    for (name, value, code, text) in headers {
        let mut attempt = Attempt::good(&sim);
        attempt.header[name] = value;
        refused(&attempt.post(&sim), 401, code, text);
    }
    assert_eq!(sim.entra.issued().len(), 0);
}

/// Each row: which field of the form, its wrong value, and the refusal.
#[test]
fn every_wrong_field_has_its_refusal() {
    let sim = Sim::start(Options::default());
    let rows = [
        ("grant_type", "password", 70003),
        ("client_assertion_type", "urn:wrong", 50027),
        ("client_id", "00000000-0000-4000-8000-000000000000", 700_016),
        ("scope", "https://cognitiveservices.azure.com", 1_002_012),
        ("scope", "https://elsewhere.example/.default", 500_011),
    ];
    for (name, value, code) in rows {
        let mut attempt = Attempt::good(&sim);
        attempt.fields.iter_mut().find(|(n, _)| *n == name).unwrap().1 = value.to_owned();
        let body = attempt.post(&sim).json();
        assert_eq!(body["error_codes"], json!([code]), "{body}");
    }
    let mut twice = Attempt::good(&sim);
    twice.fields.push(("scope", "https://cognitiveservices.azure.com/.default".into()));
    refused(&twice.post(&sim), 400, 9_002_313, "more than once");
    let mut without = Attempt::good(&sim);
    without.fields.remove(0);
    refused(&without.post(&sim), 400, 900_144, "grant_type");
    let mut unknown = Attempt::good(&sim);
    unknown.fields.push(("client_info", "1".into()));
    refused(&unknown.post(&sim), 400, 9_002_313, "client_info");
}

#[test]
fn certificates_are_renewed_and_clocks_go_wrong() {
    let sim = Sim::start(Options::default());
    let renewed = client_pem("renewed");
    replace_file(&sim.certificate_path(), &renewed);
    refused(&Attempt::good(&sim).post(&sim), 401, 700_027, "The key was not found");
    sim.entra.register(&renewed);
    assert_eq!(Attempt::good(&sim).post(&sim).status, 200);
    sim.entra.set_clock(-3600, 0);
    refused(&Attempt::good(&sim).post(&sim), 401, 700_024, "not within");
    sim.entra.unregister_all();
    refused(&Attempt::good(&sim).post(&sim), 401, 700_027, "The key was not found");
    sim.entra.expect_federated("of.another.kind");
    assert_eq!(Attempt::good(&sim).post_assertion(&sim, "of.another.kind").status, 200);
}

#[test]
fn a_script_is_played_in_order() {
    let sim = Sim::start(Options::default());
    let custom = ScriptedResponse::token("3599").refresh_in(1800).access_token("prescribed");
    let plain = ScriptedResponse::status(429).header("Retry-After", "60").body("Too Many Requests");
    sim.entra.script([ScriptedResponse::aadsts(90033), plain, custom]);
    let responses: Vec<Response> = (0..4).map(|_| Attempt::good(&sim).post(&sim)).collect();
    refused(&responses[0], 503, 90033, "transient");
    assert_eq!((responses[1].status, responses[1].text().as_str()), (429, "Too Many Requests"));
    let token = responses[2].json();
    assert_eq!(
        (&token["expires_in"], &token["refresh_in"], &token["access_token"]),
        (&json!("3599"), &json!(1800), &json!("prescribed"))
    );
    assert_eq!(responses[3].status, 200);
}

#[test]
fn a_lasting_response_is_given_until_it_is_ended() {
    let sim = Sim::start(Options::default());
    sim.entra.script([ScriptedResponse::aadsts(90033)]);
    sim.entra.set_lasting_response(Some(ScriptedResponse::aadsts(700_016)));
    refused(&Attempt::good(&sim).post(&sim), 503, 90033, "");
    for _ in 0..3 {
        refused(&Attempt::good(&sim).post(&sim), 400, 700_016, "");
    }
    sim.entra.set_lasting_response(None);
    assert_eq!(Attempt::good(&sim).post(&sim).status, 200);
}

#[test]
fn an_exhausted_strict_script_fails_the_test() {
    let result = std::panic::catch_unwind(|| {
        let sim = Sim::start(Options::default());
        sim.entra.strict_script([ScriptedResponse::default_behavior()]);
        assert_eq!(Attempt::good(&sim).post(&sim).status, 200);
        let response = Attempt::good(&sim).post(&sim);
        assert_eq!(
            (response.status, response.text().as_str()),
            (500, "entra: the script has no more responses")
        );
    });
    let panic = result.unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("the script had no more responses"));
}

#[test]
fn an_outage_begins_and_ends_on_the_same_port() {
    let sim = Sim::start(Options::default());
    sim.entra.stop();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], sim.entra.server.port()));
    assert!(std::net::TcpStream::connect(address).is_err());
    sim.entra.restart();
    assert_eq!(Attempt::good(&sim).post(&sim).status, 200);
}
