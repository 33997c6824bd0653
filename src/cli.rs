//! Commands, help and exit codes; the only file that prints to the terminal.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program.
pub fn run(_arguments: impl Iterator<Item = OsString>) -> ExitCode {
    ExitCode::FAILURE
}
