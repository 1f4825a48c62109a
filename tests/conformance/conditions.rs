use longshore::pb::{GetRequest, HeadRequest, ReadConditions};
use prost_types::Timestamp;
use tonic::Code;

use crate::support::{failure::told, house::House};

#[tokio::test]
async fn a_read_holds_its_conditions() {
    let house = House::open().await;
    let etag = house.put("k", "x").await.etag;
    let written = house.head("k").await.unwrap().meta.unwrap().last_modified.unwrap();
    // A date in the future is no condition (RFC 9110, section 13.1.3), and some servers keep fractions of the second
    // that the header leaves out: the next whole second has to be past.
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
        let got = house.try_get(request).await;
        let request = HeadRequest {
            key: "k".to_owned(),
            conditions: Some(conditions.clone()),
            ..HeadRequest::default()
        };
        let head = house.objects.clone().head(request).await;
        match expected {
            None => assert!(got.is_ok() && head.is_ok(), "{conditions:?}: {got:?} {head:?}"),
            Some(expected) => {
                assert_eq!(told(got), expected, "{conditions:?}");
                assert_eq!(told(head), expected, "{conditions:?}");
            }
        }
    }

    house.close().await;
}
