//! Where the credentials in use come from, and what an operator can do if the store has none.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use super::{ProviderSettings, shown_time};

/// Where the credentials in use come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The type of the provider. For `chain` and `default`, the one of their providers that has credentials.
    pub provider: &'static str,
    /// How long the provider took; `None` if the credentials are part of the settings, or if requests are unsigned.
    pub took: Option<Duration>,
    /// When the credentials expire; `None` if they do not, or if their expiry is unknown.
    pub expires_at: Option<SystemTime>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "provider: {}", self.provider)?;
        if let Some(took) = self.took {
            write!(f, ", which took {} ms", took.as_millis())?;
        }
        if let Some(expires_at) = self.expires_at {
            write!(f, "; the credentials expire at {}", shown_time(expires_at))?;
        }
        Ok(())
    }
}

impl ProviderSettings {
    /// What to check if this provider returns no credentials. One or two sentences.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Static(_) | Self::Anonymous => {
                "Set access_key_id and secret_access_key in the store's credential_provider."
            }
            Self::Env => "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the server, and restart it.",
            Self::File(_) => {
                "Check that the file or folder in path is mounted, that the server's user can read it, and that it \
                 contains an access key id and a secret."
            }
            Self::Process(_) => {
                "Run the command as the server's user: it must print credentials as JSON within 30 s and exit with 0."
            }
            Self::Container(_) => {
                "Check that the pod has an EKS Pod Identity association, or the ECS task a task role, and that the \
                 network policy allows the credentials endpoint."
            }
            Self::Imds(_) => {
                "Check that the instance has an instance profile, that the hop limit of its metadata options is at \
                 least 2 if the server runs in a container, and that the network policy allows 169.254.169.254."
            }
            Self::WebIdentity(_) => {
                "Check that the token file is mounted, and that the role's trust policy names the issuer, the \
                 audience and the subject of the token."
            }
            Self::AssumeRole(_) => {
                "Check that the credentials of source are valid, that they allow sts:AssumeRole (and sts:TagSession \
                 for session_tags), and that the role's trust policy names them and the external_id."
            }
            Self::Grpc(_) => {
                "Check that the credential service runs at endpoint, that the network policy allows it, and that it \
                 has credentials for this tenant and store."
            }
            Self::Profile(_) => {
                "Check that the shared files are mounted, and that the profile has keys, a role, a \
                 credential_process or an SSO session."
            }
            Self::Default(_) | Self::Chain(_) => {
                "The error in the server's log, or of `longshore check --connect`, names what each provider answered. \
                 Set up one of them, or name the intended one as type."
            }
        }
    }
}
