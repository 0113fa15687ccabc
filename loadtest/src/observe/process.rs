//! CPU and memory of processes, out of `/proc`.

use std::fs;

/// A process, or several that count as one (a server and its database), each with its children.
#[derive(Clone, Debug)]
pub struct Process {
    pids: Vec<u32>,
    with_children: bool,
}

/// Clock ticks of a second: what Linux has told programs for decades.
const TICKS: f64 = 100.0;
/// Bytes of a page, likewise.
const PAGE: f64 = 4096.0;

impl Process {
    /// The processes of these ids.
    pub fn new(pids: Vec<u32>) -> Self {
        Self { pids, with_children: true }
    }

    /// This process, without the server that it may have started.
    pub fn own() -> Self {
        Self { pids: vec![std::process::id()], with_children: false }
    }

    fn sum(&self, of: impl Fn(u32) -> Option<f64>) -> Option<f64> {
        let children = self.pids.iter().filter(|_| self.with_children).flat_map(|pid| children(*pid));
        let found: Vec<_> = self.pids.iter().copied().chain(children).filter_map(of).collect();
        (!found.is_empty()).then(|| found.iter().sum())
    }

    /// CPU seconds so far.
    pub fn cpu_seconds(&self) -> Option<f64> {
        self.sum(|pid| cpu_of(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
    }

    /// Resident memory in megabytes.
    pub fn rss_mb(&self) -> Option<f64> {
        self.sum(|pid| {
            let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
            let pages: f64 = text.split_whitespace().nth(1)?.parse().ok()?;
            Some(pages * PAGE / 1_048_576.0)
        })
    }
}

/// What a process has started itself; PostgreSQL has one for each connection.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_thread = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).ok();
    let text: String = threads.filter_map(of_thread).collect();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// User and system time of a line of `/proc/PID/stat`.
fn cpu_of(stat: &str) -> Option<f64> {
    // The name may hold anything, blanks and brackets included; what follows its last bracket is regular.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194560 3130 0 0 0 250 50 0 0 20 0 5 0 100 1 1";
        assert_eq!(cpu_of(line), Some(3.0));
    }

    #[test]
    fn children_are_found() {
        let mut child = std::process::Command::new("sleep").arg("5").spawn().unwrap();
        let found = children(std::process::id()).contains(&child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found);
    }

    #[test]
    fn this_process_has_memory_and_time() {
        let own = Process::own();
        assert!(own.rss_mb().unwrap() > 0.5);
        assert!(own.cpu_seconds().is_some());
        assert!(Process::new(vec![]).rss_mb().is_none());
    }
}
