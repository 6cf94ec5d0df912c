//! `evaluator analyse`: what a margin does to features.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use evaluator::Candidate;
use evaluator::analysis::{Analysis, Subject, analyse, page};
use fewshot_episodes::Head;
use fewshot_episodes::heads::HeadKind;
use fewshot_experiment::{Error, RawConfig, device, write_atomically};
use fewshot_progress::warn;

use crate::settings::set;

/// Measures what a margin does to features: section 4 of the paper, for checkpoints side by side.
///
/// For every split that the dataset has (base: the images trained on; base-val: images of base classes
/// that were held out, by dataset.hold_out; val and novel: unseen classes): the discriminability
/// of L2-normalised features, their norms and angles, and few-shot accuracy with several heads, with
/// the paired difference from the first checkpoint. For unseen classes also P(j, k), the probability
/// that an image of class j is taken for base class k by the trained classifier, with its entropy, the
/// number of base classes that hold 90 % of a class, and the largest share; and the confusion among them
/// by nearest class means. The accuracy of the trained classifier on base classes is the one without
/// margin.
///
/// DIR gets analysis.json, analysis.csv, and analysis.html: one page that opens anywhere, with t-SNE
/// maps and the images closest to and farthest from the means of their classes.
#[derive(Args)]
#[command(after_help = "Examples:
  evaluator analyse --checkpoint runs/m0/last.safetensors runs/m-0.3/last.safetensors --out analysis
  evaluator analyse --checkpoint runs/*/last.safetensors --out analysis --heads finetune,prototype
  evaluator analyse --checkpoint mini.safetensors --out cross dataset.novel.source=cub \\
            dataset.novel.root=CUB_200_2011.tgz

Exit status: 0 on success, 2 on any error.")]
pub struct AnalyseArguments {
    /// Checkpoints of trainer, or hf://… for one of the Hugging Face hub. The datasets are each
    /// checkpoint's own; episodes are drawn as for the first
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    checkpoint: Vec<PathBuf>,
    /// Folder for the results, created if need be; files of an earlier analysis are replaced
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[arg(
        long, value_name = "HEAD,…", value_delimiter = ',', default_value = "finetune,prototype",
        help = format!("Adaptation heads to measure accuracy with: {}", HeadKind::names())
    )]
    heads: Vec<String>,
    /// Support images per class; one evaluation for each number [default: 1,5]
    #[arg(long, value_name = "K,…", value_delimiter = ',')]
    shots: Vec<usize>,
    /// Episodes for each number of shots [default: 600]
    #[arg(long, value_name = "N")]
    episodes: Option<usize>,
    /// Seed of the episodes [default: the first checkpoint's test.seed, usually 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Settings to override
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

impl AnalyseArguments {
    /// Analyses the checkpoints and writes the results; returns what to print.
    ///
    /// # Errors
    /// A checkpoint or an image that cannot be read; a setting that does not check; a folder that
    /// cannot be written to.
    pub fn run(self) -> Result<String, Error> {
        std::fs::create_dir_all(&self.out).map_err(Error::io("create", &self.out))?;
        let mut overrides = RawConfig::default();
        let shots = (!self.shots.is_empty()).then(|| format!("{:?}", self.shots));
        set(&mut overrides, "test.shots", shots)?;
        set(&mut overrides, "test.episodes", self.episodes)?;
        set(&mut overrides, "test.seed", self.seed)?;
        self.settings.iter().try_for_each(|setting| overrides.set(setting))?;

        let mut first: Option<RawConfig> = None;
        let (mut checkpoints, mut extracted) = (Vec::new(), Vec::new());
        for (number, path) in (1..).zip(&self.checkpoint) {
            let count = self.checkpoint.len();
            warn(format_args!("[{number}/{count}] {}", path.display()));
            let adjust = |raw: &mut RawConfig| {
                if let Some(first) = &first {
                    raw.take_from(first, |key| key.starts_with("test."));
                }
            };
            let candidate = Candidate::open(path, &overrides, adjust)?;
            let heads = self.heads(&candidate.raw)?;
            let subject = Subject {
                name: &candidate.name,
                epoch: candidate.epoch,
                config: &candidate.config,
                model: &candidate.model,
                heads: &heads,
            };
            let (mut analysis, features) = analyse(&subject, &device(&candidate.config)?)?;
            if let Some(first) = checkpoints.first() {
                analysis.subtract(first)?;
            }
            checkpoints.push(analysis);
            extracted.push(features);
            first.get_or_insert(candidate.raw);
        }
        let test = first.unwrap_or_default().check()?.test;
        let analysis = Analysis {
            way: test.way,
            query: test.query,
            episodes: test.episodes,
            test_seed: test.seed,
            checkpoints,
        };
        let failed = |file: &str, reason: &dyn std::fmt::Display| Error::Results {
            path: self.out.join(file),
            reason: reason.to_string(),
        };
        let json = serde_json::to_string_pretty(&analysis).map_err(Error::json("analysis"))?;
        self.write("analysis.json", &json)?;
        let csv = analysis.to_csv().map_err(|e| failed("analysis.csv", &e))?;
        self.write("analysis.csv", &csv)?;
        let html = page(&analysis, &extracted).map_err(|e| failed("analysis.html", &e))?;
        self.write("analysis.html", &html)?;
        let out = Path::new(&self.out).display();
        Ok(format!("{}\n\nwritten: {out}/analysis.html, .json, .csv", analysis.to_text()))
    }

    /// Returns the adaptation heads, with the settings of a checkpoint's configuration.
    fn heads(&self, raw: &RawConfig) -> Result<Vec<Arc<dyn Head>>, Error> {
        let head = |name: &String| {
            let mut raw = raw.clone();
            raw.set(&format!("test.head={name}"))?;
            Ok(raw.check()?.test.head)
        };
        self.heads.iter().map(head).collect()
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        write_atomically(&self.out.join(name), text.as_bytes())
    }
}
