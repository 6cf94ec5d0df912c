//! The variants of an ablation.

use std::path::{Path, PathBuf};

use fewshot_data::Split;
use fewshot_episodes::heads::HeadKind;
use fewshot_experiment::RawConfig;
use serde::Deserialize;

use crate::files::{CONFIGS, read_budget};
use crate::plan::Training;

/// An ablation, as a file of `configs/budgets` describes it.
#[derive(Clone, Debug)]
pub struct Recipes {
    /// Name of the file without `.toml`; the folder of its runs has the same name.
    pub name: String,
    /// Classes that episodes are drawn from.
    pub split: Split,
    /// Adaptation heads that accuracy is measured with.
    pub heads: Vec<HeadKind>,
    /// Episodes for each number of shots.
    pub episodes: usize,
    /// Margins, 0 first, with which others are compared.
    pub margins: Vec<f64>,
    /// Number of trainings of each margin, with seeds from 0.
    pub seeds: u64,
    /// The variants; the first is what others are compared with.
    pub variants: Vec<Variant>,
    /// Settings of all trainings.
    settings: RawConfig,
}

/// One way to train and to evaluate.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Name, which is also a folder.
    pub name: String,
    /// The variant whose trainings are evaluated: itself, or another one.
    pub trained: String,
    /// File of the checkpoint in a run's folder.
    pub checkpoint: String,
    /// Settings of the evaluation.
    pub evaluation: RawConfig,
    /// Whether the networks of all seeds are evaluated as one.
    pub ensemble: bool,
    /// Variant whose network, of the same margin and seed, is the teacher.
    teacher: Option<String>,
    /// Settings over those of all.
    settings: RawConfig,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Configuration below `configs/`, which `settings` lie over.
    config: PathBuf,
    split: String,
    heads: Vec<String>,
    episodes: usize,
    margins: Vec<f64>,
    seeds: u64,
    #[serde(default)]
    settings: toml::Table,
    variant: Vec<Section>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    name: String,
    trained: Option<String>,
    #[serde(default)]
    settings: toml::Table,
    #[serde(default)]
    evaluation: toml::Table,
    checkpoint: Option<String>,
    teacher: Option<String>,
    #[serde(default)]
    ensemble: bool,
}

impl Recipes {
    /// Reads an ablation by its name in `configs/budgets`, or by its file.
    ///
    /// # Errors
    /// No such ablation; unknown keys; variants that do not fit together; settings that do not check.
    pub fn read(name: &str) -> Result<Self, String> {
        let names = "ablation-cub, ablation-gpu, ablation-mini-imagenet, ablation-tiny";
        read_budget(name, names, Self::parse)
    }

    fn parse(name: &str, text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let head = |name: &String| {
            name.parse().map_err(|_| format!("`heads` has {name}: expected {}", HeadKind::names()))
        };
        if file.margins.first() != Some(&0.0) {
            return Err("`margins` must begin with 0, which others are compared with".to_owned());
        }
        let mut settings = RawConfig::from_file(&Path::new(CONFIGS).join(&file.config))
            .map_err(|e| e.to_string())?;
        settings.overlay(&raw(&file.settings)?);
        let mut variants = Vec::<Variant>::new();
        for section in file.variant {
            let variant = Variant::new(section, &variants)?;
            variants.push(variant);
        }
        if variants.first().is_none_or(|first| first.trained != first.name || first.ensemble) {
            return Err("the first variant, which others are compared with, must be trained".into());
        }
        let recipes = Self {
            name: name.to_owned(),
            split: file.split.parse().map_err(|e: fewshot_data::Error| e.to_string())?,
            heads: file.heads.iter().map(head).collect::<Result<_, _>>()?,
            episodes: file.episodes,
            margins: file.margins,
            seeds: file.seeds,
            variants,
            settings,
        };
        recipes.trainings(Path::new(""))?;
        Ok(recipes)
    }

    /// Returns all trainings in the order in which they are run: first seeds come first, and teachers
    /// before those whom they teach.
    ///
    /// # Errors
    /// Settings that do not check.
    pub fn trainings(&self, out: &Path) -> Result<Vec<Training>, String> {
        let mut trainings = Vec::new();
        for seed in 0..self.seeds {
            for variant in self.variants.iter().filter(|variant| variant.trained == variant.name) {
                for &margin in &self.margins {
                    trainings.push(self.training(variant, margin, seed, out)?);
                }
            }
        }
        Ok(trainings)
    }

    /// Returns a training that a variant evaluates.
    ///
    /// # Errors
    /// Settings that do not check.
    pub fn training(
        &self,
        variant: &Variant,
        margin: f64,
        seed: u64,
        out: &Path,
    ) -> Result<Training, String> {
        let trained = self.variants.iter().find(|other| other.name == variant.trained);
        let trained = trained.unwrap_or(variant);
        let mut settings = self.settings.clone();
        settings.overlay(&trained.settings);
        if let Some(teacher) = &trained.teacher {
            let path =
                out.join(teacher).join(format!("margin{margin}")).join(format!("seed-{seed}"));
            let setting = format!("train.distill={}", path.join("last.safetensors").display());
            settings.set(&setting).map_err(|e| e.to_string())?;
        }
        Training::of_margin(&trained.name, settings, margin, seed, out)
    }
}

impl Variant {
    fn new(section: Section, others: &[Self]) -> Result<Self, String> {
        let Section { name, trained, settings, evaluation, checkpoint, teacher, ensemble } =
            section;
        let refused = |reason: &str| Err(format!("variant `{name}`: {reason}"));
        let is_folder = |c: char| c.is_ascii_alphanumeric() || "-_+.".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(is_folder) {
            return refused("expected a name of letters, digits, - _ + and .");
        }
        if others.iter().any(|other| other.name == name) {
            return refused("there are two of this name");
        }
        let is_trained = |name: &String| {
            others.iter().any(|other| other.name == *name && other.trained == *name)
        };
        if let Some(unknown) = trained.iter().chain(&teacher).find(|name| !is_trained(name)) {
            return refused(&format!("`{unknown}` is no variant before it that is trained"));
        }
        if trained.is_some() && !(settings.is_empty() && teacher.is_none()) {
            return refused(
                "takes either `trained`, or `settings` and `teacher` of a training of its own",
            );
        }
        let checkpoint = checkpoint.unwrap_or_else(|| "last".to_owned());
        if !["last", "best", "ema"].contains(&&*checkpoint) {
            return refused("`checkpoint` is last, best or ema");
        }
        Ok(Self {
            trained: trained.unwrap_or_else(|| name.clone()),
            checkpoint: format!("{checkpoint}.safetensors"),
            evaluation: raw(&evaluation)?,
            settings: raw(&settings)?,
            ensemble,
            teacher,
            name,
        })
    }
}

fn raw(table: &toml::Table) -> Result<RawConfig, String> {
    RawConfig::from_toml(&table.to_string()).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ablations_of_the_workspace_check() {
        for name in ["ablation-cub", "ablation-gpu", "ablation-mini-imagenet", "ablation-tiny"] {
            let recipes = Recipes::read(name).unwrap();
            assert!(recipes.seeds >= 2 && recipes.variants.len() >= 4, "{name}");
            let trainings = recipes.trainings(Path::new("out")).unwrap();
            let folders: std::collections::BTreeSet<_> =
                trainings.iter().map(|training| &training.folder).collect();
            assert_eq!(folders.len(), trainings.len(), "{name}");
        }
        let tiny = Recipes::read("ablation-tiny").unwrap();
        let taught = tiny.variants.iter().find(|variant| variant.name == "taught").unwrap();
        let taught = tiny.training(taught, -0.05, 1, Path::new("out")).unwrap();
        let teacher = Path::new("out/rotation/margin-0.05/seed-1/last.safetensors");
        assert_eq!(taught.config.train.distill.unwrap().checkpoint, teacher);
        let centred = tiny.variants.iter().find(|variant| variant.name == "centred").unwrap();
        let centred = tiny.training(centred, 0.0, 0, Path::new("out")).unwrap();
        assert_eq!(centred.folder, Path::new("out/published/margin0/seed-0"));
    }

    #[test]
    fn what_does_not_fit_together_is_told() {
        let parse = |variants: &str| {
            let head = "config = 'quickstart.toml'\nsplit = 'val'\nheads = ['prototype']\nepisodes = 10\n\
                        margins = [0.0]\nseeds = 2\n[[variant]]\nname = 'plain'\n";
            Recipes::parse("a", &format!("{head}{variants}")).map(|_| ()).unwrap_err()
        };
        for (variants, expected) in [
            ("[[variant]]\nname = 'plain'", "there are two"),
            ("[[variant]]\nname = 'a b'", "expected a name"),
            ("[[variant]]\nname = 'b'\ntrained = 'c'", "`c` is no variant before it"),
            ("[[variant]]\nname = 'b'\nteacher = 'c'", "`c` is no variant before it"),
            ("[[variant]]\nname = 'b'\ncheckpoint = 'first'", "last, best or ema"),
            (
                "[[variant]]\nname = 'b'\ntrained = 'plain'\n[variant.settings]\nseed = 1",
                "either `trained`",
            ),
            ("[[variant]]\nname = 'b'\n[variant.settings]\nmethod.marign = 1", "method.marign"),
            ("trained = 'b'", "`b` is no variant before it"),
            ("ensemble = true", "the first variant"),
        ] {
            let error = parse(variants);
            assert!(error.contains(expected), "{error}");
        }
    }
}
