//! Time of whole epochs, from image files to updated weights.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::Device;
use fewshot_experiment::{BatchUploader, DeviceBatch, RawConfig, open_loader, open_split};
use serde_json::json;

use super::case::{Case, Measure, Setup};
use super::row::Better;
use super::training::{Network, Training};
use super::{Error, images};

const CONFIG: &str = include_str!("../../../configs/cpu/mini-imagenet-conv4.toml");

/// Returns one row, in seconds per epoch; none if FEWSHOT_DATA does not have the images.
///
/// # Errors
/// Images cannot be read, or written for PyTorch.
pub fn cases(setup: &Setup) -> Result<Vec<Case>, Error> {
    let archives = images::base_archives(setup.data.as_deref());
    if archives.is_empty() {
        eprintln!(
            "run: skipped, for FEWSHOT_DATA names no folder with mini-imagenet-84/base-0.tar"
        );
        return Ok(Vec::new());
    }
    let mut raw = RawConfig::from_toml(CONFIG)?;
    raw.set(&format!("loader.threads={}", setup.threads))?;
    if setup.smallest {
        raw.set("dataset.images_per_class=1")?;
    }
    let config = raw.check()?;
    let dataset = open_split(&config.dataset.base)?;
    let network = Network {
        backbone: config.method.backbone,
        size: config.method.image_size,
        batch: config.train.batch_size,
    };
    let Network { backbone, size, batch } = network;
    let name = format!("run {network}, epoch of {} images", dataset.len());
    let folder = tempfile::tempdir().map_err(Error::io("create a temporary folder"))?;
    if setup.against_pytorch {
        let per_class = config.dataset.base.source.images_per_class.unwrap_or(usize::MAX);
        for archive in &archives {
            unpack(archive, folder.path(), per_class).map_err(Error::at("unpack", archive))?;
        }
    }
    let epochs = setup.epochs;
    let request = json!({
        "kind": "run",
        "backbone": backbone.to_string(),
        "size": size,
        "batch": batch,
        "epochs": epochs,
        "folder": folder.path(),
    });
    let ours = move || -> Result<Measure, Error> {
        let loader = open_loader(&config, dataset, true)?;
        let mut training = Training::new(&config)?;
        let mut uploader = BatchUploader::new(&config, &Device::Cpu)?;
        let mut epoch = 0;
        Ok(Box::new(move || {
            // Keeps PyTorch's files for as long as the row is measured.
            let _folder = &folder;
            let started = Instant::now();
            for _ in 0..epochs {
                for batch in loader.epoch(epoch) {
                    let DeviceBatch { images, labels } = uploader.upload(batch?)?;
                    training.step(&images, &labels)?;
                }
                epoch += 1;
            }
            Ok(started.elapsed().as_secs_f64() / epochs as f64)
        }))
    };
    Ok(vec![Case {
        pairs: 1,
        warm_ups: 0,
        ..Case::new(name, "s", Better::Lower, ours).against(request)
    }])
}

/// Unpacks up to `per_class` images of each class, since torchvision reads files only.
fn unpack(archive: &Path, folder: &Path, per_class: usize) -> std::io::Result<()> {
    let mut classes = HashMap::<PathBuf, usize>::new();
    for entry in tar::Archive::new(File::open(archive)?).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let is_image = path.extension().is_some_and(|extension| extension == "jpg");
        let Some(class) = path.parent().filter(|_| is_image) else { continue };
        let count = classes.entry(class.to_owned()).or_default();
        *count += 1;
        if *count <= per_class {
            // Nothing is written outside the folder, whatever the archive says.
            entry.unpack_in(folder)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_images_of_a_class_than_are_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("base-0.tar");
        let mut builder = tar::Builder::new(File::create(&archive).unwrap());
        for path in ["a/1.jpg", "a/2.jpg", "a/3.jpg", "b/1.jpg", "b/notes.txt"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, &b"x"[..]).unwrap();
        }
        builder.into_inner().unwrap();
        let to = folder.path().join("to");
        std::fs::create_dir(&to).unwrap();
        unpack(&archive, &to, 2).unwrap();
        let count = |class: &str| std::fs::read_dir(to.join(class)).unwrap().count();
        assert_eq!((count("a"), count("b")), (2, 1));
        assert!(unpack(&folder.path().join("absent.tar"), &to, 2).is_err());
    }
}
