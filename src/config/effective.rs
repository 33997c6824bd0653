//! The settings in force, for the page `/config`. Each is recorded where it is read, as it was understood, so that what is
//! shown is what is used; what nothing has read is only said to be set.

use std::path::PathBuf;
use std::time::Duration;

use super::{Algorithm, BaseUrl, LogFormat, LogLevel};
use crate::report::visible;

/// The value of a secret that is set, and of a variable that nothing reads.
pub(super) const SET: &str = "set";
/// The value of a setting without one.
pub(super) const UNSET: &str = "unset";

/// A setting in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveSetting {
    pub name: &'static str,
    /// As a person would write it; of a secret only `set` or `unset`.
    pub value: String,
    pub source: ValueSource,
    /// False for a variable that is set, but means nothing beside the others: that of another credential, for example.
    pub is_used: bool,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueSource {
    Default,
    Environment,
}

impl ValueSource {
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Environment => "environment",
        }
    }
}

/// A parsed value as text that may be shown. What holds a secret does not implement it; a text that looks like a secret is
/// described, whatever parser has accepted it.
pub(super) trait Shown {
    fn shown(&self) -> String;
}

impl Shown for String {
    fn shown(&self) -> String {
        visible(self)
    }
}

impl Shown for PathBuf {
    fn shown(&self) -> String {
        visible(&self.to_string_lossy())
    }
}

impl Shown for BaseUrl {
    fn shown(&self) -> String {
        visible(&format!("{}{}", self.origin(), self.base_path))
    }
}

/// Elements separated by commas.
impl<T: Shown> Shown for Vec<T> {
    fn shown(&self) -> String {
        if self.is_empty() {
            return UNSET.to_owned();
        }
        self.iter().map(Shown::shown).collect::<Vec<_>>().join(",")
    }
}

impl Shown for Duration {
    fn shown(&self) -> String {
        match self.subsec_millis() {
            0 => format!("{}s", self.as_secs()),
            _ => format!("{}ms", self.as_millis()),
        }
    }
}

macro_rules! shown {
    ($($type:ty: $text:expr),+ $(,)?) => {$(
        impl Shown for $type {
            fn shown(&self) -> String {
                let text: fn(&Self) -> _ = $text;
                text(self).to_string()
            }
        }
    )+};
}

shown! {
    bool: |it| *it,
    u16: |it| *it,
    usize: |it| *it,
    Algorithm: |it| match it {
        Self::Ps256 => "PS256",
        Self::Rs256 => "RS256",
    },
    LogLevel: |it| it.name(),
    LogFormat: |it| match it {
        Self::Text => "text",
        Self::Json => "json",
    },
}
