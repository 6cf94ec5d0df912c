//! Normalization of rows to unit length.

use candle_core::backend::BackendStorage as _;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType};

use crate::tensor::{Real, dispatch, on_cuda, slice, with_slice};

/// Minimum divisor: shorter rows are divided by it instead of by their length, as in PyTorch.
const MIN_LENGTH: f64 = 1e-12;

/// Divides each row of `x [B, D]` by its Euclidean length, or by 1e-12 if that is larger.
///
/// Unlike that of a chain of square, sum, root and division, the gradient of a zero row is finite.
///
/// # Errors
/// Another rank or number type.
pub fn l2_normalize(x: &Tensor) -> Result<Tensor> {
    x.dims2()?;
    x.contiguous()?.apply_op1(Normalize)
}

struct Normalize;

fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a.to_f64() * b.to_f64()).sum()
}

impl CustomOp1 for Normalize {
    fn name(&self) -> &'static str {
        "l2_normalize"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, columns) = layout.shape().dims2()?;
        dispatch!("l2_normalize", x.dtype(), T => {
            let mut y = slice::<T>(x, layout)?.to_vec();
            for row in y.chunks_exact_mut(columns.max(1)) {
                let inverse = T::from_f64(1.0 / dot(row, row).sqrt().max(MIN_LENGTH));
                row.iter_mut().for_each(|v| *v *= inverse);
            }
            Ok((T::to_cpu_storage_owned(y), layout.shape().clone()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let y = crate::cuda::heads::unit_rows(x, layout, MIN_LENGTH)?;
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dy = &dy.contiguous()?;
        on_cuda!(x, crate::cuda::heads::unit_rows_gradient([x, y, dy], MIN_LENGTH).map(Some));
        let (_, columns) = x.dims2()?;
        let columns = columns.max(1);
        dispatch!("l2_normalize", x.dtype(), T => {
            let mut dx = dy.flatten_all()?.to_vec1::<T>()?;
            with_slice::<T, _>(x, |x| with_slice::<T, _>(y, |y| {
                let rows = x.chunks_exact(columns).zip(y.chunks_exact(columns));
                for (d, (x, y)) in dx.chunks_exact_mut(columns).zip(rows) {
                    let length = dot(x, x).sqrt();
                    // The component along the row would change its length alone.
                    let along = if length > MIN_LENGTH { dot(d, y) } else { 0.0 };
                    let (along, inverse) = (T::from_f64(along), T::from_f64(1.0 / length.max(MIN_LENGTH)));
                    d.iter_mut().zip(y).for_each(|(d, &y)| *d = (*d - y * along) * inverse);
                }
            }))??;
            Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
        })
    }
}
