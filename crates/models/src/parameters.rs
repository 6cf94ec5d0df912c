//! What a model is made of: named tensors, drawn from a seed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor, Var, bail};
use candle_nn::{Init, VarBuilder, var_builder::SimpleBackend};
use fewshot_seed::stream;
use rand::Rng;
use rand_distr::StandardNormal;

/// Named variables. Each starts as its layer's initialisation, drawn from
/// `(seed, "init", name)`: the order in which layers are built does not matter.
#[derive(Clone)]
pub struct Parameters {
    seed: u64,
    variables: Arc<Mutex<BTreeMap<String, Var>>>,
}

impl Parameters {
    /// An empty collection.
    pub fn new(seed: u64) -> Self {
        Self { seed, variables: Arc::default() }
    }

    /// Gives layers their variables, creating each at its first mention.
    pub fn builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), dtype, device.clone())
    }

    /// Gives layers tensors that share the variables' storage but stay off the tape, so that
    /// a pass keeps no intermediate results.
    pub fn frozen_builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        let detach = |(name, v): (&String, &Var)| (name.clone(), v.as_detached_tensor());
        let tensors = self.lock().iter().map(detach).collect();
        VarBuilder::from_tensors(tensors, dtype, device)
    }

    /// Everything by name: what a checkpoint keeps.
    pub fn all(&self) -> BTreeMap<String, Var> {
        self.lock().clone()
    }

    /// What an optimizer updates: all but running statistics.
    pub fn trainable(&self) -> BTreeMap<String, Var> {
        let is_statistic =
            |name: &str| name.ends_with("running_mean") || name.ends_with("running_var");
        self.all().into_iter().filter(|(name, _)| !is_statistic(name)).collect()
    }

    /// Overwrites every variable with the tensor of its name from `source`, if all of them
    /// are there in the right shape and no others; otherwise nothing is changed.
    ///
    /// # Errors
    /// Names the first variable that is absent or of another shape, or the first tensor that
    /// is none of the variables, and how many are.
    pub fn load(&self, source: &BTreeMap<String, Tensor>) -> Result<()> {
        let variables = self.all();
        let absent: Vec<_> = variables.keys().filter(|name| !source.contains_key(*name)).collect();
        if let Some(first) = absent.first() {
            bail!("{} of {} parameters are absent, first `{first}`", absent.len(), variables.len())
        }
        let others: Vec<_> = source.keys().filter(|name| !variables.contains_key(*name)).collect();
        if let Some(first) = others.first() {
            bail!("{} tensors are not among its parameters, first `{first}`", others.len())
        }
        for (name, variable) in &variables {
            let (got, expected) = (source[name].dims(), variable.dims());
            if got != expected {
                bail!("parameter `{name}` is {got:?}, expected {expected:?}")
            }
        }
        for (name, variable) in &variables {
            variable
                .set(&source[name].to_dtype(variable.dtype())?.to_device(variable.device())?)?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Var>> {
        self.variables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tensor that `init` describes.
    fn draw(&self, name: &str, shape: &Shape, init: Init) -> Result<Tensor> {
        let count = shape.elem_count();
        let mut rng = stream(self.seed, "init", &[hash(name)]);
        let values: Vec<f64> = match init {
            Init::Const(value) => vec![value; count],
            Init::Randn { mean, stdev } => {
                (0..count).map(|_| mean + stdev * rng.sample::<f64, _>(StandardNormal)).collect()
            }
            Init::Uniform { lo, up } => {
                (0..count).map(|_| lo + (up - lo) * rng.random::<f64>()).collect()
            }
            other => bail!("parameter `{name}`: initialisation {other:?} is not supported"),
        };
        Tensor::from_vec(values, shape, &Device::Cpu)
    }
}

/// FNV-1a, which makes of a name a position in a stream.
fn hash(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}

impl SimpleBackend for Parameters {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        init: Init,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        if let Some(variable) = self.lock().get(name) {
            if variable.shape() != &shape {
                bail!("parameter `{name}` is {:?}, expected {shape:?}", variable.shape())
            }
            return Ok(variable.as_tensor().clone());
        }
        let tensor = self.draw(name, &shape, init)?.to_dtype(dtype)?.to_device(device)?;
        let variable = Var::from_tensor(&tensor)?;
        let tensor = variable.as_tensor().clone();
        self.lock().insert(name.to_owned(), variable);
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        match self.lock().get(name) {
            Some(variable) => Ok(variable.as_tensor().clone()),
            None => bail!("no parameter `{name}`"),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }
}
