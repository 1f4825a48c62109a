//! `type: web_identity`: temporary credentials of a role, requested with a token such as a Kubernetes ServiceAccount's
//! (IAM roles for service accounts).
//!
//! See <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>.

use futures::{FutureExt, future::BoxFuture};

use super::{
    Credentials, CredentialsError, WebIdentitySettings,
    cache::Source,
    small_file,
    sts::{self, Sts},
};

/// A role that is assumed with a token.
#[derive(Debug)]
pub(super) struct WebIdentity {
    pub(super) settings: WebIdentitySettings,
    pub(super) sts: Sts,
}

impl WebIdentity {
    async fn request(&self) -> Result<Credentials, CredentialsError> {
        let WebIdentitySettings { role_arn, token_file, session_name, duration, .. } = &self.settings;
        let action = format!("AssumeRoleWithWebIdentity of {role_arn}");
        let token = small_file::read(token_file).await?;
        let request = self
            .sts
            .client(None)
            .assume_role_with_web_identity()
            .role_arn(role_arn)
            .role_session_name(session_name)
            .web_identity_token(token.trim())
            .set_duration_seconds(sts::seconds(*duration));
        let response = request.send().await.map_err(|error| self.sts.failed(&action, &error))?;
        sts::received(&action, response.credentials)
    }
}

impl Source for WebIdentity {
    fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        self.request().boxed()
    }
}
