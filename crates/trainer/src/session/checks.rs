//! What is checked before a training starts or goes on.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use fewshot_data::OnBroken;
use fewshot_experiment::{
    Change, Checkpoint, Config, Error, Model, RunFolder, TrainingState, image_dtype,
};
use fewshot_models::Pass;

use crate::{Optimizer, ProcessGroup};

/// What a training goes on from, beside its model and its optimizer.
#[derive(Default)]
pub(super) struct Loaded {
    /// How far it had come.
    pub(super) state: TrainingState,
    /// Which of its settings are others now.
    pub(super) changes: Vec<Change>,
    /// All tensors that were saved beside the model.
    pub(super) beside: BTreeMap<String, Tensor>,
}

/// Loads a checkpoint and its optimizer's state. `images` is the number of training images.
pub(super) fn load(
    path: &Path,
    config: &Config,
    images: usize,
    model: &Model,
    optimizer: &mut Optimizer,
) -> Result<Loaded, Error> {
    let checkpoint = Checkpoint::read(path)?;
    let loaded = model.parameters.load(&checkpoint.tensors);
    loaded.map_err(|e| {
        let network = format!("{} with {}", config.method.backbone, config.method.classifier);
        Error::checkpoint(path, format!("does not hold a {network}: {}", Error::from(e)))
    })?;
    let of_optimizer = RunFolder::optimizer(path, &checkpoint)?;
    optimizer.load(&of_optimizer).map_err(|e| {
        let reason = "its training cannot go on by this `train.optimizer`: ".to_owned();
        let reason = reason + &Error::from(e).to_string();
        Error::checkpoint(path, reason)
    })?;
    let own = checkpoint.config.check().map_err(|e| Error::checkpoint(path, e))?;
    let state = checkpoint.state;
    if config.train.epochs < state.epochs {
        return Err(Error::Value {
            key: "train.epochs".to_owned(),
            got: config.train.epochs.to_string(),
            expected: format!("at least the {} that {} has had", state.epochs, path.display()),
        });
    }
    if state.steps > 0 {
        check_same_epoch(path, &state, &own, config, images)?;
    }
    Ok(Loaded { state, changes: config.changes_since(&own), beside: of_optimizer })
}

/// Checks that the rest of an epoch is the one that a checkpoint within the epoch left.
fn check_same_epoch(
    path: &Path,
    state: &TrainingState,
    own: &Config,
    config: &Config,
    images: usize,
) -> Result<(), Error> {
    let differs = |what: String| {
        let reason = format!(
            "was saved within an epoch, the rest of which depends on the order of its images; {what}. \
             Change it back, or resume from a checkpoint of a whole epoch (best.safetensors)"
        );
        Err(Error::checkpoint(path, reason))
    };
    let (before, now) = (own.train.batch_size, config.train.batch_size);
    if before != now {
        return differs(format!("`train.batch_size` was {before} and is {now}"));
    }
    if own.seed != config.seed {
        return differs(format!("`seed` was {} and is {}", own.seed, config.seed));
    }
    // Earlier versions did not save the number of images.
    if state.images > 0 && state.images != images {
        return differs(format!("there were {} training images and are {images}", state.images));
    }
    Ok(())
}

/// The smallest batch that the network can be trained on: two images if batch norms see but one value
/// of each channel of one. Only tried out where a batch may have one image.
///
/// # Errors
/// A batch size that leaves a last batch of one image, if that is too small.
pub(super) fn smallest_batch(
    config: &Config,
    images: usize,
    group: &ProcessGroup,
    device: &Device,
) -> Result<usize, Error> {
    let (batch_size, processes) = (config.train.batch_size, group.world_size);
    let of_each_process = |images: usize| images / processes;
    let last = images % batch_size;
    let is_last_one = of_each_process(last) == 1;
    let has_one = is_last_one || of_each_process(batch_size) == 1;
    let may_shrink = config.loader.on_broken == OnBroken::Skip;
    if !(has_one || may_shrink) || config.train.sync_batch_norm && processes > 1 {
        return Ok(1);
    }
    let size = config.method.image_size;
    let one = Tensor::zeros((1, 3, size, size), image_dtype(config), device)?;
    let trial = Model::new(config, 1, device)?.backbone;
    if trial.forward(&one, Pass::Train { seed: 0, forward: 0 }).is_ok() {
        return Ok(1);
    }
    if has_one {
        let backbone = config.method.backbone;
        let last = if is_last_one { "the last batch of an epoch" } else { "a batch" };
        return Err(Error::Value {
            key: "train.batch_size".to_owned(),
            got: format!("{batch_size}: {last} of {images} images has one image for a process"),
            expected: format!(
                "a size that leaves no batch of one image: {backbone} at {size} px cannot be trained \
                 on one, whose statistics batch norm would have to take"
            ),
        });
    }
    Ok(2)
}
