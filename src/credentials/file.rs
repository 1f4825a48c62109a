//! `type: file`: credentials in a file or a folder that another program replaces, such as a mounted secret.

use std::{fs, path::Path, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use secrecy::SecretString;

use super::{Credentials, CredentialsError, cache::Source, document, small_file};
use crate::settings::LocalPath;

/// How long the credentials are used before the files are read again.
const CHECK_AFTER: Duration = Duration::from_secs(5);

const ID: &[&str] = &["access_key_id", "aws_access_key_id"];
const SECRET: &[&str] = &["secret_access_key", "aws_secret_access_key"];
const TOKEN: &[&str] = &["session_token", "aws_session_token"];

/// A file with JSON or with lines such as `aws_access_key_id = AKID`, or a folder with a file for each value.
#[derive(Debug)]
pub(super) struct CredentialsFile(pub(super) LocalPath);

impl Source for CredentialsFile {
    fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        let path = self.0.clone();
        let found = small_file::blocking(move || read(&path));
        found.map(|found| found.map(|credentials| credentials.checked_after(CHECK_AFTER))).boxed()
    }
}

fn read(file: &LocalPath) -> Result<Credentials, CredentialsError> {
    let path = file.path();
    if !file.is_there() {
        return Err(CredentialsError::absent(format!("cannot read {}: it does not exist", path.display())));
    }
    if path.is_dir() {
        return from_folder(file);
    }
    let text = small_file::read_now(file)?;
    // A byte order mark, as editors on Windows write it.
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{') {
        return document::parse(&path.display().to_string(), text.as_bytes());
    }
    from_lines(path, text)
}

/// One file for each value, as in a mounted Kubernetes secret. The names may be in capitals.
fn from_folder(folder: &LocalPath) -> Result<Credentials, CredentialsError> {
    // Kubernetes replaces all files of a volume at once, by replacing this link: all have to be read from one folder.
    let data = folder.path().join("..data");
    let current = fs::canonicalize(&data).unwrap_or_else(|_| folder.path().to_owned());
    let value = |names: &[&str]| -> Result<Option<String>, CredentialsError> {
        let names = names.iter().flat_map(|name| [(*name).to_owned(), name.to_uppercase()]);
        let Some(path) = names.map(|name| current.join(name)).find(|path| path.exists()) else {
            return Ok(None);
        };
        let is_empty = fs::metadata(&path).is_ok_and(|found| found.len() == 0);
        let text = if is_empty { String::new() } else { small_file::read_now(folder.at(path))? };
        Ok(Some(text.trim().to_owned()))
    };
    let (id, secret, token) = (value(ID)?, value(SECRET)?, value(TOKEN)?);
    complete(folder.path(), "no file access_key_id or no file secret_access_key", id, secret, token)
}

/// Lines as in a shared credentials file. Of several sections, `[default]` counts.
fn from_lines(path: &Path, text: &str) -> Result<Credentials, CredentialsError> {
    let (mut id, mut secret, mut token) = (None, None, None);
    let mut counts = true;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            counts = section.split(']').next().is_some_and(|name| name.trim() == "default");
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| counts && !line.starts_with(['#', ';']))
        else {
            continue;
        };
        let (key, value) = (key.trim().to_lowercase(), value.trim().to_owned());
        for (names, found) in [(ID, &mut id), (SECRET, &mut secret), (TOKEN, &mut token)] {
            if names.contains(&key.as_str()) {
                *found = Some(value.clone());
            }
        }
    }
    complete(
        path,
        "neither JSON nor lines with aws_access_key_id and aws_secret_access_key",
        id,
        secret,
        token,
    )
}

fn complete(
    path: &Path,
    missing: &str,
    id: Option<String>,
    secret: Option<String>,
    token: Option<String>,
) -> Result<Credentials, CredentialsError> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    match (given(id), given(secret)) {
        (Some(id), Some(secret)) => Ok(Credentials::new(id, secret, given(token).map(SecretString::from))),
        _ => Err(CredentialsError::new(format!("{} has {missing}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, sync::Arc};

    use super::*;
    use crate::settings::Folder;

    fn parts(credentials: &Credentials) -> (&str, &str, Option<&str>) {
        (credentials.access_key_id(), credentials.secret_access_key(), credentials.session_token())
    }

    #[test]
    fn credentials_are_read_from_json_lines_and_folders() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        for text in [
            r#"{"AccessKeyId": "AKID", "SecretAccessKey": "s=s", "SessionToken": "t"}"#,
            "aws_access_key_id = AKID\naws_secret_access_key=s=s\n aws_session_token = t\n",
            "[other]\naws_access_key_id = NO\n[default]\nAWS_ACCESS_KEY_ID=AKID\n# x=y\naws_secret_access_key=s=s\naws_session_token=t",
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(parts(&read(&(&file).into()).unwrap()), ("AKID", "s=s", Some("t")), "{text}");
        }
        for (names, token) in [
            (["access_key_id", "secret_access_key", "session_token"], Some("t")),
            (["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "other"], None),
        ] {
            let secret = tempfile::tempdir().unwrap();
            for (name, value) in names.iter().zip(["AKID\n", "s=s\n", "t"]) {
                fs::write(secret.path().join(name), value).unwrap();
            }
            assert_eq!(parts(&read(&secret.path().into()).unwrap()), ("AKID", "s=s", token));
        }
    }

    #[test]
    fn a_link_out_of_the_folder_of_an_untrusted_file_is_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        let own = parent.path().join("acme");
        fs::create_dir(&own).unwrap();
        for (path, value) in [(own.join("access_key_id"), "AKID"), (own.join("secret_access_key"), "own")] {
            fs::write(path, value).unwrap();
        }
        fs::write(parent.path().join("server"), "hush").unwrap();
        let folder = Arc::new(Folder::inside(parent.path(), "acme".as_ref()));
        let confined = LocalPath::from(own.as_path()).confined(&folder).unwrap();
        assert_eq!(parts(&read(&confined).unwrap()), ("AKID", "own", None));
        // The author of the file can do this at any time.
        fs::remove_file(own.join("secret_access_key")).unwrap();
        symlink("../server", own.join("secret_access_key")).unwrap();
        let error = read(&confined).unwrap_err().to_string();
        assert!(error.contains("leads out of") && !error.contains("hush"), "{error}");
    }

    #[test]
    fn half_written_files_are_errors_that_name_the_path_and_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        for text in ["", "\n", r#"{"AccessKeyId": "AKID", "Secr"#, "aws_secret_access_key = hush", "hush"] {
            fs::write(&file, text).unwrap();
            let error = read(&(&file).into()).unwrap_err().to_string();
            assert!(error.contains("file") && !error.contains("hush"), "{error}");
        }
        fs::remove_file(&file).unwrap();
        assert!(read(&(&file).into()).is_err());
        let error = read(&folder.path().into()).unwrap_err().to_string();
        assert!(error.contains("access_key_id"), "{error}");
    }
}
