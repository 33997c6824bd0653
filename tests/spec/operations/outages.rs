//! Outages as somebody on call sees them: each has its signal in the log, the metrics and `/health`, at the right level, once and
//! not for each request. How long the signal takes is in the messages, not in the assertions.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::exposition::Page;
use crate::sim::{Options, ScriptedResponse, Sim, replace_file, timeout, wait_for};
use crate::support::client::Raw;
use crate::support::program::Proxy;

fn start(options: Options) -> (Sim, Proxy) {
    let sim = Sim::start(Options { azure_tls: false, ..options });
    let proxy = Proxy::start_with(&sim, &[("ADMIN_PORT", "0"), ("LOG_LEVEL", "info")]);
    (sim, proxy)
}

fn metric(proxy: &Proxy, key: &str) -> f64 {
    Page::parse(&proxy.admin("/metrics").text()).value(key)
}

/// The lines with this text, of this level.
fn lines(proxy: &Proxy, level: &str, text: &str) -> Vec<String> {
    let of_level = format!(" {level} ");
    proxy.log().into_iter().filter(|line| line.contains(&of_level) && line.contains(text)).collect()
}

/// A role removed, network rules, a wrong deployment, a quota used up, the service down: one warning for each kind, however
/// many requests fail.
#[test]
fn a_storm_of_upstream_errors_is_one_warning_for_each_kind() {
    const EVENT: &str = "the upstream responds with errors";
    let (sim, proxy) = start(Options::default());
    let html = ScriptedResponse::status(502).header("content-type", "text/html").body("<html>s3cr3t</html>");
    let json = |status: u16, code: &str, message: &str| {
        let error = serde_json::json!({"error": {"code": code, "message": format!("{message} s3cr3t")}});
        ScriptedResponse::status(status).header("apim-request-id", "a-1").json(&error)
    };
    for (status, response, code, meaning, next_step) in [
        (
            401,
            json(401, "PermissionDenied", "lacks the required data action"),
            "PermissionDenied",
            "signed in, but not authorized",
            "assign the role",
        ),
        (
            403,
            json(403, "AccessDenied", "Public access is disabled"),
            "AccessDenied",
            "its network rules block this machine",
            "private endpoint",
        ),
        (
            404,
            json(404, "DeploymentNotFound", "no such deployment"),
            "DeploymentNotFound",
            "there is no deployment of this name",
            "deployment of this resource",
        ),
        (404, json(404, "404", "Resource not found"), "404", "there is no such path", "API_BASE_URL"),
        (
            429,
            json(429, "429", "exceeded token rate limit"),
            "429",
            "the deployment's rate limit is reached",
            "raise its quota",
        ),
        (
            500,
            json(500, "InternalServerError", "oops"),
            "InternalServerError",
            "has failed",
            "azure.status.microsoft",
        ),
        (502, html, "", "has failed", "azure.status.microsoft"),
    ] {
        let began = Instant::now();
        sim.azure.script(std::iter::repeat_n(response, 5));
        let path = format!("/openai/v1/{status}{code}");
        for _ in 0..5 {
            assert_eq!(
                proxy.client().request("POST", &format!("{path}?q=s3cr3t"), &[], b"{}").status,
                status
            );
        }
        let line = proxy.wait_log(&format!("path={path}"));
        let is_of_kind = |line: &&String| {
            line.contains(&format!("path={path} ")) || line.ends_with(&format!("path={path}"))
        };
        let warnings: Vec<_> =
            lines(&proxy, "warn", EVENT).into_iter().filter(|line| is_of_kind(&line)).collect();
        assert_eq!(warnings.len(), 1, "{status} {code} after {:?}: {line}", began.elapsed());
        let shown_code = if code.is_empty() { String::new() } else { format!(" code={code} ") };
        for text in [&format!("status={status}"), shown_code.trim_end(), meaning, next_step, " count=1 "] {
            assert!(warnings[0].contains(text), "{text:?} is missing in {}", warnings[0]);
        }
        // The requests have a line each, with the code.
        let of_requests = || lines(&proxy, "info", &format!("path={path}"));
        wait_for("a line for each request", || of_requests().len() == 5);
        let of_requests = of_requests();
        let code_field = format!("upstream_code={code}");
        assert!(
            of_requests.iter().all(|line| line.contains(&code_field) != code.is_empty()),
            "{of_requests:?}"
        );
    }
    assert!(!proxy.log().iter().any(|line| line.contains("s3cr3t")));
    // Apart from errors of our own.
    assert!(metric(&proxy, "auth_proxy_upstream_responses_total{status=\"500\"}") > 4.5);
    assert_eq!(proxy.health().status, 200, "the upstream's errors are not ours");
}

/// Entra ID takes its time: what is being waited for and since when is in log, `/health`, the 503 and the metrics.
#[test]
fn a_slow_sign_in_says_what_it_waits_for() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    sim.entra.script([ScriptedResponse::token(3600).delay(Duration::from_secs(20))]);
    let proxy = Proxy::start_listening(&sim, &[("ADMIN_PORT", "0"), ("LOG_LEVEL", "info")]);
    let began = Instant::now();
    let host = sim.token_url();
    let host = host.split('/').nth(2).unwrap();
    let line = proxy.wait_log("still waiting for the token endpoint");
    assert!(
        line.contains(" warn ") && line.contains(host) && line.contains("hint="),
        "{line}, {:?}",
        began.elapsed()
    );
    assert!(metric(&proxy, "auth_proxy_sign_in_waiting_seconds") >= 5.0);
    let health = proxy.health();
    let reason = health.json()["reason"].as_str().unwrap().to_owned();
    assert!(
        health.status == 503 && reason.contains("waiting for the token endpoint") && reason.contains(host),
        "{reason}"
    );
    let refused = proxy.client().get("/openai/v1/models");
    assert!(
        refused.status == 503 && refused.text().contains("waiting for the token endpoint"),
        "{}",
        refused.text()
    );
    proxy.wait_healthy();
    assert_eq!(metric(&proxy, "auth_proxy_sign_in_duration_seconds_bucket{le=\"10\"}"), 0.0);
    assert_eq!(metric(&proxy, "auth_proxy_sign_in_duration_seconds_bucket{le=\"30\"}"), 1.0);
    assert_eq!(metric(&proxy, "auth_proxy_sign_in_waiting_seconds"), 0.0);
}

/// A page in place of Entra ID's JSON: from Entra ID's own front end or from a gateway, by status, content type and server.
#[test]
fn a_page_in_place_of_a_token_names_who_may_have_sent_it() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let page = |status: u16| {
        let page = ScriptedResponse::status(status)
            .header("content-type", "text/html")
            .header("server", "AkamaiGHost");
        page.body("<html>down</html>")
    };
    sim.entra.script([page(503), page(503)]);
    let proxy = Proxy::start_listening(&sim, &[]);
    let line = proxy.wait_log("token refresh failed");
    for text in [
        "responded 503",
        "is text/html from server AkamaiGHost",
        "Entra ID, or a gateway before it, has failed",
    ] {
        assert!(line.contains(text), "{text:?} is missing in {line}");
    }
    proxy.wait_healthy();
}

/// The new certificate file is bad: the old certificate serves on, and everybody can see it, until the file is good again.
#[test]
fn a_bad_certificate_file_is_seen_until_it_is_good_again() {
    let (sim, proxy) = start(Options::default());
    let path = sim.certificate_path();
    let good = std::fs::read_to_string(&path).unwrap();
    assert_eq!(metric(&proxy, "auth_proxy_credential_reload_failing"), 0.0);
    let began = Instant::now();
    replace_file(&path, "garbage");
    let line = proxy.wait_log("still_in_use=");
    assert!(line.contains(" warn ") && line.contains("hint="), "{line}, {:?}", began.elapsed());
    wait_for("the metric", || metric(&proxy, "auth_proxy_credential_reload_failing") > 0.0);
    assert_eq!(proxy.health().status, 200);
    replace_file(&path, &good);
    let line = proxy.wait_log("the certificate file is good again");
    assert!(line.contains(" info "), "{line}");
    assert_eq!(metric(&proxy, "auth_proxy_credential_reload_failing"), 0.0);
}

/// This machine's clock is wrong: how wrong is a number.
#[test]
fn a_wrong_clock_is_a_number() {
    for (offset, expected) in [(0, 0.0), (-120, 120.0), (90, -90.0)] {
        let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
        sim.entra.set_clock(offset, 600);
        let proxy = Proxy::start_with(&sim, &[("ADMIN_PORT", "0")]);
        let skew = metric(&proxy, "auth_proxy_clock_skew_seconds");
        assert!((skew - expected).abs() <= 3.0, "{offset}: {skew}");
    }
}

/// One client takes most of the connections: who it is stands in the log and on the status page before others are refused.
#[test]
fn who_has_most_of_the_connections_is_named() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let settings = [("ADMIN_PORT", "0"), ("LOG_LEVEL", "info"), ("MAX_CONNECTIONS", "20")];
    let proxy = Proxy::start_with(&sim, &settings);
    let slow_request_from = |source: [u8; 4]| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        socket.connect(&proxy.address().into()).unwrap();
        (&socket).write_all(b"GET /sim/slow?ms=600000 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        socket
    };
    let event = "few connections are left for new clients";
    wait_for("no connection", || metric(&proxy, "auth_proxy_connections") == 0.0);
    let others: Vec<Socket> = (3..7).map(|last| slow_request_from([127, 0, 0, last])).collect();
    let greedy: Vec<Socket> = (0..11).map(|_| slow_request_from([127, 0, 0, 2])).collect();
    wait_for("15 connections", || metric(&proxy, "auth_proxy_connections") >= 15.0);
    assert_eq!(lines(&proxy, "warn", event), [""; 0], "a quarter is left");
    assert!(!proxy.admin("/").text().contains("come from 127.0.0.2"));
    let last = slow_request_from([127, 0, 0, 2]);
    wait_for(event, || !lines(&proxy, "warn", event).is_empty());
    let line = &lines(&proxy, "warn", event)[0];
    assert!(line.contains("connections=16 limit=20 client=127.0.0.2 count_of_client=12 "), "{line}");
    assert!(line.contains("most of them come from 127.0.0.2"), "{line}");
    let of_limit = "20; most of them come from 127.0.0.2";
    assert!(proxy.admin("/").text().contains(of_limit));
    drop((greedy, last));
    wait_for("them to be gone", || metric(&proxy, "auth_proxy_connections") <= 4.0);
    assert!(!proxy.admin("/").text().contains(of_limit));
    drop(others);
}

/// Many clients that are too slow: a line a second for each reason, with the address that most of them have.
#[test]
fn many_slow_clients_are_a_line_a_second_with_an_address() {
    let (_sim, proxy) = start(Options::default());
    let mut clients: Vec<Raw> = (0..200).map(|_| Raw::connect(proxy.address())).collect();
    let began = Instant::now();
    for raw in &mut clients {
        raw.send("nonsense\r\n\r\n").unwrap();
    }
    for raw in &mut clients {
        assert!(raw.read_to_end(timeout()).0.starts_with(b"HTTP/1.1 400 "));
    }
    let took = began.elapsed();
    let counted = || -> u64 {
        let count = |line: &String| {
            let count = line.split(" count=").nth(1).and_then(|rest| rest.split(' ').next());
            count.map_or(1, |count| count.parse().unwrap())
        };
        lines(&proxy, "info", "request refused").iter().map(count).sum()
    };
    wait_for("every refusal to be counted", || counted() == 200);
    let lines = lines(&proxy, "info", "request refused");
    assert!(lines.len() as u64 <= 3 + took.as_secs(), "{} lines in {took:?}", lines.len());
    assert!(lines[0].contains("client=127.0.0.1:"), "{}", lines[0]);
    let last = lines.last().unwrap();
    assert!(last.contains("client=127.0.0.1 ") && last.contains("count_of_client="), "{last}");
}

/// A client that hangs up again and again is found by its address.
#[test]
fn a_client_that_hangs_up_is_known_by_outcome_and_address() {
    let (sim, proxy) = start(Options::default());
    let mut client = Raw::connect(proxy.address());
    client.send("GET /sim/slow?ms=20000 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    wait_for("the request", || !sim.azure.requests().is_empty());
    let address = client.socket().local_addr().unwrap().as_socket().unwrap();
    drop(client);
    let line = proxy.wait_log("outcome=aborted_by_client");
    assert!(line.contains("status=499") && line.contains(&format!("client={address} ")), "{line}");
    wait_for("the metric", || metric(&proxy, "auth_proxy_client_disconnects_total") > 0.0);
}

/// The upstream cuts a response: a warning with that outcome, whatever its status was.
#[test]
fn a_cut_response_is_a_warning() {
    let (sim, proxy) = start(Options::default());
    sim.azure.script([ScriptedResponse::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")]);
    assert!(proxy.client().request("POST", "/cut", &[], b"").fault.is_some());
    let line = proxy.wait_log("path=/cut");
    assert!(line.contains(" warn ") && line.contains("outcome=aborted_by_upstream"), "{line}");
    assert_eq!(metric(&proxy, "auth_proxy_upstream_responses_aborted_total"), 1.0);
}

/// The upstream is silent: how long the oldest request waits is a number at once. (The line comes after 30 s: tests/slow.)
/// After half a minute, as a warning, although the last response is younger than the oldest request.
#[test]
fn a_silent_upstream_is_a_warning_while_requests_wait() {
    let (sim, proxy) = start(Options::default());
    let ask = || {
        let mut client = Raw::connect(proxy.address());
        client.send("GET /sim/slow?ms=120000 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        client
    };
    let mut waiting = vec![ask()];
    wait_for("the first", || !sim.azure.requests().is_empty());
    assert_eq!(proxy.client().get("/openai/v1/models").status, 200);
    waiting.extend([ask(), ask()]);
    let began = Instant::now();
    const EVENT: &str = "still waiting for the upstream's response";
    let is_there = || !lines(&proxy, "warn", EVENT).is_empty();
    while !is_there() && began.elapsed() < 3 * timeout() {
        std::thread::sleep(Duration::from_millis(100));
    }
    let lines = lines(&proxy, "warn", EVENT);
    let line = lines.first().unwrap_or_else(|| panic!("none after {:?}", began.elapsed()));
    for text in [" requests=3 ", " oldest=3", " last_response_ago=3", "see the status of the Azure resource"]
    {
        assert!(line.contains(text), "{text:?} is missing in {line} after {:?}", began.elapsed());
    }
    assert!(metric(&proxy, "auth_proxy_upstream_oldest_wait_seconds") >= 30.0);
    let page = proxy.admin("/").text();
    assert!(page.contains("There is a usable token. 3 requests wait for the upstream"), "{page}");
}

#[test]
fn the_oldest_wait_for_a_response_is_a_number() {
    let (sim, proxy) = start(Options::default());
    assert_eq!(metric(&proxy, "auth_proxy_upstream_oldest_wait_seconds"), 0.0);
    let mut client = Raw::connect(proxy.address());
    client.send("GET /sim/slow?ms=20000 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    wait_for("the request", || !sim.azure.requests().is_empty());
    wait_for("the wait to be counted", || metric(&proxy, "auth_proxy_upstream_oldest_wait_seconds") > 0.5);
    drop(client);
    wait_for("the wait to be over", || metric(&proxy, "auth_proxy_upstream_oldest_wait_seconds") == 0.0);
}
