//! Going on with a read after a broken connection: of the same object, and not for ever.

use super::{Properties, ReadOptions};

/// By what the rest of an object is known to be of the same object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pin {
    pub(super) version: Option<String>,
    pub(super) if_match: Option<String>,
}

impl Pin {
    /// The ETag, or the version where there is no ETag: to name a version needs a permission of its own
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>, "Permissions").
    pub(super) fn of(options: &ReadOptions, properties: &Properties) -> Self {
        let if_match = properties.strong_etag().map(str::to_owned);
        let found = properties.version.clone().filter(|_| if_match.is_none());
        Self { version: options.version.clone().or(found), if_match }
    }
}

/// How a read has gone on after broken connections.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    /// Where it last went on.
    at: Option<u64>,
    /// How often in a row it gained little.
    in_vain: u32,
}

/// A connection that breaks before it has brought this many bytes has gained little.
const GAIN: u64 = 64 * 1024;

/// A server that does not know ranges sends everything once more; beyond this much the read ends instead.
pub(super) const MOST_SKIPPED: u64 = 64 * 1024 * 1024;

impl Resumed {
    /// The read goes on at `position`; whether it gained so little that often that it must not.
    pub(super) fn is_hopeless(&mut self, position: u64, most: u32) -> bool {
        let gained = self.at.is_none_or(|at| position - at >= GAIN);
        self.in_vain = if gained { 0 } else { self.in_vain + 1 };
        self.at = Some(position);
        self.in_vain > most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_bring_next_to_nothing_end_a_read() {
        let mut resumed = Resumed::default();
        assert!((0..4).all(|byte| !resumed.is_hopeless(byte, 3)));
        assert!(resumed.is_hopeless(4, 3));
        let mut resumed = Resumed::default();
        assert!((0..1_000).all(|times| !resumed.is_hopeless(times * GAIN, 3)));
    }

    #[test]
    fn an_object_is_known_by_its_version_only_where_it_has_no_etag() {
        let said = |etag: Option<&str>| Properties {
            etag: etag.map(str::to_owned),
            version: Some("v".to_owned()),
            ..Properties::default()
        };
        let pin = |etag| Pin::of(&ReadOptions::default(), &said(etag));
        let version = Some("v".to_owned());
        assert_eq!(pin(Some("\"e\"")), Pin { version: None, if_match: Some("\"e\"".to_owned()) });
        assert_eq!(pin(Some("W/\"e\"")), Pin { version: version.clone(), if_match: None });
        assert_eq!(pin(None), Pin { version, if_match: None });
    }
}
