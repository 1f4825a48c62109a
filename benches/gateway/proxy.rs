//! A plain TCP proxy: what any hop through user space costs at least.

use std::net::SocketAddr;

use clap::Args;
use tokio::{
    io::copy_bidirectional_with_sizes,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{Outcome, role};

/// As large as a frame of the gateways.
const BUFFER: usize = 256 * 1024;

/// What the proxy is told.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Where it connects to
    #[arg(long)]
    backend: SocketAddr,
}

/// Serves until the driver ends.
pub(crate) async fn run(settings: Settings) -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    role::ready(listener.local_addr()?)?;
    let mut connections = JoinSet::new();
    loop {
        let (caller, _) = listener.accept().await?;
        connections.spawn(pass(caller, settings.backend));
        while connections.try_join_next().is_some() {}
    }
}

async fn pass(mut caller: TcpStream, backend: SocketAddr) -> std::io::Result<()> {
    caller.set_nodelay(true)?;
    let mut backend = TcpStream::connect(backend).await?;
    backend.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut caller, &mut backend, BUFFER, BUFFER).await?;
    Ok(())
}
