//! The known name that a misspelt one was probably meant to be.

/// The beginning of a name that is taken for it: shorter ones begin too many.
const LONG_ENOUGH: usize = 5;

/// The candidate nearest to `name`, if any is near enough to be worth suggesting: one that only goes on after it, or else
/// the one with the fewest slips. Case, `-` and `_` do not count, so that `accessKeyId` finds `access_key_id`.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
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

/// What to say of an unknown name: the nearest known one, or all of them.
pub(super) fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    // A name far longer than any known one resembles none; comparing it would only take long.
    let near = (name.len() <= 100).then(|| nearest(name, known.clone())).flatten();
    if let Some(near) = near {
        return format!("did you mean `{near}`?");
    }
    let known: Vec<_> = known.into_iter().filter(|name| !name.starts_with("aws_")).collect();
    format!("known here: {}", known.join(", "))
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_a_stranger_finds_none() {
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
            assert_eq!(nearest(given, known), expected, "{given}");
        }
    }
}
