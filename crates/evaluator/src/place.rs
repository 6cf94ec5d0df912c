//! Where a checkpoint lies.

use std::path::{Path, PathBuf};

use fewshot_experiment::Error;

/// A checkpoint's file, and what results call it.
pub struct Place {
    pub file: PathBuf,
    pub name: PathBuf,
}

impl Place {
    /// A path is itself; `hf://…` is got from the Hugging Face hub or its cache, and called by
    /// its commit.
    pub fn of(given: &Path) -> Result<Self, Error> {
        match given.to_str() {
            Some(address) if address.starts_with("hf:") => hub(address),
            _ => Ok(Self { file: given.to_owned(), name: given.to_owned() }),
        }
    }
}

#[cfg(feature = "hub")]
fn hub(address: &str) -> Result<Place, Error> {
    use fewshot_experiment::Progress;
    use fewshot_fetch::{Event, Hub, HubFile};

    const MIB: u64 = 1 << 20;
    let mut bar: Option<(Progress, u64)> = None;
    let mut show = |event: Event<'_>| match event {
        Event::Arrived { done, total: Some(total) } => {
            let start = || (Progress::new(address, total.div_ceil(MIB) as usize, "MiB"), 0);
            let (bar, shown) = bar.get_or_insert_with(start);
            bar.advance((done / MIB).saturating_sub(*shown) as usize, String::new);
            *shown = (done / MIB).max(*shown);
        }
        Event::Waiting { wait, why } => {
            eprintln!("{address}: {}; again in {} s", printable(why), wait.as_secs());
        }
        _ => {}
    };
    let mut get = || {
        let file: HubFile = address.parse()?;
        Hub::from_environment()?.get(&file, &mut show)
    };
    let cached =
        get().map_err(|e: fewshot_fetch::Error| Error::Syntax(printable(&e.to_string())))?;
    Ok(Place { file: cached.path, name: cached.file.to_string().into() })
}

/// What a server sent does not get to move the cursor.
#[cfg(feature = "hub")]
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect()
}

#[cfg(not(feature = "hub"))]
fn hub(address: &str) -> Result<Place, Error> {
    let reason =
        "this evaluator was built without the feature `hub`: give a file, or build it with";
    Err(Error::Syntax(format!("{address}: {reason}")))
}
