//! `AZURE_*`.

use super::{good, notes, refused};

#[test]
fn bad_client_ids() {
    refused(
        "AZURE_CLIENT_ID",
        &[
            ("a name", "my-app", "this value has 6"),
            ("a client secret, which is not repeated", "abc8Q~hunter2", "not its name, secret or secret ID"),
            ("an unfilled template", "${CLIENT_ID}", "placeholder"),
            ("a GUID in braces", "{11111111-2222-3333-4444-555555555555}", "in braces"),
            (
                "a GUID in quotes",
                "\"11111111-2222-3333-4444-555555555555\"",
                "the quotes are part of the value",
            ),
            (
                "the README's",
                "00000000-0000-0000-0000-000000000000",
                "is the placeholder of an example, not an id",
            ),
            ("another one's", "ffffffff-ffff-ffff-ffff-ffffffffffff", "is the placeholder of an example"),
            ("dots", "...", "is the placeholder `...` of an example"),
            ("a letter beyond f", "11111111-2222-3333-4444-55555555555g", "is not a GUID"),
            ("36 bytes cut within a character", "1111111é-222-3333-4444-555555555555", "is not a GUID"),
        ],
    );
    let upper = "ABCDEF00-2222-3333-4444-555555555555";
    assert_eq!(good(&[("AZURE_CLIENT_ID", &format!(" {upper}\n"))]).application().unwrap().client_id, upper);
}

#[test]
fn bad_tenants() {
    refused(
        "AZURE_TENANT_ID",
        &[
            ("the tenant of people", "common", "which is for users"),
            ("in any case", "Organizations", "signs in to one tenant"),
            ("private accounts", "consumers", "Directory (tenant) ID"),
            ("a path", "a/b", "is neither a GUID nor a domain name (3 characters)"),
            ("dot segments", "..", "is neither"),
            ("an empty label", "contoso..com", "is neither"),
            ("a query", "contoso.com?x", "is neither"),
            ("a line break", "a\nb", "(3 characters)"),
            (
                "the README's",
                "11111111-1111-1111-1111-111111111111",
                "is the placeholder of an example, not an id",
            ),
            ("dots", "...", "is the placeholder `...` of an example"),
            ("a name without a dot", "contoso", "is neither a GUID nor a domain name (7 characters)"),
            ("an address", "10.0.0.1", "is neither"),
            ("an API key", "3c9d0e5f6a7b8c1d2e3f4a5b6c7d8e9f", "(32 characters)"),
            (
                "a client secret",
                "abc8Q~hunter2V-x.9pLq_TrW2sYb7NdEfGhJ~uK",
                "it holds what looks like a client",
            ),
            ("a label that is too long", &format!("{}.example", "a".repeat(64)), "(72 characters)"),
        ],
    );
    for tenant in
        ["contoso.com", "Contoso.onmicrosoft.com", "a-b.xn--p1ai", "72F988BF-86f1-41af-91ab-2d7cd011db47"]
    {
        assert!(
            good(&[("AZURE_TENANT_ID", tenant)]).application().unwrap().token_url.contains(tenant),
            "{tenant}"
        );
    }
}

#[test]
fn the_token_url_is_made_of_authority_and_tenant() {
    let rows = [
        ("", "https://login.microsoftonline.com"),
        ("login.microsoftonline.us", "https://login.microsoftonline.us"),
        (" https://login.microsoftonline.com/ ", "https://login.microsoftonline.com"),
        ("HTTPS://Login.MicrosoftOnline.com:443", "https://login.microsoftonline.com"),
        ("entra.internal:8443", "https://entra.internal:8443"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.9.9.9:80/", "http://127.9.9.9"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("[::1]:8080", "https://[::1]:8080"),
    ];
    for (value, expected) in rows {
        let config = good(&[("AZURE_AUTHORITY_HOST", value)]);
        let url = &config.application().unwrap().token_url;
        assert_eq!(*url, format!("{expected}/contoso.onmicrosoft.com/oauth2/v2.0/token"), "{value}");
    }
}

#[test]
fn bad_authorities() {
    refused(
        "AZURE_AUTHORITY_HOST",
        &[
            ("http on the network", "http://login.microsoftonline.com", "uses http beyond loopback"),
            (
                "the tenant in the path",
                "https://login.microsoftonline.com/contoso.com",
                "goes into AZURE_TENANT_ID",
            ),
            ("a query", "https://login.microsoftonline.com?p=hunter2", "has a query"),
            ("a user", "https://user:hunter2@login.microsoftonline.com", "has a user name"),
            ("another scheme", "ftp://login.microsoftonline.com", "scheme other than https"),
            ("no host", "https://", "has no host"),
            ("a port that is none", "login.example:https", "has a port that is not a number"),
            ("a space", "login example", "characters other than"),
        ],
    );
}

#[test]
fn a_sovereign_base_url_wants_its_own_authority() {
    let url = ("API_BASE_URL", "https://name.openai.azure.us");
    assert!(notes(&[url]).contains("AZURE_AUTHORITY_HOST=login.microsoftonline.us"));
    assert_eq!(notes(&[url, ("AZURE_AUTHORITY_HOST", "login.microsoftonline.us")]), "");
}
