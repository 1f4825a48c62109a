//! The dotted path to a setting, and how messages quote text from a file without revealing secrets.

use std::fmt;

/// The dotted path to a node, as a linked list on the stack.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
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

/// A key as a path displays it. A key with unusual characters is quoted, and one that is long enough to be a secret is
/// replaced with its length: it may be a secret in the wrong place.
fn part(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '<');
    // A long key counts as a name only if it has a separator and no upper case: a secret may be all hexadecimal digits,
    // but a long name consists of several words.
    let name =
        key.len() <= 64 && !key.chars().any(|c| c.is_ascii_uppercase()) && key.contains(['_', '-', '.']);
    if !key.is_empty() && key.chars().all(plain) && (name || key.len() < SECRET_LENGTH) {
        return key.to_owned();
    }
    quoted(key)
}

/// A key as a message displays it, by the same rules.
pub(crate) fn shown_key(key: &str) -> String {
    match part(key) {
        plain if plain == key => format!("`{plain}`"),
        hidden => hidden,
    }
}

/// Text from the file as a message displays it: on one line, and only if it is too short to be a secret key.
pub(crate) fn quoted(text: &str) -> String {
    let length = text.chars().count();
    if length >= SECRET_LENGTH {
        return format!("a string of {length} characters");
    }
    format!("`{}`", text.escape_debug())
}

/// Texts of this many characters or more are not displayed. Secret keys of Amazon S3 have 40 characters.
const SECRET_LENGTH: usize = 33;
