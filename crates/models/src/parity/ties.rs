//! Units whose side of an activation, or place in a max pool, rounding decides.
//!
//! The gradient of a network jumps where a unit's input crosses zero, and where two units of a
//! pooling window change places. Among millions of units a few are that near; two right
//! implementations put them on different sides, and each such unit moves every gradient
//! before it by a hundredth of its size. This module watches a pass: it finds those units, and
//! moves them by as little as rounding may.

use std::cell::RefCell;
use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Result, Tensor, Var};
use fewshot_ops::{Activation, BatchStatistics, Tape, TapeTensor, batch_norm};

use crate::layers::{BatchNorm, EPS};

thread_local! {
    static PASS: RefCell<Option<WatchedPass>> = const { RefCell::new(None) };
}

/// Moves of the inputs of batch norms, by layer in the order of the pass, then by unit.
pub type Nudges = BTreeMap<usize, BTreeMap<usize, f32>>;

struct WatchedPass {
    nudges: Nudges,
    layers: Vec<Layer>,
}

/// Usual difference that rounding makes in a unit's input, relative to the root mean square of
/// its layer, for each layer that the input has come through.
const ROUNDING: f64 = 4e-7;
/// How many times that counts as a tie, and takes a unit safely away from one.
const REACH: f64 = 7.0;

/// A batch norm as it was in a watched pass.
pub struct Layer {
    pub weight: Tensor,
    pub bias: Tensor,
    activation: Activation,
    input: Tensor,
    residual: Option<Tensor>,
    /// Adds nothing, and gets the gradient of the activation's output.
    probe: Var,
}

/// The units of a layer, looked at one by one.
pub struct Units {
    /// Usual difference that rounding makes in the activation's inputs.
    rounding: f64,
    /// Share of the gradient that a unit below zero lets through; 1 where nothing is cut.
    slope_below: f64,
    channels: Vec<Channel>,
    height: usize,
    width: usize,
    /// The batch norm's input, the activation's, and the gradient of its output.
    input: Vec<f64>,
    sum: Vec<f64>,
    above: Vec<f64>,
}

struct Channel {
    mean: f64,
    inverse_deviation: f64,
    weight: f64,
}

/// A unit near zero, and what its other side would change.
pub struct Unit {
    pub index: usize,
    pub channel: usize,
    /// Distance from zero, in usual differences by rounding.
    pub distance: f64,
    pub is_below: bool,
    /// The move that takes it to the other side.
    pub nudge: f32,
    /// The move that keeps it on its side, where rounding might not.
    pin: f32,
    /// Changes of the batch norm's own gradients at its channel.
    pub weight_gradient: f64,
    pub bias_gradient: f64,
}

/// A winner of a pooling window, and a unit next to it that is about as large.
struct Tie {
    winner: usize,
    other: usize,
    gap: f64,
}

/// Runs `pass` with its batch norms' inputs moved by `nudges`; gives the layers in order.
pub fn watch<T>(nudges: &Nudges, pass: impl FnOnce() -> T) -> (T, Vec<Layer>) {
    PASS.set(Some(WatchedPass { nudges: nudges.clone(), layers: Vec::new() }));
    let result = pass();
    (result, PASS.take().map(|pass| pass.layers).unwrap_or_default())
}

/// The input of the batch norm that comes next, moved.
pub fn nudged(tape: &mut Tape, x: &TapeTensor) -> Result<TapeTensor> {
    PASS.with_borrow(|pass| {
        let nudges = pass.as_ref().and_then(|pass| pass.nudges.get(&pass.layers.len()));
        let Some(nudges) = nudges else { return Ok(x.clone()) };
        let planes = x.to_tensor()?;
        let mut change = vec![0f32; planes.elem_count()];
        nudges.iter().for_each(|(&unit, &by)| change[unit] = by);
        let change = tape.input(&Tensor::from_vec(change, planes.shape(), planes.device())?)?;
        tape.add(x, &change)
    })
}

/// The output `y` of a batch norm, with a probe on it if the pass is watched.
pub fn watched(
    tape: &mut Tape,
    norm: &BatchNorm,
    x: &TapeTensor,
    activation: Activation,
    residual: Option<&TapeTensor>,
    y: TapeTensor,
) -> Result<TapeTensor> {
    PASS.with_borrow_mut(|pass| {
        let Some(pass) = pass else { return Ok(y) };
        let planes = y.to_tensor()?;
        let probe = Var::zeros(planes.shape(), DType::F32, planes.device())?;
        let probed = tape.input(&probe)?;
        let y = tape.add(&y, &probed)?;
        pass.layers.push(Layer {
            weight: norm.weight.clone(),
            bias: norm.bias.clone(),
            activation,
            input: x.to_tensor()?,
            residual: residual.map(TapeTensor::to_tensor).transpose()?,
            probe,
        });
        Ok(y)
    })
}

/// All numbers of a tensor.
pub fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1()
}

impl Layer {
    /// Its units, where it is number `index` of a pass with these gradients.
    pub fn units(&self, index: usize, gradients: &GradStore) -> Result<Units> {
        let Self { weight, bias, input, residual, .. } = self;
        let (_, _, height, width) = input.dims4()?;
        let statistics = BatchStatistics::of(input, EPS)?;
        let count = (input.elem_count() / weight.elem_count()) as f64;
        let (means, variances) = (statistics.mean()?, statistics.unbiased_variance()?);
        let inverse = |v: &f64| 1.0 / (v * (count - 1.0) / count + EPS).sqrt();
        let moments = means.iter().zip(variances.iter().map(inverse));
        let channel =
            |((&mean, inverse_deviation), weight)| Channel { mean, inverse_deviation, weight };
        let identity = Activation::Identity;
        let sum = batch_norm(input, weight, bias, &statistics, identity, residual.as_ref())?;
        let sum = values(&sum)?;
        let rms = (sum.iter().map(|z| z * z).sum::<f64>() / sum.len() as f64).sqrt();
        Ok(Units {
            rounding: ROUNDING * (index + 1) as f64 * rms,
            slope_below: match self.activation {
                Activation::Identity => 1.0,
                Activation::Relu => 0.0,
                Activation::LeakyRelu(slope) => slope,
            },
            channels: moments.zip(values(weight)?).map(channel).collect(),
            height,
            width,
            input: values(input)?,
            sum,
            above: gradients.get(&self.probe).map_or_else(|| Ok(Vec::new()), values)?,
        })
    }
}

impl Units {
    /// Units near zero, nearest first.
    pub fn near_zero(&self) -> Vec<Unit> {
        if self.slope_below == 1.0 {
            return Vec::new();
        }
        let step = REACH * self.rounding;
        let unit = |(index, &z): (usize, &f64)| {
            let channel = self.channel(index);
            let sign = if z > 0.0 { -1.0 } else { 1.0 };
            let [weight_gradient, bias_gradient] = self.share(index).map(|share| sign * share);
            Unit {
                index,
                channel,
                distance: z.abs() / self.rounding,
                is_below: z <= 0.0,
                nudge: self.channels[channel].move_by(sign * step - z),
                pin: self.channels[channel].move_by(-sign * step - z),
                weight_gradient,
                bias_gradient,
            }
        };
        let is_near = |(_, z): &(usize, &f64)| z.abs() < step;
        let mut units: Vec<_> = self.sum.iter().enumerate().filter(is_near).map(unit).collect();
        units.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        units
    }

    /// What a unit above zero adds to the gradients of its channel's weight and bias beyond
    /// what it would below.
    pub fn share(&self, unit: usize) -> [f64; 2] {
        let channel = &self.channels[self.channel(unit)];
        let bias = (1.0 - self.slope_below) * self.above[unit];
        [bias * (self.input[unit] - channel.mean) * channel.inverse_deviation, bias]
    }

    /// Whether a max pool follows, which sends nothing back to most units.
    pub fn is_pooled(&self) -> bool {
        let unused = self.above.iter().filter(|&&g| g == 0.0).count();
        self.slope_below < 1.0 && unused > self.above.len() / 2
    }

    /// Moves that make a unit overtake the winner of a pooling window next to it, nearest
    /// first; none if no max pool follows.
    pub fn overtakings(&self) -> Vec<(usize, f32)> {
        let overtaking = |tie: Tie| {
            let by = tie.gap + REACH * self.rounding;
            (tie.other, self.channels[self.channel(tie.other)].move_by(by))
        };
        self.ties(2.0 * REACH).into_iter().map(overtaking).collect()
    }

    /// Moves that keep units on their sides of zero and winners ahead, where rounding might
    /// not.
    pub fn pins(&self) -> Vec<(usize, f32)> {
        let units = self.near_zero().into_iter();
        let mut pins: Vec<_> = units.map(|unit| (unit.index, unit.pin)).collect();
        let mut winners: Vec<_> = self.ties(REACH).into_iter().map(|tie| tie.winner).collect();
        winners.sort_unstable();
        winners.dedup();
        let ahead = |unit| (unit, self.channels[self.channel(unit)].move_by(REACH * self.rounding));
        pins.extend(winners.into_iter().map(ahead));
        pins
    }

    /// Units next to the winner of a pooling window that are within `reach` of it, in usual
    /// differences by rounding, nearest first.
    fn ties(&self, reach: f64) -> Vec<Tie> {
        let mut found = Vec::new();
        if !self.is_pooled() {
            return found;
        }
        let Self { sum, above, height, width, .. } = self;
        let counts = |winner: &usize| {
            above[*winner] != 0.0 && (sum[*winner] > 0.0 || self.slope_below > 0.0)
        };
        for winner in (0..sum.len()).filter(counts) {
            let (y, x) = (winner / width % height, winner % width);
            // No pooling window here is wider than three.
            for near_y in y.saturating_sub(2)..(y + 3).min(*height) {
                for near_x in x.saturating_sub(2)..(x + 3).min(*width) {
                    let other = winner - y * width - x + near_y * width + near_x;
                    let gap = sum[winner] - sum[other];
                    if gap.abs() < reach * self.rounding && other != winner {
                        found.push(Tie { winner, other, gap });
                    }
                }
            }
        }
        found.sort_by(|a, b| a.gap.abs().total_cmp(&b.gap.abs()));
        found
    }

    fn channel(&self, unit: usize) -> usize {
        unit / (self.height * self.width) % self.channels.len()
    }
}

impl Channel {
    /// The move of the batch norm's input that moves its output by `change`.
    fn move_by(&self, change: f64) -> f32 {
        (change / (self.weight * self.inverse_deviation)) as f32
    }
}
