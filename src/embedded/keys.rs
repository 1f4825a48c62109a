//! The access keys of an embedded server, which are generated once and kept in a file.
//!
//! AWS's own tools can read the file (`AWS_SHARED_CREDENTIALS_FILE`), so the secret does not have to be on a command
//! line. The keys of every profile in the file can sign requests.

use std::{fmt, fs, io, sync::Arc};

use rustls::crypto::aws_lc_rs;
use s3s::{
    S3Result,
    auth::{S3Auth, SecretKey},
    s3_error,
};
use secrecy::{ExposeSecret, SecretString};

use super::{
    EmbeddedError,
    folder::{Folder, write_private},
};

const FILE: &str = "credentials";
const ID: &str = "aws_access_key_id";
const SECRET: &str = "aws_secret_access_key";

/// The keys that can sign requests. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    /// The pair that the server reports as its own. There is always one.
    first: Arc<KeyPair>,
    others: Arc<[KeyPair]>,
}

/// An access key id and its secret.
struct KeyPair {
    access_key_id: String,
    secret_access_key: SecretString,
}

impl Keys {
    /// Reads the keys of the folder, or generates them if the folder has none.
    pub(super) fn of(folder: &Folder) -> Result<Self, EmbeddedError> {
        let path = folder.file(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).map_err(|reason| EmbeddedError::Keys { path, reason }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = KeyPair::random()?;
                write_private(&path, made.to_text().expose_secret().as_bytes()).map_err(|source| {
                    EmbeddedError::Folder { what: "write the access keys to", path, source }
                })?;
                Ok(Self { first: Arc::new(made), others: Arc::from([]) })
            }
            Err(source) => Err(EmbeddedError::Folder { what: "read the access keys from", path, source }),
        }
    }

    /// Parses a shared credentials file. The server reports the keys of `[default]`, as AWS's tools do, or else the
    /// first keys.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut pairs: Vec<KeyPair> = Vec::new();
        let mut default = 0;
        for (name, profile) in profiles(text) {
            let Some(pair) = KeyPair::of_profile(&profile)? else { continue };
            if pairs.iter().any(|known| known.access_key_id == pair.access_key_id) {
                return Err("two profiles have the same aws_access_key_id");
            }
            if name == "default" {
                default = pairs.len();
            }
            pairs.push(pair);
        }
        if pairs.is_empty() {
            return Err("no profile has an aws_access_key_id");
        }
        let first = Arc::new(pairs.swap_remove(default));
        Ok(Self { first, others: pairs.into() })
    }

    pub(super) fn access_key_id(&self) -> &str {
        &self.first.access_key_id
    }

    pub(super) fn secret_access_key(&self) -> &str {
        self.first.secret_access_key.expose_secret()
    }
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        std::iter::once(&*self.first)
            .chain(self.others.iter())
            .find(|pair| pair.access_key_id == access_key)
            .map(|pair| SecretKey::from(pair.secret_access_key.expose_secret()))
            .ok_or_else(|| {
                s3_error!(
                    InvalidAccessKeyId,
                    "The AWS Access Key Id you provided does not exist in our records."
                )
            })
    }
}

impl KeyPair {
    /// Generates an id of 20 characters and a secret of 40, the lengths of AWS's own.
    fn random() -> Result<Self, EmbeddedError> {
        let (mut id, mut secret) = ([0; 6], [0; 20]);
        let provider = aws_lc_rs::default_provider();
        for bytes in [&mut id[..], &mut secret[..]] {
            provider.secure_random.fill(bytes).map_err(|_| EmbeddedError::NoRandomness)?;
        }
        Ok(Self {
            access_key_id: format!("LONGSHOR{}", hex::encode_upper(id)),
            secret_access_key: hex::encode(secret).into(),
        })
    }

    fn to_text(&self) -> SecretString {
        let (id, secret) = (&self.access_key_id, self.secret_access_key.expose_secret());
        format!("[default]\n{ID} = {id}\n{SECRET} = {secret}\n").into()
    }

    /// Returns `None` for a profile without keys: AWS's tools also write profiles that have only a region or a role.
    fn of_profile(profile: &[(&str, &str)]) -> Result<Option<Self>, &'static str> {
        let value = |name| {
            profile.iter().find(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| *value)
        };
        match (value(ID), value(SECRET)) {
            (Some(id), Some(secret)) => {
                Ok(Some(Self { access_key_id: id.to_owned(), secret_access_key: secret.into() }))
            }
            (None, Some(_)) => Err("a profile has an aws_secret_access_key but no aws_access_key_id"),
            (Some(_), None) => Err("a profile has an aws_access_key_id but no aws_secret_access_key"),
            (None, None) => Ok(None),
        }
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// The profiles of a shared credentials file, with their settings. Settings above the first profile belong to a profile
/// without a name.
fn profiles(text: &str) -> Vec<(&str, Vec<(&str, &str)>)> {
    let mut profiles = vec![("", Vec::new())];
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            profiles.push((name.trim(), Vec::new()));
        } else if let (Some((name, value)), Some((_, settings))) = (line.split_once('='), profiles.last_mut())
        {
            settings.push((name.trim(), value.trim()));
        }
    }
    profiles
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "[ci]\naws_access_key_id = ID1\naws_secret_access_key = one\n\n# ours\n[default]\n\
                       aws_access_key_id=ID2\naws_secret_access_key=two=2\nregion = us-east-1\n[role]\n\
                       role_arn = x\n";

    #[tokio::test]
    async fn every_profile_can_sign_and_the_default_profile_is_reported() {
        let keys = Keys::parse(TWO).unwrap();
        assert_eq!((keys.access_key_id(), keys.secret_access_key()), ("ID2", "two=2"));
        assert_eq!(keys.get_secret_key("ID1").await.unwrap().expose(), "one");
        assert_eq!(keys.get_secret_key("ID2").await.unwrap().expose(), "two=2");
        let unknown = keys.get_secret_key("ID3").await.unwrap_err();
        assert_eq!(unknown.code().as_str(), "InvalidAccessKeyId");
        assert_eq!(Keys::parse(&TWO.replace("default", "other")).unwrap().access_key_id(), "ID1");
    }

    #[test]
    fn secrets_are_not_in_debug_output() {
        let debug = format!("{:?}", Keys::parse(TWO).unwrap());
        assert!(debug.contains("ID1") && !debug.contains("one") && !debug.contains("two"), "{debug}");
    }

    #[test]
    fn errors_say_what_is_wrong_with_the_file() {
        let wrong = |text| Keys::parse(text).unwrap_err();
        assert_eq!(wrong("[default]\n"), "no profile has an aws_access_key_id");
        assert_eq!(
            wrong("[default]\naws_access_key_id = ID1\n[a]\naws_secret_access_key = x"),
            "a profile has an aws_access_key_id but no aws_secret_access_key"
        );
        assert_eq!(wrong(&TWO.replace("ID2", "ID1")), "two profiles have the same aws_access_key_id");
    }
}
