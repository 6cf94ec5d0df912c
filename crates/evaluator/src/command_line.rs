//! Reading of a command line.

use clap::Parser;
use clap::error::{ContextKind, ContextValue};
use fewshot_experiment::RawConfig;
use fewshot_progress::warn;

/// Reads the command line. One that is wrong ends the process, as does one that asks for help; an
/// option that other programs have, such as `--lr`, is answered with the setting that it means.
pub fn parse_arguments<T: Parser>() -> T {
    T::try_parse().unwrap_or_else(|error| {
        // As on a terminal that is gone.
        let _ = error.print();
        if let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg)
            && let Some(key) = RawConfig::key_meant_by(option)
        {
            warn(format_args!("\nnote: settings are written without hyphens: {key}=VALUE"));
        }
        std::process::exit(error.exit_code())
    })
}
