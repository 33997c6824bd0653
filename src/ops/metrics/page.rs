//! The page: every family, in the order in which operators need them.

use std::time::Duration;

use super::text::Text;
use super::{DENIALS, METHODS, STATUSES, SeenStatus};
use crate::log;
use crate::ops::Sources;
use crate::process;
use crate::version;

impl Sources {
    /// The page `/metrics`, as [`super::CONTENT_TYPE`] says.
    pub(crate) fn metrics_page(&self) -> String {
        let mut text = Text::default();
        build(&mut text);
        self.requests(&mut text);
        self.upstream(&mut text);
        self.identity(&mut text);
        process(&mut text, self.metrics.started, self.limits.memory);
        text.finish()
    }

    fn requests(&self, text: &mut Text) {
        let m = &*self.metrics;
        let help = "Completed requests by method and status class; none: the client disconnected before the response.";
        text.family("auth_proxy_requests_total", "counter", help);
        for (method, row) in METHODS.iter().zip(&m.requests) {
            for (status, counter) in STATUSES.iter().zip(row) {
                text.sample(&[("method", method), ("status", status)], counter.value());
            }
        }
        let help = "Completed requests with a caller's key, by its name and status class.";
        text.family("auth_proxy_caller_requests_total", "counter", help);
        for (caller, counts) in m.callers.values() {
            for (status, count) in STATUSES.iter().zip(counts) {
                text.sample(&[("caller", &caller), ("status", status)], count);
            }
        }
        let help = "Time from the request's header section to the upstream's response header section.";
        text.histogram("auth_proxy_time_to_first_byte_seconds", help, &m.first_byte);
        let help = "Time from the request's header section to the end of the response, without WebSockets.";
        text.histogram("auth_proxy_request_duration_seconds", help, &m.duration);
        let help = "Bytes of bodies and WebSockets, counted when the request ends; up: to the upstream.";
        text.family("auth_proxy_transferred_bytes_total", "counter", help);
        text.sample(&[("direction", "up")], m.bytes_up.value());
        text.sample(&[("direction", "down")], m.bytes_down.value());

        for (name, help, gauge) in [
            ("auth_proxy_requests_in_flight", "Requests in flight, including WebSockets.", &m.in_flight),
            ("auth_proxy_streams_open", "Open responses of unknown length (event streams).", &m.streams),
            ("auth_proxy_websockets_open", "Open WebSockets.", &m.websockets),
            ("auth_proxy_connections", "Open client connections.", &m.connections),
        ] {
            text.single(name, "gauge", help, gauge.value());
        }
        let help =
            "Maximum number of simultaneous client connections (MAX_CONNECTIONS or the descriptor limit).";
        text.single("auth_proxy_connections_limit", "gauge", help, self.limits.connections);
        let help = "Requests rejected without contacting the upstream.";
        text.family("auth_proxy_refusals_total", "counter", help);
        for (kind, count) in m.refusals.values() {
            text.sample(&[("kind", kind)], count);
        }
        let help = "Requests rejected because a resource was exhausted.";
        text.family("auth_proxy_overloaded_total", "counter", help);
        for (reason, count) in m.overloads.values() {
            text.sample(&[("reason", reason)], count);
        }
        let help = "TLS handshakes of clients that failed, without those that sent nothing.";
        text.family("auth_proxy_tls_handshake_failures_total", "counter", help);
        for (reason, count) in m.handshake_failures.values() {
            text.sample(&[("reason", reason)], count);
        }
        let validity = self.tls.as_ref().and_then(|tls| tls.validity());
        let help = "Start of validity of TLS_CERT_FILE's certificate; absent without one.";
        text.family("auth_proxy_tls_certificate_not_before_timestamp_seconds", "gauge", help);
        validity.iter().for_each(|it| text.sample(&[], it.not_before_unix));
        let help = "Expiry time of TLS_CERT_FILE's certificate; absent without one.";
        text.family("auth_proxy_tls_certificate_expiry_timestamp_seconds", "gauge", help);
        validity.iter().for_each(|it| text.sample(&[], it.not_after_unix));
        let help =
            "1 if the TLS files have changed and cannot be used, so that what they held before stays in use.";
        text.family("auth_proxy_tls_reload_failing", "gauge", help);
        if let Some(tls) = &self.tls {
            text.sample(&[], u8::from(tls.is_reload_failing()));
        }
        let help = "Requests whose client disconnected before the end of the response.";
        text.single("auth_proxy_client_disconnects_total", "counter", help, m.clients_gone.value());
    }

    fn upstream(&self, text: &mut Text) {
        let m = &*self.metrics;
        let help = "Requests that got no response from the upstream.";
        text.family("auth_proxy_upstream_errors_total", "counter", help);
        for (kind, count) in m.upstream_errors.values() {
            text.sample(&[("kind", kind)], count);
        }
        let help =
            "How long the oldest request without a response of the upstream has been waiting; 0 without one.";
        let oldest = m.unanswered.oldest().unwrap_or_default().as_secs_f64();
        text.single("auth_proxy_upstream_oldest_wait_seconds", "gauge", help, oldest);
        let help = "Responses that the upstream aborted.";
        text.single(
            "auth_proxy_upstream_responses_aborted_total",
            "counter",
            help,
            m.responses_aborted.value(),
        );
        let help = "Responses of the upstream by their exact status, those seen so far.";
        text.family("auth_proxy_upstream_responses_total", "counter", help);
        for SeenStatus { status, count, .. } in m.upstream_responses.values() {
            let status = status.map_or_else(|| "other".to_owned(), |status| status.to_string());
            text.sample(&[("status", &status)], count);
        }
        let help = "Upstream responses whose status needs attention (401, 403, 404, 429).";
        text.family("auth_proxy_upstream_denials_total", "counter", help);
        for (status, counter) in DENIALS.iter().zip(&m.denials) {
            text.sample(&[("status", &status.to_string())], counter.value());
        }
        let help = "Requests retried at the upstream.";
        text.family("auth_proxy_upstream_retries_total", "counter", help);
        for (reason, count) in m.retries.values() {
            text.sample(&[("reason", reason)], count);
        }
    }

    fn identity(&self, text: &mut Text) {
        let status = self.tokens.status();
        let help = "1 if requests are served: there is a usable token and the program is not stopping.";
        text.single("auth_proxy_ready", "gauge", help, u8::from(status.ready()));
        let help = "Expiry time of the access token; absent before the first one.";
        text.family("auth_proxy_token_expiry_timestamp_seconds", "gauge", help);
        if let Some(left) = status.expires_in {
            let end = (self.tokens.clock().unix() + left).saturating_sub(status.expired_for);
            text.sample(&[], end.as_secs());
        }
        let help = "Time since the access token was requested; absent before the first one.";
        text.family("auth_proxy_token_age_seconds", "gauge", help);
        if let Some(age) = status.age {
            text.sample(&[], age.as_secs_f64());
        }
        let help = "Sign-in attempts.";
        text.family("auth_proxy_token_refreshes_total", "counter", help);
        text.sample(&[("result", "success")], status.successes);
        text.sample(&[("result", "failure")], status.failures);
        let help = "Time that attempts to sign in took, with or without success.";
        text.histogram("auth_proxy_sign_in_duration_seconds", help, self.tokens.attempts());
        let help =
            "Seconds that the attempt to sign in has been waiting for a response; 0 while there is none.";
        let waiting = status.waiting.as_ref().map_or(0.0, |waiting| waiting.so_far.as_secs_f64());
        text.single("auth_proxy_sign_in_waiting_seconds", "gauge", help, waiting);
        let help = "Seconds that this machine's clock is ahead of Entra ID's, by its last response; absent before that.";
        text.family("auth_proxy_clock_skew_seconds", "gauge", help);
        if let Some(ahead) = status.clock_ahead {
            text.sample(&[], ahead);
        }
        let help = "1 if the last sign-in attempt failed.";
        let failing = u8::from(status.last_error.is_some());
        text.single("auth_proxy_token_refresh_failing", "gauge", help, failing);
        let help = "Expiry time of the certificate in use; absent without a certificate.";
        text.family("auth_proxy_certificate_expiry_timestamp_seconds", "gauge", help);
        if let Some(current) = &self.certificate {
            text.sample(&[], current.certificate().not_after_unix);
        }
        let help = "1 if the certificate file has changed and cannot be used, or Entra ID does not know its certificate, so that the previous one stays in use.";
        text.family("auth_proxy_credential_reload_failing", "gauge", help);
        if let Some(current) = &self.certificate {
            text.sample(&[], u8::from(current.is_reload_failing()));
        }
        let help = "Threads that panicked (a bug).";
        text.single("auth_proxy_panics_total", "counter", help, self.metrics.panics.value());
        let help = "Log lines dropped because standard error was blocked.";
        text.single("auth_proxy_log_lines_dropped_total", "counter", help, log::dropped());
    }
}

fn build(text: &mut Text) {
    text.family("auth_proxy_build_info", "gauge", "Build information; always 1.");
    let target = version::target();
    let labels = [
        ("version", version::VERSION),
        ("commit", version::COMMIT.unwrap_or("unknown")),
        ("target", &target),
        ("server", version::SERVER),
    ];
    text.sample(&labels, 1);
}

/// The process itself, under the names that every Prometheus client uses. What is not known is left out.
fn process(text: &mut Text, started: Duration, memory_limit: Option<u64>) {
    let help = "Start time of the process since unix epoch in seconds.";
    text.single("process_start_time_seconds", "gauge", help, started.as_secs_f64());
    let help = "Total user and system CPU time spent in seconds.";
    text.single("process_cpu_seconds_total", "counter", help, process::cpu_time().as_secs_f64());
    if let Some(bytes) = process::resident_bytes() {
        text.single("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", bytes);
    }
    let help = "Memory that the container or unit may have; 0 without a limit.";
    text.single("auth_proxy_memory_limit_bytes", "gauge", help, memory_limit.unwrap_or(0));
    if let Some(open) = process::open_descriptors() {
        text.single("process_open_fds", "gauge", "Number of open file descriptors.", open);
    }
    if let Some(limit) = process::descriptor_limit() {
        text.single("process_max_fds", "gauge", "Maximum number of open file descriptors.", limit);
    }
    if let Some(threads) = process::threads() {
        text.single("process_threads", "gauge", "Number of threads.", threads);
    }
}
