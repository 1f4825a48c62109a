//! Compares Longshore's embedded S3 server with s3s-fs and versitygw: requests per second, latency, and the server's
//! CPU time per request.
//!
//! All servers run at the same time, and receive requests in turn, one server at a time, so that other load on the
//! machine affects all of them. The callers run in this process, so that only the server's own CPU time is counted.

mod client;
mod load;
mod process;
mod report;
mod servers;

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::Command,
};

use clap::Parser;

use self::{
    load::{Measured, WORK},
    report::{Medium, Report, Row},
    servers::{Binaries, Server},
};

/// Any error ends the run with a message.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Debug, Parser)]
struct Arguments {
    /// Release binary of Longshore
    #[arg(long, default_value = "target/release/longshore")]
    longshore: PathBuf,
    /// Binary of s3s-fs-server; by default the one next to this program
    #[arg(long)]
    s3s_fs: Option<PathBuf>,
    /// Script that starts versitygw
    #[arg(long, default_value = "tests/servers/run.sh")]
    run: PathBuf,
    /// Servers to measure
    #[arg(long, value_delimiter = ',', default_value = "longshore,s3s-fs,versitygw")]
    servers: Vec<String>,
    /// Folders for the servers' data, as NAME=FOLDER; one run for each
    #[arg(long, value_name = "NAME=FOLDER", value_parser = medium, default_values = ["disk=.", "tmpfs=/dev/shm"])]
    on: Vec<(String, PathBuf)>,
    /// Number of times that each server runs each workload; the figures are medians
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Run only workloads whose names contain this
    #[arg(long, default_value = "")]
    only: String,
    /// Markdown file to update, between the markers of this benchmark
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// JSON file to write all figures to
    #[arg(long)]
    json: Option<PathBuf>,
}

impl Arguments {
    fn binaries(&self) -> Outcome<Binaries> {
        Ok(Binaries {
            longshore: self.longshore.clone(),
            s3s_fs: match &self.s3s_fs {
                Some(path) => path.clone(),
                None => std::env::current_exe()?.with_file_name("s3s-fs-server"),
            },
            run: self.run.clone(),
        })
    }
}

fn medium(text: &str) -> Result<(String, PathBuf), String> {
    let (name, folder) = text.split_once('=').ok_or("must have the form NAME=FOLDER")?;
    Ok((name.to_owned(), folder.into()))
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    let load_before = process::load();
    let mut media = Vec::new();
    for (name, folder) in &arguments.on {
        media.push(Medium { name: name.clone(), rows: measure(&arguments, folder).await? });
    }
    let report = Report::new(arguments.rounds, load_before, media);
    println!("{}", report.markdown());
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)?;
    }
    if let Some(path) = &arguments.markdown {
        report.write_into(path)?;
    }
    Ok(())
}

/// Measures everything with the servers' data in one folder.
async fn measure(arguments: &Arguments, folder: &Path) -> Outcome<Vec<Row>> {
    let binaries = arguments.binaries()?;
    let folder = tempfile::Builder::new().prefix("longshore-peers-").tempdir_in(folder)?;
    let mut servers = Vec::new();
    for name in &arguments.servers {
        let server = Server::start(name, &binaries, folder.path()).await?;
        load::prepare(&server).await?;
        servers.push(server);
    }
    let mut rows = Vec::new();
    for work in WORK.iter().filter(|work| work.name.contains(&arguments.only)) {
        let mut rounds: Vec<Vec<Measured>> = servers.iter().map(|_| Vec::new()).collect();
        for round in 0..arguments.rounds {
            for (server, measured) in servers.iter().zip(&mut rounds) {
                // Flush what other servers have written, so that this server does not pay for it.
                Command::new("sync").status()?;
                measured.push(load::measure(server, work, round).await?);
            }
        }
        for (server, measured) in servers.iter().zip(rounds) {
            let row = Row::of(work, &server.name, measured);
            eprintln!("{}", row.line());
            rows.push(row);
        }
    }
    Ok(rows)
}
