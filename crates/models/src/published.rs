//! States as the published PyTorch code saves them.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::BackboneKind;

/// Renames a published `state_dict` to the names that this crate's layers ask for.
///
/// Most names are the same. WRN-28-10 is saved from within `DataParallel`, which puts
/// `module.` before its names; Conv4 lists each layer twice ([`BackboneKind::second_name`]); and batch norms
/// count batches (`num_batches_tracked`), which nothing here needs.
pub fn from_published(state: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let is_needed =
        |name: &str| !name.ends_with("num_batches_tracked") && !BackboneKind::is_second_name(name);
    let plain = |name: String| match name.strip_prefix("module.") {
        Some(name) => name.to_owned(),
        None => name.replacen("feature.module.", "feature.", 1),
    };
    let tensors = state.into_iter().map(|(name, tensor)| (plain(name), tensor));
    tensors.filter(|(name, _)| is_needed(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
