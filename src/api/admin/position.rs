//! Where a page of tenants begins.

use std::{collections::BTreeSet, fmt, ops::Bound};

use sha2::{Digest as _, Sha256};

use super::MAX_NAME;

/// The last name of the page before. Rejected tenants can have names of any length, and a page token has to fit into a
/// message: of longer names, it contains the beginning and a digest. `Display` writes it, and [`Position::parse`] reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// The name, or its beginning.
    start: String,
    /// The digest of the whole name, in hexadecimal; empty if `start` is the whole name.
    digest: String,
}

impl Position {
    pub(super) fn of(name: &str) -> Self {
        let start = &name[..name.floor_char_boundary(MAX_NAME)];
        let digest = if start.len() < name.len() { digest(name) } else { String::new() };
        Self { start: start.to_owned(), digest }
    }

    pub(super) fn parse(text: &str) -> Self {
        let (digest, start) = text.split_once(':').unwrap_or(("", text));
        Self { start: start.to_owned(), digest: digest.to_owned() }
    }

    /// The names after this position, or all. If the name at the position is long and has gone, names with the same
    /// beginning are repeated, so that none is left out.
    pub(super) fn names_after<'a>(after: Option<&Self>, names: &BTreeSet<&'a str>) -> Vec<&'a str> {
        let Some(Self { start, digest: wanted }) = after else { return names.iter().copied().collect() };
        let mut later: Vec<_> =
            names.range::<str, _>((Bound::Excluded(start.as_str()), Bound::Unbounded)).copied().collect();
        if !wanted.is_empty() {
            let mut alike = later.iter().take_while(|name| name.starts_with(start.as_str()));
            let found = alike.position(|name| digest(name) == *wanted);
            later.drain(..found.map_or(0, |index| index + 1));
        }
        later
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.digest, self.start)
    }
}

fn digest(name: &str) -> String {
    hex::encode(Sha256::digest(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_long_names_have_short_tokens_and_leave_out_no_name() {
        let long = "é".repeat(100_000);
        let texts: Vec<_> =
            ["", "1", "2", "3"].iter().map(|end| format!("{long}{end}")).chain(["a:b".to_owned()]).collect();
        let names: BTreeSet<_> = texts.iter().map(String::as_str).collect();
        let (mut seen, mut token) = (Vec::new(), None::<String>);
        loop {
            let after = token.as_deref().map(Position::parse);
            let Some(next) = Position::names_after(after.as_ref(), &names).into_iter().next() else { break };
            seen.push(next);
            let text = Position::of(next).to_string();
            assert!(text.len() <= MAX_NAME + 65, "{}", text.len());
            token = Some(text);
        }
        assert_eq!(seen, names.iter().copied().collect::<Vec<_>>());
    }

    #[test]
    fn a_page_after_a_name_that_has_gone_begins_with_the_next_one() {
        let names = BTreeSet::from(["a", "c"]);
        let after = Position::parse(&Position::of("b").to_string());
        assert_eq!(Position::names_after(Some(&after), &names), ["c"]);
        let long = "b".repeat(300);
        let other = format!("{long}2");
        let names = BTreeSet::from(["a", other.as_str(), "c"]);
        let after = Position::of(&long);
        assert_eq!(Position::names_after(Some(&after), &names), [other.as_str(), "c"]);
    }
}
