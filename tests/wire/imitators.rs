//! Responses in which servers that imitate S3 differ from S3, with one test for each difference. docs/SERVERS.md
//! lists them with their sources.

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt as _;
use longshore::{
    s3::{ByteRange, ObjectId},
    store::{
        CopyOptions, ErrorKind, ListOptions, OrphanSettings, Orphans, ReadOptions, UploadClaim,
        UploadOptions, WalkOptions, WriteMode, WriteOptions,
    },
};

use crate::scripted::{Answer, Scripted, bytes, error, reply, store};

const CREATED: &str = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";

fn create() -> CopyOptions {
    CopyOptions { mode: WriteMode::Create, ..CopyOptions::default() }
}

/// A response to HEAD without a length, as from R2's edge, Yandex and proxies that compress (RFC 9110, section 8.6).
fn without_length(headers: &str) -> Answer {
    Answer::Reply(format!("HTTP/1.1 200 x\r\netag: \"e\"\r\n{headers}\r\n").into_bytes())
}

#[tokio::test]
async fn head_without_length() {
    let range = |total: &'static str| reply(206, &[("etag", "\"e\""), ("content-range", total)], "x");
    for (total, expected) in [("bytes 0-0/8000", Ok(8000)), ("bytes 0-0/*", Err(ErrorKind::BackendProtocol))]
    {
        let server = Scripted::start(move |_, seen| match seen.method.as_str() {
            "HEAD" => without_length(""),
            _ => range(total),
        })
        .await;
        let head = server.store().head("k", &ReadOptions::default()).await;
        assert_eq!(head.map(|head| head.meta.size).map_err(|error| error.kind()), expected);
        let asked = server.seen().pop().unwrap();
        assert_eq!((asked.header("range"), asked.header("if-match")), (Some("bytes=0-0"), Some("\"e\"")));
        assert_eq!(asked.header("accept-encoding"), Some("identity"));
        assert!(!asked.header("authorization").unwrap().contains("accept-encoding"), "proxies rewrite it");
    }
    let empty = Scripted::start(|_, seen| match seen.method.as_str() {
        "HEAD" => without_length(""),
        _ => error(416, "InvalidRange"),
    })
    .await;
    assert_eq!(empty.store().head("k", &ReadOptions::default()).await.unwrap().meta.size, 0);
    let replaced = Scripted::start(|_, seen| match seen.method.as_str() {
        "HEAD" => without_length(""),
        _ => reply(206, &[("etag", "\"f\""), ("content-range", "bytes 0-0/7")], "x"),
    })
    .await;
    let failed = replaced.store().head("k", &ReadOptions::default()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::ObjectChanged);
}

/// If the size is unknown, nothing is written.
#[tokio::test]
async fn copy_of_unknown_size() {
    let server = Scripted::start(|_, seen| match seen.method.as_str() {
        "HEAD" => without_length(""),
        "GET" => reply(206, &[("etag", "\"e\""), ("content-range", "bytes 0-0/*")], "x"),
        _ => reply(200, &[], ""),
    })
    .await;
    let store = server.store();
    for options in [CopyOptions::default(), create()] {
        let failed = store.copy_from(&store, "from", "to", options).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::BackendProtocol);
    }
    assert!(store.rename_from(&store, "from", "to", WriteMode::Create).await.is_err());
    assert!(server.seen().iter().all(|seen| matches!(seen.method.as_str(), "HEAD" | "GET")));
}

fn page(token: &str, keys: &[&str]) -> Answer {
    let entries: String =
        keys.iter().map(|key| format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>")).collect();
    reply(
        200,
        &[],
        &format!(
            "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>{entries}</ListBucketResult>"
        ),
    )
}

async fn walked(server: &Scripted) -> (usize, ErrorKind) {
    let mut walk = std::pin::pin!(server.store().walk(WalkOptions::default()));
    let mut objects = 0;
    loop {
        match walk.next().await.expect("the listing ended without an error") {
            Ok(page) => objects += page.objects.len(),
            Err(error) => return (objects, error.kind()),
        }
    }
}

/// Wasabi and others have returned the same token twice (<https://github.com/aws/aws-cli/issues/3917>).
#[tokio::test]
async fn token_repeated() {
    let server = Scripted::start(|_, _| page("same", &["a", "b"])).await;
    assert_eq!(walked(&server).await.1, ErrorKind::BackendProtocol);
    assert!(server.seen().len() <= 3, "{}", server.seen().len());
    let first = server.store().list(&ListOptions { page_size: 10, ..ListOptions::default() }).await.unwrap();
    let next = ListOptions { page_size: 10, continuation: first.continuation, ..ListOptions::default() };
    assert_eq!(server.store().list(&next).await.unwrap_err().kind(), ErrorKind::BackendProtocol);
}

#[tokio::test]
async fn two_tokens() {
    let server = Scripted::start(|_, seen| {
        page(if seen.target.contains("continuation-token=a") { "b" } else { "a" }, &["k"])
    })
    .await;
    assert_eq!(walked(&server).await.1, ErrorKind::BackendProtocol);
    assert!(server.seen().len() <= 8, "{}", server.seen().len());
}

#[tokio::test]
async fn endless_empty_pages() {
    let server = Scripted::start(|number, _| page(&number.to_string(), &[])).await;
    assert_eq!(walked(&server).await, (0, ErrorKind::BackendProtocol));
}

#[tokio::test]
async fn orphans_in_circles() {
    let server = Scripted::start(|_, _| {
        reply(
            200,
            &[],
            "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>u</NextUploadIdMarker>\
             <Upload><Key>k</Key><UploadId>u</UploadId><Initiated>2020-01-01T00:00:00.000Z</Initiated></Upload></ListMultipartUploadsResult>",
        )
    })
    .await;
    let settings = OrphanSettings { age: Duration::from_hours(1), abort: false };
    let failed = server.store().search_orphans(settings, &mut Orphans::default()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::BackendProtocol);
}

/// The errors of HEAD have no body, so Head returns the error of a GET request.
#[tokio::test]
async fn head_says_little() {
    for (status, code, kind) in [
        (400, "ExpiredToken", ErrorKind::CredentialsExpired),
        (403, "InvalidAccessKeyId", ErrorKind::CredentialsRejected),
        (403, "AccessDenied", ErrorKind::AccessDenied),
        (404, "NoSuchBucket", ErrorKind::BucketNotFound),
        (404, "NoSuchKey", ErrorKind::ObjectNotFound),
    ] {
        let server = Scripted::start(move |_, seen| match seen.method.as_str() {
            "HEAD" => reply(status, &[], ""),
            _ => error(status, code),
        })
        .await;
        let failed = server.store().head("k", &ReadOptions::default()).await.unwrap_err();
        assert_eq!(failed.kind(), kind, "{code}");
    }
    let minio = Scripted::start(|_, _| {
        reply(403, &[("x-minio-error-code", "InvalidAccessKeyId"), ("x-minio-error-desc", "\"d\"")], "")
    })
    .await;
    let failed = minio.store().head("k", &ReadOptions::default()).await.unwrap_err();
    assert_eq!((failed.kind(), minio.seen().len()), (ErrorKind::CredentialsRejected, 1));
}

/// Once the bucket is known to exist, a missing object needs no second request.
#[tokio::test]
async fn a_missing_object_in_a_known_bucket() {
    let server = Scripted::start(|_, seen| match seen.method.as_str() {
        "HEAD" => reply(404, &[], ""),
        _ => error(404, "NoSuchKey"),
    })
    .await;
    let store = server.store();
    for _ in 0..3 {
        let failed = store.head("k", &ReadOptions::default()).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::ObjectNotFound);
    }
    assert_eq!(server.lines(), ["HEAD /b/k", "GET /b/k", "HEAD /b/k", "HEAD /b/k"]);
}

#[tokio::test]
async fn skewed_clock_in_a_head_response() {
    let server = Scripted::start(|_, seen| {
        if seen.header("x-amz-date").unwrap().starts_with("2040") {
            return reply(200, &[("etag", "\"e\"")], "");
        }
        reply(403, &[("date", "Mon, 02 Jan 2040 00:00:00 GMT")], "")
    })
    .await;
    assert!(server.store().head("k", &ReadOptions::default()).await.is_ok());
    assert_eq!(server.lines(), ["HEAD /b/k", "HEAD /b/k"]);
}

/// An impossible clock is ignored, because every later request would be signed with it.
#[tokio::test]
async fn impossible_clock() {
    let server = Scripted::start(|number, _| {
        if number == 0 {
            return reply(
                403,
                &[("date", "Fri, 31 Dec 9999 23:59:59 GMT")],
                "<Error><Code>RequestTimeTooSkewed</Code></Error>",
            );
        }
        reply(200, &[("etag", "\"e\"")], "x")
    })
    .await;
    let store = server.store();
    let failed = store.get("k", None, &ReadOptions::default()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::ClockSkewed);
    assert!(store.get("k", None, &ReadOptions::default()).await.is_ok());
}

#[tokio::test]
async fn empty_region_in_an_error() {
    let server = Scripted::start(|number, _| match number {
        0 => reply(400, &[("x-amz-bucket-region", "")], ""),
        _ => reply(200, &[("etag", "\"e\"")], "x"),
    })
    .await;
    let store = server.store();
    assert!(store.get("k", None, &ReadOptions::default()).await.is_err());
    assert!(store.get("k", None, &ReadOptions::default()).await.is_ok());
    let scope = |number: usize| {
        server.seen()[number].header("authorization").unwrap().split('/').nth(2).unwrap().to_owned()
    };
    assert_eq!(scope(1), scope(0));
}

#[tokio::test]
async fn archived_source() {
    let server = Scripted::start(|_, seen| match seen.method.as_str() {
        "HEAD" => {
            reply(200, &[("etag", "\"e\""), ("content-length", "7"), ("x-amz-storage-class", "GLACIER")], "")
        }
        _ => error(403, "ObjectNotInActiveTierError"),
    })
    .await;
    let store = server.store();
    let failed = store.copy_from(&store, "from", "to", CopyOptions::default()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::ObjectArchived);
}

/// Copies an object with headers that other clients wrote. Returns the requests that describe the copies.
async fn copied_headers(
    foreign: &'static [(&'static str, &'static [u8])],
    between: bool,
) -> Vec<crate::scripted::Seen> {
    let head = move |length: usize| {
        let mut head = format!("HTTP/1.1 200 x\r\netag: \"e\"\r\ncontent-length: {length}\r\n").into_bytes();
        for (name, value) in foreign {
            head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        [head, b"\r\n".to_vec()].concat()
    };
    let server = Scripted::start(move |_, seen| match seen.method.as_str() {
        "HEAD" => Answer::Reply(head(7)),
        "GET" if seen.target.ends_with("tagging=") => reply(200, &[], "<Tagging><TagSet/></Tagging>"),
        "GET" => Answer::Reply([head(7), b"content".to_vec()].concat()),
        "POST" if seen.target.contains("uploads") => reply(200, &[], CREATED),
        "POST" => reply(
            200,
            &[],
            "<CompleteMultipartUploadResult><ETag>\"c\"</ETag></CompleteMultipartUploadResult>",
        ),
        _ if seen.header("x-amz-copy-source").is_none() => reply(200, &[("etag", "\"p\"")], ""),
        _ if seen.target.contains("partNumber") => {
            reply(200, &[], "<CopyPartResult><ETag>\"p\"</ETag></CopyPartResult>")
        }
        _ => reply(200, &[], "<CopyObjectResult><ETag>\"c\"</ETag></CopyObjectResult>"),
    })
    .await;
    let source = server.store();
    let mut settings = server.settings();
    if between {
        settings.bucket.endpoint = Some(format!("http://localhost:{}", server.address.port()));
    }
    let destination = store(settings);
    let update = WriteMode::Update { etag: "\"d\"".to_owned(), version: None };
    for mode in [WriteMode::Overwrite, WriteMode::Create, update] {
        let options = CopyOptions { mode, ..CopyOptions::default() };
        destination.copy_from(&source, "from", "to", options).await.unwrap();
    }
    let describes = |seen: &crate::scripted::Seen| {
        seen.method == "POST" && seen.target.contains("uploads")
            || seen.method == "PUT" && !seen.target.contains("partNumber")
    };
    server.seen().into_iter().filter(describes).collect()
}

#[tokio::test]
async fn expires_and_redirects_are_copied() {
    const FOREIGN: &[(&str, &[u8])] = &[
        ("expires", b"never"),
        ("x-amz-website-redirect-location", b"/there"),
        ("cache-control", b"no-cache"),
        ("content-language", b"de"),
    ];
    for between in [false, true] {
        let written = copied_headers(FOREIGN, between).await;
        assert_eq!(written.len(), 3);
        for seen in written {
            let by_s3 = seen.header("x-amz-copy-source").is_some();
            // CopyObject copies all but the redirect by itself.
            let expected = if by_s3 { &FOREIGN[1..2] } else { FOREIGN };
            for (name, value) in expected {
                assert_eq!(seen.header(name).map(str::as_bytes), Some(*value), "{between} {}", seen.line());
            }
        }
    }
}

/// Google Cloud Storage computes an `Expires` for each response and stores none
/// (<https://github.com/GoogleCloudPlatform/gsutil/issues/21>).
#[tokio::test]
async fn computed_expires() {
    const GOOGLES: &[(&str, &[u8])] = &[
        ("expires", b"Sat, 10 Jul 2010 09:12:24 GMT"),
        ("x-goog-generation", b"1"),
        ("cache-control", b"no-cache"),
    ];
    for between in [false, true] {
        let written = copied_headers(GOOGLES, between).await;
        let sent: Vec<_> = written.iter().filter(|seen| seen.header("x-amz-copy-source").is_none()).collect();
        assert!(sent.len() >= 2);
        for seen in sent {
            assert_eq!((seen.header("expires"), seen.header("cache-control")), (None, Some("no-cache")));
        }
    }
}

/// Huawei OBS and versitygw before 1.1 return these errors for an object without tags
/// (<https://github.com/versity/versitygw/issues/1686>).
#[tokio::test]
async fn no_such_tag_set() {
    for (code, copied) in [("NoSuchTagSet", true), ("NoSuchTagSetError", true), ("NoSuchKey", false)] {
        let server = Scripted::start(move |_, seen| match seen.method.as_str() {
            "HEAD" => reply(200, &[("etag", "\"e\""), ("content-length", "7")], ""),
            "GET" => error(404, code),
            "POST" if seen.target.contains("uploads") => reply(200, &[], CREATED),
            "POST" => {
                let text =
                    "<CompleteMultipartUploadResult><ETag>\"c\"</ETag></CompleteMultipartUploadResult>";
                reply(200, &[], text)
            }
            _ => reply(200, &[], "<CopyPartResult><ETag>\"p\"</ETag></CopyPartResult>"),
        })
        .await;
        let store = server.store();
        assert_eq!(store.copy_from(&store, "from", "to", create()).await.is_ok(), copied, "{code}");
        let begun =
            server.seen().into_iter().find(|seen| seen.method == "POST" && seen.target.contains("uploads"));
        assert_eq!(begun.map(|seen| seen.header("x-amz-tagging").map(str::to_owned)), copied.then_some(None));
    }
}

#[tokio::test]
async fn foreign_headers() {
    const CASES: &[&[(&str, &[u8])]] = &[
        &[("content-disposition", b"attachment; filename=\"f\xc3\xbc\xc3\x9f.pdf\"")],
        &[("content-disposition", b"attachment; filename=\"f\xfc\xdf.pdf\"")],
        &[("x-amz-meta-m", b"f\xfc\xdf")],
        &[("x-amz-meta-m", b"=?ISO-8859-1?Q?f=FC?=")],
        &[("x-amz-meta-m", b"see =?UTF-8?B?w6k=?= there")],
        &[("x-amz-meta-m", b"a\tb")],
    ];
    for case in CASES {
        let (name, value) = case[0];
        for between in [false, true] {
            let written = copied_headers(case, between).await;
            let sent: Vec<_> =
                written.iter().filter(|seen| seen.header("x-amz-copy-source").is_none()).collect();
            assert!(sent.len() >= 2);
            for seen in sent {
                assert_eq!(seen.raw(name), value, "{between} {}", seen.line());
            }
        }
    }
}

#[tokio::test]
async fn null_version() {
    let server = Scripted::start(|_, seen| match seen.method.as_str() {
        "DELETE" => reply(204, &[("x-amz-version-id", "null"), ("x-amz-delete-marker", "True")], ""),
        _ => reply(200, &[("etag", "\"e\""), ("x-amz-version-id", "null")], "x"),
    })
    .await;
    let store = server.store();
    let head = store.head("k", &ReadOptions::default()).await.unwrap();
    assert_eq!(head.meta.properties.version.as_deref(), Some("null"));
    let update = |version: &str| WriteOptions {
        mode: WriteMode::Update { etag: "e".to_owned(), version: Some(version.to_owned()) },
        ..WriteOptions::default()
    };
    assert!(store.put("k", Bytes::from_static(b"x"), update("null")).await.is_ok());
    let failed = store.put("k", Bytes::from_static(b"x"), update("v")).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::PreconditionFailed);
    let deleted = store.delete(&ObjectId { key: "k".to_owned(), version: None }).await.unwrap();
    assert_eq!((deleted.version.as_deref(), deleted.delete_marker), (Some("null"), true));
}

/// Cloudflare R2 requires parts of equal size (<https://developers.cloudflare.com/r2/objects/multipart-objects/>).
#[tokio::test]
async fn equal_parts() {
    let server = Scripted::start(|_, seen| match seen.method.as_str() {
        "POST" if seen.target.contains("uploads") => reply(200, &[], CREATED),
        "POST" => {
            let text = "<Error><Code>InvalidPart</Code><Message>All non-trailing parts must have the same length.</Message></Error>";
            reply(400, &[], text)
        }
        _ => reply(200, &[("etag", "\"p\"")], ""),
    })
    .await;
    let mut settings = server.settings();
    (settings.transfer.part_size, settings.transfer.multipart_threshold) = (5 << 20, 0);
    let mut upload = store(settings).upload("k", UploadOptions::default()).unwrap();
    upload.write(Bytes::from_static(b"x")).await.unwrap();
    let failed = upload.finish(UploadClaim::default()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::StoreMisconfigured);
    assert!(failed.message().contains("transfer.equal_parts"), "{failed}");
}

/// Keys that are not UTF-8 and entries that cannot be read do not affect the rest of a page.
#[tokio::test]
async fn not_utf8() {
    let entry = |key: &[u8]| [b"<Contents><Key>", key, b"</Key><Size>1</Size></Contents>"].concat();
    for bad in [&b"k\xff"[..], b"k&#0;", b"k&#xD800;", b"", b"k</Key><Size/><Key>k"] {
        let body = [
            &b"<ListBucketResult><IsTruncated>false</IsTruncated>"[..],
            &entry(b"a"),
            &entry(bad),
            &entry(b"z"),
            b"</ListBucketResult>",
        ]
        .concat();
        let server = Scripted::start(move |_, _| Answer::Reply(bytes(200, &[], &body))).await;
        let page =
            server.store().list(&ListOptions { page_size: 10, ..ListOptions::default() }).await.unwrap();
        let keys: Vec<_> = page.objects.iter().map(|object| object.key.as_str()).collect();
        if bad.starts_with(b"k</Key>") {
            // If an element occurs twice, the last one counts.
            assert_eq!((keys, page.skipped), (vec!["a", "k", "z"], 0));
        } else {
            assert_eq!((keys, page.skipped), (vec!["a", "z"], 1), "{bad:?}");
        }
    }
}

/// A read from a server that does not state the length of its response.
#[tokio::test]
async fn get_without_length() {
    let asked = AtomicUsize::new(0);
    let server = Scripted::start(move |_, seen| match seen.header("range") {
        None => Answer::Reply(
            b"HTTP/1.1 200 x\r\netag: \"e\"\r\ntransfer-encoding: chunked\r\n\r\n4\r\n0123\r\n0\r\n\r\n"
                .to_vec(),
        ),
        Some(_) => {
            asked.fetch_add(1, SeqCst);
            reply(206, &[("etag", "\"e\""), ("content-range", "bytes 0-0/4")], "0")
        }
    })
    .await;
    let mut reader = server.store().get("k", None, &ReadOptions::default()).await.unwrap();
    assert_eq!(reader.info().meta.size, 4);
    assert_eq!(reader.next().await.unwrap().unwrap(), "0123");
}

/// A response with status 206 and no bytes is valid only for a suffix, where it means that the object is empty.
#[tokio::test]
async fn partial_content_without_bytes() {
    let server = Scripted::start(|_, _| reply(206, &[("etag", "\"e\"")], "")).await;
    let read = async |range: ByteRange| {
        server
            .store()
            .get("k", Some(range), &ReadOptions::default())
            .await
            .map(|reader| reader.info().meta.size)
    };
    assert_eq!(read(ByteRange::Suffix(3)).await.unwrap(), 0, "Garage");
    assert_eq!(read(ByteRange::Offset(3)).await.unwrap_err().kind(), ErrorKind::BackendProtocol);
}

/// Without an id, requests for an upload would act on the object itself.
#[tokio::test]
async fn upload_without_an_id() {
    for created in
        ["<InitiateMultipartUploadResult><UploadId/></InitiateMultipartUploadResult>", "<html/>", ""]
    {
        let server = Scripted::start(move |_, _| reply(200, &[("etag", "\"e\"")], created)).await;
        let mut settings = server.settings();
        settings.transfer.multipart_threshold = 0;
        let mut upload = store(settings).upload("k", UploadOptions::default()).unwrap();
        upload.write(Bytes::from_static(b"x")).await.unwrap();
        let failed = upload.finish(UploadClaim::default()).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::BackendProtocol);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(server.lines(), ["POST /b/k?uploads="]);
    }
}

/// A proxy's page is not a valid response to a write.
#[tokio::test]
async fn html_with_status_200() {
    let server = Scripted::start(|_, seen| match seen.method.as_str() {
        "HEAD" => reply(200, &[("etag", "\"e\""), ("content-length", "1")], ""),
        _ => reply(200, &[], "<html><body>Please log in</body></html>"),
    })
    .await;
    let store = server.store();
    let failed = store.put("k", Bytes::from_static(b"x"), WriteOptions::default()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::BackendProtocol);
    let failed = store.copy_from(&store, "from", "to", CopyOptions::default()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::BackendProtocol);
}

/// Ceph, SeaweedFS and LeoFS have lost finished objects when an abort followed a slow completion.
#[tokio::test]
async fn unclear_completion() {
    let server = Scripted::start(|_, seen| match seen.method.as_str() {
        "POST" if seen.target.contains("uploads") => reply(200, &[], CREATED),
        "POST" => reply(500, &[], ""),
        "HEAD" => reply(404, &[], ""),
        "GET" => error(404, "NoSuchKey"),
        _ => reply(200, &[("etag", "\"p\"")], ""),
    })
    .await;
    let mut settings = server.settings();
    settings.transfer.multipart_threshold = 0;
    let mut upload = store(settings).upload("k", UploadOptions::default()).unwrap();
    upload.write(Bytes::from_static(b"x")).await.unwrap();
    assert!(upload.finish(UploadClaim::default()).await.is_err());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(server.seen().iter().all(|seen| seen.method != "DELETE"), "{:?}", server.lines());
}

/// Another write may replace the version `null` while the parts are being copied.
#[tokio::test]
async fn a_large_source_without_an_etag_and_with_the_version_null_is_not_copied() {
    let server = Scripted::start(|_, seen| match seen.method.as_str() {
        "HEAD" => reply(200, &[("x-amz-version-id", "null"), ("content-length", "6442450944")], ""),
        "GET" => reply(200, &[], "<Tagging><TagSet></TagSet></Tagging>"),
        _ => reply(200, &[], ""),
    })
    .await;
    let store = server.store();
    let mut options = CopyOptions::default();
    options.source.version = Some("null".to_owned());
    let failed = store.copy_from(&store, "from", "to", options).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::BackendProtocol);
    assert!(failed.message().contains("strong ETag"), "{failed:?}");
    assert_eq!(server.lines(), ["HEAD /b/from?versionId=null", "GET /b/from?tagging=&versionId=null"]);
}

/// Such a server has written nothing, which is known even without a write id.
#[tokio::test]
async fn a_server_that_does_not_support_conditions_is_named_as_such() {
    for write_id in [true, false] {
        let server = Scripted::start(|_, _| error(501, "NotImplemented")).await;
        let mut settings = server.settings();
        settings.write_id = write_id;
        let options = WriteOptions { mode: WriteMode::Create, ..WriteOptions::default() };
        let failed = store(settings).put("k", Bytes::from_static(b"x"), options).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::ConditionsNotSupported, "{write_id}");
    }
}
