//! Parses YAML into a tree in which every node knows its line.

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

use super::guard;

/// One value from a settings file, or from an environment variable that replaces one.
///
/// Does not implement `Debug`, because it may contain a secret.
pub(super) struct Node {
    origin: Origin,
    content: Content,
}

/// Where a node comes from.
pub(super) enum Origin {
    /// On this line of the file, counted from 1.
    Line(usize),
    /// In this environment variable.
    Variable(String),
}

/// The value of a node.
pub(super) enum Content {
    Null,
    Flag(bool),
    Integer(i64),
    Fraction(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file. No string key appears twice.
    Mapping(Vec<(Node, Node)>),
    /// A collection with a custom tag.
    Tagged,
    /// A value that does not match its tag.
    Unreadable,
}

/// Why a text could not be parsed, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) text: String,
}

impl Node {
    /// The value of an environment variable.
    pub(super) fn variable(name: &str, value: &str) -> Self {
        Self { origin: Origin::Variable(name.to_owned()), content: Content::Text(value.to_owned()) }
    }

    /// A mapping that does not come from a file.
    pub(super) fn mapping(pairs: Vec<(Node, Node)>) -> Self {
        Self { origin: Origin::Line(1), content: Content::Mapping(pairs) }
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(super) fn content(&self) -> &Content {
        &self.content
    }

    /// The string, if the node is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Parses a text that contains one YAML document.
    pub(super) fn parse(text: &str) -> Result<Self, Malformed> {
        let malformed = |line, column, text: &str| Malformed { line, column, text: text.to_owned() };
        let text = text.trim_start_matches('\u{feff}');
        if let Some(line) = guard::too_deep(text) {
            return Err(malformed(line, 1, TOO_DEEP));
        }
        if let Some((line, column)) = guard::anchor(text) {
            return Err(malformed(line, column, NO_ANCHORS));
        }
        let documents = MarkedYaml::load_from_str(text).map_err(|error| {
            let (line, column) = (error.marker().line().max(1), error.marker().col() + 1);
            malformed(line, column, &explain(text, line, column, error.info()))
        })?;
        match documents.as_slice() {
            [only] if !matches!(only.data, YamlData::BadValue | YamlData::Value(Scalar::Null)) => {
                Ok(Self::from_marked(only))
            }
            [_, second, ..] => {
                Err(malformed(second.span.start.line(), 1, "a second YAML document begins here: remove it"))
            }
            _ => Err(malformed(1, 1, "the file is empty: define at least one tenant under `tenants`")),
        }
    }

    /// `guard` limits the depth of this recursion.
    fn from_marked(marked: &MarkedYaml<'_>) -> Self {
        let content = match &marked.data {
            YamlData::Value(Scalar::Null) => Content::Null,
            YamlData::Value(Scalar::Boolean(flag)) => Content::Flag(*flag),
            YamlData::Value(Scalar::Integer(number)) => Content::Integer(*number),
            YamlData::Value(Scalar::FloatingPoint(number)) => Content::Fraction(**number),
            YamlData::Value(Scalar::String(text)) => Content::Text(text.to_string()),
            YamlData::Sequence(items) => Content::List(items.iter().map(Self::from_marked).collect()),
            YamlData::Mapping(pairs) => Content::Mapping(
                pairs.iter().map(|(key, value)| (Self::from_marked(key), Self::from_marked(value))).collect(),
            ),
            YamlData::Tagged(..) => Content::Tagged,
            YamlData::Representation(..) | YamlData::Alias(_) | YamlData::BadValue => Content::Unreadable,
        };
        Self { origin: Origin::Line(marked.span.start.line()), content }
    }
}

const TOO_DEEP: &str = "nested too deeply: indent the line by at most 100 characters, and begin at most 100 lists and \
                        mappings on it";
const NO_ANCHORS: &str = "`&` begins a YAML anchor here, and anchors are not supported: write the value out, or use \
                          `defaults`; if the `&` is part of a string, write it as \"\\x26\"";
const NO_ALIASES: &str = "`*` begins a YAML alias here, and aliases are not supported: write the value out, or use \
                          `defaults`; if the `*` is part of a string, put the string in quotes";

/// Turns an error of saphyr into a message, with the remedy where it is known.
fn explain(text: &str, line: usize, column: usize, info: &str) -> String {
    if info.starts_with("duplicated key") {
        return match word(text, line, column) {
            Some(key) => format!("the key `{key}` appears twice in this mapping: remove one of the two"),
            None => "this key appears twice in its mapping: remove one of the two".to_owned(),
        };
    }
    if info.contains("unknown anchor") {
        return NO_ALIASES.to_owned();
    }
    format!("invalid YAML: {info}")
}

/// The word that begins at a line and column, with or without quotes.
fn word(text: &str, line: usize, column: usize) -> Option<String> {
    let line = text.lines().nth(line - 1)?;
    let word: String = line
        .chars()
        .skip(column - 1)
        .skip_while(|c| matches!(c, '"' | '\''))
        .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        .take(64)
        .collect();
    (!word.is_empty()).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_files_are_reported_with_line_and_column() {
        for (text, expected) in [
            ("", (1, 1, "the file is empty: define at least one tenant under `tenants`")),
            ("# nothing\n", (1, 1, "the file is empty: define at least one tenant under `tenants`")),
            ("a: 1\n---\nb: 2\n", (3, 1, "a second YAML document begins here: remove it")),
            (
                "a: 1\nb: 2\na: 3\n",
                (3, 1, "the key `a` appears twice in this mapping: remove one of the two"),
            ),
            (
                "a: {b: 1, \"b\": 2}\n",
                (1, 11, "the key `b` appears twice in this mapping: remove one of the two"),
            ),
        ] {
            let found = Node::parse(text).err().map(|found| (found.line, found.column, found.text));
            assert_eq!(found, Some((expected.0, expected.1, expected.2.to_owned())), "{text:?}");
        }
        for text in ["a: [1, 2\n", "a: b: c", "a: \"open", "a: 1\n b: 2", "{]"] {
            let Err(found) = Node::parse(text) else { panic!("{text:?}") };
            assert!(found.text.starts_with("invalid YAML: "), "{text:?}: {}", found.text);
        }
    }

    #[test]
    fn an_alias_bomb_is_rejected_at_its_first_anchor() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let row = [format!("*a{}", level - 1).as_str(); 10].join(", ");
            text.push_str(&["a: &a", &level.to_string(), " [", &row, "]\n"].concat());
        }
        let found = Node::parse(&text).err().unwrap();
        assert_eq!((found.line, found.column, found.text.as_str()), (1, 5, NO_ANCHORS));
        let found = Node::parse("access: [*]\nall: [*a]").err().unwrap();
        assert_eq!(
            (found.line, found.text.as_str()),
            (
                1,
                "invalid YAML: while scanning an anchor or alias, did not find expected alphabetic or numeric character"
            )
        );
        let found = Node::parse("all: *a").err().unwrap();
        assert_eq!(found.text, NO_ALIASES);
    }

    #[test]
    fn deep_nesting_is_rejected_before_it_overflows_the_stack() {
        for text in
            ["- ".repeat(1_000_000), "[".repeat(1_000_000), "{a: ".repeat(1_000_000), "? ".repeat(1_000_000)]
        {
            assert!(Node::parse(&text).is_err());
        }
        let staircase =
            (0..5_000).map(|depth| [" ".repeat(depth).as_str(), "a:\n"].concat()).collect::<String>();
        assert_eq!(Node::parse(&staircase).err().unwrap().text, TOO_DEEP);
    }

    #[test]
    fn the_deepest_accepted_text_fits_on_a_small_stack() {
        let small = std::thread::Builder::new().stack_size(1024 * 1024);
        let read = small.spawn(|| {
            let stairs = (0..50).map(|step| ["  ".repeat(step), "- ".repeat(50), "a:\n".into()].concat());
            let text =
                [stairs.collect::<String>(), "  ".repeat(50), "[".repeat(250), "]".repeat(250)].concat();
            let _ = Node::parse(&text);
            let text = ["- ".repeat(100), "[".repeat(250), "]".repeat(250)].concat();
            Node::parse(&text).is_ok()
        });
        assert!(read.unwrap().join().unwrap());
    }
}
