//! Batch normalization of channels-last images.

use candle_core::{DType, Result, Tensor};

use super::{Gpu, NumberType, address, empty, launch};
use crate::launch::{LaunchShape, RowLayout, width};

/// Most blocks of kernels that write partial sums, and of those that do not.
const SUM_BLOCKS: usize = 1024;
const MAP_BLOCKS: usize = 4096;

/// Returns the sizes of `x [B, H, W, C]` as rows of channels: `(B·H·W, C)`.
fn rows(x: &Tensor) -> Result<(usize, usize)> {
    let (batch, height, width, channels) = x.dims4()?;
    Ok((batch * height * width, channels))
}

/// Computes mean, biased variance and `1 / sqrt(variance + eps)` of each channel of
/// `x [B, H, W, C]`; returns `[3, C]`.
pub(crate) fn moments(x: &Tensor, eps: f64) -> Result<Tensor> {
    let (gpu, number_type) = (Gpu::of(x.device())?, NumberType::of(x.dtype())?);
    let (count, channels) = rows(x)?;
    let from = address(x)?;
    let width = width(channels, number_type.wide(), &[from]);
    let layout = RowLayout::new(count, channels, width, SUM_BLOCKS);
    let partial = empty((layout.chunks, 2, channels), number_type.real(), x.device())?;
    let statistics = empty((3, channels), number_type.real(), x.device())?;
    let name = NumberType::variant(width, "moments_single", "moments_wide");
    launch!(
        gpu,
        number_type,
        name,
        layout.shape(),
        from,
        address(&partial)?,
        count as u64,
        channels as u32
    );
    launch!(
        gpu,
        number_type,
        "moments_total",
        LaunchShape::channel_totals(channels),
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

/// Combines this rank's `local` statistics with those of all other ranks, whose batches must be
/// as large as this one.
#[cfg(feature = "nccl")]
pub(crate) fn shared(
    local: &Tensor,
    eps: f64,
    communicator: &super::nccl::SharedCommunicator,
) -> Result<Tensor> {
    let (gpu, number_type) = (Gpu::of(local.device())?, NumberType::of(local.dtype())?);
    let communicator = communicator.lock();
    let mean = local.get(0)?.copy()?;
    communicator.average_now(&mean)?;
    let channels = mean.elem_count();
    let variance = empty(channels, local.dtype(), local.device())?;
    launch!(
        gpu,
        number_type,
        "variance_about",
        LaunchShape::linear(channels),
        address(local)?,
        address(&mean)?,
        address(&variance)?,
        channels as u32
    );
    communicator.average_now(&variance)?;
    running(&mean, &variance, eps)
}

/// Returns statistics `[3, C]` that consist of running averages.
pub(crate) fn running(mean: &Tensor, variance: &Tensor, eps: f64) -> Result<Tensor> {
    let (gpu, number_type) = (Gpu::of(mean.device())?, NumberType::of(mean.dtype())?);
    let channels = mean.elem_count();
    let statistics = empty((3, channels), mean.dtype(), mean.device())?;
    launch!(
        gpu,
        number_type,
        "running_statistics",
        LaunchShape::linear(channels),
        address(mean)?,
        address(variance)?,
        address(&statistics)?,
        channels as u32,
        eps
    );
    Ok(statistics)
}

/// Updates running averages with a batch's `statistics`, in place. `correction` makes the batch's
/// variance unbiased.
pub(crate) fn update_running(
    statistics: &Tensor,
    [mean, variance]: [&Tensor; 2],
    momentum: f64,
    correction: f64,
) -> Result<()> {
    let (gpu, number_type) = (Gpu::of(mean.device())?, NumberType::of(mean.dtype())?);
    let channels = mean.elem_count();
    launch!(
        gpu,
        number_type,
        "update_running",
        LaunchShape::linear(channels),
        address(statistics)?,
        address(mean)?,
        address(variance)?,
        channels as u32,
        number_type.scalar(momentum),
        number_type.scalar(correction)
    );
    Ok(())
}

/// A batch norm with an activation.
pub(crate) struct Norm<'a> {
    pub(crate) statistics: Tensor,
    pub(crate) weight: &'a Tensor,
    pub(crate) bias: &'a Tensor,
    /// Slope of the activation for negative values; 1 is no activation.
    pub(crate) slope: f64,
    /// Communicator of the ranks that share the statistics.
    #[cfg(feature = "nccl")]
    pub(crate) shared: Option<super::nccl::SharedCommunicator>,
}

impl Norm<'_> {
    fn addresses(&self) -> Result<[u64; 3]> {
        Ok([address(&self.statistics)?, address(self.weight)?, address(self.bias)?])
    }

    /// Returns `activation(norm(x) + residual)`.
    pub(crate) fn apply(&self, x: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        let (gpu, number_type) = (Gpu::of(x.device())?, NumberType::of(x.dtype())?);
        let (count, channels) = rows(x)?;
        let y = empty(x.shape(), x.dtype(), x.device())?;
        let from = address(x)?;
        let added = residual.map_or(Ok(0), address)?;
        let width = width(channels, number_type.wide(), &[from, added]);
        let layout = RowLayout::new(count, channels, width, MAP_BLOCKS);
        let [statistics, weight, bias] = self.addresses()?;
        let name = NumberType::variant(width, "normalized_single", "normalized_wide");
        launch!(
            gpu,
            number_type,
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
            number_type.scalar(self.slope)
        );
        Ok(y)
    }

    /// Computes the gradients of input, weight and bias, and of the residual if there was one: then
    /// `y` is the output. `is_batch_statistics` says that the statistics are those of `x`.
    pub(crate) fn gradients(
        &self,
        x: &Tensor,
        y: Option<&Tensor>,
        dy: &Tensor,
        is_batch_statistics: bool,
    ) -> Result<Gradients> {
        let (gpu, number_type) = (Gpu::of(x.device())?, NumberType::of(x.dtype())?);
        let (count, channels) = rows(x)?;
        let device = x.device();
        let like_x = || empty(x.shape(), x.dtype(), device);
        let vector = || empty(channels, number_type.real(), device);
        // Without an activation the residual's gradient is the output's.
        let residual = (y.is_some() && self.slope != 1.0).then(like_x).transpose()?;
        let (dx, dweight, dbias) = (like_x()?, vector()?, vector()?);
        let (from, slopes) = (address(x)?, address(dy)?);
        let signs = y.map_or(Ok(0), address)?;
        let width = width(channels, number_type.wide(), &[from, slopes, signs]);
        let [statistics, weight, bias] = self.addresses()?;

        let layout = RowLayout::new(count, channels, width, SUM_BLOCKS);
        let partial = empty((layout.chunks, 2, channels), number_type.real(), device)?;
        let name = NumberType::variant(width, "norm_sums_single", "norm_sums_wide");
        launch!(
            gpu,
            number_type,
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
            number_type.scalar(self.slope)
        );
        launch!(
            gpu,
            number_type,
            "norm_sums_total",
            LaunchShape::channel_totals(channels),
            address(&partial)?,
            address(&dweight)?,
            address(&dbias)?,
            layout.chunks as u32,
            channels as u32
        );
        // The statistics depend on the images of all ranks, so that their gradients need the sums
        // of all ranks. For weight and bias, these averages are taken before those of all gradients.
        #[cfg(feature = "nccl")]
        if let Some(shared) = &self.shared {
            let communicator = shared.lock();
            communicator.average_now(&dweight)?;
            communicator.average_now(&dbias)?;
        }

        let layout = RowLayout::new(count, channels, width, MAP_BLOCKS);
        let share = if is_batch_statistics { 1.0 / count as f64 } else { 0.0 };
        // The residual's gradient has passed the activation already.
        let (slopes, slope) = match &residual {
            Some(residual) => (address(residual)?, 1.0),
            None => (slopes, self.slope),
        };
        let name = NumberType::variant(width, "norm_gradient_single", "norm_gradient_wide");
        launch!(
            gpu,
            number_type,
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
            number_type.scalar(slope),
            number_type.scalar(share)
        );
        Ok(Gradients { dx, dweight, dbias, residual })
    }
}

/// Gradients that [`Norm::gradients`] computes.
pub(crate) struct Gradients {
    pub(crate) dx: Tensor,
    pub(crate) dweight: Tensor,
    pub(crate) dbias: Tensor,
    /// Gradient of the residual; `None` if it is the output's.
    pub(crate) residual: Option<Tensor>,
}

/// Copies `statistics [3, C]` to the CPU.
pub(crate) fn read(statistics: &Tensor) -> Result<Vec<Vec<f64>>> {
    let host = statistics.to_device(&candle_core::Device::Cpu)?;
    host.to_dtype(DType::F64)?.to_vec2()
}
