//! The file in which `aws sso login` stores a token.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use sha1::{Digest, Sha1};

use super::super::{CredentialsError, small_file};

/// A token, and what is needed to renew it. Does not implement `Debug`, because it contains secrets.
#[derive(Clone)]
pub(super) struct StoredToken {
    pub(super) access_token: SecretString,
    /// The token that the file had: another one than `access_token` if this is the result of a renewal.
    in_file: SecretString,
    expires_at: SystemTime,
    document: Map<String, Value>,
}

/// What a token is renewed with.
pub(super) struct Registration {
    pub(super) client_id: String,
    pub(super) client_secret: SecretString,
    pub(super) refresh_token: SecretString,
}

/// The renewals of the token in one file.
#[derive(Default)]
pub(super) struct Renewals {
    /// Renewals happen one at a time, because a refresh token may be valid only once.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// The latest token, unless it was saved.
    unsaved: Mutex<Option<StoredToken>>,
}

/// The renewals by file. Entries are not removed, because there are few files.
static RENEWALS: Mutex<BTreeMap<PathBuf, Arc<Renewals>>> = Mutex::new(BTreeMap::new());

impl Renewals {
    pub(super) fn of(path: &Path) -> Arc<Self> {
        Arc::clone(locked(&RENEWALS).entry(path.to_owned()).or_default())
    }

    /// Keeps a token that is not saved yet.
    pub(super) fn keep(&self, token: StoredToken) {
        *locked(&self.unsaved) = Some(token);
    }

    /// Forgets the token that was kept.
    pub(super) fn forget(&self) {
        *locked(&self.unsaved) = None;
    }

    /// The token that was kept, if it is a later one than `found`, and the file has not got another one since.
    pub(super) fn latest(&self, found: StoredToken) -> StoredToken {
        let later = |kept: &&StoredToken| kept.replaces(&found) && kept.expires_at > found.expires_at;
        locked(&self.unsaved).as_ref().filter(later).cloned().unwrap_or(found)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        let access_token = SecretString::from(string(&document, "accessToken")?);
        let expires_at = time(string(&document, "expiresAt")?)?;
        Some(Self { in_file: access_token.clone(), access_token, expires_at, document })
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

    /// The result of a renewal. It has the old refresh token if there is no new one.
    pub(super) fn renewed(
        &self,
        access_token: SecretString,
        expires_at: SystemTime,
        refresh_token: Option<&SecretString>,
    ) -> Self {
        let mut document = self.document.clone();
        let time = Timestamp::try_from(expires_at).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%SZ");
        document.insert("accessToken".to_owned(), access_token.expose_secret().into());
        document.insert("expiresAt".to_owned(), time.to_string().into());
        if let Some(token) = refresh_token {
            document.insert("refreshToken".to_owned(), token.expose_secret().into());
        }
        Self { access_token, in_file: self.in_file.clone(), expires_at, document }
    }

    /// Whether this is for a file that still has the token of `found`.
    fn replaces(&self, found: &Self) -> bool {
        self.in_file.expose_secret() == found.access_token.expose_secret()
    }

    /// Replaces the file, so that other programs use the new token too. A file that has got another token since it was
    /// read is left as it is: someone has logged in.
    pub(super) async fn save(self, path: PathBuf) -> Result<(), CredentialsError> {
        small_file::blocking(move || self.save_now(&path)).await
    }

    fn save_now(&self, path: &Path) -> Result<(), CredentialsError> {
        let found = Self::parse(&small_file::read_now(path.to_owned())?);
        let failed = |why: String| CredentialsError::new(format!("{} {why}", path.display()));
        if !self.replaces(&found.ok_or_else(|| failed("has an unknown form".to_owned()))?) {
            return Ok(());
        }
        let text = Value::Object(self.document.clone()).to_string();
        replace(path, &text).map_err(|error| failed(format!("cannot be written: {error}")))
    }
}

/// Writes a file that only this user can read, and that readers never see half-written.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    // Other processes may be writing the same file.
    let new = path.with_extension(format!("{:032x}.longshore", fastrand::u128(..)));
    let file = fs::File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    let replaced = write(file, text).and_then(|()| fs::rename(&new, path));
    if replaced.is_err() {
        // The first error says more than one of the removal.
        let _ = fs::remove_file(&new);
    }
    replaced
}

fn write(mut file: fs::File, text: &str) -> std::io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.sync_all()
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
        let renewed = stored.renewed("new".into(), later, Some(&"again".into()));
        renewed.save(path.clone()).await.unwrap();
        let new = StoredToken::read(path).await.unwrap();
        assert_eq!(new.access_token.expose_secret(), "new");
        assert!(!new.expires_within(Duration::from_mins(59)));
        assert_eq!(string(&new.document, "refreshToken"), Some("again"));
        assert_eq!(string(&new.document, "region"), Some("r"));
    }

    #[tokio::test]
    async fn a_file_with_another_token_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.json");
        let old = r#"{"accessToken": "old", "expiresAt": "2020-01-01T00:00:00Z"}"#;
        fs::write(&path, old).unwrap();
        let later = SystemTime::now() + Duration::from_hours(1);
        let renewed = StoredToken::read(path.clone()).await.unwrap().renewed("new".into(), later, None);
        let login = old.replace("old", "login");
        fs::write(&path, &login).unwrap();
        renewed.clone().save(path.clone()).await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), login);
        let renewals = Renewals::default();
        renewals.keep(renewed);
        let used = |text: &str| renewals.latest(StoredToken::parse(text).unwrap()).access_token;
        assert_eq!(used(&login).expose_secret(), "login", "someone has logged in");
        assert_eq!(used(old).expose_secret(), "new");
        assert_eq!(used(&old.replace("2020", "2199")).expose_secret(), "old", "it expires later");
    }

    #[test]
    fn files_are_replaced_by_private_ones_and_nothing_else_is_left() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.json");
        replace(&path, "text").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // A file cannot replace a folder.
        let taken = folder.path().join("taken.json");
        fs::create_dir(&taken).unwrap();
        assert!(replace(&taken, "text").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
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
