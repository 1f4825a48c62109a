//! Tests of the services without an S3 server: which callers are admitted, for which tenants and stores.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::pedantic,
    reason = "tests panic on failure, their tasks end with them, and readability matters more than speed"
)]

mod failing;
mod signing;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use longshore::{
    api::{CallContext, Limits, Services, UploadSettings},
    auth::{Access, AuthMode, CallerSettings, Identities},
    credentials::{Credentials, ProviderSettings},
    pb::{
        self, object_service_client::ObjectServiceClient, store_service_client::StoreServiceClient,
        upload_request::Message,
    },
    s3::{BucketSettings, EncryptionAlgorithm},
    store::{ChecksumAlgorithm, StoreSettings},
    telemetry::Metrics,
    tenants::{MemorySettings, Pool, Resources, Snapshot, Tenant, TenantSettings},
};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tonic::{Code, Request, Status, service::Routes};
use tonic_types::{ErrorInfo, StatusExt as _};
use tower::ServiceExt as _;

fn caller(name: &str, access: &[Access], stores: Option<&[&str]>) -> CallerSettings {
    CallerSettings {
        name: name.to_owned(),
        identities: Identities::token(Sha256::digest(name).into()),
        access: access.to_vec(),
        stores: stores.map(|stores| stores.iter().map(|store| (*store).to_owned()).collect()),
        prefixes: None,
    }
}

fn tenant(name: &str, callers: Vec<CallerSettings>, stores: &[&str]) -> TenantSettings {
    let stores: BTreeMap<_, _> = stores.iter().map(|store| ((*store).to_owned(), settings())).collect();
    TenantSettings { callers, ..TenantSettings::new(name, stores) }
}

/// Settings of a store with every kind of secret.
fn settings() -> StoreSettings {
    let credentials = Credentials::new("AKIDEXAMPLE", "s3cret-key", Some("s3cret-token".into()));
    let mut bucket = BucketSettings::new("bucket");
    bucket.endpoint = Some("https://user:s3cret-password@minio:9000".to_owned());
    bucket.checksum_algorithm = Some(ChecksumAlgorithm::Crc32c);
    bucket.server_side_encryption = Some(EncryptionAlgorithm::Kms);
    bucket.sse_kms_key_id = Some("key".to_owned());
    bucket.sse_bucket_key_enabled = Some(true);
    let mut settings = StoreSettings::new(bucket, ProviderSettings::Static(credentials));
    settings.transfer.hedge_after = Some(Duration::from_millis(2500));
    settings
}

fn tenants(auth: AuthMode) -> Snapshot {
    let of_acme = vec![
        caller("reader", &[Access::Read], None),
        caller("archivist", &[Access::Write], Some(&["archive"])),
        caller("both", &[Access::List], None),
        caller("administrator", &[Access::BucketAdmin], None),
        caller("signer", &[Access::Sign], None),
        CallerSettings {
            prefixes: Some(vec!["in/".to_owned()]),
            ..caller("signing-writer", &[Access::Sign, Access::Write], None)
        },
        CallerSettings {
            prefixes: Some(vec!["in/".to_owned()]),
            ..caller("signing-reader", &[Access::Sign, Access::Read], Some(&["default", "nowhere"]))
        },
    ];
    let acme = tenant("acme", of_acme, &["archive", "backup", "default"]);
    let of_zeta = vec![
        caller("both", &[Access::Read], None),
        caller("signing-reader", &[Access::Sign, Access::Read], None),
    ];
    let mut zeta = tenant("zeta", of_zeta, &["default"]);
    let mut public = StoreSettings::new(BucketSettings::new("public"), ProviderSettings::Anonymous);
    public.bucket.skip_signature = true;
    zeta.stores.insert("public".to_owned(), public.into());
    Snapshot::new(vec![zeta, acme], auth, &Resources::new(MemorySettings::default()))
}

fn routes(auth: AuthMode) -> Routes {
    Services::new(
        Pool::new(tenants(auth)),
        Limits { max_message_bytes: 1024, message_timeout: Duration::from_secs(60) },
        UploadSettings::default(),
        Metrics::default(),
    )
    .routes()
}

fn objects(auth: AuthMode) -> ObjectServiceClient<Routes> {
    ObjectServiceClient::new(routes(auth))
}

fn stores() -> StoreServiceClient<Routes> {
    StoreServiceClient::new(routes(AuthMode::Required))
}

/// A request with `token` for `tenant`. Either is left out if it is empty.
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

fn code_and_reason(status: &Status) -> (Code, String) {
    (status.code(), info(status).reason)
}

fn info(status: &Status) -> ErrorInfo {
    status.get_details_error_info().unwrap()
}

async fn head(auth: AuthMode, token: &str, tenant: &str, store: &str, key: &str) -> Status {
    let message = pb::HeadRequest { store: store.to_owned(), key: key.to_owned(), ..Default::default() };
    objects(auth).head(request(token, tenant, message)).await.unwrap_err()
}

#[tokio::test]
async fn calls_without_permission_fail_with_a_reason() {
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
        (Off, "", "nobody", "", "k", Code::PermissionDenied, "TENANT_NOT_ALLOWED"),
        (Off, "", "acme", "nowhere", "k", Code::NotFound, "STORE_NOT_FOUND"),
        (Off, "whatever", "acme", "", "", Code::InvalidArgument, "INVALID_FIELD"),
    ];
    for (auth, token, tenant, store, key, code, reason) in cases {
        let status = head(auth, token, tenant, store, key).await;
        assert_eq!(
            code_and_reason(&status),
            (code, reason.to_owned()),
            "{auth:?} `{token}` `{tenant}` `{store}`"
        );
    }
}

#[tokio::test]
async fn other_tenants_and_missing_tenants_fail_alike() {
    let theirs = head(AuthMode::Required, "reader", "zeta", "", "k").await;
    let missing = head(AuthMode::Required, "reader", "zero", "", "k").await;
    assert_eq!(theirs.message(), missing.message());
    assert_eq!(info(&theirs).metadata["tenant"], "zeta");
    assert_eq!(info(&missing).metadata["tenant"], "zero");
}

#[tokio::test]
async fn repeated_authorization_or_tenant_metadata_is_rejected() {
    for key in ["authorization", "x-longshore-tenant"] {
        let mut request = request("reader", "acme", pb::HeadRequest::default());
        request.metadata_mut().append(key, "again".parse().unwrap());
        let status = objects(AuthMode::Required).head(request).await.unwrap_err();
        assert_eq!(code_and_reason(&status), (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
    }
}

#[tokio::test]
async fn a_failed_call_reports_its_context_and_records_facts() {
    let message = pb::HeadRequest { store: "nowhere".to_owned(), key: "k".to_owned(), ..Default::default() };
    let mut request = request("reader", "", message);
    let context = context();
    request.extensions_mut().insert(context.clone());
    let status = objects(AuthMode::Required).head(request).await.unwrap_err();
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
async fn copies_and_renames_need_a_source_and_a_destination() {
    let mut objects = objects(AuthMode::None);
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
async fn callers_see_the_stores_that_their_grants_cover() {
    let names = async |token: &str, page_size, page_token: &str| {
        let message = pb::ListStoresRequest { page_size, page_token: page_token.to_owned() };
        let page = stores().list_stores(request(token, "acme", message)).await.unwrap().into_inner();
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
async fn a_store_is_shown_without_secrets_to_callers_with_a_grant() {
    let get = async |token: &str, store: &str| {
        let message = pb::GetStoreRequest { store: store.to_owned() };
        stores()
            .get_store(request(token, "acme", message))
            .await
            .map(|answer| answer.into_inner().store.unwrap())
    };
    let hidden = get("reader", "").await.unwrap();
    assert_eq!((hidden.bucket.as_str(), hidden.endpoint.as_str()), ("", ""));
    let shown = get("administrator", "").await.unwrap();
    assert_eq!(hidden, pb::Store { bucket: String::new(), endpoint: String::new(), ..shown.clone() });
    assert_eq!(
        (shown.name.as_str(), shown.tenant.as_str(), shown.bucket.as_str()),
        ("default", "acme", "bucket")
    );
    assert_eq!(shown.endpoint, "https://minio:9000");
    assert_eq!(shown.credential_provider, "static");
    assert_eq!(shown.config["checksum_algorithm"], "crc32c");
    assert_eq!(shown.config["sse_kms_key_id"], "key");
    assert_eq!(shown.client_options["connect_timeout"], "5s");
    let transfer = shown.transfer.as_ref().unwrap();
    assert_eq!((transfer.part_size, transfer.download_attempts), (8 << 20, 5));
    let hedge_after = prost_types::Duration { seconds: 2, nanos: 500_000_000 };
    assert_eq!(transfer.hedge_after, Some(hedge_after));
    let everything = format!("{shown:?}");
    assert!(!everything.contains("s3cret") && !everything.contains("AKIDEXAMPLE"), "{everything}");
    assert_eq!(code_and_reason(&get("archivist", "").await.unwrap_err()).1, "ACCESS_NOT_GRANTED");
    assert_eq!(code_and_reason(&get("archivist", "nowhere").await.unwrap_err()).1, "ACCESS_NOT_GRANTED");
    assert_eq!(code_and_reason(&get("reader", "nowhere").await.unwrap_err()).1, "STORE_NOT_FOUND");
}

#[tokio::test]
async fn probing_writes_needs_the_write_and_delete_grants() {
    let message = pb::CheckStoreRequest { store: "archive".to_owned(), probe_writes: true };
    let status = stores().check_store(request("archivist", "", message)).await.unwrap_err();
    assert_eq!(info(&status).metadata["access"], "delete");
}

/// Sends framed messages to a method over HTTP and returns the status from the response's headers or trailers.
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
        .body(tonic::body::Body::new(Full::new(Bytes::from(body))))
        .unwrap();
    let response = routes(AuthMode::None).oneshot(request).await.unwrap();
    if let Some(status) = Status::from_header_map(response.headers()) {
        return status;
    }
    let collected = response.into_body().collect().await.unwrap();
    Status::from_header_map(collected.trailers().unwrap()).unwrap()
}

#[tokio::test]
async fn an_upload_must_begin_with_its_spec() {
    let framed = |message| pb::UploadRequest { message }.encode_to_vec();
    let cases = [
        (vec![], "spec"),
        (vec![framed(Some(Message::Chunk(pb::Chunk::default())))], "spec"),
        (vec![framed(None)], "message"),
        (vec![framed(Some(Message::Spec(pb::UploadSpec::default())))], "spec.key"),
    ];
    for (messages, field) in cases {
        let status = send("Upload", &messages).await;
        assert_eq!(code_and_reason(&status), (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
        assert_eq!(info(&status).metadata["field"], field);
    }
}

#[tokio::test]
async fn invalid_messages_in_a_stream_fail_with_a_reason() {
    let status = send("Upload", &[vec![0; 2000]]).await;
    assert_eq!(code_and_reason(&status), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned()));
    assert_eq!(info(&status).metadata["limit_bytes"], "1024");
    let status = send("Upload", &[vec![0xff; 10]]).await;
    assert_eq!(code_and_reason(&status), (Code::InvalidArgument, "MALFORMED_MESSAGE".to_owned()));
}

#[tokio::test]
async fn deleting_no_objects_succeeds() {
    assert_eq!(send("DeleteMany", &[]).await.code(), Code::Ok);
    let nowhere = pb::DeleteManyRequest { store: "nowhere".to_owned(), objects: Vec::new() };
    let status = send("DeleteMany", &[nowhere.encode_to_vec()]).await;
    assert_eq!(code_and_reason(&status), (Code::NotFound, "STORE_NOT_FOUND".to_owned()));
}

#[test]
fn a_snapshot_lists_tenants_and_their_stores_by_name() {
    let snapshot = tenants(AuthMode::Required);
    assert_eq!(snapshot.tenants().map(Tenant::name).collect::<Vec<_>>(), ["acme", "zeta"]);
    let (acme, zeta) = (snapshot.tenant("acme").unwrap(), snapshot.tenant("zeta").unwrap());
    let names: Vec<_> = acme.stores().map(|(name, _)| name).collect();
    assert_eq!(names, ["archive", "backup", "default"]);
    assert!(zeta.store("archive").is_none());
    assert!(zeta.store_settings("archive").is_none());
    assert!(snapshot.tenant("nobody").is_none());
}
