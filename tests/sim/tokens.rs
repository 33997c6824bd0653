//! The tokens that the fake Entra ID handed out, as the fake Azure OpenAI knows them.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::json;

use super::clock;

/// A token with its fate.
#[derive(Clone, Debug)]
pub struct Issued {
    pub token: String,
    /// The scope without `/.default`.
    pub audience: String,
    pub at: Instant,
    pub expires: Instant,
    pub revoked: bool,
}

/// Every token of one simulator.
#[derive(Default)]
pub struct Tokens {
    issued: Mutex<Vec<Issued>>,
}

impl Tokens {
    /// Every token so far, oldest first.
    pub fn issued(&self) -> Vec<Issued> {
        self.issued.lock().unwrap().clone()
    }

    /// Makes Azure refuse every token so far.
    pub fn revoke_all(&self) {
        self.issued.lock().unwrap().iter_mut().for_each(|issued| issued.revoked = true);
    }

    /// Whether Azure accepts this token now, or why not.
    pub fn check(&self, token: &str, audience: &str) -> Result<(), &'static str> {
        let issued = self.issued.lock().unwrap();
        let found = issued.iter().rev().find(|issued| issued.token == token);
        let found = found.ok_or("the token is unknown")?;
        if found.revoked {
            return Err("the token is revoked");
        }
        if Instant::now() >= found.expires {
            return Err("the token has expired");
        }
        if found.audience != audience {
            return Err("the token is for another audience");
        }
        Ok(())
    }

    pub(super) fn issue(&self, token: Option<String>, scope: &str, client: &str, life: Duration) -> String {
        let audience = scope.strip_suffix("/.default").unwrap_or(scope).to_owned();
        let token = token.unwrap_or_else(|| make(&audience, client, life));
        let at = Instant::now();
        let issued = Issued { token: token.clone(), audience, at, expires: at + life, revoked: false };
        self.issued.lock().unwrap().push(issued);
        token
    }
}

/// Shaped and sized like a real one; the signature is random, which makes it unique.
fn make(audience: &str, client: &str, life: Duration) -> String {
    let now = clock::unix();
    let header = json!({"typ": "JWT", "alg": "RS256", "x5t": "simulated", "kid": "simulated"});
    let claims = json!({
        "aud": audience, "iss": "https://sts.windows.net/simulated/", "iat": now, "nbf": now,
        "exp": now + i64::try_from(life.as_secs()).unwrap_or(0), "appid": client, "appidacr": "2", "tid": "simulated",
        "idtyp": "app", "ver": "1.0", "xms_padding": "simulated ".repeat(50),
    });
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(&header), part(&claims), URL_SAFE_NO_PAD.encode(random::<256>()))
}

/// Random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).unwrap();
    bytes
}

/// A random UUID of version 4.
pub fn uuid() -> String {
    let mut bytes = random::<16>();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = super::exchange::hex(&bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
