//! How much memory training needs: the peak of a process that does nothing else.

use std::process::Command;

use fewshot_models::BackboneKind;
use serde_json::json;

use super::Error;
use super::case::{Case, Measure, Setup};
use super::row::Better;
use super::training::{Network, Training};

const NETWORK: Network = Network { backbone: BackboneKind::ResNet18, size: 84, batch: 64 };
const STEPS: usize = 5;
/// This program, whatever has become of its file meanwhile; the peak can be read on Linux only.
const PROGRAM: &str = "/proc/self/exe";

/// What the process of the row is told.
#[derive(clap::Args)]
pub struct Probe {
    #[arg(long)]
    smallest: bool,
    #[arg(long)]
    threads: usize,
}

impl Probe {
    /// Takes the steps; gives the peak of this process, in MB.
    ///
    /// # Errors
    /// A system without `/proc`.
    pub fn run(&self) -> Result<String, Error> {
        super::start_threads(self.threads)?;
        let network = if self.smallest { NETWORK.smallest() } else { NETWORK };
        let mut training = Training::new(&network.config()?)?;
        let (images, labels) = (network.images()?, network.labels()?);
        for _ in 0..STEPS {
            training.step(&images, &labels)?;
        }
        let status = std::fs::read_to_string("/proc/self/status")
            .map_err(Error::io("read /proc/self/status, which only Linux has"))?;
        let peak = peak(&status);
        peak.map(|megabytes| megabytes.to_string())
            .ok_or_else(|| Error::Process("/proc/self/status has no line VmHWM".to_owned()))
    }
}

/// One row, MB.
pub fn cases(setup: &Setup) -> Vec<Case> {
    let network = if setup.smallest { NETWORK.smallest() } else { NETWORK };
    let request = json!({
        "kind": "memory",
        "backbone": network.backbone.to_string(),
        "size": network.size,
        "batch": network.batch,
        "steps": STEPS,
    });
    let (smallest, threads) = (setup.smallest, setup.threads);
    let ours = move || -> Result<Measure, Error> {
        Ok(Box::new(move || {
            let mut command = Command::new(PROGRAM);
            command.args(["bench-memory", "--threads", &threads.to_string()]);
            command.args(smallest.then_some("--smallest"));
            let output = command
                .output()
                .map_err(Error::io("start /proc/self/exe, which only Linux has"))?;
            let printed = String::from_utf8_lossy(&output.stdout).trim().parse();
            printed.map_err(|_| {
                let complaint = String::from_utf8_lossy(&output.stderr);
                Error::Process(format!("bench-memory failed: {}", complaint.trim()))
            })
        }))
    };
    let name = format!("memory train {network}, peak of {STEPS} steps");
    vec![Case::new(name, "MB", Better::Lower, ours).against(request)]
}

/// The peak resident set that `/proc/self/status` tells, in MB.
fn peak(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_found() {
        let status = "Name:\tx\nVmPeak:\t 9999 kB\nVmHWM:\t  125000 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(peak(status), Some(128.0));
        assert_eq!(peak("VmHWM:\tmany\n"), None);
        assert_eq!(peak(""), None);
    }
}
