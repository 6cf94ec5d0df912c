//! The report of `verify`, as text and as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

/// Entries of a list that are printed unless all are wanted.
const SHOWN: usize = 20;

/// What `verify` found.
#[derive(Serialize)]
pub struct Report {
    pub dataset: String,
    pub path: String,
    /// Whether nothing is amiss.
    pub whole: bool,
    pub splits: Vec<Row>,
    /// Classes with a wrong number of images.
    pub short: Vec<Short>,
    /// As `SPLIT/CLASS`; or `SPLIT: COUNT …` for those whose names are not known.
    pub absent_classes: Vec<String>,
    /// Classes that the published split does not have.
    pub foreign_classes: Vec<String>,
    /// As `SPLIT/CLASS: IMAGE`: listed by the dataset, but not there.
    pub missing: Vec<String>,
    pub broken: Vec<Broken>,
    pub duplicates: Vec<Copies>,
    /// Images in no split.
    pub strays: Vec<Stray>,
    pub notes: Vec<String>,
}

/// Counts of a split.
#[derive(Serialize)]
pub struct Row {
    pub split: String,
    pub expected_classes: usize,
    pub expected_images: usize,
    pub classes: usize,
    pub images: usize,
    pub broken: usize,
    /// Images whose content occurs more than once in the splits.
    pub duplicates: usize,
}

/// A class with a wrong number of images.
#[derive(Serialize)]
pub struct Short {
    pub split: String,
    pub class: String,
    pub found: usize,
    pub expected: usize,
}

/// An image that cannot be decoded.
#[derive(Serialize)]
pub struct Broken {
    pub image: String,
    pub reason: String,
}

/// Images with the same bytes.
#[derive(Serialize)]
pub struct Copies {
    /// `splits`, the worst case: the model is tested on images it was trained on; `classes`; or
    /// `nothing`: all in one class.
    pub across: &'static str,
    /// As `SPLIT: IMAGE`.
    pub images: Vec<String>,
}

/// An image in no split.
#[derive(Serialize)]
pub struct Stray {
    pub image: String,
    pub copy_of: Option<String>,
}

impl Copies {
    /// Returns 0 for the worst case, 2 for the mildest.
    pub fn severity(&self) -> usize {
        ["splits", "classes"].iter().position(|across| *across == self.across).unwrap_or(2)
    }
}

impl Report {
    /// Returns an empty report.
    pub fn new(dataset: &str, path: &str) -> Self {
        Self {
            dataset: dataset.to_owned(),
            path: path.to_owned(),
            whole: false,
            splits: Vec::new(),
            short: Vec::new(),
            absent_classes: Vec::new(),
            foreign_classes: Vec::new(),
            missing: Vec::new(),
            broken: Vec::new(),
            duplicates: Vec::new(),
            strays: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Returns whether all counts are as published and all lists empty.
    pub fn is_whole(&self) -> bool {
        let as_published =
            |row: &Row| (row.classes, row.images) == (row.expected_classes, row.expected_images);
        let lists = [
            self.short.len(),
            self.absent_classes.len(),
            self.foreign_classes.len(),
            self.missing.len(),
            self.broken.len(),
            self.duplicates.len(),
            self.strays.len(),
            self.notes.len(),
        ];
        self.splits.iter().all(as_published) && lists == [0; 8]
    }

    /// Formats a table, then what is amiss: at most 20 lines of each list unless `all`.
    pub fn text(&self, all: bool) -> String {
        let mut text = format!("{} in {}\n\n", self.dataset, self.path);
        let head = ["split", "classes", "of", "images", "of", "broken", "duplicates"];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.splits.iter().map(|row| {
            let numbers = [
                row.classes,
                row.expected_classes,
                row.images,
                row.expected_images,
                row.broken,
                row.duplicates,
            ];
            let [a, b, c, d, e, f] = numbers.map(|number| number.to_string());
            [row.split.clone(), a, b, c, d, e, f]
        }));
        for row in &rows {
            let [split, numbers @ ..] = row;
            text.push_str(&format!("{split:<8}"));
            numbers.iter().for_each(|number| text.push_str(&format!(" {number:>8}")));
            text.push('\n');
        }
        let limit = if all { usize::MAX } else { SHOWN };
        let mut list = |title: &str, lines: Vec<String>| {
            if lines.is_empty() {
                return;
            }
            text += &format!("\n{title} ({}):\n", lines.len());
            for line in lines.iter().take(limit) {
                text += &format!("  {line}\n");
            }
            if lines.len() > limit {
                text += &format!("  … and {} more; --all shows them\n", lines.len() - limit);
            }
        };
        list("classes absent", self.absent_classes.clone());
        list("classes with another number of images", self.short_lines());
        list("classes that are not of their split", self.foreign_classes.clone());
        list("images named by a list but absent", self.missing.clone());
        let broken = |b: &Broken| format!("{}: {}", b.image, b.reason);
        list("broken images", self.broken.iter().map(broken).collect());
        for (across, title) in [
            ("splits", "the same image in several splits, which spoils every result"),
            ("classes", "the same image in several classes of a split"),
            ("nothing", "the same image twice in a class"),
        ] {
            let groups = self.duplicates.iter().filter(|group| group.across == across);
            list(title, groups.map(|group| group.images.join(" = ")).collect());
        }
        let stray = |s: &Stray| match &s.copy_of {
            Some(same) => format!("{} (a copy of {same})", s.image),
            None => s.image.clone(),
        };
        list("images in no split", self.strays.iter().map(stray).collect());
        list("notes", self.notes.clone());
        text.push_str(if self.whole { "\nwhole" } else { "\nnot whole" });
        text
    }

    /// Formats [`Self::short`]; classes with equal counts share a line.
    fn short_lines(&self) -> Vec<String> {
        let mut groups = BTreeMap::<_, Vec<&str>>::new();
        for Short { split, class, found, expected } in &self.short {
            groups.entry((split, found, expected)).or_default().push(class);
        }
        let line = |((split, found, expected), classes): ((&String, &usize, &usize), Vec<&str>)| {
            let few: Vec<_> = classes.iter().take(3).copied().collect();
            let more = if classes.len() > few.len() { ", …" } else { "" };
            let count = classes.len();
            format!("{split}: {found} of {expected} in {count} classes ({}{more})", few.join(", "))
        };
        groups.into_iter().map(line).collect()
    }
}
