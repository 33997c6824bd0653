//! What one request and the connection it uses must know of each other. ureq stands between them and passes
//! nothing through, so it travels in a thread-local: one thread serves one request at a time.

use std::cell::{Cell, RefCell};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use super::Wire;
use super::idle::Resting;
use crate::clock::{Clock, Moment};
use crate::fields::Fields;

/// One request on its way to the destination. Without a [`Scope`], as for token requests, nothing is known and
/// nothing is watched.
#[derive(Debug, Default)]
pub struct Call {
    /// The application's connection: its hang-up ends the call.
    client: Option<Arc<TcpStream>>,
    /// From when on the request must not be sent any more, by this clock.
    ends: RefCell<Option<(Clock, Moment)>>,
    /// The most bytes that ureq's part of the request's head can take.
    head_size: usize,
    /// The other part, which passes ureq by: lines of fields.
    lines: RefCell<Vec<u8>>,
    /// The fields of the answer, most of which pass ureq by, too.
    answer: RefCell<Fields>,
    /// The first bytes of the body are at hand: the head waits for them, to leave in one write.
    hold_head: Cell<bool>,
    /// The connection was made for this call, not taken from the pool.
    fresh: Cell<bool>,
    /// Bytes of the request were given to the connection.
    sent: Cell<bool>,
    /// Bytes of an answer were received.
    received: Cell<bool>,
    /// The destination answers, or has closed, before the whole request body was sent: the rest is not wanted.
    answered_early: Cell<bool>,
    /// The destination's end of stream was read.
    ended: Cell<bool>,
    /// Bytes behind those consumed so far are at hand.
    more_at_hand: Cell<bool>,
    /// A connection found for it, until ureq takes it.
    connection: RefCell<Option<Resting>>,
    /// The connection in use.
    wire: RefCell<Option<Arc<Mutex<Wire>>>>,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Call>>> = const { RefCell::new(None) };
}

/// Makes a call this thread's current one until dropped.
#[derive(Debug)]
pub struct Scope(Rc<Call>);

impl Scope {
    /// Enters the call of the application on `client`. The head of its request ends with `lines`, of which ureq knows
    /// nothing; what ureq writes of it has at most `head_size` bytes. `hold_head` when bytes of the body are at hand.
    pub fn enter(client: Option<Arc<TcpStream>>, lines: Vec<u8>, head_size: usize, hold_head: bool) -> Self {
        let (lines, hold_head) = (RefCell::new(lines), Cell::new(hold_head));
        let call = Rc::new(Call { client, lines, head_size, hold_head, ..Call::default() });
        CURRENT.set(Some(Rc::clone(&call)));
        Self(call)
    }

    /// The call.
    pub fn call(&self) -> &Rc<Call> {
        &self.0
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}

impl Call {
    /// This thread's current call.
    pub(super) fn current() -> Option<Rc<Self>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// The application's connection, to watch for its hang-up.
    pub fn client(&self) -> Option<&TcpStream> {
        self.client.as_deref()
    }

    /// Forbids to begin sending the request from `end` on: its token dies then.
    pub fn send_before(&self, clock: Clock, end: Moment) {
        *self.ends.borrow_mut() = Some((clock, end));
    }

    /// Whether it is too late to begin sending.
    pub(super) fn is_too_late(&self) -> bool {
        self.nothing_sent() && self.ends.borrow().as_ref().is_some_and(|(clock, end)| clock.now() >= *end)
    }

    /// The lines that belong at the end of the request's head; none the second time.
    pub(super) fn take_lines(&self) -> Vec<u8> {
        self.lines.take()
    }

    /// Notes the fields of the answer.
    pub(super) fn note_answer(&self, fields: Fields) {
        *self.answer.borrow_mut() = fields;
    }

    /// The fields of the answer, once ureq has one; none the second time.
    pub fn take_answer(&self) -> Fields {
        self.answer.take()
    }

    /// The most bytes that ureq's part of the request's head can take.
    pub(super) fn head_size(&self) -> usize {
        self.head_size
    }

    /// Whether the head should wait for the body; true once at most.
    pub(super) fn take_hold(&self) -> bool {
        self.hold_head.take()
    }

    /// Brings the connection for ureq to take.
    pub(super) fn bring(&self, connection: Option<Resting>) {
        *self.connection.borrow_mut() = connection;
    }

    /// The connection that was brought; none the second time.
    pub(super) fn take_connection(&self) -> Option<Resting> {
        self.connection.take()
    }

    /// Notes the connection in use.
    pub(super) fn uses(&self, wire: &Arc<Mutex<Wire>>) {
        let mut current = self.wire.borrow_mut();
        if current.is_none() {
            *current = Some(Arc::clone(wire));
        }
    }

    /// Notes a connection made for this call.
    pub(super) fn connected(&self) {
        self.fresh.set(true);
    }

    /// Notes that bytes of the request left.
    pub(super) fn note_sent(&self) {
        self.sent.set(true);
    }

    /// Notes that bytes of an answer came.
    pub(super) fn note_received(&self) {
        self.received.set(true);
    }

    /// Notes that the destination's end of stream was read.
    pub(super) fn note_ended(&self) {
        self.ended.set(true);
    }

    /// Notes that the destination answers before it has the whole request.
    pub fn note_answered_early(&self) {
        self.answered_early.set(true);
    }

    /// Notes whether bytes are left behind those just consumed.
    pub(super) fn note_more(&self, more: bool) {
        self.more_at_hand.set(more);
    }

    /// The connection that the request went out on.
    pub fn wire(&self) -> Option<Arc<Mutex<Wire>>> {
        self.wire.borrow().clone()
    }

    /// The destination answers already: nobody wants the rest of the request body.
    pub fn answered_early(&self) -> bool {
        self.answered_early.get()
    }

    /// The destination's end of stream was read: a chunked body that made us read that far was cut short.
    pub fn ended(&self) -> bool {
        self.ended.get()
    }

    /// Body bytes came together with the answer's head.
    pub fn more_at_hand(&self) -> bool {
        self.more_at_hand.get()
    }

    /// The connection came from the pool and not a byte of an answer was received on it.
    pub fn stale_connection(&self) -> bool {
        !self.fresh.get() && self.wire.borrow().is_some() && !self.received.get()
    }

    /// Not a byte of the request was given to the connection.
    pub fn nothing_sent(&self) -> bool {
        !self.sent.get()
    }
}
