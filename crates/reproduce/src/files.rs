//! Files that commands read and write.

use std::path::{Path, PathBuf};

use fewshot_experiment::write_atomically;
use fewshot_figures::{Chart, Figure};

/// Folder of the configurations.
pub const CONFIGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs");

/// Reads a budget by its name in `configs/budgets`, or by its file if that ends in .toml, and has
/// `parse` make something of its name and text. `expected` lists the names for the message.
///
/// # Errors
/// No such budget, or what `parse` refuses, with the path.
pub fn read_budget<T>(
    name: &str,
    expected: &str,
    parse: impl FnOnce(&str, &str) -> Result<T, String>,
) -> Result<T, String> {
    let path = match name.ends_with(".toml") {
        true => PathBuf::from(name),
        false => Path::new(CONFIGS).join("budgets").join(format!("{name}.toml")),
    };
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let path = path.display();
        format!(
            "budget `{name}`: cannot read {path}: {error}; expected {expected} or a file that ends \
             in .toml"
        )
    })?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    parse(&stem, &text).map_err(|reason| format!("budget {}: {reason}", path.display()))
}

/// Writes a file whole or not at all.
///
/// # Errors
/// A folder that cannot be written to.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    write_atomically(path, bytes).map_err(|error| error.to_string())
}

/// Writes a chart into `folder` as NAME.svg and NAME.png; returns the SVG for a page.
///
/// # Errors
/// A chart that cannot be drawn; a folder that cannot be written to.
pub fn save_chart(chart: &Chart, folder: &Path, name: &str) -> Result<String, String> {
    let svg = chart.svg().map_err(|error| error.to_string())?;
    let png = chart.png().map_err(|error| error.to_string())?;
    write(&folder.join(format!("{name}.svg")), svg.as_bytes())?;
    write(&folder.join(format!("{name}.png")), &png)?;
    Ok(svg)
}

/// Returns the text that a writer of CSV has written.
///
/// # Errors
/// Out of memory.
pub fn csv_text(writer: csv::Writer<Vec<u8>>) -> Result<String, csv::Error> {
    let bytes = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
