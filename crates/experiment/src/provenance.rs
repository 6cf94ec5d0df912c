//! Provenance of results: build, device, configuration and seed.

use serde::{Deserialize, Serialize};

use crate::{Config, DeviceKind};

/// What it takes to reproduce a result. Neither it nor the result depends on time or on the number
/// of threads.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Provenance {
    /// Version of the workspace.
    pub version: String,
    /// Version of candle-core.
    pub candle: String,
    /// Commit of the build, followed by `-modified` if its sources were changed, or `unknown` for a
    /// build outside a checkout.
    pub commit: String,
    /// Device, with the instruction set of its kernels, which decides how sums are rounded.
    pub device: String,
    /// [`Config::sha256`].
    pub config_sha256: String,
    /// Seed of the training.
    pub seed: u64,
}

impl Provenance {
    /// Returns the provenance of what this process computes under a configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            candle: env!("FEWSHOT_CANDLE").to_owned(),
            commit: env!("FEWSHOT_COMMIT").to_owned(),
            device: device(config),
            config_sha256: config.sha256(),
            seed: config.seed,
        }
    }
}

/// Describes the device, including what decides how sums are rounded.
fn device(config: &Config) -> String {
    match config.device {
        DeviceKind::Cpu => format!("cpu ({})", fewshot_ops::instruction_set()),
        #[cfg(feature = "cuda")]
        DeviceKind::Cuda(ordinal) => {
            let name = fewshot_ops::cuda::name(ordinal).unwrap_or_else(|_| "absent".to_owned());
            format!("{} ({name}, {})", config.device, config.precision.name())
        }
        #[cfg(not(feature = "cuda"))]
        DeviceKind::Cuda(_) => format!("{} (absent)", config.device),
    }
}

/// One line, with hashes cut to twelve digits.
impl std::fmt::Display for Provenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { version, candle, device, seed, .. } = self;
        let cut = |hash: &str| hash.get(..12).unwrap_or(hash).to_owned();
        let config = cut(&self.config_sha256);
        let (hash, modified) = match self.commit.split_once('-') {
            Some((hash, _)) => (hash, "-modified"),
            None => (&*self.commit, ""),
        };
        let commit = cut(hash);
        write!(
            f,
            "version {version}, commit {commit}{modified}, candle {candle}, {device}, \
             config {config}, seed {seed}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RawConfig;
    use sha2::{Digest, Sha256};

    fn provenance(settings: &[&str]) -> Provenance {
        let mut raw = RawConfig::default();
        settings.iter().for_each(|setting| raw.set(setting).unwrap());
        Provenance::of(&raw.check().unwrap())
    }

    #[test]
    fn the_build_knows_what_it_is_made_of() {
        let run = provenance(&["seed=3"]);
        assert_eq!(run.seed, 3);
        let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock");
        let entry = format!("name = \"candle-core\"\nversion = \"{}\"", run.candle);
        assert!(std::fs::read_to_string(lock).unwrap().contains(&entry), "{entry}");
        let commit = run.commit.trim_end_matches("-modified");
        let is_hash = commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit());
        assert!(is_hash || commit == "unknown", "{commit}");
        assert!(["cpu (avx512)", "cpu (avx2)", "cpu (portable)"].contains(&run.device.as_str()));
    }

    #[test]
    fn the_hash_is_of_all_that_changes_results() {
        let hash = |settings: &[&str]| provenance(settings).config_sha256;
        assert_eq!(hash(&[]).len(), 64);
        assert_eq!(hash(&[]), hash(&["method.margin=0.0"]), "a default that is written out");
        assert_eq!(hash(&["method.margin=3"]), hash(&["method.margin=3.0"]));
        assert_eq!(
            hash(&[]),
            hash(&["loader.threads=3", "loader.prefetch_mib=1", "train.save_freq=7"])
        );
        for setting in ["method.margin=0.1", "seed=1", "test.seed=1", "loader.on_broken=skip"] {
            assert_ne!(hash(&[]), hash(&[setting]), "{setting}");
        }
    }

    /// As checkpoints/README.md has it done with grep and sha256sum.
    #[test]
    fn the_hash_is_found_again_from_a_run_folder() {
        const SPEED: [&str; 3] = ["threads", "prefetch_mib", "save_freq"];
        let config = RawConfig::default().check().unwrap();
        let is_kept = |line: &&str| !SPEED.iter().any(|key| line.starts_with(&format!("{key} = ")));
        let text = config.to_toml();
        let kept: String = text.lines().filter(is_kept).map(|line| format!("{line}\n")).collect();
        assert_eq!(kept.lines().count() + SPEED.len(), text.lines().count());
        let digest = Sha256::digest(kept);
        let hexadecimal: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(config.sha256(), hexadecimal);
    }

    #[test]
    fn a_line_for_readers() {
        let run = Provenance {
            version: "1.2.3".to_owned(),
            candle: "0.11.1".to_owned(),
            commit: "0123456789abcdef0123456789abcdef01234567-modified".to_owned(),
            device: "cpu (avx2)".to_owned(),
            config_sha256: "fedcba9876543210".repeat(4),
            seed: 7,
        };
        let line = "version 1.2.3, commit 0123456789ab-modified, candle 0.11.1, cpu (avx2), \
                    config fedcba987654, seed 7";
        assert_eq!(run.to_string(), line);
        let unknown = Provenance { commit: "unknown".to_owned(), ..run }.to_string();
        assert!(unknown.contains("commit unknown,"), "{unknown}");
    }
}
