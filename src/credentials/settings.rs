//! A store's `credential_provider`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    time::Duration,
};

use http::Uri;

use super::Credentials;
use crate::{
    settings::{LocalPath, SecretValue},
    transport::names_local_host,
};

/// A store's `credential_provider`.
#[derive(Debug, Clone, PartialEq)]
pub enum ProviderSettings {
    /// Credentials from the settings.
    Static(Credentials),
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` from Longshore's own environment.
    Env,
    /// No credentials: requests are unsigned.
    Anonymous,
    /// A file or a folder that another program replaces.
    File(LocalPath),
    /// A command and its arguments.
    Process(Vec<String>),
    /// A container's credentials endpoint.
    Container(ContainerSettings),
    /// The metadata service of an EC2 instance.
    Imds(ImdsSettings),
    /// A service that the operator runs.
    Grpc(GrpcSettings),
    /// A role that is assumed with a token.
    WebIdentity(WebIdentitySettings),
    /// A role that is assumed with other credentials.
    AssumeRole(Box<AssumeRoleSettings>),
    /// A profile of the AWS SDKs' shared files.
    Profile(ProfileSettings),
    /// The places in which boto3 looks for credentials.
    Default(DefaultSettings),
    /// The first of several providers that has credentials.
    Chain(Vec<Self>),
}

impl ProviderSettings {
    /// The name of this kind, as used for `type` in the settings.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Static(_) => "static",
            Self::Env => "env",
            Self::Anonymous => "anonymous",
            Self::File(_) => "file",
            Self::Process(_) => "process",
            Self::Container(_) => "container",
            Self::Imds(_) => "imds",
            Self::Grpc(_) => "grpc",
            Self::WebIdentity(_) => "web_identity",
            Self::AssumeRole(_) => "assume_role",
            Self::Profile(_) => "profile",
            Self::Default(_) => "default",
            Self::Chain(_) => "chain",
        }
    }

    /// Whether the credentials come from the server's own identity, variables or files, or from a command, none of which
    /// the author of an untrusted file may use. An endpoint of such a file has been checked where it was read.
    pub(crate) fn uses_server(&self) -> bool {
        match self {
            Self::Static(_) | Self::Anonymous => false,
            Self::Env | Self::Process(_) | Self::Imds(_) | Self::Profile(_) | Self::Default(_) => true,
            Self::File(path) => !path.is_confined(),
            Self::Container(settings) => settings.uses_server(),
            Self::Grpc(settings) => settings.uses_server(),
            Self::WebIdentity(settings) => !settings.token_file.is_confined(),
            Self::AssumeRole(settings) => settings.source.uses_server(),
            Self::Chain(sources) => sources.iter().any(Self::uses_server),
        }
    }
}

/// The addresses that may be reached over plain HTTP besides loopback: those of ECS and of EKS.
const HOSTS: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
];

/// A container's credentials endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerSettings {
    /// The URL of the endpoint: `https`, or `http` to an allowed host.
    pub endpoint: String,
    /// What is sent in the `Authorization` header.
    pub token: Option<ContainerToken>,
    /// Whether connections to this machine and to metadata services fail.
    pub refuse_local: bool,
}

/// The token that a container's credentials endpoint requires.
#[derive(Debug, Clone, PartialEq)]
pub enum ContainerToken {
    /// The file that contains it, which is read for each request, because the token is rotated.
    File(LocalPath),
    /// The token itself.
    Value(SecretValue),
}

impl ContainerSettings {
    fn uses_server(&self) -> bool {
        let has_own_token = self.token.as_ref().is_some_and(|token| match token {
            ContainerToken::File(path) => !path.is_confined(),
            ContainerToken::Value(_) => true,
        });
        has_own_token || names_local_host(&self.endpoint)
    }

    /// Checks the URL of an endpoint. The error says what is wrong and what would be right.
    pub(crate) fn check_endpoint(endpoint: &str) -> Result<(), String> {
        let wrong = "must be an https:// URL, or an http:// URL whose host is loopback, 169.254.170.2, \
                     169.254.170.23 or [fd00:ec2::23]";
        let uri: Uri = endpoint.parse().map_err(|_| wrong.to_owned())?;
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let is_allowed = is_loopback(host) || host.parse().is_ok_and(|ip| HOSTS.contains(&ip));
        match uri.scheme_str() {
            Some("https") if !host.is_empty() => Ok(()),
            Some("http") if is_allowed => Ok(()),
            _ => Err(wrong.to_owned()),
        }
    }
}

/// An instance metadata service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImdsSettings {
    /// Its URL, without a path.
    pub endpoint: String,
    /// Whether requests without a token (IMDSv1) are made if the service rejects the request for one with 403.
    pub v1_fallback: bool,
    /// The time limit of an attempt.
    pub timeout: Duration,
    /// The number of attempts for each request.
    pub attempts: u32,
}

/// A service that returns credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcSettings {
    /// The URL of the service: `https`, or `http` to this host.
    pub endpoint: String,
    /// The name of the tenant, which is sent to the service.
    pub tenant: String,
    /// The name of the store, which is sent to the service.
    pub store: String,
    /// The CA certificates that the service's certificate is verified with; `None` for those of the system.
    pub ca_file: Option<LocalPath>,
    /// The file with the token that is sent to the service.
    pub token_file: Option<LocalPath>,
    /// The certificate that Longshore authenticates with, and its key.
    pub client_certificate: Option<(LocalPath, LocalPath)>,
    /// Whether connections to this machine and to metadata services fail.
    pub refuse_local: bool,
    /// The time limit of an attempt.
    pub timeout: Duration,
}

impl GrpcSettings {
    /// Whether it reads files of the server, or may connect to the server's own machine.
    fn uses_server(&self) -> bool {
        let certificate = self.client_certificate.iter().flat_map(|(cert, key)| [cert, key]);
        let mut files = self.ca_file.iter().chain(&self.token_file).chain(certificate);
        !self.refuse_local || files.any(|file| !file.is_confined())
    }

    /// The longest time limit of an attempt, and of all attempts together: a chain gives a provider 20 s.
    pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(18);

    /// Checks the URL of a service. The error says what would be right.
    pub(crate) fn check_endpoint(endpoint: &str) -> Result<(), String> {
        let wrong = "must be https://HOST:PORT; http://HOST:PORT is allowed for this host only";
        match plain_url(endpoint) {
            Some(("https", _)) => Ok(()),
            Some(("http", host)) if is_loopback(&host) => Ok(()),
            _ => Err(wrong.to_owned()),
        }
    }

    /// Whether the connection has no TLS.
    pub(crate) fn is_plaintext(&self) -> bool {
        matches!(plain_url(&self.endpoint), Some(("http", _)))
    }
}

/// A profile of the AWS SDKs' shared files.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileSettings {
    /// The profile's name.
    pub name: String,
    /// Whether the settings or the environment name it. If it does not exist, that is an error.
    pub is_named: bool,
    /// The shared config file, which need not exist.
    pub config_file: PathBuf,
    /// The shared credentials file, which need not exist.
    pub credentials_file: PathBuf,
    /// The URL of STS; `None` for the endpoint of the region.
    pub endpoint: Option<String>,
    /// The container's endpoint, for `credential_source = EcsContainer`.
    pub container: Option<ContainerSettings>,
    /// The metadata service, for `credential_source = Ec2InstanceMetadata`; `None` if it must not be asked.
    pub imds: Option<ImdsSettings>,
    /// The folder in which `aws sso login` stores tokens.
    pub sso_cache: PathBuf,
    /// The URL of IAM Identity Center's portal; `None` for that of the profile or of its region.
    pub sso_endpoint: Option<String>,
    /// The URL of the service that renews its tokens; `None` for that of the profile or of its region.
    pub sso_oidc_endpoint: Option<String>,
}

/// The places in which boto3 looks for credentials.
#[derive(Debug, Clone, PartialEq)]
pub struct DefaultSettings {
    /// The profile, the container and the metadata service.
    pub profile: ProfileSettings,
    /// Whether the keys in the environment are used.
    pub uses_environment: bool,
    /// The web identity of the environment.
    pub web_identity: EnvironmentIdentity,
    /// The files of boto 2.
    pub boto2_files: Vec<PathBuf>,
}

/// The parts of a web identity that the environment has. The profile supplies what is missing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnvironmentIdentity {
    /// `AWS_ROLE_ARN`.
    pub role_arn: Option<String>,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`.
    pub token_file: Option<PathBuf>,
    /// `AWS_ROLE_SESSION_NAME`.
    pub session_name: Option<String>,
}

/// A role, and the token that it is assumed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebIdentitySettings {
    /// The role's ARN.
    pub role_arn: String,
    /// The file that contains the token. It is read for each request, because the token is rotated.
    pub token_file: LocalPath,
    /// The name of the session, which CloudTrail shows.
    pub session_name: String,
    /// How long the credentials are valid; `None` for STS's default, one hour.
    pub duration: Option<Duration>,
    /// The URL of STS; `None` for the endpoint of the region.
    pub endpoint: Option<String>,
    /// The region of STS; `None` for the store's.
    pub region: Option<String>,
}

/// A role, and how it is assumed.
#[derive(Debug, Clone, PartialEq)]
pub struct AssumeRoleSettings {
    /// The role's ARN.
    pub role_arn: String,
    /// The name of the session, which CloudTrail shows.
    pub session_name: String,
    /// The external id that the role's trust policy requires.
    pub external_id: Option<String>,
    /// How long the credentials are valid; `None` for STS's default, one hour.
    pub duration: Option<Duration>,
    /// Tags of the session, which policies can refer to.
    pub session_tags: Vec<(String, String)>,
    /// The URL of STS; `None` for the endpoint of the region.
    pub endpoint: Option<String>,
    /// The region of STS; `None` for the store's.
    pub region: Option<String>,
    /// The credentials that the request is signed with.
    pub source: ProviderSettings,
}

/// Checks the URL of STS: `https`, or `http` to this host, without anything after the port. Tokens and credentials are
/// sent to it. The error says what would be right.
pub(crate) fn check_sts_endpoint(endpoint: &str) -> Result<(), String> {
    let wrong = "must be an https:// URL without a path, such as https://sts.eu-west-1.amazonaws.com; http:// is \
                 allowed for this host only";
    match plain_url(endpoint) {
        Some(("https", _)) => Ok(()),
        Some(("http", host)) if is_loopback(&host) => Ok(()),
        _ => Err(wrong.to_owned()),
    }
}

/// Checks the URL of an instance metadata service: a host and a port.
pub(crate) fn check_imds_endpoint(endpoint: &str) -> Result<(), String> {
    let wrong = "must be an http:// or https:// URL without a path, such as http://169.254.169.254";
    plain_url(endpoint).map(drop).ok_or_else(|| wrong.to_owned())
}

/// The scheme and the host of a URL that has nothing else but a port.
fn plain_url(url: &str) -> Option<(&'static str, String)> {
    let uri: Uri = url.parse().ok()?;
    let is_plain = matches!(uri.path(), "/" | "") && uri.query().is_none() && !url.contains(['#', '@']);
    let scheme = ["https", "http"].into_iter().find(|scheme| uri.scheme_str() == Some(scheme))?;
    let host = uri.host().filter(|host| is_plain && !host.is_empty())?;
    Some((scheme, host.trim_start_matches('[').trim_end_matches(']').to_owned()))
}

fn is_loopback(host: &str) -> bool {
    host.parse::<IpAddr>().map_or(host == "localhost", |ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_local_hosts_get_the_token() {
        for endpoint in [
            "https://example.com/x",
            "http://127.0.0.1:8080/x",
            "http://localhost/x",
            "http://[::1]/x",
            "http://169.254.170.2/v2/credentials/1",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
        ] {
            assert_eq!(ContainerSettings::check_endpoint(endpoint), Ok(()), "{endpoint}");
        }
        for endpoint in
            ["http://example.com/x", "http://169.254.169.254/x", "ftp://127.0.0.1/x", "https://", "/x", ""]
        {
            assert!(ContainerSettings::check_endpoint(endpoint).is_err(), "{endpoint}");
        }
    }

    #[test]
    fn sts_is_reached_over_https_or_on_this_host() {
        for endpoint in
            ["https://sts.eu-west-1.amazonaws.com", "https://sts.example:8443/", "http://127.0.0.1:5000"]
        {
            assert_eq!(check_sts_endpoint(endpoint), Ok(()), "{endpoint}");
        }
        for endpoint in [
            "http://sts.example",
            "sts.example",
            "https://user:secret@sts.example",
            "https://sts.example/#x",
            "https://sts.example/path",
            "https://sts.example/?x",
        ] {
            assert!(check_sts_endpoint(endpoint).is_err(), "{endpoint}");
        }
        assert_eq!(check_imds_endpoint("http://[fd00:ec2::254]"), Ok(()));
        assert!(check_imds_endpoint("http://169.254.169.254/latest").is_err());
        assert!(check_imds_endpoint("169.254.169.254").is_err());
    }
}
