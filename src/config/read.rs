//! serde over marked nodes: every problem is noted at its line, and reading goes on after it.

use std::fmt;

use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
    value::{StrDeserializer, U64Deserializer},
};

use super::{
    field::FIELD,
    nearest::suggestion,
    node::{Content, Node, Origin},
    path::Path,
    problem::{Notes, Place, Spot},
    unsupported,
};

/// A value could not be read. Without a text it has been noted already.
#[derive(Debug)]
pub(super) struct Failed(Option<String>);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("noted already"))
    }
}

impl std::error::Error for Failed {}

impl de::Error for Failed {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(Some(text.to_string()))
    }

    // The value itself is left out: it may be a secret.
    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let kind = match unexpected {
            de::Unexpected::Bool(_) => "true or false",
            de::Unexpected::Unsigned(_) | de::Unexpected::Signed(_) | de::Unexpected::Float(_) => "a number",
            de::Unexpected::Str(_) => "text",
            de::Unexpected::Seq => "a list",
            de::Unexpected::Map => "a mapping",
            _ => "something else",
        };
        Self(Some(format!("is {kind}, should be {expected}")))
    }

    fn invalid_value(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self(Some(format!("unknown key; {}", suggestion(field, expected.iter().copied()))))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self(Some(format!("is the same setting as another key here: give `{field}` once")))
    }
}

/// A node on its way into a settings type.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    node: &'a Node,
    origin: &'a Origin,
    path: &'a Path<'a>,
    notes: &'a Notes,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(node: &'a Node, path: &'a Path<'a>, notes: &'a Notes) -> Self {
        Self { node, origin: node.origin(), path, notes }
    }

    /// The value of `key`. Its line is the key's, since a mapping's own begins one line further down.
    pub(super) fn of_key(key: &'a Node, node: &'a Node, path: &'a Path<'a>, notes: &'a Notes) -> Self {
        Self { node, origin: key.origin(), path, notes }
    }

    pub(super) fn place(self) -> Place {
        let place = match self.origin {
            Origin::Line(line) => Place::line(self.notes.file(), *line),
            Origin::Variable(name) => Place::variable(name),
        };
        place.at(self.path.to_string())
    }

    /// The pairs of a mapping; a problem if it is none.
    pub(super) fn pairs(self) -> Result<&'a [(Node, Node)], Failed> {
        match self.node.content() {
            Content::Mapping(pairs) => Ok(pairs),
            _ => self.refuse("a mapping"),
        }
    }

    /// The key's text; a problem if it has none.
    pub(super) fn key(self, key: &'a Node) -> Option<&'a str> {
        if key.text().is_none() {
            Cursor::new(key, self.path, self.notes).note("has a key that is not text: put it in quotes");
        }
        key.text()
    }

    pub(super) fn note(self, text: impl Into<String>) {
        self.notes.problem_at(self.place(), text);
    }

    /// Notes an error that has not been noted yet.
    pub(super) fn settle<T>(self, result: Result<T, Failed>) -> Result<T, Failed> {
        result.map_err(|Failed(text)| {
            if let Some(text) = text {
                self.note(text);
            }
            Failed(None)
        })
    }

    fn refuse<T>(self, expected: &str) -> Result<T, Failed> {
        let kind = match self.node.content() {
            Content::Null => "has no value: give one or leave the key out".to_owned(),
            Content::Tagged => "has a tag: tags are not supported".to_owned(),
            Content::Unreadable => "cannot be read as what its tag says".to_owned(),
            Content::Flag(_) => format!("is true or false, should be {expected}"),
            Content::Integer(_) | Content::Fraction(_) => format!("is a number, should be {expected}"),
            Content::Text(_) => format!("is text, should be {expected}"),
            Content::List(_) => format!("is a list, should be {expected}"),
            Content::Mapping(_) => format!("is a mapping, should be {expected}"),
        };
        self.settle(Err(Failed(Some(kind))))
    }

    fn mapping<'de, V: Visitor<'de>>(
        self,
        known: Option<(&'static str, &'static [&'static str])>,
        visitor: V,
    ) -> Result<V::Value, Failed> {
        let mut pairs = Pairs { cursor: self, rest: self.pairs()?.iter(), known, current: None };
        let result = visitor.visit_map(&mut pairs);
        // What went wrong without a place of its own went wrong at the key that was read last.
        match pairs.current {
            Some((key, value)) => pairs.at(key, value, |cursor| cursor.settle(result)),
            None => self.settle(result),
        }
    }
}

impl<'de> Deserializer<'de> for Cursor<'_> {
    type Error = Failed;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        let result = match self.node.content() {
            Content::Flag(flag) => visitor.visit_bool(*flag),
            Content::Integer(number) => visitor.visit_i64(*number),
            Content::Fraction(number) => visitor.visit_f64(*number),
            Content::Text(text) => visitor.visit_str(text),
            Content::List(items) => visitor.visit_seq(Items { cursor: self, rest: items.iter().enumerate() }),
            Content::Mapping(_) => return self.mapping(None, visitor),
            Content::Null | Content::Tagged | Content::Unreadable => return self.refuse(""),
        };
        self.settle(result)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failed> {
        if name == FIELD {
            let spot = Some(self.notes.spot(self.place()));
            return visitor.visit_seq(Placed { spot, cursor: self });
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        self.mapping(None, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failed> {
        self.mapping(Some((name, fields)), visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct enum identifier ignored_any
    }
}

/// A mapping's pairs. Keys that the settings type does not know are noted and passed over.
struct Pairs<'a> {
    cursor: Cursor<'a>,
    rest: std::slice::Iter<'a, (Node, Node)>,
    known: Option<(&'static str, &'static [&'static str])>,
    current: Option<(&'a Node, &'a Node)>,
}

impl<'a> Pairs<'a> {
    fn at<T>(&self, key: &'a Node, value: &'a Node, then: impl FnOnce(Cursor<'_>) -> T) -> T {
        let path = Path::Key(self.cursor.path, key.text().unwrap_or_default());
        then(Cursor::of_key(key, value, &path, self.cursor.notes))
    }

    /// Whether the key may be here; notes why not.
    fn is_known(&self, key: &'a Node, value: &'a Node, text: &str) -> bool {
        let Some((name, fields)) = self.known else { return true };
        if fields.contains(&text) {
            return true;
        }
        let why = unsupported::key(name, text).map_or_else(
            || format!("unknown key; {}", suggestion(text, fields.iter().copied())),
            ToOwned::to_owned,
        );
        self.at(key, value, |cursor| cursor.note(why));
        false
    }
}

impl<'de> MapAccess<'de> for &mut Pairs<'_> {
    type Error = Failed;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failed> {
        while let Some((key, value)) = self.rest.next() {
            let Some(text) = self.cursor.key(key) else { continue };
            if !self.is_known(key, value, text) {
                continue;
            }
            self.current = Some((key, value));
            let text: StrDeserializer<'_, Failed> = text.into_deserializer();
            return seed.deserialize(text).map(Some);
        }
        self.current = None;
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failed> {
        let Some((key, value)) = self.current else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        self.at(key, value, |cursor| cursor.settle(seed.deserialize(cursor)))
    }
}

/// A list's items.
struct Items<'a> {
    cursor: Cursor<'a>,
    rest: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Failed;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failed> {
        let Some((index, node)) = self.rest.next() else { return Ok(None) };
        let path = Path::Item(self.cursor.path, index);
        let cursor = Cursor::new(node, &path, self.cursor.notes);
        cursor.settle(seed.deserialize(cursor)).map(Some)
    }
}

/// A value with its place, for a `Field`: first the place's number, then the value.
struct Placed<'a> {
    spot: Option<Spot>,
    cursor: Cursor<'a>,
}

impl<'de> SeqAccess<'de> for Placed<'_> {
    type Error = Failed;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failed> {
        let Some(spot) = self.spot.take() else {
            return self.cursor.settle(seed.deserialize(self.cursor)).map(Some);
        };
        let number: U64Deserializer<Failed> = (spot.number() as u64).into_deserializer();
        seed.deserialize(number).map(Some)
    }
}

/// Reads `T` from a node; problems are in the notes.
pub(super) fn read<'de, T: Deserialize<'de>>(cursor: Cursor<'_>) -> Option<T> {
    cursor.settle(T::deserialize(cursor)).ok()
}
