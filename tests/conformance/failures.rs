use longshore::{
    credentials::{Credentials, ProviderSettings},
    pb::{CheckStoreRequest, GetStoreRequest, ListStoresRequest},
};
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{failure::code_and_reason, harness::Harness};

#[tokio::test]
async fn a_failure_reports_s3s_error_and_the_attempts() {
    let harness = Harness::open().await;
    let status = harness.get("no").await.unwrap_err();
    let info = status.get_details_error_info().unwrap();
    let said = |name: &str| info.metadata.get(name).map(String::as_str);
    assert_eq!((said("s3_code"), said("http_status")), (Some("NoSuchKey"), Some("404")));
    assert_eq!((said("attempts"), said("tenant"), said("store")), (Some("1"), Some("t"), Some("default")));
    let resource = status.get_details_resource_info().unwrap();
    assert_eq!(resource.resource_name, "no");
    harness.close().await;
}

#[tokio::test]
async fn a_missing_bucket_is_reported_to_the_operator() {
    let harness = Harness::open_with(|store| store.bucket.bucket = "no-such-bucket".to_owned()).await;
    assert_eq!(
        code_and_reason(harness.get("k").await),
        (Code::FailedPrecondition, "BUCKET_NOT_FOUND".to_owned())
    );

    let check = CheckStoreRequest { store: String::new(), probe_writes: false };
    let steps = harness.stores.clone().check_store(check).await.unwrap().into_inner().steps;
    let last = steps.last().unwrap();
    assert!(!last.ok && last.fix.contains("bucket"), "{last:?}");
    harness.close().await;
}

#[tokio::test]
async fn rejected_credentials_are_reported_and_stay_secret() {
    let harness = Harness::open_with(|store| {
        let wrong = Credentials::new("AKIAWRONG", "wrong-secret-key".to_owned(), None);
        store.credential_provider = ProviderSettings::Static(wrong);
    })
    .await;
    // moto accepts any credentials.
    if harness.backend.name != "moto" {
        let status = harness.get("k").await.unwrap_err();
        let (code, reason) = code_and_reason::<()>(Err(status.clone()));
        assert!(matches!(code, Code::PermissionDenied | Code::FailedPrecondition), "{status:?}");
        assert!(["CREDENTIALS_REJECTED", "ACCESS_DENIED"].contains(&reason.as_str()), "{reason}");
        assert!(!format!("{status:?}").contains("wrong-secret-key"));
    }
    harness.close().await;
}

#[tokio::test]
async fn an_unreachable_server_is_unavailable() {
    let harness = Harness::open_with(|store| {
        store.bucket.endpoint = Some("http://127.0.0.1:9".to_owned());
        store.retry_config.max_retries = 1;
    })
    .await;
    let status = harness.get("k").await.unwrap_err();
    assert_eq!(status.get_details_error_info().unwrap().metadata["attempts"], "2");
    assert_eq!(code_and_reason::<()>(Err(status)), (Code::Unavailable, "CONNECTION_FAILED".to_owned()));
    harness.close().await;
}

#[tokio::test]
async fn a_store_reports_its_settings_and_no_secret() {
    let harness = Harness::open().await;
    let stores =
        harness.stores.clone().list_stores(ListStoresRequest::default()).await.unwrap().into_inner().stores;
    let names: Vec<_> = stores.iter().map(|store| store.name.as_str()).collect();
    assert_eq!(names, ["default", "elsewhere", "other"]);
    let request = GetStoreRequest { store: String::new() };
    let store = harness.stores.clone().get_store(request).await.unwrap().into_inner().store.unwrap();
    assert_eq!((store.name.as_str(), store.credential_provider.as_str()), ("default", "static"));
    assert_eq!(store.retry_config.unwrap().max_retries, 10);
    let check = CheckStoreRequest { store: String::new(), probe_writes: false };
    let steps = harness.stores.clone().check_store(check).await.unwrap().into_inner().steps;
    assert!(steps.len() >= 2 && steps.iter().all(|step| step.ok), "{steps:?}");
    harness.close().await;
}
