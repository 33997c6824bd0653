//! The table of settings, from which `--help` is printed and against which the README is tested.

/// One environment variable.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The variable's name.
    pub name: &'static str,
    /// The default as people read it: a value, `required` or `unset`.
    pub default: &'static str,
    /// What it means, one line.
    pub meaning: &'static str,
}

/// Every variable that the program reads.
pub const SETTINGS: &[Setting] = &[];
