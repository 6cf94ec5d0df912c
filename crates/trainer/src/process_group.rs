//! The rank of this process in a group, as torchrun or Slurm tell it by the environment.

use std::str::FromStr;

use fewshot_experiment::{Config, DeviceKind, Error};

/// Added to `MASTER_PORT`, on which torchrun itself listens.
const PORT_OFFSET: u16 = 1;
/// Port of the rendezvous, less the offset, where none is named.
const DEFAULT_PORT: u16 = 29500;

/// A group of processes that train one model, each on a GPU of its own, and the place of this
/// process in it. The default is a group of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessGroup {
    /// Number of this process in the group, from 0.
    pub rank: usize,
    /// Number of processes.
    pub world_size: usize,
    /// Number of this process on its machine, from 0: the number of its GPU.
    pub local_rank: usize,
    /// Host and port of rank 0, where the others receive NCCL's identifier.
    pub rendezvous: (String, u16),
}

impl Default for ProcessGroup {
    fn default() -> Self {
        let rendezvous = ("127.0.0.1".to_owned(), DEFAULT_PORT + PORT_OFFSET);
        Self { rank: 0, world_size: 1, local_rank: 0, rendezvous }
    }
}

impl ProcessGroup {
    /// Reads `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `MASTER_ADDR` and `MASTER_PORT` (torchrun), else
    /// `SLURM_PROCID`, `SLURM_NTASKS`, `SLURM_LOCALID` and `SLURM_LAUNCH_NODE_IPADDR` (srun).
    /// Without either, or with one process, it is a group of one; so is the script of an `sbatch`
    /// that asked for no number of tasks, where `SLURM_NTASKS` is not set. Empty variables count as
    /// not set.
    ///
    /// # Errors
    /// [`Error::ProcessGroup`] for variables that are absent beside others, are no numbers, or
    /// contradict each other.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        Self::read(variable).map_err(Error::ProcessGroup)
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        // An empty variable is one that a script has left unset.
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let [rank, size, local, host] = if variable("WORLD_SIZE").is_some() {
            ["RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"]
        } else if ["SLURM_PROCID", "SLURM_NTASKS"].iter().all(|name| variable(name).is_some()) {
            ["SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_LAUNCH_NODE_IPADDR"]
        } else {
            return Ok(Self::default());
        };
        let world_size = number::<usize>(&variable, size)?;
        if world_size == 1 {
            return Ok(Self::default());
        }
        let group = Self {
            rank: number(&variable, rank)?,
            world_size,
            local_rank: number(&variable, local)?,
            rendezvous: (
                variable("MASTER_ADDR").or_else(|| variable(host)).ok_or_else(|| {
                    format!("{host} is not set, but {size} is: expected the host of rank 0")
                })?,
                port(&variable)?,
            ),
        };
        if group.rank >= group.world_size || group.local_rank > group.rank {
            return Err(format!(
                "{rank} is {}, {local} is {}, {size} is {}: expected {rank} below {size}, and \
                 {local} at most {rank}",
                group.rank, group.local_rank, group.world_size
            ));
        }
        Ok(group)
    }

    /// Whether this is rank 0, which prints, logs and saves.
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }

    /// Adjusts a configuration to this process: each of several has a GPU of its own.
    ///
    /// # Errors
    /// Settings that several processes cannot train by; a build without NCCL.
    pub fn configure(&self, config: &mut Config) -> Result<(), Error> {
        if self.world_size == 1 {
            return Ok(());
        }
        let refuse = |key: &str, got: String, expected: &str| {
            let expected = format!("{expected} for {} processes", self.world_size);
            Err(Error::Value { key: key.to_owned(), got, expected })
        };
        if !cfg!(feature = "nccl") {
            return Err(Error::MissingFeature {
                feature: "nccl",
                needed_for: format!(
                    "{} processes (WORLD_SIZE or SLURM_NTASKS); alone, unset them",
                    self.world_size
                ),
            });
        }
        if config.device == DeviceKind::Cpu {
            return refuse("device", config.device.to_string(), "cuda:0");
        }
        let batch = config.train.batch_size;
        if !batch.is_multiple_of(self.world_size) {
            return refuse("train.batch_size", batch.to_string(), "a multiple of their number");
        }
        if config.loader.on_broken == fewshot_data::OnBroken::Skip {
            return refuse("loader.on_broken", "skip".to_owned(), "error");
        }
        config.device = DeviceKind::Cuda(self.local_rank);
        Ok(())
    }
}

fn number<T: FromStr>(variable: &impl Fn(&str) -> Option<String>, name: &str) -> Result<T, String> {
    match variable(name) {
        None => Err(format!("{name} is not set, as torchrun and srun set it for each process")),
        Some(value) => value.trim().parse().map_err(|_| format!("{name} is {value:?}: no number")),
    }
}

/// The port of the rendezvous: beside `MASTER_PORT`, else one derived from the Slurm job, so
/// that two jobs on one machine do not collide.
fn port(variable: &impl Fn(&str) -> Option<String>) -> Result<u16, String> {
    if variable("MASTER_PORT").is_some() {
        let port: u16 = number(variable, "MASTER_PORT")?;
        return port.checked_add(PORT_OFFSET).ok_or_else(|| {
            format!("MASTER_PORT is {port}: expected a lower port, since the next one is used")
        });
    }
    let job: u64 = variable("SLURM_JOB_ID").and_then(|id| id.parse().ok()).unwrap_or(0);
    Ok(DEFAULT_PORT + PORT_OFFSET + (job % 1000) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(variables: &[(&str, &str)]) -> Result<ProcessGroup, String> {
        let group = ProcessGroup::from_environment(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        group.map_err(|error| error.to_string())
    }

    #[test]
    fn torchrun_and_slurm_are_understood() {
        assert_eq!(group(&[]), Ok(ProcessGroup::default()));
        let torchrun = [
            ("RANK", "5"),
            ("WORLD_SIZE", "8"),
            ("LOCAL_RANK", "1"),
            ("MASTER_ADDR", "node0"),
            ("MASTER_PORT", "12345"),
        ];
        let rendezvous = ("node0".to_owned(), 12346);
        let expected = ProcessGroup { rank: 5, world_size: 8, local_rank: 1, rendezvous };
        assert_eq!(group(&torchrun), Ok(expected));
        let slurm = [
            ("SLURM_PROCID", "3"),
            ("SLURM_NTASKS", "4"),
            ("SLURM_LOCALID", "3"),
            ("SLURM_LAUNCH_NODE_IPADDR", "10.0.0.7"),
            ("SLURM_JOB_ID", "4002"),
        ];
        let rendezvous = ("10.0.0.7".to_owned(), 29503);
        let expected = ProcessGroup { rank: 3, world_size: 4, local_rank: 3, rendezvous };
        assert_eq!(group(&slurm), Ok(expected));
        // torchrun within a Slurm job.
        assert_eq!(group(&[&torchrun[..], &slurm[..]].concat()).unwrap().rank, 5);
        // A single process needs no rendezvous.
        assert_eq!(group(&[("WORLD_SIZE", "1")]), Ok(ProcessGroup::default()));
        let alone = group(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "1")]);
        assert_eq!(alone, Ok(ProcessGroup::default()));
        // The script of an sbatch without -n.
        let script = [("SLURM_PROCID", "0"), ("SLURM_LOCALID", "0"), ("SLURM_JOB_ID", "7")];
        assert_eq!(group(&script), Ok(ProcessGroup::default()));
        let empty =
            [("WORLD_SIZE", ""), ("RANK", ""), ("SLURM_PROCID", "0"), ("SLURM_NTASKS", " ")];
        assert_eq!(group(&empty), Ok(ProcessGroup::default()));
        // Slurm's numbers count where torchrun's are empty, and the launching host where
        // MASTER_ADDR is.
        let both = [&slurm[..], &[("WORLD_SIZE", ""), ("MASTER_ADDR", "")]].concat();
        assert_eq!(group(&both), group(&slurm));
    }

    #[test]
    fn contradictions_are_refused() {
        let message = |variables: &[(&str, &str)]| group(variables).unwrap_err();
        assert!(message(&[("WORLD_SIZE", "2")]).contains("RANK is not set"));
        assert!(message(&[("WORLD_SIZE", "two")]).contains("WORLD_SIZE is \"two\""));
        let all = |rank, local, port| {
            message(&[
                ("WORLD_SIZE", "2"),
                ("RANK", rank),
                ("LOCAL_RANK", local),
                ("MASTER_ADDR", "a"),
                ("MASTER_PORT", port),
            ])
        };
        assert!(all("2", "0", "1").contains("RANK is 2"));
        assert!(all("0", "1", "1").contains("LOCAL_RANK is 1"));
        assert!(all("0", "0", "65535").contains("MASTER_PORT is 65535"));
        assert!(all("0", "0", "99999").contains("no number"));
        let lost = [("WORLD_SIZE", "2"), ("RANK", "0"), ("LOCAL_RANK", "0")];
        assert!(message(&lost).contains("MASTER_ADDR"));
    }
}
