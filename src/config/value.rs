//! Parsers of single values. Their problems are predicates; [`super::env::Env`] adds the variable's name.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::{Algorithm, LogFormat, LogLevel};
use crate::report::{Problem, is_quotable, quote, quote_word, secret_kind};

pub(super) type Parsed<T> = Result<T, Problem>;

/// The longest duration anybody can mean; more is a mistaken unit.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// `true`, `false`, `1` or `0` in any case.
pub(super) fn flag(value: &str) -> Parsed<bool> {
    choice(value, &[("true", true), ("1", true), ("false", false), ("0", false)]).ok_or_else(|| {
        Problem::new(format!("is neither true nor false: {}", quote_word(value))).hint("use true or false")
    })
}

/// A whole number, digits only (std would take `+1` as well).
pub(super) fn number(value: &str, range: RangeInclusive<u32>) -> Parsed<u32> {
    digits(value).filter(|number| range.contains(number)).ok_or_else(|| {
        Problem::new(format!(
            "is not a whole number from {} to {}: {}",
            range.start(),
            range.end(),
            quote_word(value)
        ))
        .hint("use digits only, or unset it for the default")
    })
}

/// A port to listen on; 0 takes a free one.
pub(super) fn port(value: &str) -> Parsed<u16> {
    if let Some(port) = digits(value).and_then(|number| u16::try_from(number).ok()) {
        return Ok(port);
    }
    let problem = Problem::new(format!("is not a port number from 0 to 65535: {}", quote_word(value)));
    Err(if value.contains("://") {
        problem
            .hint("Kubernetes sets it for a Service of that name (`admin` gives ADMIN_PORT)")
            .hint("set it in the container's own env, or `enableServiceLinks: false` in the pod")
    } else {
        problem.hint("write a number such as 8080; 0 takes a free port and logs it")
    })
}

/// A number made of digits alone that fits.
pub(super) fn digits(value: &str) -> Option<u32> {
    value.bytes().all(|b| b.is_ascii_digit()).then(|| value.parse().ok())?
}

/// A length of time of at least a millisecond: see [`grace`].
pub(super) fn timeout(value: &str) -> Parsed<Duration> {
    let duration = grace(value)?;
    if duration.is_zero() {
        return Err(Problem::new("is zero, so nothing could finish in time")
            .hint("use 1s or more, for example; `never` is not possible, the maximum is 24h"));
    }
    Ok(duration)
}

/// A length of time, zero included: digits and `ms`, `s`, `m` or `h`; seconds without a unit. At most 24 hours.
pub(super) fn grace(value: &str) -> Parsed<Duration> {
    let unit = value.trim_start_matches(|c: char| c.is_ascii_digit());
    let amount = &value[..value.len() - unit.len()];
    let factor = choice(unit, &[("", 1000), ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]);
    let Some(factor) = factor.filter(|_| !amount.is_empty()) else {
        return Err(Problem::new(format!("is not a length of time: {}", quote_word(value)))
            .hint("write 500ms, 10s, 2m or 1h, or a whole number of seconds"));
    };
    // Digits that do not fit are too many, like those that do fit and are.
    let millis = amount.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(factor);
    let duration = Duration::from_millis(millis);
    if duration > MAX_DURATION {
        return Err(Problem::new(format!("is longer than 24h: {}", quote_word(value)))
            .hint("a number without a unit counts seconds; write 500ms for milliseconds"));
    }
    Ok(duration)
}

/// A file; whether it can be read is found out where it is read. From then on the path is named in messages and in the
/// log, so that it must be one: what may not be quoted is taken only for the name of something that is there.
pub(super) fn path(value: &str) -> Parsed<PathBuf> {
    let path = PathBuf::from(value);
    if is_quotable(value) || path.exists() {
        return Ok(path);
    }
    Err(match secret_kind(value) {
        Some(kind) => Problem::new(format!("holds {kind}, not the path of a file"))
            .hint("mount it as a file, and set this variable to the path of that file"),
        None => Problem::new(format!("does not look like the path of a file: {}", quote(value))).hint(
            "set it to the path of a file, not to what the file holds; if it is a path, nothing is there",
        ),
    })
}

/// `LOG_LEVEL`, where `warning` is as good as `warn`.
pub(super) fn log_level(value: &str) -> Parsed<LogLevel> {
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("warning", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
    ];
    choice(value, &levels).ok_or_else(|| {
        let problem = Problem::new(format!("is not a log level: {}", quote_word(value)));
        if value.eq_ignore_ascii_case("trace") {
            problem
                .hint("debug is the most verbose; raw bytes are never logged, because they contain the token")
        } else {
            problem.hint("use error, warn, info or debug")
        }
    })
}

/// `LOG_FORMAT`.
pub(super) fn log_format(value: &str) -> Parsed<LogFormat> {
    choice(value, &[("text", LogFormat::Text), ("json", LogFormat::Json)]).ok_or_else(|| {
        Problem::new(format!("is not a log format: {}", quote_word(value)))
            .hint("use text (for people) or json (for collectors)")
    })
}

/// `AZURE_ASSERTION_ALGORITHM`.
pub(super) fn algorithm(value: &str) -> Parsed<Algorithm> {
    choice(value, &[("PS256", Algorithm::Ps256), ("RS256", Algorithm::Rs256)]).ok_or_else(|| {
        Problem::new(format!("is not a supported algorithm: {}", quote_word(value)))
            .hint("use PS256, or RS256 for an authority that wants the SHA-1 thumbprint")
    })
}

/// What the value stands for, any case.
fn choice<T: Copy>(value: &str, choices: &[(&str, T)]) -> Option<T> {
    choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(value)).map(|(_, meaning)| *meaning)
}
