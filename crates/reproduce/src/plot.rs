//! Curves of runs, drawn from their logs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fewshot_figures::{Chart, Page, Series};
use fewshot_progress::conclude;
use serde_json::{Map, Value};

use super::files::{save_chart, write};

/// Command line of `cargo xtask plot`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask plot checkpoints/glyphs/quickstart
  cargo xtask plot runs/margin0 runs/margin-0.3 --out curves

Exit status: 0 on success, 2 on any error.")]
pub struct Plot {
    /// Run folders, or their metrics.jsonl; a run that is still going on shows what it has
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Folder for curves.html, and each figure as SVG and PNG
    #[arg(long, value_name = "DIR", default_value = "curves")]
    out: PathBuf,
}

/// The log of a run: an object for each epoch.
struct Log {
    name: String,
    epochs: Vec<Map<String, Value>>,
}

/// A figure: its file, title, unit, and the numbers that it shows, by key in the log and by name.
type Wanted = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

const FIGURES: [Wanted; 4] = [
    ("loss", "Loss", "loss", &[("loss_without_margin", "without margin"), ("loss", "with margin")]),
    (
        "train-accuracy",
        "Training accuracy",
        "accuracy (%)",
        &[("train_accuracy_without_margin", "without margin"), ("train_accuracy", "with margin")],
    ),
    ("val-accuracy", "Validation accuracy", "accuracy (%)", &[("val.mean", "")]),
    ("learning-rate", "Learning rate", "learning rate", &[("learning_rate", "")]),
];

impl Plot {
    /// Draws the curves; prints where they are.
    pub fn run(&self) -> ExitCode {
        conclude(self.plot())
    }

    fn plot(&self) -> Result<String, String> {
        let logs: Vec<Log> =
            self.runs.iter().map(|run| Log::read(run)).collect::<Result<_, _>>()?;
        std::fs::create_dir_all(&self.out)
            .map_err(|error| format!("cannot create {}: {error}", self.out.display()))?;
        let mut page = Page::new("Curves of runs");
        for log in &logs {
            page.paragraph(&format!("{}: {} epochs.", log.name, log.epochs.len()));
        }
        for (file, title, unit, keys) in FIGURES {
            let mut chart = Chart::new(title, "epoch", unit);
            for (color, log) in logs.iter().enumerate() {
                for (number, (key, of)) in keys.iter().enumerate() {
                    let line = log.numbers(key);
                    let name = if of.is_empty() {
                        log.name.clone()
                    } else {
                        format!("{}, {of}", log.name)
                    };
                    if !line.is_empty() {
                        // A line through one point shows nothing.
                        let points = if line.len() < 8 { line.clone() } else { Vec::new() };
                        let (color, is_dashed) = (Some(color), number > 0);
                        let series =
                            Series { color, is_dashed, points, ..Series::line(name, line) };
                        chart.series.push(series);
                    }
                }
            }
            if chart.series.is_empty() {
                continue;
            }
            let svg = save_chart(&chart, &self.out, file)?;
            page.figure(&svg, &format!("{file}.svg, {file}.png"));
        }
        write(&self.out.join("curves.html"), page.finish().as_bytes())?;
        Ok(format!("written: {}/curves.html, and each figure as SVG and PNG", self.out.display()))
    }
}

impl Log {
    fn read(run: &Path) -> Result<Self, String> {
        let path = if run.is_dir() { run.join("metrics.jsonl") } else { run.to_owned() };
        let text = std::fs::read_to_string(&path).map_err(|error| {
            format!("cannot read {}: {error}; expected a run folder of trainer", path.display())
        })?;
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let mut epochs = Vec::new();
        for (number, line) in (1..).zip(&lines) {
            match serde_json::from_str(line) {
                Ok(epoch) => epochs.push(epoch),
                // The run may be writing its last line.
                Err(_) if number == lines.len() && !text.ends_with('\n') => {}
                Err(error) => {
                    return Err(format!("{}, line {number}: {error}", path.display()));
                }
            }
        }
        if epochs.is_empty() {
            return Err(format!("{}: no epoch is complete", path.display()));
        }
        Ok(Self { name: run.display().to_string(), epochs })
    }

    /// Returns `(epoch, number)` for each epoch that has the number `key`, as in `loss` or
    /// `val.mean`.
    fn numbers(&self, key: &str) -> Vec<(f64, f64)> {
        let number = |epoch: &Map<String, Value>| {
            let mut keys = key.split('.');
            let first = epoch.get(keys.next()?)?;
            let value = keys.try_fold(first, |value, key| value.get(key))?.as_f64()?;
            Some((epoch.get("epoch")?.as_f64()?, value))
        };
        self.epochs.iter().filter_map(number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(log: &str) -> (Result<String, String>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("metrics.jsonl"), log).unwrap();
        let runs = vec![folder.path().to_owned()];
        let result = Plot { runs, out: folder.path().join("curves") }.plot();
        (result, folder)
    }

    #[test]
    fn a_run_is_drawn_without_its_unfinished_line() {
        let (result, folder) = plot(
            "{\"epoch\":1,\"loss\":2.5,\"learning_rate\":0.1,\"train_accuracy\":10.0}\n\
             {\"epoch\":2,\"loss\":1.5,\"learning_rate\":0.2,\"train_accuracy\":30.0,\"val\":{\"mean\":41.5}}\n\
             {\"epoch\":3,\"lo",
        );
        result.unwrap();
        let file = |name: &str| std::fs::read_to_string(folder.path().join("curves").join(name));
        let page = file("curves.html").unwrap();
        for title in
            ["Loss", "Training accuracy", "Validation accuracy", "Learning rate", "2 epochs"]
        {
            assert!(page.contains(title), "{title}");
        }
        assert!(file("loss.svg").unwrap().contains("polyline"));
        assert!(folder.path().join("curves/val-accuracy.png").exists());
    }

    #[test]
    fn a_log_that_is_none_is_named() {
        let (result, _folder) = plot("not json\n{\"epoch\":1}\n");
        assert!(result.unwrap_err().contains("metrics.jsonl, line 1: "));
        let (result, _folder) = plot("");
        assert!(result.unwrap_err().contains("no epoch is complete"));
        let plot = Plot { runs: vec!["no/such/run".into()], out: "curves".into() };
        assert!(plot.plot().unwrap_err().contains("cannot read no/such/run"));
    }
}
