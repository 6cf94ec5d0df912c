//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Learns classes from a few photos each, and labels others. Offline: nothing leaves this machine.
#[derive(Parser)]
#[command(
    name = "fewshot",
    version,
    after_help = "Examples:
  fewshot fit birds/                                birds/robin/*.jpg, birds/wren/*.jpg, …: makes birds.fewshot
  fewshot fit birds/ --model resnet.safetensors     by a network of your own
  fewshot predict birds.fewshot garden/             a line for each photo
  fewshot predict birds.fewshot garden/ --format csv --top 3 > labels.csv
  find /photos -name '*.jpg' | fewshot predict birds.fewshot -
  fewshot predict birds.fewshot garden/ --copy-to sorted/
  fewshot add birds.fewshot more/                   more/heron/*.jpg: a new class, the others are not learned anew
  fewshot check birds.fewshot others/               accuracy on photos that it has not seen
  fewshot report birds.fewshot --test others/ --out report.html
  fewshot serve birds.fewshot                       a page where photos are labelled, corrected and learned
  fewshot embed garden/ --out features.csv

Exit status: 0 done, 1 done but for photos that are broken (each named on standard error), 2 nothing could be done."
)]
pub struct CommandLine {
    #[command(subcommand)]
    pub command: Command,
    /// Show no progress
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Threads that compute [default: one a core]; results do not depend on it
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Learns the classes of a folder of class folders, an archive of one, or a CSV of path,label. Measures
    /// itself on photos that it leaves out, calibrates its probabilities and what it calls unknown, and
    /// names photos that are probably mislabelled. The photos of an album that is made again are not
    /// computed again
    Fit(Fit),
    /// Labels photos: files, folders, archives, or paths on standard input (-)
    Predict(Predict),
    /// Adds photos of known classes, or a new class, without computing the others anew
    Add(Add),
    /// Measures accuracy on labelled photos that an album has not seen. Photos of classes that it does not
    /// have should be called unknown
    Check(Check),
    /// Writes one HTML file: accuracy, which classes are taken for which, whether probabilities are true, a map
    /// of the photos, each class, and each error beside the photo that it looks like
    Report(Report),
    /// Serves a page on this machine, where photos are dropped or pasted, labelled, corrected, and added to a
    /// class or a new one, which is learned at once; and a JSON API (/openapi.json)
    Serve(Serve),
    /// Writes the features of photos
    Embed(Embed),
    /// Prints completions of commands and options for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Where the network is.
#[derive(Args)]
pub struct ModelArgument {
    /// Network that turns photos into features: a checkpoint of trainer (or its run's folder) or of PyTorch,
    /// or hf://… for one of the Hugging Face hub; `default` is the one that comes along, a ResNet-10
    /// (checkpoints/photos-resnet10) [default: that which the album was made with, else `default`]
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,
}

#[derive(Args)]
pub struct Fit {
    /// Folder of class folders, archive, or CSV of path,label
    pub photos: PathBuf,
    #[command(flatten)]
    pub model: ModelArgument,
    /// How the classifier is learned
    #[arg(long, value_enum, default_value_t = Head::Logistic)]
    pub head: Head,
    /// The album to write [default: the photos' name with .fewshot]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Share of photos of known classes that may be called unknown
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    pub false_alarms: f64,
    /// Seed of fine-tuning
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Print the measurements as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Head {
    /// Nearest class mean
    Prototype,
    /// Logistic regression
    Logistic,
    /// A cosine classifier, trained as the paper does
    Finetune,
}

#[derive(Args)]
pub struct Predict {
    /// The album
    pub album: PathBuf,
    /// Photos, folders, archives; - for a path a line on standard input
    #[arg(required = true)]
    pub images: Vec<PathBuf>,
    #[command(flatten)]
    pub model: ModelArgument,
    /// Format of the answers
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Classes of each photo that are told
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    pub top: u16,
    /// What is called unknown: `auto` as calibrated, the cosine with the nearest class mean below which a photo
    /// is, or `off`
    #[arg(long, value_name = "auto|COSINE|off", default_value = "auto", value_parser = unknown)]
    pub unknown: Unknown,
    /// Copy each photo into a folder of its label in this one
    #[arg(long, value_name = "DIR")]
    pub copy_to: Option<PathBuf>,
}

#[derive(Clone, Copy)]
pub enum Unknown {
    Auto,
    Below(f64),
    Off,
}

fn unknown(text: &str) -> Result<Unknown, String> {
    match (text, text.parse::<f64>()) {
        ("auto", _) => Ok(Unknown::Auto),
        ("off", _) => Ok(Unknown::Off),
        (_, Ok(cosine)) if (-1.0..=1.0).contains(&cosine) => Ok(Unknown::Below(cosine)),
        _ => Err("expected auto, off, or a cosine from -1 to 1".to_owned()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    /// One array
    Json,
    /// An object a line
    Jsonl,
    Csv,
}

#[derive(Args)]
pub struct Add {
    /// The album, which is written anew
    pub album: PathBuf,
    /// Folder of class folders, archive, or CSV of path,label
    pub photos: PathBuf,
    #[command(flatten)]
    pub model: ModelArgument,
}

#[derive(Args)]
pub struct Check {
    /// The album
    pub album: PathBuf,
    /// Folder of class folders, archive, or CSV of path,label
    pub photos: PathBuf,
    #[command(flatten)]
    pub model: ModelArgument,
    /// Print the measurements as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Report {
    /// The album
    pub album: PathBuf,
    /// Labelled photos that it has not seen: folder of class folders, archive, or CSV of path,label [default: its
    /// own, each left out]
    #[arg(long, value_name = "PHOTOS")]
    pub test: Option<PathBuf>,
    #[command(flatten)]
    pub model: ModelArgument,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    pub out: PathBuf,
}

#[derive(Args)]
pub struct Serve {
    /// The album, which is written when the page says so
    pub album: PathBuf,
    #[command(flatten)]
    pub model: ModelArgument,
    /// Port; 0 for any that is free
    #[arg(long, value_name = "N", default_value_t = 8000)]
    pub port: u16,
    /// Address to listen on. Others than this machine's own need --token
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub host: std::net::IpAddr,
    /// What every request has to carry (Authorization: Bearer TOKEN); the page asks for it
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
}

#[derive(Args)]
pub struct Embed {
    /// Photos, folders, archives; - for a path a line on standard input
    #[arg(required = true)]
    pub images: Vec<PathBuf>,
    #[command(flatten)]
    pub model: ModelArgument,
    /// File to write: .csv, or .safetensors of the tensor `features` and the photos' names in its metadata
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}
