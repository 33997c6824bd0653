//! What every source file keeps to.

use super::{code, names, none, read, rust_files};

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
