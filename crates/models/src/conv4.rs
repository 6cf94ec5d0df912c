//! Conv4, published `lib/backbone/conv4.py`.

use std::sync::Arc;

use candle_core::Result;
use candle_nn::VarBuilder;
use fewshot_ops::{Activation, PoolOptions, Tape, TapeTensor};

use crate::architecture::{Architecture, SecondNames};
use crate::layers::{BatchNorm, Conv, ConvNorm, ConvSizes};
use crate::{Network, Pass};

pub const CONV4: Architecture = Architecture {
    features: |image_size| 64 * (image_size / 16).pow(2),
    usual_image_size: |features| match (features / 64).isqrt() {
        // 0: not known, as of a backbone without classifier.
        0 | 5 => 84,
        side => 16 * side.max(1),
    },
    smallest_image: 16,
    signature: "trunk.0.C.weight",
    second_names: Some(SecondNames { of: second_name, contains: is_second_name }),
    build: |_, parameters| Ok(Arc::new(Conv4::new(parameters)?)),
};

/// Four times convolution, batch norm, ReLU and 2×2 max pooling; flattened.
struct Conv4 {
    blocks: Vec<ConvNorm>,
}

impl Conv4 {
    fn new(parameters: VarBuilder) -> Result<Self> {
        let block = |i: usize| {
            let parameters = parameters.pp("trunk").pp(i);
            let in_channels = if i == 0 { 3 } else { 64 };
            let sizes = ConvSizes::three_by_three(in_channels, 64, 1);
            let conv = Conv::with_bias(sizes, parameters.pp("C"))?;
            Ok(ConvNorm::new(conv, BatchNorm::new(64, parameters.pp("BN"))?))
        };
        Ok(Self { blocks: (0..4).map(block).collect::<Result<_>>()? })
    }
}

impl Network for Conv4 {
    /// Returns `[B, S / 16, S / 16, 64]`, to be flattened.
    fn forward(&self, tape: &mut Tape, images: &TapeTensor, pass: Pass) -> Result<TapeTensor> {
        let mut x = images.clone();
        for block in &self.blocks {
            x = block.forward(tape, &x, pass, Activation::Relu, None)?;
            x = tape.max_pool2d(&x, PoolOptions { window: 2, stride: 2, padding: 0 })?;
            x = tape.mixing_place(x)?;
        }
        Ok(x)
    }
}

/// The other name under which a published Conv4 lists a parameter: `trunk.0.trunk.0.weight`
/// beside `trunk.0.C.weight`, and `trunk.0.trunk.1.bias` beside `trunk.0.BN.bias`.
fn second_name(name: &str) -> Option<String> {
    let parts: Vec<_> = name.split('.').collect();
    let [before @ .., "trunk", block, layer @ ("C" | "BN"), leaf] = &parts[..] else { return None };
    let layer = if *layer == "C" { "0" } else { "1" };
    Some([before, &["trunk", block, "trunk", layer, leaf]].concat().join("."))
}

fn is_second_name(name: &str) -> bool {
    let parts: Vec<_> = name.split('.').collect();
    matches!(parts[..], [.., "trunk", _, "trunk", "0" | "1", _])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BackboneKind;

    #[test]
    fn second_names_are_conv4s_only() {
        let second = |name| BackboneKind::Conv4.second_name(name);
        assert_eq!(second("feature.trunk.2.C.bias").unwrap(), "feature.trunk.2.trunk.0.bias");
        assert_eq!(second("trunk.0.BN.running_var").unwrap(), "trunk.0.trunk.1.running_var");
        assert!(is_second_name(&second("trunk.0.C.bias").unwrap()));
        for name in ["trunk.0.weight", "layer1.0.C1.weight", "classifier.weight"] {
            assert_eq!((second(name), is_second_name(name)), (None, false), "{name}");
        }
        assert_eq!(BackboneKind::ResNet18.second_name("trunk.0.C.bias"), None);
    }
}
