//! Parses YAML into a tree in which every node knows its line.
//!
//! The parser reports events without recursion. This module builds the tree from them, within limits on its depth and on
//! the number of its values, so that neither nesting nor aliases can exhaust the stack or the memory.

use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, Tag};

use crate::settings::{Content, Node, Origin};

/// How deeply lists and mappings may be nested. A tenants file needs ten levels.
const MAX_DEPTH: usize = 64;

/// How many values a file may have, counting each copy that an anchor or an alias makes. A tenant needs about thirty.
const MAX_VALUES: usize = 2_000_000;

/// Why a text could not be parsed, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) text: String,
}

/// Parses a text that contains one YAML document.
pub(super) fn parse(text: &str) -> Result<Node, Malformed> {
    let mut tree = Tree { events: Parser::new_from_str(text), anchors: HashMap::new(), values: 0 };
    let mut root = None;
    while let Some(next) = tree.events.next() {
        let (event, span) = next.map_err(|error| explain(&error))?;
        match event {
            Event::DocumentStart(..) if root.is_some() => {
                return Err(malformed(span, "a second YAML document begins here: remove it"));
            }
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd => {}
            event => root = Some(tree.node(event, span, 0)?),
        }
    }
    root.filter(|root| !matches!(root.content, Content::Null)).ok_or_else(|| Malformed {
        line: 1,
        column: 1,
        text: "the file is empty: define at least one tenant under `tenants`".to_owned(),
    })
}

/// The tree while it is built.
struct Tree<I> {
    events: I,
    /// Nodes with an anchor, and how many values each consists of.
    anchors: HashMap<usize, (Node, usize)>,
    values: usize,
}

impl<'a, I: Iterator<Item = Result<(Event<'a>, Span), ScanError>>> Tree<I> {
    /// The node that begins with `event`.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Malformed> {
        let before = self.values;
        self.count(1, span)?;
        let (content, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, span),
            Event::Scalar(text, style, anchor, tag) => (scalar(&text, style, tag.as_deref()), anchor),
            Event::SequenceStart(_, anchor, tag) => {
                let items = self.items(span, depth + 1)?;
                (untagged(Content::List(items), tag.as_deref(), "seq"), anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                let pairs = self.pairs(span, depth + 1)?;
                (untagged(Content::Mapping(pairs), tag.as_deref(), "map"), anchor)
            }
            _ => return Err(malformed(span, "invalid YAML: a value was expected here")),
        };
        let node = Node { origin: Origin::Line(span.start.line()), content };
        // The parser counts anchors from 1.
        if anchor > 0 {
            let values = self.values - before;
            self.count(values, span)?;
            self.anchors.insert(anchor, (node.clone(), values));
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<Node, Malformed> {
        let Some((_, values)) = self.anchors.get(&anchor) else {
            return Err(malformed(
                span,
                "this alias is inside the value that its anchor names: write the value out",
            ));
        };
        self.count(*values, span)?;
        let copy = self.anchors.get(&anchor).map(|(node, _)| node.clone());
        copy.ok_or_else(|| malformed(span, UNKNOWN_ANCHOR))
    }

    fn items(&mut self, opening: Span, depth: usize) -> Result<Vec<Node>, Malformed> {
        let mut items = Vec::new();
        while let Some((event, span)) = self.next(opening, depth)? {
            items.push(self.node(event, span, depth)?);
        }
        Ok(items)
    }

    /// The pairs of a mapping, with merge keys resolved.
    fn pairs(&mut self, opening: Span, depth: usize) -> Result<Vec<(Node, Node)>, Malformed> {
        let mut pairs: Vec<(Node, Node)> = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        let mut merged = None;
        while let Some((event, span)) = self.next(opening, depth)? {
            let is_merge =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text.as_ref() == "<<");
            let key = self.node(event, span, depth)?;
            if let Some(name) = key.text()
                && let Some(first) = lines.insert(name.to_owned(), span.start.line())
            {
                return Err(malformed(span, &twice(name, first)));
            }
            let Some((event, value_span)) = self.next(opening, depth)? else {
                return Err(malformed(span, "invalid YAML: this key has no value"));
            };
            let value = self.node(event, value_span, depth)?;
            if is_merge {
                merged = Some((value, span));
            } else {
                pairs.push((key, value));
            }
        }
        if let Some((value, span)) = merged {
            for (key, value) in sources(value, span)? {
                let name = key.text().unwrap_or_default().to_owned();
                if let std::collections::hash_map::Entry::Vacant(entry) = lines.entry(name) {
                    entry.insert(span.start.line());
                    pairs.push((key, value));
                }
            }
        }
        Ok(pairs)
    }

    /// The next event inside a collection; `None` at its end.
    fn next(&mut self, opening: Span, depth: usize) -> Result<Option<(Event<'a>, Span)>, Malformed> {
        if depth > MAX_DEPTH {
            let text = format!("nested too deeply: lists and mappings may be nested {MAX_DEPTH} levels deep");
            return Err(malformed(opening, &text));
        }
        let next = self.events.next().ok_or_else(|| malformed(opening, "invalid YAML: does not end"))?;
        match next.map_err(|error| explain(&error))? {
            (Event::SequenceEnd | Event::MappingEnd, _) => Ok(None),
            next => Ok(Some(next)),
        }
    }

    /// Counts values of the tree, and copies of them.
    fn count(&mut self, values: usize, span: Span) -> Result<(), Malformed> {
        self.values += values;
        if self.values <= MAX_VALUES {
            return Ok(());
        }
        let text = "the file has more than 2,000,000 values, counting those that aliases repeat: split it into \
                    several files in one folder";
        Err(malformed(span, text))
    }
}

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
    match tag {
        Some(tag) if is_core(tag, "str") => string(),
        Some(_) => Content::Tagged,
        None if style == ScalarStyle::Plain => plain(text).unwrap_or_else(string),
        None => string(),
    }
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
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let key = if key.len() <= 64 && key.chars().all(named) { format!("`{key}` ") } else { String::new() };
    format!("the key {key}appears twice in this mapping, first on line {first}: remove one of the two")
}

const UNKNOWN_ANCHOR: &str = "this alias has no anchor before it: define one, as in `&name`; if the `*` is part of a \
                              string, put the string in quotes";

/// Turns an error of the parser into a message, with the remedy where it is known.
fn explain(error: &ScanError) -> Malformed {
    let marker = error.marker();
    let text = match error.kind() {
        ErrorKind::UnknownAnchor => UNKNOWN_ANCHOR.to_owned(),
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
    use super::*;

    fn problem(text: &str) -> (usize, usize, String) {
        let found = parse(text).err().unwrap();
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
            assert!(parse(text).is_err(), "{text:?}");
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
            ("!x 5", "tagged"),
            ("!!set {a}", "tagged"),
            ("R&D", "R&D@1"),
            ("[a, ~]", "[a@1, null]"),
        ] {
            assert_eq!(shown(&parse(text).unwrap()), expected, "{text}");
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
            assert_eq!(shown(&parse(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn an_alias_bomb_is_rejected_before_it_expands() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let row = [format!("*a{}", level - 1).as_str(); 10].join(", ");
            text.push_str(&["a: &a", &level.to_string(), " [", &row, "]\n"].concat().replacen(
                'a',
                &format!("b{level}"),
                1,
            ));
        }
        let (line, _, text) = problem(&text);
        assert!(
            (5..8).contains(&line) && text.starts_with("the file has more than 2,000,000 values"),
            "{line} {text}"
        );
    }

    #[test]
    fn deep_nesting_is_rejected_before_it_overflows_the_stack() {
        let small = std::thread::Builder::new().stack_size(1024 * 1024);
        let tried = small.spawn(|| {
            let stairs =
                (0..5_000).map(|depth| [" ".repeat(depth).as_str(), "a:\n"].concat()).collect::<String>();
            let deepest = ["[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH)].concat();
            assert!(parse(&deepest).is_ok());
            [
                stairs,
                "- ".repeat(1_000_000),
                "[".repeat(1_000_000),
                "{a: ".repeat(1_000_000),
                "? ".repeat(1_000_000),
            ]
            .iter()
            .all(|text| parse(text).is_err())
        });
        assert!(tried.unwrap().join().unwrap());
    }
}
