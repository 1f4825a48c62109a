//! A plain TCP proxy: the least that any hop through user space can cost.

use std::net::SocketAddr;

use clap::Args;
use tokio::{
    io::copy_bidirectional_with_sizes,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{Outcome, role};

/// The size of the gateways' frames.
const BUFFER: usize = 256 * 1024;

/// The proxy's arguments.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// The address that it forwards to
    #[arg(long)]
    backend: SocketAddr,
}

/// Serves until the driver exits.
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
