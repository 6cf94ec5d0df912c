use std::path::{Path, PathBuf};

use fewshot_progress::printable_value;
use thiserror::Error;

/// Errors of an experiment. Every message names the file or key, what was found there, and what
/// is expected.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting has a value that it does not take.
    #[error("`{}` is {}: expected {expected}", printable_value(key), printable_value(got))]
    Value {
        /// Dotted key.
        key: String,
        /// The value as it was written.
        got: String,
        /// What the key takes.
        expected: String,
    },
    /// A setting of a file is wrong.
    #[error("{place}: {error}")]
    At {
        /// File and line.
        place: String,
        /// What is wrong with it.
        error: Box<Error>,
    },
    /// No setting has this name.
    #[error("unknown key `{}`{}", printable_value(key), hint.as_ref().map_or_else(String::new, |hint| format!(": did you mean `{hint}`?")))]
    UnknownKey {
        /// Dotted key.
        key: String,
        /// The nearest key that exists.
        hint: Option<String>,
    },
    /// A configuration is not TOML, or an argument not `key=value`.
    #[error("{0}")]
    Syntax(String),
    /// Reading or writing failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// `read`, `write`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The processes that train together cannot find each other or do not fit together.
    #[error("{0}")]
    ProcessGroup(String),
    /// This build lacks a Cargo feature.
    #[error(
        "this build has no feature `{feature}` (build with --features {feature}), which it takes for {needed_for}"
    )]
    MissingFeature {
        /// The feature.
        feature: &'static str,
        /// What was asked for.
        needed_for: String,
    },
    /// Signals to stop, such as Ctrl-C, cannot be received.
    #[error("cannot receive Ctrl-C and other signals to stop: {0}")]
    SignalHandler(String),
    /// A file cannot be downloaded. The message names its address.
    #[error("{0}")]
    Download(String),
    /// Something cannot be written as JSON.
    #[error("cannot write {what} as JSON: {source}")]
    Json {
        /// Name of the content.
        what: &'static str,
        /// The reason.
        source: serde_json::Error,
    },
    /// The results of a run cannot be used.
    #[error("{path}: {reason}")]
    Results {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another trainer is at work in a run folder.
    #[error(
        "{path}: another trainer{holder} is at work there: wait for it{remedy}, or name another folder with --run-dir"
    )]
    RunInUse {
        /// The run folder.
        path: PathBuf,
        /// Who that is, as ` (process N on HOST)`, if it is known.
        holder: String,
        /// What else can be done.
        remedy: String,
    },
    /// A run would be written to a folder that holds something else.
    #[error("{path}: holds no run, but `{name}`: name an empty or a new folder for the run")]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// Something that lies in it.
        name: String,
    },
    /// A resumed run was given other settings than its own.
    #[error(
        "{path}: a run that goes on keeps its settings, but these were given otherwise:\n{changes}\nleave them out, or add --change to go on with what was given"
    )]
    OtherSettings {
        /// The checkpoint.
        path: PathBuf,
        /// The settings, a line each.
        changes: String,
    },
    /// A file or folder would be overwritten.
    #[error("{path}: it is there already: name a new {kind}")]
    Exists {
        /// The existing path.
        path: PathBuf,
        /// `file` or `folder`.
        kind: &'static str,
    },
    /// An argument of the command line has a value that it does not take.
    #[error("{name} {got}: expected {expected}")]
    Argument {
        /// The flag.
        name: &'static str,
        /// The value as it was written.
        got: String,
        /// What the flag takes.
        expected: &'static str,
    },
    /// A dataset cannot be found.
    #[error("`{key}` is \"{}\", which does not exist{}{}", root.display(), under.as_ref().map_or_else(
        || "; set FEWSHOT_DATA to the folder that relative paths lie in".to_owned(),
        |under| format!(" (nor under FEWSHOT_DATA, {})", under.display())
    ), others(beside))]
    NoDataset {
        /// Dotted key.
        key: String,
        /// Its value.
        root: PathBuf,
        /// The value of `FEWSHOT_DATA`.
        under: Option<PathBuf>,
        /// Other datasets that are there, as values of the key.
        beside: Vec<PathBuf>,
    },
    /// A checkpoint is damaged, is no checkpoint, or does not fit.
    #[error("checkpoint {path}: {reason}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A model has no classifier, but it is asked for.
    #[error(
        "the checkpoint holds a backbone without a classifier: it can be evaluated on episodes, but \
         neither its accuracy on base classes nor its training goes without one"
    )]
    NoClassifier,
    /// The data cannot be read.
    #[error(transparent)]
    Data(#[from] fewshot_data::Error),
    /// A split has too few classes or images for an episode.
    #[error("{split}: {reason}")]
    TooFew {
        /// Kind of source and split.
        split: String,
        /// What is needed, what there is, and what to do.
        reason: String,
    },
    /// Episodes cannot be drawn.
    #[error(transparent)]
    Episodes(#[from] fewshot_episodes::Error),
    /// A classifier cannot be built or applied.
    #[error("{}", head_message(.0))]
    Head(#[from] fewshot_losses::Error),
    /// A tensor operation failed.
    #[error("{}", tensor_message(.0))]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// Returns a function for `map_err` on an operation with files.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Whether a file or folder is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }

    /// Returns a function for `map_err` on writing JSON.
    pub fn json(what: &'static str) -> impl FnOnce(serde_json::Error) -> Self {
        move |source| Self::Json { what, source }
    }

    /// Returns an error about a dataset of which every image was skipped as broken.
    pub fn all_skipped(dataset: &fewshot_data::Dataset) -> Self {
        let reason = dataset.load(0).err().map(|e| format!("; the first: {e}"));
        Self::Value {
            key: "loader.on_broken".to_owned(),
            got: format!(
                "skip, and all {} images of {} were skipped as broken{}",
                dataset.len(),
                dataset.name(),
                reason.unwrap_or_default()
            ),
            expected: "images that can be decoded".to_owned(),
        }
    }

    /// Returns an error about a checkpoint that cannot be used.
    pub fn checkpoint(path: &Path, reason: impl ToString) -> Self {
        Self::Checkpoint { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// Names the datasets that are there, or how to get one.
fn others(beside: &[PathBuf]) -> String {
    let names: Vec<_> = beside.iter().map(|root| root.display().to_string()).collect();
    let download = "`cargo xtask datasets` lists those that can be downloaded";
    match names.is_empty() {
        true => format!("; {download}"),
        false => format!("; there are {}: name one of them; {download}", names.join(", ")),
    }
}

/// Returns candle's message without the backtrace that it contains if RUST_BACKTRACE is set: these
/// are errors of the user's files and settings, not of the program.
fn tensor_message(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => tensor_message(inner),
        error => error.to_string(),
    }
}

fn head_message(error: &fewshot_losses::Error) -> String {
    match error {
        fewshot_losses::Error::Tensor(error) => tensor_message(error),
        error => error.to_string(),
    }
}
