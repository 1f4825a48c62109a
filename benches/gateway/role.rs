//! How a role's process communicates with the driver: it prints its address, and exits when the driver does.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
};

use crate::Outcome;

/// The prefix of the line that announces a role's listen address.
pub(crate) const READY: &str = "ready ";

/// Announces the listen address. From then on, the process exits when its standard input is closed.
pub(crate) fn ready(address: SocketAddr) -> Outcome<()> {
    writeln!(io::stdout(), "{READY}{address}")?;
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    Ok(())
}
