//! Trains a few-shot backbone with a margin classifier, and reports its accuracy.

#![forbid(unsafe_code)]

mod flags;
mod settings;
mod stop;

use std::path::Path;
use std::process::ExitCode;

use fewshot_experiment::{Error, start};
use fewshot_progress::{counted, deliver, say, silence, warn};
use flags::Flags;
use settings::{Command, Settings};
use stop::{INTERRUPTED, Stop};
use trainer::{Outcome, Session};

fn main() -> ExitCode {
    match run(&evaluator::parse_arguments()) {
        Ok(Outcome::Finished) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            warn(format_args!("error: {error}"));
            ExitCode::from(2)
        }
    }
}

fn run(flags: &Flags) -> Result<Outcome, Error> {
    if let Some(script) = flags.completions() {
        print_only(&script)?;
        return Ok(Outcome::Finished);
    }
    start()?;
    if flags.quiet {
        silence();
    }
    let settings = match Command::from_flags(flags)? {
        Command::Train(settings) => settings,
        Command::PrintConfig(config) => {
            print_only(&config.to_toml())?;
            return Ok(Outcome::Finished);
        }
    };
    let mut session = settings.session()?;
    print_start(&settings, &session);
    let stop = Stop::on_signal(&settings.resume_command())?;
    let mut outcome = session.train(&stop.raised)?;
    if outcome == Outcome::Finished && session.is_first() {
        outcome = report(&session, &stop)?;
        if outcome == Outcome::Finished && flags.no_optimizer {
            session.run_folder().remove_optimizer()?;
            say("removed the optimizer's state");
        }
    }
    if outcome == Outcome::Interrupted {
        say(format_args!("\ninterrupted and saved; to go on:\n  {}", settings.resume_command()));
    }
    Ok(outcome)
}

/// Prints a text that is all that was asked for.
fn print_only(text: &str) -> Result<(), Error> {
    deliver(text.trim_end()).map_err(Error::io("write to", Path::new("standard output")))
}

/// Prints what is trained, on what, and where its files are.
fn print_start(settings: &Settings, session: &Session) {
    if !session.is_first() {
        return;
    }
    let folder = session.run_folder().path();
    if let Some(checkpoint) = &settings.resume {
        let (checkpoint, epochs) = (checkpoint.display(), session.epochs());
        say(format_args!("resuming {checkpoint} after epoch {epochs}"));
        settings.changes.iter().for_each(|change| say(format_args!("  {change}")));
    }
    say(summary(session, folder));
    let shared = session.datasets().shared(session.config());
    shared.iter().for_each(|warning| warn(format_args!("warning: {warning}")));
}

fn summary(session: &Session, folder: &Path) -> String {
    let (config, datasets) = (session.config(), session.datasets());
    let (method, train) = (&config.method, &config.train);
    let size = |d: &fewshot_data::Dataset| {
        format!("{} of {}", counted(d.len(), "image"), counted(d.class_count(), "class"))
    };
    format!(
        "{} at {} px with {} (scale {}, margin {})\n\
         base {}, val {}, novel {}\n\
         {}, batches of {}, learning rate {}, seed {}\n\
         run folder {}",
        method.backbone,
        method.image_size,
        method.classifier,
        method.scale,
        method.margin,
        size(&datasets.base),
        size(&datasets.val),
        size(&datasets.novel),
        counted(train.epochs, "epoch"),
        train.batch_size,
        train.learning_rate,
        config.seed,
        folder.display()
    )
}

/// Evaluates the last and the best checkpoint, saves their accuracy, and prints it.
fn report(session: &Session, stop: &Stop) -> Result<Outcome, Error> {
    let config = session.config();
    let test = &config.test;
    say(format_args!(
        "\nevaluating: {}-way, {}, {}, {} head",
        test.way,
        counted(test.query, "query"),
        counted(test.episodes, "episode"),
        test.head.name()
    ));
    // The signal may have come while the last epoch was saved.
    if !stop.ends_at_once(true) {
        return Ok(Outcome::Interrupted);
    }
    let report = session.report()?;
    stop.ends_at_once(false);
    session.save_report(&report)?;
    if let Err(error) = deliver(format_args!("\n{}", report.to_markdown(config))) {
        let file = session.run_folder().file("report.md");
        warn(format_args!("note: the report is in {}, but not printed: {error}", file.display()));
    }
    Ok(Outcome::Finished)
}
