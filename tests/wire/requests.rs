use bytes::Bytes;
use longshore::{
    s3::{Attributes, ChecksumAlgorithm},
    store::{CopyOptions, ListOptions, ReadOptions, UploadClaim, UploadOptions, WriteMode, WriteOptions},
};

use crate::scripted::{Scripted, Seen, reply, store};

#[tokio::test]
async fn a_get_is_one_signed_request_for_the_unchanged_key() {
    let server = Scripted::start(|_, _| reply(200, &[("etag", "\"e\"")], "data")).await;
    let mut settings = server.settings();
    settings.prefix = "pre/".to_owned();
    let mut reader = store(settings).get("a//../b +%2F🚢", None, &ReadOptions::default()).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), "data");
    assert!(reader.next().await.is_none());
    let seen = &server.seen()[0];
    assert_eq!(seen.line(), "GET /b/pre/a//../b%20%2B%252F%F0%9F%9A%A2");
    assert_eq!(seen.header("host"), Some(server.address.to_string().as_str()));
    assert_eq!(seen.header("x-amz-checksum-mode"), Some("ENABLED"));
    assert_eq!(seen.header("x-amz-security-token"), Some("t0ken"));
    assert_eq!(seen.header("user-agent"), Some(concat!("longshore/", env!("CARGO_PKG_VERSION"))));
    let signed = seen.header("authorization").unwrap();
    let scope = "/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-checksum-mode;x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature=";
    assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=AKID/") && signed.contains(scope), "{signed}");
}

#[tokio::test]
async fn a_put_sends_everything_that_was_requested() {
    let server = Scripted::start(|_, _| reply(200, &[("etag", "\"e\"")], "")).await;
    let mut settings = server.settings();
    settings.bucket.request_payer = true;
    let options = WriteOptions {
        attributes: Attributes {
            content_type: "text/plain".to_owned(),
            storage_class: "STANDARD_IA".to_owned(),
            metadata: [("quay".to_owned(), "ä".to_owned())].into(),
            ..Attributes::default()
        },
        tags: [("a b".to_owned(), "c&d".to_owned())].into(),
        mode: WriteMode::Create,
        checksum_algorithm: Some(ChecksumAlgorithm::Crc32c),
    };
    let meta = store(settings).put("k", Bytes::from_static(b"123456789"), options).await.unwrap();
    assert_eq!((meta.key.as_str(), meta.size, meta.properties.etag.as_deref()), ("k", 9, Some("\"e\"")));
    let seen = &server.seen()[0];
    assert_eq!((seen.line(), seen.text()), ("PUT /b/k".to_owned(), "123456789"));
    for (name, value) in [
        ("content-type", "text/plain"),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-meta-quay", "=?UTF-8?B?w6Q=?="),
        ("x-amz-tagging", "a%20b=c%26d"),
        ("if-none-match", "*"),
        ("x-amz-checksum-crc32c", "4waSgw=="),
        ("x-amz-request-payer", "requester"),
        // Over plain HTTP the payload is signed: this is its SHA-256.
        ("x-amz-content-sha256", "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ("content-length", "9"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert_eq!(seen.header("x-amz-meta-longshore-write-id").map(str::len), Some(32));
}

#[tokio::test]
async fn a_put_of_an_empty_object_has_a_content_length() {
    let server = Scripted::start(|_, _| reply(200, &[("etag", "\"e\"")], "")).await;
    store(server.settings()).put("k", Bytes::new(), WriteOptions::default()).await.unwrap();
    assert_eq!(server.seen()[0].header("content-length"), Some("0"));
}

#[tokio::test]
async fn settings_control_signatures_and_headers() {
    let server = Scripted::start(|_, _| reply(200, &[], "")).await;
    let put = async |change: fn(&mut longshore::store::StoreSettings)| {
        let mut settings = server.settings();
        change(&mut settings);
        store(settings).put("k", Bytes::from_static(b"x"), WriteOptions::default()).await.unwrap();
        server.seen().pop().unwrap()
    };
    let unsigned = put(|settings| settings.bucket.unsigned_payload = Some(true)).await;
    assert_eq!(unsigned.header("x-amz-content-sha256"), Some("UNSIGNED-PAYLOAD"));
    let anonymous = put(|settings| settings.bucket.skip_signature = true).await;
    assert_eq!((anonymous.header("authorization"), anonymous.header("x-amz-date")), (None, None));
    let elsewhere = put(|settings| settings.bucket.region = "eu-west-3".to_owned()).await;
    assert!(elsewhere.header("authorization").unwrap().contains("/eu-west-3/s3/aws4_request"));
    let named = put(|settings| settings.client_options.user_agent = "quay/7".to_owned()).await;
    assert_eq!(named.header("user-agent"), Some("quay/7"));
    let encrypted = put(|settings| {
        settings.bucket.server_side_encryption = Some(longshore::s3::EncryptionAlgorithm::Kms);
        settings.bucket.sse_kms_key_id = Some("key".to_owned());
        settings.bucket.sse_bucket_key_enabled = Some(true);
    })
    .await;
    for (name, value) in [
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "key"),
        ("x-amz-server-side-encryption-bucket-key-enabled", "true"),
    ] {
        assert_eq!(encrypted.header(name), Some(value), "{name}");
    }
    let plain = put(|_| {}).await;
    assert!(plain.headers.iter().all(|(name, _)| !name.starts_with("x-amz-checksum")), "no default checksum");
    let asked = put(|settings| settings.bucket.checksum_algorithm = Some(ChecksumAlgorithm::Sha1)).await;
    assert_eq!(asked.header("x-amz-checksum-sha1"), Some("EfatjsUqKYSrqv18O1FlA3hcIHI="));
}

/// S3 rejects these headers in other requests.
#[tokio::test]
async fn encryption_is_requested_when_an_object_or_an_upload_is_created_and_not_otherwise() {
    let server = Scripted::start(|_, seen| {
        let is = |text: &str| seen.target.contains(text);
        match seen.method.as_str() {
            "POST" if is("uploads") => reply(
                200,
                &[],
                "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
            ),
            "POST" => reply(
                200,
                &[],
                "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>",
            ),
            "PUT" if seen.header("x-amz-copy-source").is_some() => {
                reply(200, &[], "<CopyObjectResult><ETag>\"e\"</ETag></CopyObjectResult>")
            }
            "HEAD" => reply(200, &[("etag", "\"e\""), ("content-length", "1")], ""),
            _ => reply(200, &[("etag", "\"e\"")], ""),
        }
    })
    .await;
    let mut settings = server.settings();
    settings.bucket.server_side_encryption = Some(longshore::s3::EncryptionAlgorithm::Aes256);
    (settings.transfer.multipart_threshold, settings.transfer.part_size) = (1, 5 << 20);
    let store = store(settings);
    let mut upload = store.upload("k", UploadOptions::default()).unwrap();
    upload.write(Bytes::from(vec![0; 6 << 20])).await.unwrap();
    upload.finish(UploadClaim::default()).await.unwrap();
    store.copy_from(&store, "from", "to", CopyOptions::default()).await.unwrap();
    let encrypted = |seen: &Seen| seen.header("x-amz-server-side-encryption").is_some();
    let (with, without): (Vec<_>, Vec<_>) = server.seen().into_iter().partition(encrypted);
    let lines = |seen: Vec<Seen>| {
        seen.iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect::<Vec<_>>()
    };
    assert_eq!(lines(with), ["POST /b/k?uploads=", "PUT /b/to"]);
    let mut without = lines(without);
    without.sort();
    let parts = ["PUT /b/k?partNumber=1&uploadId=u", "PUT /b/k?partNumber=2&uploadId=u"];
    assert_eq!(without, ["HEAD /b/from", "POST /b/k?uploadId=u", parts[0], parts[1]]);
}

#[tokio::test]
async fn a_listing_requests_encoded_keys_under_the_prefix() {
    let server = Scripted::start(move |number, _| {
        let page = format!(
            "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
             <NextContinuationToken>t+{number}</NextContinuationToken>\
             <Contents><Key>pre/a+b</Key><Size>1</Size></Contents></ListBucketResult>"
        );
        reply(200, &[], &page)
    })
    .await;
    let mut settings = server.settings();
    settings.prefix = "pre/".to_owned();
    let options = ListOptions {
        prefix: "a".to_owned(),
        delimiter: "/".to_owned(),
        start_after: "a a".to_owned(),
        page_size: 7,
        continuation: None,
    };
    let store = store(settings);
    let listed = store.list(&options).await.unwrap();
    assert_eq!(listed.objects[0].key, "a b");
    store.list(&ListOptions { continuation: listed.continuation, ..options }).await.unwrap();
    let rest =
        "delimiter=%2F&encoding-type=url&list-type=2&max-keys=7&prefix=pre%2Fa&start-after=pre%2Fa%20a";
    assert_eq!(server.lines(), [format!("GET /b?{rest}"), format!("GET /b?continuation-token=t%2B0&{rest}")]);
}

#[tokio::test]
async fn a_virtual_hosted_bucket_is_in_the_host_name() {
    let server = Scripted::start(|_, _| reply(200, &[], "")).await;
    let mut settings = server.settings();
    settings.bucket.bucket = "b".to_owned();
    settings.bucket.virtual_hosted_style = true;
    settings.bucket.endpoint = Some(format!("http://localhost:{}", server.address.port()));
    // b.localhost is loopback by RFC 6761, section 6.3, if the resolver supports it.
    if tokio::net::lookup_host(format!("b.localhost:{}", server.address.port())).await.is_ok() {
        store(settings).head("k", &ReadOptions::default()).await.unwrap();
        let seen = &server.seen()[0];
        assert_eq!(seen.line(), "HEAD /k");
        assert_eq!(seen.header("host"), Some(format!("b.localhost:{}", server.address.port()).as_str()));
    } else {
        eprintln!("skipped: this machine's resolver does not resolve names under localhost");
    }
}
