//! Mistakes that only Entra ID can know, and a way to it that is closed. The program stays; the user sees the client's
//! 503, `/health` and the log.

use super::{Diagnosis, diagnosis};
use crate::sim::{Options, ScriptedResponse, Sim};
use crate::support::program::Proxy;

/// The AADSTS number, and the diagnosis.
const AADSTS: &[(u32, Diagnosis)] = &[
    // The certificate was not uploaded, or to another application.
    (
        700_027,
        diagnosis(
            "the certificate or the signature of the assertion was not accepted",
            "upload the certificate",
        ),
    ),
    // The clock of this machine is wrong.
    (700_024, diagnosis("the assertion is outside its time range", "set this machine's clock")),
    // The client id of another tenant's application.
    (
        700_016,
        diagnosis(
            "the application was not found in this tenant",
            "check AZURE_CLIENT_ID and AZURE_TENANT_ID",
        ),
    ),
    // The application exists, its service principal does not.
    (7_000_229, diagnosis("the application has no service principal in this tenant", "az ad sp create")),
    // Somebody has disabled it.
    (7_000_112, diagnosis("the application is disabled", "ask an administrator to enable it")),
    // Another tenant's id, or another cloud's.
    (90_002, diagnosis("the tenant was not found", "check AZURE_TENANT_ID, and AZURE_AUTHORITY_HOST")),
    // The scope names a resource that this tenant does not have.
    (500_011, diagnosis("the resource of the scope was not found", "check AZURE_SCOPE")),
    // Conditional Access for workloads.
    (53_003, diagnosis("Conditional Access blocks this sign-in", "ask for the outgoing IP address")),
    // A workload identity whose federated credential is for another service account.
    (
        700_213,
        diagnosis("the assertion's subject fits no federated credential", "compare issuer and subject"),
    ),
    // The federated credential was made a moment ago, or was forgotten.
    (70_025, diagnosis("the application has no federated credential", "a new credential takes some minutes")),
    // Its audience is another.
    (
        700_212,
        diagnosis("the token's audience fits no federated credential", "mostly api://AzureADTokenExchange"),
    ),
    // The tenant's name was guessed.
    (900_023, diagnosis("the tenant is neither an id nor a domain name", "set AZURE_TENANT_ID")),
    // An egress proxy with tenant restrictions.
    (
        500_021,
        diagnosis("a proxy on the way does not allow this tenant", "egress proxy that restricts tenants"),
    ),
];

#[test]
fn errors_that_entra_id_returns() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    for (number, expected) in AADSTS {
        sim.entra.script([ScriptedResponse::aadsts(*number)]);
        let proxy = Proxy::start_listening(&sim, &[]);
        let logged = proxy.wait_log("token refresh failed");
        let mistake = format!("AADSTS{number}");
        expected.assert_in(&logged, &mistake);
        expected.assert_in(&proxy.health().text(), &mistake);
        let response = proxy.client().get("/openai/v1/models");
        assert_eq!((response.status, response.json()["error"]["code"].as_str()), (503, Some(&*mistake)));
        expected.assert_in(&response.text(), &mistake);
    }
}

type Fields = &'static [(&'static str, &'static str)];

/// A status, header fields and a body that are not Entra ID's error response, and the diagnosis.
const OTHERS: &[(u16, Fields, &str, Diagnosis)] = &[
    (
        503,
        &[("Content-Type", "text/html"), ("Server", "Microsoft-HTTPAPI/2.0")],
        "<html>Service Unavailable</html>",
        diagnosis(
            "the response is text/html from server Microsoft-HTTPAPI/2.0",
            "Entra ID, or a gateway before it, has failed",
        ),
    ),
    (
        403,
        &[("Content-Type", "text/html"), ("Server", "squid/5.7"), ("Retry-After", "86400")],
        "<html>Blocked</html>",
        diagnosis("the token endpoint responded 403", "check whether a proxy, a filter or a sign-in page"),
    ),
    (
        429,
        &[("Content-Type", "text/plain"), ("Retry-After", "30")],
        "Too Many Requests",
        diagnosis("the token endpoint responded 429", "check whether many replicas share this application"),
    ),
];

#[test]
fn responses_that_are_not_entra_ids() {
    for (status, fields, body, expected) in OTHERS {
        let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
        let mut response = ScriptedResponse::status(*status).body(*body);
        for (name, value) in *fields {
            response = response.header(name, value);
        }
        // For everything that is asked meanwhile.
        sim.entra.script((0..100).map(|_| response.clone()));
        let proxy = Proxy::start_listening(&sim, &[]);
        let mistake = status.to_string();
        expected.assert_in(&proxy.wait_log("token refresh failed"), &mistake);
        expected.assert_in(&proxy.health().text(), &mistake);
        let response = proxy.client().get("/openai/v1/models");
        assert_eq!(response.status, 503);
        expected.assert_in(&response.text(), &mistake);
        let seconds: u64 = response.header("retry-after").unwrap().parse().unwrap();
        assert!(
            seconds <= if *status == 429 { 30 } else { 3 },
            "{mistake}: the Retry-After of a filter counts: {seconds}"
        );
    }
}

/// The way to Entra ID is closed. Certificates that are not trusted are in `network_faults::certificates`.
#[test]
fn an_authority_that_cannot_be_reached() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    for (variable, value, expected) in [
        (
            "AZURE_AUTHORITY_HOST",
            "no-such-host.invalid",
            diagnosis("cannot resolve", "check the spelling of"),
        ),
        (
            "AZURE_AUTHORITY_HOST",
            "localhost:1",
            diagnosis("cannot connect to localhost:1", "check firewall and network policy"),
        ),
        ("HTTPS_PROXY", "http://127.0.0.1:1", diagnosis("egress proxy 127.0.0.1:1", "check HTTPS_PROXY")),
    ] {
        let authority = format!("entra.sim.test:{}", sim.entra.server.port());
        let mut variables = vec![(variable, value)];
        if variable == "HTTPS_PROXY" {
            variables.push(("AZURE_AUTHORITY_HOST", &authority));
        }
        let proxy = Proxy::start_listening(&sim, &variables);
        let logged = proxy.wait_log("token refresh failed");
        expected.assert_in(&logged, variable);
        let response = proxy.client().get("/openai/v1/models");
        assert_eq!(
            (response.status, response.json()["error"]["code"].as_str()),
            (503, Some("token_unavailable"))
        );
    }
}
