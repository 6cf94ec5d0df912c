//! The model card: markdown that the hub shows, with YAML that its programs parse.

use std::fmt::Write;

use evaluator::SplitResults;
use fewshot_data::{SourceKind, Split};
use fewshot_experiment::{Config, SplitConfig};
use trainer::ModelReport;

use crate::measured::Measured;

/// Content of a model card.
pub struct Card<'a> {
    /// Configuration of the checkpoint.
    pub config: &'a Config,
    /// Completed epochs of its training.
    pub epoch: usize,
    /// Results of its run, if any.
    pub measured: Option<&'a Measured>,
    /// `OWNER/NAME` on the hub.
    pub repo: Option<&'a str>,
    /// The hub's identifier of the weights' licence.
    pub license: Option<&'a str>,
    /// Whether parameters are float16.
    pub half: bool,
    /// Number of trained parameters.
    pub parameters: usize,
}

impl Card<'_> {
    /// Formats the card: YAML between lines of hyphens, then markdown.
    pub fn to_markdown(&self) -> String {
        let method = &self.config.method;
        let title = self.title();
        let sections = [
            format!("---\n{}---\n\n# {title}\n", self.front_matter()),
            self.about(),
            format!("## Results\n\n{}", self.results()),
            self.use_it(),
            format!(
                "## Intended use, and limits\n\n\
                 Research on few-shot classification: features of {0} × {0} images, from which a \
                 classifier of new classes is made of a few labelled images each. The figures are \
                 means over episodes of a few classes; they say nothing about many classes at \
                 once, about other kinds of images, or about any use in which a wrong answer does \
                 harm. Whatever is uneven in the images of the training is uneven in this model. \
                 None of that was measured.\n",
                method.image_size
            ),
            self.data(),
            "## Method\n\nBin Liu, Yue Cao, Yutong Lin, Qi Li, Zheng Zhang, Mingsheng Long, Han Hu: \
             *Negative Margin Matters: Understanding Margin in Few-shot Classification*, ECCV 2020 \
             (arXiv 2003.12060)\n"
                .to_owned(),
        ];
        sections.join("\n")
    }

    fn title(&self) -> String {
        let method = &self.config.method;
        let base = &self.config.dataset.base;
        format!(
            "{} with {}, trained on {}",
            method.backbone,
            method.classifier,
            base.dataset_name()
        )
    }

    fn front_matter(&self) -> String {
        let mut yaml = format!("license: {}\n", self.license.unwrap_or("unknown"));
        yaml += "library_name: candle\npipeline_tag: image-classification\ntags:\n";
        for tag in ["few-shot-classification", "negative-margin", "safetensors"] {
            let _ = writeln!(yaml, "- {tag}");
        }
        let _ = writeln!(yaml, "- {}", self.config.method.backbone);
        let dataset_config = &self.config.dataset;
        let mut names: Vec<_> = [&dataset_config.base, &dataset_config.val, &dataset_config.novel]
            .map(SplitConfig::dataset_name)
            .into();
        names.dedup();
        yaml += "datasets:\n";
        names.iter().for_each(|name| {
            let _ = writeln!(yaml, "- {}", quoted(name));
        });
        yaml += "metrics:\n- accuracy\n";
        let Some(measured) = self.measured else { return yaml };
        let name = self.repo.and_then(|repo| repo.split('/').nth(1)).map(str::to_owned);
        let name = name.unwrap_or_else(|| self.title());
        let _ = writeln!(yaml, "model-index:\n- name: {}\n  results:", quoted(&name));
        for (config, shots) in self.splits(&measured.report) {
            let (data, split) = (quoted(&config.dataset_name()), config.split);
            for (shot, result) in shots {
                let _ = write!(
                    yaml,
                    "  - task:\n      type: image-classification\n      name: {}-way {shot}-shot \
                     classification\n    dataset:\n      type: {data}\n      name: {data}\n      \
                     split: {split}\n    metrics:\n    - type: accuracy\n      name: Mean accuracy \
                     over {} episodes, ± {:.2} (95 %)\n      value: {:.2}\n",
                    self.config.test.way, result.episodes, result.ci95, result.mean
                );
            }
        }
        yaml
    }

    fn about(&self) -> String {
        let Config { method, train, dataset: data, seed, .. } = self.config;
        let kind = if self.half { "float16 (running statistics float32)" } else { "float32" };
        format!(
            "{} at {} px with a {} classifier over its base classes (scale {}, margin {}); {:.2} \
             million parameters, {kind}. Trained for {} of {} epochs on the base classes of {}, in \
             batches of {} at a learning rate of up to {}, seed {seed}; config.toml has every \
             setting.\n",
            method.backbone,
            method.image_size,
            method.classifier,
            method.scale,
            method.margin,
            self.parameters as f64 / 1e6,
            self.epoch,
            train.epochs,
            data.base.dataset_name(),
            train.batch_size,
            train.learning_rate,
        )
    }

    fn results(&self) -> String {
        let test = &self.config.test;
        let Some(measured) = self.measured else {
            return "Not measured.\n".to_owned();
        };
        let report = &measured.report;
        let mut table = "| classes |".to_owned();
        let shots: Vec<_> = report.novel.keys().collect();
        shots.iter().for_each(|shot| table += &format!(" {shot}-shot |"));
        table += &format!("\n|---|{}\n", "---|".repeat(shots.len()));
        for (config, results) in self.splits(report) {
            let _ = write!(table, "| {}, {} |", config.split, config.dataset_name());
            for shot in &shots {
                let cell = results.get(shot);
                let cell =
                    cell.map_or_else(String::new, |r| format!("{:.2} ± {:.2}", r.mean, r.ci95));
                let _ = write!(table, " {cell} |");
            }
            table.push('\n');
        }
        let run = &measured.run;
        let heads: Vec<_> =
            report.novel.values().map(|shot| (&*shot.head, shot.episodes)).collect();
        let (head, episodes) = heads.first().copied().unwrap_or((test.head.name(), test.episodes));
        let _ = write!(
            table,
            "\nAccuracy in percent, mean ± 95 % interval over {episodes} episodes: {}-way, {} \
             queries a class, {head} head, episodes' seed {}. {:.2} % of base images, varied as in \
             training, are classified rightly{}.\n\n",
            test.way,
            test.query,
            measured.test_seed,
            report.base_accuracy,
            report.base_val_accuracy.map_or_else(String::new, |accuracy| format!(
                ", and {accuracy:.2} % of held-out ones"
            )),
        );
        for warning in &measured.warnings {
            let _ = writeln!(table, "**Warning**: {warning}.\n");
        }
        if self.half {
            table += "They were measured before the parameters were rounded to float16.\n\n";
        }
        let _ = writeln!(
            table,
            "Version {}, commit {}, candle {}, {}, configuration's SHA-256 {}, seed {}. \
             results.json has the same figures unrounded.",
            run.version, run.commit, run.candle, run.device, run.config_sha256, run.seed
        );
        table
    }

    /// Returns results on validation and novel classes; only the former if both are the same.
    fn splits<'r>(&'r self, report: &'r ModelReport) -> Vec<(&'r SplitConfig, &'r SplitResults)> {
        let data = &self.config.dataset;
        let mut splits = vec![(&data.val, &report.val)];
        if !data.novel_is_val() {
            splits.push((&data.novel, &report.novel));
        }
        splits
    }

    fn use_it(&self) -> String {
        let test = &self.config.test;
        let repo = self.repo.unwrap_or("OWNER/REPOSITORY");
        let shots: Vec<_> = test.shots.iter().map(ToString::to_string).collect();
        let split = if self.config.dataset.novel_is_val() { "val" } else { "novel" };
        let mut command = format!(
            "cargo run --release -p evaluator -- --checkpoint hf://{repo}/model.safetensors \\\n    \
             --split {split} --way {} --shots {} --query {} --episodes {} --head {}",
            test.way,
            shots.join(","),
            test.query,
            test.episodes,
            test.head.name()
        );
        if self.config.dataset.base.source.kind.needs_root() {
            command += "    # with FEWSHOT_DATA set";
        }
        format!(
            "## Use\n\nWith the few-shot workspace that trained it:\n\n```console\n$ {command}\n```\n\n\
             In PyTorch, in the published code; the names are those of its `state_dict`:\n\n\
             ```python\nfrom safetensors.torch import load_file\n\
             model.load_state_dict(load_file(\"model.safetensors\"))\n```\n"
        )
    }

    fn data(&self) -> String {
        let data = &self.config.dataset;
        let mut lines: Vec<_> = [&data.base, &data.val, &data.novel].map(terms).into();
        lines.dedup();
        let license = match self.license {
            Some(_) => "",
            None => "No licence of the weights was stated.\n\n",
        };
        format!("## Data and terms\n\n{license}{}", lines.concat())
    }
}

/// Returns a line with the terms of use of a split's dataset.
fn terms(split: &SplitConfig) -> String {
    let name = split.dataset_name();
    let known = fewshot_fetch::datasets().into_iter().find(|known| known.name == name);
    let said = match (known, split.source.kind) {
        (Some(known), _) => format!("{} ({})", known.terms, known.page),
        (None, SourceKind::Glyphs) => "drawn by the program itself, from a seed".to_owned(),
        (None, SourceKind::MiniImageNet) => {
            "images of ImageNet: for non-commercial research and education \
             (https://image-net.org/download)"
                .to_owned()
        }
        _ => "its terms are not known to this program".to_owned(),
    };
    let used = match split.source.images_per_class {
        Some(images) => format!("; {images} images of each class"),
        None => String::new(),
    };
    let whole = if split.split == Split::All { "; all of its classes" } else { "" };
    format!("- {name}{used}{whole}: {said}\n")
}

/// Quotes a string for YAML, which takes JSON's quotes.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
