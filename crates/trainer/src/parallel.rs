//! Communication of several processes that train one model.

use candle_core::{Device, Tensor, backprop::GradStore};
use fewshot_experiment::Error;
use fewshot_ops::TapeContext;

use crate::ProcessGroup;

/// Communication of this process with the others of its group; does nothing in a group of one.
pub struct Parallel {
    /// The group, and the rank of this process.
    pub group: ProcessGroup,
    #[cfg(feature = "nccl")]
    communicator: Option<fewshot_ops::cuda::nccl::SharedCommunicator>,
}

impl Parallel {
    /// A process that is not connected with the others of its group yet.
    pub fn new(group: ProcessGroup) -> Self {
        Self {
            group,
            #[cfg(feature = "nccl")]
            communicator: None,
        }
    }

    /// Waits for the other processes and connects with them, unless that is done.
    ///
    /// # Errors
    /// Processes that do not come, or NCCL's.
    pub fn connect(&mut self, device: &Device) -> Result<(), Error> {
        #[cfg(feature = "nccl")]
        if self.group.world_size > 1 && self.communicator.is_none() {
            use fewshot_ops::cuda::nccl::{Communicator, SharedCommunicator, unique_id};

            use crate::rendezvous;

            let ProcessGroup { rank, world_size, rendezvous: (host, port), .. } = &self.group;
            let id = if self.group.is_first() {
                let id = unique_id()?;
                rendezvous::send(*port, &id, world_size - 1).map_err(Error::ProcessGroup)?;
                id
            } else {
                rendezvous::receive(host, *port).map_err(Error::ProcessGroup)?
            };
            let communicator = Communicator::new(device, *rank, *world_size, &id)?;
            self.communicator = Some(SharedCommunicator::new(communicator));
        }
        let _ = device;
        Ok(())
    }

    /// Returns the context of a training step. With `sync_batch_norm` batch norms take the
    /// statistics of all processes' images.
    pub fn tape_context(&self, sync_batch_norm: bool) -> TapeContext {
        let context = TapeContext::new();
        #[cfg(feature = "nccl")]
        if let (true, Some(communicator)) = (sync_batch_norm, &self.communicator) {
            return context.with_shared_statistics(communicator);
        }
        let _ = sync_batch_norm;
        context
    }

    /// Returns the gradients of a loss whose features were computed in `context`, averaged over
    /// all processes while the backward pass runs.
    ///
    /// # Errors
    /// As candle's, and NCCL's.
    pub fn backward<'a>(
        &self,
        context: &TapeContext,
        loss: &Tensor,
        parameters: impl Iterator<Item = &'a Tensor>,
    ) -> Result<GradStore, Error> {
        #[cfg(feature = "nccl")]
        if let Some(communicator) = &self.communicator {
            let sender = communicator.clone();
            let average = move |gradient: &Tensor| sender.lock().average(gradient);
            let gradients = context.backward_with(loss, average)?;
            let all: Vec<&Tensor> = parameters.filter_map(|p| gradients.get(p)).collect();
            communicator.lock().finish(all)?;
            return Ok(gradients);
        }
        let _ = parameters;
        Ok(context.backward(loss)?)
    }

    /// Whether the flag is raised in any process.
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
