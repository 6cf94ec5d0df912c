//! Two cells at the size of a few seconds, by the real programs.

use std::fs;
use std::path::PathBuf;

use super::budget::Budget;
use super::cells::{Cell, select};
use super::*;

/// Drawn images in place of every dataset, and a network that trains at once.
const TINY: &str = r#"
checkpoint = "last"
[all]
dataset.source = "glyphs"
dataset.images_per_class = 21
dataset.novel.split = "val"
dataset.val.source = "glyphs"
dataset.novel.source = "glyphs"
method.backbone = "conv4"
method.image_size = 16
train.epochs = 2
train.warmup_epochs = 0
train.batch_size = 64
val.freq = 0
test.episodes = 20
test.head = "prototype"
"#;

struct Bench {
    folder: tempfile::TempDir,
    budget: Budget,
    programs: Programs,
}

impl Bench {
    fn new(budget: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.toml");
        fs::write(&path, budget).unwrap();
        let budget = Budget::read(path.to_str().unwrap()).unwrap();
        Self { folder, budget, programs: programs() }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn run(&self, cells: &[&str], stop: &AtomicBool) -> (Outcome, serde_json::Value) {
        let cells: Vec<_> = cells.iter().map(|&name| name.to_owned()).collect();
        let cells: Vec<Cell> = select(&cells).unwrap();
        let (trainings, _) = plan(&self.budget, &cells, 1, &self.out()).unwrap();
        let outcome =
            reproduce(&self.budget, &trainings, &self.programs, 1, &self.out(), stop).unwrap();
        let table = fs::read_to_string(self.out().join("table.json")).unwrap_or_default();
        (outcome, serde_json::from_str(&table).unwrap_or_default())
    }
}

/// Returns trainer and evaluator of the build that this test belongs to. The test program lies in
/// `target/PROFILE/deps`, they lie in `target/PROFILE`.
pub(crate) fn programs() -> Programs {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().unwrap().parent().unwrap();
    let [trainer, evaluator] = ["trainer", "evaluator"].map(|name| {
        let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        let profile = if cfg!(debug_assertions) { "" } else { " --release" };
        assert!(
            path.exists(),
            "{} is missing: `cargo build{profile} -p trainer -p evaluator` builds it, and so does \
             `cargo test{profile} --workspace`",
            path.display()
        );
        path
    });
    Programs { trainer, evaluator }
}

/// The row of a cell.
fn row<'a>(table: &'a serde_json::Value, dataset: &str, method: &str) -> &'a serde_json::Value {
    let cells = table["cells"].as_array().unwrap();
    let is_it = |row: &&serde_json::Value| {
        row["dataset"] == dataset && row["method"] == method && row["shot"] == 5
    };
    cells.iter().find(is_it).unwrap()
}

#[test]
fn cells_become_a_table_and_are_not_done_twice() {
    let bench = Bench::new(TINY);
    let go_on = AtomicBool::new(false);
    let cells = ["cub/cosine-5shot", "cub/neg-cosine-5shot"];
    let (outcome, table) = bench.run(&cells, &go_on);
    assert!(matches!(outcome, Outcome::Done));
    assert_eq!(table["cells"].as_array().unwrap().len(), 20);

    // What the table says is what the runs' own results say.
    let results = bench.out().join("cub/neg-cosine-5shot/seed-0/results.json");
    let text = fs::read_to_string(&results).unwrap();
    let results: serde_json::Value = serde_json::from_str(&text).unwrap();
    let neg = row(&table, "cub", "neg-cosine");
    let mean = |value: &serde_json::Value| value["mean"].as_f64().unwrap();
    assert_eq!(mean(&neg["ours"]), mean(&results["last"]["novel"]["5"]));
    assert_eq!(mean(&neg["published"]), 89.4);
    assert_eq!(neg["margin"], -0.01);
    assert!(neg["runs"][0]["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(row(&table, "mini-imagenet", "cosine")["ours"], serde_json::Value::Null);

    // Of the evaluator's own protocol, which has more episodes than this budget.
    let margins = table["margins"].as_array().unwrap();
    let margin = margins
        .iter()
        .find(|m| m["dataset"] == "cub" && m["method"] == "neg-cosine" && m["shot"] == 5);
    let difference = mean(&margin.unwrap()["ours"]);
    let expected = mean(&neg["ours"]) - mean(&row(&table, "cub", "cosine")["ours"]);
    assert!((difference - expected).abs() < 10.0, "{difference} {expected}");

    let markdown = fs::read_to_string(bench.out().join("table.md")).unwrap();
    assert_eq!(markdown.matches("| not run |").count(), 18, "{markdown}");
    assert!(markdown.contains("of 1 comparisons"), "{markdown}");
    let csv = fs::read_to_string(bench.out().join("table.csv")).unwrap();
    assert_eq!(csv.lines().count(), 21);

    let log = bench.out().join("cub/cosine-5shot/seed-0.log");
    fs::remove_file(&log).unwrap();
    let (_, again) = bench.run(&cells, &go_on);
    assert_eq!(again, table);
    assert!(!log.exists(), "trained again");
}

#[test]
fn a_cell_that_fails_keeps_no_other_from_going_on() {
    let budget = format!("{TINY}\n[cub]\nmethod.outputs = 3\n");
    let bench = Bench::new(&budget);
    let cells = ["cub/softmax-5shot", "mini-imagenet/softmax-5shot"];
    let (outcome, table) = bench.run(&cells, &AtomicBool::new(false));
    assert!(matches!(outcome, Outcome::SomeFailed));
    let problem = row(&table, "cub", "softmax")["problem"].as_str().unwrap();
    assert!(problem.contains("`method.outputs` is 3: expected at least"), "{problem}");
    assert!(row(&table, "mini-imagenet", "softmax")["ours"]["mean"].is_number());
}

#[test]
fn what_was_cut_off_goes_on() {
    let bench = Bench::new(TINY);
    let stop = AtomicBool::new(true);
    let cells = ["cub/neg-softmax-5shot"];
    let (outcome, table) = bench.run(&cells, &stop);
    assert!(matches!(outcome, Outcome::Interrupted) && table.is_null());
    stop.store(false, Ordering::Relaxed);
    let (outcome, table) = bench.run(&cells, &stop);
    assert!(matches!(outcome, Outcome::Done));

    // The same as without any interruption.
    let other = Bench::new(TINY);
    let (_, uninterrupted) = other.run(&cells, &stop);
    let reached = |table| row(table, "cub", "neg-softmax")["ours"].clone();
    assert_eq!(reached(&table), reached(&uninterrupted));
}

#[test]
fn other_settings_do_not_pass_for_these() {
    let bench = Bench::new(TINY);
    let cells = ["cub/softmax-5shot"];
    bench.run(&cells, &AtomicBool::new(false));
    let other = Bench::new(&TINY.replace("epochs = 2", "epochs = 1")).budget;
    let cells = select(&[cells[0].to_owned()]).unwrap();
    let (trainings, _) = plan(&other, &cells, 1, &bench.out()).unwrap();
    assert!(matches!(trainings[0].state(), State::Other));
}
