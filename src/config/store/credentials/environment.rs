//! Credentials that Longshore's own environment provides. It does not change while the process runs, so it is checked
//! once, here.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    credentials::{
        ContainerSettings, ContainerToken, DefaultSettings, EnvironmentIdentity, ImdsSettings,
        ProfileSettings, ProviderSettings, check_imds_endpoint, check_sts_endpoint,
    },
    settings::{Flag, LocalPath, NotText, Notes, Number, Place, PlaceId, Scalar, UNTRUSTED},
};

use super::{
    forms::{RoleArn, SessionName},
    kind::Kind,
};

/// The URL of the EC2 instance metadata service.
const IMDS: &str = "http://169.254.169.254";

/// The host of ECS's credentials endpoint, which relative URIs belong to.
const ECS: &str = "http://169.254.170.2";

/// A variable, if it is set and not empty. Records a problem if it is not text.
fn variable(name: &str, notes: &Notes) -> Option<String> {
    let Ok(text) = notes.variables().text(name) else {
        notes.problem_at(Place::variable(name), NotText::TEXT);
        return None;
    };
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

/// The type that `from_env: true` implies: of an access key, of the identity that Kubernetes or ECS gives to the
/// container, of a profile, or of instance metadata, if a variable sets how it is reached.
pub(super) fn implied(place_id: PlaceId, notes: &Notes) -> Option<Kind> {
    let container = ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
    let imds = [IMDS_ENDPOINTS[0], IMDS_ENDPOINTS[1], IMDS_FALLBACK];
    let found = [
        (&["AWS_WEB_IDENTITY_TOKEN_FILE"][..], Kind::WebIdentity),
        (&container, Kind::Container),
        (&["AWS_DEFAULT_PROFILE", "AWS_PROFILE"], Kind::Profile),
        (&imds, Kind::Imds),
    ];
    if has_keys(notes) {
        return Some(Kind::Env);
    }
    let kind = found.into_iter().find(|(names, _)| names.iter().any(|name| is_set(name, notes)));
    if kind.is_none() {
        notes.problem(place_id, format!("{LACKING}: set both"));
    }
    kind.map(|(_, kind)| kind)
}

/// A variable that passes a check. Records a problem if it does not.
fn checked<T>(
    name: &str,
    check: impl Fn(&str) -> Result<T, String>,
    place_id: PlaceId,
    notes: &Notes,
) -> Option<T> {
    let text = variable(name, notes)?;
    check(&text).map_err(|why| notes.problem(place_id, format!("uses {name}, which is invalid: {why}"))).ok()
}

/// The URL of STS in the variable.
pub(super) fn sts_endpoint(place_id: PlaceId, notes: &Notes) -> Option<String> {
    url_variable("AWS_ENDPOINT_URL_STS", place_id, notes)
}

/// A variable with the URL of a service that gets tokens or credentials.
fn url_variable(name: &str, place_id: PlaceId, notes: &Notes) -> Option<String> {
    let check = |url: &str| check_sts_endpoint(url).map(|()| url.trim_end_matches('/').to_owned());
    checked(name, check, place_id, notes)
}

/// The name of a role's session in the variable.
pub(super) fn session_name(place_id: PlaceId, notes: &Notes) -> Option<String> {
    checked("AWS_ROLE_SESSION_NAME", SessionName::from_text, place_id, notes)
}

fn container_endpoint(notes: &Notes) -> Option<String> {
    let relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", notes);
    relative.map(|path| of_ecs(&path)).or_else(|| variable("AWS_CONTAINER_CREDENTIALS_FULL_URI", notes))
}

/// The URL of a path on the host of ECS.
pub(super) fn of_ecs(path: &str) -> String {
    format!("{ECS}/{}", path.trim_start_matches('/'))
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
            return Some(ProviderSettings::Container(ContainerSettings {
                endpoint,
                token: None,
                refuse_local: false,
            }));
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
    Some(ProviderSettings::Container(ContainerSettings { endpoint, token, refuse_local: false }))
}

/// The authorization token of the container, from a file or from the variable itself.
pub(super) fn container_token(notes: &Notes) -> Option<ContainerToken> {
    let file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", notes);
    file.map(|path| ContainerToken::File(path.into())).or_else(|| {
        let token = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN", notes)?;
        Some(ContainerToken::Value(token.as_str().into()))
    })
}

/// A profile of the shared files. What is `None` comes from the variables of the AWS SDKs. The metadata service is left
/// out.
pub(super) fn profile(
    name: Option<String>,
    config_file: Option<PathBuf>,
    credentials_file: Option<PathBuf>,
    endpoint: Option<String>,
    place_id: PlaceId,
    notes: &Notes,
) -> ProfileSettings {
    // botocore looks in this order.
    let name =
        name.or_else(|| variable("AWS_DEFAULT_PROFILE", notes)).or_else(|| variable("AWS_PROFILE", notes));
    let is_named = name.is_some();
    let file = |given: Option<PathBuf>, name: &str, usual: &str| {
        let given = given.map(|path| in_home(&path, notes)).or_else(|| path_variable(name, notes));
        given.unwrap_or_else(|| in_home(Path::new(usual), notes))
    };
    let has_container = container_endpoint(notes).is_some();
    let container = if has_container { container(None, place_id, notes) } else { None };
    ProfileSettings {
        name: name.unwrap_or_else(|| "default".to_owned()),
        is_named,
        config_file: file(config_file, "AWS_CONFIG_FILE", "~/.aws/config"),
        credentials_file: file(credentials_file, "AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        endpoint,
        container: container.and_then(|settings| match settings {
            ProviderSettings::Container(settings) => Some(settings),
            _ => None,
        }),
        imds: None,
        sso_cache: in_home(Path::new("~/.aws/sso/cache"), notes),
        sso_endpoint: url_variable("AWS_ENDPOINT_URL_SSO", place_id, notes),
        sso_oidc_endpoint: url_variable("AWS_ENDPOINT_URL_SSO_OIDC", place_id, notes),
    }
}

/// The places in which boto3 looks for credentials. If the settings name the profile, those of the environment are left
/// out, as in boto3.
pub(super) fn default(
    profile: ProfileSettings,
    names_profile: bool,
    boto_config: Option<&PathBuf>,
    place_id: PlaceId,
    notes: &Notes,
) -> DefaultSettings {
    let boto_config = boto_config.map(|path| in_home(path, notes));
    let boto2_files = match boto_config.or_else(|| path_variable("BOTO_CONFIG", notes)) {
        Some(path) => vec![path],
        None => ["/etc/boto.cfg", "~/.boto"].map(|path| in_home(Path::new(path), notes)).into(),
    };
    if names_profile {
        let web_identity = EnvironmentIdentity::default();
        return DefaultSettings { profile, uses_environment: false, web_identity, boto2_files };
    }
    // Records a problem for each variable that is not text.
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"] {
        let _ = variable(name, notes);
    }
    let token_file = variable("AWS_WEB_IDENTITY_TOKEN_FILE", notes).map(PathBuf::from);
    let web_identity = EnvironmentIdentity {
        role_arn: checked("AWS_ROLE_ARN", RoleArn::from_text, place_id, notes),
        token_file,
        session_name: session_name(place_id, notes),
    };
    DefaultSettings { profile, uses_environment: true, web_identity, boto2_files }
}

/// The path, where `~/` stands for the home directory.
pub(super) fn in_home(path: &Path, notes: &Notes) -> PathBuf {
    match (path.strip_prefix("~"), variable("HOME", notes)) {
        (Ok(below), Some(home)) => Path::new(&home).join(below),
        _ => path.to_owned(),
    }
}

/// A variable with a path, in which `$NAME`, `${NAME}` and `~/` are replaced, as in boto3.
fn path_variable(name: &str, notes: &Notes) -> Option<PathBuf> {
    let text = variable(name, notes)?;
    let mut expanded = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let braced = after.strip_prefix('{').and_then(|after| after.split_once('}'));
        let plain = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        let (name, remaining) = braced.unwrap_or_else(|| after.split_at(plain));
        if let Ok(Some(value)) = notes.variables().text(name) {
            expanded.push_str(value);
        } else {
            expanded.push('$');
            expanded.push_str(&after[..after.len() - remaining.len()]);
        }
        rest = remaining;
    }
    expanded.push_str(rest);
    Some(in_home(Path::new(&expanded), notes))
}

/// A whole number.
fn number<const MIN: u32, const MAX: u32>(name: &str, place_id: PlaceId, notes: &Notes) -> Option<u32> {
    checked(name, Number::<MIN, MAX>::from_text, place_id, notes)
}

/// Whether the metadata service must not be asked.
pub(super) fn disables_imds(notes: &Notes) -> bool {
    variable("AWS_EC2_METADATA_DISABLED", notes).is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// The variables with the URL of the metadata service: that of object_store, and that of the AWS SDKs.
pub(super) const IMDS_ENDPOINTS: [&str; 2] = ["AWS_METADATA_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT"];

/// The variables with the time limit and the number of attempts of requests to the metadata service.
pub(super) const IMDS_TIMEOUT: &str = "AWS_METADATA_SERVICE_TIMEOUT";
pub(super) const IMDS_ATTEMPTS: &str = "AWS_METADATA_SERVICE_NUM_ATTEMPTS";

/// Whether a variable is set.
pub(super) fn is_set(name: &str, notes: &Notes) -> bool {
    variable(name, notes).is_some()
}

const IMDS_FALLBACK: &str = "AWS_IMDSV1_FALLBACK";

/// The metadata service, as the variables describe it.
pub(super) fn imds(place_id: PlaceId, notes: &Notes) -> ImdsSettings {
    let check = |url: &str| check_imds_endpoint(url).map(|()| url.trim_end_matches('/').to_owned());
    let endpoint = IMDS_ENDPOINTS.into_iter().find(|name| is_set(name, notes));
    let endpoint = endpoint.and_then(|name| checked(name, check, place_id, notes));
    let timeout = number::<1, 3_600>(IMDS_TIMEOUT, place_id, notes);
    ImdsSettings {
        endpoint: endpoint.unwrap_or_else(|| IMDS.to_owned()),
        v1_fallback: checked(IMDS_FALLBACK, Flag::from_text, place_id, notes).unwrap_or(false),
        timeout: Duration::from_secs(timeout.unwrap_or(1).into()),
        attempts: number::<1, 10>(IMDS_ATTEMPTS, place_id, notes).unwrap_or(1),
    }
}
