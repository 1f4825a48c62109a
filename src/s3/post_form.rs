//! Upload forms: `POST Object` with a policy.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html>

use std::{fmt, time::SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderMap;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Error, Tags,
    encryption::{self, DataAccess},
    object_tagging,
    presign::Presigner,
    sign::{ALGORITHM, unsignable},
};

/// What S3 replaces by the name of the file.
const FILENAME: &str = "${filename}";

/// An upload form. Anyone who has it can use it, so `Debug` does not show its values.
pub struct PostForm {
    /// Where it is sent.
    pub url: String,
    /// Its fields, in order. The file comes after them.
    pub fields: Vec<(String, String)>,
    /// When it expires, by S3's clock.
    pub expires_at: SystemTime,
}

impl fmt::Debug for PostForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostForm").finish_non_exhaustive()
    }
}

/// Which keys a form can write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostTarget {
    /// One key.
    Key(String),
    /// All keys with a prefix.
    Prefix(String),
}

/// What S3 answers after the upload.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PostSuccess {
    /// Status 204 without a body.
    #[default]
    Default,
    /// A redirect to this URL.
    Redirect(String),
    /// This status: 200, 201 or 204.
    Status(u16),
}

/// What S3 accepts with a form.
#[derive(Debug)]
pub(crate) struct PostRules {
    /// The target, with the store's prefix.
    pub(crate) target: PostTarget,
    /// The smallest and the largest size, in bytes.
    pub(crate) sizes: (u64, u64),
    /// The headers that describe the object, and its storage class.
    pub(crate) headers: HeaderMap,
    /// A prefix of the content types, instead of one among `headers`.
    pub(crate) content_type_prefix: Option<String>,
    pub(crate) tags: Tags,
    pub(crate) success: PostSuccess,
}

/// The fields and the conditions of a form.
#[derive(Default)]
struct Draft {
    fields: Vec<(String, String)>,
    conditions: Vec<Value>,
}

impl Draft {
    /// Adds a field, which must have this value.
    fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        self.conditions.push(json!({ name.as_str(): value }));
        self.fields.push((name, value));
    }

    /// Adds a condition on the beginning of a field.
    fn begins(&mut self, name: &str, prefix: &str) {
        self.conditions.push(json!(["starts-with", format!("${name}"), prefix]));
    }
}

impl Presigner {
    /// A form that follows `rules`.
    pub(crate) fn form(&self, rules: PostRules) -> Result<PostForm, Error> {
        let settings = self.client.settings();
        let mut draft = Draft::default();
        match &rules.target {
            PostTarget::Key(key) => draft.add("key", key),
            PostTarget::Prefix(prefix) => {
                draft.begins("key", prefix);
                draft.fields.push(("key".to_owned(), format!("{prefix}{FILENAME}")));
            }
        }
        draft.conditions.push(json!({ "bucket": settings.bucket }));
        let mut headers = rules.headers;
        encryption::add_headers(&mut headers, DataAccess::Create, settings)?;
        for (name, value) in &headers {
            let value = value.to_str().map_err(|_| unsignable())?;
            draft.add(field_name(name.as_str()), value);
        }
        if let Some(prefix) = &rules.content_type_prefix {
            draft.begins("Content-Type", prefix);
        }
        if !rules.tags.is_empty() {
            draft.add("tagging", object_tagging::document(&rules.tags));
        }
        let (least, most) = rules.sizes;
        draft.conditions.push(json!(["content-length-range", least, most]));
        match rules.success {
            PostSuccess::Default => {}
            PostSuccess::Redirect(url) => draft.add("success_action_redirect", url),
            PostSuccess::Status(status) => draft.add("success_action_status", status.to_string()),
        }
        self.signed(draft)
    }

    fn signed(&self, mut draft: Draft) -> Result<PostForm, Error> {
        let signing = &self.signing;
        draft.add("x-amz-algorithm", ALGORITHM);
        draft.add("x-amz-credential", signing.credential());
        draft.add("x-amz-date", signing.time.as_str());
        if let Some(token) = signing.session_token() {
            draft.add("x-amz-security-token", token);
        }
        let expires_at = signing.expires_at();
        let expiration = Timestamp::try_from(expires_at).map_err(|_| unsignable())?;
        let expiration = expiration.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string();
        let policy = json!({ "expiration": expiration, "conditions": draft.conditions });
        let policy = STANDARD.encode(policy.to_string());
        let signature = signing.signature(self.client.keys(), &policy);
        let mut fields = draft.fields;
        fields.push(("policy".to_owned(), policy));
        fields.push(("x-amz-signature".to_owned(), signature));
        Ok(PostForm { url: self.endpoint.url(&self.endpoint.path(None), ""), fields, expires_at })
    }
}

/// The name of a form field for a header, as S3's documentation writes it.
fn field_name(header: &str) -> &str {
    match header {
        "cache-control" => "Cache-Control",
        "content-disposition" => "Content-Disposition",
        "content-encoding" => "Content-Encoding",
        "content-type" => "Content-Type",
        "expires" => "Expires",
        other => other,
    }
}
