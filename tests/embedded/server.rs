//! `longshore demo` as a separate process that a test can kill.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use object_store::{
    ClientOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
};

/// A running process. Dropping it kills the process.
pub(crate) struct Process {
    child: Child,
    /// Its S3 endpoint.
    pub(crate) endpoint: String,
    folder: PathBuf,
}

impl Process {
    /// Starts a process with a data folder, and waits until it serves.
    pub(crate) fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_longshore"))
            .args(["demo", "--listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0", "--data"])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let greeting = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let endpoint = greeting.into_iter().find_map(|line| {
            let address = line.trim().strip_prefix("S3 ")?.trim();
            Some(address.split(' ').next()?.to_owned())
        });
        Self {
            child,
            endpoint: endpoint.expect("the output has the address of the S3 server"),
            folder: folder.to_owned(),
        }
    }

    /// A client that does not retry.
    pub(crate) fn client(&self) -> AmazonS3 {
        let keys = std::fs::read_to_string(self.folder.join("credentials")).unwrap();
        let key = |name: &str| {
            let line = keys.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim_start_matches(" = ").to_owned()
        };
        AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_bucket_name("demo")
            .with_access_key_id(key("aws_access_key_id"))
            .with_secret_access_key(key("aws_secret_access_key"))
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .with_client_options(
                ClientOptions::new().with_allow_http(true).with_timeout(Duration::from_secs(30)),
            )
            .build()
            .unwrap()
    }

    /// Sends SIGKILL, so everything that the process holds in memory is lost.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGINT, and waits for the process to exit.
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
