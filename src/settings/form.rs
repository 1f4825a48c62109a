//! How a value is written in the settings.

use serde_json::{Value, json};

use super::{Content, Cursor, Notes};

/// How a setting is written, and what it becomes.
pub(crate) trait Form {
    /// The value as one source sets it. Values of several sources are merged before they are used.
    type Layer: Clone;
    /// The value that the program uses.
    type Value;
    /// Whether messages must not show any part of the value.
    const IS_SECRET: bool = false;

    /// Reads the value. If it is invalid, records a problem and returns `None`.
    fn read(cursor: Cursor<'_>) -> Option<Self::Layer>;

    /// The value where both `upper` and `lower` set it.
    fn over(upper: Self::Layer, _lower: &Self::Layer) -> Self::Layer {
        upper
    }

    /// The value to use.
    fn resolve(layer: &Self::Layer) -> Self::Value;

    /// How the value is written in settings. `None` if it is a secret, a mapping, or not set.
    fn show(_value: &Self::Value) -> Option<String> {
        None
    }

    /// The valid values, in the few words of the reference.
    fn form() -> String;

    /// The valid values, as a JSON Schema.
    fn schema() -> Value;
}

/// A value that is written as one scalar, in a file or in a variable. By default, only strings are accepted.
pub(crate) trait Scalar {
    /// The value that the program uses.
    type Value: Clone;

    /// The valid values, as they follow "expected" in a message.
    fn expected() -> String;

    /// Parses a string. The error says what is wrong and what would be right.
    fn from_text(text: &str) -> Result<Self::Value, String>;

    /// Checks a parsed value against what the author of the file may use, which `notes` knows.
    fn admit(value: Self::Value, _notes: &Notes) -> Result<Self::Value, String> {
        Ok(value)
    }

    /// Converts a number without a fraction.
    fn from_integer(_number: i64) -> Result<Self::Value, String> {
        Err(format!("expected {}, found a number", Self::expected()))
    }

    /// Converts any other number, such as 1.5 or 1e3.
    fn from_fraction(_number: f64) -> Result<Self::Value, String> {
        Err(format!("expected {}, found a number", Self::expected()))
    }

    /// Converts a boolean.
    fn from_flag(_flag: bool) -> Result<Self::Value, String> {
        Err(format!("expected {}, found a boolean", Self::expected()))
    }

    /// The value as `from_text` reads it. `None` if it must not be shown.
    fn show(value: &Self::Value) -> Option<String>;

    /// The valid values, in the few words of the reference.
    fn form() -> String {
        "string".to_owned()
    }

    /// The valid values, as a JSON Schema.
    fn schema() -> Value {
        json!({"type": "string"})
    }
}

impl<S: Scalar> Form for S {
    type Layer = S::Value;
    type Value = S::Value;

    fn read(cursor: Cursor<'_>) -> Option<S::Value> {
        let value = match cursor.content() {
            Content::Text(text) => S::from_text(text),
            Content::Integer(number) => S::from_integer(*number),
            Content::Fraction(number) => S::from_fraction(*number),
            Content::Flag(flag) => S::from_flag(*flag),
            Content::Null | Content::List(_) | Content::Mapping(_) | Content::Tagged => {
                return cursor.refuse(&S::expected());
            }
        };
        value.and_then(|value| S::admit(value, cursor.notes())).map_err(|why| cursor.note(why)).ok()
    }

    fn resolve(layer: &S::Value) -> S::Value {
        layer.clone()
    }

    fn show(value: &S::Value) -> Option<String> {
        S::show(value)
    }

    fn form() -> String {
        S::form()
    }

    fn schema() -> Value {
        S::schema()
    }
}
