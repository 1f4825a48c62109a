//! What a YAML text must not hold, found before it is parsed.
//!
//! saphyr loads, copies and drops a tree by recursion, so that a line of some hundred thousand dashes
//! would overflow the stack, which nothing can catch. Its scanner bounds flow collections (`[`, `{`) at
//! 255; block collections are bounded here. Anchors are refused: saphyr copies what they name, and its
//! bound on copies counts neither depth nor what is inside of keys, so that a short text could grow
//! without end.

/// How far a line may be indented, and how many collections it may open, before it counts as too deep.
/// A block collection begins further right than the one around it (a list in a mapping may begin in
/// the same column), and on its line only indicators, anchors and tags stand before it: so both
/// together bound the depth, at about four times this.
const LIMIT: usize = 100;

/// The line and column (from 1) of the first `&` that begins an anchor, or would if it stood in no quotes
/// and no comment: where text ends is for a parser to say, and the parser must not see an anchor.
pub(super) fn anchor(text: &str) -> Option<(usize, usize)> {
    let (mut line, mut column, mut before) = (1, 0, '\n');
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        column += 1;
        // YAML 1.2 section 7: a node's properties come after white space or an indicator.
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

/// The first line (from 1) that could nest too deeply.
pub(super) fn too_deep(text: &str) -> Option<usize> {
    // YAML 1.2 section 5.4: a line ends in LF, CR or both.
    let lines = text.split('\n').enumerate();
    lines
        .flat_map(|(number, line)| line.split('\r').map(move |line| (number + 1, line)))
        .find(|(_, line)| indentation(line) > LIMIT && !line.trim().is_empty() || openings(line) > LIMIT)
        .map(|(number, _)| number)
}

fn indentation(line: &str) -> usize {
    line.bytes().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

/// How many block collections the line opens before its first content.
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
    fn anchors_are_found_wherever_one_may_begin() {
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
    fn deep_lines_are_found_and_long_ones_are_not() {
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
