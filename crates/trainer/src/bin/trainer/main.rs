//! Trains a few-shot backbone with a margin classifier, and reports its accuracy.

#![forbid(unsafe_code)]

mod flags;
mod settings;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use fewshot_experiment::{Error, start};
use flags::Flags;
use settings::{Command, Settings};
use trainer::{Outcome, Session};

/// Exit status of an interrupted training, by the convention of shells.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    match run(&Flags::parse()) {
        Ok(Outcome::Finished) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(flags: &Flags) -> Result<Outcome, Error> {
    start()?;
    let settings = match Command::from_flags(flags)? {
        Command::Train(settings) => settings,
        Command::PrintConfig(config) => {
            print!("{}", config.to_toml());
            return Ok(Outcome::Finished);
        }
    };
    let mut session = settings.session()?;
    print_start(&settings, &session);
    let stop = stop_signal()?;
    let outcome = session.train(&stop)?;
    if session.is_first() {
        match outcome {
            Outcome::Finished => report(&session)?,
            Outcome::Interrupted => {
                let command = settings.resume_command();
                println!("\ninterrupted and saved; to go on:\n  {command}");
            }
        }
    }
    Ok(outcome)
}

/// Prints what is trained, on what, and where its files are.
fn print_start(settings: &Settings, session: &Session) {
    if !session.is_first() {
        return;
    }
    let folder = session.run_folder().path();
    if let Some(checkpoint) = &settings.resume {
        println!("resuming {} after epoch {}", checkpoint.display(), session.epochs());
        settings.changes.iter().for_each(|change| println!("  {change}"));
    }
    println!("{}", summary(session, folder));
}

fn summary(session: &Session, folder: &Path) -> String {
    let (config, datasets) = (session.config(), session.datasets());
    let (method, train) = (&config.method, &config.train);
    let size =
        |d: &fewshot_data::Dataset| format!("{} images of {} classes", d.len(), d.class_count());
    format!(
        "{} at {} px with {} (scale {}, margin {})\n\
         base {}, val {}, novel {}\n\
         {} epochs, batches of {}, learning rate {}, seed {}\n\
         run folder {}",
        method.backbone,
        method.image_size,
        method.classifier,
        method.scale,
        method.margin,
        size(&datasets.base),
        size(&datasets.val),
        size(&datasets.novel),
        train.epochs,
        train.batch_size,
        train.learning_rate,
        config.seed,
        folder.display()
    )
}

/// Returns a flag that Ctrl-C raises; a second Ctrl-C ends the process at once.
fn stop_signal() -> Result<Arc<AtomicBool>, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    let handler = move || {
        if raised.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
        eprintln!("\nstopping after this step; once more to stop at once");
    };
    ctrlc::set_handler(handler).map_err(|e| Error::SignalHandler(e.to_string()))?;
    Ok(stop)
}

/// Evaluates the last and the best checkpoint, and prints their accuracy.
fn report(session: &Session) -> Result<(), Error> {
    let config = session.config();
    let test = &config.test;
    println!(
        "\nevaluating: {}-way, {} queries, {} episodes, {} head",
        test.way,
        test.query,
        test.episodes,
        test.head.name()
    );
    let report = session.report()?;
    println!("\n{}", report.to_markdown(config));
    session.save_report(&report)
}
