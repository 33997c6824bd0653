use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use super::*;
use crate::net::{ConnectError, ProxyAuthError, ResolveError};
use crate::token::http::{MAX_RESPONSE_BYTES, transport_error};
use crate::token::test_kit::Fixture;
use crate::token::{Class, Refresher};
use crate::upstream::Fault;

/// A server on loopback that gives each connection the next response, then closes it.
struct Server {
    url: String,
    requests: Receiver<(Vec<String>, String)>,
}

impl Server {
    fn responding(responses: Vec<Vec<u8>>) -> Self {
        Self::new(move |listener, seen| {
            for response in responses {
                let mut client = listener.accept().unwrap().0;
                seen.send(receive(&client)).unwrap();
                // The client may have had enough.
                let _ = client.write_all(&response);
            }
        })
    }

    fn new(serve: impl FnOnce(TcpListener, Sender<(Vec<String>, String)>) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/tenant/oauth2/v2.0/token", listener.local_addr().unwrap());
        let (sender, requests) = channel();
        thread::spawn(move || serve(listener, sender));
        Self { url, requests }
    }
}

/// The head's lines and the body of one request.
fn receive(client: impl Read) -> (Vec<String>, String) {
    let mut reader = BufReader::new(client);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

fn entra(url: &str) -> Entra {
    // A connection for each request, as in the program.
    let agent = Agent::config_builder().max_idle_connections(0);
    let agent = agent.http_status_as_error(false).max_redirects(0).proxy(None);
    let agent = Agent::new_with_config(agent.user_agent("").accept("").accept_encoding("").build());
    Entra::new(agent, Clock::system(), url, "client id", "https://cognitiveservices.azure.com/.default")
}

fn request(entra: &mut Entra) -> Result<Grant, TokenError> {
    entra.request(&Secret::new("aaa.bbb.ccc".into()))
}

fn response(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

const GRANTED: &str = r#"{"token_type":"Bearer","expires_in":3599,"access_token":"x.y.z"}"#;

#[test]
fn one_post_with_five_fields_and_the_headers_that_entra_knows() {
    let server = Server::responding(vec![response("200 OK", GRANTED); 2]);
    let mut entra = entra(&server.url);
    assert_eq!(request(&mut entra).unwrap().expires_in, Duration::from_secs(3599));
    let (head, body) = server.requests.recv().unwrap();
    assert_eq!(
        body,
        "client_id=client+id&scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default&\
         client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&\
         client_assertion=aaa.bbb.ccc&grant_type=client_credentials"
    );
    assert_eq!(head[0], "POST /tenant/oauth2/v2.0/token HTTP/1.1");
    let id = |head: &[String]| -> String {
        head.iter().find_map(|line| line.strip_prefix("client-request-id: ")).expect("an id").to_owned()
    };
    let mut lines: Vec<&str> = head[1..].iter().map(String::as_str).collect();
    lines.sort_unstable();
    let host = server.url.split('/').nth(2).unwrap();
    let expected = [
        "accept: application/json",
        &format!("client-request-id: {}", id(&head)),
        &format!("content-length: {}", body.len()),
        "content-type: application/x-www-form-urlencoded",
        &format!("host: {host}"),
        &format!("user-agent: auth-proxy/{}", env!("CARGO_PKG_VERSION")),
        "x-ms-lib-capability: retry-after, h429",
    ];
    assert_eq!(lines, expected);
    request(&mut entra).unwrap();
    assert_ne!(id(&server.requests.recv().unwrap().0), id(&head), "a new id each time");
}

#[test]
fn an_error_response_is_read_to_its_end() {
    let body = r#"{"error":"invalid_client","error_codes":[700027],"trace_id":"0-a","error_description":"AADSTS700027: aaa.bbb.ccc"}"#;
    let server = Server::responding(vec![response("401 Unauthorized\r\nretry-after: 9", body)]);
    let error = request(&mut entra(&server.url)).unwrap_err();
    assert_eq!((error.class, error.status, error.code), (Class::Permanent, Some(401), Some(700_027)));
    assert_eq!((error.trace_id.as_deref(), error.retry_after), (Some("0-a"), Some(Duration::from_secs(9))));
    let (head, _) = server.requests.recv().unwrap();
    let id = error.request_id.expect("the id that was sent");
    assert!(head.contains(&format!("client-request-id: {id}")));
}

/// Responses that hold no token, each with a part of what is said about it.
fn useless() -> Vec<(Vec<u8>, &'static str)> {
    let large = "x".repeat(MAX_RESPONSE_BYTES + 1);
    vec![
        (response("200 OK", ""), "it is empty"),
        (response("200 OK", "<html>"), "it is not JSON"),
        (response("200 OK", &large), "larger than 64 KiB"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec(), "the connection"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec(), "the connection"),
        (b"SSH-2.0-x\r\n".to_vec(), "the connection"),
        (Vec::new(), "the connection"),
        (response("307 Moved\r\nlocation: http://127.0.0.1:1/", ""), "responded 307"),
    ]
}

#[test]
fn invalid_responses_are_transient_failures() {
    let rows = useless();
    let server = Server::responding(rows.iter().map(|(response, _)| response.clone()).collect());
    let mut entra = entra(&server.url);
    for (_, fault) in rows {
        let error = request(&mut entra).expect_err(fault);
        assert_eq!(error.class, Class::Transient, "{error:?}");
        assert!(error.summary.contains(fault), "{fault}: {error:?}");
        assert!(!format!("{error:?}").contains("aaa.bbb.ccc"), "{error:?}");
    }
}

#[test]
fn invalid_responses_leave_the_old_token_in_use() {
    let expired = response("200 OK", &GRANTED.replace("3599", "0"));
    let useless = useless().into_iter().map(|(response, _)| response).chain([expired]);
    let good = response("200 OK", GRANTED);
    let server = Server::responding(std::iter::once(good).chain(useless).collect());
    let fixture = Fixture::new();
    let credential = fixture.credential_with(Box::new(entra(&server.url)));
    let mut refresher = Refresher::new(Arc::clone(&fixture.store), credential);
    refresher.step();
    for failures in 1..=9 {
        // Time for the next attempt, whatever the jitter.
        let due = fixture.store.next_attempt().since(fixture.store.clock().now());
        fixture.mock_clock.advance(due + Duration::from_millis(1));
        refresher.step();
        assert_eq!(fixture.bearer().as_deref(), Some("Bearer x.y.z"));
        let status = fixture.store.status();
        assert_eq!((status.successes, status.failures), (1, failures));
        assert!(status.last_error.is_some());
    }
}

#[test]
fn an_error_response_with_a_broken_body_still_has_its_status() {
    let large = "x".repeat(MAX_RESPONSE_BYTES + 1);
    let server = Server::responding(vec![
        response("503 Busy\r\nretry-after: 7", &large),
        b"HTTP/1.1 429 No\r\nretry-after: 8\r\ncontent-length: 100\r\n\r\nToo".to_vec(),
    ]);
    let mut entra = entra(&server.url);
    // The first one names no server.
    for (status, wait) in [(503, None), (429, Some(8))] {
        let error = request(&mut entra).unwrap_err();
        assert_eq!((error.status, error.retry_after), (Some(status), wait.map(Duration::from_secs)));
    }
}

#[test]
fn a_response_that_drips_times_out() {
    let server = Server::new(|listener, seen| {
        let mut client = listener.accept().unwrap().0;
        seen.send(receive(&client)).unwrap();
        let mut drip = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n".to_vec();
        while client.write_all(&drip).is_ok() {
            drip = b" ".to_vec();
            thread::sleep(Duration::from_millis(20));
        }
    });
    let mut entra = entra(&server.url);
    entra.timeout = Duration::from_millis(300);
    let started = Instant::now();
    let error = request(&mut entra).unwrap_err();
    assert_eq!(error.summary, "the token endpoint did not respond in time");
    assert!((Duration::from_millis(250)..Duration::from_secs(3)).contains(&started.elapsed()));
}

#[test]
fn a_response_without_end_is_cut_off() {
    let server = Server::new(|listener, seen| {
        let mut client = listener.accept().unwrap().0;
        seen.send(receive(&client)).unwrap();
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        while client.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let mut entra = entra(&server.url);
    entra.timeout = Duration::from_secs(3);
    assert_eq!(
        request(&mut entra).unwrap_err().summary,
        "the token endpoint's response is larger than 64 KiB"
    );
}

#[test]
fn a_refused_connection_is_a_transient_failure() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = request(&mut entra(&format!("http://127.0.0.1:{port}/"))).unwrap_err();
    assert_eq!((error.class, error.status), (Class::Transient, None));
    assert!(error.detail.is_some() && error.request_id.is_some());
}

#[test]
fn transport_errors_have_a_remedy() {
    let host = || String::from("login.test");
    let rows = [
        (ConnectError::Resolve { host: host(), cause: ResolveError::NoSuchName }, "resolved", "spelling"),
        (
            ConnectError::Resolve { host: host(), cause: ResolveError::NoResponse(Duration::from_secs(3)) },
            "resolved",
            "name servers",
        ),
        (
            ConnectError::Connect { host: host(), cause: rustix::io::Errno::MFILE.into() },
            "could not be reached",
            "ulimit -n",
        ),
        (
            ConnectError::Connect { host: host(), cause: std::io::ErrorKind::ConnectionRefused.into() },
            "could not be reached",
            "HTTPS_PROXY",
        ),
        (ConnectError::Timeout { host: host(), after: Duration::from_secs(10) }, "timed out", "HTTPS_PROXY"),
        (ConnectError::EgressProxy { proxy: host(), cause: "407".into() }, "egress proxy", "HTTPS_PROXY"),
    ];
    for (error, summary, hint) in rows {
        let error = transport_error(&Fault::from(error).into(), "the token endpoint");
        assert_eq!(error.class, Class::Transient);
        assert!(error.summary.contains(summary), "{error:?}");
        assert!(error.hints[0].contains(hint), "{error:?}");
        assert!(error.detail.unwrap().contains("login.test"));
    }
}

#[test]
fn an_egress_proxy_that_demands_credentials_is_asked_again_when_the_dialer_permits_it() {
    let minute = Duration::from_secs(60);
    let rows = [
        (
            true,
            "NTLM",
            Some(minute),
            Class::Permanent,
            "refuses the credentials in HTTPS_PROXY (407): it offers NTLM",
        ),
        (true, "Basic", Some(minute), Class::Permanent, "refuses the credentials in HTTPS_PROXY (407)"),
        // No credentials were presented, so that no account can be locked.
        (false, "Basic", None, Class::Transient, "demands credentials, and HTTPS_PROXY has none (407)"),
    ];
    for (presented, challenge, retry_in, class, words) in rows {
        let error = ProxyAuthError::new(presented, std::iter::once(challenge.as_bytes()));
        let error = ConnectError::EgressProxyAuth { proxy: "proxy.test:3128".into(), error, retry_in };
        let error = transport_error(&Fault::from(error).into(), "the token endpoint");
        assert_eq!((error.class, error.retry_after), (class, retry_in));
        assert!(error.summary.starts_with("the egress proxy ") && error.summary.contains(words), "{error:?}");
        assert!(error.detail.unwrap().contains("proxy.test:3128"));
        assert_eq!(error.hints.len(), 1);
    }
}

#[test]
fn everything_but_unreserved_characters_is_encoded() {
    let rows = [
        ("", ""),
        ("aZ09*-._", "aZ09*-._"),
        ("https://a.test/.default", "https%3A%2F%2Fa.test%2F.default"),
        ("a b+c&d=e%", "a+b%2Bc%26d%3De%25"),
        ("é~\n", "%C3%A9%7E%0A"),
    ];
    for (text, encoded) in rows {
        assert_eq!(form(&[("k", text)]).as_str(), format!("k={encoded}"));
    }
    assert_eq!(form(&[("a", "1"), ("b", "2")]).as_str(), "a=1&b=2");
}

#[test]
fn the_buffer_never_grows() {
    let worst = "é".repeat(1000);
    let body = form(&[("é", &worst), ("é", &worst)]);
    assert!(body.capacity() <= 2 * (3 * 2002 + 2), "{}", body.capacity());
}
