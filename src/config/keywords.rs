//! Settings whose value is one of a fixed set of keywords.

use serde::de::{Deserialize, Deserializer};

use super::{
    field::Layer,
    path::quoted,
    suggest::suggestion,
    values::{Scalar, deserialize_scalar},
};

/// A type whose values are written as keywords.
pub(super) trait Keywords: Copy + 'static {
    /// The keywords and their meanings.
    const KEYWORDS: &'static [(&'static str, Self)];
    /// Prefixes of keywords that later versions are to support.
    const UNSUPPORTED: &'static [&'static str] = &[];
}

/// One of the keywords of `T`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keyword<T>(pub(super) T);

impl<T: Keywords> Scalar for Keyword<T> {
    fn expected() -> String {
        let words: Vec<_> = T::KEYWORDS.iter().map(|(word, _)| *word).collect();
        format!("one of {}", words.join(", "))
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if let Some((_, meaning)) = T::KEYWORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
            return Ok(Self(*meaning));
        }
        if T::UNSUPPORTED.iter().any(|later| text.starts_with(later)) {
            return Err(format!(
                "{} is not supported by this version; expected {}",
                quoted(text),
                Self::expected()
            ));
        }
        let hint = suggestion(text, T::KEYWORDS.iter().map(|(word, _)| *word));
        Err(format!("{} is not a known value; {hint}", quoted(text)))
    }
}

impl<'de, T: Keywords> Deserialize<'de> for Keyword<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_scalar(deserializer)
    }
}

impl<T: Keywords> Layer for Keyword<T> {}
