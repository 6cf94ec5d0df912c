//! Every file of `configs/` checks, and those of the paper's tables hold the published
//! hyper-parameters, which are written here a second time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use fewshot_data::{SourceKind, Split};
use fewshot_experiment::{Config, OptimizerKind, RawConfig, Schedule};
use fewshot_losses::ClassifierKind::{self, Cosine, NegCosine, NegSoftmax, Softmax};
use fewshot_models::BackboneKind;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs")
}

/// The checked configuration of a file below `configs/`.
fn config(file: &str) -> Config {
    let raw = RawConfig::from_file(&folder().join(file)).unwrap_or_else(|e| panic!("{e}"));
    raw.check().unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// Every configuration's path below `configs/`, with its text.
fn files() -> Vec<(String, String)> {
    let (root, mut found) = (folder(), Vec::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // Budgets lie over configurations and are none.
            if path.is_dir() && !path.ends_with("budgets") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                let file = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
                found.push((file, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// Drop rate and block size; none where nothing is dropped.
type Drop = Option<(f64, usize)>;

/// A cell of the published table of settings: folder, shots, classifier, weight decay,
/// margin, drop rate and block size.
type Cell = (&'static str, usize, ClassifierKind, f64, f64, Drop);

const RESNET12: &str = "mini-imagenet/resnet12";

const CELLS: [Cell; 14] = [
    ("cub", 1, NegCosine, 5e-4, -0.01, Some((0.1, 5))),
    ("cub", 1, NegSoftmax, 5e-3, -0.05, None),
    ("cub", 5, NegCosine, 1e-3, -0.01, Some((0.1, 5))),
    ("cub", 5, NegSoftmax, 3e-3, -0.005, None),
    ("mini-imagenet", 1, NegCosine, 5e-5, -0.05, Some((0.2, 3))),
    ("mini-imagenet", 1, NegSoftmax, 1e-4, -0.3, None),
    ("mini-imagenet", 5, NegCosine, 1e-4, -0.02, Some((0.2, 3))),
    ("mini-imagenet", 5, NegSoftmax, 5e-5, -0.3, None),
    ("mini-imagenet-to-cub", 5, NegCosine, 5e-5, -0.05, None),
    ("mini-imagenet-to-cub", 5, NegSoftmax, 1e-6, -0.005, None),
    (RESNET12, 1, NegCosine, 1e-4, -0.02, Some((0.1, 5))),
    (RESNET12, 1, NegSoftmax, 3e-4, -0.01, Some((0.1, 5))),
    (RESNET12, 5, NegCosine, 1e-4, -0.01, Some((0.1, 5))),
    (RESNET12, 5, NegSoftmax, 1e-5, -0.1, Some((0.1, 5))),
];

#[test]
fn every_file_checks_and_names_its_command() {
    let files = files();
    assert!(files.len() >= 28, "{}", files.len());
    for (file, text) in &files {
        config(file);
        assert!(text.starts_with("# "), "{file}: begins with a comment");
        // The quickstart is what runs when none is named.
        if file != "quickstart.toml" {
            let is_of_gpu = ["gpu/", "best/"].iter().any(|folder| file.starts_with(folder));
            let on_gpu = if is_of_gpu { "--features cuda " } else { "" };
            let command =
                format!("#   cargo run --release -p trainer {on_gpu}-- --config configs/{file}\n");
            assert!(text.contains(&command), "{file}: its command");
        }
    }
}

#[test]
fn the_reference_of_settings_is_that_of_the_check() {
    let written = std::fs::read_to_string(folder().join("../docs/settings.md")).unwrap();
    let made = fewshot_experiment::settings_reference().unwrap();
    let command = "cargo run -p fewshot-experiment --example settings > docs/settings.md";
    assert!(written == made, "docs/settings.md is out of date: {command}");
    for row in [
        "| `train.learning_rate` | a positive finite number | `0.003` | Highest learning rate | \
         `train.adam_params.lr` |\n",
        "| `test.shots` | a list of up to 100 whole numbers from 1 to 100000, such as [1, 5] | `[1, 5]` |",
    ] {
        assert!(made.contains(row), "no {row}");
    }
    let heads = fewshot_episodes::heads::HeadKind::names();
    assert!(made.contains(&format!("| `test.head` | {heads} | `\"finetune\"` |")));
}

#[test]
fn no_two_files_share_a_run_folder() {
    let mut owners = HashMap::new();
    for (file, _) in files() {
        let stem = Path::new(&file).file_stem().unwrap().to_owned();
        if let Some(other) = owners.insert((config(&file).dataset.name, stem), file.clone()) {
            panic!("{file} and {other} share a run folder");
        }
    }
}

#[test]
fn published_cells() {
    for cell in CELLS {
        check_cell(cell);
        // The classifier without a margin, which has no settings of its own.
        let (folder, shot, classifier, weight_decay, _, drop) = cell;
        let baseline = if classifier == NegCosine { Cosine } else { Softmax };
        if folder != RESNET12 {
            check_cell((folder, shot, baseline, weight_decay, 0.0, drop));
        }
    }
}

fn check_cell((folder, shot, classifier, weight_decay, margin, drop): Cell) {
    let file = format!("{folder}/{}-{shot}shot.toml", classifier.name());
    let Config { dataset, method, train, val, test, .. } = config(&file);

    assert_eq!((method.classifier, method.margin), (classifier, margin), "{file}");
    match drop {
        None => assert_eq!(method.drop_rate, 0.0, "{file}"),
        drop => assert_eq!(Some((method.drop_rate, method.dropblock_size)), drop, "{file}"),
    }
    match classifier {
        Cosine | NegCosine => assert_eq!(method.scale, 30.0, "{file}"),
        NegSoftmax if folder == RESNET12 => assert_eq!(method.scale, 10.0, "{file}"),
        NegSoftmax => assert_eq!(method.scale, 5.0, "{file}"),
        Softmax => assert!(!classifier.has_scale()),
    }
    let network = match folder {
        RESNET12 => (BackboneKind::ResNet12, 84),
        _ => (BackboneKind::ResNet18, 224),
    };
    assert_eq!((method.backbone, method.image_size), network, "{file}");

    let (epochs, warmup_epochs, outputs) = match folder {
        "cub" => (200, 50, 200),
        "mini-imagenet-to-cub" => (400, 100, 100),
        _ => (400, 100, 64),
    };
    assert_eq!((train.epochs, method.outputs), (epochs, Some(outputs)), "{file}");
    assert_eq!(train.schedule, Schedule::WarmupCosine { warmup_epochs }, "{file}");
    let rule = (train.optimizer, train.learning_rate, train.weight_decay);
    assert_eq!(rule, (OptimizerKind::Adam, 3e-3, weight_decay), "{file}");
    assert_eq!(train.batch_size, 256, "{file}");
    assert_eq!((val.freq, val.episodes, val.shot), (20, 100, 5), "{file}");
    assert_eq!((test.way, test.query, test.episodes), (5, 16, 600), "{file}");
    assert_eq!(test.head.name(), "finetune", "{file}");

    let mini = (SourceKind::MiniImageNet, "mini-imagenet");
    let cub = (SourceKind::Cub, "CUB_200_2011");
    let (base, others, base_split) = match folder {
        "cub" => (cub, cub, Split::Base),
        "mini-imagenet-to-cub" => (mini, cub, Split::All),
        _ => (mini, mini, Split::Base),
    };
    let splits = [
        (dataset.base, base, base_split),
        (dataset.val, others, Split::Val),
        (dataset.novel, others, Split::Novel),
    ];
    for (split, (source, root), expected) in splits {
        assert_eq!((split.source.kind, split.split), (source, expected), "{file}");
        assert_eq!(split.source.root, Path::new(root), "{file}");
        assert!(!split.source.allow_partial && split.source.images_per_class.is_none(), "{file}");
    }
}

#[test]
fn cpu_budgets() {
    use BackboneKind::{Conv4, ResNet10};
    const MINI: (SourceKind, &str) = (SourceKind::MiniImageNet, "mini-imagenet-84");
    const CUB: (SourceKind, &str) = (SourceKind::Cub, "cub-50/CUB_200_2011.tar");
    // File, base images, others, backbone, image size, batch, epochs, of which warm-up.
    let budgets = [
        ("mini-imagenet-conv4", MINI, MINI, Conv4, 42, 128, 10, 2),
        ("mini-imagenet-resnet10", MINI, MINI, ResNet10, 42, 128, 10, 2),
        ("cub-50-resnet10", CUB, CUB, ResNet10, 64, 64, 30, 5),
        ("mini-imagenet-to-cub-resnet10", MINI, CUB, ResNet10, 64, 128, 10, 2),
    ];
    for (file, base, others, backbone, size, batch_size, epochs, warmup_epochs) in budgets {
        let Config { dataset, method, train, val, .. } = config(&format!("cpu/{file}.toml"));
        assert_eq!((method.backbone, method.image_size), (backbone, size), "{file}");
        let head = (method.classifier, method.scale, method.margin);
        assert_eq!(head, (NegCosine, 30.0, -0.02), "{file}");
        assert_eq!((train.batch_size, train.epochs), (batch_size, epochs), "{file}");
        assert_eq!(train.schedule, Schedule::WarmupCosine { warmup_epochs }, "{file}");
        let rule = (train.optimizer, train.learning_rate, train.weight_decay);
        assert_eq!(rule, (OptimizerKind::Adam, 3e-3, 5e-4), "{file}");
        assert_eq!(val.freq, 5, "{file}");

        // No partial copy has the novel classes: the validation classes stand in for them.
        let splits = [
            (dataset.base, base, Split::Base),
            (dataset.val, others, Split::Val),
            (dataset.novel, others, Split::Val),
        ];
        for (split, (source, root), expected) in splits {
            assert_eq!((split.source.kind, split.split), (source, expected), "{file}");
            assert_eq!(split.source.root, Path::new(root), "{file}");
            assert!(split.source.allow_partial, "{file}");
            let images = (source == SourceKind::MiniImageNet).then_some(300);
            assert_eq!(split.source.images_per_class, images, "{file}");
        }
    }
}

/// Configurations for partial copies say in a comment what the whole datasets take, as the programs
/// that download them put them there.
#[test]
fn whole_datasets_take_what_the_comments_say() {
    let mut checked = 0;
    for (file, text) in files() {
        let split = config(&file).dataset.base;
        if !["mini-imagenet-84", "cub-50/CUB_200_2011.tar"]
            .iter()
            .any(|r| split.source.root == Path::new(r))
        {
            continue;
        }
        let mut raw = RawConfig::from_file(&folder().join(&file)).unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix("#   dataset."));
        let settings: Vec<_> = lines
            .flat_map(|line| line.trim_end_matches('\\').split_whitespace())
            .map(|setting| format!("dataset.{}", setting.trim_start_matches("dataset.")))
            .collect();
        assert!(!settings.is_empty(), "{file}");
        settings.iter().for_each(|setting| raw.set(setting).unwrap());
        let dataset = raw.check().unwrap().dataset;
        let wanted = [Split::Base, Split::Val, Split::Novel];
        for (split, wanted) in [dataset.base, dataset.val, dataset.novel].into_iter().zip(wanted) {
            let downloaded = match split.source.kind {
                SourceKind::MiniImageNet => "mini-imagenet",
                _ => "CUB_200_2011",
            };
            assert_eq!(split.source.root, Path::new(downloaded), "{file}");
            assert_eq!(split.split, wanted, "{file}");
        }
        checked += 1;
    }
    assert_eq!(checked, 6);
}

#[test]
fn omniglot_to_emnist() {
    let file = "cpu/omniglot-to-emnist-conv4.toml";
    let Config { dataset, method, train, .. } = config(file);
    assert_eq!((method.backbone, method.image_size), (BackboneKind::Conv4, 28));
    let head = (method.classifier, method.scale, method.margin);
    assert_eq!(head, (NegCosine, 30.0, -0.02));
    assert_eq!((train.batch_size, train.epochs), (128, 10));
    for (split, source, root, expected, images) in [
        (dataset.base, SourceKind::Omniglot, "omniglot", Split::All, None),
        (dataset.val, SourceKind::Folders, "emnist", Split::Val, Some(100)),
        (dataset.novel, SourceKind::Folders, "emnist", Split::Novel, Some(100)),
    ] {
        assert_eq!((split.source.kind, split.split), (source, expected));
        assert_eq!(split.source.root, Path::new(root));
        assert_eq!(split.source.images_per_class, images);
    }
}
