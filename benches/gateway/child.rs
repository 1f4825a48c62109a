//! The processes that the driver starts.

use std::{
    io::{BufRead, BufReader, Read},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{self, Command, Stdio},
};

use crate::{Outcome, role};

/// A server process that is listening. It is killed on drop.
#[derive(Debug)]
pub(crate) struct Child {
    process: process::Child,
    pub(crate) address: SocketAddr,
}

impl Child {
    /// Starts this program in a role and waits until it announces its address.
    pub(crate) fn role(name: &str, arguments: &[String]) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(name).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().ok_or("no standard output")?).read_line(&mut line)?;
        let address = line.trim().strip_prefix(role::READY).and_then(|address| address.parse().ok());
        // Created before the address is checked, so that an error also kills the process.
        let mut child = Self { process, address: (Ipv4Addr::LOCALHOST, 0).into() };
        child.address = address.ok_or_else(|| format!("the role {name} did not announce its address"))?;
        Ok(child)
    }

    /// Starts another program, which has been configured to listen on `address`.
    pub(crate) fn other(command: &mut Command, address: SocketAddr) -> Outcome<Self> {
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let process =
            process.map_err(|error| format!("cannot start {}: {error}", command.get_program().display()))?;
        Ok(Self { process, address })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Fails if the process has exited.
    pub(crate) fn check(&mut self) -> Outcome<()> {
        match self.process.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("the process exited: {status}").into()),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A process without an address. It is killed on drop.
#[derive(Debug)]
pub(crate) struct Background(process::Child);

impl Background {
    pub(crate) fn start(command: &mut Command) -> Outcome<Self> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(Self(command.spawn()?))
    }

    /// Fails if the process has exited. The error includes its standard error.
    pub(crate) fn check(&mut self) -> Outcome<()> {
        if self.0.try_wait()?.is_none() {
            return Ok(());
        }
        let mut said = String::new();
        if let Some(stderr) = &mut self.0.stderr {
            stderr.read_to_string(&mut said)?;
        }
        Err(format!("a background caller exited: {}", said.trim()).into())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns addresses whose ports are currently free.
pub(crate) fn free_addresses<const N: usize>() -> Outcome<[SocketAddr; N]> {
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    let mut held = Vec::new();
    for address in &mut addresses {
        let listener = TcpListener::bind(*address)?;
        *address = listener.local_addr()?;
        held.push(listener);
    }
    Ok(addresses)
}
