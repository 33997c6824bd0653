//! Files: upload as a form, list, look, download, delete. Small ones are kept, of large ones only the size.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::{Call, ok, unix, usual_headers};
use crate::sim::exchange::Exchange;
use crate::sim::head::find;
use crate::sim::tokens;

#[derive(Default)]
pub(super) struct Store {
    files: Mutex<BTreeMap<String, (Value, Vec<u8>)>>,
}

/// One part of a multipart form.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) file_name: String,
    pub(super) content: Vec<u8>,
}

impl Store {
    /// Everything below `files`; 404 for what is not known.
    pub(super) fn respond(
        &self,
        exchange: &mut Exchange<'_>,
        call: &Call<'_>,
        operation: &str,
    ) -> io::Result<()> {
        let mut segments = operation.split('/');
        let (first, id, last) = (segments.next(), segments.next(), segments.next());
        let method = exchange.head.method.clone();
        match (method.as_str(), first, id, last) {
            ("POST", Some("files"), None, None) => self.upload(exchange, call),
            ("GET", Some("files"), None, None) => {
                let list: Vec<Value> =
                    self.files.lock().unwrap().values().map(|(file, _)| file.clone()).collect();
                ok(exchange, &json!({"object": "list", "data": list, "has_more": false}))
            }
            ("GET", Some("files"), Some(id), None) => match self.find(id) {
                Some((file, _)) => ok(exchange, &file),
                None => unknown(exchange, id),
            },
            ("GET", Some("files"), Some(id), Some("content")) => match self.find(id) {
                Some((_, content)) => {
                    let usual = usual_headers();
                    let own = [("Content-Type", "application/octet-stream")];
                    exchange.respond(200, &[&usual.borrow()[..], &own].concat(), &content)
                }
                None => unknown(exchange, id),
            },
            ("DELETE", Some("files"), Some(id), None) => match self.files.lock().unwrap().remove(id) {
                Some(_) => ok(exchange, &json!({"id": id, "object": "file", "deleted": true})),
                None => unknown(exchange, id),
            },
            _ => {
                let error = json!({"error": {"code": "404", "message": "Resource not found"}});
                exchange.json(404, &usual_headers().borrow(), &error)
            }
        }
    }

    fn upload(&self, exchange: &mut Exchange<'_>, call: &Call<'_>) -> io::Result<()> {
        let parts = parts(&exchange.head.value("content-type"), call.body);
        let received = exchange.record().map_or(0, |request| request.body_length);
        let text = |name: &str| {
            let part = parts.iter().find(|part| part.name == name);
            part.map(|part| String::from_utf8_lossy(&part.content).into_owned())
        };
        let Some(file) = parts.iter().find(|part| part.name == "file") else {
            return super::chat::bad_request(exchange, "the form has no part named 'file'");
        };
        let (id, purpose) = (format!("file-{}", tokens::uuid()), text("purpose"));
        // What was not kept is known by its size alone, form included.
        let whole = received == call.body.len() as u64;
        let bytes = if whole { file.content.len() as u64 } else { received };
        let response = json!({"id": id, "object": "file", "bytes": bytes, "created_at": unix(),
            "filename": file.file_name, "purpose": purpose, "status": "processed"});
        self.files.lock().unwrap().insert(id, (response.clone(), file.content.clone()));
        ok(exchange, &response)
    }

    fn find(&self, id: &str) -> Option<(Value, Vec<u8>)> {
        self.files.lock().unwrap().get(id).cloned()
    }
}

fn unknown(exchange: &mut Exchange<'_>, id: &str) -> io::Result<()> {
    let error = json!({"error": {"message": format!("No such File object: {id}"), "type": "invalid_request_error",
        "param": "id", "code": null}});
    exchange.json(404, &usual_headers().borrow(), &error)
}

/// The parts of a form. The last one may be cut where the kept body ends.
pub(super) fn parts(content_type: &str, body: &[u8]) -> Vec<Part> {
    let Some((_, boundary)) = content_type.split_once("boundary=") else { return Vec::new() };
    let boundary = boundary.split(';').next().unwrap_or_default().trim().trim_matches('"');
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut rest = find(body, delimiter.as_bytes()).map_or(&b""[..], |at| &body[at + delimiter.len()..]);
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let Some(head_end) = find(part, b"\r\n\r\n") else { break };
        let content = &part[head_end + 4..];
        let end = find(content, format!("\r\n{delimiter}").as_bytes());
        let head = String::from_utf8_lossy(&part[..head_end]).into_owned();
        parts.push(Part {
            name: parameter(&head, " name=\""),
            file_name: parameter(&head, "filename=\""),
            content: content[..end.unwrap_or(content.len())].to_vec(),
        });
        rest = end.map_or(&b""[..], |end| &content[end + 2 + delimiter.len()..]);
    }
    parts
}

fn parameter(head: &str, start: &str) -> String {
    let rest = head.split_once(start).map_or("", |(_, rest)| rest);
    rest.split('"').next().unwrap_or_default().to_owned()
}
