//! A grid of trainings: curves over margins, each with several seeds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fewshot_episodes::heads::HeadKind;
use fewshot_experiment::RawConfig;
use serde::Deserialize;

use crate::files::{CONFIGS, read_budget};
use crate::plan::Training;

/// A grid, as a file of `configs/budgets` describes it.
#[derive(Clone, Debug)]
pub struct Grid {
    /// Name of the file without `.toml`; the folder of its runs has the same name.
    pub name: String,
    /// Checkpoint that is analysed: `best` on validation classes, or `last`.
    pub checkpoint: String,
    /// Adaptation heads that accuracy is measured with.
    pub heads: Vec<HeadKind>,
    /// The curves.
    pub curves: Vec<Curve>,
}

/// Trainings that differ in their margins and seeds alone.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Name, which is also a folder: `cub-neg-softmax`.
    pub name: String,
    /// Margins, in the order in which they are trained.
    pub margins: Vec<f64>,
    /// Number of trainings of each margin, with seeds from 0.
    pub seeds: u64,
    /// Settings of all its trainings.
    settings: RawConfig,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    checkpoint: String,
    heads: Vec<String>,
    curve: Vec<Section>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    name: String,
    /// Configuration below `configs/`, which `settings` lie over.
    config: PathBuf,
    margins: Vec<f64>,
    seeds: u64,
    #[serde(default)]
    settings: toml::Table,
}

impl Grid {
    /// Reads a grid by its name in `configs/budgets`, or by its file.
    ///
    /// # Errors
    /// No such grid; unknown keys; a curve without margin 0, with a margin twice, or with settings
    /// that do not check.
    pub fn read(name: &str) -> Result<Self, String> {
        read_budget(name, "margins-cpu, margins-gpu, margins-tiny", Self::parse)
    }

    fn parse(name: &str, text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        if !["best", "last"].contains(&&*file.checkpoint) {
            return Err(format!("`checkpoint` is {}: expected best or last", file.checkpoint));
        }
        let head = |name: &String| {
            name.parse().map_err(|_| format!("`heads` has {name}: expected {}", HeadKind::names()))
        };
        let heads = file.heads.iter().map(head).collect::<Result<_, _>>()?;
        let curves: Vec<Curve> = file.curve.iter().map(Curve::new).collect::<Result<_, _>>()?;
        let mut names = BTreeSet::new();
        if let Some(twice) = curves.iter().find(|curve| !names.insert(&curve.name)) {
            return Err(format!("two curves are called `{}`", twice.name));
        }
        Ok(Self { name: name.to_owned(), checkpoint: file.checkpoint, heads, curves })
    }

    /// Keeps the curves of these names; all if there are none.
    ///
    /// # Errors
    /// A name that no curve has.
    pub fn select(&mut self, names: &[String]) -> Result<(), String> {
        let all: Vec<&str> = self.curves.iter().map(|curve| curve.name.as_str()).collect();
        if let Some(unknown) = names.iter().find(|name| !all.contains(&name.as_str())) {
            return Err(format!("`{unknown}` names no curve: expected {}", all.join(", ")));
        }
        self.curves.retain(|curve| names.is_empty() || names.contains(&curve.name));
        Ok(())
    }

    /// Returns all trainings in the order in which they are run: first seeds come first, so that
    /// every curve is whole before it is repeated.
    ///
    /// # Errors
    /// Settings that do not check.
    pub fn trainings(&self, out: &Path) -> Result<Vec<Training>, String> {
        let seeds = self.curves.iter().map(|curve| curve.seeds).max().unwrap_or(0);
        let mut trainings = Vec::new();
        for seed in 0..seeds {
            for curve in self.curves.iter().filter(|curve| seed < curve.seeds) {
                for &margin in &curve.margins {
                    trainings.push(curve.training(margin, seed, out)?);
                }
            }
        }
        Ok(trainings)
    }
}

impl Curve {
    fn new(section: &Section) -> Result<Self, String> {
        let Section { name, config, margins, seeds, settings } = section;
        let is_folder = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(is_folder) {
            return Err(format!("curve `{name}`: expected letters, digits, - and _"));
        }
        let refused = |reason: String| format!("curve {name}: {reason}");
        let has_twice = margins.iter().enumerate().any(|(i, margin)| margins[..i].contains(margin));
        if has_twice || !margins.contains(&0.0) {
            return Err(refused(
                "`margins` must hold 0, which others are compared with, and none twice".into(),
            ));
        }
        let path = Path::new(CONFIGS).join(config);
        let mut raw = RawConfig::from_file(&path).map_err(|e| refused(e.to_string()))?;
        let over =
            RawConfig::from_toml(&settings.to_string()).map_err(|e| refused(e.to_string()))?;
        raw.overlay(&over);
        let curve =
            Self { name: name.clone(), margins: margins.clone(), seeds: *seeds, settings: raw };
        for &margin in margins {
            curve.training(margin, 0, Path::new("")).map_err(refused)?;
        }
        Ok(curve)
    }

    /// Returns one of its trainings.
    ///
    /// # Errors
    /// Settings that do not check.
    pub fn training(&self, margin: f64, seed: u64, out: &Path) -> Result<Training, String> {
        Training::of_margin(&self.name, self.settings.clone(), margin, seed, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_of_the_workspace_check() {
        let cpu = Grid::read("margins-cpu").unwrap();
        assert!(cpu.curves.iter().any(|curve| curve.seeds >= 3 && curve.margins.len() >= 6));
        let gpu = Grid::read("margins-gpu").unwrap();
        assert!(!gpu.trainings(Path::new("out")).unwrap().is_empty());
        let tiny = Grid::read("margins-tiny").unwrap();
        let trainings = tiny.trainings(Path::new("out")).unwrap();
        let names: Vec<&str> = trainings.iter().map(|training| training.name.as_str()).collect();
        let expected = ["0", "-0.2"].map(|margin| format!("glyphs margin {margin} seed 0"));
        assert_eq!(names[..2], expected);
        assert_eq!(trainings[1].config.method.margin, -0.2);
        assert_eq!(trainings[1].folder, Path::new("out/glyphs/margin-0.2/seed-0"));
        assert_eq!(trainings[2].config.seed, 1);
    }

    #[test]
    fn what_a_grid_does_not_take_is_told() {
        let curve = |more: &str| {
            let head = "checkpoint = 'last'\nheads = ['prototype']\n[[curve]]\n";
            let text = format!("{head}name = 'a'\nconfig = 'quickstart.toml'\nseeds = 1\n{more}");
            Grid::parse("tiny", &text).map(|_| ()).unwrap_err()
        };
        for (error, expected) in [
            (curve("margins = [-0.1]"), "curve a: `margins` must hold 0"),
            (curve("margins = [0, 0.0]"), "none twice"),
            (curve("margins = [0]\nmargin = 1"), "unknown field `margin`"),
            (
                curve("margins = [0]\n[curve.settings]\ntrain.epoch = 3"),
                "unknown key `train.epoch`",
            ),
        ] {
            assert!(error.contains(expected), "{error}");
        }
        let error = Grid::read("margins").unwrap_err();
        assert!(error.contains("expected margins-cpu, margins-gpu, margins-tiny"), "{error}");
        let error =
            Grid::parse("t", "checkpoint = 'last'\nheads = ['svm']\ncurve = []").unwrap_err();
        assert!(error.contains("`heads` has svm: expected finetune"), "{error}");
        let mut tiny = Grid::read("margins-tiny").unwrap();
        let error = tiny.select(&["cub".to_owned()]).unwrap_err();
        assert!(error.contains("`cub` names no curve: expected glyphs"), "{error}");
    }
}
