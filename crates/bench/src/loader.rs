//! Speed of decoding and the training transform, on one thread.

use std::fs;
use std::path::Path;
use std::time::Instant;

use fewshot_data::{
    Loader, LoaderOptions, SourceKind, SourceSpec, Split, TrainTransform, Transform,
};
use serde_json::json;

use super::case::{Case, Measure, Setup};
use super::row::Better;
use super::{Error, images};

/// Side of the transformed images, in pixels.
const SIZE: usize = 84;
const BATCH: usize = 128;

/// Returns a row for images as small as the transform's output, and one for photographs.
///
/// # Errors
/// Images that cannot be read or written.
pub fn cases(setup: &Setup) -> Result<Vec<Case>, Error> {
    let count = |count| if setup.smallest { 4 } else { count };
    let data = setup.data.as_deref();
    Ok(vec![
        case("84×84", &images::small(data, count(1024))?)?,
        case("500×375", &images::large(data, count(256))?)?,
    ])
}

/// Returns a row for `files`, which both sides read.
fn case(from: &str, files: &[Vec<u8>]) -> Result<Case, Error> {
    let folder = tempfile::tempdir().map_err(Error::io("create a temporary folder"))?;
    let base = folder.path().join("base");
    write(&base.join("class"), files)?;
    let request = json!({ "kind": "loader", "folder": base, "size": SIZE, "batch": BATCH });
    let count = files.len();
    let ours = move || -> Result<Measure, Error> {
        let dataset = SourceSpec::new(SourceKind::Folders, folder.path()).open(Split::Base)?;
        let options = LoaderOptions {
            batch_size: BATCH,
            shuffle: true,
            threads: Some(1),
            ..LoaderOptions::default()
        };
        let loader = Loader::new(dataset, Transform::train(TrainTransform::new(SIZE)), options)?;
        let mut epoch = 0;
        Ok(Box::new(move || {
            // Keeps the files for as long as the row is measured.
            let _folder = &folder;
            let started = Instant::now();
            for batch in loader.epoch(epoch) {
                batch?;
            }
            epoch += 1;
            Ok(count as f64 / started.elapsed().as_secs_f64())
        }))
    };
    let name = format!("loader {from} JPEG to {SIZE} px, a core");
    Ok(Case::new(name, "images/s", Better::Higher, ours).against(request))
}

fn write(folder: &Path, files: &[Vec<u8>]) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::at("create", folder))?;
    for (number, bytes) in files.iter().enumerate() {
        let path = folder.join(format!("{number:04}.jpg"));
        fs::write(&path, bytes).map_err(Error::at("write", &path))?;
    }
    Ok(())
}
