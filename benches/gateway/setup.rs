//! Starts the backend and the peers in front of it.

use std::{
    fmt,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    Outcome,
    arguments::Arguments,
    caller::grpc,
    child::{self, Background, Child},
    job::{Api, Done, Job, MIB, Target},
    process,
    shipped::Shipped,
    tls::Files,
};

/// The time limit for a server to start serving.
const START: Duration = Duration::from_secs(20);

/// The time that a server gets to finish its work after the caller has received everything.
const SETTLE: Duration = Duration::from_millis(50);

/// A gateway that is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Peer {
    Longshore,
    Naive,
    NaiveSigned,
    Proxy,
    /// The backend itself, without a gateway.
    Direct,
    /// The backend itself, for a caller that uses object_store.
    ObjectStore,
    /// The backend itself, for a caller that uses boto3.
    Boto3,
    /// A peer named on the command line.
    Other(String),
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Longshore => "longshore",
            Self::Naive => "naive",
            Self::NaiveSigned => "naive, payload signed",
            Self::Proxy => "TCP proxy",
            Self::Direct => "no gateway",
            Self::ObjectStore => "object_store, no gateway",
            Self::Boto3 => "boto3, no gateway",
            Self::Other(name) => name,
        })
    }
}

/// The state that all rows share.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) arguments: Arguments,
    pub(crate) shipped: Shipped,
    pub(crate) runtime: tokio::runtime::Runtime,
    backend: Child,
    tls: Option<Files>,
    /// Holds all files written during the run.
    _folder: TempDir,
}

impl Setup {
    pub(crate) fn prepare(arguments: Arguments) -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("longshore-bench-").tempdir()?;
        let tls = arguments.tls.then(|| Files::make(folder.path())).transpose()?;
        let mut told = vec!["--keys".to_owned(), arguments.keys().to_string()];
        told.extend(["--throttle".to_owned(), arguments.throttle.to_string()]);
        told.extend(arguments.shape.arguments());
        told.extend(server_files(tls.as_ref()));
        let backend = Child::role("backend", &told)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", backend.address);
        let shipped = Shipped::prepare(&arguments.longshore(), folder.path(), &url, tls.as_ref())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { arguments, shipped, runtime, backend, tls, _folder: folder })
    }

    /// Starts a peer and waits until it serves.
    pub(crate) fn start(&self, peer: &Peer) -> Outcome<Running> {
        self.start_on(peer, "bench")
    }

    /// Starts a peer with another bucket, for gateways that have no stores. For a shaped bucket, Longshore has a single
    /// tenant.
    pub(crate) fn start_on(&self, peer: &Peer, bucket: &str) -> Outcome<Running> {
        let child = match peer {
            Peer::Longshore if bucket.starts_with("shaped") => {
                Some(self.shipped.for_single_tenant().start(child::free_addresses()?)?)
            }
            Peer::Longshore => Some(self.shipped.start(child::free_addresses()?)?),
            Peer::Naive => Some(self.naive(false, bucket)?),
            Peer::NaiveSigned => Some(self.naive(true, bucket)?),
            Peer::Proxy => {
                Some(Child::role("proxy", &["--backend".to_owned(), self.backend.address.to_string()])?)
            }
            Peer::Direct | Peer::ObjectStore | Peer::Boto3 => None,
            Peer::Other(name) => Some(self.other(name, bucket)?),
        };
        let target = Target {
            address: child.as_ref().map_or(self.backend.address, |child| child.address),
            api: match peer {
                Peer::Proxy | Peer::Direct | Peer::Boto3 => Api::Http,
                Peer::ObjectStore => Api::ObjectStore,
                _ => Api::Grpc,
            },
            authority: self.tls.as_ref().map(|tls| tls.authority.clone()),
        };
        let mut running = Running { peer: peer.clone(), target, child };
        if *peer == Peer::Longshore {
            self.runtime.block_on(running.until_serving())?;
        } else {
            running.until_listening()?;
        }
        Ok(running)
    }

    /// Starts Longshore with the settings of a single row.
    pub(crate) fn start_with(&self, settings: &[(&'static str, &str)]) -> Outcome<Running> {
        self.start_as(&self.shipped.with(settings)?)
    }

    /// Starts Longshore with the tenants `quiet`, `noisy` and `hanging`.
    pub(crate) fn start_neighbours(&self) -> Outcome<Running> {
        self.start_as(&self.shipped.for_neighbours())
    }

    fn start_as(&self, shipped: &Shipped) -> Outcome<Running> {
        let child = shipped.start(child::free_addresses()?)?;
        let authority = self.tls.as_ref().map(|tls| tls.authority.clone());
        let target = Target { address: child.address, api: Api::Grpc, authority };
        let mut running = Running { peer: Peer::Longshore, target, child: Some(child) };
        self.runtime.block_on(running.until_serving())?;
        Ok(running)
    }

    /// The backend as a target, for requests that are not part of a job.
    pub(crate) fn backend(&self) -> Target {
        let authority = self.tls.as_ref().map(|tls| tls.authority.clone());
        Target { address: self.backend.address, api: Api::Http, authority }
    }

    fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.backend.address)
    }

    fn naive(&self, signed: bool, bucket: &str) -> Outcome<Child> {
        let mut told = vec!["--endpoint".to_owned(), self.url(), "--bucket".to_owned(), bucket.to_owned()];
        told.extend(signed.then(|| "--signed".to_owned()));
        if let Some(tls) = &self.tls {
            told.extend(["--authority".to_owned(), tls.authority.display().to_string()]);
        }
        told.extend(server_files(self.tls.as_ref()));
        Child::role("naive", &told)
    }

    /// Starts a peer from the command line. Environment variables pass its listen address, the backend's URL and the
    /// bucket.
    fn other(&self, name: &str, bucket: &str) -> Outcome<Child> {
        let [address] = child::free_addresses()?;
        let command = self.arguments.peer(name).ok_or("--peer does not define this peer")?;
        let mut words = command.split_whitespace();
        let mut command = Command::new(words.next().ok_or("the command is empty")?);
        command.args(words).env("LISTEN", address.to_string()).env("ENDPOINT", self.url());
        command.env("BUCKET", bucket);
        command.env("AWS_ACCESS_KEY_ID", crate::shipped::ACCESS_KEY_ID);
        command.env("AWS_SECRET_ACCESS_KEY", crate::shipped::SECRET_ACCESS_KEY);
        Child::other(&mut command, address)
    }
}

fn server_files(tls: Option<&Files>) -> Vec<String> {
    let files = tls.map(|tls| [("--cert", &tls.cert), ("--key", &tls.key)]);
    let words = |(name, path): (&str, &PathBuf)| [name.to_owned(), path.display().to_string()];
    files.into_iter().flatten().flat_map(words).collect()
}

/// A peer that is serving.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) peer: Peer,
    pub(crate) target: Target,
    pub(crate) child: Option<Child>,
}

/// The cost of a job.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// CPU time, in seconds.
    pub(crate) cpu: f64,
    /// Peak memory, in MiB.
    pub(crate) peak: f64,
    pub(crate) done: Done,
}

impl Running {
    /// Measures this peer while a caller runs a job. `caller` is the command of another caller program to use.
    pub(crate) fn measure(&self, job: &Job, caller: Option<&str>) -> Outcome<Measured> {
        let id = self.child.as_ref().map(Child::id);
        if let Some(id) = id {
            process::forget_peak(id)?;
        }
        let before = id.map(process::cpu).transpose()?;
        let done = self.perform(job, caller)?;
        std::thread::sleep(SETTLE);
        let cpu = id.map(process::cpu).transpose()?.unwrap_or_default() - before.unwrap_or_default();
        let peak = id.map(process::peak).transpose()?.unwrap_or_default() as f64 / MIB as f64;
        Ok(Measured { cpu, peak, done })
    }

    /// The memory that this peer uses now, in MiB.
    pub(crate) fn memory(&self) -> Outcome<f64> {
        let resident = self.child.as_ref().map(|child| process::resident(child.id())).transpose()?;
        Ok(resident.unwrap_or_default() as f64 / MIB as f64)
    }

    /// Starts a background caller that runs a job until the returned value is dropped.
    pub(crate) fn begin(&self, job: &Job) -> Outcome<Background> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["caller", "--target", &serde_json::to_string(&self.target)?]);
        Background::start(command.args(["--job", &serde_json::to_string(job)?]))
    }

    fn perform(&self, job: &Job, caller: Option<&str>) -> Outcome<Done> {
        let mut command = match caller {
            None => Command::new(std::env::current_exe()?),
            Some(caller) => {
                let mut words = caller.split_whitespace();
                let mut command = Command::new(words.next().ok_or("the command is empty")?);
                command.args(words);
                command
            }
        };
        command.args(["caller", "--target", &serde_json::to_string(&self.target)?]);
        let output = command.args(["--job", &serde_json::to_string(job)?]).output()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(format!("{}: {why}", self.peer).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    fn until_listening(&mut self) -> Outcome<()> {
        let start = Instant::now();
        while std::net::TcpStream::connect(self.target.address).is_err() {
            self.still_starting(start)?;
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Waits until the port accepts connections and a health check returns SERVING.
    pub(crate) async fn until_serving(&mut self) -> Outcome<()> {
        let start = Instant::now();
        while !self.is_serving().await {
            self.still_starting(start)?;
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        Ok(())
    }

    fn still_starting(&mut self, start: Instant) -> Outcome<()> {
        if let Some(child) = &mut self.child {
            child.check().map_err(|error| format!("{}: {error}", self.peer))?;
        }
        if start.elapsed() > START { Err(format!("{} is not serving", self.peer).into()) } else { Ok(()) }
    }

    async fn is_serving(&self) -> bool {
        let Ok(channel) = grpc::connect(&self.target, (1 << 16, 1 << 16)).await else { return false };
        let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
        answer.is_ok_and(|answer| answer.get_ref().status() == ServingStatus::Serving)
    }
}
