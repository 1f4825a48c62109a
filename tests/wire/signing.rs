use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use longshore::{
    credentials::{Credentials, ProviderSettings},
    s3::{BucketSettings, EncryptionAlgorithm, ErrorKind},
    store::{
        Attributes, ByteRange, ChecksumAlgorithm, ConditionalPut, Error, Field, PostForm, PostOptions,
        PostSuccess, PostTarget, PresignedUrl, ResponseHeaders, ResumableUpload, SignedOperation,
        SignedWrite, StoreSettings, WriteMode, WriteOptions,
    },
};
use serde_json::json;

use crate::scripted::store;

const SIGNATURE: [&str; 6] = [
    "X-Amz-Algorithm=AWS4-HMAC-SHA256",
    "X-Amz-Credential=AKID%2F",
    "X-Amz-Date=",
    "X-Amz-Expires=60",
    "X-Amz-Security-Token=t0ken%2B",
    "X-Amz-Signature=",
];

/// Settings of a store whose server does not exist: no URL needs a request.
fn settings() -> StoreSettings {
    let keys = Credentials::new("AKID", "s3cret-key".to_owned(), Some("t0ken+".into()));
    let bucket =
        BucketSettings { endpoint: Some("https://s3.invalid".to_owned()), ..BucketSettings::new("b") };
    let mut settings = StoreSettings::new(bucket, ProviderSettings::Static(keys));
    settings.prefix = "pre/".to_owned();
    settings
}

async fn sign(settings: StoreSettings, operation: SignedOperation) -> Result<PresignedUrl, Error> {
    let mut signer = store(settings).url_signer(operation, Duration::from_secs(60)).await?;
    signer.url("a//b +%2F").await
}

/// The URL up to its query, the parameters that are not part of every signature, and the headers.
async fn signed(settings: StoreSettings, operation: SignedOperation) -> (String, Vec<String>, Vec<String>) {
    let signed = sign(settings, operation).await.unwrap();
    let (at, query) = signed.url.split_once('?').unwrap();
    let all: Vec<_> = query.split('&').collect();
    for part in SIGNATURE {
        assert_eq!(all.iter().filter(|pair| pair.starts_with(part)).count(), 1, "{part}");
    }
    let own = all.iter().filter(|pair| !SIGNATURE.iter().any(|part| pair.starts_with(part)));
    let own = own.map(|pair| (*pair).to_owned()).collect();
    let headers = signed.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    (at.to_owned(), own, headers)
}

fn get() -> SignedOperation {
    SignedOperation::Get { version: None, range: None, response: ResponseHeaders::default() }
}

#[tokio::test]
async fn a_get_has_its_version_and_response_headers_in_the_query_and_its_range_in_a_header() {
    let operation = SignedOperation::Get {
        version: Some("v/1".to_owned()),
        range: Some(ByteRange::Bounded { start: 5, end: 10 }),
        response: ResponseHeaders {
            content_type: "text/plain; charset=utf-8".to_owned(),
            content_disposition: "attachment; filename=\"a b\"".to_owned(),
            content_encoding: "gzip".to_owned(),
            content_language: "de".to_owned(),
            cache_control: "no-cache".to_owned(),
            expires: "never".to_owned(),
        },
    };
    let (at, query, headers) = signed(settings(), operation).await;
    assert_eq!(at, "https://s3.invalid/b/pre/a//b%20%2B%252F");
    assert_eq!(
        query,
        [
            "X-Amz-SignedHeaders=host%3Brange",
            "response-cache-control=no-cache",
            "response-content-disposition=attachment%3B%20filename%3D%22a%20b%22",
            "response-content-encoding=gzip",
            "response-content-language=de",
            "response-content-type=text%2Fplain%3B%20charset%3Dutf-8",
            "response-expires=never",
            "versionId=v%2F1",
        ]
    );
    assert_eq!(headers, ["range: bytes=5-9"]);
    let (_, query, headers) = signed(settings(), get()).await;
    assert_eq!((query.as_slice(), headers.len()), (&["X-Amz-SignedHeaders=host".to_owned()][..], 0));
}

#[tokio::test]
async fn heads_and_deletes_have_a_version() {
    let version = Some("v1".to_owned());
    let head = SignedOperation::Head { version: version.clone(), response: ResponseHeaders::default() };
    for operation in [head, SignedOperation::Delete { version }] {
        let (_, query, headers) = signed(settings(), operation).await;
        assert_eq!(query, ["X-Amz-SignedHeaders=host", "versionId=v1"]);
        assert!(headers.is_empty());
    }
}

#[tokio::test]
async fn everything_that_a_put_requires_is_a_signed_header() {
    let mut settings = settings();
    settings.bucket.server_side_encryption = Some(EncryptionAlgorithm::Kms);
    settings.bucket.sse_kms_key_id = Some("key-1".to_owned());
    settings.bucket.sse_bucket_key_enabled = Some(true);
    let options = WriteOptions {
        attributes: Attributes {
            content_type: "text/plain".to_owned(),
            storage_class: "STANDARD_IA".to_owned(),
            metadata: [("quay".to_owned(), "ä".to_owned())].into(),
            ..Attributes::default()
        },
        tags: [("a b".to_owned(), "c&d".to_owned())].into(),
        mode: WriteMode::Create,
        checksum_algorithm: None,
    };
    let write = SignedWrite { options, size: Some(9), crc32c: Some(0xe306_9283) };
    let (_, query, headers) = signed(settings.clone(), SignedOperation::Put(write)).await;
    assert_eq!(
        headers,
        [
            "content-length: 9",
            "content-type: text/plain",
            "if-none-match: *",
            "x-amz-checksum-crc32c: 4waSgw==",
            "x-amz-meta-quay: =?UTF-8?B?w6Q=?=",
            "x-amz-server-side-encryption: aws:kms",
            "x-amz-server-side-encryption-aws-kms-key-id: key-1",
            "x-amz-server-side-encryption-bucket-key-enabled: true",
            "x-amz-storage-class: STANDARD_IA",
            "x-amz-tagging: a%20b=c%26d",
        ]
    );
    let names: Vec<_> = headers.iter().map(|header| header.split(':').next().unwrap()).collect();
    let names = [&names[..2], &["host"], &names[2..]].concat().join("%3B");
    assert_eq!(query, [format!("X-Amz-SignedHeaders={names}")]);
    let update = WriteMode::Update { etag: "e".to_owned(), version: None };
    let options = WriteOptions { mode: update, ..WriteOptions::default() };
    let write = SignedWrite { options, ..SignedWrite::default() };
    let (_, _, headers) = signed(self::settings(), SignedOperation::Put(write)).await;
    assert_eq!(headers, ["if-match: \"e\""]);
}

#[tokio::test]
async fn urls_are_made_for_the_public_endpoint_and_the_stores_style() {
    let mut settings = settings();
    settings.bucket.public_endpoint = Some("https://files.example.com:8443/s3".to_owned());
    assert_eq!(
        signed(settings.clone(), get()).await.0,
        "https://files.example.com:8443/s3/b/pre/a//b%20%2B%252F"
    );
    settings.bucket.virtual_hosted_style = true;
    settings.bucket.request_payer = true;
    let (at, query, _) = signed(settings, get()).await;
    assert_eq!(at, "https://b.files.example.com:8443/s3/pre/a//b%20%2B%252F");
    assert_eq!(query, ["X-Amz-SignedHeaders=host", "x-amz-request-payer=requester"]);
}

#[tokio::test]
async fn settings_and_credentials_limit_what_is_signed() {
    let refused = async |settings: StoreSettings, options: WriteOptions| {
        let write = SignedWrite { options, ..SignedWrite::default() };
        sign(settings, SignedOperation::Put(write)).await.unwrap_err()
    };
    let mut settings = settings();
    settings.conditional_put = ConditionalPut::Disabled;
    settings.disable_tagging = true;
    let create = WriteOptions { mode: WriteMode::Create, ..WriteOptions::default() };
    assert_eq!(refused(settings.clone(), create).await.kind(), ErrorKind::ConditionsNotSupported);
    let tags = WriteOptions { tags: [("k".to_owned(), String::new())].into(), ..WriteOptions::default() };
    let error = refused(settings.clone(), tags).await;
    assert_eq!((error.kind(), error.field()), (ErrorKind::OperationNotSupported, Some(Field::Tags)));
    settings.prefix = "p".repeat(1020);
    assert_eq!(sign(settings.clone(), get()).await.unwrap_err().field(), Some(Field::Key));

    let until = SystemTime::now() + Duration::from_secs(30);
    let keys = Credentials::new("AKID", "s3cret-key".to_owned(), None).expiring(until);
    let expiring = StoreSettings { credential_provider: ProviderSettings::Static(keys), ..self::settings() };
    let signer = store(expiring).url_signer(get(), Duration::from_secs(60)).await.unwrap();
    assert!(signer.expires_at() <= until && signer.expires_at() > until - Duration::from_secs(5));
    let anonymous = StoreSettings::new(BucketSettings::new("b"), ProviderSettings::Anonymous);
    let error = sign(anonymous, get()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CredentialsUnavailable);
}

/// An upload of 12 MiB in parts of 5 MiB.
fn upload(checksum_algorithm: Option<ChecksumAlgorithm>) -> ResumableUpload {
    ResumableUpload {
        key: "k".to_owned(),
        s3_upload_id: "u/1".to_owned(),
        checksum_algorithm,
        size: Some(12 << 20),
        part_size: 5 << 20,
        parts_grow: false,
        max_in_flight_bytes: 128 << 20,
        write_id: String::new(),
    }
}

#[tokio::test]
async fn the_url_of_a_part_fixes_its_size_and_its_checksum() {
    let mut settings = settings();
    settings.bucket.server_side_encryption = Some(EncryptionAlgorithm::Aes256);
    let minute = Duration::from_secs(60);
    let with_sum = upload(Some(ChecksumAlgorithm::Crc32c));
    let mut signer = store(settings.clone()).part_signer(&with_sum, minute).await.unwrap();
    let part = signer.part(3, vec![0xe3, 0x06, 0x92, 0x83]).await.unwrap();
    assert_eq!(part.bytes, 10 << 20..12 << 20);
    let (at, query) = part.url.url.split_once('?').unwrap();
    assert_eq!(at, "https://s3.invalid/b/pre/k");
    assert!(query.contains("X-Amz-SignedHeaders=content-length%3Bhost%3Bx-amz-checksum-crc32c&"), "{query}");
    assert!(query.contains("&partNumber=3&uploadId=u%2F1&X-Amz-Signature="), "{query}");
    let headers: Vec<_> = part.url.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    assert_eq!(headers, ["content-length: 2097152", "x-amz-checksum-crc32c: 4waSgw=="]);
    for (number, checksum, field) in [
        (0, vec![0; 4], Field::PartNumber),
        (4, vec![0; 4], Field::PartNumber),
        (1, vec![], Field::PartChecksum),
        (1, vec![0; 5], Field::PartChecksum),
    ] {
        assert_eq!(signer.part(number, checksum).await.unwrap_err().field(), Some(field), "{number}");
    }
    let unknown_size = ResumableUpload { size: None, ..upload(None) };
    let mut signer = store(settings).part_signer(&unknown_size, minute).await.unwrap();
    let part = signer.part(2, Vec::new()).await.unwrap();
    assert_eq!(part.bytes, 5 << 20..10 << 20);
    assert!(part.url.headers.is_empty(), "the part may be the last, and shorter");
    assert_eq!(signer.part(1, vec![0; 4]).await.unwrap_err().field(), Some(Field::PartChecksum));
}

#[tokio::test]
async fn every_field_of_a_form_is_in_its_policy() {
    let mut settings = settings();
    settings.bucket.public_endpoint = Some("https://files.example.com".to_owned());
    settings.bucket.server_side_encryption = Some(EncryptionAlgorithm::Aes256);
    let options = |target| PostOptions {
        target,
        sizes: (1, 10),
        attributes: Attributes {
            content_type: "text/plain".to_owned(),
            metadata: [("quay".to_owned(), "7".to_owned())].into(),
            ..Attributes::default()
        },
        content_type_prefix: None,
        tags: [("a".to_owned(), "1 < 2".to_owned())].into(),
        success: PostSuccess::Status(201),
    };
    let minute = Duration::from_secs(60);
    let exact = options(PostTarget::Key("a \"b\"".to_owned()));
    let form = store(settings.clone()).post_form(exact, minute).await.unwrap();
    assert_eq!(form.url, "https://files.example.com/b");
    let names: Vec<_> = form.fields.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "key",
        "Content-Type",
        "x-amz-meta-quay",
        "x-amz-server-side-encryption",
        "tagging",
        "success_action_status",
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-security-token",
        "policy",
        "x-amz-signature",
    ];
    let sorted = |mut names: Vec<&str>| {
        names.sort_unstable();
        names.join(" ")
    };
    assert_eq!(sorted(names), sorted(expected.to_vec()));
    let policy = policy(&form);
    let conditions = policy["conditions"].as_array().unwrap();
    for (name, value) in
        form.fields.iter().filter(|(name, _)| !["policy", "x-amz-signature"].contains(&name.as_str()))
    {
        assert!(conditions.contains(&json!({ name.as_str(): value })), "{name}");
    }
    for condition in
        [json!({"bucket": "b"}), json!({"key": "pre/a \"b\""}), json!(["content-length-range", 1, 10])]
    {
        assert!(conditions.contains(&condition), "{condition}");
    }
    assert_eq!(conditions.len(), 12);
    assert!(policy["expiration"].as_str().unwrap().ends_with(".000Z"));

    let mut any = options(PostTarget::Prefix("in/".to_owned()));
    any.attributes = Attributes::default();
    any.content_type_prefix = Some("image/".to_owned());
    any.success = PostSuccess::Default;
    settings.bucket.virtual_hosted_style = true;
    let form = store(settings.clone()).post_form(any.clone(), minute).await.unwrap();
    assert_eq!(form.url, "https://b.files.example.com/");
    assert_eq!(form.fields[0], ("key".to_owned(), "pre/in/${filename}".to_owned()));
    let policy = self::policy(&form);
    let conditions = policy["conditions"].as_array().unwrap();
    for condition in
        [json!(["starts-with", "$key", "pre/in/"]), json!(["starts-with", "$Content-Type", "image/"])]
    {
        assert!(conditions.contains(&condition), "{condition}");
    }
    any.target = PostTarget::Prefix("p".repeat(1021));
    let error = store(settings).post_form(any, minute).await.unwrap_err();
    assert_eq!(error.field(), Some(Field::KeyPrefix));
}

fn policy(form: &PostForm) -> serde_json::Value {
    let (_, policy) = form.fields.iter().find(|(name, _)| name == "policy").unwrap();
    serde_json::from_slice(&STANDARD.decode(policy).unwrap()).unwrap()
}
