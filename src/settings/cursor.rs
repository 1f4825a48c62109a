//! A position in a tree of settings.

use super::{Content, Node, Notes, Origin, Path, Place};

/// A value that is being read, with its path and the notes to record problems in.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    node: &'a Node,
    origin: &'a Origin,
    path: &'a Path<'a>,
    notes: &'a Notes,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(node: &'a Node, path: &'a Path<'a>, notes: &'a Notes) -> Self {
        Self { node, origin: &node.origin, path, notes }
    }

    /// The value of `key`. Reports the line of the key, since a block mapping itself begins on the next line.
    pub(crate) fn of_key(key: &'a Node, node: &'a Node, path: &'a Path<'a>, notes: &'a Notes) -> Self {
        Self { node, origin: &key.origin, path, notes }
    }

    pub(crate) fn content(self) -> &'a Content {
        &self.node.content
    }

    pub(crate) fn notes(self) -> &'a Notes {
        self.notes
    }

    pub(crate) fn place(self) -> Place {
        let place = match self.origin {
            Origin::Line(line) => Place::line(self.notes.file(), *line),
            Origin::Variable(name) => Place::variable(name),
        };
        place.at(self.path.to_string())
    }

    /// Records a problem with the value.
    pub(crate) fn note(self, text: impl Into<String>) {
        self.notes.problem_at(self.place(), text);
    }

    /// The pairs of a mapping. Records a problem if the value is not a mapping.
    pub(crate) fn pairs(self) -> Option<&'a [(Node, Node)]> {
        match self.content() {
            Content::Mapping(pairs) => Some(pairs),
            _ => self.refuse("a mapping"),
        }
    }

    /// Whether the value is a mapping.
    pub(crate) fn is_mapping(self) -> bool {
        matches!(self.content(), Content::Mapping(_))
    }

    /// Calls `read` for each key of a mapping, with a cursor at its value. Records a problem for keys that are not
    /// strings. `None` if the value is not a mapping.
    pub(crate) fn each_key(self, mut read: impl FnMut(&'a str, Cursor<'_>)) -> Option<()> {
        self.each_entry(|name, value| {
            if let Some(name) = name {
                read(name, value);
            }
        })
    }

    /// Like `each_key`, but also calls `read`, without a name, for keys that are not strings.
    pub(crate) fn each_entry(self, mut read: impl FnMut(Option<&'a str>, Cursor<'_>)) -> Option<()> {
        for (key, value) in self.pairs()? {
            let name = key.text();
            if name.is_none() {
                let key = Cursor::new(key, self.path, self.notes);
                key.note("has a key that is not a string: put the key in quotes");
            }
            let path = Path::Key(self.path, name.unwrap_or_default());
            read(name, Cursor::of_key(key, value, &path, self.notes));
        }
        Some(())
    }

    /// Calls `read` for each item of a list. Records a problem and returns `None` if the value is not a list.
    pub(crate) fn each_item(self, mut read: impl FnMut(Cursor<'_>)) -> Option<()> {
        let Content::List(items) = self.content() else { return self.refuse("a list") };
        for (index, item) in items.iter().enumerate() {
            read(Cursor::new(item, &Path::Item(self.path, index), self.notes));
        }
        Some(())
    }

    /// Records that the value is not what was expected. The message omits the value, which may be a secret.
    pub(crate) fn refuse<T>(self, expected: &str) -> Option<T> {
        let found = match self.content() {
            Content::Null => {
                self.note("has no value: set one or remove the key");
                return None;
            }
            Content::Tagged => {
                self.note("has a YAML tag, and tags are not supported: remove the tag");
                return None;
            }
            Content::Flag(_) => "a boolean",
            Content::Integer(_) | Content::Fraction(_) => "a number",
            Content::Text(_) => "a string",
            Content::List(_) => "a list",
            Content::Mapping(_) => "a mapping",
        };
        self.note(format!("expected {expected}, found {found}"));
        None
    }
}
