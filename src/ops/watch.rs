//! What somebody should know of while it still goes on. What takes too long: a line in the log once a second has shown it, and
//! again whenever it has taken twice as long. Connections that are about to run out: a line, and another one after minutes.

use std::sync::Arc;
use std::time::Duration;

use super::is_near;
use super::metrics::Metrics;
use crate::config::LogLevel;
use crate::log::{self, Seconds, Throttle};
use crate::server::{OpenConnections, dominant_client_hint};
use crate::token::TokenStore;

/// A sign-in usually takes a fraction of a second.
const SLOW_SIGN_IN: Duration = Duration::from_secs(5);
/// Most responses begin within seconds; long reasoning without a stream takes minutes.
pub(super) const SLOW_RESPONSE: Duration = Duration::from_secs(30);
/// How often it is logged that few connections are left.
const REMIND_EVERY: Duration = Duration::from_secs(10 * 60);

/// Finds what is to be logged. To be called every second.
pub(crate) struct Watch {
    metrics: Arc<Metrics>,
    tokens: Arc<TokenStore>,
    /// Host and port of the upstream.
    upstream: String,
    sign_in: Doubling,
    response: Doubling,
    /// Whether the upstream was silent when it was last looked at.
    was_silent: bool,
    clients: OpenConnections,
    max_connections: usize,
    few_left: Throttle,
}

impl Watch {
    /// Nothing was logged yet.
    pub(crate) fn new(
        metrics: Arc<Metrics>,
        tokens: Arc<TokenStore>,
        upstream: String,
        clients: OpenConnections,
        max_connections: usize,
    ) -> Self {
        Self {
            metrics,
            tokens,
            upstream,
            sign_in: Doubling::from(SLOW_SIGN_IN),
            response: Doubling::from(SLOW_RESPONSE),
            was_silent: false,
            clients,
            max_connections,
            few_left: Throttle::every(REMIND_EVERY),
        }
    }

    /// Logs what is due.
    pub(crate) fn look(&mut self) {
        self.look_at_sign_in();
        self.look_at_responses();
        self.look_at_connections();
    }

    fn look_at_sign_in(&mut self) {
        let waiting = self.tokens.status().waiting;
        let so_far = waiting.as_ref().map_or(Duration::ZERO, |waiting| waiting.so_far);
        if let Some(waiting) = waiting.filter(|_| self.sign_in.is_due(so_far)) {
            log::warn(
                "still waiting for the token endpoint",
                &[
                    ("token_endpoint", &waiting.origin),
                    ("waiting", &Seconds(so_far)),
                    (
                        "hint",
                        &"check whether a firewall or proxy holds the response back; auth-proxy tries again by itself",
                    ),
                ],
            );
        }
    }

    fn look_at_responses(&mut self) {
        let oldest = self.metrics.unanswered.oldest().unwrap_or_default();
        let requests = self.metrics.unanswered.older_than(SLOW_RESPONSE);
        let last_response = self.metrics.since_last_response();
        let is_silent = is_silent(oldest, requests, last_response);
        // A wait that began as one slow response and became silence is another matter.
        let becomes_silent = is_silent && !self.was_silent;
        self.was_silent = is_silent;
        if self.response.is_due(oldest) || becomes_silent {
            self.log_response(oldest, requests, last_response, is_silent);
        }
    }

    fn look_at_connections(&self) {
        let (open, limit) = (self.metrics.connections.value(), self.max_connections);
        let Ok(open) = u64::try_from(open) else { return };
        if !is_near(open, limit as u64) || self.few_left.allow().is_none() {
            return;
        }
        let busiest = self.clients.busiest();
        let dominant = busiest.and_then(|(client, of_client)| {
            dominant_client_hint(client, of_client, open).map(|hint| (client, of_client, hint))
        });
        let mut hint = String::new();
        let mut fields: Vec<(&str, &dyn log::Value)> = vec![("connections", &open), ("limit", &limit)];
        if let Some((client, of_client, look_there)) = &dominant {
            fields
                .extend::<[(&str, &dyn log::Value); 2]>([("client", client), ("count_of_client", of_client)]);
            hint = format!("{look_there}; ");
        }
        hint.push_str("start more instances, or raise MAX_CONNECTIONS with descriptors and memory");
        fields.push(("hint", &hint));
        log::warn("few connections are left for new clients", &fields);
    }

    fn log_response(
        &self,
        oldest: Duration,
        requests: usize,
        last_response: Option<Duration>,
        is_silent: bool,
    ) {
        let hint = if is_silent {
            "the connection stands and nothing comes: see the status of the Azure resource; READ_IDLE_TIMEOUT ends the wait"
        } else {
            "other requests get responses: this one may need that long"
        };
        let last_response = last_response.map(Seconds);
        let oldest = Seconds(oldest);
        let mut fields: Vec<(&str, &dyn log::Value)> =
            vec![("upstream", &self.upstream), ("oldest", &oldest), ("requests", &requests)];
        fields.extend(last_response.iter().map(|ago| ("last_response_ago", ago as &dyn log::Value)));
        fields.push(("hint", &hint));
        let level = if is_silent { LogLevel::Warn } else { LogLevel::Info };
        log::event(level, "still waiting for the upstream's response", &fields);
    }
}

/// Whether nobody gets a response, as far as that can be seen: none came since the oldest request was sent, or several have
/// waited while none came. One alone, while others get theirs now and then, is most likely long reasoning.
fn is_silent(oldest: Duration, requests: usize, last_response: Option<Duration>) -> bool {
    let has_none_for = |time: Duration| last_response.is_none_or(|ago| ago >= time);
    oldest >= SLOW_RESPONSE && (has_none_for(oldest) || requests > 1 && has_none_for(SLOW_RESPONSE))
}

/// When a wait is to be logged: after a time, after twice that time, and so on; from the start for the next wait.
struct Doubling {
    first: Duration,
    next: Duration,
}

impl From<Duration> for Doubling {
    fn from(first: Duration) -> Self {
        Self { first, next: first }
    }
}

impl Doubling {
    fn is_due(&mut self, so_far: Duration) -> bool {
        if so_far < self.first {
            self.next = self.first;
            return false;
        }
        let is_due = so_far >= self.next;
        while self.next <= so_far {
            self.next *= 2;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_when_nobody_gets_a_response() {
        // Oldest wait, requests that have waited 30 s, last response; whether that is silence.
        for (oldest, requests, ago, expected) in [
            (0, 0, None, false),
            (29, 0, None, false),
            (30, 1, None, true),
            (30, 1, Some(30), true),
            (30, 1, Some(27), false),
            (33, 2, Some(29), false),
            (33, 2, Some(30), true),
            (300, 1, Some(40), false),
            (300, 1, Some(300), true),
            (300, 9, Some(5), false),
        ] {
            let seconds = Duration::from_secs;
            let found = is_silent(seconds(oldest), requests, ago.map(seconds));
            assert_eq!(found, expected, "{oldest} {requests} {ago:?}");
        }
    }

    #[test]
    fn a_wait_is_logged_after_a_time_and_whenever_it_has_doubled() {
        let mut doubling = Doubling::from(Duration::from_secs(30));
        let logged: Vec<u64> =
            (0..600).filter(|second| doubling.is_due(Duration::from_secs(*second))).collect();
        assert_eq!(logged, [30, 60, 120, 240, 480]);
        assert!(!doubling.is_due(Duration::ZERO), "it is over");
        assert!(doubling.is_due(Duration::from_secs(45)), "the next wait, seen late");
        assert!(!doubling.is_due(Duration::from_secs(59)));
    }
}
