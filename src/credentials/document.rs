//! Credentials as a JSON document. Instance metadata, container endpoints and `credential_process` all return one.

use std::time::SystemTime;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;

use super::{Credentials, CredentialsError};

/// The maximum size of a document, in bytes. Session tokens have a few thousand.
pub(super) const MAX_DOCUMENT: usize = 64 * 1024;

/// The keys of the document. Does not implement `Debug`, because it contains secrets.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    #[serde(alias = "Token")]
    session_token: Option<String>,
    expiration: Option<String>,
    /// Of `credential_process`.
    version: Option<u32>,
    /// Of an error, or `Success`.
    code: Option<String>,
    message: Option<String>,
}

/// Parses a document that `origin` returned. Errors show nothing of it but the message of an error.
pub(super) fn parse(origin: &str, document: &[u8]) -> Result<Credentials, CredentialsError> {
    parse_if(origin, document, |version| version.is_none_or(|version| version == 1))
}

/// Parses what a command prints, which must have a version.
pub(super) fn parse_output(origin: &str, document: &[u8]) -> Result<Credentials, CredentialsError> {
    parse_if(origin, document, |version| version == Some(1))
}

fn parse_if(
    origin: &str,
    document: &[u8],
    is_supported: impl Fn(Option<u32>) -> bool,
) -> Result<Credentials, CredentialsError> {
    let failed = |text: &str| CredentialsError::new(format!("{origin} {text}"));
    let Ok(document) = serde_json::from_slice::<Document>(document) else {
        return Err(failed("did not return JSON with the strings AccessKeyId and SecretAccessKey"));
    };
    if let Some(code) = document.code.filter(|code| code != "Success") {
        let message = document.message.unwrap_or_default();
        return Err(failed(&format!("returned the error {code}: {message}")));
    }
    if !is_supported(document.version) {
        return Err(failed("did not return \"Version\": 1"));
    }
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (Some(id), Some(secret)) = (given(document.access_key_id), given(document.secret_access_key)) else {
        return Err(failed("returned no AccessKeyId or no SecretAccessKey"));
    };
    let credentials = Credentials::new(id, secret, given(document.session_token).map(SecretString::from));
    match given(document.expiration) {
        None => Ok(credentials),
        Some(text) => match text.parse::<Timestamp>() {
            Ok(time) => Ok(credentials.expiring(SystemTime::from(time))),
            Err(_) => Err(failed("returned an Expiration that is not an ISO 8601 time")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(document: &str) -> String {
        parse("the source", document.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_document_has_keys_a_token_and_an_expiry() {
        let document = r#"{"Code": "Success", "AccessKeyId": "AKID", "SecretAccessKey": "s", "Token": "t",
            "Expiration": "2030-01-02T03:04:05Z"}"#;
        let found = parse("the source", document.as_bytes()).unwrap();
        assert_eq!(
            (found.access_key_id(), found.secret_access_key(), found.session_token()),
            ("AKID", "s", Some("t"))
        );
        let expected: Timestamp = "2030-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(found.expires_at(), Some(SystemTime::from(expected)));
        let forever = r#"{"Version": 1, "AccessKeyId": "AKID", "SecretAccessKey": "s", "SessionToken": ""}"#;
        let found = parse("the source", forever.as_bytes()).unwrap();
        assert_eq!((found.session_token(), found.expires_at()), (None, None));
    }

    #[test]
    fn a_bad_document_is_an_error_without_its_secrets() {
        for (document, expected) in [
            ("hush", "did not return JSON"),
            (r#"{"AccessKeyId": "AKID", "SecretAccessKey": 7}"#, "did not return JSON"),
            (r#"{"AccessKeyId": "AKID", "SessionToken": "hush"}"#, "no SecretAccessKey"),
            (r#"{"AccessKeyId": "AKID", "SecretAccessKey": "hush", "Expiration": "soon"}"#, "Expiration"),
            (r#"{"Version": 2, "AccessKeyId": "AKID", "SecretAccessKey": "hush"}"#, "Version"),
            (r#"{"Code": "Failed", "Message": "no role", "SecretAccessKey": "hush"}"#, "Failed: no role"),
        ] {
            let text = error(document);
            assert!(text.starts_with("the source ") && text.contains(expected), "{text}");
            assert!(!text.contains("hush"), "{text}");
        }
        let unversioned = br#"{"AccessKeyId": "AKID", "SecretAccessKey": "s"}"#;
        assert!(parse("the source", unversioned).is_ok());
        assert!(parse_output("the source", unversioned).is_err());
    }
}
