//! Words as Python's `shlex` splits them for boto3. Unlike in the crate `shlex`, `#` begins no comment.

use std::str::Chars;

/// The words of a text. `None` if a quote has no end, or a backslash nothing after it.
pub(super) fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if matches!(character, ' ' | '\t' | '\r' | '\n') {
            words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_default();
        match character {
            '\'' | '"' => quoted(&mut rest, character, word)?,
            '\\' => word.push(rest.next()?),
            other => word.push(other),
        }
    }
    words.extend(word);
    Some(words)
}

/// Reads up to the closing quote. Between double quotes, a backslash escapes only them and itself.
fn quoted(rest: &mut Chars<'_>, quote: char, word: &mut String) -> Option<()> {
    loop {
        match rest.next()? {
            end if end == quote => return Some(()),
            '\\' if quote == '"' => {
                let next = rest.next()?;
                if !matches!(next, '"' | '\\') {
                    word.push('\\');
                }
                word.push(next);
            }
            other => word.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_in_python() {
        // As shlex.split returns them.
        for (text, expected) in [
            ("a  b\tc\n", &["a", "b", "c"][..]),
            (r#"'a b' "c d" e' 'f """#, &["a b", "c d", "e f", ""]),
            (r#"a\ b '\' "\"\\\a" #c"#, &["a b", r"\", r#""\\a"#, "#c"]),
            ("", &[]),
        ] {
            assert_eq!(split(text).unwrap(), expected, "{text}");
        }
        for text in ["'a", "\"a", "\"a\\\"", "a\\"] {
            assert_eq!(split(text), None, "{text}");
        }
    }
}
