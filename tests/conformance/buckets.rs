use longshore::pb::{
    Bucket, BucketVersioning, CorsRule, DeleteBucketCorsRequest, GetBucketCorsRequest, GetBucketRequest,
    ListBucketsRequest, PutBucketCorsRequest,
};
use tonic::{Code, Status};

use super::limits::Ability;
use crate::support::{
    failure::{code_and_reason, field},
    harness::Harness,
};

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn any_origin(methods: &[&str]) -> CorsRule {
    CorsRule { allowed_origins: texts(&["*"]), allowed_methods: texts(methods), ..CorsRule::default() }
}

impl Harness {
    async fn bucket(&self, store: &str) -> Result<Bucket, Status> {
        let request = GetBucketRequest { store: store.to_owned() };
        Ok(self.buckets.clone().get_bucket(request).await?.into_inner().bucket.unwrap())
    }

    async fn cors(&self) -> Result<Vec<CorsRule>, Status> {
        Ok(self.buckets.clone().get_bucket_cors(GetBucketCorsRequest::default()).await?.into_inner().rules)
    }

    async fn put_cors(&self, rules: Vec<CorsRule>) -> Result<(), Status> {
        let request = PutBucketCorsRequest { rules, ..PutBucketCorsRequest::default() };
        self.buckets.clone().put_bucket_cors(request).await.map(drop)
    }

    async fn delete_cors(&self) -> Result<(), Status> {
        self.buckets.clone().delete_bucket_cors(DeleteBucketCorsRequest::default()).await.map(drop)
    }
}

#[tokio::test]
async fn a_bucket_is_described_by_what_its_server_knows() {
    let harness = Harness::open().await;
    let bucket = harness.bucket("").await.unwrap();
    assert_eq!(bucket.name, harness.backend.bucket);
    if harness.judges(Ability::BucketRegion) {
        assert_eq!(bucket.region, harness.backend.region);
    }
    assert!(bucket.create_time.is_some_and(|time| time.seconds > 1_700_000_000), "{bucket:?}");
    assert_eq!(bucket.versioning(), BucketVersioning::Off);
    harness.close().await;
    let harness = Harness::open_versioned().await;
    if harness.judges(Ability::Versions) {
        assert_eq!(harness.bucket("").await.unwrap().versioning(), BucketVersioning::Enabled);
    }
    harness.close().await;
}

#[tokio::test]
async fn a_missing_bucket_has_its_own_reason() {
    let harness = Harness::open_with(|store| store.bucket.bucket = "no-such-bucket".to_owned()).await;
    let missing = (Code::FailedPrecondition, "BUCKET_NOT_FOUND".to_owned());
    assert_eq!(code_and_reason(harness.bucket("").await), missing);
    assert_eq!(code_and_reason(harness.cors().await), missing);
    assert_eq!(code_and_reason(harness.bucket("no-such-store").await).1, "STORE_NOT_FOUND");
    harness.close().await;
}

#[tokio::test]
async fn the_buckets_of_all_stores_are_listed_in_pages() {
    let harness = Harness::open().await;
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListBucketsRequest { page_size: 1, page_token };
        let page = harness.buckets.clone().list_buckets(request).await.unwrap().into_inner();
        assert!(page.buckets.len() <= 1);
        found.extend(page.buckets.into_iter().map(|listed| (listed.stores, listed.bucket.unwrap().name)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let expected = [
        (texts(&["default", "other"]), harness.backend.bucket.clone()),
        (texts(&["elsewhere"]), "test".to_owned()),
    ];
    assert_eq!(found, expected);
    let forged = ListBucketsRequest { page_token: "nonsense".to_owned(), ..Default::default() };
    assert_eq!(field(harness.buckets.clone().list_buckets(forged).await), "page_token");
    harness.close().await;
}

/// The only test that changes the rules: on a real server, all tests share one bucket.
#[tokio::test]
async fn cors_rules_are_replaced_as_a_whole_and_removed() {
    let harness = Harness::open_with(|store| store.allow_bucket_cors = true).await;
    if harness.judges(Ability::Cors) {
        harness.delete_cors().await.unwrap();
        assert_eq!(harness.cors().await.unwrap(), []);
        let first = CorsRule {
            id: "first & only".to_owned(),
            allowed_origins: texts(&["https://*.example.com", "https://example.org"]),
            allowed_methods: texts(&["GET", "PUT", "POST", "DELETE", "HEAD"]),
            allowed_headers: texts(&["x-amz-meta-*"]),
            expose_headers: texts(&["ETag", "x-amz-version-id"]),
            max_age_seconds: Some(3000),
        };
        let rules = vec![first, any_origin(&["GET"])];
        harness.put_cors(rules.clone()).await.unwrap();
        let mut found = harness.cors().await.unwrap();
        // Some servers make up ids for rules without one.
        found[1].id.clear();
        assert_eq!(found, rules);
        harness.put_cors(vec![any_origin(&["HEAD"])]).await.unwrap();
        let found = harness.cors().await.unwrap();
        assert_eq!((found.len(), &found[0].allowed_methods), (1, &texts(&["HEAD"])));
        for _ in 0..2 {
            harness.delete_cors().await.unwrap();
            assert_eq!(harness.cors().await.unwrap(), []);
        }
    }
    harness.close().await;
}

#[tokio::test]
async fn cors_rules_that_s3_does_not_accept_are_rejected_by_field() {
    let harness = Harness::open_with(|store| store.allow_bucket_cors = true).await;
    let valid = any_origin(&["GET"]);
    assert_eq!(field(harness.put_cors(Vec::new()).await), "rules");
    assert_eq!(field(harness.put_cors(vec![valid.clone(); 101]).await), "rules");
    let cases = [
        (CorsRule { id: "i".repeat(256), ..valid.clone() }, "id"),
        (CorsRule { allowed_origins: Vec::new(), ..valid.clone() }, "allowed_origins"),
        (CorsRule { allowed_origins: texts(&["a", "*.*"]), ..valid.clone() }, "allowed_origins[1]"),
        (CorsRule { allowed_methods: Vec::new(), ..valid.clone() }, "allowed_methods"),
        (CorsRule { allowed_methods: texts(&["PATCH"]), ..valid.clone() }, "allowed_methods[0]"),
        (CorsRule { allowed_headers: texts(&["**"]), ..valid.clone() }, "allowed_headers[0]"),
        (CorsRule { expose_headers: texts(&["*"]), ..valid.clone() }, "expose_headers[0]"),
        (CorsRule { max_age_seconds: Some(-1), ..valid.clone() }, "max_age_seconds"),
    ];
    for (wrong, named) in cases {
        let rules = vec![valid.clone(), valid.clone(), wrong];
        assert_eq!(field(harness.put_cors(rules).await), format!("rules[2].{named}"));
    }
    harness.close().await;
}

#[tokio::test]
async fn cors_rules_of_a_store_with_a_prefix_are_not_changed() {
    let harness = Harness::open().await;
    let refused = (Code::Unimplemented, "OPERATION_NOT_SUPPORTED".to_owned());
    assert_eq!(code_and_reason(harness.put_cors(vec![any_origin(&["GET"])]).await), refused);
    assert_eq!(code_and_reason(harness.delete_cors().await), refused);
    harness.close().await;
}
