//! A caller's `jwt`.

use std::{cell::RefCell, collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::{
    auth::{
        CallerJwt, Jwks as JwksPlace, JwksUrl, JwtSettings, KeySet, MAX_LEEWAY, check_pointer, check_url,
    },
    settings::{Cursor, FilePath, Flag, Form, LocalPath, Notes, Optional, Period, PlaceId, Text, settings},
    transport::CertificatesFile,
};

use super::store::ProviderUrl;

/// The largest number of claims that a caller compares.
const MAX_CLAIMS: usize = 16;

/// The largest number of different `jwks` of a tenant. A token that fits callers with many of them costs a signature
/// with each.
const MAX_SOURCES: usize = 8;

settings! {
    /// Which JWTs are a caller's.
    pub(super) struct Jwt(JwtSection) {
        /// The issuer: the claim `iss`, character by character.
        issuer: Option<String> as Optional<Text> = None => "required without `server`",
        /// The audience: the claim `aud`, or one of its items.
        audience: Option<String> as Optional<Text> = None => "required without `server`",
        /// Where the issuer's public keys are.
        jwks: Jwks as Jwks = Jwks::default() => "required without `server`",
        /// JSON pointers into the token's claims, such as `/kubernetes.io/namespace`, and the string that each must
        /// lead to, as the value or as an item of a list; 1 to 16 of them, all of which must match.
        claims: Vec<(String, String)> as Claims = Vec::new() => "required without `server`",
        /// How far the issuer's clock may differ from this one, for `exp`, `nbf` and `iat`; at most 5m.
        leeway: Duration as Period = Duration::from_secs(30),
        /// Whether the issuer is that of `LONGSHORE_JWT_ISSUER`, and tokens must name this tenant in the claim
        /// `LONGSHORE_JWT_TENANT_CLAIM`. Beside it, only `claims` may be set, and need not be.
        server: bool as Flag = false,
    }
}

settings! {
    /// Where the public keys of an issuer are: at a URL, or in a file.
    pub(super) struct Jwks(JwksSection) {
        /// The URL of the keys (`jwks_uri` of the issuer's discovery document), with https. Redirects are not followed.
        url: Option<String> as Optional<ProviderUrl> = None,
        /// A file with the bearer token for requests to `url`, read for each request.
        bearer_token_file: Option<LocalPath> as Optional<FilePath> = None,
        /// A file with CA certificates for `url` in PEM, in place of those of the system. Read with the tenants file.
        ca_file: Option<LocalPath> as Optional<FilePath> = None,
        /// A file with the keys, instead of `url`. Read with the tenants file, and again when it changes.
        file: Option<LocalPath> as Optional<FilePath> = None,
    }
}

/// JSON pointers and the values that they must lead to.
pub(super) struct Claims;

impl Form for Claims {
    type Layer = Vec<(String, String)>;
    type Value = Vec<(String, String)>;

    fn read(cursor: Cursor<'_>) -> Option<Self::Layer> {
        let mut claims = Vec::new();
        cursor.each_key(|pointer, value| {
            if let Err(why) = check_pointer(pointer) {
                value.note(format!("its key {why}"));
            } else if let Some(text) = Text::read(value) {
                claims.push((pointer.to_owned(), text));
            }
        })?;
        let count = cursor.pairs().map_or(0, <[_]>::len);
        if !(1..=MAX_CLAIMS).contains(&count) {
            cursor.note(format!("has {count} claims: expected 1 to {MAX_CLAIMS}"));
        }
        Some(claims)
    }

    fn resolve(layer: &Self::Layer) -> Self::Value {
        layer.clone()
    }

    fn form() -> String {
        "mapping of strings".to_owned()
    }

    fn schema() -> Value {
        json!({
            "type": "object",
            "additionalProperties": {"type": "string", "minLength": 1},
            "propertyNames": {"pattern": "^/"},
            "minProperties": 1,
            "maxProperties": MAX_CLAIMS,
        })
    }
}

/// The files with keys that have been read with one tenants file, so that each is read once, however many callers name
/// it.
#[derive(Clone, Default)]
pub(super) struct KeyFiles(RefCell<HashMap<PathBuf, Result<Arc<KeySet>, String>>>);

impl KeyFiles {
    /// The keys in a file. The error says why they cannot be used.
    fn read(&self, path: &LocalPath, notes: &Notes) -> Result<Arc<KeySet>, String> {
        if notes.variables().skip_secrets() {
            return Ok(Arc::new(KeySet::not_read()));
        }
        let mut read = self.0.borrow_mut();
        read.entry(path.path().to_owned()).or_insert_with(|| read_keys(path, notes)).clone()
    }
}

fn read_keys(path: &LocalPath, notes: &Notes) -> Result<Arc<KeySet>, String> {
    let shown = path.path().display();
    let jwks = notes.read_file(path, KeySet::MAX_BYTES + 1);
    let jwks = jwks.map_err(|error| format!("cannot read {shown}: {error}"))?;
    KeySet::parse(&jwks).map(Arc::new).map_err(|error| format!("cannot use {shown}: {error}"))
}

/// The different `jwks` of a tenant. Those beyond the limit are not read.
pub(super) struct Sources<'a> {
    different: Vec<Source>,
    has_more: bool,
    files: &'a KeyFiles,
}

#[derive(PartialEq)]
enum Source {
    File(PathBuf),
    Url { url: String, bearer_token_file: Option<LocalPath>, ca_file: Option<LocalPath> },
}

impl<'a> Sources<'a> {
    pub(super) fn new(files: &'a KeyFiles) -> Self {
        Self { different: Vec::new(), has_more: false, files }
    }

    /// Counts a source. `None` if there are too many.
    fn count(&mut self, source: Source) -> Option<()> {
        if self.different.contains(&source) {
            return Some(());
        }
        self.has_more |= self.different.len() >= MAX_SOURCES;
        (!self.has_more).then(|| self.different.push(source))
    }

    /// Records a problem if the tenant, which is at `tenant`, has too many.
    pub(super) fn check_number(&self, tenant: PlaceId, notes: &Notes) {
        if self.has_more {
            notes.problem(
                tenant,
                format!(
                    "has more than {MAX_SOURCES} different `jwks`: at most {MAX_SOURCES} are allowed, because each may \
                     have to verify a token"
                ),
            );
        }
    }
}

impl JwtSection {
    /// The settings. `None` if there is a problem, which has been recorded. `place_id` is that of `jwt`.
    pub(super) fn settle(
        &self,
        place_id: PlaceId,
        sources: &mut Sources<'_>,
        notes: &Notes,
    ) -> Option<CallerJwt> {
        if self.server.value() == Some(true) {
            return Some(self.of_server(place_id, notes));
        }
        self.own(place_id, sources, notes).map(CallerJwt::Own)
    }

    /// Tokens of the server's issuer. Unlike other variables, untrusted authors may use this one: it lets them grant
    /// access to their own tenant only.
    fn of_server(&self, place_id: PlaceId, notes: &Notes) -> CallerJwt {
        let others =
            [self.issuer.place_id(), self.audience.place_id(), self.jwks.place_id(), self.leeway.place_id()];
        for place_id in others.into_iter().flatten() {
            notes.problem(place_id, "conflicts with `server: true`: remove one of the two");
        }
        if !notes.variables().server_has("LONGSHORE_JWT_ISSUER") && !notes.variables().skip_secrets() {
            let place_id = self.server.place_id().unwrap_or(place_id);
            notes.problem(place_id, "needs LONGSHORE_JWT_ISSUER, which is not set");
        }
        CallerJwt::Server(self.claims.get().cloned().unwrap_or_default())
    }

    /// Tokens of an issuer that the tenant names.
    fn own(&self, place_id: PlaceId, sources: &mut Sources<'_>, notes: &Notes) -> Option<JwtSettings> {
        let required = [
            (self.issuer.is_given(), "issuer", "the issuer of the tokens, as in their claim `iss`"),
            (self.audience.is_given(), "audience", "what the claim `aud` of the tokens contains"),
            (self.jwks.is_given(), "jwks", "{url: …} or {file: …}"),
            (self.claims.is_given(), "claims", "at least one claim, such as {/sub: NAME}"),
        ];
        for (_, key, expected) in required.into_iter().filter(|(is_given, ..)| !is_given) {
            notes.problem(place_id, format!("has no `{key}`: set it to {expected}"));
        }
        let leeway = self.leeway.value().unwrap_or(Jwt::default().leeway);
        if let Some(place_id) = self.leeway.place_id().filter(|_| leeway > MAX_LEEWAY) {
            notes.problem(place_id, "must be at most 5m");
        }
        Some(JwtSettings {
            issuer: self.issuer.get()?.clone(),
            audience: self.audience.get()?.clone(),
            jwks: self.jwks.placed().and_then(|(jwks, place_id)| jwks.settle(place_id, sources, notes))?,
            claims: self.claims.get()?.clone(),
            leeway,
        })
    }
}

impl JwksSection {
    fn settle(&self, place_id: PlaceId, sources: &mut Sources<'_>, notes: &Notes) -> Option<JwksPlace> {
        if self.url.is_given() == self.file.is_given() {
            notes.problem(place_id, "expected either `url` or `file`");
            return None;
        }
        let of_url = [self.bearer_token_file.place_id(), self.ca_file.place_id()];
        for place_id in of_url.into_iter().flatten().filter(|_| self.file.is_given()) {
            notes.problem(place_id, "has no effect without `url`: remove it");
        }
        if let Some((file, place_id)) = self.file.placed() {
            sources.count(Source::File(file.path().to_owned()))?;
            let keys = sources.files.read(file, notes);
            return keys.map_err(|why| notes.problem(place_id, why)).ok().map(JwksPlace::File);
        }
        let (url, place_id) = self.url.placed()?;
        if let Err(why) = check_url(url) {
            notes.problem(place_id, why);
            return None;
        }
        let (url, bearer_token_file) = ((*url).clone(), self.bearer_token_file.get().cloned());
        let ca_file = self.ca_file.get().cloned();
        let (bearer, file) = (bearer_token_file.clone(), ca_file.clone());
        sources.count(Source::Url { url: url.clone(), bearer_token_file: bearer, ca_file: file })?;
        let ca = match self.ca_file.placed() {
            Some((file, place_id)) => {
                let read = CertificatesFile::read(file.clone(), notes);
                Some(read.map_err(|why| notes.problem(place_id, why)).ok()?)
            }
            None => None,
        };
        Some(JwksPlace::Url(Arc::new(JwksUrl {
            url,
            bearer_token_file,
            ca,
            refuse_local: !notes.trusts_author(),
        })))
    }
}
