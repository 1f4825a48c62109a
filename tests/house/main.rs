//! Which room may import which: downwards only, so that a room can be understood without those above it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::pedantic,
    reason = "a test that cannot go on panics, its tasks end with it, and it is read more often than run"
)]

use std::{fs, path::Path};

/// Each room with the rooms that it may import. `telemetry` may be imported by all and imports none.
const ROOMS: &[(&str, &[&str])] = &[
    ("api", &["auth", "pb", "store", "tenants"]),
    ("auth", &[]),
    (
        "cli",
        &[
            "auth",
            "client",
            "config",
            "credentials",
            "embedded",
            "s3",
            "server",
            "store",
            "tenants",
            "transport",
        ],
    ),
    ("config", &["auth", "credentials", "s3", "server", "store", "tenants", "transport"]),
    ("credentials", &["transport"]),
    ("embedded", &[]),
    ("pb", &[]),
    ("s3", &["credentials", "transport"]),
    ("server", &["api", "auth", "pb", "tenants"]),
    ("store", &["credentials", "s3", "transport"]),
    ("telemetry", &[]),
    ("tenants", &["auth", "store"]),
    ("transport", &[]),
];

/// Crates that stay in their rooms.
const CRATES: &[(&str, &[&str])] = &[
    ("tonic", &["api", "server", "pb", "client"]),
    ("prost_types", &["api", "server"]),
    ("hyper", &["transport", "server", "embedded"]),
    ("quick_xml", &["s3"]),
    ("saphyr", &["config"]),
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

/// What a source imports of the crate: the first names after `crate::`, in groups as well.
fn imports(source: &str) -> Vec<String> {
    let code: String =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut rooms = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => rooms.extend(heads(group)),
            None => rooms.extend(name(rest)),
        }
    }
    rooms
}

/// The first name of each entry of a group, not those of groups within.
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

/// Whether a source names something of a crate in its code. Log targets are texts and do not count.
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
    ROOMS.iter().any(|(room, _)| *room == name).then_some(name)
}

#[test]
fn rooms_import_downwards_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for (room, allowed) in ROOMS {
        let mut files = Vec::new();
        sources(&root.join(room), &mut files);
        assert!(!files.is_empty(), "{room} has no source");
        for (path, source) in files {
            for imported in imports(&source) {
                if imported != *room && imported != "telemetry" && !allowed.contains(&imported.as_str()) {
                    wrong.push(format!("{path} imports {imported}"));
                }
            }
            for (name, rooms) in CRATES {
                if uses(&source, name) && !rooms.contains(room) {
                    wrong.push(format!("{path} uses the crate {name}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn imports_are_found_in_every_form() {
    let source = "use crate::s3::Error;\nuse crate::{api::{call, s3}, store::S3Store};\n// crate::server\nfn f() { crate::auth::x() }";
    assert_eq!(imports(source), ["s3", "api", "store", "auth"]);
}
