//! Which of several processes this is, as torchrun or Slurm tell by the environment.

use std::str::FromStr;

/// Added to `MASTER_PORT`, where torchrun listens itself.
const OFFSET: u16 = 1;
/// Where nothing names a port.
const PORT: u16 = 29500;

/// One of several processes that train one model, each on a GPU of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranks {
    /// Which process, from 0.
    pub rank: usize,
    /// Of how many.
    pub count: usize,
    /// Which process on its machine: the number of its GPU.
    pub local: usize,
    /// Where rank 0 is met: host and port.
    pub meeting: (String, u16),
}

impl Default for Ranks {
    /// A process alone.
    fn default() -> Self {
        Self { rank: 0, count: 1, local: 0, meeting: ("127.0.0.1".to_owned(), PORT + OFFSET) }
    }
}

impl Ranks {
    /// Reads `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `MASTER_ADDR` and `MASTER_PORT` (torchrun), else
    /// `SLURM_PROCID`, `SLURM_NTASKS`, `SLURM_LOCALID` and `SLURM_LAUNCH_NODE_IPADDR` (srun).
    /// With neither, or with one process, it is alone.
    ///
    /// # Errors
    /// Variables that are absent beside others, are no numbers, or do not go together.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let [rank, count, local, host] = if variable("WORLD_SIZE").is_some() {
            ["RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"]
        } else if variable("SLURM_PROCID").is_some() {
            ["SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_LAUNCH_NODE_IPADDR"]
        } else {
            return Ok(Self::default());
        };
        let count_of = number::<usize>(&variable, count)?;
        if count_of == 1 {
            return Ok(Self::default());
        }
        let ranks = Self {
            rank: number(&variable, rank)?,
            count: count_of,
            local: number(&variable, local)?,
            meeting: (
                variable("MASTER_ADDR").or_else(|| variable(host)).ok_or_else(|| {
                    format!("{host} is not set, but {count} is: where is rank 0?")
                })?,
                port(&variable)?,
            ),
        };
        if ranks.rank >= ranks.count || ranks.local > ranks.rank {
            return Err(format!(
                "{rank} is {}, {local} is {}, {count} is {}: expected the first below the last, \
                 and the second at most the first",
                ranks.rank, ranks.local, ranks.count
            ));
        }
        Ok(ranks)
    }

    /// Whether this is the one that prints, logs and saves.
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }
}

fn number<T: FromStr>(variable: &impl Fn(&str) -> Option<String>, name: &str) -> Result<T, String> {
    match variable(name) {
        None => Err(format!("{name} is not set, as torchrun and srun set it for each process")),
        Some(value) => value.trim().parse().map_err(|_| format!("{name} is {value:?}: no number")),
    }
}

/// Of `MASTER_PORT`, else one that the Slurm job has for itself.
fn port(variable: &impl Fn(&str) -> Option<String>) -> Result<u16, String> {
    if variable("MASTER_PORT").is_some() {
        let port: u16 = number(variable, "MASTER_PORT")?;
        return port.checked_add(OFFSET).ok_or_else(|| {
            format!("MASTER_PORT is {port}: expected one below it, since the next is used")
        });
    }
    let job: u64 = variable("SLURM_JOB_ID").and_then(|id| id.parse().ok()).unwrap_or(0);
    Ok(PORT + OFFSET + (job % 1000) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks(variables: &[(&str, &str)]) -> Result<Ranks, String> {
        Ranks::from_environment(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn torchrun_and_slurm_are_understood() {
        assert_eq!(ranks(&[]), Ok(Ranks::default()));
        let torchrun = [
            ("RANK", "5"),
            ("WORLD_SIZE", "8"),
            ("LOCAL_RANK", "1"),
            ("MASTER_ADDR", "node0"),
            ("MASTER_PORT", "12345"),
        ];
        let meeting = ("node0".to_owned(), 12346);
        assert_eq!(ranks(&torchrun), Ok(Ranks { rank: 5, count: 8, local: 1, meeting }));
        let slurm = [
            ("SLURM_PROCID", "3"),
            ("SLURM_NTASKS", "4"),
            ("SLURM_LOCALID", "3"),
            ("SLURM_LAUNCH_NODE_IPADDR", "10.0.0.7"),
            ("SLURM_JOB_ID", "4002"),
        ];
        let meeting = ("10.0.0.7".to_owned(), 29503);
        assert_eq!(ranks(&slurm), Ok(Ranks { rank: 3, count: 4, local: 3, meeting }));
        // torchrun within a Slurm job.
        assert_eq!(ranks(&[&torchrun[..], &slurm[..]].concat()).unwrap().rank, 5);
        // One process needs no meeting.
        assert_eq!(ranks(&[("WORLD_SIZE", "1")]), Ok(Ranks::default()));
        assert_eq!(ranks(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "1")]), Ok(Ranks::default()));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let message = |variables: &[(&str, &str)]| ranks(variables).unwrap_err();
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
