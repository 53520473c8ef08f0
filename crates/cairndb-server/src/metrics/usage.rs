//! Usage: what the process takes of the machine, as far as the operating system tells it in `/proc`.

use std::fs;

/// How `/proc` counts processor time; every Linux does.
const TICKS_PER_SECOND: f64 = 100.0;

/// Zeros where the system does not tell.
#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_user_seconds: f64,
    pub(crate) cpu_system_seconds: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) resident_bytes_max: u64,
    pub(crate) open_files: u64,
    pub(crate) open_files_max: u64,
    pub(crate) threads: u64,
}

impl Usage {
    pub(crate) fn now() -> Usage {
        let text = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let (stat, status, limits) = (text("stat"), text("status"), text("limits"));
        // The name, in parentheses, may hold anything; what follows it is numbers.
        let fields: Vec<&str> =
            stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().collect();
        let ticks =
            |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        let number = |text: &str, name: &str, column: usize| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_ascii_whitespace().nth(column).and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        Usage {
            cpu_user_seconds: ticks(11) / TICKS_PER_SECOND,
            cpu_system_seconds: ticks(12) / TICKS_PER_SECOND,
            resident_bytes: number(&status, "VmRSS:", 0) * 1024,
            resident_bytes_max: number(&status, "VmHWM:", 0) * 1024,
            open_files: fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64),
            open_files_max: number(&limits, "Max open files", 0),
            threads: number(&status, "Threads:", 0),
        }
    }
}

/// What the machine's memory is, in bytes; 0 where the system does not tell.
pub(crate) fn machine_memory_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    line.split_ascii_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let usage = Usage::now();
        assert!(usage.resident_bytes > 1 << 20 && usage.resident_bytes_max >= usage.resident_bytes);
        assert!(usage.open_files >= 3 && usage.open_files_max >= usage.open_files);
        assert!(usage.threads >= 1 && machine_memory_bytes() > usage.resident_bytes);
        let mut spent = 0u64;
        let used = |usage: Usage| usage.cpu_user_seconds + usage.cpu_system_seconds;
        while used(Usage::now()) < used(usage) + 0.01 {
            spent = std::hint::black_box(spent + 1);
        }
    }
}
