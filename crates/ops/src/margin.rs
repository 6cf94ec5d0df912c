//! Scores with a margin, between a classifier's products and its loss.

use candle_core::backend::BackendStorage as _;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, WithDType, bail,
};

use crate::tensor::{Real, dispatch, on_cuda, slice, with_slice};

/// Options of [`margin_scores`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MarginOptions {
    /// Factor of the scores, the inverse temperature; applied last.
    pub scale: f64,
    /// Margin that is subtracted from the label's score, of either sign.
    pub margin: f64,
    /// Whether each row's smallest score is subtracted from all scores of the row.
    pub subtract_min: bool,
}

/// Returns `scale · (z - min(z) - margin · [class = label])` for each row of `z [B, C]`; `labels
/// [B]` of `u32`, without which no margin is subtracted.
///
/// The gradient of the smallest score goes to the first class that has it.
///
/// # Errors
/// Labels of another length or type, or a label outside the classes. GPUs are not waited for:
/// there such a label has no margin subtracted instead.
pub fn margin_scores(
    z: &Tensor,
    labels: Option<&Tensor>,
    options: MarginOptions,
) -> Result<Tensor> {
    let (batch, classes) = z.dims2()?;
    if classes == 0 {
        bail!("margin_scores: no classes")
    }
    let z = z.contiguous()?;
    let Some(labels) = labels else { return z.apply_op1(MarginScores(options)) };
    if labels.dims() != [batch] || labels.dtype() != DType::U32 {
        let (z, l, t) = (z.dims(), labels.dims(), labels.dtype());
        bail!("margin_scores: scores {z:?}, labels {l:?} {t:?}, expected [B, C] and [B] of U32")
    }
    z.apply_op2(&labels.contiguous()?, MarginScores(options))
}

struct MarginScores(MarginOptions);

/// Returns the index of a row's smallest score, the first of equals.
fn argmin<T: Real>(row: &[T]) -> usize {
    (1..row.len()).fold(0, |at, i| if row[i] < row[at] { i } else { at })
}

impl MarginScores {
    fn forward(
        &self,
        z: &CpuStorage,
        layout: &Layout,
        labels: Option<&[u32]>,
    ) -> Result<(CpuStorage, Shape)> {
        let MarginOptions { scale, margin, subtract_min } = self.0;
        let (_, classes) = layout.shape().dims2()?;
        if let Some(label) = labels.unwrap_or_default().iter().find(|&&l| l as usize >= classes) {
            bail!("margin_scores: label {label}, expected below {classes}")
        }
        dispatch!("margin_scores", z.dtype(), T => {
            let (scale, margin) = (T::from_f64(scale), T::from_f64(margin));
            let mut y = slice::<T>(z, layout)?.to_vec();
            for (i, row) in y.chunks_exact_mut(classes).enumerate() {
                let min = if subtract_min { row[argmin(row)] } else { T::default() };
                row.iter_mut().for_each(|v| *v -= min);
                if let Some(labels) = labels {
                    row[labels[i] as usize] -= margin;
                }
                row.iter_mut().for_each(|v| *v *= scale);
            }
            Ok((T::to_cpu_storage_owned(y), layout.shape().clone()))
        })
    }

    fn gradient(&self, z: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let MarginOptions { scale, subtract_min, .. } = self.0;
        let dy = &dy.contiguous()?;
        on_cuda!(z, crate::cuda::heads::margin_scores_gradient(z, dy, scale, subtract_min));
        let (_, classes) = z.dims2()?;
        dispatch!("margin_scores", z.dtype(), T => {
            let scale = T::from_f64(scale);
            let dz = with_slice::<T, _>(z, |z| with_slice::<T, _>(dy, |dy| {
                let mut dz = dy.to_vec();
                for (d, row) in dz.chunks_exact_mut(classes).zip(z.chunks_exact(classes)) {
                    d.iter_mut().for_each(|d| *d *= scale);
                    if subtract_min {
                        let sum: T = d.iter().copied().sum();
                        d[argmin(row)] -= sum;
                    }
                }
                dz
            }))??;
            Tensor::from_vec(dz, z.shape(), z.device())
        })
    }
}

impl CustomOp1 for MarginScores {
    fn name(&self) -> &'static str {
        "margin_scores"
    }

    fn cpu_fwd(&self, z: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.forward(z, layout, None)
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        z: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let MarginOptions { scale, subtract_min, .. } = self.0;
        let options = (scale, 0.0, subtract_min);
        let y = crate::cuda::heads::margin_scores((z, layout), None, options)?;
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, z: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        self.gradient(z, dy).map(Some)
    }
}

impl CustomOp2 for MarginScores {
    fn name(&self) -> &'static str {
        "margin_scores"
    }

    fn cpu_fwd(
        &self,
        z: &CpuStorage,
        layout: &Layout,
        labels: &CpuStorage,
        labels_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let Some((start, end)) = labels_layout.contiguous_offsets() else {
            bail!("margin_scores: labels are not contiguous")
        };
        self.forward(z, layout, Some(&labels.as_slice::<u32>()?[start..end]))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        z: &candle_core::CudaStorage,
        layout: &Layout,
        labels: &candle_core::CudaStorage,
        labels_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let MarginOptions { scale, margin, subtract_min } = self.0;
        let labels = Some((labels, labels_layout));
        let options = (scale, margin, subtract_min);
        let y = crate::cuda::heads::margin_scores((z, layout), labels, options)?;
        Ok((y, layout.shape().clone()))
    }

    fn bwd(
        &self,
        z: &Tensor,
        _: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(self.gradient(z, dy)?), None))
    }
}

/// Counts the rows of `scores [B, C]` whose largest score, the first of equals, is their label's.
/// Returns a scalar of `u32`, so that GPUs are not waited for.
///
/// # Errors
/// Labels of another length or type.
pub fn count_correct(scores: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let (batch, classes) = scores.dims2()?;
    if labels.dims() != [batch] || labels.dtype() != DType::U32 || classes == 0 {
        let (s, l, t) = (scores.dims(), labels.dims(), labels.dtype());
        bail!("count_correct: scores {s:?}, labels {l:?} {t:?}, expected [B, C] and [B] of U32")
    }
    let (scores, labels) = (scores.detach().contiguous()?, labels.contiguous()?);
    on_cuda!(scores, crate::cuda::heads::count_correct(&scores, &labels));
    let labels = labels.to_vec1::<u32>()?;
    dispatch!("count_correct", scores.dtype(), T => {
        let count = with_slice::<T, _>(&scores, |scores| {
            let is_correct = |(row, label): (&[T], u32)| {
                let larger = |at: usize, i: usize| if row[i] > row[at] { i } else { at };
                (1..classes).fold(0, larger) == label as usize
            };
            scores.chunks_exact(classes).zip(labels).filter(|&row| is_correct(row)).count()
        })?;
        Tensor::new(count as u32, scores.device())
    })
}
