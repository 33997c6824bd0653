//! A scripted token endpoint, a scripted certificate source, and a fixture that puts them together.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::status::RefresherState;
use super::{Class, ClientAssertion, Credential, Endpoint, Grant, TokenError, TokenStore};
use crate::clock::{Clock, MockClock};
use crate::identity::AssertionSource;
use crate::report::Problem;
use crate::secret::Secret;

pub(super) type TokenResult = Result<Grant, TokenError>;
type ScriptedResponse = Box<dyn FnOnce() -> TokenResult + Send>;

/// The script, held by the test; its end reports what did not go as written.
#[derive(Default)]
pub(super) struct Script {
    responses: Mutex<VecDeque<ScriptedResponse>>,
    requests: AtomicU64,
    unexpected: AtomicU64,
}

impl Script {
    /// The next request gets this response.
    pub(super) fn then(&self, response: impl FnOnce() -> TokenResult + Send + 'static) {
        self.responses.lock().unwrap_or_else(PoisonError::into_inner).push_back(Box::new(response));
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// The rest of the script need not be played.
    pub(super) fn forget(&self) {
        self.responses.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn play(&self) -> TokenResult {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let response = self.responses.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        match response {
            Some(response) => response(),
            None => {
                // A panic here would be caught by the refresher, as it should; the fixture reports it in the end.
                self.unexpected.fetch_add(1, Ordering::SeqCst);
                Err(TokenError::transient("the test's script has no more responses"))
            }
        }
    }

    fn check(&self) {
        let unexpected = self.unexpected.load(Ordering::SeqCst);
        assert_eq!(
            unexpected, 0,
            "the token endpoint's script was empty: {unexpected} unexpected token requests"
        );
        let left = self.responses.lock().unwrap_or_else(PoisonError::into_inner).len();
        assert_eq!(left, 0, "{left} scripted token responses were never requested");
    }
}

struct Scripted(Arc<Script>);

impl Endpoint for Scripted {
    fn request(&mut self, _: &Secret<String>) -> TokenResult {
        self.0.play()
    }

    fn origin(&self) -> &str {
        "https://login.test"
    }
}

/// What the certificate source does next.
#[derive(Default)]
pub(super) struct File {
    pub(super) changed: AtomicBool,
    pub(super) broken: AtomicBool,
    pub(super) assertions: AtomicU64,
}

struct ScriptedSource(Arc<File>);

impl AssertionSource for ScriptedSource {
    fn assertion(&mut self) -> Result<Secret<String>, Problem> {
        self.0.changed.store(false, Ordering::SeqCst);
        if self.0.broken.load(Ordering::SeqCst) {
            return Err(Problem::new("the file is empty").hint("fill it"));
        }
        let count = self.0.assertions.fetch_add(1, Ordering::SeqCst);
        Ok(Secret::new(format!("assertion-{count}")))
    }

    fn changed(&mut self) -> bool {
        self.0.changed.load(Ordering::SeqCst)
    }
}

/// Everything but the refresher, on a clock that stands still.
pub(super) struct Fixture {
    pub(super) mock_clock: Arc<MockClock>,
    pub(super) store: Arc<TokenStore>,
    pub(super) script: Arc<Script>,
    pub(super) file: Arc<File>,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let mock_clock = MockClock::at_unix(1_700_000_000);
        let store = TokenStore::new(Clock::mock(Arc::clone(&mock_clock)));
        Self { mock_clock, store, script: Arc::default(), file: Arc::default() }
    }

    pub(super) fn credential(&self) -> Box<dyn Credential> {
        self.credential_with(Box::new(Scripted(Arc::clone(&self.script))))
    }

    /// The same for another endpoint than the scripted one.
    pub(super) fn credential_with(&self, endpoint: Box<dyn Endpoint>) -> Box<dyn Credential> {
        Box::new(ClientAssertion::new(Box::new(ScriptedSource(Arc::clone(&self.file))), endpoint))
    }

    pub(super) fn advance(&self, seconds: u64) {
        self.mock_clock.advance(Duration::from_secs(seconds));
    }

    /// What a request would carry now.
    pub(super) fn bearer(&self) -> Option<String> {
        self.store.usable().map(|token| token.bearer().to_str().unwrap().to_owned())
    }

    pub(super) fn state(&self) -> RefresherState {
        self.store.status().refresher
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.script.check();
        }
    }
}

/// A store whose refresher has died.
pub(crate) fn store_with_dead_refresher() -> Arc<TokenStore> {
    let fixture = Fixture::new();
    fixture.store.mark_died();
    Arc::clone(&fixture.store)
}

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A response with this token that lives for this many seconds.
pub(super) fn granted(token: &'static str, lifetime: u64) -> impl FnOnce() -> TokenResult + Send + 'static {
    move || Ok(Grant::new(token, secs(lifetime), None).unwrap())
}

pub(super) fn down() -> TokenResult {
    Err(TokenError {
        is_unreachable: true,
        ..TokenError::transient("the token endpoint could not be reached")
    })
}

pub(super) fn busy() -> TokenResult {
    Err(TokenError { status: Some(503), ..TokenError::transient("the token endpoint responded 503") })
}

pub(super) fn refused() -> TokenResult {
    Err(TokenError {
        status: Some(401),
        code: Some(700_016),
        error: Some("unauthorized_client".into()),
        hints: vec!["check AZURE_CLIENT_ID".into()],
        trace_id: Some("trace".into()),
        correlation_id: Some("correlation".into()),
        ..TokenError::new(Class::Permanent, "Entra ID gave no token: AADSTS700016")
    })
}

pub(super) fn throttled(seconds: u64) -> impl FnOnce() -> TokenResult + Send + 'static {
    move || {
        let failure = TokenError::transient("the token endpoint responded 429");
        Err(TokenError { status: Some(429), retry_after: Some(secs(seconds)), ..failure })
    }
}
