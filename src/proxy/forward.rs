//! One request, from its head to the end of its response: the main path, top to bottom.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use ureq::{Body, SendBody};

use super::access_log::{RequestOutcome, RequestStats};
use super::debug_log::{self, CapturedHeaders};
use super::failure::{self, Failure};
use super::request_body::{ReplayBuffer, RequestBody};
use super::retry::{self, Attempt, Failed, RetryAction};
use super::upstream_request::UpstreamRequest;
use super::{Proxy, allowed_requests, headers, relay, target, tunnel};
use crate::http1::head::ResponseHead;
use crate::net::poll::{self, Ready};
use crate::server::{ErrorResponse, Exchange, Head, Length};
use crate::token::Token;
use crate::upstream::{Fault, Lease};

/// How long a request waits while there is no usable token.
const TOKEN_WAIT: Duration = Duration::from_secs(5);
/// How long one whose response is 401 waits for a newer token.
const NEWER_TOKEN_WAIT: Duration = Duration::from_secs(10);

impl Proxy {
    /// Forwards a request to the upstream and the response to the client.
    ///
    /// # Errors
    ///
    /// Why there is no response from the upstream: the client gets one of ours, if it is still connected.
    pub(super) fn forward(
        &self,
        head: Head,
        exchange: &mut dyn Exchange,
        stats: &mut RequestStats<'_>,
    ) -> Result<RequestOutcome, Failure> {
        if let Some(callers) = &self.callers {
            stats.caller = Some(callers.identify(&head)?);
        } else {
            stats.caller = exchange.peer().certificate_name.clone();
        }
        if let Some(allowed) = &self.config.allowed_requests {
            allowed_requests::check(allowed, &self.config.base_url.base_path, &head)?;
        }
        let websocket = headers::asks_for_websocket(&head);
        if websocket && exchange.client().is_none() {
            let message = "this build's HTTP server (tiny_http) cannot carry WebSockets";
            return Err(ErrorResponse::request(
                StatusCode::NOT_IMPLEMENTED,
                "websocket_not_supported",
                message,
            )
            .into());
        }
        let captured = CapturedHeaders::capture(&head);
        let mut request = UpstreamRequest::new(&self.config, head, websocket)?;
        stats.has_ephemeral_key = request.has_ephemeral_key;
        if let Some(captured) = captured {
            captured.log_headers(&request, &stats.path);
        }
        let (lease, body) = self.send(&request, exchange, stats)?;
        request.release_head();
        exchange.release_head();
        self.relay_response(&request, lease, body, exchange, stats)
    }

    /// Sends a request, more than once if need be; returns the response's body. The lease holds its head.
    fn send(
        &self,
        request: &UpstreamRequest,
        exchange: &mut dyn Exchange,
        stats: &mut RequestStats<'_>,
    ) -> Result<(Lease, Body), Failure> {
        // First, so that no connection is made for a request that cannot be sent.
        self.token(request, exchange, &stats.path)?;
        let mut replay = ReplayBuffer::new(request.length);
        let (mut is_retry, mut is_replay) = (false, false);
        loop {
            let has_buffered_body = exchange
                .has_buffered_body()
                .map_err(|error| failure::from_fault(&Fault::RequestBody(error)))?;
            let client = exchange.client();
            let lease = self.upstream.acquire(client.as_deref(), is_retry);
            let lease = lease.map_err(|fault| failure::from_fault(&fault))?;
            // Connecting takes time: the token that is sent must be usable now, not before.
            let token = self.token(request, exchange, &stats.path)?;
            lease.prepare(client, &request.method, request.bypass(token.as_deref()), has_buffered_body);
            stats.mark_sent();
            debug_log::sending(&stats.path, has_buffered_body);
            let response = self.attempt(request, &lease, exchange, &mut replay, stats);
            stats.bytes_up = replay.read();

            let failed = match &response {
                // A 401 may also mean missing rights, which no token cures: `reject` limits how often a new one is
                // requested.
                Ok(_)
                    if lease.status() == Some(StatusCode::UNAUTHORIZED)
                        && token.as_ref().is_some_and(|token| self.tokens.reject(token)) =>
                {
                    Failed::TokenRejected
                }
                Err(error) if failure::is_disconnect(error) && lease.is_stale() => Failed::StaleConnection,
                _ => Failed::Otherwise,
            };
            let next = retry::decide(
                failed,
                Attempt {
                    is_unsent: lease.is_unsent(),
                    is_idempotent: request.is_idempotent(),
                    replay: replay.state(),
                    is_retry,
                    is_replay,
                },
            );
            match next {
                RetryAction::RetryOnFreshConnection => {
                    is_retry = true;
                    self.metrics.retries.add("stale_connection");
                    debug_log::retrying(&stats.path, "the upstream closed the idle connection");
                }
                RetryAction::ReplayWithNewerToken
                    if self.wait_for_newer_token(token.as_ref(), exchange)? =>
                {
                    is_replay = true;
                    self.metrics.retries.add("token_rejected");
                    debug_log::retrying(&stats.path, "401, and there is a newer token");
                    // What is left of the 401 response is usually small and already received: then the connection can be
                    // reused.
                    lease.discard_buffered();
                }
                RetryAction::ReplayWithNewerToken | RetryAction::GiveUp => {
                    return response.map(|body| (lease, body)).map_err(|error| failure::from_ureq(&error));
                }
            }
        }
    }

    fn attempt(
        &self,
        request: &UpstreamRequest,
        lease: &Lease,
        exchange: &mut dyn Exchange,
        replay: &mut ReplayBuffer,
        stats: &mut RequestStats<'_>,
    ) -> Result<Body, ureq::Error> {
        let send = |body: SendBody<'_>| self.upstream.send(lease, &request.method, request.framing(), body);
        let sent = match request.length {
            Length::Empty | Length::Known(0) => {
                stats.mark_awaiting();
                send(SendBody::none())
            }
            length => {
                let mut at_end = || stats.mark_awaiting();
                let mut body = RequestBody::new(exchange, lease, replay, length, &mut at_end);
                send(SendBody::from_reader(&mut body))
            }
        };
        match sent {
            Err(error) if matches!(Fault::inside(&error), Some(Fault::EarlyResponse)) => {
                self.upstream.receive_early(lease, &request.method)
            }
            response => response,
        }
    }

    /// Relays the upstream's response, or opens a tunnel for a WebSocket.
    fn relay_response(
        &self,
        request: &UpstreamRequest,
        lease: Lease,
        body: Body,
        exchange: &mut dyn Exchange,
        stats: &mut RequestStats<'_>,
    ) -> Result<RequestOutcome, Failure> {
        let Some((mut head, framing)) = lease.take_response() else {
            return Err(failure::from_fault(&Fault::Internal("a response without a head".into())));
        };
        stats.mark_response(head.status, &head.headers);
        debug_log::response_headers(&stats.path, head.status, &head.headers);
        if self.config.rewrite_location {
            let origin = request.public_origin.as_deref();
            target::rewrite_locations(&mut head.headers, &self.config.base_url, origin);
        }
        let status = head.status;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            drop(body);
            if !request.websocket {
                return Err(failure::bad_response("it switched protocols unasked".into()));
            }
            let _guard = self.metrics.websockets.inc_guard();
            return open_tunnel(head, lease, exchange);
        }
        let _guard = (framing.length() == Length::Unknown).then(|| self.metrics.streams.inc_guard());
        let relayed = relay::relay(head, framing, body.into_reader(), &lease, exchange)?;
        // A client's own credential that is refused is nobody else's business.
        let is_own =
            stats.has_ephemeral_key && matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if let Some(error) = relayed.error.as_ref().filter(|_| !is_own) {
            let recorded = self.upstream_errors.record(error, &stats.path, stats.apim_request_id());
            if let Some((meaning, code)) = recorded {
                self.metrics.upstream_responses.explain(status, meaning);
                stats.upstream_code = code;
            }
        }
        Ok(RequestOutcome::Relayed(status, relayed))
    }

    /// The usable token, waiting for one while the client is connected. None for a request that needs none.
    fn token(
        &self,
        request: &UpstreamRequest,
        exchange: &dyn Exchange,
        path: &str,
    ) -> Result<Option<Arc<Token>>, Failure> {
        if request.has_ephemeral_key {
            return Ok(None);
        }
        if let Some(token) = self.tokens.usable() {
            return Ok(Some(token));
        }
        debug_log::waiting_for_token(path);
        let obtained = self.tokens.obtain_while(TOKEN_WAIT, || is_client_connected(exchange));
        obtained.map(Some).map_err(|unavailable| {
            if is_client_connected(exchange) { failure::no_token(&unavailable) } else { Failure::ClientGone }
        })
    }

    /// Waits for a newer token than this one while the client is connected; whether there is one.
    fn wait_for_newer_token(
        &self,
        token: Option<&Arc<Token>>,
        exchange: &dyn Exchange,
    ) -> Result<bool, Failure> {
        let Some(token) = token else { return Ok(false) };
        let newer = self.tokens.newer_than_while(token, NEWER_TOKEN_WAIT, || is_client_connected(exchange));
        if newer.is_none() && !is_client_connected(exchange) {
            return Err(Failure::ClientGone);
        }
        Ok(newer.is_some())
    }
}

/// Whether the client has not hung up.
fn is_client_connected(exchange: &dyn Exchange) -> bool {
    let client = exchange.client();
    client.is_none_or(|client| poll::peek(&*client, Ready::HANGUP).is_ok_and(|found| !found.hung_up()))
}

fn open_tunnel(
    head: ResponseHead,
    lease: Lease,
    exchange: &mut dyn Exchange,
) -> Result<RequestOutcome, Failure> {
    let mut fields = head.headers;
    if !headers::names_websocket(&fields) {
        return Err(failure::bad_response("it switched to a protocol that was not asked for".into()));
    }
    let Some(mut upstream) = lease.into_tunnel() else {
        return Err(failure::bad_response("there is no connection to tunnel".into()));
    };
    headers::strip_response(&mut fields, false);
    headers::insert_websocket_upgrade(&mut fields);
    exchange.start(StatusCode::SWITCHING_PROTOCOLS, &fields, Length::Empty);
    let mut transferred = tunnel::Tunnelled::default();
    if exchange.flush().is_ok()
        && let Some(client) = exchange.tunnel()
    {
        tunnel::run(client, &mut upstream, &mut transferred);
    }
    Ok(RequestOutcome::Tunnelled(transferred))
}
