//! One connection, from its first byte to its last.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use http::{StatusCode, Version};

use super::input::Input;
use super::refusal::Refusal;
use super::room::{Place, Room};
use super::serving::Serving;
use super::stop::Stop;
use super::{Head, Limits, Service, head};
use crate::fields;
use crate::scratch;
use crate::sys::{self, Ready};

/// A head that is longer than one buffer needs a place.
const LARGE: usize = scratch::STEP;

/// What a connection needs to be served.
pub(super) struct Context<'a> {
    pub(super) service: &'a dyn Service,
    pub(super) limits: &'a Limits,
    pub(super) stop: &'a Stop,
    /// For large heads.
    pub(super) room: &'a Room,
    /// Idle connections shall make room.
    pub(super) crowded: &'a dyn Fn() -> bool,
}

/// Serves requests until the client leaves, breaks the rules or pauses too long, or we stop.
pub(super) fn serve(stream: Arc<TcpStream>, _peer: SocketAddr, context: &Context<'_>) {
    let mut input = Input::new(stream);
    loop {
        let mut place = None;
        let Some(head) = next_head(&mut input, context, &mut place) else { return };
        let head = match head {
            Ok(head) => head,
            Err(refusal) => {
                context.service.refused(&refusal);
                refuse(&mut input, context, &refusal);
                return;
            }
        };
        input.release();
        let close = !wants_keep_alive(&head) || context.stop.said();
        let mut serving = Serving::new(&head, close, &mut input, context.limits, context.stop);
        context.service.serve(head, &mut serving);
        if !serving.settle() {
            return;
        }
    }
}

/// Waits for a request and reads its head, taking a place for one that is large. None when there will be no more.
fn next_head<'a>(
    input: &mut Input,
    context: &Context<'a>,
    place: &mut Option<Place<'a>>,
) -> Option<Result<Head, Refusal>> {
    if input.bytes().is_empty() {
        input.release();
        wait_for_request(input.stream(), context)?;
    }
    let deadline = Instant::now() + context.limits.head_time;
    let mut seen = 0;
    loop {
        // Empty lines in front of a request are skipped (RFC 9112 section 2.2).
        while input.bytes().starts_with(b"\r\n") {
            input.consume(2);
            seen = 0;
        }
        match head::find_end(input.bytes(), seen) {
            Ok(Some(end)) => {
                if end > context.limits.head_bytes {
                    return Some(Err(head::too_large(&input.bytes()[..end], context.limits.head_bytes)));
                }
                let head = head::parse(&input.bytes()[..end]);
                input.consume(end);
                return Some(head);
            }
            Ok(None) if input.bytes().len() > context.limits.head_bytes => {
                return Some(Err(head::too_large(input.bytes(), context.limits.head_bytes)));
            }
            Ok(None) => seen = input.bytes().len(),
            Err(refusal) => return Some(Err(refusal)),
        }
        if seen >= LARGE && place.is_none() {
            *place = context.room.take();
            if place.is_none() {
                return Some(Err(Refusal::overloaded("too many large request heads at once; try again")));
            }
        }
        match input.fill(deadline) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut && seen > 0 => {
                let message = "the request head took too long";
                return Some(Err(Refusal::request(StatusCode::REQUEST_TIMEOUT, "request_timeout", message)));
            }
            Err(_) => return None,
        }
    }
}

/// Waits between requests. None when the connection shall end.
fn wait_for_request(stream: &TcpStream, context: &Context<'_>) -> Option<()> {
    let start = Instant::now();
    // A crowd may come while we wait.
    let mut look = start;
    loop {
        let patience =
            if (context.crowded)() { context.limits.keep_alive / 15 } else { context.limits.keep_alive };
        look += context.limits.keep_alive / 15;
        let wanted = [(stream.as_fd(), Ready::READ), (context.stop.as_fd(), Ready::READ)];
        let [request, stop] = sys::wait(wanted, Some(look.min(start + patience))).ok()?;
        if request.readable() {
            return Some(());
        }
        if stop.any() || start.elapsed() >= patience {
            return None;
        }
    }
}

fn refuse(input: &mut Input, context: &Context<'_>, refusal: &Refusal) {
    let mut serving = Serving::last(input, context.limits, context.stop);
    refusal.send(&mut serving);
    serving.linger();
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
