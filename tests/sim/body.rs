//! Reads a request body by its framing, in pieces, so that a gigabyte needs no memory.

use std::io;

use super::conn::Conn;
use super::head::{self, Framing};

/// How far a body has been read.
pub struct Body {
    state: BodyState,
    pub trailers: Vec<(String, Vec<u8>)>,
}

enum BodyState {
    Ended,
    /// Bytes left, of a body with Content-Length.
    Length(u64),
    /// Bytes left of the current chunk.
    Chunk(u64),
    /// The size of the next chunk comes now.
    ChunkSize,
}

/// Why a body could not be read to its end.
pub enum Fault {
    Truncated,
    Malformed(String),
}

impl Body {
    pub fn new(framing: &Framing) -> Self {
        let state = match framing {
            Framing::Length(length) if *length > 0 => BodyState::Length(*length),
            Framing::Chunked => BodyState::ChunkSize,
            _ => BodyState::Ended,
        };
        Self { state, trailers: Vec::new() }
    }

    pub fn ended(&self) -> bool {
        matches!(self.state, BodyState::Ended)
    }

    /// Passes the next bytes to `take`; false once the body has ended.
    pub fn next(&mut self, conn: &mut Conn, take: impl FnOnce(&[u8])) -> Result<bool, Fault> {
        loop {
            match self.state {
                BodyState::Ended => return Ok(false),
                BodyState::Length(left) => {
                    let left = left - piece(conn, left, take)?;
                    self.state = if left == 0 { BodyState::Ended } else { BodyState::Length(left) };
                    return Ok(true);
                }
                BodyState::Chunk(0) => {
                    if !line(conn)?.is_empty() {
                        return Err(Fault::Malformed("no CR LF after a chunk".into()));
                    }
                    self.state = BodyState::ChunkSize;
                }
                BodyState::Chunk(left) => {
                    self.state = BodyState::Chunk(left - piece(conn, left, take)?);
                    return Ok(true);
                }
                BodyState::ChunkSize => self.chunk_size(conn)?,
            }
        }
    }

    fn chunk_size(&mut self, conn: &mut Conn) -> Result<(), Fault> {
        let text = line(conn)?;
        let digits = text.split(|&byte| byte == b';').next().unwrap_or_default();
        let hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
        let size =
            std::str::from_utf8(digits).ok().filter(|_| hex).and_then(|t| u64::from_str_radix(t, 16).ok());
        let Some(size) = size else {
            return Err(Fault::Malformed(format!("chunk size {:?}", String::from_utf8_lossy(&text))));
        };
        self.state = BodyState::Chunk(size);
        if size == 0 {
            self.trailers = trailers(conn)?;
            self.state = BodyState::Ended;
        }
        Ok(())
    }
}

fn trailers(conn: &mut Conn) -> Result<Vec<(String, Vec<u8>)>, Fault> {
    let mut lines = Vec::new();
    loop {
        let text = line(conn)?;
        if text.is_empty() {
            break;
        }
        lines.push(text);
    }
    let mut fault = None;
    let trailers = head::fields(lines.iter().map(Vec::as_slice), &mut fault);
    fault.map_or(Ok(trailers), |fault| Err(Fault::Malformed(fault)))
}

/// At least one byte and at most `limit`; returns how many.
fn piece(conn: &mut Conn, limit: u64, take: impl FnOnce(&[u8])) -> Result<u64, Fault> {
    if conn.available().is_empty() {
        fill(conn)?;
    }
    let available = conn.available();
    let count = available.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
    take(&available[..count]);
    conn.consume(count);
    Ok(count as u64)
}

fn line(conn: &mut Conn) -> Result<Vec<u8>, Fault> {
    loop {
        if let Some(end) = head::find(conn.available(), b"\r\n") {
            let text = conn.available()[..end].to_vec();
            conn.consume(end + 2);
            return Ok(text);
        }
        if conn.available().len() > 16 * 1024 {
            return Err(Fault::Malformed("a chunk line of more than 16 KiB".into()));
        }
        fill(conn)?;
    }
}

fn fill(conn: &mut Conn) -> Result<(), Fault> {
    // Any error ends the body early, as does the end of the stream.
    match conn.fill() {
        Ok(1..) => Ok(()),
        Ok(0) => Err(Fault::Truncated),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Fault::Malformed(error.to_string())),
        Err(_) => Err(Fault::Truncated),
    }
}
