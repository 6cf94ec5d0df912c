//! Machine and versions that the figures were measured on.

use std::fs::read_to_string;

use fewshot_experiment::{Provenance, RawConfig};
use serde::Serialize;
use serde_json::Value;

use super::python::Interpreter;

/// A machine and the software on it.
#[derive(Clone, Debug, Serialize)]
pub struct Hardware {
    /// Model name of the processor.
    pub cpu: String,
    /// Number of cores that this process may use.
    pub cores: usize,
    /// Number of threads of each side.
    pub threads: usize,
    /// Instruction set of our kernels.
    pub instruction_set: &'static str,
    /// Name of the GPU, if there is one that this build can use.
    pub gpu: Option<String>,
    /// Memory of the machine, in GB.
    pub memory_gb: Option<f64>,
    /// Name of the distribution and version of the kernel.
    pub os: String,
    /// Version of this workspace.
    pub version: String,
    /// Git commit of this workspace.
    pub commit: String,
    /// Version of candle-core.
    pub candle: String,
    /// Build profile: `release`, or `dev`, whose figures mean nothing.
    pub profile: &'static str,
    /// Versions of Python and what it imports.
    pub pytorch: Option<Value>,
}

impl Hardware {
    /// Describes this machine.
    ///
    /// # Errors
    /// None in practice: the default configuration is valid.
    pub fn this(
        threads: usize,
        python: Option<&Interpreter>,
    ) -> Result<Self, fewshot_experiment::Error> {
        let build = Provenance::of(&RawConfig::default().check()?);
        let cpu = read_to_string("/proc/cpuinfo").ok();
        let memory = read_to_string("/proc/meminfo").ok();
        Ok(Self {
            cpu: cpu.and_then(|text| field(&text, "model name")).unwrap_or_else(unknown),
            cores: cores(),
            threads,
            instruction_set: fewshot_ops::instruction_set(),
            gpu: gpu(),
            memory_gb: memory.and_then(|text| gigabytes(&field(&text, "MemTotal")?)),
            os: os(),
            version: build.version,
            commit: build.commit,
            candle: build.candle,
            profile: if cfg!(debug_assertions) { "dev" } else { "release" },
            pytorch: python.map(|python| python.versions.clone()),
        })
    }
}

/// One line of text.
impl std::fmt::Display for Hardware {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cpu, cores, threads, instruction_set, os, candle, profile, .. } = self;
        let (hash, modified) = match self.commit.split_once('-') {
            Some((hash, _)) => (hash, "-modified"),
            None => (&*self.commit, ""),
        };
        let commit = format!("{}{modified}", &hash[..hash.len().min(12)]);
        write!(f, "{cpu}, {cores} cores, {threads} threads, {instruction_set}")?;
        if let Some(memory) = self.memory_gb {
            write!(f, ", {memory:.0} GB")?;
        }
        if let Some(gpu) = &self.gpu {
            write!(f, ", {gpu}")?;
        }
        write!(f, ", {os}; commit {commit}, candle {candle}, {profile} build")?;
        if let Some(versions) = self.pytorch.as_ref().and_then(Value::as_object) {
            for (name, version) in versions {
                write!(f, ", {name} {}", version.as_str().unwrap_or("?"))?;
            }
        }
        Ok(())
    }
}

#[cfg(feature = "cuda")]
fn gpu() -> Option<String> {
    fewshot_ops::cuda::name(0).ok()
}

#[cfg(not(feature = "cuda"))]
fn gpu() -> Option<String> {
    None
}

/// Returns the number of cores that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn os() -> String {
    let release = read_to_string("/etc/os-release").ok();
    let name = release.and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
        Some(line.trim_matches('"').to_owned())
    });
    let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let name = name.unwrap_or_else(|| std::env::consts::OS.to_owned());
    format!("{name} {}", kernel.trim()).trim_end().to_owned()
}

/// Returns the value of the first line `name : value`.
fn field(text: &str, name: &str) -> Option<String> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
}

fn gigabytes(kibibytes: &str) -> Option<f64> {
    Some(kibibytes.strip_suffix("kB")?.trim().parse::<f64>().ok()? * 1024.0 / 1e9)
}

fn unknown() -> String {
    "unknown".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nmodel name\t: Other\n";
        assert_eq!(field(text, "model name").as_deref(), Some("Some CPU @ 3 GHz"));
        assert_eq!(field(text, "flags"), None);
        assert_eq!(gigabytes("1953125 kB"), Some(2.0));
        assert_eq!(gigabytes("plenty"), None);
    }

    #[test]
    fn this_machine_is_described() {
        let line = Hardware::this(3, None).unwrap().to_string();
        assert!(line.contains("3 threads") && line.contains("candle"), "{line}");
    }
}
