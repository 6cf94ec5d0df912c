//! Batch normalization of channels-last images.

use candle_core::{DType, Result, Tensor};

use super::{Gpu, Numbers, address, empty, launch};
use crate::launch::{Rows, Shape, width};

/// Blocks of kernels that leave partial sums, and of those that do not.
const SUMMING: usize = 1024;
const FLOWING: usize = 4096;

/// `x` as rows of channels.
fn rows(x: &Tensor) -> Result<(usize, usize)> {
    let (batch, height, width, channels) = x.dims4()?;
    Ok((batch * height * width, channels))
}

/// Mean, biased variance and `1 / sqrt(variance + eps)` of each channel of `x [B, H, W, C]`:
/// `[3, C]`.
pub(crate) fn moments(x: &Tensor, eps: f64) -> Result<Tensor> {
    let (gpu, numbers) = (Gpu::of(x.device())?, Numbers::of(x.dtype())?);
    let (count, channels) = rows(x)?;
    let from = address(x)?;
    let width = width(channels, numbers.wide(), &[from]);
    let layout = Rows::new(count, channels, width, SUMMING);
    let partial = empty((layout.chunks, 2, channels), numbers.real(), x.device())?;
    let statistics = empty((3, channels), numbers.real(), x.device())?;
    let name = Numbers::variant(width, "moments_single", "moments_wide");
    launch!(
        gpu,
        numbers,
        name,
        layout.shape(),
        from,
        address(&partial)?,
        count as u64,
        channels as u32
    );
    launch!(
        gpu,
        numbers,
        "moments_total",
        Shape::totals(channels),
        from,
        address(&partial)?,
        address(&statistics)?,
        count as u64,
        layout.chunks as u32,
        channels as u32,
        eps
    );
    Ok(statistics)
}

/// Statistics of all ranks' batches, each as large as this one of `own` statistics.
#[cfg(feature = "nccl")]
pub(crate) fn shared(own: &Tensor, eps: f64, by: &super::nccl::Shared) -> Result<Tensor> {
    let (gpu, numbers) = (Gpu::of(own.device())?, Numbers::of(own.dtype())?);
    let communicator = by.lock();
    let mean = own.get(0)?.copy()?;
    communicator.average_now(&mean)?;
    let channels = mean.elem_count();
    let variance = empty(channels, own.dtype(), own.device())?;
    launch!(
        gpu,
        numbers,
        "variance_about",
        Shape::flat(channels),
        address(own)?,
        address(&mean)?,
        address(&variance)?,
        channels as u32
    );
    communicator.average_now(&variance)?;
    running(&mean, &variance, eps)
}

/// Statistics `[3, C]` of running averages.
pub(crate) fn running(mean: &Tensor, variance: &Tensor, eps: f64) -> Result<Tensor> {
    let (gpu, numbers) = (Gpu::of(mean.device())?, Numbers::of(mean.dtype())?);
    let channels = mean.elem_count();
    let statistics = empty((3, channels), mean.dtype(), mean.device())?;
    launch!(
        gpu,
        numbers,
        "running_statistics",
        Shape::flat(channels),
        address(mean)?,
        address(variance)?,
        address(&statistics)?,
        channels as u32,
        eps
    );
    Ok(statistics)
}

/// Moves running averages towards `statistics`, in place.
pub(crate) fn update_running(
    statistics: &Tensor,
    [mean, variance]: [&Tensor; 2],
    momentum: f64,
    correction: f64,
) -> Result<()> {
    let (gpu, numbers) = (Gpu::of(mean.device())?, Numbers::of(mean.dtype())?);
    let channels = mean.elem_count();
    launch!(
        gpu,
        numbers,
        "update_running",
        Shape::flat(channels),
        address(statistics)?,
        address(mean)?,
        address(variance)?,
        channels as u32,
        numbers.scalar(momentum),
        numbers.scalar(correction)
    );
    Ok(())
}

/// Statistics, weight and bias.
pub(crate) struct Norm<'a> {
    pub(crate) statistics: Tensor,
    pub(crate) weight: &'a Tensor,
    pub(crate) bias: &'a Tensor,
    /// The activation's factor of negative values.
    pub(crate) slope: f64,
    /// What the statistics are shared by.
    #[cfg(feature = "nccl")]
    pub(crate) shared: Option<super::nccl::Shared>,
}

impl Norm<'_> {
    fn addresses(&self) -> Result<[u64; 3]> {
        Ok([address(&self.statistics)?, address(self.weight)?, address(self.bias)?])
    }

    /// `activation(norm(x) + residual)`.
    pub(crate) fn apply(&self, x: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        let (gpu, numbers) = (Gpu::of(x.device())?, Numbers::of(x.dtype())?);
        let (count, channels) = rows(x)?;
        let y = empty(x.shape(), x.dtype(), x.device())?;
        let from = address(x)?;
        let added = residual.map_or(Ok(0), address)?;
        let width = width(channels, numbers.wide(), &[from, added]);
        let layout = Rows::new(count, channels, width, FLOWING);
        let [statistics, weight, bias] = self.addresses()?;
        let name = Numbers::variant(width, "normalised_single", "normalised_wide");
        launch!(
            gpu,
            numbers,
            name,
            layout.shape(),
            from,
            added,
            address(&y)?,
            statistics,
            weight,
            bias,
            count as u64,
            channels as u32,
            numbers.scalar(self.slope)
        );
        Ok(y)
    }

    /// The gradients of input, weight and bias, and of the residual where there was one: then
    /// `y` is the output. `from_batch`: the statistics are those of `x`.
    pub(crate) fn gradients(
        &self,
        x: &Tensor,
        y: Option<&Tensor>,
        dy: &Tensor,
        from_batch: bool,
    ) -> Result<Gradients> {
        let (gpu, numbers) = (Gpu::of(x.device())?, Numbers::of(x.dtype())?);
        let (count, channels) = rows(x)?;
        let device = x.device();
        let like_x = || empty(x.shape(), x.dtype(), device);
        let vector = || empty(channels, numbers.real(), device);
        // Without an activation the residual's gradient is the output's.
        let residual = (y.is_some() && self.slope != 1.0).then(like_x).transpose()?;
        let (dx, dweight, dbias) = (like_x()?, vector()?, vector()?);
        let (from, slopes) = (address(x)?, address(dy)?);
        let signs = y.map_or(Ok(0), address)?;
        let width = width(channels, numbers.wide(), &[from, slopes, signs]);
        let [statistics, weight, bias] = self.addresses()?;

        let layout = Rows::new(count, channels, width, SUMMING);
        let partial = empty((layout.chunks, 2, channels), numbers.real(), device)?;
        let name = Numbers::variant(width, "norm_sums_single", "norm_sums_wide");
        launch!(
            gpu,
            numbers,
            name,
            layout.shape(),
            from,
            signs,
            slopes,
            residual.as_ref().map_or(Ok(0), address)?,
            statistics,
            weight,
            bias,
            address(&partial)?,
            count as u64,
            channels as u32,
            numbers.scalar(self.slope)
        );
        launch!(
            gpu,
            numbers,
            "norm_sums_total",
            Shape::totals(channels),
            address(&partial)?,
            address(&dweight)?,
            address(&dbias)?,
            layout.chunks as u32,
            channels as u32
        );
        // Images of all ranks have a part in the statistics. The parameters' gradients would
        // become these averages later on.
        #[cfg(feature = "nccl")]
        if let Some(shared) = &self.shared {
            let communicator = shared.lock();
            communicator.average_now(&dweight)?;
            communicator.average_now(&dbias)?;
        }

        let layout = Rows::new(count, channels, width, FLOWING);
        let share = if from_batch { 1.0 / count as f64 } else { 0.0 };
        // The residual's gradient is past the activation.
        let (slopes, slope) = match &residual {
            Some(residual) => (address(residual)?, 1.0),
            None => (slopes, self.slope),
        };
        let name = Numbers::variant(width, "norm_gradient_single", "norm_gradient_wide");
        launch!(
            gpu,
            numbers,
            name,
            layout.shape(),
            from,
            slopes,
            address(&dx)?,
            statistics,
            weight,
            bias,
            address(&dweight)?,
            address(&dbias)?,
            count as u64,
            channels as u32,
            numbers.scalar(slope),
            numbers.scalar(share)
        );
        Ok(Gradients { dx, dweight, dbias, residual })
    }
}

/// What [`Norm::gradients`] gives.
pub(crate) struct Gradients {
    pub(crate) dx: Tensor,
    pub(crate) dweight: Tensor,
    pub(crate) dbias: Tensor,
    /// Where it is not that of the output.
    pub(crate) residual: Option<Tensor>,
}

/// `statistics [3, C]` read back.
pub(crate) fn read(statistics: &Tensor) -> Result<Vec<Vec<f64>>> {
    let host = statistics.to_device(&candle_core::Device::Cpu)?;
    host.to_dtype(DType::F64)?.to_vec2()
}
