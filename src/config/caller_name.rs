//! The name of a caller.

use serde_json::{Value, json};

use crate::settings::{Scalar, Text, quoted};

/// The longest name, in bytes. Names stay in memory as long as the process runs, because usage is counted by them.
const LONGEST: usize = 64;

/// The name of a caller, in the log and in the usage.
pub(crate) struct CallerName;

impl Scalar for CallerName {
    type Value = String;

    fn expected() -> String {
        format!("a string of 1 to {LONGEST} bytes")
    }

    fn from_text(text: &str) -> Result<String, String> {
        let name = Text::from_text(text)?;
        if name == "*" {
            return Err("`*` stands for all other callers in the usage: choose another name".to_owned());
        }
        if name.len() > LONGEST {
            return Err(format!(
                "{} has {} bytes: shorten it to at most {LONGEST}",
                quoted(&name),
                name.len()
            ));
        }
        Ok(name)
    }

    fn from_integer(number: i64) -> Result<String, String> {
        Text::from_integer(number)
    }

    fn from_fraction(number: f64) -> Result<String, String> {
        Text::from_fraction(number)
    }

    fn from_flag(flag: bool) -> Result<String, String> {
        Text::from_flag(flag)
    }

    fn show(value: &String) -> Option<String> {
        Text::show(value)
    }

    fn form() -> String {
        format!("string, at most {LONGEST} bytes")
    }

    fn schema() -> Value {
        // The length of a schema counts characters.
        json!({"type": "string", "minLength": 1, "maxLength": LONGEST, "not": {"const": "*"}})
    }
}
