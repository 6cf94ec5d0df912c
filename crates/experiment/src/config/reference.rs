//! The reference of all settings: what the check asks for, with what each means.

use std::collections::BTreeMap;
use std::fmt::Write;

use fewshot_episodes::heads::HeadKind;

use super::raw::{Asked, RawConfig};

/// What a key means, and where the published code (its `lib/config.py`) or the paper has it.
type Meaning = (&'static str, &'static str, &'static str);

/// Of every key but those of `[dataset.val]` and `[dataset.novel]` that `[dataset]` has, too.
const MEANINGS: &[Meaning] = &[
    (
        "seed",
        "Seed of everything that is drawn but episodes: weights, order, augmentation",
        "`misc.rng_seed`",
    ),
    ("device", "Where it is computed", ""),
    (
        "precision",
        "Number type of the network on a GPU; parameters, statistics and sums are f32",
        "",
    ),
    (
        "dataset.name",
        "Folder of the runs below `checkpoints/`; the default is the source's name",
        "`dataset.type`",
    ),
    ("dataset.source", "How the images lie on the disk: [sources](datasets.md)", "`dataset.type`"),
    (
        "dataset.root",
        "Folder or archive of the images, also looked up below the folder that `FEWSHOT_DATA` names",
        "`dataset.base_file`",
    ),
    ("dataset.split", "Which of the source's classes are trained on", "`dataset.base_file`"),
    ("dataset.val.split", "Which of the source's classes are validated on", "`dataset.val_file`"),
    (
        "dataset.novel.split",
        "Which of the source's classes are the novel ones",
        "`dataset.novel_file`",
    ),
    (
        "dataset.images_per_class",
        "Images of each class that are used, the first in path order; 0 for all (for `glyphs`: 100)",
        "",
    ),
    (
        "dataset.hold_out",
        "Images of each base class that are kept out of training, to measure base accuracy on",
        "`dataset.base_val_file`",
    ),
    ("dataset.allow_partial", "Whether images that a list names may be absent", ""),
    ("dataset.glyph_size", "Side of the drawn images, in pixels", ""),
    ("dataset.glyph_seed", "Seed of the drawn classes", ""),
    ("method.backbone", "Network", "`method.backbone`"),
    ("method.image_size", "Side of its images, in pixels", "`method.image_size`"),
    (
        "method.preprocessing",
        "How images are resized for evaluation, and normalized: as published (a square, of which the centre is taken), or \
         as torchvision's and timm's networks for ImageNet",
        "",
    ),
    ("method.crop_percent", "Of imagenet: share of the shorter side that is taken", ""),
    ("method.interpolation", "Of imagenet: how pixels between pixels are found", ""),
    (
        "method.classifier",
        "Classifier over base classes; those with `neg` have a margin",
        "`method.metric`",
    ),
    (
        "method.scale",
        "Factor of the scores, the inverse temperature, of all classifiers but `softmax`",
        "`method.metric_params.scale_factor`",
    ),
    (
        "method.margin",
        "Margin, subtracted from the label's score; negative margins are the paper's",
        "`method.metric_params.margin`",
    ),
    ("method.outputs", "Outputs of the classifier; 0 for one a base class", "`dataset.num_class`"),
    ("method.drop_rate", "Rate of dropout and DropBlock", "`train.drop_rate`"),
    ("method.dropblock_size", "Side of the squares that DropBlock drops", "`train.dropblock_size`"),
    ("train.epochs", "Passes over the base images", "`train.stop_epoch`"),
    ("train.batch_size", "Images a step, of all processes together", "`train.batch_size`"),
    ("train.optimizer", "Update rule", "`train.optim`"),
    ("train.learning_rate", "Highest learning rate", "`train.adam_params.lr`"),
    (
        "train.weight_decay",
        "Weight decay: added to the gradient, for adamw taken from the weights",
        "`train.adam_params.weight_decay`",
    ),
    (
        "train.momentum",
        "Of sgd: share of the momentum buffer that is kept",
        "`train.sgd_params.momentum`",
    ),
    (
        "train.dampening",
        "Of sgd: share of the gradient that is left out of the momentum buffer",
        "",
    ),
    (
        "train.nesterov",
        "Of sgd: whether the gradient is taken ahead along the momentum",
        "`train.sgd_params.nesterov`",
    ),
    (
        "train.schedule",
        "Course of the learning rate: up from a sixteenth, then a cosine; constant; falling at milestones; or cosines \
         with restarts",
        "`train.lr_scheduler`",
    ),
    (
        "train.warmup_epochs",
        "Epochs over which the learning rate rises; the default is a quarter of the epochs, at most 50",
        "`train.warmup_params.epoch`",
    ),
    (
        "train.milestones",
        "Of step: epochs after which the learning rate falls; the default is at 60 and 80 % of the epochs",
        "",
    ),
    ("train.decay", "Of step: what the learning rate is multiplied by", ""),
    ("train.cycles", "Of cosine-restarts: number of cosines", ""),
    (
        "train.rotation",
        "Weight of the loss of predicting quarter turns: each step then trains on four copies of its images",
        "",
    ),
    (
        "train.manifold_mixup",
        "Parameters of the Beta distribution by which images are mixed at a random layer; 0 for none",
        "",
    ),
    ("train.label_smoothing", "Share of the target that is spread over all classes", ""),
    (
        "train.ema",
        "Decay of the average of the weights, which is evaluated and saved beside; 0 for none",
        "",
    ),
    ("train.distill", "Checkpoint whose scores are learned beside the labels", ""),
    ("train.distill_temperature", "Of distill: what both networks' scores are divided by", ""),
    ("train.distill_weight", "Of distill: share of its loss", ""),
    (
        "train.print_freq",
        "Steps between readings of loss and accuracy; a GPU is waited for only then",
        "`train.print_freq`",
    ),
    (
        "train.save_freq",
        "Epochs between checkpoints, so that seconds of a GPU are not spent on files; the best one and the last one are saved in any case",
        "`train.save_freq`",
    ),
    (
        "train.sync_batch_norm",
        "Whether batch norms of several processes take the statistics of all their images",
        "",
    ),
    (
        "augment.min_area",
        "Smallest share of an image's area that a crop takes",
        "torchvision's `RandomResizedCrop`",
    ),
    (
        "augment.jitter",
        "Strength of the changes of brightness, contrast and saturation",
        "torchvision's `ColorJitter`",
    ),
    (
        "augment.flip",
        "Whether half of the images are mirrored",
        "torchvision's `RandomHorizontalFlip`",
    ),
    ("val.freq", "Epochs between validations; 0 for none but the last", "`val.freq`"),
    ("val.episodes", "Episodes of a validation", "`val.num_episode`"),
    ("val.shot", "Support images per class in a validation", "`val.n_support`"),
    ("test.way", "Classes per episode", "`test.n_way`"),
    ("test.shots", "Numbers of support images per class; one evaluation each", "`test.n_support`"),
    ("test.query", "Query images per class", "`test.n_query`"),
    ("test.episodes", "Episodes for each number of shots", "`test.num_episode`"),
    ("test.seed", "Seed of the episodes", ""),
    ("test.batch_size", "Images per batch when features are extracted", "`test.batch_size`, 1024"),
    (
        "test.center",
        "Whether the mean feature of base images is subtracted; it is kept in the checkpoint",
        "",
    ),
    ("test.power", "Exponent of the elements of features; 1 leaves them as they are", ""),
    (
        "test.crops",
        "Random crops of each support image whose features are averaged; 0 for the whole image",
        "",
    ),
    ("test.crop_min_area", "Of crops: smallest share of an image's area that one takes", ""),
    ("test.crop_queries", "Of crops: whether queries are cropped, too", ""),
    ("test.head", "How a classifier is made of a support set", "`test.finetune_params`"),
    ("test.pixel_baseline", "Whether the report also has a nearest neighbour on pixels", ""),
    ("test.scale", "Of finetune: factor of the scores", "`method.metric_params_test.scale_factor`"),
    ("test.margin", "Of finetune: margin", "`method.metric_params_test.margin`"),
    ("test.passes", "Of finetune: passes over the support set", "`test.finetune_params.iter`"),
    ("test.finetune_batch_size", "Of finetune: support images a step", "`lib/model.py`"),
    ("test.learning_rate", "Of finetune: learning rate", "`test.finetune_params.sgd_params.lr`"),
    (
        "test.weight_decay",
        "Of finetune: weight decay",
        "`test.finetune_params.sgd_params.weight_decay`",
    ),
    (
        "test.logistic_c",
        "Of logistic: C, the inverse of the penalty's weight",
        "scikit-learn's `LogisticRegression`",
    ),
    ("test.ridge_alpha", "Of ridge: weight of the penalty", "scikit-learn's `RidgeClassifier`"),
    ("loader.threads", "Threads that decode images; 0 for one a core", "`misc.num_workers`, 8"),
    ("loader.prefetch_mib", "Most MiB of loaded batches that wait for the training", ""),
    (
        "loader.on_broken",
        "Whether an image that cannot be decoded ends the run, or is skipped and counted",
        "",
    ),
    (
        "loader.keep_on_gpu",
        "Whether training images are decoded once and kept on the GPU, which then augments them",
        "",
    ),
];

/// Every setting as a Markdown document: `docs/settings.md`, which the example `settings` of this
/// crate writes.
///
/// # Errors
/// A setting whose meaning is not written down, or the meaning of one that does not exist.
pub fn settings_reference() -> Result<String, String> {
    let mut asked = BTreeMap::new();
    // What is asked for only where another setting is given.
    let mut conditions: Vec<String> =
        HeadKind::ALL.iter().map(|head| format!("test.head={}", head.name())).collect();
    conditions.extend(
        [
            "method.preprocessing=imagenet",
            "train.schedule=step",
            "train.schedule=cosine-restarts",
            "test.crops=1",
            "train.distill=x",
        ]
        .map(str::to_owned),
    );
    for condition in conditions {
        let mut raw = RawConfig::default();
        raw.set(&condition).map_err(|e| e.to_string())?;
        for (key, setting) in raw.asked().map_err(|e| e.to_string())? {
            asked.entry(key).or_insert(setting);
        }
    }
    let is_known = |key: &str| MEANINGS.iter().any(|(known, ..)| *known == key);
    let is_inherited = |key: &str| {
        let name = key.strip_prefix("dataset.val.").or(key.strip_prefix("dataset.novel."));
        name.is_some_and(|name| is_known(&format!("dataset.{name}")))
    };
    if let Some(key) = asked.keys().find(|key| !is_known(key) && !is_inherited(key)) {
        return Err(format!("`{key}` is checked, but its meaning is not in reference.rs"));
    }
    let mut text = "# All settings\n\n\
        <!-- Made of the code that checks them: cargo run -p fewshot-experiment --example settings > docs/settings.md -->\n\n\
        A configuration is TOML (`trainer --config FILE`), and every setting can be given as `KEY=VALUE` on the command \
        line; `trainer --print-config` prints all with their values. Whatever is left out has its default, which is the \
        published code's unless the last column says otherwise. That column names the published setting (in \
        `lib/config.py`, if no other file is named).\n\n\
        `[dataset.val]` and `[dataset.novel]` take every key of `[dataset]` but `name` and `hold_out`, too; what they \
        leave out is that of `[dataset]`.\n"
        .to_owned();
    let mut section = None;
    for (key, meaning, published) in MEANINGS {
        let Some(Asked { default, expected }) = asked.get(*key) else {
            return Err(format!("`{key}` has a meaning, but no check asks for it"));
        };
        let of = key.split_once('.').map_or("", |(section, _)| section);
        if section.replace(of) != Some(of) {
            let title =
                if of.is_empty() { "Beside the sections".to_owned() } else { format!("`[{of}]`") };
            let _ = write!(
                text,
                "\n## {title}\n\n| key | takes | default | meaning | published |\n|---|---|---|---|---|\n"
            );
        }
        let published = if published.is_empty() { "–" } else { *published };
        let default = default.to_string();
        let default = if default == "\"\"" { "–".to_owned() } else { format!("`{default}`") };
        let _ = writeln!(text, "| `{key}` | {expected} | {default} | {meaning} | {published} |");
    }
    Ok(text)
}
