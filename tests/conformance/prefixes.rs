use longshore::pb::{
    CopyDestination, CopyPrefixRequest, CopyPrefixResponse, CopySource, CopyWithProgressRequest,
    DeletePrefixRequest, DeletePrefixResponse, RenameSource, RenameWithProgressRequest, StorePrefix,
    WalkRequest, copy_with_progress_response, rename_with_progress_response,
};
use tonic::Status;

use crate::support::{
    calls::create,
    failure::{code_and_reason, field},
    harness::Harness,
};

fn place(store: &str, prefix: &str) -> Option<StorePrefix> {
    Some(StorePrefix { store: store.to_owned(), prefix: prefix.to_owned() })
}

impl Harness {
    async fn delete_prefix(&self, request: DeletePrefixRequest) -> Result<Vec<DeletePrefixResponse>, Status> {
        let mut messages = self.objects.clone().delete_prefix(request).await?.into_inner();
        let mut all = Vec::new();
        while let Some(message) = messages.message().await? {
            all.push(message);
        }
        Ok(all)
    }

    async fn copy_prefix(&self, request: CopyPrefixRequest) -> Result<Vec<CopyPrefixResponse>, Status> {
        let mut messages = self.objects.clone().copy_prefix(request).await?.into_inner();
        let mut all = Vec::new();
        while let Some(message) = messages.message().await? {
            all.push(message);
        }
        Ok(all)
    }

    async fn fill(&self) {
        for key in ["a/1", "a/2", "a/b/3", "ab", "c"] {
            self.put(key, key.as_bytes().to_vec()).await;
        }
    }

    async fn keys(&self, store: &str) -> Vec<String> {
        self.walk(WalkRequest { store: store.to_owned(), ..WalkRequest::default() }).await.unwrap()
    }
}

fn delete(prefix: &str) -> DeletePrefixRequest {
    DeletePrefixRequest { prefix: prefix.to_owned(), ..DeletePrefixRequest::default() }
}

#[tokio::test]
async fn all_keys_with_a_prefix_are_deleted_and_no_others() {
    let harness = Harness::open().await;
    harness.fill().await;
    let dry = harness.delete_prefix(DeletePrefixRequest { dry_run: true, ..delete("a/") }).await.unwrap();
    assert_eq!((dry.last().unwrap().deleted, harness.keys("").await.len()), (3, 5));
    let found = harness.delete_prefix(delete("a/")).await.unwrap();
    let last = found.last().unwrap();
    assert_eq!((last.deleted, last.failed, last.last_key.as_str(), last.more), (3, 0, "a/b/3", false));
    assert_eq!(harness.keys("").await, ["ab", "c"]);
    assert!(harness.delete_prefix(delete("a/")).await.unwrap().iter().all(|message| message.deleted == 0));
    harness.close().await;
}

#[tokio::test]
async fn a_delete_of_a_prefix_can_be_limited_and_continued() {
    let harness = Harness::open().await;
    harness.fill().await;
    let found = harness.delete_prefix(DeletePrefixRequest { max_keys: 2, ..delete("a") }).await.unwrap();
    let last = found.last().unwrap().clone();
    assert_eq!((last.deleted, last.last_key.as_str(), last.more), (2, "a/2", true));
    assert_eq!(harness.keys("").await, ["a/b/3", "ab", "c"]);
    let rest = DeletePrefixRequest { start_after: last.last_key, ..delete("a") };
    assert_eq!(harness.delete_prefix(rest).await.unwrap().last().unwrap().deleted, 2);
    assert_eq!(harness.keys("").await, ["c"]);
    harness.close().await;
}

#[tokio::test]
async fn a_whole_store_is_deleted_only_on_request() {
    let harness = Harness::open().await;
    harness.fill().await;
    assert_eq!(field(harness.delete_prefix(delete("")).await), "prefix");
    let both = DeletePrefixRequest { whole_store: true, ..delete("a") };
    assert_eq!(field(harness.delete_prefix(both).await), "whole_store");
    let negative = DeletePrefixRequest { max_keys: -1, ..delete("a") };
    assert_eq!(field(harness.delete_prefix(negative).await), "max_keys");
    assert_eq!(harness.keys("").await.len(), 5);
    harness.delete_prefix(DeletePrefixRequest { whole_store: true, ..delete("") }).await.unwrap();
    assert!(harness.keys("").await.is_empty());
    harness.close().await;
}

#[tokio::test]
async fn all_keys_with_a_prefix_are_copied_within_and_between_stores() {
    let harness = Harness::open().await;
    harness.fill().await;
    for (store, prefix) in [("", "copy/"), ("other", ""), ("elsewhere", "from/")] {
        let request = CopyPrefixRequest {
            source: place("", "a/"),
            destination: place(store, prefix),
            ..CopyPrefixRequest::default()
        };
        let dry = CopyPrefixRequest { dry_run: true, ..request.clone() };
        assert_eq!(harness.copy_prefix(dry).await.unwrap().last().unwrap().copied, 3);
        let found = harness.copy_prefix(request).await.unwrap();
        let last = found.last().unwrap();
        assert_eq!((last.copied, last.failed, last.last_key.as_str(), last.more), (3, 0, "a/b/3", false));
    }
    let copies = ["1", "2", "b/3"];
    assert_eq!(harness.keys("other").await, copies);
    assert_eq!(harness.keys("elsewhere").await, copies.map(|key| format!("from/{key}")));
    assert_eq!(harness.get("copy/b/3").await.unwrap().data, b"a/b/3");
    assert_eq!(harness.keys("").await.len(), 8);
    harness.close().await;
}

#[tokio::test]
async fn objects_that_exist_fail_in_mode_create_and_the_others_are_copied() {
    let harness = Harness::open().await;
    harness.fill().await;
    harness.put("copy/2", "kept").await;
    let request = CopyPrefixRequest {
        source: place("", "a/"),
        destination: place("", "copy/"),
        mode: Some(create()),
        max_keys: 2,
        ..CopyPrefixRequest::default()
    };
    let found = harness.copy_prefix(request.clone()).await.unwrap();
    let last = found.last().unwrap().clone();
    assert_eq!((last.copied, last.failed, last.more), (1, 1, true));
    let failures: Vec<_> = found.iter().flat_map(|message| &message.failures).collect();
    assert_eq!((failures[0].key.as_str(), failures[0].reason.as_str()), ("a/2", "ALREADY_EXISTS"));
    assert_eq!(harness.get("copy/2").await.unwrap().data, b"kept");
    let rest = CopyPrefixRequest { start_after: last.last_key, max_keys: 0, ..request };
    assert_eq!(harness.copy_prefix(rest).await.unwrap().last().unwrap().copied, 1);
    assert_eq!(harness.get("copy/b/3").await.unwrap().data, b"a/b/3");
    harness.close().await;
}

#[tokio::test]
async fn prefixes_that_overlap_are_not_copied() {
    let harness = Harness::open().await;
    for (from, to) in [("a/", "a/"), ("a/", "a/b/"), ("a/b/", "a/"), ("", "x/"), ("x/", "")] {
        let request = CopyPrefixRequest {
            source: place("", from),
            destination: place("", to),
            ..CopyPrefixRequest::default()
        };
        assert_eq!(field(harness.copy_prefix(request).await), "destination.prefix", "{from} {to}");
    }
    assert_eq!(field(harness.copy_prefix(CopyPrefixRequest::default()).await), "source");
    harness.close().await;
}

#[tokio::test]
async fn a_copy_and_a_rename_with_progress_end_with_their_result() {
    use copy_with_progress_response::Message as Copy;
    use rename_with_progress_response::Message as Rename;
    let harness = Harness::open().await;
    let put = harness.put("k", "x").await;
    let destination = |key: &str| Some(CopyDestination { store: String::new(), key: key.to_owned() });
    let source = Some(CopySource { key: "k".to_owned(), ..CopySource::default() });
    let request = CopyWithProgressRequest { source, destination: destination("copy"), ..Default::default() };
    let mut messages = harness.objects.clone().copy_with_progress(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(message) = messages.message().await.unwrap() {
        last = message.message;
    }
    let Some(Copy::Result(result)) = last else { panic!("{last:?}") };
    assert_eq!(result.meta.unwrap().etag, put.etag);
    let source = Some(RenameSource { store: String::new(), key: "copy".to_owned() });
    let request =
        RenameWithProgressRequest { source: source.clone(), destination: destination("new"), mode: None };
    let mut messages =
        harness.objects.clone().rename_with_progress(request.clone()).await.unwrap().into_inner();
    let mut last = None;
    while let Some(message) = messages.message().await.unwrap() {
        last = message.message;
    }
    assert!(matches!(last, Some(Rename::Result(_))));
    assert!(harness.head("copy").await.is_err() && harness.head("new").await.is_ok());
    let mut messages = harness.objects.clone().rename_with_progress(request).await.unwrap().into_inner();
    let failed = loop {
        match messages.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the call succeeded"),
            Err(status) => break status,
        }
    };
    assert_eq!(code_and_reason::<()>(Err(failed)).1, "OBJECT_NOT_FOUND");
    harness.close().await;
}
