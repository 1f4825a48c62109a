//! Settings whose value is one of a fixed set of keywords.

use std::marker::PhantomData;

use serde_json::Value;

use super::{Scalar, quoted, schema::case_insensitive, suggestion};

/// A type whose values are written as keywords.
pub(crate) trait Keywords: Copy + PartialEq + 'static {
    /// The keywords and their meanings.
    const KEYWORDS: &'static [(&'static str, Self)];
    /// Prefixes of keywords that later versions are to support.
    const UNSUPPORTED: &'static [&'static str] = &[];

    /// The keyword for this value.
    fn keyword(self) -> &'static str {
        Self::KEYWORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }
}

/// One of the keywords of `T`, in upper or lower case.
pub(crate) struct Keyword<T>(PhantomData<T>);

impl<T: Keywords> Scalar for Keyword<T> {
    type Value = T;

    fn expected() -> String {
        let words: Vec<_> = T::KEYWORDS.iter().map(|(word, _)| *word).collect();
        format!("one of {}", words.join(", "))
    }

    fn from_text(text: &str) -> Result<T, String> {
        if let Some((_, value)) = T::KEYWORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
            return Ok(*value);
        }
        if T::UNSUPPORTED.iter().any(|later| text.starts_with(later)) {
            return Err(format!(
                "{} is not supported by this version; expected {}",
                quoted(text),
                Self::expected()
            ));
        }
        let words: Vec<_> = T::KEYWORDS.iter().map(|(word, _)| *word).collect();
        Err(format!("{} is not a known value; {}", quoted(text), suggestion(text, &words, &[])))
    }

    fn show(value: &T) -> Option<String> {
        Some(value.keyword().to_owned())
    }

    fn form() -> String {
        let words: Vec<_> = T::KEYWORDS.iter().map(|(word, _)| format!("`{word}`")).collect();
        words.join(", ")
    }

    fn schema() -> Value {
        let words: Vec<_> = T::KEYWORDS.iter().map(|(word, _)| *word).collect();
        case_insensitive(&words)
    }
}
