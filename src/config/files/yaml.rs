//! Parses YAML into a tree in which every node knows its line.
//!
//! The parser reports events without recursion. This module builds the tree from them, within limits on its depth and on
//! its size, so that neither nesting nor aliases can exhaust the stack or the memory.

use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, Tag};

use crate::settings::{Content, Node, Origin, shown_key};

/// How deeply lists and mappings may be nested. A tenants file needs ten levels.
const MAX_DEPTH: usize = 64;

/// How many values a file may have, counting each copy that an anchor or an alias makes. A tenant needs about thirty.
pub(super) const MAX_VALUES: usize = 1_000_000;

/// A string counts as one more value for every 64 bytes, so that the limit covers aliases of long strings too.
const BYTES_OF_VALUE: usize = 64;

/// Why a text could not be parsed, and where.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::config) struct Malformed {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(in crate::config) text: String,
}

/// Parses a text that contains one YAML document.
pub(in crate::config) fn parse(text: &str, max_values: usize) -> Result<Node, Malformed> {
    let events = Parser::new_from_str(text);
    let mut builder = Builder { events, anchors: HashMap::new(), values: 0, max_values };
    let mut root = None;
    while let Some(next) = builder.events.next() {
        let (event, span) = next.map_err(|error| explain(&error))?;
        match event {
            Event::DocumentStart(..) if root.is_some() => {
                return Err(malformed(span, "a second YAML document begins here: remove it"));
            }
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd => {}
            event => root = Some(builder.tree(event, span, 0)?.node),
        }
    }
    root.filter(|root| !matches!(root.content, Content::Null)).ok_or_else(|| Malformed {
        line: 1,
        column: 1,
        text: "the file is empty: define at least one tenant under `tenants`".to_owned(),
    })
}

/// A node with everything in it.
#[derive(Clone)]
struct Tree {
    node: Node,
    /// The number of values, see [`MAX_VALUES`].
    values: usize,
    /// The number of collections inside each other: 0 for a scalar.
    height: usize,
}

/// The children of a collection.
struct Children<T> {
    nodes: Vec<T>,
    values: usize,
    height: usize,
}

impl<T> Default for Children<T> {
    fn default() -> Self {
        Self { nodes: Vec::new(), values: 0, height: 0 }
    }
}

impl<T> Children<T> {
    /// Adds the size of a child, and returns its node.
    fn take(&mut self, tree: Tree) -> Node {
        self.values += tree.values;
        self.height = self.height.max(tree.height);
        tree.node
    }

    /// The collection of these children.
    fn tree(self, span: Span, content: impl FnOnce(Vec<T>) -> Content) -> Tree {
        let node = Node { origin: Origin::Line(span.start.line()), content: content(self.nodes) };
        Tree { node, values: self.values + 1, height: self.height + 1 }
    }
}

/// Builds the tree.
struct Builder<I> {
    events: I,
    anchors: HashMap<usize, Tree>,
    values: usize,
    /// How many values there may be.
    max_values: usize,
}

impl<'a, I: Iterator<Item = Result<(Event<'a>, Span), ScanError>>> Builder<I> {
    /// The tree that begins with `event`, inside `depth` collections.
    fn tree(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Tree, Malformed> {
        let (tree, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, span, depth),
            Event::Scalar(text, style, anchor, tag) => {
                let content = scalar(&text, style, tag.as_deref());
                let values = 1 + text.len() / BYTES_OF_VALUE;
                self.count(values, span)?;
                (
                    Tree {
                        node: Node { origin: Origin::Line(span.start.line()), content },
                        values,
                        height: 0,
                    },
                    anchor,
                )
            }
            Event::SequenceStart(_, anchor, tag) => {
                let children = self.items(span, depth + 1)?;
                (children.tree(span, |items| untagged(Content::List(items), tag.as_deref(), "seq")), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                let children = self.pairs(span, depth + 1)?;
                (
                    children.tree(span, |pairs| untagged(Content::Mapping(pairs), tag.as_deref(), "map")),
                    anchor,
                )
            }
            _ => return Err(malformed(span, "invalid YAML: a value was expected here")),
        };
        // The parser counts anchors from 1.
        if anchor > 0 {
            self.count(tree.values, span)?;
            self.anchors.insert(anchor, tree.clone());
        }
        Ok(tree)
    }

    fn alias(&mut self, anchor: usize, span: Span, depth: usize) -> Result<Tree, Malformed> {
        let Some(&Tree { values, height, .. }) = self.anchors.get(&anchor) else {
            let text = "this alias is inside the value that its anchor names: write the value out";
            return Err(malformed(span, text));
        };
        if depth + height > MAX_DEPTH {
            return Err(malformed(span, TOO_DEEP));
        }
        self.count(values, span)?;
        Ok(self.anchors[&anchor].clone())
    }

    fn items(&mut self, opening: Span, depth: usize) -> Result<Children<Node>, Malformed> {
        self.begin(opening, depth)?;
        let mut children = Children::default();
        while let Some((event, span)) = self.next(opening)? {
            let tree = self.tree(event, span, depth)?;
            let node = children.take(tree);
            children.nodes.push(node);
        }
        Ok(children)
    }

    /// The pairs of a mapping, with merge keys resolved.
    fn pairs(&mut self, opening: Span, depth: usize) -> Result<Children<(Node, Node)>, Malformed> {
        self.begin(opening, depth)?;
        let mut children = Children::default();
        let mut lines: HashMap<String, usize> = HashMap::new();
        let mut merged = None;
        while let Some((event, span)) = self.next(opening)? {
            let is_merge =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text.as_ref() == "<<");
            let key = self.tree(event, span, depth)?;
            if let Some(name) = key.node.text()
                && let Some(first) = lines.insert(name.to_owned(), span.start.line())
            {
                return Err(malformed(span, &twice(name, first)));
            }
            let Some((event, value_span)) = self.next(opening)? else {
                return Err(malformed(span, "invalid YAML: this key has no value"));
            };
            let value = self.tree(event, value_span, depth)?;
            let pair = (children.take(key), children.take(value));
            if is_merge {
                merged = Some((pair.1, span));
            } else {
                children.nodes.push(pair);
            }
        }
        if let Some((value, span)) = merged {
            for (key, value) in sources(value, span)? {
                let is_new = key.text().is_none_or(|name| lines.insert(name.to_owned(), 0).is_none());
                if is_new {
                    children.nodes.push((key, value));
                }
            }
        }
        Ok(children)
    }

    /// Counts a collection that begins inside `depth - 1` others.
    fn begin(&mut self, opening: Span, depth: usize) -> Result<(), Malformed> {
        if depth > MAX_DEPTH {
            return Err(malformed(opening, TOO_DEEP));
        }
        self.count(1, opening)
    }

    /// The next event inside a collection; `None` at its end.
    fn next(&mut self, opening: Span) -> Result<Option<(Event<'a>, Span)>, Malformed> {
        let next = self
            .events
            .next()
            .ok_or_else(|| malformed(opening, "invalid YAML: this list or mapping is not closed"))?;
        match next.map_err(|error| explain(&error))? {
            (Event::SequenceEnd | Event::MappingEnd, _) => Ok(None),
            next => Ok(Some(next)),
        }
    }

    /// Counts values of the tree, and copies of them.
    fn count(&mut self, values: usize, span: Span) -> Result<(), Malformed> {
        self.values = self.values.saturating_add(values);
        let most = self.max_values;
        if self.values <= most {
            return Ok(());
        }
        let text = format!(
            "the file has more than {most} values, counting those that anchors and aliases repeat: split it into \
             several files in one folder"
        );
        Err(malformed(span, &text))
    }
}

const TOO_DEEP: &str = "nested too deeply: lists and mappings may be nested 64 levels deep, including those that aliases \
                        repeat";

/// The pairs that a merge key adds, those with precedence first (<https://yaml.org/type/merge.html>).
fn sources(value: Node, span: Span) -> Result<Vec<(Node, Node)>, Malformed> {
    let wrong = || malformed(span, "`<<` takes an alias of a mapping, or a list of such aliases");
    match value.content {
        Content::Mapping(pairs) => Ok(pairs),
        Content::List(items) => {
            let mut all = Vec::new();
            for item in items {
                let Content::Mapping(pairs) = item.content else { return Err(wrong()) };
                all.extend(pairs);
            }
            Ok(all)
        }
        _ => Err(wrong()),
    }
}

fn untagged(content: Content, tag: Option<&Tag>, kind: &str) -> Content {
    if tag.is_none_or(|tag| is_core(tag, kind)) { content } else { Content::Tagged }
}

/// Whether this is the tag `!!kind`.
fn is_core(tag: &Tag, kind: &str) -> bool {
    tag.handle() == "tag:yaml.org,2002:" && tag.suffix() == kind
}

/// The value of a scalar by YAML's core schema (YAML 1.2, section 10.3.2).
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Content {
    let string = || Content::Text(text.to_owned());
    let Some(tag) = tag else {
        return if style == ScalarStyle::Plain { plain(text).unwrap_or_else(string) } else { string() };
    };
    if is_core(tag, "str") {
        return string();
    }
    let value = plain(text).filter(|value| match value {
        Content::Null => is_core(tag, "null"),
        Content::Flag(_) => is_core(tag, "bool"),
        Content::Integer(_) => is_core(tag, "int") || is_core(tag, "float"),
        Content::Fraction(_) => is_core(tag, "float"),
        _ => false,
    });
    value.unwrap_or(Content::Tagged)
}

/// The value of an unquoted scalar that is not a string.
fn plain(text: &str) -> Option<Content> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Content::Null),
        "true" | "True" | "TRUE" => return Some(Content::Flag(true)),
        "false" | "False" | "FALSE" => return Some(Content::Flag(false)),
        ".nan" | ".NaN" | ".NAN" => return Some(Content::Fraction(f64::NAN)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Some(Content::Fraction(f64::INFINITY));
        }
        "-.inf" | "-.Inf" | "-.INF" => return Some(Content::Fraction(f64::NEG_INFINITY)),
        _ => {}
    }
    let radix = |digits: &str, radix| i64::from_str_radix(digits, radix).ok().map(Content::Integer);
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    // Rust also parses words such as `inf` and `nan`, which YAML reads as strings.
    if !text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) {
        return None;
    }
    let number = text.parse().ok().map(Content::Integer);
    number.or_else(|| text.parse().ok().map(Content::Fraction))
}

fn malformed(span: Span, text: &str) -> Malformed {
    Malformed { line: span.start.line(), column: span.start.col() + 1, text: text.to_owned() }
}

fn twice(key: &str, first: usize) -> String {
    let key = shown_key(key);
    format!("the key {key} appears twice in this mapping, first on line {first}: remove one of the two")
}

const UNKNOWN_ANCHOR: &str = "this alias has no anchor before it: define one, as in `&name`; if the `*` is part of a \
                              string, put the string in quotes";

/// Turns an error of the parser into a message, with the remedy if there is an obvious one.
fn explain(error: &ScanError) -> Malformed {
    let marker = error.marker();
    let text = match error.kind() {
        ErrorKind::UnknownAnchor => UNKNOWN_ANCHOR.to_owned(),
        ErrorKind::RecursionLimitExceeded => TOO_DEEP.to_owned(),
        ErrorKind::MissingAnchorOrAliasName => {
            "`&` and `*` begin a YAML anchor or alias, and need a name: if the character is part of a string, put the \
             string in quotes"
                .to_owned()
        }
        kind => format!("invalid YAML: {kind}"),
    };
    Malformed { line: marker.line().max(1), column: marker.col() + 1, text }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn problem(text: &str) -> (usize, usize, String) {
        let found = parse(text, MAX_VALUES).err().unwrap();
        (found.line, found.column, found.text)
    }

    #[test]
    fn malformed_files_are_reported_with_line_and_column() {
        for (text, expected) in [
            ("", (1, 1, "the file is empty: define at least one tenant under `tenants`")),
            ("# nothing\n", (1, 1, "the file is empty: define at least one tenant under `tenants`")),
            ("a: 1\n---\nb: 2\n", (2, 1, "a second YAML document begins here: remove it")),
            (
                "a: 1\nb: 2\na: 3\n",
                (3, 1, "the key `a` appears twice in this mapping, first on line 1: remove one of the two"),
            ),
            (
                "a: {b: 1, \"b\": 2}\n",
                (1, 11, "the key `b` appears twice in this mapping, first on line 1: remove one of the two"),
            ),
            ("a: *b\n", (1, 4, UNKNOWN_ANCHOR)),
            (
                "a: &a [*a]\n",
                (1, 8, "this alias is inside the value that its anchor names: write the value out"),
            ),
            ("a: {<<: 5}\n", (1, 5, "`<<` takes an alias of a mapping, or a list of such aliases")),
            ("a: [1, 2\n", (1, 4, "invalid YAML: unclosed bracket '['")),
            ("a: \"open", (1, 4, "invalid YAML: unclosed quote")),
        ] {
            assert_eq!(problem(text), (expected.0, expected.1, expected.2.to_owned()), "{text:?}");
        }
        for text in ["a: b: c", "a: 1\n b: 2", "{]", "access: [*]"] {
            assert!(parse(text, MAX_VALUES).is_err(), "{text:?}");
        }
    }

    /// A tree as text, with the line of each scalar.
    fn shown(node: &Node) -> String {
        let Origin::Line(line) = node.origin else { panic!("no line") };
        match &node.content {
            Content::Text(text) => format!("{text}@{line}"),
            Content::Integer(number) => format!("{number}@{line}"),
            Content::Fraction(number) => format!("{number:?}@{line}"),
            Content::Flag(flag) => format!("{flag}@{line}"),
            Content::Null => "null".to_owned(),
            Content::Tagged => "tagged".to_owned(),
            Content::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
            Content::Mapping(pairs) => {
                let pair = |(key, value): &(Node, Node)| format!("{}: {}", shown(key), shown(value));
                format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(", "))
            }
        }
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        for (text, expected) in [
            ("yes", "yes@1"),
            ("'1'", "1@1"),
            ("007", "7@1"),
            ("0x1f", "31@1"),
            ("1e3", "1000.0@1"),
            ("-.5", "-0.5@1"),
            ("1.2.3", "1.2.3@1"),
            ("12345678901234567890", "1.2345678901234567e19@1"),
            ("2026-01-01", "2026-01-01@1"),
            ("True", "true@1"),
            ("inf", "inf@1"),
            ("!!str 5", "5@1"),
            ("!!int 5", "5@1"),
            ("!!bool yes", "tagged"),
            ("!x 5", "tagged"),
            ("!!set {a}", "tagged"),
            ("R&D", "R&D@1"),
            ("[a, ~]", "[a@1, null]"),
        ] {
            assert_eq!(shown(&parse(text, MAX_VALUES).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn aliases_repeat_values_and_merge_keys_add_pairs() {
        for (text, expected) in [
            ("a: &a [1]\nb: *a", "{a@1: [1@1], b@2: [1@1]}"),
            (
                "a: &a {x: 1, y: 2}\nb:\n  y: 3\n  <<: *a",
                "{a@1: {x@1: 1@1, y@1: 2@1}, b@2: {y@3: 3@3, x@1: 1@1}}",
            ),
            (
                "- &a {x: 1}\n- &b {x: 2, z: 3}\n- <<: [*a, *b]",
                "[{x@1: 1@1}, {x@2: 2@2, z@2: 3@2}, {x@1: 1@1, z@2: 3@2}]",
            ),
            ("{'<<': 1}", "{<<@1: 1@1}"),
        ] {
            assert_eq!(shown(&parse(text, MAX_VALUES).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn aliases_are_counted_before_they_expand() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let row = [format!("*a{}", level - 1).as_str(); 10].join(", ");
            writeln!(bomb, "b{level}: &a{level} [{row}]").unwrap();
        }
        let (line, _, text) = problem(&bomb);
        assert!((5..8).contains(&line) && text.starts_with("the file has more than"), "{line} {text}");

        let long = format!("a: &a {}\nb: [{}]", "x".repeat(1 << 20), vec!["*a"; 10_000].join(", "));
        assert!(problem(&long).2.starts_with("the file has more than"));
        // Anchors inside each other cost one copy for each level.
        let opening: Vec<_> = (0..40).map(|number| format!("[&n{number} ")).collect();
        let nested = format!("{}x{}", opening.concat(), "]".repeat(40));
        assert!(parse(&nested, MAX_VALUES).is_ok());
    }

    #[test]
    fn deep_nesting_is_rejected_before_it_overflows_the_stack() {
        let small = std::thread::Builder::new().stack_size(1024 * 1024);
        let tried = small.spawn(|| {
            let deepest = ["[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH)].concat();
            assert!(parse(&deepest, MAX_VALUES).is_ok());
            let stairs =
                (0..5_000).map(|depth| [" ".repeat(depth).as_str(), "a:\n"].concat()).collect::<String>();
            // Each anchor names a value that nests the previous one 60 levels deeper.
            let mut ladder = "a0: &a0 x\n".to_owned();
            for step in 1..200 {
                let (open, close) = ("[".repeat(60), "]".repeat(60));
                writeln!(ladder, "a{step}: &a{step} {open}*a{}{close}", step - 1).unwrap();
            }
            for text in [
                stairs,
                ladder,
                "- ".repeat(1_000_000),
                "[".repeat(1_000_000),
                "{a: ".repeat(1_000_000),
                "? ".repeat(1_000_000),
            ] {
                assert_eq!(problem(&text).2, TOO_DEEP);
            }
        });
        tried.unwrap().join().unwrap();
    }
}
