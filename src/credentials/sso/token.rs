//! The file in which `aws sso login` stores a token.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use sha1::{Digest, Sha1};

use super::super::{CredentialsError, small_file};

/// A token, and what is needed to renew it. Does not implement `Debug`, because it contains secrets.
pub(super) struct StoredToken {
    pub(super) access_token: SecretString,
    expires_at: SystemTime,
    document: Map<String, Value>,
}

/// What a token is renewed with.
pub(super) struct Registration {
    pub(super) client_id: String,
    pub(super) client_secret: SecretString,
    pub(super) refresh_token: SecretString,
}

/// The file of the session, or of the start URL, `name`.
pub(super) fn path(cache: &Path, name: &str) -> PathBuf {
    use std::fmt::Write;
    let mut file = String::new();
    for byte in Sha1::digest(name) {
        // Writing to a string does not fail.
        let _ = write!(file, "{byte:02x}");
    }
    cache.join(format!("{file}.json"))
}

impl StoredToken {
    /// Reads the file. The error says what is wrong, and shows nothing of the file's contents.
    pub(super) async fn read(path: PathBuf) -> Result<Self, String> {
        if !path.exists() {
            return Err(format!("does not exist ({})", path.display()));
        }
        let text = small_file::read(&path).await.map_err(|error| format!("is unusable ({error})"))?;
        Self::parse(&text).ok_or_else(|| format!("is unusable ({} has an unknown form)", path.display()))
    }

    fn parse(text: &str) -> Option<Self> {
        let document: Map<String, Value> = serde_json::from_str(text).ok()?;
        let access_token = string(&document, "accessToken")?.into();
        let expires_at = time(string(&document, "expiresAt")?)?;
        Some(Self { access_token, expires_at, document })
    }

    pub(super) fn expires_within(&self, period: Duration) -> bool {
        self.expires_at <= SystemTime::now() + period
    }

    /// What the token is renewed with. The error says why that is impossible.
    pub(super) fn registration(&self) -> Result<Registration, String> {
        let given = |key: &str| string(&self.document, key).ok_or(format!("its file has no {key}"));
        let valid_until = time(given("registrationExpiresAt")?);
        if valid_until.is_none_or(|time| time <= SystemTime::now()) {
            return Err("the registration of the client has expired".to_owned());
        }
        Ok(Registration {
            client_id: given("clientId")?.to_owned(),
            client_secret: given("clientSecret")?.into(),
            refresh_token: given("refreshToken")?.into(),
        })
    }

    /// Replaces the file with one that has a new token, so that other programs use it too.
    pub(super) async fn save(
        &self,
        path: PathBuf,
        token: &SecretString,
        expires_at: SystemTime,
        refresh_token: Option<&SecretString>,
    ) -> Result<(), CredentialsError> {
        let mut document = self.document.clone();
        let expires_at = Timestamp::try_from(expires_at).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%SZ");
        document.insert("accessToken".to_owned(), token.expose_secret().into());
        document.insert("expiresAt".to_owned(), expires_at.to_string().into());
        if let Some(token) = refresh_token {
            document.insert("refreshToken".to_owned(), token.expose_secret().into());
        }
        let text = Value::Object(document).to_string();
        small_file::blocking(move || {
            replace(&path, &text).map_err(|error| {
                CredentialsError::new(format!("{} cannot be written: {error}", path.display()))
            })
        })
        .await
    }
}

/// Writes a file that only this user can read, and that readers never see half-written.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_extension("longshore");
    let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    drop(file);
    fs::rename(&new, path)
}

fn string<'a>(document: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    document.get(key)?.as_str().filter(|text| !text.is_empty())
}

/// Old versions of `aws` write UTC instead of Z.
fn time(text: &str) -> Option<SystemTime> {
    let text = text.strip_suffix("UTC").map_or_else(|| text.to_owned(), |time| format!("{time}Z"));
    text.parse::<Timestamp>().ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_named_as_botocore_names_it() {
        // hashlib.sha1(b"my-sso").hexdigest()
        let expected = "/cache/0ad374308c5a4e22f723adf10145eafad7c4031c.json";
        assert_eq!(path(Path::new("/cache"), "my-sso"), PathBuf::from(expected));
    }

    #[test]
    fn times_have_the_forms_of_old_and_new_versions_of_aws() {
        let expected = time("2030-01-02T03:04:05Z").unwrap();
        assert_eq!(time("2030-01-02T03:04:05UTC"), Some(expected));
        assert_eq!(time("2030-01-02T03:04:05+00:00"), Some(expected));
        assert_eq!(time("soon"), None);
    }

    #[tokio::test]
    async fn a_renewed_token_replaces_the_old_one_and_keeps_the_rest_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.json");
        let old =
            r#"{"accessToken": "old", "expiresAt": "2020-01-01T00:00:00Z", "clientId": "c", "region": "r"}"#;
        fs::write(&path, old).unwrap();
        let stored = StoredToken::read(path.clone()).await.unwrap();
        assert!(stored.expires_within(Duration::ZERO));
        assert!(stored.registration().is_err_and(|why| why.contains("registrationExpiresAt")));
        let later = SystemTime::now() + Duration::from_hours(1);
        stored.save(path.clone(), &"new".into(), later, Some(&"again".into())).await.unwrap();
        let new = StoredToken::read(path).await.unwrap();
        assert_eq!(new.access_token.expose_secret(), "new");
        assert!(!new.expires_within(Duration::from_mins(59)));
        assert_eq!(string(&new.document, "refreshToken"), Some("again"));
        assert_eq!(string(&new.document, "region"), Some("r"));
    }

    #[tokio::test]
    async fn errors_show_nothing_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.json");
        for text in ["hush", r#"{"accessToken": "hush"}"#, r#"{"accessToken": "hush", "expiresAt": "hush"}"#]
        {
            fs::write(&path, text).unwrap();
            let Err(why) = StoredToken::read(path.clone()).await else { panic!("{text}") };
            assert!(why.contains("token.json") && !why.contains("hush"), "{why}");
        }
    }
}
