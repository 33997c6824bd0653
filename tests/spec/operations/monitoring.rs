//! Dashboard, alert rules and documentation name the metrics that there are, all of them, and label values that exist.

use std::collections::BTreeSet;
use std::path::Path;

use super::exposition::Page;
use crate::sim::{Options, Sim};
use crate::support::program::Proxy;

/// Labels whose values are ours; others (`instance`, `job`) come from the scraper.
const LABELS: [&str; 6] = ["direction", "kind", "method", "reason", "result", "status"];

pub(super) fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every string below a member of this name.
fn members(value: &serde_json::Value, name: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(object) => {
            for (key, value) in object {
                found.extend(value.as_str().filter(|_| key == name).map(str::to_owned));
                members(value, name, found);
            }
        }
        serde_json::Value::Array(list) => list.iter().for_each(|value| members(value, name, found)),
        _ => {}
    }
}

/// What is asked of Prometheus: the dashboard's expressions, and the rules as they are.
fn queries() -> Vec<(&'static str, String)> {
    let (dashboard, rules) = ("deploy/monitoring/dashboard.json", "deploy/monitoring/rules.yml");
    let mut found = Vec::new();
    members(&serde_json::from_str(&read(dashboard)).unwrap(), "expr", &mut found);
    assert!(found.len() > 20, "{found:?}");
    found.into_iter().map(|expression| (dashboard, expression)).chain([(rules, read(rules))]).collect()
}

/// The family of a name in a query; none when it is no metric of ours.
fn family<'a>(name: &'a str, page: &Page) -> Option<&'a str> {
    if !name.starts_with("auth_proxy_") && !name.starts_with("process_") {
        return None;
    }
    let whole = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
    Some(whole.filter(|whole| page.families().any(|family| family == *whole)).unwrap_or(name))
}

#[test]
fn dashboard_rules_and_documentation_fit_the_metrics() {
    let sim = Sim::start(Options { azure_tls: false, ..Options::default() });
    let proxy = Proxy::start_with(&sim, &[("ADMIN_PORT", "0")]);
    let text = proxy.admin("/metrics").text();
    let page = Page::parse(&text);
    let families: BTreeSet<&str> = page.families().collect();
    let queries = queries();
    let mut used = BTreeSet::new();
    for (file, query) in &queries {
        for name in query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let Some(family) = family(name, &page) else { continue };
            assert!(families.contains(family), "{file} names {name}, which is not on /metrics");
            used.insert(family);
        }
        for label in LABELS {
            for (at, _) in query.match_indices(label) {
                let rest = query[at + label.len()..].trim_start_matches(['=', '~']);
                let Some(values) = rest.strip_prefix('"').and_then(|rest| rest.split('"').next()) else {
                    continue;
                };
                for value in values.split('|') {
                    // `5..` is every status of that class: which ones are on the page depends on what came.
                    let known = match value.strip_suffix("..") {
                        Some(class) => text.contains(&format!("{label}=\"{class}xx\"")),
                        None => text.contains(&format!("{label}=\"{value}\"")),
                    };
                    assert!(known, "{file} asks for {label}={value}, which is not on /metrics");
                }
            }
        }
    }
    let unused: Vec<_> = families.difference(&used).collect();
    assert!(unused.is_empty(), "neither dashboard nor rules use {unused:?}");
    let documentation = read("docs/health-and-metrics.md");
    for family in families.iter().filter_map(|family| family.strip_prefix("auth_proxy_")) {
        assert!(
            documentation.contains(&format!("`{family}`")),
            "docs/health-and-metrics.md does not have {family}"
        );
    }
    for label in ["direction", "kind", "method", "reason", "result"] {
        for value in text.split(&format!("{label}=\"")).skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(
                documentation.contains(&format!("`{value}`")),
                "docs/health-and-metrics.md: no {label} {value}"
            );
        }
    }
}
