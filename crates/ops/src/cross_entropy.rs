//! Cross entropy of scores.

use candle_core::backend::BackendStorage as _;
use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, WithDType, bail};

use crate::tensor::{Real, dispatch, on_cuda, slice, with_slice};

/// Returns the mean over the batch of `-log softmax(scores)[label]`, a scalar: `scores [B, C]`,
/// `labels [B]` of `u32` below C.
///
/// # Errors
/// An empty batch, labels of another length or type, or a label outside the classes. GPUs are not
/// waited for: there such a label makes the loss NaN instead.
pub fn cross_entropy(scores: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let (batch, classes) = scores.dims2()?;
    if labels.dims() != [batch] || labels.dtype() != DType::U32 || batch == 0 || classes == 0 {
        let (s, l, t) = (scores.dims(), labels.dims(), labels.dtype());
        bail!("cross_entropy: scores {s:?}, labels {l:?} {t:?}, expected [B, C] and [B] of U32")
    }
    scores.contiguous()?.apply_op2(&labels.contiguous()?, CrossEntropy)
}

struct CrossEntropy;

/// Returns the largest score of a row, and the sum of `exp(score - largest)` over all scores.
fn max_and_exp_sum<T: Real>(row: &[T]) -> (f64, f64) {
    let largest = row.iter().map(|v| v.to_f64()).fold(f64::NEG_INFINITY, f64::max);
    (largest, row.iter().map(|v| (v.to_f64() - largest).exp()).sum())
}

impl CustomOp2 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn cpu_fwd(
        &self,
        scores: &CpuStorage,
        scores_layout: &Layout,
        labels: &CpuStorage,
        labels_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, classes) = scores_layout.shape().dims2()?;
        let labels = match labels_layout.contiguous_offsets() {
            Some((start, end)) => &labels.as_slice::<u32>()?[start..end],
            None => bail!("cross_entropy: labels are not contiguous"),
        };
        if let Some(label) = labels.iter().find(|&&label| label as usize >= classes) {
            bail!("cross_entropy: label {label}, expected below {classes}")
        }
        dispatch!("cross_entropy", scores.dtype(), T => {
            let rows = slice::<T>(scores, scores_layout)?.chunks_exact(classes);
            let loss = rows.zip(labels).map(|(row, &label)| {
                let (largest, sum) = max_and_exp_sum(row);
                sum.ln() + largest - row[label as usize].to_f64()
            });
            let mean = loss.sum::<f64>() / batch as f64;
            Ok((T::to_cpu_storage_owned(vec![T::from_f64(mean)]), Shape::from(())))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        scores: &candle_core::CudaStorage,
        scores_layout: &Layout,
        labels: &candle_core::CudaStorage,
        labels_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let (scores, labels) = ((scores, scores_layout), (labels, labels_layout));
        Ok((crate::cuda::heads::cross_entropy(scores, labels)?, Shape::from(())))
    }

    fn bwd(
        &self,
        scores: &Tensor,
        labels: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (batch, classes) = scores.dims2()?;
        on_cuda!(
            scores,
            crate::cuda::heads::cross_entropy_gradient(scores, labels, dy).map(|d| (Some(d), None))
        );
        let labels = labels.to_vec1::<u32>()?;
        dispatch!("cross_entropy", scores.dtype(), T => {
            let share = dy.to_scalar::<T>()?.to_f64() / batch as f64;
            let gradient = with_slice::<T, _>(scores, |scores| {
                let mut gradient = scores.to_vec();
                for (row, &label) in gradient.chunks_exact_mut(classes).zip(&labels) {
                    let (largest, sum) = max_and_exp_sum(row);
                    for (c, v) in row.iter_mut().enumerate() {
                        let target = f64::from(u8::from(c == label as usize));
                        *v = T::from_f64(share * ((v.to_f64() - largest).exp() / sum - target));
                    }
                }
                gradient
            })?;
            Ok((Some(Tensor::from_vec(gradient, scores.shape(), scores.device())?), None))
        })
    }
}
