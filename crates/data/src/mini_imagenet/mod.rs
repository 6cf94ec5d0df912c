//! The published lists of mini-ImageNet: which images of which classes of the ILSVRC training
//! set it is made of, and how its 100 classes divide.
//!
//! The split is that of Ravi & Larochelle, *Optimization as a Model for Few-Shot Learning*,
//! ICLR 2017, as its `train.csv`, `val.csv` and `test.csv` have it: 64, 16 and 20 classes of
//! [`IMAGES_PER_CLASS`] images. A listed `n0153282900000005.jpg` is the fifth image of the
//! class `n01532829`, in ascending order of the number in `n01532829_NUMBER.JPEG`.
//!
//! ```
//! use fewshot_data::{Split, mini_imagenet};
//!
//! let robin = mini_imagenet::class("n01558993").unwrap();
//! assert_eq!((robin.split, robin.folder()), (Split::Base, "train"));
//! assert_eq!(robin.file_names().next().unwrap(), "n0155899300000001.jpg");
//! assert_eq!(mini_imagenet::split_of("n07613480"), Some(Split::Novel));
//! assert_eq!(mini_imagenet::split_of("n01440764"), None);
//! ```

mod find;
mod images;

pub use self::find::{FoundClass, FoundImage, find};
pub(crate) use self::images::{Images, is_ilsvrc};
use crate::Split;

/// Number of images of each class.
pub const IMAGES_PER_CLASS: usize = 600;

/// Most images of a class of the ILSVRC training set.
const MAX_RANKS: usize = 1300;

/// For each class, in the order of [`CLASSES`], a bit for each rank from 1 on, the least
/// significant bit of a byte first. A random choice of 600 of up to 1300 cannot be compressed
/// further. The tests compare it with the published lists, and one writes it:
/// `FEWSHOT_DATA=… cargo test -p fewshot-data --lib -- --ignored made_anew`.
static LISTED: &[u8; 100 * CLASS_BYTES] = include_bytes!("listed.bin");

const CLASS_BYTES: usize = MAX_RANKS.div_ceil(8);

/// WordNet IDs of the classes, in order.
const CLASSES: [(Split, &str); 3] = [
    (
        Split::Base,
        "n01532829 n01558993 n01704323 n01749939 n01770081 n01843383 n01910747 n02074367 \
         n02089867 n02091831 n02101006 n02105505 n02108089 n02108551 n02108915 n02111277 \
         n02113712 n02120079 n02165456 n02457408 n02606052 n02687172 n02747177 n02795169 \
         n02823428 n02966193 n03017168 n03047690 n03062245 n03207743 n03220513 n03337140 \
         n03347037 n03400231 n03476684 n03527444 n03676483 n03838899 n03854065 n03888605 \
         n03908618 n03924679 n03998194 n04067472 n04243546 n04251144 n04258138 n04275548 \
         n04296562 n04389033 n04435653 n04443257 n04509417 n04515003 n04596742 n04604644 \
         n04612504 n06794110 n07584110 n07697537 n07747607 n09246464 n13054560 n13133613",
    ),
    (
        Split::Val,
        "n01855672 n02091244 n02114548 n02138441 n02174001 n02950826 n02971356 n02981792 \
         n03075370 n03417042 n03535780 n03584254 n03770439 n03773504 n03980874 n09256479",
    ),
    (
        Split::Novel,
        "n01930112 n01981276 n02099601 n02110063 n02110341 n02116738 n02129165 n02219486 \
         n02443484 n02871525 n03127925 n03146219 n03272010 n03544143 n03775546 n04146614 \
         n04149813 n04418357 n04522168 n07613480",
    ),
];

/// A class of mini-ImageNet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its WordNet ID, as `n01532829`.
    pub wnid: &'static str,
    /// [`Split::Base`], [`Split::Val`] or [`Split::Novel`].
    pub split: Split,
    listed: &'static [u8],
}

impl Class {
    /// Returns the usual folder of its split: `train`, `val` or `test`.
    pub fn folder(&self) -> &'static str {
        match self.split {
            Split::Base => "train",
            Split::Val => "val",
            _ => "test",
        }
    }

    /// Returns the ranks of its images among those of the ILSVRC class, from 1, ascending.
    pub fn ranks(&self) -> impl Iterator<Item = usize> + use<> {
        let listed = self.listed;
        (0..MAX_RANKS).filter(|bit| listed[bit / 8] >> (bit % 8) & 1 == 1).map(|bit| bit + 1)
    }

    /// Returns the names of its images in the published lists, ascending.
    pub fn file_names(&self) -> impl Iterator<Item = String> + use<> {
        let wnid = self.wnid;
        self.ranks().map(move |rank| format!("{wnid}{rank:08}.jpg"))
    }
}

/// Returns all classes: base, then val, then novel, each ascending.
pub fn classes() -> impl Iterator<Item = Class> {
    let split = |(split, wnids): (Split, &'static str)| {
        wnids.split_ascii_whitespace().map(move |wnid| (split, wnid))
    };
    let listed = LISTED.chunks_exact(CLASS_BYTES);
    let classes = CLASSES.into_iter().flat_map(split).zip(listed);
    classes.map(|((split, wnid), listed)| Class { wnid, split, listed })
}

/// Returns the class of this WordNet ID.
pub fn class(wnid: &str) -> Option<Class> {
    classes().find(|class| class.wnid == wnid)
}

/// Returns the split of the class of this WordNet ID.
pub fn split_of(wnid: &str) -> Option<Split> {
    class(wnid).map(|class| class.split)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    /// The names of each class of each published list.
    fn published() -> Option<Vec<(Split, String, Vec<String>)>> {
        let data = std::env::var_os("FEWSHOT_DATA").map(PathBuf::from).unwrap_or_default();
        let folder = data.join("mini-imagenet-84");
        if !folder.join("train.csv").exists() {
            println!("skipped: FEWSHOT_DATA names no folder with mini-imagenet-84/train.csv");
            return None;
        }
        let mut published = Vec::new();
        let lists = ["train.csv", "val.csv", "test.csv"];
        for (list, split) in lists.into_iter().zip([Split::Base, Split::Val, Split::Novel]) {
            let mut classes = BTreeMap::<String, Vec<String>>::new();
            for row in csv::Reader::from_path(folder.join(list)).unwrap().records() {
                let row = row.unwrap();
                classes.entry(row[1].to_owned()).or_default().push(row[0].to_owned());
            }
            published.extend(classes.into_iter().map(|(class, files)| (split, class, files)));
        }
        Some(published)
    }

    #[test]
    fn there_are_100_classes_of_600_images() {
        let all: Vec<_> = classes().collect();
        let of = |split| all.iter().filter(move |class| class.split == split);
        assert_eq!([Split::Base, Split::Val, Split::Novel].map(|s| of(s).count()), [64, 16, 20]);
        for class in &all {
            assert_eq!(class.ranks().count(), IMAGES_PER_CLASS, "{}", class.wnid);
            assert_eq!(super::class(class.wnid), Some(*class));
        }
        for split in [Split::Base, Split::Val, Split::Novel] {
            assert!(of(split).map(|class| class.wnid).is_sorted());
        }
    }

    #[test]
    fn all_60_000_names_are_the_published_ones() {
        let Some(published) = published() else { return };
        let ours = classes().map(|class| {
            (class.split, class.wnid.to_owned(), class.file_names().collect::<Vec<_>>())
        });
        let ours: Vec<_> = ours.collect();
        assert_eq!(ours.iter().map(|(_, _, files)| files.len()).sum::<usize>(), 60_000);
        assert!(ours == published);
    }

    #[test]
    #[ignore = "writes listed.bin of the published lists in FEWSHOT_DATA"]
    fn made_anew() {
        let mut listed = Vec::new();
        for (_, class, files) in published().expect("the published lists") {
            let mut bits = [0u8; CLASS_BYTES];
            for file in files {
                let rank = file.strip_prefix(&class).and_then(|rest| rest.strip_suffix(".jpg"));
                let bit = rank.unwrap().parse::<usize>().unwrap().checked_sub(1).unwrap();
                bits[bit / 8] |= 1 << (bit % 8);
            }
            listed.extend(bits);
        }
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/mini_imagenet/listed.bin");
        std::fs::write(file, listed).unwrap();
    }
}
