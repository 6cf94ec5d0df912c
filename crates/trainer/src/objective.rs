//! What a training step minimises: the classifier's cross entropy, and what the settings add to it.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result as TensorResult, Tensor, Var, bail};
use fewshot_experiment::{Checkpoint, Config, DeviceBatch, Error, Model};
use fewshot_losses::{
    RotationHead, log_softmax, quarter_turns, smoothed_cross_entropy, soft_cross_entropy,
};
use fewshot_models::{Parameters, Pass};
use fewshot_ops::{Mixing, TapeContext};
use fewshot_seed::stream;
use rand::seq::SliceRandom;
use rand_distr::{Beta, Distribution};

/// Number of places at which manifold mixup mixes: before the network, and behind its first three
/// stages.
const MIXING_PLACES: usize = 4;

/// The loss of training steps, with the parameters that training alone has.
pub(crate) struct Objective {
    seed: u64,
    smoothing: f64,
    mixup: Option<Beta<f64>>,
    rotation: Option<Rotation>,
    teacher: Option<Teacher>,
}

/// The classifier of quarter turns.
struct Rotation {
    weight: f64,
    head: RotationHead,
    parameters: Parameters,
}

/// The network whose scores are learned, too.
struct Teacher {
    model: Model,
    temperature: f64,
    weight: f64,
}

/// A step's loss, and the scores of its images as they are, not turned.
pub(crate) struct Evaluated {
    /// What is minimised, a scalar.
    pub(crate) loss: Tensor,
    /// Scores with the margin at the label, `[B, C]`.
    pub(crate) scores: Tensor,
    /// Scores without margin, `[B, C]`; without gradient.
    pub(crate) plain: Tensor,
}

impl Objective {
    /// # Errors
    /// A teacher that cannot be read, or of other classes or images.
    pub(crate) fn new(config: &Config, model: &Model, device: &Device) -> Result<Self, Error> {
        let train = &config.train;
        let features = config.method.backbone.features(config.method.image_size);
        let rotation = (train.rotation > 0.0).then(|| -> Result<_, Error> {
            let parameters = Parameters::new(config.seed);
            let builder = parameters.builder(DType::F32, device).pp("rotation");
            let head = RotationHead::new(features.unwrap_or_default(), builder)?;
            Ok(Rotation { weight: train.rotation, head, parameters })
        });
        let mixup = (train.manifold_mixup > 0.0).then(|| {
            Beta::new(train.manifold_mixup, train.manifold_mixup)
                .map_err(|e| candle_core::Error::Msg(format!("train.manifold_mixup: {e}")))
        });
        Ok(Self {
            seed: config.seed,
            smoothing: train.label_smoothing,
            mixup: mixup.transpose()?,
            rotation: rotation.transpose()?,
            teacher: Teacher::new(config, model, device)?,
        })
    }

    /// The parameters that training alone has, to be optimised beside the model's.
    pub(crate) fn parameters(&self) -> BTreeMap<String, Var> {
        self.rotation.iter().flat_map(|rotation| rotation.parameters.all()).collect()
    }

    /// Restores the parameters from what [`parameters`](Self::parameters) had.
    ///
    /// # Errors
    /// A parameter that is absent or of another shape.
    pub(crate) fn load(&self, tensors: &BTreeMap<String, Tensor>) -> TensorResult<()> {
        for (name, variable) in self.parameters() {
            match tensors.get(&name) {
                Some(tensor) if tensor.dims() == variable.dims() => {
                    variable.set(&tensor.to_device(variable.device())?)?;
                }
                _ => bail!("the state of a training without `{name}`"),
            }
        }
        Ok(())
    }

    /// Computes the loss of a batch. `place` is the position in the training and the number of the
    /// process, from which random numbers are drawn.
    ///
    /// # Errors
    /// As the network's.
    pub(crate) fn evaluate(
        &self,
        model: &Model,
        batch: &DeviceBatch,
        pass: Pass,
        place: [u64; 2],
        context: TapeContext,
    ) -> Result<Evaluated, Error> {
        let count = batch.labels.elem_count();
        let (images, labels) = match &self.rotation {
            None => (batch.images.clone(), batch.labels.clone()),
            Some(_) => (quarter_turns(&batch.images)?, Tensor::cat(&[&batch.labels; 4], 0)?),
        };
        let mixing = self.mixing(labels.elem_count(), place, labels.device())?;
        let context = match &mixing {
            None => context,
            Some(mixing) => context.with_mixing(mixing.clone()),
        };
        let features = model.backbone.forward_with(&images, pass, &context)?;
        let head = model.head()?;
        let (scores, plain) = head.training_and_plain_scores(&features, &labels)?;
        let smoothed = |scores: &Tensor, labels: &Tensor| -> Result<Tensor, Error> {
            Ok(smoothed_cross_entropy(scores, labels, self.smoothing)?)
        };
        let mut loss = smoothed(&scores, &labels)?;
        if let Some(mixing) = &mixing {
            // Each image is of two classes, and the margin belongs to the label that is asked for.
            let others = labels.index_select(mixing.order(), 0)?;
            let of_others = smoothed(&head.training_scores(&features, &others)?, &others)?;
            loss = shares(&loss, &of_others, mixing.share())?;
        }
        if let Some(teacher) = &self.teacher {
            let learned = teacher.loss(&images, &head.scores(&features)?, mixing.as_ref())?;
            loss = shares(&learned, &loss, teacher.weight)?;
        }
        if let Some(rotation) = &self.rotation {
            let turns = rotation.head.labels(count)?;
            let scores = rotation.head.scores(&features)?;
            let mut of_turns = smoothed_cross_entropy(&scores, &turns, 0.0)?;
            if let Some(mixing) = &mixing {
                let others = turns.index_select(mixing.order(), 0)?;
                let of_others = smoothed_cross_entropy(&scores, &others, 0.0)?;
                of_turns = shares(&of_turns, &of_others, mixing.share())?;
            }
            loss = (loss + (of_turns * rotation.weight)?)?;
        }
        let upright = |scores: Tensor| match &self.rotation {
            None => Ok(scores),
            Some(_) => scores.narrow(0, 0, count)?.contiguous(),
        };
        Ok(Evaluated { loss, scores: upright(scores)?, plain: upright(plain)? })
    }

    /// Draws what is mixed with what, where.
    fn mixing(
        &self,
        count: usize,
        place: [u64; 2],
        device: &Device,
    ) -> Result<Option<Mixing>, Error> {
        let Some(beta) = &self.mixup else { return Ok(None) };
        let mut rng = stream(self.seed, "mixup", &place);
        let mut order: Vec<u32> = (0..count as u32).collect();
        order.shuffle(&mut rng);
        let share = beta.sample(&mut rng);
        let place = rand::Rng::random_range(&mut rng, 0..MIXING_PLACES);
        Ok(Some(Mixing::new(place, share, &order, device)?))
    }
}

/// `share · a + (1 - share) · b`.
fn shares(a: &Tensor, b: &Tensor, share: f64) -> TensorResult<Tensor> {
    (a * share)? + (b * (1.0 - share))?
}

impl Teacher {
    /// # Errors
    /// See [`Objective::new`].
    fn new(config: &Config, model: &Model, device: &Device) -> Result<Option<Self>, Error> {
        let Some(distill) = &config.train.distill else { return Ok(None) };
        let path = Checkpoint::locate(&distill.checkpoint);
        let checkpoint = Checkpoint::read(&path)?;
        let own = checkpoint.config.check().map_err(|e| Error::checkpoint(&path, e))?;
        let (theirs, ours) = (own.method.image_size, config.method.image_size);
        if theirs != ours {
            let reason = format!(
                "cannot teach: its images have {theirs} px, and `method.image_size` is {ours}"
            );
            return Err(Error::checkpoint(&path, reason));
        }
        let teacher = checkpoint.model(&path, &own, device)?.frozen(&own, device)?;
        let (theirs, ours) = (teacher.outputs(), model.outputs());
        if theirs != ours {
            let outputs = |outputs: Option<usize>| outputs.unwrap_or_default();
            let reason = format!(
                "cannot teach: it was trained on {} classes, and this training has {}",
                outputs(theirs),
                outputs(ours)
            );
            return Err(Error::checkpoint(&path, reason));
        }
        let (temperature, weight) = (distill.temperature, distill.weight);
        Ok(Some(Self { model: teacher, temperature, weight }))
    }

    /// Hinton et al.'s loss: temperature² times the cross entropy of both networks' scores over the
    /// temperature.
    fn loss(
        &self,
        images: &Tensor,
        scores: &Tensor,
        mixing: Option<&Mixing>,
    ) -> Result<Tensor, Error> {
        let features = self.model.backbone.forward(images, Pass::Eval)?;
        let taught = self.model.head()?.scores(&features)?.detach();
        let mut targets = log_softmax(&(taught / self.temperature)?)?.exp()?;
        if let Some(mixing) = mixing {
            let others = targets.index_select(mixing.order(), 0)?;
            targets = shares(&targets, &others, mixing.share())?;
        }
        let loss = soft_cross_entropy(&(scores / self.temperature)?, &targets)?;
        Ok((loss * self.temperature.powi(2))?)
    }
}
