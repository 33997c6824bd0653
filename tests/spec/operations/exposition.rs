//! A reader of the Prometheus text format 0.0.4 that takes nothing for granted: what a scraper would only shrug at
//! fails here.

use std::collections::BTreeMap;

/// A page, checked while it was read.
pub struct Page {
    /// By name and labels as written: `name{a="b"}`.
    samples: BTreeMap<String, f64>,
    kinds: BTreeMap<String, String>,
}

impl Page {
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line must end, too");
        let mut page = Self { samples: BTreeMap::new(), kinds: BTreeMap::new() };
        let (mut helped, mut current) = (String::new(), String::new());
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(help.ends_with('.') && !help.contains('\\'), "{line}");
                name.clone_into(&mut helped);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, helped, "HELP and TYPE come together");
                assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
                let known = page.kinds.insert(name.to_owned(), kind.to_owned());
                assert!(known.is_none(), "{name} comes twice");
                name.clone_into(&mut current);
            } else {
                let (key, value) = line.rsplit_once(' ').unwrap();
                page.check_name(key, &current);
                let known = page.samples.insert(key.to_owned(), value.parse().unwrap());
                assert!(known.is_none(), "{key} comes twice");
            }
        }
        page.check_histograms();
        page
    }

    /// The value of a sample, by name and labels as written.
    #[track_caller]
    pub fn value(&self, key: &str) -> f64 {
        *self.samples.get(key).unwrap_or_else(|| panic!("no {key} in {:#?}", self.samples))
    }

    pub fn has(&self, key: &str) -> bool {
        self.samples.contains_key(key)
    }

    /// All samples of a family together.
    pub fn sum(&self, family: &str) -> f64 {
        let of_family = |key: &str| key.split('{').next() == Some(family);
        self.samples.iter().filter(|(key, _)| of_family(key)).map(|(_, value)| value).sum()
    }

    /// How many samples a family has.
    pub fn family(&self, family: &str) -> usize {
        self.samples.keys().filter(|key| key.split('{').next() == Some(family)).count()
    }

    pub fn families(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    pub fn samples(&self) -> usize {
        self.samples.len()
    }

    #[track_caller]
    fn check_name(&self, key: &str, family: &str) {
        let (name, labels) = match key.split_once('{') {
            None => (key, ""),
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
        };
        let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{key} does not belong to {family}"));
        let histogram = self.kinds[family] == "histogram";
        assert!(suffix.is_empty() != histogram, "{key}");
        assert!(name.starts_with("auth_proxy_") || name.starts_with("process_"), "{key}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{key}");
        for label in labels.split_terminator("\",") {
            let (name, value) = label.split_once("=\"").unwrap();
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{key}");
            assert!(value.trim_end_matches('"').bytes().all(|b| b.is_ascii_graphic() || b == b' '), "{key}");
        }
    }

    fn check_histograms(&self) {
        for (family, _) in self.kinds.iter().filter(|(_, kind)| *kind == "histogram") {
            let prefix = format!("{family}_bucket{{le=\"");
            let mut buckets: Vec<(f64, f64)> = self
                .samples
                .iter()
                .filter_map(|(key, value)| {
                    let bound = key.strip_prefix(&prefix)?.strip_suffix("\"}")?;
                    Some((bound.replace("+Inf", "inf").parse().unwrap(), *value))
                })
                .collect();
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{family} is not cumulative: {buckets:?}");
            let last = buckets.last().unwrap();
            assert!(last.0.is_infinite(), "{family} has no +Inf");
            assert_eq!(last.1, self.value(&format!("{family}_count")));
            assert!(self.has(&format!("{family}_sum")));
        }
    }
}
