//! Runs s3s-fs on a loopback address until it is killed.
//!
//! Once it listens, it prints one line to standard output, like `tests/servers/run.sh`.

use std::{error::Error, path::PathBuf};

use clap::Parser;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Arguments {
    /// Folder for the objects; created if missing
    #[arg(long)]
    data: PathBuf,
    /// Address to listen on; port 0 selects a free port
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// Bucket; created if missing
    #[arg(long, default_value = "peers")]
    bucket: String,
    /// Access key id that callers sign with
    #[arg(long)]
    access_key_id: String,
    /// Secret access key that callers sign with
    #[arg(long)]
    secret_access_key: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { data, listen, bucket, access_key_id, secret_access_key } = Arguments::parse();
    std::fs::create_dir_all(data.join(&bucket))?;
    let backend = FileSystem::new(&data).map_err(|error| format!("{error:?}"))?;
    let mut service = S3ServiceBuilder::new(backend);
    service.set_auth(SimpleAuth::from_single(access_key_id.as_str(), secret_access_key.as_str()));
    let service = service.build();

    let listener = TcpListener::bind(&listen).await?;
    let address = listener.local_addr()?;
    println!(
        "ready endpoint=http://{address} bucket={bucket} region=us-east-1 access_key_id={access_key_id} \
         secret_access_key={secret_access_key}"
    );
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
        tokio::spawn(served);
    }
}
