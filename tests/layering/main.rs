//! Which module may import which: downwards only, so that a module can be understood without those above it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::pedantic,
    reason = "a failing test panics, its tasks end with its runtime, and readability matters more than speed"
)]

mod cycles;

use std::{fs, path::Path};

/// What every module may import: these modules import no other one but each other, and `VERSION` is in `lib.rs`.
const EVERYWHERE: &[&str] = &["settings", "tasks", "telemetry", "VERSION"];

/// Each top-level module with the other modules that it may import.
const MODULES: &[(&str, &[&str])] = &[
    ("api", &["auth", "credentials", "pb", "store", "tenants"]),
    ("auth", &["transport"]),
    ("cli", &["auth", "config", "credentials", "embedded", "s3", "server", "store", "tenants", "transport"]),
    ("config", &["auth", "credentials", "s3", "server", "store", "tenants", "transport"]),
    ("credentials", &["pb", "transport"]),
    ("embedded", &[]),
    ("pb", &[]),
    ("s3", &["credentials", "transport"]),
    ("server", &["api", "auth", "pb", "tenants"]),
    ("settings", &[]),
    ("store", &["credentials", "s3", "transport"]),
    ("tasks", &[]),
    ("telemetry", &[]),
    ("tenants", &["auth", "credentials", "store"]),
    ("transport", &[]),
];

/// Crates with the only modules that may use them.
const CRATES: &[(&str, &[&str])] = &[
    // `credentials` for the service that it asks for credentials.
    ("tonic", &["api", "server", "pb", "credentials"]),
    ("prost_types", &["api", "server"]),
    ("hyper", &["transport", "server", "embedded"]),
    ("quick_xml", &["s3"]),
    ("aws_sdk_sts", &["credentials"]),
    ("aws_sdk_sso", &["credentials"]),
    ("aws_sdk_ssooidc", &["credentials"]),
    ("granit_parser", &["config"]),
    ("redb", &["embedded"]),
    ("s3s", &["embedded"]),
];

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The top-level modules that a source file imports: the first names after `crate::`, including those in groups.
fn imports(source: &str) -> Vec<String> {
    let code: String =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut modules = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => modules.extend(heads(group)),
            None => modules.extend(name(rest)),
        }
    }
    modules
}

/// The first name of each entry of a group, without nested groups.
fn heads(group: &str) -> Vec<String> {
    let (mut depth, mut at_head, mut found) = (1, true, Vec::new());
    for (index, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => at_head = true,
            character if at_head && !character.is_whitespace() => {
                found.extend(name(&group[index..]));
                at_head = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

/// Whether the code of a source file uses a crate. Log targets are strings, and do not count.
fn uses(source: &str, krate: &str) -> bool {
    let path = format!("{krate}::");
    source.lines().any(|line| {
        let code = line.split("//").next().unwrap_or_default();
        code.match_indices(&path).any(|(at, _)| {
            let before = code[..at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '"')
        })
    })
}

fn name(text: &str) -> Option<String> {
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// What breaks the rules in one file of `module`.
fn violations(module: &str, path: &str, source: &str) -> Vec<String> {
    let Some((_, allowed)) = MODULES.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{path} belongs to {module}, which MODULES does not list")];
    };
    let may_import = |name: &String| {
        name == module || EVERYWHERE.contains(&name.as_str()) || allowed.contains(&name.as_str())
    };
    let imported = imports(source).into_iter().filter(|name| !may_import(name));
    let mut found: Vec<_> = imported.map(|name| format!("{path} imports {name}")).collect();
    for (name, modules) in CRATES {
        if uses(source, name) && !modules.contains(&module) {
            found.push(format!("{path} uses the crate {name}"));
        }
    }
    found
}

#[test]
fn modules_import_downwards_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut found) = (Vec::new(), Vec::new());
    sources(&root, &mut files);
    for (path, source) in files {
        let relative = Path::new(&path).strip_prefix(&root).unwrap();
        let module = Path::new(relative.iter().next().unwrap()).file_stem().unwrap().to_str().unwrap();
        if !matches!(module, "lib" | "main") {
            found.extend(violations(module, &path, &source));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_files_import_each_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    for (path, _) in &mut files {
        *path = Path::new(path).strip_prefix(&root).unwrap().display().to_string();
    }
    assert_eq!(cycles::in_cycles(&files), [""; 0]);
}

#[test]
fn every_listed_module_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let listed = MODULES.iter().flat_map(|(name, allowed)| [&[*name], *allowed].concat());
    let exists = |name: &str| root.join(name).is_dir() || root.join(format!("{name}.rs")).is_file();
    let missing: Vec<_> = listed.filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_module_or_an_import_that_is_not_listed_is_a_violation() {
    assert_eq!(violations("api", "f.rs", "use crate::{auth::Access, pb};"), [""; 0]);
    assert_eq!(violations("api", "f.rs", "use crate::server::Server;"), ["f.rs imports server"]);
    assert_eq!(violations("api", "f.rs", "use crate::cache;"), ["f.rs imports cache"]);
    assert_eq!(violations("auth", "f.rs", "use tonic::Status;"), ["f.rs uses the crate tonic"]);
    assert_eq!(violations("cache", "f.rs", "").len(), 1);
}

#[test]
fn imports_are_found_in_every_form() {
    let source = "use crate::s3::Error;\nuse crate::{api::{call, s3}, store::S3Store};\n// crate::server\nfn f() { crate::auth::x() }";
    assert_eq!(imports(source), ["s3", "api", "store", "auth"]);
}
