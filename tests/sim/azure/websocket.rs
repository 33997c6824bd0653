//! The server's side of RFC 6455: handshake, frames, ping and close. No extensions.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

use super::usual_headers;
use crate::sim::exchange::Exchange;

const LARGEST_MESSAGE: usize = 64 << 20;

/// A message of the client, put together from its frames.
pub(super) enum Message {
    Text(String),
    Binary(Vec<u8>),
    /// The client closed, in order or not.
    Closed,
}

/// An open WebSocket.
pub(super) struct WebSocket<'a, 'b> {
    exchange: &'a mut Exchange<'b>,
}

impl<'a, 'b> WebSocket<'a, 'b> {
    /// Responds to the handshake; a request that is none gets its error here and `None` is returned.
    pub(super) fn accept(exchange: &'a mut Exchange<'b>) -> io::Result<Option<Self>> {
        let head = &exchange.head;
        let key = head.value("sec-websocket-key");
        let good = head.method == "GET"
            && head.lists("connection", "upgrade")
            && head.lists("upgrade", "websocket")
            && head.value("sec-websocket-version") == "13"
            && STANDARD.decode(&key).is_ok_and(|bytes| bytes.len() == 16);
        if !good {
            exchange.note("not a WebSocket handshake");
            exchange.respond(426, &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")], b"")?;
            return Ok(None);
        }
        let offered = head.values("sec-websocket-protocol").join(",");
        // A key is no protocol to choose.
        let is_protocol =
            |name: &&str| !name.is_empty() && !name.starts_with(super::realtime::KEY_SUBPROTOCOL);
        let offered: Vec<&str> = offered.split(',').map(str::trim).filter(is_protocol).collect();
        let chosen = offered.iter().find(|name| **name == "realtime").or_else(|| offered.first());
        let accept = accept_key(&key);
        let usual = usual_headers();
        let mut headers = vec![
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept.as_str()),
        ];
        headers.extend(chosen.map(|name| ("Sec-WebSocket-Protocol", *name)));
        headers.extend(&usual.borrow()[..3]);
        exchange.switch_protocols(&headers)?;
        Ok(Some(Self { exchange }))
    }

    /// The next message. Pings get a pong on the way.
    pub(super) fn receive(&mut self) -> io::Result<Message> {
        let mut message = Vec::new();
        let mut kind = None;
        loop {
            let Some((last, opcode, payload)) = self.frame()? else { return Ok(Message::Closed) };
            match opcode {
                0..=2 => {
                    if (opcode == 0) == kind.is_none() {
                        return Err(protocol("a continuation out of place"));
                    }
                    kind = kind.or(Some(opcode));
                    message.extend_from_slice(&payload);
                    if message.len() > LARGEST_MESSAGE {
                        return Err(protocol("a message above 64 MiB"));
                    }
                }
                8 => {
                    // The close code goes back as it came.
                    self.send(8, &payload)?;
                    return Ok(Message::Closed);
                }
                9 => self.send(10, &payload)?,
                10 => {}
                _ => return Err(protocol("an unknown opcode")),
            }
            if last && opcode < 3 {
                return match kind {
                    Some(1) => String::from_utf8(message)
                        .map(Message::Text)
                        .map_err(|_| protocol("text is not UTF-8")),
                    _ => Ok(Message::Binary(message)),
                };
            }
        }
    }

    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        self.send(1, text.as_bytes())
    }

    pub(super) fn send(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            length @ ..126 => frame.push(u8::try_from(length).unwrap()),
            length @ ..65_536 => {
                frame.push(126);
                frame.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            }
            length => {
                frame.push(127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        self.exchange.send(&frame)
    }

    pub(super) fn think(&mut self, pause: std::time::Duration) -> io::Result<()> {
        self.exchange.think(pause)
    }

    pub(super) fn note(&self, text: &str) {
        self.exchange.note(text);
    }

    /// Whether it is the last of its message, its opcode and its payload; `None` at the end of the stream.
    fn frame(&mut self) -> io::Result<Option<(bool, u8, Vec<u8>)>> {
        let Some(start) = self.take(2)? else { return Ok(None) };
        let (last, opcode, masked) = (start[0] & 0x80 != 0, start[0] & 0x0f, start[1] & 0x80 != 0);
        if start[0] & 0x70 != 0 || !masked {
            return Err(protocol("a frame with reserved bits, or without a mask"));
        }
        let length = match start[1] & 0x7f {
            126 => self.number(2)?,
            127 => self.number(8)?,
            length => usize::from(length),
        };
        if length > LARGEST_MESSAGE {
            return Err(protocol("a frame above 64 MiB"));
        }
        let mask = self.take(4)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut payload = self.take(length)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        Ok(Some((last, opcode, payload)))
    }

    fn number(&mut self, count: usize) -> io::Result<usize> {
        let bytes = self.take(count)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let number = bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        usize::try_from(number).map_err(|_| protocol("a length beyond this machine"))
    }

    /// So many bytes, or `None` when the stream ends before the first.
    fn take(&mut self, count: usize) -> io::Result<Option<Vec<u8>>> {
        let conn = &mut *self.exchange.conn;
        while conn.available().len() < count {
            if conn.fill()? == 0 {
                return if conn.available().is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
        let bytes = conn.available()[..count].to_vec();
        conn.consume(count);
        Ok(Some(bytes))
    }
}

fn accept_key(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

fn protocol(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
