//! Modules are layers: this walks `src` and fails with file and line on an import that the table does not allow.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Each layer with the layers that it may import, besides itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("domain", &["base"]),
    ("config", &["base", "domain"]),
    ("store", &["base", "domain", "config"]),
    ("journal", &["base", "domain", "config", "store"]),
    ("bus", &["base", "domain", "config", "store", "journal"]),
    ("files", &["base", "domain", "config", "store"]),
    ("live", &["base", "domain", "config", "store", "journal", "bus"]),
    ("service", &["base", "domain", "config", "store", "journal", "bus", "files", "live"]),
    ("realtime", &["base", "domain", "config", "store", "journal", "bus", "files", "live", "service"]),
    ("delivery", &["base", "domain", "config", "store", "journal", "bus", "files", "live", "service"]),
    ("http", &["base", "domain", "config", "service", "realtime"]),
    ("api", &["base", "domain", "config", "http", "service", "store", "files"]),
];

/// Outside crates that stand only in these layers (and in `app`, which wires).
const OUTSIDERS: &[(&str, &[&str])] = &[
    ("actix_web", &["http"]),
    ("actix", &["live"]),
    ("async_nats", &["bus"]),
    ("deadpool", &["store"]),
    ("object_store", &["files"]),
    ("prost", &["realtime"]),
    ("lettre", &["delivery"]),
    ("reqwest", &["base"]),
    ("matchit", &["http"]),
    ("figment", &["config"]),
    ("argon2", &["service"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Names of the crate's modules that a text imports, with their lines: `crate::x` and `use crate::{x, y}`.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (position, _) in text.match_indices("crate::") {
        if position > 0
            && (text.as_bytes()[position - 1].is_ascii_alphanumeric()
                || text.as_bytes()[position - 1] == b'$')
        {
            continue;
        }
        let line = text[..position].matches('\n').count() + 1;
        let rest = &text[position + "crate::".len()..];
        let word = |text: &str| -> String {
            text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
        };
        let Some(group) = rest.strip_prefix('{') else {
            found.push((line, word(rest)));
            continue;
        };
        let mut depth = 0;
        let mut at_start = true;
        for (offset, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => at_start = true,
                c if at_start && depth == 0 && !c.is_whitespace() => {
                    at_start = false;
                    found.push((line, word(&group[offset..])));
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn every_layer_imports_only_what_stands_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let known: BTreeSet<&str> = LAYERS.iter().map(|(layer, _)| *layer).collect();
    let mut wrong = Vec::new();
    for file in files {
        let place = file.strip_prefix(&root).unwrap();
        let layer = place.iter().next().unwrap().to_str().unwrap();
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else { continue };
        let text = fs::read_to_string(&file).unwrap();
        for (line, module) in imports(&text) {
            if known.contains(module.as_str()) && module != layer && !allowed.contains(&module.as_str()) {
                wrong.push(format!("src/{}:{line}: {layer} imports {module}", place.display()));
            }
        }
        for (outsider, homes) in OUTSIDERS {
            for (index, line) in text.lines().enumerate() {
                let line = line.trim_start();
                let imports = line.starts_with(&format!("use {outsider}::"))
                    || line.contains(&format!(" {outsider}::"));
                if imports && !line.starts_with("//") && !homes.contains(&layer) {
                    wrong.push(format!("src/{}:{}: {layer} imports {outsider}", place.display(), index + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_folder_of_src_is_a_layer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let known: BTreeSet<String> =
        LAYERS.iter().map(|(layer, _)| (*layer).to_owned()).chain(["app".to_owned()]).collect();
    let folders: BTreeSet<String> = fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert_eq!(folders, known);
}
