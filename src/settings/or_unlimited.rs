//! A limit that may be switched off.

use std::marker::PhantomData;

use serde_json::{Value, json};

use super::{Notes, Scalar, schema::case_insensitive};

/// The word for no limit.
const WORD: &str = "unlimited";

/// A value in the form `S`, or `unlimited`, so that a tenant can be exempted from a limit of the `defaults`.
pub(crate) struct OrUnlimited<S>(PhantomData<S>);

impl<S: Scalar> Scalar for OrUnlimited<S> {
    type Value = Option<S::Value>;

    fn expected() -> String {
        format!("{}, or {WORD}", S::expected())
    }

    fn form() -> String {
        format!("{}, or `{WORD}`", S::form())
    }

    fn from_text(text: &str) -> Result<Self::Value, String> {
        if text.eq_ignore_ascii_case(WORD) { Ok(None) } else { S::from_text(text).map(Some) }
    }

    fn admit(value: Self::Value, notes: &Notes) -> Result<Self::Value, String> {
        value.map(|value| S::admit(value, notes)).transpose()
    }

    fn from_integer(number: i64) -> Result<Self::Value, String> {
        S::from_integer(number).map(Some)
    }

    fn from_fraction(number: f64) -> Result<Self::Value, String> {
        S::from_fraction(number).map(Some)
    }

    fn from_flag(flag: bool) -> Result<Self::Value, String> {
        S::from_flag(flag).map(Some)
    }

    fn show(value: &Self::Value) -> Option<String> {
        value.as_ref().map_or_else(|| Some(WORD.to_owned()), S::show)
    }

    fn schema() -> Value {
        json!({"anyOf": [S::schema(), case_insensitive(&[WORD])]})
    }
}
