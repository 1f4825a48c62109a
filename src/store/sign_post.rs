//! Makes upload forms.

use std::time::Duration;

use super::{Attributes, Error, Field, PostForm, PostSuccess, PostTarget, S3Store, Tags};
use crate::s3::PostRules;

/// What S3 accepts with an upload form.
#[derive(Debug, Clone)]
pub struct PostOptions {
    /// Which keys it can write, without the store's prefix.
    pub target: PostTarget,
    /// The smallest and the largest size, in bytes.
    pub sizes: (u64, u64),
    /// The attributes of the object.
    pub attributes: Attributes,
    /// A prefix of the content types, instead of one in `attributes`.
    pub content_type_prefix: Option<String>,
    /// The tags of the object.
    pub tags: Tags,
    /// What S3 answers.
    pub success: PostSuccess,
}

impl S3Store {
    /// Makes an upload form that is valid for `lifetime`, but not longer than the store's credentials are. No request is
    /// sent to S3.
    pub async fn post_form(&self, options: PostOptions, lifetime: Duration) -> Result<PostForm, Error> {
        self.require_tagging(&options.tags)?;
        let target = match options.target {
            PostTarget::Key(key) => PostTarget::Key(self.full_key(&key, Field::Key)?),
            PostTarget::Prefix(prefix) if prefix.is_empty() => PostTarget::Prefix(self.full_prefix("")),
            PostTarget::Prefix(prefix) => PostTarget::Prefix(self.full_key(&prefix, Field::KeyPrefix)?),
        };
        let rules = PostRules {
            target,
            sizes: options.sizes,
            headers: options.attributes.headers()?,
            content_type_prefix: options.content_type_prefix,
            tags: options.tags,
            success: options.success,
        };
        self.client().presigner(lifetime).await?.form(rules)
    }
}
