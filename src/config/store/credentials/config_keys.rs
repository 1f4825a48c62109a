//! Keys of `config` that describe where credentials come from, as object_store has them. Each stands for a key of
//! `credential_provider`.

use crate::settings::{Field, Form, Notes, Optional, PlaceId, Scalar as _, Text};

use super::{
    super::config_section::ConfigSection,
    environment,
    forms::ProviderUrl,
    kind::Kind::{self, AssumeRole, Container, Default, Imds, Profile, WebIdentity},
    provider::ProviderLayer,
};

/// The type that keys of `config` imply, with the place of the key that does. Their order is object_store's.
pub(super) fn implied(config: &ConfigSection) -> Option<(Kind, PlaceId)> {
    let ConfigSection { role_arn, web_identity_token_file, .. } = config;
    let ConfigSection { container_credentials_relative_uri, container_credentials_full_uri, .. } = config;
    let ConfigSection { profile, aws_config_file, shared_credentials_file, .. } = config;
    let ConfigSection { metadata_endpoint, imdsv1_fallback, .. } = config;
    let ConfigSection { metadata_service_timeout, metadata_service_num_attempts, .. } = config;
    [
        (WebIdentity, web_identity_token_file.place_id().or(role_arn.place_id())),
        (Container, container_credentials_relative_uri.place_id()),
        (Container, container_credentials_full_uri.place_id()),
        (Profile, profile.place_id().or(aws_config_file.place_id()).or(shared_credentials_file.place_id())),
        (Imds, metadata_endpoint.place_id().or(imdsv1_fallback.place_id())),
        (Imds, metadata_service_timeout.place_id().or(metadata_service_num_attempts.place_id())),
    ]
    .into_iter()
    .find_map(|(kind, place_id)| Some((kind, place_id?)))
}

/// Records a problem if a web identity lacks one of its two parts, which variables supply if `from_env` is set. Returns
/// whether it has both.
pub(super) fn check_web_identity(
    config: &ConfigSection,
    from_env: bool,
    place_id: PlaceId,
    notes: &Notes,
) -> bool {
    let supplies =
        |name: &str| from_env && (notes.variables().skip_secrets() || environment::is_set(name, notes));
    if !config.web_identity_token_file.is_given() && !supplies("AWS_WEB_IDENTITY_TOKEN_FILE") {
        notes.problem(
            place_id,
            "requires web_identity_token_file; for a role that is assumed with other credentials, set \
             `credential_provider: {type: assume_role}`",
        );
        return false;
    }
    if !config.role_arn.is_given() && !supplies("AWS_ROLE_ARN") {
        notes.problem(place_id, "requires role_arn: set it");
        return false;
    }
    true
}

/// Adds keys of `config` to the settings of a provider.
struct Filling<'a> {
    kind: Kind,
    /// What the keys that do not belong to this type conflict with.
    conflict: &'a str,
    notes: &'a Notes,
}

/// The provider with the keys of `config` that its type uses. Records a problem for all others.
pub(super) fn filled(
    provider: &ProviderLayer,
    config: &ConfigSection,
    conflict: &str,
    notes: &Notes,
) -> ProviderLayer {
    let mut provider = provider.clone();
    // An invalid type has been reported.
    let Some(kind) = provider.kind.get().copied() else { return provider };
    let filling = Filling { kind, conflict, notes };
    let to = &mut provider;
    filling.key(&config.role_arn, &[AssumeRole, WebIdentity], &mut to.role_arn);
    filling.key(&config.role_session_name, &[AssumeRole, WebIdentity], &mut to.role_session_name);
    filling.key(&config.web_identity_token_file, &[WebIdentity], &mut to.token_file);
    filling.key(&config.endpoint_url_sts, &[AssumeRole, WebIdentity, Profile, Default], &mut to.endpoint);
    filling.key(&config.profile, &[Profile, Default], &mut to.profile);
    filling.key(&config.aws_config_file, &[Profile, Default], &mut to.config_file);
    filling.key(&config.shared_credentials_file, &[Profile, Default], &mut to.shared_credentials_file);
    filling.key(&config.boto2_file, &[Default], &mut to.boto_config);
    let path = relative(&config.container_credentials_relative_uri, notes);
    filling.key(&path, &[Container], &mut to.endpoint);
    filling.key(&config.container_credentials_full_uri, &[Container], &mut to.endpoint);
    filling.key(&config.container_authorization_token_file, &[Container], &mut to.token_file);
    let endpoint = if kind == Imds { &mut to.endpoint } else { &mut to.metadata_endpoint };
    let metadata = &[Imds, Profile, Default];
    filling.key(&config.metadata_endpoint, metadata, endpoint);
    filling.key(&config.imdsv1_fallback, metadata, &mut to.imdsv1_fallback);
    filling.key(&config.metadata_service_timeout, metadata, &mut to.metadata_service_timeout);
    filling.key(&config.metadata_service_num_attempts, metadata, &mut to.metadata_service_num_attempts);
    provider
}

impl Filling<'_> {
    fn key<F: Form, G: Form<Layer = F::Layer>>(&self, from: &Field<F>, kinds: &[Kind], to: &mut Field<G>) {
        let Some(place_id) = from.place_id() else { return };
        if !kinds.contains(&self.kind) {
            let conflict = self.conflict;
            let text =
                format!("conflicts with {conflict}, which does not use this key: remove one of the two");
            self.notes.problem(place_id, text);
        } else if to.is_given() {
            self.notes.problem(place_id, "is also set by another key: remove one of the two");
        } else {
            *to = from.clone().retyped();
        }
    }
}

/// The URL of a path on ECS's host.
fn relative(path: &Field<Optional<Text>>, notes: &Notes) -> Field<Optional<ProviderUrl>> {
    let Some((path, place_id)) = path.placed() else { return path.clone().retyped() };
    let admitted = ProviderUrl::admit(environment::of_ecs(path), notes);
    let url = admitted.map_err(|why| notes.problem(place_id, why)).unwrap_or_default();
    Field::derived(url, Some(place_id))
}
