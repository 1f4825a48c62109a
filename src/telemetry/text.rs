//! Makes text from callers and S3 servers safe for errors and log lines.

use std::{borrow::Cow, fmt::Write as _};

/// Marks truncated text.
const ELLIPSIS: char = '…';

/// Escapes control characters as in Rust literals, and truncates the result to `max` bytes. Truncated text is cut at a
/// character boundary and ends with an ellipsis. If `max` is below 3, text that is too long becomes empty.
pub fn cut(text: &str, max: usize) -> Cow<'_, str> {
    if !text.contains(is_escaped) {
        return truncate(text, max);
    }
    let mut shown = String::with_capacity(text.len().min(max) + 16);
    for character in text.chars() {
        if is_escaped(character) {
            // Writing to a string cannot fail.
            let _ = write!(shown, "{}", character.escape_default());
        } else {
            shown.push(character);
        }
        if shown.len() > max {
            break;
        }
    }
    Cow::Owned(truncate(&shown, max).into_owned())
}

/// Truncates `text` to `max` bytes, at a character boundary and with an ellipsis at the end. Shorter text is unchanged.
pub fn truncate(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    let Some(room) = max.checked_sub(ELLIPSIS.len_utf8()) else { return Cow::Borrowed("") };
    let mut shown = text[..text.floor_char_boundary(room)].to_owned();
    shown.push(ELLIPSIS);
    Cow::Owned(shown)
}

/// Whether it is a control character, a line separator or a mark that reorders text (Unicode's bidirectional
/// algorithm): these can make a line look like another one.
fn is_escaped(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_text_is_unchanged_and_not_copied() {
        for text in ["", "a", "ü🚢 / \\ \" '"] {
            assert!(matches!(cut(text, 64), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn long_text_ends_with_an_ellipsis_at_a_character_boundary() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abc…");
        assert_eq!(cut("🚢🚢🚢", 11), "🚢🚢…");
        assert_eq!(cut("🚢🚢🚢", 10), "🚢…");
        assert_eq!(cut("abc", 2), "");
    }

    #[test]
    fn characters_that_change_the_look_of_a_line_are_escaped() {
        assert_eq!(cut("a\nb\u{1b}[31m\u{202e}\0", 64), "a\\nb\\u{1b}[31m\\u{202e}\\u{0}");
        assert_eq!(truncate("a\nb", 64), "a\nb");
    }

    proptest! {
        #[test]
        fn no_result_is_longer_than_allowed_or_has_control_characters(text in "\\PC*|[\\x00-\\x7f]*", max in 0_usize..80) {
            let shown = cut(&text, max);
            prop_assert!(shown.len() <= max);
            prop_assert!(!shown.contains(char::is_control));
            prop_assert!(truncate(&text, max).len() <= max);
        }
    }
}
