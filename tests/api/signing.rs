//! `Sign` and `SignPost`, which send no request to S3.

use longshore::{
    auth::AuthMode,
    pb::{SignMethod, SignPostRequest, SignRequest, sign_post_request::Target},
};
use tonic::Code;

use super::{code_and_reason, info, objects, request};

fn sign(method: SignMethod, store: &str, keys: &[&str]) -> SignRequest {
    SignRequest {
        store: store.to_owned(),
        method: method.into(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        expires_in: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..SignRequest::default()
    }
}

/// The code and the reason of a failed `Sign`, and the access that it names.
async fn refused(token: &str, message: SignRequest) -> (Code, String, String) {
    let status = objects(AuthMode::Required).sign(request(token, "acme", message)).await.unwrap_err();
    let (code, reason) = code_and_reason(&status);
    let access = info(&status).metadata.get("access").cloned().unwrap_or_default();
    (code, reason, access)
}

#[tokio::test]
async fn sign_needs_the_sign_grant_and_that_of_the_method_for_every_key() {
    use SignMethod::{Delete, Get, Head, Put};
    let denied = |access: &str| (Code::PermissionDenied, "ACCESS_NOT_GRANTED".to_owned(), access.to_owned());
    for (method, access) in [(Get, "read"), (Head, "read"), (Put, "write"), (Delete, "delete")] {
        assert_eq!(refused("signer", sign(method, "", &["k"])).await, denied(access));
        assert_eq!(refused("reader", sign(method, "", &["k"])).await, denied("sign"));
    }
    assert_eq!(refused("", sign(Get, "", &["k"])).await.0, Code::Unauthenticated);
    // The grant is checked before the store is looked up.
    let message = sign(Get, "missing", &["in/k"]);
    assert_eq!(refused("signing-reader", message).await, denied("sign"));
    let message = sign(Get, "", &["in/a", "out/b", "in/c"]);
    assert_eq!(refused("signing-reader", message).await, denied("sign"));
    let message = sign(Get, "nowhere", &["in/k"]);
    assert_eq!(refused("signing-reader", message).await.1, "STORE_NOT_FOUND");
    let mut objects = objects(AuthMode::Required);
    let message = request("signing-reader", "acme", sign(Head, "", &["in/a", "in/b"]));
    let urls = objects.sign(message).await.unwrap().into_inner().urls;
    assert_eq!(urls.iter().map(|url| url.key.as_str()).collect::<Vec<_>>(), ["in/a", "in/b"]);
    for url in &urls {
        assert!(url.url.contains("&X-Amz-Expires=60&") && url.headers.is_empty());
        assert!(!format!("{url:?}").contains("X-Amz"), "a URL is a secret");
    }
}

#[tokio::test]
async fn a_form_needs_the_sign_and_the_write_grant_for_the_key_or_all_keys_with_the_prefix() {
    let form = |target| SignPostRequest {
        target: Some(target),
        expires_in: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..SignPostRequest::default()
    };
    let ask = async |token: &str, target| {
        let answer = objects(AuthMode::Required).sign_post(request(token, "acme", form(target))).await;
        answer.map(|form| form.into_inner()).map_err(|status| info(&status).metadata["access"].clone())
    };
    let key = |key: &str| Target::Key(key.to_owned());
    let prefix = |prefix: &str| Target::KeyPrefix(prefix.to_owned());
    assert_eq!(ask("reader", key("k")).await.unwrap_err(), "sign");
    assert_eq!(ask("signer", key("k")).await.unwrap_err(), "write");
    let made = ask("signing-writer", prefix("in/a")).await.unwrap();
    let shown = format!("{made:?}");
    assert!(shown.contains("\"policy\"") && !shown.contains("AWS4"), "the values are secret: {shown}");
    assert!(ask("signing-writer", key("in/a")).await.is_ok());
    for target in [key("in"), prefix("in"), prefix("")] {
        assert_eq!(ask("signing-writer", target).await.unwrap_err(), "sign");
    }
}

#[tokio::test]
async fn a_store_without_credentials_cannot_sign() {
    let message = request("signing-reader", "zeta", sign(SignMethod::Get, "public", &["k"]));
    let status = objects(AuthMode::Required).sign(message).await.unwrap_err();
    let expected = (Code::FailedPrecondition, "CREDENTIALS_UNAVAILABLE".to_owned());
    assert_eq!(code_and_reason(&status), expected);
}

#[tokio::test]
async fn a_key_that_is_too_long_is_named_by_its_index() {
    let long = "k".repeat(600);
    let key = format!("in/{}", "ü".repeat(40));
    let message = sign(SignMethod::Get, "", &["in/a", &key]);
    let urls = objects(AuthMode::None).sign(request("", "acme", message)).await.unwrap().into_inner().urls;
    assert!(urls[1].url.contains("/bucket/in/%C3%BC%C3%BC"));
    // A message in these tests has at most 1,024 bytes, and a key that many.
    let message = sign(SignMethod::Get, "", &[long.as_str()]);
    assert!(objects(AuthMode::None).sign(request("", "acme", message)).await.is_ok());
}
