//! The fake Azure OpenAI: a gate that accepts nothing but a good bearer token, then one file per kind of endpoint.

mod audio;
mod chat;
mod embeddings;
mod files;
mod gate;
mod images;
mod probes;
mod realtime;
mod responses;
mod sse;
mod throttle;
mod websocket;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use serde_json::{Value, json};

use super::exchange::Exchange;
use super::record::{Log, Request, latin1};
use super::script::Script;
use super::script::{Kind, ScriptedResponse};
use super::server::Server;
use super::tokens::{self, Tokens};

/// A running fake of Azure OpenAI.
pub struct Azure {
    pub server: Server,
    shared: Arc<AzureServer>,
}

struct AzureServer {
    log: Arc<Log>,
    tokens: Arc<Tokens>,
    script: Script,
    fixed: Mutex<HashMap<String, ScriptedResponse>>,
    files: files::Store,
    throttle: throttle::Throttle,
    ephemeral_keys: realtime::EphemeralKeys,
    /// Between the events of a stream.
    pause: Mutex<Duration>,
}

/// What a request asks for, once it has passed the gate.
struct Call<'a> {
    path: &'a str,
    query: &'a str,
    body: &'a [u8],
    /// The body, when it is JSON.
    json: Value,
    /// From the body, or the deployment in the path.
    model: String,
    pause: Duration,
}

impl Azure {
    pub(super) fn start(
        tls: Option<Arc<ServerConfig>>,
        tokens: Arc<Tokens>,
        options: &super::Options,
    ) -> Self {
        let log = Arc::new(Log::new(options.on_azure_request.clone()));
        let shared = Arc::new(AzureServer {
            log: log.clone(),
            tokens,
            script: Script::default(),
            fixed: Mutex::default(),
            files: files::Store::default(),
            throttle: throttle::Throttle::default(),
            ephemeral_keys: realtime::EphemeralKeys::default(),
            pause: Mutex::new(options.pause),
        });
        let handler = shared.clone();
        let server = Server::start_at(
            (options.azure_host, options.azure_port).into(),
            tls,
            log,
            Arc::new(move |exchange| handler.handle(exchange)),
        );
        Self { server, shared }
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log.requests()
    }

    pub fn log(&self) -> &Log {
        &self.shared.log
    }

    /// The newest request to this path, waiting for it. Panics when it does not come.
    pub fn request_to(&self, path: &str) -> Request {
        self.log()
            .wait(path, |requests| requests.iter().rev().find(|request| request.path() == path).cloned())
    }

    /// As [`Azure::request_to`], once its response is complete or given up.
    pub fn finished_request_to(&self, path: &str) -> Request {
        let wanted = |request: &&Request| request.path() == path && request.done.is_some();
        self.log().wait(path, |requests| requests.iter().rev().find(wanted).cloned())
    }

    /// Prescribes the next responses, whatever is asked. They are given before the gate.
    pub fn script(&self, responses: impl IntoIterator<Item = ScriptedResponse>) {
        self.shared.script.extend(responses);
    }

    /// As [`Azure::script`]; a request after the last of them fails the test when the simulator is dropped.
    pub fn strict_script(&self, responses: impl IntoIterator<Item = ScriptedResponse>) {
        self.shared.script.extend(responses);
        self.shared.script.strict();
    }

    /// The next response is these bytes, then the orderly end of the connection.
    pub fn raw(&self, bytes: impl Into<Vec<u8>>) {
        self.script([ScriptedResponse::raw(bytes)]);
    }

    /// Prescribes every response to this path, after the gate.
    pub fn at(&self, path: &str, response: ScriptedResponse) {
        self.shared.fixed.lock().unwrap().insert(path.to_owned(), response);
    }

    pub fn script_left(&self) -> usize {
        self.shared.script.left()
    }

    pub(super) fn overrun(&self) -> u64 {
        self.shared.script.overrun()
    }

    /// Between the events of a stream, from now on.
    pub fn set_pause(&self, pause: Duration) {
        *self.shared.pause.lock().unwrap() = pause;
    }

    /// Makes every token so far useless, as an administrator can.
    pub fn revoke_tokens(&self) {
        self.shared.tokens.revoke_all();
    }

    /// An outage begins: the port refuses.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// The outage ends.
    pub fn restart(&self) {
        self.server.restart();
    }
}

impl AzureServer {
    fn handle(&self, exchange: &mut Exchange<'_>) -> io::Result<()> {
        let scripted = self.script.next("azure").play(exchange)?;
        match scripted {
            Some(Kind::Default) => {}
            Some(_) => panic!("only Entra ID responds with tokens and AADSTS numbers"),
            None => return Ok(()),
        }
        let target = latin1(&exchange.head.target);
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        if let Err(refusal) = gate::check(&exchange.head, path, query, &self.tokens, &self.ephemeral_keys) {
            exchange.read_body(0)?;
            exchange.note(&refusal.reason);
            return exchange.json(refusal.status, &usual_headers().borrow(), &refusal.body);
        }
        let fixed = self.fixed.lock().unwrap().get(path).cloned();
        if let Some(response) = fixed
            && response.play(exchange)?.is_none()
        {
            return Ok(());
        }
        if let Some(name) = path.split_once("/sim/").map(|(_, name)| name) {
            return probes::respond(exchange, name, query);
        }
        let body = exchange.read_body(16 << 20)?;
        let json: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let model = json["model"].as_str().map_or_else(|| deployment(path), str::to_owned);
        let pause = *self.pause.lock().unwrap();
        self.endpoint(exchange, &Call { path, query, body: &body, json, model, pause })
    }

    fn endpoint(&self, exchange: &mut Exchange<'_>, call: &Call<'_>) -> io::Result<()> {
        let Some(operation) = operation(call) else {
            let error = json!({"error": {"code": "404", "message": "Resource not found"}});
            return exchange.json(404, &usual_headers().borrow(), &error);
        };
        if let Some((status, retry, error)) = prescribed_error(&call.model) {
            let usual = usual_headers();
            return exchange.json(status, &[&usual.borrow()[..], retry].concat(), &error);
        }
        if let Some(left) = self.throttle.left(&call.model) {
            return throttle::refuse(exchange, left);
        }
        match operation {
            "chat/completions" => chat::chat(exchange, call),
            "completions" => chat::completions(exchange, call),
            "embeddings" => embeddings::embeddings(exchange, call),
            "models" => embeddings::models(exchange),
            "responses" => responses::responses(exchange, call),
            "images/generations" => images::generations(exchange),
            "audio/speech" => audio::speech(exchange),
            "audio/transcriptions" | "audio/translations" => audio::transcriptions(exchange, call),
            "realtime" => realtime::realtime(exchange, call.path),
            "realtime/client_secrets" => self.ephemeral_keys.mint(exchange),
            "realtime/calls" => realtime::calls(exchange, call.body),
            _ => self.files.respond(exchange, call, operation),
        }
    }
}

/// The part of the path after the prefix that says how it is addressed. Without an api-version, or under `/v1`
/// alone, Azure knows nothing.
fn operation<'a>(call: &Call<'a>) -> Option<&'a str> {
    let versioned = super::form::query(call.query, "api-version").is_some();
    // Foundry puts the same paths below a project.
    let (_, rest) = call.path.split_once("/openai/")?;
    if let Some(rest) = rest.strip_prefix("v1/") {
        return Some(rest.trim_end_matches('/'));
    }
    let operation =
        rest.strip_prefix("deployments/").map_or(Some(rest), |rest| Some(rest.split_once('/')?.1));
    operation.filter(|_| versioned)
}

fn deployment(path: &str) -> String {
    let rest = path.split_once("/deployments/").map_or("", |(_, rest)| rest);
    rest.split('/').next().filter(|name| !name.is_empty()).unwrap_or("gpt-4o").to_owned()
}

type Prescribed = (u16, &'static [(&'static str, &'static str)], Value);

/// Models whose name asks for a failure.
fn prescribed_error(model: &str) -> Option<Prescribed> {
    match model {
        "error-401" => Some((
            401,
            &[],
            json!({"error": {"code": "PermissionDenied", "message":
                "The principal lacks the required data action to perform POST operation."}}),
        )),
        "error-404" => Some((
            404,
            &[],
            json!({"error": {"code": "DeploymentNotFound", "message":
                "The API deployment for this resource does not exist."}}),
        )),
        "error-429" => Some((
            429,
            &[("retry-after", "7"), ("retry-after-ms", "6543"), ("x-ratelimit-reset-requests", "7")],
            json!({"error": {"code": "429", "message":
                "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have \
                 exceeded call rate limit of your current OpenAI S0 pricing tier. Please retry after 7 seconds."}}),
        )),
        "error-500" => Some((
            500,
            &[],
            json!({"error": {"code": "InternalServerError", "message": "Internal server error"}}),
        )),
        "error-content-filter" => Some((
            400,
            &[],
            json!({"error": {
                "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
                "type": null, "param": "prompt", "code": "content_filter", "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation",
                    "content_filter_result": {"violence": {"filtered": true, "severity": "medium"}}},
            }}),
        )),
        _ => None,
    }
}

/// The headers that every response of Azure carries.
struct UsualHeaders {
    request_id: String,
    apim_request_id: String,
}

fn usual_headers() -> UsualHeaders {
    UsualHeaders { request_id: tokens::uuid(), apim_request_id: tokens::uuid() }
}

impl UsualHeaders {
    fn borrow(&self) -> [(&str, &str); 9] {
        [
            ("apim-request-id", &self.apim_request_id),
            ("x-request-id", &self.request_id),
            ("x-ms-region", "Simulated Central"),
            ("x-ratelimit-remaining-requests", "249"),
            ("x-ratelimit-remaining-tokens", "249990"),
            ("x-ms-client-request-id", "Not-Set"),
            ("x-content-type-options", "nosniff"),
            ("azureml-model-session", "d000-simulated"),
            ("Strict-Transport-Security", "max-age=31536000; includeSubDomains; preload"),
        ]
    }
}

/// JSON with the usual headers.
fn ok(exchange: &mut Exchange<'_>, value: &Value) -> io::Result<()> {
    exchange.json(200, &usual_headers().borrow(), value)
}

fn unix() -> i64 {
    super::clock::unix()
}
