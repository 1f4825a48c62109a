//! What Linux says of a process and those it has started.

use std::{fs, time::Duration};

use super::Outcome;

/// Linux counts processor time for user space in hundredths of a second (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// A process with its descendants, as they are now.
#[derive(Debug)]
pub(super) struct Tree(Vec<u32>);

impl Tree {
    pub(super) fn of(process: u32) -> Self {
        let mut found = vec![process];
        let mut next = 0;
        while let Some(process) = found.get(next) {
            let path = format!("/proc/{process}/task/{process}/children");
            let children = fs::read_to_string(path).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            next += 1;
        }
        Self(found)
    }

    /// User and system time so far.
    pub(super) fn cpu(&self) -> Outcome<Duration> {
        let mut ticks = 0;
        for process in &self.0 {
            let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
            // The second field is a name, and may have anything in it but its own end.
            let (_, fields) = stat.rsplit_once(')').ok_or("no stat")?;
            let fields: Vec<&str> = fields.split_whitespace().collect();
            // utime and stime, of which proc(5) says that they are the 14th and 15th field.
            for field in &fields[11..13] {
                ticks += field.parse::<u32>()?;
            }
        }
        Ok(TICK * ticks)
    }

    /// From here on, the peak is counted anew.
    pub(super) fn forget_peak(&self) -> Outcome<()> {
        for process in &self.0 {
            fs::write(format!("/proc/{process}/clear_refs"), "5")?;
        }
        Ok(())
    }

    /// The most memory that was resident, in bytes, of the process that had most.
    pub(super) fn peak(&self) -> Outcome<u64> {
        let mut most = 0;
        for process in &self.0 {
            let status = fs::read_to_string(format!("/proc/{process}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
            let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
            most = most.max(kibibytes * 1024);
        }
        Ok(most)
    }
}

/// Processes that ran or waited to, in the last minute.
pub(super) fn load() -> f64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or_default()
}

/// The machine in a line.
pub(super) fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> = cpus
        .lines()
        .filter_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|model| model.1))
        .collect();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    let model = models.first().copied().unwrap_or("unknown");
    format!("{} cores of {model}, {} GiB, Linux {kernel}", models.len(), (kibibytes + 524_288) / 1_048_576)
}
