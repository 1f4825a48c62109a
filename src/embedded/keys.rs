//! The one access key pair of an embedded server, made once and kept.
//!
//! The file is one that AWS's own tools read (`AWS_SHARED_CREDENTIALS_FILE`), so that nobody needs to put
//! the secret on a command line.

use std::{fmt, fs, io};

use rustls::crypto::aws_lc_rs;
use secrecy::{ExposeSecret, SecretString};

use super::{
    EmbeddedError,
    folder::{Folder, write_private},
};

const FILE: &str = "credentials";
const ID: &str = "aws_access_key_id";
const SECRET: &str = "aws_secret_access_key";

/// An access key id and its secret.
pub(super) struct KeyPair {
    access_key_id: String,
    secret_access_key: SecretString,
}

impl KeyPair {
    /// The folder's keys, made now if it has none.
    pub(super) fn of(folder: &Folder) -> Result<Self, EmbeddedError> {
        let path = folder.file(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).map_err(|reason| EmbeddedError::Keys { path, reason }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = Self::random()?;
                write_private(&path, made.to_text().expose_secret().as_bytes())
                    .map_err(|source| EmbeddedError::Folder { what: "write the keys to", path, source })?;
                Ok(made)
            }
            Err(source) => Err(EmbeddedError::Folder { what: "read the keys in", path, source }),
        }
    }

    pub(super) fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    pub(super) fn secret_access_key(&self) -> &str {
        self.secret_access_key.expose_secret()
    }

    /// 20 and 40 characters, as AWS's own have.
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
        let (id, secret) = (self.access_key_id(), self.secret_access_key());
        format!("[default]\n{ID} = {id}\n{SECRET} = {secret}\n").into()
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let value = |name| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .find(|(key, _)| key.trim() == name)
                .map(|(_, value)| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        Ok(Self {
            access_key_id: value(ID).ok_or("it has no aws_access_key_id")?,
            secret_access_key: value(SECRET).ok_or("it has no aws_secret_access_key")?.into(),
        })
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}
