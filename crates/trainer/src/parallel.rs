//! Several processes that train one model.

use candle_core::{Device, Tensor, backprop::GradStore};
use fewshot_experiment::{Config, DeviceKind, Error};

use crate::Ranks;

/// What this process says to the others, where there are any.
pub struct Parallel {
    /// Which process this is.
    pub ranks: Ranks,
    #[cfg(feature = "nccl")]
    communicator: Option<fewshot_ops::cuda::nccl::Shared>,
}

fn error(what: impl Into<String>) -> Error {
    Error::Syntax(what.into())
}

impl Parallel {
    /// A process alone.
    pub fn alone() -> Self {
        Self {
            ranks: Ranks::default(),
            #[cfg(feature = "nccl")]
            communicator: None,
        }
    }

    /// Gives the configuration of this process among `ranks`: each has a GPU of its own.
    ///
    /// # Errors
    /// Settings that several processes cannot train by.
    pub fn configure(ranks: &Ranks, config: &mut Config) -> Result<(), Error> {
        if ranks.count == 1 {
            return Ok(());
        }
        let refuse = |key: &str, got: String, expected: &str| {
            let expected = format!("{expected} for {} processes", ranks.count);
            Err(Error::Value { key: key.to_owned(), got, expected })
        };
        if !cfg!(feature = "nccl") {
            return Err(error(format!(
                "{} processes (WORLD_SIZE or SLURM_NTASKS) take a build with --features nccl; \
                 alone, unset them",
                ranks.count
            )));
        }
        if config.device == DeviceKind::Cpu {
            return refuse("device", config.device.to_string(), "cuda:0");
        }
        let batch = config.train.batch_size;
        if !batch.is_multiple_of(ranks.count) {
            return refuse("train.batch_size", batch.to_string(), "a multiple of their number");
        }
        if config.loader.on_broken == fewshot_data::OnBroken::Skip {
            return refuse("loader.on_broken", "skip".to_owned(), "error");
        }
        config.device = DeviceKind::Cuda(ranks.local);
        Ok(())
    }

    /// Meets the others.
    ///
    /// # Errors
    /// Ranks that do not come, or NCCL's.
    pub fn meet(ranks: Ranks, device: &Device) -> Result<Self, Error> {
        if ranks.count == 1 {
            return Ok(Self::alone());
        }
        #[cfg(feature = "nccl")]
        {
            use fewshot_ops::cuda::nccl::{Communicator, Shared, unique_id};
            let (host, port) = &ranks.meeting;
            let id = if ranks.is_first() {
                let id = unique_id()?;
                crate::meeting::tell(*port, &id, ranks.count - 1).map_err(error)?;
                id
            } else {
                crate::meeting::hear(host, *port).map_err(error)?
            };
            let communicator = Communicator::new(device, ranks.rank, ranks.count, &id)?;
            Ok(Self { ranks, communicator: Some(Shared::new(communicator)) })
        }
        #[cfg(not(feature = "nccl"))]
        {
            let _ = device;
            Err(error("this build has no feature `nccl`"))
        }
    }

    /// Runs a forward pass. With `sync_batch_norm` batch norms take the statistics of all
    /// processes' images.
    pub fn forward<T>(&self, sync_batch_norm: bool, forward: impl FnOnce() -> T) -> T {
        #[cfg(feature = "nccl")]
        if let (true, Some(communicator)) = (sync_batch_norm, &self.communicator) {
            return communicator.share_statistics(forward);
        }
        let _ = sync_batch_norm;
        forward()
    }

    /// Gradients of a loss, averaged over all processes while the way back goes on.
    ///
    /// # Errors
    /// As candle's, and NCCL's.
    pub fn backward<'a>(
        &self,
        loss: &Tensor,
        parameters: impl Iterator<Item = &'a Tensor>,
    ) -> Result<GradStore, Error> {
        #[cfg(feature = "nccl")]
        if let Some(communicator) = &self.communicator {
            let sender = communicator.clone();
            let ready = move |gradient: &Tensor| sender.lock().average(gradient);
            let gradients = fewshot_ops::backward_with(loss, ready)?;
            let all: Vec<&Tensor> = parameters.filter_map(|p| gradients.get(p)).collect();
            communicator.lock().finish(all)?;
            return Ok(gradients);
        }
        let _ = parameters;
        Ok(fewshot_ops::backward(loss)?)
    }

    /// Whether any process says so.
    ///
    /// # Errors
    /// NCCL's.
    pub fn any(&self, flag: bool) -> Result<bool, Error> {
        #[cfg(feature = "nccl")]
        if let Some(communicator) = &self.communicator {
            return Ok(communicator.lock().any(flag)?);
        }
        Ok(flag)
    }
}
