//! Promises of the repository about itself, read from its files; nothing is started:
//!
//! - modules know only what is below them, and the simulator shares no code with the program ([`boundaries`]);
//! - documents have the settings, messages, events, exit codes and versions of the program, and every link leads somewhere
//!   ([`documents`], [`links`]);
//! - there is no unsafe code, and every exception has its reason ([`sources`]);
//! - one word for one thing ([`words`]).

mod boundaries;
mod documents;
mod links;
mod sources;
mod words;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The tracked files, and those that would be: everything that git does not ignore.
fn tracked() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let listed = listed.ok().filter(|output| output.status.success());
    // Outside a checkout, as in a source archive, there is nothing else here.
    let Some(listed) = listed else { return walk(root(), &["target", ".git", "vendor"]) };
    let text = String::from_utf8(listed.stdout).unwrap();
    text.lines().map(str::to_owned).filter(|file| root().join(file).is_file()).collect()
}

fn walk(folder: &Path, except: &[&str]) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let entries: Vec<PathBuf> =
        entries.filter(|path| !except.iter().any(|name| path.ends_with(name))).collect();
    let (folders, files): (Vec<_>, Vec<_>) = entries.into_iter().partition(|path| path.is_dir());
    let name = |path: PathBuf| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    let below = folders.iter().flat_map(|folder| walk(folder, &[]));
    below.chain(files.into_iter().map(name)).collect()
}

/// The Rust files below this folder.
fn rust_files(folder: &str) -> Vec<String> {
    let files = tracked().into_iter();
    let files: Vec<String> = files.filter(|file| file.starts_with(folder) && file.ends_with(".rs")).collect();
    assert!(!files.is_empty(), "no Rust files in {folder}");
    files
}

/// Whether a file of `src` holds nothing but tests.
fn is_test(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/") || file.ends_with("/test_kit.rs")
}

/// The part of a file before its test module.
fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests {").map_or(text, |tests| &text[..tests])
}

/// Code alone, line by line with its number: no comments, no tests.
fn code(file: &str) -> Vec<(usize, String)> {
    let text = read(file);
    let lines = without_tests(&text).lines().enumerate();
    let lines =
        lines.map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default().to_owned()));
    lines.filter(|(_, line)| !line.trim().is_empty()).collect()
}

/// Whether this stands in a line, not as a part of a longer name.
fn names(line: &str, name: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(part_of_name);
        let after = line[at + name.len()..].chars().next().is_some_and(part_of_name);
        !(before && name.starts_with(part_of_name) || after && name.ends_with(part_of_name))
    })
}

/// Fails with all of these at once.
#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}
