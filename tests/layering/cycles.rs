//! Files that import each other, directly or through others. A `mod.rs` may import from its files and be imported by
//! them.

use std::collections::{BTreeMap, BTreeSet};

type Path = Vec<String>;

/// The modules of a crate, by their paths.
#[derive(Default)]
struct Crate(BTreeMap<Path, Module>);

struct Module {
    /// Whether the file is a `mod.rs`, or the root of the crate.
    is_room: bool,
    /// The imports, and whether they are exported as well. A path may end with `*`.
    imports: Vec<(bool, Path)>,
    /// The names that the module defines.
    defines: BTreeSet<String>,
}

/// The modules that are in a cycle. `files` are paths below `src/` and their contents.
pub(crate) fn in_cycles(files: &[(String, String)]) -> Vec<String> {
    let mut all = Crate::default();
    for (path, source) in files {
        let mut module: Path = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        let is_room = matches!(module.last().unwrap().as_str(), "mod" | "lib" | "main");
        module.truncate(module.len() - usize::from(is_room));
        let code = source.split("#[cfg(test)]\nmod tests").next().unwrap();
        all.0.insert(module, Module { is_room, imports: imports(code), defines: definitions(code) });
    }
    let files = all.0.iter().filter(|(_, module)| !module.is_room);
    let edges: BTreeMap<_, _> = files.map(|(path, module)| (path, all.targets(path, module))).collect();
    let is_in_cycle = |start: &Path| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![start]);
        while let Some(path) = next.pop() {
            for target in edges.get(path).into_iter().flatten() {
                if target == start {
                    return true;
                }
                if seen.insert(target) {
                    next.push(target);
                }
            }
        }
        false
    };
    edges.keys().filter(|path| is_in_cycle(path)).map(|path| path.join("::")).collect()
}

impl Crate {
    /// The other files from which a file imports.
    fn targets(&self, path: &Path, module: &Module) -> BTreeSet<Path> {
        let imports = module.imports.iter().filter_map(|(_, import)| self.absolute(path, import));
        let found = imports.filter_map(|import| self.module_of(&import, 0));
        found.filter(|target| target != path && !self.0[target].is_room).collect()
    }

    /// An import of the module `path` as a path from the root; `None` if it is not from this crate.
    fn absolute(&self, path: &Path, import: &[String]) -> Option<Path> {
        let mut base = match import[0].as_str() {
            "crate" => Path::new(),
            "self" => path.clone(),
            "super" => path[..path.len() - 1].to_vec(),
            child if self.0.contains_key(&[&path[..], &[child.to_owned()]].concat()) => {
                return Some([path, import].concat());
            }
            _ => return None,
        };
        for name in &import[1..] {
            if name == "super" {
                base.pop();
            } else {
                base.push(name.clone());
            }
        }
        Some(base)
    }

    /// The module that defines what an absolute path names, through exports.
    fn module_of(&self, path: &[String], depth: usize) -> Option<Path> {
        let known = (0..=path.len()).rev().find(|len| self.0.contains_key(&path[..*len]))?;
        let (module, rest) = path.split_at(known);
        let Some(name) = rest.first().filter(|name| *name != "*" && *name != "self" && depth < 8) else {
            return Some(module.to_vec());
        };
        let found = &self.0[module];
        if found.defines.contains(name) {
            return Some(module.to_vec());
        }
        for (_, import) in found.imports.iter().filter(|(exported, _)| *exported) {
            let Some(target) = self.absolute(&module.to_vec(), import) else { continue };
            match target.last() {
                Some(last) if last == name => return self.module_of(&target, depth + 1),
                Some(last) if last == "*" => {
                    let all = &target[..target.len() - 1];
                    if self.0.get(all).is_some_and(|module| module.defines.contains(name)) {
                        return Some(all.to_vec());
                    }
                }
                _ => {}
            }
        }
        Some(module.to_vec())
    }
}

/// The paths after `use`, each with whether it is exported.
fn imports(code: &str) -> Vec<(bool, Path)> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let line = rest[..at].rsplit('\n').next().unwrap().trim().to_owned();
        rest = &rest[at + 4..];
        if !line.is_empty() && !line.starts_with("pub") {
            continue;
        }
        let statement = rest.split(';').next().unwrap();
        let mut paths = Vec::new();
        expand(&[], statement, &mut paths);
        found.extend(paths.into_iter().map(|path| (!line.is_empty(), path)));
    }
    found
}

/// Adds the paths of one `use` statement, without groups and new names.
fn expand(before: &[String], tree: &str, found: &mut Vec<Path>) {
    let tree = tree.trim();
    if tree.is_empty() {
        return;
    }
    match tree.find('{') {
        Some(open) => {
            let names = tree[..open].split("::").map(|name| name.trim().to_owned());
            let before = [before, &names.filter(|name| !name.is_empty()).collect::<Vec<_>>()].concat();
            let inside = &tree[open + 1..tree.rfind('}').unwrap()];
            let (mut depth, mut start) = (0, 0);
            for (at, character) in inside.char_indices().chain([(inside.len(), ',')]) {
                match character {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        expand(&before, &inside[start..at], found);
                        start = at + 1;
                    }
                    _ => {}
                }
            }
        }
        None => {
            let path = tree.split(" as ").next().unwrap();
            let names = path.split("::").map(|name| name.trim().to_owned());
            found.push(before.iter().cloned().chain(names).collect());
        }
    }
}

/// The names of items that begin a line, with or without `pub`.
fn definitions(code: &str) -> BTreeSet<String> {
    const KINDS: &[&str] = &["struct", "enum", "trait", "type", "const", "static", "fn", "union"];
    let mut found = BTreeSet::new();
    for line in code.lines().filter(|line| !line.starts_with(' ')) {
        let mut words =
            line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
        if words.any(|word| KINDS.contains(&word)) {
            found.extend(words.next().map(str::to_owned));
        }
    }
    found
}

#[test]
fn a_cycle_is_found_through_exports_and_groups() {
    let file = |path: &str, source: &str| (path.to_owned(), source.to_owned());
    let room = file("room/mod.rs", "mod a;\nmod b;\nmod c;\npub use self::{a::A, b::*};\n");
    let a = file("room/a.rs", "use super::B;\npub struct A;\n");
    let b = file(
        "room/b.rs",
        "use std::fmt;\nuse crate::room::{\n    A as Other, c::{self, C},\n};\npub(super) struct B;\n",
    );
    let c = file("room/c.rs", "pub struct C;\n");
    assert_eq!(in_cycles(&[room.clone(), a.clone(), b, c.clone()]), ["room::a", "room::b"]);
    let b = file(
        "room/b.rs",
        "use super::c::C;\npub struct B;\n\n#[cfg(test)]\nmod tests {\n    use crate::room::A;\n}\n",
    );
    assert_eq!(in_cycles(&[room, a, b, c]), [""; 0]);
}
