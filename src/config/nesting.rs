//! A bound on how deeply a YAML text nests, found before it is parsed.
//!
//! saphyr loads and drops a tree by recursion, so that a line of some hundred thousand dashes would
//! overflow the stack, which nothing can catch. Its scanner bounds flow collections (`[`, `{`) at 255;
//! block collections are bounded here.

/// How far a line may be indented, and how many collections it may open, before it counts as too deep.
/// A block collection begins further right than the one around it (a list in a mapping may begin in
/// the same column), and on its line only indicators, anchors and tags stand before it: so both
/// together bound the depth, at about four times this.
const LIMIT: usize = 100;

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
