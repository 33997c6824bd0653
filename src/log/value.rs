//! What a field of an event may hold. Numbers are marked, so that JSON has them as numbers.

use std::fmt::{self, Write};
use std::time::Duration;

/// The value of a field.
pub(crate) trait Value {
    /// Writes the value, without quotes or escapes.
    ///
    /// # Errors
    ///
    /// The writer's.
    fn write(&self, out: &mut dyn Write) -> fmt::Result;

    /// What was written is a number of JSON.
    fn is_number(&self) -> bool {
        false
    }

    /// The unit after the number, in text.
    fn unit(&self) -> &'static str {
        ""
    }
}

impl<T: Value + ?Sized> Value for &T {
    fn write(&self, out: &mut dyn Write) -> fmt::Result {
        (**self).write(out)
    }

    fn is_number(&self) -> bool {
        (**self).is_number()
    }

    fn unit(&self) -> &'static str {
        (**self).unit()
    }
}

macro_rules! values {
    ($is_number:literal: $($type:ty),+) => {$(
        impl Value for $type {
            fn write(&self, out: &mut dyn Write) -> fmt::Result {
                write!(out, "{self}")
            }

            fn is_number(&self) -> bool {
                $is_number
            }
        }
    )+};
}

values!(true: u8, u16, u32, u64, usize, i32, i64);
// In JSON `true` and `false` need quotes as little as numbers do.
values!(true: bool);
values!(false: std::net::IpAddr, std::net::SocketAddr, std::io::Error, std::path::Display<'_>);
values!(false: std::borrow::Cow<'_, str>, http::Method, http::uri::Authority);

impl Value for str {
    fn write(&self, out: &mut dyn Write) -> fmt::Result {
        out.write_str(self)
    }
}

impl Value for String {
    fn write(&self, out: &mut dyn Write) -> fmt::Result {
        out.write_str(self)
    }
}

/// Seconds, with one decimal where they are few.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seconds(pub Duration);

impl Value for Seconds {
    fn write(&self, out: &mut dyn Write) -> fmt::Result {
        let decimals = if self.0.is_zero() || self.0 >= Duration::from_secs(10) { 0 } else { 1 };
        write!(out, "{:.decimals$}", self.0.as_secs_f64())
    }

    fn is_number(&self) -> bool {
        true
    }

    fn unit(&self) -> &'static str {
        "s"
    }
}

/// Milliseconds with one decimal; the field's name says so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Millis(pub Duration);

impl Value for Millis {
    fn write(&self, out: &mut dyn Write) -> fmt::Result {
        // Without floating point, which is long-winded.
        let tenths = self.0.as_secs().saturating_mul(10_000) + u64::from((self.0.subsec_micros() + 50) / 100);
        write!(out, "{}.{}", tenths / 10, tenths % 10)
    }

    fn is_number(&self) -> bool {
        true
    }
}
