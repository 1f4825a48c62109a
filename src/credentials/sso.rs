//! Credentials of a role of IAM Identity Center (SSO), for the token that `aws sso login` has stored.
//!
//! See <https://docs.aws.amazon.com/singlesignon/latest/PortalAPIReference/API_GetRoleCredentials.html>.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use aws_sdk_sso::operation::get_role_credentials::GetRoleCredentialsError;
use secrecy::{ExposeSecret, SecretString};

use self::token::{Renewals, StoredToken};
use super::{Credentials, CredentialsError, sdk};
use crate::transport::HttpClient;

mod token;

/// Tokens are renewed this long before they expire, as in botocore.
const RENEW_EARLY: Duration = Duration::from_mins(15);

/// The time limit of a renewal, with the wait for another one of the same token. It is shorter than the time that the
/// cache gives a provider, so that a token that is still valid is used after all.
const RENEWAL_LIMIT: Duration = Duration::from_secs(15);

/// A role, and the person's session that gives access to it.
#[derive(Debug, Clone)]
pub(super) struct SsoSettings {
    /// The profile that has these settings.
    pub(super) profile: String,
    /// The name of the `sso-session` section. Without one, the token cannot be renewed.
    pub(super) session: Option<String>,
    pub(super) start_url: String,
    pub(super) region: String,
    pub(super) account_id: String,
    pub(super) role_name: String,
    /// The folder that `aws sso login` writes tokens to.
    pub(super) cache: PathBuf,
    /// The URL of the portal; `None` for that of AWS in the region.
    pub(super) portal: Option<String>,
    /// The URL of the service that renews tokens; `None` for that of AWS in the region.
    pub(super) oidc: Option<String>,
}

/// IAM Identity Center.
#[derive(Debug)]
pub(super) struct Sso {
    pub(super) settings: SsoSettings,
    pub(super) http: HttpClient,
}

impl Sso {
    /// Requests credentials of the role.
    pub(super) async fn request(&self) -> Result<Credentials, CredentialsError> {
        let SsoSettings { region, account_id, role_name, portal, .. } = &self.settings;
        let token = self.token().await?;
        let shared = sdk::config(&self.http, region, portal.as_deref());
        let config = aws_sdk_sso::config::Builder::from(&shared).allow_no_auth().build();
        let request = aws_sdk_sso::Client::from_conf(config)
            .get_role_credentials()
            .account_id(account_id)
            .role_name(role_name)
            .access_token(token.expose_secret());
        let response = request.send().await.map_err(|error| {
            let answer = error.as_service_error();
            if answer.is_some_and(GetRoleCredentialsError::is_unauthorized_exception) {
                return self.needs_login("was rejected by IAM Identity Center");
            }
            let why = sdk::why(&error, "IAM Identity Center", &[]);
            let role = format!("the role {role_name} in the account {account_id}");
            let place = format!("IAM Identity Center of {region}");
            CredentialsError::new(format!("the request for {role} failed at {place}: {why}"))
        })?;
        response.role_credentials.and_then(received).ok_or_else(|| {
            CredentialsError::new(format!(
                "IAM Identity Center returned no valid credentials for the role {role_name}"
            ))
        })
    }

    /// The token of the session, which is renewed if it expires soon.
    async fn token(&self) -> Result<SecretString, CredentialsError> {
        let stored = self.stored().await?;
        if self.settings.session.is_none() || !stored.expires_within(RENEW_EARLY) {
            return self.valid(&stored, "has expired");
        }
        let why = match tokio::time::timeout(RENEWAL_LIMIT, self.renewed()).await {
            Ok(Ok(token)) => return Ok(token),
            Ok(Err(why)) => why,
            Err(_) => "it took too long".to_owned(),
        };
        // Another program may have renewed it meanwhile.
        let stored = self.stored().await?;
        self.valid(&stored, &format!("has expired, and it cannot be renewed ({why})"))
    }

    async fn stored(&self) -> Result<StoredToken, CredentialsError> {
        self.latest().await.map_err(|why| self.needs_login(&why))
    }

    /// The token in the file, or the one that was renewed for it and could not be saved.
    async fn latest(&self) -> Result<StoredToken, String> {
        let path = self.path();
        let renewals = Renewals::of(&path);
        Ok(renewals.latest(StoredToken::read(path).await?))
    }

    /// The file that `aws sso login` writes the token to.
    fn path(&self) -> PathBuf {
        let SsoSettings { session, start_url, cache, .. } = &self.settings;
        token::path(cache, session.as_ref().unwrap_or(start_url))
    }

    fn valid(&self, stored: &StoredToken, otherwise: &str) -> Result<SecretString, CredentialsError> {
        if stored.expires_within(Duration::ZERO) {
            return Err(self.needs_login(otherwise));
        }
        Ok(stored.access_token.clone())
    }

    /// A new token, which is also stored. The error says why it cannot be obtained.
    async fn renewed(&self) -> Result<SecretString, String> {
        let renewals = Renewals::of(&self.path());
        let _turn = renewals.turn.lock().await;
        // Another store, or `aws`, may have renewed it meanwhile.
        let stored = self.latest().await?;
        if !stored.expires_within(RENEW_EARLY) {
            return Ok(stored.access_token);
        }
        let renewed = self.created(&stored).await?;
        // Before it is saved, because the caller may stop waiting, and the old refresh token may be of no use any more.
        renewals.keep(renewed.clone());
        match renewed.save(self.path()).await {
            Ok(()) => renewals.forget(),
            Err(error) => {
                let profile = &self.settings.profile;
                tracing::warn!(%error, profile, "a renewed SSO token cannot be stored, and is kept in memory");
            }
        }
        // Not always the new token: someone may have logged in meanwhile.
        Ok(self.latest().await?.access_token)
    }

    /// Requests a new token.
    async fn created(&self, stored: &StoredToken) -> Result<StoredToken, String> {
        let registration = stored.registration()?;
        let shared = sdk::config(&self.http, &self.settings.region, self.settings.oidc.as_deref());
        let config = aws_sdk_ssooidc::config::Builder::from(&shared).allow_no_auth().build();
        let request = aws_sdk_ssooidc::Client::from_conf(config)
            .create_token()
            .grant_type("refresh_token")
            .client_id(registration.client_id)
            .client_secret(registration.client_secret.expose_secret())
            .refresh_token(registration.refresh_token.expose_secret());
        let response = request.send().await.map_err(|error| sdk::why(&error, "IAM Identity Center", &[]))?;
        let token = response.access_token.filter(|token| !token.is_empty()).ok_or("no token was returned")?;
        let lifetime = Duration::from_secs(response.expires_in.try_into().unwrap_or_default());
        let refresh_token = response.refresh_token.map(SecretString::from);
        Ok(stored.renewed(token.into(), SystemTime::now() + lifetime, refresh_token.as_ref()))
    }

    fn needs_login(&self, why: &str) -> CredentialsError {
        let SsoSettings { profile, session, start_url, .. } = &self.settings;
        let name = session.as_ref().unwrap_or(start_url);
        CredentialsError::new(format!(
            "the SSO token of {name} {why}: run `aws sso login --profile {profile}` as the user that Longshore runs as"
        ))
    }
}

fn received(found: aws_sdk_sso::types::RoleCredentials) -> Option<Credentials> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let token = given(found.session_token).map(SecretString::from);
    let credentials = Credentials::new(given(found.access_key_id)?, given(found.secret_access_key)?, token);
    let expiration = u64::try_from(found.expiration).ok().filter(|millis| *millis > 0)?;
    Some(credentials.expiring(SystemTime::UNIX_EPOCH + Duration::from_millis(expiration)))
}
