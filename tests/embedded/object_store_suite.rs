//! object_store's own integration suite for stores (its feature `integration`), run with its S3 client.

use longshore::embedded::Embedded;
use object_store::{
    aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut, S3CopyIfNotExists},
    integration,
};

/// A server for a single test, since the suite deletes everything that it finds.
struct Store {
    s3: AmazonS3,
    server: Embedded,
    _folder: tempfile::TempDir,
}

async fn store() -> Store {
    let folder = tempfile::tempdir().unwrap();
    let server = Embedded::start(folder.path(), "127.0.0.1:0".parse().unwrap(), &["suite"]).await.unwrap();
    let s3 = builder(&server).build().unwrap();
    Store { s3, server, _folder: folder }
}

fn builder(server: &Embedded) -> AmazonS3Builder {
    AmazonS3Builder::new()
        .with_endpoint(format!("http://{}", server.address()))
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_bucket_name("suite")
        .with_access_key_id(server.access_key_id())
        .with_secret_access_key(server.secret_access_key())
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_copy_if_not_exists(S3CopyIfNotExists::Header("if-none-match".to_owned(), "*".to_owned()))
}

/// Each function of the suite, with its arguments after the store.
macro_rules! suite {
    ($($name:ident($($argument:tt)*)$(.$result:ident)?,)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let store = store().await;
            integration::$name(&store.s3, $($argument)*).await$(.$result())?;
            store.server.stop().await;
        })*
    };
    (twice: $($name:ident,)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let store = store().await;
            integration::$name(&store.s3, &store.s3).await;
            store.server.stop().await;
        })*
    };
}

suite! {
    copy_if_not_exists(),
    copy_rename_nonexistent_object(),
    get_nonexistent_object(None).unwrap_err,
    get_opts(),
    list_uses_directories_correctly(),
    list_with_delimiter(),
    list_with_offset_exclusivity(),
    multipart_out_of_order(),
    multipart_race_condition(true),
    put_get_attributes(),
    put_get_delete_list(),
    // Five writers update one object ten times each. None of the fifty updates may be lost.
    put_opts(true),
    rename_and_copy(),
    stream_get(),
}

suite! { twice:
    list_paginated,
    multipart,
    multipart_put_part_out_of_order,
    multipart_with_opts,
}

#[tokio::test]
async fn copy_if_not_exists_by_multipart() {
    let mut store = store().await;
    store.s3 = builder(&store.server).with_copy_if_not_exists(S3CopyIfNotExists::Multipart).build().unwrap();
    integration::copy_if_not_exists(&store.s3).await;
    store.server.stop().await;
}
