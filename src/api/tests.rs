//! The services as callers see them, as far as no store is reached.

use std::collections::BTreeMap;

use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tonic::{Code, Request, Status};
use tonic_types::{ErrorInfo, StatusExt as _};
use tower::ServiceExt as _;

use super::*;
use crate::{
    auth::{Access, CallerSettings},
    credentials::ProviderSettings,
    pb::{self, object_service_server::ObjectService as _, store_service_server::StoreService as _},
    s3::BucketSettings,
    store::StoreSettings,
    telemetry::Tasks,
    tenants::TenantSettings,
};

fn caller(name: &str, access: &[Access], stores: Option<&[&str]>) -> CallerSettings {
    CallerSettings {
        name: name.to_owned(),
        token_sha256: Sha256::digest(name).into(),
        access: access.to_vec(),
        stores: stores.map(|stores| stores.iter().map(|store| (*store).to_owned()).collect()),
        prefixes: None,
    }
}

fn tenant(name: &str, callers: Vec<CallerSettings>, stores: &[&str]) -> TenantSettings {
    let settings = || StoreSettings::new(BucketSettings::new("bucket"), ProviderSettings::Anonymous);
    let stores: BTreeMap<_, _> = stores.iter().map(|store| ((*store).to_owned(), settings())).collect();
    TenantSettings { name: name.to_owned(), callers, stores }
}

fn services(auth: AuthMode) -> Services {
    let acme = tenant(
        "acme",
        vec![
            caller("reader", &[Access::Read], None),
            caller("archivist", &[Access::Write], Some(&["archive"])),
        ],
        &["archive", "backup", "default"],
    );
    let zeta = tenant("zeta", vec![caller("both", &[Access::Read], None)], &["default"]);
    let acme = TenantSettings {
        callers: [acme.callers, vec![caller("both", &[Access::List], None)]].concat(),
        ..acme
    };
    let pool = Pool::new(vec![acme, zeta], Metrics::default(), Tasks::default());
    Services::new(pool, auth, Limits { max_message_bytes: 1024 }, Metrics::default())
}

/// A request of `token`'s for `tenant`, either of them left out if empty.
fn request<T>(token: &str, tenant: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !token.is_empty() {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    if !tenant.is_empty() {
        request.metadata_mut().insert("x-longshore-tenant", tenant.parse().unwrap());
    }
    request
}

fn context() -> CallContext {
    CallContext { request_id: "r1".into(), ..CallContext::default() }
}

fn told(status: &Status) -> (Code, String) {
    (status.code(), info(status).reason)
}

fn info(status: &Status) -> ErrorInfo {
    status.get_details_error_info().unwrap()
}

async fn head(auth: AuthMode, token: &str, tenant: &str, store: &str, key: &str) -> Status {
    let message = pb::HeadRequest { store: store.to_owned(), key: key.to_owned(), ..Default::default() };
    Objects::new(services(auth).gate).head(request(token, tenant, message)).await.unwrap_err()
}

#[tokio::test]
async fn who_may_not_call_is_told_so_and_why() {
    use AuthMode::{None as Off, Required};
    let cases = [
        (Required, "", "", "", "k", Code::Unauthenticated, "TOKEN_MISSING"),
        (Required, "nobody", "", "", "k", Code::Unauthenticated, "TOKEN_UNKNOWN"),
        (Required, "both", "", "", "k", Code::InvalidArgument, "TENANT_REQUIRED"),
        (Required, "reader", "zeta", "", "k", Code::PermissionDenied, "TENANT_NOT_ALLOWED"),
        (Required, "reader", "nobody", "", "k", Code::PermissionDenied, "TENANT_NOT_ALLOWED"),
        (Required, "archivist", "", "archive", "k", Code::PermissionDenied, "ACCESS_NOT_GRANTED"),
        (Required, "archivist", "", "nowhere", "k", Code::PermissionDenied, "ACCESS_NOT_GRANTED"),
        (Required, "reader", "", "nowhere", "k", Code::NotFound, "STORE_NOT_FOUND"),
        (Required, "reader", "acme", "", "", Code::InvalidArgument, "INVALID_FIELD"),
        (Off, "", "", "", "k", Code::InvalidArgument, "TENANT_REQUIRED"),
        (Off, "", "nobody", "", "k", Code::NotFound, "STORE_NOT_FOUND"),
        (Off, "", "acme", "nowhere", "k", Code::NotFound, "STORE_NOT_FOUND"),
        (Off, "whatever", "acme", "", "", Code::InvalidArgument, "INVALID_FIELD"),
    ];
    for (auth, token, tenant, store, key, code, reason) in cases {
        let status = head(auth, token, tenant, store, key).await;
        assert_eq!(told(&status), (code, reason.to_owned()), "{auth:?} `{token}` `{tenant}` `{store}`");
    }
}

#[tokio::test]
async fn tenants_of_others_are_not_to_be_told_from_none() {
    let theirs = head(AuthMode::Required, "reader", "zeta", "", "k").await;
    let nobodys = head(AuthMode::Required, "reader", "zero", "", "k").await;
    assert_eq!(theirs.message(), nobodys.message());
    assert_eq!(info(&theirs).metadata["tenant"], "zeta");
    assert_eq!(info(&nobodys).metadata["tenant"], "zero");
}

#[tokio::test]
async fn metadata_that_counts_is_there_once() {
    for key in ["authorization", "x-longshore-tenant"] {
        let mut request = request("reader", "acme", pb::HeadRequest::default());
        request.metadata_mut().append(key, "again".parse().unwrap());
        let status = Objects::new(services(AuthMode::Required).gate).head(request).await.unwrap_err();
        assert_eq!(told(&status), (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
    }
}

#[tokio::test]
async fn a_failed_call_carries_its_context_and_leaves_its_facts() {
    let message = pb::HeadRequest { store: "nowhere".to_owned(), key: "k".to_owned(), ..Default::default() };
    let mut request = request("reader", "", message);
    let context = context();
    request.extensions_mut().insert(context.clone());
    let status = Objects::new(services(AuthMode::Required).gate).head(request).await.unwrap_err();
    let expected = [("tenant", "acme"), ("store", "nowhere"), ("request_id", "r1")];
    assert_eq!(info(&status).metadata, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    assert_eq!(status.get_details_resource_info().unwrap().resource_name, "nowhere");
    let facts = &context.facts;
    assert_eq!(
        (facts.tenant(), facts.store(), facts.caller()),
        (Some("acme"), Some("nowhere"), Some("reader"))
    );
}

#[tokio::test]
async fn methods_to_come_say_so_to_those_who_may_call() {
    let objects = Objects::new(services(AuthMode::Required).gate);
    let status = objects.sign(request("", "", pb::SignRequest::default())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let status = objects.sign(request("reader", "", pb::SignRequest::default())).await.unwrap_err();
    assert_eq!(told(&status), (Code::Unimplemented, "NOT_IMPLEMENTED".to_owned()));
    assert_eq!(info(&status).metadata["method"], "/longshore.v1.ObjectService/Sign");
}

#[tokio::test]
async fn copies_and_renames_need_both_ends() {
    let objects = Objects::new(services(AuthMode::None).gate);
    let rename = pb::RenameRequest { source: Some(pb::RenameSource::default()), ..Default::default() };
    let status = objects.rename(request("", "acme", rename)).await.unwrap_err();
    assert_eq!(info(&status).metadata["field"], "destination");
    let copy = pb::CopyRequest {
        source: Some(pb::CopySource { key: "a".to_owned(), ..Default::default() }),
        destination: Some(pb::CopyDestination::default()),
        ..Default::default()
    };
    let status = objects.copy(request("", "acme", copy)).await.unwrap_err();
    assert_eq!(info(&status).metadata["field"], "destination.key");
}

#[tokio::test]
async fn callers_see_the_stores_that_they_have_a_grant_on() {
    let stores = Stores::new(services(AuthMode::Required).gate);
    let names = async |token: &str, page_size, page_token: &str| {
        let message = pb::ListStoresRequest { page_size, page_token: page_token.to_owned() };
        let page = stores.list_stores(request(token, "acme", message)).await.unwrap().into_inner();
        let names: Vec<_> = page.stores.into_iter().map(|store| store.name).collect();
        (names, page.next_page_token)
    };
    assert_eq!(names("archivist", 0, "").await, (vec!["archive".to_owned()], String::new()));
    let (first, token) = names("reader", 2, "").await;
    assert_eq!(first, ["archive", "backup"]);
    assert_eq!(names("reader", 2, &token).await, (vec!["default".to_owned()], String::new()));
    assert_eq!(names("reader", 3, "").await.1, "");
}

#[tokio::test]
async fn a_store_is_shown_to_those_who_may_see_it() {
    let stores = Stores::new(services(AuthMode::Required).gate);
    let get = async |token: &str, store: &str| {
        let message = pb::GetStoreRequest { store: store.to_owned() };
        stores
            .get_store(request(token, "acme", message))
            .await
            .map(|answer| answer.into_inner().store.unwrap())
    };
    let shown = get("reader", "").await.unwrap();
    assert_eq!(
        (shown.name.as_str(), shown.tenant.as_str(), shown.bucket.as_str()),
        ("default", "acme", "bucket")
    );
    assert_eq!(told(&get("archivist", "").await.unwrap_err()).1, "ACCESS_NOT_GRANTED");
    assert_eq!(told(&get("archivist", "nowhere").await.unwrap_err()).1, "ACCESS_NOT_GRANTED");
    assert_eq!(told(&get("reader", "nowhere").await.unwrap_err()).1, "STORE_NOT_FOUND");
}

#[tokio::test]
async fn probing_writes_takes_the_grants_for_it() {
    let stores = Stores::new(services(AuthMode::Required).gate);
    let message = pb::CheckStoreRequest { store: "archive".to_owned(), probe_writes: true };
    let status = stores.check_store(request("archivist", "", message)).await.unwrap_err();
    assert_eq!(info(&status).metadata["access"], "delete");
}

/// Sends framed messages to a method by HTTP and reads the status that comes back, in headers or trailers.
async fn send(method: &str, messages: &[Vec<u8>]) -> Status {
    let mut body = Vec::new();
    for message in messages {
        body.push(0);
        body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        body.extend(message);
    }
    let request = http::Request::post(format!("/longshore.v1.ObjectService/{method}"))
        .header("content-type", "application/grpc")
        .header("x-longshore-tenant", "acme")
        .body(tonic::body::Body::new(Full::new(bytes::Bytes::from(body))))
        .unwrap();
    let response = services(AuthMode::None).routes().oneshot(request).await.unwrap();
    if let Some(status) = Status::from_header_map(response.headers()) {
        return status;
    }
    let collected = response.into_body().collect().await.unwrap();
    Status::from_header_map(collected.trailers().unwrap()).unwrap()
}

#[tokio::test]
async fn an_upload_begins_with_its_spec() {
    use pb::upload_request::Message;
    let framed = |message| pb::UploadRequest { message }.encode_to_vec();
    let cases = [
        (vec![], "spec"),
        (vec![framed(Some(Message::Chunk(pb::Chunk::default())))], "spec"),
        (vec![framed(None)], "message"),
        (vec![framed(Some(Message::Spec(pb::UploadSpec::default())))], "spec.key"),
    ];
    for (messages, field) in cases {
        let status = send("Upload", &messages).await;
        assert_eq!(told(&status), (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
        assert_eq!(info(&status).metadata["field"], field);
    }
}

#[tokio::test]
async fn a_message_that_tonic_refuses_in_a_stream_is_told_as_ours() {
    let status = send("Upload", &[vec![0; 2000]]).await;
    assert_eq!(told(&status), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned()));
    assert_eq!(info(&status).metadata["limit_bytes"], "1024");
    let status = send("Upload", &[vec![0xff; 10]]).await;
    assert_eq!(told(&status), (Code::InvalidArgument, "MALFORMED_MESSAGE".to_owned()));
}

#[tokio::test]
async fn deleting_nothing_is_nothing() {
    assert_eq!(send("DeleteMany", &[]).await.code(), Code::Ok);
    let nowhere = pb::DeleteManyRequest { store: "nowhere".to_owned(), objects: Vec::new() };
    let status = send("DeleteMany", &[nowhere.encode_to_vec()]).await;
    assert_eq!(told(&status), (Code::NotFound, "STORE_NOT_FOUND".to_owned()));
}
