//! Memory of a training: the peak of a process that does nothing else.

use std::process::Command;

use fewshot_models::BackboneKind;
use serde_json::json;

use super::Error;
use super::case::{Case, Measure, Setup};
use super::row::Better;
use super::training::{Network, Training};

const NETWORK: Network = Network { backbone: BackboneKind::ResNet18, size: 84, batch: 64 };
const STEPS: usize = 5;
/// This program, even if its file has been replaced meanwhile. Linux only, like the peak.
const PROGRAM: &str = "/proc/self/exe";

/// Command line of the process whose memory is read.
#[derive(clap::Args)]
pub struct Probe {
    /// Use the smallest sizes
    #[arg(long)]
    smallest: bool,
    /// Number of threads
    #[arg(long)]
    threads: usize,
}

impl Probe {
    /// Takes five training steps and returns this process's peak resident set, in MB, as text.
    ///
    /// # Errors
    /// A system without `/proc`; an error of the training.
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

/// Returns the one row, in MB.
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

/// Returns the peak resident set from the text of `/proc/self/status`, in MB.
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
