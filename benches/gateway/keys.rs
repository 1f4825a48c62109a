//! The keys that the backend lists. A key is computed from its index, so nothing has to be stored.

use std::fmt::Write as _;

/// The number of prefixes in [`Layout::Tree`].
const PREFIXES: u64 = 1000;

/// How keys are named. Either way, UTF-8 order is the order of the indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// All keys below one prefix.
    Flat,
    /// The same number of keys below each of [`PREFIXES`] prefixes.
    Tree,
}

/// The keys of a bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys {
    layout: Layout,
    pub(crate) count: u64,
}

impl Keys {
    /// The keys of a bucket that has `count` of them.
    pub(crate) fn of(bucket: &str, count: u64) -> Self {
        Self { layout: if bucket == "shaped-tree" { Layout::Tree } else { Layout::Flat }, count }
    }

    /// Appends a key to a text.
    pub(crate) fn write(self, index: u64, text: &mut String) {
        // Writing to a String does not fail.
        let _ = match self.layout {
            Layout::Flat => write!(text, "data/2026/11/part-{index:09}.parquet"),
            Layout::Tree => {
                let each = self.count.div_ceil(PREFIXES).max(1);
                write!(text, "data/{:03}/{:06}.parquet", index / each, index % each)
            }
        };
    }

    pub(crate) fn key(self, index: u64) -> String {
        let mut key = String::new();
        self.write(index, &mut key);
        key
    }

    /// Returns the index of the first key that is not `before`, which must be true for all keys up to some key and false
    /// for all others.
    pub(crate) fn first(self, before: impl Fn(&str) -> bool) -> u64 {
        let (mut low, mut high) = (0, self.count);
        let mut key = String::new();
        while low < high {
            let middle = u64::midpoint(low, high);
            key.clear();
            self.write(middle, &mut key);
            if before(&key) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}
