//! The folder that holds the datasets.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Returns the folder that holds the datasets: `given` by the command line, else FEWSHOT_DATA,
/// else this system's folder for data.
///
/// # Errors
/// An empty name, a file in its place, or a system without a folder for data.
pub fn data_folder(given: Option<&Path>) -> Result<PathBuf, String> {
    choose(given, std::env::var_os("FEWSHOT_DATA"), dirs::data_dir())
}

fn choose(
    given: Option<&Path>,
    variable: Option<OsString>,
    system: Option<PathBuf>,
) -> Result<PathBuf, String> {
    let variable = variable.filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = match (given, variable, system) {
        (Some(given), _, _) if given.as_os_str().is_empty() => {
            return Err("--data is empty: name a folder".into());
        }
        (Some(given), _, _) => given.to_owned(),
        (None, Some(variable), _) => variable,
        (None, None, Some(system)) => system.join("fewshot"),
        (None, None, None) => {
            return Err(
                "this system has no folder for data: name one by --data or FEWSHOT_DATA".into()
            );
        }
    };
    if folder.exists() && !folder.is_dir() {
        return Err(format!("{}: a file; name a folder by --data", folder.display()));
    }
    Ok(folder)
}

/// Explains how a training finds `folder` below `data`.
pub fn root_hint(data: &Path, folder: &str) -> String {
    let named = std::env::var_os("FEWSHOT_DATA").is_some_and(|value| Path::new(&value) == data);
    let root = format!("dataset.root={folder}");
    if named {
        return format!("{root} finds it");
    }
    format!("{root} finds it after: export FEWSHOT_DATA={}", data.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_wins_over_the_environment_over_the_system() {
        let system = || Some(PathBuf::from("/home/u/.local/share"));
        let choose = |given: Option<&str>, variable: Option<&str>, system| {
            choose(given.map(Path::new), variable.map(Into::into), system)
        };
        assert_eq!(choose(Some("d"), Some("/e"), system()).unwrap(), Path::new("d"));
        assert_eq!(choose(None, Some("/e"), system()).unwrap(), Path::new("/e"));
        for unset in [None, Some("")] {
            let folder = choose(None, unset, system()).unwrap();
            assert_eq!(folder, Path::new("/home/u/.local/share/fewshot"));
            assert!(choose(None, unset, None).unwrap_err().contains("--data"));
        }
        assert!(choose(Some(""), None, system()).unwrap_err().contains("--data is empty"));
        assert!(choose(Some(file!().rsplit('/').next().unwrap()), None, None).is_ok());
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = choose(file.path().to_str(), None, None).unwrap_err();
        assert!(error.contains("a file; name a folder"), "{error}");
    }
}
