//! What is written about the program, against the program.

use std::collections::BTreeMap;

use auth_proxy::testing::{Exit, REMEDIES, SETTINGS, help};

use super::{none, read, rust_files, tracked};

/// The cells of a table's row.
fn cells(row: &str) -> Vec<&str> {
    row.trim_matches('|').split('|').map(str::trim).collect()
}

#[test]
fn the_settings_in_the_documentation_are_those_of_the_program() {
    let document = read("docs/settings.md");
    let mut rows = BTreeMap::new();
    let table = document.split("\n## Settings\n").nth(1).expect("a section named Settings");
    let table = table.lines().skip_while(|line| !line.starts_with("| variable")).skip(2);
    for line in table.take_while(|line| line.starts_with('|')) {
        let [name, default, meaning] = cells(line)[..] else { panic!("not three cells: {line}") };
        rows.insert(name.trim_matches('`').to_owned(), (default.replace('`', ""), meaning.replace('`', "")));
    }
    let mut found = Vec::new();
    for setting in SETTINGS {
        match rows.remove(setting.name) {
            None => found.push(format!("{} is not in docs/settings.md", setting.name)),
            Some(row) if row != (setting.default.to_owned(), setting.meaning.replace('`', "")) => {
                found.push(format!("{}: {row:?}, in the program {setting:?}", setting.name));
            }
            Some(_) => {}
        }
    }
    found.extend(rows.keys().map(|name| format!("{name} is only in docs/settings.md")));
    none("the settings of docs/settings.md differ", &found);
}

#[test]
fn help_lists_every_setting_and_every_exit_code() {
    let help = help();
    for setting in SETTINGS {
        let entry = format!("\n  {}\n      {} (", setting.name, setting.meaning);
        let default = format!("{})\n", setting.default);
        let rest = help.split_once(&entry).map(|(_, rest)| rest.trim_start_matches("default: "));
        assert!(rest.is_some_and(|rest| rest.starts_with(&default)), "{} in\n{help}", setting.name);
    }
    let document = read("docs/settings.md");
    for exit in [Exit::Done, Exit::Failed, Exit::Usage, Exit::Identity, Exit::Listen] {
        let code = exit as u8;
        assert!(help.contains(&format!("\n  {code}  ")), "exit code {code} in\n{help}");
        assert!(document.contains(&format!("\n| {code} | ")), "exit code {code} in docs/settings.md");
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

/// What stands in a text between these two.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once(end).map(|(found, _)| found)
}

/// What a runbook says is seen was seen: the test reads it there.
#[test]
fn every_runbook_that_names_a_test_is_carried_out_by_it() {
    let files = tracked().into_iter().filter(|file| file.starts_with("docs/runbooks/"));
    let mut named: Vec<(String, String)> = files
        .filter_map(|file| {
            let test = between(&read(&file), "Carried out by `runbooks::", "`")?.to_owned();
            Some((test, file.strip_prefix("docs/runbooks/")?.to_owned()))
        })
        .collect();
    let source = read("tests/spec/runbooks.rs");
    let tests = source.split("#[test]\nfn ").skip(1);
    let mut carried_out: Vec<(String, String)> = tests
        .map(|test| {
            let page = between(test, "Runbook::open(\"", "\"").expect("each test carries a page out");
            (test.split('(').next().unwrap().to_owned(), page.to_owned())
        })
        .collect();
    named.sort();
    carried_out.sort();
    assert_eq!(named, carried_out, "what the pages name, and what the tests carry out");
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

#[test]
fn the_error_codes_in_the_documentation_are_those_of_the_program() {
    let document = read("docs/aadsts.md");
    let rows: Vec<_> = document.lines().filter(|line| line.starts_with("| `AADSTS")).map(cells).collect();
    let row =
        |code: u32, meaning: &'static str, action: &'static str| (format!("`AADSTS{code}`"), meaning, action);
    let known: Vec<_> = REMEDIES.iter().map(|it| row(it.code, it.meaning, it.action)).collect();
    let known: Vec<_> =
        known.iter().map(|(code, meaning, action)| vec![code.as_str(), meaning, action]).collect();
    let missing =
        known.iter().filter(|row| !rows.contains(row)).map(|row| format!("| {} |", row.join(" | ")));
    let mut found: Vec<String> = missing.collect();
    let unknown = rows.iter().filter(|row| !known.contains(row));
    found.extend(unknown.map(|row| format!("only there: | {} |", row.join(" | "))));
    none("docs/aadsts.md differs from src/token/remedies.rs", &found);
    assert_eq!(rows.len(), known.len(), "the same code twice");
}

/// What stands between backticks in the first column of a text's tables.
fn looked_up(text: &str) -> Vec<&str> {
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.contains("---"));
    rows.flat_map(|row| cells(row)[0].split('`').skip(1).step_by(2)).collect()
}

/// People search for what they see: the tables hold the messages of the program or, as the tests have them, of Azure.
#[test]
fn messages_to_look_up_are_those_of_the_program() {
    let files = ["src/", "tests/sim/", "tests/spec/"].into_iter().flat_map(rust_files);
    let files = files.filter(|file| !file.starts_with("tests/spec/structure"));
    // A text that is written on several lines is one here.
    let messages: String = files.map(|file| read(&file).replace("\\\n", "")).collect();
    let messages = messages.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_code = |text: &str| {
        let number = text.strip_prefix("AADSTS").map(|number| number.trim_end_matches('…'));
        number.is_some_and(|number| {
            number.is_empty() || REMEDIES.iter().any(|it| it.code.to_string() == number)
        })
    };
    let document = read("docs/troubleshooting.md");
    let texts = looked_up(&document);
    assert!(texts.len() > 40, "{texts:?}");
    let unknown_texts =
        texts.into_iter().filter(|text| !is_code(text) && !messages.contains(&text.replace('\\', "\\\\")));
    none("no such message", &unknown_texts.map(str::to_owned).collect::<Vec<_>>());
}

/// The calls that log an event, each up to the end of its statement.
fn log_calls(source: &str) -> impl Iterator<Item = &str> {
    let calls = ["error", "warn", "info", "debug", "event"];
    source
        .split("log::")
        .skip(1)
        .filter(move |rest| {
            calls.iter().any(|call| rest.strip_prefix(call).is_some_and(|rest| rest.starts_with('(')))
        })
        .map(|rest| rest.split(");").next().unwrap())
}

/// What stands between quotation marks in code, the strings that end on another line apart.
fn literals(code: &str) -> impl Iterator<Item = &str> {
    code.lines().flat_map(|line| line.split('"').skip(1).step_by(2))
}

#[test]
fn the_log_in_the_documentation_is_that_of_the_program() {
    let document = read("docs/log-schema.md");
    let written: Vec<&str> = document.split('`').skip(1).step_by(2).collect();
    let sources = rust_files("src/").into_iter().filter(|file| !file.contains("tests"));
    let sources: Vec<String> = sources.map(|file| read(&file)).collect();
    let mut found = Vec::new();
    let mut events = 0;
    for call in sources.iter().flat_map(|source| log_calls(source)) {
        // The first is the event, unless a message of its own is logged; a name of a field is followed by its value.
        let event = literals(call.split('[').next().unwrap()).find(|text| !text.is_empty());
        let fields = call.split("(\"").skip(1).filter_map(|rest| rest.split_once("\", "));
        let fields = fields.map(|(name, _)| name).filter(|name| Some(*name) != event);
        events += usize::from(event.is_some());
        found.extend(event.into_iter().chain(fields).filter(|it| !written.contains(it)).map(str::to_owned));
    }
    assert!(events > 20, "only {events} events");
    none("docs/log-schema.md lacks", &found);

    let code = sources.join("\n");
    let unknown_texts =
        looked_up(&document).into_iter().filter(|event| !event.contains('…') && !code.contains(event));
    none("no such event", &unknown_texts.map(str::to_owned).collect::<Vec<_>>());
}
