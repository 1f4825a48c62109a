//! Credentials that Longshore's own environment provides. It does not change while the process runs, so it is checked
//! once, here.

use std::path::PathBuf;

use crate::{
    credentials::{ContainerSettings, ContainerToken, ProviderSettings, WebIdentitySettings},
    settings::{Notes, PlaceId, Scalar, quoted},
};

use super::forms::{RoleArn, SessionName};

/// Variables of credential sources that this version does not support.
const UNSUPPORTED: &[(&str, &str)] = &[("AWS_PROFILE", "profiles")];

/// The host of ECS's credentials endpoint, which relative URIs belong to.
const ECS: &str = "http://169.254.170.2";

/// A variable, if it is set and not empty.
fn variable(name: &str, notes: &Notes) -> Option<String> {
    let text = notes.variables().text(name).ok()?;
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A variable that replaces the setting `key`.
pub(super) fn required(name: &str, key: &str, place_id: PlaceId, notes: &Notes) -> Option<String> {
    let found = variable(name, notes);
    if found.is_none() && !notes.variables().skip_secrets() {
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
    let unsupported = UNSUPPORTED.iter().find(|(name, _)| variable(name, notes).is_some());
    let hint = unsupported.map_or_else(String::new, |(name, source)| {
        format!(" ({name} is set, but {source} are not supported by this version)")
    });
    notes.problem(place_id, format!("{LACKING}: set both{hint}"));
    None
}

fn web_identity(place_id: PlaceId, notes: &Notes) -> Option<ProviderSettings> {
    let checked = |name: &str, check: fn(&str) -> Result<String, String>| {
        let text = variable(name, notes)?;
        check(&text).map_err(|why| notes.problem(place_id, format!("{name}: {why}"))).ok()
    };
    let token_file =
        required("AWS_WEB_IDENTITY_TOKEN_FILE", "token_file", place_id, notes).map(PathBuf::from);
    required("AWS_ROLE_ARN", "role_arn", place_id, notes)?;
    let session_name = checked("AWS_ROLE_SESSION_NAME", SessionName::from_text);
    Some(ProviderSettings::WebIdentity(WebIdentitySettings {
        role_arn: checked("AWS_ROLE_ARN", RoleArn::from_text)?,
        token_file: token_file?,
        session_name: session_name.unwrap_or_else(|| "longshore".to_owned()),
        duration: None,
        endpoint: variable("AWS_ENDPOINT_URL_STS", notes),
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
    token_file: Option<&PathBuf>,
    place_id: PlaceId,
    notes: &Notes,
) -> Option<ProviderSettings> {
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
        let text = format!("AWS_CONTAINER_CREDENTIALS_FULL_URI {why}, found {}", quoted(&endpoint));
        notes.problem(place_id, text);
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
