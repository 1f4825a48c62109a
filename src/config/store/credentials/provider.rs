//! `credential_provider`: its settings, and which of them belong to which type.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::{
    credentials::{
        AssumeRoleSettings, ContainerSettings, ContainerToken, ImdsSettings, ProfileSettings,
        ProviderSettings, WebIdentitySettings, check_imds_endpoint, check_sts_endpoint,
    },
    s3::RegionName,
    settings::{
        AtLeast, Cursor, Field, FilePath, Flag, Form, Keyword, Keywords, List, LocalPath, Notes, Number,
        Optional, PlaceId, Scalar, Secret, SecretValue, Text, Timeout, UNTRUSTED, settings,
    },
};

use super::{
    Keys, environment,
    forms::{Command, ProviderUrl, RoleArn, SessionName, Tags, Time},
    kind::Kind,
    profile,
};

settings! {
    /// `credential_provider`.
    pub(in crate::config) struct Provider(ProviderLayer) {
        /// Where the credentials come from.
        kind = "type": Option<Kind> as Optional<Keyword<Kind>> = None => "required",
        /// `static`: the id of the access key.
        access_key_id: Option<SecretValue> as Optional<Secret> = None,
        /// `static`: the secret of the access key.
        secret_access_key: Option<SecretValue> as Optional<Secret> = None,
        /// `static`: the token of temporary credentials.
        session_token ["token"]: Option<SecretValue> as Optional<Secret> = None,
        /// `static`: when the credentials expire, as in 2030-01-02T03:04:05Z. Without this key, the expiry is unknown,
        /// and they are used until S3 rejects them.
        expires_at: Option<SystemTime> as Optional<Time> = None,
        /// `file`: a file with the JSON that `credential_process` commands print or with the lines of a shared
        /// credentials file, or a folder with the files `access_key_id`, `secret_access_key` and `session_token`. Read
        /// again every 5 s while there are calls.
        path: Option<LocalPath> as Optional<FilePath> = None,
        /// `process`: a command that prints credentials as JSON. It is split into words as a shell would split it, but
        /// no shell runs it. It must finish within 30 s.
        command: Option<Vec<String>> as Optional<Command> = None,
        /// `assume_role`, `web_identity`: the ARN of the role. Without this key, `web_identity` uses `AWS_ROLE_ARN`.
        role_arn: Option<String> as Optional<RoleArn> = None,
        /// `assume_role`, `web_identity`: the name of the session, which CloudTrail shows. Without this key,
        /// `web_identity` uses `AWS_ROLE_SESSION_NAME` if it is set.
        role_session_name ["session_name"]: String as SessionName = "longshore".to_owned(),
        /// `assume_role`, `web_identity`: how long the credentials are valid, from 15 minutes to 12 hours. STS rejects
        /// the request if this exceeds the role's maximum session duration.
        duration: Option<Duration> as Optional<AtLeast<900_000>> = None => "one hour",
        /// `assume_role`: the external id that the role's trust policy requires.
        external_id: Option<String> as Optional<Text> = None,
        /// `assume_role`: tags of the session, up to 50. In their values, `{tenant}` and `{store}` stand for the names
        /// of the tenant and the store.
        session_tags: Vec<(String, String)> as Tags = Vec::new() => "none",
        /// `assume_role`: the provider whose credentials sign the request for the role.
        source: Option<Box<Provider>> as Optional<Nested> = None => "required by `assume_role`",
        /// `profile`, `default`: the profile's name. Without this key, `AWS_DEFAULT_PROFILE` is used if it
        /// is set, or else `AWS_PROFILE`.
        profile ["name"]: Option<String> as Optional<Text> = None => "`default`",
        /// `profile`, `default`: the shared config file. Without this key, `AWS_CONFIG_FILE` is used if it is set.
        config_file: Option<LocalPath> as Optional<FilePath> = None => "`~/.aws/config`",
        /// `profile`, `default`: the shared credentials file. Without this key, `AWS_SHARED_CREDENTIALS_FILE` is used if
        /// it is set.
        shared_credentials_file: Option<LocalPath> as Optional<FilePath> = None => "`~/.aws/credentials`",
        /// `default`: the file of boto2. Without this key, `BOTO_CONFIG` is used if it is set.
        boto_config: Option<LocalPath> as Optional<FilePath> = None => "`/etc/boto.cfg` and `~/.boto`",
        /// `chain`: the providers to try, in this order, up to 16.
        sources ["chain"]: Option<Vec<Box<Provider>>> as Optional<List<Nested, 1, 16>> = None => "required by `chain`",
        /// `web_identity`: the file with the token of the identity; without this key, that in
        /// `AWS_WEB_IDENTITY_TOKEN_FILE`. `container`: the file with the authorization token; with neither this key nor
        /// `endpoint`, that in `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`, or else the token in
        /// `AWS_CONTAINER_AUTHORIZATION_TOKEN`. `grpc`: the file with a token that is sent as `authorization: Bearer
        /// TOKEN`; without this key, no token is sent. Read again for each request for credentials.
        token_file ["web_identity_token_file"]: Option<LocalPath> as Optional<FilePath> = None,
        /// `assume_role`, `web_identity`, `profile`, `default`: the URL of STS; without this key, all but `assume_role`
        /// use `AWS_ENDPOINT_URL_STS` if it is set. `imds`: the URL of the metadata service; without this key, that in
        /// `AWS_METADATA_ENDPOINT` or `AWS_EC2_METADATA_SERVICE_ENDPOINT`. `container`: the URL of the
        /// credentials endpoint; without this key, that in `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or
        /// `AWS_CONTAINER_CREDENTIALS_FULL_URI`. `grpc`: the address of the service, `https://HOST:PORT`, or
        /// `http://HOST:PORT` on this host; required.
        endpoint: Option<String> as Optional<ProviderUrl> = None => "that of AWS",
        /// `grpc`: a file with the CA certificates, in PEM, with which the service's certificate is verified. Read again
        /// for each request for credentials, as are `cert_file` and `key_file`.
        ca_file: Option<LocalPath> as Optional<FilePath> = None => "those of the system",
        /// `grpc`: a file with the certificate, in PEM, with which Longshore authenticates itself to the service. Needs
        /// `key_file`.
        cert_file: Option<LocalPath> as Optional<FilePath> = None,
        /// `grpc`: a file with the private key of `cert_file`, in PEM.
        key_file: Option<LocalPath> as Optional<FilePath> = None,
        /// `grpc`: the time limit of an attempt, at most 18 s.
        timeout: Duration as Timeout = Duration::from_secs(5),
        /// `assume_role`, `web_identity`: the region of STS.
        region: Option<String> as Optional<RegionName> = None => "the region of the store",
        /// `profile`, `default`: the URL of the metadata service. Without this key, `AWS_METADATA_ENDPOINT` or
        /// `AWS_EC2_METADATA_SERVICE_ENDPOINT` is used if it is set.
        metadata_endpoint: Option<String> as Optional<ProviderUrl> = None => "`http://169.254.169.254`",
        /// `imds`, `profile`, `default`: whether requests without a token (IMDSv1) are made if the service rejects the
        /// request for one. Without this key, `AWS_IMDSV1_FALLBACK` is used if it is set.
        imdsv1_fallback: Option<bool> as Optional<Flag> = None => "`false`",
        /// `imds`, `profile`, `default`: the time limit of an attempt. Without this key, `AWS_METADATA_SERVICE_TIMEOUT`,
        /// in seconds, is used if it is set, and then the setting of the profile.
        metadata_service_timeout: Option<Duration> as Optional<Timeout> = None => "`1s`",
        /// `imds`, `profile`, `default`: how many times each request is attempted, including the first. Without this
        /// key, `AWS_METADATA_SERVICE_NUM_ATTEMPTS` is used if it is set, and then the setting of the profile.
        metadata_service_num_attempts: Option<u32> as Optional<Number<1, 10>> = None => "`1`",
    }
    reject {
        "file" => "unknown key; set the path of the file as `path`",
    }
}

/// A provider within another one.
pub(in crate::config) struct Nested;

impl Form for Nested {
    type Layer = Box<ProviderLayer>;
    type Value = Box<Provider>;

    fn read(cursor: Cursor<'_>) -> Option<Box<ProviderLayer>> {
        Provider::read(cursor).map(Box::new)
    }

    fn resolve(layer: &Box<ProviderLayer>) -> Box<Provider> {
        Box::new(Provider::resolve(layer))
    }

    fn form() -> String {
        "mapping as `credential_provider`".to_owned()
    }

    fn schema() -> Value {
        json!({"$ref": "#/$defs/credential_provider"})
    }
}

/// The names that session tags can refer to, and that a `grpc` service gets.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Names<'a> {
    pub(in crate::config) tenant: &'a str,
    pub(in crate::config) store: &'a str,
}

impl ProviderLayer {
    /// The provider at `place_id`. Records problems; if there are any, the result may be `None`.
    pub(super) fn settle(
        &self,
        place_id: PlaceId,
        names: Names<'_>,
        notes: &Notes,
    ) -> Option<ProviderSettings> {
        if !self.kind.is_given() {
            let kinds: Vec<_> = Kind::KEYWORDS.iter().map(|(name, _)| *name).collect();
            notes.problem(place_id, format!("has no `type`: set it to one of {}", kinds.join(", ")));
        }
        let kind = *self.kind.get()?;
        self.check_keys(kind, notes);
        if let Some(resource) = kind.server_resource().filter(|_| !notes.trusts_author()) {
            let text = format!("`{}` uses {resource}, {UNTRUSTED}: use another type", kind.name());
            notes.problem(self.kind.place_id().unwrap_or(place_id), text);
            return None;
        }
        match kind {
            Kind::Static => self.keys(place_id, notes),
            Kind::Env => environment::keys(place_id, notes),
            Kind::Anonymous => Some(ProviderSettings::Anonymous),
            Kind::File => required(&self.path, "path", kind, place_id, notes).map(ProviderSettings::File),
            Kind::Process => {
                required(&self.command, "command", kind, place_id, notes).map(ProviderSettings::Process)
            }
            Kind::Container => self.container(place_id, notes),
            Kind::Imds => Some(ProviderSettings::Imds(self.imds(&self.endpoint, place_id, notes))),
            Kind::Grpc => self.grpc(place_id, names, notes),
            Kind::WebIdentity => self.web_identity(place_id, notes),
            Kind::AssumeRole => self.assume_role(place_id, names, notes),
            Kind::Profile => Some(ProviderSettings::Profile(self.profile(place_id, notes))),
            Kind::Default => Some(ProviderSettings::Default(environment::default(
                self.profile(place_id, notes),
                self.profile.is_given(),
                self.boto_config.get().cloned().and_then(LocalPath::unconfined).as_ref(),
                place_id,
                notes,
            ))),
            Kind::Chain => self.chain(place_id, names, notes),
        }
    }

    /// Records a problem for each key that does not belong to this type.
    fn check_keys(&self, kind: Kind, notes: &Notes) {
        use Kind::{
            AssumeRole, Chain, Container, Default, File, Grpc, Imds, Process, Profile, Static, WebIdentity,
        };
        let keys: [(Option<PlaceId>, &[Kind]); 28] = [
            (self.access_key_id.place_id(), &[Static]),
            (self.secret_access_key.place_id(), &[Static]),
            (self.session_token.place_id(), &[Static]),
            (self.expires_at.place_id(), &[Static]),
            (self.path.place_id(), &[File]),
            (self.command.place_id(), &[Process]),
            (self.role_arn.place_id(), &[AssumeRole, WebIdentity]),
            (self.role_session_name.place_id(), &[AssumeRole, WebIdentity]),
            (self.duration.place_id(), &[AssumeRole, WebIdentity]),
            (self.external_id.place_id(), &[AssumeRole]),
            (self.session_tags.place_id(), &[AssumeRole]),
            (self.source.place_id(), &[AssumeRole]),
            (self.profile.place_id(), &[Profile, Default]),
            (self.config_file.place_id(), &[Profile, Default]),
            (self.shared_credentials_file.place_id(), &[Profile, Default]),
            (self.sources.place_id(), &[Chain]),
            (self.token_file.place_id(), &[WebIdentity, Container, Grpc]),
            (self.endpoint.place_id(), &[AssumeRole, WebIdentity, Imds, Container, Profile, Default, Grpc]),
            (self.ca_file.place_id(), &[Grpc]),
            (self.cert_file.place_id(), &[Grpc]),
            (self.key_file.place_id(), &[Grpc]),
            (self.timeout.place_id(), &[Grpc]),
            (self.region.place_id(), &[AssumeRole, WebIdentity]),
            (self.boto_config.place_id(), &[Default]),
            (self.metadata_endpoint.place_id(), &[Profile, Default]),
            (self.imdsv1_fallback.place_id(), &[Imds, Profile, Default]),
            (self.metadata_service_timeout.place_id(), &[Imds, Profile, Default]),
            (self.metadata_service_num_attempts.place_id(), &[Imds, Profile, Default]),
        ];
        for (place_id, kinds) in keys {
            if let Some(place_id) = place_id.filter(|_| !kinds.contains(&kind)) {
                let names: Vec<_> = kinds.iter().map(|kind| format!("`type: {}`", kind.name())).collect();
                let names = names.join(" or ");
                notes.problem(place_id, format!("is only valid with {names}: remove it, or change the type"));
            }
        }
    }

    fn keys(&self, place_id: PlaceId, notes: &Notes) -> Option<ProviderSettings> {
        let keys =
            Keys { id: &self.access_key_id, secret: &self.secret_access_key, token: &self.session_token };
        if keys.place_id().is_none() {
            let text = "has `type: static` but no keys: set access_key_id and secret_access_key";
            notes.problem(place_id, text);
            return None;
        }
        let settled = keys.settle(notes)?;
        Some(match (settled, self.expires_at.get()) {
            (ProviderSettings::Static(keys), Some(expires_at)) => {
                ProviderSettings::Static(keys.expiring(*expires_at))
            }
            (settled, _) => settled,
        })
    }

    fn container(&self, place_id: PlaceId, notes: &Notes) -> Option<ProviderSettings> {
        let Some((endpoint, endpoint_at)) = self.endpoint.placed() else {
            return environment::container(self.token_file.get(), place_id, notes);
        };
        if let Err(why) = ContainerSettings::check_endpoint(endpoint) {
            notes.problem(endpoint_at, why);
        }
        // The token of the environment is for the endpoint of the environment only.
        let token = self.token_file.get().cloned().map(ContainerToken::File);
        Some(ProviderSettings::Container(ContainerSettings {
            endpoint: endpoint.clone(),
            token,
            refuse_local: !notes.trusts_author(),
        }))
    }

    fn imds(
        &self,
        endpoint: &Field<Optional<ProviderUrl>>,
        place_id: PlaceId,
        notes: &Notes,
    ) -> ImdsSettings {
        let variables = environment::imds(place_id, notes);
        ImdsSettings {
            endpoint: url(endpoint, check_imds_endpoint, notes).unwrap_or(variables.endpoint),
            v1_fallback: self.imdsv1_fallback.get().copied().unwrap_or(variables.v1_fallback),
            timeout: self.metadata_service_timeout.get().copied().unwrap_or(variables.timeout),
            attempts: self.metadata_service_num_attempts.get().copied().unwrap_or(variables.attempts),
        }
    }

    fn profile(&self, place_id: PlaceId, notes: &Notes) -> ProfileSettings {
        let file = |field: &Field<Optional<FilePath>>| field.get().cloned().and_then(LocalPath::unconfined);
        let mut profile = environment::profile(
            self.profile.get().cloned(),
            file(&self.config_file),
            file(&self.shared_credentials_file),
            self.sts(place_id, notes),
            place_id,
            notes,
        );
        if !environment::disables_imds(notes) {
            let imds = self.imds(&self.metadata_endpoint, place_id, notes);
            let own = profile::Given {
                endpoint: self.metadata_endpoint.is_given(),
                timeout: self.metadata_service_timeout.is_given(),
                attempts: self.metadata_service_num_attempts.is_given(),
            };
            profile.imds = Some(profile::imds(imds, own, &profile, place_id, notes));
        }
        profile
    }

    fn web_identity(&self, place_id: PlaceId, notes: &Notes) -> Option<ProviderSettings> {
        self.check_duration(notes);
        let role_arn = self.role_arn.get().cloned().or_else(|| {
            let role_arn = environment::required("AWS_ROLE_ARN", "role_arn", place_id, notes)?;
            RoleArn::from_text(&role_arn)
                .map_err(|why| notes.problem(place_id, format!("AWS_ROLE_ARN: {why}")))
                .ok()
        });
        let token_file = self.token_file.get().cloned().or_else(|| {
            environment::required("AWS_WEB_IDENTITY_TOKEN_FILE", "token_file", place_id, notes)
                .map(LocalPath::from)
        });
        Some(ProviderSettings::WebIdentity(WebIdentitySettings {
            role_arn: role_arn?,
            token_file: token_file?,
            session_name: self.session_name(place_id, notes),
            duration: self.duration.value().flatten(),
            endpoint: self.sts(place_id, notes),
            region: self.region.get().cloned(),
        }))
    }

    /// The name of a web identity's session: from the settings, or from the variable.
    fn session_name(&self, place_id: PlaceId, notes: &Notes) -> String {
        let given = self.role_session_name.get().cloned();
        given
            .or_else(|| environment::session_name(place_id, notes))
            .unwrap_or_else(|| Provider::resolve(self).role_session_name)
    }

    fn assume_role(&self, place_id: PlaceId, names: Names<'_>, notes: &Notes) -> Option<ProviderSettings> {
        self.check_duration(notes);
        let kind = Kind::AssumeRole;
        let role_arn = required(&self.role_arn, "role_arn", kind, place_id, notes);
        if !self.source.is_given() {
            notes.problem(place_id, missing(kind, "source"));
        }
        let source = self.source.placed().and_then(|(source, at)| source.nested(at, names, notes));
        let replaced = |text: &str| text.replace("{tenant}", names.tenant).replace("{store}", names.store);
        let tags = self.session_tags.get().into_iter().flatten();
        Some(ProviderSettings::AssumeRole(Box::new(AssumeRoleSettings {
            role_arn: role_arn?,
            session_name: Provider::resolve(self).role_session_name,
            external_id: self.external_id.get().cloned(),
            duration: self.duration.value().flatten(),
            session_tags: tags.map(|(name, value)| (name.clone(), replaced(value))).collect(),
            endpoint: url(&self.endpoint, check_sts_endpoint, notes),
            region: self.region.get().cloned(),
            source: source?,
        })))
    }

    fn chain(&self, place_id: PlaceId, names: Names<'_>, notes: &Notes) -> Option<ProviderSettings> {
        if self.sources.get().is_none_or(Vec::is_empty) {
            if !self.sources.is_given() || self.sources.get().is_some() {
                notes.problem(place_id, missing(Kind::Chain, "sources"));
            }
            return None;
        }
        let sources = self.sources.get()?.iter().filter_map(Field::placed);
        let settled: Vec<_> = sources.map(|(source, at)| source.nested(at, names, notes)).collect();
        settled.into_iter().collect::<Option<Vec<_>>>().map(ProviderSettings::Chain)
    }

    /// A provider within another one, which must have credentials.
    fn nested(&self, place_id: PlaceId, names: Names<'_>, notes: &Notes) -> Option<ProviderSettings> {
        if self.kind.get() == Some(&Kind::Anonymous) {
            notes.problem(place_id, "has `type: anonymous`, which has no credentials: use another type");
            return None;
        }
        self.settle(place_id, names, notes)
    }

    fn check_duration(&self, notes: &Notes) {
        if let Some((duration, place_id)) = self.duration.placed()
            && *duration > Duration::from_hours(12)
        {
            notes.problem(place_id, "must be at most 12 hours, which is STS's limit");
        }
    }

    /// The URL of STS: `endpoint`, or the variable.
    fn sts(&self, place_id: PlaceId, notes: &Notes) -> Option<String> {
        url(&self.endpoint, check_sts_endpoint, notes).or_else(|| environment::sts_endpoint(place_id, notes))
    }
}

/// A URL that passes a check.
pub(super) fn url(
    field: &Field<Optional<ProviderUrl>>,
    check: fn(&str) -> Result<(), String>,
    notes: &Notes,
) -> Option<String> {
    let (endpoint, place_id) = field.placed()?;
    if let Err(why) = check(endpoint) {
        notes.problem(place_id, why);
    }
    Some(endpoint.trim_end_matches('/').to_owned())
}

/// The value of a setting that a type requires.
pub(super) fn required<F: Form>(
    field: &Field<Optional<F>>,
    name: &str,
    kind: Kind,
    place_id: PlaceId,
    notes: &Notes,
) -> Option<F::Value> {
    if !field.is_given() {
        notes.problem(place_id, missing(kind, name));
    }
    field.value().flatten()
}

fn missing(kind: Kind, name: &str) -> String {
    format!("has `type: {}` but no `{name}`: set it", kind.name())
}
