use std::collections::HashMap;

use longshore::pb::{
    CopyRequest, DeleteTagsRequest, GetTagsRequest, PutRequest, PutTagsRequest, Tags, UploadSpec,
};
use tonic::{Code, Status};

use super::limits::Ability;
use crate::support::{
    calls::{chunk, copying, spec},
    failure::{code_and_reason, field},
    harness::Harness,
};

fn tags(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

impl Harness {
    async fn tags(&self, key: &str) -> Result<HashMap<String, String>, Status> {
        let request = GetTagsRequest { key: key.to_owned(), ..GetTagsRequest::default() };
        Ok(self.objects.clone().get_tags(request).await?.into_inner().tags)
    }

    async fn put_tags(&self, key: &str, tags: HashMap<String, String>) -> Result<(), Status> {
        let request = PutTagsRequest { key: key.to_owned(), tags, ..PutTagsRequest::default() };
        self.objects.clone().put_tags(request).await.map(drop)
    }

    async fn delete_tags(&self, key: &str) -> Result<(), Status> {
        let request = DeleteTagsRequest { key: key.to_owned(), ..DeleteTagsRequest::default() };
        self.objects.clone().delete_tags(request).await.map(drop)
    }
}

#[tokio::test]
async fn tags_are_replaced_as_a_whole_and_removed() {
    let harness = Harness::open().await;
    if harness.judges(Ability::Tags) {
        let before = harness.put("k", "x").await;
        assert!(harness.tags("k").await.unwrap().is_empty());
        let first =
            tags(&[("colour", "sea green"), ("a+b=c", "1:2/3@_"), ("empty", ""), ("\u{e4}", "\u{6f22}")]);
        harness.put_tags("k", first.clone()).await.unwrap();
        assert_eq!(harness.tags("k").await.unwrap(), first);
        harness.put_tags("k", tags(&[("only", "this")])).await.unwrap();
        assert_eq!(harness.tags("k").await.unwrap(), tags(&[("only", "this")]));
        let head = harness.head("k").await.unwrap().meta.unwrap();
        assert_eq!((head.etag, head.size), (before.etag, 1), "the object has not changed");
        for _ in 0..2 {
            harness.delete_tags("k").await.unwrap();
            assert!(harness.tags("k").await.unwrap().is_empty());
        }
        harness.put_tags("k", first).await.unwrap();
        if harness.judges(Ability::EmptyTagSet) {
            harness.put_tags("k", HashMap::new()).await.unwrap();
            assert!(harness.tags("k").await.unwrap().is_empty());
        }
    }
    harness.close().await;
}

#[tokio::test]
async fn tags_that_a_write_set_are_read_back() {
    let harness = Harness::open().await;
    if harness.judges(Ability::Tags) {
        let set = tags(&[("a b", "1 + 2"), ("c", "=")]);
        let put = PutRequest { key: "put".to_owned(), tags: set.clone(), ..PutRequest::default() };
        harness.try_put(put).await.unwrap();
        let upload = UploadSpec { key: "upload".to_owned(), tags: set.clone(), ..UploadSpec::default() };
        harness.upload(vec![spec(upload), chunk("x")]).await.unwrap();
        harness.copy(("", "put"), ("", "copy")).await.unwrap();
        for key in ["put", "upload", "copy"] {
            assert_eq!(harness.tags(key).await.unwrap(), set, "{key}");
        }
        let others = Some(Tags { tags: tags(&[("new", "tag")]) });
        let replaced = CopyRequest { tags: others, ..copying(("", "put"), ("", "replaced")) };
        harness.try_copy(replaced).await.unwrap();
        assert_eq!(harness.tags("replaced").await.unwrap(), tags(&[("new", "tag")]));
    }
    harness.close().await;
}

#[tokio::test]
async fn the_largest_tags_that_s3_allows_are_kept() {
    let harness = Harness::open().await;
    if harness.judges(Ability::Tags) {
        harness.put("k", "x").await;
        let largest: HashMap<_, _> = (0..10).map(|n| (format!("{n:0>128}"), "v".repeat(256))).collect();
        harness.put_tags("k", largest.clone()).await.unwrap();
        assert_eq!(harness.tags("k").await.unwrap(), largest);
    }
    harness.close().await;
}

#[tokio::test]
async fn tags_that_s3_does_not_allow_are_rejected_by_field() {
    let harness = Harness::open().await;
    harness.put("k", "x").await;
    let many: Vec<_> = (0..11).map(|n| n.to_string()).collect();
    let many: Vec<_> = many.iter().map(|key| (key.as_str(), "v")).collect();
    let (long, longer) = ("k".repeat(129), "v".repeat(257));
    let wrong: [&[(&str, &str)]; 7] = [
        &many,
        &[("", "v")],
        &[(&long, "v")],
        &[("k", &longer)],
        &[("a?", "v")],
        &[("k", "a,b")],
        &[("aws:k", "v")],
    ];
    for wrong in wrong {
        assert_eq!(field(harness.put_tags("k", tags(wrong)).await), "tags", "{wrong:?}");
        let put = PutRequest { key: "new".to_owned(), tags: tags(wrong), ..PutRequest::default() };
        assert_eq!(field(harness.try_put(put).await), "tags", "{wrong:?}");
        let upload = UploadSpec { key: "new".to_owned(), tags: tags(wrong), ..UploadSpec::default() };
        assert_eq!(field(harness.upload(vec![spec(upload)]).await), "spec.tags", "{wrong:?}");
    }
    assert_eq!(field(harness.put_tags("", HashMap::new()).await), "key");
    assert_eq!(field(harness.tags("").await), "key");
    assert_eq!(field(harness.delete_tags("").await), "key");
    assert!(harness.head("new").await.is_err());
    harness.close().await;
}

#[tokio::test]
async fn tags_of_a_missing_object_fail() {
    let harness = Harness::open().await;
    if harness.judges(Ability::Tags) {
        let missing = (Code::NotFound, "OBJECT_NOT_FOUND".to_owned());
        assert_eq!(code_and_reason(harness.tags("no").await), missing);
        assert_eq!(code_and_reason(harness.put_tags("no", tags(&[("a", "b")])).await), missing);
        if harness.judges(Ability::DeleteTagsOfMissing) {
            assert_eq!(code_and_reason(harness.delete_tags("no").await), missing);
        }
    }
    harness.close().await;
}

#[tokio::test]
async fn a_store_with_tagging_disabled_rejects_every_call_about_tags() {
    let harness = Harness::open_with(|store| store.disable_tagging = true).await;
    harness.put("k", "x").await;
    let refused = (Code::Unimplemented, "OPERATION_NOT_SUPPORTED".to_owned());
    assert_eq!(code_and_reason(harness.tags("k").await), refused);
    assert_eq!(code_and_reason(harness.put_tags("k", tags(&[("a", "b")])).await), refused);
    assert_eq!(code_and_reason(harness.delete_tags("k").await), refused);
    harness.close().await;
}
