//! What is written about the program, against the program.

use std::collections::BTreeMap;

use auth_proxy::cli::{Exit, help};
use auth_proxy::config::SETTINGS;

use super::{none, read};

#[test]
fn the_settings_in_the_readme_are_those_of_the_program() {
    let readme = read("README.md");
    let mut rows = BTreeMap::new();
    let table = readme.split("\n## Settings\n").nth(1).expect("a section named Settings");
    let table = table.lines().skip_while(|line| !line.starts_with("| variable")).skip(2);
    for line in table.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, default, meaning] = cells[..] else { panic!("not three cells: {line}") };
        rows.insert(name.trim_matches('`').to_owned(), (default.replace('`', ""), meaning.replace('`', "")));
    }
    let mut found = Vec::new();
    for setting in SETTINGS {
        match rows.remove(setting.name) {
            None => found.push(format!("{} is not in the README", setting.name)),
            Some(row) if row != (setting.default.to_owned(), setting.meaning.replace('`', "")) => {
                found.push(format!("{}: {row:?}, in the program {setting:?}", setting.name));
            }
            Some(_) => {}
        }
    }
    found.extend(rows.keys().map(|name| format!("{name} is only in the README")));
    none("the README's settings differ", &found);
}

#[test]
fn help_lists_every_setting_and_every_exit_code() {
    let help = help();
    for setting in SETTINGS {
        let entry =
            format!("\n  {}\n      {} (default: {})\n", setting.name, setting.meaning, setting.default);
        assert!(help.contains(&entry), "{} in\n{help}", setting.name);
    }
    let readme = read("README.md");
    for exit in [Exit::Done, Exit::Failed, Exit::Usage, Exit::Identity, Exit::Listen] {
        let code = exit as u8;
        assert!(help.contains(&format!("\n  {code}  ")), "exit code {code} in\n{help}");
        assert!(readme.contains(&format!("\n| {code} | ")), "exit code {code} in the README");
    }
}

#[test]
fn the_changelog_knows_this_version() {
    let changelog = read("CHANGELOG.md");
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        changelog.contains(&format!("\n## [{version}]")),
        "CHANGELOG.md has no section for version {version} of Cargo.toml"
    );
}

/// A dependency is a promise to follow it: each says what it is for.
#[test]
fn every_dependency_says_why_it_is_there() {
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
        let path = super::root().join(manifest);
        if manifest != "Cargo.toml" && !path.exists() {
            continue;
        }
        let (text, mut section, mut before) = (read(manifest), String::new(), "");
        let mut found = Vec::new();
        for line in text.lines() {
            if line.starts_with('[') {
                line.clone_into(&mut section);
            } else if section.ends_with("dependencies]") && !line.is_empty() && !line.starts_with('#') {
                // Arrays over several lines are indented.
                let is_entry = line.starts_with(|c: char| c.is_ascii_alphanumeric());
                if is_entry && !before.starts_with("# ") {
                    found.push(format!("{manifest}: {line}"));
                }
            }
            before = line;
        }
        none("dependencies without a reason in the line above", &found);
    }
}
