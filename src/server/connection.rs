//! One connection, from its first byte to its last.

use std::io::{self, Read as _};
use std::net::Shutdown as Side;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{StatusCode, Version};

use super::error_response::{ErrorResponse, Overload};
use super::exchange::Http1Exchange;
use super::input::Input;
use super::limits::{Permit, Semaphore};
use super::shutdown::Shutdown;
use super::{HandshakeError, Head, Limits, Peer, Service};
use crate::fields;
use crate::http1::head::{self, Scan};
use crate::net::buffers;
use crate::net::poll::{self, Ready};
use crate::net::{Socket, Stream, TlsAcceptor};

/// A head that is longer than one buffer needs a permit.
const LARGE_HEAD_BYTES: usize = buffers::SMALL;
/// At the shutdown, a connection whose first request has not arrived yet gets this long for it: its client was in the
/// backlog, or has connected a moment ago.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);
/// What a client whose handshake has failed may still send, and for how long, while it is on its way to the alert.
const ALERT_GRACE: (usize, Duration) = (64 * 1024, Duration::from_secs(1));

pub(super) struct Context<'a> {
    pub(super) service: &'a dyn Service,
    pub(super) limits: &'a Limits,
    pub(super) shutdown: &'a Shutdown,
    /// With TLS towards clients.
    pub(super) tls: Option<&'a TlsAcceptor>,
    /// For large heads.
    pub(super) large_heads: &'a Semaphore,
    /// Whether this idle connection has to close so that others find room. True is meant for this one alone.
    pub(super) evict: &'a dyn Fn() -> bool,
}

/// Serves requests until the client leaves, violates the protocol or pauses too long, or the shutdown begins.
pub(super) fn serve(socket: Arc<Socket>, mut peer: Peer, context: &Context<'_>) {
    let mut input = match context.tls {
        None => Input::new(Stream::from(socket)),
        Some(tls) => match accept_tls(tls, socket, &mut peer, context) {
            Some(stream) => Input::new(stream),
            None => return,
        },
    };
    let peer = &peer;
    let mut is_first = true;
    loop {
        let mut permit = None;
        let Some(head) = next_head(&mut input, context, is_first, &mut permit) else {
            input.stream_mut().close_notify();
            return;
        };
        is_first = false;
        let head = match head {
            Ok(head) => head,
            Err(response) => {
                context.service.refused(&response, peer);
                refuse(&mut input, peer, context, &response);
                return;
            }
        };
        input.release();
        let close = !wants_keep_alive(&head) || context.shutdown.is_triggered();
        let mut exchange =
            Http1Exchange::new(&head, close, permit, &mut input, peer, context.limits, context.shutdown);
        context.service.serve(head, &mut exchange);
        if !exchange.finish_request() {
            return;
        }
    }
}

/// Makes the TLS handshake; none when there is no connection afterwards. Its own frame, see the invariants in lib.rs.
#[inline(never)]
fn accept_tls(
    tls: &TlsAcceptor,
    socket: Arc<Socket>,
    peer: &mut Peer,
    context: &Context<'_>,
) -> Option<Stream> {
    let mut stream = tls.accept(socket).ok()?;
    match handshake(&mut stream, context) {
        Ok(()) if stream.is_plain_http() => {
            let response = ErrorResponse::tls_required();
            context.service.refused(&response, peer);
            refuse(&mut Input::new(stream), peer, context, &response);
            None
        }
        Ok(()) => {
            peer.certificate_name = stream.certificate_name();
            Some(stream)
        }
        Err(error) => {
            context.service.handshake_failed(&error, peer);
            if matches!(error, HandshakeError::Tls(_)) {
                linger_after_alert(&stream);
            }
            None
        }
    }
}

/// From the first byte of a client to the end of its handshake, within the time that a request's head has.
fn handshake(stream: &mut Stream, context: &Context<'_>) -> Result<(), HandshakeError> {
    let mut deadline = Instant::now() + context.limits.header_timeout;
    let mut is_stopping = false;
    while let Some(wanted) = stream.poll_handshake()? {
        let socket = (stream.socket().as_fd(), wanted);
        let found = if is_stopping {
            poll::wait([socket], Some(deadline)).map(|[socket]| [socket, Ready::NOTHING])
        } else {
            poll::wait([socket, (context.shutdown.as_fd(), Ready::READ)], Some(deadline))
        };
        let [socket, shutdown] = found.map_err(HandshakeError::Io)?;
        if shutdown.any() {
            // Its request may be on its way, as that of any new connection.
            is_stopping = true;
            deadline = deadline.min(Instant::now() + FIRST_REQUEST_GRACE);
        }
        // One byte at a time moves no deadline.
        if !shutdown.any() && !socket.any() || Instant::now() >= deadline {
            return Err(HandshakeError::TimedOut);
        }
    }
    Ok(())
}

/// Closing a socket with unread input resets it, and a reset destroys the alert that says why: reads on for a moment.
fn linger_after_alert(stream: &Stream) {
    let mut socket = stream.socket();
    let (bytes, time) = ALERT_GRACE;
    let deadline = Instant::now() + time;
    let (mut left, mut buffer) = (bytes, [0; 1024]);
    if socket.shutdown(Side::Write).is_err() {
        return;
    }
    while left > 0 && poll::wait_one(socket, Ready::READ, Some(deadline)).is_ok() {
        match socket.read(&mut buffer) {
            Ok(count @ 1..) => left = left.saturating_sub(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => return,
        }
    }
}

/// Waits for a request and reads its head, taking a permit for one that is large. None when there will be no more.
fn next_head<'a>(
    input: &mut Input,
    context: &Context<'a>,
    is_first: bool,
    permit: &mut Option<Permit<'a>>,
) -> Option<Result<Head, ErrorResponse>> {
    if input.bytes().is_empty() {
        input.release();
        wait_for_request(input.stream_mut(), context, is_first)?;
    }
    let deadline = Instant::now() + context.limits.header_timeout;
    let mut scan = Scan::default();
    let mut skipped = 0;
    loop {
        // "a server that is expecting to receive and parse a request-line SHOULD ignore at least one empty line" (RFC
        // 9112 section 2.2). Each counts against the limit of the head.
        while input.bytes().starts_with(b"\r\n") {
            input.consume(2);
            skipped += 2;
        }
        if skipped > context.limits.head_bytes {
            let message = "nothing but empty lines came in place of a request";
            return Some(Err(ErrorResponse::request(StatusCode::BAD_REQUEST, "bad_request", message)));
        }
        match head::read_request(input.bytes(), &mut scan, context.limits.head_bytes) {
            Ok(Some((head, length))) => {
                input.consume(length);
                return Some(Ok(head));
            }
            Ok(None) => {}
            Err(fault) => return Some(Err(fault.into())),
        }
        if input.bytes().len() >= LARGE_HEAD_BYTES && permit.is_none() {
            *permit = context.large_heads.acquire();
            if permit.is_none() {
                return Some(Err(ErrorResponse::overloaded(Overload::LargeHeads)));
            }
        }
        match input.fill(deadline) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut && !input.bytes().is_empty() => {
                let message = "the request head took too long";
                return Some(Err(ErrorResponse::request(
                    StatusCode::REQUEST_TIMEOUT,
                    "request_timeout",
                    message,
                )));
            }
            Err(_) => return None,
        }
    }
}

/// Waits between requests. None when the connection is to be closed.
fn wait_for_request(stream: &mut Stream, context: &Context<'_>, is_first: bool) -> Option<()> {
    let start = Instant::now();
    let end = start + context.limits.keep_alive;
    if stream.has_buffered() {
        return Some(());
    }
    let socket = stream.socket();
    // Others may need this connection's slot while we wait: checks every 5 s of the default 75 s, and keeps the connection
    // at least that long, because most clients send their next request soon.
    let check_interval = context.limits.keep_alive / 15;
    let mut next_check = start;
    loop {
        next_check += check_interval;
        let wanted = [(socket.as_fd(), Ready::READ), (context.shutdown.as_fd(), Ready::READ)];
        let [request, shutdown] = poll::wait(wanted, Some(next_check.min(end))).ok()?;
        if request.readable() {
            return Some(());
        }
        if shutdown.any() && is_first {
            let grace = Some(Instant::now() + FIRST_REQUEST_GRACE);
            return poll::wait_one(socket, Ready::READ, grace).ok().map(drop);
        }
        let now = Instant::now();
        if shutdown.any() || now >= end || now >= start + check_interval && (context.evict)() {
            return None;
        }
    }
}

fn refuse(input: &mut Input, peer: &Peer, context: &Context<'_>, response: &ErrorResponse) {
    let mut exchange = Http1Exchange::for_error(input, peer, context.limits, context.shutdown);
    response.send(&mut exchange);
    exchange.linger();
}

/// RFC 9112 section 9.3.
pub(super) fn wants_keep_alive(head: &Head) -> bool {
    let mut close = false;
    let mut keep_alive = false;
    for option in head.headers.get_all("connection").flat_map(fields::elements) {
        close |= fields::is(option, "close");
        keep_alive |= fields::is(option, "keep-alive");
    }
    !close && (keep_alive || head.version != Version::HTTP_10)
}
