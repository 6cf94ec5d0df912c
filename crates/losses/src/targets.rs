//! Losses with other targets than one label an image.

use candle_core::{D, Tensor};
use fewshot_ops::cross_entropy;

use crate::Error;

/// Cross entropy whose target is `1 - smoothing` at the label and `smoothing / C` at each class beside
/// that, as PyTorch's `label_smoothing`: a scalar, of `scores [B, C]` and `labels [B]` of `u32`.
///
/// # Errors
/// Those of [`cross_entropy`].
pub fn smoothed_cross_entropy(
    scores: &Tensor,
    labels: &Tensor,
    smoothing: f64,
) -> Result<Tensor, Error> {
    let loss = cross_entropy(scores, labels)?;
    if smoothing == 0.0 {
        return Ok(loss);
    }
    // The mean over classes of -log p_c is that of the label, plus its score minus the mean score.
    let of_label = scores.gather(&labels.unsqueeze(1)?, 1)?.mean_all()?;
    let more = (of_label - scores.mean_all()?)?;
    Ok((loss + (more * smoothing)?)?)
}

/// Cross entropy of `scores [B, C]` with the probabilities `targets [B, C]`, a scalar: the mean over the
/// batch of `-Σ target · log softmax(scores)`. It is the Kullback-Leibler divergence but for the
/// targets' own entropy, which has no gradient.
///
/// # Errors
/// Shapes that differ.
pub fn soft_cross_entropy(scores: &Tensor, targets: &Tensor) -> Result<Tensor, Error> {
    let products = (log_softmax(scores)? * targets)?;
    Ok(products.sum(D::Minus1)?.mean_all()?.neg()?)
}

/// Returns the logarithm of each row's softmax, `[B, C]`.
///
/// # Errors
/// Out of memory.
pub fn log_softmax(scores: &Tensor) -> Result<Tensor, Error> {
    // What is subtracted has no influence, and so needs no gradient.
    let scores = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?;
    let sums = scores.exp()?.sum_keepdim(D::Minus1)?;
    Ok(scores.broadcast_sub(&sums.log()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    const SCORES: [[f64; 4]; 3] =
        [[0.3, -1.2, 2.0, 0.7], [4.0, 3.0, -2.0, 0.1], [-0.5, -0.6, -0.7, 9.0]];

    fn scalar(tensor: &Tensor) -> f64 {
        tensor.to_scalar().unwrap()
    }

    /// Compares a loss's gradient with central differences of the loss.
    fn check_gradient(loss: impl Fn(&Tensor) -> Tensor) {
        let scores = Var::new(&SCORES, &Device::Cpu).unwrap();
        let gradients = loss(&scores).backward().unwrap();
        let gradient = gradients.get(&scores).unwrap().to_vec2::<f64>().unwrap();
        for (row, gradient) in gradient.into_iter().enumerate() {
            for (class, gradient) in gradient.into_iter().enumerate() {
                let at = |by: f64| {
                    let mut moved = SCORES;
                    moved[row][class] += by;
                    scalar(&loss(&Tensor::new(&moved, &Device::Cpu).unwrap()))
                };
                let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((gradient - expected).abs() < 1e-8, "{gradient} {expected}");
            }
        }
    }

    fn log_probability(row: usize, class: usize) -> f64 {
        let sum: f64 = SCORES[row].iter().map(|score| score.exp()).sum();
        SCORES[row][class] - sum.ln()
    }

    #[test]
    fn smoothing_spreads_the_target() {
        let labels = [2u32, 0, 1];
        let on_cpu = Tensor::new(&labels, &Device::Cpu).unwrap();
        for smoothing in [0.0, 0.1, 0.7] {
            let loss =
                |scores: &Tensor| smoothed_cross_entropy(scores, &on_cpu, smoothing).unwrap();
            let of_row = |row: usize| -> f64 {
                let target = |class| {
                    let at_label = f64::from(u8::from(class == labels[row] as usize));
                    (1.0 - smoothing) * at_label + smoothing / 4.0
                };
                (0..4).map(|class| -target(class) * log_probability(row, class)).sum()
            };
            let expected = (0..3).map(of_row).sum::<f64>() / 3.0;
            let scores = Tensor::new(&SCORES, &Device::Cpu).unwrap();
            assert!((scalar(&loss(&scores)) - expected).abs() < 1e-12);
            check_gradient(loss);
        }
    }

    #[test]
    fn soft_targets_are_weighed() {
        let targets = [[0.1, 0.2, 0.3, 0.4], [1.0, 0.0, 0.0, 0.0], [0.25; 4]];
        let on_cpu = Tensor::new(&targets, &Device::Cpu).unwrap();
        let loss = |scores: &Tensor| soft_cross_entropy(scores, &on_cpu).unwrap();
        let of_row = |row: usize| -> f64 {
            (0..4).map(|class| -targets[row][class] * log_probability(row, class)).sum()
        };
        let expected = (0..3).map(of_row).sum::<f64>() / 3.0;
        assert!(
            (scalar(&loss(&Tensor::new(&SCORES, &Device::Cpu).unwrap())) - expected).abs() < 1e-12
        );
        check_gradient(loss);
    }
}
