//! Trains through the library: a Conv4 on drawn glyphs for 40 steps, then few-shot accuracy on
//! novel classes. It takes seconds and no files.
//!
//! ```text
//! cargo run --release -p trainer --example train
//! ```

use std::sync::atomic::AtomicBool;

use fewshot_experiment::{Error, RawConfig, start};
use trainer::{Outcome, ProcessGroup, Session};

/// What differs from the defaults, as TOML.
const CONFIG: &str = r#"
[dataset]
source = "glyphs"
images_per_class = 20

[method]
backbone = "conv4"
image_size = 16
classifier = "neg-cosine"
margin = -0.02

[train]
batch_size = 32
epochs = 1

[val]
episodes = 10

[test]
head = "prototype"
shots = [5]
query = 10
episodes = 50
"#;

fn main() -> Result<(), Error> {
    start()?;
    let config = RawConfig::from_toml(CONFIG)?.check()?;
    let folder = tempfile::tempdir().map_err(Error::io("create a folder in", "/tmp".as_ref()))?;
    let mut session = Session::start(config, &folder.path().join("run"), ProcessGroup::default())?;
    // Raised from another thread, for instance on Ctrl-C, it stops the training after a step.
    let stop = AtomicBool::new(false);
    if session.train(&stop)? == Outcome::Finished {
        let report = session.report()?;
        println!("5-shot accuracy on novel classes: {} %", report.last.novel[&5]);
        session.save_report(&report)?;
    }
    Ok(())
}

#[test]
fn trains() {
    main().unwrap();
}
