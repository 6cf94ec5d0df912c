//! A loss head of one's own: ArcFace (Deng et al., CVPR 2019), whose margin is an angle.
//!
//! ```console
//! $ cargo run -p fewshot-losses --example own_loss
//! ```
//!
//! To make such a head a built-in that configurations can name, touch
//!
//! 1. `crates/losses/src/kind.rs`: a variant of `ClassifierKind`, whose name follows from it, and
//!    its entry in `definition`. A head that differs from the others only in what an entry says (bias,
//!    scale, margin, cosine, minimum) is done;
//! 2. `crates/losses/src/margin_head.rs`: its scores, if the formula is another, as ArcFace's is;
//! 3. `crates/episodes/src/heads/finetune/descent.rs`: its gradient, for fine-tuning on a support set;
//! 4. with the feature `cuda`, the kernel of that gradient in `crates/ops/src/cuda/kernels`.
//!
//! Configurations, checkpoints, command lines and error messages then know it. The test of
//! `crates/episodes/tests/finetune.rs` compares its fine-tuning with naive loops.

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{Init, Optimizer, SGD, VarBuilder, VarMap};
use fewshot_losses::{count_correct, cross_entropy};
use fewshot_ops::{l2_normalize, linear};

/// Scores `scale · cos(θ_c + margin·[c = label])`, where θ_c is the angle between a feature and
/// the weight of class c.
struct ArcFace {
    /// `[C, D]`
    weight: Tensor,
    scale: f64,
    /// Radians, of any sign.
    margin: f64,
}

impl ArcFace {
    fn new(features: usize, classes: usize, parameters: VarBuilder) -> Result<Self> {
        let bound = 1.0 / (features as f64).sqrt();
        let init = Init::Uniform { lo: -bound, up: bound };
        let weight = parameters.get_with_hints((classes, features), "weight", init)?;
        Ok(Self { weight, scale: 10.0, margin: -0.05 })
    }

    /// Cosines `[B, C]` of features `[B, D]`.
    fn cosines(&self, features: &Tensor) -> Result<Tensor> {
        linear(&l2_normalize(features)?, &l2_normalize(&self.weight)?, None)
    }

    /// Scores `[B, C]` for training, of features `[B, D]` with labels `[B]` of `u32`.
    fn training_scores(&self, features: &Tensor, labels: &Tensor) -> Result<Tensor> {
        let cosines = self.cosines(features)?;
        let classes = Tensor::arange(0, cosines.dim(1)? as u32, cosines.device())?;
        let is_label = labels.unsqueeze(1)?.broadcast_eq(&classes.unsqueeze(0)?)?;
        let sines = (1.0 - cosines.sqr()?.clamp(0.0, 1.0 - 1e-6)?)?.sqrt()?;
        let moved = ((&cosines * self.margin.cos())? - (sines * self.margin.sin())?)?;
        is_label.where_cond(&moved, &cosines)? * self.scale
    }

    /// Scores `[B, C]` without labels.
    fn scores(&self, features: &Tensor) -> Result<Tensor> {
        self.cosines(features)? * self.scale
    }
}

/// Trains the head on 3 classes of 20 features around their means. Returns the loss of each step,
/// and the share of features that are classified correctly in the end.
fn train() -> Result<(Vec<f32>, f32)> {
    let device = &Device::Cpu;
    let labels = Tensor::from_iter((0..60u32).map(|i| i % 3), device)?;
    let noise = |i: u32| (f64::from(i) * 12.9898).sin();
    let feature =
        |i: u32| (0..8).map(move |d| noise(8 * i + d) + f64::from(2 * u32::from(d % 3 == i % 3)));
    let features = Tensor::from_iter((0..60).flat_map(feature), device)?;
    let features = features.reshape((60, 8))?.to_dtype(DType::F32)?;

    let variables = VarMap::new();
    // Weights that are the same every time, in place of those that `new` would draw.
    let weight = Tensor::from_iter((0..24).map(noise), device)?.reshape((3, 8))?;
    let weight = Var::from_tensor(&weight.to_dtype(DType::F32)?)?;
    variables.data().lock().unwrap().insert("weight".to_owned(), weight);
    let head = ArcFace::new(8, 3, VarBuilder::from_varmap(&variables, DType::F32, device))?;
    let mut optimizer = SGD::new(variables.all_vars(), 0.1)?;
    let mut losses = Vec::new();
    for _ in 0..30 {
        let loss = cross_entropy(&head.training_scores(&features, &labels)?, &labels)?;
        optimizer.backward_step(&loss)?;
        losses.push(loss.to_scalar()?);
    }
    let correct = count_correct(&head.scores(&features)?, &labels)?.to_scalar::<u32>()?;
    Ok((losses, correct as f32 / 60.0))
}

fn main() -> Result<()> {
    let (losses, accuracy) = train()?;
    println!("loss {} → {}, accuracy {accuracy}", losses[0], losses[losses.len() - 1]);
    Ok(())
}

#[test]
fn the_loss_falls() {
    let (losses, accuracy) = train().unwrap();
    assert!(losses[losses.len() - 1] < 0.5 * losses[0], "{losses:?}");
    assert!(accuracy > 0.9, "{accuracy}");
}
