//! Checkpoints that other programs wrote.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use fewshot_experiment::{Checkpoint, Model};
use fewshot_models::Pass;

type State = BTreeMap<String, Tensor>;

/// Numbers of any kind, as many as the shape takes: uniform, around 0.
fn numbers(seed: &mut u64, shape: &[usize], scale: f32) -> Tensor {
    let mut next = || {
        *seed =
            seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((*seed >> 40) as f32 / (1 << 23) as f32 - 1.0) * scale
    };
    let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|_| next()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// The state of a ResNet as torchvision saves it, with so many blocks a stage and a classifier of
/// seven classes.
fn torchvision(depth: usize) -> State {
    let (mut state, seed) = (State::new(), &mut 7);
    let mut add = |conv: &str, norm: &str, shape: [usize; 4]| {
        let scale = 2.0 / ((shape[1] * shape[2] * shape[3]) as f32).sqrt();
        state.insert(format!("{conv}.weight"), numbers(seed, &shape, scale));
        for (name, middle, scale) in [
            ("weight", 1.0, 0.5),
            ("bias", 0.0, 0.3),
            ("running_mean", 0.0, 0.3),
            ("running_var", 1.0, 0.5),
        ] {
            let values = (numbers(seed, &shape[..1], scale) + middle).unwrap();
            state.insert(format!("{norm}.{name}"), values);
        }
        let count = Tensor::zeros((), DType::I64, &Device::Cpu).unwrap();
        state.insert(format!("{norm}.num_batches_tracked"), count);
    };
    add("conv1", "bn1", [64, 3, 7, 7]);
    let mut from = 64;
    for (stage, to) in [(1, 64), (2, 128), (3, 256), (4, 512)] {
        for block in 0..depth {
            let name = |layer: &str| format!("layer{stage}.{block}.{layer}");
            add(&name("conv1"), &name("bn1"), [to, from, 3, 3]);
            add(&name("conv2"), &name("bn2"), [to, to, 3, 3]);
            if from != to {
                add(&name("downsample.0"), &name("downsample.1"), [to, from, 1, 1]);
            }
            from = to;
        }
    }
    state.insert("fc.weight".into(), numbers(&mut 8, &[7, 512], 0.1));
    state.insert("fc.bias".into(), numbers(&mut 9, &[7], 0.1));
    state
}

/// torchvision's `ResNet._forward_impl` up to `flatten`, by candle's own operations.
fn naive_features(state: &State, images: &Tensor) -> Tensor {
    let norm = |x: &Tensor, name: &str| -> candle_core::Result<Tensor> {
        let of = |part: &str| state[&format!("{name}.{part}")].reshape((1, (), 1, 1));
        let scale = (of("weight")? / (of("running_var")? + 1e-5)?.sqrt()?)?;
        x.broadcast_sub(&of("running_mean")?)?.broadcast_mul(&scale)?.broadcast_add(&of("bias")?)
    };
    let conv = |x: &Tensor, name: &str, padding, stride| {
        x.conv2d(&state[&format!("{name}.weight")], padding, stride, 1, 1)
    };
    let forward = || -> candle_core::Result<Tensor> {
        let x = norm(&conv(images, "conv1", 3, 2)?, "bn1")?.relu()?;
        // Zeros around the image change no maximum of what is not negative.
        let x = x.pad_with_zeros(2, 1, 1)?.pad_with_zeros(3, 1, 1)?;
        let mut x = x.max_pool2d_with_stride(3, 2)?;
        for (stage, block) in (1..=4).flat_map(|stage| [(stage, 0), (stage, 1)]) {
            let name = |layer: &str| format!("layer{stage}.{block}.{layer}");
            if !state.contains_key(&name("conv1.weight")) {
                continue;
            }
            let stride = if stage > 1 && block == 0 { 2 } else { 1 };
            let y = norm(&conv(&x, &name("conv1"), 1, stride)?, &name("bn1"))?.relu()?;
            let y = norm(&conv(&y, &name("conv2"), 1, 1)?, &name("bn2"))?;
            if state.contains_key(&name("downsample.0.weight")) {
                let short = conv(&x, &name("downsample.0"), 0, stride)?;
                x = norm(&short, &name("downsample.1"))?;
            }
            x = (y + x)?.relu()?;
        }
        x.mean((2, 3))
    };
    forward().unwrap()
}

fn save(state: &State, path: &Path) {
    candle_core::safetensors::save(&state.clone().into_iter().collect(), path).unwrap();
}

fn load(path: &Path) -> (Checkpoint, Model) {
    let checkpoint = Checkpoint::read(path).unwrap();
    let config = checkpoint.config.check().unwrap();
    let model = checkpoint.model(path, &config, &Device::Cpu).unwrap();
    (checkpoint, model)
}

fn refusal(path: &Path) -> String {
    let checkpoint = match Checkpoint::read(path) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return error.to_string(),
    };
    let config = checkpoint.config.check().unwrap();
    checkpoint.model(path, &config, &Device::Cpu).err().expect("a refusal").to_string()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The greatest difference, in units of the greatest value.
fn difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let (a, b) = (values(a), values(b));
    let greatest = a.iter().fold(0f32, |most, v| most.max(v.abs()));
    assert!(greatest > 0.0);
    a.iter().zip(&b).fold(0f32, |most, (a, b)| most.max((a - b).abs())) / greatest
}

#[test]
fn torchvisions_resnet_has_the_features_that_torchvision_computes() {
    let folder = tempfile::tempdir().unwrap();
    for (depth, backbone) in [(2, "resnet18"), (1, "resnet10")] {
        let state = torchvision(depth);
        let path = folder.path().join(format!("{backbone}.safetensors"));
        save(&state, &path);
        let (checkpoint, model) = load(&path);
        let config = checkpoint.config.check().unwrap();
        assert_eq!(config.method.backbone.name(), backbone);
        assert_eq!(config.method.classifier.name(), "softmax");
        // Sides that strides do not divide, too.
        for side in [64, 49] {
            let images = numbers(&mut 3, &[2, 3, side, side], 2.0);
            let expected = naive_features(&state, &images);
            let got = model.backbone.forward(&images, Pass::Eval).unwrap();
            assert!(difference(&expected, &got) < 1e-4, "{backbone} at {side} px");
            let scores = model.head().unwrap().scores(&got).unwrap();
            let product = got.matmul(&state["fc.weight"].t().unwrap()).unwrap();
            let expected = product.broadcast_add(&state["fc.bias"]).unwrap();
            assert!(difference(&expected, &scores) < 1e-4, "{backbone} at {side} px");
        }
    }
}

#[test]
fn other_networks_under_torchvisions_names_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.safetensors");
    let mut state = torchvision(2);
    let part = state["conv1.weight"].narrow(2, 0, 3).unwrap().narrow(3, 0, 3).unwrap();
    state.insert("conv1.weight".into(), part.contiguous().unwrap());
    save(&state, &path);
    let message = refusal(&path);
    let expected =
        ["other.safetensors", "`conv1.weight` is [64, 3, 3, 3]", "expected [64, 3, 7, 7]"];
    expected.iter().for_each(|part| assert!(message.contains(part), "{message}"));
}

#[test]
fn a_backbone_alone_is_a_model_without_classifier() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backbone.safetensors");
    let mut state = torchvision(1);
    state.retain(|name, _| !name.starts_with("fc."));
    save(&state, &path);
    let (checkpoint, model) = load(&path);
    let images = numbers(&mut 3, &[2, 3, 32, 32], 2.0);
    let config = checkpoint.config.check().unwrap();
    let model = model.frozen(&config, &Device::Cpu).unwrap();
    let got = model.backbone.forward(&images, Pass::Eval).unwrap();
    assert!(difference(&naive_features(&state, &images), &got) < 1e-4);
    let error = model.head().unwrap_err().to_string();
    assert!(error.contains("without a classifier"), "{error}");
    // Written by this workspace, it is the same.
    let again = folder.path().join("again.safetensors");
    let toml = checkpoint.config.to_toml();
    Checkpoint::write(&again, &toml, &checkpoint.state, &model).unwrap();
    let (_, model) = load(&again);
    assert!(model.head().is_err());
    let model = model.frozen(&config, &Device::Cpu).unwrap();
    assert_eq!(values(&model.backbone.forward(&images, Pass::Eval).unwrap()), values(&got));
}

/// Opcodes of a pickle, as `torch.save` writes them in its zip format.
mod pickle {
    pub fn text(content: &str) -> Vec<u8> {
        [b"X", &(content.len() as u32).to_le_bytes()[..], content.as_bytes()].concat()
    }

    pub fn int(value: usize) -> Vec<u8> {
        [b"J", &i32::try_from(value).unwrap().to_le_bytes()[..]].concat()
    }

    fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
        [b"(", &items.concat()[..], b"t"].concat()
    }

    pub fn tensor(key: &str, class: &str, shape: &[usize]) -> Vec<u8> {
        let class = format!("ctorch\n{class}\n").into_bytes();
        let count = int(shape.iter().product());
        let id = tuple(&[text("storage"), class, text(key), text("cpu"), count]);
        let mut strides = vec![1; shape.len()];
        (1..shape.len()).rev().for_each(|axis| strides[axis - 1] = strides[axis] * shape[axis]);
        let numbers = |list: &[usize]| tuple(&list.iter().map(|n| int(*n)).collect::<Vec<_>>());
        let hooks = b"ccollections\nOrderedDict\n)R".to_vec();
        let storage = [&id[..], b"Q"].concat();
        let parts = [storage, int(0), numbers(shape), numbers(&strides), b"\x89".to_vec(), hooks];
        [b"ctorch._utils\n_rebuild_tensor_v2\n", &tuple(&parts)[..], b"R"].concat()
    }

    pub fn dict(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
        let items = entries.iter().map(|(key, value)| [&text(key)[..], value].concat());
        [b"}(", &items.collect::<Vec<_>>().concat()[..], b"u"].concat()
    }
}

/// Writes what `torch.save` makes of `{KEY: state, …more}`, or of the state alone.
fn torch_save(path: &Path, state: &State, key: Option<&str>, more: &[(&str, Vec<u8>)]) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut entries = Vec::new();
    let mut add = |name: String, bytes: &[u8]| {
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
    };
    for (index, (name, tensor)) in state.iter().enumerate() {
        let storage = index.to_string();
        let (class, bytes): (_, Vec<u8>) = match tensor.dtype() {
            DType::I64 => ("LongStorage", vec![0; 8]),
            _ => ("FloatStorage", values(tensor).into_iter().flat_map(f32::to_le_bytes).collect()),
        };
        add(format!("archive/data/{storage}"), &bytes);
        entries.push((name.clone(), pickle::tensor(&storage, class, tensor.dims())));
    }
    add("archive/data/seven".into(), &7f32.to_le_bytes());
    let mut object = pickle::dict(&entries);
    if let Some(key) = key {
        let more = more.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        let all: Vec<_> = more.chain([(key.to_owned(), object)]).collect();
        object = pickle::dict(&all);
    }
    add("archive/data.pkl".into(), &[b"\x80\x02", &object[..], b"."].concat());
    add("archive/byteorder".into(), b"little");
    zip.finish().unwrap();
}

#[test]
fn every_usual_form_holds_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures/parity/checkpoints/conv4_legacy.tar");
    let (checkpoint, model) = load(&fixture);
    let plain = checkpoint.tensors;
    let images = numbers(&mut 3, &[1, 3, 84, 84], 2.0);
    let scores = |model: &Model| {
        let features = model.backbone.forward(&images, Pass::Eval).unwrap();
        values(&model.head().unwrap().scores(&features).unwrap())
    };
    let expected = scores(&model);
    let renamed = |rename: &dyn Fn(&str) -> String| -> State {
        plain.iter().map(|(name, tensor)| (rename(name), tensor.clone())).collect()
    };
    let prefixed = |prefix: &'static str| renamed(&move |name| format!("{prefix}{name}"));
    let inner = renamed(&|name| match name.strip_prefix("feature.") {
        Some(own) => format!("model.{own}"),
        None => format!("model.fc.{}", name.rsplit('.').next().unwrap()),
    });
    let float = |value: f64| [b"G", &value.to_be_bytes()[..]].concat();
    let lightning = ("pytorch-lightning_version", pickle::text("2.4.0"));
    let hyper = ("hyper_parameters", pickle::dict(&[("lr".to_owned(), float(0.003))]));
    // Key of the state, the state, what is saved beside it, and the epochs that are read.
    let seven = ("epoch", pickle::int(7));
    let forms = [
        (None, plain.clone(), vec![], 0),
        (Some("state"), plain.clone(), vec![], 0),
        (Some("state"), plain.clone(), vec![seven.clone()], 7),
        (Some("state"), plain.clone(), vec![("epoch", float(5.0))], 5),
        (Some("state"), plain.clone(), vec![("epoch", b"N".to_vec())], 0),
        (Some("state"), plain.clone(), vec![("epoch", pickle::text("seven"))], 0),
        (Some("state"), plain.clone(), vec![("epoch", float(-1.0))], 0),
        (Some("state"), plain.clone(), vec![("epoch", float(f64::NAN))], 0),
        (
            Some("state"),
            plain.clone(),
            vec![("epoch", pickle::tensor("seven", "FloatStorage", &[]))],
            7,
        ),
        (
            Some("state"),
            plain.clone(),
            vec![("epoch", pickle::tensor("seven", "FloatStorage", &[1]))],
            7,
        ),
        (Some("model"), plain.clone(), vec![seven.clone()], 7),
        (Some("model_state_dict"), prefixed("module."), vec![seven.clone()], 7),
        (Some("state_dict"), prefixed("model."), vec![lightning, hyper, seven.clone()], 7),
        (Some("state_dict"), prefixed("net."), vec![seven.clone()], 7),
        (Some("state_dict"), prefixed("_orig_mod."), vec![seven.clone()], 7),
        (Some("state_dict"), prefixed("model._orig_mod.module."), vec![seven.clone()], 7),
        (Some("state_dict"), inner, vec![seven], 7),
    ];
    for (number, (key, state, more, epochs)) in forms.into_iter().enumerate() {
        let path = folder.path().join(format!("{number}.ckpt"));
        torch_save(&path, &state, key, &more);
        let (checkpoint, model) = load(&path);
        assert_eq!(checkpoint.state.epochs, epochs, "form {number}");
        assert_eq!(scores(&model), expected, "form {number}");
        let path = folder.path().join(format!("{number}.safetensors"));
        save(&state, &path);
        assert_eq!(scores(&load(&path).1), expected, "form {number} as safetensors");
    }
}

#[test]
fn what_is_no_checkpoint_is_named_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best_model.tar");
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n".to_vec();
    let mut tar = vec![b'x'; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let cases: [(Vec<u8>, &[&str]); 8] = [
        (pointer, &["Git LFS", "git lfs pull"]),
        (b"<!DOCTYPE html><html>".to_vec(), &["a web page"]),
        (b"\n  <HTML><body>Sign in".to_vec(), &["a web page"]),
        (b"<?xml version=\"1.0\"?><Error>".to_vec(), &["a web page"]),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\0".to_vec(), &["gzip", "gunzip"]),
        (b"\xfd7zXZ\0\0\0\0\0".to_vec(), &["xz"]),
        (tar, &["tar archive"]),
        (Vec::new(), &["checkpoint"]),
    ];
    for (bytes, parts) in cases {
        std::fs::write(&path, &bytes).unwrap();
        let message = refusal(&path);
        for part in parts.iter().chain(&["best_model.tar"]) {
            assert!(message.contains(part), "no `{part}`: {message}");
        }
    }
    let message = refusal(folder.path());
    assert!(message.contains("a folder without best.safetensors or last"), "{message}");
}

#[test]
fn a_runs_folder_stands_for_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    assert_eq!(Checkpoint::locate(folder.path()), folder.path());
    std::fs::write(file("last.safetensors"), "").unwrap();
    assert_eq!(Checkpoint::locate(folder.path()), file("last.safetensors"));
    std::fs::write(file("best.safetensors"), "").unwrap();
    assert_eq!(Checkpoint::locate(folder.path()), file("best.safetensors"));
    assert_eq!(Checkpoint::locate(&file("last.safetensors")), file("last.safetensors"));
}

/// A safetensors file of so many tensors without elements.
fn many_names(path: &Path, count: usize) {
    let entries: Vec<_> = (0..count)
        .map(|n| format!(r#""a{n}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    let header = format!("{{{}}}", entries.join(","));
    let length = (header.len() as u64).to_le_bytes();
    std::fs::write(path, [&length[..], header.as_bytes()].concat()).unwrap();
}

#[test]
fn names_without_end_are_refused_before_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.safetensors");
    many_names(&path, 1_000_000);
    let message = refusal(&path);
    assert!(message.contains("many.safetensors: its header has "), "{message}");
    // As many as a header of the longest size takes: more than their file may take in memory.
    many_names(&path, 50_000);
    let message = refusal(&path);
    assert!(message.contains("more than the limit of "), "{message}");
    many_names(&path, 1_000);
    let message = refusal(&path);
    assert!(message.contains("no backbone that is known here"), "{message}");
}

#[cfg(target_os = "linux")]
#[test]
fn what_has_no_end_is_not_read() {
    assert_eq!(
        refusal(Path::new("/dev/zero")),
        "checkpoint /dev/zero: is a pipe or a device, not a file"
    );
}
