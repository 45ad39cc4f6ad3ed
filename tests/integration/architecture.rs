//! The house: modules look only at those before them in the order that `src/lib.rs` states, and no two files look at
//! each other. Reads the sources as text: `use` trees, paths, re-exports; comments and test modules do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::util::root;

type Name = Vec<String>;

/// The sources of a library, by module.
struct House {
    text: BTreeMap<Name, String>,
    reexports: BTreeMap<Name, Name>,
}

/// A path as written, and the name that it gets here.
type Import = (Vec<String>, Option<String>);

impl House {
    fn read(folder: &Path) -> Self {
        let mut text = BTreeMap::new();
        let mut waiting = vec![folder.to_path_buf()];
        while let Some(folder_or_file) = waiting.pop() {
            if folder_or_file.is_dir() {
                let entries = std::fs::read_dir(&folder_or_file).unwrap();
                waiting.extend(entries.map(|entry| entry.unwrap().path()));
                continue;
            }
            let is_source = folder_or_file.extension().is_some_and(|ending| ending == "rs");
            // The Hub's stand-in is the same module as the Hub.
            if !is_source || folder_or_file.ends_with("tests.rs") || folder_or_file.ends_with("hub_off.rs") {
                continue;
            }
            let content = std::fs::read_to_string(&folder_or_file).unwrap();
            text.insert(module(folder, &folder_or_file), plain(&content));
        }
        Self::new(text)
    }

    fn new(text: BTreeMap<Name, String>) -> Self {
        let mut house = Self { text, reexports: BTreeMap::new() };
        let mut reexports = BTreeMap::new();
        for (name, text) in &house.text {
            for (is_public, tree) in uses(text) {
                for (path, alias) in expand(&tree) {
                    if !is_public {
                        continue;
                    }
                    let Some(target) = house.absolute(name, &path) else { continue };
                    let last = alias.or_else(|| path.last().cloned()).unwrap_or_default();
                    let mut here = name.clone();
                    here.push(last);
                    reexports.insert(here, target);
                }
            }
        }
        house.reexports = reexports;
        house
    }

    /// The path from the crate's root, where it stays in the crate.
    fn absolute(&self, from: &Name, path: &[String]) -> Option<Name> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([from.as_slice(), rest].concat()),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                let base = from.get(..from.len().checked_sub(ups)?)?;
                Some([base, path.get(ups..)?].concat())
            }
            _ => {
                let child: Name = from.iter().chain([first]).cloned().collect();
                self.text.contains_key(&child).then(|| [from.as_slice(), path].concat())
            }
        }
    }

    /// The file that a path leads to, through re-exports.
    fn resolve(&self, path: &[String]) -> Option<Name> {
        let mut path: Name = path.iter().filter(|part| *part != "self").cloned().collect();
        'again: for _ in 0..8 {
            for end in (1..=path.len()).rev() {
                let prefix = path[..end].to_vec();
                if !self.text.contains_key(&prefix)
                    && let Some(target) = self.reexports.get(&prefix)
                {
                    path = [target.as_slice(), &path[end..]].concat();
                    continue 'again;
                }
            }
            return (0..=path.len())
                .rev()
                .map(|end| path[..end].to_vec())
                .find(|at| self.text.contains_key(at));
        }
        None
    }

    /// Which files each file looks at.
    fn edges(&self) -> BTreeMap<Name, BTreeSet<Name>> {
        let mut edges: BTreeMap<Name, BTreeSet<Name>> = BTreeMap::new();
        for (name, text) in &self.text {
            let mut add = |target: Option<Name>| {
                if let Some(target) = target.filter(|target| target != name) {
                    edges.entry(name.clone()).or_default().insert(target);
                }
            };
            let mut body = text.clone();
            for (is_public, tree) in uses(text) {
                for (path, _) in expand(&tree) {
                    let target = self.absolute(name, &path).and_then(|path| self.resolve(&path));
                    // A module that shows its children's names does not look at them.
                    let shows = is_public && target.as_ref().is_some_and(|target| target.starts_with(name));
                    if !shows {
                        add(target);
                    }
                }
                body = body.replace(&tree, "");
            }
            for path in paths(&body) {
                let is_child = path.len() > 1
                    && self.text.contains_key(&name.iter().chain(path.first()).cloned().collect::<Name>());
                if is_child || ["crate", "super", "self"].contains(&path[0].as_str()) {
                    add(self.absolute(name, &path).and_then(|path| self.resolve(&path)));
                }
            }
        }
        edges
    }

    /// Files that look at each other, directly or through others, and imports that run upward in `order`.
    fn faults(&self, order: &[String]) -> Vec<String> {
        let edges = self.edges();
        let mut faults = Vec::new();
        for (from, targets) in &edges {
            let Some(room) = from.first() else { continue };
            let Some(at) = order.iter().position(|name| name == room) else {
                faults.push(format!("`{room}` is not in the order of lib.rs"));
                continue;
            };
            for target in targets {
                let above = target.first().filter(|name| *name != room);
                if above
                    .is_some_and(|name| order.iter().position(|other| other == name).is_none_or(|to| to > at))
                {
                    faults.push(format!("{} looks upward at {}", from.join("::"), target.join("::")));
                }
            }
        }
        for from in edges.keys() {
            let mut seen = BTreeSet::new();
            let mut waiting: Vec<&Name> = edges[from].iter().collect();
            while let Some(next) = waiting.pop() {
                if next == from {
                    faults.push(format!("{} looks at itself through others", from.join("::")));
                    break;
                }
                if seen.insert(next) {
                    waiting.extend(edges.get(next).into_iter().flatten());
                }
            }
        }
        faults.sort();
        faults.dedup();
        faults
    }
}

fn module(root: &Path, file: &Path) -> Name {
    let relative: PathBuf = file.strip_prefix(root).unwrap().with_extension("");
    let mut name: Name = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if name.last().is_some_and(|last| last == "mod" || last == "lib") {
        name.pop();
    }
    name
}

/// Without comments, texts and test modules.
fn plain(content: &str) -> String {
    let lines: Vec<&str> = content.lines().map(|line| line.split("//").next().unwrap_or("")).collect();
    let text = lines.join("\n");
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let text = &text[..end];
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        out.push(c);
        if c == '"' {
            while let Some(inner) = characters.next() {
                if inner == '\\' {
                    characters.next();
                } else if inner == '"' {
                    break;
                }
            }
            out.push('"');
        }
    }
    out
}

/// Every `use`, whether it is public, and its tree.
fn uses(text: &str) -> Vec<(bool, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find("use ").map(|start| at + start) {
        at = start + 4;
        let line = text[..start].rsplit('\n').next().unwrap_or("").trim();
        let is_statement = line.is_empty() || (line.starts_with("pub") && !line.contains(' '));
        let Some(end) = text[at..].find(';').map(|end| at + end) else { break };
        if is_statement {
            found.push((line.starts_with("pub"), text[at..end].to_owned()));
            at = end;
        }
    }
    found
}

fn expand(tree: &str) -> Vec<Import> {
    fn go(prefix: &[String], tree: &str, out: &mut Vec<Import>) {
        let tree = tree.trim();
        let parts = |text: &str| -> Vec<String> {
            text.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
        };
        let Some(open) = tree.find('{') else {
            let (path, alias) = match tree.split_once(" as ") {
                Some((path, alias)) => (path, Some(alias.trim().to_owned())),
                None => (tree, None),
            };
            out.push(([prefix, &parts(path)].concat(), alias));
            return;
        };
        let prefix = [prefix, &parts(&tree[..open])].concat();
        let inner = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
        let (mut depth, mut start) = (0, 0);
        for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    if !inner[start..at].trim().is_empty() {
                        go(&prefix, &inner[start..at], out);
                    }
                    start = at + 1;
                }
                _ => {}
            }
        }
    }
    let mut out = Vec::new();
    go(&[], &tree.split_whitespace().collect::<Vec<_>>().join(" "), &mut out);
    out
}

/// `a::b::c` in a body.
fn paths(body: &str) -> Vec<Vec<String>> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for piece in body.split(|c: char| !word(c) && c != ':') {
        let path: Vec<String> = piece.split("::").map(str::to_owned).collect();
        if path.len() > 1 && path.iter().all(|part| !part.is_empty() && !part.contains(':')) {
            found.push(path);
        }
    }
    found
}

/// The order that `lib.rs` states.
fn order() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let from = text.find("//! order: ").expect("lib.rs states the order") + "//! order: ".len();
    let list = &text[from..from + text[from..].find("```").unwrap()];
    list.split_whitespace().filter(|word| *word != "//!").map(str::to_owned).collect()
}

#[test]
fn modules_look_only_left() {
    let faults = House::read(&root().join("src")).faults(&order());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// An import of a room above, put into a file of the library as it stands: the test above must see it.
#[test]
fn a_forbidden_import_is_found_in_the_library() {
    let mut house = House::read(&root().join("src"));
    for (file, line) in [
        ("pairs::dedup", "use crate::effects::Sample;\n"),
        ("effects::auc", "fn text() -> String { crate::report::mask(\"\").into_owned() }\n"),
    ] {
        let name: Name = file.split("::").map(str::to_owned).collect();
        let before = house.text[&name].clone();
        house.text.insert(name.clone(), format!("{line}{before}"));
        let faults = house.faults(&order());
        assert!(
            faults.iter().any(|fault| fault.starts_with(&format!("{file} looks upward at "))),
            "{faults:?}"
        );
        house.text.insert(name, before);
    }
    let below = vec!["pairs".to_owned(), "columns".to_owned()];
    let before = house.text[&below].clone();
    house.text.insert(below, format!("use super::table::Table;\n{before}"));
    let faults = house.faults(&order());
    assert!(faults.iter().any(|fault| fault.contains("pairs::columns looks at itself")), "{faults:?}");
}

/// The doors read the environment: in the library one function does it for them, and nothing there calls it.
#[test]
fn the_library_does_not_read_the_environment() {
    let house = House::read(&root().join("src"));
    for (name, text) in &house.text {
        let name = name.join("::");
        assert!(name == "context" || !text.contains("env::var"), "{name} reads the environment");
        assert!(name == "context" || !text.contains("from_environment"), "{name} reads the environment");
    }
}

#[test]
fn a_forbidden_import_is_found() {
    let house = |effects: &str, pairs: &str| {
        let text = [
            ("", "pub mod effects; pub mod pairs;"),
            ("effects", effects),
            ("pairs", pairs),
            ("pairs::rows", ""),
        ];
        House::new(
            text.iter()
                .map(|(name, text)| {
                    let name = name.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
                    (name, plain(text))
                })
                .collect(),
        )
    };
    let order = ["pairs".to_owned(), "effects".to_owned()];
    let faults = |effects: &str, pairs: &str| house(effects, pairs).faults(&order);
    assert!(faults("use crate::pairs::{self, Pairs};", "use std::path::Path;").is_empty());
    assert_eq!(faults("", "fn f() { crate::effects::fit() }"), ["pairs looks upward at effects"]);
    assert_eq!(faults("", "use crate::{matrix::Matrix, effects::fit};").len(), 1, "in a tree");
    assert!(
        faults("", "// use crate::effects::fit;\nconst A: &str = \"use crate::effects::fit;\";").is_empty()
    );
    let both = faults("use crate::pairs::Pairs;", "pub use crate::effects::Fit;");
    assert!(both.iter().any(|fault| fault.contains("itself through others")), "{both:?}");
    // What is shown by a re-export lies where it is defined.
    assert!(faults("use crate::pairs::Row;", "pub use rows::Row;\nmod rows;").is_empty());
}

/// A pipe that is opened waits for ever and a device has no end; `limits` looks before it opens, and no other file opens
/// anything to read.
#[test]
fn files_are_opened_in_one_place() {
    let opening = ["fs::read(", "fs::read_to_string(", "File::open("];
    let mut faults = Vec::new();
    for folder in ["src", "crates/cli/src", "crates/explore/src", "crates/python/src"] {
        for (module, text) in House::read(&root().join(folder)).text {
            for call in opening.iter().filter(|call| text.contains(*call)) {
                faults.push(format!("{folder}: {}: {call}", module.join("::")));
            }
        }
    }
    assert_eq!(faults, ["src: limits: File::open("], "use `limits::open`, `read`, `read_to_string`");
}

/// `SECURITY.md` lists every file with `unsafe` in it, and why.
#[test]
fn unsafe_code_is_listed() {
    let page = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let mut seen = 0;
    for folder in ["src", "crates/cli/src", "crates/explore/src", "crates/python/src", "benches"] {
        for (module, text) in House::read(&root().join(folder)).text {
            if text.contains("unsafe {") || text.contains("unsafe fn") || text.contains("unsafe impl") {
                let file = format!("`{folder}/{}.rs`", module.join("/"));
                assert!(page.contains(&file), "{file} stands not in SECURITY.md");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 4);
}
