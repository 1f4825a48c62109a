//! `type: process`: credentials that a command prints, as `credential_process` of the AWS SDKs.
//!
//! See <https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>.

use std::{fmt, process::Stdio};

use futures::{FutureExt, future::BoxFuture};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{io::AsyncReadExt, process::Command};

use super::{
    Credentials, CredentialsError,
    cache::Source,
    document::{self, MAX_DOCUMENT},
};

/// A command and its arguments, which may be secrets. It is run without a shell, and with Longshore's environment.
pub(super) struct Process(pub(super) Vec<String>);

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Process").field(&self.0.first()).finish_non_exhaustive()
    }
}

impl Process {
    async fn run(&self) -> Result<Credentials, CredentialsError> {
        let Some((program, arguments)) = self.0.split_first() else {
            return Err(CredentialsError::new("credential_provider.command is empty"));
        };
        // Arguments may be secrets.
        let failed = |why: String| CredentialsError::new(format!("the command {program} {why}"));
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .process_group(0)
            .spawn()
            .map_err(|error| failed(format!("cannot be run: {error}")))?;
        // The command may start others, which end with it.
        let _group = Group(child.id());
        let mut output = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            let limited = stdout.take(MAX_DOCUMENT as u64 + 1).read_to_end(&mut output).await;
            limited.map_err(|error| failed(format!("cannot be read: {error}")))?;
        }
        if output.len() > MAX_DOCUMENT {
            return Err(failed("prints more than 64 KiB".to_owned()));
        }
        let status = child.wait().await.map_err(|error| failed(format!("cannot be awaited: {error}")))?;
        if !status.success() {
            return Err(failed(format!("failed ({status}): run it by hand to see its messages")));
        }
        document::parse_output(&format!("the command {program}"), &output)
    }
}

/// Ends a process group when dropped.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let id = self.0.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            // Usually, it has ended already.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

impl Source for Process {
    fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        self.run().boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn run(command: &[&str]) -> Result<Credentials, CredentialsError> {
        Process(command.iter().map(|word| (*word).to_owned()).collect()).load().await
    }

    #[tokio::test]
    async fn a_command_prints_credentials() {
        let document = r#"{"Version": 1, "AccessKeyId": "AKID", "SecretAccessKey": "$HOME"}"#;
        let found = run(&["printf", "%s", document]).await.unwrap();
        assert_eq!(found.secret_access_key(), "$HOME", "no shell expands it");
    }

    #[tokio::test]
    async fn a_command_that_fails_is_an_error_without_its_arguments() {
        for (command, expected) in [
            (&["false", "hush"][..], "failed (exit status: 1)"),
            (&["longshore-no-such-command", "hush"], "cannot be run"),
            (&["printf", "hush"], "did not return JSON"),
            (&["yes", "hush"], "more than 64 KiB"),
        ] {
            let error = run(command).await.unwrap_err().to_string();
            assert!(error.contains(command[0]) && error.contains(expected), "{error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_command_is_killed_if_its_output_is_not_awaited() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alive");
        let script = format!("sleep 2; touch {}", path.display());
        let hanging = ["sh", "-c", script.as_str()];
        assert!(tokio::time::timeout(Duration::from_millis(300), run(&hanging)).await.is_err());
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!path.exists());
    }
}
