//! What every source file keeps to.

use super::{code, names, none, read, root, rust_files, tracked};

#[test]
fn there_is_no_unsafe_code() {
    let manifest = read("Cargo.toml");
    assert!(manifest.contains("unsafe_code = \"forbid\""), "the compiler sees to it");
    let files = rust_files("src/").into_iter().chain(rust_files("tests/")).chain(rust_files("examples/"));
    let mut found = Vec::new();
    for file in files.filter(|file| !file.starts_with("tests/spec/structure")) {
        for (number, line) in code(&file) {
            if names(&line, "unsafe") || names(&line, "unsafe_code") {
                found.push(format!("{file}:{number}"));
            }
        }
    }
    none("unsafe code", &found);
}

/// What is switched off is switched off for a reason that stands beside it.
#[test]
fn every_exception_carries_its_reason() {
    let mut found = Vec::new();
    for file in rust_files("").into_iter().filter(|file| !file.starts_with("tests/spec/structure")) {
        let text = read(&file);
        for kind in ["allow(", "expect(", "ignore"] {
            for start in ["#[", "#!["] {
                for (at, _) in text.match_indices(&format!("{start}{kind}")) {
                    let attribute = &text[at..at + text[at..].find(']').unwrap()];
                    let reasoned = match kind {
                        "ignore" => attribute.contains("= \"") && attribute.len() > 20,
                        _ => attribute.contains("reason = \""),
                    };
                    if !reasoned {
                        let line = text[..at].lines().count();
                        found.push(format!("{file}:{line} {attribute}]"));
                    }
                }
            }
        }
    }
    none("without a reason", &found);
}

#[test]
fn nothing_names_a_place_on_somebodys_machine() {
    // Put together here, so that this file does not name them.
    let places = ["root", "home", "work", "Users"].map(|name| format!("/{name}/"));
    let mut found = Vec::new();
    for file in tracked().iter().filter(|file| !file.starts_with("fuzz/corpus/")) {
        let Ok(text) = std::fs::read_to_string(root().join(file)) else { continue };
        for (index, line) in text.lines().enumerate() {
            for place in &places {
                // As the beginning of a path, not in the middle of one.
                let begins = |at: usize| {
                    let before = line[..at].chars().next_back();
                    !before.is_some_and(|c| c.is_alphanumeric() || "_-.$}/~".contains(c))
                };
                if line.match_indices(place.as_str()).any(|(at, _)| begins(at)) {
                    found.push(format!("{file}:{}: {}", index + 1, line.trim()));
                }
            }
        }
    }
    none("absolute paths", &found);
}
