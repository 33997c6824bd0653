//! `AZURE_SCOPE`.

use super::{bad, good, refused};

#[test]
fn scopes_follow_the_base_url() {
    let rows = [
        ("https://name.openai.azure.com", "https://cognitiveservices.azure.com/.default"),
        ("https://name.openai.azure.us", "https://cognitiveservices.azure.us/.default"),
        ("https://MINE.OPENAI.AZURE.US.", "https://cognitiveservices.azure.us/.default"),
        ("https://name.openai.azure.cn/openai/v1", "https://cognitiveservices.azure.cn/.default"),
        ("https://name.services.ai.azure.com", "https://cognitiveservices.azure.com/.default"),
        ("https://name.services.ai.azure.com/api/projects/p/", "https://ai.azure.com/.default"),
        ("https://name.services.ai.azure.us", "https://cognitiveservices.azure.us/.default"),
        ("https://name.services.ai.azure.us/api/projects/p", "https://ai.azure.us/.default"),
        ("https://name.services.ai.azure.us/API/Projects/p/openai/v1", "https://ai.azure.us/.default"),
        ("https://name.openai.azure.us/api/projects/p", "https://cognitiveservices.azure.us/.default"),
        ("https://gateway.example/api/projects/p", "https://cognitiveservices.azure.com/.default"),
        ("https://azure.us.example", "https://cognitiveservices.azure.com/.default"),
    ];
    for (url, scope) in rows {
        assert_eq!(good(&[("API_BASE_URL", url)]).scope, scope, "{url}");
    }
    let own = "api://11111111-2222-3333-4444-555555555555/.default";
    assert_eq!(good(&[("AZURE_SCOPE", own), ("API_BASE_URL", "https://n.azure.us")]).scope, own);
}

#[test]
fn bad_scopes() {
    refused(
        "AZURE_SCOPE",
        &[
            ("two resources", "https://a/.default https://b/.default", "more than one scope"),
            ("a delegated permission", "User.Read", "does not end in /.default"),
            ("no resource", "/.default", "has no resource"),
            ("no resource, in another case", "/.Default", "write it like"),
            ("a character no scope has", "https://a/?b/.default", "has characters that no scope has"),
            (
                "a key",
                "3c9d0e5f6a7b8c1d2e3f4a5b6c7d8e9f",
                "write it like https://cognitiveservices.azure.com/.default",
            ),
        ],
    );
}

/// What is suggested must work: it is in the form that Entra ID takes, and names a resource that exists.
#[test]
fn what_is_suggested_would_work() {
    let guid = "11111111-2222-3333-4444-555555555555";
    let api = format!("api://{guid}/.default");
    let rows = [
        ("https://ai.azure.com/", "https://ai.azure.com/.default"),
        ("https://cognitiveservices.azure.com", "https://cognitiveservices.azure.com/.default"),
        ("https://cognitiveservices.azure.com/.Default", "https://cognitiveservices.azure.com/.default"),
        ("https://cognitiveservices.azure.com/.DEFAULT/", "https://cognitiveservices.azure.com/.default"),
        ("https://cognitiveservices.azure.com/.default/", "https://cognitiveservices.azure.com/.default"),
        ("https://cognitiveservices.azure.com/.default//", "https://cognitiveservices.azure.com/.default"),
        ("https://cognitiveservices.azure.com/default", "https://cognitiveservices.azure.com/.default"),
        (
            "https://cognitiveservices.azure.com/user_impersonation",
            "https://cognitiveservices.azure.com/.default",
        ),
        ("https://ai.azure.com/user_impersonation/", "https://ai.azure.com/.default"),
        ("https://ai.azure.us/openai", "https://ai.azure.us/.default"),
        ("http://ai.azure.com", "https://ai.azure.com/.default"),
        ("https://graph.microsoft.com/User.Read", "https://graph.microsoft.com/.default"),
        ("cognitiveservices", "https://cognitiveservices.azure.com/.default"),
        ("openai", "https://cognitiveservices.azure.com/.default"),
        ("cognitiveservices.azure.com", "https://cognitiveservices.azure.com/.default"),
        ("ai.azure.com/user_impersonation", "https://ai.azure.com/.default"),
        ("https://name.openai.azure.com", "https://cognitiveservices.azure.com/.default"),
        ("https://name.services.ai.azure.com/api/projects/p", "https://cognitiveservices.azure.com/.default"),
        ("https://name.openai.azure.us/", "https://cognitiveservices.azure.us/.default"),
        ("https://name.cognitiveservices.azure.cn", "https://cognitiveservices.azure.cn/.default"),
        ("https://westeurope.api.cognitive.microsoft.com", "https://cognitiveservices.azure.com/.default"),
        (guid, &format!("{guid}/.default")),
        (&format!("api://{guid}"), &api),
        (&format!("api://{guid}/access_as_user"), &api),
        (&format!("api://{guid}/Models.Read"), &api),
        ("api://gateway/production", "api://gateway/production/.default"),
        ("api://gateway/production/user_impersonation", "api://gateway/production/.default"),
        ("https://contoso.example/gateway/", "https://contoso.example/gateway/.default"),
    ];
    for (value, scope) in rows {
        let printed = bad(&[("AZURE_SCOPE", value)]);
        assert!(printed.ends_with(&format!("\n  hint: did you mean `{scope}`")), "{value}: {printed}");
        assert_eq!(good(&[("AZURE_SCOPE", scope)]).scope, scope, "{value}");
    }
}

#[test]
fn the_other_audience_is_that_of_the_same_cloud() {
    let cognitive = "https://cognitiveservices.azure.com/.default";
    let rows = [
        ("https://name.openai.azure.com", cognitive, Some("https://ai.azure.com/.default")),
        (
            "https://name.services.ai.azure.com/api/projects/p",
            "https://ai.azure.com/.default",
            Some(cognitive),
        ),
        ("https://name.openai.azure.us", "", Some("https://ai.azure.us/.default")),
        (
            "https://name.services.ai.azure.us/api/projects/p",
            "",
            Some("https://cognitiveservices.azure.us/.default"),
        ),
        ("https://name.openai.azure.com", "api://gateway/.default", Some(cognitive)),
        ("https://name.openai.azure.cn", cognitive, Some("https://cognitiveservices.azure.cn/.default")),
        ("https://name.openai.azure.us", cognitive, Some("https://cognitiveservices.azure.us/.default")),
        (
            "https://name.openai.azure.cn",
            "api://gateway/.default",
            Some("https://cognitiveservices.azure.cn/.default"),
        ),
        ("https://name.openai.azure.cn", "", None),
    ];
    for (url, scope, other) in rows {
        let config = good(&[("API_BASE_URL", url), ("AZURE_SCOPE", scope)]);
        assert_eq!(config.other_scope(), other, "{url} {scope}");
    }
}
