//! Settings that are one of a few words.

use serde::de::{Deserialize, Deserializer};

use super::{
    field::Layer,
    nearest::suggestion,
    path::quoted,
    values::{Scalar, deserialize_scalar},
};

/// A setting that is one of a few words.
pub(super) trait Words: Copy + 'static {
    /// The words and their meanings.
    const WORDS: &'static [(&'static str, Self)];
    /// What words begin with that only later versions know.
    const LATER: &'static [&'static str] = &[];
}

/// One of the words of `T`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word<T>(pub(super) T);

impl<T: Words> Scalar for Word<T> {
    fn expected() -> String {
        let words: Vec<_> = T::WORDS.iter().map(|(word, _)| *word).collect();
        words.join(", ")
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if let Some((_, meaning)) = T::WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
            return Ok(Self(*meaning));
        }
        if T::LATER.iter().any(|later| text.starts_with(later)) {
            return Err(format!("{} is not supported by this version", quoted(text)));
        }
        let hint = suggestion(text, T::WORDS.iter().map(|(word, _)| *word));
        Err(format!("{} is not known; {hint}", quoted(text)))
    }
}

impl<'de, T: Words> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_scalar(deserializer)
    }
}

impl<T: Words> Layer for Word<T> {}
