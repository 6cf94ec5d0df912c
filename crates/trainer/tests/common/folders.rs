//! Folders of images of our own, whose classes have the same names in every split.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::trainer;

/// Class folders of drawn glyphs: `base`, `val` and `novel` of five classes of eight images.
pub fn class_folders(root: &Path) {
    let glyphs = fewshot_data::glyphs::Glyphs::new(&Default::default());
    for (s, split) in ["base", "val", "novel"].into_iter().enumerate() {
        for class in 0..5 {
            let folder = root.join(split).join(format!("class{class}"));
            fs::create_dir_all(&folder).unwrap();
            for index in 0..8 {
                let image = glyphs.draw(5 * s as u32 + class, index);
                // What an image is tells its content, not its name.
                let path = folder.join(format!("{index}.jpg"));
                image.save_with_format(path, image::ImageFormat::Png).unwrap();
            }
        }
    }
}

/// `trainer` on such folders, for one epoch.
pub fn on_folders(run: &Path, root: &Path) -> Command {
    let mut command = trainer(run);
    command.args(["dataset.source=folders", "test.query=3", "train.epochs=1"]);
    command.arg(format!("dataset.root={}", root.display()));
    command
}
