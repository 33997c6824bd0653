//! Connections to the upstream are used again, and a request that finds one closed is sent again where that is safe:
//!
//! - an idempotent request, once, on a fresh connection, with its whole body;
//! - any request of which nothing was sent;
//! - never one that may have been processed, or whose response has begun.

use crate::sim::{ScriptedResponse, Step, wait_for};
use crate::support::client::{Client, Response};
use crate::support::fixture::{Fixture, error_code};

/// Both kinds of upstream, with one idle connection in the pool. The requests of one client come one after the
/// other: a connection is back in the pool before the next is read.
fn each(test: impl Fn(&Fixture, &mut Client)) {
    for fixture in [Fixture::plain(), Fixture::tls()] {
        eprintln!("  {}", fixture.sim.azure_url());
        let mut client = fixture.client();
        warm(&fixture, &mut client);
        test(&fixture, &mut client);
    }
}

fn warm(fixture: &Fixture, client: &mut Client) {
    assert_eq!(client.get("/sim/echo").status, 200);
    fixture.seen();
}

fn request(client: &mut Client, method: &str, body: &[u8]) -> Response {
    client.request(method, "/openai/v1/x", &[], body)
}

/// The ways in which an upstream ends a connection instead of responding.
fn endings() -> [ScriptedResponse; 2] {
    [ScriptedResponse::drop_connection(), ScriptedResponse::steps([Step::Close])]
}

#[test]
fn one_upstream_connection_serves_many_requests() {
    each(|fixture, client| {
        for _ in 0..10 {
            assert_eq!(client.get("/sim/echo").status, 200);
            assert_eq!(client.post_json("/sim/upload", &serde_json::json!({"a": 1})).status, 200);
            assert_eq!(client.get("/sim/bytes/100000?chunked=1").body.len(), 100_000);
            assert_eq!(client.request("HEAD", "/sim/echo", &[], b"").status, 200);
            assert_eq!(client.get("/sim/status/404").status, 404);
        }
        assert_eq!(fixture.sim.azure.server.accepted(), 1);
    });
}

#[test]
fn a_connection_that_the_upstream_closed_is_not_used() {
    each(|fixture, client| {
        for (i, method) in ["GET", "POST", "POST", "PUT", "DELETE"].into_iter().enumerate() {
            fixture.sim.azure.server.close_connections();
            fixture.sim.azure.script([ScriptedResponse::status(200)]);
            let body: &[u8] = if method == "GET" { b"" } else { b"body" };
            assert_eq!(request(client, method, body).status, 200);
            assert_eq!(fixture.seen().len(), 1, "{method} was sent once");
            assert_eq!(fixture.sim.azure.server.accepted(), 2 + i as u64);
        }
    });
}

#[test]
fn many_stale_connections_cost_one_new_one() {
    each(|fixture, client| {
        let slow = ScriptedResponse::status(200).delay(std::time::Duration::from_millis(300));
        fixture.sim.azure.script(vec![slow; 8]);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(request(&mut fixture.client(), "GET", b"").status, 200));
            }
        });
        let before = fixture.sim.azure.server.accepted();
        assert!(before > 1);
        fixture.sim.azure.server.close_connections();
        assert_eq!(client.get("/sim/echo").status, 200);
        assert_eq!(fixture.sim.azure.server.accepted(), before + 1);
    });
}

#[test]
fn an_idempotent_request_that_found_a_stale_connection_is_sent_again() {
    each(|fixture, client| {
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
            for ending in endings() {
                warm(fixture, client);
                fixture.sim.azure.script([ending, ScriptedResponse::status(200)]);
                let body: &[u8] = if method == "PUT" { b"body" } else { b"" };
                assert_eq!(request(client, method, body).status, 200, "{method}");
                let seen = fixture.seen();
                assert_eq!(seen.len(), 2, "{method}");
                assert_eq!(seen[0].raw_head, seen[1].raw_head);
                assert_eq!(seen[1].body, body);
                assert_ne!(seen[0].connection, seen[1].connection);
            }
        }
    });
}

#[test]
fn a_body_that_was_read_in_part_is_sent_again_whole() {
    each(|fixture, client| {
        let body = "x".repeat(60_000);
        fixture.sim.azure.script([ScriptedResponse::drop_connection(), ScriptedResponse::status(200)]);
        assert_eq!(request(client, "PUT", body.as_bytes()).status, 200);
        let seen = fixture.seen();
        assert_eq!((seen.len(), seen[1].body_length), (2, 60_000));
    });
}

/// However long it is announced to be: the client still has it.
#[test]
fn a_large_body_of_which_nothing_was_read_is_sent_on_a_fresh_connection() {
    each(|fixture, client| {
        fixture
            .sim
            .azure
            .script([ScriptedResponse::drop_connection().early(), ScriptedResponse::status(200)]);
        client
            .raw
            .send("PUT /openai/v1/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n")
            .unwrap();
        fixture.sim.azure.log().wait("the second attempt", |all| all.get(1).map(drop));
        client.raw.send(vec![b'x'; 200_000]).unwrap();
        assert_eq!(client.response("PUT").unwrap().status, 200);
        let second =
            fixture.sim.azure.log().wait("its end", |all| all.get(1).filter(|r| r.done.is_some()).cloned());
        assert_eq!(second.body_length, 200_000);
        fixture.seen();
    });
}

#[test]
fn a_request_that_may_have_been_processed_is_not_sent_again() {
    each(|fixture, client| {
        for method in ["POST", "PATCH", "FOO"] {
            for ending in endings() {
                warm(fixture, client);
                fixture.sim.azure.script([ending]);
                let response = request(client, method, b"body");
                assert_eq!((response.status, error_code(&response).as_str()), (502, "upstream_closed"));
                assert_eq!(fixture.seen().len(), 1, "{method} reached the upstream once");
            }
        }
    });
}

#[test]
fn a_large_body_that_was_sent_is_not_sent_again() {
    each(|fixture, client| {
        fixture.sim.azure.script([ScriptedResponse::drop_connection()]);
        let response = request(client, "PUT", &vec![b'x'; 200_000]);
        assert_eq!((response.status, error_code(&response).as_str()), (502, "upstream_closed"));
        assert_eq!(fixture.seen().len(), 1);
    });
}

#[test]
fn a_request_is_sent_again_once_and_on_a_pooled_connection_only() {
    each(|fixture, client| {
        fixture.sim.azure.script([ScriptedResponse::drop_connection(), ScriptedResponse::drop_connection()]);
        let response = request(client, "GET", b"");
        assert_eq!((response.status, error_code(&response).as_str()), (502, "upstream_closed"));
        assert_eq!(fixture.seen().len(), 2, "pooled, then fresh");

        fixture.sim.azure.script([ScriptedResponse::drop_connection()]);
        assert_eq!(request(client, "GET", b"").status, 502);
        assert_eq!(fixture.seen().len(), 1, "fresh");
    });
}

#[test]
fn a_request_whose_response_began_is_not_sent_again() {
    each(|fixture, client| {
        fixture.sim.azure.script([ScriptedResponse::raw("HTTP/1.1 20")]);
        assert_eq!(request(client, "GET", b"").status, 502);
        assert_eq!(fixture.seen().len(), 1);
    });
}

#[test]
fn an_upstream_that_comes_back_is_used_again() {
    each(|fixture, client| {
        fixture.sim.azure.stop();
        let response = request(client, "GET", b"");
        assert_eq!((response.status, error_code(&response).as_str()), (502, "upstream_unreachable"));
        fixture.sim.azure.restart();
        assert_eq!(client.get("/sim/echo").status, 200);
        wait_for("health", || fixture.proxy.health().status == 200);
    });
}
