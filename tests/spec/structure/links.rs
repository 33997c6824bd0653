//! Links between our own documents lead somewhere: to a file, and to a heading in it.

use std::path::{Component, Path, PathBuf};

use super::{none, read, root, tracked};

/// The text without its blocks of code.
fn prose(text: &str) -> String {
    let mut inside = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The anchors of a document's headings, as GitHub makes them: no punctuation, lower case, a hyphen for each space.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let kept = heading.trim_start_matches('#').trim().chars();
        let kept = kept.filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase()
    };
    headings.map(anchor).collect()
}

/// Where the links of a text lead.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// `a/b/../c` is `a/c`.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, part| {
        if part == Component::ParentDir {
            assert!(path.pop(), "it leaves the repository")
        } else {
            path.push(part)
        }
        path
    })
}

#[test]
fn links_between_documents_lead_somewhere() {
    let documents: Vec<String> = tracked().into_iter().filter(|file| file.ends_with(".md")).collect();
    let (mut found, mut followed) = (Vec::new(), 0);
    for document in &documents {
        let text = prose(&read(document));
        for target in targets(&text).filter(|target| !target.contains("://")) {
            let (file, anchor) =
                target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
            let path = if file.is_empty() {
                PathBuf::from(document)
            } else {
                plain(&Path::new(document).parent().unwrap().join(file))
            };
            let is_there = root().join(&path).exists()
                && anchor.is_none_or(|anchor| {
                    anchors(&prose(&read(path.to_str().unwrap()))).contains(&anchor.into())
                });
            if !is_there {
                found.push(format!("{document}: {target}"));
            }
            followed += 1;
        }
    }
    assert!(followed > 30, "only {followed} links in {documents:?}");
    none("links that lead nowhere", &found);
}

/// What people look for first is one link away from the front page.
#[test]
fn every_document_is_linked_from_another() {
    let documents: Vec<String> = tracked().into_iter().filter(|file| file.ends_with(".md")).collect();
    let mut linked = vec![PathBuf::from("README.md")];
    for document in &documents {
        let text = prose(&read(document));
        let files = targets(&text)
            .filter(|target| !target.contains("://"))
            .map(|target| target.split('#').next().unwrap());
        linked.extend(files.map(|file| plain(&Path::new(document).parent().unwrap().join(file))));
    }
    let found: Vec<String> =
        documents.into_iter().filter(|document| !linked.contains(&document.into())).collect();
    none("nothing leads to", &found);
}
