//! Evaluates a few-shot checkpoint on episodes of unseen classes.

#![forbid(unsafe_code)]

#[cfg(feature = "analysis")]
mod analyse;
mod arguments;
mod settings;

use std::path::PathBuf;
use std::process::ExitCode;

use arguments::{Arguments, Command, CommandLine, Format};
use evaluator::{Candidate, Comparison, Report, compare, parse_arguments, use_episodes_of};
use fewshot_data::Dataset;
use fewshot_experiment::{Config, Error, open_split, start};
use fewshot_progress::{conclude, silence};
use settings::Settings;

fn main() -> ExitCode {
    let line: CommandLine = parse_arguments();
    if let Some(script) = line.completions() {
        return conclude(Ok::<_, Error>(script));
    }
    if line.quiet {
        silence();
    }
    conclude(match (line.command, line.evaluation) {
        #[cfg(feature = "analysis")]
        (Some(Command::Analyse(arguments)), _) => start().and_then(|()| arguments.run()),
        (_, Some(arguments)) => run(arguments),
        // Without a command, clap requires --checkpoint.
        _ => Err(Error::Syntax("--checkpoint PATH is missing".to_owned())),
    })
}

fn run(arguments: Arguments) -> Result<String, Error> {
    start()?;
    let settings = Settings::resolve(arguments)?;
    let overrides = &settings.overrides;
    let mut first = Candidate::open(&settings.checkpoint, overrides, |raw| {
        raw.overlay(&settings.first_overrides);
    })?;
    // Another one is evaluated on the episodes of the first.
    let other =
        |path: &PathBuf| Candidate::open(path, overrides, |raw| use_episodes_of(raw, &first.raw));
    let second = settings.compare.as_ref().map(other).transpose()?;
    first.ensemble = settings.ensemble.iter().map(other).collect::<Result<_, _>>()?;
    let split = first.config.split(settings.split);
    let dataset = open_split(&split)?;
    check_episodes(&first.config, &dataset)?;
    let (evaluation, labels) = first.evaluate(&dataset)?;
    let mut warnings = first.warnings((&split, &dataset), evaluation.skipped);
    let mut report = Report::new(&dataset, split.split, &first.config, evaluation);
    report.ensemble = first.ensemble.iter().map(|other| other.name.clone()).collect();
    for other in &first.ensemble {
        warnings.extend(other.warnings((&split, &dataset), 0));
    }
    warnings.dedup();
    if let Some(second) = second {
        let comparison = compare_with(&second, &report, &dataset, &labels)?;
        warnings.extend(second.warnings((&split, &dataset), comparison.second.skipped));
        warnings.dedup();
        report.comparison = Some(comparison);
    }
    report.warnings = warnings;
    print(&report, settings.format)
}

/// Checks that the classes and images suffice, before features are extracted.
fn check_episodes(config: &Config, dataset: &Dataset) -> Result<(), Error> {
    config
        .test
        .shots
        .iter()
        .try_for_each(|&shot| fewshot_experiment::check_episodes(config, dataset, shot))
}

/// Evaluates `second` on the episodes of `report`, which were drawn from images with these `labels`.
fn compare_with(
    second: &Candidate,
    report: &Report,
    dataset: &Dataset,
    labels: &[u32],
) -> Result<Comparison, Error> {
    let (evaluation, others) = second.evaluate(dataset)?;
    if others != labels {
        let reason = "cannot be compared, because other images were skipped as broken this time: \
                      loader.on_broken=error names them";
        return Err(Error::checkpoint(&second.name, reason));
    }
    let difference = compare(&report.first.results, &evaluation.results)?;
    Ok(Comparison { second: evaluation, difference })
}

fn print(report: &Report, format: Format) -> Result<String, Error> {
    match format {
        Format::Text => Ok(report.to_text()),
        Format::Markdown => Ok(report.to_markdown()),
        Format::Json => serde_json::to_string(report).map_err(Error::json("results")),
    }
}
