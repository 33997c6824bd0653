//! Every kind of request with every kind of key: a row is a request, a column what its client presents.

use super::{Keys, line, status};
use crate::sim::{Options, Sim, wait_for};
use crate::support::api::{CHAT, DEPLOYMENT_CHAT, MODELS};
use crate::support::program::{Proxy, is_tiny_http};
use crate::support::tunnel::ASK;

const RIGHT: &str = "a1b2c3d4e5f60718-of-a-client-that-may-call";
const REVOKED: &str = "b2c3d4e5f60718a1-of-a-client-that-could-once";
const BODY: &[u8] = br#"{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}],"input":"hello"}"#;

/// Where a request has its key.
enum Place {
    Field(&'static str),
    Bearer,
    Query(&'static str),
    /// `Bearer` and the key in a parameter of the query.
    BearerInQuery(&'static str),
    /// A subprotocol of a WebSocket.
    Subprotocol,
}
use Place::{Bearer, BearerInQuery, Field, Query, Subprotocol};

enum Expected {
    /// With a right key, this.
    With(u16),
    /// Whatever key it has, or none.
    Always(u16),
}
use Expected::{Always, With};

struct Row {
    method: &'static str,
    target: &'static str,
    is_websocket: bool,
    place: Place,
    expected: Expected,
}

const fn row(method: &'static str, target: &'static str, place: Place, expected: Expected) -> Row {
    Row { method, target, is_websocket: false, place, expected }
}

const fn websocket(target: &'static str, place: Place) -> Row {
    Row { method: "GET", target, is_websocket: true, place, expected: With(101) }
}

const ROWS: [Row; 43] = [
    // Methods.
    row("GET", "/sim/echo", Field("api-key"), With(200)),
    row("HEAD", "/sim/echo", Field("api-key"), With(200)),
    row("POST", "/sim/echo", Field("api-key"), With(200)),
    row("PUT", "/sim/echo", Field("api-key"), With(200)),
    row("PATCH", "/sim/echo", Field("api-key"), With(200)),
    row("DELETE", "/sim/echo", Field("api-key"), With(200)),
    row("OPTIONS", "/sim/echo", Field("api-key"), With(200)),
    row("PROPFIND", "/sim/echo", Field("api-key"), With(200)),
    row("get", "/sim/echo", Field("api-key"), With(200)),
    // Paths.
    row("GET", MODELS, Bearer, With(200)),
    row("POST", CHAT, Bearer, With(200)),
    row("POST", DEPLOYMENT_CHAT, Bearer, With(200)),
    row("POST", "/openai/v1/embeddings", Bearer, With(200)),
    row("POST", "/openai/v1/responses", Bearer, With(200)),
    row("GET", "/openai/v1/models/", Bearer, With(200)),
    row("GET", "/", Bearer, With(404)),
    row("GET", "/openai/v1/../v1/models", Bearer, With(404)),
    row("GET", "/nowhere", Bearer, With(404)),
    row("GET", "/sim/status/403", Bearer, With(403)),
    row("GET", "/sim/status/500", Bearer, With(500)),
    row("GET", "/sim/sse?events=2", Bearer, With(200)),
    row("GET", "/sim/bytes/100000", Bearer, With(200)),
    row("POST", "/sim/upload", Bearer, With(200)),
    row("GET", "/sim/gzip", Bearer, With(200)),
    // What looks like the path that needs no key, and that path.
    row("GET", "/health", Bearer, Always(200)),
    row("HEAD", "/health", Bearer, Always(200)),
    row("GET", "/health?x=1", Bearer, Always(200)),
    row("POST", "/health", Bearer, With(404)),
    row("GET", "/health/", Bearer, With(404)),
    row("GET", "//health", Bearer, With(404)),
    row("GET", "/Health", Bearer, With(404)),
    // Places of the key.
    row("GET", MODELS, Field("API-Key"), With(200)),
    row("GET", MODELS, Field("x-api-key"), With(200)),
    row("GET", MODELS, Field("Ocp-Apim-Subscription-Key"), With(200)),
    row("GET", MODELS, Field("Authorization"), With(200)),
    row("GET", MODELS, Query("api-key"), With(200)),
    row("GET", "/openai/v1/models?x=1", Query("subscription-key"), With(200)),
    row("GET", MODELS, BearerInQuery("Authorization"), With(200)),
    // WebSockets.
    websocket("/openai/v1/realtime?model=gpt-realtime", Subprotocol),
    websocket("/openai/v1/realtime?model=gpt-realtime", Query("api-key")),
    websocket("/openai/v1/realtime?model=gpt-realtime", Bearer),
    websocket("/sim/ws", Field("api-key")),
    // Never forwarded.
    row("TRACE", "/sim/echo", Field("api-key"), Always(501)),
];

struct Column {
    name: &'static str,
    key: Option<&'static str>,
    may_call: bool,
}

const COLUMNS: [Column; 4] = [
    Column { name: "no key", key: None, may_call: false },
    Column { name: "a wrong key", key: Some("c3d4e5f60718a1b2-of-nobody"), may_call: false },
    Column { name: "a right key", key: Some(RIGHT), may_call: true },
    Column { name: "a revoked key", key: Some(REVOKED), may_call: false },
];

impl Row {
    /// Sends it with this key; the status of the response, and the code in it.
    fn send(&self, proxy: &Proxy, key: Option<&str>) -> (u16, Option<String>) {
        self.send_with(proxy, key, &[])
    }

    /// The same with more fields.
    fn send_with(
        &self,
        proxy: &Proxy,
        key: Option<&str>,
        more: &[(&'static str, &str)],
    ) -> (u16, Option<String>) {
        let mut target = self.target.to_owned();
        let mut fields: Vec<(&str, String)> =
            more.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        if self.is_websocket {
            fields.extend(ASK.iter().map(|(name, value)| (*name, (*value).to_owned())));
        }
        if let Some(key) = key {
            let separator = if target.contains('?') { '&' } else { '?' };
            match self.place {
                Field(name) => fields.push((name, key.to_owned())),
                Bearer => fields.push(("Authorization", format!("Bearer {key}"))),
                Query(name) => target.push_str(&format!("{separator}{name}={key}")),
                BearerInQuery(name) => target.push_str(&format!("{separator}{name}=Bearer%20{key}")),
                Subprotocol => fields
                    .push(("Sec-WebSocket-Protocol", format!("realtime, openai-insecure-api-key.{key}"))),
            }
        }
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let body = if ["POST", "PUT", "PATCH"].contains(&self.method) { BODY } else { b"" };
        let response = proxy.client().request(self.method, &target, &fields, body);
        let code = serde_json::from_slice::<serde_json::Value>(&response.body).ok();
        let code = code.and_then(|body| body["error"]["code"].as_str().map(str::to_owned));
        (response.status, code)
    }
}

#[test]
fn only_a_key_that_is_valid_now_lets_a_request_through() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let keys = Keys::new(&sim, &(line("right", RIGHT) + &line("revoked", REVOKED)));
    let proxy = Proxy::start_with(&sim, &[("PROXY_API_KEYS_FILE", keys.path())]);
    assert_eq!((status(&proxy, RIGHT), status(&proxy, REVOKED)), (200, 200));
    keys.replace(&line("right", RIGHT));
    wait_for("the key to be revoked", || status(&proxy, REVOKED) == 401);

    let is_here = |row: &&Row| !is_tiny_http() || !row.is_websocket && row.method != "TRACE";
    for Column { name, key, may_call } in COLUMNS {
        let forwarded_before = sim.azure.log().seen();
        let mut forwarded = 0;
        for row in ROWS.iter().filter(is_here) {
            let (status, code) = row.send(&proxy, key);
            let expected = match row.expected {
                Always(status) => status,
                With(status) if may_call => {
                    forwarded += 1;
                    status
                }
                With(_) => 401,
            };
            let request = format!("{} {} with {name}", row.method, row.target);
            assert_eq!(status, expected, "{request}: {code:?}");
            if status == 401 && row.method != "HEAD" {
                assert_eq!(code.as_deref(), Some("invalid_api_key"), "{request}");
            }
        }
        assert_eq!(sim.azure.log().seen() - forwarded_before, forwarded, "forwarded with {name}");
    }
    let log = proxy.log().join("\n");
    assert!(![RIGHT, REVOKED].iter().any(|key| log.contains(key)), "a key is in the log");
}

/// Where no key is asked for, programs get through and web pages do not. (A process of another user is refused by the
/// kernel, whatever it would request: `unix_socket`.)
#[test]
fn without_keys_programs_get_through_and_web_pages_do_not() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let proxy = Proxy::start(&sim);
    let is_here = |row: &&Row| !is_tiny_http() || !row.is_websocket && row.method != "TRACE";
    for (name, fields, is_page) in [
        ("a program", &[][..], false),
        ("a page of another origin", &[("Origin", "https://evil.test")], true),
        (
            "a page of another port",
            &[("Origin", "http://localhost:3000"), ("Sec-Fetch-Site", "same-site")],
            true,
        ),
        (
            "a link, an image or a form",
            &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")],
            true,
        ),
    ] {
        let forwarded_before = sim.azure.log().seen();
        let mut forwarded = 0;
        for row in ROWS.iter().filter(is_here) {
            let (status, code) = row.send_with(&proxy, None, fields);
            let expected = match row.expected {
                Always(501) => 501,
                _ if is_page => 403,
                Always(status) => status,
                With(status) => {
                    forwarded += 1;
                    status
                }
            };
            let request = format!("{} {} of {name}", row.method, row.target);
            assert_eq!(status, expected, "{request}: {code:?}");
        }
        assert_eq!(sim.azure.log().seen() - forwarded_before, forwarded, "forwarded for {name}");
    }
}
