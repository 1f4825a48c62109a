//! Uses the directories beside the current one as a [`Scale`].

use super::pace::Scale;
use crate::store::{ListOptions, ListPage, PageMemory};

/// Entries of one directory, in order: subdirectories, which end in `/`, and keys.
#[derive(Debug)]
pub(super) struct Siblings {
    entries: Vec<String>,
    /// The key after which they were listed.
    after: String,
    _memory: PageMemory,
}

/// The request for the entries of the directory in which `first` and `last`, a later key, are in different
/// subdirectories. Entries before the subdirectory of `first` are left out. `None` if there is no such directory. All
/// keys begin with `prefix`, which need not end at a directory.
pub(super) fn request(first: &str, last: &str, prefix: &str, page_size: u16) -> Option<ListOptions> {
    let same = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
    let slash = last.as_bytes().get(..same)?.iter().rposition(|byte| *byte == b'/');
    let directory = last.get(..slash.map_or(0, |at| at + 1).max(prefix.len()))?;
    let is_below = |key: &str| key.strip_prefix(directory).is_some_and(|name| name.contains('/'));
    (is_below(first) && is_below(last)).then(|| ListOptions {
        prefix: directory.to_owned(),
        delimiter: "/".to_owned(),
        start_after: first.to_owned(),
        page_size,
        continuation: None,
    })
}

impl Siblings {
    /// The entries that were listed after a key.
    pub(super) fn new(after: String, page: ListPage) -> Self {
        let keys = page.objects.into_iter().map(|object| object.key);
        let mut entries: Vec<_> = page.common_prefixes.into_iter().chain(keys).collect();
        entries.sort_unstable();
        Self { entries, after, _memory: page.memory }
    }
}

impl Scale for &Siblings {
    fn position(&self, key: &str) -> Option<u128> {
        let before = self.entries.partition_point(|entry| entry.as_str() <= key);
        (key >= self.after.as_str() && before < self.entries.len()).then_some(before as u128)
    }

    fn key(&self, position: u128, _: &str) -> Option<String> {
        self.entries.get(usize::try_from(position).ok()?.checked_sub(1)?).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ObjectMeta, TenantBudget};

    #[test]
    fn the_directory_in_which_keys_differ_is_listed() {
        let listed = |first: &str, last: &str, prefix: &str| {
            request(first, last, prefix, 1_000).map(|options| (options.prefix, options.start_after))
        };
        let expected = |prefix: &str, after: &str| Some((prefix.to_owned(), after.to_owned()));
        assert_eq!(listed("u/al/1", "u/bo/2", ""), expected("u/", "u/al/1"));
        assert_eq!(listed("u/al/1", "u/al/2", ""), None);
        assert_eq!(listed("al/x/1", "bo/y/2", ""), expected("", "al/x/1"));
        assert_eq!(listed("u/ba/1", "u/bo/2", "u/b"), expected("u/b", "u/ba/1"));
        assert_eq!(listed("u/ba/1", "u/ba/2", "u/ba"), None);
        assert_eq!(listed("u/é/1", "u/è/2", ""), expected("u/", "u/é/1"));
    }

    #[test]
    fn a_key_is_in_the_directory_that_precedes_it() {
        let object = |key: &str| ObjectMeta { key: key.to_owned(), ..ObjectMeta::default() };
        let page = ListPage {
            objects: vec![object("u/c")],
            common_prefixes: ["u/al/", "u/bo/", "u/di/"].map(str::to_owned).into(),
            skipped: 0,
            skipped_at: Vec::new(),
            continuation: None,
            memory: PageMemory::none(&TenantBudget::default()),
        };
        let siblings = &Siblings::new("u/al/1".to_owned(), page);
        let positions = [("u/al/1", Some(1)), ("u/al/9", Some(1)), ("u/bo/", Some(2)), ("u/c", Some(3))];
        for (key, position) in positions.into_iter().chain([("u/al/0", None), ("u/di/1", None)]) {
            assert_eq!(siblings.position(key), position, "{key}");
        }
        assert_eq!(siblings.key(2, "").as_deref(), Some("u/bo/"));
        assert_eq!(siblings.key(9, ""), None);
    }
}
