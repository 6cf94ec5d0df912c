//! The check of raw settings: the values and the default of every key.
//!
//! Defaults are those of the published `lib/config.py`, except that the default source of images
//! is the one that needs no file.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use fewshot_data::glyphs::GlyphOptions;
use fewshot_data::{Interpolation, Preprocessing, SourceKind, SourceSpec, Split};
use fewshot_episodes::heads::{HeadKind, Settings};
use fewshot_losses::ClassifierKind;
use fewshot_models::BackboneKind;

use super::raw::{Reader, value_error};
use super::{
    Augment, Config, Crops, DatasetConfig, DeviceKind, Distill, LoaderConfig, Method,
    OptimizerKind, OptimizerName, Precision, Schedule, ScheduleName, SplitConfig, Test, Train,
    Validation,
};
use crate::Error;

const POSITIVE: &str = "a positive finite number";
/// What seeds there are: TOML's whole numbers.
const SEEDS: RangeInclusive<usize> = 0..=i64::MAX as usize;
/// Most epochs, episodes, images of a class, and the like.
const MANY: usize = 10_000_000;
/// Most classes of an episode, and images of each.
const FEW: usize = 100_000;
/// Most bytes of a batch's images.
const BATCH: usize = 8 << 30;
/// Most drawn images of a class: nothing else bounds them.
const GLYPHS: usize = 10_000;
/// Most weights of a classifier, 1 GiB.
const CLASSIFIER: usize = 1 << 28;

const NOT_NEGATIVE: &str = "a finite number of at least 0";

pub(super) fn check(r: &mut Reader) -> Result<Config, Error> {
    let seed = r.count("seed", 0, SEEDS)? as u64;
    let device = r.text("device", "cpu", DeviceKind::EXPECTED, |name| name.parse().ok())?;
    let precision: Precision = r.name("precision", "f32")?;
    if device == DeviceKind::Cpu && precision != Precision::F32 {
        return Err(value_error("precision", precision.name(), "f32 on a CPU"));
    }
    let dataset = dataset(r)?;
    let method = method(r)?;
    Ok(Config {
        seed,
        device,
        precision,
        dataset,
        train: train(r, method.image_size)?,
        augment: Augment {
            min_area: r
                .number("augment.min_area", 0.08, "a number in (0, 1]", |v| v > 0.0 && v <= 1.0)?,
            jitter: r.number("augment.jitter", 0.4, "a number in [0, 1]", |v| {
                (0.0..=1.0).contains(&v)
            })?,
            flip: r.flag("augment.flip", true)?,
        },
        val: Validation {
            freq: r.count("val.freq", 20, 0..=MANY)?,
            episodes: r.count("val.episodes", 100, 1..=MANY)?,
            shot: r.count("val.shot", 5, 1..=FEW)?,
        },
        test: test(r, &method)?,
        loader: loader(r, device)?,
        method,
        resolved: r.finish()?,
    })
}

fn dataset(r: &mut Reader) -> Result<DatasetConfig, Error> {
    let mut source = SourceSpec::new(SourceKind::Glyphs, "");
    source.hold_out = r.count("dataset.hold_out", 0, 0..=MANY)?;
    let root_key = "dataset.root".to_owned();
    let default = SplitConfig { root_key, source, split: Split::Base };
    let base = split(r, "dataset", &default)?;
    let val = split(r, "dataset.val", &SplitConfig { split: Split::Val, ..base.clone() })?;
    let novel = split(r, "dataset.novel", &SplitConfig { split: Split::Novel, ..base.clone() })?;
    let (from, to) = (base.source.kind, novel.source.kind);
    let name = if from == to { from.to_string() } else { format!("{from}-to-{to}") };
    let is_name = |name: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !name.is_empty() && !name.starts_with('.') && name.chars().all(is_plain)
    };
    let expected = "a folder name of letters, digits, `-`, `_` and `.`";
    let name =
        r.text("dataset.name", &name, expected, |name| is_name(name).then(|| name.to_owned()))?;
    Ok(DatasetConfig { name, base, val, novel })
}

/// Reads the section of one split; what it leaves out is taken from `default`.
fn split(r: &mut Reader, section: &str, default: &SplitConfig) -> Result<SplitConfig, Error> {
    let key = |name: &str| format!("{section}.{name}");
    let kinds = SourceKind::NAMES.join(", ");
    let SplitConfig { root_key, source: inherited, split } = default;
    let expected = format!("one of {kinds}");
    let kind: SourceKind =
        r.text(&key("source"), inherited.kind.as_str(), &expected, |s| s.parse().ok())?;
    let default_root = inherited.root.to_string_lossy().into_owned();
    let root = r.text(&key("root"), &default_root, "a path", |path| Some(PathBuf::from(path)))?;
    if kind.needs_root() && root.as_os_str().is_empty() {
        let expected = format!("the folder or archive of the {kind} images");
        return Err(value_error(&key("root"), "not set", &expected));
    }
    let root_key = if r.is_given(&key("root")) { key("root") } else { root_key.clone() };
    let inherited_images = inherited.images_per_class.unwrap_or(0);
    let most = if kind == SourceKind::Glyphs { GLYPHS } else { MANY };
    let images = r.count(&key("images_per_class"), inherited_images, 0..=most)?;
    let names = "base, base-val, val, novel or all";
    let split = r.text(&key("split"), &split.to_string(), names, |s| s.parse().ok())?;
    let mut source = SourceSpec { kind, root, ..inherited.clone() };
    source.allow_partial = r.flag(&key("allow_partial"), inherited.allow_partial)?;
    source.images_per_class = (images > 0).then_some(images);
    let default_images = GlyphOptions::default().images_per_class;
    let glyphs = &mut source.glyphs;
    glyphs.images_per_class = source.images_per_class.unwrap_or(default_images);
    glyphs.size = r.read(
        &key("glyph_size"),
        i64::from(inherited.glyphs.size),
        "a whole number from 8 to 1024",
        |v| v.as_integer()?.try_into().ok().filter(|v| (8..=1024).contains(v)),
    )?;
    glyphs.seed = r.count(&key("glyph_seed"), inherited.glyphs.seed as usize, SEEDS)? as u64;
    Ok(SplitConfig { root_key, source, split })
}

fn method(r: &mut Reader) -> Result<Method, Error> {
    let backbones = BackboneKind::ALL.map(BackboneKind::name).join(", ");
    let backbone: BackboneKind =
        r.text("method.backbone", "resnet18", &format!("one of {backbones}"), |s| s.parse().ok())?;
    let smallest = backbone.smallest_image();
    let image_size = r.read(
        "method.image_size",
        224,
        &format!("a whole number of pixels from {smallest} to 1024 for {backbone}"),
        |v| v.as_integer()?.try_into().ok().filter(|v| (smallest..=1024).contains(v)),
    )?;
    let kinds = ClassifierKind::ALL.map(ClassifierKind::name).join(", ");
    let classifier =
        r.text("method.classifier", "neg-cosine", &format!("one of {kinds}"), |s| s.parse().ok())?;
    let features = backbone.features(image_size).unwrap_or(1).max(1);
    let outputs = r.count("method.outputs", 0, 0..=CLASSIFIER / features)?;
    Ok(Method {
        backbone,
        image_size,
        preprocessing: preprocessing(r)?,
        classifier,
        scale: r.number("method.scale", 30.0, POSITIVE, |v| v > 0.0)?,
        margin: r.number("method.margin", 0.0, "a finite number of any sign", |_| true)?,
        outputs: (outputs > 0).then_some(outputs),
        drop_rate: r
            .number("method.drop_rate", 0.0, "a number in [0, 1)", |v| (0.0..1.0).contains(&v))?,
        dropblock_size: r.count("method.dropblock_size", 5, 1..=1024)?,
    })
}

#[derive(strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "lowercase")]
enum PreprocessingName {
    Published,
    ImageNet,
}

#[derive(strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "lowercase")]
enum InterpolationName {
    Bilinear,
    Bicubic,
}

fn preprocessing(r: &mut Reader) -> Result<Preprocessing, Error> {
    match r.name("method.preprocessing", "published")? {
        PreprocessingName::Published => Ok(Preprocessing::Published),
        PreprocessingName::ImageNet => Ok(Preprocessing::ImageNet {
            crop_percent: r.number(
                "method.crop_percent",
                87.5,
                "a number from 10 to 100",
                |v| (10.0..=100.0).contains(&v),
            )?,
            interpolation: match r.name("method.interpolation", "bilinear")? {
                InterpolationName::Bilinear => Interpolation::Bilinear,
                InterpolationName::Bicubic => Interpolation::Bicubic,
            },
        }),
    }
}

/// The most images of this side that a batch may have.
fn largest_batch(image_size: usize) -> usize {
    BATCH / (3 * image_size * image_size * size_of::<f32>())
}

fn train(r: &mut Reader, image_size: usize) -> Result<Train, Error> {
    let share = "a number in [0, 1)";
    let momentum = r.number("train.momentum", 0.9, share, |v| (0.0..1.0).contains(&v))?;
    let dampening =
        r.number("train.dampening", 0.0, "a number in [0, 1]", |v| (0.0..=1.0).contains(&v))?;
    let nesterov = r.flag("train.nesterov", true)?;
    let optimizer = match r.name("train.optimizer", "adam")? {
        OptimizerName::Adam => OptimizerKind::Adam,
        OptimizerName::AdamW => OptimizerKind::AdamW,
        OptimizerName::Sgd => OptimizerKind::Sgd { momentum, dampening, nesterov },
    };
    if let OptimizerKind::Sgd { nesterov: true, momentum, dampening } = optimizer
        && (momentum == 0.0 || dampening > 0.0)
    {
        let got = format!("true with momentum {momentum} and dampening {dampening}");
        return Err(value_error("train.nesterov", got, "momentum above 0 and no dampening"));
    }
    let epochs = r.count("train.epochs", 200, 1..=MANY)?;
    let warmup_epochs = r.count("train.warmup_epochs", 50.min(epochs / 4), 0..=MANY)?;
    let schedule = match r.name("train.schedule", "warmup-cosine")? {
        ScheduleName::WarmupCosine => Schedule::WarmupCosine { warmup_epochs },
        ScheduleName::Constant => Schedule::Constant,
        ScheduleName::Step => Schedule::Step {
            milestones: milestones(r, epochs)?,
            factor: r.number("train.decay", 0.1, "a number in (0, 1]", |v| v > 0.0 && v <= 1.0)?,
        },
        ScheduleName::CosineRestarts => {
            Schedule::CosineRestarts { cycles: r.count("train.cycles", 2, 1..=epochs)? }
        }
    };
    if warmup_epochs > epochs {
        let expected = format!("at most train.epochs, {epochs}");
        return Err(value_error("train.warmup_epochs", warmup_epochs, &expected));
    }
    Ok(Train {
        optimizer,
        print_freq: r.count("train.print_freq", 10, 1..=MANY)?,
        save_freq: r.count("train.save_freq", 1, 1..=MANY)?,
        sync_batch_norm: r.flag("train.sync_batch_norm", false)?,
        learning_rate: r.number("train.learning_rate", 3e-3, POSITIVE, |v| v > 0.0)?,
        weight_decay: r.number("train.weight_decay", 0.0, NOT_NEGATIVE, |v| v >= 0.0)?,
        schedule,
        epochs,
        batch_size: r.count("train.batch_size", 256, 1..=largest_batch(image_size))?,
        rotation: r.number("train.rotation", 0.0, NOT_NEGATIVE, |v| v >= 0.0)?,
        manifold_mixup: r.number("train.manifold_mixup", 0.0, NOT_NEGATIVE, |v| v >= 0.0)?,
        label_smoothing: r
            .number("train.label_smoothing", 0.0, share, |v| (0.0..1.0).contains(&v))?,
        ema: r.number("train.ema", 0.0, share, |v| (0.0..1.0).contains(&v))?,
        distill: distill(r)?,
    })
}

/// The epochs after which the learning rate falls: by default at 60 and 80 % of the training.
fn milestones(r: &mut Reader, epochs: usize) -> Result<Vec<usize>, Error> {
    let default = vec![(epochs * 3 / 5) as i64, (epochs * 4 / 5) as i64];
    let expected = "a rising list of up to 100 numbers of epochs, such as [60, 80]";
    r.read("train.milestones", default, expected, |value| {
        let epoch = |v: &toml::Value| v.as_integer()?.try_into().ok();
        let all: Vec<usize> = value.as_array()?.iter().map(epoch).collect::<Option<_>>()?;
        (all.len() <= 100 && all.is_sorted()).then_some(all)
    })
}

fn distill(r: &mut Reader) -> Result<Option<Distill>, Error> {
    let path =
        r.text("train.distill", "", "the path of a checkpoint", |path| Some(PathBuf::from(path)))?;
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let share = "a number in [0, 1]";
    Ok(Some(Distill {
        checkpoint: path,
        temperature: r.number("train.distill_temperature", 4.0, POSITIVE, |v| v > 0.0)?,
        weight: r.number("train.distill_weight", 0.5, share, |v| (0.0..=1.0).contains(&v))?,
    }))
}

fn test(r: &mut Reader, &Method { classifier, image_size, .. }: &Method) -> Result<Test, Error> {
    let shots = r.read(
        "test.shots",
        vec![1, 5],
        "a list of up to 100 whole numbers from 1 to 100000, such as [1, 5]",
        |value| {
            let count = |v: &toml::Value| {
                v.as_integer()?.try_into().ok().filter(|n: &usize| (1..=FEW).contains(n))
            };
            let shots: Vec<_> = value.as_array()?.iter().map(count).collect::<Option<_>>()?;
            (1..=100).contains(&shots.len()).then_some(shots)
        },
    )?;
    let way = r.count("test.way", 5, 2..=FEW)?;
    let query = r.count("test.query", 16, 1..=FEW)?;
    let episodes = r.count("test.episodes", 600, 1..=MANY)?;
    let seed = r.count("test.seed", 0, SEEDS)? as u64;
    let batch_size = r.count("test.batch_size", 128, 1..=largest_batch(image_size))?;
    let kind: HeadKind =
        r.text("test.head", HeadKind::FineTune.name(), &HeadKind::names(), |s| s.parse().ok())?;
    let pixel_baseline = r.flag("test.pixel_baseline", false)?;
    let center = r.flag("test.center", false)?;
    let power = r.number("test.power", 1.0, "a number in (0, 1]", |v| v > 0.0 && v <= 1.0)?;
    let crops = crops(r)?;
    // The settings of fine-tuning belong to every configuration, those of another head only to the
    // configurations that choose it: a new head leaves the hashes of all others as they are.
    let fine_tune = HeadKind::FineTune.build(classifier, &mut HeadSettings(r))?;
    let head = match kind {
        HeadKind::FineTune => fine_tune,
        kind => kind.build(classifier, &mut HeadSettings(r))?,
    };
    Ok(Test {
        way,
        shots,
        query,
        episodes,
        seed,
        batch_size,
        center,
        power,
        crops,
        head,
        pixel_baseline,
    })
}

fn crops(r: &mut Reader) -> Result<Option<Crops>, Error> {
    let count = r.count("test.crops", 0, 0..=1000)?;
    if count == 0 {
        return Ok(None);
    }
    let area = "a number in (0, 1]";
    let min_area = r.number("test.crop_min_area", 0.3, area, |v| v > 0.0 && v <= 1.0)?;
    let of_queries = r.flag("test.crop_queries", false)?;
    Ok(Some(Crops { count, min_area, of_queries }))
}

/// Settings of heads, in the section `[test]`.
struct HeadSettings<'r, 'values>(&'r mut Reader<'values>);

impl Settings for HeadSettings<'_, '_> {
    type Error = Error;

    fn count(&mut self, key: &str, default: usize, minimum: usize) -> Result<usize, Error> {
        self.0.count(&format!("test.{key}"), default, minimum..=MANY)
    }

    fn number(
        &mut self,
        key: &str,
        default: f64,
        expected: &str,
        is_valid: impl FnOnce(f64) -> bool,
    ) -> Result<f64, Error> {
        self.0.number(&format!("test.{key}"), default, expected, is_valid)
    }
}

fn loader(r: &mut Reader, device: DeviceKind) -> Result<LoaderConfig, Error> {
    let threads = r.count("loader.threads", 0, 0..=1024)?;
    let keep_on_gpu = r.flag("loader.keep_on_gpu", false)?;
    if keep_on_gpu && device == DeviceKind::Cpu {
        return Err(value_error("loader.keep_on_gpu", true, "false on a CPU"));
    }
    Ok(LoaderConfig {
        threads: (threads > 0).then_some(threads),
        prefetch_bytes: r.count("loader.prefetch_mib", 256, 1..=MANY)? << 20,
        on_broken: r.name("loader.on_broken", "error")?,
        keep_on_gpu,
    })
}
