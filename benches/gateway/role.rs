//! How a process that was started by the driver talks with it: it says where it listens, and ends with the driver.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
};

use crate::Outcome;

/// What the line begins with that says where a role listens.
pub(crate) const READY: &str = "ready ";

/// Says that the role listens there. From here on the process ends when its standard input does.
pub(crate) fn ready(address: SocketAddr) -> Outcome<()> {
    writeln!(io::stdout(), "{READY}{address}")?;
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    Ok(())
}
