use http::HeaderValue;

use super::*;
use crate::token::Class;

/// 2023-11-14T22:13:20Z.
const NOW: Duration = Duration::from_secs(1_700_000_000);

fn parse(status: u16, headers: &[(&'static str, &str)], body: &str) -> Result<Grant, TokenError> {
    let headers = headers.iter().map(|(name, value)| {
        (http::HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    });
    read(status, &headers.collect(), body.as_bytes(), NOW)
}

fn success(fields: &str) -> Result<Grant, TokenError> {
    parse(200, &[], &format!(r#"{{"token_type":"Bearer","access_token":"x.y.z",{fields}}}"#))
}

#[test]
fn lifetimes_come_in_many_spellings() {
    let rows = [
        (r#""expires_in":3599"#, 3599, None),
        (r#""expires_in":3599,"ext_expires_in":3599,"refresh_in":1800"#, 3599, Some(1800)),
        (r#""expires_in":"3599","refresh_in":"1800""#, 3599, Some(1800)),
        (r#""expires_in":3599.9,"refresh_in":1800.5"#, 3599, Some(1800)),
        (r#""expires_in":" 3.5e3 ","refresh_in":" 1800.0 ""#, 3500, Some(1800)),
        (r#""expires_in":3599,"refresh_in":null"#, 3599, None),
        (r#""expires_in":3599,"refresh_in":-1"#, 3599, None),
        (r#""expires_in":3599,"refresh_in":0"#, 3599, None),
        (r#""expires_in":3599,"refresh_in":"soon""#, 3599, None),
        (r#""expires_in":1e300,"refresh_in":1e300"#, 86_400, Some(86_400)),
    ];
    for (fields, expires_in, refresh_in) in rows {
        let grant = success(fields).expect(fields);
        assert_eq!(grant.expires_in, Duration::from_secs(expires_in), "{fields}");
        assert_eq!(grant.refresh_in, refresh_in.map(Duration::from_secs), "{fields}");
    }
    parse(200, &[], r#"{"token_type":"bearer","access_token":"x","expires_in":1}"#).expect("any case");
}

#[test]
fn an_invalid_response_is_a_transient_failure() {
    let token = r#""token_type":"Bearer","access_token":"s3cr3t""#;
    let rows = [
        (String::new(), "empty"),
        ("  ".into(), "not JSON"),
        ("<html><body>Sign in</body></html>".into(), "not JSON"),
        ("{".into(), "not JSON"),
        ("\u{feff}{}".into(), "not JSON"),
        ("[".repeat(60_000), "not JSON"),
        ("[]".into(), "token_type"),
        ("{}".into(), "token_type"),
        (r#"{"token_type":"pop","access_token":"s3cr3t","expires_in":60}"#.into(), "token_type"),
        (r#"{"access_token":"s3cr3t","expires_in":60}"#.into(), "token_type"),
        (format!("{{{token}}}"), "expires_in"),
        (format!(r#"{{{token},"expires_in":null}}"#), "expires_in"),
        (format!(r#"{{{token},"expires_in":"NaN"}}"#), "expires_in"),
        (format!(r#"{{{token},"expires_in":"inf"}}"#), "expires_in"),
        (format!(r#"{{{token},"expires_in":"an hour"}}"#), "expires_in"),
        (format!(r#"{{{token},"expires_in":[60]}}"#), "expires_in"),
        (format!(r#"{{{token},"expires_in":0}}"#), "expired on arrival"),
        (format!(r#"{{{token},"expires_in":-5}}"#), "expired on arrival"),
        (format!(r#"{{{token},"expires_in":"-1e300"}}"#), "expired on arrival"),
        (r#"{"token_type":"Bearer","expires_in":60}"#.into(), "access_token is missing"),
        (r#"{"token_type":"Bearer","expires_in":60,"access_token":7}"#.into(), "access_token is missing"),
        (r#"{"token_type":"Bearer","expires_in":60,"access_token":""}"#.into(), "characters"),
        (r#"{"token_type":"Bearer","expires_in":60,"access_token":"s3cr3t\r\nx: y"}"#.into(), "characters"),
        (r#"{"token_type":"Bearer","expires_in":60,"access_token":"s3cr3t é"}"#.into(), "characters"),
    ];
    for (body, fault) in rows {
        let error = parse(200, &[], &body).expect_err(fault);
        assert_eq!((error.class, error.status), (Class::Transient, Some(200)), "{body:.80}");
        assert!(error.summary.contains(fault), "{body:.80}: {}", error.summary);
        assert!(!format!("{error:?}").contains("s3cr3t"), "{error:?}");
    }
}

#[test]
fn an_error_is_understood_despite_a_status_of_200() {
    let token_error = r#"{"error":"invalid_client","error_codes":[700027],"trace_id":"0-a"}"#;
    let error = parse(200, &[], token_error).unwrap_err();
    assert_eq!((error.class, error.status, error.code), (Class::Permanent, Some(200), Some(700_027)));
    assert_eq!(error.trace_id.as_deref(), Some("0-a"));
    assert!(error.hints[0].contains("upload the certificate"), "{error:?}");
    let error = parse(200, &[], r#"{"error":"temporarily_unavailable"}"#).unwrap_err();
    assert_eq!(error.summary, "the token endpoint responded 200, temporarily_unavailable");
    assert_eq!(error.class, Class::Transient);
}

#[test]
fn a_compressed_response_is_named() {
    let error = parse(200, &[("content-encoding", "gzip")], "\u{1f}\u{8b}\u{8}").unwrap_err();
    assert_eq!(error.class, Class::Transient);
    assert!(error.summary.ends_with("it is compressed, which was not requested"), "{error:?}");
}

const TRACE: &str = "0000aaaa-11bb-cccc-dd22-eeeeee333333";
const CORRELATION: &str = "aaaa0000-bb11-2222-33cc-444444dddddd";

fn description(separator: &str) -> String {
    let parts = [
        "AADSTS700016: Application with identifier 'app' was not found in the directory 'Contoso'.",
        &format!("Trace ID: {TRACE}"),
        &format!("Correlation ID: {CORRELATION}"),
        "Timestamp: 2023-11-14 22:13:20Z",
    ];
    parts.join(separator)
}

#[test]
fn the_number_and_the_ids_are_found_in_fields_or_in_the_description() {
    let fields = format!(r#","error_codes":[700016],"trace_id":"{TRACE}","correlation_id":"{CORRELATION}""#);
    let rows = [
        (description(r"\r\n"), String::new()),
        (description(" "), String::new()),
        ("AADSTS700016: not found".into(), fields.clone()),
        (String::new(), fields),
    ];
    for (description, fields) in rows {
        let body =
            format!(r#"{{"error":"unauthorized_client","error_description":"{description}"{fields}}}"#);
        let error = parse(400, &[], &body).unwrap_err();
        assert_eq!((error.class, error.status, error.code), (Class::Permanent, Some(400), Some(700_016)));
        assert_eq!(error.error.as_deref(), Some("unauthorized_client"));
        assert_eq!(error.trace_id.as_deref(), Some(TRACE), "{body}");
        assert_eq!(error.correlation_id.as_deref(), Some(CORRELATION), "{body}");
        assert_eq!(
            error.summary,
            "Entra ID gave no token: AADSTS700016, the application was not found in this tenant"
        );
        assert_eq!(
            error.hints,
            ["check AZURE_CLIENT_ID and AZURE_TENANT_ID; a new application takes some minutes to be known"]
        );
    }
}

#[test]
fn every_documented_number_reaches_its_remedy() {
    for remedy in remedies::REMEDIES {
        let body = format!(r#"{{"error":"invalid_client","error_codes":[{}]}}"#, remedy.code);
        let error = parse(401, &[], &body).unwrap_err();
        assert_eq!(error.class == Class::Transient, remedies::is_transient(remedy.code), "{}", remedy.code);
        assert!(error.summary.ends_with(remedy.meaning), "{}", error.summary);
        assert!(error.hints.contains(&remedy.action.to_owned()), "{:?}", error.hints);
    }
    let unknown = parse(400, &[], r#"{"error":"invalid_grant","error_codes":[12345]}"#).unwrap_err();
    assert_eq!(unknown.summary, "Entra ID gave no token: AADSTS12345");
    assert_eq!(unknown.hints, ["see https://login.microsoftonline.com/error?code=12345"]);
}

#[test]
fn unknown_errors_are_transient() {
    let rows = [
        (429, "Too Many Requests", "the token endpoint responded 429"),
        (503, "", "the token endpoint responded 503"),
        (403, "<html>Blocked by policy</html>", "the token endpoint responded 403"),
        (302, "", "the token endpoint responded 302"),
        (204, "", "the token endpoint responded 204"),
        (400, r#"{"error":{"code":"x"}}"#, "the token endpoint responded 400"),
        (400, r#"{"error":"a\r\nb"}"#, "the token endpoint responded 400"),
        (502, r#"{"error":"bad_gateway"}"#, "the token endpoint responded 502, bad_gateway"),
        (400, r#"{"error_codes":[-1]}"#, "the token endpoint responded 400"),
        (400, r#"{"error_codes":[99999999999]}"#, "the token endpoint responded 400"),
        (400, r#"{"error_codes":{},"error_description":"AADSTS"}"#, "the token endpoint responded 400"),
        (400, r#"{"trace_id":"é","error_description":"Trace ID:"}"#, "the token endpoint responded 400"),
    ];
    for (status, body, summary) in rows {
        let error = parse(status, &[], body).unwrap_err();
        assert_eq!((error.class, error.summary.as_str()), (Class::Transient, summary), "{body}");
        assert_eq!((error.code, error.trace_id), (None, None), "{body}");
    }
}

const BUSY: &str = r#"{"error":"temporarily_unavailable"}"#;

#[test]
fn how_long_entra_wants_to_be_left_alone() {
    let date = ("date", "Tue, 14 Nov 2023 22:00:00 GMT");
    let later = "Tue, 14 Nov 2023 22:01:30 GMT";
    let rows: [(_, &[_], _); 15] = [
        (429, &[("retry-after", "60")], Some(60)),
        (429, &[("retry-after", "1.5")], Some(2)),
        (503, &[("retry-after", "1.5")], None),
        (503, &[("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")], Some(3600)),
        (503, &[("retry-after", " 17 ")], Some(17)),
        (503, &[("retry-after", "0")], Some(0)),
        (503, &[("retry-after", "86400")], Some(3600)),
        (503, &[("retry-after", "99999999999999999999999")], Some(3600)),
        (503, &[("retry-after", later), date], Some(90)),
        (503, &[("retry-after", "Tue, 14 Nov 2023 22:13:30 GMT")], Some(10)),
        (503, &[("retry-after", later)], Some(0)),
        (503, &[("retry-after", "soon")], None),
        (503, &[("retry-after", "-5")], None),
        (503, &[("retry-after", "é")], None),
        (503, &[], None),
    ];
    for (status, headers, expected) in rows {
        let error = parse(status, headers, BUSY).unwrap_err();
        assert_eq!(error.retry_after, expected.map(Duration::from_secs), "{headers:?}");
    }
    for (status, body) in [(429, "Too Many Requests"), (400, r#"{"error_codes":[90055]}"#)] {
        assert_eq!(parse(status, &[], body).unwrap_err().retry_after, Some(DEFAULT_THROTTLE_WAIT));
    }
}

/// A filter's `403` with a day of `Retry-After` must not silence us.
#[test]
fn only_entra_decides_how_long_to_wait() {
    let rows = [
        (429, "Too Many Requests", Some(17)),
        (429, "<html>Slow down</html>", Some(17)),
        (429, "", Some(17)),
        (503, BUSY, Some(17)),
        (200, BUSY, Some(17)),
        (500, r#"{"error":"server_error"}"#, Some(17)),
        (401, r#"{"error":"invalid_client"}"#, Some(17)),
        (400, r#"{"error_codes":[90033]}"#, Some(17)),
        (400, r#"{"error_description":"AADSTS90033: transient"}"#, Some(17)),
        (403, "<html>Blocked by policy</html>", None),
        (503, "<html>Service Unavailable</html>", None),
        (503, "", None),
        (503, "{}", None),
        (200, "<html>Sign in</html>", None),
        (302, "", None),
        (403, r#"{"error":"Forbidden"}"#, None),
        (503, r#"{"timestamp":"x","status":503,"error":"Service Unavailable","path":"/"}"#, None),
        (503, r#"{"error":{"code":"server_error"}}"#, None),
    ];
    for (status, body, expected) in rows {
        let error = parse(status, &[("retry-after", "17")], body).unwrap_err();
        assert_eq!(error.retry_after, expected.map(Duration::from_secs), "{status} {body}");
    }
}

#[test]
fn what_is_not_entras_is_described() {
    let html = "<html></html>";
    let filter = "check whether a proxy, a filter or a sign-in page responds in place of Entra ID";
    let outage = "Entra ID, or a gateway before it, has failed; auth-proxy retries";
    let (iis, long) = ("Microsoft-IIS/10.0", "x".repeat(41));
    type Row<'a> = (u16, &'a [(&'static str, &'a str)], &'a str, &'a str, &'a str);
    let rows: [Row<'_>; 12] = [
        (
            503,
            &[("content-type", "text/html"), ("server", iis)],
            html,
            "is text/html from server Microsoft-IIS/10.0",
            outage,
        ),
        (502, &[("content-type", "text/html; charset=utf-8")], html, "is text/html", outage),
        (500, &[], "", "has no content type", outage),
        (
            403,
            &[("content-type", "text/html"), ("server", "squid/5.7 (Debian)")],
            html,
            "is text/html from server squid/5.7 (Debian)",
            filter,
        ),
        (
            200,
            &[("content-type", "text/html"), ("server", " nginx ")],
            html,
            "is text/html from server nginx",
            filter,
        ),
        (302, &[("server", "")], "", "has no content type", filter),
        (
            403,
            &[("content-type", "application/json")],
            r#"{"error":"Forbidden"}"#,
            "is application/json",
            filter,
        ),
        // Long, not plain, or not ASCII: not shown in our messages.
        (403, &[("server", &long)], html, "has no content type", filter),
        (403, &[("server", "a\"b"), ("content-type", "a:b")], html, "has no content type", filter),
        (403, &[("server", "é")], html, "has no content type", filter),
        (403, &[("server", "a\tb")], html, "has no content type", filter),
        (403, &[("server", "eyJ0eXAi,x")], html, "has no content type", filter),
    ];
    for (status, headers, body, content, action) in rows {
        let error = parse(status, headers, body).unwrap_err();
        let expected = format!("the response {content}, not one of Entra ID's token endpoint: {action}");
        assert_eq!(error.hints, [expected], "{status} {headers:?}");
        assert!(error.summary.contains(&status.to_string()) || status == 200, "{}", error.summary);
    }
    // Entra ID throttles like this, too: it need not be a sign-in page.
    let throttled = parse(429, &[("content-type", "text/plain")], "Too Many Requests").unwrap_err();
    assert_eq!(throttled.hints, [remedies::SLOW]);
}

#[test]
fn the_skew_of_a_wrong_clock_is_reported() {
    let body = r#"{"error":"invalid_client","error_description":"AADSTS700024: Client assertion is not within its valid time range."}"#;
    let rows = [
        ("Tue, 14 Nov 2023 22:08:20 GMT", 300, "this machine's clock is 300 s ahead of Entra ID's"),
        ("Tue, 14 Nov 2023 23:13:20 GMT", -3600, "this machine's clock is 3600 s behind Entra ID's"),
        (
            "Tue, 14 Nov 2023 22:13:18 GMT",
            2,
            "this machine's clock agrees with Entra ID's: check whether it was set a moment ago",
        ),
    ];
    for (date, skew, hint) in rows {
        let error = parse(401, &[("date", date)], body).unwrap_err();
        assert_eq!((error.code, error.date_skew), (Some(700_024), Some(skew)));
        assert_eq!(error.hints, [hint, "set this machine's clock, best by NTP"]);
    }
    let without = parse(401, &[], body).unwrap_err();
    assert_eq!((without.date_skew, without.hints.len()), (None, 1));
    let other = parse(401, &[("date", rows[0].0)], r#"{"error":"invalid_client"}"#).unwrap_err();
    assert_eq!(other.date_skew, None, "nobody asked");
}

#[test]
fn what_entra_says_is_kept_for_the_log_but_for_an_assertion() {
    let assertion = format!("eyJ.{}", "x".repeat(300));
    let body = format!(
        r#"{{"error":"invalid_client","error_description":"AADSTS50027: bad\r\ntoken {assertion} {}"}}"#,
        "word ".repeat(500)
    );
    let error = parse(401, &[], &body).unwrap_err();
    let detail = error.detail.clone().unwrap();
    assert!(detail.starts_with("AADSTS50027: bad token [long word withheld] word"), "{detail}");
    assert_eq!(detail.len(), 400);
    assert!(!format!("{error:?}").contains("xxx"));
}

#[test]
fn dates_are_read_back_as_the_log_writes_them() {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    for seconds in [0, 784_111_777, 951_782_400, 1_700_000_000, 4_102_444_799] {
        let text = crate::log::rfc3339(seconds);
        let month = MONTHS[text[5..7].parse::<usize>().unwrap() - 1];
        let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(seconds / 86_400 % 7) as usize];
        let date = format!("{weekday}, {} {month} {} {} GMT", &text[8..10], &text[..4], &text[11..19]);
        assert_eq!(unix_seconds(&date), i64::try_from(seconds).ok(), "{date}");
    }
}

#[test]
fn dates_come_in_three_forms() {
    for date in
        ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
    {
        assert_eq!(unix_seconds(date), Some(784_111_777), "{date}");
    }
}

#[test]
fn nothing_else_is_a_date() {
    let rows = [
        "",
        "60",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 06 Nov 1994 25:49:37 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, -6 Nov 1994 08:49:37 GMT",
        "Mon, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
    ];
    for text in rows {
        assert_eq!(unix_seconds(text), None, "{text}");
    }
}
