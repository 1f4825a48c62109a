//! `type: assume_role`: temporary credentials of a role, requested with other credentials.
//!
//! See <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>.

use std::sync::Arc;

use aws_sdk_sts::{error::BuildError, types::Tag};
use futures::{FutureExt, future::BoxFuture};

use super::{
    AssumeRoleSettings, Credentials, CredentialsError,
    cache::Source,
    sts::{self, Sts},
};

/// A role that is assumed with the credentials of another source.
#[derive(Debug)]
pub(super) struct AssumeRole {
    pub(super) settings: AssumeRoleSettings,
    pub(super) source: Arc<dyn Source>,
    pub(super) sts: Sts,
}

impl AssumeRole {
    async fn request(&self) -> Result<Credentials, CredentialsError> {
        let AssumeRoleSettings { role_arn, session_name, external_id, duration, session_tags, .. } =
            &self.settings;
        let action = format!("AssumeRole of {role_arn}");
        let base = self.source.load().await.map_err(|error| {
            let text = format!("{action} lacks the credentials of its source: {error}");
            if error.is_absent() { CredentialsError::absent(text) } else { CredentialsError::new(text) }
        })?;
        let tags: Result<Vec<Tag>, BuildError> =
            session_tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
        let tags =
            tags.map_err(|error| CredentialsError::new(format!("{action} has invalid tags: {error}")))?;
        let request = self
            .sts
            .client(Some(&base))
            .assume_role()
            .role_arn(role_arn)
            .role_session_name(session_name)
            .set_external_id(external_id.clone())
            .set_duration_seconds(sts::seconds(*duration))
            .set_tags(Some(tags).filter(|tags| !tags.is_empty()));
        let response = request.send().await.map_err(|error| self.sts.failed(&action, &error))?;
        sts::received(&action, response.credentials)
    }
}

impl Source for AssumeRole {
    fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        self.request().boxed()
    }
}
