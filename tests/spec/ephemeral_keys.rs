//! Ephemeral keys of the Realtime API (`ek_…`):
//!
//! - at `/openai/v1/realtime` and below it, one that comes as a bearer token or in a WebSocket subprotocol is forwarded
//!   where it came, in place of our token; all other credentials are removed;
//! - such a request needs no token, and a 401 to it is not our token's;
//! - anywhere else it is removed like every other credential, and nowhere is it logged.

use std::time::Duration;

use crate::sim::{Options, Request, ScriptedResponse, Sim, latin1, wait_for};
use crate::support::api::{CHAT, granted};
use crate::support::client::Client;
use crate::support::fixture::{Fixture, error_code};
use crate::support::in_process::InProcess;
use crate::support::program::Proxy;
use crate::support::tunnel::ASK;

const REALTIME: &str = "/openai/v1/realtime";
const CALLS: &str = "/openai/v1/realtime/calls";
const SECRETS: &str = "/openai/v1/realtime/client_secrets";
const KEY_SUBPROTOCOL: &str = "openai-insecure-api-key.";
/// One that nobody has minted.
const UNKNOWN: &str = "ek_68af296e8e408191a1120ab6383263c2";
const SDP: &[u8] = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n";

/// Mints a key through the proxy.
fn mint(client: &mut Client, headers: &[(&str, &str)]) -> String {
    let json = [&[("Content-Type", "application/json")], headers].concat();
    let response = client.request("POST", SECRETS, &json, b"{}");
    let key = response.json()["value"].as_str().unwrap_or_else(|| panic!("{}", response.text())).to_owned();
    assert!(key.starts_with("ek_"));
    key
}

/// Starts a WebRTC call.
fn call(client: &mut Client, target: &str, headers: &[(&str, &str)]) -> u16 {
    let sdp = [&[("Content-Type", "application/sdp")], headers].concat();
    client.request("POST", target, &sdp, SDP).status
}

/// Every credential in a request as the upstream got it.
fn credentials(request: &Request) -> Vec<String> {
    let offers = request.header_values("sec-websocket-protocol").join(",");
    let keys = offers.split(',').map(str::trim).filter(|offer| offer.starts_with(KEY_SUBPROTOCOL));
    let values =
        ["authorization", "api-key", "x-api-key", "ocp-apim-subscription-key", "proxy-authorization"];
    let values = values.iter().flat_map(|name| request.header_values(name));
    keys.map(str::to_owned).chain(values).collect()
}

#[track_caller]
fn not_logged(proxy: &Proxy, key: &str) {
    let log = proxy.log().join("\n");
    assert!(!log.contains(key) && !log.contains(key.trim_start_matches("ek_")), "{log}");
}

#[test]
fn a_call_is_made_with_the_key_that_was_minted_through_the_proxy() {
    let fixture = Fixture::with(true, &[]);
    let mut client = fixture.client();
    let key = mint(&mut client, &[]);
    let minting = fixture.seen().pop().unwrap();
    assert_eq!(minting.bearer().unwrap(), fixture.sim.entra.issued()[0].token, "our token mints");

    let bearer = format!("Bearer {key}");
    let others = [
        ("Authorization", &*bearer),
        ("api-key", "K"),
        ("X-Api-Key", "K"),
        ("Proxy-Authorization", "Basic K"),
        ("Sec-WebSocket-Protocol", "openai-insecure-api-key.K"),
        ("X-Mine", "kept"),
    ];
    assert_eq!(call(&mut client, &format!("{CALLS}?api-key=K&model=m"), &others), 201);
    let seen = fixture.seen().pop().unwrap();
    assert_eq!(seen.target(), format!("{CALLS}?model=m"));
    assert_eq!(credentials(&seen), [bearer.as_str()]);
    assert_eq!((seen.header("x-mine").as_deref(), &seen.body[..]), (Some("kept"), SDP));

    let line = fixture.proxy.wait_log("status=201 bytes_up=");
    assert!(
        line.contains(" credential=ephemeral_key outcome=completed path=/openai/v1/realtime/calls"),
        "{line}"
    );
    let line = fixture.proxy.wait_log("status=200 bytes_up=");
    assert!(!line.contains("credential="), "{line}");
    not_logged(&fixture.proxy, &key);
}

#[test]
fn a_websocket_offers_its_key_among_the_other_subprotocols() {
    let fixture = Fixture::with(true, &[]);
    let key = mint(&mut fixture.client(), &[]);
    fixture.seen();
    let open = |fields: &[(&str, &str)]| {
        fixture.client().request("GET", &format!("{REALTIME}?model=m"), &[&ASK[..], fields].concat(), b"")
    };
    let offers = format!("realtime,{KEY_SUBPROTOCOL}{key} ,  openai-beta.realtime-v1");
    let response = open(&[("Sec-WebSocket-Protocol", &offers)]);
    assert_eq!(
        (response.status, response.header("sec-websocket-protocol").as_deref()),
        (101, Some("realtime"))
    );
    let seen = fixture.seen().pop().unwrap();
    assert_eq!(seen.header("sec-websocket-protocol").unwrap(), offers, "byte for byte");
    assert_eq!(credentials(&seen).len(), 1, "{:?}", seen.headers);

    // Among others of its kind it alone stays.
    let offers = format!("a, {KEY_SUBPROTOCOL}K, {KEY_SUBPROTOCOL}{key}, b");
    assert_eq!(open(&[("Sec-WebSocket-Protocol", &offers), ("Authorization", "Bearer dummy")]).status, 101);
    let seen = fixture.seen().pop().unwrap();
    assert_eq!(seen.header("sec-websocket-protocol").unwrap(), format!("a, {KEY_SUBPROTOCOL}{key}, b"));
    assert_eq!(seen.header("authorization"), None);
    // It may also come as a bearer token.
    let (bearer, dummy) = (format!("Bearer {key}"), "realtime, openai-insecure-api-key.K");
    assert_eq!(open(&[("Authorization", &bearer), ("Sec-WebSocket-Protocol", dummy)]).status, 101);
    let seen = fixture.seen().pop().unwrap();
    assert_eq!(seen.header_values("authorization"), [bearer]);
    assert_eq!(seen.header("sec-websocket-protocol").unwrap(), "realtime");

    let is_logged =
        |line: &String| line.contains("status=101") && line.contains(" credential=ephemeral_key outcome=");
    wait_for("a line for each", || fixture.proxy.log().into_iter().filter(is_logged).count() == 3);
    not_logged(&fixture.proxy, &key);
}

/// Each row: what is no ephemeral key in its place. The upstream gets our token, and no other credential.
#[test]
fn anywhere_else_it_is_removed_like_every_other_credential() {
    let fixture = Fixture::with(false, &[]);
    let token = format!("Bearer {}", fixture.sim.entra.issued()[0].token);
    let bearer = format!("Bearer {UNKNOWN}");
    let offer = format!("{KEY_SUBPROTOCOL}{UNKNOWN}");
    let encoded = "/openai/v1/realtime%2Fcalls";
    let rows: [(&str, &[(&str, &str)]); 20] = [
        // Other paths.
        (CHAT, &[("Authorization", &bearer)]),
        ("/openai/realtime/calls", &[("Authorization", &bearer)]),
        ("/openai/v1/realtimes", &[("Authorization", &bearer)]),
        ("/openai/v1/Realtime/calls", &[("Authorization", &bearer)]),
        ("/v1/realtime/calls", &[("Authorization", &bearer)]),
        ("/x/openai/v1/realtime", &[("Authorization", &bearer)]),
        // Paths that some servers find elsewhere.
        (encoded, &[("Authorization", &bearer)]),
        ("/openai/v1/realtime/../models", &[("Authorization", &bearer)]),
        ("/openai/v1/realtime/%2e%2e/models", &[("Authorization", &bearer)]),
        ("/openai/v1/realtime/..%2fmodels", &[("Authorization", &bearer)]),
        ("/openai/v1/realtime/..;/models", &[("Authorization", &bearer)]),
        ("/openai/v1//realtime/x", &[("Authorization", &bearer)]),
        ("/openai/v1/%2572ealtime/x", &[("Authorization", &bearer)]),
        // Other places, and what is not one key alone.
        ("/openai/v1/realtime/x", &[("api-key", UNKNOWN)]),
        ("/openai/v1/realtime/x", &[("Proxy-Authorization", &bearer)]),
        ("/openai/v1/realtime/x", &[("Authorization", UNKNOWN)]),
        ("/openai/v1/realtime/x", &[("Authorization", "Bearer EK_1")]),
        ("/openai/v1/realtime/x", &[("Authorization", "Bearer ek_1, Bearer K")]),
        ("/openai/v1/realtime/x?access_token=ek_1&api-key=ek_1", &[]),
        // No WebSocket.
        ("/openai/v1/realtime/x", &[("Sec-WebSocket-Protocol", &offer)]),
    ];
    for (target, headers) in rows {
        fixture.client().request("POST", target, headers, b"{}");
        let seen = fixture.seen().pop().unwrap_or_else(|| panic!("{target}: not forwarded"));
        assert_eq!(credentials(&seen), [token.as_str()], "{target} {headers:?}");
        assert!(!latin1(&seen.raw_head).contains("ek_"), "{target} {headers:?}");
    }
    assert!(!fixture.proxy.log().join("\n").contains("credential=ephemeral_key"));
    not_logged(&fixture.proxy, UNKNOWN);
}

#[test]
fn an_escaped_path_is_that_of_the_api_if_every_server_reads_it_so() {
    let fixture = Fixture::with(false, &[]);
    let bearer = format!("Bearer {UNKNOWN}");
    for target in [
        "/openai/v1/%72ealtime/c%61lls",
        "/openai/v1/x/../realtime/calls",
        "/openai/v1/realtime/calls;x",
        "/openai/v1/realtime/calls/rtc_1/hangup?model=m",
        "/openai/v1/realtime/a%3Ab",
    ] {
        fixture.client().request("POST", target, &[("Authorization", &bearer)], b"");
        let seen = fixture.seen().pop().unwrap();
        assert_eq!((seen.target(), credentials(&seen)), (target.to_owned(), vec![bearer.clone()]));
    }
}

#[test]
fn the_path_counts_after_the_base_path() {
    let fixture = Fixture::at_base_path("/openai/v1");
    let bearer = format!("Bearer {UNKNOWN}");
    fixture.seen();
    for (target, passes) in [
        ("/realtime/calls", true),
        ("/realtime", true),
        ("/openai/v1/realtime/calls", false),
        ("/models", false),
    ] {
        fixture.client().request("POST", target, &[("Authorization", &bearer)], b"");
        let seen = fixture.seen().pop().unwrap();
        assert_eq!(seen.target(), format!("/openai/v1{target}"));
        assert_eq!(credentials(&seen) == [bearer.as_str()], passes, "{target}");
    }
}

#[test]
fn two_keys_in_one_request_are_one_too_many() {
    let fixture = Fixture::with(false, &[]);
    let (one, other) = (format!("Bearer {UNKNOWN}"), format!("Bearer {UNKNOWN}2"));
    let (offer, offers) =
        (format!("{KEY_SUBPROTOCOL}{UNKNOWN}"), format!("{KEY_SUBPROTOCOL}{UNKNOWN}, {KEY_SUBPROTOCOL}ek_2"));
    let rows: [&[(&str, &str)]; 4] = [
        &[("Authorization", &one), ("Authorization", &other)],
        &[("Authorization", &one), ("Authorization", &one)],
        &[("Authorization", &one), ("Sec-WebSocket-Protocol", &offer)],
        &[("Sec-WebSocket-Protocol", &offers)],
    ];
    for headers in rows {
        let response = fixture.client().request("GET", REALTIME, &[&ASK[..], headers].concat(), b"");
        assert_eq!((response.status, error_code(&response).as_str()), (400, "bad_request"), "{headers:?}");
        assert!(response.text().contains("more than one ephemeral key"), "{}", response.text());
    }
    assert!(fixture.seen().is_empty());
    not_logged(&fixture.proxy, UNKNOWN);
}

#[test]
fn whoever_has_one_must_still_present_the_key_of_the_proxy() {
    let key = "0123456789abcdef0123456789abcdef";
    let fixture = Fixture::with(false, &[("PROXY_API_KEY", key)]);
    let ephemeral = mint(&mut fixture.client(), &[("api-key", key)]);
    let (bearer, ours) = (format!("Bearer {ephemeral}"), format!("Bearer {key}"));
    fixture.seen();
    assert_eq!(call(&mut fixture.client(), CALLS, &[("Authorization", &bearer)]), 401);
    assert!(fixture.seen().is_empty());
    for other in [("api-key", key), ("Authorization", &*ours)] {
        assert_eq!(call(&mut fixture.client(), CALLS, &[other, ("Authorization", &bearer)]), 201);
        assert_eq!(credentials(&fixture.seen().pop().unwrap()), [bearer.as_str()]);
    }
    let offers = format!("realtime, {KEY_SUBPROTOCOL}{key}, {KEY_SUBPROTOCOL}{ephemeral}");
    let fields = [&ASK[..], &[("Sec-WebSocket-Protocol", &*offers)]].concat();
    assert_eq!(fixture.client().request("GET", REALTIME, &fields, b"").status, 101);
    let offered = fixture.seen().pop().unwrap().header("sec-websocket-protocol").unwrap();
    assert_eq!(offered, format!("realtime, {KEY_SUBPROTOCOL}{ephemeral}"));
}

#[test]
fn without_a_token_it_still_passes() {
    let sim = Sim::start(Options::default());
    sim.entra.stop();
    let proxy = Proxy::start_listening(&sim, &[]);
    let bearer = format!("Bearer {UNKNOWN}");
    let response = proxy.client().request("POST", CALLS, &[("Authorization", &bearer)], SDP);
    assert_eq!(response.status, 401, "the upstream's own: nobody minted it");
    assert_eq!(credentials(&sim.azure.request_to(CALLS)), [bearer]);
    assert!(!proxy.log().iter().any(|line| line.contains("request waiting for a token")));
    // Who needs the token gets to know that there is none.
    assert_eq!(call(&mut proxy.client(), CALLS, &[]), 503);
}

#[test]
fn a_401_to_it_is_not_our_tokens() {
    let sim = Sim::start(Options::default());
    let proxy = InProcess::start(&sim);
    wait_for("a token", || proxy.tokens.usable().is_some());
    // Old enough to be doubted.
    proxy.mock_clock.advance(Duration::from_secs(61));
    sim.azure.script([
        ScriptedResponse::status(401).header("x-ms-region", "here").body("expired"),
        ScriptedResponse::status(200).body("not to be asked for"),
    ]);
    let bearer = format!("Bearer {UNKNOWN}");
    let response = proxy.client().request("POST", CALLS, &[("Authorization", &bearer)], SDP);
    assert_eq!((response.status, response.text().as_str()), (401, "expired"));
    assert_eq!((sim.azure.requests().len(), granted(&sim)), (1, 1), "neither a replay nor a refresh");
    assert_eq!(proxy.metrics.retries.values().map(|(_, count)| count).sum::<u64>(), 0);
}
