//! States as the published PyTorch code saves them.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::BackboneKind;

/// A published `state_dict` under the names that this crate's layers ask for.
///
/// Most names are the same. WRN-28-10 is saved from within `DataParallel`, which puts
/// `module.` before its names; Conv4 lists each layer twice ([`second_name`]); and batch norms
/// count batches (`num_batches_tracked`), which nothing here needs.
pub fn from_published(state: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let is_needed = |name: &str| !name.ends_with("num_batches_tracked") && !is_second(name);
    let plain = |name: String| match name.strip_prefix("module.") {
        Some(name) => name.to_owned(),
        None => name.replacen("feature.module.", "feature.", 1),
    };
    let tensors = state.into_iter().map(|(name, tensor)| (plain(name), tensor));
    tensors.filter(|(name, _)| is_needed(name)).collect()
}

/// The other name under which a published Conv4 lists a parameter: `trunk.0.trunk.0.weight`
/// beside `trunk.0.C.weight`, and `trunk.0.trunk.1.bias` beside `trunk.0.BN.bias`.
pub fn second_name(name: &str) -> Option<String> {
    let parts: Vec<_> = name.split('.').collect();
    let [before @ .., "trunk", block, layer @ ("C" | "BN"), leaf] = &parts[..] else { return None };
    let layer = if *layer == "C" { "0" } else { "1" };
    Some([before, &["trunk", block, "trunk", layer, leaf]].concat().join("."))
}

fn is_second(name: &str) -> bool {
    let parts: Vec<_> = name.split('.').collect();
    matches!(parts[..], [.., "trunk", _, "trunk", "0" | "1", _])
}

impl BackboneKind {
    /// The network whose parameters have these names, among others, each behind `prefix`.
    pub fn of_state<T>(state: &BTreeMap<String, T>, prefix: &str) -> Option<Self> {
        // What a network has and those below do not.
        let marks = [
            (Self::Conv4, "trunk.0.C.weight"),
            (Self::Wrn28_10, "layer3.3.C2.weight"),
            (Self::ResNet12, "layer1.0.C3.weight"),
            (Self::ResNet18, "layer1.1.C1.weight"),
            (Self::ResNet10, "layer1.0.C1.weight"),
        ];
        let mut marks = marks.into_iter();
        marks.find(|(_, mark)| state.contains_key(&format!("{prefix}{mark}"))).map(|(kind, _)| kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backbone, DropOptions, Parameters};
    use candle_core::{DType, Device};

    #[test]
    fn published_names_become_plain() {
        let tensor = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
        let names = [
            "module.feature.conv1.weight",
            "feature.module.bn1.bias",
            "feature.bn1.num_batches_tracked",
            "feature.trunk.0.C.weight",
            "feature.trunk.0.trunk.0.weight",
            "feature.trunk.3.trunk.1.running_var",
            "feature.trunk.1.weight",
            "classifier.weight",
        ];
        let state = names.map(|name| (name.to_owned(), tensor.clone())).into_iter().collect();
        let expected = [
            "classifier.weight",
            "feature.bn1.bias",
            "feature.conv1.weight",
            "feature.trunk.0.C.weight",
            "feature.trunk.1.weight",
        ];
        assert_eq!(from_published(state).into_keys().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn second_names_are_conv4s_only() {
        let second = |name| second_name(name);
        assert_eq!(second("feature.trunk.2.C.bias").unwrap(), "feature.trunk.2.trunk.0.bias");
        assert_eq!(second("trunk.0.BN.running_var").unwrap(), "trunk.0.trunk.1.running_var");
        assert!(is_second(&second("trunk.0.C.bias").unwrap()));
        for name in ["trunk.0.weight", "layer1.0.C1.weight", "classifier.weight"] {
            assert_eq!((second(name), is_second(name)), (None, false), "{name}");
        }
    }

    #[test]
    fn networks_are_known_by_their_names() {
        for kind in BackboneKind::ALL {
            let parameters = Parameters::new(0);
            let builder = parameters.builder(DType::F32, &Device::Cpu).pp("feature");
            Backbone::new(kind, DropOptions::default(), builder).unwrap();
            assert_eq!(BackboneKind::of_state(&parameters.all(), "feature."), Some(kind));
        }
        assert_eq!(BackboneKind::of_state::<()>(&BTreeMap::new(), ""), None);
    }
}
