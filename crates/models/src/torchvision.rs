//! ResNet-18, -34 and -50 (and with one block a stage, ResNet-10) under the names of torchvision and timm.
//!
//! These are the networks of `resnet.rs`: a 7×7 convolution of stride 2, batch norm, ReLU, 3×3 max
//! pooling of stride 2; four stages of blocks of two 3×3 convolutions, or of 1×1, 3×3 and 1×1, with
//! batch norms around a shortcut, which is a 1×1 convolution with batch norm where the number of
//! channels grows; the mean over the last map. Only names differ.

use std::collections::BTreeMap;

use crate::resnet::Stages;

/// A name that every ResNet has there.
pub const SIGNATURE: &str = "layer1.0.conv1.weight";

/// Returns this crate's name of a parameter; another one stays as it is.
pub fn rename(name: &str) -> String {
    let (path, parameter) = name.rsplit_once('.').unwrap_or(("", name));
    let path = match path {
        "conv1" => "trunk.0".to_owned(),
        "bn1" => "trunk.1".to_owned(),
        path if path.starts_with("layer") => path
            .replacen(".conv", ".C", 1)
            .replacen(".bn", ".BN", 1)
            .replacen(".downsample.0", ".shortcut", 1)
            .replacen(".downsample.1", ".BNshortcut", 1),
        path => path.to_owned(),
    };
    format!("{path}.{parameter}")
}

/// Checks that parameters, given with their shapes, are those of such a network.
///
/// # Errors
/// What differs first.
pub fn check(shapes: &BTreeMap<&str, &[usize]>) -> Result<(), String> {
    let has = |name: &str| shapes.contains_key(name);
    if has("conv1.0.weight") {
        return Err(
            "its stem has several convolutions (timm's networks ending in d, s or t)".into()
        );
    }
    let stem = shapes.get("conv1.weight").copied().unwrap_or_default();
    if stem != [64, 3, 7, 7] {
        return Err(format!(
            "its stem `conv1.weight` is {stem:?}, expected [64, 3, 7, 7] (3×3 stems belong to \
             networks for small images)"
        ));
    }
    let depths = [1, 2, 3, 4].map(|stage| {
        (0..).take_while(|block| has(&format!("layer{stage}.{block}.conv1.weight"))).count()
    });
    let stages = Stages { depths, is_bottleneck: has("layer1.0.conv3.weight") };
    if !Stages::ALL.contains(&stages) {
        let convolutions = if stages.is_bottleneck { "three" } else { "two" };
        return Err(format!(
            "its stages have {depths:?} blocks of {convolutions} convolutions (ResNet-101 has \
             3, 4, 23 and 3 of three)"
        ));
    }
    let expected = parameters(stages);
    for (name, shape) in &expected {
        match shapes.get(&**name) {
            None => return Err(format!("it has no `{name}`")),
            Some(got) if got != shape => {
                return Err(format!("its `{name}` is {got:?}, expected {shape:?}"));
            }
            Some(_) => {}
        }
    }
    match shapes.keys().find(|name| !expected.contains_key(**name)) {
        Some(other) => Err(format!("it has `{other}`, too")),
        None => Ok(()),
    }
}

/// The parameters of a network with such stages, with their shapes.
fn parameters(stages: Stages) -> BTreeMap<String, Vec<usize>> {
    let mut all = BTreeMap::new();
    let mut add = |conv: String, norm: String, shape: [usize; 4]| {
        all.insert(format!("{conv}.weight"), shape.to_vec());
        for parameter in ["weight", "bias", "running_mean", "running_var"] {
            all.insert(format!("{norm}.{parameter}"), vec![shape[0]]);
        }
    };
    add("conv1".into(), "bn1".into(), [64, 3, 7, 7]);
    let mut from = 64;
    for (stage, inner) in [(1, 64), (2, 128), (3, 256), (4, 512)] {
        let to = stages.out_channels(inner);
        for block in 0..stages.depths[stage - 1] {
            let own = |layer: &str| format!("layer{stage}.{block}.{layer}");
            if stages.is_bottleneck {
                add(own("conv1"), own("bn1"), [inner, from, 1, 1]);
                add(own("conv2"), own("bn2"), [inner, inner, 3, 3]);
                add(own("conv3"), own("bn3"), [to, inner, 1, 1]);
            } else {
                add(own("conv1"), own("bn1"), [to, from, 3, 3]);
                add(own("conv2"), own("bn2"), [to, to, 3, 3]);
            }
            if from != to {
                add(own("downsample.0"), own("downsample.1"), [to, from, 1, 1]);
            }
            from = to;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backbone, BackboneKind, DropOptions, Parameters};
    use candle_core::{DType, Device};

    fn refusal(change: impl FnOnce(&mut BTreeMap<String, Vec<usize>>)) -> String {
        let mut all = parameters(Stages::ALL[1]);
        change(&mut all);
        let shapes = all.iter().map(|(name, shape)| (&**name, &**shape)).collect();
        check(&shapes).expect_err("a refusal")
    }

    #[test]
    fn names_and_shapes_are_those_of_this_crates_networks() {
        use BackboneKind::{ResNet10, ResNet18, ResNet34, ResNet50};
        for (stages, kind) in Stages::ALL.into_iter().zip([ResNet10, ResNet18, ResNet34, ResNet50])
        {
            let ours = Parameters::new(0);
            let builder = ours.builder(DType::F32, &Device::Cpu);
            Backbone::new(kind, DropOptions::default(), builder).unwrap();
            let ours = ours.all().into_iter().map(|(name, v)| (name, v.dims().to_vec()));
            let all = parameters(stages);
            let shapes = all.iter().map(|(name, shape)| (&**name, &**shape)).collect();
            check(&shapes).unwrap();
            let renamed: BTreeMap<_, _> =
                all.iter().map(|(name, shape)| (rename(name), shape.clone())).collect();
            assert_eq!(renamed, ours.collect());
        }
    }

    #[test]
    fn what_differs_is_named() {
        let deeper = refusal(|all| {
            all.insert("layer1.0.conv3.weight".into(), vec![256, 64, 1, 1]);
        });
        assert!(deeper.contains("[2, 2, 2, 2] blocks of three"), "{deeper}");
        let small = refusal(|all| {
            all.insert("conv1.weight".into(), vec![64, 3, 3, 3]);
        });
        assert!(small.contains("`conv1.weight` is [64, 3, 3, 3]"), "{small}");
        let timm = refusal(|all| {
            all.remove("conv1.weight");
            all.insert("conv1.0.weight".into(), vec![32, 3, 3, 3]);
        });
        assert!(timm.contains("several convolutions"), "{timm}");
        let of_34 = refusal(|all| {
            all.insert("layer1.2.conv1.weight".into(), vec![64, 64, 3, 3]);
        });
        assert!(of_34.contains("[3, 2, 2, 2] blocks of two"), "{of_34}");
        let squeezed = refusal(|all| {
            all.insert("layer1.0.se.fc1.weight".into(), vec![4, 64, 1, 1]);
        });
        assert!(squeezed.contains("`layer1.0.se.fc1.weight`, too"), "{squeezed}");
        let wide = refusal(|all| {
            all.insert("layer4.1.conv2.weight".into(), vec![1024, 512, 3, 3]);
        });
        assert!(wide.contains("`layer4.1.conv2.weight` is [1024, 512, 3, 3]"), "{wide}");
        let less = refusal(|all| drop(all.remove("layer2.0.downsample.1.bias")));
        assert!(less.contains("no `layer2.0.downsample.1.bias`"), "{less}");
    }
}
