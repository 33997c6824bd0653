//! Which credential signs in, and what its settings may be.

use super::{bad, good, notes, read, refused};
use crate::config::{Algorithm, Assertion, Config, Credential};

const NO_CERTIFICATE: (&str, &str) = ("AZURE_CERTIFICATE_PATH", "");
const FEDERATED: (&str, &str) = ("AZURE_FEDERATED_TOKEN_FILE", "token");
const IDENTITY: &str = "22222222-3333-4444-5555-666666666666";

fn assertion(config: &Config) -> &Assertion {
    &config.application().expect("an application").assertion
}

fn certificate_path(config: &Config) -> &str {
    match assertion(config) {
        Assertion::Certificate { path, .. } => path.to_str().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// What is set besides client and tenant; which credential it gives and why, or what the problem says.
#[test]
fn the_named_or_the_configured_credential() {
    let by = |value: &'static str| ("AZURE_TOKEN_CREDENTIALS", value);
    let certificate = ("AZURE_CERTIFICATE_PATH", "cert.pem");
    let identity = ("AZURE_MANAGED_IDENTITY_CLIENT_ID", IDENTITY);
    let no_client = ("AZURE_CLIENT_ID", "");
    let no_tenant = ("AZURE_TENANT_ID", "");
    let federated_identity = "managed identity as federated credential";
    type Row<'a> = (&'a [(&'a str, &'a str)], Result<(&'a str, &'a str), &'a str>);
    let rows: [Row<'_>; 24] = [
        (&[certificate], Ok(("certificate", "AZURE_CERTIFICATE_PATH is set"))),
        (
            &[("AZURE_CLIENT_CERTIFICATE_PATH", "cert.pem")],
            Ok(("certificate", "AZURE_CLIENT_CERTIFICATE_PATH is set")),
        ),
        (&[certificate, FEDERATED], Ok(("certificate", "AZURE_CERTIFICATE_PATH is set"))),
        (&[FEDERATED], Ok(("federated token file", "AZURE_FEDERATED_TOKEN_FILE is set"))),
        (&[identity], Ok((federated_identity, "AZURE_MANAGED_IDENTITY_CLIENT_ID is set"))),
        (
            &[by(" workloadidentitycredential "), certificate, FEDERATED],
            Ok(("federated token file", "AZURE_TOKEN_CREDENTIALS is set to workloadidentitycredential")),
        ),
        (
            &[by("EnvironmentCredential"), certificate, FEDERATED],
            Ok(("certificate", "AZURE_TOKEN_CREDENTIALS is set to EnvironmentCredential")),
        ),
        (
            &[by("ManagedIdentityCredential"), certificate, FEDERATED],
            Ok(("managed identity", "AZURE_TOKEN_CREDENTIALS is set to ManagedIdentityCredential")),
        ),
        (
            &[by("ManagedIdentityCredential"), no_client, no_tenant],
            Ok(("managed identity", "AZURE_TOKEN_CREDENTIALS is set to ManagedIdentityCredential")),
        ),
        (
            &[by("ManagedIdentityCredential"), identity],
            Ok((federated_identity, "AZURE_TOKEN_CREDENTIALS is set to ManagedIdentityCredential")),
        ),
        (
            &[by("ManagedIdentityCredential"), identity, no_client],
            Ok(("managed identity", "AZURE_TOKEN_CREDENTIALS is set to ManagedIdentityCredential")),
        ),
        (
            &[by("prod"), certificate, FEDERATED],
            Ok(("certificate", "AZURE_TOKEN_CREDENTIALS is set to prod")),
        ),
        (&[by("prod"), FEDERATED], Ok(("federated token file", "AZURE_TOKEN_CREDENTIALS is set to prod"))),
        (&[by("PROD"), identity], Ok((federated_identity, "AZURE_TOKEN_CREDENTIALS is set to PROD"))),
        (&[by("prod")], Ok(("managed identity", "AZURE_TOKEN_CREDENTIALS is set to prod"))),
        (&[], Err("Missing required Azure AD configuration: AZURE_CERTIFICATE_PATH")),
        // The platform's variables alone are no choice.
        (
            &[("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token"), ("IDENTITY_HEADER", "h")],
            Err("Missing required Azure AD configuration: AZURE_CERTIFICATE_PATH"),
        ),
        (&[identity, no_client], Err("Missing required Azure AD configuration: AZURE_CLIENT_ID")),
        (&[identity, no_client], Err("for the identity's own token set")),
        // Nothing that depends on the choice is reported as missing.
        (&[by("ManagedIdentityCredentials"), no_client], Err("AZURE_TOKEN_CREDENTIALS is not a credential")),
        (
            &[by("WorkloadIdentityCredential"), certificate],
            Err("Missing required Azure AD configuration: AZURE_FEDERATED_TOKEN_FILE"),
        ),
        (
            &[by("EnvironmentCredential"), FEDERATED],
            Err("Missing required Azure AD configuration: AZURE_CERTIFICATE_PATH"),
        ),
        (
            &[by("dev"), certificate],
            Err("selects a developer's sign-in, which auth-proxy does not have: `dev`"),
        ),
        (&[by("Managed"), certificate], Err("is not a credential that auth-proxy knows: `Managed`")),
    ];
    for (settings, expected) in rows {
        let settings: Vec<_> = std::iter::once(NO_CERTIFICATE).chain(settings.iter().copied()).collect();
        match (read(&settings), expected) {
            (Ok(config), Ok((name, reason))) => {
                assert_eq!(
                    (config.credential.name(), config.credential_reason.as_str()),
                    (name, reason),
                    "{settings:?}"
                );
            }
            (Err(problems), Err(words)) => {
                assert!(problems[0].to_string().contains(words), "{settings:?}: {problems:?}");
            }
            (result, _) => panic!("{settings:?}: {result:?}"),
        }
    }
}

#[test]
fn without_any_credential_the_hint_names_all_of_them() {
    let printed = bad(&[NO_CERTIFICATE]);
    for name in ["AZURE_FEDERATED_TOKEN_FILE", "AZURE_TOKEN_CREDENTIALS=ManagedIdentityCredential", "PEM"] {
        assert!(printed.contains(name), "{name}: {printed}");
    }
}

#[test]
fn a_certificate_has_two_names() {
    let alias = "AZURE_CLIENT_CERTIFICATE_PATH";
    assert_eq!(certificate_path(&good(&[NO_CERTIFICATE, (alias, "b.pem")])), "b.pem");
    assert_eq!(certificate_path(&good(&[(alias, " cert.pem ")])), "cert.pem");
    let printed = bad(&[(alias, "b.pem")]);
    assert!(
        printed.contains("AZURE_CERTIFICATE_PATH and AZURE_CLIENT_CERTIFICATE_PATH name different files"),
        "{printed}"
    );
    assert!(printed.contains("`cert.pem` and `b.pem`"), "{printed}");
}

#[test]
fn a_certificate_beside_a_federated_token_is_noted_unless_it_was_chosen() {
    assert!(notes(&[FEDERATED]).contains("the certificate is used: `cert.pem`"));
    assert_eq!(notes(&[FEDERATED, ("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")]), "");
    assert_eq!(notes(&[FEDERATED, NO_CERTIFICATE]), "");
}

#[test]
fn how_the_assertion_is_signed() {
    let rows = [("", Algorithm::Ps256), ("ps256", Algorithm::Ps256), ("RS256", Algorithm::Rs256)];
    for (value, expected) in rows {
        let config = good(&[("AZURE_ASSERTION_ALGORITHM", value)]);
        assert!(
            matches!(assertion(&config), Assertion::Certificate { algorithm, .. } if *algorithm == expected),
            "{value}"
        );
    }
    for (value, expected) in [("", false), ("1", true), ("TRUE", true), ("0", false), ("False", false)] {
        let config = good(&[("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", value)]);
        assert!(
            matches!(assertion(&config), Assertion::Certificate { send_chain, .. } if *send_chain == expected),
            "{value}"
        );
    }
    refused(
        "AZURE_ASSERTION_ALGORITHM",
        &[("no such algorithm", "ES256", "is not a supported algorithm: `ES256`")],
    );
    refused("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", &[("a word", "yes", "is neither true nor false: `yes`")]);
}

/// The platform's variables; the endpoint and the identity that they give, or what the problem says.
#[test]
fn the_endpoint_of_a_managed_identity() {
    let app_service = ("IDENTITY_ENDPOINT", "http://172.16.2.6:8081/msi/token?a=b");
    let arc = ("IDENTITY_ENDPOINT", "http://localhost:40342/metadata/identity/oauth2/token");
    let header = ("IDENTITY_HEADER", "hunter2");
    let no_client = ("AZURE_CLIENT_ID", "");
    let client = "11111111-2222-3333-4444-555555555555";
    let resource_id =
        "/subscriptions/a/resourceGroups/b/providers/Microsoft.ManagedIdentity/userAssignedIdentities/c";
    type Row<'a> = (&'a [(&'a str, &'a str)], Result<(&'a str, &'a str), &'a str>);
    let rows: [Row<'_>; 23] = [
        (&[], Ok(("IMDS http://169.254.169.254/metadata/identity/oauth2/token", client))),
        (&[no_client], Ok(("IMDS http://169.254.169.254/metadata/identity/oauth2/token", "system-assigned"))),
        (
            &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9/"), no_client],
            Ok(("IMDS http://127.0.0.1:9/metadata/identity/oauth2/token", "system-assigned")),
        ),
        (
            &[no_client, ("AZURE_MANAGED_IDENTITY_CLIENT_ID", IDENTITY)],
            Ok(("IMDS http://169.254.169.254/metadata/identity/oauth2/token", IDENTITY)),
        ),
        (
            &[no_client, ("AZURE_MANAGED_IDENTITY_OBJECT_ID", IDENTITY)],
            Ok(("IMDS http://169.254.169.254/metadata/identity/oauth2/token", IDENTITY)),
        ),
        (
            &[no_client, ("AZURE_MANAGED_IDENTITY_RESOURCE_ID", resource_id)],
            Ok(("IMDS http://169.254.169.254/metadata/identity/oauth2/token", resource_id)),
        ),
        (&[app_service, header], Ok(("App Service http://172.16.2.6:8081/msi/token", client))),
        (
            &[arc, ("IMDS_ENDPOINT", "http://localhost:40342"), no_client],
            Ok(("Azure Arc http://localhost:40342/metadata/identity/oauth2/token", "system-assigned")),
        ),
        // Old variables beside the new ones are those of App Service.
        (
            &[app_service, header, ("MSI_ENDPOINT", "http://127.0.0.1/"), ("MSI_SECRET", "hunter2")],
            Ok(("App Service http://172.16.2.6:8081/msi/token", client)),
        ),
        (&[app_service], Err("IDENTITY_ENDPOINT is set without IDENTITY_HEADER")),
        (&[header], Err("IDENTITY_HEADER is set without IDENTITY_ENDPOINT")),
        (
            &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://h?hunter2")],
            Err("AZURE_POD_IDENTITY_AUTHORITY_HOST has a query"),
        ),
        (
            &[no_client, ("AZURE_MANAGED_IDENTITY_OBJECT_ID", "name")],
            Err("AZURE_MANAGED_IDENTITY_OBJECT_ID is not a GUID (4 characters)"),
        ),
        (
            &[app_service, ("IDENTITY_HEADER", "a\tb")],
            Err("IDENTITY_HEADER has characters that no header may have"),
        ),
        (
            &[app_service, header, ("IDENTITY_SERVER_THUMBPRINT", "x")],
            Err("of Service Fabric is not supported"),
        ),
        (
            &[app_service, ("IMDS_ENDPOINT", "http://localhost:40342")],
            Err("IDENTITY_ENDPOINT is not on this machine, as Azure Arc's agent is"),
        ),
        (
            &[("IDENTITY_ENDPOINT", "localhost:1/msi"), header],
            Err("IDENTITY_ENDPOINT is not a URL with http://"),
        ),
        (&[("IDENTITY_ENDPOINT", "http://u:hunter2@h/"), header], Err("IDENTITY_ENDPOINT has a user name")),
        (
            &[("MSI_ENDPOINT", "http://127.0.0.1/"), ("MSI_SECRET", "hunter2")],
            Err("of Azure Machine Learning is not supported"),
        ),
        (&[("MSI_ENDPOINT", "http://127.0.0.1/")], Err("of Cloud Shell is not supported")),
        (
            &[
                no_client,
                ("AZURE_MANAGED_IDENTITY_CLIENT_ID", IDENTITY),
                ("AZURE_MANAGED_IDENTITY_OBJECT_ID", IDENTITY),
            ],
            Err("AZURE_MANAGED_IDENTITY_CLIENT_ID and AZURE_MANAGED_IDENTITY_OBJECT_ID are set"),
        ),
        (
            &[no_client, ("AZURE_MANAGED_IDENTITY_RESOURCE_ID", "name")],
            Err(
                "AZURE_MANAGED_IDENTITY_RESOURCE_ID is not the resource id of a user-assigned identity: `name`",
            ),
        ),
        (
            &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "127.0.0.1:9")],
            Err("AZURE_POD_IDENTITY_AUTHORITY_HOST is not a URL with http:// or https://"),
        ),
    ];
    for (settings, expected) in rows {
        let chosen = ("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential");
        let settings: Vec<_> = [chosen, NO_CERTIFICATE].into_iter().chain(settings.iter().copied()).collect();
        match (read(&settings), expected) {
            (Ok(config), Ok((endpoint, id))) => {
                let details = config.credential.details();
                let expected =
                    [("identity_endpoint", endpoint.to_owned()), ("managed_identity", id.to_owned())];
                assert_eq!(details, expected, "{settings:?}");
            }
            (Err(problems), Err(words)) => {
                let printed = problems[0].to_string();
                assert!(printed.contains(words) && printed.contains("hint: "), "{settings:?}: {printed}");
                assert!(!printed.contains("hunter2"), "{printed}");
            }
            (result, _) => panic!("{settings:?}: {result:?}"),
        }
    }
}

#[test]
fn the_audience_of_a_managed_identitys_assertion_is_the_clouds_own() {
    for (authority, expected) in [
        ("", "api://AzureADTokenExchange"),
        ("login.microsoftonline.us", "api://AzureADTokenExchangeUSGov"),
        ("https://login.partner.microsoftonline.cn/", "api://AzureADTokenExchangeChina"),
    ] {
        let config = good(&[
            NO_CERTIFICATE,
            ("AZURE_MANAGED_IDENTITY_CLIENT_ID", IDENTITY),
            ("AZURE_AUTHORITY_HOST", authority),
        ]);
        assert!(
            matches!(assertion(&config), Assertion::ManagedIdentity { resource, .. } if *resource == expected),
            "{authority}"
        );
    }
    // It is the application that signs in.
    let config = good(&[NO_CERTIFICATE, ("AZURE_MANAGED_IDENTITY_CLIENT_ID", IDENTITY)]);
    assert!(matches!(&config.credential, Credential::Application(it) if it.client_id != IDENTITY));
}

/// The four variables of identity bindings.
#[test]
fn a_token_proxy_is_whole_or_a_problem() {
    let proxy = |url| ("AZURE_KUBERNETES_TOKEN_PROXY", url);
    let file = ("AZURE_KUBERNETES_CA_FILE", "ca.crt");
    let data = ("AZURE_KUBERNETES_CA_DATA", "-----BEGIN CERTIFICATE-----");
    let sni = ("AZURE_KUBERNETES_SNI_NAME", "a.example");
    let url = "https://10.0.0.1:8443/base/";
    type Row<'a> = (&'a [(&'a str, &'a str)], Result<Option<&'a str>, &'a str>);
    let rows: [Row<'_>; 11] = [
        (&[], Ok(None)),
        (&[proxy(url)], Ok(Some("https://10.0.0.1:8443/base"))),
        (&[proxy("https://Host"), file, sni], Ok(Some("https://host"))),
        (&[proxy(url), data], Ok(Some("https://10.0.0.1:8443/base"))),
        (
            &[file, sni],
            Err(
                "AZURE_KUBERNETES_TOKEN_PROXY is not set, but AZURE_KUBERNETES_CA_FILE and AZURE_KUBERNETES_SNI_NAME is",
            ),
        ),
        (&[sni], Err("AZURE_KUBERNETES_TOKEN_PROXY is not set, but AZURE_KUBERNETES_SNI_NAME is")),
        (
            &[proxy(url), file, data],
            Err("AZURE_KUBERNETES_CA_FILE and AZURE_KUBERNETES_CA_DATA are both set"),
        ),
        (&[proxy("http://10.0.0.1")], Err("AZURE_KUBERNETES_TOKEN_PROXY does not begin with https://")),
        (&[proxy("https://u:hunter2@a")], Err("has a user name, a query or a fragment")),
        (&[proxy("https://a/?hunter2")], Err("has a user name, a query or a fragment")),
        (
            &[proxy(url), ("AZURE_KUBERNETES_SNI_NAME", "a b")],
            Err("AZURE_KUBERNETES_SNI_NAME is not a host name"),
        ),
    ];
    for (settings, expected) in rows {
        let settings: Vec<_> =
            [NO_CERTIFICATE, FEDERATED].into_iter().chain(settings.iter().copied()).collect();
        match (read(&settings), expected) {
            (Ok(config), Ok(url)) => {
                assert_eq!(config.token_proxy().map(|proxy| proxy.url.as_str()), url, "{settings:?}");
            }
            (Err(problems), Err(words)) => {
                let printed = problems[0].to_string();
                assert!(printed.contains(words) && printed.contains("hint: "), "{settings:?}: {printed}");
                assert!(!printed.contains("hunter2"), "{printed}");
            }
            (result, _) => panic!("{settings:?}: {result:?}"),
        }
    }
    // With another credential they have no effect.
    good(&[sni]);
}

#[test]
fn a_certificate_may_have_a_password_of_two_names() {
    let names = ["AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_CERTIFICATE_PASSWORD"];
    let password = |changes: &[(&str, &str)]| match assertion(&good(changes)) {
        Assertion::Certificate { password, .. } => password.as_ref().map(|it| it.expose().clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(password(&[]), None);
    for name in names {
        for (value, expected) in [
            ("hunter2", Some("hunter2")),
            // As a file has it that a secret is mounted from; everything else may be part of it.
            ("hunter2\n", Some("hunter2")),
            ("hunter2\r\n", Some("hunter2")),
            (" hunter2 \n\n", Some(" hunter2 \n")),
            ("\"hunter2\"", Some("\"hunter2\"")),
            ("", None),
            (" \n", None),
        ] {
            assert_eq!(password(&[(name, value)]).as_deref(), expected, "{name}={value:?}");
        }
    }
    assert_eq!(password(&[(names[0], "hunter2"), (names[1], "hunter2\n")]).as_deref(), Some("hunter2"));
    let printed = bad(&[(names[0], "hunter2"), (names[1], "hunter3")]);
    assert!(
        printed.starts_with(&format!("{} and {} are different passwords", names[0], names[1])),
        "{printed}"
    );
    assert!(printed.contains("set one of them") && !printed.contains("hunter"), "{printed}");
    let config = format!("{:?}", good(&[(names[0], "hunter2")]));
    assert!(!config.contains("hunter2"), "{config}");
}
