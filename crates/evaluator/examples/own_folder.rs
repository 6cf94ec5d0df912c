//! Evaluates a folder of your own, with one folder of images per class, through the library.
//!
//! ```console
//! $ cargo run --release -p evaluator --example own_folder -- FOLDER
//! ```
//!
//! `FOLDER/CLASS/IMAGE.png` or `.jpg`: at least three classes of ten images. The model is small and
//! randomly initialised; [`fewshot_experiment::Checkpoint`] reads a trained one. The binary does the
//! same without a line of code:
//!
//! ```console
//! $ evaluator --checkpoint best.safetensors --way 3 dataset.novel.source=folders \
//!       dataset.novel.root=FOLDER dataset.novel.split=all
//! ```
//!
//! No file of the workspace has to change for one's own folder. A source of another layout touches
//! two files: its own below `crates/data/src/source`, and the registry of kinds beside it.

use std::path::Path;

use candle_core::Device;
use evaluator::{SplitResults, evaluate_split};
use fewshot_experiment::{Error, Model, RawConfig, open_split};

/// Evaluates the class folders below `root`: 3-way, with 1 and 5 support images per class.
fn evaluate_folder(root: &Path) -> Result<SplitResults, Error> {
    let mut raw = RawConfig::from_toml(
        r#"
        [method]
        backbone = "conv4"
        image_size = 16
        [test]
        way = 3
        shots = [1, 5]
        query = 5
        episodes = 20
        head = "prototype"
        [dataset.novel]
        source = "folders"
        split = "all"
        "#,
    )?;
    raw.set(&format!("dataset.novel.root={}", root.display()))?;
    let config = raw.check()?;
    let novel = open_split(&config.dataset.novel)?;
    let base_classes = 64;
    let model = Model::new(&config, base_classes, &Device::Cpu)?;
    evaluate_split(&config, &model, &novel, &Device::Cpu)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: own_folder FOLDER")?;
    for (shot, result) in evaluate_folder(Path::new(&folder))? {
        println!("{shot}-shot  {result} %  ({} episodes)", result.episodes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    /// Images of one hue per class and any brightness.
    fn write_images(root: &Path) {
        for (class, hue) in [("red", [1, 0, 0]), ("green", [0, 1, 0]), ("blue", [0, 0, 1])] {
            std::fs::create_dir(root.join(class)).unwrap();
            for index in 0..10 {
                let color = Rgb(hue.map(|channel| 20 + channel * (100 + 10 * index)));
                let image = RgbImage::from_pixel(20, 20, color);
                image.save(root.join(class).join(format!("{index}.png"))).unwrap();
            }
        }
    }

    #[test]
    fn colors_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        write_images(folder.path());
        let results = evaluate_folder(folder.path()).unwrap();
        assert_eq!(results.keys().collect::<Vec<_>>(), [&1, &5]);
        assert!(results.values().all(|result| result.mean > 80.0), "{results:?}");
    }

    #[test]
    fn a_folder_that_does_not_exist_is_named() {
        let error = evaluate_folder(Path::new("/no/such/folder")).unwrap_err().to_string();
        assert!(
            error.contains("dataset.novel.root") && error.contains("/no/such/folder"),
            "{error}"
        );
    }
}
