//! What happens to requests whose caller has left.

use bytes::Bytes;
use longshore::store::{ReadOptions, UploadOptions, WriteOptions};

use crate::scripted::{Answer, Scripted, bytes, reply};

#[tokio::test]
async fn dropping_a_read_closes_its_connection() {
    let mut server = Scripted::start(|_, _| {
        Answer::Hang(bytes(200, &[("etag", "\"e\""), ("content-length", "10")], b"0"))
    })
    .await;
    let mut reader = server.store().get("k", None, &ReadOptions::default()).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), "0");
    drop(reader);
    server.hung_up().await;
}

#[tokio::test]
async fn dropping_a_put_closes_its_connection() {
    let mut server = Scripted::start(|_, _| Answer::Hang(Vec::new())).await;
    let store = server.store();
    let put = tokio::task::spawn(async move {
        store.put("k", Bytes::from_static(b"x"), WriteOptions::default()).await.map(drop)
    });
    server.asked(|seen| seen.method == "PUT").await;
    put.abort();
    server.hung_up().await;
}

const CREATED: &str = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";

#[tokio::test]
async fn dropping_an_upload_cancels_its_parts_and_aborts_it() {
    let mut server = Scripted::start(|_, seen| match seen.method.as_str() {
        "POST" => reply(200, &[], CREATED),
        "DELETE" => reply(204, &[], ""),
        _ => Answer::Hang(Vec::new()),
    })
    .await;
    let mut upload = server.store().upload("k", UploadOptions::default()).unwrap();
    upload.write(Bytes::from(vec![0; 9 << 20])).await.unwrap();
    server.asked(|seen| seen.method == "PUT").await;
    drop(upload);
    server.asked(|seen| seen.method == "DELETE").await;
    server.hung_up().await;
}
