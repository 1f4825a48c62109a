//! Settings that are written as a single scalar, in a file or in a variable.

use std::net::SocketAddr;

use bytesize::ByteSize;
use serde_json::{Value, json};

use super::{LocalPath, Notes, Scalar, UNTRUSTED, quoted, schema::case_insensitive};

/// A boolean, or one of the strings that object_store accepts for one.
pub(crate) struct Flag;

impl Scalar for Flag {
    type Value = bool;

    fn expected() -> String {
        "true or false".to_owned()
    }

    fn form() -> String {
        "boolean".to_owned()
    }

    fn from_text(text: &str) -> Result<bool, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "on" | "yes" | "y" => Ok(true),
            "false" | "0" | "off" | "no" | "n" => Ok(false),
            _ => Err(format!("expected true or false, found {}", quoted(text))),
        }
    }

    fn from_flag(flag: bool) -> Result<bool, String> {
        Ok(flag)
    }

    fn show(value: &bool) -> Option<String> {
        Some(value.to_string())
    }

    fn schema() -> Value {
        let words = ["true", "1", "on", "yes", "y", "false", "0", "off", "no", "n"];
        json!({"anyOf": [{"type": "boolean"}, case_insensitive(&words)]})
    }
}

/// A whole number within bounds.
pub(crate) struct Number<const MIN: u32, const MAX: u32>;

impl<const MIN: u32, const MAX: u32> Scalar for Number<MIN, MAX> {
    type Value = u32;

    fn expected() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }

    fn form() -> String {
        format!("{} to {}", grouped(MIN), grouped(MAX))
    }

    fn from_text(text: &str) -> Result<u32, String> {
        match text.parse::<i64>() {
            Ok(number) => Self::from_integer(number),
            Err(_) => Err(format!("expected {}, found {}", Self::expected(), quoted(text))),
        }
    }

    fn from_integer(number: i64) -> Result<u32, String> {
        match u32::try_from(number) {
            Ok(inside) if (MIN..=MAX).contains(&inside) => Ok(inside),
            _ => Err(format!("expected {}, found {number}", Self::expected())),
        }
    }

    fn show(value: &u32) -> Option<String> {
        Some(value.to_string())
    }

    fn schema() -> Value {
        json!({"anyOf": [
            {"type": "integer", "minimum": MIN, "maximum": MAX},
            {"type": "string", "pattern": "^\\+?[0-9]+$"},
        ]})
    }
}

/// The digits of a number, in groups of three.
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// Like [`Number`], as a `usize`.
pub(crate) struct Count<const MIN: u32, const MAX: u32>;

impl<const MIN: u32, const MAX: u32> Scalar for Count<MIN, MAX> {
    type Value = usize;

    fn expected() -> String {
        Number::<MIN, MAX>::expected()
    }

    fn form() -> String {
        Number::<MIN, MAX>::form()
    }

    fn from_text(text: &str) -> Result<usize, String> {
        Number::<MIN, MAX>::from_text(text).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
    }

    fn from_integer(number: i64) -> Result<usize, String> {
        Number::<MIN, MAX>::from_integer(number).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
    }

    fn show(value: &usize) -> Option<String> {
        Some(value.to_string())
    }

    fn schema() -> Value {
        Number::<MIN, MAX>::schema()
    }
}

/// A number of bytes within bounds, with or without a unit.
pub(crate) struct Size<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Size<MIN, MAX> {
    fn within(size: u64) -> Result<u64, String> {
        if (MIN..=MAX).contains(&size) {
            return Ok(size);
        }
        Err(format!("expected a size from {} to {}, found {size} bytes", ByteSize(MIN), ByteSize(MAX)))
    }
}

impl<const MIN: u64, const MAX: u64> Scalar for Size<MIN, MAX> {
    type Value = u64;

    fn expected() -> String {
        "a size such as 8MiB, or a number of bytes".to_owned()
    }

    fn form() -> String {
        let bounds = [MIN, MAX].map(|size| Self::show(&size).unwrap_or_default());
        format!("size, {}", bounds.join(" to "))
    }

    fn from_text(text: &str) -> Result<u64, String> {
        match text.trim().parse::<ByteSize>() {
            Ok(size) => Self::within(size.0),
            Err(_) => Err(format!("expected {}, found {}", Self::expected(), quoted(text))),
        }
    }

    fn from_integer(number: i64) -> Result<u64, String> {
        match u64::try_from(number) {
            Ok(size) => Self::within(size),
            Err(_) => Err(format!("expected {}, found {number}", Self::expected())),
        }
    }

    fn show(value: &u64) -> Option<String> {
        let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let exact = units.into_iter().find(|(unit, _)| *value > 0 && value.is_multiple_of(*unit));
        Some(exact.map_or_else(|| value.to_string(), |(unit, name)| format!("{}{name}", value / unit)))
    }

    fn schema() -> Value {
        json!({"anyOf": [
            {"type": "integer", "minimum": MIN, "maximum": MAX},
            {"type": "string", "pattern": "^ *[0-9.]"},
        ]})
    }
}

/// The factor by which backoff grows: finite and at least 1.
pub(crate) struct Factor;

impl Scalar for Factor {
    type Value = f64;

    fn expected() -> String {
        "a number of at least 1".to_owned()
    }

    fn form() -> String {
        "number, at least 1".to_owned()
    }

    fn from_text(text: &str) -> Result<f64, String> {
        text.parse().map_or_else(
            |_| Err(format!("expected {}, found {}", Self::expected(), quoted(text))),
            Self::from_fraction,
        )
    }

    fn from_integer(number: i64) -> Result<f64, String> {
        match u32::try_from(number) {
            Ok(number) => Self::from_fraction(number.into()),
            Err(_) => Err(format!("expected {}, found {number}", Self::expected())),
        }
    }

    fn from_fraction(number: f64) -> Result<f64, String> {
        if number.is_finite() && number >= 1.0 {
            return Ok(number);
        }
        Err(format!("expected {}, found {number}", Self::expected()))
    }

    fn show(value: &f64) -> Option<String> {
        Some(value.to_string())
    }

    fn schema() -> Value {
        json!({"anyOf": [{"type": "number", "minimum": 1}, {"type": "string", "pattern": "^[+0-9.]"}]})
    }
}

/// A string that is not empty and contains no control characters.
pub(crate) struct Text;

impl Scalar for Text {
    type Value = String;

    fn expected() -> String {
        "a string".to_owned()
    }

    fn from_text(text: &str) -> Result<String, String> {
        if text.is_empty() {
            return Err("is empty: set a value or remove the key".to_owned());
        }
        if text.chars().any(char::is_control) {
            return Err("contains a control character: remove it".to_owned());
        }
        Ok(text.to_owned())
    }

    // The number has already been parsed: the original spelling of `007` or `1e3` is lost.
    fn from_integer(_number: i64) -> Result<String, String> {
        Err("expected a string, found a number: put the value in quotes".to_owned())
    }

    fn from_fraction(_number: f64) -> Result<String, String> {
        Err("expected a string, found a number: put the value in quotes".to_owned())
    }

    fn from_flag(_flag: bool) -> Result<String, String> {
        Err("expected a string, found a boolean: put the value in quotes".to_owned())
    }

    fn show(value: &String) -> Option<String> {
        Some(value.clone())
    }

    fn schema() -> Value {
        json!({"type": "string", "minLength": 1})
    }
}

/// The path of a file or folder. In a file whose author is not trusted, it must be in the file's own folder.
pub(crate) struct FilePath;

impl Scalar for FilePath {
    type Value = LocalPath;

    fn expected() -> String {
        "a path".to_owned()
    }

    fn form() -> String {
        "path".to_owned()
    }

    fn from_text(text: &str) -> Result<LocalPath, String> {
        Text::from_text(text).map(LocalPath::from)
    }

    fn admit(path: LocalPath, notes: &Notes) -> Result<LocalPath, String> {
        notes.confine(path)
    }

    fn show(value: &LocalPath) -> Option<String> {
        Some(value.path().display().to_string())
    }
}

/// The name of a variable of the server. A file whose author is not trusted cannot refer to one.
pub(crate) struct VariableName;

impl Scalar for VariableName {
    type Value = String;

    fn expected() -> String {
        "the name of a variable".to_owned()
    }

    fn from_text(text: &str) -> Result<String, String> {
        Text::from_text(text)
    }

    fn admit(name: String, notes: &Notes) -> Result<String, String> {
        if notes.trusts_author() {
            return Ok(name);
        }
        Err(format!(
            "reads a variable of the server, {UNTRUSTED}: write the secret to a file in the file's own folder, and \
             set `file` to its path"
        ))
    }

    fn show(value: &String) -> Option<String> {
        Some(value.clone())
    }

    fn schema() -> Value {
        Text::schema()
    }
}

/// An address to listen on.
pub(crate) struct Address;

impl Scalar for Address {
    type Value = SocketAddr;

    fn expected() -> String {
        "an IP address and a port, such as 127.0.0.1:50051 or [::]:50051".to_owned()
    }

    fn form() -> String {
        "address".to_owned()
    }

    fn from_text(text: &str) -> Result<SocketAddr, String> {
        text.parse().map_err(|_| format!("expected {}, found {}", Self::expected(), quoted(text)))
    }

    fn show(value: &SocketAddr) -> Option<String> {
        Some(value.to_string())
    }
}
