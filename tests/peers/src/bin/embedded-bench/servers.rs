//! The servers under test, each in a child process.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
};

use super::{Outcome, client::Endpoint, process::Tree};

const ACCESS_KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// How long a server may take to start. versitygw waits for Python, which creates its bucket.
const START: Duration = Duration::from_secs(60);

/// The programs to start.
#[derive(Debug)]
pub(super) struct Binaries {
    pub(super) longshore: PathBuf,
    pub(super) s3s_fs: PathBuf,
    pub(super) run: PathBuf,
}

/// A running server. Dropping it stops the server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) endpoint: Arc<Endpoint>,
    child: Child,
}

impl Server {
    /// Starts a server with its data in a folder of its own in `folder`.
    pub(super) async fn start(name: &str, binaries: &Binaries, folder: &Path) -> Outcome<Self> {
        let folder = folder.join(name);
        std::fs::create_dir(&folder)?;
        let mut command = match name {
            "s3s-fs" => s3s_fs(binaries, &folder),
            "versitygw" => {
                let mut command = Command::new(&binaries.run);
                // The script creates a temporary folder for the data. By default, versitygw closes a connection after
                // each request.
                command.args(["versitygw", "0"]).env("TMPDIR", &folder).env("VGW_KEEP_ALIVE", "true");
                command
            }
            // Another build of Longshore can be measured as `longshore=BINARY`.
            name => {
                let binary = name.strip_prefix("longshore=").map(PathBuf::from);
                longshore(&binary.unwrap_or_else(|| binaries.longshore.clone()), &folder)
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| format!("cannot start {name}: {error}"))?;
        let mut output = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        let said = tokio::time::timeout(START, said(&mut output)).await??;
        // Read and discard further output, so that the server does not write to a closed pipe.
        tokio::spawn(async move { tokio::io::copy(&mut output, &mut tokio::io::sink()).await });
        let endpoint = Arc::new(endpoint(&said).ok_or_else(|| format!("{name} did not print its endpoint"))?);
        Ok(Self { name: name.to_owned(), endpoint, child })
    }

    /// The server's process and its descendants.
    pub(super) fn processes(&self) -> Tree {
        Tree::of(self.child.id().unwrap_or_default())
    }
}

impl Drop for Server {
    /// Terminates the server and waits for it: the script has to stop a child process and to remove data.
    fn drop(&mut self) {
        let Some(id) = self.child.id() else { return };
        let _ = std::process::Command::new("kill").arg(id.to_string()).status();
        while let Ok(None) = self.child.try_wait() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn longshore(binary: &Path, folder: &Path) -> Command {
    let mut command = Command::new(binary);
    command.arg("demo").arg("--data").arg(folder);
    for listen in ["--listen", "--s3-listen", "--health-listen"] {
        command.args([listen, "127.0.0.1:0"]);
    }
    command
}

fn s3s_fs(binaries: &Binaries, folder: &Path) -> Command {
    let mut command = Command::new(&binaries.s3s_fs);
    command.arg("--data").arg(folder);
    command.args(["--access-key-id", ACCESS_KEY_ID, "--secret-access-key", SECRET_ACCESS_KEY]);
    command
}

/// Reads the output until the server is ready. Returns the `NAME=VALUE` words of the ready line, or the values in the
/// greeting of `longshore demo`.
async fn said(output: &mut BufReader<ChildStdout>) -> Outcome<HashMap<String, String>> {
    let mut said = HashMap::new();
    let mut line = String::new();
    while output.read_line(&mut line).await? > 0 {
        if let Some(words) = line.strip_prefix("ready ") {
            let words = words.split_whitespace().filter_map(|word| word.split_once('='));
            said.extend(words.map(|(name, value)| (name.to_owned(), value.to_owned())));
            break;
        }
        greeting(line.trim(), &mut said);
        if said.contains_key("secret_access_key") {
            break;
        }
        line.clear();
    }
    Ok(said)
}

fn greeting(line: &str, said: &mut HashMap<String, String>) {
    let mut keep = |name: &str, value: &str| said.insert(name.to_owned(), value.trim().to_owned());
    if let Some(s3) = line.strip_prefix("S3 ") {
        keep("endpoint", s3.trim().split(' ').next().unwrap_or_default());
        keep("bucket", s3.split('`').nth(1).unwrap_or_default());
        keep("region", "us-east-1");
    } else if let Some(id) = line.strip_prefix("access key id") {
        keep("access_key_id", id);
    } else if let Some(secret) = line.strip_prefix("secret access key") {
        keep("secret_access_key", secret);
    }
}

fn endpoint(said: &HashMap<String, String>) -> Option<Endpoint> {
    Some(Endpoint {
        address: said.get("endpoint")?.strip_prefix("http://")?.parse().ok()?,
        bucket: said.get("bucket")?.clone(),
        region: said.get("region")?.clone(),
        access_key_id: said.get("access_key_id")?.clone(),
        secret_access_key: said.get("secret_access_key")?.clone(),
    })
}
