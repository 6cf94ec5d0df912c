//! A training takes a pack in place of the folder that it was made of.

mod common;

use std::fs::{self, File};
use std::path::Path;

use common::{succeed, trainer};
use fewshot_data::{Dataset, PackInfo, PackWriter, SourceKind, SourceSpec, Split};

/// Class folders of drawn characters: ten base, five val, five novel classes.
fn birds(root: &Path) {
    let mut spec = SourceSpec::new(SourceKind::Glyphs, "");
    (spec.glyphs.size, spec.glyphs.images_per_class) = (24, 12);
    let glyphs = spec.open(Split::All).unwrap();
    for index in 0..20 * 12 {
        let folder = root.join(&glyphs.class_names()[glyphs.labels()[index] as usize]);
        fs::create_dir_all(&folder).unwrap();
        glyphs.load(index).unwrap().save(folder.join(format!("{index:04}.png"))).unwrap();
    }
}

fn pack(dataset: &Dataset, split: Split, path: &Path) {
    let info = PackInfo { source: SourceKind::Folders, split, partial: None, shorter_side: None };
    let mut pack = PackWriter::new(File::create(path).unwrap(), &info);
    let mut label = None;
    for index in 0..dataset.len() {
        if label.replace(dataset.labels()[index]) != Some(dataset.labels()[index]) {
            let label = dataset.labels()[index] as usize;
            pack.class(&dataset.class_names()[label], label);
        }
        pack.image(dataset.image_path(index), &dataset.bytes(index).unwrap()).unwrap();
    }
    pack.finish().unwrap();
}

#[test]
fn a_training_from_a_pack_is_that_from_the_folder_to_the_last_bit() {
    let places = tempfile::tempdir().unwrap();
    // Of the same name, so that the configurations are the same.
    let [folder, packed] = ["folder", "packed"].map(|name| places.path().join(name).join("birds"));
    birds(&folder);
    fs::create_dir_all(&packed).unwrap();
    for split in [Split::Base, Split::Val, Split::Novel] {
        let dataset = SourceSpec::new(SourceKind::Folders, &folder).open(split).unwrap();
        pack(&dataset, split, &packed.join(format!("{split}.zip")));
    }
    let outcome = |data: &Path| {
        let run = data.with_file_name("run");
        let mut command = trainer(&run);
        command.env("FEWSHOT_DATA", data.parent().unwrap());
        succeed(command.args(["dataset.source=folders", "dataset.root=birds"]));
        ["metrics.jsonl", "results.json", "last.safetensors", "best.safetensors"]
            .map(|name| fs::read(run.join(name)).unwrap())
    };
    let (from_folder, from_pack) = (outcome(&folder), outcome(&packed));
    assert!(!from_folder[0].is_empty());
    assert!(from_folder == from_pack);
}
