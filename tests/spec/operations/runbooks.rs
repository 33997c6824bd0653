//! Every alert has its section in docs/runbooks, every section its alert, and what they name exists: metrics, log events.

use std::collections::BTreeSet;

use super::exposition::Page;
use super::monitoring::read;
use crate::sim::{Options, Sim};
use crate::support::program::Proxy;

const FILES: [&str; 5] = ["README.md", "callers.md", "process.md", "sign-in.md", "upstream.md"];
/// What a section says, in this order.
const PARTS: [&str; 4] = ["**Means.**", "**Be sure.**", "**Do.**", "**It is not**"];

fn runbook(file: &str) -> String {
    read(&format!("docs/runbooks/{file}"))
}

/// Name, file and text of every section about an alert.
fn sections() -> Vec<(String, &'static str, String)> {
    let mut sections = Vec::new();
    for file in FILES {
        for section in runbook(file).split("\n## ").skip(1) {
            let (heading, text) = section.split_once('\n').unwrap();
            if heading.starts_with("AuthProxy") {
                sections.push((heading.to_owned(), file, text.to_owned()));
            }
        }
    }
    sections
}

/// The rules, each from its name to the next one.
fn rules() -> Vec<String> {
    let rules = read("deploy/monitoring/rules.yml");
    let rules: Vec<String> = rules.split("- alert: ").skip(1).map(str::to_owned).collect();
    assert!(rules.len() > 20, "{rules:?}");
    rules
}

/// The rest of the line after this.
fn after<'a>(text: &'a str, start: &str) -> &'a str {
    let rest = text.split_once(start).unwrap_or_else(|| panic!("{start:?} is missing in {text}")).1;
    rest.lines().next().unwrap().trim()
}

#[test]
fn every_alert_has_a_section_and_every_section_an_alert() {
    let sections = sections();
    let mut linked = BTreeSet::new();
    for rule in rules() {
        let name = rule.lines().next().unwrap();
        let Some((_, file, _)) = sections.iter().find(|(heading, _, _)| heading == name) else {
            panic!("docs/runbooks has no section {name}");
        };
        let link = format!("RUNBOOKS/{file}#{}", name.to_lowercase());
        assert_eq!(after(&rule, "runbook_url: "), link, "{name}");
        let severity = after(&rule, "severity: ").trim_end_matches('}');
        assert!(["critical", "warning"].contains(&severity), "{name}: {severity}");
        linked.insert(name.to_owned());
    }
    for (heading, file, text) in &sections {
        assert!(linked.contains(heading), "docs/runbooks/{file}: there is no alert {heading}");
        let places: Vec<_> = PARTS.iter().map(|part| text.find(part)).collect();
        assert!(
            places.iter().all(Option::is_some) && places.is_sorted(),
            "docs/runbooks/{file}: {heading} must have {PARTS:?} in this order"
        );
    }
}

/// That a rule can fire is tested: without that it is a hope.
#[test]
fn every_alert_is_tested_and_provoked() {
    let (tests, script) = (read("deploy/monitoring/rules_test.yml"), read("tools/monitoring/provoke.py"));
    let not_provoked = read("tools/monitoring/run.py");
    for rule in rules() {
        let name = rule.lines().next().unwrap();
        assert!(tests.contains(&format!("\"{name}\"")) || tests.contains(&format!(": {name}\n")), "{name}");
        let short = name.strip_prefix("AuthProxy").unwrap();
        assert!(
            script.contains(&format!("\"{short}\"")) || not_provoked.contains(&format!("{{\"{name}\":")),
            "{name} is not in tools/monitoring"
        );
    }
}

#[test]
fn runbooks_name_metrics_and_events_that_there_are() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let proxy = Proxy::start_with(&sim, &[("ADMIN_PORT", "0")]);
    let text = proxy.admin("/metrics").text();
    let page = Page::parse(&text);
    let families: BTreeSet<&str> = page.families().collect();
    let log_schema = read("docs/log-schema.md");
    let in_log = |event: &str| log_schema.contains(&format!("`{event}`"));
    let (mut metrics, mut events) = (0, 0);
    let rules = rules().join("");
    let mut texts: Vec<_> = FILES.iter().map(|file| (*file, runbook(file))).collect();
    texts.push(("rules.yml", rules));
    for (file, text) in &texts {
        for quoted in text.split('`').skip(1).step_by(2) {
            if quoted.starts_with("auth_proxy_") || quoted.starts_with("process_") {
                assert!(families.contains(quoted), "{file} names {quoted}, which is not on /metrics");
                metrics += 1;
            }
        }
        // `the log line X`, `the log lines X and Y`; what follows with an equals sign is a field of it.
        for rest in text.to_lowercase().split("log line").skip(1).filter_map(|rest| rest.split_once('`')) {
            if rest.0.trim_start_matches('s').trim().is_empty() {
                let event = rest.1.split('`').next().unwrap();
                assert!(
                    in_log(event) || log_schema.to_lowercase().contains(event),
                    "{file}: no event {event}"
                );
                events += 1;
            }
        }
    }
    assert!(metrics > 15 && events > 15, "{metrics} metrics, {events} events");
}

/// The index by what one sees: events and their fields are in the log's documentation.
#[test]
fn the_index_of_outages_names_events_and_fields_of_the_log() {
    let text = runbook("README.md");
    let table = text.split("## What do I see?").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(2)
        .map(|line| line.split(" | ").collect())
        .collect();
    assert!(rows.len() >= 14, "{rows:?}");
    let log_schema = read("docs/log-schema.md");
    let program = read("tests/spec/operations/outages.rs");
    for row in rows {
        assert_eq!(row.len(), 5, "{row:?}");
        for quoted in row[1].split('`').skip(1).step_by(2) {
            let name = quoted.split('=').next().unwrap();
            let is_there = log_schema.contains(&format!("`{name}`")) || program.contains(quoted);
            assert!(is_there, "docs/runbooks/README.md: {quoted} is neither an event nor a field of the log");
        }
        assert!(row[4].contains("]("), "{row:?} leads nowhere");
    }
}
