use longshore::pb::{
    DeleteRequest, GetRequest, GetTagsRequest, HeadRequest, HeadResponse, ListVersionsRequest,
    ListVersionsResponse, ObjectVersion, PutRequest, RestoreOutcome, RestoreRequest, WalkVersionsRequest,
};
use tonic::{Code, Status};

use super::limits::Ability;
use crate::support::{
    calls::copying,
    failure::{code_and_reason, field},
    harness::Harness,
};

/// What identifies a version, and what kind it is.
type Row = (String, String, bool, bool);

fn rows(versions: &[ObjectVersion]) -> Vec<Row> {
    let row = |version: &ObjectVersion| {
        let meta = version.meta.as_ref().unwrap();
        (meta.key.clone(), meta.version.clone(), version.is_latest, version.delete_marker)
    };
    versions.iter().map(row).collect()
}

impl Harness {
    async fn versions(&self, request: ListVersionsRequest) -> Result<ListVersionsResponse, Status> {
        Ok(self.objects.clone().list_versions(request).await?.into_inner())
    }

    async fn all_versions(&self, page_size: i32) -> Vec<ObjectVersion> {
        let mut request = ListVersionsRequest { page_size, ..ListVersionsRequest::default() };
        let mut versions = Vec::new();
        loop {
            let page = self.versions(request.clone()).await.unwrap();
            assert_eq!(page.skipped, 0);
            versions.extend(page.versions);
            if page.next_page_token.is_empty() {
                return versions;
            }
            request.page_token = page.next_page_token;
        }
    }

    async fn walk_versions(&self, request: WalkVersionsRequest) -> Result<Vec<ObjectVersion>, Status> {
        let mut stream = self.objects.clone().walk_versions(request).await?.into_inner();
        let mut versions = Vec::new();
        while let Some(page) = stream.message().await? {
            versions.extend(page.versions);
        }
        Ok(versions)
    }

    async fn delete_version(&self, key: &str, version: &str) -> String {
        let request =
            DeleteRequest { key: key.to_owned(), version: version.to_owned(), ..DeleteRequest::default() };
        self.objects.clone().delete(request).await.unwrap().into_inner().version
    }

    async fn head_version(&self, key: &str, version: &str) -> Result<HeadResponse, Status> {
        let request =
            HeadRequest { key: key.to_owned(), version: version.to_owned(), ..HeadRequest::default() };
        Ok(self.objects.clone().head(request).await?.into_inner())
    }

    async fn restore(&self, request: RestoreRequest) -> Result<RestoreOutcome, Status> {
        Ok(self.objects.clone().restore(request).await?.into_inner().outcome())
    }
}

/// Writes two keys three times, and deletes the second. Returns the rows of all versions in order.
async fn history(harness: &Harness) -> Vec<Row> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for number in 0..3 {
        first.push(harness.put("a", format!("{number}")).await.version);
        second.push(harness.put("b/c", format!("{number}{number}")).await.version);
    }
    let marker = harness.delete_version("b/c", "").await;
    let row = |key: &str, id: &String, latest, marker| (key.to_owned(), id.clone(), latest, marker);
    let mut rows: Vec<_> =
        first.iter().enumerate().rev().map(|(n, id)| row("a", id, n == 2, false)).collect();
    rows.push(row("b/c", &marker, true, true));
    rows.extend(second.iter().rev().map(|id| row("b/c", id, false, false)));
    rows
}

#[tokio::test]
async fn versions_and_delete_markers_are_listed_by_key_and_newest_first() {
    let harness = Harness::open_versioned().await;
    if harness.judges(Ability::Versions) {
        let expected = history(&harness).await;
        let found = harness.all_versions(0).await;
        assert_eq!(rows(&found), expected);
        for version in found.iter().filter(|version| !version.delete_marker) {
            let meta = version.meta.clone().unwrap();
            let head = harness.head_version(&meta.key, &meta.version).await.unwrap().meta.unwrap();
            assert_eq!((head.size, head.etag, head.version), (meta.size, meta.etag, meta.version));
            assert!(meta.last_modified.is_some());
        }
        assert_eq!(rows(&harness.walk_versions(WalkVersionsRequest::default()).await.unwrap()), expected);
    }
    harness.close().await;
}

#[tokio::test]
async fn pages_of_versions_join_up() {
    let harness = Harness::open_versioned().await;
    if harness.judges(Ability::PagesOfVersions) {
        let expected = history(&harness).await;
        for page_size in [1, 2, 3, 7] {
            assert_eq!(rows(&harness.all_versions(page_size).await), expected, "{page_size}");
        }
    }
    harness.close().await;
}

#[tokio::test]
async fn a_walk_of_versions_continues_after_any_version() {
    let harness = Harness::open_versioned().await;
    if harness.judges(Ability::PagesOfVersions) {
        let expected = history(&harness).await;
        for (index, (key, version, ..)) in expected.iter().enumerate() {
            let request = WalkVersionsRequest {
                start_after: key.clone(),
                start_after_version: version.clone(),
                ..WalkVersionsRequest::default()
            };
            let rest = harness.walk_versions(request).await.unwrap();
            assert_eq!(rows(&rest), expected[index + 1..], "{index}");
        }
        let after =
            WalkVersionsRequest { start_after: "a".to_owned(), limit: 2, ..WalkVersionsRequest::default() };
        assert_eq!(rows(&harness.walk_versions(after).await.unwrap()), expected[3..5]);
        let below = WalkVersionsRequest { prefix: "b/".to_owned(), ..WalkVersionsRequest::default() };
        assert_eq!(rows(&harness.walk_versions(below).await.unwrap()), expected[3..]);
    }
    harness.close().await;
}

#[tokio::test]
async fn a_delimiter_groups_the_keys_of_versions() {
    let harness = Harness::open_versioned().await;
    if harness.judges(Ability::Versions) {
        let expected = history(&harness).await;
        let request = ListVersionsRequest { delimiter: "/".to_owned(), ..ListVersionsRequest::default() };
        let page = harness.versions(request).await.unwrap();
        assert_eq!(
            (rows(&page.versions), page.common_prefixes),
            (expected[..3].to_vec(), vec!["b/".to_owned()])
        );
    }
    harness.close().await;
}

#[tokio::test]
async fn an_unversioned_object_has_the_version_null() {
    let harness = Harness::open().await;
    if harness.judges(Ability::Versions) {
        harness.put("k", "x").await;
        let found = harness.all_versions(0).await;
        assert_eq!(rows(&found), [("k".to_owned(), "null".to_owned(), true, false)]);
    }
    harness.close().await;
}

#[tokio::test]
async fn an_older_version_is_restored_by_a_copy_onto_its_own_key() {
    let harness = Harness::open_versioned().await;
    if harness.judges(Ability::Versions) {
        let tags = [("age".to_owned(), "old".to_owned())];
        let put = PutRequest {
            key: "k".to_owned(),
            data: "old".into(),
            tags: tags.clone().into(),
            ..PutRequest::default()
        };
        let old = harness.try_put(put).await.unwrap().version;
        harness.put("k", "new").await;
        let mut copy = copying(("", "k"), ("", "k"));
        copy.source.as_mut().unwrap().version.clone_from(&old);
        let restored = harness.try_copy(copy).await.unwrap().version;
        assert!(!restored.is_empty() && restored != old);
        let read = harness.get("k").await.unwrap();
        assert_eq!((read.data.as_slice(), read.info.meta.unwrap().version), (&b"old"[..], restored));
        let request = GetTagsRequest { key: "k".to_owned(), ..GetTagsRequest::default() };
        let found = harness.objects.clone().get_tags(request).await.unwrap().into_inner();
        assert_eq!(found.tags, tags.into());
        assert_eq!(harness.all_versions(0).await.len(), 3);
    }
    harness.close().await;
}

#[tokio::test]
async fn a_delete_is_undone_by_deleting_its_marker() {
    let harness = Harness::open_versioned().await;
    if harness.judges(Ability::Versions) {
        let only = harness.put("k", "x").await.version;
        let marker = harness.delete_version("k", "").await;
        assert_eq!(code_and_reason(harness.get("k").await).1, "OBJECT_NOT_FOUND");
        let request = GetRequest { key: "k".to_owned(), version: marker.clone(), ..GetRequest::default() };
        assert_eq!(code_and_reason(harness.try_get(request).await).1, "VERSION_NOT_FOUND");
        assert_eq!(harness.head_version("k", &only).await.unwrap().meta.unwrap().version, only);
        harness.delete_version("k", &marker).await;
        assert_eq!(harness.get("k").await.unwrap().data, b"x");
        harness.delete_version("k", &only).await;
        assert!(harness.all_versions(0).await.is_empty());
    }
    harness.close().await;
}

#[tokio::test]
async fn invalid_requests_for_versions_are_rejected_by_field() {
    let harness = Harness::open().await;
    let token = ListVersionsRequest { page_token: "x".to_owned(), ..ListVersionsRequest::default() };
    assert_eq!(field(harness.versions(token).await), "page_token");
    let size = ListVersionsRequest { page_size: -1, ..ListVersionsRequest::default() };
    assert_eq!(field(harness.versions(size).await), "page_size");
    let version =
        WalkVersionsRequest { start_after_version: "v".to_owned(), ..WalkVersionsRequest::default() };
    assert_eq!(field(harness.walk_versions(version).await), "start_after_version");
    assert_eq!(field(harness.restore(RestoreRequest::default()).await), "key");
    let days = RestoreRequest { key: "k".to_owned(), days: -1, ..RestoreRequest::default() };
    assert_eq!(field(harness.restore(days).await), "days");
    harness.close().await;
}

#[tokio::test]
async fn an_archived_object_is_restored_for_some_days() {
    let harness = Harness::open().await;
    if harness.judges(Ability::Restore) {
        let mut put = PutRequest { key: "k".to_owned(), data: "x".into(), ..PutRequest::default() };
        put.attributes.get_or_insert_default().storage_class = "GLACIER".to_owned();
        harness.try_put(put).await.unwrap();
        assert!(harness.head("k").await.unwrap().restore.is_none());
        let archived = (Code::FailedPrecondition, "OBJECT_ARCHIVED".to_owned());
        assert_eq!(code_and_reason(harness.get("k").await), archived);
        let request = RestoreRequest { key: "k".to_owned(), days: 3, ..RestoreRequest::default() };
        assert_eq!(harness.restore(request.clone()).await.unwrap(), RestoreOutcome::Started);
        // moto needs a few requests until an object is restored.
        let mut status = harness.head("k").await.unwrap().restore.unwrap();
        for _ in 0..3 {
            status = harness.head("k").await.unwrap().restore.unwrap();
        }
        assert!(!status.in_progress && status.expire_time.is_some(), "{status:?}");
        assert_eq!(harness.get("k").await.unwrap().data, b"x");
        assert_eq!(harness.restore(request).await.unwrap(), RestoreOutcome::Extended);
    }
    harness.close().await;
}

#[tokio::test]
async fn an_object_that_is_not_archived_cannot_be_restored() {
    let harness = Harness::open().await;
    if harness.judges(Ability::Restore) {
        harness.put("k", "x").await;
        let request =
            |key: &str| RestoreRequest { key: key.to_owned(), days: 1, ..RestoreRequest::default() };
        let invalid = (Code::InvalidArgument, "INVALID_REQUEST".to_owned());
        assert_eq!(code_and_reason(harness.restore(request("k")).await), invalid);
        let missing = (Code::NotFound, "OBJECT_NOT_FOUND".to_owned());
        assert_eq!(code_and_reason(harness.restore(request("no")).await), missing);
    }
    harness.close().await;
}
