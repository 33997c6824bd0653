//! What Entra ID's error numbers mean for this program, and what to do. Numbers inform people; what the program does next
//! is decided from status and `error`, except for the few numbers that are known to be transient.

/// An error number (`AADSTSnnn`), what it means here, and what to do.
#[derive(Debug, Clone, Copy)]
pub struct Remedy {
    /// The number in `AADSTSnnn`.
    pub code: u32,
    /// What it means, without a full stop.
    pub meaning: &'static str,
    /// What to do, without a full stop.
    pub action: &'static str,
}

/// The remedy for an error number.
pub(super) fn lookup(code: u32) -> Option<&'static Remedy> {
    REMEDIES.iter().find(|remedy| remedy.code == code)
}

/// Whether an error with this number resolves by itself.
pub(super) fn is_transient(code: u32) -> bool {
    [90_033, 90_024, 90_006, 90_090, 50_033, 90_012, 90_061].contains(&code) || is_throttling(code)
}

/// Whether an error with this number asks for fewer requests.
pub(super) fn is_throttling(code: u32) -> bool {
    [90_055, 50_196].contains(&code)
}

const UPLOAD: &str = "upload the certificate to this app registration, or renew it; the portal lists it by the \
    SHA-1 thumbprint in auth-proxy's log";
const UPLOAD_OR_ALGORITHM: &str = "upload the certificate to this app registration, or renew it (SHA-1 thumbprint in \
    the log); or try AZURE_ASSERTION_ALGORITHM=RS256";
const SUBJECT: &str = "check the trusted subject and issuer of the app registration, and whether \
    AZURE_CLIENT_SEND_CERTIFICATE_CHAIN is meant";
const CLIENT: &str =
    "check AZURE_CLIENT_ID and AZURE_TENANT_ID; a new application takes some minutes to be known";
const ENABLE: &str = "ask an administrator to enable it in Enterprise applications, Properties";
const CLOUD: &str = "check AZURE_TENANT_ID, and AZURE_AUTHORITY_HOST if the tenant is in another cloud";
const SCOPE: &str = "set AZURE_SCOPE to one resource followed by /.default, such as \
    https://cognitiveservices.azure.com/.default";
const RESOURCE: &str = "check AZURE_SCOPE and its cloud, and that the subscription has registered \
    Microsoft.CognitiveServices";
const BUG: &str =
    "check AZURE_CLIENT_ID and AZURE_AUTHORITY_HOST; if they are right, report it as a bug of auth-proxy";
const INSPECTED: &str = "check whether a TLS-inspecting proxy rewrites requests; if not, report it as a bug of \
    auth-proxy";
const USER: &str =
    "check that AZURE_CLIENT_ID names an application; if it does, report it as a bug of auth-proxy";
const SECRET: &str = "check AZURE_CLIENT_ID: auth-proxy signs in with a certificate, not with a secret";
const FEDERATED: &str = "compare issuer and subject of the federated credential, and check AZURE_CLIENT_ID; a new \
    credential takes some minutes to work";
const POLICY: &str =
    "ask for the outgoing IP address and this application to be allowed in Conditional Access";
const TENANT: &str = "set AZURE_TENANT_ID to the tenant's id or one of its verified domains";
const TENANT_STATE: &str =
    "check AZURE_TENANT_ID; if it is right, ask an administrator of the tenant about its state";
const RESTRICTED: &str = "ask for the tenant to be allowed on the egress proxy that restricts tenants";
const ISSUED: &str = "sign in with a token of the cluster or CI system that the federated credential names, or with a \
    certificate";
const WAIT: &str = "none, it is temporary; auth-proxy retries";
/// For too many requests.
pub(super) const SLOW: &str =
    "none, auth-proxy waits as long as Entra ID asks; check whether many replicas share this application";

/// Every number that a client-credentials request is known to meet.
#[rustfmt::skip]
pub const REMEDIES: &[Remedy] = &[
    // The certificate and the assertion.
    row(700_027, "the certificate or the signature of the assertion was not accepted", UPLOAD_OR_ALGORITHM),
    row(700_024, "the assertion is outside its time range", "set this machine's clock, best by NTP"),
    row(1_000_502, "the certificate is outside its validity period", "renew the certificate and upload it"),
    row(7_000_214, "the certificate was not accepted", UPLOAD),
    row(700_021, "the assertion names another application", BUG),
    row(50_027, "the assertion is malformed or names another audience", BUG),
    row(50_012, "the certificate's chain, subject or thumbprint was not accepted", SUBJECT),
    row(700_030, "the certificate's subject name is not authorized", SUBJECT),
    row(5_002_738, "the signing algorithm is not supported", "use a certificate with an RSA key"),
    row(50_032, "the RSA key is too weak", "use a certificate with an RSA key of 2048 bits or more"),
    row(50_048, "subject and issuer of the assertion differ", BUG),
    row(700_023, "the assertion's audience is not this tenant's",
        "check AZURE_AUTHORITY_HOST and AZURE_TENANT_ID; with workload identity, the token's audience"),
    row(50_013, "the assertion is not valid: its issuer, signature or time",
        "check the certificate; with workload identity, which token file it is and who issued the token"),
    row(500_133, "the assertion is outside its time range",
        "set this machine's clock, best by NTP; with workload identity, check whether the token file has expired"),
    row(900_384, "the signature of the assertion is not valid", UPLOAD),
    row(5_002_741, "the assertion was not accepted",
        "see the log's detail, and https://login.microsoftonline.com/error?code=5002741"),
    // The application and the tenant.
    row(700_016, "the application was not found in this tenant", CLIENT),
    row(7_000_229, "the application has no service principal in this tenant",
        "run `az ad sp create --id` with the client id, and grant admin consent"),
    row(7_000_112, "the application is disabled", ENABLE),
    row(70_001, "the application is disabled or not installed in this tenant", ENABLE),
    row(90_002, "the tenant was not found", CLOUD),
    row(900_382, "the application belongs to another cloud", CLOUD),
    row(900_432, "the application cannot sign in across clouds", CLOUD),
    row(90_038, "the tenant belongs to a national cloud", CLOUD),
    row(100_007, "a regional endpoint is not open to this application", "set AZURE_AUTHORITY_HOST to a global host"),
    row(501_051, "the application is not assigned to the resource",
        "assign it to a role of the resource in Enterprise applications"),
    row(900_023, "the tenant is neither an id nor a domain name", TENANT),
    row(50_128, "the request names no tenant", TENANT),
    row(50_059, "the request names no tenant", TENANT),
    row(90_019, "the request names no tenant", TENANT),
    row(50_194, "the application has one tenant, and /common was asked", TENANT),
    row(9_001_023, "this sign-in is not offered on /common or /consumers", TENANT),
    row(700_011, "the application was not found in this tenant", CLIENT),
    row(5_000_224, "the tenant is deleted or not available", TENANT_STATE),
    row(5_000_225, "the tenant is blocked because it was not used",
        "ask an administrator of the tenant to reactivate it; there are 20 days for that"),
    row(500_021, "a proxy on the way does not allow this tenant", RESTRICTED),
    row(500_022, "a proxy on the way restricts tenants in a way that is not valid", RESTRICTED),
    row(50_002, "a proxy on the way does not allow this tenant", RESTRICTED),
    // The scope.
    row(500_011, "the resource of the scope was not found in this tenant", RESOURCE),
    row(50_001, "the resource of the scope was not found or is disabled", RESOURCE),
    row(500_014, "the resource's service principal is disabled", ENABLE),
    row(70_011, "the scope is not valid", SCOPE),
    row(1_002_012, "the scope does not end in /.default", SCOPE),
    row(28_002, "the scope is not valid", SCOPE),
    row(700_022, "the scope names several resources", SCOPE),
    // Credentials that we do not use.
    row(7_000_215, "a client secret was expected or is wrong", SECRET),
    row(7_000_222, "a client secret has expired", SECRET),
    row(7_000_218, "neither assertion nor secret arrived", INSPECTED),
    row(700_025, "the application is a public client", "switch off public client flows, or check AZURE_CLIENT_ID"),
    row(700_211, "the assertion's issuer fits no federated credential", FEDERATED),
    row(700_213, "the assertion's subject fits no federated credential", FEDERATED),
    row(7_002_138, "the assertion fits no federated credential", FEDERATED),
    row(70_021, "the assertion fits no federated credential", FEDERATED),
    row(70_025, "the application has no federated credential",
        "check AZURE_CLIENT_ID, or add a federated credential; a new credential takes some minutes to work"),
    row(700_212, "the token's audience fits no federated credential",
        "compare the audience with the token's, mostly api://AzureADTokenExchange; api://AKSIdentityBinding needs AZURE_KUBERNETES_*; it takes some minutes to work"),
    row(7_002_137, "the token's subject fits no federated credential",
        "copy the subject from the log's detail, its case included, into the credential; a new one takes some minutes to work"),
    row(7_002_381, "the tenant wants a claim that the token does not have",
        "issue the token in the organization that the tenant's policy allows"),
    row(700_238, "the token's issuer is not allowed in this tenant",
        "ask an administrator of the tenant to allow the issuer"),
    row(700_223, "the tenant restricts federated credentials",
        "ask an administrator of the tenant to allow the issuer"),
    row(700_222, "a token of Entra ID was used where one of another issuer is expected", ISSUED),
    row(700_226, "only a managed identity's token of Entra ID may be used here", ISSUED),
    row(700_236, "the token is of another tenant of Entra ID",
        "use an identity and an application of the same tenant"),
    row(90_061, "Entra ID could not reach the token's issuer",
        "check whether the issuer's /.well-known/openid-configuration can be reached from the internet; it may be temporary"),
    row(7_000_232, "a managed identity cannot sign in with a certificate",
        "set AZURE_CLIENT_ID to an app registration; a managed identity has no certificates"),
    // Policies.
    row(53_003, "Conditional Access blocks this sign-in", POLICY),
    row(530_032, "a security policy of the tenant blocks this sign-in", POLICY),
    row(50_076, "a user would have to use a second factor", USER),
    row(50_079, "a user would have to register a second factor", USER),
    row(50_034, "the user account does not exist", USER),
    row(50_058, "a user would have to sign in", USER),
    row(65_001, "consent is missing", "grant admin consent to the application"),
    row(50_105, "the application is not assigned to a role", "assign it in Enterprise applications"),
    row(530_035, "security defaults of the tenant block this sign-in", POLICY),
    // The request.
    row(900_144, "the request lacks a parameter", INSPECTED),
    row(90_014, "the request lacks a field", INSPECTED),
    row(9_002_313, "the request is malformed", INSPECTED),
    row(90_023, "the request is not valid", INSPECTED),
    // Transient errors.
    row(90_033, "Entra ID is temporarily unavailable", WAIT),
    row(90_024, "Entra ID was too busy for the request", WAIT),
    row(90_006, "Entra ID had an internal error", WAIT),
    row(90_090, "Entra ID had an internal error", WAIT),
    row(50_033, "Entra ID had a temporary error", WAIT),
    row(90_012, "the request took Entra ID too long", WAIT),
    row(90_055, "the tenant sends too many requests", SLOW),
    row(50_196, "the application asks too often", SLOW),
];

const fn row(code: u32, meaning: &'static str, action: &'static str) -> Remedy {
    Remedy { code, meaning, action }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every number that Microsoft documents or users report for this grant.
    const EXPECTED: [u32; 85] = [
        700_027, 700_024, 1_000_502, 7_000_214, 700_021, 50_027, 50_012, 700_030, 5_002_738, 50_032, 50_048,
        700_016, 7_000_229, 7_000_112, 70_001, 90_002, 900_382, 900_432, 90_038, 500_011, 50_001, 500_014,
        70_011, 1_002_012, 28_002, 700_022, 7_000_215, 7_000_222, 7_000_218, 700_025, 700_211, 700_213,
        7_002_138, 70_021, 53_003, 530_032, 50_076, 50_079, 50_034, 50_058, 65_001, 50_105, 501_051, 900_144,
        90_014, 9_002_313, 90_023, 100_007, 90_033, 90_024, 90_006, 90_090, 50_033, 90_012, 90_055, 50_196,
        900_023, 50_128, 50_059, 90_019, 50_194, 9_001_023, 700_011, 5_000_224, 5_000_225, 500_021, 500_022,
        50_002, 700_023, 50_013, 500_133, 900_384, 5_002_741, 70_025, 700_212, 7_002_137, 7_002_381, 700_238,
        700_223, 700_222, 700_226, 700_236, 7_000_232, 530_035, 90_061,
    ];

    #[test]
    fn every_known_number_has_one_remedy() {
        let codes: BTreeSet<u32> = REMEDIES.iter().map(|remedy| remedy.code).collect();
        assert_eq!(codes.len(), REMEDIES.len(), "a number stands twice");
        assert_eq!(codes, BTreeSet::from(EXPECTED));
    }

    /// What was created in Entra ID a moment ago is not known everywhere: these errors look permanent, and pass.
    #[test]
    fn what_passes_in_the_minutes_after_a_creation_says_so() {
        for code in [70_021, 70_025, 7_002_137, 700_212, 700_211, 700_213, 7_002_138, 700_016, 700_011] {
            let remedy = lookup(code).unwrap();
            assert!(remedy.action.contains("takes some minutes to"), "{code}: {}", remedy.action);
            assert!(!is_transient(code), "{code}: until then it is an error");
        }
    }

    #[test]
    fn every_line_is_short_and_in_style() {
        for Remedy { meaning, action, .. } in REMEDIES {
            for line in [meaning, action] {
                assert!((10..=160).contains(&line.len()), "{line}");
                assert!(!line.ends_with(['.', ' ', ';']) && !line.contains(['\n', '"']), "{line}");
                assert!(!line.contains("  "), "{line}");
            }
        }
    }

    #[test]
    fn the_numbers_that_pass_are_known() {
        assert_eq!(REMEDIES.iter().filter(|remedy| is_transient(remedy.code)).count(), 9);
        assert_eq!(REMEDIES.iter().filter(|remedy| is_throttling(remedy.code)).count(), 2);
        assert!(lookup(1).is_none() && !is_transient(1) && !is_throttling(1));
    }
}
