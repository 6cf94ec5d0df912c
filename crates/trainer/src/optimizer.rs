//! Update rules, as `torch.optim` defines them.

use candle_core::backend::BackendStorage as _;
use candle_core::{CpuStorage, InplaceOp3, Layout, Result, Tensor, Var, backprop::GradStore, bail};
use fewshot_experiment::Optimizer as Rule;
use rayon::prelude::*;
use std::collections::BTreeMap;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;
/// Elements a task.
const CHUNK: usize = 1 << 14;

/// Updates parameters in place from their gradients.
pub struct Optimiser {
    rule: Rule,
    weight_decay: f64,
    parameters: BTreeMap<String, Var>,
    /// Momentum (SGD) or first moment (Adam) by parameter.
    first: BTreeMap<String, Tensor>,
    /// Second moment (Adam) by parameter.
    second: BTreeMap<String, Tensor>,
    /// Updates so far.
    steps: usize,
}

impl Optimiser {
    /// An optimiser that has not seen a gradient.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(rule: Rule, weight_decay: f64, parameters: BTreeMap<String, Var>) -> Result<Self> {
        let zeros = || {
            let zero = |(name, v): (&String, &Var)| Ok((name.clone(), v.zeros_like()?));
            parameters.iter().map(zero).collect::<Result<BTreeMap<_, _>>>()
        };
        let first = zeros()?;
        let second = if matches!(rule, Rule::Sgd { .. }) { BTreeMap::new() } else { zeros()? };
        Ok(Self { rule, weight_decay, parameters, first, second, steps: 0 })
    }

    /// One update with learning rate `rate`. Parameters without a gradient stay.
    ///
    /// # Errors
    /// A tensor that is not `f32` on the CPU.
    pub fn step(&mut self, gradients: &GradStore, rate: f64) -> Result<()> {
        self.steps += 1;
        for (name, parameter) in &self.parameters {
            let Some(gradient) = gradients.get(parameter) else { continue };
            let gradient = gradient.contiguous()?;
            let (weight, first) = (parameter.as_tensor(), &self.first[name]);
            match self.rule {
                Rule::Sgd { momentum, dampening, nesterov } => {
                    let decay = self.weight_decay as f32;
                    // The first gradient fills the buffer whole; without momentum all do.
                    let is_first = self.steps == 1 || momentum == 0.0;
                    let keep = if is_first { 0.0 } else { momentum as f32 };
                    let take = if is_first { 1.0 } else { 1.0 - dampening as f32 };
                    let fill = Update(move |b, g, w| keep * b + take * (g + decay * w));
                    first.inplace_op3(&gradient, weight, &fill)?;
                    let (rate, momentum) = (rate as f32, momentum as f32);
                    let go = Update(move |w, g, b| {
                        let ahead = if nesterov { g + decay * w + momentum * b } else { b };
                        w - rate * ahead
                    });
                    weight.inplace_op3(&gradient, first, &go)?;
                }
                Rule::Adam | Rule::AdamW => {
                    let is_coupled = self.rule == Rule::Adam;
                    let decay = if is_coupled { self.weight_decay as f32 } else { 0.0 };
                    let second = &self.second[name];
                    let (b1, b2) = (BETA1 as f32, BETA2 as f32);
                    first.inplace_op3(
                        &gradient,
                        weight,
                        &Update(move |m, g, w| {
                            let g = g + decay * w;
                            m + (1.0 - b1) * (g - m)
                        }),
                    )?;
                    second.inplace_op3(
                        &gradient,
                        weight,
                        &Update(move |v, g, w| {
                            let g = g + decay * w;
                            b2 * v + (1.0 - b2) * g * g
                        }),
                    )?;
                    let steps = self.steps as i32;
                    let size = (rate / (1.0 - BETA1.powi(steps))) as f32;
                    let root = (1.0 - BETA2.powi(steps)).sqrt() as f32;
                    let shrink =
                        if is_coupled { 1.0 } else { 1.0 - rate * self.weight_decay } as f32;
                    weight.inplace_op3(
                        first,
                        second,
                        &Update(move |w, m, v: f32| {
                            shrink * w - size * m / (v.sqrt() / root + EPS as f32)
                        }),
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Everything that the next update depends on, by name.
    ///
    /// # Errors
    /// None on a CPU.
    pub fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        let named = |prefix: &'static str, tensors: &BTreeMap<String, Tensor>| {
            let name = move |(n, t): (&String, &Tensor)| (format!("{prefix}.{n}"), t.clone());
            tensors.iter().map(name).collect::<Vec<_>>()
        };
        let [first, second] = self.state_names();
        let mut all: BTreeMap<_, _> = named(first, &self.first).into_iter().collect();
        all.extend(named(second, &self.second));
        let steps = Tensor::new(&[self.steps as i64], &candle_core::Device::Cpu)?;
        all.insert("steps".to_owned(), steps);
        Ok(all)
    }

    /// What `torch.optim` calls the first and second state of this rule.
    fn state_names(&self) -> [&'static str; 2] {
        match self.rule {
            Rule::Sgd { .. } => ["momentum_buffer", ""],
            Rule::Adam | Rule::AdamW => ["exp_avg", "exp_avg_sq"],
        }
    }

    /// Goes on where [`tensors`](Self::tensors) were taken.
    ///
    /// # Errors
    /// Tensors that are absent or of another shape, as those of another rule are.
    pub fn load(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        let own = self.tensors()?;
        for (name, tensor) in &own {
            match tensors.get(name) {
                Some(t) if t.dims() == tensor.dims() && t.dtype() == tensor.dtype() => {}
                Some(t) => bail!("optimiser: `{name}` is {t:?}, expected {tensor:?}"),
                None => bail!("optimiser: `{name}` is absent, as it is for another optimiser"),
            }
        }
        let take = |prefix: &str, into: &mut BTreeMap<String, Tensor>| -> Result<()> {
            for (name, tensor) in into.iter_mut() {
                *tensor =
                    tensors[&format!("{prefix}.{name}")].to_device(tensor.device())?.copy()?;
            }
            Ok(())
        };
        let [first, second] = self.state_names();
        take(first, &mut self.first)?;
        take(second, &mut self.second)?;
        self.steps = tensors["steps"].to_vec1::<i64>()?[0] as usize;
        Ok(())
    }
}

/// `x = f(x, a, b)` elementwise.
struct Update<F>(F);

impl<F: Fn(f32, f32, f32) -> f32 + Sync> InplaceOp3 for Update<F> {
    fn name(&self) -> &'static str {
        "optimiser update"
    }

    fn cpu_fwd(
        &self,
        x: &mut CpuStorage,
        layout: &Layout,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<()> {
        let range = |layout: &Layout| match layout.contiguous_offsets() {
            Some((start, end)) => Ok(start..end),
            None => bail!("optimiser update: strides {:?}, expected contiguous", layout.stride()),
        };
        let CpuStorage::F32(x) = x else {
            bail!("optimiser update: dtype {:?}, expected f32", x.dtype())
        };
        let x = &mut x[range(layout)?];
        let (a, b) =
            (&a.as_slice::<f32>()?[range(a_layout)?], &b.as_slice::<f32>()?[range(b_layout)?]);
        let chunks = x.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK)).zip(b.par_chunks(CHUNK));
        chunks.for_each(|((x, a), b)| {
            for ((x, &a), &b) in x.iter_mut().zip(a).zip(b) {
                *x = self.0(*x, a, b);
            }
        });
        Ok(())
    }
}
