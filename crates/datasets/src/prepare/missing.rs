//! Exact and short description of what a copy lacks.

use std::collections::{BTreeMap, HashSet};

use fewshot_data::mini_imagenet::IMAGES_PER_CLASS;

use super::input::{Found, Input};

/// The classes and images that a copy lacks.
pub struct Missing {
    /// Classes without an image.
    pub classes: usize,
    /// Images that are absent, of all classes.
    pub images: usize,
    /// One line for the absent classes of each split, then one for each incomplete class.
    pub lines: Vec<String>,
}

impl Missing {
    /// Compares an input with the published lists.
    pub fn new(input: &Input) -> Self {
        let mut missing = Self { classes: 0, images: 0, lines: Vec::new() };
        let (mut absent, mut incomplete) = (BTreeMap::<_, Vec<_>>::new(), Vec::new());
        for found in &input.classes {
            let lacks = IMAGES_PER_CLASS - found.count();
            missing.images += lacks;
            if lacks == IMAGES_PER_CLASS {
                missing.classes += 1;
                let split = (found.class.split, found.class.folder());
                absent.entry(split).or_default().push(found.class.wnid);
            } else if lacks > 0 {
                incomplete.push(line(found, lacks));
            }
        }
        for ((_, folder), wnids) in absent {
            missing.lines.push(format!("{folder}: all of {}", wnids.join(" ")));
        }
        missing.lines.extend(incomplete);
        missing
    }
}

fn line(found: &Found, lacks: usize) -> String {
    let (folder, wnid) = (found.class.folder(), found.class.wnid);
    let start = format!("{folder}/{wnid}: {lacks} of {IMAGES_PER_CLASS} images");
    match runs(found) {
        Some(runs) => format!("{start}: {}", runs.join(", ")),
        // The images have names of their own: which ones are absent cannot be told.
        None => start,
    }
}

/// Returns the absent names of the published list, consecutive ones as `FIRST to LAST`; nothing
/// if the images do not have the list's names.
fn runs(found: &Found) -> Option<Vec<String>> {
    let names: HashSet<_> = found.images.iter().map(|image| &*image.name).collect();
    let mut runs = Vec::<(String, Option<String>)>::new();
    let (mut seen, mut goes_on) = (0, false);
    for name in found.class.file_names() {
        if names.contains(&*name) {
            (seen, goes_on) = (seen + 1, false);
            continue;
        }
        match runs.last_mut().filter(|_| goes_on) {
            Some((_, last)) => *last = Some(name),
            None => runs.push((name, None)),
        }
        goes_on = true;
    }
    let run = |(first, last)| match last {
        Some(last) => format!("{first} to {last}"),
        None => first,
    };
    (seen == found.count()).then(|| runs.into_iter().map(run).collect())
}
