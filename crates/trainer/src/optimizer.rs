//! Update rules, as `torch.optim` defines them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use candle_core::backend::BackendStorage as _;
use candle_core::{
    CpuStorage, Device, InplaceOp2, Layout, Result, Tensor, Var, backprop::GradStore, bail,
};
use fewshot_experiment::OptimizerKind as Rule;
use rayon::prelude::*;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;
/// Number of elements that a thread updates at a time.
const CHUNK: usize = 1 << 14;

/// Updates parameters in place from their gradients.
pub struct Optimizer {
    rule: Rule,
    weight_decay: f64,
    parameters: BTreeMap<String, Var>,
    states: States,
    /// Number of updates so far.
    steps: usize,
}

/// State of the update rule by parameter, on the parameters' device.
enum States {
    Host(BTreeMap<String, State>),
    #[cfg(feature = "cuda")]
    Device(BTreeMap<String, Vec<Tensor>>),
}

impl States {
    /// Iterates over the states on the CPU.
    fn host(&mut self) -> impl Iterator<Item = (&String, &mut State)> {
        match self {
            Self::Host(states) => Some(states),
            #[cfg(feature = "cuda")]
            Self::Device(_) => None,
        }
        .into_iter()
        .flatten()
    }
}

/// State of the update rule for one parameter.
struct State {
    /// Momentum (SGD) or first moment (Adam).
    first: Vec<f32>,
    /// Second moment (Adam), else empty.
    second: Vec<f32>,
}

impl Optimizer {
    /// Creates an optimizer that has not seen a gradient yet.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(rule: Rule, weight_decay: f64, parameters: BTreeMap<String, Var>) -> Result<Self> {
        #[cfg(feature = "cuda")]
        if parameters.values().any(|v| v.device().is_cuda()) {
            let moments = if matches!(rule, Rule::Sgd { .. }) { 1 } else { 2 };
            let zero = |(name, v): (&String, &Var)| {
                let zeros = (0..moments).map(|_| v.zeros_like()).collect::<Result<_>>()?;
                Ok((name.clone(), zeros))
            };
            let states = States::Device(parameters.iter().map(zero).collect::<Result<_>>()?);
            return Ok(Self { rule, weight_decay, parameters, states, steps: 0 });
        }
        let zero = |(name, v): (&String, &Var)| {
            let zeros = vec![0.0; v.elem_count()];
            let second = if matches!(rule, Rule::Sgd { .. }) { Vec::new() } else { zeros.clone() };
            (name.clone(), State { first: zeros, second })
        };
        let states = States::Host(parameters.iter().map(zero).collect());
        Ok(Self { rule, weight_decay, parameters, states, steps: 0 })
    }

    /// The parameters that it updates.
    pub fn parameters(&self) -> impl Iterator<Item = &Tensor> {
        self.parameters.values().map(Var::as_tensor)
    }

    /// Updates the parameters with learning rate `rate`. Those without a gradient stay.
    ///
    /// # Errors
    /// A tensor that is not `f32`, or on another device than its parameter.
    pub fn step(&mut self, gradients: &GradStore, rate: f64) -> Result<()> {
        self.steps += 1;
        #[cfg(feature = "cuda")]
        if matches!(self.states, States::Device(_)) {
            return self.step_on_gpu(gradients, rate);
        }
        for (name, state) in self.states.host() {
            let parameter = &self.parameters[name];
            let Some(gradient) = gradients.get(parameter) else { continue };
            let gradient = gradient.contiguous()?;
            match self.rule {
                Rule::Sgd { momentum, dampening, nesterov } => {
                    let decay = self.weight_decay as f32;
                    // The first gradient fills the buffer whole; without momentum all do.
                    let is_first = self.steps == 1 || momentum == 0.0;
                    let keep = if is_first { 0.0 } else { momentum as f32 };
                    let take = if is_first { 1.0 } else { 1.0 - dampening as f32 };
                    let (rate, momentum) = (rate as f32, momentum as f32);
                    let update = |w: &mut f32, b: &mut f32, g: f32| {
                        let g = g + decay * *w;
                        *b = keep * *b + take * g;
                        *w -= rate * if nesterov { g + momentum * *b } else { *b };
                    };
                    let first = &mut state.first;
                    parameter.inplace_op2(
                        &gradient,
                        &InPlace::new(|w, g| {
                            let chunks = w.par_chunks_mut(CHUNK).zip(first.par_chunks_mut(CHUNK));
                            chunks.zip(g.par_chunks(CHUNK)).for_each(|((w, b), g)| {
                                w.iter_mut().zip(b).zip(g).for_each(|((w, b), &g)| update(w, b, g));
                            });
                        }),
                    )?;
                }
                Rule::Adam | Rule::AdamW => {
                    let is_coupled = self.rule == Rule::Adam;
                    let decay = if is_coupled { self.weight_decay as f32 } else { 0.0 };
                    let (b1, b2) = (BETA1 as f32, BETA2 as f32);
                    let steps = self.steps as i32;
                    let size = (rate / (1.0 - BETA1.powi(steps))) as f32;
                    let root = (1.0 - BETA2.powi(steps)).sqrt() as f32;
                    let shrink =
                        if is_coupled { 1.0 } else { 1.0 - rate * self.weight_decay } as f32;
                    let update = |w: &mut f32, m: &mut f32, v: &mut f32, g: f32| {
                        let g = g + decay * *w;
                        *m += (1.0 - b1) * (g - *m);
                        *v = b2 * *v + (1.0 - b2) * g * g;
                        *w = shrink * *w - size * *m / (v.sqrt() / root + EPS as f32);
                    };
                    let State { first, second } = state;
                    parameter.inplace_op2(
                        &gradient,
                        &InPlace::new(|w, g| {
                            let moments =
                                first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
                            let chunks =
                                w.par_chunks_mut(CHUNK).zip(moments).zip(g.par_chunks(CHUNK));
                            chunks.for_each(|((w, (m, v)), g)| {
                                for (((w, m), v), &g) in w.iter_mut().zip(m).zip(v).zip(g) {
                                    update(w, m, v, g);
                                }
                            });
                        }),
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Updates the parameters on a GPU, with one launch for all.
    #[cfg(feature = "cuda")]
    fn step_on_gpu(&self, gradients: &GradStore, rate: f64) -> Result<()> {
        use fewshot_ops::cuda::optimizer::{Adam, Sgd, Update, adam, sgd};
        let States::Device(states) = &self.states else { return Ok(()) };
        let with_gradient = |(name, state)| {
            let value = self.parameters[name].as_tensor();
            let gradient = gradients.get(value)?.contiguous();
            Some(gradient.map(|gradient| (value, gradient, state)))
        };
        let all: Vec<(&Tensor, Tensor, &Vec<Tensor>)> =
            states.iter().filter_map(with_gradient).collect::<Result<_>>()?;
        let updates: Vec<Update> = all
            .iter()
            .map(|(value, gradient, state)| Update {
                value,
                gradient,
                first: &state[0],
                second: state.get(1),
            })
            .collect();
        match self.rule {
            Rule::Sgd { momentum, dampening, nesterov } => {
                let is_first = self.steps == 1 || momentum == 0.0;
                let (keep, take) = if is_first { (0.0, 1.0) } else { (momentum, 1.0 - dampening) };
                let decay = self.weight_decay;
                sgd(&updates, &Sgd { rate, decay, momentum, keep, take, is_nesterov: nesterov })
            }
            Rule::Adam | Rule::AdamW => {
                let (steps, is_coupled) = (self.steps as i32, self.rule == Rule::Adam);
                let step = Adam {
                    size: rate / (1.0 - BETA1.powi(steps)),
                    root: (1.0 - BETA2.powi(steps)).sqrt(),
                    decay: if is_coupled { self.weight_decay } else { 0.0 },
                    shrink: if is_coupled { 1.0 } else { 1.0 - rate * self.weight_decay },
                    betas: [BETA1, BETA2],
                    eps: EPS,
                };
                adam(&updates, &step)
            }
        }
    }

    /// Copies all that the next update depends on to tensors on the CPU, by name.
    ///
    /// # Errors
    /// A GPU that does not answer.
    pub fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut all = BTreeMap::new();
        for (name, parameter) in &self.parameters {
            let states = match &self.states {
                States::Host(states) => {
                    let State { first, second } = &states[name];
                    let tensor = |state: &Vec<f32>| {
                        Tensor::from_slice(state, parameter.shape(), &Device::Cpu)
                    };
                    let all = [first, second].into_iter().filter(|state| !state.is_empty());
                    all.map(tensor).collect::<Result<Vec<_>>>()?
                }
                #[cfg(feature = "cuda")]
                States::Device(states) => {
                    let to_cpu = |state: &Tensor| state.to_device(&Device::Cpu);
                    states[name].iter().map(to_cpu).collect::<Result<Vec<_>>>()?
                }
            };
            for (prefix, state) in self.state_names().iter().zip(states) {
                all.insert(format!("{prefix}.{name}"), state);
            }
        }
        all.insert("steps".to_owned(), Tensor::new(&[self.steps as i64], &Device::Cpu)?);
        Ok(all)
    }

    /// The names of this rule's first and second state in `torch.optim`.
    fn state_names(&self) -> &'static [&'static str] {
        match self.rule {
            Rule::Sgd { .. } => &["momentum_buffer"],
            Rule::Adam | Rule::AdamW => &["exp_avg", "exp_avg_sq"],
        }
    }

    /// Restores the state of which [`tensors`](Self::tensors) were taken.
    ///
    /// # Errors
    /// Tensors that are absent or of another shape, such as those of another rule.
    pub fn load(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        let (own, names) = (self.tensors()?, self.state_names());
        for (name, tensor) in &own {
            match tensors.get(name) {
                Some(t) if t.dims() == tensor.dims() && t.dtype() == tensor.dtype() => {}
                Some(t) => bail!("its optimizer's `{name}` is {t:?}, expected {tensor:?}"),
                None => bail!("the state of another optimizer, without `{name}`"),
            }
        }
        let given = |prefix: &str, name: &str| &tensors[&format!("{prefix}.{name}")];
        match &mut self.states {
            States::Host(states) => {
                for (name, State { first, second }) in states {
                    for (prefix, state) in names.iter().zip([first, second]) {
                        *state = given(prefix, name).flatten_all()?.to_vec1()?;
                    }
                }
            }
            #[cfg(feature = "cuda")]
            States::Device(states) => {
                for (name, states) in states {
                    let device = self.parameters[name].device();
                    for (prefix, state) in names.iter().zip(states) {
                        *state = given(prefix, name).to_device(device)?.contiguous()?;
                    }
                }
            }
        }
        self.steps = tensors["steps"].to_vec1::<i64>()?[0] as usize;
        Ok(())
    }
}

/// An operation that changes the elements of one tensor by those of another.
struct InPlace<F>(Mutex<F>);

impl<F: FnMut(&mut [f32], &[f32]) + Send> InPlace<F> {
    fn new(change: F) -> Self {
        Self(Mutex::new(change))
    }
}

impl<F: FnMut(&mut [f32], &[f32]) + Send> InplaceOp2 for InPlace<F> {
    fn name(&self) -> &'static str {
        "optimizer update"
    }

    fn cpu_fwd(
        &self,
        x: &mut CpuStorage,
        layout: &Layout,
        a: &CpuStorage,
        a_layout: &Layout,
    ) -> Result<()> {
        let range = |layout: &Layout| match layout.contiguous_offsets() {
            Some((start, end)) => Ok(start..end),
            None => bail!("optimizer update: strides {:?}, expected contiguous", layout.stride()),
        };
        let CpuStorage::F32(x) = x else {
            bail!("optimizer update: dtype {:?}, expected f32", x.dtype())
        };
        let mut change = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut x[range(layout)?], &a.as_slice::<f32>()?[range(a_layout)?]);
        Ok(())
    }
}
