//! What makes figures doubtful, although nothing failed: classes that are not unseen, and images that
//! were skipped.

use std::collections::HashSet;
use std::path::PathBuf;

use fewshot_data::{Dataset, SourceKind};
use fewshot_experiment::SplitConfig;
use fewshot_progress::printable_value;

/// Share of skipped images above which figures are doubtful.
const MOST_SKIPPED: f64 = 0.01;
/// How many classes or images are named as examples.
const EXAMPLES: usize = 3;

/// A split as the configuration describes it, with its images.
pub type OpenSplit<'a> = (&'a SplitConfig, &'a Dataset);

/// Says which classes or images of a split another one has as well, by the names of classes and, where
/// both are of one folder or archive, by the paths of images; nothing if there are none.
pub fn shared_with(first: OpenSplit<'_>, second: OpenSplit<'_>) -> Option<String> {
    let ((first_config, first), (second_config, second)) = (first, second);
    let (a, b) = (&first_config.source, &second_config.source);
    // The names of drawn classes are numbers.
    if (a.kind, b.kind) == (SourceKind::Glyphs, SourceKind::Glyphs)
        && a.glyphs.seed != b.glyphs.seed
    {
        return None;
    }
    let names: HashSet<_> = first.class_names().iter().map(String::as_str).collect();
    let classes: Vec<_> =
        second.class_names().iter().map(String::as_str).filter(|n| names.contains(n)).collect();
    let mut images = Vec::new();
    if root(first_config) == root(second_config) {
        let paths: HashSet<_> = (0..first.len()).map(|index| first.image_path(index)).collect();
        let all = (0..second.len()).map(|index| second.image_path(index));
        images.extend(all.filter(|path| paths.contains(path)));
    }
    let found = match (&*classes, &*images) {
        ([], []) => return None,
        ([], images) => {
            format!("{} of the {} images", with_examples(images), second.len())
        }
        (classes, _) => {
            format!("{} of the {} classes", with_examples(classes), second.class_count())
        }
    };
    let (first, second) = (first_config.title(), second_config.title());
    Some(format!("{found} of {second} are in {first} as well: they are not unseen"))
}

/// The place of a split's images, spelt in one way; none where they are drawn.
fn root(config: &SplitConfig) -> Option<PathBuf> {
    config.source.kind.needs_root().then(|| {
        let root = config.resolve_root().unwrap_or_else(|_| config.source.root.clone());
        root.canonicalize().unwrap_or(root)
    })
}

/// `12 (a, b, c, …)`
fn with_examples(names: &[&str]) -> String {
    let examples: Vec<_> = names.iter().take(EXAMPLES).map(|name| printable_value(name)).collect();
    let more = if names.len() > EXAMPLES { ", …" } else { "" };
    format!("{} ({}{more})", names.len(), examples.join(", "))
}

/// Says so if more than one in a hundred images of a split were skipped as broken.
pub fn many_skipped((config, dataset): OpenSplit<'_>, skipped: usize) -> Option<String> {
    let (title, count) = (config.title(), dataset.len());
    let share = skipped as f64 / count.max(1) as f64;
    (share > MOST_SKIPPED).then(|| {
        format!(
            "{skipped} of the {count} images of {title} were skipped as broken ({:.1} %)",
            100.0 * share
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fewshot_data::{SourceSpec, Split};
    use fewshot_experiment::{Config, RawConfig};

    fn config(settings: &[String]) -> Config {
        let mut raw = RawConfig::default();
        settings.iter().for_each(|setting| raw.set(setting).unwrap());
        raw.check().unwrap()
    }

    #[test]
    fn images_of_two_splits_are_found_under_other_class_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c", "d"] {
            let image = image::RgbImage::from_pixel(9, 9, image::Rgb([200; 3]));
            image.save(folder.path().join(format!("{name}.png"))).unwrap();
        }
        let list = |split: &str, class: &str, images: [&str; 2]| {
            let list = serde_json::json!({
                "label_names": [class],
                "image_names": images,
                "image_labels": [0, 0],
            });
            std::fs::write(folder.path().join(split), list.to_string()).unwrap();
        };
        list("base.json", "first", ["a.png", "b.png"]);
        list("val.json", "second", ["c.png", "d.png"]);
        list("novel.json", "third", ["b.png", "c.png"]);
        let root = format!("dataset.root={}", folder.path().display());
        let config = config(&["dataset.source=json".to_owned(), root]);
        let data = &config.dataset;
        let open = |split: &SplitConfig| split.source.open(split.split).unwrap();
        let (base, val, novel) = (open(&data.base), open(&data.val), open(&data.novel));
        assert_eq!(shared_with((&data.base, &base), (&data.val, &val)), None);
        let shared = shared_with((&data.base, &base), (&data.novel, &novel)).unwrap();
        let name = data.base.dataset_name();
        let expected = format!(
            "1 (b.png) of the 2 images of {name} novel are in {name} base as well: they are not unseen"
        );
        assert_eq!(shared, expected);
    }

    /// Classes of another seed are other classes, whatever their numbers.
    #[test]
    fn drawn_classes_are_known_by_their_seed() {
        let config = config(&["dataset.split=all".to_owned()]);
        let (mut base, mut novel) = (config.dataset.base, config.dataset.novel);
        base.source = SourceSpec { images_per_class: Some(1), ..base.source };
        let open = |split: &SplitConfig| split.source.open(split.split).unwrap();
        assert_eq!(novel.split, Split::Novel);
        let images = (open(&base), open(&novel));
        assert!(shared_with((&base, &images.0), (&novel, &images.1)).is_some());
        novel.source.glyphs.seed = 1;
        assert_eq!(shared_with((&base, &images.0), (&novel, &images.1)), None);
    }

    #[test]
    fn one_image_in_a_hundred_may_be_broken() {
        let config = config(&["dataset.images_per_class=25".to_owned()]);
        let split = &config.dataset.val;
        let dataset = split.source.open(split.split).unwrap();
        assert_eq!((dataset.len(), many_skipped((split, &dataset), 4)), (400, None));
        let expected = "5 of the 400 images of glyphs val were skipped as broken (1.2 %)";
        assert_eq!(many_skipped((split, &dataset), 5).as_deref(), Some(expected));
    }
}
