//! The dotted path to a setting, and how much of a file's text may be shown.

use std::fmt;

/// The dotted path to a node; its parts live on the stack.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    Start(&'a str),
    Key(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(text) => f.write_str(text),
            Self::Key(Self::Start(""), key) => f.write_str(&part(key)),
            Self::Key(parent, key) => write!(f, "{parent}.{}", part(key)),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A key as a path shows it: on one line, and short enough to be a key. What is longer may be a secret
/// that has lost its key.
fn part(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '<');
    let name = key.len() <= 64 && !key.chars().any(|c| c.is_ascii_uppercase());
    if !key.is_empty() && key.chars().all(plain) && (name || key.len() < SECRET) {
        return key.to_owned();
    }
    quoted(key)
}

/// A text of the file as a problem shows it: on one line, and only if it is too short for a secret.
pub(super) fn quoted(text: &str) -> String {
    let length = text.chars().count();
    if length >= SECRET {
        return format!("a text of {length} characters");
    }
    format!("`{}`", text.escape_debug())
}

/// The secret keys of Amazon S3 have 40 characters; nothing as long as this is shown.
const SECRET: usize = 33;
