use longshore::{
    credentials::{Credentials, ProviderSettings},
    pb::{CheckStoreRequest, GetStoreRequest, ListStoresRequest},
};
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{failure::told, house::House};

#[tokio::test]
async fn a_failure_has_what_s3_said_and_what_was_done() {
    let house = House::open().await;
    let status = house.get("no").await.unwrap_err();
    let info = status.get_details_error_info().unwrap();
    let said = |name: &str| info.metadata.get(name).map(String::as_str);
    assert_eq!((said("s3_code"), said("http_status")), (Some("NoSuchKey"), Some("404")));
    assert_eq!((said("attempts"), said("tenant"), said("store")), (Some("1"), Some("t"), Some("default")));
    let resource = status.get_details_resource_info().unwrap();
    assert_eq!(resource.resource_name, "no");
    house.close().await;
}

#[tokio::test]
async fn a_missing_bucket_is_the_operators_matter() {
    let house = House::open_with(|store| store.bucket.bucket = "no-such-bucket".to_owned()).await;
    assert_eq!(told(house.get("k").await), (Code::FailedPrecondition, "BUCKET_NOT_FOUND".to_owned()));

    let check = CheckStoreRequest { store: String::new(), probe_writes: false };
    let steps = house.stores.clone().check_store(check).await.unwrap().into_inner().steps;
    let last = steps.last().unwrap();
    assert!(!last.ok && last.fix.contains("bucket"), "{last:?}");
    house.close().await;
}

#[tokio::test]
async fn refused_credentials_are_the_operators_matter_and_stay_secret() {
    let house = House::open_with(|store| {
        let wrong = Credentials::new("AKIAWRONG", "wrong-secret-key".to_owned(), None);
        store.credential_provider = ProviderSettings::Static(wrong);
    })
    .await;
    // moto takes any credentials.
    if house.backend.name != "moto" {
        let status = house.get("k").await.unwrap_err();
        let (code, reason) = told::<()>(Err(status.clone()));
        assert!(matches!(code, Code::PermissionDenied | Code::FailedPrecondition), "{status:?}");
        assert!(["CREDENTIALS_REJECTED", "ACCESS_DENIED"].contains(&reason.as_str()), "{reason}");
        assert!(!format!("{status:?}").contains("wrong-secret-key"));
    }
    house.close().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let house = House::open_with(|store| {
        store.bucket.endpoint = Some("http://127.0.0.1:9".to_owned());
        store.retry_config.max_retries = 1;
    })
    .await;
    let status = house.get("k").await.unwrap_err();
    assert_eq!(status.get_details_error_info().unwrap().metadata["attempts"], "2");
    assert_eq!(told::<()>(Err(status)), (Code::Unavailable, "CONNECTION_FAILED".to_owned()));
    house.close().await;
}

#[tokio::test]
async fn a_store_tells_its_settings_and_no_secret() {
    let house = House::open().await;
    let stores =
        house.stores.clone().list_stores(ListStoresRequest::default()).await.unwrap().into_inner().stores;
    let names: Vec<_> = stores.iter().map(|store| store.name.as_str()).collect();
    assert_eq!(names, ["default", "elsewhere", "other"]);
    let request = GetStoreRequest { store: String::new() };
    let store = house.stores.clone().get_store(request).await.unwrap().into_inner().store.unwrap();
    assert_eq!((store.name.as_str(), store.credential_provider.as_str()), ("default", "static"));
    assert_eq!(store.retry_config.unwrap().max_retries, 10);
    let check = CheckStoreRequest { store: String::new(), probe_writes: false };
    let steps = house.stores.clone().check_store(check).await.unwrap().into_inner().steps;
    assert!(steps.len() >= 2 && steps.iter().all(|step| step.ok), "{steps:?}");
    house.close().await;
}
