//! Rejects YAML that is dangerous to parse, before it is parsed.
//!
//! saphyr loads, copies and drops a tree recursively. A line of a few hundred thousand dashes would
//! overflow the stack, which aborts the process. Its scanner limits the depth of flow collections
//! (`[`, `{`) to 255; this module limits the depth of block collections. It also rejects anchors: saphyr
//! copies the node that an anchor names, and its limit on copies counts neither depth nor the contents of
//! keys, so a short text could expand without bound.

/// The maximum indentation of a line, and the maximum number of collections that a line may open.
///
/// A block collection begins to the right of the one that contains it (a list in a mapping may begin in
/// the same column), and only indicators, anchors and tags precede it on its line. The two limits
/// together therefore bound the depth, at about four times this number.
const LIMIT: usize = 100;

/// The line and column, counted from 1, of the first `&` that begins an anchor, or that would if it were
/// not in quotes or in a comment. Only a parser can tell these apart, and the parser must not see an anchor.
pub(super) fn anchor(text: &str) -> Option<(usize, usize)> {
    let (mut line, mut column, mut before) = (1, 0, '\n');
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        column += 1;
        // YAML 1.2, section 7: the properties of a node follow white space or an indicator.
        let begins = before.is_whitespace() || matches!(before, '[' | '{' | ',' | ':' | '\0' | '\u{feff}');
        let named = characters.peek().is_some_and(|next| !next.is_whitespace());
        if character == '&' && begins && named {
            return Some((line, column));
        }
        if character == '\n' {
            (line, column) = (line + 1, 0);
        }
        before = character;
    }
    None
}

/// The first line, counted from 1, that could be nested too deeply.
pub(super) fn too_deep(text: &str) -> Option<usize> {
    // YAML 1.2, section 5.4: a line ends in LF, CR or both.
    let lines = text.split('\n').enumerate();
    lines
        .flat_map(|(number, line)| line.split('\r').map(move |line| (number + 1, line)))
        .find(|(_, line)| indentation(line) > LIMIT && !line.trim().is_empty() || openings(line) > LIMIT)
        .map(|(number, _)| number)
}

fn indentation(line: &str) -> usize {
    line.bytes().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

/// The number of block collections that the line opens before its first content.
fn openings(line: &str) -> usize {
    let line = line.trim_start_matches('\u{feff}').trim_start_matches("---");
    line.split([' ', '\t'])
        .filter(|token| !token.is_empty())
        .take_while(|token| matches!(*token, "-" | "?" | ":") || token.starts_with(['&', '!']))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_found_in_every_position() {
        for (text, place) in [
            ("&a x", (1, 1)),
            ("a:\n  - &b x", (2, 5)),
            ("[&c x]", (1, 2)),
            ("{\"a\":&d x}", (1, 6)),
            ("{a: 1,&e b: 2}", (1, 7)),
            ("a:\r  &f x", (1, 6)),
            ("!t &g x", (1, 4)),
        ] {
            assert_eq!(anchor(text), Some(place), "{text:?}");
        }
        for text in ["a: R&D", "a: \"&quoted\"", "# salt & pepper", "a: x&", "&"] {
            assert_eq!(anchor(text), None, "{text:?}");
        }
    }

    #[test]
    fn deeply_nested_lines_are_found_and_long_ones_are_not() {
        let deep = 100_000;
        for text in [
            format!("a: 1\n{}x", "- ".repeat(deep)),
            format!("a: 1\n{}x", "? ".repeat(deep)),
            format!("a: 1\r{}x", ": ".repeat(deep)),
            format!("a:\n{}b: 1", " ".repeat(deep)),
            format!("a: 1\n--- {}", "- &a ! ".repeat(deep)),
        ] {
            assert!(too_deep(&text).is_some());
        }
        for text in [
            format!("a: {}", "- ".repeat(deep)),
            format!("# {}", "- ".repeat(deep)),
            format!("{{{}}}", "\"a\": 1, ".repeat(deep)),
            " ".repeat(deep),
        ] {
            assert_eq!(too_deep(&text), None);
        }
    }
}
