//! Suggests the known name that a misspelt one probably stands for.

/// The length from which a prefix of a known name counts as a match. Shorter prefixes match too many names.
const LONG_ENOUGH: usize = 5;

/// The candidate closest to `name`, if one is close enough to suggest: one that `name` is a prefix of, or else the
/// one with the smallest edit distance. Case, `-` and `_` are ignored, so that `accessKeyId` finds `access_key_id`.
fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = plain(name);
    let limit = 1 + wanted.chars().count() / 4;
    candidates
        .into_iter()
        .map(|candidate| (slips(&wanted, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, candidate)| (*distance, candidate.len()))
        .map(|(_, candidate)| candidate)
}

fn slips(wanted: &str, candidate: &str) -> usize {
    if wanted.len() >= LONG_ENOUGH && candidate.starts_with(wanted) {
        return 0;
    }
    strsim::damerau_levenshtein(wanted, candidate)
}

/// The hint for an unknown name: the closest known name or alias, or the list of the known names.
pub(crate) fn suggestion(name: &str, names: &[&str], aliases: &[&str]) -> String {
    let known = names.iter().chain(aliases).copied();
    // A name much longer than every known one cannot be close to any, and comparing it would be slow.
    let near = (name.len() <= 100).then(|| closest(name, known)).flatten();
    near.map_or_else(
        || format!("expected one of: {}", names.join(", ")),
        |near| format!("did you mean `{near}`?"),
    )
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_find_the_known_name_and_unrelated_names_find_none() {
        let known = ["region", "access_key_id", "endpoint", "listen_addr"];
        for (given, expected) in [
            ("regoin", Some("region")),
            ("Region", Some("region")),
            ("accessKeyId", Some("access_key_id")),
            ("end-point", Some("endpoint")),
            ("listen", Some("listen_addr")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(closest(given, known), expected, "{given}");
        }
    }
}
