//! What Linux reports about a process and its descendants.

use std::{fs, time::Duration};

use super::Outcome;

/// Linux reports CPU time to user space in hundredths of a second (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// A process and its current descendants.
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

    /// User and system CPU time so far.
    pub(super) fn cpu(&self) -> Outcome<Duration> {
        let mut ticks = 0;
        for process in &self.0 {
            let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
            // The second field is the name in parentheses, which may contain any character: split at the last one.
            let (_, fields) = stat.rsplit_once(')').ok_or("/proc/PID/stat has no name in parentheses")?;
            let fields: Vec<&str> = fields.split_whitespace().collect();
            // utime and stime, the 14th and 15th fields in proc(5).
            for field in &fields[11..13] {
                ticks += field.parse::<u32>()?;
            }
        }
        Ok(TICK * ticks)
    }

    /// Resets the peak.
    pub(super) fn forget_peak(&self) -> Outcome<()> {
        for process in &self.0 {
            fs::write(format!("/proc/{process}/clear_refs"), "5")?;
        }
        Ok(())
    }

    /// The peak of resident memory in bytes, of the process with the highest one.
    pub(super) fn peak(&self) -> Outcome<u64> {
        let mut most = 0;
        for process in &self.0 {
            let status = fs::read_to_string(format!("/proc/{process}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("/proc/PID/status has no VmHWM")?;
            let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
            most = most.max(kibibytes * 1024);
        }
        Ok(most)
    }
}

/// The machine's load average of the last minute.
pub(super) fn load() -> f64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or_default()
}

/// Describes the machine in one line.
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
