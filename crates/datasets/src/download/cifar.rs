//! CIFAR-FS: the images of CIFAR-100, one folder for each class of each split.

use std::fs;
use std::path::Path;

use fewshot_fetch::{Event, Listener};
use image::RgbImage;

/// Height and width of an image, in pixels.
const SIDE: u32 = 32;
const PIXELS: usize = (SIDE * SIDE) as usize;
/// Bytes of a record: two labels, of which the second is the class, then one plane each of red,
/// green and blue.
const RECORD: usize = 2 + 3 * PIXELS;

/// The classes of each split, as published with Bertinetto et al., *Meta-learning with
/// differentiable closed-form solvers*, ICLR 2019.
pub const SPLITS: [(&str, &str); 3] = [
    (
        "train",
        "apple aquarium_fish bear bee bottle bowl boy bridge bus can castle caterpillar chair clock \
         cloud cockroach couch cup dinosaur dolphin elephant forest girl hamster house kangaroo \
         keyboard lawn_mower lion lizard lobster mountain mouse mushroom oak_tree orange orchid \
         palm_tree pear pine_tree plate porcupine possum rabbit raccoon ray road seal shrew skunk \
         skyscraper snake spider squirrel streetcar sunflower tank tiger train trout tulip turtle \
         willow_tree wolf",
    ),
    (
        "val",
        "beaver beetle butterfly camel cattle crab crocodile flatfish lamp maple_tree motorcycle \
         otter sea shark television tractor",
    ),
    (
        "test",
        "baby bed bicycle chimpanzee fox leopard man pickup_truck plain poppy rocket rose snail \
         sweet_pepper table telephone wardrobe whale woman worm",
    ),
];

/// Writes the folders, from the unpacked archive of CIFAR-100's binary version.
pub fn make(unpacked: &Path, out: &Path, listener: Listener<'_>) -> Result<(), String> {
    let names = read(unpacked, "fine_label_names.txt")?;
    let names = String::from_utf8(names).map_err(|_| "fine_label_names.txt is not UTF-8")?;
    let mut folders = Vec::new();
    for name in names.lines().map(str::trim).filter(|name| !name.is_empty()) {
        // Only known names become paths.
        let split = split_of(name)
            .ok_or_else(|| format!("fine_label_names.txt: `{name}` is no class of CIFAR-100"))?;
        let folder = out.join(split).join(name);
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        folders.push(folder);
    }
    let parts = ["train", "test"].map(|part| Ok((part, read(unpacked, &format!("{part}.bin"))?)));
    let parts = parts.into_iter().collect::<Result<Vec<_>, String>>()?;
    let total = parts.iter().map(|(_, records)| records.len() / RECORD).sum::<usize>() as u64;
    let mut done = 0;
    for (part, records) in &parts {
        if records.is_empty() || !records.len().is_multiple_of(RECORD) {
            return Err(format!(
                "{part}.bin has {} bytes, which is no multiple of {RECORD}",
                records.len()
            ));
        }
        for (number, record) in records.chunks_exact(RECORD).enumerate() {
            let folder = folders.get(usize::from(record[1])).ok_or_else(|| {
                format!("{part}.bin: image {number} is of class {}, which has no name", record[1])
            })?;
            let path = folder.join(format!("{part}_{number:05}.png"));
            picture(&record[2..]).save(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            done += 1;
            listener(Event::Converting { done, total });
        }
    }
    Ok(())
}

fn split_of(class: &str) -> Option<&'static str> {
    let found = SPLITS.iter().find(|(_, classes)| classes.split_whitespace().any(|c| c == class));
    found.map(|(split, _)| *split)
}

fn picture(planes: &[u8]) -> RgbImage {
    RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let at = (y * SIDE + x) as usize;
        image::Rgb([planes[at], planes[PIXELS + at], planes[2 * PIXELS + at]])
    })
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>, String> {
    fs::read(folder.join(name)).map_err(|e| format!("{name}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_splits_are_64_16_and_20_classes() {
        let counts = SPLITS.map(|(_, classes)| classes.split_whitespace().count());
        assert_eq!(counts, [64, 16, 20]);
        let all: BTreeSet<_> = SPLITS.iter().flat_map(|(_, all)| all.split_whitespace()).collect();
        assert_eq!(all.len(), 100);
    }

    #[test]
    fn records_become_images_in_the_folder_of_their_class() {
        let folder = tempfile::tempdir().unwrap();
        let (unpacked, out) = (folder.path().join("in"), folder.path().join("out"));
        fs::create_dir(&unpacked).unwrap();
        fs::create_dir(&out).unwrap();
        let make = || make(&unpacked, &out, &mut |_| {});
        let write = |name: &str, content: &[u8]| fs::write(unpacked.join(name), content).unwrap();
        assert!(make().unwrap_err().contains("fine_label_names.txt"));
        write("fine_label_names.txt", b"apple\nbaby\nbeaver\n");
        let record = |class: u8| {
            let mut record = vec![9, class];
            for plane in [10u8, 100, 200] {
                record.extend((0..PIXELS).map(|at| plane + (at % 32) as u8));
            }
            record
        };
        write("train.bin", &[record(0), record(2), record(0)].concat());
        write("test.bin", &record(1));
        make().unwrap();
        let image = image::open(out.join("train/apple/train_00002.png")).unwrap().to_rgb8();
        assert_eq!(image.dimensions(), (32, 32));
        assert_eq!(image.get_pixel(5, 1).0, [15, 105, 205]);
        assert!(out.join("val/beaver/train_00001.png").exists());
        assert!(out.join("test/baby/test_00000.png").exists());

        write("test.bin", &record(3));
        assert!(make().unwrap_err().contains("of class 3, which has no name"));
        write("test.bin", &record(1)[1..]);
        assert!(make().unwrap_err().contains("test.bin has 3073 bytes"));
        write("test.bin", b"");
        assert!(make().unwrap_err().contains("test.bin has 0 bytes"));
        write("fine_label_names.txt", b"../apple\n");
        assert!(make().unwrap_err().contains("`../apple` is no class"));
    }
}
