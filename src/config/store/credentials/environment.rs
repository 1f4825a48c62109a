//! Credentials that Longshore's own environment provides. It does not change while the process runs, so it is checked
//! once, here.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    credentials::{
        ContainerSettings, ContainerToken, DefaultSettings, ImdsSettings, ProfileSettings, ProviderSettings,
        WebIdentitySettings, check_sts_endpoint,
    },
    settings::{LocalPath, Notes, PlaceId, Scalar, UNTRUSTED},
};

use super::forms::{RoleArn, SessionName};

/// The URL of the EC2 instance metadata service.
pub(super) const IMDS: &str = "http://169.254.169.254";

/// The host of ECS's credentials endpoint, which relative URIs belong to.
const ECS: &str = "http://169.254.170.2";

/// A variable, if it is set and not empty.
fn variable(name: &str, notes: &Notes) -> Option<String> {
    let text = notes.variables().text(name).ok()?;
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Stands for a variable that is not read. It is a valid role, and a valid path.
const PLACEHOLDER_ROLE: &str = "arn:aws:iam::000000000000:role/not-read";

/// A variable that replaces the setting `key`.
pub(super) fn required(name: &str, key: &str, place_id: PlaceId, notes: &Notes) -> Option<String> {
    let found = variable(name, notes);
    if !notes.trusts_author() {
        notes.problem(place_id, format!("has no `{key}`, so it uses {name}, {UNTRUSTED}: set `{key}`"));
        return None;
    }
    if found.is_none() && notes.variables().skip_secrets() {
        return Some(PLACEHOLDER_ROLE.to_owned());
    }
    if found.is_none() {
        notes.problem(place_id, format!("has no `{key}`, and {name} is not set: set one of the two"));
    }
    found
}

/// `type: env`: an access key.
pub(super) fn keys(place_id: PlaceId, notes: &Notes) -> Option<ProviderSettings> {
    if has_keys(notes) || notes.variables().skip_secrets() {
        return Some(ProviderSettings::Env);
    }
    notes.problem(place_id, format!("{LACKING}: set both"));
    None
}

const LACKING: &str =
    "takes its credentials from the environment, which lacks AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY";

fn has_keys(notes: &Notes) -> bool {
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].iter().all(|name| variable(name, notes).is_some())
}

/// What `from_env: true` implies: an access key, or else the identity that Kubernetes or ECS gives to the container.
pub(super) fn implied(place_id: PlaceId, notes: &Notes) -> Option<ProviderSettings> {
    if has_keys(notes) || notes.variables().skip_secrets() {
        return Some(ProviderSettings::Env);
    }
    if variable("AWS_WEB_IDENTITY_TOKEN_FILE", notes).is_some() {
        return web_identity(place_id, notes);
    }
    if container_endpoint(notes).is_some() {
        return container(None, place_id, notes);
    }
    let hint = variable("AWS_PROFILE", notes)
        .map_or("", |_| "; for the profile in AWS_PROFILE, set `credential_provider: {type: profile}`");
    notes.problem(place_id, format!("{LACKING}: set both{hint}"));
    None
}

/// A variable that passes a check. Records a problem if it does not.
fn checked(
    name: &str,
    check: impl Fn(&str) -> Result<String, String>,
    place_id: PlaceId,
    notes: &Notes,
) -> Option<String> {
    let text = variable(name, notes)?;
    check(&text).map_err(|why| notes.problem(place_id, format!("uses {name}, which is invalid: {why}"))).ok()
}

/// The URL of STS in the variable.
pub(super) fn sts_endpoint(place_id: PlaceId, notes: &Notes) -> Option<String> {
    let check = |url: &str| check_sts_endpoint(url).map(|()| url.trim_end_matches('/').to_owned());
    checked("AWS_ENDPOINT_URL_STS", check, place_id, notes)
}

/// The name of a role's session in the variable.
pub(super) fn session_name(place_id: PlaceId, notes: &Notes) -> Option<String> {
    checked("AWS_ROLE_SESSION_NAME", SessionName::from_text, place_id, notes)
}

fn web_identity(place_id: PlaceId, notes: &Notes) -> Option<ProviderSettings> {
    let role_arn = checked("AWS_ROLE_ARN", RoleArn::from_text, place_id, notes);
    if variable("AWS_ROLE_ARN", notes).is_none() {
        notes.problem(
            place_id,
            "takes its credentials from AWS_WEB_IDENTITY_TOKEN_FILE, but AWS_ROLE_ARN is not set: set it",
        );
    }
    Some(ProviderSettings::WebIdentity(WebIdentitySettings {
        role_arn: role_arn?,
        token_file: variable("AWS_WEB_IDENTITY_TOKEN_FILE", notes)?.into(),
        session_name: session_name(place_id, notes).unwrap_or_else(|| "longshore".to_owned()),
        duration: None,
        endpoint: sts_endpoint(place_id, notes),
        region: None,
    }))
}

fn container_endpoint(notes: &Notes) -> Option<String> {
    let relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", notes);
    let relative = relative.map(|path| format!("{ECS}/{}", path.trim_start_matches('/')));
    relative.or_else(|| variable("AWS_CONTAINER_CREDENTIALS_FULL_URI", notes))
}

/// The endpoint of the container, from the variables that ECS and EKS set. Of two, that of ECS is used, as in botocore.
pub(super) fn container(
    token_file: Option<&LocalPath>,
    place_id: PlaceId,
    notes: &Notes,
) -> Option<ProviderSettings> {
    if !notes.trusts_author() {
        let text =
            format!("has no `endpoint`, so it uses the identity of the server, {UNTRUSTED}: set `endpoint`");
        notes.problem(place_id, text);
        return None;
    }
    let Some(endpoint) = container_endpoint(notes) else {
        if notes.variables().skip_secrets() {
            let endpoint = ECS.to_owned();
            return Some(ProviderSettings::Container(ContainerSettings { endpoint, token: None }));
        }
        let text = "has no `endpoint`, and neither AWS_CONTAINER_CREDENTIALS_FULL_URI nor \
                    AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is set: set one of them";
        notes.problem(place_id, text);
        return None;
    };
    if let Err(why) = ContainerSettings::check_endpoint(&endpoint) {
        notes.problem(
            place_id,
            format!("uses AWS_CONTAINER_CREDENTIALS_FULL_URI, which is invalid: it {why}"),
        );
        return None;
    }
    let token = token_file.cloned().map(ContainerToken::File).or_else(|| container_token(notes));
    Some(ProviderSettings::Container(ContainerSettings { endpoint, token }))
}

/// The authorization token of the container, from a file or from the variable itself.
pub(super) fn container_token(notes: &Notes) -> Option<ContainerToken> {
    let file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", notes);
    file.map(|path| ContainerToken::File(path.into())).or_else(|| {
        let token = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN", notes)?;
        Some(ContainerToken::Value(token.as_str().into()))
    })
}

/// A profile of the shared files. What is `None` comes from the variables of the AWS SDKs.
pub(super) fn profile(
    name: Option<String>,
    config_file: Option<PathBuf>,
    credentials_file: Option<PathBuf>,
    endpoint: Option<String>,
    notes: &Notes,
) -> ProfileSettings {
    let name =
        name.or_else(|| variable("AWS_PROFILE", notes)).or_else(|| variable("AWS_DEFAULT_PROFILE", notes));
    let is_named = name.is_some();
    let file = |given: Option<PathBuf>, name: &str, usual: &str| {
        let given = given.or_else(|| variable(name, notes).map(PathBuf::from));
        expanded(&given.unwrap_or_else(|| usual.into()), notes)
    };
    ProfileSettings {
        name: name.unwrap_or_else(|| "default".to_owned()),
        is_named,
        config_file: file(config_file, "AWS_CONFIG_FILE", "~/.aws/config"),
        credentials_file: file(credentials_file, "AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        endpoint,
        container: usable_container(notes),
        imds: imds(notes),
    }
}

/// The places in which boto3 looks for credentials. If the settings name the profile, those of the environment are left
/// out, as in boto3.
pub(super) fn default(
    profile: ProfileSettings,
    names_profile: bool,
    place_id: PlaceId,
    notes: &Notes,
) -> DefaultSettings {
    let disabled = variable("AWS_EC2_METADATA_DISABLED", notes);
    let boto2_files: Vec<PathBuf> = match variable("BOTO_CONFIG", notes) {
        Some(path) => vec![path.into()],
        None => vec!["/etc/boto.cfg".into(), "~/.boto".into()],
    };
    let has_web_identity = !names_profile && variable("AWS_WEB_IDENTITY_TOKEN_FILE", notes).is_some();
    let web_identity = if has_web_identity { web_identity(place_id, notes) } else { None };
    if container_endpoint(notes).is_some() && profile.container.is_none() {
        let _ = container(None, place_id, notes);
    }
    DefaultSettings {
        profile,
        uses_environment: !names_profile,
        web_identity: web_identity.and_then(|settings| match settings {
            ProviderSettings::WebIdentity(settings) => Some(settings),
            _ => None,
        }),
        boto2_files: boto2_files.iter().map(|path| expanded(path, notes)).collect(),
        uses_imds: disabled.is_none_or(|text| !text.eq_ignore_ascii_case("true")),
    }
}

/// The path, where `~/` stands for the home directory.
fn expanded(path: &Path, notes: &Notes) -> PathBuf {
    match (path.strip_prefix("~"), variable("HOME", notes)) {
        (Ok(below), Some(home)) => Path::new(&home).join(below),
        _ => path.to_owned(),
    }
}

fn imds(notes: &Notes) -> ImdsSettings {
    let endpoint = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT", notes);
    let number = |name: &str| variable(name, notes)?.parse::<u32>().ok();
    ImdsSettings {
        endpoint: endpoint.unwrap_or_else(|| IMDS.to_owned()).trim_end_matches('/').to_owned(),
        v1_fallback: false,
        timeout: Duration::from_secs(number("AWS_METADATA_SERVICE_TIMEOUT").unwrap_or(1).max(1).into()),
        attempts: number("AWS_METADATA_SERVICE_NUM_ATTEMPTS").unwrap_or(1).clamp(1, 10),
    }
}

/// The endpoint of the container, if the variables have a valid one.
fn usable_container(notes: &Notes) -> Option<ContainerSettings> {
    let endpoint = container_endpoint(notes)?;
    ContainerSettings::check_endpoint(&endpoint).ok()?;
    Some(ContainerSettings { endpoint, token: container_token(notes) })
}
