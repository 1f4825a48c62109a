//! Lists versions of objects.

use futures::stream::{self, Stream};

use super::{
    Error, ObjectMeta, ObjectVersion, PageMemory, S3Store, VersionsOptions, VersionsPage,
    WalkVersionsOptions, list::invalid_page_token, progress::Progress,
};
use crate::s3::{VersionMarker, VersionsListed, VersionsQuery};

/// S3's maximum page size.
const PAGE: u16 = 1000;

/// What a page lists, relative to the store's prefix.
#[derive(Debug, Clone, Copy)]
struct Listing<'a> {
    prefix: &'a str,
    delimiter: &'a str,
    start_after: &'a str,
    max_keys: u16,
}

/// Where a listing of versions continues.
#[derive(Debug, Clone, Default)]
struct Position {
    progress: Progress,
    after: Option<VersionMarker>,
}

impl S3Store {
    /// Returns one page of versions, by key, and the newest version of a key first. A listing can be abandoned at any
    /// time, because S3 keeps no state for it.
    pub async fn versions(&self, options: &VersionsOptions) -> Result<VersionsPage, Error> {
        let position = match options.continuation.as_deref() {
            Some(text) => self.position(text)?,
            None => Position::default(),
        };
        let listing = Listing {
            prefix: &options.prefix,
            delimiter: &options.delimiter,
            start_after: &options.start_after,
            max_keys: options.page_size,
        };
        let (page, next) = self.versions_at(listing, position).await?;
        let continuation = next.map(|next| self.position_text(&next)).transpose()?;
        Ok(VersionsPage { continuation, ..page })
    }

    /// Returns every version under a prefix, one page after the other. Drop a page before polling for the next: it holds
    /// memory.
    pub fn walk_versions(
        &self,
        options: WalkVersionsOptions,
    ) -> impl Stream<Item = Result<VersionsPage, Error>> + Send + 'static {
        let WalkVersionsOptions { prefix, start_after, start_after_version, limit } = options;
        let (start_after, after) = match start_after_version.as_str() {
            "" => (start_after, None),
            version => (String::new(), Some(self.version_marker(&start_after, version))),
        };
        let walk = (self.clone(), prefix, start_after);
        let begin = Some((Position { after, ..Position::default() }, limit));
        stream::try_unfold((walk, begin), async |((store, prefix, start_after), position)| {
            let Some((position, left)) = position else { return Ok(None) };
            let max_keys = left.map_or(PAGE, |left| u16::try_from(left).unwrap_or(PAGE).min(PAGE));
            if max_keys == 0 {
                return Ok(None);
            }
            let listing = Listing { prefix: &prefix, delimiter: "", start_after: &start_after, max_keys };
            let (page, next) = store.versions_at(listing, position).await?;
            let left = left.map(|left| left.saturating_sub(page.versions.len() as u64));
            let next = next.map(|next| (next, left));
            Ok(Some((page, ((store, prefix, start_after), next))))
        })
    }

    async fn versions_at(
        &self,
        listing: Listing<'_>,
        position: Position,
    ) -> Result<(VersionsPage, Option<Position>), Error> {
        let Position { mut progress, after } = position;
        let start_after = match listing.start_after {
            "" => String::new(),
            key => self.full_prefix(key),
        };
        let mut memory = self.page_memory();
        let query = VersionsQuery {
            prefix: &self.full_prefix(listing.prefix),
            delimiter: listing.delimiter,
            start_after: &start_after,
            after: after.as_ref(),
            max_keys: listing.max_keys,
        };
        let listed = self.client().list_object_versions(query, &mut memory).await?;
        let (page, next) = self.own_versions(listed, memory);
        let name = next.as_ref().map(|next| format!("{}\0{}", next.version, next.key));
        let names: Vec<_> =
            page.versions.iter().take(1).map(id).chain(page.common_prefixes.first().cloned()).collect();
        progress.page(name.as_deref(), names.iter().map(String::as_str))?;
        Ok((page, next.map(|next| Position { progress, after: Some(next) })))
    }

    /// The page with keys relative to the store's prefix, without the entries outside of it.
    fn own_versions(
        &self,
        listed: VersionsListed,
        memory: PageMemory,
    ) -> (VersionsPage, Option<VersionMarker>) {
        let VersionsListed { versions, common_prefixes, unreadable, next } = listed;
        let entries = versions.len() + common_prefixes.len();
        let own = |version: ObjectVersion| {
            let key = self.relative(&version.meta.key)?;
            Some(ObjectVersion { meta: ObjectMeta { key, ..version.meta }, ..version })
        };
        let versions: Vec<_> = versions.into_iter().filter_map(own).collect();
        let common_prefixes: Vec<_> =
            common_prefixes.iter().filter_map(|prefix| self.relative(prefix)).collect();
        let skipped = unreadable + entries - versions.len() - common_prefixes.len();
        self.report_unreadable("ListObjectVersions", skipped);
        (VersionsPage { versions, common_prefixes, skipped, continuation: None, memory }, next)
    }

    fn version_marker(&self, key: &str, version: &str) -> VersionMarker {
        VersionMarker { key: self.full_prefix(key), version: version.to_owned() }
    }

    /// Encodes a position as text. A version id contains no NUL, so it comes before the key, which may.
    fn position_text(&self, position: &Position) -> Result<String, Error> {
        let (key, version) = match &position.after {
            Some(after) => (self.relative_marker(&after.key)?, after.version.as_str()),
            None => (String::new(), ""),
        };
        Ok(position.progress.with(&format!("{version}\0{key}")))
    }

    fn position(&self, text: &str) -> Result<Position, Error> {
        let (progress, marker) = Progress::parse(text).ok_or_else(invalid_page_token)?;
        let (version, key) = marker.split_once('\0').ok_or_else(invalid_page_token)?;
        Ok(Position { progress, after: Some(self.version_marker(key, version)) })
    }
}

/// What distinguishes a version from the others.
fn id(version: &ObjectVersion) -> String {
    let id = version.meta.properties.version.as_deref().unwrap_or_default();
    format!("{id}\0{}", version.meta.key)
}
