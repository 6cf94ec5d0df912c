//! The table of commands.

use std::ffi::OsString;

use super::{ci, docs};

/// A command of `cargo xtask`.
pub struct Command {
    /// Name on the command line.
    pub name: &'static str,
    /// Description of one line.
    pub about: &'static str,
    /// How it is run.
    pub run: Run,
}

/// How a command is run.
pub enum Run {
    /// By this program; returns the text to print.
    Here(fn() -> Result<String, String>),
    /// By another package's program, which gets the command's name and arguments.
    Program {
        /// Package, as in `cargo run --package`.
        package: &'static str,
        /// Binary of the package.
        binary: &'static str,
        /// Feature of the package that the command needs, if any.
        feature: Option<&'static str>,
    },
}

const DATASETS: Run = program("fewshot-datasets", "datasets", None);
const EMNIST: Run = program("fewshot-datasets", "datasets", Some("emnist"));
const PUBLISH: Run = program("fewshot-publish", "publish", None);
const REPRODUCE: Run = program("fewshot-reproduce", "reproduce", None);
const BENCH: Run = program("fewshot-bench", "bench", None);
const TORMENT: Run = program("fewshot-torment", "torment", None);
const CHECK_CUDA: Run = program("fewshot-simulated-gpu", "check-cuda", None);

/// All commands, in the order in which they are listed.
pub const COMMANDS: &[Command] = &[
    command("ci", "Runs all checks of continuous integration, cheapest first", Run::Here(ci::run)),
    command("docs", "Builds the documentation, with the API's pages", Run::Here(docs::run)),
    command("check-cuda", "Checks that the CUDA build compiles, without a GPU", CHECK_CUDA),
    command("torment", "Tests by random faults: kills, full disks, damaged files", TORMENT),
    command("bench", "Measures speed and memory, beside PyTorch on the same machine", BENCH),
    command("reproduce", "Trains and evaluates the paper's main table and its curves", REPRODUCE),
    command("plot", "Draws the curves of runs", REPRODUCE),
    command("datasets", "Lists the datasets that can be downloaded", DATASETS),
    command("download-cub", "Downloads Caltech-UCSD Birds-200-2011 (1.15 GB)", DATASETS),
    command("download-omniglot", "Downloads Omniglot (16 MB)", DATASETS),
    command("download-cifar-fs", "Downloads CIFAR-100 (169 MB) and makes CIFAR-FS of it", DATASETS),
    command("download-mini-imagenet", "Downloads mini-ImageNet (7.4 GB)", DATASETS),
    command("prepare-mini-imagenet", "Makes mini-ImageNet from a local copy", DATASETS),
    command("prepare-emnist", "Makes class folders of EMNIST's idx files", EMNIST),
    command("verify", "Checks that a copy of a dataset is complete", DATASETS),
    command("pack", "Packs a dataset into one file per split", DATASETS),
    command("convert", "Converts a PyTorch checkpoint to safetensors", PUBLISH),
    command("publish", "Makes a folder of a checkpoint for the Hugging Face hub", PUBLISH),
];

const fn program(
    package: &'static str,
    binary: &'static str,
    feature: Option<&'static str>,
) -> Run {
    Run::Program { package, binary, feature }
}

const fn command(name: &'static str, about: &'static str, run: Run) -> Command {
    Command { name, about, run }
}

/// Returns the list of all commands.
pub fn help() -> String {
    let width = COMMANDS.iter().map(|command| command.name.len()).max().unwrap_or_default();
    let lines = COMMANDS.iter().map(|c| format!("  {:width$}  {}\n", c.name, c.about));
    format!(
        "Checks of the workspace, its documentation, and the commands of its other programs\n\n\
         Usage: cargo xtask [CARGO OPTIONS] COMMAND [ARGUMENTS]\n\n\
         Commands:\n{}\n\
         `cargo xtask COMMAND --help` explains a command.\n\n\
         Cargo options, with which a command's program is built:\n  \
         --features FEATURES  for example cuda, for bench and reproduce on NVIDIA GPUs\n  \
         --release            with optimizations\n",
        lines.collect::<String>()
    )
}

/// Removes the options for cargo, which stand before the command, and returns them.
///
/// # Errors
/// An option that is not known, or lacks its value.
pub fn take_cargo_options(arguments: &mut Vec<OsString>) -> Result<Vec<OsString>, String> {
    let mut count = 0;
    while let Some(option) = arguments.get(count).and_then(|argument| argument.to_str()) {
        count += match option {
            "--features" if arguments.len() > count + 1 => 2,
            "--features" => return Err("--features needs a value".to_owned()),
            "--release" => 1,
            _ if option.starts_with("--features=") => 1,
            "-h" | "--help" | "-V" | "--version" => break,
            _ if option.starts_with('-') => {
                return Err(format!("unknown option {option}: see `cargo xtask --help`"));
            }
            _ => break,
        };
    }
    Ok(arguments.drain(..count).collect())
}

/// Returns the command of this name.
///
/// # Errors
/// No such command; the message has the nearest name.
pub fn find(name: &str) -> Result<&'static Command, String> {
    COMMANDS.iter().find(|command| command.name == name).ok_or_else(|| {
        let nearest = COMMANDS.iter().min_by_key(|command| distance(name, command.name));
        let nearest = nearest.map(|command| command.name).unwrap_or_default();
        format!(
            "no command `{name}`: did you mean `{nearest}`? `cargo xtask --help` lists all commands"
        )
    })
}

/// Returns the Levenshtein distance: the least number of characters to insert, delete or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(arguments: &[&str]) -> Result<(Vec<OsString>, Vec<OsString>), String> {
        let mut arguments = arguments.iter().map(OsString::from).collect();
        Ok((take_cargo_options(&mut arguments)?, arguments))
    }

    #[test]
    fn names_differ_and_are_listed() {
        let help = help();
        for (i, command) in COMMANDS.iter().enumerate() {
            assert!(COMMANDS[..i].iter().all(|other| other.name != command.name));
            assert!(help.contains(&format!("\n  {} ", command.name)), "{help}");
            assert!(find(command.name).is_ok_and(|found| found.about == command.about));
        }
    }

    #[test]
    fn the_nearest_command_is_named() {
        for (name, nearest) in [("benhc", "bench"), ("download-cab", "download-cub"), ("c", "ci")] {
            let message = find(name).err().unwrap();
            assert!(message.contains(&format!("did you mean `{nearest}`")), "{message}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "ci"), 2);
    }

    #[test]
    fn options_before_the_command_are_for_cargo() {
        let (options, rest) = taken(&["--features", "cuda", "--release", "bench", "--x"]).unwrap();
        assert_eq!(options, ["--features", "cuda", "--release"]);
        assert_eq!(rest, ["bench", "--x"]);
        let (options, rest) = taken(&["bench", "--features", "cuda"]).unwrap();
        assert!(options.is_empty() && rest.len() == 3);
        assert_eq!(taken(&["--features=cuda", "--help"]).unwrap().1, ["--help"]);
        assert!(taken(&["--features"]).unwrap_err().contains("needs a value"));
        assert!(taken(&["--relaese", "ci"]).unwrap_err().contains("unknown option --relaese"));
    }
}
