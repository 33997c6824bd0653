//! The fake Entra ID: one token endpoint that believes nothing.

mod grant;

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use serde_json::{Value, json};

use super::aadsts::AadstsError;
use super::certs::Registered;
use super::clock;
use super::exchange::Exchange;
use super::record::{Log, Request};
use super::script::Script;
use super::script::{Kind, ScriptedResponse};
use super::server::Server;
use super::tokens::{self, Issued, Tokens};

/// The audience of a managed identity's token that is a federated credential of the application.
const EXCHANGE: &str = "api://AzureADTokenExchange";

/// A running fake of Entra ID.
pub struct Entra {
    pub server: Server,
    shared: Arc<EntraServer>,
}

struct EntraServer {
    log: Arc<Log>,
    tokens: Arc<Tokens>,
    script: Script,
    scheme: &'static str,
    state: Mutex<EntraState>,
}

struct EntraState {
    tenant: String,
    client_id: String,
    certificates: Vec<Registered>,
    federated: Option<String>,
    lifetime: u64,
    refresh_in: Option<u64>,
    access_token: Option<String>,
    fail_rate: f64,
    clock_offset: i64,
    skew: i64,
    seen: HashSet<String>,
}

impl Entra {
    pub(super) fn start(
        tls: Option<Arc<ServerConfig>>,
        tokens: Arc<Tokens>,
        options: &super::Options,
        certificate: Registered,
    ) -> Self {
        let log = Arc::new(Log::new(None));
        let shared = Arc::new(EntraServer {
            log: log.clone(),
            tokens,
            script: Script::default(),
            scheme: if tls.is_some() { "https" } else { "http" },
            state: Mutex::new(EntraState {
                tenant: options.tenant.clone(),
                client_id: options.client_id.clone(),
                certificates: vec![certificate],
                federated: None,
                lifetime: options.token_lifetime,
                refresh_in: options.refresh_in,
                access_token: options.access_token.clone(),
                fail_rate: 0.0,
                clock_offset: 0,
                skew: 0,
                seen: HashSet::new(),
            }),
        });
        let handler = shared.clone();
        let server =
            Server::start(options.entra_port, tls, log, Arc::new(move |exchange| handler.handle(exchange)));
        Self { server, shared }
    }

    /// The token endpoint again, on another port with another certificate: the proxy of AKS identity bindings.
    pub fn token_proxy(&self, tls: Arc<ServerConfig>) -> Server {
        let handler = self.shared.clone();
        Server::start(
            0,
            Some(tls),
            self.shared.log.clone(),
            Arc::new(move |exchange| handler.handle(exchange)),
        )
    }

    /// Every request so far. Its `note` says "token issued" or why it was refused.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log.requests()
    }

    pub fn log(&self) -> &Log {
        &self.shared.log
    }

    /// Every token handed out so far.
    pub fn issued(&self) -> Vec<Issued> {
        self.shared.tokens.issued()
    }

    /// Prescribes the next responses.
    pub fn script(&self, responses: impl IntoIterator<Item = ScriptedResponse>) {
        self.shared.script.extend(responses);
    }

    /// Prescribes the next responses; a request after the last of them gets 500 "the script has no more
    /// responses", and fails the test when the simulator is dropped.
    pub fn strict_script(&self, responses: impl IntoIterator<Item = ScriptedResponse>) {
        self.shared.script.extend(responses);
        self.shared.script.strict();
    }

    /// Prescribes every response from now on; `None` ends that.
    pub fn set_lasting_response(&self, response: Option<ScriptedResponse>) {
        self.shared.script.set_lasting(response);
    }

    /// How many prescribed responses are left.
    pub fn script_left(&self) -> usize {
        self.shared.script.left()
    }

    pub(super) fn overrun(&self) -> u64 {
        self.shared.script.overrun()
    }

    /// Uploads the first certificate of this PEM text to the application.
    pub fn register(&self, pem: &str) {
        let certificate = Registered::from_pem(pem);
        self.state(|state| state.certificates.push(certificate));
    }

    /// The same in place of every certificate before, in one step.
    pub fn register_only(&self, pem: &str) {
        let certificate = Registered::from_pem(pem);
        self.state(|state| state.certificates = vec![certificate]);
    }

    /// Removes every certificate from the application.
    pub fn unregister_all(&self) {
        self.state(|state| state.certificates.clear());
    }

    /// Accepts this JWT of a federated identity as the assertion.
    pub fn expect_federated(&self, jwt: &str) {
        self.state(|state| state.federated = Some(jwt.to_owned()));
    }

    /// Of the tokens from now on, in seconds.
    pub fn set_lifetime(&self, expires_in: u64, refresh_in: Option<u64>) {
        self.state(|state| (state.lifetime, state.refresh_in) = (expires_in, refresh_in));
    }

    /// The share of requests that fail, half of them with 503 and half with a reset.
    pub fn set_fail_rate(&self, rate: f64) {
        self.state(|state| state.fail_rate = rate);
    }

    /// Moves the server's clock, Date header included, and says by how much clocks may differ.
    pub fn set_clock(&self, offset: i64, skew: i64) {
        self.state(|state| (state.clock_offset, state.skew) = (offset, skew));
    }

    /// A good token without a request, for tests that talk to Azure directly.
    pub fn issue(&self) -> String {
        let (client, life) =
            self.state(|state| (state.client_id.clone(), Duration::from_secs(state.lifetime)));
        self.shared.tokens.issue(None, "https://cognitiveservices.azure.com/.default", &client, life)
    }

    /// An outage begins: the port refuses.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// The outage ends.
    pub fn restart(&self) {
        self.server.restart();
    }

    fn state<T>(&self, change: impl FnOnce(&mut EntraState) -> T) -> T {
        change(&mut self.shared.state.lock().unwrap())
    }
}

impl EntraServer {
    fn handle(&self, exchange: &mut Exchange<'_>) -> io::Result<()> {
        let (offset, fail_rate) = {
            let state = self.state.lock().unwrap();
            (state.clock_offset, state.fail_rate)
        };
        exchange.clock_offset = offset;
        let Some(kind) = self.script.next("entra").play(exchange)? else { return Ok(()) };
        let body = exchange.read_body(1 << 20)?;
        if f64::from(u16::from_be_bytes(tokens::random())) / 65_536.0 < fail_rate {
            exchange.note("failed by chance");
            if tokens::random::<1>()[0].is_multiple_of(2) {
                exchange.conn.reset();
                return Ok(());
            }
            return self.refuse(exchange, &AadstsError::typical(90033));
        }
        if let Kind::Aadsts(code) = kind {
            return self.refuse(exchange, &AadstsError::typical(code));
        }
        let is_exchanged = |assertion: &str| self.tokens.check(assertion, EXCHANGE).is_ok();
        let verdict =
            grant::judge(exchange, &body, self.scheme, &mut self.state.lock().unwrap(), &is_exchanged);
        match verdict {
            Ok(scope) => self.issue(exchange, kind, &scope),
            Err(refusal) => self.refuse(exchange, &refusal),
        }
    }

    fn issue(&self, exchange: &mut Exchange<'_>, kind: Kind, scope: &str) -> io::Result<()> {
        let (expires_in, refresh_in, given, client) = {
            let state = self.state.lock().unwrap();
            let client = state.client_id.clone();
            match kind {
                Kind::Token { expires_in, refresh_in, access_token } => {
                    (expires_in, refresh_in, access_token, client)
                }
                _ => {
                    let refresh_in = state.refresh_in.map(|seconds| json!(seconds));
                    (json!(state.lifetime), refresh_in, state.access_token.clone(), client)
                }
            }
        };
        let seconds = expires_in.as_u64().or_else(|| expires_in.as_str()?.parse().ok());
        // A lifetime that is no number: the token works for an hour, whatever the proxy makes of it.
        let life = Duration::from_secs(seconds.unwrap_or(3600).min(100 * 365 * 86_400));
        let token = self.tokens.issue(given, scope, &client, life);
        let mut response = json!({
            "token_type": "Bearer", "expires_in": expires_in, "ext_expires_in": expires_in, "access_token": token,
        });
        if let Some(refresh_in) = refresh_in {
            response["refresh_in"] = refresh_in;
        }
        exchange.note("token issued");
        respond(exchange, 200, &tokens::uuid(), &response)
    }

    fn refuse(&self, exchange: &mut Exchange<'_>, refusal: &AadstsError) -> io::Result<()> {
        exchange.note(&format!("AADSTS{}: {}", refusal.code, refusal.text));
        let (trace_id, correlation_id) = (tokens::uuid(), tokens::uuid());
        let body = refusal.body(clock::unix() + exchange.clock_offset, &trace_id, &correlation_id);
        respond(exchange, refusal.class().0, &trace_id, &body)
    }
}

fn respond(exchange: &mut Exchange<'_>, status: u16, request_id: &str, body: &Value) -> io::Result<()> {
    let headers = [
        ("Cache-Control", "no-store, no-cache"),
        ("Pragma", "no-cache"),
        ("Content-Type", "application/json; charset=utf-8"),
        ("Expires", "-1"),
        ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
        ("X-Content-Type-Options", "nosniff"),
        ("x-ms-request-id", request_id),
        ("x-ms-ests-server", "2.1.0 - simulated"),
        (
            "Set-Cookie",
            "fpc=simulated; expires=Wed, 23-Dec-2026 22:37:13 GMT; path=/; secure; HttpOnly; SameSite=None",
        ),
        ("Retry-After", "60"),
    ];
    // Only a throttled response says when to come back.
    let headers = if status == 429 { &headers[..] } else { &headers[..headers.len() - 1] };
    exchange.respond(status, headers, body.to_string().as_bytes())
}
