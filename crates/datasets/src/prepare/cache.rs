//! Reader for the pickled caches of mini-ImageNet that circulate; nothing in them is executed.

use std::collections::BTreeMap;
use std::io::Read;

use fewshot_data::mini_imagenet::{self, IMAGES_PER_CLASS};
use fewshot_pytorch::{Array, Checkpoint, PickleValue};

/// Channels of an image.
const CHANNELS: usize = 3;
/// Limit on the sides of an image, in pixels; no known copy is near it.
const MAX_SIDE: usize = 4_096;

/// A cache in memory. It is one of
///
/// - `{image_data: uint8 [N,H,W,3], class_dict: {WNID: [indices]}}`, and
/// - `{data: uint8 [N,H,W,3], labels: [N], catname2label: {WNID: label}}`.
pub struct Cache {
    pickle: Checkpoint,
    /// Indices of the images of each WordNet ID, in the order of the cache.
    classes: BTreeMap<String, Vec<usize>>,
}

/// An image of a cache.
pub struct CachedImage<'a> {
    /// WordNet ID of its class.
    pub wnid: &'a str,
    /// Its number among the images of its class, from 1.
    pub number: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// `height × width × 3` bytes: rows of red, green and blue.
    pub pixels: &'a [u8],
}

impl Cache {
    /// Parses the content of a file, and checks all of it but the pixels.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, String> {
        let pickle = Checkpoint::from_pickle(bytes).map_err(|e| e.to_string())?;
        let count = images(&pickle.root())?.shape()[0];
        let classes = classes(&pickle.root(), count)?;
        Ok(Self { pickle, classes })
    }

    /// Returns the indices of the images of each WordNet ID.
    pub fn classes(&self) -> &BTreeMap<String, Vec<usize>> {
        &self.classes
    }

    /// Returns the bytes of an image's pixels.
    pub fn bytes_per_image(&self) -> usize {
        images(&self.pickle.root()).map_or(0, |images| images.shape()[1..].iter().product())
    }

    /// Calls `visit` for each image that has a class, in the order of the cache.
    pub fn for_each(
        &self,
        mut visit: impl FnMut(CachedImage<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let images = images(&self.pickle.root())?;
        let [_, height, width, _] = *images.shape() else { return Ok(()) };
        let mut listed: Vec<_> = self
            .classes
            .iter()
            .flat_map(|(wnid, indices)| {
                indices.iter().zip(1..).map(move |(index, number)| (*index, wnid, number))
            })
            .collect();
        listed.sort_unstable();
        let mut listed = listed.into_iter().peekable();
        let mut reader = images.reader();
        let mut pixels = vec![0; height * width * CHANNELS];
        for index in 0.. {
            let Some((next, wnid, number)) = listed.peek().copied() else { break };
            reader.read_exact(&mut pixels).map_err(|e| format!("image {index}: {e}"))?;
            if next == index {
                listed.next();
                visit(CachedImage { wnid, number, height, width, pixels: &pixels })?;
            }
        }
        Ok(())
    }
}

fn images<'a>(root: &PickleValue<'a>) -> Result<Array<'a>, String> {
    let array = root.get("image_data").or_else(|_| root.get("data"));
    let array = array.and_then(|array| array.array()).map_err(|e| e.to_string())?;
    let sides = 1..=MAX_SIDE;
    match *array.shape() {
        [_, height, width, CHANNELS]
            if array.type_name() == "u1" && sides.contains(&height) && sides.contains(&width) =>
        {
            Ok(array)
        }
        ref shape => Err(format!(
            "an array of type {} and shape {shape:?}; expected u1 and [images, height, width, 3]",
            array.type_name()
        )),
    }
}

fn classes(root: &PickleValue<'_>, count: usize) -> Result<BTreeMap<String, Vec<usize>>, String> {
    let text = |e: fewshot_pytorch::Error| e.to_string();
    let mut classes = BTreeMap::<String, Vec<usize>>::new();
    // As in Python, the later of two equal keys counts.
    let mut add = |wnid: &str, indices| match mini_imagenet::split_of(wnid) {
        Some(_) => Ok(classes.insert(wnid.to_owned(), indices)),
        None => Err(format!("`{}` is no class of mini-ImageNet", wnid.escape_debug())),
    };
    if let Ok(lists) = root.get("class_dict") {
        for (key, list) in lists.entries().map_err(text)? {
            let indices = list.items().map_err(text)?.map(|index| number(&index));
            add(key.as_str().map_err(text)?, indices.collect::<Result<Vec<_>, _>>()?)?;
        }
    } else {
        let labels = root.get("labels").and_then(|labels| labels.items()).map_err(text)?;
        if labels.len() != count {
            return Err(format!("{} labels of {count} images", labels.len()));
        }
        let mut by_label = BTreeMap::<_, Vec<_>>::new();
        for (index, label) in labels.enumerate() {
            by_label.entry(number(&label)?).or_default().push(index);
        }
        let names = root.get("catname2label").map_err(text)?;
        for (key, label) in names.entries().map_err(text)? {
            // Labels are numbered across all splits, and each file names all of them.
            let Some(indices) = by_label.remove(&number(&label)?) else { continue };
            add(key.as_str().map_err(text)?, indices)?;
        }
        if let Some((label, indices)) = by_label.first_key_value() {
            return Err(format!("label {label} of image {} has no name", indices[0]));
        }
    }
    check(&classes, count)?;
    Ok(classes)
}

fn number(value: &PickleValue<'_>) -> Result<usize, String> {
    let number = value.as_int().map_err(|e| e.to_string())?;
    usize::try_from(number).map_err(|_| format!("{number}; expected the number of an image"))
}

/// Checks that each index is an image's and occurs once, and that no class has more images than
/// the published one.
fn check(classes: &BTreeMap<String, Vec<usize>>, count: usize) -> Result<(), String> {
    for (wnid, indices) in classes {
        if indices.len() > IMAGES_PER_CLASS {
            let found = indices.len();
            return Err(format!("{found} images of {wnid}; expected {IMAGES_PER_CLASS}"));
        }
        if let Some(beyond) = indices.iter().find(|index| **index >= count) {
            return Err(format!("image {beyond} of {wnid}, but there are {count}"));
        }
    }
    let mut all: Vec<_> = classes.values().flatten().collect();
    all.sort_unstable();
    match all.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(twice) => Err(format!("image {} is listed twice", twice[0])),
        None => Ok(()),
    }
}
