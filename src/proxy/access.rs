//! The access log: one line per request, its path without the query.

use std::time::Duration;

use http::{Method, StatusCode};

use super::relay::{Cut, Relayed};
use super::tunnel::Tunnelled;
use crate::log;

/// What became of a request, for the access log.
pub(super) enum Outcome {
    /// The destination's answer was passed on.
    Relayed(StatusCode, Relayed),
    /// A WebSocket was opened and has ended.
    Tunnelled(Tunnelled),
    /// One of ours: the status.
    Own(StatusCode),
    /// The client left before there was an answer.
    ClientGone,
}

/// Writes the line.
pub(super) fn log(method: &Method, path: &str, outcome: &Outcome, took: Duration) {
    let ms = format!("{:.1}", took.as_secs_f64() * 1000.0);
    let request: [(&str, &dyn std::fmt::Display); 2] = [("method", method), ("path", &path)];
    let mut fields = request.to_vec();
    let (status, bytes, cut, to_destination);
    match outcome {
        Outcome::Relayed(code, relayed) => {
            status = code.as_u16();
            fields.push(("status", &status));
            fields.push(("bytes", &relayed.bytes));
            if let Some(why) = &relayed.cut {
                cut = match why {
                    Cut::Destination(error) => format!("destination: {error}"),
                    Cut::Client(error) => format!("client: {error}"),
                };
                fields.push(("cut", &cut));
            }
        }
        Outcome::Tunnelled(carried) => {
            status = 101;
            (to_destination, bytes) = (carried.to_destination, carried.to_client);
            fields.extend::<[(&str, &dyn std::fmt::Display); 3]>([
                ("status", &status),
                ("bytes_up", &to_destination),
                ("bytes_down", &bytes),
            ]);
        }
        Outcome::Own(code) => {
            status = code.as_u16();
            fields.push(("status", &status));
        }
        Outcome::ClientGone => fields.push(("status", &"client_gone")),
    }
    fields.push(("ms", &ms));
    log::info("request", &fields);
}
