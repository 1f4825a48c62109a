use longshore::pb::{GetRequest, HeadRequest, ReadConditions};
use prost_types::Timestamp;
use tonic::Code;

use crate::support::{failure::code_and_reason, harness::Harness};

#[tokio::test]
async fn reads_honour_their_conditions() {
    let harness = Harness::open().await;
    let etag = harness.put("k", "x").await.etag;
    let written = harness.head("k").await.unwrap().meta.unwrap().last_modified.unwrap();
    // A server ignores a date in the future (RFC 9110, section 13.1.3), and some servers keep fractions of a second
    // that the header leaves out. Wait until the next whole second has passed.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let at = |seconds: i64| Some(Timestamp { seconds: written.seconds + seconds, nanos: 0 });
    let not_modified = Some((Code::FailedPrecondition, "NOT_MODIFIED".to_owned()));
    let failed = Some((Code::FailedPrecondition, "PRECONDITION_FAILED".to_owned()));
    let none = ReadConditions::default;
    let cases = [
        (ReadConditions { if_match: etag.clone(), ..none() }, None),
        (ReadConditions { if_match: "\"other\"".to_owned(), ..none() }, failed.clone()),
        (ReadConditions { if_none_match: "\"other\"".to_owned(), ..none() }, None),
        (ReadConditions { if_none_match: etag, ..none() }, not_modified.clone()),
        (ReadConditions { if_modified_since: at(-3600), ..none() }, None),
        (ReadConditions { if_modified_since: at(1), ..none() }, not_modified),
        (ReadConditions { if_unmodified_since: at(1), ..none() }, None),
        (ReadConditions { if_unmodified_since: at(-3600), ..none() }, failed),
    ];
    for (conditions, expected) in cases {
        let request =
            GetRequest { key: "k".to_owned(), conditions: Some(conditions.clone()), ..GetRequest::default() };
        let got = harness.try_get(request).await;
        let request = HeadRequest {
            key: "k".to_owned(),
            conditions: Some(conditions.clone()),
            ..HeadRequest::default()
        };
        let head = harness.objects.clone().head(request).await;
        match expected {
            None => assert!(got.is_ok() && head.is_ok(), "{conditions:?}: {got:?} {head:?}"),
            Some(expected) => {
                assert_eq!(code_and_reason(got), expected, "{conditions:?}");
                assert_eq!(code_and_reason(head), expected, "{conditions:?}");
            }
        }
    }

    harness.close().await;
}
