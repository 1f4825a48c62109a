//! A serde deserializer over `node`: it records each problem with its line and continues.

use std::fmt;

use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
    value::{StrDeserializer, U64Deserializer},
};

use super::{
    field::FIELD,
    node::{Content, Node, Origin},
    path::Path,
    problem::{Notes, Place, PlaceId},
    suggest::suggestion,
    unsupported,
};

/// A value could not be read. `None` if the problem has already been recorded.
#[derive(Debug)]
pub(super) struct Failed(Option<String>);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("already reported"))
    }
}

impl std::error::Error for Failed {}

impl de::Error for Failed {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(Some(text.to_string()))
    }

    // The message omits the value, which may be a secret.
    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let kind = match unexpected {
            de::Unexpected::Bool(_) => "a boolean",
            de::Unexpected::Unsigned(_) | de::Unexpected::Signed(_) | de::Unexpected::Float(_) => "a number",
            de::Unexpected::Str(_) => "a string",
            de::Unexpected::Seq => "a list",
            de::Unexpected::Map => "a mapping",
            _ => "another type",
        };
        Self(Some(format!("expected {expected}, found {kind}")))
    }

    fn invalid_value(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self(Some(format!("unknown key; {}", suggestion(field, expected.iter().copied()))))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self(Some(format!("sets `{field}` a second time under another name: remove one of the two keys")))
    }
}

/// A node that is being deserialized, with its path and the notes to record problems in.
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

    /// The value of `key`. Reports the line of the key, since a block mapping itself begins on the next line.
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

    /// The pairs of a mapping. Records a problem if the node is not a mapping.
    pub(super) fn pairs(self) -> Result<&'a [(Node, Node)], Failed> {
        match self.node.content() {
            Content::Mapping(pairs) => Ok(pairs),
            _ => self.refuse("a mapping"),
        }
    }

    /// The key as a string. Records a problem if it is not a string.
    pub(super) fn key(self, key: &'a Node) -> Option<&'a str> {
        if key.text().is_none() {
            Cursor::new(key, self.path, self.notes)
                .note("has a key that is not a string: put the key in quotes");
        }
        key.text()
    }

    pub(super) fn note(self, text: impl Into<String>) {
        self.notes.problem_at(self.place(), text);
    }

    /// Records an error that has not been recorded yet.
    pub(super) fn record<T>(self, result: Result<T, Failed>) -> Result<T, Failed> {
        result.map_err(|Failed(text)| {
            if let Some(text) = text {
                self.note(text);
            }
            Failed(None)
        })
    }

    fn refuse<T>(self, expected: &str) -> Result<T, Failed> {
        let problem = match self.node.content() {
            Content::Null => "has no value: set one or remove the key".to_owned(),
            Content::Tagged => "has a YAML tag, and tags are not supported: remove the tag".to_owned(),
            Content::Unreadable => {
                "does not have the type that its YAML tag names: remove the tag".to_owned()
            }
            Content::Flag(_) => format!("expected {expected}, found a boolean"),
            Content::Integer(_) | Content::Fraction(_) => format!("expected {expected}, found a number"),
            Content::Text(_) => format!("expected {expected}, found a string"),
            Content::List(_) => format!("expected {expected}, found a list"),
            Content::Mapping(_) => format!("expected {expected}, found a mapping"),
        };
        self.record(Err(Failed(Some(problem))))
    }

    fn mapping<'de, V: Visitor<'de>>(
        self,
        known: Option<(&'static str, &'static [&'static str])>,
        visitor: V,
    ) -> Result<V::Value, Failed> {
        let mut pairs = Pairs { cursor: self, rest: self.pairs()?.iter(), known, current: None };
        let result = visitor.visit_map(&mut pairs);
        // An error without a place belongs to the key that was read last.
        match pairs.current {
            Some((key, value)) => pairs.at(key, value, |cursor| cursor.record(result)),
            None => self.record(result),
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
        self.record(result)
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
            let place_id = Some(self.notes.record_place(self.place()));
            return visitor.visit_seq(Placed { place_id, cursor: self });
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

/// The pairs of a mapping. Unknown keys are recorded as problems and skipped.
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

    /// Whether the settings type knows the key. Records a problem if it does not.
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
            return Err(de::Error::custom("the value was requested before its key"));
        };
        self.at(key, value, |cursor| cursor.record(seed.deserialize(cursor)))
    }
}

/// The items of a list.
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
        cursor.record(seed.deserialize(cursor)).map(Some)
    }
}

/// Presents a value to [`Field`](super::field::Field) as a sequence of two elements: the number of its [`PlaceId`],
/// then the value.
struct Placed<'a> {
    place_id: Option<PlaceId>,
    cursor: Cursor<'a>,
}

impl<'de> SeqAccess<'de> for Placed<'_> {
    type Error = Failed;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failed> {
        let Some(place_id) = self.place_id.take() else {
            return self.cursor.record(seed.deserialize(self.cursor)).map(Some);
        };
        let number: U64Deserializer<Failed> = (place_id.number() as u64).into_deserializer();
        seed.deserialize(number).map(Some)
    }
}

/// Reads `T` from a node. Problems are recorded in the cursor's notes.
pub(super) fn read<'de, T: Deserialize<'de>>(cursor: Cursor<'_>) -> Option<T> {
    cursor.record(T::deserialize(cursor)).ok()
}
