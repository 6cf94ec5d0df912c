//! States as other programs save them, under this crate's names.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;

use crate::{BackboneKind, torchvision};

/// Why the tensors of a state are not those of a network that is known here.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UnknownState {
    /// No name is one of a known network's.
    #[error(
        "holds no backbone that is known here: expected names as feature.layer1.0.C1.weight and \
         classifier.weight, or torchvision's as layer1.0.conv1.weight, got {}",
        if names.is_empty() { "nothing" } else { names }
    )]
    NoBackbone {
        /// The first names.
        names: String,
    },
    /// Several networks are in it, as a teacher's and a student's.
    #[error(
        "holds {} networks, at {}: save one of them alone", prefixes.len(), prefixes.join(" and ")
    )]
    Several {
        /// What their names begin with.
        prefixes: Vec<String>,
    },
    /// Two tensors would have one name.
    #[error("both `{first}` and `{second}` would be `{name}`: save the model alone")]
    Twice {
        /// The name that both would have.
        name: String,
        /// The name of one.
        first: String,
        /// The name of the other.
        second: String,
    },
    /// A network under torchvision's names that is none of those known here.
    #[error(
        "is no ResNet-18, -34 or -50 as torchvision has them, the only networks that are read under \
         these names: {0}"
    )]
    OtherNetwork(String),
}

/// Renames a state to the names that this crate's layers ask for: `feature.…` for the backbone's
/// parameters and `classifier.…` for the classifier's, if it has one.
///
/// - Wrappers put names of their own before or between those of the network: `module.`
///   (`DataParallel`), `_orig_mod.` (`torch.compile`), `model.` or `net.` (Lightning). All are
///   removed: the backbone is wherever its names are.
/// - A state of the backbone alone has no `feature.` before its names.
/// - torchvision and timm have other names for the same ResNet-18, -34 and -50.
/// - Conv4 lists each layer twice ([`BackboneKind::second_name`]), and batch norms count batches
///   (`num_batches_tracked`), which nothing here needs.
///
/// Any other tensor keeps its name, so that it is refused when the model is built.
///
/// # Errors
/// [`UnknownState`] if no backbone, several, or another one is in it.
pub fn from_published(
    state: BTreeMap<String, Tensor>,
) -> Result<BTreeMap<String, Tensor>, UnknownState> {
    let mut tensors = BTreeMap::new();
    for (name, tensor) in state {
        if !name.ends_with("num_batches_tracked") && !BackboneKind::is_second_name(&name) {
            insert(&mut tensors, without_wrappers(&name), (name, tensor))?;
        }
    }
    let signatures = BackboneKind::ALL.map(BackboneKind::signature).into_iter();
    let prefixes: BTreeSet<String> = signatures
        .chain([torchvision::SIGNATURE])
        .flat_map(|signature| tensors.keys().filter_map(move |name| name.strip_suffix(signature)))
        .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
        .map(str::to_owned)
        .collect();
    let mut prefixes: Vec<String> = prefixes.into_iter().collect();
    let prefix = match prefixes.len() {
        0 => {
            let names: Vec<_> = tensors.keys().take(3).map(String::as_str).collect();
            return Err(UnknownState::NoBackbone { names: names.join(", ") });
        }
        1 => prefixes.remove(0),
        _ => return Err(UnknownState::Several { prefixes }),
    };
    let is_torchvisions = tensors.contains_key(&format!("{prefix}{}", torchvision::SIGNATURE));
    if is_torchvisions {
        let own = tensors.iter().filter_map(|(name, (_, tensor))| {
            let name = name.strip_prefix(&prefix)?;
            (!is_classifier(name)).then_some((name, tensor.dims()))
        });
        torchvision::check(&own.collect()).map_err(UnknownState::OtherNetwork)?;
    }
    let mut renamed = BTreeMap::new();
    for (name, (original, tensor)) in tensors {
        let new = rename(&name, &prefix, is_torchvisions);
        insert(&mut renamed, new, (original, tensor))?;
    }
    Ok(renamed.into_iter().map(|(name, (_, tensor))| (name, tensor)).collect())
}

/// Adds a tensor, which may not have the name of another.
fn insert(
    tensors: &mut BTreeMap<String, (String, Tensor)>,
    name: String,
    (original, tensor): (String, Tensor),
) -> Result<(), UnknownState> {
    if let Some((first, _)) = tensors.get(&name) {
        return Err(UnknownState::Twice { first: first.clone(), second: original, name });
    }
    tensors.insert(name, (original, tensor));
    Ok(())
}

/// The name without the parts that `DataParallel` and `torch.compile` add.
fn without_wrappers(name: &str) -> String {
    let parts = name.split('.').filter(|part| !["module", "_orig_mod"].contains(part));
    parts.collect::<Vec<_>>().join(".")
}

/// Whether this is a parameter of a classifier, by any of its usual names.
fn is_classifier(name: &str) -> bool {
    classifier(name).is_some_and(|(before, _)| before.is_empty())
}

/// Takes the name of a classifier's parameter apart: what is before it, and `weight` or `bias`.
fn classifier(name: &str) -> Option<(&str, &str)> {
    let (rest, parameter) = name.rsplit_once('.')?;
    let layer = rest.rsplit('.').next()?;
    let is_one = ["classifier", "fc", "head", "linear"].contains(&layer)
        && ["weight", "bias"].contains(&parameter);
    is_one.then(|| (&rest[..rest.len() - layer.len()], parameter))
}

/// Renames a tensor of a state whose backbone's names begin with `prefix`. The classifier is a part
/// of the backbone's module, or lies beside one that the backbone is a part of.
fn rename(name: &str, prefix: &str, is_torchvisions: bool) -> String {
    if let Some((before, parameter)) = classifier(name)
        && prefix.starts_with(before)
    {
        return format!("classifier.{parameter}");
    }
    match name.strip_prefix(prefix) {
        Some(own) if is_torchvisions => format!("feature.{}", torchvision::rename(own)),
        Some(own) => format!("feature.{own}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn state(names: &[&str]) -> BTreeMap<String, Tensor> {
        let tensor = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
        names.iter().map(|name| ((*name).to_owned(), tensor.clone())).collect()
    }

    fn renamed(names: &[&str]) -> Result<Vec<String>, UnknownState> {
        from_published(state(names)).map(|state| state.into_keys().collect())
    }

    #[test]
    fn published_names_become_plain() {
        for (names, expected) in [
            (
                [
                    "module.feature.conv1.weight",
                    "feature.module.layer3.0.convShortcut.weight",
                    "feature.bn1.num_batches_tracked",
                    "module.classifier.weight",
                ],
                [
                    "classifier.weight",
                    "feature.conv1.weight",
                    "feature.layer3.0.convShortcut.weight",
                ],
            ),
            (
                [
                    "feature.trunk.0.C.weight",
                    "feature.trunk.0.trunk.0.weight",
                    "feature.trunk.3.trunk.1.running_var",
                    "feature.trunk.1.weight",
                ],
                ["feature.trunk.0.C.weight", "feature.trunk.1.weight", ""],
            ),
        ] {
            let expected: Vec<_> = expected.into_iter().filter(|name| !name.is_empty()).collect();
            assert_eq!(renamed(&names).unwrap(), expected);
        }
    }

    #[test]
    fn the_backbone_is_found_behind_any_wrapper() {
        let expected = ["classifier.bias", "classifier.weight", "feature.layer1.0.C1.weight"];
        for [weight, bias, own] in [
            ["classifier.weight", "classifier.bias", "feature.layer1.0.C1.weight"],
            ["fc.weight", "fc.bias", "layer1.0.C1.weight"],
            ["model.fc.weight", "model.fc.bias", "model.feature.layer1.0.C1.weight"],
            ["net.classifier.weight", "net.classifier.bias", "net.layer1.0.C1.weight"],
            ["head.weight", "head.bias", "backbone.net.layer1.0.C1.weight"],
            [
                "_orig_mod.classifier.weight",
                "_orig_mod.classifier.bias",
                "_orig_mod.feature.layer1.0.C1.weight",
            ],
            [
                "model._orig_mod.module.classifier.weight",
                "model._orig_mod.module.classifier.bias",
                "model._orig_mod.module.feature.layer1.0.C1.weight",
            ],
        ] {
            assert_eq!(renamed(&[weight, bias, own]).unwrap(), expected);
        }
        // A backbone alone, and what is neither of it nor a classifier.
        let alone = renamed(&["layer1.0.C1.weight", "trunk.0.weight"]).unwrap();
        assert_eq!(alone, ["feature.layer1.0.C1.weight", "feature.trunk.0.weight"]);
        let other = renamed(&["model.layer1.0.C1.weight", "loss.weight", "x.fc.bias"]).unwrap();
        assert_eq!(other, ["feature.layer1.0.C1.weight", "loss.weight", "x.fc.bias"]);
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        let error = renamed(&["a.layer1.0.C1.weight", "b.layer1.0.C1.weight"]).unwrap_err();
        assert_eq!(error.to_string(), "holds 2 networks, at a. and b.: save one of them alone");
        let error = renamed(&["layer1.0.C1.weight", "fc.bias", "head.bias"]).unwrap_err();
        assert!(error.to_string().contains("both `fc.bias` and `head.bias`"), "{error}");
        let error = renamed(&["encoder.patch.weight"]).unwrap_err().to_string();
        assert!(error.ends_with("got encoder.patch.weight"), "{error}");
        assert!(renamed(&[]).unwrap_err().to_string().ends_with("got nothing"));
    }
}
