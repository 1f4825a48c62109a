//! Reads CPU time, memory and machine data from `/proc`.

use std::{fs, path::Path};

use crate::Outcome;

/// Linux reports CPU time in hundredths of a second (`USER_HZ`).
const TICK: f64 = 0.01;

/// The user and system CPU time of a process so far, in seconds.
pub(crate) fn cpu(process: u32) -> Outcome<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is the command name in parentheses. It can contain spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/PID/stat has an unexpected format")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // utime and stime are fields 14 and 15 (proc(5)).
    let ticks: u32 = fields[11..13].iter().map(|field| field.parse::<u32>()).sum::<Result<_, _>>()?;
    Ok(TICK * f64::from(ticks))
}

/// Resets the recorded memory peak.
pub(crate) fn forget_peak(process: u32) -> Outcome<()> {
    Ok(fs::write(format!("/proc/{process}/clear_refs"), "5")?)
}

/// The peak resident memory, in bytes.
pub(crate) fn peak(process: u32) -> Outcome<u64> {
    memory(process, "VmHWM:")
}

/// The resident memory, in bytes.
pub(crate) fn resident(process: u32) -> Outcome<u64> {
    memory(process, "VmRSS:")
}

fn memory(process: u32, name: &str) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let line = line.ok_or_else(|| format!("/proc/PID/status has no {name}"))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}

/// The load average of the last minute.
pub(crate) fn load() -> f64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or_default()
}

/// Describes the machine in one line.
pub(crate) fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> =
        cpus.lines().filter_map(|line| Some(line.strip_prefix("model name")?.split_once(": ")?.1)).collect();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or_default();
    let kernel = fs::read_to_string(Path::new("/proc/sys/kernel/osrelease")).unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    let model = models.first().copied().unwrap_or("unknown");
    format!("{} cores of {model}, {} GiB, Linux {kernel}", models.len(), (kibibytes + 524_288) / 1_048_576)
}
