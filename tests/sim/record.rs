//! What a server received, request by request, exactly as it came.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use super::wait;

/// Records beyond these are forgotten, oldest first, so that load tests do not fill the memory.
const KEEP_REQUESTS: usize = 10_000;
const KEEP_BODY_BYTES: usize = 64 << 20;
/// Of one body, this much is kept; the rest is counted and hashed.
pub const KEEP_BODY: usize = 1 << 20;

/// One request. A snapshot: while the request is still running, later snapshots say more.
#[derive(Clone, Debug)]
pub struct Request {
    /// Counts the requests of this server, from 0.
    pub id: u64,
    /// Counts the connections of this server, from 1.
    pub connection: u64,
    /// When the head was complete.
    pub at: Instant,
    pub wall: SystemTime,
    /// Every byte up to and including the empty line.
    pub raw_head: Vec<u8>,
    pub method: String,
    /// As it stood in the request line.
    pub target: Vec<u8>,
    pub version: String,
    /// In the order and spelling in which they came.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The first [`KEEP_BODY`] bytes, without framing.
    pub body: Vec<u8>,
    pub body_length: u64,
    /// In hexadecimal, of the whole body; empty until it ended.
    pub body_sha256: String,
    pub body_end: BodyEnd,
    pub trailers: Vec<(String, Vec<u8>)>,
    /// When it was noticed that the peer closed before it had the whole response.
    pub peer_closed: Option<Instant>,
    /// The status of the response, once it was sent.
    pub status: Option<u16>,
    /// When the response was complete, or given up.
    pub done: Option<Instant>,
    /// What the server thought of it: why it was refused, or which failure it met.
    pub note: String,
}

/// How a request body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// The request has none.
    Absent,
    /// Nobody has read it to its end yet.
    Pending,
    /// Complete by its own framing.
    Clean,
    /// The connection ended first.
    Truncated,
    /// The framing made no sense.
    Malformed(String),
}

impl Request {
    /// The only value of this header, as text. Panics when it came more than once.
    pub fn header(&self, name: &str) -> Option<String> {
        let mut values = self.header_values(name);
        assert!(values.len() < 2, "header {name} came {} times: {values:?}", values.len());
        values.pop()
    }

    /// Every value of this header, as text.
    pub fn header_values(&self, name: &str) -> Vec<String> {
        let values = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        values.map(|(_, value)| latin1(value)).collect()
    }

    /// The names of all headers, in lower case and in order.
    pub fn header_names(&self) -> Vec<String> {
        self.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect()
    }

    /// The target as text.
    pub fn target(&self) -> String {
        latin1(&self.target)
    }

    /// The target up to the question mark.
    pub fn path(&self) -> String {
        self.target().split('?').next().unwrap_or_default().to_owned()
    }

    /// The target after the question mark.
    pub fn query(&self) -> Option<String> {
        self.target().split_once('?').map(|(_, query)| query.to_owned())
    }

    /// The token of the only `Authorization: Bearer` header.
    pub fn bearer(&self) -> Option<String> {
        self.header("authorization")?.strip_prefix("Bearer ").map(str::to_owned)
    }

    /// The kept part of the body, read as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

/// Bytes as text, one character each, so that nothing is lost.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// Called with every request as soon as its head is complete.
pub type OnRequest = Arc<dyn Fn(&Request) + Send + Sync>;

/// The records of one server.
#[derive(Default)]
pub struct Log {
    kept: Mutex<RecordedRequests>,
    on_request: Option<OnRequest>,
}

#[derive(Default)]
struct RecordedRequests {
    requests: VecDeque<Request>,
    seen: u64,
    body_bytes: usize,
}

impl Log {
    /// Calls this with every request, as soon as its head is complete.
    pub fn new(on_request: Option<OnRequest>) -> Self {
        Self { on_request, ..Self::default() }
    }

    /// Every request that is still kept, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.kept.lock().unwrap().requests.iter().cloned().collect()
    }

    /// How many requests came since the start, kept or not.
    pub fn seen(&self) -> u64 {
        self.kept.lock().unwrap().seen
    }

    /// Forgets what came so far.
    pub fn clear(&self) {
        let mut kept = self.kept.lock().unwrap();
        kept.requests.clear();
        kept.body_bytes = 0;
    }

    /// Waits until this finds something among the requests. Panics, and lists them, at the timeout.
    pub fn wait<T>(&self, what: &str, find: impl Fn(&[Request]) -> Option<T>) -> T {
        wait::eventually(|| find(self.kept.lock().unwrap().requests.make_contiguous())).unwrap_or_else(|| {
            let seen: Vec<String> = self.requests().iter().map(summary).collect();
            panic!("no {what} in time; requests so far:\n  {}", seen.join("\n  "))
        })
    }

    pub(super) fn add(&self, mut request: Request) -> u64 {
        let mut kept = self.kept.lock().unwrap();
        request.id = kept.seen;
        kept.seen += 1;
        let id = request.id;
        let copy = self.on_request.as_ref().map(|_| request.clone());
        kept.requests.push_back(request);
        while kept.requests.len() > KEEP_REQUESTS || kept.body_bytes > KEEP_BODY_BYTES {
            let Some(oldest) = kept.requests.pop_front() else { break };
            kept.body_bytes = kept.body_bytes.saturating_sub(oldest.body.len());
        }
        drop(kept);
        if let (Some(notify), Some(request)) = (&self.on_request, copy) {
            notify(&request);
        }
        id
    }

    /// Changes a record, unless it is forgotten.
    pub(super) fn update(&self, id: u64, change: impl FnOnce(&mut Request)) {
        let mut kept = self.kept.lock().unwrap();
        let Some(oldest) = kept.requests.front().map(|request| request.id) else { return };
        let index = id.checked_sub(oldest).and_then(|index| usize::try_from(index).ok());
        let Some(index) = index.filter(|&index| index < kept.requests.len()) else { return };
        let before = kept.requests[index].body.len();
        change(&mut kept.requests[index]);
        kept.body_bytes += kept.requests[index].body.len().saturating_sub(before);
    }
}

fn summary(request: &Request) -> String {
    let (id, connection, method, target) =
        (request.id, request.connection, &request.method, request.target());
    let (length, end, status, note) = (request.body_length, &request.body_end, request.status, &request.note);
    format!(
        "#{id} on connection {connection}: {method} {target}, body {length} {end:?}, responded {status:?} {note}"
    )
}
