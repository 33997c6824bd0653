//! The responses that a test prescribes for either server, and the queue of them that reports when it is empty.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::exchange::Exchange;

/// One prescribed response. Built from one of the constructors, refined by the other methods.
#[derive(Clone, Debug)]
pub struct ScriptedResponse {
    delay: Duration,
    body: When,
    kind: Kind,
}

/// What is done about the request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// It is read before the response.
    First,
    /// The response comes at once, the body is never read, the connection ends.
    Never,
    /// The response comes at once, then the body is read.
    After,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// What the server does without a script.
    Default,
    Respond {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    Steps(Vec<Step>),
    Aadsts(u32),
    Token {
        expires_in: Value,
        refresh_in: Option<Value>,
        access_token: Option<String>,
    },
}

/// A piece of a hand-made response.
#[derive(Clone, Debug)]
pub enum Step {
    /// These bytes, in one write (one TLS record when they fit).
    Write(Vec<u8>),
    /// The same bytes this many times.
    Repeat(Vec<u8>, u64),
    Pause(Duration),
    /// Goes on once the test has counted so far.
    Await(Arc<AtomicU64>, u64),
    /// Reads until the peer closes; when is in the record.
    WaitForPeerClose,
    /// RST.
    Reset,
    /// FIN without TLS close_notify.
    CloseWithoutNotify,
    /// close_notify and FIN, then the next step.
    ShutdownWrite,
    /// The orderly end; also what happens after the last step.
    Close,
    /// The connection stays open for the next request: the last step.
    KeepAlive,
}

impl ScriptedResponse {
    /// What the server does without a script; with a delay, for example.
    pub fn default_behavior() -> Self {
        Self::of(Kind::Default)
    }

    /// A well-formed response with this status and an empty body.
    pub fn status(status: u16) -> Self {
        Self::of(Kind::Respond { status, headers: Vec::new(), body: Vec::new() })
    }

    /// These bytes instead of a response, then the orderly end of the connection.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self::of(Kind::Steps(vec![Step::Write(bytes.into())]))
    }

    /// A hand-made response.
    pub fn steps(steps: impl Into<Vec<Step>>) -> Self {
        Self::of(Kind::Steps(steps.into()))
    }

    /// RST instead of a response.
    pub fn drop_connection() -> Self {
        Self::steps([Step::Reset])
    }

    /// No response for as long as the peer waits.
    pub fn silence() -> Self {
        Self::steps([Step::WaitForPeerClose])
    }

    /// Entra's refusal with this number, in its own words.
    pub fn aadsts(code: u32) -> Self {
        Self::of(Kind::Aadsts(code))
    }

    /// A token, if the request is good, with this `expires_in`: a number, or whatever a test wants there.
    pub fn token(expires_in: impl Into<Value>) -> Self {
        Self::of(Kind::Token { expires_in: expires_in.into(), refresh_in: None, access_token: None })
    }

    fn of(kind: Kind) -> Self {
        Self { delay: Duration::ZERO, body: When::First, kind }
    }

    /// Waits first. The peer's leaving meanwhile is noticed.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Responds before reading the body, never reads it, and closes.
    pub fn early(mut self) -> Self {
        self.body = When::Never;
        self
    }

    /// Responds before reading the body, then reads it.
    pub fn early_then_read(mut self) -> Self {
        self.body = When::After;
        self
    }

    /// Adds a header to a well-formed response; each character of the value below U+0100 is one byte.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match &mut self.kind {
            Kind::Respond { headers, .. } => headers.push((name.into(), value.into())),
            _ => panic!("only ScriptedResponse::status takes headers"),
        }
        self
    }

    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        match &mut self.kind {
            Kind::Respond { body, .. } => *body = bytes.into(),
            _ => panic!("only ScriptedResponse::status takes a body"),
        }
        self
    }

    pub fn json(self, value: &Value) -> Self {
        self.header("Content-Type", "application/json").body(value.to_string())
    }

    pub fn refresh_in(mut self, seconds: impl Into<Value>) -> Self {
        match &mut self.kind {
            Kind::Token { refresh_in, .. } => *refresh_in = Some(seconds.into()),
            _ => panic!("only ScriptedResponse::token takes refresh_in"),
        }
        self
    }

    /// Issues this text; Azure accepts it like any other token.
    pub fn access_token(mut self, token: &str) -> Self {
        match &mut self.kind {
            Kind::Token { access_token, .. } => *access_token = Some(token.into()),
            _ => panic!("only ScriptedResponse::token takes an access_token"),
        }
        self
    }

    /// Plays delay and body; returns the kind when it is not one that this function can play itself.
    pub(super) fn play(self, exchange: &mut Exchange<'_>) -> io::Result<Option<Kind>> {
        let deferred = matches!(self.kind, Kind::Default | Kind::Aadsts(_) | Kind::Token { .. });
        if self.body == When::First && !deferred {
            exchange.read_body(0)?;
        }
        if self.body == When::Never {
            exchange.close_after();
        }
        exchange.think(self.delay)?;
        match self.kind {
            Kind::Respond { status, headers, body } => {
                let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                exchange.respond(status, &headers, &body)?;
            }
            Kind::Steps(steps) => {
                for step in steps {
                    if exchange.conn.is_closed() || matches!(step, Step::KeepAlive) {
                        return Ok(None);
                    }
                    step.play(exchange)?;
                }
                exchange.close_after();
            }
            kind => return Ok(Some(kind)),
        }
        if self.body == When::After {
            exchange.read_body(0)?;
        }
        Ok(None)
    }
}

impl Step {
    fn play(self, exchange: &mut Exchange<'_>) -> io::Result<()> {
        match self {
            Self::Write(bytes) => exchange.send(&bytes)?,
            Self::Repeat(bytes, times) => {
                for _ in 0..times {
                    exchange.send(&bytes)?;
                }
            }
            Self::Pause(pause) => exchange.think(pause)?,
            Self::Await(counter, least) => {
                while counter.load(Ordering::SeqCst) < least && !exchange.conn.is_closed() {
                    exchange.think(Duration::from_millis(1))?;
                }
            }
            Self::WaitForPeerClose => exchange.think(Duration::from_secs(24 * 3600))?,
            Self::Reset => exchange.conn.reset(),
            Self::CloseWithoutNotify => exchange.conn.close_without_notify(),
            Self::ShutdownWrite => exchange.conn.shutdown_write(),
            Self::Close => exchange.conn.close(),
            Self::KeepAlive => {}
        }
        Ok(())
    }
}

/// Prescribed responses in order, each used once.
#[derive(Default)]
pub struct Script {
    state: Mutex<ScriptState>,
}

#[derive(Default)]
struct ScriptState {
    responses: VecDeque<ScriptedResponse>,
    /// Every response while `responses` is empty.
    lasting: Option<ScriptedResponse>,
    strict: bool,
    overrun: u64,
}

impl Script {
    pub fn extend(&self, responses: impl IntoIterator<Item = ScriptedResponse>) {
        self.state.lock().unwrap().responses.extend(responses);
    }

    /// Every response from now on, after the prescribed ones; `None` ends that.
    pub fn set_lasting(&self, response: Option<ScriptedResponse>) {
        self.state.lock().unwrap().lasting = response;
    }

    /// From now on a request without a prescribed response is a fault of the test.
    pub fn strict(&self) {
        self.state.lock().unwrap().strict = true;
    }

    /// How many responses have not been used.
    pub fn left(&self) -> usize {
        self.state.lock().unwrap().responses.len()
    }

    /// How many requests found a strict script empty.
    pub fn overrun(&self) -> u64 {
        self.state.lock().unwrap().overrun
    }

    /// The next response; the default behavior when a lenient script is empty.
    pub(super) fn next(&self, who: &str) -> ScriptedResponse {
        let mut state = self.state.lock().unwrap();
        if let Some(response) = state.responses.pop_front() {
            return response;
        }
        if let Some(response) = &state.lasting {
            return response.clone();
        }
        if !state.strict {
            return ScriptedResponse::default_behavior();
        }
        state.overrun += 1;
        let text = format!("{who}: the script has no more responses");
        eprintln!("{text}");
        ScriptedResponse::status(500).header("Content-Type", "text/plain").body(text)
    }
}
