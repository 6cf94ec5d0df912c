//! A source of your own: images that a CSV names, with the class and the split of each, loaded in
//! batches and sampled into episodes.
//!
//! ```text
//! cargo run -p fewshot-data --example own_source
//! ```
//!
//! To make it a built-in kind, which `dataset.source` then takes by its name, edit two files:
//!
//! 1. `crates/data/src/source/birds.rs`, a new file: `classes` below as a function
//!    `pub(super) fn classes(spec: &SourceSpec, tree: &FileTree, split: Split)` of the same result.
//!    `spec.no_split` makes the error of a split that there is not. Where the list names absent
//!    images, use `Missing` as `json.rs` does, so that they are an error unless `allow_partial`.
//! 2. `crates/data/src/source/mod.rs`, the registry: `mod birds;` and, in `source_kinds!`,
//!
//!    ```text
//!    /// Images that `birds.csv` (header `file,class,split`) names.
//!    Birds => Layout::of_files(birds::classes);
//!    ```
//!
//! `tests/sources.rs` has a test of each kind. Configurations, `cargo xtask pack` and messages take
//! the name from the registry.

use std::collections::BTreeMap;
use std::path::Path;

use fewshot_data::{
    Dataset, Error, FileTree, ImageSource, Loader, LoaderOptions, SourceClass, SourceImage, Split,
    Transform,
};
use fewshot_episodes::{EpisodeShape, Sampler};
use image::{Rgb, RgbImage};

const LIST: &str = "birds.csv";

/// Images of a folder or an archive, named by `birds.csv` in it.
struct Birds {
    tree: FileTree,
}

/// A row of the list.
#[derive(serde::Deserialize)]
struct Row {
    file: String,
    class: String,
    split: String,
}

impl Birds {
    fn open(root: &Path) -> Result<Self, Error> {
        Ok(Self { tree: FileTree::open(root)? })
    }
}

impl ImageSource for Birds {
    fn name(&self) -> String {
        "birds".to_owned()
    }

    fn classes(&self, split: Split) -> Result<Vec<SourceClass>, Error> {
        let malformed = |e: csv::Error| Error::Index { file: LIST.into(), reason: e.to_string() };
        let list = self.tree.get(LIST).ok_or_else(|| Error::NoSplit {
            origin: self.name(),
            split,
            remedy: format!("add {LIST}"),
        })?;
        let mut classes = BTreeMap::<String, SourceClass>::new();
        for row in csv::Reader::from_reader(&list.read()?[..]).deserialize() {
            let row: Row = row.map_err(malformed)?;
            if split != Split::All && row.split.parse::<Split>()? != split {
                continue;
            }
            let class = classes.entry(row.class.clone()).or_default();
            class.name = row.class;
            match self.tree.get(&row.file) {
                // What is in no file is read by a function: `SourceImage::new(path, || …)`.
                Some(file) => class.images.push(SourceImage::stored(&row.file, file)),
                None => class.absent.push(row.file),
            }
        }
        Ok(classes.into_values().collect())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    write_birds(folder.path())?;
    let source = Birds::open(folder.path())?;

    let base = Dataset::from_source(&source, Split::Base)?;
    let options = LoaderOptions { batch_size: 6, shuffle: true, ..LoaderOptions::default() };
    for batch in Loader::new(base, Transform::eval(16), options)?.epoch(0) {
        let batch = batch?;
        println!("a batch of {} base images, labels {:?}", batch.labels.len(), batch.labels);
        assert_eq!(batch.images.len(), batch.labels.len() * 3 * 16 * 16);
    }

    let novel = Dataset::from_source(&source, Split::Novel)?;
    let shape = EpisodeShape { way: 2, shot: 1, query: 3 };
    let episode = Sampler::new(novel.labels(), shape, 0)?.episode(0);
    let support = episode.support.iter().map(|&index| novel.image_path(index));
    println!("an episode with the support images {:?}", support.collect::<Vec<_>>());
    assert_eq!(episode.query.len(), 2 * 3);
    Ok(())
}

/// Writes five images of each of four classes, and their list.
fn write_birds(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut list = csv::Writer::from_path(folder.join(LIST))?;
    list.write_record(["file", "class", "split"])?;
    let classes = [("crow", "base"), ("jay", "base"), ("gull", "novel"), ("wren", "novel")];
    for (tag, (class, split)) in (0u8..).zip(classes) {
        for number in 0..5 {
            let file = format!("{class}{number}.png");
            let image = RgbImage::from_pixel(20, 20, Rgb([tag * 60, number * 50, 90]));
            image.save(folder.join(&file))?;
            list.write_record([&file, class, split])?;
        }
    }
    list.flush()?;
    Ok(())
}

#[test]
fn batches_and_episodes_are_made_of_it() {
    main().unwrap();
}
